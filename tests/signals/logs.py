"""Made-up logs of runs, and secrets in them. Seeded, so they repeat."""

from __future__ import annotations

import base64
import json
import string
from collections.abc import Callable, Iterator
from random import Random
from urllib.parse import quote

STAMP = "2026-11-23T04:{:02d}:{:02d}.{:07d}Z "
SAID = (
    "npm warn deprecated installing package resolved integrity building module compiling done in seconds test passed "
    "failed checking cache restored step finished docker layer pulling downloading extracting verifying checksum "
    "complete error file not found using version python node linux release configure target dependency"
)
WORDS = SAID.split()


def log(lines: int, seed: int = 1) -> list[str]:
    """Lines of a run's log, without timestamps: words, fetches, digests, commits, JSON, colours."""
    chance, found = Random(seed), []

    def some(least: int, most: int) -> str:
        return " ".join(chance.choice(WORDS) for _ in range(chance.randint(least, most)))

    for k in range(lines):
        kind = chance.random()
        if kind < 0.55:
            found.append(some(3, 14))
        elif kind < 0.70:
            name = chance.choice(WORDS)
            found.append(f"npm http fetch GET 200 https://registry.npmjs.org/{name}/-/{name}-{k % 9}.1.0.tgz 12ms")
        elif kind < 0.80:
            found.append(f"sha256:{chance.getrandbits(256):064x}: Pull complete")
        elif kind < 0.86:
            found.append(f"  PASS src/{chance.choice(WORDS)}/{chance.choice(WORDS)}.test.ts ({k % 10}.{k % 997:03} s)")
        elif kind < 0.90:
            found.append(f"HEAD is now at {chance.getrandbits(160):040x} {some(3, 5)}")
        elif kind < 0.93:
            found.append(f"##[group]Run actions/{chance.choice(WORDS)}@{chance.getrandbits(160):040x}")
        elif kind < 0.95:
            found.append(json.dumps({"level": "info", "ts": k, "msg": some(4, 6), "id": f"{chance.getrandbits(64):x}"}))
        else:
            found.append(f"\x1b[36;1m{some(5, 7)}\x1b[0m")
    return found


def stamped(lines: list[str], seed: int = 1) -> str:
    """As GitHub writes them."""
    chance = Random(seed)
    return "".join(STAMP.format(k // 60 % 60, k % 60, chance.randrange(10**7)) + line + "\n"
                   for k, line in enumerate(lines))  # fmt: skip


def secrets(count: int, seed: int = 7) -> list[str]:
    """Values as issuers draw them: forty of base64, tokens with a prefix, hexadecimal, passwords of odd characters."""
    chance = Random(seed)
    alnum = string.ascii_letters + string.digits
    kinds: tuple[Callable[[], str], ...] = (
        lambda: "".join(chance.choice(alnum + "+/") for _ in range(40)),
        lambda: "npm_" + "".join(chance.choice(alnum) for _ in range(36)),
        lambda: "".join(chance.choice("0123456789abcdef") for _ in range(48)),
        lambda: "".join(chance.choice(alnum + "!#$%&*?@_-\"'\\<>") for _ in range(22)),
        lambda: "".join(chance.choice(alnum) for _ in range(16)),
    )
    return [kinds[k % len(kinds)]() for k in range(count)]


def _b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


ENCODINGS: dict[str, Callable[[str], str]] = {
    "raw": lambda v: v,
    "base64": _b64,
    "base64, one before": lambda v: _b64("x" + v),
    "base64, two before": lambda v: _b64("x:" + v + "\n"),
    "base64, url-safe": lambda v: base64.urlsafe_b64encode(v.encode()).decode(),
    "base64 twice": lambda v: _b64(_b64("TOKEN=" + v)),
    "base64 of a whole environment": lambda v: _b64(f"HOME=/root\nTOKEN={v}\nPATH=/usr/bin\n"),
    "base64 of UTF-16": lambda v: base64.b64encode(v.encode("utf-16-le")).decode(),
    "base32": lambda v: base64.b32encode(v.encode()).decode(),
    "base32, in something": lambda v: base64.b32encode(f"abc{v}z".encode()).decode(),
    "hex": lambda v: v.encode().hex(),
    "hex, capitals": lambda v: v.encode().hex().upper(),
    "hex with \\x": lambda v: "".join(f"\\x{b:02x}" for b in v.encode()),
    "url": lambda v: quote(v, safe=""),
    "JSON": lambda v: json.dumps({"token": v}),
    "JSON in JSON": lambda v: json.dumps({"said": json.dumps({"token": v})}),
    "reversed": lambda v: v[::-1],
    "with spaces": " ".join,
}


def _alone(text: str) -> list[str]:
    return [text]


def _named(text: str) -> list[str]:
    return [f"export TOKEN={text}"]


def _quoted(text: str) -> list[str]:
    return [f'{{"level":"debug","token":"{text}"}}' if '"' not in text else f"token: {text} (debug)"]


def _in_url(text: str) -> list[str]:
    return [f"GET https://example.org/api?token={text}&page=1"] if " " not in text and "{" not in text else [text]


def _wrapped(text: str) -> list[str]:
    return [text[k : k + 20] for k in range(0, len(text), 20)]


def _halved(text: str) -> list[str]:
    return [f"+ curl -H token:{text[: len(text) // 2]}", f"{text[len(text) // 2 :]} --fail"]


PLACES: dict[str, Callable[[str], list[str]]] = {
    "alone": _alone, "named": _named, "quoted": _quoted, "in an address": _in_url, "wrapped": _wrapped,
    "split over two lines": _halved,
}  # fmt: skip
# A way and a place that are not found, with the reason: see docs/signals.md.
MISSES = {
    ("with spaces", "wrapped"): "cut inside the spaces",
    ("with spaces", "split over two lines"): "cut inside the spaces",
}


def planted(count: int, seed: int = 7) -> Iterator[tuple[str, str, str, list[str]]]:
    """(encoding, place, secret, lines) of every encoding at every place, each with a secret of its own kind."""
    values = secrets(count, seed)
    for value in values:
        for how, encode in ENCODINGS.items():
            for where, put in PLACES.items():
                yield how, where, value, put(encode(value))

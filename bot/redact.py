"""Fingerprint a secret, and take secrets out of text, by value in whatever encoding and by what they look like.

A value is found raw, escaped (JSON, repr, HTML, per cent) and inside stretches of base64 and hexadecimal, which are
decoded at every offset, through line wraps and the timestamps that a run log puts before each line, and twice over
(the dumps of CVE-2025-30066 were doubled base64). A stretch whose decoding holds a value goes as a whole.
An access key id alone is a name, not a secret, and stays readable.
"""

from __future__ import annotations

import binascii
import hashlib
import hmac
import html
import json
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, quote_plus, unquote_plus, unquote_to_bytes

from bot.model import Secret

SHORTEST = 6  # a shorter value would shred every text it is searched in
DEPTH = 3  # encodings within one another that are looked through

# A line end, and what stands before the next line: `gh run view --log` adds two columns to the log's own timestamp.
_STAMP = r"(?:[^\t\n]{0,200}\t){0,2}\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z[ \t]?"
_COLOUR = r"(?:\x1b\[[0-9;]*m)*"
# Once a stamp is there it is taken whole: a lookahead with a reference does that. Atomic groups and possessive
# quantifiers would say it shorter, and loop for ever in CPython 3.11.0 to 3.11.4
# (github.com/python/cpython/issues/106052).
_WRAP = rf"(?=(?P<wrap>[ \t]*{_COLOUR}(?:\r?\n|(?:\\r)?\\n)(?:{_STAMP})?{_COLOUR}[ \t]*))(?P=wrap)"
_B64 = r"[A-Za-z0-9+/_-]"
_BASE64_WRAP = re.compile(rf"{_WRAP}|(?<={_B64}{{60}}) ")  # an unquoted $(base64 ...) turns line ends into spaces
_BASE64 = re.compile(rf"{_B64}{{8,}}(?:(?:{_BASE64_WRAP.pattern}){_B64}+)*={{0,2}}")
_HEX_WRAP = re.compile(rf"{_WRAP}|[ :]|\\x")
_HEX = re.compile(rf"[0-9A-Fa-f]{{2,}}(?:(?:{_HEX_WRAP.pattern})[0-9A-Fa-f]{{2,}})*")
_PER_CENT = re.compile(r"[^\s\"'<>]+")
_PEM = r"-----BEGIN [A-Z0-9 ]{0,30}PRIVATE KEY(?: BLOCK)?-----"

LOG_PREFIX = re.compile(rf"^\ufeff?(?:{_STAMP})?{_COLOUR}", re.MULTILINE)  # what a run log puts before each line
# Mixed as a machine draws it: in what people type, such a word is a secret until somebody says otherwise.
DRAWN = re.compile(r"(?=\S*[a-z])(?=\S*[A-Z])(?=\S*\d)[A-Za-z0-9+/=_.-]{24,}")
_LINE_ENDS = re.compile(r"=*[ \t]*(?:[\r\n\\\"'`<&)\]}\x1b]|\Z)")


@dataclass(frozen=True, slots=True)
class Stretch:
    """Encoded text: its pieces in the text (several when it is wrapped) and what it may decode to.

    ``without_tail``: decodings without the last piece, when that may be no more than the first word of the next line.
    """

    encoding: str
    spans: tuple[tuple[int, int], ...]
    decodings: tuple[bytes, ...]
    without_tail: tuple[bytes, ...] = ()


def stretches(text: str) -> Iterator[Stretch]:
    """Every stretch of base64, hexadecimal or per cent-encoding, each with its possible decodings."""
    for find in (_base64_stretches, _hex_stretches, _per_cent_stretches):
        yield from find(text)


def _pieces(text: str, match: re.Match[str], wrap: re.Pattern[str]) -> tuple[tuple[int, int], ...]:
    spans, start = [], match.start()
    for gap in wrap.finditer(text, match.start(), match.end()):
        if gap.start() > start:
            spans.append((start, gap.start()))
        start = gap.end()
    if start < match.end():
        spans.append((start, match.end()))
    return tuple(spans)


def _base64_decodings(text: str, spans: tuple[tuple[int, int], ...]) -> tuple[bytes, ...]:
    joined = "".join(text[a:b] for a, b in spans).rstrip("=").replace("-", "+").replace("_", "/")
    decoded = []
    for shift in range(4):  # text that stands right before the stretch moves its start
        part = joined[shift:]
        part = part[:-1] if len(part) % 4 == 1 else part
        decoded.append(binascii.a2b_base64(part + "=" * (-len(part) % 4)))
    return tuple(decoded)


def _base64_stretches(text: str) -> Iterator[Stretch]:
    for match in _BASE64.finditer(text):
        spans = _pieces(text, match, _BASE64_WRAP)
        loose = len(spans) > 1 and not _LINE_ENDS.match(text, match.end())
        tail = _base64_decodings(text, spans[:-1]) if loose else ()
        yield Stretch("base64", spans, _base64_decodings(text, spans), tail)


def _hex_stretches(text: str) -> Iterator[Stretch]:
    for match in _HEX.finditer(text):
        if match.end() - match.start() < 2 * SHORTEST:
            continue
        spans = _pieces(text, match, _HEX_WRAP)
        joined = "".join(text[a:b] for a, b in spans)
        starts = (joined, joined[1:])
        yield Stretch("hex", spans, tuple(bytes.fromhex(part[: len(part) // 2 * 2]) for part in starts))


def _per_cent_stretches(text: str) -> Iterator[Stretch]:
    if "%" not in text:
        return
    for match in _PER_CENT.finditer(text):
        token = match.group()
        if "%" in token and (plain := unquote_to_bytes(token)) != token.encode():
            spaced = unquote_plus(token, errors="surrogateescape").encode(errors="surrogateescape")
            yield Stretch("url", (match.span(),), (plain,) if spaced == plain else (plain, spaced))


@dataclass(frozen=True, slots=True)
class Shape:
    """What a secret looks like. ``hints``: one of them is in every text that matches. Group ``v`` is the secret."""

    hints: tuple[str, ...]
    pattern: re.Pattern[str]


def _shape(pattern: str, *hints: str) -> Shape:
    return Shape(hints, re.compile(pattern))


# Forms by their issuers' own documents and scanners' rules. The new ghs_ form holds a JWT: dots, "-" and "_"
# (github.blog changelog, April 2026). Lengths are lower bounds, as GitHub asks.
SHAPES: dict[str, Shape] = {
    "ssh-private-key": _shape(
        rf"(?s:{_PEM}(?:(?:(?!-----BEGIN).){{1,16000}}?-----END [A-Z0-9 ]{{0,30}}PRIVATE KEY(?: BLOCK)?-----"
        rf"|(?:{_WRAP}[A-Za-z0-9+/=]{{16,}})+))",
        "PRIVATE KEY",
    ),
    "github-pat-classic": _shape(r"ghp_[A-Za-z0-9]{36,}", "ghp_"),
    "github-oauth": _shape(r"gh[our]_[A-Za-z0-9._-]{36,}", "gho_", "ghu_", "ghr_"),
    "github-installation": _shape(r"ghs_[A-Za-z0-9._-]{36,}", "ghs_"),
    "github-pat-fine-grained": _shape(r"github_pat_[A-Za-z0-9_]{60,}", "github_pat_"),
    "npm-token": _shape(r"npm_[A-Za-z0-9]{36,}", "npm_"),
    "pypi-token": _shape(r"pypi-AgE[A-Za-z0-9_-]{50,}", "pypi-AgE"),
    "rubygems-key": _shape(r"rubygems_[a-f0-9]{48}", "rubygems_"),
    "crates-token": _shape(r"(?<![A-Za-z0-9])cio(?:_tp_)?[A-Za-z0-9]{32}(?![A-Za-z0-9])", "cio"),
    "dockerhub-pat": _shape(r"dckr_pat_[A-Za-z0-9_-]{27,}", "dckr_pat_"),
    "dockerhub-oat": _shape(r"dckr_oat_[A-Za-z0-9_-]{32,}", "dckr_oat_"),
    "slack-token": _shape(r"(?:xox[a-z]|xapp|xoxe\.xox[bp])-[A-Za-z0-9-]{16,}", "xox", "xapp-"),
    "slack-webhook": _shape(
        r"hooks\.slack\.com/(?:services|workflows|triggers)/(?P<v>[\w+/-]{20,})", "hooks.slack.com"
    ),
    "vault-token": _shape(r"hv[sbr]\.[A-Za-z0-9_-]{24,}", "hvs.", "hvb.", "hvr."),
    "cloudflare-token": _shape(r"cf[uka]t_[A-Za-z0-9]{40}[a-f0-9]{8}", "cfut_", "cfat_", "cfkt_"),
    "artifactory-token": _shape(
        r"(?<![A-Za-z0-9])(?:AKCp[A-Za-z0-9]{68,70}|cmVmd[A-Za-z0-9]{59})(?![A-Za-z0-9])", "AKCp", "cmVmd"
    ),
    "azure-client-secret": _shape(r"(?<![\w~.-])[A-Za-z0-9_~.]{3}\dQ~[A-Za-z0-9_~.-]{31,34}(?![\w~.-])", "Q~"),
    "jwt": _shape(r"(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{16,}", "eyJ"),
    "aws-session": _shape(
        r"(?:IQoJb3JpZ2lu|FwoGZXIvYXdz|FQoGZXIvYXdz|FQoDYXdz)[A-Za-z0-9/+=]{50,}",
        "IQoJb3", "FwoGZX", "FQoGZX", "FQoDYX",
    ),
    "aws-secret": _shape(  # forty characters have no shape of their own: by the name before them
        r"(?i:secret[_-]?access[_-]?key)[\\\"']{0,4}\s{0,8}[:=>]{1,2}\s{0,8}[\\\"']{0,4}(?P<v>[A-Za-z0-9/+]{40})(?![A-Za-z0-9/+=])",
        "ecret", "ECRET",
    ),
    "authorization": _shape(
        r"(?i:authorization)[\\\"']{0,4}\s{0,4}[:=]\s{0,4}[\\\"']{0,4}(?i:bearer|basic|token)\s{1,4}(?P<v>[A-Za-z0-9._~+/=-]{8,})",
        "uthorization", "UTHORIZATION",
    ),
    "password-in-url": _shape(r"://[^/\s:@\"'<>]{0,64}:(?P<v>(?!\*+@)(?!\$)[^/\s@\"'<>\[]{3,})@", "://"),
}  # fmt: skip


# One look for all hints: what is decoded out of a text is short, comes by the dozen and mostly has none.
_HINTED = re.compile("|".join(sorted({re.escape(hint) for shape in SHAPES.values() for hint in shape.hints})))


def shaped(text: str) -> Iterator[tuple[str, re.Match[str]]]:
    """Everything in a text that looks like a secret, with the name of its shape."""
    for name, shape in SHAPES.items() if _HINTED.search(text) else ():
        if any(hint in text for hint in shape.hints):
            for match in shape.pattern.finditer(text):
                yield name, match


class Fingerprinter:
    """Keyed HMAC-SHA256 of a value, short: tells equal from different and nothing else. The vault's own form."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def of(self, value: str) -> str:
        """The fingerprint, "hmac:ab12cd34ef56"."""
        return "hmac:" + hmac.new(self._key, value.encode(), hashlib.sha256).hexdigest()[:12]

    def secret(self, value: str) -> Secret:
        """The value, wrapped so that it prints as its fingerprint."""
        return Secret(value, self.of(value))


def _escaped(value: str) -> Iterator[str]:
    yield from (html.escape(value), html.escape(value, quote=False), repr(value)[1:-1])
    for ascii_only in (True, False):
        once = json.dumps(value, ensure_ascii=ascii_only)[1:-1]
        yield from (once, once.replace("/", "\\/"), json.dumps(once, ensure_ascii=ascii_only)[1:-1])
    for form in (quote(value, safe=""), quote(value), quote_plus(value)):
        yield from (form, re.sub(r"%[0-9A-F]{2}", lambda m: m.group().lower(), form))


def _parts(value: str) -> Iterator[str]:
    """A value, and of one with several lines each line: a log may put something between them."""
    yield from (value, value.strip())
    if "\n" in value.strip():
        yield from (line.strip() for line in value.splitlines() if len(line.strip()) >= 16 and "-----" not in line)


class Scrubber:
    """Takes secrets out of text. Thread-safe; values can join at any time."""

    def __init__(self, fingerprinter: Fingerprinter) -> None:
        self.fingerprinter = fingerprinter
        self._lock = threading.Lock()
        self._texts: tuple[tuple[str, str], ...] = ()  # (form, marker), longest first
        self._bytes: tuple[tuple[bytes, str], ...] = ()

    def add(self, *secrets: Secret) -> None:
        """Know these values from now on. One shorter than six characters cannot be searched for and is left out."""
        texts: dict[str, str] = {}
        data: dict[bytes, str] = {}
        for secret in secrets:
            marker = f"[secret {secret.fingerprint}]"
            for part in _parts(secret.reveal()):
                if len(part) < SHORTEST:
                    continue
                forms = {part, *_escaped(part)}
                texts.update(dict.fromkeys(forms, marker))
                data.update(dict.fromkeys((form.encode() for form in forms), marker))
                data[part.encode("utf-16-le")] = marker  # PowerShell encodes that before base64
        with self._lock:
            self._texts = tuple(sorted({**dict(self._texts), **texts}.items(), key=lambda item: -len(item[0])))
            self._bytes = tuple({**dict(self._bytes), **data}.items())

    def scrub(self, text: str) -> str:
        """The text with every secret replaced by ``[secret hmac:…]``. Again is the same."""
        for form, marker in self._texts:
            text = text.replace(form, marker)
        for shape in SHAPES.values() if _HINTED.search(text) else ():
            if any(hint in text for hint in shape.hints):
                text = shape.pattern.sub(self._shape_replaced, text)
        for find in (_base64_stretches, _hex_stretches, _per_cent_stretches):
            text = self._without(text, find)
        return text

    __call__ = scrub

    def scrub_any(self, value: Any) -> Any:
        """The same for a JSON-like value: strings anywhere in it, keys too."""
        if isinstance(value, str):
            return self.scrub(value)
        if isinstance(value, dict):
            return {self.scrub_any(k): self.scrub_any(v) for k, v in value.items()}
        if isinstance(value, list | tuple | set | frozenset):
            return [self.scrub_any(item) for item in value]
        if value is None or isinstance(value, bool | int | float):
            return value
        if isinstance(value, bytes | bytearray):
            return self.scrub(bytes(value).decode(errors="backslashreplace"))
        shown = str(value)
        return value if (clean := self.scrub(shown)) == shown else clean

    def _shape_marker(self, match: re.Match[str]) -> str:
        return f"[secret {self.fingerprinter.of(match.groupdict().get('v') or match.group())}]"

    def _shape_replaced(self, match: re.Match[str]) -> str:
        whole = match.group()
        return whole.replace(match.groupdict().get("v") or whole, self._shape_marker(match))

    def _without(self, text: str, find: Callable[[str], Iterator[Stretch]]) -> str:
        """The text without the stretches whose decoding holds a secret; what stands between the pieces stays."""
        out, done = [], 0
        seen: dict[tuple[bytes, ...], str] = {}
        for stretch in find(text):
            key = stretch.decodings
            if key not in seen:
                seen[key] = next((marker for data in key for marker in self._held(data)), "")
            if marker := seen[key]:
                spans = stretch.spans
                if stretch.without_tail and self._all_held(stretch.without_tail) == self._all_held(key):
                    last = _base64_decodings(text, spans[-1:])  # a value that repeats itself can stand in it once more
                    spans = spans if self._all_held(last) else spans[:-1]
                for start, end in spans:
                    out += [text[done:start], marker]
                    done = end
        return "".join(out) + text[done:]

    def _all_held(self, decodings: tuple[bytes, ...]) -> set[str]:
        return {marker for data in decodings for marker in self._held(data)}

    def _held(self, data: bytes, depth: int = DEPTH - 1) -> Iterator[str]:
        """Markers of the secrets that these bytes hold."""
        for form, marker in self._bytes:
            if form in data:
                yield marker
        text = data.decode("latin-1")
        for _, match in shaped(text):
            yield self._shape_marker(match)
        if depth:
            for stretch in stretches(text):
                for inner in stretch.decodings:
                    yield from self._held(inner, depth - 1)

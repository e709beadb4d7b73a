"""Known secrets in a log, whatever encoding they stand in, found without keeping a secret.

Masking replaces a secret's exact characters, so ``base64``, ``rev`` or one character too many gets past it. For each
secret the forms that it takes in each encoding are fingerprinted: a keyed digest of the whole form, its length, and a
hint, which is what its first characters become under a secret table of sixteen classes. A log is cut into words; each
place of a word whose classes begin as a hint does is checked by the digest. So a match is a match, and whoever reads
the list without the key learns nothing but lengths. With the key, a hint tells four bits of each of six characters of a
form.

Words are read as they stand, joined over line ends (timestamps taken out), and as what stretches of base64 and
hexadecimal decode to, twice over. What is not found is listed in docs/signals.md.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import html
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from urllib.parse import quote, quote_plus, unquote

from bot.errors import InputError
from bot.redact import LOG_PREFIX

SHORTEST = 8  # characters of a secret: a shorter one would be found everywhere
HINT = 6
LONG = 20  # characters of a word that is worth decoding
DEPTH = 3
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]{16,}={0,2}")
_HEX = re.compile(r"[0-9a-fA-F]{16,}")
_SPREAD = re.compile(r"\\x([0-9a-fA-F]{2})")
_COLONS = re.compile(r"\b[0-9a-fA-F]{2}(?::[0-9a-fA-F]{2}){7,}\b")
_PLAIN_HEX = re.compile(r"[0-9a-f]+|[0-9A-F]+")
_ESCAPED = re.compile(r"%[0-9a-fA-F]{2}|\\[/\"\\nrtu]|&(?:#\d+|\w+);")
# Bytes with spaces between them, as hexdump and xxd write them, and characters with spaces between them. The first is
# found by three of them in a row, which is quick to see and rare.
_DUMPED = re.compile(r"(?:(?<=\s)(?:[0-9a-fA-F]{4}|[0-9a-fA-F]{2})(?=\s)[ ]{0,2}){3,}")
_DUMP_HINT = re.compile(
    r" [0-9a-fA-F]{2}(?:[0-9a-fA-F]{2})? {1,2}[0-9a-fA-F]{2}(?:[0-9a-fA-F]{2})? {1,2}[0-9a-fA-F]{2}"
)
_SPACED = re.compile(r"\S(?: \S){11,}")
_SPACED_HINT = re.compile(r" \S \S \S \S \S \S \S ")
_READABLE = re.compile(rb"[\t\n\r\x20-\x7e]{8}")


def words(plain: str) -> set[str]:
    """Every word of at least eight characters: as it stands, joined over line ends, and with spaces taken out."""
    found = set(plain.split())
    if "\n" in plain:
        found |= set(_seamless(plain).split())
    if _DUMP_HINT.search(plain):
        dumped = [re.sub(r"\s", "", match.group()) for match in _DUMPED.finditer(plain)]
        found |= {"".join(dumped), *dumped}
    if _SPACED_HINT.search(plain):
        found |= {match.group().replace(" ", "") for match in _SPACED.finditer(plain)}
    return {word for word in found if len(word) >= SHORTEST}


def _seamless(plain: str) -> str:
    """Lines put together: what a terminal, ``fold`` or ``base64`` has wrapped is whole again."""
    return plain.replace("\r\n", "\n").replace("\\\n", "").replace("\n", "")


def decoded(word: str) -> Iterator[tuple[str, str]]:
    """(encoding, text) of what a word may be when it is decoded, where that reads as text."""
    if _ESCAPED.search(word):
        for encoding, text in _unescaped(word):
            if text != word:
                yield encoding, text
    if "\\x" in word:
        yield from _hex("".join(_SPREAD.findall(word)))
    if word.count(":") >= SHORTEST - 1:
        for match in _COLONS.finditer(word):
            yield from _hex(match.group().replace(":", ""))
    for match in _HEX.finditer(word):
        yield from _hex(match.group())
    for match in _BASE64.finditer(word):
        found = match.group()
        if not found.islower() and not found.isupper() and not _PLAIN_HEX.fullmatch(found):
            yield from _base64(found)


def _hex(digits: str) -> Iterator[tuple[str, str]]:
    for shift in (0, 1):
        part = digits[shift:]
        yield from _text("hex", bytes.fromhex(part[: len(part) // 2 * 2]))


def _base64(found: str) -> Iterator[tuple[str, str]]:
    joined = found.rstrip("=").replace("-", "+").replace("_", "/")
    for shift in range(4):  # what stands right before it moves its start
        part = joined[shift:]
        part = part[:-1] if len(part) % 4 == 1 else part
        yield from _text("base64", binascii.a2b_base64(part + "=" * (-len(part) % 4)))


def _unescaped(word: str) -> Iterator[tuple[str, str]]:
    if "%" in word:
        yield "url", unquote(word)
    if "&" in word:
        yield "escaped", html.unescape(word)
    if "\\" in word:
        once = _ESCAPE.sub(_one, word)
        yield "escaped", once
        yield "escaped", _ESCAPE.sub(_one, once)


_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|.)")


def _one(match: re.Match[str]) -> str:
    what = match[1]
    if what[0] == "u" and len(what) > 1:
        return chr(int(what[1:], 16)).encode(errors="replace").decode()
    return {"n": "\n", "r": "\r", "t": "\t"}.get(what, what)


def _text(encoding: str, data: bytes) -> Iterator[tuple[str, str]]:
    if len(data) > HINT and data.count(0) > len(data) / 3:  # PowerShell's UTF-16
        data = data.replace(b"\0", b"")
    if _READABLE.search(data):
        yield encoding, data.decode("latin-1")


@dataclass(frozen=True, slots=True)
class Form:
    """One form of one secret: the keyed digest of it, its length, and what it is called."""

    secret: str  # the secret's own fingerprint
    encoding: str
    length: int
    mac: str


@dataclass(frozen=True, slots=True)
class Hit:
    """A known secret at a line (from 1) of a text."""

    secret: str
    encoding: str
    line: int


def forms(value: str) -> Iterator[tuple[str, str]]:
    """(encoding, text) of everything that a secret looks like. Base64 and base32 without what neighbours change."""
    raw = value.encode()
    yield "raw", value
    yield "reversed", value[::-1]
    for shift in range(3):
        core = _core(base64.b64encode(b"\0" * shift + raw + b"\0\0\0").decode(), shift, len(raw), 6)
        for text in dict.fromkeys((core, core.replace("+", "-").replace("/", "_"))):
            yield "base64", text
            yield "reversed base64", text[::-1]
    wide = value.encode("utf-16-le")
    for shift in range(3):  # PowerShell's
        yield (
            "base64 of UTF-16",
            _core(base64.b64encode(b"\0" * shift + wide + b"\0\0\0").decode(), shift, len(wide), 6),
        )
    for shift in range(5):
        yield "base32", _core(base64.b32encode(b"\0" * shift + raw + b"\0" * 5).decode(), shift, len(raw), 5)
    yield "hex", raw.hex()
    yield "hex", raw.hex().upper()
    for text in (json.dumps(value)[1:-1], json.dumps(json.dumps(value)[1:-1])[1:-1],
                 json.dumps(value)[1:-1].replace("/", "\\/"), html.escape(value)):  # fmt: skip
        yield "escaped", text
    for text in (quote(value, safe=""), quote(value), quote_plus(value)):
        yield "url", text
        yield "url", re.sub(r"%[0-9A-F]{2}", lambda m: m.group().lower(), text)
        yield "url", quote(text, safe="")


def _core(encoded: str, shift: int, length: int, bits: int) -> str:
    """The characters that the value alone decides."""
    return encoded[-(-shift * 8 // bits) : (shift + length) * 8 // bits]


class Reading:
    """A piece of a log, read once for all who look for something in it."""

    def __init__(self, text: str) -> None:
        self.plain = LOG_PREFIX.sub("", text)
        self.words = words(self.plain)
        self.made = self.words - set(self.plain.split())  # out of several: joined over line ends, spaces taken out
        self.texts: list[tuple[str, str, str]] = []  # (encoding, text, word of the log) of all that was decoded
        level = [("", word, word) for word in self.words if len(word) >= LONG]
        seen: set[str] = set()
        for _ in range(DEPTH):
            inner: list[tuple[str, str, str]] = []
            for encoding, word, root in level:
                if word not in seen:
                    seen.add(word)
                    inner += [(f"{by} of {encoding}" if encoding else by, text, root) for by, text in decoded(word)]
            self.texts += inner
            level = [(how, word, root) for how, text, root in inner for word in words(text) if len(word) >= LONG]

    def all_words(self) -> Iterator[tuple[str, str, str]]:
        """(encoding, word, word of the log that it is in), each once; the encoding is '' for what stands there."""
        seen = set(self.words)
        for word in self.words:
            yield "", word, word
        for encoding, text, root in self.texts:
            for word in words(text):
                if word not in seen:
                    seen.add(word)
                    yield encoding, word, root


def lines_of(plain: str, root: str) -> list[int]:
    """The lines, from 0, on which a word begins that stands in the text, or that its lines make together."""
    found, at = [], plain.find(root)
    while at >= 0:
        found.append(plain.count("\n", 0, at))
        at = plain.find(root, at + len(root))
    if found:
        return sorted(set(found))
    start = _seamless(plain).find(root)
    if start >= 0:
        left = start
        for number, line in enumerate(plain.splitlines()):
            left -= len(line)
            if left < 0:
                return [number]
    for number, line in enumerate(plain.splitlines()):  # with spaces between its characters, or its bytes
        if root[:SHORTEST] in re.sub(r"\s", "", line):
            return [number]
    return [0]


class Known:
    """Fingerprints of known secrets, and the search for them. It holds no secret."""

    def __init__(self, key: bytes, found: Iterable[tuple[str, Form]] = ()) -> None:
        self._key = key
        order = sorted(range(256), key=lambda b: hmac.digest(key, b"class" + bytes([b]), "sha256"))
        table = bytearray(256)
        for place, byte in enumerate(order):
            table[byte] = 97 + place % 16
        self._table = bytes(table)
        self._hints: dict[bytes, list[Form]] = {}
        self.rows: dict[tuple[str, str, int, str], tuple[str, Form]] = {}
        for hint, form in found:
            self._take(hint, form)

    def __bool__(self) -> bool:
        return bool(self._hints)

    def _take(self, hint: str, form: Form) -> None:
        row = (form.secret, form.encoding, form.length, form.mac)
        if row not in self.rows:
            self.rows[row] = (hint, form)
            self._hints.setdefault(hint.encode(), []).append(form)

    def _mac(self, text: bytes) -> str:
        return hashlib.blake2b(text, key=self._key[:64], digest_size=12).hexdigest()

    def add(self, value: str, fingerprint: str = "") -> str:
        """Know a secret by its forms; of one with several lines each long line too. Returns its fingerprint.

        Raises InputError for one that is too short.
        """
        if len(value.strip()) < SHORTEST:
            raise InputError(f"a secret of fewer than {SHORTEST} characters cannot be looked for")
        name = fingerprint or f"hmac:{self._mac(b'name' + value.encode())[:12]}"
        parts = {value.strip()} | {line.strip() for line in value.splitlines() if len(line.strip()) >= 2 * SHORTEST}
        for part in sorted(parts):
            seen = set()
            for encoding, text in forms(part):
                data = text.encode(errors="surrogateescape")
                if len(data) >= SHORTEST and data not in seen:
                    seen.add(data)
                    hint = data[:HINT].translate(self._table).decode()
                    self._take(hint, Form(name, encoding, len(data), self._mac(data)))
        return name

    def find(self, reading: Reading, first_line: int = 1) -> list[Hit]:
        """Every known secret in a piece of a log, each line once for each way in which it stands there."""
        if not self._hints:
            return []
        hits: dict[Hit, bool] = {}  # whether it stands there, or was put together out of several words
        for encoding, word, root in reading.all_words():
            for form in self._forms_in(word.encode(errors="surrogateescape")):
                inner = "" if form.encoding == "raw" and encoding else form.encoding
                how = " of ".join(part for part in (inner, encoding) if part)
                for line in lines_of(reading.plain, root):
                    hit = Hit(form.secret, how, first_line + line)
                    hits[hit] = hits.get(hit, False) or root not in reading.made
        found = [
            hit for hit, stands in hits.items()
            if stands or not hits.get(Hit(hit.secret, hit.encoding, hit.line + 1))  # the line before it was put to it
        ]  # fmt: skip
        return sorted(found, key=lambda hit: (hit.line, hit.secret, hit.encoding))

    def _forms_in(self, word: bytes) -> Iterator[Form]:
        classes, hints = word.translate(self._table), self._hints
        for at in range(len(word) - SHORTEST + 1):
            if classes[at : at + HINT] in hints:
                for form in hints[classes[at : at + HINT]]:
                    if at + form.length <= len(word) and self._mac(word[at : at + form.length]) == form.mac:
                        yield form

    # as a file ------------------------------------------------------------------------------------------------------

    def as_json(self) -> list[dict[str, object]]:
        """The rows of a file of fingerprints."""
        return [
            {"secret": form.secret, "encoding": form.encoding, "length": form.length, "mac": form.mac, "hint": hint}
            for hint, form in self.rows.values()
        ]  # fmt: skip

    @classmethod
    def of_json(cls, rows: object, key: bytes) -> Known:
        """The opposite. Raises ValueError for what is no such list."""
        if not isinstance(rows, list):
            raise ValueError("a list of fingerprints is expected")  # noqa: TRY004  bad text, not a bug
        try:
            found = [(str(r["hint"]), Form(str(r["secret"]), str(r["encoding"]), int(r["length"]), str(r["mac"])))
                     for r in rows]  # fmt: skip
        except (KeyError, TypeError) as exc:
            raise ValueError("a fingerprint lacks a field") from exc
        return cls(key, found)

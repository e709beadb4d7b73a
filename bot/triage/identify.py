"""Which credentials stand in a text: raw, or under base64, hexadecimal and per cent-encoding, wrapped and doubled.

Our own rules (``triage/rules.py``) name the kinds that playbooks know and pair the halves of an AWS key; Kingfisher
finds the long tail, as ``other-RULE``, or as ``generic`` where a rule names no provider. Nothing here asks a provider.
"""

from __future__ import annotations

import base64
import bisect
import codecs
import math
import os
import re
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from kingfisher_sdk import DetectionPolicy, Rules, Scanner

from bot.accounts import account_of_key
from bot.errors import InputError
from bot.model import OTHER, Credential
from bot.redact import DEPTH, LOG_PREFIX, SHAPES, Fingerprinter, Stretch, stretches
from bot.triage.rules import AWS_ID, RULES, Facts, Rule

GENERIC = "generic"
_NAME = re.compile(r"([A-Za-z_][\w.-]*)[\\\"'\s]{0,6}[:=>]{0,2}[\\\"'\s]{0,6}\Z")
_COMMON = re.compile(r"aws|secret|access|key|id|token|session|[^a-z0-9]", re.IGNORECASE)
_FORTY = re.compile(r"(?<![A-Za-z0-9+/=_-])[A-Za-z0-9+/]{40}(?![A-Za-z0-9+/=_-])")
_SESSION_NAMED = re.compile(r"(?i:session_?token)[\\\"']{0,4}\s{0,8}[:=]\s{0,8}[\\\"']{0,4}([A-Za-z0-9/+=]{100,})")
_READABLE = re.compile(rb"[\t\n\r\x20-\x7e]{12}")
# Rules of Kingfisher that say only what a value looks like, and those that find names and no secrets.
_NAMELESS = frozenset({
    "generic-credential-uri", "jwt", "jwt-base64", "private-key", "curl-auth-header", "curl-auth-user",
    "kubernetes-secret-yaml", "nuget-config-password", "sidekiq-sensitive-url",
})  # fmt: skip
_NO_SECRET = re.compile(r"(?:client|access|api)-id$|-pub(?:lic)?-key$|-public-")
_AROUND = 6, 1000  # lines, and characters, either way: rules look for what belongs together within five lines
_NEAR = 400  # characters between an AWS id and forty characters that nothing names


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A credential at one place of a text. It holds the value: it stays in memory, and shows and pickles no value."""

    kind: str
    provider: str
    fingerprint: str
    id: str = ""
    account: str = ""
    where: str = ""  # which text; said by who read it
    line: int = 0
    encoding: str = "raw"
    complete: bool = True  # False when only an id, or half of a pair, stands there
    checksum: str = ""
    value: str = field(default="", repr=False)
    session_token: str = field(default="", repr=False)
    # The text that it stands in, where its rule knows it only by that. In base64: whoever scrubs a sealed value looks
    # for each of its lines, and these are no secrets.
    around: str = field(default="", repr=False)

    @property
    def credential(self) -> Credential:
        """What may be written down of it."""
        return Credential(
            provider=self.provider, kind=self.kind, id=self.id, fingerprint=self.fingerprint, account=self.account
        )

    @property
    def key(self) -> str:
        """``Credential.key``."""
        return self.credential.key

    @property
    def beside(self) -> dict[str, str]:
        """What is sealed beside the value, by label: without it the value alone cannot be tried."""
        held = {f"session-token:{self.key}": self.session_token, f"around:{self.key}": self.around}
        return {label: text for label, text in held.items() if text}

    def __reduce__(self) -> Any:
        raise TypeError("what was found holds a secret and is never pickled")


def _byte_by_byte(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeDecodeError)
    return "?" * (error.end - error.start), error.end  # as many bytes as before, so that places can be told


codecs.register_error("bulkhead-byte-by-byte", _byte_by_byte)


class _View:
    """A text, or what a stretch of one decodes to when its first ``shift`` characters are left out."""

    def __init__(
        self, text: str, encoding: str = "raw", parent: _View | None = None,
        stretch: Stretch | None = None, shift: int = 0,
    ) -> None:  # fmt: skip
        self.text, self.encoding, self._parent, self._stretch, self._shift = text, encoding, parent, stretch, shift
        self._ends = [] if parent else [match.start() for match in re.finditer("\n", text)]

    def line(self, offset: int) -> int:
        """The line of the outermost text, from 1."""
        if self._parent is None or self._stretch is None:
            return bisect.bisect_left(self._ends, offset) + 1
        ratio = {"base64": 4 / 3, "hex": 2.0}.get(self._stretch.encoding, 1.0)
        left = self._shift + int(len(self.text[:offset].encode()) * ratio)
        for start, end in self._stretch.spans:
            if left < end - start:
                return self._parent.line(start + left)
            left -= end - start
        return self._parent.line(self._stretch.spans[-1][0])


def _decoded(data: bytes) -> str:
    """Bytes as text, or '' when nothing in them reads as text."""
    if len(data) > 8 and data.count(0) > len(data) / 3:  # PowerShell's UTF-16
        data = data.replace(b"\0", b"")
    return data.decode(errors="bulkhead-byte-by-byte") if _READABLE.search(data) else ""


def _deeper(encoding: str, by: str) -> str:
    if encoding == "raw":
        return by
    name, _, times = encoding.partition("x")
    return f"{by}x{int(times or 1) + 1}" if name == by else f"{encoding}+{by}"


def _views(text: str) -> list[_View]:
    views = [_View(LOG_PREFIX.sub("", text))]
    level = views[:]
    for _ in range(DEPTH):
        level = [inner for view in level for inner in _inner(view)]
        views += level
    return views


def _inner(view: _View) -> Iterator[_View]:
    for stretch in stretches(view.text):
        for shift, data in enumerate(stretch.decodings):
            if text := _decoded(data):
                yield _View(text, _deeper(view.encoding, stretch.encoding), view, stretch, shift)


@dataclass(frozen=True, slots=True)
class _Half:
    """Half of an AWS pair, somewhere."""

    value: str
    view: int
    at: int
    line: int
    encoding: str
    label: str  # what its name says beyond "aws access key": prod, staging
    named: bool = True
    alone: bool = False  # the whole of its view


Rank = dict[str, tuple[bool, bool, bool]]
_loading = threading.Lock()


@lru_cache(maxsize=4)
def _read(cache_dir: Path | None, files: tuple[tuple[Path, int], ...], builtins: bool) -> tuple[Scanner, Rank]:
    rules = Rules([path for path, _changed in files], builtins=builtins, cache_dir=cache_dir)
    rank = {
        row["id"]: (kind_of_rule(row["id"]) != GENERIC, row["revocation"], row["validation"])
        for row in rules.metadata()
    }  # fmt: skip
    # Whoever leaks must not be able to hide it by a comment that says "ignore".
    return Scanner(rules, policy=DetectionPolicy(inline_ignores=False)), rank


def _loaded(cache_dir: Path | None, files: Iterable[Path], *, builtins: bool) -> tuple[Scanner, Rank]:
    """The rules as they are on the disk now, once a process: a scanner that is dropped keeps 16 MB of its memory."""
    with _loading:
        return _read(cache_dir, tuple((path, path.stat().st_mtime_ns) for path in files), builtins)


class Recognizer:
    """Finds credentials in text. One a process: Kingfisher's rules load once, at first use. Thread-safe.

    ``fingerprinter`` is the vault's; without one, fingerprints mean nothing outside this object. ``files``: rules in
    Kingfisher's format, beside its own or, without ``builtins``, instead. Raises InputError when they cannot be read.
    """

    def __init__(
        self, fingerprinter: Fingerprinter | None = None, cache_dir: Path | None = None, files: Iterable[Path] = (),
        *, builtins: bool = True,
    ) -> None:  # fmt: skip
        self.fingerprinter = fingerprinter or Fingerprinter(os.urandom(32))
        self._cache_dir, self._files, self._builtins = cache_dir, tuple(files), builtins
        self._lock = threading.Lock()
        self._scanner: Scanner | None = None
        self._rank: Rank = {}

    def warm(self) -> Recognizer:
        """Load the rules now: seconds the first time, then half of one from Kingfisher's cache, and once a process."""
        with self._lock:
            if self._scanner is None:
                try:
                    self._scanner, self._rank = _loaded(self._cache_dir, self._files, builtins=self._builtins)
                except (ValueError, OSError, RuntimeError) as exc:
                    if not self._files:
                        raise
                    where = ", ".join(map(str, self._files))
                    raise InputError(f"the rules in {where} cannot be read: {str(exc)[:300]}") from None
        return self

    def find(self, text: str) -> tuple[Found, ...]:
        """Every credential in a text, each place once, in the order of lines."""
        views = _views(text)
        known: set[str] = set()
        found = [hit for view in views for hit in self._by_rules(view, known)] + list(self._aws(views))
        known.update(text for hit in found for text in (hit.value, hit.id, hit.session_token) if text)
        found += self._long_tail(views, known)
        unique = {(hit.key, hit.value, hit.line, hit.encoding): hit for hit in reversed(found)}
        return tuple(sorted(unique.values(), key=lambda hit: (hit.line, hit.kind, hit.id, hit.encoding)))

    @property
    def scanner(self) -> Scanner:
        """Kingfisher's, over the rules as they are loaded."""
        scanner = self.warm()._scanner
        assert scanner is not None
        return scanner

    def called(self, name: str) -> str:
        """The kind that a scanner of the same family means by its rule's name; '' when no rule of ours is called so."""
        self.warm()
        kind = kind_of_rule(name.strip().lower())
        return kind if kind in self.other_kinds else ""

    @property
    def other_kinds(self) -> dict[str, str]:
        """Every kind of the long tail, and the rule that finds it."""
        self.warm()
        return {kind_of_rule(rule): rule for rule, rank in self._rank.items() if rank[0]}

    def glance(self, text: str) -> list[int]:
        """Where Kingfisher sees something in a text as it stands: quick, for what is then read closely."""
        return [int(hit.location["start_offset"]) for hit in self.scanner.scan(text) if hit.visible]

    # -- our rules ---------------------------------------------------------------------------------------------------

    def _by_rules(self, view: _View, known: set[str]) -> Iterator[Found]:
        taken: list[tuple[int, int]] = []
        for rule in RULES.values():
            if not any(hint in view.text for hint in rule.shape.hints):
                continue
            for match in rule.shape.pattern.finditer(view.text):
                start, end = match.span()
                if any(start < b and a < end for a, b in taken):
                    continue
                value = match.groupdict().get("v") or match.group()
                if (facts := rule.read(value)) is not None:
                    taken.append((start, end))
                    known.add(match.group())
                    yield self._found(rule, facts, facts.value or value, view, start)

    def _found(self, rule: Rule, facts: Facts, value: str, view: _View, at: int) -> Found:
        return Found(
            kind=facts.kind or (GENERIC if rule.kind == "jwt" else rule.kind),
            provider=facts.provider or rule.provider,
            id=facts.id, account=facts.account or rule.beside(view.text, at), checksum=facts.checksum, value=value,
            fingerprint=self.fingerprinter.of(value), line=view.line(at), encoding=view.encoding,
        )  # fmt: skip

    # -- AWS: an id, its secret, a session's token -------------------------------------------------------------------

    def _aws(self, views: list[_View]) -> Iterator[Found]:
        ids = [half for at, view in enumerate(views) for half in _ids(at, view)]
        secrets = [half for at, view in enumerate(views) for half in _secrets(at, view, bool(ids))]
        tokens = [half for at, view in enumerate(views) for half in _tokens(at, view)]
        pairs, sessions = _pair(ids, secrets), _pair([i for i in ids if i.value.startswith("ASIA")], tokens)
        for half in ids:
            yield self._aws_found(half, pairs.get(half.value), sessions.get(half.value))
        paired = {secret.value for _, secret in pairs.values()}
        for half in secrets:
            if half.named and half.value not in paired:
                yield Found(
                    kind="aws-access-key", provider="aws", fingerprint=self.fingerprinter.of(half.value),
                    complete=False, line=half.line, encoding=half.encoding, value=half.value,
                )  # fmt: skip

    def _aws_found(self, half: _Half, pair: tuple[_Half, _Half] | None, session: tuple[_Half, _Half] | None) -> Found:
        temporary = half.value.startswith("ASIA")
        here = pair is not None and (half.view == pair[1].view or half == pair[0])
        value = pair[1].value if here and pair else ""
        token = session[1].value if here and session else ""
        return Found(
            kind="aws-session" if temporary else "aws-access-key", provider="aws", id=half.value,
            account=account_of_key(half.value), line=half.line, value=value, session_token=token,
            encoding=pair[1].encoding if here and pair else half.encoding,
            complete=bool(value and (token or not temporary)),
            fingerprint=self.fingerprinter.of(value) if value else "",
        )  # fmt: skip

    # -- everything else ---------------------------------------------------------------------------------------------

    def _long_tail(self, views: list[_View], known: set[str]) -> Iterator[Found]:
        scanner = self.scanner
        for view in views:
            best: dict[tuple[str, int], Any] = {}  # a value that several rules know counts once, as the best known
            for hit in scanner.scan(view.text):
                place = hit.secret, int(hit.location["start_offset"])
                if not hit.visible or any(hit.secret in text or text in hit.secret for text in known):
                    continue
                if place not in best or self._rank[hit.rule_id] > self._rank[best[place].rule_id]:
                    best[place] = hit
            for (secret, start), hit in best.items():
                kind = kind_of_rule(hit.rule_id)
                yield Found(
                    kind=kind, provider=_short(hit.rule_id) if kind == GENERIC else _short(hit.rule_id).split("-")[0],
                    value=secret, fingerprint=self.fingerprinter.of(secret), line=view.line(start),
                    encoding=_deeper(view.encoding, "base64") if hit.is_base64_encoded else view.encoding,
                    around="" if kind == GENERIC or self._alone(hit) else _around(view.text, secret, start),
                )  # fmt: skip

    def _alone(self, hit: Any) -> bool:
        """Whether its rule knows the value without what stands around it."""
        return any(each.rule_id == hit.rule_id and each.secret == hit.secret for each in self.scanner.scan(hit.secret))


def _short(rule_id: str) -> str:
    return re.sub(r"^(?:betterleaks|custom|kingfisher)\.", "", rule_id.rsplit("/", 1)[-1])


def kind_of_rule(rule_id: str) -> str:
    """The kind that a rule of Kingfisher finds: ``other-gitlab-pat``; ``generic`` where a rule names no provider."""
    name = _short(rule_id)
    return GENERIC if name in _NAMELESS or _NO_SECRET.search(name) else f"{OTHER}{name}"


def _around(text: str, value: str, near: int) -> str:
    """The lines around a value, in base64; '' when it does not stand there as it is."""
    lines, most = _AROUND
    at = text.find(value, max(0, near - len(value)))
    if at < 0:
        return ""
    before = text[max(0, at - most) : at].split("\n")[-lines:]
    after = text[at : at + len(value) + most].split("\n")[: lines + value.count("\n")]
    return base64.b64encode(("\n".join(before) + "\n".join(after)).encode()).decode()


def _label(text: str, start: int) -> tuple[str, str]:
    """The name right before a value, and what is left of it without the words that every AWS variable has."""
    match = _NAME.search(text[max(0, start - 120) : start].rpartition("\n")[2])
    name = match[1] if match else ""
    return name, _COMMON.sub("", name).lower()


def _half(view: int, of: _View, value: str, at: int, **more: bool) -> _Half:
    return _Half(value, view, at, of.line(at), of.encoding, _label(of.text, at)[1], **more)


def _ids(number: int, view: _View) -> Iterator[_Half]:
    for match in AWS_ID.finditer(view.text):
        if not match.group().endswith("EXAMPLE"):  # AWS's own documents
            yield _half(number, view, match.group(), match.start())


def _secrets(number: int, view: _View, any_id: bool) -> Iterator[_Half]:
    named = set()
    for match in SHAPES["aws-secret"].pattern.finditer(view.text):
        if not match["v"].endswith("EXAMPLEKEY"):
            named.add(match.start("v"))
            yield _half(number, view, match["v"], match.start("v"))
    if not any_id:
        return  # forty characters are a hash, a digest, anything, unless an id stands somewhere
    for match in _FORTY.finditer(view.text):
        if match.start() not in named and _looks_drawn(match.group()):
            alone = view.text.strip() == match.group()
            yield _half(number, view, match.group(), match.start(), named=False, alone=alone)


def _tokens(number: int, view: _View) -> Iterator[_Half]:
    spots = {match.start(): match.group() for match in SHAPES["aws-session"].pattern.finditer(view.text)}
    spots |= {match.start(1): match[1] for match in _SESSION_NAMED.finditer(view.text)}
    for at, value in spots.items():
        yield _half(number, view, value, at)


def _looks_drawn(text: str) -> bool:
    """Forty characters drawn from 64, not a hash in hexadecimal nor words: classes and entropy say."""
    if re.fullmatch(r"[0-9a-fA-F]+", text) or not all(re.search(c, text) for c in ("[a-z]", "[A-Z]", "[0-9]")):
        return False
    return -sum(n / 40 * math.log2(n / 40) for n in Counter(text).values()) > 4.0


def _pair(ids: list[_Half], others: list[_Half]) -> dict[str, tuple[_Half, _Half]]:
    """Each id's likeliest other half: the same view, the same label, then the nearest; each half is used once."""
    ranked = []
    for one in ids:
        for other in others:
            same = one.view == other.view
            apart = abs(one.at - other.at) if same else 1000 * abs(one.line - other.line)
            if other.named or (apart <= _NEAR if same else other.alone):
                ranked.append(((not same, not other.named, one.label != other.label, apart), one, other))
    pairs: dict[str, tuple[_Half, _Half]] = {}
    used: set[str] = set()
    for _, one, other in sorted(ranked, key=lambda item: item[0]):
        if one.value not in pairs and other.value not in used:
            pairs[one.value] = (one, other)
            used.add(other.value)
    return pairs

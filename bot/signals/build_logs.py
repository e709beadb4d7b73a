"""Signal 4, build logs: a secret stands in a log, also where masking could not see it.

Known secrets are found by the fingerprints of their encodings (``encodings``), others by what they look like. All of a
text is glanced at; only around what looks like something is it read closely. Values stay in memory: a finding holds a
fingerprint, and ``Leak`` hands the value to whoever seals it.
"""

from __future__ import annotations

import bisect
import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

from bot.redact import Fingerprinter, shaped
from bot.signals.encodings import LONG, Known, Reading, lines_of
from bot.signals.facts import Text
from bot.signals.findings import Finding, Sure
from bot.signals.given import Given

SIGNAL = "build-log"
AROUND = 12  # lines before and after a suspicion that are read closely
BLOCK = 400  # lines at most that one block of encoded text may have
_ONE_WORD = re.compile(r"\S{20,}")
_AWS_ID = ("AKIA", "ASIA", "ABIA", "ACCA")


class Recognized(Protocol):
    """What a recogniser finds: see ``triage.identify.Found``."""

    kind: str
    id: str
    line: int
    encoding: str
    complete: bool
    fingerprint: str
    value: str

    @property
    def key(self) -> str: ...


class Recognizer(Protocol):
    """Reads a text closely, and glances at a long one."""

    def find(self, text: str) -> Iterable[Any]:
        """Everything in it."""

    def glance(self, text: str) -> list[int]:
        """Offsets of what it would look at again, quickly."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Leak:
    """A secret in a log. ``value`` is the secret itself where the log shows it; it shows and pickles as nothing."""

    finding: Finding
    kind: str
    value: str = field(default="", repr=False)

    def __reduce__(self) -> Any:
        raise TypeError("a leak holds a secret and is never pickled")


def judge(
    texts: Iterable[Text], given: Given, *, known: Known | None = None, recognizer: Recognizer | None = None
) -> Iterator[Finding]:
    """Findings of these logs."""
    return (leak.finding for leak in leaks(texts, given, known=known, recognizer=recognizer))


def leaks(
    texts: Iterable[Text], given: Given, *, known: Known | None = None, recognizer: Recognizer | None = None
) -> Iterator[Leak]:
    """Every secret of each log, once; without a recogniser by its shape alone."""
    by_shape = Shapes()
    for text in texts:
        told: set[str] = set()
        for line, piece in text.pieces():
            reading = Reading(piece)
            for leak in (*_known(text, reading, line, known, given),
                         *_seen(text, piece, reading, line, recognizer or by_shape, given)):  # fmt: skip
                # What is known by its value and by its shape is one secret, where both are named under one key.
                if (secret := leak.finding.value.rpartition("hmac:")[2]) not in told:
                    told.add(secret)
                    yield leak


def _known(text: Text, reading: Reading, first: int, known: Known | None, given: Given) -> Iterator[Leak]:
    for hit in known.find(reading, first) if known else ():
        how = f"as {hit.encoding}" if hit.encoding != "raw" else "as it is"
        says = f"a known secret, {hit.secret}, stands {how} in line {hit.line} of {text.name or text.origin.where}"
        ruled = ("its keyed fingerprint matches over its whole length",)
        yield Leak(finding=_finding(text, "known-secret", hit.secret, Sure.CERTAIN, says, hit.line, ruled, given),
                   kind="")  # fmt: skip


def _seen(
    text: Text, piece: str, reading: Reading, first: int, recognizer: Recognizer, given: Given
) -> Iterator[Leak]:  # fmt: skip
    for start, window in windows(piece, reading, recognizer):
        for one in recognizer.find(window):
            if not one.value:
                continue  # an id, or half of a pair, is a name
            line = first + start + one.line - 1
            how = f" ({one.encoding})" if one.encoding != "raw" else ""
            says = (
                f"{one.kind} {one.key.split(':', 1)[1]} stands in line {line} of {text.name or text.origin.where}{how}"
            )
            sure = Sure.POSSIBLE if one.kind == "generic" else Sure.LIKELY
            ruled = ("masking has left it as it is",) if one.encoding == "raw" else ("masking does not see encodings",)
            found = _finding(text, "printed", one.key, sure, says, line, ruled, given, credential=one.key)
            yield Leak(finding=found, kind=one.kind, value=one.value)


def _finding(
    text: Text, what: str, value: str, sure: Sure, says: str, line: int, ruled: tuple[str, ...], given: Given, *,
    credential: str = "",
) -> Finding:  # fmt: skip
    subject = f"{text.repository} run {text.run}" if text.run else text.origin.where
    at = text.at if text.at.year > 1 else given.now
    return Finding(
        signal=SIGNAL, subject=subject, what=what, value=value, at=at, sure=sure, says=says,
        evidence=(f"{text.origin}, line {line}",), ruled_out=ruled, repository=text.repository, credential=credential,
    )  # fmt: skip


# a glance, then closely -----------------------------------------------------------------------------------------------


def windows(piece: str, reading: Reading, recognizer: Recognizer) -> Iterator[tuple[int, str]]:
    """(first line from 0, text) of the parts of a piece that are worth reading closely."""
    plain = reading.plain
    spots = {plain.count("\n", 0, at) for at in _suspect(plain, recognizer)}
    joined = [("", word, word) for word in reading.made if len(word) >= LONG]
    for texts in (joined, reading.texts):  # all of it is glanced at in one go
        together, starts = "\n".join(text for _, text, _ in texts), []
        at = 0
        for _, text, _ in texts:
            starts.append(at)
            at += len(text) + 1
        for offset in _suspect(together, recognizer):
            spots.update(lines_of(plain, texts[bisect.bisect_right(starts, offset) - 1][2]))
    if spots:
        lines, raw = plain.split("\n"), piece.split("\n")
        for start, end in _merged(sorted(spots), lines):
            yield start, "\n".join(raw[start:end])


def _suspect(text: str, recognizer: Recognizer) -> Iterator[int]:
    yield from recognizer.glance(text)
    yield from (match.start() for _, match in shaped(text))
    for head in _AWS_ID:
        at = text.find(head)
        while at >= 0:
            yield at
            at = text.find(head, at + 16)


def _merged(spots: list[int], lines: list[str]) -> Iterator[tuple[int, int]]:
    """Spans of lines around the spots; a block of lines that are one word each is taken whole."""
    end = -1
    start = -1
    for spot in spots:
        low, high = max(0, spot - AROUND), min(len(lines), spot + AROUND + 1)
        while low > 0 and spot - low < BLOCK and _ONE_WORD.fullmatch(lines[low].strip()):
            low -= 1
        while high < len(lines) and high - spot < BLOCK and _ONE_WORD.fullmatch(lines[high].strip()):
            high += 1
        high = min(len(lines), high + 1)
        if low <= end:
            end = max(end, high)
            continue
        if start >= 0:
            yield start, end
        start, end = low, high
    if start >= 0:
        yield start, end


@dataclass(frozen=True, slots=True, kw_only=True)
class _ByShape:
    """What a shape tells: its name and the value."""

    kind: str
    value: str
    line: int
    fingerprint: str
    id: str = ""
    encoding: str = "raw"
    complete: bool = True

    @property
    def key(self) -> str:
        return f"{self.kind}:{self.fingerprint}"


class Shapes:
    """A recogniser that knows shapes and nothing else: quick, and without Kingfisher's rules.

    ``fingerprint`` names a value. Under a key of this moment the same value has another name the next time.
    """

    def __init__(self, fingerprint: Callable[[str], str] | None = None) -> None:
        self._fingerprint = fingerprint or Fingerprinter(os.urandom(32)).of

    def glance(self, _text: str) -> list[int]:
        return []

    def find(self, text: str) -> Iterator[_ByShape]:
        reading = Reading(text)
        yield from self._of(reading.plain, "raw", lambda at: reading.plain.count("\n", 0, at) + 1)
        for encoding, inner, root in reading.texts:
            line = lines_of(reading.plain, root)[0] + 1
            yield from self._of(inner, encoding, lambda _at, line=line: line)  # type: ignore[misc]

    def _of(self, text: str, encoding: str, line: Callable[[int], int]) -> Iterator[_ByShape]:
        for kind, match in shaped(text):
            value = match.groupdict().get("v") or match.group()
            yield _ByShape(kind=kind, value=value, line=line(match.start()), encoding=encoding,
                           fingerprint=self._fingerprint(value))  # fmt: skip

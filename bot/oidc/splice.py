"""Changes of a text, and the way back."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bot.oidc.refusal import Refusal

_PLAIN = re.compile(r"[A-Za-z0-9_./$*(][A-Za-z0-9_./$*@(){}|&=!'\[\]<>+ :,-]*")
_OTHER_TYPE = re.compile(r"(?i)true|false|null|yes|no|on|off|y|n|[-+]?[.\d][\d_.eE+:-]*|0[xo][\da-f]+|\.nan|\.inf")
BOOLEANS = {"true", "false"}


@dataclass(frozen=True, slots=True)
class Change:
    """Characters ``start`` to ``end`` of the text before are replaced by ``text``; ``old`` is what stood there."""

    start: int
    end: int
    text: str
    old: str


@dataclass(frozen=True, slots=True)
class Said:
    """A value to be written with a comment behind it, or in quotes as a string that would read as another type."""

    value: str
    comment: str = ""


def applied(text: str, changes: Iterable[Change]) -> str:
    """The text after the changes. Raises Refusal when two of them touch the same characters."""
    parts, at = [], 0
    for change in ordered(changes):
        if change.start < at:
            raise Refusal("write-in-place", "two edits of the file touch the same place")
        parts += [text[at : change.start], change.text]
        at = change.end
    return "".join([*parts, text[at:]])


def restored(text: str, changes: Iterable[Change]) -> str:
    """The text before the changes, from the text after them: what was inserted goes, what was deleted comes back."""
    parts, at, shift = [], 0, 0
    for change in ordered(changes):
        start = change.start + shift
        parts += [text[at:start], change.old]
        at = start + len(change.text)
        shift += len(change.text) - (change.end - change.start)
    return "".join([*parts, text[at:]])


def ordered(changes: Iterable[Change]) -> list[Change]:
    """As they stand in the text; of those at one place an insertion comes first, else the order they were made in."""
    return sorted(changes, key=lambda change: (change.start, change.end))


def scalar(text: str) -> str:
    """A string as YAML, plain where that reads as the same string, otherwise in quotes."""
    plain = (_PLAIN.fullmatch(text) and not _OTHER_TYPE.fullmatch(text)) or text in BOOLEANS or text.isdecimal()
    if plain and ": " not in text and " #" not in text and not text.endswith((":", " ")) and not text.startswith("*"):
        return text
    if any(ord(c) < 32 for c in text):
        raise Refusal("write-in-place", "a value of several lines cannot be written here")
    return "'" + text.replace("'", "''") + "'"


def lines_of(key: str, value: Any, unit: int) -> list[str]:
    """A key with its value as lines without the leading indent. Values: strings, Said, mappings of these."""
    if isinstance(value, Said):
        return [f"{key}: {scalar(value.value)}" + (f" # {value.comment}" if value.comment else "")]
    if isinstance(value, Mapping):
        return [f"{key}:", *(" " * unit + line for k, v in value.items() for line in lines_of(k, v, unit))]
    return [f"{key}: {scalar(str(value))}"]


def plain(value: Any) -> Any:
    """What the lines of a value read as."""
    if isinstance(value, Said):
        return value.value
    return {key: plain(each) for key, each in value.items()} if isinstance(value, Mapping) else str(value)


def joined(lines: Sequence[str], indent: int, newline: str) -> str:
    """Lines at an indent, each with its ending."""
    return "".join(f"{' ' * indent}{line}{newline}" if line else newline for line in lines)

"""A small schema language for Block Kit: checks that say what is wrong in Slack's own words, with a JSON pointer."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

Wrong = list[str]
Check = Callable[[Any, str, Wrong], None]


def _say(out: Wrong, what: str, at: str) -> None:
    out.append(f"{what} [json-pointer:{at or '/'}]")


def string(most: int, least: int = 1, pattern: str = "") -> Check:
    """Text of so many characters, which fits the pattern."""

    def check(value: Any, at: str, out: Wrong) -> None:
        if not isinstance(value, str):
            _say(out, "must be a string", at)
        elif len(value) > most:
            _say(out, f"must be less than {most + 1} characters", at)
        elif len(value) < least:
            _say(out, f"must be more than {least - 1} characters", at)
        elif pattern and not re.fullmatch(pattern, value, re.DOTALL):
            _say(out, "does not match the expected pattern", at)

    return check


URL = string(3000, pattern=r"(https?|mailto|slack):\S+")


def boolean(value: Any, at: str, out: Wrong) -> None:
    if not isinstance(value, bool):
        _say(out, "must be a boolean", at)


def anything(_value: Any, _at: str, _out: Wrong) -> None:
    """No check: what is in there is not looked at."""


def integer(low: int, high: int) -> Check:
    def check(value: Any, at: str, out: Wrong) -> None:
        if isinstance(value, bool) or not isinstance(value, int):
            _say(out, "must be an integer", at)
        elif not low <= value <= high:
            _say(out, f"must be between {low} and {high}", at)

    return check


def one_of(*values: str) -> Check:
    def check(value: Any, at: str, out: Wrong) -> None:
        if not isinstance(value, str) or value not in values:
            _say(out, f"must be one of {', '.join(values)}", at)

    return check


def array(item: Check, most: int, least: int = 1) -> Check:
    """A list of so many items, each of which passes ``item``."""

    def check(value: Any, at: str, out: Wrong) -> None:
        if not isinstance(value, list):
            _say(out, "must be an array", at)
            return
        if len(value) > most:
            _say(out, f"no more than {most} items allowed", at)
        if len(value) < least:
            _say(out, f"no fewer than {least} items allowed", at)
        for index, each in enumerate(value[: most + 1]):
            item(each, f"{at}/{index}", out)

    return check


def table(required: dict[str, Check], optional: dict[str, Check] | None = None) -> Check:
    """An object with these keys and no others."""
    known = required | (optional or {})

    def check(value: Any, at: str, out: Wrong) -> None:
        if not isinstance(value, dict):
            _say(out, "must be an object", at)
            return
        for name in required:
            if name not in value:
                _say(out, f"missing required field: {name}", at)
        for name, each in value.items():
            if name in known:
                known[name](each, f"{at}/{name}", out)
            else:
                _say(out, f"invalid additional property: {name}", at)

    return check


def by_type(kinds: dict[str, Check], allowed: Iterable[str] | None = None) -> Check:
    """An object checked by its ``type``, which must be one of those allowed here."""
    fits = set(kinds if allowed is None else allowed)

    def check(value: Any, at: str, out: Wrong) -> None:
        kind = value.get("type") if isinstance(value, dict) else None
        if not isinstance(value, dict):
            _say(out, "must be an object", at)
        elif not isinstance(kind, str) or kind not in kinds:
            _say(out, f"unsupported type: {kind}", f"{at}/type")
        elif kind not in fits:
            _say(out, f"unsupported type here: {kind}", f"{at}/type")
        else:
            kinds[kind](value, at, out)

    return check


def both(*checks: Check) -> Check:
    """One check after the other; the later ones may rely on what the earlier ones found right."""

    def check(value: Any, at: str, out: Wrong) -> None:
        before = len(out)
        for each in checks:
            if len(out) == before:
                each(value, at, out)

    return check


def rule(holds: Callable[[dict[str, Any]], bool], what: str) -> Check:
    """Something that must hold of a whole object; not asked of what is no object, which another check tells."""

    def check(value: Any, at: str, out: Wrong) -> None:
        if isinstance(value, dict) and not holds(value):
            _say(out, what, at)

    return check

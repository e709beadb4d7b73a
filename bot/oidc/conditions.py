"""Whether a condition (``if:``) can hold for an event: GitHub's expressions with three values, true, false and unknown.

Only what the event decides is known: ``github.event_name``, and that the ref of a pull request is ``refs/pull/…``.
Everything else is unknown, and an expression that is not understood is unknown as a whole. Grammar:
docs.github.com/actions/reference/workflows-and-actions/expressions.
"""

from __future__ import annotations

import re
from typing import Any

UNKNOWN: Any = object()
_TOKEN = re.compile(r"\s*(?:('(?:[^']|'')*')|(&&|\|\||==|!=|<=|>=|[!()<>,\[\]])|([\w.*-]+))")


def may_hold(condition: str, event: str) -> bool:
    """Whether a condition can be true in a run of this event. An empty one always is."""
    text = condition.strip()
    if text.startswith("${{") and text.endswith("}}") and text.count("${{") == 1:
        text = text[3:-2]
    if not text.strip() or "${{" in text:
        return True
    try:
        parser = _Parser(text, event)
        found = parser.either()
        return found is UNKNOWN or _truth(found) or not parser.done
    except (ValueError, IndexError):
        return True


def _truth(value: Any) -> bool:
    return value is UNKNOWN or (bool(value) and value != "")


class _Parser:
    def __init__(self, text: str, event: str) -> None:
        self._event = event
        self._tokens: list[str] = []
        at = 0
        text = text.strip()
        while at < len(text):
            match = _TOKEN.match(text, at)
            if match is None or match.end() == at:
                raise ValueError(text)
            self._tokens.append(match[1] or match[2] or match[3])
            at = match.end()
        self._at = 0

    @property
    def done(self) -> bool:
        return self._at >= len(self._tokens)

    def _next(self) -> str:
        self._at += 1
        return self._tokens[self._at - 1]

    def _is(self, *tokens: str) -> bool:
        return not self.done and self._tokens[self._at] in tokens

    def either(self) -> Any:
        left = self._both()
        while self._is("||"):
            self._next()
            right = self._both()
            if left is UNKNOWN:
                left = right if right is not UNKNOWN and _truth(right) else UNKNOWN
            elif not _truth(left):
                left = right
        return left

    def _both(self) -> Any:
        left = self._equal()
        while self._is("&&"):
            self._next()
            right = self._equal()
            if left is UNKNOWN:
                left = UNKNOWN if right is UNKNOWN or _truth(right) else False
            elif _truth(left):
                left = right
        return left

    def _equal(self) -> Any:
        left = self._unary()
        while self._is("==", "!=", "<", ">", "<=", ">="):
            sign, right = self._next(), self._unary()
            left = _compared(left, sign, right)
        return left

    def _unary(self) -> Any:
        if self._is("!"):
            self._next()
            found = self._unary()
            return UNKNOWN if found is UNKNOWN else not _truth(found)
        return self._primary()

    def _primary(self) -> Any:
        token = self._next()
        if token == "(":  # noqa: S105 - a bracket
            found = self.either()
            self._next()
            return found
        if token.startswith("'"):
            return token[1:-1].replace("''", "'")
        if self._is("("):
            return self._call(token.lower())
        found = self._named(token.lower())
        while self._is("["):
            self._next()
            self.either()
            self._next()
            found = UNKNOWN
        return found

    def _named(self, name: str) -> Any:
        if name == "github.event_name":
            return self._event
        pulls = self._event.startswith("pull_request")
        if name == "github.ref" and pulls and self._event == "pull_request":
            return _Ref("refs/pull/")
        if pulls and (name == "github.event.ref" or name.startswith(("github.event.inputs.", "github.event.release."))):
            return ""  # no such field in this event's payload
        return {"true": True, "false": False, "null": ""}.get(name, UNKNOWN)

    def _call(self, name: str) -> Any:
        self._next()
        given: list[Any] = []
        while not self._is(")"):
            given.append(self.either())
            if self._is(","):
                self._next()
        self._next()
        if name == "startswith" and len(given) == 2:
            return _starts(*given)
        if name == "always":
            return True
        if name == "contains" and all(isinstance(each, str) and type(each) is str for each in given):
            return given[1].lower() in given[0].lower()
        return UNKNOWN


class _Ref(str):
    """A ref of which only the beginning is known."""

    __slots__ = ()


def _starts(text: Any, start: Any) -> Any:
    if text is UNKNOWN or start is UNKNOWN:
        return UNKNOWN
    if isinstance(text, _Ref):
        known = str(text)
        return True if known.startswith(str(start)) else UNKNOWN if str(start).startswith(known) else False
    return str(text).lower().startswith(str(start).lower())


def _compared(left: Any, sign: str, right: Any) -> Any:
    if left is UNKNOWN or right is UNKNOWN or sign not in {"==", "!="}:
        return UNKNOWN
    for one, two in ((left, right), (right, left)):
        if isinstance(one, _Ref):
            same: Any = UNKNOWN if isinstance(two, _Ref) or str(two).startswith(str(one)) else False
            return UNKNOWN if same is UNKNOWN else sign == "!="
    same = str(left).lower() == str(right).lower()
    return same == (sign == "==")

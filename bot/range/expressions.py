"""GitHub's expressions, as far as the range's runner understands them; everything else is refused by name.

docs.github.com/actions/reference/workflows-and-actions/expressions: literals, dotted contexts, ``==``, ``!=``, ``!``,
``&&``, ``||``, and the functions listed in ``_FUNCTIONS`` beside the status functions.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

_TOKEN = re.compile(
    r"\s*(?:(?P<number>-?\d+(?:\.\d+)?)|'(?P<text>(?:[^']|'')*)'|(?P<name>[A-Za-z_][\w-]*(?:\.[A-Za-z_*][\w-]*)*)"
    r"|(?P<op>==|!=|&&|\|\||[!(),]))"
)
_HOLE = re.compile(r"\$\{\{(.*?)\}\}", re.DOTALL)
_STATUS = {"always", "success", "failure", "cancelled"}


class Unsupported(ValueError):
    """An expression that the range does not interpret."""


def text(value: Any) -> str:
    """How GitHub prints a value into a string."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (dict, list)):
        return json.dumps(value, indent=2)
    return str(value)


def _loose_equal(a: Any, b: Any) -> bool:
    if isinstance(a, str) and isinstance(b, str):
        return a.lower() == b.lower()
    return bool(a == b) if type(a) is type(b) else text(a).lower() == text(b).lower()


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "contains": lambda where, what: text(what).lower() in (
        [text(w).lower() for w in where] if isinstance(where, list) else text(where).lower()
    ),
    "startswith": lambda a, b: text(a).lower().startswith(text(b).lower()),
    "endswith": lambda a, b: text(a).lower().endswith(text(b).lower()),
    "tojson": lambda value: json.dumps(value, indent=2),
    "format": lambda pattern, *values: re.sub(r"\{(\d+)\}", lambda m: text(values[int(m[1])]), pattern),
}  # fmt: skip


class _Parser:
    def __init__(self, source: str, contexts: Mapping[str, Any], status: Mapping[str, bool]) -> None:
        self.source, self.contexts, self.status = source, contexts, status
        self.tokens: list[tuple[str, str]] = []
        at, source = 0, source.rstrip()
        while at < len(source):
            found = _TOKEN.match(source, at)
            if found is None:
                raise Unsupported(f"unexpected {source[at:].strip()[:20]!r} in {self.source.strip()!r}")
            kind = str(found.lastgroup)
            self.tokens.append((kind, found[kind]))
            at = found.end()
        self.at = 0

    def _accept(self, op: str) -> bool:
        if self.at < len(self.tokens) and self.tokens[self.at] == ("op", op):
            self.at += 1
            return True
        return False

    def whole(self) -> Any:
        value = self._either()
        if self.at != len(self.tokens):
            raise Unsupported(f"unexpected {self.tokens[self.at][1]!r} in {self.source.strip()!r}")
        return value

    def _either(self) -> Any:
        value = self._both()
        while self._accept("||"):
            other = self._both()
            value = value or other
        return value

    def _both(self) -> Any:
        value = self._compare()
        while self._accept("&&"):
            other = self._compare()
            value = value and other
        return value

    def _compare(self) -> Any:
        value = self._single()
        for op in ("==", "!="):
            if self._accept(op):
                return _loose_equal(value, self._single()) is (op == "==")
        return value

    def _single(self) -> Any:
        if self._accept("!"):
            return not self._single()
        if self._accept("("):
            value = self._either()
            if not self._accept(")"):
                raise Unsupported(f"missing ) in {self.source.strip()!r}")
            return value
        if self.at >= len(self.tokens):
            raise Unsupported(f"{self.source.strip()!r} ends too early")
        kind, token = self.tokens[self.at]
        self.at += 1
        if kind == "number":
            return float(token) if "." in token else int(token)
        if kind == "text":
            return token.replace("''", "'")
        if kind == "name":
            return self._call(token) if self._accept("(") else self._look_up(token)
        raise Unsupported(f"unexpected {token!r} in {self.source.strip()!r}")

    def _call(self, name: str) -> Any:
        arguments: list[Any] = []
        while not self._accept(")"):
            arguments.append(self._either())
            if not self._accept(",") and self.tokens[self.at : self.at + 1] != [("op", ")")]:
                raise Unsupported(f"missing ) in {self.source.strip()!r}")
        if name.lower() in _STATUS:
            return self.status.get(name.lower(), False)
        if name.lower() not in _FUNCTIONS:
            raise Unsupported(f"the function {name}() is not one that the range interprets")
        return _FUNCTIONS[name.lower()](*arguments)

    def _look_up(self, name: str) -> Any:
        if name in ("true", "false", "null"):
            return {"true": True, "false": False, "null": None}[name]
        head, *rest = name.split(".")
        if head not in self.contexts:
            raise Unsupported(f"the context {head} is not one that the range interprets here")
        value: Any = self.contexts[head]
        for key in rest:
            folded = {str(k).lower(): v for k, v in value.items()} if isinstance(value, Mapping) else {}
            value = folded.get(key.lower())
        return value


def evaluate(source: str, contexts: Mapping[str, Any], status: Mapping[str, bool] | None = None) -> Any:
    """The value of one expression, without its ``${{ }}``. Raises ``Unsupported``."""
    return _Parser(source, contexts, status or {}).whole()


def fill(value: str, contexts: Mapping[str, Any]) -> str:
    """A string with each ``${{ }}`` replaced. Raises ``Unsupported``."""
    return _HOLE.sub(lambda m: text(evaluate(m[1], contexts)), value)


def condition(source: str | bool | None, contexts: Mapping[str, Any], status: Mapping[str, bool]) -> bool:
    """An ``if:``. Without a status function ``success()`` is required beside it."""
    if source is None or source == "":
        return status["success"]
    expression = str(source).strip() if not isinstance(source, bool) else str(source).lower()
    hole = _HOLE.fullmatch(expression)
    if hole:
        expression = hole[1]
    holds = bool(evaluate(expression, contexts, status))
    names_status = re.search(rf"\b({'|'.join(_STATUS)})\s*\(", expression)
    return holds if names_status else holds and status["success"]

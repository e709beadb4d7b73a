"""YAML without its traps: tables, lists and plain values, each with its line. Playbooks, drills and policy are read so.

Refused: tags, anchors and aliases (so no bombs), keys given twice, keys that are not text, several documents,
deep nesting, more than 128 KiB, control characters. A plain ``no`` or ``1:30`` is text (YAML 1.2's core schema), so
nobody's country becomes false.
"""

from __future__ import annotations

import difflib
import re
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml
from yaml.composer import Composer
from yaml.resolver import BaseResolver

from bot.errors import PlaybookError, SettingsError

T = TypeVar("T")
MAX_BYTES, MAX_DEPTH, MAX_VALUES = 128 * 1024, 12, 10_000

_INT = re.compile(r"[-+]?[0-9]{1,18}")
_FLOAT = re.compile(r"[-+]?(\.[0-9]{1,18}|[0-9]{1,18}(\.[0-9]{0,18})?)([eE][-+]?[0-9]{1,2})?")
_PLAIN = {"true": True, "True": True, "false": False, "False": False, "null": None, "~": None, "": None}
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Node:
    """A value and the line where it, or its key, stands. ``value`` is a dict or tuple of nodes, or a plain value."""

    value: Any
    line: int

    @property
    def plain(self) -> Any:
        """The value without lines: dicts, lists and plain values."""
        if isinstance(self.value, dict):
            return {key: node.plain for key, node in self.value.items()}
        if isinstance(self.value, tuple):
            return [node.plain for node in self.value]
        return self.value


class Problems:
    """Collects every mistake of one file, each with its line."""

    def __init__(self, source: str) -> None:
        self.source = source
        self._found: dict[tuple[int, str], None] = {}

    def add(self, line: int, text: str) -> None:
        """One more mistake; the same one twice is one."""
        self._found[line, text] = None

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self._found)

    def __bool__(self) -> bool:
        return bool(self._found)

    def refuse(self) -> None:
        """Raise them all as PlaybookError; nothing when there are none."""
        if self._found:
            raise PlaybookError(self.source, list(self._found))


def of_settings(path: Path, what: str, made: Callable[[str, str], T]) -> T:
    """What ``made`` reads, given text and source, in a file that a setting names; ``what``: how the message calls it.

    Raises SettingsError with every mistake and its line.
    """
    try:
        return made(path.read_text(), str(path))
    except (OSError, UnicodeDecodeError) as exc:
        said = f"cannot be read: {type(exc).__name__}"
    except PlaybookError as exc:
        said = f"has mistakes:\n  {exc}"
    raise SettingsError(f"{what} {path} {said}")


def read(text: str, source: str) -> Node:
    """The file's one table. Raises PlaybookError with what YAML itself makes impossible to read."""
    if len(text.encode(errors="replace")) > MAX_BYTES:
        raise PlaybookError(source, [(1, f"the file is larger than {MAX_BYTES // 1024} KiB")])
    try:
        root = _Composed(list(_surveyed(text, source))).get_single_node()
    except yaml.MarkedYAMLError as exc:
        mark = exc.problem_mark or exc.context_mark
        said = exc.problem or exc.context or "not YAML"
        raise PlaybookError(source, [(mark.line + 1 if mark else 1, f"this is not YAML: {said}")]) from None
    except (yaml.YAMLError, ValueError, OverflowError) as exc:  # an escape such as "\Uffffffff" is a plain ValueError
        said = str(exc).splitlines()[0]
        raise PlaybookError(source, [(1, f"this is not YAML: {said}")]) from None
    problems = Problems(source)
    if not isinstance(root, yaml.MappingNode):
        raise PlaybookError(source, [(1, "the file must be a table of keys and values")])
    node = _node(root, problems)
    problems.refuse()
    return node


class _Composed(Composer, BaseResolver):
    """Nodes of events that were parsed before: the parser in Python is what reading takes its time for."""

    def __init__(self, events: Sequence[yaml.Event]) -> None:
        Composer.__init__(self)
        BaseResolver.__init__(self)
        self._left = deque(events)

    def check_event(self, *choices: type[yaml.Event]) -> bool:
        return bool(self._left) and isinstance(self._left[0], choices)

    def peek_event(self) -> yaml.Event:
        return self._left[0]

    def get_event(self) -> yaml.Event:
        return self._left.popleft()


def _surveyed(text: str, source: str) -> Iterator[yaml.Event]:
    """The parser's events. What must not even be built is refused by them alone."""
    depth = documents = 0
    for values, event in enumerate(yaml.parse(text, Loader=yaml.BaseLoader)):
        line = event.start_mark.line + 1 if event.start_mark else 1
        if isinstance(event, yaml.DocumentStartEvent):
            documents += 1
        elif isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise PlaybookError(source, [(line, "anchors and aliases (& and *) are not allowed; write the value out")])
        elif tag := getattr(event, "tag", None):
            raise PlaybookError(source, [(line, f"tags are not allowed: {tag}")])
        elif isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if documents > 1:
            raise PlaybookError(source, [(line, "one file holds one document; remove the second ---")])
        if depth > MAX_DEPTH or values > MAX_VALUES:
            raise PlaybookError(source, [(line, "nested too deeply" if depth > MAX_DEPTH else "too many values")])
        yield event


def _node(node: yaml.Node, problems: Problems, line: int = 0) -> Node:
    line = line or node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        table: dict[str, Node] = {}
        for key, value in node.value:
            at = key.start_mark.line + 1
            name = _scalar(key, problems, at) if isinstance(key, yaml.ScalarNode) else None
            if not isinstance(name, str):
                problems.add(at, "a key must be text")
            elif name in table:
                problems.add(at, f"{name!r} is given twice; line {table[name].line} has it already")
            else:
                table[name] = _node(value, problems, at)
        return Node(table, line)
    if isinstance(node, yaml.SequenceNode):
        return Node(tuple(_node(item, problems) for item in node.value), line)
    return Node(_scalar(node, problems, line), line)


def _scalar(node: yaml.Node, problems: Problems, line: int) -> Any:
    text = str(node.value)
    if _CONTROL.search(text):
        problems.add(line, "a control character is not allowed here")
        return ""
    if getattr(node, "style", None) is not None:  # quoted, or a block of text
        return text
    if text in _PLAIN:
        return _PLAIN[text]
    if _INT.fullmatch(text) and not re.match(r"[-+]?0[0-9]", text):  # 0123 is a name, such as an account's id
        return int(text)
    return float(text) if _FLOAT.fullmatch(text) and "." in text else text


def kind_of(value: Any) -> str:
    """What a value is, in words."""
    if value is None:
        return "nothing"
    names = {"dict": "a table", "tuple": "a list", "bool": "true or false", "int": "a number", "float": "a number"}
    return names.get(type(value).__name__, "text")


def table(
    node: Node, what: str, problems: Problems, known: Collection[str], required: Iterable[str] = ()
) -> dict[str, Node]:
    """The node as a table with known keys; unknown and missing ones are problems."""
    if not isinstance(node.value, dict):
        problems.add(node.line, f"{what} must be a table, this is {kind_of(node.value)}")
        return {}
    for key, value in node.value.items():
        if key not in known:
            problems.add(value.line, f"{what} has no key {key!r}{hint(key, known)}")
    for key in required:
        if key not in node.value:
            problems.add(node.line, f"{what} needs {key!r}")
    return {key: value for key, value in node.value.items() if key in known}


def items(node: Node, what: str, problems: Problems) -> Iterator[Node]:
    """The nodes of a list; anything else is a problem."""
    if isinstance(node.value, tuple):
        yield from node.value
    else:
        problems.add(node.line, f"{what} must be a list, this is {kind_of(node.value)}")


def text(node: Node | None, what: str, problems: Problems, *, most: int = 2000) -> str:
    """The node as text that is not empty; anything else is a problem and gives ''."""
    if node is None:
        return ""
    if not isinstance(node.value, str) or not node.value.strip():
        problems.add(node.line, f"{what} must be text, this is {kind_of(node.value) if node.value != '' else 'empty'}")
        return ""
    if len(node.value) > most:
        problems.add(node.line, f"{what} is longer than {most} characters")
    return node.value


def hint(word: str, known: Iterable[str]) -> str:
    """The end of a sentence: the known word that is close to this one, or all of them when they are few."""
    names = sorted(known)
    close = difflib.get_close_matches(word, names, 1)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; known: {', '.join(names)}" if names and len(names) <= 12 else ""

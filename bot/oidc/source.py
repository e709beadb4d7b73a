"""A workflow file as bytes, and where each of its values stands in them.

YAML is read for its marks only and never written: what is not part of an edit keeps every byte (a round trip through
a YAML library leaves 66 % of real files as they were, tuned; a splice leaves all of them). The reader is built on the
parser's events, so an alias stays an alias and is not taken for the text of its anchor. Ends are those of the last
value inside, since a block's own end mark runs over the blank lines and comments that belong to what follows.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

from bot.oidc.refusal import Refusal

MAX_BYTES = 1_000_000  # GitHub's contents API gives no more inline either
MAX_DEPTH = 60
_ODD_BREAKS = re.compile("[\u2028\u2029\x85]|\r(?!\n)")
_Loader: Any = getattr(yaml, "CBaseLoader", yaml.BaseLoader)  # the same events, ten times as fast

Path = tuple[str | int, ...]


@dataclass(slots=True)
class Node:
    """A value in the file. ``start`` and ``end`` count characters; ``end`` is that of the last value inside.

    ``kind`` is map, seq, scalar or alias. ``style`` of a scalar is '' (plain), ' or ", | or >; of a collection ''
    (block) or 'flow'.
    """

    kind: str
    start: int
    end: int
    style: str = ""
    value: str = ""
    anchor: str = ""
    items: list[Node] = field(default_factory=list)  # of a sequence
    entries: list[Entry] = field(default_factory=list)  # of a map, in order
    target: Node | None = None  # of an alias

    def get(self, key: str) -> Node | None:
        """The value of a key of a map; an alias is followed. None when there is none."""
        entry = self.entry(key)
        return entry.value if entry else None

    def entry(self, key: str) -> Entry | None:
        """A key of a map with its value."""
        return next((each for each in self.real.entries if each.key.value == key), None)

    @property
    def real(self) -> Node:
        """This value, or what the alias stands for."""
        return self.target if self.target is not None else self

    @property
    def plain(self) -> Any:
        """Strings, lists and dicts, as GitHub's parser sees them before types."""
        node = self.real
        if node.kind == "map":
            return {entry.key.value: entry.value.plain for entry in node.entries}
        return [item.plain for item in node.items] if node.kind == "seq" else node.value


@dataclass(slots=True)
class Entry:
    """A key of a map and its value."""

    key: Node
    value: Node

    @property
    def end(self) -> int:
        """Where the last value of the entry ends; behind the colon when it has none."""
        return max(self.value.end, self.key.end)


class Source:
    """One file: its text without the byte order mark, and its tree. Raises Refusal when it cannot be edited safely."""

    def __init__(self, data: bytes) -> None:
        self.bom = data.startswith(codecs.BOM_UTF8)
        self.text = _decoded(data)
        self.root = _composed(self.text)

    def encode(self, text: str) -> bytes:
        """A text as this file's bytes."""
        return (codecs.BOM_UTF8 if self.bom else b"") + text.encode()

    def at(self, path: Path) -> Node:
        """The value at a path of keys and indexes. Raises KeyError when there is none, Refusal behind an anchor."""
        node = self.root
        for part in path:
            found = node.get(part) if isinstance(part, str) else node.real.items[part]
            if found is None:
                raise KeyError(part)
            node = found
        return node

    def own(self, path: Path) -> Node:
        """The value at a path that may be edited: no alias, no anchor on the way, nothing shared with another place."""
        node = self.root
        for part in (*path, None):
            if node.kind == "alias" or node.anchor:
                raise Refusal(
                    "anchor", "the part to edit is shared by a YAML anchor, so an edit would change two places"
                )
            if part is None:
                break
            found = node.get(part) if isinstance(part, str) else node.items[part]
            if found is None:
                raise KeyError(part)
            node = found
        return node

    def line_start(self, index: int) -> int:
        """Where the line of a character begins."""
        return self.text.rfind("\n", 0, index) + 1

    def line_end(self, index: int) -> int:
        """Behind the line's end, its newline included."""
        found = self.text.find("\n", index)
        return len(self.text) if found < 0 else found + 1

    def column(self, index: int) -> int:
        """How far a character stands in its line."""
        return index - self.line_start(index)

    def line(self, index: int) -> int:
        """The number of a character's line, counted from 1."""
        return self.text.count("\n", 0, index) + 1

    def newline(self, index: int) -> str:
        """The line ending that is used where a character stands: files mix them."""
        end = self.text.find("\n", index)
        if end < 0:
            end = self.text.rfind("\n", 0, index)
        return "\r\n" if end > 0 and self.text[end - 1] == "\r" else "\n"


def _decoded(data: bytes) -> str:
    if len(data) > MAX_BYTES:
        raise Refusal("unreadable", f"the file is larger than {MAX_BYTES} bytes")
    try:
        text = data.removeprefix(codecs.BOM_UTF8).decode("utf-8")
    except UnicodeDecodeError:
        raise Refusal("unreadable", "the file is not UTF-8") from None
    if odd := _ODD_BREAKS.search(text):
        said = f"the file holds U+{ord(odd[0]):04X}, which YAML 1.1 takes for a line break and YAML 1.2 does not"
        raise Refusal("unreadable", said)
    return text


def _composed(text: str) -> Node:
    try:
        root = _Composer(text).document()
    except yaml.YAMLError as exc:
        said = str(getattr(exc, "problem", "") or "not YAML")
        raise Refusal("unreadable", f"the file is not YAML: {said}") from None
    except (ValueError, OverflowError, RecursionError):
        raise Refusal("unreadable", "the file is not YAML that can be read here") from None
    if root.kind != "map":
        raise Refusal("unreadable", "the file is no table of keys and values")
    return root


class _Composer:
    """Nodes from the parser's events, with aliases kept."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._anchors: dict[str, Node] = {}
        self._events: Iterator[Any] = iter(yaml.parse(text, Loader=_Loader))

    def document(self) -> Node:
        root: Node | None = None
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent):
                if root is not None:
                    raise Refusal("unreadable", "the file holds more than one YAML document")
                root = self._node(next(self._events), 0)
        return root or Node("scalar", 0, 0)

    def _node(self, event: Any, depth: int) -> Node:
        if depth > MAX_DEPTH:
            raise Refusal("unreadable", "the file is nested too deeply")
        start, end = event.start_mark.index, event.end_mark.index
        if isinstance(event, yaml.AliasEvent):
            return Node("alias", start, end, target=self._anchors.get(str(event.anchor)))
        node = Node("scalar", start, end, anchor=event.anchor or "")
        if event.anchor:
            self._anchors[event.anchor] = node
        if isinstance(event, yaml.ScalarEvent):
            self._scalar(node, event)
            return node
        flow = bool(event.flow_style)
        node.style = "flow" if flow else ""
        node.kind = "map" if isinstance(event, yaml.MappingStartEvent) else "seq"
        last = self._map(node, depth) if node.kind == "map" else self._seq(node, depth)
        children = node.items or [each for entry in node.entries for each in (entry.key, entry.value)]
        node.end = last.end_mark.index if flow else max([node.start, *(child.end for child in children)])
        return node

    def _map(self, node: Node, depth: int) -> Any:
        seen: set[str] = set()
        for event in self._events:
            if isinstance(event, yaml.MappingEndEvent):
                return event
            key = self._node(event, depth + 1)
            if key.kind != "scalar":
                raise Refusal("unreadable", "a key of the file is no text")
            if key.value in seen:
                raise Refusal("unreadable", f"the key {key.value!r} stands twice in one table, which GitHub refuses")
            seen.add(key.value)
            value = self._node(next(self._events), depth + 1)
            if not value.value and value.kind == "scalar" and value.start == value.end:
                colon = self._text.find(":", key.end)  # an empty value's mark differs between parsers
                value.start = value.end = colon + 1
            node.entries.append(Entry(key, value))
        raise Refusal("unreadable", "the file ends within a table")

    def _seq(self, node: Node, depth: int) -> Any:
        for event in self._events:
            if isinstance(event, yaml.SequenceEndEvent):
                return event
            node.items.append(self._node(event, depth + 1))
        raise Refusal("unreadable", "the file ends within a list")

    def _scalar(self, node: Node, event: Any) -> None:
        node.value = event.value
        raw = self._text[node.start : node.end]
        if event.anchor or event.tag:
            node.style = "?"  # its raw text begins with the anchor or the tag: never edited in place
        elif raw[:1] in {"'", '"'} or (raw[:1] in {"|", ">"} and "\n" in raw):
            node.style = raw[0]
        if raw[:1] in {"|", ">"} or node.style == "?":
            node.end = node.start + len(raw.rstrip())

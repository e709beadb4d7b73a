"""Edits of one workflow file: each is a splice of its text and a change of its tree, and the two must agree.

``finish`` applies the splices, reads the result again and compares its tree with the one that was meant. When they
differ, or when a place cannot be edited exactly, the answer is a Refusal and the file stays as it was.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from bot.oidc.refusal import Refusal
from bot.oidc.source import Entry, Node, Path, Source
from bot.oidc.splice import Change, Said, applied, joined, lines_of, plain, restored, scalar

CALLED: Path = ("on", "workflow_call")  # an event that means something without a value
_VERSION_COMMENT = re.compile(r"#\s*(?:tag=|pin@|ratchet:\S+@)?v?\d+(?:\.\d+)*(?:[-.]\w+)*\s*$")
_OPENS = re.compile(r"(^|[\s;)])(then|do|else|\{|\()$|^[^()]*\)$")  # the last: a case
_ENDS = re.compile(r"(fi|done|else|elif|esac|;;|\}|\))(?!\w)")
LineEdit = Callable[[list[str]], list[str | None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Edited:
    """A file after its edits."""

    data: bytes
    text: str
    changes: tuple[Change, ...]


class Draft:
    """What is to be changed in a file. Paths are those of the file before all edits."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self._deleted: dict[Path, set[str]] = {}
        self._inserted: dict[Path, list[tuple[str, str, Any]]] = {}  # map -> (near, key, value)
        self._replaced: dict[Path, str] = {}
        self._steps: dict[Path, list[Mapping[str, Any]]] = {}  # path of the step that they go before
        self._gone: set[Path] = set()  # steps
        self._items: dict[Path, str] = {}  # path of the text that they go behind
        self._changes: list[Change] = []
        self._mentions: set[str] = set()

    def __bool__(self) -> bool:
        edits = (self._deleted, self._inserted, self._replaced, self._steps, self._gone, self._items)
        return any(edits)

    def mention(self, *names: str) -> None:
        """A comment directly above a deleted key goes with it when it holds one of these words."""
        self._mentions |= {name.lower() for name in names}

    def delete(self, path: Path) -> None:
        """Take a key of a map out, and the map with it when nothing is left in it."""
        *parent, key = path
        self._deleted.setdefault(tuple(parent), set()).add(str(key))

    def insert(self, path: Path, key: str, value: Any, *, near: str) -> None:
        """Put a key into a map, behind the key ``near``, or where that one stood when it is deleted."""
        self._inserted.setdefault(path, []).append((near, key, value))

    def insert_step(self, before: Path, step: Mapping[str, Any]) -> None:
        """Put a step before another one, whose path is given."""
        self._steps.setdefault(before, []).append(step)

    def insert_item(self, after: Path, text: str) -> None:
        """Put a plain text behind another one in a list of texts, written as that one is."""
        self._items[after] = text

    def delete_step(self, path: Path) -> None:
        """Take a whole step out."""
        self._gone.add(path)

    def deleted(self, path: Path) -> bool:
        """Whether a key, or a step, is to go."""
        return path in self._gone or str(path[-1]) in self._deleted.get(path[:-1], ())

    def edited(self, path: Path) -> bool:
        """Whether a scalar is to have another value."""
        return path in self._replaced

    def has(self, path: Path) -> bool:
        """Whether a key is there after the edits."""
        inserted = {key for _, key, _ in self._inserted.get(path[:-1], ())}
        try:
            return path[-1] in inserted or (self.source.at(path) is not None and not self.deleted(path))
        except KeyError:
            return False

    def replace(self, path: Path, value: str, *, comment: str = "") -> None:
        """Give a scalar another value, in its own quotes; the comment goes behind it, in place of an older one."""
        if self._replaced.get(path, value) != value:
            raise Refusal("write-in-place", "two edits would change one value")
        if path in self._replaced:
            return
        node = self.source.own(path)
        self._replaced[path] = value
        if node.kind != "scalar" or node.style not in {"", "'", '"'} or "\n" in value:
            raise Refusal("write-in-place", "the value to change is not written on one line")
        text = scalar(value) if node.style == "" else _quoted(value, node.style)
        self._change(node.start, node.end, text)
        if comment:
            self._comment(node.end, comment)

    def edit_lines(self, path: Path, edit: LineEdit) -> bool:
        """Change or drop lines of a script. ``edit`` gets the lines and gives as many, None for one that goes.

        True when nothing of the script is left.
        """
        node = self.source.own(path)
        before = node.value.split("\n")
        after = edit(list(before))
        if len(after) != len(before):
            raise ValueError("as many lines as before, None for those that go")
        if after == before:
            return False
        if not any(line and line.strip() and not line.strip().startswith("#") for line in after):
            return True
        if _emptied(before, after):
            raise Refusal("write-in-place", "a block of the script would be left empty, which a shell does not take")
        self._replaced[path] = "\n".join(line for line in after if line is not None)
        if node.style == "|":
            self._block(node, before, after)
        else:
            self._inline(node, before, after)
        return False

    def _block(self, node: Node, before: list[str], after: list[str | None]) -> None:
        at = self.source.line_end(node.start)
        for old, new in zip(before, after, strict=True):
            end = self.source.line_end(at)
            raw = self.source.text[at:end]
            body = raw.rstrip("\r\n")
            if old.strip() and not body.endswith(old):
                raise Refusal("write-in-place", "the lines of the script could not be found one by one")
            if new is None:
                self._change(at, end, "")
            elif new != old:
                self._change(at + len(body) - len(old), at + len(body), new)
            at = end

    def _inline(self, node: Node, before: list[str], after: list[str | None]) -> None:
        raw = self.source.text[node.start : node.end]
        if node.style == "?":
            raise Refusal("write-in-place", "the script carries an anchor or a tag")
        for old, new in zip(before, after, strict=True):
            if old == new:
                continue
            written = old.replace("'", "''") if node.style == "'" else old
            if new is None or raw.count(written) != 1 or (node.style == '"' and ('"' in new or "\\" in new)):
                raise Refusal("write-in-place", "the script is quoted or folded, so an exact edit cannot be made")
            if node.style == "" and (new.strip() != new or ": " in new or " #" in new or new[:1] in "&*!|>%@`'\"{["):
                raise Refusal("write-in-place", "what would be left of the script is no plain YAML text")
            at = node.start + raw.index(written)
            self._change(at, at + len(written), new.replace("'", "''") if node.style == "'" else new)

    def finish(self) -> Edited:
        """The file after all edits. Raises Refusal when it would not read as what was meant."""
        self._forget_gone()
        self._fold_empty()
        for path in {*self._deleted, *self._inserted}:
            self._edit_map(path)
        for path, steps in self._steps.items():
            self._insert_steps(path, steps)
        for path in self._gone:
            self._delete_step(path)
        for path, text in self._items.items():
            self._insert_item(path, text)
        text = applied(self.source.text, self._changes)
        data = self.source.encode(text)
        if Source(data).root.plain != self._expected(self.source.root, ()):
            raise Refusal("other", "after the edit the file did not read as it was meant to; nothing was changed")
        if restored(text, self._changes) != self.source.text:
            raise Refusal("other", "the edit could not be taken back byte for byte; nothing was changed")
        return Edited(data=data, text=text, changes=tuple(self._changes))

    def _forget_gone(self) -> None:
        """What was to change within a step that goes, goes with it."""
        for step in self._gone:
            node = self.source.own(step)
            for table in (self._deleted, self._inserted, self._replaced):
                for path in [p for p in table if p[: len(step)] == step]:
                    del table[path]
            self._changes = [c for c in self._changes if not node.start <= c.start <= c.end <= node.end + 1]

    def _fold_empty(self) -> None:
        """A table whose last key goes, goes itself."""
        for path in sorted(self._deleted, key=len, reverse=True):
            keys = {entry.key.value for entry in self.source.at(path).real.entries}
            if keys == self._deleted[path] and not self._inserted.get(path) and path != CALLED:
                del self._deleted[path]
                self.delete(path)

    def _expected(self, node: Node, path: Path) -> Any:
        if path in self._replaced:
            return self._replaced[path]
        node = node.real
        if node.kind == "seq":
            found: list[Any] = []
            for number, item in enumerate(node.items):
                found += [plain(step) for step in self._steps.get((*path, number), ())]
                if (*path, number) not in self._gone:
                    found.append(self._expected(item, (*path, number)))
                found += [self._items[*path, number]] if (*path, number) in self._items else []
            return found + [plain(step) for step in self._steps.get((*path, len(node.items)), ())]
        inserted = {key: plain(value) for _, key, value in self._inserted.get(path, ())}
        if node.kind != "map":
            return inserted or node.value
        gone = self._deleted.get(path, set())
        kept = [entry for entry in node.entries if entry.key.value not in gone]
        if path == CALLED and not kept and not inserted and gone and node.style != "flow":
            return ""  # that it can be called stays, whatever else goes
        return {e.key.value: self._expected(e.value, (*path, e.key.value)) for e in kept} | inserted

    # maps -------------------------------------------------------------------------------------------------------------

    def _edit_map(self, path: Path) -> None:
        node = self.source.own(path)
        if node.kind != "map" or (not node.entries and node.style != "flow"):
            raise Refusal("write-in-place", "the table to edit is empty")
        gone = [entry for entry in node.entries if entry.key.value in self._deleted.get(path, ())]
        added = self._inserted.get(path, [])
        if node.style == "flow":
            self._edit_flow(node, gone, added)
            return
        column = self.source.column(node.entries[0].key.start)
        kept = [entry for entry in node.entries if entry not in gone]
        first = node.entries[0]
        inline = bool(self.source.text[self.source.line_start(first.key.start) : first.key.start].strip())
        lead: list[Entry] = []
        if inline and first in gone:  # behind a dash: the next key is pulled up
            lead = gone if not kept else gone[: node.entries.index(kept[0])]
            self._pull_up(
                lead, kept[0] if kept else None, [each for each in added if self._near(node, each[0]) in lead]
            )
            added = [each for each in added if self._near(node, each[0]) not in lead]
        for entry in gone:
            if entry not in lead:
                self._change(self._above(entry.key.start), self._tail(entry.end), "")
        for near, key, value in added:
            self._add(self._near(node, near), gone, column, key, value)

    @staticmethod
    def _near(node: Node, key: str) -> Entry:
        return node.entry(key) or node.entries[-1]

    def _add(self, near: Entry, gone: list[Entry], column: int, key: str, value: Any) -> None:
        newline = self.source.newline(near.key.start)
        text = joined(lines_of(key, value, self._unit()), column, newline)
        at = self._above(near.key.start) if near in gone else self._tail(near.end)
        self._insert_lines(at, text, newline)

    def _insert_lines(self, at: int, text: str, newline: str) -> None:
        """Put whole lines where a line begins; behind the last line of a file that ends without one, mind the gap."""
        if at and self.source.text[at - 1] != "\n":
            text = newline + text.removesuffix(newline)
        self._change(at, at, text)

    def _pull_up(self, lead: list[Entry], kept: Entry | None, added: list[tuple[str, str, Any]]) -> None:
        start = lead[0].key.start
        column, newline = self.source.column(start), self.source.newline(start)
        text = joined([line for _, k, v in added for line in lines_of(k, v, self._unit())], column, newline)
        end = kept.key.start if kept else lead[-1].end
        if "#" in self.source.text[lead[-1].end : end]:
            raise Refusal("write-in-place", "a comment stands between what goes and what stays of a list item")
        text = text.lstrip(" ") + " " * column if kept else text.strip()
        self._change(start, end, text if added else "")

    def _edit_flow(self, node: Node, gone: list[Entry], added: list[tuple[str, str, Any]]) -> None:
        if "#" in self.source.text[node.start : node.end] or "\n" in self.source.text[node.start : node.end]:
            raise Refusal("flow-style", "a table in braces over several lines is to be edited")
        kept = [entry for entry in node.entries if entry not in gone]
        if any(isinstance(value, Mapping) for _, _, value in added):
            raise Refusal("flow-style", "a table would have to stand within braces")
        text = ", ".join(f"{key}: {_in_flow(str(plain(value)))}" for _, key, value in added)
        said = next((value.comment for _, _, value in added if isinstance(value, Said) and value.comment), "")
        if said and not self.source.text[node.end : self.source.line_end(node.end)].strip():
            self._comment(node.end, said)
        if not kept:
            self._change(node.start + 1, node.end - 1, text)
            return
        lead = node.entries[: node.entries.index(kept[0])]
        if lead:
            self._change(lead[0].key.start, kept[0].key.start, "")
        for before, entry in zip(node.entries, node.entries[1:], strict=False):
            if entry in gone and entry not in lead:
                self._change(before.end, entry.end, "")
        if added:
            self._change(kept[-1].end, kept[-1].end, ", " + text)

    # steps ------------------------------------------------------------------------------------------------------------

    def _insert_steps(self, path: Path, steps: list[Mapping[str, Any]]) -> None:
        sequence, index = self.source.own(path[:-1]), path[-1]
        if sequence.kind != "seq" or sequence.style == "flow" or not sequence.items or not isinstance(index, int):
            raise Refusal("flow-style", "the steps are written in brackets")
        like = sequence.items[min(index, len(sequence.items) - 1)]
        if like.kind != "map" or like.style == "flow":
            like = next((i for i in sequence.items if i.kind == "map" and not i.style), like)
        dash = self._dash(like)
        inner = self.source.column(like.start) - self.source.column(dash)
        gap = inner if 2 <= inner <= 8 and self.source.line_start(dash) == self.source.line_start(like.start) else 2
        newline = self.source.newline(dash)
        column = self.source.column(dash)
        if index < len(sequence.items):
            before = sequence.items[index - 1].end if index else 0
            at = self._above(self._dash(sequence.items[index]), every=True, floor=before)
        else:
            at = self._tail(sequence.items[-1].end)
        blank = self._spaced(at)
        text = ""
        for step in steps:
            body = [line for key, value in step.items() for line in lines_of(key, value, self._unit())]
            body = [("-" + " " * (gap - 1) if n == 0 else " " * gap) + line for n, line in enumerate(body)]
            block = joined(body, column, newline)
            text += block + newline if blank and index < len(sequence.items) else (newline if blank else "") + block
        self._insert_lines(at, text, newline)

    def _insert_item(self, path: Path, text: str) -> None:
        item = self.source.own(path)
        if self.source.own(path[:-1]).style == "flow" or item.kind != "scalar" or item.style not in {"", "'", '"'}:
            raise Refusal("flow-style", "the list to edit is not written as one text a line")
        written = _quoted(text, item.style) if item.style else scalar(text)
        newline, column = self.source.newline(item.start), self.source.column(self._dash(item))
        gap = item.start - self._dash(item) - 1
        self._insert_lines(self._tail(item.end), f"{' ' * column}-{' ' * gap}{written}{newline}", newline)

    def _spaced(self, at: int) -> bool:
        """Whether a blank line stands before a line, as it does between steps that are set apart."""
        return at > 1 and not self.source.text[self.source.line_start(at - 1) : at].strip()

    def _delete_step(self, path: Path) -> None:
        node = self.source.own(path)
        if len(self.source.at(path[:-1]).real.items) - sum(p[:-1] == path[:-1] for p in self._gone) < 1:
            raise Refusal("write-in-place", "no step of the job would be left")
        start, end = self._above(self._dash(node)), self._tail(node.end)
        after = self.source.line_end(end)
        if start > 1 and not self.source.text[self.source.line_start(start - 1) : start].strip():
            end = after if not self.source.text[end:after].strip() else end  # one of two blank lines goes too
        self._change(start, end, "")

    def _dash(self, item: Node) -> int:
        """Where the dash of a list item stands."""
        at = item.start - 1
        while at >= 0 and self.source.text[at] in " \r\n":
            at -= 1
        if at < 0 or self.source.text[at] != "-" or self.source.text[self.source.line_start(at) : at].strip():
            raise Refusal("write-in-place", "the dash of a step could not be found")
        return at

    # places -----------------------------------------------------------------------------------------------------------

    def _unit(self) -> int:
        """How far this file indents a table within a table."""
        jobs = self.source.root.get("jobs")
        if jobs is not None and jobs.kind == "map" and jobs.entries and not jobs.style:
            return max(1, self.source.column(jobs.entries[0].key.start))
        return 2

    def _tail(self, end: int) -> int:
        """Behind the line where a value ends. Raises Refusal when something else stands there."""
        stop = self.source.line_end(end)
        rest = self.source.text[end:stop].strip()
        if rest and not rest.startswith("#"):
            raise Refusal("write-in-place", "something else stands on the line that is to be edited")
        return stop

    def _above(self, start: int, *, every: bool = False, floor: int = 0) -> int:
        """The line where something begins, with the comments right above it that speak of it (``every``: with all).

        ``floor``: where the value before it ends; what looks like a comment up to there is the last line of a script.
        """
        line, column = self.source.line_start(start), self.source.column(start)
        if self.source.text[line:start].strip():
            raise Refusal("write-in-place", "something else stands before what is to be edited")
        while line:
            above = self.source.line_start(line - 1)
            text = self.source.text[above:line]
            comment = text.lstrip(" ")
            indent = len(text) - len(comment)
            if not comment.startswith("#") or above < floor or (indent < column if every else indent != column):
                break
            if not every and not any(name in comment.lower() for name in self._mentions):
                break
            line = above
        return line

    def _comment(self, end: int, comment: str) -> None:
        stop = self.source.line_end(end)
        rest = self.source.text[end:stop].rstrip("\r\n")
        found = rest.strip()
        if found and not found.startswith("#"):
            return  # within braces: no room for a comment
        if not found or _VERSION_COMMENT.match(found):
            self._change(end, end + len(rest), f" # {comment}")
        else:
            self._change(end, end, f" # {comment}")

    def _change(self, start: int, end: int, text: str) -> None:
        self._changes.append(Change(start, end, text, self.source.text[start:end]))


def _emptied(before: list[str], after: list[str | None]) -> bool:
    """Whether nothing is left between a line that opens a block of a shell script and the one that ends it."""
    opened = gone = False
    for old, new in zip(before, after, strict=True):
        text = (old if new is None else new).strip()
        if not text or text.startswith("#"):
            continue
        if new is None:
            gone = True
            continue
        if opened and gone and _ENDS.match(text):
            return True
        opened, gone = bool(_OPENS.search(text)), False
    return False


def _in_flow(text: str) -> str:
    """A string within braces, where brackets and commas have a meaning of their own."""
    written = scalar(text)
    return "'" + text.replace("'", "''") + "'" if written == text and any(c in text for c in "[]{},") else written


def _quoted(value: str, quote: str) -> str:
    if quote == "'":
        return "'" + value.replace("'", "''") + "'"
    if '"' in value or "\\" in value:
        return "'" + value.replace("'", "''") + "'"
    return f'"{value}"'

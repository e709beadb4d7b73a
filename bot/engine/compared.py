"""Two policies -> what is different, in the words of a responder: what would be done or asked that was not.

Rules are blocks of cells, so what an old rule and a new one share is a block too: each pair that decides differently is
one change, however many cells it has. Cells are compared and not rules: what is only written otherwise is no change.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from bot.engine.policy import ANY, MODES, UNKNOWN, Policy, Table

LESS, MORE, OTHER = "asks less", "asks more", "other"
SAYS = {
    "act": "it is done at once, nobody is asked", "one": "one person must agree",
    "two": "two different people must agree", "person": "a person does it",
}  # fmt: skip
OPENS = {
    "act": "an incident that acts by the postures", "ask": "an incident in which every change asks a person",
    "hold": "nothing: it waits in the inbox until a person lets it in",
}  # fmt: skip
SILENCES = {"act": "goes on by itself", "hold": "goes on waiting", "escalate": "more people are told"}
WEIGHT = {"act": 0, "one": 1, "person": 1, "two": 2, "ask": 1, "hold": 2}  # of a posture, and of what a report starts


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One thing that is different. ``way``: asks less, asks more (of people), or other."""

    way: str
    text: str
    rule: str = ""  # the new policy's, where a rule says it
    reason: str = ""

    def as_json(self) -> dict[str, str]:
        """What is stored and signed."""
        return asdict(self)


def compare(old: Policy, new: Policy) -> list[Change]:
    """Every difference, those first by which people are asked less."""
    found = [
        *_table("A step", old.postures, new.postures, _posture),
        *_table("A report", old.authorities, new.authorities, _start),
        *_table("An incident", old.severities, new.severities, _level),
        *_modes(old, new), *_numbers(old, new), *_people(old, new), *_names(old, new),
    ]  # fmt: skip
    return sorted(found, key=lambda one: (LESS, MORE, OTHER).index(one.way))


def _table(what: str, old: Table, new: Table, told: Any) -> Iterator[Change]:
    """The blocks of cells on which two tables decide differently."""
    axes = {name: tuple(dict.fromkeys([*old.axes.get(name, ()), *values])) for name, values in new.axes.items()}
    blocks: dict[tuple[str, str], list[tuple[str, ...]]] = {}
    rules: dict[tuple[str, str], tuple[Mapping[str, Any], Mapping[str, Any]]] = {}
    for cell in itertools.product(*axes.values()):
        case = dict(zip(axes, cell, strict=True))
        was, now = old.rule(case), new.rule(case)
        if told(was)[1:] != told(now)[1:]:
            blocks.setdefault((was["id"], now["id"]), []).append(cell)
            rules[was["id"], now["id"]] = (was, now)
    for pair, cells in blocks.items():
        was, now = rules[pair]
        before, after = told(was), told(now)
        way = OTHER if before[0] == after[0] else LESS if after[0] < before[0] else MORE
        text = f"{what} ({_covered(axes, cells)}): {after[1]}; before: {before[1]}"
        yield Change(way=way, text=text, rule=now["id"], reason=now["reason"])


def _covered(axes: Mapping[str, tuple[str, ...]], cells: list[tuple[str, ...]]) -> str:
    seen = dict(zip(axes, map(set, zip(*cells, strict=True)), strict=True))
    said = [
        f"{name} {' or '.join(value for value in values if value in seen[name])}" for name, values in axes.items()
        if len(seen[name]) < len(values)
    ]  # fmt: skip
    return ", ".join(said) or ANY


def _posture(rule: Mapping[str, Any]) -> tuple[Any, str]:
    """How much is asked, and in words."""
    words = SAYS[rule["posture"]]
    if rule["posture"] == "act":
        return (0, 0, 0), words
    if not rule["after_s"]:
        return (WEIGHT[rule["posture"]], 2, 0), f"{words}, however long that takes"
    late = SILENCES[rule["on_silence"]]
    rank = (WEIGHT[rule["posture"]], 0 if rule["on_silence"] == "act" else 1, rule["after_s"])
    return rank, f"{words}; after {minutes(rule['after_s'])} without an answer it {late}".replace("it more", "more")


def _start(rule: Mapping[str, Any]) -> tuple[Any, str]:
    return WEIGHT[rule["starts"]], f"it starts {OPENS[rule['starts']]}"


def _level(rule: Mapping[str, Any]) -> tuple[Any, str]:
    return 0, f"its severity is {rule['level']}"


def minutes(seconds: int) -> str:
    """A time of a policy in words."""
    return f"{seconds // 60} min" if seconds % 60 == 0 and seconds else f"{seconds} s"


def _modes(old: Policy, new: Policy) -> Iterator[Change]:
    named: list[tuple[str, str, str]] = [("what names no mode", old.default_mode, new.default_mode)]
    for what, was, now in (
        ("the playbook", old.playbook_modes, new.playbook_modes),
        ("the repository", old.repository_modes, new.repository_modes),
    ):
        named += [(f"{what} {name}", was.get(name, ""), now.get(name, "")) for name in sorted({*was, *now})]
    for what, before, after in named:
        if before != after:
            ranks = [MODES.index(mode) if mode else -1 for mode in (before, after)]
            way = OTHER if -1 in ranks else LESS if ranks[1] > ranks[0] else MORE
            yield Change(way=way, text=f"The mode of {what} is {after or 'not named'}; before: {before or 'not named'}")


def _numbers(old: Policy, new: Policy) -> Iterator[Change]:
    if old.brake != new.brake:
        was, now = (f"{one.unattended_cuts} within {minutes(one.within_s)}" for one in (old.brake, new.brake))
        faster = new.brake.unattended_cuts / new.brake.within_s > old.brake.unattended_cuts / old.brake.within_s
        text = f"The brake: after so many unattended cuts the next one asks: {now}; before: {was}"
        yield Change(way=LESS if faster else MORE, text=text)
    if old.storm != new.storm:
        said = [f"{one.incidents} incidents within {minutes(one.within_s)}" for one in (new.storm, old.storm)]
        yield Change(way=OTHER, text=f"A storm of old alerts waits after {said[0]}; before: after {said[1]}")


def _people(old: Policy, new: Policy) -> Iterator[Change]:
    for name in sorted({*old.groups, *new.groups}):
        was, now = set(old.groups.get(name, ())), set(new.groups.get(name, ()))
        if gone := sorted(was - now):
            yield Change(way=OTHER, text=f"The group {name} has lost {', '.join(gone)}")
        if came := sorted(now - was):
            yield Change(way=OTHER, text=f"The group {name} has {', '.join(came)} now")
    for posture in sorted({*old.approvers, *new.approvers}):
        before, after = old.approvers.get(posture, ()), new.approvers.get(posture, ())
        if set(before) != set(after):
            text = f"Who may agree where {posture} is asked: {_all(after)}; before: {_all(before)}"
            yield Change(way=OTHER, text=text)
    if set(old.escalate) != set(new.escalate):
        text = f"Told when nobody answers: {_all(new.escalate)}; before: {_all(old.escalate)}"
        yield Change(way=OTHER, text=text)


def _all(names: tuple[str, ...]) -> str:
    return ", ".join(names) or "nobody"


def _names(old: Policy, new: Policy) -> Iterator[Change]:
    for kind in sorted({*old.kinds, *new.kinds}):
        was, now = old.class_of(kind), new.class_of(kind)
        if was != now:
            yield Change(way=OTHER, text=f"A {kind} counts as {now}; before: {was}")
    if set(old.ours) != set(new.ours):
        said = [", ".join(one.ours) or f"not said, so every repository is {UNKNOWN}" for one in (new, old)]
        yield Change(way=OTHER, text=f"Repositories of ours: {said[0]}; before: {said[1]}")

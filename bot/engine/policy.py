"""``playbooks/policy.yaml`` -> Policy: two decision tables, modes, the brake and the responders.

A table names its axes with all their values, ``unknown`` among them, and rules that cover cells. Every cell has
exactly one rule: an overlap or a gap is refused when the file is read, with the cell named, so the order of the rules
never matters. Raises PlaybookError with every mistake and its line.
"""

from __future__ import annotations

import fnmatch
import hashlib
import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from bot.strictyaml import Node, Problems, hint, items, kind_of, read, table, text

UNKNOWN, OTHER, ANY = "unknown", "other", "any"
MAX_CELLS, MAX_RULES = 50_000, 200
LEVELS = ("critical", "high", "medium", "low")
POSTURES = ("act", "one", "two", "person")
ON_SILENCE = ("act", "hold", "escalate")
MODES = ("observe", "ask", "act")  # the more careful first
SEVERITY_AXES = ("kind", "live", "exposure", "reach")
STARTS = ("act", "ask", "hold")
AUTHORITY_AXES = ("source", "by", "exposure", "kind", "repository")
POSTURE_AXES = ("source", "possession", "effect", "undoable", "exposure", "kind", "machine")


@dataclass(frozen=True, slots=True, kw_only=True)
class Severity:
    """How bad it is, and the rule that says so."""

    level: str
    rule: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Posture:
    """Who must agree to a step, what silence means after ``after_s`` seconds, and the rule that says so."""

    posture: str
    on_silence: str
    after_s: int
    rule: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Authority:
    """What a report may start: an incident that acts by the posture table, one that asks, or nothing by itself."""

    starts: str
    rule: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Brake:
    """More than so many unattended cuts within so many seconds, and the next one asks."""

    unattended_cuts: int
    within_s: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Storm:
    """So many incidents of one owner's GitHub alerts within so many seconds, and what else it finds waits."""

    incidents: int = 20
    within_s: int = 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class Area:
    """A rule, the values that it covers on each axis, and how many cells that makes."""

    rule: Mapping[str, Any]
    covers: Mapping[str, tuple[str, ...]]
    cells: int


@dataclass(frozen=True, slots=True)
class Table:
    """A complete decision table: one rule for each cell."""

    axes: Mapping[str, tuple[str, ...]]
    cells: Mapping[tuple[str, ...], Mapping[str, Any]]

    def rule(self, case: Mapping[str, str]) -> Mapping[str, Any]:
        """The one rule of a case. What a case does not say, or says in words of its own, is unknown."""
        said = ((name, case.get(name, UNKNOWN)) for name in self.axes)
        return self.cells[tuple(value if value in self.axes[name] else UNKNOWN for name, value in said)]

    def areas(self) -> list[Area]:
        """Each rule once, in the order of the file, with what it covers: a rule is a block, so these are all cells."""
        cells: dict[str, list[tuple[str, ...]]] = {}
        for cell, rule in self.cells.items():
            cells.setdefault(rule["id"], []).append(cell)
        blocks = cells.values()
        return [Area(rule=self.cells[one[0]], covers=self._covers(one), cells=len(one)) for one in blocks]

    def _covers(self, cells: list[tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        seen = dict(zip(self.axes, map(set, zip(*cells, strict=True)), strict=True))
        return {name: tuple(value for value in values if value in seen[name]) for name, values in self.axes.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What may happen by itself, and who is asked otherwise."""

    sha256: str
    kinds: Mapping[str, str]  # kind of credential -> its class
    severities: Table
    postures: Table
    authorities: Table
    ours: tuple[str, ...]  # patterns of the repositories that are ours: OWNER/*
    default_mode: str
    playbook_modes: Mapping[str, str]
    repository_modes: Mapping[str, str]
    brake: Brake
    storm: Storm
    groups: Mapping[str, tuple[str, ...]]
    approvers: Mapping[str, tuple[str, ...]]
    escalate: tuple[str, ...]  # groups that are told when nobody has answered

    @classmethod
    def load(cls, source_text: str, source: str = "policy.yaml") -> Policy:
        """Read a policy. Raises PlaybookError with every mistake."""
        return _load(source_text, source)

    def severity(self, case: Mapping[str, str]) -> Severity:
        """How bad it is: ``case`` names kind, live, exposure and reach (see ``reach_size``)."""
        rule = self.severities.rule(self._classed(case))
        return Severity(level=rule["level"], rule=rule["id"], reason=rule["reason"])

    def posture(self, case: Mapping[str, str]) -> Posture:
        """Who must agree: ``case`` names the axes of the table: source, possession, effect and so on."""
        rule = self.postures.rule(self._classed(case))
        given = {key: rule[key] for key in ("posture", "on_silence", "after_s", "reason")}
        return Posture(rule=rule["id"], **given)

    def authority(self, case: Mapping[str, str]) -> Authority:
        """What a report may start: ``case`` names source, by, exposure, kind, repository (OWNER/NAME, or '')."""
        axes = self.authorities.axes
        by, repository = case.get("by", ""), case.get("repository", "").lower()
        asked = {
            "by": by if by in axes["by"] or not by else OTHER,
            "repository": UNKNOWN if not (repository and self.ours) else "ours" if self._is_ours(repository) else OTHER,
        }
        if repository in axes["repository"]:  # in the table's own word: no name is without a slash
            asked["repository"] = repository
        rule = self.authorities.rule(self._classed({**case, **asked}))
        return Authority(starts=rule["starts"], rule=rule["id"], reason=rule["reason"])

    def _is_ours(self, repository: str) -> bool:
        return any(fnmatch.fnmatchcase(repository, pattern.lower()) for pattern in self.ours)

    def mode(self, playbook: str, repository: str, default: str = "") -> str:
        """The mode of a playbook in a repository: the more careful of those named, otherwise the default."""
        named = [self.playbook_modes.get(playbook), self.repository_modes.get(repository)]
        return min((mode for mode in named if mode), key=MODES.index, default=default or self.default_mode)

    def may(self, person: str, posture: str) -> bool:
        """Whether this person is in a group that may answer where the posture asks for people."""
        return any(person in self.groups[group] for group in self.approvers.get(posture, ()))

    def class_of(self, kind: str) -> str:
        """The class of a kind of credential; a class is its own."""
        if kind in ("", UNKNOWN) or kind in self.kinds.values():
            return kind or UNKNOWN
        return self.kinds.get(kind, OTHER)

    def _classed(self, case: Mapping[str, str]) -> dict[str, str]:
        return {**case, "kind": self.class_of(case.get("kind", ""))}


def reach_size(count: int | None) -> str:
    """How many credentials the leak could have exposed, as a value of the severity table's axis."""
    if count is None:
        return UNKNOWN
    return "one" if count <= 1 else "few" if count <= 5 else "many"


def _load(source_text: str, source: str) -> Policy:
    problems = Problems(source)
    keys = ("kinds", "severity", "authority", "posture", "modes", "brake", "responders")
    top = table(read(source_text, source), "the policy", problems, (*keys, "storm"), keys)
    if len(top.keys() & set(keys)) < len(keys):
        problems.refuse()
    severities = _table(top["severity"], "severity", SEVERITY_AXES, {"level": LEVELS}, problems)
    outcomes = {"posture": POSTURES, "on_silence": ON_SILENCE, "after_s": range(7 * 86_400 + 1)}
    postures = _table(top["posture"], "posture", POSTURE_AXES, outcomes, problems)
    authority = dict(top["authority"].value) if isinstance(top["authority"].value, dict) else {}
    listed = items(authority.pop("ours"), "authority.ours", problems) if "ours" in authority else ()
    ours = tuple(text(one, "a pattern in authority.ours", problems, most=200) for one in listed)
    rest = Node(authority, top["authority"].line)
    authorities = _table(rest, "authority", AUTHORITY_AXES, {"starts": STARTS}, problems)
    modes = table(top["modes"], "modes", problems, ("default", "playbooks", "repositories"), ("default",))
    groups, approvers, escalate = _responders(top["responders"], problems)
    loaded = Policy(
        sha256=hashlib.sha256(source_text.encode()).hexdigest(),
        kinds=_kinds(top["kinds"], [severities, authorities, postures], problems),
        severities=severities,
        postures=postures,
        authorities=authorities,
        ours=ours,
        default_mode=_choice(modes.get("default"), "modes.default", MODES, problems),
        playbook_modes=_modes(modes.get("playbooks"), "modes.playbooks", problems),
        repository_modes=_modes(modes.get("repositories"), "modes.repositories", problems),
        brake=_brake(top["brake"], problems),
        storm=_storm(top["storm"], problems) if "storm" in top else Storm(),
        groups=groups,
        approvers=approvers,
        escalate=escalate,
    )
    problems.refuse()
    return loaded


def _table(
    node: Node, what: str, axis_names: tuple[str, ...], outcomes: Mapping[str, Any], problems: Problems
) -> Table:
    """One decision table. A mistake in its axes ends it, since no cell can be named then."""
    before = problems.count
    keys = table(node, what, problems, ("axes", "rules"), ("axes", "rules"))
    written = table(keys["axes"], f"{what}.axes", problems, axis_names, axis_names) if "axes" in keys else {}
    axes = {name: tuple(_words(written[name], f"the axis {name}", problems)) for name in axis_names if name in written}
    for name, values in axes.items():
        if UNKNOWN not in values or ANY in values or len(set(values)) < len(values):
            problems.add(
                written[name].line, f"the axis {name} needs each value once, {UNKNOWN} among them, and not {ANY}"
            )
    if math.prod(len(values) for values in axes.values()) > MAX_CELLS:
        problems.add(node.line, f"{what} has more than {MAX_CELLS} cells")
    if problems.count > before:
        return Table({}, {})
    return Table(axes, _cells(keys["rules"], what, axes, outcomes, problems))


def _cells(
    node: Node, what: str, axes: Mapping[str, tuple[str, ...]], outcomes: Mapping[str, Any], problems: Problems
) -> dict[tuple[str, ...], Mapping[str, Any]]:
    """Cell -> its rule. Overlaps are told once for each pair of rules, gaps by their first cells."""
    cells: dict[tuple[str, ...], Mapping[str, Any]] = {}
    rules = list(items(node, f"{what}.rules", problems))
    if len(rules) > MAX_RULES:
        problems.add(node.line, f"{what} has more than {MAX_RULES} rules")
        return cells
    before = problems.count
    read_rules = [(one, *_rule(one, axes, outcomes, problems)) for one in rules]
    whole = problems.count == before  # a rule with a mistake in it leaves gaps that are none
    names, clashes = set[str](), set[tuple[str, str]]()
    for one, rule, covered in read_rules:
        if rule["id"] in names:
            problems.add(one.line, f"the rule {rule['id']!r} is there twice")
        names.add(rule["id"])
        for cell in itertools.product(*covered):
            other = cells.setdefault(cell, rule)
            if other is not rule and (other["id"], rule["id"]) not in clashes:
                clashes.add((other["id"], rule["id"]))
                problems.add(one.line, f"{rule['id']} and {other['id']} both cover {_named(cell, axes)}")
    gaps = [cell for cell in itertools.product(*axes.values()) if cell not in cells]
    for cell in gaps[:3] if whole else ():
        problems.add(node.line, f"no rule of {what} covers {_named(cell, axes)} ({len(gaps)} such cells)")
    return cells


def _rule(
    node: Node, axes: Mapping[str, tuple[str, ...]], outcomes: Mapping[str, Any], problems: Problems
) -> tuple[dict[str, Any], list[tuple[str, ...]]]:
    """A rule, and the values that it covers on each axis."""
    known = ("id", "cells", "reason", *outcomes)
    keys = table(node, "a rule", problems, known, known)
    rule: dict[str, Any] = {key: text(keys.get(key), f"a rule's {key}", problems) for key in ("id", "reason")}
    for key, allowed in outcomes.items():
        if isinstance(allowed, range):
            rule[key] = _number(keys.get(key), key, allowed, problems)
        else:
            rule[key] = _choice(keys.get(key), key, allowed, problems)
    if rule.get("on_silence") in ("act", "escalate") and "after_s" in keys and not rule["after_s"]:
        problems.add(keys["after_s"].line, f"after_s must say when nobody's answer comes to {rule['on_silence']}")
    rows = table(keys["cells"], "cells", problems, tuple(axes), tuple(axes)) if "cells" in keys else {}
    covered = []
    for name, values in axes.items():
        chosen = tuple(dict.fromkeys(_words(rows[name], name, problems))) if name in rows else ()
        for value in chosen:
            if value not in values and chosen != (ANY,):
                problems.add(rows[name].line, f"the axis {name} has no value {value[:60]!r}{hint(value, values)}")
        covered.append(values if chosen == (ANY,) else tuple(value for value in chosen if value in values))
    return rule, covered


def _named(cell: tuple[str, ...], axes: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value}" for name, value in zip(axes, cell, strict=True))


def _words(node: Node, what: str, problems: Problems) -> Iterator[str]:
    """One word or a list of them."""
    nodes = node.value if isinstance(node.value, tuple) else (node,)
    if not nodes:
        problems.add(node.line, f"{what} names no value")
    for one in nodes:
        if word := text(one, what, problems, most=100):
            yield word


def _choice(node: Node | None, what: str, known: tuple[str, ...], problems: Problems) -> str:
    found = text(node, what, problems)
    if node and found and found not in known:
        problems.add(node.line, f"{what} must be one of {', '.join(known)}, not {found[:60]!r}")
    return found


def _number(node: Node | None, what: str, allowed: range, problems: Problems) -> int:
    if node is None:
        return 0
    if type(node.value) is not int or node.value not in allowed:
        shown = node.value if type(node.value) is int else kind_of(node.value)
        problems.add(node.line, f"{what} must be a whole number from {allowed[0]} to {allowed[-1]}, this is {shown}")
        return 0
    return node.value


def _kinds(node: Node, tables: list[Table], problems: Problems) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in table(node, "kinds", problems, node.value if isinstance(node.value, dict) else ()).items():
        if any(one.axes and name not in one.axes["kind"] for one in tables):
            problems.add(value.line, f"the class {name[:60]!r} is not on the axis kind of every table")
        for kind in _words(value, f"kinds.{name}", problems):
            if kind in found:
                problems.add(value.line, f"{kind} is both {found[kind]} and {name}")
            found[kind] = name
    return found


def _modes(node: Node | None, what: str, problems: Problems) -> dict[str, str]:
    rows = table(node, what, problems, node.value if isinstance(node.value, dict) else ()) if node else {}
    return {name: _choice(value, f"{what}.{name}", MODES, problems) for name, value in rows.items()}


def _brake(node: Node, problems: Problems) -> Brake:
    rows = table(node, "brake", problems, ("unattended_cuts", "within_s"), ("unattended_cuts", "within_s"))
    cuts = _number(rows.get("unattended_cuts"), "unattended_cuts", range(10_001), problems)
    return Brake(unattended_cuts=cuts, within_s=_number(rows.get("within_s"), "within_s", range(1, 86_401), problems))


def _storm(node: Node, problems: Problems) -> Storm:
    names = ("incidents", "within_s")
    rows = table(node, "storm", problems, names, names)
    most = _number(rows.get("incidents"), "incidents", range(1, 10_001), problems)
    return Storm(incidents=most, within_s=_number(rows.get("within_s"), "within_s", range(1, 86_401), problems))


def _responders(
    node: Node, problems: Problems
) -> tuple[dict[str, tuple[str, ...]], dict[str, tuple[str, ...]], tuple[str, ...]]:
    rows = table(node, "responders", problems, ("groups", "approve", "escalate"), ("groups", "approve", "escalate"))
    groups: dict[str, tuple[str, ...]] = {}
    if "groups" in rows:
        known = rows["groups"].value if isinstance(rows["groups"].value, dict) else ()
        for name, value in table(rows["groups"], "responders.groups", problems, known).items():
            members = items(value, f"the group {name}", problems)
            groups[name] = tuple(text(one, f"a name in {name}", problems, most=100) for one in members)
    approve = (
        table(rows["approve"], "responders.approve", problems, POSTURES[1:], POSTURES[1:]) if "approve" in rows else {}
    )
    approvers = {name: tuple(_words(value, f"approve.{name}", problems)) for name, value in approve.items()}
    for name, chosen in approvers.items():
        for group in chosen:
            if group not in groups:
                problems.add(approve[name].line, f"there is no group {group[:60]!r}{hint(group, groups)}")
    escalate = tuple(_words(rows["escalate"], "escalate", problems)) if "escalate" in rows else ()
    for group in escalate:
        mute = [name for name, chosen in approvers.items() if group not in chosen]
        if group not in groups:
            problems.add(rows["escalate"].line, f"there is no group {group[:60]!r}{hint(group, groups)}")
        elif mute:
            said = f"{group} would be told of what it may not answer; name it under approve: {', '.join(mute)}"
            problems.add(rows["escalate"].line, said)
    return groups, approvers, escalate

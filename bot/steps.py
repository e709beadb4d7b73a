"""The steps of a playbook: read from their nodes, checked against the catalogue, bound to facts.

What may be referred to: ``$credential``, ``$triage``, ``$incident.id``, ``$incident.severity``,
``$<step>.before.<field>``, ``$<step>.outcome.<field>`` and, under ``for_each``, ``$item``. A reference to a step is a
need of its own: ``outcome`` waits for that step's Outcome, ``before`` for its look. It need not be written twice.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from bot import reference
from bot.action import Action
from bot.errors import InputError
from bot.model import Credential, Effect, Triage
from bot.strictyaml import Node, Problems, hint, items, kind_of, table, text

T = TypeVar("T")
Catalogue = Mapping[str, Action[Any, Any, Any]]

MAX_STEPS = 100
ID = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
# Weakest first. "look" is only ever implied by a reference to a Before. "tried": each item was done or has failed once,
# whatever people say then; "ended" waits for an end, good or bad.
NEEDS = ("look", "tried", "ended", "outcome", "proven")
ON_FAILURE = ("stop", "continue", "ask")
_FIXED = {
    "credential": Credential,
    "triage": Triage,
    "incident": {"id": str, "severity": str},
}
_STEP_KEYS = ("id", "uses", "with", "needs", "for_each", "when", "on_failure")


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One line of a playbook. ``needs`` maps a step's id to what must stand first, of ``NEEDS``.

    ``with_`` is None when nothing was written: the item of ``for_each`` then is the input.
    """

    id: str
    uses: str
    with_: Mapping[str, Any] | None
    needs: Mapping[str, str]
    for_each: str
    when: Mapping[str, tuple[Any, ...]]  # reference -> values, one of which must be there
    on_failure: str
    line: int

    def items(self, facts: Mapping[str, Any]) -> list[Any]:
        """What ``for_each`` names, or one None without it. Raises InputError when it is not there."""
        return list(reference.resolve(self.for_each, facts) or ()) if self.for_each else [None]

    def applies(self, facts: Mapping[str, Any]) -> bool:
        """Whether ``when`` holds; ``facts`` hold the item under ``item``. Raises InputError when one is not there."""
        return all(reference.resolve(name, facts) in values for name, values in self.when.items())

    def inputs(self, action: Action[T, Any, Any], facts: Mapping[str, Any]) -> T:
        """The action's input; ``facts`` hold the item under ``item``. Raises InputError, naming what is not there."""
        written: Any = "$item" if self.with_ is None and self.for_each else self.with_ or {}
        return reference.bind(action.inputs, reference.resolve(written, facts))


def identifier(node: Node | None, what: str, problems: Problems) -> str:
    found = text(node, what, problems, most=60)
    if node and found and not ID.fullmatch(found):
        problems.add(node.line, f"{what} must be words in small letters joined by hyphens, not {found[:60]!r}")
    return found


def choice(node: Node | None, what: str, known: Collection[str], problems: Problems) -> str:
    found = text(node, what, problems)
    if node and found and found not in known:
        problems.add(node.line, f"{what} must be one of {', '.join(known)}, not {found[:60]!r}{hint(found, known)}")
    return found


def values_of(node: Node, what: str, wanted: Any, problems: Problems) -> tuple[Any, ...]:
    """One value or a list of them, each of the wanted type."""
    nodes = node.value if isinstance(node.value, tuple) else (node,)
    if not nodes:
        problems.add(node.line, f"{what} names no value")
    for one in nodes:
        reference.check(one, wanted, {}, what, problems)
        if isinstance(one.value, str) and one.value.startswith("$"):
            problems.add(one.line, f"{what} is compared with values, not with a reference")
    return tuple(one.plain for one in nodes)


class StepReader:
    """Reads the steps of one file; knows which steps there are and what each gives."""

    def __init__(self, node: Node | None, catalogue: Catalogue, problems: Problems) -> None:
        self.catalogue, self.problems = catalogue, problems
        self.written = self._tables(node)
        self.scope: dict[str, Any] = {**_FIXED, **{name: self._gives(keys) for name, keys in self.written.items()}}

    def _tables(self, node: Node | None) -> dict[str, dict[str, Node]]:
        """Each step's keys by its id, as written."""
        found: dict[str, dict[str, Node]] = {}
        steps = list(items(node, "steps", self.problems)) if node else []
        if node and isinstance(node.value, tuple) and not 0 < len(steps) <= MAX_STEPS:
            self.problems.add(node.line, f"a playbook has 1 to {MAX_STEPS} steps, this has {len(steps)}")
        for step in steps:
            keys = table(step, "a step", self.problems, _STEP_KEYS, ("id", "uses"))
            name = identifier(keys.get("id"), "a step's id", self.problems)
            if name in found:
                said = f"the id {name!r} is taken; line {found[name]['id'].line} has it already"
                self.problems.add(keys["id"].line, said)
            elif name in (*_FIXED, "item"):
                said = f"the id {name!r} has a meaning of its own in references; choose another"
                self.problems.add(keys["id"].line, said)
            elif name:
                found[name] = keys
        return found

    def _action(self, keys: Mapping[str, Node]) -> Action[Any, Any, Any] | None:
        uses = keys["uses"].value if "uses" in keys else None
        return self.catalogue.get(uses) if isinstance(uses, str) else None

    def _gives(self, keys: Mapping[str, Node]) -> dict[str, Any]:
        action = self._action(keys)
        return {"before": action.before, "outcome": action.outcome} if action else {"before": Any, "outcome": Any}

    def steps(self) -> tuple[Step, ...]:
        """Every step, with what its references imply among its needs."""
        found = tuple(self._step(name, keys) for name, keys in self.written.items())
        self._refuse_cycles({step.id: step for step in found})
        return found

    def _step(self, name: str, keys: Mapping[str, Node]) -> Step:
        uses, action = text(keys.get("uses"), "uses", self.problems), self._action(keys)
        if uses and action is None:
            self.problems.add(keys["uses"].line, f"there is no action {uses[:60]!r}{hint(uses, self.catalogue)}")
        element = self._element(keys)
        scope = self.scope if element is None else {**self.scope, "item": element}
        if action:
            self._check_inputs(name, keys, action, element, scope)
        on_failure = choice(keys.get("on_failure"), "on_failure", ON_FAILURE, self.problems)
        if action and action.effect is not Effect.READ and "on_failure" not in keys:
            said = f"{name} changes something ({action.effect}), so it must say on_failure: {', '.join(ON_FAILURE)}"
            self.problems.add(keys["id"].line, said)
        return Step(
            id=name,
            uses=uses,
            with_=keys["with"].plain if "with" in keys else None,
            needs=self._needs(name, keys),
            for_each=str(keys["for_each"].plain) if "for_each" in keys else "",
            when=self._when(keys.get("when"), scope),
            on_failure=on_failure or "stop",
            line=keys["id"].line,
        )

    def _element(self, keys: Mapping[str, Node]) -> Any:
        """The type of the items of ``for_each``, Any after a mistake, None without it."""
        node = keys.get("for_each")
        if node is None:
            return None
        parts = reference.parse(node.value)
        if parts is None:
            self.problems.add(node.line, "for_each must be a reference to a list, such as $triage.stores")
            return Any
        try:
            kind = reference.type_of(parts, self.scope)
        except InputError as exc:
            self.problems.add(node.line, f"for_each: {exc}")
            return Any
        if kind is Any or (element := reference.element_of(kind)) is None:
            if kind is not Any:
                self.problems.add(node.line, f"for_each needs a list, {node.value} is {reference.name_of(kind)}")
            return Any
        return element

    def _check_inputs(
        self, name: str, keys: Mapping[str, Node], action: Action[Any, Any, Any], element: Any, scope: Mapping[str, Any]
    ) -> None:
        node = keys.get("with")
        if node is None and element is not None:
            if not reference.fits(element, action.inputs):
                wanted, given = reference.name_of(action.inputs), reference.name_of(element)
                said = f"without with, each item is the input: {action.name} wants {wanted}, the items are {given}"
                self.problems.add(keys["for_each"].line, said)
        elif node is not None and not isinstance(node.value, dict):
            self.problems.add(node.line, f"with must be a table of inputs, this is {kind_of(node.value)}")
        else:
            node = node or Node({}, keys["id"].line)
            reference.check(node, action.inputs, scope, f"the input of {action.name}", self.problems)
            if element is not None and all(parts[0] != "item" for parts, _line in _references(node)):
                self.problems.add(node.line, f"{name} would do the same for each item; name $item in with")

    def _when(self, node: Node | None, scope: Mapping[str, Any]) -> dict[str, tuple[Any, ...]]:
        found: dict[str, tuple[Any, ...]] = {}
        for name, value in table(node, "when", self.problems, _keys(node)).items() if node else ():
            parts = reference.parse(f"${name}")
            try:
                kind = reference.type_of(parts or (name,), scope)
            except InputError as exc:
                self.problems.add(value.line, f"when: {exc}")
                continue
            found[f"${name}"] = values_of(value, f"when {name}", kind, self.problems)
        return found

    def _needs(self, name: str, keys: Mapping[str, Node]) -> dict[str, str]:
        """What must stand first: what is written, and what the references imply. The stronger wins."""
        found: dict[str, str] = {}
        for line, other, level in [*self._written_needs(keys.get("needs")), *self._implied_needs(keys)]:
            if other == name:
                self.problems.add(line, f"{name} cannot wait for itself")
            elif other not in self.written:
                self.problems.add(line, f"needs: there is no step {other[:60]!r}{hint(other, self.written)}")
            elif NEEDS.index(level) >= NEEDS.index(found.get(other, NEEDS[0])):
                found[other] = level
        return found

    def _written_needs(self, node: Node | None) -> Iterator[tuple[int, str, str]]:
        for one in items(node, "needs", self.problems) if node else ():
            if isinstance(one.value, dict):
                for other, level in one.value.items():
                    chosen = choice(level, f"needs {other}", NEEDS[1:], self.problems)
                    yield one.line, other, chosen if chosen in NEEDS else "outcome"
            elif other := text(one, "a step in needs", self.problems):
                yield one.line, other, "outcome"

    def _implied_needs(self, keys: Mapping[str, Node]) -> Iterator[tuple[int, str, str]]:
        named = [Node(f"${key}", line) for key, line in _lines(keys.get("when"))]
        for node in [*(keys[key] for key in ("with", "for_each") if key in keys), *named]:
            for parts, line in _references(node):
                if parts[0] not in self.written:
                    continue  # the roots that always stand; an unknown one is reported with its type
                if "for_each" in self.written[parts[0]]:
                    said = (
                        f"{parts[0]} runs once for each item, so it has no single {' or '.join(parts[1:2]) or 'result'}"
                    )
                    self.problems.add(line, said)
                yield line, parts[0], "look" if parts[1:2] == ("before",) else "outcome"

    def _refuse_cycles(self, steps: Mapping[str, Step]) -> None:
        left = dict(steps)
        while ready := [name for name, step in left.items() if not any(need in left for need in step.needs)]:
            for name in ready:
                del left[name]
        while left:
            path = [next(iter(left))]
            while path.count(path[-1]) == 1:
                path.append(next(need for need in left[path[-1]].needs if need in left))
            ring = path[path.index(path[-1]) :]
            self.problems.add(steps[ring[0]].line, f"the steps wait for each other: {' -> '.join(ring)}")
            left = {name: step for name, step in left.items() if name not in _reaching(ring[0], left)}


def _reaching(target: str, steps: Mapping[str, Step]) -> set[str]:
    """The steps that wait for the target, directly or through others; the target is one of them."""
    found = {target}
    while more := {name for name, step in steps.items() if name not in found and any(n in found for n in step.needs)}:
        found |= more
    return found


def _references(node: Node) -> Iterator[tuple[tuple[str, ...], int]]:
    """Every reference in a written value, with its line."""
    inner = node.value.values() if isinstance(node.value, dict) else node.value
    if isinstance(node.value, (dict, tuple)):
        for child in inner:
            yield from _references(child)
    elif parts := reference.parse(node.value):
        yield parts, node.line


def _keys(node: Node | None) -> Collection[str]:
    return node.value.keys() if node and isinstance(node.value, dict) else ()


def _lines(node: Node | None) -> list[tuple[str, int]]:
    return [(key, value.line) for key, value in node.value.items()] if node and isinstance(node.value, dict) else []

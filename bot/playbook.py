"""Playbook text -> Playbook, or every mistake in it with its line.

Data, not a language: values, references (``bot.reference``), ``needs``, ``for_each``, ``when`` as a table of values,
``on_failure``. What cannot be run is refused here, never skipped later.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bot import reference
from bot.action import Action
from bot.errors import InputError, PlaybookError
from bot.model import Credential, Effect
from bot.steps import ID, MAX_STEPS, NEEDS, ON_FAILURE, Catalogue, Step, StepReader, choice, identifier, values_of
from bot.strictyaml import Node, Problems, hint, read, table, text

_KEYS = ("id", "title", "match", "steps", "drill")
_MATCH_KEYS = ("credential", "account", "hands")
OURS, PERSON = "ours", "person"  # whose hands reach the place that a credential is of
_NAME = {"type": "string", "pattern": f"^{ID.pattern}$"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Playbook:
    """A versioned list of steps. An incident keeps ``text``, so that it never changes under a running one."""

    id: str
    title: str
    match: Mapping[str, tuple[str, ...]]
    steps: tuple[Step, ...]
    drill: str  # the drill that proves it; '' is undrilled, and never gets mode act
    text: str
    sha256: str
    source: str

    def step(self, step_id: str) -> Step:
        """The step of that name. Raises InputError."""
        for step in self.steps:
            if step.id == step_id:
                return step
        raise InputError(f"the playbook {self.id} has no step {step_id!r}{hint(step_id, [s.id for s in self.steps])}")

    def order(self) -> tuple[Step, ...]:
        """The steps so that each comes after what it needs; otherwise as written."""
        done: dict[str, Step] = {}
        while len(done) < len(self.steps):
            ready = next(s for s in self.steps if s.id not in done and all(need in done for need in s.needs))
            done[ready.id] = ready
        return tuple(done.values())


def load(source_text: str, source: str, catalogue: Catalogue, drills: Collection[str] | None = None) -> Playbook:
    """One playbook. Raises PlaybookError with every mistake. ``drills``: those known, or None."""
    problems = Problems(source)
    top = table(read(source_text, source), "the playbook", problems, _KEYS, ("id", "title", "match", "steps"))
    steps = StepReader(top.get("steps"), catalogue, problems).steps()
    drill = identifier(top.get("drill"), "drill", problems) if "drill" in top else ""
    if drill and drills is not None and drill not in drills:
        problems.add(top["drill"].line, f"there is no drill {drill!r}{hint(drill, drills)}")
    loaded = Playbook(
        id=identifier(top.get("id"), "id", problems),
        title=text(top.get("title"), "title", problems, most=200),
        match=_match(top.get("match"), problems),
        steps=steps,
        drill=drill,
        text=source_text,
        sha256=hashlib.sha256(source_text.encode()).hexdigest(),
        source=source,
    )
    problems.refuse()
    return loaded


def load_folder(
    folders: Iterable[Path], catalogue: Catalogue, drills: Collection[str] | None = None
) -> dict[str, Playbook]:
    """Every ``*.yaml`` of the folders by its id; a later folder replaces what an earlier one called the same.

    Raises PlaybookError for the first file with mistakes, and when two that stand side by side want one credential.
    """
    found: dict[str, Playbook] = {}
    for folder in folders:
        if not folder.is_dir():
            raise InputError(f"there is no folder {folder}")
        for path in sorted(folder.glob("*.yaml")):
            loaded = load(content(path), str(path), catalogue, drills)
            if path.stem != loaded.id:
                raise PlaybookError(str(path), [(1, f"the file of the playbook {loaded.id} must be {loaded.id}.yaml")])
            found[loaded.id] = loaded
    for one in found.values():
        for other in found.values():
            if one.id < other.id and _same_claim(one, other):
                said = f"{other.id} matches what {one.id} matches; narrow one of them, or give it the other's id"
                raise PlaybookError(other.source, [(1, said)])
    return found


def match(playbooks: Mapping[str, Playbook], credential: Credential, hands: str = OURS) -> Playbook | None:
    """The playbook for a credential, the narrowest first; None when there is none.

    A value that ends in ``*`` stands for all that begin so: what names a kind whole is narrower. ``hands``: person
    where we have no way into the account that the credential is of.
    """
    facts = {"credential": credential.kind, "account": credential.account, "hands": hands}
    fitting = [
        (len(p.match), max(map(len, named)), p) for p in playbooks.values()
        if all(_fitting(facts[key], values) for key, values in p.match.items())
        and (named := _fitting(credential.kind, p.match["credential"]))
    ]  # fmt: skip
    return max(fitting, key=lambda row: row[:2], default=(0, 0, None))[2]


def _fitting(fact: str, values: Iterable[str]) -> list[str]:
    """Which of the values stand for a fact."""
    return [value for value in values if fact == value or (value[-1:] == "*" and fact.startswith(value[:-1]))]


def json_schema(catalogue: Catalogue) -> dict[str, Any]:
    """A JSON Schema (2020-12) of the format, for editors. ``load`` knows more: types of references, cycles."""
    words = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}]}
    match_table = _closed({"credential": words, "account": words, "hands": {"enum": [OURS, PERSON]}}, "credential")
    playbook = {
        "id": _NAME,
        "title": {"type": "string", "minLength": 1, "maxLength": 200},
        "match": match_table,
        "steps": {"type": "array", "items": _any_step(catalogue), "minItems": 1, "maxItems": MAX_STEPS},
        "drill": _NAME,
    }
    heading = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Bulkhead playbook"}
    return heading | _closed(playbook, "id", "title", "match", "steps")


def _closed(properties: dict[str, Any], *required: str) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(required), "additionalProperties": False}


def _any_step(catalogue: Catalogue) -> dict[str, Any]:
    """What every step may say, and for each action what a step that uses it must say."""
    plain = {"type": ["string", "number", "boolean"]}
    level = {"type": "object", "additionalProperties": {"enum": list(NEEDS[1:])}, "minProperties": 1}
    step = {
        "id": _NAME,
        "uses": {"enum": sorted(catalogue)},
        "with": {"type": "object"},
        "needs": {"type": "array", "items": {"anyOf": [_NAME, level]}},
        "for_each": {"type": "string", "pattern": f"^{reference.REFERENCE.pattern}$"},
        "when": {"type": "object", "additionalProperties": {"anyOf": [plain, {"type": "array", "items": plain}]}},
        "on_failure": {"enum": list(ON_FAILURE)},
    }
    return _closed(step, "id", "uses") | {"allOf": [_step_schema(catalogue[name]) for name in sorted(catalogue)]}


def _step_schema(action: Action[Any, Any, Any]) -> dict[str, Any]:
    """What a step that uses this action must look like."""
    fields = reference.fields_of(action.inputs)
    needed = [name for name, (_kind, must) in fields.items() if must]
    properties = {name: reference.schema_of(kind) for name, (kind, _must) in fields.items()}
    then: dict[str, Any] = {
        "properties": {"with": {"properties": properties, "required": needed, "additionalProperties": False}},
        "required": [] if action.effect is Effect.READ else ["on_failure"],
    }
    if needed:
        then["anyOf"] = [{"required": ["with"]}, {"required": ["for_each"]}]
    return {"if": {"properties": {"uses": {"const": action.name}}, "required": ["uses"]}, "then": then}


def content(path: Path) -> str:
    """The text of a file. Raises PlaybookError or InputError."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise PlaybookError(str(path), [(1, "the file is not UTF-8 text")]) from None
    except OSError as exc:
        raise InputError(f"{path} cannot be read: {exc.strerror}") from None


def _match(node: Node | None, problems: Problems) -> dict[str, tuple[str, ...]]:
    if node is None:
        return {}
    rows = table(node, "match", problems, _MATCH_KEYS, ("credential",))
    if "hands" in rows:
        choice(rows["hands"], "match.hands", (OURS, PERSON), problems)
    return {key: values_of(value, f"match.{key}", str, problems) for key, value in rows.items()}


def _same_claim(one: Playbook, other: Playbook) -> bool:
    """Whether both would be chosen for some credential, neither being narrower."""
    return one.match.keys() == other.match.keys() and all(
        set(one.match[key]) & set(other.match[key]) for key in one.match
    )

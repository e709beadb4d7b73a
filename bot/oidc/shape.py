"""Jobs and steps of a workflow as the migration sees them: a view on the tree, with the paths for edits."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from bot.oidc.conditions import may_hold
from bot.oidc.source import Node, Path, Source

EXPRESSION = re.compile(r"\$\{\{(.*?)\}\}", re.DOTALL)
SECRET = re.compile(r"(?<![\w.-])secrets\s*(?:\.\s*([A-Za-z_][\w-]*)|\[\s*['\"]([^'\"]+)['\"]\s*\])", re.IGNORECASE)
ANY_SECRETS = re.compile(r"(?<![\w.-])secrets(?![\w-])", re.IGNORECASE)
_STRING = re.compile(r"'(?:[^']|'')*'")
ONLY_SECRET = re.compile(
    r"\s*\$\{\{\s*secrets\s*(?:\.\s*[A-Za-z_][\w-]*|\[\s*['\"][^'\"]+['\"]\s*\])\s*\}\}\s*", re.IGNORECASE
)
PULLS = ("pull_request",)
UNTRUSTED = ("pull_request_target",)


def secrets_of(text: str) -> list[str]:
    """Names of the secrets that the expressions of a text read, in capitals, in order, GITHUB_TOKEN left out."""
    found: dict[str, None] = {}
    for expression in EXPRESSION.findall(text):
        for one, two in SECRET.findall(expression):
            found[(one or two).upper()] = None
    found.pop("GITHUB_TOKEN", None)
    return list(found)


def computed(text: str) -> bool:
    """Whether an expression reads secrets in a way that names none: toJSON(secrets), secrets[matrix.name]."""
    return any(ANY_SECRETS.search(SECRET.sub("", _STRING.sub("''", SECRET.sub("", each))))
               for each in EXPRESSION.findall(text))  # fmt: skip


def uses_token(text: str) -> bool:
    """Whether a text reads the job's GITHUB_TOKEN."""
    return any(
        re.search(r"(?i)secrets\s*\.\s*GITHUB_TOKEN\b|github\s*\.\s*token\b", e) for e in EXPRESSION.findall(text)
    )


@dataclass(frozen=True)
class Step:
    """One step. ``path`` is where it stands; names of inputs and variables are as written."""

    job: Job
    index: int
    node: Node

    @property
    def path(self) -> Path:
        return (*self.job.path, "steps", self.index)

    @cached_property
    def uses(self) -> str:
        return _text(self.node.get("uses"))

    @cached_property
    def action(self) -> str:
        """The action without its version, in small letters: ``actions/checkout``."""
        return self.uses.split("@")[0].strip().lower()

    @cached_property
    def run(self) -> str:
        return _text(self.node.get("run"))

    @cached_property
    def folder(self) -> str:
        """Where its script runs, from the top of the repository; '' for the top."""
        return _text(self.node.get("working-directory")) or self.job.folder

    @cached_property
    def condition(self) -> str:
        return _text(self.node.get("if"))

    @cached_property
    def inputs(self) -> dict[str, str]:
        return _table(self.node.get("with"))

    @cached_property
    def env(self) -> dict[str, str]:
        return _table(self.node.get("env"))

    @cached_property
    def name(self) -> str:
        return _text(self.node.get("name")) or self.uses or _text(self.node.get("id")) or f"step {self.index + 1}"

    @property
    def comments(self) -> str:
        """The comments within the step, up to the end of its ``uses``."""
        uses = self.node.get("uses")
        text = self.job.workflow.source.text[self.node.start : uses.end if uses is not None else self.node.end]
        return "\n".join(line for line in text.splitlines() if line.lstrip().startswith("#"))

    def input(self, name: str) -> str:
        """An input by its name, without regard to case as GitHub reads it."""
        return next((value for key, value in self.inputs.items() if key.lower() == name.lower()), "")

    def texts(self) -> Iterator[str]:
        """Every text of the step."""
        yield from leaves(self.node)

    def reached(self, event: str) -> bool:
        """Whether a run of this event can come here."""
        return self.job.reached(event) and may_hold(self.condition, event)


@dataclass(frozen=True)
class Job:
    """One job of a workflow; the steps of a composite action, where its id is ''."""

    workflow: Workflow
    id: str
    node: Node

    @property
    def path(self) -> Path:
        return ("jobs", self.id) if self.id else ("runs",)

    @property
    def title(self) -> str:
        """What people call it."""
        return f"job {self.id}" if self.id else "the action"

    @cached_property
    def uses(self) -> str:
        return _text(self.node.get("uses"))

    @cached_property
    def env(self) -> dict[str, str]:
        return _table(self.node.get("env"))

    @cached_property
    def condition(self) -> str:
        return _text(self.node.get("if"))

    @cached_property
    def runs_on(self) -> str:
        found = self.node.get("runs-on")
        return " ".join(leaves(found)) if found is not None else ""

    @cached_property
    def environment(self) -> str:
        found = self.node.get("environment")
        if found is None:
            return ""
        return _text(found.get("name")) if found.real.kind == "map" else _text(found)

    @cached_property
    def steps(self) -> list[Step]:
        found = self.node.get("steps")
        items = found.real.items if found is not None else []
        return [Step(self, n, item.real) for n, item in enumerate(items) if item.real.kind == "map"]

    @cached_property
    def folder(self) -> str:
        """Where its scripts run unless they say otherwise; '' for the top of the repository."""
        for node in (self.node, self.workflow.source.root):
            found: Node | None = node
            for key in ("defaults", "run", "working-directory"):
                found = found.get(key) if found is not None and found.real.kind == "map" else None
            if text := _text(found):
                return text
        return ""

    @property
    def hosted(self) -> bool:
        """Whether it can be seen to run on GitHub's own runners, or cannot be seen to run elsewhere."""
        return "self-hosted" not in self.runs_on.lower()

    def reached(self, event: str) -> bool:
        """Whether a run of this event can start the job."""
        if event not in self.workflow.events or not may_hold(self.condition, event):
            return False
        if re.search(r"\b(always|failure|cancelled)\s*\(", self.condition):
            return True
        return all(self.workflow.jobs[n].reached(event) for n in self.needs if n in self.workflow.jobs and n != self.id)

    @cached_property
    def needs(self) -> list[str]:
        found = self.node.get("needs")
        return list(leaves(found)) if found is not None else []

    @property
    def chain(self) -> list[Job]:
        """The job, and all that it waits for."""
        found = {self.id: self}
        waiting = [self]
        while waiting:
            for name in waiting.pop().needs:
                if name in self.workflow.jobs and name not in found:
                    found[name] = self.workflow.jobs[name]
                    waiting.append(found[name])
        return list(found.values())


@dataclass(frozen=True)
class Workflow:
    """One workflow file, or an action of the repository."""

    path: str
    source: Source

    @cached_property
    def events(self) -> tuple[str, ...]:
        on = self.source.root.get("on")
        if on is None:
            return ()
        found = on.real.plain
        return (found,) if isinstance(found, str) else tuple(str(each) for each in found)

    @cached_property
    def jobs(self) -> dict[str, Job]:
        found = self.source.root.get("jobs")
        entries = found.real.entries if found is not None else []
        return {e.key.value: Job(self, e.key.value, e.value.real) for e in entries if e.value.real.kind == "map"}

    @cached_property
    def env(self) -> dict[str, str]:
        return _table(self.source.root.get("env"))

    @property
    def called(self) -> bool:
        """Whether other workflows can call it."""
        return "workflow_call" in self.events


def _text(node: Node | None) -> str:
    return node.real.value if node is not None and node.real.kind == "scalar" else ""


def _table(node: Node | None) -> dict[str, str]:
    if node is None or node.real.kind != "map":
        return {}
    return {e.key.value: e.value.real.value for e in node.real.entries if e.value.real.kind == "scalar"}


def leaves(node: Node) -> Iterator[str]:
    """Every scalar within a value."""
    for _, leaf in walk(node):
        yield leaf.value


def walk(node: Node, path: Path = ()) -> Iterator[tuple[Path, Node]]:
    """Every scalar within a value, with its path. An alias is walked where it stands."""
    real = node.real
    if real.kind == "scalar":
        yield path, real
    elif real.kind == "map":
        for entry in real.entries:
            yield from walk(entry.value, (*path, entry.key.value))
    else:
        for number, item in enumerate(real.items):
            yield from walk(item, (*path, number))


def plain_if(condition: str) -> str:
    """A condition without its ``${{ }}``."""
    text = condition.strip()
    if text.startswith("${{") and text.endswith("}}") and text.count("${{") == 1:
        return text[3:-2].strip()
    return text

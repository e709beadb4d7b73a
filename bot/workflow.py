"""A GitHub Actions workflow file as text: its triggers, and for each job what the text lets it read, mint or assume.

Pure: text in, nouns out. Who asks GitHub which of these secrets exist is ``triage/reach.py``. Scalars are read as
strings (YAML 1.1 would make the key ``on`` a boolean), as GitHub reads them
(docs.github.com/actions/reference/workflows-and-actions/workflow-syntax).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

from bot.errors import InputError

MAX_BYTES = 1_000_000  # GitHub's contents API gives no more inline either
_Loader: Any = getattr(yaml, "CBaseLoader", yaml.BaseLoader)  # no tags, no timestamps, no merge keys: as GitHub

_EXPRESSION = re.compile(r"\$\{\{(.*?)\}\}", re.DOTALL)
_SECRETS = re.compile(
    r"""(?<![\w.-])secrets\s*(?:\.\s*(?P<name>[A-Za-z_][\w-]*)|\[\s*'(?P<index>[^']*)'\s*\])  # one, by name
      | '(?:[^']|'')*'                            # a string: not looked into
      | (?<![\w.-])(?P<all>secrets)(?![\w-])      # any other use: all of them
    """,
    re.IGNORECASE | re.VERBOSE,
)
_HALF_KEYS = {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "secret"}
_HALF_TEXT = re.compile(
    r"aws[_-](access[_-]key[_-]id|secret[_-]access[_-]key)\W{0,4}\$\{\{\s*(secrets\s*[.\[][^}]*)\}\}", re.IGNORECASE
)
_ROLE_INPUTS = {"role-to-assume": "", "workload_identity_provider": "", "client-id": "azure/login"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Role:
    """What a step asks a cloud for. ``literal`` is False when only an expression is known."""

    name: str
    step: str

    @property
    def literal(self) -> bool:
        return "${{" not in self.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One job. Secret names are in capitals, as GitHub compares them without regard to case."""

    id: str
    name: str
    uses: str  # the reusable workflow that it calls, or ""
    inherit: bool  # it hands all of its secrets on
    passed: dict[str, frozenset[str]]  # secret of the called workflow -> secrets of ours that its value names
    environment: str  # may be an expression
    permissions: dict[str, str] | None  # None when not stated; {"*": "write"} for write-all
    secrets: dict[str, str]  # name -> where it stands in the job, in words
    everything: str  # where it reads all secrets at once (toJSON, a computed name); "" when nowhere
    halves: frozenset[tuple[str, str]]  # (part of an AWS key pair, secret name)
    roles: tuple[Role, ...]
    self_hosted: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Workflow:
    """One file."""

    name: str
    triggers: tuple[str, ...]
    permissions: dict[str, str] | None
    jobs: tuple[Job, ...]


def tokens_of(repository: str, workflow: str) -> str:
    """The key under which ledger and tails know the GITHUB_TOKENs and id-tokens of a workflow's runs."""
    return f"github-token:{repository}/{workflow}"


def may_mint(permissions: dict[str, str] | None) -> bool:
    """Whether a job with these permissions may ask for an id-token. The default permissions never include it."""
    stated = permissions or {}
    return stated.get("id-token", stated.get("*", "")) == "write"


def parse(text: str, source: str) -> Workflow:
    """Read a workflow file. Raises InputError when it is no YAML or no workflow."""
    if len(text) > MAX_BYTES:
        raise InputError(f"{source} is larger than {MAX_BYTES} bytes; no workflow file is")
    why = "it is nested too deeply"
    try:
        tree = yaml.load(text, Loader=_Loader)  # noqa: S506 - the base loader builds strings, lists and dicts only
    except yaml.YAMLError as exc:
        why, tree = str(getattr(exc, "problem", "") or "not YAML"), None
    except RecursionError:
        tree = None
    else:
        why = "it has no jobs"
    jobs = tree.get("jobs") if isinstance(tree, dict) else None
    if not isinstance(tree, dict) or not isinstance(jobs, dict):
        raise InputError(f"{source} could not be read as a workflow: {why}")
    shared = _Found()
    shared.look("the workflow's env", tree.get("env"))
    return Workflow(
        name=str(tree.get("name") or source.rsplit("/", 1)[-1]),
        triggers=_triggers(tree.get("on")),
        permissions=_permissions(tree),
        jobs=tuple(_job(str(key), body, shared) for key, body in jobs.items() if isinstance(body, dict)),
    )


def _triggers(on: Any) -> tuple[str, ...]:
    if isinstance(on, str):
        return (on,) if on else ()
    return tuple(str(event) for event in on) if isinstance(on, (list, dict)) else ()


def _permissions(of: dict[str, Any]) -> dict[str, str] | None:
    if "permissions" not in of:
        return None
    stated = of["permissions"]
    if isinstance(stated, dict):
        return {str(k): str(v) for k, v in stated.items()}
    return {"*": stated.removesuffix("-all")} if stated in {"read-all", "write-all"} else {}


def _job(key: str, body: dict[str, Any], shared: _Found) -> Job:
    found = _Found()
    uses = str(body.get("uses") or "")
    passes = body.get("secrets")
    passed: dict[str, frozenset[str]] = {}
    if uses and isinstance(passes, dict):
        passed = {str(k).upper(): frozenset(_names(str(v))) for k, v in passes.items()}
    for part, value in body.items():
        if part != "steps":
            found.look(f"its {part}", {part: value} if part == "if" else value)
    steps = body.get("steps")
    for number, step in enumerate(steps if isinstance(steps, list) else [], 1):
        if isinstance(step, dict):
            label = str(step.get("name") or step.get("uses") or step.get("id") or number)
            found.look(f"step {label}", step)
            found.roles += list(_roles(step, label))
    if not uses:  # a job that only calls has no runner, so the workflow's env is not read in it
        found.add(shared)
    environment = body.get("environment")
    if isinstance(environment, dict):
        environment = environment.get("name")
    runs_on = body.get("runs-on")
    return Job(
        id=key, name=str(body.get("name") or key), uses=uses, inherit=bool(uses) and passes == "inherit", passed=passed,
        environment=str(environment or ""), permissions=_permissions(body), secrets=found.secrets,
        everything=found.everything, halves=frozenset(found.halves), roles=tuple(found.roles),
        self_hosted="self-hosted" in str(runs_on),
    )  # fmt: skip


def _roles(step: dict[str, Any], label: str) -> Iterator[Role]:
    given = step.get("with")
    action = str(step.get("uses") or "").split("@")[0].lower()
    for name, value in given.items() if isinstance(given, dict) else ():
        only_for = _ROLE_INPUTS.get(str(name).lower())
        if value and isinstance(value, str) and only_for is not None and only_for in ("", action):
            yield Role(name=value, step=label)


def _names(text: str) -> Iterator[str]:
    for expression in _EXPRESSION.findall(text):
        for match in _SECRETS.finditer(expression):
            if name := match["name"] or match["index"]:
                yield name.upper()


class _Found:
    """What a walk through a part of the file collects."""

    def __init__(self) -> None:
        self.secrets: dict[str, str] = {}
        self.everything = ""
        self.halves: set[tuple[str, str]] = set()
        self.roles: list[Role] = []

    def add(self, other: _Found) -> None:
        self.secrets = {**other.secrets, **self.secrets}
        self.everything = self.everything or other.everything
        self.halves |= other.halves

    def look(self, where: str, value: Any) -> None:
        """Walk a value. Each list and dict once, so that aliases of aliases cost nothing."""
        seen: set[int] = set()
        todo: list[tuple[str, Any]] = [("", value)]
        while todo:
            key, value = todo.pop()
            if isinstance(value, str):
                self._text(where, key, value)
            elif isinstance(value, (dict, list)) and id(value) not in seen:
                seen.add(id(value))
                inside = value.items() if isinstance(value, dict) else (("", each) for each in value)
                todo += reversed([(str(k), v) for k, v in inside])

    def _text(self, where: str, key: str, text: str) -> None:
        expressions = _EXPRESSION.findall(text) or ([text] if key == "if" else [])
        for match in (m for expression in expressions for m in _SECRETS.finditer(expression)):
            if name := match["name"] or match["index"]:
                self.secrets.setdefault(name.upper(), where)
            elif match["all"]:
                self.everything = self.everything or where
        if part := _HALF_KEYS.get(key.upper().replace("-", "_")):
            self.halves |= {(part, name) for name in _names(text)}
        for word, expression in _HALF_TEXT.findall(text):
            part = "id" if word.lower().endswith("id") else "secret"
            self.halves |= {(part, name) for name in _names("${{" + expression + "}}")}

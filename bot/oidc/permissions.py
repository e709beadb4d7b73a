"""What a job's token may do: read what is stated, infer what was not, and write the least that keeps the job working.

A job's ``permissions`` replace the workflow's and set every scope that is not named to none, so a block that is added
for ``id-token`` alone would take away what the job lives by. Nothing stated anywhere: the scopes are inferred from
``recipes/scopes.yaml``; what cannot be known is returned and listed, never guessed.
Source: docs.github.com/actions/reference/workflows-and-actions/workflow-syntax#permissions.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from types import MappingProxyType

from bot.oidc import octokit, recipes
from bot.oidc.draft import Draft
from bot.oidc.refusal import Refusal
from bot.oidc.shape import Job, Step, uses_token
from bot.oidc.source import Node, Path
from bot.oidc.splice import Said

SETTING = "the repository's setting for the permissions of GITHUB_TOKEN"
LEVELS = {"none": 0, "read": 1, "write": 2}
_OPAQUE = re.compile(
    r"(^|[\s;&|])(\./|bash |sh |make |just |task |scripts?/|bin/|(npm|yarn|pnpm) run (release|deploy|publish))"
)
# Variables that tools read for a registry's token: with GITHUB_TOKEN in one, the registry is GitHub Packages.
_OF_PACKAGES = {"NODE_AUTH_TOKEN", "NPM_TOKEN", "GEM_HOST_API_KEY"}
_LOGS_IN = {"docker/login-action", "elgohr/publish-docker-github-action"}
_OF_GITHUB = re.compile(r"ghcr\.io|docker\.pkg\.github\.com")
# A script that may ask GitHub's API for anything.
_ASKS_API = re.compile(
    r"\bgh\s+api\b|api\.github\.com|\b(octokit|hub)\b|(^|[\s;&|])(python\d?|node|deno|bun|ruby|npx|uvx?)\s+(run\s+)?[\w./-]+\.\w+"
)
_CODE = re.compile(r"(?m)^\s*#.*$")
# A line that calls a script of the repository.
_CALL = re.compile(
    r"(?m)^[ \t]*(?:(?:bash|sh)[ \t]+(?:-\w+[ \t]+)*)?"
    r"(?P<path>\./[\w./-]+|[\w.-]+/[\w./-]+|[\w-]+\.sh)(?=[ \t]|$)[^\n;&|]*$"
)


@dataclass(slots=True)
class Scopes:
    """What a job needs, why, and the steps of which it cannot be told."""

    needed: dict[str, str] = field(default_factory=dict)
    why: dict[str, str] = field(default_factory=dict)  # the step that a scope is for
    unknown: list[str] = field(default_factory=list)
    blocking: list[str] = field(
        default_factory=list
    )  # they are handed the token on purpose, and do what we cannot tell

    def add(self, scopes: dict[str, str], why: str = "") -> None:
        """Take the higher level of each."""
        for scope, level in scopes.items():
            if LEVELS[level] > LEVELS[self.needed.get(scope, "none")]:
                self.needed[scope], self.why[scope] = level, why

    @property
    def said(self) -> dict[str, Said]:
        """Each scope with a comment that says what it is for."""
        return {scope: Said(level, self.why.get(scope, "")) for scope, level in self.needed.items()}


@cache
def _actions() -> dict[str, dict[str, str]]:
    return dict(recipes.data("scopes")["actions"])


@cache
def _commands() -> list[tuple[re.Pattern[str], dict[str, str]]]:
    return [(re.compile(each["match"], re.MULTILINE), each["scopes"]) for each in recipes.data("scopes")["commands"]]


def stated(node: Node | None) -> dict[str, str] | None:
    """A ``permissions`` value as scopes; None when there is none. ``write-all`` is {"*": "write"}."""
    if node is None:
        return None
    found = node.real
    if found.kind == "map":
        return {entry.key.value: entry.value.real.value for entry in found.entries}
    return {"*": found.value.removesuffix("-all")} if found.value in {"read-all", "write-all"} else {}


def effective(job: Job) -> dict[str, str] | None:
    """What stands for a job: its own, else the workflow's, else None."""
    own = stated(job.node.get("permissions"))
    return own if own is not None else stated(job.workflow.source.root.get("permissions"))


def mints(scopes: dict[str, str] | None, scope: str = "id-token") -> bool:
    """Whether these allow an id-token, or another scope to be written."""
    found = scopes or {}
    return found.get(scope, found.get("*", "")) == "write"


def inferred(job: Job, files: Mapping[str, bytes] = MappingProxyType({})) -> Scopes:
    """The scopes that a job's steps use, for a job that states none. ``files``: the repository's, for its scripts."""
    found = Scopes()
    for step in job.steps:
        if step.uses:
            _of_action(step, found)
        else:
            _of_script(step, found, _CODE.sub("", with_scripts(step, files)))
    if any(uses_token(value) for value in (*job.env.values(), *job.workflow.env.values())):
        for step in job.steps:
            _of_wide_token(step, found, _CODE.sub("", with_scripts(step, files)))
    return found


def with_scripts(step: Step, files: Mapping[str, bytes]) -> str:
    """What a step runs, with the text of each shell script of the repository in the place of the line that calls it."""

    def shown(call: re.Match[str]) -> str:
        path = posixpath.normpath(posixpath.join(step.folder or ".", call["path"]))
        data = files.get(path, b"") if not path.startswith("..") else b""
        shell = path.endswith(".sh") or re.match(rb"#!\s*/\S*\b(env\s+)?(ba|da|z)?sh\b", data)
        return data.decode(errors="replace") if data and shell else call[0]

    return _CALL.sub(shown, step.run)


def _of_wide_token(step: Step, found: Scopes, text: str) -> None:
    """A step that has the token only because every step has it: builds and tests rarely ask for more than to read."""
    if step.uses:
        if step.action not in _actions() and octokit.scopes(step.input("script") or "import") is None:
            found.blocking.append(f"{step.action or step.uses}, by the env of the job or the workflow")
        return
    said = f"step {step.name!r}, by the env of the job or the workflow"
    if _OPAQUE.search(text) or _ASKS_API.search(text):
        found.blocking.append(said)
    elif any(line.strip() and not any(known.search(line) for known, _ in _commands()) for line in text.splitlines()):
        found.unknown.append(f"what {said}, does with the token")


def _of_action(step: Step, found: Scopes) -> None:
    known = _actions().get(step.action)
    if step.action == "actions/github-script":
        known = octokit.scopes(step.input("script"))
    asked = any(uses_token(text) for text in (*step.inputs.values(), *step.env.values()))
    if known is not None:
        found.add(known, step.action)
        if step.action in _LOGS_IN and _OF_GITHUB.search(step.input("registry")) and asked:
            found.add({"packages": "write"}, "ghcr.io")
        if step.action == "actions/download-artifact" and step.input("run-id"):
            found.add({"actions": "read"}, step.action)
    elif step.uses.startswith(("./", "$/")):
        found.add({"contents": "read"}, step.uses)
        (found.blocking if asked else found.unknown).append(f"{step.uses}, an action of this repository")
    elif step.uses.startswith("docker://"):
        (found.blocking if asked else found.unknown).append(f"{step.uses}, a container")
    else:
        found.add({"contents": "read"}, step.action)
        (found.blocking if asked else found.unknown).append(f"{step.action}, which is not in the table")


def _of_script(step: Step, found: Scopes, text: str) -> None:
    if re.search(r"deploy.{0,12}docs|docs.{0,12}deploy", step.name, re.IGNORECASE) and _OPAQUE.search(text):
        found.add({"contents": "write"}, "what the docs' deployment pushes")
    if _OPAQUE.search(text):
        found.unknown.append(f"what step {step.name!r} runs")
    asked = uses_token(step.run) or any(uses_token(value) for value in step.env.values())
    holders = {name.upper() for name, value in step.env.items() if uses_token(value)}
    if holders & _OF_PACKAGES:
        found.add({"packages": "write" if re.search(r"publish|push|release", text) else "read"}, "GitHub Packages")
    matched = [(match, scopes) for pattern, scopes in _commands() if (match := pattern.search(text))]
    for match, scopes in matched:
        found.add(scopes, " ".join(match[0].split())[:40])
    left = "\n".join(line for line in text.splitlines() if not any(p.search(line) for p, _ in _commands()))
    if asked and _named_for_its_tool(step) and matched:
        return
    if asked and _only_for_packages(step, holders) and not _ASKS_API.search(text):
        return
    if asked and (not matched or re.search(r"\bgh\s+api\b", text) or _OPAQUE.search(left)):
        found.blocking.append(f"step {step.name!r}, whose commands are not in the table")


def _only_for_packages(step: Step, holders: set[str]) -> bool:
    """Whether the token stands in for a registry's own and nowhere else in a step."""
    return bool(holders) and holders <= _OF_PACKAGES and not uses_token(step.run)


def _named_for_its_tool(step: Step) -> bool:
    """Whether only a variable holds the token that one tool reads and no script knows: CML's."""
    holders = {name.upper() for name, value in step.env.items() if uses_token(value)}
    return holders == {"REPO_TOKEN"} and not uses_token(step.run)


def grant(
    draft: Draft, job: Job, why: str, assumed: list[str], scope: str = "id-token", default: str = "",
    files: Mapping[str, bytes] = MappingProxyType({}), callers: Sequence[Mapping[str, str]] = (),
) -> None:  # fmt: skip
    """Let a job ask for an id-token (or write another scope) and keep every scope that it has or needs.

    ``why`` stands as a comment behind the scope. ``assumed`` collects what could not be told. ``default``: what the
    repository's settings give a job that states nothing, read or write. ``files``: the repository's, for its scripts.
    ``callers``: what each caller of the job's workflow lets it have; to ask for more would make that one invalid.
    Raises Refusal when the scopes cannot be told.
    """
    now = effective(job)
    path: Path = (*job.path, "permissions")
    if mints(now, scope) or (draft.has(path) and job.node.get("permissions") is None):
        return
    own = job.node.get("permissions")
    if own is not None and own.real.kind == "map" and own.real.entries:
        if own.get(scope) is not None:
            draft.replace((*path, scope), "write", comment=why)
        else:
            draft.insert(path, scope, Said("write", why), near=own.real.entries[-1].key.value)
        return
    if own is not None and own.real.kind == "map":
        draft.insert(path, scope, Said("write", why), near="")
        return
    if own is not None:  # read-all, or an odd scalar: written out
        draft.delete(path)
        draft.insert(
            job.path, "permissions", _block(_written_out(now or {}, "as read-all"), scope, why), near="permissions"
        )
        return
    scopes = _written_out(now or {}, "as in the workflow")
    if now is None:
        scopes = _within(job, _infer(job, assumed, default, files), callers)
    near = "runs-on" if job.node.get("runs-on") is not None else "uses" if job.uses else job.node.entries[0].key.value
    draft.insert(job.path, "permissions", _block(scopes, scope, why), near=near)


def by_default(default: str) -> dict[str, str] | None:
    """The scopes of a job that states none, by the setting "Workflow permissions"; None where nobody told it."""
    if default == "write":
        return dict.fromkeys(recipes.READ_ALL, "write")
    return {"contents": "read", "packages": "read"} if default == "read" else None


def _infer(job: Job, assumed: list[str], default: str, files: Mapping[str, bytes]) -> dict[str, Said]:
    found = inferred(job, files)
    if found.blocking and (known := by_default(default)) is not None:
        return _written_out(known, "as the repository's setting has it")
    if found.blocking:
        said = "; ".join(dict.fromkeys(found.blocking))
        raise Refusal(
            "permissions-unknown", f"job {job.id} states no permissions, and its token goes to {said}",
            "State the permissions of the job as they are needed, or tell --default-permissions, then plan again.",
            lacks=SETTING,
        )  # fmt: skip
    assumed += [f"job {job.id}: the scopes written are enough for {each}" for each in found.unknown]
    return found.said


def _within(job: Job, scopes: dict[str, Said], callers: Sequence[Mapping[str, str]]) -> dict[str, Said]:
    """The scopes as far as every caller grants them, which is what a called job that states none has had so far.

    Source: docs.github.com/actions/reference/workflows-and-actions/reusing-workflow-configurations: permissions "can
    only be maintained or reduced, not elevated".
    """
    kept: dict[str, Said] = {}
    for scope, said in scopes.items():
        allowed = [each.get(scope, each.get("*", "none")) for each in callers]
        level = min([said.value, *allowed], key=lambda each: LEVELS.get(each, 0))
        if level != said.value and set(job.workflow.events) != {"workflow_call"}:
            raise Refusal(
                "permissions-unknown", f"a caller of {job.workflow.path} grants less than its own events need",
                f"State the permissions of job {job.id}, then plan again.",
            )  # fmt: skip
        if LEVELS.get(level, 0):
            kept[scope] = Said(level, said.comment)
    return kept


def _written_out(scopes: dict[str, str], why: str) -> dict[str, Said]:
    level = scopes.get("*")
    return {k: Said(v, why) for k, v in (dict.fromkeys(recipes.READ_ALL, level) if level else scopes).items()}


def _block(scopes: dict[str, Said], scope: str, why: str) -> dict[str, Said]:
    return {k: v for k, v in scopes.items() if k != scope} | {scope: Said("write", why)}

"""Tools that publish to npm and that a workflow names in a version which is too old: they are raised in its text.

semantic-release is raised only where nothing can be seen that was made for the old one: its own plugins and its own
preset alone. Sources: its releases 18 to 25 (what breaks: Node, presets of others, plugins that it loads as modules),
action.yml of cycjimmy/semantic-release-action v3 to v6 (the same inputs; v6 runs on Node 24).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import yaml

from bot.oidc.shape import Step
from bot.oidc.work import Work

SEMANTIC = "semantic-release"
RAISED = (SEMANTIC, "npm")  # of lerna too much has gone since
WANTED = "25"
OWN_ACTION = "cycjimmy/semantic-release-action"
INPUTS = {
    "semantic_version", "branches", "ci", "dry_run", "extra_plugins", "repository_url", "tag_format", "unset_gha_env",
    "working_directory",
}  # fmt: skip
_DATA = (".releaserc", ".releaserc.json", ".releaserc.yaml", ".releaserc.yml")
_PROGRAM = re.compile(r"(release\.config|\.releaserc)\.[cm]?[jt]s")
_PACKAGE = re.compile(r"(?:^|[\s=])(@?[\w./-]+)@[~^v=]*\d[\w.-]*")


def in_scripts(work: Work, steps: list[Step], tool: str, least: int) -> bool:
    """Raise a tool in the scripts of these steps. False where that cannot be, or where none of them names it."""
    if tool not in RAISED:
        return False
    named = re.compile(rf"(?<![\w@/-]){tool}@[~^v=]*(\d+)(\.[\w.-]+)?(?![\w.])")
    found = [step for step in steps if step.run and named.search(step.run)]
    for step in found:
        draft = work.draft(step.job.workflow.path)
        run = (*step.path, "run")
        if draft.edited(run) or not step.job.id or (tool == SEMANTIC and not _plain(work, step, _beside(step.run))):
            return False
        draft.edit_lines(run, lambda lines: [named.sub(lambda m: _raised(m, tool, least), line) for line in lines])
        said = f"{step.job.workflow.path}, job {step.job.id}: {tool} goes to {least} in step {step.name!r}"
        work.notes.append(said + ("; read what its releases changed" if tool == SEMANTIC else ""))
    return bool(found)


def action(work: Work, step: Step) -> bool:
    """Raise an action that runs semantic-release, and the version that it is told. False where that cannot be."""
    plugins = step.input("extra_plugins").split()
    names = set(map(str.lower, step.inputs))
    if step.action != OWN_ACTION or names - INPUTS or not step.job.id or not _plain(work, step, plugins):
        return False
    if step.input("semantic_version"):
        work.set_input(step, "semantic_version", WANTED)
    work.repin(step)
    said = f"{step.job.workflow.path}, job {step.job.id}: {step.action} goes to {work.pin(step.action).version} and "
    work.notes.append(f"{said}semantic-release to {WANTED}; read what its releases changed")
    return True


def _raised(found: re.Match[str], tool: str, least: int) -> str:
    return f"{tool}@{least}" if int(found[1]) < least else found[0]


def _beside(script: str) -> list[str]:
    """The packages that a script names in a version beside semantic-release."""
    return [found[0].strip(" =") for found in _PACKAGE.finditer(script) if found[1] != SEMANTIC]


def _plain(work: Work, step: Step, packages: list[str]) -> bool:
    """Whether nothing that can be seen was made for an older semantic-release; what cannot be seen is listed."""
    if any("@" in each[1:] or not each.startswith(f"@{SEMANTIC}/") for each in packages):
        return False
    folder = (step.folder or step.input("working_directory")).strip("./")
    base, files = f"{folder}/" if folder else "", work.repository.files
    if any(path.startswith(base) and _PROGRAM.fullmatch(path[len(base) :]) for path in files):
        return False
    found: list[Any] = [_read(files[base + name]) for name in _DATA if base + name in files]
    package = _read(files.get(f"{base}package.json", b"{}"))
    found += [package.get("release")] if isinstance(package, dict) else [None]
    if not work.repository.whole and f"{base}package.json" not in files:
        work.assumed.append(
            f"job {step.job.id}: the configuration of semantic-release names its own plugins and its own preset alone"
        )
    return all(map(_own, found))


def _read(data: bytes) -> Any:
    try:
        return json.loads(data)
    except ValueError:
        try:
            return yaml.safe_load(data)
        except (yaml.YAMLError, UnicodeDecodeError):
            return [data]  # nothing that is known


def _own(configuration: Any) -> bool:
    """Whether a configuration names semantic-release's own plugins and preset and nothing to inherit from."""
    if configuration is None:
        return True
    if not isinstance(configuration, dict) or configuration.get("extends"):
        return False
    plugins = [each[0] if isinstance(each, list) and each else each for each in configuration.get("plugins") or []]
    if any(not str(each).startswith(f"@{SEMANTIC}/") for each in plugins):
        return False
    return all(value == "angular" for value in _presets(configuration))


def _presets(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        for key, inner in value.items():
            if key in {"preset", "config"}:
                yield inner
            yield from _presets(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _presets(inner)



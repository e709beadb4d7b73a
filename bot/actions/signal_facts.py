"""Facts of an incident's window and of what came before it, asked through the World: GitHub, npm, run logs.

The formats are read by ``bot.signals.collect``; here is only who is asked for what, how far back, and what could not be
had. Every source may refuse: that is a sentence in ``unknown``, and the others go on.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import islice
from typing import Any
from urllib.parse import quote

from bot import workflow
from bot.actions.github import repository_path
from bot.actions.github_planted import NOTHING, activity, branches, read_file, workflow_files
from bot.actions.npm import document
from bot.errors import InputError, NotFound, ProviderError, RateLimited, Unavailable
from bot.signals import collect, registry_signatures
from bot.signals.collect import github, npm
from bot.signals.collect.logs import of_zip
from bot.signals.encodings import Known
from bot.signals.facts import AnyFact, Origin, Push, Run, Text, WorkflowFile, of_kind, utc
from bot.signals.provenance import unproven, verified
from bot.world import World

HISTORY = timedelta(days=30)  # before the window: what is usual
MOST_RUNS, MOST_JOBS, MOST_LOGS, MOST_PACKAGES = 1000, 60, 20, 100
MOST_PROVENANCE = 15  # versions of a package or an image, the newest; signal 2 looks back at ten


@dataclass(slots=True, kw_only=True)
class Collected:
    """What was had, and in sentences what was not. ``later``: some of that only because a source was away just now."""

    facts: list[AnyFact] = field(default_factory=list)
    calls: list[AnyFact] = field(default_factory=list)
    texts: list[Text] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    later: bool = False

    def take(self, what: str, source: Callable[[], Iterable[Any]], into: list[Any] | None = None) -> None:
        """Take what a source gives; what it refuses becomes a sentence."""
        rows: list[Any] = []
        try:
            rows.extend(source())
        except NotFound:
            self.unknown.append(f"There is no record of {what}")
        except (ProviderError, InputError) as exc:
            self.later = self.later or isinstance(exc, (RateLimited, Unavailable))
            self.unknown.append(f"{what[:1].upper()}{what[1:]} could not be read: {exc}")
        (self.facts if into is None else into).extend(rows)

    def verify(self, root: str) -> None:
        """Verify the signatures of provenance, and those of registries; ``root`` as ``World.trust_root``."""
        self.facts = registry_signatures.verified(self.facts)
        try:
            self.facts = verified(self.facts, root)
            self.unknown += unproven(self.facts)
        except InputError as exc:
            self.unknown.append(f"No provenance was verified: {exc}")

    def most(self, rows: Iterable[Any], most: int, what: str) -> Iterator[Any]:
        """At most so many; that there are more is a sentence."""
        for number, row in enumerate(rows):
            if number == most:
                self.unknown.append(f"Only {most:,} {what} were read")
                return
            yield row


def of_github(
    world: World, repository: str, since: datetime, found: Collected, history: timedelta = HISTORY
) -> None:  # fmt: skip
    """Runs, jobs of the window, pushes, deployments, releases, tags, and workflow files that the window brought."""
    base, before = repository_path(repository), since - history

    def rows(path: str, items: str = "", **params: str) -> Iterator[AnyFact]:
        for row in found.most(world.github.pages(f"{base}{path}", items, **params), MOST_RUNS, f"rows of {path}"):
            for fact in github.answer([row], Origin("github", ""), repository):
                if fact.at >= before or path.startswith("/git"):
                    yield fact

    found.take("runs", lambda: rows("/actions/runs", "workflow_runs", created=f">={before:%Y-%m-%dT%H:%M:%SZ}"))
    for run in islice((r for r in of_kind(found.facts[:], Run) if r.until >= since), MOST_JOBS):
        found.take(f"jobs of {run.key}", lambda run=run: rows(f"/actions/runs/{run.id}/jobs", "jobs"))  # type: ignore[misc]
    found.take("pushes", lambda: _pushes(world, repository, before))
    found.take("deployments", lambda: rows("/deployments"))
    found.take("releases", lambda: rows("/releases"))
    found.take("tags", lambda: rows("/git/matching-refs/tags/"))
    found.take("workflow files", lambda: _workflow_files(world, repository, since, found))
    found.facts = github.with_workflows(found.facts)


def _pushes(world: World, repository: str, before: datetime) -> Iterator[AnyFact]:
    for row in activity(world, repository):
        for fact in github.answer([row], Origin("github", f"activity {row['id']}"), repository):
            if fact.at >= before:
                yield fact


def _workflow_files(world: World, repository: str, since: datetime, found: Collected) -> Iterator[AnyFact]:
    """Files on branches that were pushed to in the window and that stood on none of them before."""
    first: dict[str, Push] = {}
    for push in sorted(of_kind(found.facts, Push), key=lambda p: p.at):
        if push.at >= since and push.ref.startswith("refs/heads/"):
            first.setdefault(push.ref.removeprefix("refs/heads/"), push)
    tips = branches(world, repository) if first else {}
    if not first:
        return
    default = str(world.github.get(repository_path(repository))["default_branch"])
    past = {push.before for push in first.values() if push.before != NOTHING}
    past |= {tips[default]} if default in tips and default not in first else set()
    known = {path for commit in sorted(past) for path in workflow_files(world, repository, commit)}
    for path in sorted(known):
        yield WorkflowFile(at=since - HISTORY, repository=repository, branch=default, path=path)
    for branch, push in sorted(first.items()):
        for path in sorted(set(workflow_files(world, repository, tips[branch])) - known) if branch in tips else ():
            text = read_file(world, repository, path, tips[branch]).decode(errors="replace")
            yield WorkflowFile(
                at=push.at, origin=Origin("github", f"{repository} {path} at {tips[branch]}"), repository=repository,
                branch=branch, path=path, new=True, actor=push.actor, sha=push.after, secrets=_secrets(text, path),
            )  # fmt: skip


def _secrets(text: str, path: str) -> tuple[str, ...]:
    try:
        jobs = workflow.parse(text, path).jobs
    except InputError:
        return ("what it names cannot be read",)
    named = {name for job in jobs for name in job.secrets if name != "GITHUB_TOKEN"}
    everything = any(job.everything or job.inherit for job in jobs)
    return tuple(sorted(named)) + (("all secrets",) if everything else ())


def of_npm(world: World, repository: str, maintainer: str, found: Collected) -> None:
    """The documents of the packages that a repository makes and an account maintains."""

    def rows() -> Iterator[AnyFact]:
        names = [manifest] if (manifest := _manifest(world, repository)) else []
        if maintainer and world.npm is not None:
            answer = world.npm.get(f"/-/v1/search?text={quote(f'maintainer:{maintainer}')}&size={MOST_PACKAGES}")
            names += [str(row["package"]["name"]) for row in answer["objects"]]
        for name in dict.fromkeys(names):
            try:
                told = document(world, name)
            except NotFound:
                continue
            yield from npm.packument(told, Origin("npm", name), name)
            yield from _attested(world, name, told)

    if world.npm is None:
        return
    before = len(found.facts)
    found.take("packages at npm", rows)
    if len(found.facts) > before:
        found.take("the keys by which npm's registry signatures are verified", lambda: _keys(world, found))


def _keys(world: World, found: Collected) -> Iterator[AnyFact]:
    """The keys that npm signs with. A registry may have none, and then says so."""
    assert world.npm is not None
    path = "/-/npm/v1/keys"
    keys = collect.told(world.npm.get(path), Origin("npm", path), "npm")
    if not keys:
        found.unknown.append("npm publishes no keys, so none of its registry signatures was verified")
    yield from keys


def _attested(world: World, name: str, told: dict[str, Any]) -> Iterator[AnyFact]:
    """The provenance of the newest versions that have one."""
    has = [version for version, row in told["versions"].items() if (row.get("dist") or {}).get("attestations")]
    for version in sorted(has, key=lambda v: str(told["time"].get(v, "")), reverse=True)[:MOST_PROVENANCE]:
        path = f"/-/npm/v1/attestations/{quote(name, safe='@')}@{quote(version)}"
        try:
            assert world.npm is not None
            yield from npm.attestations(world.npm.get(path), Origin("npm", path), name)
        except NotFound:
            continue  # between the two answers it was taken away


def _manifest(world: World, repository: str) -> str:
    try:
        file = world.github.get(f"{repository_path(repository)}/contents/package.json")
        found = json.loads(base64.b64decode(file["content"]))
    except (NotFound, ValueError, KeyError):
        return ""
    return str(found.get("name") or "") if isinstance(found, dict) and not found.get("private") else ""


def of_logs(world: World, since: datetime, found: Collected) -> None:
    """Logs of the window's runs, the newest first; each is unpacked when it is read."""
    runs = [run for run in of_kind(found.facts, Run) if run.until >= since and run.status == "completed"]
    for run in found.most(sorted(runs, key=lambda r: r.at, reverse=True), MOST_LOGS, "logs of runs"):
        path = f"{repository_path(run.repository)}/actions/runs/{run.id}/attempts/{run.attempt}/logs"

        def texts(run: Run = run, path: str = path) -> Iterator[Text]:
            for text in of_zip(world.github.download(path), path, run.repository, run.id, run.attempt):
                yield Text(origin=text.origin, repository=run.repository, run=run.id, attempt=run.attempt,
                           name=text.name, at=run.at, pieces=text.pieces)  # fmt: skip

        found.take(f"the log of {run.key}", texts, found.texts)


def known_secret(world: World, credential: str) -> Known:
    """The incident's own secret, where its value is held, as fingerprints under a key of this moment."""
    known = Known(os.urandom(32))
    value = world.secrets.of(credential)
    if value is not None:
        known.add(value.reveal(), value.fingerprint)
    return known


def window_start(world: World, since: str) -> datetime:
    """The first moment of exposure; without one, a day ago. In whole seconds, as providers write their times."""
    return (utc(since) if since else world.now() - timedelta(days=1)).replace(microsecond=0)

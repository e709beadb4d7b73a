"""GitHub's REST API, as it answers: runs, jobs, deployments, activity, tags, releases.

docs.github.com/rest. An answer is told by its keys, so one file may hold several, one after another.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any

from bot.signals.facts import EPOCH, AnyFact, Deployment, Fact, Job, Origin, Push, Release, Run, Tag, utc

_WRAPPED = ("workflow_runs", "jobs")
_REPOSITORY = re.compile(r"/repos/([\w.-]+/[\w.-]+)(?:/|\Z)")
_RUN = re.compile(r"/actions/runs/(\d+)")
_LISTED: tuple[tuple[str, str], ...] = (
    ("run_number", "run"), ("runner_name", "job"), ("activity_type", "push"), ("tag_name", "release"),
    ("object", "ref"), ("zipball_url", "tag"), ("environment", "deployment"),
)  # fmt: skip


def is_answer(document: Any) -> bool:
    """Whether it is an answer of these lists."""
    rows = _rows(document)
    return (bool(rows) and all(isinstance(row, dict) and _kind(row) for row in rows)) or _empty(document)


def _empty(document: Any) -> bool:
    return isinstance(document, dict) and document.get("total_count") == 0


def _rows(document: Any) -> list[Any]:
    if isinstance(document, dict):
        for name in _WRAPPED:
            if isinstance(document.get(name), list):
                return list(document[name])
        return [document]
    return document if isinstance(document, list) else []


def _kind(row: dict[str, Any]) -> str:
    return next((kind for key, kind in _LISTED if key in row), "")


def answer(document: Any, origin: Origin, repository: str) -> Iterator[Fact]:
    """The facts of an answer. ``repository`` is for rows that do not say whose they are."""
    for number, row in enumerate(_rows(document)):
        kind = _kind(row)
        if kind:
            where = Origin("github", f"{origin.where}[{number}]" if origin.where else _address(row))
            yield from _READERS[kind](row, where, _home(row, repository))


def _address(row: dict[str, Any]) -> str:
    return str(row.get("html_url") or row.get("url") or row.get("id") or "")


def _home(row: dict[str, Any], repository: str) -> str:
    named = (row.get("repository") or {}).get("full_name") if isinstance(row.get("repository"), dict) else ""
    for key in ("repository_url", "url", "run_url", "zipball_url"):
        if not named and (match := _REPOSITORY.search(str(row.get(key) or ""))):
            named = match[1]
    return str(named or repository)


def login(account: Any) -> str:
    """An account's name, '' for one that is gone."""
    return str((account or {}).get("login") or "")


def run(row: dict[str, Any], origin: Origin, repository: str) -> Iterator[Run]:
    """A run, as the newest attempt shows it."""
    ended = row.get("updated_at") or row["created_at"]
    attempt = int(row.get("run_attempt") or 1)
    started = row.get("run_started_at") if attempt > 1 else None
    yield Run(
        at=utc(started or row["created_at"]), origin=origin, repository=repository, id=int(row["id"]),
        attempt=attempt, workflow=str(row.get("path") or "").split("@")[0], event=str(row.get("event") or ""),
        branch=str(row.get("head_branch") or ""), sha=str(row.get("head_sha") or ""),
        head_repository=str((row.get("head_repository") or {}).get("full_name") or ""), actor=login(row.get("actor")),
        triggering_actor=login(row.get("triggering_actor")) or login(row.get("actor")),
        status=str(row.get("status") or ""), conclusion=str(row.get("conclusion") or ""), until=utc(ended),
    )  # fmt: skip


def job(row: dict[str, Any], origin: Origin, repository: str) -> Iterator[Job]:
    """A job. One that never started is no fact."""
    if not row.get("started_at") or row.get("conclusion") == "skipped":
        return
    yield Job(
        at=utc(row["started_at"]), origin=origin, repository=repository, run=int(row["run_id"]),
        attempt=int(row.get("run_attempt") or 1), id=int(row["id"]), name=str(row.get("name") or ""),
        until=utc(row["completed_at"]) if row.get("completed_at") else None, runner=str(row.get("runner_name") or ""),
        labels=tuple(row.get("labels") or ()), conclusion=str(row.get("conclusion") or ""),
    )  # fmt: skip


def _deployment(row: dict[str, Any], origin: Origin, repository: str) -> Iterator[Deployment]:
    told = _RUN.search(f"{row.get('log_url') or ''} {row.get('payload') or ''}")
    yield Deployment(
        at=utc(row["created_at"]), origin=origin, repository=repository, id=int(row["id"]),
        environment=str(row["environment"]), ref=str(row.get("ref") or ""), sha=str(row.get("sha") or ""),
        creator=login(row.get("creator")), run=int(told[1]) if told else 0,
    )  # fmt: skip


def _push(row: dict[str, Any], origin: Origin, repository: str) -> Iterator[Push]:
    yield Push(
        at=utc(row["timestamp"]), origin=origin, repository=repository, ref=str(row["ref"]),
        before=str(row.get("before") or ""), after=str(row.get("after") or ""), kind=str(row["activity_type"]),
        actor=login(row.get("actor")),
    )  # fmt: skip


def _ref(row: dict[str, Any], origin: Origin, repository: str) -> Iterator[Tag]:
    if str(row["ref"]).startswith("refs/tags/"):
        name, sha = str(row["ref"]).removeprefix("refs/tags/"), str(row["object"]["sha"])
        yield Tag(at=EPOCH, origin=origin, repository=repository, name=name, sha=sha)


def _tag(row: dict[str, Any], origin: Origin, repository: str) -> Iterator[Tag]:
    yield Tag(at=EPOCH, origin=origin, repository=repository, name=str(row["name"]), sha=str(row["commit"]["sha"]))


def _release(row: dict[str, Any], origin: Origin, repository: str) -> Iterator[Release]:
    if not row.get("draft"):
        at = utc(row.get("published_at") or row["created_at"])
        author = login(row.get("author"))
        yield Release(at=at, origin=origin, repository=repository, tag=str(row["tag_name"]), author=author)


_READERS: dict[str, Callable[[dict[str, Any], Origin, str], Iterator[Fact]]] = {
    "run": run, "job": job, "push": _push, "release": _release, "ref": _ref, "tag": _tag, "deployment": _deployment,
}  # fmt: skip


def with_workflows(facts: Iterable[AnyFact]) -> list[AnyFact]:
    """The same, with each job knowing the workflow of its run: GitHub's list of jobs leaves the file out."""
    rows = list(facts)
    files = {(f.repository, f.id): f.workflow for f in rows if isinstance(f, Run)}
    return [
        replace(f, workflow=files.get((f.repository, f.run), "")) if isinstance(f, Job) and not f.workflow else f
        for f in rows
    ]

"""Caches of Actions. What a run may restore: its own ref's, those of its pull request's base, the default branch's.

docs.github.com/actions/reference/workflows-and-actions/dependency-caching, "Restrictions for accessing a cache": so a
run of ``pull_request_target``, whose ref is the base branch, saves what every later run of that branch restores.
"""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import Any

from bot.range.github import shapes
from bot.range.github.http import Answer, Call, Op, not_found
from bot.range.github.nouns import Run

A = "/repos/{owner}/{repo}/actions/caches"


def _version(path: str) -> str:
    return hashlib.sha256(path.encode()).hexdigest()


def restored(run: Run, key: str, path: str, prefixes: list[str], now: datetime) -> dict[str, Any] | None:
    """The cache of this key, or the newest that begins with one of the prefixes, in the nearest scope."""
    base = [f"refs/heads/{run.pull.base_ref}"] if run.pull else []
    rows = [row for row in run.repo.caches.values() if row["version"] == _version(path)]
    for ref in dict.fromkeys([run.ref, *base, f"refs/heads/{run.repo.default_branch}"]):
        here = sorted((row for row in rows if row["ref"] == ref), key=lambda row: row["id"], reverse=True)
        found = [row for row in here if row["key"] == key]
        found += [row for prefix in prefixes for row in here if row["key"].startswith(prefix)]
        if found:
            found[0]["used"] = now
            return dict(found[0])
    return None


def save(run: Run, number: int, key: str, path: str, files: dict[str, bytes], now: datetime) -> bool:
    """Keep files under a key in the scope of the run's ref; False when there is such a cache: none is overwritten."""
    version = _version(path)
    held = run.repo.caches
    if any((row["key"], row["ref"], row["version"]) == (key, run.ref, version) for row in held.values()):
        return False
    held[number] = {
        "id": number, "key": key, "ref": run.ref, "version": version, "files": files, "at": now, "used": now,
    }  # fmt: skip
    return True


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": row["id"], "ref": row["ref"], "key": row["key"], "version": row["version"],
        "last_accessed_at": shapes.when(row["used"]), "created_at": shapes.when(row["at"]),
        "size_in_bytes": sum(map(len, row["files"].values())),
    }  # fmt: skip


def _matching(call: Call) -> list[dict[str, Any]]:
    key, ref = call.query.get("key", ""), call.query.get("ref", "")
    return [row for row in call.repo.caches.values() if row["key"].startswith(key) and ref in ("", row["ref"])]


def listed(call: Call) -> Any:
    return call.listing("actions_caches", _matching(call), _shown)


def delete_by_key(call: Call) -> Any:
    """Every cache of exactly this key; 404 when there is none."""
    rows = [row for row in _matching(call) if row["key"] == call.query.get("key")]
    if not rows:
        raise not_found()
    for row in rows:
        del call.repo.caches[row["id"]]
    return {"total_count": len(rows), "actions_caches": [_shown(row) for row in rows]}


def delete(call: Call) -> Any:
    if call.repo.caches.pop(call.number("cache_id"), None) is None:
        raise not_found()
    return Answer(204)


OPS = (
    Op(method="GET", path=A, handle=listed, needs="actions:read"),
    Op(method="DELETE", path=A, handle=delete_by_key, needs="actions:write"),
    Op(method="DELETE", path=A + "/{cache_id}", handle=delete, needs="actions:write"),
)

"""Security advisories of a repository (docs.github.com/rest/security-advisories/repository-advisories).

They are made as drafts, which only the repository's administrators see; none is ever deleted. The list has cursors, no
numbered pages.
"""

from __future__ import annotations

import secrets
from typing import Any

from bot.range.github import shapes
from bot.range.github.http import Answer, Call, Op, Problem, invalid, not_found

R = "/repos/{owner}/{repo}/security-advisories"
ECOSYSTEMS = {
    "rubygems", "npm", "pip", "maven", "nuget", "composer", "go", "rust", "erlang", "actions", "pub", "other", "swift",
}  # fmt: skip
SEVERITIES = {None, "critical", "high", "medium", "low"}
STATES = {"published", "closed", "draft"}
_LETTERS = "23456789cfghjmpqrvwx"


def _json(call: Call, row: dict[str, Any]) -> dict[str, Any]:
    url = f"{shapes.api(call.repo, call.base)}/security-advisories/{row['ghsa_id']}"
    page = f"{shapes.web(call.repo, call.base)}/security/advisories/{row['ghsa_id']}"
    return {
        **{key: row[key] for key in ("ghsa_id", "summary", "description", "severity", "state", "vulnerabilities")},
        "cve_id": None, "url": url, "html_url": page, "author": None, "publisher": None,
        "identifiers": [{"type": "GHSA", "value": row["ghsa_id"]}], "created_at": shapes.when(row["created_at"]),
        "updated_at": shapes.when(row["updated_at"]), "published_at": shapes.when(row["published_at"]),
        "closed_at": shapes.when(row["closed_at"]), "withdrawn_at": None, "submission": None,
        "cvss": {"vector_string": None, "score": None}, "cvss_severities": None, "cwe_ids": row["cwe_ids"],
        "cwes": [{"cwe_id": each, "name": each} for each in row["cwe_ids"]], "credits": [], "credits_detailed": [],
        "collaborating_users": [], "collaborating_teams": [], "private_fork": None,
    }  # fmt: skip


def _fields(body: Any, *, new: bool) -> dict[str, Any]:
    """What a body says of an advisory, checked."""
    if not isinstance(body, dict):
        raise Problem(422, "Invalid request.")
    found = {key: body[key] for key in ("summary", "description", "severity", "cwe_ids") if key in body}
    for key in ("summary", "description") if new else ():
        if not isinstance(found.get(key), str) or not found[key]:
            raise invalid("RepositoryAdvisory", key, "missing_field")
    if len(found.get("summary") or "") > 1024 or len(found.get("description") or "") > 65535:
        raise invalid("RepositoryAdvisory", "description", "invalid", "is too long")
    if found.get("severity") not in SEVERITIES:
        raise invalid("RepositoryAdvisory", "severity")
    if "vulnerabilities" in body or new:
        found["vulnerabilities"] = _rows(body.get("vulnerabilities"))
    return found


def _rows(said: Any) -> list[dict[str, Any]]:
    if not isinstance(said, list):
        raise invalid("RepositoryAdvisory", "vulnerabilities", "missing_field")
    for row in said:
        package = row.get("package") if isinstance(row, dict) else None
        if not isinstance(package, dict) or package.get("ecosystem") not in ECOSYSTEMS:
            raise invalid("RepositoryAdvisory", "vulnerabilities")
    return [
        {"package": {"ecosystem": row["package"]["ecosystem"], "name": row["package"].get("name")},
         "vulnerable_version_range": row.get("vulnerable_version_range"),
         "patched_versions": row.get("patched_versions"), "vulnerable_functions": row.get("vulnerable_functions")}
        for row in said
    ]  # fmt: skip


def _found(call: Call) -> dict[str, Any]:
    row: dict[str, Any] | None = call.repo.advisories.get(call.params["ghsa"])
    if row is None:
        raise not_found()
    return row


def listed(call: Call) -> Any:
    """Newest first; with ``state`` those of one state."""
    state = call.query.get("state")
    rows = sorted(call.repo.advisories.values(), key=lambda row: row["created_at"], reverse=True)
    size = min(int(call.query.get("per_page", 30)), 100)
    return [_json(call, row) for row in rows if state in (None, row["state"])][:size]


def made(call: Call) -> Any:
    """A new draft."""
    repo, now = call.repo, call.state.now()
    said = _fields(call.body, new=True)
    name = "GHSA-" + "-".join("".join(secrets.choice(_LETTERS) for _ in range(4)) for _ in range(3))
    row = {
        "severity": None, "cwe_ids": [], **said, "ghsa_id": name, "state": "draft",
        "created_at": now, "updated_at": now, "published_at": None, "closed_at": None,
    }  # fmt: skip
    repo.advisories[name] = row
    return Answer(201, _json(call, row))


def one(call: Call) -> Any:
    return _json(call, _found(call))


def changed(call: Call) -> Any:
    row, now = _found(call), call.state.now()
    said = _fields(call.body, new=False)
    if (state := call.body.get("state")) is not None:
        if state not in STATES:
            raise invalid("RepositoryAdvisory", "state")
        said["state"] = state
        said["closed_at" if state == "closed" else "published_at"] = now if state != "draft" else None
    row |= {**said, "updated_at": now}
    return _json(call, row)


READ, WRITE = "repository_advisories:read", "repository_advisories:write"
OPS = (
    Op(method="GET", path=R, handle=listed, needs=READ),
    Op(method="POST", path=R, handle=made, needs=WRITE),
    Op(method="GET", path=R + "/{ghsa}", handle=one, needs=READ),
    Op(method="PATCH", path=R + "/{ghsa}", handle=changed, needs=WRITE),
)

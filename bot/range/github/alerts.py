"""Secret-scanning alerts of a repository and of an organization, as docs.github.com/rest/secret-scanning says."""

from __future__ import annotations

from typing import Any

from bot.range.github import shapes
from bot.range.github.http import Call, Op, Problem, invalid, not_found
from bot.range.github.nouns import Repo

R = "/repos/{owner}/{repo}"
_RESOLUTIONS = ("false_positive", "wont_fix", "revoked", "used_in_tests")
_ALLOWED = {"state": ("open", "resolved"), "sort": ("created", "updated"), "direction": ("asc", "desc")}


def _alert(call: Call) -> dict[str, Any]:
    row = call.repo.alerts.get(call.number("alert_number"))
    if row is None:
        raise not_found()
    return row


def shown(repo: Repo, row: dict[str, Any], base: str, *, hidden: bool) -> dict[str, Any]:
    """An alert; without its value where it is ``hidden``, as in every webhook."""
    url, by = f"{shapes.api(repo, base)}/secret-scanning/alerts/{row['number']}", row["resolved_by"]
    made = {k: v for k, v in row.items() if k not in ("locations", "secret")} | {
        "url": url, "html_url": f"{shapes.web(repo, base)}/security/secret-scanning/{row['number']}",
        "locations_url": f"{url}/locations", "created_at": shapes.when(row["created_at"]),
        "updated_at": shapes.when(row["updated_at"]), "resolved_at": shapes.when(row["resolved_at"]),
        "resolved_by": shapes.account(by, base) if by else None, "push_protection_bypassed": False,
        "push_protection_bypassed_by": None, "push_protection_bypassed_at": None, "multi_repo": False,
        "is_base64_encoded": False, "has_more_locations": len(row["locations"]) > 1,
    }  # fmt: skip
    return made if hidden else made | {"secret": row["secret"]}


def _shown(call: Call, repo: Repo, row: dict[str, Any]) -> dict[str, Any]:
    return shown(repo, row, call.base, hidden=call.query.get("hide_secret", "").lower() == "true")


def _wanted(call: Call, found: list[tuple[Repo, dict[str, Any]]]) -> list[tuple[Repo, dict[str, Any]]]:
    """Filtered and sorted as asked: by creation, the newest first, unless the caller says otherwise."""
    for name, allowed in _ALLOWED.items():
        if call.query.get(name, allowed[0]) not in allowed:
            raise invalid("SecretScanningAlert", name)
    for name in ("state", "secret_type", "resolution", "validity"):
        if call.query.get(name):
            found = [one for one in found if str(one[1][name]) in call.query[name].split(",")]
    by = f"{call.query.get('sort', 'created')}_at"
    found.sort(key=lambda one: (one[1][by], one[1]["number"]), reverse=call.query.get("direction", "desc") == "desc")
    return found


def of_repository(call: Call) -> Any:
    repo = call.repo
    rows = _wanted(call, [(repo, row) for row in repo.alerts.values()])
    return [_shown(call, one, row) for one, row in call.page(rows)]


def of_organization(call: Call) -> Any:
    """The same over all repositories, each alert with its own."""
    repos = [repo for repo in call.state.repos.values() if repo.owner is call.org.account and call.can_see(repo)]
    rows = _wanted(call, [(repo, row) for repo in repos for row in repo.alerts.values()])
    return [
        _shown(call, repo, row) | {"repository": shapes.repo_small(repo, call.base)} for repo, row in call.page(rows)
    ]  # fmt: skip


def alert(call: Call) -> Any:
    return _shown(call, call.repo, _alert(call))


def change(call: Call) -> Any:
    """Resolve or reopen. 400 when nothing would change."""
    row, state = _alert(call), call.field("state")
    if state not in ("open", "resolved"):
        raise invalid("SecretScanningAlert", "state")
    resolution = call.body.get("resolution")
    if state == "resolved" and resolution not in _RESOLUTIONS:
        raise Problem(422, "resolution is required when an alert is resolved: " + ", ".join(_RESOLUTIONS))
    if row["state"] == state and (state == "open" or row["resolution"] == resolution):
        raise Problem(400, "Alert is already in this state")
    now = call.state.now()
    closed = state == "resolved"
    row |= {
        "state": state, "updated_at": now, "resolution": resolution if closed else None,
        "resolved_at": now if closed else None, "resolved_by": call.caller.account if closed else None,
        "resolution_comment": call.body.get("resolution_comment") if closed else None,
    }  # fmt: skip
    call.state.alerted(call.repo, row["number"], "resolved" if closed else "reopened")
    return _shown(call, call.repo, row)


def locations(call: Call) -> Any:
    row, repo = _alert(call), call.repo
    found = []
    for place in call.page(row["locations"]):
        commit = repo.git.resolve(place["sha"])
        entry = repo.git.files(commit).get(place["path"]) if commit else None
        blob = entry.sha if entry else "0" * 40
        found.append({"type": "commit", "details": {
            "path": place["path"], "start_line": place.get("line", 1), "end_line": place.get("line", 1),
            "start_column": 1, "end_column": place.get("column", 80), "blob_sha": blob, "commit_sha": place["sha"],
            "blob_url": f"{shapes.api(repo, call.base)}/git/blobs/{blob}",
            "commit_url": f"{shapes.api(repo, call.base)}/git/commits/{place['sha']}",
        }})  # fmt: skip
    return found


S, READ = R + "/secret-scanning/alerts", "secret_scanning_alerts:read"
OPS = (
    Op(method="GET", path=S, handle=of_repository, needs=READ),
    Op(method="GET", path=S + "/{alert_number}", handle=alert, needs=READ),
    Op(method="PATCH", path=S + "/{alert_number}", handle=change, needs="secret_scanning_alerts:write"),
    Op(method="GET", path=S + "/{alert_number}/locations", handle=locations, needs=READ),
    Op(method="GET", path="/orgs/{org}/secret-scanning/alerts", handle=of_organization, needs=READ),
)  # fmt: skip

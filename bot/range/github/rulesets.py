"""Rulesets of a repository, and what they keep people from: creating, moving and deleting refs.

docs.github.com/rest/repos/rules, and "Available rules for rulesets". Who is on the bypass list passes, an administrator
who is not does not.
"""

from __future__ import annotations

import fnmatch
from typing import Any

from bot.range.github import shapes
from bot.range.github.http import Answer, Call, Op, Problem, invalid, not_found

R = "/repos/{owner}/{repo}"
ENFORCED, TARGETS = "active", {"branch": "refs/heads/", "tag": "refs/tags/"}
_LEVELS, _ACTORS = ("active", "disabled", "evaluate"), {"Integration", "User", "OrganizationAdmin", "RepositoryRole"}
_RULES = {"creation", "update", "deletion", "non_fast_forward"}
_SAID = "Repository rule violations found\n\nCannot {verb} this protected ref.\n\n"


def _brief(call: Call, row: dict[str, Any]) -> dict[str, Any]:
    url = f"{shapes.api(call.repo, call.base)}/rulesets/{row['id']}"
    return {
        "id": row["id"], "name": row["name"], "target": row["target"], "source_type": "Repository",
        "source": call.repo.full_name, "enforcement": row["enforcement"], "node_id": shapes.node("RRS", row["id"]),
        "_links": {"self": {"href": url}, "html": {"href": f"{shapes.web(call.repo, call.base)}/rules/{row['id']}"}},
        "created_at": shapes.when(row["at"]), "updated_at": shapes.when(row["changed"]),
    }  # fmt: skip


def _whole(call: Call, row: dict[str, Any]) -> dict[str, Any]:
    parts = {name: row[name] for name in ("bypass_actors", "conditions", "rules")}
    return _brief(call, row) | parts | {"current_user_can_bypass": "always" if _bypasses(call, row) else "never"}


def rulesets(call: Call) -> Any:
    return [_brief(call, row) for row in call.page(call.repo.rulesets.values())]


def _row(call: Call) -> dict[str, Any]:
    found = call.repo.rulesets.get(call.number("ruleset_id"))
    if found is None:
        raise not_found()
    return found


def ruleset(call: Call) -> Any:
    return _whole(call, _row(call))


def create(call: Call) -> Any:
    """A second one of the same name is refused."""
    name, level = call.field("name"), call.field("enforcement")
    target = call.body.get("target", "branch")
    rules, actors = call.body.get("rules", []), call.body.get("bypass_actors", [])
    if level not in _LEVELS or target not in TARGETS:
        raise invalid("Ruleset", "enforcement" if level not in _LEVELS else "target")
    if any(rule.get("type") not in _RULES for rule in rules) or any(a.get("actor_type") not in _ACTORS for a in actors):
        raise invalid("Ruleset", "rules")
    if any(row["name"] == name for row in call.repo.rulesets.values()):
        raise Problem(422, "Validation Failed", errors=["Name must be unique"])
    number, now = call.state.next_id(), call.state.now()
    row = {
        "id": number, "name": name, "target": target, "enforcement": level, "bypass_actors": actors, "rules": rules,
        "conditions": call.body.get("conditions") or {"ref_name": {"include": [], "exclude": []}}, "at": now,
        "changed": now,
    }  # fmt: skip
    call.repo.rulesets[number] = row
    return Answer(201, _whole(call, row))


def change(call: Call) -> Any:
    row, body = _row(call), call.body if isinstance(call.body, dict) else {}
    if body.get("enforcement", row["enforcement"]) not in _LEVELS:
        raise invalid("Ruleset", "enforcement")
    kept = ("name", "enforcement", "bypass_actors", "rules", "conditions")
    row |= {name: body[name] for name in kept if name in body} | {"changed": call.state.now()}
    return _whole(call, row)


def delete(call: Call) -> Any:
    del call.repo.rulesets[_row(call)["id"]]
    return Answer(204)


def _bypasses(call: Call, row: dict[str, Any]) -> bool:
    account, token = call.caller.account, call.caller.token
    app = token.installation.app.id if token and token.installation else 0
    names = {("User", account.id if account else 0), ("Integration", app)}
    return any((actor["actor_type"], actor["actor_id"]) in names for actor in row["bypass_actors"])


def guard(call: Call, ref: str, verb: str, *, forward: bool = True, status: int = 422) -> None:
    """Raise unless the caller may ``creation``, ``update`` or ``deletion`` a ref. ``status`` is the endpoint's own."""
    kinds = {verb} | (set() if forward else {"non_fast_forward"})
    for row in call.repo.rulesets.values():
        if row["enforcement"] != ENFORCED or not ref.startswith(TARGETS[row["target"]]) or _bypasses(call, row):
            continue
        names = row["conditions"]["ref_name"]
        if not _covers(call, names["include"], ref) or _covers(call, names["exclude"], ref):
            continue
        if kinds & {rule["type"] for rule in row["rules"]}:
            said = {"creation": "create", "deletion": "delete"}.get(verb, "update")
            raise Problem(status, _SAID.format(verb=said))


def _covers(call: Call, patterns: list[str], ref: str) -> bool:
    default = f"refs/heads/{call.repo.default_branch}"
    return any(p == "~ALL" or (p == "~DEFAULT_BRANCH" and ref == default) or fnmatch.fnmatchcase(ref, p)
               for p in patterns)  # fmt: skip


ADMIN_R, ADMIN_W = "metadata:read", "administration:write"
OPS = (
    Op(method="GET", path=R + "/rulesets", handle=rulesets, needs=ADMIN_R),
    Op(method="POST", path=R + "/rulesets", handle=create, needs=ADMIN_W),
    Op(method="GET", path=R + "/rulesets/{ruleset_id}", handle=ruleset, needs=ADMIN_R),
    Op(method="PUT", path=R + "/rulesets/{ruleset_id}", handle=change, needs=ADMIN_W),
    Op(method="DELETE", path=R + "/rulesets/{ruleset_id}", handle=delete, needs=ADMIN_W),
)

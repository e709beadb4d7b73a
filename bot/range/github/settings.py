"""What administrators set: Actions policy, token default, OIDC subject, environments, deploy keys."""

from __future__ import annotations

from typing import Any

from bot.range import runner as rules
from bot.range.github import shapes
from bot.range.github.http import Answer, Call, Op, Problem, invalid, not_found
from bot.range.github.nouns import Environment

R = "/repos/{owner}/{repo}"
_APPROVALS = ("first_time_contributors_new_to_github", "first_time_contributors", "all_external_contributors")


def actions_policy(call: Call) -> Any:
    policy = dict(call.repo.actions)
    if not policy["enabled"]:
        return {"enabled": False, "sha_pinning_required": policy["sha_pinning_required"]}
    if policy["allowed_actions"] == "selected":
        policy["selected_actions_url"] = f"{shapes.api(call.repo, call.base)}/actions/permissions/selected-actions"
    return policy


def set_actions_policy(call: Call) -> Any:
    policy = {"enabled": call.field("enabled", bool)}
    allowed = call.body.get("allowed_actions", call.repo.actions["allowed_actions"])
    if allowed not in ("all", "local_only", "selected"):
        raise invalid("Repository", "allowed_actions")
    pinned = bool(call.body.get("sha_pinning_required", call.repo.actions["sha_pinning_required"]))
    call.repo.actions = policy | {"allowed_actions": allowed, "sha_pinning_required": pinned}
    return Answer(204)


def selected_actions(call: Call) -> Any:
    _when_selected(call)
    return call.repo.selected_actions


def set_selected_actions(call: Call) -> Any:
    _when_selected(call)
    body = call.body if isinstance(call.body, dict) else {}
    call.repo.selected_actions |= {k: body[k] for k in call.repo.selected_actions if k in body}
    return Answer(204)


def _when_selected(call: Call) -> None:
    if call.repo.actions["allowed_actions"] != "selected":
        raise Problem(409, "Conflict: the repository's allowed_actions is not selected")


def token_default(call: Call) -> Any:
    return call.repo.token_default


def set_token_default(call: Call) -> Any:
    body = call.body if isinstance(call.body, dict) else {}
    level = body.get("default_workflow_permissions", call.repo.token_default["default_workflow_permissions"])
    if level not in ("read", "write"):
        raise invalid("Repository", "default_workflow_permissions")
    may = body.get("can_approve_pull_request_reviews", call.repo.token_default["can_approve_pull_request_reviews"])
    call.repo.token_default = {"default_workflow_permissions": level, "can_approve_pull_request_reviews": bool(may)}
    return Answer(204)


def fork_approval(call: Call) -> Any:
    return {"approval_policy": call.repo.fork_approval}


def set_fork_approval(call: Call) -> Any:
    policy = call.field("approval_policy")
    if policy not in _APPROVALS:
        raise invalid("Repository", "approval_policy")
    call.repo.fork_approval = policy
    return Answer(204)


def subject(call: Call) -> Any:
    return {**call.repo.subject, "sub_claim_prefix": rules.subject_prefix(call.repo)}


def set_subject(call: Call) -> Any:
    body: dict[str, Any] = {"use_default": call.field("use_default", bool)}
    keys = call.body.get("include_claim_keys")
    if keys is not None:
        if not isinstance(keys, list) or not all(str(k).replace("_", "").isalnum() for k in keys):
            raise Problem(400, "include_claim_keys may hold letters, digits and underscores only")
        body["include_claim_keys"] = keys
    immutable = call.body.get("use_immutable_subject", call.repo.subject["use_immutable_subject"])
    call.repo.subject = body | {"use_immutable_subject": bool(immutable)}
    return Answer(201, {})


def _environment_json(call: Call, e: Environment) -> dict[str, Any]:
    url = f"{shapes.api(call.repo, call.base)}/environments/{e.name}"
    protected = None if e.branches is None else {"protected_branches": False, "custom_branch_policies": True}
    found: list[dict[str, Any]] = [] if e.branches is None else [
        {"id": e.id + 1, "node_id": shapes.node("GA", e.id + 1), "type": "branch_policy"}
    ]  # fmt: skip
    if e.reviewers:
        people = [{"type": "User", "reviewer": shapes.account(call.state.accounts[who], call.base)}
                  for who in e.reviewers]  # fmt: skip
        rule = {"id": e.id, "node_id": shapes.node("GA", e.id), "type": "required_reviewers"}
        found.append(rule | {"prevent_self_review": False, "reviewers": people})
    return {
        "id": e.id, "node_id": shapes.node("EN", e.id), "name": e.name, "url": url, "html_url": f"{call.base}/{e.name}",
        "created_at": shapes.when(e.created_at), "updated_at": shapes.when(e.created_at), "protection_rules": found,
        "deployment_branch_policy": protected,
    }  # fmt: skip


def _environment(call: Call) -> Environment:
    try:
        return call.repo.environments[call.params["environment_name"]]
    except KeyError:
        raise not_found() from None


def environments(call: Call) -> Any:
    rows = sorted(call.repo.environments.values(), key=lambda e: e.name)
    return call.listing("environments", rows, lambda e: _environment_json(call, e))


def environment(call: Call) -> Any:
    return _environment_json(call, _environment(call))


def branch_policies(call: Call) -> Any:
    found = _environment(call)
    rows = list(enumerate(found.branches or (), found.id + 2))
    return call.listing("branch_policies", rows, lambda row: {
        "id": row[0], "node_id": shapes.node("GA", row[0]), "name": row[1], "type": "branch"
    })  # fmt: skip


def _key_json(call: Call, row: dict[str, Any]) -> dict[str, Any]:
    url = f"{shapes.api(call.repo, call.base)}/keys/{row['id']}"
    return {
        "id": row["id"], "key": row["key"], "url": url, "title": row["title"], "verified": True,
        "created_at": shapes.when(row["at"]), "read_only": row["read_only"], "added_by": row["by"], "last_used": None,
        "enabled": True,
    }  # fmt: skip


def keys(call: Call) -> Any:
    return [_key_json(call, row) for row in call.page(call.repo.keys.values())]


def key(call: Call) -> Any:
    row = call.repo.keys.get(call.number("key_id"))
    if row is None:
        raise not_found()
    if call.method == "DELETE":
        del call.repo.keys[row["id"]]
        return Answer(204)
    return _key_json(call, row)


def add_key(call: Call) -> Any:
    text = call.field("key").strip()
    if not text.startswith(("ssh-", "ecdsa-", "sk-")):
        raise invalid(
            "PublicKey", "key", "custom", "key is invalid. You must supply a key in OpenSSH public key format"
        )
    body = " ".join(text.split()[:2])
    if any(row["key"] == body for repo in call.state.repos.values() for row in repo.keys.values()):
        raise invalid("PublicKey", "key", "custom", "key is already in use")
    assert call.caller.account is not None
    number = call.state.next_id()
    row = {
        "id": number, "key": body, "title": call.body.get("title") or "deploy key", "at": call.state.now(),
        "read_only": bool(call.body.get("read_only", False)), "by": call.caller.account.login,
    }  # fmt: skip
    call.repo.keys[number] = row
    return Answer(201, _key_json(call, row))


def org_policy(call: Call) -> Any:
    policy = dict(call.org.actions)
    if policy["allowed_actions"] == "selected":
        policy["selected_actions_url"] = f"{call.base}{call.path}/selected-actions"
    return policy


def set_org_policy(call: Call) -> Any:
    held, body = call.org.actions, call.body if isinstance(call.body, dict) else {}
    where, allowed = call.field("enabled_repositories"), body.get("allowed_actions", held["allowed_actions"])
    if where not in ("all", "none", "selected") or allowed not in ("all", "local_only", "selected"):
        raise invalid("Organization", "allowed_actions")
    pinned = bool(body.get("sha_pinning_required", held["sha_pinning_required"]))
    call.org.actions = {"enabled_repositories": where, "allowed_actions": allowed, "sha_pinning_required": pinned}
    return Answer(204)


def org_selected(call: Call) -> Any:
    if call.org.actions["allowed_actions"] != "selected":
        raise Problem(409, "Conflict: the organization's allowed_actions is not selected")
    if call.method == "PUT":
        body = call.body if isinstance(call.body, dict) else {}
        call.org.selected_actions |= {k: body[k] for k in call.org.selected_actions if k in body}
        return Answer(204)
    return call.org.selected_actions


P, OP = R + "/actions/permissions", "/orgs/{org}/actions/permissions"
ADMIN_R, ADMIN_W = "administration:read", "administration:write"
ORG_R, ORG_W = "organization_administration:read", "organization_administration:write"
OPS = (
    Op(method="GET", path=OP, handle=org_policy, needs=ORG_R),
    Op(method="PUT", path=OP, handle=set_org_policy, needs=ORG_W),
    Op(method="GET", path=OP + "/selected-actions", handle=org_selected, needs=ORG_R),
    Op(method="PUT", path=OP + "/selected-actions", handle=org_selected, needs=ORG_W),
    Op(method="GET", path=P, handle=actions_policy, needs=ADMIN_R),
    Op(method="PUT", path=P, handle=set_actions_policy, needs=ADMIN_W),
    Op(method="GET", path=P + "/selected-actions", handle=selected_actions, needs=ADMIN_R),
    Op(method="PUT", path=P + "/selected-actions", handle=set_selected_actions, needs=ADMIN_W),
    Op(method="GET", path=P + "/workflow", handle=token_default, needs=ADMIN_R),
    Op(method="PUT", path=P + "/workflow", handle=set_token_default, needs=ADMIN_W),
    Op(method="GET", path=P + "/fork-pr-contributor-approval", handle=fork_approval, needs=ADMIN_R),
    Op(method="PUT", path=P + "/fork-pr-contributor-approval", handle=set_fork_approval, needs=ADMIN_W),
    Op(method="GET", path=R + "/actions/oidc/customization/sub", handle=subject, needs="actions:read"),
    Op(method="PUT", path=R + "/actions/oidc/customization/sub", handle=set_subject, needs="actions:write"),
    Op(method="GET", path=R + "/environments", handle=environments, needs="actions:read"),
    Op(method="GET", path=R + "/environments/{environment_name}", handle=environment, needs="actions:read"),
    Op(method="GET", path=R + "/environments/{environment_name}/deployment-branch-policies", handle=branch_policies,
       needs="actions:read"),
    Op(method="GET", path=R + "/keys", handle=keys, needs=ADMIN_R),
    Op(method="POST", path=R + "/keys", handle=add_key, needs=ADMIN_W),
    Op(method="GET", path=R + "/keys/{key_id}", handle=key, needs=ADMIN_R),
    Op(method="DELETE", path=R + "/keys/{key_id}", handle=key, needs=ADMIN_W),
)  # fmt: skip

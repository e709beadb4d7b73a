"""Repositories and what git holds: contents, branches, commits, refs, trees, collaborators, activity."""

from __future__ import annotations

import base64
import binascii
from datetime import UTC, datetime
from typing import Any

from bot.range.github import rulesets, shapes
from bot.range.github.git import FILE, Commit, Entry, Person
from bot.range.github.http import Answer, Call, Op, Problem, invalid, not_found
from bot.range.github.nouns import ROLES, Account

R = "/repos/{owner}/{repo}"
WORKFLOWS = ".github/workflows/"


def _commit(call: Call, ref: str) -> Commit:
    found = call.repo.git.resolve(ref)
    if found is None:
        raise Problem(422, f"No commit found for SHA: {ref}")
    return found


def _tip(call: Call) -> Commit:
    ref = call.query.get("ref") or call.repo.default_branch
    found = call.repo.git.resolve(ref)
    if found is None:
        raise Problem(404, f"No commit found for the ref {ref}")
    return found


def repository(call: Call) -> Any:
    return shapes.repository(call.state, call.repo, call.base, call.caller.account)


def branches(call: Call) -> Any:
    repo, rows = call.repo, []
    for name in sorted(repo.git.refs):
        if name.startswith("refs/heads/"):
            sha = repo.git.refs[name]
            rows.append({
                "name": name[11:], "protected": False,
                "commit": {"sha": sha, "url": f"{shapes.api(repo, call.base)}/commits/{sha}"},
            })  # fmt: skip
    return call.page(rows)


def branch(call: Call) -> Any:
    repo, name = call.repo, call.params["branch"]
    sha = repo.git.refs.get(f"refs/heads/{name}")
    if sha is None:
        raise Problem(404, "Branch not found")
    url = f"{shapes.api(repo, call.base)}/branches/{name}"
    return {
        "name": name, "commit": shapes.commit(call.state, repo, repo.git.commits[sha], call.base), "protected": False,
        "_links": {"self": url, "html": f"{shapes.web(repo, call.base)}/tree/{name}"},
        "protection": {"enabled": False}, "protection_url": f"{url}/protection",
    }  # fmt: skip


def contents(call: Call) -> Any:
    repo, path = call.repo, call.params.get("path", "").strip("/")
    ref = call.query.get("ref") or repo.default_branch
    commit = _tip(call)
    raw = "raw" in call.accept
    entries = repo.git.files(commit)
    if path in entries:
        data = repo.git.blobs[entries[path].sha]
        kind = {"content-type": "application/vnd.github.raw+json; charset=utf-8"}
        return Answer(200, data, kind) if raw else shapes.content(repo, path, entries[path].sha, ref, call.base)
    prefix = f"{path}/" if path else ""
    tree = repo.git.trees[commit.tree]
    for part in path.split("/") if path else []:
        if part not in tree or tree[part].kind != "tree":
            raise not_found()
        tree = repo.git.trees[tree[part].sha]
    return [shapes.content(repo, prefix + name, e.sha, ref, call.base, body=False) for name, e in tree.items()]


def _author(call: Call, account: Account) -> Person:
    given = call.body.get("author") or call.body.get("committer") or {}
    mail = f"{account.id}+{account.login}@users.noreply.github.com"
    return Person(given.get("name") or account.name or account.login, given.get("email") or mail, account.login)


def write_contents(call: Call) -> Any:
    """Create, change (``sha`` of what is there is required) or delete one file: one commit on a branch."""
    repo, path, message = call.repo, call.params["path"], call.field("message")
    name = call.body.get("branch") or repo.default_branch
    if path.startswith(WORKFLOWS):
        call.require("workflows:write")
    tip = repo.git.resolve(f"refs/heads/{name}")
    if tip is None:
        raise Problem(404, f"Branch {name} not found")
    rulesets.guard(call, f"refs/heads/{name}", "update", status=409)
    entries = repo.git.files(tip)
    old = entries.get(path)
    given = call.body.get("sha")
    if old is None and (given or call.method == "DELETE"):
        raise not_found() if call.method == "DELETE" else Problem(409, f"{path} does not match {given}")
    if old is not None and not given:
        raise Problem(422, 'Invalid request.\n\n"sha" wasn\'t supplied.')
    if old is not None and given != old.sha:
        raise Problem(409, f"{path} does not match {given}")
    if call.method == "DELETE":
        del entries[path]
    else:
        try:
            data = base64.b64decode("".join(call.field("content").split()), validate=True)
        except binascii.Error:
            raise Problem(422, "content is not valid Base64") from None
        entries[path] = Entry(old.mode if old else FILE, repo.git.put_blob(data))
    account = call.caller.account
    assert account is not None
    made = repo.git.commit(repo.git.put_tree(entries), (tip.sha,), message, _author(call, account), call.state.now())
    call.state.move_ref(repo, f"refs/heads/{name}", made.sha, account, runs=call.caller.kind != "job")
    shown = (
        None if call.method == "DELETE" else shapes.content(repo, path, entries[path].sha, name, call.base, body=False)
    )
    return Answer(200 if old else 201, {"content": shown, "commit": shapes.git_commit(repo, made, call.base)})


def commits(call: Call) -> Any:
    repo, q = call.repo, call.query
    start = repo.git.resolve(q.get("sha") or repo.default_branch)
    if start is None:
        raise not_found()
    rows = repo.git.log(start, q.get("path", "").strip("/"))
    if q.get("author"):
        rows = [c for c in rows if q["author"] in (c.author.login, c.author.email)]
    for name, keep in (("since", 1), ("until", -1)):
        if q.get(name):
            bound = _time(q[name])
            rows = [c for c in rows if (c.at >= bound if keep == 1 else c.at <= bound)]
    return [shapes.commit(call.state, repo, c, call.base) for c in call.page(rows)]


def _time(value: str) -> datetime:
    try:
        found = datetime.fromisoformat(value)
    except ValueError:
        raise Problem(422, f"Invalid time {value!r}") from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def commit(call: Call) -> Any:
    return shapes.commit(call.state, call.repo, _commit(call, call.params["ref"]), call.base, files=True)


def _ref_json(call: Call, name: str) -> dict[str, Any]:
    repo = call.repo
    sha = repo.git.refs[name]
    return {
        "ref": name, "node_id": shapes.node("REF", name), "url": f"{shapes.api(repo, call.base)}/git/{name}",
        "object": {"type": "commit", "sha": sha, "url": f"{shapes.api(repo, call.base)}/git/commits/{sha}"},
    }  # fmt: skip


def ref(call: Call) -> Any:
    name = f"refs/{call.params['ref']}"
    if name not in call.repo.git.refs:
        raise not_found()
    return _ref_json(call, name)


def matching_refs(call: Call) -> Any:
    start = f"refs/{call.params['ref']}"
    return [_ref_json(call, name) for name in call.page(n for n in sorted(call.repo.git.refs) if n.startswith(start))]


def create_ref(call: Call) -> Any:
    name, sha, repo = call.field("ref"), call.field("sha"), call.repo
    if not name.startswith("refs/") or name.count("/") < 2:
        raise Problem(422, "Reference name must start with 'refs/' and have at least two slashes.")
    if name in repo.git.refs:
        raise Problem(422, "Reference already exists")
    if sha not in repo.git.commits:
        raise Problem(422, "Object does not exist")
    rulesets.guard(call, name, "creation")
    _guard_workflows(call, sha)
    assert call.caller.account is not None
    call.state.move_ref(repo, name, sha, call.caller.account, runs=call.caller.kind != "job")
    return Answer(201, _ref_json(call, name))


def update_ref(call: Call) -> Any:
    name, sha, repo = f"refs/{call.params['ref']}", call.field("sha"), call.repo
    if name not in repo.git.refs:
        raise Problem(422, "Reference does not exist")
    if sha not in repo.git.commits:
        raise Problem(422, "Object does not exist")
    forward = repo.git.refs[name] in {c.sha for c in repo.git.log(repo.git.commits[sha])}
    if not forward and not call.body.get("force"):
        raise Problem(422, "Update is not a fast forward")
    rulesets.guard(call, name, "update", forward=forward)
    _guard_workflows(call, sha)
    assert call.caller.account is not None
    call.state.move_ref(repo, name, sha, call.caller.account, runs=call.caller.kind != "job")
    return _ref_json(call, name)


def _guard_workflows(call: Call, sha: str) -> None:
    """Commits that are new here and change a workflow file need workflows:write besides contents:write."""
    git = call.repo.git
    known = {c.sha for tip in git.refs.values() for c in git.log(git.commits[tip])}
    fresh = [c for c in git.log(git.commits[sha]) if c.sha not in known]
    if any(change.path.startswith(WORKFLOWS) for c in fresh for change in git.changes(c)):
        call.require("workflows:write")


def delete_ref(call: Call) -> Any:
    name = f"refs/{call.params['ref']}"
    if name not in call.repo.git.refs:
        raise Problem(422, "Reference does not exist")
    rulesets.guard(call, name, "deletion")
    before = call.repo.git.refs.pop(name)
    call.repo.activity.append({
        "id": call.state.next_id(), "before": before, "after": "0" * 40, "ref": name, "at": call.state.now(),
        "kind": "branch_deletion", "actor": call.caller.account,
    })  # fmt: skip
    return Answer(204)


def git_commit(call: Call) -> Any:
    found = call.repo.git.commits.get(call.params["sha"])
    if found is None:
        raise not_found()
    return shapes.git_commit(call.repo, found, call.base)


def create_commit(call: Call) -> Any:
    repo, tree = call.repo, call.field("tree")
    parents = tuple(call.body.get("parents") or ())
    if tree not in repo.git.trees or any(p not in repo.git.commits for p in parents):
        raise Problem(422, "Tree SHA does not exist" if tree not in repo.git.trees else "Parent SHA does not exist")
    account = call.caller.account
    assert account is not None
    made = repo.git.commit(tree, parents, call.field("message"), _author(call, account), call.state.now())
    return Answer(201, shapes.git_commit(repo, made, call.base))


def tree(call: Call) -> Any:
    repo, name = call.repo, call.params["sha"]
    at = repo.git.resolve(name)
    sha = at.tree if at else name
    if sha not in repo.git.trees:
        raise not_found()
    deep = call.query.get("recursive") not in (None, "", "0", "false")
    return _tree_json(call, sha, _below(call, sha, "") if deep else list(repo.git.trees[sha].items()))


def _below(call: Call, sha: str, prefix: str) -> list[tuple[str, Entry]]:
    rows: list[tuple[str, Entry]] = []
    for name, entry in call.repo.git.trees[sha].items():
        rows.append((prefix + name, entry))
        if entry.kind == "tree":
            rows += _below(call, entry.sha, f"{prefix}{name}/")
    return rows


def _tree_json(call: Call, sha: str, rows: list[tuple[str, Entry]]) -> dict[str, Any]:
    repo = call.repo
    shown = [shapes.tree_row(repo.git, path, e.mode, e.sha, e.kind, repo, call.base) for path, e in rows]
    return {"sha": sha, "url": f"{shapes.api(repo, call.base)}/git/trees/{sha}", "tree": shown, "truncated": False}


def create_tree(call: Call) -> Any:
    repo = call.repo
    base = call.body.get("base_tree", "") if isinstance(call.body, dict) else ""
    base = repo.git.commits[base].tree if base in repo.git.commits else base
    files = repo.git.flatten(base) if base in repo.git.trees else {}
    for row in call.field("tree", list):
        if row.get("sha", "") is None:
            files.pop(row["path"], None)
            continue
        sha = row["sha"] if row.get("sha") else repo.git.put_blob(str(row.get("content", "")).encode())
        if sha not in repo.git.blobs:
            raise Problem(422, "tree.sha is not a blob of this repository")
        files[row["path"]] = Entry(row.get("mode", FILE), sha)
    made = repo.git.put_tree(files)
    return Answer(201, _tree_json(call, made, list(repo.git.trees[made].items())))


def blob(call: Call) -> Any:
    repo, sha = call.repo, call.params["sha"]
    if sha not in repo.git.blobs:
        raise not_found()
    data = repo.git.blobs[sha]
    return {
        "sha": sha, "node_id": shapes.node("B", sha), "size": len(data), "encoding": "base64",
        "url": f"{shapes.api(repo, call.base)}/git/blobs/{sha}", "content": base64.encodebytes(data).decode(),
    }  # fmt: skip


def create_blob(call: Call) -> Any:
    data = call.field("content")
    raw = base64.b64decode(data) if call.body.get("encoding") == "base64" else data.encode()
    sha = call.repo.git.put_blob(raw)
    return Answer(201, {"sha": sha, "url": f"{shapes.api(call.repo, call.base)}/git/blobs/{sha}"})


def _collaborator_role(call: Call, login: str) -> str:
    """Somebody's role, told only to those who may push."""
    if call.caller.token is None:
        raise Problem(401, "Requires authentication")
    if call.caller.kind in ("classic", "fine") and call.state.role(call.caller.account, call.repo) in ("none", "read"):
        raise Problem(403, "Must have push access to view repository collaborators.")
    account = call.state.accounts.get(login)
    if account is None:
        raise not_found()
    return call.state.role(account, call.repo)


def _permissions(role: str) -> dict[str, bool]:
    rank = ROLES.index(role)
    names = {"pull": "read", "triage": "triage", "push": "write", "maintain": "maintain", "admin": "admin"}
    return {name: rank >= ROLES.index(level) for name, level in names.items()}


def collaborators(call: Call) -> Any:
    repo, org = call.repo, call.state.orgs.get(call.repo.owner.login)
    logins = set(repo.collaborators)
    if call.query.get("affiliation", "all") == "all":
        logins |= set(org.members) if org else {repo.owner.login}
    shown = []
    for login in call.page(sorted(logins)):
        role = _collaborator_role(call, login)
        shown.append(shapes.account(call.state.accounts[login], call.base)
                     | {"role_name": role, "permissions": _permissions(role)})  # fmt: skip
    return shown


def is_collaborator(call: Call) -> Any:
    if ROLES.index(_collaborator_role(call, call.params["username"])) <= ROLES.index("read"):
        raise not_found()
    return Answer(204)


def permission(call: Call) -> Any:
    role = _collaborator_role(call, call.params["username"])
    plain = {"maintain": "write", "triage": "read"}.get(role, role)
    account = shapes.account(call.state.accounts[call.params["username"]], call.base)
    return {"permission": plain, "role_name": role,
            "user": account | {"permissions": _permissions(role), "role_name": role}}  # fmt: skip


def activity(call: Call) -> Any:
    rows = list(reversed(call.repo.activity))
    for name, key in (("ref", "ref"), ("activity_type", "kind")):
        if call.query.get(name):
            wanted = call.query[name].removeprefix("refs/heads/")
            rows = [row for row in rows if row[key].removeprefix("refs/heads/") == wanted]
    if call.query.get("actor"):
        rows = [row for row in rows if row["actor"].login == call.query["actor"]]
    return [
        {"id": row["id"], "node_id": shapes.node("PSH", row["id"]), "before": row["before"], "after": row["after"],
         "ref": row["ref"], "timestamp": shapes.when(row["at"]), "activity_type": row["kind"],
         "actor": shapes.account(row["actor"], call.base)}
        for row in call.page(rows)
    ]  # fmt: skip


def fork(call: Call) -> Any:
    account = call.caller.account
    assert account is not None
    if call.caller.kind in ("installation", "job") or account is call.repo.owner:
        raise invalid("Repository", "owner")
    name = f"{account.login}/{call.repo.name}"
    made = call.state.repos.get(name) or call.state.add_repo(name, fork_of=call.repo.full_name)
    return Answer(202, shapes.repository(call.state, made, call.base, account))


OPS = (
    Op(method="GET", path=R, handle=repository),
    Op(method="POST", path=R + "/forks", handle=fork, needs="user"),
    Op(method="GET", path=R + "/branches", handle=branches, needs="contents:read"),
    Op(method="GET", path=R + "/branches/{branch:path}", handle=branch, needs="contents:read"),
    Op(method="GET", path=R + "/contents", handle=contents, needs="contents:read"),
    Op(method="GET", path=R + "/contents/{path:path}", handle=contents, needs="contents:read"),
    Op(method="PUT", path=R + "/contents/{path:path}", handle=write_contents, needs="contents:write"),
    Op(method="DELETE", path=R + "/contents/{path:path}", handle=write_contents, needs="contents:write"),
    Op(method="GET", path=R + "/commits", handle=commits, needs="contents:read"),
    Op(method="GET", path=R + "/commits/{ref:path}", handle=commit, needs="contents:read"),
    Op(method="GET", path=R + "/git/ref/{ref:path}", handle=ref, needs="contents:read"),
    Op(method="GET", path=R + "/git/matching-refs/{ref:path}", handle=matching_refs, needs="contents:read"),
    Op(method="POST", path=R + "/git/refs", handle=create_ref, needs="contents:write"),
    Op(method="PATCH", path=R + "/git/refs/{ref:path}", handle=update_ref, needs="contents:write"),
    Op(method="DELETE", path=R + "/git/refs/{ref:path}", handle=delete_ref, needs="contents:write"),
    Op(method="GET", path=R + "/git/commits/{sha}", handle=git_commit, needs="contents:read"),
    Op(method="POST", path=R + "/git/commits", handle=create_commit, needs="contents:write"),
    Op(method="GET", path=R + "/git/trees/{sha}", handle=tree, needs="contents:read"),
    Op(method="POST", path=R + "/git/trees", handle=create_tree, needs="contents:write"),
    Op(method="GET", path=R + "/git/blobs/{sha}", handle=blob, needs="contents:read"),
    Op(method="POST", path=R + "/git/blobs", handle=create_blob, needs="contents:write"),
    Op(method="GET", path=R + "/collaborators", handle=collaborators),
    Op(method="GET", path=R + "/collaborators/{username}", handle=is_collaborator),
    Op(method="GET", path=R + "/collaborators/{username}/permission", handle=permission),
    Op(method="GET", path=R + "/activity", handle=activity, needs="contents:read"),
)

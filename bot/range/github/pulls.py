"""Pull requests and issues, as far as the range needs them."""

from __future__ import annotations

from typing import Any

from bot.range.github import rulesets, shapes
from bot.range.github.git import Person
from bot.range.github.http import Answer, Call, Op, Problem, invalid, not_found
from bot.range.github.nouns import TARGET, Account, Pull, Repo

R = "/repos/{owner}/{repo}"


def pull_json(call: Call, p: Pull, *, full: bool = False) -> dict[str, Any]:
    repo, base = call.repo, call.base
    url, page = f"{shapes.api(repo, base)}/pulls/{p.number}", f"{shapes.web(repo, base)}/pull/{p.number}"
    issue = f"{shapes.api(repo, base)}/issues/{p.number}"
    statuses = f"{shapes.api(repo, base)}/statuses/{p.head_sha}"
    links = {
        "self": url, "html": page, "issue": issue, "comments": f"{issue}/comments", "statuses": statuses,
        "review_comments": f"{url}/comments", "review_comment": f"{url}/comments{{/number}}",
        "commits": f"{url}/commits",
    }  # fmt: skip
    shown: dict[str, Any] = {
        "url": url, "id": p.id, "node_id": shapes.node("PR", p.id), "html_url": page, "diff_url": f"{page}.diff",
        "patch_url": f"{page}.patch", "issue_url": issue, "number": p.number, "state": p.state, "locked": False,
        "title": p.title, "user": shapes.account(p.author, base), "body": p.body or None, "labels": [],
        "milestone": None, "created_at": shapes.when(p.created_at), "updated_at": shapes.when(p.created_at),
        "closed_at": None, "merged_at": shapes.when(p.merged_at),
        "merge_commit_sha": p.merge_sha or None, "assignee": None, "assignees": [],
        "requested_reviewers": [], "requested_teams": [], "auto_merge": None, "draft": False,
        "author_association": _association(call, p.author), "active_lock_reason": None,
        "commits_url": links["commits"], "review_comments_url": links["review_comments"],
        "review_comment_url": links["review_comment"], "comments_url": links["comments"], "statuses_url": statuses,
        "head": _side(call, p.head_repo, p.head_ref, p.head_sha), "base": _side(call, repo, p.base_ref, p.base_sha),
        "_links": {name: {"href": link} for name, link in links.items()},
    }  # fmt: skip
    if full:
        changed = p.head_repo.git.changes(p.head_repo.git.commits[p.head_sha])
        shown |= {
            "merged": p.merged_at is not None, "mergeable": True, "rebaseable": True, "mergeable_state": "clean",
            "merged_by": shapes.account(p.merged_by, call.base) if p.merged_by else None,
            "comments": 0, "review_comments": 0, "maintainer_can_modify": p.head_repo is not repo, "commits": 1,
            "additions": 0, "deletions": 0, "changed_files": len(changed),
        }  # fmt: skip
    return shown


def _side(call: Call, repo: Repo, ref: str, sha: str) -> dict[str, Any]:
    return {
        "label": f"{repo.owner.login}:{ref}", "ref": ref, "sha": sha, "user": shapes.account(repo.owner, call.base),
        "repo": shapes.repository(call.state, repo, call.base),
    }  # fmt: skip


def _association(call: Call, account: Account) -> str:
    org = call.state.orgs.get(call.repo.owner.login)
    if org and account.login in org.members:
        return "MEMBER"
    return "COLLABORATOR" if account.login in call.repo.collaborators else "NONE"


def pulls(call: Call) -> Any:
    state, head, base = call.query.get("state", "open"), call.query.get("head"), call.query.get("base")
    rows = [
        p for p in sorted(call.repo.pulls.values(), key=lambda p: -p.number)
        if state in ("all", p.state) and base in (None, p.base_ref)
        and head in (None, f"{p.head_repo.owner.login}:{p.head_ref}")
    ]  # fmt: skip
    return [pull_json(call, p) for p in call.page(rows)]


def pull(call: Call) -> Any:
    return pull_json(call, _pull(call), full=True)


def _pull(call: Call) -> Pull:
    found = call.repo.pulls.get(call.number("number"))
    if found is None:
        raise not_found()
    return found


def create_pull(call: Call) -> Any:
    """Open a pull request from a branch here or ("login:branch") of a fork; ``pull_request`` workflows start."""
    repo, account = call.repo, call.caller.account
    assert account is not None
    title, head, base = call.field("title"), call.field("head"), call.field("base")
    owner, colon, name = head.partition(":")
    source = repo
    if colon and owner != repo.owner.login:
        forks = [r for r in call.state.repos.values() if r.fork_of is repo and r.owner.login == owner]
        if not forks:
            raise invalid("PullRequest", "head")
        source = forks[0]
    name = name if colon else head
    top, bottom = source.git.resolve(f"refs/heads/{name}"), repo.git.resolve(f"refs/heads/{base}")
    if top is None or bottom is None:
        raise invalid("PullRequest", "head" if top is None else "base")
    if any(p.head_repo is source and p.head_ref == name and p.state == "open" for p in repo.pulls.values()):
        raise Problem(422, "Validation Failed", errors=[{
            "resource": "PullRequest", "code": "custom",
            "message": f"A pull request already exists for {source.owner.login}:{name}.",
        }])  # fmt: skip
    if top.sha == bottom.sha:
        raise Problem(422, "Validation Failed", errors=[{
            "resource": "PullRequest", "code": "custom", "message": f"No commits between {base} and {name}"
        }])  # fmt: skip
    repo.numbers += 1
    made = Pull(
        id=call.state.next_id(), number=repo.numbers, title=title, body=str(call.body.get("body") or ""),
        author=account, head_repo=source, head_ref=name, head_sha=top.sha, base_ref=base, base_sha=bottom.sha,
        created_at=call.state.now(),
    )  # fmt: skip
    repo.pulls[made.number] = made
    if call.caller.kind != "job":
        runner = call.state.runner
        runner.trigger(repo, "pull_request", f"refs/pull/{made.number}/merge", top.sha, account, pull=made)
        runner.trigger(repo, TARGET, f"refs/heads/{base}", top.sha, account, pull=made)
    return Answer(201, pull_json(call, made, full=True))


def change_pull(call: Call) -> Any:
    found = _pull(call)
    body = call.body if isinstance(call.body, dict) else {}
    if body.get("state", found.state) not in ("open", "closed"):
        raise invalid("PullRequest", "state")
    found.title, found.body = body.get("title", found.title), body.get("body", found.body)
    found.state = body.get("state", found.state)
    return pull_json(call, found, full=True)


def merge_pull(call: Call) -> Any:
    """Merge by a commit with both parents. 405 when it is not open or both sides changed one file, 409 when it moved.

    docs.github.com/rest/pulls/pulls, "Merge a pull request".
    """
    found, repo, account = _pull(call), call.repo, call.caller.account
    body = call.body if isinstance(call.body, dict) else {}
    base = repo.git.resolve(f"refs/heads/{found.base_ref}")
    head = found.head_repo.git.resolve(f"refs/heads/{found.head_ref}")
    if found.state != "open" or base is None or head is None:
        raise Problem(405, "Pull Request is not mergeable")
    if body.get("sha") not in (None, head.sha):
        raise Problem(409, "Head branch was modified. Review and try the merge again.")
    rulesets.guard(call, f"refs/heads/{found.base_ref}", "update", status=405)
    ours, past = repo.git.files(base), repo.git.files(repo.git.commits[found.base_sha])
    theirs = found.head_repo.git.files(head)
    changed = {path for path in past.keys() | theirs.keys() if past.get(path) != theirs.get(path)}
    if any(ours.get(path) != past.get(path) and ours.get(path) != theirs.get(path) for path in changed):
        raise Problem(405, "Pull Request has merge conflicts")
    if any(path.startswith(".github/workflows/") for path in changed):
        call.require("workflows:write")
    for path in changed:
        repo.git.blobs |= found.head_repo.git.blobs
        ours = {k: v for k, v in ours.items() if k != path} | ({path: theirs[path]} if path in theirs else {})
    assert account is not None
    mail = f"{account.id}+{account.login}@users.noreply.github.com"
    person = Person(account.name or account.login, mail, account.login)
    title = str(body.get("commit_title") or f"Merge pull request #{found.number} from {found.head_ref}")
    made = repo.git.commit(repo.git.put_tree(ours), (base.sha, head.sha), title, person, call.state.now())
    found.state, found.merged_at, found.merge_sha, found.merged_by = "closed", call.state.now(), made.sha, account
    call.state.move_ref(repo, f"refs/heads/{found.base_ref}", made.sha, account, runs=call.caller.kind != "job")
    return {"sha": made.sha, "merged": True, "message": "Pull Request successfully merged"}


def _issue_json(call: Call, row: dict[str, Any]) -> dict[str, Any]:
    url = f"{shapes.api(call.repo, call.base)}/issues/{row['number']}"
    return {
        "id": row["id"], "node_id": shapes.node("I", row["id"]), "url": url, "number": row["number"],
        "repository_url": shapes.api(call.repo, call.base), "labels_url": f"{url}/labels{{/name}}",
        "comments_url": f"{url}/comments", "events_url": f"{url}/events", "state": row["state"],
        "html_url": f"{shapes.web(call.repo, call.base)}/issues/{row['number']}", "title": row["title"],
        "body": row["body"], "user": shapes.account(row["by"], call.base), "labels": [], "milestone": None,
        "locked": False, "comments": 0, "closed_at": shapes.when(row["closed"]), "created_at": shapes.when(row["at"]),
        "updated_at": shapes.when(row["changed"]), "assignee": None, "assignees": [],
        "author_association": _association(call, row["by"]),
    }  # fmt: skip


def issues(call: Call) -> Any:
    state, since = call.query.get("state", "open"), call.query.get("since", "")
    rows = [
        row for row in sorted(call.repo.issues.values(), key=lambda r: -r["number"])
        if state in ("all", row["state"]) and str(shapes.when(row["changed"])) >= since
    ]  # fmt: skip
    return [_issue_json(call, row) for row in call.page(rows)]


def issue(call: Call) -> Any:
    row = call.repo.issues.get(call.number("number"))
    if row is None:
        raise not_found()
    return _issue_json(call, row)


def create_issue(call: Call) -> Any:
    call.repo.numbers += 1
    row = {
        "id": call.state.next_id(), "number": call.repo.numbers, "title": call.field("title"), "state": "open",
        "body": call.body.get("body"), "by": call.caller.account, "at": call.state.now(), "closed": None,
        "changed": call.state.now(),
    }  # fmt: skip
    call.repo.issues[row["number"]] = row
    return Answer(201, _issue_json(call, row))


def change_issue(call: Call) -> Any:
    """Title, body, state. docs.github.com/rest/issues/issues, "Update an issue"."""
    row = call.repo.issues.get(call.number("number"))
    if row is None:
        raise not_found()
    body = call.body if isinstance(call.body, dict) else {}
    if body.get("state", row["state"]) not in ("open", "closed"):
        raise invalid("Issue", "state")
    if body.get("state_reason") not in (None, "completed", "not_planned", "duplicate", "reopened"):
        raise invalid("Issue", "state_reason")
    row |= {name: body[name] for name in ("title", "body", "state") if name in body}
    row |= {"changed": call.state.now(), "closed": call.state.now() if row["state"] == "closed" else None}
    return _issue_json(call, row)


OPS = (
    Op(method="GET", path=R + "/pulls", handle=pulls, needs="pull_requests:read"),
    Op(method="POST", path=R + "/pulls", handle=create_pull, needs="pull_requests:write"),
    Op(method="GET", path=R + "/pulls/{number}", handle=pull, needs="pull_requests:read"),
    Op(method="PATCH", path=R + "/pulls/{number}", handle=change_pull, needs="pull_requests:write"),
    Op(method="PUT", path=R + "/pulls/{number}/merge", handle=merge_pull, needs="contents:write"),
    Op(method="GET", path=R + "/issues", handle=issues, needs="issues:read"),
    Op(method="POST", path=R + "/issues", handle=create_issue, needs="issues:write"),
    Op(method="GET", path=R + "/issues/{number}", handle=issue, needs="issues:read"),
    Op(method="PATCH", path=R + "/issues/{number}", handle=change_issue, needs="issues:write"),
)

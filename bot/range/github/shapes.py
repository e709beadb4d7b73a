"""How GitHub writes its nouns as JSON. Field by field as its OpenAPI description (2026-03-10) requires them."""

from __future__ import annotations

import base64
from datetime import datetime
from typing import Any

from bot.range.github.git import Commit, GitStore
from bot.range.github.nouns import (
    Account,
    App,
    Installation,
    Job,
    Org,
    Pull,
    Repo,
    Run,
    StepRecord,
    StoredSecret,
    Workflow,
)
from bot.range.github.state import State

Json = dict[str, Any]


def when(at: datetime | None) -> str | None:
    return None if at is None else at.strftime("%Y-%m-%dT%H:%M:%SZ")


def node(kind: str, number: int | str) -> str:
    return f"{kind}_" + base64.urlsafe_b64encode(str(number).encode()).decode().rstrip("=")


def account(a: Account, base: str) -> Json:
    url = f"{base}/users/{a.login}"
    links = {
        "followers_url": "/followers", "following_url": "/following{/other_user}", "gists_url": "/gists{/gist_id}",
        "starred_url": "/starred{/owner}{/repo}", "subscriptions_url": "/subscriptions", "organizations_url": "/orgs",
        "repos_url": "/repos", "events_url": "/events{/privacy}", "received_events_url": "/received_events",
    }  # fmt: skip
    return {
        "login": a.login, "id": a.id, "node_id": node("U", a.id), "avatar_url": f"{base}/avatars/{a.id}",
        "gravatar_id": "", "url": url, "html_url": f"{base}/{a.login}", "type": a.kind, "site_admin": False,
        "user_view_type": "public", **{name: url + tail for name, tail in links.items()},
    }  # fmt: skip


def profile(state: State, a: Account, base: str) -> Json:
    """A user's public page."""
    own = [r for r in state.repos.values() if r.owner is a and not r.private]
    return account(a, base) | {
        "name": a.name or None, "company": None, "blog": "", "location": None, "email": None, "hireable": None,
        "bio": None, "public_repos": len(own), "public_gists": 0, "followers": 0, "following": 0,
        "created_at": when(a.created_at), "updated_at": when(a.created_at),
    }  # fmt: skip


def private_profile(state: State, a: Account, base: str) -> Json:
    private = sum(1 for r in state.repos.values() if r.owner is a and r.private)
    return profile(state, a, base) | {
        "private_gists": 0, "total_private_repos": private, "owned_private_repos": private, "disk_usage": 0,
        "collaborators": 0, "two_factor_authentication": True,
    }  # fmt: skip


def organization(state: State, org: Org, base: str) -> Json:
    a, url = org.account, f"{base}/orgs/{org.account.login}"
    own = [r for r in state.repos.values() if r.owner is a and not r.private]
    return {
        "login": a.login, "id": a.id, "node_id": node("O", a.id), "url": url, "repos_url": f"{url}/repos",
        "events_url": f"{url}/events", "hooks_url": f"{url}/hooks", "issues_url": f"{url}/issues",
        "members_url": f"{url}/members{{/member}}", "public_members_url": f"{url}/public_members{{/member}}",
        "avatar_url": f"{base}/avatars/{a.id}", "description": None, "name": a.name or a.login,
        "has_organization_projects": False, "has_repository_projects": False, "public_repos": len(own),
        "public_gists": 0, "followers": 0, "following": 0, "html_url": f"{base}/{a.login}", "type": "Organization",
        "created_at": when(a.created_at), "updated_at": when(a.created_at), "archived_at": None,
        "default_repository_permission": org.base_role,
    }  # fmt: skip


_REPO_LINKS = {
    "archive_url": "/{archive_format}{/ref}", "assignees_url": "/assignees{/user}", "blobs_url": "/git/blobs{/sha}",
    "branches_url": "/branches{/branch}", "collaborators_url": "/collaborators{/collaborator}",
    "comments_url": "/comments{/number}", "commits_url": "/commits{/sha}", "compare_url": "/compare/{base}...{head}",
    "contents_url": "/contents/{+path}", "contributors_url": "/contributors", "deployments_url": "/deployments",
    "downloads_url": "/downloads", "events_url": "/events", "forks_url": "/forks",
    "git_commits_url": "/git/commits{/sha}", "git_refs_url": "/git/refs{/sha}", "git_tags_url": "/git/tags{/sha}",
    "hooks_url": "/hooks", "issue_comment_url": "/issues/comments{/number}",
    "issue_events_url": "/issues/events{/number}", "issues_url": "/issues{/number}", "keys_url": "/keys{/key_id}",
    "labels_url": "/labels{/name}", "languages_url": "/languages", "merges_url": "/merges",
    "milestones_url": "/milestones{/number}", "notifications_url": "/notifications{?since,all,participating}",
    "pulls_url": "/pulls{/number}", "releases_url": "/releases{/id}", "stargazers_url": "/stargazers",
    "statuses_url": "/statuses/{sha}", "subscribers_url": "/subscribers", "subscription_url": "/subscription",
    "tags_url": "/tags", "teams_url": "/teams", "trees_url": "/git/trees{/sha}",
}  # fmt: skip


def api(repo: Repo, base: str) -> str:
    return f"{base}/repos/{repo.full_name}"


def web(repo: Repo, base: str) -> str:
    return f"{base}/{repo.full_name}"


def repo_small(repo: Repo, base: str) -> Json:
    """The form in which a repository stands inside of other things."""
    return {
        "id": repo.id, "node_id": node("R", repo.id), "name": repo.name, "full_name": repo.full_name,
        "owner": account(repo.owner, base), "private": repo.private, "html_url": web(repo, base),
        "description": repo.description or None, "fork": repo.fork_of is not None, "url": api(repo, base),
        **{name: api(repo, base) + tail for name, tail in _REPO_LINKS.items()},
    }  # fmt: skip


def repository(state: State, repo: Repo, base: str, viewer: Account | None = None) -> Json:
    made, role = when(repo.created_at), state.role(viewer, repo)
    levels = {"pull": "read", "triage": "triage", "push": "write", "maintain": "maintain", "admin": "admin"}
    order = list(levels.values())
    held = order[: order.index(role) + 1] if role in order else []
    forks = sum(1 for other in state.repos.values() if other.fork_of is repo)
    pushed = max([row["at"] for row in repo.activity], default=repo.created_at)
    full = repo_small(repo, base) | {
        "git_url": f"git:{web(repo, '')}.git", "ssh_url": f"git@github.com:{repo.full_name}.git",
        "clone_url": f"{web(repo, base)}.git", "mirror_url": None, "svn_url": web(repo, base), "homepage": None,
        "language": None, "forks_count": forks, "stargazers_count": 0, "watchers_count": 0, "size": len(repo.git.blobs),
        "default_branch": repo.default_branch, "open_issues_count": len(repo.issues), "is_template": False,
        "topics": [], "has_issues": True, "has_projects": False, "has_wiki": False, "has_pages": False,
        "has_downloads": False, "has_discussions": False, "archived": False, "disabled": False,
        "visibility": "private" if repo.private else "public", "pushed_at": when(pushed), "created_at": made,
        "updated_at": made, "permissions": {name: level in held for name, level in levels.items()},
        "subscribers_count": 0, "network_count": forks, "license": None, "forks": forks,
        "open_issues": len(repo.issues), "watchers": 0,
    }  # fmt: skip
    if repo.owner.kind == "Organization":
        full["organization"] = account(repo.owner, base)
    if repo.fork_of is not None:
        full["parent"] = full["source"] = repository(state, repo.fork_of, base)
    return full


def _person(commit: Commit) -> Json:
    return {"name": commit.author.name, "email": commit.author.email, "date": when(commit.at)}


_UNSIGNED = {"verified": False, "reason": "unsigned", "signature": None, "payload": None, "verified_at": None}


def commit(state: State, repo: Repo, c: Commit, base: str, *, files: bool = False) -> Json:
    url, who = f"{api(repo, base)}/commits/{c.sha}", state.accounts.get(c.author.login)
    shown: Json = {
        "url": url, "sha": c.sha, "node_id": node("C", c.sha), "html_url": f"{web(repo, base)}/commit/{c.sha}",
        "comments_url": f"{url}/comments",
        "commit": {
            "url": f"{api(repo, base)}/git/commits/{c.sha}", "author": _person(c), "committer": _person(c),
            "message": c.message, "comment_count": 0, "verification": _UNSIGNED,
            "tree": {"sha": c.tree, "url": f"{api(repo, base)}/git/trees/{c.tree}"},
        },
        "author": account(who, base) if who else None, "committer": account(who, base) if who else None,
        "parents": [{"sha": p, "url": f"{api(repo, base)}/commits/{p}", "html_url": f"{web(repo, base)}/commit/{p}"}
                    for p in c.parents],
    }  # fmt: skip
    if files:
        rows = [_changed_file(repo, c, change.path, change.status, change.before, change.after, base)
                for change in repo.git.changes(c)]  # fmt: skip
        added, removed = sum(r["additions"] for r in rows), sum(r["deletions"] for r in rows)
        shown |= {"stats": {"additions": added, "deletions": removed, "total": added + removed}, "files": rows}
    return shown


def _changed_file(repo: Repo, c: Commit, path: str, status: str, before: str, after: str, base: str) -> Json:
    def lines(sha: str) -> list[str]:
        return repo.git.blobs[sha].decode(errors="replace").splitlines() if sha else []

    old, new = lines(before), lines(after)
    added, removed = len([x for x in new if x not in old]), len([x for x in old if x not in new])
    return {
        "sha": after or before, "filename": path, "status": status, "additions": added, "deletions": removed,
        "changes": added + removed, "blob_url": f"{web(repo, base)}/blob/{c.sha}/{path}",
        "raw_url": f"{web(repo, base)}/raw/{c.sha}/{path}",
        "contents_url": f"{api(repo, base)}/contents/{path}?ref={c.sha}",
    }  # fmt: skip


def git_commit(repo: Repo, c: Commit, base: str) -> Json:
    return {
        "sha": c.sha, "node_id": node("C", c.sha), "url": f"{api(repo, base)}/git/commits/{c.sha}",
        "html_url": f"{web(repo, base)}/commit/{c.sha}", "author": _person(c), "committer": _person(c),
        "message": c.message, "tree": {"sha": c.tree, "url": f"{api(repo, base)}/git/trees/{c.tree}"},
        "parents": [{"sha": p, "url": f"{api(repo, base)}/git/commits/{p}",
                     "html_url": f"{web(repo, base)}/commit/{p}"} for p in c.parents],
        "verification": _UNSIGNED,
    }  # fmt: skip


def content(repo: Repo, path: str, sha: str, ref: str, base: str, *, body: bool = True) -> Json:
    """A file. ``body`` False gives the form of a folder's listing."""
    git, data = repo.git, b""
    kind = "dir" if sha in git.trees else "file"
    if kind == "file":
        data = git.blobs[sha]
    url, page = f"{api(repo, base)}/contents/{path}?ref={ref}", f"{web(repo, base)}/blob/{ref}/{path}"
    blob = f"{api(repo, base)}/git/{'trees' if kind == 'dir' else 'blobs'}/{sha}"
    shown: Json = {
        "type": kind, "size": len(data), "name": path.rsplit("/", 1)[-1], "path": path, "sha": sha, "url": url,
        "git_url": blob, "html_url": page,
        "download_url": None if kind == "dir" else f"{web(repo, base)}/raw/{ref}/{path}",
        "_links": {"self": url, "git": blob, "html": page},
    }  # fmt: skip
    if body:
        shown |= {"encoding": "base64", "content": base64.encodebytes(data).decode()}
    return shown


def tree_row(git: GitStore, path: str, mode: str, sha: str, kind: str, repo: Repo, base: str) -> Json:
    row: Json = {"path": path, "mode": mode, "type": kind, "sha": sha, "url": f"{api(repo, base)}/git/{kind}s/{sha}"}
    if kind == "blob":
        row["size"] = len(git.blobs[sha])
    return row


def workflow(repo: Repo, w: Workflow, base: str) -> Json:
    url, file = f"{api(repo, base)}/actions/workflows/{w.id}", w.path.rsplit("/", 1)[-1]
    return {
        "id": w.id, "node_id": node("W", w.id), "name": w.name, "path": w.path, "state": w.state,
        "created_at": when(w.created_at), "updated_at": when(w.updated_at), "url": url,
        "html_url": f"{web(repo, base)}/blob/{repo.default_branch}/{w.path}",
        "badge_url": f"{web(repo, base)}/workflows/{file}/badge.svg",
    }  # fmt: skip


def run(r: Run, base: str, attempt: int = 0) -> Json:
    repo, url = r.repo, f"{api(r.repo, base)}/actions/runs/{r.id}"
    attempt = attempt or r.attempt
    c = r.head_repo.git.commits[r.head_sha]
    jobs = r.of_attempt(attempt)
    past = attempt != r.attempt
    ended = max([j.completed_at for j in jobs if j.completed_at], default=r.updated_at)
    failed = {"failure", "cancelled"} & {j.conclusion or "" for j in jobs}
    return {
        "id": r.id, "name": r.workflow.name, "node_id": node("WFR", r.id), "check_suite_id": r.id + 1,
        "check_suite_node_id": node("CS", r.id + 1), "head_branch": r.head_branch, "head_sha": r.head_sha,
        "path": r.workflow.path, "run_number": r.number, "run_attempt": attempt, "referenced_workflows": [],
        "event": r.event, "status": "completed" if past else r.status,
        "conclusion": ("failure" if failed else "success") if past else r.conclusion, "workflow_id": r.workflow.id,
        "url": url, "html_url": f"{web(repo, base)}/actions/runs/{r.id}",
        "pull_requests": [] if r.pull is None or r.from_fork else [_pull_minimal(r.pull, repo, base)],
        "created_at": when(r.created_at), "updated_at": when(ended if past else r.updated_at),
        "run_started_at": when(jobs[0].created_at if jobs else r.started_at), "actor": account(r.actor, base),
        "triggering_actor": account(r.triggering_actor, base), "jobs_url": f"{url}/jobs", "logs_url": f"{url}/logs",
        "check_suite_url": f"{api(repo, base)}/check-suites/{r.id + 1}", "artifacts_url": f"{url}/artifacts",
        "cancel_url": f"{url}/cancel", "rerun_url": f"{url}/rerun",
        "previous_attempt_url": f"{url}/attempts/{attempt - 1}" if attempt > 1 else None,
        "workflow_url": f"{api(repo, base)}/actions/workflows/{r.workflow.id}", "display_title": r.title,
        "head_commit": {"id": c.sha, "tree_id": c.tree, "message": c.message, "timestamp": when(c.at),
                        "author": {"name": c.author.name, "email": c.author.email},
                        "committer": {"name": c.author.name, "email": c.author.email}},
        "repository": repo_small(repo, base), "head_repository": repo_small(r.head_repo, base),
    }  # fmt: skip


def _pull_minimal(p: Pull, repo: Repo, base: str) -> Json:
    def side(r: Repo, ref: str, sha: str) -> Json:
        return {"ref": ref, "sha": sha, "repo": {"id": r.id, "url": api(r, base), "name": r.name}}

    return {
        "id": p.id, "number": p.number, "url": f"{api(repo, base)}/pulls/{p.number}",
        "head": side(p.head_repo, p.head_ref, p.head_sha), "base": side(repo, p.base_ref, p.base_sha),
    }  # fmt: skip


def job(r: Run, j: Job, base: str) -> Json:
    url, labels = f"{api(r.repo, base)}/actions/jobs/{j.id}", j.spec.get("runs-on", "")
    return {
        "id": j.id, "run_id": r.id, "run_url": f"{api(r.repo, base)}/actions/runs/{r.id}", "run_attempt": j.attempt,
        "node_id": node("CR", j.id), "head_sha": r.head_sha, "head_branch": r.head_branch, "url": url,
        "html_url": f"{web(r.repo, base)}/actions/runs/{r.id}/job/{j.id}", "status": j.status,
        "conclusion": j.conclusion, "created_at": when(j.created_at), "started_at": when(j.started_at or j.created_at),
        "completed_at": when(j.completed_at), "name": j.name, "workflow_name": r.workflow.name,
        "steps": [_step(s) for s in j.steps], "check_run_url": f"{api(r.repo, base)}/check-runs/{j.id}",
        "labels": [str(label) for label in (labels if isinstance(labels, list) else [labels])],
        "runner_id": j.id % 1000 if j.runner_name else None, "runner_name": j.runner_name or None,
        "runner_group_id": 0 if j.runner_name else None,
        "runner_group_name": "GitHub Actions" if j.runner_name else None,
    }  # fmt: skip


def _step(s: StepRecord) -> Json:
    return {
        "name": s.name, "status": s.status, "conclusion": s.conclusion, "number": s.number,
        "started_at": when(s.started_at), "completed_at": when(s.completed_at),
    }  # fmt: skip


def secret(s: StoredSecret) -> Json:
    return {"name": s.name, "created_at": when(s.created_at), "updated_at": when(s.updated_at)}


def app(a: App, base: str) -> Json:
    return {
        "id": a.id, "slug": a.slug, "node_id": node("A", a.id), "client_id": a.client_id, "name": a.name,
        "owner": account(a.owner, base), "description": None, "external_url": base, "html_url": f"{base}/apps/{a.slug}",
        "created_at": when(a.created_at), "updated_at": when(a.created_at), "permissions": a.permissions, "events": [],
    }  # fmt: skip


def installation(i: Installation, base: str) -> Json:
    return {
        "id": i.id, "account": account(i.account, base), "app_id": i.app.id, "app_slug": i.app.slug,
        "client_id": i.app.client_id, "target_id": i.account.id, "target_type": i.account.kind,
        "repository_selection": "all" if i.repositories is None else "selected", "permissions": i.permissions,
        "access_tokens_url": f"{base}/app/installations/{i.id}/access_tokens",
        "repositories_url": f"{base}/installation/repositories", "events": [], "single_file_name": None,
        "html_url": f"{base}/organizations/{i.account.login}/settings/installations/{i.id}",
        "created_at": when(i.created_at), "updated_at": when(i.created_at), "suspended_by": None,
        "suspended_at": when(i.suspended_at),
    }  # fmt: skip

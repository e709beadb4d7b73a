"""The range's GitHub against clients and models that nobody here wrote, and each rule that it claims to hold to."""

from __future__ import annotations

import base64
import io
import time
import warnings
import zipfile
from collections.abc import Callable
from typing import Any

import github as pygithub
import jwt
import nacl.public
import pytest
from githubkit import AppAuthStrategy
from githubkit import GitHub as Kit
from githubkit.cache import MemCacheStrategy
from githubkit.exception import RequestFailed

from bot.range.github.state import classic_token
from tests.range.town import DEPLOY, FERRY, LEDGER, ORG, Town, build

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIMadeUpPublicKeyForTheRangeOnlyAAAAAAAAAA"


@pytest.fixture
def town(github_server: tuple[Any, ...]) -> Town:
    return build(*github_server)


def full(town: Town) -> dict[str, Any]:
    """Put one of everything into ferry; returns the ids that paths need."""
    state, run = town.state, town.run()
    state.add_environment(FERRY, "production", branches=("main",))
    state.set_secret(FERRY, "PROD_TOKEN", "made-up-a", environment="production")
    for store in ("actions", "dependabot", "codespaces", "agents"):
        state.set_secret(FERRY, "ONE", "made-up-b", store=store)
        state.set_secret(ORG, "SHARED", "made-up-c", store=store, visibility="selected", selected=(FERRY,))
    sha = state.repos[FERRY].git.resolve("main").sha
    state.add_alert(
        FERRY, secret_type="made_up", display_name="Made up", secret="made-up-d",
        locations=({"path": "README.md", "line": 1, "sha": sha},),
    )  # fmt: skip
    key = town.ferry("POST", "/keys", body={"title": "robot", "key": KEY, "read_only": True}).json()["id"]
    town.commit({"new.txt": "new\n"}, branch="topic")
    pull = town.ferry("POST", "/pulls", body={"title": "New", "head": "topic", "base": "main"}).json()["number"]
    town.ferry("POST", "/hooks", body={"config": {"url": "https://hooks.example/"}, "events": ["push"]})
    town.ferry("PUT", "/collaborators/quiet-otter", body={"permission": "push"})
    issue = town.ferry("POST", "/issues", body={"title": "Leak", "body": "?"}).json()["number"]
    tree = state.repos[FERRY].git.resolve("main").tree
    blob = state.repos[FERRY].git.trees[tree]["README.md"].sha
    artifact = next(iter(state.repos[FERRY].artifacts))
    return {
        "run": run,
        "sha": sha,
        "key": key,
        "pull": pull,
        "issue": issue,
        "tree": tree,
        "blob": blob,
        "art": artifact,
    }


O = {"owner": ORG, "repo": "ferry"}
READS: dict[str, Callable[[Any, dict[str, Any]], Any]] = {
    "user": lambda r, i: r.users.get_authenticated(),
    "user by name": lambda r, i: r.users.get_by_username("jonas"),
    "rate limit": lambda r, i: r.rate_limit.get(),
    "meta": lambda r, i: r.meta.get(),
    "org": lambda r, i: r.orgs.get(ORG),
    "org members": lambda r, i: r.orgs.list_members(ORG),
    "org repos": lambda r, i: r.repos.list_for_org(ORG),
    "repo": lambda r, i: r.repos.get(**O),
    "branches": lambda r, i: r.repos.list_branches(**O),
    "branch": lambda r, i: r.repos.get_branch(**O, branch="main"),
    "file": lambda r, i: r.repos.get_content(**O, path="README.md"),
    "folder": lambda r, i: r.repos.get_content(**O, path="docs"),
    "commits": lambda r, i: r.repos.list_commits(**O, path="README.md"),
    "commit": lambda r, i: r.repos.get_commit(**O, ref=i["sha"]),
    "collaborators": lambda r, i: r.repos.list_collaborators(**O),
    "permission": lambda r, i: r.repos.get_collaborator_permission_level(**O, username="jonas"),
    "activity": lambda r, i: r.repos.list_activities(**O),
    "deploy keys": lambda r, i: r.repos.list_deploy_keys(**O),
    "deploy key": lambda r, i: r.repos.get_deploy_key(**O, key_id=i["key"]),
    "environments": lambda r, i: r.repos.get_all_environments(**O),
    "environment": lambda r, i: r.repos.get_environment(**O, environment_name="production"),
    "branch policies": lambda r, i: r.repos.list_deployment_branch_policies(**O, environment_name="production"),
    "ref": lambda r, i: r.git.get_ref(**O, ref="heads/main"),
    "matching refs": lambda r, i: r.git.list_matching_refs(**O, ref="heads/"),
    "git commit": lambda r, i: r.git.get_commit(**O, commit_sha=i["sha"]),
    "git tree": lambda r, i: r.git.get_tree(**O, tree_sha=i["tree"], recursive="1"),
    "git blob": lambda r, i: r.git.get_blob(**O, file_sha=i["blob"]),
    "workflows": lambda r, i: r.actions.list_repo_workflows(**O),
    "workflow": lambda r, i: r.actions.get_workflow(**O, workflow_id="deploy.yml"),
    "runs": lambda r, i: r.actions.list_workflow_runs_for_repo(**O),
    "runs of a workflow": lambda r, i: r.actions.list_workflow_runs(**O, workflow_id="deploy.yml"),
    "run": lambda r, i: r.actions.get_workflow_run(**O, run_id=i["run"].id),
    "attempt": lambda r, i: r.actions.get_workflow_run_attempt(**O, run_id=i["run"].id, attempt_number=1),
    "jobs": lambda r, i: r.actions.list_jobs_for_workflow_run(**O, run_id=i["run"].id, filter_="all"),
    "jobs of an attempt": lambda r, i: r.actions.list_jobs_for_workflow_run_attempt(
        **O, run_id=i["run"].id, attempt_number=1
    ),
    "job": lambda r, i: r.actions.get_job_for_workflow_run(**O, job_id=i["run"].jobs[0].id),
    "artifacts": lambda r, i: r.actions.list_artifacts_for_repo(**O),
    "artifacts of a run": lambda r, i: r.actions.list_workflow_run_artifacts(**O, run_id=i["run"].id),
    "artifact": lambda r, i: r.actions.get_artifact(**O, artifact_id=i["art"]),
    "secrets": lambda r, i: r.actions.list_repo_secrets(**O),
    "secret": lambda r, i: r.actions.get_repo_secret(**O, secret_name="DEPLOY_TOKEN"),
    "public key": lambda r, i: r.actions.get_repo_public_key(**O),
    "environment secrets": lambda r, i: r.actions.list_environment_secrets(**O, environment_name="production"),
    "environment secret": lambda r, i: r.actions.get_environment_secret(
        **O, environment_name="production", secret_name="PROD_TOKEN"
    ),
    "environment public key": lambda r, i: r.actions.get_environment_public_key(**O, environment_name="production"),
    "org secrets of a repo": lambda r, i: r.actions.list_repo_organization_secrets(**O),
    "org secrets": lambda r, i: r.actions.list_org_secrets(ORG),
    "org secret": lambda r, i: r.actions.get_org_secret(ORG, "SHARED"),
    "org public key": lambda r, i: r.actions.get_org_public_key(ORG),
    "org secret's repos": lambda r, i: r.actions.list_selected_repos_for_org_secret(ORG, "SHARED"),
    "dependabot secrets": lambda r, i: r.dependabot.list_repo_secrets(**O),
    "dependabot secret": lambda r, i: r.dependabot.get_repo_secret(**O, secret_name="ONE"),
    "dependabot public key": lambda r, i: r.dependabot.get_repo_public_key(**O),
    "dependabot org secrets": lambda r, i: r.dependabot.list_org_secrets(ORG),
    "codespaces secrets": lambda r, i: r.codespaces.list_repo_secrets(**O),
    "codespaces secret": lambda r, i: r.codespaces.get_repo_secret(**O, secret_name="ONE"),
    "codespaces org secret": lambda r, i: r.codespaces.get_org_secret(ORG, "SHARED"),
    "agents secrets": lambda r, i: r.agents.list_repo_secrets(**O),
    "agents secret": lambda r, i: r.agents.get_repo_secret(**O, secret_name="ONE"),
    "agents org secrets": lambda r, i: r.agents.list_org_secrets(ORG),
    "Actions policy": lambda r, i: r.actions.get_github_actions_permissions_repository(**O),
    "token default": lambda r, i: r.actions.get_github_actions_default_workflow_permissions_repository(**O),
    "fork approval": lambda r, i: r.actions.get_fork_pr_contributor_approval_permissions_repository(**O),
    "OIDC subject": lambda r, i: r.actions.get_custom_oidc_sub_claim_for_repo(**O),
    "alerts": lambda r, i: r.secret_scanning.list_alerts_for_repo(**O),
    "alert": lambda r, i: r.secret_scanning.get_alert(**O, alert_number=1),
    "alert's locations": lambda r, i: r.secret_scanning.list_locations_for_alert(**O, alert_number=1),
    "pulls": lambda r, i: r.pulls.list(**O, state="all"),
    "pull": lambda r, i: r.pulls.get(**O, pull_number=i["pull"]),
    "issues": lambda r, i: r.issues.list_for_repo(**O),
    "issue": lambda r, i: r.issues.get(**O, issue_number=i["issue"]),
    "own repos": lambda r, i: r.repos.list_for_authenticated_user(),
    "webhooks": lambda r, i: r.repos.list_webhooks(**O),
    "invitations": lambda r, i: r.repos.list_invitations(**O),
}


def test_githubkits_models_parse_every_read(town: Town) -> None:
    ids, kit = full(town), town.kit()
    empty = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # githubkit marks what GitHub closes down
        for name, read in READS.items():
            answer = read(kit.rest, ids)
            data = answer.parsed_data
            counted = getattr(data, "total_count", len(data) if isinstance(data, list) else 1)
            if not counted:
                empty.append(name)
    assert empty == []  # an empty list proves nothing of its rows


def test_githubkit_merges_a_pull_request_and_github_says_so(town: Town) -> None:
    kit = town.kit()
    town.commit({"docs/new.md": "1"}, branch="topic")
    made = kit.rest.pulls.create(**O, title="New", head="topic", base="main").parsed_data
    merged = kit.rest.pulls.merge(**O, pull_number=made.number).parsed_data
    assert merged.merged
    shown = kit.rest.pulls.get(**O, pull_number=made.number).parsed_data
    assert (shown.merged, shown.state) == (True, "closed")
    assert shown.merged_by
    assert shown.merged_by.login == "mara"
    assert kit.rest.repos.get_content(**O, path="docs/new.md").parsed_data
    with pytest.raises(RequestFailed) as refused:
        kit.rest.pulls.merge(**O, pull_number=made.number)
    assert refused.value.response.status_code == 405


def test_both_sides_of_one_file_are_a_conflict(town: Town) -> None:
    kit = town.kit()
    town.commit({"README.md": "one side"}, branch="topic")
    made = kit.rest.pulls.create(**O, title="New", head="topic", base="main").parsed_data
    town.commit({"README.md": "the other side"})
    with pytest.raises(RequestFailed) as refused:
        kit.rest.pulls.merge(**O, pull_number=made.number)
    assert refused.value.response.status_code == 405


def test_grants_of_fine_grained_tokens_are_for_apps_and_go(town: Town) -> None:
    app, key = town.state.add_app("grants", ORG, {"organization_personal_access_tokens": "write"})
    held = town.state.install(app, ORG)
    as_app = Kit(
        AppAuthStrategy(app.id, key),
        base_url=town.url,
        http_cache=False,
        auto_retry=False,
        cache_strategy=MemCacheStrategy(),
    )
    kit = town.kit(as_app.rest.apps.create_installation_access_token(held.id).parsed_data.token)
    value = town.state.add_token("mara", permissions={"contents": "read"}, repositories=(FERRY,))
    [row] = kit.rest.orgs.list_pat_grants(ORG).parsed_data
    assert row.owner.login == "mara"
    person = town.kit()
    with pytest.raises(RequestFailed) as refused:
        person.rest.orgs.list_pat_grants(ORG)
    assert refused.value.response.status_code == 403
    kit.rest.orgs.update_pat_access(ORG, pat_id=row.id, action="revoke")
    assert kit.rest.orgs.list_pat_grants(ORG).parsed_data == []
    assert town.state.tokens[value].repositories == frozenset()


def test_githubkit_drives_the_writes_of_the_playbook(town: Town) -> None:
    kit, run = town.kit(), town.run()
    rest = kit.rest  # it lives no longer than its client
    rest.actions.disable_workflow(**O, workflow_id="deploy.yml")
    assert rest.actions.get_workflow(**O, workflow_id="deploy.yml").parsed_data.state == "disabled_manually"
    with pytest.raises(RequestFailed) as refused:
        rest.actions.create_workflow_dispatch(**O, workflow_id="deploy.yml", ref="main")
    assert refused.value.response.status_code == 422
    rest.actions.enable_workflow(**O, workflow_id="deploy.yml")
    made = rest.actions.create_workflow_dispatch(**O, workflow_id="deploy.yml", ref="main").parsed_data
    assert town.of(made.workflow_run_id).conclusion is None
    rest.actions.re_run_workflow(**O, run_id=run.id)
    assert rest.actions.get_workflow_run(**O, run_id=run.id).parsed_data.run_attempt == 2
    rest.actions.delete_workflow_run_logs(**O, run_id=run.id)
    content = base64.b64encode(b"hello\n").decode()
    written = rest.repos.create_or_update_file_contents(
        **O, path="hello.txt", message="Hi", content=content
    ).parsed_data
    assert written.content.path == "hello.txt"
    rest.repos.delete_file(**O, path="hello.txt", message="Bye", sha=written.content.sha)
    rest.secret_scanning.list_alerts_for_repo(**O)


def test_pygithub_runs_unchanged(town: Town) -> None:
    run = town.run()
    api = pygithub.Github(
        auth=pygithub.Auth.Token(town.tokens["mara"]), base_url=town.url, retry=None,
        seconds_between_requests=None, seconds_between_writes=None,
    )  # fmt: skip
    repo = api.get_repo(FERRY)
    assert (repo.full_name, repo.permissions.admin, api.get_user().login) == (FERRY, True, "mara")
    workflow = repo.get_workflow("deploy.yml")
    assert workflow.disable()
    assert repo.get_workflow("deploy.yml").state == "disabled_manually"
    assert workflow.enable()
    assert workflow.create_dispatch("main")
    assert [r.id for r in repo.get_workflow_runs(event="workflow_dispatch")][-1] == run.id
    assert [job.name for job in repo.get_workflow_run(run.id).jobs()] == ["deploy"]
    repo.create_secret("FRESH", "made-up-fresh")
    assert town.state.secrets["actions", "repository", FERRY]["FRESH"].value == "made-up-fresh"
    assert {s.name for s in repo.get_secrets()} == {"DEPLOY_TOKEN", "FRESH"}
    assert repo.delete_secret("FRESH")
    ref = repo.create_git_ref("refs/heads/harden", repo.get_branch("main").commit.sha)
    repo.create_file("a.txt", "Add", "a\n", branch="harden")
    assert repo.create_pull(base="main", head="harden", title="Harden").number == 1
    ref.delete()
    assert repo.get_contents("CODEOWNERS").decoded_content == b"* @jonas\n"
    with pytest.raises(pygithub.UnknownObjectException):
        repo.get_contents("absent.txt")
    assert [c.author.login for c in repo.get_commits(path="README.md")] == ["jonas", "mara"]


# Who may what


def test_unknown_revoked_and_expired_tokens_are_bad_credentials(town: Town) -> None:
    old = town.state.add_token("mara", scopes=("repo",), expires_in_s=60)
    assert town.call("GET", "/user", old).headers["github-authentication-token-expiration"].endswith("UTC")
    town.clock.advance(61)
    for token in (classic_token(), old):
        answer = town.call("GET", "/user", token)
        assert (answer.status_code, answer.json()["message"]) == (401, "Bad credentials")


def test_a_private_repository_is_hidden(town: Town) -> None:
    assert town.call("GET", f"/repos/{LEDGER}", "mara").status_code == 200
    for who in ("quiet-otter", ""):
        for path in ("", "/actions/runs", "/contents/README.md", "/actions/runs/1/logs"):
            answer = town.call("GET", f"/repos/{LEDGER}{path}", who)
            assert (answer.status_code, answer.json()["message"]) == (404, "Not Found"), path
    assert [r["name"] for r in town.call("GET", f"/orgs/{ORG}/repos", "quiet-otter").json()] == ["ferry"]


def test_a_missing_permission_is_named(town: Town) -> None:
    fine = town.state.add_token("mara", permissions={"metadata": "read", "actions": "read"}, repositories=(FERRY,))
    answer = town.ferry("PUT", "/actions/workflows/deploy.yml/disable", fine)
    assert answer.status_code == 403
    assert answer.json()["message"] == "Resource not accessible by personal access token"
    assert answer.headers["x-accepted-github-permissions"] == "actions=write"
    bare = town.state.add_token("mara", scopes=())
    answer = town.ferry("PUT", "/actions/workflows/deploy.yml/disable", bare)
    assert (answer.status_code, answer.headers["x-accepted-oauth-scopes"]) == (403, "repo")
    assert (answer.headers["x-oauth-scopes"], town.state.repos[FERRY].workflows[DEPLOY].state) == ("", "active")


def test_a_role_limits_what_a_token_may(town: Town) -> None:
    assert town.ferry("PUT", "/actions/workflows/deploy.yml/disable", "jonas").status_code == 204
    assert town.ferry("GET", "/actions/permissions", "jonas").status_code == 403
    strong = town.state.add_token("quiet-otter", scopes=("repo", "workflow", "admin:org"))
    for verb, path in (("GET", "/actions/secrets"), ("POST", "/actions/runs/1/cancel"), ("GET", "/collaborators")):
        assert town.ferry(verb, path, strong).status_code == 403, path
    assert town.call("GET", f"/orgs/{ORG}/actions/secrets", strong).status_code == 404


def test_workflow_files_need_their_own_permission(town: Town) -> None:
    held = {"contents": "write", "metadata": "read"}
    body = {"message": "m", "content": base64.b64encode(b"name: X\n").decode()}
    for permissions, status in ((held, 403), (held | {"workflows": "write"}, 201)):
        token = town.state.add_token("mara", permissions=permissions)
        answer = town.ferry("PUT", "/contents/.github/workflows/x.yml", token, body)
        assert answer.status_code == status
        assert town.ferry("PUT", f"/contents/plain-{status}.txt", token, body).status_code == 201


def test_a_workflow_file_does_not_slip_in_by_a_ref(town: Town) -> None:
    weak = town.state.add_token("mara", permissions={"contents": "write", "metadata": "read"})
    git = town.state.repos[FERRY].git
    tip = git.resolve("main").sha

    def commit(parent: str, path: str) -> str:
        row = {"path": path, "mode": "100644", "type": "blob", "content": "name: X\n"}
        tree = town.ferry("POST", "/git/trees", weak, {"base_tree": parent, "tree": [row]}).json()["sha"]
        body = {"message": "m", "tree": tree, "parents": [parent]}
        return str(town.ferry("POST", "/git/commits", weak, body).json()["sha"])

    sha = commit(commit(tip, ".github/workflows/x.yml"), "innocent.txt")  # the tip itself changes nothing there
    moves: list[tuple[str, str, dict[str, str]]] = [
        ("PATCH", "/git/refs/heads/main", {"sha": sha}),
        ("POST", "/git/refs", {"ref": "refs/heads/new", "sha": sha}),
    ]
    for verb, path, body in moves:
        assert town.ferry(verb, path, weak, body).status_code == 403
    assert (git.resolve("main").sha, git.resolve("new")) == (tip, None)
    for verb, path, body in moves:
        assert town.ferry(verb, path, "mara", body).status_code in (200, 201)


def _app(town: Town, permissions: dict[str, str], repositories: tuple[str, ...] | None) -> tuple[int, str, int]:
    """An App's id, its private key and the id of its installation."""
    app, key = town.state.add_app("harbor-bot", ORG, permissions)
    return app.id, key, town.state.install(app, ORG, repositories).id


def _assertion(town: Town, app_id: int, key: str, **claims: float) -> str:
    now = int(town.clock.time())
    body = {"iat": now - 60, "exp": now + 540, "iss": str(app_id), **claims}
    return jwt.encode(body, key, algorithm="RS256")


def test_an_apps_token_has_what_was_installed(town: Town) -> None:
    app_id, key, number = _app(town, {"metadata": "read", "actions": "write"}, (FERRY,))
    kit = Kit(
        AppAuthStrategy(app_id, key),
        base_url=town.url,
        http_cache=False,
        auto_retry=False,
        cache_strategy=MemCacheStrategy(),
    )
    assert kit.rest.apps.get_authenticated().parsed_data.slug == "harbor-bot"
    assert kit.rest.apps.list_installations().parsed_data[0].id == number
    assert kit.rest.apps.get_repo_installation(**O).parsed_data.id == number
    made = kit.rest.apps.create_installation_access_token(number, data={"permissions": {"actions": "read"}}).parsed_data
    installed = town.kit(made.token)
    mine = installed.rest
    assert [r.full_name for r in mine.apps.list_repos_accessible_to_installation().parsed_data.repositories] == [FERRY]
    assert mine.actions.list_workflow_runs_for_repo(**O).status_code == 200
    answer = town.ferry("PUT", "/actions/workflows/deploy.yml/disable", made.token)
    assert answer.json()["message"] == "Resource not accessible by integration"
    assert town.call("GET", f"/repos/{LEDGER}", made.token).status_code == 404
    assert town.call("GET", "/user", made.token).status_code == 403
    assert town.call("DELETE", "/installation/token", made.token).status_code == 204
    assert town.call("GET", "/installation/repositories", made.token).status_code == 401


def test_an_installations_token_ends_within_the_hour_and_with_its_suspension(town: Town) -> None:
    app_id, key, number = _app(town, {"metadata": "read"}, None)
    path, assertion = f"/app/installations/{number}", _assertion(town, app_id, key)
    first = town.call("POST", f"{path}/access_tokens", assertion).json()["token"]
    assert town.call("GET", f"/repos/{LEDGER}", first).status_code == 200
    assert town.call("PUT", f"{path}/suspended", assertion).status_code == 204
    assert town.call("GET", f"/repos/{LEDGER}", first).status_code == 403
    assert town.call("POST", f"{path}/access_tokens", assertion).status_code == 403
    assert town.call("DELETE", f"{path}/suspended", assertion).status_code == 204
    assert town.call("GET", f"/repos/{LEDGER}", first).status_code == 200
    town.clock.advance(3601)
    assert town.call("GET", f"/repos/{LEDGER}", first).status_code == 401


def test_a_forged_or_stale_app_assertion_is_refused(town: Town) -> None:
    app_id, key, number = _app(town, {"metadata": "read"}, None)
    good = _assertion(town, app_id, key)
    assert town.call("GET", "/app", good).status_code == 200
    _, other_key = town.state.add_app("other", ORG, {})
    now = int(town.clock.time())
    for bad in (
        _assertion(town, app_id, other_key), _assertion(town, app_id, key, exp=now - 1),
        _assertion(town, app_id, key, exp=now + 3600), town.tokens["mara"],
    ):  # fmt: skip
        assert town.call("GET", "/app", bad).status_code == 401
    wide = {"permissions": {"administration": "write"}}
    assert town.call("POST", f"/app/installations/{number}/access_tokens", good, wide).status_code == 422


def test_tokens_are_revoked_by_value_by_nobody(town: Town) -> None:
    leaked = town.state.add_token("jonas", scopes=("repo",))
    body = {"credentials": [leaked, classic_token()]}
    assert town.call("POST", "/credentials/revoke", "mara", body).status_code == 403
    assert town.call("GET", "/user", leaked).status_code == 200
    assert town.call("POST", "/credentials/revoke", "", body).status_code == 202
    assert town.call("GET", "/user", leaked).status_code == 401
    assert town.call("POST", "/credentials/revoke", "", {"credentials": []}).status_code == 422


def test_the_rate_limit_is_counted_and_ends_with_the_hour(town: Town) -> None:
    first = town.call("GET", "/user", "jonas").headers
    assert (first["x-ratelimit-limit"], first["x-ratelimit-remaining"]) == ("5000", "4999")
    town.state.used["user:jonas"][1] = 5000
    answer = town.call("GET", "/user", "jonas")
    assert (answer.status_code, answer.headers["x-ratelimit-remaining"]) == (403, "0")
    core = town.call("GET", "/rate_limit", "jonas").json()["resources"]["core"]
    assert (core["remaining"], core["used"]) == (0, 5000)
    assert int(answer.headers["x-ratelimit-reset"]) == core["reset"]
    assert town.call("GET", "/user", "mara").status_code == 200
    town.clock.advance(3601)
    assert town.call("GET", "/user", "jonas").headers["x-ratelimit-remaining"] == "4999"


def test_a_secondary_limit_comes_from_the_switchboard(town: Town) -> None:
    town.switchboard.add(
        [{"server": "github", "method": "PUT", "status": 403, "headers": {"retry-after": "7"}, "times": 1}]
    )
    path = "/actions/workflows/deploy.yml/disable"
    answer = town.ferry("PUT", path)
    assert (answer.status_code, answer.headers["retry-after"]) == (403, "7")
    assert town.state.repos[FERRY].workflows[DEPLOY].state == "active"
    assert town.ferry("PUT", path).status_code == 204
    ends = time.monotonic() + 5  # an answer without a body is logged just after it is complete
    while len(sent := [row for row in town.switchboard.requests() if row["mutating"]]) < 2 and time.monotonic() < ends:
        time.sleep(0.01)
    assert [(row["status"], row["fault"]) for row in sent] == [(403, "403"), (204, "")]


def test_lists_come_in_pages_with_links(town: Town) -> None:
    for number in range(5):
        town.commit({"n.txt": str(number)})
    first = town.ferry("GET", "/commits?per_page=3")
    assert 'rel="next"' in first.headers["link"]
    assert 'rel="last"' in first.headers["link"]
    second = town.call("GET", first.links["next"]["url"])
    third = town.call("GET", second.links["next"]["url"])
    assert [len(page.json()) for page in (first, second, third)] == [3, 3, 1]
    assert "next" not in third.links
    assert len({c["sha"] for page in (first, second, third) for c in page.json()}) == 7


# Contents


def test_a_file_is_changed_only_by_who_knows_it(town: Town) -> None:
    body = {"message": "Change", "content": base64.b64encode(b"new\n").decode()}
    assert town.ferry("PUT", "/contents/README.md", body=body).status_code == 422
    assert town.ferry("PUT", "/contents/README.md", body={**body, "sha": "0" * 40}).status_code == 409
    sha = town.ferry("GET", "/contents/README.md").json()["sha"]
    assert town.ferry("PUT", "/contents/README.md", body={**body, "sha": sha}).status_code == 200
    raw = town.ferry("GET", "/contents/README.md", Accept="application/vnd.github.raw+json")
    assert (raw.content, town.ferry("GET", "/commits").json()[0]["commit"]["message"]) == (b"new\n", "Change")


def test_git_names_are_gits_own(town: Town) -> None:
    assert town.state.repos[FERRY].git.put_blob(b"hello\n") == "ce013625030ba8dba906f756967f9e9ca394464a"
    assert town.state.repos[FERRY].git.put_tree({}) == "4b825dc642cb6eb9a060e54bf8d69288fbee4904"


def test_a_pull_request_is_made_of_blobs_trees_and_refs(town: Town) -> None:
    tip = town.ferry("GET", "/git/ref/heads/main").json()["object"]["sha"]
    row = {"path": "docs/a.txt", "mode": "100644", "type": "blob", "content": "a\n"}
    tree = town.ferry("POST", "/git/trees", body={"base_tree": tip, "tree": [row]}).json()["sha"]
    sha = town.ferry("POST", "/git/commits", body={"message": "A", "tree": tree, "parents": [tip]}).json()["sha"]
    ref = {"ref": "refs/heads/a", "sha": sha}
    assert town.ferry("POST", "/git/refs", body=ref).status_code == 201
    assert town.ferry("POST", "/git/refs", body=ref).json()["message"] == "Reference already exists"
    assert town.ferry("PATCH", "/git/refs/heads/main", body={"sha": sha}).status_code == 200
    assert town.ferry("PATCH", "/git/refs/heads/main", body={"sha": tip}).status_code == 422
    assert [f["filename"] for f in town.ferry("GET", f"/commits/{sha}").json()["files"]] == ["docs/a.txt"]


# Secrets


def test_a_sealed_box_is_opened_and_only_its_name_comes_back(town: Town) -> None:
    path = f"/repos/{FERRY}/actions/secrets/NEW_ONE"
    assert town.put_secret(path, "made-up-first").status_code == 201
    before = town.call("GET", path).json()
    town.clock.advance(60)
    assert town.put_secret(path, "made-up-second").status_code == 204
    after = town.call("GET", path).json()
    assert (after["created_at"], after["updated_at"] > before["updated_at"]) == (before["created_at"], True)
    assert set(after) == {"name", "created_at", "updated_at"}
    wrong = town.call("GET", f"/repos/{FERRY}/dependabot/secrets/public-key").json()
    right = town.call("GET", f"/repos/{FERRY}/actions/secrets/public-key").json()
    box = nacl.public.SealedBox(nacl.public.PublicKey(base64.b64decode(right["key"])))
    sealed = base64.b64encode(box.encrypt(b"made-up")).decode()
    for body in (
        {"encrypted_value": sealed, "key_id": wrong["key_id"]}, {"key_id": right["key_id"]},
        {"encrypted_value": base64.b64encode(bytes(80)).decode(), "key_id": right["key_id"]},
    ):  # fmt: skip
        assert town.call("PUT", path, body=body).status_code == 422
    assert town.state.secrets["actions", "repository", FERRY]["NEW_ONE"].value == "made-up-second"
    assert town.call("DELETE", path).status_code == 204
    assert town.call("DELETE", path).status_code == 404


def test_an_organization_secret_needs_its_visibility_every_time(town: Town) -> None:
    path, ferry = f"/orgs/{ORG}/actions/secrets/SHARED", town.state.repos[FERRY]
    assert town.put_secret(path, "made-up").status_code == 422
    chosen = {"visibility": "selected", "selected_repository_ids": [ferry.id]}
    assert town.put_secret(path, "made-up", **chosen).status_code == 201
    visible = f"/repos/{FERRY}/actions/organization-secrets"
    assert [s["name"] for s in town.call("GET", visible).json()["secrets"]] == ["SHARED"]
    assert town.call("DELETE", f"{path}/repositories/{ferry.id}").status_code == 204
    assert town.call("GET", visible).json()["total_count"] == 0
    assert town.put_secret(path, "made-up", visibility="private").status_code == 204
    assert town.call("PUT", f"{path}/repositories/{ferry.id}").status_code == 409
    assert town.call("GET", visible).json()["total_count"] == 0  # ferry is public
    assert town.put_secret(path, "made-up", visibility="all").status_code == 204
    assert town.call("GET", visible).json()["total_count"] == 1


@pytest.mark.parametrize("store", ["actions", "dependabot", "codespaces", "agents"])
def test_the_stores_are_apart(town: Town, store: str) -> None:
    assert town.put_secret(f"/repos/{FERRY}/{store}/secrets/ALONE", "made-up").status_code == 201
    for other in ("actions", "dependabot", "codespaces", "agents"):
        status = town.ferry("GET", f"/{other}/secrets/ALONE").status_code
        assert status == (200 if other == store else 404)


# Logs


def _zip(town: Town, link: str) -> dict[str, str]:
    data = town.call("GET", link, "").content
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name).decode("utf-8-sig") for name in archive.namelist()}


def test_logs_of_a_public_repository_are_for_everybody_who_is_signed_in(town: Town) -> None:
    run = town.run()
    assert town.ferry("GET", f"/actions/runs/{run.id}/logs", "").status_code == 403
    answer = town.ferry("GET", f"/actions/runs/{run.id}/logs", "quiet-otter")
    assert answer.status_code == 302
    files = _zip(town, answer.headers["location"])
    assert any("ready to go with ***" in line for line in files["0_deploy.txt"].splitlines())
    assert any(name.startswith("deploy/") for name in files)
    job = town.ferry("GET", f"/actions/jobs/{run.jobs[0].id}/logs", "quiet-otter").headers["location"]
    assert town.call("GET", job, "").text.lstrip("\ufeff") == files["0_deploy.txt"]


def test_a_link_to_logs_lives_a_minute_and_cannot_be_bent(town: Town) -> None:
    first, second = town.run(), town.run()
    link = town.ferry("GET", f"/actions/runs/{first.id}/logs").headers["location"]
    assert town.call("GET", link.replace(str(first.id), str(second.id)), "").status_code == 403
    town.clock.advance(61)
    assert town.call("GET", link, "").status_code == 403


def test_deleted_logs_are_gone_by_every_way(town: Town) -> None:
    run = town.run()
    town.ferry("POST", f"/actions/runs/{run.id}/rerun")
    link = town.ferry("GET", f"/actions/runs/{run.id}/attempts/1/logs").headers["location"]
    town.github.runner.settle()
    assert town.ferry("DELETE", f"/actions/runs/{run.id}/logs", "quiet-otter").status_code == 403
    assert town.ferry("DELETE", f"/actions/runs/{run.id}/logs").status_code == 204
    gone = [
        f"/actions/runs/{run.id}/logs",
        f"/actions/runs/{run.id}/attempts/1/logs",
        f"/actions/runs/{run.id}/attempts/2/logs",
    ]
    for path in [*gone, f"/actions/jobs/{run.jobs[0].id}/logs"]:
        assert town.ferry("GET", path).status_code == 404, path
    assert town.call("GET", link, "").status_code == 404
    assert town.ferry("DELETE", f"/actions/runs/{run.id}/logs").status_code == 404
    assert town.ferry("GET", f"/actions/runs/{run.id}").status_code == 200


def test_runs_are_found_by_what_they_are(town: Town) -> None:
    first = town.run()
    town.clock.advance(7200)
    second = town.run(who="jonas")
    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(town.clock.time() - 3600))
    searches = {
        "actor=jonas": [second.id], f"created=>={at}": [second.id], f"created=*..{at}": [first.id],
        "status=success": [second.id, first.id], "status=queued": [], "branch=main": [second.id, first.id],
        f"head_sha={first.head_sha}&event=workflow_dispatch": [second.id, first.id], "event=push": [],
    }  # fmt: skip
    for query, found in searches.items():
        runs = town.ferry("GET", f"/actions/runs?{query}").json()["workflow_runs"]
        assert [r["id"] for r in runs] == found, query


# Settings and alerts


def test_settings_come_back_as_they_were_put(town: Town) -> None:
    ferry = town.ferry
    assert ferry("GET", "/actions/permissions/selected-actions").status_code == 409
    puts: list[tuple[str, dict[str, Any]]] = [
        ("/actions/permissions", {"enabled": True, "allowed_actions": "selected", "sha_pinning_required": True}),
        ("/actions/permissions/selected-actions",
         {"github_owned_allowed": False, "verified_allowed": True, "patterns_allowed": ["a/b@*"]}),
        ("/actions/permissions/workflow",
         {"default_workflow_permissions": "write", "can_approve_pull_request_reviews": True}),
        ("/actions/permissions/fork-pr-contributor-approval", {"approval_policy": "all_external_contributors"}),
    ]  # fmt: skip
    for path, body in puts:
        assert ferry("PUT", path, body=body).status_code == 204
        assert body.items() <= ferry("GET", path).json().items()
    assert ferry("PUT", "/actions/permissions", body={"enabled": False}).status_code == 204
    assert ferry("GET", "/actions/permissions").json() == {"enabled": False, "sha_pinning_required": True}
    body = {"use_default": False, "include_claim_keys": ["repo", "context"]}
    assert ferry("PUT", "/actions/oidc/customization/sub", body=body).status_code == 201
    assert body.items() <= ferry("GET", "/actions/oidc/customization/sub").json().items()


def test_an_alert_shows_its_secret_unless_it_is_hidden(town: Town) -> None:
    full(town)
    one = "/secret-scanning/alerts/1"
    assert town.ferry("GET", one).json()["secret"] == "made-up-d"
    assert "secret" not in town.ferry("GET", f"{one}?hide_secret=true").json()
    assert "secret" not in town.ferry("GET", "/secret-scanning/alerts?hide_secret=true").json()[0]
    assert town.ferry("GET", one, "jonas").status_code == 403
    assert town.ferry("PATCH", one, body={"state": "resolved"}).status_code == 422
    body = {"state": "resolved", "resolution": "revoked", "resolution_comment": "contained"}
    assert town.ferry("PATCH", one, body=body).json()["resolved_by"]["login"] == "mara"
    assert town.ferry("PATCH", one, body=body).status_code == 400
    assert town.ferry("GET", "/secret-scanning/alerts?state=open").json() == []
    assert town.ferry("PATCH", one, body={"state": "open"}).json()["resolution"] is None


def test_a_deploy_key_belongs_to_one_repository(town: Town) -> None:
    body = {"title": "robot", "key": KEY}
    number = town.ferry("POST", "/keys", body=body).json()["id"]
    assert town.call("POST", f"/repos/{LEDGER}/keys", body=body).status_code == 422
    assert town.ferry("DELETE", f"/keys/{number}").status_code == 204
    assert town.ferry("GET", f"/keys/{number}").status_code == 404
    assert town.call("POST", f"/repos/{LEDGER}/keys", body=body).status_code == 201


def test_errors_say_what_is_wrong(town: Town) -> None:
    assert town.call("GET", f"/orgs/{ORG}/audit-log").status_code == 404
    assert town.call("GET", "/nothing/here").status_code == 404
    assert town.call("GET", "/user", X_GitHub_Api_Version="1999-01-01").status_code == 400
    answer = town.ferry("POST", "/pulls", body={"title": "x", "head": "absent", "base": "main"})
    assert answer.status_code == 422
    assert answer.json()["errors"] == [{"resource": "PullRequest", "field": "head", "code": "invalid"}]
    assert answer.json()["documentation_url"].startswith("https://docs.github.com/")
    assert ":" in answer.headers["x-github-request-id"]


def test_reset_forgets_everything_but_where_it_is(town: Town) -> None:
    town.run()
    base = town.github.base_url
    town.github.reset()
    assert (town.github.base_url, town.state.repos, town.state.runs) == (base, {}, {})
    assert town.call("GET", "/user").status_code == 401


def test_a_snapshot_keeps_what_differs_between_equal_ends_apart(town: Town) -> None:
    town.run()
    first = town.github.snapshot()
    again = build(town.github, town.switchboard, town.clock, town.url)
    town.clock.advance(5)
    again.run()
    second = again.github.snapshot()
    assert first.pop("volatile") != second.pop("volatile")
    assert first == second
    assert "made-up" not in str(first)
    again.ferry("PUT", "/actions/workflows/deploy.yml/disable")
    assert again.github.snapshot()["repositories"][FERRY]["workflows"] == {DEPLOY: "disabled_manually"}

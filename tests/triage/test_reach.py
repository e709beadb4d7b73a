"""What the jobs of a run could read, mint or assume."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from bot.actions.github_runs import cancel_runs
from bot.errors import NotFound
from bot.model import Credential, Reached, SecretStore, WorkflowRef
from bot.triage.reach import reach_of_run
from tests.conftest import DEPLOY, FERRY, ORG, Ferry

FLOW = ".github/workflows/flow.yml"


def flow(ferry: Ferry, jobs: str, *, top: str = "", called: dict[str, str] | None = None) -> int:
    """A run of a workflow with these jobs; ``called`` are reusable workflows beside it (name -> jobs)."""
    files = {FLOW: f"name: Flow\non: workflow_dispatch\n{top}\njobs:\n{indented(jobs)}"}
    for name, text in (called or {}).items():
        files[f".github/workflows/{name}"] = f"on: workflow_call\njobs:\n{indented(text)}"
    ferry.commit(files)
    return start(ferry)


def indented(text: str) -> str:
    return "".join(f"  {line}\n" for line in text.strip("\n").splitlines())


def start(ferry: Ferry, event: str = "workflow_dispatch", actor: str = "mara", **more: Any) -> int:
    """A run's record as GitHub would make it for this event, also for files that the range's runner does not run."""
    from bot.range.github.nouns import Run

    state = ferry.state
    repo, now = state.repos[FERRY], state.now()
    run = Run(
        id=state.next_run_id(), repo=repo, workflow=repo.workflows[FLOW], number=1, event=event, ref="refs/heads/main",
        head_branch="main", head_sha=repo.git.resolve("refs/heads/main").sha, head_repo=more.pop("head_repo", repo),
        actor=state.accounts[actor], triggering_actor=state.accounts["mara"], created_at=now, updated_at=now,
        started_at=now, spec={}, title="Flow", **more,
    )  # fmt: skip
    run.status, run.conclusion = "completed", "success"
    state.runs[run.id] = run
    return int(run.id)


def secrets(ferry: Ferry, run: int) -> set[tuple[str, str]]:
    """(name, scope) of each secret in reach."""
    reached = reach_of_run(ferry.world, FERRY, run)[0]
    return {(each.name, each.scope) for each in reached if each.kind in ("secret", "aws-access-key")}


def put(ferry: Ferry, *names: str, where: str = FERRY, **more: Any) -> None:
    for name in names:
        ferry.state.set_secret(where, name, f"made-up-{name.lower()}", **more)


def of_kind(reached: tuple[Reached, ...], kind: str) -> list[Reached]:
    return [each for each in reached if each.kind == kind]


def test_the_deploy_job(ferry: Ferry) -> None:
    put(ferry, "STATUS_PAGE_TOKEN")
    put(ferry, "SENTRY_DSN", where=ORG, visibility="selected", selected=())
    leaked = Credential(provider="aws", kind="aws-access-key", id=ferry.aws[0])
    run = ferry.run()
    ferry.pass_time(3600)
    reached, stores, tails, unknown = reach_of_run(ferry.world, FERRY, run, leaked)
    assert [(each.kind, each.name, each.scope, each.credential) for each in reached] == [
        ("aws-access-key", "AWS_ACCESS_KEY_ID", "repository", leaked),
        ("aws-access-key", "AWS_SECRET_ACCESS_KEY", "repository", leaked),
        ("github-token", "GITHUB_TOKEN of job deploy", "job", None),
    ]
    assert reached[2].how == "every job has one; permissions: contents: read"
    assert stores == (
        SecretStore(repository=FERRY, name="AWS_ACCESS_KEY_ID", part="id"),
        SecretStore(repository=FERRY, name="AWS_SECRET_ACCESS_KEY", part="secret"),
    )
    assert (tails, unknown) == ((), ())
    assert ferry.mutations() == []


def test_a_run_under_way_has_a_living_token_that_cancelling_ends(ferry: Ferry) -> None:
    reached, _, (tail,), _ = reach_of_run(ferry.world, FERRY, ferry.run())
    (token,) = of_kind(reached, "github-token")
    assert token.credential is not None
    ref = WorkflowRef(repository=FERRY, workflow=DEPLOY)
    assert cancel_runs.ends is not None
    assert cancel_runs.kills is not None
    assert (tail.kind, tail.of) == cancel_runs.ends(ref)
    assert cancel_runs.kills(ref) == token.credential.key == tail.of
    assert timedelta(hours=5, minutes=59) < tail.until - ferry.world.now() <= timedelta(hours=6)


def test_another_kind_of_leak_leaves_the_aws_pair_a_secret_of_its_own(ferry: Ferry) -> None:
    leaked = Credential(provider="npm", kind="npm-token", fingerprint="hmac:0")
    reached, stores, _, _ = reach_of_run(ferry.world, FERRY, ferry.run(), leaked)
    assert stores == ()
    assert [each.name for each in of_kind(reached, "secret")] == ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"]


def test_the_file_is_read_at_the_runs_commit(ferry: Ferry) -> None:
    put(ferry, "OLD", "NEW")
    run = flow(ferry, "a: {env: {X: '${{ secrets.OLD }}'}, runs-on: x}")
    ferry.commit({FLOW: "on: push\njobs:\n  a: {env: {X: '${{ secrets.NEW }}'}, runs-on: x}\n"})
    assert secrets(ferry, run) == {("OLD", "repository")}


def test_the_most_specific_secret_wins(ferry: Ferry) -> None:
    ferry.state.add_environment(FERRY, "prod")
    put(ferry, "A", "B", "C", where=ORG)
    put(ferry, "A", "B")
    put(ferry, "A", environment="prod")
    env = "{X: '${{ secrets.A }}', Y: '${{ secrets.B }}', Z: '${{ secrets.C }}'}"
    run = flow(ferry, f"a: {{runs-on: x, environment: prod, env: {env}}}\nb: {{runs-on: x, env: {env}}}")
    assert secrets(ferry, run) == {
        ("A", "environment:prod"), ("A", "repository"), ("B", "repository"), ("C", "organization"),
    }  # fmt: skip


def test_a_computed_name_means_all_that_the_job_sees(ferry: Ferry) -> None:
    ferry.state.add_environment(FERRY, "prod")
    ferry.state.add_environment(FERRY, "other")
    put(ferry, "IN_PROD", environment="prod")
    put(ferry, "IN_OTHER", environment="other")
    put(ferry, "OF_ORG", where=ORG)
    put(ferry, "NOT_OURS", where=ORG, visibility="selected", selected=())
    run = flow(ferry, "a: {runs-on: x, environment: prod, env: {X: '${{ toJSON(secrets) }}'}}")
    assert secrets(ferry, run) == {
        ("IN_PROD", "environment:prod"), ("AWS_ACCESS_KEY_ID", "repository"), ("AWS_SECRET_ACCESS_KEY", "repository"),
        ("OF_ORG", "organization"),
    }  # fmt: skip


CALLED = "inner: {runs-on: x, environment: prod, env: {X: '${{ secrets.TOKEN }}', Y: '${{ secrets.PROD }}'}}"


def called(ferry: Ferry, hands: str) -> set[tuple[str, str]]:
    ferry.state.add_environment(FERRY, "prod")
    put(ferry, "TOKEN", "MINE", "UNUSED")
    put(ferry, "PROD", environment="prod")
    caller = f"call:\n  uses: ./.github/workflows/inner.yml\n  {hands}"
    return secrets(ferry, flow(ferry, caller, called={"inner.yml": CALLED}))


def test_a_called_workflow_that_inherits(ferry: Ferry) -> None:
    assert called(ferry, "secrets: inherit") == {("TOKEN", "repository"), ("PROD", "environment:prod")}


def test_a_called_workflow_with_named_secrets(ferry: Ferry) -> None:
    handed = called(ferry, "secrets: {token: '${{ secrets.MINE }}'}")
    assert handed == {("MINE", "repository"), ("PROD", "environment:prod")}


def test_a_called_workflow_that_is_given_none(ferry: Ferry) -> None:
    assert called(ferry, "") == {("PROD", "environment:prod")}


def test_names_are_followed_through_two_calls(ferry: Ferry) -> None:
    put(ferry, "MINE", "TWO", "THREE")
    middle = "m: {uses: ./.github/workflows/last.yml, secrets: {three: '${{ secrets.two }}'}}"
    last = "l: {runs-on: x, permissions: write-all, env: {X: '${{ toJSON(secrets) }}'}}"
    first = "uses: ./.github/workflows/middle.yml\n  permissions: {contents: read}\n  secrets:"
    top = f"call:\n  {first} {{two: '${{{{ secrets.mine }}}}'}}"
    run = flow(ferry, top, called={"middle.yml": middle, "last.yml": last})
    assert secrets(ferry, run) == {("MINE", "repository")}
    reached = reach_of_run(ferry.world, FERRY, run)[0]
    (token,) = of_kind(reached, "github-token")
    assert token.name == "GITHUB_TOKEN of job call / m / l"
    assert "permissions: contents: read" in token.how
    assert of_kind(reached, "id-token") == []


def test_a_call_to_another_repository_of_the_owner(ferry: Ferry) -> None:
    ferry.state.add_repo(f"{ORG}/shared")
    text = "on: workflow_call\njobs:\n  inner: {runs-on: x, env: {X: '${{ secrets.TOKEN }}'}}\n"
    ferry.commit({".github/workflows/w.yml": text}, repository=f"{ORG}/shared")
    put(ferry, "TOKEN", "UNUSED")
    run = flow(ferry, f"call: {{uses: {ORG}/shared/.github/workflows/w.yml@main, secrets: inherit}}")
    assert secrets(ferry, run) == {("TOKEN", "repository")}


def test_a_call_that_cannot_be_read_may_have_read_what_it_inherits(ferry: Ferry) -> None:
    put(ferry, "TOKEN")
    everything = {("TOKEN", "repository"), ("AWS_ACCESS_KEY_ID", "repository"), ("AWS_SECRET_ACCESS_KEY", "repository")}
    run = flow(ferry, "call: {uses: nobody/nothing/.github/workflows/w.yml@v1, secrets: inherit}")
    assert secrets(ferry, run) == everything
    assert any("nobody/nothing" in each for each in reach_of_run(ferry.world, FERRY, run)[3])
    run = flow(ferry, "call: {uses: nobody/nothing/.github/workflows/w.yml@v1, secrets: {a: '${{ secrets.TOKEN }}'}}")
    assert secrets(ferry, run) == {("TOKEN", "repository")}


def test_a_circle_of_calls_ends(ferry: Ferry) -> None:
    run = flow(ferry, "a: {uses: ./.github/workflows/flow.yml, secrets: inherit}")
    assert any("could not be read" in each for each in reach_of_run(ferry.world, FERRY, run)[3])


def test_a_pull_request_of_a_fork_gets_no_secrets(ferry: Ferry) -> None:
    flow(ferry, "a: {runs-on: x, permissions: write-all, env: {X: '${{ toJSON(secrets) }}'}}")
    fork = ferry.state.add_repo("quiet-otter/ferry", fork_of=FERRY)
    run = start(ferry, "pull_request", "quiet-otter", head_repo=fork)
    reached, stores, tails, _ = reach_of_run(ferry.world, FERRY, run)
    assert [each.kind for each in reached] == ["github-token"]
    assert "read at most" in reached[0].how
    assert (stores, tails) == ((), ())
    same = start(ferry, "pull_request", "jonas")
    assert len(secrets(ferry, same)) == 2


def test_a_pull_request_target_of_a_fork_gets_them(ferry: Ferry) -> None:
    flow(ferry, "a: {runs-on: x, env: {X: '${{ toJSON(secrets) }}'}}")
    fork = ferry.state.add_repo("quiet-otter/ferry", fork_of=FERRY)
    assert len(secrets(ferry, start(ferry, "pull_request_target", "quiet-otter", head_repo=fork))) == 2


def test_dependabots_runs_get_dependabots_secrets(ferry: Ferry) -> None:
    put(ferry, "TOKEN")
    flow(ferry, "a: {runs-on: x, env: {X: '${{ secrets.TOKEN }}', Y: '${{ secrets.OTHER }}'}}")
    ferry.state.add_user("dependabot[bot]", kind="Bot")
    put(ferry, "OTHER", store="dependabot")
    run = start(ferry, "pull_request", "dependabot[bot]")
    assert secrets(ferry, run) == {("OTHER", "dependabot")}
    assert secrets(ferry, start(ferry, "schedule", "dependabot[bot]")) == {("TOKEN", "repository")}


def test_an_id_token_and_its_roles(ferry: Ferry) -> None:
    role = "arn:aws:iam::123456789012:role/deploy"
    step = "steps: [{uses: aws-actions/configure-aws-credentials@v5, with: {role-to-assume: '%s'}}]"
    jobs = f"a: {{runs-on: x, permissions: {{id-token: write}}, {step % role}}}\n"
    jobs += f"b: {{runs-on: x, permissions: {{contents: read}}, {step % '${{ vars.ROLE }}'}}}"
    reached, _, tails, unknown = reach_of_run(ferry.world, FERRY, flow(ferry, jobs))
    assert [(each.kind, each.name, each.known) for each in reached if each.kind != "github-token"] == [
        ("id-token", "id-token of job a", True), ("oidc-role", role, True), ("role", "${{ vars.ROLE }}", False),
    ]  # fmt: skip
    assert [tail.kind for tail in tails] == ["id-token", "sts-session"]
    assert unknown == ("Which other roles trust the id-token of job a is not known",)
    run = next(iter(reversed(ferry.state.runs)))
    ferry.pass_time(600)
    assert [tail.kind for tail in reach_of_run(ferry.world, FERRY, run)[2]] == ["sts-session"]
    ferry.pass_time(13 * 3600)
    assert reach_of_run(ferry.world, FERRY, run)[2] == ()


def test_permissions_that_nobody_states_are_the_repositorys_default(ferry: Ferry) -> None:
    ferry.state.repos[FERRY].token_default["default_workflow_permissions"] = "write"
    run = flow(ferry, "a: {runs-on: x}")
    assert "default, write" in reach_of_run(ferry.world, FERRY, run)[0][0].how


def test_two_aws_keys_are_not_guessed_between(ferry: Ferry) -> None:
    put(ferry, "STAGING_ID", "STAGING_SECRET")
    pair = "env: {AWS_ACCESS_KEY_ID: '${{ secrets.%s }}', AWS_SECRET_ACCESS_KEY: '${{ secrets.%s }}'}"
    jobs = f"a: {{runs-on: x, {pair % ('AWS_ACCESS_KEY_ID', 'AWS_SECRET_ACCESS_KEY')}}}\n"
    jobs += f"b: {{runs-on: x, {pair % ('STAGING_ID', 'STAGING_SECRET')}}}"
    reached, stores, _, unknown = reach_of_run(ferry.world, FERRY, flow(ferry, jobs))
    assert stores == ()
    assert len(of_kind(reached, "secret")) == 4
    assert any("STAGING_SECRET" in each for each in unknown)


@pytest.mark.parametrize("store", ["dependabot", "codespaces", "agents"])
def test_a_secret_of_the_same_name_elsewhere_is_pointed_out(ferry: Ferry, store: str) -> None:
    put(ferry, "AWS_SECRET_ACCESS_KEY", store=store)
    unknown = reach_of_run(ferry.world, FERRY, ferry.run())[3]
    said = f"Whether the {store} secrets hold a copy of AWS_SECRET_ACCESS_KEY is not known"
    assert [each for each in unknown if "IAM" not in each and "AWS did not answer" not in each] == [said]


def test_a_name_that_exists_nowhere_is_said_and_not_in_reach(ferry: Ferry) -> None:
    run = flow(ferry, "a: {runs-on: x, env: {X: '${{ secrets.GONE }}', Y: '${{ secrets.GITHUB_TOKEN }}'}}")
    reached, _, _, unknown = reach_of_run(ferry.world, FERRY, run)
    assert [each.kind for each in reached] == ["github-token"]
    assert len(unknown) == 1
    assert "GONE" in unknown[0]


def test_what_may_not_be_seen_is_unknown_not_absent(ferry: Ferry) -> None:
    run = ferry.run()
    outsider = replace(ferry.world, github=ferry.client("quiet-otter"))
    reached, stores, _, unknown = reach_of_run(outsider, FERRY, run)
    named = of_kind(reached, "secret")
    assert {(each.name, each.known) for each in named} == {
        ("AWS_ACCESS_KEY_ID", False), ("AWS_SECRET_ACCESS_KEY", False),
    }  # fmt: skip
    assert stores == ()
    assert any("could not be seen" in each for each in unknown)


def test_a_workflow_that_cannot_be_read_is_unknown(ferry: Ferry) -> None:
    flow(ferry, "a: {runs-on: x}")
    ferry.commit({FLOW: "jobs: what"})
    reached, _, _, (unknown,) = reach_of_run(ferry.world, FERRY, start(ferry))
    assert reached == ()
    assert FLOW in unknown


def test_a_run_that_is_not_there(ferry: Ferry) -> None:
    with pytest.raises(NotFound):
        reach_of_run(ferry.world, FERRY, 1)

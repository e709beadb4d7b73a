"""Each of GitHub's rules that the runner claims to hold to."""

from __future__ import annotations

import asyncio
import base64
import json
import re
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from bot.range.expressions import Unsupported, condition, evaluate, fill
from bot.range.github.nouns import Job, Run
from bot.range.shell import Box, interpret
from bot.range.workflow_file import WorkflowMistake, parse, token_scopes
from tests.range.conftest import Cloud
from tests.range.town import FERRY, LEDGER, ORG, Town, build, log_of
from tests.slack_range import serving

HIDDEN = "made-up/Secret+Value=" + "q7" * 10


@pytest.fixture
def town(github_server: tuple[Any, ...]) -> Town:
    return build(*github_server)


def workflow(*steps: str, on: str = "workflow_dispatch:", job: str = "", top: str = "") -> str:
    """A file with one job; a step is one line (a command) or lines of YAML."""
    rows = "".join(f"      - {step}\n" for step in steps)
    return f"name: Try\non:\n  {on}\n{top}jobs:\n  try:\n    runs-on: ubuntu-latest\n{job}    steps:\n{rows}"


Runs = Callable[..., tuple[Run, Job, str]]


@pytest.fixture
def runs(town: Town) -> Runs:
    """Commit a workflow, dispatch it, and return the run, its job and the job's log."""

    def go(*steps: str, who: str = "mara", **more: str) -> tuple[Run, Job, str]:
        town.commit({".github/workflows/try.yml": workflow(*steps, **more)})
        run = town.run("try.yml", who)
        return run, run.jobs[0], log_of(run.jobs[0])

    return go


def unpacked(log: str) -> str:
    """What stands base64-encoded in a log."""
    rows = re.findall(r"^[A-Za-z0-9+/=]{60,76}$", log, re.MULTILINE)
    whole = log[log.index(rows[0]) :].split("##[")[0].split("Cleaning up")[0]
    return base64.b64decode("".join(whole.split())).decode()


# Secrets


def test_a_secret_is_masked_exactly_and_its_encoding_passes(town: Town, runs: Runs) -> None:
    town.state.set_secret(FERRY, "KEY", HIDDEN)
    _, job, log = runs('run: echo "[$KEY]" "[prefix-$KEY-suffix]"', "run: env | base64", job=_env("KEY"))
    assert "[***] [prefix-***-suffix]" in log
    assert "  KEY: ***" in log
    assert HIDDEN not in log
    assert f"KEY={HIDDEN}\n" in unpacked(log)
    assert (job.status, job.conclusion) == ("completed", "success")


def _env(*names: str) -> str:
    return "    env:\n" + "".join(f"      {n}: ${{{{ secrets.{n} }}}}\n" for n in names)


@pytest.mark.parametrize("command", [
    'echo "$KEY" | base64', "printenv KEY | base64 -w0", 'printf "%s" "$KEY" | base64 --wrap=0',
    "env | base64 | base64 -w 0",
])  # fmt: skip
def test_every_way_of_encoding_it_passes(town: Town, runs: Runs, command: str) -> None:
    town.state.set_secret(FERRY, "KEY", HIDDEN)
    _, _, log = runs(f"run: {command}", job=_env("KEY"))
    printed = log.rsplit("##[endgroup]\n", 1)[1].replace("Cleaning up orphan processes\n", "")
    found = base64.b64decode("".join(printed.split()))
    if "| base64 |" in command:
        found = base64.b64decode(found)
    assert HIDDEN in found.decode()


def test_each_line_of_a_secret_is_masked_and_whatever_is_added(town: Town, runs: Runs) -> None:
    town.state.set_secret(FERRY, "PEM", "made-up-line-one\nmade-up-line-two")
    _, _, log = runs('run: echo "made-up-line-two and made-up-line"', "run: echo '::add-mask::later-on'",
                     "run: echo before later-on after", job=_env("PEM"))  # fmt: skip
    assert "\n*** and made-up-line\n" in log
    assert "later-on" not in log.split("##[group]")[-1]
    assert "before *** after" in log


TWO_JOBS = """\
name: Two
on: workflow_dispatch
jobs:
  first:
    runs-on: ubuntu-latest
    steps:
      - run: sleep 100
  second:
    needs: first
    runs-on: ubuntu-latest
    environment: production
    env:
      QUEUED: ${{ secrets.QUEUED }}
      ENTERED: ${{ secrets.ENTERED }}
    steps:
      - run: printenv QUEUED | base64
      - run: printenv ENTERED | base64
"""


def _b64(text: str) -> str:
    return base64.b64encode(f"{text}\n".encode()).decode()


def test_secrets_are_read_when_the_run_is_queued_and_the_environments_when_its_job_starts(town: Town) -> None:
    state, secret = town.state, f"/repos/{FERRY}/actions/secrets/QUEUED"
    state.add_environment(FERRY, "production")
    state.set_secret(FERRY, "ENTERED", "env-old", environment="production")
    assert town.put_secret(secret, "repo-old").status_code == 201
    town.commit({".github/workflows/two.yml": TWO_JOBS})
    run = town.run("two.yml")
    assert [j.status for j in run.jobs] == ["in_progress", "queued"]
    town.call("DELETE", secret)
    state.set_secret(FERRY, "ENTERED", "env-new", environment="production")
    town.pass_time(101)
    log = log_of(run.jobs[1])
    assert run.conclusion == "success"
    assert _b64("repo-old") in log
    assert _b64("env-new") in log
    again = town.run("two.yml")
    town.pass_time(101)
    assert _b64("repo-old") not in log_of(again.jobs[1])


def test_the_nearest_secret_wins(town: Town, runs: Runs) -> None:
    town.state.set_secret(ORG, "NEAR", "from-org")
    town.state.set_secret(ORG, "ONLY_ORG", "only-org")
    town.state.set_secret(ORG, "NOT_OURS", "not-ours", visibility="selected", selected=(LEDGER,))
    town.state.set_secret(FERRY, "NEAR", "from-repo")
    _, _, log = runs("run: env | base64", job=_env("NEAR", "ONLY_ORG", "NOT_OURS"))
    found = unpacked(log)
    assert "NEAR=from-repo\n" in found
    assert "ONLY_ORG=only-org\n" in found
    assert "NOT_OURS=\n" in found


def test_an_environment_lets_only_its_branches_in(town: Town, runs: Runs) -> None:
    town.state.add_environment(FERRY, "production", branches=("release/*",))
    town.state.set_secret(FERRY, "KEY", HIDDEN, environment="production")
    run, job, log = runs("run: env | base64", job="    environment: production\n" + _env("KEY"))
    assert (run.conclusion, job.conclusion) == ("failure", "failure")
    assert "not allowed to deploy to production" in log
    assert _b64(HIDDEN) not in log


# Forks

PULL = workflow("uses: actions/checkout@v5", "run: env | base64", on="pull_request:", job=_env("KEY"),
                top="permissions: write-all\n")  # fmt: skip


def _fork_pull(town: Town, *, member: bool) -> Run:
    who = "jonas" if member else "quiet-otter"
    town.commit({".github/workflows/pull.yml": PULL})
    town.state.set_secret(FERRY, "KEY", HIDDEN)
    fork = town.state.add_repo(f"{who}/ferry", fork_of=FERRY).full_name
    town.commit({"x.txt": "x\n"}, who, fork, branch="patch")
    body = {"title": "Patch", "head": f"{who}:patch", "base": "main"}
    token = town.state.add_token(who, scopes=("public_repo",))
    assert town.ferry("POST", "/pulls", token, body).status_code == 201
    town.github.runner.settle()
    run: Run = max(town.state.runs.values(), key=lambda r: r.id)
    return run


def test_a_forks_pull_request_gets_no_secret_a_reading_token_and_no_id_token(town: Town) -> None:
    run = _fork_pull(town, member=True)
    assert (run.event, run.conclusion, run.from_fork) == ("pull_request", "success", True)
    log = log_of(run.jobs[0])
    found = unpacked(log)
    assert "KEY=\n" in found
    assert "ACTIONS_ID_TOKEN_REQUEST_URL" not in found
    assert "Secret source: None" in log
    assert "Contents: read" in log
    assert ": write" not in log


def test_the_same_pull_request_from_a_branch_of_ours_gets_them(town: Town) -> None:
    town.state.set_secret(FERRY, "KEY", HIDDEN)
    town.commit({".github/workflows/pull.yml": PULL}, branch="topic")
    town.ferry("POST", "/pulls", body={"title": "Topic", "head": "topic", "base": "main"})
    town.github.runner.settle()
    run = next(iter(town.state.runs.values()))
    assert f"KEY={HIDDEN}\n" in unpacked(log_of(run.jobs[0]))
    assert "Contents: write" in log_of(run.jobs[0])


def test_a_strangers_first_run_waits_for_a_maintainer(town: Town) -> None:
    run = _fork_pull(town, member=False)
    assert (run.status, run.conclusion, run.jobs) == ("completed", "action_required", [])
    assert town.ferry("POST", f"/actions/runs/{run.id}/approve").status_code == 201
    town.github.runner.settle()
    assert (run.conclusion, "KEY=\n" in unpacked(log_of(run.jobs[0]))) == ("success", True)


# GITHUB_TOKEN and the id-token

TOKEN = "    env:\n      T: ${{ secrets.GITHUB_TOKEN }}\n"


def test_the_jobs_token_has_its_permissions_and_dies_with_it(town: Town, runs: Runs) -> None:
    grants = "    permissions:\n      contents: read\n      actions: write\n"
    _, job, log = runs("run: printenv T | base64", "run: sleep 60", job=grants + TOKEN)
    assert job.token is not None
    token = job.token.value
    assert token not in log
    assert token.startswith("ghs_")
    assert token.count(".") == 2
    assert town.ferry("GET", "/contents/README.md", token).status_code == 200
    assert town.ferry("PUT", "/actions/workflows/deploy.yml/disable", token).status_code == 204
    refused = town.ferry("GET", "/actions/secrets", token)
    assert (refused.status_code, refused.headers["x-accepted-github-permissions"]) == (403, "secrets=read")
    assert refused.headers["x-ratelimit-limit"] == "1000"
    assert town.call("GET", f"/repos/{LEDGER}", token).status_code == 404
    town.pass_time(61)
    assert job.conclusion == "success"
    assert town.ferry("GET", "/contents/README.md", token).status_code == 401


def test_a_push_by_the_jobs_token_starts_no_run(town: Town, runs: Runs) -> None:
    _, job, _ = runs("run: sleep 60", job="    permissions:\n      contents: write\n")
    assert job.token is not None
    body = {"message": "m", "content": base64.b64encode(b"x").decode()}
    assert town.ferry("PUT", "/contents/x.txt", job.token.value, body).status_code == 201
    assert [r.event for r in town.state.runs.values()] == ["workflow_dispatch"]
    assert town.ferry("PUT", "/contents/y.txt", "mara", body).status_code == 201
    assert [r.event for r in town.state.runs.values()] == ["workflow_dispatch", "push"]


def test_default_scopes_and_what_a_block_replaces() -> None:
    job: dict[str, Any] = {}
    assert token_scopes({}, job, "read", fork=False) == (
        {"contents": "read", "packages": "read", "metadata": "read"}, False
    )  # fmt: skip
    assert token_scopes({}, job, "write", fork=False)[0]["actions"] == "write"
    block = {"permissions": {"contents": "write", "id-token": "write", "issues": "none"}}
    assert token_scopes(block, job, "write", fork=False) == ({"contents": "write", "metadata": "read"}, True)
    assert token_scopes(block, {"permissions": {}}, "write", fork=False) == ({"metadata": "read"}, False)
    assert token_scopes(block, job, "write", fork=True) == ({"contents": "read", "metadata": "read"}, False)


ID = "    permissions:\n      id-token: write\n"


def test_the_id_token_endpoint_is_there_only_with_the_permission(town: Town, runs: Runs) -> None:
    _, job, log = runs("run: env | base64", "run: sleep 60", job="    permissions:\n      contents: write\n")
    assert "ACTIONS_ID_TOKEN" not in unpacked(log)
    assert job.token is not None
    run = next(iter(town.state.runs.values()))
    assert town.call("GET", f"/_idtoken/{run.id}/{job.id}", job.token.value).status_code == 404


def test_an_id_token_carries_githubs_claims(town: Town, runs: Runs) -> None:
    town.state.add_environment(FERRY, "production")
    run, job, log = runs("run: env | base64", "run: sleep 60", job=ID + "    environment: production\n")
    found = dict(row.split("=", 1) for row in unpacked(log).splitlines())
    url, key = found["ACTIONS_ID_TOKEN_REQUEST_URL"], found["ACTIONS_ID_TOKEN_REQUEST_TOKEN"]
    assert town.call("GET", url, "mara").status_code == 401
    token = town.call("GET", f"{url}&audience=sts.amazonaws.com", key).json()["value"]
    claims = town.github.issuer.verify(token, "sts.amazonaws.com")
    repo = town.state.repos[FERRY]
    assert {k: claims[k] for k in ("sub", "repository", "repository_id", "ref", "environment", "run_id", "actor")} == {
        "sub": f"repo:{FERRY}:environment:production", "repository": FERRY, "repository_id": str(repo.id),
        "ref": "refs/heads/main", "environment": "production", "run_id": str(run.id), "actor": "mara",
    }  # fmt: skip
    assert claims["job_workflow_ref"] == f"{FERRY}/.github/workflows/try.yml@refs/heads/main"
    town.pass_time(61)
    assert town.call("GET", url, key).status_code == 401
    assert job.status == "completed"


def test_the_subject_follows_the_repositorys_customization(town: Town, runs: Runs) -> None:
    run, job, _ = runs("run: sleep 60", job=ID)
    repo = town.state.repos[FERRY]

    def sub() -> str:
        claims = town.github.issuer.verify(town.github.runner.id_token(run, job, "a"), "a")
        return str(claims["sub"])

    assert sub() == f"repo:{FERRY}:ref:refs/heads/main"
    path = "/actions/oidc/customization/sub"
    town.ferry("PUT", path, body={"use_default": True, "use_immutable_subject": True})
    assert sub() == f"repo:{ORG}@{repo.owner.id}/ferry@{repo.id}:ref:refs/heads/main"
    assert sub().startswith(town.ferry("GET", path).json()["sub_claim_prefix"] + ":")
    body = {"use_default": False, "use_immutable_subject": False, "include_claim_keys": ["repo", "context", "actor"]}
    town.ferry("PUT", path, body=body)
    assert sub() == f"repo:{FERRY}:ref:refs/heads/main:actor:mara"


# Starting and stopping


def test_a_disabled_workflow_does_not_run(town: Town, runs: Runs) -> None:
    town.commit({".github/workflows/try.yml": workflow("run: echo hi", on="push:")})
    town.ferry("PUT", "/actions/workflows/try.yml/disable")
    town.ferry("PUT", "/actions/workflows/deploy.yml/disable")
    town.state.commit_files(FERRY, {"x": "1"}, "Push", "mara")
    body = {"ref": "main"}
    answer = town.ferry("POST", "/actions/workflows/deploy.yml/dispatches", body=body)
    assert (answer.status_code, list(town.state.runs)) == (422, [])
    town.ferry("PUT", "/actions/workflows/try.yml/enable")
    town.state.commit_files(FERRY, {"x": "2"}, "Push", "mara")
    assert [r.workflow.name for r in town.state.runs.values()] == ["Try"]


def test_nothing_runs_when_actions_are_off(town: Town) -> None:
    run = town.run()
    town.ferry("PUT", "/actions/permissions", body={"enabled": False})
    town.state.commit_files(FERRY, {"x": "1"}, "Push", "mara")
    assert town.ferry("POST", "/actions/workflows/deploy.yml/dispatches", body={"ref": "main"}).status_code == 422
    assert town.ferry("POST", f"/actions/runs/{run.id}/rerun").status_code == 403
    assert list(town.state.runs) == [run.id]


def test_a_push_starts_what_listens_to_it(town: Town) -> None:
    on = "push:\n    branches: ['release/**']\n    paths: ['src/**']"
    town.commit({".github/workflows/try.yml": workflow("run: echo hi", on=on)})
    for branch, path, started in (("main", "src/a", 0), ("release/1", "docs/a", 0), ("release/1", "src/a", 1)):
        town.state.commit_files(FERRY, {path: branch}, "Push", "mara", branch=branch)
        found = [r for r in town.state.runs.values() if r.workflow.name == "Try"]
        assert len(found) == started, (branch, path)


def test_a_sleep_holds_a_job_until_the_ranges_clock_has_passed(town: Town, runs: Runs) -> None:
    run, job, _ = runs("run: sleep 1800", "run: echo done")
    assert (run.status, job.status, job.steps[1].status) == ("in_progress", "in_progress", "in_progress")
    assert town.ferry("GET", f"/actions/runs/{run.id}/logs").status_code == 404
    assert town.ferry("DELETE", f"/actions/runs/{run.id}/logs").status_code == 403
    town.pass_time(1500)
    assert job.status == "in_progress"
    town.pass_time(7200)
    assert (run.status, run.conclusion) == ("completed", "success")
    assert job.started_at is not None
    assert job.completed_at is not None
    assert 1800 <= (job.completed_at - job.started_at).total_seconds() < 2000  # not when it was looked at


def test_what_a_slow_step_does_lies_before_its_end(town: Town, runs: Runs) -> None:
    """A registry's time of a version is compared with the end of the run that published it."""
    seen = []

    async def slow(_scope: object, _receive: object, send: Callable[..., Awaitable[None]]) -> None:
        await asyncio.sleep(0.2)
        seen.append(town.clock.now())
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    with serving(slow) as url:
        town.github.runner.hosts["slow.example"] = url
        run, job, _ = runs("run: curl -d a=b http://slow.example/")
    assert job.completed_at is not None
    assert run.conclusion == "success"
    assert run.updated_at >= job.completed_at >= seen[0]


ALWAYS = (
    "run: sleep 1000",
    "run: echo never",
    "if: always()\n        run: sleep {0}",
    "if: always()\n        run: echo last",
)


def test_cancelling_leaves_always_steps_and_forcing_does_not(town: Town, runs: Runs) -> None:
    run, job, _ = runs(*[step.format(60) for step in ALWAYS])
    cancel = f"/actions/runs/{run.id}/cancel"
    assert town.ferry("POST", cancel).status_code == 202
    assert (run.status, job.steps[1].conclusion, job.steps[2].conclusion) == ("in_progress", "cancelled", "skipped")
    assert job.token is not None
    assert town.ferry("GET", "/contents/README.md", job.token.value).status_code == 200  # it outlives the cancel
    assert town.ferry("POST", cancel.replace("cancel", "force-cancel")).status_code == 202
    assert (run.status, run.conclusion) == ("completed", "cancelled")
    assert [step.conclusion for step in job.steps[3:]] == ["cancelled", "skipped"]
    assert "last" not in log_of(job).split("##[group]")[-1]
    assert town.ferry("GET", "/contents/README.md", job.token.value).status_code == 401
    for path in (cancel, cancel.replace("cancel", "force-cancel")):
        assert town.ferry("POST", path).status_code == 409


def test_always_steps_end_by_themselves_or_after_five_minutes(town: Town, runs: Runs) -> None:
    run, job, _ = runs(*[step.format(60) for step in ALWAYS])
    town.ferry("POST", f"/actions/runs/{run.id}/cancel")
    town.pass_time(61)
    assert (run.conclusion, job.steps[4].conclusion) == ("cancelled", "success")
    run, job, _ = runs(*[step.format(9000) for step in ALWAYS])
    town.ferry("POST", f"/actions/runs/{run.id}/cancel")
    town.pass_time(299)
    assert run.status == "in_progress"
    town.pass_time(2)
    assert (run.conclusion, job.steps[4].conclusion) == ("cancelled", "skipped")


def test_a_failure_stops_the_job_and_what_needs_it(town: Town) -> None:
    text = TWO_JOBS.replace("sleep 100", "exit 3").replace("    environment: production\n", "")
    town.commit({".github/workflows/two.yml": text})
    run = town.run("two.yml")
    assert [j.conclusion for j in run.jobs] == ["failure", "skipped"]
    assert run.conclusion == "failure"
    assert "##[error]Process completed with exit code 3." in log_of(run.jobs[0])


def test_a_rerun_is_another_attempt_with_todays_secrets(town: Town, runs: Runs) -> None:
    town.state.set_secret(FERRY, "KEY", "first-value")
    run, job, _ = runs("run: printenv KEY | base64", job=_env("KEY"))
    town.state.set_secret(FERRY, "KEY", "second-value")
    assert town.ferry("POST", f"/actions/runs/{run.id}/rerun", "jonas").status_code == 201
    town.github.runner.settle()
    assert (run.attempt, run.triggering_actor.login, run.actor.login) == (2, "jonas", "mara")
    assert _b64("first-value") in log_of(job)
    assert _b64("second-value") in log_of(run.jobs[1])


def test_inputs_are_checked_and_filled(town: Town) -> None:
    on = "workflow_dispatch:\n    inputs:\n      place:\n        required: true\n      how:\n        default: slowly"
    town.commit({".github/workflows/try.yml": workflow('run: echo "${{ inputs.place }} ${{ inputs.how }}"', on=on)})
    path = "/actions/workflows/try.yml/dispatches"
    for inputs, said in (
        ({}, "Required input 'place' not provided"),
        ({"x": "1"}, "Unexpected inputs provided: ['x']"),
    ):
        answer = town.ferry("POST", path, body={"ref": "main", "inputs": inputs})
        assert (answer.status_code, answer.json()["message"]) == (422, said)
    assert "east slowly\n" in log_of(town.run("try.yml", place="east").jobs[0])


# What is interpreted, and what is not


@pytest.mark.parametrize("command", [
    "curl https://example.com", "echo $(whoami)", "echo `id`", "cat < /etc/passwd", "echo hi > /etc/hosts", "sleep 1 &",
    "aws iam list-users", "eval echo", "python3 -c 1",
])  # fmt: skip
def test_other_commands_fail_the_step_and_say_so(runs: Runs, command: str) -> None:
    _, job, log = runs(f"run: |\n          {command}\n          echo reached")
    assert job.conclusion == "failure"
    assert "the range's runner does not interpret this line" in log
    assert "\nreached\n" not in log.rsplit("##[endgroup]", 1)[1]


def test_other_actions_and_keys_are_refused(town: Town, runs: Runs) -> None:
    _, job, log = runs("uses: someone/unknown@v1")
    assert (job.conclusion, "does not interpret the action someone/unknown@v1" in log) == ("failure", True)
    for text in (
        workflow("run: echo", job="    strategy: {matrix: {a: [1]}}\n"),
        workflow("run: echo", top="concurrency: one\n"),
        "on: push\n", "jobs: []\n", "a: [", workflow("name: neither"),
    ):  # fmt: skip
        with pytest.raises(WorkflowMistake):
            parse(text.encode())
    town.state.commit_files(FERRY, {".github/workflows/bad.yml": "on: push\njobs: {}\n"}, "Bad", "mara")
    bad = next(r for r in town.state.runs.values() if r.workflow.path.endswith("bad.yml"))
    assert (bad.conclusion, bad.jobs) == ("startup_failure", [])


def _box(**env: str) -> tuple[Box, list[str]]:
    said: list[str] = []
    files = {"deploy.sh": b"echo one\nfalse || echo two\n", "a.txt": b"text\n"}
    return Box(env=dict(env), files=files, say=said.append, aws_url=None), said


@pytest.mark.parametrize(("script", "said", "status"), [
    ("echo one; echo two && echo three", ["one", "two", "three"], 0),
    ("false && echo no || echo yes", ["yes"], 0),
    ("false\necho no", [], 1),
    ("./deploy.sh\ncat a.txt", ["one", "two", "text"], 0),
    ("exit 0\necho no", [], 0),
    ("echo '$X' \"$X\" ${X} # comment", ["$X value value"], 0),
    ("echo a \\\n  b", ["a b"], 0),
    ("set -ex\necho hi", ["+ echo hi", "hi"], 0),
    ("export Y=$X\necho $Y", ["value"], 0),
    ("echo hi | base64 | base64 -d", ["hi"], 0),
    ("./absent.sh", ["./absent.sh: absent.sh: No such file or directory"], 127),
    ("npm ci && make build", ["npm ci: done", "make build: done"], 0),
])  # fmt: skip
def test_the_shell_that_is_none(script: str, said: list[str], status: int) -> None:
    box, heard = _box(X="value")
    run = interpret(script, box)
    with pytest.raises(StopIteration) as end:
        next(run)
    assert (heard, end.value.value) == (said, status)


def test_steps_hand_on_what_they_wrote(runs: Runs) -> None:
    _, job, log = runs(
        'run: echo "NAME=value" >> $GITHUB_ENV', 'id: a\n        run: echo "out=put" >> "$GITHUB_OUTPUT"',
        'run: echo "$NAME ${{ steps.a.outputs.out }}"',
    )  # fmt: skip
    assert (job.conclusion, "\nvalue put\n" in log) == ("success", True)


def test_expressions() -> None:
    contexts = {"github": {"event_name": "push", "ref": "refs/heads/main"}, "env": {"A": "1"}}
    status = {"always": True, "success": False, "failure": True, "cancelled": False}
    assert fill("a-${{ env.A }}-${{ env.ABSENT }}-${{ github.event_name }}", contexts) == "a-1--push"
    assert evaluate("github.event_name == 'PUSH' && !(env.A != '1')", contexts) is True
    assert evaluate("startsWith(github.ref, 'refs/heads/') && contains(github.ref, 'main')", contexts) is True
    assert condition(None, contexts, status) is False
    assert condition("always()", contexts, status) is True
    assert condition("${{ failure() && github.event_name == 'push' }}", contexts, status) is True
    assert condition("github.event_name == 'push'", contexts, status) is False  # success() stands beside it
    for source in ("hashFiles('x')", "matrix.a", "1 +", "'a' 'b'", "(true", "a ? b"):
        with pytest.raises(Unsupported):
            evaluate(source, contexts)


PINNED = "uses: actions/checkout@" + "0f" * 20


@pytest.mark.parametrize(("policy", "selected", "step", "conclusion"), [
    ({"sha_pinning_required": True}, {}, "uses: actions/checkout@v5", "failure"),
    ({"sha_pinning_required": True}, {}, PINNED, "success"),
    ({"allowed_actions": "local_only"}, {}, PINNED, "failure"),
    ({"allowed_actions": "selected"}, {"github_owned_allowed": True}, PINNED, "success"),
    ({"allowed_actions": "selected"}, {"github_owned_allowed": False}, PINNED, "failure"),
    ({"allowed_actions": "selected"}, {"github_owned_allowed": False, "patterns_allowed": ["actions/checkout@*"]},
     PINNED, "success"),
])  # fmt: skip
def test_the_actions_policy_holds(
    town: Town, runs: Runs, policy: dict[str, Any], selected: dict[str, Any], step: str, conclusion: str
) -> None:
    town.ferry("PUT", "/actions/permissions", body={"enabled": True, **policy})
    town.ferry("PUT", "/actions/permissions/selected-actions", body=selected)
    _, job, log = runs(step)
    assert (job.conclusion, "is not allowed in" in log) == (conclusion, conclusion == "failure")


# AWS for real

ROLE = "arn:aws:iam::123456789012:role/deploy"


def _oidc_role(cloud: Cloud, subject: str) -> None:
    iam = cloud.client("iam")
    host = "token.actions.githubusercontent.com"
    provider = iam.create_open_id_connect_provider(
        Url=f"https://{host}", ClientIDList=["sts.amazonaws.com"], ThumbprintList=["0" * 40]
    )["OpenIDConnectProviderArn"]
    trust = {"Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Principal": {"Federated": provider}, "Action": "sts:AssumeRoleWithWebIdentity",
        "Condition": {"StringEquals": {f"{host}:aud": "sts.amazonaws.com", f"{host}:sub": subject}},
    }]}  # fmt: skip
    iam.create_role(RoleName="deploy", AssumeRolePolicyDocument=json.dumps(trust))


@pytest.mark.parametrize(("grant", "subject", "said"), [
    (ID, f"repo:{FERRY}:ref:refs/heads/main", ":assumed-role/deploy/GitHubActions"),
    (ID, f"repo:{FERRY}:environment:production", "Could not assume role"),
    ("", f"repo:{FERRY}:ref:refs/heads/main", "Could not load credentials from any providers"),
])  # fmt: skip
def test_a_role_is_assumed_by_id_token(
    town: Town, runs: Runs, cloud: Cloud, grant: str, subject: str, said: str
) -> None:
    _oidc_role(cloud, subject)
    runner = town.github.runner
    before = runner.issuer
    runner.aws_url, runner.issuer = cloud.url, cloud.issuer
    step = (
        "uses: aws-actions/configure-aws-credentials@v6\n"
        f"        with: {{role-to-assume: '{ROLE}', aws-region: us-east-1}}"
    )
    try:
        _, job, log = runs(step, "run: aws sts get-caller-identity", "run: env | base64", job=grant)
    finally:
        runner.aws_url, runner.issuer = None, before
    good = said.startswith(":assumed")
    assert (said in log, job.conclusion) == (True, "success" if good else "failure"), log
    if good:
        found = dict(row.split("=", 1) for row in unpacked(log).splitlines())
        assert found["AWS_ACCESS_KEY_ID"].startswith("ASIA")
        assert found["AWS_SESSION_TOKEN"] not in log


def test_the_jobs_aws_commands_are_real_calls(
    town: Town, runs: Runs, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    cloud.client("s3").create_bucket(Bucket="ferry-releases")
    key, secret, *_ = cloud.user("ci", {"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]})  # fmt: skip
    town.state.set_secret(FERRY, "AWS_ACCESS_KEY_ID", key)
    town.state.set_secret(FERRY, "AWS_SECRET_ACCESS_KEY", secret)
    steps = ("uses: actions/checkout@v5", "run: make build", "run: aws sts get-caller-identity",
             "run: aws s3 cp dist/ferry.tar.gz s3://ferry-releases/")  # fmt: skip
    pair = _env("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    runner = town.github.runner
    runner.aws_url = cloud.url
    try:
        with monkeypatch.context() as machine:  # whose settings must not be read
            for name in ("AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
                machine.setenv(name, "of-the-machine")
            machine.setenv("HTTP_PROXY", "http://127.0.0.1:9")
            _, job, log = runs(*steps, job=pair)
        assert (job.conclusion, "user/ci" in log) == ("success", True), log
        assert cloud.client("s3").list_objects_v2(Bucket="ferry-releases")["Contents"][0]["Key"] == "ferry.tar.gz"
        cloud.client("iam").update_access_key(UserName="ci", AccessKeyId=key, Status="Inactive")
        _, job, log = runs(*steps, job=pair)
        assert (job.conclusion, "InvalidClientTokenId" in log) == ("failure", True)
        _, job, log = runs("run: aws sts get-caller-identity")
        assert (job.conclusion, "Unable to locate credentials" in log) == ("failure", True)
    finally:
        runner.aws_url = None

"""Runs and their logs, against the range's GitHub."""

from __future__ import annotations

import base64
import hashlib
import io
import re
import zipfile
from dataclasses import replace
from typing import ClassVar

import pytest

from bot.actions.github import disable_workflow
from bot.actions.github_runs import cancel_runs, delete_run_logs
from bot.clients import GitHubClient
from bot.errors import Conflict, Forbidden, NotFound, Rejected, Unavailable
from bot.model import Grade, RunRef, Verdict, WorkflowRef
from tests.conftest import DEPLOY, FERRY, FastClock, Ferry, done

WORKFLOW = WorkflowRef(repository=FERRY, workflow=DEPLOY)
STUBBORN = """\
name: Stubborn
on: workflow_dispatch
jobs:
  go:
    runs-on: ubuntu-latest
    steps:
      - run: sleep 600
      - if: always()
        run: sleep 200
"""


def test_every_run_that_is_not_final_is_cancelled(ferry: Ferry) -> None:
    first, second = ferry.run(), ferry.run()
    disable_workflow.run(ferry.world, WORKFLOW, disable_workflow.look(ferry.world, WORKFLOW))
    before = cancel_runs.look(ferry.world, WORKFLOW)
    assert before.runs == (first, second)
    outcome = cancel_runs.run(ferry.world, WORKFLOW, before)
    assert (outcome.cancelled, outcome.forced) == ((first, second), ())
    proof = cancel_runs.prove(ferry.world, WORKFLOW, before, outcome)
    assert (proof.verdict, proof.grade) == (Verdict.PROVEN, Grade.STATE)
    again = cancel_runs.run(ferry.world, WORKFLOW, before)
    assert not again.changed
    assert {ferry.state.runs[run].conclusion for run in (first, second)} == {"cancelled"}


def test_what_outlives_a_cancel_is_forced(ferry: Ferry) -> None:
    ferry.commit({".github/workflows/stubborn.yml": STUBBORN})
    given = WorkflowRef(repository=FERRY, workflow=".github/workflows/stubborn.yml")
    run = ferry.run(given.workflow)
    world = replace(ferry.world, clock=FastClock(ferry.clock))
    before = cancel_runs.look(world, given)
    outcome = cancel_runs.run(world, given, before)
    assert outcome.forced == (run,)
    assert cancel_runs.prove(world, given, before, outcome).verdict == Verdict.PROVEN


def test_a_run_that_starts_after_the_cut_refutes_it(ferry: Ferry) -> None:
    ferry.run()
    before, outcome, proof = done(ferry, cancel_runs, WORKFLOW)
    assert proof.verdict == Verdict.PROVEN
    ferry.run()
    assert cancel_runs.prove(ferry.world, WORKFLOW, before, outcome).verdict == Verdict.REFUTED


def test_cancelling_keeps_run_and_jobs_on_file(ferry: Ferry) -> None:
    run = ferry.run()
    before = cancel_runs.look(ferry.world, WORKFLOW)
    assert cancel_runs.evidence is not None
    (saved,) = cancel_runs.evidence(ferry.world, WORKFLOW, before)
    assert saved.name == f"runs/{run}/run.json"
    assert b'"in_progress"' in ferry.room.read(saved.sha256)
    assert ferry.mutations() == []
    assert cancel_runs.ends is not None
    assert cancel_runs.ends(WORKFLOW) == ("github-token", f"github-token:{FERRY}/{DEPLOY}")


# Logs


def finished_run(ferry: Ferry) -> RunRef:
    run = ferry.run()
    ferry.pass_time(3600)
    return RunRef(repository=FERRY, run_id=run, workflow=DEPLOY)


class Keeping(GitHubClient):
    """Keeps what it downloads: two archives of one log differ, since each carries the time it was made."""

    kept: ClassVar[list[bytes]] = []

    def download(self, path: str) -> bytes:
        self.kept.append(super().download(path))
        return self.kept[-1]


def test_logs_of_every_attempt_are_saved_scrubbed_and_then_deleted(ferry: Ferry) -> None:
    given = finished_run(ferry)
    ferry.client("mara").send("POST", f"/repos/{FERRY}/actions/runs/{given.run_id}/rerun")
    ferry.pass_time(3600)
    ferry.scrubber.add(ferry.fingerprinter.secret(ferry.aws[1]))
    before = delete_run_logs.look(ferry.world, given)
    assert before.attempts == (1, 2)
    assert delete_run_logs.evidence is not None
    keeping = Keeping(token=ferry.tokens["bulkhead-bot"], base_url=ferry.url)
    keeping.kept.clear()
    saved = delete_run_logs.evidence(replace(ferry.world, github=keeping), given, before)
    assert [ref.name.rsplit("/", 1)[1] for ref in saved] == ["run.json", "attempt-1-logs.zip", "attempt-2-logs.zip"]
    for original, ref in zip(keeping.kept, saved[1:], strict=True):
        assert ref.original_sha256 == hashlib.sha256(original).hexdigest()
        check_scrubbed(ferry, original, ferry.room.read(ref.sha256))
    again = delete_run_logs.evidence(ferry.world, given, before)
    assert [ref.sha256 for ref in again] == [ref.sha256 for ref in saved]
    outcome = delete_run_logs.run(ferry.world, given, before)
    proof = delete_run_logs.prove(ferry.world, given, before, outcome)
    assert (outcome.changed, proof.verdict) == (True, Verdict.PROVEN)
    assert not delete_run_logs.run(ferry.world, given, before).changed
    with pytest.raises(NotFound):
        ferry.client("mara").download(f"/repos/{FERRY}/actions/runs/{given.run_id}/attempts/1/logs")


def link(status: int, times: int) -> dict[str, object]:
    """What GitHub's link to a log answers, so many times; 0 is for ever."""
    return {"server": "github", "route": "/_logs/*", "status": status, "times": times}


def test_a_link_to_a_log_that_has_expired_is_asked_for_again(ferry: Ferry) -> None:
    given = finished_run(ferry)
    logs = f"/repos/{FERRY}/actions/runs/{given.run_id}/attempts/1/logs"
    ferry.switchboard.add([link(403, 1)])
    assert zipfile.is_zipfile(io.BytesIO(ferry.client("mara").download(logs)))


@pytest.mark.parametrize(("status", "error"), [(403, Forbidden), (404, NotFound), (503, Unavailable)])
def test_what_the_link_to_a_log_answers_instead_of_a_log_is_never_taken_for_one(
    ferry: Ferry, status: int, error: type[Exception]
) -> None:
    given = finished_run(ferry)
    before = delete_run_logs.look(ferry.world, given)
    ferry.switchboard.add([link(status, 0)])
    assert delete_run_logs.evidence is not None
    with pytest.raises(error):
        delete_run_logs.evidence(ferry.world, given, before)


class Damaged(GitHubClient):
    """Gets every archive without its end, as a connection that is cut off may."""

    def download(self, path: str) -> bytes:
        return super().download(path)[:-30]


def test_a_log_that_arrives_damaged_is_no_evidence_and_no_fault_of_ours(ferry: Ferry) -> None:
    given = finished_run(ferry)
    before = delete_run_logs.look(ferry.world, given)
    damaged = replace(ferry.world, github=Damaged(token=ferry.tokens["bulkhead-bot"], base_url=ferry.url))
    assert delete_run_logs.evidence is not None
    with pytest.raises(Rejected, match="no zip"):
        delete_run_logs.evidence(damaged, given, before)


def check_scrubbed(ferry: Ferry, original: bytes, stored: bytes) -> None:
    with zipfile.ZipFile(io.BytesIO(original)) as old, zipfile.ZipFile(io.BytesIO(stored)) as new:
        assert new.namelist() == [name for name in old.namelist() if not name.endswith("/")]
        was = b"".join(old.read(name) for name in new.namelist())
        now = b"".join(new.read(name) for name in new.namelist())
    assert decoded(was).count(ferry.aws[1].encode()) >= 1, "the run did not leak: the test shows nothing"
    assert ferry.aws[1].encode() not in decoded(now) + now
    assert b"Smoke test" in now or b"sleep 1800" in now


def decoded(log: bytes) -> bytes:
    """Every base64 line of a log joined over its timestamps, then decoded."""
    lines = [line.split(b" ", 1)[-1].strip() for line in log.splitlines()]
    runs, current = [], b""
    for line in [*lines, b"#"]:
        if re.fullmatch(rb"[A-Za-z0-9+/]+=*", line) and (current or len(line) > 20):
            current += line
        elif current:
            runs.append(current)
            current = b""
    return b"".join(base64.b64decode(run + b"=" * (-len(run) % 4)) for run in runs)


def test_logs_of_a_run_under_way_wait_for_the_cancel(ferry: Ferry) -> None:
    given = RunRef(repository=FERRY, run_id=ferry.run())
    before = delete_run_logs.look(ferry.world, given)
    assert before.needed
    assert delete_run_logs.evidence is not None
    for call in (delete_run_logs.evidence, delete_run_logs.run):
        with pytest.raises(Conflict, match="cancel it first"):
            call(ferry.world, given, before)
    assert ferry.mutations() == []


def test_logs_are_not_proven_gone_by_an_outsiders_404(ferry: Ferry) -> None:
    given = finished_run(ferry)
    before, outcome, proof = done(ferry, delete_run_logs, given)
    assert proof.verdict == Verdict.PROVEN
    ferry.state.repos[FERRY].private = True
    outsider = replace(ferry.world, github=ferry.client("quiet-otter"))
    with pytest.raises(NotFound):
        delete_run_logs.prove(outsider, given, before, outcome)


def test_logs_still_there_refute(ferry: Ferry) -> None:
    given = finished_run(ferry)
    before = delete_run_logs.look(ferry.world, given)
    proof = delete_run_logs.prove(ferry.world, given, before, delete_run_logs.outcome(changed=True))
    assert proof.verdict == Verdict.REFUTED


def test_logs_that_were_not_there_at_the_look_are_left(ferry: Ferry) -> None:
    given = finished_run(ferry)
    before = replace(delete_run_logs.look(ferry.world, given), needed=False)
    assert not delete_run_logs.run(ferry.world, given, before).changed
    assert ferry.mutations() == []

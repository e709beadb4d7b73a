"""Workflows, runs, jobs, logs and artifacts: /repos/{owner}/{repo}/actions/..."""

from __future__ import annotations

import fnmatch
import hashlib
import hmac
import io
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from bot.range.github import shapes
from bot.range.github.http import Answer, Call, Op, Problem, not_found
from bot.range.github.nouns import Job, Repo, Run, Workflow
from bot.range.workflow_file import WorkflowMistake

A = "/repos/{owner}/{repo}/actions"
LINK_S = 60  # life of a link to logs
RETENTION = timedelta(days=90)


def _workflow(call: Call) -> Workflow:
    """By id or by file name."""
    wanted = call.params["workflow_id"]
    for found in call.repo.workflows.values():
        if wanted in (str(found.id), found.path.rsplit("/", 1)[-1], found.path):
            return found
    raise not_found()


def workflows(call: Call) -> Any:
    rows = sorted(call.repo.workflows.values(), key=lambda w: w.id)
    return call.listing("workflows", rows, lambda w: shapes.workflow(call.repo, w, call.base))


def workflow(call: Call) -> Any:
    return shapes.workflow(call.repo, _workflow(call), call.base)


def disable(call: Call) -> Any:
    return _switch(call, "disabled_manually")


def enable(call: Call) -> Any:
    return _switch(call, "active")


def _switch(call: Call, state: str) -> Answer:
    found = _workflow(call)
    if found.state == "deleted":
        raise Problem(422, "Unable to change the state of a deleted workflow")
    if found.state != state:
        found.state, found.updated_at = state, call.state.now()
    return Answer(204)


def dispatch(call: Call) -> Any:
    """204 until version 2026-03-10, which answers 200 with the run; the older does so with return_run_details."""
    actor = call.caller.account
    assert actor is not None
    body = call.body if isinstance(call.body, dict) else {}
    try:
        run = call.state.runner.dispatch(call.repo, _workflow(call), call.field("ref"), actor, body.get("inputs"))
    except WorkflowMistake as exc:
        raise Problem(422, str(exc)) from None
    if call.version == "2022-11-28" and not body.get("return_run_details"):
        return Answer(204)
    shown = shapes.run(run, call.base)
    return {"workflow_run_id": run.id, "run_url": shown["url"], "html_url": shown["html_url"]}


def runs(call: Call) -> Any:
    return _listed(call, [r for r in call.state.runs.values() if r.repo is call.repo])


def workflow_runs(call: Call) -> Any:
    wanted = _workflow(call)
    return _listed(call, [r for r in call.state.runs.values() if r.repo is call.repo and r.workflow is wanted])


def _listed(call: Call, rows: list[Run]) -> Any:
    q = call.query
    tests: dict[str, Callable[[Run, str], bool]] = {
        "status": lambda r, v: v in (r.status, r.conclusion), "branch": lambda r, v: r.head_branch == v,
        "event": lambda r, v: r.event == v, "actor": lambda r, v: r.actor.login == v,
        "head_sha": lambda r, v: r.head_sha == v, "created": lambda r, v: _created(r.created_at, v),
    }  # fmt: skip
    asked = {name: test for name, test in tests.items() if q.get(name)}
    found = [r for r in reversed(rows) if all(test(r, q[name]) for name, test in asked.items())]
    if asked:
        found = found[:1000]  # a search shows no more
    return call.listing("workflow_runs", found, lambda r: shapes.run(r, call.base))


def _created(at: datetime, wanted: str) -> bool:
    """GitHub's date search: >=T, >T, <=T, <T, A..B, or one day."""

    def time(value: str) -> datetime:
        try:
            found = datetime.fromisoformat(value)
        except ValueError:
            raise Problem(422, f"{value!r} is not a recognized date/time format") from None
        return found if found.tzinfo else found.replace(tzinfo=UTC)

    at = at.replace(microsecond=0)
    if ".." in wanted:
        low, high = wanted.split("..")
        return (low == "*" or time(low) <= at) and (high == "*" or at <= time(high))
    for sign, holds in ((">=", at.__ge__), ("<=", at.__le__), (">", at.__gt__), ("<", at.__lt__)):
        if wanted.startswith(sign):
            return bool(holds(time(wanted[len(sign) :])))
    return fnmatch.fnmatchcase(at.isoformat(), f"{wanted}*")


def _run(call: Call) -> Run:
    found = call.state.runs.get(call.number("run_id"))
    if found is None or found.repo is not call.repo:
        raise not_found()
    return found


def _attempt(call: Call, run: Run) -> int:
    number = call.number("attempt") if "attempt" in call.params else run.attempt
    if not 1 <= number <= run.attempt:
        raise not_found()
    return number


def run(call: Call) -> Any:
    found = _run(call)
    return shapes.run(found, call.base, _attempt(call, found))


def jobs(call: Call) -> Any:
    found = _run(call)
    rows = found.jobs if call.query.get("filter") == "all" else found.of_attempt(_attempt(call, found))
    return call.listing("jobs", rows, lambda j: shapes.job(found, j, call.base))


def _job(call: Call) -> tuple[Run, Job]:
    wanted = call.number("job_id")
    for found in call.state.runs.values():
        if found.repo is call.repo:
            for one in found.jobs:
                if one.id == wanted:
                    return found, one
    raise not_found()


def job(call: Call) -> Any:
    return shapes.job(*_job(call), call.base)


def _no_longer(call: Call, run: Run) -> None:
    if run.logs_deleted:
        raise not_found()
    if call.state.now() > run.created_at + RETENTION:
        raise Problem(410, "Server Error")


def _link(call: Call, what: str) -> Answer:
    """302 to a link that needs no token and lives one minute."""
    ends = int(call.state.clock.time()) + LINK_S
    signature = _sign(call, what, ends)
    return Answer(302, None, {"location": f"{call.base}/_logs/{what}?{urlencode({'se': ends, 'sig': signature})}"})


def _sign(call: Call, what: str, ends: int) -> str:
    return hmac.new(call.state.signing_key, f"{what} {ends}".encode(), hashlib.sha256).hexdigest()


def run_logs(call: Call) -> Any:
    found = _run(call)
    attempt = _attempt(call, found)
    _no_longer(call, found)
    if not any(j.status == "completed" for j in found.of_attempt(attempt)):
        raise not_found()
    return _link(call, f"run/{found.id}/{attempt}")


def job_logs(call: Call) -> Any:
    found, one = _job(call)
    _no_longer(call, found)
    if one.status != "completed":
        raise not_found()
    return _link(call, f"job/{one.id}")


def follow(call: Call) -> Any:
    """Where a link to logs leads: a zip of text files for a run, text for a job."""
    what, q = call.params["what"], call.query
    ends = int(q["se"]) if q.get("se", "").isdigit() else 0
    signed = hmac.compare_digest(_sign(call, what, ends).encode(), q.get("sig", "").encode())
    if not signed or call.state.clock.time() >= ends:
        raise Problem(403, "Server failed to authenticate the request.")
    kind, *numbers = what.split("/")
    if kind == "job":
        found, one = next((r, j) for r in call.state.runs.values() for j in r.jobs if j.id == int(numbers[0]))
        _no_longer(call, found)
        return Answer(200, _text(one, 0, len(one.log)).encode(), {"content-type": "text/plain; charset=utf-8"})
    found = call.state.runs.get(int(numbers[0])) or _gone()
    _no_longer(call, found)
    name = f"logs_{found.id}.zip"
    kept = {"content-type": "application/zip", "content-disposition": f"attachment; filename={name}"}
    return Answer(200, _zip(found, int(numbers[1])), kept)


def _gone() -> Run:
    raise not_found()


def _text(job: Job, first: int, last: int) -> str:
    """Lines as GitHub writes them: 2026-11-23T04:59:26.1234567Z and the text."""
    lines = [f"{at:%Y-%m-%dT%H:%M:%S.%f}{at.microsecond % 10}Z {line}\n" for at, line in job.log[first:last]]
    return "\ufeff" + "".join(lines)


def _zip(run: Run, attempt: int) -> bytes:
    """A file for each job that is over, and one for each of its steps."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for number, job in enumerate(j for j in run.of_attempt(attempt) if j.status == "completed"):
            name = job.name.replace("/", "_")
            archive.writestr(f"{number}_{name}.txt", _text(job, 0, len(job.log)))
            for step in job.steps:
                if step.last_line > step.first_line:
                    title = step.name.replace("/", "_")[:80]
                    archive.writestr(f"{name}/{step.number}_{title}.txt", _text(job, step.first_line, step.last_line))
    return out.getvalue()


def delete_logs(call: Call) -> Any:
    """All logs of all attempts. 403 while the run is in progress, 404 when there are none any more."""
    found = _run(call)
    if found.status != "completed":
        raise Problem(403, "Unable to delete the logs of a workflow run that is in progress")
    _no_longer(call, found)
    found.logs_deleted = True
    for one in found.jobs:
        one.log.clear()
        for step in one.steps:
            step.first_line = step.last_line = 0
    return Answer(204)


def delete_run(call: Call) -> Any:
    found = _run(call)
    if found.status != "completed":
        raise Problem(403, "Could not delete the workflow run")
    del call.state.runs[found.id]
    return Answer(204)


def cancel(call: Call) -> Any:
    if not call.state.runner.cancel(_run(call)):
        raise Problem(409, "Cannot cancel a workflow run that is completed.")
    return Answer(202, {})


def force_cancel(call: Call) -> Any:
    if not call.state.runner.force_cancel(_run(call)):
        raise Problem(409, "Cannot cancel a workflow run that is completed.")
    return Answer(202, {})


def rerun(call: Call) -> Any:
    found = _run(call)
    if found.status != "completed":
        raise Problem(403, "This workflow is already running")
    if found.workflow.state != "active" or not found.repo.actions["enabled"]:
        raise Problem(403, "Unable to retry this workflow run because the workflow is disabled")
    assert call.caller.account is not None
    call.state.runner.rerun(found, call.caller.account)
    return Answer(201, {})


def approve(call: Call) -> Any:
    found = _run(call)
    if found.conclusion != "action_required":
        raise Problem(403, "This run is not from a fork pull request or does not need approval")
    call.state.runner.approve(found)
    return Answer(201, {})


def _artifact_json(repo: Repo, row: dict[str, Any], base: str) -> dict[str, Any]:
    run, url = row["run"], f"{shapes.api(repo, base)}/actions/artifacts/{row['id']}"
    return {
        "id": row["id"], "node_id": shapes.node("AR", row["id"]), "name": row["name"], "size_in_bytes": 0, "url": url,
        "archive_download_url": f"{url}/zip", "expired": False, "created_at": shapes.when(row["at"]),
        "updated_at": shapes.when(row["at"]), "expires_at": shapes.when(row["at"] + RETENTION),
        "workflow_run": {"id": run.id, "repository_id": repo.id, "head_repository_id": run.head_repo.id,
                         "head_branch": run.head_branch, "head_sha": run.head_sha},
    }  # fmt: skip


def artifacts(call: Call) -> Any:
    rows = list(call.repo.artifacts.values())
    if "run_id" in call.params:
        wanted = _run(call)
        rows = [row for row in rows if row["run"] is wanted]
    return call.listing("artifacts", rows, lambda row: _artifact_json(call.repo, row, call.base))


def artifact(call: Call) -> Any:
    row = call.repo.artifacts.get(call.number("artifact_id"))
    if row is None:
        raise not_found()
    if call.method == "DELETE":
        del call.repo.artifacts[row["id"]]
        return Answer(204)
    return _artifact_json(call.repo, row, call.base)


def id_token(call: Call) -> Any:
    """A job's id-token endpoint: answers only to the job's own token, and only while the job runs."""
    found = call.state.runs.get(call.number("run_id"))
    one = next((j for j in found.jobs if j.id == call.number("job_id")), None) if found else None
    if found is None or one is None or one.token is None or call.caller.token is not one.token:
        raise Problem(401, "Bad credentials")
    if not one.may_ask_id_token:
        raise not_found()
    token = call.state.runner.id_token(found, one, call.query.get("audience", ""))
    return {"count": len(token), "value": token}


def page(call: Call) -> Any:
    """The web page of a run, as plain text."""
    found = _run(call)
    said = f"{found.title}\n{found.workflow.name} #{found.number}: {found.status} {found.conclusion or ''}\n"
    return Answer(200, said.encode(), {"content-type": "text/plain; charset=utf-8"})


RUN, WORKFLOW = A + "/runs/{run_id}", A + "/workflows/{workflow_id}"
OPS = (
    Op(method="GET", path=A + "/workflows", handle=workflows, needs="actions:read"),
    Op(method="GET", path=WORKFLOW, handle=workflow, needs="actions:read"),
    Op(method="PUT", path=WORKFLOW + "/disable", handle=disable, needs="actions:write"),
    Op(method="PUT", path=WORKFLOW + "/enable", handle=enable, needs="actions:write"),
    Op(method="POST", path=WORKFLOW + "/dispatches", handle=dispatch, needs="actions:write"),
    Op(method="GET", path=WORKFLOW + "/runs", handle=workflow_runs, needs="actions:read"),
    Op(method="GET", path=A + "/runs", handle=runs, needs="actions:read"),
    Op(method="GET", path=RUN, handle=run, needs="actions:read"),
    Op(method="DELETE", path=RUN, handle=delete_run, needs="actions:write"),
    Op(method="GET", path=RUN + "/attempts/{attempt}", handle=run, needs="actions:read"),
    Op(method="GET", path=RUN + "/jobs", handle=jobs, needs="actions:read"),
    Op(method="GET", path=RUN + "/attempts/{attempt}/jobs", handle=jobs, needs="actions:read"),
    Op(method="GET", path=RUN + "/logs", handle=run_logs, needs="logs:read"),
    Op(method="DELETE", path=RUN + "/logs", handle=delete_logs, needs="actions:write"),
    Op(method="GET", path=RUN + "/attempts/{attempt}/logs", handle=run_logs, needs="logs:read"),
    Op(method="POST", path=RUN + "/cancel", handle=cancel, needs="actions:write"),
    Op(method="POST", path=RUN + "/force-cancel", handle=force_cancel, needs="actions:write"),
    Op(method="POST", path=RUN + "/rerun", handle=rerun, needs="actions:write"),
    Op(method="POST", path=RUN + "/approve", handle=approve, needs="actions:write"),
    Op(method="GET", path=RUN + "/artifacts", handle=artifacts, needs="actions:read"),
    Op(method="GET", path=A + "/jobs/{job_id}", handle=job, needs="actions:read"),
    Op(method="GET", path=A + "/jobs/{job_id}/logs", handle=job_logs, needs="logs:read"),
    Op(method="GET", path=A + "/artifacts", handle=artifacts, needs="actions:read"),
    Op(method="GET", path=A + "/artifacts/{artifact_id}", handle=artifact, needs="actions:read"),
    Op(method="DELETE", path=A + "/artifacts/{artifact_id}", handle=artifact, needs="actions:write"),
    Op(method="GET", path="/_logs/{what:path}", handle=follow, needs=""),
    Op(method="GET", path="/_idtoken/{run_id}/{job_id}", handle=id_token, needs=""),
    Op(method="GET", path="/{owner}/{repo}/actions/runs/{run_id}", handle=page, needs=""),
)

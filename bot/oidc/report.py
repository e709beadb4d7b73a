"""What a scan and a plan say: rows for people, one JSON document, SARIF for code scanning."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from bot.oidc import recipes
from bot.oidc.branches import Branch
from bot.oidc.find import Carrier, Credential
from bot.oidc.plan import Outcome, Plan
from bot.oidc.refusal import CODES
from bot.oidc.repository import Repository

SARIF_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
RULE = "static-credential"


def users(repository: Repository, credential: Credential) -> list[dict[str, Any]]:
    """The jobs that carry a credential: what starts them, and whether pull requests and forks reach them.

    ``forks``: an event that a fork can cause starts the job with its secrets (pull_request_target, workflow_run,
    issue_comment); pull_request from a fork gets none.
    """
    found = []
    carry = {(c.file, name) for c in credential.carriers if c.kind == "workflow-env"
             for name, job in repository.workflows[c.file].jobs.items() if not job.uses}  # fmt: skip
    for file, name in dict.fromkeys([*credential.jobs, *sorted(carry)]):
        job = repository.job(file, name)
        events = repository.reached_by(job)
        risky = [e for e in events if e in {"pull_request_target", "workflow_run", "issue_comment", "issues"}]
        found.append({
            "file": file, "job": name, "events": events, "pull_requests": "pull_request" in events, "forks": risky,
            "environment": job.environment, "called": job.workflow.called,
        })  # fmt: skip
    return found


def scanned(
    repository: Repository, credentials: Iterable[Credential], branches: Iterable[Branch] = ()
) -> dict[str, Any]:
    """The document of ``bulkhead oidc scan --json``. ``branches``: those whose files differ and can run."""
    other = {each.name: scanned(each.repository, each.credentials)["credentials"] for each in branches}
    return ({"branches": other} if other else {}) | {
        "credentials": [
            {
                "provider": each.provider, "title": each.title, "secrets": list(each.secrets),
                "carriers": [_carrier(c) for c in each.carriers], "used_by": users(repository, each),
                "instead": each.instead,
            }
            for each in credentials
        ],
        "unreadable": {path: str(refusal) for path, refusal in repository.unreadable.items()},
    }  # fmt: skip


def _carrier(carrier: Carrier) -> dict[str, Any]:
    return {
        "file": carrier.file, "line": carrier.line, "kind": carrier.kind, "job": carrier.job,
        "step": None if carrier.step is None else carrier.step + 1, "name": carrier.name,
        "secrets": list(carrier.secrets), "part": carrier.part,
    }  # fmt: skip


def sarif(credentials: Iterable[Credential], version: str, branches: Iterable[Branch] = ()) -> dict[str, Any]:
    """The same as SARIF 2.1.0 (docs.oasis-open.org/sarif/sarif/v2.1.0), one result a carrier."""
    found = [("", credential) for credential in credentials]
    found += [(f" on branch {branch.name}", each) for branch in branches for each in branch.credentials]
    results = [
        {
            "ruleId": f"{RULE}/{credential.provider}", "level": "warning",
            "message": {"text": f"{credential.title} in {', '.join(credential.secrets)}: {carrier.where}{where}"},
            "locations": [{"physicalLocation": {
                "artifactLocation": {"uri": carrier.file}, "region": {"startLine": carrier.line},
            }}],
            "partialFingerprints": {"bulkhead/v1": f"{credential.key}/{carrier.where}{where}"},
        }
        for where, credential in found for carrier in credential.carriers
    ]  # fmt: skip
    rules = [
        {
            "id": f"{RULE}/{provider}",
            "shortDescription": {"text": f"{found['title']} that does not expire"},
            "help": {"text": found["instead"]},
        }
        for provider, found in recipes.data("providers").items()
    ]
    driver = {
        "name": "bulkhead",
        "version": version,
        "informationUri": "https://docs.github.com/actions",
        "rules": rules,
    }
    return {"$schema": SARIF_SCHEMA, "version": "2.1.0", "runs": [{"tool": {"driver": driver}, "results": results}]}


def planned(plan: Plan) -> dict[str, Any]:
    """The document of ``bulkhead oidc plan --json``."""
    return {
        "outcomes": [_outcome(each) for each in plan.outcomes],
        "changed": sorted(plan.changed),
        "diff": diff(plan.before.files, plan.after.files),
        "unreadable": {path: str(refusal) for path, refusal in plan.before.unreadable.items()},
        "pins": f"the table of {recipes.pin_date()}",
    }


def _outcome(outcome: Outcome) -> dict[str, Any]:
    refusal = outcome.refusal
    return {
        "provider": outcome.credential.provider, "secrets": list(outcome.credential.secrets),
        "jobs": [{"file": file, "job": job} for file, job in outcome.jobs],
        "migrated": refusal is None,
        "refused": None if refusal is None else {
            "code": refusal.code, "means": CODES[refusal.code], "why": refusal.why, "by_hand": refusal.hand,
            "lacks": refusal.lacks,
        },
        "granted": [{"file": file, "job": job} for file, job in outcome.granted],
        "set": dict(outcome.asks), "assumed": list(outcome.assumed), "notes": list(outcome.notes),
    }  # fmt: skip


def diff(before: Mapping[str, bytes], after: Mapping[str, bytes]) -> str:
    """A unified diff of what changes."""
    text = ""
    for path in sorted(after):
        if before.get(path) != after[path]:
            old, new = (each.decode(errors="replace").splitlines(keepends=True) for each in (before[path], after[path]))
            text += f"--- a/{path}\n+++ b/{path}\n" + "".join(_hunks(old, new))
    return text


def _hunks(old: list[str], new: list[str]) -> Iterator[str]:
    """As difflib.unified_diff, which in a file of 200 lines and more takes frequent lines for noise and moves them."""
    for group in difflib.SequenceMatcher(None, old, new, autojunk=False).get_grouped_opcodes():
        (_, a, _, c, _), (_, _, b, _, d) = group[0], group[-1]
        yield f"@@ -{a + 1},{b - a} +{c + 1},{d - c} @@\n"
        for what, i, j, k, m in group:
            rows = [(" ", line) for line in old[i:j]] if what == "equal" else [
                *(("-", line) for line in old[i:j]), *(("+", line) for line in new[k:m])
            ]  # fmt: skip
            for mark, line in rows:
                yield mark + line + ("" if line.endswith("\n") else "\n\\ No newline at end of file\n")

"""Attestations of a repository, by the digest that they speak of (docs.github.com/rest/repos/attestations).

``actions/attest-build-provenance`` signs what a job says of its build and stores it here; it needs ``id-token: write``
for the one and ``attestations: write`` for the other (its README). GitHub keeps what it is given; readers verify it. A
digest of which there is none is 404, and from the API's version 2026-03-10 on the list tells where a bundle lies and
does not hold it (github.com/spencerbeggs/effected, packages/github, Attestation.ts).
"""

from __future__ import annotations

import base64
import json
import re
from typing import TYPE_CHECKING, Any

from bot.range.github.http import Answer, Call, Op, Problem, not_found
from bot.range.github.nouns import Repo
from bot.range.sigstore import SLSA, image_statement

if TYPE_CHECKING:
    from bot.range.job import JobRun

R = "/repos/{owner}/{repo}/attestations"
ACTIONS = ("actions/attest-build-provenance", "actions/attest")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def keep(repo: Repo, number: int, bundle: dict[str, Any]) -> None:
    """Store a bundle under the digests that its statement names. Raises KeyError, TypeError, ValueError."""
    statement = json.loads(base64.b64decode(bundle["dsseEnvelope"]["payload"]))
    digests = [f"sha256:{subject['digest']['sha256']}" for subject in statement["subject"]]
    repo.attestations.append({"id": number, "bundle": bundle, "digests": digests, "type": statement["predicateType"]})


def attest(job: JobRun, given: dict[str, str]) -> int:
    """The action's step: 0, or 1 with what it says in the log."""
    name, digest = given.get("subject-name", ""), given.get("subject-digest", "")
    if not name or not _DIGEST.fullmatch(digest):
        job.say("##[error]subject-digest must be in the format sha256:<hex-digest>, beside a subject-name")
        return 1
    if not job.may_ask:
        job.say("##[error]Failed to get ID token: Unable to get ACTIONS_ID_TOKEN_REQUEST_URL env variable")
        return 1
    names = ("repository", "workflow_ref", "ref", "sha", "run_id")
    claims = {each: job.env[f"GITHUB_{each.upper()}"] for each in names}
    bundle = job.runner.attest(job.run, job.job, image_statement(claims, name, digest))
    if bundle is None or job.permissions.get("attestations") != "write":
        job.say("##[error]Failed to persist attestation: Resource not accessible by integration")
        return 1
    number = job.state.next_id()
    keep(job.run.repo, number, bundle)
    job.say(f"Attestation uploaded to repository: {job.state.base_url}/{job.run.repo.full_name}/attestations/{number}")
    return 0


def create(call: Call) -> Any:
    number = call.state.next_id()
    try:
        keep(call.repo, number, call.field("bundle", dict))
    except (KeyError, TypeError, ValueError):
        raise Problem(422, "Validation Failed") from None
    return Answer(201, {"id": number})


def listed(call: Call) -> Any:
    digest, wanted = call.params["digest"], call.query.get("predicate_type", "")
    wanted = {"provenance": SLSA}.get(wanted, wanted)
    rows = [row for row in call.repo.attestations if digest in row["digests"] and wanted in ("", row["type"])]
    if not rows:
        raise not_found()
    shown = []
    for row in call.page(rows):
        where = {"repository_id": call.repo.id, "bundle_url": f"{call.base}/_bundles/{row['id']}.json.sn"}
        shown.append(where | ({"bundle": row["bundle"]} if call.version == "2022-11-28" else {}))
    return {"attestations": shown}


OPS = (
    Op(method="POST", path=R, handle=create, needs="attestations:write"),
    Op(method="GET", path=R + "/{digest}", handle=listed, needs="attestations:read"),
)

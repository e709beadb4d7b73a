"""GitHub's webhooks: alerts of secret scanning open incidents, everything else that may tell later is a fact.

No payload holds a secret: the value of an alert is fetched at triage, where that is allowed. An alert and its
locations come apart and in either order; both have one name, ``github:REPOSITORY-ID:NUMBER``. Actions that GitHub adds
are declined, never an error. Source: docs.github.com "Webhook events and payloads"; @octokit/openapi-webhooks 12.1.0.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bot.intake import proof
from bot.intake.delivery import (
    Delivery,
    Fact,
    Reading,
    Seen,
    Sender,
    Settled,
    at_path,
    number_at,
    plain,
    rows_at,
    text_at,
)
from bot.intake.kinds import kind_of
from bot.intake.wire import json_of, unpacked
from bot.model import Exposure, Trust

OPENS = {"created", "reopened", "publicly_leaked", "validated", "revoked"}
MALWARE = "CWE-506"  # embedded malicious code: the payload has no other word for malware

# What is kept of an event that opens nothing: name -> path in the payload.
_RUN = {
    "run": "workflow_run.id", "workflow": "workflow_run.path", "event": "workflow_run.event",
    "branch": "workflow_run.head_branch", "commit": "workflow_run.head_sha", "attempt": "workflow_run.run_attempt",
    "conclusion": "workflow_run.conclusion", "actor": "workflow_run.actor.login",
    "by": "workflow_run.triggering_actor.login", "from": "workflow_run.head_repository.full_name",
    "started_at": "workflow_run.run_started_at",
}  # fmt: skip
_JOB = {
    "run": "workflow_job.run_id", "job": "workflow_job.id", "name": "workflow_job.name",
    "runner": "workflow_job.runner_name", "runner_group": "workflow_job.runner_group_name",
    "labels": "workflow_job.labels", "conclusion": "workflow_job.conclusion", "commit": "workflow_job.head_sha",
    "started_at": "workflow_job.started_at",
}  # fmt: skip


def _package(name: str) -> dict[str, str]:
    version = f"{name}.package_version"
    return {
        "name": f"{name}.name", "namespace": f"{name}.namespace", "ecosystem": f"{name}.ecosystem",
        "type": f"{name}.package_type", "version": f"{version}.version", "author": f"{version}.author.login",
        "tag": f"{version}.release.tag_name", "created_at": f"{version}.created_at",
    }  # fmt: skip


FACTS: Mapping[str, Mapping[str, str]] = {
    "workflow_run": _RUN,
    "workflow_job": _JOB,
    "push": {"ref": "ref", "before": "before", "after": "after", "forced": "forced", "deleted": "deleted",
             "created": "created", "pusher": "pusher.name", "commits": "commits.*.id"},
    "create": {"ref": "ref", "type": "ref_type"},
    "delete": {"ref": "ref", "type": "ref_type"},
    "release": {"tag": "release.tag_name", "target": "release.target_commitish", "author": "release.author.login",
                "published_at": "release.published_at", "draft": "release.draft"},
    "package": _package("package"),
    "registry_package": _package("registry_package"),
    "deploy_key": {"id": "key.id", "title": "key.title", "read_only": "key.read_only", "added_by": "key.added_by",
                   "created_at": "key.created_at"},
    "member": {"login": "member.login", "changes": "changes.permission.to"},
    "public": {"visibility": "repository.visibility"},
    "repository": {"visibility": "repository.visibility", "was": "changes.repository.name.from",
                   "owner": "changes.owner.from.user.login"},
    "secret_scanning_scan": {"type": "type", "source": "source", "started_at": "started_at",
                             "completed_at": "completed_at"},
    "code_scanning_alert": {"number": "alert.number", "rule": "alert.rule.id", "severity": "alert.rule.severity",
                            "path": "alert.most_recent_instance.location.path"},
    "dependabot_alert": {"number": "alert.number", "package": "alert.dependency.package.name",
                         "ecosystem": "alert.dependency.package.ecosystem",
                         "advisory": "alert.security_advisory.ghsa_id",
                         "range": "alert.security_vulnerability.vulnerable_version_range",
                         "path": "alert.dependency.manifest_path"},
    "installation": {"app": "installation.app_slug", "account": "installation.account.login"},
    "meta": {"hook": "hook_id"},
    "branch_protection_rule": {"name": "rule.name"},
    "personal_access_token_request": {"owner": "personal_access_token_request.owner.login",
                                      "name": "personal_access_token_request.token_name"},
}  # fmt: skip


def prove(delivery: Delivery, secrets: tuple[str, ...]) -> Sender:
    """The signature is over the raw body. The header of SHA-1 is not looked at. Raises Undeliverable."""
    proof.signed(delivery.header("x-hub-signature-256"), delivery.body, secrets)
    return Sender(trust=Trust.SIGNED, by="GitHub")


def read(delivery: Delivery, _sender: Sender) -> Reading:
    """What a delivery tells. Raises Undeliverable when it is no JSON object."""
    body = unpacked(delivery.body, delivery.header("content-encoding"))
    value = json_of(body, delivery.header("content-type"))
    event = plain(delivery.header("x-github-event"), 60)
    action = text_at(value, "action", 60)
    name = f"{event}.{action}" if action else event
    by = text_at(value, "sender.login", 100)
    if not isinstance(value, dict) or not event:
        return Reading(event=name, note="it names no event of GitHub's")
    if event == "secret_scanning_alert":
        return _alert(value, name, action, by)
    if event == "secret_scanning_alert_location":
        return _location(value, name, action, by)
    if event == "dependabot_alert" and _malware(value) and action in ("created", "reopened", "reintroduced"):
        return _package_alert(value, name, by)
    if event == "repository_vulnerability_alert":
        return Reading(event=name, note="GitHub is closing this event down; send dependabot_alert instead")
    if event in FACTS:
        return Reading(event=name, by=by, facts=(_fact(value, event, name, by),))
    return Reading(event=name, note="pong" if event == "ping" else "nothing is done about this event")


def _names(value: dict[str, Any]) -> tuple[str, ...]:
    repository, number = number_at(value, "repository.id"), number_at(value, "alert.number")
    return (f"github:{repository}:{number}",) if repository and number else ()


def _seen(value: dict[str, Any], **more: Any) -> Seen:
    called = text_at(value, "alert.secret_type", 100)
    public = at_path(value, "alert.publicly_leaked") is True or at_path(value, "repository.private") is False
    known = public or at_path(value, "repository.private") is True
    validity = {"active": "live", "inactive": "dead"}.get(text_at(value, "alert.validity"), "")
    given: dict[str, Any] = {
        "called": called or "unknown", "kind": kind_of(called), "names": _names(value), "validity": validity,
        "repository": text_at(value, "repository.full_name"), "alert": number_at(value, "alert.number"),
        "exposure": (Exposure.PUBLIC if public else Exposure.INTERNAL) if known else Exposure.UNKNOWN,
        "severity": "high", "url": text_at(value, "alert.html_url"),
    }  # fmt: skip
    return Seen(**given | more)


def _alert(value: dict[str, Any], name: str, action: str, by: str) -> Reading:
    names = _names(value)
    if not names:
        return Reading(event=name, note="the alert has no number, or its repository no id")
    what = f"{text_at(value, 'alert.secret_type_display_name', 100)} in {text_at(value, 'repository.full_name')}"
    if action == "resolved" or text_at(value, "alert.state") == "resolved":
        resolution = text_at(value, "alert.resolution", 60) or "without a resolution"
        over = Settled(names=names, revoked=resolution == "revoked", resolution=resolution, by=by,
                       at=text_at(value, "alert.resolved_at", 40))  # fmt: skip
        return Reading(event=name, settled=(over,), by=by, text=f"GitHub's alert of {what} was resolved: {resolution}")
    if action not in OPENS:
        return Reading(event=name, note="this action changes nothing about the credential")
    number = number_at(value, "alert.number")
    seen = _seen(value, where=f"secret-scanning alert {number}", place=names[0])
    return Reading(event=name, seen=(seen,), by=by, text=f"GitHub's alert {number}: {what}")


def _location(value: dict[str, Any], name: str, action: str, by: str) -> Reading:
    if action != "created" or not _names(value):
        return Reading(event=name, note="this action changes nothing about the credential")
    kind, details = text_at(value, "location.type", 60), at_path(value, "location.details")
    details = details if isinstance(details, dict) else {}
    path = text_at(details, "path")
    url = path or next((plain(v) for k, v in sorted(details.items()) if k.endswith("_url")), "")
    line, commit = number_at(details, "start_line"), text_at(details, "commit_sha", 64)
    place = f"{kind}:{text_at(details, 'blob_sha', 64)}:{url}:{line}:{number_at(details, 'start_column')}"
    seen = _seen(value, where=path or f"{kind.replace('_', ' ')} {url}", line=line, commit=commit, place=place)
    return Reading(event=name, seen=(seen,), by=by, text=f"GitHub saw it in {seen.where} of {seen.repository}")


def _malware(value: dict[str, Any]) -> bool:
    if text_at(value, "alert.security_advisory.classification") == "malware":
        return True
    return any(row.get("cwe_id") == MALWARE for row in rows_at(value, "alert.security_advisory.cwes"))


def _package_alert(value: dict[str, Any], name: str, by: str) -> Reading:
    """A malicious package is no credential; every secret that its installs could read is one."""
    ecosystem, package = (text_at(value, f"alert.dependency.package.{part}", 200) for part in ("ecosystem", "name"))
    advisory = text_at(value, "alert.security_advisory.ghsa_id", 40)
    seen = Seen(
        called="malware", kind="malicious-package", id=f"{ecosystem}:{package}", names=_names(value),
        repository=text_at(value, "repository.full_name"), where=text_at(value, "alert.dependency.manifest_path"),
        url=text_at(value, "alert.html_url"), severity="critical", exposure=Exposure.PUBLIC, place=advisory,
    )  # fmt: skip
    text = f"Dependabot: {package} ({ecosystem}) is malware, {advisory}"
    return Reading(event=name, seen=(seen,), facts=(_fact(value, "dependabot_alert", name, by),), by=by, text=text)


def _fact(value: dict[str, Any], event: str, name: str, by: str) -> Fact:
    body = {key: _kept(value, path) for key, path in FACTS[event].items()}
    at = next((text for path in ("workflow_run.updated_at", "workflow_job.completed_at", "alert.created_at",
                                 "release.published_at", "repository.updated_at")
               if (text := text_at(value, path, 40))), "")  # fmt: skip
    body = {key: found for key, found in body.items() if found not in ("", None, [])} | ({"sender": by} if by else {})
    return Fact(kind=name, repository=text_at(value, "repository.full_name"), at=at, body=body)


def _kept(value: dict[str, Any], path: str) -> Any:
    if ".*." in path:
        rows, _, rest = path.partition(".*.")
        return [text for row in rows_at(value, rows)[:50] if (text := text_at(row, rest, 200))]
    found = at_path(value, path)
    if isinstance(found, bool) or (isinstance(found, int) and abs(found) < 2**63):
        return found
    if isinstance(found, list):
        return [plain(one, 100) for one in found[:20]]
    return plain(found, 300)

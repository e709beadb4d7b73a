"""Collectors: answers as providers give them in, facts with their origin out; a sentence for what cannot be read."""

from __future__ import annotations

import base64
import gzip
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from bot.errors import InputError
from bot.signals import collect
from bot.signals.collect import cloudtrail
from bot.signals.collect.github import with_workflows
from bot.signals.facts import Access, Deployment, Job, Mint, Push, Release, Run, Tag, Use, Version, ordered

RUN = {
    "id": 17, "run_number": 3, "path": ".github/workflows/deploy.yml@refs/heads/main", "event": "push",
    "head_branch": "main", "head_sha": "a" * 40, "head_repository": {"full_name": "fork/ferry"}, "run_attempt": 2,
    "actor": {"login": "mara"}, "triggering_actor": {"login": "jonas"}, "status": "completed", "conclusion": "success",
    "created_at": "2026-11-20T10:00:00Z", "run_started_at": "2026-11-20T11:00:00Z",
    "updated_at": "2026-11-20T11:09:00Z",
    "repository": {"full_name": "harbor/ferry"}, "html_url": "https://github.com/harbor/ferry/actions/runs/17",
}  # fmt: skip
JOB = {
    "id": 170, "run_id": 17, "run_attempt": 2, "name": "deploy", "runner_name": "GitHub Actions 4", "labels": ["x"],
    "started_at": "2026-11-20T11:00:10Z", "completed_at": "2026-11-20T11:08:00Z", "conclusion": "success",
    "run_url": "https://api.github.com/repos/harbor/ferry/actions/runs/17",
}  # fmt: skip


def written(folder: Path, name: str, *documents: Any) -> Path:
    path = folder / name
    path.write_text("\n".join(json.dumps(one) for one in documents))
    return path


def test_githubs_answers_one_after_another_in_one_file(tmp_path: Path) -> None:
    path = written(
        tmp_path, "runs.json", {"total_count": 1, "workflow_runs": [RUN]}, {"total_count": 1, "jobs": [JOB]},
        [{"id": 5, "environment": "production", "ref": "main", "sha": "a" * 40, "creator": {"login": "mara"},
          "created_at": "2026-11-20T11:01:00Z", "repository_url": "https://api.github.com/repos/harbor/ferry"}],
        [{"id": 6, "activity_type": "force_push", "ref": "refs/tags/v1", "before": "1" * 40, "after": "2" * 40,
          "timestamp": "2026-11-20T12:00:00Z", "actor": {"login": "mara"}}],
        [{"ref": "refs/tags/v1", "object": {"sha": "2" * 40}, "url": "https://api.github.com/repos/harbor/ferry/git/x"}],
        [{"name": "v1", "commit": {"sha": "2" * 40}, "zipball_url": "https://api.github.com/repos/harbor/ferry/z"}],
        [{"tag_name": "v1", "author": {"login": "mara"}, "published_at": "2026-11-20T12:30:00Z", "draft": False,
          "url": "https://api.github.com/repos/harbor/ferry/releases/1"}],
        {"total_count": 0, "workflow_runs": []}, [],
    )  # fmt: skip
    facts = with_workflows(collect.read(path, "harbor/ferry"))
    assert [type(f) for f in facts] == [Run, Job, Deployment, Push, Tag, Tag, Release]
    run, job = facts[0], facts[1]
    assert isinstance(run, Run)
    assert (run.repository, run.workflow, run.fork, run.triggering_actor, run.attempt) == (
        "harbor/ferry", ".github/workflows/deploy.yml", True, "jonas", 2,
    )  # fmt: skip
    assert run.at == datetime(2026, 11, 20, 11, tzinfo=UTC), "an attempt begins when it was started again"
    assert isinstance(job, Job)
    assert (job.repository, job.workflow) == ("harbor/ferry", run.workflow)
    assert all(f.origin.source == "github" and str(path) in f.origin.where for f in facts)
    assert {f.repository for f in facts} == {"harbor/ferry"}  # type: ignore[attr-defined]


def packument(**user: Any) -> dict[str, Any]:
    return {
        "name": "@harbor/ferry", "dist-tags": {"latest": "1.0.1"},
        "time": {"created": "2026-01-01T00:00:00Z", "1.0.0": "2026-01-01T00:00:00Z", "1.0.1": "2026-01-02T00:00:00.5Z"},
        "versions": {
            "1.0.0": {"dist": {"integrity": "sha512-a", "attestations": {"url": "x"}},
                      "_npmUser": {"name": "GitHub Actions", "email": "npm-oidc-no-reply@github.com",
                                   "trustedPublisher": {"id": "github", "oidcConfigId": "oidc:1"}}},
            "1.0.1": {"dist": {"integrity": "sha512-b"}, "_npmUser": {"name": "mara", "email": "m@example.org"}},
        },
    }  # fmt: skip


def test_an_npm_document_and_its_attestations(tmp_path: Path) -> None:
    statement = {
        "subject": [{"name": "pkg:npm/%40harbor/ferry@1.0.0"}],
        "predicate": {
            "buildDefinition": {
                "externalParameters": {"workflow": {"repository": "https://github.com/harbor/ferry",
                                                    "path": ".github/workflows/release.yml",
                                                    "ref": "refs/tags/v1.0.0"}},
                "resolvedDependencies": [{"digest": {"gitCommit": "c" * 40}}],
            },
            "runDetails": {"metadata": {"invocationId": "https://github.com/harbor/ferry/actions/runs/17/attempts/1"}},
        },
    }  # fmt: skip
    payload = base64.b64encode(json.dumps(statement).encode()).decode()
    attested = {"attestations": [{"predicateType": "https://github.com/npm/attestation/x"},
                                 {"predicateType": "https://slsa.dev/provenance/v1",
                                  "bundle": {"dsseEnvelope": {"payload": payload}}}]}  # fmt: skip
    path = written(tmp_path, "ferry.json", packument(), attested)
    trusted, by_token, claim = collect.read(path)
    assert isinstance(trusted, Version)
    assert isinstance(by_token, Version)
    assert isinstance(claim, Version)
    assert (trusted.means, trusted.provenance) == ("trusted", "yes")
    assert (by_token.means, by_token.provenance, by_token.uploader) == ("token", "no", "mara")
    assert (claim.key, claim.built_by, claim.workflow, claim.built_from, claim.run) == (
        trusted.key, "harbor/ferry", ".github/workflows/release.yml", "refs/tags/v1.0.0", 17,
    )  # fmt: skip


def test_pypi_with_and_without_provenance(tmp_path: Path) -> None:
    file = {"hashes": {"sha256": "ab"}, "yanked": False}
    simple = {"meta": {"api-version": "1.4"}, "name": "ferry-tides", "versions": ["1.0", "1.1"], "files": [
        {**file, "filename": "ferry_tides-1.0-py3-none-any.whl", "upload-time": "2026-01-02T00:00:00Z",
         "provenance": "u"},
        {**file, "filename": "ferry_tides-1.0.tar.gz", "upload-time": "2026-01-01T00:00:00Z", "provenance": "u"},
        {**file, "filename": "ferry_tides-1.1.tar.gz", "upload-time": "2026-02-01T00:00:00Z", "provenance": None},
    ]}  # fmt: skip
    statement = base64.b64encode(json.dumps({"subject": [{"name": "ferry_tides-1.0.tar.gz"}]}).encode()).decode()
    proof = {"version": 1, "attestation_bundles": [
        {"publisher": {"kind": "GitHub", "repository": "harbor/tides", "workflow": "release.yml"},
         "attestations": [{"envelope": {"statement": statement}}]}]}  # fmt: skip
    one, two, claim = collect.read(written(tmp_path, "ferry-tides.json", simple, proof))
    assert isinstance(one, Version)
    assert isinstance(two, Version)
    assert isinstance(claim, Version)
    assert (one.name, one.provenance, one.at.day, two.provenance) == ("1.0", "yes", 1, "no")
    assert (claim.key, claim.built_by, claim.workflow) == (one.key, "harbor/tides", ".github/workflows/release.yml")


def test_crates_rubygems_and_an_audit_log(tmp_path: Path) -> None:
    crate = {"crate": {"id": "ferry", "name": "ferry"}, "versions": [
        {"num": "1.0.0", "created_at": "2026-01-01T00:00:00.000000+00:00", "published_by": {"login": "mara"},
         "trustpub_data": None, "yanked": False, "checksum": "ab"},
        {"num": "1.1.0", "created_at": "2026-02-01T00:00:00.000000+00:00", "published_by": None, "yanked": True,
         "trustpub_data": {"provider": "github", "repository": "harbor/ferry", "run_id": "17", "sha": "c" * 40}},
    ]}  # fmt: skip
    by_hand, trusted = collect.read(written(tmp_path, "c.json", crate))
    assert isinstance(by_hand, Version)
    assert isinstance(trusted, Version)
    assert (by_hand.means, trusted.means, trusted.run, trusted.yanked) == ("token", "trusted", 17, True)
    gems = [{"number": "1.0", "created_at": "2026-01-01T00:00:00.000Z", "platform": "ruby", "sha": "ab"},
            {"number": "1.0", "created_at": "2026-01-01T01:00:00.000Z", "platform": "java"}]  # fmt: skip
    (gem,) = collect.read(written(tmp_path, "ferry.json", gems))
    assert isinstance(gem, Version)
    assert (gem.package, gem.means, gem.provenance) == ("ferry", "", "")
    row = {"@timestamp": 1_780_000_000_000, "action": "git.clone", "actor": "ferry[bot]", "actor_ip": "203.0.113.5",
           "repo": "harbor/ferry", "hashed_token": "h"}  # fmt: skip
    (access,) = collect.read(written(tmp_path, "audit.jsonl", row))
    assert isinstance(access, Access)
    assert access.address == "203.0.113.5"


@pytest.mark.parametrize(("text", "says"), [
    ("", "is empty"), ("{", "is not JSON: line 1"), ('{"a": 1}', "no form that is known"), ('"x"', "no form"),
    ('{"versions": {"1": {}}, "time": {}, "name": "x"}', "looks like npm packument"), ("[[[", "is not JSON"),
    ('[{"run_number": 1}]', "looks like GitHub API"),
])  # fmt: skip
def test_what_cannot_be_read_is_a_sentence(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "x.json"
    path.write_text(text)
    with pytest.raises(InputError, match=says):
        collect.read(path)


# CloudTrail -----------------------------------------------------------------------------------------------------------


def record(**more: Any) -> dict[str, Any]:
    return {
        "eventVersion": "1.11", "eventTime": "2026-11-20T11:01:00Z", "eventSource": "s3.amazonaws.com",
        "eventName": "ListBuckets", "awsRegion": "eu-central-1", "sourceIPAddress": "20.1.2.3",
        "recipientAccountId": "123456789012", "eventID": "e-1", "requestParameters": None, "responseElements": None,
        "userIdentity": {
            "type": "AssumedRole", "arn": "arn:aws:sts::123456789012:assumed-role/ferry/x", "accessKeyId": "ASIAX",
            "sessionContext": {
                "sessionIssuer": {"arn": "arn:aws:iam::123456789012:role/ferry"},
                "attributes": {"creationDate": "2026-11-20T11:00:00Z"},
                "webIdFederationData": {
                    "federatedProvider": "arn:aws:iam::1:oidc-provider/token.actions.githubusercontent.com"},
            },
        },
    } | more  # fmt: skip


MINTED = record(
    eventName="AssumeRoleWithWebIdentity", eventSource="sts.amazonaws.com", eventID="e-2",
    userIdentity={"type": "WebIdentityUser", "userName": "repo:harbor@48/ferry@70:ref:refs/heads/main",
                  "identityProvider": "arn:aws:iam::1:oidc-provider/token.actions.githubusercontent.com"},
    responseElements={"credentials": {"accessKeyId": "ASIAX"}, "assumedRoleUser": {"arn": "arn:role"}},
)  # fmt: skip


def uses(path: Path) -> list[Use | Mint]:
    return [fact for batch in cloudtrail.read(path) for fact in batch]


def test_log_files_of_a_folder_in_the_order_of_their_times(tmp_path: Path) -> None:
    deep = tmp_path / "AWSLogs" / "123456789012" / "CloudTrail"
    deep.mkdir(parents=True)
    for minute, name in ((10, "zz"), (5, "aa"), (20, "mm")):
        file = deep / f"123456789012_CloudTrail_eu-central-1_20261120T11{minute:02}Z_{name}.json.gz"
        file.write_bytes(gzip.compress(json.dumps({"Records": [record(eventID=f"e-{minute}")]}).encode()))
    digest = tmp_path / "AWSLogs" / "CloudTrail-Digest"
    digest.mkdir()
    (digest / "x.json.gz").write_bytes(gzip.compress(b'{"digest": 1}'))
    assert [f.event for f in uses(tmp_path) if isinstance(f, Use)] == ["e-5", "e-10", "e-20"]


def test_calls_of_a_kind_are_one_fact_and_a_minted_session_another(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    rows = [
        MINTED,
        record(),
        record(eventTime="2026-11-20T11:05:00Z", eventID="e-9"),
        record(sourceIPAddress="1.1.1.1"),
    ]
    path.write_text(json.dumps({"Records": rows}))
    found = uses(path)
    listed = [f for f in found if isinstance(f, Use) and f.action == "ListBuckets"]
    assert [(f.address, f.at.minute, f.until.minute, f.event) for f in listed] == [
        ("20.1.2.3", 1, 5, "e-9"), ("1.1.1.1", 1, 1, "e-1"),
    ]  # fmt: skip
    assert listed[0].who.identity == "arn:aws:iam::123456789012:role/ferry"
    assert listed[0].who.by_github
    (mint,) = [f for f in found if isinstance(f, Mint)]
    assert (mint.repository, mint.session) == ("harbor/ferry", "ASIAX")
    assert "e-2" in mint.origin.where


@pytest.mark.parametrize("form", ["file", "list", "one", "lookup", "lines", "packed lines", "an event a line"])
def test_every_form_in_which_cloudtrail_is_kept(tmp_path: Path, form: str) -> None:
    one, event = json.dumps(record()), json.dumps({"CloudTrailEvent": json.dumps(record())})
    texts = {
        "file": ("x.json", f'{{"Records": [{one}]}}'), "list": ("x.json", f"[{one}]"), "one": ("x.json", one),
        "lookup": ("x.json", f'{{"Events": [{event}], "NextToken": "n"}}'), "lines": ("x.jsonl", f"{one}\n\n{one}\n"),
        "packed lines": ("x.jsonl.gz", f"{one}\n"), "an event a line": ("x.jsonl", event),
    }  # fmt: skip
    name, text = texts[form]
    (tmp_path / name).write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    (found,) = uses(tmp_path)
    assert isinstance(found, Use)
    assert (found.service, found.action, found.origin.source) == ("s3", "ListBuckets", "cloudtrail")


def test_fields_that_are_null_or_of_another_type_count_as_absent(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    odd = record(userIdentity={"type": "AWSService", "arn": None, "sessionContext": None}, sourceIPAddress=None,
                 recipientAccountId=123)  # fmt: skip
    path.write_text(json.dumps({"Records": [odd, record(userIdentity=None), record()]}))
    assert len(uses(path)) == 3


def test_an_empty_log_file_holds_nothing(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text('{"Records": []}')
    assert uses(tmp_path) == []


@pytest.mark.parametrize(("name", "data", "says"), [
    ("x.json.gz", b"\x1f\x8b broken", "cannot be unpacked"), ("x.json", b"not json", "holds no records"),
    ("x.json", b'{"hello": 1}', "holds no records"),
    ("x.json.gz", gzip.compress(b"[1]", mtime=0)[:-6], "cannot be unpacked"),
    ("x.txt", b"", r"holds no \*\.json"),
])  # fmt: skip
def test_a_file_that_is_no_log_is_a_sentence(tmp_path: Path, name: str, data: bytes, says: str) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(InputError, match=says):
        uses(tmp_path)


def test_facts_are_ordered_by_time_and_each_is_there_once(tmp_path: Path) -> None:
    facts = collect.read(written(tmp_path, "f.json", packument(), packument()))
    assert len(ordered([*facts[::-1], *facts])) <= len(facts)
    assert [f.at for f in ordered(facts[::-1])] == sorted(f.at for f in facts)

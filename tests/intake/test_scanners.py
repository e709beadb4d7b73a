"""Every form of every scanner, written as the tools write it; and no value of any of them stands anywhere after.

The values are canaries: unique, plainly made up, put wherever a tool puts them, and looked for in every byte.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bot.errors import PlaybookError, Undeliverable
from bot.intake import formats, sources
from bot.intake.delivery import Seen
from bot.intake.door import Door
from bot.intake.generic import load
from bot.store_intake import listed
from tests.intake.office import KEY_ID, PAT, SECRET, SECRETS, TOKEN, Office
from tests.test_canaries import encodings

COMMIT = "c0ffee" * 6 + "c0ff"
REPO = "https://github.com/harbor-lights/ferry"


def trufflehog() -> str:
    git = {"commit": COMMIT, "file": "keys", "repository": f"{REPO}.git", "line": 4, "email": "a <a@b.c>"}
    ci = {"vcs_type": "github", "username": "harbor-lights", "repository": "ferry", "build_number": 9}
    rows = [
        {"SourceMetadata": {"Data": {"Git": git}}, "SourceType": 16, "DetectorType": 2, "DetectorName": "AWS",
         "Verified": True, "Raw": KEY_ID, "RawV2": f"{KEY_ID}:{SECRET}", "Redacted": KEY_ID,
         "ExtraData": {"account": "1"}, "StructuredData": None},
        {"SourceMetadata": {"Data": {"CircleCI": ci}}, "DetectorName": "NpmTokenV2", "Verified": False, "Raw": TOKEN,
         "RawV2": "", "Redacted": TOKEN, "SecretParts": {"key": TOKEN}},
    ]  # fmt: skip
    return "\n".join(map(json.dumps, rows)) + "\n"


def gitleaks(redacted: bool = False) -> str:
    def row(rule: str, secret: str, match: str, line: int) -> dict[str, Any]:
        shown = "REDACTED" if redacted else secret
        return {
            "RuleID": rule, "Description": "x", "StartLine": line, "EndLine": line, "StartColumn": 1, "EndColumn": 9,
            "Match": match.replace(secret, shown), "Secret": shown, "File": ".env", "SymlinkFile": "",
            "Commit": COMMIT, "Link": f"{REPO}/blob/{COMMIT}/.env#L{line}", "Entropy": 4.6, "Author": "Ann",
            "Email": "a@b.c", "Date": "2026-01-02T03:04:05Z", "Message": "m", "Tags": [],
            "Fingerprint": f"{COMMIT}:.env:{rule}:{line}",
        }  # fmt: skip

    found = [
        row("aws-access-token", KEY_ID, KEY_ID, 1),
        row("generic-api-key", SECRET, f"AWS_SECRET_ACCESS_KEY={SECRET}", 2),
        row("npm-access-token", TOKEN, TOKEN, 7),
    ]
    return json.dumps(found, indent=1)


def betterleaks(lines: bool = False, redacted: bool = False) -> str:
    def match(value: str, full: str) -> dict[str, str]:
        print_ = hashlib.sha256(b"made-up-key" + value.encode()).hexdigest()
        hidden = "REDACTED"
        return {"full": hidden if redacted else full, "value": hidden if redacted else value, "fingerprint": print_}

    secret = {"rule_id": "aws-secret-access-key", "match": match(SECRET, f"SECRET_ACCESS_KEY={SECRET}")}
    base = {"confidence": "high", "attributes": {"git.sha": COMMIT, "git.remote_url": REPO, "url": f"{REPO}/b"},
            "location": {"path": ".env", "start_line": 1}}  # fmt: skip
    found = [
        base | {"rule_id": "aws-access-token", "match": match(KEY_ID, KEY_ID),
                "component_sets": [{"components": [secret]}]},
        base | {"rule_id": "npm-access-token", "match": match(TOKEN, TOKEN), "component_sets": []},
    ]  # fmt: skip
    if lines:
        return "\n".join(json.dumps({"schema_version": "1", "finding": one}) for one in found)
    return json.dumps({"schema_version": "1", "findings": found})


def kingfisher(form: str = "json") -> str:
    hidden = form == "webhook"

    def row(rule: str, name: str, value: str, captures: dict[str, str]) -> dict[str, Any]:
        given = " ".join(f"--var {k}='{v}'" for k, v in captures.items())
        finding: dict[str, Any] = {
            "snippet": "<redacted>" if hidden else value, "fingerprint": "11125544903429016658", "confidence": "high",
            "validation": {"outcome": "not_attempted", "status": "Not Attempted", "response": ""}, "line": 1,
            "path": "./.env", "validate_command": f"kingfisher validate --rule '{rule}' {given} '{value}'",
            "blast_radius_command": f"kingfisher blast-radius --rule '{rule}' {given} '{value}'",
            "git_metadata": {"repository_url": REPO, "commit": {"id": COMMIT}, "file": {"path": ".env", "url": REPO}},
        }  # fmt: skip
        return {
            "rule": {"id": rule, "name": name},
            "finding": finding | ({"dependent_captures": captures} if captures else {}),
        }

    rows = [
        row("betterleaks.aws-access-token", "aws-access-token", KEY_ID, {"AWS_SECRET_ACCESS_KEY": SECRET}),
        row("veles.secrets/npmjsaccesstoken", "secrets/npmjsaccesstoken", TOKEN, {}),
    ]
    summary = {"findings": 2, "rules_applied": 488, "scan_date": "2026-01-02", "kingfisher": {"version_used": "2.14.0"}}
    if form == "webhook":
        return json.dumps(
            {"schema_version": "1", "kingfisher_version": "2.14.0", "summary": {"total": 2}, "findings": rows}
        )
    if form == "lines":
        return "\n".join(map(json.dumps, [*rows, {"audit": {}}, summary]))
    return json.dumps({"findings": rows, "audit": {}, "metadata": {}}) + json.dumps(summary)


def sarif(tool: str) -> str:
    def result(rule: str, value: str, more: Mapping[str, Any]) -> dict[str, Any]:
        prints = {"commitSha": COMMIT, "author": "Ann"} if tool == "gitleaks" else {"fingerprint": "9"}
        return {
            "ruleId": rule, "level": "error", "message": {"text": f"{rule} has detected secret for file .env"},
            "locations": [{"physicalLocation": {"artifactLocation": {"uri": ".env"}, "region": {
                "startLine": 1, "snippet": {"text": value}}}, "properties": dict(more)}],
            "partialFingerprints": prints,
        }  # fmt: skip

    command = {"validate_command": f"kingfisher validate --var AWS_SECRET_ACCESS_KEY='{SECRET}' '{KEY_ID}'"}
    aws = result("aws-access-token", KEY_ID, command if tool == "kingfisher" else {})
    if tool != "kingfisher":
        aws["message"]["text"] += f" aws_secret_access_key={SECRET}"
    results = [aws, result("npm-access-token", TOKEN, {}) | {"partialFingerprints": {}}]
    return json.dumps({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json", "version": "2.1.0",
        "runs": [{"tool": {"driver": {"name": tool}}, "results": results}],
    })  # fmt: skip


def baseline() -> str:
    def row(kind: str, value: str, **more: Any) -> dict[str, Any]:
        return {"type": kind, "filename": ".env", "is_verified": False, "line_number": 1,
                "hashed_secret": hashlib.sha1(value.encode(), usedforsecurity=False).hexdigest(), **more}  # fmt: skip

    found = [row("AWS Access Key", KEY_ID), row("NPM tokens", TOKEN), row("Secret Keyword", "x", is_secret=False)]
    return json.dumps({"version": "1.5.0", "plugins_used": [{"name": "NpmDetector"}], "filters_used": [],
                       "results": {".env": found}, "generated_at": "2026-01-02T03:04:05Z"}, indent=2)  # fmt: skip


FORMS = {
    "trufflehog": ("trufflehog", trufflehog()),
    "gitleaks": ("gitleaks", gitleaks()),
    "betterleaks": ("betterleaks", betterleaks()),
    "betterleaks lines": ("betterleaks", betterleaks(lines=True)),
    "kingfisher": ("kingfisher", kingfisher()),
    "kingfisher lines": ("kingfisher", kingfisher("lines")),
    "kingfisher webhook": ("kingfisher", kingfisher("webhook")),
    "sarif of gitleaks": ("sarif", sarif("gitleaks")),
    "sarif of kingfisher": ("sarif", sarif("kingfisher")),
    "sarif of another": ("sarif", sarif("secretlint")),
}
each_form = pytest.mark.parametrize(("name", "text"), FORMS.values(), ids=FORMS)


def stands(data: bytes, *values: str) -> list[int]:
    """Which of the values stand in these bytes, in any encoding; by number, their text is not to be printed."""
    return [k for k, value in enumerate(values) if any(form in data for form in encodings(value))]


@each_form
def test_every_form_is_told_by_its_content_and_opens_the_right_incidents(office: Office, name: str, text: str) -> None:
    assert formats.read(text)[0].name == name
    answer = office.deliver(name, text.encode())
    assert answer.text == "landed"
    assert stands(office.bytes(), SECRET, TOKEN) == [], "landed"
    office.work()
    opened = {one.credential_key: one.id for one in office.store.incidents()}
    pair, token = opened.pop(f"aws-access-key:{KEY_ID}"), opened.popitem()
    assert token[0].startswith("npm-token:hmac:")
    assert opened == {}
    assert [s.reveal() for s in office.vault.held(pair)] == [SECRET]
    assert [s.reveal() for s in office.vault.held(token[1])] == [TOKEN]
    assert stands(office.bytes(), SECRET, TOKEN) == [], "worked"


@each_form
def test_repeated_by_every_scanner_it_is_the_same_two_incidents(office: Office, name: str, text: str) -> None:
    office.deliver("kingfisher", kingfisher().encode())
    office.deliver(name, text.encode())
    office.deliver("detect-secrets", baseline().encode())
    office.work()
    assert len(office.store.incidents()) == 2
    assert {row["state"] for row in listed(office.store)} == {"worked"}


@pytest.mark.parametrize("text", [gitleaks(redacted=True), betterleaks(redacted=True), baseline()])
def test_a_report_without_values_opens_what_it_names_and_joins_when_they_come(office: Office, text: str) -> None:
    name = formats.read(text)[0].name
    office.deliver(name, text.encode())
    office.work()
    assert all(office.vault.held(one.id) == [] for one in office.store.incidents())
    rows = office.store.inbox()
    assert rows
    assert all(row["state"] in ("worked", "dead") for row in rows), "what has no name to go by is kept and said"


def test_a_baselines_digests_are_kept_under_our_own_key_only(office: Office) -> None:
    office.deliver("detect-secrets", baseline().encode())
    office.work()
    digest = hashlib.sha1(TOKEN.encode(), usedforsecurity=False).hexdigest()
    assert digest.encode() not in office.bytes()
    assert len(office.store.incidents()) == 2, "what was audited as no secret is passed over"


def test_a_digest_of_a_prefix_alone_is_no_name_of_a_token(office: Office) -> None:
    """detect-secrets 1.5.0 hashes "ghp" of every GitHub token: two of them are two."""
    digest = hashlib.sha1(b"ghp", usedforsecurity=False).hexdigest()
    rows = [{"type": "GitHub Token", "filename": name, "hashed_secret": digest, "line_number": 1} for name in "ab"]
    results = {"a": rows[:1], "b": rows[1:]}
    office.deliver("detect-secrets", {"version": "1.5.0", "plugins_used": [], "results": results})
    assert len(set(office.work())) == 2


def test_a_value_that_one_finding_holds_stands_in_no_other_ones_words(office: Office) -> None:
    rows = json.loads(gitleaks())
    rows[0]["File"] = f"logs/{TOKEN}/x"
    rows[1]["Link"] = f"https://github.com/a/b/blob/{base64.b64encode(TOKEN.encode()).decode()}/x"
    office.deliver("gitleaks", rows)
    office.work()
    assert stands(office.bytes(), SECRET, TOKEN) == []


def test_a_value_that_nothing_recognises_is_sealed_and_said_to_have_no_playbook(office: Office) -> None:
    odd = "correct horse battery staple made up"
    office.deliver("gitleaks", [{"RuleID": "house-password", "File": "a", "Fingerprint": "a:b:1", "Secret": odd,
                                 "Match": f"password = {odd}", "StartLine": 1}])  # fmt: skip
    assert office.work() == []
    (row,) = office.store.inbox("dead")
    assert "no playbook knows house-password" in row["note"]
    assert stands(office.bytes(), odd) == []


def test_awss_own_example_and_a_word_of_the_scanner_make_no_key(office: Office) -> None:
    office.deliver("trufflehog", {"DetectorName": "AWS", "Raw": "AK" + "IAIOSFODNN7EXAMPLE", "SourceMetadata": {}})
    assert office.work() == []


@pytest.mark.parametrize("text", ["{}", "[1]", '{"findings": 1}', '{"runs": []}', '[{"RuleID": "x"}]', '"x"', "", "{"])
def test_what_is_no_report_is_refused_with_what_would_be(text: str) -> None:
    with pytest.raises(Undeliverable) as caught:
        formats.read(text)
    assert caught.value.status in (400, 422)
    for name in formats.FORMATS:
        with pytest.raises(Undeliverable):
            formats.read('{"made": "up"}', name)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3), max_leaves=8,
)  # fmt: skip


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(sorted(FORMS)), st.data())
def test_no_form_fails_by_whatever_stands_in_a_field(name: str, data: st.DataObject) -> None:
    """Any value in place of any field of a report gives findings or a status, never an error of ours."""
    text = FORMS[name][1]
    at = data.draw(st.integers(0, 40))
    rows = (
        [json.loads(line) for line in text.splitlines()] if "\n{" in text else [json.JSONDecoder().raw_decode(text)[0]]
    )
    _put(rows, at, data.draw(JSON))
    try:
        _, seen = formats.read("\n".join(map(json.dumps, rows)))
    except Undeliverable as exc:
        assert exc.status in (400, 413, 422)
        return
    assert all(isinstance(one, Seen) and isinstance(one.rank, int) for one in seen)


def _put(value: Any, at: int, other: Any) -> int:
    """Replace the ``at``-th value inside a value."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in list(pairs):
        if at == 0:
            value[key] = other
            return -1
        at = _put(inner, at - 1, other)
        if at < 0:
            return at
    return at


# a source of one's own ------------------------------------------------------------------------------------------------

OWN = """\
datadog:
  title: Datadog, our template
  signature: {header: X-Signature, prefix: v1=, timestamp: X-Timestamp, message: timestamp.body}
  each: alerts
  fields: {value: token, called: rule, repository: repo, where: at.file, line: at.line, visibility: vis, alert: id}
splunk:
  fields: {value: result.secret, called: search_name, url: results_link}
"""


def test_a_source_of_ones_own_signs_and_is_mapped_by_its_fields(office: Office, tmp_path: Path) -> None:
    file = tmp_path / "own.yaml"
    file.write_text(OWN)
    own = load(file, sources.NAMES)
    secrets = {"datadog": ("made-up-datadog-secret",), "splunk": ("made-up-splunk-secret",)}
    object.__setattr__(office, "door", Door(sources.built(secrets, own=own), office.inbox))
    at = {"file": "a.env", "line": "7"}
    one = {"token": TOKEN, "rule": "npm", "repo": "harbor-lights/ferry", "id": 5, "vis": "public", "at": at}
    body = json.dumps({"alerts": [one]}).encode()
    now = datetime.now(UTC)
    stamp = str(int(now.timestamp()))
    digest = hmac.new(b"made-up-datadog-secret", f"{stamp}.".encode() + body, hashlib.sha256).hexdigest()
    headers = {"x-signature": f"v1={digest}", "x-timestamp": stamp}
    assert office.deliver("datadog", body, headers, now).text == "landed"
    (incident,) = office.work()
    report = office.store.incident(incident).body["report"]
    assert (report["trust"], report["exposure"], report["authority"]) == ("signed", "public", "signed")
    assert "a.env, line 7 of harbor-lights/ferry" in report["text"]
    for bad in ({**headers, "x-timestamp": str(int(stamp) - 1)}, {"x-signature": digest}, {}):
        assert office.deliver("datadog", body, bad, now).status == 401
    event = {"result": {"secret": PAT}, "search_name": "tokens", "results_link": "https://splunk.example/1"}
    assert office.deliver("splunk", event, {}, token="made-up-splunk-secret").text == "landed"
    (unsigned,) = office.work()
    assert office.store.incident(unsigned).body["report"]["asks"] is True
    assert stands(office.bytes(), TOKEN, PAT) == []
    empty = office.deliver("splunk", {"result": {}}, {}, token="made-up-splunk-secret")
    assert "no field leads" in empty.text


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("datadog:", "github:"), ("X-Signature", "X"), ("message: timestamp.body", "message: body"),
        ("value: token", "nothing: token"), ("v1=", "v1=, digest: md5"), ("line: at.line", "line: 'at line'"),
        ("{value: result.secret, called: search_name, url: results_link}", "{called: search_name}"),
        ("  each: alerts\n", "  every: alerts\n"),
    ],
)  # fmt: skip
def test_every_mistake_of_the_file_is_said_with_its_line(tmp_path: Path, change: str, said: str) -> None:
    file = tmp_path / "own.yaml"
    file.write_text(OWN.replace(change, said, 1))
    if said == "X":
        assert load(file, sources.NAMES)["datadog"].signature is not None
        return
    with pytest.raises(PlaybookError, match=r"own\.yaml:\d+: "):
        load(file, sources.NAMES)


SOURCES_MD = (Path(__file__).parents[2] / "docs" / "sources.md").read_text(encoding="utf-8")
SET_UP = {  # in which section of it stands how each is set up
    "github": "GitHub", "github-partner": "GitHub's partner program", "gitguardian": "GitGuardian",
    "aws": "AWS Health and GuardDuty", "sqs": "AWS Health and GuardDuty", "ci": "Uploads of workflow runs",
    **dict.fromkeys(
        ("stepsecurity", "trufflehog", "gitleaks", "betterleaks", "kingfisher", "sarif", "detect-secrets"),
        "Scanners that only know an address",
    ),
}  # fmt: skip


def test_each_source_says_what_it_shows_what_it_may_start_and_what_it_never_sends() -> None:
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in SOURCES_MD.splitlines()
        if line.startswith("| ")
    ]
    told = {cells[0].strip("`").partition("`")[0]: cells[1:] for cells in rows if len(cells) == 4}
    assert sources.NAMES | {sources.SQS} <= told.keys()
    assert {name for name, cells in told.items() if not all(cells)} == set(), "no cell is empty"
    assert SECRETS.keys() <= sources.NAMES
    for name in sources.NAMES:  # what nobody signed never says that it acts
        acts = "that act" in told[name][1]
        assert acts == (name in ("github", "github-partner", "gitguardian", "aws", "sqs", "ci")), name


def test_each_source_is_set_up_in_five_lines() -> None:
    assert sources.NAMES | {sources.SQS} == SET_UP.keys()
    sections = dict(part.partition("\n")[::2] for part in SOURCES_MD.split("\n## ")[1:])
    for name, title in SET_UP.items() | {("your own", "A source of your own")}:
        steps = [line for line in sections[title].splitlines() if line[:2] in {f"{n}." for n in range(1, 10)}]
        assert 1 <= len(steps) <= 5, f"{name}: {title}"
        assert [int(line[0]) for line in steps] == list(range(1, len(steps) + 1))
    assert all(f"hooks/{name}" in SOURCES_MD for name in ("github", "gitguardian", "aws", "ci", "kingfisher"))

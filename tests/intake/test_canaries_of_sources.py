"""A secret that comes by any source, in any of its forms, stands nowhere afterwards but sealed in the vault.

Each source's own shape is filled with made-up values; delivered, refused, worked, told and listed, with logs at DEBUG.
The values are looked for as they are and encoded, in every file, every cell and every line of the log.
"""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from bot.intake import aws, sources
from bot.intake.ci import Runs
from bot.intake.delivery import Delivery, Sender
from bot.intake.door import Door
from bot.intake.generic import Mapped, Signature
from bot.intake.github import FACTS
from bot.intake.partner import Partner
from bot.intake.proof import hmac_of
from bot.intake.sns import Topics
from bot.model import Trust
from tests.intake.office import PAT, SECRET, SECRETS, TOKEN, Office, alert, office, proof
from tests.intake.test_aws_sources import NOW, TOPIC, Web, finding, message
from tests.intake.test_ci import AUDIENCE, GITHUB_ISSUER, RUN, Keys, OidcIssuer, issuer, upload
from tests.intake.test_opening import gitleaks
from tests.test_canaries import everything, found_in

__all__ = ["issuer", "office"]  # fixtures
CANARIES = {TOKEN, PAT, SECRET}
WORDS = f"the token {TOKEN} of {PAT}"  # in a field that is meant for words


@pytest.fixture
def database(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'b.db'}"


def _kingfisher() -> Any:
    found = {"snippet": "<redacted>", "fingerprint": "1", "path": "x", "line": 1, "validate_command": f"check {TOKEN}",
             "blast_radius_command": f"map {PAT}", "dependent_captures": {"AWS_SECRET_ACCESS_KEY": SECRET}}  # fmt: skip
    return {"schema_version": "1", "kingfisher_version": "2.14.0", "findings": [
        {"rule": {"id": "kingfisher.npm.1", "name": WORDS}, "finding": found}
    ]}  # fmt: skip


def _sarif() -> Any:
    where = {"physicalLocation": {"artifactLocation": {"uri": f"logs/{TOKEN}"}, "region": {"snippet": {"text": WORDS}}}}
    result = {"ruleId": "x", "message": {"text": WORDS}, "locations": [where]}
    return {"version": "2.1.0", "runs": [{"tool": {"driver": {"name": WORDS}}, "results": [result]}]}


BODIES: dict[str, Callable[[], Any]] = {
    "github": lambda: alert(secret_type_display_name=WORDS, html_url=f"https://x/{TOKEN}") | {"sender": {"login": PAT}},
    "gitguardian": lambda: {"type": WORDS, "matches": [{"match": TOKEN}, {"match": SECRET}], "gitguardian_link": PAT},
    "stepsecurity": lambda: [{"id": "Secret-In-Build-Log", "owner": "a", "repo": "a/b", "run_id": "5",
                              "detection": WORDS, "secret": TOKEN, "job": PAT}],
    "trufflehog": lambda: {"DetectorName": "NpmToken", "Raw": TOKEN, "RawV2": SECRET, "Redacted": TOKEN,
                           "SourceMetadata": {"Data": {"Git": {"file": WORDS, "line": 2, "email": PAT}}}},
    "gitleaks": lambda: gitleaks(TOKEN, f"dir/{PAT}", match=WORDS),
    "betterleaks": lambda: {"schema_version": "1", "findings": [
        {"rule_id": WORDS, "match": {"full": WORDS, "value": TOKEN, "fingerprint": PAT}, "location": {"path": PAT}}
    ]},
    "sarif": _sarif, "kingfisher": _kingfisher,
    "detect-secrets": lambda: {"version": "1.5.0", "plugins_used": [], "results": {f"dir/{PAT}": [
        {"type": WORDS, "filename": f"dir/{PAT}", "hashed_secret": "a" * 40, "line_number": 1}
    ]}},
}  # fmt: skip


def test_every_source_that_has_a_door_is_here() -> None:
    assert set(BODIES) | {sources.SNS, sources.SQS, sources.PARTNER, sources.CI} == sources.NAMES


@pytest.fixture
def log() -> Any:
    kept, root = io.StringIO(), logging.getLogger()
    handler, level = logging.StreamHandler(kept), root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield kept
    root.removeHandler(handler)
    root.setLevel(level)


def nowhere(office: Office, log: io.StringIO, said: str) -> None:
    """Not in the answer, not in a file or cell, not in the log; and the search would have found it."""
    office.inbox.work_all(office.store.inbox("landed"))
    office.store.close()
    assert found_in(f"xx {TOKEN}".encode(), CANARIES)
    assert [(name, hit) for name, data in everything(office.folder) if (hit := found_in(data, CANARIES))] == []
    assert found_in(log.getvalue().encode() + said.encode(), CANARIES) == []


@pytest.mark.parametrize("source", sorted(BODIES))
def test_nothing_of_it_stands_anywhere(office: Office, log: io.StringIO, source: str) -> None:
    answer = office.deliver(source, BODIES[source]())
    assert answer.text == "landed"
    nowhere(office, log, answer.text)


@pytest.mark.slow
@pytest.mark.parametrize("source", sorted(BODIES))
@pytest.mark.parametrize("how", ["unsigned", "torn", "text"])
def test_what_is_refused_leaves_nothing_either(office: Office, log: io.StringIO, source: str, how: str) -> None:
    raw = json.dumps(BODIES[source]()).encode()
    torn = raw[:-3] if how == "torn" else WORDS.encode() if how == "text" else raw
    headers = {"authorization": f"Bearer {TOKEN}"} if how == "unsigned" else proof(source, torn, datetime.now(UTC))
    answer = office.deliver(source, torn, headers)
    assert 400 <= answer.status < 500
    nowhere(office, log, answer.text)


def test_awss_events_by_topic_and_by_queue(office: Office, log: io.StringIO) -> None:
    event = finding()
    event["detail"]["service"]["action"]["awsApiCallAction"]["api"] = WORDS
    event["detail"]["title"] = WORDS
    door = Door(sources.built({}, topics=Topics((TOPIC,), Web())), office.inbox)
    body = json.dumps(message(Message=json.dumps(event), Subject=WORDS)).encode()
    given = {"content-type": "text/plain"}
    answer = door.receive(Delivery(source="aws", body=body, headers=given, at=NOW))
    assert answer.status == 202
    reading = aws.read(event)
    queue = Delivery(source=sources.SQS, body=json.dumps(event).encode(), headers={}, at=datetime.now(UTC))
    office.inbox.receive(queue, Sender(trust=Trust.SIGNED, by="SQS queue"), reading)
    nowhere(office, log, answer.text)


def test_a_source_of_your_own(office: Office, log: io.StringIO) -> None:
    names = ("value", "called", "where", "url", "text", "by", "repository")
    signature = Signature(header="x-signature")
    own = Mapped(name="mine", title="Mine", signature=signature, fields={name: name for name in names})
    fields = dict.fromkeys(own.fields, WORDS) | {"value": TOKEN}
    body = json.dumps(fields).encode()
    door = Door(sources.built({"mine": SECRETS["gitleaks"]}, own={"mine": own}), office.inbox)
    headers = {"x-signature": hmac_of(SECRETS["gitleaks"][0], body).hex()}
    answer = door.receive(Delivery(source="mine", body=body, headers=headers, at=datetime.now(UTC)))
    assert answer.text == "landed", answer
    nowhere(office, log, answer.text)


def test_an_upload_of_a_run(office: Office, log: io.StringIO, issuer: OidcIssuer) -> None:
    keys = f"{GITHUB_ISSUER}/.well-known/jwks"
    runs = Runs(GITHUB_ISSUER, AUDIENCE, ("harbor-lights/*",), keys, Keys(issuer))
    door = Door(sources.built({}, runs=runs), office.inbox)
    token = issuer.mint(dict(RUN), AUDIENCE)
    answer = upload(door, token, gitleaks(TOKEN, f"dir/{PAT}", match=WORDS))
    assert answer.text == "landed"
    nowhere(office, log, answer.text)
    assert token not in log.getvalue()


def test_githubs_partner_program(office: Office, log: io.StringIO) -> None:
    """Its signature is GitHub's alone, so what was proven is handed to the inbox as the door does it."""
    url = f"https://github.com/a/b/blob/main/{PAT}"
    body = json.dumps([{"token": TOKEN, "type": WORDS, "url": url, "source": "x"}])
    delivery = Delivery(source=sources.PARTNER, body=body.encode(), headers={}, at=datetime.now(UTC))
    sender = Sender(trust=Trust.SIGNED, by="GitHub")
    office.inbox.receive(delivery, sender, Partner("https://api.github.com").read(delivery, sender))
    nowhere(office, log, "")


@pytest.mark.slow
@pytest.mark.parametrize("event", sorted(FACTS))
def test_events_that_are_only_facts(office: Office, log: io.StringIO, event: str) -> None:
    body: dict[str, Any] = {"action": "created", "repository": {"id": 1, "full_name": "a/b"}}
    for path in FACTS[event].values():
        at = body
        *way, last = path.partition(".*.")[0].split(".")
        for part in way:
            at = at.setdefault(part, {})
        at.setdefault(last, WORDS)
    raw = json.dumps(body).encode()
    answer = office.deliver("github", raw, proof("github", raw, datetime.now(UTC), event))
    assert answer.text == "landed"
    nowhere(office, log, answer.text)

"""The door: proven, read, landed once, acknowledged; everything else is a plain status with a counted reason."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from bot.intake import sources
from bot.intake.door import Door
from bot.store_intake import Facts, again, counts, listed, waiting
from tests.intake.office import AT, PAT, SECRETS, TOKEN, Office, alert, proof


def test_a_delivery_lands_once_and_is_acknowledged_as_often_as_it_comes(office: Office) -> None:
    first = office.deliver("github", alert())
    assert (first.status, first.text) == (202, "landed")
    for _ in range(3):
        repeated = office.deliver("github", alert())
        assert (repeated.status, repeated.text, repeated.id) == (202, "was here already", first.id)
    assert len(office.work()) == 1
    assert office.deliver("github", alert()).text == "was here already", "worked, it still is not new"
    assert office.work() == []
    assert office.door.counts == {("github", "landed"): 1, ("github", "again"): 4}


def test_a_signed_body_is_one_delivery_whatever_number_a_header_gives_it(office: Office) -> None:
    """The number is not signed: whoever has one signed body could send it under a thousand of them."""
    body = json.dumps(alert()).encode()
    for k in range(3):
        office.deliver("github", body, {**proof("github", body, AT), "x-github-delivery": f"made-up-{k}"})
    relabelled = {**proof("github", body, AT, event="push")}
    assert office.deliver("github", body, relabelled).text == "was here already"
    assert len(office.store.inbox()) == 1


@pytest.mark.parametrize("source", sorted(SECRETS))
def test_without_its_proof_nothing_of_a_delivery_stays(office: Office, source: str) -> None:
    body = json.dumps(alert()).encode()
    other = {**proof("github", b"another body", AT)} if source == "github" else {"authorization": "Bearer made-up"}
    for headers in ({}, other):
        answer = office.deliver(source, body, headers)
        assert answer.status == 401
        assert "harbor" not in answer.text
    assert office.store.inbox() == []
    assert sum(n for (name, _), n in office.door.counts.items() if name == source) == 2


def test_a_source_without_a_secret_is_as_if_it_were_not_there(office: Office) -> None:
    door = Door(sources.built({"github": ("made-up-secret-0123",)}), office.inbox)
    assert [door.open(name) for name in ("github", "gitguardian", "nobody", "sqs", "aws", "ci")] == [True] + [False] * 5
    assert door.counts == {("(none)", "unknown-source"): 5}
    assert sources.unknown({"github": ("x",), "nobody": ("x",)}, {}) == ["nobody"]


@pytest.mark.parametrize(
    ("event", "body", "said"),
    [
        ("ping", {"zen": "x", "hook_id": 1}, "pong"),
        ("star", {"action": "created"}, "nothing is done about this event"),
        ("secret_scanning_alert", alert(action="assigned"), "changes nothing"),
        ("secret_scanning_alert", alert(action="something_new_of_githubs"), "changes nothing"),
        ("secret_scanning_alert", {"action": "created"}, "no number"),
        ("secret_scanning_alert", [], "no event"),
        ("", alert(), "no event"),
    ],
)
def test_what_is_not_taken_is_declined_with_the_reason_and_not_stored(
    office: Office, event: str, body: object, said: str
) -> None:
    raw = json.dumps(body).encode()
    answer = office.deliver("github", raw, proof("github", raw, AT, event))
    assert answer.status == 202
    assert said in answer.text
    assert office.store.inbox() == []
    assert office.door.counts == {("github", "declined"): 1}


def test_an_authentic_delivery_that_nobody_can_read_is_kept_as_dead_without_what_it_held(office: Office) -> None:
    body = b'{"action": "created", "twice": "' + TOKEN.encode() + b'", "twice": 1}'
    assert office.deliver("github", body).status == 400
    (row,) = office.store.inbox("dead")
    assert "could not be read" in row["note"]
    assert TOKEN.encode() not in office.bytes()
    unsigned = office.deliver("github", body, {})
    assert unsigned.status == 401
    assert len(office.store.inbox()) == 1


def test_missing_and_unknown_fields_are_no_error(office: Office) -> None:
    bare = {"action": "created", "alert": {"number": 9}, "repository": {"id": 3}, "new": [{"deep": None}]}
    assert office.deliver("github", bare).text == "landed"
    assert office.work() == [], "its kind is unknown, so it is kept and said"
    (row,) = office.store.inbox("dead")
    assert "no playbook" in row["note"]


def test_the_worst_is_worked_first(office: Office) -> None:
    office.deliver("github", alert(1, validity="inactive"))
    office.deliver("github", alert(2))
    office.deliver("github", alert(3, publicly_leaked=True, action="publicly_leaked"))
    office.land(PAT)

    ranks = [row["rank"] for row in waiting(office.store, 10)]
    assert ranks == sorted(ranks)
    public = next(row for row in waiting(office.store, 10) if row["source"] == "github")
    assert public["body"]["cases"][0]["exposure"] == "public"
    assert len(waiting(office.store, 2)) == 2


def test_what_is_dead_can_be_worked_again(office: Office) -> None:
    office.deliver("github", alert(secret_type="something_of_ours"))
    assert office.work() == []
    (row,) = office.store.inbox("dead")
    assert again(office.store, row["id"])
    assert not again(office.store, row["id"]), "it is landed now"
    assert counts(office.store) == {"landed": 1}
    assert [one["state"] for one in listed(office.store)] == ["landed"]
    assert listed(office.store, "dead") == []


def test_a_fact_opens_nothing_and_stays(office: Office) -> None:
    run = {
        "action": "completed", "repository": {"full_name": "harbor-lights/ferry"}, "sender": {"login": "mara"},
        "workflow_run": {"id": 5, "path": ".github/workflows/deploy.yml", "event": "push", "head_branch": "main",
                         "head_sha": "0" * 40, "updated_at": "2026-01-02T03:04:05Z", "conclusion": "success",
                         "actor": {"login": "mara"}, "head_repository": {"full_name": "quiet-otter/ferry"}},
    }  # fmt: skip
    body = json.dumps(run).encode()
    for _ in range(2):
        assert office.deliver("github", body, proof("github", body, AT, "workflow_run")).status == 202
    (fact,) = Facts(office.store).find(repository="harbor-lights/ferry", kind="workflow_run")
    assert fact["kind"] == "workflow_run.completed"
    assert fact["at"].startswith("2026-01-02T03:04:05")
    assert fact["body"]["from"] == "quiet-otter/ferry"
    assert fact["body"]["sender"] == "mara"
    assert office.store.inbox("landed") == []
    assert office.work() == []
    assert Facts(office.store).find(until="2026-01-01") == []
    assert Facts(office.store).forget("2026-01-01") == 0
    assert Facts(office.store).forget("~") == 1


def test_a_value_in_a_fact_is_scrubbed(office: Office) -> None:
    body = json.dumps({"ref": f"refs/heads/{TOKEN}", "repository": {"full_name": "a/b"}, "commits": []}).encode()
    assert office.deliver("github", body, proof("github", body, AT, "push")).status == 202
    assert TOKEN.encode() not in office.bytes()
    assert "[secret hmac:" in Facts(office.store).find()[0]["body"]["ref"]


def test_text_that_no_database_takes_is_made_plain(office: Office) -> None:
    """NUL, half a pair of UTF-16, marks that turn the direction of text round."""
    odd = alert(html_url="x\0\ud800\u202ey") | {"repository": {"id": 1, "full_name": "a/b\0\udfff"}}
    body = json.dumps(odd | {"sender": {"login": "\ud83d"}}).encode()
    assert office.deliver("github", body).text == "landed"
    (row,) = office.store.inbox("landed")
    assert row["body"]["cases"][0]["url"] == "x   y"


def test_when_the_database_does_not_take_it_nothing_is_acknowledged(office: Office) -> None:
    with office.store.begin() as c:
        c.exec_driver_sql("DROP TABLE inbox")
    answer = office.deliver("github", alert())
    assert (answer.status, answer.id) == (503, "")
    assert office.door.counts == {("github", "database"): 1}


def test_gitguardians_replay_is_refused_by_its_age(office: Office) -> None:
    now = datetime.now(UTC)
    event = {"action": "incident_triggered", "incident": {"id": 31, "detector": {"name": "npm_token"}}}
    body = json.dumps(event).encode()
    headers = proof("gitguardian", body, now)
    assert office.deliver("gitguardian", body, headers, now).text == "landed"
    assert office.deliver("gitguardian", body, headers, now + timedelta(minutes=2)).text == "was here already"
    late = office.deliver("gitguardian", body, headers, now + timedelta(minutes=6))
    assert late.status == 401
    assert office.door.counts["gitguardian", "stale"] == 1

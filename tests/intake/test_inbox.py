"""Reports land once, without their secret, and each credential has one incident."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from bot.errors import InputError
from bot.model import Credential, Exposure, Reached, Triage
from bot.timeline import load
from tests.intake.office import KEY_ID, PAIR, SECRET, TOKEN, Office


def test_a_secret_is_sealed_and_stands_nowhere_else(office: Office) -> None:
    landed = office.land(f"look what I found: {PAIR}")
    (row,) = office.store.inbox("landed")
    assert SECRET not in str(row)
    assert KEY_ID in row["body"]["text"], "an id is no secret"
    assert "[secret hmac:" in row["body"]["text"]
    assert [s.reveal() for s in office.vault.held(landed.id)] == [SECRET]
    assert SECRET.encode() not in office.bytes()


def test_the_token_of_a_session_is_sealed_beside_its_secret_and_stands_nowhere_else(office: Office) -> None:
    session = KEY_ID.replace("AKIA", "ASIA")
    token = "made+up/token" + "x7Q4" * 40
    office.land(f"{PAIR.replace(KEY_ID, session)}AWS_SESSION_TOKEN={token}: found in a log")
    (row,) = office.store.inbox("landed")
    assert token not in str(row)
    (incident,) = office.work()
    assert office.store.incident(incident).credential_key == f"aws-session:{session}"
    assert {s.reveal() for s in office.vault.held(incident)} == {SECRET, token}
    assert token.encode() not in office.bytes()


def test_worked_it_is_an_incident_that_holds_the_secret_and_the_inbox_holds_none(office: Office) -> None:
    landed = office.land(PAIR, exposure=Exposure.PUBLIC)
    (incident,) = office.work()
    row = office.store.incident(incident)
    assert (row.status, row.credential_key) == ("open", f"aws-access-key:{KEY_ID}")
    assert row.body["report"]["exposure"] == "public"
    assert [s.reveal() for s in office.vault.held(incident)] == [SECRET]
    assert office.vault.held(landed.id) == []
    assert office.store.inbox("worked")[0]["note"] == incident
    assert SECRET.encode() not in office.bytes()


def test_the_same_delivery_lands_once_and_is_worked_once(office: Office) -> None:
    first, again = office.land(PAIR, delivery="d-1"), office.land(PAIR, delivery="d-1")
    assert (first.id, first.new, again.new) == (again.id, True, False)
    assert len(office.work()) == 1
    assert office.work() == []


def test_worked_again_after_a_crash_it_opens_the_same_incident(office: Office) -> None:
    office.land(PAIR)
    (row,) = office.store.inbox("landed")
    first = office.inbox.work(row)
    with office.store.begin() as c:  # as if the process had died before it was noted
        office.store.set_inbox(c, row["id"], "landed", "")
    assert office.inbox.work(row) == first
    assert len(office.store.incidents()) == 1


def test_a_second_report_of_an_open_incident_is_a_sighting(office: Office) -> None:
    office.land(PAIR)
    (incident,) = office.work()
    office.land(f"{KEY_ID} is in a paste, too", by="ben")
    assert office.work() == [incident]
    assert len(office.store.incidents()) == 1
    (sighting,) = [e for e in load(office.store, incident) if e.kind == "sighting"]
    assert sighting.body["by"] == "ben"


def test_an_id_alone_opens_an_incident_without_a_value(office: Office) -> None:
    office.land(f"please look at {KEY_ID}")
    (incident,) = office.work()
    assert office.store.incident(incident).body["report"]["credential"]["fingerprint"] == ""
    assert office.vault.held(incident) == []


@pytest.mark.parametrize("text", ["", "hello", "https://github.com/harbor-lights/ferry", "the key is gone"])
def test_what_holds_nothing_to_work_on_is_refused_with_what_would_do(office: Office, text: str) -> None:
    with pytest.raises(InputError, match="actions/runs/ID"):
        office.land(text)
    assert office.store.inbox() == []


def test_a_kind_that_no_playbook_knows_is_kept_and_said(office: Office) -> None:
    office.land("xox" + "b-" + "123456789012-" * 2 + "MadeUpMadeUpMadeUpMade01")
    assert office.work() == []
    (row,) = office.store.inbox("dead")
    assert "playbook" in row["note"]


# beside one another

ITS_KEY = Credential(provider="aws", kind="aws-access-key", id=KEY_ID)


def found(*credentials: Credential) -> Triage:
    reach = tuple(Reached(kind=c.kind, name="X", scope="repository", how="read", credential=c) for c in credentials)
    unknown = Reached(kind="secret", name="OTHER", scope="repository", how="read")
    return Triage(credential=Credential(provider="npm", kind="npm-token"), reach=(*reach, unknown))


def test_a_known_credential_that_has_a_playbook_gets_one_and_only_one(office: Office) -> None:
    office.land(TOKEN)
    (first,) = office.work()
    row = office.store.incident(first)
    opened = office.inbox.beside(row, found(ITS_KEY, ITS_KEY))
    assert list(opened) == [ITS_KEY.key]
    assert office.inbox.beside(row, found(ITS_KEY)) == opened, "again, after a crash: the same"
    child = office.store.incident(opened[ITS_KEY.key])
    assert (child.credential_key, child.opened_at, child.status) == (ITS_KEY.key, row.opened_at, "open")
    assert child.body["report"]["beside"] == first
    assert child.body["playbook"]["id"] == "aws-access-key"
    assert len(office.store.incidents()) == 2
    assert office.inbox.beside(child, found(ITS_KEY, replace(ITS_KEY, id="AK" + "IA" + "MADEUPKEY8EXAMPL"))) == {}


def test_its_own_credential_and_kinds_without_a_playbook_get_none(office: Office) -> None:
    office.land(PAIR)
    (first,) = office.work()
    slack = Credential(provider="slack", kind="slack-token", id="T1")
    assert office.inbox.beside(office.store.incident(first), found(ITS_KEY, slack)) == {}


def test_one_that_was_reported_by_itself_is_waited_for(office: Office) -> None:
    office.land(PAIR)
    (standing,) = office.work()
    office.land(TOKEN)
    (first,) = office.work()
    assert office.inbox.beside(office.store.incident(first), found(ITS_KEY)) == {ITS_KEY.key: standing}


def test_many_who_open_one_credential_at_once_open_one_incident(office: Office) -> None:
    """A report of its own and what another incident reaches may come at the same moment, from two threads."""
    office.land(TOKEN)
    (first,) = office.work()
    token = office.store.incident(first)
    start = threading.Barrier(4)

    def reported(k: int) -> str:
        landed = office.land(PAIR, by=f"person {k}")
        (row,) = office.store.inbox(inbox_id=landed.id)
        start.wait()
        return office.inbox.work(row)[0]

    def reached() -> str:
        start.wait()
        return office.inbox.beside(token, found(ITS_KEY))[ITS_KEY.key]

    with ThreadPoolExecutor(4) as pool:
        opened = {f.result() for f in [*(pool.submit(reported, k) for k in range(3)), pool.submit(reached)]}
    assert len(opened) == 1
    assert [i.id for i in office.store.incidents(credential_key=ITS_KEY.key)] == list(opened)


def test_a_campaigns_name_is_a_report_wherever_it_is_typed(office: Office) -> None:
    name = f"action:tj-actions/changed-files@{'a' * 40};2026-03-14T16:00Z..2026-03-15T00:00Z;harbor-lights"
    office.land(f"who used {name}?")
    (incident,) = office.work()
    assert office.store.incident(incident).credential_key == f"campaign:{name}"
    with pytest.raises(InputError, match="before --to"):
        office.land(name.replace("2026-03-15", "2026-03-13"))

"""The same credential once, whoever finds it; and who gains nothing by being quick."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from bot.app import SHIPPED
from bot.engine.policy import Authority, Policy
from bot.model import Trust
from bot.store_intake import again
from tests.conftest import FERRY, Ferry
from tests.intake.office import AT, KEY_ID, PAT, SECRET, TOKEN, Office, alert, proof

LEAK = ".github/workflows/leak.yml"


def gitleaks(value: str, file: str = ".env", line: int = 3, match: str = "") -> list[dict[str, Any]]:
    return [{"RuleID": "npm-access-token", "File": file, "StartLine": line, "Secret": value, "Match": match or value,
             "Commit": "c" * 40, "Fingerprint": f"{file}:npm-access-token:{line}"}]  # fmt: skip


def trufflehog(value: str, file: str = "logs/1") -> bytes:
    row = {"DetectorName": "NpmToken", "Raw": value, "Verified": True,
           "SourceMetadata": {"Data": {"Git": {"file": file, "line": 2}}}}  # fmt: skip
    return json.dumps(row).encode()


def baseline(value: str) -> dict[str, Any]:
    digest = hashlib.sha1(value.encode(), usedforsecurity=False).hexdigest()
    found = {"type": "NPM tokens", "filename": ".npmrc", "hashed_secret": digest, "line_number": 1}
    return {"version": "1.5.0", "plugins_used": [], "results": {".npmrc": [found]}}


def test_many_scanners_that_find_one_token_give_one_incident_with_as_many_sightings(office: Office) -> None:
    for source, body in [
        ("gitleaks", gitleaks(TOKEN)), ("trufflehog", trufflehog(TOKEN)), ("detect-secrets", baseline(TOKEN)),
        ("gitleaks", gitleaks(TOKEN, "other.env", 9)), ("trufflehog", trufflehog(TOKEN, "logs/2")),
    ]:  # fmt: skip
        assert office.deliver(source, body).text == "landed"
    assert len(set(office.work())) == 1
    (incident,) = office.store.incidents()
    seen = office.events(incident.id, "sighting")
    assert len(seen) == 4, "the first one is the report itself"
    assert {e.body["source"] for e in seen} == {"gitleaks", "trufflehog", "detect-secrets"}
    assert TOKEN.encode() not in office.bytes()
    assert [s.reveal() for s in office.vault.held(incident.id)] == [TOKEN]


def test_whoever_comes_first_without_the_value_is_joined_by_who_brings_it(office: Office) -> None:
    office.deliver("detect-secrets", baseline(TOKEN))
    (incident,) = office.work()
    assert office.vault.held(incident) == []
    office.deliver("gitleaks", gitleaks(TOKEN))
    assert office.work() == [incident]
    assert [s.reveal() for s in office.vault.held(incident)] == [TOKEN], "sealed for the incident that had none"


def test_the_halves_of_a_pair_in_two_findings_of_a_file_are_one_credential(office: Office) -> None:
    found = [
        {"RuleID": "aws-access-token", "File": ".env", "StartLine": 1, "Secret": KEY_ID, "Match": KEY_ID,
         "Fingerprint": ".env:aws:1", "Commit": ""},
        {"RuleID": "generic-api-key", "File": ".env", "StartLine": 2, "Secret": SECRET,
         "Match": f"AWS_SECRET_ACCESS_KEY={SECRET}", "Fingerprint": ".env:generic:2", "Commit": ""},
    ]  # fmt: skip
    office.deliver("gitleaks", found)
    assert len(set(office.work())) == 1
    (incident,) = office.store.incidents()
    assert incident.credential_key == f"aws-access-key:{KEY_ID}"
    assert [s.reveal() for s in office.vault.held(incident.id)] == [SECRET]


def test_the_same_place_again_is_the_same_sighting(office: Office) -> None:
    office.deliver("gitleaks", gitleaks(TOKEN))
    (incident,) = office.work()
    office.deliver("gitleaks", [*gitleaks(TOKEN), *gitleaks(TOKEN, "b", 1)])
    office.deliver("gitleaks", [*gitleaks(TOKEN, "b", 1), *gitleaks(TOKEN)])
    office.work()
    assert [e.body["where"] for e in office.events(incident, "sighting")] == ["b, line 1"]


def test_seen_again_after_closing_it_is_looked_at_anew_but_not_for_what_was_known(office: Office) -> None:
    office.deliver("gitleaks", gitleaks(TOKEN))
    (first,) = office.work()
    office.close(first)
    office.deliver("gitleaks", [*gitleaks(TOKEN), {"RuleID": "x", "File": "x", "Fingerprint": "x", "Secret": ""}])
    assert office.work() == [first], "the scanner has only said again what it had said"
    assert len(office.store.incidents()) == 1
    office.deliver("gitleaks", gitleaks(TOKEN, "again.env", 1))
    (second,) = office.work()
    assert second != first
    assert office.store.incident(second).body["report"]["again"] == first
    (told,) = office.events(first, "seen-again")
    assert told.body["incident"] == second
    assert [s.reveal() for s in office.vault.held(second)] == [TOKEN]


def test_an_alert_and_its_locations_are_one_in_either_order(office: Office) -> None:
    place = {"type": "commit", "details": {"path": "a/.npmrc", "start_line": 4, "start_column": 1, "blob_sha": "b" * 40,
                                           "commit_sha": "c" * 40}}  # fmt: skip
    for number, order in enumerate((0, 1), start=70):
        whole = alert(number)
        pair = [("secret_scanning_alert", whole), ("secret_scanning_alert_location", {**whole, "location": place})]
        for event, body in pair if order else reversed(pair):
            raw = json.dumps(body).encode()
            assert office.deliver("github", raw, proof("github", raw, AT, event)).text == "landed"
            (incident,) = office.work()
        events = office.events(incident, "sighting")
        assert len(events) == 1
        wheres = {events[0].body["where"], office.store.incident(incident).body["report"]["text"].splitlines()[1]}
        assert wheres == {"a/.npmrc, line 4 of harbor-lights/ferry",
                          f"secret-scanning alert {number} of harbor-lights/ferry"}  # fmt: skip
    assert len(office.store.incidents()) == 2


# who may start what ---------------------------------------------------------------------------------------------------


def test_what_nobody_signed_opens_and_asks_and_says_by_which_rule(office: Office) -> None:
    office.deliver("gitleaks", gitleaks(PAT, match=PAT))
    (unsigned,) = office.work()
    report = office.store.incident(unsigned).body["report"]
    assert (report["trust"], report["asks"], report["authority"]) == ("unsigned", True, "nobody-signed")
    office.deliver("github", alert())
    (signed,) = office.work()
    report = office.store.incident(signed).body["report"]
    assert (report["trust"], report["asks"], report["authority"]) == ("signed", False, "signed")


def test_whoever_is_quick_with_an_unsigned_report_keeps_no_signed_one_from_acting(office: Office) -> None:
    """Otherwise a thief who knows a webhook could have the cut of what they stole asked about for hours."""
    office.deliver("gitleaks", gitleaks(TOKEN))
    (first,) = office.work()
    office.land(TOKEN)
    (second,) = office.work()
    assert second != first
    assert office.store.incident(second).body["report"]["trust"] == "operator"
    (merged,) = office.events(first, "merged")
    assert (merged.body["into"], merged.body["by"]) == (second, "bulkhead")
    (moved,) = office.events(second, "sighting")
    assert (moved.body["source"], moved.body["from"]) == ("gitleaks", first)
    (order,) = office.store.decisions(first, kind="merge")
    assert order.body["into"] == second
    office.deliver("trufflehog", trufflehog(TOKEN))
    assert office.work() == [second], "the next unsigned one is a sighting"


def test_taken_up_again_after_a_crash_the_one_that_gives_way_still_does(office: Office) -> None:
    office.deliver("gitleaks", gitleaks(TOKEN))
    (first,) = office.work()
    office.land(TOKEN)
    (row,) = office.store.inbox("landed")

    def dies(name: str) -> None:
        if name == "after inbox/incident/1":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        replace(office.inbox, boundary=dies).work(row)
    assert len(office.store.incidents()) == 2, "it was opened"
    assert office.events(first, "merged") == [], "and nothing more was done"
    (second,) = office.inbox.work(row)
    assert [e.body["into"] for e in office.events(first, "merged")] == [second]
    assert len(office.store.incidents()) == 2


@pytest.mark.parametrize("there", ["act", "ask"])
def test_the_run_that_an_unsigned_alert_has_shown_goes_with_it_where_that_may_be_acted_in(
    office: Office, ferry: Ferry, there: str
) -> None:
    """Otherwise the log and the workflow that leaked would be in nobody's plan."""
    job = f"{{runs-on: ubuntu-latest, steps: [{{run: echo {TOKEN}}}]}}"
    ferry.commit({LEAK: f"on: workflow_dispatch\njobs:\n  leaks: {job}\n"})
    run, (owner, _, name) = ferry.run(LEAK), FERRY.partition("/")
    office.github.append(ferry.client("bulkhead-bot"))
    row = {"type": "Secret-In-Build-Log", "id": "Secret-In-Build-Log", "owner": owner, "repo": name, "run_id": str(run)}
    office.deliver("stepsecurity", [row])
    (first,) = office.work()
    url = office.store.incident(first).body["report"]["url"]
    assert url.endswith(f"/{FERRY}/actions/runs/{run}")

    def authority(axes: Mapping[str, str]) -> Authority:
        return Authority(rule="r", starts=there if axes["repository"] == FERRY else "act", reason="why")

    office.land(TOKEN)
    (landed,) = office.store.inbox("landed")
    (second,) = replace(office.inbox, authority=authority).work(landed)
    body = office.store.incident(second).body
    assert (body["report"]["instead"], body["report"]["asks"]) == (first, False)
    assert (body["report"]["url"], body["repository"]) == ((url, FERRY) if there == "act" else ("", ""))


def test_a_person_merges_two_incidents_of_one_credential(office: Office) -> None:
    office.deliver("github", alert())
    (nameless,) = office.work()
    office.land(TOKEN)
    (named,) = office.work()
    one, into = office.store.incident(nameless), office.store.incident(named)
    office.inbox.merge(one, into, by="jonas", reason="it is the same token", at=AT)
    office.inbox.merge(one, into, by="jonas", reason="it is the same token", at=AT)
    (sighting,) = office.events(named, "sighting")
    assert sighting.body["from"] == nameless
    assert office.store.decisions(nameless) == [], "the order is the desk's"
    office.deliver("github", alert(validity="inactive"))
    assert office.work() == [named], "its name leads to the other one now"


def test_what_policy_holds_waits_in_the_inbox_until_a_person_lets_it_in(office: Office) -> None:
    def house(case: Mapping[str, str]) -> Authority:
        starts = "act" if case["source"] == "operator" else "hold"
        return Authority(starts=starts, rule="house-rule", reason="Not by itself.")

    held = replace(office.inbox, authority=house)
    office.deliver("gitleaks", gitleaks(TOKEN))
    (row,) = office.store.inbox("landed")
    assert held.work(row) == []
    (row,) = office.store.inbox("held")
    assert row["note"] == "house-rule: Not by itself."
    assert [s.reveal() for s in office.vault.held(row["id"])] == [TOKEN], "it waits for a person, and its value with it"
    assert again(office.store, row["id"], row["body"] | {"trust": Trust.OPERATOR.value, "by": "jonas"})
    (row,) = office.store.inbox("landed")
    (incident,) = held.work(row)
    assert [s.reveal() for s in office.vault.held(incident)] == [TOKEN]
    assert office.vault.held(row["id"]) == []


# the end of a scanner's alert -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("resolution", "signal"), [("revoked", False), ("wont_fix", True), ("false_positive", True)])
def test_an_alert_that_is_resolved_without_revocation_is_a_signal(
    office: Office, resolution: str, signal: bool
) -> None:
    office.deliver("github", alert())
    (incident,) = office.work()
    office.deliver("github", alert(action="resolved", resolution=resolution))
    assert office.work() == [incident]
    (told,) = office.events(incident, "scanner-closed")
    assert (told.body["signal"], told.body["resolution"], told.body["by"]) == (signal, resolution, "mara")
    assert office.store.incident(incident).status == "open", "a scanner's word closes nothing"


def test_the_end_of_an_alert_that_is_not_known_is_kept_and_said(office: Office) -> None:
    office.deliver("github", alert(action="resolved", resolution="revoked"))
    assert office.work() == []
    assert "no incident" in office.store.inbox("dead")[0]["note"]


def test_a_batch_is_worked_as_one_by_one(office: Office) -> None:
    for k in range(3):
        office.deliver("gitleaks", gitleaks(TOKEN, f"f{k}", k + 1))
    office.deliver("gitleaks", gitleaks(PAT, match=PAT))
    office.deliver("github", alert(secret_type="something_of_ours"))
    worked = office.inbox.work_all(office.store.inbox("landed"))
    assert len(worked.opened) == 2
    assert worked.later == {}
    assert {row["state"] for row in office.store.inbox()} == {"worked", "dead"}
    assert sum(len(office.events(one.id, "sighting")) for one in office.store.incidents()) == 2
    assert office.inbox.work_all([]).opened == []


def test_the_rules_of_authority_are_read_and_shown(office: Office) -> None:
    text = (SHIPPED / "policy.yaml").read_text()
    policy = Policy.load(text.replace("ours: []  ", "ours: [Harbor-Lights/*]  "))
    case = {"source": "signed", "by": "github", "exposure": "public", "kind": "npm-token"}
    assert policy.authority({**case, "repository": "harbor-lights/ferry"}).rule == "signed"
    elsewhere = policy.authority({**case, "repository": "quiet-otter/ferry"})
    assert (elsewhere.starts, elsewhere.rule) == ("ask", "signed-of-elsewhere")
    assert policy.authority(case).rule == "signed", "a report that names no repository"
    assert policy.authority({**case, "source": "unsigned"}).starts == "ask"
    assert policy.authority({**case, "source": "whatever"}).starts == "ask"

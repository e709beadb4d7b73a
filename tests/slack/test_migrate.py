"""The word ``migrate``: who may, what the form says and asks, and that what is sent is one order, however often."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest

from bot.actions.github_oidc import FileChange, MigrationBefore, Moved
from bot.clients import AwsClients, GitHubClient, RealClock
from bot.range.company import DEPLOY, FERRY, LEDGER
from bot.range.server import Range
from bot.sites import Site
from bot.slack import migrate
from tests.incidents import ASKING
from tests.slack.strict import check_view
from tests.slack.test_decisions import last, modal, submit
from tests.slack.test_orders import error
from tests.slack.workspace import INCIDENT, NOBODY, PLAN, Workspace, asked, moved_in
from tests.slack_range import Slack

ROLE = "arn:aws:iam::123456789012:role/ferry"
FOUND = MigrationBefore(
    branch="main", files=(FileChange(path="w.yml", old="1", new="2"),), jobs=("w.yml: deploy",),
    moves=(Moved(provider="aws", title="AWS", secrets=("AWS_ACCESS_KEY_ID",)),), asks=("vars.AWS_REGION: the region",),
    kept=("npm (NPM_TOKEN): tool-cannot: <!channel> & more",), summary="1 of 2 <@U0EVIL> can move",
)  # fmt: skip


@pytest.fixture
def near(work: Workspace, company: Range) -> Workspace:
    """A house that can read the company's repositories."""
    cast = company.reset()
    github = GitHubClient(token=cast["github"]["bulkhead-bot"], base_url=company.github_url)
    site = Site(name="real", aws=AwsClients(endpoint=NOBODY), github=github, clock=RealClock(), identities=())
    work.house.sites["real"], work.house.worlds["real"] = site, work.house._worlds(site)
    return work


def rows(work: Workspace) -> list[dict[str, object]]:
    return work.house.store.inbox()


def test_the_form_says_what_moves_and_asks_what_no_file_tells_and_is_one_order(near: Workspace) -> None:
    assert near.command("alice", f"migrate {FERRY}")["ok"]
    shown = modal(near, "alice")
    assert shown is not None
    text = str(shown["blocks"])
    assert "can move to OIDC" in text
    assert f"{DEPLOY}: deploy" in text
    assert "role" in text
    assert rows(near) == [], "nothing is ordered by looking"
    submit(near, "alice", role="admin")
    assert "arn:aws:iam::ACCOUNT:role/NAME" in error(near, "alice")
    assert submit(near, "alice", role=ROLE)["ok"]
    (row,) = rows(near)
    body = row["body"]
    assert isinstance(body, dict)
    assert (row["source"], body["by"]) == ("slack", "slack:" + near.slack.user("alice"))
    assert [one["id"] for one in body["credentials"]] == [f"{FERRY};role={ROLE}"]
    assert "has landed" in last(near, "alice")


def test_what_was_said_with_the_command_is_filled_in(near: Workspace) -> None:
    near.command("alice", f"migrate https://github.com/{FERRY} role={ROLE} environment=production session=1800")
    shown = modal(near, "alice")
    assert shown is not None
    assert ROLE in str(shown["blocks"])
    assert submit(near, "alice")["ok"]
    (row,) = rows(near)
    assert f"role={ROLE};environment=production;session=1800" in str(row["body"])


def test_where_nothing_can_move_there_is_nothing_to_send(near: Workspace) -> None:
    near.command("alice", f"migrate {LEDGER}")
    shown = modal(near, "alice")
    assert shown is not None
    assert "0 static credentials" in str(shown["blocks"])
    assert shown["submit"] is None


def test_who_may_not_gets_no_form_and_who_could_is_refused_when_it_is_sent(near: Workspace) -> None:
    near.command("jonas", f"migrate {FERRY}")
    assert "not one of the responders" in last(near, "jonas")
    assert modal(near, "jonas") is None
    near.command("carol", f"migrate {FERRY}")
    state, group = near.slack.range.state, near.slack.cast["groups"]["responders"]
    near.room.groups._known.clear()
    with state.lock:
        state.groups[group].users.remove(near.slack.user("carol"))
    submit(near, "carol")
    assert "not one of the responders" in error(near, "carol")
    assert rows(near) == []


def test_a_name_that_is_none_and_an_unknown_word_are_answered(near: Workspace) -> None:
    for text in ("migrate", "migrate ferry", f"migrate {FERRY} colour=red", f"migrate {FERRY} role=admin"):
        near.command("alice", text)
        assert "say `migrate OWNER/NAME`" in last(near, "alice")
        assert modal(near, "alice") is None


def test_while_github_is_away_the_order_can_be_given_all_the_same(work: Workspace) -> None:
    work.command("alice", f"migrate {FERRY}")
    shown = modal(work, "alice")
    assert shown is not None
    assert "What would change is not known here" in str(shown["blocks"])
    assert submit(work, "alice")["ok"]
    assert len(rows(work)) == 1


def test_an_installation_that_only_observes_says_so(slack: Slack, tmp_path: Path) -> None:
    with moved_in(slack, tmp_path, mode="observe") as work:
        work.command("alice", f"migrate {FERRY}")
        assert "only observes" in last(work, "alice")
        assert modal(work, "alice") is None


def test_one_delivery_is_one_order_and_what_slack_has_not_signed_or_long_ago_is_none(work: Workspace) -> None:
    work.command("alice", f"migrate {FERRY}")
    shown = modal(work, "alice")
    assert shown is not None
    state = work.slack.range.state
    person = state.people[work.slack.user("alice")]
    payload = {
        "type": "view_submission", "team": {"id": state.team, "domain": "x"}, "api_app_id": state.app.id,
        "user": {"id": person.id, "name": person.name, "team_id": person.team_id}, "token": state.app.verification,
        "trigger_id": state.new_trigger(person.id),
        "view": {"id": "V1", "type": "modal", "callback_id": migrate.FORM, "hash": "1", "state": {"values": {}},
                 "private_metadata": migrate.carried(r=FERRY)},
    }  # fmt: skip
    for changed in ({"secret": "0" * 32}, {"at": time.time() - 600}):
        assert work.send(payload, **changed).status_code in (401, 403)  # type: ignore[arg-type]
    assert rows(work) == []
    signed = work.signed(payload)
    assert work.post(*signed).status_code == 200
    work.post(*signed)  # a replay
    work.idle()
    work.post(*work.signed(payload, at=time.time() - 1))  # delivered twice
    work.idle()
    assert len(rows(work)) == 1
    told = [text for text in work.whispers("alice") if "has landed" in text]
    assert len(told) == 1


def test_a_last_step_is_decided_by_a_click_after_the_incident_is_over(work: Workspace) -> None:
    step = "migrate/delete-AWS_ACCESS_KEY_ID"
    over = ("incident", "closed", {"ledger": [], "failed": []})
    work.incident(*ASKING[-1:], over, (step, "asked", asked()))
    for user, value in (("jonas", {"s": step}), ("alice", {"s": "deactivate"})):
        work.click(user, "approve", {"i": INCIDENT, "p": PLAN} | value)
    assert work.house.store.decisions() == [], "not one of those who may; and what was asked before the end is over"
    work.click("alice", "approve", {"i": INCIDENT, "s": step, "p": PLAN})
    (row,) = work.house.store.decisions()
    assert (row.kind, row.step) == ("approve", step)


@pytest.mark.parametrize("found", [FOUND, replace(FOUND, needed=False), replace(FOUND, kept=FOUND.kept * 60), None])
def test_every_form_is_one_that_slack_takes(found: MigrationBefore | None) -> None:
    known = {"role": ROLE, "region": "eu-central-1", "environment": "production"}
    view = migrate.form("C0INCIDENTS", FERRY, known, "", found, ready=found is None)
    check_view(view)
    assert ("submit" in view) == (found is None or found.needed)

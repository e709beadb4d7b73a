"""A migration that was ordered: an incident of its own kind, through the engine, until its pull request is proven."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from bot import heartbeat
from bot.actions import CATALOGUE
from bot.actions.aws_iam import key_of
from bot.actions.aws_identity import ProviderIn, RoleIn
from bot.app import Bulkhead, opened
from bot.cli.following import Followed, follow
from bot.clients import AwsClients, GitHubClient
from bot.engine.afterwards import OFFER
from bot.engine.decisions import HOUSE, open_asks
from bot.engine.ledger import Ledger
from bot.errors import DecisionRefused, InputError
from bot.intake.rounds import rounds
from bot.model import Credential, Grade, MigrationOrder, RowState, SecretStore
from bot.moved import REMINDS, Watch
from bot.range.company import DEPLOY_USER, FERRY, SMOKE_TEST_S
from bot.range.npm_theft import dispatch
from bot.range.server import Range
from bot.settings import Settings
from bot.sites import Site
from bot.store import iso
from bot.story import Story
from bot.timeline import Event, load, verify
from bot.triage.migration import credential_of, order_of, ordered

PAIR = "AWS_ACCESS_KEY_ID"
ORDER = ordered(FERRY, secret=PAIR)
ROLE_OF_FERRY = RoleIn(repository=FERRY, key="")
SECONDS = 60.0


class House:
    """An installation in the range's company, and the people who decide in it."""

    def __init__(self, range_: Range, bulkhead: Bulkhead) -> None:
        self.range, self.bulkhead = range_, bulkhead
        self.answers: dict[str, str] = {}  # step -> approve, deny; everything else is approved
        self.asked: list[str] = []

    def order(self, order: MigrationOrder = ORDER, delivery: str = "") -> str:
        at = self.range.clock.now()
        landed = self.bulkhead.inbox.migration(order, by="ann", at=at, world="range", source="drill", delivery=delivery)
        return landed.id

    def events(self, incident: str = "") -> list[Event]:
        return load(self.bulkhead.store, incident or self.incidents()[-1])

    def incidents(self) -> list[str]:
        return [row.id for row in self.bulkhead.store.incidents()]

    def pulls(self) -> list[dict[str, Any]]:
        return list(self.world.github.pages(f"/repos/{FERRY}/pulls", state="all"))

    @property
    def world(self) -> Any:
        return self.bulkhead.worlds["range"]("test")

    def decide(self) -> None:
        """People answer what stands open, each as the test has said, ann first."""
        for incident in self.incidents():
            for ask in open_asks(events := self.events(incident)):
                word = self.answers.get(ask.step, "approve")
                if word == "wait":
                    continue
                kind = "answer" if ask.purpose == "answer" else word
                body = {"text": word} if kind == "answer" else {}
                for by in ("bob", "cleo")[: ask.needs]:
                    new = self.bulkhead.desk.submit(
                        events=events, incident=incident, step=ask.step, kind=kind, by=by, body=body,
                        at=self.range.clock.now(),
                    )  # fmt: skip
                    self.asked += [ask.step] if new and by == "bob" else []

    async def work(self, done: Callable[[], bool]) -> None:
        """A worker, and people who answer, until it is so."""
        engine = self.bulkhead.engine()
        await engine.start()
        task = asyncio.create_task(rounds(self.bulkhead.inbox, engine))
        try:
            for _ in range(int(SECONDS / 0.1)):
                if done():
                    return
                await asyncio.to_thread(self.decide)
                await asyncio.sleep(0.1)
            raise AssertionError([(e.step, e.kind, e.body) for e in self.events()][-3:])
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await engine.stop()

    def run(self, done: Callable[[], bool]) -> None:
        asyncio.run(self.work(done))

    def clock(self) -> list[str]:
        """The clock asks what became of it; returns what has been said of the end."""
        Watch(self.bulkhead.store, self.bulkhead.timeline, self.bulkhead.worlds).turn()
        return [said for said in self.told() if "has moved to OIDC" in said]

    def told(self) -> list[str]:
        return [e.body["said"] for e in self.events() if e.kind == "migration" and e.body]

    def proven(self, step: str) -> bool:
        """Whether the step has ended with its proof, and the incident with it where it is the plan's last one."""
        events = self.events() if self.incidents() else []
        return any(e.step == step and e.kind == ("closed" if step == "incident" else "proof") for e in events)

    def over(self) -> bool:
        """Every order has become an incident, and each of them is closed."""
        rows = self.bulkhead.store.incidents()
        return bool(rows) and all(row.status == "closed" for row in rows) and not self.bulkhead.store.inbox("landed")


def site_of(range_: Range) -> Site:
    cast = range_.company.cast
    own = cast["aws"]["bulkhead-responder"]
    return Site(
        name="range", clock=range_.clock, identities=(f"aws-access-key:{own['key_id']}", "github-token:bulkhead-bot"),
        aws=AwsClients(key_id=own["key_id"], secret=own["secret"], endpoint=range_.aws_url),
        github=GitHubClient(token=cast["github"]["bulkhead-bot"], base_url=range_.github_url),
    )  # fmt: skip


@contextmanager
def moved_in(range_: Range, home: Path, **more: Any) -> Iterator[House]:
    settings = Settings(home=home, responders="bob,cleo", mode="ask")
    with opened(settings, sites={"range": site_of(range_)}, **more) as bulkhead:
        yield House(range_, bulkhead)


@pytest.fixture(scope="module")
def company() -> Iterator[Range]:
    range_ = Range()
    range_.info = range_.start()  # type: ignore[attr-defined]
    yield range_
    range_.stop()


@pytest.fixture
def house(company: Range, tmp_path: Path) -> Iterator[House]:
    company.reset()
    with moved_in(company, tmp_path) as made:
        yield made


def test_the_trust_is_made_the_pull_request_opened_and_the_incident_ends_on_its_proof(house: House) -> None:
    house.bulkhead.postmortems.begin_all()  # from now on every incident that is closed gets one
    house.order()
    house.run(house.over)
    (incident,) = house.incidents()
    events = house.events()
    assert house.asked == ["provider", "role", "migrate"], "each change asks one person, the trust first"
    (pull,) = house.pulls()
    assert pull["state"] == "open"
    ledger = Ledger.fold(events)
    ((key, row),) = ledger.rows.items()
    assert key == credential_of(ORDER).key
    assert (row.state, row.grade, row.step) == (RowState.CLOSED, Grade.STATE, "migrate")
    assert pull["html_url"] in row.detail
    kinds = [(event.step, event.kind) for event in events]
    assert kinds.index(("role", "proof")) < kinds.index(("migrate", "look")) < kinds.index(("migrate", "proof"))
    assert kinds.index(("migrate", "proof")) < kinds.index(("incident", "closed"))
    stored = house.bulkhead.store.incident(incident)
    assert verify(house.bulkhead.store.events(incident), stored.head_n, stored.head_hash) == []
    told = [line.text for event in events for line in Story().event(event)]
    assert any(f"{FERRY} is to move to OIDC; Bulkhead makes the trust. Nothing has leaked." in text for text in told)
    assert house.bulkhead.postmortems.begin_all() == []
    assert house.bulkhead.measures.all() == [], "it was no leak"
    house.order(delivery="another")
    house.run(lambda: len(house.incidents()) == 2 and house.over())
    assert len(house.asked) == 3, "there was nothing left to ask"
    assert [one["number"] for one in house.pulls()] == [pull["number"]]


def test_ordered_twice_it_is_one_incident_and_whoever_may_not_decides_nothing(house: House) -> None:
    house.answers["migrate-as-told"] = "wait"
    order = ordered(FERRY, secret=PAIR, role="arn:aws:iam::123456789012:role/ferry")
    house.order(order)
    house.run(lambda: bool(house.incidents()) and bool(open_asks(house.events())))
    house.order(order, delivery="another")
    house.run(lambda: not house.bulkhead.store.inbox("landed"))
    (incident,) = house.incidents()
    assert house.bulkhead.inbox.ordered(order, "range") == incident
    for stranger in ("ann", "eve"):  # who ordered is no responder here
        with pytest.raises(DecisionRefused, match="not one of the responders"):
            house.bulkhead.desk.submit(
                events=house.events(), incident=incident, step="migrate-as-told", kind="approve", by=stranger,
                at=house.range.clock.now(),
            )  # fmt: skip
    assert house.pulls() == []
    house.answers.clear()
    house.run(house.over)
    assert len(house.pulls()) == 1
    steps = {event.step for event in house.events() if event.kind == "skipped"}
    assert steps == {"provider", "role", "migrate"}, "a role was named: nothing is made in AWS"


def test_ordered_again_with_another_role_it_opens_no_second_pull_request(house: House) -> None:
    order, other = (ordered(FERRY, secret=PAIR, role=f"arn:aws:iam::123456789012:role/{n}") for n in ("one", "two"))
    house.answers["migrate-as-told"] = "wait"
    house.order(order)
    house.run(lambda: bool(house.incidents()) and bool(open_asks(house.events())))
    (incident,) = house.incidents()
    inbox = house.bulkhead.inbox
    assert inbox.ordered_otherwise(other, "range") == incident
    assert inbox.ordered_otherwise(ordered(FERRY), "range") == incident, "all of them, so this one too"
    assert inbox.ordered_otherwise(order, "range") == inbox.ordered_otherwise(ordered("acme/x"), "range") == ""
    assert inbox.ordered_otherwise(ordered(FERRY, secret="NPM_TOKEN"), "range") == "", "that is another credential"
    house.answers.clear()
    house.run(house.over)
    house.order(other, delivery="another")  # by a door that has not looked
    house.run(lambda: len(house.incidents()) == 2 and any(e.kind == "failed" for e in house.events()))
    (pull,) = house.pulls()
    assert pull["state"] == "open"
    (failed,) = [event for event in house.events() if event.kind == "failed"]
    assert f"{pull['html_url']} is open already and moves the same with other answers" in str(failed.body)


def test_an_order_is_followed_to_its_end_and_not_without_a_worker(
    house: House, capsys: pytest.CaptureFixture[str]
) -> None:
    landed = house.range.clock.now()
    house.order()
    one = Followed(ORDER, landed, world="range")
    assert not follow(house.bulkhead, [one], 0.01)
    assert "The worker is never seen" in capsys.readouterr().out
    heartbeat.beat(house.bulkhead.store, "worker", datetime.now(UTC))
    with ThreadPoolExecutor(1) as pool:
        looking = pool.submit(follow, house.bulkhead, [one], 0.05)
        house.run(house.over)
        assert looking.result(20)
    said = " ".join(capsys.readouterr().out.split())
    (pull,) = house.pulls()
    for words in (f"incident approve {one.incident} provider", f"incident approve {one.incident} migrate",
                  pull["html_url"], f"{FERRY}: {one.incident} is closed"):  # fmt: skip
        assert words in said, said


def test_who_says_no_has_opened_nothing_and_nothing_is_closed_by_it(house: House) -> None:
    house.answers["migrate"] = "deny"
    house.order()
    house.run(lambda: bool(house.incidents()) and any(e.kind == "failed" for e in house.events()))
    assert house.pulls() == []
    (row,) = house.bulkhead.store.incidents()
    assert row.status == "open"
    (state,) = [one.state for one in Ledger.fold(house.events()).rows.values()]
    assert state == RowState.FAILED


def test_an_undo_closes_the_pull_request_and_is_told_as_declined(house: House) -> None:
    house.order()

    def taken_back() -> bool:  # by the worker that has done it: the order may be given again and again
        if house.over():
            house.bulkhead.desk.order(
                incident=house.incidents()[0], step="migrate", kind="undo", by="bob", at=house.range.clock.now(),
                reason="too early",
            )  # fmt: skip
        return bool(house.incidents()) and any(e.kind == "closed" and e.attempt == 2 for e in house.events())

    house.run(taken_back)
    assert house.asked[-1] == "migrate/undo"
    (pull,) = house.pulls()
    assert pull["state"] == "closed"
    house.clock()
    assert "closed without being merged" in house.told()[-1]
    house.order(delivery="another")
    house.run(lambda: len(house.incidents()) == 2 and any(e.kind == "failed" for e in house.events()))
    (again,) = house.pulls()
    assert again["number"] == pull["number"], "what was declined is not opened again"
    heads = [row["ref"] for row in house.world.github.pages(f"/repos/{FERRY}/git/matching-refs/heads/bulkhead")]
    assert heads == [], "and gets no branch again"


# the last steps -------------------------------------------------------------------------------------------------------


def used(house: House, order: MigrationOrder = ORDER) -> None:
    """The pull request is opened, merged, and a job has got in by its identity."""
    house.order(order)
    house.run(house.over)
    (pull,) = house.pulls()
    house.world.github.send("PUT", f"/repos/{FERRY}/pulls/{pull['number']}/merge", {})
    house.range.clock.advance(2)
    dispatch(house.range, "deploy.yml")
    house.range.clock.advance(2 * SMOKE_TEST_S)
    house.asked.clear()


def test_the_last_steps_are_asked_done_and_proven_and_moved_is_said_when_the_key_is_dead(house: House) -> None:
    used(house)
    key = house.range.company.deploy_key[0]
    assert house.clock() == [], "what is left is said, and not that it has moved"
    for _ in range(2):  # a second clock, and one that begins anew
        house.clock()
    (offer,) = house.bulkhead.store.decisions(kind=OFFER)
    assert offer.by == HOUSE
    secrets = [f"migrate/delete-{name}" for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")]
    # a worker that stops when the first of them is done, and the next one goes on
    house.run(lambda: any((e.step, e.kind) == (secrets[0], "proof") for e in house.events()))
    with pytest.raises(DecisionRefused):
        house.bulkhead.desk.submit(
            events=house.events(), incident=offer.incident, step=secrets[0], kind="approve", by="eve",
            at=house.range.clock.now(),
        )  # fmt: skip
    assert house.clock() == []
    house.run(lambda: any(e.step == f"migrate/delete-{key}" and e.kind == "proof" for e in house.events()))
    assert house.asked == [*secrets, f"migrate/deactivate-{key}", f"migrate/delete-{key}"]
    (said,) = house.clock()
    assert said.startswith(f"{FERRY} has moved to OIDC")
    assert house.clock() == [said], "once"
    names = {row["name"] for row in house.world.github.pages(f"/repos/{FERRY}/actions/secrets", "secrets")}
    assert not names & {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}
    assert key_of(house.world, DEPLOY_USER, key) is None
    proofs = [e for e in house.events() if e.kind == "proof" and e.step.startswith("migrate/")]
    assert {e.body["verdict"] for e in proofs} == {"proven"}
    assert len(proofs) == 4
    row = house.bulkhead.store.incident(offer.incident)
    assert row.status == "closed", "its ledger was settled before, and is not opened by this"
    assert verify(house.bulkhead.store.events(row.id), row.head_n, row.head_hash) == []


def test_what_nobody_can_revoke_is_asked_of_its_owner_and_moved_says_by_whose_word(house: House) -> None:
    """No tag says which key it is, and a role was named: so nothing is made in AWS, and nobody's key is cut."""
    house.world.aws.client("iam").untag_user(UserName=DEPLOY_USER, TagKeys=["repo"])
    made = ""
    for name, given in (
        ("aws.create_oidc_provider", ProviderIn(repository=FERRY)), ("aws.create_identity_role", ROLE_OF_FERRY),
    ):  # fmt: skip
        action = CATALOGUE[name]
        made = action.run(house.world, given, action.look(house.world, given)).arn
    used(house, ordered(FERRY, secret=PAIR, role=made))
    assert house.clock() == []
    step = "migrate-as-told/revoke-AWS_SECRET_ACCESS_KEY"
    house.run(lambda: house.proven(step))
    assert house.asked[-1] == step
    (asked,) = [e for e in house.events() if (e.step, e.kind) == (step, "asked")]
    assert asked.body["purpose"] == "answer"
    (said,) = house.clock()
    assert "dead by word: bob says: approve" in said
    state = key_of(house.world, DEPLOY_USER, house.range.company.deploy_key[0])
    assert state is not None
    assert state.status == "Active", "we cannot know which one it was"


def test_who_says_no_keeps_the_key_and_nobody_says_that_it_has_moved(house: House) -> None:
    used(house)
    key = house.range.company.deploy_key[0]
    house.answers[f"migrate/deactivate-{key}"] = "deny"
    org = FERRY.partition("/")[0]
    house.range.github.state.set_secret(org, "AWS_ACCESS_KEY_ID", "x", visibility="selected", selected=(FERRY,))
    assert house.clock() == []
    (offer,) = house.bulkhead.store.decisions(kind=OFFER)
    assert "organization" not in str(offer.body), "other repositories may read it: it is named, and left to people"
    assert any(f"AWS_ACCESS_KEY_ID (actions, {org})" in said and "by hand" in said for said in house.told())
    house.run(lambda: any(e.step == f"migrate/delete-{key}" and e.kind == "failed" for e in house.events()))
    state = key_of(house.world, DEPLOY_USER, key)
    assert state is not None
    assert state.status == "Active"
    assert f"migrate/delete-{key}" not in house.asked, "it is not deleted while it still works"
    assert house.clock() == []
    assert f"{key} of {DEPLOY_USER} still works" in house.told()[-1]
    house.range.clock.advance(REMINDS.total_seconds())
    for _ in range(2):
        assert house.clock() == []
    assert house.told()[-1].startswith("still not moved, 14 days after the first run by an identity")
    _first, again = house.bulkhead.store.decisions(kind=OFFER)
    assert [step["id"] for step in again.body["steps"]] == [f"migrate/deactivate-{key}/2", f"migrate/delete-{key}/2"]
    house.run(lambda: any(e.step == f"migrate/delete-{key}/2" and e.kind == "proof" for e in house.events()))
    assert key_of(house.world, DEPLOY_USER, key) is None, "the second time nobody said no"


def test_a_secret_of_the_same_name_for_dependabot_is_offered_too_and_one_that_is_kept_is_said(house: House) -> None:
    for store in ("dependabot", "codespaces"):
        house.range.github.state.set_secret(FERRY, "AWS_ACCESS_KEY_ID", "x", store=store)
    house.range.github.state.set_secret(FERRY, "OTHER", "x", store="dependabot")
    used(house)
    assert house.clock() == []
    ours, theirs = (f"migrate/delete-AWS_ACCESS_KEY_ID@{store}" for store in ("dependabot", "codespaces"))
    house.answers[theirs] = "deny"
    assert any(f"AWS_ACCESS_KEY_ID (dependabot, {FERRY}) may hold the old credential" in said for said in house.told())
    key = house.range.company.deploy_key[0]
    house.run(lambda: all(any(e.step == s and e.kind in ("failed", "proof") for e in house.events())
                          for s in (ours, theirs, f"migrate/delete-{key}")))  # fmt: skip
    (said,) = house.clock()
    assert said.startswith(f"{FERRY} has moved to OIDC")
    assert any(f"AWS_ACCESS_KEY_ID (codespaces, {FERRY}) is kept: bob said no" in said for said in house.told())
    left = {row["name"] for row in house.world.github.pages(f"/repos/{FERRY}/dependabot/secrets", "secrets")}
    assert left == {"OTHER"}
    (offer,) = house.bulkhead.store.decisions(kind=OFFER)
    assert "OTHER" not in str(offer.body)


def worked(company: Range, home: Path, kill_at: str, until: str) -> int:
    """A worker in a process of its own; its exit status."""
    given = {"home": str(home), "range": company.info, "kill_at": kill_at, "until": until}  # type: ignore[attr-defined]
    given["range"] |= {"cast": company.company.cast}
    done = subprocess.run(
        [sys.executable, "-m", "tests.migration_child", json.dumps(given)], cwd=Path(__file__).parent.parent,
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode in (0, -signal.SIGKILL), done.stderr[-2000:]
    return done.returncode


@pytest.mark.slow
@pytest.mark.parametrize(
    "kill_at",
    ["after migrate/look/1", "before migrate/outcome/1", "after migrate/proof/1", "before incident/closed/1"],
)
def test_killed_on_the_way_the_next_worker_opens_one_pull_request(
    company: Range, tmp_path: Path, kill_at: str
) -> None:
    company.reset()
    with moved_in(company, tmp_path) as house:
        house.order()
    assert worked(company, tmp_path, kill_at, "incident") == -signal.SIGKILL
    assert worked(company, tmp_path, "", "incident") == 0
    with moved_in(company, tmp_path) as house:
        assert len(house.pulls()) == 1
        assert house.over()
        looks = [e for e in house.events() if (e.step, e.kind) == ("migrate", "look")]
        assert len(looks) == 1
        assert [row.state for row in Ledger.fold(house.events()).rows.values()] == [RowState.CLOSED]


@pytest.mark.slow
@pytest.mark.parametrize(
    "kill_at", ["before migrate/delete-AWS_ACCESS_KEY_ID/outcome/1", "after migrate/deactivate-{key}/decided/1"]
)
def test_killed_in_the_last_steps_the_next_worker_does_each_once(company: Range, tmp_path: Path, kill_at: str) -> None:
    company.reset()
    key = company.company.deploy_key[0]
    with moved_in(company, tmp_path) as house:
        used(house)
        assert house.clock() == []
    last = f"migrate/delete-{key}"
    assert worked(company, tmp_path, kill_at.format(key=key), last) == -signal.SIGKILL
    assert worked(company, tmp_path, "", last) == 0
    with moved_in(company, tmp_path) as house:
        (said,) = house.clock()
        assert said.startswith(f"{FERRY} has moved to OIDC")
        row = house.bulkhead.store.incident(house.incidents()[0])
        assert verify(house.bulkhead.store.events(row.id), row.head_n, row.head_hash) == []
        outcomes = [e.step for e in house.events() if e.kind == "outcome" and e.step.startswith("migrate/")]
        assert len(outcomes) == len(set(outcomes)) == 4


def test_an_offer_that_is_not_the_houses_or_names_other_actions_does_nothing(house: House) -> None:
    house.order()
    house.run(house.over)
    (incident,) = house.incidents()
    store = SecretStore(repository=FERRY, name="AWS_ACCESS_KEY_ID")
    bad = [
        ("eve", "migrate", {"id": "migrate/x", "uses": "github.delete_secret", "with": asdict(store)}),
        (HOUSE, "other", {"id": "migrate/y", "uses": "aws.disable_planted", "with": {"kind": "user", "name": "eve"}}),
    ]
    for by, step, given in bad:
        house.bulkhead.store.add_decision({
            "incident": incident, "step": step, "kind": OFFER, "by": by, "at": iso(house.range.clock.now()),
            "plan_hash": "", "body": {"steps": [given]},
        })  # fmt: skip
    house.asked.clear()
    house.run(lambda: any(e.step == "migrate/y" and e.kind == "failed" for e in house.events()))
    assert house.asked == []
    assert not any(e.step == "migrate/x" for e in house.events())


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"repository": "ferry"}, "write OWNER/NAME"), ({"secret": "A B"}, "the name of a secret"),
        ({"role": "admin"}, "arn:aws:iam::ACCOUNT:role/NAME"), ({"region": "Frankfurt"}, "an AWS region"),
        ({"environment": "a;role=b"}, "the name of an environment"), ({"session": "899"}, "900 to 43200"),
        ({"session": "43201"}, "900 to 43200"), ({"session": "an hour"}, "900 to 43200"),
    ],
)  # fmt: skip
def test_an_order_that_is_none_is_refused_with_what_to_write(wrong: dict[str, str], said: str) -> None:
    with pytest.raises(InputError, match=said):
        ordered(**({"repository": FERRY} | wrong))


def test_an_order_is_read_back_from_its_incidents_credential() -> None:
    role = "arn:aws:iam::123456789012:role/x"
    order = ordered(FERRY, secret=PAIR, role=role, region="eu-central-1", environment="p", session="3600")
    assert order_of(credential_of(order)) == order
    with pytest.raises(InputError):
        order_of(Credential(provider="github", kind="migration", id=f"{FERRY};key=AKIA"))

"""The watch over the range: an attack opens one incident however often, whoever judges and wherever it dies."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from bot.actions import CATALOGUE
from bot.app import SHIPPED
from bot.errors import InputError
from bot.intake.inbox import Inbox
from bot.playbook import load_folder
from bot.range import history
from bot.range.company import FERRY
from bot.range.ghcr_theft import REPOSITORY, GhcrTheft
from bot.range.npm_company import BAD, PACKAGE
from bot.range.npm_package import release
from bot.range.npm_theft import NpmTheft
from bot.signals.baseline import Baseline
from bot.signals.token_lifetime import WHERE
from bot.store import Store
from bot.timeline import Timeline
from bot.triage.identify import Recognizer
from bot.vault import Vault
from bot.watch import BASELINE, CURSOR, Watch, Watched, mute, told, watched_of
from tests.actions.conftest import USER, Drill


@pytest.fixture
def inbox(drill: Drill, tmp_path: Path) -> Iterator[Inbox]:
    store = Store(f"sqlite:///{tmp_path / 'watch.db'}")
    store.migrate()
    timeline = Timeline(store)
    yield Inbox(
        store=store, vault=Vault(store, b"k" * 32), timeline=timeline, recognizer=Recognizer(), catalogue=CATALOGUE,
        playbooks=load_folder([SHIPPED / "containment"], CATALOGUE), worlds={"range": lambda _incident: drill.world},
    )  # fmt: skip
    timeline.close()
    store.close()


def watch(inbox: Inbox, boundary: Callable[[str], None] = lambda _name: None) -> Watch:
    one = Watched(repository=FERRY, user=USER)
    return Watch(inbox=inbox, watched=(one,), world="range", boundary=boundary)


def rows(inbox: Inbox) -> list[dict[str, Any]]:
    return [row for row in inbox.store.inbox() if row["source"] == "signals"]


def quiet_then_theft(drill: Drill, inbox: Inbox) -> NpmTheft:
    """A month that was learned and a release; then the token is used."""
    drill.range.clock.advance(3600)
    history.deploys(drill.range)
    assert watch(inbox).turn() == []
    theft = NpmTheft(drill.range)
    theft.leak()
    drill.range.clock.advance(3600)
    assert watch(inbox).turn() == [], "a release that was tagged and ran"
    return theft


def test_an_attack_opens_incidents_by_the_same_door_and_is_told_once(drill: Drill, inbox: Inbox) -> None:
    theft = quiet_then_theft(drill, inbox)
    theft.abuse("")
    assert watch(inbox).turn()
    by_version = [row for row in rows(inbox) if BAD in row["body"]["text"]]
    assert [case["credential"]["kind"] for row in by_version for case in row["body"]["cases"]] == ["npm-token"]
    assert {row["body"]["trust"] for row in rows(inbox)} == {"signed"}
    opened = [incident for row in rows(inbox) for incident in inbox.work(row)]
    assert {inbox.store.incident(one).body["playbook"]["id"] for one in opened} >= {"npm-token"}
    before = len(rows(inbox)), len(told(inbox.store))
    drill.range.clock.advance(3600)
    assert watch(inbox).turn() == []
    assert (len(rows(inbox)), len(told(inbox.store))) == before


@pytest.mark.parametrize("place", ["before signals/landed/1", "after signals/landed/1", "before signals/cursor/1"])
def test_dying_in_between_nothing_is_lost_and_nothing_told_twice(drill: Drill, inbox: Inbox, place: str) -> None:
    theft = quiet_then_theft(drill, inbox)
    theft.abuse("")

    class Died(BaseException):
        pass

    def die(name: str) -> None:
        if name == place:
            raise Died

    with pytest.raises(Died):
        watch(inbox, die).turn()
    watch(inbox).turn()
    names = [row["id"] for row in rows(inbox)]
    assert len(names) == len(set(names))
    assert any(BAD in row["body"]["text"] for row in rows(inbox))
    assert {row["became"] for row in told(inbox.store)} - {"digest"} == set(names)


def test_who_judges_at_the_same_time_tells_nothing_again(drill: Drill, inbox: Inbox) -> None:
    theft = quiet_then_theft(drill, inbox)
    theft.abuse("")
    other: list[list[str]] = []

    def meanwhile(name: str) -> None:
        if name == "after signals/landed/1" and not other:
            other.append([])
            other[0] = watch(inbox).turn()

    mine = watch(inbox, meanwhile).turn()
    assert other[0]
    assert not set(mine) & set(other[0])
    assert len(told(inbox.store)) == len({*mine, *other[0]})


def test_what_is_muted_is_not_told_until_its_end(drill: Drill, inbox: Inbox) -> None:
    theft = quiet_then_theft(drill, inbox)
    theft.abuse("")
    until = drill.world.now() + timedelta(hours=1)
    mute(inbox.store, "*", by="alice", until=until, why="a drill of ours")
    assert watch(inbox).turn() == []
    assert rows(inbox) == []
    drill.range.clock.advance(2 * 3600)
    (thief,) = [token for token in drill.range.npm.tokens.values() if token.user == "mara"]
    drill.range.npm.publish(release({"name": PACKAGE, "version": "1.4.9"}), thief)
    assert watch(inbox).turn()
    assert any("1.4.9" in row["body"]["text"] for row in rows(inbox))


def baseline(inbox: Inbox) -> Baseline:
    return Baseline.of_json(inbox.store.setting(f"{BASELINE}{FERRY}"), "the stored baseline")


def test_what_comes_in_two_windows_counts_once(drill: Drill, inbox: Inbox) -> None:
    """A run that was counted in every window that holds it would end the time of learning in a few days."""
    drill.range.clock.advance(3600)
    watch(inbox).turn()
    drill.world.github.send("POST", f"/repos/{FERRY}/actions/workflows/test.yml/dispatches", {"ref": "main"})
    drill.as_leaked("sts").get_caller_identity()
    for _ in range(3):  # three windows, ten minutes apart
        drill.range.clock.advance(600)
        watch(inbox).turn()
    learned = baseline(inbox)
    assert learned.observed("deploy-source", FERRY) == 1
    uses = [entry for entry in learned.entries.values() if entry.signal == WHERE and not entry.feature]
    assert [entry.count for entry in uses] in ([], [1])
    assert learned.counted
    drill.range.clock.advance(2 * 3600)
    watch(inbox).turn()
    assert baseline(inbox).counted == {}, "what cannot come again is not kept"
    assert baseline(inbox).observed("deploy-source", FERRY) == 1


@pytest.mark.parametrize("status", [503, 429])
def test_while_a_source_is_away_the_cursor_waits_for_it(drill: Drill, inbox: Inbox, status: int) -> None:
    theft = quiet_then_theft(drill, inbox)
    theft.abuse("")
    stands = inbox.store.setting(f"{CURSOR}{FERRY}")
    fault = {"server": "npm", "method": "GET", "route": "*", "status": status, "times": 200}
    drill.range.switchboard.add([fault])
    assert not any("npm" in name for name in watch(inbox).turn())
    assert inbox.store.setting(f"{CURSOR}{FERRY}") == stands
    assert not any(BAD in row["body"]["text"] for row in rows(inbox))
    drill.range.switchboard.clear_faults()
    drill.range.clock.advance(3 * 3600)  # longer than windows overlap
    watch(inbox).turn()
    assert any(BAD in row["body"]["text"] for row in rows(inbox))
    assert inbox.store.setting(f"{CURSOR}{FERRY}") > stands


def test_the_month_before_is_learned_when_it_can_be_read(drill: Drill, inbox: Inbox) -> None:
    drill.range.clock.advance(3600)
    history.deploys(drill.range)
    drill.range.switchboard.add([
        {"server": "aws", "method": "POST", "route": "cloudtrail:LookupEvents", "status": 503, "times": 20}
    ])  # fmt: skip
    assert watch(inbox).turn() == []
    assert inbox.store.setting(f"{BASELINE}{FERRY}") == ""
    drill.range.switchboard.clear_faults()
    watch(inbox).turn()
    learned = baseline(inbox).listed("api-target")
    assert {"s3", "sts"} <= {entry.value for entry in learned if entry.feature == "service"}


def test_a_source_that_we_may_not_read_holds_nothing_up(drill: Drill, inbox: Inbox) -> None:
    """It will not be there later either: the others go on."""
    drill.range.clock.advance(3600)
    watch(inbox).turn()
    stands = inbox.store.setting(f"{CURSOR}{FERRY}")
    drill.range.clock.advance(600)
    drill.range.switchboard.add([{"server": "npm", "method": "GET", "route": "*", "status": 403, "times": 200}])
    watch(inbox).turn()
    assert inbox.store.setting(f"{CURSOR}{FERRY}") > stands


def test_no_secret_is_written_down(drill: Drill, inbox: Inbox) -> None:
    drill.range.clock.advance(3600)
    watch(inbox).turn()
    drill.range.leak()
    watch(inbox).turn()
    said = json.dumps([told(inbox.store), rows(inbox)])
    assert "build-log" in said
    assert drill.range.company.deploy_key[1] not in said


@pytest.mark.parametrize("text", ["ferry", "a/b/c", "=user"])
def test_what_is_no_repository_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="BULKHEAD_WATCH"):
        watched_of(text)


def test_repositories_with_and_without_a_user() -> None:
    assert watched_of(" o/a, o/b=ci ") == [Watched(repository="o/a"), Watched(repository="o/b", user="ci")]


@pytest.mark.slow
def test_an_image_without_what_those_before_it_had_is_a_line_and_is_told_once(drill: Drill, inbox: Inbox) -> None:
    """Nobody tells with which credential an image came."""
    theft = GhcrTheft(drill.range)
    theft.leak()
    one = Watch(inbox=inbox, watched=(Watched(repository=REPOSITORY),), world="range")
    one.turn()
    assert not [row for row in told(inbox.store) if row["what"].startswith("provenance")]
    theft.abuse("")
    for _ in range(2):
        one.turn()
        (line,) = [row for row in told(inbox.store) if row["what"].startswith("provenance")]
        assert (line["what"], line["sure"], line["became"]) == ("provenance-lost", "likely", "digest")

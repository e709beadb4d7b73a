"""The post-mortem in the store: begun once, written by several people, published once, followed up by the clock."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from bot.app import Bulkhead, opened
from bot.errors import DecisionRefused, InputError, Unavailable
from bot.learn.edits import PREFIX
from bot.learn.follow_up import FollowUp, follow_up
from bot.lessons import rounds
from bot.lessons.checks import Looked
from bot.lessons.postmortem import MIGRATION, SINCE, STEP, Postmortems
from bot.settings import Settings
from bot.spoken import SPOKEN
from tests.conftest import made_up_key
from tests.incidents import CLOSED, CUT, ID, TRIAGE, land

STORE = {"repository": "o/ferry", "name": "AWS_KEY", "scope": "repository", "environment": "", "store": "actions"}
STORY = [
    (step, kind, TRIAGE | {"stores": [STORE]} if kind == "triage" else body) for step, kind, body in CLOSED
]  # fmt: skip
OWNED = follow_up("a1", title="Take the key out", owner="ann", due="2026-12-01")
CHECKED = follow_up("c1", title="Delete it", owner="bob", due="2026-12-01", check="secret-gone o/ferry AWS_KEY")


@pytest.fixture
def house(tmp_path: Path) -> Iterator[Bulkhead]:
    with opened(Settings(home=tmp_path, responders="ann,bob"), sites={}) as bulkhead:
        land(bulkhead, STORY, "closed", b"")
        yield bulkhead


@pytest.fixture
def books(house: Bulkhead) -> Postmortems:
    return house.postmortems


def said(house: Bulkhead, kind: str) -> list[dict[str, Any]]:
    return [event["body"] for event in house.store.events(ID) if event["kind"] == kind]


def test_it_begins_once_for_each_incident_that_closed_since_then(house: Bulkhead, books: Postmortems) -> None:
    assert books.begin_all() == [], "it was over before"
    house.store.set_setting(SINCE, "2026-01-01T00:00:00.000000Z")
    with ThreadPoolExecutor(4) as pool:
        begun = [one for found in pool.map(lambda _: books.begin_all(), range(4)) for one in found]
    assert set(begun) == {ID}
    assert books.begin_all() == []
    assert len(said(house, "postmortem")) == 1
    (suggested,) = books.view(ID).follow_ups
    assert (suggested.what.id, suggested.what.check) == (MIGRATION, "migration-merged o/ferry")
    assert SPOKEN["postmortem"](said(house, "postmortem")[0])[0] == "post-mortem"


def test_an_incident_that_is_not_over_has_no_post_mortem_yet(tmp_path: Path) -> None:
    with opened(Settings(home=tmp_path), sites={}) as bulkhead:
        land(bulkhead, CUT, "open", b"")
        with pytest.raises(InputError, match="is not over"):
            bulkhead.postmortems.edit(ID, {"lucky": "x"}, by="ann", key="k")
        assert any("not over" in text for text in bulkhead.postmortems.view(ID).missing)


def test_two_people_write_at_the_same_moment_and_no_word_is_lost(books: Postmortems) -> None:
    books.begin(ID)
    seen = books.view(ID).written.last
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda k: books.edit(ID, {"lucky": f"word {k}"}, by=f"p{k}", key=f"k{k}", seen=seen), range(8)))
    one = books.view(ID).written.fields["lucky"]
    assert {one.now.text, *(word.text for word in one.beside)} == {f"word {k}" for k in range(8)}
    whole = " ".join(sorted({one.now.text, *(word.text for word in one.beside)}))
    assert books.edit(ID, {"lucky": whole}, by="ann", key="last").written.conflicts == {}


def test_the_same_form_sent_twice_is_one_edit(books: Postmortems) -> None:
    for _ in range(3):
        books.edit(ID, {"lucky": "once"}, by="ann", key="delivery-1", seen=0)
    assert len([e for e in books.rows.edits(ID) if e.field == "lucky"]) == 1


def test_what_people_write_holds_no_secret_and_nothing_that_a_terminal_would_do(books: Postmortems) -> None:
    key, secret = made_up_key()
    text = f"\x1b[2Jit was AWS_SECRET_ACCESS_KEY={secret} and npm_{'a1B2' * 9}"
    view = books.edit(ID, {"lucky": text}, by="ann", key="k")
    stored = json.dumps([edit.text for edit in books.rows.edits(ID)])
    assert secret not in stored and "a1B2a1B2" not in stored and "\\u001b" not in stored
    assert "[secret hmac:" in view.field("lucky")
    assert key


def test_it_is_published_by_who_may_once_and_orders_its_follow_ups(house: Bulkhead, books: Postmortems) -> None:
    with pytest.raises(InputError, match="durable fix is not written"):
        books.publish(ID, by="ann")
    books.edit(ID, {"durable_fix": "OIDC"}, by="ann", key="k1")
    with pytest.raises(InputError, match="owner and a date"):
        books.publish(ID, by="ann")
    books.follow(ID, OWNED, by="ann", key="k2")
    with pytest.raises(DecisionRefused, match="not one of the responders"):
        books.publish(ID, by="mallory")
    assert not books.view(ID).published and house.store.decisions() == []
    assert books.publish(ID, by="ann").published
    with pytest.raises(InputError, match=r"was published .* by ann"):
        books.publish(ID, by="bob")
    (order,) = house.store.decisions()
    assert (order.kind, order.step, order.by) == ("follow-up", STEP, "ann")
    steps = {step["id"]: step for step in order.body["steps"]}
    assert steps[f"{PREFIX}{MIGRATION}"]["uses"] == "github.open_migration"
    assert steps[f"{PREFIX}{MIGRATION}"]["with"] == {"repository": "o/ferry", "secret": "AWS_KEY"}
    issue = steps[f"{PREFIX}a1"]
    assert issue["uses"] == "github.open_issue" and issue["with"]["repository"] == "o/ferry"
    assert "- Who: ann" in issue["with"]["body"] and issue["with"]["mark"] == f"{ID}/{PREFIX}a1"
    begun = books.rows.get(ID)
    assert begun is not None and begun.published_by == "ann" and "# Post-mortem: Leaked AWS access key" in begun.body
    assert [one["state"] for one in said(house, "postmortem")] == ["drafted", "published"]
    with pytest.raises(InputError, match="stays as it is"):
        books.edit(ID, {"lucky": "later"}, by="ann", key="k3")
    assert books.follow(ID, follow_up("a1", title="Take it out", owner="bob", due="2026-12-02"), by="bob", key="k4")


def test_published_again_after_a_crash_in_the_middle_it_is_once(house: Bulkhead, books: Postmortems) -> None:
    books.edit(ID, {"durable_fix": "OIDC"}, by="ann", key="k1")
    books.follow(ID, OWNED, by="ann", key="k2")

    class Died(Exception):
        pass

    def die(*_args: Any, **_kw: Any) -> bool:
        raise Died

    publish, books.rows.publish = books.rows.publish, die  # type: ignore[method-assign]
    with pytest.raises(Died):
        books.publish(ID, by="ann")
    books.rows.publish = publish  # type: ignore[method-assign]
    assert books.publish(ID, by="ann").published
    assert len(house.store.decisions()) == 1


# by the clock --------------------------------------------------------------------------------------------------------

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)


class Provider:
    """What a look finds, as the test says."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.holds: bool | Exception = False
        self.looks = 0
        monkeypatch.setattr(rounds, "look", self.look)

    def look(self, _world: Any, _check: Any) -> Looked:
        self.looks += 1
        if isinstance(self.holds, Exception):
            raise self.holds
        return Looked(self.holds, "is gone" if self.holds else "old secret still exists")


def test_a_follow_up_is_done_when_a_look_says_so_and_reopened_when_it_comes_back(
    house: Bulkhead, books: Postmortems, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider, worlds = Provider(monkeypatch), {"real": lambda _incident: None}
    books.begin(ID)
    books.drop(ID, MIGRATION, by="ann", key="k0")
    books.follow(ID, CHECKED, by="ann", key="k1")

    def turn(hours: float) -> str:
        rounds.turn(house.store, books, worlds, NOW + timedelta(hours=hours))  # type: ignore[arg-type]
        return books.view(ID).follow_ups[0].state

    assert turn(0) == "open" and provider.looks == 1
    assert turn(0.9) == "open" and provider.looks == 1, "once an hour, after a restart too"
    provider.holds = True
    assert turn(1) == "done"
    provider.holds = False
    assert turn(2) == "reopened"
    provider.holds = Unavailable("GitHub does not answer", provider="github")
    assert turn(3) == "reopened", "who does not answer proves nothing"
    provider.holds = True
    assert turn(4) == "done"
    told = said(house, "follow-up")
    assert [one["state"] for one in told] == ["done", "reopened", "done"]
    assert told[1]["detail"] == "old secret still exists" and told[1]["owner"] == "bob"
    assert SPOKEN["follow-up"](told[1]) == ("is reopened", "Delete it (bob): old secret still exists")


def test_what_no_machine_can_see_is_done_when_a_person_says_so(books: Postmortems) -> None:
    books.follow(ID, OWNED, by="ann", key="k1")
    books.follow(ID, CHECKED, by="ann", key="k2")
    view = books.done(ID, "a1", by="bob")
    assert next(one for one in view.follow_ups if one.what.id == "a1").state == "done"
    with pytest.raises(InputError, match="a machine looks at this one"):
        books.done(ID, "c1", by="bob")
    with pytest.raises(InputError, match="has no follow-up 'zz'"):
        books.done(ID, "zz", by="bob")


def test_a_follow_up_comes_back_from_the_store_as_it_went_in() -> None:
    assert FollowUp.of("c1", CHECKED.text()) == CHECKED

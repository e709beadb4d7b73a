"""Medians over incidents and drills, by team and month; at the terminal, on a page, for Prometheus."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot import web
from bot.app import Bulkhead, opened
from bot.doors import Doors, utc
from bot.learn.follow_up import follow_up
from bot.learn.metrics import Measured, groups, p90, summaries
from bot.learn.postmortem import Standing
from bot.learn.times import Times
from bot.lessons.measures import Measures
from bot.settings import Settings
from bot.store import Store
from tests.incidents import ID, KEY, land
from tests.learn.test_boxes import NOW
from tests.learn.test_postmortem import CHECKED, STORY
from tests.learn.test_quiz import bulkhead, wrong
from tests.test_web import TOKEN, Serving
from tests.test_web_signin import House, Site

DAY = date(2026, 3, 1)
ONE = Measured(incident="i", world="real", team="shop", month="2026-02", status="closed", times=Times(first_cut=60.0))


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=50))
def test_nine_in_ten_stay_below_the_p90_and_it_is_one_of_them(values: list[float]) -> None:
    found = p90(values)
    assert found in values
    assert sum(value <= found for value in values) >= 0.9 * len(values)
    assert sum(value < found for value in values) < 0.9 * len(values)


def test_a_median_has_its_count_and_a_time_that_nobody_had_is_left_out() -> None:
    had = ((1.0, 0.0), (3.0, 5.0), (100.0, 0.0))
    rows = [replace(ONE, times=Times(first_cut=cut, approval=wait)) for cut, wait in had]
    found = {one.time: (one.n, one.median, one.p90) for one in summaries(rows)}
    assert found == {"first_cut": (3, 3.0, 100.0), "approval": (1, 5.0, 5.0)}


def test_real_ones_and_drills_are_never_put_together_and_the_newest_month_is_first() -> None:
    rows = [ONE, replace(ONE, month="2026-03", team="web"), replace(ONE, world="range", status="open")]
    assert [(g.world, g.incidents, g.closed) for g in groups(rows, "all", DAY)] == [("real", 2, 2), ("range", 1, 0)]
    months = [(g.world, g.name) for g in groups(rows, "month", DAY)]
    assert months == [("real", "2026-03"), ("real", "2026-02"), ("range", "2026-02")]
    assert [g.name for g in groups(rows, "team", DAY) if g.world == "real"] == ["shop", "web"]


def test_what_is_static_counts_as_gone_only_when_a_machine_has_seen_it() -> None:
    late = follow_up("a1", title="t", owner="ann", due="2026-02-01")
    for state, gone in (("open", 0), ("done", 2), ("reopened", 0)):
        row = replace(ONE, static=2, follow_ups=(Standing(what=CHECKED, state=state), Standing(what=late)))
        (found,) = groups([row], "all", DAY)
        assert (found.static, found.static_gone) == (2, gone)
        assert (found.overdue, found.reopened) == (1, int(state == "reopened"))
    assert replace(ONE, static=2, follow_ups=(Standing(what=late, state="done"),)).static_gone == 0, "a word is no look"


@pytest.fixture
def house(tmp_path: Path) -> Iterator[Bulkhead]:
    with opened(Settings(home=tmp_path, responders="ann", team_names="o/f*=shop"), sites={}) as made:
        land(made, STORY, "closed", b"")
        made.postmortems.follow(ID, CHECKED, by="ann", key="k1")
        yield made


def test_it_is_measured_once_for_as_long_as_its_timeline_stands_still(
    house: Bulkhead, monkeypatch: pytest.MonkeyPatch
) -> None:
    measures, asked, read = house.measures, [], house.store.events

    def events(incident_id: str, after_n: int = 0) -> list[dict[str, Any]]:
        asked.append(incident_id)
        return read(incident_id, after_n)

    monkeypatch.setattr(house.store, "events", events)
    (one,) = measures.all()
    assert (one.team, one.month, one.times.first_cut, one.static) == ("shop", "2026-03", 9.0, 1)
    measures.all()
    assert len(asked) == 1
    note = {"by": "ann", "text": "t", "act": True}
    house.timeline.append(ID, "x", "note", note, at="2026-03-01T13:00:00.000000Z").result()
    measures.all()
    assert len(asked) == 2


def test_at_the_terminal(house: Bulkhead, tmp_path: Path) -> None:
    (found,) = json.loads(bulkhead(tmp_path, "metrics", "--json", "--by", "team").stdout)
    assert (found["name"], found["static_left"], found["open_follow_ups"]) == ("o/ferry", 1, 2)
    shown = bulkhead(tmp_path, "metrics").stdout
    assert "to the first cut" in shown and "Places of static secrets that leaked: 1, proven gone: 0" in shown
    assert bulkhead(tmp_path, "metrics", "--by", "person").exit_code == 2
    assert json.loads(bulkhead(tmp_path, "metrics", "--json", "--world", "range").stdout) == []


@pytest.fixture
def site(house: Bulkhead, tmp_path: Path) -> Iterator[Site]:
    store, accounts, books = Store(f"sqlite:///{tmp_path / 'bulkhead.db'}"), House(), house.postmortems
    app = web.application(
        store, metrics_token=TOKEN, sign_in=accounts, written=lambda name: books.document(books.view(name)),
        measures=Measures(store),
    )  # fmt: skip
    with Serving(app) as url:
        made = Site(url, store, accounts, house.room)
        yield made
        for client in made.clients:
            client.close()
    store.close()


def test_prometheus_reads_the_same(site: Site) -> None:
    page = site.browser().get("/metrics", headers={"authorization": f"Bearer {TOKEN}"}).text
    for line in (
        'bulkhead_time_median_seconds{time="first_cut",world="real"} 9.0',
        'bulkhead_time_incidents{time="first_cut",world="real"} 1.0',
        'bulkhead_follow_ups{state="open",world="real"} 2.0',
        'bulkhead_static_secrets{state="left",world="real"} 1.0',
    ):  # fmt: skip
        assert line in page, line
    assert KEY not in page and "ann" not in page.replace("cannot", "")


def test_the_page_of_measures_is_for_who_has_signed_in_and_ranks_nobody(site: Site, house: Bulkhead) -> None:
    browser = site.browser()
    assert browser.get("/measures").status_code == 403
    site.sign_in(browser)
    for k in range(5):
        (put,) = house.quiz.put(f"person{k}", NOW, name="w1")
        house.quiz.answer(f"person{k}", put.asked, wrong(put), NOW, sure=True)
    for by in ("all", "team", "month", "person"):
        page = browser.get("/measures", params={"by": by})
        assert page.status_code == 200 and "to the first cut" in page.text
        assert "durable-fix" in page.text and "person1" not in page.text


def test_the_page_of_a_post_mortem_is_behind_the_door_of_its_incident(site: Site) -> None:
    browser = site.browser()
    closed = browser.get(f"/incidents/{ID}/postmortem")
    assert closed.status_code == 403 and "Leaked" not in closed.text
    browser.post(f"/open/{Doors(site.store).link(ID, utc())}")
    page = browser.get(f"/incidents/{ID}/postmortem")
    assert page.status_code == 200 and "<h2>Detect (DE.CM, DE.AE)</h2>" in page.text
    assert "Delete it" in page.text and "script-src" not in page.headers["content-security-policy"]
    held = browser.get(f"/incidents/{ID}/postmortem?file")
    assert held.headers["content-disposition"] == f'attachment; filename="{ID}-postmortem.html"'
    assert held.text.startswith("<!doctype html>") and "<style>" in held.text
    assert "The post-mortem" in browser.get(f"/incidents/{ID}").text
    with httpx.Client(base_url=site.url, trust_env=False) as other:
        assert other.get(f"/incidents/{ID}/postmortem?file").status_code == 403

"""Training over time: by team and month, from five people up, of nobody; in the store, at the terminal, in Slack."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

from hypothesis import given, settings
from hypothesis import strategies as st

from bot.app import opened
from bot.cli.drill import _keep
from bot.drill import Result
from bot.learn.boxes import LEAST_PEOPLE
from bot.learn.metrics import TOTAL
from bot.learn.trends import Drilled, Quizzed, trends
from bot.settings import Settings
from bot.slack import quiz_views
from bot.store import Store, iso
from bot.store_drills import Scores
from bot.web import learnt
from tests.learn.test_boxes import NOW
from tests.learn.test_quiz import bulkhead, wrong
from tests.slack.strict import check

MONTHS, TEAMS = st.sampled_from(["2026-10", "2026-11"]), st.sampled_from(["shop", "web", ""])
NAMES = st.sampled_from([f"person{k}" for k in range(8)])
DRILLED = st.builds(
    Drilled, month=MONTHS, team=TEAMS, total=st.integers(0, 100), people=st.frozensets(NAMES, min_size=1, max_size=4)
)
QUIZZED = st.builds(Quizzed, month=MONTHS, team=TEAMS, person=NAMES, right=st.booleans())


@settings(max_examples=40)
@given(st.lists(DRILLED, max_size=12), st.lists(QUIZZED, max_size=30))
def test_what_fewer_than_five_people_did_is_not_told(drilled: list[Drilled], quizzed: list[Quizzed]) -> None:
    found = trends(drilled, quizzed)
    for month in {*(one.month for one in drilled), *(one.month for one in quizzed)}:
        for team in (TOTAL, "shop", "web"):
            drills = [one for one in drilled if one.month == month and team in (TOTAL, one.team)]
            answers = [one for one in quizzed if one.month == month and team in (TOTAL, one.team)]
            many = len({name for one in drills for name in one.people}), len({one.person for one in answers})
            rows = [one for one in found if (one.month, one.team) == (month, team)]
            assert len(rows) == int(max(many) >= LEAST_PEOPLE)
            for row in rows:
                told = row.drills.people if row.drills else 0, row.quiz.people if row.quiz else 0
                assert told == tuple(count if count >= LEAST_PEOPLE else 0 for count in many)
    assert "person" not in json.dumps([{k: v for k, v in one.as_json().items() if k != "people"} for one in found])
    assert [one.month for one in found] == sorted((one.month for one in found), reverse=True)


def test_they_are_kept_once_seen_everywhere_and_name_nobody(tmp_path: Path) -> None:
    given_ = Settings(home=tmp_path, people_teams="person*=shop")
    people = [f"person{k}" for k in range(LEAST_PEOPLE)]
    with opened(given_, sites={}) as house:
        scores = Scores(house.store)
        for k, name in enumerate(people):
            kept = {"drill": "d", "at": iso(NOW), "team": given_.team_of_people([name]), "total": 60 + k}
            assert scores.keep(f"o{k}", **kept, people=[name])
            assert not scores.keep(f"o{k}", **kept, people=[name])
            (put,) = house.quiz.put(name, NOW, name="w1")
            house.quiz.answer(name, put.asked, wrong(put), NOW, sure=True)
        assert given_.team_of_people(["person1", "ann"]) == "shop"
        assert given_.team_of_people(["ann"]) == ""
        found = house.measures.trends()
        assert [(one.team, one.drills and one.drills.score) for one in found] == [(TOTAL, 62.0), ("shop", 62.0)]
        shown = [one for one in learnt.trends(house.measures) if one["title"] == "shop"]
        assert [(one["score"], one["right"]) for one in shown] == [("62 of 100", "0%")]
        blocks = quiz_views.trend(found, "shop")
        check(blocks)
        assert "drills 62 of 100 (5, 5 people), quiz 0% right" in json.dumps(blocks)
        assert quiz_views.trend(found, "web") == []
    assert b"person" not in json.dumps([row.people for row in Scores(Store(given_.url)).all()]).encode()
    told = json.loads(bulkhead(tmp_path, "metrics", "--training", "--json").stdout)
    assert [(one["team"], one["drills"]["n"]) for one in told] == [(TOTAL, 5), ("shop", 5)]
    assert "everybody" in bulkhead(tmp_path, "metrics").stdout


def test_a_drill_at_the_terminal_is_kept_beside_the_others(tmp_path: Path) -> None:
    given_ = Settings(home=tmp_path / "never-there", people_teams="ann=shop")
    result = SimpleNamespace(score={"total": 81}, drill="d", incident="inc-1")
    for _ in range(2):
        _keep(given_, result, "ann")  # type: ignore[arg-type]
    store = Store(given_.url)
    (row,) = Scores(store).all()
    assert (row.id, row.drill, row.team, row.total, len(row.people)) == ("terminal:inc-1", "d", "shop", 81, 1)
    assert "ann" not in row.people[0]
    store.close()
    assert Result.__dataclass_fields__.keys() >= {"score", "drill", "incident"}

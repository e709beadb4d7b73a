"""What the page of measures shows, in plain values."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from bot.learn.boxes import by_tag
from bot.learn.metrics import TOTAL, groups
from bot.learn.times import WORDS
from bot.lessons.measures import Measures
from bot.store import Store
from bot.store_learn import Quizzes
from bot.story import seconds

BY = (TOTAL, "team", "month")
WORLDS = {"real": "Incidents", "range": "Drills"}


def groups_of(measures: Measures, by: str, now: datetime) -> list[dict[str, Any]]:
    """The groups, with times in words."""
    found = []
    for one in groups(measures.all(), by, now.date()):
        name = "" if one.name == TOTAL else f": {one.name}"
        times = [
            {"words": WORDS[time.time], "median": seconds(time.median), "p90": seconds(time.p90), "n": time.n}
            for time in one.times
        ]
        found.append(one.as_json() | {"title": f"{WORLDS.get(one.world, one.world)}{name}", "times": times})
    return found


def trends(measures: Measures) -> list[dict[str, Any]]:
    """Training by team and month, in words; what fewer than five people took part in is left out."""
    found = []
    for one in measures.trends():
        drills = f"{one.drills.score:g} of 100" if one.drills else ""
        right = f"{one.quiz.right:.0%}" if one.quiz else ""
        found.append(one.as_json() | {"title": "everybody" if one.team == TOTAL else one.team,
                                      "score": drills, "right": right})  # fmt: skip
    return found


def team(store: Store) -> list[dict[str, Any]]:
    """The team by tag, from five people up."""
    return [
        {"tag": one.tag, "right": f"{one.right:.0%}", "answers": one.answers, "people": one.people}
        for one in by_tag(Quizzes(store).answers())
    ]

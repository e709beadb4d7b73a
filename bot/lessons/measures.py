"""Measures every incident of the store, each once for as long as its timeline stands still; and training over time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bot.learn.edits import fold
from bot.learn.metrics import Measured
from bot.learn.postmortem import standing
from bot.learn.times import Times, times
from bot.learn.trends import Drilled, Quizzed, Trend, trends
from bot.store import IncidentRow, Store
from bot.store_drills import Scores
from bot.store_learn import Quizzes, Writings
from bot.timeline import load
from bot.triage.migration import is_order

Found = tuple[Times, str, int]  # times, repository, stores of standing secrets


class Measures:
    """``team`` names the team of a repository; "" is whoever owns none. ``people``: that of a person."""

    def __init__(
        self, store: Store, team: Callable[[str], str] = str, people: Callable[[str], str] = lambda _person: ""
    ) -> None:  # fmt: skip
        self._store, self._team, self._people = store, team, people
        self._known: dict[tuple[str, int], Found] = {}

    def all(self, world: str = "") -> list[Measured]:
        """Every incident, of one World or of all, oldest first."""
        writings = Writings(self._store)
        rows = {one: {r.id: r for r in writings.follow_ups(one)} for one in writings.all()}
        found = []
        for row in self._store.incidents():
            if world not in ("", row.world) or is_order(row.credential_key):  # a migration was no leak
                continue
            measured, repository, static = self._measured(row)
            mine = fold(writings.edits(row.id)).follow_ups if row.id in rows else []
            found.append(Measured(
                incident=row.id, world=row.world, team=self._team(repository) or "no repository",
                month=row.opened_at[:7], status=row.status, times=measured, static=static,
                follow_ups=tuple(standing(mine, rows.get(row.id, {}), {})),
            ))  # fmt: skip
        return found

    def trends(self) -> list[Trend]:
        """Drills and quiz by team and month, from five people up."""
        drilled = [
            Drilled(month=row.at[:7], team=row.team, total=row.total, people=frozenset(row.people))
            for row in Scores(self._store).all()
        ]
        quizzed = [
            Quizzed(month=at[:7], team=self._people(person), person=person, right=right)
            for person, at, right in Quizzes(self._store).dated()
        ]
        return trends(drilled, quizzed)

    def _measured(self, row: IncidentRow) -> Found:
        key = row.id, row.head_n
        if key not in self._known:
            events = load(self._store, row.id)
            triage: dict[str, Any] = next((e.body for e in reversed(events) if e.kind == "triage" and e.body), {})
            stores = {(s["repository"], s["name"], s["scope"]) for s in triage.get("stores", ())}
            self._known[key] = times(events), str(triage.get("repository", "")), len(stores)
        return self._known[key]

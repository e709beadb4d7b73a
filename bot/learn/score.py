"""What a drill shows of those who trained: choices 50 %, time 30 %, record 20 %. Of teams, never a ranking of persons.

Choices: 3 for the best answer, 2 for an acceptable one, 0 for a harmful one, whatever came after it; the order of the
steps counts as one more, by a partial order and not by one list. Time: as ``bot.learn.times`` measures real incidents,
against the targets below. Record: whether people said how sure they were, and answered what they were asked. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from statistics import mean
from typing import Any

from bot.choices import ACCEPTABLE, BEST, HARMFUL, Taken
from bot.learn.times import WORDS, times
from bot.scenario import NOTHING, Drill
from bot.store import when
from bot.story import seconds
from bot.timeline import Event

POINTS = {BEST: 3, ACCEPTABLE: 2, HARMFUL: 0}
WEIGHTS = {"choices": 0.5, "time": 0.3, "record": 0.2}
# Seconds from the report: PyPI had its administrator's token dead after 17 minutes (blog.pypi.org, 2024-07-08).
TARGETS = {"acknowledge": 300.0, "first_cut": 900.0, "all_dead": 3600.0}
DISMISS_S = 300.0  # to say that there is nothing to cut
MOST_FINDINGS = 3
UNKNOWN = "I do not know"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What is to be done about something that went wrong; ``owner``: who does it. A follow-up of the post-mortem."""

    id: str
    title: str
    why: str
    rung: str
    owner: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """Shares from 0 to 1; ``total`` from 0 to 100. ``time`` is None where the timeline tells none of the times."""

    total: int
    choices: float
    time: float | None
    record: float
    sure_and_wrong: int  # choices that somebody was sure of, and that did harm
    recovered: bool  # every harmful answer was put right
    late: tuple[str, ...] = ()  # times beyond their target
    out_of_order: tuple[tuple[str, str], ...] = ()
    unrecorded: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """What a program reads."""
        return asdict(self)


def score(
    drill: Drill, taken: Iterable[Taken], events: Sequence[Event], *, owner: str = "", thought_s: float = 0.0
) -> Score:  # fmt: skip
    """The score of one drill. ``thought_s``: seconds until somebody saw that there is nothing to cut."""
    rows, told = list(taken), [event for event in events if event.body is not None]
    out_of_order = _out_of_order(drill.order, told)
    points = [POINTS[one.first.grade] / POINTS[BEST] for one in rows]
    if drill.order:
        points.append(1 - len(out_of_order) / len(drill.order))
    if drill.ends == NOTHING:
        found: dict[str, float | None] = {"dismiss": thought_s}
        targets = {"dismiss": DISMISS_S}
    else:
        measured, targets = times(told), TARGETS
        found = {name: getattr(measured, name) for name in TARGETS}
    known = {name: value for name, value in found.items() if value is not None}
    late = tuple(name for name, value in known.items() if value > targets[name])
    shares = [min(1.0, targets[name] / value) if value > 0 else 1.0 for name, value in known.items()]
    unrecorded = tuple(_unrecorded(rows, told))
    marks = len(rows) + len(_questions(told))
    parts = {
        "choices": mean(points) if points else 1.0, "time": mean(shares) if shares else None,
        "record": 1 - len(unrecorded) / marks if marks else 1.0,
    }  # fmt: skip
    weighed = {name: value for name, value in parts.items() if value is not None}
    weight = sum(WEIGHTS[name] for name in weighed)
    total = sum(WEIGHTS[name] * value for name, value in weighed.items()) / weight
    return Score(
        total=round(100 * total), choices=round(parts["choices"] or 0.0, 3),
        time=None if parts["time"] is None else round(parts["time"], 3), record=round(parts["record"] or 0.0, 3),
        sure_and_wrong=sum(one.sure is True and one.first.grade == HARMFUL for one in rows),
        recovered=all(one.recovered for one in rows), late=late, out_of_order=out_of_order, unrecorded=unrecorded,
        findings=tuple(_findings(rows, out_of_order, {n: known[n] for n in late}, unrecorded, owner))[:MOST_FINDINGS],
    )  # fmt: skip


def _out_of_order(order: Sequence[tuple[str, str]], events: Sequence[Event]) -> tuple[tuple[str, str], ...]:
    """The pairs of which the second was done before the first. What was not done breaks no order."""
    done: dict[str, tuple[Any, Any]] = {}
    for event in events:
        if event.kind == "outcome":
            step, at = event.step.partition("#")[0], (when(event.at), event.n)
            done[step] = min(done[step][0], at) if step in done else at, at
    return tuple((a, b) for a, b in order if a in done and b in done and done[b][0] < done[a][1])


def _questions(events: Sequence[Event]) -> list[Event]:
    return [e for e in events if e.kind == "asked" and e.body.get("purpose") == "answer"]


def _unrecorded(rows: Sequence[Taken], events: Sequence[Event]) -> Iterable[str]:
    """What is missing on the record: how sure somebody was of a choice, and what a person was asked and did not say."""
    yield from (f"how sure of {one.choice.id}" for one in rows if one.sure is None)
    ended = {e.step: e.body["outcome"] for e in events if e.kind == "outcome"}
    said = {step: str(outcome.get("answer", "")) for step, outcome in ended.items()}
    handed = {step for step, outcome in ended.items() if outcome.get("sealed")}
    for event in _questions(events):
        if event.step not in handed and said.get(event.step, "") in ("", UNKNOWN):
            yield f"the answer to {event.step}"


def _findings(
    rows: Sequence[Taken], out_of_order: Sequence[tuple[str, str]], late: dict[str, float], unrecorded: Sequence[str],
    owner: str,
) -> Iterable[Finding]:  # fmt: skip
    """Worst first: harm that somebody was sure of, other harm, steps out of order, what was late, then the rest."""
    wrong = [one for one in rows if one.first.grade != BEST]
    wrong.sort(key=lambda one: (one.first.grade != HARMFUL, one.sure is not True))
    harmful = [one for one in wrong if one.first.grade == HARMFUL]
    yield from (_of_choice(one, owner) for one in harmful)
    for first, then in out_of_order:
        title = f"Have {first} done before {then}"
        yield Finding(id=f"order-{first}"[:60], title=title, why="", rung="procedure", owner=owner)
    for name, value in late.items():
        what = WORDS.get(name, "to see that there was nothing to cut")
        title = f"Find out what took {seconds(value)} {what}, and take it away"
        yield Finding(id=f"late-{name.replace('_', '-')}", title=title, why="", rung="procedure", owner=owner)
    yield from (_of_choice(one, owner) for one in wrong if one not in harmful)
    if unrecorded:
        title = "Say who writes down what is decided, and why, while it runs"
        yield Finding(id="record", title=title, why=", ".join(unrecorded), rung="procedure", owner=owner)


def _of_choice(one: Taken, owner: str) -> Finding:
    choice = one.choice
    return Finding(id=choice.id, title=choice.lesson, why=one.first.because, rung=choice.rung, owner=owner)

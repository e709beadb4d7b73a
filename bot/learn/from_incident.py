"""Questions made from an incident, out of what its timeline holds. Right by construction: the best option is read from
the timeline, every other one is something that the timeline says is not so, and no two read alike.

Where the facts do not make such a question (nothing was planted, no tail was open), there is none.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from bot.engine.ledger import Ledger
from bot.learn.bank import ASK, FEEDBACK, OPTION, Question
from bot.learn.times import tail_ends, times
from bot.model import RowState
from bot.store import when
from bot.story import GRADES, seconds
from bot.timeline import Event

MANY = 4  # options
ELSEWHERE = (  # names of secrets that workflows often have; only those that were not in reach are offered
    "SENTRY_AUTH_TOKEN", "CODECOV_TOKEN", "DOCKERHUB_TOKEN", "SLACK_BOT_TOKEN", "CLOUDFLARE_API_TOKEN", "SSH_HOST_KEY",
    "STRIPE_RESTRICTED_KEY", "TWILIO_AUTH_TOKEN", "DATADOG_API_KEY", "HOMEBREW_TAP_TOKEN", "CHROMATIC_TOKEN",
)  # fmt: skip
WHO = {
    "public": "Everybody could see it", "internal": "Only people inside could see it",
    "unknown": "It could not be found out",
}  # fmt: skip
NOBODY = "Nobody; it was found before it was shown"


@dataclass(frozen=True, slots=True)
class Facts:
    """What questions are made from."""

    incident: str
    events: Sequence[Event]
    ledger: Ledger
    triage: dict[str, Any]

    @property
    def chance(self) -> random.Random:
        """The same for the same incident: a question that is made again is the same."""
        return random.Random(self.incident)  # noqa: S311 (a choice of wrong options, not a secret)


def questions(incident: str, events: Sequence[Event]) -> list[Question]:
    """Every question that this incident makes, most telling first; none before triage."""
    told = [event for event in events if event.body is not None]
    triage = next((event.body for event in reversed(told) if event.kind == "triage"), None)
    if triage is None:
        return []
    facts = Facts(incident, told, Ledger.fold(told), triage)
    made = (make(facts) for make in (_reach, _last_tail, _first_cut, _planted, _proof, _exposure, _how_long))
    return [one for one in made if one is not None]


# one function a question ---------------------------------------------------------------------------------------------


def _reach(facts: Facts) -> Question | None:
    """Which of these was in reach? By what triage has found and the ledger holds, which is the incident's own truth."""
    inside = {str(r["name"]) for r in facts.triage["reach"] if r["kind"] in ("secret", "aws-access-key", "npm-token")}
    near = " ".join(str(value) for r in facts.triage["reach"] for value in (r["name"], r["how"], r["scope"])).lower()
    near += " ".join([*facts.ledger.rows, str(facts.triage["unknown"]), str(facts.triage["stores"])]).lower()
    others = [name for name in ELSEWHERE if name.lower() not in near]
    if not inside:
        return None
    best = facts.chance.choice(sorted(inside))
    return _made(
        facts, "reach", "reach",
        "Triage has listed what the leak put within reach. Which of these secrets could the leaking job read?",
        best, dict.fromkeys(facts.chance.sample(others, len(others)), "Triage did not find it in reach of this job."),
        f"The job could read {len(inside)}: {', '.join(sorted(inside))}. All of that counts as taken, whatever the "
        "alert names.",
    )  # fmt: skip


def _last_tail(facts: Facts) -> Question | None:
    """When is the last stolen session dead? From the tails of the ledger."""
    ends = tail_ends(facts.events, facts.ledger)
    known = {key: end for key, end in ends.items() if end is not None}
    if not known or len(known) < len(ends):
        return None  # one of them has no end yet
    last = max(known.values())
    dead = [row.dead_at for row in facts.ledger.rows.values() if row.dead_at]
    wrong: dict[datetime, str] = {}
    for at in dead:
        wrong[at] = "Then a credential itself was proven dead. What had been minted from it was another matter."
    for end in known.values():
        wrong[end] = "One of them ended then; another lasted longer."
    closed = next((when(e.at) for e in facts.events if e.kind == "outcome"), None)
    if closed is not None:
        wrong[closed] = "That is when the first change was made. A session has keys of its own."
    for hours in (1, 12, 36):
        wrong[last + timedelta(hours=hours)] = "Nothing that was minted here lasts as long as that."
    names = sorted({kind for (_key, kind), end in known.items() if end == last})
    return _made(
        facts, "last-tail", "tails", "When was the last thing that had been minted from a stolen credential dead?",
        _stamp(last), {_stamp(at): why for at, why in wrong.items()},
        f"The last was a {names[0]}, dead {_stamp(last)}. A credential is dead when what it has minted is dead.",
    )  # fmt: skip


def _first_cut(facts: Facts) -> Question | None:
    """What was done first that cut something?"""
    looks = {e.step: e.body for e in facts.events if e.kind == "look"}
    done = [e for e in facts.events if e.kind == "outcome" and e.step in looks]
    cuts = [e for e in done if looks[e.step].get("kills")]
    if not cuts:
        return None
    first = cuts[0]
    title = str(looks[first.step]["title"])
    later = {str(looks[e.step]["title"]): "It was done as well, after the first cut." for e in done if e.n > first.n}
    before = {str(looks[e.step]["title"]): "It came before, and cuts no credential." for e in done if e.n < first.n}
    return _made(
        facts, "first-cut", "first-action", "Which step was the first to cut a credential in this incident?", title,
        later | before, f"{title} came first. What can be cut is cut before anything is tidied up.",
    )  # fmt: skip


def _planted(facts: Facts) -> Question | None:
    """Which of these had the thief made?"""
    made = {
        str(plant["id"] or plant["name"])
        for e in facts.events if e.kind == "outcome" for plant in e.body.get("plants", ())
        if "stolen" not in plant["kind"]
    }  # fmt: skip
    ours = {row.key.partition(":")[2] for row in facts.ledger.rows.values()}
    ours |= {str(r["name"]) for r in facts.triage["reach"]}
    ours = {name for name in ours if name and not any(one in name or name in one for one in made)}
    if not made:
        return None
    best = facts.chance.choice(sorted(made))
    said = f"{len(made)} things were made with the stolen credential" if len(made) > 1 else "One thing was made with it"
    return _made(
        facts, "planted", "planted", "Which of these was made with the stolen credential?", best,
        dict.fromkeys(sorted(ours), "It was there before the leak, which put it within reach."),
        f"{said}. Whoever gets in makes something of their own early on.",
    )  # fmt: skip


def _proof(facts: Facts) -> Question | None:
    """How is it known that the reported credential is dead?"""
    row = next(iter(facts.ledger.rows.values()), None)
    if row is None or row.state != RowState.CLOSED or row.grade is None:
        return None
    best = GRADES[row.grade.value]
    why = "That would have closed nothing here: a word is no proof."
    wrong = {words: why if name == "word" else "It is another grade of proof than this one had."
             for name, words in GRADES.items() if name != row.grade.value}  # fmt: skip
    wrong["the provider answered our request with OK"] = "That is a receipt. Nothing here counts it as a proof."
    key = row.key if len(row.key) < ASK // 2 else row.key[: ASK // 2] + "…"
    return _made(
        facts, "proof", "rotation-proof", f"How is it known that {key} is dead?", best, wrong,
        f"By this: {row.detail}"[:300] or "See the ledger.",
    )  # fmt: skip


def _exposure(facts: Facts) -> Question | None:
    """Who could see it?"""
    seen = str(facts.triage["exposure"])
    wrong = {text: "Triage has found something else." for name, text in WHO.items() if name != seen}
    wrong[NOBODY] = "It was seen: that is how this incident began."
    best = WHO[seen]
    since = facts.triage["exposed_from"]
    return _made(
        facts, "exposure", "windows", "Who could see the secret before it was cut?", best, wrong,
        f"{best}" + (f", since {since[:16].replace('T', ' ')} UTC." if since else ".")
        + " Whoever could see it may have copied it.",
    )  # fmt: skip


def _how_long(facts: Facts) -> Question | None:
    """How long did the first cut take?"""
    took = times(facts.events).first_cut
    if took is None or took < 0:
        return None
    wrong = {seconds(took * k + 1): "That is not what the timeline says." for k in (4, 20, 90)}
    if took > 8:
        wrong |= {seconds(took / 5): "It took longer than that."}
    return _made(
        facts, "how-long", "training", "How long did it take from the report to the first cut?", seconds(took), wrong,
        f"{seconds(took)}. Count until something is cut, whoever was told before.",
    )  # fmt: skip


# what all of them share ----------------------------------------------------------------------------------------------


def _made(
    facts: Facts, name: str, tag: str, ask: str, best: str, wrong: dict[str, str], coach: str
) -> Question | None:  # fmt: skip
    """The question, or None when there are not two wrong options that read otherwise than the best one."""
    shown = _clip(best)
    options, feedback = {"a": shown}, {}
    for key, (text, why) in zip("bcdefgh", _apart(shown, wrong), strict=False):
        if len(options) == MANY:
            break
        options[key], feedback[key] = _clip(text), why[:FEEDBACK]
    if len(options) < MANY - 1 or not shown:
        return None
    return Question(
        id=f"{facts.incident}/{name}", tag=tag, ask=ask, options=options, best="a", feedback=feedback, coach=coach,
        source=f"The timeline of {facts.incident}", incident=facts.incident,
    )  # fmt: skip


def _apart(best: str, wrong: dict[str, str]) -> Iterator[tuple[str, str]]:
    """The wrong options that nobody can take for the best one or for each other."""
    seen = {best.casefold()}
    for text, why in wrong.items():
        if (folded := _clip(text).casefold()) and folded not in seen:
            seen.add(folded)
            yield text, why


def _clip(text: str) -> str:
    said = " ".join(text.split())
    return said if len(said) <= OPTION else said[: OPTION - 1] + "…"


def _stamp(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S} UTC"

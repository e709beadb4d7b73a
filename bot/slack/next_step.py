"""What happens next in an incident without anybody doing anything, in one sentence. Pure, from the timeline."""

from __future__ import annotations

from bot.slack import kit
from bot.slack.picture import Picture
from bot.store import when

NOTHING = "nothing: it waits for people"


def next_step(picture: Picture) -> str:
    """The one thing that comes first."""
    if picture.over:
        return "nothing, it is over"
    if picture.triage is None:
        return "triage ends, and what can be cut without asking is cut"
    if picture.observes:
        return "nothing: this installation only observes; it says in the thread what it would have done"
    tries = (_under_way, _silence, _needs, _tail)
    return next((said for said in (one(picture) for one in tries) if said), NOTHING)


def _under_way(picture: Picture) -> str:
    """A step that runs, or whose effect is being proven."""
    ended = {e.step for e in picture.told if e.kind in ("failed", "proof", "skipped")}
    for step, outcome in picture.outcomes.items():
        if step not in ended:
            return f"{kit.escape(step)} is done and is being proven, until {kit.moment(when(outcome.body['prove_by']))}"
    waits = {ask.step for ask in picture.asks}
    denied = {step for (step, _), e in picture.settled.items() if not e.body["go"]}
    for step in picture.looks:
        if step not in ended and step not in picture.outcomes and step not in waits and step not in denied:
            return f"{kit.escape(step)} is under way"
    return ""


def _silence(picture: Picture) -> str:
    """What the clock does to a question that nobody answers."""
    coming = [ask for ask in picture.asks if ask.expires_at and when(ask.expires_at) > picture.now]
    acting = [ask for ask in coming if ask.on_silence in ("act", "escalate")]
    if not acting:
        return ""
    ask = min(acting, key=lambda one: one.expires_at)
    until, step = when(ask.expires_at), kit.escape(ask.step)
    at = f"{kit.moment(until)} ({kit.left(until, picture.now)} left)"
    if ask.on_silence == "act":
        return f"without an answer by {at}, {step} goes ahead"
    who = ", ".join(kit.escape(group) for group in ask.tells) or "more people"
    return f"without an answer to {step} by {at}, {who} are told"


def _needs(picture: Picture) -> str:
    """A step of the plan that waits for others only."""
    plan = picture.last("plan") or {"steps": []}
    begun = {e.step.partition("#")[0] for e in picture.told if e.kind in ("look", "skipped", "failed")}
    for step in plan["steps"]:
        if step["id"] not in begun:
            needs = ", ".join(kit.escape(name) for name in step["needs"])
            return f"{kit.escape(step['id'])}" + (f", after {needs}" if needs else "")
    return ""


def _tail(picture: Picture) -> str:
    """What dies by itself."""
    known = [tail.until for _, tail in picture.ledger.open_tails() if tail.until is not None]
    if not known:
        return "" if picture.asks or not picture.ledger.settled else "it closes"
    last = max(known)
    return f"what was stolen is dead by {kit.moment(last)} ({kit.left(last, picture.now)} left); then it closes"

"""Whom a question calls, when, and whom next when nobody answers. Pure: from the timeline, the clock and the settings.

Nothing is kept in memory: what is due follows from when a question was asked, what was sent already from its rows. So
a restart sends nothing twice and forgets nothing; of several calls that came due while nobody ran, only the latest
one is made.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from bot.engine.decisions import Ask, Review
from bot.quiet import Quiet
from bot.slack import kit, names
from bot.slack.picture import SERIOUS, Picture
from bot.store import when

SHARES = (1 / 3, 2 / 3, 1.0)  # of the time that a question has: the lead or backup, those on call, everybody
LADDER = tuple(timedelta(minutes=m) for m in (15, 60, 240, 720, 1440))  # of a question that has no deadline
DAILY = timedelta(days=1)
OWNER_LADDER = (timedelta(0), timedelta(minutes=10), timedelta(minutes=30))  # the owner, the next one, those on call


@dataclass(frozen=True, slots=True, kw_only=True)
class Called:
    """Who can be called. ``groups``: posture -> user groups; ``people``: a name elsewhere -> Slack user."""

    groups: Mapping[str, frozenset[str]] = field(default_factory=dict)
    people: Mapping[str, str] = field(default_factory=dict)
    oncall: frozenset[str] = frozenset()
    quiet: Quiet | None = None

    def user(self, name: str) -> str:
        """The Slack user of a name, or ""."""
        return names.user_of(name) or self.people.get(name.lower(), "")

    def mention(self, name: str) -> str:
        """A mention, or "" for somebody whom Slack does not know."""
        user = self.user(name)
        return f"<@{user}>" if user else ""

    def answering(self, posture: str) -> list[str]:
        """Mentions of the groups whose people may answer there."""
        return _groups(self.groups.get(posture) or self.groups.get("one") or frozenset())

    def on_call(self) -> list[str]:
        """Mentions of those on call, else of those who lead, else of those who answer."""
        return _groups(self.oncall or self.groups.get("lead") or self.groups.get("one") or frozenset())

    def asked(self, picture: Picture, ask: Ask) -> list[str]:
        """Whom a question calls at once: of a person's own step that person, else those who may answer."""
        who = str((picture.look_of(ask.step).get("before") or {}).get("who") or "")
        person = self.mention(who) if ask.purpose == "answer" else ""
        return [person] if person else self.answering(ask.group)


def _groups(ids: frozenset[str]) -> list[str]:
    return [f"<!subteam^{group}>" for group in sorted(ids)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reminder:
    """One call. ``rung`` counts from 1 and grows with the time that nobody has answered."""

    key: str
    rung: int
    text: str


def can_wait(picture: Picture, ask: Ask) -> bool:
    """Whether sleep is worth more: nothing happens to it by the clock, and the incident is not a bad one."""
    return ask.on_silence == "hold" and not ask.expires_at and picture.level not in SERIOUS


def reminders(picture: Picture, called: Called, sent: Mapping[str, int]) -> Iterator[Reminder]:
    """What is due now. ``sent``: the highest rung that was sent, by the prefix of its key (``remind/STEP/ATTEMPT``)."""
    for due in picture.reviews:  # those of an incident that is over too
        prefix = f"{picture.row.id}/review/{due.step}/{due.attempt}"
        rung = _review_rung(picture, due, called.quiet)
        if rung > sent.get(prefix, 0):
            yield Reminder(key=f"{prefix}/{rung}", rung=rung, text=_review_words(due, called, rung))
    for ask in () if picture.over else picture.asks:
        prefix = f"{picture.row.id}/remind/{ask.step}/{ask.attempt}"
        rung = _rung(picture, ask, called.quiet)
        if rung > sent.get(prefix, 0):
            yield Reminder(key=f"{prefix}/{rung}", rung=rung, text=_words(picture, ask, called, rung))


def _rung(picture: Picture, ask: Ask, quiet: Quiet | None) -> int:
    """The highest rung that is due; quiet hours put off those of what can wait."""
    asked_at = when(picture.asked[ask.step, ask.attempt].at)
    wait = can_wait(picture, ask)
    due = 0 if wait and quiet and quiet.until(picture.now) else _passed_on(picture, ask)
    for rung, at in enumerate(_times(asked_at, ask, picture.now), start=1):
        later = quiet.until(at) if quiet and wait else None
        if (later or at) <= picture.now:
            due = max(due, rung)
    return due


def _passed_on(picture: Picture, ask: Ask) -> int:
    """How many have said that it is not theirs to decide: each of them brings the next call forward."""
    return min(len({body["by"] for body in picture.bodies("not-me") if body["of"] == ask.step}), len(SHARES) - 1)


def _times(asked_at: datetime, ask: Ask, now: datetime) -> Iterator[datetime]:
    if ask.expires_at:
        whole = when(ask.expires_at) - asked_at
        yield from (asked_at + whole * share for share in SHARES)
        last = when(ask.expires_at)
    else:
        yield from (asked_at + after for after in LADDER)
        last = asked_at + LADDER[-1]
    while (last := last + DAILY) <= now:
        yield last


def _words(picture: Picture, ask: Ask, called: Called, rung: int) -> str:
    lead = picture.roles.get("lead", "")
    second = [str(owner["name"]) for owner in (picture.triage or {}).get("owners") or ()][1:2]
    backup = [one for one in map(called.mention, [lead, *second]) if one][:1]
    who = called.on_call() if rung > 1 else backup or called.asked(picture, ask)
    if rung > len(SHARES) - 1:
        who = list(dict.fromkeys([*who, *called.asked(picture, ask)]))
    waited = kit.left(picture.now, when(picture.asked[ask.step, ask.attempt].at))
    end = ""
    if ask.expires_at and when(ask.expires_at) > picture.now:
        end = f", {kit.left(when(ask.expires_at), picture.now)} left"
    text = kit.clip(kit.escape(ask.what), 600)
    return f":bell: {' '.join(who)} *{kit.escape(ask.step)}* has waited {waited} for an answer{end}: {text}".replace(
        "  ", " "
    )


def _review_rung(picture: Picture, due: Review, quiet: Quiet | None) -> int:
    """1 at once, so that everybody hears of it; then when the review is due, and each day after. Those can wait."""
    rung, at = 1, when(due.due)
    while at <= picture.now:
        if ((quiet.until(at) if quiet else None) or at) <= picture.now:
            rung += 1
        at += DAILY
    return 1 if quiet and quiet.until(picture.now) else rung


def _review_words(due: Review, called: Called, rung: int) -> str:
    who, step = " ".join(called.answering("two")), kit.escape(due.step)
    why = kit.clip(kit.escape(due.reason), 600)
    said = f"{names.display(due.by)} has decided on *{step}* alone, in place of two: {why}. Somebody else must review"
    late = f"it until {kit.moment(when(due.due))}" if rung == 1 else f"it, which was due {kit.moment(when(due.due))}"
    return f":rotating_light: {who} {said} {late}: the card has the button".replace("  ", " ")


# whose it is ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnerCall:
    """Ask somebody whether it was them. ``user`` is "" when those on call are told that nobody could be asked."""

    key: str
    user: str
    name: str


def owner_calls(picture: Picture, called: Called, sent: frozenset[str]) -> Iterator[OwnerCall]:
    """Whom to ask "was this you?" now: the likely owner, after a while the next one, at last those on call."""
    if picture.over or picture.triage is None or picture.last("owner-answer") is not None:
        return
    found = next(event for event in picture.told if event.kind == "triage")
    reporter = called.user(picture.requester)
    known = [(str(owner["name"]), called.user(str(owner["name"]))) for owner in picture.triage["owners"]]
    people = list({user: (name, user) for name, user in known if user and user != reporter}.values())
    chain = [*people[:2], *[("", "")] * (1 if people else 0)]
    for (name, user), after in zip(chain, (*OWNER_LADDER[: len(chain) - 1], OWNER_LADDER[-1]), strict=False):
        due = when(found.at) + after
        if called.quiet and picture.level not in SERIOUS:
            due = called.quiet.until(due) or due
        key = f"{picture.row.id}/owner/{user or 'nobody'}"
        if due <= picture.now and key not in sent:
            yield OwnerCall(key=key, user=user, name=name)

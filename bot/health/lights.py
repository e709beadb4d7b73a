"""How Bulkhead is, thing by thing, in words that a person reads on a phone: what is red says what to do about it.

Nothing here names a secret, a person who reported, or a credential. What a provider said is our own sentence.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from importlib.metadata import version

from bot.engine.announced import Note
from bot.engine.freeze import SETTING, Frozen
from bot.health.figures import Figures, age, figures
from bot.heartbeat import Process
from bot.intake import missed
from bot.intake.sources import CI, PARTNER, SNS, SQS, TITLES
from bot.posts import Posts
from bot.settings import Settings, listed
from bot.store import Store, iso
from bot.store_intake import counts, latest
from bot.story import seconds
from bot.world import REAL

GREEN, YELLOW, RED = "ok", "look", "bad"
PROVIDERS = {
    "aws": "AWS", "github": "GitHub", "npm": "npm", "pypi": "PyPI", "crates": "crates.io", "rubygems": "RubyGems.org",
    "dockerhub": "Docker Hub", "gcp": "Google Cloud",
}  # fmt: skip
# Beyond these something is wrong. docs/deploy/alerts.yml has the same numbers.
INBOX_S, SLACK_S, ASK_S, LATE_S, AHEAD_S = 60.0, 60.0, 900.0, 900.0, 5.0
LEFT, KEY_DAYS = 0.1, 365
START = "start `bulkhead worker` (or `bulkhead serve`) and read its log; nothing is lost meanwhile"


@dataclass(frozen=True, slots=True, kw_only=True)
class Light:
    """One thing: ``ok``, ``look`` (somebody should) or ``bad``; then ``do`` says what to do about it."""

    part: str
    name: str
    state: str
    says: str
    do: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """All lights of an installation, at a moment (ISO 8601 UTC)."""

    at: str
    version: str
    lights: tuple[Light, ...]

    @property
    def worst(self) -> str:
        """bad, look or ok."""
        states = {one.state for one in self.lights}
        return RED if RED in states else YELLOW if YELLOW in states else GREEN


def of(
    store: Store, settings: Settings, now: datetime, *, policy: str, frozen: Frozen | None, note: Note | None = None,
    unlike: str = "",
) -> Health:  # fmt: skip
    """Count and judge. ``policy``: the SHA-256 of the one that this process has read; ``note``: the newest on policy,
    ``unlike``: why it is not that of the note.

    Raises EngineError when the database does not answer.
    """
    known = figures(store, now)
    lights = [
        *_processes(known), *_work(store, known), *_doors(store, settings, known), *_providers(known),
        *_rules(settings, known, frozen), _policy(known, policy, note, unlike),
    ]  # fmt: skip
    return Health(at=iso(now), version=version("bulkhead"), lights=tuple(lights))


# processes ------------------------------------------------------------------------------------------------------------


def _processes(known: Figures) -> Iterator[Light]:
    clock_do = "start `bulkhead clock` (or `bulkhead serve`): nobody is reminded, and old secrets are not forgotten"
    for role, title, state, do in (
        ("worker", "Workers", RED, START), ("clock", "Clock", RED, clock_do),
        ("pages", "Pages", YELLOW, "start `bulkhead web` (or `bulkhead serve`): webhooks and Slack come in by it"),
    ):  # fmt: skip
        alive, lost = known.alive(role), known.lost(role)
        says = "; ".join(_process(one, known) for one in alive) or "none lives"
        if not alive:
            yield Light(part="Processes", name=title, state=state, says=says, do=do)
            continue
        gone = ", ".join(f"{one.name} was last heard of {ago(age(iso(one.at), known.now))}" for one in lost)
        if lost:
            does = "see why it ended; the others have taken over what it had under way"
            yield Light(part="Processes", name=title, state=YELLOW, says=f"{says}. Lost: {gone}", do=does)
        else:
            yield Light(part="Processes", name=title, state=GREEN, says=says)
    yield from _same(known)


def _process(one: Process, known: Figures) -> str:
    return f"{one.name}, began {ago(age(iso(one.since), known.now))}"


def _same(known: Figures) -> Iterator[Light]:
    """All that live should be of one version, one policy and one mode: the settings are each process's own."""
    alive = [one for role in ("worker", "clock", "pages") for one in known.alive(role)]
    for what, title in (("version", "versions"), ("policy", "policies"), ("mode", "modes")):
        seen = sorted({str(one.said.get(what, "not told"))[:12] for one in alive})
        if len(seen) > 1:
            does = "after an upgrade or a change of settings every process has to be started again"
            says = f"processes have different {title}: {', '.join(seen)}"
            yield Light(part="Processes", name=f"One of all {title}", state=YELLOW, says=says, do=does)


# work -----------------------------------------------------------------------------------------------------------------


def _work(store: Store, known: Figures) -> Iterator[Light]:
    real, drills = known.work[REAL], [work for world, work in known.work.items() if world != REAL]
    alive = sum(real.rows[state] for state in ("failed", "reopened"))
    yield _light("Work", "Credentials", bad=alive > 0, good="none whose cut has failed",
                 says=f"{alive} in open incidents not dead: the cut failed, or its proof was refuted",
                 do="`bulkhead incident list`, then `bulkhead incident show ID` says which and why")  # fmt: skip
    unproven = real.failed["not-proven"]
    yield _light("Work", "Proofs", bad=unproven > 0, good="none is missing",
                 says=f"{unproven} steps were done and could not be proven",
                 do="`bulkhead incident show ID`: approve to try again, or look at the provider by hand")  # fmt: skip
    asks = sum(real.asks.values())
    yield _light("Work", "Questions", bad=real.oldest_ask_s > ASK_S, look=asks > 0, good="nobody is asked",
                 says=f"{asks} wait for people, the oldest has waited for {seconds(real.oldest_ask_s)}",
                 do="`bulkhead incident list`, then `bulkhead incident show ID` has what decides")  # fmt: skip
    late = f"{real.late[1]} of {real.late[0]} has said nothing for {seconds(real.late_s)}"
    yield _light("Work", "Steps", bad=real.late_s > LATE_S, good="none is late", says=late,
                 do="`bulkhead incident show ID`; a worker that hangs is replaced by itself in seconds")  # fmt: skip
    pages = sum(number for (_, how), number in Posts(store).counts("page").items() if how == "failing")
    yield _light("Work", "Pages to on-call", bad=pages > 0, good="none has failed",
                 says=f"{pages} could not be sent, so nobody was woken; they are tried again",
                 do="wake them by another way; `bulkhead doctor`, and the log, say why")  # fmt: skip
    if drills:
        rows = sum(sum(work.rows.values()) for work in drills)
        yield Light(part="Work", name="Drills", state=GREEN, says=f"one runs, with {rows} credentials")


# doors ----------------------------------------------------------------------------------------------------------------


def _doors(store: Store, settings: Settings, known: Figures) -> Iterator[Light]:
    count, waited = counts(store), known.inbox_oldest_s
    yield _light("Doors", "Inbox", bad=waited > INBOX_S, look=waited > 0, good="nothing waits",
                 says=f"the oldest report has waited for {seconds(waited)}",
                 do=f"a worker takes it up within a second: {START}")  # fmt: skip
    yield _light("Doors", "Dead reports", bad=count["dead"] > 0, good="none",
                 says=f"{count['dead']} could not be worked, so what they reported was not cut",
                 do="`bulkhead inbox list --state dead` says why, `bulkhead inbox replay ID` tries again")  # fmt: skip
    yield _light("Doors", "Held reports", look=count["held"] > 0, good="none",
                 says=f"{count['held']} wait for a person's word",
                 do="`bulkhead inbox list --state held`, then `bulkhead inbox replay --open ID`")  # fmt: skip
    yield from _slack(settings, known)
    yield from _sources(store, settings, known)
    yield from _polls(store, known)


def _slack(settings: Settings, known: Figures) -> Iterator[Light]:
    if not settings.slack_bot_token.get_secret_value():
        yield Light(part="Doors", name="Slack", state=GREEN, says="not set up")
        return
    last = f"last delivery {ago(age(known.slack_last, known.now))}" if known.slack_last else "nothing in the last day"
    if known.slack_oldest_s > SLACK_S:
        says = f"what it delivered has waited for {seconds(known.slack_oldest_s)}"
        yield Light(part="Doors", name="Slack", state=RED, says=says, do="see the log of `bulkhead web` (or `serve`)")
    elif known.slack_dead:
        does = "see the log of `bulkhead web` (or `serve`); whoever sent them has had no answer"
        says = f"{known.slack_dead} deliveries of the last day were given up; {last}"
        yield Light(part="Doors", name="Slack", state=YELLOW, says=says, do=does)
    else:
        yield Light(part="Doors", name="Slack", state=GREEN, says=last)


def _sources(store: Store, settings: Settings, known: Figures) -> Iterator[Light]:
    """Every source that is open, and everything that has ever delivered."""
    came, given = latest(store), settings
    by_setting = {SNS: given.sns_topics, SQS: given.sqs_queue, CI: given.upload_audience, PARTNER: given.github_partner}
    open_ = {*given.hook_secrets, *(name for name, on in by_setting.items() if on)}
    for name in sorted({*open_, *came}):
        at, number = came.get(name, ("", 0))
        title = TITLES.get(name, name)
        if number:
            says = f"last delivery {ago(age(at, known.now))}, {number} in all"
            yield Light(part="Doors", name=title, state=GREEN, says=says)
        else:
            does = "send a test delivery from the sender's own page; docs/sources.md has the way of each"
            yield Light(part="Doors", name=title, state=YELLOW, says="open, and nothing has ever come", do=does)


def _polls(store: Store, known: Figures) -> Iterator[Light]:
    for name, state in sorted(missed.states(store).items()):
        last = f"asked {ago(age(state.succeeded, known.now))}" if state.succeeded else "never asked with success"
        late = state.late(known.now)
        yield _light("Doors", f"Missed by webhooks, {name}", bad=late, look=bool(state.why), good=last,
                     says=f"{last}: {state.why}", do="`bulkhead doctor` says what its identity lacks")  # fmt: skip


# providers, rules -----------------------------------------------------------------------------------------------------


def _providers(known: Figures) -> Iterator[Light]:
    for one in known.providers:
        title = PROVIDERS.get(one.name)
        if title is None:
            continue
        last = f"answered {ago(age(one.answered, known.now))}" if one.answered else "has not answered yet"
        if one.left is not None:
            last += f"; {one.left:.0%} of this hour's requests are left"
        if one.rest_s:
            last += f"; it has asked for a pause, {one.rest_s:.0f} s are left of it"
        failed = f"did not answer {ago(age(one.failed, known.now))}: {one.why}"
        thin = bool(one.rest_s) or (one.left is not None and one.left < LEFT)
        yield _light("Providers", title, bad=not one.answers, look=thin, good=last,
                     says=last if one.answers else failed,
                     do="it goes on by itself; see its status page, and who else uses the bot's identity"
                     if one.answers else "see its status page; what is urgent is tried again by itself")  # fmt: skip
    for name, by in sorted(known.ahead_s.items()):
        way = "ahead of" if by > 0 else "behind"
        title = {"database": "the database"}.get(name, PROVIDERS.get(name, name))
        yield _light("Providers", f"Clock beside {title}", bad=abs(by) > AHEAD_S, good="they agree",
                     says=f"this machine's is {abs(by):.0f} s {way} it", do="let NTP set it")  # fmt: skip


def _rules(settings: Settings, known: Figures, frozen: Frozen | None) -> Iterator[Light]:
    part = "Rules"
    if frozen is not None:
        does = f"`bulkhead freeze off --reason WHY`, or take {SETTING} out of the environment where it is set"
        says = f"on, by {frozen.by}: {frozen.reason}. Nothing that changes anything begins"
        yield Light(part=part, name="Kill switch", state=RED, says=says, do=does)
    else:
        own = [one.name for one in known.processes if one.said.get("frozen") and one.alive(known.now)]
        yield _light(part, "Kill switch", bad=bool(own), good="off", says=f"{SETTING} is set for {', '.join(own)}",
                     do=f"take {SETTING} out of the environment of that process and start it again")  # fmt: skip
    mode = {"observe": "observe: it says what it would do and changes nothing", "ask": "ask: before every change",
            "act": "act: the policy decides"}[settings.mode]  # fmt: skip
    yield _light(part, "Mode", look=settings.mode == "observe", good=mode, says=mode,
                 do="set BULKHEAD_MODE=ask when you trust it")  # fmt: skip
    people = len(settings.people) + len(listed(settings.slack_groups))
    yield _light(part, "Responders", bad=not people, good=f"{len(settings.people)} by name, "
                 f"{len(listed(settings.slack_groups))} groups of Slack", says="nobody may decide",
                 do="set BULKHEAD_RESPONDERS=NAME,NAME")  # fmt: skip
    old = known.vault_key_s > timedelta(days=KEY_DAYS).total_seconds()
    key = f"in use for {int(known.vault_key_s // 86_400)} days"
    yield _light(part, "Vault key", look=old, good=key, says=key, do="`bulkhead vault rotate`")


def _policy(known: Figures, policy: str, note: Note | None, unlike: str) -> Light:
    told = f", announced by {note.by} {ago(age(note.at, known.now))}" if note and not unlike else ""
    return _light("Rules", "Policy", bad=bool(note and note.wrong), look=bool(unlike), says=unlike,
                  good=f"SHA-256 {policy[:12]}…{told}",
                  do="`bulkhead policy notes`: whoever put it in force has to say so, or take it back")  # fmt: skip


def _light(
    part: str, name: str, *, bad: bool = False, look: bool = False, good: str, says: str = "", do: str = ""
) -> Light:  # fmt: skip
    """Red, yellow, or green with ``good`` to say."""
    if not (bad or look):
        return Light(part=part, name=name, state=GREEN, says=good)
    return Light(part=part, name=name, state=RED if bad else YELLOW, says=says, do=do)


def ago(since_s: float) -> str:
    """How long ago, in words."""
    return f"{seconds(since_s)} ago"


def parts(lights: Iterable[Light]) -> Mapping[str, list[Light]]:
    """The lights by part, in their order."""
    found: dict[str, list[Light]] = {}
    for one in lights:
        found.setdefault(one.part, []).append(one)
    return found

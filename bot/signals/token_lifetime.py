"""Signal 5, token lifetime: a credential of a job is used when or where its job is not.

- after its job ended, the error of two clocks allowed for (a call's time is AWS's, a job's is GitHub's);
- from outside the networks that runners are known to call from;
- at two places at once, more of them than jobs were running;
- a session that is older than every job that could use it.

A job that goes on, and jobs that are not known, give no finding: CloudTrail tells of a call minutes later, so the watch
looks at the last quarter of an hour again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta

from bot.signals.api_target import short
from bot.signals.baseline import Baseline
from bot.signals.facts import Access, Mint, Use, utc
from bot.signals.findings import Finding, Sure
from bot.signals.given import ALWAYS, Given
from bot.signals.networks import around, ip

SIGNAL = "token-lifetime"
WHERE = f"{SIGNAL}/where"  # counts the uses by which networks are learned
AT_ONCE = timedelta(minutes=5)


def judge(facts: Iterable[object], baseline: Baseline, given: Given) -> Iterator[Finding]:
    """Findings of these uses. Sessions that jobs got are kept in ``given``: call it again with what came later."""
    fine: dict[tuple[str, str], datetime] = {}  # (key, address) -> until when nothing was wrong with it
    rows = list(facts)
    for fact in rows:
        if isinstance(fact, Mint):
            given.remember(fact)
    for fact in rows:
        if isinstance(fact, Access):
            yield from _access(fact, baseline, given)
        if not isinstance(fact, Use) or not fact.who.accessKeyId:
            continue
        who, key = fact.who, fact.who.accessKeyId
        if fact.until <= fine.get((key, fact.address), _NEVER):
            continue
        if not given.judges(who) or not _is_place(fact.address):
            continue
        found = list(_when(fact, baseline, given)) + list(_where(fact, baseline, given))
        found += list(_at_once(fact, given))
        yield from found
        if not found:
            fine[key, fact.address] = fact.until
    times = [fact.at for fact in rows if isinstance(fact, Use | Mint)]
    if times:
        given.prune(min(times))


_NEVER = datetime.min.replace(tzinfo=ALWAYS.tzinfo)


def _is_place(address: str) -> bool:
    return ip(address) is not None


# when -----------------------------------------------------------------------------------------------------------------


def _when(fact: Use, baseline: Baseline, given: Given) -> Iterator[Finding]:
    home = given.home(fact.who.identity, fact.who.accessKeyId)
    if not home or fact.until < given.learn_until:
        return
    made = _made(fact, given)
    if made is None:
        yield from _outside_jobs(fact, home, baseline, given)
    elif given.jobs.cover(home, made):
        own = given.jobs.at(home, made, given.clocks)
        if own:
            ended = max(end for _, end in own)
            if ended != ALWAYS and fact.until > ended + given.clocks:
                late = fact.until - ended
                yield _finding(
                    fact, "after-job", fact.who.accessKeyId, Sure.CERTAIN, home,
                    f"was used {_span(late)} after its job had ended", (
                        f"the last job of {home} that ran when it was made ended {ended:%Y-%m-%d %H:%M:%S} UTC",
                        f"{_span(given.clocks)} are allowed for clocks", "no job that was under way then goes on",
                    ),
                )  # fmt: skip
        else:
            yield from _no_job(fact, home, made, given)


def _made(fact: Use, given: Given) -> datetime | None:
    """When the session was made; None for a long-lived key."""
    minted = given.sessions.get(fact.who.accessKeyId)
    if minted is not None:
        return minted.at
    return utc(fact.who.session_from) if fact.who.session_from else None


def _no_job(fact: Use, home: str, made: datetime, given: Given) -> Iterator[Finding]:
    """Its session was made while no job ran."""
    running = given.jobs.at(home, fact.until, given.clocks)
    ruled = (f"no job of {home} ran at {made:%Y-%m-%d %H:%M:%S} UTC", f"{_span(given.clocks)} are allowed for clocks")
    if running:
        start = min(start for start, _ in running)
        text = f"is {_span(start - made)} older than the job that could use it"
        yield _finding(fact, "older-than-job", fact.who.accessKeyId, Sure.LIKELY, home, text, ruled)
    else:
        yield _finding(
            fact, "minted-outside-jobs", fact.who.accessKeyId, Sure.CERTAIN, home, "was made while no job ran", ruled
        )


def _outside_jobs(fact: Use, home: str, baseline: Baseline, given: Given) -> Iterator[Finding]:
    """A long-lived key that is used while no job runs: surer the longer it was used in jobs alone."""
    if not given.jobs.cover(home, fact.at):
        return
    subject = fact.who.identity
    if all(given.jobs.at(home, moment, given.clocks) for moment in (fact.at, fact.until)):
        baseline.saw(SIGNAL, subject, "used", "in-jobs", fact.until)
        baseline.observe(SIGNAL, subject, fact.until, fact.event)
        return
    if baseline.knows(SIGNAL, subject, "used", "outside-jobs", fact.at):
        return
    sure = Sure.CERTAIN if baseline.ready(SIGNAL, subject) else Sure.LIKELY
    before = f"{baseline.observed(SIGNAL, subject)} uses before this one were all inside jobs"
    day = f"{fact.who.accessKeyId} {fact.until:%Y-%m-%d}"
    yield _finding(
        fact, "outside-jobs", day, sure, home, f"was used at {fact.until:%Y-%m-%d %H:%M:%S} UTC while no job ran",
        (before, "nobody has declared uses outside jobs", f"{_span(given.clocks)} are allowed for clocks"),
    )  # fmt: skip


# where ----------------------------------------------------------------------------------------------------------------


def _where(fact: Use, baseline: Baseline, given: Given) -> Iterator[Finding]:
    """Only where it is known where runners are: by GitHub's ranges, by declaration, or from what was learned."""
    subject, place = fact.who.identity, around(fact.address)
    if not (given.networks.known or baseline.ready(WHERE, subject)):
        baseline.observe(WHERE, subject, fact.until, fact.event)
    if given.networks.hold(fact.address) or baseline.knows(SIGNAL, subject, "network", place, fact.at):
        baseline.saw(SIGNAL, subject, "network", place, fact.until)
        return
    if fact.at < given.learn_until or not (given.networks.known or baseline.ready(WHERE, subject)):
        baseline.saw(SIGNAL, subject, "network", place, fact.until)
        return
    home = given.home(subject, fact.who.accessKeyId)
    ran = bool(home) and bool(given.jobs.at(home, fact.at, given.clocks))
    sure = Sure.POSSIBLE if ran and not given.networks.known else Sure.LIKELY
    if home and not ran and given.jobs.cover(home, fact.at):
        sure = Sure.CERTAIN
    known = baseline.values(SIGNAL, subject, "network", fact.at)
    ruled = [f"not in {len(known)} networks that it was used from", "nobody has declared the network"]
    ruled += ["not in GitHub's published ranges nor in declared ones"] if given.networks.known else []
    ruled += ["no job ran then, so no runner has changed its address"] if sure is Sure.CERTAIN else []
    yield _finding(fact, "unknown-network", place, sure, home, f"was used from {fact.address}", tuple(ruled))


def _at_once(fact: Use, given: Given) -> Iterator[Finding]:
    """Places within minutes of one another, more than jobs that could use it: one job runs on one machine."""
    key, place = fact.who.accessKeyId, fact.address
    others = given.beside(key, place, fact.at, fact.until, AT_ONCE)
    if not others or fact.until < given.learn_until:
        return
    if all(given.own.hold(each) for each in (place, *others)):
        return  # one machine of ours behind several addresses
    home, jobs = given.home(fact.who.identity, key), 1
    if not key.startswith("ASIA"):
        if not home:
            return
        jobs = len(given.jobs.at(home, fact.until, AT_ONCE))
    places = sorted({around(each) for each in (place, *others)})
    if len(places) <= jobs:
        return
    where = " ".join(places)
    ruled = [f"{jobs or 'no'} job{'s' if jobs != 1 else ''} could use it then", "they are not declared as ours"]
    outside = given.networks.known and not all(given.networks.hold(each) for each in (place, *others))
    sure = Sure.CERTAIN if outside else Sure.LIKELY
    text = f"was used at {len(places)} places at once: {where}"
    yield _finding(fact, "two-places", f"{key} {where}", sure, home, text, tuple(ruled))


# GitHub's own tokens --------------------------------------------------------------------------------------------------


def _access(fact: Access, baseline: Baseline, given: Given) -> Iterator[Finding]:
    """A machine's token at GitHub that is used from elsewhere than it ever was."""
    place = around(fact.address)
    machine = fact.actor.endswith("[bot]") or "GITHUB_TOKEN" in fact.program or "app" in fact.program.lower()
    if not place or not machine:
        return
    known = given.networks.hold(fact.address) or baseline.knows(SIGNAL, fact.actor, "network", place, fact.at)
    if known or fact.at < given.learn_until or not baseline.ready(WHERE, fact.actor):
        baseline.saw(SIGNAL, fact.actor, "network", place, fact.at)
        baseline.observe(WHERE, fact.actor, fact.at, f"{fact.at.isoformat()} {fact.action} {fact.address}")
    else:
        yield Finding(
            signal=SIGNAL, subject=fact.actor, what="unknown-network", value=place, at=fact.at, sure=Sure.LIKELY,
            says=f"a token of {fact.actor} was used from {fact.address} for {fact.action}",
            evidence=(str(fact.origin),),
            ruled_out=("not a network that it was used from", "not in the known ranges of runners"),
            repository=fact.repository,
        )  # fmt: skip


def _finding(
    fact: Use, what: str, value: str, sure: Sure, home: str, text: str, ruled_out: tuple[str, ...]
) -> Finding:  # fmt: skip
    key = fact.who.accessKeyId
    return Finding(
        signal=SIGNAL, subject=fact.who.identity, what=what, value=value, at=fact.until, sure=sure,
        says=f"{key} of {short(fact.who.identity)} {text}",
        evidence=(f"{fact.origin} event {fact.event}: {fact.service}:{fact.action} from {fact.address}",),
        ruled_out=ruled_out, repository=home, credential=f"aws-access-key:{key}" if key.startswith("AKIA") else "",
    )  # fmt: skip


def _span(span: timedelta) -> str:
    seconds = int(span.total_seconds())
    if seconds < 120:
        return f"{seconds} s"
    return f"{seconds // 60} min" if seconds < 7200 else f"{seconds // 3600} h {seconds // 60 % 60} min"

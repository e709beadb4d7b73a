"""Judge an incident's window by the five signals: was the credential used, where, and what was made with it?

From the first exposure to now, against the thirty days before. An incident is a reason to look closer: three sessions
before the exposure are enough to know what is usual, and how many there were is said.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from bot import signals
from bot.action import Action
from bot.actions.signal_facts import (
    Collected,
    known_secret,
    of_github,
    of_logs,
    of_npm,
    window_start,
)
from bot.actions.signal_registries import of_attestations, of_codeartifact, of_ecr, of_ghcr, of_registries
from bot.actions.signal_trail import of_aws
from bot.errors import InputError, ProviderError
from bot.model import Before, Credential, Effect, Grade, Outcome, PackageVersion, Proof
from bot.registries import REGISTRY_OF
from bot.signals.baseline import Baseline
from bot.signals.build_logs import Shapes
from bot.signals.findings import Finding, Sure, once
from bot.signals.given import Given, Jobs
from bot.signals.networks import Networks, of_meta
from bot.world import World

ENOUGH = 3  # sessions or runs before the window


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeIn:
    """Whose use is judged. ``user`` is the IAM user of an AWS key; ``since`` ISO 8601, the first moment of exposure."""

    credential: Credential
    repository: str
    since: str = ""
    user: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeBefore(Before):
    """The window's first moment."""

    since: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sign:
    """A finding as the timeline keeps it."""

    name: str
    signal: str
    what: str
    sure: str
    at: str
    says: str
    evidence: tuple[str, ...] = ()
    ruled_out: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeOutcome(Outcome):
    """What was found, and the ``versions`` of npm that should not be there."""

    findings: tuple[Sign, ...] = ()
    versions: tuple[PackageVersion, ...] = ()
    unknown: tuple[str, ...] = ()
    read: str = ""


def _look(world: World, given: JudgeIn) -> JudgeBefore:
    since = window_start(world, given.since)
    return JudgeBefore(since=since.isoformat(), summary=f"What was done since {since:%Y-%m-%d %H:%M} UTC")


def _judge(world: World, given: JudgeIn, before: JudgeBefore) -> JudgeOutcome:
    return _told(world, *_signs(world, given, before))


def _signs(world: World, given: JudgeIn, before: JudgeBefore) -> tuple[list[Finding], Collected]:
    """Collect and judge."""
    since, found = window_start(world, before.since), Collected()
    if given.repository:
        of_github(world, given.repository, since, found)
        of_logs(world, since, found)
        _packages(world, given, since, found)
    if given.user:
        of_aws(world, given.user, since, found)
    found.verify(world.trust_root)
    beside = Given(
        now=world.now(), learn_until=since, jobs=Jobs(found.facts), networks=networks(world, found),
        homes=dict.fromkeys(identities(found, given.user), given.repository) if given.repository else {},
        identities=frozenset(identities(found, given.user)),
    )  # fmt: skip
    baseline = Baseline(learning=ENOUGH)
    known = known_secret(world, given.credential.key)
    shapes = Shapes(world.secrets.fingerprint)  # under one key, or the second judgement would find all of it anew
    signs = once(
        list(signals.run(found.facts, [found.calls], found.texts, baseline, beside, known=known, recognizer=shapes))
    )
    return [one for one in signs if one.at >= since], found


def _packages(world: World, given: JudgeIn, since: datetime, found: Collected) -> None:
    """What the credential may have published: at its own registry, as images where it is GitHub's, both where AWS's."""
    credential = given.credential
    if credential.provider == "npm":
        of_npm(world, given.repository, credential.account, found)
    elif registry := REGISTRY_OF.get(credential.kind, ""):
        of_registries(world, given.repository, found, registry, world.secrets.of(credential.key))
    elif credential.provider == "github":
        of_ghcr(world, given.repository, found)
    elif given.user:
        of_ecr(world, given.repository, found)
        of_codeartifact(world, given.repository, found)
    of_attestations(world, given.repository, since, found)


def identities(found: Collected, user: str) -> set[str]:
    """The ARN by which CloudTrail names the user; its sessions too."""
    names = {fact.who.identity for fact in found.calls if hasattr(fact, "who")}
    return {name for name in names if user and name.endswith(f":user/{user}")}


def networks(world: World, found: Collected) -> Networks:
    """GitHub's own ranges of runners. Without them nothing is said of addresses but by what was learned."""
    try:
        return Networks.of(of_meta(world.github.get("/meta")))
    except (ProviderError, InputError) as exc:
        found.unknown.append(f"GitHub's ranges of runners could not be read: {exc}")
    return Networks()


def _told(world: World, signs: list[Finding], found: Collected) -> JudgeOutcome:
    bad = [one for one in signs if one.sure.rank >= Sure.LIKELY.rank]
    versions = dict.fromkeys(
        PackageVersion(package=name, version=version)
        for one in bad for registry, name, version in one.versions if registry == "npm"
    )  # fmt: skip
    by_signal = {signal: sum(one.signal == signal for one in bad) for signal in dict.fromkeys(o.signal for o in bad)}
    counted = ", ".join(f"{name} {count}" for name, count in by_signal.items())
    read = f"{len(found.facts)} records, {len(found.calls)} kinds of calls and {len(found.texts)} logs"
    said = f"Signs of misuse: {counted}" if bad else "No sign of misuse"
    return JudgeOutcome(
        changed=False, summary=f"{said}; {read} were read", read=read, versions=tuple(versions),
        unknown=tuple(world.scrub(text) for text in dict.fromkeys(found.unknown)),
        findings=tuple(
            Sign(name=one.name, signal=one.signal, what=one.what, sure=one.sure.value, at=one.at.isoformat(),
                 says=world.scrub(one.says), evidence=tuple(world.scrub(each) for each in one.evidence),
                 ruled_out=one.ruled_out)
            for one in signs
        ),
    )  # fmt: skip


def _prove(world: World, given: JudgeIn, before: JudgeBefore, outcome: JudgeOutcome) -> Proof:
    """Judge again: what came in meanwhile, or was told late, must not be missed."""
    again = _judge(world, given, before)
    known = {one.name for one in outcome.findings}
    if new := [one.says for one in again.findings if one.name not in known and one.sure != Sure.POSSIBLE]:
        return Proof.refuted(f"since then: {'; '.join(new)}")
    return Proof.proven(Grade.STATE, f"judged again over {again.read}: nothing new")


judge = Action(
    name="signals.judge", title="Find signs of misuse in the window", inputs=JudgeIn, before=JudgeBefore,
    outcome=JudgeOutcome, effect=Effect.READ, look=_look, run=_judge, prove=_prove,
    permissions=(
        "actions:read", "contents:read", "deployments:read", "attestations:read", "cloudtrail:LookupEvents",
        "ecr:DescribeRepositories", "ecr:DescribeImages", "codeartifact:ListRepositories", "codeartifact:ListPackages",
        "codeartifact:ListPackageVersions", "codeartifact:DescribePackageVersion",
        "`s3:ListBucket` and `s3:GetObject` of `BULKHEAD_TRAIL`, where that is set",
        "a classic token with `read:packages` for images at ghcr.io",
    ),
)  # fmt: skip

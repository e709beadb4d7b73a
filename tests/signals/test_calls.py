"""Signals 3 and 5 over calls of AWS."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import msgspec
import pytest

from bot.signals import api_target, token_lifetime
from bot.signals.baseline import Baseline, Entry
from bot.signals.facts import Access, AnyFact, Mint, Run, Use, Who
from bot.signals.findings import Finding, Sure
from bot.signals.given import Given, Jobs
from bot.signals.networks import Networks, networks_of
from tests.signals.histories import DEPLOY, HOSTED, REPO, ROLE, START, USUAL, O, job, run, session, use

LATER = START + timedelta(days=20)
USER = "arn:aws:iam::123456789012:user/ferry-ci"
KEY = "AK" + "IAMADEUPKEY7EXAMPL"


def week() -> tuple[list[AnyFact], list[Mint], list[AnyFact]]:
    """(jobs, sessions, calls) of forty deploys."""
    chance = Random(4)
    runs = [run(k, START + timedelta(hours=3 * k), DEPLOY) for k in range(1, 41)]
    mints = [session(one, chance) for one in runs]
    calls = [fact for mint in mints for fact in (mint, *(use(mint, call) for call in USUAL))]
    return [f for one in runs for f in (one, job(one))], mints, calls


def given(facts: list[AnyFact], networks: Networks = HOSTED, **kw: Any) -> Given:
    return Given(now=datetime(2026, 12, 1, tzinfo=UTC), networks=networks, jobs=Jobs(facts), **kw)


def deploy(number: int = 99) -> tuple[Run, Mint]:
    one = run(number, LATER, DEPLOY)
    return one, session(one, Random(number))


# api target -----------------------------------------------------------------------------------------------------------


def targets(*odd: Use, declared: Entry | None = None) -> list[Finding]:
    facts, _, calls = week()
    one, mint = deploy()
    baseline, beside = Baseline(), given([*facts, one, job(one)])
    assert list(api_target.judge(calls, baseline, beside)) == []
    if declared:
        baseline.put(declared)
    return list(api_target.judge([mint, use(mint, USUAL[0]), *odd], baseline, beside))


MINT = deploy()[1]


@pytest.mark.parametrize(("odd", "what", "sure"), [
    (use(MINT, "secretsmanager:ListSecrets"), "new-service", Sure.LIKELY),
    (use(MINT, "s3:PutBucketPolicy"), "new-action", Sure.LIKELY),
    (use(MINT, "s3:GetBucketAcl"), "new-action", Sure.POSSIBLE),
    (use(MINT, USUAL[0], region="ap-southeast-3"), "new-region", Sure.LIKELY),
    (use(MINT, USUAL[0], account="999999999999"), "new-account", Sure.LIKELY),
])  # fmt: skip
def test_a_first_use_is_news_and_says_what_is_usual(odd: Use, what: str, sure: Sure) -> None:
    (found,) = targets(odd)
    assert (found.what, found.sure, found.subject) == (what, sure, ROLE)
    assert "usual" in found.ruled_out[0]


def test_a_refused_first_use_is_news_too() -> None:
    (found,) = targets(msgspec.structs.replace(use(MINT, "iam:CreateUser"), refused="AccessDenied"))[:1]
    assert "AccessDenied" in found.says


def test_a_new_region_by_an_approved_change_is_silent_until_its_end() -> None:
    odd = use(MINT, USUAL[0], region="eu-north-1")
    entry = Entry(signal="api-target", subject="*role/ferry-*", feature="region", value="eu-north-1", first=START,
                  last=START, how="declared", by="alice", until=LATER + timedelta(days=1))  # fmt: skip
    assert targets(odd, declared=entry) == []
    assert [f.what for f in targets(odd, declared=replace(entry, until=LATER))] == ["new-region"]


def test_people_are_not_judged_by_what_pipelines_do() -> None:
    who = Who(type="IAMUser", arn=USER.replace("ferry-ci", "alice"), identity="alice", accessKeyId="AK" + "IAALICE")
    human = msgspec.structs.replace(use(MINT, "organizations:LeaveOrganization"), who=who)
    assert targets(human) == []


# token lifetime -------------------------------------------------------------------------------------------------------


def lifetime(*odd: AnyFact, networks: Networks = HOSTED, more: list[AnyFact] | None = None, **kw: Any) -> list[Finding]:
    facts, _, calls = week()
    one, _mint = deploy()
    baseline = Baseline()
    beside = given([*facts, one, job(one), *(more or [])], networks, **kw)
    assert list(token_lifetime.judge(calls, baseline, beside)) == []
    return list(token_lifetime.judge([MINT, *odd], baseline, beside))


@pytest.mark.parametrize(("after", "found"), [(290.0, 0), (360.0, 0), (500.0, 1), (90_000.0, 1)])
def test_used_after_the_job_ended_with_the_clocks_allowed_for(after: float, found: int) -> None:
    late = lifetime(use(MINT, USUAL[0], after=after))
    assert [(f.what, f.sure) for f in late] == [("after-job", Sure.CERTAIN)] * found


def test_a_job_that_goes_on_gives_no_finding() -> None:
    going = job(run(98, LATER - timedelta(minutes=1), DEPLOY, minutes=900))
    assert lifetime(use(MINT, USUAL[0], after=9000), more=[replace(going, until=None)]) == []


def test_from_outside_the_known_networks() -> None:
    (found,) = lifetime(use(MINT, USUAL[0], address="203.0.113.9"))
    assert (found.what, found.sure) == ("unknown-network", Sure.LIKELY)


def test_a_runner_that_has_changed_its_address_is_silent() -> None:
    address = MINT.address.rsplit(".", 2)[0] + ".250.250"  # another one in GitHub's published ranges
    assert lifetime(use(MINT, USUAL[0], address=address)) == []
    own = Networks.of(networks_of(["203.0.113.0/24"]))
    both = Networks.of(networks_of(["203.0.113.0/24", "20.0.0.0/12"]))
    assert lifetime(use(MINT, USUAL[0], address="203.0.113.9"), networks=both, own=own) == []


def test_a_service_of_aws_that_calls_for_us_is_no_place() -> None:
    assert lifetime(use(MINT, USUAL[0], address="cloudformation.amazonaws.com")) == []


def test_two_places_at_once() -> None:
    here, there = use(MINT, USUAL[0]), use(MINT, USUAL[0], after=60, address="203.0.113.9")
    assert "two-places" in [f.what for f in lifetime(here, there)]
    ours = [f"{MINT.address}/32", "198.51.100.0/24"]
    networks, own = Networks.of(networks_of([*ours, "20.0.0.0/12"])), Networks.of(networks_of(ours))
    pool = use(MINT, USUAL[0], after=60, address="198.51.100.7")
    assert lifetime(here, pool, networks=networks, own=own) == [], "one machine of ours behind two addresses"


def test_a_session_that_was_made_while_no_job_ran() -> None:
    stray = msgspec.structs.replace(MINT, at=LATER - timedelta(hours=1), session="ASIASTRAY")
    (found,) = lifetime(stray, use(stray, USUAL[0], after=60))
    assert (found.what, found.sure) == ("minted-outside-jobs", Sure.CERTAIN)


def test_a_session_older_than_its_job() -> None:
    stray = msgspec.structs.replace(MINT, at=LATER - timedelta(minutes=20), session="ASIASTRAY")
    (found,) = lifetime(stray, use(stray, USUAL[0], after=1260))
    assert (found.what, found.sure) == ("older-than-job", Sure.LIKELY)


def static(at: datetime, call: str = USUAL[0], address: str = "20.1.1.1") -> Use:
    who = Who(type="IAMUser", arn=USER, identity=USER, accessKeyId=KEY, userName="ferry-ci")
    return msgspec.structs.replace(use(MINT, call, address=address), who=who, at=at, until=at)


def test_a_long_lived_key_used_while_no_job_runs() -> None:
    facts, _, _ = week()
    beside, baseline = given(facts, homes={USER: REPO}), Baseline()
    inside = [static(f.at + timedelta(minutes=1)) for f in facts if isinstance(f, Run)]
    assert list(token_lifetime.judge(inside, baseline, beside)) == []
    (found,) = token_lifetime.judge([static(LATER)], baseline, beside)
    assert (found.what, found.sure, found.credential) == ("outside-jobs", Sure.CERTAIN, f"aws-access-key:{KEY}")


def test_where_it_is_not_known_which_jobs_ran_nothing_is_said() -> None:
    assert list(token_lifetime.judge([static(LATER)], Baseline(), given([], homes={USER: REPO}))) == []
    facts, _, _ = week()
    beside = Given(now=LATER, jobs=Jobs(facts, until=LATER - timedelta(days=5)), homes={USER: REPO})
    assert list(token_lifetime.judge([static(LATER)], Baseline(), beside)) == []


def test_a_machines_token_at_github_from_elsewhere() -> None:
    usual = [Access(at=START + timedelta(hours=k), origin=O, actor="ferry[bot]", action="git.clone",
                    address="198.51.100.7") for k in range(40)]  # fmt: skip
    baseline, beside = Baseline(), given([], Networks())
    assert list(token_lifetime.judge(usual, baseline, beside)) == []
    odd = Access(at=LATER, origin=O, actor="ferry[bot]", action="git.clone", address="203.0.113.5")
    assert [f.what for f in token_lifetime.judge([odd], baseline, beside)] == ["unknown-network"]


def test_sessions_that_are_over_are_forgotten() -> None:
    beside = given([])
    old = [msgspec.structs.replace(MINT, at=START + timedelta(hours=k), session=f"ASIA{k:016}") for k in range(500)]
    for mint in old:
        list(token_lifetime.judge([mint], Baseline(), beside))
    assert len(beside.sessions) <= 38

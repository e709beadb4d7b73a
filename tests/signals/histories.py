"""Made-up histories of a pipeline, with benign changes all along and plants at known places. Seeded, so they repeat."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random

from bot.signals.facts import AnyFact, Job, Mint, Origin, Push, Release, Run, Tag, Use, Version, Who
from bot.signals.networks import Networks, networks_of

REPO, PACKAGE = "harbor-lights/ferry", "@harbor-lights/ferry"
CI, DEPLOY, RELEASE = (f".github/workflows/{name}.yml" for name in ("ci", "deploy", "release"))
START = datetime(2026, 3, 2, 8, tzinfo=UTC)
ROLE = "arn:aws:iam::123456789012:role/ferry-deploy"
PROVIDER = "arn:aws:iam::123456789012:oidc-provider/token.actions.githubusercontent.com"
HOSTED = Networks.of(networks_of(["20.0.0.0/12", "52.160.0.0/12"]))
PEOPLE = ("mara", "jonas", "ines", "tom")
USUAL = ("sts:GetCallerIdentity", "s3:ListBuckets", "cloudfront:CreateInvalidation", "ecr:GetAuthorizationToken")
SELDOM = ("s3:GetBucketLocation", "cloudfront:GetDistribution", "ecr:DescribeImages")
O = Origin("history", "made up")


@dataclass
class History:
    """Facts, and the words (signal, what) of each plant with the time at which it happens."""

    facts: list[AnyFact] = field(default_factory=list)
    calls: list[AnyFact] = field(default_factory=list)
    plants: dict[tuple[str, str], datetime] = field(default_factory=dict)
    runs: int = 0


def run(
    number: int,
    at: datetime,
    workflow: str,
    *,
    event: str = "push",
    branch: str = "main",
    actor: str = "mara",
    again: str = "",
    head: str = REPO,
    minutes: int = 6,
    conclusion: str = "success",
    attempt: int = 1,
) -> Run:
    """A run that is over."""
    return Run(
        at=at, origin=O, repository=REPO, id=number, attempt=attempt, workflow=workflow, event=event, branch=branch,
        sha=f"{number:040x}", head_repository=head, actor=actor, triggering_actor=again or actor, status="completed",
        conclusion=conclusion, until=at + timedelta(minutes=minutes),
    )  # fmt: skip


def job(of: Run) -> Job:
    """Its one job."""
    return Job(at=of.at + timedelta(seconds=8), origin=O, repository=REPO, run=of.id, attempt=of.attempt, id=of.id * 10,
               name="job", until=of.until - timedelta(seconds=4), workflow=of.workflow)  # fmt: skip


def session(of: Run, chance: Random, *, late: timedelta = timedelta()) -> Mint:
    """The session that a deploy's job gets."""
    return Mint(at=of.at + timedelta(seconds=30) + late, origin=O, subject=f"repo:{REPO}:ref:refs/heads/main",
                session=f"ASIA{of.id:016d}", role=ROLE, provider=PROVIDER,
                address=f"20.{chance.randrange(16)}.{chance.randrange(256)}.{chance.randrange(1, 255)}")  # fmt: skip


def use(
    of: Mint,
    call: str,
    *,
    after: float = 30,
    address: str = "",
    region: str = "eu-central-1",
    account: str = "123456789012",
) -> Use:
    """A call with a session."""
    at = of.at + timedelta(seconds=after)
    service, _, action = call.partition(":")
    who = Who(type="AssumedRole", accessKeyId=of.session, arn=f"{ROLE}/GitHubActions", identity=ROLE)
    return Use(at=at, until=at, origin=O, who=who, service=service, action=action, region=region, account=account,
               address=address or of.address, event=f"e-{of.session}-{call}")  # fmt: skip


def version(
    name: str,
    at: datetime,
    *,
    means: str = "trusted",
    provenance: str = "yes",
    number: int = 0,
    uploader: str = "GitHub Actions",
    ref: str = "",
) -> Version:
    """A version of the package."""
    place = {"built_by": REPO, "workflow": RELEASE, "built_from": ref or f"refs/tags/v{name}"}
    built = place if provenance == "yes" else {}
    return Version(at=at, origin=O, registry="npm", package=PACKAGE, name=name, means=means, provenance=provenance,
                   uploader=uploader, run=number, **built)  # fmt: skip


def make(seed: int, count: int = 400) -> History:
    """A history of so many runs. The first plant comes after 150, one of each kind, in an order of chance."""
    chance, found = Random(seed), History()
    at, minor, people = START, 0, list(PEOPLE[:2])
    places = sorted(chance.sample(range(150, count), len(PLANTS)))
    plants = dict(zip(places, chance.sample(list(PLANTS), len(PLANTS)), strict=True))
    for number in range(1, count + 1):
        at += timedelta(minutes=chance.randint(25, 300))
        people = list(PEOPLE[: 2 + (number > 60) + (number > 140)])  # two join later, by pushing first
        actor, kind = chance.choice(people), chance.random()
        if number in plants:
            PLANTS[plants[number]](found, number, at, chance, minor)
            continue
        if kind < 0.45:  # checks of branches and of outsiders' pull requests
            outside = chance.random() < 0.4
            who = f"guest-{chance.randrange(40)}" if outside else actor
            head = f"{who}/ferry" if outside else REPO
            one = run(number, at, CI, event="pull_request" if outside else "push", actor=who, head=head,
                      branch=f"feature-{chance.choice('abcdefgh')}-{number}")  # fmt: skip
            found.facts += [one, job(one)]
            if not outside:
                found.facts.append(Push(at=at, origin=O, repository=REPO, ref=f"refs/heads/{one.branch}", before="",
                                        after=one.sha, kind="push", actor=who))  # fmt: skip
        elif kind < 0.85:
            _deploy(found, number, at, chance, actor, people)
        else:
            minor += 1
            _release(found, number, at, actor, f"1.{minor}.0", by_hand=chance.random() < 0.15)
        found.runs += 1
    return found


def _deploy(found: History, number: int, at: datetime, chance: Random, actor: str, people: list[str]) -> None:
    """By a merge, sometimes by hand, sometimes run again by another maintainer; it calls the same few things of AWS."""
    found.facts.append(Push(at=at, origin=O, repository=REPO, ref="refs/heads/main", before="", after=f"{number:040x}",
                            kind="pr_merge", actor=actor))  # fmt: skip
    again = chance.random() < 0.1
    event = "workflow_dispatch" if chance.random() < 0.08 else "push"
    one = run(number, at, DEPLOY, event=event, actor=actor, attempt=2 if again else 1,
              again=chance.choice(people) if again else "")  # fmt: skip
    got = session(one, chance)
    calls = [*USUAL, *(c for c in SELDOM if chance.random() < 0.05)]
    found.facts += [one, job(one)]
    found.calls += [got, *(use(got, call, after=10 + 40 * k) for k, call in enumerate(calls))]


def _release(found: History, number: int, at: datetime, actor: str, name: str, *, by_hand: bool) -> None:
    """By a tag; by hand now and then, with a tag and no run of ours, yet with the same identity."""
    tag = Push(at=at, origin=O, repository=REPO, ref=f"refs/tags/v{name}", before="0" * 40, after=f"{number:040x}",
               kind="branch_creation", actor=actor)  # fmt: skip
    found.facts += [tag, Tag(at=at, origin=O, repository=REPO, name=f"v{name}", sha=tag.after)]
    if by_hand:
        found.facts += [Release(at=at, origin=O, repository=REPO, tag=f"v{name}", author=actor),
                        version(name, at + timedelta(minutes=2))]  # fmt: skip
        return
    one = run(number, at, RELEASE, branch=f"v{name}", actor=actor)
    found.facts += [one, job(one), version(name, at + timedelta(minutes=4), number=number)]


# plants: what a thief does, and what the signal should call it ---------------------------------------------------


def _branch(found: History, number: int, at: datetime, chance: Random, minor: int) -> None:
    found.facts.append(run(number, at, DEPLOY, branch="patch-quietly", actor="jonas"))
    found.plants["deploy-source", "new-branch"] = at


def _event(found: History, number: int, at: datetime, chance: Random, minor: int) -> None:
    found.facts.append(run(number, at, DEPLOY, event="pull_request_target", actor="evil", head="evil/ferry"))
    found.plants["deploy-source", "new-event"] = at


def _rerun(found: History, number: int, at: datetime, chance: Random, minor: int) -> None:
    found.facts.append(run(number, at, DEPLOY, actor="mara", again="stranger", attempt=2))
    found.plants["deploy-source", "rerun-by-another"] = at


def _workflow(found: History, number: int, at: datetime, chance: Random, minor: int) -> None:
    found.facts.append(run(number, at, ".github/workflows/security-scan.yml", actor="mara", branch="main"))
    found.plants["deploy-source", "new-workflow"] = at


def _unexplained(found: History, number: int, at: datetime, chance: Random, minor: int) -> None:
    found.facts.append(version(f"1.{minor}.666", at))
    found.plants["release-path", "unexplained"] = at


def _lost(found: History, number: int, at: datetime, chance: Random, minor: int) -> None:
    name = f"1.{minor}.667"
    found.facts += [Tag(at=at, origin=O, repository=REPO, name=f"v{name}", sha=f"{number:040x}"),
                    version(name, at, means="token", provenance="no", uploader="mara")]  # fmt: skip
    found.plants["release-path", "provenance-lost"] = found.plants["release-path", "token-upload"] = at


def _moved(found: History, number: int, at: datetime, chance: Random, minor: int) -> None:
    found.facts.append(Push(at=at, origin=O, repository=REPO, ref="refs/tags/v1.1.0", before="1" * 40, after="e" * 40,
                            kind="force_push", actor="mara"))  # fmt: skip
    found.plants["release-path", "tag-moved"] = at


def _calls(found: History, number: int, at: datetime, chance: Random, call: str, **kw: object) -> Mint:
    one = run(number, at, DEPLOY)
    got = session(one, chance)
    found.facts += [one, job(one)]
    found.calls += [got, use(got, USUAL[0]), use(got, call, after=60, **kw)]  # type: ignore[arg-type]
    return got


def _service(found: History, number: int, at: datetime, chance: Random, minor: int) -> None:
    _calls(found, number, at, chance, "secretsmanager:ListSecrets")
    found.plants["api-target", "new-service"] = at + timedelta(seconds=90)


def _region(found: History, number: int, at: datetime, chance: Random, minor: int) -> None:
    _calls(found, number, at, chance, USUAL[1], region="ap-southeast-3")
    found.plants["api-target", "new-region"] = at + timedelta(seconds=90)


def _late(found: History, number: int, at: datetime, chance: Random, minor: int) -> None:
    _calls(found, number, at, chance, USUAL[1])
    got = next(f for f in reversed(found.calls) if isinstance(f, Mint))
    found.calls.append(use(got, USUAL[1], after=1500))
    found.plants["token-lifetime", "after-job"] = got.at + timedelta(seconds=1500)


def _elsewhere(found: History, number: int, at: datetime, chance: Random, minor: int) -> None:
    _calls(found, number, at, chance, USUAL[1], address="203.0.113.66")
    found.plants["token-lifetime", "unknown-network"] = at + timedelta(seconds=90)


PLANTS = {f.__name__: f for f in (_branch, _event, _rerun, _workflow, _unexplained, _lost, _moved, _service, _region,
                                  _late, _elsewhere)}  # fmt: skip

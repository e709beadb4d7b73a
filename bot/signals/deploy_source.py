"""Signal 1, deploy source: something deploys or publishes from where, or by whom, it never did.

Judged for workflows that deploy: whose runs made a deployment or a version, which are named for it, or for which
somebody has declared something. Where a list is declared (``branch``, ``event``, ``actor``, ``head``), only what is on
it is right; elsewhere what is usual is learned. A person who is known in the repository is not news.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import datetime
from fnmatch import fnmatchcase

from bot.signals.baseline import Baseline
from bot.signals.facts import AnyFact, Deployment, Fact, Push, Run, Version, WorkflowFile, of_kind, ordered
from bot.signals.findings import Finding, Sure
from bot.signals.given import Given

SIGNAL = "deploy-source"
FEW = 5  # runs of a workflow, where its repository has many: enough to know what is usual of it
SCATTERED = 0.2  # so many different values a run, and the feature tells nothing
# Events by which an outsider can start code of the default branch, or hand it something (GitHub Security Lab, "Keeping
# your GitHub Actions and workflows secure", parts 1 to 4).
BY_OUTSIDERS = ("pull_request_target", "issue_comment", "issues", "discussion_comment", "workflow_run", "fork")
_NAMED = re.compile(r"deploy|release|publish|ship|upload", re.IGNORECASE)
_BOTS = ("github-actions[bot]", "dependabot[bot]", "web-flow")


def judge(facts: Iterable[AnyFact], baseline: Baseline, given: Given) -> Iterator[Finding]:
    """Findings of these facts; what is usual of them is learned."""
    rows = ordered(facts)
    deployed = {f.run: f for f in of_kind(rows, Deployment) if f.run}
    published = {f.run for f in of_kind(rows, Version) if f.run}
    runs = {f.id: f for f in of_kind(rows, Run)}
    merged = {f.after for f in of_kind(rows, Push) if f.kind in ("pr_merge", "merge_queue_merge")}
    for fact in rows:
        if isinstance(fact, Push):
            _meet(fact, baseline)
        elif isinstance(fact, WorkflowFile):
            yield from _file(fact, baseline, given, merged)
        elif isinstance(fact, Deployment):
            yield from _deployment(fact, runs.get(fact.run), baseline, given)
        elif isinstance(fact, Run):
            if fact.id in deployed or fact.id in published:
                baseline.saw(SIGNAL, fact.repository, "deploys", fact.workflow, fact.at)
            yield from _run(fact, baseline, given, merged)


def pattern(name: str) -> str:
    """A branch or tag without its numbers: v1.2.3 and v1.3.0 are one thing, as are a robot's branches."""
    name = name.removeprefix("refs/heads/").removeprefix("refs/tags/")
    robot = re.match(r"((?:dependabot|renovate|changeset-release)/)", name)
    return f"{robot[1]}*" if robot else re.sub(r"\d+", "#", name)


def _meet(fact: Push, baseline: Baseline) -> None:
    """Whoever pushes to a branch or a tag of the repository has the right to: they are one of its people."""
    if fact.actor:
        baseline.saw(SIGNAL, fact.repository, "people", fact.actor, fact.at)


def _person(repository: str, login: str, at: datetime, baseline: Baseline) -> bool:
    return login in _BOTS or baseline.knows(SIGNAL, repository, "people", login, at)


# runs -----------------------------------------------------------------------------------------------------------------


def _run(fact: Run, baseline: Baseline, given: Given, merged: set[str]) -> Iterator[Finding]:
    repository, subject = fact.repository, f"{fact.repository}:{fact.workflow}"
    found: list[Finding] = []
    judged = fact.at >= given.learn_until
    enough = baseline.ready(SIGNAL, repository)
    if not baseline.knows(SIGNAL, repository, "workflow", fact.workflow, fact.at):
        if judged and enough:
            found += _new_workflow(fact, baseline, merged)
    elif _deploys(fact, baseline) and judged:
        learned = baseline.ready(SIGNAL, subject) or (enough and baseline.observed(SIGNAL, subject) >= FEW)
        found += _of_deploying(fact, subject, baseline, learned=learned)
    yield from found
    if not found:
        baseline.saw(SIGNAL, repository, "workflow", fact.workflow, fact.at)
        for feature, value in _features(fact):
            baseline.saw(SIGNAL, subject, feature, value, fact.at)
        if not fact.fork:  # who starts the repository's own code may write to it
            for login in {fact.actor, fact.triggering_actor} - {""}:
                if fact.event not in BY_OUTSIDERS and not fact.event.startswith("pull_request"):
                    baseline.saw(SIGNAL, repository, "people", login, fact.at)
    baseline.observe(SIGNAL, subject, fact.at, fact.key)
    baseline.observe(SIGNAL, repository, fact.at, fact.key)


def _features(fact: Run) -> tuple[tuple[str, str], ...]:
    return (
        ("branch", pattern(fact.branch)), ("event", fact.event), ("actor", fact.actor),
        ("head", fact.head_repository if fact.fork else "own"),
    )  # fmt: skip


def _deploys(fact: Run, baseline: Baseline) -> bool:
    named = bool(_NAMED.search(fact.workflow.rsplit("/", 1)[-1]))
    return named or baseline.knows(SIGNAL, fact.repository, "deploys", fact.workflow, fact.at)


def _new_workflow(fact: Run, baseline: Baseline, merged: set[str]) -> Iterator[Finding]:
    """A run of a file that never ran here."""
    known = _person(fact.repository, fact.actor, fact.at, baseline)
    reviewed = fact.sha in merged
    proposed = fact.event.startswith("pull_request") and fact.event != "pull_request_target"
    sure = Sure.POSSIBLE if (reviewed and known) or proposed else Sure.LIKELY
    ruled = ("it never ran in this repository",) + (() if reviewed else ("no merged pull request brought it",))
    ruled += () if known else (f"{fact.actor} is not one of the repository's people",)
    says = f"{fact.workflow} ran for the first time, by {fact.event} on {fact.branch}, started by {fact.actor}"
    yield _finding(fact, f"{fact.repository}:{fact.workflow}", "new-workflow", fact.workflow, sure, says, ruled)


def _of_deploying(fact: Run, subject: str, baseline: Baseline, *, learned: bool) -> Iterator[Finding]:
    values = dict(_features(fact))
    for feature, value in values.items():
        listed = baseline.declared(SIGNAL, subject, feature, fact.at)
        if listed and not any(fnmatchcase(value, one) for one in listed):
            yield _news(fact, subject, feature, value, Sure.CERTAIN, (f"declared are {', '.join(listed)}",))
        elif not listed and learned and not baseline.knows(SIGNAL, subject, feature, value, fact.at):
            yield from _learned_news(fact, subject, feature, value, baseline)
    again = fact.triggering_actor
    if fact.attempt > 1 and again != fact.actor and learned and not _person(fact.repository, again, fact.at, baseline):
        ruled = (f"{again} is not one of the repository's people, so no maintainer has run it again",)
        says = f"{fact.workflow} was run again by {again}; {fact.actor} had started it"
        yield _finding(fact, subject, "rerun-by-another", f"{fact.id} {again}", Sure.LIKELY, says, ruled)


def _learned_news(fact: Run, subject: str, feature: str, value: str, baseline: Baseline) -> Iterator[Finding]:
    usual = baseline.values(SIGNAL, subject, feature, fact.at)
    if len(usual) > max(3, SCATTERED * baseline.observed(SIGNAL, subject)):
        return  # it is never twice the same: previews of every branch, actors of every pull request
    known = _person(fact.repository, fact.actor, fact.at, baseline)
    if feature == "actor" and known:
        return
    sure = Sure.LIKELY
    if feature == "event":
        by_hand = value == "workflow_dispatch" and known
        sure = Sure.POSSIBLE if by_hand else Sure.CERTAIN if value in BY_OUTSIDERS else Sure.LIKELY
    if feature == "head":
        sure = Sure.POSSIBLE if fact.event == "pull_request" else Sure.CERTAIN
    ruled = [f"usual are {', '.join(usual[:8])}" + (" …" if len(usual) > 8 else ""), "nobody has declared it"]
    ruled += [] if known else [f"{fact.actor} is not one of the repository's people"]
    yield _news(fact, subject, feature, value, sure, tuple(ruled))


def _news(fact: Run, subject: str, feature: str, value: str, sure: Sure, ruled: tuple[str, ...]) -> Finding:
    from_ = {"branch": f"from {fact.branch}", "event": f"by {value}", "actor": f"by {value}",
             "head": f"with code of {value or 'a fork that is gone'}"}[feature]  # fmt: skip
    says = f"{fact.workflow} ran {from_}, which it never did ({fact.event} on {fact.branch} by {fact.actor})"
    return _finding(fact, subject, f"new-{feature}", value, sure, says, ruled)


# deployments and files ------------------------------------------------------------------------------------------------


def _deployment(fact: Deployment, run: Run | None, baseline: Baseline, given: Given) -> Iterator[Finding]:
    subject = f"{fact.repository}@{fact.environment}"
    features = [("ref", pattern(fact.ref)), ("creator", fact.creator)] + ([("workflow", run.workflow)] if run else [])
    news = [(f, v) for f, v in features if _is_news(subject, f, v, fact.at, baseline)]
    people = baseline.knows(SIGNAL, fact.repository, "people", fact.creator, fact.at)
    found = []
    for feature, value in news if fact.at >= given.learn_until else []:
        listed = baseline.declared(SIGNAL, subject, feature, fact.at)
        usual = baseline.values(SIGNAL, subject, feature, fact.at)
        scattered = len(usual) > max(3, SCATTERED * baseline.observed(SIGNAL, subject))
        if not listed and (not baseline.ready(SIGNAL, subject) or scattered or (feature == "creator" and people)):
            continue
        ruled = (f"{'declared' if listed else 'usual'} are {', '.join(listed or usual)}",)
        says = (
            f"{fact.environment} was deployed to by {fact.creator} from {fact.ref}: a {feature} it never had, {value}"
        )
        sure = Sure.CERTAIN if listed else Sure.LIKELY
        found.append(_finding(fact, subject, f"new-{feature}", value, sure, says, ruled))
    yield from found
    if not found:
        for feature, value in features:
            baseline.saw(SIGNAL, subject, feature, value, fact.at)
    baseline.observe(SIGNAL, subject, fact.at, f"deployment {fact.id}")


def _is_news(subject: str, feature: str, value: str, at: datetime, baseline: Baseline) -> bool:
    """Not on the list that was declared; where there is none, not usual."""
    listed = baseline.declared(SIGNAL, subject, feature, at)
    if listed:
        return not any(fnmatchcase(value, one) for one in listed)
    return not baseline.knows(SIGNAL, subject, feature, value, at)


def _file(fact: WorkflowFile, baseline: Baseline, given: Given, merged: set[str]) -> Iterator[Finding]:
    """A workflow file that is new on a branch. One that only carries an old file to a new branch is not."""
    repository = fact.repository
    if not (fact.new or fact.at >= given.learn_until) or baseline.knows(SIGNAL, repository, "file", fact.path, fact.at):
        baseline.saw(SIGNAL, repository, "file", fact.path, fact.at)
        return
    if not fact.new:
        baseline.saw(SIGNAL, repository, "file", fact.path, fact.at)
        return
    known, reviewed = _person(repository, fact.actor, fact.at, baseline), fact.sha in merged
    sure = Sure.POSSIBLE if known and (reviewed or not fact.secrets) else Sure.LIKELY
    names = f"; it names {', '.join(fact.secrets)}" if fact.secrets else ""
    says = f"{fact.path} is new on {fact.branch}, pushed by {fact.actor or 'nobody knows whom'}{names}"
    ruled = ("the file stood on no branch before",) + (() if reviewed else ("no merged pull request brought it",))
    ruled += () if known else (f"{fact.actor or 'its author'} is not one of the repository's people",)
    yield _finding(fact, f"{repository}:{fact.path}", "new-workflow", fact.path, sure, says, ruled)


def _finding(
    fact: Run | Deployment | WorkflowFile, subject: str, what: str, value: str, sure: Sure, says: str,
    ruled: tuple[str, ...],
) -> Finding:  # fmt: skip
    return Finding(
        signal=SIGNAL, subject=subject, what=what, value=value, at=fact.at, sure=sure, says=says,
        evidence=(_evidence(fact),), ruled_out=ruled, repository=fact.repository,
    )  # fmt: skip


def _evidence(fact: Fact) -> str:
    return f"{fact.key} ({fact.origin})" if isinstance(fact, Run) else str(fact.origin)

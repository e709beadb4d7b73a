"""Signal 2, release path: a version of a package, or a tag, that did not come the way that releases of it come.

A package is held to its own history: one that never had provenance, tags or a trusted publisher is not accused of
having none. What was found strange is no part of that history, so the second bad version is found as the first was.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from bot.signals.baseline import Baseline
from bot.signals.deploy_source import pattern
from bot.signals.facts import (
    AnyFact,
    Push,
    RegistrySigned,
    Release,
    Run,
    Signed,
    Tag,
    Version,
    of_kind,
    ordered,
)
from bot.signals.findings import Finding, Sure
from bot.signals.given import Given

SIGNAL = "release-path"
LATE = timedelta(minutes=5)  # a registry's time may be that much later than the run which published
TWICE, ALWAYS_SO, RECENT = 2, 5, 10  # versions: a habit, a firm one, and how far back one looks
EXPLAINED = 0.8  # share of earlier versions with a tag, release or run: then one without is news
BURST = timedelta(minutes=15)
NOTHING = "0" * 40
_LINE = re.compile(r"v?(?P<line>\d+\.\d+)\.?(?P<last>[\d.]*)")
# What a registry's own signature shows, where it does not hold.
_TAKEN_IN = {
    RegistrySigned.FORGED: (Sure.CERTAIN, "is not what {registry} took in: its registry signature does not verify"),
    RegistrySigned.UNKNOWN: (Sure.LIKELY, "has a registry signature by a key that {registry} does not publish: {key}"),
    RegistrySigned.EXPIRED: (Sure.LIKELY, "has a registry signature by a key that had ended when it came: {key}"),
    RegistrySigned.MISSING: (Sure.LIKELY, "has no registry signature: nothing says that {registry} took it in so"),
    RegistrySigned.UNREAD: (Sure.POSSIBLE, "has a registry signature that cannot be read: {key}"),
}  # fmt: skip
_FLOATS = re.compile(r"v?\d+(\.\d+)?|latest|stable|nightly|main|edge")


def tag_names(package: str, version: str) -> frozenset[str]:
    """What a tag of this version is called: 1.2.3, v1.2.3, NAME@1.2.3, NAME-v1.2.3, with the scope or without."""
    short = package.rsplit("/", 1)[-1]
    names = {version, f"v{version}"}
    for name in {package, short}:
        names |= {f"{name}@{version}", f"{name}@v{version}", f"{name}-{version}", f"{name}-v{version}",
                  f"{name}/{version}", f"{name}/v{version}"}  # fmt: skip
    return frozenset(names)


@dataclass(slots=True)
class Known:
    """What could explain a version."""

    tags: dict[str, datetime] = field(default_factory=dict)  # name -> when it was made, as far as that is known
    releases: dict[str, Release] = field(default_factory=dict)
    runs: list[Run] = field(default_factory=list)

    @classmethod
    def of(cls, rows: list[AnyFact]) -> Known:
        """Of these facts."""
        made = {f.tag: f.at for f in of_kind(rows, Push) if f.tag and f.kind != "branch_deletion"}
        tags = {f.name: made.get(f.name, f.at) for f in of_kind(rows, Tag)} | made
        return cls(tags, {f.tag: f for f in of_kind(rows, Release)}, list(of_kind(rows, Run)))

    def __bool__(self) -> bool:
        return bool(self.tags or self.releases or self.runs)

    def explain(self, version: Version, workflows: set[str]) -> str:
        """Why a version is there, in a word, or ''."""
        for name in tag_names(version.package, version.name):
            if name in self.tags:
                return f"tag {name}"
            if name in self.releases:
                return f"release {name}"
        for run in self.runs_of(version, workflows):
            if run.conclusion == "success" or run.status != "completed":
                return run.key
        return ""

    def runs_of(self, version: Version, workflows: set[str]) -> list[Run]:
        """The run that it names; otherwise runs that were under way, of the workflows that publish it."""
        if version.run:
            return [run for run in self.runs if run.id == version.run]
        return [
            run for run in self.runs
            if run.at <= version.at <= run.until + LATE and (not workflows or run.workflow in workflows)
        ]  # fmt: skip


def judge(facts: Iterable[AnyFact], baseline: Baseline, given: Given) -> Iterator[Finding]:
    """Findings of these versions and tags."""
    rows = ordered(facts)
    yield from _tags(rows, baseline, given)
    known = Known.of(rows)
    packages: dict[tuple[str, str], list[Version]] = {}
    for version in joined(of_kind(rows, Version)):
        packages.setdefault((version.registry, version.package), []).append(version)
    for versions in packages.values():
        yield from _package(versions, known, baseline, given)


def joined(versions: Iterable[Version]) -> list[Version]:
    """Each version once, with what the registry's document and its attestation say together; by time."""
    found: dict[str, Version] = {}
    for one in versions:
        other = found.get(one.key)
        if other is not None:
            real, more = (one, other) if one.at > other.at else (other, one)
            names = ("built_by", "workflow", "built_from", "run", "commit", "uploader", "means", "home", "issuer")
            filled = {name: getattr(real, name) or getattr(more, name) for name in names}
            signed = max((real, more), key=lambda v: list(Signed).index(v.signed))  # of its files the worst counts
            taken_in = max((real, more), key=lambda v: list(RegistrySigned).index(v.registry_signed))
            one = replace(  # noqa: PLW2901
                real, **filled, provenance=_best(real.provenance, more.provenance), signed=signed.signed,
                signed_why=signed.signed_why, digests=_both(real.digests, more.digests),
                attested=_both(real.attested, more.attested), registry_signed=taken_in.registry_signed,
                registry_key=taken_in.registry_key,
            )  # fmt: skip
        found[one.key] = one
    # an attestation alone does not say when its version was published
    return sorted((v for v in found.values() if v.at.year > 1970), key=lambda v: (v.at, v.name))


def _both(*told: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(sorted({digest for some in told for digest in some}))


def _best(*told: str) -> str:
    return "yes" if "yes" in told else next((one for one in told if one), "")


# a package -----------------------------------------------------------------------------------------------------------


def _package(versions: list[Version], known: Known, baseline: Baseline, given: Given) -> Iterator[Finding]:
    history: list[Version] = []
    explained = 0
    for version in versions:
        workflows = {w for v in history for w in [v.workflow, *(r.workflow for r in known.runs_of(v, set()))] if w}
        why = known.explain(version, workflows) if known else ""
        found = [
            *_unexplained(version, history, explained, known, why, workflows), *_weaker(version, history),
            *_signature(version, history), *_registry_signature(version, versions), *_elsewhere(version, history),
            *_burst(version, history, known, why),
        ]  # fmt: skip
        found = [one for one in found if not _declared(one, version, baseline)]
        if version.at >= given.learn_until:  # one from before is not told, and strange all the same
            yield from found
        if not any(one.sure.rank >= Sure.LIKELY.rank for one in found):
            history.append(version)
            explained += bool(why)


def _declared(one: Finding, version: Version, baseline: Baseline) -> bool:
    return baseline.knows(SIGNAL, f"{version.registry}:{version.package}", one.what, one.value, version.at)


def _unexplained(
    version: Version, history: list[Version], explained: int, known: Known, why: str, workflows: set[str]
) -> Iterator[Finding]:  # fmt: skip
    if not known:
        return
    failed = [run for run in known.runs_of(version, workflows) if run.status == "completed" and
              run.conclusion != "success"]  # fmt: skip
    if why or len(history) < TWICE:
        return
    share = explained / len(history)
    # An image is pushed before its run is over, and what fails afterwards is not the build.
    if failed and ((version.run and not version.home) or share >= EXPLAINED):
        text = f"was published while {failed[0].key} ran, which ended in {failed[0].conclusion}"
        ruled = ("no tag and no release has its name", "no run that succeeded published it")
        yield _finding(version, "failed-run", failed[0].key, Sure.CERTAIN, text, ruled, str(failed[0].origin))
    elif share >= EXPLAINED:
        sure = Sure.CERTAIN if len(history) >= ALWAYS_SO and share == 1 else Sure.LIKELY
        text = f"is explained by no tag, no release and no run; {explained} of the {len(history)} before it are"
        yield _finding(version, "unexplained", version.name, sure, text, (
            f"none of {len(known.tags)} tags and {len(known.releases)} releases has its name",
            f"none of {len(known.runs)} runs published then",
        ))  # fmt: skip


def _weaker(version: Version, history: list[Version]) -> Iterator[Finding]:
    """Less proof of where it comes from than the versions before it had."""
    for what, of, bad, says in (
        ("provenance-lost", "provenance", "no", "has no provenance"),
        ("token-upload", "means", "token", f"was published with a token of {version.uploader or 'somebody'}"),
    ):
        good = {"provenance": "yes", "means": "trusted"}[of]
        told = [getattr(v, of) for v in history if getattr(v, of)][-RECENT:]
        if getattr(version, of) != bad or len(told) < TWICE or told[-1] != good:
            continue
        run = next((k for k, one in enumerate(reversed(told)) if one != good), len(told))
        if run < TWICE:
            continue
        mixed = bad in told
        sure = Sure.POSSIBLE if mixed else Sure.CERTAIN if run >= ALWAYS_SO else Sure.LIKELY
        had = {"provenance": "had it", "means": "came from the trusted publisher"}[of]
        ruled = (f"the {run} versions before it {had}", "not a package that never had it")
        yield _finding(version, what, version.name, sure, f"{says}; the {run} versions before it {had}", ruled)
    uploaders = {v.uploader for v in history if v.uploader}
    if (
        version.means == "token"
        and version.uploader
        and len(history) >= ALWAYS_SO
        and version.uploader not in uploaders
    ):
        text = f"was published by {version.uploader}, who never published it"
        yield _finding(version, "new-uploader", version.uploader, Sure.POSSIBLE, text, (
            f"published so far by {', '.join(sorted(uploaders)) or 'trusted publishers only'}",
        ))  # fmt: skip


def _signature(version: Version, history: list[Version]) -> Iterator[Finding]:
    """Provenance whose signature does not hold, or that speaks of other files. It needs no history, but for an image
    whose authority is not known: where none was ever verified that is GitHub's own, for private repositories.
    """
    sure = {Signed.FORGED: Sure.CERTAIN, Signed.OTHER: Sure.CERTAIN, Signed.UNKNOWN: Sure.LIKELY,
            Signed.UNREAD: Sure.POSSIBLE}.get(version.signed)  # fmt: skip
    if version.home and version.signed in (Signed.UNKNOWN, Signed.UNREAD):
        sure = Sure.LIKELY if any(one.signed == Signed.VERIFIED for one in history) else None
    if sure is not None:
        text = f"has provenance whose signature is {version.signed}: {version.signed_why}"
        ruled = ["verified offline, by Sigstore's rules"]
        ruled += ["give a newer trust root, if Sigstore has one"] if version.signed == Signed.UNKNOWN else []
        yield _finding(version, "provenance-signature", version.signed.name.lower(), sure, text, tuple(ruled))
    elif version.attested and version.digests and not set(version.attested) <= set(version.digests):
        other = min(set(version.attested) - set(version.digests))
        text = f"has provenance of another file: it speaks of {other[:19]}, which the registry does not have"
        against = (f"none of the {len(version.digests)} digests that the registry tells",)
        yield _finding(version, "provenance-digest", other[:19], Sure.CERTAIN, text, against)


def _registry_signature(version: Version, versions: list[Version]) -> Iterator[Finding]:
    """A version that its registry has not signed as it serves it. Nobody is told to pull it: what is served may not be
    what was published, and a number that was unpublished never comes back.
    """
    if version.registry_signed not in _TAKEN_IN:
        return
    sure, text = _TAKEN_IN[version.registry_signed]
    ruled = [f"held against its name, number and digest, by the keys that {version.registry} publishes"]
    if version.registry_signed == RegistrySigned.MISSING:
        others = any(one.signatures for one in versions)
        sure = Sure.LIKELY if others else Sure.POSSIBLE
        ruled = [f"{version.registry} publishes the keys that it signs with"]
        ruled += ["other versions of it have one"] if others else []
    said = text.format(registry=version.registry, key=version.registry_key)
    value = version.registry_signed.name.lower()
    yield replace(_finding(version, "registry-signature", value, sure, said, tuple(ruled)), versions=())


def _elsewhere(version: Version, history: list[Version]) -> Iterator[Finding]:
    """Provenance that is there and names another place than it always did, or of an image, than its repository."""
    if version.home and version.signed == Signed.VERIFIED and version.built_by.lower() != version.home.lower():
        text = f"has provenance that was not made by {version.home}: {version.built_by or 'it names no repository'}"
        ruled = (f"{version.home} keeps it, and its name is not in the certificate",)
        yield _finding(version, "provenance-built-by", version.built_by, Sure.CERTAIN, text, ruled)
        return
    for what, of, sure in (("built-by", "built_by", Sure.CERTAIN), ("workflow", "workflow", Sure.LIKELY),
                           ("ref", "built_from", Sure.LIKELY), ("issuer", "issuer", Sure.LIKELY)):  # fmt: skip
        shown = pattern if of == "built_from" else str
        now = shown(getattr(version, of))
        usual = {shown(getattr(v, of)) for v in history if getattr(v, of)}
        count = sum(bool(getattr(v, of)) for v in history)
        if now and count > TWICE and len(usual) <= TWICE and now not in usual:
            text = f"says that it was built by {getattr(version, of)}"
            text = f"has provenance of an identity that {now} vouches for" if of == "issuer" else text
            ruled = (f"{count} versions before it say {', '.join(sorted(usual))}",)
            yield _finding(version, f"provenance-{what}", now, sure, text, ruled)


def _burst(version: Version, history: list[Version], known: Known, why: str) -> Iterator[Finding]:
    """The second version within minutes, of a package that never had two so close.

    A tag of its own explains it. So does another line of releases (1.4.48 beside 2.0.12), and the end of a
    pre-release. Where no tags are known it may always be a mended release, so then it is worth a line and no more.
    """
    if len(history) <= ALWAYS_SO or why.startswith(("tag", "release")) or not _same_line(version, history[-1]):
        return
    gaps = [b.at - a.at for a, b in itertools.pairwise(history)]
    last = version.at - history[-1].at
    if last <= BURST and min(gaps[:-1] or gaps) > BURST:
        text = f"came {int(last.total_seconds())} s after {history[-1].name}"
        ruled = [f"its {len(history)} versions were never less than {min(gaps)} apart", "not another line of releases"]
        ruled += ["it has no tag and no release"] if known else []
        yield _finding(version, "burst", version.name, Sure.LIKELY if known else Sure.POSSIBLE, text, tuple(ruled))


def _same_line(version: Version, before: Version) -> bool:
    """Whether two versions differ in nothing but their last number: 1.4.2 and 1.4.1, but not 1.5.0, nor 1.4.2rc1."""
    numbers, others = _LINE.match(version.name), _LINE.match(before.name)
    if numbers is None or others is None:
        return True
    last, other = numbers["last"].strip("."), others["last"].strip(".")
    return numbers["line"] == others["line"] and last != other


# tags ----------------------------------------------------------------------------------------------------------------


def _tags(rows: list[AnyFact], baseline: Baseline, given: Given) -> Iterator[Finding]:
    """Tags that were pointed somewhere else. v1 and its like are meant to move: to where a full version's tag is."""
    pushed = {f.after for f in of_kind(rows, Push) if f.ref.startswith("refs/heads/")}
    full = {f.sha for f in of_kind(rows, Tag) if not _FLOATS.fullmatch(f.name)}
    full |= {f.after for f in of_kind(rows, Push) if f.tag and not _FLOATS.fullmatch(f.tag) and f.before == NOTHING}
    for fact in rows:
        if isinstance(fact, Tag):
            yield from _snapshot(fact, baseline, given, pushed | full)
        elif isinstance(fact, Push) and fact.tag and fact.after != NOTHING:
            moved = fact.kind == "force_push" or fact.before not in (NOTHING, "")
            if moved and fact.before != fact.after and fact.at >= given.learn_until:
                yield from _moved(fact, fact.repository, fact.tag, fact.before, fact.after, baseline, pushed | full)


def _snapshot(fact: Tag, baseline: Baseline, given: Given, good: set[str]) -> Iterator[Finding]:
    before = [v.rpartition("@")[2] for v in baseline.values(SIGNAL, fact.repository, "tag", given.now)
              if v.rpartition("@")[0] == fact.name]  # fmt: skip
    if before and fact.sha not in before:
        dated = replace(fact, at=given.now)
        found = list(_moved(dated, fact.repository, fact.name, before[-1], fact.sha, baseline, good))
        yield from found
        if found:
            return
    baseline.saw(SIGNAL, fact.repository, "tag", f"{fact.name}@{fact.sha}", given.now)


def _moved(
    fact: Push | Tag, repository: str, tag: str, before: str, after: str, baseline: Baseline, good: set[str]
) -> Iterator[Finding]:  # fmt: skip
    floats = bool(_FLOATS.fullmatch(tag))
    if (floats and after in good) or baseline.knows(SIGNAL, repository, "moves", tag, fact.at):
        return
    who = f" by {fact.actor}" if isinstance(fact, Push) and fact.actor else ""
    sure = Sure.LIKELY if floats and not good else Sure.CERTAIN
    ruled = ["nobody has declared that it moves"]
    ruled += [] if floats else ["it names a full version, which is made once"]
    ruled += ["no branch and no tag of a full version leads to that commit"] if after not in good else []
    yield Finding(
        signal=SIGNAL, subject=repository, what="tag-moved", value=f"{tag} {after[:12]}", at=fact.at, sure=sure,
        says=f"tag {tag} of {repository} was pointed from {before[:12]} to {after[:12]}{who}",
        evidence=(str(fact.origin),), ruled_out=tuple(ruled), repository=repository,
    )  # fmt: skip


def _finding(
    version: Version, what: str, value: str, sure: Sure, text: str, ruled: tuple[str, ...], *more: str
) -> Finding:  # fmt: skip
    return Finding(
        signal=SIGNAL, subject=f"{version.key}", what=what, value=value, at=version.at, sure=sure,
        says=f"{version.package}@{version.name} ({version.registry}) {text}", evidence=(str(version.origin), *more),
        ruled_out=ruled, repository=version.built_by, versions=((version.registry, version.package, version.name),),
    )  # fmt: skip

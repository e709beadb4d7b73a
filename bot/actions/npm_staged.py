"""npm: versions that wait for approval (staged publishing) and that nobody of the house staged; a person rejects them.

Any token that may write a package may stage a version; it is out as soon as somebody approves it, who sees only its
number. npm asks whoever approves or rejects for a second factor, so that is a person's step; the list shows it done.
Paths and names: the npm CLI 11.19, ``npm stage``.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import quote

from bot.action import Action
from bot.actions.explained import Explains
from bot.actions.npm import PERMISSIONS, document, registry
from bot.actions.npm_versions import FindBefore, FindIn, look_packages
from bot.actions.people import answered
from bot.errors import InputError, NotFound
from bot.model import Before as AnyBefore
from bot.model import Effect, Grade, Outcome, Proof, StagedVersion, material
from bot.world import World

PAGE = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundStaged(Outcome):
    """What waits and that no run explains."""

    staged: tuple[StagedVersion, ...] = ()


def _waiting(world: World, package: str) -> list[dict[str, Any]]:
    """Everything of a package that waits. A registry without staged publishing has nothing that waits."""
    rows: list[dict[str, Any]] = []
    while True:
        query = f"/-/stage?page={len(rows) // PAGE}&perPage={PAGE}&package={quote(package, safe='')}"
        try:
            answer = registry(world).get(query, write=True)
        except NotFound:
            return rows
        rows += answer["items"]
        if len(answer["items"]) < PAGE or len(rows) >= int(answer.get("total", 0)):
            return rows


def _find(world: World, given: FindIn, before: FindBefore) -> FoundStaged:
    explains = Explains.of(world, given.repository, given.workflows, given.since)
    since = datetime.fromisoformat(given.since) if given.since else None
    bad = []
    for package in before.packages:
        for row in _waiting(world, package):
            at = datetime.fromisoformat(str(row["createdAt"]))
            if (since is None or at >= since) and not explains.ran(world, at):
                bad.append(StagedVersion(id=str(row["id"]), package=package, version=str(row["version"])))
    said = ", ".join(map(str, bad))
    told = f"Nobody of the house staged {said}, which wait for approval: approve none of them"
    return FoundStaged(
        changed=False, staged=tuple(bad), summary=told if said else "No version waits that no run staged"
    )


def _prove_find(world: World, given: FindIn, before: FindBefore, outcome: FoundStaged) -> Proof:
    again = _find(world, given, before)
    if new := [str(one) for one in again.staged if one not in outcome.staged]:
        return Proof.refuted(f"since then somebody staged {', '.join(new)} too")
    return Proof.proven(Grade.STATE, f"npm's list of what waits, compared with runs: {outcome.summary}")


find_staged = Action(
    name="npm.find_staged_versions", title="Find versions that wait for approval and that no run staged",
    inputs=FindIn, before=FindBefore, outcome=FoundStaged, effect=Effect.READ, look=look_packages, run=_find,
    prove=_prove_find, permissions=(*PERMISSIONS, "contents:read", "actions:read"),
)  # fmt: skip


# Reject


@dataclass(frozen=True, slots=True, kw_only=True)
class RejectIn:
    """A version that waits, and who is asked to reject it."""

    staged: StagedVersion
    who: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RejectBefore(AnyBefore):
    """What is put to whom; and of the version what npm tells, since nothing is left of it once it is rejected."""

    who: str = material()
    text: str = material()
    link: str = material(default="")
    staged_at: str = ""
    staged_by: str = ""
    shasum: str = ""  # of its tarball, which npm gives to nobody without a token


@dataclass(frozen=True, slots=True, kw_only=True)
class RejectOutcome(Outcome):
    """Who said what."""

    by: str
    answer: str


def _item(world: World, given: RejectIn) -> dict[str, Any] | None:
    try:
        return dict(registry(world).get(f"/-/stage/{quote(given.staged.id)}", write=True))
    except NotFound:
        return None


def _look(world: World, given: RejectIn) -> RejectBefore:
    if not given.who:
        raise InputError("to reject a staged version needs somebody to ask (who)")
    row, link = _item(world, given), f"https://www.npmjs.com/package/{given.staged.package}"
    if row is None:
        said = f"{given.staged} waits no longer"
        return RejectBefore(needed=False, who=given.who, text=f"say that you have seen this: {said}", summary=said)
    text = f"reject the staged version {given.staged}, with your second factor: npm stage reject {given.staged.id}"
    at, by, shasum = (str(row.get(name) or "") for name in ("createdAt", "actor", "shasum"))
    said = f"{given.staged} was staged {at} by {by}"
    return RejectBefore(
        who=given.who, text=text, link=link, staged_at=at, staged_by=by, shasum=shasum,
        summary=f"Ask {given.who} to {text}. {said}",
    )  # fmt: skip


def _reject(world: World, given: RejectIn, before: RejectBefore) -> RejectOutcome:
    """Take the person's word; the list says whether it is so. Raises Conflict while there is none."""
    if not before.needed:
        return RejectOutcome(changed=False, by="", answer="", summary=before.summary)
    by, what = answered(world, given.who)
    return RejectOutcome(changed=True, by=by, answer=what, summary=f"{by}: {what}")


def _prove(world: World, given: RejectIn, _before: RejectBefore, _outcome: RejectOutcome) -> Proof:
    """It waits no longer, and was not let out instead."""
    if _item(world, given) is not None:
        return Proof.refuted(f"{given.staged} still waits at npm for somebody to approve it")
    try:
        out = given.staged.version in document(world, given.staged.package)["versions"]
    except NotFound:
        out = False
    if out:
        return Proof.refuted(f"{given.staged} waits no longer because it is published: somebody has approved it")
    return Proof.proven(Grade.STATE, f"npm has no staged {given.staged} any more, and has not published it")


reject_staged = Action(
    name="npm.reject_staged_version", title="Have a person reject a staged version", inputs=RejectIn,
    before=RejectBefore, outcome=RejectOutcome, effect=Effect.CONTAIN, look=_look, run=_reject, prove=_prove,
    person=True, undo_none="npm deletes what is rejected; its number can be staged again",
    permissions=PERMISSIONS,
)  # fmt: skip

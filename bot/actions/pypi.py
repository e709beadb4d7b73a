"""PyPI: check a token, find versions that nobody released, have a release yanked.

PyPI has no interface for yanking (PEP 592 is a mark on its pages): a person does it, and the index shows it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import quote

from bot.action import Action
from bot.actions import packages
from bot.actions.packages import FindBefore, FindIn, FindOutcome, TokenBefore, TokenIn, TokenOutcome, YankBefore
from bot.actions.people import answered
from bot.errors import InputError, NotFound
from bot.model import Breaks, Effect, EvidenceRef, Grade, Outcome, Proof, Verdict, material
from bot.registries.pypi import QUARANTINED, PypiClient
from bot.world import World

NAME = "pypi"
SETTLE = timedelta(seconds=30)  # the index lies in caches

check_token = Action(
    name="pypi.check_token", title="Check a PyPI token", inputs=TokenIn, before=TokenBefore, outcome=TokenOutcome,
    effect=Effect.READ, look=packages.look_token, run=packages.check_token,
    prove=packages.prove_token,
)  # fmt: skip

find_unexplained_versions = Action(
    name="pypi.find_unexplained_versions", title="Find releases on PyPI that no tag or run explains", inputs=FindIn,
    before=FindBefore, outcome=FindOutcome, effect=Effect.READ, look=packages.look_packages,
    run=packages.find, prove=packages.prove_find, permissions=packages.FIND_PERMISSIONS,
)  # fmt: skip


# Yank


@dataclass(frozen=True, slots=True, kw_only=True)
class YankIn:
    """A release, who is asked to yank it, and the reason that PyPI shows to whoever installs it anyway."""

    package: str
    version: str
    reason: str
    who: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonYankBefore(YankBefore):
    """What is put to whom. ``quarantined``: PyPI itself has taken the project from the index."""

    who: str = material()
    text: str = material()
    link: str = material(default="")
    quarantined: bool = material(default=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class YankOutcome(Outcome):
    """Who said what."""

    by: str
    answer: str
    at: str = ""  # ISO 8601 UTC


def _quarantined(world: World, package: str) -> bool:
    found = packages.registry(world, NAME)
    if not isinstance(found, PypiClient):
        raise InputError("this World's registry called pypi is not PyPI")
    try:
        return found.status(package) == QUARANTINED
    except NotFound:
        return False


def _look_yank(world: World, given: YankIn) -> PersonYankBefore:
    if not given.who or not given.reason:
        raise InputError("a yank on PyPI needs somebody to ask (who) and what PyPI is to show (reason)")
    found, _ = packages.look_yank(world, NAME, given.package, given.version)
    shut = _quarantined(world, given.package)
    said = f"{found.summary}; PyPI has put {given.package} in quarantine" if shut else found.summary
    link = f"https://pypi.org/manage/project/{quote(given.package)}/release/{quote(given.version)}/"
    text = f"yank the release {given.version} of {given.package} on PyPI, with this reason: {given.reason}"
    if not found.needed:
        text = f"say that you have seen this, there is nothing to do: {said}"
    return PersonYankBefore(
        needed=found.needed, exists=found.exists, yanked=found.yanked, reason=found.reason, last=found.last,
        who=given.who, text=text, link=link, quarantined=shut,
        summary=f"Ask {given.who} to {text} ({link}). {said}",
    )  # fmt: skip


def _save(world: World, given: YankIn, _before: PersonYankBefore) -> tuple[EvidenceRef, ...]:
    return packages.save_version(world, NAME, given.package, given.version)


def _yanked(world: World, given: YankIn, before: PersonYankBefore) -> YankOutcome:
    """Take the person's word; the index says whether it is so. Raises Conflict while there is none."""
    if not before.needed:
        return YankOutcome(changed=False, by="", answer="", summary=before.summary)
    by, what = answered(world, given.who)
    return YankOutcome(changed=True, by=by, answer=what, at=world.now().isoformat(), summary=f"{by}: {what}")


def _prove_yank(world: World, given: YankIn, _before: PersonYankBefore, outcome: YankOutcome) -> Proof:
    """By the index. The word of whoever was asked has a while to get there."""
    if _quarantined(world, given.package):
        said = f"PyPI has put {given.package} in quarantine: no version of it can be installed"
        return Proof.proven(Grade.STATE, said)
    proof = packages.prove_yank(world, NAME, given.package, given.version)
    early = outcome.at and world.now() - datetime.fromisoformat(outcome.at) < SETTLE
    return Proof.not_yet(proof.detail) if proof.verdict == Verdict.REFUTED and early else proof


def _breaks_yank(before: PersonYankBefore) -> Breaks:
    return packages.breaks_yank(before, "nothing that pins it with ==: PyPI still gives it then, and shows the reason")


yank = Action(
    name="pypi.yank", title="Have a person yank a release on PyPI", inputs=YankIn, before=PersonYankBefore,
    outcome=YankOutcome, effect=Effect.CONTAIN, look=_look_yank, run=_yanked, prove=_prove_yank, breaks=_breaks_yank,
    evidence=_save, person=True, proof_deadline=3600.0, undo_none="Its owner takes the mark back on the same page",
)  # fmt: skip

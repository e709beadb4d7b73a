"""GitHub: a poisoned action is named by no workflow any more, on no branch of the repositories whose runs have used it.

A tag that was moved may be moved again, so what is asked for is a pin to a commit that is known to be good
(docs.github.com "Security hardening for GitHub Actions"). People pin, by pull requests of theirs; each branch runs the
files that lie on it, so the proof reads all of them. What a package's lock files name it does not read: there is only
word for that.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from bot.action import Action
from bot.actions.github import repository_path
from bot.actions.github_planted import branches, read_file
from bot.actions.people import Answer, answered
from bot.errors import InputError
from bot.model import Before, Credential, Effect, Grade, Proof, WorkflowRef, material
from bot.world import World

_NAMED = re.compile(r"action:(?P<name>[\w.-]+/[\w.-]+)@(?P<ref>[\w./+-]+);.*")
_PACKAGE = re.compile(r"package:.+@.+;.*")
_FILES = re.compile(r"\.github/workflows/[^/]+\.ya?ml|(?:.*/)?action\.ya?ml")  # composite actions name actions too
_COMMIT = re.compile(r"[0-9a-f]{40}")
MOST_TOLD = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class UnusedIn:
    """The campaign, whom to ask, and the workflows whose runs have used what it is about."""

    who: str
    credential: Credential
    workflows: tuple[WorkflowRef, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class UnusedBefore(Before):
    """Where it is named: "OWNER/NAME BRANCH: PATH" each."""

    who: str = material(default="")
    text: str = material(default="")
    link: str = ""
    choices: tuple[str, ...] = ()
    places: tuple[str, ...] = material(default=())


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    places: tuple[str, ...]
    unread: tuple[str, ...]  # branches with too many files for one answer


def _named(given: UnusedIn) -> re.Match[str] | None:
    """The action and its ref; None for a package. Raises InputError for what is no campaign."""
    found = _NAMED.fullmatch(given.credential.id)
    if given.credential.kind != "campaign" or not (found or _PACKAGE.fullmatch(given.credential.id)):
        raise InputError(f"{given.credential.key[:100]} is no campaign")
    return found


def _places(world: World, given: UnusedIn, wanted: re.Match[str]) -> _Found:
    """Every branch's files. Of a poisoned commit each ref that may lead there counts: a tag, a branch."""
    uses = re.compile(rf"uses:\s*['\"]?{re.escape(wanted['name'])}(?:/[^@\s'\"]*)?@([^\s'\"#]+)", re.IGNORECASE)
    found, unread = [], []
    for repository in sorted({each.repository for each in given.workflows}):
        for branch, tip in branches(world, repository).items():
            tree = world.github.get(f"{repository_path(repository)}/git/trees/{tip}", recursive="1")
            if tree.get("truncated"):
                unread.append(f"{repository} {branch}")
            for path in (str(row["path"]) for row in tree["tree"] if _FILES.fullmatch(str(row["path"]))):
                text = read_file(world, repository, path, tip).decode(errors="replace")
                if any(_poisoned(ref, wanted["ref"]) for ref in uses.findall(text)):
                    found.append(f"{repository} {branch}: {path}")
    return _Found(places=tuple(found), unread=tuple(unread))


def _poisoned(ref: str, wanted: str) -> bool:
    return ref == wanted or (bool(_COMMIT.fullmatch(wanted)) and not _COMMIT.fullmatch(ref))


def _told(places: tuple[str, ...]) -> str:
    more = f" and {len(places) - MOST_TOLD} more" if len(places) > MOST_TOLD else ""
    return "; ".join(places[:MOST_TOLD]) + more


def _look(world: World, given: UnusedIn) -> UnusedBefore:
    wanted = _named(given)
    if not given.who:
        raise InputError("say who is to take it out (who)")
    what = given.credential.id.partition(";")[0]
    if wanted is None:
        text = f"take {what} out of every lock file and manifest, also on old branches, then say so"
        return UnusedBefore(who=given.who, text=text, summary=f"Ask {given.who} to {text}")
    found = _places(world, given, wanted)
    text = f"pin {wanted['name']} to a commit that is known to be good, or take it out, on every branch; then say so"
    where = _told(found.places) or "no branch of the repositories whose runs have used it"
    return UnusedBefore(
        needed=bool(found.places or found.unread), who=given.who, text=text, places=found.places,
        summary=f"{wanted['name']}@{wanted['ref']} is named by {where}",
    )  # fmt: skip


def _done(world: World, given: UnusedIn, before: UnusedBefore) -> Answer:
    """Take the person's word; the proof looks for itself. Raises Conflict while there is none."""
    if not before.needed:
        return Answer(changed=False, by="", answer="", summary="Nothing names it any more")
    by, what = answered(world, given.who)
    return Answer(changed=True, by=by, answer=what, summary=f"{by}: {what}")


def _prove(world: World, given: UnusedIn, before: UnusedBefore, outcome: Answer) -> Proof:
    wanted = _named(given)
    if before.needed and world.answers is not None and world.answers.answer() is None:  # the engine hands a proof none
        return Proof.refuted(f"no answer of {given.who} is on record")
    if wanted is None:
        return Proof.proven(Grade.WORD, f"{outcome.by} says: {outcome.answer}; lock files are not read")
    found = _places(world, given, wanted)
    if found.places:
        return Proof.not_yet(f"it is still named by {_told(found.places)}", retry_after=10.0)
    if found.unread:
        said = f"{_told(found.unread)} has too many files to read them all"
        return Proof.proven(Grade.WORD, f"{outcome.by} says: {outcome.answer}; {said}")
    count = len({each.repository for each in given.workflows})
    return Proof.proven(Grade.STATE, f"no file on any branch of {count} repositories names it")


await_unused = Action(
    name="github.await_unused", title="Wait until no workflow names a poisoned action", inputs=UnusedIn,
    before=UnusedBefore, outcome=Answer, effect=Effect.CHANGE, look=_look, run=_done, prove=_prove, person=True,
    kills=lambda given: given.credential.key, proof_deadline=24 * 3600.0, permissions=("contents:read",),
    undo_none="Only whoever did it can undo it",
)  # fmt: skip

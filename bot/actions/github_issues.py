"""GitHub: an issue for what is to be done after an incident, found again instead of opened twice.

A line in its body that nobody sees names what it is for, so it is found by that whoever has changed its title since.
An issue cannot be deleted by a token, so its undo closes it. Paths: docs.github.com/rest/issues/issues.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from bot.action import Action
from bot.actions.github import differs, repository_path
from bot.errors import InputError, NotFound
from bot.model import Before, Effect, Grade, Outcome, Proof, material
from bot.world import World

_MARK = re.compile(r"[A-Za-z0-9][A-Za-z0-9:/_.-]{0,150}")


@dataclass(frozen=True, slots=True, kw_only=True)
class IssueIn:
    """What to open where. ``mark``: what it is for, unique in the repository; ``since``: it is not older (ISO 8601)."""

    repository: str
    title: str
    body: str
    mark: str
    since: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class IssueBefore(Before):
    """The issue that is there for this already; 0 when there is none."""

    number: int = material(default=0)
    url: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class IssueOutcome(Outcome):
    """Where it stands."""

    number: int = 0
    url: str = ""


def _line(given: IssueIn) -> str:
    """The line that it is found by. Raises InputError for a mark that could end the comment or say something else."""
    if not _MARK.fullmatch(given.mark) or "--" in given.mark:
        raise InputError(f"{given.mark[:60]!r} cannot mark an issue")
    return f"<!-- bulkhead: {given.mark} -->"


def _find(world: World, given: IssueIn) -> dict[str, Any] | None:
    """The oldest issue with the mark; pull requests, which GitHub lists among them, are none."""
    line, more = _line(given), {"since": given.since} if given.since else {}
    listed = world.github.pages(f"{repository_path(given.repository)}/issues", state="all", **more)
    found = [row for row in listed if line in (row.get("body") or "") and "pull_request" not in row]
    return min(found, key=lambda row: int(row["number"]), default=None)


def _look(world: World, given: IssueIn) -> IssueBefore:
    found = _find(world, given)
    if found is None:
        return IssueBefore(summary=f"{given.repository} has no issue for it yet")
    said = f"{found['html_url']} is there for it already, {found['state']}"
    return IssueBefore(needed=False, number=int(found["number"]), url=str(found["html_url"]), summary=said)


def _open(world: World, given: IssueIn, _before: IssueBefore) -> IssueOutcome:
    """Open it, unless it is there by now."""
    found, changed = _find(world, given), False
    if found is None:
        asked = {"title": given.title, "body": f"{given.body.rstrip()}\n\n{_line(given)}\n"}
        found = world.github.send("POST", f"{repository_path(given.repository)}/issues", asked).data
        changed = True
    said = f"{found['html_url']}: {given.title}"
    return IssueOutcome(changed=changed, number=int(found["number"]), url=str(found["html_url"]), summary=said)


def _issue(world: World, given: IssueIn, number: int) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = world.github.get(f"{repository_path(given.repository)}/issues/{number}")
    except NotFound:
        return None
    return found


def _prove(world: World, given: IssueIn, _before: IssueBefore, outcome: IssueOutcome) -> Proof:
    found = _issue(world, given, outcome.number)
    if found is None or _line(given) not in (found.get("body") or ""):
        return Proof.refuted(f"issue {outcome.number} of {given.repository} is gone, or is for something else now")
    return Proof.proven(Grade.STATE, f"{found['html_url']} stands, {found['state']}")


def _close(world: World, given: IssueIn, before: IssueBefore, outcome: IssueOutcome) -> Outcome:
    """Close it as not planned. Refused when somebody has written it anew: then it is theirs."""
    found = _issue(world, given, outcome.number)
    if found is None or before.number:
        return Outcome(changed=False, summary="It was there before, or is gone; nothing to close")
    if found["title"] != given.title or _line(given) not in (found.get("body") or ""):
        raise differs(f"issue {outcome.number}", {"title": given.title}, {"title": f"{found['title']} (changed)"})
    if found["state"] == "closed":
        return Outcome(changed=False, summary="It is closed already")
    path = f"{repository_path(given.repository)}/issues/{outcome.number}"
    world.github.send("PATCH", path, {"state": "closed", "state_reason": "not_planned"})
    return Outcome(changed=True, summary=f"{found['html_url']} is closed")


open_issue = Action(
    name="github.open_issue", title="Open an issue for a follow-up", inputs=IssueIn, before=IssueBefore,
    outcome=IssueOutcome, effect=Effect.CHANGE, look=_look, run=_open, prove=_prove, undo=_close,
    permissions=("issues:write",),
)  # fmt: skip

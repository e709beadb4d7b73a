"""A follow-up: what is to be done after an incident, by whom, until when, and what a machine looks at to see it done.

Checks are a closed set, each about one thing of a provider that can be read; ``bot.lessons.checks`` reads it. They are
written as one line, ``secret-gone OWNER/REPO NAME``, in the terminal, in a form and in the store alike.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any

from bot.errors import InputError

OPEN, DONE, REOPENED = "open", "done", "reopened"
TITLE, OWNER = 150, 80  # characters
# What a follow-up is worth, best first. The last two change no system.
RUNGS = {
    "remove": "takes the standing credential away", "bind": "binds it to a job, a branch, an environment",
    "reduce": "makes it reach less, or live shorter", "detect": "makes its misuse seen",
    "procedure": "changes what people do", "train": "teaches people",
}  # fmt: skip
WEAK = ("procedure", "train")
_REPOSITORY = r"[A-Za-z0-9][A-Za-z0-9-]*/(?!\.{1,2}(?:\s|\Z))[A-Za-z0-9_.-]+"
_NAME = r"[A-Za-z_][A-Za-z0-9_]*"


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of check: what it says when it holds, how its target is written, what such a follow-up is worth."""

    holds: str
    usage: str
    pattern: re.Pattern[str]
    rung: str


CHECKS: dict[str, Kind] = {
    "secret-gone": Kind(
        "the secret is gone from its store", "OWNER/REPO NAME [environment:NAME | organization | dependabot]",
        re.compile(rf"{_REPOSITORY} {_NAME}(?: (?:environment:\S+|organization|dependabot|codespaces))?"), "remove",
    ),
    "key-dead": Kind("the AWS access key is inactive or gone", "KEY-ID", re.compile(r"[A-Z0-9]{16,128}"), "remove"),
    "no-static-secret": Kind(
        "no workflow of the repository uses a static credential", "OWNER/REPO", re.compile(_REPOSITORY), "remove"
    ),
    "migration-merged": Kind(
        "the pull request that moves to OIDC is merged", "OWNER/REPO", re.compile(_REPOSITORY), "remove"
    ),
    "token-reads-only": Kind(
        "the token of a workflow only reads, unless the workflow asks for more", "OWNER/REPO",
        re.compile(_REPOSITORY), "reduce",
    ),
    "workflow-disabled": Kind(
        "the workflow is disabled or gone", "OWNER/REPO PATH", re.compile(rf"{_REPOSITORY} \.github/workflows/\S+"),
        "reduce",
    ),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Check:
    """A machine check: its kind, and what it looks at."""

    kind: str
    target: str

    @classmethod
    def parse(cls, text: str) -> Check:
        """From ``KIND TARGET``. Raises InputError that says how it is written."""
        kind, _, target = " ".join(text.split()).partition(" ")
        if kind not in CHECKS:
            raise InputError(f"there is no check {kind[:40]!r}; there are: {', '.join(CHECKS)}")
        if not CHECKS[kind].pattern.fullmatch(target):
            raise InputError(f"the check {kind} is written: {kind} {CHECKS[kind].usage}")
        return cls(kind, target)

    def __str__(self) -> str:
        return f"{self.kind} {self.target}"


@dataclass(frozen=True, slots=True, kw_only=True)
class FollowUp:
    """One follow-up as people wrote it. ``check``: a line as ``Check`` reads it, "" where a person says it is done."""

    id: str
    title: str
    owner: str = ""
    due: str = ""  # an ISO date
    rung: str = ""
    check: str = ""

    @property
    def worth(self) -> str:
        """Its rung: what was said, or what its check says."""
        return self.rung or (CHECKS[Check.parse(self.check).kind].rung if self.check else "procedure")

    @property
    def owned(self) -> bool:
        """Whether somebody has to do it by some day."""
        return bool(self.title and self.owner and self.due)

    def text(self) -> str:
        """As it is stored in an edit."""
        return json.dumps({name: value for name, value in asdict(self).items() if name != "id"}, sort_keys=True)

    @classmethod
    def of(cls, name: str, text: str) -> FollowUp:
        """The opposite of ``text``."""
        return cls(id=name, **json.loads(text))


def follow_up(
    name: str, *, title: str, owner: str = "", due: str = "", rung: str = "", check: str = ""
) -> FollowUp:  # fmt: skip
    """A follow-up as somebody wrote it. Raises InputError for what cannot be."""
    title, owner = " ".join(title.split()), " ".join(owner.split())
    if not title:
        raise InputError("say what is to be done")
    if len(title) > TITLE or len(owner) > OWNER:
        raise InputError(f"say it in {TITLE} characters, and its owner in {OWNER}")
    if due:
        try:
            due = date.fromisoformat(due).isoformat()
        except ValueError:
            raise InputError(f"the date is written like 2026-11-30, not {due[:20]!r}") from None
    if rung and rung not in RUNGS:
        raise InputError(f"what it does is one of {', '.join(RUNGS)}, not {rung[:20]!r}")
    line = str(Check.parse(check)) if check.strip() else ""
    return FollowUp(id=name, title=title, owner=owner, due=due, rung=rung, check=line)


def suggestions(triage: Mapping[str, Any]) -> list[str]:
    """The checks that fit an incident, by what triage found: for a list to choose from."""
    return list(dict.fromkeys(_suggested(triage)))


def _suggested(triage: Mapping[str, Any]) -> Iterator[str]:
    repository, credential = triage.get("repository") or "", triage["credential"]
    for store in triage.get("stores") or ():
        where = {"environment": f" environment:{store['environment']}", "organization": " organization"}
        other = store.get("store", "actions")
        suffix = where.get(store["scope"], f" {other}" if other in ("dependabot", "codespaces") else "")
        yield f"secret-gone {store['repository']} {store['name']}{suffix}"
    if credential["kind"] == "aws-access-key" and credential["id"]:
        yield f"key-dead {credential['id']}"
    if repository:
        yield f"no-static-secret {repository}"
        yield f"migration-merged {repository}"
        yield f"token-reads-only {repository}"


def static_left(checks: Iterable[tuple[str, str]]) -> tuple[int, int]:
    """Of the static credentials that are to go, by (check, state): how many are gone, and how many there are."""
    mine = [state for check, state in checks if check and CHECKS[Check.parse(check).kind].rung == "remove"]
    return sum(state == DONE for state in mine), len(mine)

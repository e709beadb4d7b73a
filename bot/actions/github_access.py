"""GitHub: who gets in. Take away what a stolen account let in (collaborators, runners), and cut a person's tokens.

Paths: docs.github.com/rest/collaborators, /rest/actions/self-hosted-runners, /rest/orgs/personal-access-tokens, and
/rest/orgs/orgs ("List SAML SSO authorizations for an organization", Enterprise Cloud).
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict, dataclass
from typing import Any

from bot.action import Action
from bot.actions.github import cuts_own, differs, own_warning, repository_path
from bot.errors import Forbidden, InputError, NotFound
from bot.model import Before, Breaks, Effect, EvidenceRef, Grade, Outcome, Planted, Proof, material
from bot.world import World

_LOGIN = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,38})(?:\[bot\])?")
COLLABORATOR, RUNNER = "github-collaborator", "github-runner"


def _login(text: str) -> str:
    if not _LOGIN.fullmatch(text):
        raise InputError(f"{text!r} is not an account of GitHub")
    return text


# A collaborator


@dataclass(frozen=True, slots=True, kw_only=True)
class CollaboratorBefore(Before):
    """``role``: what the account may do in the repository; ``invited``: an invitation that nobody has answered yet."""

    role: str = material()
    invited: str = material(default="")
    member: bool = False  # of the organization: what that gives stays


def _collaborator(given: Planted) -> tuple[str, str]:
    if given.kind != COLLABORATOR:
        raise InputError(f"{given.key} is not a collaborator")
    return repository_path(given.name), _login(given.id)


def _outside(world: World, base: str, login: str) -> str:
    """The role that an account holds as a collaborator; '' when it is none."""
    rows = world.github.pages(f"{base}/collaborators", affiliation="direct")
    return next((str(row["role_name"]) for row in rows if row["login"].lower() == login.lower()), "")


def _invitation(world: World, base: str, login: str) -> dict[str, Any] | None:
    rows = world.github.pages(f"{base}/invitations")
    return next((row for row in rows if row["invitee"]["login"].lower() == login.lower()), None)


def _look_collaborator(world: World, given: Planted) -> CollaboratorBefore:
    base, login = _collaborator(given)
    role, invited = _outside(world, base, login), _invitation(world, base, login)
    asked = str(invited["permissions"]) if invited else ""
    said = f"{login} may {role} in {given.name}" if role else f"{login} is no collaborator of {given.name}"
    return CollaboratorBefore(
        needed=bool(role or asked), role=role, invited=asked,
        cuts_own=cuts_own(world, given.name, f"github-token:{login}"),
        summary=said + (f", and is invited to {asked}" if asked else ""),
    )  # fmt: skip


def _save_collaborator(world: World, given: Planted, before: CollaboratorBefore) -> tuple[EvidenceRef, ...]:
    return (_record(world, f"collaborators/{given.name}/{given.id}.json", asdict(before)),)


def _record(world: World, name: str, record: dict[str, Any]) -> EvidenceRef:
    text = world.scrub(json.dumps(record, indent=1, sort_keys=True)).encode()
    return world.evidence.save(name, text, hashlib.sha256(text).hexdigest())


def _remove_collaborator(world: World, given: Planted, _before: CollaboratorBefore) -> Outcome:
    base, login = _collaborator(given)
    role, invited = _outside(world, base, login), _invitation(world, base, login)
    if role:
        world.github.send("DELETE", f"{base}/collaborators/{login}")
    if invited and _invitation(world, base, login):
        world.github.send("DELETE", f"{base}/invitations/{invited['id']}")
    said = f"Removed {login} from {given.name}" if role or invited else f"{login} is already out of {given.name}"
    return Outcome(changed=bool(role or invited), summary=said)


def _prove_collaborator(world: World, given: Planted, _before: CollaboratorBefore, _outcome: Outcome) -> Proof:
    base, login = _collaborator(given)
    if role := _outside(world, base, login):
        return Proof.refuted(f"GitHub's record says that {login} may {role} in {given.name}")
    if _invitation(world, base, login):
        return Proof.refuted(f"GitHub's record says that {login} is invited to {given.name}")
    return Proof.proven(Grade.STATE, f"{login} is no collaborator of {given.name}, and is not invited")


def _undo_collaborator(world: World, given: Planted, before: CollaboratorBefore, _outcome: Outcome) -> Outcome:
    """Let the account in again; GitHub makes an invitation of it, which it has to accept."""
    base, login = _collaborator(given)
    role, invited = _outside(world, base, login), _invitation(world, base, login)
    wanted, now = before.role or before.invited, role or (str(invited["permissions"]) if invited else "")
    if now == wanted:
        return Outcome(changed=False, summary=f"{login} is as it was in {given.name}")
    if now:
        raise differs(f"what {login} may do in {given.name}", {"role": wanted}, {"role": now})
    asked = {"write": "push", "read": "pull"}.get(wanted, wanted)
    world.github.send("PUT", f"{base}/collaborators/{login}", {"permission": asked})
    return Outcome(changed=True, summary=f"Invited {login} to {given.name} again ({wanted})")


remove_collaborator = Action(
    name="github.remove_collaborator", title="Remove a collaborator", inputs=Planted, before=CollaboratorBefore,
    outcome=Outcome, effect=Effect.CONTAIN, look=_look_collaborator, run=_remove_collaborator,
    prove=_prove_collaborator, undo=_undo_collaborator, evidence=_save_collaborator, kills=lambda given: given.key,
    breaks=lambda before: Breaks(stops=(f"{before.summary}: no longer", *own_warning(before)) if before.needed else ()),
    permissions=("administration:write", "metadata:read"),
)  # fmt: skip


# A self-hosted runner


@dataclass(frozen=True, slots=True, kw_only=True)
class RunnerBefore(Before):
    """The runner as GitHub tells of it: it is gone with the removal."""

    name: str = material(default="")
    labels: tuple[str, ...] = ()
    status: str = ""
    busy: bool = False


def _runner_path(given: Planted) -> str:
    if given.kind != RUNNER or not given.id.isdecimal():
        raise InputError(f"{given.key} is not a self-hosted runner")
    return f"{repository_path(given.name)}/actions/runners"


def _runner(world: World, given: Planted) -> dict[str, Any] | None:
    found = world.github.pages(_runner_path(given), "runners")
    return next((row for row in found if str(row["id"]) == given.id), None)


def _look_runner(world: World, given: Planted) -> RunnerBefore:
    found = _runner(world, given)
    if found is None:
        return RunnerBefore(needed=False, summary=f"{given.name} has no runner {given.id} any more")
    labels = tuple(str(label["name"]) for label in found["labels"])
    return RunnerBefore(
        name=found["name"], labels=labels, status=found["status"], busy=bool(found["busy"]),
        summary=f"The self-hosted runner {found['name']!r} of {given.name} is {found['status']}",
    )  # fmt: skip


def _save_runner(world: World, given: Planted, before: RunnerBefore) -> tuple[EvidenceRef, ...]:
    return (_record(world, f"runners/{given.name}/{given.id}.json", asdict(before)),)


def _remove_runner(world: World, given: Planted, _before: RunnerBefore) -> Outcome:
    """GitHub refuses while it runs a job (422): the step fails then, and people cancel the run."""
    if _runner(world, given) is None:
        return Outcome(changed=False, summary="The runner is already gone")
    try:
        world.github.send("DELETE", f"{_runner_path(given)}/{given.id}")
    except NotFound:
        return Outcome(changed=False, summary="The runner went meanwhile")
    return Outcome(changed=True, summary=f"Removed the runner {given.id} of {given.name}")


def _prove_runner(world: World, given: Planted, _before: RunnerBefore, _outcome: Outcome) -> Proof:
    if _runner(world, given) is None:
        return Proof.proven(Grade.STATE, f"GitHub's record shows no runner {given.id} of {given.name}")
    return Proof.refuted(f"GitHub's record still shows the runner {given.id} of {given.name}")


def _breaks_runner(before: RunnerBefore) -> Breaks:
    said = f"Jobs that wait for a runner with {', '.join(before.labels)}"
    return Breaks(stops=(said,) if before.needed else ())


remove_runner = Action(
    name="github.remove_runner", title="Remove a self-hosted runner", inputs=Planted, before=RunnerBefore,
    outcome=Outcome, effect=Effect.CONTAIN, look=_look_runner, run=_remove_runner, prove=_prove_runner,
    breaks=_breaks_runner, evidence=_save_runner, kills=lambda given: given.key,
    undo_none="A runner is registered anew on its machine", permissions=("administration:write",),
)  # fmt: skip


# All of a person's tokens that the organization can see


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonIn:
    """Whose tokens, and a repository of the organization that is to let none of them in any more."""

    login: str
    repository: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """One token that an organization lets in; never its value. ``way``: grant or saml, with GitHub's number of it."""

    way: str
    number: int
    what: str
    since: str = ""
    last_used_at: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonBefore(Before):
    """Every token that GitHub shows of the person; ``unknown`` says in sentences which lists could not be read."""

    held: tuple[Held, ...] = material(default=())
    unknown: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonOutcome(Outcome):
    """How many were cut, and what could not be seen."""

    cut: int
    unknown: tuple[str, ...] = ()


_LISTS = {
    "grant": ("/orgs/{org}/personal-access-tokens", "fine-grained tokens that the organization has let in"),
    "saml": ("/orgs/{org}/credential-authorizations", "tokens and keys that members have authorized by SAML"),
}


def _listed(world: World, given: PersonIn, way: str) -> list[Held]:
    """Raises bot.errors: not every organization shows the list to everybody."""
    org, login = _org(given), _login(given.login)
    path = _LISTS[way][0].format(org=org)
    if way == "saml":
        rows = [row for row in world.github.pages(path, login=login) if row["login"].lower() == login.lower()]
        return [
            Held(way=way, number=int(row["credential_id"]), what=str(row["credential_type"]),
                 since=row.get("credential_authorized_at") or "", last_used_at=row.get("credential_accessed_at") or "")
            for row in rows
        ]  # fmt: skip
    return [
        Held(way=way, number=int(row["id"]), what="fine-grained token", since=row.get("access_granted_at") or "",
             last_used_at=row.get("token_last_used_at") or "")
        for row in world.github.pages(path) if row["owner"]["login"].lower() == login.lower()
    ]  # fmt: skip


def _org(given: PersonIn) -> str:
    return repository_path(given.repository).split("/")[2]


def _seen(world: World, given: PersonIn) -> tuple[list[Held], list[str]]:
    found: list[Held] = []
    unknown: list[str] = []
    for way, (_path, what) in _LISTS.items():
        try:
            found += _listed(world, given, way)
        except (Forbidden, NotFound) as exc:
            unknown.append(f"The {what} could not be read: {exc}")
    return found, unknown


def _look_person(world: World, given: PersonIn) -> PersonBefore:
    """Raises Forbidden when neither list can be read."""
    found, unknown = _seen(world, given)
    if len(unknown) == len(_LISTS):
        need = "organization_personal_access_tokens:write (an App), or admin:org in an organization with SAML"
        raise Forbidden(
            f"no token of {given.login} can be seen: {' '.join(unknown)}", provider="github", permission=need
        )
    several = "" if len(found) == 1 else "s"
    return PersonBefore(
        needed=bool(found), held=tuple(found), unknown=tuple(unknown),
        cuts_own=bool(found) and cuts_own(world, given.repository, f"github-token:{given.login}"),
        summary=f"{_org(given)} lets {len(found)} token{several} of {given.login} in"
        + (f"; {len(unknown)} list could not be read" if unknown else ""),
    )  # fmt: skip


def _save_person(world: World, given: PersonIn, before: PersonBefore) -> tuple[EvidenceRef, ...]:
    return (_record(world, f"people/{_org(given)}-{given.login}.json", asdict(before)),)


def _cut_person(world: World, given: PersonIn, _before: PersonBefore) -> PersonOutcome:
    found, unknown = _seen(world, given)
    for one in found:
        path = f"{_LISTS[one.way][0].format(org=_org(given))}/{one.number}"
        try:
            if one.way == "saml":
                world.github.send("DELETE", path)
            else:
                world.github.send("POST", path, {"action": "revoke"})
        except NotFound:
            pass  # it went meanwhile
    several = "" if len(found) == 1 else "s"
    return PersonOutcome(
        changed=bool(found), cut=len(found), unknown=tuple(unknown),
        summary=f"{_org(given)} no longer lets {len(found)} token{several} of {given.login} in",
    )  # fmt: skip


def _prove_person(world: World, given: PersonIn, _before: PersonBefore, _outcome: PersonOutcome) -> Proof:
    left, unknown = _seen(world, given)
    if left:
        return Proof.refuted(f"GitHub still lists {', '.join(f'{one.what} {one.number}' for one in left)}")
    if len(unknown) == len(_LISTS):
        return Proof.refuted(" ".join(unknown))
    return Proof.proven(Grade.STATE, f"GitHub lists no token of {given.login} that {_org(given)} lets in")


def _breaks_person(before: PersonBefore) -> Breaks:
    stops = tuple(f"A {one.what} ({one.last_used_at or 'last use not told'})" for one in before.held)
    return Breaks(stops=(*stops, *own_warning(before)) if before.needed else (), unknown=bool(before.unknown))


cut_tokens_of = Action(
    name="github.cut_tokens_of", title="Cut every token of a person that the organization can see", inputs=PersonIn,
    before=PersonBefore, outcome=PersonOutcome, effect=Effect.CONTAIN, look=_look_person, run=_cut_person,
    prove=_prove_person, breaks=_breaks_person, evidence=_save_person,
    undo_none="The person asks to be let in again, or authorizes the token by SAML again",
    permissions=("organization_personal_access_tokens:write", "organization_administration:write"),
)  # fmt: skip

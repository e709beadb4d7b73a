"""GitHub: secrets of every store (actions, dependabot, codespaces, agents) and scope.

A value can be written, never read back; it is sealed to the store's public key (libsodium sealed box) first. Paths
and codes: docs.github.com/rest/actions/secrets, /dependabot/secrets, /codespaces/repository-secrets, /agents/secrets.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote

from nacl.public import PublicKey, SealedBox

from bot import workflow
from bot.action import Action
from bot.actions.github import cuts_own, differs, own_warning, repository_path
from bot.errors import Forbidden, InputError, NotFound, VaultError
from bot.model import Before, Breaks, Effect, EvidenceRef, Grade, Outcome, Proof, Secret, SecretStore, material
from bot.world import World

_NAME = re.compile(r"[A-Za-z_]\w*", re.ASCII)
WRITE_TAKES = timedelta(seconds=30)  # at most: our time-out, and whole seconds
COPIES = ("dependabot", "codespaces", "agents")  # stores beside the one of Actions
STORES = {"actions", "dependabot", "codespaces", "agents"}
PERMISSIONS = (
    "secrets:write", "environments:write", "organization_secrets:write", "dependabot_secrets:write",
    "organization_dependabot_secrets:write", "codespaces_secrets:write", "organization_codespaces_secrets:write",
    "agent_secrets:write", "organization_agent_secrets:write", "contents:read",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class PutSecretIn:
    """Which secret, and under which vault reference each part of the new value lies."""

    store: SecretStore
    sealed: dict[str, str]  # part (id, secret) -> vault reference


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretBefore(Before):
    """What GitHub tells of the secret. The value is not in it: GitHub never tells that."""

    exists: bool = material()
    created_at: str = ""
    updated_at: str = ""
    visibility: str = material(default="")  # of an organization's secret: all, private or selected
    selected: tuple[int, ...] = material(default=())  # ids of the repositories that may read it
    readers: tuple[str, ...] = ()  # workflow files that name it
    readers_known: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class PutSecretOutcome(Outcome):
    """When GitHub says it was written."""

    updated_at: str = ""


def folder(store: SecretStore) -> str:
    """The path under which a store's secrets stand. Raises InputError for a place that GitHub does not have."""
    base = repository_path(store.repository)
    if store.store not in STORES or not _NAME.fullmatch(store.name):
        raise InputError(f"{store.name!r} in {store.store!r} is not a secret; stores are {', '.join(sorted(STORES))}")
    if store.scope == "repository":
        return f"{base}/{store.store}/secrets"
    if store.scope == "organization":
        return f"/orgs/{store.repository.split('/')[0]}/{store.store}/secrets"
    if store.scope == "environment" and store.environment and store.store == "actions":
        return f"{base}/environments/{quote(store.environment, safe='')}/secrets"
    where = f"scope {store.scope!r}, environment {store.environment!r}"
    raise InputError(f"GitHub has no place for {store.name} in {store.store} at {where}")


def shown(store: SecretStore) -> str:
    """A place in words."""
    where = {"environment": f"environment {store.environment} of {store.repository}", "repository": store.repository}
    return f"{store.name} ({store.store}, {where.get(store.scope, store.repository.split('/')[0])})"


def places_of(world: World, repository: str, names: list[str]) -> dict[str, list[SecretStore]]:
    """Name -> where a secret of Actions of that name stands: the repository, its environments, its organization.

    Raises what GitHub says where we may not look: absence would mean nothing.
    """
    base, found = repository_path(repository), {name: list[SecretStore]() for name in names}
    environments = [str(each["name"]) for each in world.github.pages(f"{base}/environments", "environments")]
    places = [("environment", name, f"{base}/environments/{quote(name, safe='')}/secrets") for name in environments]
    places.append(("repository", "", f"{base}/actions/secrets"))
    if world.github.get(base)["owner"].get("type") != "User":  # a person's account has none
        places.append(("organization", "", f"{base}/actions/organization-secrets"))
    for scope, environment, path in places:
        for row in world.github.pages(path, "secrets"):
            if row["name"] in found:
                store = SecretStore(repository=repository, name=row["name"], scope=scope, environment=environment)
                found[row["name"]].append(store)
    return found


def copies_of(world: World, repository: str, names: Iterable[str]) -> tuple[list[SecretStore], list[str]]:
    """Secrets of the same names in the stores beside Actions, which keep an old value; and the stores we may not see.

    An organization's are named too: they are read by GitHub for this repository or for others.
    """
    wanted, found, unseen = set(names), list[SecretStore](), list[str]()
    base, owner = repository_path(repository), repository.split("/")[0]
    places = [(store, "repository", f"{base}/{store}/secrets") for store in COPIES]
    if world.github.get(base)["owner"].get("type") != "User":
        places += [(store, "organization", f"/orgs/{owner}/{store}/secrets") for store in COPIES]
    for store, scope, path in places:
        try:
            rows = list(world.github.pages(path, "secrets"))
        except (Forbidden, NotFound) as exc:
            unseen.append(f"{store} ({owner if scope == 'organization' else repository}): {exc}")
            continue
        found += [
            SecretStore(repository=repository, name=row["name"], store=store, scope=scope)
            for row in rows if row["name"] in wanted
        ]  # fmt: skip
    return found, unseen


def _get(world: World, store: SecretStore) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = world.github.get(f"{folder(store)}/{store.name}")
    except NotFound:
        world.github.get(f"{folder(store)}/public-key")  # its error: we may not look there, so absence means nothing
        return None
    return found


def _look(world: World, store: SecretStore) -> SecretBefore:
    found = _get(world, store)
    readers, known = readers_of(world, store)
    selected: list[int] = []
    if found and found.get("visibility") == "selected":
        listed = world.github.pages(f"{folder(store)}/{store.name}/repositories", "repositories")
        selected = sorted(each["id"] for each in listed)
    at = found["updated_at"] if found else ""
    return SecretBefore(
        exists=found is not None, created_at=found["created_at"] if found else "", updated_at=at,
        visibility=(found or {}).get("visibility") or "", selected=tuple(selected),
        readers=readers, readers_known=known,
        cuts_own=cuts_own(world, "", f"github-secret:{store.repository}/{store.name}"),
        summary=f"{shown(store)} was last changed {at}" if found else f"{shown(store)} does not exist",
    )  # fmt: skip


def readers_of(world: World, store: SecretStore) -> tuple[tuple[str, ...], bool]:
    """Workflow files on the default branch that name the secret; False when not all could be read."""
    base, known, readers = repository_path(store.repository), store.scope != "organization", []
    try:
        files = world.github.get(f"{base}/contents/.github/workflows")
    except NotFound:
        return (), known
    for file in files:
        if not file["name"].endswith((".yml", ".yaml")):
            continue
        content = world.github.get(f"{base}/contents/{quote(file['path'])}")
        try:
            found = workflow.parse(base64.b64decode(content["content"]).decode(errors="replace"), file["path"])
        except InputError:
            known = False
            continue
        if any(store.name.upper() in job.secrets or job.everything for job in found.jobs):
            readers.append(file["path"])
    return tuple(readers), known


# Put


def _look_put(world: World, given: PutSecretIn) -> SecretBefore:
    return _look(world, given.store)


def _put(world: World, given: PutSecretIn, before: SecretBefore) -> PutSecretOutcome:
    """Seal the new value to the store's key and write it, with the visibility that it had.

    GitHub does not tell whose value stands there. So a note goes into the vault first: a repeat after a crash finds
    its own write by it, and writes again over anybody else's. Raises VaultError when the new value is not held.
    """
    ref = given.sealed.get(given.store.part, "")
    value = world.secrets.open(ref) if ref else None
    if value is None:
        raise VaultError(f"no new value for {shown(given.store)} is held: rotate the credential first")
    now = _get(world, given.store)
    if now and _ours(world, given.store, value, now["updated_at"]):
        return PutSecretOutcome(changed=False, summary=f"{shown(given.store)} is written", updated_at=now["updated_at"])
    was = now["updated_at"] if now else ""
    if was:
        _wait_past(world, was)
    body = {**_sealed_box(world, given.store, value), **_visibility(world, given, before)}
    world.secrets.seal(_note(given.store), f"{value.fingerprint} {world.now().isoformat()} {was}")
    world.github.send("PUT", f"{folder(given.store)}/{given.store.name}", body)
    written = _get(world, given.store)
    return PutSecretOutcome(
        changed=True, summary=f"Put {value.fingerprint} into {shown(given.store)}",
        updated_at=written["updated_at"] if written else "",
    )  # fmt: skip


def _note(store: SecretStore) -> str:
    return f"put {folder(store)}/{store.name}"


def _ours(world: World, store: SecretStore, value: Secret, updated_at: str) -> bool:
    """Whether the last change is our write of this value: right after our note, and after what the note saw."""
    ref = world.secrets.ref(_note(store))
    note = world.secrets.open(ref) if ref else None
    if note is None:
        return False
    fingerprint, at, was = note.reveal().split(" ")
    written, noted = datetime.fromisoformat(updated_at), datetime.fromisoformat(at)
    after = not was or written > datetime.fromisoformat(was)
    return fingerprint == value.fingerprint and after and abs(written - noted) < WRITE_TAKES


def _sealed_box(world: World, store: SecretStore, value: Secret) -> dict[str, str]:
    key = world.github.get(f"{folder(store)}/public-key")
    sealed = SealedBox(PublicKey(base64.b64decode(key["key"]))).encrypt(value.reveal().encode())
    return {"encrypted_value": base64.b64encode(sealed).decode(), "key_id": key["key_id"]}


def _visibility(world: World, given: PutSecretIn, before: SecretBefore) -> dict[str, Any]:
    """A PUT without the old visibility would change who can read an organization's secret."""
    if given.store.scope != "organization":
        return {}
    if not before.exists:  # new: nobody but the repository of the incident
        only = world.github.get(repository_path(given.store.repository))["id"]
        return {"visibility": "selected", "selected_repository_ids": [only]}
    chosen = {"selected_repository_ids": list(before.selected)} if before.visibility == "selected" else {}
    return {"visibility": before.visibility, **chosen}


def _wait_past(world: World, moment: str) -> None:
    """GitHub's record counts whole seconds: a write in the same one as the last would not show."""
    ends = datetime.fromisoformat(moment) + timedelta(seconds=1)
    time.sleep(min(max((ends - world.now()).total_seconds(), 0.0), 1.0))


def _prove_put(world: World, given: PutSecretIn, before: SecretBefore, _outcome: PutSecretOutcome) -> Proof:
    now = _get(world, given.store)
    if now is None:
        return Proof.refuted(f"{shown(given.store)} does not exist")
    if before.exists and datetime.fromisoformat(now["updated_at"]) <= datetime.fromisoformat(before.updated_at):
        return Proof.refuted(f"{shown(given.store)} has not changed since {before.updated_at}")
    if before.exists and _who_may_read(world, given.store, now) != (before.visibility, before.selected):
        return Proof.refuted(f"{shown(given.store)} is no longer visible to the same repositories")
    return Proof.proven(Grade.STATE, f"GitHub's record says {shown(given.store)} was changed {now['updated_at']}")


def _who_may_read(world: World, store: SecretStore, now: dict[str, Any]) -> tuple[str, tuple[int, ...]]:
    visibility = now.get("visibility") or ""
    if visibility != "selected":
        return visibility, ()
    listed = world.github.pages(f"{folder(store)}/{store.name}/repositories", "repositories")
    return visibility, tuple(sorted(each["id"] for each in listed))


def _breaks_put(before: SecretBefore) -> Breaks:
    stops = tuple(f"{each}: runs that are queued or running keep the old value" for each in before.readers)
    return Breaks(stops=(*stops, *own_warning(before)), unknown=not before.readers_known)


put_secret = Action(
    name="github.put_secret", title="Put a new value into a secret", inputs=PutSecretIn, before=SecretBefore,
    outcome=PutSecretOutcome, effect=Effect.CHANGE, look=_look_put, run=_put, prove=_prove_put, breaks=_breaks_put,
    undo_none="GitHub never tells the old value, so it cannot be put back", permissions=PERMISSIONS,
)  # fmt: skip


# Delete


def _look_delete(world: World, given: SecretStore) -> SecretBefore:
    found = _look(world, given)
    return SecretBefore(**{**{n: getattr(found, n) for n in SecretBefore.__dataclass_fields__}, "needed": found.exists})


def _save_secret(world: World, given: SecretStore, before: SecretBefore) -> tuple[EvidenceRef, ...]:
    """All that GitHub tells of it: name, place, visibility, times, and which workflows name it."""
    record = {"secret": shown(given), **{n: getattr(before, n) for n in SecretBefore.__dataclass_fields__}}
    text = json.dumps(record, indent=1, sort_keys=True)
    name = f"secrets/{given.store}-{given.scope}-{given.name}.json"
    digest = hashlib.sha256(text.encode()).hexdigest()
    return (world.evidence.save(name, world.scrub(text).encode(), digest),)


def _delete(world: World, given: SecretStore, before: SecretBefore) -> Outcome:
    if not before.needed or _get(world, given) is None:  # one that came after the look has no evidence on file
        return Outcome(changed=False, summary=f"{shown(given)} is already gone")
    world.github.send("DELETE", f"{folder(given)}/{given.name}")
    return Outcome(changed=True, summary=f"Deleted {shown(given)}")


def _prove_delete(world: World, given: SecretStore, _before: SecretBefore, _outcome: Outcome) -> Proof:
    if _get(world, given) is None:
        return Proof.proven(Grade.STATE, f"GitHub has no {shown(given)} any more")
    return Proof.refuted(f"{shown(given)} still exists")


def _breaks_delete(before: SecretBefore) -> Breaks:
    if not before.needed:
        return Breaks()
    stops = (f"{each} finds it empty from its next run on" for each in before.readers)
    return Breaks(stops=(*stops, *own_warning(before)), unknown=not before.readers_known)


delete_secret = Action(
    name="github.delete_secret", title="Delete a secret", inputs=SecretStore, before=SecretBefore, outcome=Outcome,
    effect=Effect.DESTROY, look=_look_delete, run=_delete, prove=_prove_delete, breaks=_breaks_delete,
    evidence=_save_secret, undo_none="GitHub never tells the old value, so it cannot be put back",
    permissions=PERMISSIONS,
)  # fmt: skip


# Narrow


@dataclass(frozen=True, slots=True, kw_only=True)
class NarrowIn:
    """An organization's secret, and the repositories ("owner/name") that go on reading it; others no longer do."""

    store: SecretStore
    keep: tuple[str, ...]


def _look_narrow(world: World, given: NarrowIn) -> SecretBefore:
    """Raises InputError where GitHub narrows it only with a new value, NotFound where there is no such secret."""
    if given.store.scope != "organization":
        raise InputError(f"{shown(given.store)} is read by one repository already; only an organization's is narrowed")
    found = _look(world, given.store)
    if not found.exists:
        raise NotFound(f"there is no {shown(given.store)}", provider="github")
    if found.visibility != "selected":
        raise InputError(
            f"{shown(given.store)} is visible to {found.visibility} repositories, and GitHub narrows that only "
            "together with a new value: rotate it, then put it with github.put_secret as a repository's own secret"
        )
    left = _narrowed(world, given, found.selected)
    lost = len(found.selected) - len(left)
    return SecretBefore(**{
        **{n: getattr(found, n) for n in SecretBefore.__dataclass_fields__}, "needed": bool(lost),
        "summary": f"{shown(given.store)} is read by {len(found.selected)} repositories, {lost} too many",
    })  # fmt: skip


def _narrowed(world: World, given: NarrowIn, selected: tuple[int, ...]) -> list[int]:
    """Those that may read it now and go on: nobody is let in who was not."""
    kept = {world.github.get(repository_path(name))["id"] for name in given.keep}
    return sorted(kept & set(selected))


def _narrow(world: World, given: NarrowIn, before: SecretBefore) -> Outcome:
    now = _selected(world, given.store)
    wanted = _narrowed(world, given, before.selected)
    if now == tuple(wanted):
        return Outcome(changed=False, summary=f"{shown(given.store)} is narrow enough")
    _select(world, given.store, wanted)
    return Outcome(changed=True, summary=f"{shown(given.store)} is read by {len(wanted)} repositories")


def _selected(world: World, store: SecretStore) -> tuple[int, ...]:
    return _who_may_read(world, store, _get(world, store) or {})[1]


def _select(world: World, store: SecretStore, repositories: list[int]) -> None:
    path = f"{folder(store)}/{store.name}/repositories"
    world.github.send("PUT", path, {"selected_repository_ids": repositories})


def _prove_narrow(world: World, given: NarrowIn, before: SecretBefore, _outcome: Outcome) -> Proof:
    left, wanted = _selected(world, given.store), _narrowed(world, given, before.selected)
    said = f"GitHub's record says that {len(left)} repositories read {shown(given.store)}"
    return Proof.proven(Grade.STATE, said) if set(left) <= set(wanted) else Proof.refuted(said)


def _widen(world: World, given: NarrowIn, before: SecretBefore, _outcome: Outcome) -> Outcome:
    now, ours = _selected(world, given.store), tuple(_narrowed(world, given, before.selected))
    if now == before.selected:
        return Outcome(changed=False, summary="The same repositories read it as before")
    if now != ours:
        raise differs(f"who reads {shown(given.store)}", {"repositories": ours}, {"repositories": now})
    _select(world, given.store, list(before.selected))
    return Outcome(changed=True, summary=f"{len(before.selected)} repositories read {shown(given.store)} again")


def _breaks_narrow(before: SecretBefore) -> Breaks:
    stops = ("Workflows that name it, in the repositories that no longer read it",) if before.needed else ()
    return Breaks(stops=(*stops, *own_warning(before)), unknown=before.needed)


narrow_organization_secret = Action(
    name="github.narrow_organization_secret", title="Narrow who reads an organization's secret", inputs=NarrowIn,
    before=SecretBefore, outcome=Outcome, effect=Effect.CONTAIN, look=_look_narrow, run=_narrow, prove=_prove_narrow,
    breaks=_breaks_narrow, undo=_widen,
    permissions=(
        "organization_secrets:write", "organization_dependabot_secrets:write", "metadata:read", "contents:read",
    ),
)  # fmt: skip

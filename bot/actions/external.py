"""Stores of secrets outside GitHub: put the new value where the file of stores says that a copy of the old one stands.

One action for all of them, so that a playbook needs one step whatever a team uses. What is there is read first: a
repeat after a crash finds its own write, and a value that somebody else has put there meanwhile is never written over.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict, dataclass, field

from bot.action import Action
from bot.actions import aws_iam
from bot.errors import Conflict, InputError, NotFound, VaultError
from bot.model import Before, Breaks, Credential, Effect, EvidenceRef, Grade, Outcome, Proof, StoredCopy, material
from bot.world import ExternalStore, Held, World

TRIES = 5  # to write what others write to at the same time
_LATE = {
    "kubernetes": "pods that have it in their environment keep the old value until they are started again",
    "vault": "whatever has read it once, or has it in a file, keeps the old value until it reads again",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class PutCopyIn:
    """Which copy, the credential that is replaced, and under which vault reference each part of the new one lies."""

    copy: StoredCopy
    credential: Credential
    sealed: dict[str, str]  # part (id, secret) -> vault reference


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyBefore(Before):
    """The secret as it was. ``prints``: "key fingerprint" of what stands under each of our keys; no value is in it.

    ``holds``: the old value, the new value, another value, or unknown where the old one is not held.
    """

    store: str
    kind: str
    name: str
    version: str = ""
    changed_at: str = ""
    prints: tuple[str, ...] = material(default=())
    holds: str = material(default="unknown")
    keys: tuple[str, ...] = ()  # all keys of the secret


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyOutcome(Outcome):
    """The store's own mark of what was written, and when that was."""

    version: str = ""
    at: str = field(default="")


def _store(world: World, copy: StoredCopy) -> ExternalStore:
    """Raises InputError for a copy that no file declares: what a journal says is not enough to write somewhere."""
    found = world.external.get(copy.store)
    if found is None or copy not in [each.copy for each in world.declared]:
        raise InputError(f"{copy} is not declared (BULKHEAD_STORES): nothing is written there")
    return found


def _keys(copy: StoredCopy) -> dict[str, str]:
    """Part -> key; the whole secret is the key ''."""
    return copy.keys or {"secret": ""}


def _read(world: World, copy: StoredCopy) -> Held:
    try:
        return _store(world, copy).read(copy.name)
    except NotFound as exc:
        said = f"{copy} is declared and not there: make it, or correct the file of stores ({exc})"
        missing = NotFound(said, provider=exc.provider, code=exc.code)
    raise missing


def _new(world: World, given: PutCopyIn) -> dict[str, str]:
    """Key -> new value. Raises VaultError where one is not held."""
    found = {}
    for part, key in _keys(given.copy).items():
        value = world.secrets.open(given.sealed[part]) if part in given.sealed else None
        if value is None:
            raise VaultError(f"no new {part} for {given.copy} is held: rotate the credential first")
        found[key] = value.reveal()
    return found


def _prints(world: World, copy: StoredCopy, held: Held) -> tuple[str, ...]:
    keys = sorted(key for key in _keys(copy).values() if key in held.values)
    return tuple(f"{key} {world.secrets.fingerprint(held.values[key])}".strip() for key in keys)


def _holds(world: World, given: PutCopyIn, held: Held, wanted: dict[str, str]) -> str:
    if all(held.values.get(key) == value for key, value in wanted.items()):
        return "the new value"
    keys, old = _keys(given.copy), world.secrets.of(given.credential.key)
    known = {"secret": old.reveal()} if old else {}
    known |= {"id": given.credential.id} if "id" in keys and given.credential.id else {}
    told = [held.values.get(keys[part]) == value for part, value in known.items() if part in keys]
    return "unknown" if not told else "the old value" if all(told) else "another value"


def _look(world: World, given: PutCopyIn) -> CopyBefore:
    held, wanted = _read(world, given.copy), _new(world, given)
    holds = _holds(world, given, held, wanted)
    if held.locked and holds != "the new value":
        raise Conflict(held.locked)
    what = {"unknown": "a value, of which nobody knows whether it is the old one"}.get(holds, holds)
    return CopyBefore(
        needed=holds != "the new value", store=given.copy.store, kind=given.copy.kind, name=given.copy.name,
        version=held.version, changed_at=held.changed_at, prints=_prints(world, given.copy, held), holds=holds,
        keys=tuple(sorted(key for key in held.values if key)),
        summary=f"{given.copy} holds {what}" + (f", since {held.changed_at}" if held.changed_at else ""),
    )  # fmt: skip


def _put(world: World, given: PutCopyIn, before: CopyBefore) -> CopyOutcome:
    store, wanted = _store(world, given.copy), _new(world, given)
    said = f"put {', '.join(map(world.secrets.fingerprint, wanted.values()))} into {given.copy}"
    for _ in range(TRIES):
        held = _read(world, given.copy)
        if all(held.values.get(key) == value for key, value in wanted.items()):
            return CopyOutcome(changed=False, version=held.version, summary=f"{given.copy} holds the new value")
        now = _prints(world, given.copy, held)
        if now != before.prints:
            raise Conflict(
                f"somebody else has put another value into {given.copy}: see whose it is, then retry",
                {"fingerprints": (before.prints, now)},
            )  # fmt: skip
        if held.locked:
            raise Conflict(held.locked)
        try:
            store.write(given.copy.name, wanted, held)
        except Conflict:  # another key of the same secret was written just now
            continue
        done = _read(world, given.copy)
        return CopyOutcome(changed=True, version=done.version, at=aws_iam.iso(world.now()), summary=said)
    raise Conflict(f"{given.copy} is written to all the time; retry when that is over")


def _prove(world: World, given: PutCopyIn, _before: CopyBefore, out: CopyOutcome) -> Proof:
    held, wanted = _read(world, given.copy), _new(world, given)
    if all(held.values.get(key) == value for key, value in wanted.items()):
        version = f", version {held.version}" if held.version else ""
        return Proof.proven(Grade.STATE, f"{given.copy} holds the new value{version}")
    said = f"{given.copy} does not hold the new value"
    return Proof.not_yet(said) if aws_iam.settling(world, out.at) else Proof.refuted(said)


def _save(world: World, given: PutCopyIn, before: CopyBefore) -> tuple[EvidenceRef, ...]:
    """The secret's name, version, keys and fingerprints. No value is in it."""
    record = {name: value for name, value in asdict(before).items() if name not in ("needed", "cuts_own", "summary")}
    text = json.dumps(record, indent=1, sort_keys=True)
    readable = re.sub(r"[^\w.-]+", "-", given.copy.name).strip("-")[:60]
    name = f"stores/{given.copy.store}-{readable}-{hashlib.sha256(given.copy.name.encode()).hexdigest()[:8]}.json"
    digest = hashlib.sha256(text.encode()).hexdigest()
    return (world.evidence.save(name, world.scrub(text).encode(), digest),)


def _breaks(before: CopyBefore) -> Breaks:
    late = _LATE.get(before.kind, "whatever caches it keeps the old value until it reads again")
    return Breaks(stops=(f"{before.name} in {before.store}: {late}",)) if before.needed else Breaks()


put_copy = Action(
    name="stores.put_copy", title="Put a new value into a copy outside GitHub", inputs=PutCopyIn, before=CopyBefore,
    outcome=CopyOutcome, effect=Effect.CHANGE, look=_look, run=_put, prove=_prove, evidence=_save, breaks=_breaks,
    undo_none="What stood there is the credential that was cut; nothing that reads it could use it",
    permissions=(
        "secretsmanager:DescribeSecret", "secretsmanager:GetSecretValue", "secretsmanager:PutSecretValue",
        "ssm:GetParameter", "ssm:DescribeParameters", "ssm:PutParameter",
        "kms:Decrypt and kms:GenerateDataKey on the key of such a secret, where it has one of its own",
        "read and update on the path in Vault (KV version 2: with /data/ in it)",
        "get and patch on the secret in Kubernetes, by its name",
    ),
)  # fmt: skip

"""Docker Hub: move a tag back to the last good image, delete one; each keeps the manifest and can push it back.

To delete a tag leaves its image where it is: whoever has its digest still gets it. The manifest is kept in the Before,
so an undo needs no more than that its blobs are still there.
"""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass

from bot.action import Action
from bot.actions.dockerhub import hub
from bot.errors import Conflict, NotFound
from bot.model import Before, Breaks, Effect, EvidenceRef, Grade, ImageTag, Outcome, Proof, TagMove, material
from bot.registries.dockerhub import DockerHubClient, Manifest
from bot.world import World

PERMISSIONS = ("scope-image-push", "scope-tag-admin")
MOST_KEPT = 64 * 1024  # bytes of a manifest that a Before holds; a larger one stays at the registry alone


# What a tag leads to, kept


def _save(world: World, package: str, tag: str) -> tuple[EvidenceRef, ...]:
    """The manifest and every config that it names, by digest, and what Docker Hub tells of the tag."""
    asked = hub(world)
    try:
        top = asked.manifest(package, tag)
    except NotFound:
        return ()
    saved = []
    for manifest in (top, *_parts(asked, package, top)):
        folder = f"dockerhub/{package}@{manifest.digest}"
        saved.append(_file(world, f"{folder}/manifest.json", manifest.data))
        named = manifest.document.get("config") or {}
        if "digest" in named:
            saved.append(_file(world, f"{folder}/config.json", asked.blob(package, str(named["digest"]))))
    record = {"package": package, "tag": tag, "digest": top.digest, "record": asked.record(package, tag)}
    text = json.dumps(record, indent=1, sort_keys=True).encode()
    return (*saved, _file(world, f"dockerhub/{package}:{tag}/record.json", text))


def _parts(asked: DockerHubClient, package: str, top: Manifest) -> list[Manifest]:
    """The images of an index, one a platform."""
    return [asked.manifest(package, str(row["digest"])) for row in top.document.get("manifests") or ()]


def _file(world: World, name: str, data: bytes) -> EvidenceRef:
    """As it is served, without secrets: an image's environment may hold some."""
    text = data.decode(errors="replace")
    return world.evidence.save(name, world.scrub(text).encode(), hashlib.sha256(data).hexdigest())


def _kept(package: str, digest: str, kind: str, document: str, asked: DockerHubClient) -> Manifest:
    """The manifest of a Before: its own copy, or where that was too large, the registry's. Raises NotFound."""
    if not document:
        return asked.manifest(package, digest)
    return Manifest(digest=digest, media_type=kind, data=base64.b64decode(document))


@dataclass(frozen=True, slots=True, kw_only=True)
class TagBefore(Before):
    """Where the tag leads, '' for nowhere, and the manifest, in base64, to push it back."""

    current: str = material(default="")
    media_type: str = ""
    document: str = ""


def _now(world: World, package: str, tag: str, *, needed: bool, said: str) -> TagBefore:
    """A Before with the manifest that a tag leads to."""
    try:
        found = hub(world).manifest(package, tag)
    except NotFound:
        return TagBefore(needed=needed, summary=said)
    kept = base64.b64encode(found.data).decode() if len(found.data) <= MOST_KEPT else ""
    return TagBefore(
        needed=needed, current=found.digest, media_type=found.media_type, document=kept, summary=said
    )  # fmt: skip


def _restore(world: World, package: str, tag: str, before: TagBefore, ours: str) -> Outcome:
    """Push back what a tag led to. Raises Conflict when it is no longer where we left it (``ours``, '' for gone)."""
    current, asked = hub(world).digest(package, tag), hub(world)
    if current == before.current:
        return Outcome(changed=False, summary=f"{package}:{tag} is as it was")
    if current != ours:
        raise Conflict(f"{package}:{tag} was pushed since", {tag: (ours or "gone", current or "gone")})
    asked.put(package, tag, _kept(package, before.current, before.media_type, before.document, asked))
    return Outcome(changed=True, summary=f"{package}:{tag} leads to {_short(before.current)} again")


def _short(digest: str) -> str:
    return digest.removeprefix("sha256:")[:12] or "nothing"


# Move a tag back


def _look_move(world: World, given: TagMove) -> TagBefore:
    """Only while it leads to the bad image: what the maintainers have pushed meanwhile stands."""
    current = hub(world).digest(given.package, given.tag)
    said = f"{given} leads to {_short(current)}; {_short(given.good)} is the last good one"
    return _now(world, given.package, given.tag, needed=current == given.bad, said=said)


def _move(world: World, given: TagMove, before: TagBefore) -> Outcome:
    """Raises NotFound when the good image is gone."""
    asked = hub(world)
    if not before.needed or asked.digest(given.package, given.tag) != given.bad:
        return Outcome(changed=False, summary=f"{given} does not lead to {_short(given.bad)}")
    asked.put(given.package, given.tag, asked.manifest(given.package, given.good))
    return Outcome(changed=True, summary=f"{given} leads to {_short(given.good)} again")


def _prove_move(world: World, given: TagMove, _before: TagBefore, _outcome: Outcome) -> Proof:
    current = hub(world).digest(given.package, given.tag)
    if current == given.bad:
        return Proof.refuted(f"a pull of {given} still gets {_short(given.bad)}")
    return Proof.proven(Grade.STATE, f"the registry's answer to a pull: {given} leads to {_short(current)}")


def _undo_move(world: World, given: TagMove, before: TagBefore, _outcome: Outcome) -> Outcome:
    return _restore(world, given.package, given.tag, before, given.good)


def _breaks_move(before: TagBefore) -> Breaks:
    stops = ("deployments that have pulled what it leads to now get the earlier image when they pull again",)
    return Breaks(stops=stops, unknown=True) if before.needed else Breaks()


move_tag_back = Action(
    name="dockerhub.move_tag_back", title="Move an image's tag back to the last good image", inputs=TagMove,
    before=TagBefore, outcome=Outcome, effect=Effect.CONTAIN, look=_look_move, run=_move, prove=_prove_move,
    breaks=_breaks_move, evidence=lambda world, given, _before: _save(world, given.package, given.tag),
    undo=_undo_move, permissions=PERMISSIONS,
)  # fmt: skip


# Delete a tag


def _look_delete(world: World, given: ImageTag) -> TagBefore:
    current = hub(world).digest(given.package, given.tag)
    said = f"{given} leads to {_short(current)}"
    if current and current != given.digest:
        said += f", and not to {_short(given.digest)} any more, which is what nobody pushed by right"
    return _now(world, given.package, given.tag, needed=current == given.digest, said=said)


def _delete(world: World, given: ImageTag, before: TagBefore) -> Outcome:
    asked = hub(world)
    if not before.needed or asked.digest(given.package, given.tag) != given.digest:
        return Outcome(changed=False, summary=f"{given} does not lead to {_short(given.digest)}")
    asked.delete_tag(given.package, given.tag)
    return Outcome(changed=True, summary=f"Deleted {given}; its image can still be had by its digest")


def _prove_delete(world: World, given: ImageTag, _before: TagBefore, _outcome: Outcome) -> Proof:
    current = hub(world).digest(given.package, given.tag)
    if current == given.digest:
        return Proof.refuted(f"a pull of {given} still gets {_short(given.digest)}")
    said = f"leads to {_short(current)}" if current else "is gone"
    return Proof.proven(Grade.STATE, f"the registry's answer to a pull: {given} {said}")


def _undo_delete(world: World, given: ImageTag, before: TagBefore, _outcome: Outcome) -> Outcome:
    return _restore(world, given.package, given.tag, before, "")


def _breaks_delete(before: TagBefore) -> Breaks:
    return Breaks(stops=("every pull of this tag fails",), unknown=True) if before.needed else Breaks()


delete_tag = Action(
    name="dockerhub.delete_tag", title="Delete an image's tag on Docker Hub", inputs=ImageTag, before=TagBefore,
    outcome=Outcome, effect=Effect.CONTAIN, look=_look_delete, run=_delete, prove=_prove_delete,
    breaks=_breaks_delete, evidence=lambda world, given, _before: _save(world, given.package, given.tag),
    undo=_undo_delete, permissions=PERMISSIONS,
)  # fmt: skip

"""What Docker Hub and ghcr.io have in common: a tag is moved back to the last good image, and can be moved again.

The manifest is kept in the Before, so an undo needs no more than that its blobs are still there. ``folder`` is where
evidence of the registry lies.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass

from bot.action import Action
from bot.errors import Conflict, NotFound
from bot.images import Manifest
from bot.model import Before, Breaks, Effect, EvidenceRef, Grade, Outcome, Proof, TagMove, material
from bot.world import ImageTags, World

MOST_KEPT = 64 * 1024  # bytes of a manifest that a Before holds; a larger one stays at the registry alone
Of = Callable[[World], ImageTags]  # the registry of a World. Raises InputError where it has none


def save(world: World, of: Of, folder: str, package: str, tag: str) -> tuple[EvidenceRef, ...]:
    """The manifest and every config that it names, by digest, and what the registry tells of the tag."""
    asked = of(world)
    try:
        top = asked.manifest(package, tag)
    except NotFound:
        return ()
    saved = []
    for manifest in (top, *_parts(asked, package, top)):
        place = f"{folder}/{package}@{manifest.digest}"
        saved.append(_file(world, f"{place}/manifest.json", manifest.data))
        named = manifest.document.get("config") or {}
        if "digest" in named:
            saved.append(_file(world, f"{place}/config.json", asked.blob(package, str(named["digest"]))))
    record = {"package": package, "tag": tag, "digest": top.digest, "record": asked.record(package, tag)}
    text = json.dumps(record, indent=1, sort_keys=True).encode()
    return (*saved, _file(world, f"{folder}/{package}:{tag}/record.json", text))


def _parts(asked: ImageTags, package: str, top: Manifest) -> list[Manifest]:
    """The images of an index, one a platform."""
    return [asked.manifest(package, str(row["digest"])) for row in top.document.get("manifests") or ()]


def _file(world: World, name: str, data: bytes) -> EvidenceRef:
    """As it is served, without secrets: an image's environment may hold some."""
    text = data.decode(errors="replace")
    return world.evidence.save(name, world.scrub(text).encode(), hashlib.sha256(data).hexdigest())


def _kept(package: str, digest: str, kind: str, document: str, asked: ImageTags) -> Manifest:
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


def now(asked: ImageTags, package: str, tag: str, *, needed: bool, said: str) -> TagBefore:
    """A Before with the manifest that a tag leads to."""
    try:
        found = asked.manifest(package, tag)
    except NotFound:
        return TagBefore(needed=needed, summary=said)
    kept = base64.b64encode(found.data).decode() if len(found.data) <= MOST_KEPT else ""
    return TagBefore(
        needed=needed, current=found.digest, media_type=found.media_type, document=kept, summary=said
    )  # fmt: skip


def restore(asked: ImageTags, package: str, tag: str, before: TagBefore, ours: str) -> Outcome:
    """Push back what a tag led to. Raises Conflict when it is no longer where we left it (``ours``, '' for gone)."""
    current = asked.digest(package, tag)
    if current == before.current:
        return Outcome(changed=False, summary=f"{package}:{tag} is as it was")
    if current != ours:
        raise Conflict(f"{package}:{tag} was pushed since", {tag: (ours or "gone", current or "gone")})
    asked.put(package, tag, _kept(package, before.current, before.media_type, before.document, asked))
    return Outcome(changed=True, summary=f"{package}:{tag} leads to {short(before.current)} again")


def short(digest: str) -> str:
    """A digest as people read it."""
    return digest.removeprefix("sha256:")[:12] or "nothing"


def moves_back(
    name: str, title: str, of: Of, folder: str, permissions: tuple[str, ...]
) -> Action[TagMove, TagBefore, Outcome]:
    """The action that moves a tag of a registry back."""

    def look(world: World, given: TagMove) -> TagBefore:
        """Only while it leads to the bad image: what the maintainers have pushed meanwhile stands."""
        asked = of(world)
        current = asked.digest(given.package, given.tag)
        said = f"{given} leads to {short(current)}; {short(given.good)} is the last good one"
        return now(asked, given.package, given.tag, needed=current == given.bad, said=said)

    def move(world: World, given: TagMove, before: TagBefore) -> Outcome:
        """Raises NotFound when the good image is gone."""
        asked = of(world)
        if not before.needed or asked.digest(given.package, given.tag) != given.bad:
            return Outcome(changed=False, summary=f"{given} does not lead to {short(given.bad)}")
        asked.put(given.package, given.tag, asked.manifest(given.package, given.good))
        return Outcome(changed=True, summary=f"{given} leads to {short(given.good)} again")

    def prove(world: World, given: TagMove, _before: TagBefore, _outcome: Outcome) -> Proof:
        current = of(world).digest(given.package, given.tag)
        if current == given.bad:
            return Proof.refuted(f"a pull of {given} still gets {short(given.bad)}")
        return Proof.proven(Grade.STATE, f"the registry's answer to a pull: {given} leads to {short(current)}")

    def undo(world: World, given: TagMove, before: TagBefore, _outcome: Outcome) -> Outcome:
        return restore(of(world), given.package, given.tag, before, given.good)

    def breaks(before: TagBefore) -> Breaks:
        stops = ("deployments that have pulled what it leads to now get the earlier image when they pull again",)
        return Breaks(stops=stops, unknown=True) if before.needed else Breaks()

    return Action(
        name=name, title=title, inputs=TagMove, before=TagBefore, outcome=Outcome, effect=Effect.CONTAIN, look=look,
        run=move, prove=prove, breaks=breaks, undo=undo, permissions=permissions,
        evidence=lambda world, given, _before: save(world, of, folder, given.package, given.tag),
    )  # fmt: skip

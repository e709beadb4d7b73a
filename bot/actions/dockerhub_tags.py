"""Docker Hub: move a tag back to the last good image, delete one; each keeps the manifest and can push it back.

To delete a tag leaves its image where it is: whoever has its digest still gets it. The manifest is kept in the Before,
so an undo needs no more than that its blobs are still there.
"""

from __future__ import annotations

from bot.action import Action
from bot.actions.dockerhub import NAME, hub
from bot.actions.image_tags import TagBefore, moves_back, now, restore, save, short
from bot.model import Breaks, Effect, Grade, ImageTag, Outcome, Proof
from bot.world import World

PERMISSIONS = ("scope-image-push", "scope-tag-admin")

move_tag_back = moves_back(
    "dockerhub.move_tag_back", "Move an image's tag back to the last good image", hub, NAME, PERMISSIONS
)


# Delete a tag


def _look_delete(world: World, given: ImageTag) -> TagBefore:
    current = hub(world).digest(given.package, given.tag)
    said = f"{given} leads to {short(current)}"
    if current and current != given.digest:
        said += f", and not to {short(given.digest)} any more, which is what nobody pushed by right"
    return now(hub(world), given.package, given.tag, needed=current == given.digest, said=said)


def _delete(world: World, given: ImageTag, before: TagBefore) -> Outcome:
    asked = hub(world)
    if not before.needed or asked.digest(given.package, given.tag) != given.digest:
        return Outcome(changed=False, summary=f"{given} does not lead to {short(given.digest)}")
    asked.delete_tag(given.package, given.tag)
    return Outcome(changed=True, summary=f"Deleted {given}; its image can still be had by its digest")


def _prove_delete(world: World, given: ImageTag, _before: TagBefore, _outcome: Outcome) -> Proof:
    current = hub(world).digest(given.package, given.tag)
    if current == given.digest:
        return Proof.refuted(f"a pull of {given} still gets {short(given.digest)}")
    said = f"leads to {short(current)}" if current else "is gone"
    return Proof.proven(Grade.STATE, f"the registry's answer to a pull: {given} {said}")


def _undo_delete(world: World, given: ImageTag, before: TagBefore, _outcome: Outcome) -> Outcome:
    return restore(hub(world), given.package, given.tag, before, "")


def _breaks_delete(before: TagBefore) -> Breaks:
    return Breaks(stops=("every pull of this tag fails",), unknown=True) if before.needed else Breaks()


delete_tag = Action(
    name="dockerhub.delete_tag", title="Delete an image's tag on Docker Hub", inputs=ImageTag, before=TagBefore,
    outcome=Outcome, effect=Effect.CONTAIN, look=_look_delete, run=_delete, prove=_prove_delete,
    breaks=_breaks_delete, evidence=lambda world, given, _before: save(world, hub, NAME, given.package, given.tag),
    undo=_undo_delete, permissions=PERMISSIONS,
)  # fmt: skip

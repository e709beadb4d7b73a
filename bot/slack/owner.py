"""The question to whom a credential may belong: was this you? Pure."""

from __future__ import annotations

from bot.slack import kit, names
from bot.slack.card import Posting, banner, metadata
from bot.slack.kit import Block
from bot.slack.picture import Picture
from bot.story import exposure


def owner_question(picture: Picture, name: str, user: str) -> Posting:
    """The question to ``user``, whom triage calls ``name``, or what was answered."""
    found = picture.triage or {}
    key = found["credential"]
    text = (
        f":wave: A credential that seems to be yours has leaked: {kit.escape(key['kind'])} "
        f"{kit.code(key['id'] or key['fingerprint'])}.\n{kit.clip(kit.escape(exposure(found)), 1500)}"
    )
    why = next((owner["reason"] for owner in found["owners"] if owner["name"] == name), "")
    small = [f"*Why you:* {kit.clip(kit.escape(why), 600) or 'triage names you'}", kit.code(picture.row.id, 100)]
    blocks = [*banner(picture), kit.section(text), *_answer(picture, user), kit.context(*small)]
    said = f"{'DRILL: ' if picture.drill else ''}A credential that seems to be yours has leaked. Was this you?"
    return Posting(blocks=blocks, text=said, metadata=metadata(picture, "owner"))


def _answer(picture: Picture, user: str) -> list[Block]:
    answer = picture.last("owner-answer")
    if answer is not None:
        said = "it was me" if answer["said"] == "yes" else "it was not me"
        return [kit.section(f":white_check_mark: {names.display(str(answer['by']))} says: *{said}*. Thank you.")]
    if picture.over:
        return [kit.section("The incident is over; no answer is needed any more.")]
    value = kit.value_of(picture.row.id, "owner", user=user)
    return [
        kit.section(
            "*Was what happened with it your doing?* If you do not know it, say no: that is how a theft shows."
        ),
        kit.actions(
            kit.button("Yes, that was me", "was-me-yes", value),
            kit.button("No, that was not me", "was-me-no", value, style="danger"),
        ),
    ]

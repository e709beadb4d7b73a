"""Forms as Slack takes them: a dialog with text and fields. What one carries is ids, made by ``heard.carried``."""

from __future__ import annotations

from collections.abc import Mapping

from bot.slack.payloads import Payload


def modal(callback: str, title: str, blocks: list[Payload], carries: str, *, submit: str = "") -> Payload:
    """A form. Without ``submit`` it has nothing to send: what is chosen in it acts at once."""
    sends = {"submit": plain(submit)} if submit else {}
    return {
        "type": "modal", "callback_id": callback, "private_metadata": carries, "title": plain(title), **sends,
        "close": plain("Cancel"), "blocks": blocks,
    }  # fmt: skip


def said(text: str) -> Payload:
    """A paragraph of mrkdwn, which is escaped already."""
    return {"type": "section", "text": {"type": "mrkdwn", "text": text}}


def words(
    name: str, label: str, most: int, *, optional: bool = False, many: bool = False, hint: str = ""
) -> Payload:  # fmt: skip
    """A field for words; block and field have one id."""
    element: Payload = {"type": "plain_text_input", "action_id": name, "max_length": most}
    more: Payload = {"hint": plain(hint)} if hint else {}
    if optional:
        more["optional"] = True
    return field(name, label, element | ({"multiline": True} if many else {})) | more


def field(name: str, label: str, element: Payload) -> Payload:
    """Any other field."""
    return {"type": "input", "block_id": name, "label": plain(label), "element": element}


def options(choices: Mapping[str, str]) -> list[Payload]:
    """What a list offers: value -> words, as many as Slack takes (100), each no longer than that (75)."""
    return [{"text": plain(text[:75]), "value": value} for value, text in list(choices.items())[:100]]


def plain(text: str) -> Payload:
    """A plain_text object."""
    return {"type": "plain_text", "text": text}

"""What every payload of ours must hold, by slack_sdk's own models and by Slack's documented limits."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from slack_sdk.models.blocks import Block
from slack_sdk.models.views import View

from bot.range.slack import blocks as refusals

TOKEN = re.compile(r"<([^<>]*)>")
OURS = re.compile(r"@[UW][A-Z0-9]+|!date\^\d+\^[^|^]+\|[^|]+|!subteam\^S[A-Z0-9]+|#C[A-Z0-9]+|https?://[^|\s]+\|[^|]+")
ENTITY = re.compile(r"&(?!amp;|lt;|gt;)")


def walk(value: Any) -> Iterator[dict[str, Any]]:
    """Every object within."""
    if isinstance(value, dict):
        yield value
        for one in value.values():
            yield from walk(one)
    elif isinstance(value, list):
        for one in value:
            yield from walk(one)


def check(blocks: list[dict[str, Any]], most: int = 50) -> None:
    """Raises AssertionError, or the SDK's own error, for what Slack would refuse."""
    assert 0 < len(blocks) <= most
    for block in blocks:
        parsed = Block.parse(block)
        assert parsed is not None, block
        parsed.validate_json()
        again = parsed.to_dict()
        assert again["type"] == block["type"]
    assert most > 50 or refusals.check_message(blocks) == [], "the range's Slack refuses it"
    assert most > 50 or not refusals.too_long(blocks), "each block is right, and together they are too long"
    for one in walk(blocks):
        _text(one)
        if one.get("type") == "context":
            assert 1 <= len(one["elements"]) <= 10
        if one.get("type") == "actions":
            assert 1 <= len(one["elements"]) <= 25
            ids = [element["action_id"] for element in one["elements"]]
            assert len(set(ids)) == len(ids)
        if one.get("type") == "button":
            assert len(one["value"]) <= 2000
            assert "url" not in one, "a button carries ids, never an address"
            assert "://" not in one["value"]


def _text(one: dict[str, Any]) -> None:
    if one.get("type") not in ("mrkdwn", "plain_text"):
        return
    assert 1 <= len(one["text"]) <= 3000
    if one["type"] == "mrkdwn":
        assert one["verbatim"] is True
        for token in TOKEN.findall(one["text"]):
            assert OURS.fullmatch(token), f"not a token of ours: {token[:80]}"
            assert "U0EVIL" not in token.partition("|")[0] or "://" in token
        assert not ENTITY.search(re.sub(TOKEN, "", one["text"])), one["text"][-80:]
        rest = re.sub(TOKEN, "", one["text"])
        assert "<" not in rest and ">" not in rest, rest[-80:]


def check_view(view: dict[str, Any]) -> None:
    """The same for a home or a modal."""
    assert refusals.check_view(view) == [], "the range's Slack refuses it"
    check(view["blocks"], 100)
    View(**view).validate_json()

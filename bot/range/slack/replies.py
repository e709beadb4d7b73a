"""What the app says back to a command or a click: in the answer itself, or later over its response_url."""

from __future__ import annotations

from typing import Any

from bot.range.slack import blocks as block_kit
from bot.range.slack.chat import MAX_TEXT, invalid_blocks, remove
from bot.range.slack.http import Refusal
from bot.range.slack.nouns import Hook, Message
from bot.range.slack.state import HOOK_S, HOOK_USES, State

_KEYS = {
    "text", "blocks", "response_type", "replace_original", "delete_original", "thread_ts", "mrkdwn", "attachments",
    "unfurl_links", "unfurl_media", "metadata",
}  # fmt: skip


def use(state: State, token: str, said: Any) -> None:
    """Answer over a response_url. Raises Refusal: unknown, expired, used up, or nothing that can be shown."""
    hook = state.hooks.get(token)
    if hook is None:
        raise Refusal("no_active_hooks")
    if state.now() - hook.made > HOOK_S:
        raise Refusal("expired_url")
    if hook.uses >= HOOK_USES:
        raise Refusal("used_url")
    hook.uses += 1
    say(state, hook, said)


def say(state: State, hook: Hook, said: Any) -> None:
    """Show, replace or delete, as the app asks. Raises Refusal."""
    body = {"text": said} if isinstance(said, str) else said
    if not isinstance(body, dict) or set(body) - _KEYS or body.get("attachments"):
        raise Refusal("invalid_payload")
    kind = body.get("response_type", "ephemeral")
    if kind not in ("ephemeral", "in_channel"):
        raise Refusal("invalid_response_type")
    if body.get("delete_original"):
        _delete(state, hook)
        return
    text, blocks = body.get("text", ""), body.get("blocks") or []
    if not isinstance(text, str) or len(text) > MAX_TEXT:
        raise Refusal("msg_too_long")
    if wrong := block_kit.check_message(blocks):
        raise invalid_blocks(wrong)
    if kind == "in_channel" and hook.command:  # everybody sees what was typed
        state.post(state.channels[hook.channel], hook.user, hook.command)
        hook.command = ""
    if not text and not blocks:
        if kind == "in_channel":
            return
        raise Refusal("no_text")
    if body.get("replace_original"):
        _replace(state, hook, text, blocks)
        return
    only_for = hook.user if kind == "ephemeral" else ""
    thread = str(body.get("thread_ts", "")) or _thread(state, hook)
    state.post(
        state.channels[hook.channel], state.app.bot_user, text, blocks, by_app=True, only_for=only_for,
        thread_ts=thread,
    )  # fmt: skip


def _thread(state: State, hook: Hook) -> str:
    """The thread of the message that was clicked, when it is a reply: the answer belongs there."""
    found = state.channels[hook.channel].messages.get(hook.ts)
    return found.thread_ts if found else ""


def _original(state: State, hook: Hook) -> Message:
    """The app's message whose button it was. A person's own command cannot be edited or taken away."""
    channel = state.channels[hook.channel]
    rows = channel.whispers if hook.only_for else list(channel.messages.values())
    for found in rows:
        if found.ts == hook.ts and found.by_app and found.subtype != "tombstone":
            return found
    raise Refusal("message_not_found")


def _replace(state: State, hook: Hook, text: str, blocks: list[dict[str, Any]]) -> None:
    found = _original(state, hook)
    found.text, found.blocks, found.edited = text, state.named(blocks), state.new_ts()
    state.changed()


def _delete(state: State, hook: Hook) -> None:
    found, channel = _original(state, hook), state.channels[hook.channel]
    if found.only_for:
        channel.whispers.remove(found)
        state.changed()
    else:
        remove(state, channel, found)

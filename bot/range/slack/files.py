"""files.*: an upload in three steps, as files_upload_v2 of the SDK does it.

Source: docs.slack.dev/messaging/working-with-files. Ask for a URL, send the bytes there, then say that it is complete
and where it belongs.
"""

from __future__ import annotations

import secrets
from typing import Any

from bot.range.slack import shapes
from bot.range.slack.chat import MAX_TEXT
from bot.range.slack.http import Call, Method, Refusal
from bot.range.slack.nouns import File
from bot.range.slack.state import State

MAX_BYTES = 64 * 1024 * 1024  # Slack takes a gigabyte; the range keeps files in memory


def upload_url(call: Call) -> dict[str, Any]:
    state, name, length = call.state, call.word("filename", ""), call.number("length", 0)
    if not name or length <= 0:
        raise Refusal("missing_argument")
    if length > MAX_BYTES:
        raise Refusal("file_upload_size_restricted")
    made = File(
        id=state.new_id("F"), name=name, title=name, length=length, user=state.app.bot_user,
        created=int(state.now()), upload=secrets.token_urlsafe(24),
    )  # fmt: skip
    state.files[made.id] = made
    return {"upload_url": f"{state.base_url}/upload/v1/{made.upload}", "file_id": made.id}


def upload(state: State, token: str, content: bytes) -> str:
    """Take the bytes of one upload, once. Raises Refusal: no such URL, or another length than was said."""
    found = next((f for f in state.files.values() if token and f.upload == token), None)
    if found is None:
        raise Refusal("invalid_upload_url")
    if len(content) != found.length:
        raise Refusal("length_mismatch")
    found.content, found.upload = content, ""
    return f"OK - {found.length}"


def complete(call: Call) -> dict[str, Any]:
    """Share what was uploaded, in one message of the app."""
    rows = call.json("files")
    if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
        raise Refusal("invalid_arguments")
    found = [_uploaded(call, row) for row in rows]
    where = call.word("channel_id", "") or call.word("channels", "")
    if "," in where:
        raise Refusal("channels_limit_exceeded")  # the range shares a file in one place
    if where:
        call.args["channel_id"] = where
        _share(call, found)
    for file, row in zip(found, rows, strict=True):
        file.title = str(row.get("title") or file.name)
    return {"files": [shapes.file(call.state, file) for file in found]}


def _uploaded(call: Call, row: dict[str, Any]) -> File:
    found = call.state.files.get(str(row.get("id")))
    if found is None or found.content is None or found.channel or found.deleted:
        raise Refusal("file_not_found")
    return found


def _share(call: Call, found: list[File]) -> None:
    state, channel = call.state, call.channel("channel_id")
    if state.app.bot_user not in channel.members:
        raise Refusal("not_in_channel")
    if channel.archived:
        raise Refusal("is_archived")
    comment, thread = call.word("initial_comment", ""), call.word("thread_ts", "")
    if len(comment) > MAX_TEXT:
        raise Refusal("msg_too_long")
    if thread and thread not in channel.messages:
        raise Refusal("thread_not_found")
    state.post(
        channel, state.app.bot_user, comment, thread_ts=thread, by_app=True, subtype="file_share",
        files=[file.id for file in found],
    )  # fmt: skip
    for file in found:
        file.channel = channel.id


def info(call: Call) -> dict[str, Any]:
    return {"file": shapes.file(call.state, _there(call))}


def delete(call: Call) -> None:
    found = _there(call)
    found.deleted, found.content = True, None
    call.state.changed()


def _there(call: Call) -> File:
    found = call.state.files.get(call.word("file"))
    if found is None or (found.content is None and not found.deleted):
        raise Refusal("file_not_found")
    if found.deleted:
        raise Refusal("file_deleted")
    return found


METHODS = (
    Method(name="files.getUploadURLExternal", handle=upload_url, scopes=("files:write",), tier=4),
    Method(name="files.completeUploadExternal", handle=complete, scopes=("files:write",), tier=4),
    Method(name="files.info", handle=info, scopes=("files:read",), tier=4),
    Method(name="files.delete", handle=delete, scopes=("files:write",)),
)

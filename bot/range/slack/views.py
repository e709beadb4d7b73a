"""views.*: modals in a stack of three, opened by a trigger_id that works once, and each person's App Home."""

from __future__ import annotations

import json
import secrets
import time
from typing import Any

from bot.range.slack import blocks as block_kit
from bot.range.slack import elements, shapes
from bot.range.slack.http import Call, Method, Refusal, invalid_arguments
from bot.range.slack.nouns import Trigger, View
from bot.range.slack.state import MAX_STACK, State

MAX_VIEW = 250_000  # bytes


def open_view(call: Call) -> dict[str, Any]:
    body, trigger = _checked(call, "modal"), _trigger(call)
    _new_external_id(call.state, body)
    clear(call.state, trigger.user)
    return {"view": shapes.view(call.state, push(call.state, trigger.user, body))}


def push_view(call: Call) -> dict[str, Any]:
    body, trigger = _checked(call, "modal"), _trigger(call)
    _new_external_id(call.state, body)
    stack = call.state.stacks.get(trigger.user, [])
    if not trigger.view or trigger.view not in stack:
        raise Refusal("not_found")
    if len(stack) >= MAX_STACK:
        raise Refusal("push_limit_reached")
    return {"view": shapes.view(call.state, push(call.state, trigger.user, body))}


def update_view(call: Call) -> dict[str, Any]:
    state, view_id = call.state, call.word("view_id", "")
    if external := call.word("external_id", ""):
        named = [v.id for v in state.views.values() if v.body.get("external_id") == external]
        view_id = named[0] if named else ""
    elif not view_id:
        raise invalid_arguments("missing required field: view_id")
    found = state.views.get(view_id)
    if found is None:
        raise Refusal("not_found")
    body = _checked(call, found.body["type"])
    _fresh(call, found)
    _new_external_id(state, body, but=found)
    replace(state, found, body)
    return {"view": shapes.view(state, found)}


def publish(call: Call) -> dict[str, Any]:
    state, user = call.state, call.person("user_id")
    body = _checked(call, "home")
    if not state.app.home:
        raise Refusal("not_enabled")
    found = state.views.get(state.homes.get(user.id, ""))
    if found is None:
        if call.word("hash", ""):
            raise Refusal("hash_conflict")
        found = _make(state, user.id, body)
        state.homes[user.id] = found.id
    else:
        _fresh(call, found)
        replace(state, found, body)
    return {"view": shapes.view(state, found)}


# what the calls have in common -------------------------------------------------------------------------------------


def _checked(call: Call, kind: str) -> dict[str, Any]:
    body = call.json("view")
    if body is None:
        raise invalid_arguments("missing required field: view")
    if not isinstance(body, dict):
        raise invalid_arguments("must be an object [json-pointer:/view]")
    check(body, kind)
    return body


def check(body: dict[str, Any], kind: str) -> None:
    """Refuse a view that is too large, of another kind, or not valid."""
    if len(json.dumps(body).encode()) > MAX_VIEW:
        raise Refusal("view_too_large")
    wrong = block_kit.check_view(body)
    if not wrong and body["type"] != kind:
        wrong = [f"must be of type {kind} [json-pointer:/view/type]"]
    if wrong:
        raise invalid_arguments(*wrong)


def _trigger(call: Call) -> Trigger:
    """The trigger, used up by this call."""
    found = call.state.triggers.get(call.word("trigger_id"))
    if found is None:
        raise Refusal("invalid_trigger_id")
    if found.used:
        raise Refusal("exchanged_trigger_id")
    if time.monotonic() - found.made > call.state.app.trigger_s:
        raise Refusal("expired_trigger_id")
    found.used = True
    return found


def _fresh(call: Call, found: View) -> None:
    said = call.word("hash", "")
    if said and said != found.hash:
        raise Refusal("hash_conflict")


def _new_external_id(state: State, body: dict[str, Any], but: View | None = None) -> None:
    wanted = body.get("external_id")
    if wanted and any(v.body.get("external_id") == wanted and v is not but for v in state.views.values()):
        raise Refusal("duplicate_external_id")


def new_hash() -> str:
    return f"{int(time.time())}.{secrets.token_hex(4)}"


def _make(state: State, user: str, body: dict[str, Any]) -> View:
    body = {**body, "blocks": state.named(body["blocks"])}
    found = View(id=state.new_id("V"), user=user, body=body, hash=new_hash(), values=elements.held(body["blocks"]))
    found.root = found.id
    state.views[found.id] = found
    state.changed()
    return found


def push(state: State, user: str, body: dict[str, Any]) -> View:
    """Lay a modal on top of a person's stack."""
    stack = state.stacks.setdefault(user, [])
    found = _make(state, user, body)
    if stack:
        found.root, found.previous = stack[0], stack[-1]
    stack.append(found.id)
    return found


def replace(state: State, found: View, body: dict[str, Any]) -> None:
    """Another content for a view. What was entered stays where block_id, action_id and type are the same."""
    found.body = {**body, "blocks": state.named(body["blocks"])}
    found.values = elements.held(found.body["blocks"], found.values)
    found.hash, found.errors = new_hash(), {}
    state.changed()


def pop(state: State, user: str) -> None:
    """Take a person's top modal away."""
    stack = state.stacks.get(user, [])
    if stack:
        del state.views[stack.pop()]
        state.changed()


def clear(state: State, user: str) -> None:
    """Take all of a person's modals away."""
    while state.stacks.get(user):
        pop(state, user)


def top(state: State, user: str) -> View | None:
    stack = state.stacks.get(user, [])
    return state.views[stack[-1]] if stack else None


METHODS = (
    Method(name="views.open", handle=open_view, tier=4),
    Method(name="views.push", handle=push_view, tier=4),
    Method(name="views.update", handle=update_view, tier=4),
    Method(name="views.publish", handle=publish, tier=4),
)

"""What people do with blocks: they click, fill in, choose, submit and close."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bot.range.slack import blocks as block_kit
from bot.range.slack import elements, eyes, payloads, views
from bot.range.slack.deliver import Answer, Outbox
from bot.range.slack.eyes import Cannot
from bot.range.slack.hand import DONE, Act
from bot.range.slack.http import Refusal
from bot.range.slack.nouns import Person, View
from bot.range.slack.state import MAX_STACK, State

Body = dict[str, Any]
MAX_OPTIONS = 100


class Touch:
    """The acts by name; as with ``Hand``, the lock is free while the app works."""

    def __init__(
        self, state: Callable[[], State], outbox: Outbox, told: Callable[[Person, Answer, str], Body]
    ) -> None:  # fmt: skip
        self._state, self._outbox, self._told = state, outbox, told
        self._suggested: dict[tuple[str, str], list[Body]] = {}  # (view or ts, action_id) -> options
        self.acts: dict[str, Act] = {
            "click": self.click, "fill": self.fill, "submit": self.submit, "close": self.close,
            "suggest": self.suggest,
        }  # fmt: skip

    @property
    def state(self) -> State:
        return self._state()

    # clicks --------------------------------------------------------------------------------------------------------

    def click(self, person: Person, body: Body) -> Body:
        """Press a button or choose in an element.

        ``{channel, ts, action_id, block_id?, value?}`` on a message, ``{home: true, action_id, ...}`` on the App
        Home, ``{action_id, ...}`` on the top modal. An element with a confirm dialog needs ``confirmed``.
        """
        with self.state.lock:
            seen = self._click_message if body.get("ts") else self._click_view
            payload = seen(person, body)
        return self._told(person, self._outbox.send("interactive", payload), str(body["action_id"]))

    def _click_message(self, person: Person, body: Body) -> Body:
        message = eyes.message_of(self.state, person, body)
        block, element = _pointed(message.blocks, body)
        state = self._entered(message.ts, element, body) if "value" in body else None
        held = elements.held(message.blocks)
        if state is not None and elements.stateful(element):
            held[block["block_id"]][element["action_id"]] = state
        return payloads.message_click(
            self.state, person, message, [elements.action(block, element, state)], held
        )  # fmt: skip

    def _click_view(self, person: Person, body: Body) -> Body:
        view = eyes.view_of(self.state, person, body)
        block, element = _pointed(view.body["blocks"], body)
        if block["type"] == "input" and not block.get("dispatch_action"):
            raise Cannot("nothing_happens", f"{body['action_id']} is only sent with the whole form; use fill")
        state = self._entered(view.id, element, body) if "value" in body else None
        self._keep(view, block, element, state)
        return payloads.view_click(self.state, person, view, [elements.action(block, element, state)])

    def _keep(self, view: View, block: Body, element: Body, state: Body | None) -> None:
        if state is not None and elements.stateful(element):
            view.values.setdefault(block["block_id"], {})[element["action_id"]] = state
            self.state.changed()

    def _entered(self, where: str, element: Body, body: Body) -> Body | None:
        if element["type"] == "button":
            return None
        try:
            value = self._named(element["type"], body["value"])
            return elements.filled(element, value, self._suggested.get((where, element["action_id"])))
        except (elements.Awkward, ValueError, TypeError) as exc:
            raise Cannot("invalid_value", str(exc)) from None

    def _named(self, kind: str, value: Any) -> Any:
        """Ids of people and channels, which may be said by their names. Raises Awkward for who is not there."""
        if isinstance(value, list):
            return [self._named(kind, each) for each in value]
        word = str(value or "").lstrip("@#")
        if not word or not kind.endswith(("users_select", "channels_select", "conversations_select")):
            return value
        rows = self.state.people if kind.endswith("users_select") else self.state.channels
        for found in rows.values():
            if word in (found.id, found.name):
                return found.id
        raise elements.Awkward(f"{word!r} cannot be chosen")

    # forms ---------------------------------------------------------------------------------------------------------

    def fill(self, person: Person, body: Body) -> Body:
        """``{block_id?, action_id, value}``: enter something in the top modal (or ``home``).

        Where the block dispatches its action the app is told: ``key`` is enter (the default) or character.
        """
        with self.state.lock:
            view = eyes.view_of(self.state, person, body)
            block, element = _pointed(view.body["blocks"], body)
            state = self._entered(view.id, element, {"value": None} | body)
            if state is None:
                raise Cannot("invalid_value", "a button is clicked, not filled")
            self._keep(view, block, element, state)
            payload = None
            if block["type"] != "input" or (block.get("dispatch_action") and _dispatches(element, body)):
                payload = payloads.view_click(self.state, person, view, [elements.action(block, element, state)])
        if payload is None:
            return dict(DONE)
        return self._told(person, self._outbox.send("interactive", payload), str(body["action_id"]))

    def keep(self, person: Person, body: Body) -> None:
        """``{values: {block_id: {action_id: value}}}``: what stands in the top modal (or ``home``); nobody is told."""
        with self.state.lock:
            view = eyes.view_of(self.state, person, body)
            self._fill_in(view, body["values"])

    def _fill_in(self, view: View, values: Any) -> None:
        if not isinstance(values, dict) or not all(isinstance(row, dict) for row in values.values()):
            raise Cannot("invalid_value", "values are said by block_id and action_id")
        for block_id, row in values.items():
            for action_id, value in row.items():
                said = {"action_id": action_id, "block_id": block_id, "value": value, "confirmed": True}
                block, element = _pointed(view.body["blocks"], said)
                self._keep(view, block, element, self._entered(view.id, element, said))

    def suggested(self, view: str) -> dict[str, list[Body]]:
        """What the app offered last in the external selects of a view, by action_id."""
        return {action: options for (where, action), options in self._suggested.items() if where == view}

    def submit(self, person: Person, body: Body) -> Body:
        """``{values?: {block_id: {action_id: value}}}``: fill in and submit the top modal."""
        with self.state.lock:
            view = eyes.view_of(self.state, person, body | {"home": False})
            if not view.body.get("submit"):
                raise Cannot("no_submit", "this modal has nothing to submit")
            self._fill_in(view, body.get("values") or {})
            if missing := _missing(view):
                view.errors = dict.fromkeys(missing, "Please complete this required field.")
                self.state.changed()
                return {"ok": False, "error": "missing_input", "blocks": missing}
            view.errors = {}
            payload = payloads.submission(self.state, person, view)
        answer = self._outbox.send("interactive", payload)
        if not answer.ok:
            return self._told(person, answer, "submit")
        with self.state.lock:
            return self._answered(person, view, answer.body)

    def _answered(self, person: Person, view: View, said: Any) -> Body:
        """What the app's answer does to the stack. What cannot be done is an error that the person sees."""
        if view.id not in self.state.views:
            return dict(DONE)  # the app has closed or replaced it meanwhile
        try:
            return self._follow(person, view, said)
        except Refusal as refusal:
            wrong = refusal.more.get("response_metadata", {}).get("messages", [])
            what = "We had some trouble connecting. Try again?"
            self.state.notice(person.id, " ".join([what, refusal.error, *wrong]))
            return {"ok": False, "error": refusal.error, "messages": wrong}

    def _follow(self, person: Person, view: View, said: Any) -> Body:
        act = said.get("response_action") if isinstance(said, dict) else None
        if said is None or said == {}:
            views.pop(self.state, person.id)
        elif act == "clear":
            views.clear(self.state, person.id)
        elif act == "errors":
            return self._errors(view, said.get("errors"))
        elif act in ("update", "push"):
            new = said.get("view")
            if not isinstance(new, dict):
                raise Refusal("invalid_arguments")
            views.check(new, "modal")
            if act == "update":
                views.replace(self.state, view, new)
            elif len(self.state.stacks[person.id]) >= MAX_STACK:
                raise Refusal("push_limit_reached")
            else:
                views.push(self.state, person.id, new)
        else:
            raise Refusal("invalid_response_action")
        return {**DONE, "action": act or "close"}

    def _errors(self, view: View, errors: Any) -> Body:
        inputs = {block["block_id"] for block in view.body["blocks"] if block["type"] == "input"}
        if not isinstance(errors, dict) or not errors or not set(errors) <= inputs:
            raise Refusal("invalid_errors")  # Slack shows errors at inputs only
        view.errors = {key: str(value) for key, value in errors.items()}
        self.state.changed()
        return {"ok": False, "error": "errors", "errors": view.errors}

    def close(self, person: Person, body: Body) -> Body:
        """Close the top modal, or with ``all`` (or by ``clear_on_close``) the whole stack."""
        with self.state.lock:
            view = eyes.view_of(self.state, person, body | {"home": False})
            whole = bool(body.get("all")) or bool(view.body.get("clear_on_close"))
            ids = list(self.state.stacks[person.id]) if whole else [view.id]
            told = [
                payloads.closed(self.state, person, found, cleared=whole)
                for found in (self.state.views[each] for each in reversed(ids)) if found.body.get("notify_on_close")
            ]  # fmt: skip
            if whole:
                views.clear(self.state, person.id)
            else:
                views.pop(self.state, person.id)
        answers = [self._outbox.send("interactive", each) for each in told]
        return self._told(person, next((a for a in answers if not a.ok), Answer()), "close")

    # external selects ----------------------------------------------------------------------------------------------

    def suggest(self, person: Person, body: Body) -> Body:
        """``{action_id, query, ...}``: what the app offers in an external select; then choose with click or fill."""
        query = str(body.get("query", ""))
        with self.state.lock:
            if body.get("ts"):
                message = eyes.message_of(self.state, person, body)
                blocks, where = message.blocks, message.ts
                channel = payloads.place(self.state.channels[message.channel])
                shown: Body = {"channel": channel, "container": {"type": "message", "message_ts": where}}
            else:
                view = eyes.view_of(self.state, person, body)
                blocks, where = view.body["blocks"], view.id
                shown = {k: v for k, v in payloads.view_click(self.state, person, view, []).items()
                         if k in ("view", "container")}  # fmt: skip
            block, element = _pointed(blocks, body)
            if not element["type"].endswith("external_select"):
                raise Cannot("nothing_happens", f"{body['action_id']} has its own options")
            if len(query) < element.get("min_query_length", 3):
                raise Cannot("query_too_short", f"at least {element.get('min_query_length', 3)} characters")
            payload = payloads.suggestion(self.state, person, block, element, query, shown)
        answer = self._outbox.send("interactive", payload)
        if not answer.ok:
            return self._told(person, answer, str(body["action_id"]))
        options = _offered(answer.body)
        self._suggested[where, element["action_id"]] = options
        return {**DONE, "options": options}


def _offered(said: Any) -> list[Body]:
    """The options of an answer, with groups laid flat; none when they are not valid, as the client shows then."""
    if not isinstance(said, dict):
        return []
    groups = said.get("option_groups")
    options = [o for g in groups for o in g.get("options", [])] if isinstance(groups, list) else said.get("options")
    element = {"type": "static_select", "action_id": "a", "options": options}
    wrong = block_kit.check_message([{"type": "actions", "elements": [element]}]) if options else ["none"]
    return [] if wrong or len(options or []) > MAX_OPTIONS else list(options or [])


def _pointed(blocks: list[Body], body: Body) -> tuple[Body, Body]:
    """The element that is meant. Raises Cannot when there is none, or when its confirm dialog was not answered."""
    try:
        block, element = elements.find(blocks, str(body.get("action_id", "")), str(body.get("block_id") or ""))
    except LookupError as exc:
        raise Cannot("no_such_element", str(exc)) from None
    if "confirm" in element and not body.get("confirmed"):
        raise Cannot("confirm_required", f"confirm first: {element['confirm']['text']['text']}")
    return block, element


def _dispatches(element: Body, body: Body) -> bool:
    """Whether an input tells the app now: selects always, text as its dispatch_action_config says."""
    if not element["type"].endswith("_input"):
        return True
    on = (element.get("dispatch_action_config") or {}).get("trigger_actions_on", ["on_enter_pressed"])
    return ("on_character_entered" if body.get("key") == "character" else "on_enter_pressed") in on


def _missing(view: View) -> list[str]:
    """The required inputs that hold nothing."""
    return [
        block["block_id"] for block in view.body["blocks"]
        if block["type"] == "input" and not block.get("optional")
        and elements.empty(view.values[block["block_id"]][block["element"]["action_id"]])
    ]  # fmt: skip

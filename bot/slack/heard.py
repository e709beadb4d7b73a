"""What one person has done in Slack, as a listener sees it: who, where, with which words, and how to answer them."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any

from bot.errors import BulkheadError, InputError
from bot.signing import GROUPS, SLACK
from bot.slack import payloads
from bot.slack.border import plain
from bot.slack.client import answer_to, slack_errors
from bot.slack.payloads import Payload
from bot.store import IncidentRow, iso, when
from bot.store_slack import Delivery
from bot.timeline import Event, load

if TYPE_CHECKING:
    from bot.slack.room import Room

PICKED = ("selected_user", "selected_conversation", "selected_date")  # what pickers hold
META = 3000  # characters that Slack lets a view carry
log = logging.getLogger("bulkhead.slack")


class FormWrong(Exception):
    """A form cannot be taken as it is. ``errors``: block id -> sentence; Slack shows them in the form."""

    def __init__(self, errors: dict[str, str]) -> None:
        super().__init__("; ".join(errors.values()))
        self.errors = errors


class Heard:
    """One command, click, form or event. Everything in it is scrubbed; ``secret`` opens what was sealed."""

    def __init__(self, room: Room, delivery: Delivery, body: Payload) -> None:
        """``body``: the landed one, with the trigger and the answering address if they are still in memory."""
        self.room, self.delivery, self.body = room, delivery, body
        self.acknowledge: Callable[..., Any] = lambda **_answer: None
        self._acknowledged = False
        self.begun = False  # a listener has it
        self.late = False  # Slack was answered before the listener had come to its end
        self.awaited = False  # Slack waits for what the listener answers, so its thread has no time for words

    # who and where -------------------------------------------------------------------------------------------------

    @property
    def user(self) -> str:
        """The id that Slack gives the person."""
        return payloads.user_of(self.body)

    @property
    def who(self) -> str:
        """The person's name in decisions and on the timeline."""
        return f"{SLACK}{self.user}"

    @property
    def channel(self) -> str:
        """Where it happened; of a form, where it was opened from."""
        return payloads.channel_of(self.body) or str(self.meta.get("c", ""))

    @property
    def at(self) -> datetime:
        """When it was landed: done later, it still counts from then."""
        return when(self.delivery.landed_at)

    @property
    def owner(self) -> str:
        """Under which name the vault holds what was taken out of it."""
        return owner_of(self.delivery)

    # what ----------------------------------------------------------------------------------------------------------

    @property
    def text(self) -> str:
        """The words of a command."""
        return str(self.body.get("text", ""))

    @property
    def action(self) -> Payload:
        """The element that was clicked."""
        return dict((self.body.get("actions") or [{}])[0])

    @property
    def value(self) -> Payload:
        """What a button, or a choice of a list, carries: ids of incident, step, plan and attempt as i, s, p, a."""
        chosen = self.action.get("selected_option") or {}
        carriers = (self.action.get("value"), chosen.get("value"), self.action.get("block_id"))
        return next((found for text in carriers if (found := _table(text or ""))), {})

    @property
    def view(self) -> Payload:
        """The form, if it is one."""
        found = self.body.get("view")
        return found if isinstance(found, dict) else {}

    @property
    def meta(self) -> Payload:
        """What the form carries from whoever opened it: ids only."""
        return _table(self.view.get("private_metadata") or "")

    def field(self, action_id: str) -> str:
        """What was entered or chosen in a field of the form; "" when nothing."""
        for block in (self.view.get("state") or {}).get("values", {}).values():
            if action_id in block:
                element = block[action_id]
                chosen = element.get("selected_option") or {}
                picked = next((element[n] for n in PICKED if element.get(n)), "")
                return str(element.get("value") or chosen.get("value") or picked).strip()
        return ""

    def words(self, action_id: str) -> str:
        """What was typed into a field, as it was typed, without any secret that this process knows."""
        return self.room.house.vault.scrubber.scrub(plain(self.field(action_id)))

    def secret(self, action_id: str) -> str:
        """The value of a field that asks for a secret, out of the vault; "" when there is none or it is wiped."""
        marked = self.field(action_id)
        opened = self.room.border.restore(self.owner, marked)
        return "" if opened == marked and marked.startswith("[secret ") else opened

    # the incident that is meant -------------------------------------------------------------------------------------

    def incident(self, wanted: str) -> tuple[IncidentRow, list[Event]]:
        """An incident and its events; ``wanted`` is its id. Raises InputError when there is none."""
        row = self.room.house.store.incident(wanted)
        return row, load(self.room.house.store, row.id)

    def now(self, row: IncidentRow, events: list[Event]) -> datetime:
        """When the person did it, by the incident's clock: a range's runs ahead of the machine's."""
        site = self.room.house.sites.get(row.world)
        if row.world == "real" or site is None:
            return self.at
        now: datetime = site.clock.now()
        return max([now, *(when(event.at) for event in events[-1:])])

    def write(self, row: IncidentRow, kind: str, events: list[Event], body: Payload) -> None:
        """Write an event onto the incident's timeline, once a delivery."""
        at = iso(self.now(row, events))
        self.room.house.timeline.append(row.id, f"slack:{self.delivery.id}", kind, body, at=at).result()

    def vouched(self) -> dict[str, list[str]]:
        """What a decision says of its person: the groups that Slack says they are in. Raises bot.errors."""
        return {GROUPS: self.room.groups.of(self.user)}

    def may(self, posture: str) -> bool:
        """Whether the person may answer where the posture asks for people. Raises bot.errors when Slack is away."""
        return self.room.house.rules.may(self.who, posture, self.vouched())

    # answers -------------------------------------------------------------------------------------------------------

    def ack(self, **answer: Any) -> None:
        """Acknowledge, once: what comes later is too late."""
        if not self._acknowledged:
            self._acknowledged = True
            self.acknowledge(**answer)

    def say(self, text: str, blocks: list[Payload] | None = None) -> None:
        """Tell this person alone. When Slack takes it by no way it is logged, since nothing depends on it."""
        text = self.room.house.vault.scrubber.scrub(text)
        message: dict[str, Any] = {"text": text, **({"blocks": blocks} if blocks else {})}
        if self.awaited:
            self.room.aside(lambda: self._tell(message))
        else:
            self._tell(message)

    def _tell(self, message: dict[str, Any]) -> None:
        address = payloads.answering_address(self.body)
        if address and answer_to(address, **message):
            return
        client = self.room.client
        ways: list[Callable[[], Any]] = [lambda: client.chat_postMessage(channel=self.user, **message)]
        if self.channel:
            ways.insert(0, lambda: client.chat_postEphemeral(channel=self.channel, user=self.user, **message))
        for way in ways:
            try:
                with slack_errors("pass on an answer"):
                    way()
                return
            except BulkheadError as exc:
                log.info("an answer was not passed on: %s", exc)

    def open(self, view: Payload) -> str:
        """Open a form over what the person sees; its id. Raises InputError when the moment for that has passed."""
        trigger = str(self.body.get("trigger_id", ""))
        if not trigger:
            raise InputError("I was restarted just as you clicked, and Slack lets me open no form now; click again")
        call = self.room.client.views_push if self.view.get("type") == "modal" else self.room.client.views_open
        with slack_errors("open the form"):
            answer: Any = call(trigger_id=trigger, view=view)
        return str(answer["view"]["id"])

    def update(self, view_id: str, view: Payload, view_hash: str = "") -> None:
        """Draw an open form anew; with ``view_hash`` only while it is the one that was seen."""
        with slack_errors("draw the form"):
            self.room.client.views_update(view_id=view_id, view=view, **({"hash": view_hash} if view_hash else {}))


def owner_of(delivery: Delivery) -> str:
    """Under which name the vault holds what a delivery brought. A report that it becomes has a name of its own."""
    return f"slack-delivery:{delivery.id}"


def carried(**ids: str) -> str:
    """``private_metadata`` of a form. Raises InputError when it would be longer than Slack takes."""
    text = json.dumps({name: value for name, value in ids.items() if value}, separators=(",", ":"))
    if len(text) > META:
        raise InputError("this form would carry more than Slack takes")
    return text


def _table(text: str) -> Payload:
    try:
        found = json.loads(text) if text else {}
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}

"""The room: Slack's client, the door, Bolt's app and everything that listens. It decides nothing.

Every listener has one way in: what Slack sends is landed, handed to Bolt, acknowledged and worked; the row is settled
when the work has ended, so a process that is killed between a click and its effect does it at the next start. Each
listener is told twice without harm, since what it writes is named after the delivery.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import threading
from collections.abc import Callable, Coroutine, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as TooSlow
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from slack_bolt import App, BoltRequest
from slack_bolt.authorization import AuthorizeResult

from bot.clock import steadily
from bot.engine.announced import Notes
from bot.engine.decisions import Desk
from bot.engine.freeze import Switch
from bot.engine.rules import DRILL, Rulebook
from bot.errors import BulkheadError, EngineError, InputError, RateLimited, Unavailable
from bot.intake.inbox import Inbox, Landed
from bot.lessons.postmortem import Postmortems
from bot.lessons.quiz import Quiz
from bot.model import Exposure, Machine
from bot.scenario import Drill
from bot.settings import Settings
from bot.signing import Attestor
from bot.slack.border import Border
from bot.slack.client import answer_to, quiet_logger, slack_errors, web_client
from bot.slack.commands import Commands
from bot.slack.door import Answer, Door
from bot.slack.follow import board_of
from bot.slack.front import Http, Socket
from bot.slack.groups import Groups
from bot.slack.heard import FormWrong, Heard, owner_of
from bot.slack.payloads import Payload, answering_address, listener_of
from bot.stage import Stage
from bot.store import Store, iso, when
from bot.store_slack import DEAD, DONE, LANDED, Deliveries, Delivery
from bot.timeline import Timeline
from bot.triage.identify import Recognizer
from bot.vault import Vault
from bot.world import World

ANSWER_S = 2.0  # Slack waits three seconds for an answer
THREADS, FORM_THREADS = 4, 4  # few: whoever waits at the door shares the interpreter with all that are awake
TURN_S = 0.001  # for so long a thread keeps the interpreter while others wait; Python's own 5 ms make a full door slow
TRIES = 10  # so often a delivery is tried again while Slack or the database is away, each time twice as late
AGAIN_S = 5.0
STALE = timedelta(seconds=30)  # a row that another process has landed is left to it for so long
KEPT = timedelta(days=1)  # settled rows, against replays; a signature holds for five minutes
IDENTITY = "slack:identity"  # the setting under which the bot's own workspace stands
log = logging.getLogger("bulkhead.slack")

Listener = Callable[[Heard], None]


class Site(Protocol):
    """What the room needs of a World's clients: their clock."""

    @property
    def clock(self) -> Any:
        """``bot.world.Clock``."""


class House(Protocol):
    """What ``app.Bulkhead`` hands to the room."""

    settings: Settings
    store: Store
    vault: Vault
    recognizer: Recognizer
    inbox: Inbox
    timeline: Timeline
    rules: Rulebook
    attestor: Attestor
    boundary: Callable[[str], None]
    worlds: dict[str, Callable[[str], World]]
    stage: Stage | None  # where drills are played, in a company of the range

    @property
    def drills(self) -> Mapping[str, Drill]:
        """Every drill there is, by its id."""

    @property
    def sites(self) -> Mapping[str, Site]:
        """The Worlds that this process has clients for."""

    @property
    def quiz(self) -> Quiz:
        """The questions, and who was asked which of them."""

    @property
    def postmortems(self) -> Postmortems:
        """What is written of incidents afterwards."""

    @property
    def desk(self) -> Desk:
        """Where decisions are handed in."""

    @property
    def switch(self) -> Switch:
        """The kill switch of the whole installation."""

    @property
    def notes(self) -> Notes:
        """What was announced of changes of policy."""

    def seal_answer(self, incident: str, step: str, value: str) -> str:
        """Seal a secret that answers a step; returns its reference."""


class Room:
    """Everything of Slack in one process. ``features`` register what they listen to and which words they know."""

    def __init__(self, house: House, features: Iterable[Callable[[Room], None]]) -> None:
        settings = house.settings
        self.house, self.word = house, settings.slack_command
        # A listener waits for no rate limit: its thread would keep clicks waiting, and a landed row waits better.
        token = settings.slack_bot_token.get_secret_value()
        self.client = web_client(token, settings.slack_api, patient=False)
        self.board = board_of(house)
        self.groups = Groups(self.client, settings.groups)
        self.commands = Commands()
        self.border = Border(house.vault, house.recognizer)
        self.deliveries = Deliveries(house.store)
        self.listeners: dict[tuple[str, str], Listener] = {}
        self._answering: set[tuple[str, str]] = set()  # those whose acknowledgement says something
        self.jobs: list[Callable[[], Coroutine[Any, Any, None]]] = [self.tend, self.board.run]  # while it is open
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="slack")
        # Bolt waits in one thread for the acknowledgement of another: of one pool they could wait for each other.
        self._waiting = ThreadPoolExecutor(THREADS, thread_name_prefix="slack-answer")
        self._flying: set[str] = set()
        self.asides: set[Future[None]] = set()  # what is told aside and not over yet
        self._lock = threading.Lock()
        # Forms have threads of their own: Slack waits for them, and hundreds of clicks may be under way.
        self._form_threads = ThreadPoolExecutor(FORM_THREADS, thread_name_prefix="slack-form")
        self._form_waiting = ThreadPoolExecutor(FORM_THREADS, thread_name_prefix="slack-form-answer")
        self.app, self.forms = self._bolt(self._threads), self._bolt(self._form_threads)
        self.door = Door(
            signing_secret=settings.slack_signing_secret.get_secret_value(), deliveries=self.deliveries,
            border=self.border, workspaces=self.workspaces, app_id=settings.slack_app_id,
            listens=lambda kind, name: (kind, name) in self.listeners, work=self.work, refuse=self._refuse,
            now=lambda: datetime.now(UTC), boundary=house.boundary,
        )  # fmt: skip
        self.http = Http(self.door)
        for join in features:
            join(self)

    @property
    def world(self) -> str:
        """The World that reports made here belong to: the real one, or the range where this house is one of a drill."""
        return "real" if "real" in self.house.sites or not self.house.sites else DRILL

    # listeners -----------------------------------------------------------------------------------------------------

    def _bolt(self, threads: ThreadPoolExecutor) -> App:
        """Bolt, behind our own door: it verifies no signature again, and asks Slack nothing before a listener runs."""

        def authorize(enterprise_id: str | None, team_id: str | None) -> AuthorizeResult:
            return AuthorizeResult(enterprise_id=enterprise_id, team_id=team_id, bot_token=self.client.token)

        return App(
            name="bulkhead.bolt", client=self.client, authorize=authorize, logger=quiet_logger(),
            request_verification_enabled=False, ssl_check_enabled=False, url_verification_enabled=False,
            listener_executor=threads,
        )  # fmt: skip

    def on(self, kind: str, name: str, listener: Listener, *, answers: bool = False) -> None:
        """Listen to ``name`` of a kind: command, block_actions, view_submission, shortcut, message_action, event, ...

        ``answers``: it acknowledges by itself, with what Slack shall show; it must do so within two seconds.
        """
        if (kind, name) in self.listeners:
            raise InputError(f"two features listen to the {kind} {name!r}")
        self.listeners[kind, name] = listener
        app = self.forms if answers else self.app
        if answers:
            self._answering.add((kind, name))

        def listen(ack: Any, context: Any) -> None:
            heard: Heard = context["heard"]
            heard.acknowledge, heard.begun = ack, True
            if not answers:
                heard.ack()
            self._do(heard, listener)

        register: dict[str, Callable[[str], Any]] = {
            "command": app.command, "block_actions": app.block_action, "shortcut": app.global_shortcut,
            "message_action": app.message_shortcut, "view_submission": app.view_submission,
            "view_closed": app.view_closed, "event": app.event, "block_suggestion": app.options,
        }  # fmt: skip
        register[kind](name)(listen)

    def work(self, delivery: Delivery, body: Payload) -> Answer:
        """Hand a landed delivery to whoever listens; gives what Slack is answered."""
        with self._lock:
            if delivery.id in self._flying:
                return Answer()
            self._flying.add(delivery.id)
        heard = Heard(self, delivery, body)
        if listener_of(body) not in self._answering:
            self._waiting.submit(self._dispatch, self.app, heard)
            return Answer()  # it has landed, and Slack is told so at once, however busy the threads are
        heard.awaited = True
        try:
            return self._form_waiting.submit(self._dispatch, self.forms, heard).result(timeout=ANSWER_S)
        except TooSlow:
            heard.late = True  # what is wrong with it is said as a message: the form is closed now
            return Answer()

    def _dispatch(self, app: App, heard: Heard) -> Answer:
        """Let Bolt find the listener; gives what the listener acknowledges with."""
        response = app.dispatch(BoltRequest(mode="socket_mode", body=heard.body, context={"heard": heard}))
        if not heard.begun:  # Bolt came to no listener: another try, and not for ever
            self._later(heard, "it could not be read")
            self._landed(heard.delivery)
        text = response.body if response.status == 200 else ""
        return Answer(body=text if text.startswith("{") else "")

    def _do(self, heard: Heard, listener: Listener) -> None:
        """Run a listener to its end, whatever that is, and settle its row."""
        delivery, boundary = heard.delivery, self.house.boundary
        try:
            boundary("before slack/effect/1")
            listener(heard)
            boundary("after slack/effect/1")
            self._settle(delivery, DONE)
        except FormWrong as exc:
            heard.ack(response_action="errors", errors=exc.errors)
            if heard.late:
                heard.say(f"What you sent does not count: {exc}")
            self._settle(delivery, DONE)
        except (RateLimited, Unavailable, EngineError) as exc:
            heard.ack()
            self._later(heard, str(exc))
        except BulkheadError as exc:
            heard.ack()
            heard.say(str(exc))
            self._settle(delivery, DONE)
        except Exception as exc:  # noqa: BLE001 (the one edge where every fault of a listener ends)
            heard.ack()
            log.warning("a fault in what listens to %s: %s", listener_of(heard.body), type(exc).__name__)
            self._later(heard, f"a fault of mine ({type(exc).__name__})")
        finally:
            heard.ack()
            self._landed(delivery)

    def _later(self, heard: Heard, why: str) -> None:
        """Leave a delivery for another try, unless it has had enough of them."""
        tries = self.deliveries.again(heard.delivery.id, why[:300])
        if tries >= TRIES:
            self._settle(heard.delivery, DEAD, why[:300])
            heard.say(f"I have given up: {why}. Please do it again.")
        elif tries == 1:
            heard.say(f"Noted, but it has to wait: {why}. I try again by myself.")

    def _landed(self, delivery: Delivery) -> None:
        """It is under way no more."""
        with self._lock:
            self._flying.discard(delivery.id)

    def _settle(self, delivery: Delivery, state: str, note: str = "") -> None:
        owner, vault = owner_of(delivery), self.house.vault
        self.deliveries.settle(delivery.id, state, note, lambda c: vault.forget(c, owner, datetime.now(UTC)))

    def aside(self, task: Callable[[], None]) -> None:
        """Do something that nothing depends on, while the thread of a form goes back to those that Slack waits for."""
        aside = self._threads.submit(task)
        self.asides.add(aside)
        aside.add_done_callback(self.asides.discard)

    # what more than one feature needs -----------------------------------------------------------------------------

    def report(
        self, heard: Heard, text: str, *, exposure: Exposure = Exposure.UNKNOWN, machine: Machine = Machine.UNKNOWN,
        machine_name: str = "",
    ) -> Landed:  # fmt: skip
        """Land what somebody reports, once a delivery. Raises InputError when it holds nothing to be worked on."""
        return self.house.inbox.land(
            source="slack", world=self.world, by=heard.who, text=text, at=heard.at, delivery=heard.delivery.id,
            exposure=exposure, machine=machine, machine_name=machine_name, secrets=self.house.vault.held(heard.owner),
        )  # fmt: skip

    def workspaces(self) -> frozenset[str]:
        """The workspaces that are let in: those of the settings, or the bot's own. Raises bot.errors while unknown."""
        named = self.house.settings.teams
        return named or frozenset(json.loads(self._identity()))

    def _identity(self) -> str:
        """The bot's own workspace and enterprise, asked once: Slack may be away when we start again."""
        found = self.house.store.setting(IDENTITY)
        if not found:
            with slack_errors("say whose token this is"):
                said: Any = self.client.auth_test()
                own = [str(one) for one in (said.get("team_id"), said.get("enterprise_id")) if one]
            found = json.dumps(own)
            self.house.store.set_setting(IDENTITY, found)
        return found

    def _refuse(self, payload: Payload, text: str) -> None:
        address = answering_address(payload)
        if address:
            self._threads.submit(answer_to, address, text=text)

    # for ever ------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Be in Slack until cancelled: listen, work what is left from before, forget what is old."""
        token = self.house.settings.slack_app_token.get_secret_value()
        sockets = [Socket(self.door, token, self.house.settings.slack_api).run()] if token else []
        jobs = [steadily(self.house.store, job) for job in self.jobs]
        tasks = [asyncio.ensure_future(one) for one in (*jobs, *sockets)]
        usual = sys.getswitchinterval()
        sys.setswitchinterval(TURN_S)
        try:
            await asyncio.gather(*tasks)
        finally:
            sys.setswitchinterval(usual)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await asyncio.to_thread(self.close)

    async def tend(self) -> None:
        """Work what was landed and not settled, at once and again and again; forget what is old. Cancel it to stop."""
        await asyncio.to_thread(self.border.recognizer.warm)
        alone = self.house.store.sqlite  # then nobody else works these rows: what stands at the start is ours
        purged = datetime.min.replace(tzinfo=UTC)
        while True:
            now = datetime.now(UTC)
            with self.house.store.only_one("slack-deliveries") as mine:
                for delivery in await asyncio.to_thread(self.deliveries.waiting) if mine else ():
                    if alone or due(delivery) <= now:
                        await asyncio.to_thread(self.work_again, delivery)
            if now - purged > timedelta(hours=1):
                await asyncio.to_thread(self.deliveries.purge, iso(now - KEPT))
                purged = now
            alone = False
            await asyncio.sleep(AGAIN_S)

    def work_again(self, delivery: Delivery) -> None:
        """Work what was landed before, unless it has been settled since it was read."""
        stands = self.deliveries.get(delivery.id)
        if stands is not None and stands[1] == LANDED:
            self.work(delivery, delivery.body)

    def close(self) -> None:
        """Let what is under way end."""
        self.http.close()
        self._waiting.shutdown(wait=True)
        self._form_waiting.shutdown(wait=True)
        self._form_threads.shutdown(wait=True)  # before the others, which say what forms have to say
        self._threads.shutdown(wait=True)


def due(delivery: Delivery) -> datetime:
    """When a delivery that was not settled is worked again: not while whoever landed it may be at it."""
    return when(delivery.landed_at) + max(STALE, timedelta(seconds=AGAIN_S * 2**delivery.tries))

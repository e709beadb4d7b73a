"""A board over the range's Slack, on a clock that the test moves, and incidents that grow event by event."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from slack_sdk import WebClient

from bot.posts import Posts
from bot.slack.board import Board
from bot.slack.calls import Called
from bot.slack.places import Places, Where
from bot.slack.service import Parts
from bot.slack.wire import Wire
from bot.store import Store, canonical, iso
from bot.timeline import Timeline
from tests.incidents import BOOK, ID, REPORT, ROW
from tests.slack_range import Slack

Story = list[tuple[str, str, Any]]


@dataclass
class Hands:
    """A clock of the machine and one of the incidents, both moved by hand."""

    at: datetime = field(default_factory=lambda: datetime.now(UTC) + timedelta(seconds=2))
    machine: float = 1000.0

    def now(self) -> datetime:
        return self.at

    def monotonic(self) -> float:
        return self.machine

    def pass_time(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)
        self.machine += seconds


@dataclass
class Stage:
    """Store, timeline, Slack and a board between them."""

    slack: Slack
    store: Store
    timeline: Timeline
    hands: Hands
    made: dict[str, Any] = field(default_factory=dict)
    scrub: Callable[[str], str] = str

    def board(
        self, channel: str = "incidents", boundary: Callable[[str], None] = lambda _name: None, **more: Any
    ) -> Board:
        """A new board, as after a restart. ``more``: of Where and Called."""
        client = WebClient(token=self.slack.cast["bot_token"], base_url=f"{self.slack.url}/api/", timeout=5)
        client.retry_handlers = []
        client.proxy = None
        groups = self.slack.cast["groups"]
        people = {name: self.slack.user(name) for name in ("mara", "jonas", "alice", "bob")}
        called = Called(
            groups=more.pop("groups", {
                "one": frozenset({groups["responders"]}), "two": frozenset({groups["approvers"]}),
                "lead": frozenset({groups["leads"]}),
            }),
            people=people, oncall=frozenset({groups["oncall"]}), quiet=more.pop("quiet", None),
        )  # fmt: skip
        where = Where(channel=self.slack.channel(channel), invited=frozenset({groups["leads"]}), **more)
        posts, wire = Posts(self.store), Wire(client, self.hands.monotonic, boundary)
        places = Places(wire, posts, where, called.user, self.hands.monotonic)
        return Board(Parts(
            store=self.store, posts=posts, wire=wire, places=places, called=called,
            clocks={"real": self.hands, "range": self.hands}, scrub=self.scrub, monotonic=self.hands.monotonic,
        ))  # fmt: skip

    def settle(self, board: Board, most: int = 400) -> int:
        """Let the board do all there is to do; returns how many calls that were."""
        total = idle = 0
        for _ in range(most):
            done = board.turn()
            total += done
            idle = 0 if done else idle + 1
            if idle == 3:
                return total
            self.hands.pass_time(1.2)
        raise AssertionError("the board does not come to rest")

    # incidents ---------------------------------------------------------------------------------------------------

    def open(self, incident: str = ID, world: str = "real", by: str = "slack:jonas") -> None:
        """An incident without a timeline."""
        by = f"slack:{self.slack.user(by.removeprefix('slack:'))}" if by.startswith("slack:") else by
        body = {
            "report": REPORT | {"by": by},
            "inbox": "x",
            "repository": "",
            "playbook": BOOK | {"text": "", "drill": ""},
        }
        row = {"id": incident, "opened_at": iso(self.hands.at), "world": world, "status": "open",
               "title": "Leaked AWS access key", "credential_key": ROW, "body": canonical(body)}  # fmt: skip
        with self.store.begin() as c:
            assert self.store.add_incident(c, row)

    def grow(self, story: Story, incident: str = ID, attempt: int = 1) -> None:
        """Events on its timeline."""
        for step, kind, body in story:
            self.hands.pass_time(0.01)
            at = iso(self.hands.at)
            self.timeline.append(incident, step, kind, body, at=at, attempt=attempt).result()

    # what is seen ------------------------------------------------------------------------------------------------

    def messages(self, channel: str = "incidents") -> list[dict[str, Any]]:
        """Every message of a channel, replies too, oldest first, as Slack keeps them."""
        state = self.slack.range.state
        found = [c for c in state.channels.values() if channel in (c.id, c.name)]
        assert found, f"there is no channel {channel}"
        return [
            {"ts": m.ts, "thread_ts": m.thread_ts, "text": m.text, "blocks": m.blocks, "metadata": m.metadata}
            for m in sorted(found[0].messages.values(), key=lambda m: float(m.ts))
        ]  # fmt: skip

    def cards(self, channel: str = "incidents") -> list[dict[str, Any]]:
        """The cards in a channel."""
        return [m for m in self.messages(channel) if what(m) == "card"]

    def thread(self, channel: str = "incidents") -> list[dict[str, Any]]:
        """The replies in a channel."""
        return [m for m in self.messages(channel) if m["thread_ts"] and m["thread_ts"] != m["ts"]]

    def files(self, channel: str = "incidents") -> list[list[str]]:
        """The names of the files of each message that has some."""
        state = self.slack.range.state
        found = next(c for c in state.channels.values() if channel in (c.id, c.name))
        return [[state.files[f].name for f in m.files] for m in found.messages.values() if m.files]

    def members(self, channel: str) -> set[str]:
        """Who is in a channel."""
        return set(next(c for c in self.slack.range.state.channels.values() if channel in (c.id, c.name)).members)

    def private(self, name: str = ID) -> bool:
        """Whether there is a private channel of this name."""
        return any(c.name == name and c.kind == "private" for c in self.slack.range.state.channels.values())


def what(message: dict[str, Any]) -> str:
    """What a message of ours says it is."""
    return str(((message["metadata"] or {}).get("event_payload") or {}).get("what", ""))


def words(messages: list[dict[str, Any]]) -> str:
    """All that stands in them, as one text."""
    return "\n".join(json.dumps(m["blocks"], ensure_ascii=False) for m in messages)


@contextmanager
def staged(slack: Slack, folder: Path) -> Iterator[Stage]:
    """A stage over a new workspace."""
    slack.range.reset()
    slack.switchboard.reset()
    store = Store(f"sqlite:///{folder / 'bulkhead.db'}")
    store.migrate()
    timeline = Timeline(store)
    stage = Stage(slack, store, timeline, Hands())
    slack.range.state.limits.now = stage.hands.monotonic
    yield stage
    timeline.close()
    store.close()

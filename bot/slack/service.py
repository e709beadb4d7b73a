"""What is said of one incident in one look: the card, its thread, calls to people, files at the end."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from bot.errors import Rejected
from bot.posts import CARD, INTENDED, OVER, SENT, Post, Posts
from bot.slack import calls, card, closing, kit, thread
from bot.slack.calls import Called
from bot.slack.card import Posting
from bot.slack.owner import owner_question
from bot.slack.picture import Picture
from bot.slack.places import Places
from bot.slack.telling import Telling, digest, where
from bot.slack.wire import EDITS, SAYS, UPLOADS, Wire
from bot.store import Store, iso
from bot.world import Clock

FIRST_S = 15.0  # so long a card waits for the severity, which says in which channel it belongs
SAID, ASKS, REMINDER, OWNER, FILES = "said", "asks", "reminder", "owner", "files"
GONE = {"message_not_found", "thread_not_found"}
LOST = {"channel_not_found", "is_archived", "not_in_channel"}
log = logging.getLogger("bulkhead.slack")


@dataclass(slots=True, kw_only=True)
class Seen:
    """What the board remembers of an incident between two looks. Lost, it only costs a look."""

    head: int = -1
    quiet_until: float = 0.0
    first: float = 0.0
    served: float = 0.0
    warned: bool = False
    needs: frozenset[tuple[str, str]] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What the board is handed."""

    store: Store
    posts: Posts
    wire: Wire
    places: Places
    called: Called
    clocks: Mapping[str, Clock]  # World -> its clock
    scrub: Callable[[str], str] = str
    url: Callable[[], str] = str
    homes: Callable[[], int] = int  # show people their homes again; how many that were
    afterwards: Callable[[], int] = int  # post-mortems, reminders, questions; how many that were
    monotonic: Callable[[], float] = time.monotonic


class Service:
    """One look. ``card_row`` is the card's row, None before there was one."""

    def __init__(self, parts: Parts, picture: Picture, card_row: Post | None, seen: Seen) -> None:
        self.parts, self.picture, self.row, self.seen = parts, picture, card_row, seen
        self._telling = Telling(posts=parts.posts, wire=parts.wire, places=parts.places, scrub=parts.scrub)
        self.waits: set[tuple[str, str]] = set()  # what is due and not taken yet: method, channel
        self.early = False  # its severity, which says where it belongs, is not known yet

    def serve(self) -> int:
        """Say what Slack takes now. Returns how many calls that were; ``waits`` says what it does not take yet."""
        try:
            return self._post_card() if self.row is None or self.row.state == INTENDED else self._all()
        except Rejected as exc:
            return self._gone(exc)

    def _all(self) -> int:
        if not self._place_is_right():
            return self._leave()
        done = self._edit_card() + self._say_next() + self._edit_questions() + self._remind() + self._ask_owner()
        done += self._invite()
        if not done and not self.waits:
            done = self._put_files()
        if not done and not self.waits:
            self._finish()
        return done

    def _invite(self) -> int:
        """Let people into the private channel. Who cannot be let in keeps nothing else waiting."""
        try:
            return int(self.parts.places.invite(self.picture))
        except Rejected as exc:
            if exc.code in LOST:
                raise
            if not self.seen.warned:
                log.warning("nobody can be let into the channel of %s: %s", self.picture.row.id, exc.code)
            self.seen.warned = True
            return 0

    @property
    def _channel(self) -> str:
        assert self.row is not None
        return str(self.row.body["channel"])

    @property
    def _thread(self) -> str:
        assert self.row is not None
        return str(self.row.body["ts"])

    # the card ----------------------------------------------------------------------------------------------------

    def _post_card(self) -> int:
        picture, parts = self.picture, self.parts
        self.early = not (picture.level or picture.over or parts.monotonic() - self.seen.first >= FIRST_S)
        if self.early:
            return 0
        channel = parts.places.find(picture, self._at())
        if not self._free(SAYS, channel):
            return 0
        body = {"no": 1, "channel": channel, "calling": True}
        row, new = parts.posts.intend(
            f"{picture.row.id}/card", incident=picture.row.id, kind=CARD, at=self._at(), body=body
        )
        posting = self._telling.ready(card.draw(picture), f"{row.key}#{row.body['no']}")
        channel, ts, shown = self._telling.tell(row, new, str(row.body.get("channel") or channel), "", posting)
        parts.posts.save(replace(row, state=SENT, body=where(row, channel, ts, shown)))
        return 1

    def _edit_card(self) -> int:
        assert self.row is not None
        posting = self._telling.ready(card.draw(self.picture), f"{self.row.key}#{self.row.body['no']}")
        if digest(posting) == self.row.body["digest"]:
            return 0
        if not self._free(EDITS):
            return 0
        self.parts.wire.edit(self._channel, self._thread, posting)
        self._save_card(body=where(self.row, self._channel, self._thread, digest(posting)))
        return 1

    def _save_card(self, **changes: Any) -> None:
        assert self.row is not None
        self.row = replace(self.row, **({"state": SENT} | changes))
        self.parts.posts.save(self.row)

    def _place_is_right(self) -> bool:
        """Whether the card may stay where it is: a bad incident belongs into a channel of its own, and no card where
        outsiders read along.
        """
        places = self.parts.places
        if self._channel == places.private(self.picture):
            return True
        return bool(places.wanted(self.picture)) and places.safe(self._channel)

    def _leave(self) -> int:
        """Turn the card into a line that says nothing, then begin anew elsewhere. Never are there two cards."""
        assert self.row is not None
        if not self._free(EDITS):
            return 0
        drill = f"{card.DRILL_BANNER}. " if self.picture.drill else ""
        line = f"{drill}{kit.code(self.picture.row.id, 100)} goes on in a channel of its own."
        meta = card.metadata(self.picture, "moved")
        self.parts.wire.edit(self._channel, self._thread, Posting(blocks=[kit.section(line)], text=line, metadata=meta))
        self._anew()
        return 1

    def _anew(self) -> None:
        assert self.row is not None
        self._save_card(state=INTENDED, at=self._at(), body={"no": self.row.body["no"] + 1, "calling": False})

    def _gone(self, exc: Rejected) -> int:
        """Somebody has deleted the card, or its private channel: there is to be one again."""
        posted = self.row is not None and self.row.state != INTENDED
        if exc.code in LOST and self.parts.places.private(self.picture):
            self.parts.places.lose(self.picture)
        elif not (posted and exc.code in GONE):
            raise exc
        if posted:
            self._anew()
        return 1

    # the thread --------------------------------------------------------------------------------------------------

    def _say_next(self) -> int:
        """The next piece of the story. What has nothing to tell is passed over."""
        assert self.row is not None
        while True:
            key = f"{self.picture.row.id}/said/{self.row.upto + 1}"
            row = self.parts.posts.get(key)
            piece = thread.piece_of(row.body) if row else thread.next_piece(self.picture, self.row.upto)
            if piece is None:
                return 0
            drawn = thread.draw(self.picture, piece, self.parts.called)
            if drawn is not None and (row is None or row.state == INTENDED):
                return self._say(key, piece, self._telling.ready(drawn, key))
            self._save_card(upto=piece.last)

    def _say(self, key: str, piece: thread.Piece, posting: Posting) -> int:
        assert self.row is not None
        if not self._free(SAYS):
            return 0
        body = {"piece": piece.kind, "first": piece.first, "last": piece.last, "calling": True}
        kind = ASKS if piece.kind == thread.QUESTIONS else SAID
        row, new = self.parts.posts.intend(key, incident=self.picture.row.id, kind=kind, at=self._at(), body=body)
        channel, ts, shown = self._telling.tell(row, new, self._channel, self._thread, posting)
        stale = not shown or thread.waits(self.picture, piece)
        state = SENT if kind == ASKS and stale else OVER
        said = replace(row, state=state, body=where(row, channel, ts, shown))
        self.row = replace(self.row, state=SENT, upto=piece.last)
        self.parts.posts.save(said, self.row)
        return 1

    def _edit_questions(self) -> int:
        """A question that was settled says so, and loses its buttons."""
        for row in self.parts.posts.of(self.picture.row.id, ASKS):
            if row.state != SENT:
                continue
            piece = thread.piece_of(row.body)
            drawn = thread.draw(self.picture, piece, self.parts.called)
            done = self._redraw(row, drawn, over=not thread.waits(self.picture, piece))
            if done:
                return done
        return 0

    def _redraw(self, row: Post, drawn: Posting | None, *, over: bool) -> int:
        posting = self._telling.ready(drawn, row.key) if drawn is not None else None
        if posting is None or digest(posting) == row.body["digest"]:
            if over:
                self.parts.posts.save(replace(row, state=OVER))
            return 0
        if not self._free(EDITS, str(row.body["channel"])):
            return 0
        state = OVER if over else SENT
        try:
            self.parts.wire.edit(str(row.body["channel"]), str(row.body["ts"]), posting)
        except Rejected as exc:
            if exc.code not in GONE | LOST:
                raise
            state = OVER  # somebody has deleted it
        self.parts.posts.save(replace(row, state=state, body=row.body | {"digest": digest(posting)}))
        return 1

    # calls to people ---------------------------------------------------------------------------------------------

    def _remind(self) -> int:
        sent: dict[str, int] = {}
        for row in self.parts.posts.of(self.picture.row.id, REMINDER):
            prefix, _, rung = row.key.rpartition("/")
            if row.state != INTENDED:
                sent[prefix] = max(sent.get(prefix, 0), int(rung))
        for due in calls.reminders(self.picture, self.parts.called, sent):
            return self._call(due.key, REMINDER, due.text)
        return 0

    def _call(self, key: str, kind: str, text: str) -> int:
        """A line in the thread that calls somebody."""
        if not self._free(SAYS):
            return 0
        blocks = [*card.banner(self.picture), kit.section(text)]
        drill = f"{card.DRILL_BANNER}: " if self.picture.drill else ""
        posting = Posting(blocks=blocks, text=kit.clip(drill + text, 300), metadata=card.metadata(self.picture, kind))
        self._once(key, kind, self._channel, self._thread, posting, OVER, {})
        return 1

    def _once(
        self, key: str, kind: str, channel: str, thread_ts: str, posting: Posting, state: str, more: dict[str, Any]
    ) -> None:
        posting = self._telling.ready(posting, key)
        row, new = self.parts.posts.intend(
            key, incident=self.picture.row.id, kind=kind, at=self._at(), body=more | {"calling": True}
        )
        channel, ts, shown = self._telling.tell(row, new, channel, thread_ts, posting)
        self.parts.posts.save(replace(row, state=state, body=where(row, channel, ts, shown)))

    def _ask_owner(self) -> int:
        """Ask whom it may belong to, one after the other; what was asked shows what was answered."""
        rows = self.parts.posts.of(self.picture.row.id, OWNER)
        for row in rows:
            if row.state == SENT:
                drawn = owner_question(self.picture, str(row.body["name"]), str(row.body["to"]))
                over = bool(self.picture.over) or self.picture.last("owner-answer") is not None
                if done := self._redraw(row, drawn, over=over):
                    return done
        sent = frozenset(row.key for row in rows if row.state != INTENDED)
        for call in calls.owner_calls(self.picture, self.parts.called, sent):
            if not call.user:
                who = " ".join(self.parts.called.on_call())
                return self._call(
                    call.key, OWNER, f"{who} nobody whose it may be has said whether it was them.".strip()
                )
            return self._ask(call)
        return 0

    def _ask(self, call: calls.OwnerCall) -> int:
        try:
            channel = self.parts.places.dm(call.user)
            if self._free(SAYS, channel):
                posting = owner_question(self.picture, call.name, call.user)
                self._once(call.key, OWNER, channel, "", posting, SENT, {"name": call.name, "to": call.user})
        except Rejected as exc:  # somebody who has left; the next one is asked in his turn
            row, _ = self.parts.posts.intend(
                call.key, incident=self.picture.row.id, kind=OWNER, at=self._at(), body={"name": call.name}
            )
            self.parts.posts.save(replace(row, state=OVER, body=row.body | {"refused": exc.code}))
        return 1

    # the end -----------------------------------------------------------------------------------------------------

    def _put_files(self) -> int:
        """The timeline and the manifest of the evidence, once everything else is told."""
        picture, assert_row = self.picture, self.row
        assert assert_row is not None
        if not picture.over or assert_row.upto < picture.events[-1].n:
            return 0
        key, named = f"{picture.row.id}/files/{closing.upto(picture)}", closing.names(picture)
        row = self.parts.posts.get(key)
        if row is not None and row.state == OVER:
            return 0
        if not self._free(UPLOADS):
            return 0
        row, new = self.parts.posts.intend(
            key, incident=picture.row.id, kind=FILES, at=self._at(), body={"calling": True}
        )
        if new or not self._telling.find(row, self._channel, self._thread, lambda m: closing.holds(m, named[0])):
            texts = closing.files(picture, self.parts.store.evidence(picture.row.id))
            try:
                scrubbed = [(name, self.parts.scrub(text)) for name, text in texts]
                self.parts.wire.files(self._channel, self._thread, scrubbed, closing.words(picture))
            except Rejected as exc:
                if exc.code in GONE | LOST:
                    raise
                log.warning(
                    "Slack takes no files of %s (%s); `bulkhead incident show` has them", picture.row.id, exc.code
                )
                row = replace(row, body=row.body | {"refused": exc.code})
        self.parts.posts.save(replace(row, state=OVER))
        return 1

    def _finish(self) -> None:
        assert self.row is not None
        told = self.row.upto >= self.picture.events[-1].n
        if self.picture.over and told and not self.picture.reviews and self.row.state != OVER:
            self._save_card(state=OVER)

    # small things ------------------------------------------------------------------------------------------------

    def _free(self, method: str, channel: str = "") -> bool:
        channel = channel or self._channel
        free = self.parts.wire.free(method, channel)
        if not free:
            self.waits.add((method, channel))
        return free

    @staticmethod
    def _at() -> str:
        return iso(datetime.now(UTC))

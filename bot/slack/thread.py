"""What the thread under a card tells: every event once, in order, in as few messages as Slack's limits allow.

A piece is a run of events: either lines of the story, or open questions with their buttons. It is bound to the numbers
of its first and last event, so what is drawn after a crash is the same message.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from bot.slack import kit, names
from bot.slack.asks import ask_blocks, settled_line
from bot.slack.calls import Called
from bot.slack.card import DRILL_BANNER, Posting, banner, metadata
from bot.slack.kit import Block
from bot.slack.picture import Picture
from bot.story import ASKS, BAD, DIM, GOOD, Line, Story
from bot.timeline import Event

LINES, QUESTIONS = "lines", "questions"
ASKS_A_MESSAGE = 8  # three blocks each
EVENTS_A_MESSAGE = 60
CHARACTERS = 8_000  # of a message; Slack cuts far longer ones
MARKS = {GOOD: ":large_green_circle:", BAD: ":red_circle:", ASKS: ":large_yellow_circle:", DIM: ":white_small_square:"}
_MARK = re.compile(r"^:[a-z_]+: ")
CHAINED = ("decided", "closed", "aborted")  # with these the head of the chain goes out, where nobody can rewrite it


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """The events of one message, by their numbers."""

    kind: str  # lines, questions
    first: int
    last: int


def next_piece(picture: Picture, told: int) -> Piece | None:
    """What comes after event number ``told``; None when everything has been told."""
    new = [event for event in picture.events if event.n > told]
    if not new:
        return None
    open_asks = {(ask.step, ask.attempt) for ask in picture.asks}

    def kind(event: Event) -> str:
        return QUESTIONS if event.kind == "asked" and (event.step, event.attempt) in open_asks else LINES

    first, most = new[0], ASKS_A_MESSAGE if kind(new[0]) == QUESTIONS else EVENTS_A_MESSAGE
    taken, size = [first], 0
    texts = _texts(picture, new[most - 1].n if len(new) >= most else new[-1].n)
    for event in new[1:most]:
        size += sum(map(len, texts.get(event.n, ())))
        if kind(event) != kind(first) or size > CHARACTERS:
            break
        taken.append(event)
    return Piece(kind=kind(first), first=first.n, last=taken[-1].n)


def draw(picture: Picture, piece: Piece, called: Called | None = None) -> Posting | None:
    """The message of a piece; None when its events have nothing to tell. ``called``: who can be called."""
    blocks = _questions(picture, piece, called or Called()) if piece.kind == QUESTIONS else _lines(picture, piece)
    if not blocks:
        return None
    drill = f"{DRILL_BANNER}: " if picture.drill else ""
    text = kit.clip(f"{drill}{kit.escape(picture.row.id)}: {_short(picture, piece)}", 300)
    return Posting(blocks=[*banner(picture), *blocks][: kit.BLOCKS], text=text, metadata=metadata(picture, piece.kind))


def waits(picture: Picture, piece: Piece) -> bool:
    """Whether a question of this piece, or the proof of a person's step, is still open: then it will change."""
    for event in _of(picture, piece):
        if event.kind != "asked" or not isinstance(event.body, dict):
            continue
        key = event.step, event.attempt
        decided = picture.settled.get(key)
        if decided is None and key in {(ask.step, ask.attempt) for ask in picture.asks}:
            return True
        by_hand = event.body["purpose"] == "answer" and decided is not None and decided.body["go"]
        if by_hand and event.step not in picture.proofs and not picture.over:
            return True
    return False


def _of(picture: Picture, piece: Piece) -> list[Event]:
    return [event for event in picture.events if piece.first <= event.n <= piece.last]


def _short(picture: Picture, piece: Piece) -> str:
    if piece.kind == QUESTIONS:
        return "people are asked: " + ", ".join(kit.escape(event.step) for event in _of(picture, piece))
    told = _texts(picture, piece.last)
    lines = [text for n in range(piece.first, piece.last + 1) for text in told.get(n, ()) if ":link:" not in text]
    return _MARK.sub("", kit.plain(lines[-1])) if lines else "news"


# lines ---------------------------------------------------------------------------------------------------------------


def _lines(picture: Picture, piece: Piece) -> list[Block]:
    told = _texts(picture, piece.last)
    return kit.sections([text for n in range(piece.first, piece.last + 1) for text in told.get(n, ())])


def _texts(picture: Picture, upto: int) -> dict[int, list[str]]:
    """The lines of each event, by its number. A story is told from its beginning: it keeps clocks and tails."""
    story, told = Story(), {}
    for event in picture.events:
        if event.n > upto:
            break
        told[event.n] = [_line(line) for line in story.event(event) if line.text]
        if event.kind in CHAINED and event.hash:
            told[event.n].append(f":link: event {event.n}, chain {kit.code(event.hash)}")
    return told


def _line(line: Line) -> str:
    mark = f"*{kit.escape(line.mark)}* " if line.mark else ""
    clock = f"{kit.escape(line.clock)} " if line.clock else ""
    return kit.clip(
        f"{MARKS.get(line.style, ':small_blue_diamond:')} {clock}{mark}{names.mentions(kit.escape(line.text))}", 2000
    )


# questions -----------------------------------------------------------------------------------------------------------


def _questions(picture: Picture, piece: Piece, called: Called) -> list[Block]:
    open_asks = {(ask.step, ask.attempt): ask for ask in picture.asks}
    asked = [event for event in _of(picture, piece) if event.kind == "asked" and isinstance(event.body, dict)]
    still = [ask for event in asked if (ask := open_asks.get((event.step, event.attempt)))]
    blocks: list[Block] = []
    if calls := list(dict.fromkeys(one for ask in still for one in called.asked(picture, ask))):
        blocks.append(kit.section(f"{' '.join(calls)} please answer:"))
    for event in asked:
        key = event.step, event.attempt
        if key in open_asks:
            blocks += ask_blocks(picture, open_asks[key], countdown=False)
        elif key in picture.settled:
            blocks.append(kit.section(settled_line(picture, event, picture.settled[key])))
        else:
            blocks.append(kit.section(f":heavy_multiplication_x: *{kit.escape(event.step)}*: no longer asked"))
    return blocks


def piece_of(body: dict[str, Any]) -> Piece:
    """A piece as its row keeps it."""
    return Piece(kind=body["piece"], first=body["first"], last=body["last"])

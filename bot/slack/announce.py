"""Tells in the incidents channel what changes with a policy: each note once, with who has signed it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from bot.engine.announced import Note, Notes
from bot.engine.compared import LESS, MORE
from bot.engine.freeze import INSTALLATION
from bot.errors import BulkheadError, RateLimited, Unavailable
from bot.slack import kit
from bot.slack.card import Posting
from bot.slack.decisions import mentions
from bot.slack.telling import Telling

KIND = "policy"  # of posts
MOST = 20  # changes in one message; the rest is counted
HEADS = {LESS: "People are asked less", MORE: "People are asked more"}
log = logging.getLogger("bulkhead.slack")


@dataclass(slots=True, kw_only=True)
class Announcer:
    """Says it. ``since``: when the board began (ISO 8601 UTC); what was announced before is none of ours."""

    notes: Notes
    telling: Telling
    channel: str
    since: Callable[[], str]
    _upto: int = 0

    def turn(self) -> int:
        """Say what was announced; returns how many calls that were. Raises nothing of Slack's."""
        done = 0
        for note in self.notes.all(after=self._upto) if self.channel else ():
            if note.at >= self.since():
                try:
                    done += self._say(note)
                except (RateLimited, Unavailable):
                    return done + 1  # the wire knows when to go on
                except BulkheadError as exc:
                    log.warning("note %d on the policy cannot be told in Slack: %s", note.seq, exc)
            self._upto = note.seq
        return done

    def _say(self, note: Note) -> int:
        if note.wrong:
            log.error("note %d on the policy does not hold and is not told: %s", note.seq, note.wrong)
            return 0
        if not self.telling.places.safe(self.channel):
            return 0
        key = f"{INSTALLATION}/policy/{note.seq}"
        told = self.telling.once(
            key, incident=INSTALLATION, kind=KIND, channel=self.channel, posting=posting(note), more={"seq": note.seq}
        )
        stands = self.telling.posts.get(key)
        if not told and (stands is None or stands.state == "intended"):
            raise Unavailable("Slack takes no message now", provider="slack")
        return int(told)


def posting(note: Note) -> Posting:
    """The message of a note."""
    who = mentions(note.by)
    head = f"*A change of policy is announced* by {who}: {kit.clip(kit.escape(note.reason), 500)}"
    blocks = [kit.section(head)]
    for way in (LESS, MORE, ""):
        lines = [one for one in note.changes[:MOST] if (one.way if one.way in HEADS else "") == way]
        if lines:
            said = "\n".join(f"• {kit.clip(kit.escape(one.text), 400)}" for one in lines)
            blocks.append(kit.section(f"*{HEADS.get(way, 'Besides')}*\n{kit.clip(said, 2800)}"))
    more = f" {len(note.changes) - MOST} more changes are in it." if len(note.changes) > MOST else ""
    blocks.append(kit.context(f"Signed. `bulkhead policy notes` checks it again and has all of it.{more}"))
    text = f"A change of policy is announced: {kit.clip(kit.escape(note.reason), 200)}"
    payload = {"seq": note.seq, "policy": note.now}
    return Posting(blocks=blocks, text=text, metadata={"event_type": "bulkhead_policy", "event_payload": payload})

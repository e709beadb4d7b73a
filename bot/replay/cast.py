"""What a thief can use in each moment: folded from the ledger, and from the acts that a drill tells."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bot.engine.ledger import Ledger, Row, TailState
from bot.model import Planted, RowState
from bot.replay import words
from bot.replay.nouns import Thing
from bot.story import GRADES, stamp
from bot.timeline import Event

STATE = {
    RowState.SUSPECTED: "reach", RowState.CUT_REQUESTED: "cutting", RowState.ACCEPTED: "accepted",
    RowState.PROVEN_DEAD: "dead", RowState.TAIL_OPEN: "dead", RowState.CLOSED: "dead", RowState.FAILED: "failed",
    RowState.REOPENED: "works", RowState.WAIVED: "waived",
}  # fmt: skip
# what the attacker tries -> the key of what it was made as, where that is the leaked credential itself
OF_LEAKED = ("npm-token", "token", "gcp-key")
TRIED_AS = {
    "role-session": "aws-role-sessions", "saved-session": "sts-session", "default-install": "version",
    "gcp-token": "gcp-access-token",
}  # fmt: skip


class Cast:
    """Things by their ledger keys, in the order in which they came up."""

    def __init__(self, events: list[Event]) -> None:
        self.ledgers: dict[str, Ledger] = {}
        self.incident = events[0].incident if events else ""
        bodies = {event.kind: event.body for event in events if event.body is not None}
        found = bodies.get("triage") or {}
        credential = found.get("credential") or (bodies.get("opened") or {}).get("report", {}).get("credential")
        self.key = f"{credential['kind']}:{credential['id'] or credential['fingerprint']}" if credential else ""
        self.leaked = self._the(words.named(self.key)) if self.key else "the credential"
        self.at = words.place(self.key) if self.key else "pipeline"
        self.minted = next((before for before in _befores(events) if before.get("by_identity")), None)
        self.home = "issuer" if self.minted else "store" if found.get("stores") else "pipeline"
        self._plants = [
            Planted(**one) for event in events if event.kind == "outcome" and event.body
            for one in event.body.get("plants", ())
        ]  # fmt: skip
        self.copies: list[str] = []  # places where the leaked credential has been put
        self._uses: dict[str, str] = {}  # step -> the action that it uses
        self._held: dict[str, str] = {}  # key -> state, of what no ledger knows yet
        self._things: dict[str, Thing] = {}
        if self.key:
            self._put(self.key, self.home, "safe")
            self.copies = [] if self.minted else [self.home]

    @staticmethod
    def _the(name: str) -> str:
        return name if name.startswith("the ") else f"the {name}"

    def things(self) -> tuple[Thing, ...]:
        """As it stands."""
        return tuple(self._things.values())

    def _put(self, key: str, place: str, state: str, note: str = "", name: str = "") -> None:
        self._things[key] = Thing(name=name or words.named(key), place=place, state=state, note=note)

    def hold(self, place: str) -> None:
        """Where the leaked credential is now."""
        if self.key:
            known = self._things[self.key]
            self.copies += [place] if place not in self.copies else []
            self._put(self.key, place, known.state, known.note)

    def leak(self, to: str) -> None:
        """It is out: whoever sees it can use it."""
        if self.key:
            self._held[self.key] = "works"
            self._put(self.key, to, "works")
            self.hold(to)

    def expire(self, note: str) -> None:
        """The leaked credential has come to its end by itself."""
        if self.key:
            self._held.pop(self.key, None)
            self._put(self.key, self._things[self.key].place, "dead", note)

    def stolen(self, names: str, triage: Mapping[str, Any]) -> None:
        """What lay beside the leaked credential and went with it, by the names that it had there."""
        for reached in triage.get("reach", ()):
            if reached["credential"] is not None and reached["name"] in names.split(", "):
                key = f"{reached['kind']}:{reached['credential']['id'] or reached['credential']['fingerprint']}"
                if key != self.key:
                    self._held[key] = "works"
                    self._put(key, words.place(key), "works")

    def made(self, act: str, what: str) -> None:
        """The thief has made something. Where the timeline knows it later, it has its name from there."""
        kind = words.MAKES.get(act)
        if kind is None:
            return
        key, name = self._key_of(kind, what)
        self._held[key] = "works"
        if key not in self._things:
            self._put(key, words.place(key), "works", name=name)

    def _key_of(self, kind: str, what: str) -> tuple[str, str]:
        if kind == "sts-session":
            of = self.key if self.key.startswith("aws") else f"aws:{what}"
            return self._tail_key(of, kind), f"a saved session of {what}"
        if kind == "gcp-access-token":
            return self._tail_key(self.key, kind), f"an access token of {words.short(what)}"
        if kind == "role-sessions":
            return f"aws-role-sessions:{what}", ""
        if kind == "version":
            return f"version:{what}", f"the version {words.version(what)}"
        for planted in self._plants:
            names = (planted.name, planted.event, planted.id, "")
            if planted.kind == kind and planted.key not in self._held and what in names:
                return planted.key, ""
        if kind == "github-workflow-file":
            known = next((p for p in self._plants if p.kind == kind), None)
            return (known.key, "") if known else (f"{kind}:{what}", "")
        return f"aws-{kind}:{what}", ""

    @staticmethod
    def _tail_key(of: str, kind: str) -> str:
        return f"{kind} of {of}"

    def take(self, event: Event) -> None:
        """Fold an event in."""
        ledger = self.ledgers.setdefault(event.incident, Ledger())
        ledger.take(event)
        own = event.incident == self.incident
        for row in ledger.rows.values():
            if own or row.key in self._things or row.state != RowState.SUSPECTED:
                self._row(row)
        if event.kind == "look" and event.body:
            self._uses[event.step] = event.body["uses"]
        if event.kind == "proof" and event.body and event.body["verdict"] == "proven":
            for key in self._versions(event):
                self._put(key, "registry", "dead", GRADES[event.body["grade"]], self._things[key].name)

    def _versions(self, event: Event) -> list[str]:
        """The published version that an unpublish or a yank has taken away."""
        if not self._uses.get(event.step, "").endswith((".unpublish", ".yank")):
            return []
        gone = event.body["detail"]
        return [key for key in self._things if key.startswith("version:") and words.version(key[8:]) in gone]

    def _row(self, row: Row) -> None:
        state = STATE[row.state]
        held = self._held.get(row.key)
        if state == "reach" and held:
            state = held
        if state == "dead" and row.key in self._held:
            del self._held[row.key]
        note = f"by {row.waived_by}" if row.waived_by else ""
        if row.grade and state == "dead":
            note = GRADES[row.grade.value]
        place = self._things[row.key].place if row.key in self._things else words.place(row.key)
        known = self._things.get(row.key)
        if known is None or known.state != "dead" or state == "works":
            self._put(row.key, place, state, note)
        for tail in row.tails:
            self._tail(row, tail)

    def _tail(self, row: Row, tail: TailState) -> None:
        key = self._tail_key(row.key, tail.kind)
        same = tail.kind == row.key.partition(":")[0]  # the token of a job is its own tail
        if same or (row.dead_at is None and key not in self._things):
            return
        minted = f"sessions minted from {self._the(words.named(row.key))}"
        name = self._things[key].name if key in self._things else minted
        if row.dead_at is None:
            self._put(key, "cloud", "works", name=name)
        elif tail.open:
            until = f"until {stamp(tail.until.isoformat())}" if tail.until else "for an unknown time"
            self._put(key, words.place(row.key), "lives", until, name)
        else:
            self._put(key, words.place(row.key), "dead", "it expired" if tail.ended == "expired" else "ended", name)

    def tried(self, name: str, *, refused: bool) -> None:
        """What the attacker was answered in the end is the last word on what it holds."""
        if name in OF_LEAKED and not refused and self.key:
            self._put(self.key, self._things[self.key].place, "works", "tried again")
        for key in [k for k in self._held if k in self._things and self._things[k].state == "works"]:
            if key.startswith(TRIED_AS.get(name, "-")) and refused:
                thing = self._things[key]
                self._put(key, thing.place, "dead", "tried again and refused", thing.name)

    # where it went ----------------------------------------------------------------------------------------------

    def route(self, told: Mapping[str, Any]) -> tuple[str, str]:
        """From where to where it leaked."""
        return "pipeline" if self.home == "pipeline" else "runner", "attacker" if posted(told) else "open"


def posted(told: Mapping[str, Any]) -> bool:
    """Whether it was sent to the attacker from inside the job, so that nobody else could see it."""
    return any(act["act"] == "npm:PostEnvironment" for act in (told.get("abuse") or {}).get("acts", ()))


def in_the_open(told: Mapping[str, Any], triage: Mapping[str, Any] | None) -> str:
    """What the place is where everybody could see it."""
    seen = " ".join(one["where"] for one in (triage or {}).get("sightings", ()))
    leak = told.get("leak") or {}
    if leak.get("image_ref") or seen.startswith("image "):
        return "a public image"
    if posted(told):
        return "people who install"
    if leak.get("run_url") or " run " in f" {seen}":
        return "a public run log"
    return f"exposure {triage['exposure']}" if triage else ""


def _befores(events: list[Event]) -> list[Mapping[str, Any]]:
    return [event.body["before"] for event in events if event.kind in ("look", "planned") and event.body]

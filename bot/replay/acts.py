"""What a drill tells beside the timeline, as scenes: the move to OIDC, leak and abuse; the tries after the close.

A real incident has the leak only, as its triage has found it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from bot.replay import words
from bot.replay.cast import Cast, in_the_open
from bot.replay.nouns import Move, Scene
from bot.store import when
from bot.story import ACTS, CODES, LOOT, Story, exposure, seconds
from bot.timeline import Event

TRIED_AT = {
    "npm-token": "registry", "npm-publish": "registry", "default-install": "registry", "fork": "pipeline",
    "id-token": "issuer",
}  # fmt: skip
MERGED = 4  # so many sentences of one kind stand together in a scene
BEFORE = "before the report"
LABEL = 22  # letters that have room beside a line
Told = Mapping[str, Any]


class Board:
    """Puts one scene after the other and keeps what the picture shows in between."""

    def __init__(self, events: list[Event], told: Told) -> None:
        self.scenes: list[Scene] = []
        self.told, self.story, self.events = told, Story(), events
        self.bodies = {event.kind: event.body for event in events if event.body is not None}
        self.incident = events[0].incident if events else ""
        self.cast = Cast(events)
        self.stories: dict[str, Story] = {}
        self.uses: dict[str, str] = {}  # step -> the action that it uses
        self.kills: set[str] = set()
        self.reads: dict[str, str] = {}  # step that only reads -> what it said
        self.signs: dict[str, str] = {}
        self._group = ""
        self.planned = False
        opened = self.bodies.get("opened") or {}
        self.zero = when(opened["reported_at"]) if opened.get("reported_at") else None

    # putting scenes together ------------------------------------------------------------------------------------

    def show(self, chapter: str, mark: str, *texts: str, moves: Iterable[Move] = (), tone: str = "", clock: str = "",
             event: int = 0, group: str = "", how: str = "") -> None:  # fmt: skip
        """One more scene; where the last one is of the same group, its sentences join that one."""
        said = tuple(filter(None, map(words.plain, texts)))
        last = self.scenes[-1] if self.scenes else None
        things = self.cast.things()
        if last is not None and group and group == self._group and len(last.texts) < MERGED:
            moves = (*last.moves, *(move for move in moves if move not in last.moves))
            said, before = last.texts + tuple(s for s in said if s not in last.texts), self.scenes[:-1]
            self.scenes = before
        self._group = group
        shown = self.scenes[-1].things if self.scenes else ()
        changed = frozenset(i for i, thing in enumerate(things) if i >= len(shown) or thing != shown[i])
        self.scenes.append(
            Scene(chapter=chapter, mark=mark, texts=said, clock=clock, tone=tone, moves=tuple(moves)[:MERGED],
                  things=things, changed=changed, copies=tuple(self.cast.copies), signs=dict(self.signs),
                  event=event, how=how)
        )  # fmt: skip

    # before the report ------------------------------------------------------------------------------------------

    def before(self) -> None:
        """The move to OIDC if there was one, the leak and the abuse: as a drill tells them, or as triage has found."""
        triage, leak = self.bodies.get("triage"), self.told.get("leak")
        since = self._since(triage)
        self._set_up(triage)
        if moved := self.told.get("migrate"):
            self.show("move", "Moved", *moved["story"], moves=[Move("ours", "bulkhead", "pipeline", "pull request")],
                      clock=BEFORE)  # fmt: skip
        self._handed_out(triage, since)
        route = self.cast.route(self.told)
        self.cast.leak(route[1])
        said = leak["story"] if leak else [exposure(triage)] if triage else []
        if said:
            self.show("leak", "Leaks", *said, moves=[Move("token", *route, "leaks")], tone="bad", clock=since)
        for act in (self.told.get("abuse") or {}).get("acts", ()):
            self._act(act)
        tried = self.told.get("tries-before") or []
        if tried:
            self._tried_before(tried)

    def _handed_out(self, triage: Mapping[str, Any] | None, since: str) -> None:
        """How the job comes by what leaks: from the store, the same each time, or minted for it alone."""
        if minted := self.cast.minted:
            self.cast.hold("runner")
            self.show(
                "leak", "Minted", "The secret store is empty. The job proves who it is, by a token of the OIDC issuer",
                f"It gets a session of the role {minted['role']} for {minted['subject']}, and nothing else",
                moves=[Move("mint", "issuer", "runner", "for this job only"), Move("ours", "runner", "cloud", "role")],
                clock=since,
            )  # fmt: skip
        elif self.cast.home == "store":
            how = next((r["how"] for r in (triage or {}).get("reach", ()) if r["how"].startswith("job ")), "")
            self.cast.hold("runner")
            self.show("leak", "Handed out",
                      f"The job gets {self.cast.leaked} from the secret store{': ' if how else ''}{how}",
                      "It is the same secret in every run, and nothing ends it by itself",
                      moves=[Move("token", "store", "runner", "the secret")], clock=since)  # fmt: skip

    def _tried_before(self, tried: list[dict[str, Any]]) -> None:
        works = [self._tried_name(one) for one in tried if not one["refused"]]
        names = ", ".join(works or map(self._tried_name, tried))
        many = f"{len(works)} of {len(tried)} of its ways in work"
        many = many if works else f"none of its {len(tried)} ways in works"
        move = Move("use" if works else "stop", "attacker", self.cast.at, "works" if works else "refused")
        self.show("abuse", "Works" if works else "Worthless", f"Before anybody knows, {many}: {names}", moves=[move],
                  tone="bad" if works else "good", clock=BEFORE)  # fmt: skip

    def _since(self, triage: Mapping[str, Any] | None) -> str:
        if not (triage and triage["exposed_from"] and self.zero):
            return BEFORE
        gone = (self.zero - datetime.fromisoformat(triage["exposed_from"])).total_seconds()
        return f"{seconds(gone)} {BEFORE}" if gone > 0 else BEFORE

    def _set_up(self, triage: Mapping[str, Any] | None) -> None:
        """What the places say of themselves at the start."""
        if triage:
            self.signs["pipeline"] = (triage["repository"] or "").rpartition("/")[2]
            files = [w["workflow"].rsplit("/", 1)[-1] for w in triage["leaking_workflows"]]
            self.signs["runner"] = ", ".join(files[:1])
            self.signs["store"] = words.short(triage["stores"][0]["name"]) if triage["stores"] else ""
        if self.cast.minted:
            self.signs["store"] = "no secret"
        self.signs["open"] = in_the_open(self.told, triage)

    def _act(self, act: Mapping[str, Any]) -> None:
        """Something that the thief does. What it makes joins the list of what it can use."""
        said = act.get("said") or ACTS.get(act["act"], act["act"]).format(act["made"])
        service, _, verb = act["act"].partition(":")
        moves = [Move("use" if act["ok"] else "stop", "attacker", words.SERVICES.get(service, self.cast.at), verb)]
        mark, tone = ("Abused", "bad") if act["ok"] else ("Refused", "good")
        if act["act"] in ("github:ReadRunLog", "registry:PullLayer", "npm:PostEnvironment"):
            mark, source = "Stolen", "runner" if act["act"] == "npm:PostEnvironment" else "open"
            moves = [Move("token", source, "attacker", "stolen")]
            self.cast.hold("attacker")
            self.cast.stolen(act["made"], self.bodies.get("triage") or {})
        if verb == "Publish" and act["ok"]:
            self.signs["registry"] = f"{words.version(act['made'])}, not ours"
        if verb == "Downloads":
            some = not act["made"].startswith("0 ")
            mark, tone = ("Spread", "bad") if some else ("Nothing", "good")
            self.signs["registry"] = f"{act['made'].removesuffix(' times')} downloads"
            moves = [Move("use" if some else "stop", "registry", "open", act["made"])]
        if act["ok"]:
            self.cast.made(act["act"], act["made"])
        if act["code"] == "ExpiredToken" and words.place(self.cast.key) == words.SERVICES.get(service):
            self.cast.expire("it expired by itself")
        text = said.strip("()") if said.startswith("(") else f"The thief {said}"
        text = text if act["ok"] else words.refused(said, act["code"])
        group = "" if act["ok"] else f"refused {words.SERVICES.get(service)}"
        self.show("abuse", mark, text, moves=moves, tone=tone, clock=self._after_leak(act), group=group)

    def _after_leak(self, act: Mapping[str, Any]) -> str:
        """When an act was, where the range has noted it."""
        leaked = (self.told.get("leak") or {}).get("at")
        if not (leaked and act.get("at")):
            return BEFORE
        gone = datetime.fromisoformat(act["at"]) - datetime.fromisoformat(leaked)
        return f"{seconds(gone.total_seconds())} after the leak"

    # after the close --------------------------------------------------------------------------------------------

    def after(self) -> None:
        """The attacker tries again, if it is a drill's."""
        for one in self.told.get("tries-after") or ():
            name, refused = self._tried_name(one), one["refused"]
            self.cast.tried(one["name"], refused=refused)
            code = CODES.get(one["code"], one["code"])
            said = f"refused{': ' + code if code else ''}" if refused else f"it WORKS {code}"
            what = "stop" if refused else "use"
            self.show("again", "Refused" if refused else "Works", f"The thief tries {name}: {said}",
                      moves=[Move(what, "attacker", self._tried_at(one), code_label(one["code"]))],
                      tone="good" if refused else "bad", clock="after the close")  # fmt: skip

    def _tried_at(self, one: Mapping[str, Any]) -> str:
        if one["name"] in TRIED_AT:
            return TRIED_AT[one["name"]]
        return self.cast.at if self.cast.at != "registry" else "cloud"

    @staticmethod
    def _tried_name(one: Mapping[str, Any]) -> str:
        return str(one.get("said") or LOOT.get(one["name"], one["name"]))


def code_label(code: str) -> str:
    """A provider's code beside its line; a sentence has no room there."""
    return code if len(code) < LABEL else ""

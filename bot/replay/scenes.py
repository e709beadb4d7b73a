"""Timeline and told acts -> scenes. Pure: it asks nothing, and invents nothing that is not on record."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any

from bot.engine.ledger import Row
from bot.learn.times import cut_times
from bot.model import RowState
from bot.replay import words
from bot.replay.cast import Cast, in_the_open
from bot.replay.nouns import Move, Scene
from bot.store import when
from bot.story import ACTS, ASKS, BAD, CODES, GOOD, GRADES, LOOT, Line, Story, exposure, seconds, stamp
from bot.timeline import Event

TONES = {GOOD: "good", BAD: "bad", ASKS: "asks"}
TRIED_AT = {
    "npm-token": "registry", "npm-publish": "registry", "default-install": "registry", "fork": "pipeline",
    "id-token": "issuer",
}  # fmt: skip
MERGED = 4  # so many sentences of one kind stand together in a scene
BEFORE = "before the report"
LABEL = 22  # letters that have room beside a line
Told = Mapping[str, Any]


def scenes(events: Iterable[Event], told: Told | None = None, beside: Iterable[Iterable[Event]] = ()) -> list[Scene]:
    """Every scene, in order.

    ``told``: what a drill keeps (leak, abuse, tries-before, tries-after); None or empty for a real incident.
    ``beside``: the timelines of incidents that contain what stood in reach.
    """
    main, told = list(events), told or {}
    director = Director(main, told)
    director.before()
    others = sorted((e for one in beside for e in one), key=lambda e: e.at)
    for event in sorted([*main, *others], key=lambda e: e.at):
        director.take(event)
    director.after()
    return director.scenes


class Director:
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

    # the timeline -----------------------------------------------------------------------------------------------

    def take(self, event: Event) -> None:
        """The scene of one event, if it has one."""
        story = self.story if event.incident == self.incident else self.stories.setdefault(event.incident, Story())
        if event.incident != self.incident:
            story._zero = self.zero  # one clock for all of it
        lines = story.event(event)
        self.cast.take(event)
        body = event.body
        if body is None:
            return self._line(event, lines)
        self._note(event, body)
        make: Callable[[Event, Any], None] | None = getattr(self, f"_on_{event.kind.replace('-', '_')}", None)
        if make is not None:
            make(event, body)
        else:
            self._line(event, lines)
        for line in lines:
            if line.mark in ("tail", "tail over"):
                self._tail(event, line)
        return None

    def _note(self, event: Event, body: Mapping[str, Any]) -> None:
        self.planned = self.planned or event.kind in ("plan", "look", "planned")
        if event.kind == "plan":
            self.uses |= {step["id"]: step["uses"] for step in body["steps"]}
        elif event.kind == "look":
            self.uses[event.step] = body["uses"]
            if body.get("kills"):
                self.kills.add(event.step)
            if body["effect"] == "read":
                self.reads[event.step] = ""

    def _at(self, event: Event) -> str:
        return words.worked_at(self.uses.get(event.step, self.uses.get(event.step.split("#")[0], "")))

    def _clock(self, event: Event) -> str:
        return self.story._line(event, "", "").clock

    def _say(self, event: Event, mark: str, *texts: str, moves: Iterable[Move] = (), tone: str = "",
             group: str = "", how: str = "") -> None:  # fmt: skip
        chapter = "contain" if self.planned and event.kind != "plan" else "report"
        beside = f"{event.incident[-4:]} " if event.incident != self.incident else ""
        self.show(chapter, mark, *texts, moves=moves, tone=tone, clock=self._clock(event),
                  event=0 if beside else event.n, group=group and f"{beside}{group}", how=how)  # fmt: skip

    def _line(self, event: Event, lines: list[Line]) -> None:
        """A kind that has no picture of its own: its words, as everywhere else."""
        told = [line for line in lines if line.mark not in ("", "tail", "tail over")]
        if told:
            texts = [line.text.removeprefix(f"{event.step}: ") for line in told]
            self._say(event, told[0].mark.capitalize(), *texts, tone=TONES.get(told[0].style, ""))

    def _on_opened(self, event: Event, body: Mapping[str, Any]) -> None:
        report, beside = body["report"], event.incident != self.incident
        if beside:
            text = f"An incident of its own contains what stood in reach: {body['title']}"
            return self._say(event, "Beside", text)
        said = f"{report['by']} reports it: {report['text'] or report['url']}"
        text = f"Bulkhead opens the incident {body['title']!r} by the playbook {body['playbook']['id']}"
        return self.show("report", "Reported", said, text, moves=[Move("word", "people", "bulkhead", "report")],
                         clock="the report", event=event.n)  # fmt: skip

    def _on_triage(self, event: Event, body: dict[str, Any]) -> None:
        if event.incident != self.incident:
            return
        live = {"live": "it works", "dead": "it no longer works"}.get(body["live"], "whether it works is unknown")
        reach = len({r["name"] for r in body["reach"]})
        also = f"{reach} things were in reach of the leak" if reach > 1 else ""
        self._say(event, "Understood", f"It is {self.cast.leaked}, and {live}", exposure(body), also,
                  moves=[Move("look", "bulkhead", self.cast.at, "whose is it?")], tone="asks",
                  group="triage")  # fmt: skip

    def _on_severity(self, event: Event, body: Mapping[str, Any]) -> None:
        if event.incident == self.incident:
            tone = "bad" if body["level"] in ("critical", "high") else "asks"
            text = f"{body['level']}: {body['reason']}"
            self._say(event, body["level"].capitalize(), text, tone=tone, group="triage")

    def _on_plan(self, event: Event, body: Mapping[str, Any]) -> None:
        if event.incident == self.incident:
            people = sum(1 for step in body["steps"] if step["person"])
            text = f"The plan has {len(body['steps'])} steps, cuts first; for people to do: {people}"
            more = "It only says what it would do: mode observe" if body["mode"] == "observe" else ""
            self._say(event, "Plan", text, more, moves=[Move("word", "bulkhead", "people", "plan")])

    def _on_planned(self, event: Event, body: Mapping[str, Any]) -> None:
        if (self.bodies.get("plan") or {}).get("mode") == "observe":
            self._say(event, "Would do", body["before"]["summary"], group="planned")

    def _on_look(self, event: Event, body: Mapping[str, Any]) -> None:
        """A look changes nothing, and the act that follows says the same."""

    _on_skipped = _on_look

    def _on_asked(self, event: Event, body: Mapping[str, Any]) -> None:
        who = "Two people must agree" if body["needs"] > 1 else "A person is asked"
        what = body["what"].removeprefix("Have a person do what no API can: ")
        self._say(event, "Asks", f"{who}: {what}", moves=[Move("ask", "bulkhead", "people", "may I?")], tone="asks",
                  group="asked")  # fmt: skip

    def _on_decided(self, event: Event, body: Mapping[str, Any]) -> None:
        who = ", ".join(body["by"]) or "Nobody"
        answer = words.secret_free(body.get("answer") or "")
        text = f"{who} answers: {answer}" if answer else f"{who}: {body['said']}"
        if answer and event.step in self.kills:
            self._say(event, "Cut", text, moves=[Move("cut", "people", self.cast.at, "by hand")], tone="asks")
            return
        mark, tone, word = ("Agreed", "", "yes") if body["go"] else ("Denied", "bad", "no")
        self._say(event, mark, text, tone=tone, moves=[Move("word", "people", "bulkhead", word)], group="decided")

    def _on_evidence(self, event: Event, body: Mapping[str, Any]) -> None:
        names = [f["name"].rsplit("/", 1)[-1] for f in body["files"]]
        gap = f"Evidence is missing: {body['gap']}" if body.get("gap") else ""
        kept = f"Kept as evidence before it goes: {', '.join(names)}" if names else ""
        self._say(event, "Saved", kept, gap, moves=[Move("word", self._at(event), "bulkhead", "evidence")],
                  tone="bad" if gap else "", group="evidence")  # fmt: skip

    def _on_outcome(self, event: Event, body: Mapping[str, Any]) -> None:
        summary, at = body["summary"], self._at(event)
        if at == "people":
            return  # the answer was the scene before
        if event.step in self.reads:
            self.reads[event.step] = summary
            if event.incident == self.incident:
                self._say(event, "Found", summary, moves=[Move("look", "bulkhead", at, "what is there?")])
            return
        if not body["changed"] and event.step not in self.kills:
            return
        if not body["changed"]:
            self._say(event, "Found", summary, moves=[Move("look", "bulkhead", at, "what is left?")])
            return
        if event.step in self.kills:
            self._say(event, "Cut", summary, moves=[Move("cut", "bulkhead", at, "cut")], group="cut", tone="asks")
            return
        if ".move_dist_tag_back" in self.uses.get(event.step, "") or ".unpublish" in self.uses.get(event.step, ""):
            self.signs["registry"] = "good version again"
        self._say(event, "Done", summary, moves=[Move("ours", "bulkhead", at, "")], group="done")

    def _on_proof(self, event: Event, body: Mapping[str, Any]) -> None:
        detail, at = body["detail"], self._at(event)
        if body["verdict"] != "proven":
            mark = "Not yet" if body["verdict"] == "not_yet" else "Refuted"
            return self._say(event, mark, detail, moves=[Move("look", "bulkhead", at, "dead?")], tone="bad")
        if (body["grade"] == "word" and event.step not in self.kills) or self._known(event, detail):
            return None
        target = self.cast.at if at == "people" else at
        label = {"refused": "refused", "state": "on record"}.get(body["grade"], "their word")
        return self._say(event, "Proven", detail, how=GRADES[body["grade"]], tone="good",
                         moves=[Move("proof", target, "bulkhead", label)], group=f"proof {body['grade']}")  # fmt: skip

    def _known(self, event: Event, detail: str) -> bool:
        """Whether a step that only reads has said the same already."""
        said = self.reads.get(event.step)
        return said is not None and (event.incident != self.incident or said in detail)

    def _tail(self, event: Event, line: Line) -> None:
        over = line.mark == "tail over"
        row = next((r for r in self._rows(event) if r.key in line.text), None)
        at = words.place(row.key) if row else self.cast.at
        if over:
            whose, by = words.named(row.key) if row else "it", line.text.rpartition(": ")[2]
            return self._say(event, "Ended", f"What was minted from {whose} is over: {by}",
                             moves=[Move("cut", "bulkhead", at, "ended")], tone="good")  # fmt: skip
        name = words.named(row.key) if row else "It"
        tail = next((t for t in row.tails if t.open), None) if row else None
        until = f"until {stamp(tail.until.isoformat())}" if tail and tail.until else "for an unknown time"
        left = f", {seconds((tail.until - when(event.at)).total_seconds())} more" if tail and tail.until else ""
        text = f"{name} is dead, but what was minted from it is not: it can live {until}{left}, unless it is ended"
        return self._say(event, "Lives on", text, line.text.rpartition(". ")[2],
                         moves=[Move("use", "attacker", at, "still works")], tone="asks")  # fmt: skip

    def _rows(self, event: Event) -> list[Row]:
        story = self.story if event.incident == self.incident else self.stories[event.incident]
        return list(story.ledger.rows.values())

    def _on_child(self, event: Event, body: Mapping[str, Any]) -> None:
        self._say(event, "In reach too", f"{words.named(body['row'])} was in reach too: an incident of its own cuts it",
                  moves=[Move("look", "bulkhead", words.place(body["row"]))], tone="asks")  # fmt: skip

    def _on_child_ended(self, event: Event, body: Mapping[str, Any]) -> None:
        good = body["state"] in ("closed", "waived")
        self._say(event, "Dead too" if good else "Open", f"{words.named(body['row'])}: {body['detail']}",
                  moves=[Move("proof", words.place(body["row"]), "bulkhead", body["proof"] or "")],
                  tone="good" if good else "bad", how=GRADES.get(body["proof"] or "", ""))  # fmt: skip

    def _on_closed(self, event: Event, body: Mapping[str, Any]) -> None:
        if event.incident != self.incident:
            return
        rows = self._rows(event)
        proven = sum(1 for row in rows if row.state == RowState.CLOSED)
        waived = f", {len(rows) - proven} on a named person's word" if len(rows) > proven else ""
        first, dead = cut_times(self.events, self.story.ledger)
        cut = f"From the report to the first cut {seconds(first or 0)}"
        took = "There was nothing left to cut" if first is None else cut
        took += f", until all was proven dead {seconds(dead)}" if dead is not None else ""
        self._say(event, "Closed", f"The incident is over: {proven} of {len(rows)} proven dead{waived}", took,
                  f"Steps that failed: {', '.join(body['failed'])}" if body["failed"] else "", tone="good")  # fmt: skip

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


def chapters(shown: list[Scene]) -> list[tuple[str, int]]:
    """Each chapter that is there, and the index of its first scene."""
    found: dict[str, int] = {}
    for index, scene in enumerate(shown):
        found.setdefault(scene.chapter, index)
    return list(found.items())


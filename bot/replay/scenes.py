"""Timeline and told acts -> scenes. Pure: it asks nothing, and invents nothing that is not on record."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from bot.engine.ledger import Row
from bot.learn.times import cut_times
from bot.model import RowState
from bot.replay import words
from bot.replay.acts import Board, Told
from bot.replay.nouns import Move, Scene
from bot.store import when
from bot.story import ASKS, BAD, GOOD, GRADES, Line, Story, exposure, seconds, stamp
from bot.timeline import Event

TONES = {GOOD: "good", BAD: "bad", ASKS: "asks"}


def scenes(events: Iterable[Event], told: Told | None = None, beside: Iterable[Iterable[Event]] = ()) -> list[Scene]:
    """Every scene, in order.

    ``told``: what a drill keeps (leak, abuse, tries-before, tries-after); None or empty for a real incident.
    ``beside``: the timelines of incidents that contain what stood in reach.
    """
    main, told = list(events), told or {}
    director = Director(main, told)
    director.before()
    for event in _merged(main, *beside):
        director.take(event)
    director.after()
    return director.scenes


def _merged(*timelines: Iterable[Event]) -> list[Event]:
    """Several timelines as one. Each keeps its own order, whatever a clock that was set back has stamped."""
    placed: list[tuple[str, str, int, Event]] = []
    for one in timelines:
        latest = ""
        for event in one:
            latest = max(latest, event.at)
            placed.append((latest, event.incident, event.n, event))
    return [event for *_, event in sorted(placed, key=lambda place: place[:3])]


class Director(Board):
    """Makes a scene of each event that has one."""

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


def chapters(shown: list[Scene]) -> list[tuple[str, int]]:
    """Each chapter that is there, and the index of its first scene."""
    found: dict[str, int] = {}
    for index, scene in enumerate(shown):
        found.setdefault(scene.chapter, index)
    return list(found.items())

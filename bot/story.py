"""The story of an incident in plain words: events in, lines out. It asks nothing and writes nothing.

Every line names the step it belongs to and, where something is claimed, how it is known. Seconds count from the report.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from bot.engine.ledger import Ledger, Row, TailState
from bot.spoken import SPOKEN
from bot.store import when
from bot.timeline import Event

WIDTH = 100
GRADES = {
    "refused": "the old value was tried and refused",
    "state": "the provider's own record shows it",
    "word": "a person says so",
}  # fmt: skip
CODES = {
    "InvalidClientTokenId": "AWS no longer knows the key", "InvalidAccessKeyId": "AWS no longer knows the key",
    "AccessDenied": "AWS denies it", "ExpiredToken": "it has expired", "E401": "npm refuses the token",
}  # fmt: skip
LOOT = {
    "key": "the leaked key", "second-key": "the second key it made", "planted-user": "the user it planted",
    "saved-session": "the session it saved for later", "role-session": "the role session it opened",
    "npm-token": "the stolen npm token", "npm-publish": "publishing with it",
    "default-install": "its version, as what `npm install` gets",
}  # fmt: skip
ACTS = {
    "github:ReadRunLog": "read the public log of the run and decoded the key",
    "sts:GetCallerIdentity": "asked AWS whose key it is",
    "iam:CreateAccessKey": "made a key for {}",
    "iam:CreateUser": "made the user {}",
    "iam:AttachUserPolicy": "made {} an administrator",
    "iam:PutUserPolicy": "gave {} a second policy that allows everything",
    "iam:CreateLoginProfile": "gave {} a password for the console",
    "iam:GetRole": "looked who may use the deploy role",
    "iam:UpdateAssumeRolePolicy": "let its own user into the role {}",
    "sts:AssumeRole": "opened a session of the role {}",
    "npm:PostEnvironment": "got {} from the environment of the release job",
    "npm:Publish": "waited a day and published {}, which nobody released",
    "npm:Stage": "staged {}, to be let out by somebody who looks at its number only",
    "npm:Downloads": "saw it downloaded {} before anybody noticed",
    "sts:GetSessionToken": "saved a session of {} for later: good for 36 hours, even when the key is gone",
}  # fmt: skip
GOOD, BAD, ASKS, HEADING, DIM = "green", "bold red", "yellow", "bold", "dim"
PAGED = {  # what pages say, beside the engine
    "paged": ("paged", "{to}", ""), "acknowledged": ("awake", "{by} has taken the page of {to}", GOOD),
    "page-failed": ("NO PAGE", "{to} could not be reached: {error}", BAD),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Line:
    """One paragraph: a clock and a mark in front, the text behind, wrapped under itself. A command is not wrapped."""

    text: str
    mark: str = ""
    clock: str = ""
    style: str = ""
    command: bool = False

    @property
    def lead(self) -> str:
        """What stands before the mark."""
        return f"{self.clock:>9}  " if self.clock else "  "

    def plain(self, width: int = WIDTH) -> str:
        """As text of at most ``width`` columns. An address or an id that is longer stays whole."""
        if self.command:
            return f"    {self.text}"
        if not self.mark and not self.clock:
            lead = "" if self.style == HEADING else "  "
        else:
            lead = f"{self.lead}{self.mark:<9} "
        under = " " * (len(lead) + 2 * self.text.startswith("- "))
        wrapper = textwrap.TextWrapper(width, lead, under, break_long_words=False, break_on_hyphens=False)
        return wrapper.fill(self.text)


def seconds(value: float) -> str:
    """A stretch of time as people say it: 4.2 s, 12 min, 35 h 59 min."""
    if value < 60:
        return f"{max(value, 0):.1f} s"
    minutes = int(value // 60)
    return f"{minutes} min {int(value % 60)} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def clock(value: float) -> str:
    """Seconds since the report, short enough for a margin: +4.2 s, +12:05, +35:59:00."""
    if value < 60:
        return f"+{max(value, 0):.1f} s"
    whole = int(value)
    hours = f"{whole // 3600}:" if whole >= 3600 else ""
    return f"+{hours}{whole // 60 % 60:02}:{whole % 60:02}"


def countdown(until: datetime, now: datetime) -> str:
    """H:MM:SS that are left."""
    left = max(0, int((until - now).total_seconds()))
    return f"{left // 3600}:{left // 60 % 60:02}:{left % 60:02}"


def stamp(text: str) -> str:
    """A time of the timeline, shorter: 2026-01-31 12:00:05 UTC."""
    return f"{text[:10]} {text[11:19]} UTC" if text else "an unknown time"


class Story:
    """Tells one incident as it happens. It keeps the ledger, to say which tails are open, and what people are asked."""

    def __init__(self) -> None:
        self.ledger = Ledger()
        self.asks: dict[tuple[str, int], str] = {}
        self.others: dict[str, Story] = {}
        self._incident = ""
        self._zero: datetime | None = None
        self._observes = False
        self._tails: set[tuple[str, str]] = set()
        self._tellers: dict[str, Callable[[Any], list[Line]]] = {
            "migrate": _migrated, "leak": _leak, "abuse": _abuse, "report": _report, "event": self._told,
            "refused": _refused,
            "tries-before": lambda d: tries("What it holds, tried before anything is done:", d["tries"]),
            "tries-after": lambda d: [
                Line("The attacker tries again", style=HEADING),
                *tries("Every credential it took or made, one after the other:", d["tries"]),
            ],
            "taken-back": lambda d: [
                Line("Had it been a mistake: what was pulled is taken back", style=HEADING),
                *(Line(f"  - {one['step']}: {one['said']}", style=GOOD if one["came"] == "undone" else BAD)
                  for one in d["undone"]),
            ],
        }  # fmt: skip

    def tell(self, kind: str, data: Any) -> list[Line]:
        """The lines for what a drill tells. A kind that is not known is passed over."""
        teller = self._tellers.get(kind)
        return teller(data) if teller else []

    def _told(self, data: dict[str, Any]) -> list[Line]:
        return self.event(Event(**data))

    def event(self, event: Event) -> list[Line]:
        """The lines of one event of the timeline. An incident beside the first one is told as one of its own."""
        self._incident = self._incident or event.incident
        if event.incident != self._incident:
            story = self.others.setdefault(event.incident, Story())
            return [
                replace(line, text=f"[{event.incident[-4:]}] {line.text}") for line in story.event(event) if line.text
            ]
        body = event.body
        if body is None:
            return self._say(event, "erased", f"the text of {event.kind} was taken out; the chain still holds", DIM)
        if self._zero is None:
            self._zero = when(body["reported_at"]) if event.kind == "opened" else when(event.at)
        if event.kind == "asked":
            self.asks[event.step, event.attempt] = str(body["what"])
        elif event.kind == "decided":
            self.asks.pop((event.step, event.attempt), None)
        elif event.kind in ("closed", "aborted", "broken"):
            self.asks.clear()
        self.ledger.take(event)
        words = getattr(self, f"_on_{event.kind.replace('-', '_')}", None)
        if words is None and event.kind in SPOKEN:
            return [self._line(event, *SPOKEN[event.kind](body))]
        return (words(event, body) if words else self._paged(event, body)) + self._tail_lines(event)

    def _paged(self, event: Event, body: dict[str, Any]) -> list[Line]:
        """What became of a page. A kind that is not known is passed over."""
        mark, words, style = PAGED.get(event.kind, ("", "", ""))
        return [self._line(event, mark, words.format_map(body), style)] if mark else []

    def _say(self, event: Event, mark: str, text: str, style: str = "") -> list[Line]:
        return [self._line(event, mark, f"{event.step}: {text}", style)]

    def _line(self, event: Event, mark: str, text: str, style: str = "") -> Line:
        after = (when(event.at) - self._zero).total_seconds() if self._zero else 0.0
        return Line(text, mark, clock(after), style)

    def _tail_lines(self, event: Event) -> list[Line]:
        """A tail that has opened, or that is over."""
        now_open = {(row.key, tail.kind): (row, tail) for row, tail in self.ledger.open_tails()}
        lines = [self._tail_open(event, row, tail) for key, (row, tail) in now_open.items() if key not in self._tails]
        for key, kind in self._tails - now_open.keys():
            tail_of = next((t for t in self.ledger.rows[key].tails if t.kind == kind), None)
            if tail_of is not None and not tail_of.open:
                how = "it expired" if tail_of.ended == "expired" else f"ended by {tail_of.ended}"
                lines.append(self._line(event, "tail over", f"the {kind} tail of {key}: {how}", GOOD))
        self._tails = set(now_open)
        return lines

    def _tail_open(self, event: Event, row: Row, tail: TailState) -> Line:
        until = f"until {tail.until:%Y-%m-%d %H:%M} UTC" if tail.until else "for an unknown time"
        left = f", {seconds((tail.until - when(event.at)).total_seconds())} from now," if tail.until else ""
        minted = f"what was minted from it ({tail.kind}) can live {until}{left} unless it is ended"
        return self._line(event, "tail", f"{row.key} is dead itself, but {minted}. {tail.why}", ASKS)

    # One method an event kind ------------------------------------------------------------------------------------

    def _on_opened(self, event: Event, body: dict[str, Any]) -> list[Line]:
        book = body["playbook"]
        text = f"incident {event.incident}: {body['title']}. Playbook {book['id']}, version {book['sha256'][:12]}"
        heading = Line("Containment (the clock counts from the report)", style=HEADING)
        return [Line(""), heading, self._line(event, "opened", text)]

    def _on_triage(self, event: Event, body: dict[str, Any]) -> list[Line]:
        return [self._line(event, "triage", text) for text in findings(body)]

    def _on_severity(self, event: Event, body: dict[str, Any]) -> list[Line]:
        style = BAD if body["level"] in ("critical", "high") else ""
        return [self._line(event, body["level"], body["reason"], style)]

    def _on_plan(self, event: Event, body: dict[str, Any]) -> list[Line]:
        steps = ", ".join(step["id"] for step in body["steps"])
        self._observes = body["mode"] == "observe"
        mode = " Mode observe: it only says what it would do." if self._observes else ""
        return [self._line(event, "plan", f"{len(body['steps'])} steps: {steps}.{mode}")]

    def _on_look(self, event: Event, body: dict[str, Any]) -> list[Line]:
        need = "" if body["before"]["needed"] else " Nothing to change."
        return self._say(event, "looked", f"{_sentence(body)}{need}{_breaks(body['breaks'])}", DIM)

    def _on_planned(self, event: Event, body: dict[str, Any]) -> list[Line]:
        if not self._observes:  # its own look comes later and says the same
            return []
        return self._say(event, "would do", f"{_sentence(body)}{_breaks(body['breaks'])}")

    def _on_asked(self, event: Event, body: dict[str, Any]) -> list[Line]:
        text = body["what"] if body["purpose"] == "answer" else f"{who_must_agree(body)}. {body['why']}"
        return self._say(event, "asks", text, ASKS)

    def _on_decided(self, event: Event, body: dict[str, Any]) -> list[Line]:
        by = f" by {', '.join(body['by'])}" if body["by"] else ""
        said = f": {body['answer']}" if body.get("answer") else ""
        return self._say(event, "decided", f"{body['said']}{by}{said}", GOOD if body["go"] else BAD)

    def _on_silent(self, event: Event, body: dict[str, Any]) -> list[Line]:
        return self._say(event, "silence", f"nobody answered in time; it still waits ({body['on_silence']})", ASKS)

    def _on_escalated(self, event: Event, body: dict[str, Any]) -> list[Line]:
        groups = ", ".join(body["groups"]) or "nobody: the policy names no group"
        return self._say(event, "escalated", f"told now: {groups}", ASKS)

    def _on_break_glass(self, event: Event, body: dict[str, Any]) -> list[Line]:
        review = f"a second person reviews it until {stamp(body['review_by'])}"
        return self._say(event, "GLASS", f"{body['by']} alone, where two must agree: {body['reason']}; {review}", BAD)

    def _on_reviewed(self, event: Event, body: dict[str, Any]) -> list[Line]:
        said = f": {body['text']}" if body["text"] else ""
        return self._say(event, "reviewed", f"the break-glass of {body['of']} by {body['by']}{said}", GOOD)

    def _on_evidence(self, event: Event, body: dict[str, Any]) -> list[Line]:
        lines = [line for ref in body["files"] for line in self._say(event, "saved", _file(ref))]
        if body.get("gap"):
            lines += self._say(event, "gap", f"evidence is missing: {body['gap']}. The cut did not wait for it", BAD)
        return lines

    def _on_outcome(self, event: Event, body: dict[str, Any]) -> list[Line]:
        told = self._say(event, "done" if body["changed"] else "found", body["summary"] or "no change was needed")
        return told + [line for sign in signs(body) for line in self._say(event, sign["sure"], shown(sign), BAD)]

    def _on_proof(self, event: Event, body: dict[str, Any]) -> list[Line]:
        if body["verdict"] == "proven":
            return self._say(event, "PROVEN", f"[{body['grade']}] {body['detail']}", GOOD)
        return self._say(event, "NOT YET" if body["verdict"] == "not_yet" else "REFUTED", body["detail"], BAD)

    def _on_failed(self, event: Event, body: dict[str, Any]) -> list[Line]:
        then = {"ask": "people are asked whether to try again", "continue": "the others go on"}
        return self._say(event, "FAILED", f"{body['error']}; {then.get(body['on_failure'], 'the playbook stops')}", BAD)

    def _on_child(self, event: Event, body: dict[str, Any]) -> list[Line]:
        return self._say(event, "beside", f"{body['row']} is contained by an incident of its own, {body['incident']}")

    def _on_child_ended(self, event: Event, body: dict[str, Any]) -> list[Line]:
        good = body["state"] in ("closed", "waived")
        return self._say(event, body["state"], f"{body['incident']}: {body['detail']}", GOOD if good else BAD)

    def _on_paused(self, event: Event, body: dict[str, Any]) -> list[Line]:
        if event.step == "incident":  # triage, without which nothing begins
            text = f"{body['why']}; nothing can be cut before triage, which is tried again until it can look"
        else:
            text = f"{body['provider']} asks for a pause of {seconds(body['seconds'])}; it goes on by itself then"
        return self._say(event, "paused", text, ASKS)

    def _on_frozen(self, event: Event, body: dict[str, Any]) -> list[Line]:
        since = f" since {stamp(body['at'])}" if body["at"] else ""
        return self._say(event, "FROZEN", f"{body['by']} has frozen everything{since}: {body['reason']}; it waits", BAD)

    def _on_thawed(self, event: Event, body: dict[str, Any]) -> list[Line]:
        why = f": {body['reason']}" if body["reason"] else ""
        return self._say(event, "goes on", f"thawed by {body['by']}{why}", GOOD)

    def _on_skipped(self, event: Event, body: dict[str, Any]) -> list[Line]:
        return self._say(event, "skipped", body["why"], DIM)

    def _on_sighting(self, event: Event, body: dict[str, Any]) -> list[Line]:
        text = f"{body['by']} reports the same credential again: {body['url'] or body['text']}"
        return [self._line(event, "sighting", text)]

    def _on_seen_again(self, event: Event, body: dict[str, Any]) -> list[Line]:
        text = f"{body['by']} has seen it again at {body['where']}; {body['incident']} looks at all of it anew"
        return [self._line(event, "seen again", text, BAD)]

    def _on_scanner_closed(self, event: Event, body: dict[str, Any]) -> list[Line]:
        whose = f" by {body['by']}" if body["by"] else ""
        why = "" if body["revoked"] else "; it does not say that the credential was revoked"
        text = f"{body['source']} has closed its alert{whose}: {body['resolution']}{why}"
        return [self._line(event, "signal" if body["signal"] else "alert over", text, ASKS if body["signal"] else "")]

    def _on_storm(self, event: Event, body: dict[str, Any]) -> list[Line]:
        scan = f" after a scan of history ({body['scan']})" if body["scan"] else ""
        many = f"more than {body['incidents']} alerts of {body['owner']} within {seconds(body['within_s'])}{scan}"
        text = f"{many}; what is not live in public waits: bulkhead inbox list --state held"
        return [self._line(event, "storm", text, ASKS)]

    def _on_merged(self, event: Event, body: dict[str, Any]) -> list[Line]:
        return [self._line(event, "MERGED", f"into {body['into']} by {body['by']}: {body['reason']}", ASKS)]

    def _on_waived(self, event: Event, body: dict[str, Any]) -> list[Line]:
        text = f"{body['row']} by {body['by']}, without proof: {body['reason']}"
        return [self._line(event, "waived", text, ASKS)]

    def _on_undone(self, event: Event, body: dict[str, Any]) -> list[Line]:
        back = f"; {body['kills']} may be live again" if body.get("kills") else ""
        return self._say(event, "undone", f"agreed by {', '.join(body['by'])}{back}", ASKS)

    def _on_undo_refused(self, event: Event, body: dict[str, Any]) -> list[Line]:
        return self._say(event, "refused", body["why"], BAD)

    def _on_reopened(self, event: Event, body: dict[str, Any]) -> list[Line]:
        return self._say(event, "reopened", f"{body.get('row') or ''}: {body['reason']}", BAD)

    def _on_closed(self, event: Event, body: dict[str, Any]) -> list[Line]:
        rest = f" Steps that failed: {', '.join(body['failed'])}." if body["failed"] else ""
        text = f"every row of the ledger is closed on proof, or waived by a named person.{rest}"
        return [self._line(event, "CLOSED", text, GOOD)]

    def _on_aborted(self, event: Event, body: dict[str, Any]) -> list[Line]:
        why = f" ({body['why']})" if body.get("why") else ""
        return [self._line(event, "ABORTED", f"by {body['by']}{why}: no new step begins; what was done stands", BAD)]

    def _on_drill_ended(self, event: Event, body: dict[str, Any]) -> list[Line]:
        tries = len(body["refused"]) + len(body["works"])
        text = f"the attacker tried again: {len(body['refused'])} of {tries} refused. "
        if body["contained"]:
            return [self._line(event, "CONTAINED", f"{text}Every row closed on proof, and nobody else was hit", GOOD)]
        return [self._line(event, "NOT CONTAINED", f"{text}{'; '.join(body['why_not'])}", BAD)]

    def _on_broken(self, event: Event, body: dict[str, Any]) -> list[Line]:
        return [self._line(event, "BROKEN", body["error"], BAD)]


# before the report, and after ----------------------------------------------------------------------------------------


def _migrated(data: dict[str, Any]) -> list[Line]:
    return [Line("The move to OIDC", style=HEADING), *map(Line, data["story"]), Line("")]


def _leak(data: dict[str, Any]) -> list[Line]:
    return [Line("The leak", style=HEADING), *map(Line, data.get("story") or [data.get("run_url", "")])]


def _abuse(data: dict[str, Any]) -> list[Line]:
    lines = [Line(""), Line("The abuse", style=HEADING), Line("An outsider with a free account finds it first. It")]
    for act in data["acts"]:
        said = act.get("said") or ACTS.get(act["act"], act["act"]).format(act["made"])
        at = f"{act['at'][11:16]}  " if act.get("at") else ""
        lines.append(Line(f"- {at}{said}" + ("" if act["ok"] else f" (refused: {act['code']})")))
    return lines


def _report(data: dict[str, Any]) -> list[Line]:
    return [Line(""), Line("The report", style=HEADING), Line(f"{data['by']} writes: {data['text']}")]


def _refused(data: dict[str, Any]) -> list[Line]:
    return [Line(f"{data['by']} does not count here: {data['why']}", "refused", "", ASKS)]


def tries(title: str, found: Iterable[dict[str, Any]]) -> list[Line]:
    """What each of the attacker's credentials is answered."""
    lines = [Line(title)]
    for one in found:
        if one["refused"]:
            said = f"refused, {one['code']}" + (f": {CODES[one['code']]}" if one["code"] in CODES else "")
            if not one.get("identity_code"):
                said += " (AWS still tells it its own name, as it does under any explicit deny)"
        else:
            said = "WORKS" + (f" ({one['code']})" if one["code"] else "")
        name = one.get("said") or LOOT.get(one["name"], one["name"])
        lines.append(Line(f"- {name}: {said}", style=GOOD if one["refused"] else BAD))
    return lines


# parts that other pages use too ---------------------------------------------------------------------------------------


def signs(outcome: dict[str, Any]) -> list[dict[str, Any]]:
    """What the signals found that is worth an incident by itself, in the body of an outcome; [] of any other step."""
    found = outcome.get("outcome", {}).get("findings") or ()
    return [one for one in found if isinstance(one, dict) and one.get("sure") in ("certain", "likely")]


def shown(sign: dict[str, Any]) -> str:
    """A finding as one sentence, with what it rests on."""
    evidence = f" [{sign['evidence'][0]}]" if sign["evidence"] else ""
    return f"{sign['signal']}: {sign['says']}{evidence}"


def findings(triage: dict[str, Any]) -> list[str]:
    """What triage found, most urgent first, one sentence or two each."""
    key, said = triage["credential"], list[str]()
    order = triage.get("order") or {}
    if order.get("repository"):
        who = {"ours": "Bulkhead makes the trust", "given": "the role was named", "person": "a person makes the trust"}
        said.append(f"{order['repository']} is to move to OIDC; {who[order['trust']]}. Nothing has leaked.")
        return [*said, *(f"Not known: {text}" for text in triage["unknown"])]
    live = {"live": "it works", "dead": "it no longer works", "unknown": "whether it works is unknown"}[triage["live"]]
    account = f" of account {key['account']}" if key["account"] else ""
    said.append(f"{key['kind']} {key['id'] or key['fingerprint']}{account}; {live}.")
    said.append(exposure(triage))
    if triage["owners"]:
        owner = triage["owners"][0]
        reasons = owner["reason"].split("; ")
        more = f", and {len(reasons) - 2} more reasons" if len(reasons) > 2 else ""
        said.append(f"Likely owner: {owner['name']} ({owner['score']} of 100: {'; '.join(reasons[:2])}{more}).")
    if triage["reach"]:
        shown = ", ".join(f"{r['name']}{'' if r['known'] else ' (unknown)'}" for r in triage["reach"])
        said.append(f"In reach of the leak: {shown}.")
    said += [f"Not known: {text}" for text in triage["unknown"]]
    return said


def exposure(triage: dict[str, Any]) -> str:
    """Who could see it, since when, and where."""
    who = {"public": "Everybody could see it", "internal": "Only insiders could see it"}
    since = f" since {stamp(triage['exposed_from'])}" if triage["exposed_from"] else ""
    places = [_place(sighting) for sighting in triage["sightings"]]
    more = f" and {len(places) - 2} more" if len(places) > 2 else ""
    seen = f": {'; '.join(places[:2])}{more}" if places else ""
    return f"{who.get(triage['exposure'], 'Who could see it is unknown')}{since}{seen}."


def _place(sighting: dict[str, Any]) -> str:
    line = f", line {sighting['line']}" if sighting["line"] else ""
    return f"{sighting['where']}{line} ({sighting['encoding']})"


def who_must_agree(ask: dict[str, Any]) -> str:
    """How many of whom, by when, and what silence means."""
    many = {1: "one", 2: "two different people"}.get(ask["needs"], str(ask["needs"]))
    silence = {"act": "then it goes on by itself", "escalate": "then more people are told"}
    then = silence.get(ask["on_silence"], "then it goes on waiting")
    by = f", until {stamp(ask['expires_at'])} ({then})" if ask["expires_at"] else ""
    return f"{many} of the responders must agree{by}"


def _sentence(look: dict[str, Any]) -> str:
    text = str(look["before"]["summary"] or look.get("title", ""))
    return text if text.endswith((".", "?", "!")) else f"{text}."


def _breaks(breaks: dict[str, Any]) -> str:
    if breaks["unknown"]:
        return " What this stops could not be found out."
    return f" This stops: {'; '.join(breaks['stops'])}." if breaks["stops"] else ""


def _file(ref: dict[str, Any]) -> str:
    scrubbed = ", scrubbed" if ref["original_sha256"] else ""
    return f"{ref['name']} ({ref['size']} bytes{scrubbed}, sha256 {ref['sha256'][:12]}…)"


def waiting(story: Story, now: datetime) -> list[str]:
    """What is open at this moment, for the line that changes: asks, and tails counting down."""
    lines = [f"waits for people: {step}: {what}" for (step, _), what in story.asks.items()]
    for row, tail in story.ledger.open_tails():
        if tail.until is not None:
            lines.append(f"tail {countdown(tail.until, now)}  {tail.kind} minted from {row.key}")
    return lines + [line for other in story.others.values() for line in waiting(other, now)]


def milestones(events: Iterable[Event]) -> list[Line]:
    """The timeline in short: the report, every cut and its proof, the end."""
    story, lines, kills = Story(), [], set()
    for event in events:
        story.event(event)
        body = event.body or {}
        if event.kind == "look" and body.get("kills"):
            kills.add(event.step)
        if event.kind == "opened":
            lines.append(story._line(event, "opened", "the incident is opened"))
        elif event.kind == "outcome" and event.step in kills and body["changed"]:
            lines.append(story._line(event, "cut", f"{event.step}: {body['summary']}"))
        elif event.kind == "proof" and event.step in kills and body["verdict"] == "proven":
            mark, style = ("dead", GOOD) if body["grade"] != "word" else ("word", ASKS)  # a word closes no row
            lines.append(story._line(event, mark, f"{event.step}: {GRADES[body['grade']]}", style))
        elif event.kind in ("closed", "aborted", "broken"):
            lines.append(story._line(event, event.kind, "the incident is over"))
    return lines

"""The draft of a post-mortem, from the timeline alone. What only people know is left to them (``bot.learn.edits``).

Every line of "well", "badly" and "conditions" follows from an event; a line that nothing on the timeline bears out is
not written. Names of people stand where they decided or did something, never as a cause.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from bot.engine.ledger import Ledger
from bot.learn.times import Times, tail_ends, times
from bot.model import Grade, RowState
from bot.store import iso
from bot.story import GRADES, exposure, seconds, stamp
from bot.timeline import Event

SOON_S = 15 * 60  # a first cut within so long went well (PyPI needed 17 minutes in July 2024)
LATE_S = 3600.0  # seen by nobody of ours for so long went badly
STALLED_S = 600.0  # people were waited for
OUTSIDE = ("github", "gitguardian", "aws", "stepsecurity", "generic", "ci")  # sources that are machines of others


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """Something that was done, and how it is known. ``grade`` "" while it is not proven."""

    at: str
    step: str
    what: str
    proof: str = ""
    grade: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """One credential in reach, and what has become of it."""

    key: str
    how: str
    state: str
    proof: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """Everything that the timeline says of an incident after the fact."""

    incident: str
    title: str
    drill: bool
    over: str  # closed, aborted, "" while it goes on
    severity: str
    summary: str
    exposed_from: str
    exposed_until: str  # the last proof of death, or when the last tail had ended
    basis: str
    noticed_by: str
    reach: tuple[Reach, ...]
    misuse: tuple[str, ...]
    acts: tuple[Act, ...]
    times: Times
    who: tuple[str, ...]  # decisions, in a line each
    conditions: tuple[str, ...]
    well: tuple[str, ...]
    badly: tuple[str, ...]
    unknowns: tuple[str, ...]
    timeline: tuple[tuple[str, str, str], ...]  # when, what, in words
    repository: str = ""
    triage: dict[str, Any] | None = None

    def field(self, name: str) -> str:
        """What a field of ``edits.FIELDS`` begins with; "" where only people know."""
        lines = {"conditions": self.conditions, "well": self.well, "badly": self.badly, "unknowns": self.unknowns}
        return self.summary if name == "summary" else "\n".join(lines.get(name, ()))


def draft(incident: str, title: str, world: str, events: Sequence[Event]) -> Draft:
    """The draft as far as the timeline goes. Whether it is time for one is said by ``over``."""
    told = [event for event in events if event.body is not None]
    ledger = Ledger.fold(told)
    found = _last(told, "triage")
    measured = times(events)
    over = next((e.kind for e in reversed(told) if e.kind in ("closed", "aborted")), "")
    nobody: dict[str, Any] = {"report": {"by": "", "source": ""}, "reported_at": ""}
    opened: dict[str, Any] = next((e.body for e in told if e.kind == "opened"), nobody)
    until = _until(told, ledger)
    acts = tuple(_acts(told))
    return Draft(
        incident=incident, title=title, drill=world == "range", over=over,
        severity=str((_last(told, "severity") or {}).get("level", "")),
        summary=_summary(title, found, ledger, measured, opened),
        exposed_from=str((found or {}).get("exposed_from", "")), exposed_until=until,
        basis=exposure(found) if found else "Triage has not ended, so the window is not known.",
        noticed_by=_noticed(opened["report"]), reach=tuple(_reach(ledger)), misuse=tuple(_misuse(told)), acts=acts,
        times=measured, who=tuple(_who(told)), conditions=tuple(_conditions(found, ledger)),
        well=tuple(_well(told, ledger, measured)), badly=tuple(_badly(told, ledger, measured, opened["report"])),
        unknowns=tuple(_unknowns(told, found, ledger)), timeline=tuple(_timeline(told)),
        repository=str((found or {}).get("repository", "")), triage=found,
    )  # fmt: skip


# what happened -------------------------------------------------------------------------------------------------------


def _summary(
    title: str, found: dict[str, Any] | None, ledger: Ledger, measured: Times, opened: dict[str, Any]
) -> str:  # fmt: skip
    if found is None:
        return f"{title}. Triage has not ended."
    key = found["credential"]
    rows = list(ledger.rows.values())
    closed = sum(row.state == RowState.CLOSED for row in rows)
    waived = sum(row.state == RowState.WAIVED for row in rows)
    cut = f"The first cut came {seconds(measured.first_cut)} after the report" if measured.first_cut is not None else ""
    dead = f", and all was proven dead after {seconds(measured.all_dead)}" if measured.all_dead is not None else ""
    signed = f", {waived} were closed on a person's word" if waived else ""
    where = f" of {found['repository']}" if found.get("repository") else ""
    return " ".join(filter(None, [
        f"{title}{where}: {key['kind']} {key['id'] or key['fingerprint']}. {exposure(found)}",
        f"It was reported {stamp(opened['reported_at'])}.", f"{cut}{dead}." if cut else "Nothing was cut.",
        f"Of {len(rows)} credentials in reach {closed} are closed on proof{signed}.",
    ]))  # fmt: skip


def _noticed(report: dict[str, Any]) -> str:
    source = str(report.get("source", ""))
    how = {"cli": "at the command line", "slack": "in Slack", "drill": "in a drill"}.get(source, f"through {source}")
    return f"{report.get('by') or 'somebody'} ({how})"


def _until(events: Sequence[Event], ledger: Ledger) -> str:
    """When the last of it was dead; "" while something lives."""
    if not ledger.rows or any(row.dead_at is None and row.state != RowState.WAIVED for row in ledger.rows.values()):
        return ""
    if ledger.open_tails():
        return ""
    dead = [row.dead_at for row in ledger.rows.values() if row.dead_at]
    ended = [end for end in tail_ends(events, ledger).values() if end]
    last = max([*dead, *ended], default=None)
    return iso(last) if last else ""


def _reach(ledger: Ledger) -> Iterator[Reach]:
    for row in ledger.rows.values():
        proof = f"{GRADES[row.grade.value]}: {row.detail}" if row.grade else row.detail
        signed = f" (waived by {row.waived_by})" if row.waived_by else ""
        yield Reach(key=row.key, how=row.how, state=row.state.value.replace("_", " "), proof=f"{proof}{signed}")


def _misuse(events: Sequence[Event]) -> Iterator[str]:
    """What was done with it, as steps that look for that have found it."""
    for event in events:
        if event.kind == "outcome":
            for plant in event.body.get("plants", ()):
                name = " ".join(filter(None, [str(plant["kind"]), str(plant["name"]), str(plant["id"])]))
                at = f", {plant['at']}" if plant.get("at") else ""
                yield f"{name}{at} (found by {event.step})"
    for event in events:
        if event.kind == "outcome" and event.step.startswith(("find", "versions")) and event.body["summary"]:
            yield f"{event.body['summary']} (found by {event.step})"


def _acts(events: Sequence[Event]) -> Iterator[Act]:
    proofs = {e.step: e.body for e in events if e.kind == "proof"}
    for event in events:
        if event.kind == "outcome" and event.body["changed"]:
            proof = proofs.get(event.step)
            good = proof is not None and proof["verdict"] == "proven"
            detail = str(proof["detail"]) if proof else "not proven"
            grade = str(proof["grade"]) if proof and good else ""
            yield Act(at=event.at, step=event.step, what=str(event.body["summary"]), proof=detail, grade=grade)
        elif event.kind == "note" and event.body.get("act", True):
            said = f"{event.body['by']}: {event.body['text']}"
            yield Act(at=event.at, step="by hand", what=said, proof="a person's word")


def _who(events: Sequence[Event]) -> Iterator[str]:
    for event in events:
        if event.kind == "decided":
            by = ", ".join(event.body["by"]) or "nobody answered in time"
            yield f"{stamp(event.at)}: {event.step} {event.body['said']}: {by}"
        elif event.kind == "waived":
            yield f"{stamp(event.at)}: {event.body['row']} waived by {event.body['by']}: {event.body['reason']}"
        elif event.kind == "break-glass":
            yield f"{stamp(event.at)}: {event.step}: {event.body['by']} broke the glass: {event.body['reason']}"


def _timeline(events: Sequence[Event]) -> Iterator[tuple[str, str, str]]:
    """What matters afterwards, a line each."""
    looks = {e.step: e.body for e in events if e.kind == "look"}
    for event in events:
        body = event.body
        if event.kind == "opened":
            yield event.at, "reported", f"{body['report']['by']}: {body['report']['text']}"
        elif event.kind == "severity":
            yield event.at, "severity", f"{body['level']}: {body['reason']}"
        elif event.kind == "outcome" and body["changed"]:
            word = "cut" if looks.get(event.step, {}).get("kills") else "done"
            yield event.at, word, f"{event.step}: {body['summary']}"
        elif event.kind == "proof":
            word = "proven" if body["verdict"] == "proven" else "not proven"
            yield event.at, word, f"{event.step}: {body['detail']}"
        elif event.kind == "failed":
            yield event.at, "failed", f"{event.step}: {body['error']}"
        elif event.kind in ("note", "waived", "tail-ended", "closed", "aborted", "sighting"):
            yield event.at, event.kind, _said(event)


def _said(event: Event) -> str:
    words = {
        "note": "{by}: {text}", "waived": "{row} by {by}: {reason}", "sighting": "reported again by {by}",
        "tail-ended": "the {kind} tail of {of} has expired", "aborted": "by {by}",
        "closed": "every row of the ledger is closed on proof, or waived by a named person",
    }  # fmt: skip
    return words[event.kind].format_map(event.body)


# what is to be learnt from it ----------------------------------------------------------------------------------------


def _conditions(found: dict[str, Any] | None, ledger: Ledger) -> Iterator[str]:
    if found is None:
        return
    key = found["credential"]
    stores = found.get("stores") or ()
    if stores:
        names = ", ".join(dict.fromkeys(f"{one['name']} ({one['scope']})" for one in stores))
        yield f"A standing credential ({key['kind']}) was stored for jobs to read: {names}."
    elif key["kind"]:
        yield f"A standing credential existed that works for whoever holds it: {key['kind']}."
    if found["exposure"] == "public":
        yield "The place where it could be seen was public."
    encodings = sorted({one["encoding"] for one in found["sightings"]} - {"raw"})
    if encodings:
        yield f"It stood there as {', '.join(encodings)}, which masking by the exact text does not see."
    reach = [one for one in found["reach"] if one["kind"] not in ("github-token", "id-token")]
    if len(reach) > 1:
        yield f"One leak reached {len(reach)} credentials, since the same job could read or assume all of them."
    if found["tails"]:
        kinds = ", ".join(sorted({one["kind"] for one in found["tails"]}))
        yield f"It could mint what outlives it: {kinds}."
    if any("was made with the leaked credential" in row.how for row in ledger.rows.values()):
        yield "It was allowed to make further credentials."
    if not found["owners"]:
        yield "Nobody could be found whose it is."


def _well(events: Sequence[Event], ledger: Ledger, measured: Times) -> Iterator[str]:
    if measured.first_cut is not None and measured.first_cut <= SOON_S:
        yield f"The first cut came {seconds(measured.first_cut)} after the report."
    rows = list(ledger.rows.values())
    refused = sum(row.grade == Grade.REFUSED and row.state == RowState.CLOSED for row in rows)
    if refused:
        yield f"{refused} of {len(rows)} credentials are known to be dead because the old value was tried and refused."
    if rows and all(row.state == RowState.CLOSED for row in rows):
        yield "Every credential in reach was closed on proof, none on somebody's word."
    saved = sum(len(e.body["files"]) for e in events if e.kind == "evidence")
    if saved and not any(e.body.get("gap") for e in events if e.kind == "evidence"):
        yield f"{saved} files of evidence were saved before anything of theirs was destroyed."


def _badly(events: Sequence[Event], ledger: Ledger, measured: Times, report: dict[str, Any]) -> Iterator[str]:
    if measured.detect is not None and measured.detect > LATE_S:
        yield f"It could be seen for {seconds(measured.detect)} before anybody reported it."
    if report.get("source") in OUTSIDE:
        yield "Nobody of ours noticed: it was reported from outside."
    for event in events:
        if event.kind == "failed" and not event.body.get("denied"):
            yield f"{event.step} failed: {event.body['error']}"
        elif event.kind == "evidence" and event.body.get("gap"):
            yield f"Evidence of {event.step} is missing: {event.body['gap']}"
        elif event.kind == "silent":
            yield f"Nobody answered in time to {event.step}."
        elif event.kind == "break-glass":
            yield f"One person had to decide {event.step} for two."
    if measured.approval > STALLED_S:
        yield f"For {seconds(measured.approval)} it waited for people to agree."
    if measured.by_hand > STALLED_S:
        yield f"For {seconds(measured.by_hand)} it waited for what only a person can do."
    if measured.tail:
        yield f"What had been minted from it lived {seconds(measured.tail)} longer than the credential itself."
    for row in ledger.rows.values():
        if row.state == RowState.WAIVED:
            yield f"{row.key} was closed on a person's word, without proof."


def _unknowns(events: Sequence[Event], found: dict[str, Any] | None, ledger: Ledger) -> Iterator[str]:
    yield from dict.fromkeys(str(text).rstrip(".") + "." for text in (found or {}).get("unknown", ()))
    for one in (found or {}).get("reach", ()):
        if not one["known"]:
            yield f"{one['name']}: only its name is known."
    for row in ledger.rows.values():
        if not row.settled:
            yield f"{row.key} is {row.state.value.replace('_', ' ')}; whether it can still be used is open."
    for event in events:
        if event.kind == "outcome" and event.body.get("unknown"):
            yield f"{event.step}: {event.body['unknown']}"


def _last(events: Sequence[Event], kind: str) -> dict[str, Any] | None:
    return next((event.body for event in reversed(events) if event.kind == kind), None)

"""The post-mortem as a page: what the timeline says, and what people wrote, under the headings of NIST SP 800-61r3.

That revision (April 2025) tells incident response by the functions of the Cybersecurity Framework 2.0: detect, respond,
recover, and improvement (ID.IM) that feeds all of them. Addresses are defanged; links of ours are not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from bot.learn import document
from bot.learn.document import Bullets, Document, Grid, Link, Para, Part, Section
from bot.learn.draft import Draft
from bot.learn.edits import FIELDS, Written
from bot.learn.follow_up import RUNGS, FollowUp
from bot.learn.times import WORDS
from bot.store_learn import FollowUpRow
from bot.story import GRADES, seconds, stamp

NOTHING = "Nothing."


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A follow-up, how it stands, and where its issue is."""

    what: FollowUp
    state: str = "open"
    checked_at: str = ""
    detail: str = ""
    url: str = ""


def standing(
    follow_ups: list[FollowUp], rows: Mapping[str, FollowUpRow], urls: Mapping[str, str]
) -> list[Standing]:  # fmt: skip
    """The follow-ups with what the clock has found."""
    found = []
    for one in follow_ups:
        row = rows.get(one.id)
        more = {"state": row.state, "checked_at": row.checked_at, "detail": row.detail} if row else {}
        found.append(Standing(what=one, url=urls.get(one.id, ""), **more))
    return found


def page(
    draft: Draft, written: Written, follow_ups: list[Standing], *, scrub: Callable[[str], str] = str,
    published: str = "", url: str = "",
) -> Document:  # fmt: skip
    """The whole page. ``published``: when and by whom; ``url``: where its incident can be looked at."""
    state = published or "Draft. It is not published."
    drill = "A drill: nothing of it is real. " if draft.drill else ""
    sections = (
        Section("Summary", (Para(f"{drill}{state}"), *_text(draft, written, "summary"),
                            *([Link("The incident's page", url)] if url else []))),
        *_detect(draft), *_respond(draft, written), *_recover(draft), *_improve(draft, written, follow_ups),
        *_govern(draft, written), Section("Timeline", (_timeline(draft),)),
    )  # fmt: skip
    made = Document(f"Post-mortem: {draft.title} ({draft.incident})", sections)
    return document.changed(made, lambda text: document.defang(scrub(text)))


def _detect(draft: Draft) -> tuple[Section, ...]:
    late = seconds(draft.times.detect) if draft.times.detect is not None else "an unknown time"
    begins = stamp(draft.exposed_from) if draft.exposed_from else "an unknown time"
    ends = stamp(draft.exposed_until) if draft.exposed_until else "not yet ended"
    return (
        Section("Detect (DE.CM, DE.AE)", (
            Grid(("Who noticed", "How late", "Severity"), ((draft.noticed_by, late, draft.severity or "not rated"),)),
        )),
        Section("Exposure window", (
            Grid(("From", "Until the last of it was dead", "How that is known"), ((begins, ends, draft.basis),)),
        ), 3),
    )  # fmt: skip


def _respond(draft: Draft, written: Written) -> tuple[Section, ...]:
    reach = Grid(("Credential", "Why it was in reach", "State", "How that is known"),
                 tuple((r.key, r.how, r.state, r.proof or "-") for r in draft.reach))  # fmt: skip
    acts = Grid(("When", "Step", "What was done", "Proof"), tuple(
        (stamp(a.at), a.step, a.what, f"[{a.grade}: {GRADES[a.grade]}] {a.proof}" if a.grade in GRADES else a.proof)
        for a in draft.acts
    ))  # fmt: skip
    return (
        Section("Respond: analysis (RS.AN)", (Para("What the leak put within reach, and what has become of it:"),
                                              reach if draft.reach else Para(NOTHING))),
        Section("What was done with it", (_list(draft.misuse, "Nothing was found that was done with it."),), 3),
        Section("Contributing conditions", _text(draft, written, "conditions"), 3),
        Section("What is still unknown", _text(draft, written, "unknowns"), 3),
        Section("Respond: mitigation (RS.MI)", (acts if draft.acts else Para(NOTHING),)),
        Section("Times", (_times(draft),), 3),
    )  # fmt: skip


def _times(draft: Draft) -> Part:
    """Every computed time; what the timeline does not say is left out, not guessed."""
    known = [(words, getattr(draft.times, name)) for name, words in WORDS.items()]
    return Grid(("Time", "How long"), tuple((words, seconds(value)) for words, value in known if value is not None))


def _recover(draft: Draft) -> tuple[Section, ...]:
    words = ("rotate", "green", "store", "restore", "enable")
    back = [f"{stamp(a.at)} {a.step}: {a.what} {a.proof}" for a in draft.acts if a.step.startswith(words)]
    nothing = "No step of this incident put anything back into place."
    return (Section("Recover (RC.RP)", (_list(tuple(back), nothing),)),)


def _improve(draft: Draft, written: Written, follow_ups: list[Standing]) -> tuple[Section, ...]:
    grid = Grid(("What", "Who", "Until", "What it does", "Checked by", "State"), tuple(_row(one) for one in follow_ups))
    links = tuple(Link(f"Issue: {one.what.title}", one.url) for one in follow_ups if one.url)
    return (
        Section("Identify: improvement (ID.IM)"),
        *(Section(FIELDS[name].label, _text(draft, written, name), 3) for name in ("well", "badly", "lucky")),
        Section("Protect: the durable fix (PR.AA)", _text(draft, written, "durable_fix")),
        Section("Follow-ups", (grid if follow_ups else Para("None yet."), *links), 3),
    )


def _row(one: Standing) -> tuple[str, ...]:
    what = one.what
    said = f"{one.state}: {one.detail}" if one.detail else one.state
    return what.title, what.owner or "nobody", what.due or "-", RUNGS[what.worth], what.check or "a person", said


def _govern(draft: Draft, written: Written) -> tuple[Section, ...]:
    wrote = f"Written by {', '.join(written.authors)}, beside what the timeline says." if written.authors else ""
    decided = _list(draft.who, "Nothing was put to people.")
    return (Section("Govern: who decided (GV.RR)", (decided, *([Para(wrote)] if wrote else []))),)


def _timeline(draft: Draft) -> Part:
    return Grid(("When", "What", "In words"), tuple((stamp(at), what, text) for at, what, text in draft.timeline))


def _text(draft: Draft, written: Written, name: str) -> tuple[Part, ...]:
    """A field: what people wrote, else what the draft says; beside it, what was written at the same time."""
    one = written.fields.get(name)
    said = one.now.text if one else draft.field(name)
    parts: list[Part] = [_prose(said)]
    for word in one.beside if one else ():
        parts += [Para(f"Written by {word.by} at the same time:"), _prose(word.text)]
    return tuple(parts)


def _prose(text: str) -> Part:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        return Para("Nobody has written this yet.")
    return Para(lines[0]) if len(lines) == 1 else Bullets(tuple(line.removeprefix("- ") for line in lines))


def _list(items: tuple[str, ...], nothing: str) -> Part:
    return Bullets(tuple(dict.fromkeys(items))) if items else Para(nothing)

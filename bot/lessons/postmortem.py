"""The post-mortem of an incident: drafted when containment is proven, written by several people, published once.

What people write is kept edit by edit (``bot.learn.edits``). Publishing orders the follow-ups, which the engine carries
out: an issue each, and the pull request that moves to OIDC where it is one of them.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from bot.engine.afterwards import ORDER
from bot.engine.decisions import Desk, Sign
from bot.errors import InputError
from bot.learn import document
from bot.learn.draft import Draft, draft
from bot.learn.edits import FIELDS, MOST, PREFIX, Written, fold, missing, warnings
from bot.learn.follow_up import DONE, OPEN, Check, FollowUp, follow_up
from bot.learn.postmortem import Standing, page, standing
from bot.store import IncidentRow, Store, iso, when
from bot.store_learn import FollowUpRow, Writings, WrittenRow
from bot.story import stamp
from bot.timeline import Event, Timeline, load
from bot.triage.migration import is_order

HOUSE = "bulkhead"  # who suggests the first follow-up
STEP = "post-mortem"
SINCE = "postmortem:since"  # incidents that were over before are none of ours
MIGRATION = "migration"
MOVE = "github.open_migration"
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")  # what a terminal or a page would act on


@dataclass(frozen=True, kw_only=True)
class View:
    """A post-mortem as it stands."""

    row: IncidentRow
    events: list[Event]
    draft: Draft
    written: Written
    follow_ups: list[Standing]
    begun: WrittenRow | None

    @property
    def published(self) -> bool:
        """It is out, and its text stays as it is."""
        return bool(self.begun and self.begun.published_at)

    @cached_property
    def missing(self) -> list[str]:
        """Why it cannot be published, in sentences."""
        early = [] if self.draft.over else ["The incident is not over: containment is not proven yet."]
        return early + missing(self.written)

    @cached_property
    def warnings(self) -> list[str]:
        """What should make somebody think."""
        return warnings(self.written)

    def field(self, name: str) -> str:
        """A field as it stands: what people wrote, else the draft's."""
        return self.written.text(name) if self.written.seen(name) else self.draft.field(name)


class Postmortems:
    """Reads and writes them. ``scrub`` takes secrets out of what goes out, ``typed`` out of what people write."""

    def __init__(
        self, store: Store, timeline: Timeline, desk: Desk, scrub: Callable[[str], str] = str,
        typed: Callable[[str], str] = str,
    ) -> None:  # fmt: skip
        self._store, self._timeline, self._desk, self._scrub, self._typed = store, timeline, desk, scrub, typed
        self.rows = Writings(store)

    # reading -----------------------------------------------------------------------------------------------------

    def view(self, incident: str) -> View:
        """The post-mortem of an incident, drafted or not. Raises InputError when there is no such incident."""
        row = self._store.incident(incident)
        events = load(self._store, incident)
        written = fold(self.rows.edits(incident))
        rows = {one.id: one for one in self.rows.follow_ups(incident)}
        return View(
            row=row, events=events, draft=draft(incident, row.title, row.world, events), written=written,
            follow_ups=standing(written.follow_ups, rows, _urls(events)), begun=self.rows.get(incident),
        )  # fmt: skip

    def document(self, view: View, url: str = "") -> document.Document:
        """As a page, scrubbed and defanged."""
        begun, said = view.begun, ""
        if view.published and begun is not None:
            said = f"Published {stamp(begun.published_at)} by {begun.published_by}."
        return page(view.draft, view.written, view.follow_ups, scrub=self._scrub, published=said, url=url)

    # beginning ---------------------------------------------------------------------------------------------------

    def begin(self, incident: str) -> bool:
        """Begin it, once: it is noted on the timeline, and the move to OIDC is suggested as a follow-up."""
        view = self.view(incident)
        if not view.draft.over:
            raise InputError(f"{incident} is not over; a post-mortem begins when containment is proven")
        at = iso(_now(view.events))
        new = self.rows.draft(incident, at)
        if suggested := _migration(view.draft):
            self.rows.edit(incident, "begun", {f"{PREFIX}{MIGRATION}": suggested.text()}, by=HOUSE, at=at, seen=0)
        said = {"state": "drafted", "by": HOUSE}
        self._timeline.append(incident, STEP, "postmortem", said, at=at).result()
        return new

    def begin_all(self) -> list[str]:
        """Begin those of the incidents that were closed since this installation can. A migration was no leak."""
        since = self._store.setting_once(SINCE, iso(datetime.now(UTC)))
        found = [one for one in self.rows.undrafted(since) if not is_order(self._store.incident(one).credential_key)]
        for incident in found:
            self.begin(incident)
        return found

    # writing -----------------------------------------------------------------------------------------------------

    def edit(
        self, incident: str, fields: Mapping[str, str], *, by: str, key: str, seen: int | None = None
    ) -> View:  # fmt: skip
        """Write fields. ``seen``: the number of the last edit that the writer saw; without it, whatever stands now.

        Raises InputError for an unknown field, a text that is too long, and one that was published.
        """
        view = self._open(incident)
        for name, text in fields.items():
            if name not in FIELDS:
                raise InputError(f"a post-mortem has no field {name[:40]!r}; there are: {', '.join(FIELDS)}")
            if len(text) > MOST:
                raise InputError(f"{FIELDS[name].label} is longer than {MOST} characters; say it shorter")
        if view.published:
            raise InputError("it is published, and stays as it is; follow-ups still can be changed")
        last = view.written.last if seen is None else seen
        # What they saw, not what stands: a form brings fields back that its writer never touched.
        shown = replace(view, written=fold(one for one in self.rows.edits(incident) if one.n <= last))
        said = {name: self._typed(_CONTROL.sub("", text).strip()) for name, text in fields.items()}
        fresh = {
            name: text for name, text in said.items() if text != shown.field(name) or name in shown.written.conflicts
        }  # fmt: skip
        self.rows.edit(incident, key, fresh, by=by, at=iso(_now(view.events)), seen=last)
        return self.view(incident)

    def follow(self, incident: str, one: FollowUp, *, by: str, key: str, seen: int | None = None) -> View:
        """Add a follow-up, or write one anew."""
        view = self._open(incident)
        clean = replace(one, **{n: self._typed(_CONTROL.sub("", getattr(one, n))) for n in ("title", "owner")})
        at, last = iso(_now(view.events)), view.written.last if seen is None else seen
        self.rows.edit(incident, key, {f"{PREFIX}{one.id}": clean.text()}, by=by, at=at, seen=last)
        return self.view(incident)

    def drop(self, incident: str, name: str, *, by: str, key: str) -> View:
        """Take a follow-up out. Raises InputError when there is none of this id, or it is published."""
        view = self._open(incident)
        self._follow_up(view, name)
        if view.published:
            raise InputError("it is published: say that the follow-up is done, or change it")
        at = iso(_now(view.events))
        self.rows.edit(incident, key, {f"{PREFIX}{name}": ""}, by=by, at=at, seen=view.written.last)
        return self.view(incident)

    def done(self, incident: str, name: str, *, by: str) -> View:
        """A person says that a follow-up is done. Raises InputError for one that a machine looks at."""
        view = self._open(incident)
        one = self._follow_up(view, name)
        if one.what.check:
            raise InputError(f"a machine looks at this one ({one.what.check}); it says itself when it is done")
        if one.state != DONE:
            at = iso(_now(view.events))
            self.stand(view, one.what, DONE, f"{by} says so", at)
        return self.view(incident)

    def stand(self, view: View, one: FollowUp, state: str, detail: str, at: str) -> None:
        """Note how a follow-up stands; a change goes onto the timeline, and so into the thread."""
        incident = view.row.id
        before = next((row for row in self.rows.follow_ups(incident) if row.id == one.id), None)
        old, changes = (before.state, before.changes) if before else (OPEN, 0)
        if state != old:
            changes += 1
            body = {"id": one.id, "title": one.title, "owner": one.owner, "state": state, "detail": detail}
            step = f"{PREFIX}{one.id}"
            self._timeline.append(incident, step, "follow-up", body, at=at, attempt=changes).result()
        row = FollowUpRow(
            incident=incident, id=one.id, state=state, checked_at=at, detail=self._scrub(detail), changes=changes
        )
        self.rows.stand(row)

    # publishing --------------------------------------------------------------------------------------------------

    def publish(
        self, incident: str, *, by: str, sign: Sign | None = None, said: Mapping[str, Any] | None = None, url: str = ""
    ) -> View:  # fmt: skip
        """Publish it, and order its follow-ups. ``said``: what vouches for the person, as of every decision.

        Raises InputError, which lists what is missing, and DecisionRefused when the person may not.
        """
        view = self._open(incident)
        if view.published and view.begun:
            raise InputError(f"it was published {stamp(view.begun.published_at)} by {view.begun.published_by}")
        if view.missing:
            raise InputError("it cannot be published yet. " + " ".join(view.missing))
        now = _now(view.events)
        self._desk.order(
            incident=incident, step=STEP, kind=ORDER, by=by, at=now, reason="the post-mortem is published",
            sign=sign, said={**(said or {}), "steps": self._steps(view)},
        )  # fmt: skip
        text = document.markdown(self.document(view, url))
        if self.rows.publish(incident, at=iso(now), by=by, body=text):
            digest = hashlib.sha256(text.encode()).hexdigest()
            body = {"state": "published", "by": by, "sha256": digest, "follow_ups": len(view.follow_ups)}
            self._timeline.append(incident, STEP, "postmortem", body, at=iso(now), attempt=2).result()
        return self.view(incident)

    def _steps(self, view: View) -> list[dict[str, Any]]:
        """What the engine is to carry out: an issue a follow-up, or the pull request that it is about."""
        return [
            step for one in view.follow_ups if one.state != DONE
            for step in [self._step(view, one.what)] if step is not None
        ]  # fmt: skip

    def _step(self, view: View, one: FollowUp) -> dict[str, Any] | None:
        name, repository = f"{PREFIX}{one.id}", view.draft.repository
        check = Check.parse(one.check) if one.check else None
        if check is not None and check.kind == "migration-merged":
            return {"id": name, "uses": MOVE, "with": _move(view, check.target)}
        if not repository:
            return None
        body = document.defang(self._scrub(_issue(view, one)))
        title = document.defang(self._scrub(one.title))
        mark = f"{view.row.id}/{name}"
        since = stamp_of(view.row.opened_at)
        return {"id": name, "uses": "github.open_issue", "with": {
            "repository": repository, "title": title, "body": body, "mark": mark, "since": since}}  # fmt: skip

    # small things ------------------------------------------------------------------------------------------------

    def _open(self, incident: str) -> View:
        """The view of one that has begun; one whose turn has come begins now."""
        if self.rows.get(incident) is None:
            self.begin(incident)
        return self.view(incident)

    @staticmethod
    def _follow_up(view: View, name: str) -> Standing:
        found = next((one for one in view.follow_ups if one.what.id == name), None)
        if found is None:
            known = ", ".join(one.what.id for one in view.follow_ups) or "none"
            raise InputError(f"{view.row.id} has no follow-up {name[:40]!r}; there are: {known}")
        return found


def _move(view: View, repository: str) -> dict[str, Any]:
    """What the move to OIDC is asked for with: as the playbook did, so that its pull request is found again."""
    looks = [e.body for e in view.events if e.kind == "look" and e.body and e.body.get("uses") == MOVE]
    asked = next((body["inputs"] for body in looks if body["inputs"].get("repository") == repository), None)
    if asked is not None:
        return dict(asked)
    stores = (view.draft.triage or {}).get("stores") or ()
    secret = next((str(one["name"]) for one in stores if one["repository"] == repository), "")
    return {"repository": repository, "secret": secret}


def _migration(found: Draft) -> FollowUp | None:
    """The follow-up that every leak of a stored secret suggests: to have no standing secret there."""
    if not (found.repository and (found.triage or {}).get("stores")):
        return None
    return follow_up(
        MIGRATION, title=f"Merge the move of {found.repository} to short-lived OIDC credentials",
        check=f"migration-merged {found.repository}",
    )  # fmt: skip


def _urls(events: list[Event]) -> dict[str, str]:
    """Where the issue or pull request of each follow-up stands, as its outcome says."""
    return {
        e.step.removeprefix(PREFIX): str(e.body["outcome"]["url"])
        for e in events
        if e.kind == "outcome" and e.step.startswith(PREFIX) and e.body and e.body["outcome"].get("url")
    }


def _issue(view: View, one: FollowUp) -> str:
    """The text of an issue: enough for somebody who was not there, and nothing that helps a thief."""
    checked = f"A machine looks at it: {one.check}." if one.check else "A person says when it is done."
    lines = [
        f"From the post-mortem of {view.row.id}: {view.draft.title}.", "",
        f"- Who: {one.owner or 'nobody yet'}", f"- Until: {one.due or 'no date yet'}", f"- {checked}", "",
        f"The durable fix, as it was written: {view.written.text('durable_fix')}",
    ]  # fmt: skip
    return "\n".join(lines).replace("@", "@\u200b")  # GitHub would call whoever has that name


def stamp_of(text: str) -> str:
    """A time as GitHub takes it, to the second."""
    return f"{text[:19]}Z" if text else ""


def _now(events: list[Event]) -> datetime:
    """Now; in a range, whose clock may run ahead, not before its last event."""
    return max([datetime.now(UTC), *(when(e.at) for e in events[-1:])])

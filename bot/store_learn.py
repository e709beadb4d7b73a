"""What is learnt, in the store: questions put to people, edits of post-mortems, follow-ups. Only SQL, no judgement."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from bot.store import Store, canonical, insert_once
from bot.tables import follow_up, postmortem, postmortem_edit, quiz_asked, quiz_card
from bot.tables import incident as incidents

ASKED, ANSWERED, SKIPPED = "asked", "answered", "skipped"
WEEKLY = "quiz:weekly:"  # the setting of whoever wants a question a week, by their name; its value: since when


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedRow:
    """One putting of a question to one person. ``body``: ``question`` as it was shown, ``order`` of its option ids."""

    id: str
    person: str
    question: str
    tag: str
    incident: str
    at: str
    body: dict[str, Any]
    state: str = ASKED
    chosen: str = ""
    sure: int = 0
    is_right: int = 0
    answered_at: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CardRow:
    """Where a question stands for a person."""

    person: str
    question: str
    box: int
    due: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EditRow:
    """One text that somebody has written for a field of a post-mortem. Rows are only added."""

    incident: str
    n: int
    key: str
    field: str
    by: str
    at: str
    seen: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenRow:
    """A post-mortem: when it was drafted, and how and by whom it was published, if it was."""

    incident: str
    drafted_at: str
    published_at: str = ""
    published_by: str = ""
    body: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FollowUpRow:
    """How a follow-up stands, and what was found when it was last looked at."""

    incident: str
    id: str
    state: str
    checked_at: str = ""
    detail: str = ""
    changes: int = 0


class Quizzes:
    """Questions put to people."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def put(self, row: AskedRow) -> AskedRow:
        """Note that a question was put to somebody; put again under the same id, the first one stands."""
        with self._store.begin() as c:
            insert_once(c, quiz_asked, {**_values(row), "body": canonical(row.body)})
            return _asked(c.execute(sa.select(quiz_asked).where(quiz_asked.c.id == row.id)).mappings().one())

    def get(self, asked_id: str) -> AskedRow | None:
        """One of them."""
        with self._store.connect() as c:
            found = c.execute(sa.select(quiz_asked).where(quiz_asked.c.id == asked_id)).mappings().first()
        return _asked(found) if found else None

    def answer(self, row: AskedRow, card: CardRow | None) -> bool:
        """Settle one, and move its card with it; False when it was settled before, and then nothing changes."""
        changed = {name: getattr(row, name) for name in ("state", "chosen", "sure", "is_right", "answered_at")}
        with self._store.begin() as c:
            open_ = sa.and_(quiz_asked.c.id == row.id, quiz_asked.c.state == ASKED)
            if c.execute(sa.update(quiz_asked).where(open_).values(**changed)).rowcount == 0:
                return False
            if card is not None:
                mine = sa.and_(quiz_card.c.person == card.person, quiz_card.c.question == card.question)
                c.execute(sa.delete(quiz_card).where(mine))
                c.execute(sa.insert(quiz_card).values(**_values(card)))
        return True

    def of(self, person: str) -> list[AskedRow]:
        """All that were put to a person, oldest first."""
        query = sa.select(quiz_asked).where(quiz_asked.c.person == person).order_by(quiz_asked.c.at, quiz_asked.c.id)
        with self._store.connect() as c:
            return [_asked(row) for row in c.execute(query).mappings()]

    def cards(self, person: str) -> list[CardRow]:
        """The cards of a person."""
        with self._store.connect() as c:
            query = sa.select(quiz_card).where(quiz_card.c.person == person)
            return [CardRow(**row) for row in c.execute(query).mappings()]

    def dated(self) -> list[tuple[str, str, bool]]:
        """Every answer as (person, when, right), for a team over time."""
        query = sa.select(quiz_asked.c.person, quiz_asked.c.answered_at, quiz_asked.c.is_right)
        with self._store.connect() as c:
            rows = c.execute(query.where(quiz_asked.c.state == ANSWERED)).all()
        return [(row.person, row.answered_at, bool(row.is_right)) for row in rows]

    def answers(self) -> list[tuple[str, str, bool]]:
        """Every answer as (person, tag, right): for a team's picture, never for a ranking of persons."""
        query = sa.select(quiz_asked.c.person, quiz_asked.c.tag, quiz_asked.c.is_right)
        with self._store.connect() as c:
            return [(r[0], r[1], bool(r[2])) for r in c.execute(query.where(quiz_asked.c.state == ANSWERED))]


class Writings:
    """Post-mortems, their edits, and follow-ups."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def draft(self, incident: str, at: str) -> bool:
        """Begin one; False when it was begun before."""
        with self._store.begin() as c:
            row = WrittenRow(incident=incident, drafted_at=at)
            return insert_once(c, postmortem, _values(row))

    def get(self, incident: str) -> WrittenRow | None:
        """The post-mortem of an incident."""
        with self._store.connect() as c:
            found = c.execute(sa.select(postmortem).where(postmortem.c.incident == incident)).mappings().first()
        return WrittenRow(**found) if found else None

    def undrafted(self, since: str) -> list[str]:
        """Incidents that were closed, were opened since then (ISO 8601 UTC), and have no post-mortem yet."""
        query = sa.select(incidents.c.id).join(postmortem, postmortem.c.incident == incidents.c.id, isouter=True)
        fresh = sa.and_(incidents.c.status == "closed", incidents.c.opened_at >= since, postmortem.c.incident.is_(None))
        with self._store.connect() as c:
            return list(c.execute(query.where(fresh).order_by(incidents.c.opened_at)).scalars())

    def all(self) -> dict[str, WrittenRow]:
        """Every one by its incident."""
        with self._store.connect() as c:
            return {row["incident"]: WrittenRow(**row) for row in c.execute(sa.select(postmortem)).mappings()}

    def publish(self, incident: str, *, at: str, by: str, body: str) -> bool:
        """Note as what it was published; False when it was published before."""
        unpublished = sa.and_(postmortem.c.incident == incident, postmortem.c.published_at == "")
        values = {"published_at": at, "published_by": by, "body": body}
        with self._store.begin() as c:
            return bool(c.execute(sa.update(postmortem).where(unpublished).values(**values)).rowcount)

    def edit(self, incident: str, key: str, fields: dict[str, str], *, by: str, at: str, seen: int) -> int:
        """Add these texts (field -> text), in one transaction; brought again under the same key, nothing is added.

        Returns the number of the last edit of the incident.
        """
        with self._store.begin() as c:
            if not self._store.sqlite:  # one at a time in this incident; SQLite's write lock says so already
                c.execute(sa.select(postmortem.c.incident).where(postmortem.c.incident == incident).with_for_update())
            last = c.scalar(sa.select(sa.func.max(postmortem_edit.c.n)).where(postmortem_edit.c.incident == incident))
            n = int(last or 0)
            for field, text in fields.items():
                row = EditRow(incident=incident, n=n + 1, key=key, field=field, by=by, at=at, seen=seen, text=text)
                n += insert_once(c, postmortem_edit, _values(row))
            return n

    def edits(self, incident: str) -> list[EditRow]:
        """Every edit, in order."""
        query = sa.select(postmortem_edit).where(postmortem_edit.c.incident == incident).order_by(postmortem_edit.c.n)
        with self._store.connect() as c:
            return [EditRow(**row) for row in c.execute(query).mappings()]

    def follow_ups(self, incident: str = "") -> list[FollowUpRow]:
        """How follow-ups stand, of one incident or of all."""
        query = sa.select(follow_up).order_by(follow_up.c.incident, follow_up.c.id)
        if incident:
            query = query.where(follow_up.c.incident == incident)
        with self._store.connect() as c:
            return [FollowUpRow(**row) for row in c.execute(query).mappings()]

    def stand(self, row: FollowUpRow) -> None:
        """Note how a follow-up stands."""
        same = sa.and_(follow_up.c.incident == row.incident, follow_up.c.id == row.id)
        with self._store.begin() as c:
            if not insert_once(c, follow_up, _values(row)):
                c.execute(sa.update(follow_up).where(same).values(**_values(row)))


def _values(row: Any) -> dict[str, Any]:
    return {name: getattr(row, name) for name in type(row).__slots__}


def _asked(row: Any) -> AskedRow:
    return AskedRow(**{**row, "body": json.loads(row["body"])})

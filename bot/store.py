"""The tables, and the only SQL. One database holds them, the vault and the engine's own records (DBOS).

Rows are landed first and worked after; what an incident did is in ``timeline`` alone (``bot.timeline`` writes it).
Times are ISO 8601 UTC text, bodies are canonical JSON text.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.pool import ConnectionPoolEntry

from bot.errors import EngineError, InputError

NEWEST = "0001"  # the last migration

metadata = sa.MetaData()
Text, Int = sa.Text, sa.BigInteger

incident = sa.Table(
    "incident", metadata,
    sa.Column("id", Text, primary_key=True),
    sa.Column("opened_at", Text, nullable=False),
    sa.Column("world", Text, nullable=False),  # real, or range: a drill
    sa.Column("status", Text, nullable=False),  # open, closed, aborted
    sa.Column("title", Text, nullable=False),
    sa.Column("credential_key", Text, nullable=False),
    sa.Column("body", Text, nullable=False),  # report, playbook id, text and hash, severity: never a secret
    sa.Column("head_n", sa.Integer, nullable=False, default=0),
    sa.Column("head_hash", Text, nullable=False, default=""),
    sa.Index("ix_incident_open", "status", "credential_key"),
)  # fmt: skip

timeline = sa.Table(
    "timeline", metadata,
    sa.Column("incident", Text, primary_key=True),
    sa.Column("n", sa.Integer, primary_key=True),
    sa.Column("step", Text, nullable=False),
    sa.Column("kind", Text, nullable=False),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("at", Text, nullable=False),
    sa.Column("schema", sa.Integer, nullable=False),
    sa.Column("body", Text),  # NULL once tombstoned: the chain covers the digest
    sa.Column("body_sha256", Text, nullable=False),
    sa.Column("prev_hash", Text, nullable=False),
    sa.Column("hash", Text, nullable=False),
    sa.UniqueConstraint("incident", "step", "kind", "attempt", name="uq_timeline_once"),
)  # fmt: skip

decision = sa.Table(
    "decision", metadata,
    sa.Column("seq", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("incident", Text, nullable=False),
    sa.Column("step", Text, nullable=False),
    sa.Column("kind", Text, nullable=False),  # approve, deny, answer, abort, undo, waive, retry
    sa.Column("by", Text, nullable=False),
    sa.Column("at", Text, nullable=False),
    sa.Column("plan_hash", Text, nullable=False),
    sa.Column("body", Text, nullable=False),
    sa.UniqueConstraint("incident", "step", "kind", "by", "plan_hash", name="uq_decision_once"),
)  # fmt: skip

vault = sa.Table(
    "vault", metadata,
    sa.Column("ref", Text, primary_key=True),
    sa.Column("owner", Text, nullable=False),  # an incident, or an inbox row that has none yet
    sa.Column("label", Text, nullable=False),
    sa.Column("credential", Text, nullable=False),
    sa.Column("sealed", sa.LargeBinary),  # NULL once wiped
    sa.Column("fingerprint", Text, nullable=False),
    sa.Column("sealed_at", Text, nullable=False),
    sa.Column("wiped_at", Text),
    sa.UniqueConstraint("owner", "label", name="uq_vault_label"),
)  # fmt: skip

inbox = sa.Table(
    "inbox", metadata,
    sa.Column("id", Text, primary_key=True),  # the delivery's own key: landed again, it is the same row
    sa.Column("source", Text, nullable=False),
    sa.Column("landed_at", Text, nullable=False),
    sa.Column("body", Text, nullable=False),  # scrubbed
    sa.Column("raw_sha256", Text, nullable=False),
    sa.Column("state", Text, nullable=False),  # landed, worked, dead
    sa.Column("note", Text, nullable=False, default=""),
)  # fmt: skip

evidence = sa.Table(
    "evidence", metadata,
    sa.Column("incident", Text, primary_key=True),
    sa.Column("name", Text, primary_key=True),
    sa.Column("sha256", Text, primary_key=True),
    sa.Column("size", Int, nullable=False),
    sa.Column("original_sha256", Text, nullable=False),
    sa.Column("at", Text, nullable=False),
)  # fmt: skip

setting = sa.Table(
    "setting", metadata,
    sa.Column("name", Text, primary_key=True),
    sa.Column("value", Text, nullable=False),
)  # fmt: skip


def canonical(value: Any) -> str:
    """JSON with sorted keys and no spaces: what is hashed and stored."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def iso(at: datetime) -> str:
    """ISO 8601 UTC with microseconds: sorts as text."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def when(text: str) -> datetime:
    """The opposite of ``iso``."""
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)


def set_pragmas(connection: Any, _entry: ConnectionPoolEntry | None = None, _proxy: Any = None) -> None:
    """WAL and FULL: a reader never waits, and what was acknowledged survives a power cut."""
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA busy_timeout=30000")


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentRow:
    """One incident as it stands in the table."""

    id: str
    opened_at: str
    world: str
    status: str
    title: str
    credential_key: str
    body: dict[str, Any]
    head_n: int
    head_hash: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionRow:
    """One decision as it was made. ``seq`` grows with time."""

    seq: int
    incident: str
    step: str
    kind: str
    by: str
    at: str
    plan_hash: str
    body: dict[str, Any]


class Store:
    """The database. ``url`` is SQLAlchemy's; SQLite by default."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.engine = sa.create_engine(url, pool_size=8, max_overflow=8)
        if self.sqlite:
            sa.event.listen(self.engine, "connect", set_pragmas)

    @property
    def sqlite(self) -> bool:
        """SQLite: one worker only."""
        return self.url.startswith("sqlite")

    def migrate(self) -> None:
        """Bring the tables to the newest form. A new database gets it at once; a test holds that both ways agree."""
        with self.begin() as connection:
            there = sa.inspect(connection).has_table("alembic_version")
            version = connection.scalar(sa.text("SELECT version_num FROM alembic_version")) if there else None
            if version == NEWEST:
                return
            if version is None:
                metadata.create_all(connection)
                connection.execute(sa.text("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY)"))
                connection.execute(sa.text("INSERT INTO alembic_version VALUES (:v)"), {"v": NEWEST})
                return
        self.upgrade()

    def upgrade(self, to: str = "head") -> None:
        """Replay the migrations that are missing."""
        from alembic import command  # noqa: PLC0415 - a second of imports that only an upgrade needs
        from alembic.config import Config  # noqa: PLC0415

        config = Config()
        config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
        with self.begin() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, to)

    def close(self) -> None:
        """Give the connections back."""
        self.engine.dispose()

    @contextmanager
    def begin(self) -> Iterator[sa.Connection]:
        """A transaction that takes its write lock at once: two writers never deadlock, they queue."""
        with self.engine.connect() as connection:
            if self.sqlite:
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            try:
                yield connection
            except BaseException:
                connection.rollback()
                raise
            connection.commit()

    # incidents -------------------------------------------------------------------------------------------------

    def add_incident(self, connection: sa.Connection, row: dict[str, Any]) -> bool:
        """Insert one; False when this id already is there."""
        if connection.execute(sa.select(incident.c.id).where(incident.c.id == row["id"])).first():
            return False
        connection.execute(sa.insert(incident).values(**row, head_n=0, head_hash=""))
        return True

    def incident(self, incident_id: str) -> IncidentRow:
        """One incident. Raises InputError for an unknown id, listing what there is."""
        with self.engine.connect() as c:
            row = c.execute(sa.select(incident).where(incident.c.id == incident_id)).mappings().first()
        if row is None:
            known = ", ".join(i.id for i in self.incidents()[-5:]) or "none yet"
            raise InputError(f"there is no incident {incident_id!r}; the latest are: {known}")
        return _incident(row)

    def incidents(self, status: str = "", credential_key: str = "") -> list[IncidentRow]:
        """Incidents by time of opening."""
        query = sa.select(incident).order_by(incident.c.opened_at)
        if status:
            query = query.where(incident.c.status == status)
        if credential_key:
            query = query.where(incident.c.credential_key == credential_key)
        with self.engine.connect() as c:
            return [_incident(row) for row in c.execute(query).mappings()]

    def set_status(self, incident_id: str, status: str) -> None:
        """open, closed or aborted; a cache of the timeline's last word."""
        with self.begin() as c:
            c.execute(sa.update(incident).where(incident.c.id == incident_id).values(status=status))

    # timeline --------------------------------------------------------------------------------------------------

    def events(self, incident_id: str, after_n: int = 0) -> list[dict[str, Any]]:
        """Timeline rows as dictionaries, in order; ``body`` decoded, None when tombstoned."""
        query = sa.select(timeline).where(timeline.c.incident == incident_id, timeline.c.n > after_n).order_by(timeline.c.n)
        with self.engine.connect() as c:
            return [
                {**row, "body": None if row["body"] is None else json.loads(row["body"])}
                for row in c.execute(query).mappings()
            ]

    def unattended_cuts(self, world: str, since: str) -> int:
        """How many incidents of a World had their own credential cut without anybody being asked, since then."""
        query = (
            sa.select(timeline.c.body, incident.c.credential_key)
            .join(incident, incident.c.id == timeline.c.incident)
            .where(timeline.c.kind == "look", timeline.c.at >= since, incident.c.world == world, timeline.c.body.is_not(None))
        )
        with self.engine.connect() as c:
            looks = [(json.loads(row.body), row.credential_key) for row in c.execute(query)]
        return sum(1 for look, key in looks if look["kills"] == key and not look["asks"])

    # decisions -------------------------------------------------------------------------------------------------

    def add_decision(self, row: dict[str, Any]) -> tuple[int, bool]:
        """Land a decision: its number, and False when the same one already stands."""
        same = [decision.c[name] == row[name] for name in ("incident", "step", "kind", "by", "plan_hash")]
        with self.begin() as c:
            found = c.execute(sa.select(decision.c.seq).where(*same)).scalar()
            if found is not None:
                return int(found), False
            result = c.execute(sa.insert(decision).values(**{**row, "body": canonical(row["body"])}))
            return int(result.inserted_primary_key[0]), True  # type: ignore[index]

    def decisions(self, incident_id: str = "", after_seq: int = 0) -> list[DecisionRow]:
        """Decisions in the order in which they were landed."""
        query = sa.select(decision).where(decision.c.seq > after_seq).order_by(decision.c.seq)
        if incident_id:
            query = query.where(decision.c.incident == incident_id)
        with self.engine.connect() as c:
            return [DecisionRow(**{**row, "body": json.loads(row["body"])}) for row in c.execute(query).mappings()]

    # inbox -----------------------------------------------------------------------------------------------------

    def land(self, connection: sa.Connection, row: dict[str, Any]) -> bool:
        """Land a delivery; False when it already is here."""
        if connection.execute(sa.select(inbox.c.id).where(inbox.c.id == row["id"])).first():
            return False
        connection.execute(sa.insert(inbox).values(**{**row, "body": canonical(row["body"]), "state": "landed", "note": ""}))
        return True

    def inbox(self, state: str = "", inbox_id: str = "") -> list[dict[str, Any]]:
        """Deliveries by time of landing; ``body`` decoded."""
        query = sa.select(inbox).order_by(inbox.c.landed_at)
        if state:
            query = query.where(inbox.c.state == state)
        if inbox_id:
            query = query.where(inbox.c.id == inbox_id)
        with self.engine.connect() as c:
            return [{**row, "body": json.loads(row["body"])} for row in c.execute(query).mappings()]

    def set_inbox(self, connection: sa.Connection, inbox_id: str, state: str, note: str) -> None:
        """worked or dead, and what became of it."""
        connection.execute(sa.update(inbox).where(inbox.c.id == inbox_id).values(state=state, note=note))

    # evidence --------------------------------------------------------------------------------------------------

    def add_evidence(self, row: dict[str, Any]) -> None:
        """One line of the manifest; the same file again is the same line."""
        key = [evidence.c[name] == row[name] for name in ("incident", "name", "sha256")]
        with self.begin() as c:
            if c.execute(sa.select(evidence.c.name).where(*key)).first() is None:
                c.execute(sa.insert(evidence).values(**row))

    def evidence(self, incident_id: str) -> list[dict[str, Any]]:
        """The manifest of one incident."""
        with self.engine.connect() as c:
            query = sa.select(evidence).where(evidence.c.incident == incident_id).order_by(evidence.c.at)
            return [dict(row) for row in c.execute(query).mappings()]

    # settings --------------------------------------------------------------------------------------------------

    def setting(self, name: str, default: str = "") -> str:
        """A stored setting: the vault key's check value, a brake, a mode."""
        with self.engine.connect() as c:
            return c.execute(sa.select(setting.c.value).where(setting.c.name == name)).scalar() or default

    def set_setting(self, name: str, value: str) -> None:
        """Store one."""
        with self.begin() as c:
            c.execute(sa.delete(setting).where(setting.c.name == name))
            c.execute(sa.insert(setting).values(name=name, value=value))


def _incident(row: Any) -> IncidentRow:
    return IncidentRow(**{**row, "body": json.loads(row["body"])})


@contextmanager
def one_worker(folder: Path) -> Iterator[None]:
    """Hold the folder's lock: on SQLite a second worker is refused, not queued."""
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder / "worker.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise EngineError(f"another bulkhead worker runs on {folder}; stop it, or use PostgreSQL for more than one") from None
        yield
    finally:
        os.close(handle)



"""The only SQL. One database holds our tables, the vault and the engine's own records (DBOS).

Rows are landed first and worked after; what an incident did is in ``timeline`` alone (``bot.timeline`` writes it).
Times are ISO 8601 UTC text, bodies are canonical JSON text. SQLite serves one worker; PostgreSQL serves any number of
processes, so what SQLite's one write lock gives for nothing is said there in SQL: insert or leave, lock, in order.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.pool import ConnectionPoolEntry

from bot.errors import EngineError, InputError, StoreAway
from bot.tables import NEWEST, decision, evidence, inbox, incident, metadata, setting, timeline
from bot.turns import Turns

PATIENCE_S = 60.0  # so long PostgreSQL may be away: it restarts, or another server takes over
MANY = 500  # values in one statement
SEARCH = "-csearch_path="
# What passes on SQLite (sqlite.org/rescode.html): BUSY, LOCKED, IOERR, FULL, CANTOPEN. A disk gets space again.
SQLITE_PASSING = {5, 6, 10, 13, 14}


def canonical(value: Any) -> str:
    """JSON with sorted keys and no spaces: what is hashed and stored."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def iso(at: datetime) -> str:
    """ISO 8601 UTC with microseconds: sorts as text."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def when(text: str) -> datetime:
    """The opposite of ``iso``."""
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)


def said(exc: sa.exc.SQLAlchemyError) -> str:
    """What the database said, without the statement and its values: SQLite's sentence, PostgreSQL's code."""
    orig = getattr(exc, "orig", None)
    if getattr(orig, "sqlite_errorcode", 0):
        return str(orig)  # a fixed sentence of SQLite's for each of its codes (sqlite3_errstr)
    return f"{type(exc).__name__} {getattr(orig, 'sqlstate', None) or ''}".strip()


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
        if not url.startswith(("sqlite:///", "postgresql+psycopg://")):
            raise InputError("the database's URL must begin with sqlite:/// or postgresql+psycopg://")
        self.process = f"bulkhead-{secrets.token_hex(6)}"  # what PostgreSQL knows this process's sessions by
        named = {"connect_timeout": 10, "application_name": self.process}
        more: dict[str, Any] = {} if self.sqlite else {"pool_pre_ping": True, "connect_args": named}
        self.engine = sa.create_engine(url, pool_size=8, max_overflow=8, **more)
        if self.sqlite:
            sa.event.listen(self.engine, "connect", set_pragmas)
        # SQLite lets those who wait for its write lock sleep and try again, and who slept longest comes last. Here they
        # queue, and whoever is urgent waits for one of them, not for all.
        self.writers = Turns()

    @property
    def schema(self) -> str:
        """The schema that the URL names; "" where the database's own is used. A drill has one for itself."""
        return schema_of(self.url)

    @property
    def sqlite(self) -> bool:
        """SQLite: one worker only."""
        return self.url.startswith("sqlite")

    @property
    def path(self) -> str:
        """The file of an SQLite database."""
        return sa.make_url(self.url).database or ""

    def migrate(self) -> None:
        """Bring the tables to the newest form. A new database gets it at once; a test holds that both ways agree."""
        if self.schema:
            self._make_schema()
        with self.begin() as connection:
            self._in_turn(connection, "migrate")
            version = _version(connection)
            if version == NEWEST:
                return
            if version is None:
                metadata.create_all(connection)
                connection.execute(
                    sa.text("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY)")
                )
                connection.execute(sa.text("INSERT INTO alembic_version VALUES (:v)"), {"v": NEWEST})
                return
        self.upgrade()

    def upgrade(self, to: str = "head") -> None:
        """Replay the migrations that are missing."""
        from alembic import command
        from alembic.config import Config

        config = Config()
        config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
        with self.begin() as connection:
            self._in_turn(connection, "migrate")
            config.attributes["connection"] = connection
            command.upgrade(config, to)

    def _make_schema(self) -> None:
        engine = sa.create_engine(sa.make_url(self.url).difference_update_query(["options"]), poolclass=sa.NullPool)
        with engine.begin() as connection:
            connection.execute(sa.schema.CreateSchema(self.schema, if_not_exists=True))

    def version(self) -> str:
        """The migration that the tables have; "" when there are none. Raises EngineError when nobody answers."""
        try:
            with self.engine.connect() as connection:
                return _version(connection) or ""
        except sa.exc.SQLAlchemyError as exc:
            raise EngineError(f"the database does not answer ({type(exc).__name__})") from None

    def check(self) -> None:
        """Raises EngineError unless the tables have this version's form: on PostgreSQL only a release migrates."""
        version = self.version()
        if version != NEWEST:
            raise EngineError(
                f"the database has form {version or 'none'}, this version needs {NEWEST}; run `bulkhead migrate` first"
            )

    def close(self) -> None:
        """Give the connections back."""
        self.engine.dispose()

    def connect(self) -> sa.Connection:
        """A connection. Waits while the database is away, and raises StoreAway when it stays away."""
        give_up = time.monotonic() + PATIENCE_S
        while True:
            try:
                return self.engine.connect()
            except sa.exc.OperationalError as exc:
                if not self.passing(exc) or time.monotonic() > give_up:
                    raise StoreAway(f"the database does not answer ({said(exc)})") from None
            time.sleep(0.2)

    def passing(self, exc: sa.exc.SQLAlchemyError) -> bool:
        """Whether the same may work a moment later: nobody answered, no room, or two in each other's way."""
        if not isinstance(exc, sa.exc.OperationalError):
            return False
        if self.sqlite:
            return getattr(exc.orig, "sqlite_errorcode", 0) & 0xFF in SQLITE_PASSING
        state = getattr(exc.orig, "sqlstate", None) or "08"
        return state[:2] in ("08", "40", "53", "57")

    def away(self, exc: BaseException) -> bool:
        """Whether this was the database, and what was under way can be done again when it is back."""
        return isinstance(exc, StoreAway) or (isinstance(exc, sa.exc.SQLAlchemyError) and self.passing(exc))

    @contextmanager
    def begin(self, *, urgent: bool = False) -> Iterator[sa.Connection]:
        """A transaction. On SQLite it takes its write lock at once: two writers never deadlock, they queue.

        ``urgent``: somebody waits for it within seconds, so it goes before those that queue.
        """
        with self.writers.turn(urgent=urgent) if self.sqlite else nullcontext(), self.connect() as connection:
            if self.sqlite:
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            try:
                yield connection
            except BaseException:
                connection.rollback()
                raise
            connection.commit()

    @contextmanager
    def only_one(self, name: str) -> Iterator[bool]:
        """Whether this process alone does ``name`` while the block runs; whoever dies lets go of it at once.

        On SQLite there is one worker (``one_worker``), so it is always True. On PostgreSQL the lock is a session's.
        """
        if self.sqlite:
            yield True
            return
        with self.connect().execution_options(isolation_level="AUTOCOMMIT") as c:
            mine = bool(c.scalar(_lock("pg_try_advisory_lock"), {"name": name}))
            try:
                yield mine
            finally:
                c.invalidate()  # the session ends, and the lock with it

    def ask(self, query: str, **values: str) -> list[str]:
        """The first column of what a query of the engine's room finds: it alone knows DBOS's tables."""
        with self.connect() as c:
            return list(c.execute(sa.text(query), values).scalars())

    def tell(self, query: str, table: tuple[str, str | None], **values: str) -> int:
        """Run a change of the engine's room, if that table (and its schema) is there; how many rows it changed."""
        if not sa.inspect(self.engine).has_table(table[0], schema=table[1]):
            return 0
        with self.begin() as c:
            return int(c.execute(sa.text(query), values).rowcount)

    def _in_turn(self, connection: sa.Connection, name: str) -> None:
        """Wait until no other transaction does ``name``; SQLite's write lock says so already."""
        if not self.sqlite:
            connection.execute(_lock("pg_advisory_xact_lock"), {"name": name})

    # incidents -------------------------------------------------------------------------------------------------

    def add_incident(self, connection: sa.Connection, row: dict[str, Any]) -> bool:
        """Insert one; False when this id already is there."""
        return insert_once(connection, incident, {**row, "head_n": 0, "head_hash": ""})

    def open_incident(self, connection: sa.Connection, row: dict[str, Any]) -> tuple[str, bool]:
        """Insert one unless its credential has an open one in that world, however many open one at this moment.

        Returns the id of the one that stands, and whether it is new.
        """
        self._in_turn(connection, "open incident")
        query = sa.select(incident.c.id).where(
            incident.c.status == "open", *(incident.c[name] == row[name] for name in ("credential_key", "world"))
        ).order_by(incident.c.opened_at, incident.c.id)  # fmt: skip
        standing = connection.scalar(query)
        return (str(standing), False) if standing else (str(row["id"]), self.add_incident(connection, row))

    def incident(self, incident_id: str) -> IncidentRow:
        """One incident. Raises InputError for an unknown id, listing what there is."""
        with self.connect() as c:
            row = c.execute(sa.select(incident).where(incident.c.id == incident_id)).mappings().first()
        if row is None:
            known = ", ".join(i.id for i in self.incidents()[-5:]) or "none yet"
            raise InputError(f"there is no incident {incident_id!r}; the latest are: {known}")
        return _incident(row)

    def statuses(self, incident_ids: list[str]) -> dict[str, str]:
        """How these incidents stand: open, closed, aborted."""
        found: dict[str, str] = {}
        with self.connect() as c:
            for start in range(0, len(incident_ids), MANY):
                query = sa.select(incident.c.id, incident.c.status)
                some = query.where(incident.c.id.in_(incident_ids[start : start + MANY]))
                found |= {row.id: row.status for row in c.execute(some)}
        return found

    def has_incident(self, incident_id: str) -> bool:
        """Whether there is one of this id."""
        with self.connect() as c:
            return c.scalar(sa.select(sa.literal(1)).where(incident.c.id == incident_id)) is not None

    def incidents(self, status: str = "", credential_key: str = "", since: str = "") -> list[IncidentRow]:
        """Incidents by time of opening, ``since`` then (ISO 8601 UTC)."""
        query = sa.select(incident).order_by(incident.c.opened_at, incident.c.id)
        if since:
            query = query.where(incident.c.opened_at >= since)
        if status:
            query = query.where(incident.c.status == status)
        if credential_key:
            query = query.where(incident.c.credential_key == credential_key)
        with self.connect() as c:
            return [_incident(row) for row in c.execute(query).mappings()]

    # timeline --------------------------------------------------------------------------------------------------

    def events(self, incident_id: str, after_n: int = 0) -> list[dict[str, Any]]:
        """Timeline rows as dictionaries, in order; ``body`` decoded, None when tombstoned."""
        query = (
            sa.select(timeline).where(timeline.c.incident == incident_id, timeline.c.n > after_n).order_by(timeline.c.n)
        )
        with self.connect() as c:
            return [_event(row) for row in c.execute(query).mappings()]

    def chain(self, incident_id: str) -> tuple[list[dict[str, Any]], int, str]:
        """The rows of ``events``, and number and hash of the last one as the incident has them, of the same moment.

        Raises InputError for an unknown id.
        """
        head = (incident.c.head_n, incident.c.head_hash)
        query = (
            sa.select(timeline, *head).join_from(incident, timeline, timeline.c.incident == incident.c.id, isouter=True)
            .where(incident.c.id == incident_id).order_by(timeline.c.n)
        )  # fmt: skip
        with self.connect() as c:  # one statement: who writes meanwhile is seen in both or in neither
            found = [dict(row) for row in c.execute(query).mappings()]
        if not found:
            self.incident(incident_id)  # says that there is none
        heads = [(row.pop("head_n"), row.pop("head_hash")) for row in found]
        return [_event(row) for row in found if row["n"] is not None], *heads[0]

    def grant(self, name: str, key: str, *, at: str, since: str, most: int) -> bool:
        """Whether ``key`` has one of the grants given since then, or gets one: ``most`` of them in all."""
        with self.begin() as c:
            self._in_turn(c, name)
            given = json.loads(c.scalar(sa.select(setting.c.value).where(setting.c.name == name)) or "{}")
            given = {one: when_given for one, when_given in given.items() if when_given >= since}
            if key not in given:
                if len(given) >= most:
                    return False
                given[key] = at
                replace(c, setting, "name", {"name": name, "value": canonical(given)})
            return True

    # decisions -------------------------------------------------------------------------------------------------

    def add_decision(self, row: dict[str, Any], void: int = 0) -> tuple[int, bool]:
        """Land a decision: its number, and False when the same one already stands.

        ``void``: the number of one that does not count (its signature does not hold) and gives way; it is kept.
        """
        same = [decision.c[name] == row[name] for name in ("incident", "step", "kind", "by", "plan_hash")]
        with self.begin() as c:
            self._in_turn(c, "decide")  # a number that is drawn first is also seen first: who reads on misses none
            found = c.execute(sa.select(decision.c.seq).where(*same)).scalar()
            if found is not None and found != void:
                return int(found), False
            if found is not None:
                c.execute(sa.update(decision).where(decision.c.seq == void).values(kind=f"void:{void}:{row['kind']}"))
            result = c.execute(sa.insert(decision).values(**{**row, "body": canonical(row["body"])}))
            return int(result.inserted_primary_key[0]), True  # type: ignore[index]

    def sign_again(self, connection: sa.Connection, seq: int, body: dict[str, Any]) -> None:
        """Write a decision's body with another signature under it. Nobody decides until the transaction has ended."""
        self._in_turn(connection, "decide")
        connection.execute(sa.update(decision).where(decision.c.seq == seq).values(body=canonical(body)))

    def decisions(self, incident_id: str = "", after_seq: int = 0, kind: str = "") -> list[DecisionRow]:
        """Decisions in the order in which they were landed."""
        query = sa.select(decision).where(decision.c.seq > after_seq).order_by(decision.c.seq)
        if incident_id:
            query = query.where(decision.c.incident == incident_id)
        if kind:
            query = query.where(decision.c.kind == kind)
        with self.connect() as c:
            return [DecisionRow(**{**row, "body": json.loads(row["body"])}) for row in c.execute(query).mappings()]

    # inbox -----------------------------------------------------------------------------------------------------

    def land(self, connection: sa.Connection, row: dict[str, Any]) -> bool:
        """Land a delivery; False when it already is here."""
        return insert_once(
            connection, inbox, {"rank": 0, "state": "landed", "note": "", **row, "body": canonical(row["body"])}
        )

    def inbox(self, state: str = "", inbox_id: str = "") -> list[dict[str, Any]]:
        """Deliveries by time of landing; ``body`` decoded."""
        query = sa.select(inbox).order_by(inbox.c.landed_at)
        if state:
            query = query.where(inbox.c.state == state)
        if inbox_id:
            query = query.where(inbox.c.id == inbox_id)
        with self.connect() as c:
            return [{**row, "body": json.loads(row["body"])} for row in c.execute(query).mappings()]

    def set_inbox(self, connection: sa.Connection, inbox_id: str, state: str, note: str) -> None:
        """Worked or dead, and what became of it."""
        connection.execute(sa.update(inbox).where(inbox.c.id == inbox_id).values(state=state, note=note))

    # evidence --------------------------------------------------------------------------------------------------

    def add_evidence(self, row: dict[str, Any]) -> None:
        """One line of the manifest; the same file again is the same line."""
        with self.begin() as c:
            insert_once(c, evidence, row)

    def evidence(self, incident_id: str) -> list[dict[str, Any]]:
        """The manifest of one incident."""
        with self.connect() as c:
            query = sa.select(evidence).where(evidence.c.incident == incident_id).order_by(evidence.c.at)
            return [dict(row) for row in c.execute(query).mappings()]

    # settings --------------------------------------------------------------------------------------------------

    def setting(self, name: str, default: str = "") -> str:
        """A stored setting: the vault key's check value, a brake, a mode."""
        with self.connect() as c:
            return c.execute(sa.select(setting.c.value).where(setting.c.name == name)).scalar() or default

    def database_id(self) -> str:
        """What tells this database from every other; what is signed for one is worth nothing in another."""
        return self.setting_once("database:id", secrets.token_hex(16))

    def setting_once(self, name: str, value: str) -> str:
        """Store one unless it stands; returns what stands."""
        with self.begin() as c:
            insert_once(c, setting, {"name": name, "value": value})
            return str(c.scalar(sa.select(setting.c.value).where(setting.c.name == name)))

    def settings(self, prefix: str) -> dict[str, str]:
        """All that begin so."""
        query = sa.select(setting.c.name, setting.c.value).where(setting.c.name.startswith(prefix, autoescape=True))
        with self.connect() as c:
            return {row.name: row.value for row in c.execute(query)}

    def take_setting(self, name: str) -> str:
        """One that is forgotten with this: of many who take it at once, one gets it and the others get ""."""
        with self.begin() as c:
            return c.scalar(sa.delete(setting).where(setting.c.name == name).returning(setting.c.value)) or ""

    def set_setting(self, name: str, value: str) -> None:
        """Store one."""
        self.set_settings({name: value})

    def set_settings(self, values: dict[str, str]) -> None:
        """Store some together."""
        with self.begin() as c:
            for name in sorted(values):
                replace(c, setting, "name", {"name": name, "value": values[name]})

    def now(self) -> datetime:
        """The time by the database's clock; SQLite has none but the machine's."""
        if self.sqlite:
            return datetime.now(UTC)
        with self.connect() as c:
            told: datetime = c.execute(sa.text("SELECT clock_timestamp()")).scalar_one()
        return told.astimezone(UTC)


def in_schema(url: str, schema: str) -> str:
    """The same PostgreSQL database, with our tables in a schema of their own."""
    return sa.make_url(url).update_query_dict({"options": f"{SEARCH}{schema}"}).render_as_string(hide_password=False)


def schema_of(url: str) -> str:
    """The schema that ``in_schema`` has put into a URL, or ""."""
    options = sa.make_url(url).query.get("options", "")
    return options.removeprefix(SEARCH) if isinstance(options, str) and options.startswith(SEARCH) else ""


def insert_once(connection: sa.Connection, table: sa.Table, row: dict[str, Any]) -> bool:
    """Insert a row; False when one with its key is there, also one that another process is inserting just now."""
    stated = _insert(connection)(table).values(**row).on_conflict_do_nothing().returning(sa.literal(1))
    return connection.execute(stated).first() is not None


def replace(connection: sa.Connection, table: sa.Table, key: str, row: dict[str, Any]) -> None:
    """Insert a row, or write it over the one that has its key.

    Not by ``ON CONFLICT (key) DO UPDATE``: of two that come at the same moment one may meet the table's other unique
    constraint first, and that raises, since only the conflict target is watched (PostgreSQL, INSERT).
    """
    if insert_once(connection, table, row):
        return
    if not connection.execute(sa.update(table).where(table.c[key] == row[key]).values(**row)).rowcount:
        connection.execute(sa.insert(table).values(**row))  # gone in between; or a row of another key is in the way


def _insert(connection: sa.Connection) -> Any:
    return sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert


def _lock(function: str) -> sa.TextClause:
    """Take an advisory lock of PostgreSQL. A schema has its own: a drill never waits for the real installation."""
    return sa.text(f"SELECT {function}(hashtextextended(current_schema() || ' bulkhead ' || :name, 0))")


def _version(connection: sa.Connection) -> str | None:
    there = sa.inspect(connection).has_table("alembic_version")
    return connection.scalar(sa.text("SELECT version_num FROM alembic_version")) if there else None


def _event(row: Any) -> dict[str, Any]:
    return {**row, "body": None if row["body"] is None else json.loads(row["body"])}


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
            raise EngineError(
                f"another bulkhead worker runs on {folder}; stop it, or use PostgreSQL for more than one"
            ) from None
        yield
    finally:
        os.close(handle)

"""Sealed secrets: a table of the store, each value under AES-256-GCM with its reference as associated data.

A value stays until its ledger row closes or its maximum age passes, then the row keeps its fingerprint only.
The master key comes from the settings or from a file beside the database (mode 0600); HKDF (RFC 5869) draws the
sealing key, the fingerprint key and the one that attests decisions from it. A check value in the database tells a
wrong key at start.

``rotate`` seals everything anew under another master key in one transaction. Fingerprints stand in hash-chained
timelines and tell whether two reports are of one secret, so their key must not change: from the first rotation on it is
kept, sealed under the master key of the day.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import os
import secrets
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import sqlalchemy as sa
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from bot.errors import SettingsError, VaultError
from bot.model import Secret
from bot.redact import Fingerprinter, Scrubber
from bot.store import Store, iso, replace
from bot.tables import setting, vault
from bot.world import Clock

NONCE = 12
CHECK, ROTATED = "vault-check", "vault-rotated"  # settings: what tells a wrong key; when the key was changed last
SINCE = "vault-since"  # setting: when the first key was first seen here
FINGERPRINTS = "vault-fingerprints"  # setting: the key of fingerprints, sealed, once the master key was changed
KEY_FILE = "vault.key"  # in the installation's folder
NEW = ".new"  # behind the name of the key's file, while a rotation is under way


def load_key(text: str, path: Path, check: str = "") -> bytes:
    """The master key: 32 bytes as base64 from the settings, or from the file, which is made on first use.

    ``check``: the database's check value. A rotation that was killed when the database was done has left the new key
    beside the file; it is put in its place. Raises SettingsError when a key has another length.
    """
    if not text:
        new = path.with_name(path.name + NEW)
        if check and new.is_file() and hmac.compare_digest(check_value(_decoded(new.read_text())), check):
            put_in_place(new, path)
        if not path.exists():
            _make_key(path)
        text = path.read_text()
    return _decoded(text)


def _make_key(path: Path) -> None:
    """A new key in a file for its owner alone, whole and on disk when it has its name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    made = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    handle = os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(base64.b64encode(secrets.token_bytes(32)))
        file.flush()
        os.fsync(file.fileno())
    with contextlib.suppress(FileExistsError):  # another process was quicker: its key is the one
        path.hardlink_to(made)
    made.unlink()
    _sync(path.parent)


def put_in_place(new: Path, path: Path) -> None:
    """Give a key's file its name, which is on disk then."""
    new.replace(path)
    _sync(path.parent)


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _decoded(text: str) -> bytes:
    try:
        key = base64.b64decode(text.strip(), validate=True)
    except ValueError:
        key = b""
    if len(key) != 32:
        raise SettingsError("the vault key must be 32 bytes as base64: make one with `openssl rand -base64 32`")
    return key


def _derive(master: bytes, purpose: bytes) -> bytes:
    return HKDF(algorithm=hashes.SHA256(), length=32, salt=None, info=b"bulkhead " + purpose).derive(master)


def decisions_key(master: bytes) -> bytes:
    """The key that attests what was decided in Slack (bot.signing)."""
    return _derive(master, b"decisions")


def check_value(master: bytes) -> str:
    """What stands in the database to tell a wrong master key; it says nothing else of the key."""
    return hmac.new(_derive(master, b"check"), b"bulkhead", hashlib.sha256).hexdigest()


class Vault:
    """All sealed values. ``of(incident)`` gives the part that one incident may touch."""

    def __init__(self, store: Store, master: bytes) -> None:
        self._store = store
        self._cipher = AESGCM(_derive(master, b"seal"))
        self.decisions_key = decisions_key(master)
        self._check = check_value(master)
        if not store.setting(CHECK):
            store.setting_once(CHECK, self._check)
        if not store.setting(SINCE):
            store.setting_once(SINCE, iso(datetime.now(UTC)))
        self.still()
        self.fingerprinter = Fingerprinter(_fingerprints(master, store.setting(FINGERPRINTS)))
        self.scrubber = Scrubber(self.fingerprinter)  # knows every value that has passed through here

    def still(self) -> None:
        """Raises VaultError when this key is not, or is no longer, the one of the database."""
        with self._store.connect() as c:
            self._same(c)

    def _same(self, connection: sa.Connection) -> None:
        """In a transaction: nobody rotates until it has ended."""
        held = sa.select(setting.c.value).where(setting.c.name == CHECK).with_for_update(read=True)
        if hmac.compare_digest(str(connection.scalar(held)), self._check):
            return
        rotated = connection.scalar(sa.select(setting.c.value).where(setting.c.name == ROTATED))
        was = f" It was rotated at {rotated[:16]}Z: take the key of then, and start again." if rotated else ""
        raise VaultError(
            f"the vault key is not the one this database was sealed with; restore it, nothing was changed.{was}"
        )

    def fingerprint(self, value: str) -> str:
        """Keyed HMAC-SHA256 of a value, short."""
        return self.fingerprinter.of(value)

    def seal(self, connection: sa.Connection, owner: str, label: str, value: str, credential: str, at: datetime) -> str:
        """Seal inside the caller's transaction; the same owner and label again is replaced. Returns the reference."""
        self._same(connection)
        ref = f"vault:{owner}:{label}"
        self.scrubber.add(self.fingerprinter.secret(value))
        row = {
            "ref": ref, "owner": owner, "label": label, "credential": credential,
            "sealed": _seal(self._cipher, value.encode(), ref),
            "fingerprint": self.fingerprint(value), "sealed_at": iso(at), "wiped_at": None,
        }  # fmt: skip
        replace(connection, vault, "ref", row)
        return ref

    def open(self, ref: str) -> Secret | None:
        """The value, or None when never held or wiped. Raises VaultError when it does not open."""
        with self._store.connect() as c:
            sealed = c.execute(sa.select(vault.c.sealed).where(vault.c.ref == ref)).scalar()
        if sealed is None:
            return None
        try:
            value = _opened(self._cipher, sealed, ref).decode()
        except VaultError:
            self.still()  # says so when it is the key that has changed
            raise
        secret = self.fingerprinter.secret(value)
        self.scrubber.add(secret)
        return secret

    def value(self, owner: str, credential: str) -> Secret | None:
        """The value of a credential (``Credential.key``) that an owner holds, or None."""
        query = sa.select(vault.c.ref).where(
            vault.c.owner == owner, vault.c.credential == credential, vault.c.sealed.is_not(None)
        )
        with self._store.connect() as c:
            ref = c.execute(query.order_by(vault.c.sealed_at.desc())).scalar()
        return self.open(str(ref)) if ref else None

    def held(self, owner: str) -> list[Secret]:
        """Every value that an owner still holds, to scrub by value."""
        with self._store.connect() as c:
            refs = (
                c.execute(sa.select(vault.c.ref).where(vault.c.owner == owner, vault.c.sealed.is_not(None)))
                .scalars()
                .all()
            )
        return [secret for ref in refs if (secret := self.open(ref)) is not None]

    def wipe(self, *, ref: str = "", owner: str = "", at: datetime) -> int:
        """Forget one value, or all of an owner; returns how many were held."""
        which = (vault.c.ref == ref if ref else vault.c.owner == owner) & vault.c.sealed.is_not(None)
        with self._store.connect() as c:
            if c.scalar(sa.select(sa.func.count()).where(which)) == 0:
                return 0  # nothing to write, so nobody who writes has to wait
        with self._store.begin() as c:
            return self._wipe(c, which, at)

    def forget(self, connection: sa.Connection, owner: str, at: datetime) -> int:
        """Forget all of an owner in somebody's transaction, with what makes it needless."""
        return self._wipe(connection, (vault.c.owner == owner) & vault.c.sealed.is_not(None), at)

    @staticmethod
    def _wipe(connection: sa.Connection, which: sa.ColumnElement[bool], at: datetime) -> int:
        done = connection.execute(sa.update(vault).where(which).values(sealed=None, wiped_at=iso(at)))
        return int(done.rowcount)

    def wipe_older(self, now: datetime, maximum: timedelta) -> int:
        """Forget what is older than its maximum age."""
        with self._store.begin() as c:
            old = vault.c.sealed_at < iso(now - maximum)
            done = c.execute(
                sa.update(vault).where(old, vault.c.sealed.is_not(None)).values(sealed=None, wiped_at=iso(now))
            )
        return int(done.rowcount)

    def of(self, owner: str, clock: Clock) -> IncidentSecrets:
        """The part of one incident: what its World holds."""
        return IncidentSecrets(self, self._store, owner, clock)


class IncidentSecrets:
    """``bot.world.Secrets`` over the vault."""

    def __init__(self, vault_: Vault, store: Store, owner: str, clock: Clock) -> None:
        self._vault, self._store, self._owner, self._clock = vault_, store, owner, clock

    def _now(self) -> datetime:
        return self._clock.now()

    def seal(self, label: str, value: str, credential: str = "") -> str:
        with self._store.begin() as c:
            return self._vault.seal(c, self._owner, label, value, credential, self._now())

    def open(self, ref: str) -> Secret | None:
        return self._vault.open(ref) if ref.startswith(f"vault:{self._owner}:") else None

    def fingerprint(self, value: str) -> str:
        return self._vault.fingerprint(value)

    def ref(self, label: str) -> str:
        return self._find(vault.c.label == label)

    def of(self, credential_key: str) -> Secret | None:
        found = self._find(vault.c.credential == credential_key)
        return self.open(found) if found else None

    def wipe(self, ref: str) -> None:
        if ref.startswith(f"vault:{self._owner}:"):
            self._vault.wipe(ref=ref, at=self._now())

    def _find(self, which: sa.ColumnElement[bool]) -> str:
        query = sa.select(vault.c.ref).where(vault.c.owner == self._owner, which, vault.c.sealed.is_not(None))
        with self._store.connect() as c:
            return str(c.execute(query.order_by(vault.c.sealed_at.desc())).scalar() or "")


def rotate(
    store: Store, old: bytes, new: bytes, at: datetime, also: Callable[[sa.Connection], None] = lambda _c: None
) -> int:
    """Seal everything anew under the new master key, in one transaction; returns how many values that were.

    ``also`` happens in the same transaction. Whoever has the old key is refused from then on. Raises VaultError, with
    nothing changed, when the old key is not the database's or a value does not open.
    """
    was, will = AESGCM(_derive(old, b"seal")), AESGCM(_derive(new, b"seal"))
    with store.begin() as c:
        mine = (setting.c.name == CHECK) & (setting.c.value == check_value(old))
        if c.execute(sa.update(setting).where(mine).values(value=check_value(new))).rowcount != 1:
            raise VaultError("the vault key is not the one this database was sealed with; nothing was changed")
        held = c.execute(sa.select(vault.c.ref, vault.c.sealed).where(vault.c.sealed.is_not(None))).all()
        for ref, sealed in held:
            anew = _seal(will, _opened(was, sealed, ref), ref)
            c.execute(sa.update(vault).where(vault.c.ref == ref).values(sealed=anew))
        stands = c.scalar(sa.select(setting.c.value).where(setting.c.name == FINGERPRINTS)) or ""
        kept = _seal(AESGCM(_derive(new, b"fingerprints")), _fingerprints(old, stands), FINGERPRINTS)
        replace(c, setting, "name", {"name": FINGERPRINTS, "value": base64.b64encode(kept).decode()})
        replace(c, setting, "name", {"name": ROTATED, "value": iso(at)})
        also(c)
    return len(held)


def _fingerprints(master: bytes, kept: str) -> bytes:
    """The key of fingerprints: drawn from the first master key, and kept under each later one."""
    if not kept:
        return _derive(master, b"fingerprint")
    return _opened(AESGCM(_derive(master, b"fingerprints")), base64.b64decode(kept), FINGERPRINTS)


def _seal(cipher: AESGCM, value: bytes, ref: str) -> bytes:
    nonce = os.urandom(NONCE)
    return nonce + cipher.encrypt(nonce, value, ref.encode())


def _opened(cipher: AESGCM, sealed: bytes, ref: str) -> bytes:
    try:
        return cipher.decrypt(sealed[:NONCE], sealed[NONCE:], ref.encode())
    except InvalidTag:
        raise VaultError(f"{ref} does not open: it was sealed with another key or has been changed") from None

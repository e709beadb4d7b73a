"""Sealed secrets: a table of the store, each value under AES-256-GCM with its reference as associated data.

A value stays until its ledger row closes or its maximum age passes, then the row keeps its fingerprint only.
The master key comes from the settings or from a file beside the database (mode 0600); HKDF (RFC 5869) draws the
sealing key, the fingerprint key and the one that attests decisions from it. A check value in the database tells a
wrong key at start.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import secrets
from datetime import datetime, timedelta
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
from bot.tables import vault
from bot.world import Clock

NONCE = 12


def load_key(text: str, path: Path) -> bytes:
    """The master key: 32 bytes as base64 from the settings, or from the file, which is made on first use.

    Raises SettingsError when it has another length.
    """
    if not text:
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(handle, "wb") as file:
                file.write(base64.b64encode(secrets.token_bytes(32)))
        text = path.read_text()
    try:
        key = base64.b64decode(text.strip(), validate=True)
    except ValueError:
        key = b""
    if len(key) != 32:
        raise SettingsError("the vault key must be 32 bytes as base64: make one with `openssl rand -base64 32`")
    return key


def _derive(master: bytes, purpose: bytes) -> bytes:
    return HKDF(algorithm=hashes.SHA256(), length=32, salt=None, info=b"bulkhead " + purpose).derive(master)


def check_value(master: bytes) -> str:
    """What stands in the database to tell a wrong master key; it says nothing else of the key."""
    return hmac.new(_derive(master, b"check"), b"bulkhead", hashlib.sha256).hexdigest()


class Vault:
    """All sealed values. ``of(incident)`` gives the part that one incident may touch."""

    def __init__(self, store: Store, master: bytes) -> None:
        self._store = store
        self._cipher = AESGCM(_derive(master, b"seal"))
        self.decisions_key = _derive(master, b"decisions")  # attests what was decided in Slack (bot.signing)
        self.fingerprinter = Fingerprinter(_derive(master, b"fingerprint"))
        self.scrubber = Scrubber(self.fingerprinter)  # knows every value that has passed through here
        check = check_value(master)
        stands = store.setting("vault-check")
        if stands and not hmac.compare_digest(stands, check):
            raise VaultError(
                "the vault key is not the one this database was sealed with; restore it, nothing was changed"
            )
        if not stands:
            store.set_setting("vault-check", check)

    def fingerprint(self, value: str) -> str:
        """Keyed HMAC-SHA256 of a value, short."""
        return self.fingerprinter.of(value)

    def seal(self, connection: sa.Connection, owner: str, label: str, value: str, credential: str, at: datetime) -> str:
        """Seal inside the caller's transaction; the same owner and label again is replaced. Returns the reference."""
        ref = f"vault:{owner}:{label}"
        self.scrubber.add(self.fingerprinter.secret(value))
        nonce = os.urandom(NONCE)
        sealed = nonce + self._cipher.encrypt(nonce, value.encode(), ref.encode())
        row = {
            "ref": ref, "owner": owner, "label": label, "credential": credential, "sealed": sealed,
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
            value = self._cipher.decrypt(sealed[:NONCE], sealed[NONCE:], ref.encode()).decode()
        except InvalidTag:
            raise VaultError(f"{ref} does not open: it was sealed with another key or has been changed") from None
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

"""Decisions signed with an SSH key: what is signed, and whether a signature holds.

The statement names the incident, step, kind, plan, person, time and database, so that a signature is worth nothing
for another plan, another person or another installation. ``ssh-keygen -Y`` (OpenSSH 8.2 and newer) signs and
verifies: man.openbsd.org/ssh-keygen, and PROTOCOL.sshsig of OpenSSH for the format. Who may sign as whom is said by
a file in its ``allowed_signers`` format, which also knows expiry and revocation.

Who decides in Slack has no key. Slack itself says who clicked and which groups they are in, and the process that heard
it puts that under the same statement with a key drawn from the vault's (``Attestor``). So the worker can tell, later
and without asking Slack, that nobody has written the row who can only write to the database.
"""

from __future__ import annotations

import hashlib
import hmac
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from bot.errors import InputError
from bot.store import DecisionRow, canonical

NAMESPACE = "bulkhead"
SIGNATURE = "signature"  # its place in a decision's body
GROUPS = "groups"  # in the same place: the Slack groups that its person was in, asked when they clicked
PLAYED = "drill:"  # so begin the names of simulated people, for whom the process that plays the drill vouches
WORLD = "world"  # in the body of their decisions: of which World the incident is
SLACK = "slack:"  # so begin the names of people whom Slack vouches for
KEYED = "hmac-sha256:"
KEYGEN = "ssh-keygen"
_BEGIN = "-----BEGIN SSH SIGNATURE-----"
_MOST = 20_000  # characters; an RSA signature has less than a tenth
_PATIENCE_S = 120.0  # a person may have to type a passphrase or touch a key


def statement(database: str, row: Mapping[str, Any]) -> bytes:
    """What is signed. ``row``: a decision's columns; its signature is not part of what it signs."""
    names = ("incident", "step", "kind", "plan_hash", "by", "at")
    body = {name: value for name, value in row["body"].items() if name != SIGNATURE}
    said = {name: row[name] for name in names} | {"body": body, "database": database, "version": 1}
    return canonical(said).encode()


def sign(said: bytes, key: Path) -> str:
    """The signature of a statement. ``key``: a private key, or a public one whose private half an agent holds.

    Raises InputError with what ssh-keygen says.
    """
    done = _keygen("sign", "-f", str(key), "-n", NAMESPACE, said=said)
    if done.returncode:
        lines = done.stderr.decode(errors="replace").strip().splitlines() or ["no reason given"]
        raise InputError(f"{key} signed nothing: {lines[-1][:200]}")
    return done.stdout.decode()


class Signers:
    """The people who may sign, from a file that is read anew each time: a revoked key ends there at once."""

    def __init__(self, file: Path, database: str) -> None:
        self.file, self.database = file, database

    def __call__(self, row: DecisionRow) -> str:
        """Why this decision's signature does not hold, as a sentence; empty when it does."""
        signature = row.body.get(SIGNATURE, "")
        if not signature:
            return f"decisions must be signed here: {row.by} can add --sign KEYFILE"
        armoured = isinstance(signature, str) and signature.startswith(_BEGIN) and len(signature) <= _MOST
        if not armoured or "\0" in row.by:
            return "what stands there as a signature is none"
        columns = {name: getattr(row, name) for name in ("incident", "step", "kind", "plan_hash", "by", "at", "body")}
        with tempfile.NamedTemporaryFile("w", suffix=".sig", encoding="utf-8") as file:
            file.write(signature)
            file.flush()
            args = ("-f", str(self.file), "-I", row.by, "-n", NAMESPACE, "-s", file.name)
            done = _keygen("verify", *args, said=statement(self.database, columns))
        if done.returncode:
            return f"the signature is not one of {row.by} under exactly this decision, by the list {self.file.name}"
        return ""


def is_slack(person: str) -> bool:
    """Whether Slack vouches for this name."""
    return person.startswith(SLACK)


def is_played(person: str) -> bool:
    """Whether a drill plays this person."""
    return person.startswith(PLAYED)


class Attestor:
    """Puts what Slack, or a drill, has said under a key of this installation, and tells whether it stands unchanged."""

    def __init__(self, key: bytes, database: str, still: Callable[[], None] = lambda: None) -> None:
        """``still`` raises when the key is no longer the installation's: what it signs would count nowhere."""
        self._key, self.database, self._still = key, database, still

    def sign(self, said: bytes) -> str:
        """The signature of a statement."""
        self._still()
        return self._mac(said)

    def _mac(self, said: bytes) -> str:
        return KEYED + hmac.new(self._key, said, hashlib.sha256).hexdigest()

    def __call__(self, row: DecisionRow) -> str:
        """Why this decision is not what was heard here, as a sentence; empty when it is."""
        signature = row.body.get(SIGNATURE, "")
        columns = {name: getattr(row, name) for name in ("incident", "step", "kind", "plan_hash", "by", "at", "body")}
        good = self._mac(statement(self.database, columns))
        if not isinstance(signature, str) or not hmac.compare_digest(signature.encode(), good.encode()):
            self._still()  # with a key that is not the installation's any more, nothing can be told
            return f"nobody here has heard {row.by} say this{' in Slack' if is_slack(row.by) else ''}"
        return ""


def by_name(slack: Attestor, others: Callable[[DecisionRow], str]) -> Callable[[DecisionRow], str]:
    """Slack's people are held to what Slack has said, or to an SSH key of theirs; a drill's to what the drill has
    said; all others to ``others``.
    """

    def attest(row: DecisionRow) -> str:
        if is_played(row.by):
            return slack(row)
        if not is_slack(row.by):
            return others(row)
        armoured = str(row.body.get(SIGNATURE, "")).startswith(_BEGIN)
        return others(row) if armoured and isinstance(others, Signers) else slack(row)

    return attest


def _keygen(verb: str, *args: str, said: bytes) -> subprocess.CompletedProcess[bytes]:
    try:
        command = [KEYGEN, "-Y", verb, *args]
        return subprocess.run(command, input=said, capture_output=True, timeout=_PATIENCE_S, check=False)
    except FileNotFoundError:
        raise InputError("signing needs ssh-keygen, which this machine does not have (OpenSSH 8.2 or newer)") from None
    except subprocess.TimeoutExpired:
        raise InputError(f"ssh-keygen did not end within {_PATIENCE_S:.0f} s") from None

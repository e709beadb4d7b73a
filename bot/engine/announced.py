"""Notes of what changed in policy: signed, told where people read, and held against the policy that is in force.

A note is a decision of the installation, like a freeze: person, reason, signature. Its body has the digests of both
policies and every change in words; their texts are kept under their digests. Where decisions are signed by people's SSH
keys a note is too; elsewhere it is put under the key that attests what was heard in Slack (``bot.signing``), so who can
only write to the database forges none.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from bot.engine.compared import Change, compare
from bot.engine.decisions import Desk, Sign
from bot.engine.freeze import INSTALLATION
from bot.engine.policy import Policy
from bot.errors import InputError
from bot.signing import KEYED, SIGNATURE, Attestor
from bot.store import DecisionRow, Store

POLICY = "policy"  # the kind of the decision
TEXT = "policy-text:"  # the settings in which the texts are kept, by their SHA-256


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """One note. ``wrong``: why it is not what its person has signed, "" when it is."""

    seq: int
    by: str
    at: str
    reason: str
    was: str  # SHA-256 of a policy's text
    now: str
    changes: tuple[Change, ...]
    wrong: str = ""


class Notes:
    """The notes of an installation. ``signers``: the people whose SSH keys sign, None where no list is set."""

    def __init__(
        self, store: Store, desk: Desk, attestor: Attestor, signers: Callable[[DecisionRow], str] | None = None
    ) -> None:
        self._store, self._desk, self._attestor, self._signers = store, desk, attestor, signers

    def all(self, after: int = 0) -> list[Note]:
        """Every note past that number, oldest first."""
        return [self._note(row) for row in self._store.decisions(INSTALLATION, after_seq=after, kind=POLICY)]

    def newest(self) -> Note | None:
        """The newest note, whether it holds or not."""
        rows = self._store.decisions(INSTALLATION, kind=POLICY)
        return self._note(rows[-1]) if rows else None

    def unlike(self, note: Note | None, in_force: Policy) -> str:
        """Why the policy in force is not the one of the newest note; "" when it decides the same, or none ever was."""
        if note is None or (note.now == in_force.sha256 and not note.wrong):
            return ""
        if note.wrong:
            return f"note {note.seq} does not hold: {note.wrong}"
        text = self.text(note.now)  # a file that is only written otherwise is nothing that anybody has to be told
        if text and not compare(Policy.load(text), in_force):
            return ""
        return f"note {note.seq} announced {note.now[:12]}…, in force is {in_force.sha256[:12]}…"

    def text(self, sha256: str) -> str:
        """The text of a policy that was announced; "" when it is not kept, or is not what it was."""
        text = self._store.setting(TEXT + sha256)
        return text if hashlib.sha256(text.encode()).hexdigest() == sha256 else ""

    def announce(
        self, was: str, now: str, changes: list[Change], *, by: str, at: datetime, reason: str, sign: Sign | None = None
    ) -> Note:  # fmt: skip
        """Sign a note and land it. ``was``, ``now``: the texts of the policies. Raises DecisionRefused, InputError."""
        if not changes:
            raise InputError("these two policies decide the same in every case, so there is nothing to announce")
        digests = []
        for text in (was, now):
            digests.append(hashlib.sha256(text.encode()).hexdigest())
            self._store.set_setting(TEXT + digests[-1], text)  # written anew where somebody has changed it
        said = {"was": digests[0], "now": digests[1], "changes": [one.as_json() for one in changes]}
        rows = self._store.decisions(INSTALLATION, kind=POLICY)
        last = rows[-1].seq if rows else 0  # going back and forth between two policies is news each time
        self._desk.order(
            incident=INSTALLATION, step=INSTALLATION, kind=POLICY, by=by, at=at, reason=reason, said=said,
            plan=f"{last}:{digests[1][:16]}", sign=sign or self._attestor.sign,
        )  # fmt: skip
        (row,) = self._store.decisions(INSTALLATION, after_seq=last, kind=POLICY)[-1:]
        return self._note(row)

    def _note(self, row: DecisionRow) -> Note:
        body, wrong = row.body, self._wrong(row)
        changes = () if wrong else tuple(Change(**one) for one in body["changes"])
        was, now = str(body.get("was", "")), str(body.get("now", ""))
        if not wrong and self._store.setting(TEXT + now) and not self.text(now):
            wrong = "the text that is kept of its policy was changed"
        return Note(seq=row.seq, by=row.by, at=row.at, reason=str(body.get("reason", "")), was=was, now=now,
                    changes=changes, wrong=wrong)  # fmt: skip

    def _wrong(self, row: DecisionRow) -> str:
        signature = str(row.body.get(SIGNATURE, ""))
        if not signature:
            return "nobody has signed it"
        if signature.startswith(KEYED):
            return "it is not what was signed here" if self._attestor(row) else ""
        return self._signers(row) if self._signers else "it is not signed by the key of this installation"

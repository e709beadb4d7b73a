"""Signatures of decisions, made and checked by the real ssh-keygen."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bot.errors import InputError
from bot.signing import GROUPS, SIGNATURE, Attestor, Signers, by_name, sign, statement
from bot.store import DecisionRow
from tests.keys import Ring, needs_keygen

pytestmark = needs_keygen
DATABASE = "ab" * 16
DECISION: dict[str, Any] = {
    "incident": "inc-1", "step": "out", "kind": "approve", "plan_hash": "0123456789abcdef", "by": "ann",
    "at": "2026-01-02T03:04:05.000000Z", "body": {},
}  # fmt: skip


@pytest.fixture
def ring(tmp_path: Path) -> Ring:
    return Ring(tmp_path / "keys")


def signed(key: Path, database: str = DATABASE, **changed: Any) -> DecisionRow:
    """A decision, signed as it stands."""
    columns = DECISION | changed
    signature = sign(statement(database, columns), key)
    return DecisionRow(seq=1, **columns | {"body": columns["body"] | {SIGNATURE: signature}})


def test_a_signature_of_a_listed_key_holds(ring: Ring) -> None:
    row = signed(ring.key("ann"), body={"reason": "alone at night"})
    assert Signers(ring.signers, DATABASE)(row) == ""


@pytest.mark.parametrize(
    "change",
    [
        {"incident": "inc-2"}, {"step": "other"}, {"kind": "deny"}, {"plan_hash": "f" * 16}, {"by": "ben"},
        {"at": "2026-01-02T03:04:06.000000Z"},
    ],
    ids=lambda change: next(iter(change)),
)  # fmt: skip
def test_a_signature_is_worth_nothing_for_anything_else(ring: Ring, change: dict[str, str]) -> None:
    attest = Signers(ring.signers, DATABASE)
    ring.key("ben")
    assert "not one of" in attest(replace(signed(ring.key("ann")), **change))


def test_what_was_said_is_signed_too(ring: Ring) -> None:
    row = signed(ring.key("ann"), kind="answer", body={"text": "no"})
    altered = replace(row, body=row.body | {"text": "yes"})
    more = replace(row, body=row.body | {"more": "yes"})
    assert [bool(Signers(ring.signers, DATABASE)(one)) for one in (row, altered, more)] == [False, True, True]


def test_another_database_another_key_another_person_or_none_do_not_hold(ring: Ring) -> None:
    ann, ben, stranger = ring.key("ann"), ring.key("ben"), ring.key("ann", listed=False)
    attest = Signers(ring.signers, DATABASE)
    assert "not one of ann" in attest(signed(ann, database="cd" * 16))
    assert "not one of ann" in attest(signed(ben))
    assert "not one of ann" in attest(signed(stranger))
    assert "must be signed" in attest(DecisionRow(seq=1, **DECISION))
    for wrong in ("x", 7, "-----BEGIN SSH SIGNATURE-----\n" + "A" * 30_000, "-----BEGIN SSH SIGNATURE-----\nAA=="):
        assert attest(DecisionRow(seq=1, **DECISION | {"body": {SIGNATURE: wrong}}))


def test_a_key_ends_with_its_line_or_its_time_in_the_list(ring: Ring) -> None:
    attest = Signers(ring.signers, DATABASE)
    row = signed(ring.key("ann"))
    late = signed(ring.key("ben", options='valid-before="20200101"'), by="ben")
    assert attest(row) == ""
    assert "not one of ben" in attest(late)
    ring.signers.write_text("")
    assert "not one of ann" in attest(row)


def test_a_signature_made_for_something_else_than_bulkhead_does_not_hold(ring: Ring) -> None:
    key = ring.key("ann", options='namespaces="git"')
    assert "not one of ann" in Signers(ring.signers, DATABASE)(signed(key))


def test_a_key_that_is_not_there_signs_nothing(ring: Ring) -> None:
    with pytest.raises(InputError, match="signed nothing"):
        sign(b"x", ring.folder / "none")


# what Slack vouches for ----------------------------------------------------------------------------------------------


def heard(attestor: Attestor, **changed: Any) -> DecisionRow:
    """A decision that was heard in Slack."""
    columns = DECISION | {"by": "slack:U1", "body": {GROUPS: ["S1"]}} | changed
    signature = attestor.sign(statement(DATABASE, columns))
    return DecisionRow(seq=1, **columns | {"body": columns["body"] | {SIGNATURE: signature}})


def test_what_was_heard_in_slack_holds_under_the_key_of_this_installation_and_no_other() -> None:
    attestor = Attestor(b"k" * 32, DATABASE)
    row = heard(attestor)
    assert attestor(row) == ""
    assert "nobody here has heard slack:U1" in Attestor(b"x" * 32, DATABASE)(row)
    assert "nobody here has heard" in Attestor(b"k" * 32, "cd" * 16)(row)


@pytest.mark.parametrize(
    "change",
    [
        {"incident": "inc-2"}, {"step": "other"}, {"kind": "deny"}, {"plan_hash": "f" * 16}, {"by": "slack:U2"},
        {"at": "2026-01-02T03:04:06.000000Z"},
    ],
    ids=lambda change: next(iter(change)),
)  # fmt: skip
def test_what_was_heard_is_worth_nothing_for_anything_else(change: dict[str, str]) -> None:
    attestor = Attestor(b"k" * 32, DATABASE)
    assert attestor(replace(heard(attestor), **change))


def test_nobody_joins_a_group_by_writing_it_into_a_row() -> None:
    attestor = Attestor(b"k" * 32, DATABASE)
    row = heard(attestor)
    for groups in (["S2"], ["S1", "S2"], []):
        assert attestor(replace(row, body=row.body | {GROUPS: groups}))
    for none in ({}, {GROUPS: ["S1"]}, {GROUPS: ["S1"], SIGNATURE: 7}, {GROUPS: ["S1"], SIGNATURE: "hmac-sha256:\xff"}):
        assert attestor(replace(row, body=none))


def test_slack_vouches_for_its_own_people_only_and_a_list_of_keys_for_the_others(ring: Ring) -> None:
    attestor = Attestor(b"k" * 32, DATABASE)
    attest = by_name(attestor, Signers(ring.signers, DATABASE))
    assert attest(heard(attestor)) == ""
    assert "must be signed" in attest(DecisionRow(seq=1, **DECISION))
    assert attest(signed(ring.key("ann"))) == ""
    assert attest(heard(attestor, by="ann")) == "what stands there as a signature is none"
    key = ring.key("slack:U1")  # the same person with a key, when Slack is down
    assert attest(signed(key, by="slack:U1")) == ""
    assert by_name(attestor, lambda _row: "")(DecisionRow(seq=1, **DECISION | {"by": "slack:U1"}))

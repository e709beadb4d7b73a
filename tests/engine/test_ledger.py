"""The ledger: whatever happens in whatever order, no row closes without a proof or a named person's waiver."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from bot.engine.ledger import Ledger
from bot.model import RowState
from bot.store import iso
from bot.timeline import Event

START = datetime(2026, 1, 2, tzinfo=UTC)
KEYS = ("lamp:a", "lamp:b")


def event(n: int, step: str, kind: str, body: dict[str, Any]) -> Event:
    return Event(incident="i", n=n, step=step, kind=kind, attempt=n, at=iso(START + timedelta(minutes=n)), body=body,
                 body_sha256="", prev_hash="", hash="")  # fmt: skip


def triage(tails: tuple[str, ...] = ()) -> dict[str, Any]:
    until = (START + timedelta(hours=36)).isoformat()
    return {
        "credential": {"kind": "lamp", "id": "a", "fingerprint": ""},
        "reach": [{"kind": "secret", "name": "OTHER", "scope": "repository", "how": "the job reads it",
            "credential": None}],
        "tails": [{"kind": kind, "of": "lamp:a", "until": until, "why": "it outlives the key"} for kind in tails],
    }  # fmt: skip


def look(key: str, *, asks: bool = False) -> dict[str, Any]:
    return {"kills": key, "asks": asks, "ends": None}


def proof(verdict: str = "proven", grade: str = "state") -> dict[str, Any]:
    return {"verdict": verdict, "grade": grade, "detail": "seen"}


steps = st.sampled_from(["s-a", "s-b"])
happenings = st.one_of(
    st.tuples(steps, st.just("outcome"), st.just({"plants": []})),
    st.tuples(
        steps,
        st.just("proof"),
        st.builds(
            proof, st.sampled_from(["proven", "refuted", "not_yet"]), st.sampled_from(["refused", "state", "word"])
        ),
    ),
    st.tuples(steps, st.just("decided"), st.sampled_from([{"go": True}, {"go": False}])),
    st.tuples(steps, st.just("failed"), st.just({"error": "it broke"})),
    st.tuples(steps, st.just("undone"), st.sampled_from([{"kills": k, "by": ["ann", "ben"]} for k in KEYS])),
    st.tuples(
        st.just("row"),
        st.just("waived"),
        st.sampled_from([{"row": k, "by": "ann", "reason": "r"} for k in (*KEYS, "secret:repository:OTHER")]),
    ),
    st.tuples(st.just("row"), st.just("reopened"), st.sampled_from([{"row": k, "reason": "seen again"} for k in KEYS])),
)


@given(st.lists(happenings, max_size=25))
def test_no_row_closes_without_proof_or_waiver(story: list[tuple[str, str, dict[str, Any]]]) -> None:
    events = [
        event(1, "incident", "triage", triage(("sts",))),
        event(2, "s-a", "look", look("lamp:a")),
        event(3, "s-b", "look", look("lamp:b")),
    ]
    events += [event(n, *happened) for n, happened in enumerate(story, start=4)]
    ledger = Ledger.fold(events)
    for row in ledger.rows.values():
        mine = {"lamp:a": "s-a", "lamp:b": "s-b"}.get(row.key)
        since = max((e.n for e in events if e.kind == "undone" and e.body["kills"] == row.key), default=0)
        proofs = [
            e
            for e in events
            if e.step == mine
            and e.kind == "proof"
            and e.n > since
            and e.body["verdict"] == "proven"
            and e.body["grade"] != "word"
        ]
        waivers = [e for e in events if e.kind == "waived" and e.body["row"] == row.key]
        if row.state == RowState.CLOSED:
            assert proofs
            assert not any(tail.open for tail in row.tails)
        if row.state == RowState.WAIVED:
            assert waivers
            assert row.waived_by == "ann"
    assert ledger.settled == all(r.state in (RowState.CLOSED, RowState.WAIVED) for r in ledger.rows.values())


def test_the_states_in_their_order() -> None:
    events = [event(1, "incident", "triage", triage(("sts",)))]
    seen = []
    for n, (step, kind, body) in enumerate([
        ("cut", "look", look("lamp:a", asks=True)), ("cut", "decided", {"go": True}),
        ("cut", "outcome", {"plants": []}), ("cut", "proof", proof()),
        ("tail", "tail-ended", {"kind": "sts", "of": "lamp:a"}),
    ], start=2):  # fmt: skip
        seen.append(Ledger.fold(events).rows["lamp:a"].state.value)
        events.append(event(n, step, kind, body))
    seen.append(Ledger.fold(events).rows["lamp:a"].state.value)
    assert seen == ["suspected", "suspected", "cut_requested", "accepted", "tail_open", "closed"]


def test_a_tail_runs_from_the_moment_its_credential_is_proven_dead() -> None:
    events = [
        event(1, "incident", "triage", triage(("sts",))),
        event(2, "cut", "look", look("lamp:a")),
        event(90, "cut", "proof", proof()),
    ]
    (tail,) = Ledger.fold(events).rows["lamp:a"].tails
    assert tail.until == START + timedelta(minutes=90) + (timedelta(hours=36) - timedelta(minutes=1))


def test_what_ends_a_tail_before_the_credential_is_dead_ends_nothing() -> None:
    end = {"kills": None, "asks": False, "ends": ["sts", ""]}
    events = [
        event(1, "incident", "triage", triage(("sts",))), event(2, "cut", "look", look("lamp:a")),
        event(3, "end", "look", end),
        event(4, "end", "proof", proof()), event(5, "cut", "proof", proof()),
    ]  # fmt: skip
    assert Ledger.fold(events).rows["lamp:a"].state == RowState.TAIL_OPEN
    assert Ledger.fold([*events, event(6, "end", "proof", proof())]).rows["lamp:a"].state == RowState.CLOSED


def test_a_persons_word_closes_no_row() -> None:
    events = [
        event(1, "incident", "triage", triage()),
        event(2, "cut", "look", look("lamp:a")),
        event(3, "cut", "proof", proof(grade="word")),
    ]
    assert Ledger.fold(events).rows["lamp:a"].state != RowState.CLOSED


def test_an_empty_ledger_is_not_settled() -> None:
    assert not Ledger().settled


def test_what_was_planted_joins_the_ledger() -> None:
    planted = {"kind": "access-key", "name": "ci", "id": "AK1", "at": "", "event": ""}
    ledger = Ledger.fold([event(1, "incident", "triage", triage()), event(2, "find", "outcome", {"plants": [planted]})])
    assert ledger.rows["aws-access-key:AK1"].state == RowState.SUSPECTED
    assert not ledger.settled

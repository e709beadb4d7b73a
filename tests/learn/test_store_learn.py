"""Edits of a post-mortem in the store, on both databases: many at one moment, each kept, each once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from bot.store import Store
from bot.store_learn import FollowUpRow, Writings

AT = "2026-03-01T12:00:00.000000Z"


def test_edits_of_many_at_once_are_all_kept_and_numbered_in_turn(database: str) -> None:
    store = Store(database)
    store.migrate()
    rows = Writings(store)
    assert rows.draft("i", AT) and not rows.draft("i", AT)

    def write(k: int) -> int:
        return rows.edit("i", f"k{k % 12}", {"lucky": f"word {k % 12}", "unknowns": "x"}, by="ann", at=AT, seen=0)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(24)))  # each form twice
    edits = rows.edits("i")
    assert [edit.n for edit in edits] == list(range(1, 25))
    assert {edit.text for edit in edits if edit.field == "lucky"} == {f"word {k}" for k in range(12)}
    assert rows.publish("i", at=AT, by="ann", body="b") and not rows.publish("i", at=AT, by="bob", body="c")
    for state in ("open", "done"):
        rows.stand(FollowUpRow(incident="i", id="a", state=state))
    assert [one.state for one in rows.follow_ups("i")] == ["done"]
    store.close()

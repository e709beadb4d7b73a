"""What several people write at once: nothing is lost, and whoever has seen both puts them together."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.errors import InputError
from bot.learn.edits import FIELDS, PREFIX, fold, missing, warnings
from bot.learn.follow_up import CHECKS, Check, FollowUp, follow_up, suggestions
from tests.incidents import TRIAGE


@dataclass(frozen=True)
class E:
    """An edit, as the store has it."""

    n: int
    text: str
    seen: int = 0
    by: str = "ann"
    field: str = "lucky"
    at: str = "2026-03-01T12:00:00.000000Z"


def test_one_after_the_other_the_later_word_stands() -> None:
    found = fold([E(1, "a"), E(2, "b", seen=1, by="bob")])
    assert (found.text("lucky"), found.fields["lucky"].now.by, found.conflicts, found.last) == ("b", "bob", {}, 2)


def test_at_once_both_stand_until_somebody_who_saw_both_puts_them_together() -> None:
    both = [E(1, "a"), E(2, "b", by="bob")]
    found = fold(both)
    assert found.text("lucky") == "a" and [w.text for w in found.conflicts["lucky"].beside] == ["b"]
    assert any("at once (ann, bob)" in text for text in missing(found))
    third = fold([*both, E(3, "c", seen=1, by="carol")])
    assert [w.text for w in third.conflicts["lucky"].beside] == ["b", "c"], "she had not seen bob's"
    assert fold([*both, E(3, "a and b", seen=2, by="carol")]).conflicts == {}


def test_the_same_words_at_once_are_no_conflict_and_other_fields_do_not_matter() -> None:
    assert fold([E(1, "a"), E(2, "a", by="bob")]).conflicts == {}
    assert fold([E(1, "a"), E(2, "b", field="unknowns"), E(3, "c", seen=1, by="bob")]).conflicts == {}


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(0, 12), st.sampled_from(["ann", "bob", "carol"]),
                          st.sampled_from(["lucky", "unknowns"])), max_size=12))  # fmt: skip
def test_no_word_is_lost_that_its_successor_had_not_seen(drawn: list[tuple[str, int, str, str]]) -> None:
    """Each text stands, stands beside, or was followed by one whose writer had seen it; an empty one too."""
    edits = [E(n, text, seen=min(seen, n - 1), by=by, field=name) for n, (text, seen, by, name) in enumerate(drawn, 1)]
    found = fold(edits)
    for edit in edits:
        one = found.fields[edit.field]
        stands = edit.text in {one.now.text, *(word.text for word in one.beside)}
        followed = any(e.n > edit.n and e.field == edit.field and e.seen >= edit.n for e in edits)
        assert stands or followed, (edit, one)


DONE = {
    "durable_fix": "OIDC", f"{PREFIX}a1": follow_up("a1", title="Cut it", owner="ann", due="2026-12-01").text()
}  # fmt: skip


def written(**changed: str) -> list[E]:
    fields = DONE | {PREFIX + k[2:] if k.startswith("f_") else k: v for k, v in changed.items()}
    return [E(n, text, seen=n - 1, field=name) for n, (name, text) in enumerate(fields.items(), 1)]


def test_it_is_not_published_without_the_durable_fix_and_one_owned_follow_up() -> None:
    assert missing(fold(written())) == []
    assert any("durable fix is not written" in text for text in missing(fold(written(durable_fix="  "))))
    for gap in ({"owner": ""}, {"due": ""}):
        one = replace(FollowUp.of("a1", DONE[f"{PREFIX}a1"]), **gap)
        assert any("owner and a date" in text for text in missing(fold(written(f_a1=one.text()))))
    assert any("owner and a date" in text for text in missing(fold(written(f_a1="")))), "it was taken out"


def test_it_warns_when_every_follow_up_is_a_procedure_or_a_training() -> None:
    assert any("procedure or a training" in text for text in warnings(fold(written())))
    strong = follow_up("b2", title="Take it out", check="key-dead AKIAMADEUPKEY7EXAMPL", owner="bob", due="2026-12-01")
    assert strong.worth == "remove"
    assert not any("procedure" in text for text in warnings(fold(written(f_b2=strong.text(), lucky="yes"))))


@pytest.mark.parametrize("text", ["key-dead", "key-dead short", "secret-gone o/r", "secret-gone o/r A; rm -rf", "x o/r",
                                  "no-static-secret ../..", "workflow-disabled o/r deploy.yml"])  # fmt: skip
def test_a_check_that_cannot_be_run_is_refused_and_says_how_it_is_written(text: str) -> None:
    with pytest.raises(InputError, match=r"is written:|there are:"):
        Check.parse(text)


def test_checks_that_fit_are_suggested_and_all_can_be_written() -> None:
    stores = [
        {"repository": "o/ferry", "name": "KEY", "scope": "environment", "environment": "prod", "store": "actions"},
        {"repository": "o/ferry", "name": "KEY", "scope": "repository", "environment": "", "store": "dependabot"},
    ]
    found = suggestions(TRIAGE | {"stores": stores})
    assert "secret-gone o/ferry KEY environment:prod" in found and "secret-gone o/ferry KEY dependabot" in found
    assert {Check.parse(text).kind for text in found} <= set(CHECKS)
    assert all(str(Check.parse(text)) == text for text in found)


@pytest.mark.parametrize(("given_", "said"), [
    ({"title": ""}, "what is to be done"), ({"title": "x" * 200}, "say it in"), ({"due": "soon"}, "like 2026-11-30"),
    ({"rung": "hope"}, "one of remove"), ({"check": "luck"}, "there is no check"),
])  # fmt: skip
def test_a_follow_up_that_cannot_be_is_refused(given_: dict[str, str], said: str) -> None:
    with pytest.raises(InputError, match=said):
        follow_up("a1", **({"title": "Do it"} | given_))


def test_every_field_that_people_are_asked_for_is_one_the_timeline_cannot_know() -> None:
    assert [name for name, one in FIELDS.items() if one.asked] == ["lucky", "unknowns", "durable_fix"]

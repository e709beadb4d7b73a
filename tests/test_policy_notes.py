"""Notes of what changes with a policy: every difference in words, signed, kept, and checked again."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa
import yaml
from typer.testing import CliRunner, Result

from bot.__main__ import app
from bot.app import SHIPPED, opened
from bot.cli.work import _serving
from bot.engine.announced import Note, Notes
from bot.engine.compared import LESS, MORE, compare
from bot.engine.decisions import Desk, unsigned
from bot.engine.policy import LEVELS, POSTURES, Policy
from bot.errors import DecisionRefused
from bot.settings import Settings
from bot.signing import Attestor, Signers, sign
from bot.store import Store, iso
from bot.tables import decision
from tests.keys import Ring, needs_keygen

TEXT = (SHIPPED / "policy.yaml").read_text()
Type = Callable[..., Result]


def changed(work: Callable[[dict[str, Any]], object]) -> str:
    """The shipped policy with something else in it. YAML's yes and no are words there."""
    document = numbered(yaml.load(TEXT, yaml.BaseLoader))  # noqa: S506 - it makes strings, lists and tables only
    work(document)
    return yaml.safe_dump(document, sort_keys=False)


def numbered(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: numbered(one) for name, one in value.items()}
    if isinstance(value, list):
        return [numbered(one) for one in value]
    return int(value) if value.isdecimal() else value


def first_asking(document: dict[str, Any]) -> dict[str, Any]:
    return next(one for one in document["posture"]["rules"] if one["posture"] == "two")


def test_what_is_only_written_otherwise_is_no_change() -> None:
    def reworded(document: dict[str, Any]) -> None:
        for table in ("severity", "authority", "posture"):
            document[table]["rules"].reverse()
            for one in document[table]["rules"]:
                one["reason"], one["id"] = "in other words", f"new-{one['id']}"

    assert compare(Policy.load(TEXT), Policy.load(changed(reworded))) == []


def test_a_rule_that_asks_less_comes_first_and_says_what_was_before() -> None:
    def laxer(document: dict[str, Any]) -> None:
        first_asking(document).update(posture="act", on_silence="hold", after_s=0)
        document["brake"] = {"unattended_cuts": 1, "within_s": 600}

    less, more = compare(Policy.load(TEXT), Policy.load(changed(laxer)))
    assert (less.way, more.way) == (LESS, MORE)
    assert less.text.startswith("A step (")
    assert "it is done at once, nobody is asked; before: two different people must agree" in less.text
    assert more.text.endswith("the next one asks: 1 within 10 min; before: 5 within 10 min")
    (back,) = [one for one in compare(Policy.load(changed(laxer)), Policy.load(TEXT)) if one.text.startswith("A step")]
    assert back.way == MORE


def test_everything_that_a_policy_says_is_compared() -> None:
    def all_of_it(document: dict[str, Any]) -> None:
        document["modes"] |= {"default": "act", "playbooks": {"npm-token": "act"}, "repositories": {"o/r": "ask"}}
        document["storm"] = {"incidents": 99, "within_s": 60}
        document["responders"]["groups"] = {"responders": ["mara"], "leads": ["jonas"]}
        document["responders"]["approve"] = {"one": ["responders", "leads"], "two": ["leads"], "person": ["leads"]}
        document["responders"]["escalate"] = ["leads"]
        document["authority"]["ours"] = ["acme/*"]

    said = compare(Policy.load(TEXT), Policy.load(changed(all_of_it)))
    together = "\n".join(one.text for one in said)
    for said_ in (
        "The mode of what names no mode is act", "the playbook npm-token is act", "the repository o/r is ask",
        "A storm of old alerts waits after 99", "The group responders has mara", "The group leads has jonas",
        "Who may agree where two is asked: leads", "Told when nobody answers: leads", "Repositories of ours: acme/*",
    ):  # fmt: skip
        assert said_ in together, said_
    assert not any(one.way == MORE for one in said)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_there_is_a_change_for_each_pair_of_rules_that_decide_a_case_differently(seed: int) -> None:
    """Rules drawn at random; what is different is counted here cell by cell."""
    chance = random.Random(seed)

    def drawn(document: dict[str, Any]) -> None:
        for one in chance.sample(document["posture"]["rules"], 4):
            one.update(posture=chance.choice(POSTURES), on_silence="hold", after_s=0)
        chance.choice(document["severity"]["rules"])["level"] = chance.choice(LEVELS)

    old, new = Policy.load(TEXT), Policy.load(changed(drawn))
    pairs: dict[tuple[str, str], tuple[str, str]] = {}
    for cell, now in new.postures.cells.items():
        was = old.postures.cells[cell]
        if _decided(was) != _decided(now):
            pairs[was["id"], now["id"]] = was["posture"], now["posture"]
    steps = [one for one in compare(old, new) if one.text.startswith("A step")]
    assert len(steps) == len(pairs)
    weight = {"act": 0, "one": 1, "person": 1, "two": 2}
    for way, side in ((LESS, -1), (MORE, 1)):
        sure = [pair for pair in pairs.values() if (weight[pair[1]] - weight[pair[0]]) * side > 0]
        assert len([one for one in steps if one.way == way]) >= len(sure)


def _decided(one: Any) -> tuple[Any, ...]:
    waits = one["posture"] != "act" and one["after_s"]
    return one["posture"], one["on_silence"] if waits else "", one["after_s"] if waits else 0


# signed, kept, checked ------------------------------------------------------------------------------------------------


@pytest.fixture
def other(tmp_path: Path) -> Path:
    file = tmp_path / "policy.yaml"
    file.write_text(changed(lambda document: first_asking(document).update(posture="one")))
    return file


@pytest.fixture
def typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Type:
    for name in ("BULKHEAD_SIGNERS", "BULKHEAD_POLICY", "BULKHEAD_MODE", "BULKHEAD_DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("BULKHEAD_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("BULKHEAD_RESPONDERS", "ann,bo")

    def run(*args: str, status: int = 0, **env: str) -> Result:
        done = CliRunner().invoke(app, ["policy", *args], env=env)
        assert done.exit_code == status, done.output
        return done

    return run


@pytest.mark.slow
def test_a_note_is_compared_announced_and_held_against_what_is_in_force(typed: Type, other: Path) -> None:
    assert "People are asked less" in typed("compare", str(other)).output
    shipped = str(SHIPPED / "policy.yaml")
    assert "decide the same" in typed("compare", shipped, "--from", shipped).output
    typed("announce", str(other), "--by", "mallory", "--reason", "why not", status=3)
    typed("announce", str(other), "--by", "ann", status=2)
    assert "Note 1 is signed by ann" in typed("announce", str(other), "--by", "ann", "--reason", "nights").output
    early = json.loads(typed("notes", "--json", status=1).stdout)
    assert "announced" in early["wrong"], "it is not in force yet"
    now = json.loads(typed("notes", "--json", BULKHEAD_POLICY=str(other)).stdout)
    assert (now["wrong"], now["notes"][0]["wrong"], now["notes"][0]["by"]) == ("", "", "ann")
    assert [one["way"] for one in now["notes"][0]["changes"]] == [LESS]
    back = typed("announce", shipped, "--by", "bo", "--reason", "it was wrong", BULKHEAD_POLICY=str(other))
    assert "People are asked more" in back.output
    assert "Note 2 is signed by bo" in back.output
    assert "the same in every case" in typed(
        "announce", str(other), "--from", str(other), "--by", "ann", "--reason", "x", status=2
    ).output


@pytest.mark.slow
def test_announced_after_it_was_put_in_force_it_is_compared_with_the_one_before(typed: Type, other: Path) -> None:
    typed("announce", str(SHIPPED / "policy.yaml"), "--from", str(other), "--by", "ann", "--reason", "the first")
    said = typed("announce", str(other), "--by", "ann", "--reason", "afterwards", BULKHEAD_POLICY=str(other))
    assert "People are asked less" in said.output
    nothing = typed("compare", str(other), BULKHEAD_POLICY=str(other), status=2)
    assert "name the one before with --from" in nothing.output


def house(tmp_path: Path, signers: Signers | None = None) -> tuple[Store, Notes]:
    store = Store(f"sqlite:///{tmp_path / 'notes.db'}")
    store.migrate()
    attestor = Attestor(b"k" * 32, store.database_id())
    desk = Desk(store, lambda person, _posture, _said: person in ("ann", "bo"), signers or unsigned)
    return store, Notes(store, desk, attestor, signers)


def announced(notes: Notes, other: str, sign: Any = None, by: str = "ann") -> Note:
    changes = compare(Policy.load(TEXT), Policy.load(other))
    return notes.announce(TEXT, other, changes, by=by, at=datetime.now(UTC), reason="nights", sign=sign)


SLOW = [pytest.param(one, marks=pytest.mark.slow) for one in ("reason", "now", "signature", "by", "at", "gone")]


@pytest.mark.parametrize("what", ["changes", *SLOW])
def test_whatever_is_changed_in_a_note_is_seen(tmp_path: Path, other: Path, what: str) -> None:
    store, notes = house(tmp_path)
    note = announced(notes, other.read_text())
    policy = Policy.load(other.read_text())
    assert (note.wrong, notes.unlike(note, policy)) == ("", "")
    assert "in force is" in notes.unlike(note, Policy.load(TEXT))
    assert notes.unlike(note, Policy.load(f"# in other words\n{other.read_text()}")) == ""
    with store.begin() as c:
        row = c.execute(sa.select(decision)).mappings().one()
        body = json.loads(row["body"])
        if what in ("by", "at"):
            values = {"by": "bo"} if what == "by" else {"at": iso(datetime.now(UTC) - timedelta(days=1))}
        else:
            if what == "gone":
                del body["signature"]
            elif what == "changes":
                body["changes"] = []
            else:
                body[what] = body[what].swapcase()
            values = {"body": json.dumps(body)}
        c.execute(sa.update(decision).values(**values))
    newest = notes.newest()
    assert newest is not None
    assert newest.wrong
    assert newest.changes == (), "what nobody has signed is not told"
    assert "does not hold" in notes.unlike(newest, policy)
    store.close()


@pytest.mark.slow
def test_the_kept_text_of_a_policy_that_was_changed_is_seen(tmp_path: Path, other: Path) -> None:
    store, notes = house(tmp_path)
    note = announced(notes, other.read_text())
    assert notes.text(note.now) == other.read_text()
    store.set_setting(f"policy-text:{note.now}", TEXT)
    assert notes.text(note.now) == ""
    assert [one.wrong for one in notes.all()] == ["the text that is kept of its policy was changed"]
    store.close()


@needs_keygen
@pytest.mark.slow
def test_where_people_sign_a_note_is_signed_by_their_key_and_by_no_other(tmp_path: Path, other: Path) -> None:
    ring = Ring(tmp_path / "keys")
    ann, bo = ring.key("ann"), ring.key("bo")
    store = Store(f"sqlite:///{tmp_path / 'notes.db'}")
    store.migrate()
    database = store.database_id()
    store.close()
    store, notes = house(tmp_path, Signers(ring.signers, database))
    with pytest.raises(DecisionRefused):
        announced(notes, other.read_text())
    with pytest.raises(DecisionRefused):
        announced(notes, other.read_text(), partial(sign, key=bo))
    assert announced(notes, other.read_text(), partial(sign, key=ann)).wrong == ""
    ring.signers.write_text("")
    assert [bool(one.wrong) for one in notes.all()] == [True], "a key that was taken off the list signs no more"
    store.close()


@pytest.mark.slow
def test_it_shows_on_the_status_page_and_when_a_process_begins(tmp_path: Path, other: Path) -> None:
    with opened(Settings(home=tmp_path / "home", responders="ann,bo"), sites={}) as bulkhead:
        bulkhead.notes.announce(
            TEXT, other.read_text(), compare(Policy.load(TEXT), Policy.load(other.read_text())), by="ann",
            at=datetime.now(UTC), reason="nights",
        )  # fmt: skip
        light = next(one for one in bulkhead.health().lights if one.name == "Policy")
        assert (light.state, "in force is" in light.says) == ("look", True)
        bulkhead.sites["real"] = SimpleNamespace(identities=())
        lines = [line.text for line in _serving("t", bulkhead.settings, bulkhead)]
        assert any("not the one that was announced last" in line for line in lines)

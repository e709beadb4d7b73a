"""Playbook files: the sample of the design, every kind of mistake with its line, and hostile text."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot import playbook, reference
from bot.action import Action
from bot.actions import CATALOGUE as ACTIONS
from bot.errors import InputError, PlaybookError
from bot.model import (
    AlertRef,
    Before,
    Credential,
    Effect,
    Outcome,
    Owner,
    Planted,
    Proof,
    RunRef,
    SecretStore,
    Triage,
    WorkflowRef,
)
from bot.playbook import Playbook

SHIPPED = Path(__file__).parent.parent / "playbooks"


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    user: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Role:
    role: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    key: str
    user: str
    since: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Own:
    user: str
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotate:
    user: str
    old: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Put:
    store: SecretStore
    sealed: dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    who: str
    question: str
    choices: tuple[str, ...] = ()
    within_s: float = 600.0
    urgent: bool = False
    times: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyBefore(Before):
    user: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found(Outcome):
    planted: tuple[Planted, ...] = ()
    assumed_roles: tuple[str, ...] = ()
    own_keys: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotated(Outcome):
    key_id: str = ""
    sealed: dict[str, str]


def action(name: str, inputs: type, effect: Effect, before: type = Before, outcome: type = Outcome) -> Action:
    return Action(
        name=name,
        title=f"Do {name}",
        inputs=inputs,
        before=before,
        outcome=outcome,
        effect=effect,
        look=lambda _world, _given: before(),
        run=lambda _world, _given, _before: outcome(changed=False),
        prove=lambda *_: Proof.refuted("not run here"),
    )


CATALOGUE = {
    one.name: one
    for one in (
        action("aws.deactivate_access_key", Key, Effect.CONTAIN, KeyBefore),
        action("aws.deny_older_sessions", User, Effect.CONTAIN),
        action("aws.find_planted", Window, Effect.READ, outcome=Found),
        action("aws.disable_planted", Planted, Effect.CONTAIN),
        action("aws.deny_older_role_sessions", Role, Effect.CONTAIN),
        action("aws.confirm_clean", Window, Effect.READ),
        action("aws.delete_access_key", Own, Effect.DESTROY),
        action("aws.rotate_access_key", Rotate, Effect.CHANGE, outcome=Rotated),
        action("github.disable_workflow", WorkflowRef, Effect.CONTAIN),
        action("github.cancel_runs", WorkflowRef, Effect.CONTAIN),
        action("github.put_secret", Put, Effect.CHANGE),
        action("github.delete_run_logs", RunRef, Effect.DESTROY),
        action("github.resolve_alert", AlertRef, Effect.CHANGE),
        action("people.ask", Ask, Effect.READ),
    )
}
DRILLS = ("aws-key-in-public-log",)

SAMPLE = """\
id: aws-access-key
title: Leaked AWS access key of a CI user
match: {credential: aws-access-key}        # a table of values, no language
steps:
  - id: deactivate
    uses: aws.deactivate_access_key
    with: {key: $credential.id}
    on_failure: ask
  - id: end-sessions                       # stamped after the deactivation is proven: no session slips between
    uses: aws.deny_older_sessions
    with: {user: $deactivate.before.user}
    needs: [{deactivate: proven}]          # plain [deactivate] waits for its Outcome only
    on_failure: ask
  - id: planted
    uses: aws.disable_planted
    for_each: $triage.created_by_credential
    on_failure: continue
drill: aws-key-in-public-log               # the drill that proves this playbook
"""
CREDENTIAL = Credential(provider="aws", kind="aws-access-key", id="AK" + "IA" + "MADEUP", account="123456789012")
TRIAGE = Triage(
    credential=CREDENTIAL,
    owners=(Owner(name="mara", score=90, reason="wrote the workflow"),),
    created_by_credential=(Planted(kind="user", name="svc-cache-sync"),),
)


def load(text: str) -> Playbook:
    return playbook.load(text, "a.yaml", CATALOGUE, DRILLS)


def mistakes(text: str) -> list[tuple[int, str]]:
    with pytest.raises(PlaybookError) as caught:
        load(text)
    assert all(line >= 1 for line, _said in caught.value.problems)
    return caught.value.problems


def with_steps(steps: str) -> str:
    """A playbook whose steps start at line 5; the first two are fixed."""
    head = "id: p\ntitle: P\nmatch: {credential: k}\nsteps:\n"
    return head + steps


FIND = """\
  - id: find
    uses: aws.find_planted
    with: {key: $credential.id, user: u, since: $triage.exposed_from}
"""


def test_the_sample_of_the_design_loads() -> None:
    loaded = load(SAMPLE)
    assert [step.id for step in loaded.order()] == ["deactivate", "end-sessions", "planted"]
    assert loaded.step("end-sessions").needs == {"deactivate": "proven"}
    assert loaded.step("planted").with_ is None
    assert loaded.drill == "aws-key-in-public-log"
    assert loaded.text == SAMPLE
    assert load(loaded.text).sha256 == loaded.sha256
    assert load(SAMPLE + "# a word\n").sha256 != loaded.sha256


def test_inputs_are_bound_from_facts_that_are_dataclasses_or_json() -> None:
    loaded = load(SAMPLE)
    facts: dict[str, Any] = {"credential": CREDENTIAL, "triage": TRIAGE}
    key = loaded.step("deactivate").inputs(CATALOGUE["aws.deactivate_access_key"], facts)
    assert key == Key(key=CREDENTIAL.id)
    facts["deactivate"] = {"before": {"needed": True, "summary": "", "user": "ferry-ci"}}
    assert loaded.step("end-sessions").inputs(CATALOGUE["aws.deny_older_sessions"], facts) == User(user="ferry-ci")
    step = loaded.step("planted")
    (item,) = step.items(facts)
    planted = step.inputs(CATALOGUE["aws.disable_planted"], facts | {"item": item})
    assert planted == Planted(kind="user", name="svc-cache-sync")
    as_json = {"created_by_credential": [{"kind": "user", "name": "svc-cache-sync"}]}
    (item,) = step.items({"triage": as_json})
    assert step.inputs(CATALOGUE["aws.disable_planted"], {"item": item}) == planted


def test_what_is_not_there_is_named() -> None:
    with pytest.raises(InputError, match=r"\$deactivate\.before\.user .*'deactivate'"):
        load(SAMPLE).step("end-sessions").inputs(CATALOGUE["aws.deny_older_sessions"], {"credential": CREDENTIAL})
    with pytest.raises(InputError, match=r"\$triage\.owners\.1\.name"):
        reference.resolve("$triage.owners.1.name", {"triage": TRIAGE})
    with pytest.raises(InputError, match="does not fit Key: key"):
        reference.bind(Key, {"key": 7})


def test_a_reference_is_a_need() -> None:
    text = with_steps(
        "  - {id: planted, uses: aws.disable_planted, for_each: $find.outcome.planted, on_failure: ask}\n"
        "  - {id: cut, uses: aws.deactivate_access_key, with: {key: $credential.id}, on_failure: ask}\n"
        "  - {id: deny, uses: aws.deny_older_sessions, with: {user: $cut.before.user}, on_failure: ask}\n" + FIND
    )
    loaded = load(text)
    assert loaded.step("planted").needs == {"find": "outcome"}
    assert loaded.step("deny").needs == {"cut": "look"}
    assert [step.id for step in loaded.order()] == ["cut", "deny", "find", "planted"]


def test_when_is_a_table_of_values() -> None:
    loaded = load(
        with_steps(
            "  - id: ask\n    uses: people.ask\n    with: {who: mara, question: Why}\n"
            "    when: {triage.exposure: [public, unknown], credential.provider: aws}\n"
        )
    )
    step = loaded.step("ask")
    assert step.applies({"triage": TRIAGE, "credential": CREDENTIAL})
    assert not step.applies({"triage": {"exposure": "internal"}, "credential": CREDENTIAL})
    assert not step.applies({"triage": TRIAGE, "credential": {"provider": "github"}})


ASK = "  - id: ask\n    uses: people.ask\n    with: {who: mara, question: Why}\n"
WRONG = [
    # (text, line, part of the sentence)
    ("id: p\ntitle: P\nsteps: []\n", 1, "needs 'match'"),
    (with_steps("  []\n"), 4, "1 to 100 steps"),
    (with_steps(ASK).replace("title: P", "titel: P"), 2, "did you mean 'title'"),
    (with_steps(ASK).replace("id: p\n", "id: Not_Kebab\n"), 1, "joined by hyphens"),
    (with_steps(ASK) + "drill: no-such-drill\n", 8, "there is no drill"),
    (with_steps(ASK).replace("{credential: k}", "{kind: k}"), 3, "no key 'kind'"),
    (with_steps(ASK).replace("{credential: k}", "{credential: []}"), 3, "names no value"),
    (with_steps(ASK).replace("{credential: k}", "{credential: 5}"), 3, "must be text"),
    (with_steps(ASK + ASK), 8, "line 5 has it already"),
    (with_steps(ASK.replace("id: ask", "id: triage")), 5, "meaning of its own"),
    (with_steps(ASK.replace("people.ask", "people.asks")), 6, "did you mean 'people.ask'"),
    (with_steps(ASK + "    wiht: {}\n"), 8, "did you mean 'with'"),
    (with_steps(ASK.replace("who:", "whom:")), 7, "did you mean 'who'"),
    (with_steps(ASK.replace("who: mara, ", "")), 7, "needs 'who'"),
    (with_steps("  - {id: ask, uses: people.ask}\n"), 5, "needs 'question'"),
    (with_steps(ASK.replace("mara", "7")), 7, "must be text, this is 7"),
    (with_steps(ASK.replace("Why", "Why, urgent: 1")), 7, "must be true or false"),
    (with_steps(ASK.replace("Why", "Why, times: soon")), 7, "must be a number or nothing"),
    (with_steps(ASK.replace("Why", "Why, choices: [a, 1]")), 7, "must be text, this is 1"),
    (with_steps(ASK.replace("Why", "Why, choices: a")), 7, "must be a list"),
    (with_steps(ASK.replace("mara", "$triage.ownerz")), 7, "did you mean 'owners'"),
    (with_steps(ASK.replace("mara", "$triage.owners")), 7, "is a list of Owner"),
    (with_steps(ASK.replace("mara", "$nobody.name")), 7, "$nobody is not known"),
    (with_steps(ASK.replace("mara", "$triage.repository.name")), 7, "is text and has no 'name'"),
    (with_steps(ASK.replace("mara", "$incident")), 7, "is not a value"),
    (with_steps(ASK.replace("mara", "$item")), 7, "$item is not known"),
    (with_steps(ASK.replace("mara", "$ask.outcome.summary")), 7, "cannot wait for itself"),
    (with_steps(ASK.replace("Why", '"Is $credential.id used?"')), 7, "a reference is the whole value"),
    (with_steps(ASK.replace("Why", '"${{ FN.upper(x) }}"')), 7, "a reference is the whole value"),
    (with_steps(ASK + "    needs: [asks]\n"), 8, "there is no step 'asks'"),
    (with_steps(ASK + "    needs: [{ask: proven}]\n"), 8, "cannot wait for itself"),
    (with_steps(FIND + ASK + "    needs: [{find: prooven}]\n"), 11, "must be one of tried, ended, outcome, proven"),
    (with_steps(ASK + "    on_failure: retry\n"), 8, "must be one of stop, continue, ask"),
    (with_steps(ASK + "    when: {triage.exposure: secret}\n"), 8, "one of public, internal, unknown"),
    (with_steps(ASK + "    when: {triage.exposed: public}\n"), 8, "has no 'exposed'"),
    (with_steps(ASK + "    when: {triage.exposure: $triage.exposure}\n"), 8, "not with a reference"),
    (with_steps(ASK + "    when: triage.exposure == public\n"), 8, "when must be a table"),
    (with_steps(ASK + "    for_each: $triage.repository\n"), 8, "needs a list"),
    (with_steps(ASK + "    for_each: [a, b]\n"), 8, "must be a reference to a list"),
    (with_steps(ASK + "    for_each: $triage.owners\n"), 7, "the same for each item"),
    (
        with_steps("  - {id: a, uses: aws.disable_planted, for_each: $triage.stores, on_failure: ask}\n"),
        5,
        "wants Planted, the items are SecretStore",
    ),
    (
        with_steps("  - id: a\n    uses: aws.deactivate_access_key\n    with: {key: $credential.id}\n"),
        5,
        "must say on_failure",
    ),
    (
        with_steps(
            "  - {id: a, uses: aws.disable_planted, for_each: $triage.created_by_credential, on_failure: ask}\n"
            "  - {id: b, uses: people.ask, with: {who: $a.outcome.summary, question: q}}\n"
        ),
        6,
        "runs once for each item",
    ),
    (
        with_steps(ASK + "    needs: [two]\n" + ASK.replace("id: ask", "id: two") + "    needs: [ask]\n"),
        5,
        "wait for each other: ask -> two -> ask",
    ),
    ("a: &x [1]\nb: *x\n", 1, "anchors and aliases"),
    ("a: !!python/object/apply:os.system [ls]\n", 1, "tags are not allowed"),
    ("id: a\nid: b\n", 2, "given twice"),
    ("? [a]\n: b\n", 1, "a key must be text"),
    ("id: a\n---\nid: b\n", 2, "one document"),
    ("- a\n", 1, "must be a table"),
    ("", 1, "must be a table"),
    ("id: [a\n", 2, "not YAML"),
    ('id: "\\Uffffffff"\n', 1, "not YAML"),
    ("id: \x00\n", 1, "not YAML"),
    ("id: '\ud800'\n", 1, "not YAML"),
    ('id: "\\e[2J"\n', 1, "control character"),
    ("id: " + "[" * 100 + "]" * 100, 1, "too deeply"),
    ("id: [" + "a," * 20_000 + "]", 1, "too many values"),
    ("# " + "x" * 200_000, 1, "larger than 128 KiB"),
]


@pytest.mark.parametrize(
    ("text", "line", "said"), WRONG, ids=[f"{n}-{said[:30]}" for n, (_t, _l, said) in enumerate(WRONG)]
)
def test_a_mistake_is_refused_with_its_line(text: str, line: int, said: str) -> None:
    assert [(at, words) for at, words in mistakes(text) if at == line and said in words], mistakes(text)


def test_all_mistakes_are_told_at_once() -> None:
    found = mistakes(
        SAMPLE.replace("$credential.id", "$credential.idd").replace("continue", "carry-on").replace(" sess", " ses")
    )
    assert [line for line, _said in found] == [7, 17]
    text = str(PlaybookError("a.yaml", found))
    assert text.startswith("a.yaml:7: ")
    assert "a.yaml:17: " in text


def test_plain_words_stay_words() -> None:
    loaded = load(with_steps(ASK.replace("mara", "no").replace("Why", "0123")))
    assert loaded.step("ask").with_ == {"who": "no", "question": "0123"}


def test_the_shipped_playbook_orders_the_cut_before_what_follows() -> None:
    path = SHIPPED / "containment" / "aws-access-key.yaml"
    loaded = playbook.load(path.read_text(), str(path), ACTIONS)
    order = [step.id for step in loaded.order()]
    assert order[:2] == ["isolate", "deactivate"]
    assert loaded.step("deactivate").needs == {"isolate": "ended"}
    assert loaded.step("isolate").when == {"$triage.machine": ("exists",)}
    for first, then in [
        ("find", "planted"),
        ("confirm-clean", "rotate"),
        ("cancel-runs", "delete-logs"),
        ("rotate", "store"),
    ]:
        assert order.index(first) < order.index(then)
    assert loaded.step("end-sessions").needs == {"deactivate": "proven"}


def test_folders_overlay_by_id(tmp_path: Path) -> None:
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    ours.mkdir()
    theirs.mkdir()
    (ours / "aws-access-key.yaml").write_text(SAMPLE)
    (theirs / "aws-access-key.yaml").write_text(SAMPLE.replace("Leaked", "Lost"))
    found = playbook.load_folder([ours, theirs], CATALOGUE, DRILLS)
    assert found["aws-access-key"].title.startswith("Lost")
    assert playbook.match(found, CREDENTIAL) is found["aws-access-key"]
    assert playbook.match(found, Credential(provider="npm", kind="npm-token")) is None


def test_two_playbooks_for_one_credential_are_refused_unless_one_is_narrower(tmp_path: Path) -> None:
    other = SAMPLE.replace("id: aws-access-key\n", "id: our-own\n", 1)
    (tmp_path / "aws-access-key.yaml").write_text(SAMPLE)
    (tmp_path / "our-own.yaml").write_text(other)
    with pytest.raises(PlaybookError, match="our-own matches what aws-access-key matches"):
        playbook.load_folder([tmp_path], CATALOGUE, DRILLS)
    narrow = other.replace(
        "match: {credential: aws-access-key}", 'match: {credential: aws-access-key, account: "123456789012"}'
    )
    (tmp_path / "our-own.yaml").write_text(narrow)
    found = playbook.load_folder([tmp_path], CATALOGUE, DRILLS)
    chosen = playbook.match(found, CREDENTIAL)
    assert chosen is not None
    assert chosen.id == "our-own"


def test_a_file_bears_the_name_of_its_playbook(tmp_path: Path) -> None:
    (tmp_path / "other.yaml").write_text(SAMPLE)
    with pytest.raises(PlaybookError, match=r"must be aws-access-key\.yaml"):
        playbook.load_folder([tmp_path], CATALOGUE, DRILLS)
    (tmp_path / "other.yaml").write_bytes(b"\xff\xfe")
    with pytest.raises(PlaybookError, match="not UTF-8"):
        playbook.load_folder([tmp_path], CATALOGUE, DRILLS)
    with pytest.raises(InputError, match="no folder"):
        playbook.load_folder([tmp_path / "none"], CATALOGUE, DRILLS)


def test_the_schema_knows_every_action_and_its_inputs() -> None:
    schema = json.loads(json.dumps(playbook.json_schema(CATALOGUE)))
    step = schema["properties"]["steps"]["items"]
    assert step["properties"]["uses"]["enum"] == sorted(CATALOGUE)
    rules = {rule["if"]["properties"]["uses"]["const"]: rule["then"] for rule in step["allOf"]}
    assert rules.keys() == CATALOGUE.keys()
    assert rules["aws.deactivate_access_key"]["required"] == ["on_failure"]
    assert rules["people.ask"]["properties"]["with"]["required"] == ["who", "question"]
    assert set(rules["github.put_secret"]["properties"]["with"]["properties"]) == {"store", "sealed"}


WORDS = sorted({word for word in SAMPLE.replace("{", " ").replace("}", " ").split() if len(word) > 2})


@st.composite
def mutated(draw: st.DrawFn) -> str:
    lines = SAMPLE.splitlines()
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(lines) - 1))
        change = draw(st.sampled_from(("drop", "copy", "swap", "word", "indent", "splice", "noise")))
        if change == "drop" and len(lines) > 1:
            del lines[at]
        elif change == "copy":
            lines.insert(draw(st.integers(0, len(lines))), lines[at])
        elif change == "swap":
            other = draw(st.integers(0, len(lines) - 1))
            lines[at], lines[other] = lines[other], lines[at]
        elif change == "word" and lines[at].split():
            old = draw(st.sampled_from(lines[at].split()))
            lines[at] = lines[at].replace(old, draw(st.sampled_from(WORDS)), 1)
        elif change == "indent":
            lines[at] = draw(st.sampled_from((" ", "  ", "    "))) + lines[at]
        elif change == "splice":
            cut = draw(st.integers(0, len(lines[at])))
            lines[at] = lines[at][:cut] + draw(st.sampled_from("{}[]:,&*!|>#$-%@`\"'\t")) + lines[at][cut:]
        elif change == "noise":
            lines.insert(at, draw(st.text(max_size=20)))
    return "\n".join(lines)


@settings(max_examples=150, deadline=None)
@given(mutated())
def test_a_mutated_playbook_is_refused_or_runs_in_order(text: str) -> None:
    try:
        loaded = load(text)
    except PlaybookError as exc:
        assert exc.problems
        assert all(line >= 1 and said for line, said in exc.problems)
        return
    assert_runs_in_order(loaded)


def assert_runs_in_order(loaded: Playbook) -> None:
    """Every step comes after its needs, and every reference is bound once these have given their results."""
    facts: dict[str, Any] = {"credential": CREDENTIAL, "triage": TRIAGE, "incident": {"id": "1", "severity": "high"}}
    done: set[str] = set()
    for step in loaded.order():
        assert step.needs.keys() <= done
        given = CATALOGUE[step.uses]
        for item in step.items(facts):
            step.inputs(given, facts | {"item": item})
        before = KeyBefore(user="ferry-ci") if given.before is KeyBefore else given.before()
        outcome = (
            Rotated(changed=True, sealed={"id": "r1"}) if given.outcome is Rotated else given.outcome(changed=True)
        )
        facts[step.id] = {"before": before, "outcome": outcome}
        done.add(step.id)
    assert len(done) == len(loaded.steps)


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet=st.sampled_from("ab:{}[],-#&*!|>'\"%@`$ \n\t?~\\x0U\u2028\ufeff"), max_size=80))
def test_no_text_crashes_the_reader(text: str) -> None:
    with pytest.raises(PlaybookError):
        load(text)


def test_what_names_a_kind_whole_is_narrower_than_what_names_how_it_begins() -> None:
    step = "{id: a, uses: people.ask, with: {who: w, question: q}}"
    said = {
        "tail": "{credential: other-*}", "one": "{credential: [x, other-gitlab-pat]}",
        "family": "{credential: other-gitlab-*}", "ours": "{credential: '*', account: acme}",
    }  # fmt: skip
    found = {
        name: playbook.load(f"id: {name}\ntitle: T\nmatch: {of}\nsteps:\n  - {step}\n", f"{name}.yaml", CATALOGUE)
        for name, of in said.items()
    }

    def chosen(kind: str, account: str = "") -> str | None:
        book = playbook.match(found, Credential(provider="p", kind=kind, id="1", account=account))
        return book.id if book else None

    assert chosen("other-gitlab-pat") == "one"
    assert chosen("other-gitlab-ptt") == "family"
    assert chosen("other-sentry-token") == "tail"
    assert chosen("other-gitlab-pat", "acme") == "ours"
    assert chosen("another-gitlab-pat") is None

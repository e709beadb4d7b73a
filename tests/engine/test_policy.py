"""Policy: the shipped tables, every mistake with its line, and the one rule a cell that tables promise."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot import strictyaml
from bot.engine.policy import Policy, reach_size
from bot.errors import PlaybookError

TEXT = (Path(__file__).parents[2] / "playbooks" / "policy.yaml").read_text()
SHIPPED = Policy.load(TEXT)
CUT = {
    "source": "operator",
    "possession": "live",
    "effect": "contain",
    "undoable": "no",
    "exposure": "public",
    "kind": "aws-access-key",
}


def problems(text: str) -> list[tuple[int, str]]:
    with pytest.raises(PlaybookError) as caught:
        Policy.load(text)
    return caught.value.problems


def line_of(text: str, part: str) -> int:
    return next(n for n, line in enumerate(text.splitlines(), 1) if part in line)


@pytest.mark.parametrize("source", ["drill", "operator", "signed"])
def test_a_live_and_public_credential_is_cut_at_once_though_it_cannot_be_undone(source: str) -> None:
    verdict = SHIPPED.posture(CUT | {"source": source})
    assert (verdict.posture, verdict.rule) == ("act", "exposed-and-live")
    assert verdict.reason


@pytest.mark.parametrize("change", [{"source": "unsigned"}, {"source": "unknown"}, {"source": "a new one"}])
def test_an_unsigned_report_never_acts_by_itself(change: dict[str, str]) -> None:
    axes = SHIPPED.postures.axes
    for effect, possession, exposure in itertools.product(axes["effect"], axes["possession"], axes["exposure"]):
        verdict = SHIPPED.posture(CUT | change | {"effect": effect, "possession": possession, "exposure": exposure})
        assert verdict.posture != "act"
        assert verdict.on_silence != "act"


def test_an_id_alone_never_acts_by_itself() -> None:
    for possession, exposure in itertools.product(("id-only", "unknown"), SHIPPED.postures.axes["exposure"]):
        verdict = SHIPPED.posture(CUT | {"possession": possession, "exposure": exposure})
        assert verdict.posture == "one"
        assert verdict.on_silence != "act"


def test_nothing_is_destroyed_or_published_without_a_person() -> None:
    axes = SHIPPED.postures.axes
    for cell, rule in SHIPPED.postures.cells.items():
        case = dict(zip(axes, cell, strict=True))
        if case["effect"] in ("destroy", "publish", "unknown"):
            assert rule["posture"] != "act", case
            assert rule["on_silence"] != "act", case


def test_what_a_case_does_not_say_is_unknown() -> None:
    assert SHIPPED.posture({}).posture == "person"
    assert SHIPPED.severity({}).rule == "perhaps-live"


def test_severity_grows_with_what_is_known() -> None:
    case = {"kind": "aws-access-key", "live": "live", "exposure": "public", "reach": reach_size(3)}
    assert SHIPPED.severity(case).level == "critical"
    assert SHIPPED.severity(case | {"exposure": "internal"}).level == "high"
    assert SHIPPED.severity(case | {"exposure": "internal", "kind": "something-new"}).level == "medium"
    assert (
        SHIPPED.severity(case | {"exposure": "internal", "kind": "something-new", "reach": reach_size(None)}).level
        == "high"
    )
    assert SHIPPED.severity(case | {"live": "dead"}).level == "low"
    assert [reach_size(n) for n in (0, 1, 2, 5, 6, None)] == ["one", "one", "few", "few", "many", "unknown"]


def test_a_new_installation_observes_and_the_more_careful_mode_counts() -> None:
    assert SHIPPED.mode("aws-access-key", "harbor-lights/ferry") == "observe"
    assert SHIPPED.mode("aws-access-key", "", "ask") == "ask"
    text = TEXT.replace("playbooks: {}", "playbooks: {a: act, b: observe}").replace(
        "repositories: {}", "repositories: {o/r: ask}"
    )
    named = Policy.load(text)
    assert named.mode("a", "") == "act"
    assert named.mode("a", "o/r") == "ask"
    assert named.mode("b", "o/r", "act") == "observe"


def test_responders_are_groups_of_names() -> None:
    text = TEXT.replace("    responders: []", "    responders: [mara]\n    leads: [jonas]")
    for posture in ("one", "person"):
        text = text.replace(f"{posture}: [responders]", f"{posture}: [responders, leads]")
    text = text.replace("two: [responders]", "two: [leads]").replace("escalate: [responders]", "escalate: [leads]")
    loaded = Policy.load(text)
    assert loaded.may("mara", "one")
    assert not loaded.may("mara", "two")
    assert loaded.may("jonas", "two")
    assert not SHIPPED.may("mara", "one")
    assert (SHIPPED.brake.unattended_cuts, SHIPPED.brake.within_s) == (5, 600)


WRONG = [
    # (what stands there, what is written instead, what is said, a part of the line where it is said)
    ("live: live, exposure: pu", "live: [live, unknown], exposure: pu", "cover kind=cloud, live=unknown", "perhaps"),
    ("reach: [one, few]}", "reach: one}", "covers kind=code, live=live, exposure=internal, reach=few", ""),
    ("{kind: any, live: dead", "{kind: any, live: daed", "did you mean 'dead'", "live: daed"),
    ("exposure: any, reach: any}", "exposure: any}", "cells needs 'reach'", "live: dead, exposure: any}"),
    ("level: critical", "level: huge", "level must be one of", "level: huge"),
    ("reach: [one, few, many, unknown]", "reach: [one, few, many]", "unknown among them", "reach: [one, few, many]"),
    ("    live: [live, dead, unknown]\n", "", "severity.axes needs 'live'", "  axes:"),
    ("id: undoable-change", "id: publish", "is there twice", ""),
    ("posture: person", "posture: nobody", "posture must be one of", "posture: nobody"),
    ("after_s: 3600", "after_s: -1", "after_s must be a whole number", "after_s: -1"),
    ("after_s: 3600", "after_s: 0", "must say when", ""),
    ("default: observe", "default: dry-run", "modes.default must be one of", "default: dry-run"),
    ("unattended_cuts: 5", "unattended_cuts: many", "unattended_cuts must be a whole number", "unattended_cuts: many"),
    ("two: [responders]", "two: [night-shift]", "there is no group 'night-shift'", "two: [night-shift]"),
    ("pypi-token,", "npm-token,", "npm-token is both", "npm-token, npm-token") ,
    ("  registry: [npm", "  packages: [npm", "not on the axis kind", "  packages: [npm"),
    ("brake:", "break:", "the policy needs 'brake'", ""),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "said", "where"), WRONG, ids=[row[2][:40] for row in WRONG])
def test_a_mistake_is_refused_with_its_line(old: str, new: str, said: str, where: str) -> None:
    assert old in TEXT
    text = TEXT.replace(old, new, 1)
    found = problems(text)
    matching = [line for line, words in found if said in words]
    assert matching, found
    if where:
        assert line_of(text, where.strip()) in range(matching[0] - 1, matching[0] + 3), found


@st.composite
def small_tables(draw: st.DrawFn) -> tuple[dict[str, list[str]], list[dict[str, list[str]]]]:
    """Axes of the severity table with two or three values each, and rules of any shape."""
    names = ("kind", "live", "exposure", "reach")
    axes = {name: [*("a", "b")[: draw(st.integers(0, 2))], "unknown"] for name in names}
    choice = {name: st.lists(st.sampled_from(values), min_size=1, unique=True) for name, values in axes.items()}
    cells = [{name: ["any"] for name in names}] if draw(st.booleans()) else []
    if cells and draw(st.booleans()):  # cut one axis in two: complete, and disjoint
        name = draw(st.sampled_from(names))
        cells = [cells[0] | {name: [value]} for value in axes[name]]
    cells += draw(st.lists(st.fixed_dictionaries(choice), max_size=2))
    return axes, cells


@settings(max_examples=60, deadline=None)
@given(small_tables())
def test_a_table_loads_if_and_only_if_every_cell_has_one_rule(
    drawn: tuple[dict[str, list[str]], list[dict[str, list[str]]]],
) -> None:
    axes, cells = drawn
    rules = [{"id": f"r{n}", "cells": row, "level": "low", "reason": "drawn"} for n, row in enumerate(cells)]
    document = strictyaml.read(TEXT, "policy.yaml").plain | {"severity": {"axes": axes, "rules": rules}, "kinds": {}}
    text = json.dumps(document)  # JSON is YAML without anchors
    covers = {
        cell: [
            r["id"]
            for r in rules
            if all(v in r["cells"][n] or r["cells"][n] == ["any"] for n, v in zip(axes, cell, strict=True))
        ]
        for cell in itertools.product(*axes.values())
    }
    if all(len(ids) == 1 for ids in covers.values()):
        loaded = Policy.load(text)
        assert {cell: rule["id"] for cell, rule in loaded.severities.cells.items()} == {
            c: ids[0] for c, ids in covers.items()
        }
    else:
        said = " ".join(words for _line, words in problems(text))
        assert ("both cover" in said) == any(len(ids) > 1 for ids in covers.values())
        assert ("no rule of severity covers" in said) == any(not ids for ids in covers.values())


@settings(max_examples=60, deadline=None)
@given(st.integers(0, len(TEXT) - 1), st.text(alphabet="{}[],:#&*!|>'\"-a\n\t ", max_size=6), st.integers(0, 30))
def test_a_mutated_policy_is_refused_or_complete(at: int, put: str, drop: int) -> None:
    try:
        loaded = Policy.load(TEXT[:at] + put + TEXT[at + drop :])
    except PlaybookError as exc:
        assert exc.problems
        return
    for one in (loaded.severities, loaded.postures):
        assert set(one.cells) == set(itertools.product(*one.axes.values()))

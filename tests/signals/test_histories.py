"""Signals 1, 2, 3 and 5 over made-up histories: every plant when it first happens, and quiet through the rest."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from bot.signals import run
from bot.signals.baseline import Baseline
from bot.signals.findings import Finding, Sure
from bot.signals.given import Given, Jobs
from tests.signals import histories

NOW = datetime(2026, 12, 1, tzinfo=UTC)


def judged(history: histories.History, baseline: Baseline | None = None) -> list[Finding]:
    given = Given(now=NOW, networks=histories.HOSTED, jobs=Jobs(history.facts))
    calls = sorted(history.calls, key=lambda fact: fact.at)
    batches = [calls[k : k + 50] for k in range(0, len(calls), 50)]
    return list(run(history.facts, batches, [], baseline or Baseline(), given))


@pytest.mark.parametrize("seed", range(3))
def test_every_plant_is_found_when_it_first_happens_and_nothing_else_is_likely(seed: int) -> None:
    history = histories.make(seed)
    found = [one for one in judged(history) if one.sure.rank >= Sure.LIKELY.rank]
    assert len(history.plants) == len(histories.PLANTS) + 1  # one plant shows by two signs
    for (signal, what), at in history.plants.items():
        assert [f for f in found if (f.signal, f.what, f.at) == (signal, what, at)], (signal, what)
    planted = set(history.plants.values())
    false = [f for f in found if not any(abs((f.at - at).total_seconds()) < 2000 for at in planted)]
    assert len(false) <= 1, [f.says for f in false]


def test_each_finding_says_what_was_ruled_out_and_where_it_stands() -> None:
    for one in judged(histories.make(1)):
        assert one.ruled_out, one.says
        assert one.evidence, one.says


def test_told_twice_a_finding_has_one_name() -> None:
    history = histories.make(2)
    first, second = ([f.name for f in judged(history)] for _ in range(2))
    assert first == second
    assert len(set(first)) == len(first)


def test_what_was_learned_once_is_known_after_it_was_written_and_read() -> None:
    import json

    history, baseline = histories.make(3), Baseline()
    judged(history, baseline)
    again = Baseline.of_json(json.dumps(baseline.as_json()), "memory")
    assert again.entries == baseline.entries
    assert again.ready("api-target", histories.ROLE)

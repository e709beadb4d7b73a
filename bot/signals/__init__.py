"""The five signals of misuse: facts and a baseline in, findings out. They ask nobody and keep nothing.

Collectors (``collect``) read facts; ``run`` hands them to the signals in the order of time. CloudTrail is streamed
through ``api_target`` and ``token_lifetime``, logs through ``build_logs``; what remains fits in memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from bot.signals import api_target, build_logs, deploy_source, release_path, token_lifetime
from bot.signals.baseline import Baseline
from bot.signals.encodings import Known
from bot.signals.facts import AnyFact, Text
from bot.signals.findings import Finding
from bot.signals.given import Given

__all__ = ["OF_CALLS", "OF_FACTS", "run"]

OF_FACTS = (deploy_source.judge, release_path.judge)  # whole histories, in memory
OF_CALLS = (api_target.judge, token_lifetime.judge)  # one file after another


def run(
    facts: Sequence[AnyFact], calls: Iterable[Iterable[AnyFact]], texts: Iterable[Text], baseline: Baseline,
    given: Given, *, known: Known | None = None, recognizer: build_logs.Recognizer | None = None,
) -> Iterator[Finding]:  # fmt: skip
    """Findings of all five, each name once, in the order in which they were come upon. The baseline learns."""
    told: set[str] = set()
    for found in _all(facts, calls, texts, baseline, given, known, recognizer):
        if found.name not in told:
            told.add(found.name)
            yield found


def _all(
    facts: Sequence[AnyFact], calls: Iterable[Iterable[AnyFact]], texts: Iterable[Text], baseline: Baseline,
    given: Given, known: Known | None, recognizer: build_logs.Recognizer | None,
) -> Iterator[Finding]:  # fmt: skip
    for judge in OF_FACTS:
        yield from judge(facts, baseline, given)
    yield from token_lifetime.judge(facts, baseline, given)  # what an audit log of GitHub's tells
    for batch in calls:
        rows = list(batch)
        for judge_calls in OF_CALLS:
            yield from judge_calls(rows, baseline, given)
    yield from build_logs.judge(texts, given, known=known, recognizer=recognizer)

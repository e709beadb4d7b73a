"""What Prometheus reads, counted from the database when it asks. No label names a person or a credential."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from bot import heartbeat
from bot.health.figures import Figures, figures
from bot.intake import missed
from bot.learn.metrics import TOTAL, groups
from bot.lessons.measures import Measures
from bot.posts import Posts
from bot.store import Store, when
from bot.store_intake import counts as counts_of_inbox

CONTENT_TYPE = CONTENT_TYPE_LATEST


def page(
    store: Store, now: datetime, deliveries: Mapping[tuple[str, str], int], measures: Measures, *,
    frozen: bool = False,
) -> bytes:  # fmt: skip
    """The whole page, in Prometheus's text form."""
    registry = CollectorRegistry()
    registry.register(_Collector(store, now, deliveries, measures, frozen))
    return generate_latest(registry)


class _Collector:
    def __init__(
        self, store: Store, now: datetime, deliveries: Mapping[tuple[str, str], int], measures: Measures,
        frozen: bool,
    ) -> None:  # fmt: skip
        self._store, self._now, self._deliveries, self._measures = store, now, deliveries, measures
        self._frozen = frozen

    def collect(self) -> Iterable[Metric]:
        """Every family."""
        known = figures(self._store, self._now)
        counts: Counter[tuple[str, ...]] = Counter((row.world, row.status) for row in self._store.incidents())
        yield _family("incidents", "Incidents", ["world", "status"], counts)
        yield from _worked(known)
        reports = counts_of_inbox(self._store)
        yield _family("reports", "Reports", ["state"], _single(reports))
        text = "How long the oldest report has waited for a worker"
        yield GaugeMetricFamily("bulkhead_oldest_report_seconds", text, known.inbox_oldest_s)
        yield _family("pages", "Pages that were to wake somebody", ["to", "state"], Posts(self._store).counts("page"))
        came = CounterMetricFamily("bulkhead_deliveries", "Webhook deliveries", labels=["source", "outcome"])
        for labels, count in sorted(self._deliveries.items()):
            came.add_metric(list(labels), count)
        yield came
        text = "1 while the installation is frozen: nothing that changes anything is begun"
        yield GaugeMetricFamily("bulkhead_frozen", text, float(self._frozen))
        yield from self._beats()
        yield from _processes(known)
        yield from _slack(known)
        yield from _providers(known)
        text = "Since the vault key was made or last changed"
        yield GaugeMetricFamily("bulkhead_vault_key_age_seconds", text, known.vault_key_s)
        yield from self._polls()
        yield from self._learnt()

    def _beats(self) -> Iterable[Metric]:
        beats = _family("heartbeat_age_seconds", "How long ago each role said that it lives", ["role"], {})
        silent = _family("silent", "1 where a role has fallen silent or was never seen", ["role"], {})
        for role, age in heartbeat.ages(self._store, self._now).items():
            if age is not None:
                beats.add_metric([role], age.total_seconds())
            silent.add_metric([role], float(heartbeat.words(age) != "ok"))
        yield beats
        yield silent

    def _learnt(self) -> Iterable[Metric]:
        """Times over all incidents and drills, and what is left to do after them."""
        labels = ["world", "time"]
        mid = _family("time_median_seconds", "Median of a time over incidents", labels, {})
        high = _family("time_p90_seconds", "What nine in ten incidents stay below", labels, {})
        many = _family("time_incidents", "How many incidents a time was measured of", labels, {})
        left = _family("follow_ups", "Follow-ups that are not done", ["world", "state"], {})
        static = _family("static_secrets", "Places of static secrets that leaked", ["world", "state"], {})
        for one in groups(self._measures.all(), TOTAL, self._now.date()):
            for time in one.times:
                mid.add_metric([one.world, time.time], time.median)
                high.add_metric([one.world, time.time], time.p90)
                many.add_metric([one.world, time.time], time.n)
            for state, count in (("open", one.open_follow_ups), ("overdue", one.overdue), ("reopened", one.reopened)):
                left.add_metric([one.world, state], count)
            static.add_metric([one.world, "gone"], one.static_gone)
            static.add_metric([one.world, "left"], one.static - one.static_gone)
        yield from (mid, high, many, left, static)

    def _polls(self) -> Iterable[Metric]:
        failing = _family("catch_up_failing", "1 where what webhooks missed cannot be asked for", ["poll"], {})
        ages = _family("catch_up_age_seconds", "Since a poll for missed deliveries last succeeded", ["poll"], {})
        for name, state in sorted(missed.states(self._store).items()):
            failing.add_metric([name], float(bool(state.why)))
            if state.succeeded:
                ages.add_metric([name], (self._now - when(state.succeeded)).total_seconds())
        yield failing
        yield ages


def _worked(known: Figures) -> Iterable[Metric]:
    """The open incidents, by World: nobody is to be woken for a drill."""
    work = sorted(known.work.items())
    rows = {(world, state): count for world, one in work for state, count in one.rows.items()}
    yield _family("ledger_rows", "Rows of the ledgers of open incidents", ["world", "state"], rows)
    asks = {(world, group): count for world, one in work for group, count in one.asks.items()}
    yield _family("asks", "Questions to people that nobody has settled", ["world", "group"], asks)
    ended = {(world, how): count for world, one in work for how, count in one.failed.items()}
    yield _family("failed_steps", "Steps of open incidents that ended without their effect", ["world", "how"], ended)
    tails = _family("tails", "What was minted from a dead credential and may still live", ["world"], {})
    ask = _family("oldest_ask_seconds", "How long the oldest question has waited", ["world"], {})
    step = _family("oldest_step_seconds", "How long a step that waits for nobody has been silent", ["world"], {})
    for world, one in work:
        tails.add_metric([world], one.tails)
        ask.add_metric([world], one.oldest_ask_s)
        step.add_metric([world], one.late_s)
    yield from (tails, ask, step)


def _processes(known: Figures) -> Iterable[Metric]:
    text = "Processes by role: alive, or lost, that is gone without a word within the last hour"
    counts = {}
    for role in ("worker", "clock", "pages"):
        counts[role, "alive"], counts[role, "lost"] = len(known.alive(role)), len(known.lost(role))
    yield _family("processes", text, ["role", "state"], counts)


def _slack(known: Figures) -> Iterable[Metric]:
    text = "How long the oldest delivery of Slack has waited to be worked"
    yield GaugeMetricFamily("bulkhead_slack_oldest_seconds", text, known.slack_oldest_s)
    text = "Deliveries of Slack within the last day that were given up"
    yield GaugeMetricFamily("bulkhead_slack_dead", text, known.slack_dead)


def _providers(known: Figures) -> Iterable[Metric]:
    """What the living workers have last heard; nothing of a provider that none of them has called."""
    away = _family("provider_away", "1 where the last call of a provider was not answered", ["provider"], {})
    calls = _family("provider_calls", "Calls that are under way or wait for a place", ["provider"], {})
    rest = _family("provider_rest_seconds", "What is left of a pause that a provider asked for", ["provider"], {})
    left = _family("provider_budget_ratio", "Part of an hour's requests that is left", ["provider"], {})
    for one in known.providers:
        away.add_metric([one.name], float(not one.answers))
        calls.add_metric([one.name], one.needs)
        rest.add_metric([one.name], one.rest_s)
        if one.left is not None:
            left.add_metric([one.name], one.left)
    yield from (away, calls, rest, left)
    text = "Seconds that our clock is ahead of another's: the database's, a provider's"
    yield _family("clock_ahead_seconds", text, ["of"], {(name,): by for name, by in known.ahead_s.items()})


def _single(counts: Counter[str]) -> Counter[tuple[str, ...]]:
    return Counter({(name,): count for name, count in counts.items()})


def _family(name: str, text: str, labels: list[str], counts: Mapping[Any, float]) -> GaugeMetricFamily:
    """``counts``: the values of the labels, as a tuple -> the figure."""
    family = GaugeMetricFamily(f"bulkhead_{name}", text, labels=labels)
    for values, count in sorted(counts.items()):
        family.add_metric(list(values), count)
    return family

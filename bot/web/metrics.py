"""What Prometheus reads, counted from the database when it asks. No label names a person or a credential."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from bot import heartbeat
from bot.engine.decisions import open_asks
from bot.engine.ledger import Ledger
from bot.intake import missed
from bot.learn.metrics import TOTAL, groups
from bot.lessons.measures import Measures
from bot.posts import Posts
from bot.store import Store, when
from bot.store_intake import counts as counts_of_inbox
from bot.timeline import load

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
        """Every family, in one pass over the open incidents."""
        rows = self._store.incidents()
        states: Counter[str] = Counter()
        groups: Counter[str] = Counter()
        tails, oldest = 0, 0.0
        for row in rows:
            if row.status != "open":
                continue
            events = load(self._store, row.id)
            ledger = Ledger.fold(events)
            states.update(one.state.value for one in ledger.rows.values())
            tails += len(list(ledger.open_tails()))
            asked = {(e.step, e.attempt): e.at for e in events if e.kind == "asked"}
            for ask in open_asks(events):
                groups[ask.group] += 1
                oldest = max(oldest, (self._now - when(asked[ask.step, ask.attempt])).total_seconds())
        counts: Counter[tuple[str, ...]] = Counter((row.world, row.status) for row in rows)
        reports = counts_of_inbox(self._store)
        yield _family("incidents", "Incidents", ["world", "status"], counts)
        yield _family("ledger_rows", "Rows of the ledgers of open incidents", ["state"], _single(states))
        yield _family("asks", "Questions to people that nobody has settled", ["group"], _single(groups))
        yield _family("reports", "Reports", ["state"], _single(reports))
        pages = _family("pages", "Pages that were to wake somebody", ["to", "state"], Posts(self._store).counts("page"))
        yield pages
        came = CounterMetricFamily("bulkhead_deliveries", "Webhook deliveries", labels=["source", "outcome"])
        for labels, count in sorted(self._deliveries.items()):
            came.add_metric(list(labels), count)
        yield came
        yield GaugeMetricFamily("bulkhead_tails", "What was minted from a dead credential and may still live", tails)
        text = "1 while the installation is frozen: nothing that changes anything is begun"
        yield GaugeMetricFamily("bulkhead_frozen", text, float(self._frozen))
        ages = heartbeat.ages(self._store, self._now)
        beats = _family("heartbeat_age_seconds", "How long ago each role said that it lives", ["role"], {})
        silent = _family("silent", "1 where a role has fallen silent or was never seen", ["role"], {})
        for role, age in ages.items():
            if age is not None:
                beats.add_metric([role], age.total_seconds())
            silent.add_metric([role], float(heartbeat.words(age) != "ok"))
        yield beats
        yield silent
        yield from self._polls()
        yield GaugeMetricFamily("bulkhead_oldest_ask_seconds", "How long the oldest question has waited", oldest)
        yield from self._learnt()

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


def _single(counts: Counter[str]) -> Counter[tuple[str, ...]]:
    return Counter({(name,): count for name, count in counts.items()})


def _family(name: str, text: str, labels: list[str], counts: Mapping[tuple[str, ...], int]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(f"bulkhead_{name}", text, labels=labels)
    for values, count in sorted(counts.items()):
        family.add_metric(list(values), count)
    return family

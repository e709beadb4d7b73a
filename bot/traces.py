"""OpenTelemetry traces of a run: a span an incident, a step, a call of an action, a request. Off without an endpoint.

A trace's id and its root's are drawn from the incident's id, so what several workers do of one incident, before a crash
and after it, is one trace without anything being kept. A span has attributes of a closed list, each a short word of our
own: names of steps, actions and errors, never an address, a text or what a provider said.

Spans are handed to a bounded queue and sent from a thread of their own (``BatchSpanProcessor``, OTLP over HTTP). What
does not fit is dropped: nothing here may hold up or stop an incident.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import re
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from bot.errors import BulkheadError, InputError

# What a span may say (``bulkhead.NAME``), and nothing else.
ATTRIBUTES = frozenset(
    {"incident", "world", "playbook", "step", "action", "effect", "part", "provider", "attempt", "method", "operation",
     "status", "outcome"}
)
OK = "ok"
WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._#/~-]{0,119}")  # no colon, no question mark: never an address
QUEUE, BATCH, EVERY_MS, SEND_S, END_S = 4096, 256, 2000.0, 5.0, 3.0
log = logging.getLogger("bulkhead.traces")


@dataclass(slots=True)
class Span:
    """One span while it runs. ``outcome`` is ok, or the name of what went wrong."""

    name: str
    trace: int
    id: int
    parent: int  # 0: it is the root
    began: int  # nanoseconds since 1970
    said: dict[str, str | int]
    outcome: str = OK


@dataclass(slots=True)
class _Sink:
    """Where spans go. Without one they are not even made."""

    take: Callable[[Span, int], None] | None = None  # a finished span and the time, in nanoseconds


_sink = _Sink()
_current: ContextVar[tuple[int, int, str] | None] = ContextVar("bulkhead span", default=None)  # trace, span, incident


def ids(incident: str) -> tuple[int, int]:
    """The trace of an incident, and its root span."""
    digest = hashlib.sha256(b"bulkhead trace " + incident.encode()).digest()
    return int.from_bytes(digest[:16]), int.from_bytes(digest[16:24])


@contextlib.contextmanager
def incident(name: str) -> Iterator[None]:
    """Whatever is done while the block runs belongs to this incident."""
    token = _current.set((*ids(name), name)) if _sink.take else None
    try:
        yield
    finally:
        if token is not None:
            _current.reset(token)


def ended(name: str, began: float, outcome: str, **said: str) -> None:
    """An incident is over: its root span. ``began``: seconds since 1970."""
    if _sink.take:
        trace, root = ids(name)
        _finish(Span("incident", trace, root, 0, int(began * 1e9), {"incident": name, **said}, outcome))


Say = Callable[..., None]  # more words of a span that are known in the middle of it


@contextlib.contextmanager
def span(name: str, **said: str | int) -> Iterator[Say]:
    """A step, a call or a request, under whatever is around it. An error is named and goes on up."""
    around = _current.get()
    if not (_sink.take and around):
        yield _nobody
        return
    trace, parent, about = around
    made = Span(name, trace, secrets.randbits(64) or 1, parent, time.time_ns(), {"incident": about, **said})
    token = _current.set((trace, made.id, about))
    try:
        yield made.said.update
    except BaseException as exc:
        made.outcome = type(exc).__name__ if isinstance(exc, BulkheadError) else _other(exc)
        raise
    finally:
        _current.reset(token)
        _finish(made)


def past(name: str, began: int, outcome: str, **said: str | int) -> None:
    """A span that is over, where a library tells of its beginning and its end. ``began``: nanoseconds since 1970."""
    around = _current.get()
    if _sink.take and around:
        trace, parent, about = around
        _finish(Span(name, trace, secrets.randbits(64) or 1, parent, began, {"incident": about, **said}, outcome))


def _nobody(**_said: str | int) -> None:
    """What is said of a span that nobody takes."""


def _other(exc: BaseException) -> str:
    """An error that is not for people, or the end of a task: a cancelled one is no fault."""
    return "cancelled" if type(exc).__name__ in ("CancelledError", "GeneratorExit") else type(exc).__name__


def _finish(made: Span) -> None:
    take = _sink.take
    if take:
        try:
            take(made, time.time_ns())
        except Exception as exc:  # noqa: BLE001 - whatever a tracing library does, the incident goes on
            log.debug("a span was lost: %s", type(exc).__name__)


def attributes(made: Span) -> dict[str, str | int]:
    """What a span says of itself: names of the list only, and words only."""
    said = {**made.said, "outcome": made.outcome}
    return {
        f"bulkhead.{name}": value if isinstance(value, int) or WORD.fullmatch(value) else "other"
        for name, value in said.items()
        if name in ATTRIBUTES and value != ""
    }


# where they go --------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def delivered(endpoint: str, headers: Mapping[str, str], *, version: str, process: str) -> Iterator[None]:
    """Send spans to an OTLP endpoint while the block runs; without one, nothing. Raises InputError."""
    if not endpoint:
        yield
        return
    stop = _begin(endpoint, headers, version, process)
    try:
        yield
    finally:
        _sink.take = None
        ending = threading.Thread(target=stop, name="traces", daemon=True)
        ending.start()
        ending.join(END_S)  # a collector that does not answer is not waited for


def _begin(endpoint: str, headers: Mapping[str, str], version: str, process: str) -> Any:
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import ReadableSpan
        from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
        from opentelemetry.sdk.util.instrumentation import InstrumentationScope
        from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags
    except ImportError:
        raise InputError(
            "BULKHEAD_TRACES needs the OpenTelemetry libraries: install bulkhead[traces], or take it out"
        ) from None
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)  # it says the same again and again; we say it once
    # Not Resource.create: that adds what it detects of the machine and of the environment.
    about = Resource({"service.name": "bulkhead", "service.version": version, "service.instance.id": process})
    scope = InstrumentationScope("bulkhead", version)

    class Told(SpanExporter):
        """The exporter, which says once that nobody takes what it sends, and once that somebody does again."""

        def __init__(self) -> None:
            self._to = OTLPSpanExporter(_address(endpoint), headers=dict(headers), timeout=SEND_S, session=_session())
            self._failing = False

        def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
            done = self._to.export(spans)
            failed = done is not SpanExportResult.SUCCESS
            if failed and not self._failing:
                log.warning("traces are not taken by their collector; incidents go on, these spans are lost")
            if self._failing and not failed:
                log.info("traces are taken by their collector again")
            self._failing = failed
            return done

        def shutdown(self) -> None:
            self._to.shutdown()  # type: ignore[no-untyped-call]

    def _session() -> Any:
        import requests

        made = requests.Session()
        made.trust_env = urlsplit(endpoint).hostname not in ("127.0.0.1", "localhost", "::1")  # no proxy leads there
        return made

    queue = BatchSpanProcessor(
        Told(), max_queue_size=QUEUE, schedule_delay_millis=EVERY_MS, max_export_batch_size=BATCH,
        export_timeout_millis=SEND_S * 1000,
    )  # fmt: skip

    def context(made: Span, which: int) -> SpanContext:
        return SpanContext(made.trace, which, is_remote=False, trace_flags=TraceFlags(TraceFlags.SAMPLED))

    def take(made: Span, now: int) -> None:
        queue.on_end(ReadableSpan(
            made.name, context(made, made.id), context(made, made.parent) if made.parent else None, about,
            attributes(made), kind=SpanKind.CLIENT if made.name == "request" else SpanKind.INTERNAL,
            status=Status(StatusCode.OK if made.outcome == OK else StatusCode.ERROR),
            start_time=made.began, end_time=max(now, made.began), instrumentation_scope=scope,
        ))  # fmt: skip

    _sink.take = take
    return queue.shutdown


def _address(endpoint: str) -> str:
    """The collector's address for traces: /v1/traces unless a path was given (OTLP's specification, over HTTP)."""
    return endpoint if urlsplit(endpoint).path.strip("/") else endpoint.rstrip("/") + "/v1/traces"

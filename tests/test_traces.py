"""Traces over a real OTLP receiver: the spans of an incident, what may stand in them, and a collector that is away."""

from __future__ import annotations

import asyncio
import dataclasses
import gzip
import http.server
import json
import logging
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from bot import app, drill, sites, traces
from bot.actions import CATALOGUE
from bot.errors import Unavailable
from bot.playbook import load_folder
from bot.scenario import load_drill
from bot.settings import Settings
from bot.timeline import load
from tests.engine.lamps import House
from tests.test_canaries import PUBLIC, found_in
from tests.test_logs import PLAYBOOK

TOKEN = "made-up-" + "collector-token"


class Collector:
    """Takes OTLP over HTTP on loopback. ``open``: while it is not set, whoever sends waits."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.spans: list[Any] = []
        self.headers: list[dict[str, str]] = []
        self.open = threading.Event()
        self.open.set()
        collector = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                collector.open.wait()
                if self.headers.get("content-encoding") == "gzip":
                    body = gzip.decompress(body)
                said = ExportTraceServiceRequest.FromString(body)
                collector.bodies.append(body)
                collector.headers.append({"path": self.path, **dict(self.headers)})
                collector.spans += [s for r in said.resource_spans for scope in r.scope_spans for s in scope.spans]
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        self.open.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)

    def named(self, name: str) -> list[Any]:
        return [span for span in self.spans if span.name == name]

    def wait_for(self, name: str, count: int = 1) -> None:
        give_up = time.monotonic() + 60
        while len(self.named(name)) < count:
            assert time.monotonic() < give_up, [span.name for span in self.spans]
            time.sleep(0.02)


@pytest.fixture
def collector() -> Iterator[Collector]:
    made = Collector()
    yield made
    made.close()


def said(span: Any) -> dict[str, str | int]:
    return {one.key: one.value.string_value or one.value.int_value for one in span.attributes}


def delivered(url: str, **headers: str) -> Any:
    return traces.delivered(url, headers, version="1", process="bulkhead-1")


def test_a_span_says_words_of_its_list_and_nothing_else(collector: Collector) -> None:
    address = "https://api.example/x?token=made-up"
    with delivered(collector.url, authorization=f"Bearer {TOKEN}"), traces.incident("inc-1"):
        with (
            traces.span("step", step="cut#1", action=address, reason="free text"), pytest.raises(Unavailable),
            traces.span("call", provider="aws", part="run", attempt=2),
        ):  # fmt: skip
            raise Unavailable(f"{address} did not answer", provider="aws")
        traces.ended("inc-1", 1.0, traces.OK, world="real", playbook="aws-access-key")
        collector.wait_for("incident")
    call, step, root = collector.spans
    assert said(step) == {
        "bulkhead.incident": "inc-1", "bulkhead.step": "cut#1", "bulkhead.action": "other", "bulkhead.outcome": "ok",
    }  # fmt: skip
    assert said(call)["bulkhead.outcome"] == "Unavailable"
    assert (said(call)["bulkhead.attempt"], call.status.code, step.status.code) == (2, 2, 1)
    assert (call.parent_span_id, step.parent_span_id, root.parent_span_id) == (step.span_id, root.span_id, b"")
    assert root.start_time_unix_nano == 1_000_000_000
    assert {span.trace_id for span in collector.spans} == {traces.ids("inc-1")[0].to_bytes(16)}
    assert all(not span.events for span in collector.spans), "no error with its text"
    assert collector.headers[0]["path"] == "/v1/traces"
    assert collector.headers[0]["authorization"] == f"Bearer {TOKEN}"
    assert not any(word in body for body in collector.bodies for word in (b"made-up", b"free text", b"example"))


def test_without_an_endpoint_there_is_no_span_and_no_library(collector: Collector) -> None:
    with delivered(""), traces.incident("inc-1"), traces.span("step", step="a"):
        assert traces._sink.take is None
        assert traces._current.get() is None
    assert collector.spans == []


async def driven(engine: Any, house: House) -> None:
    await engine.start()
    while house.store.incident("inc-1").status == "open":
        await asyncio.sleep(0.02)
    await engine.stop()


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    made = House.build(tmp_path)
    made.room.light("a")
    made.land(PLAYBOOK)
    yield made
    made.close()


@pytest.mark.slow
def test_an_incident_is_one_trace_of_steps_and_calls(house: House, collector: Collector) -> None:
    house.room.trouble["a"] = 1
    with delivered(collector.url):
        asyncio.run(driven(house.engine(), house))
        collector.wait_for("incident")
    trace, root = traces.ids("inc-1")
    (incident,) = collector.named("incident")
    (step,) = collector.named("step")
    assert (incident.trace_id, incident.span_id) == (trace.to_bytes(16), root.to_bytes(8))
    assert step.parent_span_id == incident.span_id
    calls = [(said(c)["bulkhead.part"], said(c)["bulkhead.outcome"]) for c in collector.named("call")]
    assert calls == [("triage", "ok"), ("look", "ok"), ("run", "Unavailable"), ("run", "ok"), ("prove", "ok")]
    inside = [c for c in collector.named("call") if said(c)["bulkhead.part"] != "triage"]
    assert {c.parent_span_id for c in inside} == {step.span_id}
    assert said(incident)["bulkhead.playbook"] == "one-lamp"


@pytest.mark.slow
@pytest.mark.parametrize("away", ["hangs", "is not there"])
def test_a_collector_that_is_away_holds_up_nothing(
    house: House, collector: Collector, away: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "bulkhead.traces")
    if away == "is not there":
        collector.close()
    collector.open.clear()
    with delivered(collector.url):
        asyncio.run(driven(house.engine(), house))
        assert house.store.incident("inc-1").status == "closed", "and nobody has taken a span yet"
        assert collector.spans == []
        give_up = time.monotonic() + 60
        while not caplog.messages:
            assert time.monotonic() < give_up
            time.sleep(0.05)
    assert caplog.messages == ["traces are not taken by their collector; incidents go on, these spans are lost"]
    if away == "hangs":
        collector.open.set()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_spans_of_a_whole_drill_hold_no_secret_and_no_address(tmp_path: Path, collector: Collector) -> None:
    source = app.SHIPPED / "drills" / "aws-key-in-public-log.yaml"
    scenario = load_drill(source.read_text(), str(source), load_folder([app.SHIPPED / "containment"], CATALOGUE))
    scenario = dataclasses.replace(scenario, delay_s=0.02)
    canaries: set[str] = set()
    with drill.range_up() as arena:
        settings = Settings(home=tmp_path, responders=",".join(scenario.responders))
        with app.opened(settings, sites={"range": sites.range_site(arena.endpoints)}) as bulkhead:
            with delivered(collector.url):
                result = asyncio.run(drill.Run(scenario, bulkhead, arena, lambda _kind, _data: None).run())
                collector.wait_for("incident")
            events = load(bulkhead.store, result.incident)
        canaries.update(arena.get("/values"))
        addresses = [url for url in json.loads(json.dumps(arena.info, default=str)).values() if isinstance(url, str)]
    assert result.contained, result.why_not
    looked = {event.step for event in events if event.kind == "look"}
    stepped = {said(span)["bulkhead.step"] for span in collector.named("step")}
    assert stepped == {name for name in looked if "/" not in name}
    assert len(collector.named("call")) > 2 * len(stepped)
    requests = [said(span) for span in collector.named("request")]
    assert {"aws", "github"} <= {one["bulkhead.provider"] for one in requests}
    assert {"GetAccessKeyLastUsed", "UpdateAccessKey"} <= {one.get("bulkhead.operation") for one in requests}
    assert {"GET", "PUT"} <= {one.get("bulkhead.method") for one in requests}
    assert any(one.get("bulkhead.status") == 403 and one["bulkhead.outcome"] == "refused" for one in requests)
    inside = {span.span_id for span in collector.spans if span.name != "request"}
    assert all(span.parent_span_id in inside for span in collector.named("request"))
    triage = next(span for span in collector.named("call") if said(span)["bulkhead.part"] == "triage")
    assert any(span.parent_span_id == triage.span_id for span in collector.named("request"))
    for span in collector.spans:
        assert {key.removeprefix("bulkhead.") for key in said(span)} <= traces.ATTRIBUTES
    secrets = {c for c in canaries if len(c) >= PUBLIC and not c.startswith("AKIA")}
    assert len(secrets) > 10
    assert [found_in(body, secrets) for body in collector.bodies if found_in(body, secrets)] == []
    assert not any(b"://" in body for body in collector.bodies)
    assert not any(url.encode() in body for url in addresses if "://" in url for body in collector.bodies)

"""The webhook door over HTTP: sizes, slow bodies, unknown addresses, and never an error of ours."""

from __future__ import annotations

import contextlib
import gzip
import json
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from bot import web
from bot.intake.wire import MAX_BODY
from bot.web.hooks import STATUSES, Hooks, description
from tests.intake.office import AT, SECRETS, Office, alert, office, proof
from tests.test_web import Serving

__all__ = ["office"]  # a fixture

TOKEN = "made-up-" + "metrics-token"


@pytest.fixture
def served(office: Office) -> Iterator[tuple[Office, httpx.Client]]:
    pages = web.application(office.store, metrics_token=TOKEN, hooks=Hooks(office.door, body_s=0.5))
    with Serving(pages) as url, httpx.Client(base_url=url, trust_env=False) as client:
        yield office, client


def signed(body: bytes, event: str = "secret_scanning_alert") -> dict[str, str]:
    return {"content-type": "application/json", **proof("github", body, AT, event)}


def test_a_signed_delivery_lands_is_acknowledged_and_counted(served: tuple[Office, httpx.Client]) -> None:
    office, client = served
    body = json.dumps(alert()).encode()
    answer = client.post("/hooks/github", content=body, headers=signed(body))
    assert (answer.status_code, answer.json()["status"]) == (202, "landed")
    assert client.post("/hooks/github", content=body, headers=signed(body)).json()["status"] == "was here already"
    assert [row["id"] for row in office.store.inbox("landed")] == [answer.json()["id"]]
    page = client.get("/metrics", headers={"authorization": f"Bearer {TOKEN}"}).text
    assert 'bulkhead_deliveries_total{outcome="landed",source="github"} 1.0' in page
    assert 'bulkhead_reports{state="landed"} 1.0' in page


@pytest.mark.parametrize("path", ["/hooks/nobody", "/hooks/sqs", "/hooks/aws", "/hooks/ci", "/hooks/GitHub"])
def test_a_source_that_is_not_open_is_not_there(served: tuple[Office, httpx.Client], path: str) -> None:
    office, client = served
    answers = [client.post(path, content=b"{}"), client.post("/hooks/none-of-that-name", content=b"{}")]
    assert [(a.status_code, a.text) for a in answers] == [(404, answers[0].text)] * 2
    assert office.door.counts == {("(none)", "unknown-source"): 2}, "a made-up name makes no counter of its own"


def test_a_token_in_the_address_is_as_good_as_a_bearer(served: tuple[Office, httpx.Client]) -> None:
    _, client = served
    (secret,) = SECRETS["kingfisher"]
    found = {"schema_version": "1", "kingfisher_version": "2.14.0", "findings": []}
    assert client.post(f"/hooks/kingfisher/{secret}", json=found).status_code == 202
    assert client.post("/hooks/kingfisher/another-token", json=found).status_code == 401
    assert client.post("/hooks/kingfisher", json=found, headers={"authorization": f"Bearer {secret}"}).is_success


def test_a_body_that_is_too_large_is_refused_before_and_while_it_is_read(served: tuple[Office, httpx.Client]) -> None:
    office, client = served
    with socket.create_connection((client.base_url.host, client.base_url.port or 80), timeout=20) as line:
        head = f"POST /hooks/github HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: {MAX_BODY + 1}\r\n\r\n"
        line.sendall(head.encode())
        assert b" 413 " in line.recv(200)

    def parts() -> Iterator[bytes]:
        for _ in range(MAX_BODY // 2**20 + 1):
            yield b" " * 2**20

    with contextlib.suppress(httpx.TransportError):  # it may hang up while we are still sending, which is as well
        assert client.post("/hooks/github", content=parts()).status_code in (408, 413)
    assert office.store.inbox() == []


def test_a_slow_body_is_given_up(served: tuple[Office, httpx.Client]) -> None:
    office, client = served
    host, port = client.base_url.host, client.base_url.port
    with socket.create_connection((host, port or 80), timeout=20) as line:
        line.sendall(b"POST /hooks/github HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 1000\r\n\r\n{")
        assert b" 408 " in line.recv(200)
    assert office.door.counts == {("github", "slow"): 1}


def test_a_body_that_ends_too_soon_leaves_nothing(served: tuple[Office, httpx.Client]) -> None:
    office, client = served
    with socket.create_connection((client.base_url.host, client.base_url.port or 80), timeout=20) as line:
        line.sendall(b"POST /hooks/github HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 1000\r\n\r\n{")
    end = time.monotonic() + 20
    while not office.door.counts and time.monotonic() < end:
        time.sleep(0.02)
    assert office.door.counts in ({("github", "gone"): 1}, {("github", "slow"): 1})


def test_odd_requests_get_a_plain_status_and_never_an_error_of_ours(served: tuple[Office, httpx.Client]) -> None:
    office, client = served
    deep, twins = b"[" * 100_000 + b"]" * 100_000, b'{"a": 1, "a": 2}'
    bodies = [b"", b"{}", b"[]", b"null", b"1e999", b"\xff\xfe", deep, twins, b'{"action": 1, "alert": 2}',
              b'{"alert": {"number": 1e400}}', gzip.compress(b"{}"), b"payload=%7B%7D"]  # fmt: skip
    kinds = [
        "application/json",
        "application/x-www-form-urlencoded",
        "text/xml",
        "",
        "application/json; charset=utf-16",
    ]
    for body in bodies:
        for kind in kinds:
            for encoding in ("", "gzip", "br"):
                for event in ("secret_scanning_alert", "push", "x" * 500):
                    headers = {**signed(body, event), "content-type": kind, "content-encoding": encoding}
                    answer = client.post("/hooks/github", content=body, headers=headers)
                    assert answer.status_code in STATUSES, (body[:20], kind, encoding, answer.status_code)
    assert [row for row in office.store.inbox() if row["state"] == "landed"] == []


def test_many_at_once_share_commits_and_none_is_lost(served: tuple[Office, httpx.Client]) -> None:
    office, client = served
    start = threading.Barrier(8)

    def send(k: int) -> str:
        start.wait()
        ids = []
        for n in range(10):
            body = json.dumps(alert(100 * k + n + 1)).encode()
            ids.append(client.post("/hooks/github", content=body, headers=signed(body)).json()["id"])
        return ",".join(ids)

    with ThreadPoolExecutor(8) as pool:
        told = {one for ids in pool.map(send, range(8)) for one in ids.split(",")}
    assert len(told) == 80
    assert {row["id"] for row in office.store.inbox("landed")} == told


def test_the_door_is_described_for_programs_and_does_not_say_what_is_open(
    served: tuple[Office, httpx.Client]
) -> None:  # fmt: skip
    _, client = served
    told = client.get("/hooks/openapi.json").json()
    assert told == description()
    assert {"/hooks/github", "/hooks/ci", "/hooks/aws"} <= told["paths"].keys()
    assert "/hooks/sqs" not in told["paths"]

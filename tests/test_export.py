"""Decisions as JSON lines and to syslog servers that really listen: in order, at least once, from where it stopped."""

from __future__ import annotations

import datetime as dt
import ipaddress
import json
import re
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from typer.testing import CliRunner

from bot import export
from bot.__main__ import app
from bot.errors import InputError, Unavailable
from bot.export import Syslog, decisions, forward, message
from bot.store import Store, iso
from tests.incidents import ASKING, ID, START, house

HEAD = re.compile(rb"<109>1 (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z) host\.example bulkhead - decision - (\{.*\})")


def decide(store: Store, who: str, minutes: int = 0) -> None:
    """Land somebody's approval."""
    at = iso(START + dt.timedelta(minutes=minutes))
    store.add_decision({"incident": ID, "step": "deactivate", "kind": "approve", "by": who, "at": at, "plan_hash": "p",
                        "body": {"said": f"ja, {who} \N{SNOWMAN}"}})  # fmt: skip


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    house(tmp_path, ASKING)
    made = Store(f"sqlite:///{tmp_path / 'bulkhead.db'}")
    for minutes, who in enumerate(("ann", "ben", "cleo")):
        decide(made, who, minutes)
    yield made
    made.close()


@dataclass
class Receiver:
    """A syslog server on loopback. ``deaf``: how many connections it resets without reading to their end."""

    kind: str
    context: ssl.SSLContext | None = None
    deaf: int = 0
    got: list[bytes] = field(default_factory=list)
    port: int = 0

    def __enter__(self) -> Receiver:
        kind = socket.SOCK_DGRAM if self.kind == "udp" else socket.SOCK_STREAM
        self._socket = socket.socket(socket.AF_INET, kind)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.settimeout(0.1)
        self.port = self._socket.getsockname()[1]
        if self.kind != "udp":
            self._socket.listen()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._work)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(10)
        self._socket.close()

    def wait_for(self, many: int) -> list[bytes]:
        """What has come, once it is so many."""
        pause = threading.Event()
        for _ in range(200):
            if len(self.got) >= many:
                break
            pause.wait(0.05)
        return list(self.got)

    def _work(self) -> None:
        while not self._over.is_set():
            try:
                if self.kind == "udp":
                    self.got.append(self._socket.recv(65536))
                else:
                    self._serve(self._socket.accept()[0])
            except (TimeoutError, ssl.SSLError):
                continue

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            connection.settimeout(10)
            if self.deaf:
                self.deaf -= 1
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")  # close resets
                return
            if self.context:
                connection = self.context.wrap_socket(connection, server_side=True)
            data = b"".join(iter(lambda: connection.recv(65536), b""))
            if isinstance(connection, ssl.SSLSocket):
                connection.close()
        while data:
            length, _, rest = data.partition(b" ")
            self.got.append(rest[: int(length)])
            data = rest[int(length) :]


@contextmanager
def certificate(tmp_path: Path) -> Iterator[tuple[ssl.SSLContext, ssl.SSLContext]]:
    """A server's side and a client's side of TLS for 127.0.0.1."""
    key, now = ec.generate_private_key(ec.SECP256R1()), dt.datetime.now(dt.UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "syslog of a test")])
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(x509.random_serial_number()).not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1)).add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False
        ).add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True).sign(key, hashes.SHA256())
    )  # fmt: skip
    both = tmp_path / "both.pem"
    plain = serialization.NoEncryption()
    pem = serialization.Encoding.PEM
    both.write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain) + made.public_bytes(pem)
    )  # fmt: skip
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(both)
    yield server, ssl.create_default_context(cadata=made.public_bytes(pem).decode())


def test_decisions_come_in_order_with_what_they_were_about(store: Store) -> None:
    found = list(decisions(store))
    assert [one["by"] for one in found] == ["ann", "ben", "cleo"]
    assert [one["seq"] for one in found] == sorted(one["seq"] for one in found)
    assert (found[0]["incident"], found[0]["title"], found[0]["world"]) == (ID, "Leaked AWS access key", "real")
    assert [one["by"] for one in decisions(store, since=START + dt.timedelta(minutes=1))] == ["ben", "cleo"]
    assert [one["by"] for one in decisions(store, after=found[1]["seq"])] == ["cleo"]


def test_the_command_prints_one_line_of_json_each(store: Store, tmp_path: Path) -> None:
    run = CliRunner().invoke(
        app, ["export", "decisions", "--since", "2026-03-01T12:01:00+00:00"], env={"BULKHEAD_HOME": str(tmp_path)}
    )
    assert run.exit_code == 0, run.stderr
    assert [json.loads(line)["by"] for line in run.stdout.splitlines()] == ["ben", "cleo"]
    wrong = CliRunner().invoke(app, ["export", "decisions", "--since", "lately"], env={"BULKHEAD_HOME": str(tmp_path)})
    assert (wrong.exit_code, "--since must be" in wrong.stderr) == (2, True)


def test_a_message_is_rfc_5424_in_ascii(store: Store) -> None:
    one = message(next(decisions(store)), "host.example")
    head = HEAD.fullmatch(one)
    assert head is not None, one
    assert head[1].decode() == iso(START)
    assert json.loads(head[2])["body"] == {"said": "ja, ann \N{SNOWMAN}"}
    assert message(next(decisions(store)), "ho st\n").split(b" ")[2] == b"host"


@pytest.mark.parametrize("kind", ["udp", "tcp", "tls"])
def test_a_server_gets_every_decision_once_and_later_ones_later(store: Store, tmp_path: Path, kind: str) -> None:
    with certificate(tmp_path) as (server, client), Receiver(kind, server if kind == "tls" else None) as receiver:
        syslog = Syslog(scheme=kind, host="127.0.0.1", port=receiver.port, context=client)
        assert forward(store, syslog, "host.example") == 3
        assert forward(store, syslog, "host.example") == 0
        decide(store, "dora", 9)
        assert forward(store, syslog, "host.example") == 1
        got = receiver.wait_for(4)
    heads = [HEAD.fullmatch(one) for one in got]
    assert [json.loads(head[2])["by"] for head in heads if head] == ["ann", "ben", "cleo", "dora"]


def test_what_a_server_did_not_take_is_sent_again_in_order(store: Store) -> None:
    with Receiver("tcp", deaf=2) as receiver:
        syslog = Syslog(scheme="tcp", host="127.0.0.1", port=receiver.port)
        for _ in range(2):
            with pytest.raises(Unavailable, match="did not take it"):
                forward(store, syslog, "host.example")
        assert store.setting(export.CURSOR) == ""
        assert forward(store, syslog, "host.example") == 3
        got = receiver.wait_for(3)
    assert [json.loads(one.partition(b"decision - ")[2])["by"] for one in got] == ["ann", "ben", "cleo"]


def test_a_server_that_nobody_vouches_for_gets_nothing(store: Store, tmp_path: Path) -> None:
    with certificate(tmp_path) as (server, _), Receiver("tls", server) as receiver:
        receiver.deaf = 0
        syslog = Syslog(scheme="tls", host="127.0.0.1", port=receiver.port)
        with pytest.raises(Unavailable, match="SSLCertVerificationError"):
            forward(store, syslog, "host.example")
    assert receiver.got == []


def test_many_decisions_go_in_batches_and_none_is_left_out(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "BATCH", 2)
    with Receiver("tcp") as receiver:
        assert forward(store, Syslog(scheme="tcp", host="127.0.0.1", port=receiver.port), "host.example") == 3
        assert len(receiver.wait_for(3)) == 3


@pytest.mark.parametrize("url", ["", "http://host", "udp://", "tcp://host/path", "tcp://user@host", "tls://host:x"])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(InputError, match="BULKHEAD_SYSLOG"):
        Syslog.of(url)


def test_ports_are_the_usual_ones_unless_said() -> None:
    said = [(one.scheme, one.host, one.port) for one in map(Syslog.of, ("udp://h", "tcp://h", "tls://h:1"))]
    assert said == [("udp", "h", 514), ("tcp", "h", 601), ("tls", "h", 1)]

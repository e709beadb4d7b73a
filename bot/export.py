"""Every decision as JSON: lines for a file, and RFC 5424 messages for a syslog server, in order and at least once.

What people told running incidents is what an auditor asks for first. A decision's number grows with time; the number of
the last one that a syslog server has taken stands in the database, so a restart goes on from there.
"""

from __future__ import annotations

import contextlib
import json
import logging
import socket
import ssl
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from bot.errors import InputError, Unavailable
from bot.store import Store, when

CURSOR = "syslog:decision"
AUDIT_NOTICE = 13 * 8 + 5  # RFC 5424 6.2.1: facility log audit, severity notice
PORTS = {"udp": 514, "tcp": 601, "tls": 6514}  # RFC 5426, RFC 6587, RFC 5425
TIMEOUT_S = 10.0
UDP_MOST = 2048  # octets; RFC 5424 6.1: what a receiver should take
BATCH = 200
log = logging.getLogger("bulkhead.export")


def decisions(store: Store, *, since: datetime | None = None, after: int = 0) -> Iterator[dict[str, Any]]:
    """Decisions in the order in which they were landed, with what they were about."""
    about = {row.id: row for row in store.incidents()}
    for decision in store.decisions(after_seq=after):
        if since is None or when(decision.at) >= since:
            row = about.get(decision.incident)
            more = {"title": row.title, "world": row.world, "credential": row.credential_key} if row else {}
            yield asdict(decision) | more


def line(decision: dict[str, Any]) -> str:
    """One decision as one line of JSON, in ASCII."""
    return json.dumps(decision, sort_keys=True, separators=(",", ":"))


def message(decision: dict[str, Any], host: str) -> bytes:
    """One decision as an RFC 5424 message, without a frame."""
    name = "".join(c for c in host if 33 <= ord(c) <= 126)[:255] or "-"
    head = f"<{AUDIT_NOTICE}>1 {decision['at']} {name} bulkhead - decision -"
    return f"{head} {line(decision)}".encode("ascii")


@dataclass(frozen=True, slots=True, kw_only=True)
class Syslog:
    """A syslog server: ``udp://HOST``, ``tcp://HOST`` or ``tls://HOST``, with ``:PORT`` where it is not the usual one.

    TCP and TLS frame by octet counting (RFC 6587 3.4.1, RFC 5425 4.3). Syslog has no acknowledgement, so each batch has
    a connection of its own which counts as taken only when the server has read it to its end and closed its side too.
    """

    scheme: str
    host: str
    port: int
    context: ssl.SSLContext | None = None  # who is trusted, for tls; None = the machine's authorities

    @classmethod
    def of(cls, url: str) -> Syslog:
        """Raises InputError for what is not such an address."""
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            raise InputError("BULKHEAD_SYSLOG: the port is not a number") from None
        extra = parts.path.strip("/") or parts.query or parts.username
        if parts.scheme not in PORTS or not parts.hostname or extra:
            raise InputError("BULKHEAD_SYSLOG must be udp://HOST, tcp://HOST or tls://HOST, with :PORT when it differs")
        return cls(scheme=parts.scheme, host=parts.hostname, port=port or PORTS[parts.scheme])

    def send(self, messages: list[bytes]) -> None:
        """Hand these over. Raises Unavailable when that cannot be said to have happened: then all go again."""
        try:
            self._datagrams(messages) if self.scheme == "udp" else self._stream(messages)
        except OSError as exc:
            where = f"{self.scheme}://{self.host}:{self.port}"
            raise Unavailable(f"syslog at {where} did not take it ({type(exc).__name__})", provider="syslog") from None

    def _datagrams(self, messages: list[bytes]) -> None:
        """UDP promises nothing, and what is too long for it is cut off at the end, as the RFC says of receivers."""
        where = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_DGRAM)[0]
        with socket.socket(where[0], socket.SOCK_DGRAM) as out:
            for one in messages:
                out.sendto(one[:UDP_MOST], where[4])

    def _stream(self, messages: list[bytes]) -> None:
        with contextlib.ExitStack() as stack:
            out = stack.enter_context(socket.create_connection((self.host, self.port), TIMEOUT_S))
            if self.scheme == "tls":
                trusted = self.context or ssl.create_default_context()
                out = stack.enter_context(trusted.wrap_socket(out, server_hostname=self.host))
            out.sendall(b"".join(b"%d %s" % (len(one), one) for one in messages))
            if isinstance(out, ssl.SSLSocket):
                # Ends our side and waits for theirs. One that closes without a word has read the end of ours.
                with contextlib.suppress(ssl.SSLEOFError, ssl.SSLZeroReturnError):
                    out.unwrap()
                return
            out.shutdown(socket.SHUT_WR)
            while out.recv(4096):
                pass


def forward(store: Store, syslog: Syslog, host: str) -> int:
    """Hand over what was decided since the last time; returns how many. Raises Unavailable; nothing is skipped then.

    One process at a time does it, so that the order holds.
    """
    with store.only_one("syslog") as mine:
        if not mine:
            return 0
        sent = 0
        while batch := _next(store, int(store.setting(CURSOR, "0"))):
            syslog.send([message(one, host) for one in batch])
            store.set_setting(CURSOR, str(batch[-1]["seq"]))
            sent += len(batch)
        return sent


def _next(store: Store, after: int) -> list[dict[str, Any]]:
    return [one for one, _ in zip(decisions(store, after=after), range(BATCH), strict=False)]

"""Faults, latency and the log of requests, shared by every server of the range.

A rule is a JSON object: ``server``, ``method`` and ``route`` (fnmatch patterns; for AWS a route is
"service:Operation", for GitHub the path), what to do (``status`` with ``code``, ``headers`` and ``body``, or ``reset``,
or only ``delay_s``), ``after_commit`` (do the work first, then lose the answer) and ``times`` (0: until taken away).
The first rule that matches wins.
"""

from __future__ import annotations

import asyncio
import fnmatch
import threading
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field, fields
from typing import Any

from bot.errors import InputError
from bot.range.clock import RangeClock

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
AsgiApp = Callable[[Scope, Receive, Send], Awaitable[None]]

READING_METHODS = {"GET", "HEAD", "OPTIONS"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What happens to one request. ``name`` is how the log calls it."""

    status: int = 0
    code: str = ""
    reset: bool = False
    delay_s: float = 0.0
    after_commit: bool = False
    headers: dict[str, str] = field(default_factory=dict)
    body: str = ""  # instead of an error in the server's own form, as a proxy's page would be

    @property
    def loses_answer(self) -> bool:
        """Whether the client gets something else than the server's own answer."""
        return self.reset or bool(self.status)

    @property
    def name(self) -> str:
        what = "reset" if self.reset else str(self.status or "")
        return f"{what} after commit" if what and self.after_commit else what


@dataclass(slots=True)
class _Rule:
    server: str
    method: str
    route: str
    fault: Fault
    left: int  # uses left; -1 is for ever


_WHERE = {"server", "method", "route", "times"}
_WHAT = {f.name for f in fields(Fault)}


def _rule(data: dict[str, Any]) -> _Rule:
    if not isinstance(data, dict):
        raise InputError("a fault rule is a JSON object")
    unknown = set(data) - _WHERE - _WHAT
    if unknown:
        known = ", ".join(sorted(_WHERE | _WHAT))
        raise InputError(f"a fault rule has no {', '.join(sorted(unknown))}; it has {known}")
    fault = Fault(**{k: v for k, v in data.items() if k in _WHAT})
    where = {k: str(data.get(k, "*")) for k in ("server", "method", "route")}
    return _Rule(**where, fault=fault, left=int(data.get("times", 0)) or -1)


class Switchboard:
    """Every server asks it before it works (``before``) and tells it after (``count``)."""

    def __init__(self, clock: RangeClock) -> None:
        self._clock = clock
        self._rules: list[_Rule] = []
        self._log: list[dict[str, Any]] = []
        self._lock = threading.Lock()

    def add(self, rules: list[dict[str, Any]]) -> None:
        """Add rules behind those there are. ``InputError`` names what a rule cannot hold; then none is added."""
        made = [_rule(data) for data in rules]
        with self._lock:
            self._rules += made

    def clear_faults(self) -> None:
        with self._lock:
            self._rules.clear()

    def clear_requests(self) -> None:
        with self._lock:
            self._log.clear()

    def reset(self) -> None:
        """No rules, an empty log."""
        with self._lock:
            self._rules.clear()
            self._log.clear()

    def before(self, server: str, method: str, route: str) -> Fault | None:
        """The fault that this request suffers; it is used up by asking."""
        with self._lock:
            for rule in self._rules:
                pairs = ((server, rule.server), (method, rule.method), (route, rule.route))
                if rule.left != 0 and all(fnmatch.fnmatchcase(value, pattern) for value, pattern in pairs):
                    rule.left -= 1 if rule.left > 0 else 0
                    return rule.fault
        return None

    def count(
        self, server: str, method: str, route: str, status: int, mutating: bool, detail: str = "", fault: str = ""
    ) -> None:
        """Log a request. ``status`` is what the server did, ``fault`` what the client got instead (if anything)."""
        at = self._clock.now().isoformat()
        row = {
            "server": server, "method": method, "route": route, "status": status, "mutating": mutating,
            "detail": detail, "fault": fault, "at": at,
        }  # fmt: skip
        with self._lock:
            self._log.append(row)

    def requests(self) -> list[dict[str, Any]]:
        """The log, oldest first."""
        with self._lock:
            return [dict(row) for row in self._log]

    def asgi(self, app: AsgiApp, server: str) -> AsgiApp:
        """The app with faults, latency and log around it. Must be the outermost layer under uvicorn.

        An app may say more of a request in ``scope["range.detail"]``, and in ``scope["range.mutating"]`` whether it
        could change something, where its method does not tell.
        """

        async def wrapped(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] != "http":
                await app(scope, receive, send)
                return
            await self._one_asgi(app, server, scope, receive, send)

        return wrapped

    async def _one_asgi(self, app: AsgiApp, server: str, scope: Scope, receive: Receive, send: Send) -> None:
        method, route = str(scope["method"]), str(scope["path"])
        fault = self.before(server, method, route) or Fault()
        if fault.delay_s:
            await asyncio.sleep(fault.delay_s)
        status = 0 if fault.reset else fault.status
        counted = False

        def count() -> None:
            nonlocal counted
            if not counted:
                counted = True
                detail = str(scope.get("range.detail", ""))
                mutating = bool(scope.get("range.mutating", method not in READING_METHODS))
                self.count(server, method, route, status, mutating, detail, fault.name)

        async def keep(message: MutableMapping[str, Any]) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = int(message["status"])
                count()  # before the client can know that it is done, and ask what was counted
            if not fault.loses_answer:
                await send(message)

        try:
            if not fault.loses_answer or fault.after_commit:
                status = 500  # what a crash of the app would be
                await app(scope, receive, keep)
        finally:
            count()
        if fault.reset:
            # uvicorn's own `send` is a method of the cycle that owns the connection; ASGI has no word for a reset
            send.__self__.transport.abort()  # type: ignore[attr-defined]
        elif fault.status:
            body = fault.body.encode() or b'{"message": "fault of the range"}'
            headers = [(k.lower().encode(), v.encode()) for k, v in fault.headers.items()]
            headers.append((b"content-type", b"text/html" if fault.body else b"application/json"))
            await send({"type": "http.response.start", "status": fault.status, "headers": headers})
            await send({"type": "http.response.body", "body": body})

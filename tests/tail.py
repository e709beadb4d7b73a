"""A provider of our own on loopback, and the rules by which Kingfisher's library knows its tokens."""

from __future__ import annotations

import random
import string
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

ALNUM = string.ascii_lowercase + string.digits
_REQUEST = """
      type: Http
      content:
        request:
          method: {method}
          url: {url}/me
          headers: {{Authorization: 'Bearer {{{{ TOKEN }}}}'}}
          response_matcher:
            - {{report_response: true}}
            - {{type: StatusMatch, status: [{status}]}}
"""
_RULE = """
  - name: {name}
    id: custom.{name}
    pattern: '{pattern}'
    min_entropy: 2
    confidence: medium
    examples: []
"""
KINDS = {  # name: (pattern, whether it has a check, whether it has a revocation)
    "harbor-token": (r"\b(hbr_[a-z0-9]{32})\b", True, True),
    "harbor-badge": (r"\b(hbb_[a-z0-9]{32})\b", True, False),
    "harbor-slip": (r"\b(hbs_[a-z0-9]{32})\b", False, True),
    "harbor-note": (r"\b(hbn_[a-z0-9]{32})\b", False, False),
    "harbor-code": (r"harbor_code\s*=\s*([a-z0-9]{32})\b", True, True),  # known by its name alone
}
PREFIX = {"harbor-token": "hbr_", "harbor-badge": "hbb_", "harbor-slip": "hbs_", "harbor-note": "hbn_"}


@dataclass
class Provider:
    """Answers GET and DELETE of /me with a token; keeps what it was asked. ``fault``: how the next answer fails."""

    url: str
    live: set[str] = field(default_factory=set)
    asked: list[tuple[str, str]] = field(default_factory=list)
    fault: str = ""  # "lost": done, and no answer; "away": 503
    keeps: bool = False  # it says that it has revoked, and has not

    def token(self, name: str) -> str:
        """A new live value, made now so that no scanner takes this file for a leak."""
        value = PREFIX.get(name, "") + "".join(random.choices(ALNUM, k=32))
        self.live.add(value)
        return value

    def count(self, verb: str) -> int:
        return sum(1 for each, _ in self.asked if each == verb)

    def answer(self, verb: str, value: str) -> int:
        """The status; 0 is none."""
        self.asked.append((verb, value))
        fault, self.fault = self.fault, ""
        if fault == "away":
            return 503
        known = value in self.live
        if verb == "DELETE" and known and not self.keeps:
            self.live.discard(value)
        return 0 if fault == "lost" else 401 if not known else 204 if verb == "DELETE" else 200


@contextmanager
def provider(folder: Path) -> Iterator[tuple[Provider, Path]]:
    """A running provider, and the file of its rules."""

    class Handler(BaseHTTPRequestHandler):
        def _do(self) -> None:
            status = there.answer(self.command, self.headers.get("Authorization", "").removeprefix("Bearer "))
            if status:
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()
            self.close_connection = not status

        do_GET = do_DELETE = _do  # noqa: N815 - the library calls them so

        def log_message(self, *_: Any) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    there = Provider(f"http://127.0.0.1:{server.server_port}")
    rules = folder / "rules.yml"
    text = "rules:"
    for name, (pattern, checks, revokes) in KINDS.items():
        text += _RULE.format(name=name, pattern=pattern)
        text += "    validation:" + _REQUEST.format(method="GET", url=there.url, status=200) if checks else ""
        text += "    revocation:" + _REQUEST.format(method="DELETE", url=there.url, status=204) if revokes else ""
    rules.write_text(text)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield there, rules
    server.shutdown()
    thread.join()
    server.server_close()

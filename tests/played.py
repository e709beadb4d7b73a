"""``bulkhead serve --range`` as a process of its own, for tests that use it as people do."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests

START_S = 100.0


@dataclass
class Played:
    """It runs. ``url`` is the page; ``look`` and ``act`` are the hands of a person."""

    url: str
    home: Path
    process: subprocess.Popen[str]
    http: requests.Session = field(default_factory=requests.Session)

    def look(self, user: str) -> dict[str, Any]:
        answer = self.http.get(f"{self.url}/hand/{user}/state", timeout=30)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def act(self, user: str, act: str, **body: Any) -> dict[str, Any]:
        answer = self.http.post(f"{self.url}/hand/{user}/{act}", json=body, timeout=60)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def messages(self, user: str, channel: str) -> list[dict[str, Any]]:
        """What somebody sees in a channel."""
        return [dict(m) for c in self.look(user)["channels"] if c["name"] == channel for m in c["messages"]]

    def stop(self) -> str:
        """Ctrl-C; gives what it has said."""
        self.process.send_signal(signal.SIGINT)
        said, _ = self.process.communicate(timeout=60)
        return said


@contextmanager
def played(home: Path) -> Iterator[Played]:
    """Start it and wait until it says that one can come; it is gone with the block."""
    ready = home / "ready"
    plain = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "BULKHEAD_", "GITHUB_"))}
    env = plain | {"BULKHEAD_HOME": str(home / "home"), "BULKHEAD_READY_FILE": str(ready)}
    home.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "bot", "serve", "--range"]
    with subprocess.Popen(command, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        try:
            give_up = time.monotonic() + START_S
            while not (ready.exists() and ready.read_text().endswith("\n")):
                assert process.poll() is None, process.communicate()[0]
                assert time.monotonic() < give_up, "it did not come up"
                time.sleep(0.1)
            with requests.Session() as http:
                http.trust_env = False
                yield Played(ready.read_text().strip(), home / "home", process, http)
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                try:
                    process.communicate(timeout=30)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.communicate()

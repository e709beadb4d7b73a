"""``python -m benchmarks.slack``: how soon Slack is answered while 500 incidents run, and whether a click is lost or
done twice when deliveries come several times and in any order.

Three processes, as in real life: a Slack as strict as the real one, Bulkhead (worker, board and door in one, on
SQLite), and here whoever sends. Every incident makes calls of 80 ms and then waits for two people. The same server
doing nothing but one SQLite insert a request, under the same incidents, is the measure of what an answer must cost.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from bot.range.slack.deliver import sign
from bot.settings import read
from bot.slack import people
from bot.store import Store
from bot.store_slack import Deliveries

INCIDENTS, PER_SECOND, SECONDS, DELIVERIES, SENDERS = 500, 40, 30, 5000, 16
WAIT_S = 300.0
Payload = dict[str, Any]


@dataclass(slots=True)
class Answered:
    """What the senders saw: seconds to each answer by kind, and answers that were none."""

    times: dict[str, list[float]] = field(default_factory=dict)
    bad: Counter[int] = field(default_factory=Counter)

    def line(self, kind: str) -> str:
        """One row of the table."""
        found = self.times[kind] if kind in self.times else [t for some in self.times.values() for t in some]
        p50, p99 = statistics.median(found), statistics.quantiles(found, n=100, method="inclusive")[98]
        return f"{kind:<18}{len(found):>8}{p50 * 1000:>10.0f}{p99 * 1000:>10.0f}{max(found) * 1000:>10.0f}"


class Sender:
    """Slack's side of the door: signs and delivers. ``cast``: ids and secrets of the workspace."""

    def __init__(self, cast: dict[str, Any], port: int) -> None:
        self.cast, self.port = cast, port
        self._addresses = {user: iter(urls) for user, urls in cast["answering"].items()}
        self._line = threading.local()

    def _who(self, user: str) -> Payload:
        found = self.cast["users"][user]
        return {"id": found["id"], "name": user, "team_id": found["team_id"]}

    def payload(self, kind: str, user: str, name: str, incident: str, more: str = "") -> Payload:
        """A delivery as Slack makes it; ``name`` makes it another one."""
        base = {"api_app_id": self.cast["app_id"], "trigger_id": f"t.{name}"}
        # Slack gives commands and clicks an address to answer by, which counts against none of its rate limits.
        address = {"response_url": next(self._addresses[user])} if kind in ("command", "block_actions") else {}
        base |= address
        channel, who = self.cast["channels"]["incidents"], self._who(user)
        if kind == "command":
            return base | {
                "command": "/bulkhead", "text": f"{more} {incident} {name}", "team_id": who["team_id"],
                "user_id": who["id"], "channel_id": channel,
            }  # fmt: skip
        if kind == "event":
            event = {"type": "app_home_opened", "user": who["id"], "channel": "D0", "tab": "home"}
            return {"type": "event_callback", "api_app_id": self.cast["app_id"], "team_id": who["team_id"],
                    "event_id": f"Ev{name}", "event": event}  # fmt: skip
        placed = base | {"type": kind, "team": {"id": who["team_id"]}, "user": who}
        if kind == "view_submission":
            values = {"level": {"level": {"type": "static_select", "selected_option": {"value": "medium"}}},
                      "why": {"why": {"type": "plain_text_input", "value": name}}}  # fmt: skip
            meta = json.dumps({"c": channel, "i": incident})
            view = {"id": "V0", "type": "modal", "callback_id": people.SEVERITY, "private_metadata": meta,
                    "state": {"values": values}}  # fmt: skip
            return placed | {"view": view}
        value = json.dumps({"i": incident, **(json.loads(more.partition(" ")[2] or "{}"))})
        action = {"type": "button", "action_id": more.partition(" ")[0], "block_id": "b", "value": value}
        return placed | {"channel": {"id": channel}, "actions": [action]}

    def deliver(self, payload: Payload, retry: int = 0) -> tuple[float, int]:
        """Send one; seconds until its answer, and the answer's status."""
        form = "application/x-www-form-urlencoded"
        if "command" in payload:
            body, kind = urlencode(payload), form
        elif payload["type"] == "event_callback":
            body, kind = json.dumps(payload), "application/json"
        else:
            body, kind = urlencode({"payload": json.dumps(payload)}), form
        stamp = str(int(time.time()) - retry)
        headers = {"content-type": kind, "x-slack-request-timestamp": stamp, "x-slack-retry-num": str(retry),
                   "x-slack-signature": sign(self.cast["signing_secret"], stamp, body)}  # fmt: skip
        if not hasattr(self._line, "one"):
            self._line.one = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        began = time.perf_counter()
        self._line.one.request("POST", "/slack/events", body.encode(), headers)
        answer = self._line.one.getresponse()
        answer.read()
        return time.perf_counter() - began, answer.status

    def all(self, work: Iterable[tuple[str, Payload, int]], per_second: float = 0.0) -> Answered:
        """Deliver all, by many at once: as fast as it goes, or so many a second, however slow the answers are."""
        seen, lock, todo = Answered(), threading.Lock(), enumerate(work)
        began = time.perf_counter()

        def sender() -> None:
            while True:
                with lock:
                    k, one = next(todo, (0, None))
                if one is None:
                    return
                if per_second:
                    time.sleep(max(0.0, began + k / per_second - time.perf_counter()))
                took, status = self.deliver(one[1], one[2])
                with lock:
                    seen.times.setdefault(one[0], []).append(took)
                    if status != 200:
                        seen.bad[status] += 1

        threads = [threading.Thread(target=sender) for _ in range(SENDERS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return seen


def mixed(sender: Sender, count: int, incidents: int) -> Iterator[tuple[str, Payload, int]]:
    """What people do while incidents run: they read, note, click, submit, look at their home."""
    for k in range(count):
        incident, user, name = f"inc-{k * 7 % incidents}", ("alice", "bob", "carol")[k % 3], f"run-{k}"
        kind, more = (
            ("command", "status"), ("command", "note"), ("block_actions", "claim"), ("view_submission", ""),
            ("event", ""),
        )[k % 5]  # fmt: skip
        yield kind, sender.payload(kind, user, name, incident, more), 0


def storm(sender: Sender, asks: list[tuple[str, str]], deliveries: int) -> list[tuple[str, Payload, int]]:
    """Two approvals and two notes for each incident, each delivered once or more often, in any order.

    ``asks``: incident and plan. What comes again has another signature, as Slack's retries and proxies have it.
    """
    chance = random.Random(4711)  # noqa: S311 - made up, the same each time
    single = []
    for incident, plan in asks:
        for user in ("alice", "bob"):
            more = "approve " + json.dumps({"s": "restore", "p": plan, "a": 1})
            single.append(("click", sender.payload("block_actions", user, f"y-{incident}-{user}", incident, more)))
            single.append(("command", sender.payload("command", user, f"n-{incident}-{user}", incident, "note")))
    again = [chance.choice(single) for _ in range(deliveries - len(single))]
    work = [*((*one, 0) for one in single), *((*one, chance.randint(0, 2)) for one in again)]
    chance.shuffle(work)
    return work


def became(store: Store, asks: list[tuple[str, str]]) -> tuple[int, int]:
    """What was lost, and what was done twice, of ``storm``."""
    decided = Counter((row.incident, row.by) for row in store.decisions(kind="approve"))
    noted: Counter[str] = Counter()
    for incident, _ in asks:
        noted.update(e["body"]["text"] for e in store.events(incident) if e["kind"] == "note" and e["body"])
    notes = {text: count for text, count in noted.items() if text.startswith("n-")}
    wanted = 2 * len(asks)
    lost = (wanted - len(decided)) + (wanted - len(notes))
    return lost, sum(decided.values()) - len(decided) + sum(notes.values()) - len(notes)


# processes ------------------------------------------------------------------------------------------------------------


@contextmanager
def child(role: str, home: Path) -> Iterator[str]:
    """One of the processes; gives the line that it prints first. Killed when the block ends."""
    args = [sys.executable, "-m", "benchmarks.slack", "--role", role, "--home", str(home)]
    with subprocess.Popen(args, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parent.parent) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip()
        finally:
            process.kill()


def asks_of(store: Store, incidents: int) -> list[tuple[str, str]]:
    """Incident and plan of each question that all incidents end in. Waits for them. Raises TimeoutError."""
    give_up = time.monotonic() + WAIT_S
    while time.monotonic() < give_up:
        found = [
            (row.id, str(event["body"]["plan_hash"])) for row in store.incidents("open")
            for event in store.events(row.id) if event["kind"] == "asked"
        ]  # fmt: skip
        if len(found) >= incidents:
            return found
        time.sleep(2)
    raise TimeoutError(f"only {len(found)} of {incidents} incidents have come to their question")


def idle(store: Store) -> None:
    """Wait until what has landed is worked. Raises TimeoutError."""
    give_up = time.monotonic() + WAIT_S
    while Deliveries(store).waiting():
        if time.monotonic() > give_up:
            raise TimeoutError("what has landed is not worked")
        time.sleep(0.2)


def main() -> None:
    """Print the figures, or be one of the processes."""
    options = argparse.ArgumentParser(prog="python -m benchmarks.slack", description=__doc__)
    options.add_argument("--seconds", type=float, default=SECONDS, help=f"how long it is measured ({SECONDS})")
    options.add_argument("--incidents", type=int, default=INCIDENTS)
    options.add_argument("--deliveries", type=int, default=DELIVERIES)
    options.add_argument("--role", choices=("slack", "house", "bare"), help=argparse.SUPPRESS)
    options.add_argument("--home", type=Path, help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.role:
        from benchmarks import slack_roles

        slack_roles.run(given.role, given.home)
        return
    base = read().home
    base.mkdir(parents=True, exist_ok=True)
    print(f"{os.cpu_count()} cores; load beforehand {os.getloadavg()[0]:.1f}. Above 0.5 the figures say little.")
    with tempfile.TemporaryDirectory(prefix="slack-", dir=base) as place, child("slack", Path(place)) as line:
        told = json.loads(line) | {"incidents": given.incidents}
        (Path(place) / "slack.json").write_text(json.dumps(told), encoding="utf-8")
        for role in ("bare", "house"):
            with child(role, Path(place)) as port:
                sender = Sender(told["cast"], int(port))
                measure(sender, Path(place) / role, role, given.seconds, given.deliveries, given.incidents)


def measure(sender: Sender, home: Path, role: str, seconds: float, deliveries: int, incidents: int) -> None:
    """One process under the load, and what came of it."""
    title = {"bare": "One insert a request", "house": "Bulkhead"}[role]
    print(f"\n{title}, while {incidents} incidents run; ms until Slack is answered")
    print(f"{'':<18}{'sent':>8}{'median':>10}{'p99':>10}{'slowest':>10}")
    seen = sender.all(mixed(sender, int(seconds * PER_SECOND), incidents), PER_SECOND)
    for kind in (*sorted(seen.times), "all"):
        print(seen.line(kind))
    if role == "bare":
        return
    store = Store(f"sqlite:///{home / 'bulkhead.db'}")
    running = sum(1 for row in store.incidents() if row.status == "open")
    print(f"{running} of the {incidents} incidents were still open then; answers that were none: {dict(seen.bad)}")
    asks = asks_of(store, incidents)
    idle(store)
    seen = sender.all(storm(sender, asks, deliveries))
    idle(store)
    lost, twice = became(store, asks)
    print(f"\n{deliveries} deliveries of {4 * len(asks)} clicks and commands, repeated and out of order, at full speed")
    for kind in (*sorted(seen.times), "all"):
        print(seen.line(kind))
    print(f"answers that were none: {dict(seen.bad)}; lost: {lost}; done twice: {twice}")
    store.close()


if __name__ == "__main__":
    main()

"""``python -m benchmarks.storm``: a storm of alerts over HTTP, while the inbox's worker is killed and restarted.

Every delivery holds a made-up token as gitleaks writes it: proven, read, recognised, sealed, landed, acknowledged. The
same server doing nothing but one SQLite insert a request is the measure of what a landing must cost. Running the
incidents is no part of this; see ``python -m benchmarks`` for that.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bot.settings import Settings, read
from bot.store import Store
from bot.store_intake import counts

SECRET = "made-up-storm-" + "secret-0123"
SENDERS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Stormed:
    """What came of it. Times in seconds."""

    acknowledged: int
    ids: int
    seconds: float
    p99: float
    lost: int = 0
    incidents: int = 0
    worked_s: float = 0.0

    @property
    def rate(self) -> float:
        """Deliveries a second."""
        return self.acknowledged / self.seconds


def bodies(count: int, credentials: int, twins: float) -> list[bytes]:
    """Made-up alerts: so many credentials, each at many places; a part of them is delivered a second time."""
    chance = random.Random(4711)  # noqa: S311 - made up, the same each time
    letters = "abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789"
    tokens = ["npm" + "_" + "".join(chance.choice(letters) for _ in range(36)) for _ in range(credentials)]
    single = count - int(count * twins)
    made = [_body(tokens[k % credentials], k) for k in range(single)]
    made += [chance.choice(made) for _ in range(count - single)]
    chance.shuffle(made)
    return made


def _body(token: str, k: int) -> bytes:
    row = {"RuleID": "npm-access-token", "File": f"logs/{k}.txt", "StartLine": k, "Secret": token, "Match": token,
           "Commit": f"{k:040x}", "Fingerprint": f"logs/{k}.txt:npm-access-token:{k}"}  # fmt: skip
    return json.dumps([row]).encode()


def send(
    port: int, deliveries: list[bytes], path: str, halfway: threading.Event | None = None
) -> tuple[Stormed, set[str]]:
    """Deliver all, as fast as it goes; what was acknowledged, and under which ids."""
    times: list[float] = []
    told: set[str] = set()
    lock, left = threading.Lock(), iter(deliveries)

    def sender() -> None:
        line = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        while True:
            with lock:
                body = next(left, None)
                if halfway is not None and len(times) * 2 >= len(deliveries):
                    halfway.set()
            if body is None:
                break
            began = time.perf_counter()
            line.request("POST", path, body, {"authorization": f"Bearer {SECRET}", "content-type": "application/json"})
            answer = line.getresponse()
            data = json.loads(answer.read())
            if answer.status != 202:
                raise RuntimeError(f"{answer.status}: {data}")
            with lock:
                times.append(time.perf_counter() - began)
                told.add(data.get("id", ""))
        line.close()

    threads = [threading.Thread(target=sender) for _ in range(SENDERS)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took = time.perf_counter() - began
    p99 = statistics.quantiles(times, n=100)[98]
    return Stormed(acknowledged=len(times), ids=len(told), seconds=took, p99=p99), told


def settings_of(home: Path) -> Settings:
    """The settings of the house under the storm."""
    return Settings(home=home, hooks=json.dumps({"gitleaks": SECRET}), web_port=0)  # type: ignore[arg-type]


@contextmanager
def child(role: str, home: Path) -> Iterator[subprocess.Popen[str]]:
    """One of our own processes; killed when the block ends."""
    args = [sys.executable, "-m", "benchmarks.storm", "--role", role, "--home", str(home)]
    process = subprocess.Popen(args, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parent.parent)
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def port_of(process: subprocess.Popen[str]) -> int:
    """Where a served child listens."""
    assert process.stdout is not None
    return int(process.stdout.readline().rpartition(":")[2])


def storm(home: Path, deliveries: list[bytes]) -> Stormed:
    """Deliver while the worker is killed with SIGKILL in the middle and another one takes over."""
    halfway = threading.Event()
    with child("door", home) as door:
        port = port_of(door)

        def work() -> None:
            with child("worker", home) as first:
                halfway.wait()
                os.kill(first.pid, signal.SIGKILL)
            with child("worker", home):
                done.wait()

        done = threading.Event()
        worker = threading.Thread(target=work)
        worker.start()
        sent, told = send(port, deliveries, "/hooks/gitleaks", halfway)
        halfway.set()
        store = Store(f"sqlite:///{home / 'bulkhead.db'}")
        began = time.perf_counter()
        while counts(store).get("landed"):
            time.sleep(0.2)
        worked = time.perf_counter() - began
        done.set()
        worker.join()
    stands = {row["id"] for row in store.inbox("worked")}
    incidents = len(store.incidents())
    store.close()
    return Stormed(
        acknowledged=sent.acknowledged, ids=sent.ids, seconds=sent.seconds, p99=sent.p99, lost=len(told - stands),
        incidents=incidents, worked_s=worked,
    )  # fmt: skip


def floor(home: Path, deliveries: list[bytes]) -> Stormed:
    """The same server, doing nothing but one insert a request."""
    with child("bare", home) as bare:
        return send(port_of(bare), deliveries, "/")[0]


def main() -> None:
    """Print the figures, or be one of the processes."""
    options = argparse.ArgumentParser(prog="python -m benchmarks.storm", description=__doc__)
    options.add_argument("--deliveries", type=int, default=10_000)
    options.add_argument("--credentials", type=int, default=500)
    options.add_argument("--role", choices=("door", "worker", "bare"), help=argparse.SUPPRESS)
    options.add_argument("--home", type=Path, help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.role:
        from benchmarks import storm_roles

        storm_roles.run(given.role, settings_of(given.home))
        return
    base = read().home
    base.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="storm-", dir=base) as place:
        made = bodies(given.deliveries, given.credentials, 0.2)
        print(f"{os.cpu_count()} cores; load beforehand {os.getloadavg()[0]:.1f}. Above 0.5 the figures say little.")
        bare = floor(Path(place) / "bare", made)
        told = storm(Path(place) / "house", made)
        print(f"one insert a request: {bare.rate:.0f}/s, p99 {bare.p99 * 1000:.0f} ms")
        print(
            f"the door:             {told.rate:.0f}/s, p99 {told.p99 * 1000:.0f} ms, {told.rate / bare.rate:.2f} of it"
        )
        print(f"acknowledged {told.acknowledged}, lost {told.lost}, incidents {told.incidents}, "
              f"all worked {told.worked_s:.1f} s after the last")  # fmt: skip


if __name__ == "__main__":
    main()

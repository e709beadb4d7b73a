"""``python -m benchmarks.latency``: from a signed delivery to the provider's cut call, with nobody asked.

The house as ``bulkhead serve`` runs it, in mode act, and the range's AWS in a process of its own. Each delivery brings
a key pair that works and that everybody can see; the clock runs from before the request is sent until AWS has the call
that deactivates the key, by the time that AWS writes into its log. One alert at a time, as they come on most days: the
next one is sent when the incident before has nothing more to do.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import hmac
import json
import logging
import os
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import requests

from bot import drill, timeline
from bot.app import SHIPPED, Bulkhead, opened
from bot.clients import AwsClients
from bot.engine.decisions import open_asks
from bot.engine.rules import drilled_name
from bot.settings import Settings, read
from bot.sites import range_site

SECRET = "made-up-latency-" + "secret-01"
CUT = "iam:UpdateAccessKey"
AIM_S = 1.0
SOURCE = """\
bench:
  signature: {header: x-signature, prefix: "sha256="}
  fields: {value: value, visibility: visibility, where: where}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cuts:
    """Seconds from each delivery to its cut call, and to its acknowledgement."""

    cut_s: list[float]
    acknowledged_s: list[float]

    @property
    def p99(self) -> float:
        """Of the cuts; of fewer than a hundred it is the longest."""
        return statistics.quantiles(self.cut_s, n=100, method="inclusive")[98] if len(self.cut_s) > 1 else self.cut_s[0]


def settings_of(home: Path) -> Settings:
    """Mode act, a source of our own that signs, and no brake: each incident here is one of its own day."""
    home.mkdir(parents=True, exist_ok=True)
    sources, policy = home / "sources.yaml", home / "policy.yaml"
    sources.write_text(SOURCE)
    shipped = (SHIPPED / "policy.yaml").read_text()
    policy.write_text(shipped.replace("unattended_cuts: 5", "unattended_cuts: 10000"))
    hooks: Any = json.dumps({"bench": SECRET})
    return Settings(home=home, hooks=hooks, sources=sources, policy=policy, mode="act", web_port=0, responders="ann")


@contextmanager
def house(home: Path, range_: drill.Range) -> Iterator[tuple[Bulkhead, str]]:
    """All of Bulkhead in a thread, and the address of its door. Its providers are the range's."""
    site = replace(range_site(range_.endpoints), name="real")
    with opened(settings_of(home), sites={"real": site}) as bulkhead:
        bulkhead.recognizer.warm()
        for book in bulkhead.playbooks.values():  # that a drill has proven it is not what is measured
            said = {"sha256": book.sha256, "drill": book.drill, "at": "2026-01-01"}
            bulkhead.store.set_setting(drilled_name(book.id), json.dumps(said))
        loop = asyncio.new_event_loop()
        serving: list[asyncio.Task[None]] = []

        def run() -> None:
            asyncio.set_event_loop(loop)
            serving.append(loop.create_task(bulkhead.serve()))
            loop.run_until_complete(asyncio.wait(serving))
            loop.run_until_complete(loop.shutdown_default_executor())
            loop.close()

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield bulkhead, _address(bulkhead)
        finally:
            loop.call_soon_threadsafe(serving[0].cancel)
            thread.join(30)


def _address(bulkhead: Bulkhead) -> str:
    end = time.monotonic() + 30
    while not (found := bulkhead.store.setting("pages-at")):
        if time.monotonic() > end:
            raise SystemExit("the house does not open its door")
        time.sleep(0.05)
    return found


def measure(home: Path, count: int) -> Cuts:
    """Deliver so many, one after the other."""
    cuts: list[float] = []
    answers: list[float] = []
    with drill.range_up() as range_, house(home, range_) as (bulkhead, door):
        points = range_.endpoints
        aws = AwsClients(key_id=points.aws_key_id, secret=points.aws_secret, endpoint=points.aws)
        for k in range(count):
            key = _key(aws, f"bench-{k}")
            before = len(_cuts(range_))
            began, answered = _deliver(door, key)
            cuts.append(_cut(range_, before) - began)
            answers.append(answered)
            _settled(bulkhead, k + 1)
    return Cuts(cut_s=cuts, acknowledged_s=answers)


def _key(aws: AwsClients, user: str) -> str:
    """A user and a key pair of it, as a log would show them."""
    iam = aws.client("iam")
    iam.create_user(UserName=user)
    key = iam.create_access_key(UserName=user)["AccessKey"]
    return f"AWS_ACCESS_KEY_ID={key['AccessKeyId']}\nAWS_SECRET_ACCESS_KEY={key['SecretAccessKey']}"


def _deliver(door: str, pair: str) -> tuple[float, float]:
    """When it was sent (seconds since 1970), and how long the acknowledgement took."""
    body = json.dumps({"value": pair, "visibility": "public", "where": "a log"}).encode()
    signature = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
    headers = {"x-signature": f"sha256={signature}", "content-type": "application/json"}
    with requests.Session() as line:  # a connection of its own, as senders make one
        line.trust_env = False
        began = time.time()
        answer = line.post(f"{door}/hooks/bench", data=body, headers=headers, timeout=30)
        took = time.time() - began
    if answer.status_code != 202:
        raise SystemExit(f"the door answered {answer.status_code}: {answer.text}")
    return began, took


def _cuts(range_: drill.Range) -> list[float]:
    """When AWS had each call that cuts a key."""
    rows = [row for row in range_.get("/requests") if row["route"] == CUT]
    return [datetime.fromisoformat(row["at"]).timestamp() for row in rows]


def _cut(range_: drill.Range, before: int) -> float:
    """When AWS had the next one."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        found = _cuts(range_)
        if len(found) > before:
            return found[before]
        time.sleep(0.05)
    raise SystemExit("no key was cut within a minute")


def _settled(bulkhead: Bulkhead, count: int) -> None:
    """Wait until none of the incidents does anything: each is over, or waits for people."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        rows = bulkhead.store.incidents()
        if len(rows) == count and all(
            row.status != "open" or open_asks(timeline.load(bulkhead.store, row.id)) for row in rows
        ):
            return
        time.sleep(0.1)


def main() -> None:
    """Print the figures."""
    options = argparse.ArgumentParser(prog="python -m benchmarks.latency", description=__doc__)
    options.add_argument("--count", type=int, default=100, help="deliveries, one after the other (100)")
    given = options.parse_args()
    logging.getLogger("bulkhead").setLevel(logging.ERROR)
    base = read().home
    base.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="latency-", dir=base) as place:
        print(f"{os.cpu_count()} cores; load beforehand {os.getloadavg()[0]:.1f}. Above 0.5 the figures say little.")
        told = measure(Path(place), given.count)
    middle, answered = statistics.median(told.cut_s), statistics.median(told.acknowledged_s)
    print(
        f"from a signed delivery to the cut call, {given.count} times: median {middle:.2f} s, p99 {told.p99:.2f} s "
        f"(aim: {AIM_S:.0f} s); acknowledged after {answered * 1000:.0f} ms"
    )


if __name__ == "__main__":
    main()

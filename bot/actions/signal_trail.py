"""CloudTrail of one user: from LookupEvents, or from the trail's log files in S3 where the World knows their place.

The log files have every region and data events too, are not throttled, and go back as far as the bucket does; they come
some five minutes later still (User Guide, "How CloudTrail works"). Their names: AWSLogs/ACCOUNT/CloudTrail/REGION/
YYYY/MM/DD/ACCOUNT_CloudTrail_REGION_YYYYMMDDTHHMMZ_UNIQUE.json.gz ("CloudTrail log file examples").
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

from bot.actions.aws_trail import events as trail_events
from bot.actions.signal_facts import HISTORY, Collected
from bot.clients import aws_errors
from bot.errors import InputError
from bot.signals.collect import cloudtrail
from bot.signals.facts import AnyFact, Origin, Use, Who
from bot.world import World

MOST_CALLS, MOST_FILES = 3000, 3000  # files are some minutes of a region each; the newest are read
AT_ONCE = 8
LATE = timedelta(minutes=30)  # a file's name tells when it was written, which is after its calls
_STAMP = re.compile(r"_(\d{8}T\d{4}Z)_[^/]*\.json(\.gz)?\Z")


def of_aws(
    world: World, user: str, since: datetime, found: Collected, history: timedelta = HISTORY
) -> None:  # fmt: skip
    """Every call of a user and of its own sessions, refused ones too: of the window, and of the time before it."""
    first = since - history
    if world.trail:
        found.take(
            f"CloudTrail's log files in {world.trail}", lambda: _from_bucket(world, user, first, found), found.calls
        )
        found.unknown.append("CloudTrail writes its log files some minutes after a call")
        return
    known = cloudtrail.Identities()

    def rows() -> Iterator[AnyFact]:
        events = trail_events(world, "Username", user, first, world.now())
        newest_first = found.most(events, MOST_CALLS, f"calls of {user}")
        for event in sorted(newest_first, key=lambda e: e["EventTime"]):
            calls = cloudtrail.decoded(str(event["CloudTrailEvent"]).encode())
            yield from cloudtrail.facts(calls, Origin("cloudtrail", "LookupEvents"), known)

    found.take(f"CloudTrail of {user}", rows, found.calls)
    found.unknown.append("CloudTrail tells of a call some minutes late, and of data events not at all")


def _from_bucket(world: World, user: str, first: datetime, found: Collected) -> Iterator[AnyFact]:
    """Some files in memory at a time; of each what this user did. A file that cannot be read is a sentence."""
    bucket, _, folder = world.trail.removeprefix("s3://").partition("/")
    known, s3 = cloudtrail.Identities(), world.aws.client("s3")

    def read(name: str) -> tuple[str, bytes]:
        with aws_errors(f"read {name.rpartition('/')[2]}"):
            return name, bytes(s3.get_object(Bucket=bucket, Key=name)["Body"].read())

    names = found.most(_files(s3, bucket, folder.rstrip("/"), first, world.now()), MOST_FILES, "log files, the newest,")
    facts: list[AnyFact] = []
    with ThreadPoolExecutor(AT_ONCE) as readers:
        while some := list(islice(names, 4 * AT_ONCE)):
            for name, data in readers.map(read, some):
                try:
                    calls = cloudtrail.of_bytes(data, name)
                except InputError as exc:
                    found.unknown.append(str(exc))
                    continue
                rows = cloudtrail.facts(calls, Origin("cloudtrail", f"s3://{bucket}/{name}"), known)
                own = (fact for fact in rows if isinstance(fact, Use) and _of_user(fact.who, user))
                facts += (fact for fact in own if fact.until >= first)
    yield from sorted(facts, key=lambda fact: fact.at)


def _of_user(who: Who, user: str) -> bool:
    return who.userName == user or who.identity.endswith(f":user/{user}")


def _files(s3: Any, bucket: str, folder: str, first: datetime, last: datetime) -> Iterator[str]:
    """The log files of these days, by the times in their names, the newest day first."""
    pages = s3.get_paginator("list_objects_v2")
    with aws_errors(f"list the log files in {bucket}"):
        regions = [
            str(row["Prefix"]) for page in pages.paginate(Bucket=bucket, Prefix=f"{folder}/", Delimiter="/")
            for row in page.get("CommonPrefixes", [])
        ]  # fmt: skip
    if not regions:
        raise InputError(f"s3://{bucket}/{folder} holds no folder of a region; name the one that is called CloudTrail")
    end = last + LATE
    for day in (end - timedelta(days=number) for number in range((end - first).days + 2)):
        for region in regions:
            where = f"{region}{day.astimezone(UTC):%Y/%m/%d}/"
            with aws_errors(f"list the log files in {bucket}"):
                rows = [
                    str(row["Key"]) for page in pages.paginate(Bucket=bucket, Prefix=where)
                    for row in page.get("Contents", [])
                ]  # fmt: skip
            yield from reversed([name for name in rows if _in(name, first, last)])


def _in(name: str, first: datetime, last: datetime) -> bool:
    match = _STAMP.search(name)
    if match is None:
        return False
    written = datetime.strptime(match[1], "%Y%m%dT%H%MZ").replace(tzinfo=UTC)
    return first - timedelta(minutes=1) <= written <= last + LATE

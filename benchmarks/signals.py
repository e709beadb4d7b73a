"""``python -m benchmarks.signals``: what the five signals take, beside what others take for the same bytes, and find.

CloudTrail: events a second of one core from gzip files through signals 3 and 5, beside reading the same files with the
json module alone, and beside unpacking them only. Logs: megabytes a second of one core from a run-log zip, beside
detect-secrets, and gitleaks where it is on the path. Encodings: recall and precision. Histories: plants, false alarms.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import re
import resource
import shutil
import ssl
import subprocess
import sys
import tempfile
import time
import tomllib
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import requests
from isal import igzip

from bot.registries.pypi import SIMPLE_JSON, normalized
from bot.signals import OF_CALLS, build_logs, collect, release_path, run
from bot.signals.baseline import Baseline
from bot.signals.collect import cloudtrail
from bot.signals.collect import logs as collected
from bot.signals.encodings import Known, Reading
from bot.signals.facts import Origin
from bot.signals.findings import Sure
from bot.signals.given import Given, Jobs
from bot.signals.networks import Networks, networks_of
from bot.triage.identify import Recognizer
from tests.signals import histories, logs

REPORT = "report.json"
PROJECT = Path(__file__).parent.parent / "pyproject.toml"
A_FILE = 5_000  # events of one log file
AHEAD = 4
FIRST = datetime(2026, 10, 1, tzinfo=UTC)
GIVEN: dict[str, Any] = {"now": datetime(2026, 12, 1, tzinfo=UTC)}


def main() -> None:
    """Print every figure."""
    options = argparse.ArgumentParser(prog="python -m benchmarks.signals", description=__doc__)
    options.add_argument("--events", type=int, default=250_000, help="events of CloudTrail (250,000)")
    options.add_argument("--grow", type=int, default=1_000_000, help="events for the memory (1,000,000)")
    options.add_argument("--only", choices=("cloudtrail", "memory", "logs", "encodings", "histories", "published"),
                         default="", help="one part of it; without it all that ask no network: `published` asks PyPI "
                         "for the releases of our own dependencies")  # fmt: skip
    options.add_argument("--lines", type=int, default=60_000, help="lines of logs (60,000)")
    options.add_argument("--histories", type=int, default=20, help="histories of 400 runs (20)")
    options.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.child:
        _child()
        return
    print(f"Load of the machine beforehand: {os.getloadavg()[0]:.1f}. Above 0.5 only the ratios say something.")
    with tempfile.TemporaryDirectory(prefix="bench-") as place:
        parts: dict[str, Callable[[], None]] = {
            "cloudtrail": lambda: of_cloudtrail(Path(place), given.events),
            "memory": lambda: of_memory(Path(place), given.grow),
            "logs": lambda: of_logs(Path(place), given.lines),
            "encodings": lambda: of_encodings(20),
            "histories": lambda: of_histories(given.histories),
        }
        for name, part in parts.items():
            if given.only in ("", name):
                part()
        if given.only == "published":  # the one part that asks the network, so only when it is named
            of_published()


def _cpu(work: Callable[[], Any], runs: int = 3) -> float:
    """Seconds of the processor, the best of so many."""
    found = []
    for _ in range(runs):
        start = time.process_time()
        work()
        found.append(time.process_time() - start)
    return min(found)


# CloudTrail -----------------------------------------------------------------------------------------------------------


def _record(chance: Random, number: int) -> dict[str, Any]:
    service, action = chance.choice([call.split(":") for call in (*histories.USUAL, *histories.SELDOM, "kms:Decrypt")])
    at = f"2026-11-{1 + number // 400_000 % 28:02}T{number // 16_000 % 24:02}:{number // 270 % 60:02}:{number % 60:02}Z"
    session = number // 800 * 20 + chance.randrange(20)
    return {
        "eventVersion": "1.11", "eventTime": at, "eventSource": f"{service}.amazonaws.com", "eventName": action,
        "userIdentity": {
            "type": "AssumedRole", "principalId": "AROAEXAMPLE:GitHubActions", "accountId": "123456789012",
            "arn": f"{histories.ROLE}/GitHubActions", "accessKeyId": f"ASIA{session:016}",
            "sessionContext": {
                "sessionIssuer": {"type": "Role", "principalId": "AROAEXAMPLE", "arn": histories.ROLE,
                                  "accountId": "123456789012", "userName": "ferry-deploy"},
                "webIdFederationData": {"federatedProvider": histories.PROVIDER, "attributes": {}},
                "attributes": {"creationDate": at, "mfaAuthenticated": "false"},
            },
        },
        "awsRegion": "eu-central-1", "sourceIPAddress": f"20.{session % 16}.{session % 199}.9",
        "userAgent": "aws-cli/2.31 md/Botocore#1.40 ua/2.1 os/linux#6.8", "responseElements": None,
        "requestParameters": {"text": "y" * chance.randint(10, 200)}, "requestID": f"{chance.getrandbits(128):032x}",
        "eventID": f"{chance.getrandbits(128):032x}", "readOnly": True, "eventType": "AwsApiCall",
        "managementEvent": True, "recipientAccountId": "123456789012", "eventCategory": "Management",
        "tlsDetails": {"tlsVersion": "TLSv1.3", "cipherSuite": "TLS_AES_128_GCM_SHA256",
                       "clientProvidedHostHeader": f"{service}.eu-central-1.amazonaws.com"},
    }  # fmt: skip


def _trail(folder: Path, events: int) -> Path:
    folder.mkdir()
    chance = Random(1)  # noqa: S311  seeded chance, not cryptography
    for number in range(events // A_FILE):
        created: dict[int, str] = {}
        rows = []
        for k in range(A_FILE):
            row = _record(chance, number * A_FILE + k)
            session = int(row["userIdentity"]["accessKeyId"][4:])
            context = row["userIdentity"]["sessionContext"]
            context["attributes"]["creationDate"] = created.setdefault(session, row["eventTime"])
            rows.append(row)
        data = json.dumps({"Records": rows}, separators=(",", ":")).encode()
        (folder / f"1_CloudTrail_eu_{number:08}T0000Z_x.json.gz").write_bytes(gzip.compress(data, 6))
    return folder


def _judged(folder: Path) -> int:
    given = Given(**GIVEN, networks=Networks.of(networks_of(["20.0.0.0/8"])), jobs=Jobs())
    baseline, found = Baseline(), 0
    for rows in cloudtrail.read(folder):
        for judge in OF_CALLS:
            found += sum(1 for _ in judge(rows, baseline, given))
    return found


def of_cloudtrail(place: Path, events: int) -> None:
    """Events a second, against the json module and against unpacking alone."""
    folder = _trail(place / "trail", events)
    files = cloudtrail.files(folder)
    ours = _cpu(lambda: _judged(folder))
    plain = _cpu(lambda: [json.loads(gzip.decompress(file.read_bytes())) for file in files], 2)
    floor = _cpu(lambda: [gzip.decompress(file.read_bytes()) for file in files])
    quick = _cpu(lambda: [igzip.decompress(file.read_bytes()) for file in files])
    print(f"\nCloudTrail: {events:,} events in {len(files)} gzip files, seconds of one core")
    for name, seconds in (("signals 3 and 5", ours), ("json alone, judging nothing", plain),
                          ("gunzip alone, zlib", floor), ("gunzip alone, isal", quick)):  # fmt: skip
        print(f"  {name:<30}{events / seconds:>12,.0f} events/s   {plain / seconds:5.2f} times json")


# memory ---------------------------------------------------------------------------------------------------------------


def of_memory(place: Path, events: int) -> None:
    """The most memory that judging takes after a tenth, three tenths and all of so many events, no session twice.

    The log is written one file at a time and gone once it is read, so ten million events need no room on the disk.
    """
    files, templates = events // A_FILE, _templates()
    marks = {max(1, files * share // 10) for share in (1, 3, 10)}
    print(f"\nMemory: {events:,} events through signals 3 and 5, every session new; the most so far")
    command = [sys.executable, "-m", "benchmarks.signals", "--child"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        for number in range(files + AHEAD):  # some files ahead: one process writes while the other judges
            if number < files:
                path = place / f"1_CloudTrail_eu_{number:08}T0000Z_x.json.gz"
                path.write_bytes(gzip.compress(_quick(templates, number), 1))
                child.stdin.write(f"{path}\n")
                child.stdin.flush()
            if number >= AHEAD:
                said, done = json.loads(child.stdout.readline()), number - AHEAD + 1
                Path(said["file"]).unlink()
                if done in marks:
                    size, spent = said["kib"] / 1024, said["seconds"]
                    print(f"  {done * A_FILE:>12,} events {size:>6.0f} MiB {spent:>8.1f} s of one core", flush=True)
        child.stdin.close()


def _templates() -> list[str]:
    """One record a kind of call, with holes for what differs from event to event."""
    chance, found = Random(1), []  # noqa: S311  seeded chance, not cryptography
    for number in range(40):
        row = _record(chance, number)
        row |= {"eventTime": "@AT@", "eventID": "@ID@", "requestID": "@ID@", "sourceIPAddress": "@FROM@"}
        row["userIdentity"]["accessKeyId"] = "@KEY@"
        row["userIdentity"]["sessionContext"]["attributes"]["creationDate"] = "@BEGAN@"
        found.append(json.dumps(row, separators=(",", ":")))
    return found


def _quick(templates: list[str], number: int) -> bytes:
    """One log file: ten minutes of an account, a hundred sessions that end with it.

    So what the signals remember is full after 2.5 million events: sessions of 36 hours, and 50,000 identities.
    """
    at = FIRST + number * timedelta(minutes=10)
    began, rows = at.strftime("%Y-%m-%dT%H:%M:%SZ"), []
    for k in range(A_FILE):
        session = number * 100 + k % 100
        text = templates[(k * 7 + number) % len(templates)]
        seen = (at + timedelta(seconds=k * 600 // A_FILE)).strftime("%Y-%m-%dT%H:%M:%SZ")
        for hole, value in (("@AT@", seen), ("@BEGAN@", began), ("@KEY@", f"ASIA{session:016}"),
                            ("@ID@", f"{number:016x}{k:016x}"),
                            ("@FROM@", f"20.{session % 16}.{session % 199}.9")):  # fmt: skip
            text = text.replace(hole, value)
        rows.append(text)
    return ('{"Records":[' + ",".join(rows) + "]}").encode()


def _child() -> None:
    """Judge each file that standard input names; tell what memory that has taken so far."""
    given = Given(**GIVEN, networks=Networks.of(networks_of(["20.0.0.0/8"])), jobs=Jobs())
    baseline, identities, start = Baseline(), cloudtrail.Identities(), time.process_time()
    for line in sys.stdin:
        file = Path(line.strip())
        for rows in cloudtrail.read(file, identities):
            for judge in OF_CALLS:
                for _ in judge(rows, baseline, given):
                    pass
        # not ru_maxrss, which a child begins with that of its parent
        status = Path("/proc/self/status").read_text().splitlines()
        peak = next(row.split()[1] for row in status if "VmHWM" in row)
        said = {"file": str(file), "kib": int(peak), "seconds": time.process_time() - start}
        print(json.dumps(said), flush=True)


# logs -----------------------------------------------------------------------------------------------------------------


def of_logs(place: Path, lines: int) -> None:
    """The same bytes through each scanner, with secrets planted: how fast, and how many it finds."""
    values = [v for v in logs.secrets(40, 21) if v.startswith("npm_")]
    rows = logs.log(lines, 5)
    planted = {}
    ways = ("raw", "base64", "base64 twice", "base64 of a whole environment")
    for k, value in enumerate(values):
        way = ways[k % len(ways)]
        planted[value] = way
        rows[(k + 1) * lines // (len(values) + 1)] = f"NODE_AUTH_TOKEN={logs.ENCODINGS[way](value)}"
    text = logs.stamped(rows)
    path = place / "logs_18400000001.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("0_build.txt", text)
    folder = place / "texts"
    folder.mkdir()
    (folder / "0_build.txt").write_text(text)
    size = len(text.encode()) / 1e6
    recognizer = Recognizer().warm()
    recognizer.find("warm")
    known = Known(b"k" * 32)
    for value in logs.secrets(100, 77):
        known.add(value)
    found: set[str] = set()

    def ours() -> None:
        leaks = build_logs.leaks(collected.read(path), Given(**GIVEN), known=known, recognizer=recognizer)
        found.update(leak.value for leak in leaks)

    print(f"\nLogs: {size:.1f} MB, {len(planted)} tokens planted, a quarter each raw, base64, twice, in an environment")
    seconds = _cpu(ours, 2)
    print(f"  {'Bulkhead, from the zip':<34}{size / seconds:>8.1f} MB/s {len(found & set(planted)):>4} found, "
          f"100 known secrets looked for beside")  # fmt: skip
    for name, command in _scanners(folder):
        start = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
        end = resource.getrusage(resource.RUSAGE_CHILDREN)
        spent = end.ru_utime + end.ru_stime - start.ru_utime - start.ru_stime
        print(f"  {name:<34}{size / spent:>8.1f} MB/s {_count(name, done.stdout, folder, text):>4} found")


def _scanners(folder: Path) -> list[tuple[str, list[str]]]:
    beside = Path(sys.executable).parent
    found = []
    if (beside / "detect-secrets").is_file():
        found.append(("detect-secrets", [str(beside / "detect-secrets"), "scan", "--all-files", "."]))
    for name in ("gitleaks",):
        program = shutil.which(name) or (str(beside / name) if (beside / name).is_file() else "")
        if program:
            found.append((name, [program, "dir", "-f", "json", "-r", str(folder.parent / REPORT), "--no-banner", "."]))
        else:
            print(f"  {name:<34}is not installed: not measured")
    return found


def _count(name: str, said: str, folder: Path, text: str) -> int:
    """How many planted lines it has named; gitleaks counts them from 0 or from 1, by version."""
    document = json.loads(said if name == "detect-secrets" else (folder.parent / REPORT).read_text())
    if name == "detect-secrets":
        lines = {row["line_number"] for rows in document["results"].values() for row in rows}
    else:
        lines = {row["StartLine"] for row in document} | {row["StartLine"] + 1 for row in document}
    wanted = {k + 1 for k, line in enumerate(text.splitlines()) if "NODE_AUTH_TOKEN=" in line}
    return len(wanted & lines)


# what is found --------------------------------------------------------------------------------------------------------


def of_encodings(count: int) -> None:
    """Recall and precision of known secrets over encodings and places."""
    noise, seen, hits, strays, listed = logs.log(60, 3), 0, 0, 0, 0
    for how, where, value, lines in logs.planted(count, 13):
        known = Known(b"k" * 32)
        name = known.add(value)
        for other in logs.secrets(3, 99):
            known.add(other)
        found = {hit.secret for hit in known.find(Reading(logs.stamped([*noise[:30], *lines, *noise[30:]])))}
        strays += len(found - {name})
        if (how, where) in logs.MISSES:
            listed += 1
            continue
        seen += 1
        hits += name in found
    print(
        f"\nEncodings: {len(logs.ENCODINGS)} at {len(logs.PLACES)} places, {seen:,} logs: recall {hits / seen:.4f}, "
        f"precision {hits / max(hits + strays, 1):.4f}; {len(logs.MISSES)} listed misses left out ({listed} logs)"
    )


def of_histories(count: int) -> None:
    """Plants found when they first happen, and false alarms a thousand runs."""
    runs = plants = found_at_once = false = 0
    for seed in range(count):
        history = histories.make(seed)
        given = Given(**GIVEN, networks=histories.HOSTED, jobs=Jobs(history.facts))
        calls = sorted(history.calls, key=lambda fact: fact.at)
        batches = [calls[k : k + 50] for k in range(0, len(calls), 50)]
        found = [f for f in run(history.facts, batches, [], Baseline(), given) if f.sure.rank >= Sure.LIKELY.rank]
        at = {(f.signal, f.what, f.at) for f in found}
        runs, plants = runs + history.runs, plants + len(history.plants)
        found_at_once += sum((*name, when) in at for name, when in history.plants.items())
        false += sum(
            not any(abs((f.at - when).total_seconds()) < 2000 for when in history.plants.values()) for f in found
        )
    print(
        f"\nHistories: {count} of 400 runs: {found_at_once} of {plants} plants found when they first happened, "
        f"{false} false alarms in {runs:,} runs ({1000 * false / runs:.2f} a thousand)"
    )


def of_published() -> None:
    """Signal 2 over what PyPI tells of our own dependencies: real releases, none of which is known to be bad.

    Only metadata is asked for, and kept nowhere. Their repositories are asked nothing, so tags and runs are not judged.
    """
    needs = tomllib.loads(PROJECT.read_text())["project"]["dependencies"]
    names = sorted({re.split(r"[\[<>=~!; ]", each)[0] for each in needs})
    facts: list[Any] = []
    try:
        for name in names:
            url, accept = f"https://pypi.org/simple/{normalized(name)}/", {"Accept": SIMPLE_JSON}
            # the certificates that this machine trusts, which may know more than those of a library
            trusted = ssl.get_default_verify_paths().cafile or True
            answer = requests.get(url, headers=accept, timeout=20, verify=trusted)
            answer.raise_for_status()
            facts += collect.told(answer.json(), Origin("", url), name)
    except requests.RequestException as exc:
        print(f"\nPublished releases: PyPI is not to be had from here, so not measured ({type(exc).__name__})")
        return
    found = list(release_path.judge(facts, Baseline(), Given(**GIVEN)))
    bad = [one for one in found if one.sure.rank >= Sure.LIKELY.rank]
    told = [fact for fact in release_path.joined(facts) if fact.provenance]
    print(
        f"\nPublished releases: {len(names)} packages of PyPI, {len(release_path.joined(facts)):,} releases, of "
        f"{len(told):,} the index tells whether they have provenance: {len(bad)} alarms, {len(found) - len(bad)} lines"
    )
    for one in bad:
        print(f"  {one.sure}, {one.what}: {one.says}")


if __name__ == "__main__":
    main()

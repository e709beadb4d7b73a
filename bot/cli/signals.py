"""``bulkhead signals``: look for signs of misuse in folders and files; what is usual, and what is not told again."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from bot import signals
from bot.cli import frame, page
from bot.errors import InputError
from bot.signals import collect, registry_signatures
from bot.signals.baseline import Baseline, Entry
from bot.signals.collect import cloudtrail, logs
from bot.signals.collect.github import with_workflows
from bot.signals.encodings import Known
from bot.signals.facts import EPOCH, AnyFact, utc
from bot.signals.findings import SIGNALS, Finding, Sure, once
from bot.signals.given import Given, Jobs
from bot.signals.networks import Networks, networks_of
from bot.signals.networks import read as read_networks
from bot.signals.provenance import verified
from bot.story import ASKS, BAD, DIM, GOOD, HEADING, Line
from bot.triage.identify import Recognizer

app = frame.group("Signs of misuse, found in logs and records; works on files alone, without a bot.")
FOUND = 4  # there are findings at or above --fail-at
COLOURS = {Sure.CERTAIN: BAD, Sure.LIKELY: ASKS, Sure.POSSIBLE: DIM}

Paths = list[Path] | None


@app.command()
def run(
    trail: Annotated[
        Paths, typer.Option("--cloudtrail", help="Folder or file of CloudTrail: log files, LookupEvents.")
    ] = None,
    runs: Annotated[
        Paths,
        typer.Option("--runs", help="GitHub's answers: runs, jobs, deployments, activity, tags, releases, audit log."),
    ] = None,
    packument: Annotated[
        Paths,
        typer.Option(
            "--packument",
            "--package",
            help="A package as npm, PyPI (simple JSON), RubyGems or crates.io tells it; attestations, npm's keys too.",
        ),
    ] = None,
    log: Annotated[
        Paths, typer.Option("--logs", help="Logs of runs: zips as GitHub gives them, texts, or a folder.")
    ] = None,
    repository: Annotated[str, typer.Option(help="OWNER/NAME, where files do not say whose they are.")] = "",
    baseline: Annotated[Path | None, typer.Option(help="What is usual: read before, and written with --learn.")] = None,
    learn: Annotated[bool, typer.Option("--learn", help="Write what was learned to --baseline.")] = False,
    learn_until: Annotated[str, typer.Option(help="What is older than this time is learned and not judged.")] = "",
    runs_until: Annotated[str, typer.Option(help="Until when --runs tells of runs; without it, until now.")] = "",
    home: Annotated[
        list[str] | None,
        typer.Option(
            "--identity",
            help="ARN=OWNER/NAME: an identity, or access key id, and the repository whose jobs may use it.",
        ),
    ] = None,
    networks: Annotated[
        list[str] | None,
        typer.Option(
            help="Where runners are: the answer of `gh api /meta` as a file, a file of networks, or a network of yours."
        ),
    ] = None,
    trust_root: Annotated[
        Path | None,
        typer.Option(help="Sigstore's trust root (trusted_root.json) by which provenance is verified; else its own."),
    ] = None,
    secrets: Annotated[
        Path | None, typer.Option(help="Fingerprints that `bulkhead signals fingerprint` has written.")
    ] = None,
    fail_at: Annotated[Sure, typer.Option(help="Status 4 when something is at least so sure.")] = Sure.LIKELY,
    json_: frame.Json = False,
) -> None:
    """Judge what files hold. Status 0: nothing at or above --fail-at; 4: something; 2: a file cannot be read."""
    if not (trail or runs or packument or log):
        raise InputError("nothing to read; give at least one of --cloudtrail, --runs, --packument, --logs")
    if learn and baseline is None:
        raise InputError("--learn needs --baseline FILE, where what was learned is written")
    known = _fingerprints(secrets)
    usual = _baseline(baseline, learn=learn)
    facts = with_workflows(
        [fact for path in [*(runs or ()), *(packument or ())] for fact in collect.read(path, repository)]
    )
    facts = registry_signatures.verified(verified(facts, _text(trust_root) if trust_root else ""))
    given = _given(facts, (learn_until, runs_until), home or [], networks or [])
    recognizer = Recognizer(cache_dir=_rules()) if log else None
    texts = (text for path in log or () for text in logs.read(path, repository))
    found: list[Finding] = []
    with frame.busy("reading"):
        calls = (rows for path in trail or () for rows in cloudtrail.read(path))
        found = once(list(signals.run(facts, calls, texts, usual, given, known=known, recognizer=recognizer)))
    if learn and baseline is not None:
        usual.forget(given.now)
        baseline.write_text(json.dumps(usual.as_json(), indent=1) + "\n")
    bad = [one for one in found if one.sure.rank >= fail_at.rank]
    if json_:
        frame.document({"findings": [one.as_json() for one in found], "not_judged": _not_judged(usual)})
    else:
        page.lines(list(_told(found, usual)))
    if bad:
        raise typer.Exit(FOUND)


def _rules() -> Path | None:
    """Where Kingfisher keeps its compiled rules: set-up has told it, or it compiles them for some seconds."""
    told = os.environ.get("KF_RULE_CACHE_DIR")
    return Path(told) if told else None


def _given(facts: Sequence[AnyFact], times: tuple[str, str], homes: list[str], networks: list[str]) -> Given:
    own, all_of = [], []
    for text in networks:
        if Path(text).is_file():
            found = read_networks(Path(text).read_text(), text)
            all_of += found
            own += [] if text.endswith(".json") else found
        else:
            found = networks_of([text])
            all_of += found
            own += found
    named: dict[str, str] = {}
    for text in homes:
        identity, found_one, repository = text.rpartition("=")
        if not found_one or "/" not in repository:
            raise InputError(f"--identity {text[:80]}: write ARN=OWNER/NAME, or AKIA…=OWNER/NAME")
        named[identity] = repository
    learned, told = (_time(text) for text in times)
    return Given(
        now=datetime.now(UTC), learn_until=learned or EPOCH, networks=Networks.of(all_of), own=Networks.of(own),
        homes=named,
        jobs=Jobs(facts, told),
    )  # fmt: skip


def _time(text: str) -> datetime | None:
    try:
        return utc(text) if text else None
    except ValueError:
        raise InputError(f"{text[:40]!r} is no time; write 2026-11-01 or 2026-11-01T12:00:00Z") from None


def _baseline(path: Path | None, *, learn: bool) -> Baseline:
    if path is None or (learn and not path.exists()):
        return Baseline()
    return Baseline.of_json(_text(path), str(path))


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as exc:
        said = exc.strerror if isinstance(exc, OSError) else "it is not text"
        raise InputError(f"{path} cannot be read: {said}") from None


def _not_judged(usual: Baseline) -> list[str]:
    """Subjects that were observed too seldom for anything new to be news."""
    counters = [e for e in usual.entries.values() if not e.feature and not e.value and e.count < usual.learning]
    return sorted({f"{e.signal}: {e.subject} was observed {e.count} times of {usual.learning}" for e in counters})


def _told(found: list[Finding], usual: Baseline) -> Iterator[Any]:
    yield Line(f"{len(found) or 'No'} finding{'s' if len(found) != 1 else ''}", style=HEADING)
    for one in found:
        yield Line(f"{one.at:%Y-%m-%d %H:%M:%S} {one.sure}, {one.signal}: {one.says}", style=COLOURS[one.sure])
        yield from (Line(f"  evidence: {each}", style=DIM) for each in one.evidence)
        if one.ruled_out:
            yield Line(f"  ruled out: {'; '.join(one.ruled_out)}", style=DIM)
    still = _not_judged(usual)
    if still:
        yield Line(f"Still learning, so nothing new is news of {len(still)} of what was read:", style=HEADING)
        yield from (Line(f"  {each}", style=DIM) for each in still[:10])
    if not found:
        yield Line("What no signal can see is listed in docs/signals.md.", style=GOOD if not still else DIM)


# fingerprints ---------------------------------------------------------------------------------------------------------


@app.command()
def fingerprint(
    file: Annotated[Path, typer.Argument(help="Where fingerprints are kept; the key lies beside it, FILE.key.")],
) -> None:
    """Take secrets, one a line from standard input or a prompt, and write fingerprints of their encodings."""
    key = _key(file, make=True)
    known = _known(file, key) if file.exists() else Known(key)
    values = [line.strip() for line in frame.ask_secret("a secret to look for in logs").splitlines() if line.strip()]
    if not values:
        raise InputError("no secret was given; type one at the prompt, or pipe them in, one a line")
    names = [known.add(value) for value in values]
    file.write_text(json.dumps({"fingerprints": 1, "rows": known.as_json()}) + "\n")
    page.lines([Line(f"{name}: {len(names)} known" if len(names) == 1 else name) for name in names])


def _key(file: Path, *, make: bool = False) -> bytes:
    place = file.with_name(file.name + ".key")
    if not place.exists() and make:
        handle = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w") as out:
            out.write(os.urandom(32).hex())
    try:
        key = bytes.fromhex(_text(place).strip())
    except ValueError:
        raise InputError(f"{place} is no key that `bulkhead signals fingerprint` wrote") from None
    return key


def _known(file: Path, key: bytes) -> Known:
    try:
        return Known.of_json(json.loads(_text(file))["rows"], key)
    except (ValueError, KeyError, TypeError):
        raise InputError(f"{file} holds no fingerprints that `bulkhead signals fingerprint` wrote") from None


def _fingerprints(file: Path | None) -> Known | None:
    return _known(file, _key(file)) if file is not None else None


# the baseline, in people's hands --------------------------------------------------------------------------------------

BaselineFile = Annotated[Path, typer.Argument(help="The file that --baseline names.")]
Signal = Annotated[str, typer.Argument(help=f"One of {', '.join(SIGNALS)}.")]
Subject = Annotated[str, typer.Argument(help="What it is about, as `list` shows it; * and ? stand for anything.")]
Feature = Annotated[str, typer.Argument(help="branch, event, actor, service, action, region, network, …")]
Value = Annotated[str, typer.Argument(help="The value; * and ? stand for anything.")]
Until = Annotated[str, typer.Option(help="Until when it holds; without it, until somebody changes it.")]


@app.command("baseline")
def baseline_(
    file: BaselineFile,
    signal: Annotated[str, typer.Option(help="Only of this signal.")] = "",
    subject: Annotated[str, typer.Option(help="Only of subjects that fit this pattern.")] = "",
    json_: frame.Json = False,
) -> None:
    """Show what is usual: learned, declared or pruned, since when, last seen, how often, by whom."""
    entries = list(_baseline(file, learn=False).listed(signal, subject))
    if json_:
        frame.document([{"signal": e.signal, "subject": e.subject, "feature": e.feature, "value": e.value, "how": e.how,
                         "first": e.first.isoformat(), "last": e.last.isoformat(), "count": e.count, "by": e.by,
                         "until": e.until.isoformat() if e.until else ""} for e in entries])  # fmt: skip
        return
    table = page.table("signal", "subject", "feature", "value", "how", "last seen", "times")
    for e in entries:
        end = f", until {e.until:%Y-%m-%d}" if e.until else ""
        how = e.how + (f" by {e.by}{end}" if e.by else "")
        table.add_row(e.signal, e.subject, e.feature, e.value, how, f"{e.last:%Y-%m-%d}", str(e.count))
    page.lines([Line(f"{len(entries)} entries", style=HEADING), *([table] if entries else [])])


@app.command()
def declare(
    file: BaselineFile, signal: Signal, subject: Subject, feature: Feature, value: Value, until: Until = "",
    by: Annotated[str, typer.Option(help="Who says so; without it, the user of this machine.")] = "",
) -> None:  # fmt: skip
    """Say that something is right, although it was never seen: a new region, a release by hand, a runner's network."""
    _put(file, "declared", (signal, subject, feature, value), by, until)


@app.command()
def prune(
    file: BaselineFile, signal: Signal, subject: Subject, feature: Feature, value: Value, until: Until = "",
    by: Annotated[str, typer.Option(help="Who says so; without it, the user of this machine.")] = "",
) -> None:  # fmt: skip
    """Say that something is not right, although it was seen: from now on it is news, and is not learned again."""
    _put(file, "pruned", (signal, subject, feature, value), by, until)


def _put(file: Path, how: str, key: tuple[str, str, str, str], by: str, until: str) -> None:
    signal, subject, feature, value = key
    if signal not in SIGNALS:
        raise InputError(f"{signal[:40]!r} is no signal; there are {', '.join(SIGNALS)}")
    baseline, now, end = _baseline(file, learn=True), datetime.now(UTC), _time(until)
    if end is not None and end <= now:
        raise InputError(f"--until {until} is over already")
    who = frame.person(by)
    baseline.put(Entry(signal=signal, subject=subject, feature=feature, value=value, first=now, last=now, how=how,
                       by=who, until=end))  # fmt: skip
    file.write_text(json.dumps(baseline.as_json(), indent=1) + "\n")
    page.lines([Line(f"{how} by {who}: {signal}, {feature} {value} of {subject}", style=GOOD)])


# what the watch has told ----------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _store(home: Path | None) -> Iterator[Any]:
    from bot.app import opened  # files alone need no installation

    frame.quiet_logs()
    with opened(frame.settings_of(home), sites={}) as bulkhead:
        yield bulkhead.store


@app.command("list")
def list_(
    muted: Annotated[bool, typer.Option("--muted", help="Show what is muted instead, by whom and until when.")] = False,
    home: frame.Home = None, json_: frame.Json = False,
) -> None:  # fmt: skip
    """Show what the watch has told: what opened or joined an incident, and the digest of all that did not."""
    from bot.watch import mutes, told

    with _store(home) as store:
        rows = [{"pattern": name, **row} for name, row in sorted(mutes(store).items())] if muted else told(store)
    if json_:
        frame.document(rows)
        return
    lines: list[Any] = [Line(f"{len(rows)} {'muted' if muted else 'told'}", style=HEADING)]
    for row in rows:
        if muted:
            lines.append(Line(f"{row['pattern']} by {row['by']} until {row['until'][:16]}: {row['why']}"))
            continue
        where = "in the digest" if row["became"] == "digest" else f"landed as {row['became']}"
        lines.append(Line(f"{row['told_at'][:16]} {row['sure']}, {row['signal']}: {row['says']}",
                          style=COLOURS[Sure(row["sure"])]))  # fmt: skip
        lines.append(Line(f"  {row['name']}, {where}", style=DIM))
    page.lines(lines)


@app.command()
def mute(
    pattern: Annotated[str, typer.Argument(help="A finding's name as `list` shows it, or a signal; * is anything.")],
    until: Annotated[str, typer.Option(help="Until when; a mute has an end.")],
    why: Annotated[str, typer.Option(help="The reason, for whoever asks later.")],
    by: Annotated[str, typer.Option(help="Who says so; without it, the user of this machine.")] = "",
    home: frame.Home = None,
) -> None:
    """Let the watch say no more of something, until a time. What happens after that is told again."""
    from bot.watch import mute as put

    end = _time(until)
    if end is None or end <= datetime.now(UTC):
        raise InputError(f"--until {until[:40]!r} is over already, or no time; a mute needs an end that is to come")
    who = frame.person(by)
    with _store(home) as store:
        put(store, pattern, by=who, until=end, why=why)
    page.lines([Line(f"{pattern} is muted by {who} until {end:%Y-%m-%d %H:%M} UTC", style=GOOD)])

"""Commands of the installation: report, serve, migrate, doctor."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
from collections.abc import Callable, Coroutine
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from bot import doctor, logs
from bot.app import Bulkhead, opened, together
from bot.cli import frame, page
from bot.errors import InputError, Undeliverable
from bot.intake import formats
from bot.intake.delivery import Delivery, Reading, Sender
from bot.intake.inbox import Foreseen, Landed
from bot.intake.wire import MAX_BODY, text_of
from bot.model import Exposure, Machine, Trust
from bot.redact import DRAWN
from bot.settings import Settings, read
from bot.sites import Site
from bot.story import BAD, DIM, GOOD, HEADING, Line, Story
from bot.timeline import Event

app = frame.group("Commands that stand alone.")
log = logging.getLogger("bulkhead")
EXPOSED = (
    "that looks like a secret, and as an argument it is now in your shell's history and in the list of processes: "
    "treat it as exposed. It was not read further. Report it with `bulkhead report --secret`, which asks for it"
)


@app.command()
def report(
    text: Annotated[list[str] | None, typer.Argument(help="Address of a workflow run, or an id.")] = None,
    secret: Annotated[bool, typer.Option("--secret", help="Ask for the secret, or read standard input.")] = False,
    by: Annotated[str, typer.Option(help="Who reports; otherwise the user of this machine.", show_default=False)] = "",
    public: Annotated[bool | None, typer.Option("--public/--internal", help="Who could have seen it.")] = None,
    machine: Annotated[
        str,
        typer.Option(help="Malware ran on this machine and it still exists; none says that there is no such machine."),
    ] = "",
    file: Annotated[str, typer.Option("--file", help="A scanner's report instead; - is standard input.")] = "",
    format_: Annotated[str, typer.Option("--format", help="Its form; auto tells it by what is in it.")] = formats.AUTO,
    repository: Annotated[str, typer.Option(help="OWNER/NAME that was scanned, where the file does not say.")] = "",
    json_: frame.Json = False,
) -> None:
    """Report a credential as compromised, or all that a scanner has found. A secret is never an argument.

    A file of a known form lands with status 0, also when nothing is in it or it was here already; status 2 says that
    it could not be read.
    """
    said = " ".join(text or [])
    if file:
        if said or secret or machine:
            raise InputError("--file goes with --format, --repository, --public and --by alone")
        _report_file(file, format_, by, repository, public, json_=json_)
        return
    if any(word.startswith("-") for word in text or []):
        raise InputError("report knows no such option; see `bulkhead report --help`")
    frame.quiet_logs()
    with opened(read(), sites={}) as bulkhead:
        _refuse_secrets(bulkhead, said)
        if secret:
            said = f"{said}\n{_ask_secret()}".strip()
        if not said:
            raise InputError("say what has leaked: the address of a run, an access key id, or --secret")
        _refuse_secrets(bulkhead, machine)
        gone = machine.strip().lower() == Machine.NONE
        state = Machine.NONE if gone else Machine.EXISTS if machine.strip() else Machine.UNKNOWN
        exposure = Exposure.UNKNOWN if public is None else Exposure.PUBLIC if public else Exposure.INTERNAL
        landed = bulkhead.inbox.land(
            source="cli",
            world="real",
            by=frame.person(by),
            text=said,
            at=datetime.now(UTC),
            exposure=exposure,
            machine=state,
            machine_name="" if gone else machine.strip(),
        )
    if json_:
        frame.document({"report": landed.id, "new": landed.new})
        return
    text_ = "has landed" if landed.new else "was here already"
    next_ = "A worker (bulkhead serve) opens the incident; `bulkhead incident show` then says what it needs."
    page.lines([Line(f"Report {landed.id} {text_}.", style=GOOD), Line(next_)])


def _report_file(
    file: str, form: str, by: str, repository: str, public: bool | None, *, json_: bool
) -> None:  # fmt: skip
    if form not in (formats.AUTO, *formats.FORMATS):
        raise InputError(f"--format is one of {', '.join([formats.AUTO, *formats.FORMATS])}, not {form[:30]!r}")
    frame.quiet_logs()
    try:
        body = sys.stdin.buffer.read(MAX_BODY + 1) if file == "-" else Path(file).read_bytes()
    except OSError as exc:
        raise InputError(f"{file} cannot be read: {exc.strerror}") from None
    if len(body) > MAX_BODY:
        raise InputError("the report is larger than 25 MB; split it")
    try:
        known, seen = formats.read(text_of(body), form)
    except Undeliverable as exc:
        raise InputError(f"{'standard input' if file == '-' else file}: {exc}") from None
    exposure = Exposure.UNKNOWN if public is None else Exposure.PUBLIC if public else Exposure.INTERNAL
    seen = [replace(one, repository=one.repository or repository,
                    exposure=one.exposure if public is None else exposure) for one in seen]  # fmt: skip
    who = frame.person(by)
    delivery = Delivery(source=known.name, body=body, headers={}, at=datetime.now(UTC))
    reading = Reading(
        event="file", seen=tuple(seen), by=who, key=f"file-{delivery.sha256[:48]}",
        text=f"{who} reports what {known.title} has found: {len(seen)} findings",
    )  # fmt: skip
    with opened(read(), sites={}) as bulkhead:
        landed = None
        if seen:
            landed = bulkhead.inbox.receive(delivery, Sender(trust=Trust.OPERATOR, by=who), reading)
        found = bulkhead.inbox.foreseen(landed.id) if landed else []
    _tell_file(known, len(seen), landed, found, json_=json_)


def _tell_file(
    known: formats.Format, count: int, landed: Landed | None, found: list[Foreseen], *, json_: bool
) -> None:  # fmt: skip
    if json_:
        frame.document({
            "format": known.name, "findings": count, "report": landed.id if landed else "",
            "new": bool(landed and landed.new), "credentials": [asdict(one) for one in found],
        })  # fmt: skip
        return
    if landed is None:
        page.lines([Line(f"{known.title}: nothing was found, so nothing has landed.", style=GOOD)])
        return
    said = "has landed" if landed.new else "was here already"
    page.lines([Line(f"{known.title}: {count} findings. Report {landed.id[:40]} {said}.", style=GOOD)])
    for one in found:
        what = {"sighting": f"a sighting on {one.incident}", "again": f"seen again after {one.incident} was closed",
                "opens": "opens an incident", "none": "no playbook knows it"}[one.becomes]  # fmt: skip
        page.lines([Line(f"- {one.credential}: {what}", style=DIM if one.becomes == "none" else "")])
    page.lines([Line("A worker (bulkhead serve) does this; `bulkhead incident list` then shows it.")])


def _refuse_secrets(bulkhead: Bulkhead, text: str) -> None:
    """Raises InputError when an argument holds a value, or what looks like one. It is not repeated."""
    if any(found.value for found in bulkhead.recognizer.find(text)):
        raise InputError(EXPOSED)
    for word in text.split():
        if DRAWN.fullmatch(word) and "://" not in word:
            raise InputError(EXPOSED)


def _ask_secret() -> str:
    return frame.ask_secret("The secret (it is not shown; of an AWS key: the id, a space, the secret)")


@app.command()
def serve(
    range_: Annotated[
        bool, typer.Option("--range", help="In a company of its own on this machine, with a Slack to click through.")
    ] = False,
) -> None:
    """Run everything in one process, until Ctrl-C or SIGTERM: worker, clock and pages."""
    if range_:
        from bot.cli.play import play

        play()
        return
    _run("Bulkhead: worker, clock and pages", Bulkhead.serve)


@app.command()
def worker() -> None:
    """Run a worker, which runs the incidents; any number of them on PostgreSQL."""
    _run("Bulkhead's worker", Bulkhead.work, split=True)


@app.command("clock")
def keep_time() -> None:
    """Run the clock, which forgets old secrets and names what is stuck; one of them, on PostgreSQL."""
    _run("Bulkhead's clock", Bulkhead.keep_time, split=True)  # it asks providers for what webhooks have missed


@app.command()
def web() -> None:
    """Serve the pages: health, metrics, and the incidents that `bulkhead incident open` has opened."""
    _run("Bulkhead's pages", Bulkhead.show_pages, sites={}, split=True)


def _run(
    title: str, work: Callable[[Bulkhead], Coroutine[Any, Any, None]], *, split: bool = False,
    sites: dict[str, Site] | None = None,
) -> None:  # fmt: skip
    """Run one kind of process until it is told to stop. Raises InputError for a split process on SQLite."""
    frame.quiet_logs(logging.INFO)
    for noisy in ("alembic", "apscheduler", "botocore", "boto3", "urllib3", "github", "dbos"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    settings = read()
    say = _logged if settings.log == logs.JSON else page.lines
    if split and settings.one_process:
        raise InputError(
            "the database is SQLite, which serves one process: run `bulkhead serve`, which does everything, "
            "or set BULKHEAD_DATABASE_URL to a PostgreSQL (postgresql+psycopg://USER@HOST/DATABASE)"
        )
    with opened(settings, sites=sites) as bulkhead:
        logs.named(bulkhead.store.process)
        say(_serving(title, settings, bulkhead))
        logs.catch_all()
        bulkhead.timeline.listen(_Log(whole=settings.log == logs.JSON).take)
        with contextlib.suppress(KeyboardInterrupt):  # being told to stop is how a worker ends
            asyncio.run(frame.until_told(together(work(bulkhead), bulkhead.same_key())))
    logging.disable(logging.NOTSET)
    say([Line("Stopped. Open incidents go on when a worker starts again.")])


def _logged(lines: list[Line]) -> None:
    """What a person would see on standard output, for programs that read one form only."""
    for line in lines:
        log.log(logging.WARNING if line.style == BAD else logging.INFO, "%s", line.text, extra={"event": "process"})


def _serving(title: str, settings: Settings, bulkhead: Bulkhead) -> list[Line]:
    database = Line(f"Database: {'SQLite in ' + str(settings.home) if bulkhead.store.sqlite else 'PostgreSQL'}")
    if not bulkhead.sites:
        return [Line(title, style=HEADING), database]
    github = "an App" if settings.github_app_id else "a token" if settings.github_token.get_secret_value() else ""
    aws = ", ".join(name.removeprefix("aws-access-key:") for name in bulkhead.sites["real"].identities)
    stands = bulkhead.switch.standing()
    frozen = [Line(f"FROZEN by {stands.by}: {stands.reason}. Nothing is changed.", style=BAD)] if stands else []
    other = bulkhead.notes.unlike(bulkhead.notes.newest(), bulkhead.policy)
    policy = [Line(f"The policy in force is not the one that was announced last: {other}.", style=BAD)] if other else []
    return [
        Line(title, style=HEADING),
        *frozen,
        *policy,
        database,
        Line(f"GitHub: {settings.github_api} as {github or 'nobody: it can change nothing there'}"),
        Line(f"AWS: {aws or 'nobody: it can change nothing there'}"),
        Line(f"Mode: {settings.mode}. Responders: {', '.join(sorted(settings.people)) or 'nobody may decide'}"),
        Line(f"Open incidents: {len(bulkhead.store.incidents('open'))}. Stop it with Ctrl-C.", style=DIM),
    ]


class _Log:
    """Every event in the log, in plain words. ``whole``: one line an event, also of those that people need not read."""

    def __init__(self, *, whole: bool) -> None:
        self._stories: dict[str, Story] = {}
        self._whole = whole

    def take(self, event: Event) -> None:
        """What the timeline calls after each event."""
        lines = self._stories.setdefault(event.incident, Story()).event(event)
        said = {"event": event.kind, "incident": event.incident, "step": event.step}
        if self._whole:
            bad = any(line.style == BAD for line in lines)
            text = " ".join(line.text for line in lines) or event.kind
            log.log(logging.WARNING if bad else logging.INFO, "%s", text, extra=said)
            return
        for line in lines:
            if line.mark:
                log.info("%s %s %s", event.incident, line.mark, line.text, extra=said)


@app.command()
def migrate() -> None:
    """Bring the database to this version's form, before a release starts."""
    frame.quiet_logs()
    settings = read()
    with frame.busy("migrating the database"), opened(settings, sites={}, release=True) as bulkhead:
        where = f"SQLite in {settings.home}" if bulkhead.store.sqlite else "PostgreSQL"
    page.lines([Line(f"{where} has this version's form.", style=GOOD)])


@app.command("doctor")
def examine(json_: frame.Json = False) -> None:
    """Say what is set, what is missing, and what a stolen bot could do."""
    frame.quiet_logs(logging.ERROR)
    with frame.busy("looking at the installation"):
        found = doctor.examine(read())
    if json_:
        frame.document(found.as_json())
    else:
        page.lines(_found(found))
    if found.broken:
        raise typer.Exit(frame.FAILED)


def _found(found: doctor.Examination) -> list[Line]:
    marks = {"ok": GOOD, "missing": "yellow", "warning": "yellow", "broken": BAD}
    lines = [Line("What is configured", style=HEADING)]
    for one in found.findings:
        more = "".join(f" {text}" for text in (one.disables, one.suggestion) if text)
        lines.append(Line(f"{one.name}: {one.detail}.{more}", one.state, "", marks[one.state]))
    lines += [Line(""), Line("What could be destroyed with this bot's identities, if they were stolen", style=HEADING)]
    for power in found.powers:
        lines += [Line(f"{power.identity}: {power.summary}."), *(Line(f"- {text}") for text in power.could)]
        lines += [Line(f"- Suggestion: {text}", style=DIM) for text in power.suggestions]
    return lines if found.powers else [*lines, Line("Nothing: it has no identity anywhere.")]

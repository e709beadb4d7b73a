"""Commands of the installation: report, serve, migrate, doctor."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from bot import doctor
from bot.app import Bulkhead, Site, opened
from bot.cli import frame, page
from bot.errors import InputError
from bot.model import Exposure, Machine
from bot.redact import DRAWN
from bot.settings import Settings, read
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
    json_: frame.Json = False,
) -> None:
    """Report a credential as compromised. A secret is never an argument."""
    said = " ".join(text or [])
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
    _run("Bulkhead's clock", Bulkhead.keep_time, sites={}, split=True)


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
    if split and settings.one_process:
        raise InputError(
            "the database is SQLite, which serves one process: run `bulkhead serve`, which does everything, "
            "or set BULKHEAD_DATABASE_URL to a PostgreSQL (postgresql+psycopg://USER@HOST/DATABASE)"
        )
    with opened(settings, sites=sites) as bulkhead:
        page.lines(_serving(title, settings, bulkhead))
        bulkhead.timeline.listen(_Log().take)
        with contextlib.suppress(KeyboardInterrupt):  # being told to stop is how a worker ends
            asyncio.run(frame.until_told(work(bulkhead)))
    page.lines([Line("Stopped. Open incidents go on when a worker starts again.")])


def _serving(title: str, settings: Settings, bulkhead: Bulkhead) -> list[Line]:
    database = Line(f"Database: {'SQLite in ' + str(settings.home) if bulkhead.store.sqlite else 'PostgreSQL'}")
    if not bulkhead.sites:
        return [Line(title, style=HEADING), database]
    github = "an App" if settings.github_app_id else "a token" if settings.github_token.get_secret_value() else ""
    aws = ", ".join(name.removeprefix("aws-access-key:") for name in bulkhead.sites["real"].identities)
    return [
        Line(title, style=HEADING),
        database,
        Line(f"GitHub: {settings.github_api} as {github or 'nobody: it can change nothing there'}"),
        Line(f"AWS: {aws or 'nobody: it can change nothing there'}"),
        Line(f"Mode: {settings.mode}. Responders: {', '.join(sorted(settings.people)) or 'nobody may decide'}"),
        Line(f"Open incidents: {len(bulkhead.store.incidents('open'))}. Stop it with Ctrl-C.", style=DIM),
    ]


class _Log:
    """Every event in the log, in plain words."""

    def __init__(self) -> None:
        self._stories: dict[str, Story] = {}

    def take(self, event: Event) -> None:
        """What the timeline calls after each event."""
        for line in self._stories.setdefault(event.incident, Story()).event(event):
            if line.mark:
                log.info("%s %s %s", event.incident, line.mark, line.text)


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

"""``bulkhead drill``: leak, abuse and contain a credential on the range, and tell it as it happens."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shlex
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from secrets import token_hex
from typing import Annotated, Any

import typer
from pydantic import SecretStr
from rich.console import Group, RenderableType
from rich.live import Live
from rich.text import Text

from bot import drill as drills
from bot import makes_way, rehearsal, timeline
from bot.app import drills_of, opened
from bot.choosing import Decide, best
from bot.cli import deciding, frame, page, replay, schedules
from bot.errors import EngineError, InputError
from bot.scenario import SCENARIOS, Drill
from bot.settings import Settings, read
from bot.sites import range_site
from bot.store import Store, iso
from bot.store_drills import Scores
from bot.story import BAD, GOOD, HEADING, Line, Story, milestones, seconds, waiting
from bot.timeline import Event

app = frame.group("Train: a real incident in a small company on 127.0.0.1.")
app.add_typer(schedules.app, name="schedule")


def scenarios() -> dict[str, Drill]:
    """Every drill there is, by its id."""
    return drills_of(read())


def scenario(name: str) -> Drill:
    """The drill of that name. Raises InputError that lists what there is."""
    known = scenarios()
    if name not in known:
        raise InputError(f"there is no drill {name!r}; there are: {', '.join(known)}")
    return known[name]


def settings_for(drill: Drill, home: Path, base: Settings) -> Settings:
    """Settings of a drill's own folder: no database, vault key or identity of the real installation comes with it."""
    nobody = {"signers": None, "policy": None, "github_token": SecretStr(""), "github_app_key": SecretStr(""),
        "github_app_id": "",
              "npm_token": SecretStr(""), "crates_token": SecretStr(""), "rubygems_key": SecretStr(""),
              "dockerhub_user": "", "dockerhub_token": SecretStr(""), "gcp_key_file": None}  # fmt: skip
    here = {"responders": ",".join(drill.responders), "mode": "act"}
    return frame.inside(base, home).model_copy(update=nobody | here)


@app.command("list")
def list_(json_: frame.Json = False) -> None:
    """Show the drills there are."""
    known = scenarios().values()
    if json_:
        frame.document([{"id": d.id, "title": d.title, "playbook": d.playbook, "briefing": d.briefing} for d in known])
        return
    for drill in known:
        said = [Line(drill.title), Line(drill.briefing), Line(f"It proves the playbook {drill.playbook}."), Line("")]
        page.lines([Line(drill.id, style=HEADING), *said])


@app.command()
def run(
    name: Annotated[str, typer.Argument(help="The drill, as `bulkhead drill list` shows it.")],
    json_: frame.Json = False,
    home: Annotated[Path | None, typer.Option(help="Its folder; otherwise a new one in BULKHEAD_HOME.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the drill in --home.")] = False,
    range_: Annotated[
        str, typer.Option("--range", help="File with the line of `bulkhead range up --json`; - is standard input.")
    ] = "",
    contrast: Annotated[
        bool, typer.Option("--contrast", help="Then the same leak under OIDC, in the same range, side by side.")
    ] = False,
    decide: Annotated[
        bool, typer.Option("--decide", help="Be asked what you would do; what comes of it happens. Scored at the end.")
    ] = False,
    answers: Annotated[
        Path | None, typer.Option(help="File with your answers (choice: option), for a program; implies --decide.")
    ] = None,
    by: frame.By = "",
) -> None:
    """Run a drill and tell it. Ends with status 0 only when everything is proven dead and the attacker is refused."""
    drill = scenario(name)
    decider = deciding.decider(drill, decide=decide, answers=answers, silent=json_)
    owner = frame.person(by) if decider else ""
    base = read()
    folder = _folder(home, base, drill, resume, range_)
    settings, other = settings_for(drill, folder, base), _contrast(drill, contrast, resume)
    results = []
    try:
        with _range(range_, fresh=not resume) as range_here:
            asks = isinstance(decider, deciding.Asker)  # a countdown below the lines would paint over what is typed
            teller = Teller(silent=json_, still=asks)
            results.append(perform(drill, settings, range_here, teller, decider, owner, beside=base))
            if other is not None:
                _between(other, json_)
                there = settings_for(other, folder / replay.CONTRAST, base)
                results.append(perform(other, there, range_here.anew(), Teller(silent=json_), beside=base))
    except KeyboardInterrupt:
        again = f"{frame.program()} drill run {name}"
        on = f"go on with `{again} --home {folder} --range {range_} --resume`"
        raise frame.stopped(on if range_ else f"its range has ended with it, so begin anew with `{again}`") from None
    if decider and decider is not best:
        _keep(base, results[0], owner)
    if other is not None:
        with opened(settings, sites={}) as bulkhead:  # once more, with what stands beside it
            replay.write(bulkhead, results[0].incident, folder / replay.FILE)
    if json_:
        said = [result.as_json() for result in results]
        frame.document(said[0] | ({"contrast": said[1]} if other else {}))
    else:
        page.lines(_ending(results[0], settings, results[1:]) if results[0].incident else _verdict(results[0]))
        page.lines(deciding.ending(drill, results[0]))
    if not all(result.contained for result in results):
        raise typer.Exit(frame.FAILED)


def perform(
    drill: Drill, settings: Settings, range_here: drills.Range, teller: Teller, decider: Decide | None = None,
    owner: str = "", beside: Settings | None = None,
) -> drills.Result:  # fmt: skip
    """One drill from the leak to the last try. ``beside``: the installation whose real incidents it makes way for.

    Raises EngineError when it cannot be brought to its end, or has made way.
    """
    frame.quiet_logs()
    site = range_site(range_here.endpoints)
    installed = beside is not None and frame.holds(beside, beside.home)
    watch = makes_way.open_incidents(beside.url) if beside and installed else contextlib.nullcontext(tuple)
    with watch as real, opened(settings, sites={"range": site}, release=True) as bulkhead, teller.at(site.clock.now):
        for row in bulkhead.store.incidents():
            teller.catch_up(timeline.load(bulkhead.store, row.id))
        bulkhead.store.set_setting("drill:id", drill.id)
        played = drills.Run(drill, bulkhead, range_here, teller.tell, decider, owner, real)
        result = asyncio.run(frame.until_told(_freed(played, decider)))
        if result.incident:
            found = (result.score or {}).get("findings", ()) if result.contained else ()
            rehearsal.follow_up(bulkhead.postmortems, result.incident, found, owner)
            replay.write(bulkhead, result.incident, settings.home / replay.FILE)
        return result


def _keep(base: Settings, result: drills.Result, owner: str) -> None:
    """The score goes into the installation's own store, where it is seen over time beside others'."""
    if result.score is None:
        return
    base.home.mkdir(parents=True, exist_ok=True)
    store = Store(base.url)
    try:
        if store.sqlite:
            store.migrate()
        Scores(store).keep(
            f"terminal:{result.incident or token_hex(8)}", drill=result.drill, at=iso(datetime.now(UTC)),
            team=base.team_of_people([owner]), total=result.score["total"], people=[owner],
        )  # fmt: skip
    except EngineError as exc:  # the drill is over, and its own folder has the score
        frame.err().print(f"The score is in the drill's folder only: {exc}", highlight=False)
    finally:
        store.close()


async def _freed(played: drills.Run, decider: Decide | None) -> drills.Result:
    """The drill; when it ends, however it does, nobody is asked any more."""
    try:
        return await played.run()
    finally:
        if isinstance(decider, deciding.Asker):
            decider.stop()


def _contrast(drill: Drill, wanted: bool, resume: bool) -> Drill | None:
    """The drill that plays the same leak under OIDC, if it is asked for. Raises InputError where there is none."""
    if not wanted:
        return None
    if resume:
        raise InputError("--contrast belongs to a new drill; leave it out to go on with one")
    if not drill.contrast:
        known = ", ".join(one.id for one in scenarios().values() if one.contrast)
        raise InputError(f"nobody has played {drill.id} under OIDC; --contrast is for {known}")
    return scenario(drill.contrast)


def _between(other: Drill, silent: bool) -> None:
    if not silent:
        page.lines([Line(""), Line(other.title, style=HEADING), Line(other.briefing), Line("")])


class Teller:
    """Prints the story: lines as they come, and on a terminal what is waited for, counting down below them."""

    def __init__(self, *, silent: bool = False, still: bool = False) -> None:
        """``still``: nothing moves below the lines."""
        self.story, self.silent, self._still = Story(), silent, still
        self._console, self._lock = frame.out(), threading.Lock()
        self._now: Callable[[], datetime] = lambda: datetime.now(UTC)
        self._printed_waiting = ""

    @contextlib.contextmanager
    def at(self, now: Callable[[], datetime]) -> Iterator[None]:
        """Tell by this clock while the block runs."""
        self._now = now
        if self.silent:
            with frame.busy("the drill runs"):
                yield
        elif self._console.is_terminal and not self._still:
            with Live(get_renderable=self._foot, console=self._console, refresh_per_second=4, transient=True):
                yield
        else:
            yield

    def tell(self, kind: str, data: dict[str, Any]) -> None:
        """What ``drill.Run`` calls, from several threads."""
        with self._lock:
            lines = deciding.told(kind, data) or self.story.tell(kind, data)
            if not self.silent:
                page.lines(lines, self._console)

    def catch_up(self, events: list[Event]) -> None:
        """Take in what an earlier process did, and say so in a line."""
        for event in events:
            self.story.event(event)
        if events and not self.silent:
            last = events[-1]
            text = f"This drill goes on: {len(events)} events stand, the last is {last.step} {last.kind}."
            page.lines([Line(text), Line("What they did is not done again."), Line("")], self._console)

    def _foot(self) -> RenderableType:
        with self._lock:
            lines = waiting(self.story, self._now())
        return Group(*(Text(line, style="yellow", overflow="ellipsis", no_wrap=True) for line in lines))


def _folder(home: Path | None, base: Settings, drill: Drill, resume: bool, range_: str) -> Path:
    if resume and (home is None or not range_):
        raise InputError(
            "to go on with a drill give its folder (--home) and the range that it ran on (--range): "
            "a range that the drill started itself has ended with it, so begin a new drill then"
        )
    if home is not None:
        stands = frame.holds(base, home)
        if stands and not resume:
            raise InputError(f"{home} holds a drill already; add --resume to go on with it, or choose another folder")
        if resume and not stands:
            raise InputError(f"{home} holds no drill; leave --resume out to begin one there")
        return home
    return base.home / "drills" / f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{drill.id}"


@contextlib.contextmanager
def _range(source: str, *, fresh: bool) -> Iterator[drills.Range]:
    """The range of this drill: its own, or the one that is named."""
    if not source:
        with contextlib.ExitStack() as stack:
            with frame.busy("starting the range: a small company on 127.0.0.1"):
                range_here = stack.enter_context(drills.range_up())
            yield range_here
        return
    range_here = attached(source)
    if fresh and any(range_here.post("/drill/tries", {"scenario": name}) for name in SCENARIOS):
        raise InputError("a drill has used this range already; start a new one with `bulkhead range up --json`")
    yield range_here


def attached(source: str) -> drills.Range:
    """A range that runs already. Raises InputError when the line is not one of ``range up --json``."""
    try:
        text = sys.stdin.readline() if source == "-" else Path(source).read_text(encoding="utf-8")
    except OSError as exc:
        raise InputError(f"{source} cannot be read: {exc.strerror}") from None
    try:
        range_here = drills.Range(info=json.loads(text.strip().splitlines()[0]))
        _ = range_here.endpoints
    except (ValueError, KeyError, IndexError, TypeError):
        raise InputError(f"{source} does not hold the line that `bulkhead range up --json` prints") from None
    return range_here


def _ending(
    result: drills.Result, settings: Settings, beside: Sequence[drills.Result] = ()
) -> list[Line | RenderableType]:
    events = [Event(**event) for event in result.timeline]
    incident = f"{frame.program()} incident"
    command = f"{result.incident} --home {shlex.quote(str(settings.home))}"
    said: list[Line | RenderableType] = [Line(""), Line("The ledger", style=HEADING), page.ledger(result.ledger)]
    said += [*page.LEGEND, Line(""), Line("The timeline, in short", style=HEADING), *milestones(events), Line("")]
    dead = f"until all was proven dead: {_time(result.time_to_all_dead_s)}."
    first = f"From the report to the first cut: {_time(result.time_to_first_cut_s)}"
    none = "There was nothing left to cut"
    said.append(Line(f"{none if result.non_event else first}; {dead}"))
    said += [
        Line(f"{len(events)} events in a hash chain; {len(result.evidence)} files of evidence."),
        Line(""), Line("Where it is", style=HEADING), Line(f"Incident, evidence and vault are in {settings.home}"),
        Line("Look at it, with every event; check the chain and the evidence; take everything out:"),
        Line(f"{incident} show {command} --timeline", command=True),
        Line(f"{incident} verify {command}", command=True),
        Line(f"{incident} export {command} --out DIR", command=True),
        Line(""), Line("Press play on it, in a browser", style=HEADING),
        Line(str(settings.home / replay.FILE), command=True), Line(""),
    ]  # fmt: skip
    return [*said, *(line for each in (result, *beside) for line in _verdict(each))]


def _verdict(result: drills.Result) -> list[Line]:
    """The last lines: what a drill has shown."""
    if not result.contained:
        return [Line("NOT contained:", style=BAD), *(Line(f"- {why}", style=BAD) for why in result.why_not)]
    if not result.incident:
        return [Line("Nothing to cut: no incident was opened, and the company works as before.", style=GOOD)]
    text = "Contained: every row closed on proof, and every try of the attacker was refused."
    if result.non_event:
        text = "A non-event: what leaked was dead by itself, and every try of the attacker had been refused before."
    return [Line(text, style=GOOD)]


def _time(value: float | None) -> str:
    return "never" if value is None else seconds(value)

"""What all commands share: exit statuses, consoles, settings of a folder, who is typing.

Exit statuses: 0 done, 1 it did not work, 2 what was typed or set is wrong, 3 a decision that does not count,
130 stopped by Ctrl-C. Whatever is wrong is said in one sentence on standard error, and no secret is repeated in it.
"""

from __future__ import annotations

import asyncio
import contextlib
import getpass
import hashlib
import importlib
import json
import logging
import os
import re
import shlex
import shutil
import signal
import sys
from collections.abc import Coroutine, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, TypeVar

import typer
from pydantic import SecretStr
from rich.console import Console
from typer.core import TyperGroup

from bot.errors import BulkheadError, DecisionRefused, InputError
from bot.settings import Settings, read

T = TypeVar("T")
WIDTH = 100  # what is written to a file or a pipe is wrapped here
FAILED, BAD_INPUT, NO_DECISION, STOPPED = 1, 2, 3, 130
_LONG_WORD = re.compile(r"[^\s'\"`]{20,}")  # in what was typed wrongly, this may be a secret

Home = Annotated[
    Path | None,
    typer.Option("--home", help="Use this folder instead of BULKHEAD_HOME; drills print theirs.", show_default=False),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document for a program.")]
By = Annotated[
    str,
    typer.Option(
        "--by", "--as", show_default=False,
        help="Who decides; without it, the user of this machine. Must be one of BULKHEAD_RESPONDERS.",
    ),
]  # fmt: skip


class Edge(TyperGroup):
    """The outermost group: every error of ours becomes a sentence and a status here, and nowhere else.

    A group of commands is imported when it is asked for: starting the range must not wait for the engine's libraries.
    """

    groups: ClassVar = {
        name: f"bot.cli.{name}"
        for name in (
            "campaign",
            "drill",
            "export",
            "freeze",
            "inbox",
            "incident",
            "oidc",
            "playbook",
            "policy",
            "postmortem",
            "signals",
            "vault",
        )
    }
    work: ClassVar = dict.fromkeys(("clock", "doctor", "migrate", "report", "serve", "web", "worker"), "bot.cli.work")
    work |= dict.fromkeys(("backup", "restore"), "bot.cli.copies") | {"manifest": "bot.cli.slack"}
    work |= {name: f"bot.cli.{name}" for name in ("metrics", "quiz", "replay", "status")}

    def main(self, args: Sequence[str] | None = None, *_: Any, **extra: Any) -> Any:
        extra |= {"standalone_mode": False, "prog_name": "bulkhead"}
        try:
            status = super().main(args, **extra)
        except typer.Abort:
            status = _wrong("stopped; nothing was done", FAILED)
        except BulkheadError as exc:
            status = _wrong(str(exc), _status(exc))
        except typer.TyperException as exc:
            status = self._misused(exc)
        sys.exit(status if isinstance(status, int) else 0)

    def list_commands(self, ctx: Any) -> list[str]:
        return sorted({*super().list_commands(ctx), *self.groups, *self.work})

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name in self.groups and cmd_name not in self.commands:
            module = importlib.import_module(self.groups[cmd_name])
            self.add_command(typer.main.get_command(module.app), cmd_name)
        elif cmd_name in self.work and cmd_name not in self.commands:
            group_of = typer.main.get_command(importlib.import_module(self.work[cmd_name]).app)
            self.commands.update(group_of.commands)  # type: ignore[attr-defined]
        return super().get_command(ctx, cmd_name)

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            status = _wrong("stopped by Ctrl-C; what was written stands, so give the command again to go on", STOPPED)
            raise typer.Exit(status) from None

    @staticmethod
    def _misused(exc: Exception) -> int:
        context, message = getattr(exc, "ctx", None), str(getattr(exc, "message", exc))
        if context is not None and message == context.get_help():  # a group was given without a command
            sys.stderr.write(message + "\n")
            return BAD_INPUT
        where = f"; try `{context.command_path} --help`" if context is not None else ""
        return _wrong(_LONG_WORD.sub("…", message.rstrip(".")) + where, BAD_INPUT)


def _wrong(sentence: str, status: int) -> int:
    if os.environ.get("BULKHEAD_LOG") == "json" and logging.getLogger().handlers:
        logging.getLogger("bulkhead").error("%s", sentence, extra={"event": "stopped"})
    else:
        sys.stderr.write(f"bulkhead: {sentence}\n")
    return status


def _status(exc: BulkheadError) -> int:
    return BAD_INPUT if isinstance(exc, InputError) else NO_DECISION if isinstance(exc, DecisionRefused) else FAILED


def program() -> str:
    """What to type to call this program again from here."""
    if shutil.which("bulkhead"):
        return "bulkhead"
    called = Path(sys.argv[0])
    if called.name == "__main__.py":
        return shlex.join([sys.executable, "-m", "bot"])
    return shlex.quote(str(called)) if called.name == "bulkhead" else "bulkhead"


def group(help_text: str) -> typer.Typer:
    """A group of commands."""
    look: dict[str, Any] = {"pretty_exceptions_enable": False, "add_completion": False, "rich_markup_mode": None}
    return typer.Typer(help=help_text, no_args_is_help=True, **look)


def out(console_width: int | None = None) -> Console:
    """Standard output for people. Honours NO_COLOR (no-color.org) by itself."""
    console = Console(highlight=False, soft_wrap=False, width=console_width)
    return console if console.is_terminal else Console(highlight=False, width=console_width or WIDTH)


def err() -> Console:
    """Standard error for people: progress goes here, so that standard output can be piped."""
    return Console(stderr=True, highlight=False)


def document(value: Any) -> None:
    """The one JSON document of ``--json``."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


@contextlib.contextmanager
def busy(what: str) -> Iterator[None]:
    """Say on standard error what takes a while: a spinner on a terminal, one line elsewhere."""
    console = err()
    if console.is_terminal:
        with console.status(what):
            yield
    else:
        sys.stderr.write(f"{what}\n")
        yield


def settings_of(home: Path | None) -> Settings:
    """The environment's settings; with ``home``, those of that folder, whose database and vault key lie in it."""
    settings = read()
    if home is None:
        return settings
    if not holds(settings, home):
        raise InputError(f"{home} holds no bulkhead.db; give the folder that the drill printed")
    return inside(settings, home)


def holds(settings: Settings, home: Path) -> bool:
    """Whether a drill has been run in this folder."""
    return (home / "bulkhead.db").is_file() or (not settings.one_process and (home / "vault.key").is_file())


def inside(settings: Settings, home: Path) -> Settings:
    """The same settings, with database, evidence and vault key in this folder.

    Where PostgreSQL is set, the database is a schema of its own there, which only this folder leads to.
    """
    from bot.store import in_schema  # the range starts without any SQL

    url = ""
    if not settings.one_process and not (home / "bulkhead.db").is_file():
        url = in_schema(settings.database_url, f"drill_{hashlib.sha256(str(home.resolve()).encode()).hexdigest()[:16]}")
    here = {"home": home, "database_url": url, "evidence": "", "vault_key": SecretStr("")}
    return settings.model_copy(update=here)


def person(by: str) -> str:
    """Who is typing. Raises InputError when this machine does not know."""
    try:
        return by.strip() or getpass.getuser()
    except (OSError, KeyError):
        raise InputError("this machine does not know who you are; add --by NAME") from None


async def until_told(work: Coroutine[Any, Any, T]) -> T:
    """Await the work; Ctrl-C and SIGTERM cancel it in good order, and are raised as KeyboardInterrupt."""
    task, told = asyncio.ensure_future(work), False

    def stop() -> None:
        nonlocal told
        told = True
        logging.disable(logging.ERROR)  # what libraries say while they are cancelled helps nobody
        task.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop)
    try:
        return await task
    except asyncio.CancelledError:
        if told:
            raise KeyboardInterrupt from None
        raise


def stopped(sentence: str) -> typer.Exit:
    """Say how to go on after Ctrl-C; raise what is returned."""
    return typer.Exit(_wrong(f"stopped; {sentence}", STOPPED))


def ask_secret(text: str) -> str:
    """A secret from a prompt that does not show it, or from standard input; never an argument."""
    if sys.stdin.isatty():
        return str(typer.prompt(text, hide_input=True, err=True))
    return sys.stdin.read()


def quiet_logs(level: int = logging.WARNING) -> None:
    """Log to standard error, in the form that BULKHEAD_LOG says. The settings themselves may be what is wrong."""
    from bot import logs  # the range starts without it

    logs.configure(os.environ.get("BULKHEAD_LOG", logs.PLAIN), level, sys.stderr)

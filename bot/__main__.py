"""The command line: ``bulkhead``, also ``python -m bot``."""

from __future__ import annotations

from importlib.metadata import version
from typing import Annotated

import typer

from bot.cli import frame

app = typer.Typer(
    cls=frame.Edge, name="bulkhead", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False,
    rich_markup_mode=None, help="Contain a compromised CI token by playbook, and prove that it is dead.",
)  # fmt: skip
range_app = frame.group("The range: a small company on 127.0.0.1.")
app.add_typer(range_app, name="range")


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"bulkhead {version('bulkhead')}")
        raise typer.Exit


@app.callback()
def _top(
    _wanted: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it.")] = False,
) -> None:
    """Contain a compromised CI token by playbook, and prove that it is dead."""


@range_app.command("up")
def range_up(json_: frame.Json = False) -> None:
    """Start the range alone and print where it listens; it ends with its standard input, by Ctrl-C or SIGTERM."""
    from bot.range import server  # it brings moto, which changes botocore for the whole process

    server.main(json=json_)


def main() -> None:
    """The console script."""
    app()


if __name__ == "__main__":
    main()

"""Commands of the Slack app: its manifest."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from bot.cli import frame
from bot.errors import InputError
from bot.settings import read
from bot.slack.manifest import as_yaml
from bot.slack.manifest import manifest as made

app = frame.group("The Slack app.")


@app.callback()
def _group() -> None:
    """One command would be no group."""


@app.command("manifest")
def manifest(
    url: Annotated[
        str,
        typer.Option(help="Where the pages are reached, https://HOST; otherwise BULKHEAD_WEB_URL.", show_default=False),
    ] = "",
    socket: Annotated[bool, typer.Option("--socket", help="By Socket Mode, which needs no public address.")] = False,
    sign_in: Annotated[bool, typer.Option("--sign-in", help="People sign in to the pages with Slack.")] = False,
    json_: frame.Json = False,
) -> None:
    """Print the manifest of the Slack app, with the reason for each scope; paste it where Slack asks for one."""
    settings = read()
    by_socket = socket or bool(settings.slack_app_token.get_secret_value())
    pages = (url or settings.web_url).rstrip("/")
    if sign_in and not pages:
        raise InputError("to sign in, people need the address of the pages: add --url https://HOST")
    found = made(command=settings.slack_command, url=pages, socket=by_socket or not pages, sign_in=sign_in)
    if json_:
        frame.document(found)
    else:
        sys.stdout.write(as_yaml(found))

"""A page of headings, paragraphs, lists and tables, as Markdown and as HTML that needs nothing from anywhere.

Indicators are written so that nobody follows them by a click (``defang``): hxxps://evil[.]example.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

_ADDRESS = re.compile(r"\b(?P<scheme>https?|ftp|wss?)://(?P<host>[^\s/:?#\"'<>|)\]]+)", re.IGNORECASE)
_IPV4 = re.compile(r"(?<![\w.])(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})(?![\w.]*\w)")
_MAIL = re.compile(r"\b([A-Za-z0-9._%+-]+)@([A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+)\b")
_MARKUP = re.compile(r"([\\`*_\[\]<>#|~])")


@dataclass(frozen=True, slots=True)
class Para:
    """A paragraph."""

    text: str


@dataclass(frozen=True, slots=True)
class Bullets:
    """A list."""

    items: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Link:
    """A link of ours, on a line of its own: the only thing that can be followed."""

    text: str
    url: str


@dataclass(frozen=True, slots=True)
class Grid:
    """A table."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


Part = Para | Bullets | Link | Grid


@dataclass(frozen=True, slots=True)
class Section:
    """A heading and what stands under it. ``level`` 2 or 3."""

    title: str
    parts: tuple[Part, ...] = ()
    level: int = 2


@dataclass(frozen=True, slots=True)
class Document:
    """A page."""

    title: str
    sections: tuple[Section, ...]


def defang(text: str) -> str:
    """Addresses, IPs and mail addresses, written so that they cannot be followed. Again is the same."""
    text = _ADDRESS.sub(_cold, text)
    text = _IPV4.sub(r"\1[.]\2[.]\3[.]\4", text)
    return _MAIL.sub(lambda m: f"{m[1]}[@]{m[2].replace('.', '[.]')}", text)


def _cold(match: re.Match[str]) -> str:
    scheme = match["scheme"].lower().replace("http", "hxxp").replace("ws", "wxs").replace("ftp", "fxp")
    return f"{scheme}://{match['host'].replace('.', '[.]')}"


def changed(document: Document, change: Callable[[str], str]) -> Document:
    """The same page, every text of it changed; addresses of links stay."""

    def part(one: Part) -> Part:
        if isinstance(one, Para):
            return Para(change(one.text))
        if isinstance(one, Bullets):
            return Bullets(tuple(map(change, one.items)))
        if isinstance(one, Link):
            return Link(change(one.text), one.url)
        return Grid(one.head, tuple(tuple(map(change, row)) for row in one.rows))

    sections = tuple(Section(one.title, tuple(map(part, one.parts)), one.level) for one in document.sections)
    return Document(change(document.title), sections)


# Markdown ------------------------------------------------------------------------------------------------------------


def markdown(document: Document) -> str:
    """As GitHub shows it. What people wrote is text: it makes no link, heading, table or mention."""
    lines = [f"# {_plain(document.title)}", ""]
    for section in document.sections:
        lines += [f"{'#' * section.level} {_plain(section.title)}", ""]
        for part in section.parts:
            lines += [*_as_markdown(part), ""]
    return "\n".join(lines).rstrip() + "\n"


def _as_markdown(part: Part) -> Sequence[str]:
    if isinstance(part, Para):
        return [_plain(line) for line in part.text.splitlines()] or ["-"]
    if isinstance(part, Bullets):
        return [f"- {_plain(item)}" for item in part.items]
    if isinstance(part, Link):
        return [f"- [{_plain(part.text)}]({part.url.replace('(', '%28').replace(')', '%29').replace(' ', '%20')})"]
    head = [f"| {' | '.join(map(_plain, part.head))} |", f"|{'---|' * len(part.head)}"]
    return [*head, *(f"| {' | '.join(map(_plain, row))} |" for row in part.rows)]


def _plain(text: str) -> str:
    said = _MARKUP.sub(r"\\\1", " ".join(text.split()))
    said = said.replace("@", "@\u200b")  # GitHub would call whoever has that name
    return re.sub(r"^([-+]|\d+[.)])(?=\s)", r"\\\1", said)


# HTML ----------------------------------------------------------------------------------------------------------------

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 52rem; margin: 2rem auto; padding: 0 1rem; color: #1b1b1b;
  background: #fff; overflow-wrap: anywhere }
figure { margin: 1rem 0 } svg { width: 100%; height: auto }
h1 { font-size: 1.6rem } h3 { font-size: 1.05rem }
h2 { font-size: 1.25rem; border-bottom: 1px solid #bbb; margin-top: 2rem }
table { border-collapse: collapse; width: 100%; font-size: .9rem }
th, td { border: 1px solid #bbb; padding: .3rem .5rem; text-align: left; vertical-align: top }
@media (prefers-color-scheme: dark) { body { color: #eee; background: #181818 } a { color: #9cf } }
@media print { body { margin: 0; max-width: none } h2 { break-after: avoid } tr { break-inside: avoid } }
"""
POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


def body(document: Document, picture: str = "") -> str:
    """The page without its frame, to stand inside another one. ``picture``: an SVG of ours, below the title."""
    figure = [f"<figure>{picture}</figure>"] if picture else []
    return "\n".join([f"<h1>{html.escape(document.title)}</h1>", *figure, *map(_section, document.sections)])


def page(document: Document, picture: str = "") -> str:
    """One file: it loads nothing, runs nothing, and can be printed."""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{html.escape(POLICY)}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(document.title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n"
        f"{body(document, picture)}\n</main>\n</body>\n</html>\n"
    )


def _section(section: Section) -> str:
    head = f"<h{section.level}>{html.escape(section.title)}</h{section.level}>"
    return "\n".join([head, *map(_as_html, section.parts)])


def _as_html(part: Part) -> str:
    if isinstance(part, Para):
        return f"<p>{'<br>'.join(map(html.escape, part.text.splitlines()))}</p>"
    if isinstance(part, Bullets):
        return f"<ul>{''.join(f'<li>{html.escape(item)}</li>' for item in part.items)}</ul>"
    if isinstance(part, Link):
        safe = part.url if part.url.startswith(("https://", "http://127.0.0.1:")) else ""
        return f'<p><a href="{html.escape(safe)}">{html.escape(part.text)}</a></p>'
    head = "".join(f'<th scope="col">{html.escape(cell)}</th>' for cell in part.head)
    rows = "".join(f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in row)}</tr>" for row in part.rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"

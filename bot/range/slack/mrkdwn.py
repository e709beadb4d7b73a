"""Slack's mrkdwn as HTML, for the page. What is not known is shown as it was written, and everything is escaped.

docs.slack.dev/messaging/formatting-message-text.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from html import escape

EMOJI = {
    "adhesive_bandage": "🩹", "alarm_clock": "⏰", "arrow_forward": "▶️", "bell": "🔔", "black_small_square": "▪️",
    "black_square_for_stop": "⏹️", "boom": "💥", "bust_in_silhouette": "👤", "busts_in_silhouette": "👥",
    "chart_with_upwards_trend": "📈", "checkered_flag": "🏁", "construction": "🚧", "dart": "🎯", "eyes": "👀",
    "fire": "🔥", "ghost": "👻", "grey_question": "❔", "heavy_check_mark": "✔️", "heavy_multiplication_x": "✖️",
    "hourglass_flowing_sand": "⏳", "ice_cube": "🧊", "key": "🔑", "large_blue_circle": "🔵",
    "large_green_circle": "🟢", "large_orange_circle": "🟠", "large_yellow_circle": "🟡",
    "leftwards_arrow_with_hook": "↩️", "link": "🔗", "lock": "🔒", "mag": "🔍", "mega": "📣", "memo": "📝",
    "mortar_board": "🎓", "new": "🆕", "no_entry": "⛔", "package": "📦", "page_facing_up": "📄", "pager": "📟",
    "question": "❓", "raising_hand": "🙋", "red_circle": "🔴", "robot_face": "🤖", "rotating_light": "🚨",
    "scissors": "✂️", "shield": "🛡️", "small_blue_diamond": "🔹", "speech_balloon": "💬", "stopwatch": "⏱️",
    "syringe": "💉", "tada": "🎉", "telephone_receiver": "📞", "thinking_face": "🤔", "thread": "🧵", "unlock": "🔓",
    "warning": "⚠️", "wastebasket": "🗑️", "wave": "👋", "white_check_mark": "✅", "white_circle": "⚪",
    "white_large_square": "⬜", "white_small_square": "▫️", "wrench": "🔧", "x": "❌", "zzz": "💤",
}  # fmt: skip
_SPECIAL = re.compile(r"<([^<>\n]+)>")
_CODE = re.compile(r"```(.+?)```|`([^`\n]+)`", re.DOTALL)
_URL = re.compile(r"https?://[^\s<>\x00]+")
_STYLES = (
    (re.compile(r"(?<![\w*])\*(?=\S)([^*\n]+?)(?<=\S)\*(?![\w*])"), r"<strong>\1</strong>"),
    (re.compile(r"(?<![\w_])_(?=\S)([^_\n]+?)(?<=\S)_(?![\w_])"), r"<em>\1</em>"),
    (re.compile(r"(?<![\w~])~(?=\S)([^~\n]+?)(?<=\S)~(?![\w~])"), r"<s>\1</s>"),
)
_PARTS = {"date_num": "%Y-%m-%d", "date": "%B %-d, %Y", "date_short": "%b %-d, %Y", "date_long": "%A, %B %-d, %Y",
          "date_pretty": "%B %-d, %Y", "date_short_pretty": "%b %-d, %Y", "date_long_pretty": "%A, %B %-d, %Y",
          "time": "%H:%M", "time_secs": "%H:%M:%S"}  # fmt: skip
Names = Callable[[str, str], str]  # (kind, id) -> what it is called; kind is user, channel or group


def to_html(text: str, names: Names) -> str:
    """HTML of a mrkdwn text. ``text`` has &, < and > escaped as Slack wants it, but for its own <…>."""
    kept: list[str] = []

    def keep(html: str) -> str:
        kept.append(html)
        return f"\x00{len(kept) - 1}\x00"

    text = text.replace("\x00", "")
    text = _CODE.sub(lambda m: keep(_code(m)), text)
    text = _SPECIAL.sub(lambda m: keep(_special(m[1], names)), text)
    text = _URL.sub(lambda m: keep(_link(_plain(m[0]), "")), text)
    text = re.sub(r":([a-z0-9_+-]+):", lambda m: EMOJI.get(m[1], m[0]), escape(_plain(text), quote=False))
    for pattern, html in _STYLES:
        text = pattern.sub(html, text)
    text = _quotes(text)
    return re.sub("\x00(\\d+)\x00", lambda m: kept[int(m[1])], text)


def emoji(text: str) -> str:
    """A plain text with its emoji; not HTML."""
    return re.sub(r":([a-z0-9_+-]+):", lambda m: EMOJI.get(m[1], m[0]), text)


def _plain(text: str) -> str:
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


def _code(found: re.Match[str]) -> str:
    if found[1] is not None:
        return f"<pre>{escape(_plain(found[1].strip()), quote=False)}</pre>"
    return f"<code>{escape(_plain(found[2]), quote=False)}</code>"


def _special(inside: str, names: Names) -> str:
    """What stands in angle brackets: a mention, a date, a link."""
    target, _, label = inside.partition("|")
    label = _plain(label)
    if target[:2] in ("@U", "@W"):
        return f'<span class="mention">@{escape(names("user", target[1:]))}</span>'
    if target.startswith("#C"):
        return f'<span class="mention">#{escape(names("channel", target[1:]))}</span>'
    if target.startswith("!subteam^"):
        return f'<span class="mention">@{escape(names("group", target.removeprefix("!subteam^")))}</span>'
    if target in ("!here", "!channel", "!everyone"):
        return f'<span class="mention">@{target[1:]}</span>'
    if target.startswith("!date^"):
        return escape(_date(target, label))
    if re.match(r"https?://|mailto:", target):
        return _link(_plain(target), label)
    return escape(f"<{_plain(inside)}>", quote=False)


def _link(url: str, label: str) -> str:
    return f'<a href="{escape(url)}" rel="noreferrer noopener" target="_blank">{escape(label or url, quote=False)}</a>'


def _date(target: str, fallback: str) -> str:
    """``!date^SECONDS^FORMAT``, in UTC; the fallback where that cannot be shown."""
    try:
        _, seconds, form = target.split("^", 3)[:3]
        at = datetime.fromtimestamp(int(seconds), UTC)
    except (ValueError, OverflowError, OSError):
        return fallback
    return re.sub(r"\{(\w+)\}", lambda m: at.strftime(_PARTS.get(m[1], m[0])), form)


def _quotes(text: str) -> str:
    """Lines as paragraphs of a quote, or with breaks between."""
    out: list[str] = []
    for line in text.split("\n"):
        quoted = line.startswith("&gt;")
        out.append(f"<blockquote>{line[4:].lstrip()}</blockquote>" if quoted else line)
    html = "<br>".join(out)
    return html.replace("</blockquote><br>", "</blockquote>").replace("<br><blockquote>", "<blockquote>")

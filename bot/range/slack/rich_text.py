"""The nested blocks: rich text and tables (docs.slack.dev/reference/block-kit/blocks/rich-text-block, table-block)."""

from __future__ import annotations

from typing import Any

from bot.range.slack.schema import (
    URL,
    Check,
    Wrong,
    anything,
    array,
    boolean,
    by_type,
    integer,
    one_of,
    string,
    table,
)  # fmt: skip

_STYLES = table({}, dict.fromkeys(("bold", "italic", "strike", "code", "underline", "highlight"), boolean))
_STYLE: dict[str, Check] = {"style": _STYLES}
_INLINE: dict[str, Check] = {
    "text": table({"type": anything, "text": string(3000)}, _STYLE),
    "link": table({"type": anything, "url": URL}, _STYLE | {"text": string(3000), "unsafe": boolean}),
    "emoji": table({"type": anything, "name": string(100)}, _STYLE | {"unicode": string(100)}),
    "user": table({"type": anything, "user_id": string(32)}, _STYLE),
    "usergroup": table({"type": anything, "usergroup_id": string(32)}, _STYLE),
    "channel": table({"type": anything, "channel_id": string(32)}, _STYLE),
    "broadcast": table({"type": anything, "range": one_of("here", "channel", "everyone")}, _STYLE),
    "color": table({"type": anything, "value": string(7, pattern=r"#[0-9a-fA-F]{6}")}),
    "date": table(
        {"type": anything, "timestamp": integer(0, 10**11), "format": string(200)},
        _STYLE | {"url": URL, "fallback": string(200)},
    ),
}
_SECTION = table({"type": anything, "elements": array(by_type(_INLINE), 1000, 0)})
_BORDER: dict[str, Check] = {"border": integer(0, 1)}
_PARTS: dict[str, Check] = {
    "rich_text_section": _SECTION,
    "rich_text_list": table(
        {
            "type": anything, "style": one_of("bullet", "ordered"),
            "elements": array(by_type({"rich_text_section": _SECTION}), 1000),
        },
        _BORDER | {"indent": integer(0, 8), "offset": integer(0, 10**6)},
    ),
    "rich_text_preformatted": table(
        {"type": anything, "elements": array(by_type(_INLINE, ("text", "link")), 1000)},
        _BORDER | {"language": string(50)},
    ),
    "rich_text_quote": table({"type": anything, "elements": array(by_type(_INLINE), 1000)}, _BORDER),
}  # fmt: skip
RICH_TEXT = table({"type": one_of("rich_text"), "elements": array(by_type(_PARTS), 1000)}, {"block_id": string(255)})

_CELL = by_type(
    {
        "raw_text": table({"type": anything, "text": string(3000)}),
        "rich_text": RICH_TEXT,
    }
)


def _column(value: Any, at: str, out: Wrong) -> None:
    """A column's settings; null leaves it as it is."""
    if value is not None:
        table({}, {"align": one_of("left", "center", "right"), "is_wrapped": boolean})(value, at, out)


TABLE = table(
    {"type": anything, "rows": array(array(_CELL, 20), 100)},
    {"block_id": string(255), "column_settings": array(_column, 20)},
)

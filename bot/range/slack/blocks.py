"""Block Kit, checked strictly: unknown blocks, elements and fields, lengths, places, ids that are there twice.

Limits: docs.slack.dev/reference/block-kit (blocks, elements, composition objects) and the validators of slack_sdk 3.48.
``check_message`` and ``check_view`` return what is wrong, in Slack's words with a JSON pointer; nothing when it is
right. Blocks that this does not know are refused, also where Slack has them: what is not checked is not promised.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from bot.range.slack.rich_text import RICH_TEXT, TABLE
from bot.range.slack.schema import (
    URL,
    Check,
    Wrong,
    anything,
    array,
    boolean,
    both,
    by_type,
    integer,
    one_of,
    rule,
    string,
    table,
)  # fmt: skip

MESSAGE_BLOCKS, VIEW_BLOCKS = 50, 100
MESSAGE_WEIGHT, BLOCK_WEIGHT = 13_000, 125
_ID = string(255)


def plain(most: int, least: int = 1) -> Check:
    """A text object of type plain_text."""
    return table({"type": one_of("plain_text"), "text": string(most, least)}, {"emoji": boolean})


def text(most: int) -> Check:
    """A text object of either type; only mrkdwn has ``verbatim``, only plain_text has ``emoji``."""
    marked = table({"type": one_of("mrkdwn"), "text": string(most)}, {"verbatim": boolean})
    return by_type({"plain_text": plain(most), "mrkdwn": marked})


# composition objects -----------------------------------------------------------------------------------------------

_STYLE = one_of("primary", "danger")
_CONFIRM = table(
    {"title": plain(100), "text": text(300), "confirm": plain(30), "deny": plain(30)}, {"style": _STYLE}
)  # fmt: skip


def _option(label: Check, **more: Check) -> Check:
    return table({"text": label, "value": string(150)}, {"description": label, **more})


_PLAIN_OPTION = _option(plain(75))
_ANY_OPTION = _option(text(75))
_GROUP = table({"label": plain(75), "options": array(_PLAIN_OPTION, 100)})
_DISPATCH = table(
    {"trigger_actions_on": array(one_of("on_enter_pressed", "on_character_entered"), 2)}
)  # fmt: skip
_FILTER = table(
    {},
    {
        "include": array(one_of("im", "mpim", "private", "public"), 4),
        "exclude_external_shared_channels": boolean, "exclude_bot_users": boolean,
    },
)  # fmt: skip
_SLACK_FILE = table({}, {"id": _ID, "url": URL})

# elements ----------------------------------------------------------------------------------------------------------

_BASE: dict[str, Check] = {"type": anything, "action_id": _ID}
_CLICK = _BASE | {"confirm": _CONFIRM}
_FOCUS = _CLICK | {"focus_on_load": boolean, "placeholder": plain(150)}
_MULTI = _FOCUS | {"max_selected_items": integer(1, 100)}
_DATE = string(10, pattern=r"\d{4}-\d\d-\d\d")


def _one_choice(value: dict[str, Any]) -> bool:
    return ("options" in value) != ("option_groups" in value)


def _initial_fits(value: dict[str, Any]) -> bool:
    """An initial option is one of the options, to the letter."""
    grouped = [o for g in value.get("option_groups") or [] if isinstance(g, dict) for o in g.get("options") or []]
    options = [*(value.get("options") or []), *grouped]
    said = value.get("initial_options") or ([value["initial_option"]] if "initial_option" in value else [])
    return all(each in options for each in said)


def _different_values(value: dict[str, Any]) -> bool:
    options = value.get("options")
    if not isinstance(options, list):
        return True
    said = [o.get("value") for o in options if isinstance(o, dict)]
    return len(said) == len({str(each) for each in said})


_FITS = rule(_initial_fits, "initial option must be one of the options")
_DIFFERENT = rule(_different_values, "options must have different values")
_EITHER = rule(_one_choice, "must have either options or option_groups")


def _choice(options: Check, most: int, more: dict[str, Check], extra: dict[str, Check]) -> Check:
    """An element whose options stand in a list."""
    return both(table({"type": anything, "options": array(options, most)}, more | extra), _FITS, _DIFFERENT)


def _static(more: dict[str, Check], extra: dict[str, Check]) -> Check:
    lists = {"options": array(_PLAIN_OPTION, 100), "option_groups": array(_GROUP, 100)}
    return both(table({"type": anything}, more | extra | lists), _EITHER, _FITS, _DIFFERENT)


def _input(extra: dict[str, Check]) -> Check:
    base = _BASE | {"focus_on_load": boolean, "placeholder": plain(150), "dispatch_action_config": _DISPATCH}
    return table({"type": anything}, base | extra)


def _select(extra: dict[str, Check], base: dict[str, Check] = _FOCUS) -> Check:
    return table({"type": anything}, base | extra)


_RESPOND = {"response_url_enabled": boolean}
_CONVERSATION = {"default_to_current_conversation": boolean, "filter": _FILTER}
_WORD = string(255)
ELEMENTS: dict[str, Check] = {
    "button": table(
        {"type": anything, "text": plain(75)},
        _CLICK | {"url": URL, "value": string(2000), "style": _STYLE, "accessibility_label": string(75)},
    ),
    "checkboxes": _choice(
        _ANY_OPTION, 10, _CLICK, {"focus_on_load": boolean, "initial_options": array(_ANY_OPTION, 10)}
    ),
    "radio_buttons": _choice(_ANY_OPTION, 10, _CLICK, {"focus_on_load": boolean, "initial_option": _ANY_OPTION}),
    "overflow": _choice(_option(plain(75), url=URL), 5, _CLICK, {}),
    "datepicker": _select({"initial_date": _DATE}),
    "timepicker": _select({"initial_time": string(5, pattern=r"[0-2]\d:[0-5]\d"), "timezone": _WORD}),
    "datetimepicker": table(
        {"type": anything}, _CLICK | {"focus_on_load": boolean, "initial_date_time": integer(10**9, 10**10 - 1)}
    ),
    "plain_text_input": _input(
        {
            "initial_value": string(3000, 0), "multiline": boolean, "min_length": integer(0, 3000),
            "max_length": integer(1, 3000),
        }
    ),
    "email_text_input": _input({"initial_value": string(3000)}),
    "url_text_input": _input({"initial_value": string(3000)}),
    "number_input": both(
        _input({"is_decimal_allowed": boolean, "initial_value": _WORD, "min_value": _WORD, "max_value": _WORD}),
        rule(lambda v: "is_decimal_allowed" in v, "missing required field: is_decimal_allowed"),
    ),
    "rich_text_input": _input({"initial_value": RICH_TEXT}),
    "file_input": table(
        {"type": anything}, _BASE | {"filetypes": array(string(20), 50), "max_files": integer(1, 10)}
    ),
    "static_select": _static(_FOCUS, {"initial_option": _PLAIN_OPTION}),
    "multi_static_select": _static(_MULTI, {"initial_options": array(_PLAIN_OPTION, 100)}),
    "external_select": _select({"initial_option": _PLAIN_OPTION, "min_query_length": integer(0, 100)}),
    "multi_external_select": _select(
        {"initial_options": array(_PLAIN_OPTION, 100), "min_query_length": integer(0, 100)}, _MULTI
    ),
    "users_select": _select({"initial_user": _WORD}),
    "multi_users_select": _select({"initial_users": array(_WORD, 100)}, _MULTI),
    "channels_select": _select({"initial_channel": _WORD} | _RESPOND),
    "multi_channels_select": _select({"initial_channels": array(_WORD, 100)}, _MULTI),
    "conversations_select": _select({"initial_conversation": _WORD} | _CONVERSATION | _RESPOND),
    "multi_conversations_select": _select({"initial_conversations": array(_WORD, 100)} | _CONVERSATION, _MULTI),
    "image": both(
        table(
            {"type": anything, "alt_text": string(2000)}, {"image_url": URL, "slack_file": _SLACK_FILE}
        ),
        rule(lambda v: ("image_url" in v) != ("slack_file" in v), "must have either image_url or slack_file"),
    ),
}  # fmt: skip
_SELECTS = {"static_select", "external_select", "users_select", "channels_select", "conversations_select"}
_MULTIS = {f"multi_{kind}" for kind in _SELECTS}
_PICKERS = {"datepicker", "timepicker", "checkboxes", "radio_buttons"} | _SELECTS
_TYPED = {"plain_text_input", "email_text_input", "url_text_input", "number_input", "rich_text_input", "file_input"}
ACCESSORIES = {"button", "overflow", "image"} | _PICKERS | _MULTIS
ACTIONS = {"button", "overflow", "datetimepicker"} | _PICKERS
INPUTS = {"datetimepicker"} | _PICKERS | _MULTIS | _TYPED

# blocks ------------------------------------------------------------------------------------------------------------

_BLOCK: dict[str, Check] = {"block_id": _ID}
BLOCKS: dict[str, Check] = {
    "section": both(
        table(
            {"type": anything},
            _BLOCK
            | {
                "text": text(3000), "fields": array(text(2000), 10), "accessory": by_type(ELEMENTS, ACCESSORIES),
                "expand": boolean,
            },
        ),
        rule(lambda v: "text" in v or "fields" in v, "must have text or fields"),
    ),
    "divider": table({"type": anything}, _BLOCK),
    "header": table({"type": anything, "text": plain(150)}, _BLOCK),
    "context": table(
        {"type": anything, "elements": array(by_type(
            {"plain_text": plain(3000), "mrkdwn": text(3000), "image": ELEMENTS["image"]}), 10)},
        _BLOCK,
    ),
    "actions": table({"type": anything, "elements": array(by_type(ELEMENTS, ACTIONS), 25)}, _BLOCK),
    "input": table(
        {"type": anything, "label": plain(2000), "element": by_type(ELEMENTS, INPUTS)},
        _BLOCK | {"hint": plain(2000), "optional": boolean, "dispatch_action": boolean},
    ),
    "image": both(
        table(
            {"type": anything, "alt_text": string(2000)},
            _BLOCK | {"image_url": URL, "slack_file": _SLACK_FILE, "title": plain(2000)},
        ),
        rule(lambda v: ("image_url" in v) != ("slack_file" in v), "must have either image_url or slack_file"),
    ),
    "markdown": table({"type": anything, "text": string(12_000)}, _BLOCK),
    "rich_text": RICH_TEXT,
    "table": TABLE,
}  # fmt: skip
_IN_MESSAGE = set(BLOCKS)
_IN_VIEW = set(BLOCKS) - {"markdown", "table"}


def check_message(blocks: Any) -> Wrong:
    """What is wrong with the blocks of a message."""
    out: Wrong = []
    array(by_type(BLOCKS, _IN_MESSAGE), MESSAGE_BLOCKS, 0)(blocks, "/blocks", out)
    return out or [*_ids_twice(blocks, "/blocks"), *_not_in_messages(blocks)]


def too_long(blocks: list[dict[str, Any]]) -> bool:
    """Whether the blocks of a message are too long together, though each of them is right.

    Slack says nowhere how it counts: 12,000 characters of text with "a buffer for block containers". Found by others
    (github.com/slackapi/bolt-js, issues 2509 and 2867): one markdown block takes 13,297 characters, with a divider
    beside it 13,172, and rich text less. So each block, and each part of rich text, weighs 125 here, and the sum stays
    under all that was seen to be refused.
    """
    return sum(_weight(block, nested=block["type"] == "rich_text") for block in blocks) > MESSAGE_WEIGHT


def _weight(value: Any, *, nested: bool, top: bool = True) -> int:
    if isinstance(value, list):
        return sum(_weight(each, nested=nested, top=False) for each in value)
    if not isinstance(value, dict):
        return 0
    own = BLOCK_WEIGHT if top or (nested and "type" in value) else 0
    said = value.get("text")
    rest = [each for key, each in value.items() if key != "text" or not isinstance(said, str)]
    return own + (len(said) if isinstance(said, str) else 0) + _weight(rest, nested=nested)


_MODAL = table(
    {"type": one_of("modal"), "title": plain(24), "blocks": array(by_type(BLOCKS, _IN_VIEW), VIEW_BLOCKS, 0)},
    {
        "submit": plain(24), "close": plain(24), "private_metadata": string(3000, 0), "callback_id": string(255, 0),
        "clear_on_close": boolean, "notify_on_close": boolean, "external_id": string(255, 0),
        "submit_disabled": boolean,
    },
)  # fmt: skip
_HOME = table(
    {"type": one_of("home"), "blocks": array(by_type(BLOCKS, _IN_VIEW), VIEW_BLOCKS, 0)},
    {"private_metadata": string(3000, 0), "callback_id": string(255, 0), "external_id": string(255, 0)},
)  # fmt: skip


def check_view(view: Any) -> Wrong:
    """What is wrong with a modal or a home tab."""
    out: Wrong = []
    by_type({"modal": _MODAL, "home": _HOME})(view, "/view", out)
    return out or [*_ids_twice(view["blocks"], "/view/blocks"), *_modal_rules(view)]


def _modal_rules(view: dict[str, Any]) -> Iterator[str]:
    blocks = view["blocks"]
    inputs = [block for block in blocks if block["type"] == "input"]
    if view["type"] == "modal" and inputs and "submit" not in view:
        yield "missing required field: submit, as there are inputs [json-pointer:/view]"
    focused = [e for _, e in _used(blocks) if e.get("focus_on_load")]
    if len(focused) > 1:
        yield "only one element may have focus_on_load [json-pointer:/view/blocks]"
    if view["type"] == "home" and any(e["type"] == "file_input" for _, e in _used(blocks)):
        yield "file_input is for modals only [json-pointer:/view/blocks]"


def _not_in_messages(blocks: list[dict[str, Any]]) -> Iterator[str]:
    for index, element in _used(blocks):
        if element["type"] == "file_input":
            yield f"file_input is for modals only [json-pointer:/blocks/{index}]"
        if element.get("focus_on_load"):
            yield f"focus_on_load is for views only [json-pointer:/blocks/{index}]"


def _used(blocks: list[dict[str, Any]]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Every element of some blocks, with the number of its block."""
    for index, block in enumerate(blocks):
        rows = [block.get("accessory"), block.get("element"), *block.get("elements", [])]
        yield from ((index, each) for each in rows if isinstance(each, dict) and block["type"] != "rich_text")


def _ids_twice(blocks: list[dict[str, Any]], at: str) -> Iterator[str]:
    """A block_id is there once in all the blocks, an action_id once in its block."""
    seen: set[str] = set()
    for index, block in enumerate(blocks):
        if block.get("block_id") in seen:
            yield f"block_id is there twice: {block['block_id']} [json-pointer:{at}/{index}/block_id]"
        seen |= {block["block_id"]} if "block_id" in block else set()
        actions = [e["action_id"] for i, e in _used([block]) if "action_id" in e]
        for name in sorted({a for a in actions if actions.count(a) > 1}):
            yield f"action_id is there twice: {name} [json-pointer:{at}/{index}/elements]"

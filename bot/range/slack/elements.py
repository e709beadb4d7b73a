"""What a person does with an element: what it holds, what a value typed or chosen makes of it, what the app is told.

Shapes: docs.slack.dev/reference/interaction-payloads/block_actions-payload and view-interactions-payload.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from typing import Any

Element = dict[str, Any]
Block = dict[str, Any]


class Awkward(Exception):
    """A value that the client would not let a person enter."""


_PLAIN = {
    "plain_text_input": "value", "email_text_input": "value", "url_text_input": "value", "number_input": "value",
    "datepicker": "selected_date", "timepicker": "selected_time", "datetimepicker": "selected_date_time",
    "users_select": "selected_user", "channels_select": "selected_channel",
    "conversations_select": "selected_conversation",
}  # fmt: skip
_INITIAL = {
    "value": "initial_value", "selected_date": "initial_date", "selected_time": "initial_time",
    "selected_date_time": "initial_date_time", "selected_user": "initial_user",
    "selected_channel": "initial_channel", "selected_conversation": "initial_conversation",
}  # fmt: skip
_LISTS = {
    "multi_users_select": ("selected_users", "initial_users"),
    "multi_channels_select": ("selected_channels", "initial_channels"),
    "multi_conversations_select": ("selected_conversations", "initial_conversations"),
}
_ONE = {"static_select", "external_select", "radio_buttons", "overflow"}
_MANY = {"multi_static_select", "multi_external_select", "checkboxes"}
_STATELESS = {"button", "overflow", "image", "workflow_button"}
_LONGEST = 3000


def each(blocks: list[Block]) -> Iterator[tuple[Block, Element]]:
    """Every element that somebody can use, with its block."""
    for block in blocks:
        for key in ("accessory", "element"):
            found = block.get(key)
            if isinstance(found, dict) and found.get("type") != "image":
                yield block, found
        if block["type"] in ("actions", "context_actions"):
            for found in block["elements"]:
                yield block, found


def find(blocks: list[Block], action_id: str, block_id: str = "") -> tuple[Block, Element]:
    """The element of this action_id. Raises LookupError when there is none, or more than one."""
    hits = [
        (block, element) for block, element in each(blocks)
        if element.get("action_id") == action_id and block_id in ("", block["block_id"])
    ]  # fmt: skip
    if not hits:
        raise LookupError(f"there is nothing to click called {action_id!r}")
    if len(hits) > 1:
        raise LookupError(f"{action_id!r} is there {len(hits)} times; say which block_id")
    return hits[0]


def blank(element: Element) -> dict[str, Any]:
    """What an element holds before anybody touched it."""
    kind = element["type"]
    if kind in _PLAIN:
        name = _PLAIN[kind]
        return {"type": kind, name: element.get(_INITIAL[name])}
    if kind in _LISTS:
        name, initial = _LISTS[kind]
        return {"type": kind, name: list(element.get(initial, []))}
    if kind in _ONE:
        return {"type": kind, "selected_option": element.get("initial_option")}
    if kind in _MANY:
        return {"type": kind, "selected_options": list(element.get("initial_options", []))}
    if kind == "file_input":
        return {"type": kind, "files": []}
    return {"type": kind, "rich_text_value": element.get("initial_value")}


def stateful(element: Element) -> bool:
    return element["type"] not in _STATELESS


def held(blocks: list[Block], before: dict[str, dict[str, Any]] | None = None) -> dict[str, dict[str, Any]]:
    """The state of a view: what ``before`` holds for elements that are still there, else their initial values."""
    made: dict[str, dict[str, Any]] = {}
    for block, element in each(blocks):
        if stateful(element):
            old = (before or {}).get(block["block_id"], {}).get(element["action_id"])
            same = old is not None and old["type"] == element["type"]
            made.setdefault(block["block_id"], {})[element["action_id"]] = old if same else blank(element)
    return made


def filled(element: Element, value: Any, options: list[Element] | None = None) -> dict[str, Any]:
    """What an element holds once a person entered ``value``: text, an option's value, or a list of them.

    ``options`` are those that the app suggested, for an external select. Raises Awkward.
    """
    kind = element["type"]
    if kind in _PLAIN:
        return {"type": kind, _PLAIN[kind]: _typed(element, value)}
    if kind in _LISTS:
        return {"type": kind, _LISTS[kind][0]: _several(element, value)}
    choices = options if kind.endswith("external_select") and options is not None else _options(element)
    by_value = {option["value"]: option for option in choices}
    if kind in _ONE:
        if value in (None, ""):
            return {"type": kind, "selected_option": None}
        return {"type": kind, "selected_option": _pick(by_value, value)}
    if kind in _MANY:
        return {"type": kind, "selected_options": [_pick(by_value, v) for v in _several(element, value)]}
    if kind == "file_input":
        return {"type": kind, "files": _several(element, value)}
    if kind == "rich_text_input":
        return {"type": kind, "rich_text_value": value}
    raise Awkward(f"nobody can enter something into a {kind}")


def _options(element: Element) -> list[Element]:
    grouped = [option for group in element.get("option_groups", []) for option in group["options"]]
    return [*element.get("options", []), *grouped]


def _pick(by_value: dict[str, Element], value: Any) -> Element:
    if value not in by_value:
        raise Awkward(f"there is no option {value!r}; there are {', '.join(map(str, by_value))}")
    return by_value[value]


def _several(element: Element, value: Any) -> list[Any]:
    found = value if isinstance(value, list) else [] if value in (None, "") else [value]
    most = element.get("max_selected_items") or element.get("max_files")
    if most and len(found) > most:
        raise Awkward(f"at most {most} may be chosen")
    return found


def _typed(element: Element, value: Any) -> Any:
    kind = element["type"]
    if value in (None, ""):
        return None
    if kind == "datetimepicker":
        return int(value)
    text = str(value)
    if kind == "plain_text_input":
        if len(text) > element.get("max_length", _LONGEST):
            raise Awkward(f"at most {element.get('max_length', _LONGEST)} characters")
        if len(text) < element.get("min_length", 0):
            raise Awkward(f"at least {element['min_length']} characters")
        return text if element.get("multiline") else " ".join(text.splitlines())
    _check_form(kind, element, text)
    return text


_FORMS = {
    "email_text_input": r"[^@\s]+@[^@\s]+\.[^@\s]+", "url_text_input": r"https?://\S+",
    "datepicker": r"\d{4}-\d\d-\d\d", "timepicker": r"\d\d:\d\d", "number_input": r"-?\d+(\.\d+)?",
}  # fmt: skip


def _check_form(kind: str, element: Element, text: str) -> None:
    form = _FORMS.get(kind)
    if form and not re.fullmatch(form, text):
        raise Awkward(f"{text!r} does not fit a {kind}")
    if kind == "number_input":
        if "." in text and not element.get("is_decimal_allowed"):
            raise Awkward("only whole numbers")
        low, high = element.get("min_value"), element.get("max_value")
        if (low is not None and float(text) < float(low)) or (high is not None and float(text) > float(high)):
            raise Awkward(f"between {low} and {high}")


def empty(state: dict[str, Any]) -> bool:
    """Whether an element holds nothing, which a required input may not."""
    return all(value in (None, "", []) for key, value in state.items() if key != "type")


def action(block: Block, element: Element, state: dict[str, Any] | None) -> dict[str, Any]:
    """One row of ``actions`` in a block_actions payload."""
    made: dict[str, Any] = {
        "type": element["type"], "block_id": block["block_id"], "action_id": element["action_id"],
        "action_ts": f"{time.time():.6f}",
    }  # fmt: skip
    for key in ("text", "value", "style", "url", "placeholder", "confirm"):
        if element["type"] == "button" and key in element:
            made[key] = element[key]
    return made | {k: v for k, v in (state or {}).items() if k != "type"}

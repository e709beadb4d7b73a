"""Block Kit as the range's Slack checks it: what passes, what is refused and with which words."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from slack_sdk.models.blocks import Block

from bot.range.slack.blocks import ACTIONS, BLOCKS, ELEMENTS, check_message, check_view, too_long
from tests.slack_range import actions, button, plain

Json = dict[str, Any]


def mrkdwn(text: str) -> Json:
    return {"type": "mrkdwn", "text": text}


def section(text: str = "x", **more: Any) -> Json:
    return {"type": "section", "text": mrkdwn(text), **more}


def option(value: str = "a", **more: Any) -> Json:
    return {"text": plain("A"), "value": value, **more}


def select(kind: str = "static_select", **more: Any) -> Json:
    return {"type": kind, "action_id": "s", "options": [option()], **more}


def entry(element: Json, **more: Any) -> Json:
    return {"type": "input", "label": plain("?"), "element": element, **more}


def dialog(**more: Any) -> Json:
    made = {"title": plain("Sure?"), "text": plain("It stays gone"), "confirm": plain("Yes"), "deny": plain("No")}
    return made | more


IMAGE = {"type": "image", "image_url": "https://b.example/i.png", "alt_text": "a map"}
RICH: Json = {
    "type": "rich_text",
    "elements": [
        {"type": "rich_text_section", "elements": [{"type": "text", "text": "x", "style": {"bold": True}}]},
        {
            "type": "rich_text_list", "style": "bullet",
            "elements": [{"type": "rich_text_section", "elements": [{"type": "user", "user_id": "U1"}]}],
        },
        {"type": "rich_text_preformatted", "elements": [{"type": "text", "text": "code"}], "border": 0},
        {"type": "rich_text_quote", "elements": [{"type": "link", "url": "https://b.example"}]},
    ],
}  # fmt: skip

GOOD: list[Json] = [
    section(), section("x" * 3000), {"type": "section", "fields": [mrkdwn("x")] * 10}, section(accessory=button("a")),
    section(accessory=IMAGE), section(accessory=select("multi_static_select", max_selected_items=2)),
    {"type": "divider"}, {"type": "divider", "block_id": "x" * 255}, {"type": "header", "text": plain("x" * 150)},
    {"type": "context", "elements": [mrkdwn("x"), IMAGE, plain("y")]}, {**IMAGE, "title": plain("Map")},
    actions(*(button(f"a{n}") for n in range(25))), actions(button("a", confirm=dialog(style="danger"))),
    actions(button("a", url="https://b.example", style="primary", value="x" * 2000)),
    actions(select(initial_option=option())), actions(select("overflow")), actions(select("radio_buttons")),
    actions({"type": "static_select", "option_groups": [{"label": plain("G"), "options": [option()]}]}),
    entry({"type": "plain_text_input", "max_length": 3000, "multiline": True}, hint=plain("h"), optional=True),
    entry(select("checkboxes")), entry({"type": "datepicker", "initial_date": "2026-11-25"}),
    entry({"type": "number_input", "is_decimal_allowed": False}), RICH, {"type": "markdown", "text": "# x"},
    {
        "type": "table", "rows": [[{"type": "raw_text", "text": "a"}, RICH]],
        "column_settings": [None, {"align": "right"}],
    },
]  # fmt: skip

BAD: list[tuple[Json, str]] = [
    ({"type": "marquee"}, "unsupported type: marquee [json-pointer:/blocks/0/type]"),
    ({}, "unsupported type: None [json-pointer:/blocks/0/type]"),
    (section(colour="red"), "invalid additional property: colour [json-pointer:/blocks/0]"),
    ({"type": "section"}, "must have text or fields [json-pointer:/blocks/0]"),
    (section(""), "must be more than 0 characters [json-pointer:/blocks/0/text/text]"),
    (section("x" * 3001), "must be less than 3001 characters [json-pointer:/blocks/0/text/text]"),
    ({"type": "section", "text": "x"}, "must be an object [json-pointer:/blocks/0/text]"),
    ({"type": "section", "fields": [mrkdwn("x")] * 11}, "no more than 10 items allowed"),
    (section(text_style="x"), "invalid additional property: text_style [json-pointer:/blocks/0]"),
    (section() | {"text": mrkdwn("x") | {"emoji": True}}, "invalid additional property: emoji"),
    (section(block_id="x" * 256), "must be less than 256 characters [json-pointer:/blocks/0/block_id]"),
    (section(accessory={"type": "plain_text_input"}), "unsupported type here: plain_text_input"),
    (section(accessory=actions(button("a"))), "unsupported type: actions"),
    ({"type": "header", "text": mrkdwn("x")}, "must be one of plain_text [json-pointer:/blocks/0/text/type]"),
    ({"type": "header", "text": plain("x" * 151)}, "must be less than 151 characters"),
    ({"type": "context", "elements": [mrkdwn("x")] * 11}, "no more than 10 items allowed"),
    ({"type": "context", "elements": []}, "no fewer than 1 items allowed [json-pointer:/blocks/0/elements]"),
    ({"type": "context", "elements": [button("a")]}, "unsupported type: button"),
    (actions(*(button(f"a{n}") for n in range(26))), "no more than 25 items allowed"),
    (actions(button("a"), button("a")), "action_id is there twice: a [json-pointer:/blocks/0/elements]"),
    (actions(button("x" * 256)), "must be less than 256 characters [json-pointer:/blocks/0/elements/0/action_id]"),
    (actions(button("a") | {"text": mrkdwn("x")}), "must be one of plain_text"),
    (actions(button("a") | {"text": plain("x" * 76)}), "must be less than 76 characters"),
    (actions(button("a", value="x" * 2001)), "must be less than 2001 characters"),
    (actions(button("a", url="javascript:alert(1)")), "does not match the expected pattern"),
    (actions(button("a", style="warning")), "must be one of primary, danger"),
    (actions(button("a", confirm=dialog(title=plain("x" * 101)))), "must be less than 101 characters"),
    (actions(button("a", confirm=dialog(text=plain("x" * 301)))), "must be less than 301 characters"),
    (actions(button("a", confirm=dialog(confirm=plain("x" * 31)))), "must be less than 31 characters"),
    (actions(button("a", confirm={"title": plain("x")})), "missing required field: deny"),
    (actions(IMAGE), "unsupported type here: image"),
    (actions({"type": "plain_text_input"}), "unsupported type here: plain_text_input"),
    (actions(select(options=[])), "no fewer than 1 items allowed"),
    (actions(select(options=[option(str(n)) for n in range(101)])), "no more than 100 items allowed"),
    (actions(select(options=[option("a"), option("a")])), "options must have different values"),
    (actions(select(options=[option("x" * 151)])), "must be less than 151 characters"),
    (actions(select(initial_option=option("b"))), "initial option must be one of the options"),
    (actions(select(option_groups=[{"label": plain("G"), "options": [option()]}])), "must have either options or"),
    (actions(select("overflow", options=[option(str(n)) for n in range(6)])), "no more than 5 items allowed"),
    (actions(select("radio_buttons", options=[option(str(n)) for n in range(11)])), "no more than 10 items allowed"),
    (actions(select("multi_static_select")), "unsupported type here: multi_static_select"),
    (entry(button("a")), "unsupported type here: button"),
    (entry({"type": "plain_text_input", "max_length": 3001}), "must be between 1 and 3000"),
    (entry({"type": "plain_text_input", "placeholder": plain("x" * 151)}), "must be less than 151 characters"),
    (entry({"type": "number_input"}), "missing required field: is_decimal_allowed"),
    (entry({"type": "datepicker", "initial_date": "25.11.2026"}), "does not match the expected pattern"),
    (entry({"type": "plain_text_input"}) | {"label": mrkdwn("x")}, "must be one of plain_text"),
    (entry({"type": "plain_text_input", "focus_on_load": True}), "focus_on_load is for views only"),
    (entry({"type": "file_input"}), "file_input is for modals only"),
    ({"type": "image", "image_url": "https://b.example"}, "missing required field: alt_text"),
    ({"type": "image", "alt_text": "x"}, "must have either image_url or slack_file"),
    ({"type": "rich_text", "elements": [{"type": "rich_text_section", "elements": [{"type": "blink"}]}]},
     "unsupported type: blink"),
    ({"type": "markdown", "text": "x" * 12_001}, "must be less than 12001 characters"),
    ({"type": "table", "rows": [[{"type": "raw_text", "text": "a"}] * 21]}, "no more than 20 items allowed"),
]  # fmt: skip


@pytest.mark.parametrize("block", GOOD, ids=[f"{n}-{block['type']}" for n, block in enumerate(GOOD)])
def test_what_slack_takes(block: Json) -> None:
    assert check_message([block]) == []


@pytest.mark.parametrize(("block", "said"), BAD, ids=[f"{n}-{said[:40]}" for n, (_, said) in enumerate(BAD)])
def test_what_slack_refuses(block: Json, said: str) -> None:
    found = check_message([block])

    assert any(said in each for each in found), found


@pytest.mark.parametrize("blocks", [{}, "x", [1], [None], [[section()]]])
def test_what_is_no_list_of_blocks(blocks: Any) -> None:
    assert check_message(blocks)


def test_a_message_has_fifty_blocks_and_a_view_a_hundred() -> None:
    dividers = [{"type": "divider"}] * 101
    modal = {"type": "modal", "title": plain("x")}

    assert check_message(dividers[:50]) == []
    assert check_message(dividers[:51]) == ["no more than 50 items allowed [json-pointer:/blocks]"]
    assert check_view(modal | {"blocks": dividers[:100]}) == []
    assert check_view(modal | {"blocks": dividers}) == ["no more than 100 items allowed [json-pointer:/view/blocks]"]


def rich(parts: int, text: str) -> Json:
    elements = [{"type": "text", "text": text}] * parts
    return {"type": "rich_text", "elements": [{"type": "rich_text_section", "elements": elements}]}


@pytest.mark.parametrize(
    ("blocks", "long"),
    [
        ([{"type": "markdown", "text": "x" * 12_000}], False),
        ([{"type": "markdown", "text": "x" * 12_000}, section("x" * 1000)], True),
        ([section("x" * 3000)] * 4, False),
        ([section("x" * 3000)] * 5, True),
        ([section("x" * 100)] * 50, False),
        ([section("x" * 200)] * 50, True),
        ([actions(*(button(f"{n}", value="x" * 2000) for n in range(25)))] * 9, False),
        ([rich(20, "x" * 400)], False),
        ([rich(28, "x" * 405)], True),
    ],
    ids=range(9),
)
def test_blocks_are_too_long_together(blocks: list[Json], long: bool) -> None:
    """Each is right by itself; values of buttons do not count, and 11,340 characters of rich text are too many."""
    assert check_message([{**block, "block_id": str(n)} for n, block in enumerate(blocks)]) == []
    assert too_long(blocks) is long


def test_a_block_id_is_there_once_and_an_action_id_once_in_its_block() -> None:
    twice = [section(block_id="b"), section(block_id="b")]

    assert check_message(twice) == ["block_id is there twice: b [json-pointer:/blocks/1/block_id]"]
    assert check_message([actions(button("a")), actions(button("a")) | {"block_id": "c"}]) == []


VIEW: Json = {"type": "modal", "title": plain("x"), "submit": plain("Send"), "blocks": [entry({"type": "datepicker"})]}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"title": plain("x" * 25)}, "must be less than 25 characters [json-pointer:/view/title/text]"),
        ({"submit": plain("x" * 25)}, "must be less than 25 characters [json-pointer:/view/submit/text]"),
        ({"close": mrkdwn("x")}, "must be one of plain_text [json-pointer:/view/close/type]"),
        ({"private_metadata": "x" * 3001}, "must be less than 3001 characters"),
        ({"callback_id": "x" * 256}, "must be less than 256 characters"),
        ({"colour": "red"}, "invalid additional property: colour [json-pointer:/view]"),
        ({"type": "window"}, "unsupported type: window [json-pointer:/view/type]"),
        ({"blocks": [{"type": "table", "rows": []}]}, "unsupported type here: table"),
        ({"notify_on_close": "yes"}, "must be a boolean"),
    ],
)
def test_what_a_modal_may_not_say(change: Json, said: str) -> None:
    assert check_view(VIEW) == []
    assert any(said in each for each in check_view(VIEW | change))


def test_what_a_view_needs() -> None:
    without = {key: value for key, value in VIEW.items() if key != "submit"}
    focused = entry({"type": "plain_text_input", "focus_on_load": True})

    assert check_view(without) == ["missing required field: submit, as there are inputs [json-pointer:/view]"]
    assert check_view({"type": "modal", "blocks": []}) == ["missing required field: title [json-pointer:/view]"]
    assert check_view(VIEW | {"blocks": [focused]}) == []
    assert check_view(VIEW | {"blocks": [focused, focused]}) == [
        "only one element may have focus_on_load [json-pointer:/view/blocks]"
    ]
    assert check_view({"type": "home", "blocks": [section()]}) == []
    assert check_view({"type": "home", "title": plain("x"), "blocks": []}) == [
        "invalid additional property: title [json-pointer:/view]"
    ]


def test_what_passes_here_passes_in_the_models_of_the_sdk() -> None:
    """The two were written apart; the models raise for what they find too long or missing."""
    for block in GOOD:
        parsed = Block.parse(block)
        if parsed is not None and block["type"] != "table":
            parsed.to_dict()


def test_every_block_and_element_that_is_known_has_an_example() -> None:
    seen = json.dumps([GOOD, [block for block, _ in BAD]])

    assert {kind for kind in BLOCKS if f'"type": "{kind}"' not in seen} == set()
    assert set(ELEMENTS) >= ACTIONS


odd = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.sampled_from([*BLOCKS, *ELEMENTS]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["type", "text", "elements", "options", "element", "accessory", "initial_option", "blocks",
                         "action_id", "option_groups", "initial_options", "fields", "title", "block_id"]),
        inner, max_size=5),
    max_leaves=20,
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(odd)
def test_whatever_is_sent_gets_an_answer(found: Any) -> None:
    """Never an error of the checker's own, which would look like one of Slack."""
    for wrong in (check_message(found), check_message([found]), check_view(found)):
        assert all(isinstance(each, str) for each in wrong)


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(GOOD), odd, st.data())
def test_a_good_block_with_something_odd_in_it_gets_an_answer(block: Json, found: Any, data: st.DataObject) -> None:
    key = data.draw(st.sampled_from(sorted(block)))

    assert all(isinstance(each, str) for each in check_message([{**block, key: found}]))

"""The page over plain HTTP: who may use it, what is escaped, what it says of things that have changed."""

from __future__ import annotations

import re
from typing import Any

import pytest
from slack_sdk import WebClient

from bot.range.slack import mrkdwn, page
from tests.slack_range import Slack

NAMES = {"U1": "ann", "C1": "general", "S1": "leads"}


def html(text: str) -> str:
    return mrkdwn.to_html(text, lambda _kind, which: NAMES[which])


@pytest.mark.parametrize(("text", "shown"), [
    ("*b* _i_ ~s~", "<strong>b</strong> <em>i</em> <s>s</s>"),
    ("a*b*c 2*3*4 snake_case_name", "a*b*c 2*3*4 snake_case_name"),
    ("`*x* <@U1>`", "<code>*x* &lt;@U1&gt;</code>"),
    ("```a\n&lt;b&gt;```", "<pre>a\n&lt;b&gt;</pre>"),
    ("<@U1> <#C1> <!subteam^S1> <!here>",
     " ".join(f'<span class="mention">{x}</span>' for x in ("@ann", "#general", "@leads", "@here"))),
    ("&lt;script&gt;alert(1)&lt;/script&gt; &amp;", "&lt;script&gt;alert(1)&lt;/script&gt; &amp;"),
    ("<script>", "&lt;script&gt;"),
    ("<javascript:alert(1)|x>", "&lt;javascript:alert(1)|x&gt;"),
    ("<https://e.example/?a=1&amp;b='\"|a &lt;b&gt;>",
     '<a href="https://e.example/?a=1&amp;b=&#x27;&quot;" rel="noreferrer noopener" target="_blank">a &lt;b&gt;</a>'),
    ("<!date^1769860800^{date_short_pretty} {time}|then>", "Jan 31, 2026 12:00"),
    ("<!date^never^{time}|then &lt;>", "then &lt;"),
    (":warning: :no_such_one:", "⚠️ :no_such_one:"),
    ("&gt; quoted\nnot", "<blockquote>quoted</blockquote>not"),
    ("one\ntwo\x000\x00", "one<br>two0"),
])  # fmt: skip
def test_mrkdwn_is_what_slack_makes_of_it_and_nothing_gets_through(text: str, shown: str) -> None:
    assert html(text) == shown


def test_every_emoji_of_the_app_is_drawn() -> None:
    files = page.HERE.parents[2].joinpath("slack").glob("*.py")
    used = {name for file in files for name in re.findall(r":([a-z_]{3,}):(?=[ \"*{])", file.read_text())}
    assert len(used) > 10
    assert used - set(mrkdwn.EMOJI) == set()


@pytest.mark.parametrize("header", [
    {"origin": "https://evil.example"}, {"origin": "null"}, {"origin": "http://127.0.0.1:9"}, {"host": "evil.example"},
])  # fmt: skip
def test_other_sites_cannot_act_through_somebodys_browser(slack: Slack, header: dict[str, str]) -> None:
    form = {"as": "jonas", "in": "incidents", "channel": slack.channel("incidents"), "text": "forged", "where": ""}
    answer = slack.http.post(f"{slack.url}/page/say", data=form, headers=header, timeout=30)
    assert answer.status_code == 403
    assert slack.messages("jonas", "incidents") == []
    assert slack.http.post(f"{slack.url}/page/say", data=form, timeout=30).status_code == 200
    assert [m["text"] for m in slack.messages("jonas", "incidents")] == ["forged"]


def test_names_that_are_made_to_lead_here_get_nothing(slack: Slack) -> None:
    for path in ("/", "/page/file/F1?as=jonas"):
        assert slack.http.get(slack.url + path, headers={"host": "evil.example"}, timeout=30).status_code == 403
    policy = slack.http.get(f"{slack.url}/", timeout=30).headers["content-security-policy"]
    assert policy.startswith("default-src 'none'")


@pytest.mark.parametrize("form", [
    {}, {"as": "nobody"}, {"as": "jonas", "click": "a|b"}, {"as": "jonas", "click": "%%%"}, {"as": "jonas", "ts": "1"},
    {"as": "jonas", "channel": "C0", "ts": "1", "click": "a|b||c"},
])  # fmt: skip
@pytest.mark.parametrize(
    "act", ["say", "click", "choose", "suggest", "submit", "close", "shortcut", "join", "stage", "x"]
)
def test_whatever_is_sent_the_page_answers_and_says_why(slack: Slack, act: str, form: dict[str, str]) -> None:
    answer = slack.http.post(f"{slack.url}/page/{act}", data=form, timeout=30, allow_redirects=False)
    assert answer.status_code == 303
    assert "said=" in answer.headers["location"]


def button(value: str, **more: Any) -> dict[str, Any]:
    return {"type": "button", "action_id": "go", "text": {"type": "plain_text", "text": value}, "value": value} | more


def test_a_button_that_has_a_new_block_is_the_same_button_and_one_that_has_gone_is_told(
    slack: Slack, bot: WebClient
) -> None:
    """The app edits its message between what somebody sees and what they press."""
    rows = [{"type": "actions", "elements": [button(value)]} for value in ("one", "two")]
    channel = slack.channel("incidents")
    ts = bot.chat_postMessage(channel=channel, text="x", blocks=rows)["ts"]
    old = slack.messages("jonas", "incidents")[-1]["blocks"][1]["block_id"]
    form = {"as": "jonas", "in": "incidents", "channel": channel, "ts": ts, "click": f"{old}|go||two"}
    bot.chat_update(channel=channel, ts=ts, text="x", blocks=rows)
    assert slack.messages("jonas", "incidents")[-1]["blocks"][1]["block_id"] != old
    pressed = slack.http.post(f"{slack.url}/page/click", data=form, timeout=30)
    assert "changed meanwhile" not in pressed.text
    assert slack.range.installed()["sent"] == [] or slack.look("jonas")["notices"], "it was handed on to the app"
    bot.chat_update(channel=channel, ts=ts, text="x", blocks=rows[:1])
    assert "changed meanwhile" in slack.http.post(f"{slack.url}/page/click", data=form, timeout=30).text


def test_a_file_is_for_those_who_see_its_channel(slack: Slack, bot: WebClient) -> None:
    bot.files_upload_v2(channel=slack.channel("incidents"), filename="a b.txt", content="hello")
    found = slack.messages("jonas", "incidents")[-1]["files"][0]["id"]
    got = slack.http.get(f"{slack.url}/page/file/{found}?as=jonas", timeout=30)
    assert (got.text, got.headers["content-disposition"]) == ("hello", 'attachment; filename="a_b.txt"')
    assert slack.http.get(f"{slack.url}/page/file/{found}?as=mallory", timeout=30).status_code == 404
    assert slack.http.get(f"{slack.url}/page/file/F0?as=jonas", timeout=30).status_code == 404

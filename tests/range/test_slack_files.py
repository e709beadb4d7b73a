"""The range's Slack: files, pins, bookmarks, reactions, scheduled messages and Sign in with Slack."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, urlsplit

import jwt
import pytest
from slack_sdk import WebClient

from tests.slack_range import Slack, error, manifest, until

BACK = "http://127.0.0.1:9/signed-in"  # nothing listens there; the browser would be sent to it

# files -------------------------------------------------------------------------------------------------------------


def test_a_file_goes_into_a_thread(slack: Slack, bot: WebClient) -> None:
    incidents = slack.channel("incidents")
    card = bot.chat_postMessage(channel=incidents, text="card")["ts"]
    done = bot.files_upload_v2(
        channel=incidents, thread_ts=card, filename="timeline.jsonl", content='{"n": 1}\n', title="The timeline",
        initial_comment="All of it",
    )  # fmt: skip
    reply = bot.conversations_replies(channel=incidents, ts=card)["messages"][1]

    assert (reply["text"], reply["subtype"], reply["files"][0]["title"]) == ("All of it", "file_share", "The timeline")
    path = f"{slack.url}/hand/alice/file/{done['file']['id']}"
    assert slack.http.get(path).text == '{"n": 1}\n'
    assert slack.http.get(path.replace("alice", "mallory")).status_code == 404, "not in that channel"


def test_files_to_several_at_once_are_one_message(slack: Slack, bot: WebClient) -> None:
    bot.files_upload_v2(
        channel=slack.channel("incidents"),
        file_uploads=[{"filename": "a.txt", "content": "a"}, {"filename": "b.txt", "content": "b"}],
    )

    [message] = slack.messages("alice", "incidents")
    assert [f["name"] for f in message["files"]] == ["a.txt", "b.txt"]


def test_an_upload_is_held_to_what_was_said(slack: Slack, bot: WebClient) -> None:
    asked = bot.files_getUploadURLExternal(filename="a.txt", length=3)
    place = {"files": [{"id": asked["file_id"]}], "channel_id": slack.channel("incidents")}

    assert error(bot.files_completeUploadExternal, **place) == "file_not_found", "nothing was uploaded yet"
    assert slack.http.post(asked["upload_url"], data=b"four").text == "length_mismatch"
    assert slack.http.post(asked["upload_url"], data=b"abc").text == "OK - 3"
    assert slack.http.post(asked["upload_url"], data=b"abc").status_code == 400, "the URL works once"
    assert error(bot.files_completeUploadExternal, **place | {"channel_id": "C0NOWHERE00"}) == "channel_not_found"
    assert error(bot.files_completeUploadExternal, **place | {"channel_id": slack.channel("general")}) == (
        "not_in_channel"
    )
    bot.files_completeUploadExternal(**place)
    assert error(bot.files_completeUploadExternal, **place) == "file_not_found", "it has its place"
    assert error(bot.files_getUploadURLExternal, filename="a.txt", length=0) == "missing_argument"


def test_a_deleted_file_leaves_a_tombstone(slack: Slack, bot: WebClient) -> None:
    done = bot.files_upload_v2(channel=slack.channel("incidents"), filename="a.txt", content="a")
    bot.files_delete(file=done["file"]["id"])

    assert slack.messages("alice", "incidents")[0]["files"][0]["mode"] == "tombstone"
    assert error(bot.files_delete, file=done["file"]["id"]) == "file_deleted"
    assert slack.http.get(f"{slack.url}/hand/alice/file/{done['file']['id']}").status_code == 404


def test_a_file_is_downloaded_with_a_token_only(slack: Slack, bot: WebClient) -> None:
    url = bot.files_upload_v2(channel=slack.channel("incidents"), filename="a.txt", content="a")["file"]["url_private"]
    headers = {"Authorization": f"Bearer {slack.cast['bot_token']}"}

    assert slack.http.get(url, headers=headers, allow_redirects=False).status_code == 302, "no files:read"
    slack.range.install({"scopes": ["files:read"]})
    assert slack.http.get(url, headers=headers).text == "a"
    assert slack.http.get(url, allow_redirects=False).status_code == 302


# pins, bookmarks, reactions ----------------------------------------------------------------------------------------


def test_pins(slack: Slack, bot: WebClient) -> None:
    incidents = slack.channel("incidents")
    ts = bot.chat_postMessage(channel=incidents, text="card")["ts"]
    bot.pins_add(channel=incidents, timestamp=ts)

    assert error(bot.pins_add, channel=incidents, timestamp=ts) == "already_pinned"
    assert error(bot.pins_add, channel=incidents) == "no_item_specified"
    assert error(bot.pins_add, channel=incidents, timestamp="1.000001") == "message_not_found"
    assert error(bot.pins_list, channel=incidents) == "missing_scope"
    assert [c["pins"] for c in slack.look("bob")["channels"] if c["name"] == "incidents"] == [[ts]]
    bot.pins_remove(channel=incidents, timestamp=ts)
    assert error(bot.pins_remove, channel=incidents, timestamp=ts) == "no_pin"


def test_bookmarks(slack: Slack, bot: WebClient) -> None:
    incidents = slack.channel("incidents")
    add = bot.bookmarks_add
    made = add(channel_id=incidents, title="Page", type="link", link="https://b.example/1")["bookmark"]

    assert error(add, channel_id=incidents, title="x", type="folder") == "invalid_bookmark_type"
    assert error(add, channel_id=incidents, title="x", type="link", link="b.example") == "invalid_link"
    assert error(add, channel_id=slack.channel("general"), title="x", type="link", link="https://b.example") == (
        "not_in_channel"
    )
    bot.bookmarks_edit(channel_id=incidents, bookmark_id=made["id"], title="The page")
    found = next(c for c in slack.look("bob")["channels"] if c["name"] == "incidents")
    assert [row["title"] for row in found["bookmarks"]] == ["The page"]
    bot.bookmarks_remove(channel_id=incidents, bookmark_id=made["id"])
    assert error(bot.bookmarks_remove, channel_id=incidents, bookmark_id=made["id"]) == "not_found"


def test_reactions(slack: Slack, bot: WebClient) -> None:
    incidents = slack.channel("incidents")
    ts = bot.chat_postMessage(channel=incidents, text="card")["ts"]
    bot.reactions_add(channel=incidents, timestamp=ts, name="eyes")

    assert error(bot.reactions_add, channel=incidents, timestamp=ts, name="eyes") == "already_reacted"
    assert error(bot.reactions_add, channel=incidents, timestamp=ts, name="no good") == "invalid_name"
    slack.hand("alice", "react", channel="incidents", ts=ts, name=":eyes:")
    [message] = slack.messages("bob", "incidents")
    assert [(r["name"], r["count"]) for r in message["reactions"]] == [("eyes", 2)]
    bot.reactions_remove(channel=incidents, timestamp=ts, name="eyes")
    assert error(bot.reactions_remove, channel=incidents, timestamp=ts, name="eyes") == "no_reaction"


# later -------------------------------------------------------------------------------------------------------------


def test_a_scheduled_message_is_posted_by_the_ranges_clock(slack: Slack, bot: WebClient) -> None:
    incidents, now = slack.channel("incidents"), slack.clock.time()
    bot.chat_scheduleMessage(channel=incidents, post_at=int(now + 3600), text="still open")
    other = bot.chat_scheduleMessage(channel=incidents, post_at=int(now + 7200), text="never said")
    listed = bot.chat_scheduledMessages_list(channel=incidents)["scheduled_messages"]

    assert [row["text"] for row in listed] == ["still open", "never said"]
    assert slack.messages("alice", "incidents") == []
    bot.chat_deleteScheduledMessage(channel=incidents, scheduled_message_id=other["scheduled_message_id"])
    slack.clock.advance(3601)
    assert [m["text"] for m in until(lambda: slack.messages("alice", "incidents"))] == ["still open"]
    assert bot.chat_scheduledMessages_list()["scheduled_messages"] == []


def test_nobody_has_to_ask_for_a_scheduled_message(slack: Slack, bot: WebClient) -> None:
    """The range's own time passes: no call and no look is needed."""
    incidents = slack.channel("incidents")
    bot.chat_scheduleMessage(channel=incidents, post_at=int(slack.clock.time() + 60), text="x")
    slack.clock.advance(61)

    until(lambda: slack.range.state.channels[incidents].messages)


@pytest.mark.parametrize(
    ("after_s", "said"), [(-1, "time_in_past"), (121 * 86_400, "time_too_far"), ("soon", "invalid_time")]
)
def test_when_a_message_can_be_scheduled(slack: Slack, bot: WebClient, after_s: Any, said: str) -> None:
    at = after_s if isinstance(after_s, str) else int(slack.clock.time() + after_s)

    assert error(bot.chat_scheduleMessage, channel=slack.channel("incidents"), post_at=at, text="x") == said


def test_a_message_of_the_next_minute_cannot_be_called_back(slack: Slack, bot: WebClient) -> None:
    incidents = slack.channel("incidents")
    soon = bot.chat_scheduleMessage(channel=incidents, post_at=int(slack.clock.time() + 30), text="x")
    call_back = bot.chat_deleteScheduledMessage

    assert error(call_back, channel=incidents, scheduled_message_id=soon["scheduled_message_id"]) == (
        "invalid_scheduled_message_id"
    )


# Sign in with Slack ------------------------------------------------------------------------------------------------


def question(slack: Slack, **other: str) -> dict[str, str]:
    slack.range.install({"redirect_urls": [BACK]})
    return {
        "response_type": "code", "scope": "openid email profile", "client_id": slack.cast["client_id"],
        "redirect_uri": BACK, "state": "s-1", "nonce": "n-1", **other,
    }  # fmt: skip


def code_of(slack: Slack, name: str) -> dict[str, list[str]]:
    answer = slack.http.post(
        f"{slack.url}/openid/connect/authorize", data=question(slack) | {"user": name}, allow_redirects=False
    )
    assert answer.headers["location"].startswith(BACK)
    return parse_qs(urlsplit(answer.headers["location"]).query)


def test_somebody_signs_in(slack: Slack) -> None:
    page = slack.http.get(f"{slack.url}/openid/connect/authorize", params=question(slack))
    back = code_of(slack, "alice")
    said = slack.client("").openid_connect_token(
        slack.cast["client_id"], slack.cast["client_secret"], code=back["code"][0], redirect_uri=BACK
    )
    keys = jwt.PyJWKSet.from_dict(slack.http.get(f"{slack.url}/openid/connect/keys").json())
    claims = jwt.decode(
        said["id_token"], keys.keys[0], algorithms=["RS256"], audience=slack.cast["client_id"],
        issuer="https://slack.com",
    )  # fmt: skip
    person = slack.client(said["access_token"]).openid_connect_userInfo()

    assert (page.status_code, 'value="alice"' in page.text, back["state"]) == (200, True, ["s-1"])
    assert (claims["nonce"], claims["sub"]) == ("n-1", slack.user("alice"))
    assert person["https://slack.com/user_id"] == slack.user("alice")
    assert person["https://slack.com/team_id"] == slack.cast["team_id"]
    assert person["email"] == "alice@harbor-lights.example"
    assert error(slack.client(said["access_token"]).users_info, user=slack.user("bob")) == "not_allowed_token_type"


def test_a_stranger_signs_in_with_their_own_team(slack: Slack) -> None:
    """Slack lets everybody sign in; only the team tells that this is nobody of ours."""
    back = code_of(slack, "mallory")
    said = slack.client("").openid_connect_token(
        slack.cast["client_id"], slack.cast["client_secret"], code=back["code"][0], redirect_uri=BACK
    )

    person = slack.client(said["access_token"]).openid_connect_userInfo()
    assert person["https://slack.com/team_id"] == slack.cast["vendor_team_id"] != slack.cast["team_id"]


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"client_id": "1.2"}, "invalid_client_id"),
        ({"redirect_uri": "http://127.0.0.1:9/other"}, "bad_redirect_uri"),
        ({"response_type": "token"}, "invalid_response_type"),
        ({"scope": "email"}, "invalid_scope"),
        ({"scope": "openid admin"}, "invalid_scope"),
    ],
)
def test_a_question_that_is_wrong_sends_nobody_anywhere(slack: Slack, other: dict[str, str], said: str) -> None:
    for method in ("GET", "POST"):
        asked = question(slack, **other) | {"user": "alice"}
        fields: dict[str, Any] = {"params": asked} if method == "GET" else {"data": asked}
        answer = slack.http.request(
            method, f"{slack.url}/openid/connect/authorize", allow_redirects=False, **fields
        )  # fmt: skip
        assert (answer.status_code, answer.text) == (400, f"Oops: {said}")


def test_people_are_asked_for_what_the_manifest_says(slack: Slack) -> None:
    for user, status in ([], 400), (["openid", "email", "profile"], 200):
        made = manifest()
        made["oauth_config"]["scopes"]["user"] = user
        slack.range.install({"manifest": made})
        page = slack.http.get(f"{slack.url}/openid/connect/authorize", params=question(slack))
        assert page.status_code == status


def test_a_code_works_once_and_for_its_own_app(slack: Slack) -> None:
    code, ids = code_of(slack, "bob")["code"][0], (slack.cast["client_id"], slack.cast["client_secret"])
    token = slack.client("").openid_connect_token

    def said(client: str, secret: str, **other: str) -> str:
        found = {"code": code, "redirect_uri": BACK} | other
        return error(token, client_id=client, client_secret=secret, **found)

    assert said("1.2", ids[1]) == "invalid_client_id"
    assert said(ids[0], "no") == "bad_client_secret"
    assert said(*ids, redirect_uri="http://127.0.0.1:9/") == "bad_redirect_uri"
    assert said(*ids, code="1.2") == "invalid_code"
    assert said(*ids) == ""
    assert said(*ids) == "invalid_code"


def test_a_code_grows_old(slack: Slack) -> None:
    code = code_of(slack, "bob")["code"][0]
    slack.clock.advance(601)
    token, ids = slack.client("").openid_connect_token, (slack.cast["client_id"], slack.cast["client_secret"])

    assert error(token, client_id=ids[0], client_secret=ids[1], code=code, redirect_uri=BACK) == "invalid_code"


def test_the_documents_lead_to_each_other(slack: Slack) -> None:
    found = slack.http.get(f"{slack.url}/.well-known/openid-configuration").json()

    assert found["issuer"] == "https://slack.com"
    assert slack.http.get(found["jwks_uri"]).json()["keys"][0]["alg"] == "RS256"
    assert found["token_endpoint"] == f"{slack.url}/api/openid.connect.token"

"""GitHub's partner program: the published known answers, and keys that are asked for no more than they must be."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from bot.errors import Unavailable, Undeliverable
from bot.intake.delivery import Delivery
from bot.intake.partner import KEYS, Partner
from bot.model import Exposure, Trust

AT = datetime(2026, 1, 2, tzinfo=UTC)
OLD, NEW = (
    "90a421169f0a406205f1563a953312f0be898d3c7b6c06b681aa86a874555f4a",
    "bcb53661c06b4728e59d897fb6165d5c9cda0fd9cdf9d09ead458168deb7518c",
)
# GitHub's own public keys, as octokit.net's tests have them.
PEMS = {
    OLD: "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE9MJJHnMfn2+H4xL4YaPDA4RpJqUq\n"
    "kCmRCBnYERxZanmcpzQSXs1X/AljlKkbJ8qpVIW4clayyef9gWhFbNHWAA==",
    NEW: "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEYAGMWO8XgCamYKMJS6jc/qgvSlAd\n"
    "AjPuDPRcXU22YxgBrz+zoN19MzuRyW87qEt9/AmtoNP5GrobzUvQSyJFVw==",
}
# docs.github.com "Secret scanning partner program"; pypi/warehouse's tests; rubygems.org's controller.
GOOD = [
    (NEW, "MEQCIQDaMKqrGnE27S0kgMrEK0eYBmyG0LeZismAEz/BgZyt7AIfXt9fErtRS4XaeSt/AO1RtBY66YcAdjxji410VQV4xg==",
     '[{"source":"commit","token":"some_token","type":"some_type","url":"https://example.com/base-repo-url/"}]'),
    (OLD, "MEQCIAfgjgz6Ou/3DXMYZBervz1TKCHFsvwMcbuJhNZse622AiAG86/cku2XdcmFWNHl2WSJi2fkE8t+auvB24eURaOd2A==",
     '[{"type":"github_oauth_token","token":"cb4985f91f740272c0234' + '202299f43808034d7f5","url":" https://github.com/'
     'github/faketestrepo/blob/b0dd59c0b500650cacd4551ca5989a6194001b10/production.env"}]'),
    (OLD, "MEUCICxTWEpKo7BorLKutFZDS6ie+YFg6ecU7kEA6rUUSJqsAiEA9bK0Iy6vk2QpZOOg2IpBhZ3JRVdwXx1zmgmNAR7Izpc=",
     '[{"token": "some_token", "type": "some_type", "url": "some_url"}]'),
]  # fmt: skip
# Printed in older documents of GitHub's; it holds for neither key.
BAD = (
    OLD, "MEQCIA6C6L8ZYvZnqgV0zwrrmRab10QmIFV396gsba/WYm9oAiAI6Q+/jNaWqkgG5YhaWshTXbRwIgqIK6Ru7LxVYDbV5Q==",
    ('[{"token":"NMIfyYncKcRALEXAMPLE","type":"mycompany_api_token","url":"https://github.com/octocat/Hello-World/blob/'
    '12345600b9cbe38a219f39a9941c9319b600c002/foo/bar.txt"}]'),
)  # fmt: skip


class Keys:
    """What GitHub publishes, and how often it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.away = False

    def __call__(self, url: str) -> bytes:
        self.asked.append(url)
        if self.away:
            raise Unavailable("away", provider="http")
        rows = [
            {"key_identifier": name, "is_current": name == NEW,
             "key": f"-----BEGIN PUBLIC KEY-----\n{pem}\n-----END PUBLIC KEY-----\n"}
            for name, pem in PEMS.items()
        ]  # fmt: skip
        return json.dumps({"public_keys": rows}).encode()


def delivery(name: str, signature: str, body: bytes) -> Delivery:
    headers = {"github-public-key-identifier": name, "github-public-key-signature": signature}
    return Delivery(source="github-partner", body=body, headers=headers, at=AT)


@pytest.mark.parametrize(("name", "signature", "body"), GOOD, ids=["docs", "warehouse", "rubygems"])
def test_the_known_answers_hold_and_a_newline_breaks_them(name: str, signature: str, body: str) -> None:
    partner = Partner("https://api.github.com", Keys())
    sender = partner.prove(delivery(name, signature, body.encode()))
    assert sender.trust is Trust.SIGNED
    for other in (body + "\n", body.replace("some", "same").replace("type", "kind")):
        with pytest.raises(Undeliverable, match="does not hold"):
            partner.prove(delivery(name, signature, other.encode()))
    reading = partner.read(delivery(name, signature, body.encode()), sender)
    (seen,) = reading.seen
    assert (seen.value, seen.exposure) == (json.loads(body)[0]["token"], Exposure.PUBLIC)
    assert seen.value not in repr(seen)


def test_the_answer_of_older_documents_does_not_hold() -> None:
    with pytest.raises(Undeliverable, match="does not hold"):
        Partner("https://api.github.com", Keys()).prove(delivery(BAD[0], BAD[1], BAD[2].encode()))


def test_keys_are_asked_for_once_whatever_names_senders_make_up() -> None:
    keys = Keys()
    partner = Partner("https://api.github.com/", keys)
    for k in range(5):
        with pytest.raises(Undeliverable) as caught:
            partner.prove(delivery(f"made-up-{k}", GOOD[0][1], b"[]"))
        assert (caught.value.status, caught.value.reason) == (401, "key")
    partner.prove(delivery(*GOOD[0][:2], GOOD[0][2].encode()))
    assert keys.asked == ["https://api.github.com" + KEYS]


@pytest.mark.parametrize(("name", "signature"), [("", "x"), (NEW, ""), (NEW, "not base64 é"), (NEW, "AAAA")])
def test_what_is_no_signature_is_refused(name: str, signature: str) -> None:
    with pytest.raises(Undeliverable) as caught:
        Partner("https://api.github.com", Keys()).prove(delivery(name, signature, b"[]"))
    assert caught.value.status == 401


def test_when_githubs_keys_are_away_the_sender_is_told_to_come_again() -> None:
    keys = Keys()
    keys.away = True
    with pytest.raises(Undeliverable) as caught:
        Partner("https://api.github.com", keys).prove(delivery(*GOOD[0][:2], GOOD[0][2].encode()))
    assert caught.value.status == 503


def test_the_repository_and_commit_are_read_from_the_address() -> None:
    partner = Partner("https://api.github.com", Keys())
    given = delivery(*GOOD[1][:2], GOOD[1][2].encode())
    (seen,) = partner.read(given, partner.prove(given)).seen
    assert (seen.repository, seen.commit) == ("github/faketestrepo", "b0dd59c0b500650cacd4551ca5989a6194001b10")

"""Signatures: every published known answer, and what is almost one."""

from __future__ import annotations

import base64
import hashlib
import hmac
from datetime import UTC, datetime, timedelta

import pytest
from slack_sdk.signature import Clock, SignatureVerifier

from bot.errors import Undeliverable
from bot.intake import gitguardian, github, proof
from bot.intake.delivery import Delivery
from bot.model import Trust

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)

# docs.github.com, "Validating webhook deliveries"
GITHUB = (
    "It's a Secret to Everybody",
    b"Hello, World!",
    "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17",
)
# docs.gitguardian.com, "Custom webhook": the key is the timestamp and the token
GITGUARDIAN = ("foo", "0", b"bar", "172fe3d694b734aa53dc892fd3b8d62163fc240064de570ba006900bb54a0fc2")
# docs.slack.dev, "Verifying requests from Slack"
SLACK = (
    "8f742231b10e8888abcd99" + "yyyzzz85a5", "1531420618",
    ("token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar"
    "&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com"
    "%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121."
    "803a0bc887a14d10d2c447fce8b6703c"),
    "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503",
)  # fmt: skip


def delivery(source: str, body: bytes, at: datetime = NOW, **headers: str) -> Delivery:
    return Delivery(source=source, body=body, headers={k.replace("_", "-"): v for k, v in headers.items()}, at=at)


def test_githubs_known_answer() -> None:
    secret, body, digest = GITHUB
    given = delivery("github", body, x_hub_signature_256=f"sha256={digest}")
    assert github.prove(given, (secret,)).trust is Trust.SIGNED
    assert github.prove(given, ("another-secret", secret)).trust is Trust.SIGNED, "two while one is changed"


@pytest.mark.parametrize(
    ("header", "value", "reason"),
    [
        ("x_hub_signature_256", "sha256=" + "0" * 64, "signature"),
        ("x_hub_signature_256", GITHUB[2], "signature"),  # without its prefix
        ("x_hub_signature_256", "sha256=" + GITHUB[2] + "00", "signature"),
        ("x_hub_signature_256", "sha256=not hexadecimal é", "signature"),
        ("x_hub_signature_256", "", "unsigned"),
        ("x_hub_signature", "sha1=" + hmac.new(GITHUB[0].encode(), GITHUB[1], hashlib.sha1).hexdigest(), "unsigned"),
    ],
)
def test_what_is_almost_githubs_signature_is_refused(header: str, value: str, reason: str) -> None:
    with pytest.raises(Undeliverable) as caught:
        github.prove(delivery("github", GITHUB[1], **{header: value}), (GITHUB[0],))
    assert (caught.value.status, caught.value.reason) == (401, reason)


def test_no_secret_proves_nothing() -> None:
    empty = hmac.new(b"", GITHUB[1], hashlib.sha256).hexdigest()
    for secrets in ((), ("",)):
        with pytest.raises(Undeliverable):
            github.prove(delivery("github", GITHUB[1], x_hub_signature_256=f"sha256={empty}"), secrets)


def test_gitguardians_known_answer() -> None:
    token, stamp, body, digest = GITGUARDIAN
    given = delivery("gitguardian", body, datetime.fromtimestamp(0, UTC), timestamp=stamp,
                     gitguardian_signature=f"sha256={digest}")  # fmt: skip
    assert gitguardian.prove(given, (token,)).trust is Trust.SIGNED
    plain = hmac.new(token.encode(), body, hashlib.sha256).hexdigest()  # what many handlers take for it
    wrong = delivery("gitguardian", body, datetime.fromtimestamp(0, UTC), timestamp=stamp,
                     gitguardian_signature=f"sha256={plain}")  # fmt: skip
    with pytest.raises(Undeliverable, match="does not hold"):
        gitguardian.prove(wrong, (token,))


@pytest.mark.parametrize(
    ("seconds", "reason"), [(301, "stale"), (-301, "stale"), (86_400 * 365, "stale"), (299, ""), (-299, "")]
)
def test_gitguardians_delivery_is_five_minutes_old_at_most(seconds: int, reason: str) -> None:
    stamp = str(int((NOW - timedelta(seconds=seconds)).timestamp()))
    digest = hmac.new(f"{stamp}foo".encode(), b"bar", hashlib.sha256).hexdigest()
    given = delivery("gitguardian", b"bar", timestamp=stamp, gitguardian_signature=f"sha256={digest}")
    if not reason:
        gitguardian.prove(given, ("foo",))
        return
    with pytest.raises(Undeliverable) as caught:
        gitguardian.prove(given, ("foo",))
    assert (caught.value.status, caught.value.reason) == (401, reason)


@pytest.mark.parametrize("stamp", ["", "now", "-5", "9" * 40, "2026-01-02T03:04:05", "\uff11\uff12", "1e9", "nan"])
def test_what_is_no_time_is_no_time(stamp: str) -> None:
    assert proof.moment(stamp) is None
    with pytest.raises(Undeliverable):
        proof.fresh(stamp, NOW, timedelta(days=10_000))


def test_slacks_known_answer_holds_for_the_verifier_that_slack_work_uses() -> None:
    secret, stamp, body, expected = SLACK

    class Then(Clock):
        def now(self) -> float:
            return float(stamp)

    verifier = SignatureVerifier(secret, Then())
    assert verifier.is_valid(body, stamp, expected)
    assert not verifier.is_valid(body + " ", stamp, expected)


@pytest.mark.parametrize(
    ("authorization", "token", "good"),
    [
        ("Bearer made-up-token-1234", "", True),
        ("bearer made-up-token-1234", "", True),
        ("Basic " + base64.b64encode(b"anybody:made-up-token-1234").decode(), "", True),
        ("", "made-up-token-1234", True),
        ("made-up-token-1234", "", False),
        ("Basic made-up-token-1234", "", False),
        ("Bearer ", "", False),
        ("Bearer made-up-token-1234x", "", False),
        ("", "", False),
    ],
)
def test_a_shared_token(authorization: str, token: str, good: bool) -> None:
    if good:
        proof.bearer(authorization, token, ("another", "made-up-token-1234"))
        return
    with pytest.raises(Undeliverable) as caught:
        proof.bearer(authorization, token, ("another", "made-up-token-1234", ""))
    assert caught.value.status == 401

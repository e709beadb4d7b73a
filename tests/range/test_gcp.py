"""The range's Google Cloud holds to Google's rules: what a key may buy, what dies with it and what does not."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import jwt
import pytest
import requests

from bot.range.gcp import BUCKET
from bot.range.gcp.server import GRANT, IAM_AUDIENCE, SCOPE, TOKEN_AUDIENCE, WIDE
from bot.range.gcp.theft import open_quay
from bot.range.server import Range


class Holder:
    """Somebody who holds the key file of the company's deploy account."""

    def __init__(self, range_: Range) -> None:
        self.range = range_
        self.file = json.loads(open_quay(range_))
        self.account = range_.gcp.accounts[self.file["client_email"]]
        self.key = self.account.keys[self.file["private_key_id"]]

    def signed(self, **other: Any) -> str:
        now = int(self.range.clock.time())
        claims = {"iss": self.account.email, "aud": TOKEN_AUDIENCE, "iat": now, "exp": now + 3600, "scope": WIDE}
        headers = {"kid": self.key.id}
        return jwt.encode(claims | other, self.file["private_key"], algorithm="RS256", headers=headers)

    def buy(self, assertion: str, grant: str = GRANT) -> requests.Response:
        form = {"grant_type": grant, "assertion": assertion}
        return requests.post(f"{self.range.gcp.base_url}/token", data=form, timeout=5)

    def token(self, **other: Any) -> str:
        return str(self.buy(self.signed(**other)).json()["access_token"])

    def get(self, path: str, bearer: str) -> requests.Response:
        headers = {"Authorization": f"Bearer {bearer}"}
        return requests.get(f"{self.range.gcp.base_url}{path}", headers=headers, timeout=5)

    def bucket(self, bearer: str) -> int:
        return self.get(f"/storage/v1/b/{BUCKET}/o", bearer).status_code

    def info(self, bearer: str) -> requests.Response:
        return requests.get(f"{self.range.gcp.base_url}/tokeninfo", params={"access_token": bearer}, timeout=5)


@pytest.fixture(scope="module")
def only_range() -> Iterator[Range]:
    range_ = Range()
    range_.start()
    yield range_
    range_.stop()


@pytest.fixture
def holder(only_range: Range) -> Holder:
    only_range.reset()
    return Holder(only_range)


def test_a_token_outlives_its_key_and_dies_with_its_account(holder: Holder) -> None:
    token = holder.token()
    assert holder.bucket(token) == 200
    holder.key.disabled = True
    assert holder.buy(holder.signed()).json()["error_description"] == "Invalid JWT Signature."
    assert holder.bucket(token) == 200
    assert holder.info(token).json()["email"] == holder.account.email
    holder.account.disabled = True
    refused = holder.get(f"/storage/v1/b/{BUCKET}/o", token)
    assert refused.status_code == 401
    assert refused.json()["error"]["details"][0]["reason"] == "ACCOUNT_STATE_INVALID"
    assert holder.info(token).status_code == 400
    holder.account.disabled = False
    assert holder.bucket(token) == 200, "a token of an account that is enabled again is accepted again"
    holder.range.clock.advance(3600)
    assert holder.bucket(token) == 401


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"aud": IAM_AUDIENCE}, "invalid_grant"),
        ({"iss": "nobody@harbor-lights-prod.iam.gserviceaccount.com"}, "invalid_grant"),
        ({"iat": 1000, "exp": 4600}, "invalid_grant"),
        ({"exp": 99999999999}, "invalid_grant"),
        ({"scope": ""}, "invalid_scope"),
        ({"scope": f"{SCOPE}made-up"}, "invalid_scope"),
    ],
    ids=["audience", "issuer", "old", "longer than an hour", "no scope", "unknown scope"],
)
def test_an_assertion_that_is_not_right_buys_nothing(holder: Holder, other: dict[str, Any], said: str) -> None:
    answer = holder.buy(holder.signed(**other))
    assert (answer.status_code, answer.json()["error"]) == (400, said)
    assert not holder.range.gcp.tokens


def test_only_the_accounts_own_key_signs(holder: Holder) -> None:
    _, claims, _ = holder.signed().split(".")
    none = jwt.encode({}, "", algorithm="none").split(".")[0]
    said = json.loads(jwt.utils.base64url_decode(claims))
    by_word = jwt.encode(said, "a shared word that is long enough for this", "HS256")
    other = Holder.__new__(Holder)
    other.range, other.account, other.key = holder.range, holder.account, holder.key
    bot = json.loads(holder.range.company.cast["gcp"]["bulkhead-bot"])
    other.file = bot
    for forged in (f"{none}.{claims}.", by_word, other.signed(), "words"):
        assert holder.buy(forged).json()["error"] == "invalid_grant", forged
    assert holder.buy(holder.signed(), grant="password").json()["error"] == "unsupported_grant_type"


def test_what_the_key_signs_for_one_api_is_taken_there_alone_and_dies_with_it(holder: Holder) -> None:
    path = f"/v1/{holder.account.name}"
    signed = holder.signed(aud=IAM_AUDIENCE)
    assert holder.get(path, signed).status_code == 403, "known, and may not"
    assert holder.bucket(signed) == 401
    assert not holder.range.gcp.tokens
    holder.key.disabled = True
    assert holder.get(path, signed).status_code == 401


def test_iam_asks_for_the_permission_and_for_the_scope(holder: Holder) -> None:
    path = f"/v1/{holder.account.name}/keys/{holder.key.id}"
    token = holder.token()
    refused = holder.get(path, token)
    assert refused.status_code == 403
    assert "'iam.serviceAccountKeys.get'" in refused.json()["error"]["message"]
    narrow = holder.token(scope=f"{SCOPE}userinfo.email")
    holder.account.permissions |= {"iam.serviceAccountKeys.get"}
    assert holder.get(path, token).json()["keyType"] == "USER_MANAGED"
    assert holder.get(path, narrow).status_code == 403
    assert holder.get(path.replace(holder.key.id, "0" * 40), token).status_code == 404

"""The value of a GitHub alert, which GitHub does not send: fetched straight into the vault where that is allowed.

Against the range's GitHub, which shows it to whoever administers the repository.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from bot.clients import GitHubClient
from tests.conftest import FERRY, Ferry
from tests.intake.office import KEY_ID, SECRET, TOKEN, Office, alert


@pytest.mark.parametrize(
    ("kind", "value", "key"),
    [
        ("npm_access_token", TOKEN, "npm-token:hmac:"),
        ("aws_access_key_id", f"AWS_ACCESS_KEY_ID={KEY_ID}", f"aws-access-key:{KEY_ID}"),
        ("aws_secret_access_key", SECRET, "aws-access-key:hmac:"),
    ],
)
def test_the_value_is_sealed_and_says_which_credential_it_is(
    office: Office, ferry: Ferry, kind: str, value: str, key: str
) -> None:
    number = ferry.state.add_alert(FERRY, secret_type=kind, display_name=kind, secret=value.rpartition("=")[2])
    office.github.append(ferry.client("bulkhead-bot"))
    fetching = replace(office.inbox, fetch_values=True)
    office.deliver("github", alert(number, secret_type=kind, publicly_leaked=True))
    (row,) = office.store.inbox("landed")
    (incident,) = fetching.work(row)
    assert office.store.incident(incident).credential_key.startswith(key)
    held = [secret.reveal() for secret in office.vault.held(incident)]
    assert held == ([] if kind == "aws_access_key_id" else [value])
    assert office.vault.held(row["id"]) == []
    assert SECRET.encode() not in office.bytes()
    assert TOKEN.encode() not in office.bytes()


def test_fetched_it_is_the_same_credential_as_a_scanner_has_found(office: Office, ferry: Ferry) -> None:
    number = ferry.state.add_alert(FERRY, secret_type="npm_access_token", display_name="npm", secret=TOKEN)
    office.github.append(ferry.client("bulkhead-bot"))
    office.land(TOKEN)
    (first,) = office.work()
    office.deliver("github", alert(number))
    (row,) = office.store.inbox("landed")
    assert replace(office.inbox, fetch_values=True).work(row) == [first]
    office.deliver("github", alert(number, action="resolved", resolution="wont_fix"))
    assert office.work() == [first], "GitHub's name for it leads there too"


@pytest.mark.parametrize("login", ["quiet-otter", "bulkhead-bot"])
def test_where_it_may_not_be_fetched_the_alert_stands_by_its_own_name(office: Office, ferry: Ferry, login: str) -> None:
    """The account may not see alerts; or the alert is gone."""
    if login == "quiet-otter":
        ferry.state.add_alert(FERRY, secret_type="npm_access_token", display_name="npm", secret=TOKEN)
    office.github.append(ferry.client(login))
    office.deliver("github", alert(1))
    (row,) = office.store.inbox("landed")
    (incident,) = replace(office.inbox, fetch_values=True).work(row)
    assert office.store.incident(incident).credential_key == "npm-token:github:4711:1"
    assert "could not be fetched" in office.store.incident(incident).body["report"]["text"]


def test_while_github_is_away_the_delivery_waits_and_the_others_do_not(office: Office) -> None:
    office.github.append(GitHubClient(token="none", base_url="http://127.0.0.1:9"))
    fetching = replace(office.inbox, fetch_values=True)
    office.deliver("github", alert(1))
    office.land(TOKEN)
    worked = fetching.work_all(office.store.inbox("landed"))
    assert len(worked.opened) == 1
    assert len(worked.later) == 1
    assert [row["source"] for row in office.store.inbox("landed")] == ["github"]

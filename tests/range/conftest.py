"""The range's AWS and its Slack, each alone and served on loopback."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from slack_sdk import WebClient

from bot.range.aws import AwsRange, serve
from bot.range.clock import RangeClock
from bot.range.issuer import OidcIssuer
from bot.range.switchboard import Switchboard
from tests.slack_range import App, Slack, serving, slack_served

ALL: dict[str, Any] = {
    "Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}],
}  # fmt: skip
DENY_ALL = {"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Action": "*", "Resource": "*"}]}

Keys = tuple[str, str] | tuple[str, str, str]


@dataclass
class Cloud:
    """The account, its address, and clients for whoever is asked for."""

    aws: AwsRange
    clock: RangeClock
    switchboard: Switchboard
    issuer: OidcIssuer
    url: str
    session: boto3.session.Session
    root: Keys = ("", "")

    def client(self, service: str, keys: Keys | None = None) -> Any:
        key_id, secret, *token = keys or self.root
        config = Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"})
        return self.session.client(
            service, endpoint_url=self.url, config=config, aws_access_key_id=key_id, aws_secret_access_key=secret,
            aws_session_token=token[0] if token else None,
        )  # fmt: skip

    def user(self, name: str, policy: dict[str, Any] | None = None) -> Keys:
        self.aws.account.add_user(name, policy=policy)
        return self.aws.account.add_key(name)

    def put_user_policy(self, user: str, policy: dict[str, Any], name: str = "p") -> None:
        self.client("iam").put_user_policy(UserName=user, PolicyName=name, PolicyDocument=json.dumps(policy))


def taken(answer: dict[str, Any]) -> Keys:
    """The credentials of an STS answer."""
    found = answer["Credentials"]
    return found["AccessKeyId"], found["SecretAccessKey"], found["SessionToken"]


def code(call: Callable[..., Any], **params: Any) -> str:
    """What AWS says of a call: its error code, or '' when it passes."""
    try:
        call(**params)
    except ClientError as exc:
        return str(exc.response["Error"]["Code"])
    return ""


@pytest.fixture(scope="session")
def aws_server() -> Iterator[Cloud]:
    clock = RangeClock()
    switchboard, issuer = Switchboard(clock), OidcIssuer(clock)
    aws = AwsRange(clock, switchboard, issuer)
    url, server = serve(aws)
    yield Cloud(aws, clock, switchboard, issuer, url, boto3.session.Session(region_name="us-east-1"))
    server.shutdown()
    server.server_close()


@pytest.fixture
def cloud(aws_server: Cloud) -> Cloud:
    """A fresh account with one almighty user, ``root``."""
    aws_server.clock.set(0.0)
    aws_server.aws.reset()
    aws_server.switchboard.reset()
    aws_server.root = aws_server.user("root", ALL)
    return aws_server


@pytest.fixture(scope="module")
def slack_server() -> Iterator[Slack]:
    with slack_served() as found:
        yield found


@pytest.fixture
def slack(slack_server: Slack) -> Slack:
    """A new workspace whose limits no test meets by accident."""
    slack_server.clock.set(0.0)
    slack_server.switchboard.reset()
    slack_server.range.reset()
    slack_server.range.state.limits.on = False
    return slack_server


@pytest.fixture
def bot(slack: Slack) -> WebClient:
    """The app's client, as slack_sdk makes it."""
    return slack.client()


@pytest.fixture(scope="module")
def app_server() -> Iterator[App]:
    app = App()
    with serving(app) as url:
        app.url = url
        yield app


@pytest.fixture
def app(app_server: App, slack: Slack) -> App:
    """The app is installed and listens."""
    app_server.got.clear()
    app_server.raw.clear()
    app_server.answer = lambda _: None
    slack.range.install({"request_url": f"{app_server.url}/slack/events"})
    return app_server

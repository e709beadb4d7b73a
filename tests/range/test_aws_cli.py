"""The ``aws`` command, which nobody here wrote, is refused where it should be."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bot.range.aws_sts import iso
from tests.range.conftest import ALL, Cloud, Keys, taken

AWS = Path(sys.executable).with_name("aws")


class Command:
    """``aws`` with some credentials, its own empty home, and the range as its endpoint."""

    def __init__(self, cloud: Cloud, home: Path) -> None:
        self._cloud, self._home = cloud, home

    def __call__(self, keys: Keys, *words: str) -> tuple[int, str]:
        env = {
            "HOME": str(self._home), "PATH": "/usr/bin:/bin", "AWS_CONFIG_FILE": str(self._home / "config"),
            "AWS_SHARED_CREDENTIALS_FILE": str(self._home / "credentials"), "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_DEFAULT_REGION": "us-east-1", "AWS_MAX_ATTEMPTS": "1", "NO_PROXY": "127.0.0.1",
            "AWS_ACCESS_KEY_ID": keys[0], "AWS_SECRET_ACCESS_KEY": keys[1],
        }  # fmt: skip
        if len(keys) == 3:
            env["AWS_SESSION_TOKEN"] = keys[2]
        line = [str(AWS), "--endpoint-url", self._cloud.url, *words]
        done = subprocess.run(line, env=env, capture_output=True, text=True, timeout=60, check=False)
        return done.returncode, done.stdout + done.stderr


@pytest.fixture
def aws(cloud: Cloud, tmp_path: Path) -> Command:
    return Command(cloud, tmp_path)


def test_a_deactivated_key_is_refused(cloud: Cloud, aws: Command) -> None:
    keys = cloud.user("ann", ALL)
    status, said = aws(keys, "sts", "get-caller-identity")
    assert status == 0
    assert json.loads(said)["Arn"].endswith("user/ann")

    cloud.client("iam").update_access_key(UserName="ann", AccessKeyId=keys[0], Status="Inactive")
    status, said = aws(keys, "sts", "get-caller-identity")
    assert status != 0
    assert "InvalidClientTokenId" in said


def test_an_older_session_is_refused_and_a_newer_one_and_the_key_are_not(cloud: Cloud, aws: Command) -> None:
    keys = cloud.user("ann", ALL)
    status, said = aws(keys, "sts", "get-session-token", "--duration-seconds", "129600")
    assert status == 0
    older = taken(json.loads(said))
    assert aws(older, "s3", "ls")[0] == 0

    cloud.clock.advance(1)
    condition = {"DateLessThan": {"aws:TokenIssueTime": iso(cloud.clock.time())}}
    statement = {"Effect": "Deny", "Action": "*", "Resource": "*", "Condition": condition}
    cloud.put_user_policy("ann", {"Version": "2012-10-17", "Statement": [statement]}, "AWSRevokeOlderSessions")
    cloud.clock.advance(1)
    newer = taken(cloud.client("sts", keys).get_session_token())
    status, said = aws(older, "s3", "ls")
    assert status != 0
    assert "AccessDenied" in said
    assert aws(newer, "s3", "ls")[0] == 0
    assert aws(keys, "s3", "ls")[0] == 0


def test_it_copies_to_a_bucket_and_reads_the_trail(cloud: Cloud, aws: Command, tmp_path: Path) -> None:
    cloud.aws.account.add_bucket("ferry-releases")
    (tmp_path / "ferry.txt").write_text("06:10\n")

    assert aws(cloud.root, "s3", "cp", str(tmp_path / "ferry.txt"), "s3://ferry-releases/ferry.txt")[0] == 0
    assert aws(cloud.root, "s3", "cp", "s3://ferry-releases/ferry.txt", "-") == (0, "06:10\n")
    status, said = aws(cloud.root, "iam", "list-users")
    assert (status, json.loads(said)["Users"][0]["UserName"]) == (0, "root")
    wanted = "AttributeKey=EventName,AttributeValue=ListUsers"
    status, said = aws(cloud.root, "cloudtrail", "lookup-events", "--lookup-attributes", wanted)
    assert (status, len(json.loads(said)["Events"])) == (0, 1)

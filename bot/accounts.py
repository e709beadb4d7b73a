"""Many AWS accounts: which one a key is of, and by which roles it is read and changed there.

The map is a file (YAML). Each account has a role that reads and a role that acts; boto3's own identity only assumes
them, with the account's external id, so that nobody else can have this identity do it (IAM User Guide, "The confused
deputy problem"). What is not in the map is a person's step. Keys made since 2019 hold the number of their account; of
others ``sts:GetAccessKeyInfo`` tells it, which that account does not see (STS API Reference).
"""

from __future__ import annotations

import base64
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from bot.clients import AwsClients, AwsRole, aws_errors
from bot.errors import Forbidden, NotFound, ProviderError, Refused, Rejected, SettingsError, Unmapped
from bot.model import Credential, Secret
from bot.strictyaml import Node, Problems, of_settings, read, table, text

VARIABLE = "BULKHEAD_AWS_ACCOUNTS"
KINDS = ("aws-access-key", "aws-session")
SESSION_S = 3600  # the longest for a role that was assumed by a role (IAM User Guide, "Role chaining")
_NUMBER = re.compile(r"\d{12}")
_ROLE = re.compile(r"arn:aws[\w-]*:iam::(\d{12}):role/[\w+=,.@/-]{1,512}", re.ASCII)
_EXTERNAL = re.compile(r"[\w+=,.@:/-]{2,1224}", re.ASCII)  # STS API Reference, AssumeRole
_REGION = re.compile(r"[a-z]{2}(-[a-z]+)+-\d")
_TRAIL = re.compile(r"s3://[a-z0-9.-]{3,63}/(.+/)?CloudTrail/?")
_KEYS = ("name", "read", "act", "external_id", "region", "trail")


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """One account of the map. ``read`` and ``act`` are ARNs of roles; both are '' where boto3's identity itself works.

    ``trail``: the place of its CloudTrail log files, as in ``BULKHEAD_TRAIL``.
    """

    number: str
    name: str = ""
    read: str = ""
    act: str = ""
    external_id: str = ""
    region: str = ""
    trail: str = ""

    def __str__(self) -> str:
        return f"{self.number} ({self.name})" if self.name else self.number


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountMap:
    """``home`` is the account of boto3's own identity."""

    home: str
    accounts: Mapping[str, Account] = field(default_factory=dict)

    def __contains__(self, number: str) -> bool:
        return number == self.home or number in self.accounts


def account_of_key(key_id: str) -> str:
    """The account that an AWS key id encodes; '' for one made before 2019 (TalBeery, "AWS access key id formats")."""
    try:
        head = int.from_bytes(base64.b32decode(key_id[4:20])[:6], "big")
    except ValueError:
        return ""
    return str((head & 0x7FFFFFFFFF80) >> 7).zfill(12) if head >> 47 else ""


def account_of(credential_key: str) -> str:
    """The same of ``Credential.key``; '' for what is no key or session of AWS, too."""
    kind, _, name = credential_key.partition(":")
    return account_of_key(name) if kind in KINDS else ""


def console(number: str) -> str:
    """Where a person signs in to an account (IAM User Guide, "How IAM users sign in")."""
    return f"https://{number}.signin.aws.amazon.com/console/iam" if number else "https://console.aws.amazon.com/iam/home"


def load_map(path: Path) -> AccountMap:
    """The account map of a file. Raises SettingsError with every mistake and its line."""
    return of_settings(path, "the account map", read_map)


def read_map(source_text: str, source: str) -> AccountMap:
    """The account map of a text. Raises PlaybookError with every mistake and its line."""
    problems = Problems(source)
    top = table(read(source_text, source), "the account map", problems, ("home", "accounts"), ("home", "accounts"))
    home = _matched(top.get("home"), "home", _NUMBER, "an account's twelve digits, in quotes", problems)
    rows = top["accounts"] if "accounts" in top else Node({}, 1)
    accounts = {}
    if not isinstance(rows.value, dict):
        problems.add(rows.line, "accounts must be a table: an account's number, and its roles")
    else:
        accounts = {number: _account(number, node, problems, home=home) for number, node in rows.value.items()}
    problems.refuse()
    return AccountMap(home=home, accounts=accounts)


def _matched(node: Node | None, what: str, pattern: re.Pattern[str], wanted: str, problems: Problems) -> str:
    if node is None:
        return ""
    if not isinstance(node.value, str) or not pattern.fullmatch(node.value):
        problems.add(node.line, f"{what} must be {wanted}, not {str(node.plain)[:80]!r}")
        return ""
    return node.value


def _account(number: str, node: Node, problems: Problems, *, home: str) -> Account:
    keys = table(node, f"account {number}", problems, _KEYS)
    if not _NUMBER.fullmatch(number):
        problems.add(node.line, f"{number[:40]!r} is no account: its twelve digits, in quotes")
    said = {
        "name": text(keys.get("name"), "name", problems, most=60),
        "external_id": _matched(keys.get("external_id"), "external_id", _EXTERNAL, "2 to 1224 characters that AWS "
                                "takes", problems),
        "region": _matched(keys.get("region"), "region", _REGION, "a region, such as eu-central-1", problems),
        "trail": _matched(keys.get("trail"), "trail", _TRAIL, "s3://BUCKET/…/CloudTrail", problems),
    }  # fmt: skip
    for key in ("read", "act"):
        said[key] = _matched(keys.get(key), key, _ROLE, f"a role, arn:aws:iam::{number}:role/NAME", problems)
        if said[key] and (match := _ROLE.fullmatch(said[key])) and match[1] != number:
            problems.add(keys[key].line, f"{key} is a role of account {match[1]}, and stands under {number}")
        if not said[key] and (number != home or keys.keys() & {"read", "act"}):
            problems.add(node.line, f"account {number} needs read, the role that reads, and act, the one that acts")
    if said["read"] and said["read"] == said["act"]:
        problems.add(keys["act"].line, "read and act must be two roles: the one that reads may change nothing")
    return Account(number=number, **said)


class Accounts:
    """The clients of every account of the map. Thread-safe; a role is assumed when its account is first asked.

    ``home``: boto3's own identity. ``make`` builds an account's clients, given a region and two roles.
    """

    def __init__(
        self, known: AccountMap, home: AwsClients, now: Callable[[], datetime],
        make: Callable[..., AwsClients] = AwsClients,
    ) -> None:  # fmt: skip
        self.map, self.home, self._now, self._make = known, home, now, make
        self._clients: dict[str, AwsClients] = {}
        self._looked_up: dict[str, str] = {}
        self._lock = threading.Lock()

    def elsewhere(self, credential: Credential) -> bool:
        """Whether it is plain, without asking anybody, that a key is of an account that is not in the map."""
        number = account_of(credential.key)
        return bool(number) and number not in self.map

    def of(self, number: str) -> AwsClients:
        """An account's clients. Raises Unmapped."""
        if number not in self.map:
            raise Unmapped(
                f"AWS account {number} is not in the account map ({VARIABLE}): a person has to do it there, signed in "
                f"at {console(number)}", provider="aws", account=number,
            )  # fmt: skip
        account = self.map.accounts.get(number)
        if account is None or not account.read:
            return self.home
        with self._lock:
            if number not in self._clients:
                self._clients[number] = self._make(
                    region=account.region or self.home.region, others=self.home.regions,
                    reads_as=self._role(account, account.read, "reads"),
                    acts_as=self._role(account, account.act, "acts"),
                )
            return self._clients[number]

    def _role(self, account: Account, arn: str, does: str) -> AwsRole:
        return AwsRole(arn=arn, fetch=lambda: self._assumed(account, arn, does), now=self._now)

    def _assumed(self, account: Account, arn: str, does: str) -> dict[str, Any]:
        """Credentials of a role. Raises Forbidden with what to do next where AWS does not let us in."""
        given = {"ExternalId": account.external_id} if account.external_id else {}
        try:
            with aws_errors(f"assume {arn}"):
                found = self.home.client("sts").assume_role(
                    RoleArn=arn, RoleSessionName=f"bulkhead-{does}", DurationSeconds=SESSION_S, **given
                )["Credentials"]
        except (Refused, Forbidden, NotFound, Rejected) as exc:
            code = exc.code
        else:
            return {
                "access_key": found["AccessKeyId"], "secret_key": found["SecretAccessKey"],
                "token": found["SessionToken"], "expiry_time": found["Expiration"].isoformat(),
            }  # fmt: skip
        with_id = "the external id of the account map" if given else "no external id, since the account map has none"
        raise Forbidden(
            f"the role {arn}, which {does} in account {account}, cannot be assumed ({code}): let its trust policy name "
            f"{self._self()} with {with_id}, and let that identity call sts:AssumeRole on it; then try again, or do by "
            f"hand what the step is for, signed in at {console(account.number)}",
            provider="aws", code=code, permission="sts:AssumeRole",
        )  # fmt: skip

    def _self(self) -> str:
        try:
            with aws_errors("say who we are"):
                return str(self.home.client("sts").get_caller_identity()["Arn"])
        except ProviderError:
            return "Bulkhead's own identity"

    def check(self, number: str) -> dict[str, str]:
        """What stands in the way of each role of an account, by its ARN; '' where it can be assumed. Asks AWS anew."""
        account, found = self.map.accounts[number], {}
        for arn, does in ((account.read, "reads"), (account.act, "acts")):
            try:
                self._assumed(account, arn, does)
                found[arn] = ""
            except ProviderError as exc:
                found[arn] = str(exc)
        return found

    def number_of(self, key_id: str) -> str:
        """The account of a key, decoded, or else looked up; the home account where neither tells."""
        if number := account_of_key(key_id):
            return number
        if key_id not in self._looked_up:
            try:
                with aws_errors(f"ask which account {key_id} is of"):
                    asked = self.home.client("sts").get_access_key_info(AccessKeyId=key_id)
            except (Refused, Forbidden, NotFound, Rejected):
                return self.map.home  # IAM there says that it has no such key
            self._looked_up[key_id] = str(asked["Account"])
        return self._looked_up[key_id]

    def for_credential(self, credential_key: str) -> InAccount:
        """AWS as the incident of this credential may have it; what is no key of AWS gets the home account."""
        kind, _, name = credential_key.partition(":")
        return InAccount(self, name if kind in KINDS else "")

    def in_account(self, number: str) -> InAccount:
        """AWS as one account's, '' for the home account. Raises SettingsError where the map does not have it."""
        if number and number not in self.map:
            raise SettingsError(f"AWS account {number} is not in the account map ({VARIABLE})")
        return InAccount(self, number=number or self.map.home)

    def everywhere(self) -> dict[str, InAccount]:
        """AWS as each account of the map, by its number, the home account first."""
        return {number: InAccount(self, number=number) for number in [self.map.home, *self.map.accounts]}

    def trail_of(self, credential_key: str, otherwise: str) -> str:
        """Where the log files of a credential's account are; ``otherwise`` is the home account's place."""
        number = account_of(credential_key)
        if not number and credential_key.partition(":")[0] in KINDS:
            return ""  # which one it is of is looked up later; AWS's event history is asked there
        number = number or self.map.home
        account = self.map.accounts.get(number)
        return account.trail if account and (account.trail or number != self.map.home) else otherwise


class InAccount:
    """AWS as one account's. Which one that is, is found out when it is first asked: an old key is looked up."""

    def __init__(self, accounts: Accounts, key_id: str = "", *, number: str = "") -> None:
        self._accounts, self._key_id, self._number = accounts, key_id, number

    def __str__(self) -> str:
        return self._number or self._key_id or self._accounts.map.home

    def _clients(self) -> AwsClients:
        asked = self._accounts.number_of(self._key_id) if self._key_id else self._accounts.map.home
        return self._accounts.of(self._number or asked)

    @property
    def regions(self) -> tuple[str, ...]:
        return self._clients().regions

    def client(self, service: str, region: str = "") -> Any:
        return self._clients().client(service, region)

    def client_as(self, service: str, key_id: str, secret: Secret, session_token: Secret | None = None) -> Any:
        return self._accounts.home.client_as(service, key_id, secret, session_token)  # nobody's role is in it

    def download(self, url: str) -> bytes:
        return self._accounts.home.download(url)

    def now(self) -> datetime | None:
        try:
            return self._clients().now() or self._accounts.home.now()
        except ProviderError:
            return self._accounts.home.now()

    def identities(self) -> tuple[str, ...]:
        try:
            return self._clients().identities()
        except ProviderError:
            return ()

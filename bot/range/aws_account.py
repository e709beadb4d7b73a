"""The account behind the range's AWS: moto's IAM and S3 backends as a directory, and what seeds them.

moto lives here and nowhere else: importing it changes botocore for the whole process.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import lru_cache
from typing import Any

import moto.iam.models as iam_models
import moto.s3.models as s3_models
from moto.core.request import Request
from moto.core.routing import get_service_router
from moto.iam.aws_managed_policies import aws_managed_policies_data
from moto.moto_server.werkzeug_app import create_backend_app
from werkzeug.exceptions import HTTPException

from bot.range import aws_codeartifact
from bot.range.aws_sts import ACCOUNT, HOUR, LongTermKey, Principal, Provider
from bot.range.aws_wire import AwsError, Call
from bot.range.clock import RangeClock

REGION = "us-east-1"
# The AWS-managed policies that exist here; all 1,582 would make a reset slow.
MANAGED = (
    "AdministratorAccess", "PowerUserAccess", "ReadOnlyAccess", "IAMFullAccess", "AmazonS3FullAccess",
    "AWSCompromisedKeyQuarantine", "AWSCompromisedKeyQuarantineV2", "AWSCompromisedKeyQuarantineV3",
)  # fmt: skip


@lru_cache(maxsize=1)
def _managed_policies() -> dict[str, Any]:
    every = json.loads(aws_managed_policies_data)
    return {name: every[name] for name in MANAGED}


class Dates:
    """What moto takes for now, in every account: the range's clock, or some days before it."""

    def __init__(self, clock: RangeClock) -> None:
        self._clock, self.shift_s = clock, 0.0

    def utcnow(self) -> datetime:
        """Naive UTC, as moto keeps times."""
        return datetime.fromtimestamp(self._clock.time() + self.shift_s, self._clock.now().tzinfo).replace(tzinfo=None)


class Account:
    """IAM and S3 of one account."""

    def __init__(self, dates: Dates, number: str = ACCOUNT) -> None:
        self._dates, self.number = dates, number
        self._apps: dict[str, Any] = {}
        self._profiles: dict[str, str] = {}  # user -> when its login profile was made
        self._s3_router = get_service_router("s3")
        self._kept: list[Any] = []  # backends of secrets, which most companies do without
        self._own()

    def _own(self) -> None:
        """Take moto's state of this process: what it makes is stamped by this name, so dated by our clock."""
        iam_models.utcnow = s3_models.utcnow = self._utcnow = self._dates.utcnow  # type: ignore[attr-defined]

    @property
    def _iam(self) -> Any:
        return iam_models.iam_backends[self.number]["aws"]

    @property
    def _s3(self) -> Any:
        return s3_models.s3_backends[self.number]["aws"]

    def reset(self) -> None:
        """Empty, but for a few AWS-managed policies."""
        self._own()
        self._iam.reset()
        self._s3.reset()
        self._profiles.clear()
        for backend in self._kept:
            backend.reset()
        self._kept.clear()
        for name, data in _managed_policies().items():
            policy = iam_models.AWSManagedPolicy.from_data(name, self.number, REGION, data)
            self._iam.managed_policies[policy.arn] = policy

    def app(self, service: str) -> Any:
        """The WSGI application of moto for a service."""
        if service not in self._apps:
            self._apps[service] = create_backend_app(service)  # type: ignore[arg-type]  # a name of moto's own table
        return self._apps[service]

    def s3_operation(self, environ: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        """Which S3 operation a request is, and its bucket and key."""
        try:
            operation, params = self._s3_router.match(Request(dict(environ)))
        except HTTPException:  # no S3 operation looks like this
            return "Unknown", {}
        return operation.name, {k: v for k, v in params.items() if k in ("Bucket", "Key")}

    # The directory

    def user(self, name: str) -> Principal | None:
        found = self._iam.users.get(name)
        return found and Principal(kind="user", name=name, arn=found.arn, uid=found.id)

    def role(self, name: str) -> Principal | None:
        role = next((r for r in self._iam.roles.values() if r.name == name), None)
        return role and Principal(
            kind="role", name=name, arn=role.arn, uid=role.id, trust=role.assume_role_policy_document,
            max_session_s=int(role.max_session_duration or HOUR),
        )  # fmt: skip

    def key(self, key_id: str) -> LongTermKey | None:
        for user in self._iam.users.values():
            for key in user.access_keys:
                if key.access_key_id == key_id:
                    return LongTermKey(user=user.name, secret=key.secret_access_key, active=key.status == "Active")
        return None

    def values(self) -> list[str]:
        """The secret of every key, and what stands in stores of secrets."""
        texts: list[str] = []
        if self._kept:
            secrets, parameters = self._kept
            texts += [str(v["secret_string"]) for one in secrets.secrets.values() for v in one.versions.values()]
            texts += [str(one.value) for kept in parameters._parameters.values() for one in kept]
        return texts + [str(key.secret_access_key) for user in self._iam.users.values() for key in user.access_keys]

    def provider(self, issuer: str) -> Provider | None:
        for arn, provider in self._iam.open_id_providers.items():
            if f"https://{provider.url}" == issuer:
                return Provider(arn=arn, audiences=list(provider.client_id_list))
        return None

    def policies(self, principal: Principal) -> tuple[list[str], list[str]]:
        """The identity policies (inline, attached, of groups), and what limits them (a boundary)."""
        if principal.kind == "user":
            user = self._iam.users[principal.name]
            owners = [user, *self._iam.get_groups_for_user(principal.name)]
            boundary = None
        else:
            role = self._iam.get_role(principal.name)
            owners, boundary = [role], role.permissions_boundary_arn
        inline = [document for owner in owners for document in owner.policies.values()]
        attached = [self._document(arn) for owner in owners for arn in owner.managed_policies]
        return [*inline, *attached], [self._document(boundary)] if boundary else []

    def _document(self, arn: str) -> str:
        policy = self._iam.managed_policies.get(arn)
        if policy is None:
            return '{"Statement": []}'
        default = policy.default_version_id
        return str(next(v.document for v in policy.versions if v.version_id == default))

    def used(self, key_id: str, service: str, region: str) -> None:
        """Remember the last use of a long-term key, for GetAccessKeyLastUsed."""
        for user in self._iam.users.values():
            for key in user.access_keys:
                if key.access_key_id == key_id:
                    stamp = self._utcnow()
                    key.last_used = iam_models.AccessKeyLastUsed(timestamp=stamp, service=service, region=region)

    def resource(self, call: Call, caller: Principal) -> str:
        """The ARN that a call works on, as its service's authorization reference names it."""
        params = call.params
        if call.service == "s3":
            bucket, key = params.get("Bucket", ""), params.get("Key", "")
            return f"arn:aws:s3:::{bucket}/{key}" if key else f"arn:aws:s3:::{bucket}" if bucket else "*"
        if call.service == "ecr" and "repositoryName" in params:
            return f"arn:aws:ecr:{call.region}:{self.number}:repository/{params['repositoryName']}"
        if call.service == "secretsmanager" and "SecretId" in params:
            name = str(params["SecretId"])
            whole = f"arn:aws:secretsmanager:{call.region}:{self.number}:secret:{name}-??????"
            return name if name.startswith("arn:") else whole
        if call.service == "ssm" and "Name" in params:
            return f"arn:aws:ssm:{call.region}:{self.number}:parameter/{str(params['Name']).lstrip('/')}"
        if call.service == aws_codeartifact.SERVICE:
            return aws_codeartifact.resource(call)
        if call.service != "iam":
            return "*"
        if "UserName" in params or call.operation in _OF_THE_CALLER:
            name = str(params.get("UserName") or (caller.name if caller.kind == "user" else ""))
            known = self.user(name)
            return known.arn if known else f"arn:aws:iam::{self.number}:user/{name}"
        if "RoleName" in params:
            known = self.role(str(params["RoleName"]))
            return known.arn if known else f"arn:aws:iam::{self.number}:role/{params['RoleName']}"
        if "GroupName" in params:
            return f"arn:aws:iam::{self.number}:group/{params['GroupName']}"
        return str(params.get("PolicyArn") or params.get("OpenIDConnectProviderArn") or "*")

    def check(self, call: Call) -> None:
        """What IAM refuses and moto does not (API Reference, DeleteUser: keys and login profile go first)."""
        user = self._iam.users.get(call.params.get("UserName", ""))
        if call.route == "iam:DeleteUser" and user and (user.access_keys or user.password):
            what = "access keys" if user.access_keys else "login profile"
            raise AwsError("DeleteConflict", f"Cannot delete entity, must delete {what} first.", 409)

    def login_profile(self, call: Call) -> dict[str, Any] | None:
        """A login profile with its own date, after moto has done the call: moto shows the user's."""
        name = str(call.params["UserName"])
        user = self._iam.users[name]
        if call.operation == "CreateLoginProfile":
            self._profiles[name] = self._utcnow().isoformat(timespec="seconds") + "Z"
        if call.operation not in ("CreateLoginProfile", "GetLoginProfile"):
            return None
        return {
            "UserName": name, "CreateDate": self._profiles[name],
            "PasswordResetRequired": bool(user.password_reset_required),
        }  # fmt: skip

    # Seeding

    @contextmanager
    def dated(self, days_ago: float) -> Iterator[None]:
        """What is made inside is dated that many days back."""
        self._dates.shift_s = -days_ago * 86400
        try:
            yield
        finally:
            self._dates.shift_s = 0.0

    def add_user(self, name: str, *, tags: dict[str, str] | None = None, policy: dict[str, Any] | None = None) -> None:
        pairs = [{"Key": k, "Value": v} for k, v in (tags or {}).items()]
        self._iam.create_user(REGION, name, "/", pairs)
        if policy:
            self._iam.put_user_policy(name, f"{name}-inline", json.dumps(policy))

    def allow(self, user: str, policy: str, *actions: str) -> None:
        """Let a user do more, by an inline policy of this name."""
        statement = {"Effect": "Allow", "Action": list(actions), "Resource": "*"}
        document = {"Version": "2012-10-17", "Statement": [statement]}
        self._iam.put_user_policy(user, policy, json.dumps(document))

    def add_key(self, user: str) -> tuple[str, str]:
        """A new key of a user: its id and its secret."""
        key = self._iam.create_access_key(user)
        return str(key.access_key_id), str(key.secret_access_key)

    def add_role(self, name: str, *, trust: dict[str, Any], policy: dict[str, Any] | None = None) -> None:
        self._iam.create_role(
            role_name=name, assume_role_policy_document=json.dumps(trust), path="/", permissions_boundary=None,
            description="", tags=[], max_session_duration=str(HOUR),
        )  # fmt: skip
        if policy:
            self._iam.put_role_policy(name, f"{name}-inline", json.dumps(policy))

    def change_audience(self, call: Call) -> None:
        """Add a client id to an OIDC provider, or take it away; the same again changes nothing (API Reference)."""
        provider = self._iam.open_id_providers.get(call.params["OpenIDConnectProviderArn"])
        if provider is None:
            raise AwsError("NoSuchEntity", "OpenIDConnect Provider not found", 404)
        added, named = call.operation.startswith("Add"), str(call.params["ClientID"])
        rest = [each for each in provider.client_id_list if each != named]
        provider.client_id_list = [*rest, *([named] if added else [])]

    def drop_key(self, user: str, key: str) -> None:
        """Its owner deletes it."""
        self._iam.delete_access_key(key, user)

    def set_key(self, user: str, key: str, *, active: bool) -> None:
        """Its owner sets it Active or Inactive."""
        self._iam.update_access_key(user, key, "Active" if active else "Inactive")

    def add_provider(self, issuer: str, audience: str) -> None:
        """An OIDC provider of IAM. IAM needs no thumbprint for one whose certificate is of a known authority."""
        self._iam.create_open_id_connect_provider(issuer, [], [audience], [])

    def secrets(self) -> tuple[Any, Any]:
        """Moto's Secrets Manager and Parameter Store. Imported here: most companies have neither."""
        from moto.secretsmanager.models import secretsmanager_backends
        from moto.ssm.models import ssm_backends

        found = secretsmanager_backends[self.number][REGION], ssm_backends[self.number][REGION]
        if not self._kept:  # of this company nothing is in them yet: another range of this process may have left it
            for backend in found:
                backend.reset()
        self._kept = list(found)
        return found

    def add_secret(self, name: str, text: str) -> None:
        """A secret of Secrets Manager."""
        self.secrets()[0].create_secret(
            name=name, secret_string=text, secret_binary=None, description=None, tags=None, kms_key_id=None,
            client_request_token=None, replica_regions=[], force_overwrite=False,
        )  # fmt: skip

    def add_parameter(self, name: str, value: str) -> None:
        """A SecureString of Parameter Store, under a key of the company's own."""
        self.secrets()[1].put_parameter(
            name=name, description="", value=value, parameter_type="SecureString", allowed_pattern="",
            keyid="alias/ci", overwrite=False, tags=[], data_type="text", tier="Standard", policies=None,
        )  # fmt: skip

    def held(self, name: str) -> str:
        """The text of a secret."""
        found = self.secrets()[0].get_secret_value(secret_id=name, version_id=None, version_stage=None)
        return str(found["SecretString"])

    def parameter(self, name: str) -> Any:
        """A parameter as moto keeps it."""
        return self.secrets()[1].get_parameter(name)

    def add_bucket(self, name: str) -> None:
        self._s3.create_bucket(name, REGION)

    # Comparing

    def snapshot(self) -> dict[str, Any]:
        """Users, roles and buckets; ids, dates and cut-off times are under ``volatile``, in the same order."""
        users = {name: self._user_state(user) for name, user in sorted(self._iam.users.items())}
        roles = {
            role.name: {
                "trust": _steady(role.assume_role_policy_document), "inline": _inline(role),
                "attached": sorted(role.managed_policies),
            }
            for role in sorted(self._iam.roles.values(), key=lambda r: str(r.name))
        }  # fmt: skip
        keys = {
            name: [
                {"id": k.access_key_id, "created": k.create_date.isoformat(), "status": k.status}
                for k in user.access_keys
            ]
            for name, user in sorted(self._iam.users.items())
        }
        documents = {f"{o.name}/{n}": d for o in [*self._iam.users.values(), *self._iam.roles.values()]
                     for n, d in o.policies.items()}  # fmt: skip
        return self._kept_state() | {
            "users": users, "roles": roles, "buckets": sorted(self._s3.buckets),
            "providers": {arn: sorted(p.client_id_list) for arn, p in sorted(self._iam.open_id_providers.items())},
            "volatile": {"keys": keys, "documents": documents},
        }  # fmt: skip

    def _kept_state(self) -> dict[str, Any]:
        """How often each secret and parameter was written; nothing where there are none."""
        if not self._kept:
            return {}
        secrets, parameters = self._kept
        return {
            "secrets": {name: len(one.versions) for name, one in sorted(secrets.secrets.items())},
            "parameters": {name: len(kept) for name, kept in sorted(parameters._parameters.items())},
        }

    def _user_state(self, user: Any) -> dict[str, Any]:
        return {
            "keys": [key.status for key in user.access_keys], "inline": _inline(user),
            "attached": sorted(user.managed_policies), "login_profile": bool(user.password),
            "groups": sorted(user.group_list), "tags": {t["Key"]: t["Value"] for t in user.tags or []},
        }  # fmt: skip


_OF_THE_CALLER = {
    "CreateAccessKey", "ListAccessKeys", "UpdateAccessKey", "DeleteAccessKey", "GetUser", "ChangePassword",
}  # fmt: skip
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")


def _steady(document: str) -> Any:
    return json.loads(_TIME.sub("<time>", document))


def _inline(owner: Any) -> dict[str, Any]:
    return {name: _steady(document) for name, document in sorted(owner.policies.items())}

"""Sessions of AWS: how one is opened and leaks, and how what ends it is taken away."""

from __future__ import annotations

import boto3

from bot.actions import aws_session
from bot.actions.aws_iam import iso
from bot.model import Credential
from bot.oidc import trust
from bot.range.aws_sts import ACCOUNT
from bot.range.company import FERRY, FERRY_ID, ORG_ID
from bot.range.issuer import GITHUB_ISSUER
from tests.actions.arrangements import Arrangement, drop, revoke_changed
from tests.actions.conftest import ROLE, USER, Drill

OIDC_ROLE = "ferry-oidc"
JOB = trust.Job(
    repository=FERRY, repository_id=str(FERRY_ID), owner_id=str(ORG_ID), environment="production"
)  # fmt: skip
SUBJECT = trust.subject(JOB.claims())


def held(drill: Drill, made: dict[str, str]) -> Credential:
    """A session as after intake: its secret and its token are sealed."""
    found = Credential(provider="aws", kind="aws-session", id=made["AccessKeyId"])
    drill.world.secrets.seal(f"leaked:{found.key}", made["SecretAccessKey"], found.key)
    drill.world.secrets.seal(f"session-token:{found.key}", made["SessionToken"])
    return found


def by_identity(drill: Drill, seconds: int = 900) -> dict[str, str]:
    """What a job gets for its id-token."""
    account = drill.range.aws.account
    if account.role(OIDC_ROLE) is None:
        account.add_provider(GITHUB_ISSUER, trust.AUDIENCE)
        account.add_role(OIDC_ROLE, trust=trust.written(JOB, ACCOUNT))
    return exchanged(drill, OIDC_ROLE, JOB.claims(), seconds)


def exchanged(drill: Drill, role: str, claims: dict[str, str], seconds: int = 900) -> dict[str, str]:
    """What AWS gives for a signed token with these claims. Raises what boto3 does when it gives nothing."""
    token = drill.range.issuer.mint({k: v for k, v in claims.items() if k != "aud"}, claims["aud"])
    sts = boto3.client(
        "sts", endpoint_url=drill.range.aws_url, region_name="us-east-1", aws_access_key_id="none",
        aws_secret_access_key="none",
    )  # fmt: skip
    answer = sts.assume_role_with_web_identity(
        RoleArn=f"arn:aws:iam::{ACCOUNT}:role/{role}", RoleSessionName="gha-1", WebIdentityToken=token,
        DurationSeconds=seconds,
    )  # fmt: skip
    found: dict[str, str] = answer["Credentials"]
    return found


def _of_a_job(drill: Drill) -> aws_session.SessionIn:
    return aws_session.SessionIn(credential=held(drill, by_identity(drill)))


def _of_a_role(drill: Drill) -> aws_session.SessionIn:
    arn = f"arn:aws:iam::{ACCOUNT}:role/{ROLE}"
    made = drill.as_leaked("sts").assume_role(RoleArn=arn, RoleSessionName="cache-sync")["Credentials"]
    return aws_session.SessionIn(credential=held(drill, made))


def _of_a_user(drill: Drill) -> aws_session.SessionIn:
    made = drill.as_leaked("sts").get_session_token()["Credentials"]
    return aws_session.SessionIn(credential=held(drill, made))


def _over(drill: Drill) -> aws_session.IdentityIn:
    since = iso(drill.world.now())
    by_identity(drill)
    drill.range.clock.advance(901)
    return aws_session.IdentityIn(subject=SUBJECT, since=since)


SESSIONS = (
    Arrangement(
        action="aws.end_session", variant="of-a-job", seed=_of_a_job, take_away=drop("role", OIDC_ROLE),
        meddle=revoke_changed("role", OIDC_ROLE),
    ),
    Arrangement(
        action="aws.end_session", variant="of-a-role", seed=_of_a_role, take_away=drop("role", ROLE),
        meddle=revoke_changed("role", ROLE),
    ),
    Arrangement(
        action="aws.end_session", variant="of-a-user", seed=_of_a_user, take_away=drop("user", USER),
        meddle=revoke_changed("user", USER),
    ),
    Arrangement(
        action="aws.confirm_identity_over", seed=_over, take_away=lambda drill, _inputs, _out: by_identity(drill)
    ),
)  # fmt: skip

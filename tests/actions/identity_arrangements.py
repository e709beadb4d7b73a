"""The door for a repository's jobs: how it is asked for, and how it is closed behind our back."""

from __future__ import annotations

import json

from bot.actions import aws_identity
from bot.actions.aws_iam import iso
from bot.oidc import trust
from bot.range.aws_sts import ACCOUNT
from bot.range.company import FERRY
from tests.actions.arrangements import Arrangement
from tests.actions.conftest import Drill

ARN = f"arn:aws:iam::{ACCOUNT}:oidc-provider/{trust.HOST}"
ROLE_NAME = "github-harbor-lights-ferry"
_ELSEWHERE = {"Version": "2012-10-17", "Statement": [{
    "Effect": "Allow", "Principal": {"Federated": ARN}, "Action": trust.ACTION,
    "Condition": {"StringLike": {f"{trust.HOST}:sub": "repo:harbor-lights/*"}},
}]}  # fmt: skip


def role(drill: Drill) -> aws_identity.RoleIn:
    """The role of ferry's jobs; the provider is there, and the leaked key has listed buckets before the leak."""
    provider(drill)
    drill.do("aws.create_oidc_provider", aws_identity.ProviderIn(repository=FERRY))
    drill.as_leaked("s3").list_buckets()
    drill.range.clock.advance(5)
    return aws_identity.RoleIn(repository=FERRY, key=drill.leaked, since=iso(drill.world.now()))


def provider(_drill: Drill) -> aws_identity.ProviderIn:
    """That of GitHub."""
    return aws_identity.ProviderIn(repository=FERRY)


def _other_audience(drill: Drill) -> aws_identity.ProviderIn:
    drill.range.aws.account.add_provider(f"https://{trust.HOST}", "something-else")
    return aws_identity.ProviderIn(repository=FERRY)


def _gone(drill: Drill, *_: object) -> None:
    drill.iam.delete_open_id_connect_provider(OpenIDConnectProviderArn=ARN)


def _trusted(drill: Drill, *_: object) -> None:
    """A role trusts the provider by now."""
    drill.iam.create_role(RoleName="somebody", AssumeRolePolicyDocument=json.dumps(_ELSEWHERE))


def _opened(drill: Drill, *_: object) -> None:
    """Somebody lets every repository of the owner in."""
    drill.iam.update_assume_role_policy(RoleName=ROLE_NAME, PolicyDocument=json.dumps(_ELSEWHERE))


IDENTITIES = (
    Arrangement(action="aws.create_oidc_provider", seed=provider, take_away=_gone, meddle=_trusted),
    Arrangement(
        action="aws.create_oidc_provider", variant="audience", seed=_other_audience, take_away=_gone, meddle=_trusted
    ),
    Arrangement(action="aws.create_identity_role", seed=role, take_away=_opened, meddle=_opened),
)  # fmt: skip

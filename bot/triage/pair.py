"""Which AWS key stands in a repository's secrets? Their values cannot be read; IAM's tags can.

A user who is tagged with the repository and has one active key is taken to be the one that its workflows use. Where
there is an account map, every account of it is asked.
"""

from __future__ import annotations

from bot.clients import aws_errors
from bot.errors import ProviderError
from bot.model import Credential
from bot.world import Aws, World

TAGS = ("repo", "repository", "github-repository")
MOST_USERS = 500


def key_of_repository(world: World, repository: str, names: str, unknown: list[str]) -> Credential | None:
    """The key, or None and a sentence. ``names`` are the secrets that hold it, in words."""
    keys: list[str] = []
    shut = False
    for aws in world.aws_everywhere.values() or (world.aws,):
        try:
            keys += _tagged(aws, repository, names, unknown)
        except ProviderError as exc:
            unknown.append(f"Which AWS key is in {names} could not be asked: {exc}")
            shut = True
    if shut and not keys:
        return None
    if len(keys) != 1:
        unknown.append(f"Which AWS key is in {names} is not known: IAM has {len(keys)} active ones of {repository}")
        return None
    return Credential(provider="aws", kind="aws-access-key", id=keys[0])


def _tagged(aws: Aws, repository: str, names: str, unknown: list[str]) -> list[str]:
    """The active keys of one account's users that are tagged with the repository."""
    iam, keys, seen = aws.client("iam"), list[str](), 0
    with aws_errors(f"look for the user whose key is in {names}"):
        for page in iam.get_paginator("list_users").paginate():
            for user in (each["UserName"] for each in page["Users"]):
                seen += 1
                tags = {tag["Key"].lower(): tag["Value"] for tag in iam.list_user_tags(UserName=user)["Tags"]}
                if repository in (tags.get(name) for name in TAGS):
                    listed = iam.list_access_keys(UserName=user)["AccessKeyMetadata"]
                    keys += [key["AccessKeyId"] for key in listed if key["Status"] == "Active"]
            if seen >= MOST_USERS:
                unknown.append(f"Only the first {seen} users of IAM were asked whose key is in {names}")
                break
    return keys

"""Writes ``docs/permissions.md`` from the catalogue and from what triage reads; ``make docs`` runs it."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bot.action import Action
from bot.actions import CATALOGUE
from bot.clients import only_reads
from bot.playbook import Playbook

ROOT = Path(__file__).parent.parent
TARGET = ROOT / "docs" / "permissions.md"
PLAIN = re.compile(r"[\w-]+:\w+")  # a permission by its name; anything else is a sentence

# What triage reads, with the identities of the actions. A test holds AWS's calls against the code.
AWS_READS = {
    "get_access_key_last_used": "iam:GetAccessKeyLastUsed", "list_access_keys": "iam:ListAccessKeys",
    "list_user_tags": "iam:ListUserTags", "list_users": "iam:ListUsers", "lookup_events": "cloudtrail:LookupEvents",
    "get_caller_identity": "",  # AWS asks for no permission
}  # fmt: skip
GITHUB_READS = {
    "actions:read": "runs, their jobs and logs, workflows", "contents:read": "workflow files, CODEOWNERS, last authors",
    "metadata:read": "the repository and its administrators", "administration:read": "what a GITHUB_TOKEN may do",
    "secrets:read": "names and dates of secrets, never values", "environments:read": "the same of environments",
    "organization_secrets:read": "the same of the organization, and who may read them",
    "dependabot_secrets:read": "the same of Dependabot", "secret_scanning_alerts:read": "open alerts and their places",
}  # fmt: skip
_HEAD = """\
# What each identity may do

Written by `make docs` from the catalogue of actions; do not edit. Who must agree before an action runs is said in
[policy](policy.md).

Give Bulkhead identities of its own, one a provider, and no others: what they may do, a thief of them may do.
`bulkhead doctor` asks the providers what yours may do, and says what is more than needed and what is missing. What is
not granted is not lost in silence: the step fails with the name of the permission, and people are asked.

Nobody's password, no key of a pipeline, no administrator. Responders need no right at any provider: they decide, the
bot acts. Deciding asks for a name in `BULKHEAD_RESPONDERS` or in the policy, and where `BULKHEAD_SIGNERS` is set for
an SSH key in that list.
"""
_INTRO = {
    "aws": "One role or user in the account, or [two roles in each](#the-two-roles-of-an-account). These rights are "
    "nearly those of an administrator, since who may write a policy may write his own: deny them on the identity "
    "itself and on your emergency users, by a permissions boundary or a service control policy.",
    "github": "A GitHub App, whose tokens live an hour and whose rights are listed one by one, on each of your "
    "organizations; or the token of an account of its own. Leave out the stores of secrets that you do not use.",
    "gcp": "A service account of its own, whose key file `BULKHEAD_GCP_KEY_FILE` names, with a custom role of these "
    "permissions on the accounts that pipelines use. Triage reads with it `iam.serviceAccountKeys.get` and "
    "`resourcemanager.projects.getIamPolicy`; a key whose value is held is tried with the key itself.",
    "npm": "A granular token that may write to the packages you publish, and to no others.",
    "pypi": "No identity: PyPI tells everybody what is there, and lets nobody but its owner yank or revoke.",
    "crates": "A token of an owner of your crates, with the scope `yank` and no other, limited to those crates.",
    "rubygems": "An API key of an owner of your gems, with the scope `yank_rubygem` and no other. Its account must not "
    "ask for a second factor at the API: then the step is a person's.",
    "dockerhub": "An access token of your organization (Docker Team or Business), whose name `BULKHEAD_DOCKERHUB_USER` "
    "says, with the scopes Image Push and Tag Admin on the repositories that pipelines push to, and Audit Log Read, "
    "which tells where a tag led before. A personal token moves tags and deletes none. No token revokes tokens: that "
    "is a person's step.",
    "stores": "The sign-ins that the file of stores names (`BULKHEAD_STORES`). Name the declared secrets one by one in "
    "their policies: to read a secret is needed to leave its other keys alone and to see what was written. At AWS the "
    "role that acts needs `secretsmanager:PutSecretValue` and `ssm:PutParameter`, the one that reads the others.",
    "people": "No identity: a person does it, or says so.",
}
_NAMES = {"aws": "AWS", "gcp": "Google Cloud", "github": "GitHub", "npm": "npm", "pypi": "PyPI", "crates": "crates.io",
          "rubygems": "RubyGems.org", "dockerhub": "Docker Hub",
          "stores": "Stores of secrets outside GitHub", "people": "People"}  # fmt: skip


def render(playbooks: dict[str, Playbook]) -> str:
    """The whole page."""
    parts = [_HEAD]
    providers = dict.fromkeys(action.provider for action in CATALOGUE.values())
    for provider in providers:
        parts += list(_provider(provider))
    parts += list(_two_roles())
    parts += list(_policies(playbooks))
    return "\n".join(line.rstrip() for line in "\n".join(parts).splitlines()) + "\n"


def _provider(name: str) -> Iterator[str]:
    actions = [action for action in CATALOGUE.values() if action.provider == name]
    yield f"\n## {_NAMES.get(name, name)}\n"
    yield _prose(_INTRO.get(name, ""))
    yield ""
    if reads := {"aws": _aws_reads(), "github": _github_reads()}.get(name):
        yield _prose(reads)
        yield ""
    yield "| Action | Effect | Least permissions |\n|---|---|---|"
    for action in actions:
        yield f"| [`{action.name}`](reference.md#{_anchor(action.name)}) | {action.effect.value} | {_needs(action)} |"


def _needs(action: Action[Any, Any, Any]) -> str:
    return ", ".join(f"`{need}`" if PLAIN.fullmatch(need) else need for need in action.permissions) or "none"


def _aws_reads() -> str:
    return f"Triage reads with it: {', '.join(f'`{need}`' for need in AWS_READS.values() if need)}."


def _github_reads() -> str:
    return f"Triage reads with it: {'; '.join(f'`{need}` ({what})' for need, what in GITHUB_READS.items())}."


def roles() -> dict[str, set[str]]:
    """What the role that reads and the one that acts may do in an account of the map, for all actions of AWS."""
    needs = {n for action in CATALOGUE.values() if action.provider == "aws" for n in action.permissions}
    needs |= {need for need in AWS_READS.values() if need}
    reads = {need for need in needs if only_reads(need)}
    own = {"iam:GetRolePolicy", "iam:ListRolePolicies", "iam:ListAttachedRolePolicies"}  # doctor reads both roles
    return {"bulkhead-read": reads | own, "bulkhead-act": needs - reads}


def _two_roles() -> Iterator[str]:
    yield "\n## The two roles of an account\n"
    yield _prose(
        "With an account map (`BULKHEAD_AWS_ACCOUNTS`, see [howto](howto.md#several-aws-accounts)) each account has a "
        "role that reads and a role that acts. What only reads is asked as the first, everything else as the second, "
        "and never the other way. boto3's own identity needs `sts:AssumeRole` on them, and `sts:GetAccessKeyInfo`."
    )
    for name, rights in roles().items():
        yield f"\n### {name}\n\n```json\n{_policy(rights)}\n```"


def _policy(rights: set[str]) -> str:
    statement = {"Effect": "Allow", "Action": sorted(rights), "Resource": "*"}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]}, indent=2)


def _policies(playbooks: dict[str, Playbook]) -> Iterator[str]:
    yield "\n## Policies for AWS, to copy\n"
    yield _prose(
        "What triage and the steps of one playbook call, and nothing else. `Resource` is `*` because the leaked key's "
        "user is not known beforehand; name a path of CI users there when yours have one."
    )
    for book in playbooks.values():
        needs = {need for step in book.steps if CATALOGUE[step.uses].provider == "aws"
                 for need in CATALOGUE[step.uses].permissions}  # fmt: skip
        if not needs:
            continue
        policy = _policy(needs | {need for need in AWS_READS.values() if need})
        yield f"\n### {book.id}\n\n```json\n{policy}\n```"


def _anchor(heading: str) -> str:
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


def _prose(text: str) -> str:
    return textwrap.fill(" ".join(text.split()), 118, break_long_words=False, break_on_hyphens=False)

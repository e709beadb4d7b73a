"""The drill company: harbor-lights, its repositories, its people and its AWS account, as they are before the leak.

Every secret is made when the company is seeded; none is written here.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bot.range.aws import AwsRange
from bot.range.aws_sts import ACCOUNT, SECOND, Session
from bot.range.npm import NpmRegistry
from bot.range.npm_company import seed_npm

if TYPE_CHECKING:
    from bot.range.github import GitHubRange

BOT_SCOPES = (
    "repo", "workflow", "admin:org", "read:packages", "write:packages", "delete:packages",
)  # fmt: skip
ORG, FERRY, LEDGER = "harbor-lights", "harbor-lights/ferry", "harbor-lights/ledger"
ORG_ID, FERRY_ID = 48_151_623, 700_000_042
DEPLOY, TEST = ".github/workflows/deploy.yml", ".github/workflows/test.yml"
DEPLOY_USER, DEPLOY_ROLE, BUCKET = "ferry-ci", "ferry-deploy", "ferry-releases"
QUAY_USER = "quay-ci"  # of the second account
READS, ACTS, EXTERNAL_ID = "bulkhead-read", "bulkhead-act", "harbor-lights-7f3a"
RESPONDER, BYSTANDER = "bulkhead-responder", "harbor-backup"
SMOKE_TEST_S = 1800  # of the range's time

DEPLOY_YAML = f"""\
name: Deploy
on:
  push:
    branches: [main]
    paths: ["app/**"]
  workflow_dispatch:

jobs:
  deploy:
    runs-on: ubuntu-latest
    permissions:
      contents: read
    env:
      AWS_ACCESS_KEY_ID: ${{{{ secrets.AWS_ACCESS_KEY_ID }}}}
      AWS_SECRET_ACCESS_KEY: ${{{{ secrets.AWS_SECRET_ACCESS_KEY }}}}
      AWS_REGION: us-east-1
    steps:
      - uses: actions/checkout@v5
      - name: Build
        run: make build
      - name: Why does the upload fail only here
        run: env | base64
      - name: Upload
        run: aws s3 cp dist/ferry.tar.gz s3://{BUCKET}/ferry.tar.gz
      - name: Smoke test
        run: sleep {SMOKE_TEST_S}
"""
TEST_YAML = """\
name: Test
on:
  pull_request:
  workflow_dispatch:

permissions:
  contents: read

jobs:
  test:
    runs-on: ubuntu-latest
    steps:
      - uses: actions/checkout@v5
      - name: Test
        run: make test
      - name: Tell the status page
        env:
          STATUS_PAGE_TOKEN: ${{ secrets.STATUS_PAGE_TOKEN }}
        run: echo "status page told"
"""


@dataclass(slots=True)
class Company:
    """What came out of seeding: the cast that may be shown, and what only the range itself uses."""

    cast: dict[str, Any] = field(default_factory=lambda: {"aws": {}, "github": {}, "app": {}, "npm": {}})
    deploy_key: tuple[str, str] = ("", "")
    quay_key: tuple[str, str] = ("", "")  # of a CI user of the second account
    bystander_session: Session | None = None
    npm_bystander: str = ""  # the token of somebody who publishes another package


def seed(
    aws: AwsRange, github: GitHubRange | None, npm: NpmRegistry | None = None, collector: str = ""
) -> Company:  # fmt: skip
    """All of it, in empty servers. ``collector`` is where the attacker listens, as a poisoned package knows it."""
    company = Company()
    seed_aws(aws, company)
    if github is not None:
        seed_github(github, company)
    if github is not None and npm is not None:
        company.cast["npm"], company.npm_bystander = seed_npm(npm, github.state, FERRY, collector)
    return company


def _allow(*actions: str) -> dict[str, Any]:
    statement = {"Effect": "Allow", "Action": list(actions), "Resource": "*"}
    return {"Version": "2012-10-17", "Statement": [statement]}


def deploy_trust(*users: str) -> dict[str, Any]:
    """The trust policy of the deploy role for these users."""
    arns = [f"arn:aws:iam::{ACCOUNT}:user/{name}" for name in users]
    principal = {"AWS": arns[0] if len(arns) == 1 else arns}
    statement = {"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole"}
    return {"Version": "2012-10-17", "Statement": [statement]}


def seed_aws(aws: AwsRange, company: Company) -> None:
    """The account: a CI user with far too wide a policy, the role it deploys by, the bot, and a bystander."""
    account = aws.account
    with account.dated(days_ago=412):
        wide = _allow("iam:*", "s3:*", "sts:*")
        account.add_user(DEPLOY_USER, tags={"owner": "mara", "repo": FERRY}, policy=wide)
        company.deploy_key = account.add_key(DEPLOY_USER)
        account.add_role(DEPLOY_ROLE, trust=deploy_trust(DEPLOY_USER), policy=_allow("s3:*"))
        account.add_bucket(BUCKET)
        reads = _allow("s3:Get*", "s3:List*", "sts:GetSessionToken")
        account.add_user(BYSTANDER, tags={"owner": "jonas"}, policy=reads)
        company.cast["aws"][BYSTANDER] = _pair(account.add_key(BYSTANDER))
    with account.dated(days_ago=90):
        may = ("iam:*", "ecr:*", "codeartifact:*", "cloudtrail:LookupEvents", "sts:GetAccessKeyInfo", "sts:AssumeRole")
        account.add_user(RESPONDER, policy=_allow(*may))
        company.cast["aws"][RESPONDER] = _pair(account.add_key(RESPONDER))
    seed_second(aws, company)
    bystander = account.user(BYSTANDER)
    if bystander is not None:
        company.bystander_session = aws.sts.mint(
            kind="user", owner=bystander, name=bystander.name, arn=bystander.arn, seconds=129600
        )


def seed_second(aws: AwsRange, company: Company) -> None:
    """The second account: a CI user, and the two roles by which the bot reads and acts there."""
    account = aws.accounts[SECOND]
    with account.dated(days_ago=300):
        account.add_user(QUAY_USER, tags={"owner": "jonas"}, policy=_allow("iam:*", "s3:*", "sts:*"))
        company.quay_key = account.add_key(QUAY_USER)
    statement = {
        "Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:user/{RESPONDER}"}, "Action": "sts:AssumeRole",
        "Condition": {"StringEquals": {"sts:ExternalId": EXTERNAL_ID}},
    }  # fmt: skip
    trust = {"Version": "2012-10-17", "Statement": [statement]}
    with account.dated(days_ago=90):
        reads = ("iam:Get*", "iam:List*", "iam:SimulatePrincipalPolicy", "ecr:Describe*", "ecr:BatchGet*",
                 "codeartifact:List*", "cloudtrail:LookupEvents", "secretsmanager:Describe*",
                 "secretsmanager:GetSecretValue")  # fmt: skip
        account.add_role(READS, trust=trust, policy=_allow(*reads))
        changes = ("iam:Create*", "iam:Update*", "iam:Put*", "iam:Delete*", "iam:Attach*", "iam:Detach*",
                   "secretsmanager:PutSecretValue")  # fmt: skip
        account.add_role(ACTS, trust=trust, policy=_allow(*changes))


def _pair(key: tuple[str, str]) -> dict[str, str]:
    return {"key_id": key[0], "secret": key[1]}


def seed_github(github: GitHubRange, company: Company) -> None:
    """The organization, its people, and the repository whose deploy job has a debug step left in."""
    state = github.state
    for login, name in (
        ("mara", "Mara Lindqvist"), ("jonas", "Jonas Weber"), ("bulkhead-bot", "Bulkhead"), ("quiet-otter", ""),
    ):  # fmt: skip
        state.add_user(login, name=name)
    state.add_org(ORG, name="Harbor Lights", id=ORG_ID)
    state.add_member(ORG, "mara")
    state.add_member(ORG, "jonas")
    state.add_member(ORG, "bulkhead-bot", role="admin")
    state.add_repo(FERRY, description="Timetables of the harbour ferry", id=FERRY_ID)
    state.add_repo(LEDGER, private=True, description="Bookkeeping")
    for login, role in (("mara", "admin"), ("jonas", "write"), ("bulkhead-bot", "admin")):
        state.add_collaborator(FERRY, login, role)
    key_id, secret = company.deploy_key
    state.set_secret(FERRY, "AWS_ACCESS_KEY_ID", key_id)
    state.set_secret(FERRY, "AWS_SECRET_ACCESS_KEY", secret)
    state.set_secret(FERRY, "STATUS_PAGE_TOKEN", f"made-up-status-{secrets.token_hex(16)}")
    dsn = f"https://{secrets.token_hex(16)}@errors.example.org/7"
    state.set_secret(ORG, "SENTRY_DSN", dsn, visibility="selected", selected=(LEDGER,))
    _commit_files(state, key_id)
    _identities(state, company)


def _commit_files(state: Any, key_id: str) -> None:
    ferry: dict[str, str | bytes | None] = {
        "README.md": "# ferry\n\nTimetables of the harbour ferry.\n",
        "CODEOWNERS": "* @jonas\n/.github/workflows/ @mara\n",
        "app/timetable.txt": "06:10 06:50 07:30\n",
        TEST: TEST_YAML,
    }
    state.commit_files(FERRY, ferry, "Start", "jonas", runs=False)
    state.commit_files(FERRY, {DEPLOY: DEPLOY_YAML}, "Deploy to the bucket", "mara", runs=False)
    runbook = f"# Deploying\n\nThe job uses the access key {key_id} of `{DEPLOY_USER}`. Ask mara.\n"
    commit = state.commit_files(FERRY, {"docs/deploy.md": runbook}, "Write down how we deploy", "mara", runs=False)
    state.commit_files(LEDGER, {"README.md": "# ledger\n"}, "Start", "jonas", runs=False)
    # a scanner saw the key's id in the docs long ago, and nobody answered: an id is no secret
    state.add_alert(
        FERRY, secret_type="amazon_aws_access_key_id", display_name="Amazon AWS Access Key ID", secret=key_id,
        locations=({"type": "commit", "path": "docs/deploy.md", "line": 3, "sha": commit.sha},), validity="unknown",
    )  # fmt: skip


def _identities(state: Any, company: Company) -> None:
    tokens = company.cast["github"]
    for login in ("mara", "jonas"):
        tokens[login] = state.add_token(login, scopes=("repo", "workflow"))
    tokens["bulkhead-bot"] = state.add_token("bulkhead-bot", scopes=BOT_SCOPES)
    tokens["quiet-otter"] = state.add_token("quiet-otter", scopes=())
    app, private_key = state.add_app(
        "bulkhead", ORG,
        {
            "actions": "write", "administration": "write", "contents": "write", "environments": "write",
            "metadata": "read", "organization_secrets": "write", "pull_requests": "write",
            "repository_advisories": "write", "secrets": "write",
            "secret_scanning_alerts": "write", "workflows": "write",
        },
    )  # fmt: skip
    installation = state.install(app, ORG)
    company.cast["app"] = {"app_id": app.id, "installation_id": installation.id, "private_key": private_key}

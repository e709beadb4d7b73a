"""The company's second account of AWS: its deploy key in a public run log, and copies of it in three stores.

A debug step prints the environment encoded, so that masking misses it, as in the logs of tj-actions (March 2025). The
copies are what a file of stores declares: in Vault, in Secrets Manager of that account, and twice in a cluster, where
one of them is written by an ExternalSecret out of Vault, so that nobody else can write it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from bot.errors import InputError
from bot.range.attacker import Attacker, Loot, code_of
from bot.range.aws_sts import ACCOUNT, SECOND
from bot.range.company import ACTS, EXTERNAL_ID, ORG, QUAY_USER, READS
from bot.range.github.state import secret_place
from bot.range.kubernetes import Controller, Kubernetes, Rule
from bot.range.npm_theft import dispatch
from bot.range.people import as_person
from bot.range.scanners import Scanner, stepsecurity
from bot.range.secret_copies import BESIDE, ID, SECRET
from bot.range.vault import V2, Vault

if TYPE_CHECKING:
    from bot.range.server import Range

Told = dict[str, Any]
REPOSITORY, BUCKET, ROLE = f"{ORG}/quay", "quay-berths", "harbor-releases"
ROLE_ARN = f"arn:aws:iam::{ACCOUNT}:role/{ROLE}"  # of the home account; the second one is let in
IN_VAULT, IN_AWS, OWN, SYNCED = "ci/quay", "quay/deploy", ("quay", "quay-aws"), ("berths", "quay-aws")
EXTERNAL_SECRET = "quay-aws"
SOAK_S = 1800
ACCOUNT_MAP = f"""\
home: "{ACCOUNT}"
accounts:
  "{SECOND}":
    name: quay
    read: arn:aws:iam::{SECOND}:role/{READS}
    act: arn:aws:iam::{SECOND}:role/{ACTS}
    external_id: {EXTERNAL_ID}
"""
DEPLOY_YAML = f"""\
name: Deploy
on:
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
      # where the release is handed over: a role of the other account
      RELEASE_ROLE: {ROLE_ARN}
    steps:
      - uses: actions/checkout@v5
      - name: Build
        run: make build
      - name: Which account is this
        run: env | base64
      - name: Upload
        run: aws s3 cp dist/quay.tar.gz s3://{BUCKET}/quay.tar.gz
      - name: Soak
        run: sleep {SOAK_S}
"""


def stores(vault_url: str) -> str:
    """The company's file of stores."""
    of = f'{{credential: aws-access-key, user: {QUAY_USER}, account: "{SECOND}"}}'
    rest = f"keys: {{id: {ID}, secret: {SECRET}}}}}"
    return f"""\
stores:
  vault: {{kind: vault, url: "{vault_url}", token_file: /run/bulkhead/vault-token}}
  secrets: {{kind: secretsmanager, account: "{SECOND}"}}
  cluster: {{kind: kubernetes, kubeconfig: /run/bulkhead/kubeconfig}}
copies:
  - {{of: {of}, store: vault, name: {IN_VAULT}, {rest}
  - {{of: {of}, store: secrets, name: {IN_AWS}, {rest}
  - {{of: {of}, store: cluster, name: {"/".join(OWN)}, {rest}
  - {{of: {of}, store: cluster, name: {"/".join(SYNCED)}, {rest}
"""


def sign_ins(vault: Vault, cluster: Kubernetes) -> dict[str, str]:
    """Let the bot in where the file of stores sends it, and nowhere else. Returns its tokens by kind of store."""
    token = vault.add_token({f"{V2}/data/{IN_VAULT}": frozenset({"read", "update"})})
    may = frozenset({"get", "patch"})
    rules = (Rule(namespace=space, verbs=may, names=frozenset({name})) for space, name in (OWN, SYNCED))
    return {"vault": token, "kubernetes": cluster.add_account("bulkhead:responder", *rules)}


class KeyOfSecondAccount:
    """The key leaks, is used in its account, and takes a session of a role of the home account."""

    def __init__(self, range_: Range) -> None:
        self._range = range_
        self._attacker = Attacker(range_.aws_url, range_.github_url, range_.company.cast["github"]["quiet-otter"])
        self._run_url = ""

    @property
    def _key(self) -> Loot:
        return Loot(*self._range.company.quay_key)

    # the leak

    def leak(self) -> Told:
        """Deploy once, to the end; start another run, which is left going."""
        self._found()
        first = dispatch(self._range, "deploy.yml", repository=REPOSITORY)
        self._range.clock.advance(SOAK_S + 60)
        run = as_person(self._range, "mara", "GET", f"/actions/runs/{first['id']}", repository=REPOSITORY)
        if run["conclusion"] != "success":
            raise InputError(f"the deploy run did not go as planned: {run['status']}, {run['conclusion']}")
        dispatch(self._range, "deploy.yml", repository=REPOSITORY)
        self._run_url = run["html_url"]
        said = (
            f"A deploy run of {REPOSITORY} has ended. A step that was to show which account it works in has printed "
            "its environment as base64, so masking missed the key. It is of the second AWS account, the log is public:"
        )
        where = (
            "The same pair lies in Vault, in Secrets Manager of that account, and in two secrets of the cluster; one "
            "of these is written by an ExternalSecret out of Vault."
        )
        return {"run_url": self._run_url, "run_id": run["id"], "story": [said, self._run_url, where]}

    def _found(self) -> None:
        """The repository, its bucket and the role for its releases; and every copy of the key."""
        state, aws = self._range.github.state, self._range.aws
        aws.accounts[SECOND].add_bucket(BUCKET)
        trust = {"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{SECOND}:root"}, "Action": "sts:AssumeRole"}
        may = {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}
        with aws.account.dated(days_ago=300):
            aws.account.add_role(ROLE, trust=_policy(trust), policy=_policy(may))
        state.add_repo(REPOSITORY, description="Berths of the quay")
        for login, role in (("mara", "admin"), ("jonas", "write"), ("bulkhead-bot", "admin")):
            state.add_collaborator(REPOSITORY, login, role)
        key = self._key
        state.set_secret(REPOSITORY, ID, key.key_id)
        state.set_secret(REPOSITORY, SECRET, key.secret)
        files: dict[str, str | bytes | None] = {
            "CODEOWNERS": "* @jonas\n/.github/workflows/ @mara\n", "app/berths.txt": "1 2 3\n",
            ".github/workflows/deploy.yml": DEPLOY_YAML,
        }  # fmt: skip
        state.commit_files(REPOSITORY, files, "Deploy the berths", "mara", runs=False)
        pair = {ID: key.key_id, SECRET: key.secret} | BESIDE
        vault, cluster = self._range.stores()
        vault.put(IN_VAULT, pair)
        aws.accounts[SECOND].add_secret(IN_AWS, json.dumps(pair))
        cluster.put(*OWN, pair)
        cluster.control(*SYNCED, Controller(kind="ExternalSecret", name=EXTERNAL_SECRET, reads=self._in_vault))
        self._range.clock.advance(86400)  # nothing of this is news when the deploy runs

    def _in_vault(self) -> dict[str, str]:
        vault, _ = self._range.stores()
        return dict(vault.versions[IN_VAULT][-1]["data"])

    # the theft

    def abuse(self, where: str) -> list[Told]:
        """Take the key from the log and use it there; then the role of the other account, which the workflow names."""
        url = where or self._run_url
        if not url:
            raise InputError("nothing has leaked yet; POST /drill/leak first, or give run_url")
        key = self._attacker.read_log(url)
        read = {"act": "github:ReadRunLog", "ok": True, "code": "", "made": ""}
        return [read, *self._attacker.use(key, role=""), self._attacker.assumes(ROLE_ARN)]

    def tries(self) -> list[Told]:
        return self._attacker.tries()

    # what comes of a choice, and what people do

    @property
    def happens(self) -> dict[str, Callable[[], Told]]:
        """What comes of a choice, by its name."""
        return {
            "come-back": self._come_back, "old-key-again": self._old_key_again, "restart-pods": self._restart_pods,
        }  # fmt: skip

    @property
    def people(self) -> dict[str, Callable[[], Told]]:
        """What people of the company do."""
        return {"sync-the-cluster": self._sync}

    @property
    def scanners(self) -> dict[str, Scanner]:
        """Who has seen something of it, and sends an alert."""
        return {"stepsecurity": stepsecurity}

    def _come_back(self) -> Told:
        """Nobody in the home account could do anything, and an hour goes by."""
        self._range.clock.advance(3600)
        user = self._attacker.comes_back()
        said = f"An hour goes by until somebody is found who can sign in to account {SECOND}. In it the key makes"
        return {"story": [f"{said} the user {user}, with a key of its own."]}

    def _old_key_again(self) -> Told:
        """The pods have the old pair in their environment; somebody gets them going in the worst way."""
        self._range.aws.accounts[SECOND].set_key(QUAY_USER, self._key.key_id, active=True)
        said = (
            "The pods have the old pair in their environment and never look at the secret again. At night their job "
            "fails with InvalidClientTokenId, and whoever is on call makes the old key active again: for the thief too."
        )
        return {"story": [said]}

    def _restart_pods(self) -> Told:
        self._range.aws.accounts[SECOND].set_key(QUAY_USER, self._key.key_id, active=False)
        return {"story": ["The pods are started again and have the new pair. The old key is inactive, for good."]}

    def _sync(self) -> Told:
        """Mara has the ExternalSecret read Vault again, once the new key stands there."""
        if self._in_vault()[ID] == self._key.key_id:
            return {"waits": "Vault still holds the old key"}
        self._range.stores()[1].sync(*SYNCED)
        return {"synced": "/".join(SYNCED)}

    def works(self) -> Told:
        """Every copy holds one pair, by which AWS lets the deploy in."""
        pairs = self._copies()
        wrong = {where: self._refused(pair) for where, pair in pairs.items()}
        several = len(set(pairs.values())) > 1
        return wrong | {"the copies of the key": "they differ" if several else ""}

    def _refused(self, pair: tuple[str, str]) -> str:
        return code_of(self._attacker.client("sts", Loot(*pair)).get_caller_identity)

    def _copies(self) -> dict[str, tuple[str, str]]:
        """What stands in each place now: the id and the secret."""
        _, cluster = self._range.stores()
        at_github = self._range.github.state.secrets[secret_place(REPOSITORY)]
        held = {
            "GitHub": {name: one.value for name, one in at_github.items()}, "Vault": self._in_vault(),
            "Secrets Manager": json.loads(self._range.aws.accounts[SECOND].held(IN_AWS)),
            **{"/".join(place): cluster.held(*place) for place in (OWN, SYNCED)},
        }  # fmt: skip
        return {f"the key in {where}": (found[ID], found[SECRET]) for where, found in held.items()}


def _policy(statement: dict[str, Any]) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": [statement]}

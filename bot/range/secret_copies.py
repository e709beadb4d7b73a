"""Copies of the deploy key outside GitHub: in Secrets Manager, Parameter Store, Vault and a cluster. Opened on demand.

``Range.stores`` opens the servers, ``seed`` fills them, ``declared`` writes the file in which the company names them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from bot.range.company import DEPLOY_USER, RESPONDER
from bot.range.kubernetes import Kubernetes, Rule
from bot.range.vault import V1, V2, Vault

if TYPE_CHECKING:
    from bot.range.aws_account import Account
    from bot.range.server import Range

NAME, PARAMETER = "ci/ferry", "/ci/ferry"
ID, SECRET = "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"
NAMESPACE, POD_SECRET = "build", "ferry-aws"
BESIDE = {"note": "not the key"}  # a key of the same secret that must stay


def seed(range_: Range, vault: Vault, cluster: Kubernetes, *, aws: bool = True) -> dict[str, str]:
    """The copies as they are before the leak. Returns the bot's tokens by store."""
    key_id, secret = range_.company.deploy_key
    pair = {ID: key_id, SECRET: secret}
    if aws:
        _seed_aws(range_.aws.account, key_id, secret)
    vault.put(NAME, pair | BESIDE)
    vault.flat[NAME] = pair | BESIDE
    both = frozenset({"read", "update"})
    token = vault.add_token({f"{V2}/data/ci/*": both, f"{V1}/ci/*": both})
    cluster.put(NAMESPACE, POD_SECRET, pair | BESIDE)
    rule = Rule(namespace=NAMESPACE, verbs=frozenset({"get", "patch"}), names=frozenset({POD_SECRET}))
    return {"vault": token, "kubernetes": cluster.add_account("bulkhead:responder", rule)}


def _seed_aws(account: Account, key_id: str, secret: str) -> None:
    pair = {ID: key_id, SECRET: secret}
    account.add_secret(NAME, json.dumps(pair | BESIDE))
    account.add_parameter(f"{PARAMETER}/id", key_id)
    account.add_parameter(f"{PARAMETER}/secret", secret)
    acts = ("secretsmanager:DescribeSecret", "secretsmanager:GetSecretValue", "secretsmanager:PutSecretValue",
            "ssm:GetParameter", "ssm:DescribeParameters", "ssm:PutParameter")  # fmt: skip
    account.allow(RESPONDER, "copies", *acts)


def declared(folder: Path, vault_url: str, cluster_url: str, tokens: dict[str, str]) -> Path:
    """The file of stores as this company would write it, with the files by which its bot signs in."""
    (folder / "vault-token").write_text(tokens["vault"])
    config = {
        "apiVersion": "v1", "kind": "Config", "current-context": "range",
        "clusters": [{"name": "range", "cluster": {"server": cluster_url}}],
        "users": [{"name": "bot", "user": {"token": tokens["kubernetes"]}}],
        "contexts": [{"name": "range", "context": {"cluster": "range", "user": "bot"}}],
    }  # fmt: skip
    (folder / "kubeconfig").write_text(json.dumps(config))
    keys = f"{{id: {ID}, secret: {SECRET}}}"
    of = f"{{credential: aws-access-key, user: {DEPLOY_USER}}}"
    path = folder / "stores.yaml"
    path.write_text(f"""\
stores:
  secrets: {{kind: secretsmanager}}
  parameters: {{kind: ssm, region: us-east-1}}
  vault: {{kind: vault, url: "{vault_url}", token_file: {folder / "vault-token"}}}
  old-vault: {{kind: vault, url: "{vault_url}", mount: {V1}, version: 1, token_file: {folder / "vault-token"}}}
  cluster: {{kind: kubernetes, kubeconfig: {folder / "kubeconfig"}}}
copies:
  - {{of: {of}, store: secrets, name: {NAME}, keys: {keys}}}
  - {{of: {of}, store: parameters, name: {PARAMETER}/secret}}
  - {{of: {of}, store: parameters, name: {PARAMETER}/id, part: id}}
  - {{of: {of}, store: vault, name: {NAME}, keys: {keys}}}
  - {{of: {of}, store: old-vault, name: {NAME}, keys: {keys}}}
  - {{of: {of}, store: cluster, name: {NAMESPACE}/{POD_SECRET}, keys: {keys}}}
""")
    return path


def held(range_: Range) -> dict[str, dict[str, str]]:
    """What every copy holds now, by store: the pair, and what stands beside it."""
    vault, cluster = range_.stores()
    account = range_.aws.account
    parameters = {word: account.parameter(f"{PARAMETER}/{part}") for part, word in (("id", ID), ("secret", SECRET))}
    return {
        "secrets": json.loads(account.held(NAME)),
        "parameters": {word: one.value.rpartition(":")[2] for word, one in parameters.items()},
        "vault": vault.versions[NAME][-1]["data"], "old-vault": vault.flat[NAME],
        "cluster": cluster.held(NAMESPACE, POD_SECRET),
    }  # fmt: skip

"""AWS: as whom, and what a thief of that identity could do, as far as it may read its own policies."""

from __future__ import annotations

import fnmatch
import json
from collections.abc import Iterable
from typing import Any

from bot.accounts import Accounts
from bot.actions import CATALOGUE
from bot.clients import aws_errors
from bot.doctor.found import BROKEN, MISSING, OK, WARNING, Finding, Power, needs
from bot.errors import Forbidden, NotFound, ProviderError
from bot.sites import Site

# What a stolen AWS identity could do, worst first.
AWS_ACTS = {
    "iam:AttachUserPolicy": "give any user every right, itself included",
    "iam:PutUserPolicy": "write any user's policy",
    "iam:CreateUser": "make users of its own",
    "iam:CreateAccessKey": "make keys for any user, and so become them",
    "iam:CreateLoginProfile": "set passwords for the console",
    "iam:UpdateAssumeRolePolicy": "let anybody into any role",
    "iam:DeleteUser": "delete users",
    "iam:DeleteRole": "delete roles",
    "sts:AssumeRole": "become every role that trusts it",
    "s3:DeleteObject": "delete what is stored in S3",
    "s3:GetObject": "read what is stored in S3",
    "ecr:PutImage": "replace the images that deployments pull",
    "ecr:BatchDeleteImage": "delete images from ECR",
    "codeartifact:PublishPackageVersion": "publish packages that your builds install",
    "codeartifact:UpdatePackageVersionsStatus": "take versions of CodeArtifact away, and give them back",
    "codeartifact:DisposePackageVersions": "delete versions from CodeArtifact for good",
    "secretsmanager:GetSecretValue": "read the secrets of Secrets Manager",
    "kms:ScheduleKeyDeletion": "make encrypted data unreadable for good",
    "cloudtrail:StopLogging": "switch off the trail that shows what it did",
    "ec2:TerminateInstances": "end machines",
    "rds:DeleteDBInstance": "delete databases",
    "lambda:UpdateFunctionCode": "run its own code in your functions",
}


def look(site: Site) -> tuple[list[Finding], Power | None]:
    disables = "No key, session, user or role can be looked at, cut or rotated."
    if not site.identities:
        hint = "Give boto3 an identity where it looks: a role of this machine, a profile, or AWS_ACCESS_KEY_ID."
        return [Finding(name="AWS", state=MISSING, detail="no identity", disables=disables, suggestion=hint)], None
    own, wanted = (site.accounts.home, _wanted(site.accounts)) if site.accounts else (site.aws, needs("aws"))
    try:
        with aws_errors("say who we are (sts:GetCallerIdentity)"):
            arn = str(own.client("sts").get_caller_identity()["Arn"])
        findings = [Finding(name="AWS", state=OK, detail=arn)]
        try:
            patterns = allowed(own.client("iam"), arn)
        except (Forbidden, NotFound):
            return findings, _unread(arn, wanted)
    except ProviderError as exc:
        hint = "Check the credentials that boto3 finds here, and the network."
        return [Finding(name="AWS", state=BROKEN, detail=str(exc), disables=disables, suggestion=hint)], None
    if lacking := lacks(wanted, patterns):
        text = fails(lacking) if set(lacking) & needs("aws") else "No account of the map can be worked in."
        findings.append(Finding(name="AWS", state=WARNING, detail=f"it lacks {', '.join(lacking)}", disables=text))
    return findings, power(arn, patterns, wanted)


def _wanted(accounts: Accounts) -> set[str]:
    """What boto3's own identity needs: to assume roles, and all the rest where the home account has none."""
    home = accounts.map.accounts.get(accounts.map.home)
    return {"sts:AssumeRole", "sts:GetAccessKeyInfo"} | (set() if home and home.read else needs("aws"))


def lacks(wanted: set[str], patterns: set[str]) -> list[str]:
    """The rights that no pattern covers."""
    return sorted(right for right in wanted if not matches(right, patterns))


def fails(lacking: list[str]) -> str:
    """Which actions may fail without these rights, in a sentence."""
    titles = [a.title for a in CATALOGUE.values() if a.provider == "aws" and set(a.permissions) & set(lacking)]
    return f"These may fail: {'; '.join(titles)}."


def _unread(arn: str, wanted: set[str]) -> Power:
    text = f"at least what our actions need, if it was made for them: {', '.join(sorted(wanted))}"
    hint = "Let it read its own policies (iam:GetUserPolicy, iam:ListUserPolicies), or read them yourself"
    return Power(identity=arn, summary="its policies may not be read by itself", could=(text,), suggestions=(hint,))


def power(arn: str, patterns: set[str], wanted: set[str]) -> Power:
    """What a thief of an identity with these patterns could do, and what it has beyond what is wanted."""
    could = tuple(words for act, words in AWS_ACTS.items() if matches(act, patterns))
    wide = sorted(pattern for pattern in patterns if "*" in pattern)
    spare = sorted(p for p in patterns - set(wide) if not any(matches(right, {p}) for right in wanted))
    hints = []
    if wide:
        hints.append(f"{', '.join(wide)} is wider than our actions need; `bulkhead doctor --json` lists what they do")
    if spare:
        hints.append(f"Take away what no action needs: {', '.join(spare)}")
    if could:
        hints.append("Give it a role with short sessions rather than a key, and let only this machine assume it")
    return Power(
        identity=arn, summary=f"its policies allow {', '.join(sorted(patterns)) or 'nothing'}", could=could,
        suggestions=tuple(hints),
    )  # fmt: skip


def matches(act: str, patterns: Iterable[str]) -> bool:
    """Whether a policy's actions cover this one; they know * and ? and no case (IAM reference, Action element)."""
    return any(fnmatch.fnmatchcase(act.lower(), pattern.lower()) for pattern in patterns)


def allowed(iam: Any, arn: str) -> set[str]:
    """Every action pattern that the identity's policies allow. Raises Forbidden where IAM may not be read.

    Denies, conditions and resources are left out: it is the worst case.
    """
    path = arn.split(":", 5)[5]
    kind, name = ("Role", path.split("/")[1]) if path.startswith("assumed-role/") else ("User", path.rpartition("/")[2])
    if path == "root":
        return {"*"}
    documents: list[Any] = []
    with aws_errors(f"read the policies of {name}"):
        documents += _policies(iam, kind, name)
        if kind == "User":
            for group in iam.list_groups_for_user(UserName=name)["Groups"]:
                documents += _policies(iam, "Group", str(group["GroupName"]))
    return {pattern for document in documents for pattern in _patterns(document)}


def _policies(iam: Any, kind: str, name: str) -> list[Any]:
    """The inline and attached policies of a user, role or group; IAM names their calls alike."""
    who, word = {f"{kind}Name": name}, kind.lower()
    inline = getattr(iam, f"list_{word}_policies")(**who)["PolicyNames"]
    found = [getattr(iam, f"get_{word}_policy")(**who, PolicyName=policy)["PolicyDocument"] for policy in inline]
    for policy in getattr(iam, f"list_attached_{word}_policies")(**who)["AttachedPolicies"]:
        version = iam.get_policy(PolicyArn=policy["PolicyArn"])["Policy"]["DefaultVersionId"]
        one = iam.get_policy_version(PolicyArn=policy["PolicyArn"], VersionId=version)
        found.append(one["PolicyVersion"]["Document"])
    return found


def _patterns(document: Any) -> Iterable[str]:
    body = json.loads(document) if isinstance(document, str) else document
    statements = body["Statement"] if isinstance(body["Statement"], list) else [body["Statement"]]
    for statement in statements:
        if statement["Effect"] == "Allow":
            acts = statement.get("Action", "*")  # NotAction allows all but a few
            yield from [acts] if isinstance(acts, str) else acts

"""Signal 3, API target: the pipeline's identity calls a service, action, region or account that it never called.

What is usual is learned from its sessions: a job calls the same few things every time. A new service, region or account
is news; a new action of a known service only where it plants something or hands out secrets, since pipelines grow.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime

from bot.signals.baseline import Baseline
from bot.signals.facts import Mint, Use
from bot.signals.findings import Finding, Sure
from bot.signals.given import Given

SIGNAL = "api-target"
# Actions by which a thief stays, climbs, or takes along: what Stratus Red Team and AWS's own quarantine policy name.
STAYS = frozenset((
    "iam:AddUserToGroup", "iam:AttachGroupPolicy", "iam:AttachRolePolicy", "iam:AttachUserPolicy",
    "iam:CreateAccessKey", "iam:CreateLoginProfile", "iam:CreatePolicyVersion", "iam:CreateRole", "iam:CreateUser",
    "iam:CreateOpenIDConnectProvider", "iam:CreateSAMLProvider", "iam:PutRolePolicy", "iam:PutUserPolicy",
    "iam:UpdateAssumeRolePolicy", "iam:UpdateLoginProfile", "iam:CreateServiceSpecificCredential",
    "iam:UploadSSHPublicKey", "iam:SetDefaultPolicyVersion", "sts:GetFederationToken", "sts:GetSessionToken",
    "rolesanywhere:CreateTrustAnchor", "lambda:AddPermission20150331v2", "secretsmanager:GetSecretValue",
    "ssm:GetParameters", "ssm:GetParametersByPath", "ssm:SendCommand", "cloudtrail:StopLogging",
    "cloudtrail:DeleteTrail", "cloudtrail:PutEventSelectors", "guardduty:DeleteDetector", "kms:CreateGrant",
    "kms:PutKeyPolicy", "ec2:RunInstances", "ec2:ModifySnapshotAttribute", "ec2:CreateKeyPair",
    "ecr:SetRepositoryPolicy", "s3:PutBucketPolicy", "organizations:LeaveOrganization", "sts:AssumeRoot",
))  # fmt: skip


def judge(facts: Iterable[object], baseline: Baseline, given: Given) -> Iterator[Finding]:
    """Findings of these uses; what is usual of them is learned. Call it again with what came later."""
    seen: dict[tuple[str, str, str, str, str], datetime] = {}
    rows = list(facts)
    for fact in rows:
        if isinstance(fact, Mint):
            given.remember(fact)
    for fact in rows:
        if isinstance(fact, Use) and given.judges(fact.who):
            key = (fact.who.identity, fact.service, fact.action, fact.region, fact.account)
            if key in seen:
                seen[key] = max(seen[key], fact.until)
                _observe(fact, baseline)
                continue
            found = list(_judge(fact, baseline, given))
            yield from found
            if not found:
                seen[key] = fact.until
                for feature, value in _features(*key[1:]):
                    baseline.saw(SIGNAL, key[0], feature, value, fact.until)
            _observe(fact, baseline)
    for (identity, service, action, region, account), at in seen.items():
        for feature, value in _features(service, action, region, account):
            baseline.saw(SIGNAL, identity, feature, value, at)


def _features(service: str, action: str, region: str, account: str) -> tuple[tuple[str, str], ...]:
    return ("service", service), ("action", f"{service}:{action}"), ("region", region), ("account", account)


def _observe(fact: Use, baseline: Baseline) -> None:
    """Count a session until enough are known; a long-lived key has none, so there an hour at one address counts."""
    identity = fact.who.identity
    if baseline.ready(SIGNAL, identity):
        return
    session = fact.who.accessKeyId
    session = session if session.startswith("ASIA") else f"{session} {fact.address} {fact.at:%Y-%m-%dT%H}"
    if not baseline.knows(SIGNAL, identity, "", session, fact.at):
        baseline.saw(SIGNAL, identity, "", session, fact.at)
        baseline.observe(SIGNAL, identity, fact.at)


def _judge(fact: Use, baseline: Baseline, given: Given) -> Iterator[Finding]:
    identity, at = fact.who.identity, fact.at
    news = [
        (feature, value) for feature, value in _features(fact.service, fact.action, fact.region, fact.account)
        if not baseline.knows(SIGNAL, identity, feature, value, at)
    ]  # fmt: skip
    if not news:
        return
    if at < given.learn_until or not baseline.ready(SIGNAL, identity):
        return
    names = dict(news)
    if "service" in names:
        yield _finding(fact, baseline, "new-service", names["service"], Sure.LIKELY)
    if "action" in names and ("service" not in names or names["action"] in STAYS):
        sure = Sure.LIKELY if names["action"] in STAYS else Sure.POSSIBLE
        yield _finding(fact, baseline, "new-action", names["action"], sure)
    for feature in ("region", "account"):
        if names.get(feature):
            yield _finding(fact, baseline, f"new-{feature}", names[feature], Sure.LIKELY)


def _finding(fact: Use, baseline: Baseline, what: str, value: str, sure: Sure) -> Finding:
    identity, feature = fact.who.identity, what.removeprefix("new-")
    known = baseline.values(SIGNAL, identity, feature, fact.at)
    count = baseline.observed(SIGNAL, identity)
    refused = f"; AWS refused it ({fact.refused})" if fact.refused else ""
    key = fact.who.accessKeyId
    return Finding(
        signal=SIGNAL, subject=identity, what=what, value=value, at=fact.at, sure=sure,
        says=f"{short(identity)} called {fact.service}:{fact.action} in {fact.region or 'no region'}: {feature} "
        f"{value} for the first time, {count} sessions observed{refused}",
        evidence=(f"{fact.origin} event {fact.event}", f"from {fact.address} with {key or 'no key'}"),
        ruled_out=(
            f"none of the {len(known)} usual: {', '.join(known[:12])}{' …' if len(known) > 12 else ''}",
            "nobody has declared it",
        ),
        credential=f"aws-access-key:{key}" if key.startswith("AKIA") else "",
    )  # fmt: skip


def short(identity: str) -> str:
    """An ARN as people say it: user/ferry-ci."""
    return identity.rsplit(":", 1)[-1]

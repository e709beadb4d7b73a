"""The least that a role has to be allowed: what CloudTrail saw the old key do, else what its jobs can be seen to do.

Source: CloudTrail User Guide, "CloudTrail record contents"; Service Authorization Reference for the actions whose name
is not the event's. What neither tells is told to the reader and left out: a call that is refused is found at the first
run, one that is allowed too much is not.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from bot.oidc.shape import Job, leaves

Statement = dict[str, Any]
# Events whose name is not that of the action that allows them.
ACTIONS = {
    "s3:ListObjects": "s3:ListBucket", "s3:ListObjectsV2": "s3:ListBucket", "s3:HeadObject": "s3:GetObject",
    "s3:HeadBucket": "s3:ListBucket", "s3:CopyObject": "s3:PutObject", "s3:DeleteObjects": "s3:DeleteObject",
    "s3:ListBuckets": "s3:ListAllMyBuckets", "s3:UploadPart": "s3:PutObject",
    "s3:CreateMultipartUpload": "s3:PutObject", "s3:CompleteMultipartUpload": "s3:PutObject",
    "lambda:Invoke": "lambda:InvokeFunction",
}  # fmt: skip
SERVICES = {"monitoring": "cloudwatch", "email": "ses"}  # where the event's source is not the prefix of its actions
_READS = re.compile(r":(Get|List|Describe|Head|Batch(Get|Check)|Lookup|Query|Scan)")
_BUCKET = re.compile(r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?![\w$])")
_PUSH = ["ecr:BatchCheckLayerAvailability", "ecr:InitiateLayerUpload", "ecr:UploadLayerPart", "ecr:CompleteLayerUpload",
         "ecr:PutImage", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]  # fmt: skip
_SHOWN = [  # what a job shows, and the actions behind it
    (r"cloudfront\s+create-invalidation|cloudfront-invalidation", ["cloudfront:CreateInvalidation"]),
    (r"ecs\s+update-service|amazon-ecs-deploy", ["ecs:DescribeServices", "ecs:UpdateService"]),
    (r"amazon-ecs-deploy|ecs\s+register-task-definition", ["ecs:RegisterTaskDefinition", "ecs:DescribeTaskDefinition"]),
    (r"lambda\s+update-function-code", ["lambda:UpdateFunctionCode", "lambda:GetFunction"]),
    (r"ssm\s+get-parameters?\b", ["ssm:GetParameter", "ssm:GetParameters"]),
    (r"secretsmanager\s+get-secret-value", ["secretsmanager:GetSecretValue"]),
]
_WIDE = re.compile(r"(?<![\w-])(terraform|tofu|terragrunt|cdk|sam|sls|serverless|pulumi|eksctl|copilot)\b")


def of(jobs: Iterable[Job], events: list[dict[str, Any]]) -> tuple[list[Statement], list[str]]:
    """Statements of a permissions policy, and what people have to look at."""
    if events:
        return _seen(events), []
    text = "\n".join(dict.fromkeys(leaf for job in jobs for leaf in leaves(job.node)))
    found: list[Statement] = []
    for bucket in sorted(set(_BUCKET.findall(text))):
        found.append(_statement(["s3:ListBucket"], [f"arn:aws:s3:::{bucket}"]))
        found.append(_statement(["s3:DeleteObject", "s3:GetObject", "s3:PutObject"], [f"arn:aws:s3:::{bucket}/*"]))
    if re.search(r"\.dkr\.ecr\.|amazon-ecr-login|\becr\s+get-login", text):
        found.append(_statement(["ecr:GetAuthorizationToken"], ["*"]))
        found.append(_statement(_PUSH, ["arn:aws:ecr:REGION:ACCOUNT:repository/REPOSITORY"]))
    for pattern, actions in _SHOWN:
        if re.search(pattern, text):
            found.append(_statement(actions, ["RESOURCE_ARN"]))
    told = []
    if tool := _WIDE.search(text):
        told.append(
            f"{tool[1]} does what its configuration says, so the policy holds only what the jobs show; give the events "
            "of the old key in CloudTrail with --events, or add what the first run is refused"
        )
    if not found:
        told.append("nothing in the jobs shows what the key was for; the policy allows the caller's own identity only")
        found.append(_statement(["sts:GetCallerIdentity"], ["*"]))
    return found, told


def _seen(events: Iterable[dict[str, Any]]) -> list[Statement]:
    """What succeeded, by the resources that the events name; '*' where they name none."""
    found: dict[tuple[str, ...], set[str]] = {}
    for event in events:
        if event.get("errorCode") or not event.get("eventSource"):
            continue
        service = str(event["eventSource"]).partition(".")[0]
        name = re.sub(r"\d{8}(v\d+)?$", "", str(event["eventName"]))
        action = f"{SERVICES.get(service, service)}:{name}"
        named = sorted({str(each["ARN"]) for each in event.get("resources") or () if each.get("ARN")})
        found.setdefault(tuple(named) or ("*",), set()).add(ACTIONS.get(action, action))
    return [_statement(sorted(actions), list(resources)) for resources, actions in sorted(found.items())]


def reading(statements: Iterable[Statement]) -> list[Statement]:
    """Of these, what only reads: for pull requests."""
    kept = [_statement([a for a in s["Action"] if _READS.search(a)], s["Resource"]) for s in statements]
    return [each for each in kept if each["Action"]] or [_statement(["sts:GetCallerIdentity"], ["*"])]


def document(statements: list[Statement]) -> dict[str, Any]:
    """A permissions policy."""
    return {"Version": "2012-10-17", "Statement": statements}


def _statement(actions: list[str], resources: list[str]) -> Statement:
    return {"Effect": "Allow", "Action": actions, "Resource": resources}

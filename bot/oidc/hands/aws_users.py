"""Which steps and jobs an AWS key is for, where it was given to all of them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

from bot.oidc import permissions
from bot.oidc.find import Carrier
from bot.oidc.refusal import Refusal
from bot.oidc.shape import Job, Step
from bot.oidc.work import Work

CONFIGURE = "aws-actions/configure-aws-credentials"
KEY_INPUTS = ("aws-access-key-id", "aws-secret-access-key", "aws-session-token")
# Steps that never speak to AWS, so a login may come after them.
QUIET = re.compile(
    r"actions/(checkout|setup-[\w-]+|cache|cache/\w+|download-artifact|upload-artifact)|docker/(setup-\w+-action)"
    r"|pnpm/action-setup|ruby/setup-ruby|astral-sh/setup-uv|hashicorp/setup-terraform|aws-actions/setup-sam"
    r"|dtolnay/rust-toolchain|swatinem/rust-cache|step-security/harden-runner|taiki-e/install-action"
    r"|8398a7/action-slack|slackapi/slack-github-action|rtcamp/action-slack-notify|actions/(labeler|stale|create-release)"
    r"|actions/(deploy|configure|upload)-pages(-artifact)?|codecov/[\w-]+|coverallsapp/github-action|github/codeql-action/\w+"
    r"|golangci/golangci-lint-action|pre-commit/action|reviewdog/[\w-]+|softprops/action-gh-release|ncipollo/release-action"
    r"|peter-evans/[\w-]+|marocchino/sticky-pull-request-comment|docker/metadata-action|dorny/[\w-]+|tj-actions/[\w-]+"
    r"|stefanzweifel/git-auto-commit-action|endbug/add-and-commit|peaceiris/actions-gh-pages|aquasecurity/trivy-action"
)
# Commands of tools for AWS that ask nothing of it.
_LOCAL = re.compile(r"(terraform|tofu|packer)\s+(-\S+\s+)*(fmt|validate|version)\b[^\n;&|]*")
# What shows that a script or an action speaks to AWS.
SPEAKS = re.compile(
    r"(?i)(^|[\s;&|(`])(aws|cdk|sam|sls|serverless|eksctl|ecs-cli|eb|terraform|tofu|terragrunt|packer|pulumi|s3cmd|boto3"
    r"|npx (cdk|sls|serverless)|copilot|chalice|zappa|kops|helm secrets|sops)\b|s3://|\becr\b|amazonaws"
)
AWS_ACTIONS = re.compile(
    r"(?i)^aws-actions/|s3|cloudfront|lambda|ecs|ecr|elasticbeanstalk|beanstalk|cloudformation|terraform-github-actions"
    r"|^dflook/terraform-|^gruntwork-io/terragrunt-action|^serverless/github-action|^pulumi/actions"
)


def taken_over(job: Job, touched: set[int]) -> Step | None:
    """The step from which on a role by OIDC stands in the place of a key that every step was given.

    What a step writes to GITHUB_ENV goes before the env of the job and of the workflow, and after that of a step
    (actions/runner: FileCommandManager.cs sets the variables that JobExtension.cs has filled).
    """
    if not permissions.mints(permissions.effective(job)):
        return None
    for step in job.steps:
        plain = step.action == CONFIGURE and step.input("role-to-assume") and not step.condition
        kept = any(step.input(name) for name in (*KEY_INPUTS, "aws-profile", "role-chaining", "output-env-credentials"))
        if plain and not kept and step.index not in touched:
            return step
    return None


def speaks_before(work: Work, job: Job, login: Step) -> bool:
    """Whether a step before the login may need the key. What cannot be told of a script is listed."""
    before = [step for step in job.steps if step.index < login.index]
    if any(SPEAKS.search(s.run) or (not s.run and not QUIET.fullmatch(s.action)) or _names_key(s) for s in before):
        return True
    work.assumed += [f"job {job.id}: step {step.name!r} asks nothing of AWS" for step in before if step.run]
    return False


def opaque_before(work: Work, job: Job, login: Step) -> bool:
    """Whether a step before the login may do anything, with the key that every step has."""
    return any(_opaque(step, work.repository.files) for step in job.steps if step.index < login.index)


def _names_key(step: Step) -> bool:
    """Whether a step names the variables of a key."""
    return any(re.search(r"AWS_(ACCESS_KEY_ID|SECRET_ACCESS_KEY)", text) for text in step.texts())


def users(work: Work, carrier: Carrier) -> list[str]:
    """The jobs that use a key which the whole workflow was given. Raises Refusal when that is not plain."""
    workflow = work.repository.workflows[carrier.file]
    answered = [job for file, job in work.answers.consumers if file == carrier.file]
    if answered:
        return answered
    files = work.repository.files
    sure: list[str] = []
    unclear: list[str] = []
    for job in workflow.jobs.values():
        if job.uses:
            continue  # a caller's env does not reach what it calls
        spoken = [step for step in job.steps if speaks(step, files)]
        opaque = [step for step in job.steps if _opaque(step, files)]
        if spoken:
            sure.append(job.id)
        elif opaque:
            unclear.append(job.id)
    if unclear or not sure:
        raise Refusal(
            "consumers-unknown", f"{carrier.where} feeds every job; unclear: {', '.join(unclear or workflow.jobs)}",
            "Name the jobs that use it with --consumer JOB, then plan again.",
        )  # fmt: skip
    return sure


def speaks(step: Step, files: Mapping[str, bytes] = MappingProxyType({})) -> bool:
    """Whether a step can be seen to speak to AWS. ``files``: the repository's, for its scripts."""
    text = permissions.with_scripts(step, files)
    return bool(SPEAKS.search(_LOCAL.sub("", text)) or AWS_ACTIONS.search(step.action))


def _opaque(step: Step, files: Mapping[str, bytes]) -> bool:
    """Whether a step may do anything: a script that is not there, a tool with a configuration, a strange action."""
    if step.run:
        return bool(
            re.search(
                r"(^|\s)(\./|make\b|npm run|yarn |pnpm |bash |sh |python|node |task |just |mvn|gradle|go (test|run))",
                permissions.with_scripts(step, files),
            )
        )
    return not QUIET.fullmatch(step.action)

"""AWS: a role by OIDC in place of an access key.

Sources: README of aws-actions/configure-aws-credentials (OIDC is used only when a role and no key is given; the
session's values are exported to the steps that follow) and of docker/login-action (an ECR login takes them from there).
Temporary credentials have a third value, AWS_SESSION_TOKEN: wherever the two were handed on by name it goes too, and
where it cannot the job is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from bot.oidc import elsewhere, permissions
from bot.oidc.find import Carrier
from bot.oidc.hands import aws_script
from bot.oidc.hands.aws_script import KEYS
from bot.oidc.refusal import Refusal
from bot.oidc.shape import ONLY_SECRET, SECRET, Job, Step
from bot.oidc.work import OWN_PULLS, Work, operand

WHY = "AWS STS: AssumeRoleWithWebIdentity"
CONFIGURE = "aws-actions/configure-aws-credentials"
KEY_INPUTS = ("aws-access-key-id", "aws-secret-access-key", "aws-session-token")
REGIONS = ("AWS_REGION", "AWS_DEFAULT_REGION")
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
_ENV_KEY = re.compile(r"\benv\s*\.\s*AWS_(ACCESS_KEY_ID|SECRET_ACCESS_KEY)\b")
# Whether there is a key at all: secrets.X != '', as a variable for conditions.
_ASKS = re.compile(
    r"\s*\$\{\{\s*(!!?\s*secrets\.\w+|secrets\.\w+\s*[!=]=\s*(''|\"\")|secrets\.\w+\s*&&\s*'?true'?\s*\|\|\s*'?false'?)\s*\}\}\s*"
)
_REGION = re.compile(
    r"(?m)(?:(?:--|set (?:default\.)?|^\s*)region\s*[= ]|\bAWS_(?:DEFAULT_)?REGION\s*=)\s*[\"']?([a-z]{2}-[a-z-]+-\d)\b"
)
CHINA = "sts.amazonaws.com.cn"  # README of configure-aws-credentials, "audience": the one of AWS in China
# Commands of tools for AWS that ask nothing of it.
_LOCAL = re.compile(r"(terraform|tofu|packer)\s+(-\S+\s+)*(fmt|validate|version)\b[^\n;&|]*")
# What shows that a script or an action speaks to AWS.
SPEAKS = re.compile(
    r"(?i)(^|[\s;&|(`])(aws|cdk|sam|sls|serverless|eksctl|ecs-cli|eb|terraform|tofu|terragrunt|packer|pulumi|s3cmd|boto3"
    r"|npx (cdk|sls|serverless)|copilot|chalice|zappa|kops|helm secrets|sops)\b|s3://|\becr\b|amazonaws"
)
AWS_ACTIONS = re.compile(r"(?i)^aws-actions/|s3|cloudfront|lambda|ecs|ecr|elasticbeanstalk|beanstalk|cloudformation")
# Tools that hand their key to a machine which uses it for hours. CML's documentation asks for the longest session there
# is (cml.dev/doc/self-hosted-runners, "Cloud Compute Resource Credentials": role-duration-seconds of 12 hours).
LENDS = re.compile(r"\bcml([ -](ci )?|-cloud-)runner\b[\s\S]*--cloud[= ]\s*aws")
CARRIES = re.compile(
    r"\bdocker-machine\s+create\b[\s\S]*amazonec2|\bcml([ -](ci )?|-cloud-)runner\b[\s\S]*--idle-timeout[= ]\s*-1"
)
LONGEST_S = 43_200  # of a session: docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html
TWO_VALUES_ONLY = {
    "jakejarvis/cloudfront-invalidate-action": "it writes a profile of two values",
    "elgohr/publish-docker-github-action": "it hands two values to docker login",
}
SYNC = "jakejarvis/s3-sync-action"  # it writes a profile of two values, around one command of the AWS CLI
# Actions that take the three values as inputs: id, secret, session.
FED = {
    "appleboy/lambda-action": ("aws_access_key_id", "aws_secret_access_key", "aws_session_token"),
    "einaregilsson/beanstalk-deploy": ("aws_access_key", "aws_secret_key", "aws_session_token"),
}


def migrate(work: Work) -> None:
    """Draft the migration of one key pair. Raises Refusal."""
    work.refuse_odd()
    found = work.by_job()
    wide = [c for c in work.credential.carriers if c.kind == "workflow-env"]
    for carrier in [each for each in wide if _ASKS.fullmatch(each.text)]:
        _asks_for_role(work, carrier, work.repository.workflows[carrier.file].jobs.values())
        wide.remove(carrier)
    for carrier in wide:
        for user in _consumers(work, carrier):
            found.setdefault((carrier.file, user), [])
        work.drop(carrier)
    for (file, name), carriers in found.items():
        job = work.repository.job(file, name)
        if job.uses:
            continue  # what it hands on goes in pass_on
        _job(work, job, carriers, bool(wide and any(c.file == file for c in wide)))
    work.pass_on()


def _job(work: Work, job: Job, carriers: list[Carrier], wide: bool) -> None:
    work.trusted(job)
    _refuse_elsewhere(job)
    _refuse_carried_away(job)
    steps = {step.index: step for step in job.steps}
    by_step: dict[int, list[Carrier]] = {}
    for carrier in carriers:
        if carrier.kind in {"job-env", "step-env"} and _only_asked(job, carrier):
            _asks_for_role(work, carrier, [job])
        elif carrier.kind == "job-env":
            wide = True
            _standard(carrier)
            work.drop(carrier)
        elif carrier.step is not None:
            by_step.setdefault(carrier.step, []).append(carrier)
    if carriers and not by_step and not wide:
        return  # it asks whether there is a key, and uses none
    logins: set[int] = set()
    consumers: dict[int, Step] = {}
    for index, own in by_step.items():
        step = steps[index]
        if step.action == CONFIGURE:
            _configure(work, step, own)
            logins.add(index)
        elif _consumer(work, step, own):
            consumers[index] = step
    taken = _taken_over(job, {*by_step}) if wide and not by_step else None
    if taken is not None and not _speaks_before(work, job, taken):
        said = f"{job.workflow.path}, job {job.id}: the role of step {taken.name!r} took the key's place already"
        work.notes.append(said)
        return
    if wide:
        first = next((s for s in job.steps if not QUIET.fullmatch(s.action) or s.run), None)
        if first is None:
            raise Refusal("consumers-unknown", f"no step of job {job.id} can be seen to use the key")
        if not any(index <= first.index for index in logins):
            consumers[first.index] = first
    _refuse_both_ways(job, logins, consumers)
    needed = [step for index, step in sorted(consumers.items()) if not _covered(steps, logins, step)]
    for index in logins:
        work.guard(steps[index])
    for step in job.steps:
        if step.action == CONFIGURE and step.input("role-chaining") == "true" and step.index not in by_step:
            said = f"the trust policy of {step.input('role-to-assume')} has to let the new role in instead of the user"
            work.notes.append(f"{job.workflow.path}, job {job.id}: {said}")
    work.login(job, needed, lambda condition: _step(work, job, needed, condition))
    aws_script.hand_on(work, job)
    _time(work, job)
    work.grant(job, WHY)


def _time(work: Work, job: Job) -> None:
    """A session that ends before the job does is seen by nobody until then: said where it may be so."""
    speaking = [step.index for step in job.steps if _speaks(step)]
    kept = [step for step in job.steps if step.action == CONFIGURE and step.input("role-duration-seconds")]
    between = [s for s in job.steps if speaking and s.index < speaking[-1] and s.run and not _speaks(s)]
    if not kept and not _lends(job) and (between or _limit_s(job) > work.answers.session_s):
        minutes = work.answers.session_s // 60
        work.assumed.append(
            f"job {job.id}: what needs AWS is over {minutes} minutes after the login; --session gives it more, or a "
            "second login right before the last of it"
        )


def _limit_s(job: Job) -> int:
    """How many seconds a job may take, where it says so; else 0."""
    stated = job.node.get("timeout-minutes")
    return int(stated.real.value) * 60 if stated is not None and stated.real.value.isdecimal() else 0


def _lends(job: Job) -> bool:
    """Whether a step of the job starts a machine that goes on with the job's session."""
    return any(LENDS.search(step.run) for step in job.steps)


def _session_s(work: Work, job: Job) -> int:
    """How long the job's session lives: as answered, and longest where a machine goes on with it."""
    if not _lends(job):
        return work.answers.session_s
    work.assumed.append(
        f"job {job.id}: the machine that it starts is done within {LONGEST_S // 3600} hours, and the role's "
        f"MaxSessionDuration is {LONGEST_S} s (aws iam update-role)"
    )
    return LONGEST_S


def _covered(steps: Mapping[int, Step], logins: set[int], step: Step) -> bool:
    """Whether a login of the job that always ran before the step serves it too."""
    return any(index < step.index and steps[index].condition in {"", step.condition} for index in logins)


def _asks_for_role(work: Work, carrier: Carrier, jobs: Iterable[Job]) -> None:
    """A variable that says whether there is a key says whether there is a role, which is as empty until it is set.

    Pull requests of forks and of Dependabot see variables, and no secret: for them it stays empty.
    """
    role = operand(_own_role(work, [c for c in work.credential.carriers if c.file == carrier.file]))
    pulled = any(work.repository.reached(job, "pull_request") for job in jobs)
    asked = f"(github.event_name != 'pull_request' || ({OWN_PULLS})) && {role}"
    if not pulled:
        text = SECRET.sub(lambda _: role, carrier.text)
    elif ONLY_SECRET.fullmatch(carrier.text):
        text = f"${{{{ {asked} || '' }}}}"
    else:
        text = SECRET.sub(lambda _: f"({asked})", carrier.text)
    work.draft(carrier.file).replace(carrier.path, text)


def _only_asked(job: Job, carrier: Carrier) -> bool:
    """Whether a variable under a name of its own is read for one thing: whether there is a key."""
    if _ASKS.fullmatch(carrier.text):
        return True
    if carrier.name.upper() in KEYS or not ONLY_SECRET.fullmatch(carrier.text):
        return False
    steps = [step for step in job.steps if carrier.step in {None, step.index}]
    texts = [step.condition + "\n" + step.run for step in steps]
    texts += [value for step in job.steps for value in (*step.inputs.values(), *step.env.values())]
    name = re.escape(carrier.name)
    asks = re.compile(
        rf"""-[nz]\s+(?P<a>["']?)\$\{{?{name}(:?-)?\}}?(?P=a)(?![\w.])
           | (?P<b>["']?)\$\{{?{name}(:?-)?\}}?(?P=b)\s*(==?|!=)\s*(""|'')
           | \benv\s*\.\s*{name}\s*[!=]=\s*''""",
        re.VERBOSE,
    )
    asked = any(asks.search(text) for text in texts)
    return asked and not any(re.search(rf"\b{name}\b", asks.sub("", text)) for text in texts)


def _standard(carrier: Carrier) -> None:
    if carrier.name.upper() not in KEYS or not carrier.part:
        raise Refusal(
            "renamed", f"{carrier.where} gives the key to a script under the name {carrier.name}",
            "Let the script use the SDK's own chain of credentials, then plan again.",
        )  # fmt: skip


def _configure(work: Work, step: Step, carriers: list[Carrier]) -> None:
    """The official action: the keys go, the role comes."""
    if step.input("role-chaining") == "true" or step.input("web-identity-token-file"):
        raise Refusal("both-ways", f"step {step.name!r} of job {step.job.id} chains roles")
    role = step.input("role-to-assume")
    work.drop_input(step, *KEY_INPUTS, "role-external-id")
    work.set_input(step, "role-to-assume", _role(work, carriers, [step], role), near=_first(step, KEY_INPUTS))
    if role:
        work.notes.append(
            f"the trust policy of {role} has to let this repository in; until now it let the key's user in"
        )
    if not step.input("role-session-name"):
        work.set_input(step, "role-session-name", "gha-${{ github.run_id }}", near=_first(step, KEY_INPUTS))
    if not step.input("role-duration-seconds"):
        work.set_input(step, "role-duration-seconds", str(_session_s(work, step.job)), near=_first(step, KEY_INPUTS))
    if not step.input("aws-region"):
        work.set_input(step, "aws-region", _region(work, step.job, [step]))
    if step.input("aws-region").startswith("cn-") and not step.input("audience"):
        work.set_input(step, "audience", CHINA)
    work.repin(step)


def _first(step: Step, names: tuple[str, ...]) -> str:
    return next((key for key in step.inputs if key.lower() in names), list(step.inputs)[-1])


def _consumer(work: Work, step: Step, carriers: list[Carrier]) -> bool:
    """A step that was given the key: take it away. Whether it needs a login before it."""
    if why := TWO_VALUES_ONLY.get(step.action):
        raise Refusal("tool-cannot", f"{step.uses.split('@')[0]}: {why}", "Use `aws s3 sync` after a login by OIDC.")
    texts = {c.path for c in carriers if c.kind == "run"}
    if step.action == SYNC:
        _sync(work, step)
    for carrier in carriers:
        if carrier.kind == "step-env":
            _standard(carrier)
            if not ONLY_SECRET.fullmatch(carrier.text) and not _chosen(carrier.text):
                raise Refusal("computed", f"{carrier.where} makes the value from an expression")
            work.drop(carrier)
        elif carrier.kind == "input" and step.action == "docker/login-action":
            work.drop(carrier)
        elif carrier.kind == "input" and step.action in FED:
            _feed(work, step, carrier)
        elif carrier.kind == "input":
            raise Refusal(
                "forwarded", f"{carrier.where} hands the key to {step.uses.split('@')[0]}, without its session",
                "Use the action's own OIDC or the SDK's environment, then plan again.",
            )  # fmt: skip
    if texts and work.draft(step.job.workflow.path).edit_lines(
        (*step.path, "run"), lambda lines: aws_script.without(work, lines, step.folder)
    ):
        work.draft(step.job.workflow.path).delete_step(step.path)
        later = [s for s in step.job.steps if s.index > step.index]
        if not later:
            raise Refusal("consumers-unknown", f"nothing in job {step.job.id} follows the step that stores the key")
        work.login(step.job, [later[0]], lambda condition: _step(work, step.job, [step, later[0]], condition))
        return False
    return True


def _feed(work: Work, step: Step, carrier: Carrier) -> None:
    """An action that takes the values as inputs gets those of the session, the third one with them."""
    names = FED[step.action]
    if carrier.name.lower() not in names[:2]:
        raise Refusal("forwarded", f"{carrier.where} takes the key under another name")
    which = names.index(carrier.name.lower())
    work.draft(carrier.file).replace(carrier.path, f"${{{{ env.{KEYS[which]} }}}}")
    if which == 1 and not step.input(names[2]):
        work.set_input(step, names[2], f"${{{{ env.{KEYS[2]} }}}}", near=carrier.name)


def _sync(work: Work, step: Step) -> None:
    """What the action runs, without the profile: its entrypoint.sh, which is `aws s3 sync` with its args."""
    env = step.env
    if set(map(str.lower, step.inputs)) - {"args"} or "AWS_S3_BUCKET" not in env or "${{" in step.input("args"):
        raise Refusal(
            "tool-cannot", f"{SYNC} writes a profile of two values", "Run `aws s3 sync` after a login by OIDC."
        )
    draft = work.draft(step.job.workflow.path)
    source = '"$SOURCE_DIR"' if "SOURCE_DIR" in env else "."
    target = '"s3://$AWS_S3_BUCKET/$DEST_DIR"' if "DEST_DIR" in env else '"s3://$AWS_S3_BUCKET/"'
    args = " ".join(step.input("args").split())
    draft.delete((*step.path, "uses"))
    if step.inputs:
        draft.delete((*step.path, "with"))
    draft.insert(step.path, "run", f"aws s3 sync {source} {target} --no-progress {args}".strip(), near="uses")
    if step.job.folder:  # an action knows no defaults of a job
        draft.insert(step.path, "working-directory", ".", near="uses")


def _chosen(text: str) -> bool:
    """``a && secrets.X || secrets.Y``: one of several keys, chosen by a condition that can choose a role as well."""
    return bool(re.fullmatch(r"\s*\$\{\{[^{}]*&&[^{}]*\|\|[^{}]*\}\}\s*", text))


def _step(work: Work, job: Job, consumers: list[Step], condition: str) -> Mapping[str, Any]:
    inputs = {
        "role-to-assume": _role(work, [c for c in work.credential.carriers if c.file == job.workflow.path], consumers),
        "role-session-name": "gha-${{ github.run_id }}",
        "role-duration-seconds": str(_session_s(work, job)),
        "aws-region": _region(work, job, consumers),
    }
    if inputs["aws-region"].startswith("cn-"):
        inputs["audience"] = CHINA
    asked = _ENV_KEY.search(condition)
    if asked is not None:  # the variables are not there before the login: whether there is a role, says as much
        role = inputs["role-to-assume"]
        condition = _ENV_KEY.sub(lambda _: operand(role), condition)
    return work.uses_step(CONFIGURE, inputs, **{"if": condition})


def _role(work: Work, carriers: list[Carrier], steps: list[Step], role: str = "") -> str:
    """The role's ARN for the steps; where pull requests come to them, one of their own for these."""
    return work.by_event(
        steps, lambda: role or _own_role(work, carriers), "AWS_PULL_REQUEST_ROLE_ARN", "the ARN of a role"
    )


def _own_role(work: Work, carriers: list[Carrier]) -> str:
    """The role's ARN: as answered, else a variable named after the secret that held the key's id."""
    for name in (*work.credential.secrets, ""):
        if given := work.answers.roles.get(name):
            return given
    chosen = next((c for c in carriers if c.part == "id" and _chosen(c.text)), None)
    if chosen is not None:
        return SECRET.sub(lambda m: f"vars.{_variable(work, m[1] or m[2])}", chosen.text)
    ids = [s for c in carriers if c.part == "id" for s in c.secrets] or list(work.credential.secrets)
    return f"${{{{ vars.{_variable(work, ids[0])} }}}}"


def _variable(work: Work, secret: str) -> str:
    stem = re.sub(
        r"(AWS_)?(SECRET_?)?ACCESS_?KEY(_?ID)?|(AWS_)?SECRET(_?ACCESS)?_?KEY|AWS_KEY(_ID)?",
        "AWS_ROLE_ARN",
        secret.upper(),
        count=1,
    )
    name = stem if "ROLE_ARN" in stem else f"{stem}_ROLE_ARN"
    work.need(name, "the ARN of the role that this repository may assume")
    return name


def _region(work: Work, job: Job, steps: list[Step]) -> str:
    for step in steps:
        for name in REGIONS:
            if value := step.env.get(name, ""):
                return value
    for env in (job.env, job.workflow.env):
        for name in REGIONS:
            if env.get(name):
                return f"${{{{ env.{name} }}}}"
    for step in steps:
        if found := re.search(r"\.dkr\.ecr\.([a-z0-9-]+)\.amazonaws", step.input("registry")):
            return found[1]
        if "public.ecr.aws" in step.input("registry"):
            return "us-east-1"
        if found := _REGION.search(step.run):
            return found[1]
        if value := step.input("aws-region") or step.input("aws_region") or step.input("region"):
            return value
    return work.answers.region or work.need("AWS_REGION", "the region of the job's AWS calls")


def _refuse_elsewhere(job: Job) -> None:
    """Keys of a store that only speaks S3 (R2, MinIO, Spaces) are no keys of AWS."""
    if said := elsewhere.perhaps(job):
        raise Refusal(
            "other-service", f"job {job.id} sends its calls elsewhere ({said}), so the key may be no key of AWS",
            "Ask that service for short-lived keys; keep this one in a protected environment until then.",
        )  # fmt: skip


def _refuse_carried_away(job: Job) -> None:
    """A tool that starts a machine and leaves the key with it needs a key that lives as long as the machine."""
    longer = _lends(job) and any(_limit_s(each) > LONGEST_S for each in job.workflow.jobs.values() if not each.hosted)
    found = next((each for each in job.steps if CARRIES.search(each.run) or (longer and LENDS.search(each.run))), None)
    if found is not None:
        raise Refusal(
            "tool-cannot", f"step {found.name!r} of job {job.id} starts a machine that keeps the key to end itself",
            "Give the machine an instance profile, then plan again.",
        )  # fmt: skip


def _taken_over(job: Job, touched: set[int]) -> Step | None:
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


def _speaks_before(work: Work, job: Job, login: Step) -> bool:
    """Whether a step before the login may need the key. What cannot be told of a script is listed."""
    before = [step for step in job.steps if step.index < login.index]
    if any(SPEAKS.search(s.run) or (not s.run and not QUIET.fullmatch(s.action)) or _names_key(s) for s in before):
        return True
    work.assumed += [f"job {job.id}: step {step.name!r} asks nothing of AWS" for step in before if step.run]
    return False


def _names_key(step: Step) -> bool:
    """Whether a step names the variables of a key."""
    return any(re.search(r"AWS_(ACCESS_KEY_ID|SECRET_ACCESS_KEY)", text) for text in step.texts())


def _refuse_both_ways(job: Job, logins: set[int], consumers: Mapping[int, Step]) -> None:
    if not consumers:
        return
    for step in job.steps:
        if step.action == CONFIGURE and step.index not in logins and permissions.mints(permissions.effective(job)):
            raise Refusal(
                "both-ways", f"job {job.id} has a role by OIDC in step {step.name!r} and the key beside it",
                "Find out what the key is for; if the role may do it, take the key out.",
            )  # fmt: skip


def _consumers(work: Work, carrier: Carrier) -> list[str]:
    """The jobs that use a key which the whole workflow was given. Raises Refusal when that is not plain."""
    workflow = work.repository.workflows[carrier.file]
    _standard(carrier)
    answered = [job for file, job in work.answers.consumers if file == carrier.file]
    if answered:
        return answered
    sure: list[str] = []
    unclear: list[str] = []
    for job in workflow.jobs.values():
        if job.uses:
            continue  # a caller's env does not reach what it calls
        spoken = [step for step in job.steps if _speaks(step)]
        opaque = [step for step in job.steps if _opaque(step)]
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


def _speaks(step: Step) -> bool:
    """Whether a step can be seen to speak to AWS."""
    return bool(SPEAKS.search(_LOCAL.sub("", step.run)) or AWS_ACTIONS.search(step.action))


def _opaque(step: Step) -> bool:
    """Whether a step may do anything: a script of the repository, a tool with a configuration, a strange action."""
    if step.run:
        return bool(
            re.search(
                r"(^|\s)(\./|make\b|npm run|yarn |pnpm |bash |sh |python|node |task |just |mvn|gradle|go (test|run))",
                step.run,
            )
        )
    return not QUIET.fullmatch(step.action)

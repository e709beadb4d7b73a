"""AWS: a role by OIDC in place of an access key.

Sources: README of aws-actions/configure-aws-credentials (OIDC is used only when a role and no key is given; the
session's values are exported to the steps that follow) and of docker/login-action (an ECR login takes them from there).
Temporary credentials have a third value, AWS_SESSION_TOKEN: wherever the two were handed on by name it goes too, and
where it cannot the job is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from bot.oidc import elsewhere, permissions
from bot.oidc.find import BY_MATRIX, Carrier
from bot.oidc.hands import aws_script, composite
from bot.oidc.hands.aws_script import KEYS
from bot.oidc.hands.aws_users import (
    CONFIGURE,
    KEY_INPUTS,
    QUIET,
    opaque_before,
    speaks,
    speaks_before,
    taken_over,
    users,
)
from bot.oidc.hands.composite import Composite
from bot.oidc.refusal import Refusal
from bot.oidc.shape import ONLY_SECRET, SECRET, Job, Step
from bot.oidc.work import LONGEST_S, OWN_PULLS, Work, operand

WHY = "AWS STS: AssumeRoleWithWebIdentity"
REGIONS = ("AWS_REGION", "AWS_DEFAULT_REGION")
_ENV_KEY = re.compile(r"\benv\s*\.\s*AWS_(ACCESS_KEY_ID|SECRET_ACCESS_KEY)\b")
# Whether there is a key at all: secrets.X != '', as a variable for conditions.
_ASKS = re.compile(
    r"\s*\$\{\{\s*(!!?\s*secrets\.\w+|secrets\.\w+\s*[!=]=\s*(''|\"\")|secrets\.\w+\s*&&\s*'?true'?\s*\|\|\s*'?false'?)\s*\}\}\s*"
)
_REGION = re.compile(
    r"(?m)(?:(?:--|set (?:default\.)?|^\s*)region\s*[= ]|\bAWS_(?:DEFAULT_)?REGION\s*=)\s*[\"']?([a-z]{2}-[a-z-]+-\d)\b"
)
CHINA = "sts.amazonaws.com.cn"  # README of configure-aws-credentials, "audience": the one of AWS in China
# Tools that hand their key to a machine which uses it for hours. CML's documentation asks for the longest session there
# is (cml.dev/doc/self-hosted-runners, "Cloud Compute Resource Credentials": role-duration-seconds of 12 hours).
LENDS = re.compile(r"\bcml([ -](ci )?|-cloud-)runner\b[\s\S]*--cloud[= ]\s*aws")
CARRIES = re.compile(
    r"\bdocker-machine\s+create\b[\s\S]*amazonec2|\bcml([ -](ci )?|-cloud-)runner\b[\s\S]*--idle-timeout[= ]\s*-1"
)
ROLE_S = 3600  # the session that a role allows unless it was told another one
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
    work.refuse_odd(by_matrix=True)
    found = work.by_job()
    wide = [c for c in work.credential.carriers if c.kind == "workflow-env"]
    for carrier in [each for each in wide if _ASKS.fullmatch(each.text)]:
        _asks_for_role(work, carrier, work.repository.workflows[carrier.file].jobs.values())
        wide.remove(carrier)
    for carrier in wide:
        _standard(carrier)
        for user in users(work, carrier):
            found.setdefault((carrier.file, user), [])
        work.drop(carrier)
    for (file, name), carriers in found.items():
        job = work.repository.job(file, name)
        if job.uses:
            continue  # what it hands on goes in pass_on
        _job(work, job, carriers, bool(wide and any(c.file == file for c in wide)))
    _companions(work)
    work.pass_on()


def _companions(work: Work) -> None:
    """What stands beside a key's variable under a name of the key goes with it: no half of it outlives a login."""
    for carrier in work.credential.carriers:
        if not carrier.kind.endswith("-env") or carrier.name.upper() not in KEYS:
            continue
        draft, table = work.draft(carrier.file), carrier.path[:-1]
        for entry in draft.source.at(table).real.entries if draft.deleted(carrier.path) else []:
            path = (*table, entry.key.value)
            if entry.key.value.upper() not in KEYS or draft.deleted(path):
                continue
            if "secrets" in entry.value.real.value:
                raise Refusal("half", f"{carrier.where} stands beside {entry.key.value} of another credential")
            draft.delete(path)


def _job(work: Work, job: Job, carriers: list[Carrier], wide: bool) -> None:
    work.trusted(job)
    _refuse_elsewhere(job)
    _refuse_carried_away(job)
    steps = {step.index: step for step in job.steps}
    by_step: dict[int, list[Carrier]] = {}
    for carrier in carriers:
        if carrier.kind in {"job-env", "step-env"} and _only_asked(job, carrier):
            _asks_for_role(work, carrier, [job])
        elif carrier.kind == "job-env" and (named := aws_script.named_back_in(work, job, carrier)):
            work.drop(carrier)
            for step in named:
                by_step.setdefault(step.index, []).append(replace(carrier, kind="step-env", step=step.index))
        elif carrier.kind == "job-env":
            wide = True
            _standard(carrier)
            work.drop(carrier)
        elif carrier.step is not None:
            by_step.setdefault(carrier.step, []).append(carrier)
    if carriers and not by_step and not wide:
        return  # it asks whether there is a key, and uses none
    logins, inside, called = set[int](), set[int](), set[int]()
    consumers: dict[int, Step] = {}
    for index, own in by_step.items():
        step = steps[index]
        if step.action == CONFIGURE:
            _configure(work, step, own)
            logins.add(index)
        elif (found := composite.called(work, step, own)) is not None:
            (inside if _composite(work, found, own) else called).add(index)
        elif _consumer(work, step, own):
            consumers[index] = step
    consumers |= {index: steps[index] for index in called}
    logins |= inside
    taken = taken_over(job, {*by_step}) if wide and not by_step else None
    if taken is not None and not speaks_before(work, job, taken):
        said = f"{job.workflow.path}, job {job.id}: the role of step {taken.name!r} took the key's place already"
        work.notes.append(said)
        return
    if wide and (first := _first_use(work, job, logins)) is not None:
        consumers[first.index] = first
    _refuse_both_ways(job, logins, consumers)
    needed = [step for index, step in sorted(consumers.items()) if not _covered(steps, logins, step)]
    for index in logins - inside:
        work.guard(steps[index])
    for step in job.steps:
        if step.action == CONFIGURE and step.input("role-chaining") == "true" and step.index not in by_step:
            said = f"the trust policy of {step.input('role-to-assume')} has to let the new role in instead of the user"
            work.notes.append(f"{job.workflow.path}, job {job.id}: {said}")
    work.login(job, needed, lambda condition: _step(work, job, needed, condition))
    aws_script.hand_on(work, job)
    _companions(work)
    if needed or logins:
        _keep_apart(work, job, min([*(step.index for step in needed), *logins]))
    _time(work, job)
    work.grant(job, WHY)


def _keep_apart(work: Work, job: Job, first: int) -> None:
    """A step behind a login that has another key of its own must not get the session's third value beside it.

    An empty one keeps it out, as configure-aws-credentials does it itself (its src/helpers.ts, exportCredentials).
    """
    draft = work.draft(job.workflow.path)
    for step in (each for each in job.steps if each.index >= first and not draft.deleted(each.path)):
        names = [n for n in step.env if n.upper() in KEYS[:2] and not draft.deleted((*step.path, "env", n))]
        if names and not any(name.upper() == KEYS[2] for name in step.env):
            draft.insert((*step.path, "env"), KEYS[2], "", near=names[-1])


def _first_use(work: Work, job: Job, logins: set[int]) -> Step | None:
    """The step that needs a login before it for a key which every step has; None where one of the job's comes first."""
    first = next((s for s in job.steps if not QUIET.fullmatch(s.action) or s.run), None)
    if first is None:
        raise Refusal("consumers-unknown", f"no step of job {job.id} can be seen to use the key")
    if any(index <= first.index for index in logins):
        return None
    login = next((s for s in job.steps if s.index in logins and not s.condition), None)
    served = login is not None and not opaque_before(work, job, login) and not speaks_before(work, job, login)
    return None if served else first


def _time(work: Work, job: Job) -> None:
    """A session that ends before the job does is seen by nobody until then: said where it may be so."""
    speaking = [step.index for step in job.steps if speaks(step)]
    kept = [step for step in job.steps if step.action == CONFIGURE and step.input("role-duration-seconds")]
    between = [s for s in job.steps if speaking and s.index < speaking[-1] and s.run and not speaks(s)]
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
    seconds = work.answers.session_s
    if not _lends(job):
        if seconds > ROLE_S:
            work.assumed.append(f"job {job.id}: the MaxSessionDuration of its role is {seconds} s or more")
        return seconds
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


def _composite(work: Work, found: Composite, carriers: list[Carrier]) -> bool:
    """An action of this repository that takes the key by inputs: it takes a role, or nothing. Whether it logs in."""
    draft = found.draft(work)
    logins: dict[int, Step] = {}
    for use in found.uses:
        configures = use.step is not None and use.step.action == CONFIGURE and use.name.lower() in KEY_INPUTS
        if not use.whole or use.step is None or not (configures or (use.kind == "step-env" and use.name in KEYS)):
            raise found.refuse(use)
        if configures:
            logins[use.step.index] = use.step
        draft.delete(use.path)
    if not logins:
        found.forget(work)
        return False
    given = {step.input("role-to-assume") for step in logins.values()}
    for step in logins.values():
        if step.input("role-chaining") == "true" or not step.input("aws-region") or len(given) > 1:
            raise Refusal("both-ways", f"{found.path} logs in in a way of its own")
        work.drop_input(step, *KEY_INPUTS, "role-external-id")
        found.once(work, step, "role-to-assume", step.input("role-to-assume") or "${{ inputs.role-to-assume }}")
        found.once(work, step, "role-session-name", step.input("role-session-name") or "gha-${{ github.run_id }}")
        seconds = step.input("role-duration-seconds") or str(work.answers.session_s)
        found.once(work, step, "role-duration-seconds", seconds)
        work.repin(step)
    if given != {""}:
        if work.pulled(found.caller):
            raise Refusal("reached-by-forks", f"pull requests come to {found.path}, which has a role already")
        work.notes.append(f"the trust policy of the role in {found.path} has to let this repository in")
        found.forget(work)
        return True
    role = found.offered(work, _role(work, carriers, [found.caller]), "role-to-assume")
    found.swap(work, {"role-to-assume": ("ARN of the role to get into by OIDC", role)})
    return True


def _first(step: Step, names: tuple[str, ...]) -> str:
    return next((key for key in step.inputs if key.lower() in names), list(step.inputs)[-1])


def _consumer(work: Work, step: Step, carriers: list[Carrier]) -> bool:
    """A step that was given the key: take it away. Whether it needs a login before it."""
    if why := TWO_VALUES_ONLY.get(step.action):
        raise Refusal("tool-cannot", f"{step.uses.split('@')[0]}: {why}", "Use `aws s3 sync` after a login by OIDC.")
    texts = {c.path for c in carriers if c.kind == "run"}
    if step.action == SYNC:
        _sync(work, step)
    named: dict[str, str] = {}
    for carrier in carriers:
        if carrier.kind == "step-env":
            if aws_script.named_back(step, carrier):
                named[carrier.name] = carrier.secrets[0]
            else:
                _standard(carrier)
            told = ONLY_SECRET.fullmatch(carrier.text) or BY_MATRIX.fullmatch(carrier.text)
            if not told and not _chosen(carrier.text):
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
    if (texts or named) and work.draft(step.job.workflow.path).edit_lines(
        (*step.path, "run"), partial(aws_script.without, work, step, named)
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
        "role-to-assume": _role(work, _of(work, job), consumers),
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


def _of(work: Work, job: Job) -> list[Carrier]:
    """The carriers that feed a job: its own, or else those of its file."""
    found = [c for c in work.credential.carriers if c.file == job.workflow.path]
    return [c for c in found if c.job == job.id] or found


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
    by = next(((c, found[1]) for c in carriers if c.part == "id" and (found := BY_MATRIX.fullmatch(c.text))), None)
    if by is not None:
        for secret in by[0].secrets:
            work.need(f"{secret}_ROLE_ARN", "the ARN of the role that this repository may assume")
        return f"${{{{ vars[format('{{0}}_ROLE_ARN', matrix.{by[1]})] }}}}"
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


def _refuse_both_ways(job: Job, logins: set[int], consumers: Mapping[int, Step]) -> None:
    if not consumers:
        return
    for step in job.steps:
        apart = step.condition and all(each.condition not in {"", step.condition} for each in consumers.values())
        beside = step.action == CONFIGURE and step.index not in logins and not apart
        if beside and permissions.mints(permissions.effective(job)):
            raise Refusal(
                "both-ways", f"job {job.id} has a role by OIDC in step {step.name!r} and the key beside it",
                "Find out what the key is for; if the role may do it, take the key out.",
            )  # fmt: skip

"""crates.io: a token by trusted publishing, which lives half an hour, in place of one that lives for ever.

Source: README of rust-lang/crates-io-auth-action (its output ``token`` goes into CARGO_REGISTRY_TOKEN of the step that
publishes, in the same job, since the action revokes it afterwards), crates.io/docs/trusted-publishing (no
pull_request_target and no workflow_run).
"""

from __future__ import annotations

import re

from bot.oidc.find import Carrier
from bot.oidc.hands import composite
from bot.oidc.refusal import Refusal
from bot.oidc.shape import ONLY_SECRET, SECRET, Job, Step
from bot.oidc.work import NO_PULLS, Work, free_id

WHY = "crates.io trusted publishing"
AUTH = "rust-lang/crates-io-auth-action"
CARGO = "actions-rs/cargo"  # its action.yml: cargo with `command` and `args`
TOKEN = "CARGO_REGISTRY_TOKEN"  # noqa: S105 - the name of a variable
STANDARD = (TOKEN, "CARGO_REGISTRIES_CRATES_IO_TOKEN")
PUBLISHES = re.compile(
    r"cargo\s+(\+\S+\s+)?(publish|release|workspaces\s+publish|ws\s+publish|smart-release|login)|release-plz|cargo-release"
    r"|publish-crates|\bcovector\b|\$\{?CARGO_REGISTRY_TOKEN"
)
NOT_PUBLISHED = re.compile(r"cargo\s+(yank|owner)\b")
_LOGIN = re.compile(
    r"\s*(echo\s+\S*\$\{\{[^}]*\}\}\S*\s*\|\s*)?cargo\s+login(\s+-{0,2}\s*[\"']?\$\{\{[^}]*\}\}[\"']?)?\s*"
)
_VOLATILE = re.compile(r"\b(steps|env)\b")
_LATE = re.compile(r"\b(failure|always|cancelled|success)\b")
_OTHER_REGISTRY = re.compile(r"--(registry|index)[= ](?!crates-io\b)")
_OTHER_NAME = re.compile(r"STAGING|PRIVATE|INTERNAL|KELLNR|SHIPYARD|CLOUDSMITH", re.IGNORECASE)
_FLAG = re.compile(r"\s--token[= ](\"\$\{\{[^}]*\}\}\"|'\$\{\{[^}]*\}\}'|\$\{\{[^}]*\}\}|\"?\$\{?(?P<var>\w+)\}?\"?)")


def migrate(work: Work) -> None:
    """Draft the migration of one token. Raises Refusal."""
    work.refuse_odd()
    for carrier in work.wide():
        work.drop(carrier)
    for job, carriers, wide in work.using_jobs(_publishes, "publish"):
        _job(work, job, carriers, wide)
    work.pass_on()


def _job(work: Work, job: Job, carriers: list[Carrier], wide: Carrier | None) -> None:
    work.trusted(job, refused=("pull_request_target", "workflow_run"))
    if any(_OTHER_REGISTRY.search(s.run) for s in job.steps) or any(map(_OTHER_NAME.search, work.credential.secrets)):
        raise Refusal("other-service", f"job {job.id} publishes to a registry other than crates.io")
    for step in job.steps:
        if NOT_PUBLISHED.search(step.run):
            raise Refusal("not-only-publish", f"step {step.name!r} of job {job.id} yanks or names owners")
    output = f"${{{{ steps.{free_id(job, 'crates-io-auth')}.outputs.token }}}}"
    consumers: dict[int, Step] = {}
    steps = {step.index: step for step in job.steps}
    for carrier in carriers:
        if carrier.kind == "job-env":
            work.drop(carrier)
            wide = carrier
        elif carrier.step is not None:
            _carrier(work, steps[carrier.step], carrier, output, consumers)
    stored = any(_LOGIN.fullmatch(line) for c in carriers if c.kind == "run" for line in c.text.splitlines())
    held = [(steps[c.step], c.name) for c in carriers if c.kind == "step-env" and c.step is not None]
    stored |= any(_only_logs_in(step, name) for step, name in held)
    stored |= any(work.draft(job.workflow.path).deleted(step.path) for step in job.steps if step.action == CARGO)
    if wide is not None or stored:
        for step in job.steps:
            if (
                _publishes(step, wide)
                and step.index not in consumers
                and not work.draft(job.workflow.path).deleted(step.path)
            ):
                _give(work, step, wide.name if wide else TOKEN, output)
                consumers[step.index] = step
    if not consumers:
        raise Refusal("consumers-unknown", f"no step of job {job.id} can be seen to publish")
    ordered = [consumers[index] for index in sorted(consumers)]
    _login(work, job, ordered, output)
    for step in ordered:
        work.guard(step)
    work.grant(job, WHY)


def _login(work: Work, job: Job, consumers: list[Step], output: str) -> None:
    """One exchange a job: a second one would have another id. Conditions that differ cannot share it."""
    conditions = list(dict.fromkeys(work.condition(step) for step in consumers))
    if len(conditions) > 1 and any(_LATE.search(each) for each in conditions):
        raise Refusal("publish-in-script", f"steps of job {job.id} publish after others have failed")
    if len(conditions) > 1 and any(_VOLATILE.search(each) for each in conditions):
        conditions = [NO_PULLS if any(work.pulled(step) for step in consumers) else ""]  # the token goes with the job
    shared = (
        "" if "" in conditions else " || ".join(f"({c})" for c in conditions) if len(conditions) > 1 else conditions[0]
    )
    step = work.uses_step(AUTH, {}, **{"if": shared, "id": output.split(".")[1]})
    work.draft(job.workflow.path).insert_step(consumers[0].path, step)


def _carrier(work: Work, step: Step, carrier: Carrier, output: str, consumers: dict[int, Step]) -> None:
    draft = work.draft(carrier.file)
    if step.action == CARGO and carrier.kind == "input":
        _of_cargo(work, step, carrier, output, consumers)
        return
    if carrier.kind in {"step-env", "input"}:
        if not ONLY_SECRET.fullmatch(carrier.text):
            raise Refusal("computed", f"{carrier.where} makes the value from an expression")
        if carrier.kind == "step-env" and not carrier.part and _only_logs_in(step, carrier.name):
            work.drop(carrier)
            if draft.edit_lines((*step.path, "run"), lambda lines: [_logged_in(line, carrier.name) for line in lines]):
                draft.delete_step(step.path)
            return
        if carrier.kind == "step-env" and not carrier.part:
            raise Refusal("renamed", f"{carrier.where} gives the token to a script under the name {carrier.name}")
        if step.run and not re.search(r"publish|release|crate|cargo login|deploy", step.run, re.IGNORECASE):
            raise Refusal("renamed", f"{carrier.where} gives the token to a script that cannot be seen to publish")
        found = composite.called(work, step, [carrier])
        if found is not None:  # its input takes the token that lives half an hour as it took the other one
            found.read_as(STANDARD)
        elif step.action and not carrier.part:
            raise Refusal("tool-cannot", f"{carrier.where} hands the token to {step.uses.split('@')[0]}")
        draft.replace(carrier.path, output)
        consumers[step.index] = step
        return
    if draft.edit_lines(carrier.path, lambda lines: [_line(line) for line in lines]):
        draft.delete_step(step.path)
        return
    left = "\n".join(line for line in map(_line, carrier.text.splitlines()) if line)
    if SECRET.search(left) and any(name in left.upper() for name in work.credential.secrets):
        raise Refusal("forwarded", f"{carrier.where} uses the token otherwise than to publish")
    if _publishes(step, None):
        _give(work, step, TOKEN, output)
        consumers[step.index] = step


def _only_logs_in(step: Step, name: str) -> bool:
    """Whether a script reads a variable in `cargo login` and nowhere else."""
    read = [line for line in step.run.splitlines() if re.search(rf"\$\{{?{re.escape(name)}\b", line)]
    return bool(read) and all(_logged_in(line, name) is None for line in read)


def _logged_in(line: str, name: str) -> str | None:
    value = rf"\$\{{{re.escape(name)}\}}|\${re.escape(name)}(?!\w)"
    spelled = re.sub(value, "${{ secrets.TOKEN }}", line)
    return None if spelled != line and _LOGIN.fullmatch(spelled) else line


def _of_cargo(work: Work, step: Step, carrier: Carrier, output: str, consumers: dict[int, Step]) -> None:
    """An action that runs cargo with the words that it is given: the token goes from its words into its variable."""
    draft = work.draft(carrier.file)
    if step.input("command") == "login" and ONLY_SECRET.fullmatch(carrier.text):
        draft.delete_step(step.path)
        return
    left = _FLAG.sub("", f" {carrier.text}").strip()
    if carrier.name != "args" or SECRET.search(left) or not _publishes(step, None):
        raise Refusal("forwarded", f"{carrier.where} uses the token otherwise than to publish")
    if left:
        draft.replace(carrier.path, left)
    else:
        draft.delete(carrier.path)
    _give(work, step, TOKEN, output)
    consumers[step.index] = step


def _give(work: Work, step: Step, name: str, output: str) -> None:
    draft = work.draft(step.job.workflow.path)
    if name in step.env:
        return
    if step.env:
        draft.insert((*step.path, "env"), name, output, near=list(step.env)[-1])
    else:
        near = "run" if step.run else "with" if step.inputs else "uses"
        draft.insert(step.path, "env", {name: output}, near=near)


def _line(line: str) -> str | None:
    """A line without the token: cargo reads it from its variable."""
    if SECRET.search(line) and _LOGIN.fullmatch(line):
        return None
    if "cargo" in line and SECRET.search(line):
        return _FLAG.sub("", line)
    return line


def _publishes(step: Step, wide: Carrier | None) -> bool:
    text = step.run or (f"cargo {step.input('command')} {step.input('args')}" if step.action == CARGO else step.action)
    if wide is not None and wide.name.upper() not in STANDARD:
        return bool(re.search(rf"\b{re.escape(wide.name)}\b", step.run))
    return bool(PUBLISHES.search(text)) and "--dry-run" not in text

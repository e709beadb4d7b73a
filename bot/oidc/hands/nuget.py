"""NuGet: a key by trusted publishing, which lives an hour, in place of one that lives for a year.

Source: README of NuGet/login (its output NUGET_API_KEY; ``user`` is the profile's name, no address).
"""

from __future__ import annotations

import re

from bot.oidc.find import Carrier
from bot.oidc.refusal import Refusal
from bot.oidc.shape import ONLY_SECRET, SECRET, Job, Step
from bot.oidc.work import Work, free_id

WHY = "NuGet trusted publishing"
LOGIN = "nuget/login"
KEY = "NUGET_API_KEY"
_SOURCE = re.compile(r"(-s|--source|-Source)[= ]+[\"']?(?!https://(api|www)\.nuget\.org|nuget\.org)([^\s\"']+)")
_FOREIGN = re.compile(r"https?://(?!(api|www)\.nuget\.org)\S|MYGET|FEEDZ|CLOUDSMITH|PROGET", re.IGNORECASE)
_NUGET = re.compile(r"nuget(\.exe)?\s+push|dotnet\s+nuget", re.IGNORECASE)


def migrate(work: Work) -> None:
    """Draft the migration of one key. Raises Refusal."""
    work.refuse_odd()
    for (file, name), carriers in work.by_job().items():
        job = work.repository.job(file, name)
        if not job.uses:
            _job(work, job, carriers)
    if any(carrier.kind == "workflow-env" for carrier in work.credential.carriers):
        raise Refusal("consumers-unknown", "the key stands in the env of the whole workflow")
    work.pass_on()


def _job(work: Work, job: Job, carriers: list[Carrier]) -> None:
    work.trusted(job)
    name = free_id(job, "nuget-login")
    output = f"${{{{ steps.{name}.outputs.{KEY} }}}}"
    steps = {step.index: step for step in job.steps}
    consumers: dict[int, Step] = {}
    for carrier in carriers:
        if carrier.step is None:
            raise Refusal("consumers-unknown", f"{carrier.where} feeds every step of the job")
        step = steps[carrier.step]
        if found := _SOURCE.search(step.run):
            raise Refusal("other-service", f"step {step.name!r} of job {job.id} pushes to {found[3][:60]}")
        for value in (*step.env.values(), *step.inputs.values(), *work.credential.secrets):
            if _FOREIGN.search(value):
                raise Refusal("other-service", f"step {step.name!r} of job {job.id} pushes elsewhere: {value[:60]}")
        consumers[step.index] = step
        _carrier(work, step, carrier, output)
    ordered = [consumers[n] for n in sorted(consumers)]
    conditions = {work.condition(step) for step in ordered}
    condition = conditions.pop() if len(conditions) == 1 else ""
    user = work.answers.values.get("nuget_user") or work.need("NUGET_USER", "the profile's name at nuget.org")
    login = work.uses_step(LOGIN, {"user": user}, **{"if": condition, "id": name})
    work.draft(job.workflow.path).insert_step(ordered[0].path, login)
    for step in ordered:
        work.guard(step)
    work.grant(job, WHY)


def _carrier(work: Work, step: Step, carrier: Carrier, output: str) -> None:
    draft = work.draft(carrier.file)
    if carrier.kind in {"step-env", "input"}:
        if not ONLY_SECRET.fullmatch(carrier.text):
            raise Refusal("computed", f"{carrier.where} makes the value from an expression")
        if carrier.kind == "input" and not carrier.part and "nuget" not in step.action:
            raise Refusal("tool-cannot", f"{carrier.where} hands the key to {step.uses.split('@')[0]}")
        draft.replace(carrier.path, output)
        return
    variable = _variable(step)

    def edit(lines: list[str]) -> list[str | None]:
        made: list[str | None] = []
        for line in lines:
            new = re.sub(
                r"[\"']?\$\{\{\s*secrets\.\w+\s*\}\}[\"']?", lambda m: variable if _ours(work, m[0]) else m[0], line
            )
            if new != line and not _NUGET.search("\n".join(lines)):
                raise Refusal(
                    "renamed", f"step {step.name!r} of job {step.job.id} hands the key to what cannot be seen"
                )
            made.append(new)
        return made

    draft.edit_lines(carrier.path, edit)
    if step.env:
        draft.insert((*step.path, "env"), KEY, output, near=list(step.env)[-1])
    else:
        draft.insert(step.path, "env", {KEY: output}, near="run")


def _ours(work: Work, text: str) -> bool:
    return bool({n.upper() for pair in SECRET.findall(text) for n in pair if n} & set(work.credential.secrets))


def _variable(step: Step) -> str:
    """The variable as the step's shell reads it. Raises Refusal when the shell cannot be told."""
    shell = step.node.get("shell")
    known = shell.value if shell is not None else ""
    if known in {"pwsh", "powershell"} or (not known and "windows" in step.job.runs_on.lower()):
        return f"$env:{KEY}"
    if known in {"bash", "sh"} or (not known and re.search(r"ubuntu|macos|linux", step.job.runs_on, re.IGNORECASE)):
        return f'"${KEY}"'
    raise Refusal("write-in-place", f"which shell runs step {step.name!r} of job {step.job.id} cannot be told")

"""RubyGems: rubygems.org's trusted publishing in place of an API key.

Source: README and source of rubygems/configure-rubygems-credentials: it writes ~/.gem/credentials and exports
GEM_HOST_API_KEY and BUNDLE_GEM__PUSH_KEY to the steps that follow, so both the file and the variable have to go.
"""

from __future__ import annotations

import re
from functools import partial

from bot.oidc.find import Carrier
from bot.oidc.hands import composite
from bot.oidc.refusal import Refusal
from bot.oidc.shape import SECRET, Job, Step
from bot.oidc.work import Work

WHY = "RubyGems trusted publishing"
CONFIGURE = "rubygems/configure-rubygems-credentials"
EXPORTED = ("GEM_HOST_API_KEY", "BUNDLE_GEM__PUSH_KEY")
NOT_PUBLISHED = re.compile(r"gem\s+(yank|owner)\b")
_FILE = re.compile(r".*(\.gem/credentials|(mkdir|chmod)\b.*\.gem\b|umask\b).*")
_HEREDOC = re.compile(
    r"\s*cat\s*(<<-?\s*['\"]?\w+['\"]?\s*>+\s*\S*\.gem/credentials|>+\s*\S*\.gem/credentials\s*<<-?\s*['\"]?\w+['\"]?)\s*"
)
_ENTRY = re.compile(r"\s*(---|:rubygems_api_key:.*|)\s*")  # of that file: the key of rubygems.org and no other
_HOST = re.compile(r"(--host[= ]|RUBYGEMS_HOST=)[\"']?(?!https://rubygems\.org)\S")
_NAMED = re.compile(r"\$\{?(\w+)\}?")
PUSHES = re.compile(r"gem\s+push|rake\s+\S*release|gem_push|release-gem|publish")


def migrate(work: Work) -> None:
    """Draft the migration of one key. Raises Refusal."""
    work.refuse_odd()
    for carrier in work.wide():
        work.drop(carrier)
    for job, carriers, wide in work.using_jobs(lambda s, _: bool(PUSHES.search(s.run or s.action)), "push a gem"):
        _job(work, job, carriers, wide is not None)
    work.pass_on()


def _job(work: Work, job: Job, carriers: list[Carrier], wide: bool) -> None:
    work.trusted(job)
    if any(NOT_PUBLISHED.search(step.run) for step in job.steps):
        raise Refusal("not-only-publish", f"job {job.id} yanks or names owners")
    for step in (each for each in job.steps if any(c.step == each.index for c in carriers)):
        env = [f"{key}={value}" for key, value in {**job.workflow.env, **job.env, **step.env}.items()]
        if any(_HOST.search(text) for text in (step.run, *env)):
            raise Refusal("other-service", f"step {step.name!r} of job {job.id} pushes to a host of its own")
    steps = {step.index: step for step in job.steps}
    consumers: dict[int, Step] = {}
    for carrier in carriers:
        if carrier.kind == "job-env":
            work.drop(carrier)
            wide = True
        elif carrier.step is not None:
            consumers[carrier.step] = steps[carrier.step]
            _carrier(work, steps[carrier.step], carrier)
    for step in job.steps:
        own, done = {c.step for c in carriers}, {c.step for c in carriers if c.kind == "run"}
        if (
            ".gem/credentials" in step.run
            and step.index not in done
            and (step.index in own or not step.env)
            and not work.draft(job.workflow.path).deleted(step.path)
        ):
            _script(work, step, (*EXPORTED, *(c.name for c in carriers)))
    if wide:
        consumers |= {s.index: s for s in job.steps if PUSHES.search(s.run or s.action)}
    consumers = {n: s for n, s in consumers.items() if not work.draft(job.workflow.path).deleted(s.path)}
    if not consumers:
        consumers = {s.index: s for s in job.steps if re.search(r"gem\s+push|rake\s+\S*release", s.run)}
    if not consumers:
        raise Refusal("consumers-unknown", f"no step of job {job.id} can be seen to push a gem")
    ordered = [consumers[index] for index in sorted(consumers)]
    work.login(job, ordered, lambda condition: work.uses_step(CONFIGURE, {}, **{"if": condition}))
    for step in ordered:
        work.guard(step)
    work.grant(job, WHY)


def _carrier(work: Work, step: Step, carrier: Carrier) -> None:
    if carrier.kind == "step-env":
        if "Bearer" in carrier.text or "pkg.github.com" in step.run:
            raise Refusal("other-service", f"{carrier.where} is for GitHub Packages")
        known = carrier.name.upper() in EXPORTED
        used = any(m[1] == carrier.name and not _FILE.fullmatch(line)
                   for line in step.run.splitlines() for m in _NAMED.finditer(line))  # fmt: skip
        if not known and used:
            raise Refusal("renamed", f"{carrier.where} gives the key to a script under the name {carrier.name}")
        work.drop(carrier)
    elif carrier.kind == "run":
        _script(work, step, EXPORTED)
    elif carrier.kind == "input":
        found = composite.called(work, step, [carrier])
        if found is not None:
            found.read_as(EXPORTED)
        elif not carrier.part:
            raise Refusal("tool-cannot", f"{carrier.where} hands the key to {step.uses.split('@')[0]}")
        work.draft(carrier.file).replace(carrier.path, "${{ env.GEM_HOST_API_KEY }}")


def _without(name: str, lines: list[str]) -> list[str | None]:
    """The lines of a script but for those that write the credentials' file, a here-document whole."""
    made: list[str | None] = []
    end = ""
    for line in lines:
        if end and (line.strip() == end or _ENTRY.fullmatch(line)):
            end = end if line.strip() != end else ""
            made.append(None)
            continue
        opened = re.search(r"<<-?\s*['\"]?(\w+)['\"]?", line) if _FILE.fullmatch(line) else None
        if end or (opened and not _HEREDOC.fullmatch(line)):
            raise Refusal("write-in-place", f"step {name!r} writes more than the key by a here-document")
        end = opened[1] if opened else ""
        made.append(None if _FILE.fullmatch(line) else line)
    return made


def _script(work: Work, step: Step, names: tuple[str, ...]) -> None:
    """Take out the lines that write the key to a file."""
    draft = work.draft(step.job.workflow.path)
    if draft.edit_lines((*step.path, "run"), partial(_without, step.name)):
        draft.delete_step(step.path)
        return
    left = [line for line in _without(step.name, step.run.split("\n")) if line is not None]
    if any(SECRET.search(line) for line in left):
        raise Refusal("forwarded", f"step {step.name!r} of job {step.job.id} uses the key otherwise than to push")

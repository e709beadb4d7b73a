"""PyPI: trusted publishing in place of an API token.

Sources: docs.pypi.org/trusted-publishers, README of pypa/gh-action-pypi-publish; twine 6.1 and newer, uv, pdm and
maturin exchange the token themselves when they find no credential; poetry, hatch and flit do not, so they
build and the action uploads. A reusable workflow is not supported (pypi/warehouse#11096).
"""

from __future__ import annotations

import re

from bot.oidc.find import Carrier
from bot.oidc.refusal import Refusal
from bot.oidc.shape import SECRET, Job, Step
from bot.oidc.work import Work

WHY = "PyPI trusted publishing"
ACTION = "pypa/gh-action-pypi-publish"
MATURIN = ("pyo3/maturin-action", "messense/maturin-action")
TEST = "https://test.pypi.org/legacy/"
OWN = re.compile(r"https?://(upload|test)\.pypi\.org/?\S*|testpypi|pypi", re.IGNORECASE)
USERS = ("TWINE_USERNAME", "UV_PUBLISH_USERNAME", "PDM_PUBLISH_USERNAME", "FLIT_USERNAME", "HATCH_INDEX_USER",
         "MATURIN_USERNAME", "PYPI_USERNAME", "POETRY_HTTP_BASIC_PYPI_USERNAME",
         "POETRY_HTTP_BASIC_TESTPYPI_USERNAME")  # fmt: skip
NATIVE = re.compile(r"(?<![\w-])(twine\s+upload|uv\s+publish|pdm\s+publish|maturin\s+(publish|upload))")
BUILDERS = re.compile(
    r"(?<![\w-])(?P<by>pipx\s+run\s+|uvx\s+|python3?\s+-m\s+|uv\s+run\s+)?(?P<tool>poetry|hatch|flit)\s+(--\S+\s+)*publish\b"
    r"(?P<rest>[^\n&|;]*)"
)
# Variables that a tool reads by itself, so that a script needs not name them.
READ_BY = {"TWINE_": "twine 6.1 or newer", "UV_PUBLISH_": "uv publish", "PDM_PUBLISH_": "pdm publish",
           "MATURIN_": "maturin"}  # fmt: skip
_CONFIG = re.compile(r"\s*poetry\s+config\s+(pypi-token|http-basic)\.\S+\s.*")
_RC = re.compile(r".*\.pypirc.*|\s*\[(pypi|distutils|server-login)\].*")
_FLAG = re.compile(r"\s+(-p|--password|--token|-t|-u|--username)[= ](\"[^\"]*\"|'[^']*'|\S*\$\{\{[^}]*\}\}\S*|\S+)")
# Variables of the uploading tools as a script sets them, in a line of their own or before a command.
_VARIABLE = (
    r"(?:TWINE_(?:USERNAME|PASSWORD)|UV_PUBLISH_(?:USERNAME|PASSWORD|TOKEN)|PDM_PUBLISH_(?:USERNAME|PASSWORD)"
    r"|MATURIN_(?:USERNAME|PASSWORD|PYPI_TOKEN))"
)
_VALUE = r"(?:\"[^\"]*\"|'[^']*'|\$\{\{[^}]*\}\}|[^\s;&|\"']+)"
_SET = re.compile(rf"\s*(?:export\s+)?{_VARIABLE}={_VALUE}\s*")
_SET_BEFORE = re.compile(rf"(?:{_VARIABLE}={_VALUE}[ \t]+)+(?=\S)")
# What may stand behind `publish` of a tool whose upload the action takes over.
_KEPT = re.compile(
    r"--build|--skip-existing|-r|--repository(=\S+)?|--no-interaction|-n|-v+|--yes|-y|(test-?)?pypi|\S*dist/\S*"
)
_OLD_TWINE = re.compile(r"twine\s*(==|<|<=|~=)\s*['\"]?([0-5]\.|6\.0)")


def migrate(work: Work) -> None:
    """Draft the migration of one token. Raises Refusal."""
    work.refuse_odd(by_matrix=True)
    for carrier in work.wide():
        work.drop(carrier)
        _users(work, carrier.file, (), carrier)
    for job, carriers, wide in work.using_jobs(lambda s, _: _uploads(s), "upload"):
        _job(work, job, carriers, wide)
    work.pass_on()


def _job(work: Work, job: Job, carriers: list[Carrier], wide: Carrier | None) -> None:
    work.trusted(job)
    if job.workflow.called:
        raise Refusal(
            "tool-cannot", f"{job.workflow.path} is a reusable workflow, whose identity PyPI does not take",
            "Upload from a job of the calling workflow; the reusable one may build.",
        )  # fmt: skip
    if any(_OLD_TWINE.search(step.run) for step in job.steps):
        raise Refusal("tool-cannot", f"job {job.id} installs a twine older than 6.1")
    steps = {step.index: step for step in job.steps}
    touched: dict[int, list[Carrier]] = {}
    for carrier in carriers:
        if carrier.kind == "job-env":
            work.drop(carrier)
            _users(work, carrier.file, job.path, carrier)
            wide = carrier
        elif carrier.step is not None:
            touched.setdefault(carrier.step, []).append(carrier)
    if wide is not None:
        touched |= {s.index: [] for s in job.steps if s.index not in touched and _uploads(s)}
    done = [_step(work, steps[number], own) for number, own in sorted(touched.items())]
    _attest_once(work, job)
    if not any(done):
        rest = [s for s in job.steps if s.index not in touched and _uploads(s)]
        if not rest:
            raise Refusal("consumers-unknown", f"no step of job {job.id} can be seen to upload to PyPI")
        for step in rest:
            _step(work, step, [])
    work.grant(job, WHY)


def _attest_once(work: Work, job: Job) -> None:
    """Attestations are made with an identity, beside the files: a second upload of the same files would find them.

    Source: pypa/gh-action-pypi-publish, issues 283 and 319. The last upload of a folder makes them.
    """
    last: dict[str, Step] = {}
    for step in (each for each in job.steps if each.action == ACTION):
        if (first := last.get(_dist(step))) is not None and not first.input("attestations"):
            work.set_input(first, "attestations", "false")
        last[_dist(step)] = step


def _dist(step: Step) -> str:
    """The folder that an upload takes its files from."""
    return (step.input("packages-dir") or step.input("packages_dir") or "dist").removeprefix("./").rstrip("/")


def _users(work: Work, file: str, path: tuple[str | int, ...], carrier: Carrier) -> None:
    """The user's name that stands beside a token goes with it."""
    node = work.repository.workflows[file].source.at((*path, "env"))
    for entry in node.real.entries:
        if entry.key.value.upper() in USERS and entry.key.value != carrier.name:
            work.draft(file).delete((*path, "env", entry.key.value))


def _uploads(step: Step) -> bool:
    return bool(NATIVE.search(step.run) or BUILDERS.search(step.run)) or step.action == ACTION


def _step(work: Work, step: Step, carriers: list[Carrier]) -> bool:
    """Take the token out of a step. Whether the step uploads."""
    for carrier in carriers:
        if carrier.kind == "input" and step.action != ACTION:
            raise Refusal(
                "tool-cannot", f"{step.uses.split('@')[0]} asks for the token",
                "Build in one job and upload with pypa/gh-action-pypi-publish in another.",
            )  # fmt: skip
        if carrier.kind == "step-env":
            work.drop(carrier)
    for name in step.env:
        if name.upper() in USERS:
            work.draft(step.job.workflow.path).delete((*step.path, "env", name))
    _refuse_elsewhere(step)
    if step.action == ACTION:
        work.drop_input(step, "password", "user")
        work.repin(step)
        work.guard(step)
        return True
    if step.uses:
        if step.action not in MATURIN:
            raise Refusal("tool-cannot", f"{step.uses.split('@')[0]} is not known to upload without a token")
        work.guard(step)
        return True
    return _script(work, step, carriers)


def _script(work: Work, step: Step, carriers: list[Carrier]) -> bool:
    if re.search(r"setup\.py\b.*\bupload\b", step.run):
        raise Refusal("tool-cannot", f"step {step.name!r} uploads with setup.py", "Use twine 6.1 or newer.")
    draft = work.draft(step.job.workflow.path)
    builder = BUILDERS.search(step.run)
    names = [c.name for c in carriers if c.kind == "step-env"]
    if builder is not None:
        _moved(work, step, builder)
        return True
    if draft.edit_lines((*step.path, "run"), lambda lines: _lines(work, step, lines, names)):
        draft.delete_step(step.path)
        return False
    if NATIVE.search(step.run):
        work.guard(step)
        return True
    tool = next((tool for start, tool in READ_BY.items() for name in names if name.upper().startswith(start)), "")
    if tool:
        work.assumed.append(f"job {step.job.id}: what step {step.name!r} runs uploads with {tool}")
        work.guard(step)
        return True
    if names and any(re.search(rf"\$\{{?{re.escape(n)}\b", step.run) for n in names):
        return False  # a script that only stored the token, which is gone from it
    raise Refusal("renamed", f"step {step.name!r} of job {step.job.id} hands the token to what cannot be seen")


def _lines(work: Work, step: Step, lines: list[str], names: list[str]) -> list[str | None]:
    made: list[str | None] = []
    others = any(SECRET.search(line) and not _reads(work, line, names) for line in lines)  # a token for another index
    for line in lines:
        new: str | None = line
        if _CONFIG.fullmatch(line):
            new = None
        elif _RC.fullmatch(line) and not line.strip().startswith("#"):
            raise Refusal("write-in-place", f"step {step.name!r} writes a .pypirc")
        elif _SET.fullmatch(line) and not others and NATIVE.search(step.run):
            new = None
        elif NATIVE.search(line):
            new = _FLAG.sub("", line)
            before = _SET_BEFORE.search(new)
            if before is not None and _reads(work, before[0], names):
                new = new[: before.start()] + new[before.end() :]
        if new is not None:
            _left(work, step, new, names)
        made.append(new)
    return made


def _reads(work: Work, line: str, names: list[str]) -> bool:
    """Whether a line reads the token, from its secret or from a variable of the step."""
    secret = set(work.credential.secrets) & {n.upper() for pair in SECRET.findall(line) for n in pair if n}
    return bool(secret) or any(re.search(rf"\$\{{?{re.escape(name)}\b", line) for name in names)


def _left(work: Work, step: Step, line: str, names: list[str]) -> None:
    if _reads(work, line, names):
        raise Refusal("forwarded", f"step {step.name!r} of job {step.job.id} uses the token otherwise than to upload")


def _moved(work: Work, step: Step, found: re.Match[str]) -> None:
    """A tool that cannot exchange tokens builds, and the action uploads right after it."""
    job, tool, rest = step.job, found["tool"], found["rest"]
    if not re.search(r"ubuntu|linux", job.runs_on, re.IGNORECASE) or "${{" in job.runs_on:
        raise Refusal(
            "tool-cannot", f"job {job.id} does not run on Linux for certain, which the uploading action needs"
        )
    whole = [line.strip() for line in step.run.splitlines() if line.strip() and not line.strip().startswith("#")]
    last = whole[-1]
    if not BUILDERS.fullmatch(last) or sum(bool(BUILDERS.search(line)) for line in whole) != 1:
        raise Refusal("publish-in-script", f"step {step.name!r}: `{tool} publish` is not the last command by itself")
    if any(re.match(r"(cd|pushd|if|for|while|case)\b", line) for line in whole):
        raise Refusal("publish-in-script", f"step {step.name!r} changes folders or branches before it publishes")
    if unknown := [word for word in _FLAG.sub("", " " + rest).split() if not _KEPT.fullmatch(word)]:
        raise Refusal(
            "publish-in-script", f"step {step.name!r}: `{tool} publish` has {unknown[0]}, which the action has not"
        )
    builds = tool == "flit" or "--build" in rest or not _built(job, step, tool)
    where = f"{step.folder.removeprefix('./').rstrip('/')}/dist/" if step.folder not in {"", ".", "./"} else ""

    def edit(lines: list[str]) -> list[str | None]:
        made: list[str | None] = []
        for line in lines:
            new: str | None = None if _CONFIG.fullmatch(line) else line
            if new is not None and BUILDERS.search(line):
                new = line[: len(line) - len(line.lstrip())] + f"{found['by'] or ''}{tool} build" if builds else None
            if new is not None:
                _left(work, step, new, [])
            made.append(new)
        return made

    draft = work.draft(job.workflow.path)
    inputs = {"packages-dir": where} if where else {}
    if re.search(r"test-?pypi", rest + " ".join(step.env), re.IGNORECASE):
        inputs["repository-url"] = TEST
    if "--skip-existing" in rest:
        inputs["skip-existing"] = "true"
    same = [each for each in job.steps if each.action == ACTION and _dist(each) == (where.rstrip("/") or "dist")]
    for other in same:
        if other.index < step.index and not other.input("attestations"):
            work.set_input(other, "attestations", "false")
    if any(other.index > step.index for other in same):
        inputs["attestations"] = "false"
    upload = work.uses_step(ACTION, inputs, **{"if": work.condition(step)})
    if draft.edit_lines((*step.path, "run"), edit):
        draft.insert_step(step.path, upload)
        draft.delete_step(step.path)
    else:
        draft.insert_step((*job.path, "steps", step.index + 1), upload)
        work.guard(step)


def _built(job: Job, step: Step, tool: str) -> bool:
    """Whether the packages were built before: in an earlier line, step or job."""
    before = [s for s in job.steps if s.index < step.index]
    text = "\n".join([*(s.run for s in before), step.run])
    build = rf"{tool}\s+build|python\d?\s+-m\s+build|pyproject-build"
    return bool(re.search(build, text)) or any(s.action == "actions/download-artifact" for s in before)


def _refuse_elsewhere(step: Step) -> None:
    given = [step.input(n) for n in ("repository-url", "repository_url")] + [
        step.env.get(n, "") for n in ("TWINE_REPOSITORY_URL", "TWINE_REPOSITORY", "UV_PUBLISH_URL", "PDM_PUBLISH_REPO")
    ]
    given += re.findall(r"--(?:repository-url|publish-url|index-url|repository|repo)[= ][\"']?([^\s\"']+)", step.run)
    for value in filter(None, given):
        if not OWN.match(value):
            raise Refusal("other-service", f"step {step.name!r} of job {step.job.id} uploads to {value[:60]}")

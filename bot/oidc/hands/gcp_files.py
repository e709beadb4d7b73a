"""The file of a Google key: what writes it and logs in from it goes, what would read another file as a key is refused.

google-github-actions/auth exports the name of a file too, and that one is no key: it says how to get a token
(google.aip.dev/auth/4117). Libraries and gcloud take it by the variables that the action sets (its README,
"export_environment_variables"); ``gcloud auth activate-service-account`` and a login to a registry as _json_key do not.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

from bot.oidc.find import Carrier
from bot.oidc.refusal import Refusal
from bot.oidc.shape import ONLY_SECRET, SECRET, Job, Step
from bot.oidc.work import Work

AUTH = "google-github-actions/auth"
VALUE = r"(\$\{\{[^}]*secrets[^}]*\}\}|\$\{?\w+\}?)"
FILE_NAMES = ("GOOGLE_APPLICATION_CREDENTIALS", "CLOUDSDK_AUTH_CREDENTIAL_FILE_OVERRIDE", "GOOGLE_CREDENTIALS")
_WRITTEN = re.compile(  # the key into a file
    rf"""\s*(echo|printf)\s(-\w+\s+|['"]%s['"]\s+)*["']?{VALUE}["']?
         (\s*\|\s*base64\s+(-d|-di|--decode|-D|-id)(\s+-i)?)?\s*>\s*(?P<file>"[^"]+"|'[^']+'|[^\s&|;]+)\s*""",
    re.VERBOSE,
)
_ACTIVATED = re.compile(r"\s*(\S*/)?gcloud\s+auth\s+activate-service-account\b[^|;&\\]*")  # and from there into gcloud
_EXPORTED = re.compile(r"""\s*(echo|export)\s+["']?GOOGLE_APPLICATION_CREDENTIALS=[^|;&]*""")
_REMOVED = re.compile(r"\s*(rm|shred|unlink)\s+(-\w+\s+)*\S+\s*")
# The file that the action exports, by its variables or its output.
_OF_LOGIN = re.compile(
    r"(\$(env:)?\{?|%|\benv\s*\.\s*)(GOOGLE_APPLICATION_CREDENTIALS|GOOGLE_GHA_CREDS_PATH"
    r"|CLOUDSDK_AUTH_CREDENTIAL_FILE_OVERRIDE)\b|\boutputs\.credentials_file_path\b"
)
_AS_KEY = re.compile(r"_json_key|activate-service-account|gs_service_key_file|client_email|private_key|\bjq\b")


def ours(work: Work, line: str, carrier: Carrier) -> bool:
    """Whether a line reads the key, from its secret or from the step's variable."""
    read = {name.upper() for pair in SECRET.findall(line) for name in pair if name}
    named = carrier.kind == "step-env" and re.search(rf"\$\{{?{re.escape(carrier.name)}\b", line)
    return bool(read & set(work.credential.secrets) or named)


def only_stored(carrier: Carrier, step: Step) -> None:
    """Refuse a variable that a script does more with than to write it to a file."""
    used = [line for line in step.run.splitlines() if re.search(rf"\$\{{?{re.escape(carrier.name)}\b", line)]
    if not used or not all(_WRITTEN.fullmatch(line) for line in used):
        raise Refusal(
            "renamed", f"{carrier.where} gives the key's text to a script under the name {carrier.name}",
            "Log in with google-github-actions/auth and let the program use the default credential, then plan again.",
        )  # fmt: skip


def of_job(work: Work, job: Job, carrier: Carrier) -> list[Step] | None:
    """Take out a variable of a job that its scripts write to a file, and do nothing else with; then as `take_out`.

    None where something else may read it: another text of the job, or a file of the repository that names it.
    """
    word = re.compile(rf"(?<!\w){re.escape(carrier.name)}(?!\w)")
    lines = [(s, SECRET.sub("", line)) for s in job.steps for text in s.texts() for line in text.splitlines()]
    stored = {s.index: s for s, line in lines if word.search(line) and _WRITTEN.fullmatch(line)}
    left = [line for _, line in lines if not _WRITTEN.fullmatch(line)]
    beside = (work.repository.files[path].decode(errors="replace") for path in work.repository.searched())
    if not stored or any(map(word.search, (*left, *beside))) or not ONLY_SECRET.fullmatch(carrier.text):
        return None
    work.drop(carrier)
    names = ", ".join(repr(step.name) for step in stored.values())
    work.assumed.append(f"job {job.id}: nothing but what step {names} does reads {carrier.name}")
    held = replace(carrier, kind="step-env")
    return [later for step in stored.values() for later in take_out(work, step, held)]


def take_out(work: Work, step: Step, carrier: Carrier) -> list[Step]:
    """Take the key's file out of a script; the step that follows, or what is left, needs a login before it."""
    draft = work.draft(step.job.workflow.path)
    files = [found["file"] for line in step.run.splitlines() if ours(work, line, carrier)
             and (found := _WRITTEN.fullmatch(line))]  # fmt: skip
    _names(work, step, files)

    def edit(lines: list[str]) -> list[str | None]:
        made: list[str | None] = []
        for number, line in enumerate(lines):
            gone = bool(ours(work, line, carrier) and _WRITTEN.fullmatch(line))
            gone = gone or (_logs_in(line) and any(_base(each) in line for each in files)) or _activates(line)
            carried = line.rstrip().endswith("\\") or (number and lines[number - 1].rstrip().endswith("\\"))
            if not gone and ours(work, line, carrier):
                raise Refusal("forwarded", f"step {step.name!r} of job {step.job.id} hands the key's text on")
            if gone and carried:
                raise Refusal("write-in-place", f"step {step.name!r} of job {step.job.id} has lines that go on")
            made.append(None if gone else line)
        return made

    if not draft.edit_lines((*step.path, "run"), edit):
        return [step]
    draft.delete_step(step.path)
    later = [s for s in step.job.steps if s.index > step.index]
    if not later:
        raise Refusal("consumers-unknown", f"nothing in job {step.job.id} follows the step that stores the key")
    return later[:1]


def forget(work: Work, job: Job) -> None:
    """Take out what logs in from the file that the action exports, which has logged in by then.

    Raises Refusal where a script would read that file as a key.
    """
    draft = work.draft(job.workflow.path)
    for step in job.steps:
        run = (*step.path, "run")
        lines = [line for line in step.run.splitlines() if _OF_LOGIN.search(line) and _AS_KEY.search(line)]
        if not lines or draft.deleted(step.path) or any(name in FILE_NAMES for name in step.env):
            continue
        others = [s for s in job.steps if s.action == AUTH and not _touched(work, s) and s.input("credentials_json")]
        kept = [s for s in job.steps if s.action == AUTH and "false" in {
            s.input("create_credentials_file").lower(), s.input("export_environment_variables").lower(),
        }]  # fmt: skip
        if others or kept or not all(map(_activates, lines)):
            raise Refusal(
                "forwarded", f"step {step.name!r} of job {job.id} would read the file of the login as a key",
                "Use `gcloud auth login --cred-file`, and a token of the login in the place of _json_key.",
            )  # fmt: skip
        if not draft.edited(run):
            _without(work, step, _activates)


def _activates(line: str) -> bool:
    return bool(_ACTIVATED.fullmatch(line) and _OF_LOGIN.search(line))


def _logs_in(line: str) -> bool:
    """A line that logs in from a file, or takes the file away; both go with it."""
    return any(pattern.fullmatch(line) for pattern in (_ACTIVATED, _EXPORTED, _REMOVED))


def _base(file: str) -> str:
    return file.strip("\"'").rstrip("/").rpartition("/")[2]


def _names(work: Work, own: Step, files: list[str]) -> None:
    """What names the file of the key goes with it: the action exports another. Refuse what reads it otherwise."""
    job, names = own.job, {_base(each) for each in files}
    found = False
    tables = [((), job.workflow.env), (job.path, job.env), *((step.path, step.env) for step in job.steps)]
    for path, env in tables:
        for key, value in env.items():
            if _base(value) in names and key.upper() in FILE_NAMES:
                if not path:
                    raise Refusal("forwarded", f"the env of {job.workflow.path} names the key's file for every job")
                work.draft(job.workflow.path).delete((*path, "env", key))
                found = True
            elif any(name in value for name in names):
                raise Refusal("forwarded", f"{key} in job {job.id} names the file of the key")
    for step in job.steps:
        known = [line for line in step.run.splitlines() if _WRITTEN.fullmatch(line) or _logs_in(line)]
        found = found or any(each.fullmatch(line) for each in (_ACTIVATED, _EXPORTED) for line in known)
        for value in (*step.inputs.values(), *step.run.splitlines()):
            if value not in known and any(name in value for name in names):
                raise Refusal("forwarded", f"step {step.name!r} of job {job.id} reads the file of the key")
        if step is not own and not _touched(work, step) and any(name in line for line in known for name in names):
            _without(
                work, step, lambda line: _activates(line) or (_logs_in(line) and any(name in line for name in names))
            )
    if names and not found:
        raise Refusal(
            "forwarded", f"step {own.name!r} of job {job.id} writes the key to a file, and nothing shows what reads it",
            "Name the file by GOOGLE_APPLICATION_CREDENTIALS in the workflow, then plan again.",
        )  # fmt: skip


def _without(work: Work, step: Step, gone: Callable[[str], bool]) -> None:
    """Take lines out of a script that log in, and the step when nothing else is in it."""
    draft = work.draft(step.job.workflow.path)

    def edit(lines: list[str]) -> list[str | None]:
        if any(line.rstrip().endswith("\\") for line in lines):
            raise Refusal("write-in-place", f"step {step.name!r} of job {step.job.id} has lines that go on")
        return [None if gone(line) else line for line in lines]

    if draft.edit_lines((*step.path, "run"), edit):
        draft.delete_step(step.path)


def _touched(work: Work, step: Step) -> bool:
    return any((c.file, c.job, c.step) == (step.job.workflow.path, step.job.id, step.index)
               for c in work.credential.carriers)  # fmt: skip

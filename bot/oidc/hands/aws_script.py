"""Scripts that were given an AWS key: the lines that hold it go, and the session token goes where the two went."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from types import MappingProxyType

from bot.oidc import permissions
from bot.oidc.find import Carrier
from bot.oidc.hands import compose
from bot.oidc.refusal import Refusal
from bot.oidc.shape import ONLY_SECRET, SECRET, Job, Step
from bot.oidc.work import Work

NOTHING: Mapping[str, str] = MappingProxyType({})
KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
_ASSIGN = re.compile(r"""(?:^|(?<=\s))(?:export\s+)?AWS_(?:ACCESS_KEY_ID|SECRET_ACCESS_KEY|SESSION_TOKEN)=
    (?:"\$\{\{[^}]*\}\}"|'\$\{\{[^}]*\}\}'|\$\{\{[^}]*\}\})[ \t]*""", re.VERBOSE)  # fmt: skip
_CONFIGURE_SET = re.compile(
    r"\s*aws\s+configure\s+set\s+(--profile\s+default\s+)?(default\.)?"
    r"aws_(access_key_id|secret_access_key|session_token)\s+\S.*"
)
_TO_ENV = re.compile(
    r"""\s*echo\s+["']?AWS_(ACCESS_KEY_ID|SECRET_ACCESS_KEY|SESSION_TOKEN)=.*>>\s*"?\$\{?GITHUB_ENV\}?"?\s*"""
)
_VALUE = r"(?P<quote>[\"']?){0}(=(\$\{{\{{[^}}]*\}}\}}|\$\{{?{0}\}}?))?(?P=quote)(?=\s|$)"
_HANDED = re.compile(r"(?P<flag>-e|--env)[ =]" + _VALUE.format(KEYS[1]))
_HANDED_ID = re.compile(r"(?P<flag>-e|--env)[ =]" + _VALUE.format(KEYS[0]))
# Without a key of its own the S3 backend of Terraform takes that of the environment (its documentation, "Credentials").
_BACKEND = re.compile(r"""\s+-backend-config[= ](["']?)(access_key|secret_key|token)=\$\{\{[^}]*\}\}\1(?=\s|$)""")
_NAMED = re.compile(r"AWS_(ACCESS_KEY_ID|SECRET_ACCESS_KEY)")


_HOME_FILE = r"[\"']?(~|\$HOME|\$\{HOME\}|/root|/home/runner)/\.aws/credentials[\"']?"
_INTO_FILE = re.compile(
    rf"\s*cat\s*(>+\s*{_HOME_FILE}\s*<<-?\s*[\"']?(?P<one>\w+)[\"']?|<<-?\s*[\"']?(?P<two>\w+)[\"']?\s*>+\s*"
    rf"{_HOME_FILE.replace('(~', '(?:~')})\s*"
)
_ECHOED = re.compile(rf"\s*(echo|printf)\s+(-e\s+)?(?P<q>[\"']?)(?P<text>.*?)(\\n)?(?P=q)\s*>+\s*{_HOME_FILE}\s*")
_PROFILE_LINE = re.compile(
    r"\s*(\[default\]|aws_(access_key_id|secret_access_key|session_token)\s*=\s*\S*\$\{\{[^}]*\}\}|(region|output)\s*=\s*\S+|)\s*"
)
_FOLDER = re.compile(r"\s*(mkdir|chmod|touch)\s.*\.aws(/credentials)?[\"']?\s*")

# Asking whether there is a key, which there is after the login.
_ASKED = re.compile(
    r"""\$\{\{\s*env\.AWS_(ACCESS_KEY_ID|SECRET_ACCESS_KEY)\s*[!=]=\s*''\s*\}\}
      | (-not\s+|!\s*|IsNullOr(Empty|WhiteSpace)\(\s*)\$env:AWS_(ACCESS_KEY_ID|SECRET_ACCESS_KEY)\b
      | -[zn]\s+"?\$\{?AWS_(ACCESS_KEY_ID|SECRET_ACCESS_KEY)(:?-)?\}?"?
      | \$\{AWS_(ACCESS_KEY_ID|SECRET_ACCESS_KEY):?\?[^}]*\}""",
    re.VERBOSE,
)


def named_back(step: Step, carrier: Carrier) -> bool:
    """Whether a script gives the key from a variable of its own name back the names that the tools read."""
    if carrier.name.upper() in KEYS or not step.run or not ONLY_SECRET.fullmatch(carrier.text):
        return False
    word = re.compile(rf"(?<!\w){re.escape(carrier.name)}(?!\w)")
    others = [step.condition, *(value for name, value in step.env.items() if name != carrier.name)]
    lines = [line for line in step.run.splitlines() if word.search(line)]
    back = re.compile(r"(?i)aws_?(access_key_id|secret_access_key|session_token)|access_key=|secret_key=")
    return bool(lines) and all(map(back.search, lines)) and not any(map(word.search, others))


def named_back_in(work: Work, job: Job, carrier: Carrier) -> list[Step]:
    """The steps of a job that give a variable of the job back so; none where anything else reads it."""
    word = re.compile(rf"(?<!\w){re.escape(carrier.name)}(?!\w)")
    reading = [s for s in job.steps if any(word.search(SECRET.sub("", text)) for text in s.texts())]
    beside = (work.repository.files[path].decode(errors="replace") for path in work.repository.searched())
    plain = all(named_back(s, carrier) and not any(map(word.search, s.inputs.values())) for s in reading)
    return reading if plain and not any(map(word.search, beside)) else []


def without(work: Work, step: Step, named: Mapping[str, str], lines: list[str]) -> list[str | None]:
    """The lines of a step's script without the key. Raises Refusal when one cannot be told.

    ``named``: the variables that hold the key in it, with the secret of each.
    """
    written = [_spelled_out(line, named) for line in lines]
    made = _without(work, written, step.folder)
    made = [old if new == text else new for old, text, new in zip(lines, written, made, strict=True)]
    left = _handed_on(step, [line or "" for line in made])
    return [old and new for old, new in zip(made, left, strict=True)]


def _spelled_out(line: str, named: Mapping[str, str]) -> str:
    """A line that reads the secret itself where it reads a variable that holds it."""
    for name, secret in named.items():
        value = rf"\$\{{{name}(?::?-)?\}}|\${name}(?!\w)|\$\{{\{{\s*env\.{name}\s*\}}\}}"
        line = re.sub(value, f"${{{{ secrets.{secret} }}}}", line)
    return line


def _without(work: Work, lines: list[str], folder: str) -> list[str | None]:
    made: list[str | None] = []
    names = set(work.credential.secrets)
    heredoc = ""
    profile = _profile(lines)
    for number, line in enumerate(lines):
        if number in profile:
            made.append(None)
            continue
        if heredoc:
            heredoc = "" if line.strip() == heredoc else heredoc
        elif opened := re.search(r"<<-?\s*['\"]?(\w+)", line):
            heredoc = opened[1]
        new: str | None = line
        if names & {n.upper() for pair in SECRET.findall(line) for n in pair if n}:
            carried = number and (lines[number - 1] or "").rstrip().endswith("\\")
            whole = not heredoc and not carried and not line.rstrip().endswith("\\")
            new = _line(work, line, whole, folder)
            if new is not None and names & {n.upper() for pair in SECRET.findall(new) for n in pair if n}:
                raise Refusal("forwarded", f"a script hands the key on: {SECRET.sub('secrets.…', line).strip()[:80]}")
        made.append(new)
    return made


def _profile(lines: list[str]) -> set[int]:
    """The lines that write the default profile to ~/.aws/credentials; none where others are named."""
    found, at = set[int](), 0
    while at < len(lines):
        opened = _INTO_FILE.fullmatch(lines[at])
        if opened is not None:
            word = opened["one"] or opened["two"]
            end = next((n for n in range(at + 1, len(lines)) if lines[n].strip() == word), None)
            if end is None or not all(_PROFILE_LINE.fullmatch(line) for line in lines[at + 1 : end]):
                return set()
            found |= set(range(at, end + 1))
            at = end
        elif (told := _ECHOED.fullmatch(lines[at])) is not None:
            if not _PROFILE_LINE.fullmatch(told["text"]):
                return set()
            found.add(at)
        at += 1
    return found | {n for n, line in enumerate(lines) if found and _FOLDER.fullmatch(line)}


def _line(work: Work, line: str, whole: bool, folder: str) -> str | None:
    default = "--profile" not in line.replace("--profile default", "")
    if whole and ((_CONFIGURE_SET.fullmatch(line) and default) or _TO_ENV.fullmatch(line)):
        return None
    handed = _HANDED_ID.sub(r"\g<flag> AWS_ACCESS_KEY_ID", line)
    handed = _HANDED.sub(r"\g<flag> AWS_SECRET_ACCESS_KEY \g<flag> AWS_SESSION_TOKEN", handed)
    if whole:
        handed = _BACKEND.sub("", handed)
        left = _ASSIGN.sub("", handed)
        if left != handed and not left.strip():
            return None
        command = left.strip().split(" ")[0].rpartition("/")[2]
        if left != handed and compose.COMMAND.match(left.strip()):
            compose.hand_on(work, left, folder)
        elif left != handed and command in {"docker", "podman", "sudo"}:
            raise Refusal("forwarded", "a script hands the key to containers, which a session token would not reach")
        return left if left == line or left[:1] == line[:1] else line[: len(line) - len(line.lstrip())] + left.lstrip()
    return handed


def hand_on(work: Work, job: Job) -> None:
    """Where the two values are handed on by name, hand on the third. Raises Refusal where that cannot be done."""
    draft = work.draft(job.workflow.path)
    for step in job.steps:
        given = [("with", k, v) for k, v in step.inputs.items()]
        given += [("env", k, v) for k, v in step.env.items() if k.upper() not in KEYS]
        for table, key, value in given:
            gone = draft.deleted((*step.path, table, key))
            if not gone and re.search(r"\benv\s*\.\s*AWS_(ACCESS_KEY_ID|SECRET_ACCESS_KEY)\b", value):
                raise Refusal("forwarded", f"step {step.name!r} of job {job.id} hands the key on as {key}")
        if not step.run or draft.deleted(step.path):
            continue
        _refuse_profile(job, step)
        _refuse_scripts(work, job, step)
        carried = draft.edited((*step.path, "run"))
        if not carried and compose.COMMAND.search(step.run):
            compose.seen(work, job, step, step.folder)
        named = not carried and _NAMED.search(step.run)
        if named and draft.edit_lines((*step.path, "run"), partial(_handed_on, step)):
            draft.delete_step(step.path)


def _refuse_profile(job: Job, step: Step) -> None:
    """A command that names the default profile asks the files of it, and not the environment where the session is."""
    if re.search(r"\baws\s+(?!configure\b)[^\n;&|]*--profile[= ]default\b", step.run):
        raise Refusal("forwarded", f"step {step.name!r} of job {job.id} asks for the default profile by its name")


def _refuse_scripts(work: Work, job: Job, step: Step) -> None:
    """A script of the repository that hands the two values on by name would leave the third one behind."""
    own = set(step.run.splitlines())
    beyond = [line for line in permissions.with_scripts(step, work.repository.files).splitlines() if line not in own]
    if any(KEYS[2] in line for line in beyond):
        return
    for line in beyond:
        rest = "" if line.strip().startswith("#") or _stores(line) else _ASKED.sub("", line)
        if _NAMED.search(rest):
            raise Refusal(
                "forwarded", f"a script that step {step.name!r} of job {job.id} calls uses the key by its variable",
                f"Hand on {KEYS[2]} there beside the two, then plan again.",
            )  # fmt: skip


def _handed_on(step: Step, lines: list[str]) -> list[str | None]:
    text = "\n".join(lines)
    held = {name: name for name in KEYS if name in step.env}
    stored = _profile([_spelled_out(line, held) for line in lines])
    made: list[str | None] = []
    for number, line in enumerate(lines):
        new: str | None = line
        if number in stored or _stores(line):
            new = None
        elif _NAMED.search(line) and not line.strip().startswith("#") and not _of_another_key(step, line):
            rest = _ASKED.sub("", _HANDED.sub("", _HANDED_ID.sub("", line)))
            if _NAMED.search(rest):
                raise Refusal(
                    "forwarded", f"step {step.name!r} uses the key by its variable and would miss the session token"
                )
            if "AWS_SESSION_TOKEN" not in text:
                new = _HANDED.sub(lambda m: f"{m[0]} {m['flag']} AWS_SESSION_TOKEN", line)
        made.append(new)
    return made


def _stores(line: str) -> bool:
    """A whole line that puts the key from its variables where the tools find the session's without it."""
    own = bool(re.search(r"\$\{?AWS_(ACCESS_KEY_ID|SECRET_ACCESS_KEY|SESSION_TOKEN)\b", line)) and "secrets" not in line
    default = _CONFIGURE_SET.fullmatch(line) and "--profile" not in line.replace("--profile default", "")
    return own and not line.rstrip().endswith("\\") and bool(default or _TO_ENV.fullmatch(line))


def _of_another_key(step: Step, line: str) -> bool:
    """A line that exports another key, in a step that runs in some cases only: the one here has its own."""
    return bool(step.condition and SECRET.search(line) and _TO_ENV.fullmatch(line))

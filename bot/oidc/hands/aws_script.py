"""Scripts that were given an AWS key: the lines that hold it go, and the session token goes where the two went."""

from __future__ import annotations

import re
from functools import partial

from bot.oidc.hands import compose
from bot.oidc.refusal import Refusal
from bot.oidc.shape import SECRET, Job
from bot.oidc.work import Work

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


def without(work: Work, lines: list[str], folder: str = "") -> list[str | None]:
    """The lines of a script without the key; ``folder`` is where it runs. Raises Refusal when one cannot be told."""
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
    if whole and ((_CONFIGURE_SET.fullmatch(line) and "--profile" not in line) or _TO_ENV.fullmatch(line)):
        return None
    handed = _HANDED_ID.sub(r"\g<flag> AWS_ACCESS_KEY_ID", line)
    handed = _HANDED.sub(r"\g<flag> AWS_SECRET_ACCESS_KEY \g<flag> AWS_SESSION_TOKEN", handed)
    if whole:
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
        carried = bool(
            set(work.credential.secrets) & {n.upper() for pair in SECRET.findall(step.run) for n in pair if n}
        )
        if not carried and compose.COMMAND.search(step.run):
            compose.seen(work, job, step, step.folder)
        if not carried and _NAMED.search(step.run):
            draft.edit_lines((*step.path, "run"), partial(_handed_on, step.name))


def _handed_on(name: str, lines: list[str]) -> list[str | None]:
    text = "\n".join(lines)
    made: list[str | None] = []
    for line in lines:
        new = line
        if _NAMED.search(line) and not line.strip().startswith("#"):
            rest = _ASKED.sub("", _HANDED.sub("", _HANDED_ID.sub("", line)))
            if _NAMED.search(rest):
                raise Refusal(
                    "forwarded", f"step {name!r} uses the key by its variable and would miss the session token"
                )
            if "AWS_SESSION_TOKEN" not in text:
                new = _HANDED.sub(lambda m: f"{m[0]} {m['flag']} AWS_SESSION_TOKEN", line)
        made.append(new)
    return made

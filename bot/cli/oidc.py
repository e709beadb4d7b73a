"""``bulkhead oidc``: move a repository's workflows from static secrets to short-lived identities."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from bot.actions import aws_trust
from bot.app import opened
from bot.cli import frame, page
from bot.cli.checkout import content, load
from bot.cli.migrate import migrate
from bot.errors import InputError
from bot.oidc import find, hosted, provision, recipes, report, trust, verify
from bot.oidc.branches import others
from bot.oidc.plan import Outcome, Plan
from bot.oidc.plan import plan as make_plan
from bot.oidc.repository import FOLDER, Repository
from bot.oidc.work import LONGEST_S, SESSION_S, Answers
from bot.story import ASKS, BAD, DIM, GOOD, HEADING, Line
from bot.world import REAL

app = frame.group("Move workflows from static secrets to OIDC.")
app.command()(migrate)
_ROLE = re.compile(r"(arn:aws[\w-]*:iam::\d{12}:role/([\w+=,.@-]+/)*)?(?P<name>[\w+=,.@-]{1,64})", re.ASCII)
Where = Annotated[Path, typer.Argument(help="A repository's folder, or one workflow file.")]


@app.command()
def scan(
    path: Annotated[
        str, typer.Argument(help="A repository's folder, a workflow file, or OWNER/NAME at GitHub with its branches.")
    ],
    json_: frame.Json = False,
    sarif: Annotated[bool, typer.Option("--sarif", help="Print SARIF for code scanning.")] = False,
    every: Annotated[
        bool, typer.Option("--branches", help="Look at every branch of the clone whose files can run, too.")
    ] = False,
) -> None:
    """Show every static credential that workflows use: where it stands, who uses it, what starts that."""
    limits: tuple[str, ...] = ()
    if not Path(path).exists() and re.fullmatch(r"[\w.-]+/[\w.-]+", path, re.ASCII):
        held = _hosted(path)
        repository, branches, limits = held.repository, list(held.others), held.limits
    else:
        repository = load(Path(path))
        branches = others(Path(path), repository) if every else []
    found = find.credentials(repository.workflows.values())
    if sarif:
        frame.document(report.sarif(found, version("bulkhead"), branches))
    elif json_:
        frame.document(report.scanned(repository, found, branches) | ({"limits": list(limits)} if limits else {}))
    else:
        _show(repository, found)
        for branch in branches:
            page.lines([Line(f"branch {branch.name}", style=HEADING)])
            _show(branch.repository, list(branch.credentials))
    if not json_ and not sarif:
        page.lines([Line(f"Not looked at: {each}.", style=ASKS) for each in limits])


def _hosted(name: str) -> hosted.Hosted:
    """A repository at GitHub, read by the identity of this installation. Raises what GitHub says."""
    frame.quiet_logs()
    with opened(frame.settings_of(None)) as bulkhead, frame.busy(f"reading the branches of {name}"):
        return hosted.read(bulkhead.worlds[REAL]("scan").github, name)


def _show(repository: Repository, found: list[find.Credential]) -> None:
    table = page.table("credential", "secrets", "where it stands", "started by", "in its place")
    for credential in found:
        used = report.users(repository, credential)
        events = sorted({event for each in used for event in each["events"]})
        forks = sorted({event for each in used for event in each["forks"]})
        started = ", ".join(events) + (f"; outsiders reach it by {', '.join(forks)}" if forks else "")
        where = "\n".join(f"{Path(c.file).name}:{c.line} {c.kind} {c.name}".rstrip() for c in credential.carriers)
        table.add_row(credential.title, "\n".join(credential.secrets), where, started, credential.instead)
    lines: list[Any] = [Line(f"{len(found)} static credentials", style=HEADING)]
    lines += [table] if found else []
    lines += [Line(f"{name}: {refusal.why}", style=BAD) for name, refusal in repository.unreadable.items()]
    page.lines(lines)


@app.command()
def plan(
    path: Where,
    config: Annotated[Path | None, typer.Option(help="Answers in a YAML file; the options go before it.")] = None,
    role: Annotated[
        list[str] | None, typer.Option(help="ARN of the role, or SECRET=ARN for the key of that secret.")
    ] = None,
    region: Annotated[str, typer.Option(help="AWS region where none can be seen.")] = "",
    environment: Annotated[str, typer.Option(help="Bind the jobs that get an identity to this environment.")] = "",
    consumer: Annotated[
        list[str] | None, typer.Option(help="FILE:JOB that uses a secret which a whole workflow was given.")
    ] = None,
    session: Annotated[
        int | None, typer.Option(min=900, max=43200, help="Seconds that an AWS session lives; 900 unless said.")
    ] = None,
    default_permissions: Annotated[
        str, typer.Option(help="What the repository's settings give a job that states no permissions: read or write.")
    ] = "",
    out: Annotated[
        Path | None, typer.Option(help="Write the providers' side here: trust, permissions, commands and Terraform.")
    ] = None,
    repository_: Annotated[
        str, typer.Option("--repository", help="For --out: OWNER/NAME,REPOSITORY_ID,OWNER_ID of the repository.")
    ] = "",
    account: Annotated[str, typer.Option(help="For --out: the AWS account.")] = "ACCOUNT",
    branch: Annotated[str, typer.Option(help="For --out: the default branch.")] = "main",
    events: Annotated[
        Path | None, typer.Option(help="For --out: CloudTrail events of the old key, for the least permissions.")
    ] = None,
    write: Annotated[bool, typer.Option("--write", help="Write the files.")] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Have zizmor, the JSON schema and GitHub's parser read the result; with "
                                           "--write nothing is written that one of them finds fault with.")
    ] = False,
    json_: frame.Json = False,
) -> None:
    """Say for each static credential how it is migrated, or why not; show the difference, and write it if told to."""
    repository = load(path)
    answers = _answers(config, role or [], region, environment, consumer or [], session, default_permissions)
    made = make_plan(repository, answers)
    new, missing = _checked(made) if check else (Counter[str](), list[str]())
    write = write and not new
    if out is not None:
        setup = provision.files(made, _owner(repository_, account, branch), _events(events) if events else None)
        for name, text in setup.items():
            (out / name).parent.mkdir(parents=True, exist_ok=True)
            (out / name).write_text(text)
    if write:
        for name, data in made.changed.items():
            (path if path.is_file() else path / name).write_bytes(data)
    if json_:
        read = {"checked": {"new_findings": dict(new), "not_installed": missing}} if check else {}
        frame.document(report.planned(made) | {"written": write} | read)
    else:
        page.lines(_told(made, write))
        page.lines([Line(verify.said(new, missing), style=BAD if new else DIM)] if check else [])
    if new:
        raise typer.Exit(frame.FAILED)


def _checked(made: Plan) -> tuple[Counter[str], list[str]]:
    pairs = [(made.before.files[name], data) for name, data in made.changed.items() if name.startswith(FOLDER)]
    with frame.busy("reading the result with other tools"):
        return verify.new_errors(pairs)


def _owner(given: str, account: str, branch: str) -> provision.Owner:
    parts = given.split(",")
    if len(parts) != 3 or "/" not in parts[0] or not (parts[1].isdecimal() and parts[2].isdecimal()):
        raise InputError(
            "--out needs --repository OWNER/NAME,ID,OWNER_ID; gh api repos/OWNER/NAME --jq .id,.owner.id tells them"
        )
    return provision.Owner(
        repository=parts[0], repository_id=parts[1], owner_id=parts[2], branch=branch, account=account
    )


def _events(path: Path) -> list[dict[str, Any]]:
    """CloudTrail's records, as a file of the trail, as `aws cloudtrail lookup-events` prints them, or one a line."""
    text = content(path).decode(errors="replace")
    try:
        found: Any = json.loads(text)
    except ValueError:
        try:
            found = [json.loads(line) for line in text.splitlines() if line.strip()]
        except ValueError:
            raise InputError(f"{path} holds no CloudTrail events") from None
    rows = found if isinstance(found, list) else found.get("Records") or found.get("Events") or [found]
    rows = [json.loads(row["CloudTrailEvent"]) if "CloudTrailEvent" in row else row for row in rows]
    if not any("eventSource" in row for row in rows):
        raise InputError(f"{path} holds no CloudTrail events")
    return rows


def configured(config: Path) -> Answers:
    """The answers of a file alone. Raises InputError."""
    return _answers(config, [], "", "", [], None, "")


def _answers(
    config: Path | None, roles: list[str], region: str, environment: str, consumers: list[str], session: int | None,
    default: str,
) -> Answers:  # fmt: skip
    said = _config(config) if config else {}
    given: dict[str, str] = {str(k).upper(): str(v) for k, v in (said.get("roles") or {}).items()}
    if said.get("role"):
        given[""] = str(said["role"])
    for each in roles:
        name, found, arn = each.partition("=")
        given |= {name.upper(): arn} if found else {"": each}
    named = [*(said.get("consumers") or []), *consumers]
    if wrong := next((each for each in named if ":" not in each), None):
        raise InputError(f"--consumer {wrong}: write FILE:JOB, such as deploy.yml:release")
    if default not in {"", "read", "write"}:
        raise InputError("--default-permissions is read or write, as the repository's settings for Actions say")
    seconds = session or said.get("session") or SESSION_S
    if not isinstance(seconds, int) or not SESSION_S <= seconds <= LONGEST_S:
        raise InputError(f"{config}: session is a number of seconds from {SESSION_S} to {LONGEST_S}")
    pairs = frozenset((_file(file), job) for file, _, job in (each.rpartition(":") for each in named))
    values = {key: str(value) for key, value in (said.get("values") or {}).items()}
    return Answers(
        roles=given, region=region or str(said.get("region") or ""), consumers=pairs, values=values,
        environment=environment or str(said.get("environment") or ""), session_s=seconds,
        default_permissions=default or str(said.get("default_permissions") or ""),
    )  # fmt: skip


def _file(name: str) -> str:
    return name if "/" in name else f"{FOLDER}{name}"


def _config(path: Path) -> dict[str, Any]:
    try:
        found = yaml.safe_load(content(path))
    except yaml.YAMLError:
        raise InputError(f"{path} is not YAML") from None
    known = {"default_permissions", "role", "roles", "region", "environment", "consumers", "session", "values"}
    if not isinstance(found, dict) or set(found) - known:
        raise InputError(f"{path} must be a table with the keys {', '.join(sorted(known))}")
    return found


def _told(made: Plan, written: bool) -> list[Line]:
    lines = [Line(f"{len(made.migrated)} migrated, {len(made.refused)} left as they are", style=HEADING)]
    for outcome in made.outcomes:
        lines += _outcome(outcome)
    lines += [Line(f"{name}: {refusal.why}", style=BAD) for name, refusal in made.before.unreadable.items()]
    if made.changed:
        lines += [Line(""), *(Line(each, command=True, style=_colour(each))
                              for each in report.diff(made.before.files, made.after.files).splitlines())]  # fmt: skip
        lines.append(
            Line(
                f"Releases of actions are those of {recipes.pin_date()}, from the table; GitHub was not asked.",
                style=DIM,
            )
        )
        lines.append(Line("Written." if written else "Nothing was written; give --write.", style=DIM))
    return lines


def _outcome(outcome: Outcome) -> list[Line]:
    credential = outcome.credential
    name = f"{credential.title} ({', '.join(credential.secrets)})"
    if outcome.refusal is not None:
        lines = [Line(f"{name}: left as it is, {outcome.refusal.code}: {outcome.refusal.why}", style=ASKS)]
        lines += [Line(f"  Not given, and would decide it: {outcome.refusal.lacks}")] if outcome.refusal.lacks else []
        return lines + ([Line(f"  By hand: {outcome.refusal.hand}")] if outcome.refusal.hand else [])
    jobs = ", ".join(f"{Path(file).name}:{job}" for file, job in outcome.granted)
    lines = [Line(f"{name}: migrated; an identity for {jobs}", style=GOOD)]
    lines += [Line(f"  Set {name}: {what}") for name, what in outcome.asks.items()]
    lines += [Line(f"  Assumed: {each}") for each in outcome.assumed]
    return lines + [Line(f"  Note: {each}") for each in outcome.notes]


def _colour(line: str) -> str:
    return GOOD if line.startswith("+") else BAD if line.startswith("-") else DIM


@app.command()
def batch(
    paths: Annotated[list[Path], typer.Argument(help="Folders of repositories.")],
    config: Annotated[Path | None, typer.Option(help="Answers in a YAML file, for all of them.")] = None,
    state: Annotated[
        Path | None, typer.Option(help="Keep what is done in this file; a repository that has not changed is skipped.")
    ] = None,
    write: Annotated[bool, typer.Option("--write", help="Write the files.")] = False,
    json_: frame.Json = False,
) -> None:
    """Plan many repositories, one row each; one that cannot be read is told and stops no other one."""
    answers = configured(config) if config else Answers()
    done = _state(state)
    rows: dict[str, dict[str, Any]] = {}
    for number, path in enumerate(paths, 1):
        name = str(path.resolve())
        try:
            rows[name] = _row(path, answers, done.get(name, {}), write)
        except InputError as exc:
            rows[name] = {"error": str(exc)}
        if not json_:
            page.lines([Line(f"{number} of {len(paths)}: {path.name}: {_in_words(rows[name])}", style=DIM)])
        if state is not None:
            _kept(state, done | rows)
    if json_:
        frame.document({"repositories": rows})
    else:
        table = page.table("repository", "credentials", "migrated", "refused", "files", "")
        for name, row in rows.items():
            counts = [str(row.get(key, "")) for key in ("found", "migrated")]
            refused = ", ".join(f"{code} {count}" for code, count in row.get("refused", {}).items())
            table.add_row(Path(name).name, *counts, refused, str(row.get("files", "")), row.get("error", ""))
        page.lines([table])
    if any("error" in row for row in rows.values()):
        raise typer.Exit(frame.FAILED)


def _state(path: Path | None) -> dict[str, dict[str, Any]]:
    if path is None or not path.exists():
        return {}
    try:
        found = json.loads(content(path))
    except ValueError:
        found = None
    if not isinstance(found, dict) or not all(isinstance(row, dict) for row in found.values()):
        raise InputError(f"{path} is no state of a batch; name another file, or remove it to begin anew")
    return found


def _kept(path: Path, rows: Mapping[str, Any]) -> None:
    """Whole or not at all: a batch that is stopped goes on from what stands."""
    beside = path.with_name(f"{path.name}.new")
    beside.write_text(json.dumps(rows, indent=2))
    beside.replace(path)


def _row(path: Path, answers: Answers, before: Mapping[str, Any], write: bool) -> dict[str, Any]:
    """One repository's row. ``before``: its row of an earlier run, which stands when nothing has changed since."""
    repository = load(path)
    if before.get("digest") == _digest(repository, answers) and (before.get("written") or not write):
        return dict(before)
    made = make_plan(repository, answers)
    if write:
        for name, data in made.changed.items():
            (path if path.is_file() else path / name).write_bytes(data)
    return {
        "digest": _digest(made.after if write else repository, answers), "written": write, "found": len(made.outcomes),
        "migrated": len(made.migrated), "files": len(made.changed),
        "refused": dict(Counter(o.refusal.code for o in made.refused if o.refusal)),
        "set": {k: v for o in made.migrated for k, v in o.asks.items()},
    }  # fmt: skip


def _digest(repository: Repository, answers: Answers) -> str:
    """What a plan depends on: the files, the answers, and the release that plans."""
    found = hashlib.sha256(f"{version('bulkhead')} {answers!r}".encode())
    for path, data in sorted(repository.files.items()):
        found.update(f"{path} {len(data)} ".encode() + data)
    return found.hexdigest()


def _in_words(row: Mapping[str, Any]) -> str:
    return str(row.get("error") or f"{row['migrated']} of {row['found']} credentials migrated, {row['files']} files")


# trust ----------------------------------------------------------------------------------------------------------------


@app.command()
def prove(
    repository: Annotated[str, typer.Option(help="OWNER/NAME of the repository whose job is meant.")],
    repository_id: Annotated[str, typer.Option(help="Its number, as `gh api repos/OWNER/NAME --jq .id` tells it.")],
    owner_id: Annotated[str, typer.Option(help="Its owner's number, `--jq .owner.id`.")],
    branch: Annotated[str, typer.Option(help="The branch that the job runs on.")] = "main",
    environment: Annotated[str, typer.Option(help="The environment that the job is bound to.")] = "",
    account: Annotated[str, typer.Option(help="AWS account, for the policy that is written.")] = "123456789012",
    trust_file: Annotated[
        Path | None,
        typer.Option("--trust", help="A trust policy, or what `aws iam get-role` prints; else one is written."),
    ] = None,
    json_: frame.Json = False,
) -> None:
    """Show which tokens a trust policy lets in: the job's own and forged ones; status 1 when one is wrong."""
    if "/" not in repository:
        raise InputError("--repository takes OWNER/NAME")
    job = trust.Job(repository=repository, repository_id=repository_id, owner_id=owner_id,
                    ref=f"refs/heads/{branch}", environment=environment)  # fmt: skip
    policy = trust.document(content(trust_file).decode(errors="replace")) if trust_file else trust.written(job, account)
    rows = trust.table(policy, job)
    if json_:
        said = [{"token": r.name, "claims": dict(r.claims), "wanted": r.wanted, "allowed": r.ruling.allowed,
                 "right": r.right, "why": r.ruling.why} for r in rows]  # fmt: skip
        frame.document({"policy": policy, "rows": said})
    else:
        shown = page.table("token", "should be", "is", "why")
        for row in rows:
            marks = [("let in" if each else "kept out") for each in (row.wanted, row.ruling.allowed)]
            shown.add_row(row.name, *marks, row.ruling.why, style="" if row.right else BAD)
        wrong = sum(not row.right for row in rows)
        said_so = (
            f"{wrong} of {len(rows)} tokens are decided wrongly"
            if wrong
            else f"all {len(rows)} tokens as they should be"
        )
        page.lines([shown, Line(said_so, style=BAD if wrong else GOOD)])
        if trust_file is None:
            frame.document(policy)
    if not all(row.right for row in rows):
        raise typer.Exit(frame.FAILED)


def _policy(named: str) -> str:
    """The text of a trust policy: of a file, else of a role that AWS holds. Raises InputError."""
    role = _ROLE.fullmatch(named)
    if Path(named).exists() or role is None:
        return content(Path(named)).decode(errors="replace")
    frame.quiet_logs()
    with opened(frame.settings_of(None)) as bulkhead, frame.busy(f"reading the trust policy of {named}"):
        held = aws_trust.read(bulkhead.worlds[REAL]("audit"), role["name"])
    if not held:
        raise InputError(f"there is no file {named}, and no role of that name in our AWS account")
    return held


@app.command()
def audit(
    policies: Annotated[
        list[str],
        typer.Argument(metavar="ROLE|FILE...", help="Roles of our AWS account by name or ARN; trust policies, or what "
                                                    "`aws iam get-role` prints, as files."),
    ],
    json_: frame.Json = False,
) -> None:  # fmt: skip
    """Say what trust policies let in beside a branch of one repository; status 1 when a stranger gets in."""
    found = {each: trust.audit(trust.document(_policy(each))) for each in policies}
    if json_:
        frame.document({
            name: [{"code": o.code, "severity": o.severity, "said": o.said} for o in openings]
            for name, openings in found.items()
        })  # fmt: skip
    else:
        colours = {"high": BAD, "medium": ASKS, "low": DIM}
        for name, openings in found.items():
            head = Line(f"{name}: {len(openings) or 'nothing'} open", style=HEADING if openings else GOOD)
            page.lines(
                [head, *(Line(f"  {o.severity}, {o.code}: {o.said}", style=colours[o.severity]) for o in openings)]
            )
    if any(opening.severity == "high" for openings in found.values() for opening in openings):
        raise typer.Exit(frame.FAILED)

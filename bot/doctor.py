"""What is configured, what each missing thing disables, and what the bot's own identities could destroy if stolen.

Everything here only reads. What a provider does not let us read is said, not guessed. GitHub tells a classic token's
scopes in the header x-oauth-scopes (docs.github.com: scopes for OAuth apps) and an App's rights at
/app/installations/ID; AWS tells an identity's policies where it may read IAM.
"""

from __future__ import annotations

import fnmatch
import json
import os
import stat
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bot.actions import CATALOGUE
from bot.app import Site, app_of, load_playbooks, load_policy, opened, real_site, rules_cache
from bot.clients import aws_errors
from bot.engine.rules import drilled_name
from bot.errors import BulkheadError, Forbidden, NotFound, ProviderError
from bot.playbook import Playbook
from bot.settings import Settings

OK, MISSING, WARNING, BROKEN = "ok", "missing", "warning", "broken"
LEVELS = {"read": 0, "write": 1, "admin": 2}

# What a stolen classic token could do (docs.github.com/apps/oauth-apps, scopes).
SCOPES = {
    "repo": "read every private repository that its account sees, change code, workflows, secrets and runs there",
    "public_repo": "change the code of every public repository that its account may write to",
    "workflow": "change workflow files, and so run anything with the secrets of a repository",
    "delete_repo": "delete repositories",
    "admin:org": "change members, teams and the secrets of its organizations",
    "admin:repo_hook": "send every event of a repository elsewhere",
    "admin:org_hook": "send every event of an organization elsewhere",
    "write:packages": "publish packages",
    "delete:packages": "delete packages",
    "admin:enterprise": "change the whole enterprise",
    "admin:public_key": "put an SSH key on its account",
}
# The same for an App's rights at the level write (docs.github.com: permissions required for GitHub Apps).
RIGHTS = {
    "administration": "change settings of repositories, delete them, let people in",
    "contents": "change code and delete branches and releases",
    "workflows": "change workflow files, and so run anything with the secrets of a repository",
    "secrets": "replace or delete secrets of repositories",
    "organization_secrets": "replace or delete secrets of the organization",
    "actions": "stop workflows, cancel runs and delete their logs",
    "members": "change who belongs to the organization",
    "packages": "publish and delete packages",
}
# What a stolen AWS identity could do, worst first.
AWS_ACTS = {
    "iam:AttachUserPolicy": "give any user every right, itself included",
    "iam:PutUserPolicy": "write any user's policy",
    "iam:CreateUser": "make users of its own",
    "iam:CreateAccessKey": "make keys for any user, and so become them",
    "iam:CreateLoginProfile": "set passwords for the console",
    "iam:UpdateAssumeRolePolicy": "let anybody into any role",
    "iam:DeleteUser": "delete users",
    "iam:DeleteRole": "delete roles",
    "sts:AssumeRole": "become every role that trusts it",
    "s3:DeleteObject": "delete what is stored in S3",
    "s3:GetObject": "read what is stored in S3",
    "secretsmanager:GetSecretValue": "read the secrets of Secrets Manager",
    "kms:ScheduleKeyDeletion": "make encrypted data unreadable for good",
    "cloudtrail:StopLogging": "switch off the trail that shows what it did",
    "ec2:TerminateInstances": "end machines",
    "rds:DeleteDBInstance": "delete databases",
    "lambda:UpdateFunctionCode": "run its own code in your functions",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is set, missing or wrong."""

    name: str
    state: str  # ok, missing, warning, broken
    detail: str
    disables: str = ""
    suggestion: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Power:
    """What one identity could do in other hands."""

    identity: str
    summary: str
    could: tuple[str, ...] = ()
    suggestions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Examination:
    """Everything that was found."""

    findings: list[Finding] = field(default_factory=list)
    powers: list[Power] = field(default_factory=list)

    @property
    def broken(self) -> bool:
        """Something is set and does not work. What is merely missing is not broken."""
        return any(finding.state == BROKEN for finding in self.findings)

    def as_json(self) -> dict[str, Any]:
        """What a program reads. ``needed`` are the least permissions of all actions."""
        needed = {provider: sorted(needs(provider)) for provider in ("aws", "github")}
        return asdict(self) | {"broken": self.broken, "needed": needed}


def examine(settings: Settings) -> Examination:
    """Look at the installation. Raises nothing for what is missing or does not answer: that is what it reports."""
    from bot.slack.checks import checks  # nobody else here pays for importing Slack's libraries

    site, found = real_site(settings), Examination()
    for findings, power in (_github(settings, site), _aws(site)):
        found.findings.extend(findings)
        found.powers.extend([power] if power else [])
    slack = [Finding(**asdict(one)) for one in checks(settings)]
    found.findings.extend([*_people(settings), *slack, *_own(settings), *_books(settings)])
    return found


def needs(provider: str) -> set[str]:
    """The least permissions of all actions of a provider, in its own words."""
    return {right for action in CATALOGUE.values() if action.provider == provider for right in action.permissions}


def drilled(settings: Settings, book: Playbook) -> str:
    """Which drill has proven this very text, and when; "" when none has."""
    if not _has_store(settings):
        return ""
    with opened(settings, sites={}) as bulkhead:
        said = json.loads(bulkhead.store.setting(drilled_name(book.id), "{}"))
    return f"{said['drill']} on {said['at'][:10]}" if said.get("sha256") == book.sha256 else ""


def _has_store(settings: Settings) -> bool:
    return bool(settings.database_url) or (settings.home / "bulkhead.db").is_file()


# GitHub --------------------------------------------------------------------------------------------------------------


def _github(settings: Settings, site: Site) -> tuple[list[Finding], Power | None]:
    disables = "Reports of runs cannot be read, and no workflow, run, log, secret or alert can be changed."
    try:
        if settings.github_app_id:
            return _github_app(settings)
        if settings.github_token.get_secret_value():
            return _github_token(settings, site)
    except ProviderError as exc:
        hint = "Make a new one." if exc.reason == "refused" else "Check BULKHEAD_GITHUB_API and the network."
        return [Finding(name="GitHub", state=BROKEN, detail=str(exc), disables=disables, suggestion=hint)], None
    hint = "Set BULKHEAD_GITHUB_APP_ID, _APP_INSTALLATION and _APP_KEY of an App, or BULKHEAD_GITHUB_TOKEN."
    return [Finding(name="GitHub", state=MISSING, detail="no identity", disables=disables, suggestion=hint)], None


def _github_token(settings: Settings, site: Site) -> tuple[list[Finding], Power]:
    headers = {name.lower(): value for name, value in site.github.send("GET", "/rate_limit").headers.items()}
    scopes = [scope.strip() for scope in headers.get("x-oauth-scopes", "").split(",") if scope.strip()]
    try:
        who = str(site.github.get("/user")["login"])
    except (Forbidden, NotFound):
        who = "an installation"
    found = Finding(name="GitHub", state=OK, detail=f"{settings.github_api} as {who}")
    if "x-oauth-scopes" not in headers:
        asks = ", ".join(sorted(needs("github")))
        power = Power(
            identity=f"GitHub token of {who}", summary="GitHub does not tell what a fine-grained token may do",
            could=(f"At least what our actions need, if it was made for them: {asks}",),
            suggestions=("Look at its page on GitHub; it should name single repositories and no more than that list",),
        )  # fmt: skip
        return [found], power
    could = tuple(SCOPES[scope] for scope in scopes if scope in SCOPES)
    power = Power(
        identity=f"GitHub token of {who}", summary=f"a classic token with the scopes {', '.join(scopes) or 'none'}",
        could=could or ("read what is public",),
        suggestions=(
            "A GitHub App instead: its tokens die within the hour, and it reaches only the repositories chosen for it",
        ) if could else (),
    )  # fmt: skip
    return [found], power


def _github_app(settings: Settings) -> tuple[list[Finding], Power | None]:
    if "PRIVATE KEY-----" not in settings.github_app_key.get_secret_value():
        hint = "BULKHEAD_GITHUB_APP_KEY takes the whole PEM file, its first and last line too."
        return [Finding(name="GitHub", state=BROKEN, detail="the App's private key is not PEM", suggestion=hint)], None
    installed = app_of(settings).get(f"/app/installations/{settings.github_app_installation}")
    granted, where = dict(installed["permissions"]), str(installed["account"]["login"])
    who = f"{settings.github_api} as App {settings.github_app_id} on {where}"
    findings = [Finding(name="GitHub", state=OK, detail=who)]
    wanted = needs("github")
    lacking = sorted(right for right in wanted if not _grants(granted, right))
    if lacking:
        titles = [a.title for a in CATALOGUE.values() if a.provider == "github" and set(a.permissions) & set(lacking)]
        text = f"It cannot: {'; '.join(titles)}."
        detail = f"it lacks {', '.join(lacking)}"
        findings.append(Finding(name="GitHub App", state=WARNING, detail=detail, disables=text))
    over = sorted(f"{name}:{level}" for name, level in granted.items() if _beyond(name, level, wanted))
    could = tuple(RIGHTS[name] for name, level in granted.items() if LEVELS.get(level, 0) and name in RIGHTS)
    every = installed.get("repository_selection") == "all"
    hints = [f"Take away what no action needs: {', '.join(over)}"] if over else []
    hints += ["Choose the repositories instead of all, those that come later too"] if every else []
    power = Power(
        identity=f"GitHub App {settings.github_app_id}", could=could, suggestions=tuple(hints),
        summary=f"in {'all' if every else 'chosen'} repositories of {where}",
    )  # fmt: skip
    return findings, power


def _grants(granted: dict[str, str], right: str) -> bool:
    name, _, level = right.partition(":")
    return LEVELS.get(granted.get(name, ""), -1) >= LEVELS.get(level, 0)


def _beyond(name: str, level: str, wanted: set[str]) -> bool:
    """Whether an App's right is more than any action needs; metadata:read comes with every App."""
    most = max((LEVELS.get(right.partition(":")[2], 0) for right in wanted if right.startswith(f"{name}:")), default=-1)
    return name != "metadata" and LEVELS.get(level, 0) > most


# AWS -----------------------------------------------------------------------------------------------------------------


def _aws(site: Site) -> tuple[list[Finding], Power | None]:
    disables = "No key, session, user or role can be looked at, cut or rotated."
    if not site.identities:
        hint = "Give boto3 an identity where it looks: a role of this machine, a profile, or AWS_ACCESS_KEY_ID."
        return [Finding(name="AWS", state=MISSING, detail="no identity", disables=disables, suggestion=hint)], None
    try:
        with aws_errors("say who we are (sts:GetCallerIdentity)"):
            arn = str(site.aws.client("sts").get_caller_identity()["Arn"])
        findings = [Finding(name="AWS", state=OK, detail=arn)]
        try:
            patterns = _allowed(site.aws.client("iam"), arn)
        except (Forbidden, NotFound):
            return findings, _unread(arn)
    except ProviderError as exc:
        hint = "Check the credentials that boto3 finds here, and the network."
        return [Finding(name="AWS", state=BROKEN, detail=str(exc), disables=disables, suggestion=hint)], None
    lacking = sorted(right for right in needs("aws") if not _matches(right, patterns))
    if lacking:
        titles = [a.title for a in CATALOGUE.values() if a.provider == "aws" and set(a.permissions) & set(lacking)]
        text = f"These may fail: {'; '.join(titles)}."
        findings.append(Finding(name="AWS", state=WARNING, detail=f"it lacks {', '.join(lacking)}", disables=text))
    return findings, _aws_power(arn, patterns)


def _unread(arn: str) -> Power:
    text = f"at least what our actions need, if it was made for them: {', '.join(sorted(needs('aws')))}"
    hint = "Let it read its own policies (iam:GetUserPolicy, iam:ListUserPolicies), or read them yourself"
    return Power(identity=arn, summary="its policies may not be read by itself", could=(text,), suggestions=(hint,))


def _aws_power(arn: str, patterns: set[str]) -> Power:
    could = tuple(words for act, words in AWS_ACTS.items() if _matches(act, patterns))
    wide = sorted(pattern for pattern in patterns if "*" in pattern)
    spare = sorted(p for p in patterns - set(wide) if not any(_matches(right, {p}) for right in needs("aws")))
    hints = []
    if wide:
        hints.append(f"{', '.join(wide)} is wider than our actions need; `bulkhead doctor --json` lists what they do")
    if spare:
        hints.append(f"Take away what no action needs: {', '.join(spare)}")
    if could:
        hints.append("Give it a role with short sessions rather than a key, and let only this machine assume it")
    return Power(
        identity=arn, summary=f"its policies allow {', '.join(sorted(patterns)) or 'nothing'}", could=could,
        suggestions=tuple(hints),
    )  # fmt: skip


def _matches(act: str, patterns: Iterable[str]) -> bool:
    """Whether a policy's actions cover this one; they know * and ? and no case (IAM reference, Action element)."""
    return any(fnmatch.fnmatchcase(act.lower(), pattern.lower()) for pattern in patterns)


def _allowed(iam: Any, arn: str) -> set[str]:
    """Every action pattern that the identity's policies allow. Raises Forbidden where IAM may not be read.

    Denies, conditions and resources are left out: it is the worst case.
    """
    path = arn.split(":", 5)[5]
    kind, name = ("Role", path.split("/")[1]) if path.startswith("assumed-role/") else ("User", path.rpartition("/")[2])
    if path == "root":
        return {"*"}
    documents: list[Any] = []
    with aws_errors(f"read the policies of {name}"):
        documents += _policies(iam, kind, name)
        if kind == "User":
            for group in iam.list_groups_for_user(UserName=name)["Groups"]:
                documents += _policies(iam, "Group", str(group["GroupName"]))
    return {pattern for document in documents for pattern in _patterns(document)}


def _policies(iam: Any, kind: str, name: str) -> list[Any]:
    """The inline and attached policies of a user, role or group; IAM names their calls alike."""
    who, word = {f"{kind}Name": name}, kind.lower()
    inline = getattr(iam, f"list_{word}_policies")(**who)["PolicyNames"]
    found = [getattr(iam, f"get_{word}_policy")(**who, PolicyName=policy)["PolicyDocument"] for policy in inline]
    for policy in getattr(iam, f"list_attached_{word}_policies")(**who)["AttachedPolicies"]:
        version = iam.get_policy(PolicyArn=policy["PolicyArn"])["Policy"]["DefaultVersionId"]
        one = iam.get_policy_version(PolicyArn=policy["PolicyArn"], VersionId=version)
        found.append(one["PolicyVersion"]["Document"])
    return found


def _patterns(document: Any) -> Iterable[str]:
    body = json.loads(document) if isinstance(document, str) else document
    statements = body["Statement"] if isinstance(body["Statement"], list) else [body["Statement"]]
    for statement in statements:
        if statement["Effect"] == "Allow":
            acts = statement.get("Action", "*")  # NotAction allows all but a few
            yield from [acts] if isinstance(acts, str) else acts


# people, own state, playbooks ----------------------------------------------------------------------------------------


def _people(settings: Settings) -> list[Finding]:
    policy = load_policy()
    people = sorted(settings.people | {name for group in policy.groups.values() for name in group})
    if people:
        yes = f"{len(people)}: {', '.join(people)}"
        short = "" if len(people) > 1 else "What needs two people can never be agreed to."
        found = Finding(name="Responders", state=OK if len(people) > 1 else WARNING, detail=yes, disables=short)
    else:
        text, hint = "Every step that asks waits for ever.", "Set BULKHEAD_RESPONDERS=NAME,NAME."
        found = Finding(name="Responders", state=MISSING, detail="nobody", disables=text, suggestion=hint)
    if settings.mode == "observe":
        text, hint = "Incidents say what they would do and change nothing.", "Set BULKHEAD_MODE=ask when you trust it."
        return [found, Finding(name="Mode", state=WARNING, detail="observe", disables=text, suggestion=hint)]
    detail = {"ask": "ask: one person agrees to every change", "act": "act: policy.yaml decides"}[settings.mode]
    return [found, Finding(name="Mode", state=OK, detail=detail)]


def _own(settings: Settings) -> list[Finding]:
    return [_database(settings), _vault_key(settings), _rules()]


def _database(settings: Settings) -> Finding:
    where = "the one that BULKHEAD_DATABASE_URL names" if settings.database_url else f"SQLite in {settings.home}"
    if not _has_store(settings):
        return Finding(name="Database", state=OK, detail=f"{where}; it is made on first use")
    try:
        with opened(settings, sites={}) as bulkhead:
            count = len(bulkhead.store.incidents("open"))
    except BulkheadError as exc:
        return Finding(name="Database", state=BROKEN, detail=f"{where}: {exc}", disables="Nothing works without it.")
    return Finding(name="Database", state=OK, detail=f"{where}; {count} open incidents")


def _vault_key(settings: Settings) -> Finding:
    path = settings.home / "vault.key"
    if settings.vault_key.get_secret_value():
        return Finding(name="Vault key", state=OK, detail="in the environment")
    hint = "Keep a copy elsewhere: without it, what is sealed is lost."
    if not path.is_file():
        return Finding(name="Vault key", state=OK, detail=f"{path}; it is made on first use", suggestion=hint)
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        text = f"{path} can be read by others on this machine"
        return Finding(name="Vault key", state=WARNING, detail=text, suggestion=f"chmod 600 {path}")
    return Finding(name="Vault key", state=OK, detail=str(path), suggestion=hint)


def _rules() -> Finding:
    caches = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    folder = rules_cache() or Path(os.environ.get("KF_RULE_CACHE_DIR") or Path(caches) / "kingfisher")
    if folder.is_dir() and any(folder.iterdir()):
        return Finding(name="Kingfisher's rules", state=OK, detail=f"compiled, in {folder}")
    hint = "`make setup` compiles them."
    text = "The first report waits about four seconds for them."
    return Finding(name="Kingfisher's rules", state=WARNING, detail="not compiled yet", disables=text, suggestion=hint)


def _books(settings: Settings) -> list[Finding]:
    try:
        books = load_playbooks(settings)
    except BulkheadError as exc:
        text = "No report can be worked."
        return [Finding(name="Playbooks", state=BROKEN, detail=str(exc), disables=text)]
    return [_book(settings, book) for book in books.values()]


def _book(settings: Settings, book: Playbook) -> Finding:
    name = f"Playbook {book.id}"
    if not book.drill:
        return Finding(name=name, state=WARNING, detail="no drill proves it", disables="It never acts without asking.")
    try:
        when = drilled(settings, book)
    except BulkheadError:
        when = ""  # the database's own finding says why
    if when:
        return Finding(name=name, state=OK, detail=f"proven by {when}")
    hint, detail = f"Prove it: `bulkhead playbook check --drill {book.source}`.", f"not yet proven here by {book.drill}"
    return Finding(name=name, state=WARNING, detail=detail, suggestion=hint)

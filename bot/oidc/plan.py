"""Plan the migration of a repository: each credential whole or not at all, and what people have to do beside it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from bot.oidc import find, leftovers
from bot.oidc.draft import Edited
from bot.oidc.find import Credential
from bot.oidc.hands import HANDS
from bot.oidc.refusal import Refusal
from bot.oidc.repository import Repository
from bot.oidc.splice import Change
from bot.oidc.work import SESSION_S, Answers, Work

_ANY = re.compile(r"TOJSON\s*\(\s*SECRETS|\bSECRETS\s*\[|SECRETS\s*:\s*['\"]?INHERIT")  # of a file that cannot be read
_SESSION = re.compile(r"(?m)^\s*role-duration-seconds:\s*['\"]?(\d+)")

NO_FEDERATION = {
    "tfc": "HCP Terraform takes no token of GitHub's issuer",
    "artifactory": "which Artifactory version and plan answers cannot be told from a file",
    "github-packages": "it is a token of GitHub itself, which takes no other identity for it",
    "s3": "the job sends its calls to another service than AWS, whose keys no role of AWS replaces",
    "azure-storage": "a shared key of a storage account is no identity; what reads it has to log in another way",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What becomes of one credential. ``refusal`` is None when it is migrated.

    ``changed`` holds the files after this credential's edits, ``splices`` the edits by file; the next credential's
    edits are made on top. ``jobs`` are (file, job) that carry it.
    """

    credential: Credential
    jobs: tuple[tuple[str, str], ...]
    refusal: Refusal | None = None
    changed: Mapping[str, bytes] = field(default_factory=dict)
    splices: Mapping[str, tuple[Change, ...]] = field(default_factory=dict)
    granted: tuple[tuple[str, str], ...] = ()
    assumed: tuple[str, ...] = ()
    asks: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What becomes of every credential of a repository."""

    before: Repository
    after: Repository
    outcomes: tuple[Outcome, ...]

    @property
    def changed(self) -> dict[str, bytes]:
        """The files that are different afterwards."""
        paths = dict.fromkeys(path for outcome in self.outcomes for path in outcome.changed)
        return {path: self.after.files[path] for path in paths if self.before.files.get(path) != self.after.files[path]}

    @property
    def session_s(self) -> int:
        """The longest session that its workflows ask AWS for, in seconds."""
        texts = [data.decode(errors="replace") for data in self.changed.values()]
        return max((int(number) for text in texts for number in _SESSION.findall(text)), default=SESSION_S)

    @property
    def migrated(self) -> list[Outcome]:
        return [outcome for outcome in self.outcomes if outcome.refusal is None]

    @property
    def refused(self) -> list[Outcome]:
        return [outcome for outcome in self.outcomes if outcome.refusal is not None]


def plan(repository: Repository, answers: Answers | None = None, *, secret: str = "") -> Plan:
    """Migrate what can be migrated, one credential after the other; each that cannot is refused with its reason.

    ``secret``: only the credential that this secret belongs to.
    """
    answers = answers or Answers()
    now, outcomes = repository, []
    for credential in find.credentials(repository.workflows.values()):
        if secret and secret.upper() not in credential.secrets:
            continue
        current = next((c for c in find.credentials(now.workflows.values()) if c.key == credential.key), credential)
        outcome = _one(now, current, answers)
        now = now.after(outcome.changed) if outcome.changed else now
        outcomes.append(outcome)
    return Plan(before=repository, after=now, outcomes=tuple(outcomes))


def _one(repository: Repository, credential: Credential, answers: Answers) -> Outcome:
    jobs = credential.jobs or tuple(dict.fromkeys((c.file, c.job) for c in credential.carriers))
    work = Work(repository=repository, credential=credential, answers=answers)
    try:
        edited = _migrated(work)
        changed = {file: each.data for file, each in edited.items()}
        after = repository.after(changed)
        _verify(after, credential)
        leftovers.refuse(repository, after)
    except Refusal as refusal:
        return Outcome(credential=credential, jobs=jobs, refusal=refusal)
    return Outcome(
        credential=credential, jobs=jobs, changed=changed,
        splices={file: each.changes for file, each in edited.items()},
        granted=tuple((job.workflow.path, job.id) for job in work.jobs), assumed=tuple(dict.fromkeys(work.assumed)),
        asks=work.asks, notes=tuple(dict.fromkeys([*work.notes, *leftovers.named(after, credential)])),
    )  # fmt: skip


def _migrated(work: Work) -> dict[str, Edited]:
    provider = work.credential.provider
    if provider in NO_FEDERATION:
        raise Refusal("no-federation", NO_FEDERATION[provider], work.credential.instead)
    if provider not in HANDS:
        raise Refusal("no-federation", f"there is no recipe for {work.credential.title} yet", work.credential.instead)
    work.drop_aliases()
    HANDS[provider](work)
    return work.finish()


def _verify(after: Repository, credential: Credential) -> None:
    """Nothing of the credential may be left anywhere in the repository's workflows."""
    for workflow in after.workflows.values():
        for carrier in find.carriers(workflow):
            if set(carrier.secrets) & set(credential.secrets):
                raise Refusal("half", f"{carrier.where} still reads the secret, so none of its carriers is changed")
    for path in after.unreadable:
        text = after.files[path].decode(errors="replace").upper() if path in after.files else ""
        if not text or any(name in text for name in credential.secrets) or _ANY.search(text):
            raise Refusal("half", f"{path} cannot be read, and may use the secret too")

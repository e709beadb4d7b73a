"""What GitHub's state is made of. All of it lives in memory and goes with a reset."""

from __future__ import annotations

import time
from collections.abc import Generator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from bot.range.github.git import GitStore

TARGET = "pull_request_target"
ROLES = ("none", "read", "triage", "write", "maintain", "admin")


@dataclass(slots=True, kw_only=True)
class Account:
    """A user, an organization or an App's bot."""

    id: int
    login: str
    kind: str  # User, Organization, Bot
    created_at: datetime
    name: str = ""


@dataclass(slots=True, kw_only=True)
class Org:
    account: Account
    members: dict[str, str] = field(default_factory=dict)  # login -> admin or member
    base_role: str = "read"  # what a member may do in every repository
    hooks: dict[int, dict[str, Any]] = field(default_factory=dict)
    actions: dict[str, Any] = field(default_factory=lambda: {
        "enabled_repositories": "all", "allowed_actions": "all", "sha_pinning_required": False
    })  # fmt: skip
    selected_actions: dict[str, Any] = field(
        default_factory=lambda: {"github_owned_allowed": True, "verified_allowed": False, "patterns_allowed": []}
    )
    saml: bool = False  # members sign in by SAML, so that each token has to be authorized
    shut_out: set[str] = field(default_factory=set)  # values of tokens whose authorization was taken back


@dataclass(slots=True, kw_only=True)
class Token:
    """An access token.

    ``kind``: classic (ghp_, and gho_ of an OAuth App), fine (github_pat_), installation or job (ghs_).
    """

    value: str
    kind: str
    account: Account
    created_at: datetime
    scopes: frozenset[str] = frozenset()  # classic
    permissions: dict[str, str] = field(default_factory=dict)  # the others
    repositories: frozenset[str] | None = None  # full names; None: every repository of its owner
    expires_at: datetime | None = None
    revoked: bool = False
    installation: Installation | None = None
    grant: int = 0  # under which number an organization has let it in


@dataclass(slots=True, kw_only=True)
class App:
    id: int
    slug: str
    name: str
    owner: Account
    bot: Account
    client_id: str
    public_key: str  # PEM
    permissions: dict[str, str]
    created_at: datetime


@dataclass(slots=True, kw_only=True)
class Installation:
    id: int
    app: App
    account: Account
    permissions: dict[str, str]
    repositories: frozenset[str] | None
    created_at: datetime
    suspended_at: datetime | None = None


@dataclass(slots=True, kw_only=True)
class StoredSecret:
    """A secret in one of GitHub's stores. The value is never in an answer."""

    name: str
    value: str = field(repr=False)
    created_at: datetime
    updated_at: datetime
    visibility: str = "all"  # organizations only: all, private, selected
    selected: set[str] = field(default_factory=set)


@dataclass(slots=True, kw_only=True)
class Environment:
    id: int
    name: str
    created_at: datetime
    branches: tuple[str, ...] | None = None  # patterns of the branches that may deploy; None: every branch
    reviewers: tuple[str, ...] = ()  # logins, one of whom has to agree before a job starts


@dataclass(slots=True, kw_only=True)
class Workflow:
    id: int
    path: str
    name: str
    created_at: datetime
    updated_at: datetime
    state: str = "active"
    runs: int = 0  # run_number of the last run


@dataclass(slots=True, kw_only=True)
class Repo:
    id: int
    name: str
    owner: Account
    private: bool
    created_at: datetime
    description: str = ""
    default_branch: str = "main"
    git: GitStore = field(default_factory=GitStore)
    fork_of: Repo | None = None
    collaborators: dict[str, str] = field(default_factory=dict)  # login -> role
    workflows: dict[str, Workflow] = field(default_factory=dict)  # by path
    environments: dict[str, Environment] = field(default_factory=dict)
    keys: dict[int, dict[str, Any]] = field(default_factory=dict)
    alerts: dict[int, dict[str, Any]] = field(default_factory=dict)
    pulls: dict[int, Pull] = field(default_factory=dict)
    advisories: dict[str, dict[str, Any]] = field(default_factory=dict)  # by GHSA id
    issues: dict[int, dict[str, Any]] = field(default_factory=dict)
    activity: list[dict[str, Any]] = field(default_factory=list)
    deployments: list[dict[str, Any]] = field(default_factory=list)
    artifacts: dict[int, dict[str, Any]] = field(default_factory=dict)
    caches: dict[int, dict[str, Any]] = field(default_factory=dict)
    attestations: list[dict[str, Any]] = field(default_factory=list)
    hooks: dict[int, dict[str, Any]] = field(default_factory=dict)
    invitations: dict[int, dict[str, Any]] = field(default_factory=dict)
    rulesets: dict[int, dict[str, Any]] = field(default_factory=dict)
    runners: dict[int, dict[str, Any]] = field(default_factory=dict)  # self-hosted ones
    registrations: dict[str, datetime] = field(default_factory=dict)  # tokens for new runners, and their ends
    numbers: int = 0  # last number of an issue or pull request
    actions: dict[str, Any] = field(
        default_factory=lambda: {"enabled": True, "allowed_actions": "all", "sha_pinning_required": False}
    )
    selected_actions: dict[str, Any] = field(
        default_factory=lambda: {"github_owned_allowed": True, "verified_allowed": False, "patterns_allowed": []}
    )
    token_default: dict[str, Any] = field(
        default_factory=lambda: {"default_workflow_permissions": "read", "can_approve_pull_request_reviews": False}
    )
    fork_approval: str = "first_time_contributors"
    subject: dict[str, Any] = field(default_factory=lambda: {"use_default": True, "use_immutable_subject": False})

    @property
    def full_name(self) -> str:
        return f"{self.owner.login}/{self.name}"


@dataclass(slots=True, kw_only=True)
class Pull:
    id: int
    number: int
    title: str
    body: str
    author: Account
    head_repo: Repo
    head_ref: str
    head_sha: str
    base_ref: str
    base_sha: str
    created_at: datetime
    state: str = "open"
    merged_at: datetime | None = None
    merge_sha: str = ""
    merged_by: Account | None = None


@dataclass(slots=True, kw_only=True)
class StepRecord:
    name: str
    number: int
    status: str = "queued"
    conclusion: str | None = None
    started_at: datetime | None = None
    completed_at: datetime | None = None
    first_line: int = 0  # where its part of the job's log starts
    last_line: int = 0


@dataclass(slots=True, kw_only=True)
class Job:
    """One job of one attempt. ``program`` is its interpreter while it runs."""

    id: int
    key: str
    name: str
    attempt: int
    spec: dict[str, Any]
    created_at: datetime
    status: str = "queued"
    conclusion: str | None = None
    started_at: datetime | None = None
    completed_at: datetime | None = None
    steps: list[StepRecord] = field(default_factory=list)
    log: list[tuple[datetime, str]] = field(default_factory=list)
    token: Token | None = None
    runner_name: str = ""
    environment: str = ""
    may_ask_id_token: bool = False
    program: Generator[float, None, str] | None = None
    cursor: datetime | None = None  # range time up to which it has been run
    wake_at: datetime | None = None
    kill_at: datetime | None = None  # a cancelled job that goes on is ended here


@dataclass(slots=True, kw_only=True)
class Run:
    id: int
    repo: Repo
    workflow: Workflow
    number: int
    event: str
    ref: str  # refs/heads/main, refs/pull/1/merge
    head_branch: str
    head_sha: str
    head_repo: Repo
    actor: Account
    triggering_actor: Account
    created_at: datetime
    updated_at: datetime
    started_at: datetime
    title: str
    spec: dict[str, Any]
    secrets: dict[str, str] = field(default_factory=dict, repr=False)  # read when the run was queued
    inputs: dict[str, Any] = field(default_factory=dict)
    pull: Pull | None = None
    base_sha: str = ""  # of a pull_request_target: the tip of the base branch
    attempt: int = 1
    began: float = field(default_factory=time.monotonic)  # this attempt, by the machine
    status: str = "queued"
    conclusion: str | None = None
    jobs: list[Job] = field(default_factory=list)  # of every attempt
    logs_deleted: bool = False
    cancelled: bool = False
    let_in: set[str] = field(default_factory=set)  # environments whose reviewers have agreed

    def of_attempt(self, attempt: int) -> list[Job]:
        return [job for job in self.jobs if job.attempt == attempt]

    @property
    def from_fork(self) -> bool:
        """Whether it runs by the rules for forks. ``pull_request_target`` runs in the trust of its base."""
        return self.head_repo is not self.repo and self.event != TARGET

    @property
    def sha(self) -> str:
        """GITHUB_SHA: the commit whose workflow file runs."""
        return self.base_sha or self.head_sha

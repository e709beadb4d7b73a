"""The state of the range's GitHub, and the small API by which a company is seeded in it.

Everything here is called under ``State.lock``; the API takes it once a request, the seeding methods by themselves.
"""

from __future__ import annotations

import itertools
import secrets
import string
import threading
import zlib
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

import nacl.encoding
import nacl.public
import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from bot.range.clock import RangeClock
from bot.range.github.git import EXECUTABLE, FILE, Commit, Entry, Person
from bot.range.github.nouns import (
    ROLES,
    Account,
    App,
    Environment,
    Installation,
    Org,
    Repo,
    Run,
    StoredSecret,
    Token,
    Workflow,
)

if TYPE_CHECKING:
    from bot.range.runner import Runner

BASE62 = string.digits + string.ascii_uppercase + string.ascii_lowercase
EPHEMERAL_S = 3600  # life of an installation token

SecretPlace = tuple[str, str, str]  # store (actions, dependabot, ...), scope, owner/name, owner/name:environment or org


def _base62(length: int) -> str:
    return "".join(secrets.choice(BASE62) for _ in range(length))


def classic_token(prefix: str = "gh" + "p_") -> str:
    """A token whose last six characters are the CRC32 of the thirty before, in base 62, as GitHub's are."""
    body, crc = _base62(30), ""
    number = zlib.crc32(body.encode())
    while number:
        number, digit = divmod(number, 62)
        crc = BASE62[digit] + crc
    return prefix + body + crc.rjust(6, "0")


def fine_token() -> str:
    return "github" + "_pat_" + "11" + _base62(20) + "_" + _base62(59)


def server_token(app_id: int) -> str:
    """The form that GitHub mints since 2026: ``ghs_APPID_JWT``, about 520 characters with two dots."""
    return "gh" + f"s_{app_id}_eyJ{_base62(60)}.eyJ{secrets.token_urlsafe(75)}.{secrets.token_urlsafe(256)}"



@cache
def _key_pair(_slug: str) -> tuple[str, str]:
    """PEM of the private and the public key of an App: one a process, since making it takes long."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    encoding, private = serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL
    public = key.public_key().public_bytes(encoding, serialization.PublicFormat.SubjectPublicKeyInfo)
    return key.private_bytes(encoding, private, serialization.NoEncryption()).decode(), public.decode()


@lru_cache(maxsize=256)
def _name_in(data: bytes) -> str:
    """The name that a workflow file gives itself, or ''."""
    try:
        spec = yaml.safe_load(data)
    except yaml.YAMLError:
        return ""
    return str(spec.get("name") or "") if isinstance(spec, dict) else ""


class State:
    """Accounts, tokens, repositories, runs. Ids are drawn from one counter; names are case-sensitive here."""

    def __init__(self, clock: RangeClock, runner: Runner) -> None:
        self.clock, self.runner = clock, runner
        self.lock = threading.RLock()
        self.base_url = ""  # origin of the API and of the web pages; the server sets it, or the first request
        self.accounts: dict[str, Account] = {}
        self.orgs: dict[str, Org] = {}
        self.repos: dict[str, Repo] = {}
        self.packages: dict[tuple[str, str, str], Any] = {}  # by organization, type and name
        self.tokens: dict[str, Token] = {}
        self.apps: dict[int, App] = {}
        self.installations: dict[int, Installation] = {}
        self.enterprise = ""  # the version of the Enterprise Server that this is; "" is github.com
        self.runs: dict[int, Run] = {}
        self.secrets: dict[SecretPlace, dict[str, StoredSecret]] = {}
        self.boxes: dict[SecretPlace, nacl.public.PrivateKey] = {}
        self.used: dict[str, list[float]] = {}  # rate-limit bucket -> [window's start, requests]
        self.signing_key = secrets.token_bytes(32)  # of the links to logs
        self._ids = itertools.count(701_000_001)
        self._run_ids = itertools.count(18_400_000_001)
        self.alerted: Callable[[Repo, int, str], None] = lambda _repo, _number, _action: None  # tells the webhooks
        self.actions_bot = self.add_user("github-actions[bot]", kind="Bot")

    def now(self) -> datetime:
        return self.clock.now().replace(microsecond=0)

    def next_id(self) -> int:
        return next(self._ids)

    def next_run_id(self) -> int:
        return next(self._run_ids)

    # Seeding

    def add_user(self, login: str, *, name: str = "", kind: str = "User", id: int = 0) -> Account:  # noqa: A002 GitHub's own word
        with self.lock:
            made = Account(id=id or self.next_id(), login=login, kind=kind, created_at=self.now(), name=name)
            self.accounts[login] = made
            return made

    def add_org(self, login: str, *, name: str = "", id: int = 0, base_role: str = "read") -> Org:  # noqa: A002 GitHub's own word
        with self.lock:
            org = Org(account=self.add_user(login, name=name, kind="Organization", id=id), base_role=base_role)
            self.orgs[login] = org
            return org

    def add_member(self, org: str, login: str, *, role: str = "member") -> None:
        self.orgs[org].members[login] = role

    def add_token(
        self,
        login: str,
        *,
        scopes: tuple[str, ...] | None = None,
        permissions: dict[str, str] | None = None,
        repositories: tuple[str, ...] | None = None,
        expires_in_s: float | None = None,
        oauth: bool = False,
    ) -> str:
        """A classic token when ``scopes`` are given, else a fine-grained one. Returns its value.

        ``oauth``: an OAuth App's, by somebody's grant; it has scopes as a classic one has.
        """
        with self.lock:
            value = fine_token() if scopes is None else classic_token("gh" + "o_") if oauth else classic_token()
            now = self.now()
            self.tokens[value] = Token(
                value=value, kind="classic" if scopes is not None else "fine", account=self.accounts[login],
                created_at=now, scopes=frozenset(scopes or ()), permissions=dict(permissions or {}),
                repositories=None if repositories is None else frozenset(repositories),
                expires_at=None if expires_in_s is None else now + timedelta(seconds=expires_in_s),
                grant=0 if scopes is not None else self.next_id(),
            )  # fmt: skip
            return value

    def add_app(self, slug: str, owner: str, permissions: dict[str, str]) -> tuple[App, str]:
        """An App and its private key (PEM)."""
        with self.lock:
            pem, public = _key_pair(slug)
            app = App(
                id=self.next_id(), slug=slug, name=slug, owner=self.accounts[owner],
                bot=self.add_user(f"{slug}[bot]", kind="Bot"), client_id=f"Iv23{_base62(16)}",
                public_key=public, permissions=dict(permissions), created_at=self.now(),
            )  # fmt: skip
            self.apps[app.id] = app
            return app, pem

    def install(self, app: App, account: str, repositories: tuple[str, ...] | None = None) -> Installation:
        with self.lock:
            made = Installation(
                id=self.next_id(), app=app, account=self.accounts[account], permissions=dict(app.permissions),
                repositories=None if repositories is None else frozenset(repositories), created_at=self.now(),
            )  # fmt: skip
            self.installations[made.id] = made
            return made

    def mint_server_token(
        self, app_id: int, account: Account, permissions: dict[str, str], repositories: frozenset[str] | None,
        *, kind: str, installation: Installation | None = None, life_s: float = EPHEMERAL_S,
    ) -> Token:  # fmt: skip
        """A ``ghs_`` token: of an App's installation, or the GITHUB_TOKEN of a job."""
        now = self.now()
        token = Token(
            value=server_token(app_id), kind=kind, account=account, created_at=now, permissions=permissions,
            repositories=repositories, expires_at=now + timedelta(seconds=life_s), installation=installation,
        )  # fmt: skip
        self.tokens[token.value] = token
        return token

    def add_repo(
        self,
        full_name: str,
        *,
        private: bool = False,
        description: str = "",
        id: int = 0,  # noqa: A002 GitHub's own word
        fork_of: str = "",
    ) -> Repo:
        with self.lock:
            owner, name = full_name.split("/")
            repo = Repo(
                id=id or self.next_id(), name=name, owner=self.accounts[owner], private=private,
                description=description, created_at=self.now(),
            )  # fmt: skip
            if fork_of:
                repo.fork_of = self.repos[fork_of]
                source = repo.fork_of.git
                repo.git.blobs, repo.git.trees = dict(source.blobs), dict(source.trees)
                repo.git.commits, repo.git.refs = dict(source.commits), dict(source.refs)
            self.repos[full_name] = repo
            return repo

    def add_collaborator(self, full_name: str, login: str, role: str = "write") -> None:
        self.repos[full_name].collaborators[login] = role

    def commit_files(
        self, full_name: str, files: dict[str, str | bytes | None], message: str, author: str,
        *, branch: str = "", runs: bool = True,
    ) -> Commit:  # fmt: skip
        """Commit to a branch as a push does; None deletes a file. With ``runs`` False no workflow starts."""
        with self.lock:
            repo = self.repos[full_name]
            branch = branch or repo.default_branch
            tip = repo.git.resolve(f"refs/heads/{branch}") or repo.git.resolve(f"refs/heads/{repo.default_branch}")
            entries = repo.git.files(tip) if tip else {}
            for path, text in files.items():
                if text is None:
                    entries.pop(path, None)
                    continue
                data = text.encode() if isinstance(text, str) else text
                entries[path] = Entry(EXECUTABLE if path.endswith(".sh") else FILE, repo.git.put_blob(data))
            who = self.accounts[author]
            person = Person(who.name or who.login, f"{who.id}+{who.login}@users.noreply.github.com", who.login)
            parents = (tip.sha,) if tip else ()
            commit = repo.git.commit(repo.git.put_tree(entries), parents, message, person, self.now())
            self.move_ref(repo, f"refs/heads/{branch}", commit.sha, who, runs=runs)
            return commit

    def move_ref(self, repo: Repo, ref: str, sha: str, actor: Account, *, runs: bool = True) -> None:
        """Point a ref somewhere, note it in the activity, register workflows, start runs of ``push``."""
        before = repo.git.refs.get(ref, "0" * 40)
        if before == sha:
            return
        forced = before in repo.git.commits and before not in {c.sha for c in repo.git.log(repo.git.commits[sha])}
        repo.git.refs[ref] = sha
        kind = "branch_creation" if before == "0" * 40 else "force_push" if forced else "push"
        row = {"id": self.next_id(), "before": before, "after": sha, "ref": ref, "at": self.now(), "kind": kind}
        repo.activity.append({**row, "actor": actor})
        if ref == f"refs/heads/{repo.default_branch}":
            self._register_workflows(repo)
        if runs:
            self.runner.trigger(repo, "push", ref, sha, actor)

    def _register_workflows(self, repo: Repo) -> None:
        tip = repo.git.resolve(f"refs/heads/{repo.default_branch}")
        files = repo.git.files(tip) if tip else {}
        for path, entry in files.items():
            if path.startswith(".github/workflows/") and path.endswith((".yml", ".yaml")):
                self.workflow(repo, path, repo.git.blobs[entry.sha])
        for path, workflow in repo.workflows.items():
            if path not in files:
                workflow.state = "deleted"
            elif workflow.state == "deleted":
                workflow.state = "active"

    def workflow(self, repo: Repo, path: str, data: bytes) -> Workflow:
        """The workflow of a file, registered when it is new, under the name that the file gives."""
        name, now = _name_in(data) or path, self.now()
        found = repo.workflows.get(path)
        if found is None:
            found = Workflow(id=self.next_id(), path=path, name=name, created_at=now, updated_at=now)
            repo.workflows[path] = found
        elif found.name != name:
            found.name, found.updated_at = name, now
        return found

    def set_secret(
        self, where: str, name: str, value: str,
        *, store: str = "actions", environment: str = "", visibility: str = "all", selected: tuple[str, ...] = (),
    ) -> bool:  # fmt: skip
        """Put a secret of a repository ("owner/name"), one of its environments, or an organization. True: it is new."""
        with self.lock:
            held = self.secrets.setdefault(secret_place(where, store, environment), {})
            now, name = self.now(), name.upper()
            old = held.get(name)
            held[name] = StoredSecret(
                name=name, value=value, created_at=old.created_at if old else now, updated_at=now,
                visibility=visibility, selected=set(selected),
            )  # fmt: skip
            return old is None

    def box(self, place: SecretPlace) -> tuple[str, nacl.public.PrivateKey]:
        """The key pair to which a store's secrets are sealed, and its id."""
        key = self.boxes.setdefault(place, nacl.public.PrivateKey.generate())
        raw = key.public_key.encode(nacl.encoding.RawEncoder)
        return str(3_380_204_578_043_523_366 + zlib.crc32(raw)), key

    def add_environment(
        self, full_name: str, name: str, *, branches: tuple[str, ...] | None = None, reviewers: tuple[str, ...] = (),
    ) -> Environment:  # fmt: skip
        """``branches`` are the patterns of the branches that may deploy to it; None lets every branch."""
        with self.lock:
            made = Environment(id=self.next_id(), name=name, created_at=self.now(), branches=branches,
                               reviewers=reviewers)  # fmt: skip
            self.repos[full_name].environments[name] = made
            return made

    def add_alert(
        self, full_name: str, *, secret_type: str, display_name: str, secret: str,
        locations: tuple[dict[str, Any], ...] = (), validity: str = "active", publicly_leaked: bool = False,
    ) -> int:  # fmt: skip
        """A secret-scanning alert; a location is {"type": "commit", "path", "line", "sha"}. Returns its number."""
        with self.lock:
            repo = self.repos[full_name]
            number = len(repo.alerts) + 1
            repo.alerts[number] = {
                "number": number, "created_at": self.now(), "updated_at": self.now(), "state": "open",
                "resolution": None, "resolved_at": None, "resolved_by": None, "resolution_comment": None,
                "secret_type": secret_type, "secret_type_display_name": display_name, "secret": secret,
                "validity": validity, "publicly_leaked": publicly_leaked, "locations": list(locations),
            }  # fmt: skip
        self.alerted(repo, number, "created")  # not while we hold the lock: whoever hears of it may ask at once
        return number

    def greets(self, full_name: str, public_key: str) -> bool:
        """Whether ``ssh -T`` with a deploy key of this repository is answered, and it may push.

        There is no SSH server here; this is the rule that one would ask.
        """
        body = " ".join(public_key.split()[:2])
        with self.lock:
            return any(row["key"] == body and not row["read_only"] for row in self.repos[full_name].keys.values())

    # Rules that several areas share

    def role(self, account: Account | None, repo: Repo) -> str:
        """What somebody may do in a repository, best of what gives it: owner, membership, collaboration, public."""
        best = "none" if repo.private else "read"
        if account is None:
            return best
        found = [best, repo.collaborators.get(account.login, "none")]
        org = self.orgs.get(repo.owner.login)
        if account.login == repo.owner.login or (org and org.members.get(account.login) == "admin"):
            found.append("admin")
        elif org and account.login in org.members:
            found.append(org.base_role)
        return max(found, key=ROLES.index)

    def org_secrets_for(self, repo: Repo, store: str = "actions") -> dict[str, StoredSecret]:
        """The organization's secrets that a repository may read."""
        held = self.secrets.get((store, "organization", repo.owner.login), {})
        return {
            name: secret for name, secret in held.items()
            if secret.visibility == "all" or (secret.visibility == "private" and repo.private)
            or (secret.visibility == "selected" and repo.full_name in secret.selected)
        }  # fmt: skip


def secret_place(where: str, store: str = "actions", environment: str = "") -> SecretPlace:
    if "/" not in where:
        return store, "organization", where
    return (store, "environment", f"{where}:{environment}") if environment else (store, "repository", where)

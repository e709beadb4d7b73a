"""Reach: every credential that the jobs of one run could read, mint or assume.

What the workflow's text names at the run's commit (``bot.workflow``) is matched with the secrets that exist. What
could not be found out is a sentence in ``unknown``, never a silent gap. Rules: docs.github.com/actions, pages
"Secrets" (forks, Dependabot, precedence), "Reuse workflows" (inherit), "GITHUB_TOKEN" (permissions, life).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any
from urllib.parse import quote

from bot.errors import NotFound, ProviderError, Rejected
from bot.gcp import KIND as GCP_KEY
from bot.model import Credential, Reached, SecretStore, Tail
from bot.registries import DOCKERHUB_KINDS
from bot.triage.jobs import Files, Reader
from bot.triage.npm import NPM_TOKEN
from bot.triage.pair import key_of_repository
from bot.triage.token import USER_TOKENS
from bot.workflow import may_mint, tokens_of
from bot.world import World

AWS_KEY = "aws-access-key"
ID_TOKEN_LIFE = timedelta(minutes=5)  # exp minus iat in the sample of docs.github.com/actions/reference/security/oidc
ROLE_SESSION = timedelta(hours=12)  # the longest that AWS allows for AssumeRoleWithWebIdentity; a role may allow less
HOSTED, SELF_HOSTED = timedelta(hours=6), timedelta(hours=24)  # longest life of a GITHUB_TOKEN
REVIEW_EVENTS = {"pull_request", "pull_request_review", "pull_request_review_comment"}
DEPENDABOT_EVENTS = {*REVIEW_EVENTS, "push", "create", "deployment", "deployment_status"}
# How secrets are called that hold a registry's or GitHub's token, or a cloud's key: kind -> its name in sentences, and
# what stands in theirs.
NAMED_AFTER = {
    NPM_TOKEN: ("npm", re.compile(r"NPM|NODE_AUTH", re.IGNORECASE)),
    "pypi-token": ("PyPI", re.compile(r"PYPI|TWINE|UV_PUBLISH|FLIT|POETRY", re.IGNORECASE)),
    "crates-token": ("crates.io", re.compile(r"CRATES|CARGO", re.IGNORECASE)),
    GCP_KEY: ("Google Cloud", re.compile(r"GCP|GCLOUD|GOOGLE|SERVICE_ACCOUNT", re.IGNORECASE)),
    "rubygems-key": ("RubyGems", re.compile(r"RUBYGEMS|GEM_HOST|GEMS?_", re.IGNORECASE)),
    **dict.fromkeys(
        DOCKERHUB_KINDS, ("Docker Hub", re.compile(r"DOCKER\w*(?:TOKEN|PASS|PWD|PAT|OAT|SECRET|KEY)", re.IGNORECASE))
    ),
    **dict.fromkeys(
        sorted(USER_TOKENS), ("GitHub", re.compile(r"(^|_)PAT(_|$)|GHCR|GH_TOKEN|PERSONAL_ACCESS", re.IGNORECASE))
    ),
}
COPIES = ("dependabot", "codespaces", "agents")

Found = tuple[tuple[Reached, ...], tuple[SecretStore, ...], tuple[Tail, ...], tuple[str, ...]]


def reach_of_run(
    world: World, repository: str, run_id: int, credential: Credential | None = None, *,
    logged: Mapping[str, Credential] = MappingProxyType({}),
) -> Found:  # fmt: skip
    """What a run's jobs could reach, where the halves of their AWS key stand, what may still live, what is unknown.

    ``logged``: of each kind the one credential that the run's logs hold, where no single one is asked about.

    ``credential`` is the leaked one, when known: an AWS pair that is the jobs' only one is taken to be it, and so is
    the only secret that is named after the token's registry, cloud or GitHub; where any other kind stands is not told
    by names. A pair beside the leaked credential is looked up by IAM's tags. Raises NotFound when the run is not there.
    """
    run = world.github.get(f"/repos/{repository}/actions/runs/{run_id}")
    run["path"] = str(run.get("path") or "").split("@")[0]
    unknown: list[str] = []
    readers = list(Files(world, repository, run, unknown).readers())
    places = _Places(world, repository, run, unknown)
    reached = [each for reader in readers for each in places.reached(reader)]
    pair = places.pair(readers)
    known = {credential.kind: credential} if credential else logged
    stores: tuple[SecretStore, ...] = () if credential else pair
    for kind, one in known.items():
        named = pair if kind == AWS_KEY else places.named(readers, *NAMED_AFTER[kind]) if kind in NAMED_AFTER else ()
        reached = _known(reached, named, kind, one)
        stores = named if credential else stores
    if AWS_KEY not in known and pair:
        names = " and ".join(store.name for store in pair)
        key = key_of_repository(world, repository, names, unknown)
        reached = _known(reached, pair if key else (), AWS_KEY, key)
    if stores:
        places.copies({store.name for store in stores})
    minted, tails = _minted(world, repository, run, readers, unknown)
    return _once(reached + minted), stores, tails, tuple(dict.fromkeys(unknown))


def _known(
    reached: list[Reached], stores: tuple[SecretStore, ...], kind: str, credential: Credential | None
) -> list[Reached]:
    """The same, with the credential named that stands in these stores."""
    places = {(store.name, _scope(store)) for store in stores}
    return [
        replace(each, kind=kind, credential=credential) if (each.name, each.scope) in places else each
        for each in reached
    ]  # fmt: skip


def _once(reached: list[Reached]) -> tuple[Reached, ...]:
    """One entry a credential; the ways to it are joined, each said once."""
    ways: dict[tuple[str, str, str], dict[str, Reached]] = {}
    for each in reached:
        ways.setdefault((each.kind, each.name, each.scope), {}).setdefault(each.how, each)
    return tuple(replace(next(iter(found.values())), how="; ".join(found)) for found in ways.values())


# Secrets: which of the names exist, and where


def _from_fork(run: dict[str, Any], repository: str) -> bool:
    """A pull request of a fork. A fork that was deleted since is no longer named."""
    head = str((run.get("head_repository") or {}).get("full_name", ""))
    return run["event"] in REVIEW_EVENTS and head.lower() != repository.lower()


class _Places:
    def __init__(self, world: World, repository: str, run: dict[str, Any], unknown: list[str]) -> None:
        self._world, self._repository, self._run, self._unknown = world, repository, run, unknown
        self._lists: dict[str, dict[str, str] | None] = {}
        self.store = self._source()

    def _source(self) -> str:
        """The store from which the run gets its secrets; "" when it gets none."""
        if _from_fork(self._run, self._repository):
            if (self._run.get("repository") or {}).get("private"):
                self._unknown.append("Whether this private repository sends its secrets to forks is not known")
            return ""
        actor = (self._run.get("actor") or {}).get("login")
        return "dependabot" if actor == "dependabot[bot]" and self._run["event"] in DEPENDABOT_EVENTS else "actions"

    def reached(self, reader: Reader) -> Iterator[Reached]:
        """The secrets that a job could read."""
        if not self.store:
            return
        for name, where in reader.names.items():
            yield from self._one(reader, name, where, self._scopes(reader))
        for name, where in reader.own_only.items():
            yield from self._one(reader, name, where, self._scopes(reader)[:1] if reader.job.environment else ())
        if reader.everything:
            seen: set[str] = set()
            for scope in self._scopes(reader):
                for name in sorted(set(self._listed(scope) or ()) - seen):
                    seen.add(name)
                    yield self._reached(reader, name, scope, f"all secrets at once in {reader.everything}")

    def _scopes(self, reader: Reader) -> tuple[str, ...]:
        """Most specific first: the first that has a name wins."""
        if self.store == "dependabot":
            return ("dependabot", "dependabot-organization")
        environment = (f"environment:{reader.job.environment}",) if reader.job.environment else ()
        return (*environment, "repository", "organization")

    def _one(self, reader: Reader, name: str, where: str, scopes: tuple[str, ...]) -> Iterator[Reached]:
        if name == "GITHUB_TOKEN":
            return
        for scope in scopes:
            if name in (self._listed(scope) or ()):
                yield self._reached(reader, name, scope, where)
                return
        if any(self._listed(scope) is None for scope in scopes):
            how = f"job {reader.label} reads it in {where}; where it stands could not be seen"
            yield Reached(kind="secret", name=name, scope="unknown", how=how, known=False)
        elif scopes:
            self._unknown.append(f"Job {reader.label} names {name}, which exists nowhere now; it may have been deleted")

    def _reached(self, reader: Reader, name: str, scope: str, where: str) -> Reached:
        changed = (self._listed(scope) or {}).get(name, "")
        since = f", changed since ({changed})" if changed > str(self._run["updated_at"]) else ""
        how = f"job {reader.label} reads it in {where}{since}"
        return Reached(kind="secret", name=name, scope=scope.removesuffix("-organization"), how=how)

    def _listed(self, scope: str) -> dict[str, str] | None:
        """Names there and when each was last changed; None when it may not be seen."""
        if scope not in self._lists:
            try:
                self._lists[scope] = {s["name"]: s["updated_at"] for s in self._list(scope)}
            except ProviderError as exc:
                self._lists[scope] = None
                self._unknown.append(f"Which secrets the {scope.replace(':', ' ')} holds could not be seen: {exc}")
        return self._lists[scope]

    def _list(self, scope: str) -> list[dict[str, Any]]:
        base, owner = f"/repos/{self._repository}", self._repository.split("/")[0]
        kind, _, environment = scope.partition(":")
        if "${{" in environment:
            raise Rejected(f"its name is computed, {environment}", provider="github")
        path = {
            "environment": f"{base}/environments/{quote(environment, safe='')}/secrets",
            "repository": f"{base}/actions/secrets", "organization": f"{base}/actions/organization-secrets",
            "dependabot": f"{base}/dependabot/secrets", "dependabot-organization": f"/orgs/{owner}/dependabot/secrets",
        }[kind]  # fmt: skip
        try:
            found = list(self._world.github.pages(path, "secrets"))
        except NotFound:
            if kind == "dependabot-organization" and self._personal(owner):
                return []
            raise
        return [s for s in found if self._for_us(path, s)] if kind == "dependabot-organization" else found

    def _for_us(self, path: str, secret: dict[str, Any]) -> bool:
        """Whether a secret of the organization is visible here. Other stores have a list that says it by itself."""
        if secret["visibility"] == "private":
            return bool((self._run.get("repository") or {}).get("private"))
        if secret["visibility"] == "all":
            return True
        listed = self._world.github.pages(f"{path}/{secret['name']}/repositories", "repositories")
        return any(each["full_name"] == self._repository for each in listed)

    def _personal(self, owner: str) -> bool:
        """An account without an organization has no organization secrets."""
        return bool(self._world.github.get(f"/users/{quote(owner)}")["type"] == "User")

    def pair(self, readers: list[Reader]) -> tuple[SecretStore, ...]:
        """Where the two halves of the jobs' AWS key stand; nothing when there are several keys, or half of one."""
        found: dict[str, set[SecretStore]] = {"id": set(), "secret": set()}
        for reader in readers if self.store else ():
            for part, name in reader.halves:
                for scope in self._scopes(reader):
                    if name in (self._listed(scope) or ()):
                        found[part].add(_store(self._repository, name, scope, part))
                        break
        if len(found["secret"]) == 1 and len(found["id"]) <= 1:
            return (*found["id"], *found["secret"])
        if several := sorted({f"{s.name} ({_scope(s)})" for stores in found.values() for s in stores}):
            self._unknown.append(f"The jobs use several AWS keys; which of {', '.join(several)} leaked is not known")
        return ()

    def named(self, readers: list[Reader], what: str, pattern: re.Pattern[str]) -> tuple[SecretStore, ...]:
        """The one secret that is named after a registry; nothing when there are several, or none."""
        found: set[SecretStore] = set()
        for reader in readers if self.store else ():
            for name in filter(pattern.search, reader.names):
                scopes = [scope for scope in self._scopes(reader) if name in (self._listed(scope) or ())]
                found |= {_store(self._repository, name, scope, "secret") for scope in scopes[:1]}
        if len(found) != 1:
            names = ", ".join(sorted(store.name for store in found)) or "none"
            said = f"Which secret of the jobs holds the {what} token is not known; named after {what}: {names}"
            self._unknown.append(said)
            return ()
        return tuple(found)

    def copies(self, names: set[str]) -> None:
        """Say which other stores have a secret of the same name: whether it is the same value cannot be read."""
        for store in COPIES:
            if store == self.store:
                continue
            shown = ", ".join(sorted(names))
            try:
                path = f"/repos/{self._repository}/{store}/secrets"
                shown = ", ".join(sorted(names & {s["name"] for s in self._world.github.pages(path, "secrets")}))
            except ProviderError:
                pass  # not seen counts as not known
            if shown:
                self._unknown.append(f"Whether the {store} secrets hold a copy of {shown} is not known")


def _store(repository: str, name: str, scope: str, part: str) -> SecretStore:
    kind, _, environment = scope.partition(":")
    store = "dependabot" if kind.startswith("dependabot") else "actions"
    kind = {"dependabot": "repository", "dependabot-organization": "organization"}.get(kind, kind)
    return SecretStore(repository=repository, name=name, scope=kind, environment=environment, store=store, part=part)


def _scope(store: SecretStore) -> str:
    if store.store == "dependabot":
        return "dependabot"
    return f"environment:{store.environment}" if store.environment else store.scope


# Tokens: what each job is given or may mint


def _minted(
    world: World, repository: str, run: dict[str, Any], readers: list[Reader], unknown: list[str]
) -> tuple[list[Reached], tuple[Tail, ...]]:
    key = tokens_of(repository, run["path"])
    fork = _from_fork(run, repository)
    alive = run["status"] != "completed"
    token = Credential(provider="github", kind="github-token", id=key.partition(":")[2]) if alive else None
    running = [reader for reader in readers if not reader.calls]
    default = _default(world, repository, unknown) if any(reader.permissions is None for reader in running) else ""
    reached: list[Reached] = []
    for reader in running:
        stated = reader.permissions
        may = ", ".join(f"{k}: {v}" for k, v in sorted(stated.items())) or "none" if stated is not None else default
        how = f"every job has one; permissions: {'read at most, the run is of a fork' if fork else may}"
        name = f"GITHUB_TOKEN of job {reader.label}"
        reached.append(Reached(kind="github-token", name=name, scope="job", how=how, credential=token))
        if not fork:
            reached += _clouds(reader, unknown)
    mints = any(each.kind == "id-token" for each in reached)
    assumes = any(each.kind == "oidc-role" for each in reached)
    life = _job_life(world, repository, run) if alive else None
    return reached, tuple(_tails(world, run, key, life, mints=mints, assumes=assumes))


def _clouds(reader: Reader, unknown: list[str]) -> Iterator[Reached]:
    mints = may_mint(reader.permissions)
    if mints:
        name = f"id-token of job {reader.label}"
        yield Reached(kind="id-token", name=name, scope="job", how="its permissions have id-token: write")
        unknown.append(f"Which other roles trust the id-token of job {reader.label} is not known")
    for role in reader.job.roles:
        how = f"job {reader.label} assumes it in step {role.step}, with its {'id-token' if mints else 'secrets'}"
        kind = "oidc-role" if mints else "role"
        yield Reached(kind=kind, name=role.name, scope="cloud", how=how, known=role.literal)


def _default(world: World, repository: str, unknown: list[str]) -> str:
    try:
        found = world.github.get(f"/repos/{repository}/actions/permissions/workflow")
    except ProviderError as exc:
        unknown.append(f"What a GITHUB_TOKEN may do by default could not be seen: {exc}")
        return "the repository's default, which could not be seen"
    return f"the repository's default, {found['default_workflow_permissions']}"


def _job_life(world: World, repository: str, run: dict[str, Any]) -> timedelta:
    """The longest that a token of a job under way can live."""
    jobs = world.github.pages(f"/repos/{repository}/actions/runs/{run['id']}/jobs", "jobs")
    return SELF_HOSTED if any("self-hosted" in (job.get("labels") or ()) for job in jobs) else HOSTED


def _tails(
    world: World, run: dict[str, Any], key: str, life: timedelta | None, *, mints: bool, assumes: bool
) -> Iterator[Tail]:
    """What may still live: counted from now while a job could mint it again, else from the end of the run."""
    now = world.now()
    last = now if life else datetime.fromisoformat(run["updated_at"])
    if life:
        yield Tail(kind="github-token", of=key, until=now + life, why="it lives until its job ends, or this long")
    if mints and last + ID_TOKEN_LIFE > now:
        yield Tail(kind="id-token", of=key, until=last + ID_TOKEN_LIFE, why="an id-token cannot be revoked")
    if assumes and last + ROLE_SESSION > now:
        why = "a role's session outlives the id-token that opened it"
        yield Tail(kind="sts-session", of=key, until=last + ROLE_SESSION, why=why)

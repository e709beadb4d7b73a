"""Every carrier of a static credential in a repository's workflow files, and who uses it.

A carrier is one place whose text reads a secret: an input, a variable, a script, what is handed to a called workflow.
Secrets that belong together (an id and its secret) are one credential; a secret that is recognised anywhere is
followed everywhere, since one carrier left would keep it alive.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache, partial
from itertools import pairwise

from bot.oidc import elsewhere, recipes
from bot.oidc.shape import ANY_SECRETS, EXPRESSION, ONLY_SECRET, Step, Workflow, computed, secrets_of, uses_token, walk
from bot.oidc.source import Node, Path

_USER = re.compile(r"USER(NAME)?(_\d+)?$|EMAIL$", re.IGNORECASE)
_LOGIN = re.compile(r"\b(?:docker|podman|buildah|skopeo|helm registry|crane auth|oras)\s+login\b([^\n|;&]*)")
_REGISTRY = re.compile(r"[\w${}-]+(\.[\w${}-]+)+(:\d+)?(/\S*)?")
BY_MATRIX = re.compile(r"\s*\$\{\{\s*secrets\[\s*matrix\.([\w-]+)\s*\]\s*\}\}\s*")
_OF_ENV = re.compile(r"\s*\$\{\{\s*env\s*\.\s*([A-Za-z_]\w*)\s*\}\}\s*")
_ASSIGNED = re.compile(r"(?<![\w-])([A-Za-z]\w*)=[\"']?\$\{\{\s*secrets\s*\.\s*(\w+)\s*\}\}")
MERGED = ("aws", "vault")  # their ids and secrets go in pairs
ONE_KEY = 3  # an id, its secret and a session token


@dataclass(frozen=True, slots=True, kw_only=True)
class Carrier:
    """One place that reads secrets. ``kind``: input, step-env, job-env, workflow-env, run, secrets, inherit or other.

    ``text`` is what is read; what a step gets by ``env.NAME`` is read through that variable, whose text it is then.
    ``name`` is the input, the variable or the secret of the called workflow; ``part`` what the value is for its
    provider, '' when only the secret's name says so. ``step`` is None outside of steps, ``job`` '' outside of jobs.
    """

    file: str
    path: Path
    line: int
    kind: str
    job: str
    step: int | None
    name: str
    text: str
    secrets: tuple[str, ...]
    provider: str
    part: str
    owned: tuple[str, ...]  # those of the secrets that are recognised here as the provider's

    @property
    def named(self) -> bool:
        """Whether the secrets that it reads can be named, if it computes a name: a matrix writes them all out."""
        return bool(self.secrets) and not any(name.startswith("(") for name in self.secrets)

    @property
    def taken_out(self) -> Carrier:
        """One whose name a matrix chooses, as the carrier that it would be if it named one secret."""
        return replace(self, kind=_kind(self.path), name=str(self.path[-1]))

    @property
    def where(self) -> str:
        """In words, for people."""
        place = f"job {self.job}" if self.job else "the workflow"
        if self.step is not None:
            place += f", step {self.step + 1}"
        return f"{self.file}:{self.line}: {place}: {self.kind.replace('-', ' ')} {self.name}".rstrip()


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """Secrets that are one credential, with all its carriers."""

    provider: str
    secrets: tuple[str, ...]
    carriers: tuple[Carrier, ...]

    @property
    def title(self) -> str:
        return str(_providers()[self.provider]["title"])

    @property
    def instead(self) -> str:
        """What takes its place, or the next best where nothing does."""
        return str(_providers()[self.provider]["instead"])

    @property
    def key(self) -> str:
        """A name for people and for ids: the provider and its secrets."""
        return f"{self.provider}:{'+'.join(self.secrets)}"

    @property
    def jobs(self) -> tuple[tuple[str, str], ...]:
        """The jobs that carry it themselves, as (file, job)."""
        return tuple(dict.fromkeys((c.file, c.job) for c in self.carriers if c.job))


@cache
def _providers() -> dict[str, dict[str, dict[str, str]]]:
    return dict(recipes.data("providers"))


@cache
def _like(provider: str) -> re.Pattern[str]:
    return re.compile(str(_providers()[provider]["like"]), re.IGNORECASE)


@cache
def _scripts(provider: str) -> re.Pattern[str] | None:
    found = list(_providers()[provider]["scripts"])
    return re.compile("|".join(found), re.IGNORECASE) if found else None


def carriers(workflow: Workflow) -> list[Carrier]:
    """Every place of a workflow that reads a secret; those of no provider that is known have provider ''."""
    return [*_found(workflow)]


def _found(workflow: Workflow) -> Iterator[Carrier]:
    for path, node in walk(workflow.source.root):
        names = tuple(secrets_of(node.value))
        whole = computed(node.value) if ANY_SECRETS.search(node.value) else False
        if path[-1:] == ("if",) and not EXPRESSION.search(node.value):
            names = tuple(secrets_of("${{" + node.value + "}}"))
        inherit = len(path) == 3 and path[0] == "jobs" and path[2] == "secrets" and node.value == "inherit"
        if names or whole or inherit:
            yield _carrier(workflow, path, node.value, node.start, names, inherit=inherit, whole=whole)
        elif text := _through_env(workflow, path, node.value):
            yield _carrier(workflow, path, text, node.start, tuple(secrets_of(text)), inherit=False, whole=False)


def _through_env(workflow: Workflow, path: Path, text: str) -> str:
    """What an input or a variable of a step gets by ``${{ env.NAME }}``, where the name holds a secret; else ''."""
    found = _OF_ENV.fullmatch(text)
    job = workflow.jobs.get(str(path[1])) if path[0] == "jobs" and len(path) > 1 else None
    if found is None or job is None or _kind(path) not in {"input", "step-env"}:
        return ""
    own = {step.index: step.env for step in job.steps}.get(int(path[3]), {}) if _kind(path) == "input" else {}
    text = next((table[found[1]] for table in (own, job.env, workflow.env) if found[1] in table), "")
    return text if ONLY_SECRET.fullmatch(text) else ""


def _carrier(
    workflow: Workflow, path: Path, text: str, start: int, names: tuple[str, ...], *, inherit: bool, whole: bool
) -> Carrier:
    job = workflow.jobs.get(str(path[1])) if path[0] == "jobs" and len(path) > 1 else None
    index = path[3] if job is not None and len(path) > 3 and path[2] == "steps" and isinstance(path[3], int) else None
    step = Step(job, index, job.node.get("steps").real.items[index].real) if job and index is not None else None  # type: ignore[union-attr]
    kind = "inherit" if inherit else "computed" if whole else _kind(path)
    name = str(path[-1]) if kind in {"input", "step-env", "job-env", "workflow-env", "secrets"} else ""
    provider, part, owned = _classified(kind, name, text, names, step)
    if whole and not names and (found := _computed(path, step)):
        provider, part = found
        names = owned = (_of_matrix(job.node, text) if job else ()) or (f"(computed, {provider})",)
    if path[-2:] == ("credentials", "password") and job is not None and names:
        provider, part, owned = _of_image(workflow, path), "token", names
    return Carrier(
        file=workflow.path, path=path, line=workflow.source.line(start), kind=kind, job=job.id if job else "",
        step=index, name=name, text=text, secrets=names, provider=provider, part=part, owned=owned,
    )  # fmt: skip


def _of_matrix(job: Node, text: str) -> tuple[str, ...]:
    """The secrets of ``secrets[matrix.NAME]``, where the matrix writes every value out; () where it does not."""
    chosen = BY_MATRIX.fullmatch(text)
    node: Node | None = job
    for key in ("strategy", "matrix"):
        node = node.get(key) if node is not None and node.real.kind == "map" else None
    if chosen is None or node is None or node.real.kind != "map":
        return ()
    listed, include = node.get(chosen[1]), node.get("include")
    values = list(listed.real.items) if listed is not None else []
    for row in include.real.items if include is not None else ():
        value = row.real.get(chosen[1]) if row.real.kind == "map" else None
        values += [value] if value is not None else []
    plain = [str(value.real.value) for value in values]
    written = all(value.real.kind == "scalar" and "${{" not in value.real.value for value in values)
    sources = [each for each in (listed, include) if each is not None]
    if not plain or not written or any(each.real.kind != "seq" for each in sources):
        return ()
    return tuple(dict.fromkeys(name.upper() for name in plain))


def _computed(path: Path, step: Step | None) -> tuple[str, str] | None:
    """Whose a credential is whose secret has a computed name, by the input or the variable that gets it."""
    name = str(path[-1])
    for provider, recipe in _providers().items():
        inputs: Mapping[str, str] = (recipe["inputs"].get(step.action) if step else None) or {}  # type: ignore[assignment]
        if step is not None and _kind(path) == "input" and name.lower() in inputs:
            return provider, inputs[name.lower()]
        if _kind(path).endswith("-env") and name.upper() in recipe["env"]:
            return provider, recipe["env"][name.upper()]
    return None


def _kind(path: Path) -> str:
    if path[0] == "env" and len(path) == 2:
        return "workflow-env"
    if path[0] != "jobs":
        return "other"
    match path[2:]:
        case ("env", _):
            return "job-env"
        case ("secrets", _):
            return "secrets"
        case ("steps", int(), "env", _):
            return "step-env"
        case ("steps", int(), "with", _):
            return "input"
        case ("steps", int(), "run"):
            return "run"
    return "other"


def _classified(
    kind: str, name: str, text: str, names: tuple[str, ...], step: Step | None
) -> tuple[str, str, tuple[str, ...]]:
    named = [each for each in EXPRESSION.findall(text) if secrets_of(f"${{{{{each}}}}}")]
    if not names or (named and all(uses_token(f"${{{{{each}}}}}") for each in named)):
        return "", "", ()  # what falls back to GITHUB_TOKEN is a token of GitHub
    if kind == "input" and step is not None:
        if step.action in {"docker/login-action", "azure/docker-login"}:
            return *_registry(step, name.lower(), names), names
        for provider, recipe in _providers().items():
            inputs: Mapping[str, str] = recipe["inputs"].get(step.action) or {}  # type: ignore[assignment]
            if name.lower() in inputs:
                return provider, inputs[name.lower()], names
            if inputs:
                return "", "", ()  # an id, an address or a name in a secret's place
    if kind in {"step-env", "job-env", "workflow-env"}:
        for provider, recipe in _providers().items():
            if part := recipe["env"].get(name.upper()):
                return _packages(provider, step), part, names
    for provider in _providers() if kind == "run" else ():
        if assigned := _assigned(provider, text):
            return provider, "", tuple(n for n in names if n in assigned or _like(provider).fullmatch(n))
    for secret in names:
        for provider in _providers():
            if _like(provider).fullmatch(secret):
                return provider, "", tuple(n for n in names if _like(provider).fullmatch(n))
    if kind == "run":
        for line in text.splitlines():
            if (found := _LOGIN.search(line)) and secrets_of(line):
                whose = _host(
                    next((word for word in EXPRESSION.sub("", found[1]).split() if _REGISTRY.fullmatch(word)), "")
                )
                given = tuple(each for each in secrets_of(line) if not _USER.search(each))
                if whose and given:
                    return whose, "", given
        for provider in _providers():
            if owned := _in_script(provider, text):
                return provider, "", owned
    return "", "", ()


def _assigned(provider: str, text: str) -> set[str]:
    """The secrets that a script puts into variables which the provider's tools read."""
    known = _providers()[provider]["env"]
    return {secret.upper() for name, secret in _ASSIGNED.findall(text) if known.get(name.upper(), "user") != "user"}


def _packages(provider: str, step: Step | None) -> str:
    """A token of npm, or one of GitHub's where the job has set up GitHub Packages and nothing else."""
    if provider != "npm" or step is None:
        return provider
    registries = {each.input("registry-url") for each in step.job.steps if each.input("registry-url")}
    named = any("registry.npmjs.org" in text for each in step.job.steps for text in (each.run, *each.env.values()))
    only = registries and all("npm.pkg.github.com" in each for each in registries) and not named
    return "github-packages" if only else provider


def _of_image(workflow: Workflow, path: Path) -> str:
    """Whose the password beside the image of a container or a service is: by where the image lies."""
    image = workflow.source.at(path[:-2]).get("image")
    return _host(image.real.value.partition("/")[0] if image is not None else "")


def _host(host: str) -> str:
    """The provider behind a registry's host name; a name that is none lies at Docker Hub."""
    known = {".dkr.ecr.": "aws", "public.ecr.aws": "aws", "gcr.io": "gcp", "pkg.dev": "gcp", "azurecr.io": "azure",
             "ghcr.io": "ghcr", "jfrog.io": "artifactory"}  # fmt: skip
    found = next((provider for part, provider in known.items() if part in host.lower()), "")
    hub = "." not in host or host.lower().endswith("docker.io")
    return found or ("dockerhub" if hub else "")


def _in_script(provider: str, text: str) -> tuple[str, ...]:
    """The secrets that stand on a line which does something at the provider."""
    pattern = _scripts(provider)
    lines = [line for line in text.splitlines() if pattern.search(line)] if pattern else []
    names = dict.fromkeys(name for line in lines for name in secrets_of(line))
    return tuple(name for name in names if not _USER.search(name))


def _registry(step: Step, name: str, names: tuple[str, ...]) -> tuple[str, str]:
    """Whose credential a login to a container registry is: by the registry's address."""
    part = {"password": "token", "username": "user"}.get(name, "")
    registry = (step.input("registry") or step.input("login-server")).lower()
    if not part:
        return "", ""
    if ".dkr.ecr." in registry or "public.ecr.aws" in registry or any(_like("aws").fullmatch(n) for n in names):
        return "aws", {"token": "secret", "user": "id"}[part]
    if "gcr.io" in registry or "pkg.dev" in registry:
        return "gcp", part
    if "azurecr.io" in registry:
        return "azure", "acr" if part == "token" else part
    if "ghcr.io" in registry:
        return "ghcr", part
    if registry in {"", "docker.io", "index.docker.io", "registry-1.docker.io", "https://index.docker.io/v1/"}:
        return "dockerhub", part
    if step.action == "azure/docker-login" and "${{" in registry:
        return "azure", "acr" if part == "token" else part
    return next(((p, part) for p in _providers() for n in names if _like(p).fullmatch(n)), ("", ""))


def credentials(workflows: Iterable[Workflow]) -> list[Credential]:
    """The static credentials of a repository's workflows, each with every carrier."""
    workflows = list(workflows)
    found = [carrier for workflow in workflows for carrier in carriers(workflow)]
    owner: dict[str, str] = {}
    for carrier in sorted(found, key=lambda c: (not c.part, c.file, c.line)):
        for secret in carrier.owned:
            if carrier.provider and carrier.part != "user":  # a name is no secret; it goes with its token
                owner.setdefault(secret, carrier.provider)
    groups = _groups(found, owner, _handed(found, workflows))
    read = {workflow.path: workflow for workflow in workflows}
    made = []
    for provider, group in groups:
        own = tuple(c for c in found if group & set(c.secrets))
        whose = "s3" if provider == "aws" and _of_another_store(own, read) else provider
        made.append(Credential(provider=whose, secrets=tuple(sorted(group)), carriers=own))
    return made


def _of_another_store(carriers: Iterable[Carrier], workflows: Mapping[str, Workflow]) -> bool:
    """Whether every job that carries a key sends its S3 calls to another service than AWS, so the key is that one's."""
    carriers = list(carriers)
    if all(elsewhere.NAMED.match(secret) for carrier in carriers for secret in carrier.owned):
        return True
    jobs = {(c.file, c.job) for c in carriers if c.job}
    found = [workflows[file].jobs[job] for file, job in jobs]
    return bool(found) and all(elsewhere.store(job) for job in found)


def _groups(
    found: list[Carrier], owner: Mapping[str, str], handed: Iterable[tuple[str, str]]
) -> list[tuple[str, set[str]]]:
    """Secrets that stand side by side for one provider are one credential; so are those of one expression."""
    parent = {secret: secret for secret in owner}
    root = partial(_root, parent)
    beside: dict[tuple[str, Path, str], list[str]] = {}
    parts: dict[tuple[str, Path, str], list[str]] = {}
    for carrier in found:
        own = [s for s in carrier.secrets if s in owner]
        if carrier.kind in {"run", "other"}:
            _pairs([s for s in own if owner[s] in MERGED], parent)
            if len(own) > ONE_KEY:
                continue  # several keys in one script, which are told apart by their names alone
        else:
            for one, two in pairwise(own):
                if owner[one] == owner[two]:
                    parent[root(two)] = root(one)
        for provider in dict.fromkeys(owner[secret] for secret in own if owner[secret] in MERGED):
            place = (carrier.file, carrier.path[:-1], provider)
            beside.setdefault(place, []).extend(secret for secret in own if owner[secret] == provider)
            parts.setdefault(place, []).append(carrier.part)  # once, however many secrets it chooses from
    for (file, path, provider), group in beside.items():
        one_pair = sorted(parts[file, path, provider]) == ["id", "secret"]
        if provider == "aws" and path[-1:] in {("env",), ("secrets",)} and not one_pair:
            _pairs(group, parent)
            continue
        for one, two in pairwise(group):
            parent[root(two)] = root(one)
    for outer, inner in handed:
        if owner.get(outer) is not None and owner.get(outer) == owner.get(inner):
            parent[root(inner)] = root(outer)
    members: dict[str, set[str]] = {}
    for secret in owner:
        members.setdefault(root(secret), set()).add(secret)
    return [(owner[first], group) for first, group in members.items()]


def _handed(found: list[Carrier], workflows: Iterable[Workflow]) -> Iterator[tuple[str, str]]:
    """What callers hand on to workflows of this repository: their secret, and the name that it has there."""
    files = {workflow.path: workflow for workflow in workflows}
    for carrier in found:
        if carrier.kind == "secrets":
            called = files[carrier.file].jobs[carrier.job].uses.partition("@")[0]
            if called.removeprefix("./").removeprefix("$/") in files:
                yield from ((secret, carrier.name.upper()) for secret in carrier.secrets)


def _pairs(group: list[str], parent: dict[str, str]) -> None:
    """Of several AWS keys in one table, those whose names differ in the word for id and secret are a pair."""
    for secret in group:
        for other in group:
            if secret != other and _stem(secret) == _stem(other):
                parent[_root(parent, other)] = _root(parent, secret)


def _root(parent: Mapping[str, str], secret: str) -> str:
    while parent[secret] != secret:
        secret = parent[secret]
    return secret


def _stem(secret: str) -> str:
    return re.sub(r"ACCESS_?KEY(_?ID)?|SECRET(_?ACCESS)?(_?KEY)?|KEY(_?ID)?|SESSION_?TOKEN|ACCESS(_?ID)?", "", secret)

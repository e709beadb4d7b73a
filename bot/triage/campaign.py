"""Which of our runs used a poisoned action or package between two times, and what was in their reach.

A run's log says which commit of an action it has fetched (``Download action repository 'o/n@v1' (SHA:…)``), which its
workflow file cannot say once a tag has moved; where the log is gone the file at the run's commit is what is left, and
the answer says so. A package stands in the lock files of the commit, or among what an installer's log names.
"""

from __future__ import annotations

import base64
import re
import zipfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

from bot.errors import InputError, NotFound, ProviderError, RateLimited, Unavailable
from bot.model import Credential, Exposure, Reached, RunRef, Tail
from bot.triage.identify import Found, Recognizer
from bot.triage.reach import reach_of_run
from bot.triage.runs import of_a_job, run_ref, texts_of
from bot.world import World

KIND = "campaign"
ACTION, PACKAGE = "action", "package"
BEFORE = timedelta(days=1)  # a run that began so long before may still have been going on
MOST_RUNS = 1000  # GitHub's search shows no more of one repository
_NAMES = {ACTION: re.compile(r"[\w.-]+/[\w.-]+"), PACKAGE: re.compile(r"(?:@[\w.-]+/)?[\w.-]+")}
_REF, _HOME = re.compile(r"[\w./+-]{1,100}"), re.compile(r"[A-Za-z0-9][\w-]*(?:/[\w.-]+)?")
NAMED = re.compile(r"\b(?:action|package):[\w./@+-]{3,250};[\dT:Z.-]{35,40};[\w./,-]{1,500}")
_SHA = re.compile(r"[0-9a-f]{40}")
_FETCHED = re.compile(r"Download action repository '([^'@]+)@([^']+)' \(SHA:([0-9a-f]{40})\)")
# How lock files name a version. {n} and {v} are filled in, quoted.
_LOCKS = {
    "package-lock.json": r'"(?:[^"\n]*node_modules/)?{n}":\s*\{{\s*"version":\s*"{v}"',
    "npm-shrinkwrap.json": r'"(?:[^"\n]*node_modules/)?{n}":\s*\{{\s*"version":\s*"{v}"',
    "yarn.lock": r'^"?{n}@[^\n]*:\n\s+version:?\s+"?{v}"?\s*$', "pnpm-lock.yaml": r"^\s+'?/?{n}[@/]{v}[':(_]",
    "poetry.lock": r'^name = "{n}"\nversion = "{v}"', "uv.lock": r'^name = "{n}"\nversion = "{v}"',
    "Cargo.lock": r'^name = "{n}"\nversion = "{v}"', "Pipfile.lock": r'"{n}":\s*\{{[^}}]*"version":\s*"=={v}"',
    "requirements.txt": r"^{n}(?:\[[^\]]*\])?\s*==\s*{v}(?:\s|;|$)", "Gemfile.lock": r"^    {n} \({v}\)$",
    "go.sum": r"^{n} v?{v} ",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Hunt:
    """What is looked for. ``ref`` is a commit, tag or branch of an action, or a package's version."""

    what: str
    name: str
    ref: str
    since: datetime
    until: datetime
    homes: tuple[str, ...]  # OWNER (an organization) or OWNER/REPOSITORY

    def __post_init__(self) -> None:
        if not _NAMES[self.what].fullmatch(self.name) or not _REF.fullmatch(self.ref):
            raise InputError(f"{self.name[:60]}@{self.ref[:60]} is no {self.what}; write NAME@VERSION (or @SHA)")
        if self.since >= self.until:
            raise InputError("--from must be before --to")
        if not self.homes or not all(_HOME.fullmatch(home) for home in self.homes):
            raise InputError("say where to look: --org OWNER, or --repo OWNER/REPOSITORY")

    @property
    def id(self) -> str:
        """The campaign's name: the same question has the same one."""
        window = f"{self.since:%Y-%m-%dT%H:%MZ}..{self.until:%Y-%m-%dT%H:%MZ}"
        return f"{self.what}:{self.name}@{self.ref};{window};{','.join(sorted(self.homes))}"

    @property
    def credential(self) -> Credential:
        """As the parent incident holds it: no secret, a question."""
        return Credential(provider="github", kind=KIND, id=self.id)

    @classmethod
    def of(cls, credential: Credential) -> Hunt:
        """Back from an incident. Raises InputError for what is no campaign's name."""
        try:
            what, window, homes = credential.id.split(";")
            kind, _, rest = what.partition(":")
            name, _, ref = rest.rpartition("@")
            since, until = (datetime.strptime(at, "%Y-%m-%dT%H:%MZ").replace(tzinfo=UTC) for at in window.split(".."))
            return cls(what=kind, name=name, ref=ref, since=since, until=until, homes=tuple(homes.split(",")))
        except (ValueError, KeyError):
            raise InputError(f"{credential.id[:100]} is no campaign") from None

    def named(self) -> re.Pattern[str]:
        """Where a workflow file names the action."""
        return re.compile(rf"uses:\s*['\"]?{re.escape(self.name)}(?:/[^@\s'\"]*)?@(?P<ref>[^\s'\"#]+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """A run that used it, and how that is known. ``sure`` is False where a moved tag leaves it open."""

    run: RunRef
    how: str
    sure: bool
    public: bool
    at: str


@dataclass(slots=True, kw_only=True)
class Swept:
    """The answer. ``found``: what stands in the logs of these runs, values in memory."""

    uses: list[Use] = field(default_factory=list)
    reach: list[Reached] = field(default_factory=list)
    tails: list[Tail] = field(default_factory=list)
    found: list[Found] = field(default_factory=list, repr=False)
    leaking: list[RunRef] = field(default_factory=list)
    urls: dict[str, str] = field(default_factory=dict)  # place of what was found -> address of its run
    runs: int = 0  # that were looked at
    unknown: list[str] = field(default_factory=list)

    @property
    def exposure(self) -> Exposure:
        """What stands in a public log can be read by everybody; what was posted elsewhere is with whoever took it."""
        return Exposure.PUBLIC if any(use.public for use in self.uses) else Exposure.UNKNOWN

    def url_of(self, hit: Found) -> str:
        """The run in whose log it stands."""
        return self.urls.get(hit.where, "")


def sweep(world: World, recognizer: Recognizer, hunt: Hunt) -> Swept:
    """Look at every run of the window. Raises RateLimited and Unavailable; what else cannot be read is said."""
    swept = Swept()
    for home in hunt.homes:
        for repo in _repositories(world, home):
            _Repository(world, recognizer, hunt, repo, swept).look()
    return swept


def _repositories(world: World, home: str) -> Iterator[dict[str, Any]]:
    if "/" in home:
        yield world.github.get(f"/repos/{home}")
    else:
        yield from world.github.pages(f"/orgs/{home}/repos")


class _Repository:
    """The runs of one repository."""

    def __init__(
        self, world: World, recognizer: Recognizer, hunt: Hunt, repo: dict[str, Any], swept: Swept
    ) -> None:  # fmt: skip
        self.world, self.recognizer, self.hunt, self.swept = world, recognizer, hunt, swept
        self.name, self.public = str(repo["full_name"]), repo.get("private") is False
        self.locks: dict[str, str] = {}

    def look(self) -> None:
        hunt = self.hunt
        window = f"{hunt.since - BEFORE:%Y-%m-%dT%H:%M:%SZ}..{hunt.until:%Y-%m-%dT%H:%M:%SZ}"
        try:
            runs = list(self.world.github.pages(f"/repos/{self.name}/actions/runs", "workflow_runs", created=window))
        except (RateLimited, Unavailable):
            raise
        except ProviderError as exc:
            self.swept.unknown.append(f"The runs of {self.name} could not be listed: {exc}")
            return
        if len(runs) >= MOST_RUNS:
            self.swept.unknown.append(f"{self.name} had more than {MOST_RUNS} runs; ask for a shorter time")
        for run in runs:
            if not _before(str(run.get("updated_at") or ""), hunt.since):
                self._run(run)

    def _run(self, run: dict[str, Any]) -> None:
        self.swept.runs += 1
        run["repository"] = {**(run.get("repository") or {}), "full_name": self.name}
        ref = run_ref(self.name, run)
        texts = self._texts(ref)
        how, sure = self._used(ref, texts)
        if not how:
            return
        at = str(run.get("created_at") or "")
        self.swept.uses.append(Use(run=ref, how=how, sure=sure, public=self.public, at=at))
        url, mine = str(run.get("html_url") or ""), []
        for where, text in texts or ():
            hits = [replace(hit, where=where) for hit in self.recognizer.find(text) if hit.kind != "generic"]
            if hits:
                self.swept.leaking.append(ref)
            mine += [hit for hit in hits if not self._over(run, hit)]
        self.swept.found += mine
        self.swept.urls |= {hit.where: url for hit in mine}
        self._reach(ref, url, mine)

    def _over(self, run: dict[str, Any], hit: Found) -> bool:
        """Whether it has ended by itself: what Actions mints for a job dies with it."""
        if not of_a_job(hit) or run.get("status") != "completed":
            return False
        self.swept.unknown.append(f"Logs of {self.name} hold tokens of its jobs too, which have ended with their runs")
        return True

    def _texts(self, ref: RunRef) -> list[tuple[str, str]] | None:
        """The logs of all attempts; None where there is none any more, or not yet."""
        found: list[tuple[str, str]] | None = None
        for attempt in range(1, ref.attempt + 1):
            where = f"{self.name} run {ref.run_id} attempt {attempt}"
            try:
                path = f"/repos/{self.name}/actions/runs/{ref.run_id}/attempts/{attempt}/logs"
                texts = texts_of(self.world.github.download(path), where, self.swept.unknown)
            except NotFound:
                continue
            except (zipfile.BadZipFile, NotImplementedError, RuntimeError):
                self.swept.unknown.append(f"The log of {where} is no zip that can be read")
                continue
            found = (found or []) + [(f"{where}: {name}", text) for name, text in texts]
        return found

    def _used(self, ref: RunRef, texts: list[tuple[str, str]] | None) -> tuple[str, bool]:
        if self.hunt.what == PACKAGE:
            return self._installed(ref, texts)
        hunt, exact = self.hunt, bool(_SHA.fullmatch(self.hunt.ref))
        for _, text in texts or ():
            for name, tag, sha in _FETCHED.findall(text):
                if name.lower() == hunt.name.lower() and (sha == hunt.ref if exact else tag == hunt.ref):
                    return f"its log fetched {name}@{tag} at {sha}", True
        if texts is not None:
            return "", True
        named = [match["ref"] for match in hunt.named().finditer(self._file(ref.workflow, ref.commit))]
        if hunt.ref in named:
            return f"its workflow names {hunt.name}@{hunt.ref}; there is no log", True
        tags = [name for name in named if not _SHA.fullmatch(name)]
        if exact and tags:
            return f"its workflow names {hunt.name}@{tags[0]}, which commit that was no log says any more", False
        return "", True

    def _installed(self, ref: RunRef, texts: list[tuple[str, str]] | None) -> tuple[str, bool]:
        name, version = self.hunt.name, self.hunt.ref
        said = re.compile(rf"(?<![\w@/.-]){re.escape(name)}[-@]{re.escape(version)}(?![\w.-]*\d)")
        if any(said.search(text) for _, text in texts or ()):
            return f"its log names {name} {version}", True
        if ref.commit not in self.locks:
            self.locks[ref.commit] = self._lock(ref.commit)
        path = self.locks[ref.commit]
        return (f"{path} at its commit locks {name} {version}", True) if path else ("", True)

    def _lock(self, commit: str) -> str:
        """The first lock file of a commit that names the version."""
        try:
            tree = self.world.github.get(f"/repos/{self.name}/git/trees/{commit}", recursive="1")
        except (RateLimited, Unavailable):
            raise
        except ProviderError as exc:
            self.swept.unknown.append(f"The lock files of {self.name} at {commit[:12]} could not be read: {exc}")
            return ""
        names = {"n": re.escape(self.hunt.name), "v": re.escape(self.hunt.ref)}
        for entry in tree.get("tree", ()):
            form = _LOCKS.get(str(entry["path"]).rpartition("/")[2])
            if form and re.search(form.format(**names), self._file(entry["path"], commit), re.MULTILINE):
                return str(entry["path"])
        return ""

    def _file(self, path: str, commit: str) -> str:
        try:
            found = self.world.github.get(f"/repos/{self.name}/contents/{quote(path)}", ref=commit)
            return base64.b64decode(found["content"]).decode(errors="replace")
        except (RateLimited, Unavailable):
            raise
        except (ProviderError, KeyError, TypeError, ValueError):
            self.swept.unknown.append(f"{path} of {self.name} at {commit[:12]} could not be read")
            return ""

    def _reach(self, ref: RunRef, url: str, found: list[Found]) -> None:
        """As triage knows it of one run, under names that tell one repository's secrets from another's.

        A secret whose value its log holds is that value's row: of a kind that stands there once, and is named so once.
        """
        held = {hit.key: hit.credential for hit in found}
        kinds = Counter(each.kind for each in held.values())
        logged = {each.kind: each for each in held.values() if kinds[each.kind] == 1}
        try:
            reach, _, tails, unknown = reach_of_run(self.world, self.name, ref.run_id, logged=logged)
        except (RateLimited, Unavailable):
            raise
        except ProviderError as exc:
            self.swept.unknown.append(f"The reach of run {ref.run_id} of {self.name} could not be found out: {exc}")
            return
        for each in reach:
            own = each if each.scope == "organization" else replace(each, name=f"{self.name}/{each.name}")
            shows = url if each.credential else ""
            self.swept.reach.append(replace(own, how=f"{self.name} run {ref.run_id}: {each.how}", url=shows))
        self.swept.tails += tails
        self.swept.unknown += [f"{self.name}: {text}" for text in unknown]


def _before(text: str, since: datetime) -> bool:
    try:
        return datetime.fromisoformat(text) < since
    except ValueError:
        return False

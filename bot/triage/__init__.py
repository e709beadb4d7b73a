"""Triage: which credential is it, does it work, whose is it, who could see it since when, and what is its reach.

Reads only, but for sealing in the vault what it recognises. What could not be found out is a sentence in ``unknown``;
a provider that fails in one part does not hide the others.
"""

from __future__ import annotations

import base64
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from typing import Any, TypeVar
from urllib.parse import urlsplit

from bot.clients import aws_errors
from bot.errors import InputError, ProviderError
from bot.external import copies_of
from bot.gcp import KIND as GCP_KEY
from bot.images import IMAGE_REF
from bot.model import (
    OTHER,
    AlertRef,
    Credential,
    Exposure,
    Liveness,
    Reached,
    Report,
    RunRef,
    SecretStore,
    Sighting,
    StoredCopy,
    Tail,
    Triage,
    WorkflowRef,
)
from bot.registries import DOCKERHUB_KINDS, REGISTRY_OF
from bot.triage import migration
from bot.triage.campaign import KIND as CAMPAIGN
from bot.triage.campaign import Hunt, Swept, sweep
from bot.triage.dockerhub import account_of, bought_with
from bot.triage.gcp import minted_by_key, roles_of_key
from bot.triage.identify import Found, Recognizer
from bot.triage.image import ImageLeak, find_in_image, read_image
from bot.triage.liveness import NOT_ITS_OWN, iam_user, liveness
from bot.triage.npm import NPM_TOKEN, PUBLISHER, npm_account, npm_home
from bot.triage.owner import owners
from bot.triage.reach import AWS_KEY, reach_of_run
from bot.triage.registries import Published
from bot.triage.runs import RunLeak, find_in_run, of_a_job, read_run, siblings
from bot.triage.token import OWNER, USER_TOKENS, TokenFacts, home, reach_of_token, token_facts
from bot.workflow import tokens_of
from bot.world import World

__all__ = ["RUN_URL", "find_in_image", "find_in_run", "refuse_other_github", "sealed_label", "triage"]

RUN_URL = re.compile(r"https?://[^/\s]+/([\w.-]+/[\w.-]+)/actions/runs/(\d+)")
LONGEST_SESSION = timedelta(hours=36)  # GetSessionToken, GetFederationToken (AWS STS API Reference)
TRAIL_KEEPS = timedelta(days=90)
MOST_ALERTS = 30  # of the same provider, looked into
_ALERTS_SAY = {"gcp": "google", "dockerhub": "docker", "artifactory": "jfrog", "crates": "cratesio"}  # secret_type
_Row = TypeVar("_Row", Reached, Tail)
_REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")


def sealed_label(credential_key: str) -> str:
    """The label under which a leaked value is sealed in its incident's vault."""
    return f"leaked:{credential_key}"


def refuse_other_github(world: World, url: str) -> None:
    """Raises InputError for a run at another GitHub than the one that we ask: the same name there is another's."""
    ours, theirs = (urlsplit(each).hostname or "" for each in (world.github.web, url))
    if ours != theirs and ours != "127.0.0.1":
        raise InputError(f"that run is at {theirs}, and Bulkhead asks {ours} (BULKHEAD_GITHUB_API)")


def triage(world: World, recognizer: Recognizer, report: Report) -> Triage:
    """All that is known before the plan is made.

    Raises InputError when the report leads to no credential, and what the provider says when its run or image is
    not there.
    """
    if report.credential is not None and report.credential.kind == migration.KIND:
        return migration.found(world, report, report.credential)
    case = _Case(world, recognizer, report)
    match = RUN_URL.search(report.url)
    if report.credential is not None and report.credential.kind == CAMPAIGN:
        case.sweep(Hunt.of(report.credential))
        return case.result()
    if match is not None:
        case.read(match[1], int(match[2]))
    elif IMAGE_REF.fullmatch(report.url):
        case.pull(report.url)
    case.settle_credential()
    case.ask()
    return case.result()


class _Case:
    """One triage under way."""

    def __init__(self, world: World, recognizer: Recognizer, report: Report) -> None:
        self.world, self.recognizer, self.report = world, recognizer, report
        self.unknown: list[str] = []
        self.repository, self.run_id = "", 0
        self.run: dict[str, Any] = {}
        self.leaks: list[RunLeak] = []  # the reported run first
        self.found: list[Found] = []
        self.credential = report.credential or Credential(provider="", kind="")
        self.live = Liveness.UNKNOWN
        self.since = ""
        self.reach: list[Reached] = []
        self.stores: tuple[SecretStore, ...] = ()
        self.tails: list[Tail] = []
        self.alerts: list[AlertRef] = []
        self.image: ImageLeak | None = None
        self.swept: Swept | None = None
        self.facts = TokenFacts()
        self.published: Published | None = None

    # what was leaked ------------------------------------------------------------------------------------------------

    def read(self, repository: str, run_id: int) -> None:
        """Read the run and its siblings; seal every value in them before anything else is done."""
        refuse_other_github(self.world, self.report.url)
        self.repository, self.run_id = repository, run_id
        self.run = self.world.github.get(f"/repos/{repository}/actions/runs/{run_id}")
        self.run["repository"] = {**(self.run.get("repository") or {}), "full_name": repository}
        own = read_run(self.world, self.recognizer, self.run)
        self.leaks = [own, *siblings(self.world, self.recognizer, self.run, self.unknown)]
        for leak in self.leaks:
            self.found += leak.found
            self.unknown += leak.unknown
        for hit in self.found:
            self._seal(hit)
        if not own.readable:
            self.unknown.append(f"Run {run_id} has no log that can be read: it was deleted, or the run has not ended")

    def pull(self, ref: str) -> None:
        """Read a public image; seal every value in it before anything else is done."""
        self.image = read_image(self.world, self.recognizer, ref)
        self.found, self.since = list(self.image.found), self.image.created_at
        self.unknown += self.image.unknown
        for hit in self.found:
            self._seal(hit)
        try:
            self.repository = str(self.world.github.get(f"/repos/{self.image.repository}")["full_name"])
        except (ProviderError, InputError) as exc:
            self.unknown.append(f"From which repository the image {ref} was built is not known: {exc}")

    def sweep(self, hunt: Hunt) -> None:
        """Every run that used something; what stands in their logs is sealed, and each of it is in reach."""
        self.swept = sweep(self.world, self.recognizer, hunt)
        self.found = self.swept.found
        for hit in self.found:
            self._seal(hit)
        self.reach, self.tails = self.swept.reach, self.swept.tails
        self.since = min((use.at for use in self.swept.uses), default=hunt.since.isoformat())
        many = len({use.run.repository for use in self.swept.uses})
        open_ = sum(1 for use in self.swept.uses if not use.sure)
        self.unknown.append(
            f"{len(self.swept.uses)} of {self.swept.runs} runs used it, in {many} repositories"
            + (f"; of {open_} the log is gone and a tag is all that is known" if open_ else "")
        )
        self.unknown += self.swept.unknown
        self._others()

    def _seal(self, hit: Found) -> None:
        if hit.value:
            self.world.secrets.seal(sealed_label(hit.key), hit.value, credential=hit.key)
        for label, text in hit.beside.items():
            self.world.secrets.seal(label, text)

    def settle_credential(self) -> None:
        """The reported credential, or else the most telling one of the run, with all that is known of it."""
        if not self.credential.kind:
            if not self.found:
                raise InputError("the report leads to no credential: name its id, or a run whose log holds it")
            self.credential = max(self.found, key=_telling).credential
        same = [hit for hit in self.found if hit.key == self.credential.key]
        best = max(same, key=_telling).credential if same else self.credential
        held = self.world.secrets.of(self.credential.key)
        self.credential = replace(
            self.credential, account=self.credential.account or best.account,
            provider=self.credential.provider or best.provider,
            fingerprint=held.fingerprint if held else self.credential.fingerprint or best.fingerprint,
        )  # fmt: skip

    # what the providers say -----------------------------------------------------------------------------------------

    def ask(self) -> None:
        """Liveness, window, reach, stores, alerts, tails."""
        if self.credential.kind in DOCKERHUB_KINDS:
            account = account_of(self.world, self.credential, self.run, self.unknown)
            self.credential = replace(self.credential, account=account)
            self.tails.append(bought_with(self.world, self.credential))
        with ThreadPoolExecutor(1) as beside:  # two providers are asked at once: a cut waits for all of this
            asked = beside.submit(liveness, self.world, self.credential)
            if not self.run and self.credential.kind == "aws-access-key" and self.credential.id:
                asked.result()
                self._ask_iam()
            if self.credential.kind == NPM_TOKEN:
                self._ask_npm()
            if self.credential.kind in REGISTRY_OF:
                self._ask_registry()
            if self.credential.kind == GCP_KEY:
                self.reach += roles_of_key(self.world, self.credential, self.unknown)
            self.since = min((leak.created_at for leak in self._leaking() if leak.created_at), default=self.since)
            self._ask_reach()
            if self.credential.kind in USER_TOKENS:
                self._ask_token()
            self._ask_alerts()
            self.live, why = asked.result()
        if self.live == Liveness.UNKNOWN:
            self.unknown.append(f"Whether it still works is not known: {why}")
        if NOT_ITS_OWN in why:
            self._unpair()
        if self.credential.kind == "aws-access-key":
            self.tails.append(Tail(
                kind="sts-session", of=self.credential.key, until=self.world.now() + LONGEST_SESSION,
                why="sessions that were minted with the key outlive it",
            ))  # fmt: skip
        if self.credential.kind == GCP_KEY:
            self.tails.append(minted_by_key(self.world, self.credential))
        self._others()

    def _unpair(self) -> None:
        """Keep the secret for scrubbing, but not as this key's: that it is refused would prove nothing."""
        secrets, key = self.world.secrets, self.credential.key
        secret = secrets.of(key)
        if secret is not None:
            secrets.seal(f"unpaired:{key}", secret.reveal())
            secrets.wipe(secrets.ref(sealed_label(key)))
        self.credential = replace(self.credential, fingerprint="")
        self.unknown.append(f"Which key the secret beside {self.credential.id} belongs to is not known")

    def _leaking(self) -> list[RunLeak]:
        """The runs that leak this credential: seen in their log, or still under way by the same workflow file."""
        return [
            leak for leak in self.leaks
            if leak.ref.run_id == self.run_id or not leak.completed or self._holds(leak.found)
        ]  # fmt: skip

    def _holds(self, found: tuple[Found, ...]) -> bool:
        return any(hit.key == self.credential.key for hit in found)

    def _ask_iam(self) -> None:
        """Only an id is known: the key's own age bounds the window, a tag may name the repository."""
        self.since = (self.world.now() - TRAIL_KEEPS).isoformat()
        try:
            iam = self.world.aws.client("iam")
            user = iam_user(self.world, self.credential.id)
            with aws_errors(f"describe user {user}"):
                keys = iam.list_access_keys(UserName=user)["AccessKeyMetadata"]
                tags = {tag["Key"].lower(): tag["Value"] for tag in iam.list_user_tags(UserName=user)["Tags"]}
        except ProviderError as exc:
            self.unknown.append(f"What IAM knows of {self.credential.id} could not be asked: {exc}")
            return
        made = [key["CreateDate"].isoformat() for key in keys if key["AccessKeyId"] == self.credential.id]
        self.since = max([self.since, *made])
        self.unknown.append(f"Since when it is exposed is not known; taken to be {self.since}")
        named = next((tags[name] for name in ("repo", "repository", "github-repository") if tags.get(name)), "")
        self.repository = named if _REPOSITORY.fullmatch(named) else ""

    def _ask_npm(self) -> None:
        """Whose token it is; without a run, from which repository that account's packages come."""
        account = npm_account(self.world, self.credential)
        self.credential = replace(self.credential, account=account or self.credential.account)
        self.repository = self.repository or npm_home(self.world, account, self.unknown)

    def _ask_registry(self) -> None:
        """Which packages the token may publish; without a run, from which repository they come."""
        self.published = Published(self.world, self.credential, self.unknown)
        self.reach += self.published.reach()
        self.repository = self.repository or self.published.home()

    def _ask_reach(self) -> None:
        """Of the reported run, and of every leaking run that goes on or ran another commit."""
        done: set[str] = set()
        for leak in self._leaking():
            if leak.completed and leak.ref.commit in done:
                continue
            done.add(leak.ref.commit)
            try:
                reach, stores, tails, unknown = reach_of_run(
                    self.world, self.repository, leak.ref.run_id, self.credential
                )
            except ProviderError as exc:
                why = f"The reach of run {leak.ref.run_id} could not be found out: {exc}"
                self.unknown.append(why)
                # A row that nothing but a person's word closes: what nobody could see is not contained.
                name = f"whatever run {leak.ref.run_id} could read"
                self.reach.append(Reached(kind="secret", name=name, scope="unknown", how=why, known=False))
                continue
            self.reach += reach
            self.stores = self.stores or stores
            self.tails += tails
            self.unknown += unknown

    def _ask_token(self) -> None:
        """A user's token: whose it is, where it reaches. Where nothing dates the leak, the last 90 days count."""
        self.facts = token_facts(self.world, self.credential, self.unknown)
        self.reach += reach_of_token(self.world, self.facts, self.unknown)
        self.repository = self.repository or home(self.facts)
        if not self.since:
            self.since = (self.world.now() - TRAIL_KEEPS).isoformat()
            self.unknown.append(f"Since when it is exposed is not known; taken to be {self.since}")
        owner = self.repository.partition("/")[0]
        elsewhere = sorted({r["full_name"].partition("/")[0] for r in self.facts.repositories} - {owner})
        if elsewhere:
            self.unknown.append(f"What the token did in the repositories of {', '.join(elsewhere)} is not looked for")

    def _others(self) -> None:
        """Other credentials in the same logs: each is in reach, whatever the workflow's text says."""
        for hit in sorted(self.found, key=_telling, reverse=True):
            found, name = hit.credential, hit.id or f"{hit.provider} {hit.fingerprint}"
            if self.run and of_a_job(hit):
                found = self._tokens()
                name = f"token of a job of {found.id}"
            if found.key != self.credential.key and found.key not in {
                r.credential.key for r in self.reach if r.credential
            }:
                url = self.swept.url_of(hit) if self.swept else ""
                self.reach.append(Reached(
                    kind=found.kind, name=name, scope="job", how=f"it stands in {hit.where}, line {hit.line}",
                    credential=found, url=url,
                ))  # fmt: skip

    def _tokens(self) -> Credential:
        """The one name for all that Actions mints for jobs of this workflow: it dies with their runs."""
        key = tokens_of(self.repository, str(self.run.get("path") or "").split("@")[0])
        return Credential(provider="github", kind="github-token", id=key.partition(":")[2])

    # secret scanning's alerts ---------------------------------------------------------------------------------------

    def _ask_alerts(self) -> None:
        if not self.repository or self.credential.kind == "generic":
            return
        base, provider = f"/repos/{self.repository}/secret-scanning/alerts", self.credential.provider
        try:
            listed = self.world.github.pages(base, state="open", hide_secret="true")  # noqa: S106 - a switch
            alerts = [
                alert for alert in listed
                if _ALERTS_SAY.get(provider, provider) in str(alert.get("secret_type", ""))
            ]  # fmt: skip
        except ProviderError as exc:
            self.unknown.append(f"Open secret-scanning alerts could not be read: {exc}")
            return
        if len(alerts) > MOST_ALERTS:
            self.unknown.append(f"Only {MOST_ALERTS} of {len(alerts)} open alerts were looked into")
        for alert in alerts[:MOST_ALERTS]:
            number = int(alert["number"])
            try:
                where = self._alert_sighting(base, number)
            except ProviderError as exc:
                self.unknown.append(f"Alert {number} could not be looked into: {exc}")
                continue
            if where:
                self.alerts.append(AlertRef(repository=self.repository, number=number))
                self.found += where
                if any(hit.value for hit in where):
                    self.since = min(filter(None, (self.since, str(alert["created_at"]))))

    def _alert_sighting(self, base: str, number: int) -> list[Found]:
        """Where an alert shows this very credential. GitHub is not asked for the secret: the place is read instead."""
        unread = 0
        for location in self.world.github.pages(f"{base}/{number}/locations"):
            details = location.get("details") or {}
            if location.get("type") != "commit" or not details.get("blob_sha"):
                unread += 1
                continue
            blob = self.world.github.get(f"/repos/{self.repository}/git/blobs/{details['blob_sha']}")
            text = base64.b64decode(blob["content"]).decode(errors="replace")
            where = f"{self.repository} {details.get('path')} at {str(details.get('commit_sha'))[:12]}"
            hits = [replace(hit, where=where) for hit in self.recognizer.find(text) if hit.key == self.credential.key]
            for hit in hits:
                self._seal(hit)
            if hits:
                return hits
        if unread:
            self.unknown.append(f"Alert {number} may be about it: it stands where no file can be read")
        return []

    # ----------------------------------------------------------------------------------------------------------------

    def result(self) -> Triage:
        if self.swept is not None:
            return self._campaign(self.swept)
        leaking = self._leaking()
        named, unknown = owners(
            self.world, self.credential, self.repository, self.run_id, self.stores, self._claims()
        )  # fmt: skip
        refs = tuple(leak.ref for leak in leaking)
        # A run whose log was read and does not hold it leaked by another way: its log is no copy of the secret.
        copies = tuple(
            leak.ref for leak in leaking if not (leak.completed and leak.readable) or self._holds(leak.found)
        )
        for leak in leaking:
            if not leak.completed and leak.ref.run_id != self.run_id and not self._holds(leak.found):
                self.unknown.append(f"Run {leak.ref.run_id} is still going on; it is taken to leak the same")
        return Triage(
            credential=self.credential, live=self.live, exposure=self._exposure(), exposed_from=self.since,
            repository=self.repository, sightings=self._sightings(), owners=named,
            reach=self._rows(_unique(self.reach)),
            leaking_runs=copies, leaking_workflows=_workflows(refs), runs=refs, stores=self.stores,
            alerts=tuple(self.alerts),
            copies=self._copies(),
            tails=self._rows(_longest(self.tails)), unknown=tuple(dict.fromkeys([*self.unknown, *unknown])),
            machine=self.report.machine, machine_name=self.report.machine_name,
        )  # fmt: skip

    def _copies(self) -> tuple[StoredCopy, ...]:
        """Its copies outside GitHub, as declared. Which IAM user a key is of is asked where that decides it."""
        user = ""
        account = self.credential.account
        users = (one.user for one in self.world.declared if one.kind == AWS_KEY and one.account in ("", account))
        if self.credential.kind == AWS_KEY and any(users):
            try:
                user = iam_user(self.world, self.credential.id)
            except ProviderError as exc:
                self.unknown.append(f"Whether secret stores outside GitHub hold a copy could not be asked: {exc}")
        return copies_of(self.world.declared, self.credential, self.stores, user)

    def _campaign(self, swept: Swept) -> Triage:
        """A question has no owner and no life of its own; its runs, and what they could reach, are what matters."""
        runs = tuple(dict.fromkeys(use.run for use in swept.uses))
        return Triage(
            credential=self.credential, exposure=swept.exposure, exposed_from=self.since, reach=_unique(self.reach),
            leaking_runs=tuple(dict.fromkeys(swept.leaking)), leaking_workflows=_workflows(runs), runs=runs,
            tails=_longest(self.tails), unknown=tuple(dict.fromkeys(self.unknown)), machine=self.report.machine,
            machine_name=self.report.machine_name,
        )  # fmt: skip

    def _rows(self, found: tuple[_Row, ...]) -> tuple[_Row, ...]:
        """All of it; where another incident's reach led here, that one's ledger has the rest."""
        if not self.report.beside:
            return found
        own = self.credential.key
        return tuple(
            each for each in found
            if (each.of if isinstance(each, Tail) else each.credential and each.credential.key) == own
        )  # fmt: skip

    def _sightings(self) -> tuple[Sighting, ...]:
        same = [hit for hit in self.found if hit.key == self.credential.key]
        seen = [Sighting(where=hit.where, line=hit.line, encoding=hit.encoding) for hit in same]
        return tuple(dict.fromkeys(seen))

    def _claims(self) -> tuple[tuple[str, int, str], ...]:
        """Who owns it by what the token and the image say."""
        mine = ((self.facts.login, OWNER, "GitHub says that it is theirs"),) if self.facts.login else ()
        if self.credential.kind == NPM_TOKEN and self.credential.account:
            mine = ((self.credential.account, PUBLISHER, "npm knows the token as theirs"),)
        published = self.published.claims() if self.published else ()
        return (*mine, *published, *(self.image.claims if self.image else ()))

    def _exposure(self) -> Exposure:
        """A public repository's logs can be read by everybody who has an account; an image was pulled without one."""
        if self.image is not None:
            return Exposure.PUBLIC
        if not self.run:
            return self.report.exposure
        private = (self.run.get("repository") or {}).get("private")
        if private is None:
            return self.report.exposure
        return Exposure.INTERNAL if private else Exposure.PUBLIC


def _telling(hit: Found) -> tuple[int, bool, bool]:
    """What tells most first: a kind that we know, one that Kingfisher knows; a whole one; one that names itself."""
    known = 0 if hit.kind == "generic" else 1 if hit.kind.startswith(OTHER) else 2
    return known, hit.complete, bool(hit.id)


def _workflows(refs: tuple[RunRef, ...]) -> tuple[WorkflowRef, ...]:
    found = [WorkflowRef(repository=ref.repository, workflow=ref.workflow) for ref in refs if ref.workflow]
    return tuple(dict.fromkeys(found))


def _unique(reach: list[Reached]) -> tuple[Reached, ...]:
    """One entry a thing; one with a credential says more than one without."""
    found: dict[tuple[str, str, str], Reached] = {}
    for each in reach:
        name = each.kind, each.name, each.scope
        if name not in found or (each.credential and not found[name].credential):
            found[name] = each
    return tuple(found.values())


def _longest(tails: list[Tail]) -> tuple[Tail, ...]:
    found: dict[tuple[str, str], Tail] = {}
    for tail in sorted(tails, key=lambda tail: tail.until):
        found[tail.kind, tail.of] = tail
    return tuple(found.values())

"""The one place that wires everything; it decides nothing.

``Bulkhead`` over ``Settings`` gives store, vault, evidence, inbox, engine. A World is made for one incident from a
``Site`` (``bot/sites.py``), of the real providers or of the range, so that a drill cannot reach a real provider.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
import socket
import sys
from collections.abc import Callable, Coroutine, Iterator, Mapping
from datetime import UTC, datetime
from functools import cached_property, partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import playbooks as shipped
from bot import clock, heartbeat, moved, traces, watch
from bot.action import Action
from bot.actions import CATALOGUE
from bot.clients import AwsClients
from bot.doors import SignIn
from bot.doorway import catch_up_jobs, open_door, queue_jobs
from bot.drill import range_up
from bot.engine.announced import Notes
from bot.engine.decisions import Attest, Desk, unsigned
from bot.engine.freeze import Switch
from bot.engine.ownership import fence_sql
from bot.engine.policy import Policy
from bot.engine.rules import DRILL, Rulebook
from bot.engine.run import Engine, Parts, migrate
from bot.engine.steps import Ruling
from bot.errors import BulkheadError, EngineError, InputError
from bot.evidence import Bucket, EvidenceRoom, Folder, Shelf
from bot.export import Syslog
from bot.health import lights
from bot.health.lights import Health
from bot.intake.inbox import Inbox
from bot.intake.rounds import rounds
from bot.learn.bank import load_bank
from bot.learn.document import Document
from bot.lessons.measures import Measures
from bot.lessons.postmortem import Postmortems
from bot.lessons.quiz import Quiz
from bot.lessons.rounds import turn as learn_turn
from bot.logs import install
from bot.model import Before, Credential, Report, Triage
from bot.playbook import OURS, PERSON, Playbook, load_folder
from bot.redact import Scrubber
from bot.scenario import Drill, load_drills
from bot.settings import Settings, listed
from bot.signing import Attestor, Signers, by_name
from bot.sites import Site, range_site, real_site
from bot.stage import Stage
from bot.store import IncidentRow, Store
from bot.timeline import Timeline
from bot.training import Trainer
from bot.triage import triage
from bot.triage.identify import Recognizer
from bot.vault import CHECK, KEY_FILE, Vault, load_key
from bot.world import (
    REAL,
    Aws,
    RangeEndpoints,
    World,
)

if TYPE_CHECKING:
    from bot.paging import Pager
    from bot.slack.room import Room as SlackRoom

SHIPPED = Path(shipped.__file__).parent
PAGER_S = 2.0
SLACK_DOOR = "/slack/events"  # events, commands and clicks alike
SAME_KEY_S = 5.0
PAGES_AT = "pages-at"  # the setting that says where the pages are served
log = logging.getLogger("bulkhead")


def shelf_of(settings: Settings) -> Shelf:
    """Where evidence lies: a folder, or a bucket of S3 as the identity that boto3 finds."""
    if settings.evidence_bucket is None:
        return Folder(settings.evidence_folder)
    bucket, prefix = settings.evidence_bucket
    aws = AwsClients(region=settings.aws_region)
    return Bucket(aws=aws, bucket=bucket, prefix=prefix, kms_key=settings.evidence_kms_key)


def rules_cache() -> Path | None:
    """Where set-up has put Kingfisher's compiled rules; None leaves it to KF_RULE_CACHE_DIR and the system's cache."""
    kept = Path(sys.prefix) / "kingfisher"
    return kept if "KF_RULE_CACHE_DIR" not in os.environ and kept.is_dir() else None


class _IncidentScrub:
    """Scrubs by every value that the incident holds, those of an earlier process too."""

    def __init__(self, vault: Vault, incident: str) -> None:
        self._vault, self._incident = vault, incident

    def __call__(self, text: str) -> str:
        self._vault.held(self._incident)  # opening a value makes the scrubber know it
        return self._vault.scrubber.scrub(text)


class Bulkhead:
    """Everything of one process. Close it when done."""

    def __init__(
        self, settings: Settings, *, sites: Mapping[str, Site] | None = None, policy: Policy | None = None,
        release: bool = False, boundary: Callable[[str], None] = lambda _name: None,
    ) -> None:  # fmt: skip
        """``release`` brings the database to this version's form; on SQLite, with its one process, any start does."""
        settings.home.mkdir(parents=True, exist_ok=True)
        self.settings, self.boundary = settings, boundary
        self.store = Store(settings.url)
        try:
            self.vault = self._begin(release)
        except BulkheadError:
            self.store.close()
            raise
        install(self.vault.scrubber, logging.getLogger().handlers)
        self.room = EvidenceRoom(self.store, shelf_of(settings))
        self.timeline = Timeline(self.store, fence_sql(settings.url))
        self.policy = policy or load_policy(settings.policy)
        self.playbooks = load_playbooks(settings)
        own_rules = (settings.secret_rules,) if settings.secret_rules else ()
        self.recognizer = Recognizer(self.vault.fingerprinter, rules_cache(), own_rules)
        self.sites = dict(sites) if sites is not None else {REAL: real_site(settings)}
        self.worlds: dict[str, Callable[[str], World]] = {name: self._worlds(site) for name, site in self.sites.items()}
        self.rules = Rulebook(
            policy=self.policy, default_mode=settings.mode, people=settings.people, store=self.store,
            groups=settings.groups, aliases=settings.aliases,
        )  # fmt: skip
        self.stage: Stage | None = None
        self.attestor = Attestor(self.vault.decisions_key, self.store.database_id(), self.vault.still)
        self.attest = self._attest()
        self.on_alarm: list[Callable[[heartbeat.Alarm], object]] = [_log_alarm]  # called from a thread of their own
        self.inbox = Inbox(
            store=self.store, vault=self.vault, timeline=self.timeline, recognizer=self.recognizer,
            playbooks=self.playbooks, catalogue=CATALOGUE, worlds=self.worlds, boundary=boundary,
            authority=self.policy.authority, storm=self.policy.storm, fetch_values=settings.fetch_values,
            hands=self._hands,
        )  # fmt: skip

    def _begin(self, release: bool) -> Vault:
        """Bring the tables to this version's form, or check that they have it, and open the vault."""
        settings = self.settings
        if not self.store.sqlite and not self.store.schema:
            settings.split()
        if self.store.sqlite or release:
            migrate(self.store)
        else:
            self.store.check()
        given, check = settings.vault_key.get_secret_value(), self.store.setting(CHECK)
        return Vault(self.store, load_key(given, settings.home / KEY_FILE, check))

    @property
    def desk(self) -> Desk:
        """Where decisions are handed in."""
        return Desk(self.store, self.rules.may, self.attest, self.rules.human)

    @property
    def notes(self) -> Notes:
        """What was announced of changes of policy."""
        given = self.settings.signers
        signers = Signers(given, self.store.database_id()) if given else None
        return Notes(self.store, self.desk, self.attestor, signers)

    @property
    def switch(self) -> Switch:
        """The kill switch of the whole installation."""
        return Switch(self.store, self.desk, self.settings.freeze)

    @property
    def drills(self) -> dict[str, Drill]:
        """Every drill there is, by its id."""
        return drills_of(self.settings)

    @cached_property
    def quiz(self) -> Quiz:
        """The questions, and who was asked which of them."""
        return Quiz(self.store, load_bank(folders_of(self.settings, "quiz")), self.rules.human)

    @cached_property
    def postmortems(self) -> Postmortems:
        """What is written of incidents afterwards."""
        return Postmortems(self.store, self.timeline, self.desk, self._outgoing, self._typed)

    def _outgoing(self, text: str) -> str:
        """A text that leaves the house: scrubbed, and with Slack's people under the names that they have elsewhere."""
        for slack, name in self.settings.aliases.items():
            text = text.replace(slack, name)
        return self.vault.scrubber.scrub(text)

    def _typed(self, text: str) -> str:
        """What somebody has typed, without what the recogniser takes for a secret."""
        found = Scrubber(self.vault.fingerprinter)
        for one in self.recognizer.find(text):
            found.add(*map(self.vault.fingerprinter.secret, filter(None, (one.value, one.session_token))))
        return self.vault.scrubber.scrub(found.scrub(text))

    @cached_property
    def measures(self) -> Measures:
        """How long incidents took, and what is left of them."""
        return Measures(self.store, self.settings.team_of, self.settings.team_of_person)

    async def _learn(self) -> None:
        """Begin post-mortems, look at follow-ups: where the engine is, since that is where clients are."""
        await asyncio.to_thread(learn_turn, self.store, self.postmortems, self.worlds)

    def _attest(self) -> Attest:
        """Who may sign. Without a list nobody has to; a drill's people are simulated, so its settings name none.

        Slack's people are vouched for by Slack, and by nobody else.
        """
        signers = self.settings.signers
        others = unsigned if signers is None else Signers(signers, self.store.database_id())
        return by_name(self.attestor, others)

    def _worlds(self, site: Site) -> Callable[[str], World]:
        tail = site.long_tail(self.recognizer) if site.long_tail else None

        def world(incident: str) -> World:
            aws, trail, everywhere = site.aws, site.trail, dict[str, Aws]()
            if site.accounts is not None:
                key = self._credential_of(incident)
                aws, trail = site.accounts.for_credential(key), site.accounts.trail_of(key, trail)
                everywhere |= site.accounts.everywhere()
            return World(
                name=site.name, aws=aws, github=site.github, clock=site.clock, identities=site.identities,
                secrets=self.vault.of(incident, site.clock), evidence=self.room.of(incident, site.clock),
                scrub=_IncidentScrub(self.vault, incident), github_app=site.github_app, images=site.images,
                npm=site.npm, registries=site.registries, gcp=site.gcp, ghcr=site.ghcr,
                long_tail=tail, trail=trail, aws_everywhere=everywhere, external=site.external,
                declared=site.declared, trust_root=site.trust_root,
            )  # fmt: skip

        return world

    def _credential_of(self, incident: str) -> str:
        """The key of an incident's credential; '' for a delivery that is none yet."""
        try:
            return self.store.incident(incident).credential_key
        except InputError:
            return ""

    def _hands(self, world: str, credential: Credential) -> str:
        """Whose hands reach the account that a credential is of."""
        site = self.sites.get(world)
        return PERSON if site and site.accounts and site.accounts.elsewhere(credential) else OURS

    @contextlib.contextmanager
    def company(self, endpoints: RangeEndpoints) -> Iterator[Site]:
        """The range's World beside the others, for as long as the block runs; where there is one, that one."""
        if DRILL in self.sites:
            yield self.sites[DRILL]
            return
        site = range_site(endpoints)
        self.sites[site.name], self.worlds[site.name] = site, self._worlds(site)
        try:
            yield site
        finally:
            del self.sites[site.name], self.worlds[site.name]

    async def same_key(self) -> None:
        """Ends, with a VaultError, when the vault key was rotated: what this process signs counts nowhere any more."""
        while True:
            await asyncio.sleep(SAME_KEY_S)
            with contextlib.suppress(EngineError):  # a database that is away is for others to tell
                await asyncio.to_thread(self.vault.still)

    def _now(self, incident: str) -> datetime:
        """The time in an incident's World; the machine's where this process has no clients of it."""
        site = self.sites.get(self.store.incident(incident).world)
        return site.clock.now() if site else datetime.now(UTC)

    def engine(self) -> Engine:
        """The engine over all of this. Only a worker starts it."""
        parts = Parts(
            attest=self.attest, human=self.rules.human, store=self.store, timeline=self.timeline,
            folder=self.settings.home, catalogue=CATALOGUE, worlds=self.worlds, triage=self._triage,
            severity=self._severity, rules=self._ruling, mode=self.rules.mode, may=self.rules.may,
            settled=self._settled, beside=self.inbox.beside, boundary=self.boundary, freeze=self.settings.freeze,
        )  # fmt: skip
        return Engine(parts)

    def seal_answer(self, incident: str, step: str, value: str) -> str:
        """Seal a secret that answers a step; what stands in the decision is the reference that this returns."""
        at = self._now(incident)
        with self.store.begin() as c:
            # A label of its own: a word that is refused must not replace the value of one that counts.
            return self.vault.seal(c, incident, f"answer:{step}:{secrets.token_hex(4)}", value, "", at)

    def _triage(self, world: World, report: Report) -> Triage:
        return triage(world, self.recognizer, report)

    def _severity(self, found: Triage) -> dict[str, str]:
        severity = self.rules.severity(found)
        return {"level": severity.level, "rule": severity.rule, "reason": severity.reason}

    def _ruling(self, row: IncidentRow, found: Triage, action: Action[Any, Any, Any], before: Before) -> Ruling:
        return self.rules.ruling(row, found, action, before, self.sites[row.world].clock)

    def _settled(self, incident: str) -> None:
        self.vault.wipe(owner=incident, at=self._now(incident))

    async def work(self) -> None:
        """Run a worker until cancelled: the engine, the inbox, and what the engine does by the clock."""
        given = self.settings
        with traces.delivered(
            given.traces, given.traces_sent_with, version=version("bulkhead"), process=self.store.process
        ):
            await self._work(self.engine())

    async def _work(self, engine: Engine) -> None:
        await engine.start()
        try:
            with self._watch():
                how = partial(self._how_it_is, engine)
                jobs = [*clock.of_engine(engine), clock.beating(self.store, "worker", how)]
                jobs.append(clock.Job(self._learn, clock.LEARN_S))
                jobs.append(moved.watching(self.store, self.timeline, self.worlds))
                jobs += queue_jobs(self.settings, self.inbox)
                async with clock.missed_by_nobody(self.store, "worker"), clock.running(jobs):
                    up = self.stage.company if self.stage else range_up if DRILL not in self.sites else None
                    trainers = [Trainer(self, engine, up)] if up else []
                    working = clock.steadily(self.store, partial(rounds, self.inbox, engine))
                    await together(working, *(clock.steadily(self.store, one.run) for one in trainers))
        finally:
            await engine.stop()

    async def keep_time(self) -> None:
        """Run the clock of the whole installation until cancelled."""
        jobs = [*clock.of_house(self.store, self.vault, self.settings.max_age)]
        jobs.append(clock.beating(self.store, "clock", self._how_it_is))
        jobs += catch_up_jobs(self.settings, self.inbox)
        jobs.append(clock.drills(self.store, self.drills, listed(self.settings.holidays)))
        jobs += watch.jobs(self.inbox, self.settings.watch, 60 * self.settings.watch_minutes)
        if self.settings.syslog:
            jobs.append(clock.to_syslog(self.store, Syslog.of(self.settings.syslog), socket.gethostname()))
        if (pager := self.pager()) is not None:
            jobs.append(clock.Job(pager.turn_async, PAGER_S))
        with self._watch():
            async with clock.missed_by_nobody(self.store, "clock"), clock.running(jobs):
                await asyncio.Event().wait()

    def _how_it_is(self, engine: Engine | None = None) -> dict[str, Any]:
        """What this process tells of itself with each beat; a worker also what it has heard of providers."""
        said: dict[str, Any] = {
            "version": version("bulkhead"), "mode": self.settings.mode, "frozen": bool(self.settings.freeze),
            "policy": self.policy.sha256,
        }  # fmt: skip
        if engine is None:
            return said
        said["providers"] = self.vault.scrubber.scrub_any(engine.providers())
        if site := self.sites.get(REAL):
            theirs, left = site.aws.now(), site.github.left()
            said["ahead_s"] = {"aws": (datetime.now(UTC) - theirs).total_seconds()} if theirs else {}
            said["left"] = {"github": list(left)} if left else {}
        return said

    def health(self) -> Health:
        """How this installation is. Raises EngineError when the database does not answer."""
        note = self.notes.newest()
        return lights.of(
            self.store, self.settings, datetime.now(UTC), policy=self.policy.sha256, frozen=self.switch.standing(),
            note=note, unlike=self.notes.unlike(note, self.policy),
        )  # fmt: skip

    def pager(self) -> Pager | None:
        """What wakes people; None where the settings name nobody to wake. Raises SettingsError."""
        from bot.paging import pager_of  # nobody else pays for importing PagerDuty's client

        return pager_of(self.settings, self.store, self.timeline, lambda: self.store.setting(PAGES_AT))

    def _watch(self) -> contextlib.AbstractContextManager[None]:
        """Raise the alarm while the block runs when worker or clock falls silent."""
        watch = heartbeat.Watch(self.store, self._alarm, datetime.now(UTC))
        return heartbeat.watching(watch)

    def _alarm(self, alarm: heartbeat.Alarm) -> None:
        tellers, pager = list(self.on_alarm), self.pager()
        tellers += [pager.alarm] if pager else []
        if self.settings.slack_bot_token.get_secret_value():
            from bot.slack.follow import alarm_of

            tellers.append(alarm_of(self))
        for tell in tellers:
            tell(alarm)

    async def serve(self) -> None:
        """Run everything in this process until cancelled."""
        await together(self.work(), self.keep_time(), self.show_pages())

    async def show_pages(self) -> None:
        """Serve the pages and the webhook door until cancelled."""
        from bot import web  # only who serves pages pays for importing a web server
        from bot.web import hooks

        token, url = self.settings.metrics_token.get_secret_value(), self.settings.web_url
        slack = self.slack()
        more: dict[str, Any] = {SLACK_DOOR: slack.http} if slack else {}
        more |= self._page_doors()
        pages = web.application(
            self.store, metrics_token=token, url=url, evidence=self.room.read, more=more, sign_in=self._sign_in(slack),
            hooks=hooks.Hooks(open_door(self.settings, self.inbox)), drills=self.drills, measures=self.measures,
            written=self._written, switch=self.switch, status=self.health,
        )  # fmt: skip
        serving = web.run(pages, self.settings.web_host, self.settings.web_port, self._listening)
        beat = clock.beating(self.store, "pages", self._how_it_is)
        with self._watch():
            async with clock.missed_by_nobody(self.store, "pages"), clock.running([beat]):
                await together(serving, *([slack.run()] if slack else []))

    def _written(self, incident: str) -> Document:
        """The post-mortem of an incident, as its page shows it."""
        books = self.postmortems
        return books.document(books.view(incident))

    def _page_doors(self) -> dict[str, Any]:
        """Path -> where acknowledgements of pages arrive."""
        from bot.paging_door import doors_of

        return dict(doors_of(self.settings, self.store, self.timeline, self.vault.scrubber.scrub))

    def slack(self) -> SlackRoom | None:
        """The room in Slack, which whoever serves the pages keeps; None where no bot token is set."""
        if not self.settings.slack_bot_token.get_secret_value():
            return None
        from bot.slack.features import FEATURES  # nobody else pays for importing Slack's libraries
        from bot.slack.room import Room

        return Room(self, FEATURES)

    def _sign_in(self, slack: SlackRoom | None) -> SignIn | None:
        """Who lets people in to the pages besides one-time links; None where not all of it is set."""
        given = self.settings
        if slack is None or not (given.slack_client_id and given.web_group):
            return None
        from bot.slack.signin import SlackSignIn

        return SlackSignIn(
            client_id=given.slack_client_id, client_secret=given.slack_client_secret.get_secret_value(),
            api=given.slack_api, bot=slack.client, group=given.web_group, teams=slack.workspaces,
        )  # fmt: skip

    def _listening(self, address: str) -> None:
        address = self.settings.web_url or address
        self.store.set_setting(PAGES_AT, address)
        log.info("pages at %s", address, extra={"event": "listening"})

    def close(self) -> None:
        """Write what is queued and let go of the database."""
        self.timeline.close()
        self.store.close()


def _log_alarm(alarm: heartbeat.Alarm) -> None:
    said = {"event": "back" if alarm.back else "silent"}
    log.log(logging.INFO if alarm.back else logging.ERROR, "%s", alarm.text, extra=said)


async def together(*work: Coroutine[Any, Any, None]) -> None:
    """Run these until one fails or all are cancelled; the error is the one that was raised, not a group of it."""
    tasks = [asyncio.ensure_future(one) for one in work]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            if not task.cancelling():  # a second cancel would cut short what ends in good order
                task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@contextlib.contextmanager
def opened(settings: Settings, **kw: Any) -> Iterator[Bulkhead]:
    """A ``Bulkhead`` that is closed in the end."""
    bulkhead = Bulkhead(settings, **kw)
    try:
        yield bulkhead
    finally:
        bulkhead.close()


def load_policy(path: Path | None = None) -> Policy:
    """The policy that decides what may happen by itself."""
    return Policy.load(policy_text(path), str(path or SHIPPED / "policy.yaml"))


def policy_text(path: Path | None = None) -> str:
    """The policy as it is written: a team's own, or the shipped one."""
    return (path or SHIPPED / "policy.yaml").read_text(encoding="utf-8")


def load_playbooks(settings: Settings) -> dict[str, Playbook]:
    """The shipped playbooks, overlaid by the team's own."""
    drills = {path.stem for folder in folders_of(settings, "drills") for path in folder.glob("*.yaml")}
    return load_folder(folders_of(settings, "containment"), CATALOGUE, drills)


def drills_of(settings: Settings) -> dict[str, Drill]:
    """The shipped drills, overlaid by the team's own."""
    return load_drills(folders_of(settings, "drills"))


def folders_of(settings: Settings, kind: str) -> list[Path]:
    """Where playbooks (``containment``), drills or questions (``quiz``) stand: the shipped ones, then the team's own.

    The team's folder holds playbooks, and the others in folders of these names. Raises InputError when it is none.
    """
    own = settings.playbooks
    if own is None:
        return [SHIPPED / kind]
    if not own.is_dir():
        raise InputError(f"BULKHEAD_PLAYBOOKS names {own}, which is not a folder")
    return [SHIPPED / kind, *(path for path in (own if kind == "containment" else own / kind,) if path.is_dir())]

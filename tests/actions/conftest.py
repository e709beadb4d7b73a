"""The whole range in this process, its company as before the leak, and the World of one incident in it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from github import Auth

from bot.action import Action
from bot.actions import CATALOGUE
from bot.clients import AwsClients, GitHubClient
from bot.evidence import EvidenceRoom
from bot.images import ImageClient
from bot.model import Before, Outcome
from bot.npm import NpmClient
from bot.range.server import Range
from bot.registries import GhcrClient
from bot.sites import RANGE_REGIONS, range_gcp, range_registries
from bot.store import Store
from bot.vault import Vault
from bot.world import World

USER, ROLE, PLANTED_USER = "ferry-ci", "ferry-deploy", "svc-cache-sync"


def _app(cast: dict[str, Any]) -> Auth.AppAuth:
    return Auth.AppAuth(cast["app_id"], cast["private_key"])


class Drill:
    """The company, and what an incident's actions may touch. ``start_over``: as before the leak, another incident."""

    def __init__(self, range_: Range, folder: Path) -> None:
        self.range, self.folder = range_, folder
        self.store = Store(f"sqlite:///{folder / 'test.db'}")
        self.store.migrate()
        self._vault, self.room = Vault(self.store, bytes(range(32))), EvidenceRoom(self.store, folder / "evidence")
        self._incidents = 0

    def start_over(self) -> None:
        cast = self.range.reset()
        self._incidents += 1
        incident, clock = f"incident-{self._incidents}", self.range.clock
        own = cast["aws"]["bulkhead-responder"]
        self.facts: dict[str, Any] = {}  # what an arrangement keeps for its later moves
        self.leaked = self.range.company.deploy_key[0]
        self.world = World(
            name="range", clock=clock, scrub=self._vault.scrubber.scrub,
            aws=AwsClients(
                key_id=own["key_id"], secret=own["secret"], endpoint=self.range.aws_url, others=RANGE_REGIONS
            ),
            github=GitHubClient(token=cast["github"]["bulkhead-bot"], base_url=self.range.github_url),
            secrets=self._vault.of(incident, clock), evidence=self.room.of(incident, clock),
            identities=(f"aws-access-key:{own['key_id']}", "github-token:bulkhead-bot"),
            github_app=GitHubClient(auth=_app(cast["app"]), base_url=self.range.github_url),
            images=ImageClient(loopback=True),
            npm=NpmClient(
                token=cast["npm"]["bulkhead-bot"], base_url=self.range.npm.base_url,
                downloads_url=self.range.npm.base_url,
            ),
            registries=range_registries(
                {name: server.base_url for name, server in self.range.registries.items()}, cast["registries"]
            ),
            ghcr=GhcrClient(token=cast["github"]["bulkhead-bot"], base_url=self.range.registry_url),
            trust_root=self.range.sigstore.trusted_root,
            gcp=range_gcp(self.range.gcp.base_url, cast["gcp"]["bulkhead-bot"], clock),
        )  # fmt: skip

    def same_route(self, server: str, route: str) -> str:
        """The route in another run of the company, where runs have other numbers."""
        return route if server == "aws" else re.sub(r"\d{4,}", "*", route)

    def action(self, name: str) -> Action[Any, Any, Any]:
        return CATALOGUE[name]

    def do(self, name: str, inputs: Any) -> tuple[Any, Any]:
        """Look and run, as the engine does; returns Before and Outcome."""
        action = CATALOGUE[name]
        before = action.look(self.world, inputs)
        return before, action.run(self.world, inputs, before)

    def leak_and_abuse(self) -> dict[str, Any]:
        """The key leaks, the attacker acts; the bot holds the leaked secret as after intake."""
        leak = self.range.leak()
        acts = self.range.abuse(leak["run_url"])
        assert all(act["ok"] for act in acts), acts
        self.hold_leaked()
        self.facts |= leak
        return leak

    def hold_leaked(self) -> None:
        """Seal the leaked secret, as intake does when it saw the value."""
        key, secret = self.range.company.deploy_key
        self.world.secrets.seal("reported", secret, f"aws-access-key:{key}")

    @property
    def iam(self) -> Any:
        """IAM as the bot."""
        return self.world.aws.client("iam")

    def as_leaked(self, service: str) -> Any:
        """A client that signs with the deploy key."""
        key, secret = self.range.company.deploy_key
        return AwsClients(key_id=key, secret=secret, endpoint=self.range.aws_url).client(service)

    def key_status(self, user: str = USER) -> dict[str, str]:
        """Status by key id."""
        found = self.iam.list_access_keys(UserName=user)["AccessKeyMetadata"]
        return {key["AccessKeyId"]: key["Status"] for key in found}

    def mutations(self) -> list[dict[str, Any]]:
        """Requests so far that can change something."""
        # The range's GitHub logs a request just after its answer: once it answers again, the log is complete.
        self.world.github.get("/rate_limit")
        return [row for row in self.range.switchboard.requests() if row["mutating"]]

    def state(self) -> dict[str, Any]:
        """What matters of both providers, ids and times left out."""
        found = self.range.state()
        found.pop("volatile")
        return found

    def refused(self) -> dict[str, bool]:
        """The attacker tries again all that it holds."""
        return {each["name"]: each["refused"] for each in self.range.tries()}


@pytest.fixture(scope="session")
def only_drill(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Drill]:
    """One range and one store for all tests of this folder."""
    range_ = Range()
    range_.start()
    found = Drill(range_, tmp_path_factory.mktemp("drill"))
    yield found
    found.store.close()
    range_.stop()


@pytest.fixture
def drill(only_drill: Drill) -> Drill:
    """The company before the leak, and the World of a new incident in it."""
    only_drill.start_over()
    return only_drill


def proof(drill: Drill, name: str, inputs: Any, before: Before, outcome: Outcome) -> Any:
    """What the action's own proof says now."""
    return CATALOGUE[name].prove(drill.world, inputs, before, outcome)

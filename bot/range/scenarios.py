"""What happens to the company in each drill: how a secret leaks, what the attacker does, what it tries afterwards.

A scenario is made anew at every reset, so it may remember. Its name is that of the drill that plays it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from bot.range.account_theft import ForkedPull, WormOnLaptop
from bot.range.false_alarm import DocumentationKey
from bot.range.gcp.theft import KeyTheft
from bot.range.ghcr_theft import GhcrTheft
from bot.range.image_swap import ImageSwap
from bot.range.integrator import IntegratorBreach
from bot.range.key_in_log import Echo, KeyInLog
from bot.range.npm_theft import NpmTheft
from bot.range.oidc_replay import LeakAfterMove, TheftAfterMove
from bot.range.poisoned_action import SCANNER, TAMPERED
from bot.range.provenance import ProvenanceOnly
from bot.range.pushed_code import BlankEnvironment, PushedWorkflow
from bot.range.registries.cache_theft import PoisonedCache
from bot.range.registries.docker_theft import DockerTheft
from bot.range.registries.doors import HalfRotated, LeftOver, MintedToken, PhishedOwner
from bot.range.registries.theft import RegistryTheft
from bot.range.second_account import KeyOfSecondAccount
from bot.range.token_thief import TokenInImage

if TYPE_CHECKING:
    from bot.range.server import Range

FIRST = "aws-key-in-public-log"  # what is played when nobody names a scenario


class Scenario(Protocol):
    """One story. Its methods are called one at a time, in this order; ``tries`` at any time."""

    def leak(self) -> dict[str, Any]:
        """Let the secret become public.

        Returned is what a reporter could say of it (``run_url`` and the like), and ``story`` in sentences.
        """

    def abuse(self, where: str) -> list[dict[str, Any]]:
        """The attacker looks there ("": where it leaked), finds it and acts. Raises NothingFound, InputError."""

    def tries(self) -> list[dict[str, Any]]:
        """The attacker tries everything that it holds: ``{"name", "refused", "code", "identity_code"}`` each."""


SCENARIOS: dict[str, Callable[[Range], Scenario]] = {
    FIRST: KeyInLog,
    "aws-key-in-every-re-run": Echo,
    "aws-key-of-another-account": KeyOfSecondAccount,
    "aws-key-replaces-image": ImageSwap,
    "documentation-key-in-log": DocumentationKey,
    "npm-token-stolen-by-dependency": NpmTheft,
    "oidc-non-event": LeakAfterMove,
    "oidc-non-event-dependency": TheftAfterMove,
    "github-pat-in-image": TokenInImage,
    "github-pat-in-image-revoked": partial(TokenInImage, found=True),
    "github-pat-pushes-image": GhcrTheft,
    "gcp-key-in-public-log": KeyTheft,
    "pypi-token-in-public-log": partial(RegistryTheft, registry="pypi"),
    "crates-token-in-public-log": partial(RegistryTheft, registry="crates"),
    "crates-token-with-scopes": partial(RegistryTheft, registry="crates", scopes=("publish-update",)),
    "rubygems-key-in-public-log": partial(RegistryTheft, registry="rubygems"),
    "dockerhub-pat-in-public-log": DockerTheft,
    "dockerhub-oat-in-public-log": partial(DockerTheft, organizations=True),
    "pull-request-with-secrets": ForkedPull,
    "workflow-that-sends-secrets": PushedWorkflow,
    "publisher-of-any-branch": BlankEnvironment,
    "worm-on-a-laptop": WormOnLaptop,
    "action-tags-moved": TAMPERED,
    "scanner-sends-secrets": SCANNER,
    "pypi-token-minted-by-thief": MintedToken,
    "provenance-with-a-token": ProvenanceOnly,
    "owner-phished": PhishedOwner,
    "pypi-token-left-after-move": LeftOver,
    "crates-token-rotated-halfway": HalfRotated,
    "cache-poisoned-release": PoisonedCache,
    "oauth-app-breached": IntegratorBreach,
}

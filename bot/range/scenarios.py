"""What happens to the company in each drill: how a secret leaks, what the attacker does, what it tries afterwards.

A scenario is made anew at every reset, so it may remember. Its name is that of the drill that plays it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from bot.errors import InputError
from bot.range import company, history
from bot.range.attacker import Attacker
from bot.range.npm_theft import NpmTheft
from bot.range.oidc_replay import LeakAfterMove, TheftAfterMove
from bot.range.people import as_person
from bot.range.registries.theft import RegistryTheft
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


class KeyInLog:
    """A deploy key, printed base64-encoded in a public run log."""

    def __init__(self, range_: Range) -> None:
        self._range = range_
        self._attacker = Attacker(range_.aws_url, range_.github_url, range_.company.cast["github"]["quiet-otter"])
        self._run_url = ""

    def leak(self) -> dict[str, Any]:
        """Run the deploy workflow to its end (the key is in its log now), and once more: that run is left going."""
        history.deploys(self._range)
        first = self._dispatch()
        self._range.clock.advance(company.SMOKE_TEST_S + 60)
        run = as_person(self._range, "mara", "GET", f"/actions/runs/{first}")
        if run["status"] != "completed":
            raise InputError(f"the deploy run did not end: {run['status']}")
        second = self._dispatch()
        self._run_url = run["html_url"]
        said = (
            "A deploy run has ended. A debug step that somebody left in printed its environment as base64, so masking "
            "missed the AWS deploy key, and the log of the run is public:"
        )
        story = [said, run["html_url"], "A later run of the same workflow is still going."]
        return {"run_url": run["html_url"], "run_id": first, "second_run_id": second, "story": story}

    def _dispatch(self) -> int:
        """Start the deploy workflow as its maintainer does, and return the run's id."""
        runs = "/actions/runs?per_page=100"
        before = {run["id"] for run in as_person(self._range, "mara", "GET", runs)["workflow_runs"]}
        as_person(self._range, "mara", "POST", "/actions/workflows/deploy.yml/dispatches", {"ref": "main"})
        after = as_person(self._range, "mara", "GET", runs)["workflow_runs"]
        return int(next(run["id"] for run in after if run["id"] not in before))

    def abuse(self, where: str) -> list[dict[str, Any]]:
        url = where or self._run_url
        if not url:
            raise InputError("nothing has leaked yet; POST /drill/leak first, or give run_url")
        return self._attacker.abuse(url)

    def tries(self) -> list[dict[str, Any]]:
        return self._attacker.tries()


SCENARIOS: dict[str, Callable[[Range], Scenario]] = {
    FIRST: KeyInLog,
    "npm-token-stolen-by-dependency": NpmTheft,
    "oidc-non-event": LeakAfterMove,
    "oidc-non-event-dependency": TheftAfterMove,
    "github-pat-in-image": TokenInImage,
    "github-pat-in-image-revoked": partial(TokenInImage, found=True),
    "pypi-token-in-public-log": partial(RegistryTheft, registry="pypi"),
    "crates-token-in-public-log": partial(RegistryTheft, registry="crates"),
    "crates-token-with-scopes": partial(RegistryTheft, registry="crates", scopes=("publish-update",)),
    "rubygems-key-in-public-log": partial(RegistryTheft, registry="rubygems"),
}

"""What happens in the company, started from the page of its Slack: a secret leaks and is abused, and is tried again.

Somebody of the company says in #deploys what everybody could see; the rest is up to the people at the page.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from bot.errors import InputError
from bot.range.scenarios import SCENARIOS

if TYPE_CHECKING:
    from bot.range.server import Range

TITLES = {
    "aws-key-in-public-log": "A deploy run prints its AWS key",
    "npm-token-stolen-by-dependency": "A dependency steals the npm token",
    "oidc-non-event": "The same deploy run, once it has moved to OIDC",
    "oidc-non-event-dependency": "The same dependency, once the release has moved to OIDC",
    "github-pat-in-image": "An image holds a maintainer's GitHub token",
    "github-pat-in-image-revoked": "The same, and GitHub was faster",
    "github-pat-pushes-image": "A release prints the token that pushes its image",
    "gcp-key-in-public-log": "A deploy run prints its Google Cloud key",
    "pypi-token-in-public-log": "A release prints its PyPI token",
    "crates-token-in-public-log": "A release prints its crates.io token",
    "crates-token-with-scopes": "The same, and the token is limited to scopes",
    "rubygems-key-in-public-log": "A release prints its RubyGems key",
    "dockerhub-pat-in-public-log": "A release prints its Docker Hub token",
    "dockerhub-oat-in-public-log": "The same, with the token of the organization",
    "action-tags-moved": "A tampered action prints secrets in three repositories",
    "scanner-sends-secrets": "A poisoned scanner sends secrets away",
    "aws-key-in-every-re-run": "A deploy run prints its AWS key, and was run again",
    "aws-key-of-another-account": "A deploy run prints the key of another AWS account",
    "aws-key-replaces-image": "A deploy run prints its AWS key, and somebody replaces the image",
    "documentation-key-in-log": "A run prints the key of AWS's documents",
    "pull-request-with-secrets": "A stranger's pull request runs with a token",
    "workflow-that-sends-secrets": "A workflow that nobody wrote sends the deploy key away",
    "publisher-of-any-branch": "A branch publishes as the release does",
    "worm-on-a-laptop": "Malware on a laptop takes GitHub tokens",
    "pypi-token-minted-by-thief": "A thief makes a PyPI token of its own",
    "provenance-with-a-token": "A release with provenance, and a stored token",
    "owner-phished": "The owner of a package is phished",
    "pypi-token-left-after-move": "A PyPI token is left from before trusted publishing",
    "crates-token-rotated-halfway": "A crates.io token was rotated, and never revoked",
    "cache-poisoned-release": "A release restores what a stranger's pull request has left",
    "oauth-app-breached": "An App that people have let in is broken into",
}
FROM_MEMORY, STOLEN = "npm-token-stolen-by-dependency", "NPM_PUBLISH_TOKEN"
# What Mara does with her second factor on pages that no API reaches, and what she says of it.
ACTS = {
    "revoke-pypi-token": ("Mara deletes her PyPI token", "Mara has deleted it on PyPI's page."),
    "yank-on-pypi": ("Mara yanks the release on PyPI", "Mara has yanked it on PyPI's page."),
    "revoke-crates-token": ("Mara revokes her crates.io token", "Mara has revoked it on crates.io's page."),
    "revoke-rubygems-key": ("Mara deletes her RubyGems key", "Mara has deleted it on RubyGems.org's page."),
    "revoke-dockerhub-token": ("Mara deactivates the Docker Hub token", "Mara has deactivated it in Docker Home."),
    "mint-dockerhub-token": (
        "Mara makes a new Docker Hub token",
        "Mara has a new token. It goes into the answer's secret field: ",
    ),
    "run-hub-access": ("Mara runs Hub access", "Mara has started the workflow Hub access."),
    "pin-the-action": ("Mara pins the action", "Mara has pinned it to a commit everywhere."),
    "revoke-npm-token": ("Mara revokes her npm token", "Mara has revoked it on npm's page."),
    "mint-npm-token": ("Mara makes a new npm token", "Mara has a new token. It goes into the answer's secret field: "),
    "clean-github-account": ("Mara cleans her account", "The tokens that I did not make are gone, and the files."),
    "clean-pypi-account": ("Mara cleans her PyPI account", "The tokens are gone, and so is the owner I did not add."),
    "take-down-on-npm": ("Mara has npm take it down", "npm has taken it down, and latest is the good version."),
    "isolate-laptop": ("Mara takes her laptop off the network", "The laptop is off the network, and still on."),
    "release-without-cache": ("Mara takes the cache out of the release", "The release builds from git now."),
    "end-the-grants": ("Mara and Jonas take the App out", "The App is out of both accounts, and its tokens are dead."),
    "sync-the-cluster": ("Mara has the cluster read Vault again", "The ExternalSecret has read Vault: the new key."),
    "run-registry-access": ("Mara runs Registry access", "Mara has started the workflow Registry access."),
}
# In which scenario she does it; npm's are the others.
_PLAYED_IN = {
    "revoke-pypi-token": "pypi-token-in-public-log", "yank-on-pypi": "pypi-token-in-public-log",
    "revoke-crates-token": "crates-token-with-scopes", "revoke-rubygems-key": "rubygems-key-in-public-log",
    "pin-the-action": "action-tags-moved", "sync-the-cluster": "aws-key-of-another-account",
    **dict.fromkeys(
        ("revoke-dockerhub-token", "mint-dockerhub-token", "run-hub-access"), "dockerhub-pat-in-public-log"
    ),
    "isolate-laptop": "worm-on-a-laptop", "clean-github-account": "workflow-that-sends-secrets",
    "take-down-on-npm": "publisher-of-any-branch", "clean-pypi-account": "owner-phished",
    "release-without-cache": "cache-poisoned-release", "end-the-grants": "oauth-app-breached",
}  # fmt: skip
SPEAKER, PLACE = "mara", "deploys"


class Stage:
    """The scenarios as the page shows them. Each leaks once; after that, its attacker can be asked to try again."""

    def __init__(self, range_: Range) -> None:
        self._range, self._lock = range_, threading.Lock()
        self._leaked: dict[str, list[dict[str, Any]]] = {}
        self._of: object = None  # the company that these have leaked in; a reset makes another one

    def _now(self) -> dict[str, list[dict[str, Any]]]:
        if self._of is not self._range.company:
            self._of, self._leaked = self._range.company, {}
        return self._leaked

    def shown(self) -> list[dict[str, Any]]:
        """``{name, title, leaked, tries, acts}`` for each; ``tries`` is what the attacker got the last time."""
        leaked = self._now()
        return [
            {"name": name, "title": title, "leaked": name in leaked, "tries": leaked.get(name, []),
             "acts": [(act, t) for act, (t, _) in ACTS.items() if name in leaked and _played_in(act) == name]}
            for name, title in TITLES.items()
        ]  # fmt: skip

    def act(self, name: str) -> str:
        """Mara does something on a page of a registry's or GitHub's; returns what she says of it. Raises InputError."""
        if name not in ACTS or _played_in(name) not in self._now():
            raise InputError("there is nothing to do for Mara yet")
        done = self._range.person(name, _played_in(name))
        if "waits" in done:
            raise InputError(f"Mara waits: {done['waits']}")
        return ACTS[name][1] + str(done.get("secret", ""))

    def leak(self, name: str) -> None:
        """Let the secret leak and be abused, and let somebody wonder about it in Slack. Raises InputError."""
        if name not in TITLES:
            raise InputError(f"there is no scenario {name[:60]!r}; there are {', '.join(TITLES)}")
        with self._lock:
            if name in self._now():
                raise InputError(f"{TITLES[name]}: that has happened already")
            said = self._range.leak(name)
            self._range.abuse("", name)
            self._now()[name] = []
        lines = [str(line) for line in said["story"]]
        stolen = self._range.collector.values().get(STOLEN, "") if name == FROM_MEMORY else ""
        # No log shows what is stolen out of a process, so somebody has to come across it elsewhere.
        text = "\n".join([*lines, *([f"On a drop site that somebody found stands: {stolen}"] if stolen else [])])
        slack = self._range.slack
        speaker = next(p for p in slack.state.people.values() if p.name == SPEAKER)
        slack.hand.message(speaker, {"channel": PLACE, "text": text})

    def tries(self, name: str) -> None:
        """The attacker tries all that it holds. Raises InputError."""
        with self._lock:
            if name not in self._now():
                raise InputError("nothing of it has leaked yet")
            self._now()[name] = self._range.tries(name)
        self._range.slack.state.changed()


def _played_in(act: str) -> str:
    return _PLAYED_IN.get(act, FROM_MEMORY)


assert TITLES.keys() == SCENARIOS.keys(), "every scenario has a title"

"""The theft of a publish token by a poisoned dependency: what the attacker gets, waits for, publishes, and tries.

Its host is a listener of the range. What lies there can be read by everybody, as on many a real drop site: so it was
found.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import requests
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from bot.errors import InputError
from bot.range import history
from bot.range.attacker import Attacker, Loot
from bot.range.company import FERRY
from bot.range.npm_company import BAD, GOOD, NEW_TOKEN_NAME, PACKAGE, SECRET, TOKEN_NAME
from bot.range.npm_package import release
from bot.range.people import as_person

if TYPE_CHECKING:
    from bot.range.server import Range

PATIENCE_S, UNNOTICED_S = 24 * 3600, 6 * 3600  # the attacker waits a day; nobody looks for some hours
COLLECTOR = "collector.example"  # its name in scripts
LATER = "1.4.4"  # what is published when the token is left alive
WAITS = "1.5.0"  # what is staged, for somebody to approve
BACKDOOR = b"// a backdoor of the drill: it does nothing\nmodule.exports = {}\n"


class Collector:
    """The attacker's host."""

    def __init__(self) -> None:
        self.url = ""
        self.loot: list[dict[str, Any]] = []
        self.asgi = Starlette(routes=[Route("/collect", self._collect, methods=["POST"])])

    def reset(self) -> None:
        self.loot = []

    async def _collect(self, request: Request) -> JSONResponse:
        self.loot.append(json.loads(await request.body()))
        return JSONResponse({})

    def take(self, whence: str, **values: str) -> None:
        """What gets there by a way that the range does not play, a page or a laptop."""
        self.loot.append({"from": whence, "env": values})

    def values(self) -> dict[str, str]:
        """What the last victim's environment held, by name."""
        return dict(self.loot[-1]["env"]) if self.loot else {}


class NpmTheft:
    """A release installs the poisoned dependency; a day later a version appears that nobody released."""

    def __init__(self, range_: Range) -> None:
        self._range = range_
        self._attacker = Attacker(range_.aws_url, range_.github_url, range_.company.cast["github"]["quiet-otter"])
        self._token = ""

    def leak(self) -> dict[str, Any]:
        """Mara tags a version and releases it; ``npm ci`` runs the install script of the sub-dependency."""
        history.deploys(self._range)
        tip = as_person(self._range, "mara", "GET", "/git/ref/heads/main")["object"]["sha"]
        tag = {"ref": f"refs/tags/v{GOOD}", "sha": tip}
        as_person(self._range, "mara", "POST", "/git/refs", tag)
        run = dispatch(self._range, "release.yml", f"v{GOOD}")
        if run["conclusion"] != "success" or not self._range.collector.loot:
            raise InputError(f"the release did not go as planned: {run['status']}, {run['conclusion']}")
        said = (
            f"A release of {PACKAGE}@{GOOD} has run. Its dependency harbor-tides needs wave-format, and that has a new "
            "install script since yesterday: it read the environment of the job and posted what looked like a secret "
            "to a host of the attacker's. The log shows nothing of it:"
        )
        story = [said, run["html_url"]]
        return {"run_url": run["html_url"], "run_id": run["id"], "package": PACKAGE, "version": BAD, "story": story}

    def abuse(self, where: str) -> list[dict[str, Any]]:
        """Wait a day, publish a patch version with a backdoor, keep a session of the AWS key; downloads climb."""
        taken = self._range.collector.values()
        if where or SECRET not in taken:
            raise InputError("nothing was stolen yet; POST /drill/leak first, and give no run_url")
        self._range.clock.advance(PATIENCE_S)
        self._token = taken[SECRET]
        acts = [{"act": "npm:PostEnvironment", "ok": True, "code": "", "made": ", ".join(sorted(taken))}]
        manifest = {"name": PACKAGE, "version": BAD, "license": "MIT"}
        code = self._npm("PUT", f"/{quote(PACKAGE, safe='@')}", release(manifest, {"index.js": BACKDOOR}))
        acts.append({"act": "npm:Publish", "ok": not code, "code": code, "made": f"{PACKAGE}@{BAD}"})
        waits = {"name": PACKAGE, "version": WAITS, "license": "MIT"}
        code = self._npm("POST", f"/-/stage/package/{quote(PACKAGE, safe='@')}", release(waits, {"index.js": BACKDOOR}))
        acts.append({"act": "npm:Stage", "ok": not code, "code": code, "made": f"{PACKAGE}@{WAITS}"})
        acts.append(self._attacker.saves(Loot(taken["AWS_ACCESS_KEY_ID"], taken["AWS_SECRET_ACCESS_KEY"])))
        self._range.clock.advance(UNNOTICED_S)
        registry = self._range.npm
        count = registry.downloads(registry.packages[PACKAGE])[BAD]
        acts.append({"act": "npm:Downloads", "ok": True, "code": "", "made": f"{count:,} times"})
        return acts

    @property
    def happens(self) -> dict[str, Callable[[], dict[str, Any]]]:
        """What comes of a choice, by its name."""
        return {"use-the-key": self._use_the_key, "publish-again": self._publish_again}

    def _use_the_key(self) -> dict[str, Any]:
        """What stood beside the token is used while people look at the token alone."""
        self._range.clock.advance(3600)
        user = self._attacker.comes_back()
        said = "An hour later the deploy key, which stood beside the token in the same job, makes an AWS user"
        return {"story": [f"{said}, {user}, with every right."]}

    def _publish_again(self) -> dict[str, Any]:
        """The token still works, so there is another bad version; it is the newest now."""
        self._range.clock.advance(2 * 3600)
        manifest = {"name": PACKAGE, "version": LATER, "license": "MIT"}
        code = self._npm("PUT", f"/{quote(PACKAGE, safe='@')}", release(manifest, {"index.js": BACKDOOR}))
        if code:
            raise InputError(f"npm refuses the stolen token already: {code}")
        said = f"Two hours later there is {PACKAGE}@{LATER}. Nobody released that one either"
        return {"story": [f"{said}, and whoever installs without a lock file gets it."]}

    def _npm(self, method: str, path: str, body: Any = None) -> str:
        """What the registry says to the stolen token: a code, or '' when it lets it pass."""
        headers = {"Authorization": f"Bearer {self._token}"}
        with requests.Session() as session:
            session.trust_env = False
            answer = session.request(method, self._range.npm.base_url + path, json=body, headers=headers, timeout=20)
        return "" if answer.status_code == HTTPStatus.OK else f"E{answer.status_code}"

    def tries(self) -> list[dict[str, Any]]:
        """The stolen token, publishing, what a default install delivers, and the AWS key with what it minted.

        Publishing is tried with the version that is there already: a token that works is told so by 403.
        """
        if not self._token:
            return []
        who = self._npm("GET", "/-/whoami")
        again = self._npm("PUT", f"/{quote(PACKAGE, safe='@')}", release({"name": PACKAGE, "version": BAD}))
        delivered = self._range.npm.packages[PACKAGE].tags.get("latest", "")
        tried = [("npm-token", who == "E401", who), ("npm-publish", again == "E401", again),
                 ("default-install", delivered not in (BAD, LATER), delivered)]  # fmt: skip
        rows = [{"name": name, "refused": refused, "code": code, "identity_code": who} for name, refused, code in tried]
        return [*rows, *self._attacker.tries()]


def dispatch(range_: Range, workflow: str, ref: str = "main", repository: str = FERRY) -> Any:
    """Start a workflow as its maintainer does, and return the run."""
    runs = "/actions/runs?per_page=100"
    before = {run["id"] for run in as_person(range_, "mara", "GET", runs, repository=repository)["workflow_runs"]}
    order = {"ref": ref}
    as_person(range_, "mara", "POST", f"/actions/workflows/{workflow}/dispatches", order, repository)
    after = as_person(range_, "mara", "GET", runs, repository=repository)["workflow_runs"]
    return next(run for run in after if run["id"] not in before)


# What a person of the company does on a web page, with a second factor.


def _revoke(range_: Range) -> dict[str, Any]:
    return {"revoked": range_.npm.revoke(TOKEN_NAME)}


def _reject(range_: Range) -> dict[str, Any]:
    return {"rejected": range_.npm.stage.reject(PACKAGE)}


def _mint(range_: Range) -> dict[str, Any]:
    return {"secret": range_.npm.add_token("mara", NEW_TOKEN_NAME)}


def _try_new(range_: Range) -> dict[str, Any]:
    return {"run_url": dispatch(range_, "registry-access.yml")["html_url"]}


PERSON_ACTS: dict[str, Callable[[Range], dict[str, Any]]] = {
    "reject-staged-versions": _reject, "revoke-npm-token": _revoke, "mint-npm-token": _mint,
    "run-registry-access": _try_new,
}  # fmt: skip

"""A Docker Hub token in a public run log, and whoever finds it there and pushes an image over ``latest``.

A release workflow has a step left in that prints its environment in base64. The thief pushes an image under a number
that nobody released and moves ``latest`` to it, since what is deployed pulls ``latest``; and buys a bearer of the
registry from time to time, which outlives the token by minutes.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from bot.errors import InputError
from bot.range.attacker import token_in_log
from bot.range.images import digest_of
from bot.range.npm_theft import dispatch
from bot.range.people import as_person
from bot.range.registries import BOT, HUB_ORG, HUB_OWNER, docker
from bot.range.registries.dockerhub import DockerHub
from bot.range.registries.packages import send
from bot.range.registries.theft import BACKDOOR, BAD, GOOD, LATER, OLD, UNNOTICED_S, tried_to

if TYPE_CHECKING:
    from bot.range.server import Range

REPOSITORY, IMAGE = "harbor-lights/lighthouse", f"{HUB_ORG}/lighthouse"
RELEASE, ACCESS = ".github/workflows/release.yml", ".github/workflows/hub-access.yml"
NAME, SECRET, TOKEN_NAME, NEW_NAME = "DOCKERHUB_USERNAME", "DOCKERHUB_TOKEN", "release", "release-2"
TOKEN = re.compile(r"dckr_[po]at_[\w-]{27,}")
WAITED_S = 660  # what was bought with a token is over then


def workflow(account: str) -> str:
    """The release, with the step that somebody left in."""
    return f"""\
name: Release
on:
  workflow_dispatch:

permissions:
  contents: read

jobs:
  push:
    runs-on: ubuntu-latest
    env:
      {NAME}: {account}
      {SECRET}: ${{{{ secrets.{SECRET} }}}}
    steps:
      - uses: actions/checkout@v5
      - name: Sign in
        run: echo "${SECRET}" | docker login -u "${NAME}" --password-stdin
      - name: Why is the push denied
        run: env | base64
      - name: Push
        run: |
          docker build -t {IMAGE}:{GOOD} .
          docker tag {IMAGE}:{GOOD} {IMAGE}:latest
          docker push {IMAGE}:{GOOD}
          docker push {IMAGE}:latest
"""


def access(account: str) -> str:
    """A workflow that signs in, and prints nothing."""
    return f"""\
name: Hub access
on:
  workflow_dispatch:

permissions:
  contents: read

jobs:
  sign-in:
    runs-on: ubuntu-latest
    steps:
      - name: Sign in
        env:
          {SECRET}: ${{{{ secrets.{SECRET} }}}}
        run: echo "${SECRET}" | docker login -u {account} --password-stdin
"""


def hub_of(range_: Range) -> DockerHub:
    found = range_.registries["dockerhub"]
    assert isinstance(found, DockerHub)
    return found


def minted(range_: Range, name: str, *, organizations: bool) -> str:
    """A token for releases: mara's own, or the organization's for this one repository."""
    hub = hub_of(range_)
    if organizations:
        return hub.add_token(HUB_ORG, name, scopes=("scope-image-push",), packages=(IMAGE,))
    return hub.add_token(HUB_OWNER, name, scopes=("repo:write",))


def open_shop(range_: Range, *, organizations: bool = False) -> str:
    """The repository, its images so far, the token in the repository's secrets. Returns the token."""
    state, hub = range_.github.state, hub_of(range_)
    account = HUB_ORG if organizations else HUB_OWNER
    state.add_repo(REPOSITORY)
    for login, role in (("mara", "admin"), ("jonas", "write"), (BOT, "admin")):
        state.add_collaborator(REPOSITORY, login, role)
    files: dict[str, str | bytes | None] = {
        "Dockerfile": "FROM scratch\nCOPY . /app\n", "CODEOWNERS": "* @jonas\n/.github/workflows/ @mara\n",
        RELEASE: workflow(account), ACCESS: access(account),
    }  # fmt: skip
    state.commit_files(REPOSITORY, files, "Push by a workflow", "mara", runs=False)
    value = minted(range_, TOKEN_NAME, organizations=organizations)
    state.set_secret(REPOSITORY, SECRET, value)
    document, blobs = docker.image(IMAGE, {"app.txt": OLD.encode()})
    hub.publish(HUB_OWNER, IMAGE, (OLD, "latest"), document, blobs, at=range_.clock.now() - timedelta(days=200))
    git = state.repos[REPOSITORY].git
    git.refs[f"refs/tags/v{OLD}"] = git.refs["refs/heads/main"]
    return value


def backdoored(version: str) -> tuple[bytes, list[bytes]]:
    """The thief's image of a number."""
    return docker.image(IMAGE, BACKDOOR | {"app.txt": version.encode()})


class DockerTheft:
    """A release prints its token; somebody reads the log, pushes a tag of its own and moves ``latest``."""

    def __init__(self, range_: Range, *, organizations: bool = False) -> None:
        self._range, self._organizations = range_, organizations
        self._account = HUB_ORG if organizations else HUB_OWNER
        self._run_url = self._token = self._bearer = ""

    @property
    def _url(self) -> str:
        return self._range.registries["dockerhub"].base_url

    def leak(self) -> dict[str, Any]:
        """Mara tags a version and releases it; the log holds the token."""
        open_shop(self._range, organizations=self._organizations)
        tip = as_person(self._range, "mara", "GET", "/git/ref/heads/main", repository=REPOSITORY)["object"]["sha"]
        as_person(self._range, "mara", "POST", "/git/refs", {"ref": f"refs/tags/v{GOOD}", "sha": tip}, REPOSITORY)
        run = dispatch(self._range, "release.yml", f"v{GOOD}", REPOSITORY)
        if run["conclusion"] != "success":
            raise InputError(f"the release did not go as planned: {run['status']}, {run['conclusion']}")
        self._run_url = run["html_url"]
        said = (
            f"{IMAGE}:{GOOD} was released. A debug step that somebody left in printed the environment of the job as "
            f"base64, so masking missed {SECRET}, and the log of the run is public:"
        )
        return {
            "run_url": self._run_url, "run_id": run["id"], "package": IMAGE, "version": BAD,
            "story": [said, self._run_url],
        }  # fmt: skip

    def abuse(self, where: str) -> list[dict[str, Any]]:
        """Read the log, push an image with a backdoor under a new number and over ``latest``, wait."""
        url = where or self._run_url
        if not url:
            raise InputError("nothing has leaked yet; POST /drill/leak first, or give run_url")
        reader = self._range.company.cast["github"]["quiet-otter"]
        self._token = token_in_log(TOKEN, self._range.github_url, reader, url)[0]
        self._range.clock.advance(3600)
        code = self._push((BAD, "latest"), BAD)
        self._range.clock.advance(UNNOTICED_S)
        read = "read the public log of the run and decoded the token"
        said = f"pushed {IMAGE}:{BAD}, which nobody released, and moved latest to it"
        return [
            {"act": "github:ReadRunLog", "ok": True, "code": "", "made": "", "said": read},
            {"act": "dockerhub:Publish", "ok": not code, "code": code, "made": f"{IMAGE} {BAD}", "said": said},
        ]

    def _push(self, tags: tuple[str, ...], version: str) -> str:
        """Push as the thief: a code, or '' when the registry takes it."""
        status, bearer = docker.bearer(self._url, self._account, self._token, f"repository:{IMAGE}:pull,push")
        if status != HTTPStatus.OK:
            return str(status)
        self._bearer = bearer
        status = docker.push(self._url, bearer, IMAGE, tags, backdoored(version))
        return "" if status == HTTPStatus.CREATED else str(status)

    @property
    def happens(self) -> dict[str, Callable[[], dict[str, Any]]]:
        """What comes of a choice, by its name."""
        return {"push-again": self._push_again}

    def _push_again(self) -> dict[str, Any]:
        """``latest`` alone was looked at; there was time for another push."""
        self._range.clock.advance(UNNOTICED_S)
        if code := self._push((LATER, "latest"), LATER):
            raise InputError(f"Docker Hub refuses the thief already: {code}")
        said = f"Some hours later {IMAGE}:{LATER} is there, and latest leads to it. Nobody released that one either."
        return {"story": [said]}

    def tries(self) -> list[dict[str, Any]]:
        """The token, the last bearer that it bought, and what somebody gets who pulls."""
        if not self._token:
            return []
        scope = f"repository:{IMAGE}:pull,push"
        status, bought = docker.bearer(self._url, self._account, self._token, scope)
        self._bearer = bought or self._bearer
        # A push that changes nothing: an upload is begun, and never ended.
        kept = {"Authorization": f"Bearer {self._bearer}"}
        pushes = send("POST", f"{self._url}/v2/{IMAGE}/blobs/uploads/", headers=kept).status_code
        latest, bad = (docker.pulled(self._url, IMAGE, tag) for tag in ("latest", BAD))
        evil = {digest_of(backdoored(version)[0]) for version in (BAD, LATER)}
        refused, stopped = (code == HTTPStatus.UNAUTHORIZED for code in (status, pushes))
        return [
            tried_to("registry-token", "signing in with the stolen token", refused, str(status)),
            tried_to("saved-bearer", "pushing with the last bearer that it bought", stopped, str(pushes)),
            tried_to("default-pull", "its image, as what a pull of latest gets", latest not in evil, latest[:19]),
            tried_to("bad-tag", "its image under its own number", bad not in evil, bad[:19] or "404"),
        ]


# What mara does in Docker Home, signed in with her password and her second factor.


def _call(range_: Range, verb: str, path: str, body: Any = None) -> Any:
    hub = hub_of(range_)
    signed = {"identifier": HUB_OWNER, "secret": hub.password(HUB_OWNER)}
    jwt = send("POST", f"{hub.base_url}/hub/v2/auth/token", json=signed).json()["access_token"]
    answer = send(verb, f"{hub.base_url}/hub{path}", json=body, headers={"Authorization": f"Bearer {jwt}"})
    if answer.status_code >= HTTPStatus.BAD_REQUEST:
        raise InputError(f"Docker Hub refuses {verb} {path}: {answer.status_code}")
    return answer.json()


def _revoke(range_: Range) -> dict[str, Any]:
    """Deactivate it wherever it is: among her own, or the organization's."""
    count = 0
    for base, number, label in (
        ("/v2/access-tokens", "uuid", "token_label"), (f"/v2/orgs/{HUB_ORG}/access-tokens", "id", "label")
    ):  # fmt: skip
        for row in _call(range_, "GET", f"{base}?page_size=100")["results"]:
            if row[label] == TOKEN_NAME and row["is_active"]:
                _call(range_, "PATCH", f"{base}/{row[number]}", {"is_active": False})
                count += 1
    return {"revoked": count}


def _mint(range_: Range) -> dict[str, Any]:
    old = next(t for t in hub_of(range_).tokens.values() if t.name == TOKEN_NAME)
    return {"secret": minted(range_, NEW_NAME, organizations=old.user == HUB_ORG)}


def _run_access(range_: Range) -> dict[str, Any]:
    return {"run_url": dispatch(range_, "hub-access.yml", "main", REPOSITORY)["html_url"]}


def _wait(range_: Range) -> dict[str, Any]:
    range_.clock.advance(WAITED_S)
    return {}


PERSON_ACTS: dict[str, Callable[[Range], dict[str, Any]]] = {
    "revoke-dockerhub-token": _revoke, "mint-dockerhub-token": _mint, "run-hub-access": _run_access,
    "wait-eleven-minutes": _wait,
}  # fmt: skip

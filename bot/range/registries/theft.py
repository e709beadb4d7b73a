"""A publish token in a public run log, at each of the registries, and whoever finds it there.

A release workflow has a step left in that prints the environment in base64, which masking misses. Some hours later a
version is out that nobody released. That is how the token came to be found: the story of the second wave at Ultralytics
(December 2024) is that of a token which had been left in place beside trusted publishing.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from bot.errors import InputError
from bot.range.attacker import token_in_log
from bot.range.npm_theft import dispatch
from bot.range.people import as_person
from bot.range.registries import BOT
from bot.range.registries.crates import Crates
from bot.range.registries.packages import CLIENTS, crate, gem, wheel
from bot.range.registries.pypi import Pypi
from bot.range.registries.rubygems import RubyGems

if TYPE_CHECKING:
    from bot.range.server import Range

RELEASE = ".github/workflows/release.yml"
TOKEN_NAME = "release"
UNNOTICED_S = 6 * 3600
OLD, GOOD, BAD = "2.3.0", "2.4.0", "2.4.1"
LATER, LAST = "2.4.2", "2.4.3"  # what is published when a token is left alive, and when there is one again
BACKDOOR = {"backdoor.txt": b"a backdoor of the drill: it does nothing\n"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Shop:
    """What is released where: a repository, its package, the secret that its workflow publishes with."""

    registry: str
    repository: str
    package: str
    secret: str
    manifest: str
    text: str  # of the manifest
    build: str
    publish: str
    token: re.Pattern[str]
    scopes: tuple[str, ...] = ()
    limited: bool = False  # the token is for this package only

    @property
    def workflow(self) -> str:
        """The release workflow, with the step that somebody left in."""
        return self.printing("Release", self.publish)

    def printing(self, name: str, publish: str) -> str:
        """A workflow that prints its environment on the way."""
        return f"""\
name: {name}
on:
  workflow_dispatch:

permissions:
  contents: read

jobs:
  publish:
    runs-on: ubuntu-latest
    env:
      {self.secret}: ${{{{ secrets.{self.secret} }}}}
    steps:
      - uses: actions/checkout@v5
      - name: Build
        run: {self.build}
      - name: Why is the token not found
        run: env | base64
      - name: Publish
        run: {publish}
"""


SHOPS = {
    "pypi": Shop(
        registry="pypi", repository="harbor-lights/tides", package="harbor-tides", secret="TWINE_PASSWORD",
        manifest="pyproject.toml", text=f'[project]\nname = "harbor-tides"\nversion = "{GOOD}"\n',
        build="python -m build", publish="twine upload dist/*", token=re.compile(r"pypi-[\w-]{60,}"), limited=True,
    ),
    "crates": Shop(
        registry="crates", repository="harbor-lights/beacon", package="harbor-beacon", secret="CARGO_REGISTRY_TOKEN",
        manifest="Cargo.toml", text=f'[package]\nname = "harbor-beacon"\nversion = "{GOOD}"\n',
        build="cargo build --release", publish="cargo publish", token=re.compile(r"cio[A-Za-z0-9]{32}"),
    ),
    "rubygems": Shop(
        registry="rubygems", repository="harbor-lights/foghorn", package="harbor-foghorn", secret="GEM_HOST_API_KEY",
        manifest="harbor-foghorn.gemspec", text=f'Gem::Specification.new do |s|\n  s.version = "{GOOD}"\nend\n',
        build="make build", publish="gem push harbor-foghorn.gem", token=re.compile(r"rubygems_[0-9a-f]{48}"),
        scopes=("index_rubygems", "push_rubygem"),
    ),
}  # fmt: skip


def open_shop(range_: Range, shop: Shop) -> str:
    """The repository, the package with an old version, the token in the repository's secrets. Returns the token."""
    state, server = range_.github.state, range_.registries[shop.registry]
    state.add_repo(shop.repository)
    for login, role in (("mara", "admin"), ("jonas", "write"), (BOT, "admin")):
        state.add_collaborator(shop.repository, login, role)
    for login in ("mara", "jonas"):
        server.add_user(login)
    files: dict[str, str | bytes | None] = {
        shop.manifest: shop.text,
        "CODEOWNERS": "* @jonas\n/.github/workflows/ @mara\n",
        RELEASE: shop.workflow,
    }
    state.commit_files(shop.repository, files, "Publish by a workflow", "mara", runs=False)
    value = server.add_token("mara", TOKEN_NAME, scopes=shop.scopes, packages=(shop.package,) if shop.limited else ())
    state.set_secret(shop.repository, shop.secret, value)
    publish(range_, shop, OLD, at_days=200)
    git = state.repos[shop.repository].git
    git.refs[f"refs/tags/v{OLD}"] = git.refs["refs/heads/main"]
    return value


def publish(range_: Range, shop: Shop, version: str, *, at_days: float = 0) -> None:
    """A version of mara's, now or so many days ago; the bot may yank where there are tokens for that."""
    server, at = range_.registries[shop.registry], range_.clock.now() - timedelta(days=at_days)
    home, files = f"https://github.com/{shop.repository}", {"README.md": b"a release\n"}
    if isinstance(server, Pypi):
        server.publish("mara", shop.package, version, *wheel(shop.package, version, files), at=at, home=home)
    elif isinstance(server, Crates):
        data = crate(shop.package, version, files)
        server.publish("mara", shop.package, version, data, at=at, repository=home)
        owners = server.crate(shop.package).owners
        owners += [BOT] if BOT not in owners else []
    elif isinstance(server, RubyGems):
        server.publish("mara", shop.package, version, gem(shop.package, version, files), at=at, source=home)
        owners = server.gem(shop.package).owners
        owners += [BOT] if BOT not in owners else []


class RegistryTheft:
    """A release prints its token; somebody reads the log and publishes a version."""

    def __init__(self, range_: Range, *, registry: str, scopes: tuple[str, ...] = ()) -> None:
        shop = SHOPS[registry]
        self._range, self._shop = range_, replace(shop, scopes=scopes or shop.scopes)
        self._run_url = self._token = ""

    @property
    def _url(self) -> str:
        return self._range.registries[self._shop.registry].base_url

    def leak(self) -> dict[str, Any]:
        """Mara tags a version and releases it; the log holds the token."""
        shop = self._shop
        open_shop(self._range, shop)
        tip = as_person(self._range, "mara", "GET", "/git/ref/heads/main", repository=shop.repository)["object"]["sha"]
        tag = {"ref": f"refs/tags/v{GOOD}", "sha": tip}
        as_person(self._range, "mara", "POST", "/git/refs", tag, shop.repository)
        run = dispatch(self._range, "release.yml", f"v{GOOD}", shop.repository)
        if run["conclusion"] != "success":
            raise InputError(f"the release did not go as planned: {run['status']}, {run['conclusion']}")
        self._run_url = run["html_url"]
        said = (
            f"{shop.package} {GOOD} was released. A debug step that somebody left in printed the environment of the "
            f"job as base64, so masking missed {shop.secret}, and the log of the run is public:"
        )
        return {
            "run_url": self._run_url, "run_id": run["id"], "package": shop.package, "version": BAD,
            "story": [said, self._run_url],
        }  # fmt: skip

    def abuse(self, where: str) -> list[dict[str, Any]]:
        """Read the log, publish a version with a backdoor, wait until somebody wonders."""
        url = where or self._run_url
        if not url:
            raise InputError("nothing has leaked yet; POST /drill/leak first, or give run_url")
        shop, reader = self._shop, self._range.company.cast["github"]["quiet-otter"]
        self._token = token_in_log(shop.token, self._range.github_url, reader, url)[0]
        read = "read the public log of the run and decoded the token"
        acts: list[dict[str, Any]] = [{"act": "github:ReadRunLog", "ok": True, "code": "", "made": "", "said": read}]
        acts += self._prepare()
        self._range.clock.advance(3600)
        code = self._push(self._token, BAD)
        made = f"{shop.package} {BAD}"
        said = f"published {made}, which nobody released"
        acts.append({"act": f"{shop.registry}:Publish", "ok": not code, "code": code, "made": made, "said": said})
        self._range.clock.advance(UNNOTICED_S)
        return acts

    def _prepare(self) -> list[dict[str, Any]]:
        """What the thief does before it publishes."""
        return []

    def _push(self, token: str, version: str) -> str:
        """Publish a version as the thief: a code, or '' when the registry takes it."""
        answer = CLIENTS[self._shop.registry](self._url, token, self._shop.package, version, BACKDOOR)
        return "" if answer.status_code == HTTPStatus.OK else str(answer.status_code)

    @property
    def happens(self) -> dict[str, Callable[[], dict[str, Any]]]:
        """What comes of a choice, by its name."""
        return {"publish-again": self._publish_again}

    def _publish_again(self, token: str = "", version: str = LATER) -> dict[str, Any]:
        """There was time for another version."""
        self._range.clock.advance(UNNOTICED_S)
        if code := self._push(token or self._token, version):
            raise InputError(f"{self._shop.registry} refuses the thief already: {code}")
        made = f"{self._shop.package} {version}"
        return {"story": [f"Some hours later {made} is out. Nobody released that one either, and installs get it."]}

    def tries(self) -> list[dict[str, Any]]:
        """The stolen token, and what somebody gets who asks for the newest version."""
        if not self._token:
            return []
        shop, server = self._shop, self._range.registries[self._shop.registry]
        # A version that is there: a token that works is told so, and nothing comes of it.
        delivered = server.delivered(shop.package)
        good = delivered not in (BAD, LATER, LAST)
        return [
            self._try("registry-token", "publishing with the stolen token", self._token),
            tried_to("default-install", "its version, as what an install gets", good, delivered),
        ]

    def _try(self, name: str, said: str, token: str) -> dict[str, Any]:
        """Publish what is there already."""
        answer = CLIENTS[self._shop.registry](self._url, token, self._shop.package, GOOD, BACKDOOR)
        dead = answer.status_code in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN) and "already" not in answer.text
        return tried_to(name, said, dead, str(answer.status_code))


def tried_to(name: str, said: str, refused: bool, code: str) -> dict[str, Any]:
    return {"name": name, "refused": refused, "code": code, "identity_code": code, "said": said}


# What mara does on a registry's pages, with her second factor.


def _revoke(range_: Range, *, registry: str) -> dict[str, Any]:
    return {"revoked": range_.registries[registry].revoke(TOKEN_NAME)}


def _yank(range_: Range) -> dict[str, Any]:
    server, shop = range_.registries["pypi"], SHOPS["pypi"]
    assert isinstance(server, Pypi)
    bad = [version for version in (BAD, LATER) if version in server.project(shop.package).releases]
    for version in bad:
        server.yank(shop.package, version, "nobody released it")
    return {"yanked": ", ".join(f"{shop.package} {version}" for version in bad)}


def _revoke_every(range_: Range) -> dict[str, Any]:
    """Mara looks through her account and deletes every token in it."""
    server = range_.registries["pypi"]
    return {
        "revoked": sum(server.revoke(name) for name in {t.name for t in server.tokens.values() if t.user == "mara"})
    }


PERSON_ACTS: dict[str, Callable[[Range], dict[str, Any]]] = {
    "revoke-pypi-token": partial(_revoke, registry="pypi"),
    "revoke-crates-token": partial(_revoke, registry="crates"),
    "revoke-rubygems-key": partial(_revoke, registry="rubygems"),
    "yank-on-pypi": _yank, "revoke-every-pypi-token": _revoke_every,
}  # fmt: skip

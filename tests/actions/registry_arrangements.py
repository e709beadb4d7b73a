"""Arrangements for PyPI, crates.io and RubyGems.org: a token that leaked, and a version that nobody released."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

from bot.actions import advisory, crates, pypi
from bot.actions.github_package_find import FindHostedIn
from bot.actions.packages import FindIn, TokenIn
from bot.model import Credential, HostedVersion, PackageVersion
from bot.range.company import FERRY, ORG
from bot.range.github.packages import Package, Version
from bot.range.registries.crates import Crates
from bot.range.registries.pypi import Pypi
from bot.range.registries.rubygems import RubyGems
from bot.range.registries.theft import BAD, SHOPS, TOKEN_NAME, open_shop, publish
from tests.actions.arrangements import Arrangement
from tests.actions.conftest import Drill

KINDS = {"pypi": "pypi-token", "crates": "crates-token", "rubygems": "rubygems-key"}
REASON = "Nobody released it"
VERSION = PackageVersion(package="harbor-tides", version=BAD)


def leaked(drill: Drill, name: str) -> Credential:
    """The shop is open, and its token is held as after intake."""
    found = Credential(provider=name, kind=KINDS[name], id="leaked")
    drill.world.secrets.seal(f"leaked:{found.key}", open_shop(drill.range, SHOPS[name]), found.key)
    return found


def find_in(drill: Drill, name: str, **more: Any) -> FindIn:
    return FindIn(repository=SHOPS[name].repository, credential=leaked(drill, name), **more)


def bad_version(drill: Drill, name: str) -> PackageVersion:
    """A version that nobody released is out."""
    leaked(drill, name)
    publish(drill.range, SHOPS[name], BAD)
    return PackageVersion(package=SHOPS[name].package, version=BAD)


def server(drill: Drill, name: str) -> Any:
    """The registry's server."""
    return drill.range.registries[name]


def revoke(name: str) -> Callable[[Drill, Any, Any], None]:
    return lambda drill, _inputs, _out: server(drill, name).revoke(TOKEN_NAME) or None


def _live_again(drill: Drill, _inputs: Any, _out: Any) -> None:
    """crates.io brings no token back, so the range is made to: the proof must not believe the run."""
    for token in server(drill, "crates").tokens.values():
        token.revoked = False


def _checked(name: str) -> Callable[[Drill], Any]:
    return lambda drill: TokenIn(credential=leaked(drill, name))


def _found(name: str) -> Callable[[Drill], Any]:
    def seed(drill: Drill) -> Any:
        given = find_in(drill, name)
        publish(drill.range, SHOPS[name], BAD)
        return given

    return seed


def _one_more(name: str) -> Callable[[Drill, Any, Any], None]:
    return lambda drill, _inputs, _out: publish(drill.range, SHOPS[name], "2.4.2")


def _crate(drill: Drill) -> Any:
    return crates.YankIn(package=bad_version(drill, "crates").package, version=BAD, message=REASON)


def _mark(yanked: bool, message: str) -> Callable[[Drill, Any, Any], None]:
    def mark(drill: Drill, _inputs: Any, _out: Any) -> None:
        held = server(drill, "crates")
        assert isinstance(held, Crates)
        version = held.crate(SHOPS["crates"].package).versions[BAD]
        version.yanked, version.message = yanked, message

    return mark


class Yanks:
    """Mara yanks the release when she is asked, and says so."""

    def __init__(self, held: Pypi) -> None:
        self._held = held

    def answer(self) -> tuple[str, str]:
        self._held.yank(SHOPS["pypi"].package, BAD, REASON)
        return "mara (simulated)", "yanked"


def _unyanked(drill: Drill, _inputs: Any, _out: Any) -> None:
    server(drill, "pypi").unyank(SHOPS["pypi"].package, BAD)


def _release(drill: Drill) -> Any:
    """Mara is asked."""
    found, held = bad_version(drill, "pypi"), server(drill, "pypi")
    assert isinstance(held, Pypi)
    drill.world = drill.world.with_answers(Yanks(held))
    return pypi.YankIn(package=found.package, version=BAD, reason=REASON, who="mara")


def _gem_again(drill: Drill, _inputs: Any, _out: Any) -> None:
    """RubyGems.org gives no version back, so the range is made to."""
    held = server(drill, "rubygems")
    assert isinstance(held, RubyGems)
    held.gem(SHOPS["rubygems"].package).versions[BAD].yanked = False


def _drafted(drill: Drill) -> Any:
    """A version that nobody released is to be written of."""
    return advisory.DraftIn(repository=FERRY, registry="pypi", versions=(VERSION, replace(VERSION, version="2.4.2")))


def _advisory(drill: Drill) -> dict[str, Any]:
    (row,) = drill.range.github.state.repos[FERRY].advisories.values()
    return row


def packaged(drill: Drill, count: int = 2) -> HostedVersion:
    """An image of the organization with this many versions; the newest is to go."""
    package, at = Package(id=1, name="ferry"), drill.range.clock.now()
    for number in range(101, 101 + count):
        tags = ["latest", "1.4.3"] if number == 100 + count else ["1.4.2"]
        package.versions[number] = Version(id=number, name=f"sha256:{number:064}", tags=tags, created_at=at)
    drill.range.github.state.packages[ORG, "container", "ferry"] = package
    return HostedVersion(organization=ORG, package="ferry", version=100 + count)


def _pushed(drill: Drill) -> Any:
    """Somebody pushes an image as the newest, and no run was under way."""
    since = drill.range.clock.now()
    drill.range.clock.advance(60)
    packaged(drill)
    return FindHostedIn(repository=FERRY, since=since.isoformat())


def _pushed_more(drill: Drill, _inputs: Any, _out: Any) -> None:
    at = drill.range.clock.now()
    more = Version(id=777, name=f"sha256:{777:064}", tags=[], created_at=at)
    drill.range.github.state.packages[ORG, "container", "ferry"].versions[777] = more


def _image(drill: Drill, given: Any) -> Version:
    return drill.range.github.state.packages[ORG, "container", "ferry"].versions[given.version]


REGISTRIES: tuple[Arrangement, ...] = (
    *(
        Arrangement(action=f"{name}.{what}", seed=_checked(name), take_away=revoke(name))
        for name, what in (("pypi", "check_token"), ("rubygems", "check_key"))
    ),
    *(
        Arrangement(action=f"{name}.find_unexplained_versions", seed=_found(name), take_away=_one_more(name))
        for name in KINDS
    ),
    Arrangement(
        action="crates.revoke_token", seed=lambda d: crates.RevokeIn(credential=leaked(d, "crates")),
        take_away=_live_again,
    ),
    Arrangement(action="pypi.yank", seed=_release, take_away=_unyanked),
    Arrangement(action="crates.yank", seed=_crate, take_away=_mark(False, ""), meddle=_mark(True, "other")),
    Arrangement(
        action="github.draft_advisory", seed=_drafted,
        take_away=lambda d, i, o: _advisory(d)["vulnerabilities"].pop() and None,
        meddle=lambda d, i, o: _advisory(d).update(state="published"),
    ),
    Arrangement(action="github.find_unexplained_packages", seed=_pushed, take_away=_pushed_more),
    Arrangement(
        action="github.delete_package_version", seed=packaged,
        take_away=lambda d, i, o: setattr(_image(d, i), "deleted_at", None),
        meddle=lambda d, i, o: setattr(_image(d, i), "deleted_at", d.range.clock.now() - timedelta(days=31)),
    ),
    Arrangement(action="rubygems.yank", seed=lambda d: bad_version(d, "rubygems"), take_away=_gem_again),
)  # fmt: skip

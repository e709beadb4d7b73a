"""The range's RubyGems.org: its API, and of the compact index the file of one gem, which tells what is to be had.

What it holds to (guides.rubygems.org/rubygems-org-api; rubygems/rubygems.org, deletions and api_keys):

- an API key may do what its scopes say; an account can ask for a second factor at the API too;
- a version is taken once, and its number is gone with it;
- yanking takes the file away, and is refused for a version older than thirty days or with more than 100,000 downloads.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import re
import secrets
import tarfile
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, ClassVar

from bot.range.registries.server import RegistryServer, Token, iso, order
from bot.range.served import Asked, Handler, Problem, Said

YOUNG, WIDESPREAD = timedelta(days=30), 100_000
_FULL = r"(?P<gem>[\w.-]+?)-(?P<version>\d[\w.]*)"


@dataclass(slots=True, kw_only=True)
class Version:
    number: str
    data: bytes = field(repr=False)
    at: datetime
    yanked: bool = False
    popular: int = 0  # downloads besides those that climb by themselves

    @property
    def sha(self) -> str:
        return hashlib.sha256(self.data).hexdigest()


@dataclass(slots=True, kw_only=True)
class Gem:
    name: str
    owners: list[str]
    source: str = ""
    versions: dict[str, Version] = field(default_factory=dict)

    @property
    def left(self) -> list[Version]:
        """What is not yanked, newest first."""
        rows = [version for version in self.versions.values() if not version.yanked]
        return sorted(rows, key=lambda version: order(version.number), reverse=True)


class RubyGems(RegistryServer):
    name = "rubygems"

    def empty(self) -> None:
        self.gems: dict[str, Gem] = {}

    def make_value(self, user: str, packages: tuple[str, ...]) -> str:
        return "rubygems_" + secrets.token_hex(24)

    def gem(self, name: str) -> Gem:
        found = self.gems.get(name)
        if found is None:
            raise Problem(404, "This rubygem could not be found.")
        return found

    def caller(self, asked: Asked, scope: str) -> Token:
        """Whose key it is. Raises 401 for a dead one and without a second factor that is asked for, 403 by scope."""
        token = self.live(asked.headers.get("authorization", ""))
        if token is None:
            raise Problem(401, "Access Denied. Please sign up for an account at https://rubygems.org")
        if token.scopes and scope not in token.scopes:
            raise Problem(403, "The API key doesn't have access")
        if token.otp and not asked.headers.get("otp"):
            said = "You have enabled multifactor authentication but no OTP code provided. Please fill it and retry."
            raise Problem(401, said)
        return token

    # writing

    def push(self, asked: Asked) -> Any:
        token = self.caller(asked, "push_rubygem")
        try:
            name, number = _read(asked.raw)
        except (tarfile.TarError, KeyError, OSError, ValueError):
            raise Problem(422, "RubyGems.org cannot process this gem.") from None
        self.publish(token.user, name, number, asked.raw)
        return f"Successfully registered gem: {name} ({number})"

    def publish(
        self, user: str, name: str, number: str, data: bytes, *, at: datetime | None = None, source: str = ""
    ) -> None:
        """Take a version, now or ``at`` a time. Raises Problem by the registry's rules."""
        with self.lock:
            gem = self.gems.setdefault(name, Gem(name=name, owners=[user], source=source))
            if user not in gem.owners:
                raise Problem(403, f"You do not have permission to push to this gem: {name}")
            if number in gem.versions:
                raise Problem(409, "Repushing of gem versions is not allowed.")
            gem.versions[number] = Version(number=number, data=data, at=at or self.clock.now())

    def yank(self, asked: Asked) -> Any:
        token, form = self.caller(asked, "yank_rubygem"), asked.form
        gem = self.gem(form.get("gem_name", ""))
        if token.user not in gem.owners:
            raise Problem(403, "You do not have permission to delete this gem.")
        version = gem.versions.get(form.get("version", ""))
        if version is None:
            raise Problem(404, f"The version {form.get('version')} does not exist.")
        if version.yanked:
            raise Problem(422, f"The version {version.number} has already been yanked.")
        if why := self.forbidden(gem, version):
            raise Problem(403, f"{why} Please contact support@rubygems.org to request deletion.")
        version.yanked = True
        return f"Successfully deleted gem: {gem.name} ({version.number})"

    def forbidden(self, gem: Gem, version: Version) -> str:
        """The rule that stands against a deletion, or ''."""
        if self.clock.now() - version.at > YOUNG:
            return "Versions that were published more than 30 days ago cannot be deleted."
        if self.downloads(gem, version) > WIDESPREAD:
            return "Versions with more than 100,000 downloads cannot be deleted."
        return ""

    # reading

    def downloads(self, gem: Gem, version: Version) -> int:
        later = [each.at for each in gem.versions.values() if order(each.number) > order(version.number)]
        return version.popular + self.climbed(version.at, min(later, default=None))

    def mine(self, asked: Asked) -> Any:
        token = self.caller(asked, "index_rubygems")
        return [self._gem(gem) for gem in self.gems.values() if token.user in gem.owners]

    def _gem(self, gem: Gem) -> dict[str, Any]:
        left = gem.left
        return {
            "name": gem.name, "version": left[0].number if left else None, "source_code_uri": gem.source or None,
            "homepage_uri": None, "downloads": sum(self.downloads(gem, each) for each in gem.versions.values()),
        }  # fmt: skip

    def one(self, asked: Asked) -> Any:
        gem = self.gem(asked.words["gem"])
        if not gem.left:
            raise Problem(404, "This rubygem could not be found.")
        return self._gem(gem)

    def versions(self, asked: Asked) -> Any:
        gem = self.gem(asked.words["gem"])
        if not gem.left:
            raise Problem(404, "This rubygem could not be found.")
        return [
            {"number": each.number, "created_at": iso(each.at), "sha": each.sha, "platform": "ruby",
             "downloads_count": self.downloads(gem, each), "prerelease": False, "metadata": {}}
            for each in gem.left
        ]  # fmt: skip

    def owners(self, asked: Asked) -> Any:
        return [{"id": k, "handle": name} for k, name in enumerate(self.gem(asked.words["gem"]).owners, 1)]

    def info(self, asked: Asked) -> Any:
        """The compact index: one line a version. A yanked one has none."""
        rows = reversed(self.gem(asked.words["gem"]).left)
        return Said("---\n" + "".join(f"{each.number} |checksum:{each.sha}\n" for each in rows))

    def file(self, asked: Asked) -> Any:
        version = self.gem(asked.words["gem"]).versions.get(asked.words["version"])
        if version is None or version.yanked:
            raise Problem(403, "Forbidden")  # as its storage answers what is not there
        return version.data

    # for the range itself

    def delivered(self, package: str) -> str:
        left = self.gem(package).left
        return left[0].number if left else ""

    def packages_state(self) -> dict[str, Any]:
        return {
            name: {v.number: "yanked" if v.yanked else "" for v in gem.versions.values()}
            for name, gem in self.gems.items()
        }

    routes: ClassVar[tuple[tuple[str, str, Handler], ...]] = (
        ("POST", "/api/v1/gems", push),
        ("DELETE", "/api/v1/gems/yank", yank),
        ("GET", "/api/v1/gems.json", mine),
        ("GET", r"/api/v1/gems/(?P<gem>[^/]+)/owners\.json", owners),
        ("GET", r"/api/v1/gems/(?P<gem>[^/]+)\.json", one),
        ("GET", r"/api/v1/versions/(?P<gem>[^/]+)\.json", versions),
        ("GET", rf"/gems/{_FULL}\.gem", file),
        ("GET", "/info/(?P<gem>[^/]+)", info),
    )


def _read(data: bytes) -> tuple[str, str]:
    """Name and version of a .gem: a tar with the packed specification in it, which is YAML of Ruby's objects."""
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        packed = archive.extractfile("metadata.gz")
        if packed is None:
            raise ValueError("no metadata")
        text = gzip.decompress(packed.read()).decode()
    name = re.search(r"^name: (\S+)$", text, re.MULTILINE)
    number = re.search(r"^version: !ruby/object:Gem::Version\n  version: (\S+)$", text, re.MULTILINE)
    if name is None or number is None:
        raise ValueError("no name or version")
    return name[1], number[1].strip("'\"")

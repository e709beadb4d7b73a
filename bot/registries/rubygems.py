"""RubyGems.org: its JSON API, and the compact index that Bundler and gem read.

guides.rubygems.org/rubygems-org-api and /rubygems-org-compact-index-api; rubygems/rubygems.org for the rest. An API key
is sent as it is, without a word before it. No interface deletes a key.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

from bot.errors import NotFound, Rejected
from bot.model import Liveness, PackageFile, Release, Secret
from bot.registries.http import Http, github_home, utc
from bot.world import Reply

RUBYGEMS = "https://rubygems.org"
RUBY = "ruby"  # the platform of what is no native gem


def platform_of(release: Release, file: PackageFile) -> str:
    """The platform of one of a release's files."""
    return file.name.removeprefix(f"{release.package}-{release.version}").removesuffix(".gem").lstrip("-") or RUBY


class RubyGemsClient:
    """RubyGems.org as the bot's own key, or as one that is being tried."""

    label = "RubyGems.org"

    def __init__(self, *, token: str = "", base_url: str = RUBYGEMS) -> None:
        self._http = Http(
            label=self.label, provider="rubygems", base_url=base_url, token=token, setting="BULKHEAD_RUBYGEMS_KEY"
        )

    def _gems(self, secret: Secret) -> Any:
        url = f"{self._http.base}/api/v1/gems.json"
        return self._http.ask("GET", url, headers={"Authorization": secret.reveal()})

    def tried(self, secret: Secret, account: str = "") -> tuple[Liveness, str]:
        """``GET /api/v1/gems.json``: 401 is a dead key, but for a second factor; 403 a live one that may not list."""
        answer = self._gems(secret)
        if answer.status_code == 401 and "otp code" in answer.text.lower():
            return Liveness.LIVE, "RubyGems.org knows the key: it asks for its account's second factor"
        if answer.status_code in (200, 403):
            return Liveness.LIVE, f"RubyGems.org knows the key: {answer.status_code} to the list of its gems"
        if answer.status_code == 401:
            return Liveness.DEAD, "RubyGems.org refuses it: 401 to the list of its gems"
        self._http.reply(answer, "GET /api/v1/gems.json")
        return Liveness.UNKNOWN, f"RubyGems.org answered {answer.status_code} to the list of its gems"

    def packages_of(self, secret: Secret, account: str = "") -> tuple[str, ...]:
        """The gems of the key's account, where the key may list them (scope ``index_rubygems``)."""
        answer = self._gems(secret)
        if answer.status_code in (401, 403):
            return ()
        return tuple(str(row["name"]) for row in self._http.reply(answer, "GET /api/v1/gems.json").data)

    def names_a_package(self, path: str) -> bool:
        return path.endswith(".gemspec")

    def named_in(self, path: str, text: str) -> str:
        """The file's own name: what a gemspec says is a program."""
        return path.removesuffix(".gemspec")

    def releases(self, package: str) -> tuple[Release, ...]:
        """A version has a file for each platform."""
        by_version: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for row in self._http.get(f"/api/v1/versions/{quote(package)}.json"):
            by_version[str(row["number"])].append(row)
        return tuple(self._release(package, version, rows) for version, rows in by_version.items())

    def _release(self, package: str, version: str, rows: list[dict[str, Any]]) -> Release:
        return Release(
            package=package, version=version, at=utc(min(str(row["created_at"]) for row in rows)),
            downloads=sum(int(row["downloads_count"]) for row in rows),
            files=tuple(self._file(package, version, row) for row in rows),
        )  # fmt: skip

    def _file(self, package: str, version: str, row: dict[str, Any]) -> PackageFile:
        platform = str(row.get("platform") or RUBY)
        name = f"{package}-{version}" + ("" if platform == RUBY else f"-{platform}") + ".gem"
        return PackageFile(name=name, url=f"{self._http.base}/gems/{quote(name)}", sha256=str(row["sha"]))

    def owners(self, package: str) -> tuple[str, ...]:
        rows = self._http.get(f"/api/v1/gems/{quote(package)}/owners.json")
        return tuple(str(row["handle"]) for row in rows if row.get("handle"))

    def home(self, package: str) -> str:
        found = self._http.get(f"/api/v1/gems/{quote(package)}.json")
        return github_home((found.get("source_code_uri"), found.get("homepage_uri")))

    def documents(self, package: str) -> Iterator[tuple[str, Any]]:
        path = f"/api/v1/versions/{quote(package)}.json"
        yield self._http.base + path, self._http.get(path)

    def record(self, package: str, version: str) -> dict[str, Any]:
        rows = self._http.get(f"/api/v1/versions/{quote(package)}.json")
        lines = self._http.text(f"/info/{quote(package)}").splitlines()
        return {
            "gem": self._http.get(f"/api/v1/gems/{quote(package)}.json"),
            "versions": [row for row in rows if row["number"] == version],
            "index": [line for line in lines if line.split(" ")[0] == version],
            "owners": self._http.get(f"/api/v1/gems/{quote(package)}/owners.json"),
        }

    def is_default(self, package: str, version: str) -> bool:
        """Whether the compact index has a line of it."""
        try:
            lines = self._http.text(f"/info/{quote(package)}").splitlines()
        except NotFound:
            return False
        return any(line.split(" ")[0] == version for line in lines)

    def download(self, url: str) -> bytes:
        return self._http.download(url)

    def send(self, verb: str, path: str, *, body: Any = None, form: dict[str, str] | None = None) -> Reply:
        url, headers = self._http.base + path, {"Authorization": self._http.own()}
        return self._http.reply(self._http.ask(verb, url, headers=headers, json=body, data=form), f"{verb} {path}")

    def send_as(self, secret: Secret, verb: str, path: str) -> Reply:
        raise Rejected("RubyGems.org lets no key revoke itself", provider="rubygems")

"""crates.io: its web API, and the sparse index that cargo reads.

doc.rust-lang.org/cargo/reference/registry-web-api.html and registry-index.html; rust-lang/crates.io for the rest. It
answers 403 to a dead token and to a live one that may not do what was asked: only the sentence tells them apart.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

from bot.errors import Forbidden, NotFound
from bot.model import Liveness, PackageFile, Release, Secret
from bot.registries.http import Http, github_home, said, utc
from bot.world import Reply

CRATES, INDEX, FILES = "https://crates.io", "https://index.crates.io", "https://static.crates.io"
DEAD = "authentication failed"
FOR_THE_SITE = "can only be performed on the crates.io website"
SHORT_LIVED = "cio_tp_"  # what a workflow gets as a trusted publisher: half an hour


class CratesClient:
    """crates.io as the bot's own token, or as one that is being tried."""

    label = "crates.io"

    def __init__(
        self, *, token: str = "", base_url: str = CRATES, index_url: str = INDEX, files_url: str = FILES
    ) -> None:
        self._http = Http(
            label=self.label, provider="crates", base_url=base_url, token=token, setting="BULKHEAD_CRATES_TOKEN",
            hosts=(files_url, index_url),
        )  # fmt: skip
        self._index = index_url.rstrip("/")

    def tried(self, secret: Secret, account: str = "") -> tuple[Liveness, str]:
        """``GET /me``: no token may ask that, and a live one is told so (rust-lang/crates.io, auth.rs)."""
        if secret.reveal().startswith(SHORT_LIVED):
            return Liveness.UNKNOWN, "a trusted publisher's token lives half an hour and cannot be looked at"
        answer = self._http.ask("GET", f"{self._http.base}/api/v1/me", headers={"Authorization": secret.reveal()})
        try:
            why = said(answer.json())
        except ValueError:
            why = ""
        if answer.status_code == 403 and FOR_THE_SITE in why:
            return Liveness.LIVE, "crates.io knows the token: it says that this page is not for tokens"
        if answer.status_code in (401, 403) and DEAD in why:
            return Liveness.DEAD, f"crates.io refuses it: {answer.status_code}, {DEAD}"
        if answer.status_code >= 500 or answer.status_code == 429:
            self._http.reply(answer, "GET /api/v1/me")
        return Liveness.UNKNOWN, f"crates.io answered {answer.status_code} to /api/v1/me"

    def packages_of(self, secret: Secret, account: str = "") -> tuple[str, ...]:
        """None: neither the token nor crates.io tells."""
        return ()

    def names_a_package(self, path: str) -> bool:
        return path == "Cargo.toml"

    def named_in(self, path: str, text: str) -> str:
        try:
            return str(tomllib.loads(text)["package"]["name"])
        except (tomllib.TOMLDecodeError, KeyError, TypeError):
            return ""

    def _crate(self, package: str) -> dict[str, Any]:
        return dict(self._http.get(f"/api/v1/crates/{quote(package)}"))

    def releases(self, package: str) -> tuple[Release, ...]:
        return tuple(self._release(package, row) for row in self._crate(package)["versions"])

    def _release(self, package: str, row: dict[str, Any]) -> Release:
        version, trusted = str(row["num"]), row.get("trustpub_data") or {}
        url = f"{self._http.base}/api/v1/crates/{quote(package)}/{quote(version)}/download"
        file = PackageFile(name=f"{package}-{version}.crate", url=url, sha256=str(row["checksum"]))
        return Release(
            package=package, version=version, at=utc(str(row["created_at"])), files=(file,),
            by=str((row.get("published_by") or {}).get("login") or ""),
            publisher=str(trusted.get("repository") or ""), yanked=bool(row["yanked"]),
            reason=str(row.get("yank_message") or ""), downloads=int(row["downloads"]),
        )  # fmt: skip

    def owners(self, package: str) -> tuple[str, ...]:
        rows = self._http.get(f"/api/v1/crates/{quote(package)}/owners")["users"]
        return tuple(str(row["login"]) for row in rows if row.get("kind", "user") == "user")

    def home(self, package: str) -> str:
        crate = self._crate(package)["crate"]
        return github_home((crate.get("repository"), crate.get("homepage")))

    def documents(self, package: str) -> Iterator[tuple[str, Any]]:
        yield f"{self._http.base}/api/v1/crates/{quote(package)}", self._crate(package)

    def record(self, package: str, version: str) -> dict[str, Any]:
        found = self._http.get(f"/api/v1/crates/{quote(package)}/{quote(version)}")
        return {"version": found["version"], "index": self._line(package, version)}

    def _line(self, package: str, version: str) -> dict[str, Any] | None:
        """The version's line of the index; None when it has none."""
        for line in self._http.text(f"{self._index}/{index_path(package)}").splitlines():
            found: dict[str, Any] = json.loads(line)
            if found["vers"] == version:
                return found
        return None

    def is_default(self, package: str, version: str) -> bool:
        """Whether the index still offers it. A lock file that names a yanked version still gets it."""
        try:
            line = self._line(package, version)
        except NotFound:
            return False
        return line is not None and not line["yanked"]

    def download(self, url: str) -> bytes:
        return self._http.download(url)

    def send(self, verb: str, path: str, *, body: Any = None, form: dict[str, str] | None = None) -> Reply:
        return self._send(self._http.own(), verb, path, json=body, data=form)

    def send_as(self, secret: Secret, verb: str, path: str) -> Reply:
        bearer = "Bearer " if secret.reveal().startswith(SHORT_LIVED) else ""
        return self._send(bearer + secret.reveal(), verb, path)

    def _send(self, authorization: str, verb: str, path: str, **more: Any) -> Reply:
        url, headers = self._http.base + path, {"Authorization": authorization}
        return self._http.reply(self._http.ask(verb, url, headers=headers, **more), f"{verb} {path}")


def is_dead(refused: Forbidden) -> bool:
    """Whether crates.io refused the token itself, and not what it was asked to do."""
    return DEAD in str(refused)


def index_path(crate: str) -> str:
    """Where a crate's lines stand in the index (doc.rust-lang.org/cargo, "Registry Index")."""
    name = crate.lower()
    if len(name) <= 2:
        return f"{len(name)}/{name}"
    return f"3/{name[0]}/{name}" if len(name) == 3 else f"{name[:2]}/{name[2:4]}/{name}"

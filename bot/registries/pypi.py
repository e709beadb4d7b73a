"""PyPI: the index that installers read, the JSON of a project, and what an API token says of itself.

PEP 503, 691 and 700 (simple index), 592 (yanked), 740 (provenance), 792 (status of a project); docs.pypi.org/api. An
API token is a macaroon (github.com/rescrv/libmacaroons, "v2 binary"); its caveats are those of pypi/warehouse,
``warehouse/macaroons/caveats``. PyPI has no interface to yank or to revoke: both are a person's, on its pages.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import tomllib
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from bot.errors import NotFound, Rejected
from bot.model import Liveness, PackageFile, Release, Secret
from bot.registries.http import Http, github_home, utc
from bot.world import Reply

PYPI, UPLOAD, FILES = "https://pypi.org", "https://upload.pypi.org", "https://files.pythonhosted.org"
SIMPLE_JSON = "application/vnd.pypi.simple.v1+json"
QUARANTINED = "quarantined"
LOCATION = "pypi.org"
MOST_PROVENANCE = 30  # files whose provenance is asked for when signs of misuse are looked for
_EXPIRATION, _PROJECTS, _PUBLISHER = 0, 1, 4  # kinds of caveats
_WHEEL = re.compile(r"-(?P<v>[^-]+)(?:-\d[^-]*)?-[^-]+-[^-]+-[^-]+\.whl\Z")
_SDIST = re.compile(r"-(?P<v>[^-]+)\.(?:tar\.gz|zip)\Z")


@dataclass(frozen=True, slots=True)
class Macaroon:
    """What an API token says: where it is for, PyPI's id of it, and its caveats. Nothing of it is secret."""

    location: str
    id: str
    caveats: tuple[tuple[Any, ...], ...] = ()

    @property
    def projects(self) -> tuple[str, ...]:
        """The projects that it is limited to; none when it may publish all of its account."""
        return tuple(str(name) for kind, *rest in self.caveats if kind == _PROJECTS and rest for name in rest[0])

    @property
    def short_lived(self) -> bool:
        """Whether a workflow got it as a trusted publisher: such a one ends after fifteen minutes."""
        return any(kind == _PUBLISHER for kind, *_ in self.caveats)


def macaroon(token: str) -> Macaroon | None:
    """Read a token. None when it is none."""
    raw = token.removeprefix("pypi-")
    try:
        fields = list(_fields(base64.urlsafe_b64decode(raw[: len(raw) // 4 * 4])))
        head = dict(fields[: fields.index((0, b""))])
        caveats = [json.loads(data) for kind, data in fields[len(head) + 1 :] if kind == 2]
        limits = tuple(tuple(each) for each in caveats if isinstance(each, list) and each)
        return Macaroon(head[1].decode(), head[2].decode(), limits)
    except (binascii.Error, ValueError, KeyError, IndexError):
        return None


def _fields(data: bytes) -> Iterator[tuple[int, bytes]]:
    """(type, bytes) of a v2 macaroon; (0, b"") ends a section. Raises IndexError where it is cut off."""
    at = 1
    while at < len(data):
        kind, at = data[at], at + 1
        if kind == 0:
            yield 0, b""
            continue
        size, shift = 0, 0
        while True:  # a varint
            byte, at = data[at], at + 1
            size |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        yield kind, data[at : at + size]
        at += size


def normalized(name: str) -> str:
    """A project's name as the index has it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


class PypiClient:
    """PyPI without an account: everything that the bot may do there is to read."""

    label = "PyPI"

    def __init__(self, *, base_url: str = PYPI, upload_url: str = UPLOAD, files_url: str = FILES) -> None:
        self._http = Http(label=self.label, provider="pypi", base_url=base_url, hosts=(files_url,))
        self._upload = upload_url.rstrip("/")

    def tried(self, secret: Secret, account: str = "") -> tuple[Liveness, str]:
        """An upload that names no file: 400 when PyPI knows the token, 403 when not (pypi/warehouse, forklift).

        It never carries a name: with a free one a token of an account would make a project.
        """
        read = macaroon(secret.reveal())
        if read is not None and read.location != LOCATION:
            return Liveness.UNKNOWN, f"it is a token of {read.location}, which is not asked"
        answer = self._http.ask(
            "POST", f"{self._upload}/legacy/", auth=("__token__", secret.reveal()),
            files={":action": (None, "file_upload")},
        )  # fmt: skip
        if answer.status_code == 400:
            return Liveness.LIVE, "PyPI knows the token: 400 to an upload without a file"
        if answer.status_code == 403:
            return Liveness.DEAD, "PyPI refuses it: 403 to an upload without a file"
        self._http.reply(answer, "POST /legacy/")
        return Liveness.UNKNOWN, f"PyPI answered {answer.status_code} to an upload without a file"

    def packages_of(self, secret: Secret, account: str = "") -> tuple[str, ...]:
        """The projects that the token says it is limited to; PyPI itself tells of no token."""
        read = macaroon(secret.reveal())
        return read.projects if read else ()

    def names_a_package(self, path: str) -> bool:
        return path == "pyproject.toml"

    def named_in(self, path: str, text: str) -> str:
        try:
            return str(tomllib.loads(text)["project"]["name"])
        except (tomllib.TOMLDecodeError, KeyError, TypeError):
            return ""

    def simple(self, package: str) -> dict[str, Any]:
        """What an installer reads."""
        return dict(self._http.get(f"/simple/{quote(normalized(package))}/", SIMPLE_JSON))

    def status(self, package: str) -> str:
        """active, archived, or quarantined by PyPI: then no version of it can be installed (PEP 792)."""
        return str((self.simple(package).get("project-status") or {}).get("status") or "active")

    def releases(self, package: str) -> tuple[Release, ...]:
        by_version: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for row in self.simple(package).get("files") or ():
            by_version[_version_of(str(row["filename"]))].append(row)
        return tuple(self._release(package, version, rows) for version, rows in by_version.items() if version)

    def _release(self, package: str, version: str, rows: list[dict[str, Any]]) -> Release:
        marks = [row.get("yanked") or False for row in rows]
        files = tuple(
            PackageFile(name=str(row["filename"]), url=str(row["url"]), sha256=str(row["hashes"].get("sha256", "")))
            for row in rows
        )
        times = [str(row["upload-time"]) for row in rows if row.get("upload-time")]
        return Release(
            package=package, version=version, at=utc(min(times, default="")),
            yanked=all(marks), reason=next((mark for mark in marks if isinstance(mark, str)), ""), files=files,
            publisher=next(filter(None, (self._publisher(row) for row in rows)), ""),
        )  # fmt: skip

    def _publisher(self, row: dict[str, Any]) -> str:
        """The repository that a file's provenance names. Files that a token uploaded have none."""
        if not row.get("provenance"):
            return ""
        try:
            found = self._http.get(str(row["provenance"]))
        except NotFound:
            return ""
        publishers = [bundle.get("publisher") or {} for bundle in found.get("attestation_bundles") or ()]
        return next((str(p["repository"]) for p in publishers if p.get("repository")), "")

    def owners(self, package: str) -> tuple[str, ...]:
        roles = ((self._project(package).get("ownership") or {}).get("roles")) or ()
        return tuple(dict.fromkeys(str(role["user"]) for role in roles if role.get("user")))

    def home(self, package: str) -> str:
        info = self._project(package).get("info") or {}
        return github_home([*(info.get("project_urls") or {}).values(), info.get("home_page")])

    def _project(self, package: str) -> dict[str, Any]:
        return dict(self._http.get(f"/pypi/{quote(package)}/json"))

    def documents(self, package: str) -> Iterator[tuple[str, Any]]:
        """The simple index, and the provenance of the files that came last."""
        simple = self.simple(package)
        yield f"{self._http.base}/simple/{normalized(package)}/", simple
        proven = [row for row in simple["files"] if row.get("provenance")]
        for row in sorted(proven, key=lambda r: str(r.get("upload-time")), reverse=True)[:MOST_PROVENANCE]:
            try:
                yield str(row["provenance"]), self._http.get(str(row["provenance"]))
            except NotFound:
                continue  # between the two answers it was taken away

    def record(self, package: str, version: str) -> dict[str, Any]:
        simple = self.simple(package)
        rows = [row for row in simple["files"] if _version_of(str(row["filename"])) == version]
        return {
            "release": self._http.get(f"/pypi/{quote(package)}/{quote(version)}/json"), "files": rows,
            "status": simple.get("project-status"),
            "provenance": {r["filename"]: self._http.get(r["provenance"]) for r in rows if r.get("provenance")},
        }  # fmt: skip

    def download(self, url: str) -> bytes:
        return self._http.download(url)

    def is_default(self, package: str, version: str) -> bool:
        """Whether a file of it stands in the index without a mark. Pinned with ``==`` a yanked one is still given."""
        rows = self.simple(package).get("files") or ()
        return any(_version_of(str(row["filename"])) == version and not row.get("yanked") for row in rows)

    def send(self, verb: str, path: str, *, body: Any = None, form: dict[str, str] | None = None) -> Reply:
        raise Rejected("PyPI takes no such request: a person does it on its pages", provider="pypi")

    def send_as(self, secret: Secret, verb: str, path: str) -> Reply:
        raise Rejected("PyPI takes no such request: a person does it on its pages", provider="pypi")


def _version_of(filename: str) -> str:
    """The version in the name of a wheel or sdist (packaging.python.org, "Binary distribution format")."""
    found = _WHEEL.search(filename) or _SDIST.search(filename)
    return found["v"] if found else ""

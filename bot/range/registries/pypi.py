"""The range's PyPI.

What it holds to (pypi/warehouse; PEP 503, 592, 691, 700, 740, 792; docs.pypi.org/api):

- an upload is refused with 403 when the macaroon's id is unknown, before its form is looked at (400); its signature and
  its caveats count where a project is named;
- a file's name is never taken twice, and a release that is older than fourteen days takes no new file (July 2026);
- yanking is a mark on a whole release, set on a page by a person; installers pass over it unless it is pinned;
- a project in quarantine keeps no file in the index, and its owner cannot change it.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
import secrets
import uuid
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from email import message_from_bytes
from typing import Any, ClassVar

from bot.range.registries.server import RegistryServer, Token, iso, order
from bot.range.served import Asked, Handler, Problem, Said
from bot.range.sigstore import Sigstore

SIMPLE_JSON = "application/vnd.pypi.simple.v1+json"
CLOSED_AFTER = timedelta(days=14)
INVALID = "Invalid or non-existent authentication information. See https://pypi.org/help/#invalid-auth for more."


@dataclass(slots=True, kw_only=True)
class File:
    name: str
    data: bytes = field(repr=False)
    at: datetime
    publisher: dict[str, Any] | None = None  # of a trusted publisher: then it has provenance
    proof: dict[str, Any] | None = field(default=None, repr=False)  # its attestation

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()


@dataclass(slots=True, kw_only=True)
class Project:
    name: str
    owners: list[str]
    home: str = ""
    status: str = "active"
    releases: dict[str, list[File]] = field(default_factory=dict)
    yanked: dict[str, str] = field(default_factory=dict)  # version -> reason


def normalized(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


class Pypi(RegistryServer):
    name = "pypi"
    sigstore: Sigstore | None = None

    def empty(self) -> None:
        self.projects: dict[str, Project] = {}

    def make_value(self, user: str, packages: tuple[str, ...]) -> str:
        """A macaroon of version 2: location, id, end; a caveat for each limit; end; signature."""
        caveats: list[Any] = [[1, list(packages)]] if packages else [[3, str(uuid.uuid4())]]
        body = b"\x02" + _field(1, b"pypi.org") + _field(2, str(uuid.uuid4()).encode()) + b"\0"
        body += b"".join(_field(2, json.dumps(each).encode()) + b"\0" for each in caveats)
        body += b"\0" + _field(6, secrets.token_bytes(32))
        return "pypi-" + base64.urlsafe_b64encode(body).decode().rstrip("=")

    def project(self, name: str) -> Project:
        found = self.projects.get(normalized(name))
        if found is None:
            raise Problem(404, {"message": "Not Found"})
        return found

    # people, on PyPI's pages

    def yank(self, name: str, version: str, reason: str = "") -> None:
        """An owner yanks a release on its page."""
        with self.lock:
            project = self.project(name)
            if project.status == "quarantined":
                raise Problem(403, "a project in quarantine cannot be changed")
            project.yanked[version] = reason

    def unyank(self, name: str, version: str) -> None:
        with self.lock:
            self.project(name).yanked.pop(version, None)

    def quarantine(self, name: str) -> None:
        """PyPI's administrators do."""
        with self.lock:
            self.project(name).status = "quarantined"

    # uploading

    def upload(self, asked: Asked) -> Any:
        form, content = _multipart(asked)
        token, genuine = self._caller(asked.headers.get("authorization", ""), reads="name" not in form)
        if form.get(":action") != "file_upload" or "metadata_version" not in form or content is None:
            raise Problem(400, "400 the form of the upload is not whole", reads="name" not in form)
        if not genuine or (token.packages and normalized(form["name"]) not in map(normalized, token.packages)):
            raise Problem(403, f"The user '{token.user}' isn't allowed to upload to project '{form['name']}'.")
        self.publish(token.user, form["name"], form["version"], content[0], content[1])
        return "OK"

    def _caller(self, authorization: str, *, reads: bool) -> tuple[Token, bool]:
        """The token whose id is shown, and whether it is that very token."""
        try:
            user, _, value = base64.b64decode(authorization.removeprefix("Basic ")).decode().partition(":")
        except ValueError:
            user, value = "", ""
        known = {_id(each.value): each for each in self.tokens.values() if not each.revoked}
        token = known.get(_id(value)) if user == "__token__" and value.startswith("pypi-") else None
        if token is None:
            raise Problem(403, INVALID, reads=reads)
        return token, token.value == value

    def publish(
        self, user: str, name: str, version: str, filename: str, data: bytes, *, at: datetime | None = None,
        publisher: dict[str, Any] | None = None, home: str = "",
    ) -> None:  # fmt: skip
        """Take a file, now or ``at`` a time. Raises Problem by PyPI's rules."""
        now = at or self.clock.now()
        with self.lock:
            project = self.projects.setdefault(
                normalized(name), Project(name=name, owners=[user], home=home)
            )  # fmt: skip
            if user not in project.owners:
                raise Problem(403, f"The user '{user}' isn't allowed to upload to project '{name}'.")
            if project.status == "quarantined":
                raise Problem(403, f"Project '{name}' is in quarantine.")
            files = project.releases.setdefault(version, [])
            if any(each.name == filename for held in project.releases.values() for each in held):
                raise Problem(400, "File already exists. See https://pypi.org/help/#file-name-reuse for more.")
            if files and now - min(each.at for each in files) > CLOSED_AFTER:
                raise Problem(400, f"The release {version} is older than 14 days and takes no new file.")
            files.append(File(name=filename, data=data, at=now, publisher=publisher))

    # reading

    def simple(self, asked: Asked) -> Any:
        project = self.project(asked.words["name"])
        rows = [] if project.status == "quarantined" else [
            self._row(project, version, file) for version, files in project.releases.items() for file in files
        ]  # fmt: skip
        if "json" in asked.headers.get("accept", ""):
            return Said({
                "meta": {"api-version": "1.4"}, "name": normalized(project.name), "files": rows,
                "versions": sorted(project.releases, key=order), "project-status": {"status": project.status},
            }, content_type=SIMPLE_JSON)  # fmt: skip
        links = [
            f'<a href="{r["url"]}#sha256={r["hashes"]["sha256"]}"'
            + (f' data-yanked="{html.escape(str(r["yanked"]))}"' if r["yanked"] else "")
            + f">{r['filename']}</a><br>"
            for r in rows
        ]
        return Said("<!DOCTYPE html><html><body>" + "".join(links) + "</body></html>", content_type="text/html")

    def _row(self, project: Project, version: str, file: File) -> dict[str, Any]:
        reason = project.yanked.get(version)
        where = f"{self.base_url}/integrity/{normalized(project.name)}/{version}/{file.name}/provenance"
        return {
            "filename": file.name, "url": f"{self.base_url}/packages/{file.name}", "size": len(file.data),
            "hashes": {"sha256": file.sha256}, "requires-python": ">=3.8", "upload-time": iso(file.at),
            "yanked": False if reason is None else reason or True, "core-metadata": False,
            "provenance": where if file.publisher else None,
        }  # fmt: skip

    def file(self, asked: Asked) -> Any:
        for project in self.projects.values():
            for files in project.releases.values():
                for each in files:
                    if each.name == asked.words["file"]:
                        return each.data
        raise Problem(404, "Not Found")

    def provenance(self, asked: Asked) -> Any:
        files = self.project(asked.words["name"]).releases.get(asked.words["version"], [])
        file = next((each for each in files if each.name == asked.words["file"]), None)
        if file is None or file.publisher is None:
            raise Problem(404, {"message": "No provenance available for this file"})
        statement = {
            "_type": "https://in-toto.io/Statement/v1", "predicateType": "https://docs.pypi.org/attestations/publish/v1",
            "subject": [{"name": file.name, "digest": {"sha256": file.sha256}}], "predicate": None,
        }  # fmt: skip
        if file.proof is None:
            file.proof = self._proof(file, statement)
        return {"version": 1, "attestation_bundles": [{"publisher": file.publisher, "attestations": [file.proof]}]}

    def _proof(self, file: File, statement: dict[str, Any]) -> dict[str, Any]:
        """What the publishing job signed then, in the form of PEP 740; without a signature where nobody signs."""
        if self.sigstore is None or file.publisher is None:
            envelope = {"statement": base64.b64encode(json.dumps(statement).encode()).decode(), "signature": ""}
            return {"version": 1, "envelope": envelope, "verification_material": {}}
        repository, ref = str(file.publisher["repository"]), str(file.publisher.get("ref", "refs/heads/main"))
        workflow = f"{repository}/.github/workflows/{file.publisher['workflow']}@{ref}"
        claims = {
            "repository": repository, "workflow_ref": workflow, "ref": ref,
            "sha": hashlib.sha256(file.data).hexdigest()[:40], "run_id": "1",
        }  # fmt: skip
        bundle = self.sigstore.sign(claims, statement, file.at)
        material, signed = bundle["verificationMaterial"], bundle["dsseEnvelope"]
        return {
            "version": 1,
            "envelope": {"statement": signed["payload"], "signature": signed["signatures"][0]["sig"]},
            "verification_material": {
                "certificate": material["certificate"]["rawBytes"], "transparency_entries": material["tlogEntries"],
            },
        }  # fmt: skip

    def json(self, asked: Asked) -> Any:
        """The JSON of a project, or of one release."""
        project = self.project(asked.words["name"])
        version = asked.words.get("version") or self.delivered(project.name) or max(project.releases, key=order)
        if version not in project.releases:
            raise Problem(404, {"message": "Not Found"})
        files = project.releases[version]
        reason = project.yanked.get(version)
        return {
            "info": {
                "name": project.name, "version": version, "yanked": reason is not None, "yanked_reason": reason or None,
                "project_urls": {"Source": project.home} if project.home else {}, "home_page": None,
            },
            "ownership": {"roles": [{"role": "Owner", "user": name} for name in project.owners], "organization": None},
            "last_serial": 1, "vulnerabilities": [],
            "urls": [
                {"filename": f.name, "digests": {"sha256": f.sha256}, "upload_time_iso_8601": iso(f.at),
                 "yanked": reason is not None, "yanked_reason": reason or None} for f in files
            ],
        }  # fmt: skip

    # for the range itself

    def delivered(self, package: str) -> str:
        project = self.project(package)
        if project.status == "quarantined":
            return ""
        return max((v for v in project.releases if v not in project.yanked), key=order, default="")

    def downloads(self, package: str, version: str) -> int:
        """Downloads of a version since it came: the index itself tells none."""
        return self.climbed(min(each.at for each in self.project(package).releases[version]))

    def packages_state(self) -> dict[str, Any]:
        return {
            project.name: {
                "status": project.status, "yanked": dict(project.yanked),
                "files": sorted(f.name for files in project.releases.values() for f in files),
            } for project in self.projects.values()
        }  # fmt: skip

    routes: ClassVar[tuple[tuple[str, str, Handler], ...]] = (
        ("POST", "/legacy/", upload),
        ("GET", "/simple/(?P<name>[^/]+)/", simple),
        ("GET", "/packages/(?P<file>[^/]+)", file),
        ("GET", "/pypi/(?P<name>[^/]+)/json", json),
        ("GET", "/pypi/(?P<name>[^/]+)/(?P<version>[^/]+)/json", json),
        ("GET", "/integrity/(?P<name>[^/]+)/(?P<version>[^/]+)/(?P<file>[^/]+)/provenance", provenance),
    )


def _field(kind: int, data: bytes) -> bytes:
    """One field of a macaroon; what is written here is shorter than 128 bytes, or takes two bytes for its length."""
    size = bytes([len(data)]) if len(data) < 0x80 else bytes([len(data) & 0x7F | 0x80, len(data) >> 7])
    return bytes([kind]) + size + data


def _id(value: str) -> bytes:
    """The id in a macaroon of ours: its second field."""
    raw = value.removeprefix("pypi-")
    try:
        data = base64.urlsafe_b64decode(raw + "=" * (-len(raw) % 4))
        at = 3 + data[2]
        return data[at + 2 : at + 2 + data[at + 1]]
    except (ValueError, IndexError):
        return b""


def _multipart(asked: Asked) -> tuple[dict[str, str], tuple[str, bytes] | None]:
    """The fields of a multipart body, and (name, bytes) of its file."""
    head = f"content-type: {asked.headers.get('content-type', '')}\r\n\r\n".encode()
    form: dict[str, str] = {}
    content = None
    message = message_from_bytes(head + asked.raw)
    parts = message.get_payload() if message.is_multipart() else []
    for part in parts if isinstance(parts, list) else []:
        name = str(part.get_param("name", header="content-disposition"))  # type: ignore[union-attr]
        data = part.get_payload(decode=True)  # type: ignore[union-attr]
        if filename := part.get_filename():  # type: ignore[union-attr]
            content = (str(filename), bytes(data or b""))
        else:
            form[name] = bytes(data or b"").decode(errors="replace")
    return form, content

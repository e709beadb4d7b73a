"""npm packages as files: pack them, and what the runner's ``npm`` command does with them, without running any code.

``npm ci`` resolves by the lock file, downloads, checks the digests, and then "runs" the install scripts: a package of
the range that does something says what in ``RANGE_SCRIPT``, a list of the acts below. Nothing of a package is executed;
for the real npm client its install script is one line that says so.
"""

from __future__ import annotations

import base64
import fnmatch
import gzip
import hashlib
import io
import ipaddress
import json
import tarfile
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote, urlsplit

import requests

from bot.range.npm_trust import AUDIENCE
from bot.range.sigstore import npm_statement

PUBLIC = "https://registry.npmjs.org"
RANGE_SCRIPT = "range-postinstall.json"
INERT = 'console.log("this package acts only inside the range, and there nobody runs it")\n'


class NpmFailed(Exception):
    """What ``npm`` prints before it ends with status 1."""


def packed(files: Mapping[str, bytes]) -> bytes:
    """A tarball as npm makes it: everything under ``package/``, always the same bytes."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as archive:
        for name, data in sorted(files.items()):
            info = tarfile.TarInfo(f"package/{name}")
            info.size, info.mode, info.mtime = len(data), 0o644, 499162500
            archive.addfile(info, io.BytesIO(data))
    return gzip.compress(raw.getvalue(), mtime=0)


def unpacked(data: bytes) -> dict[str, bytes]:
    """The files of a tarball, in memory."""
    found = {}
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:gz") as archive:
        for member in archive.getmembers():
            file = archive.extractfile(member) if member.isfile() else None
            if file is not None:
                found[member.name.partition("/")[2]] = file.read()
    return found


def document(manifest: dict[str, Any], data: bytes, tag: str = "latest") -> dict[str, Any]:
    """What publishing sends: the manifest with digests, and the tarball attached."""
    name, version = manifest["name"], manifest["version"]
    dist = {
        "shasum": hashlib.sha1(data, usedforsecurity=False).hexdigest(),
        "integrity": "sha512-" + base64.b64encode(hashlib.sha512(data).digest()).decode(),
    }
    coded = base64.b64encode(data).decode()
    attached = {"content_type": "application/octet-stream", "data": coded, "length": len(data)}
    return {
        "_id": name, "name": name, "dist-tags": {tag: version}, "access": "public",
        "versions": {version: {**manifest, "dist": dist}}, "_attachments": {f"{name}-{version}.tgz": attached},
    }  # fmt: skip


def release(manifest: dict[str, Any], files: Mapping[str, bytes] | None = None) -> dict[str, Any]:
    """The document of a package made of a manifest and some files."""
    written = {"package.json": json.dumps(manifest, indent=2).encode(), "index.js": b"module.exports = {}\n"}
    return document(manifest, packed({**written, **(files or {})}))


class NpmCommand:
    """``npm ci``, ``npm publish`` and ``npm whoami`` of a job's step, with the environment of that step.

    ``id_token`` mints an id-token of the job for an audience, ``attest`` signs a statement with one; None where the job
    may not ask for one.
    """

    def __init__(
        self, url: str, env: Mapping[str, str], files: Mapping[str, bytes],
        id_token: Callable[[str], str] | None = None,
        attest: Callable[[dict[str, Any]], dict[str, Any] | None] | None = None,
    ) -> None:  # fmt: skip
        self._url, self._env, self._files, self._id_token, self._attest = url, env, files, id_token, attest

    def _call(self, method: str, path: str, body: Any = None, token: str = "") -> requests.Response:
        token = token or self._env.get("NODE_AUTH_TOKEN", "")
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        with requests.Session() as session:
            session.trust_env = False
            return session.request(method, self._url + path, json=body, headers=headers, timeout=20)

    def _manifest(self, name: str) -> dict[str, Any]:
        try:
            found: dict[str, Any] = json.loads(self._files[name])
        except KeyError:
            raise NpmFailed(f"npm error code ENOENT\nnpm error enoent Could not read {name}") from None
        return found

    def whoami(self) -> str:
        answer = self._call("GET", "/-/whoami")
        if answer.status_code != requests.codes.ok:
            raise NpmFailed(_said(answer, "GET", "/-/whoami"))
        return f"{answer.json()['username']}\n"

    def publish(self, *, provenance: bool = False) -> str:
        """Pack the checkout and publish it, with provenance where it is asked for or comes by trusted publishing."""
        manifest = self._manifest("package.json")
        body = document(manifest, packed({n: d for n, d in self._files.items() if not n.startswith(".")}))
        path = "/" + quote(str(manifest["name"]), safe="@")
        token = self._trusted(str(manifest["name"]))
        if provenance or token:
            self._prove(body, str(manifest["name"]), str(manifest["version"]))
        answer = self._call("PUT", path, body, token)
        if answer.status_code != requests.codes.ok:
            raise NpmFailed(_said(answer, "PUT", path))
        return f"+ {manifest['name']}@{manifest['version']}\n"

    def _prove(self, body: dict[str, Any], name: str, version: str) -> None:
        """Attach a bundle as npm's client does (libnpmpublish)."""
        env = self._env
        claims = {
            name: env[f"GITHUB_{name.upper()}"] for name in ("repository", "workflow_ref", "ref", "sha", "run_id")
        }
        integrity = body["versions"][version]["dist"]["integrity"].removeprefix("sha512-")
        statement = npm_statement(claims, name, version, base64.b64decode(integrity).hex())
        if self._attest is not None and (bundle := self._attest(statement)) is not None:
            said = json.dumps(bundle)
            attached = {"content_type": bundle["mediaType"], "data": said, "length": len(said)}
            body["_attachments"][f"{name}-{version}.sigstore"] = attached

    def _trusted(self, name: str) -> str:
        """A token by the job's own identity; "" when it may ask for none, or npm does not take it.

        npm tries this first, and goes on with a token of the environment when it does not work (npm 11.5.1).
        """
        if self._id_token is None:
            return ""
        path = f"/-/npm/v1/oidc/token/exchange/package/{quote(name, safe='@')}"
        answer = self._call("POST", path, {}, self._id_token(AUDIENCE))
        return str(answer.json()["token"]) if answer.status_code == requests.codes.ok else ""

    def ci(self) -> str:
        """Install by the lock file. Raises NpmFailed when a digest differs, or something is not there."""
        locked = self._manifest("package-lock.json").get("packages") or {}
        chosen = {path: entry for path, entry in locked.items() if path}
        for path, entry in chosen.items():
            files = self._download(path, entry)
            if json.loads(files["package.json"]).get("scripts", {}).get("postinstall"):
                self._act(json.loads(files.get(RANGE_SCRIPT, b"[]")))
        return f"added {len(chosen)} packages\n"

    def _download(self, path: str, entry: dict[str, Any]) -> dict[str, bytes]:
        where = str(entry["resolved"])
        if not where.startswith(f"{PUBLIC}/"):
            raise NpmFailed(f"npm error the range serves {PUBLIC} only, not {where}")
        answer = self._call("GET", where.removeprefix(PUBLIC))
        if answer.status_code != requests.codes.ok:
            raise NpmFailed(_said(answer, "GET", where))
        digest = "sha512-" + base64.b64encode(hashlib.sha512(answer.content).digest()).decode()
        if digest != entry["integrity"]:
            said = f"npm error {path}: wanted {entry['integrity']} but got {digest}"
            raise NpmFailed(f"npm error code EINTEGRITY\n{said}")
        return unpacked(answer.content)

    def _act(self, acts: list[dict[str, Any]]) -> None:
        """The acts that an install script of the range may hold: read the environment, post it to loopback."""
        taken: dict[str, str] = {}
        for act in acts:
            if act["do"] == "read-environment":
                patterns = act["names"]
                taken = {n: v for n, v in self._env.items() if any(fnmatch.fnmatchcase(n, p) for p in patterns)}
            elif act["do"] == "post" and ipaddress.ip_address(urlsplit(act["to"]).hostname or "").is_loopback:
                told: dict[str, Any] = {"from": self._env.get("GITHUB_REPOSITORY", ""), "env": taken}
                with requests.Session() as session:
                    session.trust_env = False
                    session.post(act["to"], json=told, timeout=20)
            else:
                raise NpmFailed(f"npm error the range does not interpret {act['do']!r} in an install script")


def _said(answer: requests.Response, method: str, path: str) -> str:
    try:
        why = answer.json().get("error", "")
    except ValueError:
        why = ""
    lines = [f"npm error code E{answer.status_code}", f"npm error {answer.status_code} - {method} {path} - {why}"]
    return "\n".join(lines)

"""GHCR of the range: a registry of container images, as the OCI distribution specification says, public to pull from.

Paths, headers and error codes: github.com/opencontainers/distribution-spec, "Pull" and "Push"; media types: OCI
image-spec. Who may push, and which versions are deleted, it asks the range's GitHub, as ghcr.io does. ``/token`` gives
whoever signs in with a token of GitHub a bearer that is that token in base64, under whatever name stands beside it.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import secrets
import tarfile
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

import requests
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from bot.range.switchboard import AsgiApp, Switchboard

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
ARCH = "amd64"


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """What one line of a Dockerfile left: files by path (without a leading slash). A name ``.wh.X`` deletes X."""

    made_by: str
    files: dict[str, bytes] = field(default_factory=dict, repr=False)


def digest_of(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def built(
    layers: Sequence[Layer], *, created: datetime, author: str = "", labels: dict[str, str] | None = None,
    env: Sequence[str] = (),
) -> tuple[dict[str, bytes], bytes]:  # fmt: skip
    """An image: its blobs by digest (config and layers), and its manifest. Its bytes are of the arguments alone."""
    packed = [_pack(layer) for layer in layers]
    config = {
        "created": created.isoformat(), "author": author, "architecture": ARCH, "os": "linux",
        "config": {"Env": list(env), "Labels": labels or {}, "Cmd": ["/app/ferry"]},
        "rootfs": {"type": "layers", "diff_ids": [digest_of(raw) for raw, _ in packed]},
        "history": [{"created": created.isoformat(), "created_by": layer.made_by} for layer in layers],
    }  # fmt: skip
    blobs = [json.dumps(config).encode(), *(zipped for _, zipped in packed)]
    manifest = {
        "schemaVersion": 2, "mediaType": MANIFEST, "config": _descriptor(CONFIG, blobs[0]),
        "layers": [_descriptor(LAYER, blob) for blob in blobs[1:]],
    }  # fmt: skip
    return {digest_of(blob): blob for blob in blobs}, json.dumps(manifest).encode()


def push_to_ecr(client: Any, repository: str, tag: str, blobs: dict[str, bytes], manifest: bytes) -> str:
    """``docker push`` to a repository of ECR, by the calls that it comes to; returns the digest. Raises ClientError.

    To push what is there already is no error, as with docker.
    """
    asked = client.batch_check_layer_availability(repositoryName=repository, layerDigests=list(blobs))
    there = {layer["layerDigest"] for layer in asked["layers"] if layer["layerAvailability"] == "AVAILABLE"}
    for digest, blob in blobs.items():
        if digest in there:
            continue
        upload = client.initiate_layer_upload(repositoryName=repository)["uploadId"]
        client.upload_layer_part(
            repositoryName=repository, uploadId=upload, partFirstByte=0, partLastByte=len(blob) - 1, layerPartBlob=blob
        )
        client.complete_layer_upload(repositoryName=repository, uploadId=upload, layerDigests=[digest])
    with suppress(client.exceptions.ImageAlreadyExistsException):
        client.put_image(
            repositoryName=repository, imageTag=tag, imageManifest=manifest.decode(), imageManifestMediaType=MANIFEST
        )
    return digest_of(manifest)


class PushDenied(Exception):
    """The registry takes no image from this token."""


def push_to_ghcr(url: str, token: str, name: str, tag: str, blobs: dict[str, bytes], manifest: bytes) -> str:
    """``docker push`` with a token, by the calls that it comes to; returns the digest. Raises PushDenied."""
    with requests.Session() as session:
        session.trust_env = False
        session.headers["Authorization"] = f"Bearer {base64.b64encode(token.encode()).decode()}"
        for digest, blob in blobs.items():
            if session.head(f"{url}/v2/{name}/blobs/{digest}", timeout=20).ok:
                continue
            started = session.post(f"{url}/v2/{name}/blobs/uploads/", timeout=20)
            if not started.ok:
                raise PushDenied(str(started.status_code))
            session.put(url + started.headers["location"], params={"digest": digest}, data=blob, timeout=20)
        headers = {"Content-Type": MANIFEST}
        done = session.put(f"{url}/v2/{name}/manifests/{tag}", data=manifest, headers=headers, timeout=20)
    if not done.ok:
        raise PushDenied(str(done.status_code))
    return digest_of(manifest)


def digest_at(url: str, name: str, tag: str) -> str:
    """The digest that a registry tells of a tag, or ''."""
    with requests.Session() as session:
        session.trust_env = False
        answer = session.head(f"{url}/v2/{name}/manifests/{tag}", timeout=20)
    return answer.headers["docker-content-digest"] if answer.ok else ""


class Keeper(Protocol):
    """What a registry asks of whoever keeps its packages."""

    def known(self, token: str) -> bool:
        """Whether it is a token that works, and of a kind that may sign in here."""

    def may_push(self, token: str, name: str) -> bool:
        """Whether a token may push to NAME (owner/package)."""

    def pushed(self, name: str, digest: str, tag: str, source: str) -> None:
        """An image was pushed; ``source`` is the repository that it says it is of, owner/name or ''."""

    def gone(self, name: str, digest: str) -> bool:
        """Whether this version has been deleted."""


class ImageRange:
    """``asgi`` is the app; ``push`` puts an image there; ``reset`` forgets all. Without a ``keeper`` nobody pushes."""

    def __init__(self, switchboard: Switchboard) -> None:
        self._lock = threading.Lock()
        self.keeper: Keeper | None = None
        self.reset()
        methods = ["GET", "HEAD"]
        app = Starlette(routes=[
            Route("/token", self._token),
            Route("/v2/", self._version, methods=methods),
            Route("/v2/{name:path}/blobs/uploads/", self._begin, methods=["POST"]),
            Route("/v2/{name:path}/blobs/uploads/{upload}", self._upload, methods=["PUT"]),
            Route("/v2/{name:path}/manifests/{ref}", self._put, methods=["PUT"]),
            Route("/v2/{name:path}/tags/list", self._tags),
            Route("/v2/{name:path}/manifests/{ref}", self._manifest, methods=methods),
            Route("/v2/{name:path}/blobs/{digest}", self._blob, methods=methods),
        ])  # fmt: skip
        self.asgi: AsgiApp = switchboard.asgi(app, "registry")

    def reset(self) -> None:
        """No image."""
        with self._lock:
            self._blobs: dict[tuple[str, str], bytes] = {}
            self._manifests: dict[str, dict[str, bytes]] = {}  # name -> digest -> document
            self._kinds: dict[str, str] = {}  # digest -> media type, where it is not an image of OCI
            self._tagged: dict[str, dict[str, str]] = {}

    def push(
        self, name: str, tag: str, layers: Sequence[Layer], *, created: datetime, author: str = "",
        labels: dict[str, str] | None = None, env: Sequence[str] = (),
    ) -> str:  # fmt: skip
        """Build and publish an image; returns its digest. Its bytes depend on nothing but the arguments."""
        blobs, document = built(layers, created=created, author=author, labels=labels, env=env)
        with self._lock:
            self._blobs |= {(name, digest): blob for digest, blob in blobs.items()}
            self._manifests.setdefault(name, {})[digest_of(document)] = document
            self._tagged.setdefault(name, {})[tag] = digest_of(document)
        return digest_of(document)

    def _token(self, request: Request) -> Response:
        """A bearer. Whoever shows a token that is none any more is refused; without one, it is good for reading."""
        kind, _, given = request.headers.get("authorization", "").partition(" ")
        if kind != "Basic":
            return JSONResponse({"token": base64.b64encode(b"anonymous").decode()})
        token = base64.b64decode(given).decode().partition(":")[2]
        if self.keeper is None or not self.keeper.known(token):
            return _error("DENIED", "requested access to the resource is denied", 403)
        return JSONResponse({"token": base64.b64encode(token.encode()).decode()})

    def _version(self, _request: Request) -> Response:
        return JSONResponse({}, headers={"docker-distribution-api-version": "registry/2.0"})

    def _tags(self, request: Request) -> Response:
        name = request.path_params["name"]
        tags = self._tagged.get(name)
        return JSONResponse({"name": name, "tags": sorted(tags)}) if tags else _error("NAME_UNKNOWN", name)

    def _refused(self, request: Request) -> bool:
        kind, _, given = request.headers.get("authorization", "").partition(" ")
        try:
            token = base64.b64decode(given, validate=True).decode() if kind == "Bearer" else ""
        except ValueError:
            token = ""
        return self.keeper is None or not self.keeper.may_push(token, request.path_params["name"])

    def _begin(self, request: Request) -> Response:
        if self._refused(request):
            return _denied()
        where = f"/v2/{request.path_params['name']}/blobs/uploads/{secrets.token_hex(8)}"
        return Response(status_code=202, headers={"location": where})

    async def _upload(self, request: Request) -> Response:
        data = await request.body()
        if self._refused(request):
            return _denied()
        if digest_of(data) != request.query_params.get("digest"):
            return _error("DIGEST_INVALID", "the digest is not that of the blob", 400)
        with self._lock:
            self._blobs[request.path_params["name"], digest_of(data)] = data
        return Response(status_code=201)

    async def _put(self, request: Request) -> Response:
        document = await request.body()
        if self._refused(request):
            return _denied()
        name, ref, digest = request.path_params["name"], request.path_params["ref"], digest_of(document)
        manifest: dict[str, Any] = json.loads(document)
        labels: dict[str, str] = {}
        if "manifests" in manifest:
            if any(each["digest"] not in self._manifests.get(name, {}) for each in manifest["manifests"]):
                return _error("MANIFEST_BLOB_UNKNOWN", name)
        else:
            config = self._blobs.get((name, manifest["config"]["digest"]))
            if config is None or any((name, each["digest"]) not in self._blobs for each in manifest["layers"]):
                return _error("MANIFEST_BLOB_UNKNOWN", name)
            labels = json.loads(config)["config"].get("Labels") or {}
        with self._lock:
            self._manifests.setdefault(name, {})[digest] = document
            self._kinds[digest] = request.headers.get("content-type", MANIFEST)
            if ref != digest:
                self._tagged.setdefault(name, {})[ref] = digest
        if self.keeper is not None:
            source = str(labels.get("org.opencontainers.image.source", "")).removesuffix("/")
            self.keeper.pushed(name, digest, "" if ref == digest else ref, "/".join(source.split("/")[-2:]))
        return Response(status_code=201, headers={"docker-content-digest": digest})

    def tagged(self, name: str, tag: str) -> str:
        """The digest that a pull of this tag gets, or ''."""
        digest = self._tagged.get(name, {}).get(tag, "")
        return "" if not digest or self._gone(name, digest) else digest

    def _gone(self, name: str, digest: str) -> bool:
        return self.keeper is not None and self.keeper.gone(name, digest)

    def _manifest(self, request: Request) -> Response:
        name, ref = request.path_params["name"], request.path_params["ref"]
        digest = self._tagged.get(name, {}).get(ref, ref)
        found = self._manifests.get(name, {}).get(digest)
        if found is None or self._gone(name, digest):
            return _error("MANIFEST_UNKNOWN", f"{name}:{ref}")
        return _answer(request, found, self._kinds.get(digest, MANIFEST), digest)

    def _blob(self, request: Request) -> Response:
        name, digest = request.path_params["name"], request.path_params["digest"]
        found = self._blobs.get((name, digest))
        if found is None:
            return _error("BLOB_UNKNOWN", digest)
        return _answer(request, found, "application/octet-stream", digest)


def _answer(request: Request, data: bytes, kind: str, digest: str) -> Response:
    headers = {"docker-content-digest": digest, "content-type": kind, "content-length": str(len(data))}
    return Response(b"" if request.method == "HEAD" else data, headers=headers)


def _error(code: str, detail: str, status: int = 404) -> Response:
    return JSONResponse({"errors": [{"code": code, "message": code.lower(), "detail": detail}]}, status_code=status)


def _denied() -> Response:
    return _error("DENIED", "permission_denied: the token provided does not match expected scopes.", 403)


def _descriptor(kind: str, data: bytes) -> dict[str, Any]:
    return {"mediaType": kind, "digest": digest_of(data), "size": len(data)}


def _pack(layer: Layer) -> tuple[bytes, bytes]:
    """A layer as a tar, plain and zipped."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for path, data in layer.files.items():
            info = tarfile.TarInfo(path)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue(), gzip.compress(out.getvalue(), mtime=0)

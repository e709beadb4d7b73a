"""A small public registry of container images, as the OCI distribution specification says: anonymous pull, no push.

Paths, headers and error codes: github.com/opencontainers/distribution-spec, "Pull"; media types: OCI image-spec.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

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


class ImageRange:
    """``asgi`` is the app; ``push`` puts an image there; ``reset`` forgets all."""

    def __init__(self, switchboard: Switchboard) -> None:
        self._lock = threading.Lock()
        self.reset()
        methods = ["GET", "HEAD"]
        app = Starlette(routes=[
            Route("/v2/", self._version, methods=methods),
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

    def _version(self, _request: Request) -> Response:
        return JSONResponse({}, headers={"docker-distribution-api-version": "registry/2.0"})

    def _tags(self, request: Request) -> Response:
        name = request.path_params["name"]
        tags = self._tagged.get(name)
        return JSONResponse({"name": name, "tags": sorted(tags)}) if tags else _error("NAME_UNKNOWN", name)

    def _manifest(self, request: Request) -> Response:
        name, ref = request.path_params["name"], request.path_params["ref"]
        digest = self._tagged.get(name, {}).get(ref, ref)
        found = self._manifests.get(name, {}).get(digest)
        if found is None:
            return _error("MANIFEST_UNKNOWN", f"{name}:{ref}")
        return _answer(request, found, MANIFEST, digest)

    def _blob(self, request: Request) -> Response:
        name, digest = request.path_params["name"], request.path_params["digest"]
        found = self._blobs.get((name, digest))
        if found is None:
            return _error("BLOB_UNKNOWN", digest)
        return _answer(request, found, "application/octet-stream", digest)


def _answer(request: Request, data: bytes, kind: str, digest: str) -> Response:
    headers = {"docker-content-digest": digest, "content-type": kind, "content-length": str(len(data))}
    return Response(b"" if request.method == "HEAD" else data, headers=headers)


def _error(code: str, detail: str) -> Response:
    return JSONResponse({"errors": [{"code": code, "message": code.lower(), "detail": detail}]}, status_code=404)


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

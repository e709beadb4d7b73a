"""A registry of container images as the OCI distribution specification says, and the service that sells bearers for it.

Paths and codes: github.com/opencontainers/distribution-spec; the service of tokens: docs.docker.com, "Registry
authentication". Who signs in and may do what, a subclass says.
"""

from __future__ import annotations

import base64
import binascii
import secrets
import uuid
from abc import abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, ClassVar

from bot.range.images import MANIFEST, digest_of
from bot.range.registries.server import RegistryServer, Token, iso
from bot.range.served import Asked, Handler, Problem, Said

BEARER_LIFE = timedelta(minutes=5)
SERVICE = "registry.docker.io"
_DOCKER = "application/vnd.docker.distribution.manifest"
INDEXES = ("application/vnd.oci.image.index.v1+json", f"{_DOCKER}.list.v2+json")
TAKEN = (MANIFEST, f"{_DOCKER}.v2+json", *INDEXES)


@dataclass(slots=True, kw_only=True)
class Tag:
    """Where a tag leads, since when, and who has pushed it."""

    digest: str
    at: datetime
    by: str


@dataclass(slots=True, kw_only=True)
class Image:
    """A repository: what its tags lead to, and every manifest and blob that was pushed."""

    name: str  # NAMESPACE/NAME
    private: bool = False
    tags: dict[str, Tag] = field(default_factory=dict)
    manifests: dict[str, tuple[str, bytes]] = field(default_factory=dict)  # digest -> media type, document
    blobs: dict[str, bytes] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bearer:
    """What the registry is asked with, and what it allows: repository -> actions."""

    user: str
    until: datetime
    access: dict[str, tuple[str, ...]]


def _refused(status: int, code: str, message: str) -> Problem:
    return Problem(status, {"errors": [{"code": code, "message": message, "detail": {}}]})


class OciRegistry(RegistryServer):
    """``routes`` are those of the registry and of its service of tokens."""

    def empty(self) -> None:
        self.images: dict[str, Image] = {}
        self.bearers: dict[str, Bearer] = {}
        self.uploads: dict[str, str] = {}  # upload -> repository
        self.begun = 0

    @abstractmethod
    def signed_in(self, name: str, secret: str) -> tuple[str, Token | None]:
        """Whose secret it is, under the name that stands beside it. Raises 401."""

    @abstractmethod
    def allowed(self, user: str, token: Token | None, image: Image) -> tuple[str, ...]:
        """What an account may do to a repository with what it has signed in with: pull, push, delete."""

    def pushed(self, image: Image, tag: str, by: str) -> None:
        """A tag has been made to lead somewhere."""

    def sell(self, asked: Asked) -> Any:
        """``auth.docker.io/token``: never an error because of what was asked for, only because of who asks."""
        if asked.query.get("service") != SERVICE:
            raise Problem(400, {"details": "missing service parameter"}, reads=True)
        said, user, token = asked.headers.get("authorization", ""), "", None
        if said:
            try:
                user, _, secret = base64.b64decode(said.removeprefix("Basic "), validate=True).decode().partition(":")
            except (binascii.Error, ValueError):
                raise Problem(401, {"details": "incorrect username or password"}) from None
            user, token = self.signed_in(user, secret)
        access: dict[str, tuple[str, ...]] = {}
        kind, _, rest = asked.query.get("scope", "").partition(":")
        name, _, wanted = rest.partition(":")
        if kind == "repository":
            image = self.images.get(name) or Image(name=name, private=True)
            allowed = self.allowed(user, token, image) if user else () if image.private else ("pull",)
            access[name] = tuple(act for act in wanted.split(",") if act in allowed)
        value = f"eyJ{secrets.token_urlsafe(48)}"
        self.bearers[value] = Bearer(user=user, until=self.clock.now() + BEARER_LIFE, access=access)
        body = {"token": value, "access_token": value, "expires_in": 300, "issued_at": iso(self.clock.now())}
        return Said(body, reads=True)

    def _by_bearer(self, asked: Asked, act: str, name: str = "") -> Bearer:
        """Who asks the registry. Raises 401 with the challenge that says where a bearer is sold, and for what."""
        found = self.bearers.get(asked.headers.get("authorization", "").removeprefix("Bearer "))
        live = found is not None and found.until > self.clock.now()
        if found is not None and live and (not act or act in found.access.get(name, ())):
            return found
        scope = f',scope="repository:{name}:{"pull,push" if act == "push" else act}"' if act else ""
        why = ',error="insufficient_scope"' if live else ',error="invalid_token"' if found else ""
        challenge = f'Bearer realm="{self.base_url}/token",service="{SERVICE}"{scope}{why}'
        body = {"errors": [{"code": "UNAUTHORIZED", "message": "authentication required", "detail": None}]}
        raise Problem(401, body, headers={"www-authenticate": challenge})

    # the registry

    def version(self, asked: Asked) -> Any:
        self._by_bearer(asked, "")
        return Said({}, headers={"docker-distribution-api-version": "registry/2.0"})

    def _at(self, asked: Asked, act: str) -> tuple[Image, Bearer]:
        name = asked.words["name"]
        bearer = self._by_bearer(asked, act, name)
        found = self.images.get(name)
        if found is None:
            if act != "push":
                raise _refused(404, "NAME_UNKNOWN", "repository name not known to registry")
            found = self.images.setdefault(name, Image(name=name))
        return found, bearer

    def tag_names(self, asked: Asked) -> Any:
        image, _ = self._at(asked, "pull")
        return {"name": image.name, "tags": sorted(image.tags)}

    def manifest(self, asked: Asked) -> Any:
        image, _ = self._at(asked, "pull")
        ref = asked.words["ref"]
        digest = image.tags[ref].digest if ref in image.tags else ref
        if digest not in image.manifests:
            raise _refused(404, "MANIFEST_UNKNOWN", "manifest unknown")
        kind, data = image.manifests[digest]
        return Said(data, content_type=kind, headers={"docker-content-digest": digest})

    def put_manifest(self, asked: Asked) -> Any:
        image, bearer = self._at(asked, "push")
        ref, kind, data = asked.words["ref"], asked.headers.get("content-type", ""), asked.raw
        digest = digest_of(data)
        if kind not in TAKEN or asked.json.get("mediaType", kind) != kind:
            raise _refused(400, "MANIFEST_INVALID", "manifest invalid")
        if ref.startswith("sha256:") and ref != digest:
            raise _refused(400, "DIGEST_INVALID", "provided digest did not match uploaded content")
        for row, held in self._parts(image, asked.json, kind):
            if row.get("digest") not in held:
                raise _refused(400, "MANIFEST_BLOB_UNKNOWN", "blob unknown to registry")
        image.manifests[digest] = (kind, data)
        if not ref.startswith("sha256:"):
            image.tags[ref] = Tag(digest=digest, at=self.clock.now(), by=bearer.user)
            self.pushed(image, ref, bearer.user)
        where = f"{self.base_url}/v2/{image.name}/manifests/{digest}"
        return Said(b"", 201, headers={"docker-content-digest": digest, "location": where})

    def _parts(self, image: Image, said: dict[str, Any], kind: str) -> Iterable[tuple[dict[str, Any], Any]]:
        if kind in INDEXES:
            return [(row, image.manifests) for row in said.get("manifests") or ()]
        config = said.get("config") or {}
        return [(row, image.blobs) for row in (config, *(said.get("layers") or ()))]

    def delete_manifest(self, asked: Asked) -> Any:
        image, _ = self._at(asked, "delete")
        digest = asked.words["ref"]
        if digest not in image.manifests:
            raise _refused(404, "MANIFEST_UNKNOWN", "manifest unknown")
        if any(tag.digest == digest for tag in image.tags.values()):
            raise _refused(403, "DENIED", "manifest is referenced by a tag")
        del image.manifests[digest]
        return Said(b"", 202)

    def blob(self, asked: Asked) -> Any:
        image, _ = self._at(asked, "pull")
        data = image.blobs.get(asked.words["digest"])
        if data is None:
            raise _refused(404, "BLOB_UNKNOWN", "blob unknown to registry")
        return Said(data, headers={"docker-content-digest": asked.words["digest"]})

    def begin_upload(self, asked: Asked) -> Any:
        image, _ = self._at(asked, "push")
        self.begun += 1
        upload = str(uuid.UUID(int=self.begun))  # the same in each run
        self.uploads[upload] = image.name
        where = f"{self.base_url}/v2/{image.name}/blobs/uploads/{upload}?state=range"
        return Said(b"", 202, headers={"location": where, "docker-upload-uuid": upload, "range": "0-0"})

    def end_upload(self, asked: Asked) -> Any:
        image, _ = self._at(asked, "push")
        if self.uploads.pop(asked.words["upload"], "") != image.name:
            raise _refused(404, "BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry")
        digest = digest_of(asked.raw)
        if asked.query.get("digest") != digest:
            raise _refused(400, "DIGEST_INVALID", "provided digest did not match uploaded content")
        image.blobs[digest] = asked.raw
        where = f"{self.base_url}/v2/{image.name}/blobs/{digest}"
        return Said(b"", 201, headers={"docker-content-digest": digest, "location": where})

    _NAME: ClassVar[str] = "/v2/(?P<name>[a-z0-9]+/[a-z0-9._-]+)"
    routes: ClassVar[tuple[tuple[str, str, Handler], ...]] = (
        ("GET", "/token", sell),
        ("GET", "/v2/", version),
        ("GET", f"{_NAME}/tags/list", tag_names),
        ("POST", f"{_NAME}/blobs/uploads/", begin_upload),
        ("PUT", f"{_NAME}/blobs/uploads/(?P<upload>[^/]+)", end_upload),
        ("GET", f"{_NAME}/blobs/(?P<digest>[^/]+)", blob),
        ("HEAD", f"{_NAME}/blobs/(?P<digest>[^/]+)", blob),
        ("GET", f"{_NAME}/manifests/(?P<ref>[^/]+)", manifest),
        ("HEAD", f"{_NAME}/manifests/(?P<ref>[^/]+)", manifest),
        ("PUT", f"{_NAME}/manifests/(?P<ref>[^/]+)", put_manifest),
        ("DELETE", f"{_NAME}/manifests/(?P<ref>[^/]+)", delete_manifest),
    )

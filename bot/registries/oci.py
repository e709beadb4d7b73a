"""A registry of images as the OCI distribution specification says, with a service that sells bearers for it.

github.com/opencontainers/distribution-spec ("Pull", "Push"); distribution.github.io/distribution/spec/auth/token. What
a tag leads to is a digest; to put a manifest under a tag moves it, and takes nothing but that its parts are there.
"""

from __future__ import annotations

import hashlib
from typing import Any
from urllib.parse import quote, urlencode

import requests

from bot.errors import Forbidden, NotFound, Refused, Rejected
from bot.images import Manifest, decoded_manifest
from bot.registries.http import Http

_OCI, _DOCKER = "application/vnd.oci.image", "application/vnd.docker.distribution.manifest"
ACCEPT = f"{_OCI}.index.v1+json, {_OCI}.manifest.v1+json, {_DOCKER}.list.v2+json, {_DOCKER}.v2+json"
MAX_DOCUMENT = 4 * 1024 * 1024  # the specification asks registries to take manifests of this size


class OciClient:
    """A registry as the bot's own name and token; without any, as everybody. ``pushes_with`` is what a push needs."""

    def __init__(
        self, http: Http, *, user: str, token: str, registry_url: str, auth_url: str, service: str, pushes_with: str
    ) -> None:
        self._http, self.user, self._token = http, user, token
        self._registry, self._auth = registry_url.rstrip("/"), auth_url.rstrip("/")
        self._service, self._pushes_with = service, pushes_with

    def digest(self, package: str, ref: str) -> str:
        """Of the manifest, as the registry tells it; '' when it has none."""
        try:
            answer = self._at_registry("HEAD", package, f"manifests/{quote(ref)}", "pull")
        except NotFound:
            return ""
        return str(answer.headers.get("docker-content-digest", ""))

    def manifest(self, package: str, ref: str) -> Manifest:
        """A manifest or index by tag or digest. Raises NotFound, and Rejected where its digest is not its own."""
        answer = self._at_registry("GET", package, f"manifests/{quote(ref)}", "pull")
        found = f"sha256:{hashlib.sha256(answer.content).hexdigest()}"
        if found != (ref if ref.startswith("sha256:") else answer.headers.get("docker-content-digest", found)):
            raise Rejected(f"{self._http.label} gave another manifest than {ref}", provider=self._http.provider)
        kind = str(answer.headers.get("content-type", "")).partition(";")[0]
        return Manifest(digest=found, media_type=kind, data=answer.content)

    def blob(self, package: str, digest: str) -> bytes:
        """A small blob, such as a config. Raises NotFound, and Rejected for one that is large or another."""
        data = self._at_registry("GET", package, f"blobs/{digest}", "pull").content
        if f"sha256:{hashlib.sha256(data).hexdigest()}" != digest:
            raise Rejected(f"{self._http.label} gave another blob than {digest}", provider=self._http.provider)
        return data

    def config(self, package: str, manifest: Manifest) -> dict[str, Any]:
        """The configuration of an image; {} of an index."""
        named = manifest.document.get("config") or {}
        return decoded_manifest(self.blob(package, str(named["digest"]))) if "digest" in named else {}

    def put(self, package: str, tag: str, manifest: Manifest) -> None:
        """Make a tag lead to a manifest whose blobs are there. Raises Rejected when one is not."""
        answer = self._at_registry(
            "PUT", package, f"manifests/{quote(tag)}", "pull,push", data=manifest.data,
            headers={"Content-Type": manifest.media_type},
        )  # fmt: skip
        said = answer.headers.get("docker-content-digest", manifest.digest)
        if said != manifest.digest:
            text = f"{self._http.label} took {said} in place of {manifest.digest}"
            raise Rejected(text, provider=self._http.provider)

    def record(self, package: str, version: str) -> dict[str, Any]:
        """What the registry tells of a tag, for evidence."""
        return {"tag": version, "digest": self.digest(package, version)}

    def _sold(self, scope: str, auth: tuple[str, str] | None) -> requests.Response:
        """Ask the service of tokens for a bearer."""
        query = urlencode({"service": self._service, **({"scope": scope} if scope else {})})
        more: dict[str, Any] = {"auth": auth} if auth else {}
        return self._http.ask("GET", f"{self._auth}/token?{query}", **more)

    def _bearer(self, package: str, actions: str, *, own: bool) -> str:
        """As the bot or as everybody. Raises bot.errors."""
        auth = (self.user, self._http.own()) if own else None
        return str(self._http.reply(self._sold(f"repository:{package}:{actions}", auth), "GET /token").data["token"])

    def _at_registry(
        self, verb: str, package: str, what: str, actions: str, *, headers: dict[str, str] | None = None,
        data: bytes | None = None,
    ) -> requests.Response:  # fmt: skip
        """One call of the registry: reads as everybody where that is enough, writes as the bot."""
        writes, label, provider = actions != "pull", self._http.label, self._http.provider
        bearer = self._bearer(package, actions, own=writes or bool(self._token))
        given = {"Authorization": f"Bearer {bearer}", "Accept": ACCEPT} | (headers or {})
        answer = self._http.ask(verb, f"{self._registry}/v2/{package}/{what}", headers=given, data=data)
        if verb == "GET" and answer.is_redirect:  # a blob lies elsewhere; what is got there has to have its digest
            where = answer.headers["location"]
            if not where.startswith(("https://", self._registry)):
                raise Rejected(f"{label} sends us to {where[:100]!r}", provider=provider)
            answer = self._http.ask("GET", where)  # without the bearer
        if answer.status_code < 300:
            if len(answer.content) > MAX_DOCUMENT:
                raise Rejected(f"what {package} has there is larger than a manifest may be", provider=provider)
            return answer
        try:
            self._http.reply(answer, f"{verb} of {what.split('/')[0]} of {package}")
        except (Refused, Forbidden) as exc:
            if not writes:  # what is not there and what is private are answered alike
                raise NotFound(f"{package} is not on {label}, or not shown to us", provider=provider) from None
            raise Forbidden(
                f"{exc}: the bot's token may not push there", provider=provider, permission=self._pushes_with
            ) from None
        raise AssertionError("an error has become one of ours")

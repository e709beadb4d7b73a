"""Pull a public container image without an account, and read the files in its layers. Nothing is ever unpacked to disk.

A report names an image that anybody may have chosen, so nothing in it is trusted: where it may be pulled from is a
short list, every size has a bound, each blob must have its digest, and the path of a file is only shown, never opened.
Specification: github.com/opencontainers/distribution-spec ("Pull") and image-spec; anonymous tokens:
distribution.github.io/distribution/spec/auth/token.
"""

from __future__ import annotations

import hashlib
import ipaddress
import json
import re
import tarfile
import tempfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import IO, Any
from urllib.parse import urlencode, urljoin, urlsplit

import requests

from bot import errors, traces
from bot.reads import again

CONNECT_S, READ_S = 5.0, 30.0
MAX_DOCUMENT = 4 * 1024 * 1024  # a manifest or config; the specification asks registries to take this much
MAX_LAYER, MAX_IMAGE = 512 * 1024 * 1024, 1024 * 1024 * 1024  # packed bytes
MAX_FILE, MAX_FILES, MAX_UNPACKED = 16 * 1024 * 1024, 200_000, 4 * 1024 * 1024 * 1024
MAX_PLATFORMS, MAX_LAYERS, MAX_HOPS = 4, 127, 4
# Public registries, and where they send whoever asks for a blob or an anonymous token.
PUBLIC = ("ghcr.io", "githubusercontent.com", "docker.io", "docker.com", "quay.io")

_HOST = r"(?:localhost|(?:[a-zA-Z0-9-]+\.)+[a-zA-Z0-9-]+)(?::\d{1,5})?"
_PATH = r"[a-z0-9]+(?:[._-]+[a-z0-9]+)*(?:/[a-z0-9]+(?:[._-]+[a-z0-9]+)*)*"
IMAGE_REF = re.compile(
    rf"(?<![\w/.:@-])(?P<host>{_HOST})/(?P<name>{_PATH})(?::(?P<tag>\w[\w.-]{{0,127}})|@(?P<digest>sha256:[0-9a-f]{{64}}))"
)
_OCI, _DOCKER = "application/vnd.oci.image", "application/vnd.docker.distribution.manifest"
_ACCEPT = f"{_OCI}.index.v1+json, {_OCI}.manifest.v1+json, {_DOCKER}.list.v2+json, {_DOCKER}.v2+json"
_CHALLENGE = re.compile(r'(\w+)="([^"]*)"')


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageFile:
    """One file of one layer. A later layer may have deleted it: whoever pulls the image has it all the same."""

    layer: int  # from 1
    path: str
    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What a tag leads to. ``digest`` is that of ``data``, which was checked."""

    digest: str
    media_type: str
    data: bytes = field(repr=False)

    @property
    def document(self) -> dict[str, Any]:
        """Decoded. Raises Rejected."""
        return decoded_manifest(self.data)


def decoded_manifest(data: bytes) -> dict[str, Any]:
    """A manifest, index or config. Raises Rejected."""
    return _decoded(data, "the registry")


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """An image as the registry describes it. ``layers`` are (digest, packed size)."""

    host: str
    name: str
    digest: str
    created: str
    author: str
    labels: dict[str, str]
    texts: dict[str, str] = field(repr=False)  # environment and history: what a scanner of files would miss
    layers: tuple[tuple[str, int], ...]


class ImageClient:
    """Anonymous pull. ``loopback`` is the range's: plain http on loopback and nothing else."""

    def __init__(self, *, loopback: bool = False, hosts: tuple[str, ...] = PUBLIC) -> None:
        self._loopback, self._hosts = loopback, hosts

    def describe(self, ref: str) -> list[Image]:
        """The image, once for each platform. Raises InputError for no image reference, and bot.errors."""
        match = IMAGE_REF.fullmatch(ref)
        if match is None:
            raise errors.InputError(f"{ref[:200]!r} is not an image; write registry.example/owner/name:tag")
        host, name = match["host"], match["name"]
        document, digest = self._manifest(host, name, match["tag"] or match["digest"])
        found = [(document, digest)]
        if "manifests" in document:
            wanted = [row for row in document["manifests"] if (row.get("platform") or {}).get("os") != "unknown"]
            found = [self._manifest(host, name, str(row["digest"])) for row in wanted[:MAX_PLATFORMS]]
        return [self._image(host, name, each, digest) for each, digest in found]

    def _manifest(self, host: str, name: str, ref: str) -> tuple[dict[str, Any], str]:
        data = self._document(host, name, f"manifests/{ref}")
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        if ref.startswith("sha256:") and ref != digest:
            raise errors.Rejected(f"{host} gave another manifest than {ref}", provider="registry")
        return _decoded(data, host), digest

    def _image(self, host: str, name: str, manifest: dict[str, Any], digest: str) -> Image:
        try:
            wanted = str(manifest["config"]["digest"])
            data = self._document(host, name, f"blobs/{wanted}")
            _same(data, wanted, host)
            config = _decoded(data, host)
            run = config.get("config") or {}
            history = [str(row.get("created_by", "")) for row in config.get("history") or ()]
            layers = tuple((str(row["digest"]), int(row["size"])) for row in manifest["layers"])
        except (KeyError, TypeError, ValueError, AttributeError):
            raise errors.Rejected(f"{host} gave no readable manifest of {name}", provider="registry") from None
        if len(layers) > MAX_LAYERS or sum(size for _, size in layers) > MAX_IMAGE:
            raise errors.Rejected(f"{name} is larger than what is pulled here", provider="registry")
        labels = {str(key): str(value) for key, value in (run.get("Labels") or {}).items()}
        texts = {"environment": "\n".join(map(str, run.get("Env") or ())), "history": "\n".join(history)}
        return Image(
            host=host, name=name, digest=digest, created=str(config.get("created") or ""), texts=texts, layers=layers,
            author=str(config.get("author") or ""), labels=labels,
        )  # fmt: skip

    def files(self, image: Image) -> Iterator[ImageFile]:
        """Every regular file of every layer, each layer's in its order. Larger files are left out."""
        count = 0
        for number, (digest, size) in enumerate(image.layers, 1):
            with tempfile.TemporaryFile() as packed:  # no name on disk: gone with its descriptor
                self._layer(image, digest, size, packed)
                for path, data in _members(packed, image.host):
                    count += 1
                    if count > MAX_FILES:
                        raise errors.Rejected(f"{image.name} holds more than {MAX_FILES} files", provider="registry")
                    yield ImageFile(layer=number, path=path, data=data)

    def _layer(self, image: Image, digest: str, size: int, into: IO[bytes]) -> None:
        said, got = hashlib.sha256(), 0
        for chunk in self._stream(image.host, image.name, f"blobs/{digest}", min(size, MAX_LAYER)):
            said.update(chunk)
            got += len(chunk)
            into.write(chunk)
        if f"sha256:{said.hexdigest()}" != digest or got != size:
            raise errors.Rejected(f"{image.host} gave another layer than {digest}", provider="registry")
        into.seek(0)

    # asking -----------------------------------------------------------------------------------------------------

    def _document(self, host: str, name: str, what: str) -> bytes:
        return b"".join(self._stream(host, name, what, MAX_DOCUMENT))

    def _stream(self, host: str, name: str, what: str, most: int) -> Iterator[bytes]:
        """The body, bounded. An answer of 401 is met once with an anonymous token, as the registry asks for."""
        if host == "docker.io":
            host = "registry-1.docker.io"
        url = f"{'http' if self._loopback else 'https'}://{host}/v2/{name}/{what}"
        headers = {"Accept": _ACCEPT}
        with requests.Session() as session:
            session.trust_env = False  # no ~/.netrc, no proxy of the machine
            answer = self._get(session, url, headers)
            if answer.status_code == requests.codes.unauthorized:
                headers["Authorization"] = f"Bearer {self._anonymous(session, answer, name)}"
                answer = self._get(session, url, headers)
            with answer:
                _check(answer, f"{host}/{name}", what)
                left = most
                try:
                    for chunk in answer.iter_content(1 << 16):
                        left -= len(chunk)
                        if left < 0:
                            raise errors.Rejected(f"{host} sends more than it said for {what}", provider="registry")
                        yield chunk
                except requests.RequestException as exc:
                    failure = type(exc).__name__
                else:
                    return
        raise errors.Unavailable(f"{host} broke off ({failure})", provider="registry")

    def _get(self, session: requests.Session, url: str, headers: dict[str, str]) -> requests.Response:
        """GET, redirects followed by hand: each hop must be allowed, and the token stays with the registry."""
        first = urlsplit(url).netloc
        for _ in range(MAX_HOPS):
            self._allowed(url)
            sent = headers if urlsplit(url).netloc == first else {}
            answer = again(partial(_once, session, url, sent))
            if not answer.is_redirect:
                return answer
            url = urljoin(url, answer.headers["location"])
            answer.close()
        raise errors.Rejected(f"{first} redirects more than {MAX_HOPS} times", provider="registry")

    def _allowed(self, url: str) -> None:
        parts = urlsplit(url)
        host = (parts.hostname or "").lower()
        if self._loopback:
            try:
                fine = parts.scheme == "http" and ipaddress.ip_address(host).is_loopback
            except ValueError:
                fine = False
        else:
            fine = parts.scheme == "https" and any(host == each or host.endswith(f".{each}") for each in self._hosts)
        if not fine or parts.username or parts.password:
            said = "the range's own" if self._loopback else ", ".join(self._hosts)
            raise errors.InputError(f"images are not pulled from {host[:100]!r}; known registries are {said}")

    def _anonymous(self, session: requests.Session, answer: requests.Response, name: str) -> str:
        asked = dict(_CHALLENGE.findall(answer.headers.get("www-authenticate", "")))
        answer.close()
        query = {k: asked[k] for k in ("service",) if k in asked} | {"scope": f"repository:{name}:pull"}
        with self._get(session, f"{asked.get('realm', '')}?{urlencode(query)}", {}) as told:
            _check(told, name, "an anonymous token")
            try:
                found = _decoded(told.raw.read(MAX_DOCUMENT, decode_content=True), name)
            except requests.RequestException:
                found = {}
        return str(found.get("token") or found.get("access_token") or "")


def _once(session: requests.Session, url: str, headers: dict[str, str]) -> requests.Response:
    host = urlsplit(url).netloc
    try:
        with traces.span("request", provider="registry", method="GET") as say:
            answer = session.get(url, headers=headers, timeout=(CONNECT_S, READ_S), allow_redirects=False, stream=True)
            say(status=answer.status_code)
    except requests.RequestException as exc:
        failure = type(exc).__name__
        raise errors.Unavailable(f"{host} does not answer ({failure})", provider="registry") from None
    if answer.status_code >= 500:
        answer.close()
        raise errors.Unavailable(f"{host} does not answer: {answer.status_code}", provider="registry")
    return answer


def _check(answer: requests.Response, where: str, what: str) -> None:
    status = answer.status_code
    if status == requests.codes.ok:
        return
    said = f"{where} answers {status} to {what}"
    if status in (401, 403, 404):
        raise errors.NotFound(f"{said}: it is not there, or not public", provider="registry", code=str(status))
    if status == requests.codes.too_many_requests:
        raise errors.RateLimited(said, provider="registry", code=str(status), retry_after=60.0)
    raise errors.Rejected(said, provider="registry", code=str(status))


def _decoded(data: bytes, host: str) -> dict[str, Any]:
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise errors.Rejected(f"{host} gave a document that is no JSON object", provider="registry")
    return found


def _same(data: bytes, digest: str, host: str) -> None:
    if f"sha256:{hashlib.sha256(data).hexdigest()}" != digest:
        raise errors.Rejected(f"{host} gave another blob than {digest}", provider="registry")


def _members(packed: IO[bytes], host: str) -> Iterator[tuple[str, bytes]]:
    """The regular files of a packed layer, read one after the other; no more is unpacked than ``MAX_UNPACKED``."""
    failure = ""
    try:
        with tarfile.open(fileobj=_Bounded(packed), mode="r|") as archive:  # type: ignore[call-overload]
            for member in archive:
                if member.isreg() and member.size <= MAX_FILE:
                    file = archive.extractfile(member)  # a reader over the stream: nothing is written anywhere
                    if file is not None:
                        yield member.name, file.read()
    except (tarfile.TarError, zlib.error, EOFError, ValueError) as exc:
        failure = type(exc).__name__
    if failure:
        raise errors.Rejected(f"a layer from {host} cannot be read ({failure})", provider="registry")


class _Bounded:
    """A layer's tar, unzipped as it is read, up to a bound. A plain tar passes as it is."""

    def __init__(self, packed: IO[bytes]) -> None:
        self._packed, self._left, self._rest = packed, MAX_UNPACKED, b""
        head = packed.read(2)
        packed.seek(0)
        self._unzip = zlib.decompressobj(wbits=31) if head == b"\x1f\x8b" else None

    def read(self, size: int = -1) -> bytes:
        wanted = size if size >= 0 else 1 << 20
        out = self._plain(wanted)
        self._left -= len(out)
        if self._left < 0:
            raise ValueError("more than what is unpacked here")
        return out

    def _plain(self, wanted: int) -> bytes:
        if self._unzip is None:
            return self._packed.read(wanted)
        while True:
            data = self._unzip.unconsumed_tail or self._packed.read(1 << 16)
            out = self._unzip.decompress(data, wanted)
            if out or not data:
                return out

"""``docker`` as a job or a thief of the range uses it: sign in, push, and what a pull by a tag's name gets.

The steps are those of docs.docker.com/reference/api/registry ("Pushing Images"): a bearer from the service of tokens,
the blobs, then the manifest under each tag.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http import HTTPStatus

from bot.range.images import MANIFEST, Layer, built, digest_of
from bot.range.registries.oci import SERVICE
from bot.range.registries.packages import PublishFailed, send

_BUILT = datetime(2026, 1, 1, tzinfo=UTC)  # always the same bytes


def image(name: str, files: Mapping[str, bytes]) -> tuple[bytes, list[bytes]]:
    """The manifest and the blobs of an image of one layer."""
    source = {"org.opencontainers.image.title": name}
    blobs, document = built([Layer(made_by="COPY . /app", files=dict(files))], created=_BUILT, labels=source)
    return document, list(blobs.values())


def bearer(url: str, user: str, secret: str, scope: str = "") -> tuple[int, str]:
    """Buy a bearer: the status, and the bearer or ''. Without ``scope`` it is good for nothing, as after a sign-in."""
    query = f"?service={SERVICE}" + (f"&scope={scope}" if scope else "")
    answer = send("GET", f"{url}/token{query}", auth=(user, secret) if user else None)
    return answer.status_code, answer.json()["token"] if answer.status_code == HTTPStatus.OK else ""


def push(url: str, token: str, name: str, tags: Iterable[str], made: tuple[bytes, list[bytes]]) -> int:
    """Push an image under its tags with a bearer; the status of the first call that is refused, or 201."""
    document, blobs = made
    headers, base = {"Authorization": f"Bearer {token}"}, f"{url}/v2/{name}"
    for blob in blobs:
        digest = digest_of(blob)
        if send("HEAD", f"{base}/blobs/{digest}", headers=headers).status_code == HTTPStatus.OK:
            continue
        begun = send("POST", f"{base}/blobs/uploads/", headers=headers)
        if begun.status_code != HTTPStatus.ACCEPTED:
            return begun.status_code
        send("PUT", f"{begun.headers['location']}&digest={digest}", headers=headers, data=blob)
    status: int = HTTPStatus.CREATED
    for tag in tags:
        kind = headers | {"Content-Type": MANIFEST}
        status = send("PUT", f"{base}/manifests/{tag}", headers=kind, data=document).status_code
        if status != HTTPStatus.CREATED:
            break
    return status


def pulled(url: str, name: str, tag: str) -> str:
    """The digest that anybody gets who pulls a tag; '' when there is none."""
    _, token = bearer(url, "", "", f"repository:{name}:pull")
    answer = send("HEAD", f"{url}/v2/{name}/manifests/{tag}", headers={"Authorization": f"Bearer {token}"})
    return str(answer.headers["docker-content-digest"]) if answer.status_code == HTTPStatus.OK else ""


@dataclass(slots=True)
class Docker:
    """The command of one job: who has signed in, and the images that it has built, by their names with a tag."""

    url: str
    auth: tuple[str, str] = ("", "")
    built: dict[str, tuple[bytes, list[bytes]]] = field(default_factory=dict, repr=False)

    def build(self, words: list[str], files: Mapping[str, bytes]) -> None:
        """``docker build -t NAME .``; what is built under no name cannot be pushed."""
        match words:
            case ["build", "-t", name, "."]:
                self.built[name] = image(name, files)

    def run(self, words: list[str], given: str) -> str:
        """``docker login``, ``tag`` or ``push``; what it prints. Raises PublishFailed."""
        match words:
            case ["login", "-u", user, "--password-stdin"]:
                return self._login(user, given.strip())
            case ["tag", name, other] if name in self.built:
                self.built[other] = self.built[name]
                return ""
            case ["push", name] if name in self.built:
                return self._push(name)
            case _:
                raise PublishFailed(f"the range's docker cannot do this: {' '.join(words)[:100]}")

    def _login(self, user: str, secret: str) -> str:
        status, _ = bearer(self.url, user, secret)
        if status != HTTPStatus.OK:
            raise PublishFailed("Error response from daemon: unauthorized: incorrect username or password")
        self.auth = (user, secret)
        return "Login Succeeded\n"

    def _push(self, name: str) -> str:
        repository, _, tag = name.partition(":")
        _, token = bearer(self.url, *self.auth, f"repository:{repository}:pull,push")
        status = push(self.url, token, repository, [tag or "latest"], self.built[name])
        if status != HTTPStatus.CREATED:
            raise PublishFailed(f"denied: requested access to the resource is denied ({status})")
        return f"{tag or 'latest'}: digest: {json.dumps(digest_of(self.built[name][0]))}\n"

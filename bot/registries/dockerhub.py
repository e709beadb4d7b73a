"""Docker Hub: the Hub's API for tags and its log; the registry for what a tag leads to is ``oci``.

docs.docker.com/reference/api/hub, /reference/api/registry and /security/access-tokens/reference. Here a package is a
repository and a version a tag, and a tag can be moved: what it leads to is a digest, which only the registry tells.
Whoever signs in gives a name beside the token, so a token alone says nothing of itself. No token may list or revoke
tokens (docker/hub-feedback#2478): a JWT that a token has bought is answered 403, or it would pass by the second factor.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

from bot.errors import Forbidden, NotFound, ProviderError, Rejected
from bot.model import Liveness, Release, Secret
from bot.registries.http import Http, github_home, utc
from bot.registries.oci import OciClient
from bot.world import Reply

HUB, REGISTRY, AUTH = "https://hub.docker.com", "https://registry-1.docker.io", "https://auth.docker.io"
SERVICE = "registry.docker.io"
KINDS = ("dockerhub-pat", "dockerhub-oat")
OUTLIVES_S = 600  # a JWT of the Hub's API; a bearer of the registry lives for half of that
PAGE, MOST_PAGES = 100, 20
PUSHED = "repo.tag.push"
SOURCE = "org.opencontainers.image.source"
# Where a workflow names images: docker's own command, and the inputs of docker/build-push-action and metadata-action.
_NAMING = re.compile(
    r"docker(?: +image)? +(?:push|tag)|docker +(?:buildx +)?build|--tag\b|(?<!\w)-t\b|\b(?:tags|images):"
)
_IMAGE = re.compile(
    r"(?<![\w./@:-])(?:(?:index\.|registry-1\.)?docker\.io/)?([a-z0-9]{4,30}/[a-z0-9]+(?:[._-]+[a-z0-9]+)*)(?=[:@\s\"',]|\Z)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Push:
    """A line of an organization's activity log: what a tag was made to lead to, when, and by whom."""

    tag: str
    digest: str
    at: str  # ISO 8601 UTC
    by: str


class DockerHubClient(OciClient):
    """Docker Hub as the bot's own name and token, or as those that are being tried; without any, as everybody."""

    label = "Docker Hub"

    def __init__(
        self,
        *,
        user: str = "",
        token: str = "",
        base_url: str = HUB,
        registry_url: str = REGISTRY,
        auth_url: str = AUTH,
    ) -> None:
        http = Http(
            label=self.label, provider="dockerhub", base_url=base_url, token=token, setting="BULKHEAD_DOCKERHUB_TOKEN",
            hosts=(registry_url, auth_url),
        )  # fmt: skip
        super().__init__(
            http, user=user, token=token, registry_url=registry_url, auth_url=auth_url, service=SERVICE,
            pushes_with="scope-image-push",
        )  # fmt: skip

    # tokens

    def tried(self, secret: Secret, account: str = "") -> tuple[Liveness, str]:
        """A sign-in without asking for anything: what it buys is good for nothing."""
        if not account:
            return (
                Liveness.UNKNOWN,
                "Docker Hub asks for the account's name beside a token, and whose it is is not known",
            )
        answer = self._sold("", (account, secret.reveal()))
        if answer.status_code == 200:
            return Liveness.LIVE, f"Docker Hub lets {account} sign in with it"
        if answer.status_code == 401:
            return Liveness.DEAD, f"Docker Hub refuses it: 401 to a sign-in as {account}"
        self._http.reply(answer, "GET /token")
        return Liveness.UNKNOWN, f"Docker Hub answered {answer.status_code} to a sign-in as {account}"

    def packages_of(self, secret: Secret, account: str = "") -> tuple[str, ...]:
        """The repositories of the account's own name; where else it may push, neither it nor Docker Hub tells."""
        if not account:
            return ()
        try:
            return tuple(
                f"{account}/{row['name']}" for row in self._rows(f"/v2/namespaces/{quote(account)}/repositories")
            )
        except (NotFound, Forbidden):
            return ()

    def names_a_package(self, path: str) -> bool:
        """No file at a repository's root says where its images go: the workflows do."""
        return False

    def named_in(self, path: str, text: str) -> str:
        return ""

    # tags

    def releases(self, package: str) -> tuple[Release, ...]:
        return tuple(self._release(package, row) for row in self._rows(f"{_path(package)}/tags"))

    def _release(self, package: str, row: dict[str, Any]) -> Release:
        at = str(row.get("tag_last_pushed") or row.get("last_updated") or "")
        return Release(
            package=package, version=str(row["name"]), at=utc(at), by=str(row.get("last_updater_username") or "")
        )  # fmt: skip

    def pushes(self, package: str) -> tuple[Push, ...]:
        """What the activity log of its organization says of its tags, newest first. Raises Forbidden and NotFound.

        Personal accounts have no such log, and a token needs the scope for it.
        """
        return tuple(
            Push(tag=str(row["data"]["tag"]), digest=str(row["data"]["digest"]), at=utc(row["timestamp"]),
                 by=str(row.get("actor") or ""))
            for row in self._log(package)
        )  # fmt: skip

    def _log(self, package: str) -> list[dict[str, Any]]:
        """The pushes of the log as it tells them. Raises Forbidden and NotFound."""
        found: list[dict[str, Any]] = []
        for number in range(1, MOST_PAGES + 1):
            query = urlencode({"action": PUSHED, "name": package, "page": number, "page_size": PAGE})
            rows = self._own("GET", f"/v2/auditlogs/{quote(package.split('/')[0])}?{query}").data.get("logs") or ()
            found += rows
            if len(rows) < PAGE:
                break
        return found

    def owners(self, package: str) -> tuple[str, ...]:
        """Nobody: Docker Hub tells nobody who may push to a repository."""
        return ()

    def home(self, package: str) -> str:
        """What the image that ``latest`` leads to says of its source (OCI image-spec, "Annotations")."""
        try:
            labels = (self.config(package, self.manifest(package, "latest")).get("config") or {}).get("Labels") or {}
        except (NotFound, Rejected):
            return ""
        return github_home((labels.get(SOURCE),))

    def documents(self, package: str) -> Iterator[tuple[str, Any]]:
        """Its tags, each with its last push; and where it may be read, the log of its organization with every push."""
        tags = list(self._rows(f"{_path(package)}/tags"))
        yield f"{self._http.base}{_path(package)}/tags", {"count": len(tags), "results": tags}
        if not self._token:
            return
        try:
            yield f"{self._http.base}/v2/auditlogs/{package}", {"logs": self._log(package)}
        except (Forbidden, NotFound):
            return  # a personal account has none, and a token needs the scope for it

    def record(self, package: str, version: str) -> dict[str, Any]:
        try:
            log: Any = [vars_of(each) for each in self.pushes(package) if each.tag == version]
        except ProviderError as exc:
            log = str(exc)
        return {"tag": self._read(f"{_path(package)}/tags/{quote(version)}"), "activity": log}

    def is_default(self, package: str, version: str) -> bool:
        """Whether a pull of this tag gets anything."""
        return self.digest(package, version) != ""

    def delete_tag(self, package: str, tag: str) -> None:
        """Once. What it led to stays where it is. Raises NotFound, and Forbidden for a personal token."""
        self._own("DELETE", f"{_path(package)}/tags/{quote(tag)}")

    # asking

    def download(self, url: str) -> bytes:
        return self._http.download(url)

    def send(self, verb: str, path: str, *, body: Any = None, form: dict[str, str] | None = None) -> Reply:
        return self._own(verb, path, json=body, data=form)

    def send_as(self, secret: Secret, verb: str, path: str) -> Reply:
        raise Rejected("Docker Hub lets no token manage tokens", provider="dockerhub")

    def _own(self, verb: str, path: str, **more: Any) -> Reply:
        """The Hub's API as the bot. A JWT lives for ten minutes, so each call buys one."""
        bought = self._http.ask(
            "POST", f"{self._http.base}/v2/auth/token", json={"identifier": self.user, "secret": self._http.own()}
        )
        jwt = self._http.reply(bought, "POST /v2/auth/token").data["access_token"]
        answer = self._http.ask(
            verb, self._http.base + path, headers={"Authorization": f"Bearer {jwt}"}, **more
        )  # fmt: skip
        return self._http.reply(answer, f"{verb} {path}")

    def _read(self, path: str) -> Any:
        """A document of the Hub's API, as the bot where it has a token: private repositories are shown to it alone."""
        return self._own("GET", path).data if self._token else self._http.get(path)

    def _rows(self, path: str) -> Iterator[dict[str, Any]]:
        for number in range(1, MOST_PAGES + 1):
            page = self._read(f"{path}?page={number}&page_size={PAGE}")
            yield from page.get("results") or ()
            if not page.get("next"):
                return


def images_in(workflow: str) -> tuple[str, ...]:
    """The repositories of Docker Hub that a workflow builds, tags or pushes, as far as its text names them."""
    found, indent = [], -1
    for line in workflow.splitlines():
        deep = len(line) - len(line.lstrip())
        if named := _NAMING.search(line):
            indent = deep if line.rstrip().endswith(("|", ">", "|-", ">-")) and ":" in named.group() else -1
        elif indent >= 0 and line.strip() and deep <= indent:
            indent = -1
        if named or indent >= 0:  # a line that names images, or one of the block under such a key
            found += [match[1] for match in _IMAGE.finditer(line)]
    return tuple(dict.fromkeys(found))


def vars_of(push: Push) -> dict[str, str]:
    """A push as evidence shows it."""
    return {"tag": push.tag, "digest": push.digest, "at": push.at, "by": push.by}


def _path(package: str) -> str:
    """Where the Hub's API has a repository. Raises Rejected for what is none."""
    namespace, _, name = package.partition("/")
    if not name or "/" in name:
        raise Rejected(f"{package[:100]!r} is no repository of Docker Hub", provider="dockerhub")
    return f"/v2/namespaces/{quote(namespace)}/repositories/{quote(name)}"

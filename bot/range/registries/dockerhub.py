"""The range's Docker Hub: the Hub's API under ``/hub``, beside the registry and its service of tokens (``oci``).

What it holds to (docs.docker.com/reference/api/hub, /reference/api/registry and /security/access-tokens/reference):

- whoever signs in gives a name beside the token: a user's for a personal one, the organization's for its own;
- the registry asks for a bearer of its own, which the service of tokens sells: it holds what was asked for and is
  allowed, lives for five minutes, and outlives the token that bought it;
- a JWT for the Hub's API lives for ten. One that a personal token bought is refused wherever people and tokens are
  managed, and where tags are deleted: else it would go round the second factor (docker/hub-feedback#2006 and #2478);
- an organization's token does what its scopes say, on the repositories that it names;
- to delete a tag leaves its manifest where it is; a manifest that a tag leads to cannot be deleted.
"""

from __future__ import annotations

import secrets
import string
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, ClassVar

from bot.range.images import MANIFEST, digest_of
from bot.range.registries.oci import Image, OciRegistry, Tag
from bot.range.registries.server import Token, iso
from bot.range.served import Asked, Handler, Problem, Said

JWT_LIFE = timedelta(minutes=10)
# What a personal token may do at the registry, and the scopes of an organization's token that allow the same.
PERSONAL = {
    "repo:public_read": ("pull",), "repo:read": ("pull",), "repo:write": ("pull", "push"),
    "repo:admin": ("pull", "push", "delete"),
}  # fmt: skip
BY_SCOPE = {
    "pull": {"scope-image-pull", "scope-image-push", "scope-image-delete"},
    "push": {"scope-image-push", "scope-image-delete"}, "delete": {"scope-image-delete"},
}  # fmt: skip
_ALNUM = string.ascii_letters + string.digits + "-_"


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A JWT of the Hub's API. ``token`` is what it was bought with; None for a password."""

    user: str
    until: datetime
    token: Token | None


def _said(status: int, message: str, *, reads: bool = False) -> Problem:
    return Problem(status, {"message": message, "errinfo": {}}, reads=reads)


class DockerHub(OciRegistry):
    name = "dockerhub"

    def empty(self) -> None:
        super().empty()
        self.orgs: dict[str, set[str]] = {}  # organization -> its owners
        self.passwords: dict[str, str] = {}
        self.numbers: dict[str, str] = {}  # value of a token -> its UUID
        self.sessions: dict[str, Session] = {}
        self.log: list[dict[str, Any]] = []  # what an organization's activity log says

    # accounts

    def add_org(self, name: str, owner: str) -> None:
        """An organization, and who owns it."""
        self.add_user(owner)
        self.orgs.setdefault(name, set()).add(owner)

    def password(self, user: str) -> str:
        """The password of an account, which no program of the company has."""
        return self.passwords.setdefault(user, f"made-up-{secrets.token_hex(12)}")

    def make_value(self, user: str, packages: tuple[str, ...]) -> str:
        start, count = ("dckr_oat_", 32) if user in self.orgs else ("dckr_pat_", 27)
        value = start + "".join(secrets.choice(_ALNUM) for _ in range(count))
        self.numbers[value] = str(uuid.UUID(int=len(self.numbers) + 1))  # the same in each run
        return value

    def values(self) -> list[str]:
        """Every secret that it knows, with what tokens have bought."""
        return [*super().values(), *self.passwords.values(), *self.sessions, *self.bearers]

    def signed_in(self, name: str, secret: str) -> tuple[str, Token | None]:
        """Whose secret it is, under the name that stands beside it. Raises 401."""
        token = self.live(secret)
        if token is not None and token.user == name:
            return name, token
        if self.passwords.get(name) == secret and secret:
            return name, None
        raise _said(401, "incorrect username or password", reads=True)

    # the Hub's API

    def sign_in(self, asked: Asked) -> Any:
        user, token = self.signed_in(str(asked.json.get("identifier")), str(asked.json.get("secret")))
        jwt = f"eyJ{secrets.token_urlsafe(48)}"
        self.sessions[jwt] = Session(user=user, until=self.clock.now() + JWT_LIFE, token=token)
        return Said({"access_token": jwt}, reads=True)

    def session(self, asked: Asked, *, needed: bool = True) -> Session | None:
        """Who asks the Hub's API. Raises 401 for what is no JWT, or one of more than ten minutes ago."""
        said = asked.headers.get("authorization", "")
        if not said and not needed:
            return None
        found = self.sessions.get(said.removeprefix("Bearer "))
        if found is None or found.until <= self.clock.now():
            raise _said(401, "unauthorized")
        return found

    def _by_password(self, asked: Asked) -> Session:
        """A session in which tokens may be managed. Raises 403 for one that a token has bought."""
        found = self.session(asked)
        assert found is not None
        if found.token is not None:
            kind = "organization access token" if found.token.user in self.orgs else "personal access token"
            raise _said(403, f"token issued from {kind} is not allowed")
        return found

    def _owner(self, asked: Asked) -> str:
        """The account whose tokens are managed: one's own, or an organization that one owns. Raises 403 and 404."""
        found, org = self._by_password(asked), asked.words.get("org")
        if org is None:
            return found.user
        if org not in self.orgs:
            raise _said(404, "not found")
        if found.user not in self.orgs[org]:
            raise _said(403, "permission denied")
        return org

    def _row(self, token: Token) -> dict[str, Any]:
        shared = {"is_active": not token.revoked, "created_at": iso(token.created_at)}
        if token.user in self.orgs:
            return {"id": self.numbers[token.value], "label": token.name, "created_by": "", **shared}
        more = {"client_id": "HUB", "generated_by": "manual", "scopes": sorted(token.scopes), "token": ""}
        return {"uuid": self.numbers[token.value], "token_label": token.name, **more, **shared}

    def list_tokens(self, asked: Asked) -> Any:
        user = self._owner(asked)
        rows = [self._row(token) for token in self.tokens.values() if token.user == user]
        return _page(asked, rows)

    def _token(self, asked: Asked) -> Token:
        user = self._owner(asked)
        found = next((t for t in self.tokens.values() if self.numbers[t.value] == asked.words["uuid"]), None)
        if found is None or found.user != user:
            raise _said(404, "not found")
        return found

    def change_token(self, asked: Asked) -> Any:
        token, active = self._token(asked), asked.json.get("is_active")
        if not isinstance(active, bool):
            raise Problem(400, {"fields": {"is_active": "must be a boolean"}, "text": "invalid request"})
        token.revoked = not active
        return self._row(token)

    def delete_token(self, asked: Asked) -> Any:
        del self.tokens[self._token(asked).value]
        return Said("", 204)

    def make_token(self, asked: Asked) -> Any:
        user, said = self._owner(asked), asked.json
        scopes, label = said.get("scopes"), str(said.get("token_label") or "")
        if not label or not isinstance(scopes, list) or not set(scopes) <= set(PERSONAL):
            raise Problem(400, {"fields": {"scopes": "invalid"}, "text": "invalid request"})
        value = self.add_token(user, label, scopes=scopes)
        return Said(self._row(self.tokens[value]) | {"token": value}, 201)

    # repositories and tags at the Hub's API

    def image(self, name: str) -> Image:
        found = self.images.get(name)
        if found is None:
            raise _said(404, "object not found")
        return found

    def _named(self, asked: Asked) -> Image:
        found, session = self.image(f"{asked.words['ns']}/{asked.words['repo']}"), self.session(asked, needed=False)
        if found.private and (session is None or "pull" not in self.allowed(session.user, session.token, found)):
            raise _said(404, "object not found")
        return found

    def repositories(self, asked: Asked) -> Any:
        """Silently without the private ones for whoever may not list them."""
        session, namespace = self.session(asked, needed=False), asked.words["ns"]
        if namespace not in self.users | set(self.orgs):
            raise _said(404, "object not found")
        sees = session is not None and (
            session.token is None or "scope-repository-list" in session.token.scopes or session.user in self.users
        ) and self._belongs(session.user, namespace)  # fmt: skip
        rows = [
            {"name": image.name.split("/")[1], "namespace": namespace, "is_private": image.private}
            for image in self.images.values() if image.name.startswith(f"{namespace}/") and (sees or not image.private)
        ]  # fmt: skip
        return _page(asked, rows)

    def list_tags(self, asked: Asked) -> Any:
        image = self._named(asked)
        newest = sorted(image.tags.items(), key=lambda item: item[1].at, reverse=True)
        return _page(asked, [_tag_row(name, tag) for name, tag in newest])

    def _tag(self, asked: Asked) -> tuple[Image, Tag]:
        image = self._named(asked)
        found = image.tags.get(asked.words["tag"])
        if found is None:
            raise _said(404, f"tag '{asked.words['tag']}' not found")
        return image, found

    def one_tag(self, asked: Asked) -> Any:
        return _tag_row(asked.words["tag"], self._tag(asked)[1])

    def delete_tag(self, asked: Asked) -> Any:
        session = self.session(asked)
        assert session is not None
        image, tag = self._tag(asked)
        token, namespace = session.token, asked.words["ns"]
        if token is not None and token.user not in self.orgs:
            raise _said(403, "access is forbidden with a JWT issued from a personal access token")
        allowed = self._covers(token, image, "scope-tag-admin") if token else self._belongs(session.user, namespace)
        if not allowed:
            raise _said(403, "insufficient scope")
        del image.tags[asked.words["tag"]]
        self._write_down("repo.tag.delete", image, asked.words["tag"], tag.digest, session.user)
        return Said("", 204)

    def activity(self, asked: Asked) -> Any:
        """An organization's log, for its owners and for a token with the scope; personal accounts have none."""
        session, org = self.session(asked), asked.words["ns"]
        assert session is not None
        if org not in self.orgs:
            raise _said(404, "not found")
        token = session.token
        own = session.user == org and token is not None and "scope-activity-read" in token.scopes
        if not own and not (token is None and session.user in self.orgs[org]):
            raise _said(403, "permission denied")
        query = asked.query
        rows = [
            row for row in self.log
            if row["account"] == org and query.get("action", row["action"]) == row["action"]
            and query.get("name", row["name"]) == row["name"]
        ]  # fmt: skip
        size, number = int(query.get("page_size", 25)), int(query.get("page", 1))
        newest = rows[::-1][size * (number - 1) : size * number]
        return {"logs": newest}

    def pushed(self, image: Image, tag: str, by: str) -> None:
        self._write_down("repo.tag.push", image, tag, image.tags[tag].digest, by)

    def _write_down(self, action: str, image: Image, tag: str, digest: str, by: str) -> None:
        self.log.append({
            "account": image.name.split("/")[0], "action": action, "name": image.name, "actor": by,
            "data": {"digest": digest, "tag": tag}, "timestamp": iso(self.clock.now()), "action_description": "",
        })  # fmt: skip

    # who may do what at the registry

    def _belongs(self, user: str, namespace: str) -> bool:
        return user == namespace or user in self.orgs.get(namespace, ())

    def _covers(self, token: Token, image: Image, scope: str) -> bool:
        """Whether an organization's token has a scope on a repository; it names none where it is for all of them."""
        ours = token.user == image.name.split("/")[0]
        return ours and scope in token.scopes and (not token.packages or image.name in token.packages)

    def allowed(self, user: str, token: Token | None, image: Image) -> tuple[str, ...]:
        """What an account may do to a repository with what it has signed in with."""
        namespace = image.name.split("/")[0]
        if token is not None and token.user in self.orgs:
            found = [act for act, scopes in BY_SCOPE.items() if any(self._covers(token, image, s) for s in scopes)]
        elif not self._belongs(user, namespace):
            found = []
        else:
            most = {act for scope in (token.scopes if token else ("repo:admin",)) for act in PERSONAL[scope]}
            only_public = token is not None and token.scopes == {"repo:public_read"}
            found = [act for act in BY_SCOPE if act in most and not (only_public and image.private)]
        return tuple(dict.fromkeys([*([] if image.private else ["pull"]), *found]))

    # for the range itself

    def publish(
        self, user: str, name: str, tags: Iterable[str], document: bytes, blobs: Iterable[bytes], *,
        at: datetime | None = None,
    ) -> str:  # fmt: skip
        """An image of the company's, now or ``at`` a time; returns its digest."""
        with self.lock:
            image, digest = self.images.setdefault(name, Image(name=name)), digest_of(document)
            image.blobs |= {digest_of(blob): blob for blob in blobs}
            image.manifests[digest] = (MANIFEST, document)
            for tag in tags:
                image.tags[tag] = Tag(digest=digest, at=at or self.clock.now(), by=user)
                self._write_down("repo.tag.push", image, tag, digest, user)
                self.log[-1]["timestamp"] = iso(image.tags[tag].at)
            return digest

    def delivered(self, package: str) -> str:
        """What a pull of ``latest`` gets: the other tag that leads there, or its digest; '' for nothing."""
        tags = self.image(package).tags
        if "latest" not in tags:
            return ""
        digest = tags["latest"].digest
        return next((name for name, tag in tags.items() if tag.digest == digest and name != "latest"), digest)

    def packages_state(self) -> dict[str, Any]:
        return {
            name: {tag: each.digest for tag, each in sorted(image.tags.items())} for name, image in self.images.items()
        }  # fmt: skip

    _TOKENS: ClassVar[str] = "/hub/v2/(?:orgs/(?P<org>[^/]+)/)?access-tokens"  # one's own, or an organization's
    _REPOSITORIES: ClassVar[str] = "/hub/v2/namespaces/(?P<ns>[^/]+)/repositories"
    _TAGS: ClassVar[str] = f"{_REPOSITORIES}/(?P<repo>[^/]+)/tags"
    routes: ClassVar[tuple[tuple[str, str, Handler], ...]] = (
        ("POST", "/hub/v2/auth/token", sign_in),
        ("GET", _TOKENS, list_tokens),
        ("POST", "/hub/v2/access-tokens", make_token),
        ("PATCH", f"{_TOKENS}/(?P<uuid>[^/]+)", change_token),
        ("DELETE", f"{_TOKENS}/(?P<uuid>[^/]+)", delete_token),
        ("GET", _REPOSITORIES, repositories),
        ("GET", _TAGS, list_tags),
        ("GET", f"{_TAGS}/(?P<tag>[^/]+)", one_tag),
        ("DELETE", f"{_TAGS}/(?P<tag>[^/]+)", delete_tag),
        ("GET", "/hub/v2/auditlogs/(?P<ns>[^/]+)", activity),
        *OciRegistry.routes,
    )


def _page(asked: Asked, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """One page of a list, and where the next one is."""
    size, number = min(int(asked.query.get("page_size", 10)), 100), int(asked.query.get("page", 1))
    more = number * size < len(rows)
    following = f"?page={number + 1}&page_size={size}" if more else None
    return {
        "count": len(rows),
        "next": following,
        "previous": None,
        "results": rows[size * (number - 1) : size * number],
    }


def _tag_row(name: str, tag: Tag) -> dict[str, Any]:
    at = iso(tag.at)
    return {
        "name": name, "last_updated": at, "tag_last_pushed": at, "last_updater_username": tag.by, "v2": True,
        "digest": tag.digest, "images": [{"digest": tag.digest, "last_pushed": at}],
    }  # fmt: skip

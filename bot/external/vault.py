"""HashiCorp Vault: KV version 2 with compare-and-set, and version 1, which has none.

Paths, codes and check-and-set: developer.hashicorp.com/vault/api-docs/secret/kv/kv-v2 and kv-v1. Vault answers 403 both
to a token that is none and to one that may not, and 404 both to what is not there and to what was deleted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import hvac
import requests
from hvac import exceptions as said_by

from bot import errors
from bot.reads import again
from bot.world import Held

TIMEOUT_S = 20
Login = Callable[[Any], None]


@contextmanager
def _errors(what: str) -> Iterator[None]:
    """What hvac raises, as ``bot.errors``; its words hold what was sent."""
    failure: errors.BulkheadError
    try:
        yield
        return
    except said_by.InvalidPath:
        text = f"Vault has nothing there, to {what}; or the mount is another one"
        failure = errors.NotFound(text, provider="vault", code="404")
    except said_by.Unauthorized:
        failure = errors.Refused(f"Vault does not accept us, to {what}", provider="vault", code="401")
    except said_by.Forbidden:
        text = f"Vault refused to {what}: 403; the token is over, or its policy does not have the path"
        failure = errors.Forbidden(text, provider="vault", code="403", permission=what)
    except said_by.RateLimitExceeded:
        text = f"Vault is asked too often, to {what}"
        failure = errors.RateLimited(text, provider="vault", code="429", retry_after=2.0)
    except said_by.InvalidRequest as exc:
        text = f"Vault refused to {what}: 400"
        if "check-and-set parameter did not match" in str(exc):
            failure = errors.Conflict(f"somebody else has just written there; {text}")
        else:
            failure = errors.Rejected(text, provider="vault", code="400")
    except said_by.VaultDown:
        text = f"Vault did not answer, to {what}: it is sealed or in standby"
        failure = errors.Unavailable(text, provider="vault", code="503")
    except (said_by.VaultError, requests.RequestException, ValueError) as exc:
        text = f"Vault did not answer, to {what} ({type(exc).__name__})"
        failure = errors.Unavailable(text, provider="vault")
    raise failure from None


class VaultStore:
    """One KV mount of one Vault."""

    kind: ClassVar[str] = "vault"

    def __init__(
        self, *, url: str, login: Login, mount: str = "secret", version: int = 2, namespace: str = "", ca_file: str = ""
    ) -> None:
        self._url, self._login, self._mount, self._version = url, login, mount, version
        self._namespace, self._ca_file = namespace, ca_file

    @classmethod
    def of(cls, said: Mapping[str, str]) -> VaultStore:
        """As the file of stores says it."""
        by_role = "role_id" in said
        login = _by_role(said["role_id"], said["secret_id_file"]) if by_role else _by_token(said["token_file"])
        return cls(
            url=said["url"], login=login, mount=said.get("mount", "secret"), version=int(said.get("version", 2)),
            namespace=said.get("namespace", ""), ca_file=said.get("ca_file", ""),
        )  # fmt: skip

    @classmethod
    def at(cls, url: str, token: str) -> VaultStore:
        """By an address and a token, at the usual mount."""

        def login(client: Any) -> None:
            client.token = token

        return cls(url=url, login=login)

    @contextmanager
    def _client(self) -> Iterator[Any]:
        """Signed in anew each time: calls are few, and what a file holds is renewed by others."""
        with requests.Session() as session:
            session.trust_env = not self._url.startswith("http://127.0.0.1:")  # no proxy leads to loopback
            client = hvac.Client(
                url=self._url, namespace=self._namespace or None, verify=self._ca_file or True, timeout=TIMEOUT_S,
                session=session, allow_redirects=False,
            )  # fmt: skip
            with _errors("sign in"):
                self._login(client)
            yield client

    def read(self, name: str) -> Held:
        return again(lambda: self._read(name))

    def _read(self, name: str) -> Held:
        with self._client() as client, _errors(f"read {self._mount}/{name}"):
            if self._version == 1:
                found = client.secrets.kv.v1.read_secret(path=name, mount_point=self._mount)
                return Held(values=_texts(found["data"]), version="")
            found = client.secrets.kv.v2.read_secret_version(
                path=name, mount_point=self._mount, raise_on_deleted_version=True
            )["data"]
        about = found["metadata"]
        return Held(
            values=_texts(found["data"]), version=str(about["version"]), changed_at=str(about["created_time"])
        )  # fmt: skip

    def write(self, name: str, values: Mapping[str, str], held: Held) -> None:
        """The whole secret is written: what is no text among its keys is read again, and kept."""
        with self._client() as client, _errors(f"write {self._mount}/{name}"):
            if self._version == 1:
                data = client.secrets.kv.v1.read_secret(path=name, mount_point=self._mount)["data"]
                client.secrets.kv.v1.create_or_update_secret(
                    path=name, secret=data | dict(values), method="PUT", mount_point=self._mount
                )
                return
            data = client.secrets.kv.v2.read_secret_version(
                path=name, version=int(held.version), mount_point=self._mount, raise_on_deleted_version=True
            )["data"]["data"]
            client.secrets.kv.v2.create_or_update_secret(
                path=name, secret=data | dict(values), cas=int(held.version), mount_point=self._mount
            )


def _texts(data: Mapping[str, Any]) -> dict[str, str]:
    return {key: value for key, value in data.items() if isinstance(value, str)}


def _kept(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError as exc:
        said = f"{path}, by which Bulkhead signs in to Vault, cannot be read: {type(exc).__name__}"
    raise errors.Refused(said, provider="vault", code="login")


def _by_token(path: str) -> Login:
    def login(client: Any) -> None:
        client.token = _kept(path)

    return login


def _by_role(role_id: str, path: str) -> Login:
    def login(client: Any) -> None:
        client.auth.approle.login(role_id=role_id, secret_id=_kept(path))

    return login

"""HashiCorp Vault of the range: KV version 2 at ``secret``, version 1 at ``legacy``, tokens with policies, AppRole.

Sources: developer.hashicorp.com/vault/api-docs (secret/kv, auth/approle); docs/concepts/policies.
Enforced: capabilities by path, check-and-set, a deleted version's 404 with its metadata, a seal's 503 to everybody.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any, ClassVar

from bot.range.served import Asked, Handler, Problem, Said, Served

V2, V1 = "secret", "legacy"
CAS = "check-and-set parameter did not match the current version"
Policy = Mapping[str, frozenset[str]]  # pattern of a path -> capabilities


def _no(status: int, *why: str, **more: Any) -> Problem:
    return Problem(status, {"errors": list(why), **more})


class Vault(Served):
    """Two mounts, and who may do what in them."""

    name: ClassVar[str] = "vault"

    def reset(self) -> None:
        with self.lock:
            self.sealed = False
            self.policies: dict[str, Policy] = {}  # token -> policy
            self.roles: dict[str, tuple[str, Policy]] = {}  # role id -> its secret id, and what its tokens may
            self.versions: dict[str, list[dict[str, Any]]] = {}  # path of version 2 -> data and metadata, oldest first
            self.flat: dict[str, dict[str, Any]] = {}
            self.writes: dict[str, int] = {}

    # what an administrator does

    def add_token(self, policy: Policy) -> str:
        token = "hvs." + secrets.token_urlsafe(24)
        self.policies[token] = policy
        return token

    def add_role(self, policy: Policy) -> tuple[str, str]:
        """Its role id and a secret id."""
        made = secrets.token_hex(16), secrets.token_hex(16)
        self.roles[made[0]] = (made[1], policy)
        return made

    def put(self, path: str, data: dict[str, Any]) -> None:
        """A new version at ``secret``."""
        with self.lock:
            kept = self.versions.setdefault(path, [])
            kept.append({"data": dict(data), "metadata": {
                "created_time": self.clock.now().strftime("%Y-%m-%dT%H:%M:%S.%fZ"), "custom_metadata": None,
                "deletion_time": "", "destroyed": False, "version": len(kept) + 1,
            }})  # fmt: skip

    def delete(self, path: str) -> None:
        """Its latest version, which can be undeleted."""
        self.versions[path][-1]["metadata"]["deletion_time"] = self.clock.now().isoformat()

    # for the range itself

    def values(self) -> list[str]:
        """Every secret that it knows."""
        with self.lock:
            held = [*self.flat.values(), *(one["data"] for kept in self.versions.values() for one in kept)]
            ids = [secret_id for secret_id, _ in self.roles.values()]
            return [*self.policies, *ids, *(str(v) for data in held for v in data.values() if isinstance(v, str))]

    def snapshot(self) -> dict[str, Any]:
        """How often each path was written, and its keys now."""
        with self.lock:
            newest = {f"{V2}/{path}": kept[-1]["data"] for path, kept in self.versions.items()}
            newest |= {f"{V1}/{path}": data for path, data in self.flat.items()}
            counts = {f"{V2}/{path}": len(kept) for path, kept in self.versions.items()} | self.writes
            return {
                path: {"keys": sorted(data), "writes": counts.get(path, 0)} for path, data in sorted(newest.items())
            }  # fmt: skip

    # who may

    def _may(self, asked: Asked, path: str, capability: str) -> None:
        """Raises 503 where it is sealed, 403 where a token's policy does not have the path."""
        if self.sealed:
            raise _no(503, "Vault is sealed")
        token = asked.headers.get("x-vault-token", "")
        if token not in self.policies:
            raise _no(403, "permission denied", "invalid token")
        fitting = (held for pattern, held in self.policies[token].items() if fnmatchcase(path, pattern))
        if not any(capability in held for held in fitting):
            raise _no(403, "1 error occurred:\n\t* permission denied\n\n")

    def _login(self, asked: Asked) -> Any:
        if self.sealed:
            raise _no(503, "Vault is sealed")
        secret_id, policy = self.roles.get(str(asked.json.get("role_id", "")), ("", {}))
        if not secret_id or asked.json.get("secret_id") != secret_id:
            raise _no(400, "invalid role or secret ID")
        auth = {"client_token": self.add_token(policy), "lease_duration": 3600, "renewable": True, "policies": ["ci"]}
        return Said({"auth": auth}, reads=True)

    # KV version 2

    def _read(self, asked: Asked) -> Any:
        path = asked.words["path"]
        self._may(asked, f"{V2}/data/{path}", "read")
        kept = self.versions.get(path, [])
        number = int(asked.query.get("version", 0)) or len(kept)
        if not 0 < number <= len(kept):
            raise _no(404)
        one = kept[number - 1]
        if one["metadata"]["deletion_time"]:
            raise Problem(404, {"data": {"data": None, "metadata": one["metadata"]}})
        return {"data": one}

    def _write(self, asked: Asked) -> Any:
        path, body = asked.words["path"], asked.json
        kept = self.versions.get(path, [])
        self._may(asked, f"{V2}/data/{path}", "update" if kept else "create")
        cas = (body.get("options") or {}).get("cas")
        if cas is not None and cas != len(kept):
            raise _no(400, CAS)
        if not isinstance(body.get("data"), dict):
            raise _no(400, "no data provided")
        self.put(path, body["data"])
        return {"data": self.versions[path][-1]["metadata"]}

    # KV version 1

    def _read_flat(self, asked: Asked) -> Any:
        path = asked.words["path"]
        self._may(asked, f"{V1}/{path}", "read")
        if path not in self.flat:
            raise _no(404)
        return {"data": self.flat[path], "lease_duration": 2764800, "renewable": False}

    def _write_flat(self, asked: Asked) -> Any:
        path = asked.words["path"]
        self._may(asked, f"{V1}/{path}", "update" if path in self.flat else "create")
        self.flat[path] = asked.json
        self.writes[f"{V1}/{path}"] = self.writes.get(f"{V1}/{path}", 0) + 1
        return Said("", 204)

    routes: ClassVar[tuple[tuple[str, str, Handler], ...]] = (
        ("POST", r"/v1/auth/approle/login", _login),
        ("GET", rf"/v1/{V2}/data/(?P<path>.+)", _read),
        ("POST", rf"/v1/{V2}/data/(?P<path>.+)", _write),
        ("PUT", rf"/v1/{V2}/data/(?P<path>.+)", _write),
        ("GET", rf"/v1/{V1}/(?P<path>.+)", _read_flat),
        ("POST", rf"/v1/{V1}/(?P<path>.+)", _write_flat),
        ("PUT", rf"/v1/{V1}/(?P<path>.+)", _write_flat),
    )

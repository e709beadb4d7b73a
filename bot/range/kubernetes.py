"""The API server of a Kubernetes cluster, as far as secrets go: RBAC by verb, namespace and name; resourceVersion.

Sources: kubernetes.io/docs/reference/using-api/api-concepts, /docs/reference/access-authn-authz/rbac and
/docs/concepts/configuration/secret. Enforced: RBAC before existence, optimistic concurrency (409 Conflict), immutable
secrets (422 Invalid), base64 in data, media types of patches (415). A change of nothing makes no new version. What a
controller owns (working-with-objects/owners-dependents) it writes over at once.
"""

from __future__ import annotations

import base64
import binascii
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from bot.range.served import Asked, Handler, Problem, Served

MERGES = ("application/merge-patch+json", "application/strategic-merge-patch+json")
_SECRET = r"/api/v1/namespaces/(?P<namespace>[^/]+)/secrets/(?P<name>[^/]+)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What a service account may do with secrets of a namespace; no names stands for all of them."""

    namespace: str
    verbs: frozenset[str]
    names: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Controller:
    """What writes a secret: an object of this kind and name. ``reads`` gives what stands where it reads."""

    kind: str
    name: str
    reads: Callable[[], dict[str, str]]


def _no(code: int, reason: str, message: str) -> Problem:
    body = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message,
            "reason": reason, "code": code}  # fmt: skip
    return Problem(code, body)


class Kubernetes(Served):
    """The secrets, and the accounts that may see them."""

    name: ClassVar[str] = "kubernetes"

    def reset(self) -> None:
        with self.lock:
            self.accounts: dict[str, tuple[str, tuple[Rule, ...]]] = {}  # token -> name and rules
            self.secrets: dict[tuple[str, str], dict[str, Any]] = {}
            self.writes: dict[tuple[str, str], int] = {}
            self.controllers: dict[tuple[str, str], Controller] = {}
            self._version = 1000

    # what an administrator does

    def add_account(self, name: str, *rules: Rule) -> str:
        """Its token."""
        token = "made-up-" + secrets.token_urlsafe(24)
        self.accounts[token] = (f"system:serviceaccount:{name}", rules)
        return token

    def put(self, namespace: str, name: str, values: dict[str, str], *, immutable: bool = False) -> None:
        """Make a secret, or replace what it holds."""
        with self.lock:
            self._version += 1
            data = {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}
            meta = {"name": name, "namespace": namespace, "resourceVersion": str(self._version)}
            made = {"kind": "Secret", "apiVersion": "v1", "metadata": meta, "type": "Opaque", "data": data}
            self.secrets[namespace, name] = made | ({"immutable": True} if immutable else {})

    def control(self, namespace: str, name: str, controller: Controller) -> None:
        """Have a controller write a secret from now on: it owns it, and puts back what others change."""
        with self.lock:
            self.controllers[namespace, name] = controller
            self.sync(namespace, name)

    def sync(self, namespace: str, name: str) -> None:
        """The controller of a secret reads again, and writes what it has read."""
        with self.lock:
            controller = self.controllers[namespace, name]
            self.put(namespace, name, controller.reads())
            owner = {"apiVersion": "external-secrets.io/v1", "kind": controller.kind, "name": controller.name,
                     "uid": f"uid-of-{controller.name}", "controller": True, "blockOwnerDeletion": True}  # fmt: skip
            self.secrets[namespace, name]["metadata"]["ownerReferences"] = [owner]

    # for the range itself

    def held(self, namespace: str, name: str) -> dict[str, str]:
        """The values of a secret."""
        return {key: base64.b64decode(v).decode() for key, v in self.secrets[namespace, name]["data"].items()}

    def values(self) -> list[str]:
        """Every secret that it knows."""
        with self.lock:
            return [*self.accounts, *(value for place in self.secrets for value in self.held(*place).values())]

    def snapshot(self) -> dict[str, Any]:
        """The keys of each secret, and how often it was written."""
        with self.lock:
            return {
                "/".join(place): {"keys": sorted(one["data"]), "writes": self.writes.get(place, 0)}
                for place, one in sorted(self.secrets.items())
            }

    # who may

    def _found(self, asked: Asked, verb: str) -> dict[str, Any]:
        """The secret that a path names, for an account that may. RBAC is asked before anything is looked for."""
        scheme, _, token = asked.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or token not in self.accounts:
            raise _no(401, "Unauthorized", "Unauthorized")
        who, rules = self.accounts[token]
        namespace, name = asked.words["namespace"], asked.words["name"]
        if not any(
            rule.namespace == namespace and verb in rule.verbs and (not rule.names or name in rule.names)
            for rule in rules
        ):
            said = f'secrets "{name}" is forbidden: User "{who}" cannot {verb} resource "secrets" in API group "" in '
            raise _no(403, "Forbidden", f'{said}the namespace "{namespace}"')
        found = self.secrets.get((namespace, name))
        if found is None:
            raise _no(404, "NotFound", f'secrets "{name}" not found')
        return found

    def _get(self, asked: Asked) -> Any:
        return self._found(asked, "get")

    def _patch(self, asked: Asked) -> Any:
        found, change = self._found(asked, "patch"), asked.json
        if asked.headers.get("content-type", "").partition(";")[0] not in MERGES:
            raise _no(415, "UnsupportedMediaType", "the body of the request was in an unknown format")
        name, meta = asked.words["name"], change.get("metadata") or {}
        if meta.get("resourceVersion") not in (None, found["metadata"]["resourceVersion"]):
            said = f'Operation cannot be fulfilled on secrets "{name}": the object has been modified; '
            raise _no(409, "Conflict", f"{said}please apply your changes to the latest version and try again")
        data = {k: v for k, v in (found["data"] | (change.get("data") or {})).items() if v is not None}
        try:
            for value in data.values():
                base64.b64decode(value, validate=True)
        except (binascii.Error, TypeError):
            raise _no(400, "BadRequest", "illegal base64 data at input byte 0") from None
        if data == found["data"]:
            return found
        if found.get("immutable"):
            said = f'Secret "{name}" is invalid: data: Forbidden: field is immutable when `immutable` is set'
            raise _no(422, "Invalid", said)
        self._version += 1
        place = asked.words["namespace"], name
        self.writes[place] = self.writes.get(place, 0) + 1
        before, found["data"], found["metadata"]["resourceVersion"] = found["data"], data, str(self._version)
        if place not in self.controllers:
            return found
        answer = found | {"metadata": dict(found["metadata"])}
        self._version += 1  # its controller sees the change, and writes over it
        found["data"], found["metadata"]["resourceVersion"] = before, str(self._version)
        return answer

    routes: ClassVar[tuple[tuple[str, str, Handler], ...]] = (("GET", _SECRET, _get), ("PATCH", _SECRET, _patch))

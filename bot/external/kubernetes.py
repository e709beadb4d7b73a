"""Secrets of a Kubernetes cluster, one patch each, bound to the resourceVersion that was read.

kubernetes.io/docs/reference/using-api/api-concepts (409 Conflict where the resourceVersion is another);
kubernetes.io/docs/concepts/configuration/secret (immutable; what pods see of a change). What a controller writes says
so: kubernetes.io/docs/concepts/overview/working-with-objects/owners-dependents, and the labels of the External Secrets
Operator (external-secrets.io, "ExternalSecret") and of the Secrets Store CSI Driver.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar

import httpx2
from lightkube import Client, KubeConfig
from lightkube.core.exceptions import ApiError, ConfigError
from lightkube.resources.core_v1 import Secret
from lightkube.types import PatchType

from bot import errors
from bot.reads import again
from bot.world import Held

TIMEOUT_S = 20.0
_MANAGED = {
    "reconcile.external-secrets.io/managed": "the External Secrets Operator",
    "secrets-store.csi.k8s.io/managed": "the Secrets Store CSI Driver",
}  # fmt: skip
# How what a controller writes gets a new value (external-secrets.io, FAQ; github.com/bitnami-labs/sealed-secrets).
_ANEW = {
    "ExternalSecret": "kubectl -n {namespace} annotate externalsecret {owner} force-sync=$(date +%s) --overwrite",
    "SealedSecret": "seal the new value with kubeseal, and apply it",
}  # fmt: skip


@contextmanager
def _errors(what: str) -> Iterator[None]:
    """What lightkube raises, as ``bot.errors``; the server's words can hold what was sent."""
    failure: errors.BulkheadError
    try:
        yield
        return
    except ApiError as exc:
        failure = _failure(what, exc.response.status_code, str(exc.status.reason or ""))
    except (httpx2.HTTPError, OSError, ValueError) as exc:
        text = f"Kubernetes did not answer, to {what} ({type(exc).__name__})"
        failure = errors.Unavailable(text, provider="kubernetes")
    except (ConfigError, KeyError) as exc:
        text = f"Kubernetes cannot be asked to {what}: its configuration is wrong ({type(exc).__name__})"
        failure = errors.Refused(text, provider="kubernetes", code="configuration")
    raise failure from None


def _failure(what: str, status: int, reason: str) -> errors.BulkheadError:
    said = f"Kubernetes refused to {what}: {status} {reason}".rstrip()
    match status:
        case 401:
            return errors.Refused(said, provider="kubernetes", code=reason)
        case 403:
            return errors.Forbidden(f"{said}; RBAC must allow it", provider="kubernetes", code=reason, permission=what)
        case 404:
            return errors.NotFound(said, provider="kubernetes", code=reason)
        case 409:
            return errors.Conflict(f"somebody else has just written there; {said}")
        case 429:
            return errors.RateLimited(said, provider="kubernetes", code=reason, retry_after=2.0)
    if status >= 500 or not status:
        return errors.Unavailable(said, provider="kubernetes", code=reason)
    return errors.Rejected(said, provider="kubernetes", code=reason)


class KubernetesStore:
    """The secrets of one cluster, named NAMESPACE/NAME."""

    kind: ClassVar[str] = "kubernetes"

    def __init__(self, configured: Callable[[], Any]) -> None:
        self._configured = configured

    @classmethod
    def of(cls, said: Mapping[str, str]) -> KubernetesStore:
        """By a kubeconfig and one of its contexts, or by the service account of the pod that we run in."""
        path, context = said.get("kubeconfig", ""), said.get("context") or None
        if path:
            return cls(lambda: KubeConfig.from_file(path).get(context_name=context))
        return cls(lambda: KubeConfig.from_service_account().get())

    @contextmanager
    def _client(self) -> Iterator[Any]:
        """Signed in anew each time: calls are few, and what a file holds is renewed by others."""
        with _errors("sign in"):
            made = Client(self._configured(), timeout=httpx2.Timeout(TIMEOUT_S))
        with made:
            yield made

    @classmethod
    def at(cls, url: str, token: str) -> KubernetesStore:
        """By an address and a token of a service account."""
        config = {
            "clusters": [{"name": "it", "cluster": {"server": url}}],
            "users": [{"name": "we", "user": {"token": token}}],
            "contexts": [{"name": "so", "context": {"cluster": "it", "user": "we"}}], "current-context": "so",
        }  # fmt: skip
        return cls(lambda: KubeConfig.from_dict(config).get())

    def read(self, name: str) -> Held:
        return again(lambda: self._read(name))

    def _read(self, name: str) -> Held:
        namespace, _, secret = name.partition("/")
        with self._client() as client, _errors(f"get the secret {name}"):
            found = client.get(Secret, name=secret, namespace=namespace)
        values = {}
        for key, value in (found.data or {}).items():
            try:
                values[key] = base64.b64decode(value).decode()
            except ValueError:  # bytes that are no text are none of ours
                continue
        shut = f"the secret {name} is immutable: make another, and point what reads it there" if found.immutable else ""
        return Held(
            values=values, version=str(found.metadata.resourceVersion), locked=shut or _controlled(name, found.metadata)
        )

    def write(self, name: str, values: Mapping[str, str], held: Held) -> None:
        namespace, _, secret = name.partition("/")
        data = {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}
        change = {"metadata": {"resourceVersion": held.version}, "data": data}
        with self._client() as client, _errors(f"patch the secret {name}"):
            client.patch(Secret, secret, change, namespace=namespace, patch_type=PatchType.MERGE)


def _controlled(name: str, metadata: Any) -> str:
    """Why nobody may write to a secret that a controller writes, and what to do instead; '' for any other."""
    namespace, _, _ = name.partition("/")
    owner = next((one for one in metadata.ownerReferences or () if one.controller), None)
    labels = metadata.labels or {}
    writer = f"{owner.kind} {owner.name}" if owner else next((_MANAGED[one] for one in _MANAGED if one in labels), "")
    if not writer:
        return ""
    how = _ANEW[owner.kind].format(namespace=namespace, owner=owner.name) if owner and owner.kind in _ANEW else ""
    return (
        f"the secret {name} is written by {writer}, which would put its own value back: the new value goes where that "
        f"one reads. Once it stands there, have it read again{f' ({how})' if how else ''}, then try again"
    )

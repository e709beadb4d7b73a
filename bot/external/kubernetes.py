"""Secrets of a Kubernetes cluster, one patch each, bound to the resourceVersion that was read.

kubernetes.io/docs/reference/using-api/api-concepts (409 Conflict where the resourceVersion is another);
kubernetes.io/docs/concepts/configuration/secret (immutable; what pods see of a change).
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
        return Held(values=values, version=str(found.metadata.resourceVersion), locked=shut)

    def write(self, name: str, values: Mapping[str, str], held: Held) -> None:
        namespace, _, secret = name.partition("/")
        data = {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}
        change = {"metadata": {"resourceVersion": held.version}, "data": data}
        with self._client() as client, _errors(f"patch the secret {name}"):
            client.patch(Secret, secret, change, namespace=namespace, patch_type=PatchType.MERGE)

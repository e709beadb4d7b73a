"""Stores of secrets outside GitHub, and which credential has a copy in which: declared in a file (YAML), never guessed.

A store is read and written only at the secrets that the file names. Clients: ``aws`` (Secrets Manager, Parameter
Store), ``vault`` (HashiCorp Vault, KV version 1 and 2), ``kubernetes``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path

from bot.model import Credential, SecretStore, StoredCopy
from bot.strictyaml import Node, Problems, hint, items, of_settings, read, table, text
from bot.world import Aws, Declared, ExternalStore, Held

VARIABLE = "BULKHEAD_STORES"
_KINDS = {
    "secretsmanager": ("account", "region"), "ssm": ("account", "region"),
    "vault": ("url", "mount", "version", "namespace", "token_file", "role_id", "secret_id_file", "ca_file"),
    "kubernetes": ("kubeconfig", "context"),
}  # fmt: skip
_OF = ("credential", "user", "account", "secret")
_PARTS = ("id", "secret")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,40}")
_URL = re.compile(r"https://[^/\s]+|http://127\.0\.0\.1:\d+")
_SECRET = re.compile(r"[\w.-]+/[\w.-]+ [A-Za-z_]\w*", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One store of the file: its kind, and what is written of where it is."""

    name: str
    kind: str
    said: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stores:
    """What the file says."""

    places: tuple[Place, ...] = ()
    declared: tuple[Declared, ...] = ()


def load_stores(path: Path) -> Stores:
    """The file of stores. Raises SettingsError with every mistake and its line."""
    return of_settings(path, "the file of stores", read_stores)


def read_stores(source_text: str, source: str) -> Stores:
    """The same of a text. Raises PlaybookError with every mistake and its line."""
    problems = Problems(source)
    top = table(read(source_text, source), "the file of stores", problems, ("stores", "copies"), ("stores", "copies"))
    rows = top["stores"].value if "stores" in top else {}
    if not isinstance(rows, dict):
        problems.add(top["stores"].line, "stores must be a table: a name of yours, and where it is")
        rows = {}
    for name, node in rows.items():
        if not _NAME.fullmatch(name):
            problems.add(node.line, f"a store's name is letters, digits and hyphens, not {name[:40]!r}")
    places = {name: _place(name, node, problems) for name, node in rows.items()}
    copies = items(top["copies"], "copies", problems) if "copies" in top else ()
    declared = tuple(_declared(node, places, problems) for node in copies)
    problems.refuse()
    return Stores(places=tuple(places.values()), declared=declared)


def _place(name: str, node: Node, problems: Problems) -> Place:
    kind = str(node.value["kind"].value) if isinstance(node.value, dict) and "kind" in node.value else ""
    if kind not in _KINDS:
        problems.add(node.line, f"store {name} needs a kind, one of {', '.join(_KINDS)}{hint(kind, _KINDS)}")
        return Place(name=name, kind="", said={})
    keys = table(node, f"store {name}", problems, ("kind", *_KINDS[kind]))
    said = {key: str(value.plain) for key, value in keys.items() if key != "kind"}
    if kind == "vault":
        if not _URL.fullmatch(said.get("url", "")):
            problems.add(node.line, f"store {name} needs a url, https://HOST:PORT")
        if said.get("version", "2") not in ("1", "2"):
            problems.add(node.line, f"store {name}: version is that of its KV engine, 1 or 2")
        if ("token_file" in said) == ("role_id" in said) or ("role_id" in said) != ("secret_id_file" in said):
            problems.add(node.line, f"store {name} signs in by token_file, or by role_id and secret_id_file")
    return Place(name=name, kind=kind, said=said)


def _declared(node: Node, places: Mapping[str, Place], problems: Problems) -> Declared:
    keys = table(node, "a copy", problems, ("of", "store", "name", "keys", "part"), ("of", "store", "name"))
    store, name = (text(keys.get(key), key, problems) for key in ("store", "name"))
    if store and store not in places:
        problems.add(keys["store"].line, f"there is no store {store!r}{hint(store, places)}")
    kind = places[store].kind if store in places else ""
    parts = table(keys["keys"], "keys", problems, _PARTS) if "keys" in keys else {}
    written = {part: text(value, f"keys.{part}", problems) for part, value in parts.items()}
    if "part" in keys:
        if written:
            problems.add(keys["part"].line, "part is for a secret that is one value; with keys it says nothing")
        written = {choice(keys["part"], _PARTS, problems): ""}
    if kind in ("vault", "kubernetes") and not parts:
        problems.add(node.line, f"{name} in {store} needs keys: which one holds the secret, and the id if there is one")
    if kind == "kubernetes" and name.count("/") != 1:
        problems.add(keys["name"].line, f"a secret of Kubernetes is NAMESPACE/NAME, not {name!r}")
    of = table(keys["of"], "of", problems, _OF) if "of" in keys else {}
    said = {key: text(value, f"of.{key}", problems) for key, value in of.items()}
    whole = "secret" in said or ("credential" in said and ("user" in said or "account" in said))
    if "of" in keys and (not whole or ("secret" in said and len(said) > 1)):
        problems.add(keys["of"].line, "of says secret: OWNER/NAME SECRET, or credential with its user or account")
    elif "secret" in said and not _SECRET.fullmatch(said["secret"]):
        problems.add(of["secret"].line, f"of.secret must be OWNER/NAME SECRET, not {said['secret'][:80]!r}")
    return Declared(
        copy=StoredCopy(store=store, kind=kind, name=name, keys=written), kind=said.get("credential", ""),
        user=said.get("user", ""), account=said.get("account", ""), secret=said.get("secret", ""),
    )  # fmt: skip


def choice(node: Node, known: tuple[str, ...], problems: Problems) -> str:
    """One of the known words; anything else is a problem."""
    found = text(node, "part", problems)
    if found and found not in known:
        problems.add(node.line, f"part must be one of {', '.join(known)}, not {found[:40]!r}")
    return found


def copies_of(
    declared: tuple[Declared, ...], credential: Credential, stores: tuple[SecretStore, ...], user: str = ""
) -> tuple[StoredCopy, ...]:
    """The copies of a credential, whose IAM user or whose secrets at GitHub may be known. Each secret once."""
    held = {f"{store.repository} {store.name}".lower() for store in stores}
    found = [
        each.copy for each in declared
        if each.secret.lower() in held
        or (each.kind == credential.kind and each.user in ("", user) and each.account in ("", credential.account))
    ]  # fmt: skip
    return tuple({(copy.store, copy.name, *copy.keys.values()): copy for copy in found}.values())


def clients_of(stores: Stores, aws: Callable[[str], Aws]) -> dict[str, ExternalStore]:
    """A client for each store, which signs in when it is first asked. ``aws``: the clients of an account, '' for ours.

    Libraries are imported for the kinds that there are: each takes half a second.
    """
    made: dict[str, ExternalStore] = {}
    for place in stores.places:
        said = place.said
        if place.kind == "vault":
            from bot.external.vault import VaultStore

            made[place.name] = VaultStore.of(said)
        elif place.kind == "kubernetes":
            from bot.external.kubernetes import KubernetesStore

            made[place.name] = KubernetesStore.of(said)
        else:
            from bot.external.aws import ParameterStore, SecretsManager

            kind = SecretsManager if place.kind == "secretsmanager" else ParameterStore
            made[place.name] = kind(aws(said.get("account", "")), said.get("region", ""))
    return made


class Late:
    """A store whose client is made, and its library imported, when it is first asked: each takes half a second."""

    def __init__(self, kind: str, make: Callable[[], ExternalStore]) -> None:
        self.kind, self._make = kind, make

    @cached_property
    def _store(self) -> ExternalStore:
        return self._make()

    def read(self, name: str) -> Held:
        return self._store.read(name)

    def write(self, name: str, values: Mapping[str, str], held: Held) -> None:
        self._store.write(name, values, held)


@dataclass(frozen=True, slots=True)
class SignIn:
    """Where a server is, and the token by which it takes us in."""

    url: str
    token: str = field(repr=False)


def clients_at(
    stores: Stores, aws: Callable[[str], Aws], *, vault: SignIn, kubernetes: SignIn
) -> dict[str, ExternalStore]:
    """A client for each store of a range: whatever addresses and files its file names, it is asked where these are."""

    def made(place: Place) -> ExternalStore:
        if place.kind == "vault":
            from bot.external.vault import VaultStore

            return VaultStore.at(vault.url, vault.token)
        if place.kind == "kubernetes":
            from bot.external.kubernetes import KubernetesStore

            return KubernetesStore.at(kubernetes.url, kubernetes.token)
        return clients_of(Stores(places=(place,)), aws)[place.name]

    return {place.name: Late(place.kind, partial(made, place)) for place in stores.places}

"""Copies of the deploy key in every kind of store outside GitHub, and how the old pair is put back behind our back."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from bot.actions.external import PutCopyIn
from bot.external import clients_of, load_stores
from bot.model import Credential
from bot.range import secret_copies
from bot.range.secret_copies import BESIDE, ID, NAME, NAMESPACE, PARAMETER, POD_SECRET, SECRET
from tests.actions.arrangements import Arrangement
from tests.actions.conftest import Drill

NEW = {"id": "AK" + "IA" + "NEWMADEUP7EXAMPL", "secret": "made-up-new-" + "s" * 28}


def copied(drill: Drill, *wanted: str) -> None:
    """The stores are open and declared, all or those that are wanted, and the new pair is in the vault."""
    vault, cluster = drill.range.stores()
    aws = not wanted or bool({"secrets", "parameters"} & {*wanted})
    tokens = secret_copies.seed(drill.range, vault, cluster, aws=aws)
    path = secret_copies.declared(drill.folder, vault.base_url, cluster.base_url, tokens)
    stores = load_stores(path)
    if wanted:
        stores = replace(stores, places=tuple(place for place in stores.places if place.name in wanted))
    external = clients_of(stores, lambda _account: drill.world.aws)
    drill.world = replace(drill.world, external=external, declared=stores.declared)
    drill.facts["sealed"] = {part: drill.world.secrets.seal(f"new {part}", value) for part, value in NEW.items()}


def put_in(drill: Drill, store: str, part: str = "secret") -> PutCopyIn:
    """What the playbook's step asks for one copy; ``part`` tells two of one store apart."""
    copies = [each.copy for each in drill.world.declared if each.copy.store == store]
    copy = next(each for each in copies if len(copies) == 1 or each.name.endswith(f"/{part}"))
    leaked = Credential(provider="aws", kind="aws-access-key", id=drill.leaked)
    return PutCopyIn(copy=copy, credential=leaked, sealed=drill.facts["sealed"])


def _seed(store: str) -> Callable[[Drill], PutCopyIn]:
    def seed(drill: Drill) -> PutCopyIn:
        copied(drill, store)
        return put_in(drill, store)

    return seed


def old_again(drill: Drill, store: str) -> None:
    """Somebody puts the old pair back."""
    key, secret = drill.range.company.deploy_key
    pair = {ID: key, SECRET: secret} | BESIDE
    vault, cluster = drill.range.stores()
    secrets, parameters = drill.range.aws.account.secrets()
    match store:
        case "secrets":
            secrets.put_secret_value(NAME, json.dumps(pair), None, None, ["AWSCURRENT"])
        case "parameters":
            parameters._parameters[f"{PARAMETER}/secret"][-1].value = f"kms:alias/ci:{secret}"
        case "vault":
            vault.put(NAME, pair)
        case "old-vault":
            vault.flat[NAME] = pair
        case "cluster":
            cluster.put(NAMESPACE, POD_SECRET, pair)


def _back(store: str) -> Callable[[Drill, Any, Any], None]:
    return lambda drill, _inputs, _out: old_again(drill, store)


STORES, OTHERS = (
    tuple(Arrangement(action="stores.put_copy", variant=s, seed=_seed(s), take_away=_back(s)) for s in stores)
    for stores in (("vault",), ("secrets", "parameters", "old-vault", "cluster"))
)

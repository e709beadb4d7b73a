"""Copies outside GitHub: what each store enforces, what is refused, and that no value is lost, doubled or told."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bot.actions import CATALOGUE
from bot.actions.external import CopyBefore, PutCopyIn
from bot.errors import BulkheadError, Conflict, Forbidden, InputError, NotFound, PlaybookError, Refused, SettingsError
from bot.external import Stores, clients_of, copies_of, load_stores, read_stores
from bot.external.vault import VaultStore
from bot.model import Credential, SecretStore, StoredCopy, Verdict
from bot.range.kubernetes import Controller
from bot.range.secret_copies import BESIDE, ID, NAME, NAMESPACE, PARAMETER, POD_SECRET, SECRET, held
from tests.actions import test_catalogue
from tests.actions.arrangements import Arrangement
from tests.actions.conftest import Drill
from tests.actions.external_arrangements import NEW, OTHERS, copied, old_again, put_in

PUT = CATALOGUE["stores.put_copy"]
STORES = ("secrets", "parameters", "vault", "old-vault", "cluster")
each_store = pytest.mark.parametrize("store", [
    store if store == "vault" else pytest.param(store, marks=pytest.mark.slow) for store in STORES
])  # fmt: skip
RULES = (
    test_catalogue.test_look_and_proof_write_nothing, test_catalogue.test_a_second_run_changes_nothing,
    test_catalogue.test_the_proof_goes_red_when_the_effect_is_taken_away,
    test_catalogue.test_evidence_is_saved_without_a_secret_and_without_a_write,
    test_catalogue.test_everything_survives_the_journal,
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("arranged", OTHERS, ids=lambda a: a.variant)
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__.removeprefix("test_"))
def test_every_store_is_held_to_the_rules_of_the_catalogue(
    drill: Drill, arranged: Arrangement, rule: Callable[[Drill, Arrangement], None]
) -> None:
    rule(drill, arranged)


@pytest.mark.slow
@pytest.mark.parametrize("arranged", OTHERS, ids=lambda a: a.variant)
@pytest.mark.parametrize("after_commit", [True, False], ids=["answer-lost", "never-arrived"])
def test_a_lost_answer_leaves_one_version(drill: Drill, arranged: Arrangement, after_commit: bool) -> None:
    test_catalogue.test_a_lost_answer_leaves_one_effect(drill, arranged, after_commit)


def looked(drill: Drill, store: str) -> tuple[PutCopyIn, CopyBefore]:
    copied(drill, store)
    given = put_in(drill, store)
    return given, PUT.look(drill.world, given)


@each_store
def test_the_pair_lands_in_one_write_and_what_stands_beside_it_stays(drill: Drill, store: str) -> None:
    given, before = looked(drill, store)
    drill.hold_leaked()
    assert PUT.look(drill.world, given).holds == "the old value"
    written = len(drill.mutations())
    outcome = PUT.run(drill.world, given, before)
    assert len(drill.mutations()) == written + 1
    assert PUT.prove(drill.world, given, before, outcome).verdict == Verdict.PROVEN
    vault, cluster = drill.range.stores()
    now = {
        "vault": lambda: vault.versions[NAME][-1]["data"], "old-vault": lambda: vault.flat[NAME],
        "cluster": lambda: cluster.held(NAMESPACE, POD_SECRET), "secrets": lambda: json.loads(
            drill.range.aws.account.held(NAME)),
        "parameters": lambda: {SECRET: drill.range.aws.account.parameter(f"{PARAMETER}/secret").value.split(":")[-1]},
    }[store]()  # fmt: skip
    whole = {ID: NEW["id"], SECRET: NEW["secret"]} | BESIDE
    assert now == ({SECRET: NEW["secret"]} if store == "parameters" else whole)


@each_store
def test_what_somebody_else_has_put_there_meanwhile_is_not_written_over(drill: Drill, store: str) -> None:
    given, before = looked(drill, store)
    other = given.sealed | {"secret": drill.world.secrets.seal("by hand", "made-up-by-hand-" + "h" * 24)}
    PUT.run(drill.world, replace(given, sealed=other), before)
    written = len(drill.mutations())
    with pytest.raises(Conflict, match="somebody else has put another value") as caught:
        PUT.run(drill.world, given, before)
    assert "made-up" not in str(caught.value)
    assert len(drill.mutations()) == written


@each_store
def test_a_copy_that_is_declared_and_not_there_says_what_to_mend(drill: Drill, store: str) -> None:
    given, _ = looked(drill, store)
    gone = replace(given.copy, name=given.copy.name + "-gone")
    drill.world = replace(drill.world, declared=tuple(replace(d, copy=gone) for d in drill.world.declared))
    with pytest.raises((NotFound, Forbidden)) as caught:
        PUT.look(drill.world, replace(given, copy=gone))
    if store != "cluster":  # RBAC is by name: who may not see it is not told that it is not there
        assert "is declared and not there: make it, or correct the file of stores" in str(caught.value)


def test_what_is_not_declared_is_never_written(drill: Drill) -> None:
    given, before = looked(drill, "vault")
    elsewhere = replace(given, copy=replace(given.copy, name="prod/everything"))
    written = len(drill.mutations())
    for act in (lambda: PUT.look(drill.world, elsewhere), lambda: PUT.run(drill.world, elsewhere, before)):
        with pytest.raises(InputError, match="is not declared"):
            act()
    assert len(drill.mutations()) == written


def test_a_write_that_loses_to_one_of_another_key_is_made_again(drill: Drill) -> None:
    given, before = looked(drill, "vault")
    vault, _ = drill.range.stores()
    store = drill.world.external["vault"]
    assert isinstance(store, VaultStore)
    write, raced = store.write, list[int]()

    def racing(name: str, values: Any, held_: Any) -> None:
        if not raced:
            raced.append(1)
            vault.put(NAME, vault.versions[NAME][-1]["data"] | {"note": "changed"})
        write(name, values, held_)

    store.write = racing  # type: ignore[method-assign]
    assert PUT.run(drill.world, given, before).changed
    assert vault.versions[NAME][-1]["data"] == {ID: NEW["id"], SECRET: NEW["secret"], "note": "changed"}


@pytest.mark.slow
@pytest.mark.parametrize("store", ["vault", "cluster"])
def test_a_store_that_can_refuses_a_write_that_has_not_seen_the_last_one(drill: Drill, store: str) -> None:
    given, _ = looked(drill, store)
    client, name = drill.world.external[store], given.copy.name
    old = client.read(name)
    client.write(name, {"note": "changed"}, old)
    with pytest.raises(Conflict, match="somebody else has just written there"):
        client.write(name, {SECRET: "made-up-late-" + "l" * 24}, old)
    assert client.read(name).values["note"] == "changed"
    assert client.read(name).values[SECRET] == drill.range.company.deploy_key[1]


@pytest.mark.slow
def test_an_immutable_secret_and_one_that_rotates_itself_are_left_to_people(drill: Drill) -> None:
    given, _ = looked(drill, "cluster")
    _, cluster = drill.range.stores()
    key, secret = drill.range.company.deploy_key
    cluster.put(NAMESPACE, POD_SECRET, {ID: key, SECRET: secret}, immutable=True)
    with pytest.raises(Conflict, match="is immutable: make another"):
        PUT.look(drill.world, given)
    given, _ = looked(drill, "secrets")
    own = drill.range.aws.account.secrets()[0].secrets[NAME]
    own.rotation_requested = own.rotation_enabled = True  # by a function that the range does not have
    with pytest.raises(Conflict, match="is rotated by its own function"):
        PUT.look(drill.world, given)


@pytest.mark.slow
def test_what_a_controller_writes_is_left_to_a_person_until_it_has_read_the_new_value(drill: Drill) -> None:
    given, _ = looked(drill, "cluster")
    _, cluster = drill.range.stores()
    place, key, secret = (NAMESPACE, POD_SECRET), *drill.range.company.deploy_key
    reads = {ID: key, SECRET: secret}
    cluster.control(*place, Controller(kind="ExternalSecret", name="ferry", reads=lambda: dict(reads)))
    said = "build/ferry-aws is written by ExternalSecret ferry, .*kubectl -n build annotate externalsecret ferry force"
    with pytest.raises(Conflict, match=said):
        PUT.look(drill.world, given)
    store = drill.world.external["cluster"]
    store.write(given.copy.name, {SECRET: "made-up-by-hand-" + "h" * 24}, store.read(given.copy.name))
    assert cluster.held(*place) == reads, "whoever writes there all the same is written over"
    reads |= {ID: NEW["id"], SECRET: NEW["secret"]}
    cluster.sync(*place)
    before = PUT.look(drill.world, given)
    assert (before.needed, before.holds) == (False, "the new value")
    assert PUT.prove(drill.world, given, before, PUT.run(drill.world, given, before)).verdict == Verdict.PROVEN
    cluster.put(*place, {ID: key, SECRET: secret})
    meta = cluster.secrets[place]["metadata"]
    for label, who in (("reconcile.external-secrets.io/managed", "External Secrets Operator"),
                       ("secrets-store.csi.k8s.io/managed", "Secrets Store CSI Driver")):  # fmt: skip
        meta["labels"] = {label: "true"}
        with pytest.raises(Conflict, match=f"is written by the {who}, .* have it read again, then try again"):
            PUT.look(drill.world, given)


@pytest.mark.slow
def test_rbac_and_policies_that_lack_something_say_what(drill: Drill) -> None:
    copied(drill)
    vault, cluster = drill.range.stores()
    cluster.accounts = {token: (who, ()) for token, (who, _) in cluster.accounts.items()}
    with pytest.raises(Forbidden, match=f"get the secret {NAMESPACE}/{POD_SECRET}: 403 Forbidden; RBAC must allow it"):
        PUT.look(drill.world, put_in(drill, "cluster"))
    cluster.accounts.clear()
    with pytest.raises(Refused, match="401"):
        PUT.look(drill.world, put_in(drill, "cluster"))
    given = put_in(drill, "vault")
    before = PUT.look(drill.world, given)
    vault.policies = {token: {"secret/data/ci/*": frozenset({"read"})} for token in vault.policies}
    with pytest.raises(Forbidden, match="Vault refused to write secret/ci/ferry: 403"):
        PUT.run(drill.world, given, before)
    vault.sealed = True
    with pytest.raises(BulkheadError, match="sealed or in standby"):
        PUT.run(drill.world, given, before)


@pytest.mark.slow
def test_a_deleted_version_counts_as_not_there_and_a_role_signs_in(drill: Drill) -> None:
    copied(drill, "vault")
    vault, _ = drill.range.stores()
    role_id, secret_id = vault.add_role({"secret/data/*": frozenset({"read", "update"})})
    (drill.folder / "secret-id").write_text(secret_id)
    said = {"url": vault.base_url, "role_id": role_id, "secret_id_file": str(drill.folder / "secret-id")}
    store = VaultStore.of(said)
    assert store.read(NAME).values[ID] == drill.leaked
    vault.delete(NAME)
    with pytest.raises(NotFound):
        store.read(NAME)
    with pytest.raises(Refused, match="cannot be read"):
        VaultStore.of(said | {"secret_id_file": str(drill.folder / "nowhere")}).read(NAME)


@pytest.mark.slow
def test_a_parameter_keeps_its_type_key_and_tier(drill: Drill) -> None:
    given, before = looked(drill, "parameters")
    PUT.run(drill.world, given, before)
    kept = drill.range.aws.account.parameter(f"{PARAMETER}/secret")
    assert (kept.parameter_type, kept.keyid, kept.tier) == ("SecureString", "alias/ci", "Standard")


@pytest.mark.slow
@pytest.mark.parametrize("store", ["secrets", "parameters"])
def test_what_is_called_at_aws_is_what_the_action_says_that_it_needs(drill: Drill, store: str) -> None:
    copied(drill, store)
    began = len(drill.range.switchboard.requests())
    given = put_in(drill, store)
    before = PUT.look(drill.world, given)
    PUT.prove(drill.world, given, before, PUT.run(drill.world, given, before))
    rows = drill.range.switchboard.requests()[began:]
    assert {row["route"] for row in rows if row["server"] == "aws"} <= set(PUT.permissions)
    assert NEW["secret"] not in json.dumps(drill.range.aws.calls)
    assert NEW["secret"] not in json.dumps(rows)


def test_a_copy_belongs_to_a_credential_by_its_user_its_account_or_its_secret_at_github(drill: Drill) -> None:
    found = read_stores(GOOD, "stores.yaml").declared
    key = Credential(provider="aws", kind="aws-access-key", id="x", account="1")
    token = Credential(provider="npm", kind="npm-token", account="harbor-bot")
    here = SecretStore(repository="harbor-lights/Ferry", name="NPM_TOKEN")
    names = [c.name for c in copies_of(found, key, (), "ferry-ci")]
    assert names == ["ci/ferry"]
    assert copies_of(found, key, (), "other-ci") == copies_of(found, key, ()) == ()
    assert [c.name for c in copies_of(found, token, ())] == ["/ci/npm"]
    assert [c.name for c in copies_of(found, replace(token, account=""), (here,))] == ["build/npm"]
    assert copies_of((), key, (here,)) == ()


GOOD = """
stores:
  vault: {kind: vault, url: "https://vault.example.org:8200", token_file: /run/token}
  prod: {kind: kubernetes}
  params: {kind: ssm}
copies:
  - {of: {credential: aws-access-key, user: ferry-ci}, store: vault, name: ci/ferry, keys: {id: a, secret: b}}
  - {of: {secret: harbor-lights/ferry NPM_TOKEN}, store: prod, name: build/npm, keys: {secret: token}}
  - {of: {credential: npm-token, account: harbor-bot}, store: params, name: /ci/npm}
"""


@pytest.mark.parametrize(
    ("was", "now", "said"),
    [
        ("  params:", "  ../params:", "a store's name is letters, digits and hyphens"),
        ("kind: ssm", "kind: smm", "did you mean 'ssm'"),
        ("https://vault", "http://vault", "needs a url, https://HOST:PORT"),
        (", token_file: /run/token", "", "signs in by token_file, or by role_id and secret_id_file"),
        ("/run/token}", "/run/token, version: 3}", "1 or 2"),
        ("store: prod", "store: prdo", "did you mean 'prod'"),
        ("name: build/npm", "name: npm", "NAMESPACE/NAME"),
        (", keys: {secret: token}", "", "needs keys"),
        (", account: harbor-bot}", "}", "credential with its user or account"),
        ("harbor-lights/ferry NPM_TOKEN", "NPM_TOKEN", "must be OWNER/NAME SECRET"),
        ("name: /ci/npm}", "name: /ci/npm, part: key}", "part must be one of id, secret"),
        ("copies:", "copys:", "needs 'copies'"),
    ],
)  # fmt: skip
def test_a_file_with_a_mistake_is_refused_with_its_line(was: str, now: str, said: str, tmp_path: Path) -> None:
    assert was in GOOD
    with pytest.raises(PlaybookError, match=r"stores\.yaml:\d") as caught:
        read_stores(GOOD.replace(was, now, 1), "stores.yaml")
    assert said in str(caught.value)
    with pytest.raises(SettingsError, match="cannot be read"):
        load_stores(tmp_path)


def test_without_a_file_there_is_no_store_and_no_copy() -> None:
    assert clients_of(Stores(), lambda _: None) == {}  # type: ignore[arg-type,return-value]
    assert Stores().declared == ()


@pytest.mark.slow
def test_every_copy_is_what_held_says_once_each_is_written(drill: Drill) -> None:
    copied(drill)
    for each in drill.world.declared:
        given = PutCopyIn(
            copy=each.copy, sealed=drill.facts["sealed"],
            credential=Credential(provider="aws", kind="aws-access-key", id=drill.leaked),
        )  # fmt: skip
        PUT.run(drill.world, given, PUT.look(drill.world, given))
    pair = {ID: NEW["id"], SECRET: NEW["secret"]}
    assert all(pair.items() <= found.items() for found in held(drill.range).values())
    old_again(drill, "cluster")
    assert held(drill.range)["cluster"][ID] == drill.leaked
    assert isinstance(drill.world.declared[0].copy, StoredCopy)

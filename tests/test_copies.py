"""A rotated key lands in every store that is declared: a whole incident, and the process that dies beside a write."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bot.actions import CATALOGUE
from bot.app import Bulkhead, opened
from bot.doctor.stores import look
from bot.engine.ledger import Ledger
from bot.external import clients_of, load_stores
from bot.model import RowState
from bot.range import secret_copies
from bot.range.secret_copies import BESIDE, ID, SECRET
from bot.range.server import Range
from bot.settings import Settings
from tests.test_migration import House, site_of

STORES = {"secrets", "parameters", "vault", "old-vault", "cluster"}
ONCE = {"secret/ci/ferry": 1, "legacy/ci/ferry": 1, "ci/ferry": 1, "/ci/ferry/id": 1, "/ci/ferry/secret": 1,
        "build/ferry-aws": 1}  # fmt: skip

pytestmark = pytest.mark.timeout(600)  # whole incidents, on a busy machine


class Died(BaseException):
    """The process is killed here."""


def opened_with_stores(range_: Range, home: Path, **more: Any) -> Any:
    """An installation whose file of stores declares every copy of the deploy key."""
    site, (vault, cluster) = site_of(range_), range_.stores()
    tokens = secret_copies.seed(range_, vault, cluster)
    home.mkdir(exist_ok=True)
    stores = load_stores(secret_copies.declared(home, vault.base_url, cluster.base_url, tokens))
    site = replace(site, external=clients_of(stores, lambda _account: site.aws), declared=stores.declared)
    return opened(Settings(home=home, responders="bob,cleo", mode="ask"), sites={"range": site}, **more)


def leaked(bulkhead: Bulkhead, range_: Range) -> None:
    run = range_.leak()["run_url"]
    bulkhead.inbox.land(source="drill", world="range", by="ann", text=f"our key: {run}", at=range_.clock.now())


def writes(range_: Range) -> dict[str, Any]:
    """How often each copy was written since it was seeded."""
    state = range_.state()
    vault = {path: one["writes"] - path.startswith("secret/") for path, one in state["vault"].items()}
    aws = {name: count - 1 for name, count in (state["aws"]["secrets"] | state["aws"]["parameters"]).items()}
    return vault | aws | {path: one["writes"] for path, one in state["kubernetes"].items()}


@pytest.mark.slow
def test_a_rotated_key_lands_in_every_store_that_is_declared(company: Range, tmp_path: Path) -> None:
    company.reset()
    with opened_with_stores(company, tmp_path / "home") as bulkhead:
        house = House(company, bulkhead)
        leaked(bulkhead, company)
        house.run(house.over)
        events = house.events()
        row = Ledger.fold(events).rows[f"aws-access-key:{company.company.deploy_key[0]}"]
        assert row.state == RowState.CLOSED
        done = [e.body["summary"] for e in events if e.kind == "outcome" and e.step.startswith("store-copies")]
        assert len(done) == 6
        text = "".join(str(event.body) for event in events)
        now = secret_copies.held(company)
    account = company.aws.account
    new = {k.access_key_id: k.secret_access_key for k in account._iam.users["ferry-ci"].access_keys}
    new.pop(company.company.deploy_key[0], None)
    ((key_id, secret),) = new.items()
    assert set(now) == STORES
    for store, held in now.items():
        assert (held[ID], held[SECRET]) == (key_id, secret), store
        assert store == "parameters" or BESIDE.items() <= held.items()
    assert writes(company) == ONCE
    assert secret not in text


@pytest.mark.slow
@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_beside_the_record_of_a_write_the_next_start_writes_nothing_twice(
    company: Range, tmp_path: Path, when: str
) -> None:
    """The write has happened and its outcome is not on record: what stands there is found to be ours."""
    company.reset()
    died: list[str] = []

    def boundary(name: str) -> None:
        at, _, place = name.partition(" ")
        if not died and at == when and "/store-copies#" in f"/{place}" and "/outcome/" in place:
            died.append(name)
            raise Died

    home = tmp_path / "home"
    with opened_with_stores(company, home, boundary=boundary) as bulkhead:
        house = House(company, bulkhead)
        leaked(bulkhead, company)
        try:
            house.run(lambda: bool(died))
        except BaseException as exc:  # noqa: BLE001 - whatever dying looks like from outside
            assert died, exc
        site = bulkhead.sites["range"]
    with opened(Settings(home=home, responders="bob,cleo", mode="ask"), sites={"range": site}) as bulkhead:
        house = House(company, bulkhead)
        house.run(house.over)
    assert writes(company) == ONCE, "none is lost and none is doubled"
    now = secret_copies.held(company)
    assert len({held[SECRET] for held in now.values()}) == 1


@pytest.mark.slow
def test_doctor_reads_each_copy_and_says_what_is_wrong_with_it(company: Range, tmp_path: Path) -> None:
    company.reset()
    with opened_with_stores(company, tmp_path / "home") as bulkhead:
        site = bulkhead.sites["range"]
        findings, powers = look(site)
        assert {finding.state for finding in findings} == {"ok"}
        assert len(powers) == len(STORES)
        vault, cluster = company.stores()
        vault.sealed = True
        cluster.put("build", "ferry-aws", {ID: "x"})
        states = {finding.name: finding for finding in look(site)[0]}
        assert states["Store vault"].state == states["Store cluster"].state == "broken"
        assert f"has no key {SECRET}" in states["Store cluster"].detail
        said = str(look(replace(site, declared=()))[0])
        assert "no copy is declared in it" in said
        assert company.company.deploy_key[1] not in str((findings, powers, said))
    assert CATALOGUE["stores.put_copy"].undo is None

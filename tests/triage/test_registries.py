"""A leaked token of PyPI, crates.io or RubyGems.org: whether it works, whose it is, and what it reaches."""

from __future__ import annotations

import pytest

from bot.model import Credential, Exposure, Liveness, Report
from bot.range.registries.theft import BAD, RELEASE, SHOPS, TOKEN_NAME, open_shop
from bot.registries.pypi import macaroon
from bot.triage import triage
from bot.triage.liveness import liveness
from tests.triage.conftest import Company

KINDS = {"pypi": "pypi-token", "crates": "crates-token", "rubygems": "rubygems-key"}
SLOW = pytest.mark.slow  # the same for the others
EACH = pytest.mark.parametrize("name", ["pypi", *(pytest.param(name, marks=SLOW) for name in ("crates", "rubygems"))])


def held(company: Company, name: str) -> Credential:
    """A token of mara's, sealed as the reported one."""
    value = open_shop(company.range, SHOPS[name])
    credential = Credential(provider=name, kind=KINDS[name], fingerprint=company.vault.fingerprint(value))
    company.world.secrets.seal("reported", value, credential.key)
    return credential


@EACH
def test_it_is_live_until_it_is_revoked(company: Company, name: str) -> None:
    credential = held(company, name)
    assert liveness(company.world, credential)[0] == Liveness.LIVE
    company.range.registries[name].revoke(TOKEN_NAME)
    assert liveness(company.world, credential)[0] == Liveness.DEAD
    unheld = Credential(provider=name, kind=KINDS[name], id="other")
    assert liveness(company.world, unheld)[0] == Liveness.UNKNOWN
    company.fault(name, "*")
    assert liveness(company.world, credential)[0] == Liveness.UNKNOWN


@EACH
def test_a_run_whose_log_prints_it_leads_to_everything(company: Company, name: str) -> None:
    """The whole triage: the value is found in the log, its store by its name, its owner by the repository."""
    shop = SHOPS[name]
    open_shop(company.range, shop)
    run = company.run(RELEASE, repository=shop.repository)
    report = Report(source="test", by="jonas", text="", url=company.url(run, shop.repository))
    found = triage(company.world, company.recognizer, report)
    assert (found.credential.kind, found.live, found.exposure) == (KINDS[name], Liveness.LIVE, Exposure.PUBLIC)
    assert found.owners[0].name == "mara"
    assert [(store.name, store.repository) for store in found.stores] == [(shop.secret, shop.repository)]
    assert [ref.workflow for ref in found.leaking_workflows] == [RELEASE]
    rows = [each for each in found.reach if each.name == shop.secret]
    assert [each.credential.key for each in rows if each.credential] == [found.credential.key]


@EACH
def test_without_a_run_the_packages_say_where_they_come_from(company: Company, name: str) -> None:
    """Where the token or its registry tells which packages those are; crates.io tells nothing."""
    credential, shop = held(company, name), SHOPS[name]
    found = triage(company.world, company.recognizer, Report(source="test", by="jonas", text="", credential=credential))
    if name == "crates":
        assert found.repository == ""
        assert any("neither it nor crates.io tells" in sentence for sentence in found.unknown)
        return
    assert found.repository == shop.repository
    assert (shop.package, "the token may publish it") in [(each.name, each.how) for each in found.reach]
    assert any(f"an owner of {shop.package}" in owner.reason for owner in found.owners)


def test_packages_of_several_repositories_name_none(company: Company) -> None:
    credential = held(company, "rubygems")
    gems = company.range.registries["rubygems"]
    gems.publish("mara", "harbor-siren", BAD, b"x", source="https://github.com/harbor-lights/siren")
    found = triage(company.world, company.recognizer, Report(source="test", by="jonas", text="", credential=credential))
    assert found.repository == ""
    assert any("several repositories" in sentence for sentence in found.unknown)


def test_a_macaroon_says_what_it_is_for(company: Company) -> None:
    pypi = company.range.registries["pypi"]
    limited, whole = pypi.add_token("mara", "a", packages=("harbor-tides",)), pypi.add_token("mara", "b")
    read = macaroon(limited)
    assert read is not None
    assert (read.location, read.projects, read.short_lived) == ("pypi.org", ("harbor-tides",), False)
    assert macaroon(whole).projects == ()
    assert [macaroon(cut) for cut in ("pypi-", "pypi-Ag", limited[:40], "words", "pypi-////")] == [None] * 5

"""GitHub Enterprise: addresses, what a server lacks, and whole incidents below /api/v3."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bot.actions import CATALOGUE
from bot.actions.aws_identity import ProviderIn, RoleIn
from bot.actions.github_oidc import MigrationIn
from bot.app import opened
from bot.clients import GitHubClient
from bot.engine.decisions import Ask, open_asks
from bot.engine.ledger import Ledger
from bot.errors import InputError, SettingsError
from bot.model import Grade, RowState
from bot.range.company import FERRY
from bot.range.server import Range
from bot.settings import Settings, read
from bot.triage import refuse_other_github
from tests.test_migration import House, site_of

pytestmark = pytest.mark.timeout(600)  # whole incidents, on a busy machine


@pytest.mark.parametrize(
    ("api", "web"),
    [
        ("https://api.github.com", "https://github.com"),
        ("https://api.harbor.ghe.com", "https://harbor.ghe.com"),
        ("https://ghes.example.org/api/v3", "https://ghes.example.org"),
        ("http://127.0.0.1:81", "http://127.0.0.1:81"),
    ],
)
def test_the_pages_of_an_api_are_known_and_its_address_is_accepted(
    api: str, web: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert GitHubClient(token="none", base_url=api).web == web
    monkeypatch.setenv("BULKHEAD_GITHUB_API", f"{api}/")
    assert read().github_api == api


@pytest.mark.parametrize("api", ["https://ghes.example.org", "http://ghes.example.org/api/v3", "https://harbor.ghe.com"])
def test_an_address_that_is_no_api_is_refused_with_the_forms_that_there_are(
    api: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BULKHEAD_GITHUB_API", api)
    with pytest.raises(SettingsError, match=r"https://HOST/api/v3 of an Enterprise Server"):
        read()


@pytest.mark.parametrize(
    ("api", "issuer"),
    [
        ("https://ghes.example.org/api/v3", "https://ghes.example.org/_services/token"),
        ("https://api.harbor.ghe.com", "https://token.actions.harbor.ghe.com"),
    ],
)
@pytest.mark.parametrize(
    ("action", "inputs"),
    [
        ("aws.create_oidc_provider", ProviderIn(repository=FERRY)),
        ("aws.create_identity_role", RoleIn(repository=FERRY, key="")),
        ("github.open_migration", MigrationIn(repository=FERRY)),
    ],
)
def test_no_trust_is_written_for_an_issuer_that_is_not_github_coms(
    api: str, issuer: str, action: str, inputs: Any
) -> None:
    world: Any = SimpleNamespace(github=GitHubClient(token="none", base_url=api))
    with pytest.raises(InputError, match=f"come from {issuer}, for which Bulkhead writes no trust yet"):
        CATALOGUE[action].look(world, inputs)


@pytest.mark.parametrize("api", ["https://ghes.example.org/api/v3", "https://api.harbor.ghe.com"])
def test_a_run_at_another_github_is_not_read_under_its_name_at_ours(api: str) -> None:
    world: Any = SimpleNamespace(github=GitHubClient(token="none", base_url=api))
    with pytest.raises(InputError, match=r"that run is at github\.com, and Bulkhead asks (ghes\.example|harbor)"):
        refuse_other_github(world, "https://github.com/o/r/actions/runs/7")
    refuse_other_github(world, f"{world.github.web}/o/r/actions/runs/7")


def below(range_: Range, version: str, home: Path) -> Any:
    """An installation whose GitHub is an Enterprise Server of this version, and its company."""
    range_.reset()
    range_.github.state.enterprise = version
    token = range_.company.cast["github"]["bulkhead-bot"]
    github = GitHubClient(token=token, base_url=f"{range_.github_url}/api/v3")
    site = replace(site_of(range_), github=github)
    return opened(Settings(home=home, responders="bob,cleo", mode="ask"), sites={"range": site})


def leaked(house: House) -> str:
    house.answers["whose"] = "they are mine"
    value = str(house.range.company.cast["github"]["jonas"])
    house.bulkhead.inbox.land(
        source="drill", world="range", by="ann", text=f"jonas' token: {value}", at=house.range.clock.now()
    )  # fmt: skip
    return value


def asked(house: House) -> list[Ask]:
    """What the token's owner is asked to do."""
    return [ask for one in house.incidents() for ask in open_asks(house.events(one)) if ask.step == "revoke-by-hand"]


def searched(house: House) -> bool:
    """Whether the row is closed, and what the token planted was looked for."""
    return house.proven("find") and row(house).state == RowState.CLOSED


def row(house: House) -> Any:
    (found,) = [row for key, row in Ledger.fold(house.events()).rows.items() if key.startswith("github-pat")]
    return found


@pytest.mark.slow
def test_a_whole_incident_on_a_server_that_revokes(company: Range, tmp_path: Path) -> None:
    with below(company, "3.19.1", tmp_path) as bulkhead:
        house = House(company, bulkhead)
        value = leaked(house)
        house.run(lambda: searched(house))
        assert company.github.state.tokens[value].revoked
        assert (row(house).state, row(house).grade) == (RowState.CLOSED, Grade.REFUSED)
        skipped = [event.step for event in house.events() if event.kind == "skipped"]
        assert "revoke-by-hand" in skipped
    rows = company.switchboard.requests()
    assert all(r["route"].startswith("/api/v3/") for r in rows if r["server"] == "github")


@pytest.mark.slow
def test_a_server_that_cannot_revoke_leaves_it_to_the_owner_and_its_refusal_proves_it(
    company: Range, tmp_path: Path
) -> None:
    with below(company, "3.17.4", tmp_path) as bulkhead:
        house = House(company, bulkhead)
        value = leaked(house)
        house.answers["revoke-by-hand"] = "wait"
        house.run(lambda: bool(asked(house)))
        (ask,) = asked(house)
        assert f"{company.github_url}/settings/tokens" in ask.what
        assert value not in ask.what
        assert row(house).state != RowState.CLOSED
        assert not house.proven("find"), "what it plants until then is looked for afterwards"
        company.github.state.tokens[value].revoked = True  # its owner deletes it
        house.answers.pop("revoke-by-hand")
        house.run(lambda: searched(house))
        assert (row(house).state, row(house).grade) == (RowState.CLOSED, Grade.REFUSED)


@pytest.mark.slow
def test_links_of_a_server_lead_to_its_pages_and_what_it_lacks_is_not_found(company: Range) -> None:
    company.reset()
    company.github.state.enterprise = "3.17.4"
    token = company.company.cast["github"]["bulkhead-bot"]
    server = GitHubClient(token=token, base_url=f"{company.github_url}/api/v3")
    assert server.get(f"/repos/{FERRY}")["html_url"] == f"{company.github_url}/{FERRY}"
    assert server.ask(f"/repos/{FERRY}").headers["x-github-enterprise-version"] == "3.17.4"
    for path in (f"/repos/{FERRY}/codespaces/secrets", f"/repos/{FERRY}/agents/secrets"):
        with pytest.raises(Exception, match="404"):
            server.get(path)
    with pytest.raises(Exception, match="404"):
        GitHubClient(token=token, base_url=company.github_url).get(f"/repos/{FERRY}")

"""One App in several organizations: whose token goes where, what is not installed, and that reading changes nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from pydantic import SecretStr

from bot.clients import GitHubClient
from bot.doctor.github import look
from bot.errors import Forbidden, NotFound, Unmapped
from bot.installations import Installations
from bot.model import WorkflowRef
from bot.range.company import DEPLOY, FERRY, ORG
from bot.settings import Settings
from bot.sites import Site, installations_of
from tests.actions.conftest import Drill

SECOND, QUAY = "quay-works", "quay-works/crane"
STRANGER, BOAT = "not-ours", "not-ours/boat"


@pytest.fixture
def github(drill: Drill) -> Installations:
    """The App on two organizations; a third one has never heard of it."""
    state = drill.range.github.state
    app = next(iter(state.apps.values()))
    for org, repo in ((SECOND, QUAY), (STRANGER, BOAT)):
        state.add_org(org)
        state.add_member(org, "mara", role="admin")
        state.add_repo(repo)
        state.commit_files(repo, {"README.md": "# here\n", DEPLOY: "on: push\njobs: {}\n"}, "Start", "mara", runs=False)
    state.install(app, SECOND)
    cast = drill.range.company.cast["app"]
    made = installations_of(cast["app_id"], cast["private_key"], drill.range.github_url)
    drill.world = replace(drill.world, github=made)
    return made


def minted(drill: Drill) -> list[tuple[str, bool]]:
    """Of each installation token so far: the owner, and whether it may change anything."""
    tokens = [t for t in drill.range.github.state.tokens.values() if t.installation]
    return [(t.installation.account.login, set(t.permissions.values()) != {"read"}) for t in tokens]  # type: ignore[union-attr]


def workflow(github: Installations, repository: str) -> str:
    rows = github.pages(f"/repos/{repository}/actions/workflows", "workflows")
    return next(str(row["state"]) for row in rows if row["path"] == DEPLOY)


def test_each_call_has_the_token_of_its_owners_installation(drill: Drill, github: Installations) -> None:
    for repository in (FERRY, QUAY):
        drill.do("github.disable_workflow", WorkflowRef(repository=repository, workflow=DEPLOY))
        assert workflow(github, repository) == "disabled_manually"
    assert sorted(set(minted(drill))) == [(ORG, False), (ORG, True), (SECOND, False), (SECOND, True)]
    assert len(minted(drill)) == 4, "two an installation, and no more while they live"
    assert github.left() is not None


def test_the_token_that_reads_changes_nothing_in_other_hands(drill: Drill, github: Installations) -> None:
    github.get(f"/repos/{FERRY}")
    (value,) = [t.value for t in drill.range.github.state.tokens.values() if t.installation]
    thief = GitHubClient(token=value, base_url=drill.range.github_url)
    assert thief.get(f"/repos/{FERRY}")["full_name"] == FERRY
    with pytest.raises(Forbidden):
        thief.send("PUT", f"/repos/{FERRY}/actions/workflows/deploy.yml/disable")
    fingerprinter = drill.world.secrets
    drill.world.secrets.seal("own", value, "github-installation:x")
    held = fingerprinter.of("github-installation:x")
    assert held is not None
    assert github.is_own(held), "a leak of it is a leak of ours"


def test_where_it_is_not_installed_what_is_public_is_read_and_a_change_is_a_persons(
    drill: Drill, github: Installations
) -> None:
    assert github.get(f"/repos/{BOAT}")["full_name"] == BOAT
    given = WorkflowRef(repository=BOAT, workflow=DEPLOY)
    with pytest.raises(Unmapped, match=f"not installed on {STRANGER}: a person has to do it there") as caught:
        drill.do("github.disable_workflow", given)
    assert f"{drill.range.github_url}/settings/apps" in str(caught.value)
    assert all(owner != STRANGER for owner, _ in minted(drill))
    state = drill.range.github.state
    state.install(next(iter(state.apps.values())), STRANGER)
    github.forget()
    drill.do("github.disable_workflow", given)
    assert workflow(github, BOAT) == "disabled_manually"


@pytest.mark.slow
def test_a_suspended_installation_is_a_persons_too_and_none_at_all_says_where_to_install(
    drill: Drill, github: Installations
) -> None:
    state = drill.range.github.state
    for installation in state.installations.values():
        installation.suspended_at = state.now() if installation.account.login == SECOND else None
    with pytest.raises(Unmapped, match=f"the App is suspended on {SECOND}"):
        drill.do("github.disable_workflow", WorkflowRef(repository=QUAY, workflow=DEPLOY))
    github.forget()
    for installation in state.installations.values():
        installation.suspended_at = state.now()
    with pytest.raises(Forbidden, match="installed nowhere, or suspended everywhere"):
        github.get(f"/repos/{FERRY}")


@pytest.mark.slow
def test_the_only_installation_that_is_named_is_the_only_one_that_acts(drill: Drill, github: Installations) -> None:
    cast = drill.range.company.cast["app"]
    one = installations_of(cast["app_id"], cast["private_key"], drill.range.github_url, cast["installation_id"])
    assert [each.owner for each in one.everywhere()] == [ORG]
    with pytest.raises(Unmapped, match=SECOND):
        one.send("PUT", f"/repos/{QUAY}/actions/workflows/deploy.yml/disable")
    gone = installations_of(cast["app_id"], cast["private_key"], drill.range.github_url, 999)
    with pytest.raises(NotFound):
        gone.get(f"/repos/{FERRY}")
    assert github.of(SECOND) is not None


@pytest.mark.slow
def test_doctor_tells_each_installation_apart(drill: Drill, github: Installations, tmp_path: Any) -> None:
    state, cast = drill.range.github.state, drill.range.company.cast["app"]
    next(i for i in state.installations.values() if i.account.login == SECOND).suspended_at = state.now()
    settings = Settings(
        home=tmp_path, github_api=drill.range.github_url, github_app_id=str(cast["app_id"]),
        github_app_key=SecretStr(cast["private_key"]),
    )  # fmt: skip
    site = Site(name="real", aws=drill.world.aws, github=github, clock=drill.range.clock, identities=())
    findings, power = look(settings, site)
    states = {finding.detail: finding.state for finding in findings}
    base = f"{drill.range.github_url} as App {cast['app_id']} on "
    assert states[f"{base}{ORG}"] == "ok"
    assert states[f"{base}{SECOND} is suspended"] == "broken"
    assert power is not None
    assert SECOND in power.summary
    for installation in list(state.installations):
        del state.installations[installation]
    (none,), _ = look(settings, site)
    assert (none.state, none.detail) == ("broken", "the App is installed nowhere")

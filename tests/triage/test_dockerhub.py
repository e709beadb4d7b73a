"""A leaked Docker Hub token: under which name it signs in, whether it works, what it reaches, what outlives it."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest

from bot.model import Credential, Exposure, Liveness, Report
from bot.range.registries import HUB_ORG, HUB_OWNER
from bot.range.registries.docker_theft import (
    IMAGE,
    RELEASE,
    REPOSITORY,
    SECRET,
    TOKEN_NAME,
    hub_of,
    open_shop,
    workflow,
)
from bot.triage import triage
from bot.triage.dockerhub import TAIL, account_of
from bot.triage.liveness import liveness
from bot.triage.rules import RULES, docker_names
from tests.triage.conftest import Company

BOTH = pytest.mark.parametrize("organizations", [False, pytest.param(True, marks=pytest.mark.slow)])
PAT = RULES["dockerhub-pat"].examples(Random(7))[0]


def held(company: Company, *, organizations: bool = False, account: bool = True) -> Credential:
    """The company's token, sealed as the reported one."""
    value = open_shop(company.range, organizations=organizations)
    kind, name = ("dockerhub-oat", HUB_ORG) if organizations else ("dockerhub-pat", HUB_OWNER)
    credential = Credential(
        provider="dockerhub", kind=kind, fingerprint=company.vault.fingerprint(value), account=name if account else ""
    )
    company.world.secrets.seal("reported", value, credential.key)
    return credential


@BOTH
def test_it_is_live_until_it_is_inactive_under_its_own_name_only(company: Company, organizations: bool) -> None:
    credential = held(company, organizations=organizations)
    assert liveness(company.world, credential)[0] == Liveness.LIVE
    assert liveness(company.world, replace(credential, account=""))[0] == Liveness.UNKNOWN
    hub_of(company.range).revoke(TOKEN_NAME)
    assert liveness(company.world, credential)[0] == Liveness.DEAD
    unheld = replace(credential, id="other")
    assert liveness(company.world, unheld)[0] == Liveness.UNKNOWN
    company.fault("dockerhub", "/token")
    assert liveness(company.world, credential)[0] == Liveness.UNKNOWN


@BOTH
def test_a_run_whose_log_prints_it_leads_to_everything(company: Company, organizations: bool) -> None:
    """The whole triage: value and name are found in the log, its store by its name, its owner by the repository."""
    open_shop(company.range, organizations=organizations)
    run = company.run(RELEASE, repository=REPOSITORY)
    report = Report(source="test", by="jonas", text="", url=company.url(run, REPOSITORY))
    found = triage(company.world, company.recognizer, report)
    kind, name = ("dockerhub-oat", HUB_ORG) if organizations else ("dockerhub-pat", HUB_OWNER)
    assert (found.credential.kind, found.credential.account) == (kind, name)
    assert (found.live, found.exposure, found.owners[0].name) == (Liveness.LIVE, Exposure.PUBLIC, "mara")
    assert [(store.name, store.repository) for store in found.stores] == [(SECRET, REPOSITORY)]
    assert [(tail.kind, tail.of) for tail in found.tails if tail.kind == TAIL] == [(TAIL, found.credential.key)]
    assert [ref.workflow for ref in found.leaking_workflows] == [RELEASE]
    packages = [each.name for each in found.reach if each.kind == "package"]
    assert packages == ([IMAGE] if organizations else []), "what a personal token may push to, nobody tells"


def test_a_name_that_only_the_workflow_says_is_tried_and_a_refusal_says_nothing(company: Company) -> None:
    credential = held(company, account=False)
    run = company.state.runs[company.run(RELEASE, repository=REPOSITORY)]
    data = {"path": RELEASE, "head_sha": run.head_sha, "repository": {"full_name": REPOSITORY}}
    unknown: list[str] = []
    assert account_of(company.world, credential, data, unknown) == HUB_OWNER
    assert account_of(company.world, replace(credential, account="other"), data, unknown) == "other"
    assert unknown == []
    hub_of(company.range).revoke(TOKEN_NAME)
    assert account_of(company.world, credential, data, unknown) == ""
    assert f"refuses it to {HUB_OWNER}, {HUB_ORG}" in unknown.pop()
    assert account_of(company.world, credential, {}, unknown) == ""
    assert "none stands beside it" in unknown.pop()
    assert account_of(company.world, replace(credential, id="unheld"), data, unknown) == ""
    assert account_of(company.world, credential, data | {"path": "gone.yml"}, unknown) == ""
    assert "gone.yml of harbor-lights/lighthouse could not be read" in unknown[0]
    unknown.clear()
    company.fault("dockerhub", "/token", 429)
    assert account_of(company.world, credential, data, unknown) == ""
    assert "could not be tried" in unknown[0]


@pytest.mark.parametrize("text, account", [
    (f"DOCKERHUB_USERNAME={HUB_OWNER}\nDOCKERHUB_TOKEN={{}}\n", HUB_OWNER),
    (f"docker login -u {HUB_OWNER} -p {{}}", HUB_OWNER),
    (f"with:\n  username: {HUB_OWNER}\n  password: {{}}\n", HUB_OWNER),
    (f'{{{{"docker_user": "{HUB_OWNER}", "token": "{{}}"}}}}', HUB_OWNER),
    (f"curl -u {HUB_OWNER}:{{}} https://hub.docker.com", HUB_OWNER),
    (f"DOCKER_USER=first1\nDOCKER_PASSWORD={{}}\nDOCKER_USER={HUB_OWNER}\n", ""),  # which of them, nothing says
    ("token: {}", ""),
    ("DOCKER_USER=a.b-c\n{}", ""),
])  # fmt: skip
def test_the_name_that_stands_beside_it(company: Company, text: str, account: str) -> None:
    (hit,) = company.recognizer.find(text.format(PAT))
    assert (hit.kind, hit.value, hit.account) == ("dockerhub-pat", PAT, account)


def test_which_names_a_workflow_says() -> None:
    assert docker_names(workflow(HUB_OWNER)) == (HUB_OWNER,)
    login = "uses: docker/login-action@v4\nwith:\n  username: harborlights\n  password: ${{ secrets.X }}"
    assert docker_names(login) == (HUB_ORG,)

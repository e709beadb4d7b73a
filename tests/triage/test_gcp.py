"""A leaked service-account key: whether it works, what it reaches, what outlives it."""

from __future__ import annotations

import json
from dataclasses import replace

from bot.gcp import KIND, TOKEN_LIFE_S, own_name
from bot.model import Credential, Exposure, Liveness, Report
from bot.range.gcp.theft import DEPLOY, REPOSITORY, SECRET, open_quay
from bot.triage import triage
from bot.triage.liveness import liveness
from tests.triage.conftest import Company


def held(company: Company) -> Credential:
    """The company's key, sealed as the reported one."""
    file = open_quay(company.range)
    credential = Credential(provider="gcp", kind=KIND, id=str(own_name(file)))
    company.world.secrets.seal("reported", json.loads(file)["private_key"], credential.key)
    return credential


def test_it_is_live_until_it_is_disabled_and_being_asked_buys_nothing(company: Company) -> None:
    credential = held(company)
    tokens = company.range.gcp.tokens
    assert liveness(company.world, credential)[0] == Liveness.LIVE
    assert tokens == {}
    (key,) = company.range.gcp.accounts[credential.id.split("/")[3]].keys.values()
    key.disabled = True
    assert liveness(company.world, credential) == (
        Liveness.DEAD, "Google refuses the key: invalid_grant, Invalid JWT Signature."
    )  # fmt: skip
    assert tokens == {}


def test_a_clock_that_is_wrong_or_a_silent_google_make_no_live_key_dead(company: Company) -> None:
    credential = held(company)
    client = company.world.gcp
    assert client is not None
    early = replace(company.world, gcp=type(client)(  # type: ignore[call-arg]
        now=lambda: company.world.clock.now().replace(year=2001), iam_url=company.range.gcp.base_url,
        resources_url=company.range.gcp.base_url, tokens_url=company.range.gcp.base_url,
    ))  # fmt: skip
    assert liveness(early, credential)[0] == Liveness.UNKNOWN
    company.fault("gcp", "*")
    assert liveness(company.world, credential)[0] == Liveness.UNKNOWN


def test_of_an_id_alone_iam_says_whether_it_works(company: Company) -> None:
    credential = replace(held(company), fingerprint="")
    company.world.secrets.wipe(company.world.secrets.ref("reported"))
    assert liveness(company.world, credential)[0] == Liveness.LIVE
    account = company.range.gcp.accounts[credential.id.split("/")[3]]
    account.keys.clear()
    assert liveness(company.world, credential) == (Liveness.DEAD, "IAM has no such key any more")
    assert liveness(company.world, replace(credential, id="words"))[0] == Liveness.UNKNOWN


def test_a_run_whose_log_prints_the_key_file_leads_to_everything(company: Company) -> None:
    open_quay(company.range)
    run = company.run(DEPLOY, repository=REPOSITORY)
    report = Report(source="test", by="jonas", text="", url=company.url(run, REPOSITORY))
    found = triage(company.world, company.recognizer, report)
    assert (found.credential.kind, found.live, found.exposure) == (KIND, Liveness.LIVE, Exposure.PUBLIC)
    assert found.credential.account == "harbor-lights-prod"
    assert found.owners[0].name == "mara"
    assert [(store.name, store.repository) for store in found.stores] == [(SECRET, REPOSITORY)]
    assert {each.name for each in found.reach if each.kind == "gcp-role"} == {
        "roles/storage.objectViewer", "roles/run.developer"
    }  # fmt: skip
    (tail,) = [tail for tail in found.tails if tail.of == found.credential.key]
    assert abs((tail.until - company.world.now()).total_seconds() - TOKEN_LIFE_S) < 60
    assert any("id-token" in sentence for sentence in found.unknown)

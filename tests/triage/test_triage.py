"""Triage as a whole: from a report to all that the plan needs, in the drill company."""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import replace
from datetime import datetime
from random import Random
from typing import Any

import pytest
from pydantic import TypeAdapter

from bot.clients import GitHubClient
from bot.errors import InputError, NotFound
from bot.model import AlertRef, Credential, Exposure, Liveness, Report, RunRef, SecretStore, Triage, WorkflowRef
from bot.triage import find_in_run, runs, sealed_label, triage
from bot.triage.rules import chars
from tests.triage.conftest import DEPLOY, FERRY, LEDGER, Company

TWO_SECRETS = """\
name: Deploy
on: workflow_dispatch
jobs:
  deploy:
    runs-on: ubuntu-latest
    env:
      AWS_ACCESS_KEY_ID: ${{ secrets.AWS_ACCESS_KEY_ID }}
      AWS_SECRET_ACCESS_KEY: ${{ secrets.AWS_SECRET_ACCESS_KEY }}
      NPM_TOKEN: ${{ secrets.NPM_TOKEN }}
    steps:
      - run: env | base64
"""


class Listening(GitHubClient):
    """The client itself; it keeps what GitHub answered."""

    def __init__(self, **kw: Any) -> None:
        super().__init__(**kw)
        self.heard: list[str] = []

    def get(self, path: str, **params: Any) -> Any:
        answer = super().get(path, **params)
        self.heard.append(f"{path} {json.dumps(answer)}")
        return answer


def of(company: Company, **report: Any) -> Triage:
    return triage(company.world, company.recognizer, Report(source="cli", by="jonas", text="", **report))


def told(found: Triage, *words: str) -> bool:
    """Whether one sentence of what is unknown holds all the words."""
    return any(all(word in sentence for word in words) for sentence in found.unknown)


def test_the_drills_leak(company: Company) -> None:
    leak = company.range.leak()
    company.range.abuse(leak["run_url"])
    writes = company.mutations()
    found = of(company, url=leak["run_url"])
    assert found.credential == Credential(
        provider="aws", kind="aws-access-key", id=company.key_id, account="123456789012",
        fingerprint=company.vault.fingerprint(company.secret),
    )  # fmt: skip
    assert (found.live, found.exposure, found.repository) == (Liveness.LIVE, Exposure.PUBLIC, FERRY)
    run = company.world.github.get(f"/repos/{FERRY}/actions/runs/{leak['run_id']}")
    assert found.exposed_from == run["created_at"]
    assert [ref.run_id for ref in found.leaking_runs] == [leak["run_id"], leak["second_run_id"]]
    assert found.leaking_runs[0] == RunRef(
        repository=FERRY, run_id=leak["run_id"], workflow=DEPLOY, commit=run["head_sha"], attempt=1
    )
    assert found.leaking_workflows == (WorkflowRef(repository=FERRY, workflow=DEPLOY),)
    assert found.stores == (
        SecretStore(repository=FERRY, name="AWS_ACCESS_KEY_ID", part="id"),
        SecretStore(repository=FERRY, name="AWS_SECRET_ACCESS_KEY", part="secret"),
    )
    assert {(s.where.partition(":")[0], s.encoding) for s in found.sightings} >= {
        (f"{FERRY} run {leak['run_id']} attempt 1", "base64")
    }
    assert found.owners[0].name == "mara"
    assert found.alerts == (AlertRef(repository=FERRY, number=1),)
    assert {each.name for each in found.reach if each.kind == "aws-access-key"} == {s.name for s in found.stores}
    assert "STATUS_PAGE_TOKEN" not in {each.name for each in found.reach}
    tails = {tail.kind: tail for tail in found.tails}
    assert tails["sts-session"].of == company.key
    assert 35.9 * 3600 < (tails["sts-session"].until - company.world.now()).total_seconds() <= 36 * 3600
    assert "github-token" in tails  # the second run goes on
    assert told(found, str(leak["second_run_id"]), "still going on")
    assert company.mutations() == writes


def test_value_goes_to_the_vault_and_nowhere_else(company: Company) -> None:
    leak = company.range.leak()
    found = of(company, url=leak["run_url"])
    held = company.world.secrets.of(company.key)
    assert held is not None
    assert held.reveal() == company.secret
    assert company.world.secrets.ref(sealed_label(company.key))
    adapter = TypeAdapter(Triage)
    written = adapter.dump_json(found).decode()
    assert company.secret not in written + repr(found)
    assert adapter.validate_json(written) == found


def test_what_a_job_was_given_by_actions_itself_is_known_under_its_workflow(company: Company) -> None:
    """It dies with the run: a row of its own could be closed by nobody."""
    grants = "    permissions:\n      contents: read\n      id-token: write\n    env:"
    company.commit({DEPLOY: TWO_SECRETS.replace("    env:", grants, 1)})
    run = company.run()
    company.finish()
    found = of(company, url=company.url(run))
    tokens = [each for each in found.reach if each.credential and each.credential.provider == "github"]
    assert [each.credential.key for each in tokens if each.credential] == [f"github-token:{FERRY}/{DEPLOY}"]
    assert "it stands in" in tokens[0].how


def test_github_is_never_asked_for_an_alerts_secret(company: Company) -> None:
    leak = company.range.leak()
    token = company.range.company.cast["github"]["bulkhead-bot"]
    listening = Listening(token=token, base_url=company.range.github_url)
    company.world = replace(company.world, github=listening)
    of(company, url=leak["run_url"])
    about = [heard for heard in listening.heard if heard.startswith(f"/repos/{FERRY}/secret-scanning/alerts ")]
    assert about
    assert not [heard for heard in about if '"secret":' in heard]


def test_run_that_has_ended_meanwhile_is_read(company: Company) -> None:
    leak = company.range.leak()
    company.finish()
    found = of(company, url=leak["run_url"])
    assert {s.where.split(" attempt")[0] for s in found.sightings if " run " in s.where} == {
        f"{FERRY} run {leak['run_id']}", f"{FERRY} run {leak['second_run_id']}",
    }  # fmt: skip
    assert not told(found, "still going on")


def test_run_that_did_not_leak_is_left_out(company: Company) -> None:
    company.commit({DEPLOY: TWO_SECRETS.replace("env | base64", "echo clean")})
    clean = company.run()
    company.finish()
    company.commit({DEPLOY: TWO_SECRETS})
    leaking = company.run()
    company.finish()
    assert [ref.run_id for ref in of(company, url=company.url(leaking)).leaking_runs] == [leaking]
    assert clean != leaking


def test_every_attempt_is_read(company: Company) -> None:
    run = company.run()
    company.finish()
    company.world.github.send("POST", f"/repos/{FERRY}/actions/runs/{run}/rerun")
    company.finish()
    found = find_in_run(company.world, company.recognizer, FERRY, run)
    assert {hit.where.split(":")[0] for hit in found} == {f"{FERRY} run {run} attempt {n}" for n in (1, 2)}
    assert {hit.key for hit in found} == {company.key}
    assert of(company, url=company.url(run)).leaking_runs[0].attempt == 2


def test_other_credentials_of_the_run_are_in_reach(company: Company) -> None:
    token = "npm_" + chars(Random(1), 36)
    company.state.set_secret(FERRY, "NPM_TOKEN", token)
    company.commit({DEPLOY: TWO_SECRETS})
    run = company.run()
    company.finish()
    key = f"npm-token:{company.vault.fingerprint(token)}"
    about_aws = of(company, url=company.url(run))
    assert about_aws.credential.key == company.key
    (other,) = [each for each in about_aws.reach if each.kind == "npm-token"]
    assert other.credential is not None
    assert other.credential.key == key
    held = company.world.secrets.of(key)
    assert held is not None
    assert held.reveal() == token
    about_npm = of(company, url=company.url(run), credential=other.credential)
    assert about_npm.credential == other.credential
    assert company.key in {each.credential.key for each in about_npm.reach if each.credential}
    assert not [tail for tail in about_npm.tails if tail.kind == "sts-session"]


def test_private_repository_is_internal(company: Company) -> None:
    company.state.add_collaborator(LEDGER, "bulkhead-bot", "admin")
    for name, value in (("AWS_ACCESS_KEY_ID", company.key_id), ("AWS_SECRET_ACCESS_KEY", company.secret)):
        company.state.set_secret(LEDGER, name, value)
    company.commit({DEPLOY: TWO_SECRETS}, repository=LEDGER)
    run = company.run(repository=LEDGER)
    company.finish()
    found = of(company, url=company.url(run, LEDGER), exposure=Exposure.PUBLIC)
    assert (found.exposure, found.credential.key) == (Exposure.INTERNAL, company.key)


def test_log_that_is_gone(company: Company) -> None:
    leak = company.range.leak()
    company.world.github.send("DELETE", f"/repos/{FERRY}/actions/runs/{leak['run_id']}/logs")
    with pytest.raises(NotFound, match="deleted"):
        find_in_run(company.world, company.recognizer, FERRY, leak["run_id"])
    one = Credential(provider="aws", kind="aws-access-key", id=company.key_id)
    found = of(company, url=leak["run_url"], credential=one)
    assert (found.live, found.credential.fingerprint) == (Liveness.LIVE, "")
    assert told(found, str(leak["run_id"]), "no log that can be read")
    assert leak["run_id"] in [ref.run_id for ref in found.leaking_runs]
    with pytest.raises(NotFound):
        find_in_run(company.world, company.recognizer, FERRY, 1)


def test_run_that_goes_on_has_no_log_yet(company: Company) -> None:
    with pytest.raises(NotFound, match="has ended"):
        find_in_run(company.world, company.recognizer, FERRY, company.run())


def test_id_alone(company: Company) -> None:
    one = Credential(provider="aws", kind="aws-access-key", id=company.key_id, account="123456789012")
    found = of(company, credential=one)
    assert (found.credential, found.live, found.exposure) == (one, Liveness.LIVE, Exposure.UNKNOWN)
    assert (found.repository, found.leaking_runs, found.stores) == (FERRY, (), ())  # by the user's tag
    since = company.world.now().timestamp() - 90 * 86400
    assert abs(_stamp(found.exposed_from) - since) < 600  # older than the trail keeps
    assert told(found, "Since when")
    assert [tail.kind for tail in found.tails] == ["sts-session"]
    assert found.owners[0].name == "mara"


def test_young_keys_own_age_bounds_the_window(company: Company) -> None:
    company.range.clock.advance(3600)
    made = company.world.aws.client("iam").create_access_key(UserName="harbor-backup")["AccessKey"]
    one = Credential(provider="aws", kind="aws-access-key", id=made["AccessKeyId"], account="123456789012")
    assert abs(_stamp(of(company, credential=one).exposed_from) - company.world.now().timestamp()) < 600


def _stamp(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def test_value_that_was_sealed_at_the_border(company: Company) -> None:
    company.world.secrets.seal(sealed_label(company.key), company.secret, credential=company.key)
    one = Credential(provider="aws", kind="aws-access-key", id=company.key_id, account="123456789012")
    found = of(company, credential=one)
    assert found.credential.fingerprint == company.vault.fingerprint(company.secret)


def test_secret_of_another_key_is_kept_for_scrubbing_and_proves_nothing(company: Company) -> None:
    wrong = chars(Random(9), 40)
    company.world.secrets.seal(sealed_label(company.key), wrong, credential=company.key)
    one = Credential(provider="aws", kind="aws-access-key", id=company.key_id, account="123456789012")
    found = of(company, credential=one)
    assert (found.credential.fingerprint, found.live) == ("", Liveness.LIVE)
    assert company.world.secrets.of(company.key) is None
    assert wrong not in company.world.scrub(f"it was {wrong}")
    assert wrong in [secret.reveal() for secret in company.vault.held("incident-1")]
    assert told(found, "belongs to is not known")


def test_alert_of_another_key_is_not_ours(company: Company) -> None:
    other, _ = company.account.add_key("harbor-backup")
    sha = company.commit({"docs/backup.md": f"key {other}\n"})
    company.state.add_alert(
        FERRY, secret_type="amazon_aws_access_key_id", display_name="Key", secret=other,
        locations=({"type": "commit", "path": "docs/backup.md", "line": 1, "sha": sha},),
    )  # fmt: skip
    leak = company.range.leak()
    assert [alert.number for alert in of(company, url=leak["run_url"]).alerts] == [1]


def test_file_that_shows_the_value_moves_the_window(company: Company) -> None:
    text = f"AWS_ACCESS_KEY_ID={company.key_id}\nAWS_SECRET_ACCESS_KEY={company.secret}\n"
    sha = company.commit({".env": text})
    company.state.add_alert(
        FERRY, secret_type="amazon_aws_secret_access_key", display_name="Secret", secret=company.secret,
        locations=({"type": "commit", "path": ".env", "line": 2, "sha": sha},),
    )  # fmt: skip
    seen = company.world.now().timestamp()
    company.range.clock.advance(86400)
    leak = company.range.leak()
    found = of(company, url=leak["run_url"])
    assert abs(_stamp(found.exposed_from) - seen) < 600
    assert [alert.number for alert in found.alerts] == [2, 1]
    assert [s for s in found.sightings if ".env" in s.where]


def test_parts_that_fail_are_sentences(company: Company) -> None:
    leak = company.range.leak()
    company.fault("github", "*/secret-scanning/alerts")
    company.fault("github", "*/workflows/*/runs")
    company.fault("github", "*/contents/*")
    company.fault("aws", "*")
    found = of(company, url=leak["run_url"])
    assert (found.credential.key, found.live) == (company.key, Liveness.UNKNOWN)
    assert told(found, "still works")
    assert told(found, "secret-scanning alerts")
    assert told(found, "other runs")
    assert told(found, "reach of run")
    unseen = [(one.kind, one.scope, one.known) for one in found.reach if "could read" in one.name]
    assert unseen == [("secret", "unknown", False)], "a row that only a person's word closes"


def test_report_that_leads_to_nothing(company: Company) -> None:
    with pytest.raises(InputError, match="no credential"):
        of(company)
    company.commit({DEPLOY: TWO_SECRETS.replace("env | base64", "echo clean")})
    run = company.run()
    company.finish()
    assert find_in_run(company.world, company.recognizer, FERRY, run) == ()
    with pytest.raises(InputError, match="no credential"):
        of(company, url=company.url(run))
    with pytest.raises(NotFound):
        of(company, url=company.url(1))


def zipped(**files: str) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return out.getvalue()


def test_steps_that_a_jobs_log_repeats_are_read_once() -> None:
    data = zipped(**{"0_deploy.txt": "whole", "deploy/1_Set up job.txt": "again", "test/1_Set up job.txt": "only here"})
    assert runs.texts_of(data, "run", []) == [("0_deploy.txt", "whole"), ("test/1_Set up job.txt", "only here")]


def test_log_that_unpacks_to_more_than_a_machine_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "MAX_LOG", 1000)
    unknown: list[str] = []
    texts = runs.texts_of(
        zipped(**{"0_a.txt": "a" * 600, "1_b.txt": "b" * 10_000_000, "2_c.txt": "c"}), "run 7", unknown
    )
    assert [(name, len(text)) for name, text in texts] == [("0_a.txt", 600), ("1_b.txt", 400)]
    assert unknown == ["The log of run 7 is longer than 1000 bytes; what follows was not read"]

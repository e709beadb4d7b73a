"""Doctor: what is set and missing, what works against the range, and what a stolen identity could do."""

from __future__ import annotations

import json
import re
import stat
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import boto3
import pytest
from pydantic import SecretStr

from bot import doctor
from bot.doctor import Examination, Finding
from bot.drill import Range, range_up
from bot.npm import NpmClient
from bot.range.company import BUCKET
from bot.settings import Settings
from bot.sites import range_gcp, range_site
from tests.incidents import ASKING, house


@pytest.fixture(autouse=True)
def nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No identity of this machine, and nobody to ask for one."""
    import os

    for name in [n for n in os.environ if n.startswith(("AWS_", "BULKHEAD_", "GITHUB_"))]:
        monkeypatch.delenv(name)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture(scope="module")
def range_here() -> Iterator[Range]:
    with range_up() as running:
        yield running


def finding(found: Examination, name: str) -> Finding:
    return next(one for one in found.findings if one.name.startswith(name))


def test_with_nothing_set_everything_is_missing_and_nothing_is_broken(tmp_path: Path) -> None:
    found = doctor.examine(Settings(home=tmp_path / "home"))
    assert {name: finding(found, name).state for name in ("GitHub", "AWS", "Responders", "Mode", "Playbook")} == {
        "GitHub": "missing", "AWS": "missing", "Responders": "missing", "Mode": "warning", "Playbook": "warning",
    }  # fmt: skip
    assert all(finding(found, name).disables for name in ("GitHub", "AWS", "Responders", "Mode"))
    assert found.powers == []
    assert not found.broken
    assert not (tmp_path / "home").exists(), "doctor only reads"


def test_what_is_set_and_does_not_answer_is_broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AK" + "IA" + "MADEUPKEY7EXAMPL")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "made-up")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    token = SecretStr("gh" + "p_madeup")
    found = doctor.examine(Settings(home=tmp_path, github_token=token, github_api="http://127.0.0.1:9"))
    assert [finding(found, name).state for name in ("GitHub", "AWS")] == ["broken", "broken"]
    assert found.broken
    assert token.get_secret_value() not in str(found.as_json())


def test_responders_mode_and_database_are_told(tmp_path: Path) -> None:
    house(tmp_path, ASKING)
    found = doctor.examine(Settings(home=tmp_path, responders="ann, bo", mode="act"))
    assert finding(found, "Responders").detail == "2: ann, bo"
    assert finding(found, "Mode").state == "ok"
    assert finding(found, "Database").detail.endswith("; 1 open incidents")
    one = doctor.examine(Settings(home=tmp_path, responders="ann", mode="ask"))
    assert finding(one, "Responders").state == "warning"
    assert "two people" in finding(one, "Responders").disables


def test_a_vault_key_that_others_can_read_is_a_warning(tmp_path: Path) -> None:
    house(tmp_path, ASKING)
    settings = Settings(home=tmp_path)
    assert finding(doctor.examine(settings), "Vault key").state == "ok"
    key = tmp_path / "vault.key"
    key.chmod(stat.S_IMODE(key.stat().st_mode) | 0o040)
    assert finding(doctor.examine(settings), "Vault key").state == "warning"


def test_another_vault_key_is_broken(tmp_path: Path) -> None:
    house(tmp_path, ASKING)
    (tmp_path / "vault.key").unlink()
    found = doctor.examine(Settings(home=tmp_path))
    assert finding(found, "Database").state == "broken"


def test_a_playbook_with_a_mistake_is_broken_and_one_without_a_drill_is_told(tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.mkdir()
    text = "id: mine\ntitle: Mine\nmatch: {credential: vault-token}\nsteps:\n  - id: ask\n    uses: people.ask\n"
    (own / "mine.yaml").write_text(text + "    with: {who: ann, question: what now}\n")
    found = doctor.examine(Settings(home=tmp_path / "home", playbooks=own))
    assert finding(found, "Playbook mine").detail == "no drill proves it"
    (own / "mine.yaml").write_text(text + "    with: {nobody: ann}\n")
    found = doctor.examine(Settings(home=tmp_path / "home", playbooks=own))
    assert finding(found, "Playbooks").state == "broken"


def test_against_the_range_the_powers_of_a_token_and_a_user_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, range_here: Range
) -> None:
    cast = range_here.info["cast"]
    me = cast["aws"]["bulkhead-responder"]
    monkeypatch.setenv("AWS_ENDPOINT_URL", range_here.info["aws"])
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", me["key_id"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", me["secret"])
    token = SecretStr(cast["github"]["bulkhead-bot"])
    before = len([r for r in range_here.get("/requests") if r["mutating"]])
    found = doctor.examine(Settings(home=tmp_path, github_token=token, github_api=range_here.info["github"]))
    assert [finding(found, name).state for name in ("GitHub", "AWS")] == ["ok", "ok"]
    github, aws = found.powers
    assert "a classic token with the scopes admin:org, delete:packages, read:packages" in github.summary
    assert {doctor.github.SCOPES["repo"], doctor.github.SCOPES["delete:packages"]} <= set(github.could)
    assert doctor.github.SCOPES["admin:org"] in github.could
    assert any("GitHub App instead" in text for text in github.suggestions)
    assert aws.identity.endswith("user/bulkhead-responder")
    assert doctor.aws.AWS_ACTS["iam:CreateUser"] in aws.could
    assert doctor.aws.AWS_ACTS["s3:DeleteObject"] not in aws.could
    assert any("iam:* is wider" in text for text in aws.suggestions)
    assert len([r for r in range_here.get("/requests") if r["mutating"]]) == before, "doctor only reads"
    text = str(found.as_json())
    assert token.get_secret_value() not in text
    assert me["secret"] not in text


def test_an_identity_that_may_not_read_its_policies_is_told_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, range_here: Range
) -> None:
    other = range_here.info["cast"]["aws"]["harbor-backup"]
    monkeypatch.setenv("AWS_ENDPOINT_URL", range_here.info["aws"])
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", other["key_id"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", other["secret"])
    found = doctor.examine(Settings(home=tmp_path))
    assert found.powers[0].summary == "its policies may not be read by itself"
    assert "iam:UpdateAccessKey" in found.powers[0].could[0]


def test_a_token_that_github_refuses_is_broken(tmp_path: Path, range_here: Range) -> None:
    token = SecretStr("gh" + "p_" + "notone" * 6)
    found = doctor.examine(Settings(home=tmp_path, github_token=token, github_api=range_here.info["github"]))
    assert finding(found, "GitHub").state == "broken"
    assert finding(found, "GitHub").suggestion == "Make a new one."


def test_an_app_is_told_with_its_rights(tmp_path: Path, range_here: Range) -> None:
    app = range_here.info["cast"]["app"]
    settings = Settings(
        home=tmp_path, github_api=range_here.info["github"], github_app_id=str(app["app_id"]),
        github_app_installation=app["installation_id"], github_app_key=SecretStr(app["private_key"]),
    )  # fmt: skip
    found = doctor.examine(settings)
    assert finding(found, "GitHub").detail.endswith(f"as App {app['app_id']} on harbor-lights")
    assert found.powers[0].could
    broken = doctor.examine(settings.model_copy(update={"github_app_key": SecretStr("not a key")}))
    assert finding(broken, "GitHub").detail == "the App's private key is not PEM"


def test_policies_of_groups_and_attached_ones_count(range_here: Range, monkeypatch: pytest.MonkeyPatch) -> None:
    me = range_here.info["cast"]["aws"]["bulkhead-responder"]
    iam = boto3.client(
        "iam", endpoint_url=range_here.info["aws"], region_name="us-east-1",
        aws_access_key_id=me["key_id"], aws_secret_access_key=me["secret"],
    )  # fmt: skip
    iam.create_user(UserName="dora")
    iam.create_group(GroupName="readers")
    iam.add_user_to_group(GroupName="readers", UserName="dora")
    iam.attach_user_policy(UserName="dora", PolicyArn="arn:aws:iam::aws:policy/AdministratorAccess")
    allow = '{"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "s3:Get*", "Resource": "*"}}'
    deny = '{"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Action": "ec2:*", "Resource": "*"}]}'
    iam.put_group_policy(GroupName="readers", PolicyName="read", PolicyDocument=allow)
    iam.put_user_policy(UserName="dora", PolicyName="deny", PolicyDocument=deny)
    assert doctor.aws.allowed(iam, "arn:aws:iam::123456789012:user/dora") == {"*", "s3:Get*"}


def test_the_npm_token_is_told_and_one_that_npm_refuses_is_broken(range_here: Range) -> None:
    site = range_site(range_here.endpoints)
    (found,), power = doctor.npm.look(site, token=True)
    assert (found.state, found.detail) == ("ok", "as bulkhead-bot")
    assert power is not None
    assert "publish" in power.could[0]
    made_up = NpmClient(token="np" + "m_" + "M4de" * 9, base_url=range_here.info["npm"])
    (refused,), power = doctor.npm.look(replace(site, npm=made_up), token=True)
    assert (refused.state, power) == ("broken", None)
    assert "Make a new one" in refused.suggestion
    assert "M4de" not in str(refused)
    (missing,), power = doctor.npm.look(site, token=False)
    assert (missing.state, power) == ("missing", None)
    assert "BULKHEAD_NPM_TOKEN" in missing.suggestion


def test_the_tokens_for_yanking_are_told_and_a_dead_one_is_broken(tmp_path: Path, range_here: Range) -> None:
    site, cast = range_site(range_here.endpoints), range_here.info["cast"]["registries"]
    dead = SecretStr("rubygems_" + "0" * 48)
    user, _, token = cast["dockerhub"].partition(":")
    hub = {"dockerhub_user": user, "dockerhub_token": SecretStr(token)}
    settings = Settings(home=tmp_path, crates_token=SecretStr(cast["crates"]), rubygems_key=dead, **hub)
    (crates, gems, images), powers = doctor.registries.look(settings, site)
    assert (crates.state, gems.state, images.state) == ("ok", "broken", "ok")
    assert [power.identity for power in powers] == ["the bot's token of crates.io", "the bot's token of Docker Hub"]
    (missing, _, also), powers = doctor.registries.look(Settings(home=tmp_path), site)
    assert (missing.state, "BULKHEAD_CRATES_TOKEN" in missing.suggestion, powers) == ("missing", True, [])
    assert (also.state, "BULKHEAD_DOCKERHUB_TOKEN" in also.suggestion) == ("missing", True)
    nameless = doctor.registries.look(settings.model_copy(update={"dockerhub_user": ""}), site)[0][2]
    assert (nameless.state, "BULKHEAD_DOCKERHUB_USER" in nameless.suggestion) == ("broken", True)


def test_the_service_account_of_google_cloud_is_told_and_a_dead_key_is_broken(range_here: Range) -> None:
    site, file = range_site(range_here.endpoints), range_here.info["cast"]["gcp"]["bulkhead-bot"]
    fine, power = doctor.gcp.look(site, file)
    assert (fine.state, power is not None) == ("ok", True)
    dead = file.replace(json.loads(file)["private_key_id"], "0" * 40)
    site = replace(site, gcp=range_gcp(range_here.info["gcp"], dead, site.clock))
    broken, power = doctor.gcp.look(site, dead)
    assert (broken.state, power) == ("broken", None)
    assert "PRIVATE KEY" not in str(broken)
    missing, power = doctor.gcp.look(site, "")
    assert (missing.state, "BULKHEAD_GCP_KEY_FILE" in missing.suggestion, power) == ("missing", True, None)


def test_a_clock_that_does_not_agree_with_the_providers_is_told(range_here: Range) -> None:
    site = range_site(range_here.endpoints)
    site.aws.client("sts").get_caller_identity()
    (fine,) = doctor.clocks.look(site, aws=True, github=True)
    assert (fine.state, fine.detail) == ("ok", "agrees with AWS and GitHub")
    behind = doctor.clocks.look(site, aws=True, github=True, now=lambda: datetime.now(UTC) - timedelta(seconds=90))
    assert behind[0].state == "warning"
    assert re.fullmatch(r"this machine's clock is (89|90|91) s behind AWS's; this .* behind GitHub's", behind[0].detail)
    (ahead,) = doctor.clocks.look(site, aws=True, github=False, now=lambda: datetime.now(UTC) + timedelta(hours=1))
    assert "s ahead of AWS's" in ahead.detail
    assert doctor.clocks.look(site, aws=False, github=False) == []


def test_evidence_in_s3_is_told_with_what_it_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, range_here: Range
) -> None:
    for name, state in (("bulkhead-responder", "broken"), ("harbor-backup", "ok")):
        me = range_here.info["cast"]["aws"][name]
        monkeypatch.setenv("AWS_ENDPOINT_URL", range_here.info["aws"])
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", me["key_id"])
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", me["secret"])
        found = finding(doctor.examine(Settings(home=tmp_path, evidence=f"s3://{BUCKET}/mine")), "Evidence")
        assert found.state == state, found.detail
        assert f"s3:PutObject and s3:GetObject on arn:aws:s3:::{BUCKET}/mine/*" in found.detail + found.suggestion
    gone = doctor.examine(Settings(home=tmp_path, evidence="s3://no-such-bucket/mine"))
    assert finding(gone, "Evidence").state == "broken"
    assert finding(doctor.examine(Settings(home=tmp_path)), "Evidence").detail == f"in {tmp_path / 'evidence'}"


def test_what_is_needed_is_drawn_from_the_actions() -> None:
    assert "iam:UpdateAccessKey" in doctor.needs("aws")
    assert "actions:write" in doctor.needs("github")
    assert doctor.github.beyond("members", "write", {"actions:write"})
    assert not doctor.github.beyond("actions", "write", {"actions:write"})
    assert not doctor.github.beyond("metadata", "read", {"actions:write"})
    assert not doctor.github.grants({"actions": "read"}, "actions:write")
    assert doctor.github.grants({"actions": "admin"}, "actions:write")

"""Facts of registries and of CloudTrail's bucket, asked of the range's own servers, and what a refusal leaves."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from bot.actions.signal_facts import Collected
from bot.actions.signal_registries import of_ecr, of_ghcr, of_registries
from bot.actions.signal_trail import of_aws
from bot.actions.signals import JudgeIn
from bot.model import Credential
from bot.range.aws_sts import ACCOUNT
from bot.range.company import FERRY, ORG
from bot.range.github.packages import Package, Version
from bot.range.registries.crates import Crates
from bot.range.registries.packages import wheel
from bot.range.registries.pypi import Pypi
from bot.range.registries.theft import BAD, OLD, SHOPS, publish
from bot.signals.facts import Use, of_kind
from bot.signals.facts import Version as Told
from tests.actions.conftest import USER, Drill
from tests.actions.image_arrangements import ecr, opened, push
from tests.actions.registry_arrangements import KINDS, leaked
from tests.actions.token_arrangements import as_app

BUCKET, FOLDER = "harbor-trail", f"AWSLogs/{ACCOUNT}/CloudTrail"
TRUSTED = {"kind": "GitHub", "repository": SHOPS["pypi"].repository, "workflow": "release.yml", "environment": None}


def versions(found: Collected) -> dict[str, Told]:
    return {fact.name: fact for fact in of_kind(found.facts, Told)}


@pytest.mark.parametrize("name", KINDS)
def test_every_registry_tells_of_its_versions(drill: Drill, name: str) -> None:
    leaked(drill, name)
    publish(drill.range, SHOPS[name], BAD)
    found = Collected()
    of_registries(drill.world, SHOPS[name].repository, found)
    told = versions(found)
    assert set(told) == {OLD, BAD}
    assert found.unknown == []
    assert {(one.registry, one.package) for one in told.values()} == {(name, SHOPS[name].package)}
    assert told[BAD].at - told[OLD].at > timedelta(days=199)
    assert all(one.digests for one in told.values())
    assert (told[BAD].means, told[BAD].uploader) == (("token", "mara") if name == "crates" else ("", ""))


def test_pypi_tells_by_whom_a_release_was_built(drill: Drill) -> None:
    """The simple index says that there is provenance, the integrity API whose."""
    leaked(drill, "pypi")
    held, shop = drill.range.registries["pypi"], SHOPS["pypi"]
    assert isinstance(held, Pypi)
    held.publish("mara", shop.package, "2.5.0", *wheel(shop.package, "2.5.0", {}), publisher=TRUSTED)
    found = Collected()
    of_registries(drill.world, shop.repository, found)
    rows = [fact for fact in of_kind(found.facts, Told) if fact.name == "2.5.0"]
    assert {fact.provenance for fact in rows} == {"yes"}
    assert [fact.built_by for fact in rows if fact.built_by] == [shop.repository]
    assert [fact.workflow for fact in rows if fact.workflow] == [".github/workflows/release.yml"]


def test_crates_io_tells_which_run_published_as_trusted_publisher(drill: Drill) -> None:
    leaked(drill, "crates")
    held, shop = drill.range.registries["crates"], SHOPS["crates"]
    assert isinstance(held, Crates)
    by = {"provider": "github", "repository": shop.repository, "run_id": "17", "sha": "a" * 40}
    held.publish("mara", shop.package, "2.5.0", b"x", publisher=by)
    found = Collected()
    of_registries(drill.world, shop.repository, found)
    told = versions(found)["2.5.0"]
    assert (told.means, told.built_by, told.run) == ("trusted", shop.repository, 17)


@pytest.mark.parametrize("status", [403, 429, 503])
def test_a_registry_that_refuses_is_a_sentence_and_the_others_go_on(drill: Drill, status: int) -> None:
    leaked(drill, "pypi")
    drill.range.switchboard.add([{"server": "pypi", "method": "GET", "route": "*", "status": status, "times": 50}])
    found = Collected()
    of_registries(drill.world, SHOPS["pypi"].repository, found)
    assert [said for said in found.unknown if said.startswith("Packages at PyPI could not be read")], found.unknown
    assert versions(found) == {}


def test_a_package_that_is_published_nowhere_is_no_gap(drill: Drill) -> None:
    shop = SHOPS["crates"]
    drill.range.github.state.add_repo(shop.repository)
    drill.range.github.state.add_collaborator(shop.repository, "bulkhead-bot", "admin")
    drill.range.github.state.commit_files(shop.repository, {shop.manifest: shop.text}, "Start", "mara", runs=False)
    found = Collected()
    of_registries(drill.world, shop.repository, found)
    assert (found.facts, found.unknown) == ([], [])


def test_images_at_ghcr_are_those_that_are_linked_to_the_repository(drill: Drill) -> None:
    at = drill.range.clock.now()
    for number, name in enumerate(("ferry", "lantern")):
        package = Package(id=number, name=name, repository=f"{ORG}/{name}")
        digest, tags = f"sha256:{number:064}", ["latest", "1.4.2"]
        package.versions = {number: Version(id=number, name=digest, tags=tags, created_at=at)}
        drill.range.github.state.packages[ORG, "container", name] = package
    found = Collected()
    of_ghcr(drill.world, FERRY, found)
    (told,) = of_kind(found.facts, Told)
    assert (told.registry, told.package, told.name) == ("ghcr", f"{ORG}/ferry", "1.4.2")
    of_ghcr(replace(drill.world, github=as_app(drill, packages="read")), FERRY, refused := Collected())
    assert refused.facts == []
    assert "could not be read" in refused.unknown[0]


def test_images_in_ecr_are_those_that_are_called_after_the_repository(drill: Drill) -> None:
    opened(drill)
    digest = push(drill, "good", "2.4.0")
    ecr(drill).create_repository(repositoryName="other")
    found = Collected()
    of_ecr(drill.world, FERRY, found)
    (told,) = of_kind(found.facts, Told)
    assert (told.registry, told.package, told.name, told.digests) == ("ecr", "ferry", "2.4.0", (digest,))
    deny = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Action": "ecr:*", "Resource": "*"}]})
    drill.iam.put_user_policy(UserName="bulkhead-responder", PolicyName="no", PolicyDocument=deny)
    of_ecr(drill.world, FERRY, refused := Collected())
    assert [said.split(" could")[0] for said in refused.unknown] == [
        "Images in ECR (us-east-1)", "Images in ECR (eu-north-1)",
    ]  # fmt: skip


# CloudTrail's log files -----------------------------------------------------------------------------------------------


def delivered(drill: Drill, region: str = "us-east-1", *, packed: Callable[[bytes], bytes] = gzip.compress) -> None:
    """CloudTrail has written what it knows into its bucket, one file a call, as its own names say when."""
    account = drill.range.aws.account
    account.allow("bulkhead-responder", "trail", "s3:ListBucket", "s3:GetObject")
    account.allow("harbor-backup", "trail", "s3:PutObject")
    if BUCKET not in drill.range.aws.snapshot()["buckets"]:
        account.add_bucket(BUCKET)
    own = drill.range.company.cast["aws"]["harbor-backup"]
    writer = type(drill.world.aws)(key_id=own["key_id"], secret=own["secret"], endpoint=drill.range.aws_url)  # type: ignore[call-arg]
    for number, call in enumerate(list(drill.range.aws.calls)):
        stamp = call["eventTime"].replace("-", "").replace(":", "")
        day = call["eventTime"][:10].replace("-", "/")
        name = f"{FOLDER}/{region}/{day}/{ACCOUNT}_CloudTrail_{region}_{stamp[:13]}Z_{number}.json.gz"
        data = packed(json.dumps({"Records": [{**call, "awsRegion": region}]}).encode())
        writer.client("s3").put_object(Bucket=BUCKET, Key=name, Body=data)


def in_bucket(drill: Drill) -> Any:
    return replace(drill.world, trail=f"s3://{BUCKET}/{FOLDER}")


def test_the_trails_bucket_has_every_region_and_only_this_user(drill: Drill) -> None:
    since = drill.world.now() - timedelta(minutes=1)
    drill.as_leaked("iam").list_users()
    drill.iam.list_roles()
    delivered(drill)
    delivered(drill, "eu-central-1")
    found = Collected()
    of_aws(in_bucket(drill), USER, since, found, timedelta())
    uses = list(of_kind(found.calls, Use))
    assert {use.who.userName for use in uses} == {USER}
    assert {(use.action, use.region) for use in uses} == {("ListUsers", "us-east-1"), ("ListUsers", "eu-central-1")}
    assert [use.at for use in uses] == sorted(use.at for use in uses)
    assert not [said for said in found.unknown if "could not" in said]


def test_of_more_files_than_are_read_the_newest_are(drill: Drill, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bot.actions.signal_trail.MOST_FILES", 3)
    since = drill.world.now() - timedelta(minutes=1)
    for name in ("list_users", "list_roles", "list_groups", "list_policies"):
        getattr(drill.as_leaked("iam"), name)()
        drill.range.clock.advance(86400)
    delivered(drill)
    of_aws(in_bucket(drill), USER, since, found := Collected(), timedelta())
    assert [use.action for use in of_kind(found.calls, Use)] == ["ListRoles", "ListGroups", "ListPolicies"]
    assert any("Only 3 log files" in said for said in found.unknown)


def test_files_from_before_the_window_are_not_read(drill: Drill) -> None:
    drill.as_leaked("iam").list_users()
    delivered(drill)
    drill.range.clock.advance(3 * 86400)
    asked = len(drill.range.switchboard.requests())
    of_aws(in_bucket(drill), USER, drill.world.now() - timedelta(hours=1), found := Collected(), timedelta())
    routes = [row["route"] for row in drill.range.switchboard.requests()[asked:]]
    assert found.calls == []
    assert "s3:GetObject" not in routes


def test_a_file_that_is_damaged_and_a_bucket_that_is_closed_are_said(drill: Drill) -> None:
    since = drill.world.now() - timedelta(minutes=1)
    drill.as_leaked("iam").list_users()
    delivered(drill, packed=lambda data: gzip.compress(data)[:40])
    of_aws(in_bucket(drill), USER, since, found := Collected(), timedelta())
    assert [said for said in found.unknown if "cannot be unpacked" in said]
    elsewhere = replace(drill.world, trail=f"s3://{BUCKET}/other/CloudTrail")
    of_aws(elsewhere, USER, since, wrong := Collected(), timedelta())
    assert "holds no folder of a region" in wrong.unknown[0]
    deny = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Action": "s3:*", "Resource": "*"}]})
    drill.iam.put_user_policy(UserName="bulkhead-responder", PolicyName="no", PolicyDocument=deny)
    of_aws(in_bucket(drill), USER, since, closed := Collected(), timedelta())
    assert closed.unknown[0].startswith("CloudTrail's log files in s3://harbor-trail")


# in an incident -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", KINDS)
def test_an_incident_of_a_publish_token_judges_its_registry(drill: Drill, name: str) -> None:
    """Three versions that a tag explains, then one that nothing does."""
    shop, credential = SHOPS[name], leaked(drill, name)
    git = drill.range.github.state.repos[shop.repository].git
    for number in ("2.3.1", "2.3.2", "2.3.3"):
        publish(drill.range, shop, number, at_days=60 - int(number[-1]))
        git.refs[f"refs/tags/v{number}"] = git.refs["refs/heads/main"]
    drill.range.clock.advance(60)
    since = drill.world.now().isoformat()
    given = JudgeIn(credential=credential, repository=shop.repository, since=since)
    _, quiet = drill.do("signals.judge", given)
    assert [one for one in quiet.findings if one.signal == "release-path"] == []
    drill.range.clock.advance(60)
    publish(drill.range, shop, BAD)
    _, outcome = drill.do("signals.judge", given)
    (found,) = [one for one in outcome.findings if one.signal == "release-path"]
    assert (found.what, BAD in found.says) == ("unexplained", True)


def test_an_incident_of_a_github_token_judges_its_images(drill: Drill) -> None:
    package, git = Package(id=1, name="ferry", repository=FERRY), drill.range.github.state.repos[FERRY].git
    now = drill.range.clock.now()
    for number, tag in enumerate(("1.4.0", "1.4.1", "1.4.2")):
        git.refs[f"refs/tags/v{tag}"] = git.refs["refs/heads/main"]
        package.versions[number] = Version(
            id=number, name=f"sha256:{number:064}", tags=[tag], created_at=now - timedelta(days=40 - number)
        )
    drill.range.github.state.packages[ORG, "container", "ferry"] = package
    drill.range.clock.advance(60)
    token = Credential(provider="github", kind="github-pat-classic", fingerprint="hmac:made-up")
    given = JudgeIn(credential=token, repository=FERRY, since=drill.world.now().isoformat())
    _, quiet = drill.do("signals.judge", given)
    assert [one for one in quiet.findings if one.signal == "release-path"] == []
    drill.range.clock.advance(60)
    package.versions[9] = Version(id=9, name=f"sha256:{9:064}", tags=["latest"], created_at=drill.range.clock.now())
    _, outcome = drill.do("signals.judge", given)
    assert [one.what for one in outcome.findings if one.signal == "release-path"] == ["unexplained"]

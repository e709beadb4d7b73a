"""What the rules of PyPI, crates.io and RubyGems.org allow, and what explains a version there."""

from __future__ import annotations

import base64
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from bot.actions import CATALOGUE, crates, packages, people, pypi
from bot.errors import Conflict, Forbidden, InputError, RateLimited, Rejected, Unavailable
from bot.model import Credential, Grade, Liveness, PackageVersion, Secret, Verdict, WorkflowRef
from bot.range.npm_theft import dispatch
from bot.range.registries.packages import wheel
from bot.range.registries.pypi import _field
from bot.range.registries.theft import BAD, GOOD, OLD, RELEASE, SHOPS, TOKEN_NAME, publish
from bot.registries import CratesClient, PypiClient, RubyGemsClient
from tests.actions.arrangements import _Said
from tests.actions.conftest import Drill, proof
from tests.actions.registry_arrangements import REASON, Yanks, bad_version, find_in, leaked, server

SLOW = pytest.mark.slow  # the same for the others
EACH = pytest.mark.parametrize("name", ["pypi", *(pytest.param(name, marks=SLOW) for name in ("crates", "rubygems"))])


def found(drill: Drill, given: packages.FindIn, name: str) -> list[str]:
    return [row.version for row in drill.do(f"{name}.find_unexplained_versions", given)[1].versions]


# What explains a version


@EACH
def test_a_tag_explains_a_version(drill: Drill, name: str) -> None:
    given, shop = find_in(drill, name), SHOPS[name]
    publish(drill.range, shop, BAD)
    assert found(drill, given, name) == [BAD]
    drill.range.github.state.repos[shop.repository].git.refs[f"refs/tags/{shop.package}-v{BAD}"] = "0" * 40
    assert found(drill, given, name) == []


def test_the_run_that_published_a_version_explains_it(drill: Drill) -> None:
    given, shop = find_in(drill, "crates"), SHOPS["crates"]
    run = dispatch(drill.range, "release.yml", repository=shop.repository)
    assert run["conclusion"] == "success"
    assert server(drill, "crates").delivered(shop.package) == GOOD
    other = (WorkflowRef(repository=shop.repository, workflow=".github/workflows/test.yml"),)
    own = (WorkflowRef(repository=shop.repository, workflow=RELEASE),)
    assert found(drill, replace(given, workflows=other), "crates") == [GOOD]
    assert found(drill, replace(given, workflows=own), "crates") == []


def test_a_run_that_failed_explains_nothing(drill: Drill) -> None:
    given, shop = find_in(drill, "pypi"), SHOPS["pypi"]
    dispatch(drill.range, "release.yml", repository=shop.repository)
    assert found(drill, given, "pypi") == []
    (run,) = [run for run in drill.range.github.state.runs.values() if run.repo.full_name == shop.repository]
    run.conclusion = "failure"
    assert found(drill, given, "pypi") == [GOOD]


def test_provenance_of_this_repository_explains_a_release_and_of_another_does_not(drill: Drill) -> None:
    given, shop, held = find_in(drill, "pypi"), SHOPS["pypi"], server(drill, "pypi")
    for version, repository in (("2.5.0", shop.repository), ("2.6.0", "quiet-otter/tides")):
        file = wheel(shop.package, version, {})
        publisher = {"kind": "GitHub", "repository": repository, "workflow": "release.yml"}
        held.publish("mara", shop.package, version, *file, publisher=publisher)
    assert found(drill, given, "pypi") == ["2.6.0"]


def test_a_version_from_before_the_exposure_is_not_suspected(drill: Drill) -> None:
    given = find_in(drill, "rubygems")
    publish(drill.range, SHOPS["rubygems"], BAD)
    drill.range.clock.advance(60)
    assert found(drill, replace(given, since=drill.world.now().isoformat()), "rubygems") == []


def test_what_the_token_itself_tells_of_is_looked_into_and_what_is_not_there_is_said(drill: Drill) -> None:
    given = find_in(drill, "rubygems")
    publish(drill.range, replace(SHOPS["rubygems"], package="harbor-siren"), "1.0.0")
    before, outcome = drill.do("rubygems.find_unexplained_versions", given)
    assert before.packages == ("harbor-foghorn", "harbor-siren")
    assert PackageVersion(package="harbor-siren", version="1.0.0") in outcome.versions
    server(drill, "rubygems").revoke(TOKEN_NAME)
    server(drill, "rubygems").gems.clear()
    before, outcome = drill.do("rubygems.find_unexplained_versions", given)
    assert (before.packages, outcome.versions) == (("harbor-foghorn",), ())
    assert "harbor-foghorn is not on RubyGems.org" in outcome.summary


@EACH
def test_searched_again_a_version_that_was_not_known_is_refuted(drill: Drill, name: str) -> None:
    known = PackageVersion(package=SHOPS[name].package, version=BAD)
    again = find_in(drill, name, known=(known,))
    publish(drill.range, SHOPS[name], BAD)
    before, outcome = drill.do(f"{name}.find_unexplained_versions", again)
    assert proof(drill, f"{name}.find_unexplained_versions", again, before, outcome).verdict == Verdict.PROVEN
    publish(drill.range, SHOPS[name], "2.4.2")
    red = proof(drill, f"{name}.find_unexplained_versions", again, before, outcome)
    assert (red.verdict, "2.4.2" in red.detail) == (Verdict.REFUTED, True)


# Tokens


@EACH
def test_a_revocation_on_a_page_is_proven_by_the_registry_and_not_by_the_word(drill: Drill, name: str) -> None:
    given = people.DoIn(who="mara", task="revoke it", credential=leaked(drill, name))
    do = CATALOGUE["people.do"]
    before = do.look(drill.world, given)
    outcome = do.run(drill.world.with_answers(_Said(("mara", "done"))), given, before)
    assert do.prove(drill.world, given, before, outcome).verdict == Verdict.NOT_YET
    server(drill, name).revoke(TOKEN_NAME)
    done = do.prove(drill.world, given, before, outcome)
    assert (done.verdict, done.grade) == (Verdict.PROVEN, Grade.REFUSED)


def test_a_token_with_scopes_is_left_to_its_owner(drill: Drill) -> None:
    given = crates.RevokeIn(credential=leaked(drill, "crates"))
    (token,) = [each for each in server(drill, "crates").tokens.values() if each.name == TOKEN_NAME]
    token.scopes = frozenset({"publish-update"})
    before, outcome = drill.do("crates.revoke_token", given)
    assert (outcome.left_to_owner, outcome.changed) == (True, False)
    word = proof(drill, "crates.revoke_token", given, before, outcome)
    assert (word.verdict, word.grade) == (Verdict.PROVEN, Grade.WORD), "which closes no row"
    assert drill.world.registries["crates"].tried(drill.world.secrets.of(given.credential.key))[0] == Liveness.LIVE


def test_a_token_that_is_dead_already_or_not_held_is_not_sent(drill: Drill) -> None:
    given = crates.RevokeIn(credential=leaked(drill, "crates"))
    other = crates.RevokeIn(credential=replace(given.credential, id="other"))
    server(drill, "crates").revoke(TOKEN_NAME)
    written = len(drill.mutations())
    before, outcome = drill.do("crates.revoke_token", given)
    assert (before.needed, outcome.changed) == (False, False)
    assert proof(drill, "crates.revoke_token", given, before, outcome).grade == Grade.REFUSED
    assert drill.do("crates.revoke_token", other)[1].left_to_owner
    assert len(drill.mutations()) == written


def test_a_token_of_a_trusted_publisher_revokes_itself_and_nobody_can_see_it(drill: Drill) -> None:
    given, held = crates.RevokeIn(credential=leaked(drill, "crates")), server(drill, "crates")
    value = "cio_tp_" + "A" * 32
    held.tokens[value] = replace(next(iter(held.tokens.values())), value=value, name="short")
    drill.world.secrets.seal(f"leaked:{given.credential.key}", value, given.credential.key)
    before, outcome = drill.do("crates.revoke_token", given)
    assert outcome.changed
    assert held.live(value) is None
    assert proof(drill, "crates.revoke_token", given, before, outcome).grade == Grade.WORD


def test_a_token_of_another_index_is_not_asked(drill: Drill) -> None:
    credential = leaked(drill, "pypi")
    body = b"\x02" + _field(1, b"test.pypi.org") + _field(2, b"an id") + b"\0\0" + _field(6, bytes(32))
    other = "pypi-" + base64.urlsafe_b64encode(body).decode().rstrip("=")
    drill.world.secrets.seal(f"leaked:{credential.key}", other, credential.key)
    live, why = packages.tried(drill.world, credential) or (None, "")
    assert (live, "test.pypi.org" in why) == (Liveness.UNKNOWN, True)


# Yanking


def test_an_old_gem_may_not_go_and_the_rule_is_named(drill: Drill) -> None:
    given = bad_version(drill, "rubygems")
    drill.range.clock.advance(timedelta(days=31).total_seconds())
    action = CATALOGUE["rubygems.yank"]
    before = action.look(drill.world, given)
    assert not before.needed, "nobody is asked about what the rules forbid"
    assert "more than 30 days ago" in before.forbidden
    written = len(drill.mutations())
    with pytest.raises(Rejected, match=r"rules forbid .* ask support@rubygems.org"):
        action.run(drill.world, given, before)
    assert len(drill.mutations()) == written


def test_a_gem_that_many_have_may_not_go(drill: Drill) -> None:
    given = bad_version(drill, "rubygems")
    server(drill, "rubygems").gem(given.package).versions[BAD].popular = 200_000
    assert "200,000 times" in CATALOGUE["rubygems.yank"].look(drill.world, given).forbidden


def test_a_second_factor_that_is_asked_for_is_said(drill: Drill) -> None:
    given = bad_version(drill, "rubygems")
    for token in server(drill, "rubygems").tokens.values():
        token.otp = True
    own = RubyGemsClient(base_url=server(drill, "rubygems").base_url)
    (mara,) = [value for value, token in server(drill, "rubygems").tokens.items() if token.name == TOKEN_NAME]
    assert own.tried(Secret(mara, "stolen"))[0] == Liveness.LIVE, "a key that asks for more is not dead"
    with pytest.raises(Forbidden, match="OTP") as caught:
        drill.do("rubygems.yank", given)
    assert caught.value.permission == "a person with a second factor"


@pytest.mark.parametrize("name", ["crates", "rubygems"])
def test_who_is_no_owner_is_told_what_is_missing(drill: Drill, name: str) -> None:
    found = bad_version(drill, name)
    held = server(drill, name)
    (held.crate if name == "crates" else held.gem)(found.package).owners.remove("bulkhead-bot")
    given = crates.YankIn(package=found.package, version=BAD) if name == "crates" else found
    with pytest.raises(Forbidden, match=r"owner|permission") as caught:
        drill.do(f"{name}.yank", given)
    assert caught.value.permission == "owner of the package"


def test_the_last_version_is_told_and_so_is_one_that_is_not_there(drill: Drill) -> None:
    given = crates.YankIn(package=bad_version(drill, "crates").package, version=BAD)
    action = CATALOGUE["crates.yank"]
    assert not action.look(drill.world, given).last
    server(drill, "crates").crate(given.package).versions.pop(OLD)
    before = action.look(drill.world, given)
    assert any("any version" in stop for stop in action.breaks(before).stops)
    gone = action.look(drill.world, replace(given, version="9.9.9"))
    assert (gone.exists, gone.needed, action.breaks(gone).stops) == (False, False, ())


def test_an_unyank_of_what_others_have_changed_is_refused(drill: Drill) -> None:
    given = crates.YankIn(package=bad_version(drill, "crates").package, version=BAD, message=REASON)
    before, outcome = drill.do("crates.yank", given)
    server(drill, "crates").crate(given.package).versions[BAD].message = "theirs"
    undo = CATALOGUE["crates.yank"].undo
    assert undo is not None
    with pytest.raises(Conflict):
        undo(drill.world, given, before, outcome)


def test_a_yank_on_pypi_is_proven_by_the_index_and_not_by_the_word(drill: Drill) -> None:
    version = bad_version(drill, "pypi")
    given = pypi.YankIn(package=version.package, version=BAD, reason=REASON, who="mara")
    yank, said = CATALOGUE["pypi.yank"], drill.world.with_answers(_Said(("mara", "done")))
    before = yank.look(drill.world, given)
    assert before.link == f"https://pypi.org/manage/project/{version.package}/release/{BAD}/"
    assert REASON in before.text
    with pytest.raises(Conflict, match="has not answered"):
        yank.run(drill.world, given, before)
    outcome = yank.run(said, given, before)
    assert yank.prove(drill.world, given, before, outcome).verdict == Verdict.NOT_YET
    drill.range.clock.advance(60)
    assert yank.prove(drill.world, given, before, outcome).verdict == Verdict.REFUTED
    Yanks(server(drill, "pypi")).answer()
    done = yank.prove(drill.world, given, before, outcome)
    assert (done.verdict, REASON in done.detail) == (Verdict.PROVEN, True)


def test_a_project_in_quarantine_is_recognised(drill: Drill) -> None:
    version = bad_version(drill, "pypi")
    given = pypi.YankIn(package=version.package, version=BAD, reason=REASON, who="mara")
    server(drill, "pypi").quarantine(version.package)
    yank = CATALOGUE["pypi.yank"]
    before = yank.look(drill.world, given)
    assert (before.quarantined, before.needed) == (True, False)
    outcome = yank.run(drill.world, given, before)
    assert "quarantine" in yank.prove(drill.world, given, before, outcome).detail
    with pytest.raises(InputError, match="reason"):
        yank.look(drill.world, replace(given, reason=""))


@EACH
def test_evidence_is_the_file_as_it_is_served(drill: Drill, name: str) -> None:
    version = bad_version(drill, name)
    row = packages.release(drill.world, name, version.package, BAD)
    assert row is not None
    (file,) = row.files
    refs = {ref.name: ref for ref in packages.save_version(drill.world, name, version.package, BAD)}
    assert refs[f"{name}/{version.package}-{BAD}/{file.name}"].sha256 == file.sha256
    record = drill.room.read(refs[f"{name}/{version.package}-{BAD}/record.json"].sha256)
    assert b'"as_published": true' in record
    assert packages.save_version(drill.world, name, version.package, "9.9.9") == ()


# The clients


@pytest.mark.parametrize("fault, error", [
    ({"status": 503}, Unavailable), ({"status": 409}, Unavailable), ({"reset": True}, Unavailable),
    ({"status": 429, "headers": {"retry-after": "7"}}, RateLimited), ({"status": 403}, Forbidden),
    ({"status": 418}, Rejected),
])  # fmt: skip
def test_what_a_registry_answers_becomes_one_of_our_errors(drill: Drill, fault: dict[str, Any], error: type) -> None:
    given = crates.YankIn(package=bad_version(drill, "crates").package, version=BAD)
    drill.range.switchboard.add([{"server": "crates", "method": "PATCH", "times": 0, **fault}])
    with pytest.raises(error) as caught:
        drill.do("crates.yank", given)
    assert getattr(caught.value, "retry_after", 7.0) == 7.0


@EACH
def test_a_registry_that_does_not_answer_leaves_no_verdict(drill: Drill, name: str) -> None:
    credential = leaked(drill, name)
    drill.range.switchboard.add([{"server": name, "status": 503, "times": 0}])
    with pytest.raises(Unavailable):
        packages.tried(drill.world, credential)


def test_a_write_without_a_token_of_ours_names_the_setting(drill: Drill) -> None:
    url = server(drill, "crates").base_url
    with pytest.raises(Forbidden, match="BULKHEAD_CRATES_TOKEN"):
        CratesClient(base_url=url).send("PATCH", "/api/v1/crates/a/1.0.0", body={})
    with pytest.raises(Forbidden, match="BULKHEAD_RUBYGEMS_KEY"):
        RubyGemsClient(base_url=url).send("DELETE", "/api/v1/gems/yank", form={})
    with pytest.raises(Rejected, match="a person does it"):
        PypiClient(base_url=url).send("POST", "/")
    with pytest.raises(Rejected, match="does not lie at"):
        CratesClient(base_url=url).download("http://127.0.0.1:9/x.crate")
    held = server(drill, "pypi")
    held.publish("mara", "harbor-tides", "1.0.0", "harbor_tides-1.0.0.tar.gz", b"x", publisher={"repository": "a/b"})
    with pytest.raises(Rejected, match="does not lie at PyPI"):
        PypiClient(base_url=held.base_url.replace("127.0.0.1", "localhost")).releases("harbor-tides")
    with pytest.raises(InputError, match="no registry called pypi"):
        packages.registry(replace(drill.world, registries={}), "pypi")


def test_a_credential_that_publishes_nowhere_is_refused(drill: Drill) -> None:
    other = Credential(provider="vault", kind="vault-token", id="1")
    with pytest.raises(InputError, match="nothing is published here; the kinds are: pypi-token"):
        drill.do("pypi.check_token", packages.TokenIn(credential=other))

"""What became of a migration's pull request: asked by the clock, said once, and over when the old key is dead."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from bot.actions import CATALOGUE
from bot.actions.aws import Key, UserKey
from bot.actions.aws_iam import iso
from bot.actions.aws_identity import ProviderIn, RoleIn
from bot.actions.github_oidc import MigrationIn
from bot.model import SecretStore, Verdict
from bot.moved import REMINDS, Watch, migrations
from bot.range.company import DEPLOY_USER, FERRY, SMOKE_TEST_S
from bot.range.npm_theft import dispatch
from bot.range.server import Range
from bot.reference import adapter
from bot.spoken import SPOKEN
from bot.store import canonical
from bot.timeline import Timeline, load
from tests.actions.conftest import Drill, proof

STORES = tuple(
    SecretStore(repository=FERRY, name=name, part=part)
    for name, part in (("AWS_ACCESS_KEY_ID", "id"), ("AWS_SECRET_ACCESS_KEY", "secret"))
)
OPEN = "github.open_migration"


class House:
    """An incident that has rotated the leaked key, made a role and opened the pull request; and its clock."""

    def __init__(self, drill: Drill) -> None:
        self.drill, self.incident, self.timeline = drill, "inc-1", Timeline(drill.store)
        values = {
            "id": self.incident, "opened_at": iso(drill.world.now()), "world": "range", "status": "open", "title": "t",
            "credential_key": f"aws-access-key:{drill.leaked}", "body": canonical({"report": {}, "playbook": {}}),
        }  # fmt: skip
        with drill.store.begin() as c:
            drill.store.add_incident(c, values)
        rotation = CATALOGUE["aws.rotate_access_key"].inputs(user=DEPLOY_USER, old=drill.leaked)
        self.key = self.step("rotate", "aws.rotate_access_key", rotation).key_id
        self.step("provider", "aws.create_oidc_provider", ProviderIn(repository=FERRY))
        role = RoleIn(repository=FERRY, key=drill.leaked, stores=STORES, since=iso(drill.world.now()))
        arn = self.step("role", "aws.create_identity_role", role).arn
        self.pull = self.step("migrate", OPEN, MigrationIn(repository=FERRY, stores=STORES, role=arn)).pull
        self.timeline.append(self.incident, "incident", "closed", {"ledger": [], "failed": []}, at=self.now).result()

    @property
    def now(self) -> str:
        return iso(self.drill.world.now())

    def step(self, step: str, name: str, given: object) -> object:
        """One step, as the engine writes it."""
        action = CATALOGUE[name]
        before, outcome = self.drill.do(name, given)
        look = {
            "uses": name, "inputs": adapter(action.inputs).dump_python(given, mode="json"),
            "before": adapter(action.before).dump_python(before, mode="json"),
        }  # fmt: skip
        self.timeline.append(self.incident, step, "look", look, at=self.now).result()
        done = {"outcome": adapter(action.outcome).dump_python(outcome, mode="json"), "changed": True}
        self.timeline.append(self.incident, step, "outcome", done, at=self.now).result()
        return outcome

    def turn(self) -> list[str]:
        """What a clock says anew; a second one, and one that begins anew, say nothing more."""
        seen = len(self.said())
        worlds = {"range": lambda _incident: self.drill.world}
        new = Watch(self.drill.store, self.timeline, worlds).turn()
        assert Watch(self.drill.store, self.timeline, worlds).turn() == 0
        said = self.said()[seen:]
        assert len(said) == new
        return said

    def said(self) -> list[str]:
        found = [e for e in load(self.drill.store, self.incident) if e.kind == "migration"]
        return [f"{e.step}: {SPOKEN['migration'](e.body)[1]}" for e in found]

    def proven(self, name: str, given: object) -> None:
        """One of the last steps, by its action: done, and proven."""
        before, outcome = self.drill.do(name, given)
        assert proof(self.drill, name, given, before, outcome).verdict == Verdict.PROVEN

    def merge(self) -> None:
        self.drill.world.github.send("PUT", f"/repos/{FERRY}/pulls/{self.pull}/merge", {})
        self.drill.range.clock.advance(2)

    def deploy(self) -> None:
        dispatch(self.drill.range, "deploy.yml")
        self.drill.range.clock.advance(2 * SMOKE_TEST_S)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    range_ = Range()
    range_.start()
    drill = Drill(range_, tmp_path)
    drill.start_over()
    made = House(drill)
    yield made
    made.timeline.close()
    drill.store.close()
    range_.stop()


def test_each_answer_is_said_once_and_moved_is_said_when_the_old_key_is_dead(house: House) -> None:
    drill = house.drill
    assert house.turn() == []
    drill.range.clock.advance(REMINDS.total_seconds() + 60)
    (said,) = house.turn()
    assert "has been open for 14 days" in said
    house.merge()
    (said,) = house.turn()
    assert "was merged at" in said
    house.deploy()
    said = "\n".join(house.turn())
    assert "migrate/identity: CloudTrail shows repo:harbor-lights/ferry:ref:refs/heads/main in " in said
    assert "migrate/secret:AWS_ACCESS_KEY_ID" in said
    assert f"{house.key} of {DEPLOY_USER} still works" in said
    assert "not moved yet" in said
    for store in STORES:
        house.proven("github.delete_secret", store)
    said = "\n".join(house.turn())
    assert "AWS_ACCESS_KEY_ID (actions, harbor-lights/ferry) is gone" in said
    assert "not moved yet" in said
    house.proven("aws.deactivate_access_key", Key(key=house.key))
    house.proven("aws.delete_access_key", UserKey(user=DEPLOY_USER, key=house.key))
    said = "\n".join(house.turn())
    assert f"{house.key} is dead" in said
    assert said.splitlines()[-1].startswith("migrate/end: harbor-lights/ferry has moved to OIDC")
    again, _ = drill.do(OPEN, MigrationIn(repository=FERRY, secret="AWS_ACCESS_KEY_ID"))
    assert (again.needed, again.files) == (False, ())
    drill.iam.create_access_key(UserName=DEPLOY_USER)
    assert house.turn() == [], "it is over"


def test_one_that_was_declined_is_said_and_not_asked_again(house: House) -> None:
    house.drill.world.github.send("PATCH", f"/repos/{FERRY}/pulls/{house.pull}", {"state": "closed"})
    (said,) = house.turn()
    assert "closed without being merged" in said
    (one,) = migrations(house.drill.store)
    assert one.over


def test_a_run_that_fails_after_the_merge_is_told(house: House) -> None:
    house.merge()
    drill = house.drill
    (one,) = migrations(drill.store)
    nobody = drill.iam.get_role(RoleName=one.given["role"].rpartition("/")[2])["Role"]["AssumeRolePolicyDocument"]
    nobody["Statement"][0]["Effect"] = "Deny"
    drill.iam.update_assume_role_policy(RoleName=one.given["role"].rpartition("/")[2], PolicyDocument=canonical(nobody))
    house.deploy()
    said = house.turn()
    assert [line.partition(":")[0] for line in said] == ["migrate/merge", "migrate/identity"]
    assert "has failed since the merge: is the trust set up" in said[1]


def test_one_provider_that_does_not_answer_does_not_end_the_turn(house: House) -> None:
    house.merge()
    house.drill.range.switchboard.add([{"server": "github", "method": "*", "route": "*", "status": 503, "times": 0}])
    assert house.turn() == []
    house.drill.range.switchboard.clear_faults()
    assert len(house.turn()) == 1
    (one,) = migrations(house.drill.store)
    assert replace(one, said={}).answer("merge") == ""


def test_a_pull_request_that_a_later_incident_only_found_again_is_followed_once(house: House) -> None:
    first = house.incident
    house.incident = "inc-2"
    values = {
        "id": house.incident, "opened_at": house.now, "world": "range", "status": "open", "title": "t",
        "credential_key": "migration:x", "body": canonical({"report": {}, "playbook": {}}),
    }  # fmt: skip
    with house.drill.store.begin() as c:
        house.drill.store.add_incident(c, values)
    (one,) = migrations(house.drill.store)
    given = adapter(MigrationIn).validate_python(one.given)
    assert house.step("migrate", OPEN, given).pull == house.pull
    assert [found.incident for found in migrations(house.drill.store)] == [first]

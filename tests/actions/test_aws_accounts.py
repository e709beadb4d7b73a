"""Keys of several accounts: contained by the roles of their own account, or said plainly why not."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from bot.accounts import AccountMap, account_of_key, load_map, read_map
from bot.actions import CATALOGUE
from bot.actions.aws import Key, Rotation
from bot.actions.aws_iam import is_own, iso
from bot.actions.aws_planted import Window
from bot.actions.aws_sessions import RoleSessions
from bot.actions.people import DoIn
from bot.app import real_site
from bot.clients import AwsClients
from bot.errors import Forbidden, PlaybookError, SettingsError, Unmapped
from bot.external import load_stores
from bot.model import Credential, Grade, Planted, Secret, Verdict
from bot.range.aws_sts import ACCOUNT, SECOND, access_key_id
from bot.range.company import ACTS, EXTERNAL_ID, QUAY_USER, READS
from bot.settings import Settings
from docs import identities
from tests.actions import test_catalogue
from tests.actions.account_arrangements import accounts, roles
from tests.actions.arrangements import Arrangement
from tests.actions.conftest import Drill


def quay(drill: Drill, *, held: bool = True, **more: str) -> str:
    """The World of an incident about the second account's key."""
    key, secret = drill.range.company.quay_key
    drill.world = replace(drill.world, aws=accounts(drill, roles(**more)).for_credential(f"aws-access-key:{key}"))
    if held:
        drill.world.secrets.seal("reported", secret, f"aws-access-key:{key}")
    return key


def callers(drill: Drill, operation: str) -> list[str]:
    """Who has made this call so far, as the trail has it."""
    return [str(call["userIdentity"].get("arn")) for call in drill.range.aws.calls if call["eventName"] == operation]


def trust(drill: Drill, role: str, **statement: Any) -> None:
    """The owners of the second account let somebody else in."""
    account = drill.range.aws.accounts[SECOND]
    found = next(each for each in account._iam.roles.values() if each.name == role)
    document = json.loads(found.assume_role_policy_document)
    document["Statement"][0] |= statement
    found.assume_role_policy_document = json.dumps(document)


def test_a_key_of_the_second_account_is_contained_by_the_roles_of_that_account(drill: Drill) -> None:
    key = quay(drill)
    before, outcome = drill.do("aws.deactivate_access_key", Key(key=key))
    assert before.user == QUAY_USER
    proof = CATALOGUE["aws.deactivate_access_key"].prove(drill.world, Key(key=key), before, outcome)
    assert (proof.verdict, proof.grade) == (Verdict.PROVEN, Grade.REFUSED), proof.detail
    assert drill.key_status(QUAY_USER) == {key: "Inactive"}
    reads, acts = (f"arn:aws:sts::{SECOND}:assumed-role/{role}/bulkhead-{does}"
                   for role, does in ((READS, "reads"), (ACTS, "acts")))  # fmt: skip
    assert set(callers(drill, "ListAccessKeys")) == {reads}
    assert callers(drill, "UpdateAccessKey") == [acts]
    assert drill.range.aws.account.key(drill.leaked).active, "the home account was left alone"  # type: ignore[union-attr]


@pytest.mark.slow
def test_no_read_is_made_by_the_role_that_acts_and_no_change_by_the_one_that_reads(drill: Drill) -> None:
    key = quay(drill)
    drill.do("aws.deactivate_access_key", Key(key=key))
    drill.do("aws.rotate_access_key", Rotation(user=QUAY_USER, old=key))
    drill.do("aws.find_planted", Window(key=key, user=QUAY_USER, since=iso(drill.world.now())))
    for call in drill.range.aws.calls:
        who = str(call["userIdentity"].get("arn", ""))
        if f"/{READS}/" in who or f"/{ACTS}/" in who:
            assert call["readOnly"] == (f"/{READS}/" in who), (call["eventName"], who)
            assert call.get("errorCode") != "AccessDenied", call


@pytest.mark.slow
def test_sessions_of_the_roles_are_renewed_before_they_end(drill: Drill) -> None:
    key = quay(drill)
    drill.do("aws.describe_access_key", Key(key=key))
    drill.range.clock.advance(36 * 3600)
    before, _ = drill.do("aws.describe_access_key", Key(key=key))
    assert before.status == "Active"
    assert len(callers(drill, "AssumeRole")) >= 2


@pytest.mark.parametrize(
    "wrong",
    [{"external_id": "another-id"}, pytest.param({"external_id": ""}, marks=pytest.mark.slow)], ids=["other", "none"],
)  # fmt: skip
def test_without_the_right_external_id_nobody_is_let_in_and_the_reason_is_plain(
    drill: Drill, wrong: dict[str, str]
) -> None:
    key = quay(drill, **wrong)
    with pytest.raises(Forbidden) as caught:
        drill.do("aws.deactivate_access_key", Key(key=key))
    said = str(caught.value)
    assert f"arn:aws:iam::{SECOND}:role/{READS}" in said
    assert "cannot be assumed (AccessDenied)" in said
    assert f"arn:aws:iam::{ACCOUNT}:user/bulkhead-responder" in said
    assert ("no external id" in said) == (not wrong["external_id"])
    assert f"https://{SECOND}.signin.aws.amazon.com/console/iam" in said
    assert "try again" in said


def test_the_role_that_acts_is_missing_only_when_something_is_to_change(drill: Drill) -> None:
    key = quay(drill)
    trust(drill, ACTS, Principal={"AWS": f"arn:aws:iam::{SECOND}:root"})
    action = CATALOGUE["aws.deactivate_access_key"]
    before = action.look(drill.world, Key(key=key))
    with pytest.raises(Forbidden, match=f"{ACTS}, which acts in account {SECOND}"):
        action.run(drill.world, Key(key=key), before)
    trust(drill, ACTS, Principal={"AWS": f"arn:aws:iam::{ACCOUNT}:user/bulkhead-responder"})
    assert action.run(drill.world, Key(key=key), before).changed, "mended, the same step goes on"


def test_a_key_of_an_account_that_is_not_in_the_map_is_asked_of_nobody(drill: Drill) -> None:
    known, key = accounts(drill, roles()), access_key_id("AKIA", "999988887777")
    one = Credential(provider="aws", kind="aws-access-key", id=key)
    assert known.elsewhere(one)
    assert not known.elsewhere(replace(one, id=drill.leaked))
    assert not known.elsewhere(replace(one, id=drill.range.company.quay_key[0]))
    assert not known.elsewhere(replace(one, id="AK" + "IA" + "I" * 16)), "an old key does not tell"
    drill.world = replace(drill.world, aws=known.for_credential(one.key))
    calls = len(drill.range.aws.calls)
    with pytest.raises(Unmapped, match="999988887777 is not in the account map"):
        drill.do("aws.deactivate_access_key", Key(key=key))
    assert len(drill.range.aws.calls) == calls, "neither our account nor theirs sees anything"
    do = DoIn(who="mara", task="deactivate it", credential=one)
    before = CATALOGUE["people.do"].look(drill.world, do)
    assert before.needed
    answer = CATALOGUE["people.do"].outcome(changed=True, by="mara", answer="done")
    proof = CATALOGUE["people.do"].prove(drill.world, do, before, answer)
    assert (proof.grade, "account 999988887777 is not in the account map" in proof.detail) == (Grade.WORD, True)


@pytest.mark.slow
def test_a_forged_id_of_a_mapped_account_leads_to_reads_alone(drill: Drill) -> None:
    known, key = accounts(drill, roles()), access_key_id("AKIA", SECOND)
    drill.world = replace(drill.world, aws=known.for_credential(f"aws-access-key:{key}"))
    with pytest.raises(Exception, match=r"knows no owner|NoSuchEntity|AccessDenied"):
        drill.do("aws.deactivate_access_key", Key(key=key))
    assert all(f"/{READS}/" in str(call["userIdentity"].get("arn", "")) or call["eventName"] == "AssumeRole"
               for call in drill.range.aws.calls if call["recipientAccountId"] == SECOND)  # fmt: skip


def test_the_roles_that_we_work_by_are_ours_and_are_not_cut(drill: Drill) -> None:
    quay(drill)
    assert is_own(drill.world, "role", ACTS)
    assert is_own(drill.world, "role", READS)
    assert not is_own(drill.world, "role", "another")
    before = CATALOGUE["aws.disable_planted"].look(drill.world, Planted(kind="role", name=ACTS))
    assert before.cuts_own


@pytest.mark.slow
def test_a_session_taken_of_another_accounts_role_is_said_and_not_looked_for_here(drill: Drill) -> None:
    key, secret = drill.range.company.quay_key
    trust(drill, ACTS, Principal={"AWS": f"arn:aws:iam::{ACCOUNT}:user/ferry-ci"})
    sts = drill.as_leaked("sts")
    since = iso(drill.world.now())
    arn = f"arn:aws:iam::{SECOND}:role/{ACTS}"
    sts.assume_role(RoleArn=arn, RoleSessionName="up", ExternalId=EXTERNAL_ID)
    _, found = drill.do("aws.find_planted", Window(key=drill.leaked, user="ferry-ci", since=since))
    assert found.assumed_roles == ()
    assert any(arn in one and f"https://{SECOND}.signin" in one for one in found.unknown)
    with pytest.raises(Unmapped, match=f"{SECOND}, which is not in the account map"):
        drill.do("aws.deny_older_role_sessions", RoleSessions(role=arn))
    assert AwsClients(key_id=key, secret=secret, endpoint=drill.range.aws_url).client("sts").get_caller_identity()


@pytest.mark.parametrize("late", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["found", "later"])
def test_a_session_taken_of_another_mapped_accounts_role_is_ended_there(drill: Drill, *, late: bool) -> None:
    """By the roles of the map, and proven, confirmed and taken back there; what it did there is told."""
    let_in(drill)
    known = accounts(drill, roles())
    drill.world = replace(
        drill.world, aws=known.for_credential(f"aws-access-key:{drill.leaked}"), aws_everywhere=known.everywhere()
    )
    since = iso(drill.world.now())
    session = abroad(drill)
    session("iam").create_user(UserName="svc-abroad")
    window = Window(key=drill.leaked, user="ferry-ci", since=since)
    _, found = drill.do("aws.find_planted", window)
    assert (found.assumed_roles, found.planted) == ((ABROAD,), ())
    assert any(one.startswith("CreateUser at") and ABROAD in one and "svc-abroad" in one for one in found.others)
    drill.do("aws.deactivate_access_key", Key(key=drill.leaked))
    _, clean = drill.do("aws.confirm_clean", window)
    assert [one for one in clean.alive if ABROAD in one], "it can still act"
    assert session("iam").list_users()["Users"]
    if late:
        drill.range.clock.advance(600)
    action, given = CATALOGUE["aws.deny_older_role_sessions"], RoleSessions(role=ABROAD)
    before, out = drill.do(action.name, given)
    assert f"role quay-release of account {SECOND}" in before.summary
    assert (before.cuts_own, out.changed) == (False, True)
    proof = action.prove(drill.world, given, before, out)
    assert (proof.verdict, proof.grade) == (Verdict.PROVEN, Grade.STATE)
    with pytest.raises(ClientError, match="explicit deny"):
        session("iam").list_users()
    assert drill.do("aws.confirm_clean", window)[1].alive == ()
    assert callers(drill, "PutRolePolicy") == [f"arn:aws:sts::{SECOND}:assumed-role/{ACTS}/bulkhead-acts"]
    assert action.undo is not None
    action.undo(drill.world, given, before, out)
    assert session("iam").list_users()["Users"], "taken back"


ABROAD = f"arn:aws:iam::{SECOND}:role/quay-release"


def let_in(drill: Drill) -> None:
    """A role of the second account that the deploy user of the first may take."""
    trusted = {"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}, "Action": "sts:AssumeRole"}
    may = {"Effect": "Allow", "Action": "iam:*", "Resource": "*"}
    documents = ({"Version": "2012-10-17", "Statement": [one]} for one in (trusted, may))
    with drill.range.aws.account.dated(days_ago=90):
        drill.range.aws.accounts[SECOND].add_role("quay-release", trust=next(documents), policy=next(documents))


def abroad(drill: Drill) -> Callable[[str], Any]:
    """The leaked key takes a session of it. Returns what makes clients that sign with that."""
    made = drill.as_leaked("sts").assume_role(RoleArn=ABROAD, RoleSessionName="up")["Credentials"]
    secret, token = (Secret(made[name], "hmac:x") for name in ("SecretAccessKey", "SessionToken"))
    return lambda service: drill.world.aws.client_as(service, made["AccessKeyId"], secret, token)


@pytest.mark.slow
def test_where_the_other_account_does_not_let_us_read_its_trail_that_is_said(drill: Drill) -> None:
    let_in(drill)
    known = accounts(drill, roles(external_id="wrong-one"))
    drill.world = replace(drill.world, aws_everywhere=known.everywhere())
    since = iso(drill.world.now())
    abroad(drill)
    _, found = drill.do("aws.find_planted", Window(key=drill.leaked, user="ferry-ci", since=since))
    assert found.assumed_roles == (ABROAD,), "it is tried all the same, and stops there with the reason"
    assert any("did there could not be read" in one and "cannot be assumed" in one for one in found.unknown)


def test_an_account_that_an_old_key_does_not_tell_is_looked_up(drill: Drill) -> None:
    known = accounts(drill, roles())
    assert account_of_key("AK" + "IA" + "IOSFODNN7MADEUPX") == ""
    assert known.number_of("AK" + "IA" + "IOSFODNN7MADEUPX") == ACCOUNT, "AWS tells nothing: our own is asked"
    assert known.number_of(drill.range.company.quay_key[0]) == SECOND
    assert account_of_key(access_key_id("ASIA", "000000000042")) == "000000000042"


def by_two_roles(drill: Drill) -> None:
    """The home account lets the bot in by two roles, which may do what docs/permissions.md says and no more."""
    policies = {name: {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": sorted(rights),
                                                              "Resource": "*"}]}
                for name, rights in identities.roles().items()}  # fmt: skip
    trusted = {"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:user/bulkhead-responder"},
               "Action": "sts:AssumeRole"}  # fmt: skip
    trust = {"Version": "2012-10-17", "Statement": [trusted]}
    for name, policy in policies.items():
        with drill.range.aws.account.dated(days_ago=90):
            drill.range.aws.account.add_role(name, trust=trust, policy=policy)
    drill.world = replace(drill.world, aws=accounts(drill, roles(ACCOUNT, external_id="")).for_credential(""))


@pytest.mark.slow
@pytest.mark.parametrize(
    "arranged", [a for a in test_catalogue.ARRANGEMENTS if a.action.startswith("aws.")], ids=lambda a: a.name
)
def test_every_action_of_aws_works_by_the_two_roles_of_the_documents(drill: Drill, arranged: Arrangement) -> None:
    action, inputs = CATALOGUE[arranged.action], arranged.seed(drill)
    if arranged.action == "aws.find_account":
        return  # what it is for has no role
    by_two_roles(drill)
    before = action.look(drill.world, inputs)
    if action.evidence:
        action.evidence(drill.world, inputs, before)
    outcome = action.run(drill.world, inputs, before)
    assert action.prove(drill.world, inputs, before, outcome).verdict == Verdict.PROVEN
    if action.undo:
        action.undo(drill.world, inputs, before, outcome)
    mine = [c for c in drill.range.aws.calls if ":assumed-role/bulkhead-" in str(c["userIdentity"].get("arn"))]
    assert mine
    assert [c["eventName"] for c in mine if c.get("errorCode") == "AccessDenied"] == []
    assert [c["eventName"] for c in mine if c["readOnly"] != (f"/{READS}/" in c["userIdentity"]["arn"])] == []


def test_a_store_in_an_account_that_is_not_in_the_map_is_told_at_the_start(tmp_path: Path) -> None:
    stores = tmp_path / "stores.yaml"
    stores.write_text(f'stores: {{a: {{kind: ssm, account: "{SECOND}"}}}}\ncopies: []\n')
    with pytest.raises(SettingsError, match="BULKHEAD_AWS_ACCOUNTS must name how it is let in"):
        real_site(Settings(home=tmp_path, stores=stores))
    known = tmp_path / "accounts.yaml"
    known.write_text(f'home: "{ACCOUNT}"\naccounts: {{}}\n')
    with pytest.raises(SettingsError, match=f"AWS account {SECOND} is not in the account map"):
        real_site(Settings(home=tmp_path, stores=stores, aws_accounts=known))
    known.write_text(GOOD)
    assert set(real_site(Settings(home=tmp_path, stores=stores, aws_accounts=known)).external) == {"a"}


GOOD = f"""
home: "{ACCOUNT}"
accounts:
  "{ACCOUNT}": {{name: shop}}
  "{SECOND}":
    read: arn:aws:iam::{SECOND}:role/path/{READS}
    act: arn:aws:iam::{SECOND}:role/{ACTS}
    external_id: harbor-7
    region: eu-central-1
    trail: s3://trails/AWSLogs/{SECOND}/CloudTrail
"""


def test_a_map_is_read(drill: Drill) -> None:
    found = read_map(GOOD, "accounts.yaml")
    assert found.home == ACCOUNT
    assert (found.accounts[SECOND].region, found.accounts[SECOND].external_id) == ("eu-central-1", "harbor-7")
    known = accounts(drill)
    known.map = found
    key = access_key_id("AKIA", SECOND)
    assert known.trail_of(f"aws-access-key:{key}", "s3://home") == found.accounts[SECOND].trail
    assert known.trail_of(f"aws-access-key:{drill.leaked}", "s3://home") == "s3://home"
    assert known.trail_of("npm-token:x", "s3://home") == "s3://home"
    assert SECOND in AccountMap(home=SECOND)


@pytest.mark.parametrize(
    ("was", "now", "said"),
    [
        (f'home: "{ACCOUNT}"', "home: 12", "twelve digits"),
        (f"role/{ACTS}", f"user/{ACTS}", "act must be a role"),
        (f"    act: arn:aws:iam::{SECOND}:role/{ACTS}\n", "", "needs read, the role that reads, and act"),
        (f"{SECOND}:role/{ACTS}", f"{ACCOUNT}:role/{ACTS}", f"is a role of account {ACCOUNT}"),
        (f"role/{ACTS}", f"role/path/{READS}", "must be two roles"),
        ("external_id: harbor-7", "external_id: a", "2 to 1224"),
        ("region: eu-central-1", "region: Frankfurt", "a region, such as"),
        ("region:", "regoin:", "did you mean 'region'"),
        ("accounts:", "account:", "needs 'accounts'"),
    ],
)  # fmt: skip
def test_a_map_with_a_mistake_is_refused_with_its_line(was: str, now: str, said: str) -> None:
    assert was in GOOD
    with pytest.raises(PlaybookError, match=r"accounts\.yaml:") as caught:
        read_map(GOOD.replace(was, now, 1), "accounts.yaml")
    assert said in str(caught.value)


@pytest.mark.parametrize(("read_it", "what"), [(load_map, "the account map"), (load_stores, "the file of stores")])
def test_a_file_that_a_setting_names_says_what_is_wrong_with_it(
    read_it: Callable[[Path], object], what: str, tmp_path: Path
) -> None:
    file = tmp_path / "given.yaml"
    with pytest.raises(SettingsError, match=rf"^{what} \S+ cannot be read: FileNotFoundError"):
        read_it(file)
    file.write_bytes(b"\xff")
    with pytest.raises(SettingsError, match="cannot be read: UnicodeDecodeError"):
        read_it(file)
    file.write_text("nonsense: 1\n")
    with pytest.raises(SettingsError, match=rf"^{what} \S+ has mistakes:\n .*given\.yaml:1: "):
        read_it(file)

"""What an attacker plants in AWS: found, disabled, confirmed gone, against the range."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from bot.actions import CATALOGUE, aws, aws_iam, aws_planted, aws_sessions, aws_trust
from bot.errors import Conflict, InputError
from bot.model import Planted, Verdict
from tests.actions.arrangements import plant_trust
from tests.actions.conftest import PLANTED_USER, ROLE, USER, Drill, proof
from tests.actions.test_aws import ALLOW, _as, _code

BYSTANDER = "harbor-backup"


def _window(drill: Drill) -> aws_planted.Window:
    return aws_planted.Window(key=drill.leaked, user=USER, since=aws_iam.iso(drill.world.now()))


def _found(drill: Drill, window: aws_planted.Window) -> set[tuple[str, str]]:
    _, found = drill.do("aws.find_planted", window)
    return {(planted.kind, planted.name) for planted in found.planted}


def _cut(drill: Drill) -> None:
    """The first two steps of the playbook."""
    drill.do("aws.deactivate_access_key", aws.Key(key=drill.leaked))
    drill.do("aws.deny_older_sessions", aws_sessions.UserSessions(user=USER))


def _admin(drill: Drill) -> Any:
    """IAM as somebody who has nothing to do with the leak."""
    account = drill.range.aws.account
    with account.dated(days_ago=30):
        account.add_user("nora", policy=ALLOW)
        key, secret = account.add_key("nora")
    return _as(drill, {"AccessKey": {"AccessKeyId": key, "SecretAccessKey": secret}}, "iam")


# Finding


def test_what_a_planted_user_planted_is_found_too(drill: Drill) -> None:
    window = _window(drill)
    iam = drill.as_leaked("iam")
    iam.create_user(UserName=PLANTED_USER)
    iam.put_user_policy(UserName=PLANTED_USER, PolicyName="cache", PolicyDocument=json.dumps(ALLOW))
    theirs = _as(drill, iam.create_access_key(UserName=PLANTED_USER), "iam")
    theirs.create_user(UserName="svc-second")
    theirs.put_role_policy(RoleName=ROLE, PolicyName="more", PolicyDocument=json.dumps(ALLOW))
    theirs.create_access_key(UserName=BYSTANDER)
    assert _found(drill, window) >= {
        ("user", "svc-second"), ("role-policy", ROLE), ("access-key", BYSTANDER), ("user-policy", PLANTED_USER)
    }  # fmt: skip


def test_iams_own_dates_find_what_cloudtrail_does_not_show_yet(drill: Drill) -> None:
    window = _window(drill)
    drill.range.aws.trail.lag_s = 900.0
    trust = plant_trust(drill)
    drill.as_leaked("iam").create_access_key(UserName=USER)
    drill.as_leaked("iam").create_login_profile(UserName=PLANTED_USER, Password="made-up-" + "x" * 12)
    document = json.dumps(drill.facts["edited"])
    drill.as_leaked("iam").create_role(RoleName="cache-warmer", AssumeRolePolicyDocument=document)
    _, found = drill.do("aws.find_planted", window)
    assert {(p.kind, p.name) for p in found.planted} == {
        ("user", PLANTED_USER), ("access-key", USER), ("login-profile", PLANTED_USER), ("role", "cache-warmer"),
        ("trust", ROLE),
    }  # fmt: skip
    assert {p.event for p in found.planted} == {""}
    assert trust.id.endswith(f":user/{PLANTED_USER}")


def test_a_trust_edit_that_only_iam_shows_is_taken_back(drill: Drill) -> None:
    was = aws_trust.read(drill.world, ROLE)
    drill.range.aws.trail.lag_s = 900.0
    drill.do("aws.disable_planted", plant_trust(drill))
    assert list(aws_trust.principals(aws_trust.read(drill.world, ROLE))) == list(aws_trust.principals(was))


def test_what_somebody_else_made_in_the_window_is_not_planted(drill: Drill) -> None:
    nora = _admin(drill)
    window = _window(drill)
    nora.create_user(UserName="new-colleague")
    nora.create_access_key(UserName=BYSTANDER)
    nora.create_login_profile(UserName="new-colleague", Password="made-up-" + "x" * 12)
    nora.update_assume_role_policy(RoleName=ROLE, PolicyDocument=aws_trust.read(drill.world, ROLE))
    assert _found(drill, window) == set()
    drill.as_leaked("iam").create_access_key(UserName=USER)
    assert _found(drill, window) == {("access-key", USER)}


def test_the_key_that_the_bot_made_is_not_planted(drill: Drill) -> None:
    window = _window(drill)
    drill.range.aws.trail.lag_s = 900.0
    drill.do("aws.rotate_access_key", aws.Rotation(user=USER, old=drill.leaked))
    assert _found(drill, window) == set()


def test_what_came_before_the_window_is_not_planted(drill: Drill) -> None:
    drill.as_leaked("iam").create_user(UserName=PLANTED_USER)
    drill.range.clock.advance(60)
    assert _found(drill, _window(drill)) == set()


def test_every_page_is_read(drill: Drill) -> None:
    """Newest first: the edit stands on the last of three pages."""
    window = _window(drill)
    leaked = drill.as_leaked("iam")
    leaked.update_assume_role_policy(RoleName=ROLE, PolicyDocument=json.dumps(drill_trust(drill)))
    sts = drill.as_leaked("sts")
    for _ in range(110):
        sts.get_caller_identity()
    assert ("trust", ROLE) in _found(drill, window)
    pages = [row for row in drill.range.switchboard.requests() if row["route"] == "cloudtrail:LookupEvents"]
    assert sum("nextToken" in row["detail"] for row in pages) >= 2


def drill_trust(drill: Drill) -> Any:
    """The deploy role's trust with another account let in."""
    document = json.loads(aws_trust.read(drill.world, ROLE))
    principal = {"AWS": "arn:aws:iam::999999999999:root"}
    document["Statement"].append({"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole"})
    return document


def test_a_throttled_search_waits_its_turn(drill: Drill) -> None:
    window = _window(drill)
    drill.as_leaked("iam").create_access_key(UserName=USER)
    fault = {"route": "cloudtrail:LookupEvents", "status": 400, "code": "ThrottlingException", "times": 2}
    drill.range.switchboard.add([fault])
    assert _found(drill, window) == {("access-key", USER)}
    assert sum(row["fault"] != "" for row in drill.range.switchboard.requests()) == 2


def test_changes_that_no_kind_names_are_told(drill: Drill) -> None:
    window = _window(drill)
    drill.as_leaked("iam").create_group(GroupName="cache-people")
    _, found = drill.do("aws.find_planted", window)
    (other,) = found.others
    assert other.startswith("CreateGroup at ")
    assert "groupName=cache-people" in other
    assert found.unknown == ("only CloudTrail of us-east-1 was read: sessions taken in other regions are not in it",)


def test_what_the_attacker_took_away_again_is_not_listed(drill: Drill) -> None:
    window = _window(drill)
    iam = drill.as_leaked("iam")
    key = iam.create_access_key(UserName=USER)["AccessKey"]["AccessKeyId"]
    iam.delete_access_key(UserName=USER, AccessKeyId=key)
    assert _found(drill, window) == set()


def test_a_new_password_of_an_old_user_is_planted(drill: Drill) -> None:
    drill.iam.create_login_profile(UserName=BYSTANDER, Password="made-up-" + "x" * 12)
    drill.range.clock.advance(3600)
    window = _window(drill)
    drill.as_leaked("iam").update_login_profile(UserName=BYSTANDER, Password="made-up-" + "y" * 12)
    assert _found(drill, window) == {("login-profile", BYSTANDER)}


def test_a_window_without_a_beginning_goes_as_far_back_as_cloudtrail(drill: Drill) -> None:
    before = drill.action("aws.find_planted").look(drill.world, aws_planted.Window(key=drill.leaked, user=USER))
    days = (drill.world.now() - aws_iam.parse(before.since)).total_seconds() / 86400
    assert days == pytest.approx(90, abs=0.01)


# Disabling


def test_a_session_made_with_a_planted_key_after_the_cut_off_ends_with_it(drill: Drill) -> None:
    """The cut-off of end-sessions is too early for it, and a dead key does not end its sessions."""
    window = _window(drill)
    second = drill.as_leaked("iam").create_access_key(UserName=USER)
    _cut(drill)
    drill.range.clock.advance(5)
    late = _as(drill, _as(drill, second, "sts").get_session_token())
    assert _code(late.list_buckets) == ""
    done = drill.do("aws.confirm_clean", window)
    assert any("a session of user ferry-ci" in each for each in done[1].alive)
    drill.do("aws.disable_planted", Planted(kind="access-key", name=USER, id=second["AccessKey"]["AccessKeyId"]))
    assert _code(late.list_buckets) == "AccessDenied"
    done = drill.do("aws.confirm_clean", window)
    assert proof(drill, "aws.confirm_clean", window, *done).verdict == Verdict.PROVEN


def test_a_planted_user_can_do_nothing_by_key_or_session(drill: Drill) -> None:
    iam = drill.as_leaked("iam")
    iam.create_user(UserName=PLANTED_USER)
    iam.put_user_policy(UserName=PLANTED_USER, PolicyName="cache", PolicyDocument=json.dumps(ALLOW))
    key = iam.create_access_key(UserName=PLANTED_USER)
    session = _as(drill, _as(drill, key, "sts").get_session_token())
    drill.do("aws.disable_planted", Planted(kind="user", name=PLANTED_USER))
    assert _code(session.list_buckets) == "AccessDenied"
    assert _code(_as(drill, key).list_buckets) == "InvalidAccessKeyId"


def test_nobody_can_assume_a_planted_role_and_its_sessions_end(drill: Drill) -> None:
    trust = aws_trust.read(drill.world, ROLE)
    iam, sts = drill.as_leaked("iam"), drill.as_leaked("sts")
    arn = iam.create_role(RoleName="cache-warmer", AssumeRolePolicyDocument=trust)["Role"]["Arn"]
    iam.put_role_policy(RoleName="cache-warmer", PolicyName="all", PolicyDocument=json.dumps(ALLOW))
    session = _as(drill, sts.assume_role(RoleArn=arn, RoleSessionName="cache"))
    assert _code(session.list_buckets) == ""
    drill.do("aws.disable_planted", Planted(kind="role", name="cache-warmer"))
    assert _code(session.list_buckets) == "AccessDenied"
    assert _code(lambda: sts.assume_role(RoleArn=arn, RoleSessionName="cache")) == "AccessDenied"


def test_a_trust_goes_back_to_what_cloudtrail_says_that_it_was(drill: Drill) -> None:
    """Also what the attacker took out of it comes back."""
    nora = _admin(drill)
    document = json.loads(aws_trust.read(drill.world, ROLE))
    document["Statement"][0]["Condition"] = {"StringEquals": {"sts:ExternalId": "made-up"}}
    nora.update_assume_role_policy(RoleName=ROLE, PolicyDocument=json.dumps(document))
    drill.range.clock.advance(60)
    window = _window(drill)
    del document["Statement"][0]["Condition"]
    drill.as_leaked("iam").update_assume_role_policy(RoleName=ROLE, PolicyDocument=json.dumps(document))
    _, found = drill.do("aws.find_planted", window)
    drill.do("aws.disable_planted", found.planted[0])
    assert "sts:ExternalId" in aws_trust.read(drill.world, ROLE)


def test_another_account_is_taken_out_of_a_trust(drill: Drill) -> None:
    was = aws_trust.read(drill.world, ROLE)
    window = _window(drill)
    drill.as_leaked("iam").update_assume_role_policy(RoleName=ROLE, PolicyDocument=json.dumps(drill_trust(drill)))
    _, found = drill.do("aws.find_planted", window)
    before, _ = drill.do("aws.disable_planted", found.planted[0])
    assert "arn:aws:iam::999999999999:root" in before.summary
    assert aws_trust.read(drill.world, ROLE) == was


def test_a_trust_edit_that_nobody_can_read_back_goes_to_a_person(drill: Drill) -> None:
    """It lets in somebody of the account whom the attacker did not make, and CloudTrail has no older document."""
    window = _window(drill)
    document = json.loads(aws_trust.read(drill.world, ROLE))
    arn = drill.iam.get_user(UserName=BYSTANDER)["User"]["Arn"]
    document["Statement"].append({"Effect": "Allow", "Principal": {"AWS": arn}, "Action": "sts:AssumeRole"})
    drill.as_leaked("iam").update_assume_role_policy(RoleName=ROLE, PolicyDocument=json.dumps(document))
    _, found = drill.do("aws.find_planted", window)
    (planted,) = found.planted
    with pytest.raises(Conflict, match="by hand"):
        drill.do("aws.disable_planted", planted)
    assert aws_trust.read(drill.world, ROLE) == aws_iam.canonical(document)
    document["Statement"].pop()
    drill.iam.update_assume_role_policy(RoleName=ROLE, PolicyDocument=json.dumps(document))
    assert _found(drill, window) == set()
    assert not drill.do("aws.disable_planted", planted)[1].changed


def test_a_trust_that_changed_since_the_look_is_not_overwritten(drill: Drill) -> None:
    planted = plant_trust(drill)
    before = drill.action("aws.disable_planted").look(drill.world, planted)
    nobody = aws_trust.NOBODY
    aws_trust.write(drill.world, ROLE, nobody)
    with pytest.raises(Conflict, match="changed since the look"):
        drill.action("aws.disable_planted").run(drill.world, planted, before)
    assert aws_trust.read(drill.world, ROLE) == nobody


@pytest.mark.parametrize(
    ("principal", "left"),
    [
        ("bad", None),
        ({"AWS": "bad"}, None),
        ({"AWS": ["bad", "good"]}, {"AWS": ["good"]}),
        ({"AWS": "bad", "Federated": "idp"}, {"Federated": "idp"}),
        ({"Service": "ec2.amazonaws.com"}, {"Service": "ec2.amazonaws.com"}),
    ],
)
def test_a_principal_is_taken_out_and_the_rest_stays(principal: Any, left: Any) -> None:
    kept = {"Effect": "Allow", "Principal": {"AWS": "kept"}, "Action": "sts:AssumeRole"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [{**kept, "Principal": principal}, kept]})
    result = json.loads(aws_trust.without(document, {"bad"}))["Statement"]
    assert result == ([{**kept, "Principal": left}] if left else []) + [kept]


def test_a_trust_that_would_be_empty_lets_nobody_in() -> None:
    only = {"Effect": "Allow", "Principal": {"AWS": "bad"}, "Action": "sts:AssumeRole"}
    assert aws_trust.without(json.dumps({"Statement": only}), {"bad"}) == aws_trust.NOBODY
    assert list(aws_trust.principals(aws_trust.NOBODY)) == []


def test_undo_says_that_a_password_cannot_come_back(drill: Drill) -> None:
    drill.iam.create_login_profile(UserName=BYSTANDER, Password="made-up-" + "x" * 12)
    planted, action = Planted(kind="login-profile", name=BYSTANDER), drill.action("aws.disable_planted")
    before, outcome = drill.do("aws.disable_planted", planted)
    assert "no undo brings back" in before.summary
    assert action.undo is not None
    assert "cannot be brought back" in action.undo(drill.world, planted, before, outcome).summary


def test_what_is_gone_needs_nothing(drill: Drill) -> None:
    planted = Planted(kind="user", name="long-gone")
    before, outcome = drill.do("aws.disable_planted", planted)
    assert (before.needed, outcome.changed) == (False, False)
    assert proof(drill, "aws.disable_planted", planted, before, outcome).verdict == Verdict.PROVEN


def test_a_kind_that_nobody_knows_is_refused(drill: Drill) -> None:
    with pytest.raises(InputError, match="lambda"):
        drill.action("aws.disable_planted").look(drill.world, Planted(kind="lambda", name="x"))


# Confirming


@pytest.mark.parametrize("left", ["access-key", "user", "role-session", "trust", "leaked-key"])
def test_whatever_can_still_act_is_told_and_joins_the_ledger(drill: Drill, left: str) -> None:
    window = _window(drill)
    iam, sts = drill.as_leaked("iam"), drill.as_leaked("sts")
    match left:
        case "access-key":
            iam.create_access_key(UserName=USER)
        case "user":
            iam.create_user(UserName=PLANTED_USER)
        case "role-session":
            sts.assume_role(RoleArn=iam.get_role(RoleName=ROLE)["Role"]["Arn"], RoleSessionName="cache")
        case "trust":
            iam.update_assume_role_policy(RoleName=ROLE, PolicyDocument=json.dumps(drill_trust(drill)))
    if left != "leaked-key":
        _cut(drill)
    done = drill.do("aws.confirm_clean", window)
    refuted = proof(drill, "aws.confirm_clean", window, *done)
    assert refuted.verdict == Verdict.REFUTED
    assert len(done[1].alive) == 1
    assert {"role-session": ROLE, "leaked-key": drill.leaked}.get(left, left) in refuted.detail
    assert {p.kind for p in done[1].planted} == {left} - {"role-session", "leaked-key"}


def test_a_session_that_has_run_out_is_no_reason_to_worry(drill: Drill) -> None:
    window = _window(drill)
    drill.as_leaked("sts").get_session_token()
    drill.do("aws.deactivate_access_key", aws.Key(key=drill.leaked))
    assert drill.do("aws.confirm_clean", window)[1].alive
    drill.range.clock.advance(36 * 3600 + 1)
    assert drill.do("aws.confirm_clean", window)[1].alive == ()


def test_a_planted_user_and_its_planted_key_taken_at_once_are_each_cut_once(drill: Drill) -> None:
    window, iam = _window(drill), drill.as_leaked("iam")
    iam.create_user(UserName=PLANTED_USER)
    iam.create_access_key(UserName=PLANTED_USER)
    _, found = drill.do("aws.find_planted", window)
    action = CATALOGUE["aws.disable_planted"]
    looked = [(p, action.look(drill.world, p)) for p in found.planted if p.kind in ("user", "access-key")]
    assert {p.kind for p, _ in looked} == {"user", "access-key"}
    # Slow enough that the other one reads the key before this change is made.
    drill.range.switchboard.add([{"server": "aws", "route": "iam:UpdateAccessKey", "delay_s": 0.5}])
    with ThreadPoolExecutor() as pool:
        outcomes = list(pool.map(lambda pair: action.run(drill.world, *pair), looked))
    cuts = [r for r in drill.range.switchboard.requests() if r["route"] == "iam:UpdateAccessKey"]
    assert len(cuts) == 1
    assert any(out.changed for out in outcomes)

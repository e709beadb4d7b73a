"""AWS keys and sessions, against the range."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from pydantic import TypeAdapter

from bot.actions import aws, aws_iam, aws_planted, aws_sessions
from bot.actions.aws_sessions import cutoff_in
from bot.clients import AwsClients, aws_errors
from bot.errors import Conflict, Forbidden, InputError, NotFound, Unavailable
from bot.model import Grade, Planted, Secret, Verdict
from bot.reads import ATTEMPTS
from tests.actions.conftest import ROLE, USER, Drill, proof

ALLOW = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
QUARANTINE = "arn:aws:iam::aws:policy/AWSCompromisedKeyQuarantineV3"
RESPONDER = "bulkhead-responder"


def _code(call: Any) -> str:
    """What AWS says to somebody who is not the bot: a code, or '' when it lets the call pass."""
    try:
        call()
    except Exception as exc:  # noqa: BLE001 - botocore makes its classes at run time
        return str(exc.response["Error"]["Code"])  # type: ignore[attr-defined]
    return ""


def _as(drill: Drill, answer: Any, service: str = "s3") -> Any:
    """A client that signs with what CreateAccessKey, GetSessionToken or AssumeRole gave."""
    found = answer.get("AccessKey") or answer["Credentials"]
    secret, token = Secret(found["SecretAccessKey"], "made-up"), found.get("SessionToken")
    return drill.world.aws.client_as(service, found["AccessKeyId"], secret, token and Secret(token, "made-up"))


def deny_the_bot(drill: Drill, *actions: str) -> None:
    """Take permissions from the bot."""
    statement = {"Effect": "Deny", "Action": list(actions), "Resource": "*"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    drill.iam.put_user_policy(UserName=RESPONDER, PolicyName="less", PolicyDocument=document)


# The whole AWS half


def test_the_attacker_is_refused_everywhere_and_nobody_else_is(drill: Drill) -> None:
    since = aws_iam.iso(drill.world.now())
    drill.leak_and_abuse()
    key = aws.Key(key=drill.leaked)
    before, outcome = drill.do("aws.deactivate_access_key", key)
    dead = proof(drill, "aws.deactivate_access_key", key, before, outcome)
    assert (dead.verdict, dead.grade) == (Verdict.PROVEN, Grade.REFUSED)
    drill.do("aws.deny_older_sessions", aws_sessions.UserSessions(user=before.user, after=outcome.at))
    window = aws_planted.Window(key=drill.leaked, user=before.user, since=since)
    _, found = drill.do("aws.find_planted", window)
    assert sorted(p.kind for p in found.planted) == [
        "access-key", "access-key", "login-profile", "trust", "user", "user-policy", "user-policy"
    ]  # fmt: skip
    assert found.assumed_roles == (ROLE,)
    assert found.own_keys == tuple(k for k in drill.key_status() if k != drill.leaked)
    for planted in found.planted:
        drill.do("aws.disable_planted", planted)
    drill.do("aws.deny_older_role_sessions", aws_sessions.RoleSessions(role=ROLE))
    clean = drill.do("aws.confirm_clean", window)
    assert proof(drill, "aws.confirm_clean", window, *clean).verdict == Verdict.PROVEN
    assert clean[1].alive == ()
    assert drill.refused() == dict.fromkeys(
        ("key", "second-key", "planted-user", "saved-session", "role-session"), True
    )  # fmt: skip
    assert drill.range.collateral()["ok"]


# Keys


def test_describe_tells_who_owns_a_key_and_what_it_was_used_for(drill: Drill) -> None:
    drill.as_leaked("s3").list_buckets()
    before, found = drill.do("aws.describe_access_key", aws.Key(key=drill.leaked))
    assert (found.user, found.status, found.tags["owner"]) == (USER, "Active", "mara")
    assert (found.last_use.service, found.last_use.region) == ("s3", "us-east-1")
    (stops,) = drill.action("aws.deactivate_access_key").breaks(before).stops
    assert "s3 in us-east-1 as ferry-ci" in stops


def test_what_a_key_breaks_is_unknown_when_it_was_never_used(drill: Drill) -> None:
    before = drill.action("aws.deactivate_access_key").look(drill.world, aws.Key(key=drill.leaked))
    assert drill.action("aws.deactivate_access_key").breaks(before).unknown


def test_a_key_of_nobody_here_is_not_found(drill: Drill) -> None:
    with pytest.raises(NotFound, match="who owns"):
        drill.action("aws.deactivate_access_key").look(drill.world, aws.Key(key="AK" + "IA" + "2E0A8F3B244C9986"))


def test_a_key_that_was_deleted_in_haste_still_names_its_user(drill: Drill) -> None:
    drill.as_leaked("s3").list_buckets()
    drill.iam.delete_access_key(UserName=USER, AccessKeyId=drill.leaked)
    key = aws.Key(key=drill.leaked)
    before, outcome = drill.do("aws.deactivate_access_key", key)
    assert (before.needed, before.user, before.status) == (False, USER, "Deleted")
    assert proof(drill, "aws.deactivate_access_key", key, before, outcome).verdict == Verdict.PROVEN


def test_without_the_secret_the_proof_is_iams_word(drill: Drill) -> None:
    key = aws.Key(key=drill.leaked)
    done = drill.do("aws.deactivate_access_key", key)
    assert proof(drill, "aws.deactivate_access_key", key, *done).grade == Grade.STATE


def test_a_wrong_secret_proves_nothing_about_a_key(drill: Drill) -> None:
    drill.world.secrets.seal("reported", "not+its+secret", f"aws-access-key:{drill.leaked}")
    assert aws_iam.refused_as(drill.world, drill.leaked) is None
    drill.hold_leaked()
    assert aws_iam.refused_as(drill.world, drill.leaked) is False


def test_iam_says_inactive_but_sts_still_accepts_is_not_yet_proven(drill: Drill) -> None:
    """IAM is eventually consistent: the record and the servers that check signatures may differ for a while."""
    drill.hold_leaked()
    key = aws.Key(key=drill.leaked)
    before, outcome = drill.do("aws.deactivate_access_key", key)
    other = drill.iam.create_access_key(UserName=USER)["AccessKey"]
    drill.world.secrets.seal("slow", other["SecretAccessKey"], f"aws-access-key:{other['AccessKeyId']}")
    assert aws._prove_dead(drill.world, other["AccessKeyId"], "Inactive").verdict == Verdict.NOT_YET
    drill.iam.update_access_key(UserName=USER, AccessKeyId=drill.leaked, Status="Active")
    assert proof(drill, "aws.deactivate_access_key", key, before, outcome).verdict == Verdict.NOT_YET
    drill.range.clock.advance(aws_iam.SETTLE_S + 1)
    assert proof(drill, "aws.deactivate_access_key", key, before, outcome).verdict == Verdict.REFUTED


def test_the_bots_own_key_is_named_and_not_cut(drill: Drill) -> None:
    own = next(iter(aws_iam.own_keys(drill.world)))
    key = aws.Key(key=own)
    before = drill.action("aws.deactivate_access_key").look(drill.world, key)
    assert before.cuts_own
    assert "own key" in before.summary
    with pytest.raises(Conflict, match="goes last"):
        drill.action("aws.deactivate_access_key").run(drill.world, key, before)
    assert drill.key_status(RESPONDER) == {own: "Active"}


@pytest.mark.parametrize(
    ("name", "inputs"),
    [
        ("aws.disable_planted", Planted(kind="user", name=RESPONDER)),
        ("aws.deny_older_role_sessions", aws_sessions.RoleSessions(role=ROLE)),
    ],
    ids=["user", "role"],
)
def test_the_bots_own_user_and_role_are_not_cut(drill: Drill, name: str, inputs: Any) -> None:
    drill.world = replace(drill.world, identities=(*drill.world.identities, f"aws-role:{ROLE}"))
    state = drill.state()
    before = drill.action(name).look(drill.world, inputs)
    assert before.cuts_own
    with pytest.raises(Conflict, match="goes last"):
        drill.action(name).run(drill.world, inputs, before)
    assert drill.state() == state


def test_a_role_that_the_bot_has_assumed_is_known_as_its_own(drill: Drill) -> None:
    answer = drill.as_leaked("sts").assume_role(
        RoleArn=drill.iam.get_role(RoleName=ROLE)["Role"]["Arn"], RoleSessionName="bot"
    )
    session = _as(drill, answer, "sts")

    class AsRole:
        def client(self, _service: str) -> Any:
            return session

        def identities(self) -> tuple[str, ...]:
            return ()  # it is no role of an account map

    world = replace(drill.world, aws=AsRole(), identities=(f"aws-access-key:{answer['Credentials']['AccessKeyId']}",))
    assert aws_iam.is_own(world, "role", ROLE)
    assert not aws_iam.is_own(world, "role", "another")
    assert not aws_iam.is_own(world, "user", ROLE)


def test_awss_quarantine_is_told_left_alone_and_no_reason_to_stop(drill: Drill) -> None:
    drill.iam.attach_user_policy(UserName=USER, PolicyArn=QUARANTINE)
    before, outcome = drill.do("aws.deactivate_access_key", aws.Key(key=drill.leaked))
    assert before.quarantine == "AWSCompromisedKeyQuarantineV3"
    assert before.quarantine in before.summary
    assert outcome.changed
    planted = Planted(kind="user-policy", name=USER, id=QUARANTINE)
    assert not drill.do("aws.disable_planted", planted)[0].needed
    assert aws_iam.attached_policies(drill.world, "user", USER) == (QUARANTINE,)


def test_a_cut_goes_on_when_the_bot_may_not_look_for_the_quarantine(drill: Drill) -> None:
    deny_the_bot(drill, "iam:ListAttachedUserPolicies")
    before, outcome = drill.do("aws.deactivate_access_key", aws.Key(key=drill.leaked))
    assert before.quarantine == "unknown"
    assert outcome.changed


def test_a_missing_permission_is_named(drill: Drill) -> None:
    deny_the_bot(drill, "iam:UpdateAccessKey")
    with pytest.raises(Forbidden) as caught:
        drill.do("aws.deactivate_access_key", aws.Key(key=drill.leaked))
    assert caught.value.permission == "UpdateAccessKey"
    assert drill.key_status()[drill.leaked] == "Active"


# Sessions


def test_older_sessions_end_newer_ones_and_the_key_itself_do_not(drill: Drill) -> None:
    sts = drill.as_leaked("sts")
    older = _as(drill, sts.get_session_token())
    assert _code(older.list_buckets) == ""
    drill.do("aws.deny_older_sessions", aws_sessions.UserSessions(user=USER))
    assert _code(older.list_buckets) == "AccessDenied"
    assert _code(drill.as_leaked("s3").list_buckets) == ""
    drill.range.clock.advance(2)
    assert _code(_as(drill, sts.get_session_token()).list_buckets) == ""


def test_the_cut_off_covers_the_second_in_which_it_is_made(drill: Drill) -> None:
    """Issue times have whole seconds: a cut-off of this very second would let through what was issued in it."""
    _, outcome = drill.do("aws.deny_older_sessions", aws_sessions.UserSessions(user=USER))
    cutoff = aws_iam.parse(outcome.cutoff)
    assert cutoff.microsecond == 0
    standing = aws_iam.inline_policy(drill.world, "user", USER, "AWSRevokeOlderSessions")
    assert cutoff_in(standing) == cutoff
    looked = aws_iam.parse(drill.action("aws.deny_older_sessions").look(
        drill.world, aws_sessions.UserSessions(user=USER)).looked_at)  # fmt: skip
    assert cutoff > looked.replace(microsecond=0)


def test_the_cut_off_is_taken_in_run_and_kept_by_a_rerun(drill: Drill) -> None:
    inputs = aws_sessions.UserSessions(user=USER)
    action = drill.action("aws.deny_older_sessions")
    before = action.look(drill.world, inputs)
    drill.range.clock.advance(600)  # the step waits for the deactivation
    ready = drill.world.now()
    first = action.run(drill.world, inputs, before)
    assert aws_iam.parse(first.cutoff) >= ready
    drill.range.clock.advance(600)  # crash, and a worker comes back
    assert action.run(drill.world, inputs, before).cutoff == first.cutoff


def test_a_cut_off_from_before_the_deactivation_is_moved_and_does_not_prove(drill: Drill) -> None:
    action, early = drill.action("aws.deny_older_sessions"), aws_sessions.UserSessions(user=USER)
    before = action.look(drill.world, early)
    outcome = action.run(drill.world, early, before)
    drill.range.clock.advance(300)
    late = replace(early, after=aws_iam.iso(drill.world.now()))
    assert action.prove(drill.world, late, before, outcome).verdict == Verdict.REFUTED
    moved = action.run(drill.world, late, before)
    assert moved.changed
    assert action.prove(drill.world, late, before, moved).verdict == Verdict.PROVEN


def test_an_older_incidents_cut_off_is_moved(drill: Drill) -> None:
    inputs = aws_sessions.UserSessions(user=USER)
    _, first = drill.do("aws.deny_older_sessions", inputs)
    drill.range.clock.advance(86400)
    before, second = drill.do("aws.deny_older_sessions", inputs)
    assert first.cutoff in before.summary
    assert second.changed
    assert aws_iam.parse(second.cutoff) > aws_iam.parse(first.cutoff)


def test_sessions_of_a_user_that_is_gone_need_no_cut(drill: Drill) -> None:
    inputs = aws_sessions.UserSessions(user="long-gone")
    before, outcome = drill.do("aws.deny_older_sessions", inputs)
    assert not before.needed
    assert proof(drill, "aws.deny_older_sessions", inputs, before, outcome).verdict == Verdict.PROVEN


def test_a_role_of_awss_own_is_left_to_a_person(drill: Drill) -> None:
    trust = drill.iam.get_role(RoleName=ROLE)["Role"]["AssumeRolePolicyDocument"]
    name, path = "AWSReservedSSO_admin", "/aws-reserved/sso.amazonaws.com/"
    drill.iam.create_role(RoleName=name, Path=path, AssumeRolePolicyDocument=json.dumps(trust))
    with pytest.raises(Conflict, match="Identity Center"):
        drill.do("aws.deny_older_role_sessions", aws_sessions.RoleSessions(role=name))


@pytest.mark.parametrize(
    "statement",
    [
        {"Effect": "Deny", "Action": ["s3:*"], "Resource": ["*"]},
        {"Effect": "Allow", "Action": "*", "Resource": "*"},
        {"Effect": "Deny", "Action": "*", "Resource": "arn:aws:s3:::one"},
    ],
    ids=["some-actions", "allow", "one-resource"],
)
def test_a_policy_that_does_not_deny_everything_is_no_cut_off(statement: dict[str, Any]) -> None:
    condition = {"DateLessThan": {"aws:TokenIssueTime": "2026-01-01T00:00:00Z"}}
    whole = {"Effect": "Deny", "Action": "*", "Resource": "*", "Condition": condition}
    assert cutoff_in(json.dumps({"Statement": whole})) == aws_iam.parse("2026-01-01T00:00:00Z")
    assert cutoff_in(json.dumps({"Statement": [statement | {"Condition": condition}]})) is None
    narrowed = whole | {"Condition": condition | {"Bool": {"aws:MultiFactorAuthPresent": "false"}}}
    assert cutoff_in(json.dumps({"Statement": narrowed})) is None


def test_a_time_that_is_none_is_refused() -> None:
    with pytest.raises(InputError, match="is not a time"):
        aws_iam.parse("yesterday")


# Rotation


def _rotation(drill: Drill) -> aws.Rotation:
    return aws.Rotation(user=USER, old=drill.leaked)


def test_a_new_key_works_and_its_secret_stands_in_the_vault_only(drill: Drill) -> None:
    inputs = _rotation(drill)
    before, outcome = drill.do("aws.rotate_access_key", inputs)
    assert proof(drill, "aws.rotate_access_key", inputs, before, outcome).verdict == Verdict.PROVEN
    secret = drill.world.secrets.of(f"aws-access-key:{outcome.key_id}")
    ident = drill.world.secrets.open(outcome.sealed["id"])
    assert secret is not None
    assert ident is not None
    assert ident.reveal() == outcome.key_id
    assert AwsClients(key_id=outcome.key_id, secret=secret.reveal(), endpoint=drill.range.aws_url).client(
        "sts").get_caller_identity()["Arn"].endswith(f"/{USER}")  # fmt: skip
    text = TypeAdapter(aws.Rotated).dump_json(outcome) + TypeAdapter(aws.RotationBefore).dump_json(before)
    assert secret.reveal().encode() not in text


def test_two_full_slots_are_a_conflict_that_names_the_keys(drill: Drill) -> None:
    second = drill.as_leaked("iam").create_access_key(UserName=USER)["AccessKey"]["AccessKeyId"]
    with pytest.raises(Conflict) as caught:
        drill.do("aws.rotate_access_key", _rotation(drill))
    assert drill.leaked in str(caught.value)
    assert second in str(caught.value)
    assert set(drill.key_status()) == {drill.leaked, second}


@pytest.mark.parametrize("lag_s", [0.0, 900.0], ids=["in-cloudtrail", "not-in-cloudtrail-yet"])
def test_a_key_whose_secret_was_lost_with_the_answer_is_replaced(drill: Drill, lag_s: float) -> None:
    action, inputs = drill.action("aws.rotate_access_key"), _rotation(drill)
    before = action.look(drill.world, inputs)
    drill.range.aws.trail.lag_s = lag_s
    drill.range.switchboard.add([{"route": "iam:CreateAccessKey", "reset": True, "after_commit": True, "times": 1}])
    with pytest.raises(Unavailable):
        action.run(drill.world, inputs, before)
    (lost,) = set(drill.key_status()) - {drill.leaked}
    outcome = action.run(drill.world, inputs, before)
    assert set(drill.key_status()) == {drill.leaked, outcome.key_id}
    assert outcome.key_id != lost


def test_a_crash_between_create_and_seal_is_the_same(drill: Drill) -> None:
    action, inputs = drill.action("aws.rotate_access_key"), _rotation(drill)
    before = action.look(drill.world, inputs)
    made = drill.iam.create_access_key(UserName=USER)["AccessKey"]["AccessKeyId"]  # by the bot; then it died
    outcome = action.run(drill.world, inputs, before)
    assert set(drill.key_status()) == {drill.leaked, outcome.key_id}
    assert outcome.key_id != made


def test_a_crash_after_the_seal_makes_no_second_key(drill: Drill) -> None:
    action, inputs = drill.action("aws.rotate_access_key"), _rotation(drill)
    before = action.look(drill.world, inputs)
    made = drill.iam.create_access_key(UserName=USER)["AccessKey"]
    drill.world.secrets.seal(aws_planted.new_key_label(made["AccessKeyId"]), made["SecretAccessKey"])
    outcome = action.run(drill.world, inputs, before)
    assert (outcome.changed, outcome.key_id) == (False, made["AccessKeyId"])
    assert set(outcome.sealed) == {"id", "secret"}


def test_somebody_elses_new_key_is_not_deleted(drill: Drill) -> None:
    """Unused and newer than the look, but CloudTrail names who made it."""
    action, inputs = drill.action("aws.rotate_access_key"), _rotation(drill)
    before = action.look(drill.world, inputs)
    theirs = drill.as_leaked("iam").create_access_key(UserName=USER)["AccessKey"]["AccessKeyId"]
    with pytest.raises(Conflict, match=theirs):
        action.run(drill.world, inputs, before)
    assert theirs in drill.key_status()


def test_a_new_key_that_is_in_use_is_not_deleted(drill: Drill) -> None:
    action, inputs = drill.action("aws.rotate_access_key"), _rotation(drill)
    before = action.look(drill.world, inputs)
    drill.range.aws.trail.lag_s = 900.0
    theirs = drill.as_leaked("iam").create_access_key(UserName=USER)
    _as(drill, theirs).list_buckets()
    with pytest.raises(Conflict, match="in use"):
        action.run(drill.world, inputs, before)
    assert theirs["AccessKey"]["AccessKeyId"] in drill.key_status()


# Deletion


def test_an_active_key_is_not_deleted(drill: Drill) -> None:
    with pytest.raises(Conflict, match="deactivate it first"):
        drill.do("aws.delete_access_key", aws.UserKey(user=USER, key=drill.leaked))
    assert drill.key_status() == {drill.leaked: "Active"}


def test_the_evidence_of_a_key_is_its_last_use_and_its_calls(drill: Drill) -> None:
    drill.as_leaked("s3").list_buckets()
    drill.iam.update_access_key(UserName=USER, AccessKeyId=drill.leaked, Status="Inactive")
    action, inputs = drill.action("aws.delete_access_key"), aws.UserKey(user=USER, key=drill.leaked)
    before = action.look(drill.world, inputs)
    assert action.evidence is not None
    (ref,) = action.evidence(drill.world, inputs, before)
    saved = json.loads(drill.room.read(ref.sha256))
    assert saved["last_use"]["service"] == "s3"
    assert [event["eventName"] for event in saved["events"]] == ["ListBuckets"]
    drill.hold_leaked()
    outcome = action.run(drill.world, inputs, before)
    assert action.prove(drill.world, inputs, before, outcome).grade == Grade.REFUSED


class Behind:
    """The clock of a worker that is half an hour behind AWS."""

    def __init__(self, clock: Any) -> None:
        self._clock = clock

    def now(self) -> Any:
        return self._clock.now() - timedelta(minutes=31)


def test_a_worker_whose_clock_is_behind_still_ends_every_session(drill: Drill) -> None:
    """The cut-off is compared with AWS's clock, so that is the clock it is taken from."""
    drill.leak_and_abuse()
    drill.world = replace(drill.world, clock=Behind(drill.range.clock))
    _, cut = drill.do("aws.deactivate_access_key", aws.Key(key=drill.leaked))
    user = aws_sessions.UserSessions(user=USER, after=cut.at)
    before, out = drill.do("aws.deny_older_sessions", user)
    assert proof(drill, "aws.deny_older_sessions", user, before, out).verdict == Verdict.PROVEN
    drill.do("aws.deny_older_role_sessions", aws_sessions.RoleSessions(role=ROLE))
    tries = {each["name"]: each["refused"] for each in drill.range.tries()}
    assert (tries["saved-session"], tries["role-session"]) == (True, True)


@pytest.mark.parametrize(("ahead_s", "verdict"), [(0.9, Verdict.PROVEN), (1.9, Verdict.PROVEN), (600, Verdict.REFUTED)])
def test_a_look_that_was_stamped_by_a_clock_a_little_ahead_still_gets_its_cut_off(
    drill: Drill, ahead_s: float, verdict: Verdict
) -> None:
    """AWS's clock has whole seconds; one that is really wrong must not deny the sessions of the next ten minutes."""
    user, action = aws_sessions.UserSessions(user=USER), drill.action("aws.deny_older_sessions")
    found = action.look(drill.world, user)
    ahead = replace(found, looked_at=aws_iam.iso(drill.world.now() + timedelta(seconds=ahead_s)))
    out = action.run(drill.world, user, ahead)
    drill.range.clock.advance(60)  # what IAM needs to settle
    assert action.prove(drill.world, user, ahead, out).verdict == verdict


def test_awss_reads_are_repeated_and_its_writes_are_not(drill: Drill) -> None:
    board, iam = drill.range.switchboard, drill.world.aws.client("iam")
    board.add([{"server": "aws", "route": "iam:GetUser", "status": 500, "times": ATTEMPTS - 1}])
    assert iam.get_user(UserName=USER)["User"]["UserName"] == USER
    board.add([{"server": "aws", "route": "iam:CreateUser", "status": 500, "times": 1}])
    with pytest.raises(iam.exceptions.ClientError):
        iam.create_user(UserName="another")
    assert [r["route"] for r in board.requests()].count("iam:CreateUser") == 1


PAGED = ["iam:GetUser", "cloudtrail:LookupEvents", "sts:GetCallerIdentity"]


@pytest.mark.parametrize("service", PAGED)
def test_the_page_of_a_proxy_is_no_answer(drill: Drill, service: str) -> None:
    """Botocore would end in a KeyError on it, or read from it that there are no events."""
    calls = {
        "iam:GetUser": lambda: drill.world.aws.client("iam").get_user(UserName=USER),
        "cloudtrail:LookupEvents": lambda: drill.world.aws.client("cloudtrail").lookup_events(),
        "sts:GetCallerIdentity": lambda: drill.world.aws.client("sts").get_caller_identity(),
    }
    page = {"server": "aws", "route": service, "status": 200, "body": "<html>Bad gateway</html>", "times": 1}
    drill.range.switchboard.add([page])
    with pytest.raises(Unavailable, match="did not answer"), aws_errors("look"):
        calls[service]()
    calls[service]()

"""What the range's AWS enforces, seen by boto3 as it is."""

from __future__ import annotations

import base64
import json
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import ConnectionClosedError

from bot.range.aws_sts import ACCOUNT, iso
from bot.range.issuer import OidcIssuer
from tests.range.conftest import ALL, DENY_ALL, Cloud, Keys, code, taken

HOST = "token.actions.githubusercontent.com"
PROVIDER = f"arn:aws:iam::{ACCOUNT}:oidc-provider/{HOST}"
SUB = "repo:harbor-lights/ferry:environment:production"


def allow(*actions: str, resource: str = "*") -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": actions, "Resource": resource}]}


def older_sessions_denied(before: str) -> dict[str, Any]:
    """AWS's own AWSRevokeOlderSessions document."""
    condition = {"DateLessThan": {"aws:TokenIssueTime": before}}
    statement = {"Effect": "Deny", "Action": ["*"], "Resource": ["*"], "Condition": condition}
    return {"Version": "2012-10-17", "Statement": [statement]}


def every_service(cloud: Cloud, keys: Keys) -> list[str]:
    """What each of the four services says of some credentials."""
    calls = {"sts": "get_caller_identity", "iam": "list_users", "s3": "list_buckets", "cloudtrail": "lookup_events"}
    return [code(getattr(cloud.client(service, keys), name)) for service, name in calls.items()]


DEAD = ["InvalidClientTokenId", "InvalidClientTokenId", "InvalidAccessKeyId", "UnrecognizedClientException"]
LIVE = ["", "", "", ""]


class TestLongTermKeys:
    def test_an_inactive_key_is_refused_everywhere_and_works_again_when_active(self, cloud: Cloud) -> None:
        keys = cloud.user("ann", ALL)
        iam = cloud.client("iam")
        assert every_service(cloud, keys) == LIVE

        iam.update_access_key(UserName="ann", AccessKeyId=keys[0], Status="Inactive")
        assert every_service(cloud, keys) == DEAD
        iam.update_access_key(UserName="ann", AccessKeyId=keys[0], Status="Active")
        assert every_service(cloud, keys) == LIVE

    def test_a_deleted_and_an_unknown_key_are_refused_everywhere(self, cloud: Cloud) -> None:
        keys = cloud.user("ann", ALL)
        cloud.client("iam").delete_access_key(UserName="ann", AccessKeyId=keys[0])

        assert every_service(cloud, keys) == DEAD
        assert every_service(cloud, ("AK" + "IA" + "Q" * 16, "nothing")) == DEAD

    def test_a_wrong_secret_is_refused_everywhere(self, cloud: Cloud) -> None:
        wrong = (cloud.root[0], "not-the-secret")
        said = "SignatureDoesNotMatch"

        assert every_service(cloud, wrong) == [said, said, said, "InvalidSignatureException"]

    def test_a_request_changed_after_signing_is_refused(self, cloud: Cloud) -> None:
        body = "Action=CreateUser&Version=2010-05-08&UserName=ann"
        request = AWSRequest("POST", cloud.url + "/", {"Content-Type": "application/x-www-form-urlencoded"}, body)
        SigV4Auth(Credentials(*cloud.root[:2]), "iam", "us-east-1").add_auth(request)
        answers = [send(cloud.url, dict(request.headers), text) for text in (body.replace("ann", "eve"), body)]

        assert "SignatureDoesNotMatch" in answers[0]
        assert "<UserName>ann</UserName>" in answers[1]
        assert "eve" not in cloud.aws.snapshot()["users"]

    def test_an_unsigned_request_is_refused(self, cloud: Cloud) -> None:
        form = {"Content-Type": "application/x-www-form-urlencoded"}

        assert "MissingAuthenticationToken" in send(cloud.url, form, "Action=GetCallerIdentity&Version=2011-06-15")

    def test_a_user_has_two_keys_at_most_even_in_a_race(self, cloud: Cloud) -> None:
        iam = cloud.client("iam")
        iam.create_user(UserName="ann")
        with ThreadPoolExecutor(6) as pool:
            codes = list(pool.map(lambda _: code(iam.create_access_key, UserName="ann"), range(6)))

        assert sorted(codes) == ["", "", *["LimitExceeded"] * 4]

    def test_last_use_is_of_the_key_itself_and_by_the_range_clock(self, cloud: Cloud) -> None:
        keys = cloud.user("ann", ALL)
        iam = cloud.client("iam")
        assert "LastUsedDate" not in iam.get_access_key_last_used(AccessKeyId=keys[0])["AccessKeyLastUsed"]

        cloud.clock.advance(86400)
        cloud.client("sts", keys).get_caller_identity()
        cloud.clock.advance(60)
        iam.list_users()
        used = iam.get_access_key_last_used(AccessKeyId=keys[0])
        assert used["UserName"] == "ann"
        assert used["AccessKeyLastUsed"]["ServiceName"] == "sts"
        assert 50 < cloud.clock.time() - used["AccessKeyLastUsed"]["LastUsedDate"].timestamp() < 80

    def test_a_dead_key_leaves_no_last_use(self, cloud: Cloud) -> None:
        keys = cloud.user("ann", ALL)
        iam = cloud.client("iam")
        iam.update_access_key(UserName="ann", AccessKeyId=keys[0], Status="Inactive")
        every_service(cloud, keys)

        assert "LastUsedDate" not in iam.get_access_key_last_used(AccessKeyId=keys[0])["AccessKeyLastUsed"]


class TestPolicies:
    def test_without_an_allow_access_is_denied_in_each_protocol(self, cloud: Cloud) -> None:
        keys = cloud.user("ann")

        assert every_service(cloud, keys) == ["", "AccessDenied", "AccessDenied", "AccessDeniedException"]

    def test_inline_attached_and_group_policies_allow(self, cloud: Cloud) -> None:
        iam = cloud.client("iam")
        arn = iam.create_policy(PolicyName="lists", PolicyDocument=json.dumps(allow("iam:ListUsers")))["Policy"]["Arn"]
        keys = {name: cloud.user(name) for name in ("inline", "attached", "grouped")}
        calls = {name: cloud.client("iam", each).list_users for name, each in keys.items()}
        assert [code(call) for call in calls.values()] == ["AccessDenied"] * 3

        cloud.put_user_policy("inline", allow("iam:ListUsers"))
        iam.attach_user_policy(UserName="attached", PolicyArn=arn)
        iam.create_group(GroupName="g")
        iam.put_group_policy(GroupName="g", PolicyName="p", PolicyDocument=json.dumps(allow("iam:List*")))
        iam.add_user_to_group(GroupName="g", UserName="grouped")
        assert [code(call) for call in calls.values()] == ["", "", ""]

    def test_the_default_version_of_a_managed_policy_counts(self, cloud: Cloud) -> None:
        iam, keys = cloud.client("iam"), cloud.user("ann")
        arn = iam.create_policy(PolicyName="lists", PolicyDocument=json.dumps(allow("iam:ListUsers")))["Policy"]["Arn"]
        iam.attach_user_policy(UserName="ann", PolicyArn=arn)
        iam.create_policy_version(PolicyArn=arn, PolicyDocument=json.dumps(allow("iam:ListRoles")), SetAsDefault=True)

        assert code(cloud.client("iam", keys).list_users) == "AccessDenied"
        assert code(cloud.client("iam", keys).list_roles) == ""

    def test_resources_are_told_apart(self, cloud: Cloud) -> None:
        own = f"arn:aws:iam::{ACCOUNT}:user/ann"
        iam = cloud.client("iam", cloud.user("ann", allow("iam:*", resource=own)))

        assert code(iam.list_access_keys, UserName="ann") == ""
        assert code(iam.list_access_keys) == ""  # of oneself
        assert code(iam.list_access_keys, UserName="root") == "AccessDenied"
        assert code(iam.list_users) == "AccessDenied"

    def test_objects_and_buckets_are_told_apart(self, cloud: Cloud) -> None:
        cloud.aws.account.add_bucket("releases")
        s3 = cloud.client("s3", cloud.user("ann", allow("s3:*", resource="arn:aws:s3:::releases/public/*")))

        assert code(s3.put_object, Bucket="releases", Key="public/a b+ü.txt", Body=b"hello") == ""
        assert s3.get_object(Bucket="releases", Key="public/a b+ü.txt")["Body"].read() == b"hello"
        assert s3.head_object(Bucket="releases", Key="public/a b+ü.txt")["ContentLength"] == 5
        assert code(s3.put_object, Bucket="releases", Key="private/a", Body=b"") == "AccessDenied"
        assert code(s3.list_objects_v2, Bucket="releases") == "AccessDenied"
        assert code(s3.list_buckets) == "AccessDenied"

    def test_an_explicit_deny_stops_all_but_get_caller_identity(self, cloud: Cloud) -> None:
        keys = cloud.user("ann", ALL)
        cloud.put_user_policy("ann", DENY_ALL)

        assert every_service(cloud, keys) == ["", "AccessDenied", "AccessDenied", "AccessDeniedException"]
        assert code(cloud.client("sts", keys).get_session_token) == "AccessDenied"

    def test_a_session_token_needs_no_allow(self, cloud: Cloud) -> None:
        assert code(cloud.client("sts", cloud.user("ann")).get_session_token) == ""

    def test_the_quarantine_policy_of_aws_is_there_and_bites(self, cloud: Cloud) -> None:
        keys = cloud.user("ann", ALL)
        arn = "arn:aws:iam::aws:policy/AWSCompromisedKeyQuarantineV3"
        cloud.client("iam").attach_user_policy(UserName="ann", PolicyArn=arn)

        assert code(cloud.client("iam", keys).create_user, UserName="x") == "AccessDenied"
        assert code(cloud.client("cloudtrail", keys).lookup_events) == "AccessDeniedException"
        assert code(cloud.client("iam", keys).list_access_keys, UserName="ann") == ""

    def test_simulation_agrees_with_enforcement(self, cloud: Cloud) -> None:
        cloud.user("ann", ALL)
        cut = iso(cloud.clock.time())
        cloud.put_user_policy("ann", older_sessions_denied(cut))

        def decision(**more: Any) -> str:
            found = cloud.client("iam").simulate_principal_policy(
                PolicySourceArn=f"arn:aws:iam::{ACCOUNT}:user/ann", ActionNames=["s3:GetObject"], **more
            )
            return str(found["EvaluationResults"][0]["EvalDecision"])

        def issued(when: float) -> list[dict[str, Any]]:
            return [
                {
                    "ContextKeyName": "aws:TokenIssueTime", "ContextKeyType": "date",
                    "ContextKeyValues": [iso(when)],
                }
            ]  # fmt: skip

        assert decision() == "allowed"
        assert decision(ContextEntries=issued(cloud.clock.time() - 60)) == "explicitDeny"
        assert decision(ContextEntries=issued(cloud.clock.time() + 60)) == "allowed"


class TestSessions:
    def test_a_session_expires_by_the_range_clock(self, cloud: Cloud) -> None:
        sts = cloud.client("sts")
        keys = taken(sts.get_session_token(DurationSeconds=900))
        cloud.clock.advance(890)
        assert code(cloud.client("s3", keys).list_buckets) == ""

        cloud.clock.advance(20)
        assert code(cloud.client("sts", keys).get_caller_identity) == "ExpiredToken"
        assert code(cloud.client("s3", keys).list_buckets) == "ExpiredToken"
        assert code(cloud.client("cloudtrail", keys).lookup_events) == "ExpiredTokenException"

    def test_its_three_parts_belong_together(self, cloud: Cloud) -> None:
        sts = cloud.client("sts")
        one, two = taken(sts.get_session_token()), taken(sts.get_session_token())

        assert every_service(cloud, (one[0], one[1], two[2])) == [
            "InvalidClientTokenId", "InvalidClientTokenId", "InvalidToken", "UnrecognizedClientException",
        ]  # fmt: skip
        assert code(cloud.client("sts", (one[0], one[1])).get_caller_identity) == "InvalidClientTokenId"
        assert code(cloud.client("sts", (*cloud.root[:2], one[2])).get_caller_identity) == "InvalidClientTokenId"
        assert code(cloud.client("sts", (one[0], two[1], one[2])).get_caller_identity) == "SignatureDoesNotMatch"

    def test_it_outlives_its_deactivated_key_but_not_its_user(self, cloud: Cloud) -> None:
        keys = cloud.user("ann", ALL)
        session = taken(cloud.client("sts", keys).get_session_token())
        iam, s3 = cloud.client("iam"), cloud.client("s3", session)
        iam.update_access_key(UserName="ann", AccessKeyId=keys[0], Status="Inactive")
        assert code(s3.list_buckets) == ""

        iam.delete_access_key(UserName="ann", AccessKeyId=keys[0])
        iam.delete_user_policy(UserName="ann", PolicyName="ann-inline")
        iam.delete_user(UserName="ann")
        assert code(s3.list_buckets) == "InvalidAccessKeyId"
        cloud.user("ann", ALL)  # the same name is another user
        assert code(s3.list_buckets) == "InvalidAccessKeyId"

    def test_denying_older_sessions_stops_them_and_nothing_else(self, cloud: Cloud) -> None:
        keys = cloud.user("ann", ALL)
        sts = cloud.client("sts", keys)
        older = taken(sts.get_session_token())
        cloud.clock.advance(5)
        cloud.put_user_policy("ann", older_sessions_denied(iso(cloud.clock.time())), "AWSRevokeOlderSessions")
        cloud.clock.advance(5)
        newer = taken(sts.get_session_token())

        assert code(cloud.client("s3", older).list_buckets) == "AccessDenied"
        assert code(cloud.client("sts", older).get_caller_identity) == ""
        assert code(cloud.client("s3", newer).list_buckets) == ""
        assert every_service(cloud, keys) == LIVE

    def test_a_users_session_calls_no_iam_and_of_sts_only_assume_role(self, cloud: Cloud) -> None:
        keys = taken(cloud.client("sts").get_session_token())

        assert code(cloud.client("iam", keys).list_users) == "InvalidClientTokenId"
        assert code(cloud.client("sts", keys).get_session_token) == "AccessDenied"
        assert code(cloud.client("sts", keys).get_federation_token, Name="eve") == "AccessDenied"
        assert code(cloud.client("sts", keys).get_caller_identity) == ""

    @pytest.mark.parametrize(("seconds", "said"), [(899, "ValidationError"), (900, ""), (129600, "")])
    def test_15_minutes_to_36_hours(self, cloud: Cloud, seconds: int, said: str) -> None:
        assert duration_refused(cloud, seconds) == said
        assert duration_refused(cloud, 129601) == "ValidationError"
        if not said:
            found = cloud.client("sts").get_session_token(DurationSeconds=seconds)["Credentials"]["Expiration"]
            assert abs(found.timestamp() - cloud.clock.time() - seconds) < 5

    def test_a_federated_session_has_what_both_sides_allow(self, cloud: Cloud) -> None:
        sts = cloud.client("sts", cloud.user("ann", allow("sts:GetFederationToken", "s3:*")))
        lists = json.dumps(allow("s3:ListAllMyBuckets", "cloudtrail:*"))
        some = taken(sts.get_federation_token(Name="eve", Policy=lists))
        none = taken(sts.get_federation_token(Name="eve"))

        assert every_service(cloud, some) == ["", "InvalidClientTokenId", "", "AccessDeniedException"]
        assert code(cloud.client("s3", none).list_buckets) == "AccessDenied"
        arn = cloud.client("sts", some).get_caller_identity()["Arn"]
        assert arn == f"arn:aws:sts::{ACCOUNT}:federated-user/eve"


class TestRoles:
    ARN = f"arn:aws:iam::{ACCOUNT}:role/deploy"

    def role(self, cloud: Cloud, principal: Any, *more: dict[str, Any], longest: int = 3600) -> None:
        first = {"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole"}
        iam = cloud.client("iam")
        trust = json.dumps({"Version": "2012-10-17", "Statement": [first, *more]})
        iam.create_role(RoleName="deploy", AssumeRolePolicyDocument=trust, MaxSessionDuration=longest)
        policy = json.dumps(allow("s3:*", "sts:AssumeRole"))
        iam.put_role_policy(RoleName="deploy", PolicyName="p", PolicyDocument=policy)

    def assume(self, cloud: Cloud, keys: Keys | None = None, **more: Any) -> str:
        return code(cloud.client("sts", keys).assume_role, RoleArn=self.ARN, RoleSessionName="run-1", **more)

    def test_the_role_has_its_own_permissions(self, cloud: Cloud) -> None:
        self.role(cloud, {"AWS": f"arn:aws:iam::{ACCOUNT}:user/root"})
        keys = taken(cloud.client("sts").assume_role(RoleArn=self.ARN, RoleSessionName="run-1"))

        assert every_service(cloud, keys) == ["", "AccessDenied", "", "AccessDeniedException"]
        arn = cloud.client("sts", keys).get_caller_identity()["Arn"]
        assert arn == f"arn:aws:sts::{ACCOUNT}:assumed-role/deploy/run-1"

    def test_only_whom_the_trust_policy_names(self, cloud: Cloud) -> None:
        self.role(cloud, {"AWS": f"arn:aws:iam::{ACCOUNT}:user/ann"})

        assert self.assume(cloud, cloud.user("ann")) == ""
        assert self.assume(cloud, cloud.user("bob", ALL)) == "AccessDenied"

    def test_a_trust_in_the_account_leaves_it_to_the_callers_policies(self, cloud: Cloud) -> None:
        self.role(cloud, {"AWS": f"arn:aws:iam::{ACCOUNT}:root"})

        assert self.assume(cloud, cloud.user("ann")) == "AccessDenied"
        assert self.assume(cloud, cloud.user("bob", allow("sts:AssumeRole", resource=self.ARN))) == ""

    def test_a_deny_on_either_side_wins(self, cloud: Cloud) -> None:
        ann = f"arn:aws:iam::{ACCOUNT}:user/ann"
        deny = {"Effect": "Deny", "Principal": {"AWS": ann}, "Action": "sts:AssumeRole"}
        self.role(cloud, {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}, deny)
        bob = cloud.user("bob", ALL)
        assert self.assume(cloud, cloud.user("ann", ALL)) == "AccessDenied"
        assert self.assume(cloud, bob) == ""

        cloud.put_user_policy("bob", DENY_ALL)
        assert self.assume(cloud, bob) == "AccessDenied"

    def test_an_edited_trust_holds_for_new_sessions_only(self, cloud: Cloud) -> None:
        self.role(cloud, {"AWS": f"arn:aws:iam::{ACCOUNT}:user/ann"})
        ann = cloud.user("ann")
        old = taken(cloud.client("sts", ann).assume_role(RoleArn=self.ARN, RoleSessionName="run-1"))
        root = {"AWS": f"arn:aws:iam::{ACCOUNT}:user/root"}
        statement = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": root}
        cloud.client("iam").update_assume_role_policy(
            RoleName="deploy", PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        )

        assert self.assume(cloud, ann) == "AccessDenied"
        assert code(cloud.client("s3", old).list_buckets) == ""

    def test_denying_older_sessions_of_a_role(self, cloud: Cloud) -> None:
        self.role(cloud, {"AWS": f"arn:aws:iam::{ACCOUNT}:user/root"})
        sts = cloud.client("sts")
        older = taken(sts.assume_role(RoleArn=self.ARN, RoleSessionName="run-1"))
        cloud.clock.advance(2)
        cloud.client("iam").put_role_policy(
            RoleName="deploy", PolicyName="AWSRevokeOlderSessions",
            PolicyDocument=json.dumps(older_sessions_denied(iso(cloud.clock.time()))),
        )  # fmt: skip
        cloud.clock.advance(2)
        newer = taken(sts.assume_role(RoleArn=self.ARN, RoleSessionName="run-1"))

        assert code(cloud.client("s3", older).list_buckets) == "AccessDenied"
        assert code(cloud.client("s3", newer).list_buckets) == ""

    def test_a_session_dies_with_its_role(self, cloud: Cloud) -> None:
        self.role(cloud, {"AWS": f"arn:aws:iam::{ACCOUNT}:user/root"})
        keys = taken(cloud.client("sts").assume_role(RoleArn=self.ARN, RoleSessionName="run-1"))
        iam = cloud.client("iam")
        iam.delete_role_policy(RoleName="deploy", PolicyName="p")
        iam.delete_role(RoleName="deploy")
        self.role(cloud, {"AWS": f"arn:aws:iam::{ACCOUNT}:user/root"})

        assert code(cloud.client("s3", keys).list_buckets) == "InvalidAccessKeyId"

    def test_durations(self, cloud: Cloud) -> None:
        self.role(cloud, {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}, longest=7200)

        assert self.assume(cloud, DurationSeconds=900) == ""
        assert self.assume(cloud, DurationSeconds=7200) == ""
        assert self.assume(cloud, DurationSeconds=7201) == "ValidationError"

    def test_a_chained_role_has_one_hour(self, cloud: Cloud) -> None:
        self.role(cloud, {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}, longest=7200)
        first = taken(cloud.client("sts").assume_role(RoleArn=self.ARN, RoleSessionName="run-1"))

        assert self.assume(cloud, first, DurationSeconds=3600) == ""
        assert self.assume(cloud, first, DurationSeconds=3601) == "ValidationError"
        session = taken(cloud.client("sts").get_session_token())
        assert self.assume(cloud, session, DurationSeconds=7200) == ""  # not a chain

    def test_a_session_policy_only_takes_away(self, cloud: Cloud) -> None:
        self.role(cloud, {"AWS": f"arn:aws:iam::{ACCOUNT}:root"})
        cloud.aws.account.add_bucket("releases")
        less = json.dumps(allow("s3:ListAllMyBuckets", "iam:*"))
        keys = taken(cloud.client("sts").assume_role(RoleArn=self.ARN, RoleSessionName="run-1", Policy=less))

        assert code(cloud.client("s3", keys).list_buckets) == ""
        assert code(cloud.client("s3", keys).list_objects_v2, Bucket="releases") == "AccessDenied"
        assert code(cloud.client("iam", keys).list_users) == "AccessDenied"


class TestWebIdentity:
    def trusted(self, cloud: Cloud, condition: dict[str, Any] | None = None) -> None:
        """A provider for GitHub, and a role that trusts one environment of one repository."""
        iam = cloud.client("iam")
        iam.create_open_id_connect_provider(Url=f"https://{HOST}", ClientIDList=["sts.amazonaws.com"])
        wanted = condition or {"StringEquals": {f"{HOST}:aud": "sts.amazonaws.com", f"{HOST}:sub": SUB}}
        statement = {
            "Effect": "Allow", "Principal": {"Federated": PROVIDER}, "Action": "sts:AssumeRoleWithWebIdentity",
            "Condition": wanted,
        }  # fmt: skip
        trust = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        iam.create_role(RoleName="deploy", AssumeRolePolicyDocument=trust)
        iam.put_role_policy(RoleName="deploy", PolicyName="p", PolicyDocument=json.dumps(allow("s3:*")))

    def present(self, cloud: Cloud, token: str, role: str = "deploy", **more: Any) -> str:
        arn = f"arn:aws:iam::{ACCOUNT}:role/{role}"
        call = cloud.client("sts").assume_role_with_web_identity
        return code(call, RoleArn=arn, RoleSessionName="run-1", WebIdentityToken=token, **more)

    def token(self, cloud: Cloud, **claims: Any) -> str:
        return cloud.issuer.mint({"sub": SUB, **claims}, "sts.amazonaws.com")

    def test_a_good_token_gets_a_session_of_the_role(self, cloud: Cloud) -> None:
        self.trusted(cloud)
        found = cloud.client("sts").assume_role_with_web_identity(
            RoleArn=f"arn:aws:iam::{ACCOUNT}:role/deploy", RoleSessionName="run-1", WebIdentityToken=self.token(cloud)
        )

        assert code(cloud.client("s3", taken(found)).list_buckets) == ""
        assert found["SubjectFromWebIdentityToken"] == SUB
        assert found["Provider"] == PROVIDER

    def test_forged_expired_and_foreign_tokens_are_refused(self, cloud: Cloud) -> None:
        self.trusted(cloud)
        forged = OidcIssuer(cloud.clock).mint({"sub": SUB}, "sts.amazonaws.com")
        audience = cloud.issuer.mint({"sub": SUB}, "somebody-else")
        issuer = cloud.issuer.mint({"sub": SUB, "iss": "https://evil.example"}, "sts.amazonaws.com")
        expired = self.token(cloud)
        good = self.token(cloud)
        assert self.present(cloud, good) == ""
        assert self.present(cloud, good + "x") == "InvalidIdentityToken"
        assert self.present(cloud, "garbage") == "InvalidIdentityToken"
        assert self.present(cloud, forged) == "InvalidIdentityToken"
        assert self.present(cloud, audience) == "InvalidIdentityToken"
        assert self.present(cloud, issuer) == "InvalidIdentityToken"

        cloud.clock.advance(301)
        assert self.present(cloud, expired) == "ExpiredTokenException"

    def test_the_trust_policy_decides_on_the_claims(self, cloud: Cloud) -> None:
        self.trusted(cloud)

        assert self.present(cloud, self.token(cloud)) == ""
        for sub in ("repo:harbor-lights/ferry:ref:refs/heads/main", "repo:quiet-otter/ferry:environment:production"):
            assert self.present(cloud, self.token(cloud, sub=sub)) == "AccessDenied"
        assert self.present(cloud, self.token(cloud), role="absent") == "AccessDenied"

    def test_the_claims_that_sts_knows_can_be_conditions_and_others_cannot(self, cloud: Cloud) -> None:
        self.trusted(cloud, {"StringEquals": {f"{HOST}:repository_id": "42"}})
        assert self.present(cloud, self.token(cloud, repository_id="42")) == ""
        assert self.present(cloud, self.token(cloud, repository_id="43")) == "AccessDenied"
        assert self.present(cloud, self.token(cloud)) == "AccessDenied"

        unknown = {"StringEquals": {f"{HOST}:run_id": "7"}}
        statement = {
            "Effect": "Allow", "Principal": {"Federated": PROVIDER}, "Action": "sts:AssumeRoleWithWebIdentity",
            "Condition": unknown,
        }  # fmt: skip
        cloud.client("iam").update_assume_role_policy(
            RoleName="deploy", PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        )
        assert self.present(cloud, self.token(cloud, run_id="7")) == "AccessDenied"

    def test_without_a_provider_or_for_longer_than_the_role_allows(self, cloud: Cloud) -> None:
        assert self.present(cloud, self.token(cloud)) == "InvalidIdentityToken"
        self.trusted(cloud)

        assert self.present(cloud, self.token(cloud), DurationSeconds=3601) == "ValidationError"
        assert self.present(cloud, self.token(cloud), DurationSeconds=900) == ""

    def test_a_plain_assume_role_is_not_enough(self, cloud: Cloud) -> None:
        self.trusted(cloud)
        arn = f"arn:aws:iam::{ACCOUNT}:role/deploy"

        assert code(cloud.client("sts").assume_role, RoleArn=arn, RoleSessionName="run-1") == "AccessDenied"


class TestAccount:
    def test_what_is_made_is_dated_by_the_range_clock(self, cloud: Cloud) -> None:
        iam = cloud.client("iam")
        cloud.clock.advance(-10 * 86400)
        user = iam.create_user(UserName="ann")["User"]["CreateDate"]
        cloud.clock.advance(86400)
        profile = iam.create_login_profile(UserName="ann", Password="made-up-" * 3)["LoginProfile"]["CreateDate"]

        assert abs(cloud.clock.time() - 86400 - user.timestamp()) < 5
        assert abs(cloud.clock.time() - profile.timestamp()) < 5
        assert iam.get_login_profile(UserName="ann")["LoginProfile"]["CreateDate"] == profile
        iam.delete_login_profile(UserName="ann")
        assert code(iam.get_login_profile, UserName="ann") == "NoSuchEntity"

    def test_a_user_with_keys_or_a_login_profile_is_not_deleted(self, cloud: Cloud) -> None:
        iam = cloud.client("iam")
        iam.create_user(UserName="ann")
        key = iam.create_access_key(UserName="ann")["AccessKey"]["AccessKeyId"]
        iam.create_login_profile(UserName="ann", Password="made-up-" * 3)
        assert code(iam.delete_user, UserName="ann") == "DeleteConflict"
        iam.delete_access_key(UserName="ann", AccessKeyId=key)
        assert code(iam.delete_user, UserName="ann") == "DeleteConflict"
        iam.delete_login_profile(UserName="ann")

        assert code(iam.delete_user, UserName="ann") == ""

    def test_key_ids_encode_the_account(self, cloud: Cloud) -> None:
        session = taken(cloud.client("sts").get_session_token())

        assert [account_of(keys[0]) for keys in (cloud.root, session)] == [ACCOUNT, ACCOUNT]
        assert cloud.client("sts").get_access_key_info(AccessKeyId=session[0])["Account"] == ACCOUNT

    def test_a_reset_leaves_nothing(self, cloud: Cloud) -> None:
        session = taken(cloud.client("sts").get_session_token())
        cloud.aws.account.add_bucket("releases")
        cloud.aws.reset()

        assert cloud.aws.snapshot()["users"] == {}
        assert cloud.aws.snapshot()["buckets"] == []
        assert cloud.aws.calls == []
        assert every_service(cloud, cloud.root) == DEAD
        assert code(cloud.client("sts", session).get_caller_identity) == "InvalidClientTokenId"

    def test_a_snapshot_keeps_what_differs_from_run_to_run_apart(self, cloud: Cloud) -> None:
        def once() -> dict[str, Any]:
            cloud.aws.reset()
            cloud.root = cloud.user("root", ALL)
            cloud.user("ann")
            cloud.put_user_policy("ann", older_sessions_denied(iso(cloud.clock.time())))
            return cloud.aws.snapshot()

        one = once()
        cloud.clock.advance(3)
        two = once()
        assert one.pop("volatile") != two.pop("volatile")
        assert one == two


class TestFaults:
    def test_a_status_before_the_work(self, cloud: Cloud) -> None:
        rule = {"server": "aws", "route": "iam:Create*", "status": 503, "code": "ServiceUnavailable", "times": 1}
        cloud.switchboard.add([rule])
        iam = cloud.client("iam")

        assert code(iam.list_users) == ""
        assert code(iam.create_user, UserName="ann") == "ServiceUnavailable"
        assert "ann" not in cloud.aws.snapshot()["users"]
        assert code(iam.create_user, UserName="ann") == ""

    def test_a_lost_answer_after_the_work(self, cloud: Cloud) -> None:
        cloud.switchboard.add([{"route": "iam:CreateUser", "reset": True, "after_commit": True, "times": 1}])
        with pytest.raises(ConnectionClosedError):
            cloud.client("iam").create_user(UserName="ann")
        row = next(r for r in cloud.switchboard.requests() if r["route"] == "iam:CreateUser")

        assert "ann" in cloud.aws.snapshot()["users"]
        assert (row["status"], row["fault"], row["mutating"]) == (200, "reset after commit", True)
        assert json.loads(row["detail"]) == {"userName": "ann"}

    def test_another_answer_after_the_work(self, cloud: Cloud) -> None:
        rule = {"route": "iam:CreateUser", "status": 500, "code": "InternalFailure", "after_commit": True, "times": 1}
        cloud.switchboard.add([rule])

        assert code(cloud.client("iam").create_user, UserName="ann") == "InternalFailure"
        assert "ann" in cloud.aws.snapshot()["users"]

    def test_latency_delays_and_changes_nothing_else(self, cloud: Cloud) -> None:
        cloud.switchboard.add([{"server": "aws", "route": "sts:*", "delay_s": 0.2}])
        sts = cloud.client("sts")
        began = time.monotonic()

        assert sts.get_caller_identity()["Account"] == ACCOUNT
        assert time.monotonic() - began >= 0.2  # a floor: a slow machine cannot break it

    def test_an_answer_lost_before_the_work(self, cloud: Cloud) -> None:
        cloud.switchboard.add([{"route": "iam:CreateUser", "reset": True, "times": 1}])
        with pytest.raises(ConnectionClosedError):
            cloud.client("iam").create_user(UserName="ann")

        assert "ann" not in cloud.aws.snapshot()["users"]
        assert [r["status"] for r in cloud.switchboard.requests() if r["route"] == "iam:CreateUser"] == [0]

    def test_reads_and_writes_are_told_apart(self, cloud: Cloud) -> None:
        iam = cloud.client("iam")
        iam.list_users()
        iam.create_user(UserName="ann")
        cloud.client("sts").get_session_token()
        code(cloud.client("iam", cloud.user("bob")).create_user, UserName="x")

        rows = [(r["route"], r["mutating"], r["status"]) for r in cloud.switchboard.requests()]
        assert rows == [
            ("iam:ListUsers", False, 200), ("iam:CreateUser", True, 200), ("sts:GetSessionToken", False, 200),
            ("iam:CreateUser", True, 403),
        ]  # fmt: skip


def duration_refused(cloud: Cloud, seconds: int) -> str:
    """What GetSessionToken says of a duration, without boto3's own check of it."""
    sts = cloud.session.client(
        "sts", endpoint_url=cloud.url, aws_access_key_id=cloud.root[0], aws_secret_access_key=cloud.root[1],
        config=Config(parameter_validation=False, retries={"total_max_attempts": 1}),
    )  # fmt: skip
    return code(sts.get_session_token, DurationSeconds=seconds)


def account_of(key_id: str) -> str:
    """The account that a key id encodes (TalBeery, "A short note on AWS key id")."""
    number = int.from_bytes(base64.b32decode(key_id[4:])[:6], "big")
    return str((number & 0x7FFFFFFFFF80) >> 7)


def send(url: str, headers: dict[str, str], body: str) -> str:
    """POST as it is, without a client that would sign or mend it."""
    with requests.Session() as session:
        session.trust_env = False
        return session.post(url + "/", data=body, headers=headers, timeout=10).text

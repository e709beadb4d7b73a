"""For every action of the catalogue: how to seed the company, what to ask for, and how to take the effect away."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bot.actions import (
    aws,
    aws_planted,
    aws_sessions,
    github_policy,
    github_runs,
    github_secrets,
    github_unused,
    npm,
    npm_versions,
    people,
)
from bot.actions.aws_iam import iso
from bot.actions.signals import JudgeIn
from bot.clients import AwsClients
from bot.model import AlertRef, Credential, NpmTag, PackageVersion, Planted, RunRef, SecretStore, WorkflowRef
from bot.range import history
from bot.range.company import DEPLOY, FERRY
from bot.range.npm_company import BAD, GOOD, PACKAGE, SECRET
from bot.range.npm_package import release
from bot.range.npm_theft import dispatch
from tests.actions.conftest import PLANTED_USER, ROLE, USER, Drill

CAMPAIGN = Credential(
    provider="github", kind="campaign", id="package:left-pad@1.3.1;2026-03-14T16:00Z..2026-03-15T16:00Z;harbor-lights"
)
ADMIN = "arn:aws:iam::aws:policy/AdministratorAccess"
ALLOW = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}


@dataclass(frozen=True, kw_only=True)
class Arrangement:
    """``seed`` makes the action needed and returns its inputs; ``take_away`` undoes its effect behind our back.

    ``meddle`` makes the state foreign, so that an undo must be refused; None where any state is fine for it.
    ``lost`` names what an undo says that it cannot bring back, as the last word of a path into the state.
    """

    action: str
    variant: str = ""
    seed: Callable[[Drill], Any]
    take_away: Callable[[Drill, Any, Any], None]
    meddle: Callable[[Drill, Any, Any], None] | None = None
    lost: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return f"{self.action}-{self.variant}" if self.variant else self.action


# AWS


def _leaked_key(drill: Drill) -> Any:
    return aws.Key(key=drill.leaked)


def _set(drill: Drill, user: str, key: str, status: str) -> None:
    drill.iam.update_access_key(UserName=user, AccessKeyId=key, Status=status)


def _delete_key(drill: Drill, user: str, key: str) -> None:
    drill.iam.delete_access_key(UserName=user, AccessKeyId=key)


def _put(drill: Drill, kind: str, name: str, policy: str, document: Any) -> None:
    put = getattr(drill.iam, f"put_{kind}_policy")
    put(**{f"{kind.capitalize()}Name": name, "PolicyName": policy, "PolicyDocument": json.dumps(document)})


def _second_key(drill: Drill) -> str:
    """The attacker makes a second key of the same user."""
    return str(drill.as_leaked("iam").create_access_key(UserName=USER)["AccessKey"]["AccessKeyId"])


def _inactive_second(drill: Drill) -> Any:
    key = _second_key(drill)
    _set(drill, USER, key, "Inactive")
    return aws.UserKey(user=USER, key=key)


def _keep_deleted(drill: Drill, inputs: Any, _out: Any) -> None:
    """AWS brings no deleted key back, so the range is made to: the proof must not believe the run."""
    drill.range.aws.account._iam.users[USER].access_keys.append(drill.facts["kept"])


def _inactive_second_kept(drill: Drill) -> Any:
    inputs = _inactive_second(drill)
    drill.facts["kept"] = drill.range.aws.account._iam.users[USER].access_keys[-1]
    return inputs


def _use(drill: Drill, _inputs: Any, out: Any) -> None:
    """Somebody works with the new key."""
    secret = drill.world.secrets.open(out.sealed["secret"])
    assert secret is not None
    AwsClients(key_id=out.key_id, secret=secret.reveal(), endpoint=drill.range.aws_url).client("s3").list_buckets()


def _window(drill: Drill) -> Any:
    since = iso(drill.world.now())
    _second_key(drill)
    return aws_planted.Window(key=drill.leaked, user=USER, since=since)


def _judged_window(drill: Drill) -> Any:
    history.deploys(drill.range)
    key = Credential(provider="aws", kind="aws-access-key", id=drill.leaked)
    return JudgeIn(credential=key, repository=FERRY, since=iso(drill.world.now()), user=USER)


def _clean_window(drill: Drill) -> Any:
    _set(drill, USER, drill.leaked, "Inactive")
    return aws_planted.Window(key=drill.leaked, user=USER, since=iso(drill.world.now()))


def _plant_user(drill: Drill) -> Any:
    iam = drill.as_leaked("iam")
    iam.create_user(UserName=PLANTED_USER)
    iam.attach_user_policy(UserName=PLANTED_USER, PolicyArn=ADMIN)
    iam.create_access_key(UserName=PLANTED_USER)
    iam.create_login_profile(UserName=PLANTED_USER, Password="made-up-" + "x" * 12, PasswordResetRequired=False)
    return Planted(kind="user", name=PLANTED_USER)


def _plant_key(drill: Drill) -> Any:
    return Planted(kind="access-key", name=USER, id=_second_key(drill))


def _plant_login(drill: Drill) -> Any:
    _plant_user(drill)
    return Planted(kind="login-profile", name=PLANTED_USER)


def _plant_role(drill: Drill) -> Any:
    trust = drill.iam.get_role(RoleName=ROLE)["Role"]["AssumeRolePolicyDocument"]
    drill.as_leaked("iam").create_role(RoleName="cache-warmer", AssumeRolePolicyDocument=json.dumps(trust))
    return Planted(kind="role", name="cache-warmer")


def _plant_inline(kind: str, name: str) -> Callable[[Drill], Any]:
    def seed(drill: Drill) -> Any:
        args = {f"{kind.capitalize()}Name": name, "PolicyName": "cache", "PolicyDocument": json.dumps(ALLOW)}
        getattr(drill.as_leaked("iam"), f"put_{kind}_policy")(**args)
        return Planted(kind=f"{kind}-policy", name=name, id="cache")

    return seed


def _plant_attached(kind: str, name: str) -> Callable[[Drill], Any]:
    def seed(drill: Drill) -> Any:
        args = {f"{kind.capitalize()}Name": name, "PolicyArn": ADMIN}
        getattr(drill.as_leaked("iam"), f"attach_{kind}_policy")(**args)
        return Planted(kind=f"{kind}-policy", name=name, id=ADMIN)

    return seed


def plant_trust(drill: Drill) -> Any:
    """The attacker lets a user of its own into the deploy role; find_planted tells it as playbooks get it."""
    since = iso(drill.world.now())
    iam = drill.as_leaked("iam")
    arn = iam.create_user(UserName=PLANTED_USER)["User"]["Arn"]
    document = iam.get_role(RoleName=ROLE)["Role"]["AssumeRolePolicyDocument"]
    document["Statement"].append({"Effect": "Allow", "Principal": {"AWS": arn}, "Action": "sts:AssumeRole"})
    iam.update_assume_role_policy(RoleName=ROLE, PolicyDocument=json.dumps(document))
    drill.facts["edited"] = document
    window = aws_planted.Window(key=drill.leaked, user=USER, since=since)
    _, found = drill.do("aws.find_planted", window)
    return next(planted for planted in found.planted if planted.kind == "trust")


def _edit_again(drill: Drill, _inputs: Any, _out: Any) -> None:
    drill.iam.update_assume_role_policy(RoleName=ROLE, PolicyDocument=json.dumps(drill.facts["edited"]))


def _edit_otherwise(drill: Drill, _inputs: Any, _out: Any) -> None:
    other = drill.iam.get_user(UserName="harbor-backup")["User"]["Arn"]
    document = {"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Principal": {"AWS": other}, "Action": "sts:AssumeRole"}]}  # fmt: skip
    drill.iam.update_assume_role_policy(RoleName=ROLE, PolicyDocument=json.dumps(document))


def _guard_changed(kind: str) -> Callable[[Drill, Any, Any], None]:
    def meddle(drill: Drill, inputs: Any, _out: Any) -> None:
        names = getattr(drill.iam, f"list_{kind}_policies")(**{f"{kind.capitalize()}Name": inputs.name})["PolicyNames"]
        guard = next(name for name in names if name.startswith("Bulkhead"))
        _put(drill, kind, inputs.name, guard, {**ALLOW, "Statement": [{**ALLOW["Statement"][0], "Effect": "Deny"}]})

    return meddle


def revoke_changed(kind: str, name: str) -> Callable[[Drill, Any, Any], None]:
    return lambda drill, _inputs, _out: _put(drill, kind, name, "AWSRevokeOlderSessions", ALLOW)


def drop(kind: str, name: str) -> Callable[[Drill, Any, Any], None]:
    def take_away(drill: Drill, _inputs: Any, _out: Any) -> None:
        args = {f"{kind.capitalize()}Name": name, "PolicyName": "AWSRevokeOlderSessions"}
        getattr(drill.iam, f"delete_{kind}_policy")(**args)

    return take_away


def _let_go(kind: str) -> Callable[[Drill, Any, Any], None]:
    """The deny-all goes."""

    def take_away(drill: Drill, inputs: Any, _out: Any) -> None:
        args = {f"{kind.capitalize()}Name": inputs.name, "PolicyName": "BulkheadDenyAll"}
        getattr(drill.iam, f"delete_{kind}_policy")(**args)

    return take_away


def _again(seed: Callable[[Drill], Any]) -> Callable[[Drill, Any, Any], None]:
    return lambda drill, _inputs, _out: seed(drill) and None


def _login_again(drill: Drill, inputs: Any, _out: Any) -> None:
    drill.iam.create_login_profile(UserName=inputs.name, Password="made-up-" + "y" * 12)


# GitHub

WORKFLOW = WorkflowRef(repository=FERRY, workflow=DEPLOY)
_DEPLOY_API = f"/repos/{FERRY}/actions/workflows/deploy.yml"
_PERMISSIONS = f"/repos/{FERRY}/actions/permissions"
_STORE = SecretStore(repository=FERRY, name="AWS_ACCESS_KEY_ID", part="id")


def _send(verb: str, path: str, body: Any = None) -> Callable[..., None]:
    def send(drill: Drill, *_: Any) -> None:
        drill.world.github.send(verb, path, body)

    return send


def _seeded(inputs: Any, *moves: Callable[[Drill], None]) -> Callable[[Drill], Any]:
    def seed(drill: Drill) -> Any:
        for move in moves:
            move(drill)
        return inputs

    return seed


def _running(drill: Drill) -> Any:
    drill.range.leak()
    return WORKFLOW


def _leaking_run(drill: Drill) -> Any:
    return RunRef(repository=FERRY, run_id=drill.range.leak()["run_id"], workflow=DEPLOY)


def _logs_again(drill: Drill, inputs: Any, _out: Any) -> None:
    """GitHub brings no log back, so the range is made to: the proof must not believe the run."""
    drill.range.github.state.runs[inputs.run_id].logs_deleted = False


def _new_value(drill: Drill) -> Any:
    drill.range.clock.advance(5)  # an update shows in whole seconds
    ref = drill.world.secrets.seal("new id", "AK" + "IA" + "NEWMADEUPKEYEXAM")
    return github_secrets.PutSecretIn(store=_STORE, sealed={"id": ref})


def _secret_again(drill: Drill, *_: Any) -> None:
    drill.range.github.state.set_secret(FERRY, _STORE.name, "made-up")


# People


class _Said:
    def __init__(self, answer: tuple[str, str] | None) -> None:
        self._answer = answer

    def answer(self) -> tuple[str, str] | None:
        return self._answer


def _answered(inputs: Any) -> Callable[[Drill], Any]:
    def seed(drill: Drill) -> Any:
        drill.world = drill.world.with_answers(_Said(("mara (simulated)", "yes")))
        return inputs

    return seed


def _unanswered(drill: Drill, *_: Any) -> None:
    drill.world = drill.world.with_answers(_Said(None))


# npm

TOKEN = npm.TokenIn(credential=Credential(provider="npm", kind="npm-token", id="stolen"))
_VERSION = PackageVersion(package=PACKAGE, version=BAD)
_TAG = NpmTag(package=PACKAGE, tag="latest", bad=BAD, good=GOOD)
_FIND = npm_versions.FindIn(repository=FERRY, maintainer="mara", since="2020-01-01T00:00:00Z")


def _stolen(drill: Drill) -> str:
    """Ferry's token; the vault knows it as stolen."""
    (value,) = [each.value for each in drill.range.npm.tokens.values() if each.user == "mara"]
    drill.world.secrets.seal("stolen", value, TOKEN.credential.key)
    return value


def _publish(drill: Drill, version: str) -> None:
    token = drill.range.npm.tokens[_stolen(drill)]
    drill.range.npm.publish(release({"name": PACKAGE, "version": version}), token)


def _bad_version(inputs: Any) -> Callable[[Drill], Any]:
    """The good version is out, then the bad one."""

    def seed(drill: Drill) -> Any:
        for version in (GOOD, BAD):
            _publish(drill, version)
        drill.facts["bad"] = drill.range.npm.packages[PACKAGE].versions[BAD]
        return inputs

    return seed


def _tag(version: str) -> Callable[[Drill, Any, Any], None]:
    def move(drill: Drill, _inputs: Any, _out: Any) -> None:
        registry = drill.range.npm
        registry.set_tag(PACKAGE, "latest", version, registry.tokens[_stolen(drill)])

    return move


def _say(message: str) -> Callable[[Drill, Any, Any], None]:
    def say(drill: Drill, _inputs: Any, _out: Any) -> None:
        drill.range.npm.packages[PACKAGE].versions[BAD]["deprecated"] = message

    return say


def _bad_again(drill: Drill, _inputs: Any, _out: Any) -> None:
    """The registry takes no version twice, so the range is made to: the proof must not believe the run."""
    drill.range.npm.packages[PACKAGE].versions[BAD] = drill.facts["bad"]


def _new_token(drill: Drill) -> Any:
    """A person has made a new token and handed it in."""
    _stolen(drill)
    drill.facts["new"] = drill.range.person("mint-npm-token")["secret"]
    ref = drill.world.secrets.seal("answer:rotate", drill.facts["new"])
    drill.world = drill.world.with_answers(_Said(("mara (simulated)", ref)))
    return people.RotateIn(who="mara", task="make a new token", credential=TOKEN.credential)


def _revoke_new(drill: Drill, *_: Any) -> None:
    drill.range.npm.tokens[drill.facts["new"]].revoked = True


def _green_run(drill: Drill) -> Any:
    dispatch(drill.range, "registry-access.yml")
    return github_runs.GreenIn(store=SecretStore(repository=FERRY, name=SECRET))


def _red_run(drill: Drill, *_: Any) -> None:
    drill.range.npm.tokens[_stolen(drill)].revoked = True
    dispatch(drill.range, "registry-access.yml")


ARRANGEMENTS: tuple[Arrangement, ...] = (
    Arrangement(
        action="aws.describe_access_key", seed=_leaked_key,
        take_away=lambda d, i, o: _set(d, USER, i.key, "Inactive"),
    ),
    Arrangement(
        action="aws.deactivate_access_key", seed=_leaked_key,
        take_away=lambda d, i, o: _set(d, USER, i.key, "Active"),
        meddle=lambda d, i, o: _delete_key(d, USER, i.key),
    ),
    Arrangement(
        action="aws.rotate_access_key", seed=lambda d: aws.Rotation(user=USER, old=d.leaked),
        take_away=lambda d, i, o: _delete_key(d, USER, o.key_id), meddle=_use,
    ),
    Arrangement(action="aws.delete_access_key", seed=_inactive_second_kept, take_away=_keep_deleted),
    Arrangement(
        action="aws.deny_older_sessions", seed=_seeded(aws_sessions.UserSessions(user=USER)),
        take_away=drop("user", USER), meddle=revoke_changed("user", USER),
    ),
    Arrangement(
        action="aws.deny_older_sessions", variant="over-another",
        seed=_seeded(
            aws_sessions.UserSessions(user=USER), lambda d: _put(d, "user", USER, "AWSRevokeOlderSessions", ALLOW)
        ),
        take_away=drop("user", USER), meddle=drop("user", USER),
    ),
    Arrangement(
        action="aws.deny_older_role_sessions", seed=_seeded(aws_sessions.RoleSessions(role=ROLE)),
        take_away=drop("role", ROLE), meddle=revoke_changed("role", ROLE),
    ),
    Arrangement(action="signals.judge", seed=_judged_window, take_away=_again(_plant_user)),
    Arrangement(action="aws.find_planted", seed=_window, take_away=_again(_plant_user)),
    Arrangement(
        action="aws.confirm_clean", seed=_clean_window,
        take_away=lambda d, i, o: _set(d, USER, i.key, "Active"),
    ),
    Arrangement(
        action="aws.disable_planted", variant="access-key", seed=_plant_key,
        take_away=lambda d, i, o: _set(d, USER, i.id, "Active"), meddle=lambda d, i, o: _delete_key(d, USER, i.id),
    ),
    Arrangement(
        action="aws.disable_planted", variant="access-key-sessions", seed=_plant_key,
        take_away=lambda d, i, o: d.iam.delete_user_policy(UserName=USER, PolicyName="BulkheadRevokeSessions-key2"),
        meddle=_guard_changed("user"),
    ),
    Arrangement(
        action="aws.disable_planted", variant="user", seed=_plant_user, take_away=_let_go("user"),
        meddle=_guard_changed("user"), lost=("login_profile",),
    ),
    Arrangement(
        action="aws.disable_planted", variant="role", seed=_plant_role, take_away=_let_go("role"),
        meddle=_guard_changed("role"),
    ),
    Arrangement(
        action="aws.disable_planted", variant="login-profile", seed=_plant_login, take_away=_login_again,
        meddle=_guard_changed("user"), lost=("login_profile",),
    ),
    *(
        Arrangement(
            action="aws.disable_planted", variant=f"{kind}-policy-{way}", seed=seed(kind, name),
            take_away=_again(seed(kind, name)),
            meddle=(lambda d, i, o: _put(d, i.kind.partition("-")[0], i.name, i.id, {**ALLOW, "Id": "other"}))
            if way == "inline" else None,
        )
        for kind, name in (("user", USER), ("role", ROLE))
        for way, seed in (("inline", _plant_inline), ("attached", _plant_attached))
    ),
    Arrangement(
        action="aws.disable_planted", variant="trust", seed=plant_trust, take_away=_edit_again, meddle=_edit_otherwise
    ),
    Arrangement(
        action="github.disable_workflow", seed=_seeded(WORKFLOW), take_away=_send("PUT", f"{_DEPLOY_API}/enable")
    ),
    Arrangement(
        action="github.await_unused", variant="package", take_away=_unanswered,
        seed=_answered(github_unused.UnusedIn(who="mara", credential=CAMPAIGN)),
    ),
    Arrangement(
        action="github.enable_workflow", seed=_seeded(WORKFLOW, _send("PUT", f"{_DEPLOY_API}/disable")),
        take_away=_send("PUT", f"{_DEPLOY_API}/disable"),
    ),
    Arrangement(
        action="github.resolve_alert", seed=_seeded(AlertRef(repository=FERRY, number=1)),
        take_away=_send("PATCH", f"/repos/{FERRY}/secret-scanning/alerts/1", {"state": "open"}),
    ),
    Arrangement(
        action="github.stop_actions", seed=_seeded(github_policy.RepositoryIn(repository=FERRY)),
        take_away=_send("PUT", _PERMISSIONS, {"enabled": True, "allowed_actions": "all"}),
        meddle=_send("PUT", _PERMISSIONS, {"enabled": True, "allowed_actions": "local_only"}),
    ),
    Arrangement(
        action="github.set_default_token_permissions",
        seed=_seeded(
            github_policy.TokenPermissionsIn(repository=FERRY),
            _send("PUT", f"{_PERMISSIONS}/workflow",
                  {"default_workflow_permissions": "write", "can_approve_pull_request_reviews": True}),
        ),
        take_away=_send("PUT", f"{_PERMISSIONS}/workflow",
                        {"default_workflow_permissions": "write", "can_approve_pull_request_reviews": False}),
        meddle=_send("PUT", f"{_PERMISSIONS}/workflow",
                     {"default_workflow_permissions": "write", "can_approve_pull_request_reviews": False}),
    ),
    Arrangement(
        action="github.cancel_runs", seed=_running,
        take_away=_send("POST", f"{_DEPLOY_API}/dispatches", {"ref": "main"}),
    ),
    Arrangement(action="github.delete_run_logs", seed=_leaking_run, take_away=_logs_again),
    Arrangement(
        action="github.put_secret", seed=_new_value,
        take_away=_send("DELETE", f"/repos/{FERRY}/actions/secrets/{_STORE.name}"),
    ),
    Arrangement(action="github.delete_secret", seed=_seeded(_STORE), take_away=_secret_again),
    Arrangement(action="github.await_green_run", seed=_green_run, take_away=_red_run),
    Arrangement(
        action="npm.check_token", seed=lambda d: _stolen(d) and TOKEN,
        take_away=lambda d, i, o: setattr(d.range.npm.tokens[_stolen(d)], "revoked", True),
    ),
    Arrangement(
        action="npm.find_unexplained_versions", seed=_bad_version(_FIND),
        take_away=lambda d, i, o: _publish(d, "1.4.4"),
    ),
    Arrangement(
        action="npm.move_dist_tag_back", seed=_bad_version(_TAG), take_away=_tag(BAD), meddle=_tag("1.4.0"),
    ),
    Arrangement(
        action="npm.deprecate", take_away=_say("other"), meddle=_say("other"),
        seed=_bad_version(npm.DeprecateIn(package=PACKAGE, version=BAD, message="Nobody released it")),
    ),
    Arrangement(action="npm.unpublish", seed=_bad_version(_VERSION), take_away=_bad_again),
    Arrangement(action="people.rotate_by_hand", seed=_new_token, take_away=_revoke_new),
    Arrangement(
        action="people.ask", seed=_answered(people.AskIn(who="mara", question="Is the step gone?")),
        take_away=_unanswered,
    ),
    Arrangement(
        action="people.isolate", seed=_answered(people.IsolateIn(machine="laptop of mara")), take_away=_unanswered,
    ),
    Arrangement(action="people.do", seed=_answered(people.DoIn(who="mara", task="wipe it")), take_away=_unanswered),
)  # fmt: skip

"""The range as its own process: the one line, the control address, the drill company and the attacker."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import boto3
import jwt
import pytest
import requests
from botocore.config import Config
from github import Auth, Github

from bot.range import scenarios as range_scenarios
from bot.scenario import SCENARIOS
from tests.range.conftest import code

START = "from bot.range.server import main; main(json=True)"
FERRY = "harbor-lights/ferry"
NAMES = ["key", "second-key", "planted-user", "saved-session", "role-session"]


def spawn(**env: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", START], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=os.environ | env,
    )  # fmt: skip


def line_of(child: subprocess.Popen[str]) -> dict[str, Any]:
    assert child.stdout is not None
    found = child.stdout.readline()
    assert found, child.communicate()[1]
    return dict(json.loads(found))


@dataclass
class Control:
    """The range seen from outside."""

    endpoints: dict[str, Any]
    http: requests.Session

    def __call__(self, method: str, path: str, body: Any = None, *, status: int = 200) -> Any:
        answer = self.http.request(method, self.endpoints["control"] + path, json=body, timeout=60)
        assert answer.status_code == status, answer.text
        return answer.json()

    def github(self, login: str, method: str, path: str, body: Any = None) -> requests.Response:
        token = self.endpoints["cast"]["github"][login]
        headers = {"Authorization": f"Bearer {token}"}
        url = self.endpoints["github"] + path
        return self.http.request(method, url, json=body, headers=headers, allow_redirects=True, timeout=60)

    def aws(self, service: str, user: str = "bulkhead-responder") -> Any:
        key = self.endpoints["cast"]["aws"][user]
        return boto3.session.Session(region_name="us-east-1").client(
            service, endpoint_url=self.endpoints["aws"], aws_access_key_id=key["key_id"],
            aws_secret_access_key=key["secret"], config=Config(retries={"total_max_attempts": 1}),
        )  # fmt: skip


@pytest.fixture(scope="module")
def process() -> Iterator[Control]:
    """One process for all tests; the machine's own settings for AWS and proxies would break it if it read them."""
    dead = "http://127.0.0.1:9"
    child = spawn(AWS_PROFILE="nobody", AWS_ENDPOINT_URL=dead, HTTP_PROXY=dead, http_proxy=dead)
    with requests.Session() as http:
        http.trust_env = False
        yield Control(line_of(child), http)
    assert child.stdin is not None
    child.stdin.close()
    assert child.wait(20) == 0
    assert child.stdout is not None
    assert child.stderr is not None
    with child.stdout, child.stderr:
        assert child.stdout.read() == ""


@pytest.fixture
def control(process: Control) -> Control:
    """The company as it was before the leak."""
    process.endpoints["cast"] = process("POST", "/reset")["cast"]
    return process


def test_the_line_names_every_address_and_the_whole_cast(control: Control) -> None:
    found = control.endpoints

    servers = {
        "aws", "github", "npm", "registries", "registry", "gcp", "slack", "control", "oidc_issuer", "vault",
        "kubernetes",
    }  # fmt: skip
    assert set(found) == {*servers, "pid", "cast", "trust_root", "account_map", "stores"}
    assert all(found[name].startswith("http://127.0.0.1:") for name in ("aws", "github", "control", "oidc_issuer"))
    assert set(found["cast"]["aws"]) == {"bulkhead-responder", "harbor-backup"}
    assert set(found["cast"]["github"]) == {"mara", "jonas", "bulkhead-bot", "quiet-otter"}
    assert set(found["cast"]["app"]) == {"app_id", "installation_id", "private_key"}


def test_it_ends_on_sigterm() -> None:
    child = spawn()
    line_of(child)
    child.send_signal(signal.SIGTERM)

    assert child.wait(20) == 0
    child.communicate()


def test_the_cast_can_log_in(control: Control) -> None:
    cast = control.endpoints["cast"]
    for login in cast["github"]:
        assert control.github(login, "GET", "/user").json()["login"] == login
    for user in cast["aws"]:
        assert control.aws("sts", user).get_caller_identity()["Arn"].endswith(f"user/{user}")
    app = Auth.AppAuth(cast["app"]["app_id"], cast["app"]["private_key"])
    installation = app.get_installation_auth(cast["app"]["installation_id"])
    with Github(auth=installation, base_url=control.endpoints["github"]) as api:
        assert api.get_repo(FERRY).default_branch == "main"


def test_the_clock_moves_every_server(control: Control) -> None:
    before = control("GET", "/clock")
    assert before["offset_s"] == 0
    after = control("POST", "/clock", {"advance_s": 7200})
    assert after["offset_s"] == 7200
    run = control("POST", "/drill/leak")["run_id"]
    control.aws("iam").create_user(UserName="ann")

    began = control.github("mara", "GET", f"/repos/{FERRY}/actions/runs/{run}").json()["created_at"]
    made = control.aws("iam").get_user(UserName="ann")["User"]["CreateDate"].isoformat()
    assert before["now"][:19] < after["now"][:19] <= began.rstrip("Z") < made
    control("POST", "/reset")
    assert control("GET", "/clock")["offset_s"] == 0


def test_the_leak_is_in_a_public_log_that_masking_does_not_see(control: Control) -> None:
    leak = control("POST", "/drill/leak")
    repo = f"/repos/{FERRY}/actions"
    runs = {r["id"]: r["status"] for r in control.github("jonas", "GET", f"{repo}/runs").json()["workflow_runs"]}
    assert runs == {leak["run_id"]: "completed", leak["second_run_id"]: "in_progress"}
    assert leak["run_url"] == f"{control.endpoints['github']}/{FERRY}/actions/runs/{leak['run_id']}"

    zipped = control.github("quiet-otter", "GET", f"{repo}/runs/{leak['run_id']}/logs").content
    with zipfile.ZipFile(BytesIO(zipped)) as archive:
        log = "".join(archive.read(name).decode() for name in archive.namelist())
    acts = control("POST", "/drill/abuse")["acts"]
    assert "AWS_SECRET_ACCESS_KEY: ***" in log
    assert "AWS_SECRET_ACCESS_KEY=" not in log
    assert [act["act"] for act in acts][:2] == ["github:ReadRunLog", "sts:GetCallerIdentity"]
    assert all(act["ok"] for act in acts)


def test_what_the_attacker_leaves_behind(control: Control) -> None:
    control("POST", "/drill/leak")
    control("POST", "/drill/abuse")
    iam = control.aws("iam")

    assert len(iam.list_access_keys(UserName="ferry-ci")["AccessKeyMetadata"]) == 2
    assert len(iam.list_access_keys(UserName="svc-cache-sync")["AccessKeyMetadata"]) == 1
    assert code(iam.get_login_profile, UserName="svc-cache-sync") == ""
    trust = iam.get_role(RoleName="ferry-deploy")["Role"]["AssumeRolePolicyDocument"]
    assert "svc-cache-sync" in json.dumps(trust)
    tries = control("POST", "/drill/tries")
    assert sorted((t["name"], t["refused"], t["code"], t["identity_code"]) for t in tries) == [
        (name, False, "", "") for name in sorted(NAMES)
    ]


def test_containment_by_hand_is_seen_by_the_tries_and_spares_the_bystander(control: Control) -> None:
    control("POST", "/drill/leak")
    control("POST", "/drill/abuse")
    control("POST", "/clock", {"advance_s": 1})
    iam = control.aws("iam")
    deny = {"Effect": "Deny", "Action": "*", "Resource": "*"}
    older = {**deny, "Condition": {"DateLessThan": {"aws:TokenIssueTime": control("GET", "/clock")["now"]}}}

    def document(statement: dict[str, Any]) -> str:
        return json.dumps({"Version": "2012-10-17", "Statement": [statement]})

    for key in iam.list_access_keys(UserName="ferry-ci")["AccessKeyMetadata"]:
        iam.update_access_key(UserName="ferry-ci", AccessKeyId=key["AccessKeyId"], Status="Inactive")
    iam.put_user_policy(UserName="ferry-ci", PolicyName="AWSRevokeOlderSessions", PolicyDocument=document(older))
    iam.put_role_policy(RoleName="ferry-deploy", PolicyName="AWSRevokeOlderSessions", PolicyDocument=document(older))
    iam.put_user_policy(UserName="svc-cache-sync", PolicyName="deny", PolicyDocument=document(deny))

    tries = {t["name"]: t for t in control("POST", "/drill/tries")}
    assert {name: t["refused"] for name, t in tries.items()} == dict.fromkeys(NAMES, True)
    assert tries["key"]["identity_code"] == "InvalidClientTokenId"
    assert tries["saved-session"]["identity_code"] == ""  # a Deny does not stop GetCallerIdentity
    assert control("POST", "/drill/collateral")["ok"] is True
    control.aws("iam").put_user_policy(UserName="harbor-backup", PolicyName="deny", PolicyDocument=document(deny))
    found = control("POST", "/drill/collateral")
    assert found["ok"] is False
    assert {name for name, code in found["detail"].items() if code} == {"key", "session"}


def test_an_outage_is_not_a_refusal(control: Control) -> None:
    control("POST", "/drill/leak")
    control("POST", "/drill/abuse")
    control("POST", "/faults", [{"server": "aws", "route": "s3:*", "status": 503}])
    tries = control("POST", "/drill/tries")
    control("DELETE", "/faults")

    assert [t["refused"] for t in tries] == [False] * 5
    assert {t["code"] for t in tries} == {"ServiceUnavailable"}


def test_two_companies_differ_only_in_what_is_volatile(control: Control) -> None:
    def once() -> dict[str, Any]:
        control("POST", "/reset")
        control("POST", "/drill/leak")
        control("POST", "/drill/abuse")
        return dict(control("GET", "/state"))

    one, two = once(), once()
    assert one["github"]["repositories"][FERRY]["workflows"][".github/workflows/deploy.yml"] == "active"
    assert one["aws"]["users"]["svc-cache-sync"]["login_profile"] is True
    assert one.pop("volatile") != two.pop("volatile")
    assert one == two


def test_a_reset_ends_the_old_tokens_faults_and_log(control: Control) -> None:
    old = control.endpoints["cast"]["github"]["mara"]
    control("POST", "/faults", {"server": "github", "status": 500})
    control.endpoints["cast"] = control("POST", "/reset")["cast"]
    assert control("GET", "/requests") == []
    assert control("POST", "/drill/tries") == []

    control.endpoints["cast"]["github"]["old"] = old
    assert control.github("old", "GET", "/user").status_code == 401
    assert control.github("mara", "GET", "/user").status_code == 200


class TestGitHubFaults:
    PATH = f"/repos/{FERRY}/actions/workflows/deploy.yml/disable"

    def workflow(self, control: Control) -> str:
        ferry = control("GET", "/state")["github"]["repositories"][FERRY]
        return str(ferry["workflows"][".github/workflows/deploy.yml"])

    def test_a_status_with_headers_and_only_so_many_times(self, control: Control) -> None:
        rule = {"server": "github", "method": "PUT", "status": 429, "headers": {"Retry-After": "7"}, "times": 1}
        control("POST", "/faults", [rule])
        answers = [control.github("mara", "PUT", self.PATH) for _ in range(2)]

        assert [a.status_code for a in answers] == [429, 204]
        assert answers[0].headers["retry-after"] == "7"

    def test_a_reset_before_and_after_the_work(self, control: Control) -> None:
        for after_commit, state, status in ((False, "active", 0), (True, "disabled_manually", 204)):
            control("DELETE", "/requests")
            rule = {"server": "github", "route": "*/disable", "reset": True, "after_commit": after_commit, "times": 1}
            control("POST", "/faults", [rule])
            with pytest.raises(requests.ConnectionError):
                control.github("mara", "PUT", self.PATH)
            row = control("GET", "/requests")[0]

            assert self.workflow(control) == state
            assert (row["status"], row["mutating"], row["route"]) == (status, True, self.PATH)


def test_bad_input_is_told_in_a_sentence(control: Control) -> None:
    assert "no colour" in control("POST", "/faults", [{"colour": "red"}], status=400)["message"]
    assert control("POST", "/clock", {"advance_s": "soon"}, status=400)["message"] == "advance_s must be a number"
    url = "http://127.0.0.1/x"
    assert "not the address" in control("POST", "/drill/abuse", {"run_url": url}, status=400)["message"]
    url = f"{control.endpoints['github']}/{FERRY}/actions/runs/1"
    assert "404" in control("POST", "/drill/abuse", {"run_url": url}, status=400)["message"]


def test_the_throttle_of_the_trail_can_be_set(control: Control) -> None:
    control("POST", "/trail", {"lookups_per_second": 1})
    trail = control.aws("cloudtrail")

    assert "ThrottlingException" in [code(trail.lookup_events) for _ in range(20)]


def test_the_issuer_publishes_its_keys(control: Control) -> None:
    base = control.endpoints["oidc_issuer"]
    found = control.http.get(f"{base}/.well-known/openid-configuration", timeout=10).json()
    keys = control.http.get(found["jwks_uri"], timeout=10).json()

    assert found["issuer"] == "https://token.actions.githubusercontent.com"
    assert jwt.PyJWKSet.from_dict(keys).keys[0].key_type == "RSA"


def test_state_and_log_hold_no_secret(control: Control) -> None:
    control("POST", "/drill/leak")
    control("POST", "/drill/abuse")
    control("POST", "/drill/tries")
    written = json.dumps([control("GET", "/state"), control("GET", "/requests")])
    cast = control.endpoints["cast"]
    for secret in [*cast["github"].values(), *(pair["secret"] for pair in cast["aws"].values())]:
        assert secret not in written
    assert "PRIVATE KEY" not in written


def test_the_range_plays_the_scenarios_that_a_drill_may_name_and_no_other(control: Control) -> None:
    assert set(range_scenarios.SCENARIOS) == set(SCENARIOS)
    for name in SCENARIOS:
        assert control("POST", "/drill/tries", {"scenario": name}) == []
    for path in ("/drill/leak", "/drill/abuse", "/drill/tries"):
        said = control("POST", path, {"scenario": "heist"}, status=400)["message"]
        assert "no scenario 'heist'" in said


@pytest.mark.parametrize("name", ["oidc-non-event", "oidc-non-event-dependency"])
def test_nothing_leaks_after_a_move_that_was_not_made(control: Control, name: str) -> None:
    assert "merge it" in control("POST", "/drill/leak", {"scenario": name}, status=400)["message"]
    assert "nothing has leaked yet" in control("POST", "/drill/abuse", {"scenario": name}, status=400)["message"]
    given = control("POST", "/drill/move", {"scenario": name})
    assert (given["repository"], given["moved"]) == (FERRY, {})
    assert control("POST", "/drill/move", {"scenario": name}) == given
    said = control("POST", "/drill/move", {"scenario": "aws-key-in-public-log"}, status=400)["message"]
    assert "nothing moves to OIDC" in said


@pytest.mark.parametrize("name", ["github-pat-in-image", "github-pat-in-image-revoked"])
def test_a_token_in_an_image_is_found_and_abused_and_plants_what_outlives_it(control: Control, name: str) -> None:
    leak = control("POST", "/drill/leak", {"scenario": name})
    assert leak["image_ref"].endswith("harbor-lights/ferry:1.4")
    acts = control("POST", "/drill/abuse", {"scenario": name})["acts"]
    assert all(act["ok"] for act in acts), acts
    assert [act["act"] for act in acts][:6] == [
        "registry:PullLayer", "github:GetUser", "github:ListRepositories", "github:AddDeployKey", "github:PushWorkflow",
        "github:PushWorkflow",
    ]  # fmt: skip
    refused = {t["name"]: t["refused"] for t in control("POST", "/drill/tries", {"scenario": name})}
    assert refused == {
        "token": name.endswith("-revoked"), "deploy-key": False, "workflow-on-main": False,
        "workflow-on-release-1.3": False,
    }  # fmt: skip
    assert control("POST", "/drill/collateral")["ok"]
    ferry = control("GET", "/state")["github"]["repositories"][FERRY]
    assert ferry["keys"] == [["cache-sync", False], ["mirror", True]]
    assert ferry["workflows"][".github/workflows/security-scan.yml"] == "active"
    assert not [run for run in ferry["runs"] if "security-scan" in run["workflow"]], "it waits for the night"


def test_an_attacker_who_looks_elsewhere_finds_nothing(control: Control) -> None:
    body = {"scenario": "github-pat-in-image"}
    assert "nothing has leaked" in control("POST", "/drill/abuse", body, status=400)["message"]
    control("POST", "/drill/leak", body)
    said = control("POST", "/drill/abuse", body | {"run_url": "127.0.0.1:1/a/b:c"}, status=400)["message"]
    assert "not the range's registry" in said


def test_slack_is_one_of_its_servers(control: Control) -> None:
    """Installed and reset over the control address, and seen in state, values and the log of requests."""
    cast, url = control.endpoints["cast"]["slack"], control.endpoints["slack"]
    told = control("POST", "/slack/app", {"request_url": "http://127.0.0.1:9/slack/events", "rate_limits": False})
    assert (told["request_url"], told["rate_limits"]) == ("http://127.0.0.1:9/slack/events", False)
    control("POST", "/slack/app", {"colour": "red"}, status=400)
    control("POST", "/slack/app", {"manifest": {}}, status=400)
    assert (told["ack_s"], told["trigger_s"]) == (3.0, 3.0)
    assert control("POST", "/slack/group", {"group": "approvers", "users": ["carol"]})["users"] == ["carol"]
    control("POST", "/slack/group", {"group": "approvers", "users": ["mallory"]}, status=400)
    assert control("POST", "/slack/disconnect", {"reason": "refresh_requested"}) == {"connections": 0}
    headers = {"Authorization": f"Bearer {cast['bot_token']}"}
    body = {"channel": cast["channels"]["incidents"], "text": "a leak"}
    posted = control.http.post(f"{url}/api/chat.postMessage", json=body, headers=headers).json()
    people = control.http.post(
        f"{url}/api/usergroups.users.list", data={"usergroup": cast["groups"]["approvers"]}, headers=headers
    ).json()["users"]
    assert people == [cast["users"]["carol"]["id"]]
    done = control.http.post(f"{url}/hand/alice/command", json={"channel": "incidents", "text": "/bulkhead x"}).json()

    assert (posted["ok"], done["error"]) == (True, "dispatch_failed")
    assert control("GET", "/slack/app")["sent"][0]["error"] == "dispatch_failed"
    assert control("GET", "/state")["slack"]["channels"]["incidents"]["messages"] == ["a leak"]
    assert {cast["bot_token"], cast["app_token"], cast["signing_secret"]} <= set(control("GET", "/values"))
    assert "/api/chat.postMessage" in {row["route"] for row in control("GET", "/requests")}
    fresh = control("POST", "/reset")["cast"]["slack"]
    assert fresh["bot_token"] != cast["bot_token"]
    assert control("GET", "/state")["slack"]["channels"]["incidents"]["messages"] == []
    assert control("GET", "/slack/app")["request_url"] == ""

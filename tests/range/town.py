"""A GitHub of the range with everything in it that an answer can show, and clients for whoever is asked for."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from typing import Any

import nacl.public
import requests
from githubkit import GitHub as Kit

from bot.range.clock import RangeClock
from bot.range.github import GitHubRange
from bot.range.github.nouns import Job, Run
from bot.range.switchboard import Switchboard

ORG, FERRY, LEDGER = "harbor-lights", "harbor-lights/ferry", "harbor-lights/ledger"
DEPLOY = ".github/workflows/deploy.yml"
DEPLOY_YAML = """\
name: Deploy
on:
  workflow_dispatch:
  push:
    branches: [main]
jobs:
  deploy:
    runs-on: ubuntu-latest
    env:
      TOKEN: ${{ secrets.DEPLOY_TOKEN }}
    steps:
      - uses: actions/checkout@v5
      - run: echo "ready to go with $TOKEN"
      - uses: actions/upload-artifact@v4
        with:
          name: ferry
"""
ALL_SCOPES = ("repo", "workflow", "admin:org")


@dataclass
class Town:
    github: GitHubRange
    switchboard: Switchboard
    clock: RangeClock
    url: str
    tokens: dict[str, str] = field(default_factory=dict, repr=False)

    @property
    def state(self) -> Any:
        return self.github.state

    def call(self, verb: str, path: str, who: str = "mara", body: Any = None, **headers: str) -> requests.Response:
        """One plain request. ``who`` is a login, a token's value, or '' for nobody; redirects are not followed."""
        with requests.Session() as session:
            session.trust_env = False
            token = self.tokens.get(who, who)
            headers = {k.replace("_", "-"): v for k, v in headers.items()}
            headers |= {"Authorization": f"Bearer {token}"} if token else {}
            url = path if path.startswith("http") else self.url + path
            return session.request(verb, url, json=body, headers=headers, allow_redirects=False, timeout=10)

    def ferry(self, verb: str, path: str, who: str = "mara", body: Any = None, **headers: str) -> requests.Response:
        return self.call(verb, f"/repos/{FERRY}{path}", who, body, **headers)

    def kit(self, who: str = "mara") -> Kit[Any]:
        """githubkit: models of GitHub's OpenAPI description, made by others."""
        return Kit(self.tokens.get(who, who), base_url=self.url, http_cache=False, auto_retry=False)

    def commit(self, files: dict[str, str | None], who: str = "mara", where: str = FERRY, branch: str = "") -> str:
        return str(self.state.commit_files(where, files, "Change", who, branch=branch, runs=False).sha)

    def run(self, workflow: str = "deploy.yml", who: str = "mara", where: str = FERRY, **inputs: str) -> Run:
        """Dispatch a workflow through the API and let it run as far as it goes."""
        path = f"/repos/{where}/actions/workflows/{workflow}/dispatches"
        answer = self.call("POST", path, who, {"ref": "main", "inputs": inputs}, X_GitHub_Api_Version="2026-03-10")
        assert answer.status_code == 200, answer.text
        self.github.runner.settle()
        return self.of(answer.json()["workflow_run_id"])

    def of(self, run_id: int) -> Run:
        found: Run = self.state.runs[run_id]
        return found

    def pass_time(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.github.runner.settle()

    def put_secret(self, path: str, value: str, who: str = "mara", **more: Any) -> requests.Response:
        """Seal a value as any client does and put it. ``path`` is of the secret itself."""
        key = self.call("GET", path.rsplit("/", 1)[0] + "/public-key", who).json()
        box = nacl.public.SealedBox(nacl.public.PublicKey(base64.b64decode(key["key"])))
        sealed = base64.b64encode(box.encrypt(value.encode())).decode()
        return self.call("PUT", path, who, {"encrypted_value": sealed, "key_id": key["key_id"], **more})


def log_of(job: Job) -> str:
    return "".join(f"{line}\n" for _, line in job.log)


def build(github: GitHubRange, switchboard: Switchboard, clock: RangeClock, url: str) -> Town:
    """harbor-lights with two repositories; mara administers, jonas writes, quiet-otter is nobody's."""
    clock.set(0.0)
    switchboard.reset()
    github.reset()
    town, state = Town(github, switchboard, clock, url), github.state
    for login in ("mara", "jonas", "quiet-otter"):
        state.add_user(login, name=login.title())
    state.add_org(ORG, name="Harbor Lights")
    state.add_member(ORG, "mara", role="admin")
    state.add_member(ORG, "jonas")
    state.add_repo(FERRY, description="Timetables")
    state.add_repo(LEDGER, private=True)
    state.add_collaborator(FERRY, "jonas", "write")
    state.set_secret(FERRY, "DEPLOY_TOKEN", "made-up-deploy-token")
    files = {"README.md": "# ferry\n", "docs/notes/one.md": "one\n", "CODEOWNERS": "* @jonas\n", DEPLOY: DEPLOY_YAML}
    state.commit_files(FERRY, files, "Start", "mara", runs=False)
    state.commit_files(FERRY, {"README.md": "# ferry\n\nTimes.\n"}, "Say more", "jonas", runs=False)
    state.commit_files(LEDGER, {"README.md": "# ledger\n"}, "Start", "mara", runs=False)
    town.tokens = {
        "mara": state.add_token("mara", scopes=ALL_SCOPES),
        "jonas": state.add_token("jonas", scopes=("repo", "workflow")),
        "quiet-otter": state.add_token("quiet-otter", scopes=()),
    }  # fmt: skip
    return town

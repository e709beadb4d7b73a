"""A deploy key in a public run log, base64-encoded, so that masking misses it; and in every attempt of a run."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from bot.errors import InputError
from bot.range import company, history
from bot.range.attacker import Attacker
from bot.range.people import as_administrator, as_person
from bot.range.scanners import Scanner, stepsecurity

if TYPE_CHECKING:
    from bot.range.server import Range


class KeyInLog:
    """A deploy key, printed base64-encoded in a public run log."""

    def __init__(self, range_: Range) -> None:
        self._range = range_
        self._attacker = Attacker(range_.aws_url, range_.github_url, range_.company.cast["github"]["quiet-otter"])
        self._run_url = ""

    def leak(self) -> dict[str, Any]:
        """Run the deploy workflow to its end (the key is in its log now), and once more: that run is left going."""
        history.deploys(self._range)
        first = self._dispatch()
        self._range.clock.advance(company.SMOKE_TEST_S + 60)
        run = as_person(self._range, "mara", "GET", f"/actions/runs/{first}")
        if run["status"] != "completed":
            raise InputError(f"the deploy run did not end: {run['status']}")
        second = self._dispatch()
        self._run_url = run["html_url"]
        said = (
            "A deploy run has ended. A debug step that somebody left in printed its environment as base64, so masking "
            "missed the AWS deploy key, and the log of the run is public:"
        )
        story = [said, run["html_url"], "A later run of the same workflow is still going."]
        return {"run_url": run["html_url"], "run_id": first, "second_run_id": second, "story": story}

    def _dispatch(self) -> int:
        """Start the deploy workflow as its maintainer does, and return the run's id."""
        runs = "/actions/runs?per_page=100"
        before = {run["id"] for run in as_person(self._range, "mara", "GET", runs)["workflow_runs"]}
        as_person(self._range, "mara", "POST", "/actions/workflows/deploy.yml/dispatches", {"ref": "main"})
        after = as_person(self._range, "mara", "GET", runs)["workflow_runs"]
        return int(next(run["id"] for run in after if run["id"] not in before))

    def abuse(self, where: str) -> list[dict[str, Any]]:
        url = where or self._run_url
        if not url:
            raise InputError("nothing has leaked yet; POST /drill/leak first, or give run_url")
        return self._attacker.abuse(url)

    def tries(self) -> list[dict[str, Any]]:
        return self._attacker.tries()

    @property
    def happens(self) -> dict[str, Callable[[], dict[str, Any]]]:
        """What comes of a choice, by its name."""
        return {"hide": self._hide, "show": self._show, "leak-again": self._leak_again}

    def _hide(self) -> dict[str, Any]:
        """The repository goes private, and an hour goes by in which the key works."""
        self._private(hidden=True)
        self._range.clock.advance(3600)
        user = self._attacker.comes_back()
        said = "The repository is private now. The key is not: whoever had read it makes the user"
        return {"story": [f"{said} {user} with a key of its own, an hour later."]}

    def _show(self) -> dict[str, Any]:
        self._private(hidden=False)
        return {"story": ["The repository is public again, as it was."]}

    def _private(self, *, hidden: bool) -> None:
        with self._range.github.state.lock:
            self._range.github.state.repos[company.FERRY].private = hidden

    def _leak_again(self) -> dict[str, Any]:
        """The workflow goes on as it was, with a new key: it prints that one too, and somebody still reads along."""
        iam = as_administrator(self._range)
        for key in iam.list_access_keys(UserName=company.DEPLOY_USER)["AccessKeyMetadata"]:
            if key["Status"] == "Inactive":  # a user has two at most
                iam.delete_access_key(UserName=company.DEPLOY_USER, AccessKeyId=key["AccessKeyId"])
        as_person(self._range, "mara", "PUT", "/actions/workflows/deploy.yml/enable")
        run_id = self._dispatch()
        self._range.clock.advance(company.SMOKE_TEST_S + 60)
        run = as_person(self._range, "mara", "GET", f"/actions/runs/{run_id}")
        self._attacker.takes_again(run["html_url"])
        story = [
            "The workflow is enabled with its debug step, and deploys with the new key. Its log is public:",
            run["html_url"], "Whoever read the first log reads this one, and keeps a session of 36 hours.",
        ]  # fmt: skip
        return {"run_url": run["html_url"], "story": story}


class Echo(KeyInLog):
    """The same in several runs: whoever did not understand the failure ran it again, and each attempt has a log."""

    def __init__(self, range_: Range) -> None:
        super().__init__(range_)
        self._runs: list[int] = []
        self._other = ""

    def leak(self) -> dict[str, Any]:
        """Two runs more than one sees at once: a second attempt of the reported one, and another run."""
        told = super().leak()
        as_person(self._range, "mara", "POST", f"/actions/runs/{told['run_id']}/rerun")
        self._range.clock.advance(company.SMOKE_TEST_S + 60)
        self._runs = [told["run_id"], told["second_run_id"]]
        story = [*told["story"], "Mara has run it again meanwhile: the log of each attempt holds the key."]
        self._other = as_person(self._range, "mara", "GET", f"/actions/runs/{told['second_run_id']}")["html_url"]
        return told | {"story": story}

    @property
    def happens(self) -> dict[str, Callable[[], dict[str, Any]]]:
        """What comes of a choice, by its name."""
        return {"hide-log": self._hide_log}

    @property
    def scanners(self) -> dict[str, Scanner]:
        """Who has seen it, and sends an alert."""
        return {"stepsecurity": stepsecurity}

    def _hide_log(self) -> dict[str, Any]:
        """The log that was reported is gone, the others are not, and the key works."""
        as_person(self._range, "mara", "DELETE", f"/actions/runs/{self._runs[0]}/logs")
        self._range.clock.advance(3600)
        user = self._attacker.comes_back()
        said = (
            f"The log that was reported is deleted. An hour later the key makes the user {user}; and somebody finds it "
        )
        return {"run_url": self._other, "story": [f"{said}in another run's log:", self._other]}

    def tries(self) -> list[dict[str, Any]]:
        """And whether any log of these runs can still be read by an outsider."""
        found = super().tries()
        if not found:
            return []
        readable = [self._reads(run, attempt) for run, most in zip(self._runs, (2, 1), strict=True)
                    for attempt in range(1, most + 1)]  # fmt: skip
        row = {"name": "logs", "refused": not any(readable), "code": "" if any(readable) else "404",
               "identity_code": "", "said": "the log of each attempt of each run"}  # fmt: skip
        return [*found, row]

    def _reads(self, run: int, attempt: int) -> bool:
        try:
            as_person(self._range, "quiet-otter", "GET", f"/actions/runs/{run}/attempts/{attempt}/logs", raw=True)
        except InputError:
            return False
        return True

"""A false alarm: the log shows an example of AWS's documents. The harm there is, is to tear down what works."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from bot.errors import InputError
from bot.range import company
from bot.range.attacker import Attacker, Loot
from bot.range.npm_theft import dispatch
from bot.range.people import as_administrator, as_person
from bot.range.scanners import Scanner, gitleaks

if TYPE_CHECKING:
    from bot.range.server import Range

DOCS = ".github/workflows/docs.yml"
DOCUMENTED = "AKIA" + "IOSFODNN7" + "EXAMPLE"  # docs.aws.amazon.com, in every example
SECRETS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
DOCS_YAML = f"""\
name: Examples
on:
  workflow_dispatch:

permissions:
  contents: read

jobs:
  examples:
    runs-on: ubuntu-latest
    steps:
      - uses: actions/checkout@v5
      - name: Show the example
        run: echo "export AWS_ACCESS_KEY_ID={DOCUMENTED}"
"""


class DocumentationKey:
    """What the log shows is the key of AWS's own documents: nobody has it, and there is nothing to cut."""

    def __init__(self, range_: Range) -> None:
        self._range, self._run_url, self._code = range_, "", ""

    def leak(self) -> dict[str, Any]:
        """A job prints the README's example. The deployment is as it should be, and prints nothing."""
        files: dict[str, str | bytes | None] = {DOCS: DOCS_YAML, company.DEPLOY: _without_debug(company.DEPLOY_YAML)}
        self._range.github.state.commit_files(company.FERRY, files, "Check the examples", "mara", runs=False)
        run = dispatch(self._range, "docs.yml")
        if run["conclusion"] != "success":
            raise InputError(f"the run did not go as planned: {run['status']}, {run['conclusion']}")
        self._run_url = run["html_url"]
        said = "A job that checks the examples of the README prints one of them: the access key of AWS's own documents."
        return {"run_url": self._run_url, "run_id": run["id"], "story": [said, self._run_url]}

    def abuse(self, where: str) -> list[dict[str, Any]]:
        """Whoever reads public logs tries it, as everybody does, and is refused."""
        if not (where or self._run_url):
            raise InputError("nothing is printed yet; POST /drill/leak first")
        self._code = self._try()
        said = "tried the key of the documents, as it does with every key"
        return [{"act": "sts:GetCallerIdentity", "ok": False, "code": self._code, "made": "", "said": said}]

    def _try(self) -> str:
        attacker = Attacker(self._range.aws_url, self._range.github_url, "")
        return attacker.probe(Loot(DOCUMENTED, "not-known-to-anybody"))

    def tries(self) -> list[dict[str, Any]]:
        if not self._code:
            return []
        code = self._try()
        return [{"name": "documented-key", "refused": bool(code), "code": code, "identity_code": code,
                 "said": "the key of the documents"}]  # fmt: skip

    @property
    def happens(self) -> dict[str, Callable[[], dict[str, Any]]]:
        """What comes of a choice, by its name."""
        return {"tear-down": self._tear_down, "put-back": self._put_back}

    def _tear_down(self) -> dict[str, Any]:
        """The deployment's key is cut, its secrets are deleted, its workflow is disabled: for nothing."""
        self._deploy_key("Inactive")
        for name in SECRETS:
            as_person(self._range, "mara", "DELETE", f"/actions/secrets/{name}")
        as_person(self._range, "mara", "PUT", "/actions/workflows/deploy.yml/disable")
        said = (
            "The deploy key is inactive, its secrets are deleted, the workflow is disabled. Tomorrow's timetable cannot"
        )
        return {"story": [f"{said} be deployed, and nobody has gained anything."]}

    def _deploy_key(self, status: str) -> None:
        key_id = self._range.company.deploy_key[0]
        as_administrator(self._range).update_access_key(UserName=company.DEPLOY_USER, AccessKeyId=key_id, Status=status)

    def _put_back(self) -> dict[str, Any]:
        """All of it back, as it was."""
        self._deploy_key("Active")
        for name, value in zip(SECRETS, self._range.company.deploy_key, strict=True):
            self._range.github.state.set_secret(company.FERRY, name, value)
        as_person(self._range, "mara", "PUT", "/actions/workflows/deploy.yml/enable")
        return {"story": ["The key is active, the secrets and the workflow are back: it was an hour of outage."]}

    @property
    def scanners(self) -> dict[str, Scanner]:
        """Who has seen it, and sends an alert."""
        match = f"export AWS_ACCESS_KEY_ID={DOCUMENTED}"
        return {"gitleaks": gitleaks("aws-access-token", "logs/Examples.txt", 12, match, DOCUMENTED)}

    def works(self) -> dict[str, str]:
        """Whether the company can deploy."""
        try:
            run = dispatch(self._range, "deploy.yml")
            self._range.clock.advance(company.SMOKE_TEST_S + 60)
            run = as_person(self._range, "mara", "GET", f"/actions/runs/{run['id']}")
        except InputError as exc:
            return {"deployment": str(exc)}
        return {"deployment": "" if run["conclusion"] == "success" else f"{run['status']}, {run['conclusion']}"}


def _without_debug(workflow: str) -> str:
    """The deploy workflow without the step that prints its environment."""
    step = "      - name: Why does the upload fail only here\n        run: env | base64\n"
    if step not in workflow:
        raise InputError("the deploy workflow has no such step")
    return workflow.replace(step, "")

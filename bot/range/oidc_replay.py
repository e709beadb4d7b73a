"""The same leaks once the company has moved to OIDC: what the same attacker gets, and what becomes of it.

The workflows are what the migration's pull request made of them, so that pull request has to be there first (``move``).
What leaks is a session of 15 minutes of one role that may do one thing. The attacker is the one of the other drills,
with its very script. What is left of the risk is no secret: while a job runs, whoever reads its environment can ask for
tokens as that job, and until its session ends that may do what the job may.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import requests

from bot.errors import InputError
from bot.range import company
from bot.range.attacker import REFUSALS, Attacker, NothingFound, code_of, decoded, key_in
from bot.range.issuer import GITHUB_ISSUER
from bot.range.npm_company import ACCESS, BAD, GOOD, PACKAGE, RELEASE, SECRET, TOKEN_NAME
from bot.range.npm_package import release
from bot.range.npm_theft import BACKDOOR, PATIENCE_S, UNNOTICED_S, dispatch
from bot.range.npm_trust import Publisher
from bot.range.people import as_person

if TYPE_CHECKING:
    from bot.range.server import Range

AUDIENCE, ENVIRONMENT, ROLE = "sts.amazonaws.com", "production", "ferry-deploy-oidc"
REVIEW_S = 3600  # between the trust and the merge
QUICK_S, SESSION_S = 120, 900  # how soon the attacker is there; how long a session of a moved job lives
FORK_STEP = """\
      - name: Check
        env:
          STATUS_PAGE_TOKEN: ${{ secrets.STATUS_PAGE_TOKEN }}
        run: env | base64
"""
_PRINTED = re.compile(r"^([A-Z][A-Z0-9_]*)=(.*)$", re.MULTILINE)


class LeakAfterMove:
    """A deploy run prints its environment into the public log, as it did before the migration."""

    def __init__(self, range_: Range) -> None:
        self._range = range_
        self._attacker = Attacker(range_.aws_url, range_.github_url, range_.company.cast["github"]["quiet-otter"])
        self._moved: dict[str, Any] = {}  # what was told of it
        self._run: dict[str, Any] = {}
        self._taken: dict[str, str] = {}  # the environment that leaked
        self._forks: dict[str, str] = {}  # that of the fork's job

    # before -----------------------------------------------------------------------------------------------------

    def prepare(self) -> dict[str, Any]:
        """What people settle before the pull request can be whole; returns the answers that it needs. Twice is once.

        The workflow that asks npm whose token it is has no use for an identity, so it goes.
        """
        state = self._range.github.state
        with state.lock:
            if ENVIRONMENT not in state.repos[company.FERRY].environments:
                state.add_environment(company.FERRY, ENVIRONMENT, branches=("main",))
                state.commit_files(company.FERRY, {ACCESS: None}, "npm needs no token any more", "mara", runs=False)
        self._range.npm.publishers[PACKAGE] = Publisher(
            repository=company.FERRY, workflow=RELEASE.rpartition("/")[2], environment=ENVIRONMENT
        )
        return {
            "repository": company.FERRY, "role": ROLE, "environment": ENVIRONMENT, "bucket": company.BUCKET,
            "moved": self._moved,
        }  # fmt: skip

    def move(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Mara sets up what the pull request asks for, and an hour later merges it. The first run is what leaks.

        ``asked``: ``pull`` (its number), ``trust`` and ``permissions`` (policies of the role). Raises InputError.
        """
        if self._moved:
            return self._moved
        aws, number = self._range.aws.account, int(asked["pull"])
        aws.add_provider(GITHUB_ISSUER, AUDIENCE)
        aws.add_role(ROLE, trust=asked["trust"], policy=asked["permissions"])
        self._range.clock.advance(REVIEW_S)
        merged = as_person(self._range, "mara", "PUT", f"/pulls/{number}/merge", {})
        url = f"{self._range.github_url}/{company.FERRY}/pull/{number}"
        said = (
            "Bulkhead has opened a pull request that takes the AWS key and the npm token out of the workflows. Mara "
            f"has set up the role {ROLE}, which one repository, one branch and one environment can get into, and "
            "npm's trusted publisher, and has merged it:"
        )
        self._moved = {"url": url, "pull": number, "commit": merged["sha"], "story": [said, url], "at": self._at()}
        return self._moved

    def _retire(self) -> None:
        """The job has got in by its identity, so what it had before goes: secrets, key and token. Raises InputError."""
        if not any(call["eventName"] == "AssumeRoleWithWebIdentity" for call in self._range.aws.calls):
            raise InputError("the first run after the merge has not used its identity")
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", SECRET):
            as_person(self._range, "mara", "DELETE", f"/actions/secrets/{name}")
        self._range.aws.account.drop_key(company.DEPLOY_USER, self._range.company.deploy_key[0])
        self._range.npm.revoke(TOKEN_NAME)

    def leak(self) -> dict[str, Any]:
        """Start what leaks. Raises InputError before the move."""
        if not self._moved:
            raise InputError("nothing has moved to OIDC yet: open the migration's pull request, and merge it")
        said = self._begin()
        self._retire()
        url = str(self._run["html_url"])
        return {"run_url": url, "run_id": self._run["id"], "story": [said, url], "at": self._at()}

    def _begin(self) -> str:
        self._run = dispatch(self._range, "deploy.yml")
        return (
            "The first deployment after that gets in by its own identity, so the secrets, the key and the npm token "
            "are deleted. The debug step that somebody left in prints its environment as it did before, and the log is "
            "as public as ever. What stands there now is a session that the job has asked for, good for 15 minutes:"
        )

    # the attacker -----------------------------------------------------------------------------------------------

    def abuse(self, where: str) -> list[dict[str, Any]]:
        """The very script that worked before, two minutes after the leak; a fork; then when the session is over."""
        if where or not self._run:
            raise InputError("nothing has leaked yet; POST /drill/leak first, and give no run_url")
        self._range.clock.advance(QUICK_S)
        self._taken = self._got()
        session = key_in("\n".join(f"{name}={value}" for name, value in self._taken.items()))
        if session is None:
            raise NothingFound("there is no session in what leaked")
        acts = self._dated([self._how(), *self._attacker.use(session), self._publish()])
        acts += self._dated([self._forked()])
        self._range.clock.advance(SESSION_S - QUICK_S + 60)
        acts += self._dated([_act("sts:GetCallerIdentity", "came back when the 15 minutes were over", self._session())])
        self._range.clock.advance(self._later())
        acts += self._dated([_act("npm:Publish", "tried again much later to publish it", self._publish()["code"])])
        count = self._range.npm.downloads(self._range.npm.packages[PACKAGE]).get(BAD, 0)
        said = f"published nothing: {PACKAGE}@{BAD}, which was downloaded nearly 50,000 times, never came to be"
        return acts + self._dated([_act("npm:Downloads", said) | {"made": f"{count:,} times", "count": count}])

    def _how(self) -> dict[str, Any]:
        said = "read the public log while the job ran and decoded the session in it"
        return _act("github:ReadRunLog", said)

    def _got(self) -> dict[str, str]:
        """The environment in the log as GitHub's page shows it of a running job, to everybody who is signed in."""
        return self._environment(int(self._run["id"]))

    def _later(self) -> float:
        """Until the deployment has been over for ten minutes: then its log can be downloaded, and somebody has."""
        return float(company.SMOKE_TEST_S - SESSION_S + 600)

    def tries(self) -> list[dict[str, Any]]:
        """The session, publishing with what was taken, another id-token, and a fork's pull request."""
        if not self._taken:
            return []
        session, published, asked = self._session(), self._publish()["code"], self._id_token()
        leaked = [n for n, v in self._forks.items() if n.startswith("ACTIONS_ID_TOKEN") or v in self._secrets()]
        rows = [
            ("session", "the session of the job", session in REFUSALS, session),
            ("npm-publish", "publishing with it", published == "E401", published),
            ("id-token", "asking for another id-token as that job", asked == "401", asked),
            ("fork", "a pull request from a fork", not leaked, "its job has no secret and no id-token endpoint"),
        ]
        return [
            {"name": name, "said": said, "refused": refused, "code": code if refused else "", "identity_code": code}
            for name, said, refused, code in rows
        ]

    def _session(self) -> str:
        """What AWS says to the session: a code, or '' while it works."""
        return code_of(self._attacker.client("sts", self._attacker.loot["key"]).get_caller_identity)

    def _publish(self) -> dict[str, Any]:
        """Publish the backdoored patch with each value that could be a token: 401 says that npm knows none of them."""
        body = release({"name": PACKAGE, "version": BAD, "license": "MIT"}, {"index.js": BACKDOOR})
        url, codes = f"{self._range.npm.base_url}/{quote(PACKAGE, safe='@')}", set()
        for value in (v for n, v in self._taken.items() if re.search("TOKEN|SECRET|KEY", n) and not n.endswith("_URL")):
            status = _ask("PUT", url, value, body).status_code
            codes.add("" if status == requests.codes.ok else f"E{status}")
        return _act("npm:Publish", f"tried to publish {PACKAGE}@{BAD} with it", min(codes)) | {
            "made": f"{PACKAGE}@{BAD}"
        }

    def _id_token(self) -> str:
        """What GitHub says to whoever asks for another id-token with what was taken; it is good while the job runs."""
        url, key = (self._taken.get(f"ACTIONS_ID_TOKEN_REQUEST_{part}", "") for part in ("URL", "TOKEN"))
        if not url.startswith(f"{self._range.github_url}/"):
            raise InputError("what leaked does not tell where an id-token is asked for")
        return str(_ask("GET", f"{url}&audience={AUDIENCE}", key).status_code)

    def _forked(self) -> dict[str, Any]:
        """Fork it, print the job's environment in the checks, ask for an id-token there; a maintainer lets it run."""
        state, who = self._range.github.state, "quiet-otter"
        with state.lock:
            fork = state.add_repo(f"{who}/ferry", fork_of=company.FERRY).full_name
            text = company.TEST_YAML.replace("  contents: read\n", "  contents: read\n  id-token: write\n") + FORK_STEP
            state.commit_files(fork, {company.TEST: text}, "Fix a typo", who, branch="typo", runs=False)
            token = state.add_token(who, scopes=("public_repo",))
        body = {"title": "Fix a typo", "head": f"{who}:typo", "base": "main"}
        opened = _ask("POST", f"{self._range.github_url}/repos/{company.FERRY}/pulls", token, body)
        with state.lock:
            run = next((run for run in state.runs.values() if run.from_fork), None)
        if opened.status_code != requests.codes.created or run is None:
            raise InputError(f"the fork's pull request started nothing: {opened.status_code}")
        if run.conclusion == "action_required":
            as_person(self._range, "mara", "POST", f"/actions/runs/{run.id}/approve")
        self._forks = self._environment(run.id)
        if not self._forks:
            raise InputError("the fork's job printed nothing")
        said = "opened a pull request from a fork whose job prints its environment, and a maintainer let it run"
        return _act("github:ForkPullRequest", said, "no secret and no id-token endpoint there")

    # small things -----------------------------------------------------------------------------------------------

    def _environment(self, run: int) -> dict[str, str]:
        """What the jobs of a run have printed of their environment so far."""
        with self._range.github.state.lock:
            self._range.runner.advance()
            lines = [line for job in self._range.github.state.runs[run].jobs for _, line in job.log]
        return dict(_PRINTED.findall("\n".join(decoded("\n".join(lines)))))

    def _secrets(self) -> set[str]:
        """The values of the repository's secrets."""
        held = self._range.github.state.secrets.get(("actions", "repository", company.FERRY), {})
        return {secret.value for secret in held.values()}

    def _at(self) -> str:
        return self._range.clock.now().isoformat(timespec="seconds")

    def _dated(self, acts: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [{**act, "at": self._at()} for act in acts]


class TheftAfterMove(LeakAfterMove):
    """The release installs the poisoned dependency, which posts the job's environment away, as before the migration."""

    def _begin(self) -> str:
        self._run = dispatch(self._range, "release.yml")
        run = as_person(self._range, "mara", "GET", f"/actions/runs/{self._run['id']}")
        if run["conclusion"] != "success" or not self._range.collector.loot:
            raise InputError(f"the release did not go as planned: {run['status']}, {run['conclusion']}")
        return (
            f"The release of {PACKAGE}@{GOOD} has published by its own identity, so the secrets, the key and the npm "
            "token are deleted. The install script of the poisoned wave-format read the environment of the job as it "
            "did before, and posted what looked like a secret to a host of the attacker's. There was no token to "
            "publish with, and no key; the log shows nothing of it:"
        )

    def _how(self) -> dict[str, Any]:
        return _act("npm:PostEnvironment", f"got {', '.join(sorted(self._taken))} from the release job")

    def _got(self) -> dict[str, str]:
        return self._range.collector.values()

    def _later(self) -> float:
        """A day and some hours, as the one who published before has waited."""
        return float(PATIENCE_S + UNNOTICED_S - SESSION_S)


def _act(name: str, said: str, code: str = "") -> dict[str, Any]:
    return {"act": name, "ok": not code, "code": code, "made": "", "said": said}


def _ask(method: str, url: str, token: str, body: Any = None) -> requests.Response:
    with requests.Session() as session:
        session.trust_env = False  # no ~/.netrc, no proxy of the machine
        return session.request(method, url, json=body, headers={"Authorization": f"Bearer {token}"}, timeout=30)

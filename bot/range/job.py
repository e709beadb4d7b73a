"""One job of a run: its environment, its log, its steps."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Generator, Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import botocore.exceptions

from bot.range import shell, tampered
from bot.range.expressions import Unsupported, condition, fill, text
from bot.range.github import attestations, caches, deployments
from bot.range.github.nouns import Job, Run, StepRecord
from bot.range.registries.docker import Docker
from bot.range.workflow_file import action_refused, branch_allowed, environment_of, token_scopes

if TYPE_CHECKING:
    from bot.range.runner import Runner

ACTIONS_APP = 15368  # the App that GITHUB_TOKEN belongs to, on github.com
LINE = timedelta(microseconds=20)
_COMMAND = re.compile(r"::(add-mask|debug|notice|warning|error|group|endgroup)(?: [^:]*)?::(.*)")
_NO_EFFECT = ("actions/setup-node", "actions/setup-python", "actions/setup-go", "actions/setup-java")


class StepCancelled(Exception):
    """The run was cancelled while a step was running."""


class JobRun:
    """Runs one job. ``program`` is a generator: it yields seconds to sleep and returns the conclusion."""

    def __init__(self, runner: Runner, run: Run, job: Job, needed: list[Job]) -> None:
        self.runner, self.run, self.job, self.needed = runner, run, job, needed
        self.state = runner.state
        self.secrets: dict[str, str] = dict(run.secrets)
        self.masks: set[str] = set()
        self.permissions, self.may_ask = token_scopes(
            run.spec, job.spec, run.repo.token_default["default_workflow_permissions"], fork=run.from_fork
        )
        job.may_ask_id_token = self.may_ask
        self.env: dict[str, str] = {}
        self.files: dict[str, bytes] = {}
        self.steps: dict[str, Any] = {}
        self.failed = False
        self.built = False
        self.docker = Docker(runner.registries["dockerhub"]) if "dockerhub" in runner.registries else None
        self.missed: list[tuple[str, str]] = []  # caches that were not there: key and path

    # Log

    def say(self, line: str) -> None:
        """A line of the log, masked, at the job's time."""
        assert self.job.cursor is not None
        self.job.cursor += LINE
        for value in sorted(self.masks, key=len, reverse=True):
            line = line.replace(value, "***")
        self.job.log.append((self.job.cursor, line))

    def mask(self, value: str) -> None:
        """Mask a value, and each line of it, wherever it stands exactly so."""
        self.masks.update(part for part in (value, *value.splitlines()) if part.strip())

    def _output(self, line: str) -> None:
        """A line that a command printed; workflow commands have their effect."""
        found = _COMMAND.match(line)
        if found and found[1] == "add-mask":
            self.mask(found[2])
        self.say(line if not found else f"##[{found[1]}]{found[2]}" if found[1] != "add-mask" else line)

    # Contexts

    def contexts(self, env: dict[str, str] | None = None) -> dict[str, Any]:
        run, repo = self.run, self.run.repo
        token = self.job.token.value if self.job.token else ""
        github = {
            "repository": repo.full_name, "repository_owner": repo.owner.login, "repository_id": str(repo.id),
            "ref": run.ref, "ref_name": run.ref.split("/", 2)[2], "sha": run.sha, "event_name": run.event,
            "actor": run.actor.login, "triggering_actor": run.triggering_actor.login, "run_id": str(run.id),
            "run_number": str(run.number), "run_attempt": str(run.attempt), "workflow": run.workflow.name,
            "workflow_ref": f"{repo.full_name}/{run.workflow.path}@{run.ref}",
            "job": self.job.key, "token": token, "server_url": self.state.base_url, "api_url": self.state.base_url,
            "head_ref": run.head_branch if run.pull else "", "base_ref": run.pull.base_ref if run.pull else "",
            "workspace": "/home/runner/work/" + repo.name, "event": {"inputs": run.inputs} | _of_pull(run),
            "ref_type": "tag" if run.ref.startswith("refs/tags/") else "branch",
        }  # fmt: skip
        return {
            "github": github, "secrets": {**self.secrets, "GITHUB_TOKEN": token}, "env": env or self.env,
            "inputs": run.inputs, "vars": {}, "runner": {"os": "Linux", "arch": "X64", "name": self.job.runner_name},
            "steps": self.steps, "job": {"status": "failure" if self.failed else "success"},
            "needs": {other.key: {"result": other.conclusion, "outputs": {}} for other in self.needed},
        }  # fmt: skip

    def _status(self, failed: bool) -> dict[str, bool]:
        cancelled = self.run.cancelled
        return {
            "always": True, "success": not failed and not cancelled, "failure": failed and not cancelled,
            "cancelled": cancelled,
        }  # fmt: skip

    def wanted(self) -> bool:
        """The job's own ``if:``; without one every job that it needs must have succeeded."""
        failed = any(other.conclusion != "success" for other in self.needed)
        try:
            return condition(self.job.spec.get("if"), self.contexts(), self._status(failed))
        except Unsupported:
            return True  # program() says it in the log and fails

    def _merged(self, *layers: Any) -> dict[str, str]:
        env = dict(self.env)
        for layer in layers:
            for name, value in (layer or {}).items():
                env[str(name)] = fill(text(value), self.contexts(env))
        return env

    # Running

    def program(self) -> Generator[float, None, str]:
        try:
            problem = self._set_up()
        except Unsupported as exc:
            problem = f"the range's runner does not interpret this: {exc}"
        if problem:
            self.say(f"##[error]{problem}")
            self.job.steps[0].conclusion = "failure"
            return "failure"
        for record, spec in zip(self.job.steps[1:], self.job.spec["steps"], strict=True):
            yield from self._one_step(record, spec)
        if not self.failed and not self.run.cancelled:
            self._save_caches()
        self.say("Cleaning up orphan processes")
        self.job.steps[-1].last_line = len(self.job.log)
        return "cancelled" if self.run.cancelled else "failure" if self.failed else "success"

    def _set_up(self) -> str:
        """Prepare the job as the runner does before the first step; a sentence when it cannot."""
        job, run = self.job, self.run
        job.runner_name = f"GitHub Actions {job.id % 1000}"
        names = [
            "Set up job",
            *(str(s.get("name") or f"Run {s.get('uses') or first_line(s)}") for s in job.spec["steps"]),
        ]
        job.steps = [StepRecord(name=name, number=number) for number, name in enumerate(names, 1)]
        job.steps[0].started_at = job.steps[0].completed_at = job.cursor
        job.steps[0].status, job.steps[0].conclusion = "completed", "success"
        condition(job.spec.get("if"), self.contexts(), self._status(False))
        problem = self._enter_environment()
        for uses in (str(spec["uses"]) for spec in job.spec["steps"] if "uses" in spec):
            problem = problem or action_refused(run.repo, uses, self.state.orgs.get(run.repo.owner.login))
        job.token = self.state.mint_server_token(
            ACTIONS_APP, self.state.actions_bot, self.permissions, frozenset({run.repo.full_name}), kind="job",
            life_s=6 * 3600,
        )  # fmt: skip
        for value in (*self.secrets.values(), job.token.value):
            self.mask(value)
        for line in ("Current runner version: '2.330.0'", "##[group]Operating System", "Ubuntu", "24.04.3", "LTS",
                     "##[endgroup]", "##[group]GITHUB_TOKEN Permissions"):  # fmt: skip
            self.say(line)
        shown = {"".join(p.title() for p in s.split("_")): level for s, level in self.permissions.items()}
        for scope, level in sorted((shown | ({"IdToken": "write"} if self.may_ask else {})).items()):
            self.say(f"{scope}: {level}")
        for line in ("##[endgroup]", f"Secret source: {'None' if run.from_fork else 'Actions'}",
                     "Prepare workflow directory", "Prepare all required actions", *self._fetched(),
                     f"Complete job name: {job.name}"):  # fmt: skip
            self.say(line)
        if not problem:
            self._base_environment()
        job.steps[0].last_line = len(job.log)
        return problem

    def _fetched(self) -> Iterator[str]:
        """Each action that a step names, with the commit that its ref points to at this moment, as the runner says it.

        Of an action that is no repository of the range the commit is drawn from its name.
        """
        for uses in dict.fromkeys(str(spec["uses"]) for spec in self.job.spec["steps"] if "uses" in spec):
            if uses.startswith(("./", "docker://")):
                continue
            path, _, ref = uses.partition("@")
            name = "/".join(path.split("/")[:2])
            repo = self.state.repos.get(name)
            commit = repo.git.resolve(ref) if repo else None
            sha = commit.sha if commit else hashlib.sha1(f"{name}@{ref}".encode(), usedforsecurity=False).hexdigest()
            yield f"Download action repository '{name}@{ref}' (SHA:{ref if len(ref) == 40 else sha})"

    def _enter_environment(self) -> str:
        """Environment secrets are read here, when the job starts; a missing environment is made, unprotected."""
        name = environment_of(self.job.spec)
        if not name:
            return ""
        name = self.job.environment = fill(name, self.contexts())
        repo = self.run.repo
        environment = repo.environments.get(name) or self.state.add_environment(repo.full_name, name)
        if not branch_allowed(environment.branches, self.run.ref):
            where = self.run.ref.removeprefix("refs/heads/")
            return f'Branch "{where}" is not allowed to deploy to {name} due to environment protection rules.'
        number, by = self.state.next_id(), self.state.actions_bot
        deployments.note(repo, self.run, number, name, by, self.state.now())
        if not self.run.from_fork:
            held = self.state.secrets.get(("actions", "environment", f"{repo.full_name}:{name}"), {})
            self.secrets |= {key: secret.value for key, secret in held.items()}
        return ""

    def _base_environment(self) -> None:
        github = self.contexts()["github"]
        self.env = {
            "CI": "true", "HOME": "/home/runner", "PATH": "/usr/local/bin:/usr/bin:/bin", "GITHUB_ACTIONS": "true",
            "RUNNER_OS": "Linux", "RUNNER_ARCH": "X64", "RUNNER_NAME": self.job.runner_name,
            "GITHUB_ENV": "/github/env", "GITHUB_OUTPUT": "/github/output", "GITHUB_STEP_SUMMARY": "/github/summary",
        }  # fmt: skip
        self.env |= {
            f"GITHUB_{name.upper()}": value for name, value in github.items()
            if isinstance(value, str) and name != "token"
        }  # fmt: skip
        if self.may_ask:
            token = self.job.token
            assert token is not None
            url = f"{self.state.base_url}/_idtoken/{self.run.id}/{self.job.id}?api-version=2.0"
            self.env |= {"ACTIONS_ID_TOKEN_REQUEST_URL": url, "ACTIONS_ID_TOKEN_REQUEST_TOKEN": token.value}
        self.env = self._merged(self.run.spec.get("env"), self.job.spec.get("env"))

    def _one_step(self, record: StepRecord, spec: dict[str, Any]) -> Generator[float, None, None]:
        record.first_line, record.started_at = len(self.job.log), self.job.cursor
        status = 1
        try:
            if not condition(spec.get("if"), self.contexts(), self._status(self.failed)):
                record.conclusion = "skipped"
                return
            record.status = "in_progress"
            env = self._merged(spec.get("env"))
            if "run" in spec:
                status = yield from self._script(fill(str(spec["run"]), self.contexts(env)), env, spec)
            else:
                status = self._action(str(spec["uses"]), env, spec)
        except Unsupported as exc:
            self.say(f"##[error]the range's runner does not interpret this: {exc}")
        except StepCancelled:
            self.say("##[error]The operation was canceled.")
            record.conclusion = "cancelled"
        except GeneratorExit:  # ended by force
            record.conclusion = "cancelled"
            raise
        finally:
            record.conclusion = record.conclusion or ("success" if status == 0 else "failure")
            record.status, record.completed_at, record.last_line = "completed", self.job.cursor, len(self.job.log)
            if record.conclusion == "failure" and not spec.get("continue-on-error"):
                self.failed = True
            if "id" in spec:
                self.steps.setdefault(str(spec["id"]), {"outputs": {}})["conclusion"] = record.conclusion

    def _header(self, title: str, shown: dict[str, str], env: dict[str, str], body: str = "") -> None:
        """What GitHub prints before a step: its script or inputs, and the environment that the file set."""
        self.say(f"##[group]Run {title}")
        for line in body.splitlines():
            self.say(line)
        if body:
            self.say("shell: /usr/bin/bash -e {0}")
        if shown:
            self.say("with:")
        for name, value in shown.items():
            self.say(f"  {name}: {value}")
        own = {k: v for k, v in env.items() if not k.startswith(("GITHUB_", "RUNNER_", "ACTIONS_")) and k not in
               ("CI", "HOME", "PATH")}  # fmt: skip
        if own:
            self.say("env:")
        for name, value in own.items():
            for number, line in enumerate(value.splitlines() or [""]):
                self.say(f"  {name}: {line}" if number == 0 else line)
        self.say("##[endgroup]")

    def _script(self, script: str, env: dict[str, str], spec: dict[str, Any]) -> Generator[float, None, int]:
        self._header(first_line({"run": script}), {}, env, script)
        box = shell.Box(env=env, files=self.files, say=self._output, aws_url=self.runner.aws_url,
                        npm_url=self.runner.npm_url, registries=self.runner.registries,
                        built=self.built, docker=self.docker, hosts=self.runner.hosts,
                        id_token=self._id_token if self.may_ask else None,
                        attest=self._attest if self.may_ask else None)  # fmt: skip
        status = yield from shell.interpret(script, box)
        self.built = box.built
        self.env |= dict(row.split("=", 1) for row in box.sinks.get("env", "").splitlines() if "=" in row)
        if "id" in spec:
            rows = box.sinks.get("output", "").splitlines()
            self.steps[str(spec["id"])] = {"outputs": dict(row.split("=", 1) for row in rows if "=" in row)}
        if status:
            self.say(f"##[error]Process completed with exit code {status}.")
        return status

    # Actions

    def _action(self, uses: str, env: dict[str, str], spec: dict[str, Any]) -> int:
        given = {str(k): fill(text(v), self.contexts(env)) for k, v in (spec.get("with") or {}).items()}
        self._header(uses, given, env)
        name = uses.split("@")[0]
        if name == "actions/checkout":
            return self._checkout(given)
        if name == "aws-actions/configure-aws-credentials":
            return self._aws_credentials(given)
        if name == "google-github-actions/auth":
            return self._google_credentials(given)
        if name == "actions/upload-artifact":
            return self._artifact(given)
        if name == "actions/cache":
            return self._cache(given, str(spec.get("id") or ""))
        if name in attestations.ACTIONS:
            return attestations.attest(self, given)
        if name in _NO_EFFECT:
            return 0
        if (status := tampered.played(self, uses)) is not None:
            return status
        self.say(f"##[error]the range's runner does not interpret the action {uses}")
        return 1

    def _checkout(self, given: dict[str, str]) -> int:
        run, git = self.run, self.run.head_repo.git
        if run.base_sha and not given.get("ref"):
            git = run.repo.git  # of a pull_request_target: the base, unless the file asks for the head
        commit = git.resolve(given["ref"]) if given.get("ref") else git.commits[run.sha]
        if commit is None or given.get("repository", run.repo.full_name) not in (
            run.repo.full_name, run.head_repo.full_name,
        ):  # fmt: skip
            self.say("##[error]fatal: couldn't find remote ref")
            return 1
        self.files = {path: git.blobs[entry.sha] for path, entry in git.files(commit).items()}
        self.say(f"Syncing repository: {(run.head_repo if git is run.head_repo.git else run.repo).full_name}")
        self.say(f"HEAD is now at {commit.sha[:7]} {commit.message.splitlines()[0]}")
        return 0

    def _artifact(self, given: dict[str, str]) -> int:
        """An artifact's record; its content is of no use here."""
        number, name = self.state.next_id(), given.get("name", "artifact")
        self.run.repo.artifacts[number] = {"id": number, "name": name, "run": self.run, "at": self.job.cursor}
        self.say(f"Artifact {name} has been successfully uploaded! Artifact ID is {number}")
        return 0

    def _cache(self, given: dict[str, str], step: str) -> int:
        """Bring back what was saved under the key; what is not there is saved when the job ends well."""
        key, path = given.get("key", ""), given.get("path", "").strip().rstrip("/")
        if not key or not path:
            self.say(f"##[error]Input required and not supplied: {'path' if key else 'key'}")
            return 1
        found = caches.restored(self.run, key, path, given.get("restore-keys", "").split(), self.state.now())
        hit = found is not None and found["key"] == key
        if found is not None:
            self.files = {**self.files, **found["files"]}
            self.say(f"Cache restored from key: {found['key']}")
        else:
            self.say(f"Cache not found for input keys: {key}")
        if not hit:
            self.missed.append((key, path))
        if step:
            self.steps[step] = {"outputs": {"cache-hit": "true" if hit else ""}}
        return 0

    def _save_caches(self) -> None:
        for key, path in self.missed:
            held = {name: data for name, data in self.files.items() if name == path or name.startswith(f"{path}/")}
            at = (self.job.cursor or self.state.now()).replace(microsecond=0)
            if held and caches.save(self.run, self.state.next_id(), key, path, held, at):
                self.say(f"Cache saved with key: {key}")

    def _google_credentials(self, given: dict[str, str]) -> int:
        """A key goes into a file of the workspace, and its name into the environment of the steps that follow.

        The sign-in by an id-token is not played here.
        """
        key = given.get("credentials_json", "")
        if not key:
            self.say("##[error]the range's google-github-actions/auth takes credentials_json only")
            return 1
        name = f"gha-creds-{hashlib.sha256(str(self.job.id).encode()).hexdigest()[:16]}.json"
        self.files = {**self.files, name: key.encode()}
        self.env["GOOGLE_APPLICATION_CREDENTIALS"] = name
        self.say(f"Created credentials file at {name}")
        return 0

    def _aws_credentials(self, given: dict[str, str]) -> int:
        """OIDC only with a role, without a static key and with ``id-token: write``, as the action decides it."""
        region, role = given.get("aws-region", ""), given.get("role-to-assume", "")
        key, secret = given.get("aws-access-key-id", ""), given.get("aws-secret-access-key", "")
        if not region:
            self.say("##[error]Input required and not supplied: aws-region")
            return 1
        credentials = {
            "AccessKeyId": key,
            "SecretAccessKey": secret,
            "SessionToken": given.get("aws-session-token", ""),
        }
        length = int(given.get("role-duration-seconds") or 3600)
        session = given.get("role-session-name") or "GitHubActions"
        try:
            if role and not key and self.may_ask:
                self.say("Assuming role with OIDC")
                credentials = self._by_token(
                    role, session, length, given.get("audience") or "sts.amazonaws.com", region
                )
            elif not key or not secret:
                self.say("##[error]Credentials could not be loaded, please check your action inputs: Could not load "
                         "credentials from any providers")  # fmt: skip
                return 1
            elif role:
                box = shell.Box(env={"AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": secret, "AWS_REGION": region},
                                files={}, say=self.say, aws_url=self.runner.aws_url)  # fmt: skip
                credentials = box.client("sts").assume_role(RoleArn=role, RoleSessionName=session,
                                                            DurationSeconds=length)["Credentials"]  # fmt: skip
        except (botocore.exceptions.ClientError, botocore.exceptions.BotoCoreError) as exc:
            self.say(f"##[error]Could not assume role: {exc}")
            return 1
        self.env |= {"AWS_DEFAULT_REGION": region, "AWS_REGION": region,
                     "AWS_ACCESS_KEY_ID": credentials["AccessKeyId"],
                     "AWS_SECRET_ACCESS_KEY": credentials["SecretAccessKey"]}  # fmt: skip
        self.env.pop("AWS_SESSION_TOKEN", None)
        if credentials.get("SessionToken"):
            self.env["AWS_SESSION_TOKEN"] = credentials["SessionToken"]
        for name in ("AccessKeyId", "SecretAccessKey", "SessionToken"):
            self.mask(credentials.get(name) or "")
        return 0

    def _attest(self, statement: dict[str, Any]) -> dict[str, Any] | None:
        """What npm's client does with a statement."""
        return self.runner.attest(self.run, self.job, statement, intoto=True)

    def _id_token(self, audience: str) -> str:
        return self.runner.id_token(self.run, self.job, audience)

    def _by_token(self, role: str, session: str, length: int, audience: str, region: str) -> dict[str, str]:
        client = shell.aws_client(self.runner.aws_url, "sts", region, "none", "none")
        token = self._id_token(audience)
        answer = client.assume_role_with_web_identity(
            RoleArn=role, RoleSessionName=session, WebIdentityToken=token, DurationSeconds=length
        )
        found: dict[str, str] = answer["Credentials"]
        return found


def _of_pull(run: Run) -> dict[str, Any]:
    """``github.event.pull_request``, as far as workflows ask for it."""
    if run.pull is None:
        return {}
    pull = run.pull
    head = {"sha": pull.head_sha, "ref": pull.head_ref, "repo": {"full_name": pull.head_repo.full_name}}
    base = {"sha": pull.base_sha, "ref": pull.base_ref, "repo": {"full_name": run.repo.full_name}}
    return {"pull_request": {"number": pull.number, "title": pull.title, "head": head, "base": base}}


def first_line(step: dict[str, Any]) -> str:
    lines = str(step.get("run", "")).strip().splitlines()
    return lines[0] if lines else ""

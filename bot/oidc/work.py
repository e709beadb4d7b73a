"""What the recipes have in common: the drafts of one credential's migration, and the edits that all of them make."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from bot.oidc import find, permissions, recipes
from bot.oidc.draft import Draft, Edited
from bot.oidc.find import Carrier, Credential
from bot.oidc.refusal import Refusal
from bot.oidc.repository import Repository
from bot.oidc.shape import EXPRESSION, SECRET, Job, Step, Workflow, leaves, plain_if, walk
from bot.oidc.splice import Said

NO_PULLS = "github.event_name != 'pull_request'"
OWN_PULLS = (
    "github.event.pull_request.head.repo.full_name == github.repository"
    " && github.event.pull_request.user.login != 'dependabot[bot]'"
)
REGISTRIES = ("crates", "npm", "nuget", "pypi", "rubygems")
CLOUDS = ("aws", "azure", "gcp", "vault")  # their trust tells pull requests from the rest by the token's subject
MERGED = re.compile(r"github\.event\.pull_request\.merged\b(?!\s*(!=\s*true|==\s*false))")
_LABEL = re.compile(r"github\.event\.label\.name\s*==\s*'[^']+'")
CACHING = ("actions/setup-dotnet", "actions/setup-java", "actions/setup-node", "actions/setup-python")
_CACHE = re.compile(r"actions/cache|swatinem/rust-cache|actions-rust-lang/setup-rust-toolchain")
_BUILDS = re.compile(
    r"(?<![\w-])((npm|pnpm|yarn|bun)\s+(ci|install|i|test|run\s+(build|test))|pip3?\s+install|bundle\s+install|cargo\s+(build|test))\b"
)
_KEEP = re.compile(r"(?i)\b(keep|pin(ned)?|do not (update|upgrade|bump)|don't (update|upgrade|bump))\b.*\d")
VOLATILE = re.compile(r"\b(steps|env|failure|always|cancelled|success)\b")  # it may have changed by the next step
_FORKS = re.compile(r"head\.repo\.(fork|full_name|owner\.login)\b")
CHECKOUT = "actions/checkout"
# Of AWS: unless somebody says otherwise the least that STS gives, and the most (API reference of
# AssumeRoleWithWebIdentity, "DurationSeconds").
SESSION_S, LONGEST_S = 900, 43_200


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """What people said, and what the API told; '' where nobody did.

    ``roles``: role of a credential, by the name of its first secret or '' for all. ``consumers``: (file, job) that use
    what a whole workflow's env holds. ``pins``: releases of actions that the API gave, by name in small letters.
    ``default_permissions``: what the repository's settings give a job that states no permissions, read or write.
    """

    roles: Mapping[str, str] = field(default_factory=dict)
    region: str = ""
    environment: str = ""
    session_s: int = SESSION_S
    values: Mapping[str, str] = field(default_factory=dict)
    consumers: frozenset[tuple[str, str]] = frozenset()
    pins: Mapping[str, recipes.Pin] = field(default_factory=dict)
    default_permissions: str = ""


@dataclass(slots=True)
class Work:
    """The migration of one credential: every file it changes, and what people have to know and to set."""

    repository: Repository
    credential: Credential
    answers: Answers
    drafts: dict[str, Draft] = field(default_factory=dict)
    jobs: list[Job] = field(default_factory=list)  # those that get an id-token
    assumed: list[str] = field(default_factory=list)
    asks: dict[str, str] = field(default_factory=dict)  # variable or setting -> what it must hold
    notes: list[str] = field(default_factory=list)
    tokens: dict[tuple[str, str], dict[str, str]] = field(default_factory=dict)  # job: condition -> id of its login
    actions: dict[str, bool] = field(default_factory=dict)  # those of this repository that are edited; what was found

    def draft(self, file: str) -> Draft:
        """The draft of a file, made when it is first asked for."""
        if file not in self.drafts:
            self.drafts[file] = Draft(self.repository.workflows[file].source)
            self.drafts[file].mention(*self.credential.secrets)
        return self.drafts[file]

    def finish(self) -> dict[str, Edited]:
        """Every changed file. Raises Refusal when one of them cannot be edited as it was meant."""
        return {file: draft.finish() for file, draft in self.drafts.items() if draft}

    def by_job(self) -> dict[tuple[str, str], list[Carrier]]:
        """The credential's carriers within jobs."""
        found: dict[tuple[str, str], list[Carrier]] = {}
        for carrier in self.credential.carriers:
            if carrier.job:
                found.setdefault((carrier.file, carrier.job), []).append(carrier)
        return found

    def wide(self) -> list[Carrier]:
        """The carriers that feed every job of a file."""
        return [c for c in self.credential.carriers if c.kind == "workflow-env"]

    def using_jobs(
        self, uses: Callable[[Step, Carrier], bool], verb: str
    ) -> list[tuple[Job, list[Carrier], Carrier | None]]:
        """Each job that the credential is used in, with its carriers there and the one that feeds its whole file.

        ``uses``: whether a step is one that a file's wide carrier is for. Raises Refusal when no job has such a step.
        """
        found = self.by_job()
        wide: dict[str, list[Carrier]] = {}
        for carrier in sorted(self.wide(), key=lambda each: not each.part):  # first, one by the name that tools read
            wide.setdefault(carrier.file, []).append(carrier)
        for file, feeding in wide.items():
            jobs = self.repository.workflows[file].jobs.values()
            users = [job for job in jobs if any(uses(step, each) for step in job.steps for each in feeding)]
            if not any(job.steps for job in jobs):
                continue  # what is called gets nothing of its caller's env
            if not users:
                where = feeding[0].where
                raise Refusal("consumers-unknown", f"{where} feeds every job, and none can be seen to {verb}")
            for job in users:
                found.setdefault((file, job.id), [])
        first = {file: carriers[0] for file, carriers in wide.items()}
        jobs_found = [(self.repository.job(file, name), carriers) for (file, name), carriers in found.items()]
        return [(job, carriers, first.get(job.workflow.path)) for job, carriers in jobs_found if not job.uses]

    def refuse_odd(self, *, by_matrix: bool = False) -> None:
        """Refuse carriers that no recipe knows how to take out.

        ``by_matrix``: the recipe can take out those whose names a matrix writes out.
        """
        own = set(self.credential.secrets)
        if by_matrix:
            carriers = [c.taken_out if c.kind == "computed" and c.named else c for c in self.credential.carriers]
            self.credential = replace(self.credential, carriers=tuple(carriers))
        for carrier in self.everything():
            if by_matrix and carrier.named and own.issuperset(carrier.secrets):
                continue
            raise Refusal(
                "computed", f"{carrier.where} reads all secrets, or one by a computed name",
                "Name the secret in the expression and let environments hold its values, then plan again.",
            )  # fmt: skip
        for carrier in self.credential.carriers:
            if carrier.kind == "other":
                raise Refusal("forwarded", f"{carrier.where} reads the secret outside of inputs, variables and scripts")

    def drop_aliases(self) -> None:
        """Take out variables that hand the secret to inputs and variables of steps by ``env.NAME``, and do no more.

        What gets it so is a carrier by itself. A name that tools read by themselves stays what it is.
        """
        read = recipes.data("providers")[self.credential.provider]["env"]
        gone = [c for c in self.credential.carriers if c.kind.endswith("-env") and c.name.upper() not in read
                and self._alias(c)]  # fmt: skip
        for carrier in gone:
            self.drop(carrier)
            self.assumed.append(f"{carrier.file}: no script of the repository reads {carrier.name} by itself")
        self.credential = replace(
            self.credential, carriers=tuple(c for c in self.credential.carriers if c not in gone)
        )

    def _alias(self, carrier: Carrier) -> bool:
        """Whether nothing but other carriers reads a variable, each by ``env.NAME`` alone."""
        source = self.repository.workflows[carrier.file].source
        top = carrier.path[: carrier.path.index("env")]  # of the workflow, a job or a step
        name = re.escape(carrier.name)
        word, through = re.compile(rf"(?<!\w){name}(?!\w)"), re.compile(rf"\s*\$\{{\{{\s*env\s*\.\s*{name}\s*\}}\}}\s*")
        beside = (self.repository.files[path].decode(errors="replace") for path in self.repository.searched())
        if any(map(word.search, beside)):
            return False
        others = {each.path for each in self.credential.carriers if each.path != carrier.path}
        reads = {
            (*top, *path): leaf.value for path, leaf in walk(source.at(top)) if word.search(SECRET.sub("", leaf.value))
        }
        return bool(reads) and all(path in others and through.fullmatch(text) for path, text in reads.items())

    def everything(self) -> list[Carrier]:
        """Where a workflow that carries the credential reads all secrets at once, or one by a computed name."""
        files = {carrier.file for carrier in self.credential.carriers}
        found = [c for file in files for c in find.carriers(self.repository.workflows[file])]
        own = set(self.credential.secrets)
        return [c for c in found if c.kind == "computed" and (not c.named or own & set(c.secrets))]

    def need(self, name: str, what: str) -> str:
        """A repository variable that people have to set, as the expression that reads it."""
        self.asks[f"vars.{name}"] = what
        return f"${{{{ vars.{name} }}}}"

    def pin(self, name: str) -> recipes.Pin:
        """The release of an action to use: from the API where it was asked, else from the dated table."""
        return self.answers.pins.get(name) or recipes.pins()[name]

    # edits ------------------------------------------------------------------------------------------------------------

    def drop(self, carrier: Carrier) -> None:
        """Take a variable or an input out."""
        draft = self.draft(carrier.file)
        draft.mention(carrier.name)
        draft.delete(carrier.path)

    def repin(self, step: Step, name: str = "") -> None:
        """Put a step's action on the release that the recipe needs."""
        pin = self.pin(name or step.action)
        if step.uses != pin.uses:
            if _KEEP.search(step.comments):
                self.notes.append(
                    f"{step.job.workflow.path}, job {step.job.id}: a comment at step {step.name!r} asks to keep its "
                    f"release; without a token it has to be {pin.version} or newer"
                )
            self.draft(step.job.workflow.path).replace((*step.path, "uses"), pin.uses, comment=pin.comment)

    def set_input(self, step: Step, name: str, value: str, *, near: str = "") -> None:
        """Give an input of an action a value; '' as near puts it last."""
        draft = self.draft(step.job.workflow.path)
        path = (*step.path, "with")
        known = next((key for key in step.inputs if key.lower() == name.lower()), None)
        if known is not None:
            if step.inputs[known] != value:
                draft.replace((*path, known), value)
        elif step.node.get("with") is None:
            draft.insert(step.path, "with", {name: value}, near="uses")
        else:
            draft.insert(path, name, value, near=near or list(step.inputs)[-1])

    def drop_input(self, step: Step, *names: str) -> None:
        """Take inputs of an action out, where they are."""
        for key in step.inputs:
            if key.lower() in names:
                self.draft(step.job.workflow.path).delete((*step.path, "with", key))

    def uses_step(self, name: str, inputs: Mapping[str, Any], **extra: str) -> dict[str, Any]:
        """A step that uses an action, pinned."""
        pin = self.pin(name)
        step: dict[str, Any] = {key: value for key, value in extra.items() if value}
        step["uses"] = Said(pin.uses, pin.comment)
        return step | ({"with": dict(inputs)} if inputs else {})

    def login(self, job: Job, consumers: Iterable[Step], made: Callable[[str], Mapping[str, Any]]) -> list[int]:
        """Put a login before the first of the steps that need it, once for each condition that they have.

        ``made`` gets the condition and gives the step. A condition that speaks of steps or variables may have changed
        by the next step, so such a consumer gets its own. The answer: where logins were put.
        """
        done: dict[str, int] = {}
        always = False  # a login that every run has which may have one
        for step in consumers:
            condition = self.condition(step)
            if (condition in done or always) and not VOLATILE.search(condition):
                continue
            self.draft(job.workflow.path).insert_step(step.path, made(condition))
            done[condition] = step.index
            always = always or not step.condition
        return list(done.values())

    def condition(self, step: Step) -> str:
        """The condition that a login before a step has: the step's own, and of pull requests only whom it is for."""
        own = " ".join(plain_if(step.condition).split())
        if not self.pulled(step):
            return own if "${{" not in own else step.condition
        if "${{" in own:
            raise Refusal("write-in-place", f"the condition of step {step.name!r} mixes text and expressions")
        kept = self._kept(step)
        return f"({own}) && {kept}" if own and kept else own or kept.removeprefix("(").removesuffix(")")

    def _kept(self, step: Step) -> str:
        """Which runs a step is kept for; '' when its own condition or the job's says so already."""
        if self.credential.provider not in CLOUDS:
            return f"({OWN_PULLS})" if self.labelled(step.job) else NO_PULLS
        if _FORKS.search(step.condition) or _FORKS.search(step.job.condition):
            return ""
        return f"({OWN_PULLS if self.only_pulls(step.job) else f'{NO_PULLS} || ({OWN_PULLS})'})"

    def pulled(self, step: Step) -> bool:
        """Whether pull requests come to a step with the credential."""
        if not self.repository.reached(step.job, "pull_request") or self.merged_only(step.job):
            return False
        return step.reached("pull_request") or not step.job.reached("pull_request")

    def only_pulls(self, job: Job) -> bool:
        """Whether nothing but pull requests starts a job."""
        return set(self.repository.reached_by(job)) == {"pull_request"}

    def by_event(self, steps: Iterable[Step], value: Callable[[], str], variable: str, what: str) -> str:
        """A role (an account, a client) for the steps, and where pull requests come to them, one of their own.

        The trust of the first is never one of pull requests, whose code nobody has read yet. ``variable`` holds the
        second one, unless it was answered under its name in small letters.
        """
        reached = [step for step in steps if self.pulled(step)]
        if not reached:
            return value()
        pulls = self.answers.values.get(variable.lower()) or self.need(
            variable, f"{what} for pull requests alone: it may read, not change; its trust names their subject"
        )
        where = f"{reached[0].job.workflow.path}, job {reached[0].job.id}"
        self.notes.append(f"{where}: pull requests of this repository get {variable}, those of forks no identity")
        if self.only_pulls(reached[0].job):
            return pulls
        return f"${{{{ github.event_name == 'pull_request' && {operand(pulls)} || {operand(value())} }}}}"

    def guard(self, step: Step) -> None:
        """Keep pull requests out of a step that needs the credential: those of forks never had it.

        For a cloud only those of forks are kept out, by a condition that is left away where it cannot be written.
        """
        if not self.pulled(step) or not self._kept(step):
            return
        draft, node = self.draft(step.job.workflow.path), step.node.get("if")
        if self.credential.provider in CLOUDS and node is not None and (node.style in {"|", ">"} or "${{" in plain_if(
            step.condition
        )):  # fmt: skip
            return
        condition = self.condition(step)
        if node is not None:
            draft.replace((*step.path, "if"), condition)
        else:
            first = step.node.entries[0].key.value
            draft.insert(step.path, "if", condition, near="name" if step.node.get("name") is not None else first)
        if self.credential.provider not in CLOUDS:
            where = f"{step.job.workflow.path}, job {step.job.id}"
            if self.labelled(step.job):
                self.notes.append(f"{where}: pull requests of forks and of Dependabot skip step {step.name!r}")
            else:
                self.notes.append(f"{where}: pull requests skip step {step.name!r}; its trust is for other events")

    def merged_only(self, job: Job) -> bool:
        """Whether the job runs on pull requests only once they are merged, and for a registry, which asks no ref."""
        return self.credential.provider in REGISTRIES and any(MERGED.search(each.condition) for each in job.chain)

    def labelled(self, job: Job) -> bool:
        """Whether a job at npm or PyPI runs on pull requests alone, and there only once a person has set a label.

        Those of forks are kept out, so what publishes is code of people who may push; they could read a token too.
        crates.io and RubyGems.org do not say whether they take the identity of a pull request.
        """
        on = job.workflow.source.root.get("on")
        event = on.get("pull_request") if on is not None and on.real.kind == "map" else None
        types = event.get("types") if event is not None and event.real.kind == "map" else None
        return (
            self.credential.provider in {"npm", "pypi"}
            and self.only_pulls(job)
            and not job.workflow.called
            and types is not None
            and list(leaves(types)) == ["labeled"]
            and any(_LABEL.search(each.condition) and "||" not in each.condition for each in job.chain)
        )

    def trusted(self, job: Job, *, refused: tuple[str, ...] = ("pull_request_target",)) -> None:
        """Refuse a job that an untrusted event starts, or that only pull requests start."""
        events = self.repository.reached_by(job)
        for event in refused:
            if event in events:
                raise Refusal(
                    "untrusted-trigger", f"job {job.id} of {job.workflow.path} runs on {event}",
                    f"Move the steps that need the credential to a workflow that does not run on {event}.",
                )  # fmt: skip
        if self.credential.provider in CLOUDS or not self.only_pulls(job) or self.merged_only(job):
            return
        if not self.labelled(job):
            raise Refusal(
                "reached-by-forks", f"job {job.id} of {job.workflow.path} runs on pull requests only",
                "Publish from a job that runs on what has been merged.",
            )  # fmt: skip
        self.assumed.append(f"job {job.id}: who may set its label may have pull requests of the repository published")
        self.assumed.append(f"job {job.id}: {self.credential.provider} takes the identity of a pull request's run")

    def grant(self, job: Job, why: str, *, scope: str = "id-token") -> None:
        """Give a job the id-token (or another scope), and its callers what they must grant for that."""
        if scope == "id-token":
            self._environment(job)
        if self.credential.provider in REGISTRIES and scope == "id-token":
            self._caches(job)
            self._builds(job)
        asked = (permissions.effective(job) or {}).get(scope) == "write"
        permissions.grant(
            self.draft(job.workflow.path), job, why, self.assumed, scope, self.answers.default_permissions,
            self.repository.files, self._granted_by_callers(job.workflow.path),
        )  # fmt: skip
        self.jobs.append(job)
        if job.workflow.called:
            self._grant_callers(job.workflow.path, why, scope, 0, asked=asked)

    def _granted_by_callers(self, path: str, depth: int = 0) -> list[dict[str, str]]:
        """What the jobs that call a workflow state that it may have; those that state nothing have it from theirs."""
        found = []
        for caller in self.repository.callers(path) if depth < 9 else ():
            stated = permissions.effective(caller)
            if stated is not None:
                found.append(stated)
            elif caller.workflow.called:
                found += self._granted_by_callers(caller.workflow.path, depth + 1)
        return found

    def _builds(self, job: Job) -> None:
        """A job that builds what it publishes shows its identity to all that it installs; said, and left to people."""
        steps = [step for step in job.steps if _BUILDS.search(step.run)]
        if steps:
            self.notes.append(
                f"{job.workflow.path}, job {job.id}: what step {steps[0].name!r} installs or runs could ask for the "
                "identity too; a job of its own that only publishes would keep it out"
            )

    def _caches(self, job: Job) -> None:
        """What a job that publishes restores from a cache, others may have put there: no caches of set-up actions.

        A cache that is a step of its own may carry what the job needs, so it is told and left.
        """
        for step in job.steps:
            node = step.node.get("id")
            read = node is not None and any(f"steps.{node.value}." in text for text in leaves(job.node))
            if step.action in CACHING and step.input("cache") and not read:
                self.drop_input(step, "cache", "cache-dependency-path")
            elif step.action == "astral-sh/setup-uv" and step.input("enable-cache") == "true" and not read:
                self.set_input(step, "enable-cache", "false")
            elif _CACHE.match(step.action) or step.input("bundler-cache") == "true":
                self.notes.append(
                    f"{job.workflow.path}, job {job.id}: step {step.name!r} restores a cache beside the identity; "
                    "take it out where the job can do without"
                )

    def _environment(self, job: Job) -> None:
        if self.answers.environment and not job.environment and not job.uses:
            near = "runs-on" if job.node.get("runs-on") is not None else job.node.entries[0].key.value
            self.draft(job.workflow.path).insert(job.path, "environment", self.answers.environment, near=near)

    def _grant_callers(self, path: str, why: str, scope: str, depth: int, *, asked: bool = False) -> None:
        """``asked``: the called job asks for the scope today, so whoever calls it grants that, or could not call it."""
        callers = self.repository.callers(path)
        if not callers and asked and self.called_elsewhere(path):
            self.notes.append(
                f"{path}: its callers are elsewhere and grant id-token: write already; each is a trusted publisher of "
                "its own, by its own file, and need not hand the secret on any more"
            )
            return
        if (not callers and set(self.repository.workflows[path].events) == {"workflow_call"}) or depth > 9:
            raise Refusal(
                "callers-unknown", f"{path} is called by workflows whose files were not given",
                "Plan over the whole repository; callers elsewhere have to grant id-token: write themselves.",
                lacks="" if self.repository.whole else f"the callers of {path}",
            )  # fmt: skip
        if not callers:
            self.assumed.append(f"{path}: no workflow elsewhere calls it; one that does has to grant id-token: write")
        for caller in callers:
            self._grant_caller(caller, path, why, scope)
            if caller.workflow.called:
                self._grant_callers(caller.workflow.path, why, scope, depth + 1)

    def _grant_caller(self, caller: Job, path: str, why: str, scope: str) -> None:
        """A caller that states nothing has to hand on what the called jobs need, and the id-token."""
        draft = self.draft(caller.workflow.path)
        if permissions.effective(caller) is not None:
            permissions.grant(draft, caller, why, self.assumed, scope)
            return
        if draft.has((*caller.path, "permissions")):
            return
        total = permissions.Scopes()
        self._add_needs(total, path, 0)
        block: dict[str, Any] = {k: v for k, v in total.said.items() if k != scope}
        draft.insert(caller.path, "permissions", block | {scope: Said("write", why)}, near="uses")

    def _add_needs(self, total: permissions.Scopes, path: str, depth: int) -> None:
        """What the jobs of a called workflow need, and those of the workflows that they call in turn."""
        for job in self.repository.workflows[path].jobs.values():
            own = permissions.effective(job)
            if own is None and job.uses:
                nested = self.repository.called(job)
                if nested not in self.repository.workflows or depth > 9:
                    raise Refusal(
                        "permissions-unknown", f"job {job.id} of {path} calls {job.uses}, whose needs cannot be told",
                        "State the permissions of that job, then plan again.",
                        lacks=nested,
                    )  # fmt: skip
                self._add_needs(total, nested, depth + 1)
                continue
            found = permissions.inferred(job, self.repository.files) if own is None else None
            if found is not None and found.blocking:
                own = permissions.by_default(self.answers.default_permissions)
                found = None if own is not None else found
            if found is not None and found.blocking:
                raise Refusal(
                    "permissions-unknown", f"job {job.id} of {path}: {'; '.join(found.blocking)}",
                    lacks=permissions.SETTING,
                )  # fmt: skip
            if own is not None and "*" in own:
                raise Refusal("permissions-unknown", f"job {job.id} of {path} asks for all scopes")
            needed = {k: v for k, v in (found.needed if found else own or {}).items() if v in permissions.LEVELS}
            total.add(needed, f"job {job.id} of {path.rpartition('/')[2]}")

    def pass_on(self) -> None:
        """Take the secret out of calls within the repository: what the caller hands on and what the callee declares."""
        for carrier in self.credential.carriers:
            if carrier.kind != "secrets":
                continue
            job = self.repository.job(carrier.file, carrier.job)
            path = self.repository.called(job)
            if not path:
                raise Refusal(
                    "called-elsewhere", f"{carrier.where} hands the secret to {job.uses.split('@')[0]}",
                    "Migrate that workflow first; then this call only has to grant id-token: write.",
                )  # fmt: skip
            if path not in self.repository.workflows:
                raise Refusal("callee-missing", f"{carrier.where} hands the secret to {path}, which was not given",
                              lacks=path)  # fmt: skip
            if carrier.name.upper() not in self.credential.secrets:
                raise Refusal("forwarded", f"{carrier.where} hands the secret on under another name")
            self.drop(carrier)
        self._refuse_several()
        for path, workflow in self.repository.workflows.items():
            self._undeclare(path, workflow)

    def _refuse_several(self) -> None:
        """A called workflow that gets several keys has a role for each environment, or they cannot be told apart."""
        outer: dict[tuple[str, str], set[str]] = {}
        for carrier in (each for each in self.credential.carriers if each.kind == "secrets"):
            called = self.repository.called(self.repository.job(carrier.file, carrier.job))
            outer.setdefault((called, carrier.name.upper()), set()).update(carrier.secrets)
        several = {called for (called, _), secrets in outer.items() if len(secrets) > 1}
        for job in self.jobs:
            if job.workflow.path not in several or self.credential.provider not in CLOUDS:
                continue
            if not job.environment:
                said = f"{job.workflow.path} gets several keys from its callers, which no environment tells apart"
                raise Refusal(
                    "computed", said,
                    "Give its job an environment for each key, whose variables name the role, then plan again.",
                )  # fmt: skip
            self.notes.append(f"{job.workflow.path}, job {job.id}: set the variables in each of its environments")

    def _undeclare(self, path: str, workflow: Workflow) -> None:
        """What a called workflow declares goes, also where its callers inherit: a required secret would be missed."""
        declared = ("on", "workflow_call", "secrets")
        try:
            names = [entry.key.value for entry in workflow.source.at(declared).real.entries]
        except KeyError:
            return
        for name in names:
            if name.upper() not in self.credential.secrets or not self._ours(workflow):
                continue
            if not self.called_elsewhere(path):
                self.draft(path).delete((*declared, name))
                continue
            required = (*declared, name, "required")  # what a caller hands on has to be declared
            stated = workflow.source.at((*declared, name)).real
            if stated.kind == "map" and (value := stated.get("required")) is not None and value.real.value == "true":
                self.draft(path).replace(required, "false")

    def called_elsewhere(self, path: str) -> bool:
        """Whether a workflow of a registry's is there to be called, and by none of the files that were given."""
        workflow = self.repository.workflows[path]
        alone = set(workflow.events) == {"workflow_call"} and not self.repository.callers(path)
        return alone and self.credential.provider in REGISTRIES

    def _ours(self, workflow: Workflow) -> bool:
        """Whether the secret of a called workflow is this credential: it carries it, or a caller hands it on."""
        files = {carrier.file for carrier in self.credential.carriers}
        callers = self.repository.callers(workflow.path)
        return workflow.path in files or any(caller.workflow.path in files for caller in callers)


def free_id(job: Job, wanted: str, given: Iterable[str] = ()) -> str:
    """An id that no step of the job has, and none of those that were given already."""
    taken = {node.value for step in job.steps if (node := step.node.get("id")) is not None} | set(given)
    return next(each for each in (wanted, *(f"{wanted}-{n}" for n in range(2, 99))) if each not in taken)


def operand(text: str) -> str:
    """A text with or without expressions as one operand of an expression."""
    parts = EXPRESSION.split(text.strip())
    if len(parts) == 1:
        return "'" + text.replace("'", "''") + "'"
    if len(parts) == 3 and not parts[0] and not parts[2]:
        inner = parts[1].strip()
        return f"({inner})" if "&&" in inner or "||" in inner else inner
    words = [part.replace("'", "''").replace("{", "{{").replace("}", "}}") for part in parts[::2]]
    made = "".join(word + (f"{{{n}}}" if n < len(words) - 1 else "") for n, word in enumerate(words))
    return f"format('{made}', {', '.join(part.strip() for part in parts[1::2])})"

"""The files of a repository that decide where a secret goes: workflows, and who calls whom."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from bot.oidc.refusal import Refusal
from bot.oidc.shape import Job, Workflow
from bot.oidc.source import Source

FOLDER = ".github/workflows/"


@dataclass(slots=True)
class Repository:
    """Files by path. ``whole``: every file of the repository that matters is given, so a missing one is not there."""

    files: dict[str, bytes]
    whole: bool = True
    workflows: dict[str, Workflow] = field(default_factory=dict)
    unreadable: dict[str, Refusal] = field(default_factory=dict)

    @classmethod
    def of(cls, files: Mapping[str, bytes], *, whole: bool = True) -> Repository:
        """Read every workflow file; those that cannot be read are kept with the reason."""
        made = cls(files=dict(files), whole=whole)
        for path in sorted(files):
            if path.startswith(FOLDER) and path.endswith((".yml", ".yaml")):
                made._read(path)
        return made

    def _read(self, path: str) -> None:
        try:
            self.workflows[path] = Workflow(path, Source(self.files[path]))
        except Refusal as refusal:
            self.unreadable[path] = refusal

    def after(self, changed: Mapping[str, bytes]) -> Repository:
        """The repository with some files as they would be."""
        made = Repository(files={**self.files, **changed}, whole=self.whole, unreadable=dict(self.unreadable))
        made.workflows = {path: each for path, each in self.workflows.items() if path not in changed}
        for path in changed:
            if path.startswith(FOLDER):
                made._read(path)
        made.workflows = dict(sorted(made.workflows.items()))
        return made

    def job(self, file: str, job: str) -> Job:
        """A job by its file and id."""
        return self.workflows[file].jobs[job]

    def jobs(self) -> Iterator[Job]:
        """Every job of every workflow."""
        for workflow in self.workflows.values():
            yield from workflow.jobs.values()

    def called(self, job: Job) -> str:
        """The path of the workflow of this repository that a job calls; '' when it calls none of ours."""
        uses = job.uses.split("@")[0]
        for prefix in ("./", "$/"):
            if uses.startswith(prefix):
                return uses.removeprefix(prefix)
        return ""

    @staticmethod
    def called_action(uses: str) -> str:
        """The folder of the action of this repository that a step uses, with a slash at its end; '' for others'."""
        found = uses.split("@")[0]
        inside = found.removeprefix("./").removeprefix("$/").strip("/")
        return f"{inside}/" if found.startswith(("./", "$/")) and inside else ""

    def callers(self, path: str) -> list[Job]:
        """The jobs of this repository that call a workflow."""
        return [job for job in self.jobs() if self.called(job) == path]

    def events(self, workflow: Workflow, seen: tuple[str, ...] = ()) -> set[str]:
        """The events that can start a workflow, those of its callers included."""
        found = set(workflow.events) - {"workflow_call"}
        if workflow.called and workflow.path not in seen:
            for caller in self.callers(workflow.path):
                outer = self.events(caller.workflow, (*seen, workflow.path))
                found |= {event for event in outer if self.reached(caller, event)}
        return found

    def reached(self, job: Job, event: str) -> bool:
        """Whether an event can start a job, through its callers too."""
        if job.reached(event):
            return True
        if not job.workflow.called or not job.reached("workflow_call"):
            return False
        return any(self.reached(caller, event) for caller in self.callers(job.workflow.path))

    def reached_by(self, job: Job) -> list[str]:
        """The events that can start a job, sorted."""
        events = self.events(job.workflow)
        return sorted(event for event in events if self.reached(job, event))

"""The files of a repository that decide where a secret goes: workflows, and who calls whom."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from bot.oidc.refusal import Refusal
from bot.oidc.shape import Job, Workflow
from bot.oidc.source import Source

FOLDER = ".github/workflows/"
MOST_SEARCHED = 40  # of files that have to be fetched one by one
SKIPPED = {".git", "node_modules", ".venv", "vendor", "target", "dist"}
TOKENS = (".npmrc", ".yarnrc", ".yarnrc.yml", ".pypirc")  # read by tools without anybody naming them
READ = (
    ".yml", ".yaml", ".json", ".toml", ".sh", ".py", ".js", ".mjs", ".ts", "Makefile", "justfile", "Rakefile", *TOKENS,
)  # fmt: skip


def looked_into(path: str) -> bool:
    """Whether a file of a repository may decide where a secret goes, by its path."""
    folder, _, name = path.rpartition("/")
    return name.endswith(READ) and not set(folder.split("/")) & SKIPPED


class Unread(Mapping[str, bytes]):
    """Files that are fetched when they are looked into, each content once: a repository without a clone.

    ``names``: what each path's content is asked for by, such as the name of its blob.
    """

    def __init__(self, names: Mapping[str, str], fetch: Callable[[str], bytes]) -> None:
        self._names, self._fetch = names, fetch
        self._read: dict[str, bytes] = {}

    def __getitem__(self, path: str) -> bytes:
        name = self._names[path]
        if name not in self._read:
            self._read[name] = self._fetch(name)
        return self._read[name]

    def __contains__(self, path: object) -> bool:
        return path in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def known(self, path: str) -> bool:
        """Whether a file was fetched."""
        return self._names.get(path) in self._read


class Changed(Mapping[str, bytes]):
    """Files of which some are different now."""

    def __init__(self, before: Mapping[str, bytes], changed: Mapping[str, bytes]) -> None:
        earlier: Mapping[str, bytes] = before.changed if isinstance(before, Changed) else {}
        self.before: Mapping[str, bytes] = before.before if isinstance(before, Changed) else before
        self.changed: dict[str, bytes] = {**earlier, **changed}

    def __getitem__(self, path: str) -> bytes:
        return self.changed[path] if path in self.changed else self.before[path]

    def __contains__(self, path: object) -> bool:
        return path in self.changed or path in self.before

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys([*self.before, *self.changed]))

    def __len__(self) -> int:
        return len({*self.before, *self.changed})


@dataclass(slots=True)
class Repository:
    """Files by path. ``whole``: every file of the repository that matters is given, so a missing one is not there.

    Files may lie elsewhere (``Unread``), so nothing here goes through the contents of all of them.
    """

    files: Mapping[str, bytes]
    whole: bool = True
    workflows: dict[str, Workflow] = field(default_factory=dict)
    unreadable: dict[str, Refusal] = field(default_factory=dict)

    @classmethod
    def of(cls, files: Mapping[str, bytes], *, whole: bool = True) -> Repository:
        """Read every workflow file; those that cannot be read are kept with the reason."""
        made = cls(files=files, whole=whole)
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
        made = Repository(files=Changed(self.files, changed), whole=self.whole, unreadable=dict(self.unreadable))
        made.workflows = {path: each for path, each in self.workflows.items() if path not in changed}
        for path in changed:
            if path.startswith(FOLDER):
                made._read(path)
        made.workflows = dict(sorted(made.workflows.items()))
        return made

    @property
    def elsewhere(self) -> bool:
        """Whether files are fetched one by one, so that not every one was looked into."""
        return isinstance(self.files.before if isinstance(self.files, Changed) else self.files, Unread)

    def searched(self) -> list[str]:
        """Paths beside the workflows that are searched for a word of theirs: all, or those that a script names."""
        beside = sorted(path for path in self.files if not path.startswith(FOLDER))
        held = self.files.before if isinstance(self.files, Changed) else self.files
        if not isinstance(held, Unread):
            return beside
        words = {word for job in self.jobs() for step in job.steps for word in re.findall(r"[\w.-]+", step.run)}
        words |= set(TOKENS)
        return [path for path in beside if held.known(path) or path.rpartition("/")[2] in words][:MOST_SEARCHED]

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

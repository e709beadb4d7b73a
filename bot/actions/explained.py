"""What explains a version: a tag of its name, or a good run of a publishing workflow that was under way when it came.

A release stands on a tag. A thief who also pushes tags is not found this way. One place for every registry.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from bot.actions.github import repository_path
from bot.model import SecretStore, WorkflowRef
from bot.world import World

JOB_LIMIT = timedelta(hours=6)  # of a hosted runner: what was queued before is over
_WHOLE_SECONDS = timedelta(seconds=1)  # GitHub's times have no fractions


def holders(repository: str, stores: tuple[SecretStore, ...]) -> tuple[str, ...]:
    """The repositories whose jobs have a credential, each once. Of an organization's secret only the owner is known."""
    told = [repository, *(store.repository for store in stores if store.scope != "organization")]
    return tuple(dict.fromkeys(filter(None, told)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Explains:
    """What a repository has to say of versions; its tags are read once."""

    repository: str
    workflows: frozenset[str]  # those that publish; a run of another one explains nothing; none: any run does
    since: str  # ISO 8601; versions from before are not suspected
    tags: frozenset[str] = field(repr=False)

    @classmethod
    def of(cls, world: World, repository: str, workflows: tuple[WorkflowRef, ...], since: str) -> Explains:
        """Read the tags of a repository. Raises bot.errors."""
        refs = world.github.pages(f"{repository_path(repository)}/git/matching-refs/tags/")
        tags = frozenset(str(each["ref"]).removeprefix("refs/tags/") for each in refs)
        publishing = frozenset(ref.workflow for ref in workflows)
        return cls(repository=repository, workflows=publishing, since=since, tags=tags)

    def version(self, world: World, package: str, version: str, published: str) -> bool:
        """Whether a version that was published then (ISO 8601; '' when nobody says) is explained."""
        at = datetime.fromisoformat(published) if published else None
        if at is not None and self.since and at < datetime.fromisoformat(self.since):
            return True
        short = package.split("/")[-1]
        before = ("", "v", *(name + mark for name in (package, short) for mark in ("@", "-", "-v", "/v")))
        names = {start + version for start in before}
        return bool(self.tags & names) or (at is not None and self.ran(world, at))

    def ran(self, world: World, at: datetime) -> bool:
        """Whether a publishing run was under way then, and has not failed."""
        window = "..".join(f"{each:%Y-%m-%dT%H:%M:%SZ}" for each in (at - JOB_LIMIT, at + _WHOLE_SECONDS))
        runs = world.github.pages(f"{repository_path(self.repository)}/actions/runs", "workflow_runs", created=window)
        good = [run for run in runs if run["conclusion"] in (None, "success")]  # None: it is still going on
        publishing = [r for r in good if not self.workflows or str(r["path"]).split("@")[0] in self.workflows]
        return any(
            datetime.fromisoformat(run["created_at"]) <= at
            and (run["conclusion"] is None or at <= datetime.fromisoformat(run["updated_at"]) + _WHOLE_SECONDS)
            for run in publishing
        )

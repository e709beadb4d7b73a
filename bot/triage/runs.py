"""What stands in the logs of a workflow's runs, every attempt of them.

A run's log is a zip of texts (docs.github.com/rest/actions/workflow-runs, "Download workflow run logs"). It is read
in memory, recognised, and forgotten; only what ``Found`` holds goes on.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

from bot.errors import NotFound, ProviderError
from bot.model import RunRef
from bot.triage.identify import Found, Recognizer
from bot.world import World

MAX_LOG = 256 * 1024 * 1024  # bytes of one attempt's texts; a zip may claim to hold more than a machine does
SIBLINGS = 20  # latest runs of the workflow that are read for the same leak
_AT_ONCE = 4
ACTIONS_APP = "15368"  # the App on github.com that a job's token belongs to; ghs_APPID_JWT names it


@dataclass(frozen=True, slots=True, kw_only=True)
class RunLeak:
    """One run and what its log holds. ``readable`` is False when there is no log, or not yet."""

    ref: RunRef
    created_at: str
    completed: bool
    readable: bool
    found: tuple[Found, ...]
    unknown: tuple[str, ...] = ()


def find_in_run(world: World, recognizer: Recognizer, repository: str, run_id: int) -> tuple[Found, ...]:
    """Every credential in the logs of all attempts of a run; ``where`` tells attempt and file.

    Raises NotFound when there is no such run, or no log of it, or not yet.
    """
    leak = read_run(world, recognizer, world.github.get(f"/repos/{repository}/actions/runs/{run_id}"))
    if not leak.readable:
        state = "it was deleted or has expired" if leak.completed else "GitHub gives it when the run has ended"
        raise NotFound(f"run {run_id} of {repository} has no log that can be read: {state}", provider="github")
    return leak.found


def run_ref(repository: str, run: dict[str, Any]) -> RunRef:
    """A run of GitHub's API as ours."""
    return RunRef(
        repository=repository, run_id=int(run["id"]), workflow=str(run.get("path") or "").split("@")[0],
        commit=str(run.get("head_sha") or ""), attempt=int(run.get("run_attempt") or 1),
    )  # fmt: skip


def read_run(world: World, recognizer: Recognizer, run: dict[str, Any]) -> RunLeak:
    """Read the logs of all attempts of a run (an object of GitHub's API)."""
    repository = str(run["repository"]["full_name"])
    ref = run_ref(repository, run)
    found: list[Found] = []
    unknown: list[str] = []
    readable = False
    for attempt in range(1, ref.attempt + 1):
        where = f"{repository} run {ref.run_id} attempt {attempt}"
        try:
            data = world.github.download(f"/repos/{repository}/actions/runs/{ref.run_id}/attempts/{attempt}/logs")
            texts = texts_of(data, where, unknown)
        except NotFound:
            continue
        except (zipfile.BadZipFile, NotImplementedError, RuntimeError):  # damaged, or packed or locked unlike GitHub's
            unknown.append(f"The log of {where} is no zip that can be read")
            continue
        readable = True
        for name, text in texts:
            found += [replace(hit, where=f"{where}: {name}") for hit in recognizer.find(text)]
    return RunLeak(
        ref=ref, created_at=str(run.get("created_at") or ""), completed=run.get("status") == "completed",
        readable=readable, found=tuple(found), unknown=tuple(unknown),
    )  # fmt: skip


def texts_of(data: bytes, where: str, unknown: list[str]) -> list[tuple[str, str]]:
    """(file, text) of a run's log, each job once. Raises what zipfile does for what is no zip."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        names = [info for info in archive.infolist() if not info.is_dir()]
        # Beside each job's whole log GitHub packs a folder with the same text again, a file a step.
        jobs = {re.sub(r"^-?\d+_|\.txt$", "", info.filename) for info in names if "/" not in info.filename}
        wanted = [info for info in names if info.filename.partition("/")[0] not in jobs or "/" not in info.filename]
        texts, left = [], MAX_LOG
        for info in wanted:
            with archive.open(info) as file:
                raw = file.read(left + 1)
            if len(raw) > left:
                unknown.append(f"The log of {where} is longer than {MAX_LOG} bytes; what follows was not read")
                texts.append((info.filename, raw[:left].decode(errors="replace")))
                break
            left -= len(raw)
            texts.append((info.filename, raw.decode(errors="replace")))
    return texts


def siblings(world: World, recognizer: Recognizer, run: dict[str, Any], unknown: list[str]) -> list[RunLeak]:
    """The latest other runs of the same workflow, read: a step that prints a secret prints it every time."""
    repository = str(run["repository"]["full_name"])
    try:
        answer = world.github.get(
            f"/repos/{repository}/actions/workflows/{run['workflow_id']}/runs", per_page=SIBLINGS + 1
        )
    except ProviderError as exc:
        unknown.append(f"Whether other runs of {run.get('path')} leaked it too is not known: {exc}")
        return []
    others = [each for each in answer["workflow_runs"] if each["id"] != run["id"]][:SIBLINGS]
    if (more := int(answer["total_count"]) - 1 - len(others)) > 0:
        unknown.append(f"{more} older runs of {run.get('path')} were not read; they may hold the secret too")
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return list(_read_each(pool, world, recognizer, others, unknown))


def _read_each(
    pool: ThreadPoolExecutor, world: World, recognizer: Recognizer, runs: list[dict[str, Any]], unknown: list[str]
) -> Iterable[RunLeak]:
    for run, future in [(run, pool.submit(read_run, world, recognizer, run)) for run in runs]:
        try:
            yield future.result()
        except ProviderError as exc:
            unknown.append(f"Run {run['id']} could not be read: {exc}")


def of_a_job(hit: Found) -> bool:
    """Whether GitHub Actions has minted it for a job: a GITHUB_TOKEN, what asks for id-tokens, or an id-token."""
    by_actions = hit.kind == "github-installation" and hit.account == ACTIONS_APP
    return by_actions or (hit.kind == "generic" and hit.provider == "github")

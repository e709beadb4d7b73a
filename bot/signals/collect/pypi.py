"""PyPI: a project's simple index as JSON (PEP 691, 700, 740), and the provenance of a file (its Integrity API).

Who uploaded is not told. A provenance names the publisher; a file without one was uploaded with a token, or by a
publisher that does not attest.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from bot.signals.facts import Fact, Origin, Version, utc
from bot.signals.provenance import pypi_bundle

_SDIST = re.compile(r"(.+)-([^-]+)\.(?:tar\.gz|zip|tar\.bz2)")
_RUN = re.compile(r"github\.com/[^/]+/[^/]+/actions/runs/(\d+)")


def is_simple(document: Any) -> bool:
    """Whether it is a project's simple index."""
    return isinstance(document, dict) and isinstance(document.get("files"), list) and "meta" in document


def version_of(filename: str) -> str:
    """The version that a file's name tells (binary distribution format; PEP 625), or ''."""
    if filename.endswith(".whl"):
        return filename.split("-")[1]
    match = _SDIST.fullmatch(filename)
    return match[2] if match else ""


def simple(document: Any, origin: Origin, _name: str) -> Iterator[Fact]:
    """Every version, published when its first file came. Provenance is there when each file has it."""
    found: dict[str, list[dict[str, Any]]] = {}
    for file in document["files"]:
        found.setdefault(version_of(str(file["filename"])), []).append(file)
    for name, files in found.items():
        if not name or not all("upload-time" in file for file in files):
            continue
        told = all("provenance" in file for file in files)
        proven = told and all(file["provenance"] for file in files)
        yield Version(
            at=min(_at(file) for file in files), origin=Origin("pypi", f"{origin.where} {name}"), registry="pypi",
            package=str(document["name"]), name=name, means="trusted" if proven else "",
            provenance="" if not told else "yes" if proven else "no",
            digests=tuple(sorted(str(d) for file in files for d in (file.get("hashes") or {}).values())),
            yanked=all(file.get("yanked") for file in files),
        )  # fmt: skip


def _at(file: dict[str, Any]) -> datetime:
    return utc(file["upload-time"])


def is_provenance(document: Any) -> bool:
    """Whether it is the answer of ``/integrity/PROJECT/VERSION/FILE/provenance``."""
    return isinstance(document, dict) and isinstance(document.get("attestation_bundles"), list)


def provenance(document: Any, origin: Origin, _name: str) -> Iterator[Fact]:
    """The publisher that the provenance names, with bundles whose signatures ``bot.signals.provenance`` verifies."""
    for bundle in document["attestation_bundles"]:
        publisher = bundle.get("publisher") or {}
        for row in bundle.get("attestations") or ():
            statement = json.loads(base64.b64decode(row["envelope"]["statement"]))
            file = str(statement["subject"][0]["name"])
            name = version_of(file)
            yield Version(
                at=utc("1970-01-01T00:00:00Z"), origin=Origin("pypi", origin.where), registry="pypi",
                package=re.sub(r"[-_.]+", "-", file.split(f"-{name}")[0]).lower(), name=name, provenance="yes",
                means="trusted", built_by=_repository(publisher),
                workflow=_path(str(publisher.get("workflow") or "")), bundle=pypi_bundle(row),
                attested=tuple(map(str, (statement["subject"][0].get("digest") or {}).values())),
            )  # fmt: skip


def _repository(publisher: dict[str, Any]) -> str:
    """OWNER/NAME at GitHub. A project of GitLab's has such a name too: of what host it is, the certificate says."""
    return str(publisher.get("repository") or "") if publisher.get("kind", "GitHub") == "GitHub" else ""


def _path(workflow: str) -> str:
    return f".github/workflows/{workflow}" if workflow and "/" not in workflow else workflow

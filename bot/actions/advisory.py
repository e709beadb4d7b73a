"""GitHub: a draft of a security advisory about versions that nobody released, and the same as an OSV record.

A draft is seen by the repository's administrators only; publishing it is theirs. The record goes into the evidence: it
is what a database of malicious packages takes (ossf.github.io/osv-schema).
Paths: docs.github.com/rest/security-advisories/repository-advisories.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from bot.action import Action
from bot.actions.github import repository_path
from bot.errors import Conflict, InputError
from bot.model import Before, Effect, Grade, Outcome, PackageVersion, Proof, material
from bot.world import World

EMBEDDED_MALICIOUS_CODE = "CWE-506"
NEWEST = 100  # as many as the list gives at once; it has no numbered pages
GONE = ("closed",)


@dataclass(frozen=True, slots=True)
class Registry:
    """How a registry is called by GitHub, by OSV and in package URLs, and how somebody finds out that they have it."""

    label: str
    github: str
    osv: str
    purl: str
    tell: str  # {name} and {version}


REGISTRIES = {
    "npm": Registry("npm", "npm", "npm", "npm", "`npm ls {name}` shows {version}, or package-lock.json names it"),
    "pypi": Registry(
        "PyPI", "pip", "PyPI", "pypi", "`pip show {name}` says {version}, or a lock file or image names it"
    ),
    "crates": Registry(
        "crates.io", "rust", "crates.io", "cargo", "`cargo tree -i {name}@{version}` finds it, or Cargo.lock names it"
    ),
    "rubygems": Registry(
        "RubyGems.org", "rubygems", "RubyGems", "gem",
        "`gem list -e {name}` shows {version}, or Gemfile.lock names it",
    ),
    # GitHub and OSV know no images; the package URL is what names one (package-url, type docker).
    "dockerhub": Registry(
        "Docker Hub", "other", "", "docker",
        "`docker images --digests {name}` shows a digest below, or a manifest or Dockerfile names {version}",
    ),
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class DraftIn:
    """Where the advisory belongs, and what it is about. ``digests``: "SHA-256  file name" of what was published."""

    repository: str
    registry: str  # npm, pypi, crates, rubygems or dockerhub
    versions: tuple[PackageVersion, ...]
    digests: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DraftBefore(Before):
    """What the draft would say. ``ghsa`` is the one that says it already, in whatever state but closed."""

    title: str = material(default="")
    text: str = material(default="")
    ghsa: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DraftOutcome(Outcome):
    """The advisory, for a person to read and to publish; '' when there was nothing to write of."""

    ghsa: str = ""
    url: str = ""


def _registry(given: DraftIn) -> Registry:
    found = REGISTRIES.get(given.registry)
    if found is None:
        raise InputError(f"{given.registry!r} is no registry here; there are: {', '.join(REGISTRIES)}")
    return found


def _by_package(given: DraftIn) -> dict[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    for each in given.versions:
        found[each.package].append(each.version)
    return dict(found)


def _title(given: DraftIn) -> str:
    named = ", ".join(f"{name} {', '.join(versions)}" for name, versions in _by_package(given).items())
    return f"Nobody of us released {named} on {_registry(given).label}"


def _mark(given: DraftIn) -> str:
    """What tells our draft again: the same versions of the same registry have the same mark."""
    said = json.dumps([given.registry, sorted((each.package, each.version) for each in given.versions)])
    return f"<!-- bulkhead {hashlib.sha256(said.encode()).hexdigest()[:16]} -->"


def _text(given: DraftIn) -> str:
    """What consumers need to know, in their words. Nothing of the incident stands in it."""
    registry = _registry(given)
    rows = [(name, version) for name, versions in _by_package(given).items() for version in versions]
    tells = [f"- {name} {version}: {registry.tell.format(name=name, version=version)}." for name, version in rows]
    digests = ["## What was published", "", *(f"    {each}" for each in given.digests), ""] if given.digests else []
    what = (
        "A publish token of ours was stolen, and somebody published with it what we did not release. Take what these "
        "versions could reach, where they were installed or built, to be known to others."
    )
    return "\n".join([
        what, "",
        "## Affected versions", "", *(f"- {name} {version}" for name, version in rows), "",
        "## How you can tell", "", *tells, "", *digests,
        "## What to do", "", "1. Go to any other version, and install from a fresh cache.",
        "2. Replace every credential that was within reach of an installation or a build with them.", "", _mark(given),
    ])  # fmt: skip


def _found(world: World, given: DraftIn) -> dict[str, Any] | None:
    """Our draft, or what has become of it; a closed one is none."""
    path = f"{repository_path(given.repository)}/security-advisories"
    rows = world.github.get(path, per_page=NEWEST, sort="created", direction="desc")
    mark = _mark(given)
    return next((row for row in rows if mark in (row["description"] or "") and row["state"] not in GONE), None)


def _look(world: World, given: DraftIn) -> DraftBefore:
    if not given.versions:
        return DraftBefore(needed=False, summary="There is no version to write of")
    title, there = _title(given), _found(world, given)
    said = f"{there['ghsa_id']} says so already ({there['state']})" if there else f"A draft for {given.repository}"
    return DraftBefore(
        needed=there is None, title=title, text=_text(given), ghsa=there["ghsa_id"] if there else "",
        summary=f"{said}: {title}",
    )  # fmt: skip


def _draft(world: World, given: DraftIn, before: DraftBefore) -> DraftOutcome:
    """Make the draft, or find it again; the OSV record is saved either way, where OSV knows the registry."""
    if not given.versions:
        return DraftOutcome(changed=False, summary=before.summary)
    there = _found(world, given)
    made = there is None
    if there is None:
        ecosystem = _registry(given).github
        body = {
            "summary": before.title, "description": before.text, "severity": "critical",
            "cwe_ids": [EMBEDDED_MALICIOUS_CODE],
            "vulnerabilities": [
                {"package": {"ecosystem": ecosystem, "name": each.package},
                 "vulnerable_version_range": f"= {each.version}"}
                for each in given.versions
            ],
        }  # fmt: skip
        there = world.github.send("POST", f"{repository_path(given.repository)}/security-advisories", body).data
    ghsa = str(there["ghsa_id"])
    if _registry(given).osv:
        record = json.dumps(osv(given, there), indent=1, sort_keys=True)
        world.evidence.save(f"advisories/{ghsa}.osv.json", record.encode())
    verb = "Made the draft" if made else "There is"
    return DraftOutcome(changed=made, ghsa=ghsa, url=str(there["html_url"]), summary=f"{verb} {ghsa}: {before.title}")


def osv(given: DraftIn, advisory: dict[str, Any]) -> dict[str, Any]:
    """The OSV record of an advisory (schema 1.7). Its time is GitHub's, so that it is the same each time."""
    registry = _registry(given)
    return {
        "schema_version": "1.7.0", "id": advisory["ghsa_id"], "modified": advisory["created_at"],
        "summary": advisory["summary"], "details": advisory["description"],
        "affected": [
            {
                "package": {
                    "ecosystem": registry.osv, "name": name, "purl": f"pkg:{registry.purl}/{quote(name, safe='/')}",
                },
                "versions": versions, "database_specific": {"digests": list(given.digests)},
            }
            for name, versions in _by_package(given).items()
        ],
        "references": [{"type": "ADVISORY", "url": advisory["html_url"]}],
        "database_specific": {"cwe_ids": [EMBEDDED_MALICIOUS_CODE], "severity": "CRITICAL"},
    }  # fmt: skip


def _prove(world: World, given: DraftIn, _before: DraftBefore, _outcome: DraftOutcome) -> Proof:
    if not given.versions:
        return Proof.proven(Grade.STATE, "there is no version to write of")
    there = _found(world, given)
    if there is None:
        return Proof.refuted(f"{given.repository} has no such advisory")
    named = {(row["package"]["name"], row["vulnerable_version_range"]) for row in there["vulnerabilities"]}
    if missing := [str(each) for each in given.versions if (each.package, f"= {each.version}") not in named]:
        return Proof.refuted(f"{there['ghsa_id']} does not name {', '.join(missing)}")
    return Proof.proven(Grade.STATE, f"GitHub has {there['ghsa_id']} ({there['state']}), with every version in it")


def _undo(world: World, given: DraftIn, before: DraftBefore, outcome: DraftOutcome) -> Outcome:
    """Close the draft. What has been published, or written into, is people's."""
    there = _found(world, given)
    if there is None or there["ghsa_id"] == before.ghsa:
        return Outcome(changed=False, summary="There is no draft of ours")
    now = {"state": there["state"], "description": there["description"]}
    if now != {"state": "draft", "description": before.text}:
        raise Conflict(f"{outcome.ghsa} has been worked on since", {"state": ("draft", there["state"])})
    path = f"{repository_path(given.repository)}/security-advisories/{there['ghsa_id']}"
    world.github.send("PATCH", path, {"state": "closed"})
    return Outcome(changed=True, summary=f"Closed {outcome.ghsa}")


draft_advisory = Action(
    name="github.draft_advisory", title="Write a draft of a security advisory", inputs=DraftIn, before=DraftBefore,
    outcome=DraftOutcome, effect=Effect.CHANGE, look=_look, run=_draft, prove=_prove, undo=_undo,
    permissions=("repository_advisories:write",),
)  # fmt: skip

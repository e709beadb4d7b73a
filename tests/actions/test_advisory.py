"""The draft of an advisory: what it says, that it is made once, and the record for databases of malicious packages."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from githubkit_schemas.latest.models import RepositoryAdvisory

from bot.actions import advisory
from bot.actions.advisory import REGISTRIES, DraftIn
from bot.errors import Conflict, Forbidden, InputError, Rejected
from bot.model import PackageVersion, Verdict
from bot.range.company import FERRY
from tests.actions.conftest import Drill, proof
from tests.actions.token_arrangements import as_app

NAME, PATH = "github.draft_advisory", f"/repos/{FERRY}/security-advisories"
TIDES = PackageVersion(package="harbor-tides", version="2.4.1")
GIVEN = DraftIn(repository=FERRY, registry="pypi", versions=(TIDES,), digests=("0" * 64 + "  harbor_tides.whl",))


def test_githubs_own_model_reads_what_the_range_answers(drill: Drill) -> None:
    _, outcome = drill.do(NAME, GIVEN)
    read = RepositoryAdvisory.model_validate(drill.world.github.get(f"{PATH}/{outcome.ghsa}"))
    assert (read.state, read.severity, read.cwe_ids) == ("draft", "critical", ["CWE-506"])
    assert [(row.package.ecosystem, row.vulnerable_version_range) for row in read.vulnerabilities or ()] == [
        ("pip", "= 2.4.1")
    ]


@pytest.mark.parametrize("registry", list(REGISTRIES))
def test_it_says_which_versions_and_how_consumers_can_tell(registry: str) -> None:
    given = replace(GIVEN, registry=registry, versions=(TIDES, replace(TIDES, version="2.4.2")))
    text = advisory._text(given)
    assert text.count("harbor-tides") >= 4
    assert ("2.4.2" in text, "0" * 64 in text) == (True, True)
    assert REGISTRIES[registry].tell.split("`")[1].split(" ")[0] in text


def test_the_record_names_versions_and_not_a_range(drill: Drill) -> None:
    bad = PackageVersion(package="@harbor/ferry", version="1.4.3")
    scoped = DraftIn(repository=FERRY, registry="npm", versions=(bad,))
    _, outcome = drill.do(NAME, scoped)
    (row,) = [row for row in drill.store.evidence("incident-" + str(drill._incidents)) if "osv" in row["name"]]
    assert row["name"] == f"advisories/{outcome.ghsa}.osv.json"
    record = json.loads(drill.room.read(row["sha256"]))
    assert {"id", "modified", "schema_version", "affected", "summary", "details"} <= record.keys()
    (affected,) = record["affected"]
    assert affected["package"] == {"ecosystem": "npm", "name": "@harbor/ferry", "purl": "pkg:npm/%40harbor/ferry"}
    assert (affected["versions"], "ranges" in affected) == (["1.4.3"], False)


def test_the_same_versions_have_one_draft_and_a_closed_one_is_none(drill: Drill) -> None:
    before, outcome = drill.do(NAME, GIVEN)
    again, same = drill.do(NAME, replace(GIVEN, digests=()))
    assert (again.needed, same.ghsa, same.changed) == (False, outcome.ghsa, False)
    undo = drill.action(NAME).undo
    assert undo is not None
    assert undo(drill.world, GIVEN, before, outcome).changed
    assert proof(drill, NAME, GIVEN, before, outcome).verdict == Verdict.REFUTED
    assert drill.do(NAME, GIVEN)[1].ghsa != outcome.ghsa


def test_what_people_have_written_into_is_not_closed(drill: Drill) -> None:
    before, outcome = drill.do(NAME, GIVEN)
    text = before.text.replace("## What to do", "Written by mara.\n\n## What to do")
    drill.world.github.send("PATCH", f"{PATH}/{outcome.ghsa}", {"description": text})
    assert proof(drill, NAME, GIVEN, before, outcome).verdict == Verdict.PROVEN
    undo = drill.action(NAME).undo
    assert undo is not None
    with pytest.raises(Conflict, match="worked on since"):
        undo(drill.world, GIVEN, before, outcome)


def test_without_a_version_there_is_nothing_to_write(drill: Drill) -> None:
    nothing = replace(GIVEN, versions=())
    before, outcome = drill.do(NAME, nothing)
    assert (before.needed, outcome.changed, outcome.ghsa) == (False, False, "")
    assert proof(drill, NAME, nothing, before, outcome).verdict == Verdict.PROVEN
    with pytest.raises(InputError, match="no registry here; there are: npm, pypi"):
        drill.do(NAME, replace(GIVEN, registry="cpan"))


def test_the_permission_that_is_named_is_the_one_it_takes(drill: Drill) -> None:
    drill.world = replace(drill.world, github=as_app(drill, repository_advisories="read"))
    with pytest.raises(Forbidden, match="repository_advisories=write"):
        drill.do(NAME, GIVEN)
    drill.world = replace(drill.world, github=as_app(drill, repository_advisories="write"))
    assert drill.do(NAME, GIVEN)[1].changed


@pytest.mark.parametrize("body", [
    {}, {"summary": "x", "description": "y"}, {"summary": "x", "description": "y", "vulnerabilities": [{}]},
    {"summary": "x", "description": "y", "vulnerabilities": [], "severity": "dire"},
    {"summary": "x" * 1025, "description": "y", "vulnerabilities": []},
])  # fmt: skip
def test_the_range_refuses_what_github_refuses(drill: Drill, body: dict[str, Any]) -> None:
    with pytest.raises(Rejected, match="422"):
        drill.world.github.send("POST", PATH, body)
    _, outcome = drill.do(NAME, GIVEN)
    with pytest.raises(Rejected, match="422"):
        drill.world.github.send("PATCH", f"{PATH}/{outcome.ghsa}", {"state": "triage"})

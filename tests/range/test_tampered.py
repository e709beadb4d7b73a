"""An action of the range that was tampered with: what it may do, and what triage makes of the runs that had it."""

from __future__ import annotations

import json
from datetime import timedelta
from random import Random

import pytest

from bot.range.tampered import RANGE_ACTION
from bot.triage.campaign import Hunt, Swept, sweep
from bot.triage.identify import Recognizer
from bot.triage.rules import RULES
from tests.conftest import FERRY, ORG, Ferry

TOOL, FLOW = "tide-actions/tool", ".github/workflows/flow.yml"
CRATES = RULES["crates-token"].examples(Random(3))[0]
RUBY = RULES["rubygems-key"].examples(Random(4))[0]


def tool(ferry: Ferry, *acts: dict[str, str]) -> str:
    """The action at v1, and a workflow that gives it two secrets; returns the commit."""
    ferry.state.add_org("tide-actions")
    ferry.state.add_repo(TOOL)
    sha = ferry.commit({"action.yml": "name: tool\n", RANGE_ACTION: json.dumps(acts)}, repository=TOOL)
    ferry.state.repos[TOOL].git.refs["refs/tags/v1"] = sha
    ferry.state.set_secret(FERRY, "CARGO_REGISTRY_TOKEN", CRATES)
    ferry.state.set_secret(FERRY, "OTHER", "made-up-value")
    return sha


def flow(ferry: Ferry, ref: str = "v1", names: tuple[str, ...] = ("CARGO_REGISTRY_TOKEN", "OTHER")) -> str:
    """A run of a workflow that uses it; its log."""
    env = ", ".join(f"{name}: '${{{{ secrets.{name} }}}}'" for name in names)
    job = f"runs-on: x\n    env: {{{env}}}\n    steps:\n      - uses: {TOOL}@{ref}\n"
    text = f"on: workflow_dispatch\njobs:\n  a:\n    {job}"
    ferry.commit({FLOW: text})
    run = ferry.state.runs[ferry.run(FLOW)]
    return "\n".join(line for job in run.jobs for _, line in job.log)


def swept(ferry: Ferry, sha: str) -> Swept:
    now = ferry.clock.now()
    asked = Hunt(
        what="action", name=TOOL, ref=sha, since=now - timedelta(hours=1), until=now + timedelta(hours=1), homes=(ORG,)
    )
    return sweep(ferry.world, Recognizer(ferry.fingerprinter), asked)


def test_what_it_prints_passes_the_mask_and_is_one_row_with_its_name(ferry: Ferry) -> None:
    sha = tool(ferry, {"do": "print-secrets"})
    log = flow(ferry)
    assert CRATES not in log
    found = swept(ferry, sha)
    assert {(hit.kind, hit.encoding) for hit in found.found} == {("crates-token", "base64x2")}, "no token of its job"
    rows = {each.name: each for each in found.reach if each.scope == "repository"}
    named = rows[f"{FERRY}/CARGO_REGISTRY_TOKEN"]
    assert (named.kind, named.credential and named.credential.key) == ("crates-token", found.found[0].key)
    assert named.url.endswith(f"/actions/runs/{found.uses[0].run.run_id}")
    assert (rows[f"{FERRY}/OTHER"].kind, rows[f"{FERRY}/OTHER"].credential) == ("secret", None), (
        "known by its name only"
    )
    assert any("have ended with their runs" in each for each in found.unknown)


def test_two_values_of_a_kind_are_not_told_apart_by_a_name(ferry: Ferry) -> None:
    sha = tool(ferry, {"do": "print-secrets"})
    ferry.state.set_secret(FERRY, "GEM_HOST_API_KEY", RUBY)
    ferry.state.set_secret(FERRY, "GEMS_OLD", RULES["rubygems-key"].examples(Random(5))[0])
    flow(ferry, names=("GEM_HOST_API_KEY", "GEMS_OLD"))
    found = swept(ferry, sha)
    assert len({hit.key for hit in found.found}) == 2
    assert {each.kind for each in found.reach if each.scope == "repository"} == {"secret"}


def test_what_the_range_does_not_know_is_not_done(ferry: Ferry) -> None:
    tool(ferry)
    assert "##[error]" not in flow(ferry)
    assert "unable to find version `v9`" in flow(ferry, "v9")
    for act in ({"do": "run", "what": "rm"}, {"do": "post-secrets", "to": "https://203.0.113.9/collect"}):
        ferry.commit({RANGE_ACTION: json.dumps([act])}, repository=TOOL)
        git = ferry.state.repos[TOOL].git
        git.refs["refs/tags/v1"] = git.refs["refs/heads/main"]
        with pytest.raises(ValueError, match="does not interpret"):
            flow(ferry)

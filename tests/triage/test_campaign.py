"""Which runs used a poisoned action or package: by what their logs fetched, by files at their commit, by locks."""

from __future__ import annotations

from datetime import UTC, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.errors import InputError, RateLimited
from bot.model import Credential, Exposure
from bot.triage.campaign import Hunt, Swept, sweep
from bot.triage.identify import Recognizer
from tests.conftest import FERRY, ORG, Ferry

BAD, GOOD = "b" * 40, "c" * 40
ACTION = "actions/cache"  # one that the range's runner knows and that does nothing
FLOW = ".github/workflows/flow.yml"


def workflow(ref: str, *, name: str = ACTION, run: str = "echo hello") -> dict[str, str]:
    env = "env:\n      TOKEN: ${{ secrets.DEPLOY_TOKEN }}"
    return {FLOW: f"name: Flow\non: workflow_dispatch\njobs:\n  one:\n    runs-on: ubuntu-latest\n    {env}\n"
                  f"    steps:\n      - uses: {name}@{ref}\n      - run: {run}\n"}  # fmt: skip


def hunt(ferry: Ferry, ref: str = BAD, *, what: str = "action", name: str = ACTION, homes: tuple[str, ...] = (ORG,),
         before: float = 3600, after: float = 3600) -> Hunt:  # fmt: skip
    now = ferry.clock.now()
    return Hunt(what=what, name=name, ref=ref, since=now - timedelta(seconds=before),
                until=now + timedelta(seconds=after), homes=homes)  # fmt: skip


def swept(ferry: Ferry, asked: Hunt) -> Swept:
    return sweep(ferry.world, Recognizer(ferry.fingerprinter), asked)


def repository(ferry: Ferry, name: str, files: dict[str, str], *, private: bool = False) -> str:
    full = f"{ORG}/{name}"
    ferry.state.add_repo(full, private=private)
    ferry.commit(files, repository=full)
    return full


@pytest.mark.parametrize("ref", [BAD, "v4"])
def test_the_log_says_which_commit_was_fetched(ferry: Ferry, ref: str) -> None:
    ferry.state.set_secret(FERRY, "DEPLOY_TOKEN", "made-up-value")
    ferry.commit(workflow(ref))
    used = ferry.run(FLOW)
    ferry.commit(workflow(GOOD))
    ferry.run(FLOW)
    found = swept(ferry, hunt(ferry, ref))
    assert [(use.run.run_id, use.sure, use.public) for use in found.uses] == [(used, True, True)]
    assert f"{ACTION}@{ref}" in found.uses[0].how
    assert {each.name for each in found.reach if each.kind == "secret"} == {f"{FERRY}/DEPLOY_TOKEN"}
    assert found.runs == 2
    assert found.exposure is Exposure.PUBLIC


def test_a_tag_that_has_moved_is_told_by_the_commit_of_its_log(ferry: Ferry) -> None:
    tool = repository(ferry, "tool", {"action.yml": "name: tool\n"})
    first = ferry.state.repos[tool].git.resolve("main").sha
    ferry.state.repos[tool].git.refs["refs/tags/v1"] = first
    ferry.commit(workflow("v1", name=tool))
    ferry.run(FLOW)
    moved = ferry.commit({"action.yml": "name: other\n"}, repository=tool)
    ferry.state.repos[tool].git.refs["refs/tags/v1"] = moved
    used = ferry.run(FLOW)
    found = swept(ferry, hunt(ferry, moved, name=tool, homes=(FERRY,)))
    assert [use.run.run_id for use in found.uses] == [used], "the same tag, and only the run that fetched the bad one"


@pytest.mark.parametrize(("ref", "asked", "count", "sure"), [("v4", "v4", 1, True), ("v4", BAD, 1, False),
                                                             (BAD, BAD, 1, True), (GOOD, BAD, 0, True)])  # fmt: skip
def test_without_a_log_the_file_at_the_commit_is_what_is_left(
    ferry: Ferry, ref: str, asked: str, count: int, sure: bool
) -> None:
    ferry.commit(workflow(ref))
    used = ferry.run(FLOW)
    ferry.client("mara").send("DELETE", f"/repos/{FERRY}/actions/runs/{used}/logs")
    ferry.commit(workflow("v5"))
    found = swept(ferry, hunt(ferry, asked))
    assert [use.sure for use in found.uses] == [sure] * count


def test_only_the_window_and_only_where_it_was_said(ferry: Ferry) -> None:
    other = repository(ferry, "tide", workflow(BAD), private=True)
    ferry.commit(workflow(BAD))
    ferry.run(FLOW)
    ferry.pass_time(3 * 86400)
    late = ferry.run(FLOW)
    elsewhere = ferry.run(FLOW, repository=other)
    assert {use.run.run_id for use in swept(ferry, hunt(ferry)).uses} == {late, elsewhere}
    assert [use.run.run_id for use in swept(ferry, hunt(ferry, homes=(other,))).uses] == [elsewhere]
    assert swept(ferry, hunt(ferry, homes=(other,))).exposure is Exposure.UNKNOWN, "its logs are not public"
    assert len(swept(ferry, hunt(ferry, before=4 * 86400)).uses) == 3


LOCKS = {
    "package-lock.json": '{"packages": {"node_modules/@tide/wave": {\n  "version": "1.3.1"\n}}}',
    "web/yarn.lock": '"@tide/wave@^1.3.0":\n  version "1.3.1"\n',
    "pnpm-lock.yaml": "packages:\n  '@tide/wave@1.3.1':\n    resolution: {}\n",
}
PYTHON = {
    "requirements.txt": "tide-wave==1.3.1\n", "uv.lock": '[[package]]\nname = "tide-wave"\nversion = "1.3.1"\n',
    "poetry.lock": '[[package]]\nname = "tide-wave"\nversion = "1.3.1"\n',
    "Pipfile.lock": '{"default": {"tide-wave": {"hashes": [], "version": "==1.3.1"}}}',
    "Cargo.lock": '[[package]]\nname = "tide-wave"\nversion = "1.3.1"\n',
    "Gemfile.lock": "GEM\n  specs:\n    tide-wave (1.3.1)\n",
}  # fmt: skip


@pytest.mark.parametrize(("path", "text"), [*LOCKS.items(), *PYTHON.items()])
def test_a_package_stands_in_the_lock_files_of_the_commit(ferry: Ferry, path: str, text: str) -> None:
    name = "@tide/wave" if path in LOCKS else "tide-wave"
    ferry.commit({**workflow("v4"), path: text})
    used = ferry.run(FLOW)
    ferry.commit({path: text.replace("1.3.1", "1.3.10")})
    ferry.run(FLOW)
    found = swept(ferry, hunt(ferry, "1.3.1", what="package", name=name))
    assert [(use.run.run_id, use.how) for use in found.uses] == [(used, f"{path} at its commit locks {name} 1.3.1")]
    assert swept(ferry, hunt(ferry, "1.3", what="package", name=name)).uses == []


def test_an_installers_log_names_the_version(ferry: Ferry) -> None:
    said = "echo Successfully installed tide-wave-1.3.1 other-2.0"
    ferry.commit(workflow("v4", name="actions/setup-python", run=said))
    ferry.run(FLOW)
    assert len(swept(ferry, hunt(ferry, "1.3.1", what="package", name="tide-wave")).uses) == 1
    for name, version in (("wave", "1.3.1"), ("tide-wave", "1.3"), ("tide-wave", "1.3.10")):
        assert swept(ferry, hunt(ferry, version, what="package", name=name)).uses == []


def test_what_cannot_be_asked_now_is_tried_again_and_what_may_not_be_read_is_said(ferry: Ferry) -> None:
    ferry.commit(workflow(BAD))
    ferry.run(FLOW)
    rule: dict[str, Any] = {"server": "github", "route": f"/repos/{FERRY}/actions/runs", "times": 1}
    ferry.switchboard.add([rule | {"status": 429, "headers": {"retry-after": "7"}}])
    with pytest.raises(RateLimited):
        swept(ferry, hunt(ferry))
    ferry.switchboard.add([rule | {"status": 403}])
    found = swept(ferry, hunt(ferry))
    assert found.uses == []
    assert "could not be listed" in found.unknown[0]


NAMES = st.from_regex(r"[A-Za-z0-9._-]{1,20}/[A-Za-z0-9._-]{1,20}", fullmatch=True)


@settings(max_examples=60, deadline=None)
@given(
    name=NAMES, ref=st.from_regex(r"[A-Za-z0-9._/+-]{1,40}", fullmatch=True), start=st.datetimes(),
    homes=st.lists(st.from_regex(r"[A-Za-z0-9][A-Za-z0-9-]{0,9}(/[A-Za-z0-9._-]{1,9})?", fullmatch=True), min_size=1),
)  # fmt: skip
def test_a_campaigns_name_says_all_of_it(name: str, ref: str, start: Any, homes: list[str]) -> None:
    if not 1000 < start.year < 9999:
        return
    since = start.replace(tzinfo=UTC, second=0, microsecond=0)
    made = Hunt(what="action", name=name, ref=ref, since=since, until=since + timedelta(hours=1),
                homes=tuple(sorted(homes)))  # fmt: skip
    assert Hunt.of(made.credential) == made


DAY = "2026-01-01T00:00Z..2026-01-02T00:00Z"


@pytest.mark.parametrize(
    "text", ["", "x", "action:a/b@1;now..then;x", f"action:a@1;{DAY};x", f"other:a/b@1;{DAY};x", f"action:a/b@1;{DAY};"]
)
def test_what_is_no_campaign_is_refused(text: str) -> None:
    with pytest.raises(InputError):
        Hunt.of(Credential(provider="github", kind="campaign", id=text))

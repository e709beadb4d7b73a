"""Five incidents that happened, replayed as facts: what a responder would have needed, and what no signal shows.

Times and numbers are those of the public reports (the maintainers' post-mortems, PyPI's and the vendors' posts); what
these do not tell is made up.
"""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta

from bot.signals import build_logs, release_path, run
from bot.signals.baseline import Baseline
from bot.signals.facts import AnyFact, Origin, Push, Run, Tag, Text, Version
from bot.signals.findings import Finding, Sure
from bot.signals.given import Given

O = Origin("story", "public reports")
NOW = datetime(2026, 11, 26, tzinfo=UTC)


def judge(facts: list[AnyFact], texts: list[Text] | None = None) -> list[Finding]:
    return list(run(facts, [], texts or [], Baseline(), Given(now=NOW)))


def whats(found: list[Finding]) -> set[str]:
    return {one.what for one in found if one.sure.rank >= Sure.LIKELY.rank}


def version(registry: str, package: str, name: str, at: datetime, means: str, provenance: str, **more: str) -> Version:
    return Version(at=at, origin=O, registry=registry, package=package, name=name, means=means, provenance=provenance,
                   **more)  # type: ignore[arg-type]  # fmt: skip


def tag(repository: str, name: str, at: datetime, sha: str = "a" * 40) -> Tag:
    return Tag(at=at, origin=O, repository=repository, name=name, sha=sha)


def moved(repository: str, name: str, at: datetime, after: str, actor: str) -> Push:
    return Push(at=at, origin=O, repository=repository, ref=f"refs/tags/{name}", before="a" * 40, after=after,
                kind="force_push", actor=actor)  # fmt: skip


def test_tj_actions_every_tag_moved_to_one_commit_and_secrets_in_public_logs_twice_encoded() -> None:
    """CVE-2025-30066, 14 March 2025: the tags of tj-actions/changed-files, by its bot's stolen token."""
    repository, bad = "tj-actions/changed-files", "0e58ed8671d6b60d0890c21b07f8835ace038e67"
    at = datetime(2025, 3, 14, 16, 57, tzinfo=UTC)
    names = ["v1", "v35", "v44.5.1", "v45", "v45.0.7"]
    facts: list[AnyFact] = [tag(repository, name, at - timedelta(days=90)) for name in names]
    facts += [moved(repository, name, at, bad, "tj-actions-bot") for name in names]
    dump = f'"GITHUB_PAT":{{"value":"ghp_{"a1B2" * 9}","isSecret":true}}'
    twice = base64.b64encode(base64.b64encode(dump.encode())).decode()
    log = Text(origin=Origin("run-log", "a victim's run"), repository="victim/app", run=1, name="0_build.txt", at=at,
               pieces=lambda: iter([(1, f"2025-03-14T18:00:00.0000000Z {twice}\n")]))  # fmt: skip
    found = judge(facts, [log])
    tags = [one for one in found if one.what == "tag-moved"]
    assert len(tags) == len(names)
    assert {one.sure for one in tags} == {Sure.CERTAIN}
    assert any("no branch" in text for one in tags for text in one.ruled_out)
    assert "printed" in whats(found)


def test_ultralytics_the_second_wave_came_by_a_token_that_was_left_over() -> None:
    """December 2024: 8.3.45 and 8.3.46 went up with a token from before trusted publishing."""
    at, repository = datetime(2024, 12, 7, 1, 41, tzinfo=UTC), "ultralytics/ultralytics"
    good = [f"8.3.{k}" for k in range(33, 41)]
    facts: list[AnyFact] = []
    for k, name in enumerate(good):
        facts += [version("pypi", "ultralytics", name, at - timedelta(days=40 - 4 * k), "trusted", "yes"),
                  tag(repository, f"v{name}", at - timedelta(days=40 - 4 * k))]  # fmt: skip
    bad = [version("pypi", "ultralytics", f"8.3.{n}", at + timedelta(minutes=15 * k), "", "no")
           for k, n in enumerate((45, 46))]  # fmt: skip
    found = judge([*facts, *bad])
    assert {"provenance-lost", "unexplained"} <= whats(found)
    assert {v[2] for one in found for v in one.versions} == {"8.3.45", "8.3.46"}


def test_ultralytics_the_first_wave_is_not_seen_by_its_provenance() -> None:
    """8.3.41 was built by the real workflow from a poisoned cache: its provenance holds, and it has a tag."""
    at, repository = datetime(2024, 12, 4, 20, 51, tzinfo=UTC), "ultralytics/ultralytics"
    facts: list[AnyFact] = []
    for k in range(33, 42):
        facts += [version("pypi", "ultralytics", f"8.3.{k}", at - timedelta(days=4 * (41 - k)), "trusted", "yes"),
                  tag(repository, f"v8.3.{k}", at - timedelta(days=4 * (41 - k)))]  # fmt: skip
    assert judge(facts) == []


def test_axios_two_versions_by_a_persons_token_with_no_provenance_and_no_tag() -> None:
    """31 March 2026: 1.14.1 and 0.30.4, published from a hijacked maintainer's account."""
    at, repository = datetime(2026, 3, 31, 0, 21, tzinfo=UTC), "axios/axios"
    facts: list[AnyFact] = []
    for k, name in enumerate(("1.12.0", "1.12.1", "1.12.2", "1.13.0", "1.13.1", "1.13.2", "1.14.0")):
        when = at - timedelta(days=70 - 10 * k)
        facts += [version("npm", "axios", name, when, "trusted", "yes", built_by=repository),
                  tag(repository, f"v{name}", when)]  # fmt: skip
    for k, name in enumerate(("1.14.1", "0.30.4")):
        when = at + timedelta(minutes=39 * k)
        facts.append(version("npm", "axios", name, when, "token", "no", uploader="maintainer"))
    found = judge(facts)
    assert {"token-upload", "provenance-lost", "unexplained"} <= whats(found)
    assert {v[2] for one in found for v in one.versions if one.sure is Sure.CERTAIN} == {"1.14.1", "0.30.4"}


def tanstack() -> list[AnyFact]:
    """11 May 2026: 84 versions of 42 packages in six minutes, by the identity of a release job whose tests failed."""
    at, repository = datetime(2026, 5, 11, 19, 20, tzinfo=UTC), "TanStack/router"
    workflow = ".github/workflows/release.yml"
    facts: list[AnyFact] = []
    more = {"built_by": repository, "workflow": workflow, "built_from": "refs/heads/main"}
    for p in range(42):
        package = f"@tanstack/part-{p}"
        for k in range(7):
            when = at - timedelta(days=49 - 7 * k)
            facts += [version("npm", package, f"1.{k}.0", when, "trusted", "yes", **more),
                      tag(repository, f"{package}@1.{k}.0", when)]  # fmt: skip
        for k in (1, 2):
            when = at + timedelta(seconds=4 * p + 180 * k - 180)
            facts.append(version("npm", package, f"1.6.{k}", when, "trusted", "yes", **more))
    facts.append(Run(
        at=at - timedelta(minutes=8), origin=O, repository=repository, id=25_613, attempt=1, workflow=workflow,
        event="push", branch="main", sha="b" * 40, head_repository=repository, actor="maintainer",
        triggering_actor="maintainer", status="completed", conclusion="failure", until=at + timedelta(minutes=7),
    ))  # fmt: skip
    return facts


def test_tanstack_versions_of_a_run_that_failed_although_provenance_holds() -> None:
    found = judge(tanstack())
    assert len({v for one in found for v in one.versions}) == 84
    assert "failed-run" in whats(found)
    assert not whats(found) & {"provenance-lost", "token-upload", "provenance-built-by"}, "these cannot see it"


def test_tanstack_without_its_runs_and_tags_shows_the_burst_alone() -> None:
    versions = [f for f in tanstack() if isinstance(f, Version)]
    found = list(release_path.judge(versions, Baseline(), Given(now=NOW)))
    assert {(one.what, one.sure) for one in found} == {("burst", Sure.POSSIBLE)}, "nobody can rule out a mended release"
    assert len(found) == 42, "the first of each two looks like a release"


def test_trivy_seventy_five_tags_moved_after_a_rotation_that_left_one_credential() -> None:
    """CVE-2026-33634, 19 March 2026: trivy-action's tags, and a release of trivy that looks like one."""
    at, repository = datetime(2026, 3, 19, 17, 43, tzinfo=UTC), "aquasecurity/trivy-action"
    names = [f"{v}0.{k}.0" for v in ("", "v") for k in range(1, 35)] + [f"v0.34.{k}" for k in range(1, 8)]
    facts: list[AnyFact] = [tag(repository, name, at - timedelta(days=100)) for name in names]
    facts += [moved(repository, name, at, f"{k + 1:040x}", "aqua-bot") for k, name in enumerate(names)]
    found = judge(facts)
    assert len([one for one in found if one.what == "tag-moved" and one.sure is Sure.CERTAIN]) == len(names) == 75


def test_trivy_a_release_with_a_tag_of_its_own_looks_like_any_other() -> None:
    """v0.69.4 had a tag, a run and the bot's name: this signal is silent on it, and the documents say so."""
    at, repository = datetime(2026, 3, 19, 18, 22, tzinfo=UTC), "aquasecurity/trivy"
    facts: list[AnyFact] = []
    for k in range(5):
        when = at - timedelta(days=20 - 5 * k)
        facts += [version("ghcr", "aquasecurity/trivy", f"0.69.{k}", when, "", ""), tag(repository, f"v0.69.{k}", when)]
    assert judge(facts) == []
    assert build_logs.SIGNAL not in {one.signal for one in judge(facts)}

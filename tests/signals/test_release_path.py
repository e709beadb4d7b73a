"""Signal 2: a package is held to its own history, and to nothing else."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from bot.signals import release_path
from bot.signals.baseline import Baseline, Entry
from bot.signals.facts import AnyFact, Push, Release, Run, Tag, Version
from bot.signals.findings import Finding, Sure
from bot.signals.given import Given
from tests.signals.histories import PACKAGE, RELEASE, REPO, START, O, run, version

GIVEN = Given(now=datetime(2026, 12, 1, tzinfo=UTC))
LATER = START + timedelta(days=90)


def released(name: str, at: datetime, number: int = 0, **kw: str) -> list[AnyFact]:
    one = run(number, at - timedelta(minutes=4), RELEASE, branch=f"v{name}") if number else None
    tag = Tag(at=at, origin=O, repository=REPO, name=f"v{name}", sha=f"{number:040x}")
    return [tag, version(name, at, number=number, **kw), *([one] if one else [])]  # type: ignore[arg-type]


def history(**kw: str) -> list[AnyFact]:
    return [f for k in range(1, 8) for f in released(f"1.{k}.0", START + timedelta(days=9 * k), k, **kw)]


def judge(*facts: AnyFact, baseline: Baseline | None = None) -> list[Finding]:
    return list(release_path.judge(facts, baseline or Baseline(), GIVEN))


def whats(*facts: AnyFact) -> set[str]:
    return {f.what for f in judge(*facts) if f.sure.rank >= Sure.LIKELY.rank}


def test_a_package_that_came_its_way_is_silent() -> None:
    assert judge(*history()) == []


def test_a_version_that_nothing_explains_and_the_one_after_it() -> None:
    bad = [version("1.7.1", LATER), version("1.7.2", LATER + timedelta(days=1))]
    found = judge(*history(), *bad)
    assert [(f.what, f.sure, f.versions) for f in found] == [
        ("unexplained", Sure.CERTAIN, (("npm", PACKAGE, name),)) for name in ("1.7.1", "1.7.2")
    ]


@pytest.mark.parametrize("name", ["1.8.0", "v1.8.0", f"{PACKAGE}@1.8.0", "ferry@1.8.0", "ferry-v1.8.0"])
def test_manual_but_tagged_is_silent(name: str) -> None:
    tag = Tag(at=LATER, origin=O, repository=REPO, name=name, sha="f" * 40)
    assert judge(*history(), tag, version("1.8.0", LATER, ref="refs/tags/v1.8.0")) == []


def test_manual_with_a_release_alone_is_silent() -> None:
    release = Release(at=LATER, origin=O, repository=REPO, tag="v1.8.0", author="mara")
    assert judge(*history(), release, version("1.8.0", LATER)) == []


def test_published_by_a_run_that_failed() -> None:
    failed = run(77, LATER - timedelta(minutes=2), RELEASE, conclusion="failure")
    assert whats(*history(), failed, version("1.8.0", LATER, number=77, ref="refs/tags/v1")) >= {"failed-run"}


def test_provenance_lost_and_a_token_where_a_trusted_publisher_was() -> None:
    tag = Tag(at=LATER, origin=O, repository=REPO, name="v1.8.0", sha="f" * 40)
    odd = version("1.8.0", LATER, means="token", provenance="no", uploader="mara")
    found = judge(*history(), tag, odd)
    assert {(f.what, f.sure) for f in found} == {
        ("provenance-lost", Sure.CERTAIN), ("token-upload", Sure.CERTAIN), ("new-uploader", Sure.POSSIBLE),
    }  # fmt: skip


def test_silent_where_there_never_was_provenance() -> None:
    never = [f for k in range(1, 8) for f in released(f"1.{k}.0", START + timedelta(days=9 * k), 0, means="token",
                                                      provenance="no", uploader="mara")]  # fmt: skip
    more = released("1.8.0", LATER, 0, means="token", provenance="no", uploader="mara")
    assert judge(*never, *more) == []


def test_silent_where_the_registry_does_not_tell() -> None:
    gem = [Version(at=START + timedelta(days=k), origin=O, registry="rubygems", package="ferry", name=f"1.{k}.0")
           for k in range(12)]  # fmt: skip
    assert judge(*gem) == []


def test_a_package_without_tags_is_not_accused_of_having_none() -> None:
    tags = [Tag(at=START, origin=O, repository=REPO, name="v0.0.1", sha="a" * 40)]
    bare = [
        version(f"1.{k}.0", START + timedelta(days=k), provenance="no", means="token", uploader="m") for k in range(9)
    ]
    assert judge(*tags, *bare) == []


def test_provenance_of_another_repository_or_workflow() -> None:
    other = replace(version("1.8.0", LATER), built_by="stranger/ferry", workflow=".github/workflows/x.yml")
    tag = Tag(at=LATER, origin=O, repository=REPO, name="v1.8.0", sha="f" * 40)
    assert whats(*history(), tag, other) == {"provenance-built-by", "provenance-workflow"}


def test_two_versions_within_minutes_of_a_package_that_never_had_that() -> None:
    quick = [run(88, LATER, RELEASE, minutes=9), version("1.8.0", LATER, number=88),
             version("1.8.1", LATER + timedelta(minutes=2), number=88)]  # fmt: skip
    assert "burst" in whats(*history(), *quick)
    tagged = [*released("1.8.0", LATER), *released("1.8.1", LATER + timedelta(minutes=2))]
    assert whats(*history(), *tagged) == set(), "a quick fix with a tag of its own"


@pytest.mark.parametrize("name", ["0.9.5", "2.0.1", "1.7.0rc1", "1.7.0.post1"])
def test_another_line_of_releases_and_what_mends_one_is_no_burst(name: str) -> None:
    """As real packages of PyPI have it: 1.4.48 within minutes of 2.0.12, and 5.1 two seconds after 5.1b7."""
    last = [one for one in history() if isinstance(one, Version)][-1]
    quick = [run(88, last.at, RELEASE, minutes=9), version(name, last.at + timedelta(minutes=2), number=88)]
    assert "burst" not in whats(*history(), *quick)


def test_a_burst_where_no_tag_is_known_is_a_line_and_no_alarm() -> None:
    versions = [one for one in history() if isinstance(one, Version)]
    quick = [version("1.8.0", LATER), version("1.8.1", LATER + timedelta(minutes=2))]
    (found,) = judge(*versions, *quick)
    assert (found.what, found.sure) == ("burst", Sure.POSSIBLE)
    assert not any("no tag" in said for said in found.ruled_out), "nobody has looked for one"


def moved(tag: str, after: str = "e" * 40, **kw: object) -> Push:
    return Push(at=LATER, origin=O, repository=REPO, ref=f"refs/tags/{tag}", before="1" * 40, after=after,
                kind="force_push", actor="mara")  # fmt: skip


def test_a_full_versions_tag_that_moves_is_certain() -> None:
    (found,) = judge(*history(), moved("v1.3.0"))
    assert (found.what, found.sure) == ("tag-moved", Sure.CERTAIN)
    assert "by mara" in found.says


def test_v1_moves_to_its_newest_release_and_nowhere_else() -> None:
    good = f"{7:040x}"  # where the tag of 1.7.0 stands
    assert judge(*history(), moved("v1", good)) == []
    assert [f.what for f in judge(*history(), moved("v1"))] == ["tag-moved"]


def test_a_tag_that_stands_elsewhere_than_when_it_was_last_looked_at() -> None:
    baseline, tag = Baseline(), Tag(at=START, origin=O, repository=REPO, name="v1.0.0", sha="a" * 40)
    assert judge(tag, baseline=baseline) == []
    (found,) = judge(replace(tag, sha="b" * 40), baseline=baseline)
    assert (found.what, found.at) == ("tag-moved", GIVEN.now)


def test_what_somebody_has_declared_for_a_package_is_silent() -> None:
    baseline = Baseline()
    entry = Entry(signal="release-path", subject=f"npm:{PACKAGE}", feature="token-upload", value="1.8.*", first=START,
                  last=START, how="declared", by="alice", until=LATER + timedelta(days=2))  # fmt: skip
    baseline.put(entry)
    tag = Tag(at=LATER, origin=O, repository=REPO, name="v1.8.0", sha="f" * 40)
    odd = version("1.8.0", LATER, means="token", provenance="no", uploader="mara")
    assert "token-upload" not in {f.what for f in judge(*history(), tag, odd, baseline=baseline)}


def test_an_attestation_and_the_document_are_one_version() -> None:
    document = replace(version("1.8.0", LATER), built_by="", workflow="", built_from="")
    attestation = replace(version("1.8.0", datetime(1970, 1, 1, tzinfo=UTC)), means="", uploader="")
    (one,) = release_path.joined([attestation, document])
    assert (one.at, one.built_by, one.means) == (LATER, REPO, "trusted")
    assert isinstance(run(1, START, RELEASE), Run)


def test_a_strange_version_from_before_is_not_told_and_makes_no_history() -> None:
    since = LATER + timedelta(hours=1)
    before, after = version("1.7.1", LATER), version("1.7.2", LATER + timedelta(hours=2))
    beside = Given(now=GIVEN.now, learn_until=since)
    found = list(release_path.judge([*history(), before, after], Baseline(), beside))
    assert {v[2] for one in found for v in one.versions} == {"1.7.2"}

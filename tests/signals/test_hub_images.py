"""Docker Hub's tags and its organizations' log: what they tell of images, and what signal 2 finds in them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from bot.signals import collect, release_path
from bot.signals.baseline import Baseline
from bot.signals.facts import AnyFact, Origin, Tag, Version, of_kind
from bot.signals.findings import Sure
from bot.signals.given import Given

NAME, REPOSITORY, START = "harborlights/lighthouse", "harbor-lights/lighthouse", datetime(2026, 3, 1, tzinfo=UTC)


def digest(number: int) -> str:
    return f"sha256:{number:064}"


def row(tag: str, number: int, at: datetime) -> dict[str, Any]:
    return {"name": tag, "tag_last_pushed": at.isoformat(), "last_updater_username": "mara", "digest": digest(number)}


def push(tag: str, number: int, at: datetime, by: str = "mara") -> dict[str, Any]:
    return {"action": "repo.tag.push", "name": NAME, "actor": by, "timestamp": at.isoformat(),
            "data": {"tag": tag, "digest": digest(number)}}  # fmt: skip


def told(*documents: Any) -> list[AnyFact]:
    return [fact for one in documents for fact in collect.told(one, Origin("", "hub"), NAME)]


def history() -> tuple[list[dict[str, Any]], list[AnyFact]]:
    """Eight releases, each pushed by its number and as latest; and the tags of git."""
    days = [START + timedelta(days=7 * number) for number in range(8)]
    log = [push(tag, n, at) for n, at in enumerate(days) for tag in (f"1.{n}.0", "latest")]
    git: list[AnyFact] = [Tag(at=at, repository=REPOSITORY, name=f"v1.{n}.0", sha=f"{n:040}") for n, at in
                          enumerate(days)]  # fmt: skip
    return log, git


def whats(facts: list[AnyFact]) -> dict[str, Sure]:
    given = Given(now=START + timedelta(days=99), learn_until=START)
    return {one.what: one.sure for one in release_path.judge(facts, Baseline(), given)}


def test_an_image_is_called_by_its_number_and_dated_by_its_first_push() -> None:
    log, _ = history()
    rows = [row("1.7.0", 7, START + timedelta(days=49)), row("latest", 7, START + timedelta(days=49, seconds=9))]
    (tagged,) = of_kind(told({"count": 2, "results": rows}), Version)
    assert (tagged.name, tagged.uploader, tagged.digests) == ("1.7.0", "mara", (digest(7),))
    logged = {one.name: one for one in of_kind(told({"logs": log}), Version)}
    assert sorted(logged) == [f"1.{n}.0" for n in range(8)]
    assert logged["1.7.0"] == replace(tagged, origin=logged["1.7.0"].origin)
    assert told({"count": 0, "results": []}) == []
    bare = {**row("edge", 9, START), "digest": None, "images": [{"digest": digest(9)}]}
    (one,) = of_kind(told({"count": 1, "results": [bare]}), Version)
    assert one.digests == (digest(9),)


def test_releases_are_silent_and_an_image_that_nothing_explains_is_found() -> None:
    log, git = history()
    assert whats([*told({"logs": log}), *git]) == {}
    bad = [*log, push("latest", 66, START + timedelta(days=60))]
    assert whats([*told({"logs": bad}), *git]) == {"unexplained": Sure.CERTAIN}


def test_a_number_that_is_pushed_again_is_explained_by_no_tag_of_its_name() -> None:
    """The tags alone show a later push of 1.7.0, which git's v1.7.0 explains; the log shows that it was another."""
    log, git = history()
    later = START + timedelta(days=60)
    tags = {"count": 1, "results": [row("1.7.0", 66, later)]}
    assert whats([*told({"logs": log}), *told(tags), *git]) == {}
    assert "unexplained" in whats([*told({"logs": [*log, push("1.7.0", 66, later)]}), *told(tags), *git])

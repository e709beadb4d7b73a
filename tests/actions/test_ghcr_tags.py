"""Tags at ghcr.io: which version is the last good one, and what stands against moving a tag back."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from bot.actions import CATALOGUE
from bot.actions.github_package_find import FindHostedIn, FoundHosted, Good, last_good
from bot.errors import Forbidden, InputError, NotFound
from bot.images import Manifest
from bot.model import TagMove, Verdict
from bot.range.company import FERRY
from bot.range.images import MANIFEST, digest_of
from bot.registries import GhcrClient
from tests.actions.conftest import Drill
from tests.actions.ghcr_arrangements import LATEST, NUMBER, moved, push

MOVE, FIND = CATALOGUE["github.move_image_tag_back"], CATALOGUE["github.find_unexplained_packages"]
INDEX = "application/vnd.oci.image.index.v1+json"
OLD, NEW = Good("old", ("1.3.9", "1.3"), "2026-01-01"), Good("new", ("1.4.0", "v1.4"), "2026-02-01")
BARE, BUILD = Good("bare", (), "2026-02-02"), Good("build", ("main-7",), "2026-03-01")


@pytest.mark.parametrize(
    ("tag", "versions", "digest"),
    [
        ("latest", [OLD, NEW, BUILD], "new"),
        ("latest", [BARE], "bare"),
        ("1", [OLD, NEW, BARE], "new"),
        ("v1.3", [OLD, NEW], "old"),
        ("2", [OLD, NEW], ""),
        ("1.4.1", [OLD, NEW, BARE], "bare"),
        ("1.4.1", [OLD, NEW], ""),
        ("1.4.1", [BARE, replace(BARE, digest="other")], ""),
        ("main", [NEW, BUILD, BARE], "bare"),
        ("main", [NEW, BUILD], ""),
        ("main", [BUILD], "build"),
        ("latest", [], ""),
    ],
)
def test_the_last_good_version_is_told_by_its_tags_and_its_age(tag: str, versions: list[Good], digest: str) -> None:
    assert last_good(tag, versions) == digest


def test_a_tag_that_a_bad_image_took_is_found_with_the_image_it_led_to(drill: Drill) -> None:
    good = push(drill, "good", NUMBER, LATEST)
    drill.range.clock.advance(60)
    given = FindHostedIn(repository=FERRY, since=drill.range.clock.now().isoformat())
    drill.range.clock.advance(60)
    bad = push(drill, "bad", LATEST, "2.4.1")
    found = FIND.run(drill.world, given, FIND.look(drill.world, given))
    assert isinstance(found, FoundHosted)
    assert found.tags == (TagMove(package=FERRY, tag=LATEST, bad=bad, good=good),)
    assert [said for said in found.unknown if f"{FERRY}:2.4.1" in said], found.unknown


def test_an_app_reads_what_is_public_and_moves_nothing(drill: Drill) -> None:
    given = moved(drill)
    token = drill.range.github.state.add_token("bulkhead-bot", scopes=("read:packages",))
    reads = replace(drill.world, ghcr=GhcrClient(token=token, base_url=drill.range.registry_url))
    other = replace(drill.world, ghcr=GhcrClient(token="of an App", base_url=drill.range.registry_url))
    for world in (reads, other):
        before = MOVE.look(world, given)
        assert before.current == given.bad
        with pytest.raises(Forbidden) as caught:
            MOVE.run(world, given, before)
        assert "write:packages" in caught.value.permission
    with pytest.raises(InputError, match=r"no ghcr\.io"):
        MOVE.look(replace(drill.world, ghcr=None), given)


def test_where_the_good_image_is_gone_nothing_is_moved(drill: Drill) -> None:
    given = replace(moved(drill), good=f"sha256:{'0' * 64}")
    before = MOVE.look(drill.world, given)
    with pytest.raises(NotFound):
        MOVE.run(drill.world, given, before)
    assert MOVE.prove(drill.world, given, before, None).verdict == Verdict.REFUTED


def test_an_index_goes_back_byte_for_byte(drill: Drill) -> None:
    child = push(drill, "arm", "arm")
    assert drill.world.ghcr is not None
    text = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": [
        {"mediaType": MANIFEST, "digest": child, "size": 1}]}).encode()  # fmt: skip
    drill.world.ghcr.put(FERRY, LATEST, Manifest(digest=digest_of(text), media_type=INDEX, data=text))
    given = TagMove(package=FERRY, tag=LATEST, bad=push(drill, "bad", LATEST), good=digest_of(text))
    before = MOVE.look(drill.world, given)
    outcome = MOVE.run(drill.world, given, before)
    found = drill.world.ghcr.manifest(FERRY, LATEST)
    assert (found.data, found.media_type) == (text, INDEX)
    assert MOVE.undo is not None
    assert MOVE.undo(drill.world, given, before, outcome).changed
    assert drill.world.ghcr.digest(FERRY, LATEST) == given.bad

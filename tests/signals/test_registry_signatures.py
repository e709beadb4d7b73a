"""Registry signatures of npm: whatever is not as the registry took it in is found, and without keys nothing is said."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from bot.errors import InputError
from bot.range.npm_keys import Keys
from bot.signals import collect, release_path
from bot.signals.baseline import Baseline
from bot.signals.facts import Origin, RegistrySigned, Version
from bot.signals.findings import Finding, Sure
from bot.signals.given import Given
from bot.signals.registry_signatures import verified

NAME, START = "@harbor-lights/ferry", datetime(2026, 3, 1, tzinfo=UTC)
KEYS, OTHERS = Keys(), Keys()
WHO = {"name": "mara"}
Document = dict[str, Any]


def integrity(version: str) -> str:
    return "sha512-" + base64.b64encode(hashlib.sha512(version.encode()).digest()).decode()


def packument(count: int = 4, by: Keys = KEYS, name: str = NAME) -> Document:
    """A package whose versions came a day apart, each signed."""
    versions = [f"1.0.{number}" for number in range(count)]
    dists = {v: {"integrity": integrity(v), "signatures": [by.sign(name, v, integrity(v))]} for v in versions}
    return {
        "name": name, "versions": {v: {"dist": dist, "_npmUser": WHO} for v, dist in dists.items()},
        "time": {v: (START + timedelta(days=day)).isoformat() for day, v in enumerate(versions)},
    }  # fmt: skip


def told(document: Document, published: list[Document] | None) -> list[Version]:
    """The versions after verification; None: nobody has the keys."""
    facts = collect.told(document, Origin("", "packument"), NAME)
    if published is not None:
        facts += collect.told({"keys": published}, Origin("", "keys"), "npm")
    return release_path.joined(fact for fact in verified(facts) if isinstance(fact, Version))


def found(document: Document, published: list[Document] | None) -> list[Finding]:
    given = Given(now=START + timedelta(days=99), learn_until=START)
    return list(release_path.judge(told(document, published), Baseline(), given))


def last(document: Document) -> Document:
    dist: Document = list(document["versions"].values())[-1]["dist"]
    return dist


def test_what_the_registry_took_in_is_verified_and_found_by_nobody() -> None:
    assert {one.registry_signed for one in told(packument(), KEYS.published())} == {RegistrySigned.VERIFIED}
    assert found(packument(), KEYS.published()) == []


def test_without_keys_nothing_is_said_of_any_version_however_it_is_signed() -> None:
    bare = packument()
    del last(bare)["signatures"]
    for document in (packument(), packument(by=OTHERS), bare):
        for published in (None, []):
            assert {one.registry_signed for one in told(document, published)} == {RegistrySigned.UNCHECKED}
            assert found(document, published) == []


def of_another_version(dist: Document) -> None:
    dist["signatures"] = [KEYS.sign(NAME, "1.0.2", integrity("1.0.2"))]


def of_another_package(dist: Document) -> None:
    dist["signatures"] = [KEYS.sign("@harbor-lights/tides", "1.0.3", dist["integrity"])]


def other_content(dist: Document) -> None:
    dist["integrity"] = integrity("a backdoor")


def by_another_key_under_this_name(dist: Document) -> None:
    other = OTHERS.sign(NAME, "1.0.3", dist["integrity"])
    dist["signatures"] = [other | {"keyid": dist["signatures"][0]["keyid"]}]


def by_a_key_of_nobody(dist: Document) -> None:
    dist["signatures"] = [OTHERS.sign(NAME, "1.0.3", dist["integrity"])]


def a_second_one_of_nobody(dist: Document) -> None:
    dist["signatures"].append(OTHERS.sign(NAME, "1.0.3", dist["integrity"]))


def unsigned(dist: Document) -> None:
    del dist["signatures"]


def no_signature_at_all(dist: Document) -> None:
    dist["signatures"] = ["what is this"]


SPOILS: list[tuple[Callable[[Document], None], str, Sure]] = [
    (other_content, "forged", Sure.CERTAIN), (of_another_version, "forged", Sure.CERTAIN),
    (of_another_package, "forged", Sure.CERTAIN), (by_another_key_under_this_name, "forged", Sure.CERTAIN),
    (by_a_key_of_nobody, "unknown", Sure.LIKELY), (a_second_one_of_nobody, "unknown", Sure.LIKELY),
    (unsigned, "missing", Sure.LIKELY), (no_signature_at_all, "unknown", Sure.LIKELY),
]  # fmt: skip


@pytest.mark.parametrize(("spoil", "value", "sure"), SPOILS, ids=[spoil.__name__ for spoil, _, _ in SPOILS])
def test_whatever_was_done_to_one_version_is_found_of_that_one_alone(
    spoil: Callable[[Document], None], value: str, sure: Sure
) -> None:
    document = packument()
    spoil(last(document))
    (one,) = found(document, KEYS.published())
    assert (one.what, one.value, one.sure, one.subject) == ("registry-signature", value, sure, f"npm {NAME}@1.0.3")
    assert one.versions == (), "nobody is told to pull it"
    assert "registry signature" in one.says


def test_no_changed_byte_of_a_signature_verifies() -> None:
    document = packument(1)
    row = last(document)["signatures"][0]
    raw = base64.b64decode(row["sig"])
    for place in range(len(raw)):
        for bit in (0x01, 0x80):
            row["sig"] = base64.b64encode(raw[:place] + bytes([raw[place] ^ bit]) + raw[place + 1 :]).decode()
            assert told(document, KEYS.published())[0].registry_signed == RegistrySigned.FORGED, (place, bit)
    for cut in ("", row["sig"][:40], row["sig"] + "A"):
        row["sig"] = cut
        assert told(document, KEYS.published())[0].registry_signed == RegistrySigned.FORGED


def test_a_key_counts_until_its_end_by_the_time_of_publication() -> None:
    keys = Keys()
    document = packument(by=keys)
    keys.rotate(START + timedelta(days=2))
    states = [one.registry_signed for one in told(document, keys.published())]
    good, bad = RegistrySigned.VERIFIED, RegistrySigned.EXPIRED
    assert states == [good, good, bad, bad], "at its end it has ended, and what is older stands"
    assert {(one.value, one.sure) for one in found(document, keys.published())} == {("expired", Sure.LIKELY)}
    assert {one.registry_signed for one in told(packument(by=keys), keys.published())} == {good}, "the next one signs"


def test_where_no_version_has_a_signature_it_may_be_a_mirror_and_is_a_line() -> None:
    document = packument()
    for manifest in document["versions"].values():
        del manifest["dist"]["signatures"]
    signs = found(document, KEYS.published())
    assert [one.sure for one in signs] == [Sure.POSSIBLE] * 4


def test_a_key_of_a_kind_that_is_not_known_is_a_line_and_keys_that_are_none_are_said() -> None:
    (row,) = KEYS.published()
    for odd in (row | {"scheme": "ed25519"}, row | {"key": "bm8ga2V5"}, row | {"key": "%"}):
        assert {(one.value, one.sure) for one in found(packument(), [odd])} == {("unread", Sure.POSSIBLE)}
    with pytest.raises(InputError, match="npm keys"):
        told(packument(), [row | {"expires": "some day"}])
    with pytest.raises(InputError, match="npm keys"):
        told(packument(), [{"keyid": row["keyid"]}])


def test_a_version_from_before_integrity_is_signed_over_its_shasum() -> None:
    document, sha1 = packument(1), hashlib.sha1(b"old", usedforsecurity=False)
    signed = KEYS.sign(NAME, "1.0.0", "sha1-" + base64.b64encode(sha1.digest()).decode())
    document["versions"]["1.0.0"]["dist"] = {"shasum": sha1.hexdigest(), "signatures": [signed]}
    assert told(document, KEYS.published())[0].registry_signed == RegistrySigned.VERIFIED

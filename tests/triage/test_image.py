"""Triage of a token in a public image: found in any layer, whose it is, what it reaches, since when."""

from __future__ import annotations

import zlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from bot.errors import InputError, NotFound
from bot.images import ImageClient
from bot.model import Credential, Exposure, Liveness, Report, Triage
from bot.range.images import Layer
from bot.triage import find_in_image, triage
from tests.triage.conftest import FERRY, LEDGER, Company

SCENARIO = "github-pat-in-image"
DAY = datetime(2026, 11, 1, tzinfo=UTC)


@pytest.fixture
def images(company: Company) -> Company:
    """The company, and a World that can pull its images."""
    company.world = replace(company.world, images=ImageClient(loopback=True))
    return company


def of(company: Company, url: str = "", credential: Credential | None = None) -> Triage:
    report = Report(source="cli", by="jonas", text="", url=url, credential=credential)
    return triage(company.world, company.recognizer, report)


def pushed(company: Company, *layers: Layer, created: datetime = DAY, **more: object) -> str:
    company.range.images.push(FERRY, "x", layers, created=created, **more)  # type: ignore[arg-type]
    return f"{company.range.registry_url.removeprefix('http://')}/{FERRY}:x"


def told(found: Triage, *words: str) -> bool:
    return any(all(word in sentence for word in words) for sentence in found.unknown)


def test_the_drills_token(images: Company) -> None:
    began = images.range.clock.now()
    leak = images.range.leak(SCENARIO)
    found = of(images, leak["image_ref"])
    assert found.credential.kind == "github-pat-classic"
    assert found.credential.fingerprint
    assert (found.live, found.exposure, found.repository) == (Liveness.LIVE, Exposure.PUBLIC, FERRY)
    assert timedelta(0) <= datetime.fromisoformat(found.exposed_from) - began < timedelta(minutes=5)
    [seen] = found.sightings
    assert "layer 2, root/.git-credentials" in seen.where
    assert found.owners[0].name == "mara"
    assert "GitHub says that it is theirs" in found.owners[0].reason
    assert "the account that stands with it" in found.owners[0].reason
    reach = {(r.kind, r.name, r.scope) for r in found.reach}
    assert ("repository", FERRY, "github") in reach
    assert ("reachable-secret", "STATUS_PAGE_TOKEN", FERRY) in reach
    assert not [r for r in found.reach if r.credential], "nothing shows that any of it was read"
    assert images.world.secrets.of(found.credential.key) is not None


def test_a_token_that_github_has_revoked_is_dead_and_its_owner_still_known(images: Company) -> None:
    leak = images.range.leak(f"{SCENARIO}-revoked")
    images.range.abuse("", f"{SCENARIO}-revoked")
    found = of(images, leak["image_ref"])
    assert found.live == Liveness.DEAD
    assert found.owners[0].name == "mara"
    assert told(found, "can no longer be asked", "refuses it")
    assert [r for r in found.reach if r.kind == "repository"] == []


def test_a_token_in_a_compiled_file_and_one_in_the_environment(images: Company) -> None:
    state = images.state
    one, two = state.add_token("mara", scopes=("repo",)), state.add_token("jonas", scopes=())
    compiled = {"app/__pycache__/build.pyc": b"\x00\xe3\x01" + one.encode() + b"\xff\xda\x00"}
    ref = pushed(images, Layer(made_by="COPY", files=compiled), env=(f"GITHUB_TOKEN={two}",))
    found = find_in_image(images.world, images.recognizer, ref)
    assert {hit.value for hit in found} == {one, two}
    assert [hit.where.split(": ", 1)[1] for hit in found] == ["environment", "layer 1, app/__pycache__/build.pyc"]


def test_a_file_that_cannot_hold_a_secret_is_not_searched(images: Company) -> None:
    packed = zlib.compress(b"x" * 1000)
    ref = pushed(images, Layer(made_by="COPY", files={"lib/data.bin": packed, "a/.env": b"TZ=UTC\n"}))
    assert find_in_image(images.world, images.recognizer, ref) == ()
    with pytest.raises(InputError, match="leads to no credential"):
        of(images, ref)


def test_an_image_of_an_unknown_repository_says_so(images: Company) -> None:
    token = images.state.add_token("mara", scopes=("repo",))
    ref = pushed(
        images, Layer(made_by="COPY", files={"root/.netrc": f"login mara password {token}\n".encode()}),
        labels={"org.opencontainers.image.source": "https://github.com/nobody/nothing"},
    )  # fmt: skip
    found = of(images, ref)
    assert told(found, "From which repository", "is not known")
    assert found.repository in (FERRY, LEDGER), "one that the token itself may push to"


def test_a_token_without_a_place_counts_for_the_last_ninety_days(images: Company) -> None:
    token = images.state.add_token("mara", scopes=("repo",))
    key = Credential(provider="github", kind="github-pat-classic", fingerprint=images.vault.fingerprint(token))
    images.world.secrets.seal(f"leaked:{key.key}", token, key.key)
    found = of(images, credential=key)
    assert found.repository in (FERRY, LEDGER)
    assert told(found, "Since when it is exposed is not known")
    assert (found.exposure, found.owners[0].name) == (Exposure.UNKNOWN, "mara")


def test_an_image_that_is_not_there_is_an_error_and_none_can_be_pulled_without_a_client(images: Company) -> None:
    ref = f"{images.range.registry_url.removeprefix('http://')}/{FERRY}:nothing"
    with pytest.raises(NotFound):
        of(images, ref)
    images.world = replace(images.world, images=None)
    with pytest.raises(InputError, match="images cannot be pulled here"):
        of(images, ref)


def test_a_registry_that_breaks_off_leaves_a_sentence(images: Company) -> None:
    token = images.state.add_token("mara", scopes=("repo",))
    first = Layer(made_by="COPY", files={"x/.env": f"T={token}\n".encode()})
    ref = pushed(images, first, Layer(made_by="COPY", files={"b": b"1"}))
    [image] = images.world.images.describe(ref)  # type: ignore[union-attr]
    images.fault("registry", f"*/blobs/{image.layers[1][0]}")
    found = of(images, ref)
    assert found.credential.kind == "github-pat-classic"
    assert told(found, "were not all read")

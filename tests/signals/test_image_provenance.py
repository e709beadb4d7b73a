"""Provenance of images: what GitHub attests of a digest is verified, and held against repository and history."""

from __future__ import annotations

import base64
import copy
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from bot.errors import InputError
from bot.range.sigstore import Sigstore, image_statement
from bot.signals import collect, release_path
from bot.signals.baseline import Baseline
from bot.signals.collect import images
from bot.signals.facts import AnyFact, Origin, Signed, Version, of_kind
from bot.signals.findings import Finding, Sure
from bot.signals.given import Given
from bot.signals.provenance import unproven, verified
from tests.signals.test_provenance import HOUSE, REPOSITORY, THIEF, WORKFLOW, claims

START, ORG, NAME = datetime(2026, 3, 1, tzinfo=UTC), "harbor-lights", "ferry"
IMAGE = f"ghcr.io/{ORG}/{NAME}"
Bundle = dict[str, Any]


def digest(number: int) -> str:
    return f"sha256:{number:064x}"


def bundle(number: int, *, by: Sigstore = HOUSE, says: dict[str, Any] | None = None, **who: str) -> Bundle:
    """What a job of ``who`` signs of an image; ``says``: what its statement says of the build."""
    return by.sign(claims(**who), image_statement(says or claims(**who), IMAGE, digest(number)))


GOOD = {number: [bundle(number)] for number in range(4)}
LAST = 4


def facts(
    attested: dict[int, list[Bundle]], *, tags: dict[int, list[str]] | None = None, asked: bool = True
) -> list[AnyFact]:  # fmt: skip
    """Images a day apart, 1.0.0 to 1.4.0, and what GitHub has of each of them."""
    rows = [
        {
            "name": digest(n), "created_at": (START + timedelta(days=n)).isoformat(),
            "url": f"https://api.github.com/orgs/{ORG}/packages/container/{NAME}/versions/{n}",
            "metadata": {"package_type": "container", "container": {"tags": (tags or {}).get(n, [f"1.{n}.0"])}},
        }
        for n in range(LAST + 1)
    ]  # fmt: skip
    found: list[AnyFact] = list(collect.told(rows, Origin("", "versions"), NAME))
    if asked:
        found += [images.attestations("x", REPOSITORY, digest(n), attested.get(n, [])) for n in range(LAST + 1)]
    return verified(found, HOUSE.trusted_root)


def told(attested: dict[int, list[Bundle]], **more: Any) -> dict[str, Version]:
    return {one.name: one for one in release_path.joined(of_kind(facts(attested, **more), Version))}


def found(attested: dict[int, list[Bundle]], **more: Any) -> dict[str, Finding]:
    """What signal 2 finds, by its kind; all of it must be of the last image."""
    given = Given(now=START + timedelta(days=99), learn_until=START)
    signs = list(release_path.judge(facts(attested, **more), Baseline(), given))
    assert {one.subject for one in signs} <= {f"ghcr {ORG}/{NAME}@1.{LAST}.0", f"ghcr {ORG}/{NAME}@{digest(LAST)[:19]}"}
    return {one.what: one for one in signs}


def test_what_the_release_attested_is_verified_and_names_its_run() -> None:
    one = told({**GOOD, LAST: [bundle(LAST)]})["1.4.0"]
    assert (one.signed, one.provenance, one.home) == (Signed.VERIFIED, "yes", REPOSITORY)
    assert (one.built_by, one.workflow, one.built_from, one.run) == (REPOSITORY, WORKFLOW, "refs/tags/v1.0.0", 17)
    assert found({**GOOD, LAST: [bundle(LAST)]}) == {}


def test_an_image_without_what_the_ones_before_it_had_is_found() -> None:
    one = found(GOOD)["provenance-lost"]
    assert one.sure == Sure.LIKELY
    assert "the 4 versions before it had it" in one.says
    assert one.versions == (("ghcr", f"{ORG}/{NAME}", "1.4.0"),)


def test_where_no_image_ever_had_any_nothing_is_found_and_it_is_said() -> None:
    assert found({}) == {}
    (said,) = unproven(facts({}))
    assert f"no provenance of the 5 newest images of {ORG}/{NAME} (ghcr)" in said
    assert list(unproven(facts(GOOD))) == []


def test_where_github_was_not_asked_or_did_not_answer_nothing_is_said_of_any() -> None:
    assert found(GOOD, asked=False) == {}
    assert {one.provenance for one in told(GOOD, asked=False).values()} == {""}


def test_a_part_of_an_image_that_nobody_pulls_by_name_needs_no_provenance_of_its_own() -> None:
    """Each platform of an image is a version without a tag, and so is what refers to one."""
    for tags in ([], [f"sha256-{7:064x}"], [f"sha256-{7:064x}.sig"]):
        assert found(GOOD, tags={LAST: tags}) == {}, tags
    assert "provenance-lost" in found(GOOD, tags={LAST: ["latest"]})


def changed() -> Bundle:
    """The statement of a good one was changed after it was signed."""
    forged = copy.deepcopy(bundle(LAST))
    said = base64.b64decode(forged["dsseEnvelope"]["payload"]).decode()
    forged["dsseEnvelope"]["payload"] = base64.b64encode(said.replace("v1.0.0", "v9.9.9").encode()).decode()
    return forged


def replayed() -> Bundle:
    """The bundle of the image before, whose digest was written over with this one's."""
    forged = copy.deepcopy(GOOD[LAST - 1][0])
    said = base64.b64decode(forged["dsseEnvelope"]["payload"]).decode()
    forged["dsseEnvelope"]["payload"] = base64.b64encode(said.replace(digest(3)[7:], digest(4)[7:]).encode()).decode()
    return forged


def without_log() -> Bundle:
    bare = copy.deepcopy(bundle(LAST))
    bare["verificationMaterial"]["tlogEntries"] = []
    return bare


def with_entry_of_another() -> Bundle:
    other = copy.deepcopy(bundle(LAST))
    other["verificationMaterial"]["tlogEntries"] = GOOD[0][0]["verificationMaterial"]["tlogEntries"]
    return other


THIEFS, OTHER_ISSUER = "quiet-otter/ferry", {"iss": "https://oidc.example.net"}
BAD: dict[str, tuple[Callable[[], Bundle], str, Sure]] = {
    "wrong signature": (changed, "provenance-signature", Sure.CERTAIN),
    "of another digest": (lambda: GOOD[3][0], "provenance-digest", Sure.CERTAIN),
    "replayed under this digest": (replayed, "provenance-signature", Sure.CERTAIN),
    "of another repository": (lambda: bundle(LAST, repository=THIEFS), "provenance-built-by", Sure.CERTAIN),
    "lies about its repository": (
        lambda: bundle(LAST, repository=THIEFS, says=claims()), "provenance-signature", Sure.CERTAIN,
    ),
    "of another workflow": (
        lambda: bundle(LAST, workflow=".github/workflows/x.yml"), "provenance-workflow", Sure.LIKELY,
    ),
    "of an identity of another issuer": (
        lambda: HOUSE.sign(claims() | OTHER_ISSUER, image_statement(claims(), IMAGE, digest(LAST))),
        "provenance-issuer", Sure.LIKELY,
    ),
    "by an authority of the thief's": (lambda: bundle(LAST, by=THIEF), "provenance-signature", Sure.LIKELY),
    "no entry in the log": (without_log, "provenance-signature", Sure.LIKELY),
    "an entry of another signature": (with_entry_of_another, "provenance-signature", Sure.LIKELY),
    "no bundle at all": (lambda: {"mediaType": "x"}, "provenance-signature", Sure.LIKELY),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_provenance_that_does_not_hold_is_no_better_than_none(name: str) -> None:
    make, what, sure = BAD[name]
    signs = found({**GOOD, LAST: [make()]})
    assert signs[what].sure.rank >= sure.rank, signs


@pytest.mark.parametrize("name", BAD)
def test_one_true_proof_is_enough_whatever_else_lies_beside_it(name: str) -> None:
    """Whoever may write attestations could otherwise spoil every release."""
    bad = BAD[name][0]()
    for both in ([bad, bundle(LAST)], [bundle(LAST), bad]):
        assert found({**GOOD, LAST: both}) == {}


def test_a_certificate_of_the_same_name_at_another_host_is_another_repository() -> None:
    """GitLab has names like GitHub's; only the host in the certificate tells them apart."""
    lying = HOUSE.sign(claims() | {"host": "https://gitlab.com"}, image_statement(claims(), IMAGE, digest(LAST)))
    one = found({**GOOD, LAST: [lying]})["provenance-signature"]
    assert (one.sure, one.value) == (Sure.CERTAIN, "other")
    assert f"https://gitlab.com/{REPOSITORY}" in one.says


def test_a_certificate_of_a_person_proves_no_build_whatever_the_statement_says() -> None:
    """Anybody gets a certificate for their own e-mail address from the same authority."""
    lying = HOUSE.sign({"email": "otter@example.net"}, image_statement(claims(), IMAGE, digest(LAST)))
    one = found({**GOOD, LAST: [lying]})["provenance-signature"]
    assert (one.sure, one.value) == (Sure.CERTAIN, "other")
    assert "no repository" in one.says
    silent = image_statement(claims(), IMAGE, digest(LAST))
    silent["predicate"]["buildDefinition"]["externalParameters"] = {}
    mute = HOUSE.sign({"email": "otter@example.net"}, silent)
    assert found({**GOOD, LAST: [mute]})["provenance-built-by"].sure == Sure.CERTAIN


def test_an_authority_that_was_never_known_may_be_githubs_own_and_is_said() -> None:
    """GitHub signs for private repositories by itself."""
    private = {n: [bundle(n, by=THIEF)] for n in range(LAST + 1)}
    assert found(private) == {}
    (said,) = unproven(facts(private))
    assert "private repository" in said


def test_other_statements_of_an_image_are_no_provenance() -> None:
    sbom = image_statement(claims(), IMAGE, digest(LAST)) | {"predicateType": "https://spdx.dev/Document/v2.3"}
    document = {"attestations": [{"bundle": HOUSE.sign(claims(), sbom), "bundle_url": "x", "repository_id": 1}]}
    assert collect.told(document, Origin("", "x"), REPOSITORY) == []


def test_from_files_an_image_is_joined_with_its_attestations_by_its_digest() -> None:
    rows = [fact for fact in facts({}, asked=False) if isinstance(fact, Version)]
    document = {"attestations": [{"bundle": each[0], "bundle_url": "x", "repository_id": 1} for each in GOOD.values()]}
    more = collect.told(document, Origin("", "attestations"), REPOSITORY)
    judged = verified([*rows, *more], HOUSE.trusted_root)
    assert [one.signed for one in of_kind(judged, Version)] == [Signed.VERIFIED] * 4 + [Signed.UNCHECKED]
    assert list(unproven(judged)) == []
    with pytest.raises(InputError, match="2022-11-28"):
        collect.told({"attestations": [{"bundle_url": "x"}]}, Origin("", "attestations"), REPOSITORY)
    odd = {"attestations": [{"bundle": {"dsseEnvelope": {"payload": "%"}}, "bundle_url": "x"}]}
    with pytest.raises(InputError, match="attestations at GitHub"):
        collect.told(json.loads(json.dumps(odd)), Origin("", "attestations"), REPOSITORY)

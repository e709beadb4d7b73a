"""Signatures of provenance: a true one, forged ones, one over another file, one of another workflow are told apart."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from bot.errors import InputError
from bot.range.clock import RangeClock
from bot.range.issuer import OidcIssuer
from bot.range.sigstore import SLSA, Sigstore, npm_statement
from bot.signals import collect, release_path
from bot.signals.baseline import Baseline
from bot.signals.facts import Origin, Signed, Version
from bot.signals.findings import Finding, Sure
from bot.signals.given import Given
from bot.signals.provenance import verified

NAME, REPOSITORY, WORKFLOW = "@harbor-lights/ferry", "harbor-lights/ferry", ".github/workflows/release.yml"
CLOCK = RangeClock()
HOUSE, THIEF = (Sigstore(CLOCK, OidcIssuer(CLOCK)) for _ in range(2))
START = datetime(2026, 3, 1, tzinfo=UTC)


def claims(workflow: str = WORKFLOW, repository: str = REPOSITORY) -> dict[str, Any]:
    """Of a job that was started by a tag."""
    ref = "refs/tags/v1.0.0"
    return {"repository": repository, "ref": ref, "workflow_ref": f"{repository}/{workflow}@{ref}", "sha": "a" * 40,
            "run_id": "17"}  # fmt: skip


def file_of(version: str) -> bytes:
    return f"the tarball of {version}".encode()


def sha512(version: str) -> str:
    return hashlib.sha512(file_of(version)).hexdigest()


def bundle(version: str, *, by: Sigstore = HOUSE, of: str = "", says: dict[str, Any] | None = None, **who: str) -> Any:
    """A bundle for a version; ``of``: over the file of that one; ``says``: what its statement says of the build."""
    statement = npm_statement(says or claims(**who), NAME, version, sha512(of or version))
    return by.sign(claims(**who), statement)


def told(bundles: dict[str, Any]) -> list[Version]:
    """The facts that npm's documents give of versions with these bundles, a day apart, after verification."""
    versions, times = {}, {}
    for day, version in enumerate(bundles):
        integrity = "sha512-" + base64.b64encode(bytes.fromhex(sha512(version))).decode()
        versions[version] = {"dist": {"integrity": integrity, "attestations": {"url": "x"}}, "_npmUser": {"name": "m"}}
        times[version] = (START + timedelta(days=day)).isoformat()
    facts = collect.told({"name": NAME, "versions": versions, "time": times}, Origin("", "packument"), NAME)
    for one in bundles.values():
        row = {"attestations": [{"predicateType": SLSA, "bundle": one}]}
        facts += collect.told(row, Origin("", "attestations"), NAME)
    return release_path.joined(fact for fact in verified(facts, HOUSE.trusted_root) if isinstance(fact, Version))


def found(bundles: dict[str, Any]) -> dict[str, Finding]:
    """What signal 2 finds in these versions, by its kind."""
    given = Given(now=START + timedelta(days=99), learn_until=START)
    return {one.what: one for one in release_path.judge(told(bundles), Baseline(), given)}


HISTORY = {f"1.0.{number}": bundle(f"1.0.{number}") for number in range(5)}


def test_a_true_one_says_whose_it_is_by_its_certificate() -> None:
    one = told(HISTORY)[-1]
    assert one.signed == Signed.VERIFIED
    assert (one.built_by, one.workflow, one.built_from, one.run) == (REPOSITORY, WORKFLOW, "refs/tags/v1.0.0", 17)
    assert one.bundle == ""
    assert found(HISTORY) == {}


def test_a_statement_that_was_changed_after_it_was_signed_is_forged() -> None:
    forged = bundle("1.0.5")
    envelope = forged["dsseEnvelope"]
    text = base64.b64decode(envelope["payload"]).decode()
    envelope["payload"] = base64.b64encode(text.replace("1.0.5", "1.0.6").encode()).decode()
    one = found({**HISTORY, "1.0.6": forged})["provenance-signature"]
    assert (one.sure, one.value) == (Sure.CERTAIN, "forged")


def test_a_signature_of_the_thiefs_own_authority_is_worth_nothing() -> None:
    one = found({**HISTORY, "1.0.5": bundle("1.0.5", by=THIEF)})["provenance-signature"]
    assert (one.sure, one.value) == (Sure.LIKELY, "unknown")
    assert "give a newer trust root" in one.ruled_out[-1]


@pytest.mark.parametrize("part", ["signedEntryTimestamp", "rootHash", "canonicalizedBody"])
def test_an_entry_that_the_log_has_not_taken_in_is_no_proof(part: str) -> None:
    text = json.dumps(bundle("1.0.5"))
    mark = re.search(rf'"{part}": "([^"]+)"', text)
    assert mark is not None
    other = base64.b64encode(base64.b64decode(mark[1])[::-1]).decode()
    forged = json.loads(text.replace(mark[1], other))
    assert "provenance-signature" in found({**HISTORY, "1.0.5": forged})


def test_a_true_signature_over_another_file_does_not_cover_this_one() -> None:
    one = found({**HISTORY, "1.0.5": bundle("1.0.5", of="1.0.4")})["provenance-digest"]
    assert one.sure == Sure.CERTAIN
    assert "another file" in one.says


def test_a_true_signature_of_another_workflow_is_compared_with_the_history() -> None:
    assert found({**HISTORY, "1.0.5": bundle("1.0.5", workflow=".github/workflows/x.yml")}).keys() == {
        "provenance-workflow"
    }
    assert found({**HISTORY, "1.0.5": bundle("1.0.5", repository="quiet-otter/ferry")})["provenance-built-by"].sure == (
        Sure.CERTAIN
    )


def test_a_statement_that_names_another_repository_than_its_certificate_is_believed_by_nobody() -> None:
    """Without the signature it would look like every version before it."""
    lying = bundle("1.0.5", repository="quiet-otter/ferry", says=claims())
    one = found({**HISTORY, "1.0.5": lying})["provenance-signature"]
    assert (one.sure, one.value) == (Sure.CERTAIN, "other")
    assert "quiet-otter/ferry" in one.says


# as npm's client has them logged -----------------------------------------------------------------------------------

NOW = CLOCK.now()
Content = dict[str, Any]


def logged(version: str, **who: str) -> Any:
    """A bundle whose entry is of the type intoto 0.0.2."""
    return HOUSE.sign(claims(**who), npm_statement(claims(**who), NAME, version, sha512(version)), NOW, intoto=True)


def content_of(signed: Any) -> tuple[Any, Content]:
    """The body of its entry, and what in it speaks of the bundle."""
    body = json.loads(base64.b64decode(signed["verificationMaterial"]["tlogEntries"][0]["canonicalizedBody"]))
    return body, body["spec"]["content"]


def test_npms_own_entries_are_verified_as_those_of_others() -> None:
    mixed = {**HISTORY, "1.0.5": logged("1.0.5"), "1.0.6": logged("1.0.6")}
    assert {one.signed for one in told(mixed)} == {Signed.VERIFIED}
    assert found(mixed) == {}
    assert "provenance-workflow" in found({**HISTORY, "1.0.5": logged("1.0.5", workflow=".github/workflows/x.yml")})
    changed = logged("1.0.5")
    text = base64.b64decode(changed["dsseEnvelope"]["payload"]).decode().replace("v1.0.0", "v9.9.9")
    changed["dsseEnvelope"]["payload"] = base64.b64encode(text.encode()).decode()
    assert found({**HISTORY, "1.0.5": changed})["provenance-signature"].sure == Sure.CERTAIN


def _payload_type(content: Content) -> None:
    content["envelope"]["payloadType"] = "text/plain"


def _payload(content: Content) -> None:
    content["payloadHash"]["value"] = "0" * 64


def _signature(content: Content) -> None:
    content["envelope"]["signatures"] = content_of(logged("1.0.6"))[1]["envelope"]["signatures"]


def _once_coded(content: Content) -> None:
    (row,) = content["envelope"]["signatures"]
    row["sig"] = base64.b64decode(row["sig"]).decode()


def _certificate(content: Content) -> None:
    (row,) = content["envelope"]["signatures"]
    row["publicKey"] = content_of(logged("1.0.6"))[1]["envelope"]["signatures"][0]["publicKey"]


def _two_signatures(content: Content) -> None:
    content["envelope"]["signatures"] *= 2


def _nothing(content: Content) -> None:
    content.clear()


@pytest.mark.parametrize(
    "change", [_payload_type, _payload, _signature, _once_coded, _certificate, _two_signatures, _nothing]
)
def test_an_entry_that_the_log_has_taken_in_for_another_bundle_is_no_proof_of_this_one(
    change: Callable[[Content], None],
) -> None:
    """The log takes what it is given; only what it says binds it to a bundle."""
    signed = logged("1.0.5")
    body, content = content_of(signed)
    change(content)
    signed["verificationMaterial"]["tlogEntries"] = [HOUSE._entry(body, NOW.replace(microsecond=0))]
    one = found({**HISTORY, "1.0.5": signed})["provenance-signature"]
    assert (one.sure, one.value) == (Sure.CERTAIN, "forged")
    assert "the log entry is of another bundle" in one.says


def test_an_entry_that_the_log_has_not_promised_to_take_in_gives_no_time() -> None:
    signed = logged("1.0.5")
    del signed["verificationMaterial"]["tlogEntries"][0]["inclusionPromise"]
    assert "provenance-signature" in found({**HISTORY, "1.0.5": signed})


def test_a_certificate_of_another_host_or_of_a_person_is_not_the_repository_that_the_statement_names() -> None:
    """A group at GitLab may have our name, and anybody gets a certificate for an e-mail address."""
    for who in (claims() | {"host": "https://gitlab.com"}, {"email": "otter@example.net"}):
        lying = HOUSE.sign(who, npm_statement(claims(), NAME, "1.0.5", sha512("1.0.5")))
        one = found({**HISTORY, "1.0.5": lying})["provenance-signature"]
        assert (one.sure, one.value) == (Sure.CERTAIN, "other"), who


def test_a_project_of_gitlab_at_pypi_is_the_one_in_its_certificate() -> None:
    who, data = claims() | {"host": "https://gitlab.com"}, hashlib.sha256(b"a wheel").hexdigest()
    file = {"name": "ferry-1.0.0-py3-none-any.whl", "digest": {"sha256": data}}
    signed = HOUSE.sign(who, {"_type": "https://in-toto.io/Statement/v1", "subject": [file], "predicateType": "x"})
    material, envelope = signed["verificationMaterial"], signed["dsseEnvelope"]
    attestation = {
        "version": 1, "envelope": {"statement": envelope["payload"], "signature": envelope["signatures"][0]["sig"]},
        "verification_material": {
            "certificate": material["certificate"]["rawBytes"], "transparency_entries": material["tlogEntries"],
        },
    }  # fmt: skip
    for kind, state in (("GitLab", Signed.VERIFIED), ("GitHub", Signed.OTHER)):
        publisher = {"kind": kind, "repository": REPOSITORY, "workflow": "release.yml"}
        document = {"attestation_bundles": [{"publisher": publisher, "attestations": [attestation]}]}
        (one,) = verified(collect.told(document, Origin("", "pypi"), "ferry"), HOUSE.trusted_root)
        assert isinstance(one, Version)
        assert (one.signed, one.built_by) == (state, f"https://gitlab.com/{REPOSITORY}")


def test_what_cannot_be_read_is_a_line_and_a_trust_root_that_is_none_is_said() -> None:
    odd = bundle("1.0.5") | {"mediaType": "application/vnd.dev.sigstore.bundle.v9+json"}
    assert found({**HISTORY, "1.0.5": odd})["provenance-signature"].sure == Sure.POSSIBLE
    facts = collect.told({"attestations": [{"predicateType": SLSA, "bundle": HISTORY["1.0.0"]}]}, Origin("", "x"), NAME)
    for root in ("{}", "not JSON", HOUSE.trusted_root.replace("trustedroot", "else")):
        with pytest.raises(InputError, match="trust root"):
            verified(facts, root)
    (one,) = verified(facts)
    assert isinstance(one, Version)
    assert one.signed == Signed.UNKNOWN, "Sigstore's public root does not know the range"


def test_the_library_is_imported_only_where_something_is_verified() -> None:
    """Half a second, in every command: so no module imports it when it is loaded."""
    for path in (Path(__file__).parents[2] / "bot").rglob("*.py"):
        assert not re.search(r"^(from|import) sigstore", path.read_text(), re.MULTILINE), path

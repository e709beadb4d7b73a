"""Signatures of provenance: verified offline by Sigstore's own library, against a trust root that is given.

A bundle holds if its certificate is of a known authority and logged, its entry is in the transparency log, and its
signature is over the statement (sigstore-python, ``Verifier.verify_dsse``). What it is worth is the identity in the
certificate: which repository, workflow, ref and run its authority has seen an id-token of. That replaces what the
statement says of itself, and is what signal 2 compares with the package's history. A package has one bundle a file; of
an image GitHub holds any number, by its digest, and one that holds is enough, as for ``gh attestation verify``. The
library is imported when there is something to verify: that takes half a second.
"""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bot.errors import InputError
from bot.signals import slsa
from bot.signals.facts import AnyFact, Attestations, Signed, Version, of_kind

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

# Fulcio's extensions by the last number of their names (docs/oid-info.md): a DER UTF8String each, the first ones text.
_FULCIO = "1.3.6.1.4.1.57264.1."
_TEXT = {1: "issuer", 3: "commit", 6: "ref"}
_CODED = {8: "issuer", 12: "repository", 13: "commit", 14: "ref", 18: "config", 21: "run"}
# Sigstore's public trust root as the library brings it along: a private place, so the library is pinned.
_STORE, _ROOT = "sigstore._store", "https%3A%2F%2Ftuf-repo-cdn.sigstore.dev/trusted_root.json"


def verified(facts: Iterable[AnyFact], root: str = "") -> list[AnyFact]:
    """The facts, and of each version with a bundle whether that holds and whose it is.

    ``root``: a Sigstore trusted root as JSON; '' is Sigstore's public one. Raises InputError for one that is none.
    """
    rows = list(facts)
    told: dict[str, list[Attestations]] = {}
    for one in of_kind(rows, Attestations):
        told.setdefault(one.digest, []).append(one)
    each = [list(_proofs(fact, told)) if isinstance(fact, Version) else [fact] for fact in rows]
    if not any(isinstance(fact, Version) and fact.bundle for some in each for fact in some):
        return [some[0] for some in each]
    verify = _verifier(root)
    judged = [[_judged(f, verify) if isinstance(f, Version) and f.bundle else f for f in some] for some in each]
    return _best(judged)


def unproven(facts: Iterable[AnyFact]) -> Iterator[str]:
    """Sentences about images of which nothing was verified: they have no provenance, or none that can be."""
    images: dict[str, list[Version]] = {}
    for version in of_kind(facts, Version):
        if version.home:
            images.setdefault(f"{version.package} ({version.registry})", []).append(version)
    for name, versions in sorted(images.items()):
        signed = [version for version in versions if version.signed]
        if not signed:
            said = f"has no provenance of the {len(versions)} newest images of {name}, so none was verified"
            yield f"GitHub, asked for {versions[0].home}, {said}"
        elif all(version.signed in (Signed.UNKNOWN, Signed.UNREAD) for version in signed):
            why = f"{signed[-1].signed}: {signed[-1].signed_why}"
            own = "that of a private repository is signed by GitHub's own authority and cannot be verified here"
            yield f"No provenance of {name} could be verified ({why}); {own}"


def pypi_bundle(attestation: dict[str, Any]) -> str:
    """A bundle of a PEP 740 attestation, which has the same parts under other names; '' when some are not there."""
    material, envelope = attestation.get("verification_material") or {}, attestation.get("envelope") or {}
    if not material.get("certificate") or not envelope.get("signature"):
        return ""
    return json.dumps({
        "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
        "verificationMaterial": {
            "certificate": {"rawBytes": material["certificate"]}, "tlogEntries": material["transparency_entries"],
        },
        "dsseEnvelope": {
            "payload": envelope["statement"], "payloadType": "application/vnd.in-toto+json",
            "signatures": [{"sig": envelope["signature"]}],
        },
    })  # fmt: skip


def _proofs(fact: Version, told: dict[str, list[Attestations]]) -> Iterator[Version]:
    """The version as it is; an image of which attestations are known once with each of them."""
    known = [one for digest in fact.digests for one in told.get(digest, ())]
    bundles = {bundle: one for one in known for bundle in one.bundles}
    if not known:
        yield fact
    elif not bundles:
        yield replace(fact, home=known[0].repository, provenance="no" if fact.tagged else "")
    for bundle, one in bundles.items():
        bare = replace(fact, home=one.repository, provenance="yes")
        try:
            statement = slsa.statement_of(json.loads(bundle))
            subjects = slsa.digests_of(statement)
            own = tuple(each for each in subjects if each in fact.digests)
            yield replace(bare, bundle=bundle, attested=own or subjects, **slsa.built(statement))
        except slsa.MALFORMED as exc:
            yield replace(bare, signed=Signed.UNREAD, signed_why=_first(exc))


def _best(judged: list[list[AnyFact]]) -> list[AnyFact]:
    """Of several proofs of an image the best: one that holds, of its digest, its repository, the usual workflow."""
    good = (one for some in judged for one in of_kind(some, Version) if one.signed == Signed.VERIFIED)
    usual = Counter((one.issuer, one.workflow) for one in good)

    def worth(version: AnyFact) -> tuple[int, bool, bool, int]:
        assert isinstance(version, Version)
        elsewhere = version.built_by.lower() != version.home.lower()
        other = not set(version.attested) <= set(version.digests)
        return list(Signed).index(version.signed), other, elsewhere, -usual[version.issuer, version.workflow]

    return [some[0] if len(some) == 1 else min(some, key=worth) for some in judged]


@dataclass(slots=True)
class _Seen:
    """A policy of verification: any identity will do, and is remembered. It is asked once the certificate holds."""

    claims: dict[str, str] = field(default_factory=dict)

    def verify(self, cert: Certificate) -> None:
        from cryptography.hazmat import asn1
        from sigstore.errors import VerificationError

        held = {each.oid.dotted_string: each.value for each in cert.extensions}
        for names, coded in ((_TEXT, False), (_CODED, True)):
            for number, name in names.items():
                if (value := held.get(f"{_FULCIO}{number}")) is not None:
                    raw: bytes = value.value
                    self.claims[name] = asn1.decode_der(str, raw) if coded else raw.decode()
        if "issuer" not in self.claims:
            raise VerificationError("the certificate does not say who vouches for its identity")


def _verifier(root: str) -> Any:
    from sigstore.errors import Error
    from sigstore.models import TrustedRoot

    from bot.signals.intoto_entries import verifier_of

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trusted_root.json"
        path.write_bytes(root.encode() if root else (resources.files(_STORE) / _ROOT).read_bytes())
        try:
            return verifier_of(TrustedRoot.from_file(str(path)))
        except (Error, ValueError, TypeError) as exc:
            raise InputError(
                f"the trust root is no trusted root of Sigstore: {type(exc).__name__} {str(exc)[:80]}"
            ) from None


def _judged(fact: Version, verifier: Any) -> Version:
    from sigstore.errors import Error
    from sigstore.models import Bundle, InvalidBundle

    seen, bare = _Seen(), replace(fact, bundle="")
    try:
        verifier.verify_dsse(Bundle.from_json(fact.bundle), seen)
    except InvalidBundle as exc:
        return replace(bare, signed=Signed.UNREAD, signed_why=_first(exc))
    except (Error, ValueError) as exc:
        return replace(bare, signed=Signed.FORGED if seen.claims else Signed.UNKNOWN, signed_why=_first(exc))
    return _as_certified(bare, seen.claims)


def _first(exc: Exception) -> str:
    return str(exc).splitlines()[0][:200] if str(exc) else type(exc).__name__


def _as_certified(fact: Version, claims: dict[str, str]) -> Version:
    """What the certificate says in place of what the statement says; where these differ, that is told."""
    place, config = claims.get("repository", ""), claims.get("config", "")
    repository = slsa.repository_of(place)
    path = config.removeprefix(f"{place}/").lstrip("/").partition("@")[0]
    told = fact.built_by
    same = not told or told.lower() == repository.lower()
    whose = repository or f"no repository, and an identity that {claims['issuer']} vouches for"
    run = claims.get("run", "").partition("/actions/runs/")[2].partition("/")[0]
    return replace(
        fact, signed=Signed.VERIFIED if same else Signed.OTHER,
        signed_why="" if same else f"its statement says {told}, its certificate {whose}",
        built_by=repository, workflow=path or fact.workflow, built_from=claims.get("ref", ""),
        commit=claims.get("commit", ""), issuer=claims["issuer"], run=int(run) if run.isdigit() else fact.run,
    )  # fmt: skip

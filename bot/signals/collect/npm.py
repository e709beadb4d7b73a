"""npm: a package's document (packument), the attestations of a version, and the keys of the registry's signatures.

The document names who published each version (``_npmUser``, with ``trustedPublisher`` where it was the pipeline's own
identity) and whether npm holds provenance (``dist.attestations``). Only the attestation says from where it was built.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

from bot.signals import slsa
from bot.signals.facts import Fact, Origin, RegistryKey, Version, utc

OIDC = "npm-oidc-no-reply@github.com"  # the address that npm writes for trusted publishing
_PURL = re.compile(r"pkg:npm/(.+)@([^@]+)")


def is_packument(document: Any) -> bool:
    """Whether it is a package's whole document."""
    return isinstance(document, dict) and isinstance(document.get("versions"), dict) and "time" in document


def packument(document: Any, origin: Origin, _name: str) -> Iterator[Fact]:
    """Every version that still is there. What was unpublished leaves a time and nothing else."""
    for name, manifest in document["versions"].items():
        dist = manifest.get("dist") or {}
        user = manifest.get("_npmUser") or {}
        trusted = "trustedPublisher" in user or str(user.get("email")) == OIDC
        digests = tuple(_hex(str(dist[key])) for key in ("integrity", "shasum") if dist.get(key))
        yield Version(
            at=utc(document["time"][name]), origin=Origin("npm", f"{origin.where} versions.{name}"), registry="npm",
            package=str(document["name"]), name=str(name), uploader=str(user.get("name") or ""),
            means="trusted" if trusted else "token" if user else "",
            provenance="yes" if dist.get("attestations") else "no", digests=digests,
            commit=str(manifest.get("gitHead") or ""), yanked=bool(manifest.get("deprecated")),
            integrity=_integrity(dist), signatures=tuple(map(_signature, dist.get("signatures") or ())),
        )  # fmt: skip


def _integrity(dist: dict[str, Any]) -> str:
    """What is signed; of a version that is older than ``integrity``, its shasum in that form (pacote, ssri)."""
    if dist.get("integrity"):
        return str(dist["integrity"])
    return "sha1-" + base64.b64encode(bytes.fromhex(str(dist["shasum"]))).decode() if dist.get("shasum") else ""


def _signature(row: Any) -> tuple[str, str]:
    return (str(row.get("keyid") or ""), str(row.get("sig") or "")) if isinstance(row, dict) else ("", "")


def is_keys(document: Any) -> bool:
    """Whether it is the answer of ``/-/npm/v1/keys``."""
    rows = document.get("keys") if isinstance(document, dict) else None
    return isinstance(rows, list) and all(isinstance(row, dict) and "keyid" in row for row in rows)


def keys(document: Any, origin: Origin, _name: str) -> Iterator[Fact]:
    """The keys by which npm signs what it takes in, those too that have ended."""
    for row in document["keys"]:
        yield RegistryKey(
            at=utc("1970-01-01T00:00:00Z"), origin=Origin("npm", origin.where), registry="npm", id=str(row["keyid"]),
            key=str(row["key"]), scheme=str(row.get("scheme") or row.get("keytype") or ""),
            until=utc(row["expires"]) if row.get("expires") else None,
        )  # fmt: skip


def is_attestations(document: Any) -> bool:
    """Whether it is the answer of ``/-/npm/v1/attestations/NAME@VERSION``."""
    rows = document.get("attestations") if isinstance(document, dict) else None
    return isinstance(rows, list) and all("predicateType" in row for row in rows)


def attestations(document: Any, origin: Origin, _name: str) -> Iterator[Fact]:
    """What the provenance says, with the bundle whose signature ``bot.signals.provenance`` verifies."""
    for row in document["attestations"]:
        if row["predicateType"] != slsa.PROVENANCE:
            continue
        statement = slsa.statement_of(row["bundle"])
        subject = statement["subject"][0]
        named, digests = _PURL.fullmatch(unquote(str(subject["name"]))), subject.get("digest") or {}
        if named is None:
            continue
        yield Version(
            at=utc("1970-01-01T00:00:00Z"), origin=Origin("npm", origin.where), registry="npm", package=named[1],
            name=named[2], provenance="yes", bundle=json.dumps(row["bundle"]),
            attested=tuple(map(str, digests.values())), **slsa.built(statement),
        )  # fmt: skip


def _hex(digest: str) -> str:
    """A digest in hexadecimal; npm writes sha512-BASE64, and several with spaces between."""
    name, _, coded = digest.split(" ", maxsplit=1)[0].partition("-")
    try:
        return base64.b64decode(coded, validate=True).hex() if coded and name.startswith("sha") else digest
    except ValueError:
        return digest

"""Registry signatures of npm: the registry's own word that it took a version in, with the content that is served.

Each is over NAME@VERSION:INTEGRITY, ECDSA on NIST P-256 with SHA-256, by a key that the registry publishes with its id
and its end (docs.npmjs.com, "About ECDSA registry signatures"). It is judged as the npm client does (pacote,
lib/registry.js; npm, lib/utils/verify-signatures.js): all signatures of a version must hold, a key counts that had not
ended when the version was published, and where keys are published a version without a signature is one that misses it.
Beyond it the name is that of the package's document, so a signature of another package's version does not hold here.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable
from dataclasses import replace

from bot.signals.facts import AnyFact, RegistryKey, RegistrySigned, Version, of_kind

SCHEME = "ecdsa-sha2-nistp256"  # the only one that npm's client knows


def verified(facts: Iterable[AnyFact]) -> list[AnyFact]:
    """The facts, and of each version of a registry whose keys are among them, what its signatures are worth.

    Without keys nothing is said of any version: they are UNCHECKED.
    """
    rows = list(facts)
    keys: dict[tuple[str, str], RegistryKey] = {}
    for key in of_kind(rows, RegistryKey):
        keys.setdefault((key.registry, key.id), key)
    registries = {registry for registry, _ in keys}
    return [
        _judged(fact, keys) if isinstance(fact, Version) and fact.integrity and fact.registry in registries else fact
        for fact in rows
    ]  # fmt: skip


def _judged(version: Version, keys: dict[tuple[str, str], RegistryKey]) -> Version:
    """With the worst of its signatures."""
    if not version.signatures:
        return replace(version, registry_signed=RegistrySigned.MISSING)
    found = [_one(version, name, signature, keys.get((version.registry, name))) for name, signature in
             version.signatures]  # fmt: skip
    worst, about = max(found, key=lambda one: list(RegistrySigned).index(one[0]))
    return replace(version, registry_signed=worst, registry_key=about)


def _one(version: Version, name: str, signature: str, key: RegistryKey | None) -> tuple[RegistrySigned, str]:
    if key is None:
        return RegistrySigned.UNKNOWN, name[:80] or "one without a name"
    if key.scheme != SCHEME:
        return RegistrySigned.UNREAD, f"{name} is of the scheme {key.scheme[:40]}, and only {SCHEME} is known"
    if key.until is not None and version.at >= key.until:
        return RegistrySigned.EXPIRED, f"{name}, until {key.until:%Y-%m-%d %H:%M} UTC"
    said = f"{version.package}@{version.name}:{version.integrity}"
    return _holds(key, signature, said.encode()), name


def _holds(key: RegistryKey, signature: str, said: bytes) -> RegistrySigned:
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import load_der_public_key

    try:
        public = load_der_public_key(base64.b64decode(key.key, validate=True))
    except (ValueError, UnsupportedAlgorithm):
        return RegistrySigned.UNREAD
    if not isinstance(public, ec.EllipticCurvePublicKey) or not isinstance(public.curve, ec.SECP256R1):
        return RegistrySigned.UNREAD
    try:
        public.verify(base64.b64decode(signature, validate=True), said, ec.ECDSA(hashes.SHA256()))
    except (InvalidSignature, binascii.Error):
        return RegistrySigned.FORGED
    return RegistrySigned.VERIFIED

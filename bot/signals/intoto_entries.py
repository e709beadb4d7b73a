"""Entries of the type intoto 0.0.2 in Sigstore's log, in which npm's client records provenance, or did for years.

``sigstore`` does not verify these (sigstore-python, issue 1384), so provenance of npm's would look like a forgery. All
of the verification is the library's own but two things: that the log's time counts for this type too, and that the
entry speaks of this bundle. That is held as sigstore-js holds it (packages/verify, tlog/intoto.ts), and the certificate
besides: payload and its type, one signature, which the entry has twice in base64, and the certificate that signed. As
for dsse 0.0.1, the hash of the whole envelope cannot be formed again. The library's private parts are pinned with it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sigstore.models import Bundle, TrustedRoot
    from sigstore.verify.policy import VerificationPolicy

TYPE = ("intoto", "0.0.2")


def verifier_of(root: TrustedRoot) -> Any:
    """The library's Verifier, which takes these entries as well."""
    from sigstore import dsse
    from sigstore._internal.timestamp import TimestampSource, TimestampVerificationResult
    from sigstore.errors import VerificationError
    from sigstore.verify import Verifier

    class WithIntoto(Verifier):
        def _establish_time(self, bundle: Bundle) -> list[TimestampVerificationResult]:
            """The log's time, where the log has promised to take the entry in; the promise itself is verified later."""
            entry = bundle.log_entry._inner
            if not _is_ours(bundle):
                return super()._establish_time(bundle)
            if not entry.integrated_time or not entry.inclusion_promise:
                return []
            at = datetime.fromtimestamp(entry.integrated_time, tz=UTC)
            return [TimestampVerificationResult(source=TimestampSource.TRANSPARENCY_SERVICE, time=at)]

        def verify_dsse(self, bundle: Bundle, policy: VerificationPolicy) -> tuple[str, bytes]:
            envelope = bundle._dsse_envelope
            if not _is_ours(bundle) or envelope is None:
                return super().verify_dsse(bundle, policy)
            self._verify_common_signing_cert(bundle, policy)
            key: Any = bundle.signing_certificate.public_key()
            dsse._verify(key, envelope)
            if why := _differs(bundle):
                raise VerificationError(f"the log entry is of another bundle: {why}")
            return envelope._inner.payload_type, envelope._inner.payload

    return WithIntoto(trusted_root=root)


def _is_ours(bundle: Bundle) -> bool:
    kind = bundle.log_entry._inner.kind_version
    return (kind.kind, kind.version) == TYPE


def _differs(bundle: Bundle) -> str:
    """What an entry does not have in common with its bundle; '' when it is the bundle's own."""
    from cryptography.hazmat.primitives.serialization import Encoding
    from cryptography.x509 import load_pem_x509_certificate

    envelope = bundle._dsse_envelope
    assert envelope is not None
    own, certificate = envelope._inner, bundle.signing_certificate.public_bytes(Encoding.DER)
    try:
        body = json.loads(bundle.log_entry._inner.canonicalized_body)
        content, logged = body["spec"]["content"], body["spec"]["content"]["envelope"]
        (signature,), (signed,) = logged["signatures"], own.signatures
        pem = base64.b64decode(signature["publicKey"], validate=True)
        same = {
            "type": (body["kind"], body["apiVersion"]) == TYPE,
            "payload type": logged["payloadType"] == own.payload_type,
            "payload": content["payloadHash"]
            == {"algorithm": "sha256", "value": hashlib.sha256(own.payload).hexdigest()},
            "signature": base64.b64decode(base64.b64decode(signature["sig"], validate=True)) == signed.sig,
            "certificate": load_pem_x509_certificate(pem).public_bytes(Encoding.DER) == certificate,
        }  # fmt: skip
    except (KeyError, TypeError, ValueError, binascii.Error) as exc:
        return f"it cannot be read ({type(exc).__name__})"
    return ", ".join(name for name, fits in same.items() if not fits)

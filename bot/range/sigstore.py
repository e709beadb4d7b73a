"""Sigstore of the range: a certificate authority, a transparency log and a trust root of its own.

What it gives is a bundle as npm, PyPI and GitHub publish it: a certificate for the identity of a job, ten minutes long
and logged, a signature over an in-toto statement, and the proof that a log has taken both in. Sources:
github.com/sigstore/protobuf-specs (bundle v0.3, trusted root), fulcio docs/oid-info.md (extensions), RFC 6962 (SCTs,
Merkle tree), c2sp.org tlog-checkpoint, rekor's type dsse 0.0.1, DSSE v1 (the pre-authentication encoding). Who asks
shows an id-token; what a thief signs with a certificate of their own making is made by another ``Sigstore``, whose root
nobody trusts.
"""

from __future__ import annotations

import base64
import hashlib
import json
import struct
import threading
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from bot.range.clock import RangeClock
from bot.range.issuer import OidcIssuer

AUDIENCE, INTOTO = "sigstore", "application/vnd.in-toto+json"
BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
ROOT = "application/vnd.dev.sigstore.trustedroot+json;version=0.1"
SLSA = "https://slsa.dev/provenance/v1"
BEGAN, ENDS = datetime(2020, 1, 1, tzinfo=UTC), datetime(2060, 1, 1, tzinfo=UTC)
LIFE = timedelta(minutes=10)
_SCTS = x509.ObjectIdentifier("1.3.6.1.4.1.11129.2.4.2")
_FULCIO = "1.3.6.1.4.1.57264.1"
GITHUB = "https://github.com"


class Sigstore:
    """Signs for the jobs of the range. Its keys are made when it starts; ``reset`` empties the log."""

    def __init__(self, clock: RangeClock, issuer: OidcIssuer, host: str = "rekor.harbor-lights.example") -> None:
        self._clock, self._issuer, self._host = clock, issuer, host
        self._lock = threading.Lock()
        self._ca, self._ct, self._log = (ec.generate_private_key(ec.SECP256R1()) for _ in range(3))
        self._authority = _authority(self._ca)
        self.reset()

    def reset(self) -> None:
        self._leaves: list[bytes] = []

    @property
    def trusted_root(self) -> str:
        """What a verifier has to trust, as JSON."""

        def log(key: ec.EllipticCurvePrivateKey, host: str) -> dict[str, Any]:
            public = {
                "rawBytes": _b64(_spki(key)), "keyDetails": "PKIX_ECDSA_P256_SHA_256",
                "validFor": {"start": _stamp(BEGAN)},
            }  # fmt: skip
            known = {"keyId": _b64(_key_id(key))}
            return {"baseUrl": f"https://{host}", "hashAlgorithm": "SHA2_256", "publicKey": public, "logId": known}

        chain = {"certificates": [{"rawBytes": _b64(self._authority.public_bytes(Encoding.DER))}]}
        authority = {
            "subject": {"organization": "harbor-lights", "commonName": "range"}, "uri": f"https://{self._host}",
            "certChain": chain, "validFor": {"start": _stamp(BEGAN)},
        }  # fmt: skip
        return json.dumps({
            "mediaType": ROOT, "tlogs": [log(self._log, self._host)], "certificateAuthorities": [authority],
            "ctlogs": [log(self._ct, f"ct.{self._host}")], "timestampAuthorities": [],
        })  # fmt: skip

    def attest(self, id_token: str, statement: dict[str, Any], *, intoto: bool = False) -> dict[str, Any]:
        """A bundle over a statement, for whoever shows an id-token with the audience. Raises jwt.InvalidTokenError."""
        return self.sign(self._issuer.verify(id_token, AUDIENCE), statement, intoto=intoto)

    def sign(
        self, claims: dict[str, Any], statement: dict[str, Any], at: datetime | None = None, *, intoto: bool = False
    ) -> dict[str, Any]:  # fmt: skip
        """The same for claims that are true, now or ``at`` a time; ``intoto``: logged as npm's client does."""
        when = (at or self._clock.now()).replace(microsecond=0)
        key, payload = ec.generate_private_key(ec.SECP256R1()), json.dumps(statement).encode()
        certificate = self._certificate(key, claims, when)
        encoded = f"DSSEv1 {len(INTOTO)} {INTOTO} {len(payload)} ".encode() + payload
        signature = key.sign(encoded, ec.ECDSA(hashes.SHA256()))
        envelope = {"payload": _b64(payload), "payloadType": INTOTO, "signatures": [{"sig": _b64(signature)}]}
        hashes_of = {"envelope": _hash(json.dumps(envelope).encode()), "payload": _hash(payload)}
        pem = _b64(certificate.public_bytes(Encoding.PEM))
        body = (_intoto if intoto else _dsse)(hashes_of, _b64(signature), pem)
        material = {
            "certificate": {"rawBytes": _b64(certificate.public_bytes(Encoding.DER))},
            "tlogEntries": [self._entry(body, when)],
        }
        return {"mediaType": BUNDLE, "verificationMaterial": material, "dsseEnvelope": envelope}

    # the certificate --------------------------------------------------------------------------------------------------

    def _certificate(
        self, key: ec.EllipticCurvePrivateKey, claims: dict[str, Any], at: datetime
    ) -> x509.Certificate:  # fmt: skip
        """The log's word (SCT) is over the certificate without it, so it is signed twice."""
        own = x509.SubjectAlternativeName([_identity(claims)])
        usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING])
        builder = (
            x509.CertificateBuilder().subject_name(x509.Name([])).issuer_name(self._authority.subject)
            .public_key(key.public_key()).serial_number(x509.random_serial_number())
            .not_valid_before(at).not_valid_after(at + LIFE)
            .add_extension(_usage(signs=True), critical=True).add_extension(usage, critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._ca.public_key()), critical=False)
            .add_extension(own, critical=True)
        )  # fmt: skip
        for number, value in _named(claims, claims.get("iss", self._issuer.issuer)).items():
            data = value.encode()  # 1.1 is the text itself, all others are DER (UTF8String)
            raw = data if number == 1 else bytes([0x0C]) + _length(data) + data
            builder = builder.add_extension(
                x509.UnrecognizedExtension(x509.ObjectIdentifier(f"{_FULCIO}.{number}"), raw), critical=False
            )
        bare = builder.sign(self._ca, hashes.SHA256()).tbs_certificate_bytes
        logged = x509.UnrecognizedExtension(_SCTS, self._sct(bare, at))
        return builder.add_extension(logged, critical=False).sign(self._ca, hashes.SHA256())

    def _sct(self, tbs: bytes, at: datetime) -> bytes:
        """The extension with one SCT for a precertificate (RFC 6962, 3.2 and 3.3)."""
        stamp = struct.pack(">Q", int(at.timestamp() * 1000))
        entry = hashlib.sha256(_spki(self._ca)).digest() + struct.pack(">I", len(tbs))[1:] + tbs
        signed = self._ct.sign(b"\0\0" + stamp + b"\0\1" + entry + b"\0\0", ec.ECDSA(hashes.SHA256()))
        one = b"\0" + _key_id(self._ct) + stamp + b"\0\0" + b"\4\3" + struct.pack(">H", len(signed)) + signed
        listed = struct.pack(">HH", len(one) + 2, len(one)) + one
        return bytes([0x04]) + _length(listed) + listed

    # the log ----------------------------------------------------------------------------------------------------------

    def _entry(self, entry: dict[str, Any], at: datetime) -> dict[str, Any]:
        """The log takes it in, promises so, and proves it by the tree as it is then."""
        body = json.dumps(entry).encode()
        with self._lock:
            self._leaves.append(hashlib.sha256(b"\0" + body).digest())
            leaves = list(self._leaves)
        number, root = len(leaves) - 1, _tree(leaves)
        promised = {"body": _b64(body), "integratedTime": int(at.timestamp()), "logID": _key_id(self._log).hex(),
                    "logIndex": number}  # fmt: skip
        said = json.dumps(promised, sort_keys=True, separators=(",", ":")).encode()
        note = f"{self._host} - 1\n{len(leaves)}\n{_b64(root)}\n"
        mark = _b64(_key_id(self._log)[:4] + self._log.sign(note.encode(), ec.ECDSA(hashes.SHA256())))
        return {
            "logIndex": str(number), "logId": {"keyId": _b64(_key_id(self._log))},
            "kindVersion": {"kind": entry["kind"], "version": entry["apiVersion"]},
            "integratedTime": str(promised["integratedTime"]),
            "inclusionPromise": {"signedEntryTimestamp": _b64(self._log.sign(said, ec.ECDSA(hashes.SHA256())))},
            "inclusionProof": {
                "logIndex": str(number), "rootHash": _b64(root), "treeSize": str(len(leaves)),
                "hashes": [_b64(each) for each in _path(number, leaves)],
                "checkpoint": {"envelope": f"{note}\n\u2014 {self._host} {mark}\n"},
            },
            "canonicalizedBody": _b64(body),
        }  # fmt: skip


def _dsse(hashed: dict[str, Any], signature: str, pem: str) -> dict[str, Any]:
    signatures = [{"signature": signature, "verifier": pem}]
    return {
        "apiVersion": "0.0.1", "kind": "dsse",
        "spec": {"envelopeHash": hashed["envelope"], "payloadHash": hashed["payload"], "signatures": signatures},
    }  # fmt: skip


def _intoto(hashed: dict[str, Any], signature: str, pem: str) -> dict[str, Any]:
    """Its signature is twice in base64 (sigstore-js, packages/sign, witness/tlog/entry.ts)."""
    signatures = [{"publicKey": pem, "sig": _b64(signature.encode())}]
    content = {
        "envelope": {"payloadType": INTOTO, "signatures": signatures}, "hash": hashed["envelope"],
        "payloadHash": hashed["payload"],
    }  # fmt: skip
    return {"apiVersion": "0.0.2", "kind": "intoto", "spec": {"content": content}}


def npm_statement(claims: dict[str, Any], name: str, version: str, sha512: str) -> dict[str, Any]:
    """What npm's client says of a build on GitHub Actions (slsa-framework.github.io/github-actions-buildtypes)."""
    subject = {"name": f"pkg:npm/{name.replace('@', '%40')}@{version}", "digest": {"sha512": sha512}}
    return _statement(claims, subject, "https://slsa-framework.github.io/github-actions-buildtypes/workflow/v1")


def image_statement(claims: dict[str, Any], name: str, digest: str) -> dict[str, Any]:
    """What ``actions/attest-build-provenance`` says of one (github.com/actions/buildtypes, workflow/v1)."""
    subject = {"name": name, "digest": {"sha256": digest.removeprefix("sha256:")}}
    return _statement(claims, subject, "https://actions.github.io/buildtypes/workflow/v1")


def _statement(claims: dict[str, Any], subject: dict[str, Any], kind: str) -> dict[str, Any]:
    where = f"{GITHUB}/{claims['repository']}"
    path = str(claims["workflow_ref"]).removeprefix(f"{claims['repository']}/").partition("@")[0]
    return {
        "_type": "https://in-toto.io/Statement/v1", "predicateType": SLSA, "subject": [subject],
        "predicate": {
            "buildDefinition": {
                "buildType": kind,
                "externalParameters": {"workflow": {"ref": claims["ref"], "repository": where, "path": path}},
                "resolvedDependencies": [
                    {"uri": f"git+{where}@{claims['ref']}", "digest": {"gitCommit": claims["sha"]}}
                ],
            },
            "runDetails": {
                "builder": {"id": f"{GITHUB}/actions/runner/github-hosted"},
                "metadata": {"invocationId": f"{where}/actions/runs/{claims['run_id']}/attempts/1"},
            },
        },
    }  # fmt: skip


def _identity(claims: dict[str, Any]) -> x509.GeneralName:
    """A job is called by its workflow, a person by their e-mail address."""
    if "email" in claims:
        return x509.RFC822Name(claims["email"])
    return x509.UniformResourceIdentifier(f"{claims.get('host', GITHUB)}/{claims['workflow_ref']}")


def _named(claims: dict[str, Any], issuer: str) -> dict[int, str]:
    """Fulcio's extensions for a job, by the last number of their names; of a person there is the issuer alone."""
    if "email" in claims:
        return {1: issuer, 8: issuer}
    host = claims.get("host", GITHUB)
    where, file = f"{host}/{claims['repository']}", f"{host}/{claims['workflow_ref']}"
    return {
        1: issuer, 8: issuer, 9: file, 12: where, 13: str(claims["sha"]), 14: str(claims["ref"]), 18: file,
        20: str(claims.get("event_name", "push")), 21: f"{where}/actions/runs/{claims['run_id']}/attempts/1",
    }  # fmt: skip


def _authority(key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    name = x509.Name([
        x509.NameAttribute(NameOID.ORGANIZATION_NAME, "harbor-lights"), x509.NameAttribute(NameOID.COMMON_NAME, "range")
    ])  # fmt: skip
    return (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(x509.random_serial_number()).not_valid_before(BEGAN).not_valid_after(ENDS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs=False), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )  # fmt: skip


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=signs, key_cert_sign=not signs, crl_sign=not signs, content_commitment=False,
        key_encipherment=False, data_encipherment=False, key_agreement=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip


def _tree(leaves: list[bytes]) -> bytes:
    """The root of a Merkle tree (RFC 6962, 2.1); its leaves are hashed already."""
    if len(leaves) == 1:
        return leaves[0]
    half = _half(len(leaves))
    return hashlib.sha256(b"\1" + _tree(leaves[:half]) + _tree(leaves[half:])).digest()


def _path(number: int, leaves: list[bytes]) -> list[bytes]:
    """The proof that a leaf is in the tree (RFC 6962, 2.1.1)."""
    if len(leaves) == 1:
        return []
    half = _half(len(leaves))
    if number < half:
        return [*_path(number, leaves[:half]), _tree(leaves[half:])]
    return [*_path(number - half, leaves[half:]), _tree(leaves[:half])]


def _half(count: int) -> int:
    """The largest power of two below it."""
    return 1 << (count - 1).bit_length() - 1


def _length(data: bytes) -> bytes:
    """The length of a DER value."""
    if len(data) < 0x80:
        return bytes([len(data)])
    size = (len(data).bit_length() + 7) // 8
    return bytes([0x80 | size]) + len(data).to_bytes(size, "big")


def _spki(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _key_id(key: ec.EllipticCurvePrivateKey) -> bytes:
    return hashlib.sha256(_spki(key)).digest()


def _hash(data: bytes) -> dict[str, str]:
    return {"algorithm": "sha256", "value": hashlib.sha256(data).hexdigest()}


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _stamp(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")

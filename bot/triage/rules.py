"""What a leaked credential tells about itself without asking anybody: its kind, its id, its account.

Rules are data over the shapes of ``bot.redact``; each carries examples that it must find and near misses that it must
not, built at run time so that no scanner takes this file for a leak. Offline facts are from the providers' documents;
what a credential does not tell stays ''.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import string
import uuid
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

from bot.redact import SHAPES, Shape
from bot.registries.pypi import macaroon

ALNUM = string.ascii_letters + string.digits
HEX = "0123456789abcdef"
BASE32 = string.ascii_uppercase + "234567"
URLSAFE = ALNUM + "-_"
BASE62 = string.digits + string.ascii_uppercase + string.ascii_lowercase
GITHUB_OIDC = "https://token.actions.githubusercontent.com"

AWS_ID = re.compile(r"(?<![A-Za-z0-9])(?:AKIA|ABIA|ACCA|ASIA)[A-Z2-7]{16}(?![A-Za-z0-9])")


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What was read offline. ``checksum``: good, bad (likely made up; never a reason to ignore), or ''."""

    id: str = ""
    account: str = ""
    checksum: str = ""
    value: str = field(default="", repr=False)  # the secret, when it is less than the whole match
    kind: str = ""  # when the content says more than the shape
    provider: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One kind of credential."""

    kind: str
    provider: str
    shape: Shape
    examples: Callable[[Random], tuple[str, ...]]
    near: Callable[[Random], tuple[str, ...]]  # almost, but not
    read: Callable[[str], Facts | None] = lambda _value: Facts()  # None: it is not one after all
    beside: Callable[[str, int], str] = lambda _text, _at: ""  # the account, where only what stands around tells it


def chars(chance: Random, count: int, alphabet: str = ALNUM) -> str:
    """Made-up characters for an example."""
    return "".join(chance.choice(alphabet) for _ in range(count))


# -- what each kind tells ------------------------------------------------------------------------------------------


def github_checksum(token: str) -> str:
    """Base62 of the CRC32 of thirty characters stands after them (github.blog, "authentication token formats")."""
    body = token.rsplit("_", 1)[-1]
    if len(body) != 36:
        return ""
    number, digits = zlib.crc32(body[:30].encode()), ""
    while number:
        number, rest = divmod(number, 62)
        digits = BASE62[rest] + digits
    return "good" if digits.zfill(6) == body[30:] else "bad"


def _github(token: str) -> Facts:
    return Facts(checksum=github_checksum(token))


def _github_installation(token: str) -> Facts:
    if match := re.match(r"ghs_(\d+)_eyJ", token):  # ghs_APPID_JWT since April 2026; its claims are undocumented
        return Facts(account=match[1])
    return _github(token)


def _claims(token: str) -> dict[str, Any]:
    part = token.split(".")[1]
    try:
        claims = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except ValueError:
        return {}
    return claims if isinstance(claims, dict) else {}


def _jwt(token: str) -> Facts:
    claims = _claims(token)
    issuer, subject, name = (str(claims.get(key, "")) for key in ("iss", "sub", "jti"))
    if subject.startswith("system:serviceaccount:"):
        return Facts(kind="kubernetes-token", provider="kubernetes", id=name, account=subject)
    if re.match(r"jf[a-z]{2}@", issuer) or "applied-permissions" in str(claims.get("scp", "")):
        return Facts(kind="artifactory-token", provider="artifactory", id=name, account=subject)
    if issuer.startswith(GITHUB_OIDC):
        return Facts(provider="github", id=name, account=str(claims.get("repository", "")))
    return Facts(id=name, account=issuer)


def _pypi(token: str) -> Facts:
    """PyPI's id of the token, as its account's page shows it, and where it is for."""
    read = macaroon(token)
    if read is None:
        return Facts()
    try:
        name = str(uuid.UUID(read.id))
    except ValueError:
        name = ""
    return Facts(id=name, account=read.location)


def _slack(token: str) -> Facts:
    match = re.match(r"(?:xoxe\.)?xox[a-z]-(\d{6,})-", token)
    return Facts(account=match[1] if match else "")


def _slack_webhook(path: str) -> Facts:
    parts = path.split("/")
    return Facts(id="/".join(parts[:2]), account=parts[0])


# How a name stands beside a token of Docker Hub, most telling first. Its names are 4 to 30 small letters and digits.
_DOCKER_NAMES = tuple(re.compile(pattern) for pattern in (
    r"(?<![a-z0-9])([a-z0-9]{4,30}):\Z",  # NAME:TOKEN, as docker's config.json and curl -u have it
    r"(?i:docker[\w-]*?(?:user(?:_?name)?|login|org(?:ani[sz]ation)?|id))[\"']?\s{0,3}[=:]\s{0,3}[\"']?([a-z0-9]{4,30})(?![\w.-])",
    r"docker login\b[^\n]{0,200}?(?:-u|--username)[ =][\"']?([a-z0-9]{4,30})(?![\w.-])",
    r"(?m)^\s*username:\s*[\"']?([a-z0-9]{4,30})[\"']?\s*$",  # an input of docker/login-action
))  # fmt: skip
_BESIDE = 2000  # characters, either way


def docker_names(text: str) -> tuple[str, ...]:
    """Every account of Docker Hub that a text names as one that signs in, most telling first."""
    return tuple(dict.fromkeys(match[1] for names in _DOCKER_NAMES for match in names.finditer(text)))


def _docker_name(text: str, at: int) -> str:
    """The account whose name stands beside a token; '' when none does, or several."""
    start = max(0, at - _BESIDE)
    if match := _DOCKER_NAMES[0].search(text[start:at]):
        return match[1]
    named = docker_names(text[start : at + _BESIDE])
    return named[0] if len(named) == 1 else ""


def _private_key(pem: str) -> Facts:
    """The fingerprint of its public half, as ``ssh-keygen -l`` and GitHub print it; '' when it is locked or damaged."""
    text = pem.replace("\\r", "").replace("\\n", "\n")
    data = "\n".join(line.strip() for line in text.splitlines()).encode() + b"\n"
    load = serialization.load_ssh_private_key if b"OPENSSH" in data else serialization.load_pem_private_key
    try:
        public = load(data, password=None).public_key()
        wire = public.public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH).split()[1]
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return Facts()
    digest = hashlib.sha256(base64.b64decode(wire)).digest()
    return Facts(id="SHA256:" + base64.b64encode(digest).decode().rstrip("="))


def _service_account(text: str) -> Facts | None:
    """A Google key file names itself: all that is needed to disable it stands in it."""
    try:
        file = json.loads(text)
        email, key, project = file["client_email"], file["private_key_id"], file["project_id"]
        return Facts(
            id=f"projects/{project}/serviceAccounts/{email}/keys/{key}", account=str(project), value=file["private_key"]
        )
    except (ValueError, KeyError):
        return None


# -- examples --------------------------------------------------------------------------------------------------------


def example_jwt(chance: Random, **claims: Any) -> str:
    """A JWT that nobody signed."""
    parts = [json.dumps({"alg": "RS256", "typ": "JWT"}), json.dumps(claims)]
    heads = [base64.urlsafe_b64encode(part.encode()).decode().rstrip("=") for part in parts]
    return ".".join([*heads, chars(chance, 86, URLSAFE)])


def example_private_key() -> str:
    """A key of nobody, made now."""
    return ed25519.Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    ).decode()  # fmt: skip


def _example_macaroon(chance: Random) -> str:
    name = str(uuid.UUID(int=chance.getrandbits(128))).encode()
    fields = ((1, b"pypi.org"), (2, name))
    body = b"\x02" + b"".join(bytes([kind, len(data)]) + data for kind, data in fields)
    body += b"\0\0\x06\x20" + chance.randbytes(32)
    return "pypi-" + base64.urlsafe_b64encode(body).decode().rstrip("=")


def _example_key_file(chance: Random) -> str:
    return json.dumps({
        "type": "service_account", "project_id": "harbor-demo", "private_key_id": chars(chance, 40, HEX),
        "private_key": example_private_key(), "client_email": "deploy@harbor-demo.iam.gserviceaccount.com",
    })  # fmt: skip


def _simple(kind: str, provider: str, start: str, count: int, alphabet: str = ALNUM, **more: Any) -> Rule:
    return Rule(
        kind=kind, provider=provider, shape=SHAPES[more.pop("shape", kind)],
        examples=lambda r: (start + chars(r, count, alphabet),),
        near=lambda r: (start + chars(r, min(count // 3, 20), alphabet), start[:-1] + chars(r, 6), start), **more,
    )  # fmt: skip


_KEY_FILE = Shape(("service_account",), re.compile(r"\{[^{}]*\"type\"\s*:\s*\"service_account\"[^{}]*\}"))

_WEBHOOK = "https://hooks.slack.com/services/"

# Tried in this order; what an earlier rule took, a later one does not see.
RULES: dict[str, Rule] = {
    rule.kind: rule
    for rule in (
        Rule(
            kind="gcp-service-account-key", provider="gcp", shape=_KEY_FILE, read=_service_account,
            examples=lambda r: (_example_key_file(r),),
            near=lambda _r: ('{"type": "service_account", "project_id": "harbor-demo"}',),
        ),
        Rule(
            kind="ssh-private-key", provider="ssh", shape=SHAPES["ssh-private-key"], read=_private_key,
            examples=lambda _r: (example_private_key(), example_private_key().replace("\n", "\\n")),
            near=lambda _r: ("-----BEGIN OPENSSH PRIVATE " + "KEY-----", "-----BEGIN PUBLIC KEY-----\nMIIB\n"),
        ),
        Rule(
            kind="github-installation", provider="github", shape=SHAPES["github-installation"],
            read=_github_installation,
            examples=lambda r: ("ghs_" + chars(r, 36), "ghs_123456_" + example_jwt(r, iss="demo")),
            near=lambda r: ("ghs_" + chars(r, 20), "ghs_123456"),
        ),
        _simple("github-pat-fine-grained", "github", "github_pat_", 82),
        _simple("github-pat-classic", "github", "ghp_", 36, read=_github),
        _simple("github-oauth", "github", "gho_", 36, read=_github),
        _simple("npm-token", "npm", "npm_", 36),
        Rule(
            kind="pypi-token", provider="pypi", shape=SHAPES["pypi-token"], read=_pypi,
            examples=lambda r: (_example_macaroon(r),),
            near=lambda r: ("pypi-" + chars(r, 20), "pypi-AgEIcHlwaS5vcmc"),
        ),
        _simple("rubygems-key", "rubygems", "rubygems_", 48, HEX),
        _simple("crates-token", "crates", "cio", 32),
        _simple("dockerhub-pat", "dockerhub", "dckr_pat_", 27, URLSAFE, beside=_docker_name),
        _simple("dockerhub-oat", "dockerhub", "dckr_oat_", 32, URLSAFE, beside=_docker_name),
        Rule(
            kind="slack-token", provider="slack", shape=SHAPES["slack-token"], read=_slack,
            examples=lambda r: (f"xoxb-{chars(r, 11, string.digits)}-{chars(r, 12, string.digits)}-{chars(r, 24)}",),
            near=lambda _r: ("xoxb-", "xox-1234"),
        ),
        Rule(
            kind="slack-webhook", provider="slack", shape=SHAPES["slack-webhook"], read=_slack_webhook,
            examples=lambda r: (_WEBHOOK + f"T{chars(r, 8, BASE32)}/B{chars(r, 8, BASE32)}/{chars(r, 24)}",),
            near=lambda _r: (_WEBHOOK, "https://hooks.slack.com/docs"),
        ),
        _simple("vault-token", "vault", "hvs.", 95, URLSAFE),
        Rule(
            kind="cloudflare-token", provider="cloudflare", shape=SHAPES["cloudflare-token"],
            examples=lambda r: ("cfat_" + chars(r, 40) + chars(r, 8, HEX), "cfut_" + chars(r, 40) + chars(r, 8, HEX)),
            near=lambda r: ("cfat_" + chars(r, 40), "cfxt_" + chars(r, 40) + chars(r, 8, HEX)),
        ),
        Rule(
            kind="artifactory-token", provider="artifactory", shape=SHAPES["artifactory-token"],
            examples=lambda r: ("AKCp" + chars(r, 69), "cmVmd" + chars(r, 59)),
            near=lambda r: ("AKCp" + chars(r, 30), "cmVmd" + chars(r, 40)),
        ),
        Rule(
            kind="azure-client-secret", provider="azure", shape=SHAPES["azure-client-secret"],
            examples=lambda r: (chars(r, 3) + "8Q~" + chars(r, 34),),
            near=lambda r: (chars(r, 3) + "8Q~" + chars(r, 20),),
        ),
        Rule(
            kind="jwt", provider="unknown", shape=SHAPES["jwt"], read=_jwt,
            examples=lambda r: (example_jwt(r, iss="https://issuer.example", sub="ferry", jti="1"),),
            near=lambda _r: ("eyJhbGciOiJSUzI1NiJ9", "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJmIn0"),
        ),
    )
}  # fmt: skip

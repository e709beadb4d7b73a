"""AWS on the wire: what a request asks, whether its signature is right, and how a refusal looks in each protocol.

Sources: the Signature Version 4 pages of the IAM User Guide; "Common errors" of IAM, STS, CloudTrail, ECR, S3 and
CodeArtifact.
"""

from __future__ import annotations

import hashlib
import hmac
import io
import json
import re
import socket
import uuid
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl
from xml.sax.saxutils import escape

from bot.range import aws_rest

JSON_SERVICES = {"cloudtrail", "ecr", "secretsmanager", "ssm"}
REST_SERVICES = {"codeartifact"}
NAMESPACES = {
    "iam": "https://iam.amazonaws.com/doc/2010-05-08/",
    "sts": "https://sts.amazonaws.com/doc/2011-06-15/",
}
# What the same refusal is called, and its status, where a service differs from IAM and STS (403 there).
_DIALECT: dict[tuple[str, str], tuple[str, int]] = {
    ("s3", "InvalidClientTokenId"): ("InvalidAccessKeyId", 403),
    ("s3", "InvalidSessionToken"): ("InvalidToken", 400),
    ("s3", "ExpiredToken"): ("ExpiredToken", 400),
    ("json", "InvalidClientTokenId"): ("UnrecognizedClientException", 400),
    ("json", "InvalidSessionToken"): ("UnrecognizedClientException", 400),
    ("json", "SignatureDoesNotMatch"): ("InvalidSignatureException", 400),
    ("json", "ExpiredToken"): ("ExpiredTokenException", 400),
    ("json", "AccessDenied"): ("AccessDeniedException", 400),
    ("json", "MissingAuthenticationToken"): ("MissingAuthenticationTokenException", 400),
    ("rest", "InvalidClientTokenId"): ("UnrecognizedClientException", 403),
    ("rest", "InvalidSessionToken"): ("UnrecognizedClientException", 403),
    ("rest", "SignatureDoesNotMatch"): ("InvalidSignatureException", 403),
    ("rest", "ExpiredToken"): ("ExpiredTokenException", 403),
    ("rest", "AccessDenied"): ("AccessDeniedException", 403),
    ("rest", "MissingAuthenticationToken"): ("MissingAuthenticationTokenException", 403),
    ("s3", "MissingAuthenticationToken"): ("AccessDenied", 403),
    ("query", "InvalidSessionToken"): ("InvalidClientTokenId", 403),
}
_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256\s+Credential=(?P<key>[^/]+)/(?P<date>\d{8})/(?P<region>[^/]+)/(?P<service>[^/]+)/aws4_request,"
    r"\s*SignedHeaders=(?P<headers>[^,]+),\s*Signature=(?P<signature>[0-9a-f]{64})\s*"
)


class AwsError(Exception):
    """A refusal, in IAM's words; ``refusal`` translates it into the service's."""

    def __init__(self, code: str, message: str, status: int = 403) -> None:
        self.code, self.message, self.status = code, message, status
        super().__init__(f"{code}: {message}")


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer on its way out."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes


@dataclass(slots=True)
class Call:
    """One request, read."""

    method: str
    raw_path: str
    raw_query: str
    headers: dict[str, str]  # names in lower case
    body: bytes
    environ: dict[str, Any]
    service: str = ""
    operation: str = ""
    params: dict[str, Any] = field(default_factory=dict)
    key_id: str = ""
    region: str = "us-east-1"
    scope_date: str = ""
    signed_headers: str = ""
    signature: str = ""
    id: str = field(default_factory=lambda: str(uuid.uuid4()))

    @property
    def session_token(self) -> str:
        return self.headers.get("x-amz-security-token", "")

    @property
    def route(self) -> str:
        return f"{self.service}:{self.operation}"

    @property
    def protocol(self) -> str:
        if self.service in REST_SERVICES:
            return "rest"
        return "s3" if self.service == "s3" else "json" if self.service in JSON_SERVICES else "query"


def read(environ: dict[str, Any]) -> Call:
    """Read a WSGI request; its body is put back for whoever answers it. S3's operation is left to the S3 model."""
    if environ.get("wsgi.input_terminated"):
        body = environ["wsgi.input"].read()
    else:
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    environ["wsgi.input"] = io.BytesIO(body)
    environ["CONTENT_LENGTH"] = str(len(body))
    headers = {k[5:].replace("_", "-").lower(): v for k, v in environ.items() if k.startswith("HTTP_")}
    headers |= {"content-type": environ.get("CONTENT_TYPE", ""), "content-length": environ["CONTENT_LENGTH"]}
    target = environ.get("RAW_URI") or environ.get("REQUEST_URI") or environ["PATH_INFO"]
    raw_path, _, raw_query = target.partition("?")
    call = Call(environ["REQUEST_METHOD"], raw_path, raw_query, headers, body, environ)
    match = _AUTHORIZATION.fullmatch(headers.get("authorization", ""))
    if match:
        call.key_id, call.region, call.service = match["key"], match["region"], match["service"]
        call.scope_date, call.signed_headers, call.signature = match["date"], match["headers"], match["signature"]
    form = headers["content-type"].startswith("application/x-www-form-urlencoded")
    values = dict(parse_qsl(body.decode(errors="replace"), keep_blank_values=True)) if form else {}
    if "x-amz-target" in headers:
        call.operation = headers["x-amz-target"].rsplit(".", 1)[-1]
        call.params = _object(body)
        if call.service in ("secretsmanager", "ssm"):  # nobody but the service itself needs to know the value
            call.params = {k: v for k, v in call.params.items() if k not in ("SecretString", "SecretBinary", "Value")}
    elif "Action" in values:
        call.operation = values.pop("Action")
        values.pop("Version", None)
        call.params = nested(values)
        call.service = call.service or "sts"  # the only unsigned calls of the query protocol are STS's
    elif call.service in REST_SERVICES:
        call.operation, call.params = aws_rest.asked(call.service, call.method, raw_path, raw_query, headers, body)
    else:
        call.service = call.service or "s3"
    return call


def _object(body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(body or b"{}")
    except ValueError:
        found = None
    return found if isinstance(found, dict) else {}


def nested(flat: dict[str, str]) -> dict[str, Any]:
    """Query parameters with their lists: ``Tags.member.1.Key=a`` becomes ``{"Tags": [{"Key": "a"}]}``."""
    out: dict[str, Any] = {}
    for name, value in flat.items():
        parts = name.replace(".member.", ".").split(".")
        here: dict[str, Any] = out
        for part in parts[:-1]:
            here = here.setdefault(part, {})
        here[parts[-1]] = value
    return {k: _with_lists(v) for k, v in out.items()}


def _with_lists(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    if value and all(k.isdigit() for k in value):
        return [_with_lists(value[k]) for k in sorted(value, key=int)]
    return {k: _with_lists(v) for k, v in value.items()}


def check_signature(call: Call, secret: str) -> None:
    """Recompute the signature with the key's secret; ``SignatureDoesNotMatch`` when it differs.

    The date of the request is not compared: the range's clock may stand far from the client's.
    """
    digest = call.headers.get("x-amz-content-sha256") or hashlib.sha256(call.body).hexdigest()
    if re.fullmatch(r"[0-9a-f]{64}", digest) and digest != hashlib.sha256(call.body).hexdigest():
        raise AwsError("XAmzContentSHA256Mismatch", "The provided 'x-amz-content-sha256' header does not match", 400)
    names = call.signed_headers.split(";")
    canonical = "\n".join([
        call.method, call.raw_path, "&".join(sorted(_pairs(call.raw_query), key=lambda pair: pair.split("=", 1))),
        "".join(f"{name}:{' '.join(call.headers.get(name, '').split())}\n" for name in names),
        call.signed_headers, digest,
    ])  # fmt: skip
    scope = f"{call.scope_date}/{call.region}/{call.service}/aws4_request"
    stamp = call.headers.get("x-amz-date", "")
    text = "\n".join(["AWS4-HMAC-SHA256", stamp, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    key = f"AWS4{secret}".encode()
    for part in (call.scope_date, call.region, call.service, "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    good = hmac.digest(key, text.encode(), "sha256").hex()
    if not hmac.compare_digest(good.encode(), call.signature.encode()):
        raise AwsError(
            "SignatureDoesNotMatch",
            "The request signature we calculated does not match the signature you provided. "
            "Check your AWS Secret Access Key and signing method.",
        )


def _pairs(query: str) -> list[str]:
    return [part if "=" in part else f"{part}=" for part in query.split("&") if part]


def refusal(call: Call, error: AwsError) -> Reply:
    """The error in the words and the form of the call's service."""
    code, status = _DIALECT.get((call.protocol, error.code), (error.code, error.status))
    headers = [("x-amzn-RequestId", call.id), ("x-amz-request-id", call.id)]
    if call.protocol in ("json", "rest"):
        body = json.dumps({"__type": code, "message": error.message})
        headers += [("Content-Type", "application/x-amz-json-1.1"), ("x-amzn-ErrorType", code)]
    elif call.protocol == "s3":
        headers.append(("Content-Type", "application/xml"))
        inner = xml({"Code": code, "Message": error.message, "RequestId": call.id})
        body = "" if call.method == "HEAD" else f'<?xml version="1.0" encoding="UTF-8"?>\n<Error>{inner}</Error>'
    else:
        headers.append(("Content-Type", "text/xml"))
        who = "Sender" if status < 500 else "Receiver"
        inner = xml({"Error": {"Type": who, "Code": code, "Message": error.message}, "RequestId": call.id})
        body = f'<ErrorResponse xmlns="{NAMESPACES.get(call.service, "")}">{inner}</ErrorResponse>'
    return Reply(status, headers, body.encode())


def answer(call: Call, result: dict[str, Any]) -> Reply:
    """A result of our own, in the protocol of the call's service."""
    headers = [("x-amzn-RequestId", call.id)]
    if call.protocol == "rest":
        more, content = aws_rest.told(call.service, call.operation, result)
        return Reply(200, [*headers, *more], content)
    if call.protocol == "json":
        headers.append(("Content-Type", "application/x-amz-json-1.1"))
        return Reply(200, headers, json.dumps(result).encode())
    op = call.operation
    headers.append(("Content-Type", "text/xml"))
    inner = xml({f"{op}Result": result, "ResponseMetadata": {"RequestId": call.id}})
    body = f'<{op}Response xmlns="{NAMESPACES[call.service]}">{inner}</{op}Response>'
    return Reply(200, headers, body.encode())


def xml(value: Any) -> str:
    """Nested dictionaries and lists as AWS's query XML."""
    if isinstance(value, dict):
        return "".join(f"<{k}>{xml(v)}</{k}>" for k, v in value.items())
    if isinstance(value, list):
        return "".join(f"<member>{xml(v)}</member>" for v in value)
    return escape(str(value).lower() if isinstance(value, bool) else str(value))


def cut(environ: dict[str, Any]) -> None:
    """Close the client's connection without an answer (werkzeug hands the socket over in the environ)."""
    connection: socket.socket | None = environ.get("werkzeug.socket")
    if connection is not None:
        connection.shutdown(socket.SHUT_RDWR)
    raise ConnectionResetError("fault of the range")

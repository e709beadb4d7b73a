"""AWS's REST-JSON protocol for services that the range plays itself, read and written by AWS's own description of them.

A request is its method, path, query and headers (Smithy, "AWS restJson1 protocol"); botocore ships the description that
boto3 calls by, so what it does not name is no operation here either.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qsl

import botocore.loaders
from botocore.model import OperationModel, ServiceModel, Shape

Headers = list[tuple[str, str]]


@lru_cache(maxsize=4)
def _operations(service: str) -> dict[tuple[str, str], OperationModel]:
    """(method, path) -> operation. None of these services has a name in its paths."""
    model = ServiceModel(botocore.loaders.create_loader().load_service_model(service, "service-2"))
    found = (model.operation_model(name) for name in model.operation_names)
    return {(each.http["method"], each.http["requestUri"]): each for each in found}


def asked(
    service: str, method: str, path: str, query: str, headers: dict[str, str], body: bytes
) -> tuple[str, dict[str, Any]]:  # fmt: skip
    """(operation, parameters) of a request; ("Unknown", {}) when there is none such. A blob stays in the body."""
    operation = _operations(service).get((method, path))
    if operation is None:
        return "Unknown", {}
    shape, given = operation.input_shape, dict(parse_qsl(query, keep_blank_values=True))
    found: dict[str, Any] = {}
    for name, member in shape.members.items():
        where, wire = member.serialization.get("location"), member.serialization.get("name", name)
        if where == "querystring" and wire in given:
            found[name] = _typed(member, given[wire])
        elif where == "header" and wire.lower() in headers:
            found[name] = headers[wire.lower()]
    if not shape.serialization.get("payload"):
        try:
            sent = json.loads(body or b"{}")
        except ValueError:
            sent = {}
        found |= {name: value for name, value in sent.items() if name in shape.members}
    return operation.name, found


def _typed(member: Shape, text: str) -> Any:
    if member.type_name == "boolean":
        return text == "true"
    return int(text) if member.type_name in ("integer", "long") and text.isdigit() else text


def missing(service: str, operation: str, params: dict[str, Any]) -> list[str]:
    """Parameters that the operation needs and that were not given; the blob in the body is not looked for."""
    model = next(each for each in _operations(service).values() if each.name == operation)
    shape = model.input_shape
    return [
        name for name in shape.required_members if name not in params and name != shape.serialization.get("payload")
    ]


def told(service: str, operation: str, result: dict[str, Any]) -> tuple[Headers, bytes]:
    """The headers and the body of an answer; times are seconds since 1970, as this protocol writes them in JSON."""
    model = next(each for each in _operations(service).values() if each.name == operation)
    shape = model.output_shape
    headers: Headers = []
    rest = dict(result)
    for name, member in shape.members.items():
        if member.serialization.get("location") == "header" and name in rest:
            headers.append((member.serialization["name"], str(rest.pop(name))))
    if payload := shape.serialization.get("payload"):
        return [*headers, ("Content-Type", "application/octet-stream")], bytes(rest[payload])
    return [*headers, ("Content-Type", "application/json")], json.dumps(plain(rest)).encode()


def plain(value: Any) -> Any:
    """As JSON has it: times are seconds since 1970."""
    if isinstance(value, dict):
        return {name: plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    return value.astimezone(UTC).timestamp() if isinstance(value, datetime) else value

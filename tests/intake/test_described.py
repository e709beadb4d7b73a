"""The webhook door, fuzzed by schemathesis from the description that it publishes: what is answered was described.

Each request is sent as it was made, and once more with its proof where a secret can sign it, so that it gets inside.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from bot import web
from bot.web.hooks import Hooks
from tests.intake.office import SECRETS, Office, office, proof
from tests.test_web import Serving

__all__ = ["office"]  # a fixture
CHECKS: list[Any] = [
    not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance
]  # fmt: skip
EVENTS = ("secret_scanning_alert", "push", "workflow_run", "dependabot_alert", "")
pytestmark = pytest.mark.slow


@pytest.fixture
def database(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'b.db'}"


@pytest.fixture
def url(office: Office) -> Iterator[str]:
    with Serving(web.application(office.store, hooks=Hooks(office.door, body_s=2.0))) as address:
        yield address


def test_every_operation_answers_as_described(office: Office, url: str) -> None:
    described = httpx.get(f"{url}/hooks/openapi.json", trust_env=False).json()
    operations = [found.ok() for found in schemathesis.openapi.from_dict(described).get_all_operations()]
    assert {one.path for one in operations} == described["paths"].keys()
    inside: dict[str, set[int]] = {}
    with requests.Session() as line:
        line.trust_env = False
        for operation in operations:
            _fuzz(operation, url, line, inside)
    assert inside.keys() == SECRETS.keys()
    assert all(401 not in told for told in inside.values()), "what is proven gets inside"
    assert any(202 in told for told in inside.values())


def _fuzz(operation: Any, url: str, line: requests.Session, inside: dict[str, set[int]]) -> None:
    source = operation.path.rpartition("/")[2]

    @settings(max_examples=12, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(case=operation.as_strategy())
    def one(case: Any) -> None:
        plain = case.call(base_url=url, session=line)
        case.validate_response(plain, checks=CHECKS)
        sent = plain.request.body or b""
        raw = sent.encode() if isinstance(sent, str) else sent
        for event in EVENTS if source == "github" else EVENTS[:1]:
            if source in SECRETS:
                headers = {"content-type": "application/json", **proof(source, raw, datetime.now(UTC), event)}
                proven = line.post(url + operation.path, data=raw, headers=headers, timeout=20)
                case.validate_response(proven, checks=CHECKS)
                inside.setdefault(source, set()).add(proven.status_code)

    one()

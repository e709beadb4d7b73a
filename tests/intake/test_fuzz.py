"""Whatever a proven sender puts where: a reading or a status, never an error of ours."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bot.errors import Undeliverable
from bot.intake import aws, gitguardian, github, stepsecurity
from bot.intake.delivery import Delivery, Reading, Sender
from bot.model import Trust
from tests.intake.office import alert
from tests.intake.test_aws_sources import finding, health
from tests.intake.test_scanners import JSON, _put

SENDER = Sender(trust=Trust.SIGNED, by="test")
OCCURRENCE = {
    "action": "new_occurrence", "target_user": "x",
    "incident": {"id": 5, "detector": {"name": "aws_iam"}, "validity": "valid"},
    "occurrence": {"id": 7, "filepath": "a", "source": {"url": "https://github.com/a/b", "visibility": "public"}},
}  # fmt: skip
DETECTION = [{"id": "Secret-In-Build-Log", "owner": "a", "repo": "a/b", "run_id": "5", "detection": "x"}]
LOCATION = alert() | {"location": {"type": "commit", "details": {"path": "a", "start_line": 1, "blob_sha": "b"}}}
RUN = {"action": "completed", "workflow_run": {"id": 1, "actor": {"login": "a"}}, "commits": [{"id": "x"}],
       "repository": {"full_name": "a/b"}}  # fmt: skip


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@pytest.mark.parametrize(
    ("read", "whole", "event"),
    [
        (github.read, alert(), "secret_scanning_alert"),
        (github.read, alert(action="resolved"), "secret_scanning_alert"),
        (github.read, LOCATION, "secret_scanning_alert_location"),
        (github.read, RUN, "workflow_run"),
        (github.read, RUN, "push"),
        (github.read, RUN, "dependabot_alert"),
        (gitguardian.read, OCCURRENCE, ""),
        (stepsecurity.read, DETECTION, ""),
        (lambda given, _sender: aws.read(json.loads(given.body)), finding(), ""),
        (lambda given, _sender: aws.read(json.loads(given.body)), health("AWS_RISK_CREDENTIALS_EXPOSED", "x"), ""),
    ],
)  # fmt: skip
@given(data=st.data())
def test_any_value_in_any_field(read: Any, whole: Any, event: str, data: st.DataObject) -> None:
    value = [json.loads(json.dumps(whole))]
    for _ in range(data.draw(st.integers(1, 3))):
        _put(value, data.draw(st.integers(0, 25)), data.draw(JSON))
    body = json.dumps(value[0]).encode()
    headers = {"x-github-event": event, "content-type": "application/json"}
    try:
        told = read(Delivery(source="x", body=body, headers=headers, at=datetime.now(UTC)), SENDER)
    except Undeliverable as exc:
        assert exc.status in (400, 413, 415)
        return
    assert isinstance(told, Reading)
    assert told.note or not told.empty

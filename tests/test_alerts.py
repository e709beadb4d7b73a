"""The alert rules for Prometheus: every metric, label and value in them is one that /metrics can have."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families
from typer.testing import CliRunner

from bot import heartbeat
from bot.__main__ import app
from bot.app import opened
from bot.lessons.measures import Measures
from bot.model import RowState
from bot.settings import Settings
from bot.store_intake import DEAD, HELD, LANDED, WORKED
from bot.web import metrics
from tests.incidents import ASKING, KEY, land

FILE = Path(__file__).parent.parent / "docs" / "deploy" / "alerts.yml"
RULES: list[dict[str, Any]] = yaml.safe_load(FILE.read_text())["groups"][0]["rules"]
VALUES = {
    "role": set(heartbeat.ROLES), "state": {*(state.value for state in RowState), DEAD, HELD, LANDED, WORKED},
    "job": {"bulkhead"},
}  # fmt: skip


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What an installation says that has an incident and a report in it."""
    with opened(Settings(home=tmp_path_factory.mktemp("alerts")), sites={}) as bulkhead:
        land(bulkhead, ASKING, "open", b"")
        heartbeat.beat(bulkhead.store, "worker", datetime.now(UTC))
        bulkhead.inbox.land(source="cli", world="real", by="ann", text=KEY, at=datetime.now(UTC))
        return metrics.page(bulkhead.store, datetime.now(UTC), {}, Measures(bulkhead.store)).decode()


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: str(rule["alert"]))
def test_a_rule_asks_for_what_is_there_and_tells_on_call_what_to_type(rule: dict[str, Any], page: str) -> None:
    families = {family.name: family for family in text_string_to_metric_families(page)}
    names = set(re.findall(r"\bbulkhead_[a-z_]+|\bup\b", rule["expr"]))
    assert names, rule
    assert names - {"up"} <= set(families)
    labels = {label for name in names - {"up"} for sample in families[name].samples for label in sample.labels}
    for label, _, said in re.findall(r"(\w+)(=~?)\"([^\"]+)\"", rule["expr"]):
        assert "up" in names or not labels or label in labels
        assert set(said.split("|")) <= VALUES[label]
    assert rule["labels"]["severity"] in ("page", "ticket")
    assert rule["annotations"]["summary"]
    for command in re.findall(r"`bulkhead ([a-z ]+[a-z])", rule["annotations"]["do"]):
        done = CliRunner().invoke(app, [*command.split(), "--help"])
        assert done.exit_code == 0, f"there is no bulkhead {command}"


def test_a_silent_worker_and_a_thrown_switch_are_what_the_rules_say(page: str) -> None:
    assert 'bulkhead_silent{role="worker"} 0.0' in page
    assert 'bulkhead_silent{role="clock"} 1.0' in page
    assert "bulkhead_frozen 0.0" in page

"""The alert rules for Prometheus: each is brought about in a house and taken away again, and fires just then."""

from __future__ import annotations

import operator
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from bot.health import lights
from docs import generate
from tests.incidents import OPENED
from tests.states import STATES, House, Series, asks, each, late, not_proven, reopened, well

FILE = Path(__file__).parent.parent / "docs" / "deploy" / "alerts.yml"
RULES: list[dict[str, Any]] = yaml.safe_load(FILE.read_text())["groups"][0]["rules"]
BY_NAME = {rule["alert"]: rule for rule in RULES}


# a small evaluator of what our rules are written in -------------------------------------------------------------------

SELECTOR = re.compile(r"([a-z_]+)(?:\{([^}]*)\})?")
OPERATORS = {"==": operator.eq, ">": operator.gt, "<": operator.lt}


def selected(text: str, scrape: list[Series]) -> list[Series]:
    """``name{label="value",label=~"one|other"}`` (prometheus.io/docs/prometheus/latest/querying/basics)."""
    found = SELECTOR.fullmatch(text.strip())
    assert found, text
    wanted = re.findall(r'(\w+)(=~?)"([^"]*)"', found[2] or "")
    patterns = [(label, value if how == "=~" else re.escape(value)) for label, how, value in wanted]
    return [
        one for one in scrape
        if one[0] == found[1] and all(re.fullmatch(pattern, one[1].get(label, "")) for label, pattern in patterns)
    ]  # fmt: skip


def evaluated(expr: str, scrape: list[Series]) -> list[tuple[Mapping[str, str], float]]:
    """Labels and value of each series that an expression gives: the alert fires for each of them."""
    if " or " in expr:
        first, _, rest = expr.partition(" or ")
        return evaluated(first, scrape) or evaluated(rest, scrape)
    compared = re.fullmatch(r"(.+?) (==|>|<) ([\d. *]+)", expr)
    if compared:
        most = 1.0
        for factor in compared[3].split("*"):
            most *= float(factor)
        return [one for one in evaluated(compared[1], scrape) if OPERATORS[compared[2]](one[1], most)]
    called = re.fullmatch(r"(sum|abs|absent)\((.+)\)", expr)
    if not called:
        return [(labels, value) for _, labels, value in selected(expr, scrape)]
    inner = selected(called[2], scrape)
    if called[1] == "absent":
        return [] if inner else [(dict(re.findall(r'(\w+)="([^"]*)"', called[2])), 1.0)]
    if called[1] == "abs":
        return [(labels, abs(value)) for _, labels, value in inner]
    return [({}, sum(value for *_, value in inner))] if inner else []


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with well(tmp_path) as made:
        yield made


@pytest.mark.parametrize("name", each(BY_NAME))
def test_a_rule_fires_while_its_state_lasts_and_only_then(name: str, house: House) -> None:
    expr = BY_NAME[name]["expr"]
    assert evaluated(expr, house.scrape()) == [], "all is well"
    state = STATES[name](house)
    for _ in state:
        assert evaluated(expr, house.scrape()), "it is there"
    assert evaluated(expr, house.scrape()) == [], "it is over"


def test_in_a_house_where_all_is_well_nothing_fires_and_every_rule_has_a_state(house: House) -> None:
    scrape = house.scrape()
    assert [rule["alert"] for rule in RULES if evaluated(rule["expr"], scrape)] == []
    assert set(STATES) == {rule["alert"] for rule in RULES}


@pytest.mark.slow
@pytest.mark.parametrize("story", [asks, late, reopened, not_proven], ids=lambda story: story.__name__)
def test_nobody_is_woken_for_a_drill(house: House, story: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = House.lands
    monkeypatch.setattr(House, "lands", lambda self, told: whole(self, told, "range"))
    next(story(house))
    assert OPENED["world"] == "real"
    assert [rule["alert"] for rule in RULES if evaluated(rule["expr"], house.scrape())] == []


def test_each_rule_tells_on_call_what_to_type() -> None:
    known = generate.commands()
    for rule in RULES:
        assert rule["labels"]["severity"] in ("page", "ticket")
        assert rule["annotations"]["summary"]
        for typed in re.findall(r"`(bulkhead [a-z ]+[a-z])", rule["annotations"]["do"]):
            assert any(typed == name or typed.startswith(f"{name} ") for name in known), f"there is no {typed}"


def test_the_rules_and_the_status_page_have_the_same_bounds() -> None:
    numbers = {rule["alert"]: float(re.findall(r"[<>] ([\d.]+)", rule["expr"])[0])
               for rule in RULES if re.search("[<>]", rule["expr"])}  # fmt: skip
    for name, bound in (
        ("AskWaits", lights.ASK_S), ("StepLate", lights.LATE_S), ("InboxWaits", lights.INBOX_S),
        ("SlackWaits", lights.SLACK_S), ("BudgetThin", lights.LEFT), ("ClockOff", lights.AHEAD_S),
        ("VaultKeyOld", lights.KEY_DAYS),
    ):  # fmt: skip
        assert numbers[f"Bulkhead{name}"] == bound


@pytest.mark.slow
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: str(rule["alert"]))
def test_prometheus_itself_says_the_same(rule: dict[str, Any], house: House, tmp_path: Path) -> None:
    """By promtool of Debian's package prometheus, over the same scrapes."""
    if shutil.which("promtool") is None:
        pytest.skip("there is no promtool on this machine (apt-get install prometheus)")
    scrapes = [(house.scrape(), False)]
    scrapes += [(house.scrape(), True) for _ in STATES[rule["alert"]](house)]
    alerts = [{
        "interval": "1m", "input_series": [
            {"series": name + "{" + ",".join(f'{k}="{v}"' for k, v in labels.items()) + "}", "values": f"{value}x60"}
            for name, labels, value in scrape
        ],
        "alert_rule_test": [{"eval_time": "45m", "alertname": rule["alert"], "exp_alerts": [
            {"exp_labels": rule["labels"] | dict(labels), "exp_annotations": rule["annotations"]}
            for labels, _ in evaluated(rule["expr"], scrape)
        ] if fires else []}],
    } for scrape, fires in scrapes]  # fmt: skip
    tests = tmp_path / "tests.yml"
    tests.write_text(yaml.safe_dump({"rule_files": [str(FILE)], "tests": alerts}))
    done = subprocess.run(
        ["promtool", "test", "rules", str(tests)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr

"""``make serve``: one address, nothing real comes along, and Ctrl-C leaves nothing behind."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests
from pydantic import SecretStr

from bot.cli import play
from bot.drill import Range
from bot.settings import Settings
from tests.played import played
from tests.slack_range import until

CAST = {
    "bot_token": "xoxb-" + "range", "signing_secret": "made-up", "app_id": "A1", "client_id": "1.2",
    "client_secret": "made-up", "groups": dict.fromkeys(("responders", "approvers", "leads", "oncall"), "S1"),
    "channels": {"incidents": "C1"}, "users": {"mara": {"id": "U1"}},
}  # fmt: skip


def test_nothing_of_the_real_installation_comes_along(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the environment says, of settings that there are and that will be."""
    plain = {name: field.get_default(call_default_factory=True) for name, field in Settings.model_fields.items()}
    for name, value in plain.items():
        monkeypatch.setenv(f"BULKHEAD_{name.upper()}", "7" if isinstance(value, int | float) else "real-value")
    here = Range(info={"slack": "http://127.0.0.1:9", "cast": {"slack": CAST}})
    made = play.settings_for(here, tmp_path / "played")
    mine = {"home", "mode", "web_port", "web_group", "quiet_hours"}
    mine |= {name for name in plain if name.startswith("slack_")}
    assert {name for name, value in made if name not in mine and value != plain[name]} == set()
    assert "real-value" not in str({name: _shown(value) for name, value in made})
    assert (made.web_host, made.people, made.teams) == ("127.0.0.1", frozenset(), frozenset())


def _shown(value: object) -> object:
    return value.get_secret_value() if isinstance(value, SecretStr) else value


@pytest.mark.slow
def test_one_address_on_this_machine_and_nothing_left_after_ctrl_c(tmp_path: Path) -> None:
    with played(tmp_path) as running:
        assert urlsplit(running.url).hostname == "127.0.0.1"
        page = running.http.get(running.url, timeout=30)
        assert (page.status_code, "You are" in page.text) == (200, True)
        assert "actions/runs/" in running.messages("jonas", "deploys")[-1]["text"]
        assert running.act("jonas", "command", channel="incidents", text="/bulkhead help")["ok"]
        assert "report" in until(lambda: running.messages("jonas", "incidents"), 60)[-1]["text"]
        assert [path.name for path in running.home.iterdir()] == ["range"]
        said = running.stop()
        assert running.process.returncode == 0
    assert said.count("http://") == 1, said
    assert f"{running.url}/" in said
    assert "Traceback" not in said
    assert list((running.home / "range").iterdir()) == []
    with pytest.raises(requests.ConnectionError):
        requests.get(running.url, timeout=5)

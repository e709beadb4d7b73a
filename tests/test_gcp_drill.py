"""The drill of a service-account key that leaked: the key refused, what it has bought refused, the copies gone."""

from __future__ import annotations

from pathlib import Path

import pytest

from bot.range.gcp.theft import REPOSITORY
from bot.replay.cast import Cast
from tests.test_canaries import everything, found_in
from tests.test_registry_drills import play


def test_the_replay_shows_the_bought_token_as_a_thing_of_its_own_that_dies() -> None:
    cast = Cast([])
    cast.key = "gcp-service-account-key:projects/p/serviceAccounts/quay@p.example/keys/1"
    cast.made("gcp:BuyToken", "quay@p.example")
    (thing,) = cast.things()
    assert (thing.name, thing.place, thing.state) == ("an access token of quay@p.example", "cloud", "works")
    cast.tried("gcp-token", refused=True)
    assert [thing.state for thing in cast.things()] == ["dead"]


@pytest.mark.slow
def test_it_is_contained_on_proof(tmp_path: Path) -> None:
    result, state, canaries, told = play("gcp-key-in-public-log", tmp_path)
    assert result.contained, result.why_not
    before, after = ({t["name"]: t["refused"] for t in result.attacker[k]} for k in ("before", "after"))
    assert before == {"gcp-key": False, "gcp-token": False}
    assert after == {"gcp-key": True, "gcp-token": True}
    (row,) = [row for row in result.ledger if row["key"].startswith("gcp-service-account-key:")]
    assert (row["proof"], row["state"], row["step"]) == ("refused", "closed", "disable-key")
    assert [(tail["kind"], tail["ended"]) for tail in row["tails"]] == [("gcp-access-token", "disable-account")]
    repository = state["github"]["repositories"][REPOSITORY]
    assert repository["pulls"] == {"1": "open"}, "the way to workload identity"
    assert not any(run["logs"] for run in repository["runs"])
    assert state["github"]["secrets"].get(f"actions repository {REPOSITORY}", {}) == {}
    assert any(value.startswith("ya29.") for value in canaries), "tokens were bought, and are looked for"
    assert [(n, hit) for n, data in everything(tmp_path) if (hit := found_in(data, canaries))] == []
    assert found_in(told.encode(), canaries) == []

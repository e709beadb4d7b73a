"""What failed in passing is read again; what writes, and what another try would not help, is asked once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from bot import errors
from bot.reads import ATTEMPTS, again
from tests.conftest import FERRY, Ferry

PASSING = {
    "reset": {"reset": True},
    "error": {"status": 502},
    "page": {"status": 200, "body": "<html>Bad gateway</html>"},
    "pause": {"status": 429, "headers": {"retry-after": "1"}},
}


def asked(ferry: Ferry) -> int:
    return len(ferry.switchboard.requests())


@pytest.mark.parametrize("fault", PASSING.values(), ids=PASSING)
def test_a_read_that_failed_in_passing_is_tried_again(ferry: Ferry, fault: dict[str, Any]) -> None:
    ferry.switchboard.add([{"server": "github", "method": "GET", "times": ATTEMPTS - 1, **fault}])
    since = asked(ferry)
    assert ferry.client("mara").get(f"/repos/{FERRY}")["full_name"] == FERRY
    assert asked(ferry) - since == ATTEMPTS


@pytest.mark.parametrize("fault", PASSING.values(), ids=PASSING)
def test_a_write_is_never_repeated_by_itself(ferry: Ferry, fault: dict[str, Any]) -> None:
    ferry.switchboard.add([{"server": "github", "method": "POST", "times": 1, **fault}])
    since = asked(ferry)
    with pytest.raises((errors.Unavailable, errors.RateLimited)):
        ferry.client("mara").send("POST", f"/repos/{FERRY}/pulls", {"title": "x", "head": "x", "base": "main"})
    assert asked(ferry) - since == 1


@pytest.mark.parametrize("status", [401, 403, 404, 422])
def test_a_clear_no_is_taken_for_one(ferry: Ferry, status: int) -> None:
    ferry.switchboard.add([{"server": "github", "status": status}])
    since = asked(ferry)
    with pytest.raises(errors.ProviderError):
        ferry.client("mara").get(f"/repos/{FERRY}")
    assert asked(ferry) - since == 1


def test_a_provider_that_never_answers_is_unavailable_in_the_end() -> None:
    tries = []

    def read() -> None:
        tries.append(1)
        raise errors.Unavailable("nobody there", provider="lamp")

    with pytest.raises(errors.Unavailable, match="nobody there"):
        again(read)
    assert len(tries) == ATTEMPTS


def waits(seconds: float) -> Callable[[], None]:
    def read() -> None:
        raise errors.RateLimited("too fast", provider="lamp", retry_after=seconds)

    return read


def test_a_long_pause_is_left_to_the_engine() -> None:
    with pytest.raises(errors.RateLimited) as caught:
        again(waits(60))
    assert caught.value.retry_after == 60

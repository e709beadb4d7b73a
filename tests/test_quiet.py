"""Quiet hours, over midnight and where clocks change."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from pydantic import ValidationError

from bot.quiet import Quiet
from bot.settings import Settings


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def test_hours_over_midnight_end_in_the_morning() -> None:
    quiet = Quiet.read("22:00-07:00")
    assert quiet.until(at("2026-01-01T21:59")) is None
    assert quiet.until(at("2026-01-01T22:00")) == at("2026-01-02T07:00")
    assert quiet.until(at("2026-01-02T06:59")) == at("2026-01-02T07:00")
    assert quiet.until(at("2026-01-02T07:00")) is None


def test_hours_within_a_day() -> None:
    quiet = Quiet.read("12:00-13:30 UTC")
    assert quiet.until(at("2026-01-01T12:30")) == at("2026-01-01T13:30")
    assert quiet.until(at("2026-01-01T23:00")) is None


def test_hours_are_those_of_their_zone_in_summer_and_in_winter() -> None:
    quiet = Quiet.read("22:00-07:00 Europe/Berlin")
    assert quiet.until(at("2026-01-10T21:30")) == at("2026-01-11T06:00")
    assert quiet.until(at("2026-07-10T20:30")) == at("2026-07-11T05:00")
    assert quiet.until(at("2026-03-28T22:00")) == at("2026-03-29T05:00"), "clocks went forward in that night"


@pytest.mark.parametrize(
    "wrong", ["", "night", "25:00-07:00", "22:00-07:00 Middle/Earth", "22-7", "22:00-07:00 ../etc"]
)
def test_what_is_no_hours_is_refused(wrong: str) -> None:
    with pytest.raises(ValueError, match="like 22:00-07:00 Europe/Berlin"):
        Quiet.read(wrong)


def test_the_setting_is_read_when_it_is_set() -> None:
    assert Settings(quiet_hours="22:00-07:00").quiet_hours
    with pytest.raises(ValidationError, match="like 22:00-07:00"):
        Settings(quiet_hours="nights")

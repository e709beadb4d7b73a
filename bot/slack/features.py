"""Everything that the room can do: one line a feature, the list is the whole of it."""

from __future__ import annotations

from bot.slack import (
    choices,
    commands,
    decisions,
    drills,
    freezing,
    glass,
    homes,
    migrate,
    orders,
    people,
    quiz,
    reports,
    status,
    unworked,
    written,
)

FEATURES = (
    reports.join, status.join, people.join, decisions.join, glass.join, orders.join, drills.join, choices.join,
    homes.join, freezing.join, migrate.join, quiz.join, written.join, commands.join, unworked.join,
)  # fmt: skip

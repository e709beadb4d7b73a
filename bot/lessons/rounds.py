"""What is done by the clock: post-mortems are begun, follow-ups looked at. One process at a time."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta

from bot.errors import BulkheadError
from bot.learn.follow_up import DONE, OPEN, REOPENED, Check
from bot.learn.postmortem import Standing
from bot.lessons.checks import look
from bot.lessons.postmortem import Postmortems, View
from bot.store import Store, iso, when
from bot.world import World

EVERY = timedelta(hours=1)  # so often a follow-up is looked at
log = logging.getLogger("bulkhead.lessons")


def turn(
    store: Store, postmortems: Postmortems, worlds: Mapping[str, Callable[[str], World]], now: datetime | None = None
) -> int:  # fmt: skip
    """One round; returns how many looks were made. Nothing is kept in memory: a restart does nothing twice."""
    with store.only_one("lessons") as mine:
        if not mine:
            return 0
        postmortems.begin_all()
        return check_all(postmortems, worlds, now or datetime.now(UTC))


def check_all(
    postmortems: Postmortems, worlds: Mapping[str, Callable[[str], World]], now: datetime
) -> int:  # fmt: skip
    """Look at every follow-up whose time has come."""
    looked = 0
    for incident in postmortems.rows.all():
        edits = postmortems.rows.edits(incident)
        if not any('"check": "' in one.text and '"check": ""' not in one.text for one in edits):
            continue
        view = postmortems.view(incident)
        for one in view.follow_ups:
            if one.what.check and view.row.world in worlds and _due(one, now):
                looked += 1
                _check(postmortems, worlds[view.row.world](incident), view, one, now)
    return looked


def _due(one: Standing, now: datetime) -> bool:
    return not one.checked_at or when(one.checked_at) + EVERY <= now


def _check(postmortems: Postmortems, world: World, view: View, one: Standing, now: datetime) -> None:
    """One look. A provider that does not say leaves everything as it is."""
    try:
        found = look(world, Check.parse(one.what.check))
    except BulkheadError as exc:
        log.warning("follow-up %s of %s could not be looked at: %s", one.what.id, view.row.id, exc)
        postmortems.stand(view, one.what, one.state, f"could not be looked at: {exc}", iso(now))
        return
    was_done = one.state in (DONE, REOPENED)
    state = DONE if found.holds else REOPENED if was_done else OPEN
    postmortems.stand(view, one.what, state, found.detail, iso(now))

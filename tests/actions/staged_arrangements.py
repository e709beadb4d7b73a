"""Arrangements for npm's staged publishing: a version that waits and that nobody of the house has staged."""

from __future__ import annotations

from typing import Any

from bot.actions.npm_staged import RejectIn
from bot.actions.npm_versions import FindIn
from bot.model import StagedVersion
from bot.range.company import FERRY
from bot.range.npm_company import PACKAGE, SECRET
from bot.range.npm_package import release
from tests.actions.arrangements import Arrangement
from tests.actions.conftest import Drill

WAITS, MORE = "1.5.0", "1.5.1"


def stage(drill: Drill, version: str) -> str:
    """Stage a version with the token of the release, as npm's client does; returns its id."""
    registry = drill.range.npm
    value = drill.range.github.state.secrets["actions", "repository", FERRY][SECRET].value
    body = release({"name": PACKAGE, "version": version, "license": "MIT"}, {"index.js": b"a backdoor"})
    return registry.put_on_stage(PACKAGE, body, registry.tokens[value])


def waiting(drill: Drill) -> FindIn:
    """The token leaks, and somebody stages a version with it."""
    since = drill.world.now().isoformat()
    drill.range.clock.advance(60)
    stage(drill, WAITS)
    return FindIn(repository=FERRY, since=since)


class Rejects:
    """Mara rejects what waits when she is asked, and says so."""

    def __init__(self, drill: Drill) -> None:
        self._drill = drill

    def answer(self) -> tuple[str, str]:
        self._drill.range.npm.stage.reject(PACKAGE)
        return "mara (simulated)", "rejected"


def asked(drill: Drill) -> RejectIn:
    """Mara is asked."""
    waiting(drill)
    (one,) = drill.range.npm.stage.waiting.values()
    drill.world = drill.world.with_answers(Rejects(drill))
    return RejectIn(staged=StagedVersion(id=one.id, package=PACKAGE, version=WAITS), who="mara")


def _again(drill: Drill, _inputs: Any, _out: Any) -> None:
    stage(drill, WAITS)


STAGED: tuple[Arrangement, ...] = (
    Arrangement(action="npm.find_staged_versions", seed=waiting, take_away=lambda d, i, o: stage(d, MORE) and None),
    Arrangement(action="npm.reject_staged_version", seed=asked, take_away=_again),
)  # fmt: skip

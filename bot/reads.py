"""A read that failed in passing is tried again, twice within seconds. A write never is: only a look says what became
of it, and looking is the engine's.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, TypeVar

import stamina
from stamina.instrumentation import set_on_retry_hooks

from bot.errors import RateLimited, Unavailable

T = TypeVar("T")
ATTEMPTS, WITHIN_S = 3, 6.0
PATIENT_S = 2.0  # a longer pause that a provider asks for is the engine's to keep

set_on_retry_hooks([])  # their log records would hold what was called with what


def _passing(exc: Exception) -> bool | float:
    """Whether it is worth another try, or after how many seconds."""
    if isinstance(exc, RateLimited):
        return exc.retry_after if exc.retry_after <= PATIENT_S else False
    return isinstance(exc, Unavailable)


def again(read: Callable[[], T]) -> T:
    """What ``read`` gives. Raises what it raises: the last time, or at once where another try would not help.

    A provider that does not answer within its time-out has used up the seconds there are.
    """
    for attempt in stamina.retry_context(
        on=_passing, attempts=ATTEMPTS, timeout=WITHIN_S, wait_initial=0.1, wait_max=1.0, wait_jitter=0.1
    ):
        with attempt:
            return read()
    raise AssertionError("the last attempt returns or raises")


def decoded(text: str, what: str, provider: str) -> Any:
    """The document of an answer that says it is one; None when it is empty.

    Raises Unavailable for anything else: it is the page of a proxy, and whether a write happened is unknown.
    """
    if not text:
        return None
    try:
        return json.loads(text)
    except ValueError:
        pass
    said = f"{what} was answered with something that is not JSON, as by a proxy on the way"
    raise Unavailable(said, provider=provider)

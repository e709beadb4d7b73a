"""A drill makes way for a real incident: who waits for a drill's people must not be waited for by a real one.

The drill only reads whether there is one; it holds nothing by which it could touch it.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterable, Iterator
from typing import Any, TypeVar

from bot.errors import EngineError
from bot.posts import Posts
from bot.store import Store
from bot.world import REAL

LOOK_S, ENDING_S = 0.5, 20.0  # how often it is looked for one; how long a drill may take to end itself
T = TypeVar("T")


def words(real: Iterable[str]) -> str:
    """What a drill says that ends itself."""
    return f"a real incident has opened ({', '.join(sorted(real))}); the drill makes way for it"


@contextlib.contextmanager
def open_incidents(url: str) -> Iterator[Callable[[], Collection[str]]]:
    """Asks an installation, by its database, for its open real incidents."""
    store = Store(url)
    try:
        yield lambda: Posts(store).open_if_readable(REAL)
    finally:
        store.close()


async def undisturbed(
    work: Coroutine[Any, Any, T], real: Callable[[], Collection[str]], standing: Callable[[], Collection[str]],
    abandon: Callable[[str, str], Awaitable[None]],
) -> T:  # fmt: skip
    """Await the work of a drill, unless a real incident opens meanwhile. Raises EngineError that names it.

    ``standing``: the drill's own open incidents, each of which is ended then (``abandon``: id, why).
    """
    task = asyncio.ensure_future(work)
    try:
        known = set(await asyncio.to_thread(real))
        while not task.done():
            await asyncio.wait({task}, timeout=LOOK_S)
            if new := set(await asyncio.to_thread(real)) - known:
                await _end(words(new), standing, abandon)
                raise EngineError(words(new))
        return await task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _end(
    why: str, standing: Callable[[], Collection[str]], abandon: Callable[[str, str], Awaitable[None]]
) -> None:  # fmt: skip
    """While their World is still there."""
    give_up = time.monotonic() + ENDING_S
    while (left := await asyncio.to_thread(standing)) and time.monotonic() < give_up:
        for incident in left:
            await abandon(incident, why)
        await asyncio.sleep(LOOK_S / 5)

"""Cuts go first; a pause that a provider asks for holds everybody back; no place is lost."""

from __future__ import annotations

import asyncio

from bot.engine.pace import Gate


def test_the_best_priority_goes_first_and_equals_in_their_order() -> None:
    async def main() -> list[str]:
        gate, went = Gate(1), []

        async def caller(name: str, priority: int) -> None:
            async with gate.enter(priority):
                went.append(name)

        async with gate.enter(0):
            tasks = []
            for name, priority in (("plan", 5), ("read-1", 1), ("cut", 0), ("read-2", 1)):
                tasks.append(asyncio.create_task(caller(name, priority)))
                await asyncio.sleep(0)
        await asyncio.gather(*tasks)
        return went

    assert asyncio.run(main()) == ["cut", "read-1", "read-2", "plan"]


def test_never_more_callers_than_places_and_no_place_is_lost_to_a_cancelled_one() -> None:
    async def main() -> int:
        gate, inside, most = Gate(3), 0, 0

        async def caller() -> None:
            nonlocal inside, most
            async with gate.enter(1):
                inside += 1
                most = max(most, inside)
                await asyncio.sleep(0.001)
                inside -= 1

        tasks = [asyncio.create_task(caller()) for _ in range(60)]
        await asyncio.sleep(0.002)
        for task in tasks[::3]:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        again = [asyncio.create_task(caller()) for _ in range(9)]
        await asyncio.wait_for(asyncio.gather(*again), 5)
        return most

    assert asyncio.run(main()) == 3


def test_a_hold_keeps_everybody_out_for_as_long_as_it_says() -> None:
    async def main() -> float:
        gate, loop = Gate(4), asyncio.get_running_loop()
        gate.hold(0.1)
        gate.hold(0.01)  # a shorter one does not shorten it
        began = loop.time()
        async with gate.enter(0):
            return loop.time() - began

    assert asyncio.run(main()) >= 0.1

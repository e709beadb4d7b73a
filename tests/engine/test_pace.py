"""Cuts go first; a pause that a provider asks for holds everybody back; no place is lost."""

from __future__ import annotations

import asyncio

from bot.engine.pace import Gate, Pace


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
    async def settle() -> None:
        for _ in range(20):
            await asyncio.sleep(0)

    async def main() -> None:
        gate, inside, go = Gate(3), set(), asyncio.Event()

        async def caller(k: int) -> None:
            async with gate.enter(1):
                inside.add(k)
                await go.wait()
                inside.discard(k)

        tasks = [asyncio.create_task(caller(k)) for k in range(12)]
        await settle()
        assert inside == {0, 1, 2}
        for k in (0, 4, 5):  # one that is inside, two that wait
            tasks[k].cancel()
        await settle()
        assert inside - {0} == {1, 2, 3}, "the place of the cancelled one went to the next who waits"
        go.set()
        ended = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 30)
        assert [isinstance(end, asyncio.CancelledError) for end in ended] == [k in (0, 4, 5) for k in range(12)]
        go.clear()
        inside.clear()
        again = [asyncio.create_task(caller(k)) for k in range(4)]
        await settle()
        assert len(inside) == 3, "three places, as before"
        go.set()
        await asyncio.wait_for(asyncio.gather(*again), 30)

    asyncio.run(main())


def test_a_hold_keeps_everybody_out_for_as_long_as_it_says() -> None:
    async def main() -> float:
        gate, loop = Gate(4), asyncio.get_running_loop()
        gate.hold(0.1)
        gate.hold(0.01)  # a shorter one does not shorten it
        began = loop.time()
        async with gate.enter(0):
            return loop.time() - began

    assert asyncio.run(main()) >= 0.1


def test_workers_that_need_more_than_there_is_share_by_what_each_needs() -> None:
    async def main() -> None:
        pace, go, inside = Pace(8), asyncio.Event(), list[int]()

        async def caller(number: int) -> None:
            async with pace["github"].enter(1):
                inside.append(number)
                await go.wait()

        pace.share([{"github": [24.0, 0.0]}])
        tasks = [asyncio.create_task(caller(number)) for number in range(24)]
        await asyncio.sleep(0.01)
        assert len(inside) == 1, "others need all of it: one place is always ours, so that a cut can begin"
        assert pace.told() == {"github": [24.0, 0.0]}
        pace.share([{"github": [24.0, 0.0]}])
        await asyncio.sleep(0.01)
        assert len(inside) == 4, "both need the same: half of it each"
        pace.share([{"github": [2.0, 0.0]}])
        await asyncio.sleep(0.01)
        assert len(inside) == 7
        pace.share([])
        await asyncio.sleep(0.01)
        assert len(inside) == 8
        pace.share([{"github": [24.0, 0.0]}])
        go.set()
        await asyncio.wait_for(asyncio.gather(*tasks), 30)
        assert sorted(inside) == list(range(24)), "none is lost where places become fewer"
        assert pace.told() == {}

    asyncio.run(main())


def test_a_pause_that_another_worker_has_heard_of_holds_here_too() -> None:
    async def main() -> float:
        pace, loop = Pace(4), asyncio.get_running_loop()
        pace.share([{"github": [0.0, 0.1]}, {"aws": [3.0, 60.0]}])
        began = loop.time()
        async with pace["github"].enter(0):
            return loop.time() - began

    assert 0.1 <= asyncio.run(main()) < 30

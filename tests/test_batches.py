"""Calls that come together go together; what one of them breaks, the others do not suffer."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from bot import batches as batches_module
from bot.batches import Batches


class Provider:
    """Takes many at once; the first request stands until it is let go. ``bad`` ones it refuses, with whoever is by."""

    def __init__(self, *bad: int) -> None:
        self.bad, self.requests = set(bad), list[list[int]]()
        self.busy, self.go = threading.Event(), threading.Event()

    def send(self, items: Sequence[int]) -> None:
        self.requests.append(list(items))
        self.busy.set()
        assert self.go.wait(10)
        if self.bad & set(items):
            raise ValueError(*self.bad & set(items))


def together(provider: Provider, parts: list[list[int]], most: int) -> list[object]:
    """One caller a part; the first has its request under way before the others come. What became of each."""
    batches = Batches(provider.send, most, ValueError)

    def add(part: list[int]) -> object:
        try:
            return batches.add(part)
        except (ValueError, OSError) as exc:
            return exc

    with ThreadPoolExecutor(len(parts)) as pool:
        first = pool.submit(add, parts[0])
        assert provider.busy.wait(10)
        others = []
        for part in parts[1:]:
            before = waiting(batches)
            others.append(pool.submit(add, part))
            while waiting(batches) == before:
                pass
        provider.go.set()
        return [each.result(10) for each in (first, *others)]


def waiting(batches: Batches[int]) -> tuple[int, int]:
    forming = batches._forming
    return id(forming), len(forming.parts)


def test_what_comes_meanwhile_goes_in_one_request() -> None:
    provider = Provider()
    assert together(provider, [[1], [2, 3], [4], [5]], 1000) == [None] * 4
    assert provider.requests == [[1], [2, 3, 4, 5]]


def test_no_request_holds_more_than_the_provider_takes() -> None:
    provider = Provider()
    together(provider, [[1], [2, 3], [4], [5, 6]], 3)
    assert provider.requests[0] == [1]
    assert sorted(provider.requests[1:]) == [[2, 3, 4], [5, 6]]


def test_one_that_is_refused_keeps_no_other() -> None:
    provider = Provider(3)
    ends = together(provider, [[1], [2], [3], [4]], 1000)
    assert [type(end) for end in ends] == [type(None), type(None), ValueError, type(None)]
    assert provider.requests == [[1], [2, 3, 4], [2], [3], [4]]


def test_an_answer_that_was_lost_is_lost_for_all_of_them() -> None:
    class Cut(Provider):
        def send(self, items: Sequence[int]) -> None:
            super().send(items)
            raise ConnectionResetError

    ends = together(Cut(), [[1], [2], [3]], 1000)
    assert all(isinstance(end, ConnectionResetError) for end in ends)


def test_a_refusal_of_one_alone_is_raised_and_not_tried_again() -> None:
    provider = Provider(1)
    provider.go.set()
    with pytest.raises(ValueError, match="1"):
        Batches(provider.send, 10, ValueError).add([1])
    assert provider.requests == [[1]]


def test_the_scarcer_requests_are_the_longer_one_waits_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """All but the whole hour's requests are used up: who comes within the wait goes along."""
    monkeypatch.setattr(batches_module, "LONGEST_S", 0.4)
    provider = Provider()
    provider.go.set()
    batches = Batches(provider.send, 1000, ValueError, an_hour=4)
    for number in range(4):
        batches.add([number])
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda number: batches.add([number]), [4, 5, 6]))
    assert [len(request) for request in provider.requests] == [1, 1, 1, 1, 3]

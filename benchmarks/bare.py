"""The floor: the same calls in the same order by threads and queues, and nothing else.

No record, no proof kept, no decision, no resume: what it did is gone when its process is. It grants each provider as
many calls at once as the engine does, and lets cuts go first as the engine does.
"""

from __future__ import annotations

import itertools
import queue
import threading
import time

from benchmarks.load import EFFECTS, GRAPH, PHASES, Load, Measured, Provider
from bot.engine.pace import PRIORITY


class _Script:
    def __init__(self, load: Load) -> None:
        self.load, self.provider = load, Provider(load.call_s)
        self.queues: dict[str, queue.PriorityQueue[tuple[int, int, int, str, int]]] = {}
        self.done: list[set[str]] = [set() for _ in range(load.incidents)]
        self.begun: list[set[str]] = [set() for _ in range(load.incidents)]
        self.lock, self.count = threading.Lock(), itertools.count()
        self.left = threading.Semaphore(0)
        self.start, self.last_cut = 0.0, 0.0

    def put(self, incident: int, step: str, phase: int) -> None:
        queue_ = self.queues[self.load.provider(incident)]
        queue_.put((PRIORITY[EFFECTS[step]], next(self.count), incident, step, phase))

    def kick(self, incident: int) -> None:
        with self.lock:
            done, begun = self.done[incident], self.begun[incident]
            ready = [step for step, needs in GRAPH.items() if step not in begun and done.issuperset(needs)]
            begun.update(ready)
        for step in ready:
            self.put(incident, step, 0)

    def work(self, queue_: queue.PriorityQueue[tuple[int, int, int, str, int]]) -> None:
        while True:
            _, _, incident, step, phase = queue_.get()
            if incident < 0:
                return
            self.provider.call()
            if phase + 1 < len(PHASES):
                self.put(incident, step, phase + 1)
                continue
            with self.lock:
                self.done[incident].add(step)
                over = len(self.done[incident]) == len(GRAPH)
                if step == "cut":
                    self.last_cut = time.perf_counter() - self.start
            if over:
                self.left.release()
            else:
                self.kick(incident)


def measure(load: Load, places: int) -> Measured:
    """Run the load with at most ``places`` calls at once at each provider."""
    script = _Script(load)
    script.queues = {load.provider(k): queue.PriorityQueue() for k in range(min(load.incidents, load.providers))}
    queues = [q for q in script.queues.values() for _ in range(places)]
    threads = [threading.Thread(target=script.work, args=(q,), daemon=True) for q in queues]
    for thread in threads:
        thread.start()
    script.start = time.perf_counter()
    for incident in range(load.incidents):
        script.kick(incident)
    for _ in range(load.incidents):
        script.left.acquire()
    all_done = time.perf_counter() - script.start
    for q in queues:
        q.put((9, next(script.count), -1, "", 0))
    for thread in threads:
        thread.join()
    return Measured(last_cut_s=script.last_cut, all_done_s=all_done, calls=script.provider.calls)

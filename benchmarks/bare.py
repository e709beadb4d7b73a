"""The floor: the same calls in the same order by threads and queues, and nothing else.

No record, no proof kept, no decision, no resume: what it did is gone when its process is. It grants each provider as
many calls at once as the engine does, and lets cuts go first as the engine does.
"""

from __future__ import annotations

import itertools
import queue
import threading
import time

from benchmarks.load import REACHES, Load, Measured, Provider, Step
from bot.engine.pace import PRIORITY
from bot.engine.run import THREADS

TRIAGE = "triage"
Order = tuple[int, int, int, Step | None, int]  # rank, number, incident, step (None: its triage), phase
END = -1


class _Script:
    def __init__(self, load: Load, places: int) -> None:
        self.load, self.provider = load, Provider(load.call_s)
        widths = {step.provider: places for step in load.shape.steps} | {TRIAGE: THREADS}
        self.queues: dict[str, queue.PriorityQueue[Order]] = {name: queue.PriorityQueue() for name in widths}
        self.threads = [
            threading.Thread(target=self.work, args=(self.queues[name],), daemon=True)
            for name, width in widths.items() for _ in range(width)
        ]  # fmt: skip
        self.reached: list[set[tuple[str, str]]] = [set() for _ in range(load.incidents)]
        self.begun: list[set[str]] = [set() for _ in range(load.incidents)]
        self.ended = [0] * load.incidents
        self.lock, self.count = threading.Lock(), itertools.count()
        self.left = threading.Semaphore(0)
        self.start, self.last_cut = 0.0, 0.0

    def put(self, incident: int, step: Step, phase: int) -> None:
        self.queues[step.provider].put((PRIORITY[step.effect], next(self.count), incident, step, phase))

    def kick(self, incident: int) -> None:
        """Begin what waits for nothing any more."""
        while True:
            with self.lock:
                reached, begun = self.reached[incident], self.begun[incident]
                ready = [s for s in self.load.shape.steps if s.id not in begun and reached.issuperset(s.needs.items())]
                begun.update(step.id for step in ready)
            for step in ready:
                if step.phases:
                    self.put(incident, step, 0)
            skipped = [step for step in ready if not step.phases]
            for step in skipped:
                self.pass_(incident, step, ("look", "outcome", "proven", "ended"))
            if not skipped:
                return

    def pass_(self, incident: int, step: Step, levels: tuple[str, ...]) -> None:
        with self.lock:
            self.reached[incident] |= {(step.id, level) for level in levels}
            self.ended[incident] += "ended" in levels
            over = "ended" in levels and self.ended[incident] == len(self.load.shape.steps)
        if over:
            self.left.release()

    def work(self, queue_: queue.PriorityQueue[Order]) -> None:
        while True:
            _, _, incident, step, phase = queue_.get()
            if incident == END:
                return
            if step is None:
                self.provider.call(self.load.shape.triage)
            else:
                self.do(incident, step, phase)
            self.kick(incident)

    def do(self, incident: int, step: Step, phase: int) -> None:
        name, calls = step.phases[phase]
        self.provider.call(calls)
        if phase + 1 < len(step.phases):
            self.put(incident, step, phase + 1)
        if step.cuts and name == "prove":
            with self.lock:
                self.last_cut = time.perf_counter() - self.start
        self.pass_(incident, step, REACHES[name])


def measure(load: Load, places: int) -> Measured:
    """Run the load with at most ``places`` calls at once at each provider."""
    script = _Script(load, places)
    for thread in script.threads:
        thread.start()
    script.start, cpu = time.perf_counter(), time.process_time()
    for incident in range(load.incidents):
        script.queues[TRIAGE].put((0, next(script.count), incident, None, 0))
    for _ in range(load.incidents):
        script.left.acquire()
    all_done, cpu = time.perf_counter() - script.start, time.process_time() - cpu
    for queue_ in script.queues.values():
        for _ in script.threads:
            queue_.put((9, next(script.count), END, None, 0))
    for thread in script.threads:
        thread.join()
    return Measured(last_cut_s=script.last_cut, all_done_s=all_done, cpu_s=cpu, calls=script.provider.calls)

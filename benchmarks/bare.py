"""The floor: the same calls in the same order by threads and queues, and nothing else.

No record, no proof kept, no decision, no resume: what it did is gone when its process is. It grants each provider as
many calls at once as the engine does, and lets cuts go first as the engine does.
"""

from __future__ import annotations

import itertools
import queue
import threading
import time

from benchmarks.load import REACHES, Load, Measured, Provider, Shape, Step
from bot.engine.pace import PRIORITY
from bot.engine.run import THREADS

TRIAGE = "triage"
Order = tuple[int, int, int, Step | None, int]  # rank, number, incident, step (None: its triage), phase
END = -1


class _Script:
    def __init__(self, shapes: list[Shape], call_s: float, places: int) -> None:
        """``shapes``: of each incident its own."""
        self.shapes, self.provider = shapes, Provider(call_s)
        widths = {step.provider: places for shape in shapes for step in shape.steps} | {TRIAGE: THREADS}
        self.queues: dict[str, queue.PriorityQueue[Order]] = {name: queue.PriorityQueue() for name in widths}
        self.threads = [
            threading.Thread(target=self.work, args=(self.queues[name],), daemon=True)
            for name, width in widths.items() for _ in range(width)
        ]  # fmt: skip
        self.reached: list[set[tuple[str, str]]] = [set() for _ in shapes]
        self.begun: list[set[str]] = [set() for _ in shapes]
        self.ended = [0] * len(shapes)
        self.lock, self.count = threading.Lock(), itertools.count()
        self.left = threading.Semaphore(0)
        self.start, self.last_cut = 0.0, 0.0
        self.waiting: range = range(0)  # incidents that begin when the first one's triage is done

    def put(self, incident: int, step: Step, phase: int) -> None:
        self.queues[step.provider].put((PRIORITY[step.effect], next(self.count), incident, step, phase))

    def kick(self, incident: int) -> None:
        """Begin what waits for nothing any more."""
        while True:
            with self.lock:
                reached, begun = self.reached[incident], self.begun[incident]
                steps = self.shapes[incident].steps
                ready = [s for s in steps if s.id not in begun and reached.issuperset(s.needs.items())]
                begun.update(step.id for step in ready)
            for step in ready:
                if step.phases:
                    self.put(incident, step, 0)
            skipped = [step for step in ready if not step.phases]
            for step in skipped:
                self.pass_(incident, step, ("look", "outcome", "proven", "tried", "ended"))
            if not skipped:
                return

    def pass_(self, incident: int, step: Step, levels: tuple[str, ...]) -> None:
        with self.lock:
            self.reached[incident] |= {(step.id, level) for level in levels}
            self.ended[incident] += "ended" in levels
            over = "ended" in levels and self.ended[incident] == len(self.shapes[incident].steps)
        if over:
            self.left.release()

    def work(self, queue_: queue.PriorityQueue[Order]) -> None:
        while True:
            _, _, incident, step, phase = queue_.get()
            if incident == END:
                return
            if step is None:
                self.provider.call(self.shapes[incident].triage)
                self.triaged(incident)
            else:
                self.do(incident, step, phase)
            self.kick(incident)

    def triaged(self, incident: int) -> None:
        """Where the first incident leads to the others, they begin now."""
        if incident == 0:
            for other in self.waiting:
                self.begin(other)

    def begin(self, incident: int) -> None:
        self.queues[TRIAGE].put((0, next(self.count), incident, None, 0))

    def do(self, incident: int, step: Step, phase: int) -> None:
        name, calls = step.phases[phase]
        gathers = step.gathers and name == "run"
        self.provider.call(calls - gathers)
        if gathers:
            self.provider.gather()
        if phase + 1 < len(step.phases):
            self.put(incident, step, phase + 1)
        if step.cuts and name == "prove":
            with self.lock:
                self.last_cut = time.perf_counter() - self.start
        self.pass_(incident, step, REACHES[name])


def measure(load: Load, places: int) -> Measured:
    """Run the load with at most ``places`` calls at once at each provider."""
    return _measured(_Script([load.shape] * load.incidents, load.call_s, places), load.incidents)


def measure_fleet(shapes: list[Shape], call_s: float, places: int) -> tuple[Measured, int]:
    """The same for several shapes, to which the triage of the first one leads; and how many requests took several."""
    script = _Script(shapes, call_s, places)
    script.waiting = range(1, len(shapes))
    return _measured(script, 1), script.provider.gathered


def _measured(script: _Script, begin: int) -> Measured:
    for thread in script.threads:
        thread.start()
    script.start, cpu = time.perf_counter(), time.process_time()
    for incident in range(begin):
        script.begin(incident)
    for _ in script.shapes:
        script.left.acquire()
    all_done, cpu = time.perf_counter() - script.start, time.process_time() - cpu
    for queue_ in script.queues.values():
        for _ in script.threads:
            queue_.put((9, next(script.count), END, None, 0))
    for thread in script.threads:
        thread.join()
    return Measured(last_cut_s=script.last_cut, all_done_s=all_done, cpu_s=cpu, calls=script.provider.calls)

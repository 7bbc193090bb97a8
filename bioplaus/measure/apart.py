"""Each layer in a process of its own, on one thread: what an update takes by the clock where layers work side by side.

Activity goes up and credit comes down through shared memory, several places each, so that nobody waits for a place: a process waits only for what it
needs, activity from below and, where it is locked, credit from above. Unlocked, a predictor hears `LAG` updates later what came of its prediction.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from bioplaus import checks
from bioplaus.errors import RunError

if TYPE_CHECKING:
    from torch import Tensor

    from bioplaus.measure.unlocked import Layers

#: updates after which a predictor hears of its prediction  # chosen: the layer above has then had a whole update's time to answer
LAG = 2
PLACES = LAG + 3  # what may be under way at once
STRETCHES = 10  # of updates, each timed; the fastest counts, for on a busy machine the others say how busy it was


@dataclass(frozen=True)
class Apart:
    """What came of it.

    Attributes
    ----------
    seconds : by the clock, from one update to the next, of the slowest process, in the fastest of several stretches.
    busy : CPU seconds an update of every process, likewise.
    weights : of every layer, as they ended.
    """

    seconds: float
    busy: tuple[float, ...]
    weights: tuple[Tensor, ...]


class Line:
    """From one process to another: tensors of one shape, in order."""

    def __init__(self, context: Any, shape: tuple[int, ...]) -> None:
        self.places, self.there = torch.zeros(PLACES, *shape).share_memory_(), context.Semaphore(0)

    def send(self, number: int, value: Tensor) -> None:
        self.places[number % PLACES].copy_(value)
        self.there.release()

    def take(self, number: int) -> Tensor:
        """A copy, which stays what it is."""
        self.there.acquire()
        return self.places[number % PLACES].clone()


def apart(layers: Layers, updates: int = 200, warm: int = 20, seed: int = 0, drawn: int = 16) -> Apart:
    """Time updates with each layer in a process of its own.

    Parameters
    ----------
    updates, warm : how many are timed, in stretches of a tenth, and how many go before.
    drawn : different batches, which come again and again.

    Raises
    ------
    RunError
        For numbers that make no sense, or if a process ends before its work is done.
    """
    stretch = checks.whole(RunError, "updates", updates, STRETCHES) // STRETCHES
    warm = checks.whole(RunError, "warm", warm, 0)
    drawn = checks.whole(RunError, "drawn", drawn)
    context = torch.multiprocessing.get_context("spawn")
    x, labels = (each.share_memory_() for each in layers.draw(seed, drawn))
    shapes = [(layers.batch, n) for n in layers.sizes[1:-1]]
    up, down = ([Line(context, shape) for shape in shapes] for _ in range(2))
    start, answers = context.Barrier(layers.depth), context.Queue()
    given = (layers, seed, x, labels, up, down, start, answers, warm, stretch)
    processes = [context.Process(target=_layer, args=(i, *given), daemon=True) for i in range(layers.depth)]
    for each in processes:
        each.start()
    found: dict[int, tuple[list[float], list[float], Any]] = {}
    try:
        while len(found) < layers.depth:
            try:
                i, *rest = answers.get(timeout=1.0)
                found[i] = (rest[0], rest[1], rest[2])
            except Exception:
                if any(p.exitcode not in (None, 0) for p in processes):
                    raise RunError(
                        "A process that computed one layer ended before its work was done: what it said stands above. There may be too little memory for so many."
                    ) from None
        for each in processes:
            each.join()
    finally:
        for each in processes:
            if each.is_alive():
                each.terminate()
    order = [found[i] for i in range(layers.depth)]
    return Apart(
        min(map(max, zip(*(clock for clock, _, _ in order), strict=True))) / stretch,
        tuple(min(busy) / stretch for _, busy, _ in order),
        tuple(torch.as_tensor(W) for _, _, W in order),
    )


def _layer(
    i: int,
    layers: Layers,
    seed: int,
    x: Tensor,
    labels: Tensor,
    up: Any,
    down: Any,
    start: Any,
    answers: Any,
    warm: int,
    stretch: int,
) -> None:
    """What one process does."""
    torch.set_num_threads(1)
    area = layers.area(i, seed)
    clock, busy = [], []
    with torch.no_grad():
        for u in range(warm + stretch * STRETCHES):
            if u == warm:
                start.wait()
            if u >= warm and (u - warm) % stretch == 0:
                clock.append(time.perf_counter())
                busy.append(time.process_time())
            below = x[u % len(x)] if i == 0 else up[i - 1].take(u)
            h = area.forward(below)
            if not area.top:
                up[i].send(u, h)
            delta = down[i].take(u) if area.waits else area.credit(h, labels[u % len(x)])
            message = area.learn(below, h, delta)
            if message is not None:
                down[i - 1].send(u, message)
            if area.guess and u >= LAG:
                area.heard(down[i].take(u - LAG))
    clock.append(time.perf_counter())
    busy.append(time.process_time())
    spent = ([b - a for a, b in zip(each, each[1:], strict=False)] for each in (clock, busy))
    answers.put((i, *spent, area.layer.W.numpy()))

"""The time of layered updates as a job: in one process update by update, and at the end with a process for each layer."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from bioplaus import checks
from bioplaus.errors import RunError
from bioplaus.learning.training import Training
from bioplaus.measure.apart import STRETCHES, apart
from bioplaus.measure.unlocked import Chain, Layers
from bioplaus.runs.config import described
from bioplaus.runs.learner import Row
from bioplaus.settings import ours

#: different batches, which come again and again
DRAWN = 16


@dataclass(frozen=True)
class Timed:
    """An arm of an experiment, in which layers are timed and no circuit learns; a `bioplaus.runs.learner.Job`.

    Parameters
    ----------
    layers : what is timed.
    training : its updates; of nothing else it has use.
    apart : updates with a process for each layer.

    Raises
    ------
    RunError
    """

    layers: Layers
    training: Training
    apart: int

    constraints = checks.Table(
        RunError,
        "of what is timed",
        layers=checks.Instance(Layers, "bp.measure.unlocked.Layers(method='DNI')"),
        training=checks.Instance(Training, "bp.Training(updates=100)"),
        apart=checks.Whole(STRETCHES),
    )
    circuit: ClassVar[None] = None
    task: ClassVar[None] = None
    rule: ClassVar[None] = None
    evaluate_every: ClassVar[int] = 0
    device: ClassVar[str] = "cpu"
    files: ClassVar[Mapping[str, Any]] = {}

    def __post_init__(self) -> None:
        checks.settle(self)

    @property
    def updates(self) -> int:
        """Those in one process."""
        return self.training.updates

    def describe(self, seed: int) -> dict[str, Any]:
        """All that decides what is computed."""
        numbers = {name: getattr(self.layers, name) for name in Layers.constraints.rows}
        return described(layers=numbers, updates=self.updates, apart=self.apart, seed=seed)

    def begin(self, seed: int) -> Timer:
        """Layers at their first weights."""
        return Timer(self, seed)


class Timer:
    """Updates in one process, one after another; a `bioplaus.runs.learner.Learner`."""

    @ours()
    def __init__(self, job: Timed, seed: int) -> None:
        self.job, self.seed, self.update_index = job, seed, 0
        self.chain, self.data = Chain(job.layers, seed), job.layers.draw(seed, DRAWN)

    @property
    def size(self) -> int:
        """Numbers that learn, predictors' included."""
        return sum(w.numel() for w in self.chain.tensors().values())

    @ours()
    def update(self) -> Row:
        """One update, its loss, and the CPU time that it took, in milliseconds."""
        x, label = (each[self.update_index % DRAWN] for each in self.data)
        began = time.process_time()
        with torch.no_grad():
            loss = self.chain.update(x, label)
        spent = time.process_time() - began
        self.update_index += 1
        return {"update": self.update_index, "loss": loss, "one process": 1e3 * spent}

    @ours()
    def evaluate(self) -> Row:
        """Milliseconds an update with a process for each layer: by the clock, and CPU time on the way from one update to the next, which with a processor for each
        is that of all layers where they wait for each other and that of the busiest where not; and how many processors there are."""
        found = apart(self.job.layers, self.job.apart, seed=self.seed, drawn=DRAWN)
        path = sum(found.busy) if self.job.layers.method == "BP" else max(found.busy)
        told = {"process each": 1e3 * found.seconds, "processor each": 1e3 * path}
        return told | {"processors": len(os.sched_getaffinity(0))}

    def state_dict(self) -> dict[str, Any]:
        """Weights, predictors' included."""
        return {"weights": {n: w.clone() for n, w in self.chain.tensors().items()}, "update": self.update_index}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a `state_dict` of the same job and seed."""
        for name, w in self.chain.tensors().items():
            w.copy_(state["weights"][name])
        self.update_index = state["update"]

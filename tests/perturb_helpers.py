"""Circuits that are alive, a task, and learners, for tests of who interferes and of phases."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch

import bioplaus as bp
from bioplaus import ms
from bioplaus.learning.phased import Phased
from bioplaus.tasks import squared

T, BATCH = 24, 2


def batch(steps: int = T, inputs: int = 3, outputs: int = 2) -> bp.Batch:
    g = torch.Generator().manual_seed(3)
    draw = lambda *shape: torch.rand(*shape, generator=g, dtype=torch.float64)  # noqa: E731
    return bp.Batch(draw(steps, BATCH, inputs), draw(steps, BATCH, outputs), torch.ones(steps, BATCH).double())


@cache
def pair(cell: str, delay: int = 2) -> bp.Circuit:
    """E and I, alive."""
    gains = {"coba": (1.0, 30.0)}.get(cell, (9.0, 3.0))
    return bp.circuit(
        "excitatory_inhibitory",
        cell=cell,
        inputs=3,
        units=10,
        outputs=2,
        input_gain=gains[0],
        gain=gains[1],
        fan_in=0.5,
        tau_out=20 * ms,
        delay=delay,
    )


class Pattern(bp.Task):
    """Random input, and an output to be held."""

    inputs, outputs, steps, loss, test_trials = 3, 2, 24, squared, 8

    def batch(self, generator: torch.Generator, size: int, split: str = "train") -> bp.Batch:
        draw = lambda n: torch.rand(self.steps, size, n, generator=generator)  # noqa: E731
        return bp.Batch(draw(3), draw(2), torch.ones(self.steps, size))


def learner(perturb: Any = (), rule: Any = "bptt", **more: Any) -> bp.Trainer:
    return bp.Trainer(
        pair("alif"),
        Pattern(),
        rule,
        bp.Training(**{"updates": 8, "batch": 4, "lr": 1e-2, "perturb": perturb} | more),
        seed=3,
    )


def after(trainer: bp.Trainer | Phased, updates: int) -> list[dict[str, float]]:
    return [{k: v for k, v in trainer.update().items() if k != "seconds"} for _ in range(updates)]


def same(a: bp.Trainer, b: bp.Trainer) -> bool:
    return all(torch.equal(a.network.weights[n], w) for n, w in b.network.weights.items())

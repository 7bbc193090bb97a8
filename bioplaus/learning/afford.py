"""Whether a batch fits into memory; asked before one is drawn."""

from __future__ import annotations

import torch

from bioplaus.capacity import lacking
from bioplaus.circuit import Circuit
from bioplaus.circuit.drawn import wanted
from bioplaus.errors import RunError
from bioplaus.learning.training import Training
from bioplaus.rules import Rule
from bioplaus.schedule import Online
from bioplaus.tasks import Task

_DRAWN = 4  # bytes of a number of a batch as tasks draw it: float32, on the CPU


def afford(circuit: Circuit, task: Task, rule: Rule, training: Training) -> None:
    """Refuse batches that cannot be held: what a task gives, what comes out, and what the neurons of a window said.

    Raises
    ------
    RunError
        Saying how much would be needed, and for what.
    """
    size, B, T = torch.finfo(getattr(torch, training.dtype)).bits // 8, training.batch, task.steps
    targets = 1 if task.loss.kind == "index" else task.outputs
    random = sum(d.width for d in wanted(circuit))  # noise and background
    given, units = task.inputs + targets + 1, sum(p.size for p in circuit.populations.values())
    window = 1 if isinstance(rule.schedule, Online) else min(rule.schedule.steps or T, T)
    trials = f"of {B:_} trials of {T:_} steps"
    drawn = {f"inputs, targets and weights {trials}": B * T * given * _DRAWN}
    if random:
        drawn[f"noise and background {trials}"] = B * T * random * 8
        given += random
    held = {
        f"inputs, targets, weights and outputs {trials}": B * T * (given + task.outputs) * size,
        f"what {units:_} neurons say in a window of {window:_} steps": B * window * units * size,
    }
    for needs, where in ((drawn, torch.device("cpu")), (held, torch.device(training.device))):
        if reason := lacking(needs, where):
            raise RunError(
                f"A batch {trials} of the task '{task.name}' {reason} Give a smaller batch, shorter trials, fewer units, or a rule that learns online "
                "(schedule=bp.Online()) or in shorter windows."
            )

"""Whether circuit, task, rule and training go together; asked before any work."""

from __future__ import annotations

from typing import Any

from bioplaus import checks
from bioplaus.circuit import Circuit
from bioplaus.errors import CircuitError, RuleError, RunError, TaskError
from bioplaus.learning.training import Training
from bioplaus.rules import Rule
from bioplaus.tasks import Staged, Task, check_task


def check_learner(circuit: Any, task: Any, rule: Any, training: Any, seed: Any) -> None:
    """Refuse what is no circuit, task, rule, training or seed, and a circuit and a task that do not fit.

    Raises
    ------
    BioplausError
    """
    if not isinstance(circuit, Circuit):
        raise checks.refusal(CircuitError, "The circuit", circuit, "one that bp.circuit('recurrent', cell=…) makes")
    check_task(task)
    if not isinstance(rule, Rule):
        raise checks.refusal(RuleError, "The rule", rule, "one that bp.rule('eprop') or bp.Rule(…) makes")
    if training is not None and not isinstance(training, Training):
        raise checks.refusal(RunError, "training", training, "a bp.Training(updates=…, lr=…), or None")
    checks.whole(RunError, "The seed", seed, 0, 2**63 - 1)
    fit(circuit, task)
    if training is not None and training.curriculum and not isinstance(task, Staged):
        raise TaskError(
            f"curriculum=True needs a task with stages, and '{task.name}' has no method harder(); copy_repeat has. Leave curriculum out."
        )


def fit(circuit: Circuit, task: Task) -> None:
    """Refuse a circuit and a task whose shapes or time steps differ.

    Raises
    ------
    TaskError
    """
    if task.inputs != circuit.inputs or task.outputs != circuit.readout.size:
        raise TaskError(
            f"The task '{task.name}' has {task.inputs} inputs and {task.outputs} outputs, but the circuit was built for {circuit.inputs} and "
            f"{circuit.readout.size}. Build it with inputs=task.inputs, outputs=task.outputs."
        )
    continuous = any(p.cell.continuous for p in circuit.populations.values())
    if task.dt and continuous and abs(task.dt - circuit.dt) > 1e-9 * task.dt:
        raise TaskError(
            f"The task '{task.name}' runs at dt = {task.dt * 1e3:g} ms, the circuit at {circuit.dt * 1e3:g} ms. Give both the same dt."
        )

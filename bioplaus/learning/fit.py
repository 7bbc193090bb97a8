"""Whether circuit, task, rule and training go together; asked before any work."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch

from bioplaus import checks, tasks
from bioplaus.cerebellum.driver import CerebellarDrive
from bioplaus.circuit import Circuit, Network
from bioplaus.circuit.delays import timeless
from bioplaus.errors import CircuitError, RunError, TaskError
from bioplaus.learning.per_time import PerTime
from bioplaus.learning.training import Training
from bioplaus.learning.widened import Widened
from bioplaus.rules import Rule, as_rule
from bioplaus.simulate import checked_inputs
from bioplaus.tasks import Batch, Loss, Staged, Task, as_task, check_loss, fitted


def check_learner(circuit: Any, task: Any, rule: Any, training: Any, seed: Any) -> tuple[Task, Rule]:
    """Refuse what is no circuit, task, rule, training or seed, and a circuit and a task that do not fit; task and rule, also by name.

    Raises
    ------
    BioplausError
    """
    if not isinstance(circuit, Circuit):
        raise checks.refusal(CircuitError, "The circuit", circuit, "one that bp.circuit('recurrent', cell=…) makes")
    made = as_task(task)
    check_loss(made.loss, made.outputs)
    rule = as_rule(rule)
    if training is not None and not isinstance(training, Training):
        raise checks.refusal(RunError, "training", training, "a bp.Training(updates=…, lr=…), or None")
    checks.whole(RunError, "The seed", seed, 0, 2**63 - 1)
    if training is not None and isinstance(training.drive, CerebellarDrive):
        made = beside(circuit, made, training)
    fit(circuit, made)
    if training is not None and training.curriculum and not isinstance(made, Staged):
        raise TaskError(
            f"curriculum=True needs a task with stages, and '{made.name}' has no method harder(); copy_repeat has. Leave curriculum out."
        )
    if training is not None:
        in_time(circuit, training)
    return made, rule


def beside(circuit: Circuit, task: Task, training: Training) -> Task:
    """A task as a circuit meets it whose last input lines bring what a cerebellum says.

    Raises
    ------
    TaskError
        If the circuit has no such lines, or the task is none for which a cerebellum can say what the readout should be.
    """
    drive, wide = training.drive, task.inputs + task.outputs
    assert isinstance(drive, CerebellarDrive)
    if circuit.inputs != wide:
        raise TaskError(
            f"With a cerebellar drive the circuit hears the {task.inputs} inputs of the task '{task.name}' and beside them what the cerebellum says of its {task.outputs} outputs, "
            f"and it was built for {circuit.inputs} inputs. Build it with inputs=task.inputs + task.outputs, {wide}."
        )
    if task.steps is not None and drive.delay >= task.steps:
        raise TaskError(
            f"delay={drive.delay} of a cerebellar drive is how many steps late what was said is held against what is asked, and trials of the task '{task.name}' have {task.steps}: "
            f"nothing would ever be learned. Give delay={task.steps - 1} or less, or longer trials."
        )
    if drive.predictor is not None and drive.teaching == "td" and task.loss.kind == "index":
        raise TaskError(
            f"teaching='td' of a cerebellar drive predicts numbers that are asked for, later ones counting less, and the task '{task.name}' asks for classes. Leave teaching out."
        )
    if training.curriculum:
        raise TaskError(
            "curriculum=True makes trials grow, and with a cerebellar drive they stay: leave one of the two out."
        )
    return Widened(task)


def in_time(circuit: Circuit, training: Training) -> None:
    """Refuse rates and losses per time where a circuit's steps are no time, and those that would count time twice.

    Raises
    ------
    RunError
    """
    said = training.per_time
    maps = [name for name, p in circuit.populations.items() if timeless(p.cell)]
    if said and maps:
        raise RunError(
            f"{said[0]} of Training is per time, and the cell of '{maps[0]}' is a discrete map (update=) that does not read dt: its steps are no time. Give a rate, and the "
            "loss, per step; or write the map's constants with dt, or say made_for= which dt they hold."
        )
    lr = training.lr
    whole = lr.get("default") if isinstance(lr, Mapping) else lr
    if training.loss_per == "ms" and training.optimiser == "sgd" and isinstance(whole, PerTime) and whole.hertz:
        raise RunError(
            f"lr={whole} of Training and loss_per='ms' count time twice for the circuit's weights: the gradient of a loss per ms goes with dt already, and sgd would move them by dt². Give "
            "a plain lr, which is then per ms of loss; a rate per time is for what sums up over steps, the predictor: lr=1e-3, predictor_lr=2e-3/ms."
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


def drawn_with(network: Network, batch: Batch, seed: int, occasion: str = "") -> Batch:
    """A batch with what the circuit draws by itself beside its inputs; the batch itself where that is nothing."""
    x = network.draw(batch.inputs, seed, occasion)
    return batch if x is batch.inputs else replace(batch, inputs=x)


LOSSES = ("squared", "cross_entropy", "soft_cross_entropy", "binary_cross_entropy")


def given(network: Network, batch: Any, loss: Loss | str | None) -> tuple[Batch, Loss]:
    """A batch of one's own as a network takes it, and its loss: if None, squared error for real targets, cross-entropy for classes.

    Raises
    ------
    CircuitError
        For inputs that do not fit the network.
    TaskError
        For anything else that is wrong with the batch or the loss.
    """
    if not isinstance(batch, Batch):
        raise TaskError(
            f"A batch is a Batch(inputs, targets, weight), such as task.batch(bp.stream(0, 'task'), 10) draws; this is of type {type(batch).__name__}."
        )
    T = len(checked_inputs(network, batch.inputs))
    if loss is None:
        classes = isinstance(y := batch.targets, torch.Tensor) and y.dim() == 2 and not y.is_floating_point()
        loss = "cross_entropy" if classes else "squared"
    named = checks.Word(LOSSES)
    chosen = getattr(tasks, checks.accept(TaskError, "The loss", loss, named)) if isinstance(loss, str) else loss
    outputs = network.circuit.readout.size
    check_loss(chosen, outputs)
    batch = fitted(batch, "In this batch", (T, network.circuit.inputs, outputs), chosen)
    if not batch.weight.any():
        raise TaskError(
            "In this batch nothing is asked: its weight is 0 at every step of every trial. Give the steps that have a target a weight above 0."
        )
    return batch.to(network.device, network.dtype), chosen

"""Learning in phases: one trainer after another, each of which goes on where the one before stopped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import TYPE_CHECKING, Any

import torch

from bioplaus.circuit import Circuit, Network
from bioplaus.errors import RunError
from bioplaus.learning.evolution import EvolutionStrategy
from bioplaus.learning.optimiser import Descent
from bioplaus.learning.phase import Phase, altogether
from bioplaus.learning.trainer import Trainer
from bioplaus.learning.training import Training
from bioplaus.own import Owns
from bioplaus.rules import Rule
from bioplaus.tasks import Task

if TYPE_CHECKING:
    import xarray

PHASE = "phase"
"""The column of metrics that says in which one an update was, from 0 on."""


class Phased:
    """A learner in phases; what it can do is what the trainer of the phase at hand does.

    Every phase is tried before the first begins, so that what can't be trained in the last one is refused now.

    Raises
    ------
    BioplausError
    """

    def __init__(
        self,
        circuit: Circuit,
        task: Task | str,
        rule: Rule | str,
        training: Training | None,
        phases: Sequence[Phase],
        seed: int = 0,
        initial: Mapping[str, Any] | None = None,
    ) -> None:
        self.training = altogether(phases, training or Training())
        self.phases, self._parts, self._initial = tuple(phases), (circuit, task, rule), initial
        self.seed = seed
        for number in reversed(range(len(phases))):
            self.trainer = self._begun(number)
        self.number = 0

    def __repr__(self) -> str:
        return f"Phased({self.number} of {len(self.phases)}, {self.trainer!r})"

    def _begun(self, number: int) -> Trainer:
        """The trainer of a phase as if nothing had been before."""
        circuit, task, rule = self._parts
        tasks = [phase.task for phase in self.phases[: number + 1] if phase.task is not None]
        phase, since = self.phases[number], sum(phase.updates for phase in self.phases[:number])
        given = tasks[-1] if tasks else task, rule if phase.rule is None else phase.rule
        return Trainer(circuit, *given, phase.training(self.training), self.seed, initial=self._initial, since=since)

    @property
    def update_index(self) -> int:
        return self.trainer.update_index

    @property
    def size(self) -> int:
        return self.trainer.size

    @property
    def network(self) -> Network:
        return self.trainer.network

    @property
    def own(self) -> Owns:
        return self.trainer.own

    @property
    def remarks(self) -> dict[str, str]:
        return self.trainer.remarks

    @property
    def computed(self) -> dict[str, str]:
        return self.trainer.computed

    def update(self) -> dict[str, float]:
        """One update; where a phase is over, the first of the next."""
        if self.update_index == self.trainer.since + self.phases[self.number].updates and self.number + 1 < len(
            self.phases
        ):
            before, self.number = self.trainer, self.number + 1
            self.trainer = self._begun(self.number)
            carry(before, self.trainer, same_task=self.phases[self.number].task is None)
        return self.trainer.update() | {PHASE: float(self.number)}

    def evaluate(self) -> dict[str, float]:
        return self.trainer.evaluate()

    def record(self, names: Any = ("spikes", "rate"), every: int = 1) -> xarray.Dataset:
        return self.trainer.record(names, every)

    def state_dict(self) -> dict[str, Any]:
        """Everything that later updates depend on: the trainer's, and which phase it is of."""
        return self.trainer.state_dict() | {PHASE: self.number}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a `state_dict` of the same phases.

        Raises
        ------
        RunError
        """
        number = state.get(PHASE)
        if not isinstance(number, int) or not 0 <= number < len(self.phases):
            raise RunError(
                f"The checkpoint is of phase {number!r}, and there are {len(self.phases)}, from 0 on: it belongs to another configuration."
            )
        trainer = self._begun(number)
        trainer.load_state_dict(state)
        self.number, self.trainer = number, trainer


def carry(before: Trainer, now: Trainer, same_task: bool) -> None:
    """Let a trainer go on where another of the same circuit stopped."""
    with torch.no_grad():
        for name, weight in before.network.weights.items():
            now.network.weights[name].copy_(weight)
        for part, own in now.own.items():
            old = before.own.get(part)
            for kind in ("learned", "fixed"):
                mine, theirs = getattr(own, kind), {} if old is None else getattr(old, kind)
                for name, value in mine.items():
                    if name in theirs and theirs[name].shape == value.shape:
                        value.copy_(theirs[name])
    _remember(before, now)
    now.generator.set_state(before.generator.get_state())
    now.noise.set_state(before.noise.get_state())
    now.update_index, now.seconds = before.update_index, before.seconds
    now.health.said = dict(before.health.said)
    if same_task:
        now.task, now.stage = before.task, before.stage


def _remember(before: Trainer, now: Trainer) -> None:
    """What optimisers of torch's kind remember of a tensor, where the next is of the same class; others, and schedules, begin anew."""
    old, new = (_tensors(trainer) for trainer in (before, now))
    one, other = now.optimisers.circuit, before.optimisers.circuit
    if isinstance(one, EvolutionStrategy) and isinstance(other, EvolutionStrategy):
        one.go_on_from(other)
    for path, (optimiser, tensor) in new.items():
        if path in old and type(old[path][0].torch) is type(optimiser.torch) and old[path][1].shape == tensor.shape:
            kept = old[path][0].torch.state.get(old[path][1])
            if kept:
                optimiser.torch.state[tensor] = deepcopy(kept)


def _tensors(trainer: Trainer) -> dict[str, tuple[Descent, torch.Tensor]]:
    """What moves: path → its optimiser, and itself."""
    both = (trainer.optimisers.circuit, trainer.optimisers.predictor)
    return {path: (of, tensor) for of in both if isinstance(of, Descent) for path, tensor in of.tensors.items()}

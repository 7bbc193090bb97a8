"""One learner of an experiment: a circuit, a task, a rule, and how it is trained. Light to import."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from bioplaus import checks
from bioplaus.errors import RunError
from bioplaus.learning.phase import Phase, Phases, altogether
from bioplaus.runs.config import described
from bioplaus.runs.folder import RECORDINGS
from bioplaus.runs.initial import initial_weights
from bioplaus.runs.sources import with_code

if TYPE_CHECKING:
    import xarray

    from bioplaus.circuit import Circuit
    from bioplaus.learning.phased import Phased
    from bioplaus.learning.trainer import Trainer
    from bioplaus.learning.training import Training
    from bioplaus.rules import Rule
    from bioplaus.tasks import Task

_RECORDED = ("spikes", "rate", "v")  # of those, what the cells have


@dataclass(frozen=True, repr=False)
class Arm(checks.Named):
    """One learner of an experiment; a `bioplaus.runs.learner.Job`. The names of a shipped task and rule stand for them.

    Attributes
    ----------
    circuit : Circuit
        What learns.
    task : Task
        What it learns.
    rule : Rule
        How it learns.
    training : Training
        For how long, with which batch size, learning rates and optimiser.
    phases : sequence of Phase
        Parts of the training that differ, one after another; none: it is one.
    initial : mapping of str to array, path or Run
        Weights by name, or of a finished run, in the place of those that are drawn; None: none.
    """

    circuit: Circuit
    task: Task
    rule: Rule
    training: Training
    phases: Sequence[Phase] = ()
    initial: Any = field(default=None, compare=False)
    _described: dict[str, Any] = field(init=False, repr=False, compare=False, default_factory=dict)

    def __post_init__(self) -> None:
        if self.circuit is None or isinstance(self.circuit, str):
            example = "one that bp.circuit('recurrent', cell=…) makes"
            raise checks.refusal(RunError, "circuit of an arm", self.circuit, example)
        if self.training is not None and not hasattr(self.training, "updates"):
            raise checks.refusal(
                RunError, "training of an arm", self.training, "a bp.Training(updates=…, lr=…), or None"
            )
        for name, made in _made(self.task, self.rule, self.training).items():
            object.__setattr__(self, name, made)
        phases = checks.accept(RunError, "phases of an arm", self.phases or None, Phases())
        object.__setattr__(self, "phases", tuple(replace(p, **_made(p.task, p.rule, self.training)) for p in phases))
        object.__setattr__(self, "training", altogether(self.phases, self.training))
        object.__setattr__(self, "initial", initial_weights(self.initial))
        # before anything is drawn: a task of one's own may count its batches
        parts = {name: getattr(self, name) for name in ("circuit", "task", "rule", "training")}
        parts |= {name: value for name in ("phases", "initial") if (value := getattr(self, name))}
        object.__setattr__(self, "_described", with_code(parts))

    def __repr__(self) -> str:
        task, rule = (getattr(part, "name", type(part).__name__) for part in (self.task, self.rule))
        return f"Arm({task} by {rule}, {self.training!r})"

    @property
    def updates(self) -> int:
        """Weight updates of a run."""
        return self.training.updates

    @property
    def evaluate_every(self) -> int:
        """Updates between two tests; 0: at the end only."""
        return self.training.evaluate_every

    @property
    def device(self) -> str:
        """Where it computes, as torch names it."""
        return self.training.device

    @property
    def files(self) -> Mapping[str, Callable[[Trainer | Phased], xarray.Dataset]]:
        """One test batch as the trained circuit sees it."""
        return {RECORDINGS: _recorded}

    def describe(self, seed: int) -> dict[str, Any]:
        """Everything that decides what a run computes: ``circuit``, ``task``, ``rule``, ``training``, ``seed``."""
        return {**self._described, **described(seed=seed)}

    def begin(self, seed: int) -> Trainer | Phased:
        """The trainer at its first update.

        Raises
        ------
        BioplausError
            If circuit, task, rule and training do not fit.
        """
        given = (self.circuit, self.task, self.rule, self.training)
        if self.phases:
            from bioplaus.learning.phased import Phased

            return Phased(*given, self.phases, seed, self.initial)
        from bioplaus.learning.trainer import Trainer

        return Trainer(*given, seed, initial=self.initial)


def _made(task: Any, rule: Any, training: Any) -> dict[str, Any]:
    """What a name stands for, and the training where none is given."""
    found: dict[str, Any] = {}
    if isinstance(task, str):
        from bioplaus.tasks import as_task

        found["task"] = as_task(task)
    if isinstance(rule, str):
        from bioplaus.rules import as_rule

        found["rule"] = as_rule(rule)
    if training is None:
        from bioplaus.learning.training import Training

        found["training"] = Training()
    return found


def _recorded(trainer: Trainer | Phased) -> xarray.Dataset:
    return trainer.record(_RECORDED)

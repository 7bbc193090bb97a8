"""A phase of a training: so many updates under a rule, on a task, at a rate, with somebody interfering or not. Light to import."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from bioplaus import checks
from bioplaus.checks.numbers import Unfit
from bioplaus.errors import RunError
from bioplaus.learning.training import RATES, Training
from bioplaus.perturb import Perturbs, refuse_never


@dataclass(frozen=True, repr=False)
class Phase(checks.Named):
    """Consecutive updates of a training (`bioplaus.train`, `bioplaus.Arm`), which do not differ but in what ``updates=`` of perturbations say.

    What a phase does not say is as in the training, and the task as in the phase before. Weights go on from phase to phase; so do random streams,
    what optimisers remember of a weight (where they are the same), and tensors of a rule's own that the next one has under the same name, in the same shape.

    Parameters
    ----------
    updates : how many.
    rule, task : another rule, another task of as many inputs and outputs.
    perturb : who interferes; ``updates=`` are counted from the phase's first.
    lr : another learning rate, or rates by name.

    Raises
    ------
    RunError
    """

    updates: int
    rule: Any = None
    task: Any = None
    perturb: Any = ()
    lr: Any = None

    constraints = checks.Table(
        RunError,
        updates=checks.Whole(),
        perturb=Perturbs(),
        lr=checks.Optional(RATES, "for that of the training"),
    )

    def __post_init__(self) -> None:
        checks.settle(self)
        refuse_never(self.perturb, self.updates, "the phase")
        for name, example in (("rule", "bp.rule('eprop')"), ("task", "bp.task('delayed_match')")):
            given = getattr(self, name)
            if (
                given is not None
                and not isinstance(given, str)
                and not hasattr(given, "describe" if name == "task" else "signal")
            ):
                raise checks.refusal(
                    RunError, f"{name} of Phase", given, f"{example}, its name, or None for the one of before"
                )

    def __repr__(self) -> str:
        given = ((f.name, getattr(self, f.name)) for f in fields(self))
        return f"Phase({', '.join(f'{name}={value!r}' for name, value in given if value not in (None, ()))})"

    def describe(self) -> dict[str, Any]:
        """What it says, as plain data."""
        return {f.name: value for f in fields(self) if (value := getattr(self, f.name)) not in (None, ())}

    def training(self, whole: Training) -> Training:
        """How it is trained: as the whole, but for what it says."""
        return replace(
            whole, updates=self.updates, perturb=self.perturb, **({} if self.lr is None else {"lr": self.lr})
        )


class Phases:
    """The constraint of ``phases=``: several in their order."""

    wanted = "a list of bp.Phase(updates, …), such as [bp.Phase(100), bp.Phase(50, perturb=bp.Perturb('E', 'silence'))], or None for one"

    def plain(self, value: Any) -> tuple[Phase, ...]:
        if value is None:
            return ()
        if not isinstance(value, Iterable) or isinstance(value, (str, bytes)):
            raise Unfit
        found = tuple(value)
        if not all(isinstance(each, Phase) for each in found):
            raise Unfit
        return found


def altogether(phases: Sequence[Phase], training: Training) -> Training:
    """The training of all phases: with as many updates as they have.

    Raises
    ------
    RunError
        If it says something else.
    """
    if not phases:
        return training
    total = sum(phase.updates for phase in phases)
    if training.updates not in (Training.updates, total):
        raise RunError(
            f"The phases have {total} updates ({' + '.join(str(phase.updates) for phase in phases)}), and updates={training.updates} was given beside them. Leave updates out."
        )
    if training.perturb:
        raise RunError(
            "perturb= was given beside phases=, and each phase says itself who interferes. Write it into the phases: bp.Phase(100, perturb=…)."
        )
    return replace(training, updates=total)

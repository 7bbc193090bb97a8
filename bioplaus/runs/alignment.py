"""Rules along one trajectory as a job: what ``bioplaus compare TASK --mode align`` measures of one seed.

First the driver's updates, along which all gradients are compared; then, where the driver has come to stand, one further
update for every lag, which measures the credit that reaches so far back and moves nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from bioplaus.errors import RunError
from bioplaus.runs.arm import Arm
from bioplaus.runs.compare import Comparison, comparison
from bioplaus.runs.config import described
from bioplaus.runs.sources import with_code

if TYPE_CHECKING:
    import xarray

    from bioplaus.circuit import Circuit
    from bioplaus.learning.training import Training
    from bioplaus.measure.along import Along
    from bioplaus.measure.reach import Reach
    from bioplaus.rules import Rule
    from bioplaus.runs.learner import Row
    from bioplaus.tasks import Task

SUFFIX = "-align"
DRAWS = 8  # chosen: the bias of a rule with random numbers to a third of its scatter, at eight times the cost


@dataclass(frozen=True)
class Alignment:
    """What is measured of a comparison's rules; the first drives.

    ``draws``: gradients that a rule with random numbers draws at every measurement. ``lags``: of the credit after the last
    update; none: as `bioplaus.measure.reach` chooses.
    """

    comparison: Comparison
    draws: int = DRAWS
    lags: tuple[int, ...] = ()

    @property
    def name(self) -> str:
        """Name of the folder in which its seeds lie."""
        return self.comparison.name + SUFFIX


@dataclass(frozen=True)
class AlignmentJob:
    """One trajectory and what is measured along it; a `bioplaus.runs.learner.Job`.

    Attributes
    ----------
    config : Alignment
        What was asked for.
    rules : mapping of str to Rule
        The first drives.
    lags : tuple of int
        Those that are measured.
    """

    config: Alignment
    circuit: Circuit
    task: Task
    rules: Mapping[str, Rule]
    training: Training
    lags: tuple[int, ...]

    @property
    def every(self) -> int:
        """Updates from one measurement to the next."""
        return self.config.comparison.setting.align_every or 1

    @property
    def draws(self) -> int:
        """Gradients that a rule with random numbers draws at every measurement."""
        return self.config.draws

    @property
    def label(self) -> str:
        """``along bptt``."""
        return f"along {next(iter(self.rules))}"

    @property
    def updates(self) -> int:
        """Those of the driver, and one for every lag."""
        return self.training.updates + len(self.lags)

    @property
    def evaluate_every(self) -> int:
        """Nothing is tested: all rules have one circuit between them."""
        return 0

    @property
    def device(self) -> str:
        """Where it computes, as torch names it."""
        return self.training.device

    @property
    def files(self) -> Mapping[str, Callable[[Aligner], xarray.Dataset]]:
        """What `bioplaus.align` and `bioplaus.credit_by_lag` give."""
        return {"alignment.nc": lambda one: one.along.dataset(), "credit.nc": lambda one: one.reach().dataset()}

    def describe(self, seed: int) -> dict[str, Any]:
        """Everything that decides what is measured, as plain data."""
        parts = {name: getattr(self, name) for name in ("circuit", "task", "rules", "training", "every", "draws")}
        return with_code(parts) | described(lags=self.config.lags, seed=seed)

    def begin(self, seed: int) -> Aligner:
        """Driver and riders at their first update.

        Raises
        ------
        BioplausError
            If a rule cannot serve the circuit.
        """
        from bioplaus.measure.along import Along

        return Aligner(self, Along(self.circuit, self.task, self.rules, self.training, seed))


class Aligner:
    """Driver and riders, which compare their gradients and then their credit; a `bioplaus.runs.learner.Learner`."""

    def __init__(self, job: AlignmentJob, along: Along):
        self.job, self.along = job, along
        self._reach: Reach | None = None

    def reach(self) -> Reach:
        """The credit where the driver stands at its end."""
        from bioplaus.measure.reach import DRAWS as MANY
        from bioplaus.measure.reach import Reach

        if self._reach is None:
            self._reach = Reach(self.along, self.job.lags, self.job.draws or MANY)
        return self._reach

    @property
    def update_index(self) -> int:
        """Updates of the driver, and lags that are measured."""
        return self.along.driver.update_index + (len(self._reach.measured) if self._reach else 0)

    @property
    def size(self) -> int:
        """Number of weights of the one circuit."""
        return self.along.driver.size

    @property
    def computed(self) -> Mapping[str, str]:
        """As of the driver."""
        return self.along.driver.computed

    @property
    def remarks(self) -> Mapping[str, str]:
        """Of the driver's learning."""
        return self.along.driver.remarks

    def update(self) -> Row:
        """The driver's next, or the next lag."""
        u = self.along.driver.update_index
        if u < self.job.training.updates:
            return self.along.update(measured=u % self.job.every == 0, draws=self.job.draws)
        return {"lag": self.reach().measure()}

    def evaluate(self) -> Row:
        """Nothing is tested."""
        return {}

    def state_dict(self) -> dict[str, Any]:
        """All trainers, and all that was measured."""
        return {"along": self.along.state_dict(), "reach": self._reach.state_dict() if self._reach else None}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a `state_dict` of the same job and seed."""
        self.along.load_state_dict(state["along"])
        if state["reach"] is not None:
            self.reach().load_state_dict(state["reach"])


def alignment_job(config: Alignment) -> AlignmentJob:
    """Make circuit, task, rules and training as `comparison` does.

    Raises
    ------
    BioplausError
        The task, circuit, model or a rule is unknown, a number makes no sense, or a test on the way is asked for, of which
        there are none.
    """
    from bioplaus.measure.along import check_counts
    from bioplaus.measure.reach import lags_of
    from bioplaus.streams import stream
    from bioplaus.tasks import drawn

    setting = config.comparison.setting
    if setting.evaluate_every:
        raise RunError(
            f"evaluate_every is {setting.evaluate_every}, but rules along one trajectory are not tested on the way: they have "
            "one circuit between them. Leave it out."
        )
    arms: Mapping[str, Arm] = comparison(config.comparison).arms
    first = next(iter(arms.values()))
    training = replace(first.training, align_every=0)  # measured here
    check_counts(training.updates, setting.align_every or 1, config.draws)
    batch = drawn(first.task, stream(0, "check"), training.batch)
    lags = tuple(lags_of(batch, config.lags or None))
    rules = {label: arm.rule for label, arm in arms.items()}
    return AlignmentJob(config, first.circuit, first.task, rules, training, lags)

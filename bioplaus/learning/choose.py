"""By what means a stretch is simulated and its credit met: the one door for kernels.

Whatever goes through it computes the same: the torch path is the reference. A signal sees the stretch that a path has simulated,
and answers in torch; so whatever simulates and whatever meets credit may be chosen by circuit, rule, schedule and device, and no
signal need know.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from bioplaus.circuit.credit import Credit, Currents
from bioplaus.circuit.network import Network, State
from bioplaus.circuit.tangent import Tangent
from bioplaus.circuit.trajectory import Stretch, roll, weights_for
from bioplaus.eligibility import Eligibility
from bioplaus.own import Gradients
from bioplaus.rules import Rule
from bioplaus.schedule import Online

if TYPE_CHECKING:
    from torch import Tensor

    from bioplaus.circuit.standing import Standing

#: consecutive stretches of a window, each with its credit
Met: TypeAlias = "Sequence[tuple[Tangent, Credit | Currents]]"


class Path(ABC):
    """How the work that does not belong to the signal is done. What ``backend`` has simulated, sweeps and traces know how to go on with."""

    def __init__(self, backend: str = "torch", moving: bool = False, single: bool = False) -> None:
        self.backend, self.moving, self.single = backend, moving, single and backend == "numba"
        self._standing: Standing | None = None
        self._rows: Any = None

    def simulate(self, network: Network, state: State, x: Tensor, states: bool) -> tuple[Stretch, State]:
        """Run a circuit over inputs (time, batch, input); ``states`` as for `bioplaus.circuit.trajectory.roll`."""
        if not self.single:
            if self.moving or self._rows is None:
                self._rows = weights_for(network, self.backend)
            return roll(network, state, x, states, self.backend, rows=self._rows)
        if self._standing is None:
            from bioplaus.circuit.standing import Standing

            self._standing = Standing(network, state, x.shape[1])
        if self._standing.step(x):
            return Stretch(network, self._standing, self._standing.x), self._standing.state
        self.single = False  # by torch from here on, which says where it is that numbers broke
        return self.simulate(network, self._standing.state, x, states)

    @abstractmethod
    def meet(self, past: Eligibility, network: Network, trace: Any, met: Met, last: bool) -> tuple[Gradients, Any]:
        """Credit of a window meets the eligibility: Σ over batch and time, and the eligibility's state behind it.

        ``last`` says that no step follows.
        """


class Forward(Path):
    """Traces carried forward."""

    def meet(self, past: Eligibility, network: Network, trace: Any, met: Met, last: bool) -> tuple[Gradients, Any]:
        ((tangent, credit),) = met
        return past.forward(network, trace, tangent, credit)


class Backward(Path):
    """A window at once."""

    def meet(self, past: Eligibility, network: Network, trace: Any, met: Met, last: bool) -> tuple[Gradients, Any]:
        return past.window(network, trace, met, last)


def choose(rule: Rule, backend: str, moving: bool = False, single: bool = False) -> Path:
    """The path for a rule, whose schedule it has, by a backend (`bioplaus.circuit.backend`).

    ``moving`` says that weights move between what is asked for; ``single``, that steps are asked for one by one, and that nobody looks at one when
    the next is taken.
    """
    return (Forward if isinstance(rule.schedule, Online) else Backward)(backend, moving, single)

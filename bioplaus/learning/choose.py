"""By what means a stretch is simulated and its credit met: the one door for kernels.

Whatever goes through it computes the same: the torch path is the reference. A signal sees the stretch that a path has simulated,
and answers in torch; so whatever simulates and whatever meets credit may be chosen by circuit, rule, schedule and device, and no
signal need know.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

from bioplaus.circuit.credit import Credit, Currents
from bioplaus.circuit.network import Network, State
from bioplaus.circuit.tangent import Tangent
from bioplaus.circuit.trajectory import Stretch, roll
from bioplaus.eligibility import Eligibility
from bioplaus.own import Gradients
from bioplaus.rules import Rule
from bioplaus.schedule import Online

if TYPE_CHECKING:
    from torch import Tensor


class Path(Protocol):
    """How the two halves of the work that does not belong to the signal are done."""

    def simulate(self, network: Network, state: State, x: Tensor, states: bool) -> tuple[Stretch, State]:
        """Run a circuit over inputs (time, batch, input); ``states`` as for `bioplaus.circuit.trajectory.roll`."""
        ...

    def meet(
        self,
        past: Eligibility,
        network: Network,
        trace: Any,
        met: Sequence[tuple[Tangent, Credit | Currents]],
        last: bool,
    ) -> tuple[Gradients, Any]:
        """Credit of consecutive stretches of a window meets the eligibility: Σ over batch and time, and its state behind them."""
        ...


class Forward:
    """torch, traces carried forward."""

    def simulate(self, network: Network, state: State, x: Tensor, states: bool) -> tuple[Stretch, State]:
        return roll(network, state, x, states)

    def meet(
        self,
        past: Eligibility,
        network: Network,
        trace: Any,
        met: Sequence[tuple[Tangent, Credit | Currents]],
        last: bool,
    ) -> tuple[Gradients, Any]:
        ((tangent, credit),) = met
        return past.forward(network, trace, tangent, credit)


class Backward(Forward):
    """torch, a window at once."""

    def meet(
        self,
        past: Eligibility,
        network: Network,
        trace: Any,
        met: Sequence[tuple[Tangent, Credit | Currents]],
        last: bool,
    ) -> tuple[Gradients, Any]:
        return past.window(network, trace, met, last)


def choose(network: Network, rule: Rule) -> Path:
    """The path for a rule on a network, on the device where that lies."""
    return Forward() if isinstance(rule.schedule, Online) else Backward()

"""A voltage regulariser: membranes that run far beyond their threshold, or far below, are held to account for it.

    L = strength · Σ_t Σ_j ([v_j − A_j]₊² + [2 v₀ − A_j − v_j]₊²),      mean over the batch

A is the threshold as it is at that step, adaptation included, and v₀ where the membrane starts: with v₀ = 0 the second term is
[−v − A]₊², and L the one of the released code of Bellec et al. 2020, doi:10.1038/s41467-020-17236-y
(github.com/IGITUGraz/eligibility_propagation, Figure_4_and_5_ATARI/main.py, ``voltage_reg_rnn``). v and A are as the integrator
leaves them, before the reset, in the cell's own units (SI). Its credit stands at the state of its own step: every rule meets it with
what it keeps of du/dW, without ψ, at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bioplaus import checks
from bioplaus.circuit.credit import nowhere
from bioplaus.circuit.network import Network
from bioplaus.circuit.trajectory import Stretch
from bioplaus.codegen.beyond import Beyond, beyond, membrane
from bioplaus.errors import RuleError

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class VoltageRegulariser:
    """strength · Σ over steps and neurons of what `bioplaus.codegen.beyond` says of spiking cells; rate cells have no threshold."""

    strength: float

    constraints = checks.Table(RuleError, strength=checks.Real(least=0))

    def __post_init__(self) -> None:
        checks.settle(self)

    def refuse(self, network: Network) -> None:
        """Raise RuleError where no population has a threshold, or one has it in another form than ``v > …``."""
        cells = {name: p.cell for name, p in network.circuit.populations.items() if p.cell.spiking}
        if not cells:
            raise RuleError(
                "A voltage regulariser holds membranes against their threshold, and no cell of this circuit spikes. Use voltage_strength=0."
            )
        for name, cell in cells.items():
            if membrane(cell) is None:
                raise RuleError(
                    f"A voltage regulariser needs a spike condition with a state alone on its greater side, such as 'v > threshold', and population '{name}' "
                    f"has spike={cell.spike!r}. Write it so, or use voltage_strength=0."
                )

    def credit(self, network: Network, stretch: Stretch) -> tuple[tuple[Tensor | None, ...], ...]:
        """Direct credit for u of every population and state, (time, batch, unit)."""
        found: list[Sequence[Tensor | None]] = list(nowhere(network))
        for i, of in _each(network):
            credits = [None if a is None else self.strength * a for a in of(_states(network, stretch, i))[1]]
            found[i] = [*credits, *found[i][len(credits) :]]
        return tuple(map(tuple, found))

    def value(self, network: Network, stretch: Stretch) -> float:
        """The penalty of a stretch, Σ over the batch."""
        return self.strength * sum(float(of(_states(network, stretch, i))[0].sum()) for i, of in _each(network))


def _each(network: Network) -> list[tuple[int, Beyond]]:
    """Every spiking population's index and function."""
    populations = enumerate(network.circuit.populations.values())
    how = (network.circuit.dt, network.dtype, network.device)
    return [(i, beyond(p.cell, *how)) for i, p in populations if p.cell.spiking]


def _states(network: Network, stretch: Stretch, i: int) -> list[Tensor]:
    return [
        stretch.get(i, "u", j)
        for j, _ in enumerate(network.circuit.populations[network.populations[i].name].cell.states)
    ]

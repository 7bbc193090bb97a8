"""A trace of parallel fibres that is highest a while after their spikes: two leaky stages, one behind the other.

    τ de₁/dt = −e₁,   τ de₂/dt = e₁ − e₂,   e₁ += 1 at a spike that arrives;   dL/dw = Σ_t L_t e₂(t)            (1)

After one spike e₂ = (t/τ) exp(−t/τ): it is highest at t = τ, and its area is τ. Where what climbing fibres tell comes back τ after what it is about
(`bioplaus.signal.climbing`), it meets the synapses that were active then. In steps, exactly, with a = exp(−dt/τ)::

    e₂ ← a (e₂ + (dt/τ) e₁),   e₁ ← a e₁ + s_t                                                                 (2)

======  ========  ======================================
symbol  variable  unit
======  ========  ======================================
τ       ``tau``   time, ms; 80 to 120 ms has been reported
s_t     –         spikes arriving at the synapse, 0 or 1
======  ========  ======================================

It is presynaptic, the same at all synapses of a fibre, and whatever the neuron behind them does. Plasticity at such a delay, best for one that matches
the loop through the olive: Suvrathan, Payne & Raymond 2016, doi:10.1016/j.neuron.2016.10.022; Wang, Denk & Häusser 2000, doi:10.1038/81792 (granted by
calcium from both inputs). As one synaptic kernel in simulations: Luque et al. 2016, doi:10.3389/fncom.2016.00017.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import torch

from bioplaus import checks
from bioplaus.circuit.credit import Credit, plus
from bioplaus.circuit.network import Network
from bioplaus.circuit.tangent import Tangent
from bioplaus.circuit.wiring import Outputs, Source, Wired
from bioplaus.declaration import Declaration
from bioplaus.eligibility.base import Eligibility
from bioplaus.errors import RuleError
from bioplaus.own import Gradients, Owns

if TYPE_CHECKING:
    from torch import Tensor

#: steps for which traces stand side by side before they meet credit  # chosen: 200 steps of 4000 fibres are 6 MB
BLOCK = 200


class Stages(NamedTuple):
    """e₁, e₂ of every fibre, (batch, pre)."""

    first: Tensor
    second: Tensor


@dataclass(frozen=True)
class TwoStage(Eligibility[Credit]):
    """e₂ of one projection, ``parallel``; no other weights learn. ``tau`` in ms."""

    declaration: ClassVar[Declaration] = Declaration(
        half="past", credit="direct", bias="biased", exact_when="never: it is no gradient", causal=True, local=True, memory="n", time="n·m",
        keeps="two leaky stages of what each fibre brought", reference="doi:10.1016/j.neuron.2016.10.022", tensor="e[m]",
    )  # fmt: skip

    tau: float = 100.0
    parallel: str = "W_pf"

    by_synapse: ClassVar[bool] = True

    constraints = checks.Table(RuleError, tau=checks.Real(above=0), parallel=checks.Word())

    def __post_init__(self) -> None:
        checks.settle(self)

    def refuse(self, network: Network) -> str | None:
        learned = [w.spec.name for w in network.learned]
        found = self.fibres(network)
        if found is None:
            return f"'{self.parallel}' is none of its projections that learn ({', '.join(learned) or 'none learns'}); say which with parallel='…'"
        if not isinstance(found.source, Outputs):
            return f"'{self.parallel}' comes from no neurons, and its traces are of their spikes"
        if found.source.voice or not network.populations[found.source.population].kernel.derived.spiking:
            return f"'{self.parallel}' brings no spikes, of which its traces are"
        if network.populations[found.target].cut(found):
            return f"'{self.parallel}' is cut, and its traces are of spikes on their way, not of what they do (silence '{found.spec.source}' in its place)"
        return None

    def fibres(self, network: Network) -> Wired[Any] | None:
        """The projection."""
        return next((w for w in network.learned if w.spec.name == self.parallel), None)

    def reached(self, network: Network, hearers: set[int]) -> set[int]:
        found = self.fibres(network)
        return set() if found is None else {found.target} & hearers

    def init(self, network: Network, batch: int, own: Owns | None = None, generator: Any = None) -> Stages:
        w = self._fibres(network)
        zero = network.weights[self.parallel].new_zeros(batch, w.width(network.weights[self.parallel]))
        return Stages(zero, zero)

    def step(self, state: Stages, tangent: Tangent) -> Stages:
        return self._over(tangent.network, state, tangent)[1]

    def gradient(self, network: Network, state: Stages, tangent: Tangent, credit: Credit) -> Gradients:
        told = self._told(network, credit)
        return {} if told is None else {self.parallel: self._met(network, told[-1], state.second)}

    def forward(self, network: Network, state: Stages, tangent: Tangent, credit: Credit) -> tuple[Gradients, Stages]:
        found: Gradients = {}
        told = self._told(network, credit)
        for begin in range(0, len(tangent), BLOCK):
            when = slice(begin, min(begin + BLOCK, len(tangent)))
            second, state = self._over(network, state, tangent, when)
            if told is not None:
                new = self._met(network, told[when].flatten(0, 1), second.flatten(0, 1))
                found[self.parallel] = found[self.parallel] + new if found else new
        return found, state

    def at_synapses(
        self, network: Network, state: Stages, tangent: Tangent, w: Wired[Source]
    ) -> tuple[Tensor, Tensor | None]:
        pre = state.second if w.spec.name == self.parallel else torch.zeros_like(tangent.stretch.pre(w)[0])
        if w.synapses is not None:
            return pre[:, None, w.synapses.columns].expand(-1, len(w.channels), -1), None
        return pre[:, None, None].expand(-1, len(w.channels), network.populations[w.target].size, -1), None

    def _fibres(self, network: Network) -> Wired[Any]:
        found = self.fibres(network)
        assert found is not None
        return found

    def left(self, dt: float) -> tuple[float, float]:
        """a, and a dt/τ, of a step in seconds."""
        steps = dt * 1e3 / self.tau
        return math.exp(-steps), steps * math.exp(-steps)

    def _over(
        self, network: Network, state: Stages, tangent: Tangent, when: slice = slice(None)
    ) -> tuple[Tensor, Stages]:
        """e₂ at some steps, (time, batch, pre), and both stages behind the last; (2)."""
        a, passed = self.left(network.circuit.dt)
        first, second = state
        found = []
        for s in tangent.stretch.pre(self._fibres(network))[when]:
            second = second * a + first * passed
            first = first * a + s
            found.append(second)
        return torch.stack(found), Stages(first, second)

    def _told(self, network: Network, credit: Credit) -> Tensor | None:
        """What the neurons behind the synapses are told, (time, batch, post), wherever it stands."""
        p = self._fibres(network).target
        return plus(credit.y[p][0], credit.filtered[p] if network.kappa else None)

    def _met(self, network: Network, told: Tensor, second: Tensor) -> Tensor:
        """Σ over all rows of credit ⊗ e₂, the same onto every channel."""
        w = self._fibres(network)
        return w.outer(torch.cat([told] * len(w.channels), -1), second).reshape_as(network.weights[self.parallel])

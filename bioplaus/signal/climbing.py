"""What climbing fibres tell the Purkinje cells that they end at: complex spikes, against how many there are anyway.

    L_t = c_t − r₀ dt,   c_t = 1 where a spike of the olive arrives, else 0                                     (1)

Met by a trace of parallel fibres, synapses are depressed where both were active, and come back otherwise; on average they stay at a climbing fibre's
rate of r₀. If that rate is r₀ plus something in proportion to an error, L_t is the error in expectation: unbiased, as long as the rate is above 0.

======  ========  =======================
symbol  variable  unit
======  ========  =======================
r₀      ``rate``  Hz; about 1 in animals
======  ========  =======================

Marr 1969, Albus 1971, Ito 1982; that depression and potentiation balance at the olive's spontaneous rate: Medina & Mauk 1999
(doi:10.1523/JNEUROSCI.19-16-07140.1999).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch

from bioplaus import checks
from bioplaus.circuit.credit import silent
from bioplaus.circuit.network import Network
from bioplaus.circuit.wiring import Outputs, Wired
from bioplaus.declaration import Declaration
from bioplaus.errors import RuleError
from bioplaus.own import Owns
from bioplaus.signal.base import Answer, Signal
from bioplaus.signal.observed import Observed

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class ClimbingFibres(Signal):
    """Complex spikes of one projection, ``climbing``, at the neurons it reaches; nobody else is told. ``rate`` in Hz."""

    rate: float = 1.0
    climbing: str = "W_cf"

    pointwise: ClassVar[bool] = True

    declaration: ClassVar[Declaration] = Declaration(
        half="future", credit="direct", bias="biased", exact_when="never: what the olive says need be no gradient", causal=True, local=True,
        memory="–", time="n", keeps="spikes of the olive", reference="doi:10.1523/JNEUROSCI.19-16-07140.1999",
    )  # fmt: skip

    constraints = checks.Table(RuleError, rate=checks.Real(least=0), climbing=checks.Word())

    def __post_init__(self) -> None:
        checks.settle(self)

    def refuse(self, network: Network, steps: int | None) -> str | None:
        found = self.fibres(network)
        if found is None:
            names = ", ".join(w.spec.name for w in network.recurrent)
            return f"'{self.climbing}' is none of its projections between neurons ({names or 'there is none'}); say which brings complex spikes with climbing='…'"
        if found.source.voice or not network.populations[found.source.population].kernel.derived.spiking:
            return f"'{self.climbing}' brings no spikes, which complex spikes are"
        if network.populations[found.target].cut(found):
            return f"'{self.climbing}' is cut, and the rule hears of spikes on their way, not of what they do (silence '{found.spec.source}' in its place)"
        return None

    def fibres(self, network: Network) -> Wired[Outputs] | None:
        """The projection."""
        return next((w for w in network.recurrent if w.spec.name == self.climbing), None)

    def hearers(self, network: Network, steps: int | None) -> set[int]:
        found = self.fibres(network)
        return set() if found is None else {found.target}

    def credit(self, own: Owns, state: Any, observed: Observed) -> Answer:
        network = observed.network
        w = self.fibres(network)
        assert w is not None
        told = self.events(network, w, observed.tangent.stretch.pre(w)) - self.rate * network.circuit.dt
        credit = silent(network)
        y = [list(ages) for ages in credit.y]
        y[w.target][0] = told
        return credit._replace(y=tuple(map(tuple, y))), {}, state, {}

    def events(self, network: Network, w: Wired[Outputs], pre: Tensor) -> Tensor:
        """Where complex spikes are, (…, post), of spikes that arrive (…, pre)."""
        mask = network.masks.get(self.climbing)
        W = network.weights[self.climbing]
        there = torch.ones_like(W) if mask is None else mask.reshape(W.shape).to(W)
        arrive = w.drive(pre, there).unflatten(-1, (len(w.channels), -1))
        return (arrive > 0).any(-2).to(pre)

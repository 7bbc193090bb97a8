"""Multidigraph learning: e-prop plus what the neighbours tell (Liu, Smith, Mihalas, Shea-Brown & Sümbül 2021, doi:10.1073/pnas.2111821118).

    dL/dW_j ≈ Σ_t L_t^j e_t^j + Σ_t Γ_t^j e_{t−1}^j,      Γ_t^j = Σ_l W_lj G_t^l ψ_t^l L_t^l                      (eq. 3–5)

A neuron hears the credit of those it speaks to, one synapse away and one step later: paths with one crossing, of which what
the neighbour keeps in its own state is left out. With ``types=True`` the weights W_lj are replaced by their mean over all pairs
of the two populations, as diffuse, cell-type-specific modulators would carry it. Behind a leaky readout Γ meets the filtered ē,
which takes the neighbour's ψ as slow.

=======  ============  ========================================
symbol   variable      shape
=======  ============  ========================================
L        ``credit``    (time, batch, unit)
Γ        ``heard``     the same, at the step before
=======  ============  ========================================
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, ClassVar

import torch

from bioplaus import checks
from bioplaus.circuit.credit import Credit, Inner, add, at, mapped, plus, silent
from bioplaus.circuit.network import Network
from bioplaus.circuit.sweep import channels, to_u
from bioplaus.circuit.tangent import Tangent
from bioplaus.circuit.upstream import upstream
from bioplaus.circuit.wiring import Wired
from bioplaus.declaration import Declaration
from bioplaus.eligibility.eprop import EProp
from bioplaus.eligibility.traces import Trace, Traces
from bioplaus.errors import RuleError
from bioplaus.own import Owns

if TYPE_CHECKING:
    from torch import Tensor


@dataclass
class Hearing(Traces):
    """Traces, and those before the last step where it was taken by itself."""

    before: list[Trace] = field(default_factory=list)


@dataclass(frozen=True)
class MDGL(EProp):
    """e-prop, and the neighbours' credit on the trace of the step before. Needs direct credit.

    Parameters
    ----------
    types : whether weights are replaced by their mean over each pair of populations.
    """

    types: bool = False

    declaration: ClassVar[Declaration] = Declaration(
        half="past", credit="direct", bias="biased", exact_when="no neuron is driven by another or by itself (W_rec = 0)", causal=True, local=True,
        memory="S·K·n·m", time="S²·K·n·m", keeps="paths inside the neuron, and one synapse further",
        reference="doi:10.1073/pnas.2111821118", tensor="ε[jm]", transport=True,
    )  # fmt: skip

    constraints = checks.Table(RuleError, "of the rule mdgl", types=checks.Flag())

    def __post_init__(self) -> None:
        checks.settle(self)
        if self.types:  # one modulator for all neurons of a type
            object.__setattr__(self, "declaration", replace(type(self).declaration, transport=False))

    def refuse(self, network: Network) -> str | None:
        graded = next((w for w in network.recurrent if w.source.voice), None)
        if graded is not None:
            return f"neighbours tell what they have heard of the spike or rate of a neuron, and projection '{graded.spec.name}' carries '{graded.spec.sends}'"
        late = next((w for w in network.recurrent if w.source.delays != (1,)), None)
        if late is None:
            return None
        return f"what a neighbour tells must meet the trace of the step before, and projection '{late.spec.name}' takes {max(late.source.delays)} steps"

    #: credit that is known at the end only would need to be heard through every step's Gψ: n times the traces
    sums: ClassVar[bool] = False
    reads_ends: ClassVar[bool] = True

    def reached(self, network: Network, hearers: set[int]) -> set[int]:
        return upstream(network, hearers, synapses=1)

    def init(
        self,
        network: Network,
        batch: int,
        own: Owns | None = None,
        generator: torch.Generator | None = None,
    ) -> Hearing:
        return Hearing(super().init(network, batch, own, generator).items)

    def step(self, state: Traces, tangent: Tangent) -> Traces:
        assert isinstance(state, Hearing)
        state.before = [
            replace(t.settle(), e=t.e.clone(), e_bar=None if t.e_bar is None else t.e_bar.clone()) for t in state.items
        ]
        return super().step(state, tangent)

    def gradient(self, network: Network, state: Traces, tangent: Tangent, credit: Credit) -> dict[str, Tensor]:
        assert isinstance(state, Hearing)
        told: dict[str, Tensor] = {}
        self._met(
            network, Traces(state.before), self._within(tangent), at(self.heard(network, tangent, credit), 0), told
        )
        return _sum(told, super().gradient(network, state, tangent, credit))

    def forward(
        self, network: Network, state: Traces, tangent: Tangent, credit: Credit
    ) -> tuple[dict[str, Tensor], Traces]:
        gradients, (both,) = self._with_neighbours(network, state, [(tangent, credit)])
        more, state = super().forward(network, state, tangent, both)
        return _sum(gradients, more), state

    def window(
        self, network: Network, state: Traces, stretches: Sequence[tuple[Tangent, Credit]], last: bool
    ) -> tuple[dict[str, Tensor], Traces]:
        gradients, credits = self._with_neighbours(network, state, stretches)
        both = [(tangent, credit) for (tangent, _), credit in zip(stretches, credits, strict=True)]
        more, state = super().window(network, state, both, last)
        return _sum(gradients, more), state

    def _with_neighbours(
        self, network: Network, state: Traces, stretches: Sequence[tuple[Tangent, Credit]]
    ) -> tuple[dict[str, Tensor], list[Credit]]:
        """Γ of the first step, met by the traces as they stand; and L_t + Γ_{t+1} of every step."""
        heard = [self.heard(network, tangent, credit) for tangent, credit in stretches]
        gradients: dict[str, Tensor] = {}
        self._met(network, state, self._within(stretches[0][0]), at(heard[0], 0), gradients)
        credits = []
        for i, (_, credit) in enumerate(stretches):
            after = at(heard[i + 1], slice(0, 1)) if i + 1 < len(heard) else mapped(_nothing, at(heard[i], slice(0, 1)))
            credits.append(add(credit, mapped(_shifted, heard[i], after)))
        return gradients, credits

    def heard(self, network: Network, tangent: Tangent, credit: Credit) -> Credit:
        """Γ_t of every step of a window, from credit for outputs, and from credit for what the readout sees."""
        empty = silent(network)
        now = self._through(network, tangent, [ages[0] for ages in credit.y], credit.u)
        y = tuple((a, *ages[1:]) for a, ages in zip(now, empty.y, strict=True))
        if not network.kappa:
            return empty._replace(y=y)
        return empty._replace(y=y, filtered=tuple(self._through(network, tangent, credit.filtered, empty.u)))

    def _through(
        self, network: Network, tangent: Tangent, L: Sequence[Tensor | None], inner: Inner
    ) -> list[Tensor | None]:
        """Σ_l W_lj G^l ψ^l L^l for the neurons of every population; with what stands at u^l beside ψ^l L^l."""
        empty = silent(network)
        from_y = empty._replace(
            y=tuple((a, *ages[1:]) for a, ages in zip(L, empty.y, strict=True)), filtered=(), u=tuple(inner)
        )
        u, _ = to_u(network, tangent.transposes, tangent.varying, from_y)
        out: list[Tensor | None] = [None] * len(network.populations)
        for w in network.recurrent:
            if any(a is not None for a in u[w.target]):
                I = tangent.transposes[w.target].currents(tangent.varying[w.target], u[w.target])
                a = channels(network, I, w)
                if a is not None:
                    out[w.source.population] = plus(out[w.source.population], self.crossed(network, w, a))
        return out

    def crossed(self, network: Network, w: Wired, a: Tensor) -> Tensor:
        """a W, with W or the mean of each channel's block in its place."""
        if not self.types:
            return w.back(a, network.weights[w.spec.name])
        W = network.matrix(w.spec.name)
        blocks = W.view(len(w.channels), -1, W.shape[1])
        return a @ blocks.mean((1, 2), keepdim=True).expand_as(blocks).reshape(W.shape)


def _shifted(a: Tensor | None, after: Tensor | None) -> Tensor | None:
    """From step t to step t − 1; ``after`` is what the step after the last says."""
    return None if a is None or after is None else torch.cat([a[1:], after])


def _nothing(a: Tensor | None) -> Tensor | None:
    return None if a is None else torch.zeros_like(a)


def _sum(a: dict[str, Tensor], b: dict[str, Tensor]) -> dict[str, Tensor]:
    return {n: a[n] + b[n] if n in a and n in b else a.get(n, b.get(n)) for n in (*a, *(n for n in b if n not in a))}  # type: ignore[misc]


__all__ = ["MDGL"]

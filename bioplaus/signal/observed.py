"""What a signal sees of a window."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from bioplaus.circuit.credit import Credit, plus, silent
from bioplaus.circuit.network import Network
from bioplaus.circuit.tangent import Tangent

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Observed:
    """One window of a trajectory.

    Attributes
    ----------
    network, tangent : the circuit and its linearisation along the window.
    error : δ_t = ∂L_t/∂o_t, (time, batch, output); per sample, not divided by the batch size.
    output : extra direct credit for outputs by population (a rate regulariser's), (unit,) or (batch, unit) each, or None.
    inner : direct credit for u by population and state (a voltage regulariser's), (time, batch, unit) each or None; None: none.
    final : whether the sequence ends with this window, so that its last state has no future.
    context : (batch, c), of whole trials, or (time + 1, batch, c), beside the state before the window and after each of its steps; None: nothing.
        What the predictor is told besides the state, such as the label.
    loss : what each step costs each sample, (time, batch); None unless the signal asks for it (`Signal.wants_loss`).
    """

    network: Network
    tangent: Tangent
    error: Tensor
    final: bool
    context: Tensor | None = None
    output: tuple[Tensor | None, ...] | None = None
    inner: tuple[tuple[Tensor | None, ...], ...] | None = None
    loss: Tensor | None = None

    def direct(self, feedback: Tensor | None = None) -> Credit:
        """Direct credit at h_t: the error through the readout's weights, or through feedback weights in their place.

        The readout's weights reach the neurons that it reads; feedback (output, unit) reaches all, population by population. Behind a
        leaky readout credit stands at ȳ_t, the output as the readout would see it; what ȳ_t owes to earlier outputs is the past
        half's business.
        """
        network = self.network
        heard = network.sources if feedback is None else range(len(network.populations))
        told = self.tangent.stretch.through(self.error, network.weights["W_out"] if feedback is None else feedback)
        if len(heard) == 1:
            parts = {heard[0]: told}
        else:
            sizes = [network.populations[i].size for i in heard]
            parts = dict(zip(heard, torch.split_with_sizes(told, sizes, -1), strict=True))
        credit = silent(network)
        if self.inner is not None:
            credit = credit._replace(u=self.inner)
        if network.kappa and self.output is None:
            return Credit(credit.s, credit.y, tuple(map(parts.get, range(len(network.populations)))), credit.u)
        y = [list(ages) for ages in credit.y]
        if self.output is not None:
            for i, c in enumerate(self.output):
                if c is not None:
                    y[i][0] = c.expand(*self.error.shape[:-1], -1)
        if network.kappa:
            return credit._replace(filtered=tuple(map(parts.get, range(len(y)))), y=tuple(map(tuple, y)))
        for i, part in parts.items():
            y[i][0] = plus(y[i][0], part)
        return credit._replace(y=tuple(map(tuple, y)))

    def with_context(self, h: Tensor, at: int | slice = slice(None)) -> Tensor:
        """The predictor's input: the carried state, and the context beside it.

        ``at`` says which h it is: 0 before the window's first step, 1 behind it, −1 behind the last; or a slice of these.
        """
        if self.context is None:
            return h
        told = self.context if self.context.dim() == 2 else self.context[at]
        return torch.cat([h, told.expand(*h.shape[:-1], -1)], -1)


def context_of(context: Tensor | None, begin: int, end: int) -> Tensor | None:
    """What is told of steps ``begin`` to before ``end`` of a batch, as `Observed` has it; before the first step nothing is told yet, 0."""
    if context is None or context.dim() == 2:
        return context
    if begin:
        return context[begin - 1 : end]
    return torch.cat([torch.zeros_like(context[:1]), context[:end]])

"""A circuit that takes one step after the other in the same place, by its fused loop: what weights that move at every step allow."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bioplaus.circuit.fused import fused, laid, lines
from bioplaus.circuit.network import Network, State
from bioplaus.circuit.rolled import Rolled
from bioplaus.circuit.wiring import Bias
from bioplaus.codegen.partials import Partials

if TYPE_CHECKING:
    from torch import Tensor


class Standing(Rolled):
    """The step just taken, which the next overwrites; ``state`` is what stands behind it, in the same place: not to be kept.

    Input arrives as spikes do, row by row of the weights, so that a step is one call of one loop.
    """

    def __init__(self, network: Network, state: State, batch: int) -> None:
        loops = fused(network)
        self.network, self.wired = network, [*network.recurrent, *lines(network)]
        self.told = np.empty((1, batch, network.circuit.inputs), loops.dtype)
        #: bias and what is drawn
        self.drives = [np.zeros((1, p.taken, batch, p.size), loops.dtype) for p in network.populations]
        self.weights = laid(network, self.wired)
        keep = loops.keep(network, False, True)
        lanes, self.run = loops.prepared(network, state, self.drives, self.weights, keep, self.told)
        super().__init__(lanes, network.sources, bool(network.kappa), loops.linear)
        self.state = self.last
        self.bound = [linear.bound(lane) for linear, lane in zip(loops.linear, lanes, strict=True)]
        carried = [
            a
            for lane in lanes
            for a in (lane.said, lane.seen, *(lane.s if keep == "all" else ()), lane.wait if keep == "all" else None)
        ]
        self.carried, self.fresh = [a for a in carried if a is not None], True

    def step(self, x: Tensor) -> bool:
        """The next step, with inputs (1, batch, line), if the weights are finite."""
        for (into, *_), w in zip(self.weights, self.wired, strict=True):
            W = self.network.weights[w.spec.name].detach().numpy()
            if w.synapses is None:
                into[:] = W.T
            else:
                np.take(W.reshape(into.shape), w.synapses.events[-1], 1, out=into)
            if not np.isfinite(into.sum()) and not np.isfinite(into).all():
                return False
        if not self.fresh:
            for array in self.carried:
                array[:-1] = array[1:]
        self.fresh = False
        self._given(x.numpy())
        self.run()
        return True

    def _given(self, x: np.ndarray) -> None:
        """Input lines, and what is known of the drive before the step beside them."""
        self.told[:] = x[..., : self.told.shape[-1]]
        for (into,), p in zip(self.drives, self.network.populations, strict=True):
            into.fill(0)
            for w in p.driven:
                if isinstance(w.source, Bias):  # onto all channels, which come first
                    into[: p.channels] += self.network.weights[w.spec.name].detach().numpy().reshape(-1, 1, p.size)
            for d in p.drawn:
                into[d.channel] += d.weight * x[0, :, d.columns]

    def partials(self) -> tuple[Partials, ...]:
        return tuple([each() for each in self.bound])

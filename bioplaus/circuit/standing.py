"""A circuit that takes one step after the other in the same place, by its fused loop: what weights that move at every step allow."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bioplaus.circuit.fused import by_channel, fused, laid
from bioplaus.circuit.network import Network, State
from bioplaus.circuit.rolled import Rolled
from bioplaus.codegen.partials import Partials

if TYPE_CHECKING:
    from torch import Tensor


class Standing(Rolled):
    """The step just taken, which the next overwrites; ``state`` is what stands behind it, in the same place: not to be kept."""

    def __init__(self, network: Network, state: State, batch: int) -> None:
        loops = fused(network)
        empty = lambda *shape: np.empty(shape, loops.dtype)  # noqa: E731
        self.network = network
        self.drives = [empty(1, p.taken, batch, p.size) for p in network.populations]
        self.weights = laid(network)
        keep = loops.keep(network, False, True)
        lanes, self.run = loops.prepared(network, state, self.drives, self.weights, keep)
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
        """The next step, with inputs (1, batch, input), if the weights are finite."""
        for (into, *_), w in zip(self.weights, self.network.recurrent, strict=True):
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
        for into, drive, p in zip(self.drives, self.network.drive(x), self.network.populations, strict=True):
            into[:] = by_channel(drive, p).numpy()
        self.run()
        return True

    def partials(self) -> tuple[Partials, ...]:
        return tuple([each() for each in self.bound])

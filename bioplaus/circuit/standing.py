"""A circuit that takes one step after the other in the same place, by its fused loop: what weights that move at every step allow."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from bioplaus.circuit.fused import fused, laid, lines
from bioplaus.circuit.network import Network, State
from bioplaus.circuit.rolled import Rolled
from bioplaus.circuit.wiring import Bias
from bioplaus.codegen import compiled
from bioplaus.codegen.forward_source import READ
from bioplaus.codegen.laid_source import laid as laid_text
from bioplaus.codegen.partials import Partials
from bioplaus.codegen.readout_source import LEARNED, TOLD

if TYPE_CHECKING:
    from torch import Tensor


class Standing(Rolled):
    """The step just taken, which the next overwrites; ``state`` is what stands behind it, in the same place: not to be kept.

    Input arrives as spikes do, row by row of the weights, and the readout's output is computed with the step: one call of one loop.
    """

    def __init__(self, network: Network, state: State, batch: int) -> None:
        loops = fused(network)
        zeros = lambda *shape: np.zeros(shape, loops.dtype)  # noqa: E731
        self.network, self.wired = network, [*network.recurrent, *lines(network)]
        #: bias and what is drawn
        self.drives = [zeros(1, p.taken, batch, p.size) for p in network.populations]
        self.weights = laid(network, self.wired)
        self._found: dict[tuple[int, str, int], Tensor] = {}
        self._seen: Tensor | None = None
        self._learned = compiled.function(LEARNED, "learned0_", str(np.dtype(loops.dtype)))
        self._told = compiled.function(TOLD, "told0_", str(np.dtype(loops.dtype)))
        self._held: dict[str, tuple[Tensor, int, np.ndarray]] = {}
        C = network.weights["W_out"]
        self.told, self.readout, self.shift = zeros(1, batch, network.circuit.inputs), zeros(*C.shape), zeros(len(C))
        self.out, self.fault = zeros(1, batch, len(C)), zeros(batch)
        self.x = torch.from_numpy(self.told)
        self.counts = [torch.from_numpy(zeros(batch, p.size)) for p in network.populations]
        read = dict(zip(READ, (self.told, self.readout, self.shift, self.out, self.fault), strict=True))
        read |= {f"tally{p}_": count.numpy().reshape(-1) for p, count in enumerate(self.counts)}
        keep = loops.keep(network, False, True)
        lanes, self.run = loops.prepared(network, state, self.drives, self.weights, keep, read)
        super().__init__(lanes, network.sources, bool(network.kappa), loops.linear)
        self.state = self.last
        self.bound = [linear.bound(lane) for linear, lane in zip(loops.linear, lanes, strict=True)]
        carried = [
            a
            for lane in lanes
            for a in (
                lane.said,
                *lane.sent,
                lane.seen,
                *(lane.s if keep == "all" else ()),
                lane.wait if keep == "all" else None,
            )
        ]
        self.carried, self.goes_on, self.nothing = tuple([a for a in carried if a is not None]), False, loops.dtype(0)
        self._laid = compiled.function(
            laid_text([w.synapses is not None for w in self.wired]), "laid0_", str(np.dtype(loops.dtype))
        )
        each = zip(self.wired, self.weights, strict=True)
        self.laid = [
            (w.spec.name, *(() if w.synapses is None else w.synapses.events[-1:]), rows[0]) for w, rows in each
        ]

    def step(self, x: Tensor) -> bool:
        """The next step, with inputs (1, batch, line), if the weights are finite."""
        drawn = np.ascontiguousarray(x[0].numpy())
        shift = self._weight("b_out") if "b_out" in self.network.weights else self.shift
        weights = [a for name, *into in self.laid for a in (self._weight(name), *into)]
        given = (self.nothing, self.goes_on, drawn, self.told, self.carried, self._weight("W_out"), self.readout)
        if self._laid(*given, shift, self.shift, *weights):  # 0, or no number
            return False
        self.goes_on = True
        self._given(drawn)
        self.run()
        self.o = torch.from_numpy(self.out.copy())
        return True

    def get(self, p: int, kind: str, i: int) -> Tensor:
        """As of any steps; what lies in arrays is found once, for it stays there."""
        if kind == "receptive":  # made of what does
            return super().get(p, kind, i)
        if (p, kind, i) not in self._found:
            self._found[p, kind, i] = super().get(p, kind, i)
        return self._found[p, kind, i]

    def _weight(self, name: str) -> np.ndarray:
        """A weight as an array, found once, while the tensor is the same and where it was."""
        W = self.network.weights[name]
        held = self._held.get(name)
        if held is None or held[0] is not W or held[1] != W.data_ptr():
            apart = name in self.network.synapses  # (channel, synapse)
            found = W.view(-1, len(self.network.synapses[name])) if apart else W
            held = self._held[name] = W, W.data_ptr(), found.detach().numpy()
        return held[2]

    def _given(self, x: np.ndarray) -> None:
        """What is known of the drive before the step, beside input lines."""
        for (into,), p in zip(self.drives, self.network.populations, strict=True):
            biases = [w for w in p.driven if isinstance(w.source, Bias)]
            if biases or p.drawn:
                into.fill(0)
            for w in biases:  # onto all channels, which come first
                into[: p.channels] += self._weight(w.spec.name).reshape(-1, 1, p.size)
            for d in p.drawn:
                into[d.channel] += d.weight * x[:, d.columns]

    def finite(self, o: Tensor) -> bool:
        return not np.count_nonzero(self.fault)

    def seen(self) -> Tensor:
        if len(self.sources) > 1:  # put side by side
            return super().seen()
        if self._seen is None:
            self._seen = super().seen()
        return self._seen

    def learned(self, error: Tensor) -> dict[str, Tensor]:
        """What the readout's weights learn of errors (1, batch, output), Σ over the batch."""
        C, c = np.zeros_like(self.readout), np.zeros_like(self.shift)
        self._learned(error[0].contiguous().numpy(), self.seen()[0].contiguous().numpy(), C, c)
        found = {"W_out": torch.from_numpy(C)}
        return found | {"b_out": torch.from_numpy(c)} if "b_out" in self.network.weights else found

    def through(self, error: Tensor, W: Tensor) -> Tensor:
        """Errors (1, batch, output) through weights (output, unit)."""
        out = np.zeros((error.shape[1], W.shape[1]), self.out.dtype)
        self._told(error[0].contiguous().numpy(), W.detach().contiguous().numpy(), out)
        return torch.from_numpy(out)[None]

    def partials(self) -> tuple[Partials, ...]:
        return tuple([each() for each in self.bound])

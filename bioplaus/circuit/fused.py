"""A circuit's fused loop: its text, its compiled module, and a stretch that it has run.

The same as `bioplaus.circuit.trajectory.roll` to rounding, for circuits of spiking cells on the CPU, where most of what a neuron is told
is nothing. What rate cells say is never nothing: they keep torch's matrix products.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np
import torch

from bioplaus.circuit.network import Network, State
from bioplaus.circuit.rolled import Lane, Rolled
from bioplaus.codegen import compiled
from bioplaus.codegen.forward_source import Group, Link, arrays, forward

if TYPE_CHECKING:
    from torch import Tensor


def reason(network: Network) -> str:
    """Why a network has no fused loop, in half a sentence; empty where it has one."""
    if network.device.type != "cpu":
        return f"it runs on {network.device}, and fused loops on the CPU"
    rates = [p.name for p in network.populations if not p.kernel.derived.spiking]
    if rates:
        return f"the neurons of {', '.join(rates)} have rates, for which torch's matrix products are faster"
    return ""


_KEPT: WeakKeyDictionary[Network, Fused] = WeakKeyDictionary()


def fused(network: Network) -> Fused:
    """The fused loop of a network, whose text is written once."""
    if network not in _KEPT:
        _KEPT[network] = Fused(network)
    return _KEPT[network]


class Fused:
    """The fused loop of a network, which it does not hold."""

    def __init__(self, network: Network) -> None:
        self.dtype = {torch.float32: np.float32, torch.float64: np.float64}[network.dtype]
        read = set(network.sources) if network.kappa else set()
        self.groups = [Group(p.kernel.folded, p.taken, p.ages, i in read) for i, p in enumerate(network.populations)]
        self.links = [Link(w.source.population, w.target, w.source.age, w.channels) for w in network.recurrent]
        self.written = {full: forward(self.groups, self.links, full) for full in (False, True)}

    def roll(self, network: Network, state: State, x: Tensor, states: bool = True) -> tuple[Rolled, State]:
        """The steps of a stretch, and the state behind it; arguments as of `bioplaus.circuit.trajectory.roll`."""
        full = states or any(p.kernel.needs & {"s", "I", "receptive"} for p in network.populations)
        written = self.written[full]
        B = x.shape[1]
        given: dict[str, Any] = {"first0_": 0, "last0_": B, "kappa0_": self.dtype(network.kappa)}
        drives = network.drive(x)
        lanes = []
        for p, before in enumerate(state.populations):
            lane, more = self._lane(network, p, before, state, drives[p], full)
            lanes.append(lane)
            given |= {f"{name}{p}_": value for name, value in more.items()}
            given |= {
                f"numbers{p}_": written.numbers[p].astype(self.dtype),
                f"fields{p}_": np.tile(written.fields[p].astype(self.dtype), B),
            }
        for i, w in enumerate(network.recurrent):
            given[f"weights{i}_"] = np.ascontiguousarray(network.weights[w.spec.name].detach().numpy().T)
        called = compiled.function(written.text, "forward0_", str(np.dtype(self.dtype)))
        called(*(given[name] for name in written.arguments))
        rolled = Rolled(lanes, network.sources, bool(network.kappa))
        return rolled, rolled.last if full else self._left(rolled, given)

    def _lane(
        self, network: Network, p: int, before: Any, state: State, drive: Tensor, full: bool
    ) -> tuple[Lane, dict[str, Any]]:
        """Arrays of a population, and what stood before written into them."""
        wiring = network.populations[p]
        (T, B), n, flat = drive.shape[:2], wiring.size, (-1, drive.shape[1] * wiring.size)
        empty = lambda *shape: torch.empty(*shape, dtype=network.dtype)  # noqa: E731
        kept = T + 1 if full else 1
        said = empty(wiring.ages + T, B, n)
        for age, y in enumerate(before.y):
            said[wiring.ages - 1 - age] = y
        s, u = [empty(kept, B, n) for _ in before.s], [empty(T, B, n) for _ in before.s]
        for mine, given in zip(s, before.s, strict=True):
            mine[0] = given
        wait = active = seen = None
        if before.wait is not None:
            wait, active = empty(kept, B, n), empty(T, B, n)
            wait[0] = before.wait
        if self.groups[p].read:
            seen = empty(T + 1, B, n)
            seen[0] = state.filtered[network.sources.index(p)]
        I = empty(wiring.taken, T, B, n) if full else None
        lane = Lane(wiring.ages, said, tuple(u), tuple(s) if full else (), wait if full else None, active, I, seen)
        rows = drive.view(T, B, wiring.taken, n)
        parts: dict[str, Any] = {
            "drive": (rows if wiring.taken == 1 else rows.movedim(2, 1).contiguous()).reshape(T, wiring.taken, B * n),
            "cur": empty(wiring.taken, B * n),
            "said": said,
            "waits": wiring.refractory.to(network.dtype).expand(B, n).reshape(-1),
        }
        over = {"flat": said, "waiting": wait, "active": active, "seen": seen}
        over |= {f"state{i}_": each for i, each in enumerate(s)} | {f"after{i}_": each for i, each in enumerate(u)}
        parts |= {name: each.view(flat) for name, each in over.items() if each is not None}
        parts["currents"] = empty(1, 1, 1) if I is None else I.view(wiring.taken, *flat)
        return lane, {name: parts[name].numpy() for name in arrays(self.groups[p]) if name in parts}

    def _left(self, rolled: Rolled, given: dict[str, Any]) -> State:
        """The state after a stretch of which states were not kept."""
        last = rolled.last
        populations = []
        for p, each in enumerate(last.populations):
            shape = each.y[0].shape
            s = tuple(
                torch.from_numpy(given[f"state{i}_{p}_"]).view(shape) for i, _ in enumerate(self.groups[p].folded.old)
            )
            wait = torch.from_numpy(given[f"waiting{p}_"]).view(shape) if self.groups[p].folded.refractory else None
            populations.append(each._replace(s=s, wait=wait))
        return last._replace(populations=tuple(populations))

"""A circuit's fused loop: its text, its compiled module, and a stretch that it has run.

The same as `bioplaus.circuit.trajectory.roll` to rounding, for circuits of spiking cells on the CPU, where most of what a neuron is told
is nothing. What rate cells say is never nothing: they keep torch's matrix products.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias
from weakref import WeakKeyDictionary

import numpy as np
import torch

from bioplaus.circuit.network import Network, State
from bioplaus.circuit.rolled import Lane, Rolled
from bioplaus.circuit.wiring import External, Wired, Wiring
from bioplaus.codegen import compiled, threads
from bioplaus.codegen.folded import entries
from bioplaus.codegen.forward_source import LINES, Group, Keep, Link, Written, forward
from bioplaus.codegen.forward_source import given as names
from bioplaus.codegen.kernel import Kernel
from bioplaus.codegen.partials import Partials
from bioplaus.codegen.partials_source import partials

if TYPE_CHECKING:
    from torch import Tensor


#: of one projection
Rows: TypeAlias = "tuple[np.ndarray, ...]"

#: of a neuron's step, for every channel, or of an entry of its partials  # measured: about 10 ns
OPERATIONS = 30


def reason(network: Network) -> str:
    """Why a network has no fused loop, in half a sentence; empty where it has one."""
    if network.device.type != "cpu":
        return f"it runs on {network.device}, and fused loops on the CPU"
    if network.drives:
        return f"{network.drives}, which torch's step alone knows of"
    rates = [p.name for p in network.populations if not p.kernel.derived.spiking]
    if rates:
        return f"the neurons of {', '.join(rates)} have rates, for which torch's matrix products are faster"
    quiet = [p.name for p in network.populations if p.silence is not None]
    if quiet:
        return f"what {', '.join(quiet)} would send is silenced, which torch's step alone knows of"
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
        self.links = [_link(w, w.source.population, w.source.slots) for w in network.recurrent]
        self.lines = [_link(w, LINES, (0,)) for w in lines(network)]
        self.sources = network.sources
        self._written: dict[tuple[Keep, bool], Written] = {}
        self.linear = [Linear(p.kernel, self.dtype) for p in network.populations]
        self.kappa = self.dtype(network.kappa)

    def roll(
        self,
        network: Network,
        state: State,
        drive: Sequence[Tensor],
        states: bool,
        u: bool,
        rows: Sequence[Rows],
    ) -> tuple[Rolled, State]:
        """The steps of a stretch, and the state behind it; arguments as of `bioplaus.circuit.trajectory.roll`, ``drive`` as of `Network.drive`."""
        arriving = zip(drive, network.populations, strict=True)
        drives = [by_channel(drive, p).contiguous().numpy() for drive, p in arriving]
        lanes, run = self.prepared(network, state, drives, rows, self.keep(network, states, u))
        run()
        rolled = Rolled(lanes, network.sources, bool(network.kappa), self.linear)
        return rolled, rolled.last

    def written(self, keep: Keep, read: bool) -> Written:
        """The text of the loop; of that which takes input lines and reads every step out, if so asked."""
        if (keep, read) not in self._written:
            links, sources = ([*self.links, *self.lines], self.sources) if read else (self.links, ())
            self._written[keep, read] = forward(self.groups, links, keep, sources)
        return self._written[keep, read]

    @staticmethod
    def keep(network: Network, states: bool, u: bool) -> Keep:
        """How much is written down: what is asked for, and of states and currents also what derivatives need."""
        if states or (u and any(p.kernel.needs & {"s", "I", "receptive"} for p in network.populations)):
            return "all"
        return "u" if u else "outputs"

    def prepared(
        self,
        network: Network,
        state: State,
        drives: Sequence[np.ndarray],
        rows: Sequence[Rows],
        keep: Keep,
        read: Mapping[str, np.ndarray] | None = None,
    ) -> tuple[list[Lane], Callable[[], None]]:
        """Arrays for as many steps as ``drives`` have, (time, channel, batch, unit), and what runs the loop; ``rows`` are `laid`.

        ``read`` is what a loop takes that reads every step out, by name; then rows of input lines, which drives do not hold, follow upon the
        recurrent ones.
        """
        written, B = self.written(keep, read is not None), drives[0].shape[2]
        given: dict[str, Any] = {"first0_": 0, "last0_": B, "kappa0_": self.kappa, **(read or {})}
        links = self.links if read is None else [*self.links, *self.lines]
        for i, (link, some) in enumerate(zip(links, rows, strict=True)):
            given |= {f"{name}{i}_": array for name, array in zip(names(link), some, strict=True)}
        lanes = []
        for p, before in enumerate(state.populations):
            lane, more = self._lane(network, p, before, state, drives[p], keep)
            lanes.append(lane)
            given |= {f"{name}{p}_": value for name, value in more.items()}
            given[f"numbers{p}_"] = written.numbers[p].astype(self.dtype)
            given[f"fields{p}_"] = _tiled(written.fields[p], B, self.dtype)
        loop = compiled.function(written.text, "forward0_", str(np.dtype(self.dtype)))
        arguments = [given[name] for name in written.arguments]
        work = sum(OPERATIONS * drive.size for drive in drives)
        return lanes, partial(threads.run, loop, arguments, 0, B, work)

    def _lane(
        self, network: Network, p: int, before: Any, state: State, drive: np.ndarray, keep: Keep
    ) -> tuple[Lane, dict[str, Any]]:
        """Arrays of a population, and what stood before written into them."""
        wiring, group = network.populations[p], self.groups[p]
        T, taken, B, n = drive.shape
        ages = wiring.ages
        empty = lambda *shape: np.empty(shape, self.dtype)  # noqa: E731
        flat = lambda array: array.reshape(len(array), B * n)  # noqa: E731
        full, kept, at = keep == "all", T + 1 if keep == "all" else 1, 1 if keep == "outputs" else T
        said = empty(ages + T, B, n)
        sent = [empty(ages + T, B, n) for _ in group.beside]
        for slot, y in enumerate(before.y):
            age, voice = divmod(slot, wiring.voices)
            (said, *sent)[voice][ages - 1 - age] = y.numpy()
        s, u = [empty(kept, B, n) for _ in before.s], [empty(at, B, n) for _ in before.s]
        for mine, given in zip(s, before.s, strict=True):
            mine[0] = given.numpy()
        wait = active = seen = None
        if before.wait is not None:
            wait, active = empty(kept, B, n), empty(at, B, n)
            wait[0] = before.wait.numpy()
        if group.read:
            seen = empty(T + 1, B, n)
            seen[0] = state.filtered[network.sources.index(p)].numpy()
        I = empty(taken, T, B, n) if full else None
        lane = Lane(ages, said, tuple(u), tuple(s), wait, active, I, seen, tuple(sent))
        if keep == "outputs":
            lane = replace(lane, u=(), active=None)
        parts: dict[str, Any] = {
            "drive": drive.reshape(T, taken, B * n),
            "cur": empty(taken, B * n),
            "said": said,
            "flat": flat(said),
            "currents": empty(1, 1, 1) if I is None else I.reshape(taken, T, B * n),
        }
        if wait is not None:
            parts |= {"waiting": flat(wait), "active": flat(active)}
            parts["waits"] = wiring.refractory.to(network.dtype).expand(B, n).reshape(-1).numpy()
        if seen is not None:
            parts["seen"] = flat(seen)
        for i, each in enumerate(sent):
            parts |= {f"sent{i}_": each, f"level{i}_": flat(each)}
        for i, (old, new) in enumerate(zip(s, u, strict=True)):
            parts[f"state{i}_"], parts[f"after{i}_"] = flat(old), flat(new)
        return lane, parts


def weights(network: Network) -> list[Rows] | None:
    """`laid` as it is now; None where a weight is not finite: then also silent neurons tell it, in products."""
    found = laid(network, network.recurrent)
    return found if all(np.isfinite(rows[0]).all() for rows in found) else None


def lines(network: Network) -> list[Wired[External]]:
    """The projections from the circuit's input lines."""
    return [w for p in network.populations for w in p.driven if isinstance(w.source, External)]  # type: ignore[misc]


def laid(network: Network, some: Sequence[Wired[Any]]) -> list[Rows]:
    """Weights of projections as loops read them, by source: (pre, channel · post); or (channel, synapse), where each source's begin, and whither they go."""
    return [_rows(w, network.weights[w.spec.name].detach().numpy()) for w in some]


def _link(w: Wired[Any], source: int, slots: tuple[int, ...]) -> Link:
    return Link(source, w.target, slots, w.channels, w.synapses is not None)


def _rows(w: Wired[Any], W: np.ndarray) -> Rows:
    if w.synapses is None:
        return (np.ascontiguousarray(W.T),)
    begins, onto, order = w.synapses.events
    values = W.reshape(len(w.channels), -1)
    rows = np.empty_like(values, order="C")
    torch.index_select(torch.from_numpy(values), 1, torch.from_numpy(order), out=torch.from_numpy(rows))
    return rows, begins, onto


def by_channel(drive: Tensor, p: Wiring) -> Tensor:
    """(time, batch, channel · unit) as (time, channel, batch, unit)."""
    return drive.unflatten(-1, (p.taken, p.size)).movedim(2, 1)


class Linear:
    """The partials of a population's cell, by a fused loop."""

    def __init__(self, kernel: Kernel, dtype: Any) -> None:
        self.text, numbers, self.fields, self.given = partials(kernel.folded)
        self.numbers, self.dtype = numbers.astype(dtype), dtype
        #: entries as torch has them, for one neuron of one sample at one step: what does not vary stays as it is
        nothing = torch.zeros(1, 1, 1, dtype=torch.float32 if dtype is np.float32 else torch.float64)
        self.pattern = Partials(*kernel.partials(lambda kind, i: nothing))
        self.moves = [kernel.folded.moves(e) for e in entries(tuple(kernel.folded.partials))]
        self.moving = sum(self.moves)

    def __call__(self, lane: Lane) -> Partials:
        """Entries over all steps of a stretch, (time, batch, unit) where they vary."""
        return self.bound(lane)()

    def bound(self, lane: Lane) -> Callable[[], Partials]:
        """The same for what stands in a lane's arrays whenever it is called; it answers in the same place."""
        T, B, n = lane.get("y_now", 0).shape
        out = np.empty((self.moving, T, B, n), self.dtype)
        found, moves = iter(torch.from_numpy(out).unbind(0)), iter(self.moves)

        def filled(e: Any) -> Any:
            if isinstance(e, tuple):
                return tuple([filled(inner) for inner in e])
            return next(found) if next(moves) else e

        part = Partials(*filled(tuple(self.pattern)))
        if not self.moving:
            return lambda: part
        called = compiled.function(self.text, "partials0_", str(np.dtype(self.dtype)))
        rows = tuple([lane.get(kind, i).reshape(T, B * n) for kind, i in self.given]) or (out[0].reshape(T, B * n),)
        given = (self.numbers, _tiled(self.fields, B, self.dtype), 0, B * n, rows, out.reshape(-1, T, B * n))

        def computed() -> Partials:
            threads.run(called, given, 2, B * n, OPERATIONS * out.size)
            return part

        return computed


def _tiled(fields: np.ndarray, batch: int, dtype: Any) -> np.ndarray:
    """Numbers of each neuron, once for every sample."""
    return np.tile(fields.astype(dtype), batch) if fields.size else np.empty((0, 0), dtype)

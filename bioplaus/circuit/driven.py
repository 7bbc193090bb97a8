"""A built circuit in which some projections bring what forward models predict, in the place of what areas say (`bioplaus.drive`).

The predictions stand in columns beside the input, as all does that is known before a step is taken, and with them the column of m, which says of
each trial whether they hold. So weights learn from what they were given; Jacobians are those of the circuit as it is wired, and credit for
what a projection brings reaches the neurons that it stands for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import inf
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from bioplaus.cerebellum.predictors import MLP, Linear, Predictor, Seen, born
from bioplaus.circuit.drawn import key
from bioplaus.circuit.network import Network, State, Step
from bioplaus.circuit.wiring import Outputs, Wired
from bioplaus.drive import Drive
from bioplaus.errors import CircuitError, unknown
from bioplaus.own import Gradients, Own, of, under

if TYPE_CHECKING:
    from torch import Tensor

    from bioplaus.circuit.trajectory import Stretch


@dataclass(frozen=True)
class Heard(Outputs):
    """What a population has said, or, where m is 1, what was predicted of it; both in columns beside the input."""

    columns: tuple[int, int] = (0, 0)
    m: int = 0

    def instead(self, x: Tensor) -> Tensor:
        """What was predicted, of what a step is given."""
        return x[..., slice(*self.columns)]

    def parts(self, stretch: Stretch) -> list[Tensor]:
        (said,) = super().parts(stretch)
        return [torch.where(stretch.x[..., self.m : self.m + 1] > 0, self.instead(stretch.x), said)]


def lags(network: Network) -> dict[int, int]:
    """Population → after how many steps the input reaches what it says; only those that it reaches."""
    found = {w.target: 0 for p in network.populations for w in p.driven if w.spec.source == "input"}
    for _ in network.populations:
        for w in network.recurrent:
            if w.source.population in found:
                late = found[w.source.population] + min(w.source.delays)
                found[w.target] = min(found.get(w.target, late), late)
    return found


def driven(network: Network, drive: Drive) -> list[Wired[Outputs]]:
    """The projections that a drive is of.

    Raises
    ------
    CircuitError
        If one is not there, or can't be driven.
    """
    late, mine = lags(network), {w.spec.name: w for w in network.recurrent}
    if drive.projections is None:
        chosen = [w for w in mine.values() if late.get(w.source.population, inf) < late.get(w.target, inf)]
    else:
        for name in drive.projections:
            if name not in mine:
                raise CircuitError(
                    f"A drive is of projections between populations. {unknown('projection', name, mine)}"
                )
        chosen = [mine[name] for name in drive.projections]
    if not chosen:
        raise CircuitError(
            "A drive puts forward models between areas, and in this circuit no population speaks to one that the input reaches later. Take a hierarchy "
            "of two areas or more, or name projections=('W_rec',)."
        )
    for w in chosen:
        if w.source.population not in late:
            raise CircuitError(
                f"A drive of projection {w.spec.name} would predict what '{network.populations[w.source.population].name}' says from the input, which never reaches it. "
                "Leave that projection out."
            )
        if len(w.source.slots) > 1 or w.source.voice:
            raise CircuitError(
                f"A drive predicts the outputs of a population, after one delay, and projection {w.spec.name} has delays of each synapse or carries "
                f"'{w.spec.sends}'. Leave that projection out: projections=(…)."
            )
    return chosen


def model(drive: Drive) -> Predictor:
    """f."""
    return MLP(drive.hidden) if drive.hidden else Linear()


def weights(network: Network, drive: Drive, generator: torch.Generator) -> Own:
    """θ of the forward models of all areas that are predicted, by area."""
    learned: dict[str, Tensor] = {}
    for i in sorted({w.source.population for w in driven(network, drive)}):
        p = network.populations[i]
        seen = Seen(network.circuit.inputs, outputs=p.size, dtype=network.dtype, device=network.device)
        learned |= under(p.name, born(model(drive), seen, generator).learned)
    return Own(learned)


class Driven(Network):
    """A network that shares its weights with another, some of whose projections forward models drive.

    Parameters
    ----------
    theta : theirs, as `weights` has made them; they are read anew whenever a batch is drawn.
    share : in place of the drive's.
    """

    drives = "some of its projections bring what forward models predict"

    def __init__(self, network: Network, drive: Drive, theta: Own, share: float | None = None) -> None:
        self.__dict__.update(network.__dict__)  # weights, masks and synapses are the same objects
        self.base, self.drive_by, self.theta = network, drive, theta
        self.share = drive.share if share is None else share
        self.late = lags(network)
        mine = driven(network, drive)
        sizes = [network.populations[w.source.population].size for w in mine]
        self.m = network.lines + sum(sizes)
        #: projections that bring predictions; these stand one after the other beside the input
        self.heard: list[Wired[Heard]] = []
        for k, w in enumerate(mine):
            columns = network.lines + sum(sizes[:k]), network.lines + sum(sizes[: k + 1])
            source = Heard(w.source.population, w.source.slots, w.source.voices, columns, self.m)
            self.heard.append(replace(w, source=source))  # type: ignore[arg-type]
        #: whose outputs are predicted
        self.told_of = sorted({w.source.population for w in mine})
        wired: dict[str, Wired[Any]] = {w.spec.name: w for w in self.heard}
        put: Callable[[Any], Any] = lambda some: tuple([wired.get(w.spec.name, w) for w in some])  # noqa: E731
        all_wired: Any = put(self.wired)
        self.populations = tuple([replace(p, recurrent=put(p.recurrent)) for p in self.populations])
        self.recurrent, self.learned, self.wired = put(self.recurrent), put(self.learned), list(all_wired)

    def __reduce__(self) -> Any:
        return Driven, (self.base, self.drive_by, self.theta, self.share)

    @property
    def lines(self) -> int:
        return self.m + 1

    def predicted(self, x: Tensor, population: int) -> tuple[Tensor, Tensor]:
        """f(x_{t−lag}) before [·]₊ at every step, (time, batch, unit), and what it has read; before the input can be there, of no input."""
        read = _later(x[..., : self.circuit.inputs], self.late[population])
        own = Own(of(self.populations[population].name, self.theta.learned))
        return model(self.drive_by).predict(own, read), read

    def draw(self, x: Tensor, seed: int, occasion: str = "", first: int = 0) -> Tensor:
        if x.shape[-1] == self.lines:
            return x
        if first:
            raise CircuitError(
                f"Forward models read inputs of steps before, and of this sequence only those from step {first} on were given: give it whole."
            )
        with torch.no_grad():
            said = {i: self._within(self.predicted(x, i)[0]) for i in self.told_of}
        beside = [_later(said[w.source.population], w.source.delays[0]) for w in self.heard]
        drawn = np.random.Generator(np.random.Philox(key=key(f"{seed}: trials that are driven, {occasion}")))
        m = torch.from_numpy((drawn.random(x.shape[1]) < self.share).astype(np.float64)).to(x)
        return torch.cat([self.base.draw(x, seed, occasion), *beside, m.expand(len(x), -1)[..., None]], -1)

    def drive(self, x: Tensor) -> tuple[Tensor, ...]:
        """What arrives of all that is known, as ever, and behind it what is known itself: `advance` needs what was predicted."""
        return *super().drive(x), x

    def advance(self, state: State, drive: tuple[Tensor, ...], differentiable: bool = False) -> Step:
        *drives, x = drive
        m = x[..., self.m : self.m + 1]
        for w in self.heard:
            said = w.source.of(state.populations[w.source.population].y)
            instead = m * (w.source.instead(x) - said)  # on top of what is said, which arrives anyway
            p = self.populations[w.target]
            drives[w.target] = self._add(drives[w.target], w.drive(instead, self.weights[w.spec.name]), w, p)
        return super().advance(state, tuple(drives), differentiable)

    def taught(self, x: Tensor, stretches: Sequence[Stretch]) -> Gradients:
        """Gradients of (1) by area, means over the batch, from what areas have said along a whole sequence of inputs x."""
        found: Gradients = {}
        for i in self.told_of:
            said = torch.cat([stretch.spikes(i) for stretch in stretches])
            predicted, read = self.predicted(x, i)
            off = self._within(predicted) - said
            if self.drive_by.rectified:  # flat where nothing is predicted; but what is said then is to be learned
                off = torch.where((predicted <= 0) & (said > 0), predicted - said, torch.where(predicted > 0, off, 0.0))
            name = self.populations[i].name
            own = Own(of(name, self.theta.learned))
            gradients = model(self.drive_by).gradient(own, read, off)
            found |= under(name, {n: g / x.shape[1] for n, g in gradients.items()})
        return found

    def _within(self, predicted: Tensor) -> Tensor:
        return torch.relu(predicted) if self.drive_by.rectified else predicted


def _later(x: Tensor, steps: int) -> Tensor:
    """The same so many steps later, (time, …), and zeros before."""
    return x if not steps else torch.cat([torch.zeros_like(x[:steps]), x[: len(x) - steps]])

"""Areas that do not wait for each other: each moves, or not, by its own chance (Jaderberg et al. 2017, arXiv 1608.05343, §3.1).

Whenever gradients are applied, every population moves its incoming weights and biases with probability p, independently of all others, and so does
the readout. A population's own predictor (`areas`) is taught by those above it, whom its population drives: it learns only if one of them has
moved; a forward model that predicts what a population says, if that one has. What else a rule learns for itself, a predictor of all areas among it, belongs to none of them and always learns.

Gradients are those of one run of the circuit with its weights as they were, so that the order in which areas move makes no difference.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from bioplaus.circuit.wiring import Outputs
from bioplaus.learning.rates import READOUT
from bioplaus.own import Gradients, Owns
from bioplaus.rules import Rule
from bioplaus.signal.synthetic import SyntheticGradient, theta
from bioplaus.streams import stream

if TYPE_CHECKING:
    from bioplaus.circuit import Network

#: the name under which the readout takes its turns; no population can be called so
READ = "/readout"


class Turns:
    """Who moves, drawn anew whenever gradients are applied.

    Attributes
    ----------
    chance : p.
    areas : population, or the readout → its learned weights.
    taught : beginning of the paths of an area's predictor → the areas above it; of its forward model (`bioplaus.drive`) → itself.
    generator : what it is drawn from; its state goes into checkpoints.
    """

    def __init__(self, network: Network, rule: Rule, own: Owns, chance: float, seed: int) -> None:
        self.chance, self.generator = chance, stream(seed, "turns")
        self.areas: dict[str, list[str]] = {p.name: [] for p in network.populations}
        above: dict[str, set[str]] = {p.name: set() for p in network.populations}
        for w in network.wired:
            target = network.populations[w.target].name
            if w.spec.learned:
                self.areas[target].append(w.spec.name)
            if isinstance(w.source, Outputs):
                above[network.populations[w.source.population].name].add(target)
        for i in network.sources:
            above[network.populations[i].name].add(READ)
        self.areas[READ] = [name for name in READOUT if name in network.weights]
        signal = rule.signal
        spoken = signal.of(network).spoken(theta(own)) if isinstance(signal, SyntheticGradient) else {}
        self.taught = {f"predictor.{name}.": above[name] for name in spoken}
        self.taught |= {f"drive.{p.name}.": {p.name} for p in network.populations}

    def __call__(self, gradients: Gradients, own: Gradients) -> tuple[Gradients, Gradients]:
        """The gradients of who moves this time."""
        drawn = torch.rand(len(self.areas), generator=self.generator, dtype=torch.float64) < self.chance
        moved = {area for area, moves in zip(self.areas, drawn.tolist(), strict=True) if moves}
        moving = {name for area in moved for name in self.areas[area]}
        return {name: g for name, g in gradients.items() if name in moving}, {
            path: g
            for path, g in own.items()
            if not any(path.startswith(mine) and not teachers & moved for mine, teachers in self.taught.items())
        }

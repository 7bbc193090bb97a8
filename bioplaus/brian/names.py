"""What things are called in Brian2: populations and projections as in the circuit, and variables after channels and projections."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING

from brian2.core.functions import DEFAULT_CONSTANTS, DEFAULT_FUNCTIONS
from brian2.core.namespace import DEFAULT_UNITS

from bioplaus.symbolic import noise

if TYPE_CHECKING:
    from bioplaus.cell import Cell
    from bioplaus.circuit import Network

#: names that Brian2 gives its own variables, of neurons and of synapses
OWN = frozenset({"t", "dt", "i", "j", "N", "lastspike", "not_refractory", "t_in_timesteps", "delay", "lastupdate", "N_pre", "N_post", "N_incoming", "N_outgoing"})  # fmt: skip


def words(names: Iterable[str]) -> list[str]:
    """Names as Brian2 takes them for objects: words, each of them once."""
    found: list[str] = []
    for told in names:
        word = re.sub(r"^(?=\d)|\W", "_", told, flags=re.ASCII)
        while word in found:
            word += "_"
        found.append(word)
    return found


def free(wanted: str, taken: Collection[str]) -> str:
    """A name as Brian2 takes it for variables that nothing else has: with a number behind it, if need be.

    Brian2 reads ``x_`` as x without its unit, and ``x_pre`` as that of a synapse's source.
    """
    plain = re.sub(r"^[^a-zA-Z]+|_+$", "", re.sub(r"\W", "_", wanted, flags=re.ASCII)) or "x"
    found, number = plain, 1
    while found in taken or found.endswith(("_pre", "_post")):
        number += 1
        found = f"{plain}{number}"
    return found


class Names:
    """The variables of a population's neurons that Brian2 has beside the cell's own.

    ``I_external`` is what reaches the channel I from outside, ``I_from_W`` what the projection W brings to it, ``I_unit`` what one unit of weight is
    there, ``xi_drawn`` the normal numbers of a noise; ``rate`` is what a neuron says, ``rate_2`` what it said a step before. Where a cell has such a name already, a number stands behind ours.
    """

    def __init__(self, network: Network, population: int) -> None:
        p = network.populations[population]
        cell = network.circuit.populations[p.name].cell
        self.taken = reserved(cell)
        of = {gate.channel: gate.of for gate in p.gated}
        inputs = (*cell.channels, *p.kernel.derived.inputs[len(cell.channels) :])
        channels = [inputs[of.get(k, k)] for k in range(len(inputs))]
        self.channels = tuple(channels)
        self.external = [
            *(self._new(f"{name.rstrip('_')}_external") for name in inputs),
            *(self._new(f"{xi}_drawn" if xi in cell.noises else xi) for xi in p.kernel.derived.noises),
        ]
        self.unit = [self._new(f"{name}_unit") for name in cell.channels]
        self.arriving = {
            (w.spec.name, k): self._new(f"{channels[k]}_from_{w.spec.name}")
            for w in (*p.recurrent, *p.driven)
            for k in w.channels
        }
        self.jump = {s: self._new(f"{s}_jump") for s in cell.jumps}
        self.wait = self._new("refractory_time")
        self.fired = self._new("spikes_now")
        heads = ["rate", *cell.sends]
        self.said = [
            [
                self._new(head if age == 1 and not v else f"{head}_{age}" if not v else f"{head}_sent_{age}")
                for age in range(1, p.ages + 1)
            ]
            for v, head in enumerate(heads)
        ]

    def _new(self, wanted: str) -> str:
        found = free(wanted, self.taken)
        self.taken.add(found)
        return found


def reserved(cell: Cell) -> set[str]:
    """What is a name already, to a cell or to Brian2."""
    own = {*cell.states, *cell.channels, *cell.parameters, *cell.parsed.words, *map(noise.normal, cell.noises)}
    written = cell.parsed.equations
    own |= set() if written is None else set(written)
    own |= {entry for p in cell.derived.propagators for entry in p.entries}
    return own | OWN | set(DEFAULT_FUNCTIONS) | set(DEFAULT_CONSTANTS) | set(DEFAULT_UNITS)

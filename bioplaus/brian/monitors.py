"""What is looked at while Brian2 runs, and read back as (time, batch, unit)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import brian2
import numpy as np

from bioplaus.brian.names import Names
from bioplaus.brian.standing import evaluated
from bioplaus.symbolic.derive import NOW, after
from bioplaus.symbolic.units import plain

if TYPE_CHECKING:
    from bioplaus.cell import Cell
    from bioplaus.circuit import Network
    from bioplaus.symbolic.derive import Derived

#: (population, kind, index)
Asked = tuple[int, str, int]


def monitored(network: Network, groups: Sequence[Any], asked: Sequence[Asked], clock: Any) -> dict[Asked, Any]:
    """Brian2's monitors for what is asked."""
    monitors: dict[Asked, Any] = {}
    for p, kind, i in asked:
        cell = network.circuit.populations[network.populations[p].name].cell
        if kind == "after" and cell.jumps:
            # at the end of Brian2's step what arrived in it is there already: seen before, with the spikes its reset goes by
            wanted = [(p, "u", j) for j, _ in enumerate(cell.states)] + [(p, "y_now", 0)]
        else:
            wanted = [(p, kind, i)]
        for key in wanted:
            if key not in monitors:
                said = Names(network, p).said[0][0]
                monitors[key] = _monitor(groups[p], cell.derived, list(cell.channels), said, *key[1:], clock)
    return monitors


def seen(
    network: Network, monitors: Mapping[Asked, Any], asked: Sequence[Asked], steps: int, batch: int
) -> dict[Asked, np.ndarray]:
    """What they have recorded, (time, batch, unit)."""
    recorded = {}
    for (p, kind, i), monitor in monitors.items():
        n = network.populations[p].size
        if isinstance(monitor, brian2.SpikeMonitor):
            values = np.zeros((steps, batch * n))
            values[np.rint(np.asarray(monitor.t_) / network.circuit.dt).astype(int), np.asarray(monitor.i)] = 1.0
        else:
            values = np.asarray(getattr(monitor, f"{monitor.record_variables[0]}_")).T
        recorded[p, kind, i] = values.reshape(steps, batch, n)
    for p, kind, i in asked:
        cell = network.circuit.populations[network.populations[p].name].cell
        if kind == "after" and cell.jumps:
            u = [recorded[p, "u", j] for j, _ in enumerate(cell.states)]
            recorded[p, kind, i] = _reset(cell, i, u, recorded[p, "y_now", 0])
    return recorded


def _monitor(group: Any, derived: Derived, channels: Sequence[str], said: str, kind: str, i: int, clock: Any) -> Any:
    if kind == "y_now":
        if derived.spiking:
            return brian2.SpikeMonitor(group)
        return brian2.StateMonitor(group, said, record=True, when="end", clock=clock)
    if kind == "active":
        return brian2.StateMonitor(group, "not_refractory", record=True, when="end", clock=clock)
    if kind == "arrived":
        return brian2.StateMonitor(group, channels[i], record=True, when="after_groups", clock=clock)
    when = "end" if kind == "after" else "after_groups"
    return brian2.StateMonitor(group, derived.states[i], record=True, when=when, clock=clock)


def _reset(cell: Cell, i: int, u: Sequence[np.ndarray], y: np.ndarray) -> np.ndarray:
    """r_i(u, y), what the reset leaves of a state."""
    values: dict[str, Any] = {after(s).name: each for s, each in zip(cell.states, u, strict=True)} | {NOW.name: y}
    values |= {name: plain(value) for name, value in cell.constants.items()}
    return evaluated(cell.derived.r[i], values) + np.zeros_like(y)

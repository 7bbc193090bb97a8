"""The same circuit at a smaller step, or by another integrator, for Brian2 to run.

circuit's step Δ, step dt = Δ / n

weights            as they are; of spikes onto a channel held over a step n times as much, held for dt: the same charge, w Δ
delays, refractory the times that they were, also where they were given in steps
input              a current is held over the n steps that its step was; a jump comes once, in the first of them
noise, background  drawn anew for every step, as strong as it was
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bioplaus import checks
from bioplaus.brian.standing import events
from bioplaus.circuit import Network
from bioplaus.circuit.delays import Late
from bioplaus.circuit.description import INPUT, Population, Projection
from bioplaus.circuit.wiring import Wired
from bioplaus.errors import CircuitError
from bioplaus.symbolic.units import SECOND, get_dimensions, plain, second


def times(network: Network, dt: Any) -> int:
    """How many steps of ``dt`` make one of the circuit's; 1 for None.

    Raises
    ------
    CircuitError
        If that is no whole number.
    """
    if dt is None:
        return 1
    dt = checks.accept(CircuitError, "dt", dt, checks.Amount("s", "0.1*ms", plain_below=0.1))
    own = network.circuit.dt
    exactly = own / dt
    found = round(exactly)
    if found < 1 or abs(exactly - found) > 1e-6 * exactly:
        near = own / max(1, round(exactly))
        raise CircuitError(
            f"dt={dt * 1e3:g} ms goes into the circuit's step of {own * 1e3:g} ms {exactly:.6g} times, and it must be a whole number of times, as the input of a step is held over "
            f"the steps in its place: {near * 1e3:g}*ms is near. For a longer step make the circuit anew, dataclasses.replace(circuit, dt=…), with inputs at that step."
        )
    return found


def another(network: Network, n: int, method: Any) -> Network:
    """A network with the same weights whose steps are ``n`` times as short, its cells integrated by ``method`` where that is not None.

    Raises
    ------
    CircuitError
        For what has no meaning at another step.
    CellError
        For a method that can't integrate the equations.
    """
    if n == 1 and method is None:
        return network
    if network.perturbs:
        raise CircuitError(
            "perturb= can't go with another dt= or method=: its steps are the circuit's own. Make the circuit anew at that step, dataclasses.replace(circuit, dt=…)."
        )
    circuit, dt = network.circuit, network.circuit.dt / n
    maps = [name for name, p in circuit.populations.items() if not p.cell.continuous]
    if maps:
        raise CircuitError(
            f"'{maps[0]}' ({circuit.populations[maps[0]].cell.name or 'unnamed'}) is of a discrete map (update=), whose step is what it is: dt= and method= are for differential "
            "equations. Take a cell with equations=, such as lif or alif."
        )
    populations = {name: _population(p, circuit.dt, n, method) for name, p in circuit.populations.items()}
    projections = tuple(_projection(p, circuit.dt, n) for p in circuit.projections)
    made = Network(
        replace(circuit, dt=dt, populations=populations, projections=projections),
        network.seed,
        network.dtype,
        network.device,
    )
    made.masks |= network.masks
    for name, W in network.weights.items():
        made.weights[name] = _sorted(network, made, name, W) if name in network.synapses else W.detach().clone()
    for w in made.recurrent:
        if events(made, w):
            made.weights[w.spec.name] *= _charge(made, w, n)
    return made


def _population(p: Population, dt: float, n: int, method: Any) -> Population:
    """With the same refractory time, by ``method``."""
    cell = p.cell
    waits = cell.refractory
    if n > 1 and not isinstance(waits, str) and get_dimensions(waits) is not SECOND:
        waits = np.asarray(plain(waits)) * dt * second  # steps are the time that they were
    return replace(p, cell=replace(cell, refractory=waits, method=cell.method if method is None else method))


def _projection(p: Projection, dt: float, n: int) -> Projection:
    """With the same delay in time."""
    if n == 1 or p.source == INPUT:
        return p
    if isinstance(p.delay, Late):
        if p.delay.in_time:
            return p
        raise CircuitError(
            f"delay of projection {p.name} is of each synapse its own, in steps of the circuit's dt, {dt * 1e3:g} ms, and dt= is another. Give them as times: "
            "bp.Uniform(1*ms, 5*ms), or an array of times."
        )
    return replace(p, delay=p.delay * dt if isinstance(p.delay, int) else p.delay)


def _sorted(network: Network, made: Network, name: str, W: Tensor) -> Tensor:
    """Weights of a sparse projection in the order of the other's synapses, which goes by delays."""
    old, new = network.synapses[name], made.synapses[name]
    width = old.ends[1]
    orders = [torch.argsort(each.post * width + each.pre) for each in (old, new)]
    for end in ("post", "pre"):
        if not torch.equal(*(getattr(each, end)[order] for each, order in zip((old, new), orders, strict=True))):
            raise CircuitError(
                f"The synapses of projection {name} are not those that the circuit draws from seed {network.seed} (somebody has put others in their place), and are not "
                "found again at another dt= or by another method=. Give the circuit its synapses: Projection(…, synapses=(post, pre))."
            )
    moved = torch.empty_like(W).view(-1, len(old))
    moved[:, orders[1]] = W.detach().view(-1, len(old))[:, orders[0]]
    return moved.flatten()


def _charge(network: Network, w: Wired, n: int) -> Tensor:
    """n where a spike comes onto a channel that is held over a step, 1 where it makes a state jump; one for each weight, or each row of them."""
    W = network.weights[w.spec.name]
    held = len(network.circuit.populations[network.populations[w.target].name].cell.inputs)
    each = W.new_tensor([n if k < held else 1 for k in w.channels]).repeat_interleave(W.shape[0] // len(w.channels))
    return each if w.synapses is not None else each[:, None]


def charge(network: Network, population: int, n: int) -> int:
    """How much a readout sees of what a population says in a step, beside what it saw at the circuit's own: a spike is shorter, a rate goes on."""
    return n if network.circuit.populations[network.populations[population].name].cell.spiking else 1


def drives(network: Network, x: Tensor, n: int) -> tuple[Tensor, ...]:
    """Input as a circuit's neurons are given it, `Network.drive`, of inputs that stand still over ``n`` steps: jumps come in the first of those."""
    held = network.drive(x)
    if n == 1:
        return held
    once = x.clone()
    once[torch.arange(len(x)) % n > 0, :, : network.circuit.inputs] = 0
    found = []
    for p, current, jump in zip(network.populations, held, network.drive(once), strict=True):
        cell, size = network.circuit.populations[p.name].cell, p.size
        first, last = len(cell.inputs) * size, len(cell.channels) * size
        found.append(torch.cat([current[..., :first], jump[..., first:last], current[..., last:]], -1))
    return tuple(found)

"""What somebody gives to run in Brian2, looked at: a built network, its input with what it draws, and where it stands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from bioplaus.cell import Cell
from bioplaus.circuit import Circuit, Network
from bioplaus.circuit.network import State
from bioplaus.circuit.perturbed import alone, refuse_late
from bioplaus.errors import CircuitError
from bioplaus.recording import standing
from bioplaus.recording.between import settled
from bioplaus.simulate import checked_inputs
from bioplaus.tasks import Batch


@dataclass(frozen=True)
class Given:
    """A network, float64 if it was built here; external input (time, batch, `Network.lines`); and the state before the first of these steps."""

    network: Network
    x: Tensor
    start: State
    seed: int
    first: int = 0


def given(door: str, circuit: Any, inputs: Any, seed: int | None, state: Any, perturb: Any) -> Given:
    """Looked at by ``bp.brian.<door>``.

    Raises
    ------
    CircuitError
    """
    _, seed = settled(1, state, seed)
    network = alone(built(door, circuit, seed), perturb)
    refuse_maps(network)
    if inputs is None:
        if network.drawn:
            raise CircuitError(
                f"This circuit draws {', '.join(sorted({type(d).__name__.lower() + ' of ' + repr(d.population) for d in network.drawn}))} for as many steps as there are inputs: "
                f"give inputs, np.zeros((steps, batch, {network.circuit.inputs})) if there is nothing else."
            )
        x = torch.zeros(1, 1, network.circuit.inputs, dtype=network.dtype, device=network.device)
    else:
        x = checked_inputs(network, inputs.inputs if isinstance(inputs, Batch) else inputs)
    at = None if state is None else standing(network, state, x.shape[1])
    first, start = (0, network.start(x.shape[1])) if at is None else (at.step, at.state)
    if at is None and inputs is not None:
        refuse_late(network, len(x))
    return Given(network, network.draw(x, seed, first=first), start, seed, first)


def built(door: str, circuit: Any, seed: int) -> Network:
    """A network, built in float64 if it is not yet.

    Raises
    ------
    CircuitError
        For anything else.
    """
    if not isinstance(circuit, (Circuit, Network)):
        raise CircuitError(
            f"bp.brian.{door} takes a circuit or a built network, not {circuit!r}. Make one with bp.circuit('recurrent', …)."
        )
    return circuit if isinstance(circuit, Network) else circuit.build(seed=seed, dtype=torch.float64)


def refuse_maps(network: Network) -> None:
    """Refuse cells that Brian2 can't run: discrete maps, but those that spike and do not look back at their own output.

    Raises
    ------
    CircuitError
    """
    maps = {n: p.cell.name or "unnamed" for n, p in network.circuit.populations.items() if not runs(p.cell)}
    if maps:
        listed = ", ".join(f"'{n}' ({cell})" for n, cell in maps.items())
        raise CircuitError(
            f"Brian2 can't run this circuit: the cells of {listed} are discrete maps (update=), of rates or ones that look back at their own output, and Brian2 "
            "integrates differential equations. Simulate it with bioplaus.simulate, or choose a cell with "
            "equations=, such as lif, alif, adex or leaky_rate, or a map that spikes, such as lsnn_lif."
        )


def runs(cell: Cell) -> bool:
    """Whether Brian2 can run a cell: differential equations, or a map that it can take as statements."""
    return cell.continuous or (cell.spiking and "y" not in cell.parsed.words)

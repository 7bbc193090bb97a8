"""Trouble looked for where it would show."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from bioplaus.circuit.network import Network
from bioplaus.circuit.trajectory import Stretch
from bioplaus.errors import NumericalError

if TYPE_CHECKING:
    from torch import Tensor


def sound(stretch: Stretch, o: Tensor) -> Tensor | bool:
    """Whether outputs and the last states are finite, of every population, for spikes hide a NaN: what is not a number is not above threshold.

    The flag stays where the numbers are: to read it is to wait for all that was asked of the device before.
    """
    if stretch.rolled is not None:
        return stretch.rolled.finite(o)
    found = torch.isfinite(o).all()
    for us in stretch.steps[-1].u:
        for u in us:
            found = found & torch.isfinite(u).all()
    return found


def refuse_broken(network: Network, stretch: Stretch, o: Tensor, start: int) -> None:
    """If an output or a last state is not finite, find the first state that was not; ``start`` is the stretch's first step.

    Raises
    ------
    NumericalError
        Naming step, variable, population, neuron and sample.
    """
    if bool(sound(stretch, o)):
        return
    for t, step in enumerate(stretch.steps):
        for p, us in zip(network.populations, step.u, strict=True):
            for name, u in zip(p.kernel.derived.states, us, strict=True):
                bad = (~torch.isfinite(u)).nonzero()
                if len(bad):
                    b, j = bad[0].tolist()
                    raise NumericalError(
                        f"The simulation went wrong at step {start + t}: variable '{name}' of population '{p.name}' is {float(u[b, j])} in neuron {j} "
                        f"(sample {b} of the batch). Lower the learning rate, clip gradients, or use a smaller dt or another integration method."
                    )
    raise NumericalError(
        f"The readout's output is not finite within steps {start} to {start + len(stretch.steps) - 1}: lower the readout's learning rate."
    )

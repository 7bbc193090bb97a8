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
    t, b, k = (~torch.isfinite(o)).nonzero()[0].tolist()
    broken = [
        n for n in ("W_out", "b_out") if n in network.weights and not bool(torch.isfinite(network.weights[n]).all())
    ]
    why = (
        f"{' and '.join(broken)} hold{'s' if len(broken) == 1 else ''} values that are not finite"
        if broken
        else "it is too large"
    )
    raise NumericalError(
        f"The readout went wrong at step {start + t}: output {k} is {float(o[t, b, k])} (sample {b} of the batch), where all states are finite; {why}. Lower the "
        "readout's learning rate."
    )

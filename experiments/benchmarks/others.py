"""A layer of leaky neurons with recurrent weights, simulated by snnTorch and by Norse as their documentation writes it; where they are installed.

Their neurons are leaky integrators that are reset, as in the rows they stand beside, but not refractory, and Norse's have a synaptic current;
what is compared is what a simulation of as many neurons, samples and steps takes. Nothing here is needed by bioplaus.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from importlib.metadata import version
from importlib.util import find_spec

import torch
from torch import Tensor

Simulation = Callable[[], Tensor]


def snntorch(x: Tensor, units: int) -> Simulation:
    """Spikes of ``snntorch.RLeaky``, (), for input (time, batch, input)."""
    import snntorch as snn  # pyright: ignore[reportMissingImports]

    into = torch.nn.Linear(x.shape[2], units, bias=False)
    neurons = snn.RLeaky(beta=math.exp(-1 / 20), threshold=0.6, linear_features=units)

    @torch.no_grad()
    def simulate() -> Tensor:
        spikes, membrane = neurons.init_rleaky()
        fired = torch.zeros(())
        for now in x.unbind(0):
            spikes, membrane = neurons(into(now), spikes, membrane)
            fired = fired + spikes.sum()
        return fired

    return simulate


def norse(x: Tensor, units: int) -> Simulation:
    """Spikes of ``norse.torch.LIFRecurrent``, (), which takes the whole sequence."""
    import norse.torch as snn  # pyright: ignore[reportMissingImports]

    p = snn.LIFParameters(tau_mem_inv=torch.tensor(50.0), v_th=torch.tensor(0.6))
    neurons = snn.LIFRecurrent(x.shape[2], units, p=p)

    @torch.no_grad()
    def simulate() -> Tensor:
        spikes, _ = neurons(x)
        return spikes.sum()

    return simulate


def installed() -> dict[str, Callable[[Tensor, int], Simulation]]:
    """What is at hand, by name and version."""
    known = {"snntorch": snntorch, "norse": norse}
    return {f"{name} {version(name)}": make for name, make in known.items() if find_spec(name)}

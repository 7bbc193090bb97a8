"""A circuit as a Brian2 network, for who goes on in Brian2."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import brian2
import torch
from brian2.codegen.runtime.numpy_rt.numpy_rt import NumpyCodeObject
from brian2.devices.device import get_device, runtime_device

from bioplaus.brian import twin
from bioplaus.brian.given import Given, given
from bioplaus.brian.make import Make, refuse_python
from bioplaus.brian.standing import on_their_way
from bioplaus.settings import ours
from bioplaus.symbolic.quiet import quiet

if TYPE_CHECKING:
    from bioplaus.circuit import Circuit, Network


@ours()
def network(
    circuit: Circuit | Network, inputs: Any = None, *, seed: int | None = None, state: Any = None, perturb: Any = None
) -> brian2.Network:
    """A circuit as a plain Brian2 network, to go on with: add monitors and groups, look at variables, run it.

    Populations are `brian2.NeuronGroup`, projections between them `brian2.Synapses`, called as in the circuit: ``net["E"]``, ``net["W_EI"]``, whose weights
    are ``net["W_EI"].w``, in Brian2's order of synapses (``.i``, ``.j``). Beside the cell's own variables a group has ``I_from_W``, what the projection W
    brings to the channel I, and ``rate``; what comes from outside, the bias in it, is ``I_external(t, i)``. Neuron i of sample b of a batch has number
    b·size + i. Names that Brian2 does not take have underscores for what it does not take.

    Brian2's ``defaultclock`` gets the circuit's step, so that monitors of which nothing else is said record once a step. Where ``prefs.codegen.target`` is
    ``"auto"``, as Brian2 sets it, the circuit's objects run as numpy code, which needs no compilation; set it to ``"cython"`` first for the other. With
    ``set_device("cpp_standalone")`` before it, the network is part of that program.

    Parameters
    ----------
    circuit, seed, state, perturb : as of `bioplaus.brian.simulate`.
    inputs : as there, from time 0 on; behind their last step they are 0, and so is the noise and background that the circuit draws, while the bias stays.
        None: no input at all, in one sample.

    Returns
    -------
    brian2.Network
        To be run from time 0 on; nothing has run yet.

    Raises
    ------
    CircuitError
        For a cell that Brian2 can't run, inputs of the wrong shape, or no inputs to a circuit that draws noise.

    Examples
    --------
    >>> import numpy as np
    >>> import bioplaus as bp
    >>> from brian2 import SpikeMonitor, ms
    >>> circuit = bp.circuit("recurrent", cell="lif", inputs=3, units=20, outputs=1, input_gain=9.0)
    >>> x = np.random.default_rng(0).normal(size=(200, 1, 3))
    >>> net = bp.brian.network(circuit, x)
    >>> seen = SpikeMonitor(net["cortex"])
    >>> net.add(seen)
    >>> net.run(200 * ms)
    >>> bool(seen.num_spikes == bp.brian.simulate(circuit, x, "spikes").spikes.sum() > 0)
    True
    """
    with quiet(), torch.no_grad():
        known = given("network", circuit, inputs, seed, state, perturb)
        if get_device() is not runtime_device:
            refuse_python(known.network)
        return brian2.Network(*_made(known, Make(**_options())))


def _options() -> dict[str, Any]:
    """numpy code, unless somebody has said what they want."""
    alone = get_device() is runtime_device
    return {"codeobj_class": NumpyCodeObject} if alone and brian2.prefs.codegen.target == "auto" else {}


def _made(known: Given, make: Make) -> list[Any]:
    circuit = known.network
    clock = twin.clock(circuit)
    brian2.defaultclock.dt = clock.dt
    # a TimedArray holds its last row for ever
    x = torch.cat([known.x, torch.zeros_like(known.x[:1])])
    drives = [d.double().cpu().numpy() for d in on_their_way(circuit, known.start, circuit.drive(x))]
    groups, projections = twin.objects(circuit, drives, clock, known.start, make)
    return [*groups, *projections]

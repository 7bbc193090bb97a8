"""One trial of a circuit that learns inside Brian2: run, and all that has moved written back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import brian2
import numpy as np
import torch

from bioplaus.brian.names import Names
from bioplaus.brian.plastic import Plastic, back, plastic
from bioplaus.circuit.network import PopulationState, State, Step
from bioplaus.circuit.trajectory import Stretch
from bioplaus.errors import NumericalError
from bioplaus.signal import Instant
from bioplaus.symbolic.runtime import runtime

if TYPE_CHECKING:
    from torch import Tensor

    from bioplaus.circuit import Network
    from bioplaus.own import Owns
    from bioplaus.rules import Rule
    from bioplaus.tasks import Batch, Loss


@dataclass(frozen=True)
class Trial:
    """What a trial gave.

    Attributes
    ----------
    outputs : (time, 1, output).
    rates : mean output of every population, per step.
    spikes : (time, unit) of every population that spikes, 0 or 1; if they were to be kept.
    last : the last step, as far as outputs and their slopes go.
    """

    outputs: Tensor
    rates: dict[str, float]
    spikes: dict[str, np.ndarray]
    last: Stretch


def trial(
    network: Network,
    rule: Rule,
    own: Owns,
    batch: Batch,
    loss: Loss,
    rates: Mapping[str, float],
    generator: torch.Generator | None = None,
    keep: bool = False,
) -> Trial:
    """Run one trial while weights move at every step, in the network and the rule's own tensors.

    Parameters
    ----------
    batch : of one trial, its inputs with what the circuit draws by itself.
    rates : learning rates by path; what has none stays.
    generator : for rules that draw at random.
    keep : whether spikes are kept.

    Raises
    ------
    NumericalError
        If an output, a state or a weight is not finite; nothing is written back then.
    """
    T, signal, xi = batch.steps, rule.signal, None
    if isinstance(signal, Instant) and signal.feedback == "reward":
        like = batch.inputs.new_zeros(T, 1, network.circuit.readout.size)
        xi = signal.explore(signal.init(network, 1, generator), like)[:, 0]
    with torch.no_grad(), runtime(), np.errstate(all="ignore"):  # what breaks is looked for at the end
        made = plastic(network, rule, own, batch, loss, rates, xi)
        seen = brian2.StateMonitor(made.readout, "o_", record=True, when="end", clock=made.clock)
        spiking = [i for i, p in enumerate(network.populations) if keep and p.kernel.derived.spiking]
        raster = {i: brian2.SpikeMonitor(made.populations[i]) for i in spiking}
        brian2.Network(*made.objects, seen, *raster.values()).run(T * made.clock.dt, namespace={})
        outputs = np.asarray(seen.o__).T
        _refuse_broken(made, outputs)
        back(made, own)
        said = zip(network.populations, made.populations, strict=True)
        spikes = {}
        for i, monitor in raster.items():
            found = spikes[network.populations[i].name] = np.zeros((T, network.populations[i].size))
            found[np.rint(np.asarray(monitor.t_) / network.circuit.dt).astype(int), np.asarray(monitor.i)] = 1.0
        return Trial(
            torch.tensor(outputs).unsqueeze(1).to(batch.inputs),
            {p.name: float(group.variables["count_"].get_value().mean()) / T for p, group in said},
            spikes,
            _last(made, batch),
        )


def _refuse_broken(made: Plastic, outputs: np.ndarray) -> None:
    """Refuse numbers that are not finite."""
    for p, group in zip(made.network.populations, made.populations, strict=True):
        for name in p.kernel.derived.states:
            bad = np.flatnonzero(~np.isfinite(group.variables[name].get_value()))
            if bad.size:
                raise NumericalError(
                    f"The simulation in Brian2 went wrong within {len(outputs)} steps: variable '{name}' of population '{p.name}' is not finite in neuron {bad[0]} at "
                    "the end. Lower the learning rate, or use a smaller dt or another integration method."
                )
    bad = np.argwhere(~np.isfinite(outputs))
    if bad.size:
        t, k = bad[0]
        raise NumericalError(
            f"The readout went wrong in Brian2 at step {t}: output {k} is {outputs[t, k]}. Lower the readout's learning rate."
        )
    for name, some in made.synapses.items():
        for synapses in some:
            weights = [v for v in synapses.variables if v.startswith("w_")]
            if not all(np.isfinite(synapses.variables[v].get_value()).all() for v in weights):
                raise NumericalError(f"Learning in Brian2 went wrong: '{name}' holds values that are not finite. Lower its learning rate.")  # fmt: skip


def _last(made: Plastic, batch: Batch) -> Stretch:
    """The last step; of a population that spikes only what it said, for the slopes of spikes are not looked at."""
    network = made.network
    before, currents, us, actives, after = [], [], [], [], []
    for i, (p, group) in enumerate(zip(network.populations, made.populations, strict=True)):

        def read(name: str, there: bool = True, group: brian2.NeuronGroup = group, n: int = p.size) -> Tensor:
            values = group.variables[name].get_value() if there else np.zeros(n)
            return torch.tensor(np.broadcast_to(values, n)[None]).to(batch.inputs)

        rate = not p.kernel.derived.spiking
        old = tuple(read(f"old_{s}_", rate) for s in p.kernel.derived.states)
        u = tuple(read(s, rate) for s in p.kernel.derived.states)
        y = tuple(read(Names(network, i).said[0][0]) for _ in range(p.slots))
        wait = torch.zeros_like(y[0]) if p.refracts else None
        before.append(PopulationState(old, y, wait))
        currents.append(batch.inputs.new_zeros(1, p.taken * p.size))
        us.append(u)
        actives.append(None if wait is None else torch.ones_like(wait))
        after.append(PopulationState(u, y, wait))
    filtered = tuple(
        torch.tensor(made.populations[s].variables["seen_"].get_value()[None]).to(batch.inputs)
        for s in network.sources
        if network.kappa
    )
    step = Step(State(tuple(before), filtered), tuple(currents), tuple(us), tuple(actives), State(tuple(after), filtered))  # fmt: skip
    return Stretch(network, [step], batch.inputs[-1:])

"""One trial in which climbing fibres teach inside Brian2 (`bioplaus.brian.climbing`), and the readout learns from its error as ever."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch

from bioplaus.circuit.network import PopulationState, State, Step
from bioplaus.circuit.trajectory import Stretch
from bioplaus.eligibility import TwoStage
from bioplaus.learning.sequence import error_of
from bioplaus.learning.tally import Outcome, Tally
from bioplaus.schedule import Online
from bioplaus.signal.climbing import ClimbingFibres

if TYPE_CHECKING:
    from torch import Tensor

    from bioplaus.circuit import Network
    from bioplaus.rules import Rule
    from bioplaus.tasks import Batch, Loss


def misfit(network: Network, rule: Rule) -> str | None:
    """Why climbing fibres can't teach a circuit inside Brian2, or None."""
    if not (isinstance(rule.eligibility, TwoStage) and isinstance(rule.signal, ClimbingFibres)):
        return f"the rule '{rule.name}' meets traces of parallel fibres with something else than complex spikes, which is not written as synapses"
    if not isinstance(rule.schedule, Online):
        return f"the rule '{rule.name}' has schedule={rule.schedule!r}, which holds weights, and synapses of Brian2 learn at every step"
    fibres, climbing = rule.eligibility.fibres(network), rule.signal.fibres(network)
    if fibres is None or climbing is None or fibres.target != climbing.target:
        return f"'{rule.eligibility.parallel}' and '{rule.signal.climbing}' do not end at the same neurons, which complex spikes are of"
    rates = [p.name for p in network.populations if not p.kernel.derived.spiking]
    if rates:
        return f"'{rates[0]}' does not spike, and there synapses do something at spikes only"
    return None


def climbed(network: Network, rule: Rule, batch: Batch, loss: Loss, rates: Mapping[str, float]) -> Outcome:
    """One trial, after which weights are those with which it ended."""
    from bioplaus.brian.climbing import lesson  # Brian2, for whoever asks for it
    from bioplaus.brian.plastic import laid

    past = rule.eligibility
    assert isinstance(past, TwoStage)
    w, W = past.fibres(network), network.weights[past.parallel]
    assert w is not None
    found = lesson(network, rule, batch.inputs, rates.get(past.parallel, 0.0))
    _, j, i = laid(network, w)
    new = torch.from_numpy(found.weights).to(W)
    if w.synapses is None:
        full = torch.zeros_like(W).reshape(len(w.channels), network.populations[w.target].size, -1)
        full[:, j, i] = new
        new = full
    W.copy_(new.reshape(W.shape))
    spikes = [torch.from_numpy(each).to(batch.inputs).unsqueeze(1) for each in found.spikes]
    seen = _filtered(network, torch.cat([spikes[p] for p in network.sources], -1))
    outputs = _read(network, seen, batch, loss, rates)
    last = _last(network, found.states, spikes, seen[-1:], batch)
    tally = Tally([each.sum((0, 1)) for each in spikes], outputs, last=last)
    return tally.outcome(network, batch, loss, last.steps[-1].after)


def _filtered(network: Network, y: Tensor) -> Tensor:
    """ȳ of what is read, (time, 1, unit)."""
    found, bar = [], torch.zeros_like(y[0])
    for each in y:
        bar = network.kappa * bar + (1 - network.kappa) * each
        found.append(bar)
    return torch.stack(found)


def _read(network: Network, seen: Tensor, batch: Batch, loss: Loss, rates: Mapping[str, float]) -> Tensor:
    """The outputs, (time, 1, output); the readout's weights move with every error."""
    rate = {name: rates.get(name, 0.0) for name in ("W_out", "b_out") if name in network.weights}
    if not any(rate.values()):
        return network.output(seen)
    outputs = []
    for bar, target, weight in zip(seen, batch.targets, batch.weight, strict=True):
        outputs.append(network.output(bar))
        error = error_of(loss, outputs[-1][None], target[None], weight[None], [bool(weight.any())])[0]
        for name, eta in rate.items():
            network.weights[name] -= eta * (error.T @ bar if name == "W_out" else error.sum(0))
    return torch.stack(outputs)


def _last(
    network: Network, states: list[list[np.ndarray]], spikes: list[Tensor], seen: Tensor, batch: Batch
) -> Stretch:
    """The last step, as far as outputs go."""
    populations, currents, us = [], [], []
    for p, own, said in zip(network.populations, states, spikes, strict=True):
        u = tuple(torch.from_numpy(each).to(batch.inputs)[None] for each in own)
        populations.append(
            PopulationState(u, (said[-1],) * p.slots, torch.zeros_like(said[-1]) if p.refracts else None)
        )
        currents.append(batch.inputs.new_zeros(1, p.taken * p.size))
        us.append(u)
    sizes = [network.populations[p].size for p in network.sources]
    state = State(tuple(populations), tuple(seen[0].split(sizes, -1)) if network.kappa else ())
    active = tuple(torch.ones_like(p.y[0]) if p.wait is not None else None for p in populations)
    return Stretch(network, [Step(state, tuple(currents), tuple(us), active, state)], batch.inputs[-1:])

"""Learning outside torch: an update of a trainer is one trial inside Brian2, whose synapses move at every step (`bioplaus.brian.trial`).

Everything else of a trainer stays where it is: trials are drawn here, weights and what the rule has of its own come back after each of them, and
tests, recordings and comparisons with BPTT are run by torch, with equal spikes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from bioplaus.circuit.backend import Choice, choice
from bioplaus.circuit.network import PopulationState, State, Step
from bioplaus.circuit.trajectory import Stretch
from bioplaus.circuit.wiring import Outputs, Wired
from bioplaus.eligibility import RFLO, STDP, EProp, TwoStage
from bioplaus.eligibility.stdp import ONLY
from bioplaus.errors import NumericalError, RuleError
from bioplaus.learning import climbed
from bioplaus.learning.frozen import holds
from bioplaus.learning.tally import Outcome, Tally
from bioplaus.schedule import Online
from bioplaus.signal import BPLambda, Instant, Spoken
from bioplaus.signal.synthetic import theta

if TYPE_CHECKING:
    from bioplaus.brian.predictor import Learned
    from bioplaus.circuit import Network
    from bioplaus.learning.training import Training
    from bioplaus.own import Owns
    from bioplaus.rules import Rule
    from bioplaus.tasks import Batch, Loss, Task

NAME = "brian2"
#: losses whose error is written as Brian2's equations
LOSSES = ("squared", "cross_entropy", "soft_cross_entropy", "binary_cross_entropy")


def chosen(training: Training, network: Network, rule: Rule, task: Task) -> Choice:
    """By what a trainer's updates are computed, and why.

    Raises
    ------
    BioplausError
        Where what is asked for can't serve.
    """
    if training.backend != NAME:
        if isinstance(rule.eligibility, STDP):
            raise RuleError(ONLY)
        return choice(training.backend, network, task.steps * max(training.updates, 1), training.batch)
    if reason := misfit(network, rule, task.loss):
        raise RuleError(
            f"backend='brian2' can't serve this: {reason}. Inside Brian2 circuits of equation cells learn, from the losses {', '.join(LOSSES)}, by "
            "bp.rule('eprop', schedule='online'), rflo, three_factor, climbing_fibre or stdp, and rate cells by bp.rule('bp_lambda', trace='local', eligibility='eprop', schedule='online'). "
            + (
                "stdp runs nowhere else."
                if isinstance(rule.eligibility, STDP)
                else "Leave backend out, and torch serves all there is but stdp."
            )
        )
    return Choice(NAME, "asked for")


def simulated(chosen: Choice) -> str:
    """What runs the circuit where nothing is learned."""
    return "torch" if chosen.name == NAME else chosen.name


def misfit(network: Network, rule: Rule, loss: Loss) -> str | None:
    """Why a circuit can't learn inside Brian2 by this rule, or None."""
    maps = [p.name for p in network.populations if not network.circuit.populations[p.name].cell.continuous]
    if maps:
        return f"the cells of '{maps[0]}' are discrete maps (update=), and Brian2 integrates differential equations"
    if network.drives:
        return f"{network.drives}, which torch's step alone knows of"
    if "W_out" in network.masks:
        return "its readout sees each population apart, and the synapses of a readout that learns are all there"
    if isinstance(rule.signal, BPLambda):
        return predicted_misfit(network, rule, loss)
    if isinstance(rule.eligibility, TwoStage):
        return climbed.misfit(network, rule) or interfered(network)
    known = isinstance(rule.signal, Spoken if isinstance(rule.eligibility, STDP) else Instant)
    if type(rule.eligibility) not in (EProp, RFLO, STDP) or not known:
        return f"the rule '{rule.name}' is not written as synapses"
    if not isinstance(rule.schedule, Online):
        return f"the rule '{rule.name}' has schedule={rule.schedule!r}, which holds weights, and synapses of Brian2 learn at every step"
    if loss.name not in LOSSES:
        return f"the loss {loss!r} is not written as equations"
    if isinstance(rule.eligibility, STDP) and not any(paired(network, w) for w in network.learned):
        return "stdp moves weights between neurons that spike, and here is no such projection that learns"
    return interfered(network)


def interfered(network: Network) -> str | None:
    """What interferes, and can't where synapses learn; None, where all of it can."""
    for p in network.populations:
        if p.silence is not None or p.gated or p.clamped:
            return f"of those that interfere, only drive, noise, delay and freeze reach synapses that learn, and '{p.name}' is silenced, clamped or cut off"
    return None


def paired(network: Network, w: Wired) -> bool:
    """Whether what a projection carries are spikes, to neurons that spike: what pairs are made of."""
    source = w.source
    if not isinstance(source, Outputs) or source.voice:
        return False
    return all(network.populations[p].kernel.derived.spiking for p in (source.population, w.target))


def predicted_misfit(network: Network, rule: Rule, loss: Loss) -> str | None:
    """Why a circuit can't learn inside Brian2 beside a predictor, or None; where it is the circuit or the predictor, that is said at once."""
    from bioplaus.brian.predictor import asked

    if not isinstance(rule.schedule, Online):
        return f"the rule '{rule.name}' has schedule={rule.schedule!r}, which holds weights, and synapses of Brian2 learn at every step"
    asked(network, rule)
    return None if loss.name == "squared" else f"the loss {loss!r} is not written as equations beside a predictor"


def learned(
    network: Network,
    rule: Rule,
    own: Owns,
    batch: Batch,
    loss: Loss,
    rates: dict[str, float],
    generator: torch.Generator,
) -> Outcome:
    """One trial, after which weights and own tensors are those with which it ended."""
    from bioplaus.brian.trial import trial  # Brian2, for whoever asks for it

    moved = moving(network, rates)
    if isinstance(rule.signal, BPLambda):
        return predicted(network, rule, own, batch, loss, moved)
    if isinstance(rule.eligibility, TwoStage):
        return climbed.climbed(network, rule, batch, loss, moved)
    found = trial(network, rule, own, batch, loss, moved, generator)
    sums: list[Any] = [batch.inputs.new_full((p.size,), found.rates[p.name] * batch.steps) for p in network.populations]
    tally = Tally(sums, found.outputs, last=found.last)
    return tally.outcome(network, batch, loss, found.last.steps[-1].after)


def moving(network: Network, rates: Mapping[str, float]) -> dict[str, float]:
    """The rates of what nobody has frozen."""
    frozen = network.frozen
    own = [path for path in rates if path not in network.weights]
    still = {*frozen, *(path for path in own if holds(frozen, path))}
    return {path: rate for path, rate in rates.items() if path not in still}


def beside_predictor(network: Network, rule: Rule, batch: Batch, training: Training, own: Owns, **more: Any) -> Learned:
    """`bioplaus.brian.predictor.learn` by a training's learning rates and its ``loss_per``; all else stays as it is.

    Raises
    ------
    RuleError
        For a training that is no plain descent at every step.
    """
    from bioplaus.brian.predictor import learn

    if training.optimiser != "sgd" or training.apply != "window" or training.clip is not None:
        raise RuleError(
            "In Brian2 weights move at every step by plain descent, as synapses do: give bp.Training(optimiser='sgd', apply='window'), without clip."
        )
    dt = network.circuit.dt
    rates = training.at(dt).by_path(network.weights, [f"predictor.{name}" for name in theta(own).learned])
    counted = replace(batch, weight=batch.weight * training.loss_weight(dt))
    return learn(network, rule, counted, moving(network, rates), own, **more)


def predicted(network: Network, rule: Rule, own: Owns, batch: Batch, loss: Loss, rates: Mapping[str, float]) -> Outcome:
    """One trial of a circuit beside its predictor."""
    from bioplaus.brian.predictor import learn

    found = learn(network, rule, batch, rates, own)
    told = theta(own)
    pairs = [(W, found.weights[name]) for name, W in network.weights.items()]
    pairs += [(told["A"], found.A), (told["b"], found.b)]
    if not all(np.isfinite(new).all() for new in (found.outputs, *(new for _, new in pairs))):
        raise NumericalError(
            "Learning beside a predictor in Brian2 gave numbers that are not finite. Lower lr or predictor_lr."
        )
    for mine, new in pairs:
        mine.copy_(torch.as_tensor(new))
    like = {"dtype": network.dtype, "device": network.device}
    x, y = (torch.as_tensor(each[None], **like) for each in (found.x, found.y))
    p = network.populations[0]
    state = State((PopulationState((x,), (y,) * p.slots, None),), ())
    silence = torch.zeros(1, p.taken * p.size, **like)
    last = Stretch(network, [Step(state, (silence,), ((x,),), (None,), state)], batch.inputs[-1:])
    outputs = torch.as_tensor(found.outputs, **like)
    tally = Tally([torch.full((p.size,), found.rate * batch.steps, **like)], outputs, last=last)
    return tally.outcome(network, batch, loss, state)

"""Learning outside torch: an update of a trainer is one trial inside Brian2, whose synapses move at every step (`bioplaus.brian.learn`).

Everything else of a trainer stays where it is: trials are drawn here, weights and what the rule has of its own come back after each of them, and
tests, recordings and comparisons with BPTT are run by torch, with equal spikes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bioplaus.circuit.backend import Choice, choice
from bioplaus.eligibility import RFLO, STDP, EProp
from bioplaus.eligibility.stdp import ONLY
from bioplaus.errors import BioplausError, RuleError
from bioplaus.learning.frozen import holds
from bioplaus.learning.tally import Outcome, Tally
from bioplaus.schedule import Online
from bioplaus.signal import BPLambda, Instant, Spoken

if TYPE_CHECKING:
    import torch

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
            "bp.rule('eprop', schedule='online'), rflo, three_factor or stdp. Leave backend out, and torch serves all there is."
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
    known = isinstance(rule.signal, Spoken if isinstance(rule.eligibility, STDP) else Instant)
    if type(rule.eligibility) not in (EProp, RFLO, STDP) or not known:
        return f"the rule '{rule.name}' is not written as synapses"
    if not isinstance(rule.schedule, Online):
        return f"the rule '{rule.name}' has schedule={rule.schedule!r}, which holds weights, and synapses of Brian2 learn at every step"
    if loss.name not in LOSSES:
        return f"the loss {loss!r} is not written as equations"
    for p in network.populations:
        if p.silence is not None or p.gated or p.clamped:
            return f"of those that interfere, only drive, noise, delay and freeze reach synapses that learn, and '{p.name}' is silenced, clamped or cut off"
    return None


def predicted_misfit(network: Network, rule: Rule, loss: Loss) -> str | None:
    """Why a circuit can't learn inside Brian2 beside a predictor, or None."""
    from bioplaus.brian.predictor import asked

    try:
        asked(network, rule)
    except BioplausError as error:
        return str(error)[0].lower() + str(error)[1:].rstrip(".")
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
    from bioplaus.brian.learn import trial  # Brian2, for whoever asks for it

    frozen = network.frozen
    moving = {path: rate for path, rate in rates.items() if path not in frozen and not holds(frozen, path)}
    if isinstance(rule.signal, BPLambda):
        return predicted(network, rule, own, batch, loss, moving)
    found = trial(network, rule, own, batch, loss, moving, generator)
    sums: list[Any] = [batch.inputs.new_full((p.size,), found.rates[p.name] * batch.steps) for p in network.populations]
    tally = Tally(sums, found.outputs, last=found.last)
    return tally.outcome(network, batch, loss, found.last.steps[-1].after)

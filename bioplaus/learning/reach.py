"""Where a rule's credit cannot come, and what would bring it there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from bioplaus.rules import TABLE, Rule
from bioplaus.signal import Instant

if TYPE_CHECKING:
    from bioplaus.circuit import Network


def out_of_reach(network: Network, rule: Rule, rates: Mapping[str, float]) -> str:
    """That no credit can reach some weights that are to learn: which, why, and what would help; empty where it reaches all.

    Parameters
    ----------
    rates : learning rates by weight; what has 0 stays as it is, whatever credit it has.
    """
    moving = {name: [w for w in weights if rates[w]] for name, weights in rule.unreached(network).items()}
    missed = {name: weights for name, weights in moving.items() if weights}
    if not missed:
        return ""
    weights = "; ".join(f"of '{name}': {', '.join(names)}" for name, names in missed.items())
    heard = [network.populations[i].name for i in sorted(rule.signal.hearers(network, rule.schedule.steps))]
    told = ", ".join(f"'{name}'" for name in heard) or "none"
    return (
        f"Under the rule '{rule.name or type(rule.eligibility).__name__}' no credit can reach some learned weights, which stay as they are ({weights}). Errors are "
        f"told to the neurons of {told} alone, and what the rule keeps of the past ({rule.past.keeps}) does not lead there. {_remedies(network, rule, heard)}"
    )


def _remedies(network: Network, rule: Rule, heard: list[str]) -> str:
    """What would reach all that is learned, tried."""
    found = []
    if isinstance(rule.signal, Instant):
        everyone = replace(rule, signal=replace(rule.signal, feedback="random"))
        if rule.signal.feedback in ("symmetric", "reward") and not everyone.unreached(network):
            found.append("feedback that every neuron hears (feedback='random', 'broadcast', 'adaptive', or a matrix)")
    wanted = tuple(p.name for p in network.populations if p.name in heard or p.name in rule.unreached(network))
    found.append(f"a readout that sees those neurons too (Readout(sources={wanted}))")
    made = {name: make() for name, make in TABLE.items()}
    others = [n for n, r in made.items() if r.serves(network) and not r.unreached(network)]
    if others:
        found.append(f"a rule whose credit comes there ({', '.join(others)})")
    return f"What would help: {'; or '.join(found)}."

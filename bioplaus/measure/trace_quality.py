"""How good a cheap trace of BP(λ) is: its update of the predictor against the exact trace's, on one batch.

With Δ the update of accumulate BP(λ) itself (exact trace, exact Jacobian; arXiv 2401.07044) and Δ̂ that of a variant of it, of
which n draws have the mean m and the variance s² (divisor n − 1)::

    bias        √max(0, |m − Δ|² − s²/n) / |Δ|                                                     (1)
    deviation   √s² / |Δ|                                                                          (2)

n draws miss their expectation by s²/n in the mean of squares: (1) takes that part off. A trace that draws nothing has the bias
|Δ̂ − Δ|/|Δ| and no deviation. All are without unit. A variant that speaks through deep nuclei is held against the exact trace
of the same predictor.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch

from bioplaus import checks
from bioplaus.circuit import Circuit, Network
from bioplaus.eligibility import Immediate
from bioplaus.errors import RuleError, unknown
from bioplaus.learning.fit import drawn_with, given
from bioplaus.learning.sequence import sequence
from bioplaus.measure.gradients import alone, scatter
from bioplaus.own import Own, Owns
from bioplaus.rules import Rule
from bioplaus.schedule import Window
from bioplaus.signal import BPLambda
from bioplaus.streams import stream
from bioplaus.tasks import Batch, Loss

if TYPE_CHECKING:
    from torch import Tensor


#: what a rule may have beside the circuit's weights; a signal takes those parts that it has
PARTS = ("predictor", "copy", "auxiliary", "model", "feedback", "kernel")


@dataclass(frozen=True)
class Quality:
    """One variant against the exact update.

    Attributes
    ----------
    bias, deviation : (1) and (2).
    bias_squared : what (1) takes the root of; negative where draws happen to lie closer than they scatter.
    """

    bias: float
    deviation: float
    bias_squared: float


def trace_quality(
    circuit: Circuit | Network,
    batch: Batch,
    variants: Mapping[str, BPLambda],
    own: Owns | None = None,
    loss: Loss | None = None,
    *,
    draws: int = 64,
    seed: int = 0,
) -> dict[str, Quality]:
    """Bias and deviation of variants of BP(λ).

    Parameters
    ----------
    circuit : a circuit (built here with ``seed``, in float64) or a built network.
    variants : signals under names of their own, such as ``{"local": BPLambda(trace="local")}``.
    own : weights of the predictor, and of a learned model, by part (a trainer's ``own``); what is not given is as at birth: zero,
        with learned models of no use yet. Deep nuclei take their part of it, Vᵀ A.
    loss : default: squared error for real targets, cross-entropy for integer ones.
    draws : of variants that draw at random, ≥ 2.

    Raises
    ------
    RuleError
        What is given is no circuit, batch, loss or seed, does not fit the circuit, or has no such tensors; something else than
        BPLambda is to be measured, or one of them cannot serve the circuit.
    """
    if not isinstance(circuit, (Circuit, Network)):
        raise checks.refusal(
            RuleError, "circuit", circuit, "a circuit that bp.circuit('recurrent', cell=…) makes, or its .build()"
        )
    draws = checks.whole(RuleError, "draws", draws, 2)
    seed = checks.accept(RuleError, "seed", seed, checks.SEED)
    network = circuit if isinstance(circuit, Network) else circuit.build(seed=seed, dtype=torch.float64)
    _refuse_variants(variants)
    _refuse_own(own)
    batch, chosen = given(network, batch, loss)
    out = {}
    for name, variant in variants.items():
        rule = Rule(Immediate(), replace(variant, gives="state"), Window(), name)
        rule.refuse(network)
        start = _taken(rule.begin(network, batch, seed), own or {})
        batch = drawn_with(network, batch, seed)
        exact = replace(
            variant, trace="exact", outputs=None, horizon=None, jacobian="exact", gives="state", published=False
        )
        true = _update(network, replace(rule, signal=exact), start, batch, chosen)
        generators = [stream(seed, f"draw {d}") for d in range(draws if rule.future.random else 1)]
        found = torch.stack([_update(network, rule, start, batch, chosen, g) for g in generators])
        square, deviation = scatter(found, true) if len(found) > 1 else alone(found[0], true, False)
        out[name] = Quality(float(square.clamp_min(0).sqrt()), float(deviation), float(square))
    return out


def _update(
    network: Network,
    rule: Rule,
    own: Owns,
    batch: Batch,
    loss: Loss,
    generator: torch.Generator | None = None,
) -> Tensor:
    """The gradient of the predictor's weights, one vector."""
    found = sequence(network, rule, own, batch, loss, generator=generator).own
    return torch.cat([found[n].flatten().double() for n in sorted(found) if not n.startswith("model.")])


def _refuse_variants(variants: Any) -> None:
    """Refuse what are no signals of BP(λ) under names."""
    if not isinstance(variants, Mapping) or not variants:
        raise checks.refusal(
            RuleError, "variants", variants, "a mapping of names to signals, such as {'local': BPLambda(trace='local')}"
        )
    for name, variant in variants.items():
        if not isinstance(variant, BPLambda):
            of = "" if isinstance(variant, (str, type)) else f" of class {type(variant).__name__}"
            raise RuleError(
                f"trace_quality measures variants of BP(λ), and {name!r} is {checks.short(variant)}{of}: give BPLambda(trace=…), a "
                "rule's signal (bp.rule('bp_lambda').signal)."
            )


def _refuse_own(own: Any) -> None:
    """Refuse what is no mapping of parts to their tensors, and parts that no BP(λ) has."""
    if own is None:
        return
    wanted = "a trainer's .own, or {'predictor': Own({'A': …, 'b': …})} with Own of bioplaus.own, or None"
    if not isinstance(own, Mapping) or not all(isinstance(part, Own) for part in own.values()):
        raise checks.refusal(RuleError, "own", own, wanted)
    for part in own:
        if part not in PARTS:
            raise RuleError(f"{unknown('part of a rule', part, PARTS)} own must be {wanted}.")


def _taken(own: Owns, given: Owns) -> Owns:
    """What a signal starts from, with the values that are given."""
    return {part: _with(part, mine, given[part]) if part in given else mine for part, mine in own.items()}


def _with(part: str, mine: Own, given: Own) -> Own:
    values = {}
    for name, value in given.learned.items():
        if name not in mine.learned:
            continue
        wanted, value = mine[name].shape, value.to(mine[name])
        if value.shape != wanted and "V" in mine and value.shape[:1] == mine["V"].shape[:1]:
            value = mine["V"].T @ value
        if value.shape != wanted:
            raise RuleError(
                f"own['{part}'] has {name} of shape {tuple(value.shape)}, but in this circuit the {part}'s {name} is of shape {tuple(wanted)}: "
                "give the tensors of a trainer of the same circuit and predictor."
            )
        values[name] = value
    if given.learned and not values:
        raise RuleError(
            f"own['{part}'] has {', '.join(given.learned)}, and the {part} here has none of them: its tensors are {', '.join(mine.learned)}."
        )
    return mine.replaced(values)

"""A random influence step by step: the mean over the signs of one step is exact RTRL's step, wherever the rule has come to.

Let P̂_t be the influence that a rule carries, with what a leaky readout sees of it, F̂_t. If, given all signs before t,

    E_t[P̂_t] = J_t P̂_{t−1} + M_t,     E_t[F̂_t] = κ F̂_{t−1} + (1 − κ) ψ_t E_t[P̂_t],                  (1)

then E[P̂_t] = J_t E[P̂_{t−1}] + M_t, which is RTRL's recursion: by induction E[P̂_t] = P_t at every t, however long the sequence, and
so is the gradient's mean Σ_t c_t P_t, for the credit c_t knows nothing of the signs. (1) takes the signs of one step only, and is
checked at every step of a trajectory from what signs drawn before have made of P̂.

Where a step takes more than 8 signs, not all outcomes are tried but a balanced part (`bioplaus.check.signs.design`), turned about by
other signs at every step. The mean of what is a product of two signs, or odd in all of them together, is then the one over all; and
steps of the unbiased rules are sums of such terms, for their balance ρ is the same for ν and −ν.

The influence is read off with `Recursion.meet`, as the credit that stands at one row alone meets it; RTRL's step is `RTRL.advance`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from bioplaus.check.bench import Bench
from bioplaus.check.signs import Outcomes, count, design, told
from bioplaus.circuit.tangent import Tangent
from bioplaus.circuit.trajectory import Stretch, roll
from bioplaus.eligibility import RTRL
from bioplaus.eligibility.influence import Space
from bioplaus.eligibility.recursion import Recursion
from bioplaus.rules import Rule
from bioplaus.streams import stream

if TYPE_CHECKING:
    from torch import Tensor


def mismatch(bench: Bench, rule: Rule) -> float:
    """(1) along the first sample of a bench: largest difference of an entry, over the largest of its row, of all steps.

    Infinite if the rule does not draw equally many signs at every step.
    """
    table = design(count(bench.short(1), rule))
    generator, outcomes = stream(bench.seed, "signs"), Outcomes(table)
    past: Any = told(rule, outcomes).eligibility
    many, one = (_stretch(bench, size) for size in (len(table), 1))
    space, exact = Space(bench.network), RTRL()
    state, true = (kind.init(bench.network, size) for kind, size in ((past, len(table)), (exact, 1)))
    worst, leaky = 0.0, bool(bench.network.kappa)
    for t, now in enumerate(space.moments(Tangent(bench.network, one))):
        turned = 2 * torch.randint(0, 2, (table.shape[1],), generator=generator) - 1
        outcomes.table, outcomes.bits = table * turned, 0
        past.step(state, Tangent(bench.network, Stretch(bench.network, [many.steps[t]], many.x[t : t + 1])))
        if outcomes.bits != table.shape[1]:
            return float("inf")
        exact.advance(true, now)
        true.before = now
        means = carried(past, state, len(table))
        collapse(state, int(torch.randint(0, len(table), (), generator=generator)), len(table))
        outcome = carried(past, state, len(table))
        exactly = [x[0] for x in (true.P, true.filtered) if x is not None]
        worst = max(worst, *(_off(*each) for each in zip(means, exactly, outcome, strict=True)))
        true.P = outcome[0][None]
        true.filtered = outcome[1][None] if leaky else None
    return worst


def _stretch(bench: Bench, size: int) -> Stretch:
    with torch.no_grad():
        return roll(bench.network, bench.network.start(size), bench.copies(size).inputs)[0]


def carried(past: Recursion, state: Any, size: int) -> list[Tensor]:
    """P̂, and F̂ behind a leaky readout, (row, column): means over so many samples."""
    space, found = state.space, []
    leaky = bool(space.network.kappa)
    for behind in (False, True) if leaky else (False,):
        rows = []
        for z in range(space.size):
            units = [space.zeros(size, space.size) for _ in range(1 + leaky)]
            units[behind][:, z] = 1 / size
            total = [space.zeros(*shape) for shape in space.columns]
            past.meet(state, units[0], units[1] if leaky else None, total)
            rows.append(torch.cat([t.flatten() for t in total]))
        found.append(torch.stack(rows))
    return found


def collapse(state: Any, outcome: int, size: int) -> None:
    """Carry on with one outcome: every sample becomes that one, in place."""
    for name, value in vars(state).items():
        if name not in ("space", "before", "pools", "generator"):
            for x in value if isinstance(value, (list, tuple)) else [value]:
                if isinstance(x, torch.Tensor) and x.dim() and len(x) == size:
                    x.copy_(x[outcome].clone())


def _off(found: Tensor, true: Tensor, outcome: Tensor) -> float:
    """Largest difference; each row over its largest entry, or that of one outcome where what is true is less, or nothing."""
    scale = torch.maximum(true.abs().amax(1), outcome.abs().amax(1))
    error = (found - true).abs().amax(1)
    return float(torch.where(error > 0, error / scale, 0.0).amax())

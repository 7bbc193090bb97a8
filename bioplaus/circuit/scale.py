"""Zero and scale of a population's states, so that what is far from one in SI units is of the order of one for who reads it.

    h = (s − s₀)/σ,      credit for h = σ · credit for s

s₀ is where a neuron starts. σ is the cell's own: how far its threshold is from there. States without a unit stay as they are, s₀ = 0 and
σ = 1; of the others, the first of these that holds:

1. spikes read the state: |margin / (∂margin/∂s)| at the start, threshold minus rest (where a neuron starts at its threshold, the width
   of its surrogate derivative);
2. a rate reads it: 1 / |∂y/∂s| at the start, what moves the rate by one;
3. it has the unit of such a state v: that one's σ;
4. it drives such a state v: what, held, takes v from the start to its threshold, σ_v |1 − ∂v/∂v| / |∂v/∂s| over a step, linearised;
5. it jumps when a spike arrives: the jump that one unit of weight gives;
6. |s₀|, or 1 in SI units if that is zero.

Of an adaptive exponential neuron with rest −70 mV, spike at −40 mV and leak 10 nS: v is counted from −70 mV in units of 30 mV, w in units
of 300 pA. What neurons say, and what a readout filters, has no unit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from bioplaus.codegen.torch_source import margin

if TYPE_CHECKING:
    from torch import Tensor

    from bioplaus.circuit.wiring import Wiring


class Scale(NamedTuple):
    """s₀ and σ of every state of a population, (unit,) each."""

    zero: tuple[Tensor, ...]
    sigma: tuple[Tensor, ...]


def scale(p: Wiring, like: Tensor) -> Scale | None:
    """Of a population; None where all is as it is. ``like`` has the dtype and device."""
    named = [unit != "1" for unit in p.units]
    if not any(named):
        return None
    states = p.kernel.derived.states
    start = [like.new_full((p.size,), v) for v in p.start]
    one = like.new_ones(p.size)
    read = _read(p, start)
    jumps = {k: like.new_tensor(v).abs().expand(p.size) for k, v in p.jumps.items()}
    F = _slopes(p, start)
    sigma = []
    for j, name in enumerate(states):
        if j >= len(named) or not named[j]:
            sigma.append(one)
            continue
        given = [read.get(j)]
        given += [found for i, found in read.items() if p.units[i] == p.units[j]]
        given += [found * (1 - F[i][i]).abs() / F[i][j].abs() for i, found in read.items()]
        given += [jumps.get(name), start[j].abs()]
        fit = (each for each in given if each is not None and bool((torch.isfinite(each) & (each > 0)).all()))
        sigma.append(next(fit, one))
    zero = [at if j < len(named) and named[j] else torch.zeros_like(at) for j, at in enumerate(start)]
    return Scale(tuple(zero), tuple(sigma))


def _read(p: Wiring, start: list[Tensor]) -> dict[int, Tensor]:
    """σ of the states with a unit that the output reads, by index."""
    value, slopes = margin(p.kernel, start)
    found = {}
    for j, slope in enumerate(slopes):
        if j < len(p.units) and p.units[j] != "1" and bool((slope != 0).all()):
            reach = value.abs() if p.kernel.derived.spiking else torch.ones_like(value)
            found[j] = torch.where(reach > 0, reach, 1.0) / slope.abs()
    return found


def _slopes(p: Wiring, start: list[Tensor]) -> list[list[Tensor]]:
    """∂f/∂s of a step from the start, without input: [row][column], (unit,) each."""
    zero, one = torch.zeros_like(start[0]), torch.ones_like(start[0])
    at = {"s": start, "u": start}
    ones = ("active", "receptive")

    def get(kind: str, index: int) -> Tensor:
        return at[kind][index] if kind in at else one if kind in ones else zero

    def full(entry: Any) -> Tensor:
        return zero if entry is None else zero + entry

    return [[full(entry) for entry in row] for row in p.kernel.partials(get)[0]]

"""With which power of the step the error of a cell's integration shrinks: what its method promises, measured.

A neuron flows freely (no spike, no reset) for some milliseconds under a constant current, everything that can jump having jumped once
at the start. Of its course at steps dt, dt/2 and dt/4::

    order = log₂ (max |s_dt − s_dt/2| / max |s_dt/2 − s_dt/4|)
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from bioplaus import content
from bioplaus.codegen.kernel import hard_spike, uncut
from bioplaus.errors import BioplausError
from bioplaus.symbolic.arguments import neurons
from bioplaus.symbolic.units import plain

if TYPE_CHECKING:
    from bioplaus.cell import Cell

#: the coarsest step, seconds, and how many of them are compared  # chosen: Hodgkin and Huxley's sodium gate follows in 0.1 ms
STEP, MARKS = 1e-4, 80
#: in units of weight: the current, and how far states jump at first
CURRENT, JUMP = 0.5, 1.0
#: relative to how far a state moves: what counts as no error at all, and how much less than its method's an order may be
ROUNDING, SLACK = 1e-11, 0.25
PROMISED = {
    "exact": math.inf,
    "linear": math.inf,
    "independent": math.inf,
    "exponential_euler": 1,
    "euler": 1,
    "heun": 1,  # without noise they are Euler's
    "milstein": 1,
    "rk2": 2,
    "rk4": 4,
}


@dataclass(frozen=True)
class Order:
    """Of one cell: its method, the order that it promises and the one that is found; infinite where there is no error."""

    model: str
    method: str
    promised: float
    found: float

    @property
    def ok(self) -> bool:
        return self.found >= self.promised - SLACK


def orders(names: Sequence[str] = ()) -> Iterator[Order]:
    """Every model written as equations, a study's own included; all, or those of these names."""
    for name in content.names("model"):
        if names and name not in names:
            continue
        try:
            cell = content.model(name)
        except BioplausError:
            continue  # said where rules are tried on it
        if cell.continuous:
            yield Order(name, cell.method, PROMISED.get(cell.method, 1), order(cell))


def order(cell: Cell, step: float = STEP) -> float:
    """The order that is found, of the state that has the least; infinity where halving the step changes nothing but rounding."""
    whole, half, quarter = (_course(cell, step, parts) for parts in (1, 2, 4))
    size = (quarter.amax(0) - quarter.amin(0)).clamp_min(1e-300)
    coarse, fine = ((a - b).abs().amax(0) / size for a, b in ((whole, half), (half, quarter)))
    worst = [math.log2(c / max(f, 1e-300)) for c, f in zip(coarse.tolist(), fine.tolist(), strict=True) if c > ROUNDING]
    return min(worst, default=math.inf)


def _course(cell: Cell, step: float, parts: int) -> torch.Tensor:
    """States at whole steps, (mark, state), a step being cut in so many parts."""
    n = neurons(cell) or 1  # its own, where it has values for each
    kernel, one = cell.kernel(n, step / parts, torch.float64, "cpu"), torch.ones(1, n, dtype=torch.float64)
    state = tuple(one * torch.as_tensor(plain(cell.start.get(s, 0.0)), dtype=torch.float64) for s in cell.states)
    held = [CURRENT * one for _ in cell.inputs]
    noiseless = [0 * one for _ in cell.noises]
    found = []
    for k in range(MARKS * parts):
        jumps = [(JUMP if k == 0 else 0.0) * one for _ in cell.jumps]
        state = kernel.step(state, (*held, *jumps, *noiseless), 0 * one, one, hard_spike, uncut, one)[0]
        if (k + 1) % parts == 0:
            found.append(torch.stack(state, -1)[0].flatten())
    return torch.stack(found)

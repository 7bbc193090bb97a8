"""Eligibility traces carried forward by a fused loop (`bioplaus.codegen.traces_source`)."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from bioplaus.circuit.fused_sweep import patterned
from bioplaus.codegen import compiled, threads
from bioplaus.codegen.partials import Partials
from bioplaus.codegen.plans import Plan
from bioplaus.codegen.scalars import Numbers, entries, scalar, varies
from bioplaus.codegen.traces_source import lazy, traces
from bioplaus.eligibility.traces import Trace, coefficients

if TYPE_CHECKING:
    from torch import Tensor

    from bioplaus.circuit.tangent import Tangent


#: of a synapse's step  # measured: 0.3 to 0.5 ns
OPERATIONS = 1


def met(trace: Trace, within: Tangent, credit: tuple[Tensor | None, Tensor | None], ends: bool = True) -> Tensor:
    """Carry a trace through a window, in place; Σ over batch and time of credit for e (time, batch, post) and for ē, met by them: (post, pre).

    ``ends`` says whether somebody will read e.
    """
    part, steps = within.partials[trace.population], within.stretch.steps
    loop: Loop | None = trace.loop if within.stretch.uses is None else None
    if loop is None or not loop.goes_on(steps, part, (_heard(credit), ends)):
        loop = trace.loop = Loop(trace, part, within, credit, ends)
    return loop(*credit)


class Loop:
    """The loop of a trace along a stretch, and all that it takes but the credit.

    It goes on with steps that are taken in the same place (`bioplaus.circuit.standing`).
    """

    def __init__(
        self, trace: Trace, part: Partials, within: Tangent, credit: tuple[Tensor | None, Tensor | None], ends: bool
    ) -> None:
        B, n = len(trace.e), within.network.populations[trace.population].size
        self.steps, dtype = within.stretch.steps, trace.e.numpy().dtype
        pattern, arrays = patterned(part.of_output(), B * n, B)
        self.part, self.kind = part, (_heard(credit), ends)
        sparse = trace.synapses is not None
        text, numbers, late = _written(pattern, trace.k, trace.plan, trace.e_bar is not None, *self.kind, sparse)
        self.function = compiled.function(text, "traces0_", str(dtype))
        if trace.left is None:
            trace.left = torch.ones(len(trace.stored) + 2, B, n, dtype=trace.e.dtype)
        if late and not ends:
            trace.left[-1] = torch.nan  # e, to whoever reads it all the same
        self.behind = (torch.stack(trace.shared) if trace.shared else trace.e.new_zeros(1, 1, 1)).numpy()
        trace.shared = list(torch.from_numpy(self.behind).unbind(0)) if trace.shared else []
        self.before = np.empty_like(self.behind)
        self.nothing = np.zeros((1, 1, 1), dtype=dtype)
        self.given = (np.array(numbers, dtype=dtype), dtype.type(within.network.kappa), 0, n)
        self.varying = tuple([a.reshape(-1, B, n) for a in arrays]) or (self.nothing,)
        e_bar = self.nothing if trace.e_bar is None else trace.e_bar.numpy()
        stored = tuple([s.numpy() for s in trace.stored]) or (self.nothing,)
        where = () if trace.synapses is None else (trace.synapses.rows.numpy(), trace.synapses.columns.numpy())
        self.arriving = [part.numpy() for piece in trace.pieces for part in within.stretch.parts(piece.wired)]
        self.pre = np.concatenate(self.arriving, -1)
        self.shape, self.size = trace.e.shape[1:], trace.e.numel()
        self.carried = (*where, self.before, self.behind, stored, trace.e.numpy(), e_bar, trace.left.numpy())

    def goes_on(self, steps: Any, part: Partials, kind: tuple[tuple[bool, bool], bool]) -> bool:
        """Whether these are the same steps' arrays, in which the next has been written: of the cell's own partials alone, for relatives of e-prop make
        new ones of them at every step."""
        return self.steps is steps and self.part is part and self.kind == kind

    def __call__(self, told: Tensor | None, shown: Tensor | None) -> Tensor:
        self.before[:] = self.behind
        out = np.zeros(self.shape, self.nothing.dtype)
        np.concatenate(self.arriving, -1, out=self.pre)
        credit = [self.nothing if c is None else c.contiguous().numpy() for c in (told, shown)]
        given = (*self.given, self.pre, self.varying, *credit, *self.carried, out)
        threads.run(self.function, given, 2, self.given[-1], OPERATIONS * len(self.pre) * self.size)
        return torch.from_numpy(out)


def _heard(credit: tuple[Tensor | None, Tensor | None]) -> tuple[bool, bool]:
    """Whether there is credit for e, and for ē."""
    told, shown = credit
    return told is not None, shown is not None


@cache
def _written(
    pattern: Any, k: int, plan: Plan, leaky: bool, credit: tuple[bool, bool], ends: bool, sparse: bool
) -> tuple[str, tuple[float, ...], bool]:
    """The text of the loop for a pattern of partials, the numbers it reads, and whether it puts decay off."""
    numbers = Numbers()
    c = coefficients(Partials(*scalar(pattern, numbers)), k, plan)
    moves = [moves for _, moves in sorted({e for e in entries(pattern) if varies(e)})]
    text = traces(c, numbers, plan.output, leaky, credit, ends, moves, sparse)
    return text, tuple(numbers.values), lazy(c, plan.output)

"""Eligibility traces carried forward by a fused loop (`bioplaus.codegen.traces_source`)."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from bioplaus.circuit.fused_sweep import patterned
from bioplaus.codegen import compiled
from bioplaus.codegen.partials import Partials
from bioplaus.codegen.plans import Plan
from bioplaus.codegen.scalars import Numbers, entries, scalar, varies
from bioplaus.codegen.traces_source import traces
from bioplaus.eligibility.traces import Trace, coefficients

if TYPE_CHECKING:
    from torch import Tensor


def met(
    trace: Trace, part: Partials, pre: Tensor, kappa: float, told: Tensor | None = None, shown: Tensor | None = None
) -> Tensor:
    """Carry a trace through a window, in place; Σ over batch and time of credit for e (time, batch, post) and for ē, met by them: (post, pre)."""
    B, n, m = trace.e.shape
    pattern, arrays = patterned(part, B * n, B)
    leaky, S = trace.e_bar is not None, len(trace.stored)
    text, numbers = _written(pattern, trace.k, trace.plan, leaky, (told is not None, shown is not None))
    kind = trace.e.numpy().dtype
    nothing = np.zeros((1, 1, 1), dtype=kind)
    array = lambda a: nothing if a is None else a.contiguous().numpy()  # noqa: E731
    if trace.left is None:
        trace.left = torch.ones(S + 2, B, n, dtype=trace.e.dtype)
    shared = torch.stack(trace.shared) if trace.shared else torch.empty(1, 1, 1, dtype=trace.e.dtype)
    behind = torch.empty_like(shared)
    out = torch.zeros(n, m, dtype=trace.e.dtype)
    compiled.function(text, "traces0_", kind.name)(
        np.array(numbers, dtype=kind), kind.type(kappa), 0, n, array(pre), tuple(a.reshape(-1, B, n) for a in arrays) or (nothing,), array(told), array(shown),
        shared.numpy(), behind.numpy(), tuple(s.numpy() for s in trace.stored) or (nothing,), trace.e.numpy(), array(trace.e_bar), trace.left.numpy(), out.numpy(),
    )  # fmt: skip
    trace.shared = list(behind.unbind(0)) if trace.shared else []
    return out


@cache
def _written(
    pattern: Any, k: int, plan: Plan, leaky: bool, credit: tuple[bool, bool]
) -> tuple[str, tuple[float, ...]]:
    """The text of the loop for a pattern of partials, and the numbers it reads."""
    numbers = Numbers()
    c = coefficients(Partials(*scalar(pattern, numbers)), k, plan)
    moves = [moves for _, moves in sorted({e for e in entries(pattern) if varies(e)})]
    return traces(c, numbers, plan.output, leaky, credit, moves), tuple(numbers.values)

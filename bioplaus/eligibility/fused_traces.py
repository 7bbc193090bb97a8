"""Eligibility traces carried forward by a fused loop (`bioplaus.codegen.traces_source`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from bioplaus.circuit.fused_sweep import patterned
from bioplaus.codegen import compiled
from bioplaus.codegen.traces_source import lazy, traces
from bioplaus.eligibility.traces import Coefficients, Trace

if TYPE_CHECKING:
    from torch import Tensor


def met(trace: Trace, c: Coefficients, pre: Tensor, kappa: float, told: Tensor | None, shown: Tensor | None) -> Tensor:
    """Carry a trace through a window, in place; Σ over batch and time of credit for e (time, batch, post) and for ē, met by them: (post, pre)."""
    B, n, m = trace.e.shape
    pattern, arrays = patterned(c, B * n, B)
    pattern = Coefficients(*pattern)
    leaky = trace.e_bar is not None
    text, numbers = traces(
        pattern, trace.plan.output, leaky, (told is not None, shown is not None), lazy(pattern, trace.plan.output)
    )
    kind = trace.e.numpy().dtype
    nothing = np.zeros((1, 1, 1), dtype=kind)
    array = lambda a: nothing if a is None else a.contiguous().numpy()  # noqa: E731
    shared = torch.stack(trace.shared) if trace.shared else torch.zeros(1, 1, 1, dtype=trace.e.dtype)
    out = torch.zeros(n, m, dtype=trace.e.dtype)
    compiled.function(text, "traces0_", kind.name)(
        np.array(numbers, dtype=kind), kind.type(kappa), 0, B, array(pre), tuple(a.reshape(-1, B, n) for a in arrays) or (nothing,), array(told), array(shown),
        shared.numpy(), tuple(s.numpy() for s in trace.stored) or (nothing,), trace.e.numpy(), array(trace.e_bar), out.numpy(),
    )  # fmt: skip
    trace.shared = list(shared.unbind(0)) if trace.shared else []
    return out

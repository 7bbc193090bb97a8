"""Whether a trace that is carried forward fits into memory; asked before any is kept."""

from __future__ import annotations

import torch

from bioplaus.capacity import memory, shown
from bioplaus.circuit.carried import Layout
from bioplaus.errors import RuleError


def afford(layout: Layout, inputs: int, batch: int, floats: int, weights: int) -> None:
    """Refuse a trace of so many floats a sample, of a predictor with so many inputs and weights, that memory cannot hold.

    Raises
    ------
    RuleError
        Saying how much would be needed and what would need less.
    """
    network, H = layout.network, layout.size
    size = torch.finfo(network.dtype).bits // 8
    there = 0.9 * memory(network.device)
    if batch * floats * size <= there:
        return
    steps, factors = H * batch * size, (H**2 + inputs) * batch * size
    raise RuleError(
        f"A trace carried from step to step, and the product that replaces it, would take {shown(batch * floats * size)} for a batch of {batch} "
        f"(a state of {H} dimensions, a predictor of {weights} weights), and there are {shown(there)}. Whole "
        f"sequences need none (schedule='window'); from step to step trace='replay' keeps about {shown(steps)} a step, and for a predictor of "
        f"which only the last layer learns trace='kronecker' keeps about {shown(factors)} and trace='local' a few values per weight and sample. "
        "Or use a smaller circuit, predictor or batch."
    )

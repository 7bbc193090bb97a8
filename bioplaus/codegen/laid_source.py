"""Text that makes ready what a step in one place reads: weights as they are now, by their sources, input lines, and what stood behind the last step.

One call for all of it, for whatever is called after traces have gone by finds nothing of its own in the cache.
"""

from __future__ import annotations

from collections.abc import Sequence

from bioplaus.codegen.scalars import OPTIONS

#: rows that are turned together, so that what is written lies side by side  # measured: 8, 16
TOGETHER = 8


def laid(sparse: Sequence[bool]) -> str:
    """The text of ``laid0_(0, goes on, x, told, carried, C, readout, c, shift, …)`` for projections that are sparse or not; it answers 0, or no number where a weight is none.

    x (batch, line) goes into ``told`` (1, batch, input); C and c into ``readout`` and ``shift``; each of ``carried`` (time, …) goes back by one
    step, if it goes on and weights are numbers. Then, for each projection, W (channel · post, pre) and where it goes (pre, channel · post); or W (channel, synapse), the order of
    synapses by source, and where they go in it.
    """
    arguments = [f"weights{i}_, {f'order{i}_, ' if apart else ''}rows{i}_" for i, apart in enumerate(sparse)]
    lines: list[str] = []
    for i, apart in enumerate(sparse):
        if apart:
            lines += [
                f"for channel0_ in range(weights{i}_.shape[0]):",
                f"    for synapse0_ in range(weights{i}_.shape[1]):",
                f"        rows{i}_[channel0_, synapse0_] = weights{i}_[channel0_, order{i}_[synapse0_]]",
                f"        broken0_ += nothing0_*rows{i}_[channel0_, synapse0_]",
            ]
        else:
            lines += [
                f"for begin0_ in range(0, weights{i}_.shape[0], {TOGETHER}):",
                f"    for pre0_ in range(weights{i}_.shape[1]):",
                f"        for post0_ in range(begin0_, min(begin0_ + {TOGETHER}, weights{i}_.shape[0])):",
                f"            rows{i}_[pre0_, post0_] = weights{i}_[post0_, pre0_]",
                f"for pre0_ in range(rows{i}_.shape[0]):",
                f"    for post0_ in range(rows{i}_.shape[1]):",
                f"        broken0_ += nothing0_*rows{i}_[pre0_, post0_]",
            ]
    return "\n".join(
        [
            "import numba as nb0_",
            "",
            "",
            f"@nb0_.njit({OPTIONS})",
            f"def laid0_({', '.join(['nothing0_, goes0_, x0_, told0_, carried0_, C0_, readout0_, c0_, shift0_', *arguments])}):",
            "    broken0_ = nothing0_",
            "    told0_[0] = x0_[:, :told0_.shape[2]]",
            "    readout0_[:] = C0_",
            "    shift0_[:] = c0_",
            *(f"    {line}" for line in lines),
            "    if goes0_ and broken0_ == nothing0_:",
            "        for array0_ in carried0_:",
            "            for time0_ in range(array0_.shape[0] - 1):",
            "                array0_[time0_] = array0_[time0_ + 1]",
            "    return broken0_",
            "",
        ]
    )

"""Texts of what errors do at one step: to the readout's weights, Σ over the batch of δ ⊗ ȳ and of δ; and to neurons, δ through weights."""

from bioplaus.codegen.scalars import OPTIONS

#: ``learned0_(δ (batch, output), ȳ (batch, unit), C (output, unit), c (output,))`` adds to the last two
LEARNED = f"""import numba as nb0_


@nb0_.njit({OPTIONS})
def learned0_(error0_, seen0_, out0_, shift0_):
    for sample0_ in range(seen0_.shape[0]):
        for output0_ in range(out0_.shape[0]):
            delta0_ = error0_[sample0_, output0_]
            shift0_[output0_] += delta0_
            for unit0_ in range(seen0_.shape[1]):
                out0_[output0_, unit0_] += delta0_*seen0_[sample0_, unit0_]
"""

#: ``told0_(δ (batch, output), W (output, unit), out (batch, unit))`` adds δ W to the last
TOLD = f"""import numba as nb0_


@nb0_.njit({OPTIONS})
def told0_(error0_, weights0_, out0_):
    for sample0_ in range(out0_.shape[0]):
        for output0_ in range(weights0_.shape[0]):
            delta0_ = error0_[sample0_, output0_]
            for unit0_ in range(out0_.shape[1]):
                out0_[sample0_, unit0_] += delta0_*weights0_[output0_, unit0_]
"""

"""Text of what a readout's weights learn of one step: Σ over the batch of δ ⊗ ȳ, and of δ."""

from bioplaus.codegen.scalars import OPTIONS

#: ``readout0_(δ (batch, output), ȳ (batch, unit), C (output, unit), c (output,))`` adds to the last two
READOUT = f"""import numba as nb0_


@nb0_.njit({OPTIONS})
def readout0_(error0_, seen0_, out0_, shift0_):
    for sample0_ in range(seen0_.shape[0]):
        for output0_ in range(out0_.shape[0]):
            delta0_ = error0_[sample0_, output0_]
            shift0_[output0_] += delta0_
            row0_ = out0_[output0_]
            for unit0_ in range(seen0_.shape[1]):
                row0_[unit0_] += delta0_*seen0_[sample0_, unit0_]
"""

"""Credit for outputs from a predicted gradient of the carried state, to be met by e-prop's eligibility.

    dL/dW = Σ_t c_t e_t,      c_t = q_t + g_y(h_t)                                                    (1)

h = (states, output y, …) are coordinates, so g_y, the output's component of the gradient of the future loss, is what the output
does to the future while the neuron's own states are held: its way through other neurons. What goes through the own states is in
the eligibility (docs/concepts.md; Bellec et al. 2020, doi:10.1038/s41467-020-17236-y). Behind a leaky readout ȳ is a coordinate
too, and its future in the eligibility's ē: direct credit stands at ȳ_t, and g_ȳ is left out.
What a neuron sends beside its output, z, is a coordinate of its own: g_z meets the eligibility where it enters, at u (∂z/∂u).

A cell that reads its own last output (the update gate of a GRU) has a way to its own future through y: the eligibility follows
it, and g_y holds it as well. How much of g_y goes that way is E_{t+1}ᵀ a_{t+1}, known one step later, when the eligibility of y_t
is no longer kept. Such cells are refused; credit for their state is exact.

=======  =============  =============================
symbol   variable       shape
=======  =============  =============================
q        ``direct``     credit over time
g        ``g``          (time, batch, size of h)
=======  =============  =============================
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bioplaus.circuit.carried import Layout
from bioplaus.circuit.credit import Credit, both, plus
from bioplaus.circuit.network import Network
from bioplaus.circuit.sweep import at_u
from bioplaus.circuit.tangent import Tangent

if TYPE_CHECKING:
    from torch import Tensor

GIVES = ("state", "output")


def refuse(network: Network) -> str | None:
    """Why outputs of this circuit cannot be given credit of their own, or None."""
    own = [p.name for p in network.populations if any(e != 0 for e in p.kernel.derived.E)]
    if not own:
        return None
    return (
        f"the cells of population {', '.join(map(repr, own))} read their own last output, a path that the eligibility keeps and the "
        "predicted gradient for the output holds too, and which part of it that is shows one step too late (use eligibility='immediate' "
        "with gives='state')"
    )


def credit(layout: Layout, tangent: Tangent, direct: Credit, g: Tensor) -> Credit:
    """(1), of direct credit and a predicted gradient."""
    return joined(tangent, direct, layout.credit(g))


def joined(tangent: Tangent, direct: Credit, future: Credit) -> Credit:
    """Direct credit, and of the future's what stands at this step's outputs, and at what is sent beside them."""
    y = tuple((plus(a[0], b[0]), *(None for _ in a[1:])) for a, b in zip(direct.y, future.y, strict=True))
    sent = [said[1 : p.voices] for said, p in zip(future.y, tangent.network.populations, strict=True)]
    return direct._replace(y=y, u=both(direct.u, at_u(tangent, sent)))

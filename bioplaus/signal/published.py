"""What the released code of BP(λ) does in LSTM circuits without e-prop traces, three mistakes included (arXiv 2401.07044).

An LSTM neuron carries its cell c and its output y = o tanh(c) to the next step. Let ψ = ∂y/∂c = o (1 − tanh² c)::

    J'   =  J without the path y_{t−1} → o_t → y_t                                                   (1)
    q'   =  (q ψ, q) for (c, y)            where (0, q) belongs: y hands q on to c once more         (2)
    credit for c when the gates learn:  q ψ + s g_c          without s g_y ψ                          (3)

By (2) the immediate part of a target is twice the truth as far as it goes by way of c. So one step before the only loss the
target's half for c is exactly 2.000 times the truth, whatever the weights; and where no recurrent weight reaches the output gate,
all of every target at λ = 1 is. By (3) the input, forget and candidate gates see a partial derivative of the future only. The
circuit's credit for this step's own loss is right.

=======  =================  =======================================
symbol   variable           shape
=======  =================  =======================================
q, q'    ``q``, result      (time, batch, size)
J'       ``Released``       as a jacobian
=======  =================  =======================================

Differs from the released code in what is scale and no mistake: no clipping of each step's update, no division by the batch before
the mean over it, biases once.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import torch

from bioplaus.circuit.carried import Layout
from bioplaus.circuit.credit import Inner, silent
from bioplaus.circuit.network import Network
from bioplaus.circuit.sweep import to_h, to_u
from bioplaus.circuit.tangent import Tangent
from bioplaus.circuit.wiring import Wiring
from bioplaus.signal.jacobians import Jacobian
from bioplaus.signal.traces.exact import Exact
from bioplaus.signal.traces.view import View

if TYPE_CHECKING:
    from torch import Tensor


def refuse(network: Network) -> str | None:
    """Why the released code has nothing to say of a circuit, or None."""
    others = [p.name for p in network.populations if not _lstm(p)]
    if others:
        return (
            f"published=True repeats what the authors' code does to an LSTM's cell and output gate, and {', '.join(map(repr, others))} "
            "has no such pair (use bp.model('lstm'), or published=False)"
        )
    if network.kappa or any(p.slots > 1 for p in network.populations):
        return (
            "published=True knows plain readouts and delays of one step only, as the authors' code does (use tau_out=None and "
            "delay=1, or published=False)"
        )
    return None


def _lstm(p: Wiring) -> bool:
    """One state that crosses into the next step, one that only gates the output, no way from the own output but synapses."""
    derived = p.kernel.derived
    own = any(e != 0 for e in derived.E)
    return not derived.spiking and p.live == (True, False) and p.channels == 4 and not own


@dataclass(frozen=True)
class Released(Jacobian):
    """(1)."""

    network: Network

    @cached_property
    def layout(self) -> Layout:
        return Layout(self.network)

    def back(self, tangent: Tangent, v: Tensor) -> Tensor:
        u, passed = to_u(self.network, tangent.transposes, tangent.varying, self.layout.credit(v))
        shut: Inner = [
            tuple(a if crosses or a is None else torch.zeros_like(a) for a, crosses in zip(each, p.live, strict=True))
            for each, p in zip(u, self.network.populations, strict=True)
        ]
        return self.layout.flat(to_h(self.network, tangent.transposes, tangent.varying, shut, passed)[1], v)


class ReleasedTrace(Exact):
    """The exact trace, but with J'."""

    def jacobian(self, view: View) -> Jacobian:
        return Released(view.layout.network)


def doubled(layout: Layout, tangent: Tangent, q: Tensor) -> Tensor:
    """(2)."""
    u = through_output(layout, tangent, q)
    s = tuple(
        tuple(a if crosses else None for a, crosses in zip(each, p.live, strict=True))
        for each, p in zip(u, layout.network.populations, strict=True)
    )
    return q + layout.flat(silent(layout.network)._replace(s=s), q)


def without_partial(layout: Layout, tangent: Tangent, u: Inner, g: Tensor) -> Inner:
    """(3): credit for u, less what the prediction g for y would add to c by way of y."""
    more = through_output(layout, tangent, g)
    return [
        tuple(
            a - b if crosses and a is not None and b is not None else a
            for a, b, crosses in zip(mine, own, p.live, strict=True)
        )
        for mine, own, p in zip(u, more, layout.network.populations, strict=True)
    ]


def through_output(layout: Layout, tangent: Tangent, v: Tensor) -> Inner:
    """What credit for outputs alone becomes at u: v_y ψ."""
    y = layout.credit(v).y
    return to_u(layout.network, tangent.transposes, tangent.varying, silent(layout.network)._replace(y=y))[0]

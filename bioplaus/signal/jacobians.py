"""What carries credit one step back: the circuit's Jacobian, or something cheaper in its place.

    J = D + R      D inside the neuron, R from neuron to neuron, through W_recᵀ

=========  ======================================================================================================
exact      D + R
within     D alone: every neuron knows it of itself
random     D + R with fixed random weights B in the place of W_rec (Lillicrap et al. 2016, doi:10.1038/ncomms13276)
learned    M, one matrix for all states, of a linear model of the step (Marschall et al. 2020, arXiv 1907.02649)
=========  ======================================================================================================

Each offers the same four things (row vectors)::

    back      v J_t at every step
    before    credit for u_t carried the first half of that way; through the neuron alone where J is no way of the circuit's
    sweep     u_s = δ_{s+1} + c u_{s+1} J_{s+1},  backwards over a window                                         (1)
    matrix    J of one step, (batch, size at t, size at t − 1)

=======  =================  ===========================================================
symbol   variable           shape
=======  =================  ===========================================================
v        ``v``              (time, batch, size) at h_t
δ, u     ``delta``, result  (time, batch, size); δ_{s+1} and u_s stand at the same place
B        ``feedback.…``     like the projection's weights, N(0, gain²/fan-in)
M        ``model.J``        (size, size), see step_model
=======  =================  ===========================================================
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import torch

from bioplaus.circuit.carried import Layout
from bioplaus.circuit.credit import Inner
from bioplaus.circuit.network import Network
from bioplaus.circuit.sweep import sweep
from bioplaus.circuit.tangent import Tangent
from bioplaus.own import Own, Owns

if TYPE_CHECKING:
    from torch import Tensor

JACOBIANS = ("exact", "random", "within", "learned")


class Jacobian:
    """Base of all: a sweep and a matrix made of single steps back."""

    def back(self, tangent: Tangent, v: Tensor) -> Tensor:
        """v J_t for every step of a window, or for one step without its time dimension."""
        raise NotImplementedError

    def before(self, tangent: Tangent, u: Inner, like: Tensor) -> Tensor:
        """Credit for u_t at h_{t−1}, at every step of a window."""
        return Layout(tangent.network).before(tangent, u, like, recurrent=False)

    def sweep(self, tangent: Tangent, delta: Tensor, decay: float) -> Tensor:
        """(1)."""
        u = [delta[-1]]
        steps = tangent.each()[:-1] if len(delta) > 1 else []
        for step, now in zip(reversed(steps), reversed(delta[:-1].unbind(0)), strict=True):
            u.append(now + decay * self.back(step, u[-1]))
        return torch.stack(u[::-1])

    def matrix(self, tangent: Tangent, like: Tensor) -> Tensor:
        """J of a one-step window, for credit like ``like`` (batch, size)."""
        batch, size = like.shape
        basis = torch.eye(size, dtype=like.dtype, device=like.device)
        return self.back(tangent, basis[:, None, :].expand(-1, batch, -1)).transpose(0, 1)


@dataclass(frozen=True)
class OfCircuit(Jacobian):
    """D + R, or D alone; with the weights of ``network``."""

    network: Network
    recurrent: bool = True

    @cached_property
    def layout(self) -> Layout:
        return Layout(self.network)

    def back(self, tangent: Tangent, v: Tensor) -> Tensor:
        return self.layout.back(tangent, v, self.recurrent)

    def before(self, tangent: Tangent, u: Inner, like: Tensor) -> Tensor:
        return self.layout.before(tangent, u, like, self.recurrent)

    def sweep(self, tangent: Tangent, delta: Tensor, decay: float) -> Tensor:
        if len(delta) == 1:
            return delta
        arriving = self.layout.credit(torch.cat([delta[1:], torch.zeros_like(delta[:1])]))
        through = tangent if tangent.network is self.network else tangent.through(self.network)
        swept = sweep(through, arriving, recurrent=self.recurrent, decay=decay, states=True)
        first = delta[0] + self.layout.flat(swept.start, delta[0])
        return torch.cat([first.unsqueeze(0), self.layout.over_time(swept.a_h[:-1])])


@dataclass(frozen=True)
class OfModel(Jacobian):
    """M, whatever the state."""

    M: Tensor

    def back(self, tangent: Tangent, v: Tensor) -> Tensor:
        return v @ self.M

    def matrix(self, tangent: Tangent, like: Tensor) -> Tensor:
        return self.M.expand(len(like), -1, -1)


def random_feedback(network: Network, generator: torch.Generator) -> Own:
    """B of every recurrent projection, by its name; there is no feedback where there is no synapse."""
    out = {}
    for w in network.recurrent:
        name, p = w.spec.name, w.spec
        W, n = network.weights[name], network.populations
        fan_in = p.sources(n[w.target].size, n[w.source.population].size)
        B = torch.randn(W.shape, generator=generator, dtype=torch.float64) * p.gain / fan_in**0.5
        out[name] = B.to(W) * network.masks.get(name, 1)
    return Own(fixed=out)


def jacobian(name: str, network: Network, own: Owns) -> Jacobian:
    """By name, as it is now."""
    if name == "learned":
        return OfModel(own["model"]["J"])
    if name == "random":
        return OfCircuit(stand_in(network, own["feedback"].fixed))
    return OfCircuit(network, recurrent=name == "exact")


def stand_in(network: Network, weights: Mapping[str, Tensor]) -> Network:
    """The same network with other weights; the network itself is left alone."""
    other = copy.copy(network)
    other.weights = {**network.weights, **weights}
    return other

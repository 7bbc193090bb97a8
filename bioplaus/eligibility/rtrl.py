"""Real-time recurrent learning: every path (Williams & Zipser 1989, doi:10.1162/neco.1989.1.2.270).

    P_t = J_t P_{t−1} + M_t,    dL/dW = Σ_t ψ_t q_t P_t

P is kept for z = (u, older outputs in flight), so delays cost rows, not approximations. J is the transpose of one step
applied to a basis: to_h at t, then to_u at t − 1. Behind a leaky readout the output rows of P are filtered like the output.

=======  ============  ====================================================
symbol   variable      shape
=======  ============  ====================================================
P        ``P``         (batch, size of z, number of weights)
J        ``J``         (batch, size of z, size of z)
ψP, ȳ'   ``filtered``  (batch, units read, number of weights)
=======  ============  ====================================================
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from bioplaus.circuit.linear import Credit, Linear, Window, at, silent, split, to_h, to_u
from bioplaus.circuit.network import Network, Wired
from bioplaus.circuit.transpose import Partials, Transpose
from bioplaus.declaration import Declaration
from bioplaus.errors import RuleError
from bioplaus.symbolic.torch_source import Entry


class Half(NamedTuple):
    """One step's partials, and its transpose with what that takes."""

    parts: tuple[Partials, ...]
    steps: tuple[Transpose, ...]
    P: tuple[tuple[Tensor, ...], ...]


@dataclass
class Influence:
    """P, and what the next step needs of this one."""

    P: Tensor
    last: Half | None = None
    filtered: Tensor | None = None
    total: Tensor | None = None
    keep_sum: bool = False


class Basis:
    """Positions of u and of older outputs in z, and of every weight in the columns of P."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.rows: list[tuple[str, int, int, slice]] = []
        at = 0
        for i, p in enumerate(network.populations):
            for kind, count in (("u", len(p.start)), ("y", p.ages - 1)):
                for j in range(count):
                    self.rows.append((kind, i, j, slice(at, at + p.size)))
                    at += p.size
        self.size = at
        self.columns: list[tuple[Wired, slice]] = []
        at = 0
        for w in network.learned:
            n = network.weights[w.spec.name].numel()
            self.columns.append((w, slice(at, at + n)))
            at += n
        self.width = at

    def jacobian(self, now: Half, before: Half, batch: int) -> Tensor:
        """J from z_{t−1} to z_t, (batch, z, z): the transpose of the step applied to every unit vector."""
        network = self.network
        eye = torch.eye(self.size, dtype=network.dtype, device=network.device)[:, None, :].expand(-1, batch, -1)
        a_u: list[list[Tensor | None]] = [[None] * len(p.start) for p in network.populations]
        ages: list[list[Tensor | None]] = [[None] * p.ages for p in network.populations]
        for kind, i, j, where in self.rows:
            if kind == "u":
                a_u[i][j] = eye[..., where]
            else:
                ages[i][j] = eye[..., where]  # y_{t−1−j} stands at age j of h_{t−1}
        empty = silent(network)._replace(filtered=())
        h = to_h(network, now.steps, now.P, [tuple(a) for a in a_u], empty._replace(y=tuple(map(tuple, ages))))[1]
        u, passed = to_u(network, before.steps, before.P, h)
        out = torch.zeros(self.size, batch, self.size, dtype=network.dtype, device=network.device)
        for kind, i, j, where in self.rows:
            part = u[i][j] if kind == "u" else passed.y[i][j]
            if part is not None:
                out[..., where] = part
        return out.transpose(0, 1)

    def add_immediate(self, P: Tensor, parts: tuple[Partials, ...], linear: Linear) -> None:
        """P += M, in place: the rows of u_i of the weights' own neurons."""
        for w, columns in self.columns:
            n = self.network.populations[w.target].size
            pre = linear.window.pre(w)[0]
            for kind, i, j, rows in self.rows:
                if kind != "u" or i != w.target:
                    continue
                block = P[:, rows, columns].unflatten(2, (len(w.channels), n, pre.shape[1]))
                own = block.diagonal(dim1=1, dim2=3)  # (batch, channel, pre, post)
                for row, k in enumerate(w.channels):
                    g: Entry = parts[w.target].G[j][k]
                    if g is not None:
                        per_neuron = g.expand(pre.shape[0], n)[:, None, :] if isinstance(g, Tensor) else g
                        own[:, row] += pre[:, :, None] * per_neuron

    def outputs(self, P: Tensor, parts: tuple[Partials, ...], population: int) -> Tensor:
        """ψP: dy/dW of a population, (batch, unit, weights)."""
        total: Tensor | None = None
        for kind, i, j, rows in self.rows:
            psi = parts[population].psi[j] if kind == "u" and i == population else None
            if psi is not None:
                part = P[:, rows] * (psi if isinstance(psi, float) else psi.unsqueeze(-1))
                total = part if total is None else total + part
        n = self.network.populations[population].size
        return total if total is not None else P.new_zeros(P.shape[0], n, P.shape[2])

    def spread(self, flat: Tensor) -> dict[str, Tensor]:
        """A vector over all weights, cut into weights."""
        return {w.spec.name: flat[c].view_as(self.network.weights[w.spec.name]) for w, c in self.columns}


@dataclass(frozen=True)
class RTRL:
    """P ← JP + M: every path. Needs direct credit only."""

    declaration: ClassVar[Declaration] = Declaration(
        half="past", credit="direct", bias="exact", exact_when="always", causal=True, local=False, memory="S·n²·m", time="S²·n³·m",
        keeps="every path", reference="doi:10.1162/neco.1989.1.2.270",
    )  # fmt: skip

    takes_stretches: ClassVar[bool] = False

    def refuse(self, network: Network) -> str | None:
        return None

    def init(self, network: Network, batch: int) -> Influence:
        basis = Basis(network)
        needed = batch * basis.size * basis.width * torch.finfo(network.dtype).bits // 8 * 2
        if network.device.type == "cpu" and needed > _memory():
            raise RuleError(
                f"rtrl would keep an influence of batch {batch} × {basis.size} states × {basis.width} weights, {needed / 2**30:.1f} GiB with its "
                f"update, and this machine has {_memory() / 2**30:.1f} GiB. Use a smaller circuit or batch, or an approximation such as eprop."
            )
        P = torch.zeros(batch, basis.size, basis.width, dtype=network.dtype, device=network.device)
        read = sum(network.populations[s].size for s in network.sources)
        return Influence(P, filtered=P.new_zeros(batch, read, basis.width) if network.kappa else None)

    def step(self, state: Influence, linear: Linear) -> Influence:
        network = linear.network
        basis = Basis(network)
        parts = tuple(split(p, 1)[0] for p in linear.partials)
        now, before = Half(parts, linear.transposes, linear.at_steps()[0]), state.last
        P = (
            torch.bmm(basis.jacobian(now, before, state.P.shape[0]), state.P)
            if before is not None
            else torch.zeros_like(state.P)
        )
        basis.add_immediate(P, parts, linear)
        filtered = state.filtered
        if filtered is not None:
            seen = torch.cat([basis.outputs(P, parts, s) for s in network.sources], 1)
            filtered = torch.lerp(seen, filtered, network.kappa)
        total = state.total
        if state.keep_sum:
            outputs = torch.cat([basis.outputs(P, parts, i) for i in range(len(network.populations))], 1).sum(0)
            total = outputs if total is None else total + outputs
        return Influence(P, now, filtered, total, state.keep_sum)

    def gradient(self, network: Network, state: Influence, linear: Linear, credit: Credit) -> dict[str, Tensor]:
        basis = Basis(network)
        assert state.last is not None
        flat = state.P.new_zeros(basis.width)
        for i, ages in enumerate(credit.y):
            c = ages[0]
            if c is None:
                continue
            for kind, p, j, rows in basis.rows:
                psi = state.last.parts[i].psi[j] if kind == "u" and p == i else None
                if psi is not None:
                    flat = flat + torch.einsum("bn,bnw->w", c[0] * psi, state.P[:, rows])
        if state.filtered is not None and any(f is not None for f in credit.filtered):
            c = torch.cat([f[0] for f in credit.filtered if f is not None], -1)
            flat = flat + torch.einsum("bn,bnw->w", c, state.filtered)
        return basis.spread(flat)

    def summed(self, network: Network, state: Influence, credit: Credit) -> dict[str, Tensor]:
        assert state.total is not None
        parts = [
            c if c is not None else state.P.new_zeros(p.size)
            for (c, *_), p in zip(credit.y, network.populations, strict=True)
        ]
        return Basis(network).spread(torch.cat(parts) @ state.total)

    def window(
        self, network: Network, state: Influence, stretches: Sequence[tuple[Linear, Credit]], last: bool
    ) -> tuple[dict[str, Tensor], Influence]:
        """The influence is its own carrier across steps: a window is walked step by step."""
        ((linear, credit),) = stretches
        return self.forward(network, state, linear, credit)

    def forward(
        self, network: Network, state: Influence, linear: Linear, credit: Credit
    ) -> tuple[dict[str, Tensor], Influence]:
        total: dict[str, Tensor] = {}
        for t, step in enumerate(linear.window.steps):
            one = Linear(network, Window(network, [step], linear.window.x[t : t + 1]))
            state = self.step(state, one)
            for name, g in self.gradient(network, state, one, at(credit, slice(t, t + 1))).items():
                total[name] = total[name] + g if name in total else g
        return total, state


def _memory() -> float:
    import os

    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") * 0.9

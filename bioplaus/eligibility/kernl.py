"""Kernel RNN learning: a learned sensitivity kernel (Roth, Kanitscheider & Fiete 2019, ICLR).

    dz_t/dW[(j, k, m)] ≈ Σ_i Λ[z, (u_i, j)] B_t[i, j, k, m],    B_t = (1 − α) B_{t−1} + M_t                    (eq. 5, 7)

What a kick to u_i of neuron j does to z some steps later is taken to be Λ times an exponential with rate α, and both are
learned from a twin of the circuit that is kicked at random, at every u on which weights act: its deviation v_t, to first order
in the kicks ξ ~ N(0, 1), is

    v_t = J_t v_{t−1} + ξ_t,    w_t = (1 − α) w_{t−1} + ξ_t,    ω_t = (1 − α) ω_{t−1} − w_{t−1}  (= ∂w_t/∂α)
    error_t = v_t − Λ w_t,      −∂(½‖error‖²)/∂Λ = error ⊗ w,   −∂(…)/∂α = (Λᵀ error) ω                        (eq. 10, 11)

A leaky readout's ȳ have rows of Λ of their own, which multiply what the readout would make of the same exponentials:
B̄ ← κ B̄ + (1 − κ) ψ B with each neuron's own ψ, and w̄, ω̄ likewise; so Λ = 1 is RFLO there too.

Differs from the paper: the twin moves to first order (the limit of small kicks, free of rounding) and is restarted every
``restart`` steps (chaotic circuits would carry it away).

=======  ============  =================================================
symbol   variable      shape
=======  ============  =================================================
Λ        ``kernel``    (z and ȳ, u of all populations)
α        ``decay``     (u of all populations,)
B, B̄     ``B, B_bar``  per population (batch, states, neuron, channel, m)
v, w, ω  same          (batch, z and ȳ), (batch, u), (batch, u)
=======  ============  =================================================
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

import torch

from bioplaus import checks
from bioplaus.circuit.network import Network
from bioplaus.declaration import Declaration
from bioplaus.eligibility.influence import Moment, Space
from bioplaus.eligibility.recursion import Moving, Recursion
from bioplaus.errors import RuleError
from bioplaus.own import Gradients, Own, Owns, under

if TYPE_CHECKING:
    from torch import Tensor


@dataclass
class Sensitivity(Moving):
    """Traces, twin, and what it taught so far."""

    kernel: Tensor = None  # type: ignore[assignment]
    decay: Tensor = None  # type: ignore[assignment]
    B: list[Tensor] = field(default_factory=list)
    B_bar: list[Tensor] = field(default_factory=list)
    v: Tensor = None  # type: ignore[assignment]
    w: Tensor = None  # type: ignore[assignment]
    omega: Tensor = None  # type: ignore[assignment]
    v_bar: Tensor | None = None
    w_bar: Tensor | None = None
    omega_bar: Tensor | None = None
    age: int = 0
    taught: dict[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class KeRNL(Recursion):
    """P ≈ Λ B, Λ and the traces' decay learned from a kicked twin. Needs direct credit.

    Parameters
    ----------
    restart : steps after which the twin starts anew.
    """

    restart: int = 50  # chosen: longer than what small circuits remember, shorter than chaos takes to grow

    declaration: ClassVar[Declaration] = Declaration(
        half="past", credit="direct", bias="biased", exact_when="no neuron is driven by another or by itself (W_rec = 0) and a kick decays at the rate α", causal=True,
        local=True, memory="S²·n² + S·K·n·m", time="S²·n² + S·K·n·m", keeps="a learned kernel and leaky traces",
        reference="https://openreview.net/forum?id=ryGfnoC5KQ", tensor="Λ[zj]·B[jm]", random=True, closed=False,
    )  # fmt: skip

    constraints = checks.Table(RuleError, "of the rule kernl", restart=checks.Whole())

    def __post_init__(self) -> None:
        checks.settle(self)

    def begin(self, network: Network, generator: torch.Generator) -> Owns:
        """Λ = 1 at each neuron's own u, and ȳ; α the leak where it is one number, else ½."""
        space = Space(network)
        places = positions(space)
        kernel = space.zeros(space.size * (2 if network.kappa else 1), len(places))
        for first in range(0, len(kernel), space.size):
            kernel[first + places, torch.arange(len(places))] = 1.0
        decay = []
        for p in network.populations:
            derived = p.kernel.derived
            for i in range(len(p.start)):
                decay.append(space.zeros(p.size) + leak(network, p.name, i, derived))
        return {"kernel": Own({"weights": kernel, "decay": torch.cat(decay)})}

    def numbers(self, space: Space) -> int:
        states = [len(p.start) for p in space.network.populations]
        traces = sum(S * n * k * m for S, (n, k, m) in zip(states, space.columns, strict=True))
        return (2 if space.network.kappa else 1) * (traces + space.size**2)

    def start(self, space: Space, batch: int, generator: torch.Generator, own: Owns) -> Sensitivity:
        learned = (own if "kernel" in own else self.begin(space.network, generator))["kernel"]
        count = learned["weights"].shape[1]
        states = [len(p.start) for p in space.network.populations]
        B = [space.zeros(batch, S, *shape) for S, shape in zip(states, space.columns, strict=True)]
        state = Sensitivity(
            space,
            generator,
            kernel=learned["weights"],
            decay=learned["decay"],
            B=B,
            v=space.zeros(batch, space.size),
            w=space.zeros(batch, count),
            omega=space.zeros(batch, count),
            taught={name: torch.zeros_like(learned[name]) for name in learned},
        )
        if space.network.kappa:
            state.B_bar = [torch.zeros_like(b) for b in B]
            state.v_bar, state.w_bar = torch.zeros_like(state.v), torch.zeros_like(state.w)
            state.omega_bar = torch.zeros_like(state.w)
        return state

    def advance(self, state: Sensitivity, now: Moment) -> None:
        at = 0
        for p, (B, (n, _, _)) in enumerate(zip(state.B, state.space.columns, strict=True)):
            S = B.shape[1]
            B.mul_((1 - state.decay[at : at + S * n]).view(S, n, 1, 1))
            for row, k, g in state.space.immediate(now, p):
                g = g.unsqueeze(-1) if isinstance(g, torch.Tensor) else g
                B[:, row.index, :, k].add_(now.a[p].unsqueeze(1) * g)  # type: ignore[operator]
            at += S * n
        psi = state.space.psi(now.parts, state.v)[:, positions(state.space)] if state.B_bar else None
        if psi is not None:
            at = 0
            for B, B_bar in zip(state.B, state.B_bar, strict=True):
                S, n = B.shape[1:3]
                own = psi[:, at : at + S * n].view(-1, S, n, 1, 1)
                B_bar.copy_(filtered(state, B_bar, B * own))
                at += S * n
        self.kick(state, now, psi)

    def kick(self, state: Sensitivity, now: Moment, psi: Tensor | None) -> None:
        """One step of the twin, and what it teaches."""
        space = state.space
        if state.age == self.restart:
            state.age = 0
            for x in (state.v, state.w, state.omega, state.v_bar, state.w_bar, state.omega_bar):
                if x is not None:
                    x.zero_()
        if state.before is not None and state.age:
            state.v = space.push(state.before, now, state.v)
        state.age += 1
        xi = self.kicks(state, now)
        state.v = state.v.index_add(1, positions(space).to(xi.device), xi)
        keep = 1 - state.decay
        state.omega = state.omega * keep - state.w
        state.w = state.w * keep + xi
        self.teach(state, slice(0, space.size), state.v, state.w, state.omega)
        if psi is not None:
            state.v_bar = filtered(state, state.v_bar, state.v * space.psi(now.parts, state.v))
            state.w_bar = filtered(state, state.w_bar, state.w * psi)
            state.omega_bar = filtered(state, state.omega_bar, state.omega * psi)
            self.teach(state, slice(space.size, None), state.v_bar, state.w_bar, state.omega_bar)

    @staticmethod
    def teach(state: Sensitivity, rows: slice, v: Tensor, w: Tensor, omega: Tensor) -> None:
        """The gradient of ½‖v − Λ w‖² at some rows of Λ, and by way of w at α."""
        error = v - w @ state.kernel[rows].T
        state.taught["weights"][rows].addmm_(error.T, w, alpha=-1)
        state.taught["decay"].sub_(((error @ state.kernel[rows]) * omega).sum(0))

    @staticmethod
    def kicks(state: Sensitivity, now: Moment) -> Tensor:
        """ξ at every u on which weights act at once: what others do to z, in units of their own, is never asked for."""
        xi, at = state.normal(*state.w.shape), 0
        for p, population in enumerate(state.space.network.populations):
            for G in now.parts[p].G:
                if all(g is None for g in G):
                    xi[:, at : at + population.size] = 0.0
                at += population.size
        return xi

    def meet(self, state: Sensitivity, c: Tensor, f: Tensor | None, total: list[Tensor]) -> None:
        size = state.space.size
        meetings = [(c @ state.kernel[:size], state.B)] + (
            [(f @ state.kernel[size:], state.B_bar)] if f is not None else []
        )
        for reached, traces in meetings:  # credit for every kick
            at = 0
            for t, B in zip(total, traces, strict=True):
                S, n = B.shape[1:3]
                mine = reached[:, at : at + S * n].view(-1, S, n)
                t.add_(torch.einsum("bsn,bsnkm->nkm", mine, B))
                at += S * n

    def learned(self, state: Sensitivity) -> Gradients:
        found = under("kernel", {n: g.clone() for n, g in state.taught.items()})
        for g in state.taught.values():
            g.zero_()
        return found

    def after_update(self, own: Owns, network: Network) -> None:
        """A trace neither grows nor turns its sign."""
        own["kernel"]["decay"].clamp_(0.0, 1.0)


def filtered(state: Sensitivity, bar: Tensor | None, fresh: Tensor) -> Tensor:
    """κ bar + (1 − κ) fresh: as a leaky readout sees it."""
    assert bar is not None
    return torch.lerp(fresh, bar, state.space.network.kappa)


def positions(space: Space) -> Tensor:
    """Where the u of all populations stand in z."""
    return torch.cat([torch.arange(r.where.start, r.where.stop) for r in space.rows if r.kind == "u"])


def leak(network: Network, population: str, state: int, derived: object) -> Tensor | float:
    """1 − ∂u_i/∂s_i of a population, where it is the same at every state; ½ elsewhere."""
    from bioplaus.circuit.tangent import Tangent
    from bioplaus.circuit.trajectory import roll

    x = torch.zeros(1, 1, network.lines, dtype=network.dtype, device=network.device)
    names = [p.name for p in network.populations]
    part = Tangent(network, roll(network, network.start(1), x)[0]).partials[names.index(population)]
    e = part.F[state][state]
    if e is None:
        return 1.0
    return 1.0 - e if isinstance(e, float) or e.dim() == 1 else 0.5

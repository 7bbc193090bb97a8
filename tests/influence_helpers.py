"""Influences a second time, by autograd and by naive loops, and the detectors that compare them with the engine's.

Rows of z here: population by population, its u one state after another, then its outputs in flight, newest first.
"""

from __future__ import annotations

import inspect
import math
import textwrap
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from rule_helpers import TIGHT, Case, Gradients, Off, case, dale, living, off, same, side_by_side, two_populations
from torch import Tensor

import bioplaus as bp
from bioplaus import ms
from bioplaus.check import by_hand
from bioplaus.circuit import Circuit, Network
from bioplaus.circuit.network import PopulationState, State, Step
from bioplaus.circuit.tangent import Tangent
from bioplaus.eligibility import MDGL, History, Hops, KeRNL, SnAp
from bioplaus.eligibility.influence import Moment, Space
from bioplaus.eligibility.recursion import Moving
from bioplaus.learning.sequence import sequence
from bioplaus.rules import Rule
from bioplaus.schedule import Online, Window
from bioplaus.signal import Instant
from bioplaus.streams import stream
from bioplaus.tasks import Batch, squared

Weights = dict[str, Tensor]


def rule_of(past: Any, schedule: Any = None) -> Rule:
    """A past half met by symmetric direct credit."""
    return Rule(past, Instant(), schedule or Online())


def masked(network: Network, gradients: Gradients) -> dict[str, Tensor]:
    return {n: g * network.masks.get(n, 1) for n, g in gradients.items()}


# -- circuits in which everything lives -----------------------------------------------------------------------------------

MODELS = ("leaky_rate", "elman", "lstm", "gru", "lif", "alif", "adex", "lsnn_lif", "lsnn_alif")


def shared_projections() -> Case:
    """Two kinds of cells side by side, each onto each."""
    circuit = bp.circuit(
        "recurrent",
        cell=[bp.model("leaky_rate"), bp.model("elman")],
        units=[3, 2],
        inputs=4,
        outputs=2,
        tau_out=10 * ms,
        bias=True,
    )
    return living(circuit, {}, 12, 2)


def per_neuron() -> Case:
    tau_a, tau_m = (np.array(taus) * ms for taus in ([5.0, 10.0, 20.0, 40.0], [30.0, 5.0, 20.0, 10.0]))
    cell = bp.model("alif", beta=0.3, tau_a=tau_a, tau_m=tau_m, differentiate=("reset", "jumps"))
    return case(cell, tau=10 * ms, units=4, size=2, steps=16)


MAKE: dict[str, Callable[[], Case]] = {
    **{m: lambda m=m: case(m, units=4, size=2, steps=16) for m in MODELS},
    **{f"{m}, leaky": lambda m=m: case(m, units=4, size=2, steps=16, tau=10 * ms) for m in MODELS},
    **{f"{m}, leaky, delay 3": lambda m=m: case(m, units=4, size=2, steps=16, delay=3, tau=10 * ms) for m in MODELS},
    "alif and lstm": lambda: two_populations(tau=None, steps=14),
    "alif and lstm, leaky": lambda: two_populations(steps=14),
    "adex and gru, leaky": lambda: two_populations("adex", "gru", steps=14),
    "Dale": lambda: dale(tau=None, delay=1, steps=16),
    "Dale, leaky": lambda: dale(delay=1, steps=16),
    "Dale, delay 2": lambda: dale(tau=None, steps=16),
    "Dale, rates and spikes, leaky, delay 2": lambda: dale(cell="leaky_rate", inhibitory="lif", steps=16),
    "shared projections, leaky": shared_projections,
    "per neuron, reset differentiated, leaky": per_neuron,
    "refractory, leaky": lambda: case(bp.model("lsnn_alif", beta=0.3, tau_a=50 * ms, refractory=3), tau=10 * ms, units=4, size=2, steps=16),
    "sparse": lambda: case("leaky_rate", units=8, size=2, steps=12, fan_in=2),
    "sparse lstm, leaky": lambda: case("lstm", units=6, size=2, steps=10, fan_in=2, tau=10 * ms),
    "sparse, no autapses, delay 2": lambda: case("gru", units=6, size=2, steps=12, fan_in=2, delay=2, autapses=False),
}  # fmt: skip


@cache
def made(name: str) -> Case:
    return MAKE[name]()


@cache
def followed(name: str) -> Path:
    return follow(made(name))


def undelayed(name: str) -> bool:
    return all(w.source.slots[0] == 0 for w in made(name).network.recurrent)


# -- derivatives of one step in z, by autograd through the forward simulation --------------------------------------------


@dataclass(frozen=True)
class Path:
    """Along a case's trajectory: J_t = ∂z_t/∂z_{t−1}, M_t = ∂z_t/∂W at z_{t−1} held, ψ_t, and the error fed back to u."""

    J: Tensor  # (time, batch, size, size), zero at the first step
    M: dict[str, Tensor]  # (time, batch, size, *shape of the weight)
    psi: Tensor  # (time, batch, size)
    fed: Tensor  # (time, batch, size): δ_t C at every u of what is read


@contextmanager
def free(network: Network) -> Iterator[Weights]:
    """The network with weights that autograd follows."""
    held = network.weights
    network.weights = {n: w.clone().requires_grad_() for n, w in held.items()}
    try:
        yield network.weights
    finally:
        network.weights = held


def leaf(a: Tensor, b: int) -> Tensor:
    return a[b : b + 1].detach().clone().requires_grad_()


def one_sample(state: State, b: int) -> State:
    populations = tuple(
        PopulationState(
            tuple(leaf(s, b) for s in p.s),
            tuple(leaf(y, b) for y in p.y),
            None if p.wait is None else p.wait[b : b + 1],
        )
        for p in state.populations
    )
    return State(populations, tuple(leaf(f, b) for f in state.filtered))


def follow(c: Case) -> Path:
    """Derived by running every pair of consecutive steps once more, for each sample, under autograd."""
    network, batch = c.network, c.batch
    T, B = batch.steps, batch.size
    Js, Ms, psis = [], [], []
    with free(network) as weights:
        for t in range(T):
            for b in range(B):
                nodes: list[Tensor] = []
                if t:
                    drive = tuple(d.detach().requires_grad_() for d in network.drive(batch.inputs[t - 1, b : b + 1]))
                    network.weights = {
                        n: w.detach() for n, w in weights.items()
                    }  # their deeds then are not of this step
                    last = network.advance(one_sample(c.window.steps[t - 1].before, b), drive, differentiable=True)
                    network.weights = weights
                    populations = []
                    for us, after in zip(last.u, last.after.populations, strict=True):
                        flight = [leaf(y, 0) for y in after.y[1:]]
                        nodes += [*us, *flight]
                        populations.append(PopulationState(after.s, (after.y[0], *flight), after.wait))
                    before = State(tuple(populations), one_sample(last.after, 0).filtered)
                else:
                    before = one_sample(network.start(B), b)
                step = network.advance(before, network.drive(batch.inputs[t, b : b + 1]), differentiable=True)
                parts = [torch.cat([*us, *p.y[:-1]], -1) for us, p in zip(step.u, before.populations, strict=True)]
                z = torch.cat(parts, -1).squeeze(0)
                names = [n for n in weights if n not in ("W_out", "b_out")]
                found = torch.autograd.grad(
                    z,
                    [*nodes, *(weights[n] for n in names)],
                    torch.eye(len(z), dtype=z.dtype),
                    is_grads_batched=True,
                    retain_graph=True,
                    materialize_grads=True,
                )
                Js.append(torch.cat(found[: len(nodes)], -1).squeeze(1) if t else z.new_zeros(len(z), len(z)))
                Ms.append(dict(zip(names, found[len(nodes) :], strict=True)))
                psis.append(torch.cat(list(_psi(step, before))))
    size = len(psis[0])
    fed = torch.zeros(T, B, size, dtype=network.dtype)
    credit = (c.observed.error @ network.weights["W_out"]).split(
        [network.populations[s].size for s in network.sources], -1
    )
    at = 0
    for i, p in enumerate(network.populations):
        for j in range(len(p.start) + p.ages - 1):
            if i in network.sources and j < len(p.start):
                fed[..., at : at + p.size] = credit[network.sources.index(i)]
            at += p.size
    psi = torch.stack(psis).view(T, B, size)
    return Path(
        torch.stack(Js).view(T, B, size, size),
        {n: torch.stack([M[n] for M in Ms]).view(T, B, size, *Ms[0][n].shape[1:]) for n in Ms[0]},
        psi,
        fed * (psi != 0).any(0).any(0),  # nothing is read of states that no output depends on
    )


def _psi(step: Step, before: State) -> Iterator[Tensor]:
    for us, after, p in zip(step.u, step.after.populations, before.populations, strict=True):
        found = torch.autograd.grad(after.y[0].sum(), us, retain_graph=True, materialize_grads=True)
        yield torch.cat([*found, *(torch.zeros_like(y) for y in p.y[:-1])], -1).squeeze(0)


def row_owner(network: Network) -> list[tuple[int, int]]:
    """(population, neuron) of every row of z."""
    return [
        (i, j)
        for i, p in enumerate(network.populations)
        for _ in range(len(p.start) + p.ages - 1)
        for j in range(p.size)
    ]


def u_rows(network: Network) -> Tensor:
    """Which rows are states, not outputs in flight."""
    flags = []
    for p in network.populations:
        flags += [
            torch.ones(len(p.start) * p.size, dtype=torch.bool),
            torch.zeros((p.ages - 1) * p.size, dtype=torch.bool),
        ]
    return torch.cat(flags)


def met(c: Case, path: Path, influences: Sequence[dict[str, Tensor]], already_seen: bool = False) -> dict[str, Tensor]:
    """Σ_t credit × influence, the influence seen through ψ and a leaky readout (unless it is what the readout sees already)."""
    kappa, total, seen = c.network.kappa, {}, {}
    for t, P in enumerate(influences):
        for n, p in P.items():
            wide = (..., *(None,) * (p.dim() - 2))
            out = p if already_seen else p * path.psi[t][wide]
            if not already_seen:
                seen[n] = out = kappa * seen[n] + (1 - kappa) * out if n in seen else (1 - kappa) * out
            total[n] = total.get(n, 0) + (path.fed[t][wide] * out).sum((0, 1)) / c.batch.size
    return masked(c.network, total)


def carried(path: Path, masks: dict[str, Tensor] | None = None) -> list[dict[str, Tensor]]:
    """P_t = mask ∘ (J_t P_{t−1} + M_t), densely."""
    out: list[dict[str, Tensor]] = []
    for t in range(len(path.J)):
        P = {}
        for n, M in path.M.items():
            new = M[t] if t == 0 else torch.einsum("bij,bj...->bi...", path.J[t], out[-1][n]) + M[t]
            P[n] = new if masks is None else new * masks[n]
        out.append(P)
    return out


# -- a circuit by hand whose messages can be tampered with ---------------------------------------------------------------


@dataclass
class Run:
    """What `loop` gives: per step, ȳ of what is read side by side, and what the listeners heard."""

    seen: list[Tensor]
    heard: list[Tensor]


def loop(
    circuit: Circuit,
    weights: Weights,
    x: Tensor,
    send: Callable[[Tensor], Tensor] = lambda y: y,
    cut: int | None = None,
    listening: Weights | None = None,
) -> Run:
    """A circuit in nested loops.

    Parameters
    ----------
    send : what becomes of an output on its way to other neurons (and through a self-connection).
    cut : the step before which everything is detached.
    listening : weights through which a copy of every neuron hears the (filtered) outputs of the step before; all else
        about the copy, its states and its own last output included, is detached.
    """
    T, B = x.shape[:2]
    neurons = {n: by_hand.Neurons(p.cell, circuit.dt, (B, p.size)) for n, p in circuit.populations.items()}
    sent: dict[str, list[Tensor]] = {n: [] for n in neurons}
    smooth = {n: torch.zeros(B, p.size, dtype=x.dtype) for n, p in circuit.populations.items()}
    out = Run([], [])
    for t in range(T):
        if t == cut:
            sent = {n: [y.detach() for y in ys] for n, ys in sent.items()}
            smooth = {n: y.detach() for n, y in smooth.items()}
            for n in neurons.values():
                n.y, n.state = n.y.detach(), {k: v.detach() for k, v in n.state.items()}
        now, copies = {}, {}
        for name, n in neurons.items():
            I = {k: torch.zeros(n.shape, dtype=x.dtype) for k in n.cell.inputs}
            told = dict(I)
            for p in (p for p in circuit.projections if p.target == name):
                assert p.delay is not None and p.channels is not None
                if p.source != "input" and t < p.delay:
                    continue
                pre = x[t] if p.source == "input" else send(sent[p.source][t - p.delay])
                for k, W in zip(p.channels, weights[p.name].chunk(len(p.channels)), strict=True):
                    I[k] = I[k] + pre @ W.T
                if listening is not None and p.source != "input":
                    message = smooth[p.source] - smooth[p.source].detach()
                    for k, W in zip(p.channels, listening[p.name].chunk(len(p.channels)), strict=True):
                        told[k] = told[k] + message @ W.T
            bias = weights.get("b" if len(neurons) == 1 else f"b_{name}")
            if bias is not None:
                I = {k: a + b for (k, a), b in zip(I.items(), bias.chunk(len(I)), strict=True)}
            if listening is not None:
                deaf = copy(n)
                deaf.state, deaf.y = {k: v.detach() for k, v in n.state.items()}, n.y.detach()
                copies[name] = by_hand.CELLS[n.cell.name](deaf, *(I[k].detach() + told[k] for k in I))
            now[name] = by_hand.CELLS[n.cell.name](n, *I.values())
        for name, n in neurons.items():
            n.y, n.t = now[name], n.t + 1
            sent[name].append(now[name])
            smooth[name] = circuit.kappa * smooth[name] + (1 - circuit.kappa) * now[name]
        assert circuit.readout.sources is not None
        out.seen.append(torch.cat([smooth[s] for s in circuit.readout.sources], -1))
        if copies:
            out.heard.append(torch.cat([copies[s] for s in circuit.readout.sources], -1))
    return out


def fed_back(
    c: Case, make: Callable[[Weights], Tensor | Sequence[Tensor]], extra: Tensor | None = None
) -> dict[str, Tensor]:
    """Gradient of Σ_t (δ_t C + extra) y_t for what ``make`` gives as y, (time, batch, unit); δ, C and extra held. The readout's own is the true one."""
    weights = {n: w.detach().clone().requires_grad_() for n, w in c.network.weights.items()}
    y = make(weights)
    y = y if isinstance(y, Tensor) else torch.stack(list(y))
    names = list(c.of_circuit(weights))
    credit = c.observed.error @ c.network.weights["W_out"]
    value = (y * (credit if extra is None else credit + extra)).sum() / c.batch.size
    found = torch.autograd.grad(value, [weights[n] for n in names], materialize_grads=True)
    return masked(c.network, dict(zip(names, found, strict=True))) | {
        n: c.true[n] for n in c.true if n in ("W_out", "b_out")
    }


class Tagged(torch.autograd.Function):
    """Identity whose derivative is x: a gradient through it is a polynomial in x, and its degree counts the passages."""

    @staticmethod
    def forward(ctx: Any, y: Tensor, x: float) -> Tensor:  # type: ignore[override]
        ctx.x = x
        return y.clone()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return grads[0] * ctx.x, None


def by_crossings(c: Case) -> list[dict[str, Tensor]]:
    """The gradient along paths that cross exactly 0, 1, … T − 1 times: coefficients of the polynomial."""
    T = c.batch.steps
    x = torch.cos(torch.pi * (torch.arange(T, dtype=torch.float64) + 0.5) / T)
    found = [
        fed_back(
            c, lambda w, x=float(x_i): loop(c.network.circuit, w, c.batch.inputs, lambda y: Tagged.apply(y, x)).seen
        )  # type: ignore[arg-type,return-value]
        for x_i in x
    ]
    powers = x[:, None] ** torch.arange(T)
    out: list[dict[str, Tensor]] = [{} for _ in range(T)]
    for n in found[0]:
        values = torch.stack([g[n].flatten() for g in found])
        for k, row in enumerate(torch.linalg.solve(powers, values)):
            out[k][n] = row.view_as(found[0][n])
    for n in ("W_out", "b_out"):  # no path through the circuit leads there
        if n in c.true:
            for k in range(T):
                out[k][n] = c.true[n] if k == 0 else torch.zeros_like(c.true[n])
    return out


# -- detectors ------------------------------------------------------------------------------------------------------------


def moments(c: Case) -> tuple[Space, list[Moment]]:
    space = Space(c.network)
    return space, space.moments(Tangent(c.network, c.window))


def close(a: Tensor, b: Tensor, what: str, tolerance: float = 1e-10) -> None:
    assert a.shape == b.shape, (what, a.shape, b.shape)
    error = float((a - b).abs().max() / b.abs().max().clamp_min(1e-300))
    if not error <= tolerance:
        raise Off(f"{what}: relative error {error:.1e}", error)


def elementwise(a: Tensor, b: Tensor, what: str, tolerance: float = 1e-10) -> None:
    """Every entry to its own precision: states in volts and amperes stand side by side."""
    assert a.shape == b.shape, (what, a.shape, b.shape)
    small = 1e-13 * b.abs().amax(-1, keepdim=True)
    error = float(((a - b).abs() / (b.abs() + small).clamp_min(1e-300)).max())
    if not error <= tolerance:
        raise Off(f"{what}: relative error {error:.1e}", error)


def space_is_autograd(c: Case, path: Path) -> None:
    """J, ψ and M of every step, as matrices and as products, in fresh and in used memory."""
    space, steps = moments(c)
    T, B, n = len(steps), c.batch.size, space.size
    owner = row_owner(c.network)
    assert n == len(owner) and [r.where.start for r in space.rows] == [
        i for i in range(n) if i == 0 or owner[i][1] == 0
    ], "rows in another order than here"
    used = space.zeros(B, n, n)
    eye = torch.eye(n, dtype=c.network.dtype)
    for t in range(T):
        now = steps[t]
        elementwise(space.psi(now.parts, space.zeros(B, n)), path.psi[t], f"ψ at step {t}")
        P = space.zeros(B, n, space.width)
        space.add_immediate(P, now)
        for b in range(B):
            rows = [space.spread([P[b, i, s] for s in space.spans]) for i in range(n)]
            for name, M in path.M.items():
                if name in rows[0]:
                    whole = torch.stack([r[name] for r in rows])
                    elementwise(whole.flatten(1), M[t, b].flatten(1), f"M of {name} at step {t}")
        if not t:
            continue
        J = space.jacobian(steps[t - 1], now, space.zeros(B, n, n))
        elementwise(J, path.J[t], f"J at step {t}")
        close(space.jacobian(steps[t - 1], now, used), J, "J in used memory", 0.0)
        pushed = space.push(steps[t - 1], now, eye[:, None, :].expand(-1, B, -1))  # column by column
        elementwise(pushed.permute(1, 2, 0), J, "J by products")
        inside = space.zeros(B, n, n)
        for to, source, e in space.within(steps[t - 1], now):
            inside[:, to.where, source.where].diagonal(dim1=1, dim2=2).add_(e)  # type: ignore[arg-type]
        across = space.zeros(B, n, n)
        space.across(steps[t - 1], now, across)
        elementwise(inside + across, J, "D + R")
        same_neuron = torch.tensor([[i == j for j in owner] for i in owner])
        if bool(inside[:, ~same_neuron].any()):
            raise Off("D leaves the neuron")


def hops_are_counted(c: Case, orders: Sequence[int] | None = None) -> None:
    """hops(k) is the sum of the first k + 1 coefficients, step by step."""
    exact = by_crossings(c)
    total = {n: torch.zeros_like(g) for n, g in exact[0].items()}
    for k, more in enumerate(exact):
        total = {n: total[n] + more[n] for n in total}
        if orders is None or k in orders:
            found = c.gradients(rule_of(Hops(k)))
            for (
                n,
                g,
            ) in total.items():  # a coefficient may be zero, but for the rounding of the fit: the truth is the measure
                error = float((found.get(n, 0 * g) - g).abs().max() / c.true[n].abs().max())
                if not error <= TIGHT:
                    raise Off(f"{n} along paths of at most {k} crossings: relative error {error:.1e}", error)
    same(total, c.true)


def reached(network: Network, synapses: int) -> Tensor:
    """Which neurons (population by population) hear of which over at most so many synapses: walks, one synapse at a time."""
    index = [(i, j) for i, p in enumerate(network.populations) for j in range(p.size)]
    to: dict[tuple[int, int], set[tuple[int, int]]] = {k: set() for k in index}
    for w in network.recurrent:
        W = network.weights[w.spec.name]
        mask = network.masks.get(w.spec.name, torch.ones_like(W))
        n = network.populations[w.target].size
        for row, column in mask.nonzero().tolist():
            to[w.source.population, column].add((w.target, row % n))
    out = torch.zeros(len(index), len(index), dtype=torch.bool)
    for start in index:
        found = {start}
        for _ in range(synapses):
            found |= {b for a in found for b in to[a]}
        for k in found:
            out[index.index(start), index.index(k)] = True
    return out


def snap_masks(network: Network, order: int) -> dict[str, Tensor]:
    """For each weight, (rows of z, *its shape): 1 where the row's neuron is reached from the weight's neuron within order − 1 synapses."""
    reach = reached(network, order - 1)
    index = [(i, j) for i, p in enumerate(network.populations) for j in range(p.size)]
    owner = [index.index(o) for o in row_owner(network)]
    out = {}
    for w in network.learned:
        W = network.weights[w.spec.name]
        n = network.populations[w.target].size
        neurons = [index.index((w.target, r % n)) for r in range(len(W))]
        mask = torch.stack([reach[:, o][neurons] for o in owner]).to(W.dtype)
        out[w.spec.name] = mask.view(*mask.shape, *(1,) * (W.dim() - 1)).expand(len(owner), *W.shape)
    return out


def snap_is_masked(c: Case, path: Path, order: int) -> dict[str, Tensor]:
    expected = met(c, path, carried(path, snap_masks(c.network, order)))
    got = c.gradients(rule_of(SnAp(order)))
    same(c.of_circuit(got), expected)
    return expected


def mean_weights(network: Network) -> Weights:
    """Every weight the mean of its channel's block."""
    out = {}
    for w in network.recurrent:
        W = network.weights[w.spec.name]
        blocks = W.chunk(len(w.channels))
        out[w.spec.name] = torch.cat([torch.full_like(b, float(b.mean())) for b in blocks])
    return out


def one_crossing(c: Case, types: bool = False, extra: Tensor | None = None) -> dict[str, Tensor]:
    """MDGL's definition: e-prop, and what every output does at the next step through neighbours that keep nothing."""
    listening = mean_weights(c.network) if types else {n: w.detach() for n, w in c.network.weights.items()}

    def both(weights: Weights) -> Tensor:
        run = loop(c.network.circuit, weights, c.batch.inputs, Tensor.detach, listening=listening)
        return torch.stack(run.seen) + torch.stack(run.heard)

    return fed_back(c, both, extra)


def mdgl_is_one_crossing(c: Case, types: bool = False) -> None:
    expected = one_crossing(c, types)
    assert off(expected, c.by_hand(stop="between")) > 1e-5, "neighbours must tell something"
    for schedule in (Online(), Window(), Window(7)):
        same(c.gradients(rule_of(MDGL(types), schedule)), expected)


def cut_before_each_loss(c: Case, k: int) -> dict[str, Tensor]:
    """A graph for every loss, cut k steps back."""
    total: dict[str, Tensor] = {}
    for t in range(c.batch.steps):

        def alone(weights: Weights, t: int = t) -> Tensor:
            seen = loop(c.network.circuit, weights, c.batch.inputs[: t + 1], cut=max(t - k + 1, 0)).seen
            return torch.stack([y if s == t else torch.zeros_like(y) for s, y in enumerate(seen)])

        part = Case(c.network, c.batch)
        part.__dict__["true"] = {}
        part.__dict__["observed"] = replace(c.observed, error=c.observed.error[: t + 1])
        for n, g in fed_back(part, alone).items():
            total[n] = total[n] + g if n in total else g
    return total | {n: c.true[n] for n in ("W_out", "b_out") if n in c.true}


def history_is_cut(c: Case, k: int) -> None:
    expected = cut_before_each_loss(c, k)
    for schedule in (Online(), Window(), Window(3), Window(7)):
        same(c.gradients(rule_of(History(k), schedule)), expected)


# -- the kicked twin ------------------------------------------------------------------------------------------------------


@contextmanager
def kicks() -> Iterator[list[Tensor]]:
    """What twins draw while this is open."""
    drawn: list[Tensor] = []
    real = Moving.normal

    def normal(self: Moving, *shape: int) -> Tensor:
        drawn.append(real(self, *shape))
        return drawn[-1].clone()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Moving, "normal", normal)
        yield drawn


def some_kernel(c: Case, past: KeRNL, seed: int = 3) -> Weights:
    """A kernel with no zeros in it, and decays between 0 and 1."""
    theta = side_by_side(past.begin(c.network, stream(0, "kernel")))
    generator = stream(seed, "kernel")
    noise = torch.randn(theta["kernel"].shape, generator=generator, dtype=torch.float64)
    decay = 0.2 + 0.6 * torch.rand(theta["decay"].shape, generator=generator, dtype=torch.float64)
    return {"kernel": theta["kernel"] + 0.3 * noise, "decay": decay}


def touched(c: Case, path: Path) -> Tensor:
    """Which u some weight ever acts on at once."""
    return torch.stack([M.flatten(3).abs().amax((0, 1, 3)) for M in path.M.values()]).amax(0)[u_rows(c.network)] > 0


def twin(c: Case, path: Path, drawn: Sequence[Tensor], restart: int) -> tuple[list[Tensor], list[Tensor]]:
    """v_t (with ȳ's behind a leaky readout) and the kicks as they acted, step by step."""
    rows, acts = u_rows(c.network), touched(c, path)
    v = behind = torch.zeros_like(path.psi[0])
    out, kicked = [], []
    for t, xi in enumerate(drawn):
        if t % restart == 0:
            v, behind = torch.zeros_like(v), torch.zeros_like(v)
        v = torch.einsum("bij,bj->bi", path.J[t], v)
        v[:, rows] += xi * acts
        behind = c.network.kappa * behind + (1 - c.network.kappa) * path.psi[t] * v
        out.append(torch.cat([v, behind], -1) if c.network.kappa else v)
        kicked.append(xi * acts)
    return out, kicked


def kernl_learns_from_its_twin(c: Case, path: Path, restart: int = 5) -> None:
    """Gradients of kernel and decays: autograd of Σ ½‖v − Λ w(α)‖² over the twin as recorded."""
    past = KeRNL(restart)
    theta = some_kernel(c, past)
    with kicks() as drawn:
        own = side_by_side(c.outcome(rule_of(past), theta).own)
    free = {n: v.clone().requires_grad_() for n, v in theta.items()}
    loss, w = torch.zeros((), dtype=torch.float64), torch.zeros_like(drawn[0])
    seen, kappa, size, rows = w, c.network.kappa, path.psi.shape[-1], u_rows(c.network)
    vs, kicked = twin(c, path, drawn, restart)
    for t, (v, xi) in enumerate(zip(vs, kicked, strict=True)):
        if t % restart == 0:
            w, seen = torch.zeros_like(w), torch.zeros_like(w)
        w = xi + (1 - free["decay"]) * w
        seen = kappa * seen + (1 - kappa) * path.psi[t][:, rows] * w
        told = w @ free["kernel"][:size].T
        if kappa:
            told = torch.cat([told, seen @ free["kernel"][size:].T], -1)
        loss = loss + 0.5 * (v - told).square().sum() / c.batch.size
    found = dict(zip(free, torch.autograd.grad(loss, list(free.values())), strict=True))
    same(own, found)


def kernl_is_its_kernel(c: Case, path: Path) -> None:
    """The circuit's gradient: Λ times leaky traces, written densely."""
    past = KeRNL()
    theta = some_kernel(c, past)
    rows, size = u_rows(c.network), path.psi.shape[-1]
    kernel = theta["kernel"][size:] if c.network.kappa else theta["kernel"]
    B: dict[str, Tensor] = {}
    seen: dict[str, Tensor] = {}
    influences, kappa = [], c.network.kappa
    for t in range(len(path.J)):
        for n, M in path.M.items():
            keep = (1 - theta["decay"]).view(-1, *(1,) * (M.dim() - 3))
            B[n] = keep * B[n] + M[t][:, rows] if n in B else M[t][:, rows]
            psi = path.psi[t][:, rows].view(*path.psi[t][:, rows].shape, *(1,) * (M.dim() - 3))
            seen[n] = kappa * seen.get(n, torch.zeros_like(B[n])) + (1 - kappa) * psi * B[n]
        influences.append({n: torch.einsum("zu,bu...->bz...", kernel, b) for n, b in (seen if kappa else B).items()})
    expected = met(c, path, influences, already_seen=bool(c.network.kappa))
    for schedule in (Online(), Window(), Window(7)):
        same(c.of_circuit(c.gradients(rule_of(past, schedule), theta)), expected)


# -- random influences -----------------------------------------------------------------------------------------------------


def copies(c: Case, count: int) -> Case:
    """The first sample, so many times side by side: each draws for itself."""
    b = c.batch
    wide = (x[:, :1].repeat(1, count, *(1,) * (x.dim() - 2)) for x in (b.inputs, b.targets, b.weight))
    return Case(c.network, Batch(*wide), c.regulariser)


def over_all_signs(c: Case, past: Any, schedule: Any = None) -> dict[str, Tensor]:
    """The gradient averaged over every possible outcome of a random influence's signs: one outcome a sample."""
    bits = 0

    def count(self: Moving, batch: int, *rest: int) -> Tensor:
        nonlocal bits
        bits += math.prod(rest)
        return torch.ones(batch, *rest, dtype=torch.float64)

    def spell(self: Moving, batch: int, *rest: int) -> Tensor:
        nonlocal at
        first, at = at, at + math.prod(rest)
        drawn = torch.arange(batch)[:, None] >> torch.arange(first, at) & 1
        return (2 * drawn - 1).double().view(batch, *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Moving, "signs", count)
        copies(c, 1).gradients(rule_of(past, schedule))
        assert 3 < bits < 18, f"{bits} signs"
        at = 0
        patch.setattr(Moving, "signs", spell)
        return copies(c, 2**bits).gradients(rule_of(past, schedule))


def is_unbiased(c: Case, past: Any) -> None:
    """The mean over all signs is the true gradient, to rounding; a single outcome is far from it."""
    true = c.of_circuit(copies(c, 1).true)
    same(c.of_circuit(over_all_signs(c, past)), true)
    one = c.of_circuit(copies(c, 1).gradients(rule_of(past)))
    assert off(one, true) > 1e-2, "nothing is random"


def draws_are_unbiased(c: Case, past: Any, count: int = 500, runs: int = 100, seed: int = 0) -> None:
    """The mean of count · runs draws lies within 4 standard errors of the true gradient: every entry, and every weight along its truth.

    Runs are the independent observations; each is a mean of ``count`` draws, and so all but Gaussian.
    """
    many, true, generator = copies(c, count), copies(c, 1).true, stream(seed, "test of the mean")
    draws = [
        sequence(c.network, rule_of(past), {}, many.batch, squared, generator=generator).gradients for _ in range(runs)
    ]
    worst, told = 0.0, 0.0
    for n, value in c.of_circuit(true).items():
        each = torch.stack([g[n] for g in draws]).flatten(1)
        along = each @ value.flatten() / value.square().sum()  # 1 on average
        told = max(told, float(along.std() / runs**0.5))
        for x, mean in ((each, value.flatten()), (along[:, None], torch.ones(1, dtype=value.dtype))):
            error = torch.maximum(x.std(0) / runs**0.5, 1e-11 * mean.abs().max())
            worst = max(worst, float(((x.mean(0) - mean).abs() / error).max()))
    if worst > 4.0:
        raise Off(f"the mean is off by {worst:.1f} standard errors", worst)
    assert told > 1e-6, "nothing was drawn"
    assert told < 0.0075, f"too few draws: a bias of {4 * told:.1%} would not be seen"


def rewritten(patch: pytest.MonkeyPatch, owner: type, name: str, *changes: tuple[str, str]) -> None:
    """Put a mistake into a function's text."""
    function = owner.__dict__[name]
    source = textwrap.dedent(inspect.getsource(function))
    for old, new in changes:
        assert source.count(old) == 1, (
            f"{old!r} stands {source.count(old)} times in {owner.__name__}.{name}: say anew where the mistake goes"
        )
        source = source.replace(old, new)
    scope = dict(function.__globals__)
    exec(compile(source, f"<{owner.__name__}.{name} with a mistake>", "exec"), scope)
    patch.setattr(owner, name, scope[name])

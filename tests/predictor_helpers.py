"""What predictors and synthetic gradients must give, by autograd and by the equations of the paper, step by step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from rule_helpers import Case, normal, off, same, side_by_side, signal_of
from torch import Tensor

from bioplaus.check import regimes
from bioplaus.circuit import Network
from bioplaus.circuit.carried import Layout
from bioplaus.circuit.network import PopulationState, State
from bioplaus.rules import Rule
from bioplaus.schedule import Online, Window
from bioplaus.tasks import squared

# -- derivatives of one step, by autograd through the forward simulation ---------------------------------------------------


def unpacked(network: Network, h: Tensor, like: State) -> State:
    """A state from a carried vector (batch, H); what is not carried (refractory counters, dead states) is ``like``'s."""
    layout = Layout(network)
    s = [list(p.s) for p in like.populations]
    y = [list(p.y) for p in like.populations]
    f = list(like.filtered)
    each = zip(layout.blocks, layout.scales, h.split([b[3] for b in layout.blocks], -1), strict=True)
    for (kind, i, j, _), own, part in each:
        part = part if own is None else part * own[1] + own[0]
        if kind == "f":
            f[j] = part
        else:
            (s if kind == "s" else y)[i][j] = part
    populations = tuple(
        PopulationState(tuple(a), tuple(b), p.wait) for a, b, p in zip(s, y, like.populations, strict=True)
    )
    return State(populations, tuple(f))


def stepped(c: Case, t: int, h: Tensor) -> Tensor:
    """h_t from h_{t−1}, differentiable."""
    network = c.network
    state = unpacked(network, h, c.window.steps[t].before)
    drive = tuple(d[t] for d in network.drive(c.batch.inputs))
    return Layout(network).vector(network.advance(state, drive, differentiable=True).after)


def loss_at(c: Case, t: int, h: Tensor) -> Tensor:
    """Σ over the batch of this step's loss, as a function of h_t."""
    state = unpacked(c.network, h, c.window.steps[t].after)
    o = c.network.output(torch.cat(c.network.read(state), -1))
    return (squared.value(o, c.batch.targets[t]) * c.batch.weight[t]).sum()


@dataclass(frozen=True)
class Trajectory:
    """h_0 … h_T, and by autograd J_1 … J_T (batch, H, H) and q_1 … q_T (batch, H); index t − 1 for J and q."""

    h: list[Tensor]
    J: list[Tensor]
    q: list[Tensor]


def trajectory(c: Case) -> Trajectory:
    h = list(Layout(c.network).vectors(c.window))
    J, q = [], []
    for t in range(c.batch.steps):
        old = h[t].detach()
        whole = torch.autograd.functional.jacobian(
            lambda v, t=t: stepped(c, t, v).sum(0), old
        )  # (H, batch, H): samples don't mix
        J.append(whole.permute(1, 0, 2))
        new = h[t + 1].detach().requires_grad_()
        q.append(torch.autograd.grad(loss_at(c, t, new), new)[0])
    return Trajectory(h, J, q)


# -- predictors and their traces ---------------------------------------------------------------------------------------------


def drawn(c: Case, rule: Rule, seed: int = 0, context: int = 0) -> dict[str, Tensor]:
    """A signal's own tensors as references name them, all of them random: zeros hide mistakes."""
    theta = side_by_side(rule.signal.begin(c.network, torch.Generator().manual_seed(seed), context))
    return {
        n: v + 0.3 * normal(*v.shape, seed=seed + i) if v.is_floating_point() else v
        for i, (n, v) in enumerate(theta.items())
    }


def knowing(c: Case) -> regimes.Knowing:
    """The predictor that knows the futures of a case's batch."""
    bench: Any = c
    return regimes.knowing(bench)


def predicted(theta: dict[str, Tensor], h: Tensor) -> Tensor:
    """g(h; θ), written out: rectified layers, then an affine one."""
    layer = 0
    for prefix in ("", "fixed_"):
        while f"{prefix}A{layer}" in theta:
            h = torch.relu(h @ theta[f"{prefix}A{layer}"].T + theta[f"{prefix}b{layer}"])
            layer += 1
    return h @ theta["A"].T + theta["b"]


def learned(theta: dict[str, Tensor]) -> dict[str, Tensor]:
    return {n: v for n, v in theta.items() if not n.startswith("fixed_")}


def jacobian(theta: dict[str, Tensor], h: Tensor) -> dict[str, Tensor]:
    """∂g/∂θ, (batch, outputs, shape of θ)."""
    return {
        n: torch.autograd.functional.jacobian(lambda v, n=n: predicted(theta | {n: v}, h), theta[n])
        for n in learned(theta)
    }  # type: ignore[return-value]


def forward_traces(tr: Trajectory, theta: dict[str, Tensor], lmbda: float, gamma: float) -> dict[str, Tensor]:
    """Σ_t δ_t e_t with the traces of the paper, step by step; negative, as optimisers descend, mean over the batch."""
    T, B = len(tr.J), len(tr.h[0])
    g = [predicted(theta, h) for h in tr.h]
    g[T] = torch.zeros_like(g[T])
    total = {n: torch.zeros_like(v) for n, v in learned(theta).items()}
    e: dict[str, Tensor] = {}
    for t in range(1, T + 1):
        now = jacobian(theta, tr.h[t - 1])
        e = (
            now
            if t == 1
            else {n: gamma * lmbda * torch.einsum("boh,bh...->bo...", tr.J[t - 2], e[n]) + now[n] for n in now}
        )
        delta = torch.einsum("bo,boh->bh", tr.q[t - 1] + gamma * g[t], tr.J[t - 1]) - g[t - 1]
        for n in total:
            total[n] -= torch.einsum("bo,bo...->...", delta, e[n]) / B
    return total


def lambda_targets(tr: Trajectory, theta: dict[str, Tensor], lmbda: float, gamma: float) -> list[Tensor]:
    """Γ_t = (q_{t+1} + γ[(1 − λ) g(h_{t+1}) + λ Γ_{t+1}]) J_{t+1} for t = 0 … T − 1, with Γ_T = g(h_T) = 0."""
    T = len(tr.J)
    target, out = torch.zeros_like(tr.h[T]), []
    for t in reversed(range(T)):
        g = predicted(theta, tr.h[t + 1]) if t + 1 < T else torch.zeros_like(tr.h[T])
        target = torch.einsum("bo,boh->bh", tr.q[t] + gamma * ((1 - lmbda) * g + lmbda * target), tr.J[t])
        out.append(target)
    return out[::-1]


# -- credit with synthetic gradients --------------------------------------------------------------------------------------------


def with_synthetic_gradients(
    c: Case,
    ends: list[tuple[int, int]],
    g: dict[int, Tensor],
    more: Callable[[int, Tensor], Tensor] | None = None,
) -> dict[str, Tensor]:
    """By autograd: Σ over windows (a, b] of their loss + g(h_b)·h_b, with nothing else crossing the borders.

    ``more`` is a loss of its own at every step, of t and h_t, summed over the batch.
    """
    network = c.network
    kept = network.weights
    leaves = {n: w.clone().requires_grad_() for n, w in kept.items()}
    network.weights = leaves
    try:
        layout, total = Layout(network), torch.zeros((), dtype=torch.float64)
        recorded = layout.vectors(c.window).detach()
        drives = network.drive(c.batch.inputs)
        for a, b in ends:
            state = unpacked(network, recorded[a], c.window.steps[a].before)
            for t in range(a, b):
                state = network.advance(state, tuple(d[t] for d in drives), differentiable=True).after
                o = network.output(torch.cat(network.read(state), -1))
                total = total + (squared.value(o, c.batch.targets[t]) * c.batch.weight[t]).sum()
                if more is not None:
                    total = total + more(t + 1, layout.vector(state))
            if b in g:
                total = total + (g[b] * layout.vector(state)).sum()
        found = torch.autograd.grad(total / c.batch.size, list(leaves.values()))
    finally:
        network.weights = kept
    return {n: v * network.masks.get(n, 1) for n, v in zip(leaves, found, strict=True)}


def windows(T: int, K: int) -> list[tuple[int, int]]:
    return [(max(0, b - K), b) for b in sorted(range(T, 0, -K))]


# -- detectors: see rule_helpers ----------------------------------------------------------------------------------------------


def bp_lambda_is_its_traces(c: Case, rule: Rule, tr: Trajectory | None = None) -> None:
    """Under every schedule the predictor's gradient is Σ δ e with the forward traces of the paper."""
    theta = drawn(c, rule)
    expected = forward_traces(tr or trajectory(c), theta, signal_of(rule).lmbda, signal_of(rule).discount)
    assert all(bool(v.any()) for v in expected.values())
    for schedule in (Window(), Online(), Window(4), Window(1)):
        same(side_by_side(c.outcome(replace(rule, schedule=schedule), theta).own), expected)


def cortex_sees_this_step_and_the_prediction(c: Case, rule: Rule) -> None:
    theta, T = drawn(c, rule), c.batch.steps
    h = Layout(c.network).vectors(c.window)
    expected = with_synthetic_gradients(
        c, windows(T, 1), {t: signal_of(rule).injection * predicted(theta, h[t]) for t in range(1, T)}
    )
    assert off(expected, c.true) > 1e-3
    for schedule in (Online(), Window(), Window(4)):
        same(c.gradients(replace(rule, schedule=schedule), theta), expected)


def dni_is_autograd_of_its_windows(c: Case, rule: Rule, tr: Trajectory | None = None) -> None:
    """Cortex: the windows' losses and s·g at their ends; predictor: ½‖g(h_a) − what comes back from γ·g(h_b)‖²."""
    tr, theta, T = tr or trajectory(c), drawn(c, rule), c.batch.steps
    assert rule.schedule.steps is not None
    s, gamma, cuts = signal_of(rule).injection, signal_of(rule).discount, windows(T, rule.schedule.steps)
    outcome = c.outcome(rule, theta)
    same(outcome.gradients, with_synthetic_gradients(c, cuts, {b: s * predicted(theta, tr.h[b]) for _, b in cuts[:-1]}))
    free = {n: v.clone().requires_grad_() for n, v in theta.items()}
    loss = torch.zeros(())
    for a, b in cuts:
        target = torch.zeros_like(tr.h[b]) if b == T else gamma * predicted(theta, tr.h[b])
        for t in reversed(range(a, b)):
            target = torch.einsum("bo,boh->bh", tr.q[t] + target, tr.J[t])
        loss = loss + 0.5 * (predicted(free, tr.h[a]) - target).square().sum() / c.batch.size
    same(side_by_side(outcome.own), dict(zip(free, torch.autograd.grad(loss, list(free.values())), strict=True)))

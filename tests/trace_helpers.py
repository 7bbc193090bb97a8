"""The traces of BP(λ) and what stands for J in them, written from the equations, with every derivative by autograd."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from typing import Any

import torch
from predictor_helpers import Trajectory, drawn, jacobian, learned, predicted, trajectory, unpacked
from rule_helpers import Case, case, normal, owned, same, side_by_side, signal_of, two_populations
from torch import Tensor

import bioplaus as bp
from bioplaus import ms
from bioplaus.cerebellum.predictors import Predictor, Seen
from bioplaus.circuit.carried import Layout
from bioplaus.learning.sequence import sequence
from bioplaus.own import Own
from bioplaus.rules import Rule, bp_lambda
from bioplaus.schedule import Online, Window
from bioplaus.tasks import Batch, squared

CIRCUITS: dict[str, tuple[str, Any, int]] = {
    "elman": ("elman", None, 1), "leaky_rate": ("leaky_rate", 5 * ms, 1), "gru": ("gru", None, 1), "lstm": ("lstm", None, 1),
    "lif": ("lif", 10 * ms, 2), "alif": ("alif", 10 * ms, 1), "adex": ("adex", None, 2),
}  # fmt: skip
PREDICTORS = {
    "linear": bp.predictor("linear"),
    "mlp": bp.predictor("mlp", hidden=(5,)),
    "deep": bp.predictor("mlp", hidden=(4, 3)),
    "features": bp.predictor("mlp", hidden=(6,), train="output"),
}
SCHEDULES = (Online(), Window(), Window(3), Window(1))
LAMBDA, GAMMA = 0.7, 0.9
UNITS = 4
#: every way to keep a trace, and every Jacobian
VARIANTS: dict[str, dict[str, Any]] = {
    "exact": {}, "replay": {"trace": "replay"}, "replay 3": {"trace": "replay", "horizon": 3}, "local": {"trace": "local"},
    "kronecker": {"trace": "kronecker"}, "projected": {"trace": "projected", "outputs": 3}, "learned": {"trace": "learned"},
    "random": {"jacobian": "random"}, "within": {"jacobian": "within"}, "learned J": {"jacobian": "learned"},
}  # fmt: skip


@cache
def circuit(name: str) -> Case:
    if name == "two":
        return two_populations("alif", "lstm", steps=8)
    model, tau, delay = CIRCUITS[name]
    return case(model, tau=tau, delay=delay, units=UNITS, steps=9, size=2, gain=1.5)


@cache
def path(name: str) -> Trajectory:
    return trajectory(circuit(name))


def rule(name: str, predictor: str = "linear", **more: Any) -> Rule:
    return bp_lambda(LAMBDA, PREDICTORS[predictor], discount=GAMMA, **VARIANTS[name], **more)


# -- references ----------------------------------------------------------------------------------------------------------


def crossing(c: Case, through: Callable[[str, Tensor], Tensor]) -> list[Tensor]:
    """J_1 … J_T by autograd, where credit crosses between neurons through other weights than those that drive them."""
    network, layout = c.network, Layout(c.network)
    kept = network.weights
    out = []
    for step in c.window.steps:
        old = layout.vector(step.before)

        def stepped(h: Tensor, step: Any = step) -> Tensor:
            state = unpacked(network, h, step.before)
            currents = list(step.I)
            for w in network.recurrent:
                y = state.populations[w.source.population].y[w.source.slots[0]]
                part = (y - y.detach()) @ through(w.spec.name, kept[w.spec.name]).T
                currents[w.target] = network._add(currents[w.target], part, w, network.populations[w.target])
            return layout.vector(network.advance(state, tuple(currents), differentiable=True).after).sum(0)

        network.weights = kept | {w.spec.name: torch.zeros_like(kept[w.spec.name]) for w in network.recurrent}
        try:
            out.append(torch.autograd.functional.jacobian(stepped, old).permute(1, 0, 2))  # type: ignore[union-attr]
        finally:
            network.weights = kept
    return out


def nothing(name: str, W: Tensor) -> Tensor:
    return torch.zeros_like(W)


def traced(
    tr: Trajectory,
    theta: dict[str, Tensor],
    error: list[Tensor] | None = None,
    trace: list[Tensor] | None = None,
    horizon: int | None = None,
) -> dict[str, Tensor]:
    """Σ_t δ_t e_t, step by step, with Jacobians of its own for the TD error and the trace; negative, mean over the batch."""
    error, trace, T = error or tr.J, trace or tr.J, len(tr.J)
    g = [predicted(theta, h) for h in tr.h]
    g[T] = torch.zeros_like(g[T])
    total = {n: torch.zeros_like(v) for n, v in learned(theta).items()}
    terms: list[dict[str, Tensor]] = []  # what each h_s has become by now
    for t in range(1, T + 1):
        if t > 1:
            terms = [
                {n: GAMMA * LAMBDA * torch.einsum("boh,bh...->bo...", trace[t - 2], e) for n, e in term.items()}
                for term in terms
            ]
        terms = [*terms, jacobian(theta, tr.h[t - 1])][-(horizon or T) :]
        delta = torch.einsum("bo,boh->bh", tr.q[t - 1] + GAMMA * g[t], error[t - 1]) - g[t - 1]
        for n in total:
            total[n] -= torch.einsum("bo,bo...->...", delta, sum(term[n] for term in terms)) / len(delta)
    return total


def everywhere_the_same(c: Case, chosen: Rule, theta: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    """Under every schedule, and with the credit that the circuit gets from exact traces."""
    plain = c.gradients(replace(chosen, signal=replace(signal_of(chosen), **PLAIN)), theta)
    for schedule in SCHEDULES:
        outcome = c.outcome(replace(chosen, schedule=schedule), theta)
        same({n: side_by_side(outcome.own)[n] for n in expected}, expected)
        same(outcome.gradients, plain)


PLAIN: dict[str, Any] = {"trace": "exact", "outputs": None, "horizon": None, "jacobian": "exact"}


@cache
def inside(name: str) -> list[Tensor]:
    """D_1 … D_T."""
    return crossing(circuit(name), nothing)


# -- while everything moves ------------------------------------------------------------------------------------------------


@contextmanager
def borrowed(c: Case) -> Iterator[dict[str, Tensor]]:
    """The circuit's weights, free to be moved and put back afterwards."""
    kept = {n: w.clone() for n, w in c.network.weights.items()}
    try:
        yield c.network.weights
    finally:
        for n, w in kept.items():
            c.network.weights[n].copy_(w)


def moving(c: Case, theta: dict[str, Tensor]) -> tuple[dict[str, Tensor], list[dict[str, Tensor]]]:
    """Traces of the paper while θ follows its gradient and the circuit's weights drift, both at every step."""
    network, layout, batch = c.network, Layout(c.network), c.batch
    theta, e, found = {n: v.clone() for n, v in theta.items()}, {}, []
    state, J_last = network.start(batch.size), torch.zeros(())
    for t in range(batch.steps):
        last = t == batch.steps - 1
        drive = tuple(d[t] for d in network.drive(batch.inputs))
        h = layout.vector(state)

        def stepped(h: Tensor, state: Any = state, drive: Any = drive) -> Tensor:
            return layout.vector(network.advance(unpacked(network, h, state), drive, differentiable=True).after)

        J: Any = torch.autograd.functional.jacobian(lambda v, stepped=stepped: stepped(v).sum(0), h).permute(1, 0, 2)  # type: ignore[union-attr]
        step = network.advance(state, drive)
        new = layout.vector(step.after).requires_grad_()
        (q,) = torch.autograd.grad(_loss_at(c, t, new, step.after), new)
        g = torch.zeros_like(new) if last else predicted(theta, new.detach())
        now = jacobian(theta, h)
        decayed = {n: GAMMA * LAMBDA * torch.einsum("boh,bh...->bo...", J_last, v) for n, v in e.items()}
        e = {n: now[n] + decayed[n] for n in now} if t else now
        delta = torch.einsum("bo,boh->bh", q + GAMMA * g, J) - predicted(theta, h)
        own = {n: -torch.einsum("bo,bo...->...", delta, v) / batch.size for n, v in e.items()}
        found.append(own)
        follow(theta, own)
        drift(c, t)
        state, J_last = step.after, J
    return theta, found


def _loss_at(c: Case, t: int, h: Tensor, like: Any) -> Tensor:
    o = c.network.output(torch.cat(c.network.read(unpacked(c.network, h, like)), -1))
    return (squared.value(o, c.batch.targets[t]) * c.batch.weight[t]).sum()


def follow(theta: dict[str, Tensor], own: dict[str, Tensor]) -> None:
    """A step of one size, however large the gradient: states in volts and amperes make it large."""
    for n, v in own.items():
        theta[n] -= 0.02 * v / v.abs().max().clamp_min(1e-300)


def drift(c: Case, t: int) -> None:
    for i, (n, w) in enumerate(c.network.weights.items()):
        w += 0.05 * normal(*w.shape, seed=100 * t + i) * c.network.masks.get(n, 1)


# -- chance, and the released code ------------------------------------------------------------------------------------------


def standard_errors(name: str, predictor: str, repeats: int = 24, copies: int = 32) -> float:
    """How far the mean of many draws lies from the exact update, along the truth and three random directions."""
    c, chosen = circuit(name), rule("kronecker", predictor)
    theta, b = drawn(c, chosen), c.batch
    many = Batch(*(x[:, :1].repeat(1, copies, *(1,) * (x.dim() - 2)) for x in (b.inputs, b.targets, b.weight)))
    flat = lambda own: torch.cat([own[n].flatten() for n in ("A", "b")])  # noqa: E731
    exact = flat(side_by_side(sequence(c.network, rule("exact", predictor), owned(theta), many, squared).own))
    along = torch.cat([exact[None], normal(3, len(exact), seed=3)])
    generator = torch.Generator().manual_seed(1)
    draws = [
        flat(side_by_side(sequence(c.network, chosen, owned(theta), many, squared, generator=generator).own))
        for _ in range(repeats)
    ]
    found = torch.stack([along @ (draw - exact) for draw in draws])
    assert bool((found.std(0) > 0).all())
    return float((found.mean(0).abs() / (found.std(0) / repeats**0.5)).max())


def gates(c: Case) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
    """Of an LSTM along its trajectory: ψ = ∂y/∂c, and the released Jacobian and immediate gradient, from its equations."""
    W, n = c.network.weights["W_rec"], c.network.populations[0].size
    tr, psi, J, q = path("lstm"), [], [], []
    for t, step in enumerate(c.window.steps):
        i, f, g, o = step.I[0].chunk(4, -1)
        i, f, g, o = torch.sigmoid(i), torch.sigmoid(f), torch.tanh(g), torch.sigmoid(o)
        c_old, c_new = tr.h[t][:, :n], tr.h[t + 1][:, :n]
        psi.append(o * (1 - torch.tanh(c_new) ** 2))
        by_y = (
            (g * i * (1 - i))[..., None] * W[:n]
            + (c_old * f * (1 - f))[..., None] * W[n : 2 * n]
            + (i * (1 - g**2))[..., None] * W[2 * n : 3 * n]
        )
        row = torch.cat([torch.diag_embed(f), by_y], -1)  # ∂c_t by (c, y)
        J.append(torch.cat([row, psi[-1][..., None] * row], 1))
        mine = tr.q[t].clone()
        mine[:, :n] = mine[:, n:] * psi[-1]
        q.append(mine)
    return psi, J, q


class Clock(Predictor):
    """A predictor that is silent and hands back what it is asked to learn, step by step."""

    def init(self, seen: Seen, generator: torch.Generator) -> Own:
        return Own()

    def predict(self, theta: Own, h: Tensor) -> Tensor:
        return torch.zeros_like(h)

    def gradient(self, theta: Own, h: Tensor, u: Tensor) -> dict[str, Tensor]:
        return {"u": u}

    def jacobian(self, theta: Own, h: Tensor) -> dict[str, Tensor]:
        return {}

    def describe(self) -> dict[str, Any]:
        return {"predictor": "clock"}

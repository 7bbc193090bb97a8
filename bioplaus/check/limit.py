"""BP(λ) with the local trace at smaller and smaller steps, against a solution of its differential equations (`bioplaus.brian.predictor`) by DOP853.

The predictor of a small rate circuit learns for 100 ms at every step; the circuit stays as it is. The solver knows nothing of steps, rules or Brian2.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch

import bioplaus as bp
from bioplaus.learning.outside import beside_predictor
from bioplaus.tasks import Batch

N, TAU, TAU_GAMMA, TAU_LAMBDA, ETA, LASTS = 4, 10.0, 80.0, 20.0, 2e-3, 100.0  # of part 1: neurons, ms, 1/ms, ms


def waves(t: Any) -> tuple[np.ndarray, np.ndarray]:
    """Inputs and targets, functions of time in ms."""
    first, second = (np.sin(t / 12), np.cos(t / 7 + 0.3)), (np.sin(t / 15 + 1), np.cos(t / 9))
    return np.stack(first, -1), np.stack(second, -1)


def errors(steps: Sequence[float], make: Callable[[float], Any]) -> list[dict[str, float]]:
    """A row for each step: how far the predictor's weights are from the solution before the last step, which is an event; ``make`` a circuit of `N` leaky rate neurons of `TAU` at a step."""
    from scipy.integrate import solve_ivp

    rng = np.random.default_rng(0)
    W, U, C = rng.normal(size=(N, N)) * 0.6, rng.normal(size=(N, 2)), rng.normal(size=(2, N)) * 0.5
    A, faster = np.c_[rng.normal(size=(N, 2 * N)) * 0.1, rng.normal(size=N) * 0.05], 1 / TAU + 1 / TAU_GAMMA

    def slopes(t: float, s: np.ndarray) -> np.ndarray:
        x, e, A = s[:N], s[N : 3 * N + 1], s[3 * N + 1 :].reshape(N, -1)
        (u, wanted), y = waves(np.asarray(t)), np.tanh(x)
        dx = (-x + W @ y + U @ u) / TAU
        h, dh, q = np.r_[x, y, 1], np.r_[dx, (1 - y**2) * dx, 0], (1 - y**2) * (C.T @ (C @ y - wanted))
        delta = q + A @ dh - faster * (A @ h)
        return np.r_[dx, -e * (faster + 1 / TAU_LAMBDA) + h, (ETA * np.outer(delta, e)).ravel()]

    start = np.r_[np.zeros(3 * N + 1), A.ravel()]
    true = solve_ivp(slopes, (0, LASTS), start, "DOP853", rtol=1e-11, atol=1e-13).y[3 * N + 1 :, -1].reshape(N, -1)
    times = {"tau_lambda": TAU_LAMBDA * bp.ms, "tau_gamma": TAU_GAMMA * bp.ms}
    factors = {"lmbda": np.exp(-1 / TAU_LAMBDA), "discount": np.exp(-1 / TAU_GAMMA)}
    cases: dict[str, tuple[Any, Mapping[str, Any]]] = {
        "equations": ("equations", times),
        "rule's steps": ("map", times),
        "λ, γ per step": ("map", factors),
    }
    return [
        {"step (ms)": dt} | {n: error(make, dt, (W, U, C, A), true, *case) for n, case in cases.items()} for dt in steps
    ]


def error(
    make: Callable[[float], Any],
    dt: float,
    weights: Sequence[np.ndarray],
    true: np.ndarray,
    form: Literal["map", "equations"],
    options: Mapping[str, Any],
) -> float:
    """The same at one step."""
    W, U, C, A = weights
    network = make(dt).build(dtype=torch.float64)
    network.load({"W_in": U, "W_rec": W, "W_out": C})
    rule = bp.rule("bp_lambda", trace="local", jacobian="within", schedule="online", eligibility="eprop", **options)
    steps = round(LASTS / dt) + 1
    u, wanted = (torch.tensor(waves((np.arange(steps) + late) * dt)[late])[:, None] for late in (0, 1))
    batch = Batch(u, wanted, torch.ones(steps, 1, dtype=torch.float64))
    own = rule.begin(network, batch, 0)
    own["predictor"]["A"][:N], own["predictor"]["b"][:N] = torch.tensor(A[:, :-1]), torch.tensor(A[:, -1])
    rates = {"lr": 0, "predictor_lr": ETA / bp.ms, "loss_per": "ms"}
    training = bp.Training(**rates, optimiser="sgd", apply="window", dtype="float64")
    found = beside_predictor(network, rule, batch, training, own, form=form, steps=steps - 1)
    return float(abs(np.c_[found.A[:N], found.b[:N]] - true).max())

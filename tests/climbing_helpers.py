"""A circuit in which complex spikes teach, and an independent numpy loop of what they teach."""

from __future__ import annotations

import numpy as np
import torch

import bioplaus as bp
from bioplaus import ms

TAU, RATE, DT = 20.0, 3.0, 1e-3  # ms, Hz, s


def circuit(sparse: bool = False, delay: int = 3) -> bp.Circuit:
    """Fibres that spike as they are told, two olive cells, five Purkinje cells of which each hears one."""
    relay = bp.model("delta_lif", refractory=1 * ms)
    which = np.arange(5), np.arange(5) % 2
    return bp.Circuit(
        populations={
            "granule": bp.Population(relay, 12),
            "olive": bp.Population(relay, 2),
            "purkinje": bp.Population(bp.model("coba"), 5),
        },
        projections=(
            bp.Projection(name="to_granule", source="input", target="granule", channels=("v",), learned=False),
            bp.Projection(name="to_olive", source="input", target="olive", channels=("v",), learned=False),
            bp.Projection(
                name="W_pf", source="granule", target="purkinje", sign=1, init="gamma", gain=3.0, delay=delay,
                probability=0.6, sparse=sparse,
            ),
            bp.Projection(
                name="W_cf", source="olive", target="purkinje", sign=1, init="constant", gain=0.1, delay=2,
                synapses=which, learned=False,
            ),
        ),
        inputs=14,
        readout=bp.Readout(size=1),
        dt=1 * ms,
    )  # fmt: skip


def built(c: bp.Circuit, seed: int = 0) -> bp.Network:
    network = c.build(seed=seed, dtype="float64")
    lines = np.eye(14) * 100  # far above threshold: a spike in, a spike out
    network.load({"to_granule": lines[:12], "to_olive": lines[12:]})
    return network


def inputs(T: int, batch: int = 1, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    often = np.r_[np.full(12, 0.05), np.full(2, 0.02)]
    return (rng.random((T, batch, 14)) < often).astype(float)


def loop(
    W, there, pre, complex_spikes, lr: float, tau: float = TAU, rate: float = RATE, dt: float = DT, floor: float = 0.0
):
    """Weights (post, pre) after spikes (T, pre) and complex spikes (T, post) as they arrive, moving at every step, in plain numpy."""
    first, second = np.zeros((2, pre.shape[1]))
    W = W.copy()
    for s, c in zip(pre, complex_spikes, strict=True):
        second = np.exp(-dt * 1e3 / tau) * (second + dt * 1e3 / tau * first)
        first = np.exp(-dt * 1e3 / tau) * first + s
        W = np.maximum(W - lr * np.outer(c - rate * dt, second), floor) * there
    return W


def arrived(spikes: np.ndarray, delay: int) -> np.ndarray:
    """Spikes (T, unit) as they arrive."""
    return np.vstack([np.zeros((delay, spikes.shape[1])), spikes])[: len(spikes)]


class Told(bp.tasks.Task):
    """Spikes of fibres and of the olive, drawn anew for every trial; the output is to stay at 0."""

    inputs, outputs, steps, loss, dt = 14, 1, 200, bp.tasks.squared, DT

    def batch(self, generator, size, split="train"):
        often = torch.tensor([0.05] * 12 + [0.02] * 2)
        x = (torch.rand(self.steps, size, 14, generator=generator) < often).float()
        return bp.tasks.Batch(x, torch.zeros(self.steps, size, 1), torch.ones(self.steps, size))


def trial(x: np.ndarray) -> bp.tasks.Batch:
    zero = torch.zeros(*x.shape[:2], 1, dtype=torch.float64)
    return bp.tasks.Batch(torch.as_tensor(x), zero, torch.ones_like(zero[..., 0]))

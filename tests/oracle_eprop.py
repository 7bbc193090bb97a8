"""Weights, input and target of the published e-prop oracle (pattern generation, Bellec et al. 2020).

TensorFlow 1.15, TensorFlow 2.21, NEST 3.10 and a forward-in-time numpy program agree on the losses that
follow from these draws, so the order of the draws is part of the oracle. Nothing of bioplaus is used here.
"""

from __future__ import annotations

import numpy as np

# ½ Σ_t (y − y*)² printed before each of the first five updates.
LOSSES = (101.964363, 103.466736, 103.340607, 103.680244, 104.412781)


def draw(seed: int = 1) -> dict[str, np.ndarray]:
    """Draw everything that the oracle fixes, float32, in its order.

    Returns
    -------
    dict
        W_in (100, 100), W_rec (100, 100; zero diagonal), W_out (100, 1) and B (100, 1), all with the
        *presynaptic* index first, so transpose them for W[post, pre]; input (1000, 100), 0 or 1; target
        (1000, 1).
    """
    rng = np.random.RandomState(seed)
    n_in, n_rec, n_out, steps = 100, 100, 1, 1000
    w_in = rng.randn(n_in, n_rec) / np.sqrt(n_in)
    w_rec = rng.randn(n_rec, n_rec) / np.sqrt(n_rec)
    w_out = rng.randn(n_rec, n_out) / np.sqrt(n_rec)
    feedback = rng.randn(n_rec, n_out) / np.sqrt(n_rec)
    np.fill_diagonal(w_rec, 0.0)
    spikes = rng.rand(1, steps, n_in) < 0.05
    spikes[:, 0] = False
    amplitudes = rng.uniform(0.5, 2.0, 4)
    phases = rng.uniform(0.0, 2 * np.pi, 4)
    target = np.zeros(steps)
    for amplitude, phase, period in zip(amplitudes, phases, (1000, 500, 333, 200), strict=True):
        target += amplitude * np.sin(np.linspace(phase, phase + 2 * np.pi * (steps // period), steps))
    target -= target[0]
    target /= np.abs(target).max()
    arrays = {
        "W_in": w_in,
        "W_rec": w_rec,
        "W_out": w_out,
        "B": feedback,
        "input": spikes[0],
        "target": target[:, None],
    }
    return {name: array.astype(np.float32) for name, array in arrays.items()}

"""The rate of a leaky integrate-and-fire neuron under white noise, and of a network of them that makes its own.

For τ dv/dt = −v + μ + σ √τ ξ, v reset to V_r at θ and held for τ_r, the mean interval between spikes is

    1/ν = τ_r + τ √π ∫_{(V_r − μ)/σ}^{(θ − μ)/σ} exp(u²) (1 + erf u) du                               (1)

Spikes that arrive at rates ν_k and make v jump by J_k each have, where they are many and small,

    μ = τ Σ_k J_k ν_k,   σ² = τ Σ_k J_k² ν_k                                                             (2)

In a sparse network whose neurons are all alike, ν on the left of (1) is the ν_k of (2) of those that are within: a fixed point, which is
the rate of the state in which neither the network as a whole nor any pair of neurons has a rhythm. (1) is Siegert's,
doi:10.1103/PhysRev.81.617; both as in Brunel 2000, doi:10.1023/A:1008925309027.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.integrate import quad
from scipy.optimize import brentq
from scipy.special import erfcx


def rate(mu: float, sigma: float, tau: float, threshold: float, reset: float, refractory: float) -> float:
    """Spikes a second by (1); times in seconds, the rest in one unit.

    Examples
    --------
    >>> round(rate(15.0, 5.0, 0.02, 20.0, 10.0, 0.002), 2)  # noise brings it to 20, the mean does not
    9.46
    """
    low, high = (reset - mu) / sigma, (threshold - mu) / sigma
    # exp(u²)(1 + erf u) = erfcx(−u): nothing of it overflows where the integral does not
    if high > 25:
        return 0.0  # an interval of 1e270 τ
    return float(1 / (refractory + tau * np.sqrt(np.pi) * quad(lambda u: erfcx(-u), low, high)[0]))


def self_consistent(
    within: Sequence[tuple[float, float]],
    outside: Sequence[tuple[float, float]],
    tau: float,
    threshold: float,
    reset: float,
    refractory: float,
) -> float:
    """The rate that neurons fire at if all their sources within do: the lowest ν in Hz with ν = (1) at (2) of ν.

    Parameters
    ----------
    within : of each kind of source in the network how many a neuron has, and how far v jumps at a spike of one.
    outside : of each kind of source outside the rate of all together (Hz), and the jump.
    tau, refractory : seconds. ``threshold``, ``reset`` : in the unit of the jumps.

    Examples
    --------
    Brunel's network with g = 5 and twice the drive that reaches threshold, for which he gives 38.0 Hz:

    >>> half = 20 / (0.1 * 0.02)  # spikes a second from outside that bring v to 20 mV
    >>> round(self_consistent(((1000, 0.1), (250, -0.5)), ((2 * half, 0.1),), 0.02, 20.0, 10.0, 0.002), 1)
    37.9
    """

    def above(nu: float) -> float:
        rates = [*((count * nu, J) for count, J in within), *outside]
        mu = tau * sum(each * J for each, J in rates)
        variance = tau * sum(each * J**2 for each, J in rates)
        return rate(mu, np.sqrt(variance), tau, threshold, reset, refractory) - nu

    grid = np.concatenate([[1e-3], np.geomspace(0.01, 1 / refractory, 400)])
    values = [above(nu) for nu in grid]
    for low, high, a, b in zip(grid[:-1], grid[1:], values[:-1], values[1:], strict=True):
        if a > 0 >= b:
            return float(brentq(above, low, high))  # type: ignore[arg-type]  # without full_output a number
    return 0.0 if values[0] <= 0 else float(grid[-1])

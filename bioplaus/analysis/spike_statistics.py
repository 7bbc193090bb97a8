"""How a population fires: how much, how irregularly, how much together, and with what rhythm.

    rate = spikes / (neurons · time)
    cv = std / mean of a neuron's intervals between spikes, averaged over neurons         0: a clock, 1: as a Poisson process
    correlation = of two neurons' spike counts in bins of so many ms, averaged over pairs  0: by themselves, 1: as one
    modulation = √(Var n − ⟨n⟩) / ⟨n⟩, n the count of all in bins of 1 ms                   0: a steady rate, 1: it comes and goes
    rhythm = frequency at which the spectrum of n has its peak

Var n − ⟨n⟩ is what is left when the chance of independent neurons is taken off, for which n is Poisson's; where nothing is, modulation is 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from bioplaus import checks
from bioplaus.errors import RunError

if TYPE_CHECKING:
    from bioplaus.circuit import Network

#: ms: bins of the population's count, and of a pair's
FINE, COARSE = 1.0, 10.0
#: intervals that a neuron must have to say how irregular they are  # chosen: with fewer the standard deviation is too small by a tenth and more
LEAST = 5
#: neurons, the first ones, of which all pairs are looked at
PAIRED = 500


@dataclass(frozen=True)
class Firing:
    """What is said above; ``rate`` and ``rhythm`` in Hz. NaN where there are too few spikes to tell."""

    rate: float
    cv: float
    correlation: float
    modulation: float
    rhythm: float


def firing(spikes: Any, dt: float) -> Firing:
    """Measure spikes (time, unit), 0 or 1, of steps of ``dt`` ms.

    Raises
    ------
    RunError
        If spikes have another shape, or do not last for four bins of 10 ms.

    Examples
    --------
    >>> clocks = np.zeros((4000, 20), bool)
    >>> clocks[::100] = True
    >>> found = firing(clocks, 0.1)
    >>> found.rate, found.cv
    (100.0, 0.0)
    """
    z = np.asarray(spikes)
    if z.ndim != 2 or 0 in z.shape or z.dtype.kind not in "bfiu":
        raise checks.refusal(RunError, "spikes", spikes, "an array (time, unit) of 0 and 1")
    dt = checks.accept(RunError, "dt in ms", dt, checks.Real(above=0))
    if len(z) * dt < 4 * COARSE:
        raise RunError(
            f"{len(z)} steps of {dt:g} ms are {len(z) * dt:g} ms; correlations are of bins of {COARSE:g} ms: record {4 * COARSE:g} ms at least."
        )
    z = z.astype(bool, copy=False)
    counts = _binned(z.sum(1, dtype=np.int64)[:, None], dt, FINE)[:, 0]
    return Firing(
        rate=1e3 * float(z.mean()) / dt,
        cv=_cv(z),
        correlation=_correlation(_binned(z[:, :PAIRED], dt, COARSE)),
        modulation=float(np.sqrt(max(counts.var(ddof=1) - counts.mean(), 0)) / counts.mean())
        if counts.any()
        else np.nan,
        rhythm=_rhythm(counts),
    )


def spontaneous(network: Network, population: str, settle: float, last: float) -> np.ndarray:
    """Spikes (time, unit) of a population, True or False, while nothing comes in: as from ``settle`` ms on, ``last`` ms of them; in loops.

    A thousand steps at a time, so that of 10,000 neurons a second holds no more than one byte a step and neuron.
    """
    from bioplaus.simulate import simulate

    dt, size = network.circuit.dt * 1e3, network.circuit.populations[population].size
    begin, end = round(settle / dt), round((settle + last) / dt)
    name = f"{population}.spikes" if len(network.circuit.populations) > 1 else "spikes"
    z, state = np.empty((end - begin, size), bool), None
    for first in range(0, end, 1000):
        still = np.zeros((min(1000, end - first), 1, network.circuit.inputs), np.float32)
        piece, state = simulate(network, still, name, state=state, return_state=True, backend="numba")
        if (last_step := first + len(still)) > begin:
            z[max(0, first - begin) : last_step - begin] = piece[name].values[max(0, begin - first) :, 0]
    return z


def _binned(counts: np.ndarray, dt: float, width: float) -> np.ndarray:
    """Sums of (time, …) over bins of ``width`` ms; what is left at the end is left out."""
    steps = max(1, round(width / dt))
    whole = len(counts) // steps * steps
    return counts[:whole].reshape(-1, steps, *counts.shape[1:]).sum(1, dtype=np.int64)


def _cv(z: np.ndarray) -> float:
    unit, time = np.nonzero(z.T)
    same = unit[1:] == unit[:-1]
    intervals, of = np.diff(time)[same].astype(float), unit[1:][same]
    n = np.bincount(of, minlength=z.shape[1])
    enough = n >= LEAST
    if not enough.any():
        return np.nan
    mean = np.bincount(of, intervals, z.shape[1])[enough] / n[enough]
    square = np.bincount(of, intervals**2, z.shape[1])[enough] / n[enough]
    variance = np.maximum(square - mean**2, 0) * n[enough] / (n[enough] - 1)
    return float((np.sqrt(variance) / mean).mean())


def _correlation(counts: np.ndarray) -> float:
    """Mean over pairs of those whose count is not the same in all bins."""
    deviation = counts - counts.mean(0)
    scale = np.sqrt((deviation**2).sum(0))
    unit = deviation[:, scale > 0] / scale[scale > 0]
    k = unit.shape[1]
    if k < 2:
        return np.nan
    # the sum over all pairs of a matrix of products is that of the sum's square
    return float(((unit.sum(1) ** 2).sum() - k) / (k * (k - 1)))


def _rhythm(counts: np.ndarray) -> float:
    """Where the spectrum is highest, in Hz; of eight stretches that overlap by half, so that a peak is more than chance."""
    if not counts.any():
        return np.nan
    length = max(16, 2 * len(counts) // 9)
    hops = range(0, len(counts) - length + 1, length // 2)
    window = np.hanning(length)
    parts = np.stack([counts[b : b + length] - counts.mean() for b in hops])
    power = (np.abs(np.fft.rfft(parts * window)) ** 2).sum(0)
    return float(np.fft.rfftfreq(length, FINE / 1e3)[1 + int(np.argmax(power[1:]))])

"""The psychometric curve: how often one of two choices is taken, by the strength of what speaks for it.

    P(choice = 1 | x) = λ₀ + (1 − λ₀ − λ₁) / (1 + exp(−β (x − μ)))

with the midpoint μ, the slope β, and lapses λ₀, λ₁, fitted by maximum likelihood (Wichmann & Hill 2001, doi:10.3758/BF03194544).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from bioplaus import checks
from bioplaus.errors import RunError

#: lapses beyond which a curve says little  # chosen
LAPSES = 0.4
#: in units of 1 over the spread of x: a step, to the eye; where choices are parted wholly the likelihood grows without end  # chosen
STEEPEST = 100.0


@dataclass(frozen=True)
class Psychometric:
    """A fitted curve, and the points it goes through.

    Attributes
    ----------
    midpoint, slope : μ, in the unit of x, and β, in 1 over it.
    lapses : (λ₀, λ₁).
    levels, share, trials : the strengths that occurred, how often choice 1 was taken at each, and in how many trials.
    low, high : Wilson's interval of 95 % around each share.
    log_likelihood : of all choices under the curve.
    """

    midpoint: float
    slope: float
    lapses: tuple[float, float]
    levels: np.ndarray
    share: np.ndarray
    trials: np.ndarray
    low: np.ndarray
    high: np.ndarray
    log_likelihood: float

    def __call__(self, x: Any) -> np.ndarray:
        """P(choice = 1 | x)."""
        return _curve(np.asarray(x, dtype=float), self.midpoint, self.slope, *self.lapses)


def psychometric(x: Any, choice: Any, *, lapses: bool = True) -> Psychometric:
    """Fit the curve to choices.

    Parameters
    ----------
    x : (trial,) the strength of what speaks for choice 1, such as cues on the right minus cues on the left.
    choice : (trial,) of 0 and 1, or of False and True.
    lapses : whether λ₀ and λ₁ are fitted too, each at most 0.4; else they are 0, and the curve is that of logistic regression.

    Raises
    ------
    RunError
        For other choices, other shapes, or fewer than two strengths.

    Examples
    --------
    >>> import numpy as np, bioplaus as bp
    >>> rng = np.random.default_rng(0)
    >>> x = rng.integers(-3, 4, 2000)
    >>> fit = bp.analysis.psychometric(x, rng.random(2000) < 1 / (1 + np.exp(-1.5 * (x - 0.5))), lapses=False)
    >>> round(fit.midpoint, 1), round(fit.slope, 1)
    (0.5, 1.5)
    """
    from scipy.optimize import minimize
    from scipy.stats import binomtest

    x, chosen = _numbers(x, "x"), _numbers(choice, "choice")
    if x.shape != chosen.shape or x.ndim != 1 or not np.isin(chosen, (0, 1)).all():
        raise RunError(
            f"x has shape {x.shape} and choice {chosen.shape} with values {checks.short(np.unique(chosen).tolist())}; (trial,) of both is needed, choices 0 or 1."
        )
    levels, where = np.unique(x, return_inverse=True)
    if len(levels) < 2:
        raise RunError(f"All {len(x)} trials have the same x: a curve needs two strengths or more.")
    trials, taken = np.bincount(where), np.bincount(where, chosen)
    middle, spread = float(x.mean()), float(x.std())

    def loss(q: np.ndarray) -> float:
        p = _curve(levels, middle + spread * q[0], q[1] / spread, *q[2:])
        p = np.clip(p, 1e-12, 1 - 1e-12)
        return -float((taken * np.log(p) + (trials - taken) * np.log(1 - p)).sum())

    bounds = [(-10, 10), (-STEEPEST, STEEPEST), (0, LAPSES), (0, LAPSES)]
    sign = 1.0 if np.ptp(chosen) == 0 or np.corrcoef(x, chosen)[0, 1] >= 0 else -1.0
    starts = [[0.0, sign * s, *rest] for s in (1.0, 5.0) for rest in (([0.02, 0.02], [0.2, 0.2]) if lapses else ([],))]
    options = {"ftol": 1e-14, "gtol": 1e-9, "maxiter": 1000}
    fits = [minimize(loss, s, method="L-BFGS-B", bounds=bounds[: len(s)], options=options) for s in starts]
    best = min(fits, key=lambda fit: fit.fun)
    q = [float(v) for v in best.x]
    ends = [binomtest(int(k), int(n)).proportion_ci(method="wilson") for k, n in zip(taken, trials, strict=True)]
    return Psychometric(
        middle + spread * q[0],
        q[1] / spread,
        (q[2], q[3]) if lapses else (0.0, 0.0),
        levels,
        taken / trials,
        trials,
        np.array([end.low for end in ends]),
        np.array([end.high for end in ends]),
        -float(best.fun),
    )


def _curve(x: np.ndarray, midpoint: float, slope: float, low: float = 0.0, high: float = 0.0) -> np.ndarray:
    from scipy.special import expit

    return low + (1 - low - high) * expit(slope * (x - midpoint))


def _numbers(values: Any, what: str) -> np.ndarray:
    try:
        found = np.asarray(values.detach().cpu() if hasattr(values, "detach") else values).astype(float)
    except (TypeError, ValueError):
        raise checks.refusal(RunError, what, values, "numbers, one for each trial") from None
    if not np.isfinite(found).all():
        raise RunError(f"{what} holds values that are not finite.")
    return found

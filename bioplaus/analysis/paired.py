"""Two arms compared seed by seed: the one place for the statistics of pairs.

d_s = a_s − b_s,      t = mean(d) / (sd(d) / √n)      (Student 1908; n − 1 degrees of freedom)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from bioplaus import checks
from bioplaus.errors import RunError


@dataclass(frozen=True)
class Paired:
    """What pairs tell.

    Attributes
    ----------
    n : pairs.
    difference : mean of a − b.
    low, high : interval of 95 % around it, by t.
    p : two-sided, of the paired t-test that there is none; NaN for fewer than two pairs.
    p_signed : the same by Wilcoxon's signed ranks, which asks for no normal differences.
    above : in how many pairs a is larger.
    """

    n: int
    difference: float
    low: float
    high: float
    p: float
    p_signed: float
    above: int

    def __str__(self) -> str:
        if self.n < 2:
            return f"{self.difference:+.3g} (one pair)"
        return f"{self.difference:+.3g} [{self.low:+.3g}, {self.high:+.3g}], paired t-test, n = {self.n}, p = {self.p:.2g}; larger in {self.above} of {self.n}"


def paired(a: Any, b: Any) -> Paired:
    """Compare two arms of an experiment, each seed with itself.

    Parameters
    ----------
    a, b : (seed,) what was measured, seeds in the same order.

    Raises
    ------
    RunError
        For other shapes, or values that are not finite.

    Examples
    --------
    >>> import bioplaus as bp
    >>> print(bp.analysis.paired([3.0, 4.0, 6.0], [1.0, 2.5, 3.0]))
    +2.17 [+0.269, +4.06], paired t-test, n = 3, p = 0.039; larger in 3 of 3
    """
    from scipy.stats import t as student
    from scipy.stats import wilcoxon

    try:
        one, two = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    except (TypeError, ValueError):
        raise checks.refusal(RunError, "a and b", (a, b), "numbers, one for each seed") from None
    if one.ndim != 1 or one.shape != two.shape or not one.size or not np.isfinite([one, two]).all():
        raise RunError(
            f"Pairs need two finite numbers for every seed: a has shape {one.shape}, b {two.shape}. Leave out seeds that one of them lacks."
        )
    d, n = one - two, one.size
    if n < 2 or not d.any():
        nothing = float("nan") if n < 2 else 1.0
        return Paired(n, float(d.mean()), float(d.min()), float(d.max()), nothing, nothing, int((d > 0).sum()))
    mean, error = float(d.mean()), float(d.std(ddof=1)) / n**0.5
    reach = float(student.ppf(0.975, n - 1)) * error
    p = 2 * float(student.sf(abs(mean) / error, n - 1)) if error else 0.0  # all differences alike, and not 0
    ranks: Any = wilcoxon(one, two)
    return Paired(n, mean, mean - reach, mean + reach, p, float(ranks.pvalue), int((d > 0).sum()))

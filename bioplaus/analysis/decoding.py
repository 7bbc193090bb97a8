"""How well a condition can be read from a population at each moment: cross-validated logistic regression."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from bioplaus import checks
from bioplaus.analysis.psth import binned, conditions
from bioplaus.errors import RunError

if TYPE_CHECKING:
    import xarray


def decoding(
    recording: xarray.Dataset,
    by: Any,
    *,
    name: str = "spikes",
    window: Any = 50.0,
    folds: int = 5,
    C: float = 1.0,
    seed: int = 0,
) -> xarray.Dataset:
    """Accuracy of a linear decoder in each bin of time, on trials it was not fitted to.

    Units are standardised by the trials that are fitted; classes keep their shares in every fold (scikit-learn's ``StandardScaler``,
    ``LogisticRegression`` and ``StratifiedKFold``).

    Parameters
    ----------
    recording, name, window : as for `bioplaus.analysis.binned`.
    by : the condition of every trial, two or more.
    folds : into how many parts trials are cut; every condition needs as many trials.
    C : 1 over the strength of the L2 penalty.
    seed : of how they are cut.

    Returns
    -------
    xarray.Dataset
        ``accuracy`` (time, fold); ``chance``, the share of the most frequent condition.

    Raises
    ------
    RunError
        For fewer than two conditions, or too few trials of one.
    """
    import xarray as xr
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    values, label = binned(recording, name, window), conditions(recording, by)
    folds, seed = checks.whole(RunError, "folds", folds, 2), checks.accept(RunError, "seed", seed, checks.SEED)
    C = checks.accept(RunError, "C", C, checks.Real(above=0))
    each, count = np.unique(label, return_counts=True)
    if len(each) < 2 or count.min() < folds:
        raise RunError(
            f"by holds {len(each)} condition(s) with {count.min()} to {count.max()} trials; decoding with {folds} folds needs two or more of {folds} trials each. "
            "Record more trials, or take fewer folds."
        )
    classes = np.searchsorted(each, label)
    cut = StratifiedKFold(folds, shuffle=True, random_state=seed)
    decoder = make_pipeline(StandardScaler(), LogisticRegression(C=C, max_iter=2000))
    found = [cross_val_score(decoder, values.values[:, t], classes, cv=cut) for t in range(values.sizes["time"])]
    about = {"units": "fraction", "long_name": f"accuracy of decoding {len(each)} conditions"}
    variables = {"accuracy": (("time", "fold"), np.array(found), about), "chance": count.max() / len(label)}
    return xr.Dataset(variables, {"time": values["time"]}, {"window": values.attrs["window"]})

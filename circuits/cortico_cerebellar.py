"""A recurrent cortex with a cerebellum that predicts its future learning signals."""

from typing import Any

from bioplaus import circuit as composed
from bioplaus.cerebellum import predictor
from bioplaus.cerebellum.predictors import Predictor
from bioplaus.circuit import Circuit


def cortico_cerebellar(
    *, cerebellum: str | Predictor = "linear", hidden: tuple[int, ...] | None = None, **cortex: Any
) -> Circuit:
    """A recurrent cortex (all options of ``recurrent``) beside a cerebellar predictor.

    The cortex sends a copy of its state to the cerebellum, which answers with a prediction of how that state will matter
    for the loss still to come. Rules that use a synthetic gradient (``bp_lambda``, ``dni``) learn and read this predictor;
    other rules leave it silent.

    Parameters
    ----------
    cerebellum : ``"linear"`` (parallel fibres straight onto the output), ``"mlp"``, or a predictor object.
    hidden : layer sizes of an mlp.
    cortex : cell, inputs, units, outputs, … as for ``recurrent``.

    References
    ----------
    Boven, Pemberton, Chadderton, Apps & Costa 2023, doi:10.1038/s41467-022-35658-8.
    """
    options = {"hidden": hidden} if hidden is not None else {}
    g = predictor(cerebellum, **options) if isinstance(cerebellum, str) else cerebellum
    return composed("recurrent", cerebellum=g, **{"name": "cortico_cerebellar", **cortex})

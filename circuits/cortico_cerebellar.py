"""A cortex, any circuit, with a cerebellum that predicts its future learning signals."""

from dataclasses import replace
from typing import Any

from bioplaus import checks
from bioplaus import circuit as composed
from bioplaus.cerebellum import predictor
from bioplaus.cerebellum.predictors import Predictor
from bioplaus.circuit import Circuit
from bioplaus.errors import CircuitError


def cortico_cerebellar(
    *,
    cortex: str | Circuit = "recurrent",
    cerebellum: str | Predictor = "linear",
    hidden: tuple[int, ...] | None = None,
    name: str = "cortico_cerebellar",
    **options: Any,
) -> Circuit:
    """A cortex, any circuit with rates or spikes, beside a cerebellar predictor.

    The cortex sends a copy of its state to the cerebellum, which answers with a prediction of how that state will matter
    for the loss still to come. Rules that use a synthetic gradient (``bp_lambda``, ``dni``) learn and read this predictor;
    other rules leave it silent.

    What has a unit in the cortex, such as a membrane in volts, reaches the cerebellum counted from where neurons start and
    over the cell's own scale, threshold minus rest (`bioplaus.circuit.scale`); what is predicted is the gradient for that number, and is
    divided by the scale where the cortex learns from it. So a circuit in volts and the same one without units learn alike.

    Parameters
    ----------
    cortex : a circuit by name, made with ``options``: ``"recurrent"``, ``"excitatory_inhibitory"``, one of your own; or a circuit
        that is made already.
    cerebellum : ``"linear"`` (parallel fibres straight onto the output), ``"mlp"``, or a predictor object; it takes the place of one
        that the cortex has.
    hidden : layer sizes of an mlp.
    name : for reports.
    options : cell, inputs, units, outputs, … as the cortex takes them.

    References
    ----------
    Boven, Pemberton, Chadderton, Apps & Costa 2023, doi:10.1038/s41467-022-35658-8.
    """
    layers = {"hidden": hidden} if hidden is not None else {}
    g = predictor(cerebellum, **layers) if isinstance(cerebellum, str) else cerebellum
    if isinstance(cortex, Circuit) and options:
        raise CircuitError(
            f"The cortex is a circuit that is made already, and {', '.join(options)} of it would have to be said where it is made: leave them out here, or "
            "give the cortex by name, such as cortex='excitatory_inhibitory'."
        )
    made = composed(cortex, **options) if isinstance(cortex, str) else cortex
    example = "bp.circuit('recurrent', …), or the name of a circuit"
    made = checks.accept(CircuitError, "cortex of cortico_cerebellar", made, checks.Instance(Circuit, example))
    return replace(made, cerebellum=g, name=name)

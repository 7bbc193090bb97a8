"""The gradient a rule computes, for one batch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from bioplaus import checks
from bioplaus.circuit import Circuit, Network
from bioplaus.errors import CircuitError
from bioplaus.learning.fit import given
from bioplaus.learning.sequence import sequence
from bioplaus.rules import Rule, as_rule
from bioplaus.settings import ours
from bioplaus.streams import stream
from bioplaus.tasks import Batch, Loss

if TYPE_CHECKING:
    from torch import Tensor


@ours()
def gradient(
    circuit: Circuit | Network,
    rule: Rule | str,
    batch: Batch,
    loss: Loss | str | None = None,
    *,
    seed: int = 0,
    dtype: str = "float64",
) -> dict[str, Tensor]:
    """The gradient a rule computes for one batch; nothing is updated.

    Parameters
    ----------
    circuit : a circuit (built here with ``seed``) or a built network.
    batch : inputs (time, batch, input), targets, weight; see `bioplaus.tasks.Batch`.
    loss : default: squared error for real targets, cross-entropy for integer ones.

    Returns
    -------
    {weight name: gradient of the mean loss over the batch}; of all learned weights, zeros where the rule has no credit for them
    """
    rule = as_rule(rule)
    if not isinstance(circuit, (Circuit, Network)):
        raise checks.refusal(CircuitError, "The circuit", circuit, "one that bp.circuit('recurrent', cell=…) makes")
    dtype = checks.accept(CircuitError, "dtype", dtype, checks.Word(("float64", "float32")))
    network = circuit if isinstance(circuit, Network) else circuit.build(seed=seed, dtype=getattr(torch, dtype))
    rule.refuse(network)
    batch, chosen = given(network, batch, loss)
    own = rule.begin(network, batch, seed)
    return sequence(network, rule, own, batch, chosen, generator=stream(seed, "noise")).gradients

"""The gradient a rule computes, for one batch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from bioplaus import checks
from bioplaus.circuit import Circuit, Network
from bioplaus.errors import CircuitError, RuleError, TaskError
from bioplaus.learning.sequence import sequence
from bioplaus.rules import Rule
from bioplaus.simulate import checked_inputs
from bioplaus.streams import stream
from bioplaus.tasks import Batch, Loss, cross_entropy, squared

if TYPE_CHECKING:
    from torch import Tensor


def gradient(
    circuit: Circuit | Network,
    rule: Rule,
    batch: Batch,
    loss: Loss | None = None,
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
    {weight name: gradient of the mean loss over the batch}
    """
    if not isinstance(rule, Rule):
        raise checks.refusal(RuleError, "The rule", rule, "one that bp.rule('eprop') or bp.Rule(…) makes")
    if not isinstance(circuit, (Circuit, Network)):
        raise checks.refusal(CircuitError, "The circuit", circuit, "one that bp.circuit('recurrent', cell=…) makes")
    dtype = checks.accept(CircuitError, "dtype", dtype, checks.Word(("float64", "float32")))
    network = circuit if isinstance(circuit, Network) else circuit.build(seed=seed, dtype=getattr(torch, dtype))
    rule.refuse(network)
    if not isinstance(batch, Batch):
        raise TaskError(
            f"A batch is a Batch(inputs, targets, weight), see bioplaus.tasks.Batch; this is of type {type(batch).__name__}."
        )
    batch = batch.to(network.device, network.dtype)
    steps = checked_inputs(network, batch.inputs).shape[:2]
    for name in ("targets", "weight"):
        shape = tuple(getattr(batch, name).shape)
        if shape[:2] != steps:
            raise TaskError(
                f"The batch's {name} have shape {shape}, but its inputs have {steps[0]} steps of {steps[1]} samples: (time, batch, …) is expected of both."
            )
    chosen = loss if loss is not None else (squared if batch.targets.is_floating_point() else cross_entropy)
    own = rule.begin(network, batch, seed)
    return sequence(network, rule, own, batch, chosen, generator=stream(seed, "noise")).gradients

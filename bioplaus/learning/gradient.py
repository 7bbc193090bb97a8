"""The gradient a rule computes, for one batch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import torch

from bioplaus import checks
from bioplaus.circuit import Circuit, Network
from bioplaus.circuit.backend import choice
from bioplaus.circuit.perturbed import perturbed, refuse_late
from bioplaus.codegen.threads import threads as on
from bioplaus.errors import CircuitError
from bioplaus.learning.fit import drawn_with, given
from bioplaus.learning.frozen import refuse_stray
from bioplaus.learning.regulariser import regularisers
from bioplaus.learning.sequence import sequence
from bioplaus.learning.training import Training
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
    rate_target: float = 10.0,
    rate_strength: float = 0.0,
    rate_over: Literal["batch", "trial"] = "batch",
    voltage_strength: float = 0.0,
    backend: str = "auto",
    threads: int = 1,
    perturb: Any = None,
) -> dict[str, Tensor]:
    """The gradient a rule computes for one batch; nothing is updated.

    Parameters
    ----------
    circuit : a circuit (built here with ``seed``) or a built network; its noise and background are drawn from ``seed``, as in `bioplaus.simulate`.
    batch : inputs (time, batch, input), targets, weight; see `bioplaus.tasks.Batch`.
    loss : default: squared error for real targets, cross-entropy for integer ones.
    rate_target, rate_strength, rate_over, voltage_strength : regularisers, as of `bioplaus.Training`; strength 0: none.
    backend : ``"torch"``, ``"numba"`` (fused loops, for spiking circuits), or ``"auto"``, which takes those where the work is large.
    threads : on how many processors fused loops run at most, with the same results to the last bit.
    perturb : who interferes, one `bioplaus.Perturb` or several: the gradient is that of the circuit as it is then, 0 where weights are frozen.

    Returns
    -------
    {weight name: gradient of the mean loss over the batch}; of all learned weights, zeros where the rule has no credit for them
    """
    rule = as_rule(rule)
    if not isinstance(circuit, (Circuit, Network)):
        raise checks.refusal(CircuitError, "The circuit", circuit, "one that bp.circuit('recurrent', cell=…) makes")
    dtype = checks.accept(CircuitError, "dtype", dtype, checks.Word(("float64", "float32")))
    network = circuit if isinstance(circuit, Network) else circuit.build(seed=seed, dtype=getattr(torch, dtype))
    network = perturbed(network, perturb)
    rule.refuse(network)
    batch, chosen = given(network, batch, loss)
    refuse_late(network, batch.steps)
    t = Training(
        rate_target=rate_target,
        rate_strength=rate_strength,
        rate_over=rate_over,
        voltage_strength=voltage_strength,
        dtype=dtype,
    )
    rate, voltage = regularisers(network, t)
    own = rule.begin(network, batch, seed)
    refuse_stray(network.frozen, network.weights, own)
    batch = drawn_with(network, batch, seed)
    noise, chosen_backend = stream(seed, "noise"), choice(backend, network, batch.steps, batch.size).name
    with on(checks.accept(CircuitError, "threads", threads, checks.Whole())):
        return sequence(
            network, rule, own, batch, chosen, rate, generator=noise, voltage=voltage, backend=chosen_backend
        ).gradients

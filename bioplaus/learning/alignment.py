"""How well a rule is doing, beside BPTT, while it learns."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from bioplaus.circuit import Network
from bioplaus.learning.sequence import sequence
from bioplaus.own import Owns
from bioplaus.rules import Rule, bptt
from bioplaus.signal.synthetic import SyntheticGradient
from bioplaus.signal.truth import area_alignment, prediction_alignment
from bioplaus.tasks import Batch, Loss

if TYPE_CHECKING:
    from torch import Tensor


#: of the true gradient of the future loss; not reported
LENGTH = "length"


def alignment(
    network: Network,
    rule: Rule,
    own: Owns,
    batch: Batch,
    loss: Loss,
    generator: torch.Generator,
    backend: str = "torch",
) -> dict[str, float]:
    """Cosine between the rule's gradient of the circuit's weights and BPTT's; with a predictor, also between its predictions and the truth, and how long that is.

    Of a predictor of areas there is a cosine for each, ``prediction_A1``, over what in it has a bearing on the loss at all.
    """
    true = sequence(network, bptt(), {}, batch, loss, keep=True, backend=backend)
    mine = sequence(network, rule, own, batch, loss, generator=generator, backend=backend)
    names = [n for n in true.gradients if n not in ("W_out", "b_out") and n in mine.gradients]
    a, b = (torch.cat([g[n].flatten() for n in names]) for g in (mine.gradients, true.gradients))
    row = {"alignment": cosine(a, b)}
    if isinstance(rule.signal, SyntheticGradient):
        row["prediction"], row["prediction_ratio"], row[LENGTH] = prediction_alignment(
            network, rule.signal, own, batch, loss, true.stretches[0]
        )
        for name, found in area_alignment(network, rule.signal, own, batch, loss, true.stretches[0]).items():
            row[f"prediction_{name}"] = found
    return row


def cosine(a: Tensor, b: Tensor) -> float:
    """Cosine of the angle between two vectors, in float64 so that it stays within ±1; NaN, undefined, if one vanishes."""
    a, b = a.double(), b.double()
    norms = float(a.norm() * b.norm())
    return max(-1.0, min(1.0, float(a @ b) / norms)) if norms > 0 else float("nan")

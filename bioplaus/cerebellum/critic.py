"""A critic: it predicts the loss to come, and what it says is the slope of that (Czarnecki et al. 2017, arXiv 1706.04859).

    g(h, c) = ∂ℓ(h, c; θ)/∂h,      ℓ(h, c) ≈ L_{>t}                                                 (1)
    loss  ½ w_l (ℓ − L_{>t})² + ½ w_g ‖∂ℓ/∂h − target‖²                                             (2)

L_{>t} is bootstrapped as the target is: what the window cost, and what a critic says at its end (`bioplaus.signal.dni`). The net is of softplus
layers, z_k = softplus(A_k z_{k−1} + b_k), whose slope has a slope of its own::

    ℓ = A z_K + b                            form "loss":   one number, of (h, c)                   (3)
    ℓ = −Σ c log softmax(A z_K + b)          form "logits": c the label, and the net reads h alone  (4)
    ∂ℓ/∂z_K = A,  or (softmax − c) A;        ∂ℓ/∂z_{k−1} = (∂ℓ/∂z_k · sigmoid(A_k z_{k−1} + b_k)) A_k    (5)

=======  =============  =====================================
symbol   variable       shape
=======  =============  =====================================
A_k      ``A0``, …      (hidden, inputs)
b_k      ``b0``, …      (hidden,)
A, b     ``A``, ``b``   (1 or classes, hidden), zero at first
=======  =============  =====================================
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch

from bioplaus import checks
from bioplaus.cerebellum.differentiated import Differentiated, pulled
from bioplaus.cerebellum.linear import last_layer
from bioplaus.cerebellum.seen import Seen
from bioplaus.errors import RuleError
from bioplaus.own import Gradients, Own

if TYPE_CHECKING:
    from torch import Tensor

FORMS = ("loss", "logits")
#: among the fixed tensors one without numbers, whose shape is (numbers of h, numbers of c, 0)
_SIZES = "sizes"


@dataclass(frozen=True)
class Critic(Differentiated):
    """The slope of a predicted loss.

    Parameters
    ----------
    value, slope : w_l and w_g of (2); one of them may be 0. ``bp_lambda`` serves value=0 alone.
    hidden : units of each hidden layer.
    form : ``"loss"`` (3) or ``"logits"`` (4), a small classifier that needs the label as context.
    """

    value: float = 1.0
    slope: float = 1.0
    hidden: tuple[int, ...] = (128,)
    form: Literal["loss", "logits"] = "loss"

    constraints = checks.Table(
        RuleError,
        "of a critic",
        value=checks.Real(least=0),
        slope=checks.Real(least=0),
        hidden=checks.Several(checks.Whole(1, 10**6), "(128,)"),
        form=checks.Word(FORMS),
    )

    def __post_init__(self) -> None:
        checks.settle(self)
        if not (self.value or self.slope):
            raise RuleError("A critic with value=0 and slope=0 learns nothing: give one of them a weight above 0.")

    @property
    def weights(self) -> tuple[float, float]:
        return self.value, self.slope

    def init(self, seen: Seen, generator: torch.Generator) -> Own:
        if seen.size != seen.outputs:
            raise RuleError(
                f"A critic speaks to what it reads, as the slope of its loss, and here it would read {seen.size} numbers and speak to {seen.outputs}. Use "
                "areas(of='critic', sees='own'), and no trace='projected'."
            )
        logits = self.form == "logits"
        if logits and not seen.context:
            raise RuleError("A critic of form='logits' is a classifier of the label, and needs context=True.")
        sizes = (seen.size if logits else seen.inputs, *self.hidden)
        layers: dict[str, Tensor] = {}
        for i, (m, n) in enumerate(zip(sizes, self.hidden, strict=False)):
            A = torch.randn(n, m, generator=generator, dtype=torch.float64) * (2 / m) ** 0.5
            layers |= {
                f"A{i}": A.to(seen.device, seen.dtype),
                f"b{i}": torch.zeros(n, dtype=seen.dtype, device=seen.device),
            }
        layers |= last_layer(seen.context if logits else 1, sizes[-1], seen.dtype, seen.device)
        return Own(layers, {_SIZES: torch.zeros(seen.size, seen.context, 0)})

    def _net(self, tensors: Mapping[str, Tensor], h: Tensor) -> tuple[Tensor, Tensor, list[Tensor]]:
        """What stands behind the last layer, the label, and what stands before each softplus."""
        size, before = tensors[_SIZES].shape[0], []
        z = h[..., :size] if self.form == "logits" else h
        for i in range(len(self.hidden)):
            before.append(z @ tensors[f"A{i}"].T + tensors[f"b{i}"])
            z = torch.nn.functional.softplus(before[-1])
        return z @ tensors["A"].T + tensors["b"], h[..., size:], before

    def loss(self, tensors: Mapping[str, Tensor], h: Tensor) -> Tensor:
        """ℓ, (…, 1)."""
        out, c, _ = self._net(tensors, h)
        return -(c * torch.log_softmax(out, -1)).sum(-1, keepdim=True) if self.form == "logits" else out

    def says(self, tensors: Mapping[str, Tensor], h: Tensor) -> Tensor:
        """(5), as far as it is h's."""
        out, c, before = self._net(tensors, h)
        by_out = torch.ones_like(out) if self.form == "loss" else torch.softmax(out, -1) * c.sum(-1, keepdim=True) - c
        back = by_out @ tensors["A"]
        for i in reversed(range(len(self.hidden))):
            back = (back * torch.sigmoid(before[i])) @ tensors[f"A{i}"]
        return back[..., : tensors[_SIZES].shape[0]]

    def worth(self, theta: Own, h: Tensor) -> Tensor:
        return self.loss({**theta.learned, **theta.fixed}, h)

    def worth_gradient(self, theta: Own, h: Tensor, u: Tensor) -> Gradients:
        return pulled(self.loss, theta, h, u)

    def describe(self) -> dict[str, Any]:
        return {
            "predictor": "critic",
            "value": self.value,
            "slope": self.slope,
            "hidden": self.hidden,
            "form": self.form,
        }

"""Synthetic gradients over windows of n steps (Jaderberg et al. 2017, arXiv 1608.05343).

At the end b of a window the predicted gradient of everything beyond it is injected as if it had arrived, except at the end
of the sequence, where the future is zero; what then reaches the window's start a is the target for the prediction made there::

    a_t swept back from s·g(h_b);      target_a = (swept back from γ·g(h_b)) at h_a;      loss ½ ‖g(h_a) − target_a‖²

The factor ½ makes n = 1 and BP(0) the same update (without it they differ by 2).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from bioplaus.cerebellum import Linear as LinearPredictor
from bioplaus.cerebellum.predictors import Predictor
from bioplaus.circuit import checks
from bioplaus.circuit.carried import Layout
from bioplaus.circuit.linear import sweep
from bioplaus.circuit.network import Network
from bioplaus.declaration import Declaration
from bioplaus.errors import RuleError
from bioplaus.signal.observed import Observed


@dataclass(frozen=True)
class DNI:
    """Credit for the state: true inside the window, predicted beyond it.

    Parameters
    ----------
    predictor : the map g; None: the circuit's own cerebellum, or a linear one if it has none.
    discount : γ, weight of the bootstrapped future in the predictor's target.
    injection : s, how much of the prediction the circuit uses.
    context : whether the predictor also sees the task's context (for example the label).
    """

    predictor: Predictor | None = None
    discount: float = 1.0
    injection: float = 1.0
    context: bool = False

    #: whether it looks at the carried state itself, not only at errors
    reads_state: ClassVar[bool] = True

    declaration: ClassVar[Declaration] = Declaration(
        half="future", credit="state", bias="biased", exact_when="the predictor is exact, or the window is the whole sequence", causal=True,
        local=False, memory="K·n·S + predictor", time="n² + predictor", keeps="a window and a prediction", reference="arXiv:1608.05343",
    )  # fmt: skip

    def __post_init__(self) -> None:
        check_predictor(self.predictor)
        checks.number(RuleError, "discount", self.discount, 0, 1)
        checks.number(RuleError, "injection", self.injection)
        checks.flag(RuleError, "context", self.context)

    def refuse(self, network: Network, steps: int | None) -> str | None:
        return None

    def parameters(self, network: Network, generator: torch.Generator, context: int) -> dict[str, Tensor]:
        size = Layout(network).size
        return which(self.predictor, network).init(
            size + (context if self.context else 0), size, generator, network.dtype, network.device
        )

    def init(self, network: Network, batch: int) -> None:
        return None

    def credit(
        self, theta: dict[str, Tensor], state: None, observed: Observed
    ) -> tuple[tuple[Tensor | None, ...], dict[str, Tensor], None, dict[str, Any]]:
        layout, window, g_of = Layout(observed.network), observed.linear.window, which(self.predictor, observed.network)
        see = observed.with_context if self.context else _alone
        h_a, h_b = layout.vector(window.steps[0].before), layout.vector(window.steps[-1].after)
        g_b = torch.zeros_like(h_b) if observed.final else g_of.predict(theta, see(h_b))
        direct = observed.direct()
        used = sweep(observed.linear, direct, layout.credit(self.injection * g_b))
        if self.discount == self.injection or observed.final:
            target = used
        else:
            target = sweep(observed.linear, direct, layout.credit(self.discount * g_b))
        off = g_of.predict(theta, see(h_a)) - layout.flat(target.start, h_a)
        return used.a_I, g_of.gradient(theta, see(h_a), off), None, {"prediction_error": float(off.square().mean())}


def _alone(h: Tensor) -> Tensor:
    return h


def check_predictor(predictor: Any) -> None:
    """Refuse what predicts nothing."""
    if predictor is not None and not hasattr(predictor, "predict"):
        raise checks.refusal(
            RuleError,
            "predictor",
            predictor,
            "a predictor, such as bp.predictor('mlp', hidden=(300,)) makes, its name, or None",
        )


def which(predictor: Predictor | None, network: Network) -> Predictor:
    """The predictor a signal uses: its own, else the circuit's cerebellum, else a linear one."""
    return predictor or network.circuit.cerebellum or LinearPredictor()

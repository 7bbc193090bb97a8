"""A cerebellum that drives: what it says is input to the cortex, and what it learns to say is what the readout should be.

    c_t = g(r_{t−1}; θ),      x'_t = (x_t, c_t)                                                                             (1)

r is what the readout sees, behind the last step; the cortex has as many input lines more as g says numbers, one for each output of the task. The
cortex takes c for input like any other: its weights learn from what they were given, and credit does not go back through g.

``teaching="delayed"``: what was said τ steps ago is held against what is asked now, by the task's loss ℓ and where something is asked, w_t > 0::

    Σ_t w_t ℓ(c_{t−τ}, y*_t)                                                                                                (2)

so that g says what the readout should be τ steps later. An error that comes τ steps late meets what parallel fibres said τ steps before.

``teaching="td"``: g says what the readout should be from now on, later steps counting less, by TD(λ)::

    G_t = y*_t + γ [(1 − λ) c_{t+1} + λ G_{t+1}],      ½ Σ_t ‖c_t − G_t‖²                                                   (3)

with 0 for y*_t where nothing is asked, c behind the last step, and G; in G c is a number. With θ held in a trial this is the sum of TD errors
y*_t + γ c_{t+1} − c_t times traces γλ e_{t−1} + ∂c_t/∂θ. γ = 0 is (2) with τ = 0, squared errors and weights of 1.

=======  ================  =====================================
symbol   variable          shape
=======  ================  =====================================
r        ``read``          (time, batch, units of the readout's)
c        ``said``          (time, batch, output)
τ        ``delay``         steps
γ, λ     ``discount``, ``lmbda``
=======  ================  =====================================
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch

from bioplaus import checks
from bioplaus.cerebellum.areas import Areas
from bioplaus.cerebellum.base import Predictor
from bioplaus.cerebellum.critic import Critic
from bioplaus.cerebellum.mlp import MLP
from bioplaus.cerebellum.predictors import predictor as by_name_of
from bioplaus.drive import Drives
from bioplaus.errors import RunError

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class CerebellarDrive(Drives):
    """The cerebellum's output as input to the cortex, with a fixed or a plastic cortex, beside any rule: (1) to (3).

    Build the circuit with ``inputs=task.inputs + task.outputs``; what the cerebellum says stands behind the task's input. A fixed cortex is
    ``Training(lr={"default": 0.0, "readout": 1e-3, "drive": 1e-3}, drive=bp.CerebellarDrive())``. Tests are with the drive, which is part of the circuit.

    Parameters
    ----------
    predictor : g, or its name: ``"mlp"``, ``"linear"``, ``"granule"``, ``"module"``. None: no cerebellum, the readout's own output comes back,
        c_t = o_{t−1}, and nothing learns to say it.
    teaching : ``"delayed"`` (2) or ``"td"`` (3).
    delay : τ, steps; of (2).
    discount : γ, below 1; of (3).
    lmbda : λ; of (3).

    Raises
    ------
    RunError
        For a predictor that can't drive, and for numbers that the teaching does not read.

    References
    ----------
    Pemberton, Chadderton & Costa 2024, doi:10.1038/s41467-024-55315-6, for (1) and (2), there with one hidden layer; (3) is this library's.
    """

    predictor: Any = MLP((300,))
    teaching: Literal["delayed", "td"] = "delayed"
    delay: int = 0
    discount: float | None = None
    lmbda: float | None = None

    constraints = checks.Table(
        RunError,
        "of a cerebellar drive",
        predictor=checks.Optional(
            checks.Instance(Predictor, "bp.predictor('granule')", by_name=by_name_of), "for the readout's own output"
        ),
        teaching=checks.Word(("delayed", "td")),
        delay=checks.Whole(0, 10_000),
        discount=checks.Optional(checks.Real(least=0, below=1), "for 0.9 with teaching='td'"),
        lmbda=checks.Optional(checks.Real(least=0, most=1), "for 1 with teaching='td'"),
    )

    def __post_init__(self) -> None:
        checks.settle(self)
        td, said = self.teaching == "td", self.predictor is not None
        read = {"delay": said and not td, "discount": said and td, "lmbda": said and td}
        for name, reads in read.items():
            if getattr(self, name) not in (0 if name == "delay" else None, None) and not reads:
                who = f"teaching='{self.teaching}'" if said else "predictor=None, which learns nothing"
                raise RunError(
                    f"{name}={getattr(self, name)} of a cerebellar drive is not read with {who}. Leave {name} out."
                )
        if isinstance(self.predictor, (Areas, Critic)):
            raise RunError(
                f"A cerebellar drive says what a readout should be, and {type(self.predictor).__name__.lower()} is made to say gradients, of each area or of a predicted "
                "loss. Give predictor='mlp', 'linear', 'granule' or 'module'."
            )
        if self.predictor is not None and self.predictor.bumps:
            raise RunError(
                "delay_back and peak of the predictor of a cerebellar drive are traces that rise and fall, and here what was said is held against what is asked exactly "
                "delay steps later. Leave them out, and give the drive's delay."
            )

    @property
    def gamma(self) -> float:
        return 0.9 if self.discount is None else self.discount

    @property
    def lam(self) -> float:
        return 1.0 if self.lmbda is None else self.lmbda

    def off(
        self, said: Tensor, targets: Tensor, weight: Tensor, error: Callable[[Tensor, Tensor], Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Derivatives of (2) or (3) with respect to c, (time, batch, output), in the order in which they come; and which steps' c they are of.

        ``error`` is ∂ℓ/∂o of the task's loss; ``weight`` is (time, batch).
        """
        T = len(said)
        if self.teaching == "delayed":
            when = torch.arange(self.delay, max(T, self.delay), device=said.device)
            return error(said[when - self.delay], targets[when]) * weight[when][..., None], when - self.delay
        asked = torch.where(weight[..., None] > 0, targets, 0.0)
        G, found, after = torch.zeros_like(said[0]), [], torch.zeros_like(said[0])
        for t in reversed(range(T)):
            G = asked[t] + self.gamma * ((1 - self.lam) * after + self.lam * G)
            found.append(said[t] - G)
            after = said[t]
        return torch.stack(found[::-1]), torch.arange(T, device=said.device)

    def describe(self) -> dict[str, Any]:
        told = {name: getattr(self, name) for name in ("teaching", "delay", "discount", "lmbda")}
        return {"drive": "cerebellum", "predictor": self.predictor and self.predictor.describe(), **told}

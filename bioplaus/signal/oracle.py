"""The true future credit, from a reverse sweep over the whole sequence: for tests and figures, not for learning online.

Given to an eligibility, it must return the gradient of backpropagation through time elementwise (docs/concepts.md).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from bioplaus import checks
from bioplaus.circuit.linear import silent, sweep
from bioplaus.circuit.network import Network
from bioplaus.declaration import Declaration
from bioplaus.errors import RuleError
from bioplaus.signal.observed import Observed


@dataclass(frozen=True)
class Oracle:
    """True credit of the kind a past half needs.

    Parameters
    ----------
    gives : ``"state"``, ``"output"`` (future through other neurons) or ``"direct"``.
    """

    gives: Literal["state", "output", "direct"] = "state"

    constraints = checks.Table(RuleError, gives=checks.Word(("state", "output", "direct")))

    def __post_init__(self) -> None:
        checks.settle(self)

    #: whether it looks at the carried state itself, not only at errors
    reads_state: ClassVar[bool] = False

    @property
    def declaration(self) -> Declaration:  # type: ignore[override]
        return Declaration(
            half="future", credit=self.gives, bias="exact", exact_when="always", causal=False, local=False,
            memory="T·S·n", time="K·n²", keeps="the whole future", reference="doi:10.1109/5.58337", tensor="a[z]", transport=True,
        )  # fmt: skip

    def refuse(self, network: Network, steps: int | None) -> str | None:
        return None if steps is None else "the oracle needs the whole sequence: schedule=Window()"

    def parameters(self, network: Network, generator: torch.Generator, context: int) -> dict[str, Tensor]:
        return {}

    def init(self, network: Network, batch: int, generator: torch.Generator | None = None) -> None:
        return None

    def credit(
        self, theta: dict[str, Tensor], state: None, observed: Observed
    ) -> tuple[Any, dict[str, Tensor], None, dict[str, Any]]:
        direct = observed.direct()
        if self.gives == "direct":
            return direct, {}, None, {}
        swept = sweep(observed.linear, direct, outputs=True)
        if self.gives == "state":
            return swept.a_I, {}, None, {}
        empty = silent(observed.network)
        y = tuple((a, *ages[1:]) for a, ages in zip(swept.a_y, empty.y, strict=True))
        return empty._replace(y=y), {}, None, {}

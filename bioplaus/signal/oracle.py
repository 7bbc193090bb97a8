"""The true future credit, from a reverse sweep over the whole sequence: for tests and figures, not for learning online.

Given to an eligibility, it must return the gradient of backpropagation through time elementwise (docs/concepts.md).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from bioplaus import checks
from bioplaus.circuit.credit import both, silent
from bioplaus.circuit.network import Network
from bioplaus.circuit.sweep import at_u, sweep
from bioplaus.declaration import Declaration
from bioplaus.errors import RuleError
from bioplaus.own import Owns
from bioplaus.signal.base import Answer, Signal
from bioplaus.signal.observed import Observed


@dataclass(frozen=True)
class Oracle(Signal):
    """True credit of the kind a past half needs.

    Parameters
    ----------
    gives : ``"state"``, ``"output"`` (future through other neurons) or ``"direct"``.
    """

    gives: Literal["state", "output", "direct"] = "state"

    constraints = checks.Table(RuleError, gives=checks.Word(("state", "output", "direct")))

    declaration: ClassVar[Declaration] = Declaration(
        half="future", credit="state", bias="exact", exact_when="always", causal=False, local=False,
        memory="T·S·n", time="K·n²", keeps="the whole future", reference="doi:10.1109/5.58337", tensor="a[z]", transport=True,
    )  # fmt: skip

    def __post_init__(self) -> None:
        checks.settle(self)
        object.__setattr__(self, "declaration", replace(type(self).declaration, credit=self.gives))

    def refuse(self, network: Network, steps: int | None) -> str | None:
        return None if steps is None else "the oracle needs the whole sequence: schedule=Window()"

    def credit(self, own: Owns, state: None, observed: Observed) -> Answer:
        direct = observed.direct()
        if self.gives == "direct":
            return direct, {}, None, {}
        swept = sweep(observed.tangent, direct, outputs=True)
        if self.gives == "state":
            return swept.a_I, {}, None, {}
        empty = silent(observed.network)
        y = tuple((a, *ages[1:]) for a, ages in zip(swept.a_y, empty.y, strict=True))
        return empty._replace(y=y, u=both(direct.u, at_u(observed.tangent, swept.a_z))), {}, None, {}

"""A predictor for every area: each reads what of h is its area's, and speaks to that alone.

    g(h, c) = (g_1(h¹[, h²], c), …, g_L(h^L, c))                                                    (1)

In a hierarchy of areas, where depth is time, these are the synthesisers of layers (Jaderberg et al. 2017, arXiv 1608.05343): with windows of one step,
``dni(steps=1)``, the target of g_i is what g_{i+1} says of the next area's activity, swept back through the weights between them.

=======  =======================  =================================================
symbol   variable                 shape
=======  =======================  =================================================
g_i      ``"A1.…"``               weights of the predictor of area A1, by its name
h^i      ``theta["A1.reads"]``    where it stands in (h, c), whole numbers, fixed
–        ``theta["A1.says"]``     where what it is told stands in g, fixed
–        ``theta["order"]``       from (g_1, …, g_L) to g, fixed
–        ``theta["above"]``       for critics, whose prediction stands in whose target, (L, L), rows of sum 1, fixed
=======  =======================  =================================================

Where what lies comes from the circuit. It stands among the fixed tensors, so that it goes wherever θ does: checkpoints, copies, devices.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from bioplaus import checks
from bioplaus.cerebellum.base import Predictor, born
from bioplaus.cerebellum.linear import Linear
from bioplaus.cerebellum.seen import Seen
from bioplaus.errors import RuleError
from bioplaus.own import Gradients, Own, of, under

if TYPE_CHECKING:
    from torch import Tensor

SEES = ("own", "own+above", "all")
_READS, _SAYS, _ORDER, _ABOVE = ".reads", ".says", "order", "above"


@dataclass(frozen=True)
class Areas(Predictor):
    """One predictor for every population, which reads that population's part of the state and speaks to that part alone.

    Parameters
    ----------
    of : what each of them is: a predictor that maps one state at a time, or the name of one. A `granule` predictor, which remembers states (delays, Golgi
        cells), reads the whole cortex: it is none of them.
    sees : ``"own"``, the population itself; ``"own+above"``, and those that it drives and that stand behind it in the circuit; ``"all"``. The context
        is seen by each.
    """

    of: Predictor = Linear()
    sees: str = "own"

    constraints = checks.Table(
        RuleError,
        "of an areas predictor",
        of=checks.Instance(Predictor, "bp.predictor('mlp')"),
        sees=checks.Word(SEES),
    )

    def __post_init__(self) -> None:
        checks.settle(self)
        if type(self.of).relay is not Predictor.relay:
            name = self.of.describe().get("predictor", type(self.of).__name__)
            raise RuleError(
                f"A predictor of areas can't be made of '{name}' predictors: what such a one is handed is not the state but what it remembers of all states so far "
                "(of a granule predictor granule cells' rates, behind delays and Golgi cells), and of its parts there is one each, by which they are recorded and lesioned. "
                f"Give predictor='{name}' itself, which reads and speaks to all populations, or areas of a map of one state at a time: of='linear', of='mlp'."
            )

    @property
    def affine(self) -> bool:
        return self.of.affine

    def init(self, seen: Seen, generator: torch.Generator) -> Own:
        if not seen.areas:
            raise RuleError(
                "A predictor of areas speaks to each population apart, and here nothing that is said belongs to one: deep nuclei (trace='projected') mix them. "
                "Use another trace, or a predictor that is not of areas."
            )
        learned: dict[str, Tensor] = {}
        context = range(seen.size, seen.inputs)
        whole: dict[str, Tensor] = {}
        for name, says in seen.areas.items():
            reads = [*says]
            if self.sees == "own+above":
                reads = sorted(place for area in (name, *seen.above[name]) for place in seen.areas[area])
            elif self.sees == "all":
                reads = [*range(seen.size)]
            theta = born(self.of, seen.part(len(reads), len(says)), generator)
            learned |= under(name, theta.learned)
            places = {_READS: torch.tensor([*reads, *context]), _SAYS: torch.tensor(says)}
            whole |= under(name, theta.fixed) | {name + what: where.to(seen.device) for what, where in places.items()}
        if self.weights[0]:
            whole[_ABOVE] = handed_down(seen).to(seen.device, seen.dtype)
        said = torch.tensor([place for says in seen.areas.values() for place in says])
        return Own(learned, whole | {_ORDER: said.argsort().to(seen.device)})

    def spoken(self, theta: Own) -> dict[str, Tensor]:
        return {name.removesuffix(_SAYS): theta[name] for name in theta.fixed if name.endswith(_SAYS)}

    def predict(self, theta: Own, h: Tensor) -> Tensor:
        said = [self.of.predict(own, h[..., own["reads"]]) for _, own in self._each(theta)]
        return torch.cat(said, -1)[..., theta[_ORDER]]

    def gradient(self, theta: Own, h: Tensor, u: Tensor) -> Gradients:
        found: Gradients = {}
        for name, own in self._each(theta):
            found |= under(name, self.of.gradient(own, h[..., own["reads"]], u[..., own["says"]]))
        return found

    def jacobian(self, theta: Own, h: Tensor) -> Gradients:
        found: Gradients = {}
        for name, own in self._each(theta):
            for what, each in self.of.jacobian(own, h[..., own["reads"]]).items():
                whole = each.new_zeros(len(each), len(theta[_ORDER]), *each.shape[2:])
                whole[:, own["says"]] = each
                found[f"{name}.{what}"] = whole
        return found

    @property
    def weights(self) -> tuple[float, float]:
        return self.of.weights

    def worth(self, theta: Own, h: Tensor) -> Tensor:
        """The loss to come as each area predicts it, (…, L)."""
        return torch.cat([self.of.worth(own, h[..., own["reads"]]) for _, own in self._each(theta)], -1)

    def worth_gradient(self, theta: Own, h: Tensor, u: Tensor) -> Gradients:
        found: Gradients = {}
        for i, (name, own) in enumerate(self._each(theta)):
            found |= under(name, self.of.worth_gradient(own, h[..., own["reads"]], u[..., i : i + 1]))
        return found

    def handed(self, theta: Own, worth: Tensor) -> Tensor:
        """What the areas above predict, their mean; at the top what it predicts itself."""
        return worth @ theta[_ABOVE].T

    def features(self, theta: Own, h: Tensor) -> Tensor:
        """(φ_1, …, φ_L)."""
        return torch.cat([self.of.features(own, h[..., own["reads"]]) for _, own in self._each(theta)], -1)

    def read(self, theta: Own, rows: Tensor) -> slice | Tensor:
        for _, own, columns in self._columns(theta):
            if bool(torch.isin(rows, own["says"]).all()):
                return columns
        return slice(None)

    def named(self, theta: Own, found: Tensor) -> Gradients:
        named: Gradients = {}
        for name, own, columns in self._columns(theta):
            mine = found[own["says"]]
            block = torch.cat([mine[:, columns], mine[:, -1:]], -1)
            named |= under(name, self.of.named(own, block))
        return named

    def _columns(self, theta: Own) -> list[tuple[str, Own, slice]]:
        """Which of the features side by side are whose."""
        found, at = [], 0
        for name, own in self._each(theta):
            nothing = torch.zeros(len(own["reads"]), dtype=own["A"].dtype, device=own["A"].device)
            width = self.of.features(own, nothing).shape[-1]
            found.append((name, own, slice(at, at + width)))
            at += width
        return found

    @staticmethod
    def _each(theta: Own) -> list[tuple[str, Own]]:
        """Area → its own θ, with what it reads and says."""
        names = [name.removesuffix(_SAYS) for name in theta.fixed if name.endswith(_SAYS)]
        return [(name, Own(of(name, theta.learned), of(name, theta.fixed))) for name in names]

    def describe(self) -> dict[str, Any]:
        return {"predictor": "areas", "sees": self.sees, "of": self.of.describe()}


def handed_down(seen: Seen) -> Tensor:
    """Row by row, whose prediction of the loss stands in an area's target: of those above it, or (at the top) its own."""
    names = [*seen.areas]
    above = torch.zeros(len(names), len(names), dtype=torch.float64)
    for i, name in enumerate(names):
        others = seen.above[name] or (name,)
        above[i, [names.index(other) for other in others]] = 1 / len(others)
    return above

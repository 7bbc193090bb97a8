"""Evolution strategies, plain and guided by a rule's own gradients (Maheswaranathan et al. 2019, arXiv 1806.10230).

The loss itself is asked, at weights moved a little in random directions, and what it answers is the estimate of its gradient:

    ε = σ (√(α/n) z + √((1−α)/k) U z_k)                        (1)   z ~ N(0, 1)ⁿ, z_k ~ N(0, 1)ᵏ
    Δ = β/(2σ²P) Σ ε (L(w+ε) − L(w−ε))                         (2)   over P pairs
    E[Δ] = β (α/n · 1 + (1−α)/k · U Uᵀ) ∇L,  as σ → 0          (3)

==========  ============  =============================================================
symbol      variable      what it is
==========  ============  =============================================================
n           ``z.numel``   number of weights that move: synapses that are there, rate > 0
k           ``k``         number of latest gradients that guide
U           ``U``         (n, k), their orthonormal basis, the newest first
σ, α, β, P  `Search`      length of ε (its mean square is σ²); share of the search outside
                          the guiding subspace; scale of the estimate; pairs
==========  ============  =============================================================

A gradient that guides may be biased, scaled, or of the wrong sign: only the line on which it lies counts. α = 1 is the plain strategy,
which no gradient guides. The estimate is then handed to an optimiser of torch's kind, in the gradient's place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from bioplaus import checks
from bioplaus.errors import NumericalError, RunError, unknown
from bioplaus.learning.optimiser import Descent, Evaluate
from bioplaus.own import Gradients

if TYPE_CHECKING:
    from torch import Tensor

#: by name: what of `Search` may be said
SEARCHES = {"es": ("sigma", "beta", "pairs", "then"), "guided_es": ("sigma", "alpha", "beta", "k", "pairs", "then")}
#: those to which an estimate may be handed
THEN = ("sgd", "adam", "adam_tf")
#: how much of a gradient must stand out of those before it  # chosen: far above what rounding leaves of one that does not
_APART = {torch.float64: 1e-10, torch.float32: 1e-4}


@dataclass(frozen=True, kw_only=True)
class Search:
    """How the loss is asked.

    Parameters
    ----------
    sigma : σ, root mean square length of ε, over all weights together.
    alpha : α, from 0 (in the guiding subspace alone) to 1 (the plain strategy).
    beta : β, the scale of the estimate; n times too small for the gradient at β = 1 and α = 1, see (3).
    k : how many of the latest gradients guide.
    pairs : P; each asks for the loss twice.
    then : ``"sgd"``, ``"adam"`` or ``"adam_tf"``, which moves the weights by the estimate.

    Raises
    ------
    RunError
    """

    sigma: float = 0.1
    alpha: float = 0.5
    beta: float = 1.0
    k: int = 1
    pairs: int = 1
    then: str = "sgd"

    constraints = checks.Table(
        RunError,
        "of optimiser_options",
        sigma=checks.Real(above=0),
        alpha=checks.Real(least=0, most=1),
        beta=checks.Real(above=0),
        k=checks.Whole(),
        pairs=checks.Whole(),
        then=checks.Word(THEN),
    )

    def __post_init__(self) -> None:
        checks.settle(self)

    @classmethod
    def of(cls, name: str, options: Mapping[str, Any]) -> Search:
        """That of an optimiser's name.

        Raises
        ------
        RunError
            For an option that it has not.
        """
        for option in options:
            if option not in SEARCHES[name]:
                said = unknown(f"option of {name}", option, SEARCHES[name])
                raise RunError(f"optimiser_options of Training: {said}")
        return cls(**{**({"alpha": 1.0} if name == "es" else {}), **options})


def basis(G: Tensor) -> Tensor:
    """U: an orthonormal basis of the columns of G (n, k), one after the other; those that add nothing to it are left out."""
    found: list[Tensor] = []
    for g in G.unbind(1):
        length = torch.linalg.vector_norm(g)
        v = g / length if length > 0 else g
        for _ in range(2):  # once more, for what rounding has left
            for u in found:
                v = v - (u @ v) * u
        rest = torch.linalg.vector_norm(v)
        if rest > _APART[g.dtype]:
            found.append(v / rest)
    return torch.stack(found, 1) if found else G[:, :0]


def direction(z: Tensor, U: Tensor, z_k: Tensor, sigma: float, alpha: float) -> Tensor:
    """(1): ε (n,) of random numbers z (n,) and z_k (k,); without anything that guides all of it is z's."""
    n, k = U.shape
    if k == 0:
        return sigma * n**-0.5 * z
    return sigma * ((alpha / n) ** 0.5 * z + ((1 - alpha) / k) ** 0.5 * (U @ z_k))


class EvolutionStrategy(Descent):
    """Asks the loss for its gradient (2) and hands that to one of torch's optimisers.

    Parameters
    ----------
    groups, rates, make, schedule : as of `Descent`.
    search : σ, α, β, k, P.
    generator : where z and z_k come from; its state is part of `state_dict`.
    masks : by path, what may move of a tensor, 0 or 1; of the others all.
    hold : brings weights back to what they may be (Dale's law) before the loss is asked.
    clip : largest norm of the estimate.
    """

    def __init__(
        self,
        groups: Iterable[Mapping[str, Tensor]],
        rates: Mapping[str, float],
        make: Callable[[list[dict[str, Any]]], torch.optim.Optimizer],
        schedule: Callable[[torch.optim.Optimizer], torch.optim.lr_scheduler.LRScheduler] | None = None,
        *,
        search: Search,
        generator: torch.Generator,
        masks: Mapping[str, Tensor] | None = None,
        hold: Callable[[], None] = lambda: None,
        clip: float | None = None,
    ) -> None:
        super().__init__(groups, rates, make, schedule)
        self.search, self.generator, self.masks, self.hold, self.clip = search, generator, masks or {}, hold, clip
        #: the latest gradients, the newest first
        self.guides: list[Gradients] = []

    def step(self, gradients: Gradients, evaluate: Evaluate) -> None:
        estimate = self.estimate(gradients, evaluate)
        if not estimate:
            return
        norm = float(torch.linalg.vector_norm(torch.cat([g.flatten() for g in estimate.values()])))
        if not norm < float("inf"):
            raise NumericalError("of the loss, as its evolution strategy finds it")
        if self.clip is not None and norm > self.clip:
            estimate = {path: g * (self.clip / norm) for path, g in estimate.items()}
        super().step(estimate, evaluate)

    def estimate(self, gradients: Gradients, evaluate: Evaluate) -> Gradients:
        """(2), by path, of what has a gradient and a rate; weights are afterwards what they were."""
        s = self.search
        weights = {path: w for path, w in self.tensors.items() if path in gradients and path not in self.held}
        if not weights:
            return {}
        there = torch.cat([self.masks.get(path, torch.ones_like(w)).flatten() != 0 for path, w in weights.items()])
        if s.alpha < 1:
            self.guides = [{path: gradients[path].clone() for path in weights}, *self.guides][: s.k]
        old = {path: w.clone() for path, w in weights.items()}
        w0 = _packed(old, there)
        guides = [_packed({path: g.get(path, 0 * w) for path, w in old.items()}, there) for g in self.guides]
        U, total = basis(torch.stack([w0, *guides], 1)[:, 1:]), torch.zeros_like(w0)
        try:
            for _ in range(s.pairs):
                z, z_k = self._normal(w0, len(w0)), self._normal(w0, U.shape[1])
                epsilon = direction(z, U, z_k, s.sigma, s.alpha)
                ahead, behind = (self._asked(weights, w0 + way * epsilon, there, evaluate) for way in (1, -1))
                total = total + epsilon * (ahead - behind)
        finally:
            for path, w in weights.items():
                w.copy_(old[path])
        return _unpacked(total * (s.beta / (2 * s.sigma**2 * s.pairs)), weights, there)

    def _normal(self, like: Tensor, count: int) -> Tensor:
        return torch.randn(count, generator=self.generator, dtype=like.dtype).to(like.device)

    def _asked(self, weights: Mapping[str, Tensor], at: Tensor, there: Tensor, evaluate: Evaluate) -> float:
        """The loss at weights (n,)."""
        for path, value in _unpacked(at, weights, there).items():
            weights[path].copy_(value)
        self.hold()
        return evaluate()

    def state_dict(self) -> dict[str, Any]:
        mine = {"directions": self.generator.get_state(), "guides": [dict(g) for g in self.guides]}
        return super().state_dict() | mine

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict({n: v for n, v in state.items() if n not in ("directions", "guides")})
        self.generator.set_state(state["directions"])
        self.guides = [{p: g.to(self.tensors[p], copy=True) for p, g in one.items()} for one in state["guides"]]

    def renew(self, renewed: Callable[[str, Tensor], Tensor]) -> None:
        super().renew(renewed)
        self.guides = [{path: renewed(path, g) for path, g in one.items()} for one in self.guides]

    def go_on_from(self, other: EvolutionStrategy) -> None:
        """Guides and random numbers as of another, of the same circuit."""
        self.generator.set_state(other.generator.get_state())
        same = lambda path, g: path in self.tensors and self.tensors[path].shape == g.shape  # noqa: E731
        kept = [{path: g.clone() for path, g in one.items() if same(path, g)} for one in other.guides]
        self.guides = kept[: self.search.k] if self.search.alpha < 1 else []


def _packed(tensors: Mapping[str, Tensor], there: Tensor) -> Tensor:
    """(n,): what may move of tensors, one after the other."""
    return torch.cat([w.flatten() for w in tensors.values()])[there]


def _unpacked(values: Tensor, like: Mapping[str, Tensor], there: Tensor) -> Gradients:
    """The same shapes as ``like`` again; 0 where nothing may move."""
    whole = values.new_zeros(len(there))
    whole[there] = values
    parts = whole.split([w.numel() for w in like.values()])
    return {path: part.view(w.shape).clone() for (path, w), part in zip(like.items(), parts, strict=True)}

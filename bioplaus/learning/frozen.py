"""A training with somebody interfering: which network it is in each update, and what of its weights and of a rule's own tensors does not learn."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from bioplaus.circuit import Network
from bioplaus.circuit.carried import Layout
from bioplaus.circuit.perturbed import perturbed
from bioplaus.errors import CircuitError, RuleError, unknown
from bioplaus.learning.rates import FEEDBACK
from bioplaus.own import Gradients, Owns, above, called, learned, within
from bioplaus.perturb import Perturb, during
from bioplaus.rules import Rule

if TYPE_CHECKING:
    from torch import Tensor


def holds(frozen: Iterable[str], path: str) -> bool:
    """Whether an own tensor, by its path, is among what is frozen: itself, what it is in, or ``predictor`` for all but feedback weights."""
    part = path.partition(".")[0]
    return any(within(path, name) or (called(name) == "predictor" and part != FEEDBACK) for name in frozen)


def refuse_stray(frozen: Iterable[str], weights: Mapping[str, Tensor], own: Owns) -> None:
    """Refuse to freeze what is not there.

    Raises
    ------
    CircuitError
    """
    paths = list(learned(own))
    for name in frozen:
        if name not in weights and not any(holds([name], path) for path in paths):
            known = [*weights, *paths, *above(paths), "readout"]
            why = f" This rule has no {name} of its own that learns." if name in ("predictor", FEEDBACK) else ""
            if name.startswith("cerebellum."):
                why = " Nothing of that name learns here, so that there is nothing to hold."
            raise CircuitError(f"Perturb('{name}', 'freeze') leads nowhere.{why} {unknown('weight', name, known)}")


class Interference:
    """A network as it is in every update: itself, or one of those that share its weights.

    Parameters
    ----------
    network : the one that learns.
    perturbs : all that there will be; each is tried now, by itself and with the others.
    since : the update from which theirs are counted.

    Raises
    ------
    BioplausError
        If one of them leads nowhere, or the rule can't serve the network as it is then.
    """

    def __init__(self, network: Network, perturbs: tuple[Perturb, ...], rule: Rule, since: int = 0) -> None:
        self.network, self.perturbs, self.since = network, perturbs, since
        self._made: dict[tuple[Perturb, ...], Network] = {(): network}
        for each in perturbs:
            rule.refuse(self._of((each,)))
        #: with all of them at once
        self.all = self._of(perturbs)
        rule.refuse(self.all)
        if rule.signal.reads_state and Layout(self.all).size != Layout(network).size:
            raise RuleError(
                f"The signal of the rule '{rule.name}' reads all that the circuit carries from step to step, and with {', '.join(map(repr, perturbs))} that is more than without: a "
                "longer delay keeps more outputs, and cells that look back at their own output (gru) keep it while they are silenced. Leave that one out, or take a rule "
                "without a predictor, such as eprop."
            )

    def __call__(self, update: int) -> Network:
        return self._of(during(self.perturbs, update - self.since)) if self.perturbs else self.network

    def _of(self, perturbs: tuple[Perturb, ...]) -> Network:
        if perturbs not in self._made:
            self._made[perturbs] = perturbed(self.network, perturbs)
        return self._made[perturbs]


def moving(frozen: Iterable[str], gradients: Gradients, own: Gradients) -> tuple[Gradients, Gradients]:
    """The gradients of what is not frozen: whatever an optimiser remembers of the rest stays as it is."""
    frozen = tuple(frozen)
    if not frozen:
        return gradients, own
    return {n: g for n, g in gradients.items() if n not in frozen}, {
        n: g for n, g in own.items() if not holds(frozen, n)
    }


@contextmanager
def held(frozen: Iterable[str], weights: Mapping[str, Tensor], own: Owns) -> Iterator[None]:
    """Frozen tensors are afterwards what they were, to the last bit, whatever moves them meanwhile."""
    frozen = tuple(frozen)
    mine = {n: weights[n] for n in frozen if n in weights} | {n: v for n, v in learned(own).items() if holds(frozen, n)}
    before = {name: tensor.clone() for name, tensor in mine.items()}
    yield
    for name, value in before.items():
        mine[name].copy_(value)

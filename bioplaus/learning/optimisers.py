"""Gradients handed to optimisers: the circuit with its readout, and what a rule learns for itself, apart.

Where an evolution strategy moves the circuit (`bioplaus.learning.evolution`), what a rule learns for itself has no say in the loss of a batch, which
so can't be asked about it: it is all moved by its own gradient, by Adam.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from bioplaus.errors import NumericalError, RuleError, RunError, cut
from bioplaus.learning.by_name import maker, refuse_rates, scheduler, searches
from bioplaus.learning.evolution import EvolutionStrategy, Search
from bioplaus.learning.optimiser import Descent, Evaluate, Optimiser
from bioplaus.learning.rates import FEEDBACK, READOUT, rates
from bioplaus.learning.training import Training
from bioplaus.own import Gradients, Owns, learned
from bioplaus.streams import stream

if TYPE_CHECKING:
    from torch import Tensor

    from bioplaus.circuit import Network

Tensors = Mapping[str, "Tensor"]


class Optimisers:
    """One for the circuit's weights, readout and feedback in a group of their own, and one for what else the rule learns.

    Parameters
    ----------
    seed : of what an optimiser draws.
    """

    def __init__(self, network: Network, own: Owns, training: Training, seed: int = 0) -> None:
        weights = network.parameters()
        self.clip, self.mine = training.clip, learned(own)
        asks = searches(training.optimiser)
        fed_back = {path: v for path, v in self.mine.items() if path.partition(".")[0] == FEEDBACK and not asks}
        apart = {path: v for path, v in self.mine.items() if path not in fed_back}
        cortex = {n: w for n, w in weights.items() if n not in READOUT}
        readout = {n: w for n, w in weights.items() if n in READOUT} | fed_back
        self.rates = by_path = rates(weights, self.mine, training)
        refuse_rates(training.lr_schedule, len({rate for rate in by_path.values() if rate}) > 1)
        self._order = [*cortex, *readout]
        beside = replace(training, optimiser="adam", optimiser_options=None) if asks else training
        self.circuit: Optimiser = made([cortex, readout], by_path, training, network, stream(seed, "directions"))
        self.predictor: Optimiser | None = made([apart], by_path, beside) if apart else None
        self._apart = list(apart)

    def step(self, gradients: Gradients, own: Gradients, evaluate: Evaluate) -> None:
        """Move what has a gradient, each optimiser's clipped together.

        Raises
        ------
        NumericalError
            If a gradient is not finite; nothing has moved then but what comes before.
        RuleError
            If there is a gradient of what is not learned.
        """
        if stray := own.keys() - self.mine.keys():
            raise RuleError(
                f"The rule gave a gradient for '{min(stray)}', and what it learns for itself is {', '.join(self.mine) or 'nothing'}: gradients of own "
                "tensors stand by path, part.name, such as 'feedback.B'."
            )
        both = gradients | own
        groups = [
            (optimiser, held)
            for optimiser, paths in ((self.circuit, self._order), (self.predictor, self._apart))
            # of a rider along another rule's trajectory, which moves the circuit, nothing is held
            if (held := {path: both[path] for path in paths if path in both}) and optimiser is not None
        ]
        if not groups:
            return
        norms = [torch.linalg.vector_norm(torch.cat([g.flatten() for g in held.values()])) for _, held in groups]
        for (optimiser, held), norm in zip(groups, torch.stack(norms).tolist(), strict=True):  # read at once
            if not math.isfinite(norm):
                raise NumericalError(worst(both))
            if self.clip is not None and norm > self.clip:
                held = {path: g * (self.clip / norm) for path, g in held.items()}
            optimiser.step(held, evaluate)

    def advance(self) -> None:
        """An update is over: schedules go on."""
        for optimiser in (self.circuit, self.predictor):
            if isinstance(optimiser, Descent):
                optimiser.advance()

    def state_dict(self) -> dict[str, Any]:
        scheduled = {name: of.state_dict() for name, of in self._schedules.items()}
        return {
            "optimiser": self.circuit.state_dict(),
            "predictor_optimiser": self.predictor.state_dict() if self.predictor else None,
            **({"schedules": scheduled} if scheduled else {}),
        }

    def load_state_dict(self, state: dict[str, Any], renewed: Callable[[str, Tensor], Tensor]) -> None:
        """Take up a state; ``renewed`` makes of what was kept for an own tensor, by its path, what is kept now."""
        self.circuit.load_state_dict(state["optimiser"])
        if isinstance(self.circuit, Descent):
            self.circuit.renew(renewed)
        if self.predictor is not None:
            self.predictor.load_state_dict(state["predictor_optimiser"])
        for name, schedule in self._schedules.items():
            schedule.load_state_dict(state["schedules"][name])

    @property
    def _schedules(self) -> dict[str, Any]:
        both = {"circuit": self.circuit, "predictor": self.predictor}
        return {n: o.schedule for n, o in both.items() if isinstance(o, Descent) and o.schedule is not None}


def made(
    groups: list[Tensors],
    rates: Mapping[str, float],
    training: Training,
    network: Network | None = None,
    generator: torch.Generator | None = None,
) -> Optimiser:
    """An optimiser of these groups, each cut into what has one rate; one that asks for the loss, of a network's weights, draws from a generator.

    Raises
    ------
    RunError
        If the optimiser does not take these tensors.
    """
    t = training
    make: Callable[..., Any] = maker(t.optimiser, t.optimiser_options or {}, {"betas": t.betas, "eps": t.eps})
    try:
        if isinstance(t.optimiser, type) and not issubclass(t.optimiser, torch.optim.Optimizer):
            return make({path: w for group in groups for path, w in group.items()}, dict(rates))
        schedule = scheduler(t.lr_schedule, t.lr_schedule_options or {}) if t.lr_schedule else None
        parts = [part for group in groups for part in _alike(group, rates)]
        if searches(t.optimiser):
            assert generator is not None
            how: Any = {
                "search": Search.of(str(t.optimiser), t.optimiser_options or {}),
                "generator": generator,
                "clip": t.clip,
            }
            how |= {} if network is None else {"masks": network.masks, "hold": network.constrain}
            return EvolutionStrategy(parts, rates, make, schedule, **how)
        return Descent(parts, rates, make, schedule)
    except (ValueError, TypeError, RuntimeError) as error:
        raise RunError(
            f"optimiser of Training is {t.optimiser!r}, which does not take the tensors that are to learn: {cut(str(error), 160)}. Choose another, such as 'adam'."
        ) from error


def _alike(group: Tensors, rates: Mapping[str, float]) -> list[Tensors]:
    """Tensors of one rate together, in the order in which the rates come."""
    parts: dict[float, dict[str, Tensor]] = {}
    for path, w in group.items():
        parts.setdefault(rates[path], {})[path] = w
    return list(parts.values())


def worst(gradients: Gradients) -> str:
    """Where it began."""
    bad = [n for n, g in gradients.items() if not bool(torch.isfinite(g).all())]
    return f"first in {bad[0]}" if bad else "its norm overflows"

"""A cell's step and partials, ready to be written down in any language: constants folded, symbols of one step told apart."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import sympy as sp

from bioplaus.codegen.constants import Constants
from bioplaus.codegen.partials import Partials
from bioplaus.codegen.propagated import propagated
from bioplaus.symbolic.derive import ACTIVE, HEIGHT, HELD, LAST, MARGIN, NOW, RECEPTIVE, Derived, Entries, after
from bioplaus.symbolic.text import names, substituted, symbol


@dataclass(frozen=True)
class Folded:
    """Expressions in old and new states, inputs, outputs, refractoriness and the named ``numbers``, nothing else."""

    derived: Derived
    refractory: bool  # whether the cell is ever refractory; if not, that factor is nowhere
    f: Entries
    output: sp.Expr
    r: Entries
    sends: Entries
    partials: Partials
    surrogate: sp.Expr | None
    gate: sp.Expr
    floor: sp.Expr
    waits: sp.Expr | None
    numbers: Mapping[str, np.ndarray]  # a constant, or one value per neuron

    @property
    def old(self) -> list[sp.Symbol]:
        """States before the step."""
        return [symbol(s) for s in self.derived.states]

    @property
    def new(self) -> list[sp.Symbol]:
        """States after the integrator, before the reset."""
        return [after(s) for s in self.derived.states]

    @property
    def inputs(self) -> list[sp.Symbol]:
        """Input channels, and then the noises."""
        return [symbol(k) for k in (*self.derived.inputs, *self.derived.noises)]

    @property
    def given(self) -> list[tuple[sp.Symbol, str, int]]:
        """What partials may be made of: (symbol, kind, index)."""
        states, currents, new = (list(enumerate(some)) for some in (self.old, self.inputs, self.new))
        return [
            *((s, "s", i) for i, s in states),
            *((k, "I", i) for i, k in currents),
            (LAST, "y_last", 0),
            (HELD, "y_last", 0),
            (RECEPTIVE, "receptive", 0),
            *((u, "u", i) for i, u in new),
            (NOW, "y_now", 0),
            (ACTIVE, "active", 0),
        ]

    def moves(self, e: sp.Expr) -> bool:
        """Whether an expression has another value at another moment."""
        return bool(names(e) - {*self.numbers})


def fold(d: Derived, parameters: Mapping[str, Any], dt: float, refractory: bool) -> Folded:
    """Fold all that depends on parameters and dt alone into numbers.

    Parameters
    ----------
    d : the cell's expressions.
    parameters : name → float or float64 array (one value per neuron), SI base units.
    dt : step in seconds.
    refractory : whether the cell is ever refractory.

    Raises
    ------
    CellError
        For a constant that is not a finite real number.
    """
    active = {} if refractory else {ACTIVE: sp.Integer(1), RECEPTIVE: sp.Integer(1)}
    in_u: dict[sp.Symbol, sp.Expr] = dict(active)
    if d.surrogate is not None:
        in_u[HEIGHT] = substituted(d.surrogate, {MARGIN: substituted(d.output, active)})
    states = [moving for s in d.states for moving in (symbol(s), after(s))]
    dynamic = frozenset([*states, *map(symbol, (*d.inputs, *d.noises)), LAST, HELD, RECEPTIVE, NOW, ACTIVE, MARGIN])
    values = {**parameters, "dt": dt}
    for p in d.propagators:
        values |= propagated(p, values).numbers
    constants = Constants(dynamic, values)

    def ready(e: Any, swap: Mapping[sp.Symbol, sp.Expr]) -> Any:
        """An expression, or nested tuples of them."""
        if isinstance(e, tuple):
            return tuple(ready(inner, swap) for inner in e)
        return constants.fold(constants.tidy(substituted(e, swap)))

    f, output, r, sends = (ready(e, active) for e in (d.f, d.output, d.r, d.sends))
    into_u = [ready(part, active) for part in (d.F, d.E, d.G)]
    partials = Partials(*into_u, *(ready(part, in_u) for part in (d.psi, d.Ru, d.ry, d.Zu, d.zy)))
    surrogate = None if d.surrogate is None else ready(d.surrogate, {})
    gate, floor = ready(d.gate, active), ready(d.floor, active)
    waits = None if d.waits is None else ready(d.waits, {})
    numbers = {name: np.asarray(value, dtype=float) for name, value in constants.numbers().items()}
    return Folded(d, refractory, f, output, r, sends, partials, surrogate, gate, floor, waits, numbers)


def entries(part: Any) -> Iterator[Any]:
    """The entries of nested tuples, row by row."""
    if isinstance(part, tuple):
        for inner in part:
            yield from entries(inner)
    else:
        yield part


def assignments(
    targets: Sequence[str], expressions: Sequence[sp.Expr], prefix: str, show: Callable[[Any], str]
) -> list[str]:
    """``target = expression`` line by line, what several have in common computed once."""
    symbols = (symbol(f"{prefix}{i}_") for i in range(10_000))
    shared, reduced = sp.cse(list(expressions), symbols=symbols, order="none")
    return [f"    {name} = {show(e)}" for name, e in (*shared, *zip(targets, reduced, strict=True))]

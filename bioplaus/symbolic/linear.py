"""Equations that are linear in the states, with coefficients that hold still during a step; what ``method="exact"`` integrates.

Inputs are constant during a step. What they enter as, φ (an input, a function of inputs, or 1), stays apart from the states::

    (1)  dx/dt = A x + B φ
    (2)  x(t + dt) = Φ x(t) + Γ φ,        [Φ Γ; 0 1] = exp(dt [A B; 0 0])

The step is written in the entries of Φ and Γ, by name. Their values are those of Brian2's closed form as long as it gives the
matrix exponential's (`bioplaus.codegen.propagated`): where two time constants of a chain are equal but for rounding, the closed
form divides two roundings by each other.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import sympy as sp

from bioplaus.symbolic.text import names, substituted, symbol

Rows = tuple[tuple[sp.Expr, ...], ...]

#: chosen: with four states behind one another sympy takes seconds for the closed form, and minutes for a loop through three
LONGEST = 3


@dataclass(frozen=True)
class Propagator:
    """Equations (1), and the names under which the entries of Φ and Γ enter the step (2).

    ``closed`` holds the entries as Brian2's closed form has them; it is empty where that was not asked for, or is not known.
    """

    states: tuple[str, ...]
    drives: tuple[sp.Expr, ...]  # φ
    A: Rows
    B: Rows
    regime: str = ""  # tells the names of one propagator from those of another in the same cell
    closed: Mapping[str, sp.Expr] = field(default_factory=dict)

    @property
    def entries(self) -> dict[str, tuple[int, int]]:
        """Names of the entries of [Φ Γ] that are not zero whatever the parameters are → row, column."""
        n, m = len(self.states), len(self.drives)
        reach = _reach(self.A)
        driven = reach @ np.array([[e != 0 for e in row] for row in self.B], dtype=bool).reshape(n, m)
        there = np.hstack([reach, driven])
        return {
            f"{self.regime}phi{i}_{j}_" if j < n else f"{self.regime}gamma{i}_{j - n}_": (i, j)
            for i, j in zip(*map(np.ndarray.tolist, np.nonzero(there)), strict=True)
        }

    def step(self) -> dict[str, sp.Expr]:
        """(2): new states in old ones, inputs and named entries."""
        columns = (*map(symbol, self.states), *self.drives)
        terms: list[list[sp.Expr]] = [[] for _ in self.states]
        for name, (i, j) in self.entries.items():
            terms[i].append(symbol(name) * columns[j])
        return {s: sp.Add(*some) for s, some in zip(self.states, terms, strict=True)}

    @property
    def simple(self) -> bool:
        """Whether a closed form is worth asking for: short chains without loops, inputs that enter as they are."""
        reach = _reach(self.A)
        loops = (reach & reach.T & ~np.eye(len(reach), dtype=bool)).any()
        return not loops and reach.sum(1).max() <= LONGEST and all(e.is_Symbol or e == 1 for e in self.drives)

    @property
    def together(self) -> list[tuple[str, ...]]:
        """The states that are solved together: each with all that move it, unless those are part of others' so."""
        sets = {frozenset(np.flatnonzero(row).tolist()) for row in _reach(self.A)}
        largest = sorted(sorted(some) for some in sets if not any(some < other for other in sets))
        return [tuple(self.states[i] for i in some) for some in largest]

    def with_closed(self, step: Mapping[str, sp.Expr]) -> Propagator:
        """The same, knowing the step in closed form."""
        columns = (*map(symbol, self.states), *self.drives)
        still: dict[sp.Symbol, sp.Expr] = {c: sp.Integer(0) for c in columns if isinstance(c, sp.Symbol)}

        def entry(e: sp.Expr, c: sp.Expr) -> sp.Expr:
            return sp.diff(e, c) if isinstance(c, sp.Symbol) else substituted(e, still)

        found = {name: entry(step[self.states[i]], columns[j]) for name, (i, j) in self.entries.items()}
        return replace(self, closed=found)


def propagator(rates: Mapping[str, sp.Expr], moving: Collection[str], regime: str = "") -> Propagator | None:
    """Equations (1) of these rates of change, or None where they are not linear.

    Parameters
    ----------
    rates : state → dx/dt, in states, inputs and parameters.
    moving : the names, other than the states, that have another value in another step.
    """
    states = [symbol(s) for s in rates]
    A = tuple(tuple(sp.expand_mul(sp.diff(e, s)) for s in states) for e in rates.values())
    if any(names(e) & {*rates, *moving} for row in A for e in row):
        return None
    nothing: dict[sp.Symbol, sp.Expr] = {s: sp.Integer(0) for s in states}
    parts = [_parts(substituted(e, nothing), moving) for e in rates.values()]
    drives = tuple(sorted(set().union(*parts), key=lambda e: (e == 1, not e.is_Symbol, str(e))))
    B = tuple(tuple(part.get(d, sp.Integer(0)) for d in drives) for part in parts)
    return Propagator(tuple(rates), drives, A, B, regime)


def divisors(expressions: Iterable[sp.Expr], moving: Collection[str]) -> set[sp.Expr]:
    """What is divided by, may be zero, and contains a name of ``moving``: J + 1 in g/(tau*(1 + J)), nothing in g/(1 + exp(-J))."""
    bases = {p.base for e in expressions for p in e.atoms(sp.Pow) if p.exp.could_extract_minus_sign()}
    found = {f for b in bases for f, _ in sp.factor_list(sp.fraction(sp.together(b))[0])[1] if names(f) & {*moving}}
    return {f for f in found if not f.is_nonzero}


def _parts(e: sp.Expr, moving: Collection[str]) -> dict[sp.Expr, sp.Expr]:
    """A sum as what moves → the coefficient it has."""
    held = [symbol(name) for name in moving]
    found: dict[sp.Expr, sp.Expr] = {}
    for term in sp.Add.make_args(sp.expand_mul(e)):
        coefficient, drive = term.as_independent(*held, as_Add=False)
        if coefficient != 0:
            found[drive] = found.get(drive, sp.Integer(0)) + coefficient
    return {drive: c for drive, c in found.items() if c != 0}


def _reach(A: Rows) -> np.ndarray:
    """Whether state j moves state i, at once or through others; every state moves itself."""
    n = len(A)
    reach = np.eye(n, dtype=bool) | np.array([[e != 0 for e in row] for row in A], dtype=bool)
    for _ in range(n):
        reach = reach @ reach
    return reach

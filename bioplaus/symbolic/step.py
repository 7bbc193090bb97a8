"""The step of a cell, whatever it was written as."""

from __future__ import annotations

from dataclasses import dataclass

import sympy as sp
from brian2.units.fundamentalunits import Dimension

from bioplaus.symbolic.linear import Propagator


@dataclass(frozen=True)
class Step:
    """``new[x]`` is the new state x in terms of old states, inputs, parameters and dt (and, in a discrete map, the last output).

    ``refractory[x]`` is the new x of a refractory neuron, where that is another expression: the old x if x is marked
    ``(unless refractory)``; for other variables what a step gives while the marked ones stand still.

    ``propagators`` have the names in ``new`` and ``refractory`` that are no parameters: of linear equations, integrated exactly.
    """

    new: dict[str, sp.Expr]
    refractory: dict[str, sp.Expr]
    dimensions: dict[str, Dimension]
    propagators: tuple[Propagator, ...] = ()

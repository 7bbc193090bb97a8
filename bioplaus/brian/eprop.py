"""e-prop's traces as Brian2 text: what a neuron must know of its own step, and what a synapse makes of it.

The recursion is that of `bioplaus.eligibility.traces`, of a synapse onto channel k of its neuron::

    du_i = Σ_m F_im s_m + E_i e + G_ik pre;    e = Σ_i ψ_i du_i;    s_m = Σ_i Ru_mi du_i + ry_m e;    ē = κ ē + (1 − κ) e

and its coefficients are the neuron's partials, derived from the cell's equations. They are plain numbers in SI units, so that states are
copied without theirs, each before Brian2 overwrites it::

    start          y_last = the newest output;  receptive = not refractory;   before jumps, if there are any,
                   old_s = s;
    before_groups  or here;  in_k = what has arrived                          once currents have been collected
    after_groups   new_s = s, before the reset destroys it;  active = not refractory;  then all entries without y
    after_resets   entries with y: what the reset does
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import sympy as sp
from brian2 import Function
from brian2.parsing.sympytools import sympy_to_str

from bioplaus.brian.names import Names
from bioplaus.circuit.wiring import Wiring
from bioplaus.codegen.folded import entries
from bioplaus.codegen.partials import Partials
from bioplaus.codegen.plans import plan
from bioplaus.eligibility import RFLO, Eligibility
from bioplaus.eligibility.rflo import leak_alone
from bioplaus.symbolic.derive import ACTIVE, HELD, LAST, NOW, RECEPTIVE
from bioplaus.symbolic.functions import NUMPY, exprel_slope, for_brian
from bioplaus.symbolic.text import substituted, symbol

#: functions in partials that Brian2 lacks
LACKING = {exprel_slope.__name__: Function(NUMPY["exprel_slope"], arg_units=[1], return_unit=1)}


@dataclass
class Local:
    """What the neurons of one population tell their synapses.

    Attributes
    ----------
    part : the partials that traces follow; an entry is None where it is zero, else its text as a synapse reads it.
    model : variables of a neuron.
    numbers, fields : constants by name, one for all neurons, and one for each.
    code : slot → statements.
    """

    part: Partials
    model: list[str] = field(default_factory=list)
    numbers: dict[str, float] = field(default_factory=dict)
    fields: dict[str, np.ndarray] = field(default_factory=dict)
    code: dict[tuple[str, int], list[str]] = field(default_factory=dict)


def local(p: Wiring, states: Mapping[str, str], called: Names, past: Eligibility, every: bool = False) -> Local:
    """Of one population.

    Parameters
    ----------
    states : unit of every state.
    called : what its variables are called.
    past : e-prop or RFLO.
    every : keep all states before and after the integrator, asked for or not.
    """
    folded = p.kernel.folded
    scalars = {name: float(value) for name, value in folded.numbers.items() if not value.ndim}
    part = Partials(*(_known(each, scalars) for each in folded.partials.of_output()))
    part = leak_alone(part) if isinstance(past, RFLO) else part
    found = Local(part, numbers=scalars)

    copies = {LAST: "y_last_", HELD: "y_last_", RECEPTIVE: "receptive_", ACTIVE: "active_", NOW: called.said[0][0]}
    taken = {"y_last_": ("start", called.said[0][0]), "receptive_": ("start", "int(not_refractory)"), "active_": ("after_groups", "int(not_refractory)")}  # fmt: skip
    jumps = len(called.jump)
    held = len(folded.derived.inputs) - jumps
    before = "start" if jumps else "before_groups"  # they are added to states between the two
    for s, new, (name, unit) in zip(folded.old, folded.new, states.items(), strict=True):
        copies |= {s: f"old_{name}_", new: f"new_{name}_"}
        whole = name if unit == "1" else f"{name}/({unit})"
        taken |= {f"old_{name}_": (before, whole), f"new_{name}_": ("after_groups", whole)}
    for k, channel in enumerate(folded.derived.inputs):
        if k < held:
            copies[symbol(channel)] = f"in_{channel}_"
            taken[f"in_{channel}_"] = ("before_groups", f"{channel}/{called.unit[k]}")
        else:
            copies[symbol(channel)] = called.jump[channel.removeprefix("jump_")]  # a plain number that stays
    copies |= {symbol(xi): xi for xi in folded.derived.noises}

    moving = [e for e in entries(tuple(part)) if isinstance(e, sp.Expr)]
    wanted = {name for s, name in copies.items() if any(s in e.free_symbols for e in moving)} & set(taken)
    if every:
        wanted |= {name for name in taken if name.startswith(("old_", "new_"))}
    for name in sorted(wanted):
        slot, value = taken[name]
        found.model.append(f"{name} : 1")
        found.code.setdefault((slot, 1), []).append(f"{name} = {value}")
    renamed = {s: symbol(name) for s, name in copies.items()}
    for e in dict.fromkeys(moving):
        name = f"entry{len(found.model)}_"
        found.model.append(f"{name} : 1")
        slot = ("after_resets", 0) if NOW in e.free_symbols else ("after_groups", 2)
        found.code.setdefault(slot, []).append(f"{name} = {sympy_to_str(for_brian(substituted(e, renamed)))}")
        part = _replaced(part, e, f"{name}_post")
    used = {str(s) for e in moving for s in e.free_symbols}
    found.fields = {name: value for name, value in folded.numbers.items() if value.ndim and name in used}
    found.model += [f"{name} : 1 (constant)" for name in found.fields]
    found.part = part
    return found


def _known(e: Any, scalars: Mapping[str, float]) -> Any:
    """Zero as None, and what is the same for all neurons at all times as a number."""
    if isinstance(e, tuple):
        return tuple(_known(inner, scalars) for inner in e)
    if e == 0:
        return None
    names = sorted(e.free_symbols, key=str)
    if not {s.name for s in names} <= set(scalars):
        return e
    value = float(sp.lambdify(names, e, [NUMPY, np])(*(scalars[s.name] for s in names)))
    return value if value else None


def _replaced(part: Any, e: sp.Expr, text: str) -> Any:
    if isinstance(part, tuple):
        inner = [_replaced(each, e, text) for each in part]
        return type(part)(*inner) if hasattr(part, "_make") else tuple(inner)
    return text if part == e else part


@dataclass
class Rows:
    """Variables of a synapse and the statements of its trace, and which of them meets the neuron's credit."""

    model: list[str]
    code: list[str]
    numbers: dict[str, float]
    met: str


def rows(part: Partials, k: int, pre: str, filtered: bool) -> Rows:
    """The trace of a synapse onto channel ``k``, which hears ``pre``; behind a leaky readout it is ``filtered``.

    Constants are handed over by name: Brian2 may print numbers with fewer digits than they have.
    """
    chosen = plan(part, k)
    reached = sorted({*chosen.shared, *chosen.own})
    S, numbers = range(len(part.psi)), {}

    def name(entry: Any) -> str:
        if isinstance(entry, str):
            return entry
        numbers.setdefault(entry, f"c{k}_{len(numbers)}_")
        return numbers[entry]

    def total(products: Iterable[tuple[Any, str]]) -> str:
        terms = [m if entry == 1.0 else f"{name(entry)}*{m}" for entry, m in products if entry is not None]
        return " + ".join(terms) or "0"

    crosses = [m for m in S if any(part.F[i][m] is not None for i in reached)]
    stored = [m for m in crosses if part.ry[m] is not None or any(part.Ru[m][j] is not None for j in reached)]
    output = any(part.E[i] is not None for i in reached)
    e, bar = f"e{k}_", f"bar{k}_"
    du, s = {i: f"du{k}_{i}_" for i in reached}, {m: f"s{k}_{m}_" for m in stored}
    code = []
    for i in reached:
        last = [(part.E[i], e)] if output else []
        code.append(f"{du[i]} = {total([*((part.F[i][m], s[m]) for m in stored), *last, (part.G[i][k], pre)])}")
    code.append(f"{e} = {total((part.psi[i], du[i]) for i in reached)}")
    code += [f"{s[m]} = {total([*((part.Ru[m][i], du[i]) for i in reached), (part.ry[m], e)])}" for m in stored]
    if filtered:
        code.append(f"{bar} = kappa_*{bar} + (1 - kappa_)*{e}")
    model = [f"{each} : 1" for each in (*s.values(), e, *([bar] if filtered else []))]
    return Rows(model, code, {name: value for value, name in numbers.items()}, bar if filtered else e)

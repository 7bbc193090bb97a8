"""From a `Cell` to its derived expressions: its texts are read once, checked, integrated and differentiated."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import sympy as sp

from bioplaus.errors import CellError
from bioplaus.symbolic import validate
from bioplaus.symbolic.derive import RECEPTIVE, Derived, derive
from bioplaus.symbolic.discrete import iterate
from bioplaus.symbolic.integrate import integrate
from bioplaus.symbolic.noise import normal
from bioplaus.symbolic.parsed import Parsed, parse
from bioplaus.symbolic.step import Step
from bioplaus.symbolic.text import substituted, symbol
from bioplaus.symbolic.units import unit_text

if TYPE_CHECKING:
    from bioplaus.cell import Cell


class Compiled(NamedTuple):
    """What a cell keeps: its texts as they were read, its step with partials, and the SI unit of every state."""

    parsed: Parsed
    derived: Derived
    units: dict[str, str]


def compiled(cell: Cell) -> Compiled:
    """Read, check, integrate, differentiate.

    Raises
    ------
    CellError
        For the first thing that cannot be read or makes no sense.
    """
    try:
        return _compiled(cell)
    except RecursionError:
        raise CellError(
            f"In the texts of the cell '{cell.name or 'unnamed'}' more operations stand inside one another than sympy can follow. Write them shorter, "
            "such as a fraction in a fraction as one fraction, or give parts of them names in equations= or update=."
        ) from None


def _compiled(cell: Cell) -> Compiled:
    parsed = parse(cell)
    step = iterate(cell, parsed) if parsed.equations is None else integrate(cell, parsed.equations, parsed.words)
    validate.step(cell, step.new)
    validate.observed(cell, parsed, step.dimensions)
    return Compiled(parsed, _derived(cell, parsed, step), {s: unit_text(d) for s, d in step.dimensions.items()})


def _derived(cell: Cell, parsed: Parsed, step: Step) -> Derived:
    # one unit of weight gives one `scale` of current; the weights themselves stay plain numbers
    scaled = {symbol(k): symbol(f"unit_{k}") * symbol(k) for k in cell.inputs if cell.scales[k] != 1}
    f = {s: substituted(e, scaled) for s, e in step.new.items()}
    inputs, noises = tuple(cell.inputs), tuple(map(normal, parsed.noises))
    jumps = {}
    for s in cell.jumps:
        unit = symbol(f"unit_{s}") if cell.scales[s] != 1 else sp.Integer(1)
        marked = parsed.equations is not None and "unless refractory" in parsed.equations[s].flags
        jumps[s] = unit * RECEPTIVE if marked else unit
    sends = {name: e.value for name, e in parsed.sends.items()}
    if parsed.output is not None:
        return derive(
            f=f,
            inputs=inputs,
            output=parsed.output.value,
            spiking=False,
            jumps=jumps,
            noises=noises,
            propagators=step.propagators,
            sends=sends,
        )
    assert parsed.spike is not None and parsed.surrogate is not None  # as Cell has seen to
    spike, (height, width) = parsed.spike, parsed.surrogate
    return derive(
        f=f,
        inputs=inputs,
        output=spike.left.value - spike.right.value,
        spiking=True,
        surrogate=height.value,
        width=width.value,
        gate=spike.gate,
        floor=spike.floor,
        closed=spike.closed,
        reset=parsed.reset,
        reset_variables=frozenset(spike.left.names),
        differentiate=frozenset(cell.differentiate),
        refractory={s: substituted(e, scaled) for s, e in step.refractory.items()},
        jumps=jumps,
        noises=noises,
        propagators=step.propagators,
        sends=sends,
        waits=parsed.refractory.value if parsed.refractory is not None and parsed.refractory.condition else None,
    )

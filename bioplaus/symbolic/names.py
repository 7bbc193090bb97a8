"""What a state, an input channel or a parameter may be called."""

from __future__ import annotations

import re
from collections.abc import Iterable
from keyword import iskeyword
from typing import TYPE_CHECKING

from brian2.core.functions import DEFAULT_CONSTANTS, DEFAULT_FUNCTIONS
from brian2.core.namespace import DEFAULT_UNITS

from bioplaus.errors import CellError, cut
from bioplaus.symbolic.functions import OURS
from bioplaus.symbolic.noise import NOISE, normal

if TYPE_CHECKING:
    from bioplaus.cell import Cell

STATE, CHANNEL, PARAMETER = "a state variable", "an input channel", "a parameter"
# what a name would be mistaken for: words of Brian2 and of our notation, and (states and channels) of the generated source
TAKEN = {"t", "dt", "i", "N", "lastspike", "not_refractory", "t_in_timesteps", "y_now", "y_last", "y_cut", "y_held", "receptive", "surrogate_height", "surrogate_margin"}  # fmt: skip
_SOURCE = {"states", "currents", "spike", "fired", "cut", "margin", "get", "torch", "constant", "heaviside", "softplus", "larger", "smaller", "exprel_slope"}  # fmt: skip
_GENERATED = re.compile(r"[a-z]+(\d+_)+")


def check(cell: Cell, states: Iterable[str], words: Iterable[str]) -> None:
    """Refuse names that mean something else already, or two things at once; of the parameters, those among ``words``."""
    states = tuple(states)
    kinds = {STATE: states, CHANNEL: tuple(cell.inputs), PARAMETER: tuple(sorted({*cell.parameters} & {*words}))}
    generated = {f"{head}_{s}" for s in states for head in ("u", "new")} | {f"unit_{k}" for k in cell.channels}
    generated |= {f"jump_{s}" for s in cell.jumps} | {normal(word) for word in words if NOISE.fullmatch(word)}
    seen: dict[str, str] = {}
    for name, kind in ((name, kind) for kind, some in kinds.items() for name in some):
        if name in seen:
            raise CellError(f"'{cut(name)}' is both {seen[name]} and {kind} of the cell. Rename one of them.")
        seen[name] = kind
        if meaning := _meaning(name, kind, not cell.continuous, generated):
            raise CellError(
                f"'{cut(name)}' can't be the name of {kind}: it already means {meaning}. Choose another name, such as {name}_0"
                + (", or leave it out of parameters= to mean that." if name == "dt" and kind == PARAMETER else ".")
            )
        if iskeyword(name):
            raise CellError(
                f"'{cut(name)}' can't be the name of {kind}: it is a word of Python. Choose another name, such as {name}_0."
            )
        if not name.isidentifier() or name.startswith("_") or not name.isascii():
            raise CellError(
                f"'{cut(name)}' can't be the name of {kind}: use the letters a to z, digits and underscores, and start with a letter."
            )


def _meaning(name: str, kind: str, discrete: bool, generated: set[str]) -> str:
    """What a name means already; empty where it is free."""
    taken = name in TAKEN | generated or _GENERATED.fullmatch(name) or (name in _SOURCE and kind != PARAMETER)
    meanings = {
        "the neuron's own last output": name == "y" and discrete,
        "the circuit's time step": name == "dt",
        "white noise": bool(NOISE.fullmatch(name)),
        "a constant": name in DEFAULT_CONSTANTS,
        "a function": name in DEFAULT_FUNCTIONS or name in OURS,
        "a unit": name in DEFAULT_UNITS,
        "something else in Brian2 or in generated code": taken,
    }
    return next((meaning for meaning, applies in meanings.items() if applies), "")

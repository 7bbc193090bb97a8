"""Torch source of a cell: its step and its partials.

The source works on tensors of any leading shape: ``(batch, unit)`` for one step, ``(time, batch, unit)`` for a whole
window at once. Constants enter it by name (`bioplaus.codegen.constants`): a float, or one value per neuron.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import count
from typing import TYPE_CHECKING, Any

import numpy as np
import sympy as sp
import torch

from bioplaus.codegen.folded import Folded, assignments, entries, fold
from bioplaus.codegen.kernel import Entry, Kernel
from bioplaus.codegen.source import functions
from bioplaus.codegen.torch_functions import KNOWN
from bioplaus.codegen.torch_printer import TorchPrinter
from bioplaus.symbolic import arguments, refractory
from bioplaus.symbolic.derive import ACTIVE, HELD, LAST, MARGIN, NOW, RECEPTIVE, Derived
from bioplaus.symbolic.text import substituted, symbol
from bioplaus.symbolic.units import plain

if TYPE_CHECKING:
    from bioplaus.cell import Cell

Show = Callable[[Any], str]
FIRED = symbol("fired")  # whether the spike's first comparison holds


def kernel(cell: Cell, n: int, dt: float, dtype: Any, device: Any, derived: Derived | None = None) -> Kernel:
    """Generate and bind the torch source for ``n`` neurons, checking values per neuron against ``n``; ``derived`` in the place of the cell's own expressions."""
    arguments.sizes(cell, n)
    numbers = {k: plain(v) for k, v in cell.constants.items()}
    numbers |= {f"unit_{k}": v for k, v in cell.scales.items()}
    refracts = bool(np.any(refractory.steps(cell, dt)))
    return generate(cell.derived if derived is None else derived, numbers, dt, refracts, dtype, device)


def generate(
    derived: Derived,
    parameters: Mapping[str, Any],
    dt: float,
    refracts: bool,
    dtype: torch.dtype,
    device: torch.device | str,
) -> Kernel:
    """Write and bind the torch source of a cell; parameters as `bioplaus.codegen.folded.fold` takes them."""
    folded = fold(derived, parameters, dt, refracts)
    show = TorchPrinter(folded.numbers).doprint
    needs = _needs(folded)
    parts = [_step(folded, show), _partials(folded, needs, show)]
    if folded.surrogate is not None:
        parts.append(
            [f"def surrogate({MARGIN}):", *assignments(["height"], [folded.surrogate], "h", show), "    return height"]
        )
    if folded.waits is not None:
        lines = [*_unpack("states", folded.old), *_unpack("currents", folded.inputs), f"    {HELD} = {LAST}"]
        lines += assignments(["waits"], [folded.waits], "w", show)
        parts.append([f"def waits(states, currents, {LAST}, {RECEPTIVE}):", *lines, "    return waits"])
    if folded.sends:
        sent = [f"sent{i}" for i, _ in enumerate(folded.sends)]
        lines = [*_unpack("states", folded.old), *assignments(sent, folded.sends, "z", show)]
        parts.append([f"def send(states, {NOW}):", *lines, f"    return ({_tuple(sent)})"])
    source = "\n\n\n".join("\n".join(lines) for lines in parts) + "\n"
    numbers = {
        name: float(values) if values.ndim == 0 else torch.as_tensor(values, dtype=dtype, device=device)
        for name, values in folded.numbers.items()
    }
    known = {**KNOWN, "torch": torch, "constant": _constant}
    made = functions(source, "torch source", **known, **numbers)
    kinds = frozenset(kind for _, kind, _ in needs)
    return Kernel(
        derived,
        folded,
        source,
        made["step"],
        made["partials"],
        made.get("surrogate"),
        kinds,
        made.get("waits"),
        made.get("send"),
    )


def margin(kernel: Kernel, states: Sequence[torch.Tensor]) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """The spike's margin over the surrogate's width, or the rate, of states after the integrator, and its slope in each of them."""
    folded = kernel.folded
    show, names = TorchPrinter(folded.numbers).doprint, [f"slope{i}" for i, _ in enumerate(folded.new)]
    wanted = [folded.output, *(sp.diff(folded.output, u) for u in folded.new)]
    lines = ["def margin(states):", *_unpack("states", folded.new), *assignments(["margin", *names], wanted, "m", show)]
    numbers = {
        name: float(values) if values.ndim == 0 else torch.as_tensor(values).to(states[0])
        for name, values in folded.numbers.items()
    }
    source = "\n".join([*lines, f"    return margin, ({_tuple(names)})"]) + "\n"
    value, slopes = functions(source, "torch source", **KNOWN, torch=torch, **numbers)["margin"](tuple(states))
    zero = torch.zeros_like(states[0])
    return zero + value, [zero + slope for slope in slopes]


def _step(folded: Folded, show: Show) -> list[str]:
    """``def step``: new states, output, states after the reset."""
    d = folded.derived
    wanted = set().union(*(e.free_symbols for e in folded.f))
    u, s = [str(symbol) for symbol in folded.new], [f"new_{state}" for state in d.states]
    if d.spiking:
        output = assignments(["margin"], [folded.output], "m", show)
        output.append(f"    {FIRED} = spike(margin{', True' if d.closed else ''})")
        spike = (folded.floor + folded.gate * FIRED) * (ACTIVE if folded.refractory else 1)
        output += [*assignments(["y_now"], [spike], "y", show), "    y_cut = cut(y_now)"]
    else:
        output = assignments(["y_now"], [folded.output], "m", show)
    # under autograd no gradient runs through the spike into a state that is not differentiated through it
    cut = {NOW: symbol("y_cut")}
    r = [
        e if not d.spiking or state in d.kept else substituted(e, cut)
        for state, e in zip(d.states, folded.r, strict=True)
    ]
    return [
        "def step(states, currents, y_last, not_refractory, spike, cut, receptive=None):",
        *_unpack("states", folded.old),
        *_unpack("currents", folded.inputs),
        *(["    y_held = cut(y_last)"] if HELD in wanted else []),
        *assignments(u, folded.f, "f", show),
        *output,
        *assignments(s, r, "r", show),
        f"    return ({_tuple(u)}), y_now, ({_tuple(s)})",
    ]


def _needs(folded: Folded) -> list[tuple[sp.Symbol, str, int]]:
    """What the partials ask for, of all that they are given."""
    wanted = set().union(*(e.free_symbols for e in entries(folded.partials)))
    return [one for one in folded.given if one[0] in wanted]


def _partials(folded: Folded, needs: Sequence[tuple[sp.Symbol, str, int]], show: Show) -> list[str]:
    """``def partials``: nested tuples; what varies is computed, what does not is a constant, and None where it is zero."""
    moving: dict[str, sp.Expr] = {}

    def written(part: Any, names: Iterator[str]) -> str:
        if isinstance(part, tuple):
            return f"({_tuple(written(inner, names) for inner in part)})"
        name = next(names)
        if folded.moves(part):
            moving[name] = part
            return name
        return "None" if part == 0 else f"constant({show(part)})"

    parts = folded.partials._asdict().items()
    returned = ", ".join(written(nested, (f"{part}_{i}" for i in count())) for part, nested in parts)
    return [
        "def partials(get):",
        *(f"    {symbol} = get({kind!r}, {i})" for symbol, kind, i in needs),
        *assignments(list(moving), list(moving.values()), "p", show),
        f"    return {returned}",
    ]


def _constant(value: Any) -> Entry:
    """A constant entry: nothing at all where it is zero."""
    if isinstance(value, torch.Tensor):
        return value
    return None if value == 0 else float(value)


def _tuple(parts: Iterable[object]) -> str:
    return "".join(f"{p}, " for p in parts)


def _unpack(name: str, symbols: Sequence[sp.Symbol]) -> list[str]:
    return [f"    {_tuple(symbols)}= {name}"] if symbols else []

"""How far a membrane is beyond its threshold, and beyond the threshold's mirror image below rest.

    p = [v − A]₊² + [2 v₀ − A − v]₊²,      A the threshold as it is, v₀ where the membrane starts

v, A and the other states are as the integrator leaves them, before the reset: what the threshold sees. A may depend on states
(adaptation), and p is differentiated through it as well.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import sympy as sp
import torch

from bioplaus.codegen.constants import Constants
from bioplaus.codegen.folded import assignments
from bioplaus.codegen.source import functions
from bioplaus.codegen.torch_printer import TorchPrinter
from bioplaus.symbolic.derive import after
from bioplaus.symbolic.text import substituted, symbol
from bioplaus.symbolic.units import plain

if TYPE_CHECKING:
    from torch import Tensor

    from bioplaus.cell import Cell

#: from the states u to p and to ∂p/∂u, None where that is always zero
Beyond = Callable[[Sequence["Tensor"]], tuple["Tensor", tuple["Tensor | None", ...]]]


def membrane(cell: Cell) -> str | None:
    """The state that is held against a threshold, if the spike condition is of that form: ``v > threshold``."""
    if cell.parsed.spike is None:
        return None
    left = cell.parsed.spike.left.value
    return next((s for s in cell.states if left == symbol(s)), None)


@lru_cache
def beyond(cell: Cell, dt: float, dtype: torch.dtype, device: torch.device) -> Beyond:
    """The two functions of a cell that has a `membrane`, as generated source."""
    name = membrane(cell)
    assert name is not None and cell.parsed.spike is not None
    states, to_u = [after(s) for s in cell.states], {symbol(s): after(s) for s in cell.states}
    v, A, rest = after(name), substituted(cell.parsed.spike.right.value, to_u), symbol("where_the_membrane_starts_")
    values: dict[str, Any] = {k: plain(x) for k, x in cell.constants.items()} | {"dt": dt}
    values[rest.name] = plain(cell.start.get(name, 0.0))
    constants = Constants(frozenset(states), values)
    wanted = (v - A, 2 * rest - A - v, *(sp.diff(A, u) for u in states))
    above, below, *slopes = [constants.fold(constants.tidy(sp.sympify(e))) for e in wanted]
    numbers = {n: np.asarray(x, dtype=float) for n, x in constants.numbers().items()}
    show = TorchPrinter(numbers).doprint
    up, low, own = symbol("above"), symbol("below"), [int(u == v) for u in states]
    each = [2 * (up * (mine - slope) + low * (-mine - slope)) for mine, slope in zip(own, slopes, strict=True)]
    lines = [
        "def beyond(u):",
        f"    {''.join(f'{s}, ' for s in states)}= u",
        *assignments(["above", "below"], [above, below], "b", show),
        "    above, below = torch.relu(above), torch.relu(below)",
        f"    return above**2 + below**2, ({''.join(f'{show(e) if e != 0 else None}, ' for e in each)})",
    ]
    bound = {n: float(x) if x.ndim == 0 else torch.as_tensor(x, dtype=dtype, device=device) for n, x in numbers.items()}
    return functions("\n".join(lines) + "\n", "torch source", torch=torch, **bound)["beyond"]

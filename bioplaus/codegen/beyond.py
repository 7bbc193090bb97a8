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
    left = cell.parsed.spike[0].value
    return next((s for s in cell.states if left == symbol(s)), None)


@lru_cache
def beyond(cell: Cell, dt: float, dtype: torch.dtype, device: torch.device) -> Beyond:
    """The two functions of a cell that has a `membrane`, as generated source."""
    name = membrane(cell)
    assert name is not None and cell.parsed.spike is not None
    states = [after(s) for s in cell.states]
    v, A = after(name), substituted(cell.parsed.spike[1].value, {symbol(s): after(s) for s in cell.states})
    values: dict[str, Any] = {k: plain(x) for k, x in cell.parameters.items()} | {"dt": dt}
    constants = Constants(frozenset(states), values)
    ready = lambda e: constants.fold(constants.tidy(sp.sympify(e)))  # noqa: E731
    rest = plain(cell.start.get(name, 0.0))
    upper, lower = ready(v - A), ready(2 * symbol("rest") - A - v) if np.any(rest) else ready(-A - v)
    slopes = [ready(sp.diff(A, u)) for u in states]
    values["rest"] = rest
    numbers = {n: np.asarray(x, dtype=float) for n, x in constants.numbers().items()}
    show = TorchPrinter(numbers).doprint
    up, low = ["upper", "lower"]
    returned = []
    for u, slope in zip(states, slopes, strict=True):
        own = 1 if u == v else 0
        e = sp.Symbol(up) * (own - slope) + sp.Symbol(low) * (-own - slope)
        returned.append("None" if e == 0 else f"2*({show(e)})")
    source = "\n".join(
        [
            "def beyond(u):",
            f"    {''.join(f'{s}, ' for s in states)}= u",
            *assignments([up, low], [upper, lower], "b", show),
            f"    {up}, {low} = torch.relu({up}), torch.relu({low})",
            f"    return {up}**2 + {low}**2, ({''.join(f'{e}, ' for e in returned)})",
        ]
    )
    bound = {n: float(x) if x.ndim == 0 else torch.as_tensor(x, dtype=dtype, device=device) for n, x in numbers.items()}
    return functions(source + "\n", "torch source", torch=torch, **bound)["beyond"]

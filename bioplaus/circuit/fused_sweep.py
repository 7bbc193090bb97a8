"""The reverse sweep inside each neuron as a fused loop (`bioplaus.codegen.reverse_source`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from bioplaus.circuit.credit import Credit, silent
from bioplaus.codegen import compiled, threads
from bioplaus.codegen.reverse_source import reverse

if TYPE_CHECKING:
    from torch import Tensor

    from bioplaus.circuit.tangent import Tangent


#: of a neuron's step back  # measured: about 5 ns
OPERATIONS = 15


def patterned(part: Any, flat: int, batch: int) -> tuple[Any, list[np.ndarray]]:
    """Nested entries as a pattern, and the arrays that vary, (time or 1, batch · unit)."""
    arrays: list[np.ndarray] = []

    def walk(e: Any) -> Any:
        if isinstance(e, tuple):
            return tuple([walk(inner) for inner in e])
        if not isinstance(e, torch.Tensor):
            return e
        moves = e.dim() == 3
        wide = e if e.shape[-2:] == (batch, flat // batch) else e.expand(*e.shape[:-2], batch, flat // batch)
        arrays.append(wide.reshape(-1, flat).contiguous().numpy())
        return len(arrays) - 1, moves

    return walk(tuple(part)), arrays


def fused_sweep(
    tangent: Tangent, direct: Credit, end: Credit | None
) -> tuple[tuple[Tensor | None, ...], Credit] | None:
    """Credit for the currents at every step, and for h before the first; None where there is credit of a kind that no loop is written for."""
    network, after = tangent.network, end if end is not None else silent(tangent.network)
    for credit in (direct, after):
        if any(a is not None for ages in credit.y for a in ages[1:]):
            return None
    if any(a is not None for s in direct.s for a in s) or any(a is not None for u in after.u for a in u):
        return None
    found = [_population(tangent, p, direct, after) for p, _ in enumerate(network.populations)]
    start = silent(network)._replace(
        s=tuple(each.s for each in found),
        y=tuple((each.y, *(None,) * (p.slots - 1)) for each, p in zip(found, network.populations, strict=True)),
        filtered=tuple(each.filtered for each in found) if network.kappa else (),
    )
    return tuple(each.I for each in found), start


class _Swept(NamedTuple):
    """Of one population: credit for its currents at every step, and for its part of h before the first."""

    I: Tensor | None
    s: tuple[Tensor | None, ...]
    y: Tensor | None
    filtered: Tensor | None


def _population(tangent: Tangent, p: int, direct: Credit, after: Credit) -> _Swept:
    network, wiring = tangent.network, tangent.network.populations[p]
    T, B = tangent.stretch.x.shape[:2]
    S, n, flat = len(wiring.start), wiring.size, B * wiring.size
    told, seen, inner = direct.y[p][0], direct.filtered[p] if direct.filtered else None, direct.u[p]
    left_s, left_y, left_f = after.s[p], after.y[p][0], after.filtered[p] if after.filtered else None
    leaky = seen is not None or left_f is not None
    if all(a is None for a in (told, seen, left_y, left_f, *inner, *left_s)):
        return _Swept(None, (None,) * S, None, None)
    zero = torch.zeros(B, n, dtype=network.dtype)
    kind = zero.numpy().dtype
    pattern, arrays = patterned(tangent.partials[p].of_output(), flat, B)
    text, numbers = reverse(pattern, (told is not None, leaky, tuple(a is not None for a in inner)))
    a = torch.stack([zero if each is None else each for each in left_s]) if S else zero.new_zeros(0, B, n)
    ay, af = (zero.clone() if each is None else each.clone() for each in (left_y, left_f))
    out = torch.empty(wiring.channels, T, B, n, dtype=network.dtype)

    def rows(e: Tensor | None) -> np.ndarray:
        return np.zeros((1, 1), dtype=kind) if e is None else e.expand(T, B, n).reshape(T, flat).contiguous().numpy()

    given = (
        np.array(numbers, dtype=kind), kind.type(network.kappa), 0, flat, T, tuple(arrays) or (rows(None),), rows(told),
        np.zeros((T, flat), dtype=kind) if leaky and seen is None else rows(seen), tuple(map(rows, inner)) or (rows(None),),
        a.view(S, flat).numpy(), ay.view(flat).numpy(), af.view(flat).numpy(), out.view(wiring.channels, T, flat).numpy(),
    )  # fmt: skip
    threads.run(compiled.function(text, "reverse0_", str(kind)), given, 2, flat, OPERATIONS * out.numel())
    I = out[0] if wiring.channels == 1 else out.movedim(0, 2).flatten(-2)
    s = tuple(each if live else None for each, live in zip(a, wiring.live, strict=True))
    return _Swept(I, s, ay, af if leaky else None)

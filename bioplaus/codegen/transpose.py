"""The transpose of one population's step, written out for the zeros and constants its partials have.

For every pattern of partials (structurally zero, constant, varying) three straight-line functions are generated and kept::

    to_u(P, s, y, *z) → u  y += Σ ry·s + Σ zy·z;   u_j = Σ_k Ru_kj s_k + Σ_v Zu_vj z_v + ψ_j y
    to_h(P, u) → s, y      s_j = Σ_k F_kj u_k;   y = Σ_k E_k u_k
    currents(P, u) → I     I_k = Σ_i G_ik u_i, channels side by side

where s, y, z, u, I are credits (row vectors), P holds the varying partials, and what is not there is None. They run once per
step of every reverse sweep, so nothing is looked up and nothing multiplied by zero or one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from bioplaus.codegen.partials import Partials
from bioplaus.codegen.source import functions

if TYPE_CHECKING:
    from torch import Tensor


class Transpose(NamedTuple):
    """Generated functions for one pattern of partials."""

    to_u: Callable[..., tuple[Tensor | None, ...]]
    to_h: Callable[..., tuple[tuple[Tensor | None, ...], Tensor | None]]
    currents: Callable[..., Tensor | None]
    source: str


def varying(e: Any) -> list[Tensor]:
    """The tensors among nested entries, in order."""
    if isinstance(e, tuple):
        return [t for inner in e for t in varying(inner)]
    return [e] if isinstance(e, torch.Tensor) else []


def transpose(part: Partials, live: Sequence[bool]) -> Transpose:
    """The functions for these partials; ``live`` tells which states cross into the next step."""
    return _generate(_pattern(part), tuple(live))


def _pattern(e: Any) -> Any:
    if isinstance(e, tuple):
        return tuple(map(_pattern, e))
    return "varying" if isinstance(e, torch.Tensor) else e


@cache
def _generate(pattern: Any, live: tuple[bool, ...]) -> Transpose:
    count = 0

    def name(e: Any) -> Any:
        nonlocal count
        if isinstance(e, tuple):
            return tuple(map(name, e))
        if e != "varying":
            return e
        count += 1
        return f"P{count - 1}"

    F, E, G, psi, Ru, ry, Zu, zy = name(pattern)
    S, K, V = range(len(psi)), range(len(G[0])), range(len(zy))
    held = "".join(f"P{i}, " for i in range(count))
    unpack = f"    {held}= P\n" if count else ""
    sent = {j: [(f"z{v}", Zu[v][j]) for v in V] for j in S}
    into = {j: _sum([(f"s{k}", Ru[k][j]) for k in S if live[k]] + sent[j] + [("y", psi[j])]) for j in S}
    u = [f"u{j}" if into[j] else "None" for j in S]
    reached = [k for k in S if into[k]]
    out = {j: _sum([(f"u{k}", F[k][j]) for k in reached]) if live[j] else "" for j in S}
    channels = [_sum([(f"u{i}", G[i][k]) for i in reached]) for k in K]
    given = next((c for c in channels if c), "")
    side_by_side = ", ".join(c or "zero" for c in channels)
    if given and len(K) > 1:
        lines = (
            f"    zero = torch.zeros_like({given})\n" if "" in channels else ""
        ) + f"    return torch.cat(({side_by_side}), -1)\n"
    else:
        lines = f"    return {given or None}\n"
    source = (
        f"def to_u(P, s, y{''.join(f', z{v}' for v in V)}):\n{unpack}    {''.join(f's{k}, ' for k in S)}= s\n"
        f"    y = {_sum([('y', 1.0)] + [(f's{k}', ry[k]) for k in S if live[k]] + [(f'z{v}', zy[v]) for v in V])}\n"
        + "".join(f"    u{j} = {into[j]}\n" for j in reached)
        + f"    return ({''.join(f'{j}, ' for j in u)})\n\n\n"
        f"def to_h(P, u):\n{unpack}    {''.join(f'u{k}, ' for k in S)}= u\n"
        f"    return ({''.join(f'{out[j] or None}, ' for j in S)}), {_sum([(f'u{k}', E[k]) for k in reached]) or None}\n\n\n"
        f"def currents(P, u):\n{unpack}    {''.join(f'u{k}, ' for k in S)}= u\n{lines}"
    )
    made = functions(source, "transpose", torch=torch)
    return Transpose(made["to_u"], made["to_h"], made["currents"], source)


def _sum(terms: list[tuple[str, Any]]) -> str:
    """Σ variable·coefficient as nested torch calls, one operation a term; empty where there is none."""
    total = ""
    for variable, c in sorted((t for t in terms if t[1] is not None), key=lambda t: t[1] != 1.0):
        if not total:
            total = variable if c == 1.0 else f"{variable} * {c}"
        elif isinstance(c, float):
            total = f"torch.add({total}, {variable})" if c == 1.0 else f"torch.add({total}, {variable}, alpha={c!r})"
        else:
            total = f"torch.addcmul({total}, {variable}, {c})"
    return total

"""Text of the transpose of a step inside the neuron, fused over time: the sweep that e-prop's window schedule is.

For every step backwards, neuron by neuron, as `bioplaus.circuit.sweep` has it for one::

    a_ȳ += credit for ȳ;   y = a_y + credit for y + (1 − κ) a_ȳ + Σ_k ry_k a_k;   a_ȳ ← κ a_ȳ
    u_j = Σ_k Ru_kj a_k + ψ_j y + credit for u_j
    I_k = Σ_i G_ik u_i;   a_j ← Σ_k F_kj u_k;   a_y ← Σ_k E_k u_k
"""

from __future__ import annotations

from functools import cache
from typing import Any

from bioplaus.codegen.scalars import OPTIONS, Numbers, entries, scalar, total, varies


@cache
def reverse(pattern: Any, direct: tuple[bool, bool, tuple[bool, ...]]) -> tuple[str, tuple[float, ...]]:
    """The text of ``reverse0_``, and the numbers it reads.

    Parameters
    ----------
    pattern : F, E, G, ψ, Ru, ry as patterns of entries (`bioplaus.codegen.scalars`).
    direct : whether there is credit for y, for ȳ, for each u.

    ``reverse0_(numbers, kappa, first, last, T, P, y, ȳ, u, a, a_y, a_ȳ, I)`` takes neurons first to before last, and has all arrays flat over
    (batch · unit): P, u tuples of (time, …), a (state, …), I (channel, time, …); it overwrites a, a_y, a_ȳ with what stands before the first step.
    """
    numbers = Numbers()
    F, E, G, psi, Ru, ry, *_ = scalar(pattern, numbers)
    S, K = range(len(psi)), range(len(G[0]))
    to_y, to_seen, to_u = direct
    varying = sorted({e for e in entries(pattern) if varies(e)})
    rows = [f"v{i}_ = arrays0_[{i}][{'time0_' if moves else '0'}]" for i, moves in varying]
    body = [f"p{i}_ = v{i}_[unit0_]" for i, _ in varying]
    body += [f"a{j}_ = carried0_[{j}, unit0_]" for j in S]
    y = ["ay0_[unit0_]"]
    if to_y:
        rows.append("y0_ = told0_[time0_]")
        y.append("y0_[unit0_]")
    if to_seen:
        rows.append("seen0_ = shown0_[time0_]")
        body += ["s0_ = af0_[unit0_] + seen0_[unit0_]", "af0_[unit0_] = kappa0_*s0_"]
        y.append(f"({numbers.name(1.0)} - kappa0_)*s0_")
    y += [t for t in [total([(f"a{k}_", ry[k]) for k in S], numbers)] if t]
    body.append(f"yy0_ = {' + '.join(y)}")
    for j in S:
        terms = [t for t in [total([*((f"a{k}_", Ru[k][j]) for k in S), ("yy0_", psi[j])], numbers)] if t]
        if to_u[j]:
            rows.append(f"x{j}_ = inner0_[{j}][time0_]")
            terms.append(f"x{j}_[unit0_]")
        body.append(f"u{j}_ = {' + '.join(terms) or numbers.name(0.0)}")
    nothing = numbers.name(0.0)
    body += [f"carried0_[{j}, unit0_] = {total([(f'u{k}_', F[k][j]) for k in S], numbers) or nothing}" for j in S]
    body.append(f"ay0_[unit0_] = {total([(f'u{k}_', E[k]) for k in S], numbers) or nothing}")
    for k in K:
        rows.append(f"i{k}_ = out0_[{k}, time0_]")
        body.append(f"i{k}_[unit0_] = {total([(f'u{i}_', G[i][k]) for i in S], numbers) or nothing}")
    text = "\n".join(
        [
            "import numba as nb0_",
            "",
            "",
            f"@nb0_.njit({OPTIONS})",
            "def reverse0_(numbers0_, kappa0_, first0_, until0_, steps0_, arrays0_, told0_, shown0_, inner0_, carried0_, ay0_, af0_, out0_):",
            *(f"    {line}" for line in numbers.loads("numbers0_")),
            "    for back0_ in range(steps0_):",
            "        time0_ = steps0_ - 1 - back0_",
            *(f"        {line}" for line in rows),
            "        for unit0_ in range(first0_, until0_):",
            *(f"            {line}" for line in body),
            "",
        ]
    )
    return text, tuple(numbers.values)

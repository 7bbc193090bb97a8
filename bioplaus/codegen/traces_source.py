"""Text of the eligibility traces of one channel, fused over synapses and time: a neuron's row of traces stays in cache while time passes.

As `bioplaus.eligibility.traces` has it for one step, with shared traces h, stored ones s, and credit L for e, L̄ for ē::

    e = Σ c_h h + c_pre pre + Σ c_s s + c_e e₋;   s'_m = Σ … ;   ē = κ ē + (1 − κ) e;   G += L e + L̄ ē

Where ψ is zero, e is, and traces only decay. If they do so by constants, they are left as they are until ψ is not: what the row would have
become is known (κⁿ, dⁿ), and so is what it would have met, ē Σ κⁿ L̄. Of a spiking circuit's steps these are most.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from bioplaus.codegen.scalars import OPTIONS, Numbers, entries, total


def lazy(coefficients: Any, output: bool) -> bool:
    """Whether traces only decay, by constants, at steps at which nothing enters e."""
    c, S = coefficients, range(len(coefficients.s_s))
    still = not output and not any(
        each is not None for each in (*c.s_pre, *c.s_e_last, *(a for row in c.s_shared for a in row))
    )
    return still and all(isinstance(c.s_s[m][q], float) if m == q else c.s_s[m][q] is None for m in S for q in S)


@cache
def traces(
    c: Any, output: bool, leaky: bool, credit: tuple[bool, bool], puts_off: bool
) -> tuple[str, tuple[float, ...]]:
    """The text of ``traces0_``, and the numbers it reads.

    Parameters
    ----------
    c : `bioplaus.eligibility.traces.Coefficients` with patterns for entries.
    output : whether the last e is kept.
    leaky : whether ē is.
    credit : whether there is any for e, and for ē.

    ``traces0_(numbers, kappa, first, last, pre, P, L, L̄, h, s, e, ē, G)`` takes samples first to before last: pre (time, batch, pre), P a tuple of (time, batch,
    post), credit (time, batch, post), h (i, batch, pre), s (m, batch, post, pre), e, ē (batch, post, pre), and adds to G (post, pre).
    """
    numbers = Numbers()
    H, S = range(len(c.shared_pre)), range(len(c.s_s))
    shared = [f"g{i}_ = {total([('x0_', c.shared_pre[i]), *((f'h{j}_', c.shared[i][j]) for j in H)], numbers) or numbers.name(0.0)}" for i in H]  # fmt: skip
    varying = sorted({e for e in entries(tuple(c)) if isinstance(e, tuple)})
    # what is constant over the synapses of a neuron at a step is one number: coefficients are computed outside their loop
    one, zero = numbers.name(1.0), numbers.name(0.0)
    entering: list[str] = []
    terms, count = [], 0

    def coefficient(entry: Any) -> str:
        """A coefficient by name, computed outside the loop over synapses."""
        nonlocal count
        name, count = f"q{count}_", count + 1
        entering.append(f"{name} = {total([(one, entry)], numbers)}")
        return name

    kept = [f"left{m}_" for m in S]
    parts = [(f"h{i}_", c.e_shared[i]) for i in H] + [("x0_", c.e_pre)] + [(f"s{m}_", c.e_s[m]) for m in S]
    gates = []
    for variable, entry in [*parts, ("last0_", c.e_e if output else None)]:
        if entry is not None:
            name = coefficient(entry)
            gates.append(name)
            terms.append(f"{name}*{variable}")
    e = " + ".join(terms) or zero
    inner = []
    for m in S:
        into = [(f"h{i}_", c.s_shared[m][i]) for i in H] + [("x0_", c.s_pre[m]), ("last0_", c.s_e_last[m])]
        into += [("e0_", c.s_e[m])] + [(f"s{q}_", c.s_s[m][q]) for q in S]
        named = [f"{coefficient(entry)}*{variable}" for variable, entry in into if entry is not None]
        inner.append(f"n{m}_ = {' + '.join(named) or zero}")
    rows = [f"row{i}_ = shared0_[{i}, time0_]" for i in H] + ["pre0_ = pres0_[time0_, sample0_]"]
    load = [f"h{i}_ = row{i}_[into0_]" for i in H] + ["x0_ = pre0_[into0_]"]
    load += [f"s{m}_ = stored{m}_[into0_]" + (f"*{kept[m]}" if puts_off else "") for m in S]
    load += ["last0_ = e_row0_[into0_]"] if output else []
    body = [*load, f"e0_ = {e}", *inner, *(f"stored{m}_[into0_] = n{m}_" for m in S)]
    met = ["told0_*e0_"] if credit[0] else []
    if leaky:
        if puts_off:
            body += ["b0_ = bar_row0_[into0_]", f"z0_ = kappa0_*(b0_*leftbar0_) + ({one} - kappa0_)*e0_"]
            met += ["owed0_*b0_"] if credit[1] else []
        else:
            body.append(f"z0_ = kappa0_*bar_row0_[into0_] + ({one} - kappa0_)*e0_")
        body.append("bar_row0_[into0_] = z0_")
        met += ["shown0_*z0_"] if credit[1] else []
    body.append("e_row0_[into0_] = e0_")
    if met:
        body.append(f"sum0_[into0_] += {' + '.join(met)}")
    step = [
        *rows,
        "for into0_ in range(pre0_.shape[0]):",
        *(f"    {line}" for line in body),
    ]
    credits = ["told0_ = credit0_[time0_, sample0_, unit0_]"] if credit[0] else []
    credits += ["shown0_ = credit1_[time0_, sample0_, unit0_]"] if credit[1] else []
    if puts_off:
        quiet = " and ".join(f"{name} == {zero}" for name in gates) or "True"
        skip = ["leftbar0_ *= kappa0_"] if leaky else []
        skip += [f"{kept[m]} *= {total([(one, c.s_s[m][m])], numbers)}" for m in S]
        skip += ["owed0_ += shown0_*leftbar0_"] if credit[1] and leaky else []
        fresh = [f"{each} = {one}" for each in kept] + (["leftbar0_, owed0_ = " + f"{one}, {zero}"] if leaky else [])
        over_time = [
            *credits,
            *entering,
            f"quiet0_ = {quiet}",
            "if quiet0_:",
            *(f"    {line}" for line in skip or ["pass"]),
            "else:",
            *(f"    {line}" for line in [*step, *fresh]),
        ]
        end = [f"stored{m}_[into0_] *= {kept[m]}" for m in S]
        if leaky:
            end += [
                "b0_ = bar_row0_[into0_]",
                *(["sum0_[into0_] += owed0_*b0_"] if credit[1] else []),
                "bar_row0_[into0_] = b0_*leftbar0_",
            ]
        behind = ["for into0_ in range(sum0_.shape[0]):", *(f"    {line}" for line in end)] if end else []
        behind += ["if quiet0_:", "    e_row0_[:] = 0"]
        begin = [*fresh, "quiet0_ = False"]
    else:
        over_time, behind, begin = [*credits, *entering, *step], [], []
    loads = [f"p{i}_ = arrays0_[{i}][{'time0_' if moves else '0'}, sample0_, unit0_]" for i, moves in varying]
    text = [
        "import numba as nb0_",
        "import numpy as np0_",
        "",
        "",
        f"@nb0_.njit({OPTIONS})",
        "def traces0_(numbers0_, kappa0_, first0_, until0_, pres0_, arrays0_, credit0_, credit1_, commons0_, owns0_, ends0_, bars0_, out0_):",
        *(f"    {line}" for line in numbers.loads("numbers0_")),
        f"    shared0_ = np0_.empty(({max(len(H), 1)}, pres0_.shape[0], pres0_.shape[2]), pres0_.dtype)",
        "    for sample0_ in range(first0_, until0_):",
        *(_shared(shared, len(H)) if len(H) else []),
        "        for unit0_ in range(out0_.shape[0]):",
        "            sum0_ = out0_[unit0_]",
        *(f"            stored{m}_ = owns0_[{m}][sample0_, unit0_]" for m in S),
        "            e_row0_ = ends0_[sample0_, unit0_]",
        *(["            bar_row0_ = bars0_[sample0_, unit0_]"] if leaky else []),
        *(f"            {line}" for line in begin),
        "            for time0_ in range(pres0_.shape[0]):",
        *(f"                {line}" for line in (*loads, *over_time)),
        *(f"            {line}" for line in behind),
        "",
    ]
    return "\n".join(text), tuple(numbers.values)


def _shared(lines: Sequence[str], count: int) -> list[str]:
    """Traces that all neurons share, of one sample over time."""
    return [
        "        for into0_ in range(pres0_.shape[2]):",
        *(f"            h{i}_ = commons0_[{i}, sample0_, into0_]" for i in range(count)),
        "            for time0_ in range(pres0_.shape[0]):",
        "                x0_ = pres0_[time0_, sample0_, into0_]",
        *(f"                {line}" for line in lines),
        *(f"                h{i}_ = g{i}_" for i in range(count)),
        *(f"                shared0_[{i}, time0_, into0_] = h{i}_" for i in range(count)),
        *(f"            commons0_[{i}, sample0_, into0_] = h{i}_" for i in range(count)),
    ]

"""Text of the eligibility traces of one channel, fused over synapses and time: a neuron's row of traces stays in cache while time passes.

As `bioplaus.eligibility.traces` has it for one step, with shared traces h, stored ones s, and credit L for e, L̄ for ē::

    e = Σ c_h h + c_pre pre + Σ c_s s + c_e e₋;   s'_m = Σ … ;   ē = κ ē + (1 − κ) e;   G += L e + L̄ ē

Where ψ is zero, e is, and traces only decay. If they do so by constants, they are left as they are until ψ is not, also from one call to the
next: what the row would have become is known (κⁿ, dⁿ), and so is what it would have met, ē Σ κⁿ L̄. Of a spiking circuit's steps these are most.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from bioplaus.codegen.scalars import OPTIONS, Numbers, Text, total


def lazy(coefficients: Any, output: bool) -> bool:
    """Whether traces only decay, by constants, at steps at which nothing enters e."""
    c, S = coefficients, range(len(coefficients.s_s))
    still = not output and not any(
        each is not None for each in (*c.s_pre, *c.s_e_last, *(a for row in c.s_shared for a in row))
    )
    return still and all(isinstance(c.s_s[m][q], float) if m == q else c.s_s[m][q] is None for m in S for q in S)


def traces(
    c: Any,
    numbers: Numbers,
    output: bool,
    leaky: bool,
    credit: tuple[bool, bool],
    ends: bool,
    moves: Sequence[bool],
    sparse: bool,
) -> str:
    """The text of ``traces0_``, which reads ``numbers``.

    Parameters
    ----------
    c : `bioplaus.eligibility.traces.Coefficients` of texts in ``p0_``, ``p1_``, …
    output : whether the last e is kept.
    leaky : whether ē is.
    credit : whether there is any for e, and for ē.
    ends : whether somebody reads the last e; if not, it is not written down where decay is put off.
    moves : of each of P, whether it varies in time.
    sparse : whether traces are those of the synapses of a sparse projection, one after the other (batch, synapse) in the order of their postsynaptic
        neurons: then where each neuron's begin, and whence they come, stand before h, and G is (synapse,).

    ``traces0_(numbers, κ, first, last, pre, P, L, L̄, h, h', s, e, ē, left, G)`` takes neurons first to before last: pre (time, batch, pre), P a tuple of (time,
    batch, post), credit (time, batch, post), h and h' shared traces before and behind (i, batch, pre), s (m, batch, post, pre), e, ē (batch, post,
    pre), and adds to G (post, pre). ``left`` (m + 2, batch, post) is what traces are to be multiplied by where their decay is put off, ē after the
    stored ones, and last 0 where e is zero whatever stands there.
    """
    H, S = range(len(c.shared_pre)), range(len(c.s_s))
    puts_off, one, zero = lazy(c, output), numbers.name(1.0), numbers.name(0.0)
    entering: list[str] = []

    def coefficient(entry: Text | float) -> str:
        """A coefficient by name, computed outside the loop over synapses."""
        entering.append(f"q{len(entering)}_ = {numbers.text(entry)}")
        return f"q{len(entering) - 1}_"

    def sum_of(terms: Sequence[tuple[str, Text | float | None]]) -> list[tuple[str, str]]:
        return [(coefficient(entry), variable) for variable, entry in terms if entry is not None]

    def written(terms: Sequence[tuple[str, str]]) -> str:
        return " + ".join("*".join(term) for term in terms) or zero

    into_e = sum_of(
        [
            *((f"h{i}_", c.e_shared[i]) for i in H),
            ("x0_", c.e_pre),
            *((f"s{m}_", c.e_s[m]) for m in S),
            ("last0_", c.e_e if output else None),
        ]
    )
    into_s = [
        sum_of(
            [
                *((f"h{i}_", c.s_shared[m][i]) for i in H),
                ("x0_", c.s_pre[m]),
                ("last0_", c.s_e_last[m]),
                ("e0_", c.s_e[m]),
                *((f"s{q}_", c.s_s[m][q]) for q in S),
            ]
        )
        for m in S
    ]
    at0, row = ("synapse0_", "sample0_") if sparse else ("into0_", "sample0_, unit0_")
    loop = (
        "for synapse0_ in range(begins0_[unit0_], begins0_[unit0_ + 1]):"
        if sparse
        else "for into0_ in range(pres0_.shape[2]):"
    )
    kept = [f"left{m}_" for m in S]
    body = ["into0_ = whence0_[synapse0_]"] if sparse else []
    when = ", time0_" if sparse else ""
    body += [f"h{i}_ = row{i}_[into0_{when}]" for i in H] + [f"x0_ = pre0_[into0_{when}]"]
    body += [f"s{m}_ = stored{m}_[{at0}]" + (f"*{kept[m]}" if puts_off else "") for m in S]
    body += [f"last0_ = e_row0_[{at0}]"] if output else []
    body.append(f"e0_ = {written(into_e)}")
    body += [f"n{m}_ = {written(into_s[m])}" for m in S] + [f"stored{m}_[{at0}] = n{m}_" for m in S]
    met = ["told0_*e0_"] if credit[0] else []
    if leaky:
        body.append(f"b0_ = bar_row0_[{at0}]" + ("*leftbar0_" if puts_off else ""))
        body += [f"z0_ = kappa0_*b0_ + ({one} - kappa0_)*e0_", f"bar_row0_[{at0}] = z0_"]
        met += ["shown0_*z0_"] if credit[1] else []
    body += [f"e_row0_[{at0}] = e0_"] if ends or not puts_off else []
    if met:
        body.append(f"sum0_[{at0}] += {' + '.join(met)}")
    rows = [f"row{i}_ = shared0_[{i}, time0_]" for i in H] + ["pre0_ = pres0_[time0_, sample0_]"]
    step = [*([] if sparse else rows), loop, *(f"    {line}" for line in body)]
    over_time = ["told0_ = credit0_[time0_, sample0_, unit0_]"] if credit[0] else []
    over_time += ["shown0_ = credit1_[time0_, sample0_, unit0_]"] if credit[1] else []
    over_time += entering
    begin, behind = [], []
    if puts_off:
        gates = " and ".join(f"{name} == {zero}" for name, _ in into_e) or "True"
        where = [*kept, *(["leftbar0_"] if leaky else []), *(["speaks0_"] if ends else [])]
        at = [
            f"put0_[{i}, sample0_, unit0_]" for i in (*S, *([len(S)] if leaky else []), *([len(S) + 1] if ends else []))
        ]
        begin = [f"{name} = {place}" for name, place in zip(where, at, strict=True)]
        owes = leaky and credit[1]
        paid = [loop, f"    sum0_[{at0}] += owed0_*bar_row0_[{at0}]"]
        begin += [f"owed0_ = {zero}"] if owes else []
        waits = [f"{kept[m]} *= {numbers.text(c.s_s[m][m])}" for m in S] + (["leftbar0_ *= kappa0_"] if leaky else [])
        waits += (["owed0_ += shown0_*leftbar0_"] if owes else []) + ([f"speaks0_ = {zero}"] if ends else [])
        pay = [f"if owed0_ != {zero}:", *(f"    {line}" for line in paid)] if owes else []
        fresh = [f"{name} = {one}" for name in where] + ([f"owed0_ = {zero}"] if owes else [])
        over_time += [f"if {gates}:", *(f"    {line}" for line in waits or ["pass"]), "else:"]
        over_time += [f"    {line}" for line in [*pay, *step, *fresh]]
        behind = [*pay, *(f"{place} = {name}" for name, place in zip(where, at, strict=True))]
    else:
        over_time += step
    shared = [
        f"g{i}_ = {total([('x0_', c.shared_pre[i]), *((f'h{j}_', c.shared[i][j]) for j in H)], numbers) or zero}"
        for i in H
    ]
    used = sorted({int(i) for line in entering for i in re.findall(r"\bp(\d+)_", line)})
    loads = [f"p{i}_ = arrays0_[{i}][{'time0_' if moves[i] else '0'}, sample0_, unit0_]" for i in used]
    text = [
        "import numba as nb0_",
        "import numpy as np0_",
        "",
        "",
        f"@nb0_.njit({OPTIONS})",
        f"def traces0_(numbers0_, kappa0_, first0_, until0_, pres0_, arrays0_, credit0_, credit1_, {'begins0_, whence0_, ' if sparse else ''}commons0_, behind0_, owns0_, ends0_, bars0_, put0_, out0_):",
        *(f"    {line}" for line in numbers.loads("numbers0_")),
        f"    shared0_ = np0_.empty(({max(len(H), 1)}, {', '.join(_turned(sparse, 'pres0_.shape[0]', 'pres0_.shape[2]'))}), pres0_.dtype)",
        *([f"    row{i}_ = shared0_[{i}]" for i in H] if sparse else []),
        *(["    pre0_ = np0_.empty((pres0_.shape[2], pres0_.shape[0]), pres0_.dtype)"] if sparse else []),
        "    for sample0_ in range(pres0_.shape[1]):",
        *(["        pre0_[:] = pres0_[:, sample0_].T"] if sparse else []),
        *(_shared(shared, sparse) if shared else []),
        "        for unit0_ in range(first0_, until0_):",
        "            sum0_ = out0_" if sparse else "            sum0_ = out0_[unit0_]",
        *(f"            stored{m}_ = owns0_[{m}][{row}]" for m in S),
        f"            e_row0_ = ends0_[{row}]",
        *([f"            bar_row0_ = bars0_[{row}]"] if leaky else []),
        *(f"            {line}" for line in begin),
        "            for time0_ in range(pres0_.shape[0]):",
        *(f"                {line}" for line in (*loads, *over_time)),
        *(f"            {line}" for line in behind),
        "",
    ]
    return "\n".join(text)


def _turned(sparse: bool, time: str, into: str) -> tuple[str, str]:
    """Where what comes from a source at a step stands: sources side by side; or, where few are read at a time, steps, which a neuron takes one after the other."""
    return (into, time) if sparse else (time, into)


def _shared(lines: Sequence[str], sparse: bool) -> list[str]:
    """Traces that all neurons share, of one sample over time."""
    H = range(len(lines))
    return [
        "        for into0_ in range(pres0_.shape[2]):",
        *(f"            h{i}_ = commons0_[{i}, sample0_, into0_]" for i in H),
        "            for time0_ in range(pres0_.shape[0]):",
        "                x0_ = pres0_[time0_, sample0_, into0_]",
        *(f"                {line}" for line in lines),
        *(f"                h{i}_ = g{i}_" for i in H),
        *(f"                shared0_[{i}, {', '.join(_turned(sparse, 'time0_', 'into0_'))}] = h{i}_" for i in H),
        *(f"            behind0_[{i}, sample0_, into0_] = h{i}_" for i in H),
    ]

"""Text of a cell's partials over time: every entry that varies, of every neuron, in one pass."""

from __future__ import annotations

from typing import Any

import numpy as np

from bioplaus.codegen.folded import Folded, assignments, entries
from bioplaus.codegen.forward_source import head
from bioplaus.codegen.scalar_printer import ScalarPrinter
from bioplaus.codegen.scalars import OPTIONS, Numbers


def partials(folded: Folded) -> tuple[str, np.ndarray, np.ndarray, list[tuple[str, int]]]:
    """The text of ``partials0_``; the numbers that it reads, and those of each neuron, (constant, unit); what it is given, by kind and index.

    ``partials0_(numbers, fields, first, last, given, out)`` takes neurons first to before last of all samples': fields (constant, batch · unit), given a tuple of
    (time, batch · unit), steps left (``wait``) for whether a neuron is receptive, and writes out (entry that varies, time, batch · unit).
    """
    moving = [e for e in entries(tuple(folded.partials)) if folded.moves(e)]
    wanted: set[Any] = set().union(*(e.free_symbols for e in moving))
    given = [one for one in folded.given if one[0] in wanted]
    each = [name for name, value in folded.numbers.items() if value.ndim and name in {str(s) for s in wanted}]
    numbers = Numbers()
    show = ScalarPrinter(folded.numbers, numbers.name).doprint
    rows = [f"view{i}_ = given0_[{i}][time0_]" for i, _ in enumerate(given)]
    rows += [f"row{i}_ = out0_[{i}, time0_]" for i, _ in enumerate(moving)]
    body = [f"{name} = fields0_[{i}, unit0_]" for i, name in enumerate(each)]
    for i, (symbol, kind, _) in enumerate(given):
        waits = f"{numbers.name(1.0)} if view{i}_[unit0_] == {numbers.name(0.0)} else {numbers.name(0.0)}"
        body.append(f"{symbol} = {waits if kind == 'receptive' else f'view{i}_[unit0_]'}")
    named = [f"entry{i}_" for i, _ in enumerate(moving)]
    body += [line.strip() for line in assignments(named, moving, "p", show)]
    body += [f"row{i}_[unit0_] = {name}" for i, name in enumerate(named)]
    text = [
        *head(),
        f"@nb0_.njit({OPTIONS})",
        "def partials0_(numbers0_, fields0_, first0_, until0_, given0_, out0_):",
        *(f"    {line}" for line in numbers.loads("numbers0_")),
        "    for time0_ in range(out0_.shape[1]):",
        *(f"        {line}" for line in rows),
        "        for unit0_ in range(first0_, until0_):",
        *(f"            {line}" for line in body),
        "",
    ]
    fields = np.array([folded.numbers[name] for name in each]) if each else np.empty((0, 0))
    return (
        "\n".join(text),
        np.array(numbers.values),
        fields,
        [("wait" if kind == "receptive" else kind, i) for _, kind, i in given],
    )

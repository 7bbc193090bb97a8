"""Conditions that have a name in the equations, ``open = w < 0.3 and v > 0 : boolean``: written in wherever the name stands.

To Brian2 such a name is true or false, which ``int(open)`` makes a number, and which may be a spike condition or a part of one. Here
conditions are read where they stand (`bioplaus.symbolic.logic`), so that every text is handed on with them in place of their names.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from graphlib import CycleError, TopologicalSorter

from brian2.equations.equations import EQUATIONS, SUBEXPRESSION
from pyparsing import ParseException

from bioplaus.errors import CellError
from bioplaus.symbolic.grammar import LONGEST
from bioplaus.symbolic.quiet import quiet


def written_in(equations: str, others: Sequence[str]) -> list[str]:
    """The equations and the other texts of a cell, with conditions in place of their names.

    A text that has none, or can't be read, comes back as it is; what is wrong with it is said by those who read it.

    Raises
    ------
    CellError
        For a text that becomes too long to be read.
    """
    found = _named(equations)
    texts = [equations, *others]
    if not found:
        return texts
    within = {name: {other for other in found if re.search(_name(other), text)} for name, text in found.items()}
    try:
        order = [*TopologicalSorter(within).static_order()]
    except CycleError:
        return texts  # Brian2 says so
    for name in order:
        found[name] = _replaced(found[name], {other: found[other] for other in within[name]})
    return [_replaced(text, found) for text in texts]


def _named(equations: str) -> dict[str, str]:
    """Conditions by name; one that is asked once in a step, ``(constant over dt)``, is none of them."""
    if not re.search(r":\s*boolean\b", equations):
        return {}
    try:
        with quiet():
            lines = EQUATIONS.parse_string(equations, parse_all=True)
    except ParseException:
        return {}
    read = [dict(line.items()) for line in lines if line.getName() == SUBEXPRESSION]
    return {
        line["identifier"]: " ".join(line["expression"].split())
        for line in read
        if line["unit"] == "boolean" and not line.get("flags")
    }


def _name(name: str) -> str:
    """Where a name is read, which is not where it is given a value."""
    return rf"\b{re.escape(name)}\b(?!\s*=(?!=))"


def _replaced(text: str, conditions: dict[str, str]) -> str:
    """A text with conditions in place of their names, all at once."""
    if not conditions:
        return text
    longest = len(text) + sum(len(re.findall(_name(name), text)) * len(each) for name, each in conditions.items())
    if longest > LONGEST:
        raise CellError(
            f"With the conditions {', '.join(sorted(conditions))} written in, a text of the cell has {longest} letters, and at most {LONGEST} are read. "
            "Write shorter ones."
        )
    return re.sub("|".join(map(_name, conditions)), lambda found: f"({conditions[found[0]]})", text)

"""``bioplaus check``: what every rule claims, tested against BPTT on every model that it accepts, and compiled loops against torch."""

from __future__ import annotations

import math
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bioplaus.cli.options import names_first, parse
from bioplaus.cli.terminal import heading, say
from bioplaus.settings import ours

if TYPE_CHECKING:
    from bioplaus.check import Loops, Row

_WIDTHS = (20, 12, 8, 8, 5, 8, 5)


@dataclass
class Options:
    """Test what every rule claims (exact, unbiased, biased) against BPTT, elementwise, in float64; and compiled loops against torch."""

    quick: bool = False
    """fewer steps"""
    rules: str = ""
    """only these, by name: eprop,rflo"""
    models: str = ""
    """only these, by name: lif,gru"""
    seed: int = 0
    """of weights, inputs and signs"""


def main(words: Sequence[str]) -> int:
    """Print a row for each rule and model as it is measured; 1 if a claim is wrong."""
    _, rest = names_first(words, "no names", "bioplaus check", number=0)
    given = parse(Options, rest, "bioplaus check")
    from bioplaus.check import check, loops, orders

    rows = check(given.quick, _names(given.rules), _names(given.models), given.seed)
    heading("Each rule's gradient against BPTT's: largest difference of any weight over BPTT's largest entry")
    _line("rule", "model", "claim", "measured", "steps", "error", "", "what else was tried")
    wrong = number = 0
    with ours():  # one thread: several that wait for each other take ten times as long over circuits so small
        for row in rows:
            number += row.measured != "refused"
            wrong += not row.ok
            _show(row)
        faults = []
        compiled = loops(given.quick, _names(given.rules), _names(given.models), given.seed)
        for i, each in enumerate(compiled):
            if not i:
                say()
                heading("The loops that numba compiles against torch (backend=): the same spikes, numbers to rounding")
            number, wrong = number + (not each.none), wrong + (not each.ok)
            faults += [each.wrong] if each.wrong else []
            say(f"{each.model:<20}  {_compared(each)}")
        courses = [] if given.rules else list(orders(_names(given.models)))
    if courses:
        say()
        heading(
            "Each cell's course at a step of 0.1 ms, at half of it and at a quarter: with which power of the step its error shrinks"
        )
        for each in courses:
            number, wrong = number + 1, wrong + (not each.ok)
            found = "no error" if math.isinf(each.found) else f"{each.found:.2f}"
            say(f"{each.model:<20}  {each.method:<18}  {found:<8}  {'ok' if each.ok else 'WRONG'}")
    for fault in faults:
        say()
        say(fault)
    say()
    say(f"{number - wrong} of {number} claims hold." if wrong else f"All {number} claims hold.")
    return 1 if wrong else 0


def _compared(one: Loops) -> str:
    """What was compared, or why there is nothing to compare."""
    if one.none:
        return f"none: {one.none}"
    difference = "they differ" if math.isinf(one.error) else f"largest difference {one.error:.1e}"
    return f"{one.numbers:_} numbers, {difference}  {'ok' if one.ok else 'WRONG'}  {', '.join(one.tried)}"


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _show(row: Row) -> None:
    error = "–" if math.isnan(row.error) else f"{row.error:.1e}"
    steps = str(row.steps) if row.steps else "–"
    _line(row.rule, row.model, row.claim, row.measured, steps, error, "ok" if row.ok else "WRONG", row.note)


def _line(*entries: str) -> None:
    texts = [text.ljust(width) for text, width in zip(entries, _WIDTHS, strict=False)]
    line = "  ".join([*texts, entries[-1]]).rstrip()
    if sys.stdout.isatty() and "WRONG" not in line:  # the remarks of what holds may be cut at the edge
        line = line[: shutil.get_terminal_size().columns - 1]
    say(line)

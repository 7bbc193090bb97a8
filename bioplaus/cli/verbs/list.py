"""``bioplaus list [KIND]``: what there is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bioplaus import late
from bioplaus.cli import UsageError
from bioplaus.cli.catalogue import KINDS, columns, legend, rows
from bioplaus.cli.options import names_first, parse
from bioplaus.cli.terminal import heading, say, table
from bioplaus.errors import unknown


@dataclass
class Options:
    """List models, circuits, rules, predictors, tasks or experiments; without a word, all of them."""


def main(words: Sequence[str]) -> int:
    """Print the tables."""
    late.put_off("torch")
    names, rest = names_first(words, f"one of {', '.join(KINDS)}, or nothing", "bioplaus list")
    parse(Options, rest, "bioplaus list [KIND]")
    asked = names[0] if names else None
    if asked is not None and asked not in KINDS:
        plural = {kind.removesuffix("s"): kind for kind in KINDS}
        if asked not in plural:
            raise UsageError(unknown("list", asked, KINDS))
        asked = plural[asked]
    for kind in (asked,) if asked else KINDS:
        if not asked:
            heading(kind)
        table(columns(kind), rows(kind))
        if lines := legend(kind):
            say()
            for line in lines:
                say(f"  {line}")
        if not asked:
            say()
    return 0

"""``bioplaus check``: what every rule claims, tested against BPTT on every model that it accepts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bioplaus.cli.options import names_first, parse
from bioplaus.cli.terminal import heading, say, table


@dataclass
class Options:
    """Test what every rule claims (exact, unbiased, biased) against BPTT, elementwise, in float64."""

    quick: bool = False
    """fewer steps and fewer models"""


def main(words: Sequence[str]) -> int:
    """Print a row for each rule and model; 1 if a claim is wrong."""
    _, rest = names_first(words, "no names", "bioplaus check", number=0)
    given = parse(Options, rest, "bioplaus check")
    from bioplaus.rules import check

    heading("Every rule against BPTT, float64, largest relative error of any weight's gradient")
    rows = list(check(quick=given.quick))
    table(
        ("rule", "model", "claim", "steps", "error", ""),
        [(r.rule, r.model, r.claim, r.steps, f"{r.error:.1e}", "ok" if r.ok else "WRONG") for r in rows],
        right=("steps", "error"),
    )
    wrong = [row for row in rows if not row.ok]
    say()
    say(f"{len(rows) - len(wrong)} of {len(rows)} claims hold." + (" The others are wrong." if wrong else ""))
    return 1 if wrong else 0

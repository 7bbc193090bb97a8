"""Checks of what is given: a table of constraints for each dataclass, one function that walks it, one wording::

    @dataclass(frozen=True)
    class Window:
        steps: int | None = None

        constraints = Table(RuleError, steps=Optional(Whole(), "for whole sequences"))

        def __post_init__(self) -> None:
            settle(self)

What makes no sense is refused at once: "steps of Window is 0; it must be a whole number from 1 to 1_000_000_000, or None for
whole sequences." What makes sense is kept as a plain Python value, also where NumPy or torch made it. Rules about several fields
stand as plain code behind ``settle``.
"""

from bioplaus.checks.constraints import (
    MOST,
    SEED,
    Among,
    Amount,
    Constraint,
    Flag,
    Float,
    Instance,
    Mapped,
    Optional,
    Real,
    Several,
    Span,
    Text,
    Unfit,
    Whole,
    Word,
)
from bioplaus.checks.named import Named, named
from bioplaus.checks.numbers import dimensions
from bioplaus.checks.table import Table, accept, refusal, settle, short, whole

__all__ = [
    "MOST",
    "SEED",
    "Among",
    "Amount",
    "Constraint",
    "Flag",
    "Float",
    "Instance",
    "Mapped",
    "Named",
    "Optional",
    "Real",
    "Several",
    "Span",
    "Table",
    "Text",
    "Unfit",
    "Whole",
    "Word",
    "accept",
    "dimensions",
    "named",
    "refusal",
    "settle",
    "short",
    "whole",
]

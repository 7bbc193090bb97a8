"""Shorthands of equations (``drive = R*I : volt``) where an output, a spike or a reset reads them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import sympy as sp
from brian2.equations.equations import SUBEXPRESSION, Equations

from bioplaus.errors import CellError
from bioplaus.symbolic.grammar import Weight
from bioplaus.symbolic.text import Expression, Statement, expression, names, substituted, symbol


@dataclass
class Shorthands:
    """What names of the equations stand for, on the states at hand: after the step, where it has been taken."""

    equations: Equations | None
    weights: Mapping[str, Weight]
    values: dict[str, sp.Expr] = field(default_factory=dict)

    def written_in(self, e: Expression, where: str) -> Expression:
        """The expression without shorthands; in Brian2's language it keeps them.

        Raises
        ------
        CellError
            For one that Brian2 computes at the beginning of a step.
        """
        return replace(e, value=self.value(e.value, where))

    def value(self, value: sp.Expr, where: str) -> sp.Expr:
        """The same of sympy's expression alone."""
        found = {symbol(name): self._value(name, where) for name in names(value) & self.weights.keys()}
        return substituted(value, found) if found else value

    def run(self, statements: Sequence[Statement], where: str) -> tuple[Statement, ...]:
        """Statements without shorthands.

        Raises
        ------
        CellError
            If one reads a shorthand for what an earlier one has changed; of several inside one another Brian2 would take some as they
            were before, and some as they are then.
        """
        found: list[Statement] = []
        for statement in statements:
            for name in sorted(statement.right.names & self.weights.keys()):
                changed = names(self._value(name, where)) & {earlier.name for earlier in found}
                if changed:
                    raise CellError(
                        f"In {where}: {name} stands for an expression in {', '.join(sorted(changed))}, which an earlier statement has changed. Put the "
                        "statement that reads it first, or write what it stands for."
                    )
            found.append(replace(statement, right=self.written_in(statement.right, where)))
        return tuple(found)

    def _value(self, name: str, where: str) -> sp.Expr:
        if name not in self.values:
            assert self.equations is not None
            line = self.equations[name]
            assert line.type == SUBEXPRESSION and line.expr is not None
            if "constant over dt" in line.flags:
                raise CellError(
                    f"In {where}: {name} is '(constant over dt)', computed once at the beginning of a step, but {where.partition('=')[0]}= is evaluated "
                    "at its end. Leave the flag out, or write what it stands for."
                )
            self.values[name] = self.value(expression(line.expr.code, self.weights).value, where)
        return self.values[name]

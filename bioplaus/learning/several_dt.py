"""Whether a rule is compared with itself at several dt, and is another one at each: factors per step. Light to import.

λ = 0.9 a step is a memory of 9.5 ms at 1 ms and of 0.95 ms at 0.1 ms, so that what a study of dt then compares are two rules. That is said
once, when a rule with a factor between 0 and 1 meets a continuous circuit that it has met at another dt in this process, or that it meets in
another arm of the same experiment. A circuit is the same one here if its name, populations, cells, inputs and outputs are.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

from bioplaus.errors import LearningWarning

if TYPE_CHECKING:
    from bioplaus.circuit import Circuit
    from bioplaus.rules import Rule

#: rule and circuit → the dt at which they met; None: it has been said
_met: dict[tuple[str, str], float | None] = {}


def met(circuit: Circuit, rule: Rule, stacklevel: int = 2) -> None:
    """Notice that a rule meets a circuit; warn where it is not the rule that it was at another dt."""
    factors = getattr(getattr(rule, "signal", None), "per_step", None)
    if not factors or not any(p.cell.continuous for p in circuit.populations.values()):
        return
    key = repr(rule.describe()), f"{circuit.name}: {[*circuit.populations]}, {circuit.counts()}"
    before = _met.setdefault(key, circuit.dt)
    if before is None or before == circuit.dt:
        return
    _met[key] = None
    given = " and ".join(f"{name}={value:g}" for name, value in factors.items())
    called = {"lmbda": "tau_lambda", "discount": "tau_gamma"}
    times = " and ".join(called.get(str(name), str(name)) for name in factors)
    warnings.warn(
        f"The rule '{rule.name}' has {given} per step, and meets the same circuit at dt = {before * 1e3:g} and {circuit.dt * 1e3:g} ms: these are two rules, one of which forgets "
        f"sooner. Give times, which stay themselves when dt changes ({times}=20*ms; docs/time_step.md).",
        LearningWarning,
        stacklevel=stacklevel + 1,
    )

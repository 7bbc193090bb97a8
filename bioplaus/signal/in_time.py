"""Decays of a rule as times: λ = exp(−dt/τ_λ), γ = exp(−dt/τ_γ), with the dt of the circuit that the rule meets.

A factor per step is another memory at another dt, and has no limit as dt → 0; a time stays itself. Factors of 0 and 1 are the times 0 and ∞.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import exp
from typing import Any

from bioplaus import checks
from bioplaus.circuit.delays import timeless
from bioplaus.circuit.network import Network
from bioplaus.errors import RuleError

#: what a factor per step must be, and what a time that stands for one
FACTOR = checks.Optional(checks.Real(least=0, most=1), "for 1, or for what the time beside it says")
TAU = checks.Optional(checks.Amount("s", "20*ms"), "for a factor per step")


def settle(signal: Any, pairs: Mapping[str, str]) -> None:
    """Refuse a factor with a time beside it, and keep 1 where there is neither; ``pairs`` are names of fields, factor → time.

    Raises
    ------
    RuleError
    """
    for factor, time in pairs.items():
        given, tau = getattr(signal, factor), getattr(signal, time)
        if given is not None and tau is not None:
            raise RuleError(
                f"{factor}={given:g} and {time}={tau * 1e3:g}*ms say the same thing twice, how much is left after a step: {factor} is a factor per step, and {time} a time, with "
                f"{factor} = exp(-dt/{time}) at the circuit's dt. Leave one of them out; a time stays itself when dt changes."
            )
        if given is None and tau is None:
            object.__setattr__(signal, factor, 1.0)


def left(factor: float | None, tau: float | None, network: Network, steps: int = 1) -> float:
    """What is left after so many steps: the factor, which does not ask how many, or exp(−t/τ)."""
    if tau is not None:
        return exp(-steps * network.circuit.dt / tau)
    return 1.0 if factor is None else factor


def refuse(network: Network, **times: float | None) -> str | None:
    """Why a circuit has no use for times, if any is given: its steps are none."""
    given = [name for name, tau in times.items() if tau is not None]
    maps = [n for n, p in network.circuit.populations.items() if timeless(p.cell)]
    if not given or not maps:
        return None
    factors = {"tau_lambda": "lmbda", "tau_gamma": "discount"}
    return (
        f"{given[0]} is a time, and the cell of '{maps[0]}' is a discrete map (update=) that does not read dt: its steps are no time (give "
        f"{factors[given[0]]}, a factor per step, or write the map's constants with dt, or say made_for= which dt they hold)"
    )


def per_step(**factors: float | None) -> dict[str, float]:
    """Those that mean another time at another dt."""
    return {name: factor for name, factor in factors.items() if factor is not None and 0 < factor < 1}

"""Small cells of each kind, as keyword arguments, of which tests change one."""

from __future__ import annotations

from typing import Any

from bioplaus import Mohm, ms, mV, nA, triangular

LEAK = "dv/dt = (-v + I)/tau : 1"
LIF: dict[str, Any] = dict(
    equations="dv/dt = (-v + I)/tau : 1",
    spike="v > threshold",
    reset="v -= threshold",
    surrogate=triangular(),
    parameters=dict(tau=20 * ms, threshold=0.6),
)
RATE: dict[str, Any] = dict(equations="dx/dt = (-x + I)/tau : 1", output="tanh(x)", parameters=dict(tau=10 * ms))
MAP: dict[str, Any] = dict(
    update="v = decay*v + I",
    spike="v > threshold",
    reset="v -= threshold",
    surrogate=triangular(),
    parameters=dict(decay=0.9, threshold=0.6),
)
GIVEN = dict(tau=20 * ms, threshold=0.6)


def of(**changed: Any) -> dict[str, Any]:
    return dict(GIVEN, **changed)


VOLTS: dict[str, Any] = dict(
    equations="dv/dt = (E - v + R*I)/tau : volt",
    inputs={"I": 1 * nA},
    spike="v > V_T",
    reset="v = E",
    surrogate=triangular(width="w"),
    parameters=dict(E=-70 * mV, R=10 * Mohm, tau=20 * ms, V_T=-50 * mV, w=10 * mV),
)
VOLT_RATE: dict[str, Any] = {k: v for k, v in VOLTS.items() if k not in ("spike", "reset", "surrogate")} | {
    "output": "v/w"
}

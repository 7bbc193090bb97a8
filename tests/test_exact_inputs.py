"""``method="exact"`` where an input stands in the coefficient of a state: refused where its step is 0/0 at some input, else right.

Rates are constant during a step, so that mpmath's ``expm`` of the equations at the inputs of that step is the referee.
"""

from __future__ import annotations

import re

import mpmath
import numpy as np
import pytest
import torch
from task_helpers import paragraph
from test_exact import one_line

import bioplaus as bp
from bioplaus import Cell, ms
from bioplaus.codegen.kernel import hard_spike, uncut
from bioplaus.errors import CellError

TWO = "dv/dt = (-v*(1 + I) + g)/tau : 1\ndg/dt = (-g + J)/tau : 1"
EITHER = "; or 'exponential_euler', which divides by the coefficient of each state alone"


def cell(equations: str, method: str = "exact") -> Cell:
    inputs = tuple(name for name in "IJ" if re.search(rf"\b{name}\b", equations))
    return Cell(equations=equations, inputs=inputs, output="v", parameters=dict(tau=5 * ms), method=method)


@pytest.mark.parametrize(
    ("equations", "divisors", "instead"),
    [
        (TWO, "I and by I + 1", "rk4"),
        ("dv/dt = (-v + I*v + J)/tau : 1", "I - 1", "rk4"),
        ("dv/dt = (-v + I*(2 - v) + J)/tau : 1", "I + 1", "rk4"),  # a conductance
        ("dv/dt = (I - v*relu(J))/tau : 1", "1.0*J + 1.0*abs(J)", "rk4"),
        # each state by itself: -v*I/tau has no rest to divide
        ("dv/dt = -v*I/tau : 1\ndg/dt = (-g + v)/tau : 1", "I - 1", "exponential_euler"),
    ],
)
def test_a_step_that_is_0_over_0_at_an_input_is_refused(equations, divisors, instead):
    with pytest.raises(
        CellError, match=f"divides by .*input channel .*Write method='{instead}', which does not"
    ) as error:
        cell(equations)
    assert f"divides by {divisors}" in str(error.value) and (EITHER in str(error.value)) == (instead == "rk4")
    paragraph(error)
    cell(equations, instead)
    cell(equations, "exponential_euler")


@pytest.mark.parametrize("I", [0.0, 1e-15, -1.0, -1.0 + 1e-15, 0.7])
def test_what_is_proposed_is_right_where_exact_was_not(I):
    M = np.array([[-(1 + I), 1, 0], [0, -1, 1], [0, 0, 0]]) * 0.02
    right = np.array(mpmath.expm(mpmath.matrix(M.tolist())).tolist(), dtype=float) @ [0.4, 1.0, 0.3]
    full = lambda v: torch.full((1, 1), v, dtype=torch.float64)  # noqa: E731
    kernel = cell(TWO, "rk4").kernel(1, 1e-4, torch.float64, "cpu")
    u, _, _ = kernel.step((full(0.4), full(1.0)), (full(I), full(0.3)), full(0.0), None, hard_spike, uncut)
    assert [float(one) for one in u] == pytest.approx(list(right[:2]), rel=1e-8)  # what a step of fourth order leaves


@pytest.mark.parametrize(
    ("equations", "rate"),
    [
        ("dv/dt = -v/(tau*(1 + I)) : 1", lambda I: -1 / (1 + I)),  # divided by in the equations too
        ("dv/dt = -v*I/tau : 1", lambda I: -I),
        ("dv/dt = (1 - v)*sigmoid(I)/tau : 1", lambda I: -1 / (1 + np.exp(-I))),  # no input makes 1 + exp(-I) zero
    ],
)
def test_what_is_nowhere_0_over_0_is_taken_and_right(equations, rate):
    inputs = np.array([0.0, 1e-16, 1.0, -0.5, 0.3, 1 + 2**-52, -0.9])
    rest = 1.0 if "1 - v" in equations else 0.0
    given = Cell(equations=equations, output="v", parameters=dict(tau=5 * ms), start={"v": 0.25})
    for simulate in (bp.simulate, bp.brian.simulate):
        came = simulate(one_line(given, 1), inputs[:, None, None], record="v").v.values[:, 0, 0]
        right = rest + (0.25 - rest) * np.exp(np.cumsum([0.2 * rate(I) for I in inputs]))
        np.testing.assert_allclose(came, right, rtol=1e-13)

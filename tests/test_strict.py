"""``python -W error``: what Brian2 asks of pyparsing is not put down to who wrote a cell."""

from __future__ import annotations

import subprocess
import sys
import warnings

import numpy as np
import pytest

import bioplaus as bp
from bioplaus import ms
from bioplaus.errors import CellError
from bioplaus.symbolic.quiet import quiet

SCRIPT = """
import bioplaus as bp
print(bp.circuit("recurrent", cell="alif", inputs=2, units=3, outputs=1).counts())
"""


def test_a_script_under_which_every_warning_is_an_error_is_read():
    done = subprocess.run([sys.executable, "-W", "error", "-c", SCRIPT], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr, done.stdout) == (0, "", "3 alif, 2 inputs, 1 outputs\n")


CELLS = {
    "euler": dict(equations="dv/dt = (-v + I)/tau : 1", method="euler"),
    "exact": dict(equations="dv/dt = (-v + I + a)/tau : 1\nda/dt = -a/tau : 1", method="exact"),
    "held": dict(equations="dv/dt = (-v + I)/tau : 1 (unless refractory)\nda/dt = (v - a)/tau : 1", method="rk4"),
    "relu": dict(equations="dv/dt = (-v + relu(I))/tau : 1", method="euler"),
}


@pytest.mark.parametrize("name", CELLS)
def test_cells_of_every_method_are_read_where_every_warning_is_an_error(name):
    spiking = {"spike": "v > 1", "reset": "v = 0", "refractory": 2 * ms, "surrogate": bp.triangular(width="1")}
    rest = spiking if name == "held" else {"output": "v"}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cell = bp.Cell(**CELLS[name], parameters={"tau": 20 * ms}, inputs=("I",), **rest)  # type: ignore[arg-type]
        bp.Circuit(
            populations={"a": bp.Population(cell, 2)}, projections=(), inputs=1, readout=bp.Readout(size=1)
        ).build()


def test_what_is_wrong_in_a_text_is_said_all_the_same():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(CellError, match="The equations can't be read: (?!.*deprecated)"):
            bp.Cell(equations="dv/dt = (-v + : 1", parameters={"tau": 20 * ms}, inputs=("I",), output="v")


def test_warnings_of_others_come_through():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with quiet(), pytest.raises(DeprecationWarning):
            warnings.warn("mine", DeprecationWarning, stacklevel=1)
        with quiet(), pytest.raises(RuntimeWarning):
            np.log(np.array([-1.0]))

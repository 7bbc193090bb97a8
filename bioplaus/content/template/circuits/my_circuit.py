"""A circuit of this study: which cells there are, and how they are connected."""

import bioplaus as bp
from bioplaus import Circuit


def my_circuit(*, cell=None, inputs: int = 100, units: int = 100, outputs: int = 1) -> Circuit:
    """A recurrent population of this study's own cell.

    Parameters
    ----------
    cell : the cell, `my_cell` unless another is given.
    inputs, units, outputs : numbers of input channels, neurons and readouts.
    """
    return bp.circuit("recurrent", cell=cell or bp.model("my_cell"), inputs=inputs, units=units, outputs=outputs)

"""Simple recurrent (Elman) unit."""

from bioplaus.cell import Cell


def elman(*, rate: str = "tanh(x)") -> Cell:
    """Simple recurrent unit, y_t = rate(I_t): a discrete map without memory of its own.

    Parameters
    ----------
    rate : ``tanh(x)`` or, for a linear network, ``x``.

    References
    ----------
    Elman 1990, doi:10.1207/s15516709cog1402_1.
    """
    return Cell(name="elman", update="x = I", inputs=("I",), output=rate, source="doi:10.1207/s15516709cog1402_1")

"""Long short-term memory unit."""

from bioplaus.cell import Cell


def lstm() -> Cell:
    """c = σ(I_f) c + σ(I_i) tanh(I_g), o = σ(I_o), y = o tanh(c).

    Four input channels, each with its own weights: input, forget, candidate and output gate. Give the forget gate a positive
    bias through the circuit (``bias={"I_f": 1.0}``).

    References
    ----------
    Hochreiter & Schmidhuber 1997, doi:10.1162/neco.1997.9.8.1735; Gers et al. 2000, doi:10.1162/089976600300015015.
    """
    return Cell(
        name="lstm",
        update="c = sigmoid(I_f)*c + sigmoid(I_i)*tanh(I_g); o = sigmoid(I_o)",
        inputs=("I_i", "I_f", "I_g", "I_o"),
        output="o*tanh(c)",
        source="doi:10.1162/neco.1997.9.8.1735",
    )

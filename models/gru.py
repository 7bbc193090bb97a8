"""Gated recurrent unit."""

from bioplaus.cell import Cell


def gru() -> Cell:
    """r = σ(I_r), z = σ(I_z), n = tanh(I_n + r I_h), y ← (1 − z) n + z y.

    The candidate has two channels: external input reaches I_n, recurrent input I_h, so that the reset gate acts on the
    recurrent part alone (the form of torch.nn.GRU).

    References
    ----------
    Cho et al. 2014, doi:10.3115/v1/D14-1179.
    """
    return Cell(
        name="gru",
        update="r = sigmoid(I_r); z = sigmoid(I_z); n = tanh(I_n + r*I_h); h = (1 - z)*n + z*y",
        inputs=("I_r", "I_z", "I_n", "I_h"),
        external=("I_r", "I_z", "I_n"),
        recurrent=("I_r", "I_z", "I_h"),
        output="h",
        source="doi:10.3115/v1/D14-1179",
    )

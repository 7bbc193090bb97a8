"""A unit that follows its input when a clock ticks, and else keeps what it has."""

from bioplaus.cell import Cell


def clocked(*, rate: str = "tanh(x)") -> Cell:
    """y ← c f(I) + (1 − c) y: where the clock c is 1 the unit takes on f(I), where it is 0 it holds its output.

    The clock is an input channel of its own, ``c``, which external input reaches and other neurons do not: a line that ticks every n-th step
    makes a population n times slower than its neighbours (the circuit ``two_rate``). Between ticks ∂y_t/∂y_{t−1} = 1 − c is 1: a rule that looks
    one tick back has nothing to lose on the way.

    Parameters
    ----------
    rate : f, as a function of x: ``tanh(x)``, ``relu(x)``, ``x``, …

    References
    ----------
    Of two networks of different rates with a synthetic gradient between them: Jaderberg et al. 2017, arXiv:1608.05343. Of units with clocks:
    Koutník et al. 2014, arXiv:1402.3511.
    """
    return Cell(
        name="clocked",
        update=f"x = I; u = c*({rate}) + (1 - c)*u",
        inputs=("I", "c"),
        external=("I",),
        recurrent=("I",),
        output="u",
        source="arXiv:1608.05343",
    )

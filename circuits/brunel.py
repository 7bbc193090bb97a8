"""The sparse network of excitatory and inhibitory neurons of Brunel 2000."""

from typing import Any

from bioplaus import Hz, checks, ms
from bioplaus.cell import Cell
from bioplaus.circuit import CELL, Circuit, Poisson, Population, Projection, Readout
from bioplaus.content import model
from bioplaus.errors import CircuitError


def brunel(
    *,
    inputs: int,
    outputs: int,
    excitatory: int = 10_000,
    inhibitory: int | None = None,
    g: float = 5.0,
    eta: float = 2.0,
    jump: float = 0.005,
    sparseness: float = 0.1,
    input_gain: float = 1.0,
    delay: Any = 1.5 * ms,
    tau_out: Any = None,
    dt: Any = 0.1 * ms,
    cell: Cell | None = None,
) -> Circuit:
    """Brunel's model A: each neuron has a tenth of all as sources; all jumps are of one size, inhibitory ones g times as far down.

    From outside come Poisson spikes, as from as many sources as a neuron has excitatory ones, each jumping as far, and η times as fast as brings the
    mean of v to threshold. By default all is as published: v, in units of the threshold of 20 mV, jumps by 0.1 mV, is reset to 10 mV,
    held for 2 ms and leaks with 20 ms. Weights keep their signs. The input reaches the excitatory neurons, and the readout sees them.

    Parameters
    ----------
    inputs, outputs : sizes.
    excitatory, inhibitory : neurons; a quarter as many inhibitory ones as excitatory ones, if None.
    g, eta : inhibition against excitation; drive from outside.
    jump : of v at an excitatory spike, in units of the threshold. With fewer sources √(1000/sources) times as far keeps the noise as it is.
    sparseness : share of each population that a neuron receives from.
    input_gain : standard deviation of input weights times √inputs, in jumps.
    delay, tau_out, dt : as in ``recurrent``.
    cell : another one whose v jumps; by default ``delta_lif`` as published.

    References
    ----------
    Brunel 2000, doi:10.1023/A:1008925309027.
    """
    excitatory = checks.accept(CircuitError, "excitatory of brunel", excitatory, checks.Whole(2))
    sizes = {"E": excitatory, "I": excitatory // 4 if inhibitory is None else inhibitory}
    sizes["I"] = checks.accept(CircuitError, "inhibitory of brunel", sizes["I"], checks.Whole(1))
    share = checks.accept(CircuitError, "sparseness of brunel", sparseness, checks.Real(above=0, most=1))
    g = checks.accept(CircuitError, "g of brunel", g, checks.Real(least=0))
    eta = checks.accept(CircuitError, "eta of brunel", eta, checks.Real(above=0))
    jump = checks.accept(CircuitError, "jump of brunel", jump, checks.Real(above=0))
    given = model("delta_lif", V_reset=0.5) if cell is None else cell
    neuron: Cell = checks.accept(CircuitError, "cell of brunel", given, CELL)
    if "v" not in neuron.jumps:
        raise CircuitError(
            f"The v of {neuron.name} does not jump, as that of brunel's neurons does. Give a cell with jumps=('v',), such as bp.model('delta_lif')."
        )
    sources = {name: max(1, round(share * size)) for name, size in sizes.items()}
    reached = 1 / (jump * sources["E"] * TAU)  # Hz of each: the rate at which the mean is at threshold
    background = {"v": Poisson(rate=eta * reached * Hz, n=sources["E"], weight=jump)}
    lines = [Projection(name="W_in", source="input", target="E", channels=("v",), gain=input_gain * jump)]
    for post in sizes:
        for pre, sign, far in (("E", 1, jump), ("I", -1, g * jump)):
            drawn = {"fan_in": sources[pre], "init": "constant", "gain": far * sources[pre], "sign": sign}
            lines.append(
                Projection(name=f"W_{post}{pre}", source=pre, target=post, channels=("v",), delay=delay, **drawn)
            )
    return Circuit(
        populations={name: Population(neuron, size, None, background) for name, size in sizes.items()},
        projections=tuple(lines),
        inputs=inputs,
        dt=dt,
        name="brunel",
        readout=Readout(size=outputs, tau=tau_out, sources=("E",)),
    )


#: s, of the membrane: of the published cell, by which the drive is told
TAU = 0.02

"""Excitatory and inhibitory neurons under Dale's law."""

from collections.abc import Mapping
from typing import Any

from bioplaus import checks, ms
from bioplaus.cell import Cell
from bioplaus.circuit import CELL, Circuit, Poisson, Population, Projection, Readout
from bioplaus.circuit.dale import conducts, reached
from bioplaus.errors import CircuitError


def excitatory_inhibitory(
    *,
    cell: Cell | str,
    inhibitory: Cell | str | None = None,
    inputs: int,
    units: int,
    outputs: int,
    fraction: float = 0.8,
    fan_in: float = 1.0,
    gain: float = 1.0,
    balance: float = 1.0,
    input_gain: float = 1.0,
    background: Mapping[str, Mapping[str, Poisson]] | None = None,
    delay: Any = 1,
    tau_out: Any = None,
    dt: Any = 1 * ms,
) -> Circuit:
    """80 % excitatory, 20 % inhibitory; every weight keeps its presynaptic neuron's sign; the readout sees excitatory cells.

    Weights are gamma-distributed (shape 2) with mean gain/fan-in; inhibitory ones are stronger by E/I · balance, so that at
    balance 1 the mean recurrent input cancels. Signs hold after every update.

    Inhibitory neurons reach the channels that a cell calls ``inhibitory``, excitatory ones the others: of ``coba`` g_i and g_e, both with
    positive weights, as conductances have them; of ``cuba`` g_i with negative ones. Cells that keep none apart get both kinds on the
    same channels. Where inhibition is a conductance the input's weights are positive too. ``balance`` weighs what jumps: a conductance's
    effect is that times its distance from reversal and its time constant.

    Parameters
    ----------
    cell, inhibitory : cell types of the two populations; one for both if ``inhibitory`` is None.
    inputs, units, outputs : sizes; ``units`` in total.
    fraction : of excitatory neurons.
    fan_in : fraction of each population a neuron receives from (exact, without autapses).
    gain, balance, input_gain : strength of recurrent weights, of inhibition against excitation, of input weights.
    background : Poisson spikes from outside by population and channel, ``{"E": {"ge": bp.Poisson(rate=5*Hz, n=800, weight=0.02)}}``.
    delay, tau_out, dt : as in ``recurrent``; a delay is steps or a time.

    References
    ----------
    Song, Yang & Wang 2016, doi:10.1371/journal.pcbi.1004792.
    """
    units = checks.whole(CircuitError, "units", units)
    given = {"E": cell, "I": inhibitory if inhibitory is not None else cell}
    cells = {name: checks.accept(CircuitError, "The cell of a circuit", each, CELL) for name, each in given.items()}
    share = checks.accept(CircuitError, "fraction of excitatory_inhibitory", fraction, checks.Real(above=0, below=1))
    sizes = {"E": round(units * share), "I": units - round(units * share)}
    if min(sizes.values()) < 2 or not 0 < fan_in <= 1:
        raise CircuitError(
            f"units={units} with fraction={fraction} gives {sizes}, fan_in={fan_in}: need at least 2 of each kind and 0 < fan_in ≤ 1."
        )
    if background is not None and not isinstance(background, Mapping):
        raise checks.refusal(
            CircuitError,
            "background",
            background,
            "a mapping of E and I, such as {'E': {'I': bp.Poisson(rate=5*Hz)}}, or None",
        )
    if stray := sorted(map(str, {*(background or {})} - {*cells})):
        raise CircuitError(
            f"The background of excitatory_inhibitory names {', '.join(stray)}; its populations are E and I, each with channels of its own: "
            "{'E': {'I': bp.Poisson(rate=5*Hz)}}."
        )
    projections = []
    for post in sizes:
        lines = {"sign": 1, "init": "gamma"} if conducts(cells[post]) else {}
        projections.append(Projection(name=f"W_in_{post}", source="input", target=post, gain=input_gain, **lines))
        for pre, strength in (("E", gain), ("I", gain * balance)):
            channels, sign = reached(cells[post], excitatory=pre == "E")
            count = min(sizes[pre] - (pre == post), max(1, round(fan_in * sizes[pre])))
            synapses = {"sign": sign, "fan_in": count, "autapses": False, "init": "gamma", "gain": strength}
            projections.append(
                Projection(name=f"W_{post}{pre}", source=pre, target=post, channels=channels, delay=delay, **synapses)
            )
    return Circuit(
        populations={
            n: Population(c, sizes[n], None if c.spiking else {}, (background or {}).get(n)) for n, c in cells.items()
        },
        projections=tuple(projections),
        inputs=inputs,
        dt=dt,
        name="excitatory_inhibitory",
        readout=Readout(size=outputs, tau=tau_out, sources=("E",)),
    )

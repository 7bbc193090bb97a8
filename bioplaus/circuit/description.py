"""What a circuit is made of: populations, projections, readout. Descriptions only, no numbers yet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from bioplaus.cell import Cell
from bioplaus.errors import CircuitError

INPUT = "input"


@dataclass(frozen=True)
class Population:
    """``size`` neurons of one cell type.

    ``bias`` gives the learned constant input of each channel its first value; None leaves the population without bias.
    """

    cell: Cell
    size: int
    bias: Mapping[str, float] | None = None


@dataclass(frozen=True, kw_only=True)
class Projection:
    """Weights W[post, pre] from a population (or the external input) onto channels of a population.

    Parameters
    ----------
    name : the weight's name in ``network.weights``.
    source : population name, or ``"input"``.
    target : population name.
    channels : target channels, default those the cell opens to external or recurrent input. Several channels: rows are
        grouped by channel, so the matrix is (channels · post, pre).
    delay : steps from an output to its effect, ≥ 1; external input acts in its own step (0).
    sign : +1 or −1 holds every weight at or beyond zero (Dale's law), None leaves it free.
    fan_in : number of distinct sources per neuron, None for all (dense).
    autapses : whether a neuron may project to itself.
    init : ``"normal"`` N(0, gain²/fan-in), ``"uniform"`` U(±gain/√fan-in), ``"gamma"`` (shape 2) of mean gain/fan-in, ``"zeros"``.
    learned : whether rules compute its gradient.
    """

    name: str
    source: str
    target: str
    channels: tuple[str, ...] | None = None
    delay: int | None = None
    sign: int | None = None
    fan_in: int | None = None
    autapses: bool = True
    init: str = "normal"
    gain: float = 1.0
    learned: bool = True


@dataclass(frozen=True, kw_only=True)
class Readout:
    """o_t = C ȳ_t + c, with ȳ_t = κ ȳ_{t−1} + (1 − κ) y_t the filtered output and κ = exp(−dt/tau); tau None: κ = 0.

    ``sources`` names the populations read; None reads all of them.
    """

    size: int
    tau: Any = None
    sources: tuple[str, ...] | None = None
    bias: bool = True
    init: str = "normal"
    gain: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Circuit:
    """Populations, projections, external input and a readout.

    Parameters
    ----------
    populations : name → Population.
    projections : weights between them and from ``"input"``.
    inputs : number of external input lines.
    readout : Readout.
    dt : step; a quantity or seconds. Discrete maps ignore it.
    name : for reports.
    cerebellum : a predictor (`bioplaus.cerebellum`) beside the circuit, which rules with a synthetic gradient learn and read.

    Raises
    ------
    CircuitError
        For unknown populations or channels, repeated names, impossible sizes, delays or fan-ins.
    """

    populations: Mapping[str, Population]
    projections: tuple[Projection, ...]
    inputs: int
    readout: Readout
    dt: Any = 1e-3
    name: str = "circuit"
    cerebellum: Any = None
    kappa: float = field(init=False, default=0.0)

    def __post_init__(self) -> None:
        object.__setattr__(self, "dt", float(np.asarray(self.dt, dtype=float)))
        if not self.dt > 0:
            raise CircuitError(f"dt is {self.dt} s; it must be positive, e.g. dt=1*ms.")
        _positive(self.inputs, "inputs (external input lines)", least=0)
        _positive(self.readout.size, "the readout's size")
        for name, population in self.populations.items():
            _positive(population.size, f"the size of population '{name}'")
            stray = set(population.bias or ()) - set(population.cell.inputs)
            if stray:
                raise CircuitError(f"bias of '{name}' names {sorted(stray)}; its input channels are {', '.join(population.cell.inputs)}.")
            if name == INPUT:
                raise CircuitError("A population cannot be called 'input': that names the external input.")
        names = [p.name for p in self.projections]
        if len(set(names)) < len(names):
            raise CircuitError(f"Projection names must differ, got {names}.")
        object.__setattr__(self, "projections", tuple(self._completed(p) for p in self.projections))
        sources = self.readout.sources if self.readout.sources is not None else tuple(self.populations)
        for source in sources:
            self._population(source, "the readout's sources")
        object.__setattr__(self, "readout", replace(self.readout, sources=tuple(sources)))
        tau = self.readout.tau
        seconds = None if tau is None else float(np.asarray(tau, dtype=float))
        if seconds is not None and not seconds > 0:
            raise CircuitError(f"The readout's time constant is {tau}; it must be positive, e.g. 20*ms, or None for no memory.")
        object.__setattr__(self, "kappa", 0.0 if seconds is None else float(np.exp(-self.dt / seconds)))

    def _population(self, name: str, where: str) -> Population:
        if name not in self.populations:
            raise CircuitError(f"Unknown population '{name}' in {where}. Populations: {', '.join(self.populations)}.")
        return self.populations[name]

    def _completed(self, p: Projection) -> Projection:
        cell = self._population(p.target, f"projection {p.name} (target)").cell
        external = p.source == INPUT
        pre = self.inputs if external else self._population(p.source, f"projection {p.name} (source; or 'input')").size
        opened = (cell.external if external else cell.recurrent) or tuple(cell.inputs)
        channels = p.channels if p.channels is not None else opened
        stray = set(channels) - set(cell.inputs)
        if stray:
            raise CircuitError(f"Projection {p.name} targets channel {sorted(stray)}; '{p.target}' has {', '.join(cell.inputs)}.")
        delay = (0 if external else 1) if p.delay is None else p.delay
        if delay != int(delay) or delay < 0 or (delay < 1 and not external) or (delay and external):
            raise CircuitError(f"Projection {p.name} has delay {p.delay}: between populations give ≥ 1 step; external input has none.")
        if p.sign not in (None, 1, -1):
            raise CircuitError(f"Projection {p.name} has sign {p.sign}; give +1, −1 or None.")
        if p.init not in ("normal", "uniform", "gamma", "zeros"):
            raise CircuitError(f"Projection {p.name} has init '{p.init}'; known: normal, uniform, gamma, zeros.")
        most = pre if p.autapses or p.source != p.target else pre - 1
        if p.fan_in is not None and not 1 <= p.fan_in <= most:
            raise CircuitError(f"Projection {p.name} wants fan_in={p.fan_in} of {most} possible sources.")
        return replace(p, channels=tuple(channels), delay=int(delay))

    def build(self, seed: int = 0, dtype: Any = None, device: Any = "cpu") -> Any:
        """Compile the cells and draw the weights: see `bioplaus.circuit.network.Network`."""
        from bioplaus.circuit.network import Network

        return Network(self, seed=seed, dtype=dtype, device=device)

    def counts(self) -> str:
        """``100 alif, 40 inputs, 2 outputs``"""
        cells = ", ".join(f"{p.size} {p.cell.name or 'cells'}" for p in self.populations.values())
        return f"{cells}, {self.inputs} inputs, {self.readout.size} outputs"

    def describe(self) -> dict[str, Any]:
        """Everything that defines the circuit, as plain data."""
        return {
            "name": self.name,
            "dt": f"{self.dt * 1e3:g} ms",
            "inputs": self.inputs,
            "populations": {
                n: {"size": p.size, "bias": None if p.bias is None else dict(p.bias), "cell": p.cell.describe()} for n, p in self.populations.items()
            },
            "projections": [{k: v for k, v in vars(p).items() if v is not None} for p in self.projections],
            "cerebellum": None if self.cerebellum is None else self.cerebellum.describe(),
            "readout": {**{k: v for k, v in vars(self.readout).items() if k != "tau"}, "kappa": self.kappa},
        }


def _positive(value: Any, what: str, least: int = 1) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
        raise CircuitError(f"{what} is {value!r}; give a whole number ≥ {least}.")

"""What a circuit is made of: populations, projections, readout. Descriptions only, no numbers yet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import exp
from typing import Any

from bioplaus import checks
from bioplaus.cell import Cell
from bioplaus.cerebellum.predictors import Predictor
from bioplaus.errors import CircuitError

INPUT = "input"
INITS = ("normal", "uniform", "gamma", "orthogonal", "zeros")
LONGEST = 10_000  # steps of delay; every one of them is kept for every neuron  # chosen: 10 s at 1 ms


@dataclass(frozen=True)
class Population:
    """``size`` neurons of one cell type.

    ``bias`` gives the learned constant input of each channel its first value; None leaves the population without bias.
    """

    cell: Cell
    size: int
    bias: Mapping[str, float] | None = None

    constraints = checks.Table(
        CircuitError,
        "of a population",
        cell=checks.Instance(Cell, "bp.model('lif')"),
        size=checks.Whole(),
        bias=checks.Optional(checks.Mapped(checks.Real(), "{'I': 0.0}"), "for no bias"),
    )

    def __post_init__(self) -> None:
        checks.settle(self)
        stray = sorted(name for name in self.bias or () if name not in self.cell.inputs)
        if stray:
            raise CircuitError(
                f"The bias of a population names {', '.join(stray)}; its input channels are {', '.join(self.cell.inputs)}."
            )


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
    init : ``"normal"`` N(0, gain²/fan-in), ``"uniform"`` U(±gain/√fan-in), ``"gamma"`` (shape 2) of mean gain/fan-in, ``"zeros"``;
        ``"orthogonal"``: gain times a random orthogonal matrix for each channel, which passes all directions on alike (Saxe, McClelland
        & Ganguli 2014, arXiv:1312.6120); of a matrix that is not square the rows or the columns, whichever are fewer, are orthonormal.
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

    constraints = checks.Table(
        CircuitError,
        "of projection {0.name!s:.40}",
        name=checks.Word(),
        source=checks.Word(),
        target=checks.Word(),
        channels=checks.Optional(
            checks.Several(checks.Word(), "('I',)", different=True), "for those that the cell opens"
        ),
        delay=checks.Optional(checks.Whole(0, LONGEST), "for the least there is"),
        sign=checks.Optional(checks.Among((1, -1)), "to leave it free"),
        fan_in=checks.Optional(checks.Whole(), "for all"),
        autapses=checks.Flag(),
        init=checks.Word(INITS),
        gain=checks.Real(),
        learned=checks.Flag(),
    )

    def __post_init__(self) -> None:
        checks.settle(self)
        if self.source == INPUT and self.delay:
            raise CircuitError(
                f"delay of projection {self.name} is {self.delay}; external input has none: it acts in its own step. Leave it out."
            )
        if self.source != INPUT and self.delay == 0:
            raise CircuitError(
                f"delay of projection {self.name} is 0; it must be at least 1: an output takes effect one step later, or after more."
            )
        sparse = self.fan_in is not None or (self.source == self.target and not self.autapses)
        if self.init == "orthogonal" and (sparse or self.sign is not None):
            raise CircuitError(
                f"init='orthogonal' of projection {self.name} goes with every weight present and free in sign: with fan_in, sign or autapses=False "
                "the matrix would not be orthogonal any more. Leave those out, or take another init, such as 'normal'."
            )


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

    constraints = checks.Table(
        CircuitError,
        "of the readout",
        size=checks.Whole(),
        tau=checks.Optional(checks.Amount("s", "20*ms"), "for no memory"),
        sources=checks.Optional(checks.Several(checks.Word(), "('E',)", different=True), "for all populations"),
        bias=checks.Flag(),
        init=checks.Word(INITS),
        gain=checks.Real(),
    )

    def __post_init__(self) -> None:
        checks.settle(self)


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
    cerebellum: Predictor | None = None
    kappa: float = field(init=False, default=0.0)

    constraints = checks.Table(
        CircuitError,
        "of the circuit",
        populations=checks.Mapped(
            checks.Instance(Population, "Population(bp.model('lif'), 100)"),
            "{'E': Population(bp.model('lif'), 100)}",
            1,
        ),
        projections=checks.Several(
            checks.Instance(Projection, "Projection(name='W', source='E', target='E')"),
            "(Projection(name='W', source='E', target='E'),)",
            0,
        ),
        inputs=checks.Whole(0),
        readout=checks.Instance(Readout, "Readout(size=2)"),
        dt=checks.Amount("s", "1*ms"),
        name=checks.Word(),
        cerebellum=checks.Optional(checks.Instance(Predictor, "bp.predictor('linear')"), "for none"),
    )

    def __post_init__(self) -> None:
        checks.settle(self)
        if INPUT in self.populations:
            raise CircuitError("A population cannot be called 'input': that names the external input.")
        names = [p.name for p in self.projections] + ["W_out", "b_out"] + self._biases()
        twice = sorted({n for n in names if names.count(n) > 1})
        if twice:
            raise CircuitError(
                f"Several weights would be called {', '.join(twice)}. Name each projection differently, and not like a bias or the readout's weights."
            )
        object.__setattr__(self, "projections", tuple(self._completed(p) for p in self.projections))
        sources = self.readout.sources if self.readout.sources is not None else tuple(self.populations)
        for source in sources:
            self._population(source, "the readout's sources")
        object.__setattr__(self, "readout", replace(self.readout, sources=sources))
        tau = self.readout.tau
        object.__setattr__(self, "kappa", 0.0 if tau is None else exp(-self.dt / tau))

    def _biases(self) -> list[str]:
        """What the learned biases are called."""
        return [
            "b" if len(self.populations) == 1 else f"b_{n}" for n, p in self.populations.items() if p.bias is not None
        ]

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
            raise CircuitError(
                f"Projection {p.name} targets channel {sorted(stray)}; '{p.target}' has {', '.join(cell.inputs)}."
            )
        delay = (0 if external else 1) if p.delay is None else p.delay
        most = pre if p.autapses or p.source != p.target else pre - 1
        if p.fan_in is not None and p.fan_in > most:
            raise CircuitError(f"Projection {p.name} wants fan_in={p.fan_in} of {most} possible sources.")
        return replace(p, channels=tuple(channels), delay=delay)

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
            "dt": f"{self.dt * 1e3!r} ms",
            "inputs": self.inputs,
            "populations": {
                n: {"size": p.size, "bias": None if p.bias is None else dict(p.bias), "cell": p.cell.describe()}
                for n, p in self.populations.items()
            },
            "projections": [{k: v for k, v in vars(p).items() if v is not None} for p in self.projections],
            "cerebellum": None if self.cerebellum is None else self.cerebellum.describe(),
            "readout": {**{k: v for k, v in vars(self.readout).items() if k != "tau"}, "kappa": self.kappa},
        }

"""What a circuit is made of: populations, projections, readout. Descriptions only, no numbers yet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bioplaus import checks
from bioplaus.cell import Cell
from bioplaus.circuit.connect import SPARSE, Connected
from bioplaus.circuit.dale import conductances
from bioplaus.circuit.delays import Delay, Late, Listed, shown
from bioplaus.circuit.space import Kernel, Placed
from bioplaus.content import model
from bioplaus.errors import CircuitError

if TYPE_CHECKING:
    from bioplaus.circuit.near import Near
    from bioplaus.circuit.space import Positions

INPUT = "input"
INITS = ("normal", "uniform", "gamma", "constant", "orthogonal", "zeros")
CELL = checks.Instance(Cell, "bp.model('lif')", by_name=model)


@dataclass(frozen=True, kw_only=True)
class Poisson:
    """``n`` sources that spike at random with ``rate`` each, for every neuron its own: Brian2's `PoissonInput`.

    In a step as many of them spike as a Binomial(n, rate·dt) has it, and each gives ``weight``, which is not learned.
    """

    rate: Any
    n: int = 1
    weight: float = 1.0

    constraints = checks.Table(
        CircuitError,
        "of Poisson",
        rate=checks.Amount("Hz", "5*Hz"),
        n=checks.Whole(),
        weight=checks.Real(),
    )

    def __post_init__(self) -> None:
        checks.settle(self)


@dataclass(frozen=True)
class Population:
    """``size`` neurons of one cell type; a model's name stands for the model as it comes.

    ``bias`` gives the learned constant input of each channel its first value; None leaves the population without bias.
    ``background`` gives channels spikes at random: ``{"ge": bp.Poisson(rate=5*Hz, n=800, weight=0.1)}``.
    ``positions`` says where the neurons are: ``bp.grid((20, 50), spacing=10*um)``, or an array (neuron, 1 to 3) of lengths; projections
    with a ``kernel`` go by them.
    """

    cell: Cell
    size: int
    bias: Mapping[str, float] | None = None
    background: Mapping[str, Poisson] | None = None
    positions: Any = None

    constraints = checks.Table(
        CircuitError,
        "of a population",
        cell=CELL,
        size=checks.Whole(),
        bias=checks.Optional(checks.Mapped(checks.Real(), "{'I': 0.0}"), "for no bias"),
        background=checks.Optional(
            checks.Mapped(checks.Instance(Poisson, "bp.Poisson(rate=5*Hz)"), "{'I': bp.Poisson(rate=5*Hz)}"), "for none"
        ),
        positions=checks.Optional(Placed(), "for nowhere"),
    )

    def __post_init__(self) -> None:
        checks.settle(self)
        from bioplaus.symbolic.arguments import sizes  # a cell is there: what this needs is loaded

        sizes(self.cell, self.size)
        if self.positions is not None and len(self.positions) != self.size:
            raise CircuitError(
                f"The population has {self.size} neurons and positions of {len(self.positions)}: give a place for each."
            )
        if self.bias is not None and not self.cell.inputs:
            raise CircuitError(
                "The population has a bias and its cell no input channel that is held over a step, which a constant needs: at a jump it would act the more often the "
                "smaller dt. Leave the bias out, or give the cell one, such as inputs=('I',)."
            )
        stray = sorted(name for name in self.bias or () if name not in self.cell.inputs)
        if stray:
            raise CircuitError(
                f"The bias of a population names {', '.join(stray)}; "
                f"its input channels{' held over a step' if self.cell.jumps else ''} are {', '.join(self.cell.inputs)}."
            )
        stray = sorted(name for name in self.background or () if name not in self.cell.channels)
        if stray:
            raise CircuitError(
                f"The background of a population names {', '.join(stray)}; its input channels are {', '.join(self.cell.channels)}."
            )
        below = sorted(k for k, b in (self.background or {}).items() if b.weight < 0 and k in conductances(self.cell))
        if below:
            raise CircuitError(
                f"The background of a population onto {', '.join(below)} has a negative weight, and conductances are never negative. Give a weight above zero; what "
                f"inhibits the cell are {', '.join(self.cell.inhibitory)}."
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
    sends : what of the source it carries: a name of its cell's ``sends``, None for its spikes or rates.
    delay : from an output to its effect, in steps, ≥ 1, or as a time that stays itself when the circuit's dt changes (``1.5*ms``);
        kept as a whole number or in seconds. External input acts in its own step (0). Each synapse its own: an array (synapse,) in the order of
        ``synapses``, or a matrix [post, pre]; drawn from the seed, ``bp.Uniform(1*ms, 5*ms)``, ``bp.Normal(3*ms, 1*ms)``; by distance,
        ``bp.Conduction(velocity=0.3*mm/ms)``. Such times go to the nearest step, one at least, and weights are kept one by one.
    sign : +1 or −1 holds every weight at or beyond zero (Dale's law), None leaves it free.
    fan_in : number of distinct sources per neuron, None for all.
    probability : that a neuron speaks to another, for every pair by itself.
    kernel : how either goes by distance, between populations with positions: ``bp.Gaussian(sigma=100*um)``, ``bp.Exponential``, ``bp.Within``. With
        ``probability`` that is p·k(d); with ``fan_in`` sources are drawn one after the other, in proportion to k(d).
    synapses : which there are: two arrays (synapse,) of the postsynaptic and the presynaptic neuron, or a boolean matrix [post, pre]. Of these
        three one at most.
    sparse : whether weights are kept for synapses alone: ``network.weights[name]`` has then one value a synapse (channels one after the other),
        ``network.synapses[name]`` says which is whose, and ``network.matrix(name)`` gives W[post, pre]; all costs go with the number of synapses.
        None: where at most a tenth of all pairs is connected.
    autapses : whether a neuron may project to itself.
    init : ``"normal"`` N(0, gain²/fan-in), ``"uniform"`` U(±gain/√fan-in), ``"gamma"`` (shape 2) of mean gain/fan-in, ``"constant"``:
        gain/fan-in, ``"zeros"``;
        ``"orthogonal"``: gain times a random orthogonal matrix for each channel, which passes all directions on alike (Saxe, McClelland
        & Ganguli 2014, arXiv:1312.6120); of a matrix that is not square the rows or the columns, whichever are fewer, are orthonormal.
    learned : whether rules compute its gradient.
    """

    name: str
    source: str
    target: str
    channels: tuple[str, ...] | None = None
    sends: str | None = None
    delay: Any = None
    sign: int | None = None
    fan_in: int | None = None
    probability: float | None = None
    synapses: Any = None
    kernel: Any = None
    sparse: bool | None = None
    autapses: bool = True
    init: str = "normal"
    gain: float = 1.0
    learned: bool = True
    #: where the neurons of both ends are, once a circuit knows them: for the kernel, and for delays
    near: Near | None = field(default=None, init=False, repr=False, compare=False)
    ends: tuple[Positions, Positions] | None = field(default=None, init=False, repr=False, compare=False)

    constraints = checks.Table(
        CircuitError,
        "of projection {0.name!s:.40}",
        name=checks.Word(),
        source=checks.Word(),
        target=checks.Word(),
        channels=checks.Optional(
            checks.Several(checks.Word(), "('I',)", different=True), "for those that the cell opens"
        ),
        sends=checks.Optional(checks.Word(), "for spikes or rates"),
        delay=checks.Optional(Delay(), "for the least there is"),
        sign=checks.Optional(checks.Among((1, -1)), "to leave it free"),
        fan_in=checks.Optional(checks.Whole(), "for all"),
        probability=checks.Optional(checks.Real(above=0, most=1), "for all"),
        synapses=checks.Optional(Connected(), "for all"),
        kernel=checks.Optional(checks.Instance(Kernel, "bp.Gaussian(sigma=100*um)"), "for whatever the distance"),
        sparse=checks.Optional(checks.Flag(), "for where few are connected"),
        autapses=checks.Flag(),
        init=checks.Word(INITS),
        gain=checks.Real(),
        learned=checks.Flag(),
    )

    def __post_init__(self) -> None:
        checks.settle(self)
        if self.sign is not None and self.gain < 0:
            raise CircuitError(
                f"gain of projection {self.name} is {self.gain:g} and its sign {self.sign:+d}: gain is a strength, 0 or more, where sign says which way it acts. "
                f"Write gain={-self.gain:g}, and sign=-1 for inhibition."
            )
        if self.source == INPUT and self.sends:
            raise CircuitError(
                f"sends of projection {self.name} is '{self.sends}', and external input is what it is: only cells send something beside it. Leave it out."
            )
        if self.source == INPUT and self.delay:
            raise CircuitError(
                f"delay of projection {self.name} is {self.delay if isinstance(self.delay, Late) else shown(self.delay)}; external input has none: it acts in its own step. Leave it out."
            )
        if self.source != INPUT and self.delay == 0:
            raise CircuitError(
                f"delay of projection {self.name} is 0; it must be at least 1: an output takes effect one step later, or after more."
            )
        if isinstance(self.delay, Listed):
            pairs, delay = self.delay.beside(self.synapses, self.name)
            object.__setattr__(self, "synapses", pairs)
            object.__setattr__(self, "delay", delay)
        said = [n for n in ("fan_in", "probability", "synapses") if getattr(self, n) is not None]
        if len(said) > 1:
            raise CircuitError(
                f"Projection {self.name} says which synapses there are in {len(said)} ways, {' and '.join(said)}: give one of them."
            )
        if self.sparse is False and isinstance(self.delay, Late):
            raise CircuitError(
                f"Projection {self.name} has sparse=False and delays that differ from synapse to synapse, with which weights are kept one by one. Leave sparse out."
            )
        if self.sparse and not (said or isinstance(self.delay, Late)):
            raise CircuitError(
                f"Projection {self.name} has sparse=True and every synapse. Say which there are: fan_in=100, probability=0.1, or synapses=(post, pre)."
            )
        if self.kernel is not None and said not in (["fan_in"], ["probability"]):
            raise CircuitError(
                f"Projection {self.name} has a kernel, which says how synapses go by distance: say how many there are, with fan_in=100, or probability=0.2 at no distance."
            )
        if self.kernel is not None and self.source == INPUT:
            raise CircuitError(
                f"Projection {self.name} has a kernel, and external input has no positions. Leave it out, or give the pairs themselves: synapses=(post, pre)."
            )
        missing = bool(said) or isinstance(self.delay, Late) or (self.source == self.target and not self.autapses)
        if self.init == "orthogonal" and (missing or self.sign is not None):
            raise CircuitError(
                f"init='orthogonal' of projection {self.name} goes with every weight present and free in sign: with fan_in, probability, synapses, sign, autapses=False or delays of each synapse "
                "the matrix would not be orthogonal any more. Leave those out, or take another init, such as 'normal'."
            )

    def possible(self, post: int, pre: int) -> int:
        """How many synapses there could be, from so many neurons to so many."""
        return post * (pre if self.autapses or self.source != self.target else pre - 1)

    def count(self, post: int, pre: int) -> int:
        """How many there are; where they are drawn one by one, on average."""
        if self.fan_in is not None:
            return post * self.fan_in
        if self.near is not None:
            return round((self.probability or 0.0) * post * self.near.mean)
        if self.probability is not None:
            return round(self.probability * self.possible(post, pre))
        return self.possible(post, pre) if self.synapses is None else len(self.synapses)

    def apart(self, post: int, pre: int) -> bool:
        """Whether weights are kept one by one, for synapses alone."""
        if isinstance(self.delay, Late):
            return True
        if self.sparse is not None:
            return self.sparse
        return self.partial and self.count(post, pre) <= SPARSE * self.possible(post, pre)

    def sources(self, post: int, pre: int) -> int:
        """Of a neuron, on average: what first weights go by."""
        return max(1, round(self.count(post, pre) / post)) if self.partial else pre

    @property
    def partial(self) -> bool:
        """Whether it is said which synapses there are."""
        return any(each is not None for each in (self.fan_in, self.probability, self.synapses))


@dataclass(frozen=True, kw_only=True)
class Readout:
    """o_t = C ȳ_t + c, with ȳ_t = κ ȳ_{t−1} + (1 − κ) y_t the filtered output and κ = exp(−dt/tau); tau None: κ = 0.

    ``sources`` names the populations read; None reads all of them. ``apart=True`` gives each of them outputs of its own, ``size`` over their number,
    that see it alone: C has a block for each, and is 0 elsewhere. An error then goes back, through C, to the area that made it alone: with a rule that
    gives direct credit (``eprop``, ``tbptt`` of one step) every area learns from a loss of its own.
    """

    size: int
    tau: Any = None
    sources: tuple[str, ...] | None = None
    bias: bool = True
    init: str = "normal"
    gain: float = 1.0
    apart: bool = False

    constraints = checks.Table(
        CircuitError,
        "of the readout",
        size=checks.Whole(),
        tau=checks.Optional(checks.Amount("s", "20*ms"), "for no memory"),
        sources=checks.Optional(checks.Several(checks.Word(), "('E',)", different=True), "for all populations"),
        bias=checks.Flag(),
        init=checks.Word(INITS),
        gain=checks.Real(),
        apart=checks.Flag(),
    )

    def __post_init__(self) -> None:
        checks.settle(self)

"""A cell as its author writes it: equations, parameters with units, spike, reset, output."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Self

from bioplaus.checks import short
from bioplaus.errors import CellError, unknown

if TYPE_CHECKING:
    from bioplaus.codegen.kernel import Kernel
    from bioplaus.symbolic.derive import Derived
    from bioplaus.symbolic.parsed import Parsed


@dataclass(frozen=True)
class Surrogate:
    """Stand-in for the derivative of a spike.

    ``height`` is an expression in ``x``, the spike margin divided by ``width``: ψ = height(x)·∂x/∂u. So with the default
    width, the threshold, a triangular surrogate is dampening/threshold · max(0, 1 − |v − A|/threshold)
    (Bellec et al. 2020, doi:10.1038/s41467-020-17236-y).
    """

    height: str
    width: str = "threshold"
    parameters: Mapping[str, float] = field(default_factory=dict)


def triangular(dampening: float = 0.3, width: str = "threshold") -> Surrogate:
    """dampening · max(0, 1 − |x|), with x the margin over ``width`` (an expression in the cell's parameters)."""
    return Surrogate("surrogate_dampening*relu(1 - abs(x))", width, {"surrogate_dampening": _height(dampening)})


def fast_sigmoid(slope: float = 10.0, dampening: float = 1.0, width: str = "threshold") -> Surrogate:
    """dampening / (1 + slope |x|)² (Zenke & Ganguli 2018, doi:10.1162/neco_a_01086)."""
    parameters = {"surrogate_dampening": _height(dampening), "surrogate_slope": _height(slope)}
    return Surrogate("surrogate_dampening/(1 + surrogate_slope*abs(x))**2", width, parameters)


def _height(value: Any) -> Any:
    """A surrogate derivative of the wrong sign would climb the loss."""
    if isinstance(value, (int, float)) and value < 0:
        raise CellError(f"A surrogate's dampening and slope can't be negative; got {value}.")
    return value


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Cell:
    """One kind of neuron, from which everything else is derived.

    Give either ``equations`` (differential equations in Brian2's syntax, integrated by Brian2's state updater ``method``) or
    ``update`` (a discrete map: assignments, which may use the neuron's own last output ``y``); and either ``spike`` (with
    ``reset`` and ``surrogate``) or ``output`` (a rate).

    Parameters
    ----------
    equations : str
        ``"dv/dt = (-v + I)/tau_m : 1"``. The flag ``(unless refractory)`` freezes a variable while refractory. ``xi`` is white noise of
        unit s^-½, every neuron's own; ``xi_1``, ``xi_2`` are others. A circuit draws it from its seed, and derivatives are those at the draw.
    update : str
        ``"c = sigmoid(I_f)*c + …; o = sigmoid(I_o)"``. Variables that are read before they are assigned, or that the output
        reads, are state; the others are shorthand.
    inputs : tuple of str, or mapping of str to quantity
        Input channels held over a step, as a current is; a mapping gives the current that one unit of weight stands for, e.g.
        ``{"I": 100*pA}``. Afterwards a mapping in either case. Default: ``("I",)``, or none where there are jumps.
    jumps : mapping of state to quantity
        Input channels that act at once, each called after the state that jumps when a spike arrives, by so much for one unit of
        weight: ``{"ge": 1*mV}`` is Brian2's ``on_pre="ge += w*mV"``. A tuple of states jumps by 1.
    external, recurrent : tuple of str, optional
        The channels that external input and other neurons reach; all of them by default.
    inhibitory : tuple of str, or mapping of str to sign, optional
        The channels that inhibitory neurons reach in circuits that know two kinds, such as ``excitatory_inhibitory``; excitatory ones then
        reach the other recurrent channels. In a tuple, conductances: what inhibits there is a positive weight; ``{"gi": -1}`` is a
        current, on which negative weights inhibit.
    output : str
        Rate as a function of the new state, e.g. ``"tanh(x)"``.
    spike : str
        ``"v > threshold + beta*a"``, or with ``>=``, ``<``, ``<=``; several comparisons are joined by ``and``, ``or``, ``not``. The margin
        that the surrogate sees is that of the first; the others only say where it decides, and ψ is zero where it does not.
    sends : mapping of name to str
        Further outputs, which projections can carry in place of the spike or the rate (``Projection(sends="s")``): plain numbers, functions of
        the states as they are at the end of a step, after the reset: ``{"s": "s"}`` for a gate that all synapses of a neuron share, ``{"v": "v/mV"}``
        for a graded synapse. ``spike`` is 1 in the step of a spike and else 0, so that ``{"released": "spike*r"}`` is what a spike brings.
        What has the name of a channel of its target reaches that channel, if a projection names none.
    reset : str
        Run at a spike: ``"v -= threshold; a += 1"``. Assigning to a variable on the left of the spike condition is a reset, to
        any other a jump.
    surrogate : Surrogate
    refractory : quantity, float, or str
        Time during which no spike is fired after a spike, or number of steps; an array has one per neuron. A text is Brian2's: the name of
        a parameter that is a time, or a condition on the states as long as which a neuron that has fired stays refractory, ``"v > -40*mV"``.
    differentiate : tuple of "reset", "jumps"
        What the spike is differentiated through. Default: jumps (spike-triggered adaptation), not the reset, as in e-prop.
    start : mapping of state to quantity
        Initial values; 0 where not given.
    parameters : mapping
        Usually ``locals()`` of the factory: every number, quantity or array in it is a parameter, scalar or one per neuron.
    method : str
        Brian2's integration method.
    made_for : quantity, optional
        The only step at which the constants of ``update`` hold, such as ``1*ms``: a circuit of another ``dt`` is refused. Not
        needed where ``update`` reads ``dt``, the circuit's step: ``"v = exp(-dt/tau)*v + I"``.
    source : str
        Where the model comes from (DOI).

    Raises
    ------
    CellError
        For units that do not fit, unknown names, or pieces that do not belong together; before anything is simulated.
    """

    equations: str = ""
    update: str = ""
    inputs: tuple[str, ...] | Mapping[str, Any] = None  # pyright: ignore[reportAssignmentType]  (a mapping once it is made)
    jumps: tuple[str, ...] | Mapping[str, Any] = ()
    external: tuple[str, ...] | None = None
    recurrent: tuple[str, ...] | None = None
    inhibitory: tuple[str, ...] | Mapping[str, int] = ()
    output: str = ""
    sends: Mapping[str, str] = field(default_factory=dict)
    spike: str = ""
    reset: str = ""
    surrogate: Surrogate | None = None
    refractory: Any = 0
    differentiate: tuple[str, ...] = ("jumps",)
    start: Mapping[str, Any] = field(default_factory=dict)
    parameters: Mapping[str, Any] = field(default_factory=dict)
    method: str = "exact"
    source: str = ""
    name: str = ""
    made_for: Any = None

    # set in __post_init__; declared for readers and type checkers
    scales: Mapping[str, Any] = field(init=False, repr=False, default_factory=dict)
    #: the texts as they were read, once
    parsed: Parsed = field(init=False, repr=False, compare=False)
    #: one step and its partial derivatives
    derived: Derived = field(init=False, repr=False, compare=False)
    #: SI unit of every state variable
    units: Mapping[str, str] = field(init=False, repr=False, compare=False, default_factory=dict)
    #: what parameters= held besides numbers (``locals()`` may), as text, for error messages
    set_aside: Mapping[str, str] = field(init=False, repr=False, compare=False, default_factory=dict)

    def __new__(cls, *given: Any, **named: Any) -> Self:
        """A new cell, unless an argument is called otherwise."""
        takes = [f.name for f in fields(cls) if f.init]
        for name in named:
            if name not in takes:
                meant = {"threshold": "spike", "model": "equations", "on_pre": "jumps", "on_spike": "reset"}.get(name)
                raise CellError(
                    (
                        f"Cell has no {name}=; Brian2's {name} is {meant}= here."
                        if meant
                        else unknown("argument of Cell", name, takes)
                    )
                    + " Numbers and quantities of the equations go into parameters=dict(…)."
                )
        if given:
            raise CellError(
                f"Cell takes its arguments by name, not {given[0]!r} alone. Write Cell(equations='dv/dt = (-v + I)/tau : 1', …)."
            )
        return super().__new__(cls)

    def __post_init__(self) -> None:
        from bioplaus.symbolic import arguments, compile, refractory
        from bioplaus.symbolic.units import plain

        arguments.texts(self)
        refractory.given(self)
        arguments.made_for(self)
        self._set(differentiate=arguments.words("differentiate", self.differentiate, ("reset", "jumps")))
        self._refuse_what_does_not_belong_together(refractory.ever(self))
        (inputs, jumps), numbers = arguments.channels(self), arguments.parameters(self)
        self._set(
            inputs=inputs,
            jumps=jumps,
            parameters=numbers,
            inhibitory=arguments.inhibitory(self.inhibitory, (*inputs, *jumps)),
            sends=dict(self.sends),
            scales={k: plain(v) for k, v in (inputs | jumps).items()},
            set_aside={k: short(v) for k, v in self.parameters.items() if k not in numbers},
        )
        self._set(**compile.compiled(self)._asdict())
        self._set(start=arguments.start(self, self.units))

    def _set(self, **values: Any) -> None:
        for name, value in values.items():
            object.__setattr__(self, name, value)

    def _refuse_what_does_not_belong_together(self, refractory: bool) -> None:
        if bool(self.equations) == bool(self.update):
            raise CellError(
                "A cell has either equations= (differential equations) or update= (a discrete map); give exactly one of them."
            )
        if bool(self.output) == bool(self.spike):
            raise CellError(
                "A cell has either output= (a rate) or spike= (a condition such as 'v > threshold'); give exactly one of them."
            )
        if self.update and self.method != "exact":
            raise CellError(
                f"method='{self.method}' integrates equations=; this cell has update=, a discrete map, which is taken as it is."
            )
        if self.spike and not isinstance(self.surrogate, Surrogate):
            raise CellError(
                f"A spiking cell needs a surrogate derivative, not {self.surrogate!r}. Give for example "
                "surrogate=triangular(dampening=0.3, width='threshold')."
            )
        if not self.spike and (self.reset or self.surrogate or refractory or "reset" in self.differentiate):
            raise CellError(
                "reset=, surrogate=, refractory= and differentiate= belong to spiking cells; this one has output= and no spike=."
            )

    def __eq__(self, other: object) -> bool:
        """Equal if all that defines them is, arrays entry by entry."""
        if not isinstance(other, Cell):
            return False
        opened = all(getattr(self, k) == getattr(other, k) for k in ("external", "recurrent", "inhibitory"))
        return opened and self.describe() == other.describe()

    def __hash__(self) -> int:
        return hash((self.name, self.equations, self.update, self.spike, self.reset, self.output))

    def __repr__(self) -> str:
        means = f"spike={self.spike!r}" if self.spiking else f"output={self.output!r}"
        return f"Cell({self.name or 'unnamed'!r}: states {', '.join(self.states) or 'none'}; inputs {', '.join(self.channels)}; {means})"

    @property
    def states(self) -> tuple[str, ...]:
        """Names of the state variables."""
        return self.derived.states

    @property
    def channels(self) -> Mapping[str, Any]:
        """Input channels, each with the current, or the jump, that one unit of weight gives; currents come first."""
        return {**self.inputs, **self.jumps}  # type: ignore[dict-item]

    @property
    def noises(self) -> tuple[str, ...]:
        """White noises in the equations, such as ``xi``."""
        return self.parsed.noises

    @property
    def constants(self) -> Mapping[str, Any]:
        """Every number that the texts read by its name: parameters, and units such as ``mV``."""
        return {**self.parsed.units, **self.parameters}

    @property
    def spiking(self) -> bool:
        """Whether the output is a spike."""
        return bool(self.spike)

    def opened(self, sent: str | None = None) -> tuple[str, ...]:
        """The channels that other neurons reach where a projection names none: by what is sent under a channel's name, that channel."""
        return (sent,) if sent is not None and sent in self.channels else self.recurrent or tuple(self.channels)

    def with_spikes(self, sent: str | None = None) -> bool:
        """Whether the output, or what is sent under a name, comes with spikes and is zero where there is none."""
        return self.spiking if sent is None else sent in self.derived.sent_with_spikes

    @property
    def continuous(self) -> bool:
        """Whether the cell is a differential equation (and so has a Brian2 twin), not a discrete map."""
        return bool(self.equations)

    def kernel(self, n: int, dt: float, dtype: Any, device: Any) -> Kernel:
        """Generated torch functions for ``n`` neurons at step ``dt`` (seconds): see `bioplaus.codegen.kernel.Kernel`."""
        from bioplaus.codegen import torch_source

        return torch_source.kernel(self, n, dt, dtype, device)

    def _waits(self) -> Any:
        """The refractory time as plain data."""
        from bioplaus.symbolic.units import plain, show

        if isinstance(self.refractory, str):
            return self.refractory
        number = plain(self.refractory)
        return show(self.refractory) if isinstance(number, float) else number.tolist()

    def describe(self) -> dict[str, Any]:
        """Everything that defines the cell, as plain data with units, for run records and reports."""
        from bioplaus.symbolic.units import plain, show

        shown = {
            k: getattr(self, k)
            for k in ("name", "equations", "update", "output", "spike", "reset", "method", "source")
            if getattr(self, k)
        }
        if self.sends:
            shown["sends"] = dict(self.sends)
        for kind in ("inputs", "jumps"):
            if kind == "inputs" or self.jumps:
                shown[kind] = {k: show(v) for k, v in getattr(self, kind).items()}
        shown["differentiate"] = list(self.differentiate)
        shown["parameters"] = {
            k: show(v) if isinstance(number := plain(v), float) else number.tolist() for k, v in self.parameters.items()
        }
        if self.spiking:
            assert self.surrogate is not None
            shown |= {
                "surrogate": self.surrogate.height,
                "width": self.surrogate.width,
                "refractory": self._waits(),
            }
        if self.made_for is not None:
            shown["made_for"] = show(self.made_for)
        if self.start:
            shown["start"] = {k: show(v) for k, v in self.start.items()}
        return shown

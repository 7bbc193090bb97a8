"""A cell as its author writes it: equations, parameters with units, spike, reset, output."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bioplaus.errors import CellError


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
    return Surrogate("surrogate_dampening*relu(1 - abs(x))", width, {"surrogate_dampening": dampening})


def fast_sigmoid(slope: float = 10.0, dampening: float = 1.0, width: str = "threshold") -> Surrogate:
    """dampening / (1 + slope |x|)² (Zenke & Ganguli 2018, doi:10.1162/neco_a_01086)."""
    return Surrogate("surrogate_dampening/(1 + surrogate_slope*abs(x))**2", width, {"surrogate_dampening": dampening, "surrogate_slope": slope})


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One kind of neuron, from which everything else is derived.

    Give either ``equations`` (differential equations in Brian2's syntax, integrated by Brian2's state updater ``method``) or
    ``update`` (a discrete map: assignments, which may use the neuron's own last output ``y``); and either ``spike`` (with
    ``reset`` and ``surrogate``) or ``output`` (a rate).

    Parameters
    ----------
    equations : str
        ``"dv/dt = (-v + I)/tau_m : 1"``. The flag ``(unless refractory)`` freezes a variable while refractory.
    update : str
        ``"c = sigmoid(I_f)*c + …; o = sigmoid(I_o)"``. Variables that are read before they are assigned, or that the output
        reads, are state; the others are shorthand.
    inputs : tuple of str, or mapping of str to quantity
        Input channels; a mapping gives the current that one unit of weight stands for, e.g. ``{"I": 100*pA}``.
    external, recurrent : tuple of str, optional
        The channels that external input and other neurons reach; all of them by default.
    output : str
        Rate as a function of the new state, e.g. ``"tanh(x)"``.
    spike : str
        ``"v > threshold + beta*a"``.
    reset : str
        Run at a spike: ``"v -= threshold; a += 1"``. Assigning to a variable on the left of the spike condition is a reset, to
        any other a jump.
    surrogate : Surrogate
    refractory : quantity or float
        Time during which no spike is fired after a spike.
    differentiate : tuple of "reset", "jumps"
        What the spike is differentiated through. Default: jumps (spike-triggered adaptation), not the reset, as in e-prop.
    start : mapping of state to quantity
        Initial values; 0 where not given.
    parameters : mapping
        Usually ``locals()`` of the factory: every number, quantity or array in it is a parameter, scalar or one per neuron.
    method : str
        Brian2's integration method.
    source : str
        Where the model comes from (DOI).

    Raises
    ------
    CellError
        For units that do not fit, unknown names, or pieces that do not belong together; before anything is simulated.
    """

    equations: str = ""
    update: str = ""
    inputs: tuple[str, ...] | Mapping[str, Any] = ("I",)
    external: tuple[str, ...] | None = None
    recurrent: tuple[str, ...] | None = None
    output: str = ""
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

    def __post_init__(self) -> None:
        if bool(self.equations) == bool(self.update):
            raise CellError("A cell has either equations= (differential equations) or update= (a discrete map); give exactly one of them.")
        if bool(self.output) == bool(self.spike):
            raise CellError("A cell has either output= (a rate) or spike= (a condition such as 'v > threshold'); give exactly one of them.")
        if self.spike and self.surrogate is None:
            raise CellError("A spiking cell needs a surrogate derivative, e.g. surrogate=triangular(dampening=0.3, width='threshold').")
        if not self.spike and (self.reset or self.surrogate or np.any(_plain(self.refractory))):
            raise CellError("reset=, surrogate= and refractory= belong to spiking cells; this one has output= and no spike=.")
        wrong = set(self.differentiate) - {"reset", "jumps"}
        if wrong:
            raise CellError(f"differentiate={self.differentiate!r} contains {sorted(wrong)}; allowed are 'reset' and 'jumps'.")
        scales = dict(self.inputs) if isinstance(self.inputs, Mapping) else dict.fromkeys(self.inputs, 1.0)
        if not scales:
            raise CellError("A cell needs at least one input channel: inputs=('I',).")
        for which in ("external", "recurrent"):
            unknown = set(getattr(self, which) or ()) - set(scales)
            if unknown:
                raise CellError(f"{which}={getattr(self, which)!r} names {sorted(unknown)}, but the input channels are {', '.join(scales)}.")
        object.__setattr__(self, "inputs", tuple(scales))
        object.__setattr__(self, "scales", {k: _plain(v) for k, v in scales.items()})
        object.__setattr__(self, "_input_units", scales)
        numeric = {k: v for k, v in self.parameters.items() if _is_number(v)}
        if self.surrogate is not None:
            numeric.update(self.surrogate.parameters)
        object.__setattr__(self, "parameters", numeric)
        for name, value in numeric.items():
            if not np.all(np.isfinite(_plain(value))):
                raise CellError(f"Parameter {name} of the cell is {value}; it must be finite.")
        derived, units = self._derive()
        object.__setattr__(self, "derived", derived)
        object.__setattr__(self, "units", units)
        stray = set(self.start) - set(self.derived.states)
        if stray:
            raise CellError(f"start= names {sorted(stray)}, but the states are {', '.join(self.derived.states)}.")

    # set in __post_init__; declared for readers and type checkers
    scales: Mapping[str, Any] = field(init=False, repr=False, default_factory=dict)
    derived: Any = field(init=False, repr=False, compare=False, default=None)
    #: SI unit of every state variable
    units: Mapping[str, str] = field(init=False, repr=False, compare=False, default_factory=dict)
    _input_units: Mapping[str, Any] = field(init=False, repr=False, default_factory=dict)

    @property
    def states(self) -> tuple[str, ...]:
        """Names of the state variables."""
        return self.derived.states

    @property
    def spiking(self) -> bool:
        """Whether the output is a spike."""
        return bool(self.spike)

    @property
    def continuous(self) -> bool:
        """Whether the cell is a differential equation (and so has a Brian2 twin), not a discrete map."""
        return bool(self.equations)

    def _derive(self) -> Any:
        from bioplaus.symbolic import compile

        return compile.derive_cell(self)

    def kernel(self, n: int, dt: float, dtype: Any, device: Any) -> Any:
        """Generated torch functions for ``n`` neurons at step ``dt`` (seconds): see `bioplaus.symbolic.torch_source.Kernel`."""
        from bioplaus.symbolic import compile

        return compile.kernel(self, n, dt, dtype, device)

    def describe(self) -> dict[str, Any]:
        """Everything that defines the cell, as plain data with units, for run records and reports."""
        from bioplaus.symbolic.units import show

        shown = {k: getattr(self, k) for k in ("name", "equations", "update", "output", "spike", "reset", "method", "source") if getattr(self, k)}
        shown |= {"inputs": {k: show(v) for k, v in self._input_units.items()}, "differentiate": list(self.differentiate)}
        shown["parameters"] = {k: show(v) if np.ndim(v) == 0 else [float(x) for x in np.asarray(_plain(v))] for k, v in self.parameters.items()}
        if self.spiking:
            assert self.surrogate is not None
            shown |= {"surrogate": self.surrogate.height, "width": self.surrogate.width, "refractory": show(self.refractory)}
        if self.start:
            shown["start"] = {k: show(v) for k, v in self.start.items()}
        return shown


def _is_number(value: Any) -> bool:
    return not isinstance(value, (str, bool)) and np.issubdtype(np.asarray(value).dtype, np.number) and value is not None


def _plain(value: Any) -> Any:
    array = np.asarray(value, dtype=float)
    return float(array) if array.ndim == 0 else array

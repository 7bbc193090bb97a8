"""What a cell may be given: every argument is looked at before any of its texts is read."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from brian2.units.fundamentalunits import DIMENSIONLESS, DimensionMismatchError, get_dimensions

from bioplaus.checks import short
from bioplaus.errors import CellError, cut, unknown
from bioplaus.symbolic.grammar import LONGEST
from bioplaus.symbolic.noise import NOISE
from bioplaus.symbolic.text import uncommented
from bioplaus.symbolic.units import SECOND, Quantity, plain, show, unit_name

if TYPE_CHECKING:
    from bioplaus.cell import Cell

#: what is text, and what such a text is like
TEXTS = {
    "equations": "dv/dt = (-v + I)/tau : 1", "update": "v = 0.9*v + I", "output": "tanh(v)", "spike": "v > threshold",
    "reset": "v -= threshold", "method": "exact", "source": "doi:10.1038/s41467-020-17236-y", "name": "my_lif",
}  # fmt: skip

_RANDOM = re.compile(r"\b(rand|randn|poisson)\s*\(")
_NOISE = re.compile(rf"\b{NOISE.pattern}\b")
_TIME = re.compile(r"\b(t|t_in_timesteps)\b")


def texts(cell: Cell) -> None:
    """Refuse what is not text, and equations that draw random numbers or read the clock."""
    given = {field: getattr(cell, field) for field in TEXTS} | _sends(cell)
    if isinstance(cell.refractory, str):
        given["refractory"] = cell.refractory
    for field, text in given.items():
        if not isinstance(text, str):
            raise CellError(
                f"{field}={short(text)} is not text. Write it in quotes, such as {field}={TEXTS.get(field, 's')!r}."
            )
        if len(text) > LONGEST:
            raise CellError(
                f"{field}= has {len(text)} letters, beginning with {short(text)}, and at most {LONGEST} are read. Write it shorter."
            )
    for field, text in given.items():
        if field in ("method", "source", "name"):
            continue
        read = uncommented(text)
        if text and not read.strip() and field != "reset":
            raise CellError(
                f"{field}={cut(repr(' '.join(text.split())))} says nothing{' but a comment' if '#' in text else ''}. "
                f"Write it, such as {field}={TEXTS.get(field, '5*ms')!r}, or leave {field}= out."
            )
        random, noise, time = _RANDOM.search(read), _NOISE.search(read), _TIME.search(read)
        if random:
            raise CellError(
                f"{field}= uses '{random[1]}', a random number, which a cell does not draw: its step is a function, so that its derivatives exist. White noise is xi, in "
                "a differential equation; spikes at random come as an input, or as Population(background={'I': bp.Poisson(rate=5*Hz)})."
            )
        if noise and field != "equations":
            raise CellError(
                f"{field}= uses '{noise[0]}', white noise, which only a differential equation in equations= can: 'dv/dt = (-v + I)/tau + sigma*sqrt(2/tau)*xi : 1'. "
                "A state that follows it may stand anywhere."
            )
        if time:
            raise CellError(
                f"{field}= uses '{time[1]}', the time, but a cell sees time through its inputs only. Make what depends on it an input channel: for "
                "'I_0*int(t > 100*ms)' write 'I_0*gate' with 'gate' in inputs=, and give the circuit an input line that is 1 while it holds."
            )


def _sends(cell: Cell) -> dict[str, str]:
    """The texts of ``sends``, each under what it is called in messages."""
    if not isinstance(cell.sends, Mapping):
        raise CellError(
            f"sends={short(cell.sends)} is no mapping of names to texts. Write what is sent under a name, such as sends={{'s': 's'}}."
        )
    for name in cell.sends:
        if not isinstance(name, str) or not name.isidentifier():
            raise CellError(f"sends= names {short(name)}; write a name like a variable's, such as sends={{'s': 's'}}.")
    return {f"sends[{name!r}]": text for name, text in cell.sends.items()}


def words(which: str, given: Any, allowed: Iterable[str] | None = None) -> tuple[str, ...]:
    """A sequence of different names, each one of those allowed."""
    example = next(iter(allowed), "I") if allowed is not None else "I"
    if isinstance(given, (str, bytes)) or not isinstance(given, Iterable):
        raise CellError(
            f"{which}={short(given)} is not a sequence of names. Write a tuple, such as {which}=({example!r},)."
        )
    names = tuple(given)
    for name in names:
        if not isinstance(name, str):
            raise CellError(
                f"{which}={short(given)} contains {short(name)}, which is not a name. Write a tuple of names, such as {which}=({example!r},)."
            )
        if allowed is not None and name not in allowed:
            raise CellError(
                f"In {which}={short(given)}: " + unknown("such choice", name, allowed) + " Choose from those."
            )
    if len(set(names)) < len(names):
        raise CellError(f"{which}={short(given)} names something twice. Name each of them once, in a tuple.")
    return names


def channels(cell: Cell) -> tuple[dict[str, Any], dict[str, Any]]:
    """Input channels with what one unit of weight gives: the current, and the jump of a state."""
    jumps = _scaled(cell.jumps, "jumps", "jump", "1*mV")
    inputs = _scaled((() if jumps else ("I",)) if cell.inputs is None else cell.inputs, "inputs", "current", "100*pA")
    names = (*inputs, *jumps)
    if not names:
        raise CellError(
            "A cell without input channel can't be driven by anything. Name at least one, such as inputs=('I',)."
        )
    if twice := sorted(inputs.keys() & jumps):
        raise CellError(
            f"{', '.join(twice)} is in inputs= and in jumps=. A channel is either held over a step, as a current is, or a jump of the state of its name."
        )
    if cell.update and jumps:
        raise CellError(
            "jumps= belong to equations=, whose states flow between spikes; an update= is a step as a whole. Add the channel where it acts, as in 'v = a*v + I'."
        )
    for which in ("external", "recurrent"):
        opened = getattr(cell, which)
        if opened is not None and not words(which, opened, names):
            raise CellError(
                f"{which}=() opens no channel at all. Name some of {', '.join(names)}, or leave it out to open all of them."
            )
    return inputs, jumps


def inhibitory(given: Any, names: Iterable[str]) -> dict[str, int]:
    """The channels that inhibit, each with the sign of weights that do: the same for all."""
    signs = dict.fromkeys(words("inhibitory", given, names), 1) | (dict(given) if isinstance(given, Mapping) else {})
    if any(not is_number(s) or s not in (1, -1) for s in signs.values()) or len(set(signs.values())) > 1:
        raise CellError(
            f"inhibitory={short(given)} gives no one sign of the weights that inhibit. Write inhibitory=('gi',) where they are positive, as on a "
            "conductance, or {'gi': -1} where they are negative, as on a current; the same for all channels."
        )
    return {name: int(s) for name, s in signs.items()}


def _scaled(given: Any, which: str, what: str, example: str) -> dict[str, Any]:
    """Names, each with what one unit of weight gives; 1 where only names are given."""
    names = words(which, given)
    if not isinstance(given, Mapping):
        return dict.fromkeys(names, 1.0)
    scales = {name: _number(given[name], f"one unit of weight on input channel {name}") for name in names}
    for name, value in scales.items():
        if np.ndim(value) or plain(value) == 0:
            raise CellError(
                f"One unit of weight on input channel {name} is {value}; give one {what} that is not zero, e.g. {{'{name}': {example}}}."
            )
    return scales


def parameters(cell: Cell) -> dict[str, Any]:
    """The numbers among the parameters, those of the surrogate included; arrays are float64."""
    if not isinstance(cell.parameters, Mapping):
        raise CellError(
            f"parameters={short(cell.parameters)} is not a mapping of names to numbers. Write parameters=dict(tau=20*ms) or parameters=locals()."
        )
    nameless = [k for k in cell.parameters if not isinstance(k, str) or not k]
    if nameless:
        raise CellError(
            f"parameters= has a value under {nameless[0]!r}, which is not a name. Write parameters=dict(tau=20*ms)."
        )
    given = {k: v for k, v in cell.parameters.items() if is_number(v)}
    if cell.surrogate is not None:
        own = {k: _number(v, f"the surrogate's parameter {k}") for k, v in cell.surrogate.parameters.items()}
        clash = [k for k in own if k in given and not k.startswith("surrogate_") and np.any(given[k] != own[k])]
        if clash:
            raise CellError(
                f"Parameter {clash[0]} has one value in the cell and another in its surrogate. Rename one of them."
            )
        given |= own
    values = {name: _number(value, f"parameter {name}") for name, value in given.items()}
    for name, value in values.items():
        if get_dimensions(value) is SECOND and np.any(plain(value) < 0):
            raise CellError(f"Parameter {name} is {show(value)}; a time can't be negative. Give a value above 0*ms.")
    return values


def made_for(cell: Cell) -> None:
    """Refuse a step that is no time, or of a cell whose constants hold at any."""
    value = cell.made_for
    if value is None:
        return
    if not _is_one_real(value) or get_dimensions(value) is not SECOND or not 0 < plain(value) < np.inf:
        unitless = _is_one_real(value) and get_dimensions(value) is DIMENSIONLESS
        raise CellError(
            f"made_for={short(value)} (dt= of its model, where one makes the cell) is not one time above zero"
            f"{', but a number without a unit' if unitless else ''}. Give the step at which the constants of update= hold, such as 1*ms, "
            "or leave it out."
        )
    if cell.equations:
        raise CellError(
            f"made_for={value} belongs to update=, a discrete map; equations= are integrated at whatever step the circuit has. "
            "Leave it out."
        )


def step_of(cell: Cell, dt: float, where: str) -> None:
    """Refuse a circuit's step (seconds) at which the constants of a discrete map do not hold."""
    own = None if cell.made_for is None else plain(cell.made_for)
    if own is not None and abs(own - dt) > 1e-9 * dt:
        raise CellError(
            f"The cell '{cell.name or 'unnamed'}' of {where} is made for a step of {own * 1e3:g} ms (made_for=, or dt= of its model), but "
            f"the circuit's dt is {dt * 1e3:g} ms. Give the circuit dt={own * 1e3:g}*ms, make the cell for {dt * 1e3:g} ms, or write its "
            "constants with dt, as in 'v = exp(-dt/tau)*v + I', which holds for any step."
        )


def start(cell: Cell, units: Mapping[str, str]) -> dict[str, Any]:
    """Initial values: known states, their units, finite."""
    if not isinstance(cell.start, Mapping):
        raise CellError(
            f"start={short(cell.start)} is not a mapping of states to values. Write start={{'{next(iter(units))}': value}}."
        )
    values = {}
    for name, value in cell.start.items():
        if name not in units:
            raise CellError("In start=: " + unknown("state", name, units) + " Only states have initial values.")
        values[name] = _number(value, f"the start of {name}")
        if unit_name(values[name]) != units[name]:
            raise CellError(
                f"The start of {name} is {show(values[name])}, which has unit {unit_name(values[name])}, but {name} has unit {units[name]}. "
                + (f"Give it with its unit, such as 1*{units[name]}." if units[name] != "1" else "Give a plain number.")
            )
    return values


def is_number(value: Any) -> bool:
    """Whether something is numbers, with or without a unit."""
    if value is None or isinstance(value, (str, bool)):
        return False
    try:
        return bool(np.issubdtype(np.asarray(value).dtype, np.number))
    except (TypeError, ValueError, RuntimeError):  # ragged lists, tensors on an accelerator
        return False


def _is_one_real(value: Any) -> bool:
    return is_number(value) and not np.ndim(value) and not np.iscomplexobj(np.asarray(value))


def _number(value: Any, what: str) -> Any:
    """A finite real quantity, scalar or one value per neuron."""
    if not is_number(value) or np.iscomplexobj(np.asarray(value)):
        raise CellError(f"{what[0].upper()}{what[1:]} is {short(value)}; give a number or a quantity, e.g. 20*ms.")
    if np.ndim(value) > 1 or not np.size(value):
        raise CellError(f"{what[0].upper()}{what[1:]} has shape {np.shape(value)}; give one value, or one per neuron.")
    if isinstance(value, (list, tuple)) and any(isinstance(one, Quantity) for one in value):
        try:
            value = Quantity(list(value))  # [10*ms, 20*ms], of which an array would lose the unit
        except (DimensionMismatchError, TypeError) as error:
            raise CellError(
                f"{what[0].upper()}{what[1:]} mixes units: {value!r}. Give all its values in one unit, e.g. [10, 20]*ms."
            ) from error
    if not np.all(np.isfinite(plain(value))):
        raise CellError(f"{what[0].upper()}{what[1:]} is {value}; it must be finite. Look at how it was computed.")
    return value if isinstance(value, Quantity) else plain(value)


def neurons(cell: Cell) -> int:
    """For how many neurons a cell has values of their own; 0 where all values are for any."""
    values = (*cell.parameters.values(), *cell.start.values(), cell.refractory)
    return max((len(value) for value in values if np.ndim(value)), default=0)


def sizes(cell: Cell, n: int) -> None:
    """Refuse values per neuron that are not one for each of ``n`` neurons."""
    for kind, values in (
        ("Parameter", cell.parameters),
        ("The start of", cell.start),
        ("The time", {"refractory=": cell.refractory}),
    ):
        for name, value in values.items():
            if np.ndim(value) and np.shape(value) != (n,):
                raise CellError(
                    f"{kind} {name} has shape {np.shape(value)}, but the population has {n} neurons: give a scalar or {n} values."
                )

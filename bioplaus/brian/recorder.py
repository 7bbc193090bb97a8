"""What is made in Brian2, written down as it is made: the script is the twin's own calls, so that it can't say anything else."""

from __future__ import annotations

import builtins
import keyword
from collections.abc import Callable
from typing import Any

import brian2
import numpy as np
from brian2 import Clock, NeuronGroup, Synapses, TimedArray
from brian2.core.namespace import DEFAULT_UNITS
from brian2.equations.equations import BOOLEAN, DIFFERENTIAL_EQUATION, INTEGER, Equations
from brian2.units.fundamentalunits import DIMENSIONLESS, Dimension, get_dimensions, get_unit

from bioplaus.brian.make import Make
from bioplaus.circuit import Network
from bioplaus.circuit.wiring import Wired, Wiring
from bioplaus.errors import CircuitError

#: units that people write, tried before the SI unit
USUAL = ("ms", "mV", "pA", "nA", "nS", "pF", "Hz")
#: as many numbers stand in the script itself
FEW = 8
WIDTH = 100

#: what the script calls its own
TAKEN = {"np", "data", "clock", "net", *keyword.kwlist, *dir(builtins), *dir(brian2)}


class Recorder(Make):
    """Makes Brian2's objects and writes each call as a line of a script.

    Attributes
    ----------
    lines : the script so far, without its head.
    data : arrays that are too long for it, by name; the script has them as ``data["name"]``.
    used : what it needs of Brian2.
    """

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self.data: dict[str, np.ndarray] = {}
        self.used = {"Clock", "Network", "NeuronGroup", "prefs", "second"}
        self.called: dict[str, str] = {}
        self.units: dict[str, tuple[str, ...]] = {}

    # -- in words -----------------------------------------------------------------------------------------------------

    def population(self, network: Network, p: Wiring) -> None:
        cell = network.circuit.populations[p.name].cell
        self.section(f"{p.name}: {p.size} {cell.name or 'neurons'}")
        if cell.source:
            self.lines.append(f"# {cell.source}")

    def projection(self, network: Network, w: Wired) -> None:
        ends = (network.populations[w.source.population].name, network.populations[w.target].name)
        cell = network.circuit.populations[ends[1]].cell
        steps, dt = w.source.delays, network.circuit.dt * 1e3
        late = f"{steps[0] * dt:.6g}" if len(steps) == 1 else f"{min(steps) * dt:.6g} to {max(steps) * dt:.6g}"
        onto = ", ".join((*cell.channels,)[k] for k in w.channels if k < len(cell.channels))
        self.section(f"{w.spec.name}: {ends[0]} to {ends[1]}{onto and ', onto '}{onto}, delay {late} ms")

    def section(self, title: str) -> None:
        self.lines += ["", f"# {'-' * 8} {title} ".ljust(WIDTH, "-")]

    # -- what is made --------------------------------------------------------------------------------------------------

    def timed(self, values: np.ndarray, clock: Clock, owner: str, called: str) -> TimedArray:
        made = super().timed(values, clock, owner, called)
        name = self._name(made.name, f"{owner}_{called}")
        self.used.add("TimedArray")
        # one row says all, of what does not change
        rows = values[:1] if (values == values[0]).all() else values
        self.lines.append(f"{name} = TimedArray({self._array(rows, name)}, dt=clock.dt)  # (step, neuron)")
        return made

    def group(self, size: int, model: Any, **options: Any) -> NeuronGroup:
        made = super().group(size, model, **options)
        method = options["method"]
        if callable(method):
            options["method"] = str(method(made.equations, made.variables, {}))
        self._construct(made, (str(size), self._equations(model)), options)
        return made

    def synapses(self, source: NeuronGroup, target: NeuronGroup, model: str, **options: Any) -> Synapses:
        made = super().synapses(source, target, model, **options)
        self.used.add("Synapses")
        ends = (self.called[source.name], self.called[target.name])
        self._construct(made, (*ends, _block(model)), options)
        return made

    def _construct(self, made: Any, given: tuple[str, ...], options: dict[str, Any]) -> None:
        name = self._name(made.name, made.name)
        said = [*given]
        for option, value in options.items():
            if value is None or value is False or (option == "namespace" and not value):
                continue
            said.append(f"{option}={self._option(option, value)}")
        kind = "NeuronGroup" if isinstance(made, NeuronGroup) else "Synapses"
        self.lines += [f"{name} = {kind}(", *(f"    {each}," for each in said), ")"]

    def _option(self, option: str, value: Any) -> str:
        if option == "clock":
            return "clock"
        if option == "namespace":
            entries = ", ".join(f"{k!r}: {self._value(v)}" for k, v in value.items())
            return f"{{{entries}}}"
        if option == "method" and "=" in value:
            return f"lambda *given: {_block(value)}"
        if option == "on_pre":
            return _block(value)
        return self._value(value)

    def regularly(self, group: NeuronGroup, code: str, clock: Clock, when: str, order: int = 0) -> None:
        super().regularly(group, code, clock, when, order)
        told = f"when={when!r}" + (f", order={order}" if order else "")
        self.lines.append(f"{self.called[group.name]}.run_regularly({_block(code, '')}, {told}, clock=clock)")

    def early(self, synapses: Synapses) -> None:
        super().early(synapses)
        name = self.called[synapses.name]
        self.lines += [f"for updater in {name}.summed_updaters.values():", '    updater.when = "start"  # before currents are collected']  # fmt: skip

    def connect(self, synapses: Synapses, i: np.ndarray, j: np.ndarray) -> None:
        super().connect(synapses, i, j)
        name = self.called[synapses.name]
        pairs = ", ".join(f"{end}={self._array(each, f'{name}_{end}')}" for end, each in (("i", i), ("j", j)))
        self.lines.append(f"{name}.connect({pairs})  # {len(i)} synapses, one for each pair")

    def delay(self, synapses: Synapses, seconds: np.ndarray) -> None:
        super().delay(synapses, seconds)
        name = self.called[synapses.name]
        said = "  # a spike acts in the step behind it, so one step less"
        self.lines.append(f"{name}.delay = {self._array(seconds, f'{name}_delay')}*second{said}")

    def set(self, group: Any, name: str, value: Any) -> None:
        super().set(group, name, value)
        owner, variable = self.called[group.name], group.variables[name]
        array = np.asarray(value)
        if array.ndim and array.size and (array == array.flat[0]).all():
            array = array.flat[0]
        if array.ndim == 0:
            text = repr(bool(array)) if array.dtype == bool else self._number(float(array), variable.dim)
        else:
            unit = self._unit(variable.dim)
            text = self._array(array, f"{owner}_{name}") + (f"*{unit}" if unit else "")
        if variable.read_only or name in ("lastspike", "not_refractory"):
            text = self._array(np.asarray(value), f"{owner}_{name}")
            self.lines.append(f"{owner}.variables[{name!r}].set_value({text})")
        else:
            self.lines.append(f"{owner}.{name} = {text}")

    def operation(self, group: NeuronGroup, what: Callable[[Any], None], clock: Clock, order: int) -> None:
        raise CircuitError(
            f"Somebody holds states of '{group.name}' (a clamp), which is Python code of bioplaus in every step, and a script is to run without it. "
            "Leave the clamp out of perturb=, or run the circuit with bp.brian.simulate or bp.brian.network."
        )

    # -- as text -------------------------------------------------------------------------------------------------------

    def _name(self, real: str, wanted: str) -> str:
        """A word for a script that nothing else has."""
        found, number = wanted.lstrip("_") or "x", 1
        found = found if found.isidentifier() else f"x{found}"
        plain = found
        while found in TAKEN or found in self.called.values():
            number += 1
            found = f"{plain}_{number}"
        self.called[real] = found
        return found

    def _value(self, value: Any) -> str:
        if isinstance(value, TimedArray):
            return self.called[value.name]
        if isinstance(value, str):
            return repr(value)
        if isinstance(value, (bool, int)):
            return repr(value)
        return self._number(float(value), get_dimensions(value))

    def _number(self, value: float, dimension: Dimension) -> str:
        """Exactly: what Brian2 prints of a quantity is rounded."""
        if dimension is DIMENSIONLESS:
            return repr(value)
        for usual in USUAL:
            unit = DEFAULT_UNITS[usual]
            if unit.dim is dimension:
                short = float(f"{value / float(unit):.12g}")
                if short * float(unit) == value:
                    self.used.add(usual)
                    return f"{short!r}*{usual}".replace(".0*", "*")
        return f"{value!r}*{self._unit(dimension)}"

    def _unit(self, dimension: Dimension) -> str:
        """The SI unit as an expression; nothing for none."""
        if dimension is DIMENSIONLESS:
            return ""
        unit = repr(get_unit(dimension))
        if unit in DEFAULT_UNITS:
            self.used.add(unit)
            return unit
        unit = repr(dimension)
        self.used |= {word for word in unit.split() if word.isidentifier()}
        return f"({unit})"

    def _equations(self, equations: Equations) -> str:
        lines = []
        for e in equations.values():
            left = f"d{e.varname}/dt" if e.type == DIFFERENTIAL_EQUATION else e.varname
            right = "" if e.expr is None else " = " + " ".join(e.expr.code.split())
            kinds = {BOOLEAN: "boolean", INTEGER: "integer"}
            unit = kinds.get(e.var_type) or _declared(e.dim)
            flags = f" ({', '.join(e.flags)})" if e.flags else ""
            lines.append(f"{left}{right} : {unit}{flags}")
        return _block("\n".join(lines))

    def _array(self, values: np.ndarray, name: str) -> str:
        if values.size <= FEW:
            return f"np.array({values.tolist()!r})"
        kept, number = name, 1
        while kept in self.data:
            number += 1
            kept = f"{name}_{number}"
        self.data[kept] = values
        return f'data["{kept}"]'


def _declared(dimension: Dimension) -> str:
    """A unit as Brian2's equations know it, which have no brackets."""
    if dimension is DIMENSIONLESS:
        return "1"
    unit = repr(get_unit(dimension))
    return unit if unit in DEFAULT_UNITS else repr(dimension)


def _block(text: str, indent: str = "    ") -> str:
    """Text of several lines, as a script has it."""
    lines = [line.strip() for line in text.strip().split("\n")]
    if len(lines) == 1:
        return repr(lines[0])
    return '"""\n' + "\n".join(f"{indent}    {line}" for line in lines) + f'\n{indent}"""'

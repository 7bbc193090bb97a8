"""``record=``: a name, several, or ``{name: units}``, as which quantities of which units.

=============  =====================================================================
name           what is recorded
=============  =====================================================================
``v``, …       a state variable, at the end of the step, after the reset
``spikes``     of spiking cells; with ``every=k`` how many in the k steps
``rate``       of the others
``I``, …       an input channel, held over the step: all that arrives, input and bias
``E.v``, …     any of these, of one population
=============  =====================================================================
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from bioplaus import checks
from bioplaus.checks.numbers import Unfit, as_number, dtype
from bioplaus.circuit import Network
from bioplaus.errors import CircuitError, cut, unknown
from bioplaus.symbolic.units import unit_name

#: what a units' entry may be, in words
WANTED = "a unit's number, several, a slice, or None for all"

#: what comes unasked
BESIDE = ("input", "output", "target", "weight")


@dataclass(frozen=True)
class Asked:
    """One recorded quantity.

    Attributes
    ----------
    label : the variable's name: ``v``, or ``E.v`` where there are several populations.
    population, kind, index : as `bioplaus.circuit.trajectory.Stretch.get` takes them.
    units : the units' numbers; None: all.
    scale : what one of these numbers is in the SI unit.
    unit : that unit.
    """

    label: str
    population: int
    kind: str
    index: int
    units: np.ndarray | None = None
    scale: float = 1.0
    unit: str = "1"

    @property
    def name(self) -> str:
        """Without its population."""
        return self.label.rpartition(".")[2]

    @property
    def key(self) -> tuple[int, str, int]:
        return self.population, self.kind, self.index

    @property
    def counted(self) -> bool:
        """Whether it is events, which are counted, not looked at."""
        return self.unit == "1 per step"


def asked(network: Network, record: Any, lenient: bool = False) -> list[Asked]:
    """What ``record=`` asks for; ``lenient`` passes over names that no population has.

    Raises
    ------
    CircuitError
        For an unknown name, or units that there are not.
    """
    found: dict[str, Asked] = {}
    own: set[str] = set()  # a population's own entry counts, wherever it stands
    for name, units in named(record):
        population, _, quantity = name.rpartition(".")
        at = [i for i, p in enumerate(network.populations) if population in ("", p.name)]
        here = [made for i in at if (made := _quantity(network, i, quantity)) is not None]
        if not here and not lenient:
            raise CircuitError(_stranger(network, population, quantity, at))
        for made in here:
            if population or made.label not in own:
                chosen = chosen_units(units, network.populations[made.population].size, name, made.label)
                found[made.label] = replace(made, units=chosen)
                own |= {made.label} if population else set()
    return list(found.values())


def named(record: Any) -> list[tuple[str, Any]]:
    """(name, units) in order."""
    if isinstance(record, str):
        record = (record,)
    if isinstance(record, Mapping):
        names = checks.accept(CircuitError, "record", tuple(record), checks.Several(checks.Word(), "('v', 'spikes')"))
        return list(zip(names, record.values(), strict=True))
    several = checks.Several(checks.Word(), "('v', 'spikes'), or {'v': [0, 1]} for some units", least=0)
    return [(name, None) for name in checks.accept(CircuitError, "record", record, several)]


def _quantity(network: Network, i: int, name: str) -> Asked | None:
    """What a name means in a population; None where it has nothing of that name."""
    p, several = network.populations[i], len(network.populations) > 1
    cell, derived = network.circuit.populations[p.name].cell, p.kernel.derived
    label = f"{p.name}.{name}" if several else name
    if name in cell.states:
        return Asked(label, i, "after", cell.states.index(name), unit=cell.units.get(name, "1"))
    if name == ("spikes" if derived.spiking else "rate"):
        return Asked(label, i, "y_now", 0, unit="1 per step" if derived.spiking else "1")
    if name in cell.inputs:
        # each number is one unit of weight
        unit = unit_name(cell.channels[name])
        return Asked(label, i, "arrived", tuple(cell.channels).index(name), scale=cell.scales[name], unit=unit)
    return None


def names(network: Network, i: int) -> list[str]:
    """What can be recorded of a population."""
    cell = network.circuit.populations[network.populations[i].name].cell
    return [*cell.states, "spikes" if cell.spiking else "rate", *cell.inputs]


def _stranger(network: Network, population: str, quantity: str, at: list[int]) -> str:
    """What is said of a name that nothing has."""
    if not population and quantity in BESIDE:
        return beside(quantity)
    if not at:
        known = [p.name for p in network.populations]
        return f"record asks for '{cut(population)}.{cut(quantity)}'. {unknown('population', population, known)}"
    kind = f"recordable variable of population '{population}'" if population else "recordable variable"
    return unknown(kind, quantity, {name for i in at for name in names(network, i)})


def beside(name: str) -> str:
    """What is said of a name that nobody need ask for."""
    return f"record asks for '{name}', which is recorded beside all that is asked for, where there is one. Leave it out; record=() asks for nothing else."


def chosen_units(units: Any, size: int, name: str, label: str) -> np.ndarray | None:
    """The units' numbers, from 0 on; None for all of them."""
    if units is None or units is Ellipsis or (isinstance(units, slice) and units == slice(None)):
        return None
    what = f"record[{cut(name)!r}]"
    wanted = f"{WANTED}, of the {size} units of {label}"
    if isinstance(units, slice):
        try:
            chosen = np.arange(size)[units]
        except (TypeError, ValueError, IndexError):
            raise checks.refusal(CircuitError, what, units, wanted) from None
    elif dtype(units) == "bool" and getattr(units, "ndim", 0) == 1 and len(units) == size:
        chosen = np.flatnonzero(np.asarray(units))
    else:
        chosen = np.array(_numbers(units, what, wanted), dtype=int)
    beyond = chosen[(chosen < -size) | (chosen >= size)]
    if len(beyond):
        raise CircuitError(f"{what} names unit {beyond[0]}; {label} has {size}, from 0 to {size - 1}.")
    if not len(chosen):
        raise CircuitError(
            f"{what} is {checks.short(units)}, which is none of the {size} units of {label}. Leave the name out, or name some."
        )
    return chosen % size


def _numbers(units: Any, what: str, wanted: str) -> list[int]:
    """Whole numbers, one or several."""
    try:
        each = (
            list(units)
            if isinstance(units, Iterable)
            and getattr(units, "ndim", 1)
            and not isinstance(units, (str, bytes, Mapping))
            else [units]
        )
        found = [as_number(entry) for entry in each]
    except Unfit:
        raise checks.refusal(CircuitError, what, units, wanted) from None
    if not all(isinstance(number, int) for number in found):
        raise checks.refusal(CircuitError, what, units, wanted)
    return found  # type: ignore[return-value]

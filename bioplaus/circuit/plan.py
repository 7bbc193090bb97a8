"""What perturbations come to in a circuit: where their paths lead, and what is to be done there to which units, channels, states and projections."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bioplaus import checks
from bioplaus.cerebellum.trial import CEREBELLUM
from bioplaus.circuit.dale import conductances
from bioplaus.circuit.delays import Delay, Late, steps
from bioplaus.circuit.description import INPUT
from bioplaus.circuit.network import Network
from bioplaus.circuit.switches import Piece
from bioplaus.circuit.wiring import Source, Wired, Wiring
from bioplaus.errors import CircuitError, cut, unknown
from bioplaus.perturb import Perturb, parts, units_of

#: what may be frozen beside weights, as rates are given to it, and parts of what a rule learns for itself, with a full stop in them or not
WORDS = {"readout": ("W_out", "b_out")}


@dataclass
class Changes:
    """What is to be done to a population: by channel, by state, by the projection onto it."""

    silence: list[Piece] = field(default_factory=list)
    drive: dict[int, list[Piece]] = field(default_factory=dict)
    clamp: dict[str, list[tuple[Piece, Piece]]] = field(default_factory=dict)  # (whether, at what)
    cut: dict[str, list[Piece]] = field(default_factory=dict)


@dataclass(frozen=True)
class Planned:
    """What is to be done to a network: to populations by number, delays of projections in steps, what does not learn, and what a predictor is to do."""

    changes: dict[int, Changes]
    delays: dict[str, int]
    frozen: tuple[str, ...]
    cerebellar: tuple[Perturb, ...] = ()


def planned(network: Network, perturbs: Sequence[Perturb]) -> Planned:
    """What perturbations come to in a network.

    Raises
    ------
    CircuitError
    """
    changes: dict[int, Changes] = {}
    delays: dict[str, int] = {}
    frozen: list[str] = []
    seen: list[str] = []
    cerebellar: list[Perturb] = []
    for p in perturbs:
        if _beside(network, p):
            cerebellar.append(p)
        elif p.kind == "freeze":
            frozen += _frozen(network, p)
        elif p.kind == "cut":
            w = _projection(network, p)
            changes.setdefault(w.target, Changes()).cut.setdefault(w.spec.name, []).append(Piece(p.steps, slice(None)))
        elif p.kind == "delay":
            w = _projection(network, p)
            delays[w.spec.name] = _delay(network, p, w)
        else:
            seen.append(p.path)
            i, units, rest = _population(network, p)
            _inside(network, p, (i, units, rest), changes.setdefault(i, Changes()), seen.count(p.path))
    return Planned(changes, delays, tuple(dict.fromkeys(frozen)), tuple(cerebellar))


def _beside(network: Network, p: Perturb) -> bool:
    """Whether a path leads into the predictor beside the circuit, to be done what the rule that has it says can be."""
    return (
        p.kind != "freeze"
        and parts(p.path)[0][0] == CEREBELLUM
        and CEREBELLUM not in [each.name for each in network.populations]
    )


def _inside(network: Network, p: Perturb, place: tuple[int, Any, str], into: Changes, count: int) -> None:
    """What is done to some units of a population."""
    i, units, rest = place
    wiring = network.populations[i]
    cell = network.circuit.populations[wiring.name].cell
    if p.kind == "silence":
        if rest:
            raise CircuitError(
                f"{told(p)} names '{cut(rest)}', and silence is of all that neurons send. Leave it out: '{p.path.rpartition('.')[0]}'."
            )
        into.silence.append(Piece(p.steps, units))
        return
    if p.kind == "clamp":
        state = _one_of(p, rest, wiring.name, "state", cell.states)
        value = _each(p, units, wiring)
        _same_unit(p, cell.units.get(state, "1"), state)
        into.clamp.setdefault(state, []).append((Piece(p.steps, units), Piece(p.steps, units, value)))
        return
    channel = _one_of(p, rest, wiring.name, "input channel", tuple(cell.channels))
    value = _each(p, units, wiring)
    if p.unit != "1":
        from bioplaus.symbolic.units import unit_name

        _same_unit(p, unit_name(cell.channels[channel]), channel)
        value = value / cell.scales[channel]
    if channel in conductances(cell) and (p.kind == "noise" or np.min(value) < 0):
        how = (
            "noise on it would be as often below zero as above" if p.kind == "noise" else "a value below zero was given"
        )
        raise CircuitError(
            f"{told(p)} acts on {channel}, a conductance, which is never negative, and {how}. Drive a current of the cell, or give a value above zero."
        )
    varies = f"noise{'' if count == 1 else f' {count}'} of {p.path}" if p.kind == "noise" else ""
    into.drive.setdefault(tuple(cell.channels).index(channel), []).append(Piece(p.steps, units, value, varies))


def told(p: Perturb) -> str:
    """As it was written, for messages."""
    return f"Perturb('{cut(p.path)}', '{p.kind}')"


def _population(network: Network, p: Perturb) -> tuple[int, slice | np.ndarray, str]:
    """(population, units, what is named behind it) of a path: the longest of its beginnings that a population is called by."""
    found, names = parts(p.path), [each.name for each in network.populations]
    for many in range(len(found), 0, -1):
        name = ".".join(part for part, _ in found[:many])
        if name in names and not any(units is not None for _, units in found[: many - 1]):
            i, rest = names.index(name), found[many:]
            if len(rest) > 1 or any(units is not None for _, units in rest):
                wrong = ".".join(part for part, _ in rest)
                raise CircuitError(
                    f"{told(p)} goes on after population '{name}' with '{cut(wrong)}': one name of a channel or state may stand there, and units stand before it, as in '{name}[0:5].v'."
                )
            return i, _units(p, found[many - 1][1], names[i], network.populations[i].size), rest[0][0] if rest else ""
    weight = next((w.spec.name for w in network.wired if w.spec.name == found[0][0]), None)
    if weight is not None:
        raise CircuitError(
            f"{told(p)} names '{weight}', which is a projection, and {p.kind} is of neurons. What is done to a projection is cut, delay or freeze; populations: {', '.join(names)}."
        )
    raise CircuitError(f"{told(p)} leads nowhere. {unknown('population', found[0][0], names)}")


def _units(p: Perturb, text: str | None, name: str, size: int) -> slice | np.ndarray:
    if text is None:
        return slice(None)
    given = units_of(text)
    if isinstance(given, slice):
        beyond = [each for each in (given.start, given.stop) if each is not None and not -size <= each <= size]
        if beyond:
            raise CircuitError(
                f"{told(p)} names units [{text.strip()}]; '{name}' has {size}, from 0 to {size - 1}. Leave the end out for all up to the last, as in [0:]."
            )
        chosen = np.arange(size)[given]
    else:
        chosen = np.array(given)
        beyond = chosen[(chosen < -size) | (chosen >= size)]
        if len(beyond):
            raise CircuitError(f"{told(p)} names unit {beyond[0]}; '{name}' has {size}, from 0 to {size - 1}.")
        chosen = chosen % size
    if not len(chosen):
        raise CircuitError(
            f"{told(p)} names none of the {size} units of '{name}': [{text.strip()}] is empty. Give some, or leave the brackets out for all."
        )
    return chosen


def _projection(network: Network, p: Perturb) -> Wired[Source]:
    """The projection of a path."""
    by_name = {w.spec.name: w for w in network.wired if w.spec in network.circuit.projections}
    if p.path in by_name:
        return by_name[p.path]
    name = p.path.partition("[")[0]
    if name in by_name:
        raise CircuitError(
            f"{told(p)} has brackets behind a projection, and {p.kind} is of a whole one. Write '{name}'."
        )
    names = [each.name for each in network.populations]
    if name.partition(".")[0] in names:
        raise CircuitError(
            f"{told(p)} names a population, and {p.kind} is of a projection: {', '.join(by_name)}. What is done to neurons is silence, drive, noise or clamp."
        )
    if name in network.weights:
        raise CircuitError(
            f"{told(p)} names '{name}', which is no projection: those are {', '.join(by_name)}. What a population sends to the readout is silenced with it."
        )
    raise CircuitError(f"{told(p)} leads nowhere. {unknown('projection', name, by_name)}")


def _delay(network: Network, p: Perturb, w: Wired[Source]) -> int:
    """In steps."""
    if w.spec.source == INPUT:
        raise CircuitError(
            f"{told(p)} is of external input, which acts in its own step. A delay is of a projection between populations."
        )
    if isinstance(w.spec.delay, Late):
        raise CircuitError(
            f"{told(p)} is of a projection each of whose synapses has a delay of its own. Give that circuit one delay, or build it with other ones."
        )
    if p.unit not in ("1", "s", "second"):
        raise CircuitError(f"value of {told(p)} is no time: give steps, such as value=5, or value=5*ms.")
    delay = checks.accept(
        CircuitError, f"value of {told(p)}", float(p.value) if p.unit != "1" else p.value, Delay().one
    )
    found = steps(delay, network.circuit.dt, w.spec.name)
    if found < 1:
        raise CircuitError(f"value of {told(p)} is 0 steps; an output takes effect one step later at least: value=1.")
    return found


def _frozen(network: Network, p: Perturb) -> list[str]:
    """Weights, or what stands for several or for a rule's own tensors; the latter are asked for when the rule is known."""
    if p.path in network.weights:
        return [p.path]
    if p.path in WORDS:
        return [name for name in WORDS[p.path] if name in network.weights]
    if "[" in p.path:
        raise CircuitError(
            f"{told(p)} has brackets, and weights are frozen as a whole. Weights: {', '.join(network.weights)}."
        )
    if p.path in [each.name for each in network.populations]:
        onto = [w.spec.name for w in network.learned if network.populations[w.target].name == p.path]
        raise CircuitError(
            f"{told(p)} names a population, and what freezes are weights. Onto it go {', '.join(onto)}: freeze those."
        )
    return [p.path]


def _one_of(p: Perturb, given: str, population: str, what: str, names: Sequence[str]) -> str:
    """A channel or state by its name, which may be left out where there is one."""
    if given in names:
        return given
    if given:
        kind = f"{what} of population '{population}'"
        raise CircuitError(f"{told(p)} leads nowhere. {unknown(kind, given, names)}")
    if len(names) == 1:
        return names[0]
    listed = ", ".join(f"'{p.path}.{name}'" for name in names)
    raise CircuitError(f"{told(p)} does not say which {what} of '{population}' is meant: {listed}.")


def _each(p: Perturb, units: slice | np.ndarray, wiring: Wiring) -> float | np.ndarray:
    """A value, or as many as there are units."""
    if not isinstance(p.value, tuple):
        return float(p.value)
    count = len(np.arange(wiring.size)[units])
    if len(p.value) != count:
        raise CircuitError(
            f"value of {told(p)} has {len(p.value)} numbers, and these are {count} units. Give one for each, or one for all."
        )
    return np.array(p.value, dtype=float)


def _same_unit(p: Perturb, unit: str, name: str) -> None:
    """Refuse a value of another unit."""
    if p.unit == unit:
        return
    given = "a number without unit" if p.unit == "1" else f"in {p.unit}"
    wanted = (
        "has none: give a plain number" if unit == "1" else f"is in {unit}: write a quantity, such as -70*mV for volts"
    )
    raise CircuitError(f"value of {told(p)} is {given}, and {name} {wanted}.")

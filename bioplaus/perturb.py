"""Interfering with a circuit: which part of it, how, in which steps of a trial, in which updates.

=========  ==============================================  ==========================================================================
kind       path                                            what happens
=========  ==============================================  ==========================================================================
silence    ``"E"``, ``"E[0:20]"``                          nothing is sent: no spikes, rates 0; inside, the neurons go on as they would
drive      ``"E.I"``                                       a current is added to an input channel
noise      ``"E.I"``                                       normal numbers are added to it, new ones in every step, for every neuron
clamp      ``"E.v"``                                       a state is held at a value
cut        ``"W_EI"``                                      a projection brings nothing
delay      ``"W_EI"``                                      a projection takes another time
freeze     ``"W_EI"``, ``"readout"``, ``"predictor"``      weights do not learn
=========  ==============================================  ==========================================================================

Units stand in brackets: a number, several, a slice. What a path means, and what that does, says `bioplaus.circuit.perturbed`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from bioplaus import checks
from bioplaus.checks.numbers import Unfit, as_number, dimensions, finite
from bioplaus.errors import CircuitError, RunError, cut

#: kind → whether it takes a value, and an example of one
KINDS: Mapping[str, str] = {
    "silence": "",
    "drive": "value=0.5",
    "noise": "value=0.1",
    "clamp": "value=-70*mV",
    "cut": "",
    "delay": "value=5",
    "freeze": "",
}
#: what holds for whole trials
WHOLE = ("delay", "freeze")
PATH = "a part of the circuit, such as 'E', 'E[0:20]', 'E.I', 'E[0, 3].v' or 'W_EI'"

_PART = re.compile(r"([^.\[\]]+)(?:\[([^\[\]]*)\])?")
_UNITS = re.compile(r"\s*-?\d+\s*(,\s*-?\d+\s*)*|\s*(-?\d+)?\s*:\s*(-?\d+)?\s*(:\s*(-?[1-9]\d*)?\s*)?")


@dataclass(frozen=True)
class Span:
    """Whole numbers from ``start`` on, before ``stop`` (None: no end), every ``step``-th."""

    start: int = 0
    stop: int | None = None
    step: int = 1

    def __contains__(self, number: int) -> bool:
        behind = number - self.start
        return behind >= 0 and (self.stop is None or number < self.stop) and behind % self.step == 0

    def __repr__(self) -> str:
        parts = [self.start or "", "" if self.stop is None else self.stop, *([self.step] if self.step > 1 else [])]
        return ":".join(map(str, parts))

    @property
    def empty(self) -> bool:
        return self.stop is not None and self.stop <= self.start


@dataclass(frozen=True)
class Spanned:
    """The constraint of a span: a range, a slice, or what describes one, ``"100:200"``."""

    what: str

    @property
    def wanted(self) -> str:
        return f"{self.what} counted from 0, such as range(100, 200) or slice(100, None), with at least one of them, or None for all"

    def plain(self, value: Any) -> Span | None:
        if value is None or isinstance(value, Span):
            return value
        if isinstance(value, str) and re.fullmatch(r"\d*:\d*(:\d+)?", value):
            value = slice(*(int(each) if each else None for each in value.split(":")))
        if not isinstance(value, (range, slice)):
            raise Unfit
        whole = checks.Whole(0)
        start, stop, step = (None if e is None else whole.plain(e) for e in (value.start, value.stop, value.step))
        found = Span(start or 0, stop, checks.Whole(1).plain(1 if step is None else step))
        if found.empty:
            raise Unfit
        return found


@dataclass(frozen=True)
class Valued:
    """The constraint of a value: a number or a quantity, or one for each unit; kept in SI base units."""

    wanted = "a finite number, a quantity such as 5*mV, a time for a delay, or one for each unit; None where the kind takes none"

    def plain(self, value: Any) -> Any:
        if value is None:
            return None
        many = (
            isinstance(value, Iterable) and getattr(value, "ndim", 1) and not isinstance(value, (str, bytes, Mapping))
        )
        if many and not dimensions(value) and any(map(dimensions, value)):
            raise Unfit(" Write a list of numbers times a unit, [1, 2]*mV.")
        found = tuple(as_number(each) for each in value) if many else as_number(value)
        if not all(map(finite, found if isinstance(found, tuple) else (found,))) or found == ():
            raise Unfit
        return found


@dataclass(frozen=True)
class Path:
    """The constraint of a path: parts with full stops between them, each a name, with units in brackets or without."""

    wanted = PATH

    def plain(self, value: Any) -> str:
        path = checks.Word().plain(value)
        parts(path)
        return path


def parts(path: str) -> list[tuple[str, str | None]]:
    """(name, units as they were written, or None) of every part of a path.

    Raises
    ------
    Unfit

    Examples
    --------
    >>> parts("cerebellum.golgi[0:20].v")
    [('cerebellum', None), ('golgi', '0:20'), ('v', None)]
    """
    found, at = [], 0
    while at <= len(path):
        match = _PART.match(path, at)
        if match is None or (match.end() < len(path) and path[match.end()] != "."):
            raise Unfit
        name, units = match[1], match[2]
        if not name.strip() or (units is not None and not _UNITS.fullmatch(units)):
            raise Unfit(f" What stands in brackets are units: [5], [0, 3], [0:20]; not [{cut(str(units), 30)}].")
        found.append((name, units))
        at = match.end() + 1
    return found


def units_of(text: str) -> int | list[int] | slice:
    """What stands in brackets, as one indexes with it."""
    if ":" in text:
        return slice(*(int(each) if each.strip() else None for each in text.split(":")))
    return [int(each) for each in text.split(",")]


@dataclass(frozen=True, repr=False)
class Perturb:
    """One way to interfere with a circuit; several may be given together.

    Parameters
    ----------
    path : a population, ``"E"``, or some of its units, ``"E[0:20]"``; with a full stop an input channel or a state of it, ``"E.I"``, ``"E.v"``, which
        may be left out where there is one; a projection, ``"W_EI"``; what is frozen may be anything that a learning rate can be given to.
    kind : ``"silence"``, ``"drive"``, ``"noise"``, ``"clamp"``, ``"cut"``, ``"delay"``, ``"freeze"``.
    steps : of a trial, counted from 0: a range or a slice; None: all. Of ``delay`` and ``freeze`` always all.
    updates : of a training, counted from 0; None: all, and everything that is no training.
    value : what is added (``drive``), its standard deviation (``noise``), what a state is held at (``clamp``), how long it takes (``delay``: steps or a
        time). A quantity; or a number, in the channel's unit, or for a state without unit. Of the first three each unit may have its own.

    Raises
    ------
    CircuitError

    Examples
    --------
    >>> Perturb("E[0:20]", "silence", steps=range(100, 200))
    Perturb('E[0:20]', 'silence', steps=100:200)
    """

    path: str
    kind: str
    steps: Any = None
    updates: Any = None
    value: Any = None
    #: the SI unit of the value; "1" for a number without
    unit: str = field(init=False, default="1")

    constraints = checks.Table(
        CircuitError,
        "of Perturb",
        path=Path(),
        kind=checks.Word(tuple(KINDS)),
        steps=Spanned("steps of a trial"),
        updates=Spanned("updates of a training"),
        value=Valued(),
    )

    def __post_init__(self) -> None:
        given = self.value
        if dimensions(given):
            from bioplaus.symbolic.units import unit_name  # loaded where there is a quantity

            object.__setattr__(self, "unit", unit_name(given))
        checks.settle(self)
        takes = KINDS[self.kind]
        if bool(takes) != (self.value is not None):
            said = (
                f"and {takes} is missing: say what"
                if takes
                else f"and value={checks.short(given)} was given: leave it out"
            )
            raise CircuitError(
                f"Perturb('{cut(self.path)}', '{self.kind}') takes {'a' if takes else 'no'} value, {said}."
            )
        if self.kind in WHOLE and self.steps is not None:
            raise CircuitError(
                f"Perturb('{cut(self.path)}', '{self.kind}') holds for whole trials, and steps={self.steps} were given. Leave steps out; updates= says in which "
                "updates of a training it holds."
            )
        several = self.value if isinstance(self.value, tuple) else (self.value,)
        if self.kind == "noise" and min(several) < 0:
            raise CircuitError(
                f"value of Perturb('{cut(self.path)}', 'noise') is {checks.short(given)}, a standard deviation, which is 0 or more. Leave the sign out."
            )
        if self.kind == "delay" and isinstance(self.value, tuple):
            raise CircuitError(
                f"value of Perturb('{cut(self.path)}', 'delay') is {checks.short(given)}; a projection takes one delay under it: steps, such as value=5, or a time, value=5*ms."
            )

    def __repr__(self) -> str:
        told = [repr(self.path), repr(self.kind)]
        told += [f"{name}={span}" for name in ("steps", "updates") if (span := getattr(self, name)) is not None]
        told += [f"value={checks.short(self.value)}"] if self.value is not None else []
        return f"Perturb({', '.join(told)})"

    def describe(self) -> dict[str, Any]:
        """Everything that defines it, as plain data; values in SI base units."""
        found: dict[str, Any] = {"path": self.path, "kind": self.kind}
        found |= {name: repr(span) for name in ("steps", "updates") if (span := getattr(self, name)) is not None}
        if self.value is not None:
            found["value"] = list(self.value) if isinstance(self.value, tuple) else self.value
        return found | ({"unit": self.unit} if self.unit != "1" else {})


@dataclass(frozen=True)
class Perturbs:
    """The constraint of ``perturb=``: one, several, or None; kept as a tuple."""

    wanted = "a bp.Perturb, such as bp.Perturb('E', 'silence', steps=range(100, 200)), or several in a list, or None"

    def plain(self, value: Any) -> tuple[Perturb, ...]:
        if value is None:
            return ()
        if isinstance(value, Perturb):
            return (value,)
        if not isinstance(value, (list, tuple)) or not all(isinstance(each, Perturb) for each in value):
            raise Unfit
        return tuple(value)


def during(perturbs: Iterable[Perturb], update: int | None) -> tuple[Perturb, ...]:
    """Those that hold in an update, counted from 0; of none (None) all that name no updates."""
    return tuple(p for p in perturbs if p.updates is None or (update is not None and update in p.updates))


def refuse_never(perturbs: Iterable[Perturb], updates: int, what: str) -> None:
    """Refuse perturbations that begin behind the last of so many updates.

    Raises
    ------
    RunError
    """
    for each in perturbs:
        if each.updates is not None and each.updates.start >= max(updates, 1):
            raise RunError(
                f"{each} begins with update {each.updates.start}, and {what} has {updates}, from 0 on: it would never act. Give earlier updates=."
            )

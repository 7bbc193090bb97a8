"""What a single value must be: whole number, real number, amount with a unit, word, flag, object, and several of those.

A constraint says in words what is ``wanted``, and ``plain(value)`` gives the value as a plain one or raises Unfit. An ``example``
is Python text that makes a good value, with ``bp`` for bioplaus.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any, Protocol

from bioplaus.checks.numbers import Unfit, as_number, as_truth, dimensions, finite
from bioplaus.errors import BioplausError, meant

MOST = 10**9  # chosen: no array is longer
MANY = 10**6  # chosen: entries of a tuple


class Constraint(Protocol):
    """What every constraint has."""

    @property
    def wanted(self) -> str: ...
    def plain(self, value: Any) -> Any: ...


@dataclass(frozen=True)
class Whole:
    """A whole number in [least, most]; neither 5.0 nor True is one."""

    least: int = 1
    most: int = MOST

    @property
    def wanted(self) -> str:
        return f"a whole number from {self.least} to {self.most:_}"

    def plain(self, value: Any) -> int:
        number = as_number(value)
        if not isinstance(number, int) or not self.least <= number <= self.most:
            raise Unfit
        return number


SEED = Whole(0, 2**63 - 1)
"""What a run's random streams are made from."""


@dataclass(frozen=True, kw_only=True)
class Real:
    """A finite number without unit; ``least`` and ``most`` are allowed themselves, ``above`` and ``below`` are not."""

    least: float = -math.inf
    most: float = math.inf
    above: float = -math.inf
    below: float = math.inf

    @property
    def wanted(self) -> str:
        if math.isfinite(self.least) and math.isfinite(self.most):
            return f"a finite number between {self.least:g} and {self.most:g}"
        bounds = {"of at least": self.least, "above": self.above, "at most": self.most, "below": self.below}
        said = " and ".join(f"{words} {bound:g}" for words, bound in bounds.items() if math.isfinite(bound))
        return f"a finite number {said}".rstrip()

    def plain(self, value: Any) -> int | float:
        number = as_number(value)
        if dimensions(value) or not finite(number):
            raise Unfit
        if not (self.least <= number <= self.most and self.above < number < self.below):
            raise Unfit
        return number


@dataclass(frozen=True)
class Float(Real):
    """The same, kept as a float whole or not, so that 1 and 1.0 make one configuration."""

    def plain(self, value: Any) -> float:
        return float(super().plain(value))


#: of an amount's unit: what it is of, its base dimensions, and which unit a plain number most likely lacks
KINDS = {
    "s": ("time", {"time": 1}, "seconds: write {0:g}*ms, or {0:g}*second"),
    "Hz": ("rate", {"time": -1}, ""),
    "m": ("length", {"length": 1}, "metres: write {0:g}*um, or {0:g}*mm"),
    "m/s": ("velocity", {"length": 1, "time": -1}, ""),
}


@dataclass(frozen=True)
class Amount:
    """More than nothing of a time (unit s), rate (Hz), length (m) or velocity (m/s), from a quantity or a plain number in that unit; kept as a float."""

    unit: str
    example: str
    plain_below: float = 1.0  # whoever means more seconds will say so

    @property
    def wanted(self) -> str:
        return f"a {KINDS[self.unit][0]} above zero, such as {self.example}, or a number in {self.unit}"

    def plain(self, value: Any) -> float:
        unit, (_, wanted, likely) = dimensions(value), KINDS[self.unit]
        if unit not in ({}, wanted):
            raise Unfit
        number = as_number(value)
        if likely and not unit and number >= self.plain_below:
            raise Unfit(f" A number without unit is in {likely.format(number)}.")
        if not (finite(number) and number > 0):
            raise Unfit
        return float(number)


@dataclass(frozen=True)
class Among:
    """One of a few whole numbers."""

    numbers: tuple[int, ...]

    @property
    def wanted(self) -> str:
        return " or ".join(f"{number:+d}" for number in self.numbers)

    def plain(self, value: Any) -> int:
        number = as_number(value)
        if not isinstance(number, int) or number not in self.numbers:
            raise Unfit
        return number


@dataclass(frozen=True)
class Text:
    """Any text, also an empty one, that can be written into a file."""

    wanted: str = "text"

    def plain(self, value: Any) -> str:
        if not isinstance(value, str):
            raise Unfit
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise Unfit(f" No file can hold {error.object[error.start]!r}, which is half of a character.") from None
        return str.__str__(value)


@dataclass(frozen=True)
class Word:
    """A name; one of the known ones, if they are given."""

    known: Iterable[str] | None = None

    @property
    def wanted(self) -> str:
        return "a name" if self.known is None else f"one of {', '.join(map(repr, self.known))}"

    def plain(self, value: Any) -> str:
        if not (word := Text().plain(value)):
            raise Unfit
        if self.known is not None and word not in self.known:
            raise Unfit(meant(word, self.known))
        return word


@dataclass(frozen=True)
class Flag:
    """True or False."""

    wanted: str = "True or False"

    def plain(self, value: Any) -> bool:
        return as_truth(value)


@dataclass(frozen=True)
class Instance:
    """An object of a class; its name will do where ``by_name`` makes one of it."""

    kind: type
    example: str
    by_name: Callable[[str], Any] | None = None

    @property
    def wanted(self) -> str:
        return f"of class {self.kind.__name__}, such as {self.example}"

    def plain(self, value: Any) -> Any:
        if self.by_name is not None and isinstance(value, str):
            try:
                return self.by_name(str.__str__(value))
            except BioplausError as error:
                raise Unfit(f" {error}") from error
        if not isinstance(value, self.kind):
            raise Unfit
        return value


@dataclass(frozen=True)
class Optional:
    """None, or what another constraint wants; ``meaning`` says what None is for."""

    given: Constraint
    meaning: str = ""

    @property
    def wanted(self) -> str:
        return f"{self.given.wanted}, or None {self.meaning}".rstrip()

    def plain(self, value: Any) -> Any:
        return None if value is None else self.given.plain(value)


@dataclass(frozen=True)
class Several:
    """A tuple (list, array) of so many entries that each want the same; ``different`` ones, if said."""

    each: Constraint
    example: str
    least: int = 1
    most: int | None = None
    different: bool = False

    @property
    def wanted(self) -> str:
        many = {0: "", 1: "one or more "}.get(self.least, f"{self.least} ") + "different " * self.different
        bound = f", at most {self.most}" if self.most is not None and self.most > self.least else ""
        return f"a tuple of {many}entries{bound}, each {self.each.wanted}, such as {self.example}"

    def plain(self, value: Any) -> tuple[Any, ...]:
        if isinstance(value, (str, bytes, bytearray, set, frozenset, Mapping)) or not isinstance(value, Iterable):
            raise Unfit
        try:
            most = MANY if self.most is None else self.most
            found = tuple(self.each.plain(entry) for entry in islice(value, most + 1))
        except TypeError:  # an array of one number without axes says that it can be walked, and can't
            raise Unfit from None
        if not self.least <= len(found) <= most:
            raise Unfit
        if self.different and len(set(found)) < len(found):
            raise Unfit
        return found


@dataclass(frozen=True)
class Mapped:
    """A mapping of names to what each wants."""

    each: Constraint
    example: str
    least: int = 0

    @property
    def wanted(self) -> str:
        count = f" of at least {self.least}" if self.least else ""
        return f"a mapping{count}, each name to {self.each.wanted}, such as {self.example}"

    def plain(self, value: Any) -> dict[str, Any]:
        if not isinstance(value, Mapping) or len(value) < self.least:
            raise Unfit
        return {Word().plain(name): self.each.plain(entry) for name, entry in value.items()}

"""Where neurons are, how far it is from one to another, and how likely one speaks to another at a distance."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from bioplaus import checks
from bioplaus.checks.numbers import Unfit, dimensions, dtype
from bioplaus.errors import CircuitError


@dataclass(frozen=True)
class Coordinates:
    """The constraint of coordinates: an array (neuron, 1 to 3) of lengths, kept in metres."""

    wanted = "an array (neuron, 1 to 3) of finite coordinates with a unit, such as [[0, 0], [10, 0]]*um, or in m"

    def plain(self, value: Any) -> np.ndarray:
        unit = dimensions(value)
        if unit not in ({}, {"length": 1}) or isinstance(value, (str, bytes)) or dtype(value).startswith("complex"):
            raise Unfit
        try:
            array = np.asarray(value)
            if array.dtype.kind not in "iuf":
                raise Unfit
            array = np.array(array, dtype=np.float64)
        except (ValueError, TypeError, RuntimeError):
            raise Unfit from None
        array = array[:, None] if array.ndim == 1 else array
        if array.ndim != 2 or not len(array) or not 1 <= array.shape[1] <= 3 or not np.isfinite(array).all():
            raise Unfit
        if not unit and (most := float(abs(array).max())) >= 1:
            raise Unfit(
                f" Numbers without unit are in metres, and here are up to {most:g}: write array*um, or array*mm."
            )
        return array


@dataclass(frozen=True)
class Periods:
    """The constraint of a period: one length for all dimensions, or one for each; kept as a tuple or a number."""

    each = checks.Amount("m", "1*mm")

    @property
    def wanted(self) -> str:
        return f"{self.each.wanted}, or one for each dimension, such as [1, 2]*mm"

    def plain(self, value: Any) -> float | tuple[float, ...]:
        if np.ndim(value) != 1:
            return self.each.plain(value)
        if not 1 <= len(value) <= 3:
            raise Unfit
        return tuple([self.each.plain(entry) for entry in value])


@dataclass(frozen=True, eq=False, repr=False)
class Positions:
    """Where the neurons of a population are.

    Parameters
    ----------
    coordinates : (neuron, 1 to 3) with a unit of length; (neuron,) on a line.
    period : the length after which space comes back to itself, one for all dimensions or one for each; None: it ends where the neurons do.

    Raises
    ------
    CircuitError
        For coordinates that are none, and a period of other dimensions.

    Examples
    --------
    >>> import bioplaus as bp
    >>> bp.Positions([[0, 0], [990, 0]] * bp.um, period=1 * bp.mm).between(0, 1) * 1e6
    array([10.])
    """

    coordinates: Any
    period: Any = None

    constraints = checks.Table(
        CircuitError,
        "of positions",
        coordinates=Coordinates(),
        period=checks.Optional(Periods(), "for none"),
    )

    def __post_init__(self) -> None:
        checks.settle(self)
        D = self.coordinates.shape[1]
        if isinstance(self.period, tuple) and len(self.period) != D:
            raise CircuitError(
                f"period of positions has {len(self.period)} lengths, and the coordinates {D}: give one for all, or {D}."
            )
        if self.periods is not None:
            object.__setattr__(self, "coordinates", self.coordinates % self.periods)

    @cached_property
    def periods(self) -> np.ndarray | None:
        """One for each dimension."""
        return None if self.period is None else np.broadcast_to(self.period, self.coordinates.shape[1])

    def __len__(self) -> int:
        return len(self.coordinates)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Positions) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    def __repr__(self) -> str:
        return f"{len(self):_} positions {self.digest[:12]}"

    @cached_property
    def digest(self) -> str:
        """A hash of the places."""
        return hashlib.sha256(
            repr((self.coordinates.shape, self.period)).encode() + self.coordinates.tobytes()
        ).hexdigest()

    def describe(self) -> dict[str, Any]:
        """What a record holds of them."""
        return {
            "count": len(self),
            "dimensions": self.coordinates.shape[1],
            "period": self.period,
            "sha256": self.digest,
        }

    def between(self, i: Any, j: Any, other: Positions | None = None) -> np.ndarray:
        """Distances in metres from neurons ``i`` to neurons ``j`` (of ``other`` positions), the shortest way round."""
        there = (self if other is None else other).coordinates
        apart = np.atleast_2d(np.abs(self.coordinates[i] - there[j]))
        return norm(self.shortest(apart))

    def shortest(self, apart: np.ndarray) -> np.ndarray:
        """Differences of coordinates (…, dimension), from 0 to a period, the shorter way round."""
        if self.periods is None:
            return apart
        return np.minimum(apart, self.periods - apart)

    def refuse(self, other: Positions, name: str) -> None:
        """Refuse a projection between populations in different spaces."""
        mine, theirs = (each.coordinates.shape[1] for each in (self, other))
        if mine != theirs:
            raise CircuitError(
                f"Projection {name} goes from {theirs} dimension{'s' * (theirs > 1)} into {mine}, where there is no distance. Give both populations positions of as many."
            )
        one, two = (np.zeros(mine) if each.periods is None else each.periods for each in (self, other))
        if not np.allclose(one, two, rtol=1e-9, atol=0):
            said = [
                "none" if each.periods is None else " × ".join(f"{p * 1e3:g} mm" for p in each.periods)
                for each in (other, self)
            ]
            raise CircuitError(
                f"Projection {name} goes from a space of period {said[0]} into one of period {said[1]}. Give both populations the same."
            )


def norm(apart: np.ndarray) -> np.ndarray:
    """√Σ of squares over the last axis."""
    return np.sqrt(np.einsum("...d,...d->...", apart, apart))


@dataclass(frozen=True)
class Placed:
    """The constraint of ``positions=``."""

    given = Coordinates()

    @property
    def wanted(self) -> str:
        return f"bp.grid((10, 10), spacing=10*um), bp.Positions(…), or {self.given.wanted}"

    def plain(self, value: Any) -> Positions:
        if isinstance(value, Positions):
            return value
        self.given.plain(value)
        return Positions(value)


def grid(shape: int | Sequence[int], spacing: Any, periodic: bool = False) -> Positions:
    """Neurons at the centres of a grid's cells, the last dimension fastest.

    Parameters
    ----------
    shape : how many in each of 1 to 3 dimensions.
    spacing : from one to the next; a quantity or metres.
    periodic : whether the last is beside the first.

    Examples
    --------
    >>> import bioplaus as bp
    >>> sheet = bp.grid((20, 50), spacing=10 * bp.um, periodic=True)
    >>> len(sheet), float(sheet.between(0, 49).item() * 1e6)
    (1000, 10.0)
    """
    shape = shape if np.ndim(shape) else (shape,)  # type: ignore[assignment]
    several = checks.Several(checks.Whole(), "(10, 10)", most=3)
    counts = checks.accept(CircuitError, "shape of a grid", shape, several)
    apart = checks.accept(CircuitError, "spacing of a grid", spacing, checks.Amount("m", "10*um"))
    round_ = checks.accept(CircuitError, "periodic of a grid", periodic, checks.Flag())
    axes = np.meshgrid(*((np.arange(n) + 0.5) * apart for n in counts), indexing="ij")
    found = Positions.__new__(Positions)  # plain metres, also those of a metre and more
    object.__setattr__(found, "coordinates", np.stack([axis.ravel() for axis in axes], -1))
    object.__setattr__(found, "period", tuple(n * apart for n in counts) if round_ else None)
    return found


class Kernel:
    """How likely one neuron speaks to another at a distance, beside how likely at none: 1 at 0, and never more farther away.

    A class of one's own has `at`, and `describe` where it is no dataclass of plain values.
    """

    def at(self, distance: np.ndarray) -> np.ndarray:
        """Between 0 and 1, of distances in metres."""
        raise NotImplementedError

    def describe(self) -> dict[str, Any]:
        return {"name": type(self).__name__, **vars(self)}


@dataclass(frozen=True)
class Gaussian(Kernel):
    """exp(−d²/2σ²)"""

    sigma: Any

    constraints: ClassVar = checks.Table(CircuitError, "of a Gaussian kernel", sigma=checks.Amount("m", "100*um"))

    def __post_init__(self) -> None:
        checks.settle(self)

    def at(self, distance: np.ndarray) -> np.ndarray:
        return np.exp(-0.5 * (distance / self.sigma) ** 2)


@dataclass(frozen=True)
class Exponential(Kernel):
    """exp(−d/λ)"""

    length: Any

    constraints: ClassVar = checks.Table(CircuitError, "of an exponential kernel", length=checks.Amount("m", "100*um"))

    def __post_init__(self) -> None:
        checks.settle(self)

    def at(self, distance: np.ndarray) -> np.ndarray:
        return np.exp(-distance / self.length)


@dataclass(frozen=True)
class Within(Kernel):
    """1 up to a radius, 0 beyond."""

    radius: Any

    constraints: ClassVar = checks.Table(
        CircuitError, "of a kernel within a radius", radius=checks.Amount("m", "200*um")
    )

    def __post_init__(self) -> None:
        checks.settle(self)

    def at(self, distance: np.ndarray) -> np.ndarray:
        return (distance <= self.radius).astype(float)

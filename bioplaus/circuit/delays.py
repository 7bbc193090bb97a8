"""Delays of projections: steps, or a time that stays itself when the step changes.

Steps are whole numbers, a time is a float, in seconds. How many steps a time is, the circuit's dt says, and only there is it turned
into steps: a circuit that is made anew at another dt has the same delay. A time that all synapses of a projection share must be a whole number
of steps; where each synapse has its own, given, drawn or by distance, they go to the nearest step, and are one step at least.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from bioplaus import checks
from bioplaus.checks.numbers import Unfit, as_number, dimensions, dtype
from bioplaus.circuit.connect import Pairs
from bioplaus.errors import CircuitError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from bioplaus.cell import Cell
    from bioplaus.circuit.description import Projection
    from bioplaus.circuit.synapses import Synapses

LONGEST = 10_000  # steps of delay; every one of them is kept for every neuron  # chosen: 10 s at 1 ms
HALF = 1e-6  # steps, by which a time that is halfway but for rounding goes to the later one, on every machine


@dataclass(frozen=True)
class One:
    """The constraint of one delay: a whole number of steps, or a time from a quantity or in seconds."""

    steps = checks.Whole(0, LONGEST)
    time = checks.Amount("s", "1.5*ms", plain_below=0.1)  # whoever means more seconds will say so

    @property
    def wanted(self) -> str:
        return f"{self.steps.wanted} (steps), or a time above zero, such as {self.time.example}"

    def plain(self, value: Any) -> int | float:
        whole = not checks.dimensions(value) and isinstance(as_number(value), int)
        return (self.steps if whole else self.time).plain(value)


class Late:
    """Delays of a projection's synapses, each its own."""

    @property
    def in_time(self) -> bool:
        """Whether they are times, and no numbers of steps."""
        raise NotImplementedError

    def each(self, synapses: Synapses, generator: torch.Generator, p: Projection) -> Tensor:
        """(synapse,): steps, or seconds."""
        raise NotImplementedError

    def describe(self) -> dict[str, Any]:
        """What a record holds of them."""
        return {"name": type(self).__name__, **{k: shown(v) for k, v in vars(self).items()}}

    def steps(self, synapses: Synapses, dt: float, generator: torch.Generator, p: Projection) -> Tensor:
        """(synapse,): whole numbers of steps.

        Raises
        ------
        CircuitError
            For more than there may be.
        """
        found = self.each(synapses, generator, p)
        if self.in_time:
            found = (found / dt + 0.5 + HALF).floor()
        found = found.clamp_min(1).long()
        if len(found) and int(found.max()) > LONGEST:
            raise CircuitError(
                f"delay of projection {p.name} is up to {int(found.max()):_} steps of the circuit's dt, {dt * 1e3:g} ms; up to {LONGEST:_} steps are kept. "
                "Give shorter delays or a longer dt."
            )
        return found


@dataclass(frozen=True, eq=False, repr=False)
class Listed(Late):
    """Given: (synapse,), or a matrix [post, pre]; whole numbers of steps, or seconds."""

    values: np.ndarray

    @property
    def in_time(self) -> bool:
        return self.values.dtype.kind == "f"

    @property
    def digest(self) -> str:
        said = f"{self.values.shape} {self.values.dtype}"
        return hashlib.sha256(said.encode() + self.values.tobytes()).hexdigest()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Listed) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    def __repr__(self) -> str:
        shape = " × ".join(map(str, self.values.shape))
        return f"{shape} delays, {shown(self.values.min().item())} to {shown(self.values.max().item())}"

    def describe(self) -> dict[str, Any]:
        return {"count": self.values.size, "unit": "s" if self.in_time else "steps", "sha256": self.digest}

    def beside(self, pairs: Pairs | None, name: str) -> tuple[Pairs | None, Listed]:
        """Pairs and delays in the order in which values are kept, whatever they were given in."""
        if self.values.ndim == 2:
            return pairs, self
        if pairs is None or len(pairs) != len(self.values):
            there = "synapses= does not say which there are" if pairs is None else f"there are {len(pairs)} synapses"
            raise CircuitError(
                f"delay of projection {name} is {len(self.values)} values, one a synapse, and {there}. Give as many, in the order of synapses=(post, pre), or a matrix "
                "[post, pre]; for one delay of all, give a whole number (steps), or a time above zero, such as 1.5*ms."
            )
        order = np.lexsort((pairs.pre, pairs.post))
        return Pairs(pairs.post[order], pairs.pre[order], pairs.shape), Listed(self.values[order])

    def refuse(self, name: str, post: int, pre: int) -> None:
        """Refuse a matrix for other numbers of neurons."""
        if self.values.ndim == 2 and self.values.shape != (post, pre):
            raise CircuitError(
                f"delay of projection {name} is a matrix {self.values.shape[0]} × {self.values.shape[1]}, and it goes from {pre} neurons to {post}: give one of {post} × {pre}, [post, pre]."
            )

    def each(self, synapses: Synapses, generator: torch.Generator, p: Projection) -> Tensor:
        import torch

        values = torch.from_numpy(self.values)
        return values if values.dim() == 1 else values[synapses.post, synapses.pre]


def _alike(late: Any, first: str, second: str) -> None:
    """Refuse steps beside a time."""
    if type(getattr(late, first)) is not type(getattr(late, second)):
        one, two = (shown(getattr(late, each)) for each in (first, second))
        raise CircuitError(
            f"{first} and {second} of {type(late).__name__} delays are {one} and {two}: give both in steps (whole numbers), or both as times, such as 1.5*ms."
        )


@dataclass(frozen=True)
class Uniform(Late):
    """Delays between two, each as likely: whole numbers of steps, both ends among them, or times."""

    low: Any
    high: Any

    constraints: ClassVar = checks.Table(CircuitError, "of uniform delays", low=One(), high=One())

    def __post_init__(self) -> None:
        checks.settle(self)
        _alike(self, "low", "high")
        if self.high < self.low:
            raise CircuitError(
                f"Uniform delays go from low to high, and {shown(self.high)} is below {shown(self.low)}. Write them the other way round."
            )

    @property
    def in_time(self) -> bool:
        return isinstance(self.low, float)

    def each(self, synapses: Synapses, generator: torch.Generator, p: Projection) -> Tensor:
        import torch

        if not self.in_time:
            return torch.randint(self.low, self.high + 1, (len(synapses),), generator=generator)
        return self.low + (self.high - self.low) * torch.rand(len(synapses), generator=generator, dtype=torch.float64)


@dataclass(frozen=True)
class Normal(Late):
    """Normally distributed delays, in steps or as times; what is below one step is one."""

    mean: Any
    std: Any

    constraints: ClassVar = checks.Table(CircuitError, "of normal delays", mean=One(), std=One())

    def __post_init__(self) -> None:
        checks.settle(self)
        _alike(self, "mean", "std")

    @property
    def in_time(self) -> bool:
        return isinstance(self.mean, float)

    def each(self, synapses: Synapses, generator: torch.Generator, p: Projection) -> Tensor:
        import torch

        found = self.mean + self.std * torch.randn(len(synapses), generator=generator, dtype=torch.float64)
        return found if self.in_time else (found + 0.5).floor()


@dataclass(frozen=True)
class Conduction(Late):
    """Delays by distance, between populations with positions: d / velocity, and ``synaptic`` beside it where one is given."""

    velocity: Any
    synaptic: Any = None

    constraints: ClassVar = checks.Table(
        CircuitError,
        "of delays by distance",
        velocity=checks.Amount("m/s", "0.3*mm/ms"),
        synaptic=checks.Optional(checks.Amount("s", "1*ms", plain_below=0.1), "for none"),
    )

    def __post_init__(self) -> None:
        checks.settle(self)

    @property
    def in_time(self) -> bool:
        return True

    def describe(self) -> dict[str, Any]:
        return {
            "name": type(self).__name__,
            "velocity": f"{self.velocity!r} m/s",
            "synaptic": shown(self.synaptic or 0.0),
        }

    def each(self, synapses: Synapses, generator: torch.Generator, p: Projection) -> Tensor:
        import torch

        assert p.ends is not None
        post, pre = p.ends
        d = post.between(synapses.post.numpy(), synapses.pre.numpy(), pre)
        return torch.from_numpy(d) / self.velocity + (self.synaptic or 0.0)


@dataclass(frozen=True)
class Delay:
    """The constraint of ``delay=``: one for all synapses, or each its own."""

    one = One()

    @property
    def wanted(self) -> str:
        return f"{self.one.wanted}, or of each synapse its own: an array of either, bp.Uniform(1*ms, 5*ms), bp.Normal(3*ms, 1*ms) or bp.Conduction(0.3*mm/ms)"

    def plain(self, value: Any) -> int | float | Late:
        if isinstance(value, Late):
            return value
        if not isinstance(value, (str, bytes)) and np.ndim(value):
            return self._listed(value)
        return self.one.plain(value)

    def _listed(self, value: Any) -> Listed:
        unit = dimensions(value)
        if unit not in ({}, {"time": 1}) or dtype(value).startswith("complex"):
            raise Unfit
        array = np.asarray(value)
        if array.dtype.kind not in "iuf" or array.ndim > 2 or not array.size or not np.isfinite(array).all():
            raise Unfit
        if unit or array.dtype.kind == "f":
            array = np.array(array, dtype=np.float64)
            if not (array > 0).all():
                raise Unfit
            if not unit and array.max() >= self.one.time.plain_below:
                raise Unfit(
                    " Numbers without unit that are not whole are in seconds: write array*ms; steps are whole numbers."
                )
        else:
            array = np.array(array, dtype=np.int64)
            if (array < 1).any() or (array > LONGEST).any():
                raise Unfit
        return Listed(array)


def shown(delay: Any) -> Any:
    """Steps as they are, a time in ms; of each synapse its own as plain data."""
    if isinstance(delay, Late):
        return delay.describe()
    return delay if isinstance(delay, int) else f"{delay * 1e3!r} ms"


def steps(delay: int | float, dt: float, name: str) -> int:
    """A delay in steps of ``dt`` (seconds).

    Raises
    ------
    CircuitError
        For a time that is no whole number of steps, or of more than there may be.
    """
    if isinstance(delay, int):
        return delay
    exactly = delay / dt
    found = round(exactly)
    if found < 1 or abs(exactly - found) > 1e-6:
        near = sorted({max(math.floor(exactly), 1), max(math.ceil(exactly), 1)})
        said = " or ".join(f"{n * dt * 1e3:g}*ms ({n} step{'s' if n > 1 else ''})" for n in near)
        raise CircuitError(
            f"delay of projection {name} is {delay * 1e3:g} ms, which is {exactly:.6g} steps of the circuit's dt, {dt * 1e3:g} ms; it must be a whole number of "
            f"them. The nearest: {said}. Or give the circuit a dt that fits."
        )
    if found > LONGEST:
        raise CircuitError(
            f"delay of projection {name} is {delay * 1e3:g} ms, which is {found:_} steps of the circuit's dt, {dt * 1e3:g} ms; up to {LONGEST:_} steps are kept. "
            "Give a shorter delay or a longer dt."
        )
    return found


def timeless(cell: Cell) -> bool:
    """Whether a cell's step is no time: a discrete map that neither reads ``dt`` nor is made for one."""
    return not cell.continuous and cell.made_for is None and "dt" not in cell.parsed.words

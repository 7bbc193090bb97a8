"""Who drives whom, resolved to indices: the kinds of source, a projection, a population.

A source says what its weights multiply (``parts``, side by side) and, if that is known before a step is taken, what they make of it (``drive``):
the circuit's input, the constant of a bias. What other neurons said is known step by step.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import torch

from bioplaus.circuit.description import Projection
from bioplaus.circuit.drawn import Drawn
from bioplaus.codegen.kernel import Kernel

if TYPE_CHECKING:
    from torch import Tensor

    from bioplaus.circuit.scale import Scale
    from bioplaus.circuit.synapses import Synapses
    from bioplaus.circuit.trajectory import Stretch


@dataclass(frozen=True)
class External:
    """x_t, the circuit's input lines; they act in their own step."""

    def parts(self, stretch: Stretch) -> list[Tensor]:
        return [stretch.given]

    def drive(self, x: Tensor, W: Tensor) -> Tensor:
        return x @ W.T

    def width(self, W: Tensor) -> int:
        return W.shape[1]


@dataclass(frozen=True)
class Bias:
    """A constant 1; W is (channels · unit,)."""

    def parts(self, stretch: Stretch) -> list[Tensor]:
        return [stretch.x.new_ones(*stretch.x.shape[:-1], 1)]

    def drive(self, x: Tensor, W: Tensor) -> Tensor:
        return W.expand(*x.shape[:-1], -1)

    def width(self, W: Tensor) -> int:
        return 1


@dataclass(frozen=True)
class Outputs:
    """What a population, by its index, has said: one of the outputs that it keeps, or several side by side.

    Those are what `PopulationState.y` holds: of every step, the newest first, the output and then whatever else is sent, so many
    ``voices``; slot i is voice i mod voices of step t − 1 − ⌊i/voices⌋.
    """

    population: int
    slots: tuple[int, ...] = (0,)
    voices: int = 1

    @property
    def delays(self) -> tuple[int, ...]:
        """After how many steps each takes effect."""
        return tuple([slot // self.voices + 1 for slot in self.slots])

    @property
    def voice(self) -> int:
        """0 for the output, and i for the i-th of what is sent beside it."""
        return self.slots[0] % self.voices

    def of(self, said: Sequence[Tensor]) -> Tensor:
        """Of all that the population keeps, (…, unit) each, what is meant, (…, pre)."""
        return side_by_side([said[slot] for slot in self.slots])

    def parts(self, stretch: Stretch) -> list[Tensor]:
        return [stretch.outputs(self.population, slot) for slot in self.slots]

    def apart(self, e: Tensor) -> Iterable[tuple[int, Tensor]]:
        """(…, pre) cut into slots: which, and its part."""
        return zip(self.slots, (e,) if len(self.slots) == 1 else e.chunk(len(self.slots), -1), strict=True)

    def width(self, W: Tensor) -> int:
        return W.shape[1]


def side_by_side(parts: Sequence[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(list(parts), -1)


Source = External | Bias | Outputs
S = TypeVar("S", bound=Source, covariant=True)


@dataclass(frozen=True)
class Wired(Generic[S]):
    """A projection resolved to indices."""

    spec: Projection
    source: S
    target: int
    channels: tuple[int, ...]
    whole: bool  # covers all that a step of the target takes, in order
    synapses: Synapses | None = None  # where weights are kept one by one

    def drive(self, x: Tensor, W: Tensor) -> Tensor:
        """What arrives of x (…, pre), (…, channel · post)."""
        if self.synapses is not None:
            return self.synapses.product(x, W)
        return x @ W.T if isinstance(self.source, Outputs) else self.source.drive(x, W)

    def back(self, a: Tensor, W: Tensor) -> Tensor:
        """Credit for what arrives, (…, channel · post), as credit for its sources, (…, pre)."""
        return a @ W if self.synapses is None else self.synapses.back(a, W)

    def outer(self, a: Tensor, x: Tensor) -> Tensor:
        """Σ of credit (many, channel · post) ⊗ sources (many, pre), as the weights are kept."""
        return a.T @ x if self.synapses is None else self.synapses.outer(a, x)

    def dense(self, W: Tensor) -> Tensor:
        """The weights as a matrix, (channel · post, pre)."""
        return W if self.synapses is None else self.synapses.dense(W)

    def width(self, W: Tensor) -> int:
        """How many sources there are."""
        return self.source.width(W) if self.synapses is None else self.synapses.sources


@dataclass(frozen=True)
class Gated:
    """A channel of a population that brings what another does, and nothing where a switch is 1; all three by their place in what a step takes."""

    channel: int
    of: int
    switch: int


@dataclass(frozen=True)
class Wiring:
    """A population resolved: its kernel and what arrives."""

    name: str
    size: int
    kernel: Kernel
    refractory: Tensor  # steps, one number or one per neuron; 1 where a condition ends it
    ages: int  # steps of outputs kept
    start: tuple[float, ...]
    live: tuple[bool, ...]
    driven: tuple[Wired[External | Bias], ...]  # by what is known before the step
    recurrent: tuple[Wired[Outputs], ...]  # by other neurons
    channels: int
    drawn: tuple[Drawn, ...]  # by its own noise and background
    noises: int  # numbers that a step takes beside the channels
    units: tuple[str, ...]  # SI units of the cell's states, "1" for none
    jumps: Mapping[str, Any]  # state → how far one unit of weight makes it jump
    silence: int | None = None  # which of them is 1 where nothing is sent
    gated: tuple[Gated, ...] = ()  # the last channels: what they bring may be cut
    clamped: tuple[tuple[int, int, int], ...] = ()  # (state, switch, value): held at the value where the switch is 1

    def cut(self, w: Wired) -> bool:
        """Whether what a projection brings here may be cut."""
        return any(gate.channel in w.channels for gate in self.gated)

    @property
    def voices(self) -> int:
        """How many numbers a neuron sends in a step: its output, and what it sends beside it."""
        return self.kernel.voices

    @property
    def slots(self) -> int:
        """How many of those are kept, of all steps."""
        return self.ages * self.voices

    @property
    def taken(self) -> int:
        """How many numbers a neuron's step takes: its channels, and then its noises."""
        return self.channels + self.noises

    @cached_property
    def scale(self) -> Scale | None:
        """Zero and scale of its states, for who reads them beside numbers without a unit; None where no state has one."""
        from bioplaus.circuit.scale import scale

        return scale(self, self.refractory)

    @cached_property
    def refracts(self) -> bool:
        """Whether its neurons are ever refractory."""
        return bool(self.refractory.any())

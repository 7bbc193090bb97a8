"""The linearisation of a circuit along a stretch: the partials of its cells, and the transposes they make.

Everything is computed when it is first asked for, unless it is handed over: that of single steps, of a part, and of e-prop's
relatives, which follow other partials, is made of what is there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import torch

from bioplaus.circuit.network import Network
from bioplaus.circuit.trajectory import Stretch
from bioplaus.codegen.partials import Partials
from bioplaus.codegen.transpose import Transpose, transpose, varying

if TYPE_CHECKING:
    from torch import Tensor

#: per population, what its transpose takes as P
Varying: TypeAlias = "tuple[tuple[Tensor, ...], ...]"


@dataclass
class Tangent:
    """The linearisation of ``network`` along ``stretch``.

    Attributes
    ----------
    partials : per population, entries over the whole stretch.
    transposes : per population, the transpose of its step.
    varying : per population, what the transposes take as P, for the whole stretch.
    """

    network: Network
    stretch: Stretch
    _partials: tuple[Partials, ...] | None = None
    _transposes: tuple[Transpose, ...] | None = None
    _varying: Varying | None = None

    @property
    def partials(self) -> tuple[Partials, ...]:
        if self._partials is None:
            self._partials = self.stretch.partials()
        return self._partials

    @property
    def transposes(self) -> tuple[Transpose, ...]:
        if self._transposes is None:
            each = zip(self.partials, self.network.populations, strict=True)
            self._transposes = tuple(transpose(part, p.live) for part, p in each)
        return self._transposes

    @property
    def varying(self) -> Varying:
        if self._varying is None:
            self._varying = tuple(tuple(varying(part)) for part in self.partials)
        return self._varying

    def __len__(self) -> int:
        return len(self.stretch)

    def at_steps(self) -> list[Varying]:
        """``varying`` of each step: [time][population]."""
        T = len(self)
        by_population = [[t.unbind(0) if t.dim() == 3 else [t] * T for t in P] for P in self.varying]
        return list(zip(*(zip(*P, strict=True) if P else [()] * T for P in by_population), strict=True))

    def each(self) -> list[Tangent]:
        """The linearisation of every step by itself; its entries are (batch, unit)."""
        network, whole = self.network, self.stretch
        parts = [split(part, len(self)) for part in self.partials]
        singles = []
        for t, P in enumerate(self.at_steps()):
            one = Stretch(network, [whole.steps[t]], whole.x[t : t + 1])
            singles.append(Tangent(network, one, tuple(part[t] for part in parts), self.transposes, P))
        return singles

    def part(self, when: slice) -> Tangent:
        """Some consecutive steps of it."""
        part = self.stretch.part(when)
        return Tangent(self.network, part, _cut(self.partials, when), self.transposes, _cut(self.varying, when))

    def of(self, partials: tuple[Partials, ...]) -> Tangent:
        """Along the same stretch with other partials."""
        return Tangent(self.network, self.stretch, partials)

    def through(self, network: Network) -> Tangent:
        """The same, but that credit crosses between neurons through the weights of another network."""
        return Tangent(network, self.stretch, self.partials, self.transposes, self.varying)

    def freeze(self) -> None:
        """Compute all that sweeps and traces will ask for, and let go of the steps."""
        assert self.transposes is not None and self.varying is not None
        for w in self.network.learned:
            self.stretch.pre(w)
        self.stretch.forget()


def _cut(e: Any, when: slice) -> Any:
    """Entries over time, at some steps."""
    if isinstance(e, tuple):
        parts = [_cut(inner, when) for inner in e]
        return type(e)(*parts) if hasattr(e, "_make") else tuple(parts)
    return e[when] if isinstance(e, torch.Tensor) and e.dim() == 3 else e


def split(e: Any, T: int) -> Sequence[Any]:
    """Cut entries over time into a list of entries; constants repeat."""
    if isinstance(e, tuple):
        make = type(e)._make if hasattr(e, "_make") else tuple  # type: ignore[attr-defined]
        parts = [split(inner, T) for inner in e]
        return [make(row) for row in zip(*parts, strict=True)] if parts else [make(())] * T
    return e.unbind(0) if isinstance(e, torch.Tensor) and e.dim() == 3 else [e] * T

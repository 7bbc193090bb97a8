"""What a predictor is told when a trial begins: how long a step is, where chance comes from, who interferes with which of its parts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bioplaus.errors import unknown
from bioplaus.perturb import Perturb, Span, parts, units_of

if TYPE_CHECKING:
    import torch
    from torch import Tensor

#: how a path begins that leads into the predictor
CEREBELLUM = "cerebellum"


@dataclass(frozen=True)
class Lesion:
    """Some units of a part that are silenced in some steps; every unit and every step, where none are named."""

    part: str
    units: str | None
    steps: Span | None

    def where(self, size: int) -> np.ndarray:
        """Numbers of the units."""
        given = slice(None) if self.units is None else units_of(self.units)
        return np.arange(size)[given]


@dataclass(frozen=True)
class Trial:
    """One sequence, as a predictor meets it.

    Attributes
    ----------
    inputs, outputs : numbers that it reads and says.
    dt : how long a step is, in seconds.
    timed : whether that is so: the steps of a discrete map are no time.
    lesions : what of it is silenced.
    generator : where randomness comes from; None: always the same.
    told : whether ``inputs`` are all: of a predictor with context they are not, before somebody has seen a batch.
    """

    inputs: int
    outputs: int
    dt: float
    timed: bool = True
    lesions: tuple[Lesion, ...] = ()
    generator: torch.Generator | None = None
    told: bool = True


def lesions(perturbs: Iterable[Perturb]) -> tuple[Lesion, ...]:
    """What perturbations silence of a predictor."""
    found = []
    for p in perturbs:
        if p.kind == "silence":
            (_, whole), *rest = parts(p.path)
            part, units = rest[0] if rest else (CEREBELLUM, whole)
            found.append(Lesion(part, units, p.steps))
    return tuple(found)


def refuse(
    perturbs: Iterable[Perturb], sizes: Mapping[str, int], delayed: Iterable[str], open_ended: Iterable[str] = ()
) -> str | None:
    """Why what is asked can't be done to a predictor of these parts, of which some have delays, and some more units than is known yet; or None."""
    delayed = list(delayed)
    for p in perturbs:
        (_, whole), *rest = parts(p.path)
        part, units = rest[0] if rest else (CEREBELLUM, whole)
        known = {CEREBELLUM: 0, **sizes}
        if len(rest) > 1 or part not in known:
            name = ".".join(name for name, _ in rest)
            if not sizes:
                return f"{p!r} leads nowhere: its predictor has no parts, as one with predictor='granule' has (give 'cerebellum', the whole)"
            return f"{p!r} leads nowhere. {unknown('part of its predictor', name, sizes)}".removesuffix(".")
        if p.kind == "silence":
            if units is not None and part == CEREBELLUM:
                return f"{p!r} names units of the whole: give those of a part, such as 'cerebellum.nuclei[{units}]'"
            if part in open_ended:
                continue
            size = known[part]
            numbers = [] if units is None or ":" in units else units_of(units)
            beyond = [n for n in numbers if not -size <= n < size]  # type: ignore[union-attr]
            if beyond:
                return f"{p!r} names unit {beyond[0]}, and '{part}' has {size}, from 0 to {size - 1}"
            if units is not None and not len(Lesion(part, units, None).where(size)):
                return f"{p!r} names none of the {size} units of '{part}'"
        elif p.kind == "delay":
            if part not in delayed or units is not None:
                return f"{p!r}: what takes time is the way to or from {' or '.join(delayed) or 'none of its parts'}, as a whole"
        elif p.kind != "freeze":
            return f"{p!r}: what can be done to a part of the cerebellum is silence, delay and freeze, not {p.kind}"
    return None


def silenced(values: Tensor, lesions: Iterable[Lesion], part: str, first: int) -> Tensor:
    """A part's rates (time, batch, unit), 0 where they are silenced; the first of them is of step ``first``."""
    for lesion in lesions:
        if lesion.part == part:
            held = [t for t in range(len(values)) if lesion.steps is None or first + t in lesion.steps]
            if held:
                values = values.clone()
                columns = lesion.where(values.shape[-1])
                for t in held:
                    values[t][:, columns] = 0.0
    return values

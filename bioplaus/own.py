"""What a rule has beside the circuit's weights, part by part: a predictor, a model of the step, feedback weights, a kernel.

A part's tensors are learned or fixed. By path, ``predictor.A``, they stand in checkpoints, and so do their gradients everywhere.

========== ==========================================================================================
part       what it is
========== ==========================================================================================
predictor  g(h; θ), the cerebellum's; fixed: random layers, the nuclei's V
copy       the predictor that stands still in its own target, and how many updates it has stood
auxiliary  a second last layer of the predictor, for an auxiliary task
model      a linear model of the circuit's step
feedback   B, what carries errors to neurons in the readout's place, or credit in the synapses' place
kernel     a learned sensitivity, and how fast it fades
========== ==========================================================================================
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from torch import Tensor


#: gradients of own tensors by path, or of one part's by name
Gradients: TypeAlias = "dict[str, Tensor]"


@dataclass(frozen=True)
class Own:
    """The tensors of one part, by name; ``own["A"]`` is either kind."""

    learned: dict[str, Tensor] = field(default_factory=dict)
    fixed: dict[str, Tensor] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Tensor:
        return self.learned[name] if name in self.learned else self.fixed[name]

    def __contains__(self, name: object) -> bool:
        return name in self.learned or name in self.fixed

    def __iter__(self) -> Iterator[str]:
        yield from self.learned
        yield from self.fixed

    def replaced(self, learned: Mapping[str, Tensor]) -> Own:
        """The same part with other learned tensors in the place of those of their names."""
        return Own({**self.learned, **learned}, self.fixed)


#: part → its tensors
Owns = dict[str, Own]


def under(part: str, found: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Names of one part as paths."""
    return {f"{part}.{name}": value for name, value in found.items()}


def of(part: str, found: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Of what stands by path, that of one part, by name."""
    return {path.removeprefix(f"{part}."): value for path, value in found.items() if path.startswith(f"{part}.")}


def called(name: str) -> str:
    """The path that a name stands for: a predictor is also called the cerebellum."""
    first, dot, rest = name.partition(".")
    return f"predictor{dot}{rest}" if first == "cerebellum" else name


def within(path: str, name: str) -> bool:
    """Whether an own tensor is what a name says, or in it: ``predictor.golgi.threshold`` is in ``predictor.golgi`` and in ``cerebellum``."""
    name = called(name)
    return path == name or path.startswith(f"{name}.")


def above(paths: Iterable[str]) -> list[str]:
    """Names of all that own tensors are in."""
    found = {path.rsplit(".", n)[0] for path in paths for n in range(1, path.count(".") + 1)}
    return sorted(
        found | {f"cerebellum{name.removeprefix('predictor')}" for name in found if name.startswith("predictor.")}
    )


def learned(owns: Owns) -> dict[str, Tensor]:
    """All that is learned, by path."""
    return {path: value for part, own in owns.items() for path, value in under(part, own.learned).items()}


def tensors(owns: Owns) -> dict[str, Tensor]:
    """All there is, by path; what a checkpoint holds."""
    return {f"{part}.{name}": own[name] for part, own in owns.items() for name in own}


def mapped(change: Callable[[Tensor], Tensor], owns: Owns) -> Owns:
    """The same parts with every tensor changed."""
    return {
        part: Own({n: change(v) for n, v in own.learned.items()}, {n: change(v) for n, v in own.fixed.items()})
        for part, own in owns.items()
    }


#: how names began before tensors stood by part, and the part
_BEGAN = {
    "fixed_copy_": "copy",
    "fixed_back_": "feedback",
    "fixed_": "predictor",
    "model_": "model",
    "auxiliary_": "auxiliary",
}
_ALONE = {
    "B": ("feedback", "B"),
    "fixed_B": ("feedback", "B"),
    "fixed_count": ("copy", "count"),
    "kernel": ("kernel", "weights"),
    "decay": ("kernel", "decay"),
}


def by_part(side_by_side: Mapping[str, Tensor]) -> Owns:
    """Tensors of a checkpoint of before parts, where all lay side by side and were told apart by how their names began."""
    owns: Owns = {}
    for name, value in side_by_side.items():
        began = next((begin for begin in _BEGAN if name.startswith(begin)), "")
        part, short = _ALONE.get(name) or (_BEGAN.get(began, "predictor"), name.removeprefix(began))
        own = owns.setdefault(part, Own())
        (own.fixed if name.startswith("fixed_") else own.learned)[short] = value
    return owns

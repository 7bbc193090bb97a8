"""How a circuit is trained: numbers only, light to import."""

from __future__ import annotations

import sys
from dataclasses import dataclass, fields
from typing import Any

from bioplaus import checks
from bioplaus.checks.numbers import as_number
from bioplaus.errors import RunError
from bioplaus.settings import unusable


class _Hertz(checks.Real):
    """A finite rate, 0 and below included, from a quantity or a plain number in Hz; kept as a number in Hz."""

    @property
    def wanted(self) -> str:
        return "a finite rate, such as 10*Hz, or a number in Hz"

    def plain(self, value: Any) -> int | float:
        return super().plain(as_number(value) if checks.dimensions(value) == {"time": -1} else value)


#: the smallest and the largest number of each dtype
_HELD = {
    "float32": (2.0**-126, (2 - 2.0**-23) * 2.0**127),
    "float64": (sys.float_info.min, sys.float_info.max),
}
_NUMBERS = ("lr", "readout_lr", "predictor_lr", "eps", "clip", "rate_target", "rate_strength")


@dataclass(frozen=True, kw_only=True, repr=False)
class Training(checks.Named):
    """How a circuit is trained.

    Parameters
    ----------
    updates, batch : number of updates; sequences per update.
    lr : learning rate of the circuit's weights; 0 keeps them fixed.
    readout_lr, predictor_lr : of the readout (and adaptive feedback) and of the predictor; None: as ``lr``.
    optimiser : ``"adam"`` or ``"sgd"``.
    betas, eps : of Adam.
    clip : largest norm of the circuit's gradient (circuit and readout together); the predictor's has its own, the same.
    rate_target, rate_strength : ½·strength·Σ(f − target)², f in outputs per step, target in Hz (10 or 10*Hz); strength 0: none.
    apply : ``"sequence"``: one update a batch; ``"window"``: one after every window of the rule's schedule.
    curriculum : go on to the task's next stage (its ``harder()``) as soon as a batch scores better than its ``solved`` threshold.
    evaluate_every, align_every : updates between tests, and between comparisons with BPTT; 0: tests at the end only, no comparison.
    device, dtype : ``"cpu"``, ``"cuda"``; ``"float32"``, ``"float64"``.
    """

    updates: int = 500
    batch: int = 64
    lr: float = 1e-3
    readout_lr: float | None = None
    predictor_lr: float | None = None
    optimiser: str = "adam"
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    clip: float | None = None
    rate_target: float = 10.0
    rate_strength: float = 0.0
    apply: str = "sequence"
    curriculum: bool = False
    evaluate_every: int = 0
    align_every: int = 0
    device: str = "cpu"
    dtype: str = "float32"

    constraints = checks.Table(
        RunError,
        updates=checks.Whole(0),
        batch=checks.Whole(),
        lr=checks.Real(least=0),
        readout_lr=checks.Optional(checks.Real(least=0), "for that of the circuit"),
        predictor_lr=checks.Optional(checks.Real(least=0), "for that of the circuit"),
        optimiser=checks.Word(("adam", "sgd")),
        betas=checks.Several(checks.Float(least=0, below=1), "(0.9, 0.999)", 2, 2),
        eps=checks.Real(above=0),  # at 0 Adam divides 0 by 0 wherever a gradient is 0
        clip=checks.Optional(checks.Real(above=0), "for no limit"),
        rate_target=_Hertz(),
        rate_strength=checks.Real(least=0),
        apply=checks.Word(("sequence", "window")),
        curriculum=checks.Flag(),
        evaluate_every=checks.Whole(0),
        align_every=checks.Whole(0),
        dtype=checks.Word(("float32", "float64")),
    )

    def __post_init__(self) -> None:
        checks.settle(self)
        self._held()
        checks.accept(RunError, "device of Training", self.device, checks.Word())
        if reason := unusable(self.device):
            raise RunError(reason)

    def _held(self) -> None:
        """Refuse numbers that become infinite, or 0, in what the weights are kept in."""
        least, most = _HELD[self.dtype]
        for name in _NUMBERS:
            value = getattr(self, name)
            if value and not least <= abs(value) <= most:
                wanted = f"a number that {self.dtype} holds: 0 or, but for the sign, from {least:.1e} to {most:.1e}"
                raise checks.refusal(RunError, f"{name} of Training", value, wanted)

    def __repr__(self) -> str:
        """What was asked for; the rest is as by default."""
        given = ((f.name, getattr(self, f.name)) for f in fields(self) if getattr(self, f.name) != f.default)
        return f"Training({', '.join(f'{name}={value!r}' for name, value in given)})"

    def describe(self) -> dict[str, Any]:
        return {f.name: getattr(self, f.name) for f in fields(self)}

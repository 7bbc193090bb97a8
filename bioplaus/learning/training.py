"""How a circuit is trained: numbers only, light to import."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, TypeAlias

from bioplaus import checks
from bioplaus.checks.numbers import as_number
from bioplaus.drive import Drives
from bioplaus.errors import RunError
from bioplaus.learning.per_time import PerTime
from bioplaus.perturb import Perturbs, refuse_never
from bioplaus.settings import unusable


class _Hertz(checks.Real):
    """A finite rate, 0 and below included, from a quantity or a plain number in Hz; kept as a number in Hz."""

    @property
    def wanted(self) -> str:
        return "a finite rate, such as 10*Hz, or a number in Hz"

    def plain(self, value: Any) -> int | float:
        return super().plain(as_number(value) if checks.dimensions(value) == {"time": -1} else value)


class _Rate(checks.Real):
    """A learning rate: a number, or a rate per time."""

    @property
    def wanted(self) -> str:
        return f"{super().wanted} or a rate per time, such as 2e-3/ms"

    def plain(self, value: Any) -> Any:
        if isinstance(value, PerTime):
            return PerTime(float(super().plain(value.hertz)))
        if checks.dimensions(value) == {"time": -1}:
            return PerTime(float(super().plain(as_number(value))))
        return super().plain(value)


class _Rates(_Rate):
    """The same, or several by name."""

    @property
    def wanted(self) -> str:
        return f"{super().wanted}, or a mapping of names to such, such as {{'W_in': 0, 'predictor': 1e-3}}"

    def plain(self, value: Any) -> Any:
        by_name = checks.Mapped(RATE, "", least=1)
        return by_name.plain(value) if isinstance(value, Mapping) else super().plain(value)


Rate: TypeAlias = "float | PerTime"
RATE, RATES = _Rate(least=0), _Rates(least=0)

#: the smallest and the largest number of each dtype
_HELD = {
    "float32": (2.0**-126, (2 - 2.0**-23) * 2.0**127),
    "float64": (sys.float_info.min, sys.float_info.max),
}
_NUMBERS = ("lr", "readout_lr", "predictor_lr", "eps", "clip", "rate_target", "rate_strength", "voltage_strength")
#: fields that came later, and are not told of where they are as by default: runs of before are recognised
_MOVED_BY = ("optimiser_options", "lr_schedule", "lr_schedule_options")
#: of a training inside Brian2: what it asks of other fields
#: what a training has that moves weights inside Brian2
IN_BRIAN: dict[str, Any] = {
    "batch": 1,
    "optimiser": "sgd",
    "optimiser_options": None,
    "lr_schedule": None,
    "clip": None,
    "rate_strength": 0,
    "voltage_strength": 0,
    "apply": "window",
    "update_probability": 1,
    "drive": None,
    "device": "cpu",
    "dtype": "float64",
}
_LATER = (
    *_MOVED_BY,
    "rate_over",
    "voltage_strength",
    "backend",
    "threads",
    "perturb",
    "loss_per",
    "update_probability",
    "drive",
)


@dataclass(frozen=True, kw_only=True, repr=False)
class Training(checks.Named):
    """How a circuit is trained.

    Parameters
    ----------
    updates, batch : number of updates; sequences per update.
    lr : learning rate of the circuit's weights, 0 keeps them fixed; or rates by name, ``{"W_in": 0, "predictor": 1e-3}``: of weights, of
        ``"readout"``, ``"predictor"``, ``"feedback"``, and ``"default"`` for the rest (`bioplaus.learning.rates`). A rate per time,
        ``2e-3/ms``, stays itself when dt changes: it is rate·dt.
    readout_lr, predictor_lr : of the readout (and adaptive feedback) and of the predictor; None: as ``lr``.
    optimiser : ``"adam"``, ``"sgd"``, ``"adam_tf"`` (TensorFlow's and NEST's Adam), the name of a class of torch.optim that steps from
        gradients alone, such as ``"RMSprop"``, ``"es"`` and ``"guided_es"``, which ask for the loss in random directions, the latter mostly among the
        rule's own gradients (`bioplaus.learning.evolution`), or a class of your own (`bioplaus.learning.optimiser`).
    optimiser_options : what else it takes: ``{"momentum": 0.9}``.
    betas, eps : of the two Adams.
    lr_schedule, lr_schedule_options : a schedule of torch.optim.lr_scheduler by name, ``"StepLR"``, and its options,
        ``{"step_size": 100}``; it goes on by one step an update.
    clip : largest norm of the circuit's gradient (circuit and readout together); the predictor's has its own, the same.
    rate_target, rate_strength : ½·strength·Σ(f − target)², f in outputs per step, target in Hz (10 or 10*Hz); strength 0: none.
    rate_over : whose rate f is: ``"batch"``, of all its trials together, or ``"trial"``, each trial's own (NEST).
    voltage_strength : strength·Σ([v − A]₊² + [2 v₀ − A − v]₊²), how far membranes are beyond their threshold A, above and below rest v₀;
        0: none (`bioplaus.learning.voltage`).
    loss_per : ``"step"``: the loss of a trial is the sum of its steps'; ``"ms"``: the integral over its milliseconds, which stays itself when dt
        changes (each step counts dt/1 ms, and so does ``voltage_strength``).
    apply : ``"sequence"``: one update a batch; ``"window"``: one after every window of the rule's schedule.
    update_probability : p, with which each population, and the readout, moves whenever gradients are applied, independently of the others; a predictor
        of ``areas`` learns in an area only if one that it drives has moved (`bioplaus.learning.turns`). 1: all, always.
    curriculum : go on to the task's next stage (its ``harder()``) as soon as a batch scores better than its ``solved`` threshold.
    evaluate_every, align_every : updates between tests, and between comparisons with BPTT; 0: tests at the end only, no comparison.
    device, dtype : ``"cpu"``, ``"cuda"``; ``"float32"``, ``"float64"``.
    backend : what computes time steps: ``"torch"``; ``"numba"``, fused loops for spiking circuits on the CPU, equal to rounding; ``"auto"``
        takes those where an update, or all of them, are so much work that compiling pays (`bioplaus.circuit.backend`); ``"brian2"``: circuits learn
        inside Brian2, one trial an update, and weights move at every step (`bioplaus.learning.outside`).
    threads : on how many processors fused loops run at most, with the same results to the last bit; torch keeps to one, for its sums over
        several round differently.
    drive : forward models that drive areas while they learn, a `bioplaus.Drive`, or a cerebellum whose output is input to the cortex, a
        `bioplaus.CerebellarDrive`; None: areas hear what is said.
    perturb : who interferes, one `bioplaus.Perturb` or several; their ``updates=`` say when. Tests are taken under what holds in the update before.
    """

    updates: int = 500
    batch: int = 64
    lr: Rate | Mapping[str, Rate] = 1e-3
    readout_lr: Rate | None = None
    predictor_lr: Rate | None = None
    optimiser: str | type = "adam"
    optimiser_options: Mapping[str, Any] | None = None
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    lr_schedule: str | None = None
    lr_schedule_options: Mapping[str, Any] | None = None
    clip: float | None = None
    rate_target: float = 10.0
    rate_strength: float = 0.0
    rate_over: Literal["batch", "trial"] = "batch"
    voltage_strength: float = 0.0
    loss_per: Literal["step", "ms"] = "step"
    apply: str = "sequence"
    update_probability: float = 1.0
    curriculum: bool = False
    evaluate_every: int = 0
    align_every: int = 0
    device: str = "cpu"
    dtype: str = "float32"
    backend: str = "auto"
    threads: int = 1
    perturb: Any = ()
    drive: Drives | None = None

    constraints = checks.Table(
        RunError,
        updates=checks.Whole(0),
        batch=checks.Whole(),
        lr=RATES,
        readout_lr=checks.Optional(RATE, "for that of the circuit"),
        predictor_lr=checks.Optional(RATE, "for that of the circuit"),
        betas=checks.Several(checks.Float(least=0, below=1), "(0.9, 0.999)", 2, 2),
        eps=checks.Real(above=0),  # at 0 Adam divides 0 by 0 wherever a gradient is 0
        clip=checks.Optional(checks.Real(above=0), "for no limit"),
        rate_target=_Hertz(),
        rate_strength=checks.Real(least=0),
        rate_over=checks.Word(("batch", "trial")),
        voltage_strength=checks.Real(least=0),
        loss_per=checks.Word(("step", "ms")),
        apply=checks.Word(("sequence", "window")),
        update_probability=checks.Real(above=0, most=1),
        curriculum=checks.Flag(),
        evaluate_every=checks.Whole(0),
        align_every=checks.Whole(0),
        dtype=checks.Word(("float32", "float64")),
        backend=checks.Word(("auto", "torch", "numba", "brian2")),
        threads=checks.Whole(),
        perturb=Perturbs(),
        drive=checks.Optional(checks.Instance(Drives, "bp.Drive(hidden=(128,)) or bp.CerebellarDrive()"), "for none"),
    )

    def __post_init__(self) -> None:
        checks.settle(self)
        self._held()
        self._moved_by()
        if self.drive is not None and self.perturb:
            raise RunError(
                "Training was given a drive and perturb, and what drives a circuit is not interfered with: leave one of the two out."
            )
        refuse_never(self.perturb, self.updates, "the training")
        checks.accept(RunError, "device of Training", self.device, checks.Word())
        if reason := unusable(self.device):
            raise RunError(reason)
        if self.backend == "brian2":
            self._inside_brian()

    def _inside_brian(self) -> None:
        """Refuse what synapses of Brian2 do not do."""
        other = {name: value for name, value in IN_BRIAN.items() if getattr(self, name) != value}
        if other:
            raise RunError(
                f"backend='brian2' of Training lets weights move at every step inside Brian2, by plain gradient descent, one trial after the other: it takes "
                f"{', '.join(f'{name}={value!r}' for name, value in other.items())}, and was given "
                f"{', '.join(f'{name}={getattr(self, name)!r}' for name in other)}. Write bp.Training(backend='brian2', batch=1, optimiser='sgd', apply='window', "
                "dtype='float64', lr=…), or leave backend out."
            )

    def _held(self) -> None:
        """Refuse numbers that become infinite, or 0, in what the weights are kept in."""
        least, most = _HELD[self.dtype]
        for name in _NUMBERS:
            given = getattr(self, name)
            for rate in given.values() if isinstance(given, Mapping) else (given,):
                value = rate.per_ms if isinstance(rate, PerTime) else rate
                if not value or least <= abs(value) <= most:
                    continue
                wanted = f"a number that {self.dtype} holds: 0 or, but for the sign, from {least:.1e} to {most:.1e}"
                raise checks.refusal(RunError, f"{name} of Training", rate, wanted)

    def _moved_by(self) -> None:
        """Refuse an optimiser or a schedule that is none, or does not go with its options or with the rates."""
        for name, rate in (("readout", self.readout_lr), ("predictor", self.predictor_lr)):
            if isinstance(self.lr, Mapping) and name in self.lr and rate is not None:
                raise RunError(
                    f"lr of Training names '{name}', and {name}_lr={rate} says the same again. Leave one of them out."
                )
        if all(getattr(self, name) == getattr(Training, name) for name in ("optimiser", *_MOVED_BY)):
            return  # and nothing heavy is imported
        from bioplaus.learning import by_name

        values = {
            "optimiser": by_name.known(self.optimiser),
            "optimiser_options": by_name.plain_options("optimiser_options", self.optimiser_options),
            "lr_schedule_options": by_name.plain_options("lr_schedule_options", self.lr_schedule_options),
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)
        if self.apply == "window" and by_name.searches(self.optimiser):
            raise RunError(
                f"optimiser='{self.optimiser}' of Training asks for the loss of whole trials, at the weights with which they began, and apply='window' moves weights within a "
                "trial, after every window. Leave apply out (apply='sequence'), or take an optimiser that goes by gradients, such as 'adam'."
            )
        schedule = checks.Optional(checks.Word(by_name.SCHEDULES), "for rates that stay")
        checks.accept(RunError, "lr_schedule of Training", self.lr_schedule, schedule)
        if self.lr_schedule is None and self.lr_schedule_options is not None:
            raise RunError(
                "lr_schedule_options of Training were given without an lr_schedule to take them. Give one, such as lr_schedule='StepLR'."
            )
        options, how = self.optimiser_options or {}, self.lr_schedule_options or {}
        by_name.tried(self.optimiser, options, self.lr_schedule, how, {"betas": self.betas, "eps": self.eps})

    @property
    def per_time(self) -> list[str]:
        """Which of its numbers are per time."""
        rates = {name: getattr(self, name) for name in ("lr", "readout_lr", "predictor_lr")}
        each = {name: rate.values() if isinstance(rate, Mapping) else (rate,) for name, rate in rates.items()}
        found = [name for name, some in each.items() if any(isinstance(rate, PerTime) for rate in some)]
        return [*found, *(["loss_per"] if self.loss_per == "ms" else [])]

    def at(self, dt: float) -> Training:
        """The same at steps of ``dt`` seconds, with rates per step."""
        if not set(self.per_time) - {"loss_per"}:
            return self
        lr = (
            {name: _at(rate, dt) for name, rate in self.lr.items()}
            if isinstance(self.lr, Mapping)
            else _at(self.lr, dt)
        )
        return replace(self, lr=lr, readout_lr=_at(self.readout_lr, dt), predictor_lr=_at(self.predictor_lr, dt))

    def by_path(self, weights: Iterable[str], own: Iterable[str]) -> dict[str, float]:
        """The rate of every weight and of every tensor that a rule learns for itself (`bioplaus.learning.rates`)."""
        from bioplaus.learning.rates import rates

        return rates(weights, own, self)

    def loss_weight(self, dt: float) -> float:
        """How much a step of ``dt`` seconds counts in the loss."""
        return dt * 1e3 if self.loss_per == "ms" else 1.0

    def __repr__(self) -> str:
        """What was asked for; the rest is as by default."""
        given = ((f.name, getattr(self, f.name)) for f in fields(self) if getattr(self, f.name) != f.default)
        return f"Training({', '.join(f'{name}={value!r}' for name, value in given)})"

    def describe(self) -> dict[str, Any]:
        told = {
            f.name: getattr(self, f.name)
            for f in fields(self)
            if f.name not in _LATER or getattr(self, f.name) != f.default
        }
        return told


def _at(rate: Any, dt: float) -> Any:
    return rate.at(dt) if isinstance(rate, PerTime) else rate

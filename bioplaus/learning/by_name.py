"""Optimisers and schedules by name, each tried on a small tensor before a run begins.

==============  ===================================================================================================
name            what it is
==============  ===================================================================================================
adam            torch's Adam, ε beside √v after its bias is corrected
adam_tf         TensorFlow's and NEST's, `bioplaus.learning.optimiser.TensorFlowAdam`
sgd             torch's SGD
es, guided_es   evolution strategies, which ask for the loss, `bioplaus.learning.evolution`
AdamW, …        any class of torch.optim that steps from gradients alone
a class         of one's own: torch's kind, or one with step(gradients, evaluate) (`bioplaus.learning.optimiser`)
==============  ===================================================================================================
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from functools import cache, partial
from typing import Any

import torch

from bioplaus import checks
from bioplaus.errors import RunError, cut, meant, unknown
from bioplaus.learning.evolution import SEARCHES, Search
from bioplaus.learning.optimiser import TensorFlowAdam
from bioplaus.learning.plain import SGD, Adam

#: as an attribute: a package that is named and not loaded (`bioplaus.late`) is loaded twice by an import of a part
lr_scheduler = torch.optim.lr_scheduler
#: those that have a name of ours, and what they take from fields of a training
OURS = {
    "adam": (Adam, ("betas", "eps")),
    "sgd": (SGD, ()),
    "adam_tf": (TensorFlowAdam, ("betas", "eps")),
}
#: schedules of torch's that go by steps and plain options alone
SCHEDULES = (
    "StepLR", "MultiStepLR", "ConstantLR", "LinearLR", "ExponentialLR", "PolynomialLR", "CosineAnnealingLR",
    "CosineAnnealingWarmRestarts", "CyclicLR", "OneCycleLR",
)  # fmt: skip
#: those that say what the rates are, whatever they were
_SAY_RATES = ("CyclicLR", "OneCycleLR")
_STEPS = 3  # chosen: schedules compute the first two otherwise than those that follow


@cache
def of_torch() -> tuple[str, ...]:
    """The classes of torch.optim that can be had by name."""
    asking = ("Optimizer", "LBFGS", "SparseAdam")  # the base; a loss at every step; gradients that are sparse
    return tuple(n for n, c in vars(torch.optim).items() if inspect.isclass(c) and n not in asking)


def known(given: Any) -> str | type:
    """An optimiser's name, or a class that has none.

    Raises
    ------
    RunError
    """
    names = (*OURS, *SEARCHES, *of_torch())
    if isinstance(given, type):
        name = given.__name__
        if getattr(torch.optim, name, None) is given:
            given = name
        elif all(callable(getattr(given, each, None)) for each in ("step", "state_dict", "load_state_dict")):
            return given
    try:
        return checks.Word(names).plain(given)
    except checks.Unfit:
        wanted = (
            f"{', '.join(map(repr, (*OURS, *SEARCHES)))}, a class of torch.optim that steps from gradients alone ({', '.join(of_torch())}), by name or itself, "
            "or a class of your own with step, state_dict and load_state_dict"
        )
        more = meant(given, names) if isinstance(given, str) else ""
        raise checks.refusal(RunError, "optimiser of Training", given, wanted, more) from None


def maker(optimiser: str | type, options: Mapping[str, Any], fields: Mapping[str, Any]) -> Callable[..., Any]:
    """What makes an optimiser of its groups; ``fields`` are those of a training that belong to one.

    Raises
    ------
    RunError
        For an option that it has not.
    """
    if searches(optimiser):  # makes what moves weights by its estimate
        return maker(Search.of(str(optimiser), options).then, {}, fields)
    if isinstance(optimiser, type):
        kind, taken = optimiser, ()
    else:
        kind, taken = OURS.get(optimiser) or (getattr(torch.optim, optimiser), ())
    says = "optimiser_options of Training"
    said = inspect.signature(kind).parameters
    own = [n for n, p in said.items() if p.kind is not p.VAR_KEYWORD and n not in ("lr", *taken)]
    own = own[1:] if isinstance(kind, type) and issubclass(kind, torch.optim.Optimizer) else own[2:]  # what it moves
    for name in options:
        if name in ("lr", *taken):
            raise RunError(f"{says} hold '{name}', which is a field of Training itself: bp.Training({name}=…).")
        if name not in own and not any(p.kind is p.VAR_KEYWORD for p in said.values()):
            raise RunError(f"{says}: {unknown(f'option of {kind.__name__}', name, own)}")
    given = {name: fields[name] for name in taken} | dict(options)
    # the step that does all of it at once, where nothing is said of it
    if optimiser == "adam" and not {"foreach", "fused", "capturable", "differentiable"} & options.keys():
        given["fused"] = True
    return partial(kind, **given)


def searches(optimiser: str | type) -> bool:
    """Whether it is an evolution strategy of ours."""
    return isinstance(optimiser, str) and optimiser in SEARCHES


def scheduler(
    name: str, options: Mapping[str, Any]
) -> Callable[[torch.optim.Optimizer], torch.optim.lr_scheduler.LRScheduler]:
    """What makes a schedule of an optimiser.

    Raises
    ------
    RunError
        For an option that it has not.
    """
    kind = getattr(lr_scheduler, name)
    own = [n for n in inspect.signature(kind).parameters if n not in ("optimizer", "last_epoch", "scale_fn", "verbose")]
    for option in options:
        if option not in own:
            raise RunError(f"lr_schedule_options of Training: {unknown(f'option of {name}', option, own)}")
    return partial(kind, **options)


def plain_options(what: str, given: Any) -> dict[str, Any] | None:
    """Options as plain data: names → numbers, truth values, words, None, or lists of these."""
    if given is None:
        return None
    wanted = "a mapping of options to numbers, True, False, words, or lists of them, such as {'momentum': 0.9}, or None"
    if not isinstance(given, Mapping):
        raise checks.refusal(RunError, f"{what} of Training", given, wanted)
    try:
        return {checks.Word().plain(name): _plain(value) for name, value in given.items()}
    except checks.Unfit:
        raise checks.refusal(RunError, f"{what} of Training", given, wanted) from None


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, list | tuple):
        return tuple(map(_plain, value))
    return checks.Real().plain(value)


def tried(
    optimiser: str | type,
    options: Mapping[str, Any],
    schedule: str | None,
    how: Mapping[str, Any],
    fields: Mapping[str, Any],
) -> None:
    """Take a few steps with what is asked for, so that what torch refuses is refused now, in a sentence.

    Raises
    ------
    RunError
    """
    make = maker(optimiser, options, fields)
    if isinstance(optimiser, type) and not issubclass(optimiser, torch.optim.Optimizer):
        if schedule is not None:
            raise RunError(
                f"lr_schedule of Training is one of torch's, and {optimiser.__name__} is no optimiser of torch's kind. Leave lr_schedule out."
            )
        return
    name = optimiser if isinstance(optimiser, str) else optimiser.__name__
    w = torch.ones(2, 2)
    try:
        made = make([{"params": [w], "lr": 1e-3}])
        for _ in range(_STEPS):
            w.grad = torch.ones_like(w)
            made.step()
    except Exception as error:
        told = f" with optimiser_options {dict(options)}" if options else ""
        raise RunError(
            f"optimiser of Training is '{name}'{told}, which does not take a step from gradients alone: {cut(str(error), 160)}. See torch.optim.{name}."
        ) from error
    if schedule is None:
        return
    try:
        rates = scheduler(schedule, how)(made)
        for _ in range(_STEPS):
            made.step()
            rates.step()
        if not all(math.isfinite(float(group["lr"])) for group in made.param_groups):
            raise ValueError("a rate that is not finite")
    except RunError:
        raise
    except Exception as error:
        raise RunError(
            f"lr_schedule of Training is '{schedule}' with lr_schedule_options {dict(how)}, which do not go together, or not with {name}: "
            f"{cut(str(error), 160)}. See torch.optim.lr_scheduler.{schedule}."
        ) from error


def refuse_rates(schedule: str | None, different: bool) -> None:
    """A schedule that says what the rates are leaves nothing of rates that differ."""
    if schedule in _SAY_RATES and different:
        raise RunError(
            f"lr_schedule='{schedule}' says itself what the rates are, the same for all weights, and different ones were given. Give one lr "
            f"(0 keeps weights fixed), or another schedule: {', '.join(n for n in SCHEDULES if n not in _SAY_RATES)}."
        )

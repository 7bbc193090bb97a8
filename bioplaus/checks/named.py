"""Options by name: what a class or function does not take is refused in words that name the nearest, not by Python's TypeError."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable, Iterable
from typing import Any, ParamSpec, Self, TypeVar

from bioplaus.checks.table import Table
from bioplaus.errors import BioplausError, RunError, ours, unknown

P = ParamSpec("P")
T = TypeVar("T")


_OF_TRAINING = (
    "updates",
    "batch",
    "lr",
    "readout_lr",
    "predictor_lr",
    "optimiser",
    "optimiser_options",
    "lr_schedule",
    "clip",
    "evaluate_every",
    "device",
    "dtype",
    "backend",
)


def of_training(name: str, known: Iterable[str]) -> str:
    """Where an option belongs that is none here, but one of `bioplaus.Training`, by this name or one it has elsewhere."""
    found = [name] if name in _OF_TRAINING else ours(name, _OF_TRAINING)
    if not found or ours(name, known):
        return ""
    return f" How a circuit is trained is said of its training: bp.Training({found[0]}=…)."


class Named:
    """Base of a dataclass whose constructor says which option it has not; with the error of its table of constraints, if it has one."""

    def __new__(cls, *args: Any, **given: Any) -> Self:
        table = getattr(cls, "constraints", None)
        error = table.error if isinstance(table, Table) else RunError
        fields = [field for field in dataclasses.fields(cls) if field.init]  # pyright: ignore[reportArgumentType]
        in_order = [field.name for field in fields if not field.kw_only]
        for name in given:
            if name not in (field.name for field in fields):
                known = [field.name for field in fields]
                raise error(unknown(f"option of {cls.__name__}", name, known) + of_training(name, known))
        if len(args) > len(in_order):
            first = next(iter(fields)).name
            order = f"{', '.join(in_order)} may come in this order, all else" if in_order else "all its options"
            raise error(
                f"{cls.__name__} was given {len(args)} values without a name; {order} by name, such as {first}=…."
            )
        needed = [field.name for field in fields if field.default is field.default_factory is dataclasses.MISSING]
        missing = [name for name in needed if name not in (*in_order[: len(args)], *given)]
        if missing and (args or given):  # to unpickle is to make one of nothing, and fill it
            raise error(f"No value was given for {' and '.join(map(repr, missing))}, which {cls.__name__} needs.")
        return super().__new__(cls)


def named(error: type[BioplausError]) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """The same for a function.

    Parameters
    ----------
    error : the class of error.
    """

    def wrap(function: Callable[P, T]) -> Callable[P, T]:
        known = list(inspect.signature(function).parameters)

        @functools.wraps(function)
        def call(*args: P.args, **given: P.kwargs) -> T:
            for name in given:
                if name not in known:
                    raise error(unknown(f"option of {function.__name__}", name, known) + of_training(name, known))
            return function(*args, **given)

        return call

    return wrap

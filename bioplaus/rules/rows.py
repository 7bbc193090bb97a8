"""What makes a rule of a past half that is met by this step's error: the options that all of those share, said once.

A row names a past half and its own options; the way back of the error and the schedule are added, and ``help()`` and editors show
both.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Any, Literal, ParamSpec, TypedDict, get_type_hints

from bioplaus.eligibility import Eligibility
from bioplaus.errors import RuleError, unknown
from bioplaus.rules.pair import TABLE, Rule
from bioplaus.schedule import Online, Schedule, Window
from bioplaus.signal import Instant

P = ParamSpec("P")
Word = Literal["", "online", "window"] | Schedule


class Fed(TypedDict, total=False):
    """How this step's error comes back (`bioplaus.signal.Instant`), and how the rule is computed (`bioplaus.schedule`)."""

    feedback: Literal["symmetric", "random", "adaptive", "broadcast", "reward"] | Any  # or a matrix
    gain: float
    decay: float
    schedule: Word


class Shared(Fed, total=False):
    """The same, and the steps of a window."""

    steps: int | None


_DEFAULTS: dict[str, Any] = {"feedback": "symmetric", "gain": 1.0, "decay": 1e-3, "schedule": "", "steps": None}


def named(make: Callable[P, Rule]) -> Callable[P, Rule]:
    """Put a rule into the table under the function's name."""
    TABLE[make.__name__] = make
    return make


def met_by_the_error(
    schedule: Schedule, without: tuple[str, ...] = (), **defaults: Any
) -> Callable[[Callable[P, Eligibility]], Callable[P, Rule]]:
    """Make a rule of a function that makes a past half, and put it into the table.

    Parameters
    ----------
    schedule : where none is asked for.
    without : shared options that make no sense here.
    defaults : of shared options, where they differ.
    """
    hints = get_type_hints(Shared)
    shared = {name: defaults.get(name, value) for name, value in _DEFAULTS.items() if name not in without}

    def put(past: Callable[P, Eligibility]) -> Callable[P, Rule]:
        kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
        own = [each for each in inspect.signature(past).parameters.values() if each.kind is kind]
        more = [inspect.Parameter(n, kind, default=value, annotation=hints[n]) for n, value in shared.items()]
        signature = inspect.Signature([*own, *more], return_annotation="Rule")

        @wraps(past)
        def make(*args: P.args, **options: P.kwargs) -> Rule:
            bound = signature.bind(*args, **options)
            bound.apply_defaults()
            given = bound.arguments
            common = {name: given[name] if name in shared else value for name, value in (_DEFAULTS | defaults).items()}
            make_past: Any = past  # called with its own options alone
            return Rule(
                make_past(**{each.name: given[each.name] for each in own}),
                Instant(common["feedback"], common["gain"], common["decay"]),
                chosen(common["schedule"], schedule, common["steps"]),
                past.__name__,
            )

        make.__signature__ = signature  # type: ignore[attr-defined]
        return named(make)

    return put


def chosen(name: Word, default: Schedule, steps: int | None = None) -> Schedule:
    """A schedule by name, or as it is; ``steps`` alone means windows of so many.

    Raises
    ------
    RuleError
        For an unknown name, or steps that say nothing.
    """
    if isinstance(name, (Online, Window)) and steps is None:
        return name
    if name not in ("", "online", "window"):
        raise RuleError(unknown("schedule", str(name), ("online", "window")))
    if name == "online" and steps is not None:
        raise RuleError(
            f"schedule='online' goes step by step, so steps={steps!r} says nothing. Give schedule='window' with it, or leave it out."
        )
    if steps is not None or name == "window":
        return Window(steps)
    return Online() if name == "online" else default

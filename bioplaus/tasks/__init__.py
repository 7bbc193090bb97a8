"""Tasks: batched generators of trials with a loss, a weight on each step and a score, one file each.

`task` makes a shipped one by name. A task of one's own needs no registration: subclass `Task` in any script,
give it `inputs`, `outputs`, `steps`, `loss` and a method `batch`, and hand the object to whatever takes a
task.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

from bioplaus.errors import TaskError, by_name, unknown

if TYPE_CHECKING:
    from bioplaus.tasks.base import Staged, Task, check_task
    from bioplaus.tasks.batch import Batch, joined
    from bioplaus.tasks.decision import decided
    from bioplaus.tasks.gate import check_batch, drawn, fitted, test_set
    from bioplaus.tasks.loss_check import check_loss
    from bioplaus.tasks.losses import Loss, binary_cross_entropy, cross_entropy, soft_cross_entropy, squared

__all__ = [
    "Batch",
    "Loss",
    "Staged",
    "TASKS",
    "Task",
    "as_task",
    "binary_cross_entropy",
    "check_batch",
    "check_loss",
    "check_task",
    "cross_entropy",
    "decided",
    "drawn",
    "fitted",
    "joined",
    "soft_cross_entropy",
    "squared",
    "task",
    "test_set",
]


class Entry(NamedTuple):
    """Where a shipped task lives, and what it is in one line."""

    module: str
    factory: str
    summary: str


#: what is acted in: no task, and asked for as one (`bioplaus.reward`)
ENVIRONMENTS = ("delayed_cue",)
TASKS = {
    "add": Entry(
        "bioplaus.tasks.add",
        "Add",
        "two bits of the past decide the odds of the present one",
    ),
    "context_decision": Entry(
        "bioplaus.tasks.context_decision",
        "ContextDecision",
        "two noisy streams and a context: is the mean of the one that counts above zero?",
    ),
    "copy": Entry(
        "bioplaus.tasks.copy",
        "Copy",
        "binary vectors in, the same vectors out after a flag",
    ),
    "copy_repeat": Entry(
        "bioplaus.tasks.copy_repeat",
        "CopyRepeat",
        "binary vectors in, the same vectors out as often as asked, with a curriculum",
    ),
    "delayed_match": Entry(
        "bioplaus.tasks.delayed_match",
        "DelayedMatch",
        "two stimuli with a delay between them, fixed or not: the same or not?",
    ),
    "drawn_digits": Entry(
        "bioplaus.tasks.drawn_digits",
        "DrawnDigits",
        "handwritten digits, read row by row: name them, draw a line, draw the digit",
    ),
    "evidence_accumulation": Entry(
        "bioplaus.tasks.evidence_accumulation",
        "EvidenceAccumulation",
        "cues left and right, a delay, then the question: on which side were more?",
    ),
    "flip_flop": Entry(
        "bioplaus.tasks.flip_flop",
        "FlipFlop",
        "random pulses in, the sign of the last one on each channel out",
    ),
    "lines": Entry(
        "bioplaus.tasks.lines",
        "Lines",
        "a number at the first step, the line to draw that it stands for",
    ),
    "mimic": Entry(
        "bioplaus.tasks.mimic",
        "Mimic",
        "random bits in, what a fixed random network makes of them out",
    ),
    "pattern_generation": Entry(
        "bioplaus.tasks.pattern_generation",
        "PatternGeneration",
        "a frozen Poisson input in, a sum of sines out",
    ),
    "sequential_digits": Entry(
        "bioplaus.tasks.sequential_digits",
        "SequentialDigits",
        "handwritten digits, read row by row",
    ),
    "sine_wave": Entry(
        "bioplaus.tasks.sine_wave",
        "SineWave",
        "a sine wave of the asked period, switched on and off",
    ),
    "spiking_digits": Entry(
        "bioplaus.tasks.spiking_digits",
        "SpikingDigits",
        "handwritten digits in spikes, by rate or by latency",
    ),
    "store_recall": Entry(
        "bioplaus.tasks.store_recall",
        "StoreRecall",
        "a stream of values in spikes: which was on at the store command?",
    ),
    "stream": Entry(
        "bioplaus.tasks.stream",
        "Stream",
        "a digit at every step, each named when it has come up the areas",
    ),
    "target_reaching": Entry(
        "bioplaus.tasks.target_reaching",
        "TargetReaching",
        "a cue at the first step, a point on the circle at the last",
    ),
    "volley": Entry(
        "bioplaus.tasks.volley",
        "Volley",
        "a digit flashed at once, its name asked when it has come up the areas",
    ),
}

_HOMES = {
    "bioplaus.tasks.base": ("Staged", "Task", "check_task"),
    "bioplaus.tasks.batch": ("Batch", "joined"),
    "bioplaus.tasks.decision": ("decided",),
    "bioplaus.tasks.loss_check": ("check_loss",),
    "bioplaus.tasks.gate": ("check_batch", "drawn", "fitted", "test_set"),
    "bioplaus.tasks.losses": (
        "Loss",
        "binary_cross_entropy",
        "cross_entropy",
        "soft_cross_entropy",
        "squared",
    ),
}


def task(name: str, *given: Any, **options: Any) -> Task:
    """Make the shipped task called `name`.

    Parameters
    ----------
    name : str
        One of `TASKS`.
    **options
        Fields of that task; the class's docstring lists them with their units.

    Returns
    -------
    Task

    Raises
    ------
    TaskError
        For an unknown name or option, with the nearest known one; for a value that makes no sense.
    DataError
        If the task's data set is missing and can't be downloaded.

    Examples
    --------
    >>> reaching = task("target_reaching", targets=6)
    >>> reaching.steps, reaching.inputs, reaching.outputs
    (10, 10, 2)
    """
    if not isinstance(name, str) or name not in TASKS:
        remedy = " A task of your own is not named but handed over as the object itself."
        if name in ENVIRONMENTS:
            remedy = f" '{name}' is an environment, in which one acts and is rewarded: bp.reward.Agent(circuit, '{name}', 'eprop', bp.Training(updates=100))."
        raise TaskError(unknown("task", str(name), TASKS) + remedy)
    if given:
        raise TaskError(by_name(f"bp.task({name!r}, …)", given))
    from dataclasses import fields

    factory = getattr(import_module(TASKS[name].module), TASKS[name].factory)
    allowed = [field.name for field in fields(factory) if field.init]
    for option in options:
        if option not in allowed:
            raise TaskError(unknown(f"option of the task '{name}'", option, allowed))
    return factory(**options)


def as_task(given: Any) -> Task:
    """A task as it is, checked, or the shipped one of that name as it comes.

    Raises
    ------
    TaskError
        For anything else.
    """
    from bioplaus.tasks.base import check_task

    found = task(given) if isinstance(given, str) else given
    check_task(found)
    return found


def __getattr__(name: str) -> Any:
    for module, names in _HOMES.items():
        if name in names:
            return getattr(import_module(module), name)
    raise AttributeError(f"module 'bioplaus.tasks' has no attribute {name!r}")

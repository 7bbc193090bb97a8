"""What tasks share whose inputs are spikes and whose epochs have a duration: steps of an epoch, and at most one spike in a step."""

from __future__ import annotations

from bioplaus import checks
from bioplaus.errors import TaskError
from bioplaus.tasks.base import Task


def steps_of(task: Task, name: str) -> int:
    """How many steps a task's field `name`, a time in seconds, takes; a whole number of them.

    Raises
    ------
    TaskError
        If it is not.
    """
    assert task.dt is not None
    time = getattr(task, name)
    count = time / task.dt
    if not 0.5 < count < checks.MOST or abs(round(count) - count) > 1e-6:
        raise TaskError(
            f"The task '{task.name}' was given {name}={time:g} s with dt={task.dt:g} s, which is {count:.6g} steps; give a multiple of dt, one step or more."
        )
    return round(count)


def at_most_one(task: Task, *names: str) -> None:
    """Refuse rates in Hz at which a step would hold more than one spike.

    Raises
    ------
    TaskError
    """
    assert task.dt is not None
    for name in names:
        rate = getattr(task, name)
        if rate * task.dt > 1:
            raise TaskError(
                f"The task '{task.name}' was given {name}={rate:g} Hz with dt={task.dt:g} s, which makes {rate * task.dt:g} spikes in a step, but a step holds "
                "at most one; both are plain numbers in Hz and s, or quantities such as 50*Hz and 1*ms."
            )

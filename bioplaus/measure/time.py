"""How long an update takes: read from a run's metrics, or measured apart."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from bioplaus import checks
from bioplaus.errors import RunError
from bioplaus.learning.trainer import Trainer
from bioplaus.settings import threads_limited

if TYPE_CHECKING:
    from bioplaus.runs.arm import Arm
    from bioplaus.runs.run import Run

_BESIDES = ("test_score", "alignment")  # columns whose measurement takes time that is not learning


def seconds_per_update(run: Run) -> float:
    """Seconds of wall clock an update: the mean of the middle half of all updates; NaN without any.

    Left out are updates with a test or a comparison with the true gradient, and the first, which compiles. The middle
    half, because a checkpoint or a busy machine makes a few updates slow. If nothing else is left, all time over all
    updates.
    """
    table = getattr(run, "metrics", None)
    if table is None:
        raise checks.refusal(RunError, "run", run, "a run, such as bp.Run.load(folder) reads")
    if not len(table):
        return float("nan")
    spent = np.diff(table["seconds"].to_numpy(float))
    plain = np.ones(len(spent), bool)
    for column in _BESIDES:
        if column in table:
            plain &= table[column].isna().to_numpy()[1:]
    found = np.sort(spent[plain])
    if not len(found):
        return float(table["seconds"].iloc[-1] / len(table))
    quarter = len(found) // 4
    return float(found[quarter : len(found) - quarter].mean())


def cpu_seconds(arms: Mapping[str, Arm], rounds: int = 15) -> dict[str, float]:
    """Seconds of CPU time an update takes on one thread: all arms in turn, again and again, and the fastest of each.

    Runs tell how long they took by the clock, which a busy machine makes longer, now for one arm and now for another; CPU
    time suffers less from that, and the fastest update least.

    Parameters
    ----------
    arms : mapping of str to Arm
        Label → what is trained, from its first weights; one update before that counts, which compiles.
    rounds : int
        Updates of every arm that are timed.

    Raises
    ------
    RunError
        Something else than arms, or fewer than one round.
    """
    if not isinstance(arms, Mapping) or not all(hasattr(arm, "training") for arm in arms.values()):
        raise checks.refusal(
            RunError,
            "arms",
            arms,
            "a mapping of labels to arms, such as {'bptt': bp.Arm(circuit, task, rule, training)}",
        )
    rounds = checks.whole(RunError, "rounds", rounds)
    with threads_limited(1):
        trainers = {
            label: Trainer(arm.circuit, arm.task, arm.rule, replace(arm.training, align_every=0))
            for label, arm in arms.items()
        }
        spent: dict[str, list[float]] = {label: [] for label in arms}
        for _ in range(rounds + 1):
            for label, trainer in trainers.items():
                began = time.process_time()
                trainer.update()
                spent[label].append(time.process_time() - began)
    return {label: min(times[1:]) for label, times in spent.items()}

"""What run.json and checkpoint.pt looked like before, and how they are read now; the one place that knows.

A checkpoint holds ``update``, ``seconds``, ``config`` and, under ``trainer``, what the learner's ``state_dict`` gave. Format 2 has a
rule's own tensors by part, which a trainer tells by a number of its own (`bioplaus.learning.saved.own_of`, which also counts what
feedback weights cover); format 1 had them side by side. Since format 3 run.json and experiment.json carry a seal
(`bioplaus.runs.records`), and a checkpoint the SHA-256 of the
``rows`` behind it (`bioplaus.runs.metrics`). CPU time (``cpu``) is in neither of runs that an earlier version began. An alignment's older folder has neither checkpoint nor metrics.csv, and no older
``run.json`` has ``updates``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

FORMAT = 3
"""Of run.json, experiment.json and checkpoint.pt."""
SEALED = 3
"""The format since which they are sealed."""


def opened(state: Any) -> dict[str, Any]:
    """What a checkpoint file held, as this version writes it.

    Raises
    ------
    ValueError
        If it is no checkpoint, or one of a later format.
    """
    if not isinstance(state, dict) or not {"format", "update", "trainer"} <= state.keys():
        raise ValueError("it is not a bioplaus checkpoint")
    if state["format"] > FORMAT:
        raise ValueError(f"its format is {state['format']}, and this bioplaus reads up to {FORMAT}")
    return state


def trainer_of(checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """A trainer's state; of an alignment, the driver's.

    Parameters
    ----------
    checkpoint : what `opened` gave.
    """
    learner = checkpoint["trainer"]
    return learner["along"]["trainers"][0] if "along" in learner else learner


def tensors_of(checkpoint: Mapping[str, Any], part: str) -> dict[str, Tensor]:
    """``weights`` or ``masks`` of the circuit."""
    return dict(trainer_of(checkpoint)[part])


def reached(record: Mapping[str, Any], rows: int) -> tuple[int, int]:
    """Updates that a run made, and those it was to make.

    Parameters
    ----------
    record : what run.json says.
    rows : of metrics.csv, which is ahead of the record while a run is going.
    """
    done = max(rows, record.get("update", 0))
    return done, record.get("updates", record["config"]["training"].get("updates", done))

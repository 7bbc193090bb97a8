"""What run.json and checkpoint.pt looked like before, and how they are read now; the one place that knows.

Format 1, the only one so far. A checkpoint holds ``update``, ``seconds``, ``config`` and, under ``trainer``, what the learner's
``state_dict`` gave. An alignment's older folder has neither checkpoint nor metrics.csv, and no older ``run.json`` has
``updates``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

FORMAT = 1
"""Of run.json, experiment.json and checkpoint.pt; raised when an older reader could not make sense of them."""


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


def tensors_of(checkpoint: Mapping[str, Any], part: str) -> dict[str, Tensor]:
    """``weights`` or ``masks`` of the circuit, or the rule's ``own`` tensors; of an alignment, the driver's.

    Parameters
    ----------
    checkpoint : what `opened` gave.
    """
    learner = checkpoint["trainer"]
    trainer = learner["along"]["trainers"][0] if "along" in learner else learner
    return dict(trainer[part])


def reached(record: Mapping[str, Any], rows: int) -> tuple[int, int]:
    """Updates that a run made, and those it was to make.

    Parameters
    ----------
    record : what run.json says.
    rows : of metrics.csv, which is ahead of the record while a run is going.
    """
    done = max(rows, record.get("update", 0))
    return done, record.get("updates", record["config"]["training"].get("updates", done))

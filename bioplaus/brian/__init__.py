"""The same circuits in Brian2: simulated, as a network to go on with, and as a script.

Learning in Brian2 is a training like any other, and its door that of all: ``bp.train(…, backend="brian2")``.
"""

from typing import Any

import bioplaus.symbolic  # noqa: F401  (before Brian2, whose exception hook it keeps out)
from bioplaus.brian.net import network
from bioplaus.brian.run import simulate
from bioplaus.brian.script import source

__all__ = ["network", "simulate", "source"]


def __getattr__(name: str) -> Any:
    from bioplaus.errors import unknown

    learning = name in ("learn", "train", "Trainer", "Training")  # a room above this one, which this can't hand out
    remedy = " Circuits learn in Brian2 by bp.train(circuit, task, rule, backend='brian2', …)." if learning else ""
    raise AttributeError(unknown("name in bioplaus.brian", name, __all__) + remedy)

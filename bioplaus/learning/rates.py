"""Learning rates by path: a number for all, or a mapping with the most exact name first.

===========================  ================================================================================
name                         what it stands for
===========================  ================================================================================
``W_in``, ``predictor.A``    one tensor: a weight of the circuit, or of what the rule learns for itself
``predictor.golgi``, …       tensors whose paths begin so: a part of the predictor, also called ``cerebellum.golgi``
``model``, ``kernel``, …     a part of what the rule learns for itself (`bioplaus.own`)
``readout``                  ``W_out`` and ``b_out``, and feedback weights that learn, unless ``feedback`` is named
``predictor``                all that the rule learns for itself, but for feedback weights
``default``                  the rest; 1e-3 if it is not named
===========================  ================================================================================

``readout_lr`` and ``predictor_lr`` say the same as ``readout`` and ``predictor``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from bioplaus.errors import RunError, unknown
from bioplaus.own import above, called

if TYPE_CHECKING:
    from bioplaus.learning.training import Training

READOUT = ("W_out", "b_out")
#: feedback weights that learn do so as the readout does, at its rate
FEEDBACK = "feedback"
WORDS = ("default", "readout", "predictor", FEEDBACK)


def rates(weights: Iterable[str], own: Iterable[str], training: Training) -> dict[str, float]:
    """The rate of every weight and every own tensor, by path.

    Raises
    ------
    RunError
        If a rate is given to what is not there.
    """
    weights, own = list(weights), list(own)
    t, lr = training, training.lr
    by = lr if isinstance(lr, Mapping) else {"default": lr}
    parts = [name for name in above(own) if name not in WORDS]
    for name in by:
        if name not in (*WORDS, *weights, *own, *parts, *(["cerebellum"] if own else [])) and called(name) not in own:
            raise RunError(
                f"lr of Training gives a rate to '{name}'. {unknown('weight', name, (*weights, *own, *parts, *WORDS))}"
            )
    by = {called(name): rate for name, rate in by.items()}
    rest = by.get("default", type(t).lr)
    readout = by.get("readout", rest if t.readout_lr is None else t.readout_lr)
    predictor = by.get("predictor", rest if t.predictor_lr is None else t.predictor_lr)
    found = {}
    for name in weights:
        found[name] = by.get(name, readout if name in READOUT else rest)
    for path in own:
        part = path.partition(".")[0]
        exactly = [path.rsplit(".", n)[0] for n in range(path.count(".") + 1)]
        named = [by[name] for name in exactly if name in by]
        found[path] = named[0] if named else readout if part == FEEDBACK else predictor
    return found

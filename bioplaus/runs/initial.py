"""``initial=``: the weights with which a training begins, from arrays or from a run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bioplaus import checks
from bioplaus.errors import RunError

if TYPE_CHECKING:
    import numpy as np

_WANTED = "weights by name, such as {'W_rec': W}, a finished run, its folder, or None for those that are drawn"
#: entries of a matrix that is made of synapses, to be held against those of the circuit  # chosen: 400 MB in float32
_MATRIX = 10**8


def initial_weights(given: Any) -> dict[str, np.ndarray] | None:
    """Weights by name as arrays.

    Raises
    ------
    RunError
        For what holds none, or a run that is not finished.
    """
    if given is None:
        return None
    if isinstance(given, (str, Path)):
        from bioplaus.runs.run import Run

        given = Run.load(given)
    if hasattr(given, "checkpoint") and hasattr(given, "done"):
        return _of_run(given)
    if not isinstance(given, Mapping) or not given:
        raise checks.refusal(RunError, "initial", given, _WANTED)
    import numpy as np

    try:
        return {
            checks.Word().plain(name): np.array(W.detach().cpu() if hasattr(W, "detach") else W)
            for name, W in given.items()
        }
    except (checks.Unfit, TypeError, ValueError):
        raise checks.refusal(RunError, "initial", given, _WANTED) from None


def _of_run(run: Any) -> dict[str, np.ndarray]:
    """Of a finished run; of sparse projections as matrices, so that it is seen whether another circuit has its synapses elsewhere."""
    if not run.done:
        raise RunError(
            f"initial is the run in {run.folder}, which is {run.record.get('status')}, and where it will end is not known. Give its command again to let it go on, or "
            "give the weights it has now: initial=bp.runs.Run.load(folder).weights."
        )
    from bioplaus.circuit.synapses import Synapses
    from bioplaus.runs.formats import trainer_of

    there = {name: Synapses.saved(**saved) for name, saved in trainer_of(run.checkpoint).get("synapses", {}).items()}
    found = {}
    for name, W in run.weights.items():
        small = name in there and there[name].ends[0] * there[name].ends[1] <= _MATRIX
        found[name] = (there[name].matrix(W) if small else W).cpu().numpy()
    return found

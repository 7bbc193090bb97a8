"""``initial=``: the weights with which a training begins, from arrays or from a run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bioplaus import checks
from bioplaus.errors import RunError
from bioplaus.runs import seal
from bioplaus.runs.folder import RunFolder
from bioplaus.runs.formats import tensors_of, trainer_of
from bioplaus.runs.usable import folder_of

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
        return _of_run(folder_of("initial", given))
    if isinstance(folder := getattr(given, "folder", None), Path):  # a Run
        return _of_run(folder)
    if not isinstance(given, Mapping) or not given:
        raise checks.refusal(RunError, "initial", given, _WANTED)
    import numpy as np

    try:
        return {
            checks.Word().plain(name): np.array(W.detach().cpu().numpy() if hasattr(W, "detach") else W)
            for name, W in given.items()
        }
    except (checks.Unfit, TypeError, ValueError):
        raise checks.refusal(RunError, "initial", given, _WANTED) from None


def _of_run(folder: Path) -> dict[str, np.ndarray]:
    """Of a finished run; of sparse projections as matrices, so that it is seen whether another circuit has its synapses elsewhere."""
    files = RunFolder(folder)
    record = files.record() if folder.is_dir() else None
    if record is None:
        raise RunError(
            f"initial is {folder}, which is not the folder of a run: it holds no run.json. Give one, or weights by name."
        )
    if record.get("status") != "done":
        raise RunError(
            f"initial is the run in {folder}, which is {record.get('status')}, and where it will end is not known. Give its command again to let it go on, or "
            "give the weights it has now: initial=bp.runs.Run.load(folder).weights."
        )
    for check in (seal.check_there, seal.check):
        check(folder, record, files.checkpoint.name)
    checkpoint = files.load_checkpoint()
    if checkpoint is None:
        raise RunError(
            f"initial is the run in {folder}, whose checkpoint.pt is gone, and its weights with it. Give weights by name."
        )
    from bioplaus.circuit.synapses import Synapses

    there = {name: Synapses.saved(**saved) for name, saved in trainer_of(checkpoint).get("synapses", {}).items()}
    found = {}
    for name, W in tensors_of(checkpoint, "weights").items():
        small = name in there and there[name].ends[0] * there[name].ends[1] <= _MATRIX
        found[name] = (there[name].matrix(W) if small else W).cpu().numpy()
    return found

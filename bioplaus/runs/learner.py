"""What a run needs of what it runs: a job, and the learner that the job begins.

`bioplaus.runs.loop` runs any job and knows no more of it than stands here; whatever is to be recorded, checkpointed and gone on
with is written as a job, with no loop and no folder of its own. `bioplaus.runs.Arm` trains a circuit,
`bioplaus.runs.alignment.AlignmentJob` compares rules along one trajectory.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    import xarray

Row = Mapping[str, Any]
"""What was measured at one update: name → a number, or None where there is none to give."""


class Learner(Protocol):
    """What advances one update at a time, and can be put back where it was.

    It may also have ``remarks``, what does not go as it should so far: what that is about → one paragraph; and ``computed``, by what its
    time steps are computed.
    """

    @property
    def update_index(self) -> int:
        """Updates behind it."""
        ...

    @property
    def size(self) -> int:
        """Number of weights that learn."""
        ...

    def update(self) -> Row:
        """Advance by one update.

        Raises
        ------
        NumericalError
            The simulation broke down.
        """
        ...

    def evaluate(self) -> Row:
        """Test where it stands, and change nothing; no measurements where there is nothing to test."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Everything that later updates depend on: tensors, numbers and text, in dicts and lists."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a `state_dict` of the same job and seed, bit for bit as if there had been no stop."""
        ...


L = TypeVar("L", bound=Learner)


class Job(Protocol[L]):
    """What can be run with any seed; begins learners."""

    @property
    def updates(self) -> int:
        """How many updates it takes."""
        ...

    @property
    def evaluate_every(self) -> int:
        """Updates between two tests; 0: at the end only."""
        ...

    @property
    def device(self) -> str:
        """Where it computes, as torch names it."""
        ...

    @property
    def files(self) -> Mapping[str, Callable[[L], xarray.Dataset]]:
        """What a finished run leaves: name of a NetCDF file → what makes its dataset of the learner at its end."""
        ...

    def describe(self, seed: int) -> dict[str, Any]:
        """Everything that decides what is computed, as plain data (`bioplaus.runs.config.described`)."""
        ...

    def begin(self, seed: int) -> L:
        """A learner before its first update.

        Raises
        ------
        BioplausError
            If this cannot be run; nothing has been written yet.
        """
        ...

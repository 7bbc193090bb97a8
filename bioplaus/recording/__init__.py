"""What is recorded of a circuit on its way: which quantities of which units, at which steps, and where a recording can go on from."""

from bioplaus.recording.asked import Asked, asked
from bioplaus.recording.kept import Kept, recorded_steps, thinned
from bioplaus.recording.labelled import alike, dataset
from bioplaus.recording.standing import Standing, standing, state_of

__all__ = [
    "Asked",
    "Kept",
    "Standing",
    "alike",
    "asked",
    "dataset",
    "recorded_steps",
    "standing",
    "state_of",
    "thinned",
]

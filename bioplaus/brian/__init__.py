"""The same circuits, simulated by Brian2."""

import bioplaus.symbolic  # noqa: F401  (before Brian2, whose exception hook it keeps out)
from bioplaus.brian.run import simulate

__all__ = ["simulate"]

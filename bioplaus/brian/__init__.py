"""The same circuits, simulated by Brian2."""

from bioplaus.brian.run import simulate

__all__ = ["simulate"]

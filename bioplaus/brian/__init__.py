"""The same circuits in Brian2: simulated, as a network to go on with, and as a script."""

import bioplaus.symbolic  # noqa: F401  (before Brian2, whose exception hook it keeps out)
from bioplaus.brian.net import network
from bioplaus.brian.run import simulate
from bioplaus.brian.script import source

__all__ = ["network", "simulate", "source"]

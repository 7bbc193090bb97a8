"""What is done to recordings of trials: rates by condition, psychometric curves, selectivity, decoding, trajectories of a population.

Each is one call, takes what `bioplaus.simulate` and `bioplaus.record` give and a condition for every trial, and gives labelled arrays. What they compute
with is SciPy's and scikit-learn's.
"""

from bioplaus.analysis.components import components
from bioplaus.analysis.decoding import decoding
from bioplaus.analysis.paired import Paired, paired
from bioplaus.analysis.psth import binned, psth
from bioplaus.analysis.psychometric import Psychometric, psychometric
from bioplaus.analysis.selectivity import selectivity

__all__ = [
    "Paired",
    "Psychometric",
    "binned",
    "components",
    "decoding",
    "paired",
    "psth",
    "psychometric",
    "selectivity",
]

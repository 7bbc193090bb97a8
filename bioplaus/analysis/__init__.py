"""What is done to recordings of trials: rates by condition, psychometric curves, selectivity, decoding, trajectories of a population.

Each is one call, takes what `bioplaus.simulate` and `bioplaus.record` give and a condition for every trial, and gives labelled arrays. What they compute
with is SciPy's and scikit-learn's. `firing` says how a population fires (rate, CV, correlation, rhythm), `bioplaus.analysis.diffusion` how fast it should by the theory of white noise.
"""

from bioplaus.analysis.components import components
from bioplaus.analysis.decoding import decoding
from bioplaus.analysis.dysmetria import dysmetria
from bioplaus.analysis.geometry import coupling, dimension
from bioplaus.analysis.paired import Paired, paired
from bioplaus.analysis.psth import binned, psth
from bioplaus.analysis.psychometric import Psychometric, psychometric
from bioplaus.analysis.selectivity import selectivity
from bioplaus.analysis.spike_statistics import Firing, firing

__all__ = [
    "Firing",
    "Paired",
    "Psychometric",
    "binned",
    "components",
    "coupling",
    "decoding",
    "dimension",
    "dysmetria",
    "firing",
    "paired",
    "psth",
    "psychometric",
    "selectivity",
]

"""Panels: each draws one thing on the axes it is given, from arrays; to be used inside `style`."""

from bioplaus.figures.panels.activity import raster, rate, traces
from bioplaus.figures.panels.alignment import by_lag, pairwise
from bioplaus.figures.panels.curves import alignment, final_scores, learning
from bioplaus.figures.panels.outputs import over_time, plane
from bioplaus.figures.panels.tradeoff import frontier, pareto
from bioplaus.figures.panels.weights import histogram, matrix

__all__ = [
    "alignment",
    "by_lag",
    "final_scores",
    "frontier",
    "histogram",
    "learning",
    "matrix",
    "over_time",
    "pairwise",
    "pareto",
    "plane",
    "raster",
    "rate",
    "traces",
]

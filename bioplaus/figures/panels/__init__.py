"""Panels: each draws one thing on the axes it is given, from arrays; to be used inside `style`."""

from bioplaus.figures.panels.activity import raster, rate, traces
from bioplaus.figures.panels.alignment import by_lag, pairwise
from bioplaus.figures.panels.anatomy import anatomy
from bioplaus.figures.panels.cerebellum import by_peak, climbing, peak_order
from bioplaus.figures.panels.curves import alignment, final_scores, learning
from bioplaus.figures.panels.outputs import over_time, plane
from bioplaus.figures.panels.tradeoff import frontier, pareto
from bioplaus.figures.panels.weights import at_zero, histogram, matrix

__all__ = [
    "alignment",
    "anatomy",
    "at_zero",
    "by_lag",
    "by_peak",
    "climbing",
    "final_scores",
    "frontier",
    "histogram",
    "learning",
    "matrix",
    "over_time",
    "pairwise",
    "pareto",
    "peak_order",
    "plane",
    "raster",
    "rate",
    "traces",
]

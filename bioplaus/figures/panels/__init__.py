"""Panels: each draws one thing on the axes it is given, from arrays; to be used inside `style`."""

from .activity import raster, rate, traces
from .curves import alignment, final_scores, learning
from .outputs import over_time, plane
from .weights import histogram, matrix

__all__ = [
    "alignment",
    "final_scores",
    "histogram",
    "learning",
    "matrix",
    "over_time",
    "plane",
    "raster",
    "rate",
    "traces",
]

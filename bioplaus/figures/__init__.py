"""Figures for print: one style, one colour per rule, panels to put on any axes, a sheet to put them on, composed figures.

The only part of bioplaus that imports matplotlib. Figures are made without pyplot and without touching the
global ``rcParams``. Curves are a dict from label to ``(updates, values)``, values of shape (seed, update),
NaN where nothing was measured.

>>> from bioplaus import figures
>>> figure = figures.learning({"bptt": ([0, 50], [[10.0, 90.0], [12.0, 94.0]])}, unit="%")
>>> round(figure.get_figwidth() * 25.4)
89
"""

from bioplaus.figures import panels
from bioplaus.figures.alignments import along, credit, pairwise
from bioplaus.figures.analysed import components, decoding, psth, psychometric, stimuli
from bioplaus.figures.cerebellum import cerebellum, granule_peaks, parallel_fibres, simple_and_complex
from bioplaus.figures.colours import OKABE_ITO, RULES, Pen, colour, pens, rule_of
from bioplaus.figures.compose import alignment, final_scores, learning, summary, trajectories, weights
from bioplaus.figures.dale import weight_distributions
from bioplaus.figures.data import Curves, averaged, curves, ends, final, mean_sem, table
from bioplaus.figures.neuron import neuron
from bioplaus.figures.panels.common import GUIDE
from bioplaus.figures.paths import paths
from bioplaus.figures.recordings import activity, raster
from bioplaus.figures.save import load_data, save
from bioplaus.figures.sheet import Sheet
from bioplaus.figures.style import DOUBLE, SINGLE, axis_label, style
from bioplaus.figures.tradeoff import pareto
from bioplaus.figures.trials import epochs, rasters, unit_trials

__all__ = [
    "DOUBLE",
    "GUIDE",
    "OKABE_ITO",
    "RULES",
    "SINGLE",
    "Curves",
    "Pen",
    "Sheet",
    "activity",
    "alignment",
    "along",
    "averaged",
    "axis_label",
    "cerebellum",
    "components",
    "colour",
    "credit",
    "curves",
    "decoding",
    "ends",
    "epochs",
    "final",
    "final_scores",
    "granule_peaks",
    "learning",
    "load_data",
    "mean_sem",
    "neuron",
    "pairwise",
    "panels",
    "parallel_fibres",
    "pareto",
    "paths",
    "pens",
    "psth",
    "psychometric",
    "raster",
    "rasters",
    "rule_of",
    "save",
    "simple_and_complex",
    "stimuli",
    "style",
    "summary",
    "table",
    "trajectories",
    "unit_trials",
    "weight_distributions",
    "weights",
]

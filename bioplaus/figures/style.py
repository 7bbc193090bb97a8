"""The look of every figure: 89 or 183 mm wide, 7 pt sans, no top or right spine; never set globally."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

from matplotlib import rc_context

SINGLE = 89.0  # mm, one column
DOUBLE = 183.0  # mm, two columns
TALLEST = 247.0  # mm, a page
POINTS = 7.0  # font size of all text; the letter of a panel is one point larger
MM_PER_INCH = 25.4

RC: Any = {
    "font.family": "sans-serif",
    "font.sans-serif": ["Arial", "Helvetica", "Liberation Sans", "DejaVu Sans"],
    "font.size": POINTS,
    "axes.labelsize": POINTS,
    "axes.titlesize": POINTS,
    "figure.titlesize": POINTS,
    "figure.labelsize": POINTS,
    "legend.fontsize": POINTS,
    "legend.title_fontsize": POINTS,
    "xtick.labelsize": POINTS,
    "ytick.labelsize": POINTS,
    "mathtext.default": "regular",
    "text.color": "black",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "axes.labelpad": 2.0,
    "axes.titlepad": 3.0,
    "axes.facecolor": "white",
    "axes.edgecolor": "black",
    "axes.grid": False,
    "axes.unicode_minus": True,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.minor.width": 0.4,
    "ytick.minor.width": 0.4,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "xtick.minor.size": 1.5,
    "ytick.minor.size": 1.5,
    "xtick.major.pad": 2.0,
    "ytick.major.pad": 2.0,
    "lines.linewidth": 1.2,
    "lines.markersize": 3.0,
    "patch.linewidth": 0.6,
    "legend.frameon": False,
    "legend.handlelength": 1.8,
    "legend.handletextpad": 0.5,
    "legend.columnspacing": 1.4,
    "legend.labelspacing": 0.3,
    "legend.borderpad": 0.2,
    "legend.borderaxespad": 0.3,
    "figure.facecolor": "white",
    "figure.constrained_layout.w_pad": 0.03,
    "figure.constrained_layout.h_pad": 0.03,
    "figure.dpi": 150.0,
    "savefig.dpi": 300.0,
    "savefig.bbox": None,  # "tight" would change the width
    "savefig.transparent": False,
    "pdf.fonttype": 42,  # TrueType: text stays editable
    "pdf.compression": 6,
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "bioplaus",  # the same figure gives the same file
    "path.simplify": True,
}


def style() -> AbstractContextManager[None]:
    """Context in which the panels look as they should; the global ``rcParams`` are restored on leaving.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> with style():
    ...     axes = Figure().subplots()
    >>> axes.spines["top"].get_visible()
    False
    """
    return rc_context(RC)


def axis_label(name: str, unit: object = "") -> str:
    """``name (unit)``; a quantity without a unit, "1" in Brian2's notation, is in arbitrary units.

    Examples
    --------
    >>> axis_label("v", "mV"), axis_label("Loss")
    ('v (mV)', 'Loss (a.u.)')
    """
    text = str(unit or "").strip()
    return f"{name} ({'a.u.' if text in ('', '1') else text})"

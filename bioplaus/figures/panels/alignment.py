"""How the gradients of several rules lie to each other, and how many steps back each one's credit reaches."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from bioplaus import checks
from bioplaus.errors import RunError
from bioplaus.figures.colours import Pen, pens
from bioplaus.figures.data import Curves, checked, mean_sem, numbers, seeds
from bioplaus.figures.panels.common import GUIDE, short, ticks, widths
from bioplaus.figures.panels.weights import COLOURS
from bioplaus.figures.style import axis_label

NONE = 0.01  # of BPTT's norm: below this the axis of norm ratios is linear, down to no credit at all
_DARK = 0.6  # |cosine| from which a cell is too dark for black numbers


def pairwise(ax: Axes, cosines: Any, names: Sequence[str]) -> None:
    """Cosine between every two rules' gradients: a cell each, with its number; an empty cell where it is undefined.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
    cosines : array
        (rule, rule), between -1 and 1; NaN where one of two gradients vanished.
    names : sequence of str
        Of the rules, in their order.

    Raises
    ------
    RunError
        The array is not square, has another size than there are names, or holds what is no cosine.
    """
    names = names_of(names)
    values = numbers(cosines, "cosines of the rules' gradients")
    if values.shape != (len(names), len(names)) or not len(names):
        raise RunError(
            f"The cosines of {len(names)} rules' gradients have shape {values.shape}: give a row and a column "
            "for each name."
        )
    worst = float(np.nanmax(np.abs(values), initial=0.0))
    if worst > 1 + 1e-4:  # beyond the rounding of single precision
        raise RunError(f"The cosines reach {worst:.4g}, but a cosine lies between -1 and 1. Divide by the norms first.")
    ax.imshow(values, cmap=COLOURS, vmin=-1, vmax=1, interpolation="nearest")
    for (row, column), value in np.ndenumerate(values):
        if np.isfinite(value):
            colour = "white" if abs(value) >= _DARK else "black"
            ax.text(column, row, hundredths(value), color=colour, ha="center", va="center")
    places = range(len(names))
    ax.set_xticks(places, names, rotation=90)
    ax.set_yticks(places, names)
    ax.tick_params(length=0)
    for spine in ax.spines.values():
        spine.set_visible(False)
    # White lines between the cells.
    edges = np.arange(len(names) + 1) - 0.5
    ax.set_xticks(edges, minor=True)
    ax.set_yticks(edges, minor=True)
    ax.grid(which="minor", color="white", linewidth=0.6)
    ax.tick_params(which="minor", length=0)


def names_of(names: Any) -> list[str]:
    """Names of rules, as text, or a RunError."""
    if isinstance(names, str) or not isinstance(names, Iterable):
        raise checks.refusal(
            RunError, "names", names, "several names in the order of the rows, such as ['bptt', 'eprop']"
        )
    return [str(name) for name in names]


def hundredths(value: float) -> str:
    """``.87``, ``−.05``, ``1``: as narrow as two digits can be; ``1`` is kept for what is 1 to a millionth.

    Examples
    --------
    >>> hundredths(0.868), hundredths(-0.05), hundredths(0.999), hundredths(-0.001), hundredths(1.0)
    ('.87', '−.05', '.99', '0', '1')
    """
    if 0.99 < abs(value) < 1 - 1e-6:
        value = 0.99 if value > 0 else -0.99  # two rules that nearly agree are still two
    text = f"{value:.2f}".replace("-", "\N{MINUS SIGN}").replace("0.", ".", 1)
    return {".00": "0", "\N{MINUS SIGN}.00": "0", "1.00": "1", "\N{MINUS SIGN}1.00": "\N{MINUS SIGN}1"}.get(text, text)


def by_lag(
    ax: Axes,
    curves: Curves,
    *,
    quantity: str,
    unit: str,
    ratio: bool = False,
    strokes: Mapping[str, Pen] | None = None,
) -> None:
    """A measure of each rule's credit against how many steps ago it was earned: mean ± s.e.m. (ddof 1) over seeds.

    Where a rule has no credit there is no cosine, and its curve ends; its norm ratio is 0.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
    curves : mapping of str to (lags, values)
        values (seed, lag), NaN where undefined.
    quantity, unit : str
        For the vertical axis.
    ratio : bool
        The values are norm ratios: a logarithmic axis that goes on to 0 in a straight line below 0.01. Otherwise they are
        cosines.
    strokes : mapping of str to Pen, optional
        Pens by label, to share them between panels.

    Raises
    ------
    RunError
        Nothing was measured, or the form of the data is wrong.
    """
    good = checked(curves, "credit by lag")
    strokes = strokes if strokes is not None and set(good) <= set(strokes) else pens(good)
    wide = widths({label: mean_sem(values)[0] for label, (_, values) in good.items()})
    low, high = 0.0, 1.0
    for label, (lags, values) in good.items():
        pen = strokes[label]
        mean, sem, n = mean_sem(values)
        there = n > 0
        around = np.nan_to_num(sem)[there]
        low, high = min(low, *(mean[there] - around)), max(high, *(mean[there] + around))
        if seeds(values) > 1:
            several = n > 1
            edges = (mean - sem)[several], (mean + sem)[several]
            ax.fill_between(lags[several], *edges, color=pen.colour, alpha=0.22, linewidth=0, label="_sem")
        shape: Any = {"linestyle": pen.line, "linewidth": wide[label], "marker": "o", "markersize": 1.2 + wide[label]}
        ax.plot(lags[there], mean[there], color=pen.colour, label=label, **shape)
    for level in (0.0, 1.0):
        ax.axhline(level, **GUIDE)
    if ratio:
        _ratio_axis(ax, high)
    else:
        ax.set_ylim(max(-1.05, min(-0.05, low - 0.05)), 1.05)
    _lag_axis(ax, np.unique(np.concatenate([lags for lags, _ in good.values()])))
    ax.set_ylabel(axis_label(quantity, unit))


def _lag_axis(ax: Axes, every: np.ndarray) -> None:
    if every[-1] > 50:  # lags ever farther apart
        ax.set_xscale("symlog", linthresh=1.0)
        ax.xaxis.set_major_formatter(short)
        ax.set_xlim(-0.1, 1.1 * every[-1])
    else:
        ax.set_xlim(every[0] - 0.02 * max(1.0, every[-1]), 1.02 * max(1.0, every[-1]))
        ax.xaxis.set_major_locator(ticks(6, whole=True))
    ax.set_xlabel(axis_label("Lag", "steps"))


def _ratio_axis(ax: Axes, highest: float) -> None:
    top = 10.0 ** np.ceil(np.log10(max(2.0, highest)))
    decades = range(round(np.log10(NONE)), round(np.log10(top)))
    ax.set_yscale("symlog", linthresh=NONE, linscale=0.5)
    ax.set_ylim(-0.1 * NONE, top)
    ax.set_yticks([0.0, *(10.0**k for k in decades), top])
    ax.set_yticks([m * 10.0**k for k in decades for m in range(2, 10)], minor=True)
    ax.yaxis.set_major_formatter(short)

"""A weight matrix as a heat map whose white is zero, and as a histogram; weights of one sign, with what stands at zero."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.image import AxesImage

from bioplaus import checks
from bioplaus.errors import RunError
from bioplaus.figures.data import finite, numbers
from bioplaus.figures.panels.common import GUIDE, SERIES, short, ticks
from bioplaus.figures.style import axis_label

COLOURS = "RdBu_r"  # negative blue, zero white, positive red; safe for colour-blind readers


def matrix(ax: Axes, weight: Any, *, name: str = "W", unit: str = "", bar: bool = True) -> AxesImage:
    """Heat map of ``W[post, pre]``: a row per postsynaptic unit, symmetric colour limits around zero.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
    weight : array
        (post, pre); a bias (post,) is drawn as one column.
    name, unit : str
        For the colour bar.
    bar : bool
        Draw the colour bar.

    Returns
    -------
    matplotlib.image.AxesImage

    Raises
    ------
    RunError
        Another shape, or a NaN.
    """
    values = two_axes(weight, name)
    limit = float(np.abs(values).max()) or 1.0
    image = ax.imshow(values, cmap=COLOURS, vmin=-limit, vmax=limit, aspect="auto", interpolation="nearest")
    ax.xaxis.set_major_locator(ticks(5, whole=True))
    ax.yaxis.set_major_locator(ticks(5, whole=True))
    for spine in ("top", "right"):
        ax.spines[spine].set_visible(True)
    ax.set_xlabel(axis_label("Pre", "index"))
    ax.set_ylabel(axis_label("Post", "index"))
    figure = ax.get_figure()
    if bar and figure is not None:
        scale = figure.colorbar(image, ax=ax, fraction=0.06, pad=0.03)
        scale.set_label(axis_label(name, unit))
        scale.locator = ticks(4, symmetric=True)
        scale.outline.set_linewidth(0.6)  # pyright: ignore[reportCallIssue]
        scale.update_ticks()
    return image


def histogram(ax: Axes, weight: Any, *, name: str = "W", unit: str = "", bins: int | None = None) -> None:
    """Histogram of the weights that are not exactly zero, and their share if the matrix is sparse.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
    weight, name, unit
        As for `matrix`.
    bins : int, optional
        Bins, symmetric around zero, with an edge at zero if even; None: 6 to 40 by the number of weights.

    Raises
    ------
    RunError
        As for `matrix`.
    """
    values = two_axes(weight, name)
    present = values[values != 0]
    limit = float(np.abs(values).max()) or 1.0
    bins = checks.accept(RunError, "bins", bins, checks.Optional(checks.Whole(), "for as many as the weights fill"))
    bins = bins or 2 * int(np.clip(np.sqrt(present.size) / 2, 3, 20))
    edges = np.linspace(-limit, limit, bins + 1)
    ax.stairs(np.histogram(present, edges)[0], edges, fill=True, color="#555555", label="_histogram")
    ax.axvline(0.0, color="black", linewidth=0.5)
    if present.size < values.size:
        share = f"{100 * present.size / values.size:.3g} % ≠ 0"
        ax.text(1.0, 1.02, share, transform=ax.transAxes, ha="right", va="bottom")
    ax.set_xlim(-limit, limit)
    ax.set_ylim(bottom=0)
    ax.xaxis.set_major_locator(ticks(4, symmetric=True))
    ax.xaxis.set_major_formatter(short)
    ax.yaxis.set_major_locator(ticks(4, whole=True))
    ax.set_xlabel(axis_label(name, unit))
    ax.set_ylabel(axis_label("Synapses", "number"))


def at_zero(
    ax: Axes, weights: Mapping[str, Any], *, name: str = "w", unit: str = "", bins: int = 30
) -> dict[str, float]:
    """Histograms of weights that a law holds at zero or above, a line each; those at exactly zero stand in no bin, and their share above the panel.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
    weights : mapping of str to array
        Label → (synapse,), of the synapses that there are.
    name, unit : str
        For the horizontal axis.
    bins : int
        The same for all.

    Returns
    -------
    dict
        Label → share at zero.

    Raises
    ------
    RunError
        No weights, NaN, or another shape.
    """
    if not isinstance(weights, Mapping) or not weights:
        raise RunError("There are no weights to draw: give a dict from each label to an array (synapse,).")
    good = {str(label): finite(each, f"weights {label!r}", ("synapse",)) for label, each in weights.items()}
    along = edges(np.concatenate([*good.values()]), checks.whole(RunError, "bins", bins, 1, 10_000))
    for (label, values), colour in zip(good.items(), SERIES, strict=False):
        ax.stairs(np.histogram(values[values != 0], along)[0], along, color=colour, linewidth=0.9, label=label)
    zero = {label: float((values == 0).mean()) for label, values in good.items()}
    ax.axvline(0.0, **GUIDE)
    said = ", ".join(f"{100 * share:.3g}" for share in zero.values())
    ax.text(1.0, 1.02, f"{said} % at 0", transform=ax.transAxes, ha="right", va="bottom")
    counted(ax, along, name, unit)
    return zero


def counted(ax: Axes, along: np.ndarray, name: str, unit: str) -> None:
    """Axes of a histogram of weights between these edges."""
    ax.set_xlim(along[0], along[-1])
    ax.set_ylim(bottom=0)
    ax.xaxis.set_major_locator(ticks(4))
    ax.xaxis.set_major_formatter(short)
    ax.yaxis.set_major_locator(ticks(4, whole=True))
    ax.set_xlabel(axis_label(name, unit))
    ax.set_ylabel(axis_label("Synapses", "number"))


def edges(values: Any, bins: int) -> np.ndarray:
    """Edges of bins over all values and zero; of nothing but zeros from 0 to 1."""
    found = np.asarray(values)
    low, high = min(0.0, float(found.min())), max(0.0, float(found.max()))
    return np.linspace(low, high if high > low else low + 1.0, bins + 1)


def two_axes(weight: Any, name: str) -> np.ndarray:
    """A weight as (post, pre); a bias becomes one column."""
    values = numbers(weight, f"weights {name!r}")
    if values.ndim not in (1, 2):
        raise RunError(
            f"The weights {name!r} have shape {values.shape}, but a matrix W[post, pre] or a bias (post,) is needed."
        )
    return finite(values if values.ndim == 2 else values[:, None], f"weights {name!r}", ("post", "pre"))

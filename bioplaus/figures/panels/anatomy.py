"""The cerebellar circuit as a drawing: boxes for its parts, arrows for what goes from one to the next; words are the caller's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import FancyArrowPatch, Rectangle

from bioplaus import checks
from bioplaus.errors import RunError, unknown
from bioplaus.figures.colours import OKABE_ITO

LEARNS, TEACHES, OFF = OKABE_ITO["vermillion"], OKABE_ITO["blue"], "#999999"

#: part → left, lower, width, height of its box, in shares of the panel
BOXES: dict[str, tuple[float, float, float, float]] = {
    "cortex": (0.0, 0.36, 0.135, 0.26),
    "pons": (0.215, 0.36, 0.155, 0.26),
    "granule": (0.45, 0.33, 0.16, 0.32),
    "golgi": (0.45, 0.74, 0.16, 0.26),
    "interneuron": (0.665, 0.74, 0.155, 0.26),
    "purkinje": (0.665, 0.36, 0.155, 0.26),
    "nuclei": (0.665, 0.0, 0.155, 0.24),
    "olive": (0.865, 0.18, 0.135, 0.28),
}
#: way → kind, and the corners of its line
WAYS: dict[str, tuple[str, list[tuple[float, float]]]] = {
    "mossy": ("excites", [(0.135, 0.49), (0.215, 0.49)]),
    "mossy in": ("excites", [(0.37, 0.49), (0.45, 0.49)]),
    "to golgi": ("excites", [(0.505, 0.65), (0.505, 0.74)]),
    "from golgi": ("inhibits", [(0.555, 0.74), (0.555, 0.665)]),
    "parallel": ("learns", [(0.61, 0.49), (0.665, 0.49)]),
    "to interneuron": ("learns", [(0.61, 0.58), (0.64, 0.58), (0.64, 0.87), (0.665, 0.87)]),
    "from interneuron": ("inhibits", [(0.7425, 0.74), (0.7425, 0.635)]),
    "to nuclei": ("inhibits", [(0.7425, 0.36), (0.7425, 0.255)]),
    "out": ("excites", [(0.665, 0.1), (0.0675, 0.1), (0.0675, 0.36)]),
    "inside the error": ("inhibits", [(0.82, 0.09), (0.93, 0.09), (0.93, 0.165)]),
    "climbing": ("teaches", [(0.91, 0.46), (0.91, 0.49), (0.82, 0.49)]),
    "error": ("teaches", [(0.965, 0.62), (0.965, 0.46)]),
}
#: where words stand beside a way, and how they are set
WORDS: dict[str, tuple[float, float, str, str]] = {
    "mossy": (0.175, 0.52, "center", "bottom"),
    "mossy in": (0.41, 0.52, "center", "bottom"),
    "out": (0.38, 0.12, "center", "bottom"),
    "error": (0.96, 0.635, "center", "bottom"),
}
#: which part's absence takes a way with it
NEEDS = {"to golgi": "golgi", "from golgi": "golgi", "to interneuron": "interneuron", "from interneuron": "interneuron"}
_ENDS = {"excites": "-|>,head_width=0.12,head_length=0.25", "inhibits": "|-|,widthA=0,widthB=0.22"}


def anatomy(
    ax: Axes, parts: Mapping[str, Sequence[str]], ways: Mapping[str, str], off: Sequence[str] = (), zones: int = 1
) -> dict[str, Line2D]:
    """Boxes and arrows of the cerebellar circuit.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Its axes go; best about twice as wide as high.
    parts : part → lines in its box, the first its name: ``cortex``, ``pons``, ``granule``, ``golgi``, ``interneuron``, ``purkinje``, ``nuclei``, ``olive``.
    ways : words beside ``mossy``, ``mossy in``, ``out``, ``error``.
    off : parts that are switched off: grey and broken, without arrows.
    zones : Purkinje cells and nuclei are drawn as one box, or two for opponents.

    Returns
    -------
    dict
        What a key needs: ``excites``, ``inhibits``, ``learns``, ``teaches`` → a line.

    Raises
    ------
    RunError
        For a part or a way that there is none of.
    """
    for name in (*parts, *off):
        if name not in BOXES:
            raise RunError(unknown("part of the circuit", str(name), BOXES))
    for name in ways:
        if name not in WORDS:
            raise RunError(unknown("way with words beside it", str(name), WORDS))
    zones = checks.whole(RunError, "zones", zones, 1, 2)
    ax.set(xlim=(-0.005, 1.005), ylim=(-0.03, 1.03))
    ax.set_axis_off()
    for name, lines in parts.items():
        _box(ax, name, lines, name in off, zones)
    for name, (kind, corners) in WAYS.items():
        if NEEDS.get(name) not in off:
            _way(ax, name, kind, corners)
    for name, words in ways.items():
        x, y, across, up = WORDS[name]
        ax.text(x, y, words, ha=across, va=up)
    return {kind: Line2D([], [], **_pen(kind)) for kind in ("excites", "inhibits", "learns", "teaches")}


def _box(ax: Axes, name: str, lines: Sequence[str], off: bool, zones: int) -> None:
    x, y, wide, high = BOXES[name]
    look: Any = {"facecolor": "white", "edgecolor": OFF if off else "black", "linestyle": "--" if off else "-"}
    if zones == 2 and name in ("purkinje", "interneuron", "nuclei") and not off:  # the opponent, behind it
        ax.add_patch(Rectangle((x + 0.008, y - 0.02), wide, high, **look, linewidth=0.6, zorder=1))
    ax.add_patch(Rectangle((x, y), wide, high, **look, linewidth=0.8, zorder=2, label=name))
    step = high / (len(lines) + 1)
    for k, line in enumerate(lines):
        colour = OFF if off else LEARNS if line.endswith("learn") else "black"
        weight = "bold" if k == 0 else "normal"
        at = y + high - (k + 1) * step
        ax.text(x + wide / 2, at, line, ha="center", va="center", color=colour, fontweight=weight, zorder=3)


def _pen(kind: str) -> dict[str, Any]:
    pens: dict[str, dict[str, Any]] = {
        "excites": {"color": "black", "marker": ">", "markersize": 3},
        "inhibits": {"color": "black", "marker": "|", "markersize": 6},
        "learns": {"color": LEARNS, "marker": ">", "markersize": 3},
        "teaches": {"color": TEACHES, "marker": ">", "markersize": 3, "linestyle": (0, (3, 1.5))},
    }
    return {"linewidth": 0.9, "markevery": [-1], **pens[kind]}


def _way(ax: Axes, name: str, kind: str, corners: list[tuple[float, float]]) -> None:
    pen = _pen(kind)
    look: Any = {"color": pen["color"], "linewidth": 0.9, "linestyle": pen.get("linestyle", "-"), "zorder": 4}
    if len(corners) > 2:
        ax.plot(*zip(*corners[:-1], strict=True), **look, solid_joinstyle="miter", label=f"_{name}")
    head = FancyArrowPatch(
        corners[-2], corners[-1], arrowstyle=_ENDS.get(kind, _ENDS["excites"]), shrinkA=0, shrinkB=0,
        mutation_scale=12, **look, label=name,
    )  # fmt: skip
    ax.add_patch(head)

"""Names beside points, placed so that they cover neither each other nor what is drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_hex, to_rgb
from matplotlib.text import Annotation

POINTS_PER_INCH = 72.0
_REACH = (3.0, 6.0, 10.0, 15.0, 21.0, 28.0, 36.0, 46.0, 58.0)  # pt from the point to the name  # chosen by eye
_DIRECTIONS = 16
_LEADER = 8.0  # pt; a name farther away gets a line to its point
_ROOM = 1.0  # pt left free around a name
_ROUNDS = 4  # after the first pass, names are moved again now that all others stand

Box = tuple[float, float, float, float]
"""Left, lower, right, upper; pt from the lower left of the figure."""


def place_labels(
    ax: Axes, places: Mapping[str, tuple[float, float]], colours: Mapping[str, str], obstacles: Sequence[Any] = ()
) -> list[Annotation]:
    """Write each name beside its point, inside the axes.

    The layout of the figure must be final: call it after the figure was drawn once, with fixed limits.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
    places : mapping of str to (x, y)
        Name → point, in units of the axes.
    colours : mapping of str to colour
        Name → colour of its point; the text is as dark as it takes to be read.
    obstacles : sequence of array
        (point, 2) polylines in units of the axes, over which no name should lie.

    Returns
    -------
    list of matplotlib.text.Annotation
        In the order of ``places``.
    """
    figure = ax.get_figure(root=True)
    assert figure is not None
    scale = POINTS_PER_INCH / figure.dpi
    inside = ax.get_window_extent()
    frame = (inside.x0 * scale, inside.y0 * scale, inside.x1 * scale, inside.y1 * scale)
    at = {name: ax.transData.transform(point) * scale for name, point in places.items()}
    dots: list[Box] = [(x - 3, y - 3, x + 3, y + 3) for x, y in at.values()]
    lines = [dense(ax.transData.transform(np.asarray(line, float)) * scale) for line in obstacles]
    drawn = np.concatenate([*lines, np.empty((0, 2))])

    texts = {name: _name(ax, name, point, colours[name]) for name, point in places.items()}
    # An extent takes in the line to the point, which is of no length yet.
    extents = {name: text.get_window_extent() for name, text in texts.items()}
    for text in texts.values():
        text.set_in_layout(False)

    # Most of what makes a place bad does not hang on where the other names stand, and is found out once.
    choices = {
        name: _Choice(at[name], (extent.width * scale, extent.height * scale), frame, dots, drawn)
        for name, extent in extents.items()
    }
    boxes: dict[str, Box] = {}
    for _ in range(1 + _ROUNDS):
        for name, choice in choices.items():
            boxes[name] = choice.best([box for other, box in boxes.items() if other != name])
    for name, text in texts.items():
        left, low, right, high = boxes[name]
        text.xyann = tuple(np.array([(left + right) / 2, (low + high) / 2]) - at[name])
        if _gap(boxes[name], at[name]) < _LEADER and text.arrow_patch is not None:
            text.arrow_patch.set_visible(False)
    return list(texts.values())


def _name(ax: Axes, name: str, point: tuple[float, float], colour: str) -> Annotation:
    """The name upon its point, with a line that grows as the name is moved away."""
    line = {"arrowstyle": "-", "linewidth": 0.4, "color": colour, "shrinkA": 0.5, "shrinkB": 2.5}
    middle: Any = {"ha": "center", "va": "center", "textcoords": "offset points"}
    return ax.annotate(name, point, (0, 0), color=dark(colour), arrowprops=line, **middle)


def _candidates(point: np.ndarray, size: tuple[float, float]) -> list[Box]:
    """Places for a name around its point, the nearest first."""
    found = []
    half = np.array(size) / 2 + _ROOM
    for reach in _REACH:
        for k in range(_DIRECTIONS):
            angle = 2 * np.pi * k / _DIRECTIONS
            way = np.array([np.cos(angle), np.sin(angle)])
            # The middle of the box, so far out that its edge stands `reach` from the point.
            middle = point + way * reach + np.clip(1.5 * way, -1, 1) * half
            found.append((*(middle - half), *(middle + half)))
    return found


class _Choice:
    """The places for one name, and how bad each is: what it would hide, and how far it would be."""

    def __init__(
        self, point: np.ndarray, size: tuple[float, float], frame: Box, dots: Sequence[Box], drawn: np.ndarray
    ) -> None:
        self.boxes = _candidates(point, size)
        self.left, self.low, self.right, self.high = left, low, right, high = np.array(self.boxes).T
        over = [frame[0] - left, frame[1] - low, right - frame[2], high - frame[3]]
        self.over = sum(np.maximum(0.0, each) for each in over)
        self.covered = sum((self.shared(dot) for dot in dots), np.zeros(len(left)))
        self.crossed = np.array([np.count_nonzero(_inside(drawn, box)) for box in self.boxes])
        self.gap = np.array([_gap(box, point) for box in self.boxes])
        # The lines that a name far away gets to its point, as points of which each knows its place.
        ends = np.stack([(left + right) / 2, (low + high) / 2], 1)
        far = np.flatnonzero(self.gap >= _LEADER)
        ways = [dense(np.array([point, ends[k]])) for k in far]
        self.way, self.of = np.concatenate(ways), np.repeat(far, [len(way) for way in ways])
        self.through = sum((self.met(dot) for dot in dots if not _holds(dot, point)), np.zeros(len(left), int))

    def best(self, others: Sequence[Box]) -> Box:
        """The least bad place; names over each other or over the edge are worst."""
        hidden = sum((self.shared(other) for other in others), np.zeros(len(self.boxes)))
        through = self.through + sum(self.met(other) for other in others)
        bad = 1000 * self.over + 1000 * hidden + 50 * self.covered + 10 * self.crossed + 20 * through + self.gap
        return self.boxes[int(np.argmin(bad))]

    def shared(self, box: Box) -> np.ndarray:
        """The area that each place shares with a box."""
        wide = np.minimum(self.right, box[2]) - np.maximum(self.left, box[0])
        high = np.minimum(self.high, box[3]) - np.maximum(self.low, box[1])
        return np.where((wide > 0) & (high > 0), wide * high, 0.0)

    def met(self, box: Box) -> np.ndarray:
        """How much of each place's line runs through a box."""
        return np.bincount(self.of[_inside(self.way, box)], minlength=len(self.boxes))


def _inside(points: np.ndarray, box: Box) -> np.ndarray:
    x, y = points.T
    return (x > box[0]) & (x < box[2]) & (y > box[1]) & (y < box[3])


def _holds(box: Box, point: np.ndarray) -> bool:
    return bool(box[0] <= point[0] <= box[2] and box[1] <= point[1] <= box[3])


def _gap(box: Box, point: np.ndarray) -> float:
    """From a point to the nearest of a box."""
    across = max(box[0] - point[0], 0.0, point[0] - box[2])
    up = max(box[1] - point[1], 0.0, point[1] - box[3])
    return float(np.hypot(across, up))


def dense(line: np.ndarray, every: float = 2.0) -> np.ndarray:
    """Points along a polyline (point, 2), at most ``every`` apart."""
    pieces = [line[:1]]
    for start, end in zip(line[:-1], line[1:], strict=True):
        number = max(1, int(np.ceil(np.hypot(*(end - start)) / every)))
        pieces.append(start + (end - start) * (np.arange(1, number + 1) / number)[:, None])
    return np.concatenate(pieces)


def dark(colour: str) -> str:
    """A colour's own hue, dark enough for small text on white: a contrast of 4.5 : 1 (WCAG 2.1)."""
    channels = np.array(to_rgb(colour))
    while _luminance(channels) > 1.05 / 4.5 - 0.05:
        channels = 0.95 * channels
    red, green, blue = map(float, channels)
    return to_hex((red, green, blue))


def _luminance(channels: np.ndarray) -> float:
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return float(linear @ (0.2126, 0.7152, 0.0722))

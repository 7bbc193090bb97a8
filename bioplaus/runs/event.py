"""What a run tells whoever watches it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Event:
    """Something a run tells whoever watches it.

    Attributes
    ----------
    kind : str
        ``"start"``, ``"resume"``, ``"update"``, ``"done"``, ``"found"`` (was done already),
        ``"interrupted"``, ``"failed"``, ``"remark"`` (learning does not go as it should, or versions have changed), ``"waiting"``
        (another process is computing it); of a whole experiment ``"drawn"`` or ``"note"``.
    label, seed, folder
        Which run; for ``"drawn"``, the figure's file as folder.
    update, updates : int
        How far it is, and how far it goes.
    row : dict
        The measurements of this update (``"update"``), or what the run is (``"start"``).
    message : str
        For ``"failed"``, ``"remark"``, ``"waiting"`` and ``"note"``: one paragraph.
    """

    kind: str
    label: str = ""
    seed: int = 0
    folder: str = ""
    update: int = 0
    updates: int = 0
    row: dict[str, Any] = field(default_factory=dict)
    message: str = ""


Report = Callable[[Event], None]


def unheard(event: Event) -> None:
    """Where nobody watches."""

"""A learning rate per time, which stays itself when dt changes: a step of dt moves weights by rate·dt. Light to import."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PerTime:
    """So much per second; ``2e-3/ms`` in a script.

    Examples
    --------
    >>> PerTime(2.0), PerTime(2.0).at(0.5e-3)
    (0.002/ms, 0.001)
    """

    hertz: float

    def at(self, dt: float) -> float:
        """The rate of a step of ``dt`` seconds."""
        return self.hertz * dt

    @property
    def per_ms(self) -> float:
        return self.hertz * 1e-3

    def __repr__(self) -> str:
        return f"{self.per_ms:g}/ms"

    def describe(self) -> str:
        """As plain data."""
        return f"{self.per_ms!r} / ms"

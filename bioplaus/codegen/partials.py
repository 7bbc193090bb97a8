"""The partial derivatives of one step of a population, whatever their entries are: expressions, numbers, tensors."""

from __future__ import annotations

from typing import Any, NamedTuple


class Partials(NamedTuple):
    """F, E, G, ψ, Ru, ry: nested tuples, [row][column] over states (and input channels for G); Zu, zy: rows are what is sent beside the output.

    As numbers, an entry is None where it is structurally zero, a float where it is the same for all neurons, or a tensor.
    """

    F: Any
    E: Any
    G: Any
    psi: Any
    Ru: Any
    ry: Any
    Zu: Any = ()
    zy: Any = ()

    def of_output(self) -> Partials:
        """Without what is sent beside the output."""
        return self._replace(Zu=(), zy=())

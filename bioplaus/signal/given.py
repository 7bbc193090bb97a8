"""Feedback weights that somebody gives, in the place of those that are drawn."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import torch

from bioplaus import checks
from bioplaus.circuit.network import Network
from bioplaus.signal.everyone import sizes

if TYPE_CHECKING:
    from torch import Tensor

FEW = 16  # chosen: as in a run's record, where longer arrays stand as their hash


class Matrix:
    """B (output, unit), finite numbers; two are equal if their entries are.

    Attributes
    ----------
    values : float64, on the CPU, a copy of what was given.
    """

    def __init__(self, values: Tensor) -> None:
        self.values = values.detach().to(device="cpu", dtype=torch.float64, copy=True)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Matrix) and torch.equal(self.values, other.values)

    def __hash__(self) -> int:
        return hash(self._sha256)

    def __repr__(self) -> str:
        return f"<{self.values.shape[0]} × {self.values.shape[1]} feedback weights>"

    @property
    def _sha256(self) -> str:
        return hashlib.sha256(self.values.numpy().tobytes()).hexdigest()

    def describe(self) -> Any:
        """Its numbers; of more than a few, their hash."""
        if self.values.numel() <= FEW:
            return self.values.tolist()
        return {"shape": list(self.values.shape), "dtype": "float64", "sha256": self._sha256}

    def misfit(self, network: Network) -> str | None:
        """Why it is not one for this network, or None."""
        outputs, units = network.circuit.readout.size, sum(sizes(network))
        if self.values.shape == (outputs, units):
            return None
        each = ", then ".join(f"the {p.size} of '{p.name}'" for p in network.populations)
        return (
            f"feedback= is a matrix of shape {tuple(self.values.shape)}, where it must be (output, unit) = ({outputs}, {units}): a row for each output and a column "
            f"for each neuron of the circuit, read or not ({each})"
        )

    def reaches(self, network: Network) -> list[int]:
        """The populations that hear anything of it."""
        return [i for i, part in enumerate(self.values.split(sizes(network), -1)) if bool(part.any())]


class Feedback:
    """The constraint of ``feedback=``: one of a few words, or a matrix."""

    def __init__(self, words: tuple[str, ...]) -> None:
        self.word = checks.Word(words)

    @property
    def wanted(self) -> str:
        return f"{self.word.wanted}, or a matrix (output, unit) of finite numbers"

    def plain(self, value: Any) -> str | Matrix:
        if isinstance(value, Matrix):
            return value
        if isinstance(value, str) or value is None or checks.dimensions(value):
            return self.word.plain(value)
        try:
            found = torch.as_tensor(value)
        except (TypeError, ValueError, RuntimeError):
            raise checks.Unfit from None
        if found.dim() != 2 or not found.numel() or found.is_complex() or found.dtype == torch.bool:
            raise checks.Unfit
        if not bool(torch.isfinite(found).all()):
            raise checks.Unfit(" Some of its entries are not finite.")
        return Matrix(found)

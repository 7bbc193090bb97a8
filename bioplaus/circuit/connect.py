"""Which neuron speaks to which, as an author says it: pairs of neurons, or a matrix of yes and no."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from bioplaus.checks.numbers import Unfit, dimensions

#: of all synapses that there could be, so many at most are kept one by one; more stand in a matrix, with a mask
#: measured: a product of one sample takes a hundredth of the matrix's at 1 %, half of it at 30 %, of 32 samples the same at 40 %
SPARSE = 0.1


@dataclass(frozen=True, eq=False)
class Pairs:
    """Index arrays (synapse,), each pair once; ``shape`` (post, pre) where a matrix was given."""

    post: np.ndarray
    pre: np.ndarray
    shape: tuple[int, int] | None = None

    def __len__(self) -> int:
        return len(self.post)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Pairs) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    def __repr__(self) -> str:
        return f"{len(self):_} synapses {self.digest[:12]}"

    @property
    def digest(self) -> str:
        """A hash of the pairs, whatever their order."""
        order = np.lexsort((self.pre, self.post))
        return hashlib.sha256(self.post[order].tobytes() + self.pre[order].tobytes()).hexdigest()


def told(pairs: Pairs | None) -> dict[str, Any] | None:
    """What a record holds of them: how many, and a hash."""
    return None if pairs is None else {"count": len(pairs), "sha256": pairs.digest}


@dataclass(frozen=True)
class Connected:
    """The constraint of ``synapses=``."""

    wanted = (
        "two arrays of whole numbers, of the postsynaptic and the presynaptic neuron of each synapse, each pair once, such as ([0, 1], [2, 0]), or a "
        "matrix [post, pre] of True and False"
    )

    def plain(self, value: Any) -> Pairs:
        if isinstance(value, Pairs):
            return value
        if dimensions(value):
            raise Unfit
        try:
            array = np.asarray(value)
        except (ValueError, TypeError, RuntimeError):
            raise Unfit from None
        if array.dtype == bool and array.ndim == 2:
            post, pre = np.nonzero(array)
            return Pairs(post.astype(np.int64), pre.astype(np.int64), array.shape)  # type: ignore[arg-type]
        if array.ndim != 2 or len(array) != 2 or (array.size and array.dtype.kind not in "iu"):
            raise Unfit
        post, pre = (np.ascontiguousarray(each, dtype=np.int64) for each in array)
        if (array < 0).any() or len(np.unique(post * (int(pre.max(initial=0)) + 1) + pre)) < len(post):
            raise Unfit
        return Pairs(post, pre)

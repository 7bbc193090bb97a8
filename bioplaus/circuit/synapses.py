"""The synapses of a sparse projection: which there are, and the three products that a circuit makes with them.

    I[post] = Σ_pre W[post, pre] y[pre]      a[pre] = Σ_post W[post, pre] a[post]      ∂W[post, pre] = Σ a[post] y[pre]

One value a synapse, in the order of their postsynaptic neurons, and of the presynaptic ones for each; several channels one after the other. Cost
and memory go with the number of synapses, whatever the product of the populations.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor


@dataclass(frozen=True, eq=False)
class Synapses:
    """``rows`` (post + 1,): where each postsynaptic neuron's synapses begin; ``pre`` (synapse,): whence they come, ascending for each."""

    rows: Tensor
    pre: Tensor
    sources: int

    @classmethod
    def of(cls, post: Tensor, pre: Tensor, shape: tuple[int, int]) -> Synapses:
        """Of pairs in any order, each once."""
        flat, _ = torch.sort(post.long() * shape[1] + pre.long())
        counts = torch.bincount(flat // shape[1], minlength=shape[0])
        rows = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
        return cls(rows, flat % shape[1], shape[1])

    @property
    def shape(self) -> tuple[int, int]:
        """(post, pre)"""
        return self.rows.shape[0] - 1, self.sources

    def __len__(self) -> int:
        return self.pre.shape[0]

    @cached_property
    def post(self) -> Tensor:
        """(synapse,): where they go."""
        return torch.repeat_interleave(torch.arange(self.shape[0], device=self.pre.device), self.rows.diff())

    @cached_property
    def by_pre(self) -> tuple[Tensor, Tensor, Tensor]:
        """The same by presynaptic neuron: where each one's begin (pre + 1,), whither they go (synapse,), and which of the values is theirs."""
        order = torch.argsort(self.pre, stable=True)
        counts = torch.bincount(self.pre, minlength=self.sources)
        return torch.cat([counts.new_zeros(1), counts.cumsum(0)]), self.post[order], order

    @cached_property
    def events(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """`by_pre` for loops."""
        return tuple(each.cpu().numpy() for each in self.by_pre)  # type: ignore[return-value]

    def become(self, other: Synapses) -> None:
        """Take another's place: as many synapses of as many neurons, elsewhere."""
        self.rows.copy_(other.rows)
        self.pre.copy_(other.pre)
        for name in ("post", "by_pre", "events"):
            self.__dict__.pop(name, None)

    def to(self, device: torch.device) -> Synapses:
        return Synapses(self.rows.to(device), self.pre.to(device), self.sources)

    def channels(self, values: Tensor) -> list[Tensor]:
        """The values of each channel."""
        return list(values.view(-1, len(self)).unbind(0))

    def product(self, x: Tensor, values: Tensor) -> Tensor:
        """x Wᵀ, (…, channel · post), of x (…, pre)."""
        flat = x.reshape(-1, self.sources).T
        found = [(_matrix(self.rows, self.pre, v, self.shape) @ flat).T for v in self.channels(values)]
        return torch.cat(found, -1).view(*x.shape[:-1], -1)

    def back(self, a: Tensor, values: Tensor) -> Tensor:
        """a W, (…, pre), of a (…, channel · post)."""
        rows, post, order = self.by_pre
        parts = a.reshape(-1, a.shape[-1]).T.chunk(values.shape[0] // len(self))
        shape = self.sources, self.shape[0]
        turned = (_matrix(rows, post, v[order], shape) for v in self.channels(values))
        total = sum(matrix @ part for matrix, part in zip(turned, parts, strict=True))
        return total.T.reshape(*a.shape[:-1], -1)  # type: ignore[union-attr]

    def outer(self, a: Tensor, x: Tensor) -> Tensor:
        """Σ a ⊗ x where there are synapses, (channel · synapse,), of a (many, channel · post) and x (many, pre)."""
        nothing = _matrix(self.rows, self.pre, a.new_zeros(len(self)), self.shape)
        x = x.contiguous()
        parts = a.chunk(a.shape[-1] // self.shape[0], -1)
        found = [torch.sparse.sampled_addmm(nothing, part.T.contiguous(), x, beta=0.0).values() for part in parts]
        return torch.cat(found)

    def dense(self, values: Tensor) -> Tensor:
        """W, (channel · post, pre)."""
        parts = [values.new_zeros(self.shape).index_put((self.post, self.pre), v) for v in self.channels(values)]
        return torch.cat(parts)

    def at(self, W: Tensor) -> Tensor:
        """The entries of a matrix (channel · post, pre) where there are synapses."""
        return torch.cat([part[self.post, self.pre] for part in W.view(-1, *self.shape).unbind(0)])


def _matrix(rows: Tensor, columns: Tensor, values: Tensor, shape: tuple[int, int]) -> Tensor:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
        return torch.sparse_csr_tensor(rows, columns, values, shape, check_invariants=False)


def drawn(counts: Tensor, pre: int, autapses: bool, generator: torch.Generator) -> Synapses:
    """As many distinct sources for every neuron as ``counts`` (post,) says, each set as likely as any other.

    They are drawn with replacement, and of draws that are the same one stays and the others are drawn anew, until none are: no set is
    preferred, for nothing looks at which neurons they are, and there are never more numbers than synapses.
    """
    many = pre if autapses else pre - 1
    post = torch.repeat_interleave(torch.arange(len(counts)), counts)
    if (
        int(counts.max()) * 2 > many
    ):  # the last of nearly all would be drawn again and again: all in random order, of which the first stay
        order = torch.rand(len(counts), many, generator=generator, dtype=torch.float64).argsort(1)
        found = order[torch.arange(many) < counts[:, None]]
    else:
        found = torch.randint(many, (len(post),), generator=generator)
        while True:
            found = torch.sort(post * many + found).values % many
            twins = (found[1:] == found[:-1]) & (post[1:] == post[:-1])
            where = twins.nonzero().flatten() + 1
            if not len(where):
                break
            found[where] = torch.randint(many, (len(where),), generator=generator)
    if not autapses:  # places from the neuron's own on move by one
        found = found + (found >= post)
    return Synapses.of(post, found, (len(counts), pre))

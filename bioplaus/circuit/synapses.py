"""The synapses of a sparse projection: which there are, and the three products that a circuit makes with them.

    I[post] = Σ_pre W[post, pre] y[pre]      a[pre] = Σ_post W[post, pre] a[post]      ∂W[post, pre] = Σ a[post] y[pre]

One value a synapse, in the order of their postsynaptic neurons, and of the presynaptic ones for each; several channels one after the other. Cost
and memory go with the number of synapses, whatever the product of the populations. Where delays differ from synapse to synapse, presynaptic outputs
of all these delays stand side by side, and a synapse comes from the column of its own: column = (which delay) · neurons + pre.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor


@dataclass(frozen=True, eq=False)
class Synapses:
    """``rows`` (post + 1,): where each postsynaptic neuron's synapses begin; ``columns`` (synapse,): whence they come, ascending for each; of so many ``sources``, those of
    ``delays`` side by side, in steps."""

    rows: Tensor
    columns: Tensor
    sources: int
    delays: tuple[int, ...] = ()

    @classmethod
    def of(cls, post: Tensor, pre: Tensor, shape: tuple[int, int]) -> Synapses:
        """Of pairs in any order, each once."""
        flat, _ = torch.sort(post.long() * shape[1] + pre.long())
        counts = torch.bincount(flat // shape[1], minlength=shape[0])
        rows = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
        return cls(rows, flat % shape[1], shape[1])

    @classmethod
    def saved(cls, rows: Tensor, pre: Tensor, sources: int, delays: tuple[int, ...] = ()) -> Synapses:
        """From what `state` has given, now or before delays differed."""
        return cls(rows, pre, sources, tuple(delays))

    def state(self) -> dict[str, Any]:
        """For a checkpoint."""
        found = {"rows": self.rows.clone(), "pre": self.columns.clone(), "sources": self.sources}
        return found | ({"delays": self.delays} if len(self.delays) > 1 else {})

    def late(self, delay: Tensor) -> tuple[Synapses, Tensor]:
        """The same with delays (synapse,) of their own, and which of the values now goes where, (synapse,)."""
        delays, which = torch.unique(delay, return_inverse=True)
        columns, sources = which * self.sources + self.columns, len(delays) * self.sources
        order = torch.argsort(self.post * sources + columns)
        return Synapses(self.rows, columns[order], sources, tuple(delays.tolist())), order

    @property
    def shape(self) -> tuple[int, int]:
        """(post, column)"""
        return self.rows.shape[0] - 1, self.sources

    @property
    def ends(self) -> tuple[int, int]:
        """(post, pre), numbers of neurons."""
        return self.rows.shape[0] - 1, self.sources // max(1, len(self.delays))

    def __len__(self) -> int:
        return self.columns.shape[0]

    @property
    def pre(self) -> Tensor:
        """(synapse,): from which neuron they come."""
        return self.columns if len(self.delays) < 2 else self.columns % self.ends[1]

    @property
    def delay(self) -> Tensor:
        """(synapse,): after how many steps an output takes effect."""
        delays = torch.tensor(self.delays or (0,), device=self.columns.device)
        return delays[self.columns // self.ends[1]]

    @cached_property
    def post(self) -> Tensor:
        """(synapse,): where they go."""
        return torch.repeat_interleave(torch.arange(self.shape[0], device=self.columns.device), self.rows.diff())

    @cached_property
    def by_pre(self) -> tuple[Tensor, Tensor, Tensor]:
        """The same by column: where each one's begin (column + 1,), whither they go (synapse,), and which of the values is theirs."""
        return self._by_pre()

    def _by_pre(self) -> tuple[Tensor, Tensor, Tensor]:
        order = torch.argsort(self.columns, stable=True)
        counts = torch.bincount(self.columns, minlength=self.sources)
        return torch.cat([counts.new_zeros(1), counts.cumsum(0)]), self.post[order], order

    @cached_property
    def events(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """`by_pre` for loops, in 32 bits where they suffice: loops spend their time on reading it."""
        kind = "int32" if max(len(self), *self.shape) < 2**31 else "int64"
        # numpy's own memory lies in larger pages than torch's, of which a processor finds more at once
        return tuple(each.cpu().numpy().astype(kind) for each in self._by_pre())  # type: ignore[return-value]

    def become(self, other: Synapses) -> None:
        """Take another's place: as many synapses of as many neurons, elsewhere."""
        self.rows.copy_(other.rows)
        self.columns.copy_(other.columns)
        for name in ("post", "by_pre", "events"):
            self.__dict__.pop(name, None)

    def to(self, device: torch.device) -> Synapses:
        return Synapses(self.rows.to(device), self.columns.to(device), self.sources, self.delays)

    def channels(self, values: Tensor) -> list[Tensor]:
        """The values of each channel."""
        return list(values.view(-1, len(self)).unbind(0))

    def product(self, x: Tensor, values: Tensor) -> Tensor:
        """x Wᵀ, (…, channel · post), of x (…, column)."""
        flat = x.reshape(-1, self.sources).T
        found = [(_matrix(self.rows, self.columns, v, self.shape) @ flat).T for v in self.channels(values)]
        return torch.cat(found, -1).view(*x.shape[:-1], -1)

    def back(self, a: Tensor, values: Tensor) -> Tensor:
        """a W, (…, column), of a (…, channel · post)."""
        rows, post, order = self.by_pre
        parts = a.reshape(-1, a.shape[-1]).T.chunk(values.shape[0] // len(self))
        shape = self.sources, self.shape[0]
        turned = (_matrix(rows, post, v[order], shape) for v in self.channels(values))
        total = sum(matrix @ part for matrix, part in zip(turned, parts, strict=True))
        return total.T.reshape(*a.shape[:-1], -1)  # type: ignore[union-attr]

    def outer(self, a: Tensor, x: Tensor) -> Tensor:
        """Σ a ⊗ x where there are synapses, (channel · synapse,), of a (many, channel · post) and x (many, column)."""
        nothing = _matrix(self.rows, self.columns, a.new_zeros(len(self)), self.shape)
        x = x.contiguous()
        parts = a.chunk(a.shape[-1] // self.shape[0], -1)
        found = [torch.sparse.sampled_addmm(nothing, part.T.contiguous(), x, beta=0.0).values() for part in parts]
        return torch.cat(found)

    def dense(self, values: Tensor) -> Tensor:
        """W, (channel · post, column)."""
        return self._filled(values, self.shape, self.columns)

    def matrix(self, values: Tensor) -> Tensor:
        """W, (channel · post, pre)."""
        return self._filled(values, self.ends, self.pre)

    def _filled(self, values: Tensor, shape: tuple[int, int], columns: Tensor) -> Tensor:
        parts = [values.new_zeros(shape).index_put((self.post, columns), v) for v in self.channels(values)]
        return torch.cat(parts)

    def at(self, W: Tensor) -> Tensor:
        """The entries of a matrix (channel · post, pre or column) where there are synapses."""
        shape, columns = (self.shape, self.columns) if W.shape[-1] == self.sources else (self.ends, self.pre)
        return torch.cat([part[self.post, columns] for part in W.view(-1, *shape).unbind(0)])


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

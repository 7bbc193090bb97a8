"""torch's Adam and SGD without the compiler that torch loads for them.

torch marks some methods of its optimisers as none that `torch.compile` is to trace, and loads the whole compiler (``torch._dynamo``,
more than a thousand modules) at the first call of one, compiled or not. Nothing of ours is compiled so. Here the same methods are
called as they stand below the mark: what they compute and keep is torch's own, bit for bit.
"""

from __future__ import annotations

import inspect
from typing import Any

import torch


def _bare(method: Any) -> Any:
    """A method of torch's without what is wrapped around it; one that has nothing around it is itself."""
    return inspect.unwrap(method)


class Plain:
    """Before an optimiser of torch's among the bases: its book-keeping, unmarked."""

    add_param_group = _bare(torch.optim.Optimizer.add_param_group)
    state_dict = _bare(torch.optim.Optimizer.state_dict)
    load_state_dict = _bare(torch.optim.Optimizer.load_state_dict)


class Adam(Plain, torch.optim.Adam):
    """`torch.optim.Adam`, except that no gradient flows through its step (``differentiable``)."""

    step = torch.no_grad()(_bare(torch.optim.Adam.step))


class SGD(Plain, torch.optim.SGD):
    """`torch.optim.SGD`, except that no gradient flows through its step (``differentiable``)."""

    step = torch.no_grad()(_bare(torch.optim.SGD.step))

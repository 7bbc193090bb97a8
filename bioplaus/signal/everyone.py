"""What is not the readout's alone: feedback weights and filtered outputs of all neurons, read or not.

Feedback weights B are (output, unit), the units of all populations side by side in the circuit's order; the readout's own weights C
cover the populations that it reads, in the order in which it reads them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch

from bioplaus.circuit.network import Network
from bioplaus.circuit.trajectory import Stretch

if TYPE_CHECKING:
    from torch import Tensor


def sizes(network: Network) -> list[int]:
    """Neurons of every population."""
    return [p.size for p in network.populations]


def unread(network: Network) -> list[int]:
    """The populations that the readout does not see."""
    return [i for i in range(len(network.populations)) if i not in network.sources]


def in_order(network: Network, read: Tensor, rest: Tensor) -> Tensor:
    """Columns for what is read, as C has them, and for what is not, put into the circuit's order."""
    at = [*network.sources, *unread(network)]
    parts = torch.cat([read, rest], -1).split([network.populations[i].size for i in at], -1)
    return torch.cat([part for _, part in sorted(zip(at, parts, strict=True), key=lambda each: each[0])], -1)


def outputs(network: Network, stretch: Stretch, before: Mapping[int, Tensor]) -> tuple[Tensor, dict[int, Tensor]]:
    """ȳ of all neurons at every step, (time, batch, unit): what the readout would see of each, and sees of those that it reads.

    Parameters
    ----------
    before : ȳ (batch, unit) of unread populations before the first step; zero where there is none.

    Returns
    -------
    ȳ, and what to carry on behind a leaky readout.
    """
    rest, after = [], {}
    for i in unread(network):
        y = stretch.spikes(i)
        if network.kappa:
            over_time, last = [], before.get(i, torch.zeros_like(y[0]))
            for now in y:
                last = torch.lerp(now, last, network.kappa)
                over_time.append(last)
            y, after[i] = torch.stack(over_time), last
        rest.append(y)
    seen = stretch.seen()
    return in_order(network, seen, torch.cat(rest, -1) if rest else seen[..., :0]), after

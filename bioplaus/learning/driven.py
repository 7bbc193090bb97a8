"""Forward models that learn beside a circuit, and drive it while it learns (`bioplaus.drive`, `bioplaus.circuit.driven`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from bioplaus.circuit.driven import Driven, weights
from bioplaus.drive import Drive
from bioplaus.own import Gradients, Owns, under
from bioplaus.rules import Rule
from bioplaus.streams import stream

if TYPE_CHECKING:
    from bioplaus.circuit import Network
    from bioplaus.learning.tally import Outcome
    from bioplaus.tasks import Batch

PART = "drive"
"""What of a learner's own tensors is theirs."""


class Driving:
    """A circuit as it learns under a drive, and as it is with no area hearing another.

    Its weights go among the learner's own tensors, so that its optimiser moves them and its checkpoints hold them.

    Attributes
    ----------
    network : the circuit with a share of the trials driven; its weights are the circuit's.
    alone : the same with all trials driven.
    """

    def __init__(self, network: Network, drive: Drive, own: Owns, rule: Rule, seed: int) -> None:
        own[PART] = weights(network, drive, stream(seed, PART))
        self.network, self.alone = Driven(network, drive, own[PART]), Driven(network, drive, own[PART], share=1.0)
        rule.refuse(self.network)

    def taught(self, batch: Batch, outcome: Outcome) -> Gradients:
        """What the forward models learn of an update, by path."""
        with torch.no_grad():
            return under(PART, self.network.taught(batch.inputs, outcome.stretches))


def of_the_rule(own: Owns) -> Owns:
    """A learner's own tensors without what is the drive's: the rule's."""
    return {part: value for part, value in own.items() if part != PART}

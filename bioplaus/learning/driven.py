"""What learns beside a circuit and drives it: forward models (`bioplaus.circuit.driven`), and a cerebellum (`bioplaus.circuit.beside`).

Its weights go among the learner's own tensors, so that its optimiser moves them and its checkpoints hold them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from bioplaus.cerebellum.driver import CerebellarDrive
from bioplaus.circuit.beside import Beside
from bioplaus.circuit.beside import weights as weights_beside
from bioplaus.circuit.driven import Driven, weights
from bioplaus.drive import Drive, Drives
from bioplaus.own import Gradients, Owns, under
from bioplaus.rules import Rule
from bioplaus.streams import stream

if TYPE_CHECKING:
    from bioplaus.circuit import Network
    from bioplaus.learning.tally import Outcome
    from bioplaus.tasks import Batch, Task

PART = "drive"
"""What of a learner's own tensors is theirs."""


class Driving:
    """A circuit as it learns under a drive, and as it is with no area hearing another.

    Attributes
    ----------
    network : the circuit with a share of the trials driven; its weights are the circuit's.
    tested : None: it is tested without a drive.
    alone : the same with all trials driven.
    """

    tested = None

    def __init__(self, network: Network, drive: Drive, own: Owns, rule: Rule, seed: int) -> None:
        own[PART] = weights(network, drive, stream(seed, PART))
        self.network, self.alone = Driven(network, drive, own[PART]), Driven(network, drive, own[PART], share=1.0)
        rule.refuse(self.network)

    def taught(self, batch: Batch, outcome: Outcome, update: int = 0) -> Gradients:
        """What the forward models learn of an update, by path."""
        with torch.no_grad():
            return under(PART, self.network.taught(batch.inputs, outcome.stretches))

    def constrain(self) -> None:
        """What holds of its weights at every update: nothing."""


class Consulting:
    """A circuit beside a cerebellum that drives it, as it learns and as it is tested.

    Attributes
    ----------
    network, tested : the circuit with the cerebellum's output as input.
    alone : None: there is no other way to test it.
    """

    alone = None

    def __init__(self, network: Network, drive: CerebellarDrive, own: Owns, rule: Rule, task: Task, seed: int) -> None:
        own[PART] = weights_beside(network, drive, stream(seed, PART))
        self.network = self.tested = Beside(network, drive, own[PART])
        self.loss, self.seed = task.loss, seed
        rule.refuse(self.network)

    def taught(self, batch: Batch, outcome: Outcome, update: int = 0) -> Gradients:
        """What the cerebellum learns of an update, by path."""
        olive = stream(self.seed, f"olive of the drive, update {update}")
        with torch.no_grad():
            return under(PART, self.network.taught(batch, outcome.stretches, self.loss.error, olive))

    def constrain(self) -> None:
        """Signs and masks of its weights."""
        if self.network.drive_by.predictor is not None:
            self.network.drive_by.predictor.constrain(self.network.theta)


def driving(
    network: Network, drive: Drives | None, own: Owns, rule: Rule, task: Task, seed: int
) -> Driving | Consulting | None:
    """What drives a circuit, or None.

    Raises
    ------
    BioplausError
        If it can't serve the circuit.
    """
    if isinstance(drive, CerebellarDrive):
        return Consulting(network, drive, own, rule, task, seed)
    return Driving(network, drive, own, rule, seed) if isinstance(drive, Drive) else None


def of_the_rule(own: Owns) -> Owns:
    """A learner's own tensors without what is the drive's: the rule's."""
    return {part: value for part, value in own.items() if part != PART}

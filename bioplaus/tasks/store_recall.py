"""Hold what was shown at the store command until the recall command asks for it (Bellec et al. 2018; Salaj et al. 2021)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch

from bioplaus import checks
from bioplaus.tasks.base import Batch, Split, Task, asked, options
from bioplaus.tasks.losses import cross_entropy
from bioplaus.tasks.spikes import at_most_one, steps_of

if TYPE_CHECKING:
    from torch import Tensor

NOTHING, STORE, RECALL = 0, 1, 2


@dataclass(frozen=True)
class StoreRecall(Task):
    """A stream of values in spikes; the one that was on at the store command is to be named at the recall command.

    A trial is a row of frames. Where nothing is stored each frame brings the store command with probability p; behind it each frame
    brings the recall command with probability p, and then nothing is stored any more. Trials without any recall are drawn anew.

    ===============  =======================================  ===========
    frame            groups of inputs that fire, at `rate`    asked
    ===============  =======================================  ===========
    store            of its value, and the store group        –
    recall           the recall group                         the value that was stored last
    any other        of its value, which is to be ignored     –
    ===============  =======================================  ===========

    Values are drawn with equal odds. Inputs (time, batch, (values + 2)·group) are the groups of the values, then store, then recall;
    targets (time, batch) are the number of the stored value; the loss is the mean cross-entropy over a trial's recall frames, each of
    their steps with weight 1/(steps of a frame × recalls). The score is the fraction of recall frames in which the output that is
    largest on average is the right one.

    `trials` tells of each trial, frame by frame (batch, frames), ``command`` (0 none, 1 store, 2 recall) and ``value``, −1 in recall
    frames; ``answer``, what is asked at its first recall; and ``epoch_store``, ``epoch_delay`` between the two, ``epoch_recall``,
    (batch, frames // 2, 2), those that there are, then empty ones from 0 to 0.

    Differs from the code of Bellec et al. 2018, where the value to be stored follows the command; sizes are those of that code.

    Parameters
    ----------
    values : int
        Different values, and outputs (2).
    frames : int
        In a trial (12).
    probability : float
        p, of a command (1/6).
    group : int
        Inputs of each group (25).
    rate : float or quantity
        Of inputs that fire (50 Hz); a step holds a spike with probability rate·dt.
    frame, dt : float or quantity
        Length of a frame (200 ms) and of a step (1 ms).

    Raises
    ------
    TaskError
        For a value that makes no sense.

    References
    ----------
    Bellec, Salaj, Subramoney, Legenstein, Maass 2018, arXiv:1803.09574. Salaj et al. 2021, eLife 10:e65459, doi:10.7554/eLife.65459.

    Examples
    --------
    >>> import torch
    >>> task = StoreRecall(frames=5, frame=0.01)
    >>> batch = task.batch(torch.Generator().manual_seed(1), size=2)
    >>> batch.inputs.shape, batch.trials["command"].tolist()
    (torch.Size([50, 2, 100]), [[0, 0, 0, 1, 2], [0, 0, 0, 1, 2]])
    >>> batch.trials["value"].tolist(), batch.trials["answer"].tolist()
    ([[1, 1, 0, 0, -1], [0, 1, 1, 1, -1]], [0, 1])
    """

    values: int = 2
    frames: int = 12
    probability: float = 1 / 6
    group: int = 25
    rate: float = 50.0
    frame: float = 0.2
    dt: float = 1e-3  # type: ignore[assignment]  # other tasks may have none
    inputs: int = field(init=False, repr=False)
    outputs: int = field(init=False, repr=False)
    steps: int = field(init=False, repr=False)

    loss = cross_entropy

    constraints = options(
        values=checks.Whole(2, 1000),
        frames=checks.Whole(2, 10_000),
        probability=checks.Float(least=0.01, most=1),  # trials without a recall are drawn anew
        group=checks.Whole(most=10_000),
        rate=checks.Amount("Hz", "50*Hz"),
        frame=checks.Amount("s", "200*ms"),
        dt=checks.Amount("s", "1*ms"),
    )

    def __post_init__(self) -> None:
        checks.settle(self)
        at_most_one(self, "rate")
        settled = {
            "inputs": (self.values + 2) * self.group,
            "outputs": self.values,
            "steps": self.frames * steps_of(self, "frame"),
        }
        for name, value in settled.items():
            object.__setattr__(self, name, value)
        super().__post_init__()

    def score(self, outputs: Tensor, batch: Batch) -> float:
        def framed(array: Tensor) -> Tensor:
            return array.unflatten(0, (self.frames, -1))

        decided = framed(outputs).mean(1).argmax(-1)
        asked = framed(batch.weight)[:, 0] > 0
        return float((decided == framed(batch.targets)[:, 0])[asked].double().mean())

    def batch(self, generator: torch.Generator, size: int, split: Split = "train") -> Batch:
        size = asked(self, size, split)
        command = self._commands(generator, size)
        value = torch.randint(self.values, (size, self.frames), generator=generator)
        held = torch.zeros(size, dtype=torch.int64)
        stored = torch.empty_like(value)
        for k in range(self.frames):
            held = torch.where(command[:, k] == STORE, value[:, k], held)
            stored[:, k] = held
        recall = command == RECALL
        on = torch.zeros(size, self.frames, self.values + 2)
        on[..., : self.values] = torch.nn.functional.one_hot(value, self.values) * ~recall[..., None]
        on[..., self.values] = (command == STORE).float()
        on[..., self.values + 1] = recall.float()
        frame = steps_of(self, "frame")

        def lasting(each: Tensor) -> Tensor:
            """What is said of frames (batch, frame, …), of steps (time, batch, …)."""
            return each.transpose(0, 1).repeat_interleave(frame, 0)

        odds = lasting(on * (self.rate * self.dt))[..., None]
        drawn = torch.rand(self.steps, size, self.values + 2, self.group, generator=generator)
        weight = lasting(recall / (frame * recall.sum(1, keepdim=True)))
        first = recall.long().argmax(1, keepdim=True)
        known = {
            "command": command,
            "value": torch.where(recall, -1, value),
            "answer": stored.gather(1, first)[:, 0],
            **_epochs(command.numpy(), frame),
        }
        return Batch((drawn < odds).float().flatten(2), lasting(stored), weight, trials=known)

    def _commands(self, generator: torch.Generator, size: int) -> Tensor:
        """The command in each frame, (batch, frame), with a recall in every trial."""
        found = torch.zeros(size, self.frames, dtype=torch.int64)
        lacking = torch.arange(size)
        while len(lacking):
            comes = torch.rand(len(lacking), self.frames, generator=generator) < self.probability
            # commands take turns, beginning with store
            found[lacking] = torch.where(comes, 2 - comes.cumsum(1) % 2, NOTHING)
            lacking = (found != RECALL).all(1).nonzero()[:, 0]
        return found


def _epochs(command: np.ndarray, frame: int) -> dict[str, np.ndarray]:
    """Steps of store and recall commands and of the delays between them, (batch, frames // 2, 2)."""
    size, frames = command.shape
    store, delay, recall = (np.zeros((size, frames // 2, 2), dtype=np.int64) for _ in range(3))
    for trial, row in enumerate(command):
        stores, recalls = np.flatnonzero(row == STORE), np.flatnonzero(row == RECALL)
        n = len(recalls)  # a last store may be left without one
        if m := min(len(stores), frames // 2):
            store[trial, :m] = np.stack((stores[:m], stores[:m] + 1), -1) * frame
        recall[trial, :n] = np.stack((recalls, recalls + 1), -1) * frame
        delay[trial, :n] = np.stack((stores[:n] + 1, recalls), -1) * frame
    return {"epoch_store": store, "epoch_delay": delay, "epoch_recall": recall}

"""Cues left and right of a track, and at its end: on which side were more? (Morcos & Harvey 2016; Bellec et al. 2020, figure 4)."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from bioplaus import checks
from bioplaus.errors import TaskError
from bioplaus.tasks.base import SEED, Batch, Split, Task, asked, options
from bioplaus.tasks.decision import right
from bioplaus.tasks.losses import cross_entropy
from bioplaus.tasks.spikes import at_most_one, steps_of

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class EvidenceAccumulation(Task):
    """Cues on two sides, then nothing, then the question on which side there were more; all said in Poisson spikes.

    In each trial one side is the likelier one, either with probability ½, and every cue is on the right with probability
    p or 1 − p accordingly. Steps of length dt, with the published times:

    ========  =================================  ============================================
    epoch     time (ms)                          which inputs fire
    ========  =================================  ============================================
    cue       50–150, 200–300, …, 950–1050       the group of the cue's side, at `rate`
    delay     1050–2100                          none
    recall    2100–2250                          the recall group, at `rate`
    always                                       the background group, at `background`
    ========  =================================  ============================================

    Inputs (time, batch, 4·group) are spikes of four groups: left, right, recall, background. Targets (time, batch) are 0 where
    more cues were on the left and 1 for the right; the loss is the mean cross-entropy over the recall epoch, each of its steps with
    weight 1/steps. The score is the fraction of trials in which the output that is largest on average over that epoch is the right one.
    The context of a trial is its label, one-hot.

    `trials` tells of each trial ``answer``; ``evidence``, cues on the right minus cues on the left; ``side`` (batch, cues), 0 or 1 for
    each cue; ``probability`` with which a cue was on the right; and the epochs ``epoch_cue`` (batch, cues, 2), ``epoch_delay``,
    ``epoch_recall``.

    `harder` is the same task with a delay longer by `growth`, a curriculum: `bioplaus.Training(curriculum=True)` goes there as soon as
    a batch scores better than `solved`.

    Parameters
    ----------
    cues : int
        An odd number, so that there is always a right answer (7).
    probability : float
        p, of a cue on the less likely side (0.3).
    group : int
        Inputs of each of the four groups (10).
    rate, background : float or quantity
        Of inputs that fire (40 Hz) and of the background (10 Hz); a step holds a spike with probability rate·dt.
    gap, cue, delay, recall : float or quantity
        Before each cue (50 ms), of each cue (100 ms), from the last cue to the question (1050 ms), of the question (150 ms).
    dt : float or quantity
        Length of a step (1 ms), of which all of these are multiples.
    growth : float or quantity
        By how much the delay is longer in the next stage of the curriculum (150 ms).
    solved : float
        Fraction of right trials of a batch behind which the next stage begins (0.9).
    test_trials, test_seed : int
        How many trials are tested with (500), and the seed of these, which are always the same.

    Raises
    ------
    TaskError
        For a value that makes no sense.

    References
    ----------
    Bellec et al. 2020, Nature Communications 11:3625, doi:10.1038/s41467-020-17236-y, with the times, groups and rates of its code.
    In mice: Morcos, Harvey 2016, Nature Neuroscience 19:1672, doi:10.1038/nn.4403.

    Examples
    --------
    >>> import torch
    >>> task = EvidenceAccumulation()
    >>> task.steps, task.inputs
    (2250, 40)
    >>> batch = task.batch(torch.Generator().manual_seed(0), size=3)
    >>> batch.trials["evidence"].tolist(), batch.trials["answer"].tolist()
    ([-5, 7, 1], [0, 1, 1])
    >>> batch.epochs["delay"][0].tolist(), batch.during("cue").sum(0).tolist()
    ([1050, 2100], [700, 700, 700])
    """

    cues: int = 7
    probability: float = 0.3
    group: int = 10
    rate: float = 40.0
    background: float = 10.0
    gap: float = 0.05
    cue: float = 0.1
    delay: float = 1.05
    recall: float = 0.15
    dt: float = 1e-3  # type: ignore[assignment]  # other tasks may have none
    growth: float = 0.15  # chosen: as long as a cue and its gap
    solved: float = 0.9  # chosen: 10 % error, which is called learned
    test_trials: int = 500
    test_seed: int = Task.test_seed
    inputs: int = field(init=False, repr=False)
    steps: int = field(init=False, repr=False)

    outputs = 2
    loss = cross_entropy

    constraints = options(
        cues=checks.Whole(most=1001),
        probability=checks.Float(least=0, most=1),
        group=checks.Whole(most=10_000),
        rate=checks.Amount("Hz", "40*Hz"),
        background=checks.Amount("Hz", "10*Hz"),
        gap=checks.Amount("s", "50*ms"),
        cue=checks.Amount("s", "100*ms"),
        delay=checks.Amount("s", "1050*ms", plain_below=60.0),
        recall=checks.Amount("s", "150*ms"),
        dt=checks.Amount("s", "1*ms"),
        growth=checks.Amount("s", "150*ms", plain_below=60.0),
        solved=checks.Float(least=0, most=1),
        test_trials=checks.Whole(),
        test_seed=SEED,
    )

    def __post_init__(self) -> None:
        checks.settle(self)
        if self.cues % 2 == 0:
            raise TaskError(
                f"The task '{self.name}' was given cues={self.cues}, but as many cues may be left as right then, and there is no right answer; give an odd number."
            )
        at_most_one(self, "rate", "background")
        steps_of(self, "growth")
        cues = int(self.cue_steps[-1, 1])
        object.__setattr__(self, "inputs", 4 * self.group)
        object.__setattr__(self, "steps", cues + steps_of(self, "delay") + steps_of(self, "recall"))
        super().__post_init__()

    @property
    def cue_steps(self) -> np.ndarray:
        """First step of each cue, and the one after its last, (cue, 2)."""
        gap, cue = steps_of(self, "gap"), steps_of(self, "cue")
        first = gap + (gap + cue) * np.arange(self.cues)
        return np.stack((first, first + cue), -1)

    def harder(self) -> EvidenceAccumulation:
        """The same with a delay that is longer by `growth`."""
        return replace(self, delay=self.delay + self.growth)

    def score(self, outputs: Tensor, batch: Batch) -> float:
        return right(outputs, batch)

    def batch(self, generator: torch.Generator, size: int, split: Split = "train") -> Batch:
        size = asked(self, size, split)
        likelier = torch.randint(2, (size,), generator=generator)
        chance = torch.where(likelier == 1, 1 - self.probability, self.probability)  # of a cue on the right
        side = (torch.rand(size, self.cues, generator=generator) < chance[:, None]).long()
        more = (2 * side.sum(1) > self.cues).long()
        spike, recall = self.rate * self.dt, self.steps - steps_of(self, "recall")
        odds = torch.zeros(self.steps, size, 4)
        for (first, stop), one in zip(self.cue_steps, side.T, strict=True):
            odds[first:stop, :, :2] = spike * torch.nn.functional.one_hot(one, 2)
        odds[recall:, :, 2] = spike
        odds[..., 3] = self.background * self.dt
        drawn = torch.rand(self.steps, size, 4, self.group, generator=generator)
        weight = torch.zeros(self.steps, size)
        weight[recall:] = 1 / (self.steps - recall)
        ranges = {"cue": self.cue_steps, "delay": (self.cue_steps[-1, 1], recall), "recall": (recall, self.steps)}
        known = {
            "answer": more,
            "evidence": 2 * side.sum(1) - self.cues,
            "side": side,
            "probability": chance,
            **{f"epoch_{name}": np.stack([steps] * size) for name, steps in ranges.items()},
        }
        return Batch(
            (drawn < odds[..., None]).float().flatten(2),
            more.repeat(self.steps, 1),
            weight,
            torch.nn.functional.one_hot(more, 2).float(),
            known,
        )

"""Tell whether the stimulus after a delay is the one from before it (delayed match to sample)."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from bioplaus import checks
from bioplaus.tasks.base import Batch, Split, Task, asked, options
from bioplaus.tasks.losses import cross_entropy


@dataclass(frozen=True)
class DelayedMatch(Task):
    """A sample, a delay, a test stimulus, and then: were they the same?

    ========  ==========  =====================================================================
    epoch     steps       input
    ========  ==========  =====================================================================
    sample    `shown`     stimulus i of k, one-hot
    delay     `delay`     zeros
    test      `shown`     stimulus j: i in half of the trials, else each of the others equally often
    answer    `answer`    zeros
    ========  ==========  =====================================================================

    To every input of every step Gaussian noise is added. Inputs are (time, batch, stimuli), targets (time, batch)
    are 1 for the same and 0 for different; the loss is the mean cross-entropy over the answer, each of its steps
    with weight 1/answer. The context of a trial is its label, one-hot.

    Parameters
    ----------
    stimuli : int
        k, different stimuli and input units.
    shown, delay, answer : int
        Steps of the epochs; they have no duration.
    noise : float
        Standard deviation of the noise; a stimulus has size 1.

    Raises
    ------
    TaskError
        For a value that makes no sense.

    References
    ----------
    Miller, Erickson, Desimone 1996, J Neurosci 16:5154, doi:10.1523/JNEUROSCI.16-16-05154.1996. Learned by a
    recurrent network: Miconi 2017, eLife 6:e20899, doi:10.7554/eLife.20899.

    Examples
    --------
    >>> import torch
    >>> match = DelayedMatch(stimuli=4, shown=2, delay=10, answer=1)
    >>> batch = match.batch(torch.Generator().manual_seed(0), size=3)
    >>> batch.inputs.shape, batch.targets.shape, batch.weight[:, 0].nonzero().flatten().tolist()
    (torch.Size([15, 3, 4]), torch.Size([15, 3]), [14])
    """

    stimuli: int = 4  # chosen, like the epochs
    shown: int = 2
    delay: int = 10
    answer: int = 1
    noise: float = 0.0
    inputs: int = field(init=False, repr=False)
    steps: int = field(init=False, repr=False)

    outputs = 2
    loss = cross_entropy

    constraints = options(
        stimuli=checks.Whole(2),
        shown=checks.Whole(),
        delay=checks.Whole(0),
        answer=checks.Whole(),
        noise=checks.Float(least=0, most=1000),
    )

    def __post_init__(self) -> None:
        checks.settle(self)
        settled = {
            "inputs": self.stimuli,
            "steps": 2 * self.shown + self.delay + self.answer,
        }
        for name, value in settled.items():
            object.__setattr__(self, name, value)
        super().__post_init__()

    def batch(self, generator: torch.Generator, size: int, split: Split = "train") -> Batch:
        size = asked(self, size, split)
        same = torch.randint(2, (size,), generator=generator)
        sample = torch.randint(self.stimuli, (size,), generator=generator)
        further = torch.randint(1, self.stimuli, (size,), generator=generator)
        test = (sample + (1 - same) * further) % self.stimuli
        inputs = self.noise * torch.randn(self.steps, size, self.stimuli, generator=generator)
        inputs[: self.shown] += torch.nn.functional.one_hot(sample, self.stimuli)
        inputs[self.shown + self.delay : -self.answer] += torch.nn.functional.one_hot(test, self.stimuli)
        weight = torch.zeros(self.steps, size)
        weight[-self.answer :] = 1 / self.answer
        return Batch(inputs, same.repeat(self.steps, 1), weight, torch.nn.functional.one_hot(same, 2).float())

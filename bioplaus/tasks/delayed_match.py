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
    delay     `delay`     zeros; with two numbers, each trial draws its own, all from the first to the second equally often
    test      `shown`     stimulus j: i in half of the trials, else each of the others equally often
    answer    `answer`    zeros
    after     the rest    zeros, so that all trials are as long as that with the longest delay
    ========  ==========  =====================================================================

    To every input of every step Gaussian noise is added. Inputs are (time, batch, stimuli), targets (time, batch)
    are 1 for the same and 0 for different; the loss is the mean cross-entropy over the answer, each of its steps
    with weight 1/answer. The context of a trial is its label, one-hot.

    `trials` tells of each trial ``answer``, ``sample`` and ``test``, the numbers of its stimuli, ``delay``, how many steps that took,
    and the epochs ``epoch_sample``, ``epoch_delay``, ``epoch_test``, ``epoch_answer``.

    Parameters
    ----------
    stimuli : int
        k, different stimuli and input units.
    shown, answer : int
        Steps of the epochs; they have no duration.
    delay : int or (int, int)
        Steps of the delay, or the fewest and the most.
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
    delay: int | tuple[int, int] = 10
    answer: int = 1
    noise: float = 0.0
    inputs: int = field(init=False, repr=False)
    steps: int = field(init=False, repr=False)

    outputs = 2
    loss = cross_entropy

    constraints = options(
        stimuli=checks.Whole(2),
        shown=checks.Whole(),
        delay=checks.Span(checks.Whole(0), "(5, 20)"),
        answer=checks.Whole(),
        noise=checks.Float(least=0, most=1000),
    )

    def __post_init__(self) -> None:
        checks.settle(self)
        settled = {
            "inputs": self.stimuli,
            "steps": 2 * self.shown + self._delays[1] + self.answer,
        }
        for name, value in settled.items():
            object.__setattr__(self, name, value)
        super().__post_init__()

    @property
    def _delays(self) -> tuple[int, int]:
        """Steps of the shortest delay and of the longest."""
        return self.delay if isinstance(self.delay, tuple) else (self.delay, self.delay)

    def batch(self, generator: torch.Generator, size: int, split: Split = "train") -> Batch:
        size = asked(self, size, split)
        same = torch.randint(2, (size,), generator=generator)
        sample = torch.randint(self.stimuli, (size,), generator=generator)
        further = torch.randint(1, self.stimuli, (size,), generator=generator)
        test = (sample + (1 - same) * further) % self.stimuli
        inputs = self.noise * torch.randn(self.steps, size, self.stimuli, generator=generator)
        shortest, longest = self._delays
        delay = torch.full((size,), longest)
        if shortest < longest:  # a delay that is fixed draws nothing
            delay = torch.randint(shortest, longest + 1, (size,), generator=generator)
        ends = torch.stack(
            (0 * delay, 0 * delay + self.shown, delay, 0 * delay + self.shown, 0 * delay + self.answer), -1
        ).cumsum(-1)
        epochs = {name: ends[:, i : i + 2] for i, name in enumerate(("sample", "delay", "test", "answer"))}
        step = torch.arange(self.steps)[:, None]
        during = {
            name: (first <= step) & (step < stop) for name, (first, stop) in ((n, e.T) for n, e in epochs.items())
        }
        for name, which in (("sample", sample), ("test", test)):
            inputs += during[name][..., None] * torch.nn.functional.one_hot(which, self.stimuli)
        known = {"answer": same, "sample": sample, "test": test, "delay": delay}
        return Batch(
            inputs,
            same.repeat(self.steps, 1),
            during["answer"] / self.answer,
            torch.nn.functional.one_hot(same, 2).float(),
            known | {f"epoch_{name}": ranges for name, ranges in epochs.items()},
        )

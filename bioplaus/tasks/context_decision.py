"""Two noisy streams of evidence and a context that says which of them counts (Mante et al. 2013)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch

from bioplaus import checks
from bioplaus.tasks.base import Batch, Split, Task, asked, options
from bioplaus.tasks.decision import right
from bioplaus.tasks.losses import cross_entropy
from bioplaus.tasks.spikes import steps_of

if TYPE_CHECKING:
    from torch import Tensor

STREAMS = np.array(["motion", "colour"])


@dataclass(frozen=True)
class ContextDecision(Task):
    """On which side of zero is the mean of the stream that the context names? The other one is to be ignored.

    While the stimulus is on, the stream s carries its coherence c_s and white noise of strength σ; in a step of length dt::

        u_s = c_s + σ ξ / √dt,    ξ ~ N(0, 1)

    Both coherences are drawn, apart from each other and with equal odds, from the given ones and their negatives, and so is the
    context. An observer who adds up the right stream is right with probability Φ(|c| √T / σ), T the length of the stimulus.

    ========  ===========  =====================================
    epoch     time (ms)    inputs
    ========  ===========  =====================================
    fixation  0–100        the context
    stimulus  100–850      the context and both streams
    answer    850–1050     the context
    ========  ===========  =====================================

    Inputs (time, batch, 4) are motion, colour, and the context, one-hot; targets (time, batch) are 1 where the coherence of the stream
    that counts is above zero, else 0; the loss is the mean cross-entropy over the answer epoch, each of its steps with weight 1/steps.
    The score is the fraction of trials in which the output that is largest on average over that epoch is the right one. The context
    that a predictor may be told is the trial's label, one-hot.

    `trials` tells of each trial ``answer``; ``context``, ``"motion"`` or ``"colour"``; ``coherence`` (batch, 2), of motion and colour;
    ``evidence``, the coherence of the one that counts; ``congruent``, whether both ask for the same answer; ``epoch_fixation``,
    ``epoch_stimulus``, ``epoch_answer``.

    Parameters
    ----------
    coherences : tuple of float
        Sizes of coherences, above 0 (0.05, 0.15, 0.5).
    noise : float
        σ, in √s (0.1).
    fixation, stimulus, answer : float or quantity
        Lengths of the epochs (100, 750, 200 ms).
    dt : float or quantity
        Length of a step (10 ms), of which they are multiples.

    Raises
    ------
    TaskError
        For a value that makes no sense.

    References
    ----------
    Mante, Sussillo, Shenoy, Newsome 2013, Nature 503:78, doi:10.1038/nature12742: coherences of motion and length of the stimulus.

    Examples
    --------
    >>> import torch
    >>> task = ContextDecision()
    >>> batch = task.batch(torch.Generator().manual_seed(0), size=3)
    >>> batch.inputs.shape, batch.trials["context"].tolist(), batch.trials["evidence"].tolist()
    (torch.Size([105, 3, 4]), ['motion', 'colour', 'motion'], [0.5, 0.05, 0.15])
    >>> batch.during("stimulus").sum(0).tolist()
    [75, 75, 75]
    """

    coherences: tuple[float, ...] = (0.05, 0.15, 0.5)
    noise: float = 0.1  # chosen: who adds up all there is answers 67, 90 and 100 % right
    fixation: float = 0.1
    stimulus: float = 0.75
    answer: float = 0.2
    dt: float = 0.01  # type: ignore[assignment]  # other tasks may have none
    steps: int = field(init=False, repr=False)

    inputs, outputs = 4, 2
    loss = cross_entropy

    constraints = options(
        coherences=checks.Several(checks.Float(above=0, most=1000), "(0.05, 0.15, 0.5)", different=True),
        noise=checks.Float(least=0, most=1000),
        fixation=checks.Amount("s", "100*ms", plain_below=60.0),
        stimulus=checks.Amount("s", "750*ms", plain_below=60.0),
        answer=checks.Amount("s", "200*ms", plain_below=60.0),
        dt=checks.Amount("s", "10*ms"),
    )

    def __post_init__(self) -> None:
        checks.settle(self)
        lengths = [steps_of(self, name) for name in ("fixation", "stimulus", "answer")]
        object.__setattr__(self, "steps", sum(lengths))
        super().__post_init__()

    def score(self, outputs: Tensor, batch: Batch) -> float:
        return right(outputs, batch)

    def batch(self, generator: torch.Generator, size: int, split: Split = "train") -> Batch:
        size = asked(self, size, split)
        which = torch.randint(len(self.coherences), (size, 2), generator=generator)
        sign = 2 * torch.randint(2, (size, 2), generator=generator) - 1
        coherence = torch.tensor(self.coherences, dtype=torch.float64)[which] * sign
        context = torch.randint(2, (size,), generator=generator)
        noise = torch.randn(self.steps, size, 2, generator=generator)
        on = steps_of(self, "fixation")
        off = on + steps_of(self, "stimulus")
        counts = coherence.gather(1, context[:, None])[:, 0]
        answer = (counts > 0).long()
        inputs = torch.zeros(self.steps, size, 4)
        inputs[on:off, :, :2] = coherence + self.noise / self.dt**0.5 * noise[on:off]
        inputs[..., 2:] = torch.nn.functional.one_hot(context, 2)
        weight = torch.zeros(self.steps, size)
        weight[off:] = 1 / (self.steps - off)
        ranges = {"fixation": (0, on), "stimulus": (on, off), "answer": (off, self.steps)}
        known = {
            "answer": answer,
            "context": STREAMS[context.numpy()],
            "coherence": coherence,
            "evidence": counts,
            "congruent": coherence[:, 0] * coherence[:, 1] > 0,
            **{f"epoch_{name}": np.array([steps] * size) for name, steps in ranges.items()},
        }
        return Batch(
            inputs, answer.repeat(self.steps, 1), weight, torch.nn.functional.one_hot(answer, 2).float(), known
        )

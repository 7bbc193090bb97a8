"""Two bits of the past decide the odds of the present one (Marschall, Cho & Savin 2020)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from bioplaus import checks
from bioplaus.errors import TaskError
from bioplaus.tasks.base import Batch, Split, Task, asked, options
from bioplaus.tasks.losses import soft_cross_entropy

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Add(Task):
    """Say how likely a bit is that depends on the input t₁ and t₂ steps ago.

    With x_t ~ Bernoulli(½), the target is the distribution (y_t, 1 − y_t) over two classes,

        y_t = ½ + ½ x_{t−t₁} − ¼ x_{t−t₂},

    and the input is (x_t, 1 − x_t). Which of the two bits a circuit remembers can be read off its score, the
    mean cross-entropy per step in nats; see `levels`. Steps from max(t₁, t₂) on have weight 1; before it the
    target hangs on bits that were never shown, and the weight is 0. Inputs and targets are (time, batch, 2).

    Differs from the paper in that it comes in trials; the published stream is one long trial.

    Parameters
    ----------
    t1, t2 : int
        Steps back to the two bits that count, different (5 and 9 are published).
    steps : int
        Steps of a trial, more than the larger of them; they have no duration.

    Raises
    ------
    TaskError
        For a value that makes no sense.

    References
    ----------
    Marschall, Cho, Savin. A unified framework of online learning algorithms for training recurrent neural
    networks. JMLR 2020, 21(135), arXiv:1907.02649.

    Examples
    --------
    >>> import torch
    >>> add = Add(t1=5, t2=9)
    >>> batch = add.batch(torch.Generator().manual_seed(0), size=3)
    >>> batch.inputs.shape, batch.targets.shape, int(batch.weight.sum(0)[0])
    (torch.Size([100, 3, 2]), torch.Size([100, 3, 2]), 91)
    >>> {known: round(nats, 4) for known, nats in add.levels.items()}
    {'nothing': 0.6616, 't2': 0.6277, 't1': 0.5192, 'both': 0.4545}
    """

    t1: int = 5
    t2: int = 9
    steps: int = 100  # chosen: long enough that few of them go without weight

    inputs = 2
    outputs = 2
    loss = soft_cross_entropy

    constraints = options(t1=checks.Whole(0), t2=checks.Whole(0), steps=checks.Whole())

    def __post_init__(self) -> None:
        checks.settle(self)
        if self.t1 == self.t2:
            raise TaskError(
                f"The task '{self.name}' was given t1={self.t1} and t2={self.t2}, which are one bit and not two; "
                f"give it two different numbers of steps, such as t1=5 and t2=9."
            )
        checks.whole(TaskError, f"steps of the task '{self.name}'", self.steps, max(self.t1, self.t2) + 1)
        super().__post_init__()

    @property
    def levels(self) -> dict[str, float]:
        """Least score of who knows nothing, the bit t₂ steps ago, the one t₁ steps ago, or both.

        The best guess is the mean of y over what is not known, and its cross-entropy on average its own entropy.
        """
        bit = torch.tensor([0.0, 1.0], dtype=torch.float64)
        y = _odds(bit[:, None], bit)  # every case, [x_{t−t₁}, x_{t−t₂}]
        guesses = {"nothing": y.mean(), "t2": y.mean(0), "t1": y.mean(1), "both": y}
        return {known: float(_entropy(guess).mean()) for known, guess in guesses.items()}

    def batch(self, generator: torch.Generator, size: int, split: Split = "train") -> Batch:
        size = asked(self, size, split)
        bits = torch.randint(2, (self.steps, size), generator=generator).float()
        y = _odds(_ago(bits, self.t1), _ago(bits, self.t2))
        weight = torch.ones(self.steps, size)
        weight[: max(self.t1, self.t2)] = 0.0
        return Batch(torch.stack((bits, 1 - bits), -1), torch.stack((y, 1 - y), -1), weight)


def _odds(early: Tensor, late: Tensor) -> Tensor:
    """y of the bits t₁ and t₂ steps ago."""
    return 0.5 + 0.5 * early - 0.25 * late


def _ago(bits: Tensor, lag: int) -> Tensor:
    """The bits `lag` steps ago, zeros where the trial had not begun: (time, batch)."""
    return torch.cat((torch.zeros_like(bits[:lag]), bits[: len(bits) - lag]))


def _entropy(p: Tensor) -> Tensor:
    """Entropy in nats of a bit that is 1 with probability p."""
    return -(torch.xlogy(p, p) + torch.xlogy(1 - p, 1 - p))

"""How far credit reaches: the gradient of one late loss, step by step back.

Let T be the last step that has a loss. Of that loss alone, and of what the weights W do in one step alone, ℓ earlier,

    g_ℓ = ∂L_T / ∂W(T − ℓ),       Σ_ℓ g_ℓ = ∂L_T / ∂W                                             (1)

where W(t) are the weights as step t uses them. Every rule estimates g_ℓ in its own way; it is compared with that of
backpropagation through time (BPTT), b_ℓ:

    cosine g_ℓ·b_ℓ / |g_ℓ||b_ℓ|,     norm ratio |g_ℓ| / |b_ℓ|                                     (2)

A rule that carries no credit over ℓ steps has a ratio of 0 and no cosine (NaN). Of a rule with random numbers the mean of n
draws stands for g_ℓ, whose norm still holds what n draws leave of the scatter. Where one step alone counts there is less to mix:
KF-RTRL, which scatters because it adds up steps under random signs, does not scatter here at all. How noisy a rule is `align`
tells. A predictor speaks of all the loss to come, not of the last alone: where a task asks at many steps, what it credits at
ℓ > 0 is meant for all of them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from bioplaus import checks
from bioplaus.circuit import Circuit, Network
from bioplaus.errors import RunError
from bioplaus.learning.training import Training
from bioplaus.measure.along import Along, Rules
from bioplaus.measure.gradients import cosines, over
from bioplaus.streams import stream
from bioplaus.tasks import Batch, Task

if TYPE_CHECKING:
    import xarray
    from torch import Tensor

MANY = 20  # chosen: as many lags as a curve needs and a long task can afford
DRAWS = 16  # chosen: leaves a quarter of the scatter of a single draw


def credit_by_lag(
    circuit: Circuit | Network,
    task: Task,
    rules: Rules,
    lags: Sequence[int] | None = None,
    training: Training | None = None,
    seed: int = 0,
    after: int = 0,
    draws: int = DRAWS,
) -> xarray.Dataset:
    """Every rule's credit for the last loss, by how many steps ago it was earned; against BPTT's.

    All weights of the circuit are taken together, those of the readout left out.

    Parameters
    ----------
    rules : one or several, as in `align`.
    lags : steps before the last that has a loss; None: all of them, or 20 from 0 to the first step that grow by equal factors.
    after : updates of the first rule before, along which predictors and kernels of the others learn.
    draws : of each rule with random numbers, to be averaged.

    Returns
    -------
    xarray.Dataset with dims (rule, lag) and variables ``cosine``, ``norm_ratio``; and ``norm`` (lag), that of BPTT's gradient.

    Raises
    ------
    RuleError
        As `align`.
    RunError
        A lag that lies before the first step or is named twice, or a number of updates or draws that makes no sense.
    """
    along = Along(circuit, task, rules, training, seed)
    after = checks.whole(RunError, "after (updates before the measurement)", after, 0)
    draws = checks.whole(RunError, "draws", draws)
    if lags is not None:
        lags = lags_of(along.batch(), lags)  # refused before the work
    for _ in range(after):
        along.update()
    reach = Reach(along, lags_of(along.batch(), lags), draws)
    for _ in reach.lags:
        reach.measure()
    return reach.dataset()


class Reach:
    """Where a driver and its riders stand: their credit for the loss at the last step, one lag after another.

    Attributes
    ----------
    last : T, counted from 0.
    lags : those that are measured; one that lies before the first step has nothing to be measured (NaN).
    """

    def __init__(self, along: Along, lags: Sequence[int] | None = None, draws: int = DRAWS) -> None:
        self._along, self._batch, self._draws = along, along.batch(), draws
        self.last = last_asked(self._batch)
        self.lags = spread(self.last) if lags is None else list(lags)
        self._rows: list[tuple[Tensor, Tensor, Tensor]] = []

    @property
    def measured(self) -> list[int]:
        """The lags that are done."""
        return self.lags[: len(self._rows)]

    def measure(self) -> int:
        """Measure the next lag, and say which it was."""
        lag = self.lags[len(self._rows)]
        self._rows.append(self._at(lag))
        return lag

    def state_dict(self) -> dict[str, Any]:
        """What was measured so far."""
        return {"lags": list(self.lags), "rows": [list(row) for row in self._rows]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a `state_dict` of the same place on the same trajectory.

        Raises
        ------
        RunError
            If other lags were measured there.
        """
        if list(state["lags"]) != self.lags:
            raise RunError(f"The saved credit is at the lags {state['lags']}, this at {self.lags}: give the same lags.")
        self._rows = [(cosine, ratio, norm) for cosine, ratio, norm in state["rows"]]

    def _at(self, lag: int) -> tuple[Tensor, Tensor, Tensor]:
        """(2): cosine and norm ratio (rule,), and the norm of BPTT's gradient."""
        along = self._along
        if lag > self.last:
            nothing = torch.full((len(along.asked),), math.nan, dtype=torch.float64)
            return nothing, nothing, nothing[0]
        weight = torch.zeros_like(self._batch.weight)
        weight[self.last] = self._batch.weight[self.last]
        batch, uses = replace(self._batch, weight=weight), torch.zeros_like(weight[:, 0])
        uses[self.last - lag] = 1.0
        true = along.gradient(along.reference, batch, None, uses)
        rows = torch.stack([true if n == along.reference else self._mean(n, batch, uses, lag) for n in along.asked])
        both = cosines(torch.cat([true.unsqueeze(0), rows]))
        size = true.norm()
        return both[0, 1:], over(rows.norm(dim=1), size), size

    def _mean(self, name: str, batch: Batch, uses: Tensor, lag: int) -> Tensor:
        along = self._along
        if not along.random(name):
            return along.gradient(name, batch, None, uses)
        drawn = [stream(along.seed, f"draw {d} at lag {lag}") for d in range(self._draws)]
        return torch.stack([along.gradient(name, batch, generator, uses) for generator in drawn]).mean(0)

    def dataset(self) -> xarray.Dataset:
        """What was measured; see `credit_by_lag`."""
        import xarray as xr

        cosine, ratio, norm = (torch.stack(column, -1).numpy() for column in zip(*self._rows, strict=True))
        dims = ("rule", "lag")
        variables: dict[str, Any] = {
            "cosine": (dims, cosine, {"long_name": "cosine with the gradient of BPTT", "units": "1"}),
            "norm_ratio": (dims, ratio, {"long_name": "norm over that of BPTT's gradient", "units": "1"}),
            "norm": (("lag",), norm, {"long_name": "norm of BPTT's gradient"}),
        }
        coords = {"rule": self._along.asked, "lag": ("lag", self.measured, {"units": "steps"})}
        about = {"driver": self._along.asked[0], "last_step": self.last, "after": self._along.driver.update_index}
        return xr.Dataset(variables, coords, {**about, "draws": self._draws})


def last_asked(batch: Batch) -> int:
    """The last step at which any trial has a loss, counted from 0."""
    return int(batch.weight.any(1).nonzero().max())


def lags_of(batch: Batch, lags: Sequence[int] | None) -> list[int]:
    """The lags that are asked for, rising; None: those that `spread` chooses.

    Raises
    ------
    RunError
        One of them lies before the first step, or is named twice.
    """
    last = last_asked(batch)
    return spread(last) if lags is None else checked(lags, last)


def spread(last: int) -> list[int]:
    """Lags from 0 to ``last``: all, or `MANY` at most, ever farther apart."""
    if last < MANY:
        return list(range(last + 1))
    factor = last ** (1 / (MANY - 2))
    return sorted({0, *(round(factor**k) for k in range(MANY - 1))})


def checked(lags: Sequence[int], last: int) -> list[int]:
    """Lags in rising order, if they lie within a trial.

    Raises
    ------
    RunError
    """
    wanted = f"several different steps from 0 to {last}, where the last loss comes, such as (0, 1, 5), or None for all"
    if isinstance(lags, (str, bytes, Mapping)) or not isinstance(lags, Iterable) or getattr(lags, "ndim", 1) != 1:
        raise checks.refusal(RunError, "lags", lags, wanted)
    found = [
        checks.whole(RunError, f"a lag of a task whose last loss comes at step {last}", lag, 0, last) for lag in lags
    ]
    if not found or len(set(found)) < len(found):
        raise checks.refusal(RunError, "lags", lags, wanted)
    return sorted(found)

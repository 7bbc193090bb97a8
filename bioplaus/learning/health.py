"""Whether learning goes as it should: what does not is said once, by name, and remembered."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import torch

from bioplaus.circuit.tangent import Tangent
from bioplaus.circuit.trajectory import Stretch, roll

if TYPE_CHECKING:
    from torch import Tensor

    from bioplaus.circuit import Network
    from bioplaus.learning.tally import Outcome

LATELY = 10  # updates that are looked at together: a single batch is high, or silent, by chance
RISE = 10  # loss lately over that of the first update  # chosen: no learning that works passes through that
BURST = 1000  # the same in a single update
TOO_LONG = 10  # length of the predictions over that of the longest truth so far, which vanishes as a task is solved
FULL = 0.9  # of the spikes that refractoriness leaves room for
FLAT = 0.01  # of the steepest slope of the first update, or at rest
FEW = 0.05  # of neurons and trials that are steeper  # chosen: some neuron is always between its extremes
EVERY = 10  # updates between two looks at slopes, which take time


class Health:
    """Looks at every update of a trainer.

    Attributes
    ----------
    said : what was said so far, by what it is about.
    """

    def __init__(self, network: Network, remark: str = "") -> None:
        self.network = network
        self.remark = remark  # what is known before any update
        self.said: dict[str, str] = {}
        self.first: float | None = None
        self.lately: list[float] = []
        self.silent: dict[str, int] = {}  # updates in a row without a spike
        self.steepest: dict[str, float] = {}
        self.truth = 0.0  # the longest true gradient of the future loss
        self.prediction = 0.0  # how long the last prediction was that was measured

    def measured(self, ratio: float | None, length: float | None) -> None:
        """How long predictions are, over how long the truth is."""
        if ratio is not None and length is not None:
            self.truth, self.prediction = max(self.truth, length), ratio * length

    def look(self, row: Mapping[str, float], outcome: Outcome, asked: bool = True) -> list[str]:
        """What is new to be said of an update, given its metrics, what its sequence gave, and whether its batch asked anything."""
        update, new = int(row["update"]), []
        for about, text in self._found(update, row["loss"], outcome, asked):
            if about not in self.said:
                self.said[about] = text
                new.append(text)
        return new

    def begin_again(self) -> None:
        """The loss is of another task from now on."""
        self.first, self.lately = None, []

    def _found(self, update: int, loss: float, outcome: Outcome, asked: bool) -> Iterator[tuple[str, str]]:
        if self.remark:
            yield "no credit", self.remark
        yield from self._loss(update, loss, not asked)
        if self.prediction > TOO_LONG * self.truth:
            yield (
                "prediction_ratio",
                f"The predictor's synthetic gradients are {self.prediction / self.truth:.3g} times as long at update {update} as the true ones ever were "
                "(prediction_ratio compares them with those of the update): the predictor diverges, and what it teaches is dominated by it. Lower "
                "predictor_lr, set clip=1.0, or take a smaller λ or discount.",
            )
        T = len(outcome.outputs)
        for p in self.network.populations:
            if p.kernel.derived.spiking and p.silence is None:
                room = math.ceil(T / max(1, int(p.refractory.min()))) / T  # spikes a step
                yield from self._rate(update, p.name, outcome.rates[p.name], room)
        if update == 1 and asked and not self.network.drives:
            yield from self._unheard(outcome)
        if update == 1 or update % EVERY == 0:
            yield from self._slopes(update, outcome)

    def _loss(self, update: int, loss: float, unasked: bool) -> Iterator[tuple[str, str]]:
        if unasked:
            yield (
                "unasked",
                f"The batch of update {update} asks nothing: its weight is 0 at every step of every trial. Nothing is learned from it, and it has no score "
                "(nan in the metrics). Where that is not meant, give the steps that have a target a weight above 0.",
            )
            return
        if self.first is None:
            self.first = loss
            return
        self.lately = [*self.lately[1 - LATELY :], loss]
        mean, full = sum(self.lately) / len(self.lately), len(self.lately) == LATELY
        size = abs(self.first)  # a loss may be negative
        if size > 0 and (loss - self.first > BURST * size or (full and mean - self.first > (RISE - 1) * size)):
            shown = mean if full else loss
            against = f"{shown / self.first:.3g} times that" if self.first > 0 else "far above that"
            yield (
                "loss",
                f"The loss is {shown:.3g} at update {update}, {against} of the first update ({self.first:.3g}): learning diverges. Lower lr (or "
                "readout_lr, predictor_lr), or set clip=1.0.",
            )

    def _rate(self, update: int, name: str, rate: float, room: float) -> Iterator[tuple[str, str]]:
        """Of spikes per step and neuron."""
        self.silent[name] = 0 if rate else self.silent.get(name, 0) + 1
        if not rate and update == 1:
            yield (
                f"first silence of {name}",
                f"Population '{name}' fired no spike in the first batch: a silent circuit learns nothing, and every rule looks alike. Raise the circuit's "
                "input_gain or lower the cell's threshold.",
            )
        elif self.silent[name] >= LATELY and f"first silence of {name}" not in self.said:
            yield (
                f"silence of {name}",
                f"Population '{name}' has fallen silent: no spike in {LATELY} updates up to update {update}, so that its neurons learn nothing any more. "
                "Lower lr, or hold its rate up with rate_strength and rate_target.",
            )
        if rate > FULL * room:
            yield (
                f"saturation of {name}",
                f"Population '{name}' is saturated: at update {update} its neurons fire {rate:.3g} spikes a step, of {room:.3g} that fit. Lower lr, "
                "or the circuit's input_gain and gain, or hold its rate down with rate_strength and rate_target.",
            )

    def _unheard(self, outcome: Outcome) -> Iterator[tuple[str, str]]:
        """Of a readout that could say what is asked only by its bias."""
        found, heard = outcome.gradients, [self.network.populations[s] for s in self.network.sources]
        if any(p.kernel.derived.spiking for p in heard):  # a step without spikes is chance
            return
        if (
            {"W_out", "b_out"} <= found.keys() - self.network.frozen
            and found["b_out"].any()
            and not found["W_out"].any()
        ):
            yield (
                "unheard",
                "The readout hears nothing when it is asked: what it reads is 0 in all trials of the first batch at all steps that have a weight, so that of its "
                "weights only the bias learns. If cells keep nothing, what is shown has gone by then, or has not come yet: in a hierarchy of L areas it is in the "
                "last one at step L alone (task volley: steps=L; stream: lag=L−1). Ask at that step, or take cells that remember; else raise the circuit's input_gain.",
            )

    def _slopes(self, update: int, outcome: Outcome) -> Iterator[tuple[str, str]]:
        """Of what neurons with a rate say, with respect to their states, in the last step."""
        now, rest = self._steep(outcome.last), {}
        if update == 1:  # saturated circuits are so from the start
            still = self.network.start(1)
            rest = self._steep(roll(self.network, still, torch.zeros_like(outcome.last.x[:1, :1]))[0])
        ends = [float(y[0].mean()) for y in (part.y for part in outcome.last.steps[-1].after.populations)]
        for p, end in zip(self.network.populations, ends, strict=True):
            # what spoke before and is at rest by now, as an area through which a volley has gone, is not saturated
            if p.name not in now or 0 <= end < outcome.rates[p.name] / 2:
                continue
            rest_of, quiet = f"rest of {p.name}", outcome.rates[p.name] == 0 and not now[p.name].any()
            if quiet and (update == 1 or rest_of in self.said):
                if not self.network.drives:  # forward models begin by predicting nothing
                    yield (
                        rest_of,
                        f"Population '{p.name}' says nothing in the first batch: its rates are 0 at all steps, and small changes of its states would leave them so, so that "
                        "its neurons learn nothing. Either its input has not come to it by the end of a trial (longer trials), or all it hears holds it down (a larger "
                        "input_gain or gain, or a bias).",
                    )
                continue
            steep = now[p.name]
            highest = max(float(each[p.name].max()) for each in (now, rest) if each)
            self.steepest.setdefault(p.name, highest)
            share = float((steep > FLAT * self.steepest[p.name]).double().mean())
            if share < FEW:
                yield (
                    f"saturation of {p.name}",
                    f"Population '{p.name}' is saturated: at update {update} what its neurons say hardly changes with their states any more (slopes below "
                    f"{100 * FLAT:g} % of the steepest at first or at rest, in {100 * (1 - share):.3g} % of neurons and trials), so that they learn next to nothing. "
                    "Lower lr, set clip=1.0, or build the circuit with a smaller input_gain and gain.",
                )

    def _steep(self, last: Stretch) -> dict[str, Tensor]:
        """By population with a rate, Σ |ψ| over its states, (1, batch, unit)."""
        found = {}
        for p, part in zip(self.network.populations, Tangent(self.network, last).partials, strict=True):
            slopes = [entry.abs() for entry in part.psi if isinstance(entry, torch.Tensor)]
            if slopes and not p.kernel.derived.spiking:
                found[p.name] = torch.stack(torch.broadcast_tensors(*slopes)).sum(0)
        return found

    def state_dict(self) -> dict[str, Any]:
        """All that later remarks depend on."""
        kept = ("said", "first", "lately", "silent", "steepest", "truth", "prediction")
        return {name: value.copy() if hasattr(value := getattr(self, name), "copy") else value for name in kept}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        for name, value in state.items():
            setattr(self, name, value)

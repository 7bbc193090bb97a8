"""Layers that wait for each other's credit, or do not: what an update costs, in one process and with each layer in a process of its own.

A chain of layers h_i = relu(W_i h_{i−1} + b_i), the top one linear with cross-entropy, in plain torch and by hand, so that what is timed is the products and
nothing else. *Locked*, credit δ_i = dL/dh_i comes down from layer to layer (backpropagation). *Unlocked* (Jaderberg et al. 2017, arXiv 1608.05343), each layer
takes s_i = g_i(h_i[, label]) for it at once, and g_i learns on ½|s_i − δ_i|² from what the layer above sends down, δ_i = s_{i+1} ∂h_{i+1}/∂h_i.

Multiply-adds of one affine layer of n_in inputs and n_out outputs, batch B: B n_in n_out forwards, as many for its weights' gradient, and as many for what
is sent down, where something is.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from bioplaus import checks
from bioplaus.errors import RunError
from bioplaus.streams import stream

if TYPE_CHECKING:
    from torch import Tensor

METHODS = ("BP", "DNI", "cDNI")


@dataclass(frozen=True, kw_only=True)
class Layers:
    """What is timed.

    Parameters
    ----------
    sizes : of the input, of every layer; the last is the number of classes.
    batch : samples of an update.
    method : ``"BP"`` (locked), ``"DNI"``, ``"cDNI"`` (unlocked; the latter's predictors see the label).
    hidden : sizes of a predictor's relu layers; none: linear.
    rate, predictor_rate : of plain descent.

    Raises
    ------
    RunError
    """

    sizes: tuple[int, ...] = (784, 256, 256, 256, 10)
    batch: int = 100
    method: str = "BP"
    hidden: tuple[int, ...] = ()
    rate: float = 0.05
    predictor_rate: float = 0.002

    constraints = checks.Table(
        RunError,
        "of layers",
        sizes=checks.Several(checks.Whole(), "(784, 256, 10)", 3),
        batch=checks.Whole(),
        method=checks.Word(METHODS),
        hidden=checks.Several(checks.Whole(), "(1024, 1024)", 0),
        rate=checks.Real(above=0),
        predictor_rate=checks.Real(above=0),
    )

    def __post_init__(self) -> None:
        checks.settle(self)

    @property
    def depth(self) -> int:
        """Layers."""
        return len(self.sizes) - 1

    @property
    def work(self) -> tuple[int, ...]:
        """Multiply-adds of an update, of every layer with its predictor."""
        found = []
        for i, (n_in, n_out) in enumerate(zip(self.sizes, self.sizes[1:], strict=False)):
            own = (3 if i else 2) * n_in * n_out  # nothing is sent below the lowest
            wide = self.predictor(i)
            pairs = list(zip(wide, wide[1:], strict=False))
            own += sum((3 if k else 2) * a * b for k, (a, b) in enumerate(pairs))
            found.append(self.batch * own)
        return tuple(found)

    @property
    def latency(self) -> int:
        """Multiply-adds between one update and the next where every layer has a processor and sending takes no time.

        Locked, no two layers are ever at work at once: all of them. Unlocked: those of the layer that has most to do.
        """
        return sum(self.work) if self.method == "BP" else max(self.work)

    def predictor(self, i: int) -> tuple[int, ...]:
        """Sizes of the layers of g_i, its input first; none at the top, and where all wait."""
        if self.method == "BP" or i == self.depth - 1:
            return ()
        n = self.sizes[i + 1]
        return (n + (self.sizes[-1] if self.method == "cDNI" else 0), *self.hidden, n)

    def area(self, i: int, seed: int) -> Area:
        """Layer i, counted from 0, with its predictor, at its first weights."""
        g = stream(seed, f"layer {i}")
        W = torch.randn(self.sizes[i + 1], self.sizes[i], generator=g) * (2 / self.sizes[i]) ** 0.5
        layer = Layer(W, self.rate, relu=i < self.depth - 1)
        wide = self.predictor(i)
        shapes = list(zip(wide, wide[1:], strict=False))
        matrices = [torch.randn(b, a, generator=g) * (2 / a) ** 0.5 for a, b in shapes]
        if matrices:
            matrices[-1].zero_()  # says nothing at first
        last = len(matrices) - 1
        guess = [Layer(M, self.predictor_rate, relu=k < last) for k, M in enumerate(matrices)]
        return Area(layer, guess, top=i == self.depth - 1, lowest=i == 0, told=self.method == "cDNI")

    def draw(self, seed: int, updates: int) -> tuple[Tensor, Tensor]:
        """Inputs (update, batch, input) and labels (update, batch, class), one-hot, as a random linear teacher gives them."""
        g, n, m = stream(seed, "task"), self.sizes[0], self.sizes[-1]
        teacher = torch.randn(n, m, generator=stream(seed, "teacher"))
        x = torch.randn(updates, self.batch, n, generator=g)
        return x, torch.nn.functional.one_hot((x @ teacher).argmax(-1), m).float()


class Layer:
    """y = relu(Wx + b), or without the relu; W (out, in), samples in rows."""

    def __init__(self, W: Tensor, rate: float, relu: bool) -> None:
        self.W, self.b, self.rate, self.relu = W, W.new_zeros(len(W)), rate, relu

    def forward(self, x: Tensor) -> Tensor:
        y = torch.addmm(self.b, x, self.W.T)
        return y.relu_() if self.relu else y

    def backward(self, x: Tensor, y: Tensor, delta: Tensor, sends: bool) -> Tensor | None:
        """One step of descent by δ = dL/dy of every sample; dL/dx at the weights before it, if it is to be sent."""
        if self.relu:
            delta = delta * (y > 0)
        down = delta @ self.W if sends else None
        step = -self.rate / len(x)
        self.W.addmm_(delta.T, x, alpha=step)
        self.b.add_(delta.sum(0), alpha=step)
        return down


class Area:
    """A layer with its predictor: what one processor does."""

    def __init__(self, layer: Layer, guess: Sequence[Layer], top: bool, lowest: bool, told: bool) -> None:
        self.layer, self.guess, self.top, self.lowest, self.told = layer, list(guess), top, lowest, told
        self.waits = not (guess or top)
        self._kept: deque[list[Tensor]] = deque()
        self.loss = float("nan")

    def forward(self, x: Tensor) -> Tensor:
        return self.layer.forward(x)

    def credit(self, h: Tensor, label: Tensor) -> Tensor:
        """What the layer takes for dL/dh without waiting: the error at the top, a prediction below it."""
        if self.top:
            p = torch.log_softmax(h, -1)
            self.loss = -float((p * label).sum()) / len(h)
            return p.exp_() - label
        values = [torch.cat([h, label], 1) if self.told else h]
        for each in self.guess:
            values.append(each.forward(values[-1]))
        self._kept.append(values)
        return values[-1]

    def learn(self, x: Tensor, h: Tensor, delta: Tensor) -> Tensor | None:
        """The layer's step, and what goes down."""
        return self.layer.backward(x, h, delta, sends=not self.lowest)

    def heard(self, delta: Tensor) -> None:
        """The predictor's step, for the earliest prediction of which nothing had been heard."""
        values = self._kept.popleft()
        back = values[-1] - delta
        for k in range(len(self.guess) - 1, -1, -1):
            found = self.guess[k].backward(values[k], values[k + 1], back, sends=k > 0)
            back = back if found is None else found


class Chain:
    """All layers in one process.

    ``lag``: updates after which a predictor hears what came of its prediction, as where a message travels; 0: in the same.
    """

    def __init__(self, layers: Layers, seed: int = 0, lag: int = 0) -> None:
        self.areas = [layers.area(i, seed) for i in range(layers.depth)]
        self.locked, self.lag = layers.method == "BP", lag
        self._sent: list[deque[Tensor]] = [deque() for _ in self.areas]

    def update(self, x: Tensor, label: Tensor) -> float:
        """One update; the loss before it."""
        (self._locked if self.locked else self._unlocked)(x, label)
        return self.areas[-1].loss

    def tensors(self) -> dict[str, Tensor]:
        """All that learns, by name."""
        every = {f"{i}.{k}": each for i, a in enumerate(self.areas) for k, each in enumerate([a.layer, *a.guess])}
        return {f"{name}.{part}": w for name, each in every.items() for part, w in (("W", each.W), ("b", each.b))}

    def _locked(self, x: Tensor, label: Tensor) -> None:
        h = [x]
        for area in self.areas:
            h.append(area.forward(h[-1]))
        delta: Tensor | None = self.areas[-1].credit(h[-1], label)
        for i in range(len(self.areas) - 1, -1, -1):
            assert delta is not None
            delta = self.areas[i].learn(h[i], h[i + 1], delta)

    def _unlocked(self, x: Tensor, label: Tensor) -> None:
        for i, area in enumerate(self.areas):
            h = area.forward(x)
            down = area.learn(x, h, area.credit(h, label))
            if down is not None:
                self._sent[i - 1].append(down)
            x = h
        for area, sent in zip(self.areas, self._sent, strict=True):
            if len(sent) > self.lag:
                area.heard(sent.popleft())

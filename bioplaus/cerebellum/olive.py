"""The inferior olive: how the error reaches the parallel-fibre synapses.

=========  ==============================================================================================================
teaching   what the synapses hear of the error δ of an output
=========  ==============================================================================================================
graded     δ itself
events     climbing-fibre events, K fibres for each zone of each output
perturb    what a climbing-fibre event, which perturbs its own output, did to the squared error of all outputs together
=========  ==============================================================================================================

**Events.** In a step of dt a fibre of zone ±, at a base rate r₀, p = r₀ dt, fires with probability::

    p (1 ± x clipped to [−1, 5]),      x = δ/δ₀                                                      (1)
    δ̂ = δ₀/(2p) (mean CF₊ − mean CF₋);       with one zone δ̂ = δ₀/p (mean CF₊ − p)                    (2)

For |x| ≤ 1 it is right on average, E[δ̂] = δ, with the variance::

    δ₀² (1 − p(1 + x²)) / (2pK);             with one zone δ₀² (1 + x)(1 − p(1 + x)) / (pK)           (3)

Beyond, clipping pulls it towards 0: with one zone E[δ̂] = δ₀ clip(x), with two δ₀ (clip(x) − clip(−x))/2. δ₀ is given, or 3 times the running r.m.s. of
each output's δ over batch and steps of the trial so far, the last ones first: ms ← 0.9 ms + 0.1 mean δ².

**Perturbation** (after Bouvier et al. 2018: a complex spike perturbs, and what comes of it teaches). Every output's fibre fires with probability p, CF = 0
or 1, and adds a CF to its output; the error ½|δ − a CF|² changes by −R, less than what it does on average by::

    R = Σ_j a_j δ'_j (CF_j − p),      δ'_j = δ_j − a_j/2                                              (4)
    δ̂_i = R (CF_i − p) / (a_i p(1 − p)),      E[δ̂_i] = δ_i − a_i/2                                    (5)
    Var δ̂_i = Σ_{j≠i} (a_j δ'_j/a_i)² + δ'_i² (1/(p(1 − p)) − 4)                                      (6)

One number, R, teaches all outputs. The bias −a/2 goes with the perturbation's size, a = ``size`` · δ₀. The perturbed output is thought, and not sent.

======  ====================  =========================
symbol  variable              shape
======  ====================  =========================
δ, δ̂    ``delta``, result     (time, batch, output)
δ₀      ``scale``             (output,)
CF      ``fired``             (…, batch, output)
======  ====================  =========================

That climbing fibres carry such an error is a hypothesis (docs/cerebellum.md).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor

TEACHING = ("graded", "events", "perturb")
CLIP = (-1.0, 5.0)
#: how much of the mean square is of the steps before, and how many r.m.s. δ₀ is
KEEPS, TIMES = 0.9, 3.0  # chosen: KEEPS, so that one error after silence is not clipped, 1/(3 √0.1) ≈ 1


@dataclass
class Heard:
    """What one step's error comes to: δ̂, and per fibre group how many of its fibres fired, (batch, zone · output)."""

    delta: Tensor
    fired: Tensor


@dataclass(frozen=True)
class Olive:
    """(1) to (6).

    Parameters
    ----------
    teaching : one of the three.
    fibres : K.
    scale : δ₀; None: the running one.
    size : of a perturbation, in δ₀.
    zones : of each output, 1 or 2.
    """

    teaching: str
    fibres: int
    scale: float | None
    size: float
    zones: int

    @property
    def random(self) -> bool:
        return self.teaching != "graded"

    def mean_square(self, delta: Tensor, before: Tensor | None) -> Tensor:
        """Of δ so far, (output,)."""
        now = delta.square().mean(0)
        return now if before is None else KEEPS * before + (1 - KEEPS) * now

    def unit(self, square: Tensor) -> Tensor:
        """δ₀."""
        return torch.full_like(square, self.scale) if self.scale is not None else TIMES * square.sqrt()

    def hear(self, delta: Tensor, square: Tensor, p: float, generator: torch.Generator, on: Tensor) -> Heard:
        """One step, δ (batch, output); ``on`` (1, unit) is 0 of silenced fibres, which never fire."""
        scale = self.unit(square)
        return (self._events if self.teaching == "events" else self._perturb)(delta, scale, p, generator, on)

    def _events(self, delta: Tensor, scale: Tensor, p: float, generator: torch.Generator, on: Tensor) -> Heard:
        x = torch.where(scale > 0, delta / scale, 0.0)
        groups = [p * (1 + (side * x).clamp(*CLIP)) for side in (1, -1)[: self.zones]]
        there = on.split(delta.shape[-1], -1)
        fired = [
            self._fires(e.expand(self.fibres, *e.shape), generator) * o for e, o in zip(groups, there, strict=True)
        ]
        means = [each.mean(0) for each in fired]
        heard = means[0] - p if self.zones == 1 else (means[0] - means[1]) / 2
        return Heard(scale / p * heard, torch.cat([each.sum(0) for each in fired], -1))

    def _perturb(self, delta: Tensor, scale: Tensor, p: float, generator: torch.Generator, on: Tensor) -> Heard:
        a = self.size * scale
        fired = self._fires(torch.full_like(delta, p), generator)
        R = (a * (delta - a / 2) * (fired - p)).sum(-1, keepdim=True)
        heard = torch.where(a > 0, R * (fired - p) / (a * p * (1 - p)), 0.0)
        return Heard(heard * on, fired * on)

    @staticmethod
    def _fires(probability: Tensor, generator: torch.Generator) -> Tensor:
        """0 or 1, drawn on the CPU."""
        drawn = torch.rand(probability.shape, generator=generator, dtype=torch.float64)
        return (drawn.to(probability.device) < probability).to(probability.dtype)

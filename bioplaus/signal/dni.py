"""Synthetic gradients over windows of n steps (Jaderberg et al. 2017, arXiv 1608.05343).

At the end b of a window the predicted gradient of everything beyond it is injected as if it had arrived, except at the end
of the sequence, where the future is zero; what then reaches the window's start a is the target for the prediction made there::

    a_t swept back from s·g(h_b);      target_a = (swept back from γ·g⁻(h_b)) at h_a;      loss ½ ‖g(h_a) − target_a‖²
    of a critic (g = ∂ℓ/∂h) also       value_a = Σ L_t over the window + γ ℓ⁻(h_b);           loss ½ w_l (ℓ(h_a) − value_a)²

The factor ½ makes n = 1 and BP(0) the same update (without it they differ by 2). g⁻ is g, or a copy of it that is taken now
and then (target_copy). The target is swept back by the circuit's transpose, or by a learned linear model of its step
(step_model); what the circuit itself learns from is always swept back exactly. An auxiliary task (foresight) may add to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Literal

import torch

from bioplaus import checks
from bioplaus.cerebellum.predictors import PREDICTOR, Predictor
from bioplaus.circuit.carried import Layout
from bioplaus.circuit.credit import Credit, anywhere, silent
from bioplaus.circuit.network import Network
from bioplaus.circuit.sweep import Sweep, sweep, to_u
from bioplaus.declaration import Declaration
from bioplaus.errors import RuleError
from bioplaus.own import Gradients, Own, Owns, under
from bioplaus.signal import foresight, in_time, outputs, step_model, target_copy
from bioplaus.signal.base import Answer
from bioplaus.signal.observed import Observed
from bioplaus.signal.outputs import GIVES
from bioplaus.signal.synthetic import Sight, SyntheticGradient
from bioplaus.signal.synthetic import theta as theta_of
from bioplaus.signal.traces.view import refuse_bumps

if TYPE_CHECKING:
    from torch import Tensor

JACOBIANS = ("exact", "learned")


@dataclass(frozen=True)
class DNI(SyntheticGradient):
    """Credit for the state: true inside the window, predicted beyond it.

    Parameters
    ----------
    predictor : the map g; None: the circuit's own cerebellum, or a linear one if it has none.
    discount : γ, weight of the bootstrapped future in the predictor's target, per window; None: 1, or what ``tau_gamma`` says.
    injection : s, how much of the prediction the circuit uses.
    context : whether the predictor also sees the task's context (for example the label).
    copy_every : updates after which the copy of g that stands in the target is taken anew; 0: no copy, g itself. 1 is the
        same as 0, update for update.
    jacobian : ``"exact"`` or ``"learned"``, what carries the target back.
    auxiliary : weight of the auxiliary task, 0: none. With it the circuit follows another loss besides the task's. Needs windows
        of at least 2 steps and a predictor with a last layer.
    gives : ``"state"``, to be met by the immediate eligibility, or ``"output"``, by e-prop's (signal/outputs.py).
    tau_gamma : a time (20*ms, or seconds) in the place of γ, which stays itself when dt or the windows change: γ = exp(−T/tau_gamma) after
        a window that lasts T.

    Raises
    ------
    RuleError
        If one of them makes no sense; from ``begin``, if the auxiliary task finds no last layer.
    """

    predictor: Predictor | None = None
    discount: float | None = None
    injection: float = 1.0
    context: bool = False
    copy_every: int = 0
    jacobian: Literal["exact", "learned"] = "exact"
    auxiliary: float = 0.0
    gives: Literal["state", "output"] = "state"
    tau_gamma: float | None = None

    reads_state: ClassVar[bool] = True
    later: ClassVar[tuple[str, ...]] = ("tau_gamma",)

    declaration: ClassVar[Declaration] = Declaration(
        half="future", credit="state", bias="biased", exact_when="the predictor is exact, or the window is the whole sequence", causal=True,
        local=False, memory="T·S·n + θ", time="K·n² + θ", keeps="a window and a prediction", reference="arXiv:1608.05343", tensor="g[z]",
        closed=False, transport=True,
    )  # fmt: skip

    constraints = checks.Table(
        RuleError,
        "of dni",
        predictor=PREDICTOR,
        discount=in_time.FACTOR,
        injection=checks.Real(),
        context=checks.Flag(),
        copy_every=checks.Whole(0),
        jacobian=checks.Word(JACOBIANS),
        auxiliary=checks.Real(least=0),
        gives=checks.Word(GIVES),
        tau_gamma=in_time.TAU,
    )

    def __post_init__(self) -> None:
        checks.settle(self)
        in_time.settle(self, {"discount": "tau_gamma"})
        if self.gives == "output":
            if self.auxiliary:
                raise RuleError(
                    "The auxiliary task gives credit to states, and gives='output' passes on credit for outputs alone. Use "
                    "auxiliary=0, or gives='state'."
                )
            object.__setattr__(self, "declaration", replace(type(self).declaration, credit="output"))

    def refuse(self, network: Network, steps: int | None) -> str | None:
        reason = self.too_short(steps) or in_time.refuse(network, tau_gamma=self.tau_gamma)
        reason = reason or super().refuse(network, steps) or refuse_bumps(self.of(network))
        return reason or (outputs.refuse(network) if self.gives == "output" else None)

    @property
    def per_step(self) -> dict[str, float]:
        return in_time.per_step(discount=self.discount)

    def too_short(self, steps: int | None) -> str | None:
        """Why windows of so many steps (None: whole sequences) leave the auxiliary task nothing to foresee, or None."""
        if not self.auxiliary or steps is None or steps >= 2:
            return None
        return (
            f"auxiliary={self.auxiliary:g} foresees the end of a window from the state after its first step, and a window of "
            "1 step ends there (use steps=2 or more, or auxiliary=0)"
        )

    def begin(self, network: Network, generator: torch.Generator, context: int) -> Owns:
        size, theta = Layout(network).size, self.at_birth(network, generator, context)
        own = {"predictor": theta}
        if self.copy_every:
            own["copy"] = target_copy.at_birth(theta)
        if self.jacobian == "learned":
            own["model"] = step_model.at_birth(size, network.circuit.inputs, network.dtype, network.device)
        if self.auxiliary:
            own["auxiliary"] = foresight.at_birth(theta)
        return own

    def init(self, network: Network, batch: int, generator: torch.Generator | None = None) -> Sight:
        return self.sight(network, generator)

    def remembered(self, state: Sight) -> Sight:
        return state

    def credit(self, own: Owns, state: Sight, observed: Observed) -> Answer:
        layout, stretch = Layout(observed.network), observed.tangent.stretch
        g_of, theta = self.of(observed.network), theta_of(own)
        like = layout.vector(stretch.steps[0].before)
        seen, sight = self.look(own, state, observed, layout.vectors(stretch))
        before = sight.memory.at - len(seen)
        said = lambda at: g_of.say(theta, sight.memory, seen[at : at + 1], before + at)[0]  # noqa: E731
        seen_a, seen_b = seen[0], seen[-1]
        g_b = torch.zeros_like(like) if observed.final else said(len(seen) - 1)
        direct = observed.direct()
        used = sweep(observed.tangent, direct, layout.credit(self.injection * g_b), states=self.gives == "output")

        copied = self.copy_every and not observed.final
        held = g_of.predict(target_copy.in_place(theta, own["copy"]), seen_b) if copied else g_b
        gamma = in_time.left(self.discount, self.tau_gamma, observed.network, len(stretch))
        target, found, info = self._target(
            own, observed, direct, gamma * held, used, bool(copied) or gamma != self.injection
        )
        off = said(0) - target
        info["prediction_error"] = off.square().mean()
        of_loss, of_slope = g_of.weights
        heard, aside, sight = self.hear(g_of, own, sight, -off.unsqueeze(0))
        own_found = g_of.gradient(theta, seen_a, -heard[0] if of_slope == 1 else -of_slope * heard[0])
        if of_loss:
            there = target_copy.in_place(theta, own["copy"]) if copied else theta
            short = g_of.worth(theta, seen_a) - self._to_come(g_of, there, observed, gamma, seen_b)
            info["value_error"] = short.square().mean()
            more = g_of.worth_gradient(theta, seen_a, of_loss * short)
            own_found = {name: g + more[name] for name, g in own_found.items()}
        found |= under("predictor", own_found) | aside

        a_I = used.a_I
        if self.auxiliary:
            info["auxiliary_error"] = 0.0  # where there is no such task
            if len(stretch) > 1 and not observed.final:
                h_1 = layout.vector(stretch.steps[0].after)
                more, a_h, error = foresight.task(
                    g_of, own, lambda h: self.see(observed, h, 1), h_1, g_b, self.auxiliary
                )
                found |= {path: g + found[path] if path in found else g for path, g in more.items()}
                a_I = with_first(observed, a_I, layout.credit(a_h))
                info["auxiliary_error"] = error.square().mean()
        if self.gives == "output":  # all that stood at the outputs; the readout's memory is the eligibility's
            stood = layout.credit(torch.stack([layout.flat(credit, like) for credit in used.a_h]))
            return (
                outputs.joined(observed.tangent, direct._replace(y=silent(observed.network).y), stood),
                found,
                sight,
                info,
            )
        return a_I, found, sight, info

    @staticmethod
    def _to_come(g_of: Predictor, theta: Own, observed: Observed, gamma: float, h_b: Tensor) -> Tensor:
        """The loss of the window, and behind it what a critic predicts; (batch, k).

        Raises
        ------
        RuleError
            Where nobody tells what the steps cost.
        """
        if observed.loss is None:
            raise RuleError(
                "A critic learns the loss to come, and here only its gradient is told. Use a critic with value=0, or train with a task."
            )
        cost = observed.loss.sum(0)[:, None]
        return cost if observed.final else cost + gamma * g_of.handed(theta, g_of.worth(theta, h_b))

    def _target(
        self, own: Owns, observed: Observed, direct: Credit, bootstrapped: Tensor, used: Sweep, another: bool
    ) -> tuple[Tensor, Gradients, dict[str, float | Tensor]]:
        """What should have been predicted at h_a, from another future than was ``used`` or the same; what the model of the step learns, and its error."""
        layout, stretch = Layout(observed.network), observed.tangent.stretch
        if self.jacobian == "learned":
            h = layout.vectors(stretch)
            q = layout.flat(direct, h[1:])
            inner = layout.before(observed.tangent, direct.u, q, recurrent=False) if anywhere(direct.u) else None
            target = step_model.back(own["model"], q, bootstrapped, inner)
            found, error = step_model.gradient(own["model"], h, stretch.given)
            return target, under("model", found), {"model_error": error.square().mean()}
        swept = used if observed.final or not another else sweep(observed.tangent, direct, layout.credit(bootstrapped))
        return layout.flat(swept.start, layout.vector(stretch.steps[0].before)), {}, {}

    def after_update(self, own: Owns, network: Network) -> None:
        """Hold signs; count the update, after the optimiser's step, and take the copy when it is due."""
        super().after_update(own, network)
        if self.copy_every:
            target_copy.refresh(own["predictor"], own["copy"], self.copy_every)


def with_first(observed: Observed, a_I: Sequence[Tensor | None], credit: Credit) -> tuple[Tensor | None, ...]:
    """Credit for the currents of a window (time, batch, channels · unit), and on top what credit for h after its first step adds.

    Before the first step there is nothing of the window left, so half a step back is all the way.
    """
    network, tangent = observed.network, observed.tangent
    first = tangent.at_steps()[0]
    u, _ = to_u(network, tangent.transposes, first, credit)
    more = [step.currents(P, a_u) for step, P, a_u in zip(tangent.transposes, first, u, strict=True)]
    return tuple(
        a if a is None or new is None else torch.cat([a[:1] + new, a[1:]]) for a, new in zip(a_I, more, strict=True)
    )

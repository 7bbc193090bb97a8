"""Accumulate BP(λ): synthetic gradients learned by TD errors and eligibility traces (Pemberton & Costa 2024, arXiv 2401.07044).

g(h; θ) predicts the gradient of the future loss at the carried state h. With q_t the immediate gradient at h_t, row vectors::

    TD error   δ_t = (q_t + γ g(h_t)) J_t − g(h_{t−1}),     g(h_T) ≡ 0                        (1)
    trace      e_t = γλ J_{t−1} e_{t−1} + ∂g(h_{t−1})/∂θ                                        (2)
    update     Δθ = η Σ_t δ_t e_t   (mean over the batch)                                      (3)
    signal     dL/dh_t ≈ q_t + s g(h_t)                                                         (4)

The trace (2) costs batch·n³ memory. The identical sum runs backwards without it::

    u_s = δ_{s+1} + γλ u_{s+1} J_{s+1},     Σ_t δ_t e_t = Σ_s u_s ∂g(h_s)/∂θ                   (5)

How (2) is kept is a matter of its own (signal/traces), and so is what stands for J in (1) (signal/jacobians.py). Of (4) the
output's part alone is what e-prop's eligibility needs (signal/outputs.py).

=======  ============  =============================================
symbol   variable      shape
=======  ============  =============================================
h        ``h``         (time + 1, batch, H)
δ        ``delta``     (time, batch, H)
J e      ``trace``     {weight of g: (batch, H, shape of the weight)}
=======  ============  =============================================

λ and γ are factors per step, or times: λ = exp(−dt/τ_λ), γ = exp(−dt/τ_γ) (signal/in_time.py).

Differs from the authors' released code in its LSTM mode: the full Jacobian (their output-gate path is missing) and the
immediate loss counted once. ``published=True`` does as they do (signal/published.py).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import torch

from bioplaus import checks
from bioplaus.cerebellum.nuclei import Nuclei
from bioplaus.cerebellum.predictors import PREDICTOR, Predictor
from bioplaus.circuit.carried import Layout
from bioplaus.circuit.credit import Currents, Inner, anywhere
from bioplaus.circuit.network import Network
from bioplaus.circuit.sweep import to_u
from bioplaus.declaration import Declaration
from bioplaus.errors import RuleError
from bioplaus.own import Owns, under
from bioplaus.signal import in_time, jacobians, outputs, published, step_model
from bioplaus.signal.base import Answer
from bioplaus.signal.jacobians import JACOBIANS, jacobian
from bioplaus.signal.observed import Observed
from bioplaus.signal.outputs import GIVES
from bioplaus.signal.synthetic import Sight, SyntheticGradient
from bioplaus.signal.synthetic import theta as theta_of
from bioplaus.signal.traces import TRACES, PredictorTrace, Replay, View
from bioplaus.signal.traces.afford import afford
from bioplaus.signal.traces.growth import Growth, followed, refuse

if TYPE_CHECKING:
    from torch import Tensor


@dataclass
class Carried:
    """What the trace hands on: for the exact one γλ J_t e_t per weight of the predictor, None at the start of a sequence.

    ``sight`` is the predictor's own memory, ``at`` the step that comes next, ``grown`` how large the trace was since somebody last looked, ``decay`` the γλ of the steps before.
    """

    trace: Any = None
    sight: Sight = Sight(None)
    at: int = 0
    grown: Growth = Growth()
    decay: float = 1.0


@dataclass(frozen=True)
class BPLambda(SyntheticGradient):
    """Credit for the state: the immediate gradient plus the predicted future.

    Parameters
    ----------
    predictor : the map g; None: the circuit's own cerebellum, or a linear one if it has none.
    lmbda : λ of the trace, per step; None: 1, or what ``tau_lambda`` says.
    discount : γ of the TD error and the trace, per step; None: 1, or what ``tau_gamma`` says.
    injection : s, how much of the prediction the circuit uses.
    context : whether the predictor also sees the task's context (for example the label).
    trace : ``"exact"``, ``"replay"``, ``"local"``, ``"kronecker"``, ``"projected"``, ``"learned"`` or ``"bump"``: how (2) is kept.
    outputs : p, for projected traces: through how many outputs the predictor speaks.
    horizon : for replay: steps that are kept; None: all.
    jacobian : ``"exact"``, ``"random"``, ``"within"`` or ``"learned"``: what stands for J in (1). Within neurons no output has a future, so
        that ``"within"`` with ``gives="output"`` teaches the predictor to say nothing that e-prop hears: e-prop, at a higher price.
    gives : ``"state"``, to be met by the immediate eligibility, or ``"output"``, by e-prop's.
    published : do as the authors' released code does to LSTM circuits, mistakes included; for comparison.
    tau_lambda, tau_gamma : times (20*ms, or seconds) in the place of λ and γ, which stay themselves when dt changes: λ = exp(−dt/tau_lambda),
        γ = exp(−dt/tau_gamma), with the dt of the circuit.

    Raises
    ------
    RuleError
        If one of them makes no sense, or does not go with another; from ``begin``, if the predictor does not go with the trace.
    """

    predictor: Predictor | None = None
    lmbda: float | None = None
    discount: float | None = None
    injection: float = 1.0
    context: bool = False
    trace: Literal["exact", "replay", "local", "kronecker", "projected", "learned", "bump"] = "exact"
    outputs: int | None = None
    horizon: int | None = None
    jacobian: Literal["exact", "random", "within", "learned"] = "exact"
    gives: Literal["state", "output"] = "state"
    published: bool = False
    tau_lambda: float | None = None
    tau_gamma: float | None = None

    reads_state: ClassVar[bool] = True
    later: ClassVar[tuple[str, ...]] = ("tau_lambda", "tau_gamma")

    declaration: ClassVar[Declaration] = Declaration(
        half="future", credit="state", bias="biased", exact_when="the predictor is exact", causal=True, local=False,
        memory="S·n·θ; T·S·n + θ as one window", time="S²·n²·θ; K·n² + θ as one window", keeps="a prediction of the future", reference="arXiv:2401.07044",
        tensor="g[z], e[zθ]", closed=False, transport=True,
    )  # fmt: skip

    constraints = checks.Table(
        RuleError,
        "of bp_lambda",
        predictor=PREDICTOR,
        lmbda=in_time.FACTOR,
        discount=in_time.FACTOR,
        injection=checks.Real(),
        context=checks.Flag(),
        trace=checks.Word(TRACES),
        outputs=checks.Optional(checks.Whole()),
        horizon=checks.Optional(checks.Whole(), "for all steps"),
        jacobian=checks.Word(JACOBIANS),
        gives=checks.Word(GIVES),
        published=checks.Flag(),
        tau_lambda=in_time.TAU,
        tau_gamma=in_time.TAU,
    )

    def __post_init__(self) -> None:
        checks.settle(self)
        in_time.settle(self, {"lmbda": "tau_lambda", "discount": "tau_gamma"})
        for name, of, value in (("outputs", "projected", self.outputs), ("horizon", "replay", self.horizon)):
            if value is not None and self.trace != of:
                raise RuleError(
                    f"{name}={value} is for trace='{of}', and the trace is '{self.trace}'. Leave {name} out."
                )
        if self.trace == "projected":
            self._speak_through()
        if self.trace == "bump" and (self.lmbda != 1 or self.tau_lambda is not None):
            raise RuleError(
                "trace='bump' has the rise and fall of the parallel fibres' trace in the place of λ. Leave lmbda and tau_lambda out."
            )
        if self.published and (self.trace, self.jacobian, self.gives) != ("exact", "exact", "state"):
            raise RuleError(
                "published=True does what the authors' code does, which has no other trace, jacobian or credit than its own. "
                "Leave trace, jacobian and gives out, or published."
            )
        if self.predictor is not None and (reason := self._trace.refuse(self.predictor)):
            raise RuleError(f"This predictor does not go with the trace: {reason}.")
        object.__setattr__(self, "declaration", replace(type(self).declaration, **self._claim()))

    def _speak_through(self) -> None:
        """Put the deep nuclei behind the predictor."""
        of, given = self.predictor, self.outputs
        if isinstance(of, Nuclei):
            of, given = of.of, given or of.outputs
        if given is None:
            raise RuleError(
                "trace='projected' needs outputs=…, the number of outputs through which the predictor speaks."
            )
        object.__setattr__(self, "outputs", given)
        object.__setattr__(self, "predictor", Nuclei(of, given))

    def _claim(self) -> dict[str, Any]:
        """What these options declare of themselves."""
        claims: dict[str, Any] = {"credit": self.gives, **self._trace.claims}
        references = [claims.get("reference", type(self).declaration.reference)]
        if self.jacobian == "learned" and self.trace != "learned":
            references.append("arXiv:1907.02649")
        if self.jacobian == "random":
            references.append("doi:10.1038/ncomms13276")
        affine = (
            self.predictor is not None and self.predictor.affine
        )  # of the circuit's own cerebellum nobody knows yet
        return claims | {
            "reference": ", ".join(references),
            "local": self.trace == "local" and self.jacobian == "within" and affine,
        }

    @cached_property
    def _trace(self) -> PredictorTrace:
        if self.published:
            return published.ReleasedTrace()
        return Replay(self.horizon) if self.trace == "replay" else TRACES[self.trace]()

    def refuse(self, network: Network, steps: int | None) -> str | None:
        if reason := self._trace.refuse(self.of(network)):
            return reason
        if self.of(network).weights[0]:
            return (
                "its critic learns the loss to come (value above 0), and TD errors and traces here are those of its gradient alone (use "
                "bp.predictor('critic', value=0), or the rule dni)"
            )
        if self.published and (reason := published.refuse(network)):
            return reason
        if reason := in_time.refuse(network, tau_lambda=self.tau_lambda, tau_gamma=self.tau_gamma):
            return reason
        if reason := super().refuse(network, steps):
            return reason
        return outputs.refuse(network) if self.gives == "output" else None

    def fits(self, network: Network, own: Owns, batch: int) -> None:
        """Refuse a batch whose trace, carried from window to window, this machine's memory cannot hold.

        Raises
        ------
        RuleError
        """
        layout = Layout(network)
        weights = sum(w.numel() for w in theta_of(own).learned.values())
        floats = self._trace.floats(self.of(network), layout, weights, self.outputs or layout.size)
        afford(layout, layout.size, batch, floats, weights)

    def begin(self, network: Network, generator: torch.Generator, context: int) -> Owns:
        if reason := self._trace.refuse(self.of(network)):
            raise RuleError(f"This predictor does not go with the trace: {reason}.")
        own = {"predictor": self.at_birth(network, generator, context)}
        if self.jacobian == "random":
            own["feedback"] = jacobians.random_feedback(network, generator)
        if self._models:
            size = Layout(network).size
            own["model"] = step_model.at_birth(size, network.circuit.inputs, network.dtype, network.device)
        return own

    @property
    def _models(self) -> bool:
        """Whether a model of the circuit's step is learned."""
        return "learned" in (self.trace, self.jacobian)

    def init(self, network: Network, batch: int, generator: torch.Generator | None = None) -> Carried:
        return Carried(self._trace.start(generator), self.sight(network, generator))

    def settle(self, state: Carried) -> None:
        """Look whether the trace outgrew its numbers.

        Raises
        ------
        NumericalError
        """
        refuse(state.grown, state.decay, self.trace)
        state.grown = Growth()

    @property
    def per_step(self) -> dict[str, float]:
        return in_time.per_step(lmbda=self.lmbda, discount=self.discount)

    def credit(self, own: Owns, state: Carried, observed: Observed) -> Answer:
        network, tangent = observed.network, observed.tangent
        lmbda, gamma = (
            in_time.left(self.lmbda, self.tau_lambda, network),
            in_time.left(self.discount, self.tau_gamma, network),
        )
        layout, g_of, theta = Layout(network), self.of(network), theta_of(own)
        h = layout.vectors(tangent.stretch)
        seen, sight = self.look(own, state.sight, observed, h)
        g = self.said(own, sight, observed, seen)
        if observed.final:
            g[-1] = 0.0
        direct = observed.direct()
        q = layout.flat(direct, h[1:])
        J = published.Released(network) if self.published else jacobian(self.jacobian, network, own)
        arriving = published.doubled(layout, tangent, q) if self.published else q
        delta = J.back(tangent, arriving + gamma * g[1:]) - g[:-1]  # (1)
        if anywhere(direct.u):
            delta = delta + J.before(tangent, direct.u, g[1:])
        if self.trace == "projected":
            delta = delta @ theta["V"]

        inside = g_of.inner if self.trace == "projected" and isinstance(g_of, Nuclei) else g_of
        heard, aside, sight = self.hear(inside, own, sight, delta)
        view = View(inside, own, seen, tangent, layout, gamma * lmbda, observed.final)
        met, trace = self._trace.update(view, state.trace, heard)
        largest = view.grown.get("back"), view.grown.get("forward")
        grown = followed(state.grown, state.at, *largest, len(tangent))
        after = Carried(trace, sight, state.at + len(tangent), grown, gamma * lmbda)
        slope = -g_of.weights[1]  # optimisers descend
        found = under("predictor", {name: slope * value for name, value in met.items()}) | aside
        info = {"td_error": delta.square().mean()}
        if self._models:
            more, error = step_model.gradient(own["model"], h, tangent.stretch.given)
            found |= under("model", more)
            info["model_error"] = error.square().mean()

        future = self.injection * g[1:]
        if self.gives == "output":
            return outputs.credit(layout, tangent, direct, future), found, after, info
        return self._for_currents(observed, layout, q + future, future, direct.u), found, after, info

    def _for_currents(
        self, observed: Observed, layout: Layout, total: Tensor, future: Tensor, inner: Inner
    ) -> Currents:
        """(4), half a step back."""
        tangent = observed.tangent
        credit = layout.credit(total)._replace(u=tuple(inner))
        steps_u, _ = to_u(observed.network, tangent.transposes, tangent.varying, credit)
        if self.published:
            steps_u = published.without_partial(layout, tangent, steps_u, future)
        each = zip(tangent.transposes, tangent.varying, steps_u, strict=True)
        return tuple(step.currents(P, u) for step, P, u in each)


__all__ = ["BPLambda", "Carried"]

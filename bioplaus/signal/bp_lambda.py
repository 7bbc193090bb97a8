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

Differs from the authors' released code in its LSTM mode: the full Jacobian (their output-gate path is missing) and the
immediate loss counted once. ``published=True`` does as they do (signal/published.py).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from bioplaus import checks
from bioplaus.cerebellum.nuclei import Nuclei
from bioplaus.cerebellum.predictors import PREDICTOR, Predictor
from bioplaus.circuit.carried import Layout
from bioplaus.circuit.linear import Credit, to_u
from bioplaus.circuit.network import Network
from bioplaus.declaration import Declaration
from bioplaus.errors import RuleError
from bioplaus.signal import jacobians, outputs, published, step_model
from bioplaus.signal.dni import which
from bioplaus.signal.jacobians import JACOBIANS, jacobian
from bioplaus.signal.observed import Observed
from bioplaus.signal.outputs import GIVES
from bioplaus.signal.traces import TRACES, Replay, View
from bioplaus.signal.traces.afford import afford


@dataclass
class Carried:
    """What the trace hands on: for the exact one γλ J_t e_t per weight of the predictor, None at the start of a sequence."""

    trace: Any = None


@dataclass(frozen=True)
class BPLambda:
    """Credit for the state: the immediate gradient plus the predicted future.

    Parameters
    ----------
    predictor : the map g; None: the circuit's own cerebellum, or a linear one if it has none.
    lmbda : λ of the trace.
    discount : γ of the TD error and the trace.
    injection : s, how much of the prediction the circuit uses.
    context : whether the predictor also sees the task's context (for example the label).
    trace : ``"exact"``, ``"replay"``, ``"local"``, ``"kronecker"``, ``"projected"`` or ``"learned"``: how (2) is kept.
    outputs : p, for projected traces: through how many outputs the predictor speaks.
    horizon : for replay: steps that are kept; None: all.
    jacobian : ``"exact"``, ``"random"``, ``"within"`` or ``"learned"``: what stands for J in (1).
    gives : ``"state"``, to be met by the immediate eligibility, or ``"output"``, by e-prop's.
    published : do as the authors' released code does to LSTM circuits, mistakes included; for comparison.

    Raises
    ------
    RuleError
        If one of them makes no sense, or does not go with another; from ``parameters``, if the predictor does not go with the trace.
    """

    predictor: Predictor | None = None
    lmbda: float = 1.0
    discount: float = 1.0
    injection: float = 1.0
    context: bool = False
    trace: Literal["exact", "replay", "local", "kronecker", "projected", "learned"] = "exact"
    outputs: int | None = None
    horizon: int | None = None
    jacobian: Literal["exact", "random", "within", "learned"] = "exact"
    gives: Literal["state", "output"] = "state"
    published: bool = False

    #: whether it looks at the carried state itself, not only at errors
    reads_state: ClassVar[bool] = True

    declaration: ClassVar[Declaration] = Declaration(
        half="future", credit="state", bias="biased", exact_when="the predictor is exact", causal=True, local=False,
        memory="S·n·θ; T·S·n + θ as one window", time="S²·n²·θ; K·n² + θ as one window", keeps="a prediction of the future", reference="arXiv:2401.07044",
        tensor="g[z], e[zθ]", closed=False, transport=True,
    )  # fmt: skip

    constraints = checks.Table(
        RuleError,
        "of bp_lambda",
        predictor=PREDICTOR,
        lmbda=checks.Real(least=0, most=1),
        discount=checks.Real(least=0, most=1),
        injection=checks.Real(),
        context=checks.Flag(),
        trace=checks.Word(TRACES),
        outputs=checks.Optional(checks.Whole()),
        horizon=checks.Optional(checks.Whole(), "for all steps"),
        jacobian=checks.Word(JACOBIANS),
        gives=checks.Word(GIVES),
        published=checks.Flag(),
    )

    def __post_init__(self) -> None:
        checks.settle(self)
        for name, of, value in (("outputs", "projected", self.outputs), ("horizon", "replay", self.horizon)):
            if value is not None and self.trace != of:
                raise RuleError(
                    f"{name}={value} is for trace='{of}', and the trace is '{self.trace}'. Leave {name} out."
                )
        if self.trace == "projected":
            self._speak_through()
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
        affine = getattr(self.predictor, "affine", False)  # of the circuit's own cerebellum nobody knows yet
        return claims | {
            "reference": ", ".join(references),
            "local": self.trace == "local" and self.jacobian == "within" and affine,
        }

    @cached_property
    def _trace(self) -> Any:
        """A `bioplaus.signal.traces.Trace`."""
        if self.published:
            return published.Trace()
        return Replay(self.horizon) if self.trace == "replay" else TRACES[self.trace]()

    def refuse(self, network: Network, steps: int | None) -> str | None:
        if reason := self._trace.refuse(which(self.predictor, network)):
            return reason
        if self.published and (reason := published.refuse(network)):
            return reason
        return outputs.refuse(network) if self.gives == "output" else None

    def fits(self, network: Network, theta: dict[str, Tensor], batch: int) -> None:
        """Refuse a batch whose trace, carried from window to window, this machine's memory cannot hold.

        Raises
        ------
        RuleError
        """
        layout, learned = Layout(network), (w for n, w in theta.items() if not n.startswith(("fixed_", "model_")))
        weights = sum(w.numel() for w in learned)
        floats = self._trace.floats(which(self.predictor, network), layout, weights, self.outputs or layout.size)
        afford(layout, layout.size, batch, floats, weights)

    def parameters(self, network: Network, generator: torch.Generator, context: int) -> dict[str, Tensor]:
        size, g_of = Layout(network).size, which(self.predictor, network)
        if reason := self._trace.refuse(g_of):
            raise RuleError(f"This predictor does not go with the trace: {reason}.")
        theta = g_of.init(size + (context if self.context else 0), size, generator, network.dtype, network.device)
        if self.jacobian == "random":
            theta |= jacobians.parameters(network, generator)
        if self._models:
            theta |= step_model.parameters(size, network.circuit.inputs, network.dtype, network.device)
        return theta

    @property
    def _models(self) -> bool:
        """Whether a model of the circuit's step is learned."""
        return "learned" in (self.trace, self.jacobian)

    def init(self, network: Network, batch: int, generator: torch.Generator | None = None) -> Carried:
        return Carried(self._trace.start(generator))

    def credit(
        self, theta: dict[str, Tensor], state: Carried, observed: Observed
    ) -> tuple[Credit | tuple[Tensor | None, ...], dict[str, Tensor], Carried, dict[str, Any]]:
        network, linear = observed.network, observed.linear
        layout, g_of = Layout(network), which(self.predictor, network)
        h = layout.vectors(linear.window)
        seen = observed.with_context(h) if self.context else h
        g = g_of.predict(theta, seen)
        if observed.final:
            g[-1] = 0.0
        direct = observed.direct()
        q = layout.flat(direct, h[1:])
        J = published.Released(network) if self.published else jacobian(self.jacobian, network, theta)
        arriving = published.doubled(layout, linear, q) if self.published else q
        delta = J.back(linear, arriving + self.discount * g[1:]) - g[:-1]  # (1)
        if self.trace == "projected":
            delta = delta @ theta["fixed_V"]

        inside = g_of.inner if self.trace == "projected" and isinstance(g_of, Nuclei) else g_of
        view = View(inside, theta, seen, linear, layout, self.discount * self.lmbda, observed.final)
        found, trace = self._trace.update(view, state.trace, delta)
        own = {name: -value for name, value in found.items()}  # optimisers descend
        info = {"td_error": float(delta.square().mean())}
        if self._models:
            more, error = step_model.gradient(theta, h, linear.window.x)
            own |= more
            info["model_error"] = float(error.square().mean())

        future = self.injection * g[1:]
        if self.gives == "output":
            return outputs.credit(layout, direct, future), own, Carried(trace), info
        steps_u, _ = to_u(network, linear.transposes, linear.varying, layout.credit(q + future))  # (4)
        if self.published:
            steps_u = published.without_partial(layout, linear, steps_u, future)
        a_I = tuple(step.currents(P, u) for step, P, u in zip(linear.transposes, linear.varying, steps_u, strict=True))
        return a_I, own, Carried(trace), info


__all__ = ["BPLambda", "Carried"]

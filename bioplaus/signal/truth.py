"""What a predictor should say: the true gradient of the future loss, by a reverse sweep over a whole sequence; to measure with.

v_t = dL_{>t}/dh_t = (q_{t+1} + v_{t+1}) J_{t+1},     v_T = 0
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch

from bioplaus.cerebellum.predictors import Predictor, Seen
from bioplaus.circuit.carried import Layout
from bioplaus.circuit.credit import add, at, silent
from bioplaus.circuit.network import Network
from bioplaus.circuit.sweep import to_h, to_u
from bioplaus.circuit.tangent import Tangent
from bioplaus.circuit.trajectory import Stretch, roll
from bioplaus.errors import RuleError
from bioplaus.own import Gradients, Own, Owns
from bioplaus.signal.bp_lambda import BPLambda
from bioplaus.signal.observed import Observed, context_of
from bioplaus.signal.synthetic import SyntheticGradient, theta
from bioplaus.tasks import Batch, Loss

if TYPE_CHECKING:
    from torch import Tensor


def future_credit(network: Network, tangent: Tangent, observed: Observed) -> Tensor:
    """The true dL_{>t}/dh_t at every step of a whole sequence, (time, batch, size of h); zero at the last."""
    layout = Layout(network)
    direct, credit = observed.direct(), silent(network)
    like = layout.vectors(tangent.stretch)[0]
    out = []
    for t, P in reversed(list(enumerate(tangent.at_steps()))):
        out.append(layout.flat(credit, like))
        u, passed = to_u(network, tangent.transposes, P, add(credit, at(direct, t)))
        credit = to_h(network, tangent.transposes, P, u, passed)[1]
    return torch.stack(out[::-1])


def observe(network: Network, batch: Batch, loss: Loss, stretch: Stretch | None = None) -> Observed:
    """What a signal sees of a batch, as the network saw it in ``stretch`` or (None) sees it now."""
    if stretch is None:
        stretch, _ = roll(network, network.start(batch.size), batch.inputs)
    error = loss.error(network.output(stretch.seen()), batch.targets) * batch.weight[..., None]
    return Observed(network, Tangent(network, stretch), error, True, context_of(batch.context, 0, batch.steps))


def predicted_and_true(
    network: Network, signal: SyntheticGradient, own: Owns, batch: Batch, loss: Loss, stretch: Stretch | None = None
) -> tuple[Tensor, Tensor]:
    """g(h_t) and the true gradient of the future loss at steps 1 … T − 1 of a batch, (time, batch, size of h) each.

    ``stretch`` as for `observe`.
    """
    with torch.no_grad():
        observed = observe(network, batch, loss, stretch)
        tangent = observed.tangent
        seen, sight = signal.look(own, signal.sight(network), observed, Layout(network).vectors(tangent.stretch))
        g = signal.said(own, sight, observed, seen)[1:-1]
        return g, future_credit(network, tangent, observed)[:-1]


def prediction_alignment(
    network: Network, signal: SyntheticGradient, own: Owns, batch: Batch, loss: Loss, stretch: Stretch
) -> tuple[float, float, float]:
    """The same two over samples and steps: mean cosine, ratio of mean norms, and the mean norm of the true one."""
    g, true = predicted_and_true(network, signal, own, batch, loss, stretch)
    cosines = torch.nn.functional.cosine_similarity(g, true, dim=-1, eps=1e-30)
    length = true.norm(dim=-1).mean()
    return float(cosines.mean()), float(g.norm(dim=-1).mean() / length.clamp_min(1e-30)), float(length)


def area_alignment(
    network: Network, signal: SyntheticGradient, own: Owns, batch: Batch, loss: Loss, stretch: Stretch
) -> dict[str, float]:
    """Population → mean cosine of what it is told and the truth, of a predictor that speaks to each apart (else nothing).

    Over samples and steps at which the truth is not zero: in a hierarchy that a volley crosses, at each step for one area alone.
    """
    spoken = signal.of(network).spoken(theta(own))
    if not spoken:
        return {}
    g, true = predicted_and_true(network, signal, own, batch, loss, stretch)
    found = {}
    for name, places in spoken.items():
        asked = true[..., places].abs().amax(-1) > 0
        if bool(asked.any()):
            mine, truth = g[..., places][asked], true[..., places][asked]
            found[name] = float(torch.nn.functional.cosine_similarity(mine, truth, dim=-1, eps=1e-30).mean())
    return found


@dataclass(frozen=True)
class _Silent(Predictor):
    """A predictor that says nothing and hands back what it is asked to learn, step by step."""

    @property
    def affine(self) -> bool:
        return True  # as nothing of it is learned

    def init(self, seen: Seen, generator: torch.Generator) -> Own:
        return Own()

    def predict(self, theta: Own, h: Tensor) -> Tensor:
        return torch.zeros_like(h)

    def gradient(self, theta: Own, h: Tensor, u: Tensor) -> Gradients:
        return {"u": u}

    def jacobian(self, theta: Own, h: Tensor) -> Gradients:
        return {}

    def describe(self) -> dict[str, Any]:
        return {"predictor": "silent"}


def asked(network: Network, signal: BPLambda, batch: Batch, loss: Loss) -> Tensor:
    """What BP(λ) asks a predictor for that still says nothing: its target at steps 1 … T − 1, (time, batch, size of h).

    At λ = γ = 1 the target does not depend on the prediction, and is the truth, unless the rule is ``published``.

    Raises
    ------
    RuleError
        If the signal is not BP(λ) with the exact trace, which alone tells what is asked step by step.
    """
    if not isinstance(signal, BPLambda) or signal.trace != "exact":
        raise RuleError(
            f"asked() needs bp_lambda with trace='exact', and was given {signal!r}: other traces have no target at every step."
        )
    silent_one = replace(signal, predictor=_Silent())
    with torch.no_grad():
        own = silent_one.credit({}, silent_one.init(network, batch.size), observe(network, batch, loss))[1]
    return -own["predictor.u"][1:]

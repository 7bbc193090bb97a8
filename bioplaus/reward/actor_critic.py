"""Actor and critic in one circuit, taught by temporal differences through e-prop's traces (Bellec et al. 2020, doi:10.1038/s41467-020-17236-y).

The readout has an output for each action and one for the value; for every step of the environment::

    π_k = softmax(o)_k,   a ~ π,   V = o_A                                                            (1)
    g_k = 1[k = a] − π_k,   g_A = c_V                      what would raise log π(a) and c_V V        (2)
    z ← γλ z + (Σ_k B_kj g_k) e_ji                         eligibility of policy and value            (3)
    δ = r + γ V′ − V                                       V′ = 0 where the episode ends              (4)
    ΔW_ji = η Σ_t δ z_ji                                                                              (5)

B are the rule's feedback weights, e its traces; the readout's own z meets what it reads. With λ = 0 reward reaches back by the critic's predictions
alone; ``traces=False`` leaves e what this very step did, so that nothing before it is remembered at the synapse.

=======  ==============  ============================================
symbol   variable        shape
=======  ==============  ============================================
g        ``push``        (batch, action + 1)
e        ``e``           (batch, channel, post, pre)
z        ``z``           the same, by projection
δ        ``delta``       (batch,)
V        ``value``       (batch,)
=======  ==============  ============================================
"""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from bioplaus.circuit.credit import Credit
from bioplaus.circuit.tangent import Tangent
from bioplaus.circuit.trajectory import roll
from bioplaus.errors import NumericalError, RuleError, TaskError
from bioplaus.learning.fit import in_time
from bioplaus.learning.optimisers import Optimisers
from bioplaus.learning.saved import FORMAT, own_of
from bioplaus.own import Owns, mapped, tensors
from bioplaus.reward.episodes import Episodes
from bioplaus.settings import ours
from bioplaus.signal import Instant, Observed
from bioplaus.simulate import simulate
from bioplaus.streams import stream
from bioplaus.tasks import Batch

if TYPE_CHECKING:
    import xarray
    from torch import Tensor

    from bioplaus.circuit.network import Network
    from bioplaus.reward.agent import Agent


class ActorCritic:
    """What learns from episodes; a `bioplaus.runs.learner.Learner`. An update is a batch of whole episodes."""

    @ours()
    def __init__(self, agent: Agent, seed: int) -> None:
        self.agent, self.seed, t = agent, seed, agent.training
        self.dtype = getattr(torch, t.dtype)
        self.network: Network = agent.circuit.build(seed=seed, dtype=self.dtype, device=t.device)
        if agent.initial is not None:
            self.network.load(agent.initial)
        self.episodes = Episodes(agent.task, t.batch)
        self._fits()
        in_time(agent.circuit, t)
        self.own: Owns = agent.rule.begin(self.network, self._nothing(), seed)
        self.optimisers = Optimisers(self.network, self.own, t.at(agent.circuit.dt), seed)
        self.update_index, self.seconds = 0, 0.0

    def _fits(self) -> None:
        """Refuse a circuit that does not see what there is to see or cannot act, and a rule whose gradient is no product.

        Raises
        ------
        TaskError, RuleError
        """
        circuit, rule = self.agent.circuit, self.agent.rule
        seen, actions = self.episodes.size, self.episodes.actions
        if circuit.inputs != seen or circuit.readout.size != actions + 1:
            raise TaskError(
                f"The environment shows {seen} numbers and takes {actions} actions; the circuit has {circuit.inputs} inputs and {circuit.readout.size} outputs. "
                f"Build it with inputs={seen}, outputs={actions + 1}: one for each action, and the last for the value."
            )
        rule.refuse(self.network)
        signal = rule.signal
        if (
            not rule.eligibility.by_synapse
            or rule.past.credit == "state"
            or not isinstance(signal, Instant)
            or signal.feedback in ("reward", "adaptive")
        ):
            raise RuleError(
                f"An actor–critic learns by a trace at each synapse and feedback that stays: bp.rule('eprop') or bp.rule('rflo'), feedback='symmetric', 'random' or "
                f"'broadcast'; this is '{rule.name}'."
            )

    def _nothing(self) -> Batch:
        x = torch.zeros(1, self.episodes.batch, self.agent.circuit.inputs, dtype=self.dtype)
        o = torch.zeros(1, self.episodes.batch, self.agent.circuit.readout.size, dtype=self.dtype)
        return Batch(x, o, torch.ones(1, self.episodes.batch, dtype=self.dtype))

    @property
    def size(self) -> int:
        """Number of the circuit's weights."""
        return sum(weight.numel() for weight in self.network.weights.values())

    @ours()
    def update(self) -> dict[str, float]:
        """A batch of episodes, and one step of the optimiser; the loss is the mean of δ², the score the mean return.

        Raises
        ------
        NumericalError
            If a gradient is not finite.
        """
        began, u = time.process_time(), self.update_index
        with torch.no_grad():
            gradients, row, _ = self.live(f"update {u}", learn=True)
            try:
                self.optimisers.step(gradients, {}, lambda *_: float("nan"))
            except NumericalError as where:
                raise NumericalError(
                    f"The gradient of update {u + 1} is not finite ({where}): lower the learning rate or set clip=1.0."
                ) from None
            self.network.constrain()
            self.optimisers.advance()
        self.update_index += 1
        self.seconds += time.process_time() - began
        return {"update": u + 1, **row, "seconds": self.seconds}

    @ours()
    def evaluate(self) -> dict[str, float]:
        """Mean return of a batch of episodes that nobody learns from, the likeliest action taken at each step."""
        with torch.no_grad():
            _, row, _ = self.live("test", learn=False)
        return {"test_loss": row["loss"], "test_score": row["score"]}

    def live(self, occasion: str, learn: bool) -> tuple[dict[str, Tensor], dict[str, float], Tensor]:
        """A batch of episodes from their beginnings: gradients to descend (means over the batch), measurements, and what was seen."""
        agent, A = self.agent, self.episodes.actions
        body, draws = _Body(self, occasion), stream(self.seed, f"actions of {occasion}")
        credits = _Credits(self, body, learn)
        x, alive = self.episodes.reset(self.seed, occasion), np.ones(self.episodes.batch, bool)
        acted, value, reward, returns, errors = alive, None, 0.0 * alive, 0.0 * alive, []
        while True:
            o = body.see(x, learn)
            now = o[:, A]
            if value is not None:  # what the step before has led to
                delta = self._like(acted) * (
                    self._like(reward) + agent.discount * self._like(alive) * now - value
                )  # (4)
                errors.append(float(delta.square().mean()))
                credits.pay(delta)
            if not alive.any():
                break
            pi = torch.softmax(o[:, :A], -1)
            a = torch.multinomial(pi, 1, generator=draws)[:, 0] if learn else pi.argmax(-1)  # (1)
            credits.remember(pi, a, self._like(alive))
            acted, value = alive, now
            x, reward, over = self.episodes.step(a.cpu().numpy(), alive)
            returns, alive = returns + reward, alive & ~over
        row = {"score": float(returns.mean()), "loss": sum(errors) / len(errors), "rate": body.rate}
        means = {name: g / self.episodes.batch for name, g in self.network.fitted(credits.total).items()}
        return means, row, torch.cat(body.seen)

    def _like(self, values: np.ndarray) -> Tensor:
        return torch.as_tensor(values, dtype=self.dtype, device=self.network.device)

    def record(self, names: Any = ("spikes", "rate", "v")) -> xarray.Dataset:
        """The circuit along the episodes of a test, with what it saw as input."""
        with torch.no_grad():
            _, _, seen = self.live("test", learn=False)
        return simulate(self.network, seen, names, seed=self.seed, lenient=True)

    def state_dict(self) -> dict[str, Any]:
        """All that later updates depend on; episodes are drawn by the number of the update."""
        return {
            "format": FORMAT,
            "weights": {n: w.clone() for n, w in self.network.weights.items()},
            "masks": {n: m.clone() for n, m in self.network.masks.items()},
            "synapses": {n: s.state() for n, s in self.network.synapses.items()},
            "own": {part: asdict(own) for part, own in mapped(torch.Tensor.clone, self.own).items()},
            **self.optimisers.state_dict(),
            "update": self.update_index,
            "seconds": self.seconds,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a `state_dict` of the same agent and seed."""
        for held, kept in ((self.network.weights, state["weights"]), (tensors(self.own), tensors(own_of(state)))):
            for name, tensor in kept.items():
                held[name].copy_(tensor)
        self.optimisers.load_state_dict(state, lambda path, value: value)
        self.update_index, self.seconds = state["update"], state["seconds"]


class _Body:
    """The circuit along a batch of episodes, with the traces at its synapses."""

    def __init__(self, learner: ActorCritic, occasion: str) -> None:
        self.learner, self.occasion, self.network = learner, occasion, learner.network
        self.past = learner.agent.rule.eligibility
        self.batch, self.noise = learner.episodes.batch, stream(learner.seed, f"noise of {occasion}")
        self.state = self.network.start(self.batch)
        self.trace, self.tangent = self._fresh(), None
        self.seen: list[Tensor] = []
        self._said, self._steps = 0.0, 0

    def _fresh(self) -> Any:
        return self.past.init(self.network, self.batch, self.learner.own, self.noise)

    def see(self, x: np.ndarray, learn: bool) -> Tensor:
        """What the readout says to what is seen, held for some steps: (batch, action + 1)."""
        network, agent = self.network, self.learner.agent
        given = self.learner._like(x).expand(agent.hold, self.batch, -1)
        self.seen.append(given)
        given = network.draw(given, self.learner.seed, self.occasion, self._steps)
        for h in range(agent.hold):
            stretch, self.state = roll(network, self.state, given[h : h + 1])
            if learn:
                self.tangent = Tangent(network, stretch)
                self.trace = self.past.step(self.trace if agent.traces else self._fresh(), self.tangent)
            self._said += float(sum(stretch.spikes(p).mean() for p in range(len(network.populations))))
            self._steps += 1
        return stretch.output()[0]  # pyright: ignore[reportPossiblyUnboundVariable]  # hold is 1 or more

    @property
    def rate(self) -> float:
        """Mean output of a neuron in a step, or spikes a second."""
        spiking = [p.cell.spiking for p in self.network.circuit.populations.values()]
        mean = self._said / self._steps / len(self.network.populations)
        return mean / self.network.circuit.dt if all(spiking) else mean


class _Credits:
    """z of all that learns, and what rewards have made of it so far, as gradients to descend, Σ over the batch."""

    def __init__(self, learner: ActorCritic, body: _Body, learn: bool) -> None:
        self.learner, self.body, self.learn, self.network = learner, body, learn, learner.network
        self.signal = learner.agent.rule.signal
        self.memory = self.signal.init(self.network, learner.episodes.batch, body.noise)
        self.z: dict[str, Tensor] = {}
        self.total = {name: torch.zeros_like(w) for name, w in self.network.parameters().items()}

    def remember(self, pi: Tensor, a: Tensor, alive: Tensor) -> None:
        """(2) and (3); and the entropy of policies, which no reward need confirm."""
        if not self.learn:
            return
        agent = self.learner.agent
        value = torch.full((len(pi), 1), agent.value, dtype=pi.dtype, device=pi.device)
        push = torch.cat([torch.nn.functional.one_hot(a, pi.shape[1]) - pi, value], 1)
        for name, now in self._met(push).items():
            z = self.z.get(name)
            self.z[name] = now if z is None else z.mul_(agent.discount * agent.lmbda).add_(now)
        if agent.entropy:
            log = pi.clamp_min(1e-12).log()
            lively = -pi * (log - (pi * log).sum(-1, keepdim=True))  # ∂H/∂o
            self._add(self._met(torch.cat([lively, 0 * value], 1)), agent.entropy * alive)

    def pay(self, delta: Tensor) -> None:
        """(5)."""
        if self.learn:
            self._add(self.z, delta)

    def _add(self, z: dict[str, Tensor], factor: Tensor) -> None:
        for name, each in z.items():
            self.total[name] -= torch.tensordot(factor, each, 1).reshape(self.total[name].shape)

    def _met(self, push: Tensor) -> dict[str, Tensor]:
        """What raises push · o, by way of the feedback and the traces: (batch, …) of every weight that learns."""
        network, tangent = self.network, self.body.tangent
        assert tangent is not None
        observed = Observed(network, tangent, push[None], False)
        credit, _, self.memory, _ = self.signal.credit(self.learner.own, self.memory, observed)
        assert isinstance(credit, Credit)
        met: dict[str, Tensor] = {"W_out": push[:, :, None] * tangent.stretch.seen()[0][:, None]}
        if "b_out" in network.weights:
            met["b_out"] = push
        for w in network.learned:
            e, bar = self.body.past.at_synapses(network, self.body.trace, tangent, w)
            c = credit.filtered[w.target] if network.kappa else credit.y[w.target][0]
            if c is not None:
                wide = c[0][:, None, :, None] if w.synapses is None else c[0][:, None, w.synapses.post]
                met[w.spec.name] = wide * (e if bar is None else bar)
        return met

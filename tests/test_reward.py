"""Learning from rewards: the environment, the gradient against autograd, learning, resuming."""

import sys
import warnings
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env

import bioplaus as bp
from bioplaus.errors import RuleError, RunError, TaskError
from bioplaus.reward import Agent, DelayedCue, Environment
from bioplaus.reward.episodes import Episodes
from bioplaus.runs import run_experiment

f64 = torch.float64


def circuit(**more):
    options: dict = dict(cell="leaky_rate", inputs=3, units=12, outputs=3, tau_out=None)
    return bp.circuit("recurrent", **options | more)


def agent(task: Any = None, rule: Any = "eprop", **more: Any) -> Agent:
    task = partial(DelayedCue, delay=3) if task is None else task
    training = bp.Training(**dict(updates=5, batch=6, lr=3e-3, dtype="float64") | more.pop("training", {}))
    return Agent(more.pop("circuit", None) or circuit(), task, rule, training, **more)


@pytest.mark.parametrize("options", [{}, dict(cue=1, delay=0, wait=0)])
def test_gymnasiums_checker_passes(options):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(DelayedCue(**options), skip_render_check=True)


def test_the_cue_is_rewarded_late():
    env = DelayedCue(cue=2, delay=3, wait=4)
    sides = set()
    for seed in range(6):
        x, info = env.reset(seed=seed)
        side, seen, rewards, over = info["side"], [x], [], False
        while not over:
            action = side if len(rewards) == 5 else 1 - side  # right at go alone
            x, reward, over, _, _ = env.step(action)
            seen.append(x)
            rewards.append(reward)
        assert rewards == [0.0] * 9 + [1.0] and env.steps == 10
        cue, go = np.eye(3)[side], np.eye(3)[2]
        assert (np.array(seen[:7]) == [cue, cue, 0 * cue, 0 * cue, 0 * cue, go, 0 * cue]).all()
        sides.add(side)
    assert sides == {0, 1}


class Straight(torch.nn.Module):
    """The same circuit, autograd, and the objective whose gradient actor and critic follow, δ held: −Σ_t δ_t Σ_{s ≤ t} (γλ)^{t − s} (log π(a_s) + c V_s)."""

    def __init__(self, network):
        super().__init__()
        self.W = torch.nn.ParameterDict({n: torch.nn.Parameter(w.clone()) for n, w in network.weights.items()})

    def forward(self, xs, decay):
        W, h = self.W, torch.zeros(xs.shape[1], self.W["W_rec"].shape[0], dtype=f64)
        y, out = torch.tanh(h), []
        for x in xs:
            bias = W["b"] if "b" in W else 0
            h = decay * h + (1 - decay) * (
                x @ W["W_in"].T + y.detach() @ W["W_rec"].T + bias
            )  # e-prop: nothing goes through others
            y = torch.tanh(h)
            out.append(y @ W["W_out"].T + W["b_out"])
        return torch.stack(out)


@pytest.mark.parametrize("lmbda, traces", [(0.8, True), (0.0, True), (0.8, False)])
def test_the_gradient_is_autograds(lmbda, traces):
    """Along the episodes that the learner has lived, with its actions and rewards."""
    a = agent(lmbda=lmbda, discount=0.9, value=0.7, traces=traces)
    learner = a.begin(1)
    lived: dict = {"x": [], "a": [], "r": []}
    step, reset = learner.episodes.step, learner.episodes.reset

    def first(*given):
        lived["x"].append(reset(*given))
        return lived["x"][-1]

    def watched(actions, alive):
        x, r, over = step(actions, alive)
        lived["x"].append(x)
        lived["a"].append(actions.copy())
        lived["r"].append(r)
        return x, r, over

    learner.episodes.reset, learner.episodes.step = first, watched  # type: ignore[method-assign]
    with torch.no_grad():
        found, row, seen = learner.live("update 0", learn=True)
    xs, acts, r = (np.array(lived[k]) for k in ("x", "a", "r"))
    assert seen.shape == (len(r) + 1, 6, 3) and abs(row["score"]) <= 1
    net = Straight(learner.network)
    x = torch.as_tensor(xs, dtype=f64)
    trial, _ = bp.simulate(learner.network, seen, ("rate",), return_state=True)
    decay = _decay(learner.network)
    o = net(x, decay) if traces else _forgetful(net, x, decay)
    assert np.abs(o.detach().numpy() - trial.output.values).max() < 1e-12
    T, V = len(r), o[..., 2]
    logp = torch.log_softmax(o[:T, :, :2], -1).gather(-1, torch.as_tensor(acts)[..., None].long())[..., 0]
    future = torch.cat([V[1:T], torch.zeros(1, 6, dtype=f64)])
    delta = (torch.as_tensor(r) + 0.9 * future - V[:T]).detach()
    total = torch.zeros((), dtype=f64)
    for t in range(T):
        for s in range(t + 1):
            total = total - (delta[t] * (0.9 * lmbda) ** (t - s) * (logp[s] + 0.7 * V[s])).sum() / 6
    total.backward()
    for name, g in found.items():
        true = net.W[name].grad
        assert true is not None and (name == "b" or true.abs().max() > 1e-6), name
        assert (g - true).abs().max() < 1e-12, name
    assert abs(row["loss"] - float(delta.square().mean())) < 1e-12


def _decay(network):
    """Of the leaky unit, from what it does by itself."""
    part = network.circuit.populations[network.populations[0].name].cell
    tau = part.parameters["tau"]
    return float(np.exp(-network.circuit.dt / float(tau)))


def _forgetful(net, xs, decay):
    """The same trajectory, but nothing of earlier steps is kept in a derivative."""
    W, h = net.W, torch.zeros(xs.shape[1], net.W["W_rec"].shape[0], dtype=f64)
    y, out = torch.tanh(h), []
    for x in xs:
        bias = W["b"] if "b" in W else 0
        h = decay * h.detach() + (1 - decay) * (x @ W["W_in"].T + y.detach() @ W["W_rec"].T + bias)
        y = torch.tanh(h)
        out.append(y @ W["W_out"].T + W["b_out"])
    return torch.stack(out)


def test_an_agent_learns_in_a_minute_of_its_life():
    learner = Agent(
        circuit(units=20),
        partial(DelayedCue, delay=1, wait=1),
        bp.rule("eprop"),
        bp.Training(updates=40, batch=16, lr=1e-2),
    ).begin(0)
    scores = [learner.update()["score"] for _ in range(40)]
    assert np.mean(scores[:5]) < 0.3 and np.mean(scores[-5:]) > 0.6


@pytest.mark.slow
def test_an_agent_learns_and_does_not_without_traces():
    """Both of one seed; the experiment pairs more."""
    scores = {}
    for name, lmbda in (("traces", 0.9), ("none", 0.0)):
        learner = Agent(
            circuit(units=20), "delayed_cue", bp.rule("eprop"), bp.Training(updates=110, batch=16, lr=5e-3), lmbda=lmbda
        ).begin(0)
        scores[name] = np.mean([learner.update()["score"] for _ in range(110)][-20:])
    assert scores["traces"] > 0.8 > 0.4 > scores["none"]


def test_a_run_goes_on_bit_for_bit(tmp_path):
    a = agent(
        circuit=circuit(cell="alif", input_gain=15.0, tau_out=20 * bp.ms),
        hold=3,
        rule=bp.rule("eprop", feedback="random"),
        entropy=0.01,
    )
    whole, first = a.begin(3), a.begin(3)
    rows = [whole.update() for _ in range(5)]
    assert 1 < rows[-1]["rate"] < 300  # Hz
    for _ in range(2):
        first.update()
    torch.save(first.state_dict(), tmp_path / "state.pt")
    then = a.begin(3)
    then.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    for row in rows[2:]:
        assert {k: v for k, v in then.update().items() if k != "seconds"} == {
            k: v for k, v in row.items() if k != "seconds"
        }
    assert all(torch.equal(then.network.weights[n], w) for n, w in whole.network.weights.items())


def test_it_is_an_arm_of_an_experiment(tmp_path):
    experiment = bp.Experiment(
        "rewards", {"with": agent(training=dict(updates=2)), "without": agent(lmbda=0.0, training=dict(updates=2))}
    )
    results = run_experiment(experiment, "rewards", root=tmp_path)
    assert len(results["with"][0].metrics) == 2 and results["with"][0].recordings.rate.shape[1] == 6
    again = results["without"][0].network
    last = results["without"][0].weights["W_rec"]
    assert torch.equal(again.weights["W_rec"], last) and not torch.equal(last, results["with"][0].weights["W_rec"])


def test_it_begins_with_weights_that_are_given():
    first = agent().begin(0)
    first.update()
    then = agent(initial=first.network.weights).begin(5)
    assert all(torch.equal(then.network.weights[n], w) for n, w in first.network.weights.items())


def test_without_gymnasium_it_is_said_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "gymnasium", None)
    with pytest.raises(TaskError, match="pip install gymnasium"):
        agent(task="CartPole-v1")
    with pytest.raises(TaskError, match="pip install gymnasium"):
        agent().begin(0)


def test_any_environment_with_discrete_actions():
    env = Episodes(Environment("CartPole-v1"), 3)
    assert (env.size, env.actions) == (4, 2)
    x = env.reset(0, "here")
    assert x.shape == (3, 4) and (env.reset(0, "here") == x).all() and (env.reset(0, "there") != x).any()
    alive = np.ones(3, bool)
    for _ in range(200):
        _, reward, over = env.step(np.ones(3, int), alive)
        assert (reward == alive).all()
        alive &= ~over
    assert not alive.any()
    learner = Agent(
        circuit(inputs=4, outputs=3), "CartPole-v1", bp.rule("eprop"), bp.Training(updates=1, batch=2)
    ).begin(0)
    assert learner.update()["score"] > 5
    assert Episodes(Environment("Taxi-v4"), 1).reset(0, "a").sum() == 1


@pytest.mark.parametrize(
    "make, error, said",
    [
        (lambda: agent(task="CartPol-v1"), TaskError, "knows no environment.*Did you mean 'CartPole-v1'"),
        (lambda: agent(task="delayed_que"), TaskError, "Did you mean 'delayed_cue'"),
        (lambda: agent(task=bp.reward.DelayedCue()), TaskError, "made already.*lambda: DelayedCue"),
        (lambda: agent(task=3), TaskError, "a Gymnasium environment"),
        (lambda: agent(task="Pendulum-v1").begin(0), TaskError, "Discrete space"),
        (lambda: agent(task=dict).begin(0), TaskError, "a Gymnasium environment"),
        (lambda: agent(circuit=circuit(outputs=2)).begin(0), TaskError, "outputs=3"),
        (lambda: agent(rule="bptt").begin(0), RuleError, "'eprop'"),
        (lambda: agent(rule="rtrl").begin(0), RuleError, "'eprop'"),
        (lambda: agent(rule=bp.rule("eprop", feedback="adaptive")).begin(0), RuleError, "feedback that stays"),
        (lambda: agent(training=dict(rate_strength=1.0)), RunError, "rate_strength=1.0"),
        (lambda: agent(lmbda=1.5), RunError, "lmbda"),
        (lambda: agent(hold=0), RunError, "hold"),
        (lambda: agent(phases=[bp.Phase(2)]), RunError, "one phase"),
        (lambda: agent(training=dict(backend="numba")), RunError, "backend='numba'"),
        (lambda: agent(training=dict(threads=2)), RunError, "threads=2"),
        (lambda: agent(training=dict(perturb=bp.Perturb("cortex", "silence"))), RunError, "perturb="),
        (lambda: DelayedCue(cue=0), TaskError, "cue"),
        (lambda: DelayedCue(delay=-1), TaskError, "delay"),
    ],
)
def test_what_does_not_fit_is_refused(make, error, said):
    with pytest.raises(error, match=said):
        make()

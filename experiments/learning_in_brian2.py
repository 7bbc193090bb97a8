"""The same circuits learn the same trials twice, in torch and inside Brian2; then those that torch has trained go on learning in Brian2.

e-prop with random feedback (Bellec et al. 2020, doi:10.1038/s41467-020-17236-y), weights moving at every step: in torch by the online rule, in
Brian2 by synapses with equations of their own. A trial's spikes decide what the next one's weights are, so that a difference of one spike would
stay, and grow.
"""

from dataclasses import dataclass, replace
from functools import cache, partial

import numpy as np
import pandas

import bioplaus as bp
from bioplaus import Arm, Experiment, Training


@dataclass(frozen=True)
class Config:
    units: int = 50  # ALIF neurons, all to all
    tau: float = 20.0  # ms, membranes and readout
    tau_a: float = 200.0  # ms, adaptation
    beta: float = 0.1  # by how much a spike raises the threshold, in units of weight
    input_gain: float = 6.0  # of input weights N(0, gain²/n)
    lr: float = 2e-3  # of all weights, at every step
    updates: int = 60  # trials, one after the other
    onward: int = 20  # more of them, of circuits that torch has trained
    seeds: tuple[int, ...] = (0, 1, 2)  # each draws weights, feedback and trials anew


TORCH, BRIAN = "torch", "Brian2"


def learning_in_brian2(config: Config = Config()) -> Experiment:
    """e-prop online in torch and as synapses of Brian2: weights, scores, and learning that goes on in the other."""
    task = bp.task("sine_wave")
    cell = bp.model("alif", beta=config.beta, tau_m=config.tau * bp.ms, tau_a=config.tau_a * bp.ms)
    ends = {"inputs": task.inputs, "outputs": task.outputs, "tau_out": config.tau * bp.ms}
    circuit = bp.circuit("recurrent", cell=cell, units=config.units, input_gain=config.input_gain, **ends)
    plain = {"batch": 1, "optimiser": "sgd", "apply": "window", "dtype": "float64"}
    training = Training(updates=config.updates, lr=config.lr, backend="torch", **plain)
    rule = bp.rule("eprop", feedback="random", schedule="online")
    trainings = {TORCH: training, BRIAN: replace(training, backend="brian2")}
    seen = cache(partial(onward, config))
    return Experiment(
        title="Learning in Brian2: weights that move at every step, in two simulators",
        arms={label: Arm(circuit, task, rule, each) for label, each in trainings.items()},
        seeds=config.seeds,
        table=partial(table, config, seen),
        by_seed=partial(by_seed, config, seen),
        figures={"summary": partial(summary, seen)},
        expected="losses that fall by half, to about those of a circuit that says nothing; weights of both within 1e-12 after every trial, also of circuits that go on in the other",
        references=("doi:10.1038/s41467-020-17236-y",),
    )


def onward(config: Config, run) -> dict[str, tuple[list[float], dict]]:
    """Losses and weights of a trained circuit that learns on, by where it does."""
    found = {}
    arm = learning_in_brian2(config).arms[run.label]
    for name, backend in ((TORCH, "torch"), (BRIAN, "brian2")):
        training = replace(arm.training, updates=config.onward, backend=backend)
        learner = bp.Trainer(arm.circuit, arm.task, arm.rule, training, run.seed + 1000, initial=run.network.weights)
        losses = [learner.update()["loss"] for _ in range(config.onward)]
        found[name] = losses, {n: W.numpy().copy() for n, W in learner.network.weights.items()}
    return found


def apart(one, other) -> float:
    """The largest difference between weights by name."""
    return max(float(np.abs(np.asarray(one[name]) - np.asarray(other[name])).max()) for name in one)


def by_seed(config, seen, results):
    """A row for each circuit: its losses, and how far its weights are from the other simulator's in the end."""
    rows = []
    for torch, brian in zip(results[TORCH], results[BRIAN], strict=True):
        on, drawn = seen(torch), torch.network.circuit.build(seed=torch.seed)
        far = {"weights moved": apart(torch.network.weights, drawn.weights)}
        far["weights apart"] = apart(torch.network.weights, brian.network.weights)
        far["onward apart"] = apart(on[TORCH][1], on[BRIAN][1])
        for label, run in ((TORCH, torch), (BRIAN, brian)):
            loss = run.metrics["loss"]
            row = {"arm": label, "seed": run.seed, "first loss": loss.iloc[0], "last losses": loss.iloc[-10:].mean()}
            row |= {"test score": run.final(), "loss onward": float(np.mean(on[label][0]))}
            rows.append(row | far)
    return pandas.DataFrame(rows).sort_values("arm", ascending=False, kind="stable", ignore_index=True)


def table(config, seen, results):
    """Means over seeds, and the largest difference of weights in any."""
    rows = []
    for label, seeds in by_seed(config, seen, results).groupby("arm", sort=False):
        score = seeds["test score"]
        row = {"arm": label, "n": len(seeds), "first loss": seeds["first loss"].mean()}
        row |= {"last 10 losses": seeds["last losses"].mean(), "test score": score.mean()}
        row["test score s.e.m."] = score.std(ddof=1) / len(score) ** 0.5 if len(score) > 1 else np.nan
        row |= {"loss onward": seeds["loss onward"].mean(), "weights moved by": seeds["weights moved"].max()}
        rows.append(row | {"weights apart": seeds["weights apart"].max(), "onward apart": seeds["onward apart"].max()})
    return pandas.DataFrame(rows)


def summary(seen, results):
    """Losses of every trial, in torch (line) and in Brian2 (dots), and of circuits that torch has trained and that go on in either."""
    frames = []
    with bp.figures.Sheet(bp.figures.DOUBLE, 55) as sheet:
        ax = sheet.subplots(1, 1)
        for torch, brian in zip(results[TORCH], results[BRIAN], strict=True):
            on, n = seen(torch), len(torch.metrics)
            both = [np.r_[run.metrics["loss"], on[label][0]] for label, run in ((TORCH, torch), (BRIAN, brian))]
            trials = np.arange(1, len(both[0]) + 1)
            (line,) = ax.plot(trials, both[0], linewidth=0.6, label=f"torch, seed {torch.seed}")
            ax.plot(trials, both[1], ".", markersize=2.5, color=line.get_color(), label=f"Brian2, seed {torch.seed}")
            frames.append(pandas.DataFrame({"seed": torch.seed, "trial": trials, "torch": both[0], "Brian2": both[1]}))
            ax.axvline(n + 0.5, **bp.figures.GUIDE)
        ax.set(xlabel="Trial", ylabel="Loss", yscale="log")
        ax.legend(ncols=len(frames))
        return sheet.done(pandas.concat(frames))

"""BP(λ) in continuous time: a cerebellum's prediction of the gradient to come, as differential equations at synapses.

Part 1: predictor and trace of a rate circuit at steps of 2 to 0.25 ms, with time constants and with factors per step, in Brian2 as equations (Doya 2000)
and in the library, against a solution of the differential equations by DOP853. Part 2: cortex and cerebellum learn together in Brian2, weights
moving at every step: a cue says which way a wave goes that is asked for after it; beside it the same run without injection, e-prop alone.
"""

from dataclasses import dataclass
from functools import partial

import pandas
import torch

import bioplaus as bp
from bioplaus import Arm, Experiment, Training, ms
from bioplaus.check.limit import TAU, N, errors
from bioplaus.tasks import Batch, Task, drawn, squared


@dataclass(frozen=True)
class Config:
    steps: tuple[float, ...] = (2.0, 1.0, 0.5, 0.25)  # ms, of part 1
    units: int = 20  # leaky rate neurons of part 2, tau 10 ms
    tau_lambda: float = 20.0  # ms
    tau_gamma: float = 50.0  # ms
    lr: float = 0.01  # cortex and readout, for a loss per ms  # chosen: of 0.005, 0.01, 0.02, best for e-prop alone on seeds 100 to 109
    predictor_lr: float = 1e-3  # per ms
    batch: int = 20  # trials, one after the other
    updates: int = 32  # batches
    evaluate_every: int = 2  # batches between tests, whose weights are held
    lately: int = 4  # tests at the end whose mean is told
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)  # each draws weights, feedback and trials anew


@dataclass(frozen=True)
class Cued(Task):
    """Which of two inputs is on for 5 ms says whether the wave asked for from 35 ms on is a sine or its negative."""

    steps: int = 60  # of 1 ms
    inputs, outputs, loss, dt, name = 3, 1, squared, 1e-3, "cued"

    def batch(self, generator, size, split="train"):
        which, t = torch.randint(2, (size,), generator=generator), torch.arange(self.steps) / self.steps
        x, weight = torch.zeros(self.steps, size, 3), torch.ones(self.steps, size)
        x[:5, torch.arange(size), which], x[..., 2], weight[:35] = 2.0, 0.5, 0.0
        wave = torch.sin(2 * torch.pi * t)[:, None] * (2.0 * which - 1)
        return Batch(x, wave[..., None], weight)


class InBrian(Arm):
    """An arm whose learner learns in Brian2."""

    def begin(self, seed):
        return Learner(self.circuit, self.task, self.rule, self.training, seed)


class Learner(bp.Trainer):
    """A trainer whose batch is one Brian2 run: trials one after the other, weights moving at every step."""

    def update(self):
        from bioplaus.learning.outside import beside_predictor

        batch = drawn(self.task, self.generator, self.training.batch).to(dtype=self.dtype)
        found, theta = beside_predictor(self.network, self.rule, batch, self.training, self.own), self.own["predictor"]
        pairs = [(w, found.weights[name]) for name, w in self.network.weights.items()]
        for mine, new in [*pairs, (theta["A"], found.A), (theta["b"], found.b)]:
            mine.copy_(torch.as_tensor(new))
        self.update_index += 1
        score = self.task.score(torch.as_tensor(found.outputs), batch)
        return {"update": self.update_index, "loss": float(found.loss.mean()), "score": score}


def continuous_bp_lambda(config: Config = Config()) -> Experiment:
    """With injection and without, exact and random feedback in the predictor's error."""
    times = {"tau_lambda": config.tau_lambda * ms, "tau_gamma": config.tau_gamma * ms}
    rule = partial(bp.rule, "bp_lambda", trace="local", schedule="online", eligibility="eprop", **times)
    rates = {"lr": config.lr, "predictor_lr": config.predictor_lr / ms, "loss_per": "ms", "optimiser": "sgd"}
    times_of = {n: getattr(config, n) for n in ("batch", "updates", "evaluate_every")}
    training = Training(apply="window", dtype="float64", **times_of, **rates)
    task = Cued()
    ends = {"inputs": task.inputs, "units": config.units, "outputs": task.outputs, "gain": 1.2}
    circuit = bp.circuit("recurrent", cell=bp.model("leaky_rate", tau=10 * ms), **ends)
    rules = {f"injection {s}, {j}": rule(injection=s, jacobian=j) for j in ("exact", "random") for s in (1, 0)}
    rules.pop("injection 0, random")  # nothing of what the predictor says is heard
    return Experiment(
        title="BP(λ) in continuous time",
        arms={name: InBrian(circuit, task, r, training) for name, r in rules.items()},
        seeds=config.seeds,
        table=partial(table, config),
        by_seed=partial(seeds, config),
        figures={"limit": lambda _: limit(config), "learning": learning},
        expected="part 1: errors halve with the step (order 1), and with factors per step grow below 1 ms; part 2: see the page",
        references=("doi:10.1162/089976600300015961", "arXiv:2401.07044"),
    )


def learning(results):
    """Loss of the test set, weights held, over batches."""
    return bp.figures.learning(results.curves("test_loss"), quantity="Test loss", log=True)


def seeds(config, results):
    """By arm and seed: the loss of as many trials as lie between the last tests, while weights moved, and the mean loss of those tests, weights held."""
    rows, last = [], config.lately * config.evaluate_every
    for label, run in ((label, run) for label, runs in results.items() for run in runs):
        test = run.metrics["test_loss"].dropna().iloc[-config.lately :].mean()
        loss = run.metrics["loss"].iloc[-last:].mean()
        rows.append({"arm": label, "seed": run.seed, "loss": loss, "test loss": test})
    return pandas.DataFrame(rows)


def table(config, results):
    """Both losses, and every arm against the one without injection, seed by seed."""
    rows, by = results.table(()), seeds(config, results)
    for column in ("test loss", "loss"):
        each = by.pivot(index="seed", columns="arm", values=column)
        rows.insert(2, f"{column}: this − injection 0", [against(each, label) for label in rows["arm"]])
        rows.insert(2, f"{column} s.e.m.", [each[label].sem() for label in rows["arm"]])
        rows.insert(2, column, [each[label].mean() for label in rows["arm"]])
    return rows


def against(by, label, other="injection 0, exact"):
    if other not in by or label == other or not len(both := by[[label, other]].dropna()):
        return "–"
    return str(bp.analysis.paired(both[label], both[other]))


def small(dt):
    """The circuit of part 1 at a step."""
    ends = {"inputs": 2, "units": N, "outputs": 2, "bias": False, "output_bias": False}
    return bp.circuit("recurrent", cell=bp.model("leaky_rate", tau=TAU * ms), dt=dt * ms, **ends)


def limit(config):
    """Error of what the predictor has learned after 100 ms, against the step."""
    frame = pandas.DataFrame(errors(config.steps, small))
    with bp.figures.Sheet(bp.figures.SINGLE, 60) as sheet:
        ax = sheet.subplots()
        pens = bp.figures.pens(list(frame)[1:])
        for name, pen in pens.items():
            ax.plot(frame["step (ms)"], frame[name], marker=".", color=pen.colour, linestyle=pen.line)
        ax.set(xscale="log", yscale="log", xlabel="Step (ms)", ylabel="Largest error of a weight (a.u.)")
        ax.set_xticks(frame["step (ms)"], [f"{dt:g}" for dt in frame["step (ms)"]], minor=False)
        ax.set_xticks([], minor=True)
        sheet.explain(pens)
        return sheet.done(frame)

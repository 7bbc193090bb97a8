"""A slow area that learns from synthetic gradients alone, beside a fast one (Jaderberg et al. 2017, arXiv 1608.05343).

A fast area sees patterns of ±1 on several lines, each held for n steps, and has to say at every step what two of the lines were one slow period
before (or two). It remembers nothing; a slow area that moves in every n-th step does, and is too small to take all lines on. Ticks stand in
the last step of windows of n, so that all that comes of them lies beyond the window: with `dni(steps=n)` the weights onto the slow area, W_SF
and W_SS, learn from the synthetic gradient at the window's end and from nothing else; cut off there (`tbptt`) they do not learn at all.
The input's weights stay as drawn, so that what the slow area hears is a matter of its own. Beside: the same with the slow area's weights as drawn,
windows that are cut, and BPTT through both areas.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch

import bioplaus as bp
from bioplaus import Arm, Experiment, Training
from bioplaus.tasks import Batch, Task, cross_entropy


@dataclass(frozen=True)
class Config:
    periods: tuple[int, ...] = (2, 4, 8)  # n, steps from tick to tick, and of a window
    later: tuple[int, ...] = (4,)  # n, where it is asked two slow periods later
    lines: int = 12  # of which the first two are asked for
    steps: int = 24  # of a trial
    fast: int = 32  # units
    slow: int = 6  # units
    updates: int = 400  # batches of 20
    lr: float = 3e-3  # Adam, the circuit
    predictor_lr: float = 3e-3  # Adam
    evaluate_every: int = 20  # updates between tests
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)  # each draws weights and trials anew


@dataclass(frozen=True)
class Held(Task):
    """Patterns that are held for a slow period, and the clock; which of four two of the lines were is asked `lag` periods later."""

    period: int  # steps
    lag: int  # periods
    inputs: int  # lines of a pattern, and at last the clock
    steps: int  # of a trial
    outputs = 4
    loss = cross_entropy

    def __post_init__(self):
        if self.period < 1 or self.steps % self.period or self.steps <= self.lag * self.period:
            text = f"Trials of {self.steps} steps have not {self.lag + 1} or more whole slow periods of {self.period}: give other steps or periods."
            raise bp.errors.TaskError(text)
        super().__post_init__()

    def batch(self, generator, size, split="train"):
        n, lag = self.period, self.lag
        bits = torch.randint(2, (self.steps // n, size, self.inputs - 1), generator=generator)
        named = 2 * bits[..., 0] + bits[..., 1]
        weight, clock = torch.zeros(self.steps, size), torch.zeros(self.steps, size, 1)
        weight[lag * n :], clock[n - 1 :: n] = 1 / (self.steps - lag * n), 1.0
        asked = torch.cat([0 * named[:lag], named[:-lag]]).repeat_interleave(n, 0)
        return Batch(torch.cat([(2.0 * bits - 1).repeat_interleave(n, 0), clock], -1), asked, weight)


def two_rate(config: Config = Config()) -> Experiment:
    """BPTT, synthetic gradients with and without a slow area that learns, and windows that are cut, by the slow area's period."""
    training = Training(updates=config.updates, batch=20, evaluate_every=config.evaluate_every)
    still = {"default": config.lr, "predictor": config.predictor_lr, "W_in": 0.0, "b_fast": 0.0}
    cases = [(n, 1) for n in config.periods] + [(n, 2) for n in config.later]
    arms = {}
    for n, lag in cases:
        task = Held(period=n, lag=lag, inputs=config.lines + 1, steps=config.steps)
        units = config.fast, config.slow
        circuit = bp.circuit("two_rate", lateral=False, inputs=task.inputs, units=units, outputs=task.outputs)
        sg, without = bp.rule("dni", steps=n), {k: v for k, v in still.items() if k != "predictor"}
        kinds = {
            "BPTT": (bp.rule("bptt"), without),
            "SG": (sg, still),
            "SG, slow as drawn": (sg, still | {"W_SF": 0.0, "W_SS": 0.0}),
            "cut": (bp.rule("tbptt", steps=n), without),
        }
        case = f"n={n}" + (", two later" if lag == 2 else "")
        arms |= {f"{k}, {case}": Arm(circuit, task, rule, replace(training, lr=lr)) for k, (rule, lr) in kinds.items()}
    return Experiment(
        title="Two rates: a slow area that learns from synthetic gradients alone",
        arms=arms,
        seeds=config.seeds,
        table=table,
        figures={"summary": summary},
        expected="asked one period later, SG some 30 points and more above slow as drawn, 1 to 2 below BPTT with n = 2 and 4, more with 8; cut last; two periods later SG far below BPTT",
        references=("arXiv:1608.05343",),
    )


def parted(label: str) -> tuple[str, str]:
    """``"SG, slow as drawn, n=4, two later"`` → what learns how, and the case."""
    kind, _, case = label.partition(", n=")
    return kind, f"n={case}"


def ends(results) -> dict[str, dict[int, float]]:
    """Arm → seed → % of the answers that are right, mean of the last tenth of the tests."""
    pairs = {label: zip(results[label], scores, strict=True) for label, scores in results.late("test_score").items()}
    return {label: {run.seed: 100 * score for run, score in some} for label, some in pairs.items()}


def table(results):
    """Right answers at the end, against slow areas as drawn and against BPTT, seed by seed."""
    rows, found = results.table(()), ends(results)
    values = [np.array([*of.values()]) for of in found.values()]
    rows.insert(2, "right (%)", [v.mean() for v in values])
    rows.insert(3, "right s.e.m. (%)", [v.std(ddof=1) / len(v) ** 0.5 if len(v) > 1 else np.nan for v in values])
    rows.insert(4, "this − slow as drawn (points)", [against(found, label, "SG, slow as drawn") for label in found])
    rows.insert(5, "this − BPTT (points)", [against(found, label, "BPTT") for label in found])
    return rows


def against(found, label: str, other: str) -> str:
    """An arm and another of its case, in pairs."""
    kind, case = parted(label)
    theirs = found.get(f"{other}, {case}", {})
    both = [seed for seed in found[label] if seed in theirs and kind != other]
    return str(bp.analysis.paired([found[label][s] for s in both], [theirs[s] for s in both])) if both else "–"


def summary(results):
    """Right answers at the end by case, seeds in pairs; and while learning, in the last two cases."""
    found, hues, drawn = ends(results), bp.figures.OKABE_ITO, {}
    kinds, cases = (list(dict.fromkeys(parted(label)[i] for label in found)) for i in (0, 1))
    colours = dict(zip(kinds, (hues[c] for c in ("black", "blue", "sky blue", "vermillion")), strict=False))
    with bp.figures.Sheet(bp.figures.DOUBLE, 70) as sheet:
        end, first, last = sheet.subplots(1, 3, width_ratios=(1.4, 1, 1))
        for i, case in enumerate(cases):
            here = {kind: found[f"{kind}, {case}"] for kind in kinds if f"{kind}, {case}" in found}
            at = {kind: i + 0.2 * (kinds.index(kind) - 1.5) for kind in here}
            for seed in set.intersection(*map(set, here.values())):
                end.plot([*at.values()], [of[seed] for of in here.values()], color="0.8", linewidth=0.5, zorder=0)
            for kind, of in here.items():
                drawn[f"{kind}, {case}"] = np.array([*of.values()])
                end.plot([at[kind]] * len(of), [*of.values()], ".", color=colours[kind], markersize=4)
        for ax, case in zip((first, last), cases[-2:], strict=False):
            for label, (updates, values) in results.curves("test_score").items():
                if parted(label)[1] == case:
                    ax.plot(updates, 100 * values.mean(0), color=colours[parted(label)[0]])
            ax.set(xlabel="Updates (number)", ylabel=f"Answers right (%), {case}", ylim=(0, 103))
        end.set(ylabel="Answers right (%)", ylim=(0, 103), xticks=range(len(cases)), xlabel="Slow period (steps)")
        end.set_xticklabels([case.removeprefix("n=").replace(", ", "\n") for case in cases])
        for ax in (end, first, last):
            ax.axhline(25, **bp.figures.GUIDE)
        sheet.letter()
        sheet.explain({k: end.plot([], [], ".", color=c, markersize=6)[0] for k, c in colours.items()})
        return sheet.done(drawn)

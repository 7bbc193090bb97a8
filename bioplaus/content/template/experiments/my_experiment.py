"""An experiment of this study: which learners, compared over which seeds, as which table and figure."""

from dataclasses import dataclass

import bioplaus as bp
from bioplaus import Arm, Experiment, Training


@dataclass(frozen=True)
class Config:
    """What can be set from the command line, e.g. `bioplaus run my_experiment --updates 300`."""

    units: int = 100  # neurons
    steps: int = 300  # of 1 ms
    updates: int = 100
    lr: float = 3e-3  # of Adam
    seeds: tuple[int, ...] = (0, 1)


def my_experiment(config: Config = Config()) -> Experiment:
    """A spiking circuit learns to draw a sum of sines by e-prop, its errors fed back exactly or at random."""
    task = bp.task("pattern_generation", steps=config.steps)
    circuit = bp.circuit("my_circuit", inputs=task.inputs, units=config.units, outputs=task.outputs)
    training = Training(updates=config.updates, batch=1, lr=config.lr)
    rules = {f"{how} feedback": bp.rule("eprop", feedback=how) for how in ("symmetric", "random")}
    return Experiment(
        title="Pattern generation with a cell of one's own",
        arms={label: Arm(circuit, task, rule, training) for label, rule in rules.items()},
        seeds=config.seeds,
        figures={"learning": lambda results: bp.figures.learning(results.curves("loss"), log=True)},
        expected="the loss falls from about 27 to below 4 with either feedback",
    )

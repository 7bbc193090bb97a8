"""An experiment on the fly: one task, one circuit, several rules."""

from __future__ import annotations

import ast
import functools
import inspect
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from bioplaus import content
from bioplaus.errors import RuleError, RunError, cut
from bioplaus.runs.arm import Arm
from bioplaus.runs.experiment import Experiment
from bioplaus.runs.tuning import FOLDER, Choice, Tuning, number

if TYPE_CHECKING:
    import pandas
    from matplotlib.figure import Figure

    from bioplaus.circuit import Circuit
    from bioplaus.learning.training import Training
    from bioplaus.measure.memory import Cost
    from bioplaus.rules import Rule
    from bioplaus.runs.experiment import Remarks
    from bioplaus.runs.results import Results
    from bioplaus.runs.standings import Standing
    from bioplaus.tasks import Task


PREFIX = "compare-"
TIMES = {"second": 1.0, "ms": 1e-3, "us": 1e-6}
LONGEST = 500  # chosen: letters of a rule with its options, which name its runs too


@dataclass(frozen=True)
class Setting:
    """What all rules have in common."""

    circuit: str = "recurrent"
    """the circuit, by name"""
    cell: str = "lstm"
    """the model of its cells, by name"""
    units: int = 64
    """number of neurons"""
    input_gain: float = 1.0
    """strength of the input weights; choose it so that spiking circuits fire"""
    tau_out: float | None = None
    """time constant of a leaky readout, ms; none by default"""
    updates: int = 300
    """number of weight updates"""
    batch: int = 50
    """trials an update"""
    lr: float = 1e-3
    """learning rate of the cortex"""
    readout_lr: float | None = None
    """learning rate of the readout; that of the cortex by default"""
    predictor_lr: float | None = None
    """learning rate of a predictor; that of the cortex by default"""
    optimiser: str = "adam"
    """adam, sgd, adam_tf, or a class of torch.optim by name"""
    clip: float | None = None
    """largest norm of a gradient; no limit by default"""
    evaluate_every: int = 0
    """updates between two tests; 0: only at the end"""
    align_every: int = 0
    """updates between two measurements of the angle to the true gradient; 0: never"""


@dataclass(frozen=True)
class Comparison:
    """A task and rules by name, a rule perhaps with options, ``bp_lambda(lmbda=0.5)``; what they share.

    ``tuning`` says how a learning rate is searched for each rule, ``chosen`` what was found; without ``chosen`` all
    rules have the rate of the setting.
    """

    task: str
    rules: tuple[str, ...]
    setting: Setting = Setting()
    tuning: Tuning = Tuning()
    chosen: tuple[Choice, ...] = ()

    @property
    def name(self) -> str:
        """Name of the folder in which its runs lie."""
        return PREFIX + self.task

    @property
    def name_of_trials(self) -> str:
        """Name of the folder in which the runs of its search for learning rates lie."""
        return f"{self.name}/{FOLDER}"


_TRAINING = (
    "updates",
    "batch",
    "lr",
    "readout_lr",
    "predictor_lr",
    "optimiser",
    "clip",
    "evaluate_every",
    "align_every",
)


def comparison(options: Comparison) -> Experiment:
    """Make the experiment: every rule trains the same circuit, from the same weights, on the same trials.

    Parameters
    ----------
    options : Comparison
        What to compare.

    Returns
    -------
    Experiment
        With a table of scores, times and memory, remarks on it, and figures of learning and of score against time.

    Raises
    ------
    BioplausError
        The task, circuit, model or a rule is unknown, or a rule can't serve the circuit.
    """
    circuit, task, rules = _parts(options)
    training = _training(options.setting)
    found = {choice.rule: choice.rate for choice in options.chosen}
    arms = {
        label: Arm(circuit, task, rule, replace(training, lr=found.get(label, training.lr)))
        for label, rule in rules.items()
    }
    told = _Told(options, arms)
    figures = {"learning": draw_learning, "pareto": told.draw_pareto}
    return Experiment(
        title=f"{options.task}: {', '.join(options.rules)}",
        arms=arms,
        figures=figures | ({"alignment": draw_alignment} if options.setting.align_every else {}),
        table=told.table,
        remarks=told.remarks,
    )


def trials(options: Comparison) -> Experiment:
    """Make the experiment that searches a learning rate for each rule: every rule with every rate.

    Parameters
    ----------
    options : Comparison
        With a tuning that has rates; its ``chosen`` changes nothing.

    Returns
    -------
    Experiment
        With arms named by `trial`, each tested once, at its end.

    Raises
    ------
    BioplausError
        As for `comparison`.
    """
    circuit, task, rules = _parts(options)
    tuning = options.tuning
    # What is measured on the way changes nothing of what is learned, and is not wanted here.
    training = replace(
        _training(options.setting),
        updates=tuning.updates or options.setting.updates,
        evaluate_every=0,
        align_every=0,
    )
    return Experiment(
        title=f"{options.task}: a learning rate for each of {', '.join(options.rules)}",
        arms={
            trial(label, rate): Arm(circuit, task, rule, replace(training, lr=rate))
            for label, rule in rules.items()
            for rate in tuning.rates
        },
        seeds=tuning.seeds,
    )


def trial(rule: str, rate: float) -> str:
    """Label of a rule's runs with one learning rate."""
    return f"{rule} lr={number(rate)}"


def _parts(options: Comparison) -> tuple[Circuit, Task, dict[str, Rule]]:
    """Circuit, task, and the rules by the text that names them."""
    import bioplaus as bp

    parsed = [parse_rule(text) for text in options.rules]
    if not parsed:
        raise RunError("There is nothing to compare: give the names of one or more rules, such as bptt,eprop.")
    if len(set(options.rules)) < len(options.rules):
        raise RunError(f"A rule is named twice in {', '.join(options.rules)}: name each once.")
    task = bp.task(options.task)
    setting = options.setting
    circuit = bp.circuit(setting.circuit, cell=bp.model(setting.cell), **_circuit_options(setting, task))
    rules = {text: bp.rule(name, **keywords) for text, (name, keywords) in zip(options.rules, parsed, strict=True)}
    return circuit, task, rules


def _training(setting: Setting) -> Training:
    from bioplaus.learning.training import Training

    return Training(**{name: getattr(setting, name) for name in _TRAINING})


def _memory(arm: Arm) -> Cost:
    """What an arm's rule keeps; unknown (NaN) where two trials, which the measurement takes, do not fit although one did."""
    from bioplaus.errors import RuleError
    from bioplaus.measure.memory import Cost, memory

    try:
        return memory(arm.circuit, arm.task, arm.rule, dtype=arm.training.dtype, device=arm.training.device)
    except RuleError:
        return Cost(float("nan"), float("nan"), float("nan"))


class _Told:
    """What a comparison tells of its results; the memory of the rules is measured once, when it is first asked for."""

    def __init__(self, options: Comparison, arms: dict[str, Arm]):
        self.options, self.arms = options, arms
        self.task = next(iter(arms.values())).task

    @functools.cached_property
    def memory(self) -> dict[str, Cost]:
        return {label: _memory(arm) for label, arm in self.arms.items()}

    def rows(self, results: Results) -> Sequence[Standing]:
        from bioplaus.runs.standings import standings

        return standings(self.arms, results, self.memory)

    def table(self, results: Results) -> pandas.DataFrame:
        from bioplaus.runs.standings import table

        return table(self.rows(results))

    def remarks(self, results: Results) -> Remarks:
        from bioplaus.runs.remarks import remarks

        return remarks(self.rows(results), self.task, self.options.tuning, self.options.chosen)

    def draw_pareto(self, results: Results) -> Figure:
        """Score against the time of a step, beside the learning curves."""
        from bioplaus.runs.draw import pareto

        return pareto(results, self.rows(results), self.task.higher_is_better)


def _circuit_options(setting: Setting, task: Task) -> dict[str, Any]:
    """What the circuit's factory is asked for; the rest is left to its own defaults."""
    given: dict[str, Any] = {"inputs": task.inputs, "units": setting.units, "outputs": task.outputs}
    if setting.input_gain is not None:
        given["input_gain"] = setting.input_gain
    if setting.tau_out is not None:
        given["tau_out"] = 1e-3 * setting.tau_out  # s
    takes = inspect.signature(content.factory("circuit", setting.circuit)).parameters.values()
    if task.dt and any(each.name == "dt" or each.kind is each.VAR_KEYWORD for each in takes):
        given["dt"] = task.dt
    return given


def draw_learning(results: Results) -> Figure:
    """Loss and score of every rule over the updates."""
    from bioplaus.runs.draw import draw

    return draw(results, "learning")


def draw_alignment(results: Results) -> Figure:
    """Cosine between each rule's gradient and the true one over the updates."""
    from bioplaus.runs.draw import draw

    return draw(results, "alignment")


def split_rules(text: str) -> tuple[str, ...]:
    """``"bptt,bp_lambda(lmbda=0.5, gamma=1)"`` → the single rules; commas inside brackets do not part."""
    parts, start, depth = [], 0, 0
    for place, letter in enumerate(text):
        depth += (letter in "([{") - (letter in ")]}")
        if letter == "," and depth == 0:
            parts.append(text[start:place])
            start = place + 1
    return tuple(part.strip() for part in (*parts, text[start:]) if part.strip())


def parse_rule(text: str) -> tuple[str, dict[str, Any]]:
    """``"bp_lambda(lmbda=0.5)"`` → ``("bp_lambda", {"lmbda": 0.5})``; times with their unit, ``tau_lambda=20*ms``, are given in seconds.

    Raises
    ------
    RuleError
        If it is not a name, or a name with keyword arguments that are plain values. Nothing in it is computed or run.
    """
    if not isinstance(text, str):
        raise RuleError(
            f"{cut(repr(text))} is not a rule: give its name as text, such as 'eprop' or 'bp_lambda(lmbda=0.5)'."
        )
    if len(text) > LONGEST:
        raise RuleError(
            f"{cut(text)!r} is not a rule: it has {len(text)} letters, and at most {LONGEST} are read. Give its name and few options."
        )
    try:
        call = ast.parse(text, mode="eval").body
        if isinstance(call, ast.Name):
            return call.id, {}
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and not call.args:
            return call.func.id, {str(word.arg): _value(word.value) for word in call.keywords}
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        pass
    if (right := re.sub(r"\blambda(?=\s*=)", "lmbda", text)) != text:  # lambda is no name in Python
        raise RuleError(f"{cut(text)!r} is not a rule: λ is written lmbda, {cut(right)!r}.")
    raise RuleError(
        f"{cut(text)!r} is not a rule: give its name, with options in brackets where it has some, "
        f"such as eprop(feedback=random) or bp_lambda(lmbda=0.5)."
    )


def _value(node: ast.expr) -> Any:
    if isinstance(node, ast.Name):
        return node.id  # feedback=random needs no quotes
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult) and isinstance(node.right, ast.Name):
        number = ast.literal_eval(node.left)
        if node.right.id in TIMES and isinstance(number, (int, float)):  # tau_lambda=20*ms
            return number * TIMES[node.right.id]
    return ast.literal_eval(node)

"""An experiment on the fly: one task, one circuit, several rules."""

from __future__ import annotations

import ast
import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bioplaus import content
from bioplaus.errors import RuleError, RunError

if TYPE_CHECKING:
    from bioplaus.runs.experiment import Experiment
    from bioplaus.tasks import Task


PREFIX = "compare-"


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
    clip: float | None = None
    """largest norm of a gradient; no limit by default"""
    evaluate_every: int = 0
    """updates between two tests; 0: only at the end"""
    align_every: int = 0
    """updates between two measurements of the angle to the true gradient; 0: never"""


@dataclass(frozen=True)
class Comparison:
    """A task and rules by name, a rule perhaps with options, ``bp_lambda(lmbda=0.5)``; what they share."""

    task: str
    rules: tuple[str, ...]
    setting: Setting = Setting()

    @property
    def name(self) -> str:
        """Name of the folder in which its runs lie."""
        return PREFIX + self.task


_TRAINING = ("updates", "batch", "lr", "readout_lr", "predictor_lr", "clip", "evaluate_every", "align_every")


def comparison(options: Comparison) -> Experiment:
    """Make the experiment: every rule trains the same circuit, from the same weights, on the same trials.

    Parameters
    ----------
    options : Comparison
        What to compare.

    Returns
    -------
    Experiment
        With a table of mean ± s.e.m. and a figure of the learning curves.

    Raises
    ------
    BioplausError
        The task, circuit, model or a rule is unknown, or a rule can't serve the circuit.
    """
    import bioplaus as bp
    from bioplaus.runs.experiment import Arm, Experiment
    from bioplaus.training import Training

    parsed = [parse_rule(text) for text in options.rules]
    if not parsed:
        raise RunError(
            "There is nothing to compare: give the names of one or more rules, such as bptt,eprop."
        )
    if len(set(options.rules)) < len(options.rules):
        raise RunError(f"A rule is named twice in {', '.join(options.rules)}: name each once.")
    task = bp.task(options.task)
    setting = options.setting
    circuit = bp.circuit(setting.circuit, cell=bp.model(setting.cell), **_circuit_options(setting, task))
    training = Training(**{name: getattr(setting, name) for name in _TRAINING})
    rules = {
        text: bp.rule(name, **keywords) for text, (name, keywords) in zip(options.rules, parsed, strict=True)
    }
    return Experiment(
        title=f"{options.task}: {', '.join(options.rules)}",
        arms={label: Arm(circuit, task, rule, training) for label, rule in rules.items()},
        figures={"learning": draw_learning} | ({"alignment": draw_alignment} if setting.align_every else {}),
    )


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


def draw_learning(results):
    """Loss and score of every rule over the updates."""
    from bioplaus.runs.draw import draw

    return draw(results, "learning")


def draw_alignment(results):
    """Cosine between each rule's gradient and the true one over the updates."""
    from bioplaus.runs.draw import draw

    return draw(results, "alignment")


def split_rules(text: str) -> tuple[str, ...]:
    """``"bptt,bp_lambda(lmbda=0.5, gamma=1)"`` → the single rules; commas inside brackets do not part."""
    parts, depth = [""], 0
    for letter in text:
        depth += (letter in "([{") - (letter in ")]}")
        if letter == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    return tuple(part.strip() for part in parts if part.strip())


def parse_rule(text: str) -> tuple[str, dict[str, Any]]:
    """``"bp_lambda(lmbda=0.5)"`` → ``("bp_lambda", {"lmbda": 0.5})``.

    Raises
    ------
    RuleError
        If it is not a name, or a name with keyword arguments that are plain values.
    """
    try:
        call = ast.parse(text, mode="eval").body
        if isinstance(call, ast.Name):
            return call.id, {}
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and not call.args:
            return call.func.id, {str(word.arg): _value(word.value) for word in call.keywords}
    except (SyntaxError, ValueError):
        pass
    raise RuleError(
        f"{text!r} is not a rule: give its name, with options in brackets where it has some, "
        f"such as eprop(feedback=random) or bp_lambda(lmbda=0.5)."
    )


def _value(node: ast.expr) -> Any:
    return (
        node.id if isinstance(node, ast.Name) else ast.literal_eval(node)
    )  # feedback=random needs no quotes

"""One finished or interrupted run, read from its folder; and `train`, which makes one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bioplaus.errors import RunError, unknown
from bioplaus.runs import seal
from bioplaus.runs.arm import Arm
from bioplaus.runs.event import Report, unheard
from bioplaus.runs.folder import InUse, RunFolder
from bioplaus.runs.formats import reached, tensors_of, trainer_of
from bioplaus.runs.lines import heard
from bioplaus.runs.loop import CHECKPOINT_EVERY, execute
from bioplaus.runs.recognised import home
from bioplaus.runs.usable import folder_of
from bioplaus.runs.waiting import until_free, waited_for

if TYPE_CHECKING:
    import pandas
    import torch
    import xarray
    from matplotlib.figure import Figure

    from bioplaus.circuit import Circuit, Network
    from bioplaus.learning.phase import Phase
    from bioplaus.learning.training import Training
    from bioplaus.own import Owns
    from bioplaus.rules import Rule
    from bioplaus.tasks import Task


class Run:
    """What one run left behind.

    Parameters
    ----------
    folder : Path
        The run's own folder.
    circuit : Circuit, optional
        The circuit that ran, for `network`; where it is missing, that of the experiment named in ``run.json``
        is made anew.

    Attributes
    ----------
    folder : Path
    record : dict
        All of ``run.json``: status, versions, machine, timing, content files, …
    """

    def __init__(self, folder: Path | str, circuit: Circuit | None = None):
        self.folder = folder_of("The folder of a run", folder)
        self._files = RunFolder(self.folder)
        record = self._files.record() if self.folder.is_dir() else None
        if record is None:
            raise RunError(
                f"{self.folder} is not the folder of a run: it holds no run.json. Runs lie in "
                f"runs/<experiment>/<arm>-s<seed>-<hash>; a run in the middle of being started has none yet."
            )
        self.record: dict[str, Any] = record
        self._circuit = circuit

    @classmethod
    def load(cls, folder: Path | str, circuit: Circuit | None = None) -> Run:
        """Read a run's folder.

        Parameters
        ----------
        folder : Path
            The run's own folder.
        circuit : Circuit, optional
            The circuit that ran; needed only for `network`, and only for a run that no experiment made.

        Returns
        -------
        Run

        Raises
        ------
        RunError
            If the folder is not that of a run, or its ``run.json`` is damaged.
        """
        return cls(folder, circuit)

    def __repr__(self) -> str:
        return f"Run({str(self.folder)!r}, {self.record.get('status', 'unknown')})"

    @property
    def config(self) -> dict[str, Any]:
        """Circuit, task, rule, training and seed, resolved, with units."""
        return self.record["config"]

    @property
    def label(self) -> str:
        """The arm's name."""
        return self.record.get("label", "run")

    @property
    def seed(self) -> int:
        """The seed of all its random streams."""
        return self.config["seed"]

    @property
    def done(self) -> bool:
        """Whether all updates were made and the recordings written."""
        return self.record.get("status") == "done"

    @property
    def reached(self) -> tuple[int, int]:
        """Updates that were made, and those that it takes."""
        return reached(self.record, len(self.metrics))

    @cached_property
    def metrics(self) -> pandas.DataFrame:
        """One row an update: update, loss, score, rate, seconds, test_loss, …; NaN where not measured.

        Raises
        ------
        RunError
            If the file is damaged, or was changed since it was written.
        """
        return self._files.read_metrics()

    def final(self, column: str = "test_score") -> float:
        """The last measured value of a column; NaN if there is none.

        Raises
        ------
        RunError
            If the column does not exist.
        """
        if column not in self.metrics:
            raise RunError(unknown(f"column of {self._files.metrics}", column, self.metrics.columns))
        values = self.metrics[column].dropna()
        return float(values.iloc[-1]) if len(values) else float("nan")

    @cached_property
    def recordings(self) -> xarray.Dataset:
        """One test batch as the trained circuit saw it; dims time, batch, unit; units in attributes.

        Raises
        ------
        RunError
            If the run has not come to its end, or the file is damaged.
        """
        if not self._files.recordings.exists():
            raise RunError(
                f"The run in {self.folder} has no recordings: it is {self.record.get('status')}, and they "
                f"are made at its end. Give its command again to let it go on: {self.record.get('command')}"
            )
        return self._files.dataset(self._files.recordings.name)

    @cached_property
    def checkpoint(self) -> dict[str, Any]:
        """The last saved state: update, seconds, and the trainer's own.

        Raises
        ------
        RunError
            If there is none, or it is damaged.
        """
        record = self._files.record()
        seal.check_there(self.folder, record, self._files.checkpoint.name)
        seal.check(self.folder, record, self._files.checkpoint.name)
        state = self._files.load_checkpoint()
        if state is None:
            why = "it is going, and has not come to" if self._files.in_use() else "it was stopped before"
            raise RunError(
                f"The run in {self.folder} has no checkpoint yet: {why} its first. It is made by: {self.record.get('command')}"
            )
        return state

    @cached_property
    def weights(self) -> dict[str, torch.Tensor]:
        """The weights of the last checkpoint, ``W[post, pre]``."""
        return tensors_of(self.checkpoint, "weights")

    @cached_property
    def own(self) -> Owns:
        """What the rule keeps beside them at the last checkpoint, by part, such as a predictor's weights."""
        from bioplaus.learning.saved import own_of

        return own_of(trainer_of(self.checkpoint))

    @cached_property
    def network(self) -> Network:
        """The circuit, built, with the weights of the last checkpoint.

        Raises
        ------
        RunError
            If the circuit is not known: give it to `Run.load`.
        UntrustedError
            If it would be made by a file of a study that belongs to somebody else.
        """
        import torch

        from bioplaus.circuit.loading import apart, values

        circuit = self._circuit or self._circuit_of_experiment()
        training = self.config["training"]
        dtype = getattr(torch, training.get("dtype", "float32"))
        network = circuit.build(seed=self.seed, dtype=dtype, device="cpu")
        saved = trainer_of(self.checkpoint).get("synapses", {})  # checkpoints of before have none
        synapses, masks = apart(network, tensors_of(self.checkpoint, "masks"), saved)
        with torch.no_grad():
            for name, there in synapses.items():
                network.synapses[name].become(there)
            for name, weight in network.weights.items():
                weight.copy_(values(synapses, name, self.weights[name]))
            for name, mask in network.masks.items():
                mask.copy_(masks[name])
        return network

    def _circuit_of_experiment(self) -> Circuit:
        from bioplaus.runs.origin import remake

        experiment = remake(self.record, self.folder)
        arm = experiment.arms.get(self.label) if experiment else None
        if arm is None or arm.describe(self.seed)["circuit"] != self.config["circuit"]:
            raise RunError(
                f"The circuit of the run in {self.folder} can't be made again: no experiment file says how, "
                "or it was changed since. Hand the circuit over: Run.load(folder, circuit=…)."
            )
        return arm.circuit

    def figure(self, name: str = "learning") -> Figure:
        """Draw one of the standard figures from what is saved.

        Parameters
        ----------
        name : str
            ``"learning"``, ``"alignment"``, ``"raster"``, ``"trajectories"`` or ``"weights"``.

        Returns
        -------
        matplotlib.figure.Figure

        Raises
        ------
        RunError
            If there is no such figure, or this run does not hold what it shows.
        """
        from bioplaus.runs.draw import draw_run

        return draw_run(self, name)


def train(
    circuit: Circuit,
    task: Task | str,
    rule: Rule | str,
    *,
    seed: int = 0,
    folder: Path | str | None = None,
    label: str | None = None,
    checkpoint_every: float = CHECKPOINT_EVERY,
    threads: int | None = 1,
    progress: Report | bool | None = None,
    phases: Sequence[Phase] | None = None,
    initial: Any = None,
    **training: Any,
) -> Run:
    """Train a circuit on a task with a rule, and record it.

    A run that was finished before is returned at once; one that was interrupted goes on from its checkpoint,
    and ends bit for bit as if it had never stopped.

    Parameters
    ----------
    circuit, task, rule : what learns, what it learns, and how; a shipped task and rule by name, too.
    seed : of all random streams.
    folder : the run's own, ``~`` for the home; ``runs/<task>/<rule>-s<seed>-<hash>`` below the working directory by default.
    label : the name under which the run is listed; the rule's by default.
    checkpoint_every : seconds between checkpoints; 0: one after every update.
    threads : of torch, and of compiled loops; None leaves torch's own setting.
    progress : True shows lines of text; a function receives a `bioplaus.runs.event.Event` at the start, after every update, and at
        the end. If it raises, the run is saved and interrupted, and the same call goes on.
    phases : parts of the training that differ, a list of `bioplaus.Phase`: their ``updates`` are the training's.
    initial : weights to begin with, by name, or a finished run or its folder; None: those that are drawn.
    **training : fields of `bioplaus.Training`: ``updates``, ``batch``, ``lr``, …; with ``backend="brian2"`` those that are not given are as weights that
        move inside Brian2 need them (one trial an update, plain descent after every step, float64).

    Returns
    -------
    Run

    Raises
    ------
    RunError
        An unknown field; a folder of another configuration, in use, or that can't be written to; a damaged checkpoint.
    NumericalError
        The simulation broke down; the folder keeps its last good checkpoint.

    Examples
    --------
    >>> import bioplaus as bp                                                              # doctest: +SKIP
    >>> run = bp.train(circuit, task, bp.rule("eprop", feedback="random"), updates=500)    # doctest: +SKIP
    >>> run.metrics.tail()                                                                 # doctest: +SKIP
    """
    from bioplaus import checks
    from bioplaus.runs.origin import origin_of

    seed = checks.accept(RunError, "The seed of a run", seed, checks.SEED)
    from bioplaus.rules import as_rule
    from bioplaus.tasks import as_task

    task, rule = as_task(task), as_rule(rule)
    arm = Arm(circuit, task, rule, _training(training), phases or (), initial)
    label = rule.name if label in (None, "") else checks.accept(RunError, "label", label, checks.Word())
    assert label is not None
    if folder is None:
        folder = home(Path("runs", task.name), label, seed, arm.describe(seed))
    folder = folder_of("folder", folder)
    report = heard(progress)
    told = {"label": label, "origin": origin_of(None), "progress": report}
    while True:
        try:
            execute(arm, seed, folder, checkpoint_every=checkpoint_every, threads=threads, **told)
            return Run(folder, circuit)
        except InUse:
            if report is unheard:  # to wait without a word would look like a hang
                raise
            report(waited_for(label, seed, folder))
            until_free(folder)


_BELONGS = {
    "rule": ("lmbda", "lambda", "feedback", "discount", "gamma", "injection", "predictor", "schedule"),
    "circuit": ("units", "hidden_size", "cell", "input_gain", "tau_out", "dt"),
}
"""What is often asked of `train` and told elsewhere."""


def _training(options: Mapping[str, Any]) -> Training:
    """A training with these fields.

    Raises
    ------
    RunError
        If there is no such field.
    """
    from dataclasses import fields
    from inspect import signature

    from bioplaus.learning.training import IN_BRIAN, Training

    known = [field.name for field in fields(Training)]
    for name in options:
        if name not in known:
            owner = next((part for part, names in _BELONGS.items() if name in names), None)
            called = {"lambda": "lmbda", "gamma": "discount", "hidden_size": "units"}.get(name, name)
            hint = f" It is an option of the {owner}: give it to bp.{owner}(…, {called}=…)." if owner else ""
            own = [key for key, each in signature(train).parameters.items() if each.kind is each.KEYWORD_ONLY]
            raise RunError(unknown("training option", name, {*known, *own}) + hint)
    return Training(**(IN_BRIAN | dict(options) if options.get("backend") == "brian2" else options))

"""The errors bioplaus raises: one base, one class per stage, each message one clear paragraph.

A message names what was given, what is allowed, and what to do about it.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class BioplausError(Exception):
    """Base of every error that bioplaus raises on purpose."""


class CellError(BioplausError):
    """A cell's equations, units, parameters, spike, reset or output do not make a model."""


class CircuitError(BioplausError):
    """Populations, projections, inputs and readout do not fit together."""


class RuleError(BioplausError):
    """A learning rule is unknown, put together impossibly, or can't serve the circuit it was given."""


class TaskError(BioplausError):
    """A task is unknown, given parameters it doesn't take, or makes data of the wrong kind."""


class ContentError(BioplausError):
    """A file in ``models/``, ``circuits/`` or ``experiments/`` is missing, broken or called wrongly."""


class UntrustedError(ContentError):
    """A name stands for a file of a study that belongs to somebody else; such a file is not run unasked."""


class DataError(BioplausError):
    """A data set is missing, can't be fetched, or is not the one whose hash is known."""


class RunError(BioplausError):
    """A run's folder, configuration or checkpoint can't be used."""


class NumericalError(BioplausError):
    """A simulation produced a NaN or an infinity; names the step, the variable and the population."""


class LearningWarning(RuntimeWarning):
    """Learning does not go as it should: it diverges, a population is silent or saturated, a batch asks nothing."""


class SealWarning(UserWarning):
    """Folders are read that an earlier bioplaus wrote, without a seal: nobody can tell whether they were changed since."""


class StudyWarning(UserWarning):
    """A study is there and not used, for it belongs to somebody else: names mean what shipped."""


class RunWarning(RuntimeWarning):
    """A run is not what it would be in one go: versions changed between its sittings."""


def unknown(kind: str, given: str, allowed: Iterable[str]) -> str:
    """Say that `given` is not one of the `allowed` names, and which it may have been meant to be.

    Parameters
    ----------
    kind : str
        What the name is a name of, in the singular: ``"rule"``, ``"parameter of the model 'lif'"``.
    given : str
        The name that was not found.
    allowed : iterable of str
        Every name that would have been.

    Returns
    -------
    str
        One paragraph for an error message.

    Examples
    --------
    >>> unknown("rule", "epropp", ["bptt", "eprop"])
    "There is no rule 'epropp'. Did you mean 'eprop'? Known: bptt, eprop."
    >>> unknown("option of the rule 'eprop'", "step", ["steps"])
    "There is no option 'step' of the rule 'eprop'. Did you mean 'steps'? Known: steps."
    """
    names, (what, of, whose) = sorted(map(str, allowed)), kind.partition(" of ")
    return (
        f"There is no {what} {cut(repr(given))}{of}{whose}.{meant(given, names)} Known: {', '.join(names) or 'none'}."
    )


def cut(text: str, most: int = 80) -> str:
    """The text on one line, or as much of it as fits in a sentence."""
    text = " ".join(text.split())
    return text if len(text) <= most else f"{text[: most - 1]}…"


def raised(error: BaseException) -> str:
    """What was raised, with what it says, if it says anything: ``"KeyError: 'a'"``, ``"SystemExit"``."""
    return f"{type(error).__name__}: {error}".rstrip(": ")


def by_name(call: str, given: Iterable[object]) -> str:
    """Say that what follows a name is given by name."""
    shown = ", ".join(repr(value)[:40] for value in given)
    return f"{call} takes its options by name, and was given {shown} without one. Write {call[:-2]}option=value), as 'bioplaus show' lists them."


_ELSEWHERE = {
    "updates": "epoch epochs n_epochs num_epochs max_epochs n_updates num_updates iterations n_iterations num_iterations iters n_iter "
    "steps n_steps num_steps max_steps training_steps",
    "lr": "learning_rate learningrate lrate eta alpha step_size",
    "readout_lr": "lr_out lr_readout lr_output out_lr output_lr readout_learning_rate",
    "predictor_lr": "lr_predictor lr_pred pred_lr predictor_learning_rate cerebellum_lr lr_cerebellum",
    "batch": "batch_size batchsize minibatch n_batch bs",
    "optimiser": "optimizer optim opt",
    "optimiser_options": "momentum nesterov dampening weight_decay amsgrad optimizer_options optimizer_kwargs optim_kwargs",
    "lr_schedule": "scheduler lr_scheduler learning_rate_schedule",
    "clip": "grad_clip gradient_clip clip_grad clip_norm max_norm max_grad_norm",
    "workers": "num_workers n_workers n_jobs jobs processes n_processes parallel j",
    "seeds": "seed random_state random_seed",
    "seed": "seeds random_state random_seed",
    "lmbda": "lambda lambda_ lam lamda λ",
    "discount": "gamma γ",
    "units": "n_units num_units hidden hidden_size n_hidden neurons n_neurons",
    "evaluate_every": "eval_every test_every validate_every",
    "device": "gpu cuda",
    "dtype": "precision",
    "folder": "out output outdir out_dir output_dir save_dir dir directory path",
    "root": "out output outdir out_dir output_dir save_dir dir directory path folder",
    "progress": "verbose",
}
"""Our names → what they are called elsewhere."""


def ours(given: str, names: Iterable[str]) -> list[str]:
    """Of the names those by which we call what is called `given` elsewhere: ``updates`` for ``epochs``."""
    word = given.lower().strip("-").replace("-", "_")
    return [name for name in names if word in _ELSEWHERE.get(name, "").split()]


_LONGEST = 200  # chosen: letters of what may be meant to be a name


def meant(given: str, names: Iterable[str]) -> str:
    """``" Did you mean 'eprop'?"``, or nothing where no name is like the given one, nor called so elsewhere."""
    names = list(names)
    if same := ours(str(given), names):
        return f" Did you mean {' or '.join(map(repr, same))}?"
    if len(str(given)) > _LONGEST:  # to compare it with every name would take long
        return ""
    folded = {name.lower(): name for name in names}
    close = [folded[name] for name in get_close_matches(str(given).lower(), folded, n=2, cutoff=0.6)]
    return f" Did you mean {' or '.join(map(repr, close))}?" if close else ""

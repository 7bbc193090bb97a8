"""The command line. Each verb imports what it needs; ``--help`` neither torch nor Brian2 nor matplotlib."""

from __future__ import annotations

import atexit
import gc
import sys
import warnings
from collections.abc import Sequence
from importlib import import_module
from typing import Any

from bioplaus.errors import BioplausError, DataError, NumericalError, RunError, SealWarning, StudyWarning, cut, unknown
from bioplaus.runs.asked import answered, interrupt
from bioplaus.runs.outlet import steady

VERBS = {
    "list": "what there is: models, circuits, rules, predictors, tasks, experiments",
    "show": "one of them, or a run's folder, in full",
    "run": "run an experiment; options change its configuration",
    "compare": "several rules on one task, without writing an experiment",
    "check": "test what every rule claims against BPTT, on every model it accepts",
    "figure": "draw again from what a run or an experiment has saved",
    "verify": "whether results are as they were written",
    "new": "make a folder for models, circuits and experiments of your own",
}

ELSEWHERE = ("new", "verify", "figure")  # two use no study, the other that of the folder it draws
LONGEST = 10_000  # chosen: letters of a word; two thousand seeds, one by one
MAKING = ("run", "compare", "figure", "new")
"""Verbs that leave files; the others only tell."""

HELP = """\
usage: bioplaus VERB …

Cortical circuits that learn online, with synthetic gradients from a cerebellum-like predictor.

{verbs}

Examples:
  bioplaus list rules
  bioplaus show alif
  bioplaus run sequential_digits --seeds 0:3 --workers 2
  bioplaus compare target_reaching --rules bptt,eprop,bp_lambda --seeds 0:5
  bioplaus figure runs/sequential_digits

`bioplaus VERB --help` tells the options of a verb, `bioplaus run EXPERIMENT --help` those of an experiment.
Inside a study, a folder with bioplaus.toml, its files come first. One that belongs to another user, or that everybody may write
to, is used where --trust stands anywhere in the command, or BIOPLAUS_TRUST names it.
"""


class UsageError(BioplausError):
    """What was typed is not a command: an unknown verb, name or option, or a value of the wrong kind."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Parameters
    ----------
    arguments : sequence of str, optional
        What follows ``bioplaus``; by default, what was typed.

    Returns
    -------
    int
        Exit status: 0; 1 if something failed while running or a claim is wrong; 2 if the command was wrong;
        130 if it was interrupted, by SIGINT, SIGTERM or SIGHUP.
    """
    if arguments is None:
        atexit.register(
            gc.freeze
        )  # the process ends: its last search for circles, through all of torch, would find nothing to keep
    words = list(sys.argv[1:] if arguments is None else arguments)
    with steady() as out:
        status = _carried_out(words)
        out.flush()
        if out.complaint:
            print(
                f"bioplaus: not all that there was to say could be written to standard output: {out.complaint}.",
                file=sys.stderr,
            )
    # What a listing has to say is all that it does.
    return status or int(bool(out.complaint) and not set(words[:1]) & set(MAKING))


def _carried_out(words: list[str]) -> int:
    try:
        with warnings.catch_warnings(), answered(interrupt):
            _speak_plainly()
            return _dispatch(words)
    except BioplausError as error:
        print(f"bioplaus: {error}", file=sys.stderr)
        return 1 if isinstance(error, RunError | NumericalError | DataError) else 2
    except OSError as error:
        print(f"bioplaus: {error}. What was saved before is as it was.", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(
            "bioplaus: Interrupted. All that was computed is saved; give the same command to go on.",
            file=sys.stderr,
        )
        return 130
    except Exception as error:
        from bioplaus.cli import astray

        if astray.shown():
            raise
        print(f"bioplaus: {astray.paragraph(error)}", file=sys.stderr)
        return 1


def _speak_plainly() -> None:
    """What is to be said of folders without a seal and of studies that are not used, once and as a sentence."""
    shown, said = warnings.showwarning, set[str]()

    def show(message: Warning | str, category: type[Warning], *where: Any) -> None:
        if not issubclass(category, SealWarning | StudyWarning):
            shown(message, category, *where)
        elif str(message) not in said:
            said.add(str(message))
            print(f"bioplaus: {message}", file=sys.stderr)

    for category in (SealWarning, StudyWarning):
        warnings.simplefilter("always", category)
    warnings.showwarning = show


def _dispatch(words: list[str]) -> int:
    if not set(words) - {"--trust"} or words[0] in ("-h", "--help", "help"):
        width = max(map(len, VERBS))
        print(HELP.format(verbs="\n".join(f"  {verb:<{width}}  {text}" for verb, text in VERBS.items())), end="")
        return 0
    if words[0] in ("-V", "--version"):
        from bioplaus import __version__

        print(f"bioplaus {__version__}")
        return 0
    if long := next((word for word in words if len(word) > LONGEST), ""):
        raise UsageError(
            f"The word {cut(long)!r} has {len(long)} letters, and at most {LONGEST} are read. Give a shorter one."
        )
    from bioplaus.cli.told import OPTION, tell_study, trusting

    if valued := next((word for word in words if word.startswith(f"{OPTION}=")), ""):
        raise UsageError(
            f"{cut(valued)}: `{OPTION}` takes no value. Write it alone to trust the study, or leave it out."
        )
    with trusting(words) as (verb, *rest):
        if verb not in VERBS:
            raise UsageError(f"{unknown('verb', verb, VERBS)} `bioplaus --help` tells what each does.")
        if verb not in ELSEWHERE and not {"-h", "--help"} & {*rest}:
            tell_study()
        return import_module(f"{__name__}.verbs.{verb}").main(rest)

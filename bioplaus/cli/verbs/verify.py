"""``bioplaus verify FOLDER``: whether results are as they were written, before figures are drawn of them."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

from bioplaus.cli import UsageError
from bioplaus.cli.options import check_dashed, names_first, parse, wants_help
from bioplaus.cli.terminal import say
from bioplaus.content import place
from bioplaus.errors import SealWarning


@dataclass
class Options:
    """Hold every run and experiment in a folder against its seal: records, tables, checkpoints, datasets. Nothing is changed."""


def main(words: Sequence[str]) -> int:
    """A line for each, with what is wrong below; 1 if something is."""
    names, rest = names_first(words, "one folder", "bioplaus verify")
    if not names and not wants_help(rest):
        check_dashed(rest, Options, "bioplaus verify")
        raise UsageError("`bioplaus verify` needs the folder of results, before any option: bioplaus verify runs.")
    parse(Options, rest, "bioplaus verify FOLDER")
    folder = place(UsageError, "The folder", names[0])
    if not folder.is_dir():
        raise UsageError(f"There is no folder {folder}. Give that of a run, of an experiment, or one that holds some.")
    from bioplaus.runs import verify

    looked = broken = unsealed = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SealWarning)  # said of each below
        for finding in verify(folder):
            looked, broken = looked + 1, broken + (not finding.intact)
            unsealed += not finding.sealed
            verdict = ("as it was written" if finding.sealed else "whole") if finding.intact else "DAMAGED OR CHANGED"
            say("  ".join(part for part in (str(finding.folder), finding.kind, finding.status, verdict) if part))
            for text in (*finding.faults, *(f"note: {note}" for note in finding.notes)):
                say(f"    {text}")
    say()
    say(
        f"{broken} of {looked} are damaged, or were changed."
        if broken
        else f"Nothing is wrong with any of the {looked}."
    )
    if unsealed:
        say(
            f"{unsealed} carry no seal, being made by an earlier bioplaus: whether they were changed since can't be told."
        )
    return 1 if broken else 0

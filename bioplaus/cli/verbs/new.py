"""``bioplaus new STUDY``: a folder for models, circuits and experiments of one's own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bioplaus.cli import UsageError
from bioplaus.cli.options import check_dashed, names_first, parse, split, wants_help
from bioplaus.cli.terminal import say


@dataclass
class Options:
    """Make a study: a folder with models/, circuits/ and experiments/ that come before the shipped ones."""

    copy: str = ""
    """shipped models, circuits or experiments to copy into it, to be changed there: alif,sequential_digits"""


def main(words: Sequence[str]) -> int:
    """Make the folder and say what to do next."""
    names, rest = names_first(words, "one folder", "bioplaus new")
    if not names and not wants_help(rest):
        check_dashed(rest, Options, "bioplaus new")
        raise UsageError("`bioplaus new` needs the folder to make: bioplaus new my_study.")
    given = parse(Options, rest, f"bioplaus new {names[0] if names else 'STUDY'}")
    from bioplaus.content.new import new

    say(new(names[0], split(given.copy)).advice)
    return 0

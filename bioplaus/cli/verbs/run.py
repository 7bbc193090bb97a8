"""``bioplaus run EXPERIMENT``: run an experiment of a content folder."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from pathlib import PurePath
from typing import Annotated, Any

from bioplaus import checks, late
from bioplaus.cli import UsageError
from bioplaus.cli.options import choose, missing, names_first, parse, parse_seeds, split, typed, wants_help
from bioplaus.cli.told import EXPLAINED
from bioplaus.errors import ContentError
from bioplaus.runs.experiment import Experiment

HELP = """\
usage: bioplaus run EXPERIMENT [options]

Run every arm of an experiment with every seed, then write a table and figures. What was done
before is not done again; what was interrupted goes on from where it was.

`bioplaus run EXPERIMENT --help` tells the options of an experiment. There are: {names}

{trust}
"""

_OWN = {
    "seeds": (str | None, None, "seeds in place of the experiment's own: 0:5, 0,2,4 or 3"),
    "only": (str | None, None, "arms to run, by label or rule: bp_lambda,bptt"),
    "workers": (int, 1, "runs at a time, each in a process with one thread"),
    "backend": (str | None, None, "what computes time steps, in place of the experiment's own: torch, numba or auto"),
    "threads": (int | None, None, "processors that compiled loops may use, in place of the experiment's own"),
    "root": (str, "runs", "folder in which the experiment's folder lies"),
}


def main(words: Sequence[str]) -> int:
    """Parse, run, report."""
    from bioplaus import content

    names, rest = names_first(words, "one experiment", "bioplaus run")
    known = list(content.names("experiment"))
    listed = ", ".join(known) or "none"
    if not names:
        if wants_help(rest):
            print(HELP.format(names=listed, trust=EXPLAINED), end="")
            return 0
        raise UsageError(f"`bioplaus run` needs the name of an experiment, before any option: {listed}.")
    name = _name(names[0], known)
    config, own = options(name, rest)
    if own["workers"] < 1:
        raise UsageError(f"`--workers {own['workers']}`: give 1 or more processes.")
    if own["workers"] > 1:
        late.put_off("torch")  # what computes is theirs to load
    only = split(own["only"]) if own["only"] is not None else None
    make = content.factory("experiment", name)
    from bioplaus.cli.conduct import computed, conduct

    with typed():
        experiment = content.call("experiment", name) if config is None else make(config)
        checks.accept(
            ContentError, f"What {name}() returns", experiment, checks.Instance(Experiment, "Experiment(title, arms)")
        )
        experiment = computed(experiment, own["backend"], own["threads"])
    return conduct(experiment, name, config, own["seeds"], only, own["workers"], own["root"])


def options(name: str, words: Sequence[str]) -> tuple[Any, dict[str, Any]]:
    """An experiment's configuration (``None`` if it has none) and the options of `run` itself, as typed."""
    import tyro

    from bioplaus import content

    kind = getattr(content.load("experiment", name), "Config", None)
    if kind is not None and not _is_config(kind):
        raise UsageError(
            f"The experiment {name!r} can't be run from the command line: its Config must be a dataclass with a default for every "
            "field, of which the options are made."
        )
    taken = {field.name for field in dataclasses.fields(kind)} if kind else set()
    if clash := taken & (_OWN.keys() - {"seeds"} | {"trust"}):
        raise UsageError(
            f"The experiment {name!r} can't be run from the command line: its Config has a field "
            f"{sorted(clash)[0]!r}, which is an option of `bioplaus run` itself. Rename the field."
        )
    words, seeds = take_seeds(words, f"bioplaus run {name}") if "seeds" in taken else (words, None)
    fields: list[Any] = [
        (key, Annotated[hint, tyro.conf.arg(help=text)], dataclasses.field(default=default))
        for key, (hint, default, text) in _OWN.items()
        if key not in taken
    ]
    if kind:
        # An empty name puts the configuration's fields on top: --circuit.units, not --config.circuit.units.
        hint = Annotated[kind, tyro.conf.arg(name="")]
        fields.insert(0, ("config", hint, dataclasses.field(default_factory=kind)))
    given = parse(dataclasses.make_dataclass("Options", fields), words, f"bioplaus run {name}")
    config: Any = getattr(given, "config", None)
    own = {key: getattr(given, key, None) for key in _OWN}
    if own["seeds"] is not None:
        seeds = parse_seeds(own["seeds"])
    elif seeds is not None:
        config = dataclasses.replace(config, seeds=seeds)
    return config, own | {"seeds": seeds}


def _name(given: str, known: Sequence[str]) -> str:
    """An experiment that there is.

    Raises
    ------
    UsageError
        If there is none; if it is the path of a file.
    """
    stem = PurePath(given).name.removesuffix(".py")
    if given not in known and (given.endswith(".py") or given != stem):
        how = (
            f"write `bioplaus run {stem}`"
            if stem in known
            else "and none of its name is found here: put it into experiments/ of a study, which `bioplaus new my_study` makes"
        )
        raise UsageError(f"`bioplaus run` takes the name of an experiment, not a file; {given!r} was given: {how}.")
    return choose("experiment", given, known)


def _is_config(kind: Any) -> bool:
    return (
        isinstance(kind, type)
        and dataclasses.is_dataclass(kind)
        and all(
            field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING
            for field in dataclasses.fields(kind)
            if field.init
        )
    )


def take_seeds(words: Sequence[str], command: str) -> tuple[list[str], tuple[int, ...] | None]:
    """Where a Config has seeds of its own, ``--seeds 0:5`` means them, written as everywhere else.

    Raises
    ------
    UsageError
        If nothing stands behind ``--seeds``, or no seeds do.
    """
    words, seeds = [part for word in words for part in _parted(word)], None
    while "--seeds" in words:
        start = words.index("--seeds")
        end = next((i for i in range(start + 1, len(words)) if re.match(r"-(?!\d)", words[i])), len(words))
        if end == start + 1:
            raise UsageError(missing("--seeds", command))
        seeds = parse_seeds(",".join(words[start + 1 : end]))
        del words[start:end]
    return words, seeds


def _parted(word: str) -> list[str]:
    return ["--seeds", word.partition("=")[2]] if word.startswith("--seeds=") else [word]

"""``bioplaus show NAME``: a model, circuit, rule, predictor, task, experiment, or a run's folder, in full."""

from __future__ import annotations

import dataclasses
import inspect
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bioplaus import late
from bioplaus.cli import UsageError
from bioplaus.cli.catalogue import KINDS, SINGULAR, in_word, names, origin
from bioplaus.cli.options import check_dashed, names_first, parse, wants_help
from bioplaus.cli.terminal import frame, heading, pairs, say, table, took
from bioplaus.content import place
from bioplaus.errors import BioplausError, unknown


@dataclass
class Options:
    """Show what a name stands for, equations and parameters included; or what a run's folder holds."""


def main(words: Sequence[str]) -> int:
    """Show everything of that name."""
    late.put_off("torch")
    given, rest = names_first(words, "one name or folder", "bioplaus show")
    if not given and not wants_help(rest):
        check_dashed(rest, Options, "bioplaus show")
        raise UsageError("`bioplaus show` needs a name that `bioplaus list` tells, or the folder of a run.")
    parse(Options, rest, "bioplaus show NAME")
    name = given[0]
    folder = place(UsageError, "The name", name)
    if (folder / "run.json").exists():
        show_run(folder)
        return 0
    # What can be known without importing torch is asked first.
    light = [kind for kind in KINDS if kind not in ("rules", "predictors") and name in names(kind)]
    found = light or [kind for kind in ("rules", "predictors") if name in names(kind)]
    if not found and folder.is_dir():
        runs = sorted(each.parent.as_posix() for each in folder.glob("*/run.json"))
        raise UsageError(
            f"{folder} is not the folder of a run: it holds no run.json. Runs in it: {', '.join(runs) or 'none'}. `bioplaus figure "
            "FOLDER` draws an experiment's folder."
        )
    if not found and (folder.is_file() or folder.suffix == ".py"):
        raise UsageError(_not_a_file(folder))
    if not found and len(folder.parts) > 1:
        raise UsageError(
            f"There is no folder {folder}. `bioplaus show` takes the folder of a run, or a name that `bioplaus list` tells."
        )
    if not found:
        raise UsageError(unknown("name", name, sorted({each for kind in KINDS for each in names(kind)})))
    for kind in found:
        _SHOW[kind](name)
    return 0


def _not_a_file(file: Path) -> str:
    name = file.name.removesuffix(".py")
    if any(name in names(kind) for kind in KINDS):
        how = f"write `bioplaus show {name}`"
    elif file.suffix == ".py":
        how = "and none of its name is found here: put it into models/, circuits/ or experiments/ of a study, which `bioplaus new my_study` makes"
    else:
        how = "give a name that `bioplaus list` tells, or the folder of a run"
    return f"`bioplaus show` takes a name or the folder of a run, not a file; '{file}' was given: {how}."


def show_content(kind: str, name: str) -> None:
    """A model, circuit or experiment: docstring, parameters, what it makes, file."""
    from bioplaus import content

    make = content.factory(kind, name)
    heading(f"{kind} {name}")
    document(make)
    if kind == "experiment":
        show_config(make)
    else:
        show_parameters(make)
    if kind == "model":
        _equations(make())
    file = content.describe(kind, name)
    say()
    pairs([("file", f"{file['file']} ({origin(Path(file['file']))})"), ("sha256", file["sha256"])])


def document(thing: Callable[..., Any]) -> None:
    """The docstring, as it is written."""
    if text := inspect.getdoc(thing):
        say()
        say(text)


def show_parameters(make: Callable[..., Any]) -> None:
    """Parameters and their defaults, with units."""
    rows = [
        (name, "required" if each.default is each.empty else in_words(each.default))
        for name, each in inspect.signature(make).parameters.items()
        if name != "self"
    ]
    if rows:
        say()
        table(("parameter", "default"), rows)


def in_words(value: Any) -> str:
    """A default as one would type it: ``20. ms``, ``'tanh'``, ``lif`` for a function of that name."""
    if hasattr(value, "get_best_unit"):
        unit = value.get_best_unit()
        return f"{value / unit} {unit}".strip()
    return getattr(value, "__name__", None) or repr(value)


_PARTS = (
    "equations",
    "update",
    "inputs",
    "jumps",
    "spike",
    "reset",
    "output",
    "surrogate",
    "refractory",
    "method",
    "source",
)


def _equations(cell: Any) -> None:
    described = cell.describe()
    lines = []
    for key in _PARTS:
        text = described.get(key, "")
        if isinstance(text, dict):  # what one unit of weight gives on each channel
            text = ", ".join(name if unit == "1.0" else f"{name} ({unit})" for name, unit in text.items())
        texts = [line.strip() for line in str(text).splitlines() if line.strip()]
        lines += [(key if i == 0 else "", text) for i, text in enumerate(texts)]
    say()
    pairs(lines)


def show_config(make: Callable[..., Any]) -> None:
    """The options of an experiment, by their dotted names."""
    import sys

    kind = getattr(sys.modules[make.__module__], "Config", None)
    if kind is None:
        return
    say()
    table(("option", "default"), list(_fields(kind())))
    say()
    say(f"`bioplaus run {make.__name__} --help` explains them.")


def _fields(config: Any, prefix: str = "--") -> Any:
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            yield from _fields(value, f"{prefix}{field.name}.")
        else:
            yield f"{prefix}{field.name}", in_words(value)


def show_task(name: str) -> None:
    """A task: docstring, options, and its sizes if it can be made without downloading."""
    from importlib import import_module

    from bioplaus.tasks import TASKS

    entry = TASKS[name]
    make = getattr(import_module(entry.module), entry.factory)
    heading(f"task {name}")
    document(make)
    show_parameters(make)
    say()
    try:
        described = make().describe()
        pairs([(key, json.dumps(value)) for key, value in described.items() if key != "name"])
    except BioplausError as error:
        say(str(error))


def show_rule(name: str) -> None:
    """A rule: what the pair claims, the equations of its two halves, and what each declares."""
    import bioplaus as bp
    from bioplaus.rules import BESIDE, TABLE

    make = (TABLE | BESIDE)[name]
    heading(f"rule {name}")
    document(make)
    show_parameters(make)
    rule = bp.rule(name)
    say()
    pairs(
        [
            ("claim", rule.claim),
            ("exact when", rule.exact_when),
            ("faces", f"the {rule.facing}"),
            ("schedule", f"{rule.schedule}, unless another is asked for"),
            *(
                (f"source {i}" if len(rule.references) > 1 else "source", where)
                for i, where in enumerate(rule.references.values(), 1)
            ),
        ]
    )
    for half in (rule.eligibility, rule.signal):
        say()
        heading(f"{half.declaration.half} half: {type(half).__name__}")
        module = inspect.getmodule(type(half))
        if module and module.__doc__:
            say()
            say(inspect.cleandoc(module.__doc__))
        say()
        declared = vars(half.declaration).items()
        pairs(
            [(key.replace("_", " "), in_word(value) if isinstance(value, bool) else value) for key, value in declared]
        )
    say()
    pairs([("file", inspect.getsourcefile(type(half)) or "") for half in (rule.eligibility, rule.signal)])


def show_predictor(name: str) -> None:
    """A predictor: docstring, parameters, file."""
    from bioplaus.cerebellum.predictors import PREDICTORS

    make = PREDICTORS[name]
    heading(f"predictor {name}")
    document(make)
    show_parameters(make)
    say()
    pairs([("file", inspect.getsourcefile(make) or "")])


def show_run(folder: Path) -> None:
    """A run: what it was asked for, how far it is, and the end of its table."""
    from bioplaus.runs import Run

    run = Run.load(folder)
    record = run.record
    heading(f"run {folder}")
    timing, machine = record.get("timing", {}), record.get("machine", {})
    done, updates = run.reached
    pairs(
        [
            ("status", f"{record.get('status')}, {done} of {updates} updates"),
            ("command", str(record.get("command"))),
            ("time", f"started {timing.get('started')}, computed for {took([timing])}"),
            *(("computed", f"by {by['backend']}: {by['because']}") for by in [record.get("computed")] if by),
            ("machine", f"{machine.get('cpu')}, {machine.get('cores')} cores"),
            (
                "versions",
                ", ".join(f"{name} {number}" for name, number in record.get("versions", {}).items()),
            ),
        ]
    )
    say()
    say(json.dumps(run.config, indent=2, ensure_ascii=False))
    if len(run.metrics):
        say()
        frame(run.metrics.dropna(axis=1, how="all").tail(5))


_SHOW: dict[str, Callable[[str], None]] = {
    "models": lambda name: show_content("model", name),
    "circuits": lambda name: show_content("circuit", name),
    "experiments": lambda name: show_content("experiment", name),
    "tasks": show_task,
    "rules": show_rule,
    "predictors": show_predictor,
}
assert _SHOW.keys() == set(KINDS) == SINGULAR.keys()

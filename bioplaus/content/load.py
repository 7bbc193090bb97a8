"""Loading content by name, and saying exactly which file a name stands for."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib
import inspect
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from bioplaus.content import fresh
from bioplaus.content.path import KINDS, shipped, study, withheld
from bioplaus.errors import BioplausError, ContentError, UntrustedError, by_name, cut, raised, unknown


def names(kind: str) -> dict[str, Path]:
    """Every name of one kind and the file it stands for; a study's file shadows a shipped one, also where the study is not to
    be trusted: none is run for that.

    Parameters
    ----------
    kind : {"model", "circuit", "experiment"}

    Returns
    -------
    dict of str to Path
        Sorted by name.

    Raises
    ------
    ContentError
        If there is no such kind.
    """
    found: dict[str, Path] = {}
    for folder in reversed(_folders(kind)):
        for file in folder.glob("*.py"):
            if file.stem.isidentifier() and not file.stem.startswith("_") and file.is_file():
                found[file.stem] = file
    return dict(sorted(found.items()))


def load(kind: str, name: str) -> ModuleType:
    """Import the file that a name stands for now, anew if the file or the study changed since the last time.

    Parameters
    ----------
    kind : {"model", "circuit", "experiment"}
    name : str

    Returns
    -------
    module
        ``bioplaus.content.<kind>s.<name>``

    Raises
    ------
    ContentError
        If no file has that name, or it can't be imported; an `UntrustedError` if it is that of a study of somebody else.
    """
    file = _find(kind, name)
    fresh.forget_changed()
    importlib.invalidate_caches()  # a file written a moment ago is seen
    try:
        module = importlib.import_module(f"{__package__}.{_folder(kind)}.{name}")
    except BioplausError:
        raise
    except (Exception, SystemExit) as error:
        what = f"{type(error).__name__}: {error.msg}" if isinstance(error, SyntaxError) else raised(error)
        raise ContentError(
            f"The {kind} {name!r} can't be loaded: {file}{_line_in(file, error)} raises {what}. "
            f"Correct the file and try again."
        ) from error
    fresh.note()
    return module


def factory(kind: str, name: str) -> Callable[..., Any]:
    """The function of the file's own name.

    Raises
    ------
    ContentError
        If there is no such file, or it defines no such function.
    """
    module = load(kind, name)
    make = getattr(module, name, None)
    if not callable(make):
        own = [key for key, it in vars(module).items() if getattr(it, "__module__", "") == module.__name__]
        raise ContentError(
            f"{module.__file__} defines no function {name!r}, only: {', '.join(own) or 'nothing'}. "
            f"The file of the {kind} and the function that makes it carry the same name; rename one of them."
        )
    return make


def call(kind: str, name: str, /, *given: Any, **parameters: Any) -> Any:
    """Call the factory, after checking that it takes these parameters.

    An experiment's factory takes one ``config``; single fields of the file's ``Config`` may be given instead.

    Raises
    ------
    ContentError
        If there is no such file, a parameter is unknown or given without its name, or a required one is missing.
    """
    if given:
        raise ContentError(by_name(f"bp.{kind}({name!r}, …)", given))
    make = factory(kind, name)
    if kind == "experiment" and parameters and "config" not in parameters:
        config = getattr(load(kind, name), "Config", None)
        if isinstance(config, type) and dataclasses.is_dataclass(config):
            _check(f"field of the configuration of the experiment {name!r}", config, parameters)
            return make(config(**parameters))
    _check(f"parameter of the {kind} {name!r}", make, parameters)
    return make(**parameters)


def describe(kind: str, name: str) -> dict[str, str]:
    """The file a name stands for and the SHA-256 of its text, for a run's record.

    Raises
    ------
    ContentError
        If no file has that name.
    """
    file = _find(kind, name)
    return {"file": str(file), "sha256": hashlib.sha256(file.read_bytes()).hexdigest()}


def _folder(kind: str) -> str:
    if kind not in KINDS:
        raise ContentError(unknown("content kind", kind, KINDS))
    return KINDS[kind]


def _folders(kind: str) -> list[Path]:
    return [root / _folder(kind) for root in (study(), shipped()) if root is not None]


def _find(kind: str, name: str) -> Path:
    """The file that a name stands for, if it may be run."""
    found = names(kind)
    if name in found:
        if found[name].parent != shipped() / _folder(kind) and (why := withheld()):
            raise UntrustedError(f"The {kind} {name!r} stands for a file that is not run. {why}")
        return found[name]
    folder = _folder(kind)
    elsewhere = [other for other in KINDS if name in names(other)]
    hint = f" One of that name is among the {KINDS[elsewhere[0]]}." if elsewhere else ""
    raise ContentError(
        f"{unknown(kind, name, found)}{hint} Looked for {folder}/{cut(str(name))}.py in "
        f"{' and '.join(map(str, dict.fromkeys(_folders(kind))))}. "
        f"To add one, put that file into a study (`bioplaus new my_study` makes one)."
    )


def _check(what: str, make: Callable[..., Any], parameters: dict[str, Any]) -> None:
    """Refuse parameters that a call would refuse, but in words, and before anything runs."""
    accepted = inspect.signature(make).parameters.values()
    takes = [p for p in accepted if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD)]
    allowed = [p.name for p in takes]
    anything = any(p.kind is p.VAR_KEYWORD for p in accepted)
    for given in parameters:
        if given not in allowed and not anything:
            raise ContentError(unknown(what, given, allowed))
    missing = [p.name for p in takes if p.default is p.empty and p.name not in parameters]
    if missing:
        raise ContentError(
            f"No value was given for {', '.join(map(repr, missing))}, a required {what}. "
            f"Given: {', '.join(parameters) or 'nothing'}; all it takes: {', '.join(allowed)}."
        )


def _line_in(file: Path, error: BaseException) -> str:
    """``, line 12,`` if the error passed through the file; its innermost place is the one to look at."""
    lines = [error.lineno] if isinstance(error, SyntaxError) and error.filename == str(file) else []
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == str(file):
            lines.append(trace.tb_lineno)
        trace = trace.tb_next
    return f", line {lines[-1]}," if lines else ""

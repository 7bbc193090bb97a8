"""What worker processes make of the script that started them, and what can be sent to them.

A new process knows modules, not what was typed. Python runs the script's file in it once more, as the module ``__mp_main__``, so that
what the script defines exists there too; a call that starts workers must therefore stand where that second reading does not come
by. Where there is no file (a notebook, ``python -``, ``python -c``) nothing of the kind exists in a worker.
"""

from __future__ import annotations

import ast
import io
import pickle
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing import spawn
from pathlib import Path
from typing import Any

from bioplaus.errors import RunError, raised

_read = False  # in a worker: while it reads the script once more


def of_script() -> dict[str, str]:
    """What a worker has to read, as `multiprocessing.spawn.prepare` takes it; nothing where there is no file.

    Raises
    ------
    RunError
        If the script would start workers in every worker.
    """
    if _read:
        raise RunError(_UNGUARDED)
    try:
        found = spawn.get_preparation_data("worker")
    except RuntimeError:  # a process that another library spawned, and that reads the script now
        raise RunError(_UNGUARDED) from None
    name, file = found.get("init_main_from_name"), found.get("init_main_from_path")
    if name is not None:
        return {} if name.rpartition(".")[2] == "__main__" else {"init_main_from_name": name}
    if file is None or not Path(file).is_file():  # standard input calls itself a file "<stdin>"
        return {}
    if _at_top_level(Path(file)):
        raise RunError(_UNGUARDED)
    return {"init_main_from_path": file}


def read(script: dict[str, str]) -> None:
    """In a worker: run the script once more, as far as it is not under ``if __name__ == "__main__":``.

    Raises
    ------
    RunError
        If that does not come to its end.
    """
    global _read
    _read = True
    try:
        if script:
            spawn.prepare(script)
    except RunError:
        raise
    except BaseException as error:  # SystemExit too: it would end the worker without a word
        file = Path(next(iter(script.values()))).name
        raise RunError(
            f"The worker processes could not be started: each reads {file} once more, and that raised "
            f'{raised(error)}. Put what is to happen once under `if __name__ == "__main__":`, or leave workers out.'
        ) from error
    finally:
        _read = False


_UNGUARDED = (
    'Worker processes were asked for outside of `if __name__ == "__main__":`. Each of them reads the script once more and would ask '
    'for workers of its own. Nothing was computed in them. Put the call under `if __name__ == "__main__":` and leave definitions '
    "above it, or leave workers out."
)


def _at_top_level(file: Path) -> bool:
    """Whether the script's line that is running now is surely run by a second reading, too."""
    main = vars(sys.modules["__main__"])
    frame: types.FrameType | None = sys._getframe()
    line = None
    while frame is not None:
        if frame.f_globals is main and frame.f_code.co_name == "<module>":
            line = frame.f_lineno
        frame = frame.f_back
    if line is None:
        return False
    with suppress(OSError, SyntaxError, ValueError):
        for statement in ast.parse(file.read_bytes()).body:
            test = ast.dump(statement.test) if isinstance(statement, ast.If) else ""
            if statement.lineno <= line <= (statement.end_lineno or line):
                return "__name__" not in test
            if "__name__" in test and "NotEq" in test:  # perhaps the second reading ends there
                return False
    return False


@contextmanager
def unseen() -> Iterator[None]:
    """The script kept from `multiprocessing`, which would read it where nobody hears what goes wrong; `read` does it."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def pack(what: str, thing: Any, script: dict[str, str]) -> bytes:
    """An object as it is sent to a worker.

    Parameters
    ----------
    what : str
        What it is, for messages.
    script : dict
        What `of_script` gave.

    Raises
    ------
    RunError
        If a worker could not make anything of it.
    """
    buffer = io.BytesIO()
    packer = _Packer(buffer)
    try:
        packer.dump(thing)
    except Exception as error:  # pickle raises whatever an object's own methods do
        raise RunError(
            f"{what} can't be sent to a worker process: {error}. Functions and classes that it uses must stand at the top level of a "
            "module, not inside a function, nor be lambdas; open files and the like can't go along. Change that, or leave workers out."
        ) from error
    if packer.typed and not script:
        names = " and ".join(sorted(packer.typed))
        raise RunError(
            f"{what} can't be sent to a worker process: {names} was defined in a notebook, at the prompt or on standard input, where "
            "another process does not see it. Put it into a module, a file beside this one such as parts.py, and write "
            f"`from parts import {', '.join(sorted(packer.typed))}`; or leave workers out."
        )
    return buffer.getvalue()


def unpack(data: bytes) -> Any:
    """What `pack` made, in the worker.

    Raises
    ------
    RunError
        If its modules are not found here.
    """
    try:
        return pickle.loads(data)
    except Exception as error:
        raise RunError(
            f"A worker process can't make sense of what it was sent: {raised(error)}. What it uses must stand at the "
            "top level of a module that can be imported from here. Put it into such a file, or leave workers out."
        ) from error


class _Packer(pickle.Pickler):
    """Notes what belongs to the script itself."""

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file)
        self.typed: set[str] = set()

    def persistent_id(self, obj: Any) -> None:
        if isinstance(obj, type | types.FunctionType) and obj.__module__ == "__main__":
            self.typed.add(obj.__qualname__)

"""Text for whoever reads it, who may be gone, or may not know all letters: no run is worth less for that."""

from __future__ import annotations

import os
import sys
import unicodedata
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from typing import Any, TextIO

_SPELLED = {
    "λ": "lambda",
    "γ": "gamma",
    "θ": "theta",
    "δ": "delta",
    "∂": "d",
    "Δ": "Delta",
    "τ": "tau",
    "µ": "u",
    "μ": "u",
}
_SPELLED |= {
    "–": "-",
    "—": "-",
    "−": "-",
    "…": "...",
    "×": "x",
    "·": "*",
    "→": "->",
    "±": "+-",
    "≤": "<=",
    "≥": ">=",
    "≈": "~",
}
_SPELLED |= {"‘": "'", "’": "'", "“": '"', "”": '"', "√": "sqrt", "Σ": "sum", "²": "^2", "³": "^3"}


def spelled(text: str, encoding: str) -> str:
    """A text in the letters that an encoding has: λ as lambda, é as e, what can't be spelled as a question mark."""
    return "".join(letter if _has(encoding, letter) else _in_ascii(letter) for letter in text)


def _has(encoding: str, letter: str) -> bool:
    try:
        letter.encode(encoding)
    except UnicodeEncodeError:
        return False
    return True


def _in_ascii(letter: str) -> str:
    plain = unicodedata.normalize("NFKD", letter).encode("ascii", "ignore").decode()
    return _SPELLED.get(letter, plain or "?")


class Outlet:
    """A stream of text that never raises; once it can't be written to, what is said is lost, and that is all.

    Parameters
    ----------
    stream : TextIO or None
        What is written to; None, as Python has it for one that was closed before it started, for nothing.

    Attributes
    ----------
    lost : OSError or ValueError or None
        Why it could not be written to.
    """

    def __init__(self, stream: TextIO | None) -> None:
        self.stream = _nowhere() if stream is None else stream
        self.lost: OSError | ValueError | None = None

    def write(self, text: str) -> int:
        """Write, in other letters where it must be."""
        try:
            self.stream.write(text)
        except UnicodeEncodeError as error:
            self.write(spelled(text, error.encoding))
        except (OSError, ValueError) as error:  # a ValueError: closed
            self._give_up(error)
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write one after the other."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Hand on what is buffered."""
        try:
            self.stream.flush()
        except (OSError, ValueError) as error:
            self._give_up(error)

    @property
    def complaint(self) -> str:
        """Why text was lost; empty if none was, or if its reader has seen enough, as ``head`` has."""
        silent = self.lost is None or isinstance(self.lost, BrokenPipeError | ValueError)
        return "" if silent else str(getattr(self.lost, "strerror", None) or self.lost)

    def _give_up(self, error: OSError | ValueError) -> None:
        if isinstance(error, BlockingIOError):
            return  # a reader that is slow: only this is lost
        self.lost = self.lost or error
        # What is still in the buffer would come up again when Python ends.
        with suppress(OSError, ValueError, AttributeError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.stream.fileno())
            os.close(nowhere)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


@cache
def _nowhere() -> TextIO:
    return open(os.devnull, "w", encoding="utf-8")


@contextmanager
def steady() -> Iterator[Outlet]:
    """Outlets in place of standard output, which is given, and standard error; none of them closed, as ``>&-`` leaves it."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest that is free, which the next file would have taken
    before = sys.stdout, sys.stderr
    put: Any = Outlet(sys.stdout), Outlet(sys.stderr)
    sys.stdout, sys.stderr = put
    try:
        yield put[0]
    finally:
        sys.stdout, sys.stderr = before

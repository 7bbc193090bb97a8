"""Source text as functions; equal text is compiled once."""

from __future__ import annotations

from functools import lru_cache
from types import CodeType
from typing import Any

KEPT = 256  # chosen: some hundred kB; a network has one text per kind of cell, and one per pattern of its partials


def functions(text: str, origin: str, **known: Any) -> dict[str, Any]:
    """What running generated source defines, given the names it uses; ``origin`` is how tracebacks call it."""
    space = dict(known)
    exec(_compiled(text, origin), space)
    return space


@lru_cache(maxsize=KEPT)
def _compiled(text: str, origin: str) -> CodeType:
    return compile(text, f"<generated {origin} of a bioplaus cell>", "exec")

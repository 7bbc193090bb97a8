"""What is said of an error that nobody foresaw: in one paragraph, which tells whose code raised it."""

from __future__ import annotations

import os
import sys
import traceback
from pathlib import Path

from bioplaus.errors import raised

VARIABLE = "BIOPLAUS_TRACEBACK"
"""Set, it shows the whole way of such an error."""

ENGINE = Path(__file__).parents[1]


def shown() -> bool:
    """Whether the whole way is wanted."""
    return bool(os.environ.get(VARIABLE))


def paragraph(error: BaseException) -> str:
    """What was raised, and in which line: the user's own if the error came by there, else that of bioplaus."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if _is_own(Path(frame.filename))]
    what = raised(error)
    if own:
        last = own[-1]
        return (
            f"{last.filename}, line {last.lineno}, in {last.name}, raised {' '.join(what.split())}. Correct it and try again; with "
            f"{VARIABLE}=1 before the command the whole way is shown. What was saved before is as it was."
        )
    where = f"{Path(frames[-1].filename).name}, line {frames[-1].lineno}" if frames else "nowhere"
    return (
        f"this is a fault of bioplaus: {where}, raised {' '.join(what.split())}. Please report it with what is shown when "
        f"{VARIABLE}=1 stands before the command. What was saved before is as it was."
    )


def _is_own(file: Path) -> bool:
    """Whether a file is neither the engine's nor Python's nor of an installed package."""
    roots = (ENGINE, *map(Path, {sys.prefix, sys.base_prefix}))
    return file.is_absolute() and not any(file.is_relative_to(root) for root in roots)

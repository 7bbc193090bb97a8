"""What is shown: colours, tables and moving progress on a terminal, plain lines anywhere else."""

from __future__ import annotations

import sys
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console


def console() -> Console:
    """The console of standard output; outside a terminal it neither colours nor folds lines."""
    from rich.console import Console

    # `width`: a line that goes into a file or a pipe is left as long as it is.
    return Console(highlight=False, width=None if sys.stdout.isatty() else 10_000)


def say(text: str = "") -> None:
    """One line or paragraph, as it is."""
    print(shown(text), flush=True)


def shown(text: str) -> str:
    """A text without what a terminal would obey: files that tell of runs may come from anywhere."""
    return "".join(
        letter if letter in "\n\t" or unicodedata.category(letter) != "Cc" else repr(letter)[1:-1] for letter in text
    )


def heading(text: str) -> None:
    """A title, bold on a terminal."""
    if sys.stdout.isatty():
        console().print(shown(text), style="bold", markup=False)
    else:
        say(text)


def pairs(rows: Iterable[tuple[str, str]]) -> None:
    """Names and what they are, in two columns."""
    rows = [(name, text) for name, text in rows if text]
    width = max((len(name) for name, _ in rows), default=0)
    if not sys.stdout.isatty():
        for name, text in rows:
            say(f"  {name:<{width}}  {text}")
        return
    from rich.table import Table

    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="cyan", no_wrap=True)
    grid.add_column()
    for name, text in rows:
        grid.add_row(f"  {_plain(name)}", _plain(text))
    console().print(grid)


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]], right: Sequence[str] = ()) -> None:
    """A table; the columns named in `right` are flush right."""
    texts = [[str(value) for value in row] for row in rows]
    if not sys.stdout.isatty():
        widths = [max(map(len, column)) for column in zip(columns, *texts, strict=True)]
        for row in [list(columns), *texts]:
            cells = (
                text.rjust(width) if name in right else text.ljust(width)
                for text, width, name in zip(row, widths, columns, strict=True)
            )
            say(("  " + "  ".join(cells)).rstrip())
        return
    from rich import box
    from rich.table import Table

    drawn = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in columns:
        drawn.add_column(name, justify="right" if name in right else "left", overflow="fold")
    for row in texts:
        drawn.add_row(*map(_plain, row))
    console().print(drawn)


def _plain(text: str) -> str:
    from rich.markup import escape

    return escape(shown(text))


def frame(data: Any) -> None:
    """A pandas table; one too wide for the terminal as several, each with the first column."""
    from bioplaus.runs.report import cell

    numbers = [str(name) for name, kind in data.dtypes.items() if kind.kind in "if"]
    names = [str(name) for name in data.columns]
    rows = [[cell(value) for value in row] for row in data.itertuples(index=False)]
    widths = [max(map(len, column)) for column in zip(names, *rows, strict=True)]
    for part in parts(widths, console().width):
        table([names[i] for i in part], [[row[i] for i in part] for row in rows], right=numbers)


def parts(widths: Sequence[int], room: int) -> list[list[int]]:
    """Columns, by number, that fit side by side into ``room`` letters; the first stands in every part."""
    gap = 3  # what a table of rich takes for a column besides its letters
    found: list[list[int]] = []
    left = 0
    for i in range(1, len(widths)):
        if not found or widths[i] + gap > left:
            found.append([0])
            left = room - widths[0] - gap
        found[-1].append(i)
        left -= widths[i] + gap
    return found or [[0]]


def duration(seconds: float) -> str:
    """``8 s``, ``1:05``, ``2:03:00``."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    hours, rest = divmod(whole, 3600)
    return f"{hours}:{rest // 60:02}:{rest % 60:02}" if hours else f"{rest // 60}:{rest % 60:02}"


def took(timings: Iterable[Mapping[str, Any]]) -> str:
    """``1:05 of CPU time, 1:20 by the clock``, of runs together; the clock's alone if one was begun by an earlier version, which did not count the other."""
    timings = list(timings)
    clock = f"{duration(sum(each.get('seconds', 0) for each in timings))} by the clock"
    cpu = [each.get("cpu") for each in timings]
    return clock if None in cpu else f"{duration(sum(each for each in cpu if each))} of CPU time, {clock}"

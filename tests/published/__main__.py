"""Write the table of docs/published_models.md: python -m tests.published

Every number of it is measured here, in some minutes; none is typed by hand.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

from . import MODELS, Outcome, Published, compare

PAGE = Path(__file__).parents[2] / "docs" / "published_models.md"
BEGIN, END = "<!-- measured: written by python -m tests.published -->", "<!-- measured: end -->"
COLUMNS = ("model", "published", "text", "neurons × steps", "spikes: Brian2 / torch / twin", "largest difference")


def entered(model: Published) -> tuple[str, ...]:
    """The cells of a row that are known before anything is run."""
    text = model.named.replace("|", "\\|") or "verbatim"
    return (model.name, f"[{model.source}]({model.link})", text, f"{model.n} × {model.steps}")


def row(found: Outcome) -> tuple[str, ...]:
    """A model's row: the difference is that of a state, relative to its largest value."""
    model = found.model
    fired = " / ".join(f"{side.spikes.sum():.0f}" for side in (found.plain, found.torch, found.twin))
    return (*entered(model), fired if model.spike else "a rate", f"{found.difference:.0e}")


def block(found: Iterable[Outcome]) -> str:
    """What stands between the marks."""
    rows = [row(each) for each in found]
    verbatim = sum(cells[2] == "verbatim" for cells in rows)
    lines = [COLUMNS, ["---"] * len(COLUMNS), *rows]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return f"{BEGIN}\n\n{len(rows)} models, of which {verbatim} verbatim.\n\n{table}\n\n{END}"


def filled(text: str, found: Iterable[Outcome]) -> str:
    """The page with its table anew."""
    before, begun, rest = text.partition(BEGIN)
    _, ended, after = rest.partition(END)
    if not (begun and ended):
        sys.exit(f"{PAGE} lacks the marks {BEGIN} and {END}, between which the table belongs.")
    return before + block(found) + after


if __name__ == "__main__":
    PAGE.write_text(filled(PAGE.read_text(encoding="utf-8"), map(compare, MODELS.values())), encoding="utf-8")

"""What tests of runs' folders have in common."""

from __future__ import annotations

import json
from pathlib import Path

from bioplaus.runs import records


def as_killed(folder: Path) -> None:
    """The folder as a process leaves it that is killed: its run.json still says "running", and seals nothing beside it."""
    record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    record = {key: value for key, value in record.items() if key not in ("seal", "update", "remarks")}
    records.write(folder / "run.json", record | {"status": "running"})

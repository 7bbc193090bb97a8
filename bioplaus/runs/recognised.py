"""How a run is recognised: by its configuration, the code of the user's own included.

An earlier bioplaus did not write that code down. Its runs are recognised as they were then, by all else.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bioplaus.runs import records
from bioplaus.runs.config import differences, folder_name

CODE = "sources"
"""Where a configuration names the code, by hash; it is not there where none is the user's own."""


def changes(given: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    """Where the configuration that is given differs from one that was found, in words."""
    if CODE not in found:
        return differences(without_code(given), dict(found))
    return [*differences(without_code(given), without_code(found)), *_edited(given.get(CODE, {}), found[CODE])]


def without_code(config: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration as an earlier bioplaus wrote it."""
    return {name: value for name, value in config.items() if name != CODE}


def _edited(given: Mapping[str, str], found: Mapping[str, str]) -> list[str]:
    told = []
    for name in sorted({*given, *found}):
        if name not in found:
            told.append(f"the code of {name} belongs to it, and did not")
        elif name not in given:
            told.append(f"the code of {name} does not belong to it, and did")
        elif given[name] != found[name]:
            told.append(f"the code of {name} was edited")
    return told


def home(root: Path, label: str, seed: int, config: Mapping[str, Any]) -> Path:
    """The folder of a run below `root`; where an earlier bioplaus made it, the one that it had then.

    Raises
    ------
    RunError
        If the run.json of an earlier one is damaged.
    """
    now = root / folder_name(label, seed, config)
    before = root / folder_name(label, seed, without_code(config))
    if before != now and not now.exists():
        record = records.read_run(before / "run.json")
        if record is not None and CODE not in record["config"]:
            return before
    return now

"""Which experiment made a run, as plain data; and that experiment made anew."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bioplaus import content
from bioplaus.runs.alignment import SUFFIX
from bioplaus.runs.compare import PREFIX, Comparison, comparison, trials
from bioplaus.runs.config import plain, rebuild
from bioplaus.runs.experiment import Experiment
from bioplaus.runs.tuning import FOLDER


def origin_of(name: str | None, config: object = None) -> dict[str, Any]:
    """Which experiment with which configuration, None for a script's own run, and the content files in use."""
    options = dataclasses.asdict(config) if dataclasses.is_dataclass(config) and not isinstance(config, type) else {}
    made = {"name": name, "config": {key: plain(value, key) for key, value in options.items()}}
    return {"experiment": None if name is None else made, "content": content.recorded()}


def remake(record: Mapping[str, Any], folder: Path) -> Experiment | None:
    """The experiment that a record names, made anew from its file; ``None`` if there is no such file, or it was an alignment.

    Parameters
    ----------
    record : what run.json or experiment.json says.
    folder : in which it lies. If it lies in a study, names mean what they mean there.
    """
    origin = record.get("experiment")
    if not origin or origin["name"].endswith(SUFFIX):
        return None
    name, options = origin["name"], origin.get("config") or {}
    if name.startswith(PREFIX):
        make = trials if name.endswith(f"/{FOLDER}") else comparison
        return make(rebuild(Comparison, options))
    with content.seen_from(folder):
        if name not in content.names("experiment") or not _same(record, name, folder):
            return None
        kind = getattr(content.load("experiment", name), "Config", None)
        make = content.factory("experiment", name)
        return make(rebuild(kind, options)) if kind and options else make()


def _same(record: Mapping[str, Any], name: str, folder: Path) -> bool:
    """Whether the file that has this name now can be the one that made the record, perhaps edited since."""
    noted = (record.get("content") or {}).get(f"experiments/{name}", {})
    found = content.describe("experiment", name)
    shipped = Path(found["file"]).is_relative_to(content.shipped())
    if "of" not in noted:  # a record of before does not say whose file it was
        return (
            shipped or noted.get("sha256") in (None, found["sha256"]) or content.study_of(folder.resolve()) is not None
        )
    if noted["sha256"] == found["sha256"]:
        return True
    return noted["of"] == "shipped" if shipped else content.study_of(folder.resolve()) is not None

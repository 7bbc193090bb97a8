"""Which experiment made a run, as plain data; and that experiment made anew."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
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
    return {"experiment": None if name is None else made, "content": content.loaded()}


def remake(origin: Mapping[str, Any] | None) -> Experiment | None:
    """The experiment that a record names, made anew from its file; ``None`` if there is no such file, or it was an alignment."""
    if not origin or origin["name"].endswith(SUFFIX):
        return None
    name, options = origin["name"], origin.get("config") or {}
    if name.startswith(PREFIX):
        make = trials if name.endswith(f"/{FOLDER}") else comparison
        return make(rebuild(Comparison, options))
    if name not in content.names("experiment"):
        return None
    kind = getattr(content.load("experiment", name), "Config", None)
    make = content.factory("experiment", name)
    return make(rebuild(kind, options)) if kind and options else make()

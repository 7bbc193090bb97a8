"""Whether a file of a figure is bioplaus's own to replace.

Beside every figure lies a JSON file that tells what drew it and, for each of its other files, the SHA-256 of what was written. A
file without such a record, or of another content, is somebody else's, or somebody has worked on it since: it is left alone. Before
these hashes were kept a figure was known by the program that its file names.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bioplaus.errors import RunError
from bioplaus.figures.alone import alone

STANDARD = "bioplaus figure"
"""Who draws the figures that every run has."""

_SIGNED = (b"/Creator (bioplaus)", b"Software\0bioplaus", b"<dc:title>bioplaus</dc:title>")  # in a PDF, a PNG, an SVG


def write(stem: Path, files: Mapping[str, bytes], origin: dict[str, Any]) -> dict[str, Path]:
    """Write the files of a figure and the record of them, suffix → file.

    Raises
    ------
    RunError
        If that would replace what bioplaus has not drawn; nothing is written then.
    """
    with alone(stem.parent, ".*.part"):
        return _write_all(stem, files, origin)


def _write_all(stem: Path, files: Mapping[str, bytes], origin: dict[str, Any]) -> dict[str, Path]:
    places = {suffix: stem.with_name(stem.name + suffix) for suffix in files}
    record = stem.with_name(stem.name + ".json")
    before = drawn(stem)
    strange = [path for path in places.values() if path.exists() and not _ours(path, before)]
    if record.exists() and before is None:
        strange.append(record)
    if strange:
        raise RunError(
            f"The figure {stem.name!r} was not saved: bioplaus has not drawn {' and '.join(map(str, strange))}, or somebody has "
            "changed it since, and nothing is overwritten. Move it away or give it another name; or save the figure elsewhere, with "
            "--out FOLDER at the command line, with another path in figures.save."
        )
    hashes = {path.name: [_hash(files[suffix])] for suffix, path in places.items()}
    # Until all are written, a file may still be the one of before.
    both = {
        path.name: hashes[path.name] + ([_hash(path.read_bytes())] if path.exists() else []) for path in places.values()
    }
    _write(record, _json(origin | {"sha256": both}))
    for suffix, content in files.items():
        _write(places[suffix], content)
    _write(record, _json(origin | {"sha256": hashes}))
    for left in ({*(before or {}).get("sha256", ())} & {stem.name + ".csv", stem.name + ".npz"}) - hashes.keys():
        if _ours(stem.with_name(left), before):  # data of a figure of before, which would be taken for this one's
            stem.with_name(left).unlink()
    return {**places, ".json": record}


def drawn(stem: Path) -> dict[str, Any] | None:
    """What the record beside a figure says; None without one, or if it is none of ours."""
    try:
        record = json.loads(stem.with_name(stem.name + ".json").read_text(encoding="utf-8"))
        return record if "bioplaus" in record["versions"] and "files" in record else None
    except (OSError, ValueError, LookupError, TypeError):
        return None


def changed(stem: Path) -> list[str]:
    """Names of the files of a figure that are there and not as they were drawn."""
    said = (drawn(stem) or {}).get("sha256", {})
    return [
        name for name in said if (file := stem.with_name(name)).is_file() and _hash(file.read_bytes()) not in said[name]
    ]


def _ours(path: Path, record: Mapping[str, Any] | None) -> bool:
    if not path.is_file():
        return False
    content = path.read_bytes()
    if record is not None and "sha256" in record:
        return _hash(content) in record["sha256"].get(path.name, ())
    if path.suffix in (".csv", ".npz"):  # these don't tell who wrote them
        return record is not None and path.name in record["files"]
    return any(sign in content for sign in _SIGNED)


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _json(record: Mapping[str, Any]) -> bytes:
    return (json.dumps(record, indent=2, ensure_ascii=False) + "\n").encode()


def _write(path: Path, content: bytes) -> None:
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.write_bytes(content)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)

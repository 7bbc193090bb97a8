"""Put the content folders into the wheel; an editable install reads them from the checkout."""

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class ContentFolders(BuildHookInterface):
    """Map each content folder to ``bioplaus/_shipped/``, where an installed ``bioplaus.content`` looks."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version != "standard":
            return
        for folder in ("models", "circuits", "experiments"):
            for file in sorted(Path(self.root, folder).rglob("*")):
                if file.is_file() and "__pycache__" not in file.parts:
                    inside = file.relative_to(self.root).as_posix()
                    build_data["force_include"][str(file)] = f"bioplaus/_shipped/{inside}"

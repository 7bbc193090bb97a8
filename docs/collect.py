"""Take an experiment's outcome into its page: python docs/collect.py runs/NAME [--part PART] [FIGURE …]

Copies the tables and the named figures (PNG and SVG; all of them if none is named) to docs/experiments/NAME/, and puts the
table, the command, the versions and the time between the page's markers. No number in a page is typed by hand. What was run
for itself, such as arms that take long, is a part: its tables are PART.csv and PART_seeds.csv, its markers name it.
"""

import json
import re
import shutil
import sys
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from pathlib import Path

from PIL import Image, PngImagePlugin


def marks(part: str) -> tuple[str, str]:
    """Between which the outcome stands."""
    of = f"measured {part}".strip()
    return f"<!-- {of}: begin -->", f"<!-- {of}: end -->"


def plain(command: str) -> str:
    """A command without the folder in which it was given, and whose code it might run: that is of one machine."""
    return re.sub(r" --(?:root|out) [^\s\"'<&]+| --trust\b", "", command)


def copy_plain(figure: Path, to: Path) -> None:
    """A figure whose metadata name the command and no folder; its pixels as they are."""
    if figure.suffix == ".svg":
        to.write_text(plain(figure.read_text(encoding="utf-8")), encoding="utf-8")
        return
    with Image.open(figure) as image:
        image.load()
        told = PngImagePlugin.PngInfo()
        for name, text in getattr(image, "text", {}).items():
            told.add_itxt(name, plain(text))
        image.save(to, pnginfo=told, dpi=image.info["dpi"], optimize=True)


def collect(folder: Path, figures: list[str], part: str = "") -> None:
    told = folder / "experiment.json"
    if not told.exists():
        sys.exit(f"{folder} lacks experiment.json, which says by what command and of which runs its table is.")
    whole = json.loads(told.read_text())
    page = Path(__file__).parent / "experiments" / f"{folder.name}.md"
    target = page.with_suffix("")
    target.mkdir(parents=True, exist_ok=True)
    for table, name in (("table.csv", part), ("seeds.csv", f"{part}_seeds")):
        if (folder / table).exists():
            shutil.copy(folder / table, target / (f"{name}.csv" if part else table))
    for figure in figures or sorted(path.stem for path in (folder / "figures").glob("*.png")):
        for suffix in (".png", ".svg"):
            copy_plain(folder / "figures" / f"{figure}{suffix}", target / f"{figure}{suffix}")
    # those of the table: beside them may lie what was interrupted, or of other settings
    names = sorted(name for arm in whole["runs"].values() for name in arm)
    runs = [json.loads((folder / name / "run.json").read_text()) for name in names]
    seeds = sorted({run["config"]["seed"] for run in runs})
    versions = ", ".join(f"{name} {number}" for name, number in runs[0]["versions"].items())
    cpu = [run["timing"].get("cpu") for run in runs]  # runs that an earlier version began lack it
    spent = sum(run["timing"]["seconds"] for run in runs) if None in cpu else sum(cpu)
    kind = "by the clock" if None in cpu else "of CPU time"
    said = plain(whole["command"])
    begin, end = marks(part)
    block = (
        f"{begin}\n\nCommand: `{said}`. Seeds {', '.join(map(str, seeds))}. {spent:.0f} s {kind} in {len(runs)} runs on "
        f"{runs[0]['machine']['cpu']}; {versions}.\n\n{(folder / 'table.md').read_text().strip()}\n\n{end}"
    )
    text = page.read_text()
    if not (begin in text and end in text):
        sys.exit(f"{page} lacks the markers {begin} and {end}, between which the outcome belongs.")
    page.write_text(re.sub(f"{begin}.*{end}", lambda _: block, text, flags=re.S))


if __name__ == "__main__":
    given = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    given.add_argument("folder", type=Path)
    given.add_argument("figures", nargs="*")
    given.add_argument("--part", default="")
    collect(**vars(given.parse_args()))

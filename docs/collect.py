"""Take an experiment's outcome into its page: python docs/collect.py runs/NAME [FIGURE …]

Copies the tables and the named figures (PNG and SVG; all of them if none is named) to docs/experiments/NAME/, and puts the
table, the command, the versions and the time between the page's markers. No number in a page is typed by hand.
"""

import json
import re
import shutil
import sys
from pathlib import Path

from PIL import Image, PngImagePlugin

MARKS = ("<!-- measured: begin -->", "<!-- measured: end -->")


def plain(command: str) -> str:
    """A command without the folder in which it was given, and whose code it might run: that is of one machine."""
    return re.sub(r" --root [^\s\"'<&]+| --trust\b", "", command)


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


def collect(folder: Path, figures: list[str]) -> None:
    page = Path(__file__).parent / "experiments" / f"{folder.name}.md"
    target = page.with_suffix("")
    target.mkdir(parents=True, exist_ok=True)
    for table in ("table.csv", "seeds.csv"):
        if (folder / table).exists():
            shutil.copy(folder / table, target)
    for figure in figures or sorted(path.stem for path in (folder / "figures").glob("*.png")):
        for suffix in (".png", ".svg"):
            copy_plain(folder / "figures" / f"{figure}{suffix}", target / f"{figure}{suffix}")
    runs = [json.loads(path.read_text()) for path in sorted(folder.glob("*/run.json"))]
    seeds = sorted({run["config"]["seed"] for run in runs})
    versions = ", ".join(f"{name} {number}" for name, number in runs[0]["versions"].items())
    seconds = sum(run["timing"]["seconds"] for run in runs)
    said = plain(runs[-1]["command"])
    block = (
        f"{MARKS[0]}\n\nCommand: `{said}`. Seeds {', '.join(map(str, seeds))}. {seconds:.0f} s of learning in {len(runs)} runs on "
        f"{runs[0]['machine']['cpu']}; {versions}.\n\n{(folder / 'table.md').read_text().strip()}\n\n{MARKS[1]}"
    )
    text = page.read_text()
    if not all(mark in text for mark in MARKS):
        sys.exit(f"{page} lacks the markers {MARKS[0]} and {MARKS[1]}, between which the outcome belongs.")
    page.write_text(re.sub(f"{MARKS[0]}.*{MARKS[1]}", lambda _: block, text, flags=re.S))


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    collect(Path(sys.argv[1]), sys.argv[2:])

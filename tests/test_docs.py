"""Every Python block of the README and of docs/ runs, page by page, in an empty folder."""

import re
import subprocess
import sys
from pathlib import Path
from unittest.mock import patch

import pytest

from bioplaus.check.regimes import REGIMES
from bioplaus.rules import TABLE

ROOT = Path(__file__).parent.parent
PAGES = [
    page for page in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))] if "```python" in page.read_text()
]
BLOCK = re.compile(r"```python\n(.*?)```", re.S)


def test_the_pages_that_promise_code_have_it() -> None:
    names = {page.name for page in PAGES}
    assert {
        "README.md",
        "concepts.md",
        "rules.md",
        "add_a_model.md",
        "add_a_rule.md",
        "add_a_signal.md",
        "add_an_experiment.md",
    } <= names


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_page_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    space: dict[str, object] = {"__name__": "page"}
    text = page.read_text()
    with patch.dict(TABLE), patch.dict(REGIMES):  # what a page registers is gone after it
        for match in BLOCK.finditer(text):
            line = text[: match.start()].count("\n") + 1
            exec(compile("\n" * line + match[1], str(page), "exec"), space)
    assert "subgroups" not in TABLE


def test_a_rule_in_a_file_of_its_own_is_known_to_the_shell_and_to_workers(tmp_path: Path) -> None:
    """The blocks of the page on rules that make up the file, run as the page says."""
    blocks = BLOCK.findall((ROOT / "docs" / "add_a_rule.md").read_text())
    parts = [
        [b for b in blocks if words in b]
        for words in ("class Subgroups(", "def of_subgroups", "raise SystemExit(main())")
    ]
    assert all(len(part) == 1 for part in parts)
    (tmp_path / "subgroups.py").write_text("\n\n".join(part[0] for part in parts))
    words = "compare add --rules subgroups(groups=4) --cell elman --units 8 --updates 2 --batch 2 --seeds 0 --workers 2"
    done = subprocess.run(
        [sys.executable, "subgroups.py", *words.split()], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "subgroups(groups=4)" in done.stdout and (tmp_path / "runs" / "compare-add" / "table.csv").exists()


def test_links_lead_somewhere() -> None:
    for page in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.relative_to(ROOT)} points to {target}, which is not there"

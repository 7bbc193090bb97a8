"""Tables of the pages: whole, with as many cells in every row; and numbers in the text that the table beside them gives."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
RULE = re.compile(r"\|(\s*:?-+:?\s*\|)+")


def cells(line: str) -> list[str]:
    """What stands between the bars; one behind a backslash is none."""
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip())[1:-1]]


def tables(text: str) -> list[list[str]]:
    """Runs of lines that start with a bar, outside of code."""
    found, inside, code = [], False, False
    for line in text.splitlines():
        code ^= line.lstrip().startswith("```")
        row = line.startswith("|") and not code
        if row and not inside:
            found.append([])
        if row:
            found[-1].append(line)
        inside = row
    return found


def broken(text: str) -> list[str]:
    """What would be rendered as text, or with cells missing or left over."""
    wrong = []
    for rows in tables(text):
        if len(rows) < 3 or not RULE.fullmatch(rows[1].strip()):
            wrong.append(f"no table: {rows[0]}")
            continue
        width = len(cells(rows[0]))
        wrong += [f"{len(cells(row))} cells of {width}: {row}" for row in rows if len(cells(row)) != width]
        wrong += [f"no bar at the end: {row}" for row in rows if not row.rstrip().endswith("|")]
    return wrong


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_table_of_every_page_is_whole(page):
    assert not broken(page.read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    "text",
    [
        "| a | b |\n|---|---|\n| 1 | 2 |\n\n| 3 | 4 |\n",
        "| a | b |\n|---|---|\n| 1 | 2 | 3 |\n",
        "| a | b |\n|---|---|\n| 1 |\n",
        "| a | b |\n| 1 | 2 |\n| 3 | 4 |\n",
        "| a | b |\n|---|---|---|\n| 1 | 2 |\n",
        "| a | b |\n|---|---|\n| 1 | `x|y` |\n",
        "| a | b |\n|---|---|\n| 1 | 2 | \n| 3 | 4\n",
    ],
)
def test_a_broken_table_is_found(text):
    assert broken(text)
    assert not broken("| a | b |\n|---|:-:|\n| 1 | `x\\|y` |\n\n```\n| no table\n```\n")


def test_pages_have_tables():
    assert sum(len(tables(page.read_text(encoding="utf-8"))) for page in PAGES) > 30


#: page → delays of which a row has the runs
DELAYS = {"horizon": 5}


def test_pages_count_the_runs_that_their_tables_are_of():
    found = []
    for page in sorted(ROOT.glob("docs/experiments/*.md")):
        text = page.read_text(encoding="utf-8")
        for block in re.findall(r"<!-- (measured.*?): begin -->(.*?)<!-- \1: end -->", text, flags=re.S):
            rows = tables(block[1])[0]
            each = [dict(zip(cells(rows[0]), cells(row), strict=True)) for row in rows[2:]]
            arms = {next(iter(row.values())): int(row["n"]) for row in each}  # some have several rows of the same runs
            told = re.search(r" in (\d+) runs on ", block[1])
            assert told and int(told[1]) == sum(arms.values()) * DELAYS.get(page.stem, 1), f"{page.name}, {block[0]}"
            found.append(page.stem)
    assert set(DELAYS) < set(found) and len(found) > 30


def test_combined_standard_errors_of_the_released_code():
    page = (ROOT / "docs/experiments/released_code.md").read_text(encoding="utf-8")
    (measured,) = [rows for rows in tables(page) if rows[0].startswith("| arm")]
    head = cells(measured[0])
    values = {row["arm"]: row for row in (dict(zip(head, cells(line), strict=True)) for line in measured[2:])}

    def apart(arm: str) -> float:
        """How much less the released rule agrees with BPTT, in standard errors of the difference."""
        name = "weight-gradient cosine"
        one, other = (values[label] for label in (arm, f"{arm} released"))
        gap = float(one[name]) - float(other[name])
        return gap / (float(one[f"{name} s.e.m."]) ** 2 + float(other[f"{name} s.e.m."]) ** 2) ** 0.5

    digits, reaching = (
        [f"{apart(f'{task} λ={lmbda}'):.1f}" for lmbda in ("0", "0.5", "1")] for task in ("digits", "reaching")
    )
    assert f"by {digits[0]}, {digits[1]} and {digits[2]} combined standard errors" in page
    assert f"({reaching[0]}, {reaching[1]} and {reaching[2]})".replace("-", "−") in page
    ratios = [
        float(row["log10 released / rule"]) / float(row["log10 released / rule s.e.m."])
        for row in values.values()
        if row["log10 released / rule"] != "–"
    ]
    assert len(ratios) == 6 and sum(abs(each) > 2 for each in ratios) == 1

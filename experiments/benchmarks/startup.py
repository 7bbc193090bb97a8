"""CPU seconds until something is computed: what each process loads, and short commands from the first second to the last.

    python experiments/benchmarks/startup.py [--repeats 5] [--against CHECKOUT] [--out FILE.csv]

Every row is a process of its own with one thread, in an empty folder; counted is the CPU time of it and of the workers that it waits
for, whoever else the machine works for meanwhile; Python keeps what it has compiled, as it does unless it is told not to. Rows are taken in turn, round after round, and `import torch` is one of them: the
last column is in its units, which a slower or busier machine changes least. ``--against`` takes the same rows in turn from another
checkout of bioplaus.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

import pandas

import bioplaus

HERE = Path(bioplaus.__file__).parent.parent
UNIT = "import torch"
_RUN = ("-m", "bioplaus.cli", "run", "sequential_digits", "--training.updates", "20", "--seeds", "0:1")
#: what → the words after `python`
ROWS: dict[str, tuple[str, ...]] = {
    UNIT: ("-c", "import torch"),
    "open Brian2 (bioplaus.symbolic)": ("-c", "import bioplaus.symbolic"),
    "one step of Adam": (
        "-c",
        "import torch\nfrom bioplaus.learning.by_name import maker\nw = torch.zeros(3)\nw.grad = torch.ones(3)\n"
        "maker('adam', {}, {'betas': (0.9, 0.999), 'eps': 1e-8})([{'params': [w], 'lr': 1.0}]).step()",
    ),
    "bioplaus list": ("-m", "bioplaus.cli", "list"),
    "bioplaus show alif": ("-m", "bioplaus.cli", "show", "alif"),
    "run sequential_digits, 6 arms of 20 updates": _RUN,
    "the same with two workers": (*_RUN, "--workers", "2"),
}


def cpu(words: tuple[str, ...], checkout: Path, compiled: str) -> float:
    """CPU seconds of a process and of those that it has waited for; Python keeps its compiled files in the folder ``compiled``.

    Raises
    ------
    RuntimeError
        If it fails.
    """
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    one = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")
    with tempfile.TemporaryDirectory() as folder:
        process = subprocess.Popen(
            [sys.executable, *words],
            cwd=folder,
            env=kept | one | {"PYTHONPATH": str(checkout), "PYTHONPYCACHEPREFIX": compiled},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"python {' '.join(words)} ended with {process.returncode}, in {checkout}")
    return used.ru_utime + used.ru_stime


def measure(repeats: int, checkouts: dict[str, Path]) -> pandas.DataFrame:
    """Least and median of every row, by checkout; the first round, in which files are read and compiled, does not count."""
    found: dict[tuple[str, str], list[float]] = {(what, name): [] for what in ROWS for name in checkouts}
    with tempfile.TemporaryDirectory() as compiled:
        for turn in range(repeats + 1):
            for (what, name), seconds in found.items():
                used = cpu(ROWS[what], checkouts[name], compiled)
                if turn:
                    seconds.append(used)
    rows = []
    for (what, name), seconds in found.items():
        unit = [median(pair) for pair in zip(*(found[UNIT, each] for each in checkouts), strict=True)]
        ratio = median(mine / torch for mine, torch in zip(seconds, unit, strict=True))
        least, middle = round(min(seconds), 2), round(median(seconds), 2)
        rows.append({"what": what, "checkout": name, "least_s": least, "median_s": middle, "in_torch": round(ratio, 2)})
    return pandas.DataFrame(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--against", type=Path, default=None, help="another checkout of bioplaus, taken in turn")
    parser.add_argument("--out", type=Path, default=None, help="also write the table to this CSV file")
    given = parser.parse_args()
    checkouts = {"this": HERE} | ({"against": given.against.resolve()} if given.against else {})
    found = measure(given.repeats, checkouts)
    print(found.to_string(index=False))
    if given.out is not None:
        found.to_csv(given.out, index=False)


if __name__ == "__main__":
    main()

"""The finished runs of an experiment, and what is read off them together. Light to import."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bioplaus.errors import RunError, unknown

if TYPE_CHECKING:
    import numpy as np
    import pandas

    from bioplaus.errors import BioplausError
    from bioplaus.runs.run import Run


class Results(Mapping[str, "list[Run]"]):
    """The finished runs of an experiment: arm → its runs, one a seed.

    Parameters
    ----------
    runs : mapping of str to list of Run
        In the order of the experiment's arms.
    broken : mapping of str to sequence of int
        Arm → seeds with which the simulation broke down.
    error : BioplausError, optional
        What tells of all of those.
    """

    def __init__(
        self,
        runs: Mapping[str, list[Run]],
        broken: Mapping[str, Sequence[int]] | None = None,
        error: BioplausError | None = None,
    ):
        self._runs = {label: list(some) for label, some in runs.items() if some}
        self.broken = {label: tuple(seeds) for label, seeds in (broken or {}).items() if seeds}
        self.error = error

    def __repr__(self) -> str:
        seeds = ", ".join(f"{label}: {len(runs)} run{'s' * (len(runs) != 1)}" for label, runs in self.items())
        return f"Results({seeds or 'no finished run'})"

    def __getitem__(self, label: str) -> list[Run]:
        try:
            return self._runs[label]
        except KeyError:
            raise MissingArm(unknown("finished arm", label, self._runs)) from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._runs)

    def __len__(self) -> int:
        return len(self._runs)

    def __contains__(self, label: object) -> bool:
        return label in self._runs

    def curves(self, column: str) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """One measurement over training, as the panels of `bioplaus.figures` take it.

        Parameters
        ----------
        column : str
            A column of ``metrics.csv``.

        Returns
        -------
        dict of str to (updates, values)
            ``updates`` (update,): those at which it was measured; ``values`` (seed, update). Arms in which it
            never was are left out.

        Raises
        ------
        RunError
            If no arm has such a column.
        """
        import numpy as np

        found: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        columns: set[str] = set()
        for label, runs in self.items():
            columns |= {name for run in runs for name in run.metrics.columns}
            series = [run.metrics.set_index("update")[column].dropna() for run in runs if column in run.metrics]
            updates = sorted(set().union(*(one.index for one in series)))
            if updates:
                values = np.stack([one.reindex(updates).to_numpy(float) for one in series])
                found[label] = (np.array(updates), values)
        if column not in columns:
            raise RunError(unknown("column of metrics.csv", column, columns))
        return found

    def final(self, column: str = "test_score") -> dict[str, np.ndarray]:
        """The last measured value of a column, arm → (seed,)."""
        import numpy as np

        return {label: np.array([run.final(column) for run in runs]) for label, runs in self.items()}

    def late(self, column: str = "test_loss", share: float = 0.1) -> dict[str, np.ndarray]:
        """Median of a column's last measurements, by default the last tenth of them, arm → (seed,); steadier than `final`."""
        import numpy as np

        last = {
            label: rows[:, -max(1, int(share * rows.shape[1])) :] for label, (_, rows) in self.curves(column).items()
        }
        return {
            label: np.array([np.nanmedian(row) if np.isfinite(row).any() else np.nan for row in rows])
            for label, rows in last.items()
        }

    def against(self, found: Mapping[str, np.ndarray], label: str, other: str) -> str:
        """Two arms, seed by seed, of what was found of each, arm → (seed,): `bioplaus.analysis.paired`; a dash where one of them is missing."""
        from bioplaus.analysis import paired

        if label == other or label not in self or other not in self:
            return "–"
        one, two = (dict(zip([run.seed for run in self[a]], found[a], strict=True)) for a in (label, other))
        both = [seed for seed in one if seed in two]
        return str(paired([one[seed] for seed in both], [two[seed] for seed in both])) if both else "–"

    def table(self, columns: Sequence[str] = ("test_score", "test_loss")) -> pandas.DataFrame:
        """One row an arm: n, mean ± s.e.m. of each column at the end (ddof 1), milliseconds an update."""
        import pandas

        rows = []
        for label, runs in self.items():
            row: dict[str, Any] = {"arm": label, "n": len(runs)}
            for column in columns:
                row |= _spread(column, [run.final(column) for run in runs])
            row["ms per update"] = 1e3 * _mean([run.final("seconds") / run.final("update") for run in runs])
            rows.append(row)
        return pandas.DataFrame(rows)

    def by_seed(self) -> pandas.DataFrame:
        """One row an arm and seed: the last measured value of every column of ``metrics.csv``."""
        import pandas

        rows = [
            {"arm": label, "seed": run.seed}
            | {c: run.final(c) for c in run.metrics.columns if len(run.metrics[c].dropna())}
            for label, runs in self.items()
            for run in runs
        ]
        return pandas.DataFrame(rows)


class MissingArm(RunError):
    """A table or figure wants an arm that was left out of this run of the experiment."""


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _spread(column: str, values: Sequence[float]) -> dict[str, float]:
    mean, n = _mean(values), len(values)
    error = (sum((value - mean) ** 2 for value in values) / (n - 1) / n) ** 0.5 if n > 1 else float("nan")
    return {column.replace("_", " "): mean, f"{column.replace('_', ' ')} s.e.m.": error}

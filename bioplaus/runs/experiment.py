"""What an experiment is: named arms, seeds, and what is made of their results. Light to import."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bioplaus import checks, content
from bioplaus.errors import RunError, unknown

if TYPE_CHECKING:
    import pandas
    from matplotlib.figure import Figure

    from bioplaus.runs.arm import Arm
    from bioplaus.runs.results import Results

SEEDS = checks.Several(checks.SEED, "(0, 1, 2)", most=10_000, different=True)


@dataclass(frozen=True)
class Remarks:
    """What is said beside a table, each a paragraph: ``about`` above it, ``warnings`` below."""

    about: Sequence[str] = ()
    warnings: Sequence[str] = ()


@dataclass(frozen=True, repr=False)
class Experiment(checks.Named):
    """Several learners, several seeds, and the table and figures made of them.

    A file ``experiments/<name>.py`` holds ``@dataclass(frozen=True) class Config`` and
    ``def <name>(config: Config = Config()) -> Experiment``.

    Attributes
    ----------
    title : str
        One line.
    arms : mapping of str to Arm
        Label → learner, in the order in which they are listed.
    seeds : tuple of int
        Every arm runs once with each.
    table : callable, optional
        Makes a pandas table of the results; `Results.table` by default.
    by_seed : callable, optional
        Makes a pandas table of the results with one row an arm and seed, which is kept as ``seeds.csv``; `Results.by_seed` by default.
    figures : mapping of str to callable
        File name, without folder and suffix → what draws it from the results. One that asks for an arm that was left out is skipped.
    expected : str
        The band in which the results should lie; printed last.
    references : tuple of str
        DOIs or citations of what is reproduced.
    remarks : callable, optional
        Makes, of the results, what is printed and written beside the table.
    """

    title: str
    arms: Mapping[str, Arm]
    seeds: Sequence[int] = (0,)
    table: Callable[[Results], pandas.DataFrame] | None = None
    figures: Mapping[str, Callable[[Results], Figure]] = field(default_factory=dict)
    expected: str = ""
    references: Sequence[str] = ()
    remarks: Callable[[Results], Remarks] | None = None
    by_seed: Callable[[Results], pandas.DataFrame] | None = None

    constraints = checks.Table(RunError, "of an experiment", title=checks.Text(), seeds=SEEDS, expected=checks.Text())

    def __post_init__(self) -> None:
        if not isinstance(self.arms, Mapping) or not self.arms:
            raise RunError(
                f"The experiment {self.title!r} has no arms: give a mapping of at least one, label → Arm(…), such as "
                '{"eprop": Arm(circuit, task, rule, training)}.'
            )
        for label, arm in self.arms.items():
            checks.accept(RunError, f"The label of an arm of {self.title!r}", label, checks.Text())
            if arm is not None and not all(hasattr(arm, part) for part in ("circuit", "task", "rule", "training")):
                raise checks.refusal(
                    RunError, f"The arm {label!r} of {self.title!r}", arm, "an Arm(circuit, task, rule, training)"
                )
        for name in self.figures:
            content.plain_name(RunError, f"The name of a figure of {self.title!r}", name)
        checks.settle(self)

    def __repr__(self) -> str:
        return f"Experiment({self.title!r}, arms: {', '.join(map(str, self.arms))}; seeds {', '.join(map(str, self.seeds))})"

    def only(self, labels: Sequence[str] | str | None) -> dict[str, Arm]:
        """The arms of these labels, or of this one, or all of them.

        Raises
        ------
        RunError
            If a label is none of the experiment's.
        """
        labels = (labels,) if isinstance(labels, str) else labels
        for label in labels or ():
            if label not in self.arms:
                raise RunError(unknown(f"arm of {self.title!r}", label, self.arms))
        return {label: arm for label, arm in self.arms.items() if not labels or label in labels}


def check_seeds(seeds: Iterable[int]) -> tuple[int, ...]:
    """The seeds of runs as plain numbers; nothing, a negative or fractional number, the same one twice are refused."""
    return checks.accept(RunError, "seeds", seeds, SEEDS)

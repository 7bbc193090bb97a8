"""Mode align of ``bioplaus compare`` before the user's eyes: options, header, progress, footer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bioplaus.cli import UsageError
from bioplaus.cli.options import MANY, parse_seeds, typed
from bioplaus.cli.terminal import frame, pairs, say, took
from bioplaus.cli.watch import Watch
from bioplaus.errors import cut
from bioplaus.runs.alignment import DRAWS, Alignment, AlignmentJob, alignment_job
from bioplaus.runs.arm import Arm

MODES = ("learn", "align")


def asked(draws: int | None, lags: str, tune: str, evaluate_every: int) -> tuple[int, tuple[int, ...]]:
    """What ``--draws`` and ``--lags`` ask for.

    Raises
    ------
    UsageError
        If they make no sense, or something is asked for that belongs to mode learn.
    """
    for option, value in (("--tune", tune), ("--evaluate-every", evaluate_every)):
        if value:
            raise UsageError(
                f"`{option} {value}` is for --mode learn: in mode align all rules have one circuit, which the first drives."
            )
    if draws is not None and (draws < 0 or draws == 1):
        raise UsageError(
            f"`--draws {draws}`: give 2 or more, or 0 for none; one draw does not tell how far draws scatter."
        )
    try:
        found = parse_seeds(lags) if lags.strip() else ()
    except UsageError:
        raise UsageError(
            f"{cut(lags)!r} are not lags. Give 0:20 for 0 to 19 steps, 0,1,5 for these three, or 3 for one; each once, and at most {MANY}."
        ) from None
    return DRAWS if draws is None else draws, found


def only_here(draws: int | None, lags: str) -> None:
    """Refuse options of mode align in mode learn.

    Raises
    ------
    UsageError
    """
    for option, value in (("--draws", draws), ("--lags", lags)):
        if value not in (None, ""):
            raise UsageError(
                f"`{option} {value}` says what mode align measures: give --mode align with it, or leave it out."
            )


def conduct_alignment(config: Alignment, seeds: Sequence[int], workers: int, root: str) -> int:
    """Measure, and return the exit status."""
    from bioplaus.runs.alignment_sweep import AlignmentSweep

    with typed():
        job = alignment_job(config)
    sweep = AlignmentSweep(job, root=root, seeds=seeds, workers=workers)
    _header(job, seeds, workers, sweep.folder)
    watch = Watch({job.label: job.updates}, len(seeds), workers)
    with watch:
        sweep.run(watch)
    _footer(sweep.folder, watch.drawn)
    return 0


def _header(job: AlignmentJob, seeds: Sequence[int], workers: int, folder: Path) -> None:
    from bioplaus.cli.conduct import header

    arms = {label: Arm(job.circuit, job.task, rule, job.training) for label, rule in job.rules.items()}
    drives = next(iter(arms))
    title = f"{job.config.comparison.task}: {drives} drives, all gradients along its way are compared"
    header(title, arms, seeds, workers, folder)
    drawn = [name for name, rule in job.rules.items() if rule.past.random or rule.future.random]
    pairs(
        [
            ("measured", f"every {job.every} updates" if job.every > 1 else "every update"),
            ("then", f"credit over {len(job.lags)} lags, which count as updates below"),
            ("draws", f"{job.draws} of {', '.join(drawn)}" if drawn and job.draws else ""),
        ]
    )
    say()


def _footer(folder: Path, figures: Sequence[str]) -> None:
    import pandas

    from bioplaus.runs import Run
    from bioplaus.runs.report import read_report

    say()
    frame(pandas.read_csv(folder / "table.csv"))
    say()
    places = [folder / name for names in read_report(folder)["runs"].values() for name in names]
    timings = [Run.load(place).record["timing"] for place in places]
    pairs(
        [
            ("computed in", f"{took(timings)}, summed over {len(places)} seeds"),
            ("folder", str(folder)),
            ("figures", ", ".join(figures)),
        ]
    )

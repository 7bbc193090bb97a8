"""``bioplaus compare TASK --rules a,b,c``: several rules on one task and circuit, no experiment written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from bioplaus.cli import UsageError, along
from bioplaus.cli.options import choose, names_first, parse, parse_seeds, typed, wants_help
from bioplaus.cli.tuning import asked, search
from bioplaus.runs.compare import Comparison, Setting, comparison, parse_rule, split_rules


def main(words: Sequence[str]) -> int:
    """Parse, run, report."""
    from bioplaus import content
    from bioplaus.tasks import TASKS

    names, rest = names_first(words, "one task", "bioplaus compare")
    if not names and not wants_help(rest):
        raise UsageError(f"`bioplaus compare` needs the name of a task, before any option: {', '.join(TASKS)}.")
    task = choose("task", names[0], list(TASKS)) if names else ""
    given = parse(_options(), rest, f"bioplaus compare {task or 'TASK'}")
    rules = split_rules(given.rules)
    if not rules:
        raise UsageError(
            "`bioplaus compare` needs --rules with one or more names, such as --rules bptt,eprop,bp_lambda."
        )
    seeds = parse_seeds(given.seeds)
    if given.workers < 1:
        raise UsageError(f"`--workers {given.workers}`: give 1 or more processes.")
    choose("circuit", given.setting.circuit, list(content.names("circuit")))
    choose("model", given.setting.cell, list(content.names("model")))
    for rule in rules:
        parse_rule(rule)
    tuning = asked(given.tune, given.tune_updates, given.tune_seeds, given.setting, seeds)
    if choose("mode", given.mode, along.MODES) == "align":
        draws, lags = along.asked(given.draws, given.lags, given.tune, given.setting.evaluate_every)
        measured = along.Alignment(Comparison(task, rules, given.setting), draws, lags)
        return along.conduct_alignment(measured, seeds, given.workers, given.root)
    along.only_here(given.draws, given.lags)

    config = Comparison(task, rules, given.setting, tuning)
    from bioplaus.cli.conduct import computed, conduct

    with typed():
        experiment = computed(comparison(config), given.backend, given.threads)
    if tuning.rates:
        config = search(config, given.workers, given.root)
        experiment = computed(comparison(config), given.backend, given.threads)
    return conduct(experiment, config.name, config, seeds, None, given.workers, given.root)


def _options() -> Any:
    import tyro

    @dataclass
    class Options:
        """Compare learning rules on one task and circuit: same weights, same trials, mean ± s.e.m."""

        # An empty name puts the setting's fields on the top level: --units, not --setting.units.
        setting: Annotated[Setting, tyro.conf.arg(name="")] = Setting()
        rules: str = ""
        """rules, with options in brackets where wanted: bptt,eprop,'bp_lambda(lmbda=0.5)'"""
        mode: str = "learn"
        """learn: each rule trains the circuit; align: the first does, and every rule's gradient along its way is compared"""
        seeds: str = "0:3"
        """0:5 for 0 to 4; 0,2,4 for these; 3 for one"""
        tune: str = ""
        """learning rates to try for every rule, 1e-4,1e-3,1e-2; none by default, all then have --lr"""
        tune_updates: int | None = None
        """updates of each try; as many as --updates by default"""
        tune_seeds: str = ""
        """seeds of the tries, none of --seeds; 1000 by default"""
        draws: int | None = None
        """mode align: gradients that a rule with random numbers draws at every measurement; 8 by default, 0: none"""
        lags: str = ""
        """mode align: steps back over which credit is measured, 0:20 for 0 to 19; by default spread over the task"""
        workers: int = 1
        """runs at a time, each in a process with one thread"""
        backend: str | None = None
        """what computes time steps: torch, numba or auto, the default"""
        threads: int | None = None
        """processors that compiled loops may use; 1 by default"""
        root: str = "runs"
        """folder in which the comparison's folder lies"""

    # The annotation is a string here; tyro would look Setting's alias up among the module's names.
    Options.__annotations__["setting"] = Annotated[Setting, tyro.conf.arg(name="")]
    return Options

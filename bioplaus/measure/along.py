"""Many rules along one trajectory: the first drives, the others ride along, and all their gradients are compared.

What is measured of them, at every update or at some: `bioplaus.measure.gradients`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import torch

from bioplaus import checks
from bioplaus.circuit import Circuit, Network
from bioplaus.eligibility import Immediate
from bioplaus.errors import NumericalError, RuleError, RunError
from bioplaus.learning.sequence import sequence
from bioplaus.learning.tally import Outcome
from bioplaus.learning.trainer import Trainer
from bioplaus.learning.training import Training
from bioplaus.measure.gradients import ALL, MEASURES, Vectors, compared
from bioplaus.own import learned
from bioplaus.rules import Rule, as_rule, bptt
from bioplaus.signal import BPTT
from bioplaus.streams import stream
from bioplaus.tasks import Batch, Task, drawn

if TYPE_CHECKING:
    import xarray
    from torch import Tensor

Rules = Mapping[str, Rule | str] | Iterable[Rule | str] | Rule | str


def align(
    circuit: Circuit | Network,
    task: Task,
    rules: Rules,
    updates: int = 200,
    training: Training | None = None,
    seed: int = 0,
    every: int = 1,
    draws: int = 0,
) -> xarray.Dataset:
    """Many rules along one trajectory: the first drives, the others ride along, all are compared with BPTT and each other.

    The driver's trajectory is that of a `Trainer` by itself, whatever rides along and however often is measured. Riders with a
    predictor, a kernel or adaptive feedback learn theirs as they ride, once a batch.

    Parameters
    ----------
    rules : one or several; a dict gives them names. BPTT is added at the end where it is not among them.
    updates : of the driver.
    every : updates from one measurement to the next; the first is measured.
    draws : n of (5) and (6) in `bioplaus.measure.gradients`, how many gradients each rule with random numbers draws beside its own; 0: none, and bias and
        deviation of such rules are NaN.

    Returns
    -------
    xarray.Dataset with dims (rule, weight, update) and variables ``cosine``, ``norm_ratio``, ``relative_error``, ``bias``,
    ``bias_squared``, ``deviation``; ``pairwise`` (rule, other, weight, update); ``loss`` (update), the driver's. The weight
    ``"all"`` stands for those of the circuit, without the readout's.

    Raises
    ------
    RuleError
        No rule, two of one name, or one that cannot serve the circuit, by name.
    RunError
        updates or every below 1, draws of 1.
    NumericalError
        The simulation or the learning of a rider broke down.
    """
    along = Along(circuit, task, rules, training, seed)
    for _ in along.go(updates, every, draws):
        pass
    return along.dataset()


class Along:
    """One driver and its riders, which advance one update at a time and remember what was measured.

    Attributes
    ----------
    rules : name → rule, the driver first, BPTT among them.
    asked : the names of those that were given.
    reference : the name of BPTT.
    driver : the driver's trainer; its network is the one that all gradients are of.
    """

    def __init__(
        self, circuit: Circuit | Network, task: Task, rules: Rules, training: Training | None = None, seed: int = 0
    ) -> None:
        circuit = circuit.circuit if isinstance(circuit, Network) else circuit
        self.rules = named(rules)
        self.asked = list(self.rules)
        self.reference = next((name for name, rule in self.rules.items() if is_bptt(rule)), "")
        if not self.reference:
            if "bptt" in self.rules:
                raise RuleError(
                    "The name 'bptt' is kept for backpropagation through time, which all rules are compared with; the rule "
                    "given under it is another one. Give it another name."
                )
            self.reference = "bptt"
            self.rules["bptt"] = bptt()
        self.seed = seed
        first = self.asked[0]
        made = {name: Trainer(circuit, task, self.rules[name], training, seed) for name in self.asked}
        self.driver = made[first]
        self._riders = {name: trainer for name, trainer in made.items() if name != first}
        self._vectors = Vectors(self.driver.network)
        self._rows: list[dict[str, Tensor]] = []
        self._updates: list[int] = []
        self._losses: list[float] = []

    def go(self, updates: int, every: int = 1, draws: int = 0) -> Iterator[dict[str, float]]:
        """So many updates more; yields what the driver's trainer says of each.

        Raises
        ------
        RunError, NumericalError
            As `align`.
        """
        updates, every, draws = check_counts(updates, every, draws)
        for u in range(updates):
            yield self.update(measured=u % every == 0, draws=draws)

    def update(self, measured: bool = False, draws: int = 0) -> dict[str, float]:
        """One update: every rule's gradient where the driver stands, compared if asked for; riders learn; then the driver moves."""
        batch, u = self.batch(), self.driver.update_index
        learning = [name for name, rider in self._riders.items() if _learns(rider)]
        met: dict[str, Outcome] = {}
        for name in self.rules if measured else learning:
            with self._told_of(name):
                met[name] = self._outcome(name, batch, self._noise(name, u))
        if measured:
            found = torch.stack([self._vectors.of(outcome.gradients) for outcome in met.values()])
            self._rows.append(self._compared(found, batch, u, draws))
            self._updates.append(u + 1)
        for name in learning:  # after the draws, which are of the same predictor
            rider = self._riders[name]
            rider.update_index = u
            with self._told_of(name):
                rider.apply({}, met[name].own, partial(self.driver.loss, batch))
                rider.optimisers.advance()
        row = self.driver.update()
        if measured:
            self._losses.append(row["loss"])
        return row

    @contextmanager
    def _told_of(self, name: str) -> Iterator[None]:
        """Say who it was that broke down."""
        try:
            yield
        except NumericalError as error:
            who = f"The rule '{name}', which rides along" if name in self._riders else f"The rule '{name}'"
            raise NumericalError(f"{who}: {error}") from error

    def batch(self) -> Batch:
        """The batch of the driver's next update; it is not used up."""
        training = self.driver.training
        batch = drawn(self.driver.task, clone(self.driver.generator), training.batch)
        return self.driver.draw(self.driver.weighed(batch.to(training.device, self.driver.dtype)))

    def gradient(
        self, name: str, batch: Batch, generator: torch.Generator | None, uses: Tensor | None = None
    ) -> Tensor:
        """A rule's gradient of the circuit's weights (weights,) for any batch, with ``uses`` as in `sequence`; nothing is learned."""
        outcome = self._outcome(name, batch, generator, uses, regularised=False)
        return self._vectors.of(outcome.gradients)[self._vectors.parts[ALL]]

    def random(self, name: str) -> bool:
        """Whether random numbers enter a rule's gradient."""
        rule = self.rules[name]
        return rule.past.random or rule.future.random

    def _outcome(
        self,
        name: str,
        batch: Batch,
        generator: torch.Generator | None,
        uses: Tensor | None = None,
        regularised: bool = True,
    ) -> Outcome:
        driver = self.driver
        own = self._riders.get(name, driver).own if name in self.asked else {}
        regulariser, voltage = (driver.regulariser, driver.voltage) if regularised else (None, None)
        rule, loss = self.rules[name], driver.task.loss
        return sequence(
            driver.acting,
            rule,
            own,
            batch,
            loss,
            regulariser,
            generator=generator,
            uses=uses,
            voltage=voltage,
            backend=driver.simulated_by,
        )

    def _noise(self, name: str, u: int) -> torch.Generator:
        """What a rule draws from at an update: the driver what it will draw in a moment, each rider from its own stream."""
        if name == self.asked[0]:
            return clone(self.driver.noise)
        return stream(self.seed, f"noise of {name} at update {u}")

    def _compared(self, found: Tensor, batch: Batch, u: int, draws: int) -> dict[str, Tensor]:
        """All measures of gradients (rule, weights) at one update: {measure: (rule, …, weight)}."""
        names = list(self.rules)
        reference = names.index(self.reference)
        draws_of = {
            i: self._draws(name, batch, u, draws) for i, name in enumerate(names) if self.random(name) and draws
        }
        random = [self.random(name) for name in names]
        return compared(self._vectors, found, reference, random, draws_of)

    def _draws(self, name: str, batch: Batch, u: int, draws: int) -> Tensor:
        """Independent gradients of one rule, (draw, weights), each from a generator of its own."""
        generators = [stream(self.seed, f"draw {d} of update {u}") for d in range(draws)]
        return torch.stack([self._vectors.of(self._outcome(name, batch, g).gradients) for g in generators])

    def state_dict(self) -> dict[str, Any]:
        """Everything that later updates depend on, and what was measured: the trainers, the driver's first."""
        trainers = [self.driver, *self._riders.values()]
        return {
            "rules": self.asked,
            "trainers": [trainer.state_dict() for trainer in trainers],
            "rows": [dict(row) for row in self._rows],
            "updates": list(self._updates),
            "losses": list(self._losses),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a `state_dict` of the same circuit, task, rules and seed.

        Raises
        ------
        RunError
            If it belongs to another configuration.
        """
        if list(state["rules"]) != self.asked:
            raise RunError(
                f"The saved trajectory is of the rules {', '.join(state['rules'])}, this one of {', '.join(self.asked)}: "
                "give the same rules in the same order."
            )
        for trainer, saved in zip((self.driver, *self._riders.values()), state["trainers"], strict=True):
            trainer.load_state_dict(saved)
        self._rows, self._updates = [dict(row) for row in state["rows"]], list(state["updates"])
        self._losses = list(state["losses"])

    def dataset(self) -> xarray.Dataset:
        """What was measured so far; see `align`.

        Raises
        ------
        RunError
            If nothing was.
        """
        import xarray as xr

        if not self._rows:
            raise RunError("Nothing was measured along this trajectory yet: let it go on for 1 or more updates.")
        dims = ("rule", "weight", "update")
        values = {kind: torch.stack([row[kind] for row in self._rows], -1).numpy() for kind in self._rows[0]}
        variables: dict[str, Any] = {
            kind: (dims, values[kind], {"long_name": text, "units": "1"}) for kind, text in MEASURES.items()
        }
        about = {"long_name": "cosine of two rules' gradients", "units": "1"}
        variables["pairwise"] = (("rule", "other", "weight", "update"), values["pairwise"], about)
        variables["loss"] = (("update",), self._losses, {"long_name": "loss of the driver's batch"})
        names = list(self.rules)
        coords = {"rule": names, "other": names, "weight": list(self._vectors.parts), "update": self._updates}
        return xr.Dataset(variables, coords, {"driver": self.asked[0], "reference": self.reference})


def named(rules: Rules) -> dict[str, Rule]:
    """Every rule under a name of its own: its key, its name, or its name and number if others are called the same.

    Raises
    ------
    RuleError
        If there is none, or something that is no rule.
    """
    if isinstance(rules, Mapping):
        if nameless := [name for name in rules if not str(name).strip()]:
            raise checks.refusal(
                RuleError, "The name of a rule", nameless[0], "a name, such as 'mine' in {'mine': bp.rule('eprop')}"
            )
        found = {str(name): as_rule(rule) for name, rule in rules.items()}
    else:
        if isinstance(rules, (set, frozenset)) or not isinstance(rules, (Rule, Iterable)):
            wanted = "one rule, several in their order, such as [bp.rule('bptt'), bp.rule('eprop')], or a mapping of names to rules"
            raise checks.refusal(RuleError, "rules", rules, wanted)
        given = [as_rule(rule) for rule in ([rules] if isinstance(rules, (Rule, str)) else rules)]
        names = [rule.name or f"rule {i}" for i, rule in enumerate(given)]
        found = {
            f"{n}#{i}" if names.count(n) > 1 else n: rule for i, (n, rule) in enumerate(zip(names, given, strict=True))
        }
    if not found:
        raise RuleError("There is no rule to compare: give one or more, such as [bp.rule('bptt')]; the first drives.")
    return found


def is_bptt(rule: Rule) -> bool:
    """Whether a rule is backpropagation through whole sequences."""
    return isinstance(rule.eligibility, Immediate) and isinstance(rule.signal, BPTT) and rule.schedule.steps is None


def check_counts(updates: int, every: int, draws: int) -> tuple[int, int, int]:
    """The numbers of `align`, if they make sense.

    Raises
    ------
    RunError
    """
    updates = checks.whole(RunError, "updates", updates)
    every = checks.whole(RunError, "every (updates from one measurement to the next)", every)
    draws = checks.whole(RunError, "draws", draws, 0)
    if draws == 1:
        raise RunError("draws is 1, and one draw does not tell how far draws scatter. Give 2 or more, or 0 for none.")
    return updates, every, draws


def clone(generator: torch.Generator) -> torch.Generator:
    """Another generator in the same state."""
    other = torch.Generator(device=generator.device)
    other.set_state(generator.get_state())
    return other


def _learns(rider: Trainer) -> bool:
    return bool(learned(rider.own))

"""Learning: one update after another."""

from __future__ import annotations

import time
import warnings
from collections.abc import Sequence
from copy import deepcopy
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from bioplaus import checks
from bioplaus.circuit import Circuit, Network
from bioplaus.circuit.linear import roll
from bioplaus.errors import BioplausError, CircuitError, NumericalError, RuleError, RunError, TaskError
from bioplaus.rules import Rule, bptt
from bioplaus.schedule import Outcome, RateRegulariser, sequence
from bioplaus.signal.truth import prediction_alignment
from bioplaus.simulate import checked_inputs, simulate
from bioplaus.streams import stream
from bioplaus.tasks import Batch, check_batch, check_task, cross_entropy, squared
from bioplaus.training import Training

if TYPE_CHECKING:
    import xarray


class Trainer:
    """One learner: a built circuit, a task, a rule, optimisers and random streams; advances one update at a time.

    ``state_dict`` holds everything that later updates depend on, so that a run continued from it is bit-equal.

    Raises
    ------
    BioplausError
        Before any work: if task, circuit and rule do not fit, or the task's first batch is malformed.
    """

    def __init__(
        self, circuit: Circuit, task: Any, rule: Rule, training: Training | None = None, seed: int = 0
    ) -> None:
        check_learner(circuit, task, rule, training, seed)
        self.circuit, self.task, self.rule, self.seed = circuit, task, rule, seed
        self.training = t = training or Training()
        fit(circuit, task)
        self.dtype = getattr(torch, t.dtype)
        self.network: Network = circuit.build(seed=seed, dtype=self.dtype, device=t.device)
        rule.refuse(self.network)
        rule.eligibility.fits(self.network, t.batch)
        self.stage = 0  # stages of the curriculum left behind
        if t.curriculum and not hasattr(task, "harder"):
            raise TaskError(
                f"curriculum=True needs a task with stages, and '{task.name}' has no method harder(); copy_repeat has. Leave curriculum out."
            )
        self.generator, self.noise = stream(seed, "task"), stream(seed, "noise")
        first = task.batch(stream(seed, "check"), t.batch)
        check_batch(task, first)
        self.theta = own_tensors(rule, self.network, first, seed)
        cut = rule.schedule.steps is not None and (t.curriculum or rule.schedule.steps < first.steps)
        if cut and hasattr(rule.signal, "fits"):  # something is carried from window to window, now or in longer trials
            rule.signal.fits(self.network, self.theta, t.batch)
        self.update_index, self.seconds = 0, 0.0
        spiking = [p.cell.spiking for p in circuit.populations.values()]
        self._per_second = 1 / circuit.dt if all(spiking) else 1.0
        self.regulariser = RateRegulariser(t.rate_target * circuit.dt, t.rate_strength) if t.rate_strength else None
        weights = self.network.parameters()
        readout = [w for n, w in weights.items() if n in ("W_out", "b_out")] + [
            v for n, v in self.theta.items() if n == "B"
        ]
        cortex = [w for n, w in weights.items() if n not in ("W_out", "b_out")]
        self._mine = [(n, v) for n, v in self.theta.items() if not n.startswith("fixed_") and n != "B"]
        rate = lambda value: t.lr if value is None else value  # noqa: E731
        self.optimiser = self._make([{"params": cortex, "lr": t.lr}, {"params": readout, "lr": rate(t.readout_lr)}])
        self.predictor_optimiser = (
            self._make([{"params": [v for _, v in self._mine], "lr": rate(t.predictor_lr)}]) if self._mine else None
        )

    def _make(self, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
        t = self.training
        groups = [g for g in groups if g["params"]]
        return (
            torch.optim.SGD(groups, lr=t.lr)
            if t.optimiser == "sgd"
            else torch.optim.Adam(groups, lr=t.lr, betas=t.betas, eps=t.eps, fused=True)
        )

    @property
    def predictor(self) -> dict[str, Tensor]:
        """The signal's own tensors: predictor weights, feedback matrices."""
        return self.theta

    @property
    def size(self) -> int:
        """Number of the circuit's weights."""
        return sum(weight.numel() for weight in self.network.weights.values())

    def update(self) -> dict[str, float]:
        """One update: a batch, the rule's gradient, an optimiser step. Returns a row of metrics."""
        began = time.perf_counter()
        t = self.training
        batch = self.task.batch(self.generator, t.batch).to(t.device, self.dtype)
        row: dict[str, float] = {"update": self.update_index + 1}
        if t.align_every and self.update_index % t.align_every == 0:
            row |= self.alignment(batch)
        apply = self.apply if t.apply == "window" else None
        try:
            outcome = sequence(
                self.network,
                self.rule,
                self.theta,
                batch,
                self.task.loss,
                self.regulariser,
                apply,
                generator=self.noise,
            )
            if apply is None:
                self.apply(outcome.gradients, outcome.own)
        except NumericalError as error:
            try:
                check_batch(self.task, batch)
            except TaskError as cause:
                raise NumericalError(f"{error} But it came with the batch: {cause}") from cause
            raise
        if self.update_index == 0:
            self._alive(outcome)
        self.update_index += 1
        self.seconds += time.perf_counter() - began
        row |= self._measures(outcome, batch) | {"seconds": self.seconds}
        if t.curriculum:
            row |= self._advance(row["score"], batch.steps)
        return row

    def _advance(self, score: float, steps: int) -> dict[str, float]:
        """Go on to the next stage if this batch solved the present one; how long trials are, and whether that was solved."""
        solved = score > self.task.solved if self.task.higher_is_better else score < self.task.solved
        if solved:
            self.task, self.stage = self.task.harder(), self.stage + 1
        return {"steps": steps, "solved": float(solved)}

    def apply(self, gradients: dict[str, Tensor], own: dict[str, Tensor]) -> None:
        """Hand gradients to the optimisers, circuit and predictor apart, and hold the constraints."""
        with torch.no_grad():
            for name, w in self.network.parameters().items():
                w.grad = gradients.get(name)
            for name, v in self.theta.items():
                v.grad = own.get(name)
            for optimiser in (self.optimiser, self.predictor_optimiser):
                if optimiser is None:
                    continue
                held = [p.grad for group in optimiser.param_groups for p in group["params"] if p.grad is not None]
                if not held:  # a rider along another rule's trajectory, which moves the circuit
                    continue
                norm = torch.linalg.vector_norm(torch.cat([g.flatten() for g in held]))
                if not bool(torch.isfinite(norm)):
                    raise NumericalError(
                        f"The gradient of update {self.update_index + 1} is not finite ({self._worst(gradients | own)}): lower the learning rate or set clip=1.0."
                    )
                if self.training.clip is not None and float(norm) > self.training.clip:
                    for g in held:
                        g.mul_(self.training.clip / float(norm))
                optimiser.step()
                for group in optimiser.param_groups:
                    for p in group["params"]:
                        p.grad = None
            self.network.constrain()
            for half in (self.rule.eligibility, self.rule.signal):
                after = getattr(half, "after_update", None)
                if after is not None:
                    after(self.theta, self.network)

    def _alive(self, outcome: Outcome) -> None:
        for p in self.network.populations:
            if p.kernel.derived.spiking and outcome.rates[p.name] == 0:
                warnings.warn(
                    f"Population '{p.name}' fired no spike in the first batch of '{self.task.name}': a silent circuit learns "
                    "nothing, and every rule looks alike. Raise the circuit's input_gain or lower the cell's threshold.",
                    RuntimeWarning,
                    stacklevel=3,
                )

    @staticmethod
    def _worst(gradients: dict[str, Tensor]) -> str:
        bad = [n for n, g in gradients.items() if not bool(torch.isfinite(g).all())]
        return f"first in {bad[0]}" if bad else "its norm overflows"

    def _measures(self, outcome: Outcome, batch: Any) -> dict[str, float]:
        rates = list(outcome.rates.values())
        return {
            "loss": outcome.loss,
            "score": float(self.task.score(outcome.outputs, batch)),
            "rate": sum(rates) / len(rates) * self._per_second,
            **outcome.info,
        }

    def evaluate(self) -> dict[str, float]:
        """Loss and score on the task's test set."""
        began = time.perf_counter()
        t = self.training
        parts, outputs, total, count = [], [], 0.0, 0
        with torch.no_grad():
            for batch in self.task.test_batches(max(t.batch, 256)):
                batch = batch.to(t.device, self.dtype)
                window, _ = roll(self.network, self.network.start(batch.size), batch.inputs)
                o = self.network.output(window.seen())
                total += float((self.task.loss.value(o, batch.targets) * batch.weight).sum())
                count += batch.size
                parts.append(batch)
                outputs.append(o)
        score = self.task.score(torch.cat(outputs, 1), joined(parts))
        self.seconds += time.perf_counter() - began
        return {"test_loss": total / count, "test_score": float(score)}

    def alignment(self, batch: Any) -> dict[str, float]:
        """Cosine between the rule's gradient of the circuit's weights and BPTT's; with a predictor, also between its predictions and the truth."""
        true = sequence(self.network, bptt(), {}, batch, self.task.loss, keep_windows=True)
        apart = stream(self.seed, f"noise of alignment {self.update_index}")  # measuring changes nothing
        mine = sequence(self.network, self.rule, self.theta, batch, self.task.loss, generator=apart)
        names = [n for n in true.gradients if n not in ("W_out", "b_out") and n in mine.gradients]
        a, b = (torch.cat([g[n].flatten() for n in names]) for g in (mine.gradients, true.gradients))
        row = {"alignment": cosine(a, b)}
        if hasattr(self.rule.signal, "predictor"):
            row["prediction"], row["prediction_ratio"] = prediction_alignment(
                self.network, self.rule, self.theta, batch, self.task.loss, true.windows[0]
            )
        return row

    def record(self, names: Sequence[str] = ("spikes", "rate")) -> xarray.Dataset:
        """Simulate one test batch and record it: outputs, targets and what ``names`` asks for, where it exists."""
        batch = next(iter(self.task.test_batches(min(self.training.batch, 16))))
        return simulate(
            self.network, batch.inputs, record=names, targets=batch.targets, weight=batch.weight, lenient=True
        )

    def state_dict(self) -> dict[str, Any]:
        """Everything later updates depend on: weights, the rule's own tensors, optimisers, random streams, counters."""
        return {
            "weights": {n: w.clone() for n, w in self.network.weights.items()},
            "masks": {n: m.clone() for n, m in self.network.masks.items()},
            "own": {n: v.clone() for n, v in self.theta.items()},
            "optimiser": deepcopy(self.optimiser.state_dict()),
            "predictor_optimiser": deepcopy(self.predictor_optimiser.state_dict())
            if self.predictor_optimiser
            else None,
            "streams": {"task": self.generator.get_state(), "noise": self.noise.get_state()},
            "update": self.update_index,
            "seconds": self.seconds,
            "stage": self.stage,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a `state_dict` of the same circuit, task and rule.

        Raises
        ------
        RunError
            If it belongs to another configuration.
        """
        try:
            tensors = (
                (self.network.weights, state["weights"]),
                (self.theta, state["own"]),
                (self.network.masks, state["masks"]),
            )
            for mine, saved in tensors:  # all of it fits, or nothing is taken
                if set(mine) != set(saved) or any(mine[n].shape != saved[n].shape for n in mine):
                    raise RunError(
                        f"The checkpoint holds {sorted(saved)}, this run needs {sorted(mine)} (or the shapes differ): it belongs to another configuration."
                    )
            self.optimiser.load_state_dict(state["optimiser"])
            if self.predictor_optimiser is not None:
                self.predictor_optimiser.load_state_dict(state["predictor_optimiser"])
            for mine, saved in tensors:
                for name in mine:
                    mine[name].copy_(saved[name])
            self.generator.set_state(state["streams"]["task"])
            self.noise.set_state(state["streams"]["noise"])
            self.update_index, self.seconds = state["update"], state["seconds"]
            while self.stage < state["stage"]:
                self.task, self.stage = self.task.harder(), self.stage + 1
        except BioplausError:
            raise
        except Exception as error:
            raise RunError(f"The checkpoint cannot be used: {error}") from error


def cosine(a: Tensor, b: Tensor) -> float:
    """Cosine of the angle between two vectors, in float64 so that it stays within ±1; NaN, undefined, if one vanishes."""
    a, b = a.double(), b.double()
    norms = float(a.norm() * b.norm())
    return max(-1.0, min(1.0, float(a @ b) / norms)) if norms > 0 else float("nan")


def check_learner(circuit: Any, task: Any, rule: Any, training: Any, seed: Any) -> None:
    """Refuse what is no circuit, task, rule, training or seed.

    Raises
    ------
    BioplausError
    """
    if not isinstance(circuit, Circuit):
        raise checks.refusal(CircuitError, "The circuit", circuit, "one that bp.circuit('recurrent', cell=…) makes")
    check_task(task)
    if not isinstance(rule, Rule):
        raise checks.refusal(RuleError, "The rule", rule, "one that bp.rule('eprop') or bp.Rule(…) makes")
    if training is not None and not isinstance(training, Training):
        raise checks.refusal(RunError, "training", training, "a bp.Training(updates=…, lr=…), or None")
    checks.whole(RunError, "The seed", seed, 0, 2**63 - 1)


def fit(circuit: Circuit, task: Any) -> None:
    """Refuse a circuit and a task whose shapes or time steps differ.

    Raises
    ------
    TaskError
    """
    if task.inputs != circuit.inputs or task.outputs != circuit.readout.size:
        raise TaskError(
            f"The task '{task.name}' has {task.inputs} inputs and {task.outputs} outputs, but the circuit was built for {circuit.inputs} and "
            f"{circuit.readout.size}. Build it with inputs=task.inputs, outputs=task.outputs."
        )
    continuous = any(p.cell.continuous for p in circuit.populations.values())
    if task.dt and continuous and abs(task.dt - circuit.dt) > 1e-9 * task.dt:
        raise TaskError(
            f"The task '{task.name}' runs at dt = {task.dt * 1e3:g} ms, the circuit at {circuit.dt * 1e3:g} ms. Give both the same dt."
        )


def own_tensors(rule: Rule, network: Network, batch: Any, seed: int) -> dict[str, Tensor]:
    """What a rule learns or keeps beside the circuit's weights (a predictor, feedback weights, a kernel), drawn from its own stream."""
    wants = getattr(rule.signal, "context", False)
    if wants and batch.context is None:
        raise RuleError(
            f"The rule '{rule.name}' wants context=True, but this task gives none (no labels). Use context=False."
        )
    size = batch.context.shape[-1] if wants else 0
    past = rule.eligibility.parameters(network, stream(seed, "eligibility"))
    return past | rule.signal.parameters(network, stream(seed, "feedback"), size)


def joined(batches: Sequence[Any]) -> Any:
    """Batches side by side."""
    if len(batches) == 1:
        return batches[0]
    context = torch.cat([b.context for b in batches]) if batches[0].context is not None else None
    first, *_ = batches
    return type(first)(
        *(torch.cat([getattr(b, n) for b in batches], 1) for n in ("inputs", "targets", "weight")), context
    )


def gradient(
    circuit: Circuit | Network, rule: Rule, batch: Any, loss: Any = None, *, seed: int = 0, dtype: str = "float64"
) -> dict[str, Tensor]:
    """The gradient a rule computes for one batch; nothing is updated.

    Parameters
    ----------
    circuit : a circuit (built here with ``seed``) or a built network.
    batch : inputs (time, batch, input), targets, weight; see `bioplaus.tasks.Batch`.
    loss : default: squared error for real targets, cross-entropy for integer ones.

    Returns
    -------
    {weight name: gradient of the mean loss over the batch}
    """
    network = circuit if isinstance(circuit, Network) else circuit.build(seed=seed, dtype=getattr(torch, dtype))
    rule.refuse(network)
    if not isinstance(batch, Batch):
        raise TaskError(
            f"A batch is a Batch(inputs, targets, weight), see bioplaus.tasks.Batch; this is of type {type(batch).__name__}."
        )
    batch = batch.to(network.device, network.dtype)
    steps = checked_inputs(network, batch.inputs).shape[:2]
    for name in ("targets", "weight"):
        shape = tuple(getattr(batch, name).shape)
        if shape[:2] != steps:
            raise TaskError(
                f"The batch's {name} have shape {shape}, but its inputs have {steps[0]} steps of {steps[1]} samples: (time, batch, …) is expected of both."
            )
    chosen = loss if loss is not None else (squared if batch.targets.is_floating_point() else cross_entropy)
    own = own_tensors(rule, network, batch, seed)
    return sequence(network, rule, own, batch, chosen, generator=stream(seed, "noise")).gradients

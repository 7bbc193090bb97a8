"""A cerebellum that drives: trajectories and gradients against loops written by hand, with any rule and circuit, and beside a teacher."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import bioplaus as bp
from bioplaus import CerebellarDrive, Trainer, Training, ms
from bioplaus.errors import BioplausError
from bioplaus.learning.sequence import sequence
from bioplaus.own import Gradients, tensors
from bioplaus.tasks import drawn

F = torch.nn.functional
MLP = bp.predictor("mlp", hidden=(7,))
#: a granule layer with all that it has, chance apart
GRANULE = bp.predictor(
    "granule", lines=4, expansion=3, fan_in=3, active=0.3, subtractive=0.8, divisive=5.0, tau_golgi=3, reach=0.7, delay_in=1
)  # fmt: skip


def elman(inputs: int, outputs: int, **more: Any) -> bp.Circuit:
    return bp.circuit("recurrent", cell="elman", inputs=inputs + outputs, units=6, outputs=outputs, **more)


def trainer(
    drive: Any, task: Any = None, rule: Any = "bptt", seed: int = 0, make: Any = elman, **options: Any
) -> Trainer:
    """Of a circuit that is alive, whose cerebellum says something."""
    task = bp.task("lines", every=1, cue=1.0) if task is None else task
    made = Trainer(
        make(task.inputs, task.outputs),
        task,
        rule,
        Training(**{"batch": 9, "dtype": "float64", "drive": drive} | options),
        seed,
    )
    for i, (path, value) in enumerate(sorted(tensors(made.own).items())):
        if value.is_floating_point() and path.rpartition(".")[2] not in ("wiring", "mask"):
            size = 0.3 if path.startswith("drive.") else 0.02
            more = size * torch.randn(value.shape, generator=torch.Generator().manual_seed(i), dtype=value.dtype)
            value.add_(more.abs() if path.rpartition(".")[2] in ("w", "v", "threshold") else more)
    made.apply({}, {})  # signs and masks
    return made


def asked(made: Trainer, size: int = 9) -> bp.Batch:
    return made.draw(drawn(made.task, bp.stream(3, "task"), size).to(dtype=torch.float64))


def gradients(made: Trainer, batch: bp.Batch) -> Gradients:
    outcome = sequence(made.acting, made.rule, made.own, batch, made.task.loss, keep=True)
    assert made.driving is not None
    return outcome.gradients | outcome.own | made.driving.taught(batch, outcome, 0)


def by_hand(made: Trainer, batch: bp.Batch, delay: int, gamma: float, lam: float) -> tuple[Gradients, Tensor, Tensor]:
    """One loop over time in autograd, TD by its traces; nothing of the library takes part."""
    drive = made.training.drive
    assert isinstance(drive, CerebellarDrive)
    W = {n: v.clone().requires_grad_() for n, v in made.network.weights.items()}
    own = {n: v.clone().requires_grad_() for n, v in tensors(made.own).items()}

    def g(r: Tensor) -> Tensor:
        return torch.relu(r @ own["drive.A0"].T + own["drive.b0"]) @ own["drive.A"].T + own["drive.b"]

    classes = batch.targets.dim() == 2
    lines = batch.inputs.shape[-1] - made.task.outputs
    y, said, outputs, seen = torch.zeros(batch.size, 6, dtype=torch.float64), [], [], []
    total = torch.zeros((), dtype=torch.float64)
    for t in range(batch.steps):
        said.append(g(y.detach()))
        seen.append(y.detach())
        heard = torch.cat([batch.inputs[t, :, :lines], said[-1].detach()], -1)
        y = torch.tanh(y @ W["W_rec"].T + heard @ W["W_in"].T + W["b"])
        outputs.append(y @ W["W_out"].T + W["b_out"])
        each = (
            F.cross_entropy(outputs[-1], batch.targets[t], reduction="none")
            if classes
            else 0.5 * (outputs[-1] - batch.targets[t]).square().sum(-1)
        )
        total = total + (batch.weight[t] * each).sum()
        if drive.teaching == "delayed" and t >= delay:
            early = said[t - delay]
            each = (
                F.cross_entropy(early, batch.targets[t], reduction="none")
                if classes
                else 0.5 * (early - batch.targets[t]).square().sum(-1)
            )
            total = total + (batch.weight[t] * each).sum()
    found = dict(
        zip(
            [*W, *own],
            torch.autograd.grad(total / batch.size, [*W.values(), *own.values()], allow_unused=True),
            strict=True,
        )
    )
    if drive.teaching == "td":
        names = [name for name in own if name.startswith("drive.")]
        found |= {name: torch.zeros_like(own[name]) for name in names}
        for b in range(batch.size):
            for o in range(made.task.outputs):
                trace = {name: torch.zeros_like(own[name]) for name in names}
                for t in range(batch.steps):
                    slope = torch.autograd.grad(g(seen[t][b : b + 1])[0, o], [own[name] for name in names])
                    after = float(said[t + 1][b, o].detach()) if t + 1 < batch.steps else 0.0
                    now = float(batch.targets[t, b, o]) if float(batch.weight[t, b]) > 0 else 0.0
                    delta = now + gamma * after - float(said[t][b, o].detach())
                    for name, each in zip(names, slope, strict=True):
                        trace[name] = gamma * lam * trace[name] + each
                        found[name] = found[name] - delta * trace[name] / batch.size
    return found, torch.stack(said).detach(), torch.stack(outputs).detach()


DIGITS = bp.task("volley", steps=4)
KINDS = {
    "now": ({"predictor": MLP}, None),
    "two later": ({"predictor": MLP, "delay": 2}, None),
    "classes": ({"predictor": MLP, "delay": 1}, DIGITS),
    "every other step": ({"predictor": MLP, "delay": 1}, bp.task("lines", every=2, cue=1.0)),
    "td": ({"predictor": MLP, "teaching": "td", "discount": 0.7, "lmbda": 0.4}, None),
    "td(0)": ({"predictor": MLP, "teaching": "td", "discount": 0.9, "lmbda": 0.0}, bp.task("lines", every=3, cue=1.0)),
    "td(1)": ({"predictor": MLP, "teaching": "td"}, None),
}


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_said_and_all_gradients_are_those_of_loops_written_by_hand(kind: str) -> None:
    options, task = KINDS[kind]
    made = trainer(CerebellarDrive(**options), task)
    batch = asked(made, 5)
    gamma, lam = options.get("discount", 0.9), options.get("lmbda", 1.0)
    true, said, outputs = by_hand(made, batch, options.get("delay", 0), gamma, lam)
    outcome = sequence(made.acting, made.rule, made.own, batch, made.task.loss, keep=True)
    told = torch.cat([stretch.given for stretch in outcome.stretches])[..., -made.task.outputs :]
    assert said.std() > 0.1
    torch.testing.assert_close(told, said, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(outcome.outputs, outputs, rtol=1e-12, atol=1e-14)
    found = gradients(made, batch)
    assert found.keys() == true.keys() and len(true) == 9
    for name, value in true.items():
        assert float(value.abs().max()) > 1e-4, name
        torch.testing.assert_close(found[name], value, rtol=1e-10, atol=1e-13, msg=lambda said, name=name: f"{name}: {said}")  # fmt: skip


def test_td_without_future_is_the_delayed_rule_without_delay() -> None:
    td, late = (trainer(CerebellarDrive(predictor=MLP, **how)) for how in ({"teaching": "td", "discount": 0.0}, {}))
    batch = asked(td)
    one, other, weight = gradients(td, batch), gradients(late, batch), float(batch.weight[0, 0])  # all weigh alike
    for name in (name for name in one if name.startswith("drive.")):
        torch.testing.assert_close(weight * one[name], other[name], rtol=1e-12, atol=1e-14)


def two(inputs: int, outputs: int) -> bp.Circuit:
    return bp.circuit("hierarchy", inputs=inputs + outputs, units=(7, 5), outputs=outputs, lateral=True, feedback=True)


def spiking(inputs: int, outputs: int) -> bp.Circuit:
    sizes = {"inputs": inputs + outputs, "units": 20, "outputs": outputs, "tau_out": 5 * ms}
    return bp.circuit("excitatory_inhibitory", cell=bp.model("lsnn_alif", threshold=0.2), input_gain=8.0, **sizes)


def conducting(inputs: int, outputs: int) -> bp.Circuit:
    return bp.circuit("excitatory_inhibitory", cell="coba", inputs=inputs + outputs, units=10, outputs=outputs)


def lstm(inputs: int, outputs: int) -> bp.Circuit:
    return bp.circuit("recurrent", cell="lstm", inputs=inputs + outputs, units=5, outputs=outputs, input_gain=3.0)


CORTICES = {"elman": elman, "lstm": lstm, "two areas": two, "sparse": lambda i, o: elman(i, o, fan_in=3)}
RULES: dict[str, Any] = {
    "bptt": bp.rule("bptt"), "tbptt": bp.rule("tbptt", steps=3), "eprop": bp.rule("eprop"), "rtrl": bp.rule("rtrl"), "dni": bp.rule("dni", steps=2),
    "online": bp.rule("bp_lambda", lmbda=0.5, schedule="online"), "bp_lambda": bp.rule("bp_lambda"),
}  # fmt: skip


@pytest.mark.parametrize(("cortex", "rule"), [("elman", r) for r in RULES] + [(c, "bp_lambda") for c in CORTICES][1:])
def test_what_it_says_is_input_like_any_other_to_every_rule_and_cortex(cortex: str, rule: str) -> None:
    """With the same numbers given from outside, the circuit without a cerebellum has the same gradients: teacher and driver do not touch."""
    made = trainer(CerebellarDrive(predictor=GRANULE), rule=RULES[rule], make=CORTICES[cortex])
    batch = asked(made)
    outcome = sequence(made.acting, made.rule, made.own, batch, made.task.loss, keep=True)
    x = torch.cat([stretch.given for stretch in outcome.stretches])
    assert x[..., -2:].std(1).max() > 0.01 and torch.equal(x[..., :-2], batch.inputs[..., :-2])
    outside = bp.Batch(x, batch.targets, batch.weight, batch.context)
    plain = sequence(made.network, made.rule, made.own, outside, made.task.loss)
    assert outcome.loss == pytest.approx(plain.loss, rel=1e-12)
    both = outcome.gradients | outcome.own
    assert both.keys() == (plain.gradients | plain.own).keys() and ("predictor.A" in both) == (
        rule in ("dni", "online", "bp_lambda")
    )
    for name, value in (plain.gradients | plain.own).items():
        assert value.abs().max() > 1e-8, name
        torch.testing.assert_close(both[name], value, rtol=1e-9, atol=1e-12)


def test_spikes_reach_it_as_the_readout_sees_them() -> None:
    """Under Dale's law and a readout that is leaky, by a linear map of what that sees, written in NumPy."""
    task = bp.task("lines", steps=40, every=1, cue=1.0)
    made = trainer(CerebellarDrive(predictor="linear"), task, "eprop", make=spiking, backend="auto")
    assert made.backend == "torch" and "a cerebellum says" in made.computed["because"]
    batch = asked(made)
    outcome = sequence(made.acting, made.rule, made.own, batch, task.loss, keep=True)
    E = made.network.populations[0].size
    spikes = np.concatenate([stretch.spikes(0).numpy() for stretch in outcome.stretches])
    assert spikes.sum() > 20 and E == 16
    kappa, filtered, said = float(np.exp(-1 / 5)), np.zeros((9, E)), []
    A, b = (tensors(made.own)[f"drive.{name}"].numpy() for name in ("A", "b"))
    for now in spikes:
        said.append(filtered @ A.T + b)
        filtered = kappa * filtered + (1 - kappa) * now
    told = torch.cat([stretch.given for stretch in outcome.stretches])[..., -2:]
    np.testing.assert_allclose(told, np.array(said), rtol=1e-10, atol=1e-13)


def test_a_granule_layer_says_step_by_step_what_it_is_taught_as_a_whole() -> None:
    """Golgi cells and delays remember; thresholds learn by their own rule; signs and masks hold."""
    made = trainer(CerebellarDrive(predictor=GRANULE, delay=1))
    batch, drive = asked(made), made.driving
    assert drive is not None
    outcome = sequence(made.acting, made.rule, made.own, batch, made.task.loss, keep=True)
    read = torch.cat([torch.zeros(1, 9, 6, dtype=torch.float64), torch.cat([s.seen() for s in outcome.stretches])[:-1]])
    said, memory = drive.network.said(read)  # type: ignore[union-attr]
    told = torch.cat([stretch.given for stretch in outcome.stretches])[..., -2:]
    torch.testing.assert_close(told, said, rtol=1e-12, atol=1e-14)
    fewer, _ = drive.network.said(read, None)  # type: ignore[union-attr]
    again = torch.cat([drive.network.said(read[t : t + 1])[0] for t in range(len(read))])  # type: ignore[union-attr]
    assert torch.equal(fewer, said) and not torch.allclose(again, said), "nothing was remembered"
    found = drive.taught(batch, outcome, 0)
    active = (memory.rates["granule"] > 0).double().mean((0, 1))
    torch.testing.assert_close(found["drive.golgi.threshold"], -(active - 0.3) * 10, rtol=1e-10, atol=1e-12)
    for _ in range(30):
        made.update()
    own = made.own["drive"]
    assert (own["purkinje.w"] >= 0).all() and (own["purkinje.w"] == 0).any() and (own["purkinje.w"] > 0).any()
    assert not own["purkinje.w"][own["purkinje.mask"] == 0].any() and 0 < own["purkinje.mask"].mean() < 1


def test_the_readout_s_own_output_comes_back_and_nothing_learns_to_say_it() -> None:
    made = trainer(CerebellarDrive(predictor=None))
    assert "drive" not in {path.partition(".")[0] for path in tensors(made.own)}
    batch = asked(made)
    outcome = sequence(made.acting, made.rule, made.own, batch, made.task.loss, keep=True)
    told = torch.cat([stretch.given for stretch in outcome.stretches])[..., -2:]
    assert outcome.outputs.std() > 0.01
    torch.testing.assert_close(told[1:], outcome.outputs[:-1], rtol=1e-12, atol=1e-14)
    made.update()


def test_a_fixed_cortex_is_fixed_and_learns_by_what_it_is_told() -> None:
    rates = {"default": 0.0, "readout": 3e-3, "drive": 3e-3}
    task = bp.task("target_reaching", targets=6, path="line")
    sizes: dict[str, Any] = {"inputs": 12, "units": 30, "outputs": 2}
    mlp = bp.predictor("mlp", hidden=(100,))
    scores = {}
    for name, lr in {"told": rates, "told nothing": rates | {"drive": 0.0}}.items():
        circuit, drive = bp.circuit("recurrent", cell="elman", **sizes), CerebellarDrive(predictor=mlp)
        made = Trainer(circuit, task, "bptt", Training(batch=20, lr=lr, drive=drive), 1)
        before = {n: W.clone() for n, W in made.network.weights.items()}
        for _ in range(150):
            made.update()
        for n, W in made.network.weights.items():
            assert torch.equal(W, before[n]) == (n not in ("W_out", "b_out")), n
        scores[name] = made.evaluate()["test_score"]
        assert made.record("rate").output.shape == (10, 6, 2)
    assert scores["told"] < 0.5 * scores["told nothing"]


def test_a_test_hears_the_cerebellum() -> None:
    made = trainer(CerebellarDrive(predictor=MLP))
    (batch,) = (each.to(dtype=torch.float64) for each in made.task.test_batches(7))
    _, _, outputs = by_hand(made, batch, 0, 0.9, 1.0)
    true = (batch.weight * 0.5 * (outputs - batch.targets).square().sum(-1)).sum() / 7
    row = made.evaluate()
    assert row["test_loss"] == pytest.approx(float(true), rel=1e-12) and "driven_loss" not in row
    np.testing.assert_allclose(made.record("rate").output.values, outputs.numpy(), rtol=1e-12, atol=1e-14)


EVENTS = bp.predictor("granule", teaching="events", probability=0.1, fan_in=2)


@pytest.mark.parametrize("apply", ("sequence", "window"))
def test_teacher_and_driver_learn_together_and_a_run_that_goes_on_is_the_same_bit_for_bit(apply: str) -> None:
    options: dict[str, Any] = {"rule": bp.rule("bp_lambda", schedule="online"), "apply": apply, "align_every": 3}
    whole, first, again = (trainer(CerebellarDrive(predictor=EVENTS), **options) for _ in range(3))
    start = {path: value.clone() for path, value in tensors(whole.own).items()}
    losses = [whole.update()["loss"] for _ in range(8)]
    for _ in range(3):
        first.update()
    again.load_state_dict(first.state_dict())
    assert [again.update()["loss"] for _ in range(5)] == losses[3:]
    mine, theirs = tensors(whole.own) | whole.network.weights, tensors(again.own) | again.network.weights
    for path in ("predictor.A", "drive.purkinje.w", "drive.golgi.threshold"):
        assert not torch.equal(mine[path], start[path]), path
    for name, value in mine.items():
        assert torch.equal(value, theirs[name]), name


def test_climbing_fibres_teach_it_right_on_average() -> None:
    """Within 4 standard errors over draws, along the gradient; half of it, or twice, would not be."""
    graded = {"fan_in": 2, "signs": False}
    events = graded | {"teaching": "events", "probability": 0.1, "fibres": 1000, "scale": 2.0}
    one, other = (trainer(CerebellarDrive(predictor=bp.predictor("granule", **o))) for o in (graded, events))
    batch, name = asked(one), "drive.purkinje.w"
    true = gradients(one, batch)[name]
    outcome = sequence(other.acting, other.rule, other.own, batch, other.task.loss, keep=True)
    assert other.driving is not None
    draws = torch.stack([other.driving.taught(batch, outcome, update)[name] for update in range(60)])
    along = (draws * true).sum((1, 2, 3)) / true.square().sum()
    error = float(along.std()) / len(along) ** 0.5
    assert abs(float(along.mean()) - 1) < 4 * error < 0.4 and along.std() > 0.1


def test_it_is_pickled() -> None:
    made = trainer(CerebellarDrive(predictor=GRANULE), rule="eprop")
    batch = asked(made)
    again = pickle.loads(pickle.dumps(made.acting))
    one, other = (sequence(n, made.rule, made.own, batch, made.task.loss) for n in (made.acting, again))
    assert one.loss == other.loss and all(torch.equal(one.gradients[n], other.gradients[n]) for n in one.gradients)


def test_a_run_s_folder_tells_of_it(tmp_path: Any) -> None:
    task = bp.task("lines")
    rates = {"default": 1e-3, "drive": 1e-2}
    run = bp.train(elman(1, 2), task, "bptt", updates=3, lr=rates, drive=CerebellarDrive(predictor="granule"), folder=tmp_path / "run")  # fmt: skip
    told = run.config["training"]["drive"]
    assert told["predictor"]["predictor"] == "granule" and told["teaching"] == "delayed"
    assert run.config["task"]["inputs"] == 1 and run.recordings["output"].shape == (10, 7, 2)
    phases = [bp.Phase(2), bp.Phase(2, lr={"default": 0.0, "drive": 1e-2})]
    run = bp.train(elman(1, 2), task, "bptt", phases=phases, drive=CerebellarDrive(), folder=tmp_path / "phases")
    assert len(run.metrics) == 4


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: CerebellarDrive(predictor="areas"), "areas is made to say gradients"),
        (lambda: CerebellarDrive(predictor="critic"), "critic is made to say gradients"),
        (lambda: CerebellarDrive(predictor="cerebellum"), "cerebellum"),
        (lambda: CerebellarDrive(predictor=bp.predictor("granule", delay_back=3)), "give the drive's delay"),
        (lambda: CerebellarDrive(delay=2, teaching="td"), "delay=2 of a cerebellar drive is not read"),
        (lambda: CerebellarDrive(discount=0.5), "discount=0.5 of a cerebellar drive is not read"),
        (lambda: CerebellarDrive(predictor=None, lmbda=0.0, teaching="td"), "lmbda=0.0 .* which learns nothing\\. Leave"),
        (lambda: trainer(CerebellarDrive(delay=10), bp.task("lines", steps=10)), "trials of the task 'lines' have 10: .* delay=9 or less"),
        (lambda: trainer(CerebellarDrive(), make=lambda i, o: elman(i - o, o)), "inputs=task.inputs \\+ task.outputs, 3"),
        (lambda: trainer(CerebellarDrive(teaching="td"), DIGITS), "asks for classes"),
        (lambda: trainer(CerebellarDrive(), bp.task("copy_repeat"), curriculum=True), "leave one of the two out"),
        (lambda: trainer(CerebellarDrive(), perturb=bp.Perturb("W_in", "freeze")), "leave one of the two out"),
        (lambda: trainer(CerebellarDrive(predictor=bp.predictor("granule", fan_in=99))), "fan_in=99"),
        (lambda: trainer(CerebellarDrive(predictor=bp.predictor("granule", delay_in=3 * ms))), "a time"),
        (lambda: trainer(CerebellarDrive(), bp.task("lines", steps=40, every=1), "eprop", make=spiking, backend="numba"), "a cerebellum says"),
        (lambda: trainer(CerebellarDrive(), lr={"drive.C": 0.1}), "drive.C"),
        (lambda: trainer(CerebellarDrive(), DIGITS, "eprop", make=conducting), "may be below 0, and projection W_in_E leads it to conductances"),
    ],
)  # fmt: skip
def test_what_can_not_drive_is_refused(make: Any, says: str) -> None:
    with pytest.raises(BioplausError, match=says) as error:
        make()
    said = str(error.value)
    assert "\n" not in said and ",." not in said and ".." not in said

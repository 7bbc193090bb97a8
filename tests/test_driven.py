"""Forward models that drive areas while they learn: all gradients against layers written by hand, and what is not driven stays as it is."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
import torch
from torch import Tensor

import bioplaus as bp
from bioplaus import Trainer, Training, ms
from bioplaus.errors import BioplausError, CircuitError, NumericalError
from bioplaus.learning.sequence import sequence
from bioplaus.own import tensors
from bioplaus.tasks import drawn

F = torch.nn.functional
RULE = bp.rule("dni", steps=1, predictor=bp.predictor("areas"), context=True)
UNITS = (14, 12, 10)


def trainer(
    rule: Any = RULE, seed: int = 0, task: Any = "volley", units: tuple[int, ...] = UNITS, **options: Any
) -> Trainer:
    circuit = bp.circuit("hierarchy", inputs=64, units=units, outputs=10)
    settings = {"batch": 16, "dtype": "float64", "drive": bp.Drive(hidden=(9,))} | options
    return Trainer(circuit, bp.task(task) if isinstance(task, str) else task, rule, Training(**settings), seed=seed)


def spoken_for(made: Trainer) -> Trainer:
    """With predictors and forward models that say something, and biases."""
    for i, (path, value) in enumerate(sorted({**tensors(made.own), **made.network.weights}.items())):
        if value.is_floating_point() and not path.startswith("W"):
            value.add_(0.2 * torch.randn(value.shape, generator=torch.Generator().manual_seed(i), dtype=value.dtype))
    return made


def forward_model(theta: dict[str, Tensor], area: int, x: Tensor) -> Tensor:
    own = {name.rpartition(".")[2]: v for name, v in theta.items() if name.startswith(f"drive.A{area}.")}
    return torch.relu(x @ own["A0"].T + own["b0"]) @ own["A"].T + own["b"]


def by_hand(made: Trainer, batch: bp.Batch, m: Tensor) -> dict[str, Tensor]:
    """The recipe, step by step and area by area: what a layer has heard is a number, whoever said it; nothing of the library takes part."""
    W = {n: v.clone().requires_grad_() for n, v in made.network.weights.items()}
    own = {n: v.clone() for n, v in tensors(made.own).items() if v.is_floating_point()}
    own = {n: v.requires_grad_() for n, v in own.items()}
    T, B, depth = *batch.inputs.shape[:2], len(UNITS)
    assert batch.context is not None
    c, nothing = batch.context, torch.zeros_like(batch.inputs[0])
    g = lambda i, y: torch.cat([y, c], -1) @ own[f"predictor.A{i}.A"].T + own[f"predictor.A{i}.b"]  # noqa: E731
    said = {i: torch.zeros(B, n, dtype=torch.float64) for i, n in enumerate(UNITS, 1)}
    total = torch.zeros((), dtype=torch.float64)
    for t in range(T):
        heard = {1: batch.inputs[t]}
        for i in range(2, depth + 1):
            predicted = torch.relu(forward_model(own, i - 1, batch.inputs[t - i + 1] if t >= i - 1 else nothing))
            predicted = (
                predicted if t else torch.zeros_like(predicted)
            )  # before the first step nobody has said anything
            heard[i] = torch.where(m[:, None] > 0, predicted, said[i - 1]).detach().requires_grad_()
        now = {i: torch.relu(heard[i] @ W[f"W{i}"].T + W[f"b_A{i}"]) for i in heard}
        credit = {i: g(i, now[i]).detach() if t < T - 1 else torch.zeros_like(now[i]) for i in now}
        if t == T - 1:
            o = now[depth].detach().requires_grad_()
            loss = F.cross_entropy(o @ W["W_out"].T + W["b_out"], batch.targets[t], reduction="sum")
            (credit[depth],) = torch.autograd.grad(loss, o, retain_graph=True)
            total = total + loss
        for i in now:
            total = total + (credit[i] * now[i]).sum()
            if i > 1:
                (back,) = torch.autograd.grad((credit[i] * now[i]).sum(), heard[i], retain_graph=True)
                total = total + 0.5 * (g(i - 1, said[i - 1]) - back).square().sum()
        total = total + 0.5 * g(depth, said[depth]).square().sum()  # nobody above it
        for i in range(1, depth):
            q, y = forward_model(own, i, batch.inputs[t - i + 1] if t >= i - 1 else nothing), now[i].detach()
            off = torch.relu(q) + torch.where((q <= 0) & (y > 0), q, 0.0) - y
            total = total + 0.5 * off.square().sum()
        said = {i: y.detach() for i, y in now.items()}
    learned = W | own
    return dict(zip(learned, torch.autograd.grad(total / B, list(learned.values())), strict=True))


@pytest.mark.parametrize("share", (0.0, 0.5, 1.0))
def test_all_gradients_are_those_of_layers_written_by_hand(share: float) -> None:
    made = spoken_for(trainer(drive=bp.Drive(hidden=(9,), share=share)))
    batch = made.draw(drawn(made.task, bp.stream(3, "task"), 16).to(dtype=torch.float64))
    outcome = sequence(made.acting, made.rule, made.own, batch, made.task.loss, keep=True)
    assert made.driving is not None
    found = outcome.gradients | outcome.own | made.driving.taught(batch, outcome)
    m = batch.inputs[0, :, -1]
    assert set(m.tolist()) == {0.0: {0.0}, 0.5: {0.0, 1.0}, 1.0: {1.0}}[share]
    plain = bp.Batch(batch.inputs[..., :64], batch.targets, batch.weight, batch.context)
    true = by_hand(made, plain, m)
    assert found.keys() == true.keys() and len(true) == 8 + 6 + 8
    for name, value in true.items():
        assert float(value.abs().max()) > 1e-4, name
        torch.testing.assert_close(
            found[name], value, rtol=1e-10, atol=1e-13, msg=lambda said, name=name: f"{name}: {said}"
        )


def test_without_a_share_the_circuit_is_as_ever() -> None:
    one, without = spoken_for(trainer(drive=bp.Drive(share=0.0))), spoken_for(trainer(drive=None))
    for name, value in without.network.weights.items():
        one.network.weights[name].copy_(value)
    for name, value in tensors(without.own).items():
        tensors(one.own)[name].copy_(value)
    for _ in range(3):
        assert one.update()["loss"] == pytest.approx(without.update()["loss"], rel=1e-12)
    for name, value in without.network.weights.items():
        torch.testing.assert_close(one.network.weights[name], value, rtol=1e-9, atol=1e-12)


def test_half_of_the_trials_are_driven_others_in_every_update() -> None:
    made = trainer(batch=200)
    batch = drawn(made.task, bp.stream(0, "task"), 200).to(dtype=torch.float64)
    draws = []
    for made.update_index in range(20):
        m = made.draw(batch).inputs[..., -1]
        assert torch.equal(m[0], m[-1])
        draws.append(m[0])
    drawn_all = torch.stack(draws)
    assert abs(float(drawn_all.mean()) - 0.5) < 5 * 0.5 / 4000**0.5
    assert (torch.corrcoef(drawn_all) - torch.eye(20)).abs().max() < 5 / 200**0.5


def test_a_test_tells_of_the_true_chain_and_of_areas_that_hear_no_other() -> None:
    made = spoken_for(trainer())
    row, (batch,) = made.evaluate(), [b.to(dtype=torch.float64) for b in made.task.test_batches(360)]
    W, own = made.network.weights, tensors(made.own)
    true = batch.inputs[0]
    for i in (1, 2, 3):
        true = torch.relu(true @ W[f"W{i}"].T + W[f"b_A{i}"])
    alone = torch.relu(torch.relu(forward_model(own, 2, batch.inputs[0])) @ W["W3"].T + W["b_A3"])
    for name, top in (("test", true), ("driven", alone)):
        o = top @ W["W_out"].T + W["b_out"]
        assert row[f"{name}_score"] == pytest.approx(float((o.argmax(-1) == batch.targets[-1]).double().mean()))
        assert row[f"{name}_loss"] == pytest.approx(float(F.cross_entropy(o, batch.targets[-1])), rel=1e-6)
    assert row["test_loss"] != row["driven_loss"]


@pytest.mark.parametrize("apply", ("sequence", "window"))
def test_a_run_that_goes_on_is_the_same_bit_for_bit(apply: str) -> None:
    options: dict[str, Any] = {"update_probability": 0.6, "apply": apply}
    whole, first, again = (trainer(**options) for _ in range(3))
    losses = [whole.update()["loss"] for _ in range(8)]
    for _ in range(3):
        first.update()
    again.load_state_dict(first.state_dict())
    assert [again.update()["loss"] for _ in range(5)] == losses[3:]
    mine, theirs = tensors(whole.own) | whole.network.weights, tensors(again.own) | again.network.weights
    assert any(path.startswith("drive.") for path in mine)
    for name, value in mine.items():
        assert torch.equal(value, theirs[name]), name


def test_it_learns_with_no_area_waiting_for_another() -> None:
    made = trainer(
        units=(32, 32),
        task=bp.task("volley", steps=2),
        batch=50,
        lr=3e-3,
        dtype="float32",
        drive=bp.Drive(hidden=(64,)),
    )
    before = made.evaluate()
    for _ in range(150):
        made.update()
    after = made.evaluate()
    assert before["test_score"] < 0.3 and after["test_score"] > 0.8 and after["driven_score"] > 0.8


def test_a_run_that_diverges_stops_by_name() -> None:
    made = trainer(optimiser="sgd", lr=50.0, dtype="float32", drive=bp.Drive(share=1.0))
    with pytest.raises(NumericalError, match="update|step") as error:
        for _ in range(50):
            made.update()
    assert "\n" not in str(error.value)


def test_a_driven_network_is_pickled_and_its_spikes_are_driven_too() -> None:
    circuit = bp.circuit(
        "hierarchy",
        inputs=64,
        units=(20, 16),
        outputs=10,
        cell="lif",
        input_gain=20.0,
        gain=30.0,
        delay=2,
        tau_out=20 * ms,
    )
    task = bp.task("volley", steps=20, shown=10)
    made = Trainer(
        circuit,
        task,
        bp.rule("eprop", feedback="random"),
        Training(batch=8, drive=bp.Drive(hidden=(9,)), backend="auto"),
        seed=0,
    )
    assert made.backend == "torch" and "forward models predict" in made.computed["because"]
    losses = [made.update()["loss"] for _ in range(3)]
    assert len(set(losses)) == 3
    batch = made.draw(drawn(task, bp.stream(0, "x"), 8))
    again = pickle.loads(pickle.dumps(made.acting))
    one, other = (sequence(n, made.rule, made.own, batch, task.loss) for n in (made.acting, again))
    assert one.loss == other.loss and all(torch.equal(one.gradients[n], other.gradients[n]) for n in one.gradients)
    with pytest.raises(CircuitError, match="forward models predict"):
        Trainer(circuit, task, bp.rule("eprop", feedback="random"), Training(drive=bp.Drive(), backend="numba"))


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"drive": bp.Drive(projections=("W9",))}, "projection 'W9'"),
        ({"drive": bp.Drive(), "units": (8,)}, "no population speaks to one that the input reaches later"),
        ({"drive": bp.Drive(), "perturb": bp.Perturb("A1", "silence")}, "leave one of the two out"),
    ],
)
def test_what_cannot_be_driven_is_refused(wrong: dict[str, Any], says: str) -> None:
    with pytest.raises(BioplausError, match=says) as error:
        trainer(RULE, 0, bp.task("volley", steps=1), **wrong)
    assert "\n" not in str(error.value)


def test_delays_of_each_synapse_and_areas_out_of_reach_are_refused() -> None:
    from bioplaus.circuit import Circuit, Population, Projection, Readout

    cell = bp.model("leaky_rate")

    def of(**how: Any) -> Circuit:
        return Circuit(
            populations={"a": Population(cell, 5), "b": Population(cell, 4), "lost": Population(cell, 3)},
            projections=(
                Projection(name="U", source="input", target="a"), Projection(name="V", source="lost", target="b"), Projection(name="W", source="a", target="b", **how),
            ),
            inputs=64, readout=Readout(size=10),
        )  # fmt: skip

    for circuit, drive, says in (
        (of(delay=bp.Uniform(1 * ms, 3 * ms)), bp.Drive(), "delays of each synapse"),
        (
            of(),
            bp.Drive(projections=("V",)),
            "from the input, which never reaches it",
        ),
    ):
        with pytest.raises(CircuitError, match=says):
            Trainer(circuit, bp.task("volley"), bp.rule("bptt"), Training(drive=drive))

"""Layers that wait for credit and layers that do not, against autograd; in one process and each in its own; what they compute, counted as it is done."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from bioplaus import Training
from bioplaus.errors import RunError
from bioplaus.learning.evolution import EvolutionStrategy
from bioplaus.measure.apart import LAG, apart
from bioplaus.measure.unlocked import Chain, Layers
from bioplaus.runs.quadratic import Quadratic
from bioplaus.runs.timed import Timed
from bioplaus.streams import stream

SIZES = (7, 6, 5, 4)
KINDS: list[dict[str, Any]] = [
    {"method": "BP"},
    {"method": "DNI"},
    {"method": "cDNI"},
    {"method": "cDNI", "hidden": (9, 8)},
]


def chain(lag: int = 0, **kind: Any) -> tuple[Layers, Chain, torch.Tensor, torch.Tensor]:
    """In float64, where predictors say something from the start."""
    layers = Layers(sizes=SIZES, batch=11, rate=0.3, predictor_rate=0.2, **kind)
    made, g = Chain(layers, 2, lag), torch.Generator().manual_seed(3)
    for area in made.areas:
        for each in (area.layer, *area.guess):
            each.W, each.b = each.W.double(), each.b.double()
        if area.guess:
            area.guess[-1].W += 0.3 * torch.randn(area.guess[-1].W.shape, generator=g, dtype=torch.float64)
    x, label = (each.double() for each in layers.draw(2, 6))
    return layers, made, x, label


def by_autograd(
    made: Chain, x: torch.Tensor, label: torch.Tensor, layers: Layers
) -> tuple[float, dict[str, torch.Tensor]]:
    """An update of all that learns, each layer's by the loss that is its own."""
    W = {name: w.clone().requires_grad_() for name, w in made.tensors().items()}
    relu, h, loss, own, sent, said = torch.relu, x, x.sum(), [], {}, {}
    top, B = layers.depth - 1, len(x)
    for i in range(layers.depth):
        below = h.detach().requires_grad_() if layers.method != "BP" else h
        h = below @ W[f"{i}.0.W"].T + W[f"{i}.0.b"]
        h = relu(h) if i < top else h
        if i == top:
            loss = -(torch.log_softmax(h, -1) * label).sum()
            own.append(loss)
        elif layers.method != "BP":
            v = torch.cat([h.detach(), label], 1) if layers.method == "cDNI" else h.detach()
            count = len(layers.hidden) + 1
            for k in range(1, count + 1):
                v = v @ W[f"{i}.{k}.W"].T + W[f"{i}.{k}.b"]
                v = relu(v) if k < count else v
            said[i] = v
            own.append((h * v.detach()).sum())
        if layers.method != "BP" and i:
            (sent[i - 1],) = torch.autograd.grad(own[-1], below, retain_graph=True)
    guess = [0.5 * ((s - sent[i].detach()) ** 2).sum() for i, s in said.items()]
    sum([*own, *guess]).backward()  # type: ignore[union-attr]
    rate = lambda name: layers.rate if name.split(".")[1] == "0" else layers.predictor_rate  # noqa: E731
    return float(loss.detach()) / B, {n: w.detach() - rate(n) * w.grad / B for n, w in W.items() if w.grad is not None}


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_an_update_is_that_of_autograd(kind):
    layers, made, x, label = chain(**kind)
    for u in range(3):
        loss, wanted = by_autograd(made, x[u], label[u], layers)
        before = {name: w.clone() for name, w in made.tensors().items()}
        assert made.update(x[u], label[u]) == pytest.approx(loss, rel=1e-12)
        assert wanted.keys() == before.keys()
        for name, w in made.tensors().items():
            torch.testing.assert_close(w, wanted[name], rtol=1e-12, atol=1e-13)
            assert float((w - before[name]).abs().max()) > 1e-5, name


class Products(TorchDispatchMode):
    """Multiply-adds of all products of matrices inside."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        if name in ("mm", "addmm", "addmm_"):
            a, b = args[-2:]
            self.count += a.shape[0] * a.shape[1] * b.shape[1]
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_the_work_is_what_is_done(kind):
    layers, made, x, label = chain(**kind)
    with torch.no_grad(), Products() as products:
        made.update(x[0], label[0])
    assert products.count == sum(layers.work) > 0
    assert layers.latency == (sum(layers.work) if kind["method"] == "BP" else max(layers.work))


def test_ideal_latency_is_counted_by_hand_for_the_published_sizes():
    """B (2·784·256 + 2·256² + … ): a linear predictor adds 2·256², or 2·266·256 with the label, to each layer below the top."""
    a, n, B = 784 * 256, 256 * 256, 100
    locked = Layers(method="BP")
    assert locked.work == (2 * a * B, 3 * n * B, 3 * n * B, 3 * 2560 * B) and locked.latency == sum(locked.work)
    free, told = Layers(method="DNI"), Layers(method="cDNI")
    assert free.latency == (2 * a + 2 * n) * B and told.latency == (2 * a + 2 * 266 * 256) * B
    assert 1.49 < locked.latency / told.latency < locked.latency / free.latency < 1.51


@pytest.mark.parametrize(
    "kind", [KINDS[2], *(pytest.param(k, marks=pytest.mark.slow) for k in (*KINDS[:2], KINDS[3]))], ids=str
)
def test_a_process_for_each_layer_computes_the_same(kind):
    layers = Layers(sizes=SIZES, batch=11, rate=0.3, predictor_rate=0.2, **kind)
    found = apart(layers, updates=20, warm=3, seed=2, drawn=6)
    one, (x, label) = Chain(layers, 2, lag=LAG), layers.draw(2, 6)
    with torch.no_grad():
        for u in range(23):
            one.update(x[u % 6], label[u % 6])
    assert all(torch.equal(W, area.layer.W) for W, area in zip(found.weights, one.areas, strict=True))
    assert found.seconds > 0 and len(found.busy) == 3 and min(found.busy) > 0
    if kind["method"] != "BP":  # what is heard later is another update
        at_once = Chain(layers, 2)
        with torch.no_grad():
            for u in range(23):
                at_once.update(x[u % 6], label[u % 6])
        assert not torch.equal(at_once.areas[0].layer.W, one.areas[0].layer.W)


def test_what_is_no_chain_is_refused():
    kinds: tuple[dict[str, Any], ...] = (
        {"method": "bp"},
        {"sizes": (3, 2)},
        {"batch": 0},
        {"hidden": (0,)},
        {"rate": 0},
    )
    for wrong in kinds:
        with pytest.raises(RunError) as refused:
            Layers(**wrong)
        assert "\n" not in str(refused.value)
    with pytest.raises(RunError, match="updates"):
        apart(Layers(), updates=0)


# -- as jobs ----------------------------------------------------------------------------------------------------------------------


def quadratic(optimiser: str, **more: Any) -> Quadratic:
    return Quadratic(Training(updates=9, lr=0.3, optimiser=optimiser), size=8, rows=15, **more)


def test_a_quadratic_is_what_it_says():
    """f(x) − f(x*) by numpy's least squares, from x's own coordinates; descent by the gradient that is given."""
    one = quadratic("sgd").begin(3)
    g, draw = stream(3, "problem"), lambda *shape: torch.randn(*shape, generator=g, dtype=torch.float64)  # noqa: E731
    A, b = draw(15, 8).numpy(), draw(15).numpy()
    H = A.T @ A / 15
    np.testing.assert_allclose(one.curvature.numpy(), np.linalg.eigvalsh(H), rtol=1e-10)
    best = np.linalg.lstsq(A, b, rcond=None)[0]
    f = lambda x: ((A @ x - b) ** 2).sum() / 30  # noqa: E731
    assert one.loss() == pytest.approx(f(0 * best) - f(best), rel=1e-10)
    x, true = one.x.clone(), one.curvature * (one.x - one.best)
    one.update()
    given = (x - one.x) / 0.3
    noise = (given - true) / true.norm() - one.bias
    assert float(one.bias.norm()) == pytest.approx(1.0) and float(noise.norm()) == pytest.approx(1.5)
    assert isinstance(quadratic("es").begin(3).optimiser, EvolutionStrategy)


@pytest.mark.parametrize(
    "job",
    [quadratic("guided_es"), quadratic("sgd"), Timed(Layers(sizes=SIZES, method="cDNI"), Training(updates=6), 10)],
    ids=["guided", "sgd", "layers"],
)
def test_a_job_that_goes_on_is_bit_equal(job):
    straight, broken = job.begin(1), job.begin(1)
    losses = [straight.update()["loss"] for _ in range(6)]
    for _ in range(3):
        broken.update()
    state = broken.state_dict()
    broken.update()
    again = job.begin(1)
    again.load_state_dict(state)
    assert [again.update()["loss"] for _ in range(3)] == losses[3:] and len(set(losses)) == 6


def test_a_quadratic_without_a_lowest_point_is_refused():
    with pytest.raises(RunError, match="rows ≥ size"):
        Quadratic(Training(), size=5, rows=4)
    with pytest.raises(RunError, match="one number"):
        Quadratic(Training(lr={"default": 1.0}))

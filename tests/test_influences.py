"""What each eligibility keeps, against autograd of circuits by hand that keep the same, and against naive recursions."""

from __future__ import annotations

import math
from functools import cache

import pytest
import torch
from influence_helpers import (
    MAKE,
    MODELS,
    carried,
    follow,
    followed,
    history_is_cut,
    hops_are_counted,
    kernl_is_its_kernel,
    kernl_learns_from_its_twin,
    kicks,
    made,
    mdgl_is_one_crossing,
    met,
    moments,
    one_crossing,
    row_owner,
    rule_of,
    snap_is_masked,
    snap_masks,
    space_is_autograd,
    touched,
    u_rows,
    undelayed,
)
from rule_helpers import SMOOTH, TIGHT, Case, case, dale, living, off, same, side_by_side, two_populations
from torch import Tensor

import bioplaus as bp
from bioplaus import Trainer, Training, ms
from bioplaus.circuit import Circuit, Population, Projection, Readout
from bioplaus.circuit.network import PopulationState, State
from bioplaus.circuit.tangent import Tangent
from bioplaus.circuit.trajectory import Stretch
from bioplaus.eligibility import MDGL, RFLO, History, Hops, Immediate, KeRNL, SnAp
from bioplaus.eligibility.influence import Space
from bioplaus.errors import RuleError
from bioplaus.learning.regulariser import RateRegulariser
from bioplaus.rules import Rule, sliding_bptt
from bioplaus.schedule import Online
from bioplaus.schedule import Window as Windows
from bioplaus.signal import Instant, Oracle
from bioplaus.streams import stream
from bioplaus.tasks import Batch, Task, squared

every = pytest.mark.parametrize("name", MAKE)


# -- rows, columns, and how a step moves them -----------------------------------------------------------------------------


@every
def test_the_derivatives_here_make_the_true_gradient(name):
    """The referee of this file: J and M by autograd, carried forward densely, are BPTT by autograd."""
    c = made(name)
    same(met(c, followed(name), carried(followed(name))), c.of_circuit(c.true))


@every
def test_jacobian_and_immediate_influence_are_autograd(name):
    space_is_autograd(made(name), followed(name))


@every
def test_columns_are_weights(name):
    """Every weight has a column of its own, (j, k, m) → row k·n + j; what is not wired has columns that nobody reads."""
    space = Space(made(name).network)
    network = space.network
    numbers = torch.arange(space.width)
    place = space.spread([numbers[s].view(shape) for s, shape in zip(space.spans, space.columns, strict=True)])
    taken = torch.cat([p.flatten() for p in place.values()])
    assert len(set(taken.tolist())) == len(taken) and set(place) == {w.spec.name for w in network.learned}
    for p, (n, K, m) in enumerate(space.columns):
        for w, where in space.arriving[p]:
            W = network.weights[w.spec.name]
            for row in range(len(W)):
                j, k = row % n, w.channels[row // n]
                first = space.spans[p].start + (j * K + k) * m + where.start
                expected = first + torch.arange(where.stop - where.start)
                assert torch.equal(place[w.spec.name][row].flatten(), expected)
        assert sum(where.stop - where.start for _, where in space.arriving[p]) == m


@every
def test_rows_are_states_and_outputs_in_flight(name):
    """Row (y, i) of z_t holds y_{t−1−i}: as the derivative of z moves, so do the values."""
    c = made(name)
    space, steps = moments(c)
    assert [
        (i, j) for r in space.rows for i, j in [(r.population, j) for j in range(r.where.stop - r.where.start)]
    ] == row_owner(c.network)
    for p, population in enumerate(c.network.populations):
        assert [r.index for r in space.rows if r.population == p and r.kind == "y"] == list(range(population.ages - 1))
        assert population.ages == max(
            [w.source.slots[0] + 1 for w in c.network.recurrent if w.source.population == p], default=1
        )
        for w in (w for w in c.network.recurrent if w.source.population == p):
            for t, step in enumerate(c.window.steps):  # what arrives, d steps after it was sent
                sent = (
                    c.window.spikes(p)[t - 1 - w.source.slots[0]]
                    if t > w.source.slots[0]
                    else torch.zeros(c.batch.size, population.size)
                )
                assert torch.equal(step.before.populations[p].y[w.source.slots[0]], sent.to(torch.float64))
                where = next(where for v, where in space.arriving[w.target] if v is w)
                assert torch.equal(steps[t].a[w.target][:, where], sent.to(torch.float64))


def test_an_influence_knows_what_fits_in_memory():
    network = bp.circuit("recurrent", cell=bp.model("lstm"), inputs=100, units=200, outputs=1).build()
    for past in (Hops(1), Hops(0)):
        with pytest.raises(RuleError, match="GiB.*smaller"):
            past.init(network, 10_000)


# -- hops -----------------------------------------------------------------------------------------------------------------


@cache
def short(name: str) -> Case:
    options = {
        "alif and lstm, leaky": lambda: two_populations(steps=10),
        "adex and gru, leaky": lambda: two_populations("adex", "gru", steps=12),
        "Dale, leaky": lambda: dale(delay=1, steps=12),
        "Dale, delay 2": lambda: dale(tau=None, steps=12),
        "sparse": lambda: case("lstm", units=6, size=2, steps=8, fan_in=2, tau=10 * ms),
        "no autapses": lambda: case("gru", units=4, size=2, steps=8, autapses=False),
    }
    if name in options:
        return options[name]()
    model, _, rest = name.partition(", ")
    return case(
        model, units=4, size=2, steps=9, delay=3 if "delay" in rest else 1, tau=10 * ms if "leaky" in rest else None
    )


SHORT = [f"{m}{rest}" for m in MODELS for rest in ("", ", leaky", ", leaky, delay 3")]
SHORT += ["alif and lstm, leaky", "adex and gru, leaky", "Dale, leaky", "Dale, delay 2", "sparse", "no autapses"]


@pytest.mark.parametrize("name", SHORT)
def test_hops_counts_crossings(name):
    hops_are_counted(short(name))


@every
def test_no_hop_is_eprop(name):
    """As the paths inside the neuron by autograd with stopped outputs, and as e-prop itself; online and in windows."""
    c = made(name)
    stopped = c.by_hand(stop="between")
    assert off(stopped, c.true) > 1e-3
    for schedule in (Online(), Windows(), Windows(5)):
        same(c.gradients(rule_of(Hops(0), schedule)), stopped)
    same(c.gradients(rule_of(Hops(0))), of_all(c, bp.rule("eprop")))


def of_all(c: Case, rule: Rule) -> dict[str, Tensor]:
    """A rule's gradients, with zeros for weights that it does not reach."""
    return {n: torch.zeros_like(w) for n, w in c.network.weights.items()} | c.gradients(rule)


@every
def test_enough_hops_are_rtrl(name):
    c = made(name)
    if c.batch.steps * c.network.weights["W_out"].shape[1] > 100:
        c = Case(c.network, Batch(*(x[:8, :1] for x in (c.batch.inputs, c.batch.targets, c.batch.weight + 1.0))))
    same(c.gradients(rule_of(Hops(c.batch.steps - 1))), c.true)
    if (
        any(w.source.slots[0] for w in c.network.recurrent) and len(c.network.populations) == 1
    ):  # fewer fit into the time
        same(c.gradients(rule_of(Hops((c.batch.steps - 1) // 2))), c.true)


def test_more_hops_are_not_always_better():
    """A leaky tanh net, dense, 14 steps: zero hops are far off, 13 exact, and on the way the error rises again."""
    circuit = bp.circuit(
        "recurrent", cell=bp.model("leaky_rate", tau=2 * ms), inputs=4, units=8, outputs=2, gain=2.0, bias=True
    )
    rises = []
    for seed in (0, 3):
        c = living(circuit, {}, 14, 2, seed=seed)
        true = c.of_circuit(c.true)
        error = [off(c.of_circuit(c.gradients(rule_of(Hops(k)))), true) for k in range(14)]
        assert error[0] > 0.5 and error[1] > 0.5 and error[13] < TIGHT and min(error[:10]) > 1e-3, error
        rises.append(max(b / a for a, b in zip(error, error[1:], strict=False)))
    assert rises[0] < 1.0 and rises[1] > 1.5, rises


# -- snap -----------------------------------------------------------------------------------------------------------------


@every
@pytest.mark.parametrize("order", (1, 2, 3))
def test_snap_is_rtrl_under_its_mask(name, order):
    c = made(name)
    expected = snap_is_masked(c, followed(name), order)
    for schedule in (Windows(), Windows(7)):
        same(c.of_circuit(c.gradients(rule_of(SnAp(order), schedule))), expected)
    if all(bool(mask.all()) for mask in snap_masks(c.network, order).values()):
        same(c.gradients(rule_of(SnAp(order))), c.true)


@every
def test_snap_1_is_eprop_where_no_neuron_connects_to_itself_and_only_there(name):
    c = made(name)
    n1, eprop = c.gradients(rule_of(SnAp(1))), of_all(c, bp.rule("eprop"))
    diagonals = [
        c.network.weights[w.spec.name]
        .view(len(w.channels), -1, c.network.populations[w.source.population].size)
        .diagonal(dim1=1, dim2=2)
        for w in c.network.recurrent
        if w.source.population == w.target
    ]
    if any(bool(d.any()) for d in diagonals):
        assert off(c.of_circuit(n1), c.of_circuit(eprop)) > 1e-4
    else:
        same(n1, eprop)


def test_snap_reaches_rtrl_when_the_mask_is_full_and_not_before():
    c = case("leaky_rate", units=8, size=2, steps=12, fan_in=2)
    assert int((c.network.masks["W_rec"] != 0).sum()) == 16  # 25 %
    full = []
    for order in range(1, 9):
        full.append(all(bool(m.all()) for m in snap_masks(c.network, order).values()))
        error = off(c.gradients(rule_of(SnAp(order))), c.true)
        assert error < TIGHT if full[-1] else error > 1e-5, (order, error)
    assert not full[1] and full[-1], full
    assert not snap_masks(c.network, 2)["W_rec"].bool().all()
    dense = case("leaky_rate", units=8, size=2, steps=12)
    same(dense.gradients(rule_of(SnAp(2))), dense.true)
    assert off(dense.gradients(rule_of(SnAp(1))), dense.true) > 1e-3


@pytest.mark.parametrize("tau", (None, 10 * ms))
@pytest.mark.parametrize("order", (1, 2, 3, 4))
def test_nothing_masked_is_stored(tau, order):
    """A ring, in which every neuron reaches as many as any other: as many numbers as the mask has nonzeros, per sample."""
    c = case("alif", units=6, size=2, steps=20, tau=tau, autapses=True)
    ring = torch.eye(6, dtype=torch.float64).roll(1, 0)
    c.network.masks["W_rec"] = ring
    c.network.weights["W_rec"] = 3 * ring
    state = SnAp(order).init(c.network, 2)
    masks = snap_masks(c.network, order)
    nonzero = sum(
        int((m * c.network.masks.get(n, torch.ones_like(c.network.weights[n]))).sum()) for n, m in masks.items()
    )
    assert sum(P.numel() for P in state.P) == 2 * nonzero
    assert (sum(F.numel() for F in state.F) == 2 * nonzero) if tau is not None else state.F is None
    full = Space(c.network)
    assert nonzero < full.size * full.width
    ringed = Case(c.network, c.batch)
    snap_is_masked(ringed, follow(ringed), order)


# -- mdgl -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("types", (False, True), ids=("neuron by neuron", "by types"))
@pytest.mark.parametrize("name", [n for n in MAKE if "delay" not in n and " and " not in n])
def test_mdgl_is_autograd_of_one_crossing(name, types):
    assert undelayed(name)
    mdgl_is_one_crossing(made(name), types)


def test_mdgl_over_stretches_of_a_window(monkeypatch):
    c = made("Dale, leaky")
    expected = one_crossing(c)
    monkeypatch.setattr("bioplaus.learning.pace.STRETCH", 4)
    monkeypatch.setattr("bioplaus.learning.pace.BLOCK", 3)
    for schedule in (Online(), Windows(), Windows(9)):
        same(c.gradients(rule_of(MDGL(), schedule)), expected)


def memoryless() -> Case:
    """Leaky neurons that speak to neurons without memory, which alone are read."""
    circuit = Circuit(
        populations={"a": Population(bp.model("leaky_rate"), 4, {}), "b": Population(bp.model("elman"), 3, {})},
        projections=(
            Projection(name="in_a", source="input", target="a"),
            Projection(name="in_b", source="input", target="b"),
            *(Projection(name=x + y, source=y, target=x) for x in "ab" for y in "ab"),
        ),
        inputs=4,
        readout=Readout(size=2, sources=("b",)),
    )
    return living(circuit, {}, 10, 2)


def test_mdgl_is_one_hop_where_neighbours_keep_nothing():
    """Elman's neurons have no path inside; and of leaky neurons onto them, one hop has only the path of mdgl."""
    for c in (made("elman"), memoryless()):
        one, two = c.gradients(rule_of(Hops(1))), c.gradients(rule_of(Hops(2)))
        same(c.gradients(rule_of(MDGL())), one)
        assert off(one, two) > 1e-3 and off(one, c.true) > 1e-3
    for name in (
        "leaky_rate",
        "lstm",
        "gru",
        "elman, leaky",
    ):  # where the neighbour, or the readout behind it, remembers
        c = made(name)
        assert off(c.gradients(rule_of(MDGL())), c.gradients(rule_of(Hops(1)))) > 1e-4


@pytest.mark.parametrize("name", [m for m in MODELS if not m.startswith("lsnn")])
def test_mdgl_is_bptt_over_two_steps(name):
    c = made(name)
    spiking = c.network.populations[0].kernel.derived.spiking
    begin = next(t for t in range(c.batch.steps) if c.window.spikes(0)[t, 0].any()) if spiking else 0
    inputs = c.batch.inputs[begin : begin + 2, :1] * (30.0 if spiking else 1.0)
    two = Case(c.network, Batch(inputs, c.batch.targets[:2, :1], torch.ones(2, 1, dtype=torch.float64)))
    same(two.gradients(rule_of(MDGL())), two.true)
    if not spiking:
        assert off(two.gradients(bp.rule("eprop")), two.true) > 1e-3


def test_what_one_regulariser_tells_the_neighbours():
    """Known at the end only, it cannot be heard step by step: whole windows, or a refusal."""
    plain = made("alif")
    c = Case(plain.network, plain.batch, RateRegulariser(0.02, 20.0))
    mean = c.window.spikes(0).mean((0, 1))
    expected = one_crossing(plain, extra=20.0 * (mean - 0.02) / c.batch.steps)
    same(c.gradients(bp.rule("mdgl")), expected)
    assert off(expected, plain.gradients(bp.rule("mdgl"))) > 1e-3
    for options in ({"schedule": "online"}, {"steps": 5}):
        with pytest.raises(RuleError, match="whole sequence.*mdgl"):
            c.gradients(bp.rule("mdgl", **options))


# -- history --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SHORT)
@pytest.mark.parametrize("k", (1, 2, 4))
def test_history_is_autograd_cut_before_every_loss(name, k):
    history_is_cut(short(name), k)


@every
def test_a_history_of_the_whole_sequence_is_bptt(name):
    c = made(name)
    assert off(c.gradients(sliding_bptt(2)), c.true) > 1e-4
    for k in (c.batch.steps, 100):
        for schedule in (Online(), Windows(), Windows(7)):
            same(c.gradients(rule_of(History(k), schedule)), c.true)


def test_a_history_of_one_step_is_the_deed_of_this_step():
    c = made("lstm")
    one = c.gradients(rule_of(History(1)))
    signal = Oracle("state")
    held = signal.credit({}, None, c.observed)[0]
    assert off(one, c.gradients(Rule(Immediate(), signal, Windows()))) > 1e-2 and held[0] is not None
    same(one, met_at_once(c))


def met_at_once(c: Case) -> dict[str, Tensor]:
    path = follow(c)
    own = met(c, path, [{n: M[t] for n, M in path.M.items()} for t in range(c.batch.steps)])
    return own | {n: c.true[n] for n in ("W_out", "b_out")}


# -- kernl ----------------------------------------------------------------------------------------------------------------


LEAKY = ("leaky_rate, leaky", "elman, leaky", "lif, leaky, delay 3", "alif, leaky", "Dale, leaky")
PLAIN = ("leaky_rate", "elman", "lif", "alif", "lsnn_lif", "lsnn_alif", "Dale", "Dale, delay 2", "sparse", *LEAKY)


@pytest.mark.parametrize("name", PLAIN)
def test_kernl_with_the_leak_and_no_kernel_is_rflo(name):
    c = made(name)
    theta = side_by_side(KeRNL().begin(c.network, stream(0, "kernel")))
    same(c.gradients(rule_of(KeRNL()), theta), of_all(c, Rule(RFLO(), Instant(), Online())))
    assert off(c.gradients(rule_of(KeRNL()), theta), c.true) > 1e-3


@every
def test_kernl_meets_credit_through_its_kernel(name):
    kernl_is_its_kernel(made(name), followed(name))


@every
@pytest.mark.parametrize("restart", (5, 100))
def test_kernl_learns_from_its_twin(name, restart):
    kernl_learns_from_its_twin(made(name), followed(name), restart)


OUTPUT = {
    "leaky_rate": lambda x: torch.tanh(x), "elman": lambda x: torch.tanh(x), "lstm": lambda c, o: o * torch.tanh(c), "gru": lambda h: h,
}  # fmt: skip


def simulated(c: Case, model: str, drawn: list[Tensor], size: float) -> list[Tensor]:
    """z of the circuit when its u are kicked by so much of what was drawn, at every step."""
    (p,) = c.network.populations
    state, out = c.network.start(c.batch.size), []
    for t, xi in enumerate(drawn):
        step = c.network.advance(state, c.network.drive(c.batch.inputs[t]))
        us = tuple(u + size * k for u, k in zip(step.u[0], xi.split(p.size, -1), strict=True))
        before = state.populations[0]
        out.append(torch.cat([*us, *before.y[:-1]], -1))
        state = State((PopulationState(us, (OUTPUT[model](*us), *before.y[:-1]), None),), state.filtered)
    return out


@pytest.mark.parametrize("model", SMOOTH)
@pytest.mark.parametrize("delay", (1, 3))
def test_the_twin_is_a_second_circuit_that_is_kicked(model, delay):
    """v to first order: half the difference of two simulations, one kicked by εξ, the other by −εξ, over ε."""
    c = case(model, units=4, size=2, steps=20, delay=delay)
    state = KeRNL(100).init(c.network, 2)
    vs = []
    with kicks() as drawn:
        for t, step in enumerate(c.window.steps):
            state = KeRNL(100).step(state, Tangent(c.network, Stretch(c.network, [step], c.batch.inputs[t : t + 1])))
            vs.append(state.v.clone())
    assert bool(touched(c, follow(c)).all())
    size = 1e-4
    up, down = (simulated(c, model, drawn, s) for s in (size, -size))
    for v, a, b in zip(vs, up, down, strict=True):
        torch.testing.assert_close((a - b) / (2 * size), v, rtol=1e-5, atol=1e-6 * float(v.abs().max()))
    assert float(vs[-1].std()) > 0.1


def linear(gain: float) -> Case:
    circuit = bp.circuit(
        "recurrent",
        cell=bp.model("leaky_rate", rate="x", tau=5 * ms),
        inputs=4,
        units=6,
        outputs=2,
        gain=gain,
        bias=True,
    )
    return living(circuit, {}, 30, 4)


def distance(c: Case, g: dict[str, Tensor]) -> tuple[float, float]:
    """Cosine with BPTT, and relative distance from it."""
    a, b = (torch.cat([x[n].flatten() for n in c.of_circuit(c.true)]) for x in (g, c.true))
    return float(torch.nn.functional.cosine_similarity(a, b, dim=0)), float((a - b).norm() / b.norm())


@pytest.mark.parametrize("gain", (0.5, 0.8, 1.0))
def test_the_best_kernel_comes_closer_than_rflo(gain):
    """A linear network, whose J is the same at every step; Λ by least squares from many kicked twins, α the leak."""
    c = linear(gain)
    space, steps = moments(c)
    J = space.jacobian(steps[0], steps[1], space.zeros(c.batch.size, space.size, space.size))[0]
    theta = side_by_side(KeRNL().begin(c.network, stream(0, "kernel")))
    generator = stream(0, "kicks")
    v = w = torch.zeros(4000, space.size, dtype=torch.float64)
    for _ in range(50):
        xi = torch.randn(v.shape, generator=generator, dtype=v.dtype)
        v, w = v @ J.T + xi, (1 - theta["decay"]) * w + xi
    kernel = torch.linalg.lstsq(w, v).solution.T
    rflo = distance(c, c.gradients(Rule(RFLO(), Instant(), Online())))
    best = distance(c, c.gradients(rule_of(KeRNL()), theta | {"kernel": kernel}))
    assert 1 - best[0] < 0.4 * (1 - rflo[0]) and best[1] < 0.6 * rflo[1], (best, rflo)


class Noise(Task):
    """Regression on noise."""

    inputs, outputs, steps, loss = 4, 2, 30, squared

    def batch(self, generator: torch.Generator, size: int, split: str = "train") -> Batch:
        x = torch.rand(self.steps, size, 4, generator=generator) * 2 - 1
        return Batch(x, torch.randn(self.steps, size, 2, generator=generator), torch.ones(self.steps, size))


def test_a_kernel_that_learns_comes_closer_than_rflo():
    training = Training(lr=0.0, readout_lr=0.0, predictor_lr=0.02, batch=16, dtype="float64")
    trainer = Trainer(linear(0.5).network.circuit, Noise(), rule_of(KeRNL()), training, seed=1)
    for _ in range(120):
        trainer.update()
    c = Case(trainer.network, linear(0.5).batch)
    rflo = distance(c, c.gradients(Rule(RFLO(), Instant(), Online())))
    learned = distance(c, c.gradients(rule_of(KeRNL()), trainer.own))
    assert 1 - learned[0] < 0.6 * (1 - rflo[0]) and learned[1] < 0.8 * rflo[1], (learned, rflo)


def test_decays_stay_between_nothing_and_all():
    network = made("lif").network
    own = KeRNL().begin(network, stream(0, "kernel"))
    decay = own["kernel"]["decay"]
    kept = decay.clone()
    decay[:2] = torch.tensor([-0.3, 1.4], dtype=torch.float64)
    KeRNL().after_update(own, network)
    assert decay[:2].tolist() == [0.0, 1.0] and torch.equal(decay[2:], kept[2:])


@every
def test_a_kernel_starts_with_every_kick_at_its_own_u(name):
    network = made(name).network
    learned, rows = KeRNL().begin(network, stream(0, "kernel"))["kernel"].learned, u_rows(made(name).network)
    one = torch.zeros(len(rows), int(rows.sum()), dtype=torch.float64)
    one[rows.nonzero().flatten(), torch.arange(int(rows.sum()))] = 1.0
    assert torch.equal(learned["weights"], torch.cat([one, one]) if network.kappa else one)
    assert learned["decay"].shape == (int(rows.sum()),)


LEAKS = {
    "leaky_rate": [10.0], "elman": [0.0], "lstm": [None, 0.0], "gru": [0.0], "lif": [20.0], "alif": [20.0, 200.0], "adex": [None, 120.0],
    "lsnn_lif": [20.0], "lsnn_alif": [20.0, 2000.0],
}  # fmt: skip


@pytest.mark.parametrize("model", MODELS)
def test_a_decay_starts_as_the_leak_where_it_is_one_number(model):
    """1 − exp(−dt/τ); everything where nothing is kept, half where the leak moves."""
    decay = KeRNL().begin(made(model).network, stream(0, "kernel"))["kernel"]["decay"].view(-1, 4)
    for found, tau in zip(decay, LEAKS[model], strict=True):
        expected = 0.5 if tau is None else 1 - math.exp(-1 / tau) if tau else 1.0
        torch.testing.assert_close(found, torch.full((4,), expected, dtype=torch.float64), rtol=1e-9, atol=0)
    taus = (30.0, 5.0, 20.0, 10.0, 5.0, 10.0, 20.0, 40.0)
    network = made("per neuron, reset differentiated, leaky").network
    each = KeRNL().begin(network, stream(0, "kernel"))["kernel"]["decay"]
    torch.testing.assert_close(each, torch.tensor([1 - math.exp(-1 / tau) for tau in taus], dtype=torch.float64))
